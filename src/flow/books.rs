//! The books: what a room read, and made beside it, is what it kept, refused and marked duplicate,
//! by reason, always.
//!
//! Reasons are declared here, in one slice, so that reports, the policy and the tests can loop over
//! them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, UInt64Builder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::flow::contract::contract;

/// How much of a refused record is kept.
pub const KEPT_BYTES: usize = 65_536;

/// Whether a refusal says something about the input's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Whole and well-formed, but not wanted: a redirect, an empty abstract.
    Unwanted,
    /// Damaged: counts against `max_refused`.
    Broken,
}

/// Why a row may be refused.
#[derive(Debug)]
pub struct Reason {
    /// Name, as it stands in the `reason` column.
    pub name: &'static str,
    /// Whether it counts against `max_refused`.
    pub class: Class,
    /// What it means, in one line.
    pub meaning: &'static str,
}

const fn unwanted(name: &'static str, meaning: &'static str) -> Reason {
    Reason { name, class: Class::Unwanted, meaning }
}

const fn broken(name: &'static str, meaning: &'static str) -> Reason {
    Reason { name, class: Class::Broken, meaning }
}

/// Every reason a row may be refused for.
pub static REASONS: &[Reason] = &[
    unwanted("redirect", "the page only points to another page"),
    unwanted("disambiguation", "the page lists the meanings of a word"),
    unwanted("namespace", "the page is not an article (talk, user, template, ...)"),
    unwanted("no_text", "nothing is left once mark-up is removed, or the record has no text"),
    unwanted("too_short", "the text is shorter than `min_chars`"),
    unwanted("placeholder", "the text holds nothing: `NA`, `null`, a dash, invisible characters"),
    unwanted("repeated", "a record with the same id and the same text was read before"),
    unwanted(
        "dropped",
        "a mark that the source's `drop` names; each mark is counted, as `dropped:retracted`",
    ),
    unwanted("dead_link", "a link that leads nowhere, or back into a folder around it"),
    unwanted("no_file", "a pipe, a socket or a device in a folder of files"),
    unwanted(
        "not_chosen",
        "others are worth more, and no more tokens go on (`density.keep_tokens`)",
    ),
    unwanted(
        "not_the_same",
        "a variant that says something else than its document: other concepts, numbers, negations \
         or comparisons, as `not_the_same:numbers`",
    ),
    unwanted("not_new", "a variant made elsewhere that is its document, or another variant, again"),
    unwanted("no_parent", "a variant made elsewhere of a document that is not in the build"),
    unwanted("outweighed", "the source weighs less than 1, and others of it stand in the order"),
    unwanted("of_held_out", "a variant of a document that is held out for validation"),
    unwanted("deleted", "a later file withdraws the record (DeleteCitation)"),
    unwanted("superseded", "a later version of the same record was read"),
    unwanted(
        "not_a_record",
        "a well-formed element of the file that is no document, such as a book or a summary",
    ),
    broken("truncated", "the file or its compressed stream ends inside a record"),
    broken("malformed", "the record cannot be parsed"),
    broken("encoding", "bytes that are not text in the file's encoding"),
    broken("corrupt_stream", "the compressed stream is damaged from here on"),
    broken("bomb", "decompression passed the size or ratio limit"),
    broken("too_large", "a single record is larger than `max_record_bytes`"),
    broken("missing_field", "the record lacks a field that the mapping names"),
    broken("wrong_format", "the file is not what its source says"),
    broken("unreadable", "the file could not be read"),
];

/// The declared reason called `name`, which may say behind a colon what exactly is counted.
pub fn reason(name: &str) -> Option<&'static Reason> {
    let name = name.split(':').next().unwrap_or(name);
    REASONS.iter().find(|reason| reason.name == name)
}

/// One row that was turned away.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Name of the source in the pipeline file.
    pub source: String,
    /// File it was read from.
    pub file: String,
    /// Where the record begins, in bytes of the decompressed file.
    pub offset: u64,
    /// Name of the record where it has one.
    pub id: Option<String>,
    /// One of [`REASONS`], or `<reason>:<what is counted>`.
    pub reason: Cow<'static, str>,
    /// What exactly.
    pub detail: String,
    /// Length of the whole record in bytes.
    pub n_bytes: u64,
    /// The record, up to [`KEPT_BYTES`]; empty where an earlier refusal of the same record has it.
    pub bytes: Vec<u8>,
}

/// Refusals as rows of the contract `refused`.
///
/// # Errors
/// If a reason is not declared in [`REASONS`].
pub fn refusals_to_batch<'a>(room: &'a str, refusals: &'a [Refusal]) -> Result<RecordBatch> {
    let strings = |f: &dyn Fn(&'a Refusal) -> Option<&'a str>| -> ArrayRef {
        let mut builder = StringBuilder::new();
        refusals.iter().for_each(|refusal| builder.append_option(f(refusal)));
        Arc::new(builder.finish())
    };
    let numbers = |f: &dyn Fn(&Refusal) -> u64| -> ArrayRef {
        let mut builder = UInt64Builder::new();
        refusals.iter().for_each(|refusal| builder.append_value(f(refusal)));
        Arc::new(builder.finish())
    };

    if let Some(unknown) = refusals.iter().find(|refusal| reason(&refusal.reason).is_none()) {
        return Err(Error::data(format!(
            "reason `{}` is not declared in flow/books.rs",
            unknown.reason
        )));
    }

    let mut bytes = BinaryBuilder::new();
    refusals.iter().for_each(|refusal| {
        bytes.append_value(&refusal.bytes[..refusal.bytes.len().min(KEPT_BYTES)])
    });
    contract("refused")?.batch(vec![
        strings(&|_| Some(room)),
        strings(&|r| Some(&r.source)),
        strings(&|r| Some(&r.file)),
        numbers(&|r| r.offset),
        strings(&|r| r.id.as_deref()),
        strings(&|r| Some(&r.reason)),
        strings(&|r| Some(&r.detail)),
        numbers(&|r| r.n_bytes),
        Arc::new(bytes.finish()),
    ])
}

/// Note: bytes of the files, unpacked; of what could not be unpacked, as many as the rest lets
/// expect.
pub const BYTES_READ: &str = "bytes_read";
/// Note: those of them that are lost to damage.
pub const BYTES_DAMAGED: &str = "bytes_damaged";
/// Note: lines of wikitext that became text.
pub const PROSE_LINES: &str = "prose_lines";
/// Note: templates that no table knows, where they left a hole in a line of prose.
pub const DROPPED_INLINE: &str = "dropped_inline_templates";
/// Begins the note of such a template, whose name in backticks follows.
pub const DROPPED: &str = "dropped template ";

/// What happened to every row of a part, a room or a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Books {
    /// Rows (for `ingest`, records) that came in.
    pub read: u64,
    /// Rows that were made here beside them, by what they were made by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made: BTreeMap<String, u64>,
    /// Rows that went on.
    pub kept: u64,
    /// Rows turned away, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Rows removed as duplicates, by rule.
    pub duplicates: BTreeMap<String, u64>,
    /// Things worth counting that are no rows, such as repaired bytes or pairs translated.
    #[serde(default)]
    pub notes: BTreeMap<String, u64>,
}

impl Books {
    /// Rows made here.
    pub fn n_made(&self) -> u64 {
        self.made.values().sum()
    }

    /// Rows turned away.
    pub fn n_refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Rows refused because they were damaged.
    pub fn n_broken(&self) -> u64 {
        let is_broken =
            |name: &str| reason(name).is_none_or(|reason| reason.class == Class::Broken);
        self.refused.iter().filter(|(name, _)| is_broken(name)).map(|(_, n)| n).sum()
    }

    /// The share of damaged records or, where that is greater, of bytes lost to damage: one record
    /// may be the rest of a file.
    pub fn share_broken(&self) -> f64 {
        let note = |name| self.notes.get(name).copied().unwrap_or(0) as f64;
        let of_bytes = (note(BYTES_DAMAGED) / note(BYTES_READ).max(1.0)).min(1.0);
        of_bytes.max(self.n_broken() as f64 / self.read.max(1) as f64)
    }

    /// Rows removed as duplicates.
    pub fn n_duplicates(&self) -> u64 {
        self.duplicates.values().sum()
    }

    /// Counts one refusal, and the record it turned away as read.
    pub fn refuse(&mut self, reason: &str) {
        self.read += 1;
        *self.refused.entry(reason.to_string()).or_default() += 1;
    }

    /// Templates that no table knows, each with how often it left a hole in a line of prose, the
    /// most frequent first.
    pub fn dropped_templates(&self) -> Vec<(&str, u64)> {
        let of = self
            .notes
            .iter()
            .filter_map(|(note, n)| Some((note.strip_prefix(DROPPED)?.trim_matches('`'), *n)));
        let mut dropped: Vec<(&str, u64)> = of.collect();
        dropped.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
        dropped
    }

    /// Holes that unknown templates left for every 1,000 lines of prose; `None` where no wikitext
    /// was read.
    pub fn dropped_per_1000_lines(&self) -> Option<f64> {
        let note = |name| self.notes.get(name).copied().unwrap_or(0) as f64;
        (note(PROSE_LINES) > 0.0).then(|| 1000.0 * note(DROPPED_INLINE) / note(PROSE_LINES))
    }

    /// Adds `n` to a note.
    pub fn note(&mut self, name: &str, n: u64) {
        if n > 0 {
            *self.notes.entry(name.to_string()).or_default() += n;
        }
    }

    /// Adds other books to these.
    pub fn add(&mut self, other: &Books) {
        self.read += other.read;
        self.kept += other.kept;

        for (ours, theirs) in [
            (&mut self.made, &other.made),
            (&mut self.refused, &other.refused),
            (&mut self.duplicates, &other.duplicates),
            (&mut self.notes, &other.notes),
        ] {
            for (name, n) in theirs {
                *ours.entry(name.clone()).or_default() += n;
            }
        }
    }

    /// Checks that read + made = kept + refused + duplicates.
    ///
    /// # Errors
    /// With the numbers, if they do not add up.
    pub fn balance(&self) -> Result<()> {
        let out = self.kept + self.n_refused() + self.n_duplicates();
        if self.read + self.n_made() == out {
            return Ok(());
        }
        Err(Error::data(format!(
            "the books do not balance: {} read and {} made, but {} kept + {} refused + {} \
             duplicates = {out}",
            self.read,
            self.n_made(),
            self.kept,
            self.n_refused(),
            self.n_duplicates()
        ))
        .hint("this is a bug in kpipe; please report it with the pipeline file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_and_explained() {
        for (idx, reason) in REASONS.iter().enumerate() {
            assert!(!reason.meaning.is_empty());
            assert!(
                REASONS[..idx].iter().all(|other| other.name != reason.name),
                "{}",
                reason.name
            );
        }
    }

    #[test]
    fn unbalanced_books_are_an_error() {
        let mut books = Books { read: 3, kept: 2, ..Books::default() };
        assert!(books.balance().is_err());
        books.refused.insert("redirect".into(), 1);
        assert!(books.balance().is_ok());
        assert_eq!(books.n_broken(), 0);
        books.refuse("truncated");
        assert_eq!((books.n_broken(), books.read), (1, 4));
    }

    #[test]
    fn long_records_are_cut_but_their_length_is_kept() {
        let refusal = Refusal {
            source: "s".into(),
            file: "f".into(),
            offset: 7,
            id: None,
            reason: "malformed".into(),
            detail: String::new(),
            n_bytes: 100_000,
            bytes: vec![b'x'; 100_000],
        };

        let batch = refusals_to_batch("ingest", &[refusal]).unwrap();
        assert_eq!(batch.num_rows(), 1);
    }
}
