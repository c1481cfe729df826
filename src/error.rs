//! The one error of the library: what failed, where, and what to do next.
//!
//! A [`Kind`] is an exit code, a *place* is anything a person can look up (a pipeline line, a file
//! and offset, a room), and a *hint* is the next action. Messages are lower-case fragments with
//! literals in backticks and no full stop, so that they read well after "error:".
//!
//! A bad *row* is not an error: it is refused with a reason (see [`crate::flow::books`]).

use std::fmt;
use std::path::Path;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a run stopped; each kind is one documented exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A wrong command line or pipeline file: exit 2.
    Usage,
    /// Data breaks a contract, or more of it was refused than allowed: exit 3.
    Data,
    /// A file, a disk or a child process failed: exit 4.
    Io,
    /// Numbers went bad while training, such as a loss that is not finite: exit 5.
    Numbers,
    /// A signal ended the run: exit 130 (SIGINT) or 143 (SIGTERM).
    Stopped(i32),
}

impl Kind {
    /// The process exit code of this kind: `2..=5`, or 128 and the signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Data => 3,
            Kind::Io => 4,
            Kind::Numbers => 5,
            Kind::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(130),
        }
    }
}

/// What failed, where, and what to do next.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    what: String,
    places: Vec<String>,
    hints: Vec<String>,
}

impl Error {
    /// An error of `kind` that says `what` failed.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, what: what.into(), places: Vec::new(), hints: Vec::new() }))
    }

    /// A wrong command line or pipeline file.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what)
    }

    /// Data that breaks a contract or a policy.
    pub fn data(what: impl Into<String>) -> Self {
        Self::new(Kind::Data, what)
    }

    /// A file, disk or child process that failed; `cause` is appended after a colon.
    pub fn io(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Kind::Io, format!("{what}: {cause}"))
    }

    /// A file that could not be read, written, renamed …: `verb` names the action.
    ///
    /// A full disk gets its own hint, since it is the commonest cause on long runs.
    pub fn file(verb: &str, path: &Path, cause: impl fmt::Display) -> Self {
        let cause = cause.to_string();
        let full = cause.contains("No space left") || cause.contains("os error 28");
        let error = Self::io(format!("cannot {verb} `{}`", path.display()), cause);
        if full {
            return error.hint(
                "the disk is full: free some space and run the same command again; it goes \
                       on where it stopped",
            );
        }
        error
    }

    /// A thread or process that the system does not give.
    pub fn no_thread(cause: impl fmt::Display) -> Self {
        Self::io("cannot start a thread", cause).hint(
            "`ulimit -u` and the limits of the container say how many there may be; \
                   `--threads 1` needs few",
        )
    }

    /// Adds a place: where this happened, innermost first.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.places.push(place.to_string());
        self
    }

    /// Adds the next action a person can take.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hints.push(hint.to_string());
        self
    }

    /// The kind, and through it the exit code.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message alone, without places and hints.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Where it happened, innermost first.
    pub fn places(&self) -> &[String] {
        &self.0.places
    }

    /// What to do next.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        for place in &self.0.places {
            write!(f, "\n  at: {place}")?;
        }
        for hint in &self.0.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Failures of Arrow and Parquet that are not about one file are broken contracts.
impl From<arrow::error::ArrowError> for Error {
    fn from(cause: arrow::error::ArrowError) -> Self {
        Error::data(format!("the columns do not fit together: {cause}"))
    }
}

/// Adds a place to the error of a result.
pub trait At<T> {
    /// Adds the place `place()` if this is an error.
    ///
    /// # Errors
    /// The same error, with one place more.
    fn at_place<P: fmt::Display>(self, place: impl FnOnce() -> P) -> Result<T>;
}

impl<T> At<T> for Result<T> {
    fn at_place<P: fmt::Display>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|error| error.at(place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_what_next() {
        let error =
            Error::usage("`k1` is 9, outside 0..=3").at("mine.toml:14").hint("1.2 is the default");
        assert_eq!(
            error.to_string(),
            "`k1` is 9, outside 0..=3\n  at: mine.toml:14\n  hint: 1.2 is the default"
        );
        assert_eq!(error.kind().exit_code(), 2);
    }

    #[test]
    fn exit_codes_of_signals_are_those_of_shells() {
        assert_eq!([2, 15].map(|signal| Kind::Stopped(signal).exit_code()), [130, 143]);
    }

    #[test]
    fn a_full_disk_says_so() {
        let cause = std::io::Error::from_raw_os_error(28);
        assert!(
            Error::file("write", Path::new("out/x"), cause).to_string().contains("disk is full")
        );
    }
}
