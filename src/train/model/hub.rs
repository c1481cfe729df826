//! Models of the Hugging Face hub, named `owner/name` or `owner/name@revision`: fetched once into the cache that Hugging
//! Face's own tools keep, and read from there.
//!
//! Only `config.json`, `tokenizer.json`, the safetensors and their companions are fetched, all of one commit. What was
//! cut off goes on where it stopped. Every file is compared with the hash that the hub gives it, in the cache too.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::hugging_face::{COMPANIONS, CONFIG, INDEX, PICKLES, TOKENIZER, WEIGHTS, shards};
use crate::error::{Error, Result};
use crate::flow::progress::Progress;

/// The hub, where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";
/// Times a file is asked for where the connection breaks.
const ATTEMPTS: u32 = 4;

/// The folder that `init` names: itself where there is one, else the hub's model of that name in the cache.
///
/// The environment is that of Hugging Face's tools: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, and
/// `HF_HUB_OFFLINE`, with which only the cache is asked.
///
/// # Errors
/// `Usage` if there is no such model or it has no safetensors, `Io` if it cannot be fetched, `Data` if a file is not what
/// the hub says it is.
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

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_string())
    }
}

/// Where models come from and where they are kept.
struct Hub {
    cache: Cache,
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

impl Hub {
    fn from_env() -> Result<Self> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match set("HF_HUB_CACHE") {
            Some(folder) => Cache::new(folder.into()),
            None if set("HF_HOME").is_some() || std::env::home_dir().is_some() => Cache::from_env(),
            None => {
                return Err(Error::usage("there is no home folder for the cache of models")
                    .hint("set `HF_HOME` to a folder for it"));
            }
        };
        Ok(Hub {
            token: set("HF_TOKEN").or_else(|| cache.token()),
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_string()).trim_end_matches('/').to_string(),
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| !["0", "false", "no", "off"].contains(&value.as_str())),
            cache,
        })
    }

    /// The folder of a model in the cache, with every file the trainer reads, compared with its hash.
    fn snapshot(&self, name: &Name, progress: &dyn Progress) -> Result<PathBuf> {
        let folder = match self.cached(name) {
            Some(folder) if self.offline || name.is_commit() => folder,
            None if self.offline => {
                return Err(Error::usage(format!("`{}` is not in `{}`", name.id, self.cache.path().display()))
                    .hint("`HF_HUB_OFFLINE` is set: unset it to fetch the model, or give a folder"));
            }
            cached => match (self.download(name, progress), cached) {
                (Ok(folder), _) => folder,
                (Err(Failure::NoConnection(error)), Some(folder)) => {
                    progress.note(&format!("{}; using `{}`, fetched before", error.what(), folder.display()));
                    folder
                }
                (Err(Failure::NoConnection(error) | Failure::Other(error)), _) => return Err(error),
            },
        };
        verify(&folder, progress)?;
        Ok(folder)
    }

    /// The folder of a model in the cache, where all of it is there.
    fn cached(&self, name: &Name) -> Option<PathBuf> {
        let commit = match name.is_commit() {
            true => self.cache.repo(name.at(&name.revision)).pointer_path(&name.revision).join(CONFIG),
            false => self.cache.repo(name.at(&name.revision)).get(CONFIG)?,
        };
        let folder = commit.parent()?;
        let weights = super::hugging_face::files(folder).ok()?;
        let whole = commit.exists() && weights.iter().all(|file| file.exists());
        whole.then(|| folder.to_path_buf())
    }

    fn download(&self, name: &Name, progress: &dyn Progress) -> std::result::Result<PathBuf, Failure> {
        let builder = ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_user_agent("kpipe", env!("CARGO_PKG_VERSION"));
        let api = builder.build().map_err(|cause| self.failure(name, &cause))?;
        let info = api.repo(name.at(&name.revision)).info().map_err(|cause| self.failure(name, &cause))?;
        let there: Vec<&str> = info.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
        if !there.contains(&INDEX) && !there.contains(&WEIGHTS) {
            return Err(Failure::Other(no_safetensors(name, &there)));
        }
        if !is_plain(&info.sha) {
            return Err(Failure::Other(Error::data(format!(
                "`{}` answers with the commit `{}`",
                self.endpoint, info.sha
            ))));
        }
        progress.note(&format!("`{}` is at commit {}", name.id, info.sha));
        let fetch = Fetch {
            hub: self,
            name,
            remote: api.repo(name.at(&info.sha)),
            local: self.cache.repo(name.at(&info.sha)),
            folder: self.cache.repo(name.at(&info.sha)).pointer_path(&info.sha),
            progress,
        };
        progress.begin(&format!("fetch {}", name.id), None, "bytes");
        let mut wanted: Vec<String> = [CONFIG, TOKENIZER].into_iter().chain(COMPANIONS).map(String::from).collect();
        wanted.retain(|file| there.contains(&file.as_str()));
        if there.contains(&INDEX) {
            fetch.all(&[INDEX.to_string()])?;
            wanted.extend(shards(&fetch.folder.join(INDEX))?);
        } else {
            wanted.push(WEIGHTS.to_string());
        }
        fetch.all(&wanted)?;
        // Only now: whoever asks for the revision without a connection finds the whole model.
        let named = self.cache.repo(name.at(&name.revision));
        named.create_ref(&info.sha).map_err(|cause| Error::file("write to", self.cache.path(), cause))?;
        progress.end(&format!("{} files", wanted.len()));
        Ok(fetch.folder)
    }

    /// What a failed request means to the person who made it.
    fn failure(&self, name: &Name, cause: &ApiError) -> Failure {
        let (id, endpoint) = (&name.id, &self.endpoint);
        let status = match cause {
            ApiError::RequestError(cause) => match cause.as_ref() {
                ureq::Error::StatusCode(status) => Some(*status),
                _ => None,
            },
            _ => None,
        };
        let told = match status {
            Some(401 | 403) => {
                Error::usage(format!("`{endpoint}` does not give `{id}`: no such model, or no access to it"))
                    .hint("for a gated or private model accept its terms there and set `HF_TOKEN`")
                    .hint(format!("for a folder, check its path: there is none called `{id}` here"))
            }
            Some(404) => Error::usage(format!("`{endpoint}` has no model `{id}` with a revision `{}`", name.revision))
                .hint(format!("for a folder, check its path: there is none called `{id}` here")),
            Some(status) if status < 500 && status != 429 => {
                Error::io(format!("`{endpoint}` refuses `{id}`"), format!("HTTP status {status}"))
            }
            _ if matches!(cause, ApiError::LockAcquisition(_)) => {
                Error::io(format!("another program is fetching `{id}`"), cause).hint("wait until it is done")
            }
            _ if matches!(cause, ApiError::IoError(cause) if cause.raw_os_error().is_some()) => {
                Error::file("write to", self.cache.path(), cause)
            }
            _ => {
                let error = Error::io(format!("cannot fetch `{id}` from `{endpoint}`"), cause)
                    .hint("run the command again: it goes on where it stopped")
                    .hint("`HF_ENDPOINT` names another server, `--init FOLDER` a model on this machine");
                return Failure::NoConnection(error);
            }
        };
        Failure::Other(told)
    }
}

/// Why a model was not fetched.
enum Failure {
    /// The server did not answer, or broke off.
    NoConnection(Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// A commit of a model on the way into the cache.
struct Fetch<'a> {
    hub: &'a Hub,
    name: &'a Name,
    remote: ApiRepo,
    local: CacheRepo,
    folder: PathBuf,
    progress: &'a dyn Progress,
}

impl Fetch<'_> {
    /// Fetches those files that are not there.
    fn all(&self, files: &[String]) -> std::result::Result<(), Failure> {
        for file in files.iter().filter(|file| !self.folder.join(file).exists()) {
            let mut told = Told { progress: self.progress, done: 0, told: 0 };
            let mut attempt = 1;
            while let Err(cause) = self.remote.download_with_progress(file, &mut told) {
                let failure = self.hub.failure(self.name, &cause);
                match (failure, cause) {
                    // What is there is longer than the file: it was not written by us.
                    (_, ApiError::InvalidResume) => self.forget_parts()?,
                    (Failure::NoConnection(_), _) if attempt < ATTEMPTS => {}
                    (failure, _) => return Err(failure),
                }
                std::thread::sleep(Duration::from_secs(u64::from(attempt)));
                attempt += 1;
            }
        }
        Ok(())
    }

    fn forget_parts(&self) -> Result<()> {
        let blobs = self.local.blob_path("");
        let entries = std::fs::read_dir(&blobs).map_err(|cause| Error::file("read", &blobs, cause))?;
        for part in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("part".as_ref()))
        {
            std::fs::remove_file(&part).map_err(|cause| Error::file("remove", &part, cause))?;
        }
        Ok(())
    }
}

/// Tells the progress of one file; bytes that are read again after a broken connection are told once.
struct Told<'a> {
    progress: &'a dyn Progress,
    done: u64,
    told: u64,
}

impl hf_hub::api::Progress for &mut Told<'_> {
    fn init(&mut self, _: usize, file: &str) {
        self.done = 0;
        self.progress.message(file);
    }

    fn update(&mut self, n: usize) {
        self.done += n as u64;
        self.progress.advance(self.done.saturating_sub(self.told));
        self.told = self.told.max(self.done);
    }

    fn finish(&mut self) {}
}

fn no_safetensors(name: &Name, there: &[&str]) -> Error {
    match PICKLES.iter().find(|pickle| there.contains(pickle)) {
        Some(pickle) => Error::usage(format!(
            "`{}` has its weights in `{pickle}`, a pickle, which kpipe does not read: reading one runs code from it",
            name.id
        ))
        .hint(
            "look for a revision with safetensors (often `refs/pr/1`), or save it with transformers' `save_pretrained`",
        ),
        None => Error::usage(format!("`{}` has no `{WEIGHTS}`", name.id))
            .hint("kpipe goes on from models in the layout of transformers"),
    }
}

/// Compares the files of a snapshot with the hashes they are kept under; damaged ones are removed.
fn verify(folder: &Path, progress: &dyn Progress) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::file("read", folder, cause))?;
    let mut links: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    links.sort();
    for link in links {
        // Files are links to blobs named after their hash; where links cannot be made they are files of their own.
        let Ok(blob) = std::fs::read_link(&link) else { continue };
        let hash = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        let found = match hash.len() {
            64 if is_hex(&hash) => content_hash::<Sha256>(&link, |_| String::new())?,
            40 if is_hex(&hash) => content_hash::<Sha1>(&link, |length| format!("blob {length}\0"))?,
            _ => {
                progress.note(&format!("`{}` was not checked: the server gave no hash of it", link.display()));
                continue;
            }
        };
        if found != hash {
            for place in [folder.join(&blob), link.clone()] {
                std::fs::remove_file(&place).map_err(|cause| Error::file("remove", &place, cause))?;
            }
            return Err(Error::data(format!("the file is damaged: its hash is {found}, not {hash}"))
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
        for (text, revision) in [("google-bert/bert-base-uncased", "main"), ("t5/v1.1@refs/pr/1", "refs/pr/1")] {
            assert_eq!(Name::parse(text).unwrap().revision, revision);
        }
        for path in ["model", "a/b/c", "./model", "/model", "../x", "a/../b", "a/b@", "a/b@../../x", "a b/c", "a/"] {
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
