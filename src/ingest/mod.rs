//! files → `document`
//!
//! Comes in: the files of a source, compressed or not. Goes out: one document a record, as clean
//! plain text, with where it came from. Promises: every record of a file is kept or refused with a
//! reason; a damaged file gives all its whole records and one refusal; equal files give equal parts
//! for any number of threads; a rerun goes on inside a large file.
//!
//! The way of a file: [`crate::files`] finds it, unpacks it and makes UTF-8 of it, its [`Format`]
//! cuts and parses it, `prepare` makes rows, `parts` writes them, [`ids`] settles which record of
//! an id stays.
//!
//! To add a format: see [`formats`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::decompress::Bounds;

pub mod chinese;
pub mod clean;
pub mod fields;
pub mod formats;
pub mod guess;
pub mod ids;
mod lenient;
mod markdown;
pub mod marks;
mod numbers;
mod parts;
mod prepare;
mod reader;
mod run;
pub mod source_files;
mod wikitext;
pub mod window;
mod workers;
mod xml;

pub use formats::{
    Access, Broken, Document, Emit, FORMATS, FileFacts, Format, Limits, Parsed, Piece, Raw, format,
};
pub use guess::guess_format;
pub use run::{run, source_books};

/// Changes when the same files would give other rows.
pub const VERSION: u32 = 4;

/// Parameters of the room: section `[ingest]` of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Largest single record, in bytes; larger ones are refused as `too_large`.
    pub max_record_bytes: usize,
    /// Most bytes one file may unpack to; the rest is refused as `bomb`.
    pub max_unpacked_bytes: u64,
    /// Most times its own size a file may unpack to, once that is more than 64 MiB; the rest is
    /// refused as `bomb`.
    pub max_ratio: u64,
    /// Shortest text, in characters; shorter ones are refused as `too_short`.
    pub min_chars: usize,
    /// Text of one part on disk, in bytes; a run that was killed goes on behind the last whole
    /// part.
    pub part_bytes: usize,
    /// The characters of Chinese texts.
    pub script: chinese::Script,
    /// Letters, digits and punctuation of Chinese texts.
    pub width: chinese::Width,
}

impl Params {
    /// How Chinese texts are written.
    pub fn form(&self) -> chinese::Form {
        chinese::Form { script: self.script, width: self.width }
    }

    /// How much one file may unpack to.
    pub fn bounds(&self) -> Bounds {
        Bounds { max_bytes: self.max_unpacked_bytes, max_ratio: self.max_ratio }
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

/// One source of a run: an entry `[source.<name>]` of the pipeline file, with what the command line
/// changed.
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
    /// Records left out by what their metadata say: a key that is set (`retracted`), or
    /// `key=value`. See [`marks`].
    #[serde(default)]
    pub drop: Vec<String>,
    /// Whether a Chinese statute is one document, or each of its articles.
    #[serde(default)]
    pub split: chinese::Split,
    /// Kinds of Chinese texts whose templates go: names of [`chinese::TEMPLATES`].
    #[serde(default)]
    pub templates: Vec<String>,
    /// Among duplicates the source with the highest priority survives.
    #[serde(default)]
    pub priority: i32,
    /// For formats with free columns: our field (`id`, `version`, `text`, `title`, `url`, `date`,
    /// `language`, `licence`) = the column's name, or a path `a.b` into nested objects; several
    /// columns joined with `+` are put together as paragraphs. `encoding` = a label such as `big5`
    /// where detection guesses wrong. See [`fields`].
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
            return Err(Error::usage(format!(
                "`fields.{field}` maps a column, and `{}` has none",
                self.format
            ))
            .at(at())
            .hint(
                "`fields` are for jsonl, csv and parquet; `encoding` alone is for every format",
            ));
        }

        chinese::check(&self.templates).map_err(|error| error.at(at()))?;
        marks::check(&self.drop).map_err(|error| error.at(at()))?;
        fields::check(&self.fields).map_err(|error| error.at(at()))
    }

    /// Whether its records, in that format, say their version.
    pub fn has_versions(&self, format: &dyn Format) -> bool {
        format.has_versions() || self.fields.contains_key("version")
    }

    /// Checks the role alone, which every source of a pipeline file must have, whether it is read
    /// or not.
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

    /// A source of one file or folder outside any pipeline file, in the format that
    /// [`guess_format`] finds.
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
