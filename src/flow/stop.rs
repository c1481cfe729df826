//! How a run ends that is told to: by Ctrl-C (SIGINT), or by the system that wants the machine back
//! (SIGTERM).
//!
//! What a build has done is on disk at any moment, so it ends at once. Training has a checkpoint to
//! save: it is asked to, and ends at the latest when its time is up or it is told a second time.
//! Temporary folders go in every case.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

/// Time to finish a step and save it; most systems kill ten seconds after they asked.
const GRACE: Duration = Duration::from_secs(6);

/// How often a temporary folder is removed that threads write into, and the time between.
const TRIES: usize = 50;
const BREATH: Duration = Duration::from_millis(4);

/// The first signal; 0 before there is one.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// Whether something is written that takes long and should be whole.
static SAVING: AtomicBool = AtomicBool::new(false);
/// Folders that must not outlive the process.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The signal that asks the run to end, if there was one.
pub fn requested() -> Option<i32> {
    Some(SIGNAL.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Waits for signals in a thread of its own. If `asks`, the run looks at [`requested`] itself and
/// gets six seconds to end; then, or at once, `end` tells what was saved and ends the process.
///
/// # Errors
/// If the system gives no thread or no signals.
pub fn listen(asks: bool, end: impl Fn(i32) + Send + 'static) -> Result<()> {
    let failed = |cause| Error::io("cannot listen for signals", cause);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        loop {
            let Some(signal) = signals.wait().next() else { continue };
            SIGNAL.store(signal, Ordering::SeqCst);
            let until = Instant::now() + if asks { GRACE } else { Duration::ZERO };
            // Whoever says it a second time means at once.
            while (Instant::now() < until || asks && SAVING.load(Ordering::SeqCst))
                && signals.pending().next().is_none()
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            remove_temporary();
            end(signal);
        }
    };
    std::thread::Builder::new().name("signals".to_string()).spawn(wait).map(drop).map_err(failed)
}

/// Writes something that a polite signal waits for.
pub fn whole<T>(write: impl FnOnce() -> T) -> T {
    SAVING.store(true, Ordering::SeqCst);
    let written = write();
    SAVING.store(false, Ordering::SeqCst);
    written
}

/// A folder that goes when it is dropped, and also when a signal ends the process.
#[derive(Debug)]
pub struct Temporary(tempfile::TempDir);

impl Temporary {
    /// Creates one in `place`, with a name that begins with `prefix`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn new(place: &Path, prefix: &str) -> Result<Self> {
        // Held until it is known: a signal in between would leave it behind.
        let mut known = TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(place);
        let folder = folder.map_err(|cause| Error::file("create a folder in", place, cause))?;
        known.push(folder.path().to_path_buf());
        Ok(Temporary(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        TEMPORARY
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path| path != self.0.path());
    }
}

fn remove_temporary() {
    for folder in TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // Threads may still write into it, or make it anew: what cannot be removed now is swept by
        // the next run there.
        for _ in 0..TRIES {
            let removed = std::fs::remove_dir_all(&folder);
            std::thread::sleep(BREATH);
            if removed.is_ok() && !folder.exists() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folders_go_when_dropped_and_when_a_signal_comes() {
        let place = tempfile::tempdir().unwrap();
        let first = Temporary::new(place.path(), "a-").unwrap();
        let kept = first.path().to_path_buf();
        drop(first);
        assert!(!kept.exists());
        let second = Temporary::new(place.path(), "a-").unwrap();
        std::fs::write(second.path().join("file"), "x").unwrap();
        remove_temporary();

        assert!(!second.path().exists());
    }
}
