//! The files of a run's sources: what each is known by in fingerprints and in the manifest.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Kind, Result};
use crate::files::expand::{expand, why_passed_over};
use crate::flow::disk::hash_file;
use crate::flow::watched::{State, unchanged};
use crate::ingest::SourceSpec;

/// What a source file is known by in fingerprints and in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Name of the source it belongs to.
    pub source: String,
    /// Path as given.
    pub path: String,
    /// Size as it lies on the disk, in bytes.
    pub bytes: u64,
    /// xxh3-128 of those bytes, as 32 hex digits; of what is passed over, the reason.
    pub hash: String,
    /// What the file system said about it when it was hashed.
    #[serde(skip)]
    pub state: Option<State>,
}

impl SourceFile {
    /// Reads the whole file once for its size and hash; what is passed over has neither.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(source: &str, path: &Path) -> Result<Self> {
        if let Some((reason, _)) = why_passed_over(path) {
            let (source, path) = (source.to_string(), path.to_string_lossy().into_owned());
            return Ok(SourceFile {
                source,
                path,
                bytes: 0,
                hash: reason.to_string(),
                state: None,
            });
        }

        let hint = "check that the file exists and may be read";
        let failed = |cause| Error::file("read", path, cause).hint(hint);
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        let state = State::of(path).map_err(failed)?;
        let hash = hash_file(path).map_err(|error| error.hint(hint))?;
        let (source, path) = (source.to_string(), path.to_string_lossy().into_owned());

        Ok(SourceFile { source, path, bytes, hash, state: Some(state) })
    }

    /// Stops if the file is not what was hashed: then what was read since is not what the hash
    /// says.
    ///
    /// # Errors
    /// If it was changed, replaced or taken away.
    pub fn check_unchanged(&self) -> Result<()> {
        let path = Path::new(&self.path);
        let is_same = match self.state {
            Some(state) => unchanged(path, state, &self.hash)?.is_some(),
            None => why_passed_over(path).is_some_and(|(reason, _)| reason == self.hash),
        };
        if is_same {
            return Ok(());
        }
        Err(Error::new(Kind::Io, format!("`{}` was changed while it was read", self.path))
            .hint("run the same command again once nobody writes to it: it is read anew"))
    }
}

/// Every file of some sources, with its size and hash.
///
/// # Errors
/// If a source has no file or a file cannot be read.
pub fn source_files(sources: &[SourceSpec]) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for source in sources {
        for path in expand(&source.path).at_place(|| format!("[source.{}]", source.name))? {
            files.push(SourceFile::read(&source.name, &path)?);
        }
    }
    Ok(files)
}

/// Bytes of all files of some sources, as they lie on the disk.
///
/// # Errors
/// If a source has no file.
pub fn total_bytes(sources: &[SourceSpec]) -> Result<u64> {
    let mut bytes = 0;
    for source in sources {
        for path in expand(&source.path)? {
            bytes += std::fs::metadata(&path).map_or(0, |meta| meta.len());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.txt");
        std::fs::write(&path, "b.txt").unwrap();
        let hashed = SourceFile::read("s", &path).unwrap();
        hashed.check_unchanged().unwrap();
        // The same bytes in a new file are the same bytes.
        std::fs::write(&path, "b.txt").unwrap();
        hashed.check_unchanged().unwrap();
        std::fs::write(&path, "b.TXT").unwrap();
        let error = hashed.check_unchanged().unwrap_err();
        assert_eq!(
            (error.kind().exit_code(), error.what().contains("was changed")),
            (4, true),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();

        assert_eq!(hashed.check_unchanged().unwrap_err().kind().exit_code(), 4);
    }

    #[test]
    fn equal_bytes_have_equal_hashes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.txt"), "b.txt").unwrap();
        let read = |name: &str| SourceFile::read("s", &folder.path().join(name)).unwrap();
        assert_eq!(read("b.txt").bytes, 5);
        assert_eq!(read("b.txt").hash, format!("{:032x}", xxhash_rust::xxh3::xxh3_128(b"b.txt")));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_passed_over_is_known_by_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("gone.txt", folder.path().join("dead.txt")).unwrap();
        let hashed = SourceFile::read("s", &folder.path().join("dead.txt")).unwrap();
        assert_eq!((hashed.bytes, hashed.hash.as_str()), (0, "dead_link"));
    }
}
