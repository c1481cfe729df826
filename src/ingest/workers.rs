//! Threads that do jobs for other threads of the room.
//!
//! A job never waits for another, so whoever gives jobs may wait for their results and nothing can
//! stand still. Not rayon's threads: the one that gives the jobs may be one of those, and it
//! blocks.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use crate::error::{Error, Result};

type Job<'scope> = Box<dyn FnOnce() + Send + 'scope>;

/// Gives jobs to the workers, which end when the last clone of this is gone.
#[derive(Clone)]
pub(super) struct Workers<'scope> {
    jobs: SyncSender<Job<'scope>>,
}

/// What will come of a job.
pub(super) struct Pending<T>(Receiver<T>);

impl<'scope> Workers<'scope> {
    /// Starts `n` workers.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, n: usize) -> std::io::Result<Self> {
        let (jobs, given) = sync_channel::<Job<'scope>>(4 * n);
        let given = Arc::new(Mutex::new(given));

        for _ in 0..n {
            let given = Arc::clone(&given);
            let next = move || given.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let work = move || {
                while let Ok(job) = next() {
                    job();
                }
            };
            std::thread::Builder::new().name("worker".to_string()).spawn_scoped(scope, work)?;
        }

        Ok(Workers { jobs })
    }

    /// Has a job done; waits while four jobs a worker have not been begun.
    pub(super) fn give<T: Send + 'scope>(
        &self,
        job: impl FnOnce() -> T + Send + 'scope,
    ) -> Pending<T> {
        let (done, pending) = sync_channel(1);
        let job = Box::new(move || {
            // Nobody may want the result any more.
            let _ = done.send(job());
        });
        // Where no worker is left, the result shows it.
        let _ = self.jobs.send(job);
        Pending(pending)
    }
}

impl<T> Pending<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// If the job panicked.
    pub(super) fn take(self) -> Result<T> {
        self.0.recv().map_err(|_| failed())
    }
}

/// A thread panicked.
pub(super) fn failed() -> Error {
    Error::data("a thread of the room failed").hint("this is a bug in kpipe; please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for n_workers in [1, 3] {
            std::thread::scope(|scope| {
                let workers = Workers::start(scope, n_workers).unwrap();
                let pending: Vec<Pending<u64>> = (0..20)
                    .map(|n| {
                        workers.give(move || {
                            std::thread::sleep(std::time::Duration::from_micros(n * 7 % 5 * 200));
                            n
                        })
                    })
                    .collect();

                let done: Vec<u64> =
                    pending.into_iter().map(|pending| pending.take().unwrap()).collect();
                assert_eq!(done, (0..20).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn a_job_that_panics_is_an_error_to_who_waits() {
        let outcome = std::panic::catch_unwind(|| {
            std::thread::scope(|scope| {
                let workers = Workers::start(scope, 1).unwrap();
                let (bad, behind) = (workers.give(|| panic!("on purpose")), workers.give(|| ()));
                let bad: Result<()> = bad.take();
                assert!(bad.is_err() && behind.take().is_err(), "nobody waits for ever");
            });
        });
        assert!(outcome.is_err(), "the panic goes on");
    }
}
