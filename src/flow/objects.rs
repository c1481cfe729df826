//! Files in an object store, read by ranges of bytes.
//!
//! A store is told by an address: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`.
//! How to reach it comes from the environment, under the names that the store's own tools use:
//! `AWS_*`, `GOOGLE_*`, `AZURE_*`. An object is read as it was when it was listed: one that is
//! written anew in between is an error, not a mixture of both.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig, coalesce_ranges,
};
use tokio::runtime::Runtime;
use url::{Position, Url};

use crate::error::{Error, Result};

/// How long a request may take with all that is tried again, whatever the store does: refuse, break
/// off, or be silent.
const PATIENCE: Duration = Duration::from_mins(1);
/// Ranges that are no further apart than this are fetched as one.
const GAP_BYTES: u64 = 1 << 20;

/// Whether this is the address of something in a store, not a path.
pub fn is_address(place: &str) -> bool {
    place.contains("://")
}

/// A connection to a bucket.
struct Store {
    objects: Box<dyn ObjectStore>,
    runtime: Runtime,
    /// The address of the bucket, without a slash at its end.
    root: String,
}

impl Store {
    /// The result of a request, or an error once [`PATIENCE`] is over.
    fn wait<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let late = |_| object_store::Error::Generic {
            store: "store",
            source: format!("it did not answer within {} s", PATIENCE.as_secs()).into(),
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, request).await.map_err(late)? })
    }
}

/// An address as people may see it: without the name and password in it.
fn shown(address: &str) -> String {
    without_user(address, address)
}

/// A message of a library without the names and passwords of the addresses in it.
fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |shown, part| {
        let end =
            part.find(|c: char| c.is_whitespace() || "\"'`)".contains(c)).unwrap_or(part.len());
        let (address, rest) = part.split_at(end);
        let address = match address.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => host,
            _ => address,
        };
        shown + "://" + address + rest
    })
}

/// A text without the name and password of an address.
fn without_user(address: &str, text: &str) -> String {
    let text = &without_users(text);
    let host =
        address.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => text.replace(&format!("{user}@"), ""),
        None => text.to_string(),
    }
}

/// A folder of a store: what begins with its path.
#[derive(Clone)]
pub struct Folder {
    store: Arc<Store>,
    path: Path,
}

/// An object as it was listed.
#[derive(Clone)]
pub struct Object {
    store: Arc<Store>,
    path: Path,
    /// Bytes.
    size: u64,
    e_tag: Option<String>,
}

impl Folder {
    /// The folder at `address`. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// `Usage` if the address names no store, or the environment does not tell how to reach it.
    pub fn at(address: &str) -> Result<Self> {
        let shown = shown(address);
        let wrong = |cause: &dyn fmt::Display| {
            let cause = without_user(address, &cause.to_string());
            Error::usage(format!("`{shown}` is no address of an object store: {cause}")).hint(
                "addresses look like `s3://bucket/path`, `gs://bucket/path` or \
                       `az://container/path`",
            )
        };
        let url = Url::parse(address).map_err(|cause| wrong(&cause))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(&"`?` and `#` are not allowed in the name of a folder"));
        }
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|cause| wrong(&cause))?;
        let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
        let objects: object_store::Result<Box<dyn ObjectStore>> = match scheme {
            ObjectStoreScheme::AmazonS3 => AmazonS3Builder::from_env()
                .with_url(address)
                .with_retry(retry)
                .build()
                .map(|store| Box::new(store) as _),
            ObjectStoreScheme::GoogleCloudStorage => GoogleCloudStorageBuilder::from_env()
                .with_url(address)
                .with_retry(retry)
                .build()
                .map(|store| Box::new(store) as _),
            ObjectStoreScheme::MicrosoftAzure => MicrosoftAzureBuilder::from_env()
                .with_url(address)
                .with_retry(retry)
                .build()
                .map(|store| Box::new(store) as _),
            _ => return Err(wrong(&"such a place cannot be listed")),
        };

        let objects = objects.map_err(|cause| {
            Error::usage(format!(
                "`{shown}` cannot be reached: {}",
                without_user(address, &cause.to_string())
            ))
            .hint(
                "set what the store's own tools need, such as `AWS_REGION` and `AWS_ACCESS_KEY_ID`",
            )
        })?;

        let root = shown
            .trim_end_matches('/')
            .strip_suffix(path.as_ref())
            .unwrap_or(&url[..Position::BeforePath]);
        Self::new(objects, root, path)
    }

    fn new(objects: Box<dyn ObjectStore>, root: &str, path: Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::io("cannot wait for a store", cause))?;
        let root = root.trim_end_matches('/').to_string();
        Ok(Folder { store: Arc::new(Store { objects, runtime, root }), path })
    }

    /// The folder `name` in this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Folder { path: self.path.clone().join(name), ..self.clone() }
    }

    /// The folder this one is in; the bucket is in none.
    pub fn parent(&self) -> Option<Self> {
        let mut parts: Vec<_> = self.path.parts().collect();
        parts.pop()?;
        Some(Folder { path: parts.into_iter().collect(), ..self.clone() })
    }

    /// The objects right in this folder, in name order; none where there is no such folder.
    ///
    /// # Errors
    /// If the store cannot be reached or does not let us list it.
    pub fn objects(&self) -> Result<Vec<Object>> {
        let listed = self.store.wait(self.store.objects.list_with_delimiter(Some(&self.path)));
        let listed = listed.map_err(|cause| failed("list", self, cause))?;
        let object = |meta: object_store::ObjectMeta| Object {
            store: Arc::clone(&self.store),
            path: meta.location,
            size: meta.size,
            e_tag: meta.e_tag,
        };

        let mut objects: Vec<Object> = listed.objects.into_iter().map(object).collect();
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    /// All of the object `name` in this folder; `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.path.clone().join(name);
        let read = self.store.wait(async { self.store.objects.get(&path).await?.bytes().await });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(failed("read", &self.join(name), cause)),
        }
    }
}

impl Object {
    /// The last part of its path.
    pub fn name(&self) -> &str {
        self.path.filename().unwrap_or_default()
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The folder it is in.
    pub fn folder(&self) -> Option<Folder> {
        Folder { store: Arc::clone(&self.store), path: self.path.clone() }.parent()
    }

    /// Fetches ranges of bytes, near ones together.
    ///
    /// # Errors
    /// If the store fails for a minute, or the object is not what was listed.
    pub fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let get = |range: Range<u64>| {
            let options = GetOptions {
                if_match: self.e_tag.clone(),
                range: Some(range.into()),
                ..GetOptions::default()
            };
            async { self.store.objects.get_opts(&self.path, options).await?.bytes().await }
        };

        let fetched = self.store.wait(coalesce_ranges(ranges, get, GAP_BYTES));
        fetched.map_err(|cause| failed("read", self, cause))
    }
}

fn failed(verb: &str, place: &dyn fmt::Display, cause: object_store::Error) -> Error {
    use object_store::Error as Cause;
    let error = Error::io(format!("cannot {verb} `{place}`"), without_users(&cause.to_string()));

    match cause {
        Cause::Precondition { .. } => Error::data(format!(
            "`{place}` was written anew while it was \
                                                           read"
        ))
        .hint("let nothing write there, and run the same command again"),
        Cause::NotFound { .. } => error.hint("check the address; it was removed, or never there"),
        _ => error.hint(
            "check the connection, the credentials (such as `AWS_ACCESS_KEY_ID`) and, where the \
             store is not the \
             vendor's own, `AWS_ENDPOINT`",
        ),
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store.root, self.path)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store.root, self.path)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    /// A bucket with a few objects, and its root.
    fn bucket() -> Folder {
        let folder =
            Folder::new(Box::new(InMemory::new()), "memory://bucket/", Path::default()).unwrap();
        for (name, text) in
            [("a/2.txt", "two"), ("a/1.txt", "one and more"), ("a/b/3.txt", "three"), ("4.txt", "")]
        {
            put(&folder, name, text);
        }
        folder
    }

    fn put(folder: &Folder, name: &str, text: &str) {
        let (path, store) = (Path::from(name), &folder.store);
        store.runtime.block_on(store.objects.put(&path, text.to_string().into())).unwrap();
    }

    #[test]
    fn a_folder_lists_what_is_right_in_it() {
        let folder = bucket().join("a");
        let names: Vec<String> =
            folder.objects().unwrap().iter().map(|object| object.to_string()).collect();
        assert_eq!(names, ["memory://bucket/a/1.txt", "memory://bucket/a/2.txt"]);
        assert!(folder.join("none").objects().unwrap().is_empty());
        assert_eq!(folder.read("2.txt").unwrap().unwrap(), "two");
        assert!(folder.read("5.txt").unwrap().is_none());
        assert_eq!(folder.join("b").parent().unwrap().to_string(), folder.to_string());
        assert!(folder.parent().unwrap().parent().is_none());
    }

    #[test]
    fn ranges_are_read_of_what_was_listed() {
        let folder = bucket();
        let object = folder.join("a").objects().unwrap().remove(0);
        assert_eq!((object.name(), object.size()), ("1.txt", 12));
        assert_eq!(object.folder().unwrap().to_string(), "memory://bucket/a");
        assert_eq!(object.fetch(&[4..7, 0..3, 8..12]).unwrap(), ["and", "one", "more"]);
        put(&folder, "a/1.txt", "another text");
        let error = object.fetch(&[0..3, 4..7]).unwrap_err();
        assert!(error.what().contains("`memory://bucket/a/1.txt` was written anew"), "{error}");
    }

    #[test]
    fn addresses_are_checked() {
        assert!(is_address("s3://bucket/x") && !is_address("out/data"));
        for (address, word) in [
            ("ftp://host/x", "recogni"),
            ("s3://", "address"),
            ("https://host/x", "listed"),
            ("s3://b/x?y", "`?`"),
        ] {
            let error = Folder::at(address).err().unwrap();
            assert!(error.what().contains(word), "{address}: {error}");
        }

        let error = Folder::at("ftp://me:pa55@host/x").err().unwrap().to_string();
        assert!(error.contains("`ftp://host/x`") && !error.contains("pa55"), "{error}");
        let text = "GET http://u:PW@127.0.0.1:1/x failed: \"s3://KEY:P/W@b/x\", http://a.b/c@d";
        assert_eq!(
            without_users(text),
            "GET http://127.0.0.1:1/x failed: \"s3://b/x\", http://a.b/c@d"
        );
        assert_eq!(
            Folder::at("s3://bucket/corpus/").unwrap().join("data").to_string(),
            "s3://bucket/corpus/data"
        );
    }
}
