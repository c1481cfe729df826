//! path → files: what a source's `path` stands for, and what each file is known by.
//!
//! A path is a file, a folder (all its files, subfolders included) or a glob pattern. Files come in name order;
//! hidden ones are left out. A path that exists is never taken for a pattern, even with `[` in its name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Result};
use crate::flow::disk::hash_file;
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
    /// xxh3-128 of those bytes, as 32 hex digits.
    pub hash: String,
}

impl SourceFile {
    /// Reads the whole file once for its size and hash.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(source: &str, path: &Path) -> Result<Self> {
        let hint = "check that the file exists and may be read";
        let failed = |cause| Error::file("read", path, cause).hint(hint);
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        let hash = hash_file(path).map_err(|error| error.hint(hint))?;
        Ok(SourceFile { source: source.to_string(), path: path.to_string_lossy().into_owned(), bytes, hash })
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

/// The files that a source's path stands for, in name order.
///
/// # Errors
/// If nothing is there, nothing matches, or a folder cannot be listed.
pub fn expand(path: &str) -> Result<Vec<PathBuf>> {
    let place = Path::new(path);
    let mut found = Vec::new();
    match std::fs::metadata(place) {
        Ok(_) => walk(place, &mut Vec::new(), &mut found)?,
        Err(cause) if is_pattern(path) && cause.kind() == std::io::ErrorKind::NotFound => matches(path, &mut found)?,
        Err(cause) => return Err(missing(place, &cause)),
    }
    if found.is_empty() {
        return Err(Error::usage(format!("`{path}` holds no file"))
            .hint("hidden files are left out; give a file, a folder with files or a pattern such as `dumps/*.bz2`"));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

fn missing(place: &Path, cause: &std::io::Error) -> Error {
    let error = Error::file("open", place, cause);
    if cause.kind() != std::io::ErrorKind::NotFound {
        return error.hint("check the rights of the file and of the folders above it");
    }
    let parent = place.ancestors().skip(1).find(|parent| !parent.as_os_str().is_empty() && parent.exists());
    match parent {
        Some(parent) => error.hint(format!("`{}` exists; look there for the right name", parent.display())),
        None => error.hint("a relative path begins at the folder kpipe is called from"),
    }
}

fn matches(pattern: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(pattern, options)
        .map_err(|cause| Error::usage(format!("`{pattern}` is not a glob pattern: {cause}")))?;
    for path in paths {
        let path = path.map_err(|cause| Error::file("list", cause.path(), cause.error()))?;
        walk(&path, &mut Vec::new(), found)?;
    }
    Ok(())
}

/// Adds a file, or the files of a folder. `above` holds the real paths of the folders around it, against link loops.
fn walk(place: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    let facts = std::fs::metadata(place).map_err(|cause| missing(place, &cause))?;
    if !facts.is_dir() {
        if !facts.is_file() {
            return Err(Error::usage(format!("`{}` is a device or a pipe, not a file", place.display()))
                .hint("files are read more than once: write its content into one first"));
        }
        found.push(place.to_path_buf());
        return Ok(());
    }
    let failed = |cause| Error::file("list", place, cause).hint("check the rights of the folder");
    let real = place.canonicalize().map_err(failed)?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for entry in std::fs::read_dir(place).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            walk(&entry.path(), above, found)?;
        }
    }
    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a/2.txt", "a/10.txt", ".hidden/x.txt", "a/.y", "c[1].txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    fn check(path: &str, expected: &[&str]) {
        let folder = tree();
        let root = folder.path().to_str().unwrap();
        let found = expand(&format!("{root}{path}")).unwrap();
        let names: Vec<&str> = found.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, expected, "{path}");
    }

    #[test]
    fn files_come_in_name_order_without_hidden_ones() {
        check("", &["a/10.txt", "a/2.txt", "b.txt", "c[1].txt"]);
        check("/b.txt", &["b.txt"]);
        check("/*.txt", &["b.txt", "c[1].txt"]);
        check("/**/2.*", &["a/2.txt"]);
        check("/?", &["a/10.txt", "a/2.txt"]);
        check("/c[1].txt", &["c[1].txt"]);
    }

    #[test]
    fn what_is_not_there_is_an_error_with_a_way_out() {
        let folder = tree();
        for (path, says) in [("/zzz", "exists; look there"), ("/*.xml", "holds no file")] {
            let error = expand(&format!("{}{path}", folder.path().display())).unwrap_err();
            assert!(error.to_string().contains(says) && error.to_string().contains("hint:"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_linked_into_itself_ends() {
        let folder = tree();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
        assert_eq!(expand(folder.path().to_str().unwrap()).unwrap().len(), 4);
    }

    #[test]
    fn equal_bytes_have_equal_hashes() {
        let folder = tree();
        let read = |name: &str| SourceFile::read("s", &folder.path().join(name)).unwrap();
        assert_eq!(read("b.txt").bytes, 5);
        assert_eq!(read("b.txt").hash, format!("{:032x}", xxhash_rust::xxh3::xxh3_128(b"b.txt")));
    }
}
