//! A file that remembers what the system said when it could not be read.
//!
//! Decoders and parsers wrap, rename or swallow the errors of what they read from, and to them a
//! bad sector looks like a damaged file. But damage is a property of the data, which no second run
//! heals, and an error of the system is not: whoever opens a file through here asks
//! [`Failure::get`] before it calls a file damaged.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};
use crate::flow::disk::hash_file;

/// What the system said first about a file, for all its readers.
#[derive(Clone, Debug, Default)]
pub struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// Hands a result on, and keeps its error.
    ///
    /// # Errors
    /// That of the result.
    pub fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(cause) = &result
            && cause.kind() != io::ErrorKind::Interrupted
        {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| copy(cause));
        }
        result
    }

    /// What the system said, if anything.
    pub fn get(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(copy)
    }

    /// Stops with what the system said about the file at `path`.
    ///
    /// # Errors
    /// If it said anything.
    pub fn check(&self, path: &Path) -> Result<()> {
        self.get().map_or(Ok(()), |cause| Err(unreadable(path, &cause)))
    }
}

/// What changes when a file is written to, replaced, or made anew: device, number, size, and the
/// time of the last change, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u64, u64, u64, i64, i64);

impl State {
    /// What it is now.
    ///
    /// # Errors
    /// If the system does not tell.
    #[cfg(unix)]
    pub fn of(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let facts = std::fs::metadata(path)?;
        Ok(State(facts.dev(), facts.ino(), facts.size(), facts.ctime(), facts.ctime_nsec()))
    }

    /// What it is now, as far as this system tells.
    ///
    /// # Errors
    /// If it does not.
    #[cfg(not(unix))]
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let facts = std::fs::metadata(path)?;
        let changed = facts.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(State(0, 0, facts.len(), changed.as_secs() as i64, i64::from(changed.subsec_nanos())))
    }
}

/// The state of a file now, if it still holds the bytes of this hash; `None` if it holds others.
/// One that was only touched, linked or made anew since `state` is hashed again to find out.
///
/// # Errors
/// If it is gone or cannot be read.
pub fn unchanged(path: &Path, state: State, hash: &str) -> Result<Option<State>> {
    let now = State::of(path).map_err(|cause| unreadable(path, &cause))?;
    Ok((now == state || hash_file(path)? == hash).then_some(now))
}

/// A file that the system does not give.
pub fn unreadable(path: &Path, cause: &io::Error) -> Error {
    Error::file("read", path, cause).hint(
        "this is no damage of the data: see to the disk, the share or the limit, and run the same \
         command again; it \
         goes on where it stopped",
    )
}

fn copy(cause: &io::Error) -> io::Error {
    match cause.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(cause.kind(), cause.to_string()),
    }
}

/// How often a reader may ask for more at the end of a file. A Parquet file can say that thousands
/// of millions of things follow, and its library asks for each.
const MOST_ENDS: u32 = 1_000;

/// A file on disk whose errors are kept.
#[derive(Clone, Debug)]
pub struct Watched {
    file: Arc<File>,
    failure: Failure,
    /// How often its end was reached.
    ends: u32,
}

impl Watched {
    /// Opens a file; what cannot be read as one (a folder, a pipe, a device) is an error.
    ///
    /// # Errors
    /// If it cannot be opened, which `failure` keeps.
    pub fn open(path: &Path, failure: &Failure) -> io::Result<Self> {
        let open = || {
            // Opening a pipe would wait for its writer.
            if !std::fs::metadata(path)?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            File::open(path)
        };
        Ok(Watched { file: Arc::new(failure.watch(open())?), failure: failure.clone(), ends: 0 })
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn size(&self) -> io::Result<u64> {
        self.failure.watch(self.file.metadata().map(|facts| facts.len()))
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.failure.watch((&*self.file).read(buffer))?;
        self.ends += u32::from(n == 0 && !buffer.is_empty());

        if self.ends > MOST_ENDS {
            // No word of the system: the file is damaged.
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it asks for more than the file holds, for ever",
            ));
        }

        Ok(n)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.failure.watch((&*self.file).seek(to))
    }
}

impl Length for Watched {
    fn len(&self) -> u64 {
        self.size().unwrap_or(0)
    }
}

impl ChunkReader for Watched {
    type T = io::BufReader<Watched>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let mut file = self.clone();
        file.seek(SeekFrom::Start(start))?;
        Ok(io::BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut bytes =
            Vec::with_capacity(length.min(usize::try_from(self.len()).unwrap_or(usize::MAX)));
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;

        if bytes.len() < length {
            return Err(ParquetError::EOF(format!(
                "the file ends before byte {}",
                start.saturating_add(length as u64)
            )));
        }

        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_at_the_end_for_ever_is_stopped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let failure = Failure::default();
        let mut watched = Watched::open(file.path(), &failure).unwrap();
        let asked = (0..5_000).take_while(|_| watched.read(&mut [0; 2]).is_ok()).count();
        assert_eq!(asked, 2 + MOST_ENDS as usize);
        assert!(failure.get().is_none(), "the system said nothing");
    }

    #[test]
    fn the_systems_word_is_kept_and_an_early_end_is_not_its_word() {
        let failure = Failure::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        let mut file = Watched::open(&path, &failure).unwrap();
        assert!(file.read_exact(&mut [0; 9]).is_err() && file.get_bytes(0, 9).is_err());
        failure.check(&path).unwrap();

        assert!(failure.watch::<()>(Err(io::Error::from_raw_os_error(5))).is_err());
        assert!(failure.watch::<()>(Err(io::Error::from_raw_os_error(24))).is_err());
        let error = failure.check(&path).unwrap_err();
        assert!(error.kind().exit_code() == 4 && error.what().contains("os error 5"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let failure = Failure::default();
        let folder = tempfile::tempdir().unwrap();
        assert!(Watched::open(folder.path(), &failure).is_err() && failure.get().is_some());
    }
}
