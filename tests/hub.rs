//! `--init owner/name` against a server of our own that answers as the hub does.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::flow::built;
use crate::server::{Request, head, serve, without_proxies};
use crate::support::{command, text};
use crate::train::starting;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";

/// What the server does with the bytes of the weights, or says about `config.json`.
#[derive(Clone, Debug, PartialEq)]
enum Mood {
    Well,
    /// Breaks off in the middle, once.
    CutOnce,
    /// Sends half and keeps the connection open.
    Stall,
    /// Sends other bytes than the hash says.
    Corrupt,
    /// Says so of the hash.
    Hash(String),
    /// Says so of the commit.
    Commit(&'static str),
    /// Sends the client elsewhere.
    Elsewhere(String),
    /// Sends the client to where it came from.
    Loop,
    /// Says nothing.
    Silence,
    /// Says that nothing changed, to a client that has nothing.
    NotModified,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    mood: Mood,
    /// Path and first byte of every request.
    log: Vec<(String, Option<usize>)>,
}

/// A hub with one model, `acme/tiny`, and one behind a gate, `acme/gated`.
struct Hub {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    fn serve(folder: &Path, names: &[(&str, &str)]) -> Self {
        let read = |(from, to): &(&str, &str)| {
            ((*to).to_string(), std::fs::read(folder.join(from)).unwrap())
        };
        let files = names.iter().map(read).collect();
        let state = Arc::new(Mutex::new(State { files, mood: Mood::Well, log: Vec::new() }));
        let shared = Arc::clone(&state);
        let endpoint = serve(move |request, stream| answer(request, stream, &shared));
        Hub { endpoint, state }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mood: Mood) {
        let mut state = self.state();
        state.mood = mood;
        state.log.clear();
    }

    /// The first bytes that were asked of the weights, the questions for its size left out.
    fn starts(&self) -> Vec<usize> {
        let state = self.state();
        state
            .log
            .iter()
            .filter(|(path, _)| path == "/lfs/weights")
            .filter_map(|(_, start)| *start)
            .collect()
    }

    fn train(&self, home: &Path, out: &Path, init: &str) -> Command {
        let mut command = going_on(out, init);
        without_proxies(&mut command);

        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.endpoint).env("HF_HOME", home);
        command
    }
}

fn answer(request: &Request, mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let (path, range) = (request.path.clone(), request.range());
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let is_size = range.is_some_and(|(_, end)| end.is_some());
    state.log.push((path.clone(), range.filter(|_| !is_size).map(|(start, _)| start)));

    if path.starts_with("/api/models/acme/gated/") {
        return stream.write_all(head("401 Unauthorized", "", 0).as_bytes());
    }
    if ["main", COMMIT]
        .iter()
        .any(|revision| path == format!("/api/models/acme/tiny/revision/{revision}"))
    {
        let siblings: Vec<_> =
            state.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
        return stream.write_all(format!("{}{info}", head("200 OK", "", info.len())).as_bytes());
    }

    let named = path.strip_prefix(&format!("/acme/tiny/resolve/{COMMIT}/"));
    if named == Some("config.json") {
        let right = "ce013625030ba8dba906f756967f9e9ca394464a".to_string();
        let (hash, commit) = match &state.mood {
            Mood::Hash(hash) => (hash.clone(), COMMIT),
            Mood::Commit(commit) => (right, *commit),
            Mood::Elsewhere(place) => {
                return stream
                    .write_all(head("302 Found", &format!("location: {place}\r\n"), 0).as_bytes());
            }
            Mood::Loop => {
                return stream
                    .write_all(head("302 Found", &format!("location: {path}\r\n"), 0).as_bytes());
            }
            Mood::Silence => {
                drop(state);
                std::thread::sleep(std::time::Duration::from_mins(1));
                return Ok(());
            }
            Mood::NotModified => {
                return stream.write_all(head("304 Not Modified", "", 0).as_bytes());
            }

            _ => (String::new(), COMMIT),
        };

        if !hash.is_empty() {
            let more = format!(
                "etag: \"{hash}\"\r\nx-repo-commit: {commit}\r\ncontent-range: bytes 0-0/6\r\n"
            );
            return stream
                .write_all(format!("{}h", head("206 Partial Content", &more, 1)).as_bytes());
        }
    }

    let name = if path == "/lfs/weights" { Some(WEIGHTS) } else { named };
    let Some((name, mut bytes)) =
        name.and_then(|name| Some((name, state.files.get(name)?.clone())))
    else {
        return stream.write_all(head("404 Not Found", "", 0).as_bytes());
    };
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();

    if name == WEIGHTS && path != "/lfs/weights" {
        let etag = hex(&Sha256::digest(&bytes));
        // As the hub does: large files stand on another server, small ones on this one.
        let place = format!("http://{}/lfs/weights", stream.local_addr()?);
        let more = format!(
            "location: {place}\r\nx-repo-commit: {COMMIT}\r\nx-linked-etag: \"{etag}\"\r\n"
        );
        return stream.write_all(head("302 Found", &more, 0).as_bytes());
    }

    let etag = hex(&Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), &bytes].concat()));
    let (start, end) = range
        .map_or((0, bytes.len()), |(start, end)| (start, end.map_or(bytes.len(), |end| end + 1)));
    if name == WEIGHTS && state.mood == Mood::Corrupt {
        *bytes.last_mut().unwrap() ^= 1;
    }
    let more = format!(
        "etag: \"{etag}\"\r\nx-repo-commit: {COMMIT}\r\ncontent-range: bytes {start}-{}/{}\r\n",
        end - 1,
        bytes.len()
    );
    stream.write_all(head("206 Partial Content", &more, end - start).as_bytes())?;
    let mood = if name == WEIGHTS && !is_size { state.mood.clone() } else { Mood::Well };

    if mood == Mood::CutOnce {
        state.mood = Mood::Well;
    }
    drop(state);
    if !matches!(mood, Mood::CutOnce | Mood::Stall) {
        return stream.write_all(&bytes[start..end]);
    }
    stream.write_all(&bytes[start..bytes.len() / 2])?;

    if mood == Mood::Stall {
        std::thread::sleep(std::time::Duration::from_mins(1));
    }
    Ok(())
}

/// One step of training into `out` that goes on from a model.
fn going_on(out: &Path, init: &str) -> Command {
    let (built, out) = (built(), out.to_str().unwrap());
    let shards = built.to_str().unwrap();
    let args = ["train", "--shards", shards, "--out", out, "--init", init];
    command(&[&args[..], &["--set", "train.steps=1", "--set", "train.max_tokens=48"]].concat())
}

/// That it went well.
fn succeeded(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A small model in a folder of transformers' layout.
fn model(folder: &Path) -> PathBuf {
    let out = folder.join("model");
    succeeded(&mut starting(&out, &["--set", "train.steps=1"]));
    out
}

const ALL: &[(&str, &str)] = &[
    ("config.json", "config.json"),
    ("tokenizer.json", "tokenizer.json"),
    (WEIGHTS, WEIGHTS),
    (WEIGHTS, "extra/other.bin"),
];

fn stderr(output: &Output) -> String {
    text(&output.stderr)
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

#[test]
fn a_model_of_the_hub_is_fetched_once_and_read_without_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::serve(&model(folder.path()), ALL);
    let (home, out) = (folder.path().join("home"), |name: &str| folder.path().join(name));
    hub.set(Mood::CutOnce);
    let output = hub.train(&home, &out("a"), "acme/tiny").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains(COMMIT), "{}", stderr(&output));
    let whole = size(&folder.path().join("model").join(WEIGHTS)) as usize;
    assert_eq!(hub.starts(), [0, whole / 2], "it goes on where the connection broke");
    assert!(
        !hub.state().log.iter().any(|(path, _)| path.contains("extra")),
        "only what the trainer reads is fetched"
    );

    let local = out("local");
    succeeded(&mut going_on(&local, folder.path().join("model").to_str().unwrap()));

    for name in [WEIGHTS, "config.json", "tokenizer.json"] {
        assert!(
            std::fs::read(out("a").join(name)).unwrap() == std::fs::read(local.join(name)).unwrap(),
            "{name}"
        );
    }

    hub.set(Mood::Well);
    let offline =
        hub.train(&home, &out("b"), "acme/tiny").env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(offline.status.success() && hub.state().log.is_empty(), "{}", stderr(&offline));
    let commit = hub.train(&home, &out("c"), &format!("acme/tiny@{COMMIT}")).output().unwrap();
    assert!(
        commit.status.success() && hub.state().log.is_empty(),
        "a commit never changes: {}",
        stderr(&commit)
    );
    let nobody = hub
        .train(&home, &out("d"), "acme/tiny")
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert!(
        nobody.status.success() && stderr(&nobody).contains("fetched before"),
        "{}",
        stderr(&nobody)
    );

    // A file that was damaged in the cache is found, and fetched anew.
    let blobs = home.join("hub/models--acme--tiny/blobs");
    let blob = std::fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| size(path))
        .unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let damaged = hub.train(&home, &out("e"), "acme/tiny").output().unwrap();
    assert_eq!(damaged.status.code(), Some(3), "{}", stderr(&damaged));
    assert!(
        stderr(&damaged).contains("damaged") && stderr(&damaged).contains(WEIGHTS),
        "{}",
        stderr(&damaged)
    );
    assert!(hub.train(&home, &out("e"), "acme/tiny").output().unwrap().status.success());
    assert_eq!(hub.starts(), [0]);
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let hub = Hub::serve(&model, ALL);
    let (home, out) = (folder.path().join("home"), folder.path().join("run"));
    hub.set(Mood::Stall);
    let mut child =
        hub.train(&home, &out, "acme/tiny").stderr(std::process::Stdio::null()).spawn().unwrap();
    let blobs = home.join("hub/models--acme--tiny/blobs");
    let part = || {
        let entries =
            std::fs::read_dir(&blobs).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.extension() == Some("part".as_ref()))
            .map(|path| size(&path))
            .max()
            .unwrap_or(0)
    };

    let half = size(&model.join(WEIGHTS)) / 2;
    while part() < half {
        assert!(child.try_wait().unwrap().is_none(), "it ended before half was there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }

    child.kill().unwrap();
    child.wait().unwrap();
    hub.set(Mood::Well);
    let offline = hub.train(&home, &out, "acme/tiny").env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(stderr(&offline).contains("is not in"), "half a model is none: {}", stderr(&offline));
    let output = hub.train(&home, &out, "acme/tiny").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(hub.starts(), [half as usize]);
}

/// Whatever a server says, nothing is written outside of the cache, the token stays with it, and
/// the program ends.
#[test]
fn what_a_server_says_decides_nothing_unchecked() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::serve(&model(folder.path()), ALL);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&told);
    let other = serve(move |request, mut stream| {
        let token = request.headers.get("authorization").cloned().unwrap_or_default();
        heard.lock().unwrap().push(token);
        stream.write_all(head("404 Not Found", "", 0).as_bytes())
    });
    let outside = folder.path().join("outside");
    let absolute = outside.to_str().unwrap().to_string();

    for (mood, code, word) in [
        (Mood::Hash(absolute), 3, "as the hash of `config.json`"),
        (Mood::Hash("../../../../outside".into()), 3, "as the hash"),
        (Mood::Hash("abc".into()), 3, "as the hash"),
        (Mood::Commit("../../.."), 3, "as the commit"),
        (Mood::Commit("1123456789abcdef0123456789abcdef01234567"), 3, "as the commit"),
        (Mood::Elsewhere(format!("{other}/x")), 2, "no model"),
        (Mood::Elsewhere("file:///etc/passwd".into()), 3, "not secure"),
        (Mood::Elsewhere("http://[".into()), 3, "no address"),
        (Mood::Loop, 4, "redirects more than 10 times"),
        (Mood::NotModified, 4, "HTTP status 304"),
        (Mood::Silence, 4, "cannot fetch"),
    ] {
        hub.set(mood.clone());
        let mut command =
            hub.train(&folder.path().join("home"), &folder.path().join("run"), "acme/tiny");
        command.env("HF_TOKEN", "hf_secret").env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
        let endpoint = hub.endpoint.replace("http://", "http://me:pa55word@");
        let output = command.env("HF_ENDPOINT", endpoint).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{mood:?}: {said}");
        assert!(said.contains(word), "{mood:?}: {said}");
        assert!(!said.contains("pa55word") && !said.contains("hf_secret"), "{mood:?}: {said}");
        assert!(!outside.exists(), "{mood:?}");
        let hub = folder.path().join("home/hub");
        let models: Vec<_> =
            std::fs::read_dir(&hub).unwrap().map(|entry| entry.unwrap().file_name()).collect();

        assert_eq!(models, ["models--acme--tiny"], "{mood:?}");
    }

    assert_eq!(*told.lock().unwrap(), [""], "the other server was asked once, and told no token");
}

#[test]
fn what_cannot_be_fetched_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let hub = Hub::serve(&model, ALL);
    let home = folder.path().join("home");
    let fails = |hub: &Hub, init: &str, endpoint: Option<&str>, code: i32, words: &[&str]| {
        let mut command = hub.train(&home, &folder.path().join("run"), init);
        command.env("HF_ENDPOINT", endpoint.unwrap_or(&hub.endpoint));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{init}: {}", stderr(&output));
        words.iter().for_each(|word| {
            assert!(stderr(&output).contains(word), "{init}: `{word}` in {}", stderr(&output))
        });
    };

    fails(&hub, "acme/none", None, 2, &["no model `acme/none`", "check its path"]);
    fails(&hub, "acme/tiny@later", None, 2, &["revision `later`"]);
    fails(&hub, "acme/gated", None, 2, &["HF_TOKEN"]);
    fails(&hub, "no-such-folder", None, 2, &["no `config.json`", "owner/name"]);
    fails(
        &hub,
        "acme/tiny",
        Some("http://127.0.0.1:9"),
        4,
        &["cannot fetch `acme/tiny`", "HF_ENDPOINT"],
    );

    hub.set(Mood::Corrupt);
    fails(&hub, "acme/tiny", None, 3, &["damaged", WEIGHTS, "fetch it anew"]);
    let pickles =
        Hub::serve(&model, &[("config.json", "config.json"), (WEIGHTS, "pytorch_model.bin")]);
    fails(&pickles, "acme/tiny", None, 2, &["pickle", "safetensors"]);
}
