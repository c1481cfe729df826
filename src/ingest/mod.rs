//! files → `document`
//!
//! Comes in: the files of a source, compressed or not. Goes out: one document a record, as clean plain text,
//! with where it came from. Promises: every record of a file is kept or refused with a reason; a damaged file
//! gives all its whole records and one refusal; equal files give equal parts for any number of threads; a rerun
//! goes on inside a large file.
//!
//! The way of a file: [`files`] finds it, [`decompress`] unpacks it, [`encoding`] makes UTF-8 of it, its [`Format`]
//! cuts and parses it, `prepare` makes rows, `parts` writes them, [`ids`] settles which record of an id stays.
//!
//! To add a format: one file with a [`Format`], one `mod` line, one line in [`FORMATS`].

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::settings::nearest;
use crate::flow::watched::{Failure, Watched, unreadable};

mod bzip2_blocks;
pub mod clean;
pub mod csv;
pub mod decompress;
pub mod encoding;
pub mod fields;
pub mod files;
pub mod guess;
pub mod ids;
pub mod jsonl;
mod lenient;
mod markdown;
pub mod marks;
mod numbers;
pub mod parquet;
mod parts;
mod prepare;
pub mod pubmed;
mod reader;
mod run;
pub mod text;
pub mod wiki;
pub mod wikiextractor;
mod wikitext;
pub mod window;
mod workers;
mod xml;

pub use guess::guess_format;
pub use run::{run, source_books};

/// Changes when the same files would give other rows.
pub const VERSION: u32 = 3;

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
    if let Some(format) = FORMATS.iter().find(|format| format.name() == name) {
        return Ok(*format);
    }
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    let near = nearest(name, names.iter().copied(), 0.7);
    let error = Error::usage(format!("there is no format `{name}`"));
    let error = near.map(|near| format!("did you mean `{near}`?")).into_iter().fold(error, Error::hint);
    Err(error.hint(format!("formats are: {}", names.join(", "))))
}

/// Parameters of the room: section `[ingest]` of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Largest single record, in bytes; larger ones are refused as `too_large`.
    pub max_record_bytes: usize,
    /// Most bytes one file may unpack to; the rest is refused as `bomb`.
    pub max_unpacked_bytes: u64,
    /// Most times its own size a file may unpack to, once that is more than 64 MiB; the rest is refused as `bomb`.
    pub max_ratio: u64,
    /// Shortest text, in characters; shorter ones are refused as `too_short`.
    pub min_chars: usize,
    /// Text of one part on disk, in bytes; a run that was killed goes on behind the last whole part.
    pub part_bytes: usize,
}

impl Params {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the first key outside its range.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::usage(format!("`ingest.{key}` is {value}, outside {low}..={high}"))
                .hint("pipelines/default.toml tells what it does and its default"))
        };
        within("max_record_bytes", self.max_record_bytes as u64, 1_024, 1 << 30)?;
        within("max_unpacked_bytes", self.max_unpacked_bytes, 1 << 20, 1 << 50)?;
        within("max_ratio", self.max_ratio, 2, 1_000_000)?;
        within("min_chars", self.min_chars as u64, 1, 1_000_000)?;
        within("part_bytes", self.part_bytes as u64, 65_536, 1 << 30)
    }
}

/// How far the ids of a source reach, where its records say no version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// One id with several texts is several records, each named by its file too.
    #[default]
    Auto,
    /// Ids are begun anew in each file: every record is named by its file too.
    File,
    /// No id stands twice: one with several texts is an error.
    Global,
}

/// One source of a run: an entry `[source.<name>]` of the pipeline file, with what the command line changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// Name, the first part of every document id.
    #[serde(default)]
    pub name: String,
    /// A file, a folder (all its files in name order, subfolders included) or a glob pattern.
    #[serde(default)]
    pub path: String,
    /// Name of a [`Format`]; empty has it told by the files.
    #[serde(default)]
    pub format: String,
    /// Whether `format` was told by the files.
    #[serde(skip)]
    pub is_guessed: bool,
    /// `general` or `domain`.
    #[serde(default = "domain")]
    pub role: String,
    /// ISO 639 code for records that do not say it themselves.
    #[serde(default)]
    pub language: Option<String>,
    /// Licence for records that do not say it themselves.
    #[serde(default)]
    pub licence: Option<String>,
    /// Whether one id may stand for several records.
    #[serde(default)]
    pub ids: Ids,
    /// Records left out by what their metadata say: a key that is set (`retracted`), or `key=value`. See [`marks`].
    #[serde(default)]
    pub drop: Vec<String>,
    /// Among duplicates the source with the highest priority survives.
    #[serde(default)]
    pub priority: i32,
    /// For formats with free columns: our field (`id`, `version`, `text`, `title`, `url`, `date`, `language`,
    /// `licence`) = the column's name, or a path `a.b` into nested objects; several columns joined with `+` are put
    /// together as paragraphs. `encoding` = a label such as `big5` where detection guesses wrong. See [`fields`].
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

impl SourceSpec {
    /// Checks what can be checked without opening a file: format, role, fields.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<()> {
        let at = || format!("[source.{}]", self.name);
        let format = format(&self.format).map_err(|error| error.at(at()))?;
        self.check_role()?;
        let mapped = self.fields.keys().find(|field| *field != "encoding");
        if let Some(field) = mapped.filter(|_| !format.has_columns()) {
            return Err(Error::usage(format!("`fields.{field}` maps a column, and `{}` has none", self.format))
                .at(at())
                .hint("`fields` are for jsonl, csv and parquet; `encoding` alone is for every format"));
        }
        marks::check(&self.drop).map_err(|error| error.at(at()))?;
        fields::check(&self.fields).map_err(|error| error.at(at()))
    }

    /// Whether its records, in that format, say their version.
    pub fn has_versions(&self, format: &dyn Format) -> bool {
        format.has_versions() || self.fields.contains_key("version")
    }

    /// Checks the role alone, which every source of a pipeline file must have, whether it is read or not.
    ///
    /// # Errors
    /// If it is neither `general` nor `domain`.
    pub fn check_role(&self) -> Result<()> {
        if matches!(self.role.as_str(), "general" | "domain") {
            return Ok(());
        }
        Err(Error::usage(format!("`source.{}.role` is `{}`", self.name, self.role))
            .hint("a role is `general` or `domain`"))
    }

    /// A source of one file or folder outside any pipeline file, in the format that [`guess_format`] finds.
    ///
    /// # Errors
    /// If the path cannot be read or its format not guessed.
    pub fn of_path(name: &str, path: &Path) -> Result<Self> {
        Ok(SourceSpec {
            name: name.to_string(),
            path: path.to_string_lossy().into_owned(),
            format: guess_format(path)?.to_string(),
            role: domain(),
            ..SourceSpec::default()
        })
    }
}

/// The role of a source that says none: what somebody brings along is what a model is to learn.
pub fn domain() -> String {
    "domain".to_string()
}

/// A record as it was cut out of a decompressed file, not parsed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// Where it begins in the decompressed file, in bytes (in Parquet, the row number).
    pub offset: u64,
    /// The record's own bytes.
    pub bytes: Vec<u8>,
}

/// What a file says once for all its records, such as a dump's language; the splitter finds it, `parse` gets it.
///
/// Before `parse` the reader adds `file`, the path as given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileFacts(pub BTreeMap<String, String>);

/// A document before it gets its source's columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Id within the source (`12`, `en:12`); `None` names it by its content.
    pub id: Option<String>,
    /// Where records say versions, of those of one id the one with the greatest stays, then the one read last.
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
    /// Turned away: a reason of [`crate::flow::books::REASONS`], the id where known, and what exactly.
    Refused {
        /// Declared reason.
        reason: &'static str,
        /// Id within the source.
        id: Option<String>,
        /// What exactly.
        detail: String,
    },
    /// Turned away as a whole record that is no document, such as an article that became a redirect: older versions of
    /// its id go with it.
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
    /// Ids (within the source) that this record withdraws from records read earlier; no document of its own.
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
    /// A whole record, or damaged stretch, that the splitter itself turns away; splitting goes on behind it.
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

    /// Whether its records have free columns, which a source's `fields` map.
    fn has_columns(&self) -> bool {
        false
    }

    /// Whether its records say their version, so that one id read again replaces what was read before.
    fn has_versions(&self) -> bool {
        false
    }

    /// How it wants its files; formats of text leave this as it is.
    fn access(&self) -> Access {
        Access::Text
    }

    /// Cuts a file on disk; called instead of [`Format::split`] where [`Format::access`] says [`Access::File`].
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

    /// Cuts the decompressed `input` into records and hands each to `emit`, with what the file said so far.
    ///
    /// Memory is bounded by the largest record; a record above `max_record_bytes` is refused as `too_large` and
    /// skipped. When `input` returns an I/O error or ends early, everything whole has been emitted before, and
    /// the return value says where it broke. `emit` returns false to stop early.
    ///
    /// # Errors
    /// Only those of `emit`.
    fn split(&self, input: &mut dyn BufRead, limits: &Limits, emit: Emit<'_>) -> Result<Option<Broken>>;

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
    fn of_records(max_record_bytes: usize) -> Self {
        Limits { max_record_bytes, max_unpacked_bytes: 1 << 40, max_ratio: 1_000, memory_bytes: 1 << 30 }
    }
}
