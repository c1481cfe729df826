//! Files on disk as the runner and the rooms handle them: put in place, listed, hashed, linked,
//! deleted, locked.
//!
//! Every file is written beside its place, synced, and renamed into it ([`put_in_place`]): after a
//! power cut a name stands for whole bytes or is not there. Below the folder `.kpipe` the size of
//! each is noted in a file `.sizes` beside it, so that whatever is emptied or shortened later is
//! found ([`damaged`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Folder below the output folder where the rooms keep their parts.
pub const WORK: &str = ".kpipe";
/// Sizes of the files in a working folder: a line a file, name and bytes; of two lines the later
/// holds.
const SIZES: &str = ".sizes";

/// Ends the name of a file that is not whole yet; nobody else's files end so.
pub const UNFINISHED: &str = ".kpipe-tmp";

/// The name a file is written under until it is whole.
pub fn beside(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_os_string();
    name.push(UNFINISHED);
    place.with_file_name(name)
}

/// Syncs a file that was written at [`beside`] of its place, and renames it into it.
///
/// # Errors
/// If it cannot be synced or renamed.
pub fn put_in_place(place: &Path) -> Result<()> {
    let beside = beside(place);
    let size = sync(&beside)?;
    rename(&beside, place)?;
    note_size(place, size)
}

/// Gives a file or folder another name.
///
/// # Errors
/// If the system does not.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|cause| Error::file("rename", from, cause))
}

/// Syncs the bytes of a file and gives their number.
fn sync(path: &Path) -> Result<u64> {
    let failed = |cause| Error::file("sync", path, cause);
    let file = fs::File::open(path).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(file.metadata().map_err(failed)?.len())
}

/// Syncs the names in a folder: what was renamed into it before stands there after a power cut.
///
/// # Errors
/// If it cannot be synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    // Other systems open no folders, and order their renames themselves.
    if cfg!(unix) {
        let opened = fs::File::open(folder).and_then(|folder| folder.sync_all());
        opened.map_err(|cause| Error::file("sync", folder, cause))?;
    }
    Ok(())
}

/// Whether a file is one that only we read, so that damage to it is no matter of anybody's data.
pub fn is_working(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == WORK)
}

fn note_size(place: &Path, size: u64) -> Result<()> {
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else { return Ok(()) };
    if !is_working(folder) {
        return Ok(());
    }
    let sizes = folder.join(SIZES);
    let line = format!("{size}\t{}\n", name.to_string_lossy());
    let noted = fs::OpenOptions::new().append(true).create(true).open(&sizes);

    noted
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(|cause| Error::file("write", &sizes, cause))
}

/// The first file of a working folder, or of the folders in it, that has another size than was
/// written.
///
/// # Errors
/// If a folder cannot be listed.
pub fn damaged(folder: &Path) -> Result<Option<PathBuf>> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let noted = fs::read_to_string(folder.join(SIZES)).unwrap_or_default();

    for (size, name) in noted.lines().filter_map(|line| line.split_once('\t')) {
        if let Ok(size) = size.parse() {
            sizes.insert(name, size);
        }
    }

    for (name, size) in sizes {
        let place = folder.join(name);
        // One that is gone is missed by whoever needs it.
        if fs::metadata(&place).is_ok_and(|facts| facts.len() != size) {
            return Ok(Some(place));
        }
    }

    for inner in files_named(folder, "", "")?.into_iter().filter(|path| path.is_dir()) {
        if let Some(found) = damaged(&inner)? {
            return Ok(Some(found));
        }
    }

    Ok(None)
}

/// Files of a folder by the beginning and ending of their names, in name order.
///
/// # Errors
/// If the folder cannot be listed.
pub fn files_named(folder: &Path, begins: &str, ends: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|cause| Error::file("list", folder, cause))?;
    let paths: std::io::Result<Vec<PathBuf>> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|cause| Error::file("list", folder, cause))?;
    paths.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        name.starts_with(begins) && name.ends_with(ends)
    });
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
        std::io::copy(&mut file, &mut Hashing(&mut hash))
            .map_err(|cause| Error::file("read", path, cause))?;
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

/// Gives a finished file a second name, in the place of what has that name; a copy where the disk
/// knows no links.
///
/// # Errors
/// If the file can be neither linked nor copied.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    let beside = beside(to);
    // A run that was killed may have left it.
    remove_file(&beside)?;

    if fs::hard_link(from, &beside).is_err() {
        fs::copy(from, &beside).map_err(|cause| Error::file("copy to", &beside, cause))?;
        sync(&beside)?;
    }

    let size = fs::metadata(&beside).map_err(|cause| Error::file("read", &beside, cause))?.len();
    rename(&beside, to)?;
    // Renaming one hard link onto another of the same file leaves both.
    remove_file(&beside)?;
    note_size(to, size)
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
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(Error::file("remove", path, cause))
        }
        _ => Ok(()),
    }
}

/// Keeps two runs out of one folder; the system lets go of it when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct Lock(
    #[expect(dead_code, reason = "held open, not read: closing it is what releases the lock")]
    fs::File,
);

/// Takes the lock of a folder, which is created where it is not there.
///
/// # Errors
/// If the folder cannot be created or another run holds its lock.
pub fn lock(work: &Path) -> Result<Lock> {
    fs::create_dir_all(work).map_err(|cause| {
        Error::file("create", work, cause).hint("give `--out` a folder that you may write to")
    })?;
    let path = work.join("lock");
    let file = fs::File::create(&path).map_err(|cause| Error::file("create", &path, cause))?;
    file.try_lock().map_err(|cause| match cause {
        fs::TryLockError::WouldBlock => {
            Error::io(format!("`{}` is in use", work.display()), "another kpipe is writing there")
                .hint("wait for it, or give another `--out`")
        }
        fs::TryLockError::Error(cause) => {
            Error::io(format!("cannot lock `{}`", path.display()), cause).hint(
                "its file system knows no locks, so two runs could write there at once: put \
                   `--out` on a local disk",
            )
        }
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
        fs::write(beside(&to), "left by a kill").unwrap();

        for _ in 0..2 {
            link(&from, &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        }

        assert_eq!(files_named(folder.path(), "", "").unwrap(), [from, to]);
    }

    #[test]
    fn what_is_emptied_or_shortened_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let room = folder.path().join(WORK).join("1-room/raw");
        fs::create_dir_all(&room).unwrap();
        let place = room.join("a.bin");

        for bytes in ["first", "second one"] {
            fs::write(beside(&place), bytes).unwrap();
            put_in_place(&place).unwrap();
        }

        link(&place, &room.join("b.bin")).unwrap();
        let top = room.parent().unwrap();
        assert_eq!(damaged(top).unwrap(), None);
        fs::write(&place, "second").unwrap();
        assert_eq!(damaged(top).unwrap(), Some(place.clone()));
        remove_file(&place).unwrap();
        assert_eq!(
            damaged(top).unwrap(),
            Some(room.join("b.bin")),
            "a second name of the same file"
        );
        assert!(!folder.path().join(SIZES).exists());
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
