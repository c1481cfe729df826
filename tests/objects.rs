//! `--shards s3://…` against a server of our own that answers as S3 does.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};

use crate::flow::built;
use crate::server::{Request, head, serve, without_proxies};
use crate::support::{command, text, tree};
use crate::train::{SMALL, starting};

/// What the server does.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// Refuses a request, and breaks off the answer to another one, once each.
    Flaky(u32),
    /// Has another version of every object than the one it lists.
    Changed,
    Forbidden,
}

struct State {
    objects: BTreeMap<String, Vec<u8>>,
    mood: Mood,
}

/// A store with one bucket, `bucket`, in which the output of a build lies under `corpus`.
struct Store {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Store {
    fn serve() -> Self {
        let files = tree(&built()).into_iter();
        let objects =
            files.map(|(path, bytes)| (format!("corpus/{}", path.display()), bytes)).collect();
        let state = Arc::new(Mutex::new(State { objects, mood: Mood::Well }));
        let shared = Arc::clone(&state);
        let endpoint = serve(move |request, stream| answer(request, stream, &shared));
        Store { endpoint, state }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn train(&self, out: &Path, shards: &str) -> Command {
        let args =
            ["train", "--shards", shards, "--out", out.to_str().unwrap(), "--set", "train.steps=3"];
        let mut command = command(&[&args[..], SMALL].concat());
        without_proxies(&mut command);
        command
            .env("AWS_ENDPOINT", &self.endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "eu-north-1");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");

        command
    }

    fn fails(&self, shards: &str, code: i32, words: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let output = self.train(&folder.path().join("run"), shards).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{shards}: {stderr}");
        words
            .iter()
            .for_each(|word| assert!(stderr.contains(word), "{shards}: `{word}` in {stderr}"));
    }
}

fn answer(request: &Request, mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let signed = request
        .headers
        .get("authorization")
        .is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "));
    if !signed || state.mood == Mood::Forbidden {
        return stream.write_all(head("403 Forbidden", "", 0).as_bytes());
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let name = path.strip_prefix("/bucket").unwrap_or_default().trim_start_matches('/');

    if query.contains("list-type=2") {
        let listing = listing(&state.objects, query);
        return stream
            .write_all(format!("{}{listing}", head("200 OK", "", listing.len())).as_bytes());
    }

    let Some(bytes) = state.objects.get(name).cloned() else {
        return stream.write_all(head("404 Not Found", "", 0).as_bytes());
    };
    let e_tag = if state.mood == Mood::Changed { "\"new\"".to_string() } else { e_tag(&bytes) };
    if request.headers.get("if-match").is_some_and(|wanted| *wanted != e_tag) {
        return stream.write_all(head("412 Precondition Failed", "", 0).as_bytes());
    }
    let range = request
        .range()
        .map(|(start, end)| start..end.map_or(bytes.len(), |end| bytes.len().min(end + 1)));
    let (status, more) = match &range {
        Some(range) => {
            let of = format!(
                "content-range: bytes {}-{}/{}\r\n",
                range.start,
                range.end - 1,
                bytes.len()
            );
            ("206 Partial Content", of)
        }
        None => ("200 OK", String::new()),
    };

    let part = &bytes[range.unwrap_or(0..bytes.len())];
    let more = format!("{more}etag: {e_tag}\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
    let flaky = match &mut state.mood {
        Mood::Flaky(left @ 1..) => {
            *left -= 1;
            Some(*left)
        }
        _ => None,
    };

    if flaky == Some(1) {
        return stream.write_all(head("503 Slow Down", "", 0).as_bytes());
    }
    stream.write_all(head(status, &more, part.len()).as_bytes())?;
    stream.write_all(if flaky == Some(0) { &part[..part.len() / 2] } else { part })
}

fn e_tag(bytes: &[u8]) -> String {
    format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(bytes))
}

/// One object a page, as if each page were full.
fn listing(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let asked = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().replace("%2F", "/").replace("%2f", "/")
    };
    assert_eq!(asked("delimiter"), "/");
    let (prefix, token) = (asked("prefix"), asked("continuation-token"));
    let right_in_it =
        |name: &&String| name.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
    let names: Vec<&String> =
        objects.keys().filter(right_in_it).filter(|name| **name > token).collect();
    let contents = names.first().map_or(String::new(), |name| {
        let (size, e_tag) = (objects[*name].len(), e_tag(&objects[*name]).replace('"', "&quot;"));
        format!(
            "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{e_tag}</ETag>\
             <Size>{size}</Size></Contents>"
        )
    });

    let next = match names.len() {
        0 | 1 => "<IsTruncated>false</IsTruncated>".to_string(),
        _ => format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
            names[0]
        ),
    };

    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><Name>bucket</Name>{next}{contents}</ListBucketResult>"
    )
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_run_on_a_store_is_the_run_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (store, local) = (Store::serve(), folder.path().join("local"));
    succeeded(&starting(&local, &["--set", "train.steps=3"]).output().unwrap());
    store.state().mood = Mood::Flaky(2);

    for (name, shards) in
        [("folder", "s3://bucket/corpus/"), ("pattern", "s3://bucket/corpus/data/*.parquet")]
    {
        let out = folder.path().join(name);
        let output = store.train(&out, shards).output().unwrap();
        succeeded(&output);
        assert!(text(&output.stderr).contains("in a store"), "{}", text(&output.stderr));
        for file in ["model.safetensors", "consumed.jsonl", "tokenizer.json"] {
            assert!(
                std::fs::read(out.join(file)).unwrap() == std::fs::read(local.join(file)).unwrap(),
                "{name}: {file}"
            );
        }
    }

    assert!(store.state().mood == Mood::Flaky(0), "it was refused and broken off");
}

#[test]
fn what_a_store_does_not_give_is_told() {
    let store = Store::serve();
    store.fails("s3://bucket/nothing", 2, &["nothing is at `s3://bucket/nothing`", "kpipe build"]);
    store.fails("s3://bucket/*/data/train-*", 2, &["pattern in the name of a folder"]);
    store.fails("ftp://bucket/corpus", 2, &["`ftp://bucket/corpus`", "s3://"]);
    store.fails("https://example.org/corpus", 2, &["cannot be listed"]);
    store.state().mood = Mood::Changed;
    store.fails(
        "s3://bucket/corpus",
        3,
        &["s3://bucket/corpus/data/train-00000", "written anew while it was read"],
    );
    store.state().mood = Mood::Forbidden;
    store.fails(
        "s3://bucket/corpus",
        4,
        &["cannot list `s3://bucket/corpus/data`", "AWS_ACCESS_KEY_ID"],
    );
    store.state().mood = Mood::Well;
    let name = "corpus/data/train-00000-of-00001.parquet";
    store.state().objects.get_mut(name).unwrap().push(0);

    store.fails("s3://bucket/corpus", 3, &[name]);
}
