//! Models of the Hugging Face hub, named `owner/name` or `owner/name@revision`: fetched once into
//! the cache that Hugging Face's own tools keep, and read from there.
//!
//! Only `config.json`, `tokenizer.json`, the safetensors and their companions are fetched, all of
//! one commit. What was cut off goes on where it stopped. Every file is compared with the hash that
//! the hub gives it, in the cache too.
//!
//! The crate `hf-hub` does the same, but writes where a server's headers say, sends the token to
//! whatever host a redirect names, and waits for ever: a mirror, or somebody on the way to one,
//! decides all of that. What stands here checks every word of the server before it uses it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;

use super::hugging_face::{COMPANIONS, CONFIG, INDEX, PICKLES, TOKENIZER, WEIGHTS, shards};
use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;
use crate::flow::disk::{remove_file, rename, sync_folder};
use crate::flow::progress::Progress;

/// The hub, where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";
/// Times a file is asked for where the connection breaks.
const ATTEMPTS: u32 = 4;
/// How long a server may be silent, where `HF_HUB_ETAG_TIMEOUT` (to answer) and
/// `HF_HUB_DOWNLOAD_TIMEOUT` (between two pieces), in seconds, say nothing else.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A server that drips is as good as silent: what comes slower than this after a while is broken
/// off.
const SLOWEST: u64 = 1_000;
const DRIP: Duration = Duration::from_mins(1);
/// How long the answer to a question may take in all; files may take as long as they need.
const QUESTION: Duration = Duration::from_mins(2);
/// Redirects of one request.
const MAX_REDIRECTS: usize = 10;
/// Most bytes of what the hub says about a model.
const MAX_INFO: u64 = 16 << 20;

/// The folder that `init` names: itself where there is one, else the hub's model of that name in
/// the cache.
///
/// The environment is that of Hugging Face's tools: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`,
/// `HF_TOKEN`, and `HF_HUB_OFFLINE`, with which only the cache is asked.
///
/// # Errors
/// `Usage` if there is no such model or it has no safetensors, `Io` if it cannot be fetched, `Data`
/// if a file is not what the hub says it is.
pub fn folder(init: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let place = Path::new(init);
    match Name::parse(init).filter(|_| !place.exists()) {
        Some(name) => Hub::from_env()?.snapshot(&name, progress),
        None => Ok(place.to_path_buf()),
    }
}

/// A model of the hub.
struct Name {
    id: String,
    revision: String,
}

impl Name {
    /// Reads `owner/name` or `owner/name@revision`; `None` where `text` is nothing of that form.
    fn parse(text: &str) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let is_revision = revision.split('/').all(is_plain);
        (is_plain(owner) && is_plain(name) && is_revision)
            .then(|| Name { id: id.to_string(), revision: revision.to_string() })
    }

    /// Whether the revision names a commit, which never changes.
    fn is_commit(&self) -> bool {
        self.revision.len() == 40 && is_hex(&self.revision)
    }
}

/// Where models come from and where they are kept.
struct Hub {
    cache: PathBuf,
    server: Server,
    offline: bool,
}

impl Hub {
    fn from_env() -> Result<Self> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = set("HF_HOME").map(PathBuf::from).or_else(|| {
            let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
            let caches = caches.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
            Some(caches.join("huggingface"))
        });
        let cache = set("HF_HUB_CACHE")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join("hub")));
        let cache = cache.ok_or_else(|| {
            Error::usage("there is no home folder for the cache of models")
                .hint("set `HF_HOME` to a folder for it")
        })?;
        let kept = || std::fs::read_to_string(home.as_ref()?.join("token")).ok();
        let token = set("HF_TOKEN")
            .or_else(kept)
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());

        Ok(Hub {
            cache,
            server: Server::new(
                &set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_string()),
                token,
            )?,
            offline: set("HF_HUB_OFFLINE")
                .is_some_and(|value| !["0", "false", "no", "off"].contains(&value.as_str())),
        })
    }

    /// The folder of a model in the cache, with every file the trainer reads, compared with its
    /// hash.
    fn snapshot(&self, name: &Name, progress: &dyn Progress) -> Result<PathBuf> {
        let folder = match self.cached(name) {
            Some(folder) if self.offline || name.is_commit() => folder,
            None if self.offline => {
                return Err(Error::usage(format!(
                    "`{}` is not in `{}`",
                    name.id,
                    self.cache.display()
                ))
                .hint("`HF_HUB_OFFLINE` is set: unset it to fetch the model, or give a folder"));
            }

            cached => match (self.download(name, progress), cached) {
                (Ok(folder), _) => folder,
                (Err(Failure::NoConnection(cause)), Some(folder)) => {
                    let error = self.no_connection(name, &cause);
                    progress.note(&format!(
                        "{}; using `{}`, fetched before",
                        error.what(),
                        folder.display()
                    ));
                    folder
                }
                (Err(failure), _) => return Err(self.told(name, failure)),
            },
        };

        verify(&folder)?;
        Ok(folder)
    }

    /// The folder of a model in the cache, where all of it is there.
    fn cached(&self, name: &Name) -> Option<PathBuf> {
        let repo = self.repo(name);
        let commit = match name.is_commit() {
            true => name.revision.clone(),
            false => std::fs::read_to_string(repo.join("refs").join(&name.revision))
                .ok()?
                .trim()
                .to_string(),
        };

        let folder = repo.join("snapshots").join(commit);
        let weights = super::hugging_face::files(&folder).ok()?;
        let whole = folder.join(CONFIG).exists() && weights.iter().all(|file| file.exists());
        whole.then_some(folder)
    }

    fn repo(&self, name: &Name) -> PathBuf {
        self.cache.join(format!("models--{}", name.id.replace('/', "--")))
    }

    fn download(
        &self,
        name: &Name,
        progress: &dyn Progress,
    ) -> std::result::Result<PathBuf, Failure> {
        let info = self.info(name)?;
        let there: Vec<&str> =
            info.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
        if !there.contains(&INDEX) && !there.contains(&WEIGHTS) {
            return Err(no_safetensors(name, &there).into());
        }
        let is_commit = info.sha.len() == 40 && is_hex(&info.sha);

        if !is_commit || name.is_commit() && info.sha != name.revision {
            let endpoint = &self.server.shown;
            let told = info.sha.escape_default();
            return Err(Error::data(format!("`{endpoint}` answers with the commit `{told}`"))
                .hint("no file was written; `HF_ENDPOINT` names the server")
                .into());
        }

        progress.note(&format!("`{}` is at commit {}", name.id, info.sha));
        let repo = self.repo(name);
        let folder = repo.join("snapshots").join(&info.sha);
        let fetch = Fetch {
            hub: self,
            name,
            commit: &info.sha,
            blobs: repo.join("blobs"),
            folder,
            progress,
        };

        for folder in [&fetch.blobs, &fetch.folder] {
            std::fs::create_dir_all(folder)
                .map_err(|cause| Error::file("create", folder, cause))?;
        }

        progress.begin(&format!("fetch {}", name.id), None, "bytes");
        let mut wanted: Vec<String> =
            [CONFIG, TOKENIZER].into_iter().chain(COMPANIONS).map(String::from).collect();
        wanted.retain(|file| there.contains(&file.as_str()));

        if there.contains(&INDEX) {
            fetch.all(&[INDEX.to_string()])?;
            wanted.extend(shards(&fetch.folder.join(INDEX))?);
        } else {
            wanted.push(WEIGHTS.to_string());
        }

        fetch.all(&wanted)?;
        // Only now: whoever asks for the revision without a connection finds the whole model.
        let named = repo.join("refs").join(&name.revision);
        let parent = named.parent().unwrap_or(&repo);
        std::fs::create_dir_all(parent).map_err(|cause| Error::file("create", parent, cause))?;
        sync_folder(&fetch.blobs)?;
        sync_folder(&fetch.folder)?;
        write_atomically(&named, info.sha.as_bytes())?;
        progress.end(&format!("{} files", wanted.len()));

        Ok(fetch.folder)
    }

    /// What the hub says about a model at a revision.
    fn info(&self, name: &Name) -> std::result::Result<Info, Failure> {
        let revision = name.revision.replace('/', "%2F");
        let place = self.server.address(&format!("/api/models/{}/revision/{revision}", name.id))?;
        let (mut answer, _) = self.server.get(place, None)?;
        let limited = answer.body_mut().with_config().limit(MAX_INFO);
        let text =
            limited.read_to_string().map_err(|cause| Failure::NoConnection(cause.to_string()))?;

        serde_json::from_str(&text).map_err(|cause| {
            Error::data(format!("`{}` does not answer as the hub: {cause}", self.server.shown))
                .into()
        })
    }

    /// What a failed request means to the person who made it.
    fn told(&self, name: &Name, failure: Failure) -> Error {
        let (id, endpoint) = (&name.id, &self.server.shown);
        match failure {
            Failure::Other(error) => error,
            Failure::NoConnection(cause) => self.no_connection(name, &cause),
            Failure::Status(401 | 403) => Error::usage(format!(
                "`{endpoint}` does not give `{id}`: no such model, or no access to it"
            ))
            .hint("for a gated or private model accept its terms there and set `HF_TOKEN`")
            .hint(format!("for a folder, check its path: there is none called `{id}` here")),
            Failure::Status(404) => Error::usage(format!(
                "`{endpoint}` has no model `{id}` with a revision `{}`",
                name.revision
            ))
            .hint(format!("for a folder, check its path: there is none called `{id}` here")),
            Failure::Status(status) => {
                Error::io(format!("`{endpoint}` refuses `{id}`"), format!("HTTP status {status}"))
            }
        }
    }

    fn no_connection(&self, name: &Name, cause: &str) -> Error {
        Error::io(
            format!("cannot fetch `{}` from `{}`", name.id, self.server.shown),
            self.server.without_secrets(cause),
        )
        .hint("run the command again: it goes on where it stopped")
        .hint("`HF_ENDPOINT` names another server, `--init FOLDER` a model on this machine")
    }
}

/// What the hub says about a model.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Why a model was not fetched.
enum Failure {
    /// The server did not answer, or broke off, or will do so again soon.
    NoConnection(String),
    /// It refuses, with this status.
    Status(u16),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// A server that is asked for files. What it says decides nothing unchecked, and what it must not
/// know it is not told: the token goes to the host it was given for, and to no other that this one
/// names.
struct Server {
    agent: Agent,
    /// The address without a slash at its end.
    endpoint: Url,
    /// The same as people may see it.
    shown: String,
    token: Option<String>,
}

/// The range of a question about a file.
const ONE_BYTE: &str = "bytes=0-0";

type Answer = ureq::http::Response<ureq::Body>;

impl Server {
    fn new(endpoint: &str, token: Option<String>) -> Result<Self> {
        let mut endpoint = Url::parse(endpoint.trim_end_matches('/')).map_err(|cause| {
            Error::usage(format!("`HF_ENDPOINT` is no address: {cause}"))
                .hint("it looks like `https://huggingface.co`")
        })?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(Error::usage("`HF_ENDPOINT` is no address of a web server")
                .hint("it looks like `https://huggingface.co`"));
        }

        let seconds = |name| {
            std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).filter(|n| *n > 0)
        };
        let timeout = |name| Some(seconds(name).map_or(TIMEOUT, Duration::from_secs));
        // The system's own certificate authorities count, as `SSL_CERT_FILE` and the like say;
        // proxies come from the environment as well.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_resolve(timeout("HF_HUB_ETAG_TIMEOUT"))
            .timeout_connect(timeout("HF_HUB_ETAG_TIMEOUT"))
            .timeout_recv_response(timeout("HF_HUB_DOWNLOAD_TIMEOUT"))
            .timeout_per_read(timeout("HF_HUB_DOWNLOAD_TIMEOUT"))
            .timeout_per_write(timeout("HF_HUB_DOWNLOAD_TIMEOUT"))
            .user_agent(concat!("kpipe/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();

        let mut shown = endpoint.clone();
        // They fail only for addresses without a host.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_query(None);
        endpoint.set_fragment(None);
        let shown = shown.as_str().trim_end_matches('/').to_string();

        Ok(Server { agent: config.new_agent(), endpoint, shown, token })
    }

    /// The address of `path` on the server.
    fn address(&self, path: &str) -> Result<Url> {
        let mut address = self.endpoint.clone();
        let path = format!("{}{path}", address.path().trim_end_matches('/'));
        address.set_path(&path);
        // `set_path` escapes what is escaped already.
        Url::parse(&address.as_str().replace("%252F", "%2F"))
            .map_err(|cause| Error::usage(format!("`{}` is no address: {cause}", self.shown)))
    }

    /// Asks for `range` of what stands at `place`, through redirects; stops before one that names
    /// the hash of a file, since that answer is the hub's own word about it. Gives the answer and
    /// the place it came from.
    fn get(
        &self,
        mut place: Url,
        range: Option<&str>,
    ) -> std::result::Result<(Answer, Url), Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(place.as_str());
            if range.is_none_or(|range| range == ONE_BYTE) {
                request = request.config().timeout_global(Some(QUESTION)).build();
            }

            if let Some(token) =
                self.token.as_ref().filter(|_| place.origin() == self.endpoint.origin())
            {
                request = request.header("authorization", format!("Bearer {token}"));
            }

            if let Some(range) = range {
                request = request.header("range", range);
            }
            let answer =
                request.call().map_err(|cause| Failure::NoConnection(cause.to_string()))?;

            match answer.status().as_u16() {
                200 | 206 => return Ok((answer, place)),
                301 | 302 | 303 | 307 | 308 if header(&answer, "x-linked-etag").is_some() => {
                    return Ok((answer, place));
                }
                301 | 302 | 303 | 307 | 308 => place = self.redirected(&answer, &place)?,
                status if status >= 500 || status == 429 || status == 408 => {
                    return Err(Failure::NoConnection(format!("HTTP status {status}")));
                }
                status => return Err(Failure::Status(status)),
            }
        }

        let what = format!("`{}` redirects more than {MAX_REDIRECTS} times", self.shown);
        Err(Error::io(what, "it goes nowhere").hint("`HF_ENDPOINT` names the server").into())
    }

    /// Where an answer points to.
    fn redirected(&self, answer: &Answer, place: &Url) -> Result<Url> {
        let wrong = |what: &str| {
            Error::data(format!("`{}` redirects to {what}", self.shown))
                .hint("`HF_ENDPOINT` names the server")
        };
        let location = header(answer, "location").ok_or_else(|| wrong("nowhere"))?;
        let to = place.join(location).map_err(|_| wrong("what is no address"))?;

        match to.scheme() {
            "https" => Ok(to),
            // A secure answer is not finished insecurely.
            "http" if place.scheme() == "http" => Ok(to),
            _ => Err(wrong("an address that is not secure")),
        }
    }

    /// A message of a library without what must not be shown.
    fn without_secrets(&self, message: &str) -> String {
        let secrets =
            [self.endpoint.password(), Some(self.endpoint.username()), self.token.as_deref()];
        let hide = |text: String, secret: &str| {
            if secret.is_empty() { text } else { text.replace(secret, "…") }
        };
        secrets.into_iter().flatten().fold(message.to_string(), hide)
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().get(name).and_then(|value| value.to_str().ok())
}

/// A file as the hub describes it.
struct Described {
    /// SHA-256 of its bytes (64 hexadecimal digits), or git's SHA-1 of it (40).
    hash: String,
    /// Bytes, where they are told.
    size: Option<u64>,
    /// Where its bytes are.
    place: Url,
}

/// A commit of a model on the way into the cache.
struct Fetch<'a> {
    hub: &'a Hub,
    name: &'a Name,
    commit: &'a str,
    blobs: PathBuf,
    folder: PathBuf,
    progress: &'a dyn Progress,
}

impl Fetch<'_> {
    /// Fetches those files that are not there.
    fn all(&self, files: &[String]) -> std::result::Result<(), Failure> {
        for file in files.iter().filter(|file| !self.folder.join(file).exists()) {
            self.progress.message(file);
            let mut told = 0;
            let mut attempt = 1;

            while let Err(failure) = self.one(file, &mut told) {
                match failure {
                    Failure::NoConnection(_) if attempt < ATTEMPTS => {}
                    failure => return Err(failure),
                }
                std::thread::sleep(Duration::from_secs(u64::from(attempt)));
                attempt += 1;
            }
        }
        Ok(())
    }

    /// Fetches one file, from where it broke off; `told` of its bytes are told to the progress.
    fn one(&self, file: &str, told: &mut u64) -> std::result::Result<(), Failure> {
        let described = self.describe(file)?;
        let blob = self.blobs.join(&described.hash);
        if !blob.exists() {
            self.bytes(file, &described, told)?;
        }
        let place = self.folder.join(file);
        remove_file(&place)?;
        let target = Path::new("../../blobs").join(&described.hash);
        link_or_copy(&target, &blob, &place)
            .map_err(|cause| Error::file("create", &place, cause))?;

        Ok(())
    }

    /// What the hub says about a file.
    fn describe(&self, file: &str) -> std::result::Result<Described, Failure> {
        let server = &self.hub.server;
        let asked = server.address(&format!("/{}/resolve/{}/{file}", self.name.id, self.commit))?;
        let (answer, from) = server.get(asked, Some(ONE_BYTE))?;
        let wrong =
            |what: &str, value: Option<&str>| {
                let value = value
                    .map_or("nothing".to_string(), |value| format!("`{}`", value.escape_default()));
                Failure::Other(Error::data(format!("`{}` gives {value} as the {what} of \
                                                `{file}`", server.shown)).hint(
                    "nothing was written; `HF_ENDPOINT` names the server, `--init FOLDER` a model \
                     on this machine",
                ))
            };

        let commit = header(&answer, "x-repo-commit");
        if commit != Some(self.commit) {
            return Err(wrong("commit", commit));
        }
        let told = header(&answer, "x-linked-etag").or_else(|| header(&answer, "etag"));
        let hash =
            told.map(|told| told.trim_start_matches("W/").trim_matches('"')).unwrap_or_default();

        if !matches!(hash.len(), 40 | 64) || !is_hex(hash) {
            return Err(wrong("hash", told));
        }
        let of_range = header(&answer, "content-range")
            .and_then(|range| range.rsplit_once('/'))
            .map(|(_, size)| size);
        let size = header(&answer, "x-linked-size").or(of_range).and_then(|size| size.parse().ok());
        let place = match answer.status().is_redirection() {
            true => server.redirected(&answer, &from)?,
            false => from,
        };
        Ok(Described { hash: hash.to_string(), size, place })
    }

    /// Fetches the bytes of a file into its blob, behind those that are there already.
    fn bytes(
        &self,
        file: &str,
        described: &Described,
        told: &mut u64,
    ) -> std::result::Result<(), Failure> {
        let blob = self.blobs.join(&described.hash);
        let part = self.blobs.join(format!("{}.part", described.hash));
        let failed = |cause| Error::file("write", &part, cause);
        let opened = OpenOptions::new().create(true).append(true).open(&part).map_err(failed)?;
        opened.try_lock().map_err(|_| {
            Error::io(
                format!("another program is fetching `{}`", self.name.id),
                "its file is locked",
            )
            .hint("wait until it is done")
        })?;

        let mut start = opened.metadata().map_err(failed)?.len();
        if described.size.is_some_and(|size| start > size) {
            // What is there is longer than the file: it was not written by us.
            opened.set_len(0).map_err(failed)?;
            start = 0;
        }

        if described.size != Some(start) || start == 0 {
            let (mut answer, _) =
                self.hub.server.get(described.place.clone(), Some(&format!("bytes={start}-")))?;
            let from =
                header(&answer, "content-range").and_then(|range| range.strip_prefix("bytes "));
            let from = from.and_then(|range| range.split('-').next()?.parse::<u64>().ok());

            match answer.status().as_u16() {
                206 if from == Some(start) => {}
                // A server that knows no ranges sends all of it.
                200 => opened.set_len(0).map_err(failed)?,
                status => {
                    return Err(Error::data(format!(
                        "`{}` sends another part of `{file}`",
                        self.hub.server.shown
                    ))
                    .at(format!("HTTP status {status}, from byte {from:?} instead of {start}"))
                    .into());
                }
            }

            let mut out = &opened;
            let mut done = opened.metadata().map_err(failed)?.len();
            let mut body = answer.body_mut().as_reader();
            let mut buffer = vec![0; 64 << 10];
            let (begun, first) = (Instant::now(), done);

            loop {
                let n = match body.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(cause) => return Err(Failure::NoConnection(cause.to_string())),
                };
                done += n as u64;
                if described.size.is_some_and(|size| done > size) {
                    return Err(Error::data(format!(
                        "`{}` sends more of `{file}` than it has",
                        self.hub.server.shown
                    ))
                    .hint("`HF_ENDPOINT` names the server")
                    .into());
                }
                out.write_all(&buffer[..n]).map_err(failed)?;
                let seconds = begun.elapsed().as_secs();
                if seconds > DRIP.as_secs() && (done - first) / seconds < SLOWEST {
                    return Err(Failure::NoConnection(format!(
                        "`{file}` comes at less than {SLOWEST} bytes a second"
                    )));
                }
                self.progress.advance(done.saturating_sub(*told));
                *told = (*told).max(done);
            }

            if described.size.is_some_and(|size| done < size) {
                return Err(Failure::NoConnection(format!(
                    "`{file}` broke off after {done} bytes"
                )));
            }
        }

        opened.sync_data().map_err(failed)?;
        rename(&part, &blob)?;
        Ok(())
    }
}

/// A link to a blob, as Hugging Face's tools make it; a copy where the file system knows none.
fn link_or_copy(target: &Path, blob: &Path, place: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    if std::os::unix::fs::symlink(target, place).is_ok() {
        return Ok(());
    }
    let _ = target;
    std::fs::copy(blob, place).map(drop)
}

fn no_safetensors(name: &Name, there: &[&str]) -> Error {
    match PICKLES.iter().find(|pickle| there.contains(pickle)) {
        Some(pickle) => Error::usage(format!(
            "`{}` has its weights in `{pickle}`, a pickle, which kpipe does not read: reading one \
             runs code from it",
            name.id
        ))
        .hint(
            "look for a revision with safetensors (often `refs/pr/1`), or save it with \
             transformers' `save_pretrained`",
        ),
        None => Error::usage(format!("`{}` has no `{WEIGHTS}`", name.id))
            .hint("kpipe goes on from models in the layout of transformers"),
    }
}

/// Compares the files of a snapshot with the hashes they are kept under; damaged ones are removed.
fn verify(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::file("read", folder, cause))?;
    let mut links: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    links.sort();

    for link in links {
        // Files are links to blobs named after their hash; where links cannot be made they are
        // files of their own.
        let Ok(blob) = std::fs::read_link(&link) else { continue };
        let hash = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        let found = match hash.len() {
            64 if is_hex(&hash) => content_hash::<Sha256>(&link, |_| String::new())?,
            40 if is_hex(&hash) => {
                content_hash::<Sha1>(&link, |length| format!("blob {length}\0"))?
            }
            // Written by another tool, under a name that is no hash.
            _ => continue,
        };

        if found != hash {
            for place in [folder.join(&blob), link.clone()] {
                std::fs::remove_file(&place)
                    .map_err(|cause| Error::file("remove", &place, cause))?;
            }
            return Err(Error::data(format!(
                "the file is damaged: its hash is {found}, not {hash}"
            ))
            .at(link.display())
            .hint("it was removed: run the command again to fetch it anew"));
        }
    }

    Ok(())
}

fn content_hash<D: Digest>(path: &Path, prefix: impl Fn(u64) -> String) -> Result<String> {
    let unreadable = |cause| Error::file("read", path, cause);
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut digest = D::new();
    digest.update(prefix(file.metadata().map_err(unreadable)?.len()));
    let mut buffer = vec![0; 1 << 20];

    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }

    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether `part` can stand in a path and leads nowhere else.
fn is_plain(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_alphanumeric())
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_told_from_paths() {
        for (text, revision) in
            [("google-bert/bert-base-uncased", "main"), ("t5/v1.1@refs/pr/1", "refs/pr/1")]
        {
            assert_eq!(Name::parse(text).unwrap().revision, revision);
        }

        for path in [
            "model",
            "a/b/c",
            "./model",
            "/model",
            "../x",
            "a/../b",
            "a/b@",
            "a/b@../../x",
            "a b/c",
            "a/",
        ] {
            assert!(Name::parse(path).is_none(), "{path}");
        }
        assert!(Name::parse(&format!("a/b@{}", "0f".repeat(20))).unwrap().is_commit());
    }

    #[test]
    fn hashes_are_those_of_sha256sum_and_of_git() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("x");
        std::fs::write(&place, "hello\n").unwrap();
        // `sha256sum` and `git hash-object`.
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(content_hash::<Sha256>(&place, |_| String::new()).unwrap(), sha256);
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(content_hash::<Sha1>(&place, |n| format!("blob {n}\0")).unwrap(), git);
    }
}
