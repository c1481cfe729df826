//! file → records → documents: one file a format.
//!
//! A format cuts the text of a file into records, which is sequential and cheap, and makes
//! documents of each, which is pure and runs in parallel. It says itself how its files are
//! recognised.
//!
//! To add a format: one file with a [`Format`], one `mod` line, one line in [`FORMATS`].

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::flow::registry;
use crate::flow::watched::{Failure, Watched, unreadable};
use crate::ingest::SourceSpec;

pub mod csv;
pub mod jsonl;
pub mod parquet;
pub mod pubmed;
#[cfg(test)]
mod tests;
pub mod text;
pub mod wiki;
pub mod wikiextractor;

/// Every format that a source may name.
#[rustfmt::skip]
pub static FORMATS: &[&dyn Format] = &[
    &csv::Csv,
    &jsonl::Jsonl,
    &parquet::Parquet,
    &pubmed::Pubmed,
    &text::Text,
    &wiki::Wiki,
    &wikiextractor::Wikiextractor,
];

/// The format called `name`.
///
/// # Errors
/// If there is none; the nearest name is suggested.
pub fn format(name: &str) -> Result<&'static dyn Format> {
    registry::find("format", FORMATS, name, |format| format.name())
}

/// A record as it was cut out of a decompressed file, not parsed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// Where it begins in the decompressed file, in bytes (in Parquet, the row number).
    pub offset: u64,
    /// The record's own bytes.
    pub bytes: Vec<u8>,
}

/// What a file says once for all its records, such as a dump's language; the splitter finds it,
/// `parse` gets it.
///
/// Before `parse` the reader adds `file`, the path as given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileFacts(pub BTreeMap<String, String>);

/// A document before it gets its source's columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Id within the source (`12`, `en:12`); `None` names it by its content.
    pub id: Option<String>,
    /// Where records say versions, of those of one id the one with the greatest stays, then the one
    /// read last.
    pub version: u64,
    /// Plain text, paragraphs separated by one empty line.
    pub text: String,
    /// Title as text.
    pub title: Option<String>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// Licence, where the record says it.
    pub licence: Option<String>,
    /// Language, where the record or its file says it.
    pub language: Option<String>,
    /// ISO 8601 date or time.
    pub date: Option<String>,
    /// What the format has beyond these: a JSON object with its keys in a fixed order.
    pub metadata: Option<String>,
    /// Columns that the source's `fields` name and this record lacks, counted in the books.
    pub absent: Vec<String>,
    /// Invalid bytes that were replaced by U+FFFD, counted in the books as a marked repair.
    pub repaired: u64,
    /// What else the books count of it, such as lines of prose.
    pub counts: Vec<(String, u64)>,
}

/// What `parse` makes of one raw record.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A document.
    Document(Box<Document>),
    /// Turned away: a reason of [`crate::flow::books::REASONS`], the id where known, and what
    /// exactly.
    Refused {
        /// Declared reason.
        reason: &'static str,
        /// Id within the source.
        id: Option<String>,
        /// What exactly.
        detail: String,
    },
    /// Turned away as a whole record that is no document, such as an article that became a
    /// redirect: older versions of its id go with it.
    Empty {
        /// Declared reason.
        reason: &'static str,
        /// Id within the source.
        id: String,
        /// As [`Document::version`].
        version: u64,
        /// What exactly.
        detail: String,
    },
    /// Ids (within the source) that this record withdraws from records read earlier; no document of
    /// its own.
    Withdraws(Vec<String>),
}

/// Why a splitter stopped before the end of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Where, in bytes of the decompressed file.
    pub offset: u64,
    /// Declared reason (`truncated`, `malformed`, `wrong_format`, ...).
    pub reason: &'static str,
    /// What exactly.
    pub detail: String,
    /// The bytes at that place, as far as they were read.
    pub bytes: Vec<u8>,
    /// Length of the whole stretch that is lost, in bytes, where it is longer than `bytes`.
    pub n_bytes: u64,
}

impl Broken {
    /// A break at `offset`, without bytes.
    pub fn new(offset: u64, reason: &'static str, detail: impl Into<String>) -> Self {
        Broken { offset, reason, detail: detail.into(), bytes: Vec::new(), n_bytes: 0 }
    }
}

/// What a splitter hands over.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// One record.
    Record(Raw),
    /// A whole record, or damaged stretch, that the splitter itself turns away; splitting goes on
    /// behind it.
    Refused(Broken),
}

/// Takes the pieces of a file one after the other; false stops the splitter.
pub type Emit<'a> = &'a mut dyn FnMut(&FileFacts, Piece) -> Result<bool>;

/// How a format wants its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As a stream of UTF-8: decompressed, any byte order mark off, other encodings decoded.
    Text,
    /// As a file on disk that can be read at any place, decompressed where it was not plain.
    File,
}

/// A file format: how to cut a file into records, and how to make a document of one.
///
/// Cutting is sequential and cheap; parsing is pure and runs in parallel.
pub trait Format: Sync {
    /// Name in pipeline files, equal to the file stem of its module.
    fn name(&self) -> &'static str;

    /// What it reads, in one line.
    fn about(&self) -> &'static str;

    /// Where in the beginning of a file's text stands what only this format has, in bytes; of
    /// several formats the one whose signature comes first reads the file, whatever its name is.
    fn recognises(&self, head: &[u8]) -> Option<usize> {
        let _ = head;
        None
    }

    /// What the names of its files end with, behind the ending of their packing, in lower case.
    fn endings(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a file that begins so may be of this format, where neither a signature nor a name
    /// tells.
    fn resembles(&self, head: &[u8]) -> bool {
        let _ = head;
        false
    }

    /// Whether its records have free columns, which a source's `fields` map.
    fn has_columns(&self) -> bool {
        false
    }

    /// Whether its records say their version, so that one id read again replaces what was read
    /// before.
    fn has_versions(&self) -> bool {
        false
    }

    /// How it wants its files; formats of text leave this as it is.
    fn access(&self) -> Access {
        Access::Text
    }

    /// Cuts a file on disk; called instead of [`Format::split`] where [`Format::access`] says
    /// [`Access::File`].
    ///
    /// # Errors
    /// Those of `emit`, and where the system does not give the file.
    fn split_file(&self, path: &Path, limits: &Limits, emit: Emit<'_>) -> Result<Option<Broken>> {
        let failure = Failure::default();
        let file = Watched::open(path, &failure).map_err(|cause| unreadable(path, &cause))?;
        let broken = self.split(&mut std::io::BufReader::new(file), limits, emit);
        failure.check(path)?;
        broken
    }

    /// Cuts the decompressed `input` into records and hands each to `emit`, with what the file said
    /// so far.
    ///
    /// Memory is bounded by the largest record; a record above `max_record_bytes` is refused as
    /// `too_large` and skipped. When `input` returns an I/O error or ends early, everything whole
    /// has been emitted before, and the return value says where it broke. `emit` returns false to
    /// stop early.
    ///
    /// # Errors
    /// Only those of `emit`.
    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>>;

    /// Makes documents of one record. Never panics, whatever the bytes are.
    fn parse(&self, raw: &Raw, facts: &FileFacts, source: &SourceSpec) -> Vec<Parsed>;
}

/// Bounds that protect a run from hostile input.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest single record, in bytes.
    pub max_record_bytes: usize,
    /// Most bytes a file may unpack to.
    pub max_unpacked_bytes: u64,
    /// The same in times its own size, once that is more than 64 MiB.
    pub max_ratio: u64,
    /// Memory that may be used, in bytes.
    pub memory_bytes: u64,
}

#[cfg(test)]
impl Limits {
    pub(crate) fn of_records(max_record_bytes: usize) -> Self {
        Limits {
            max_record_bytes,
            max_unpacked_bytes: 1 << 40,
            max_ratio: 1_000,
            memory_bytes: 1 << 30,
        }
    }
}
