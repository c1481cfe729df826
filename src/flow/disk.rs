//! Files on disk as the runner and the rooms handle them: listed, hashed, linked, deleted, locked.
//!
//! Writing beside and renaming lives in [`crate::flow::dataset`].

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Files of a folder by the beginning and ending of their names, in name order.
///
/// # Errors
/// If the folder cannot be listed.
pub fn files_named(folder: &Path, begins: &str, ends: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|cause| Error::file("list", folder, cause))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            name.starts_with(begins) && name.ends_with(ends)
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// xxh3-128 of a file, as 32 hex digits; of a folder, over its files in name order.
///
/// # Errors
/// If the file cannot be read.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut hash = Xxh3::new();
    if path.is_dir() {
        for inner in files_named(path, "", "")? {
            hash.update(hash_file(&inner)?.as_bytes());
        }
    } else {
        let mut file = fs::File::open(path).map_err(|cause| Error::file("open", path, cause))?;
        std::io::copy(&mut file, &mut Hashing(&mut hash)).map_err(|cause| Error::file("read", path, cause))?;
    }
    Ok(format!("{:032x}", hash.digest128()))
}

struct Hashing<'a>(&'a mut Xxh3);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Gives a finished file a second name, in the place of what has that name; a copy where the disk knows no links.
///
/// # Errors
/// If the file can be neither linked nor copied.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let beside = to.with_file_name(name);
    // A run that was killed may have left it.
    remove_file(&beside)?;
    fs::hard_link(from, &beside)
        .or_else(|_| fs::copy(from, &beside).map(|_| ()))
        .map_err(|cause| Error::file("copy to", &beside, cause))?;
    fs::rename(&beside, to).map_err(|cause| Error::file("rename", &beside, cause))?;
    // Renaming one hard link onto another of the same file leaves both.
    remove_file(&beside)
}

/// Deletes a file, if it is there.
///
/// # Errors
/// If it is there and cannot be deleted.
pub fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path), path)
}

/// Deletes a folder with all that is in it, if it is there.
///
/// # Errors
/// If it is there and cannot be deleted.
pub fn remove_folder(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path), path)
}

fn gone(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(Error::file("remove", path, cause)),
        _ => Ok(()),
    }
}

/// Keeps two runs out of one folder; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open, not read: closing it is what releases the lock")] fs::File);

/// Takes the lock of a folder, which is created where it is not there.
///
/// # Errors
/// If the folder cannot be created or another run holds its lock.
pub fn lock(work: &Path) -> Result<Lock> {
    fs::create_dir_all(work)
        .map_err(|cause| Error::file("create", work, cause).hint("give `--out` a folder that you may write to"))?;
    let path = work.join("lock");
    let file = fs::File::create(&path).map_err(|cause| Error::file("create", &path, cause))?;
    file.try_lock().map_err(|_| {
        Error::io(format!("`{}` is in use", work.display()), "another kpipe is writing there")
            .hint("wait for it, or give another `--out`")
    })?;
    Ok(Lock(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert!(lock(folder.path()).err().unwrap().to_string().contains("in use"));
        drop(first);
        assert!(lock(folder.path()).is_ok());
    }

    #[test]
    fn a_link_takes_the_place_of_what_was_there_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        fs::write(folder.path().join("b.tmp"), "left by a kill").unwrap();
        for _ in 0..2 {
            link(&from, &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        }
        assert_eq!(files_named(folder.path(), "", "").unwrap(), [from, to]);
    }

    /// `xxhsum -H2` of "abc": 06b05ab6733a618578af5f94892f3950.
    #[test]
    fn a_hash_is_the_files_xxh3() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "abc").unwrap();
        assert_eq!(hash_file(&path).unwrap(), "06b05ab6733a618578af5f94892f3950");
        remove_file(&path).unwrap();
        remove_file(&path).unwrap();
        assert!(hash_file(&path).is_err());
    }
}
