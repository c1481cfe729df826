//! rows → raw parts: the first phase's output, in reading order, before it is settled which record
//! of an id stays.
//!
//! A part is committed by its books. Beside it stand the hashes of its ids and a cursor that says
//! where the next part begins, so a rerun goes on there. What a part holds depends on the rows
//! alone: neither chunks nor threads nor where a run was stopped change it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt64Array};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::books::{BYTES_DAMAGED, Books, Class, Refusal, reason};
use crate::flow::contract::contract;
use crate::flow::dataset::{
    BATCH_BYTES, BATCH_ROWS, PartWriter, RowGroup, read_json, write_atomically, write_json,
};
use crate::flow::room::Context;
use crate::ingest::ids::{Event, Kind};
use crate::ingest::prepare::{Outcome, Prepared, Row};
use crate::ingest::reader::ReadFrom;
use crate::ingest::workers::{Pending, Workers};
use crate::ingest::{Document, SourceSpec};

/// Where the next part begins, and what was counted before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Index of the source, of the file in it, and of the piece in that.
    pub(super) source: usize,
    pub(super) file: usize,
    pub(super) piece: u64,
    /// Documents of the current source.
    pub(super) documents: u64,
    /// Rows of the part before the cursor.
    pub(super) rows: u64,
    /// Books by source, of everything before the cursor.
    pub(super) books: BTreeMap<String, Books>,
}

impl Cursor {
    pub(super) fn place(&self) -> ReadFrom {
        ReadFrom { source: self.source, file: self.file, piece: self.piece }
    }
}

/// Most batches in encoding at once.
const ENCODING: usize = 4;

/// A row with the index of its source and the path of its file.
type Placed = (usize, Arc<str>, Box<Row>);

/// Where an outcome comes from: index of the source, of the file in it, and the file's path.
#[derive(Clone, Copy)]
struct Origin<'p> {
    source: usize,
    file: usize,
    path: &'p Arc<str>,
}

/// Writes the raw parts.
pub(super) struct Parts<'a> {
    raw: &'a Context<'a>,
    sources: &'a [SourceSpec],
    n_files: Vec<usize>,
    limit: Option<u64>,
    part_bytes: usize,
    /// By source: set once enough was read of it.
    enough: &'a [AtomicBool],
    /// Parts to commit before stopping as if killed; tests only.
    stop_after: Option<usize>,
    n_committed: usize,
    part: usize,
    workers: Workers<'a>,
    writer: Option<PartWriter>,
    /// Batches of the part that are being encoded, in order.
    encoding: VecDeque<Pending<Result<RowGroup>>>,
    batch: Vec<Placed>,
    batch_bytes: usize,
    size: usize,
    refused: Vec<Refusal>,
    events: Vec<u8>,
    books: Books,
    pub(super) cursor: Cursor,
}

/// How the raw parts are to be written.
pub(super) struct Plan<'a> {
    pub(super) sources: &'a [SourceSpec],
    pub(super) n_files: Vec<usize>,
    pub(super) limit: Option<u64>,
    pub(super) part_bytes: usize,
    pub(super) stop_after: Option<usize>,
    pub(super) enough: &'a [AtomicBool],
}

impl<'a> Parts<'a> {
    /// Goes on behind the last committed part.
    pub(super) fn open(raw: &'a Context<'a>, plan: Plan<'a>, workers: Workers<'a>) -> Result<Self> {
        let mut part = 0;
        while raw.committed(part)?.is_some() {
            part += 1;
        }
        let cursor = match part {
            0 => Cursor::default(),
            _ => read_json(&raw.numbered("cursor", part - 1, "json"))?
                .ok_or_else(|| Error::data("a cursor is missing").at(raw.folder.display()))?,
        };
        let Plan { sources, n_files, limit, part_bytes, stop_after, enough } = plan;
        let mut parts = Parts {
            raw,
            sources,
            n_files,
            limit,
            part_bytes,
            enough,
            stop_after,
            n_committed: 0,
            part,
            workers,
            writer: None,
            encoding: VecDeque::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            size: 0,
            refused: Vec::new(),
            events: Vec::new(),
            books: Books::default(),

            cursor: Cursor { rows: 0, ..cursor },
        };

        for source in sources {
            parts.cursor.books.entry(source.name.clone()).or_default();
        }
        Ok(parts)
    }

    /// Takes what came of a chunk.
    pub(super) fn accept(&mut self, prepared: Prepared) -> Result<()> {
        if prepared.source < self.cursor.source {
            return Ok(());
        }
        let origin = Origin { source: prepared.source, file: prepared.file, path: &prepared.path };

        for (idx, outcomes) in prepared.pieces.into_iter().enumerate() {
            for outcome in outcomes {
                self.outcome(origin, outcome)?;
                if self.is_enough(prepared.source) {
                    self.note(prepared.source, "limit_reached", 1);
                    self.enough[prepared.source].store(true, Ordering::Relaxed);
                    self.next_source();
                    return self.commit_if_full();
                }
            }

            self.cursor.piece = prepared.first_piece + idx as u64 + 1;
            self.commit_if_full()?;
        }

        if let Some(notes) = prepared.end {
            notes.iter().for_each(|(name, n)| self.note(prepared.source, name, *n));
            self.cursor.file = prepared.file + 1;
            self.cursor.piece = 0;
            if self.cursor.file == self.n_files[prepared.source] {
                self.source_ends(prepared.source);
            }
        }

        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.size > 0 || !self.events.is_empty() || self.part == 0 {
            self.commit()?;
        }
        write_json(&self.raw.folder.join("finished.json"), &self.cursor)
    }

    fn is_enough(&self, source: usize) -> bool {
        self.cursor.source == source
            && self.limit.is_some_and(|limit| self.cursor.documents >= limit)
    }

    fn source_ends(&mut self, source: usize) {
        if self.cursor.documents == 0 {
            self.note(source, "empty_source", 1);
            self.raw
                .progress
                .note(&format!("source `{}` gave no document", self.sources[source].name));
        }

        let spec = &self.sources[source];
        let books = self.cursor.books.get(&spec.name);
        books
            .and_then(holes)
            .iter()
            .for_each(|note| self.raw.progress.note(&format!("source `{}`: {note}", spec.name)));

        for mark in &spec.drop {
            if books.is_none_or(|books| !books.refused.contains_key(&format!("dropped:{mark}"))) {
                self.raw.progress.note(&format!(
                    "no record of source `{}` has the mark `{mark}` that its `drop` names",
                    spec.name
                ));
            }
        }

        for column in spec.fields.values().flat_map(|columns| columns.split('+')).map(str::trim) {
            let lack =
                books.and_then(|books| books.notes.get(&without(column))).copied().unwrap_or(0);
            if lack > 0 && lack == self.cursor.documents {
                self.raw.progress.note(&format!(
                    "no record of source `{}` has the column `{column}` that its `fields` name",
                    spec.name
                ));
            }
        }

        self.next_source();
    }

    fn next_source(&mut self) {
        self.cursor.source += 1;
        (self.cursor.file, self.cursor.piece, self.cursor.documents) = (0, 0, 0);
    }

    /// Counts in the books of the part and of the source.
    fn count(&mut self, source: usize, count: impl Fn(&mut Books)) {
        count(&mut self.books);
        count(self.cursor.books.entry(self.sources[source].name.clone()).or_default());
    }

    fn note(&mut self, source: usize, name: &str, n: u64) {
        self.count(source, |books| books.note(name, n));
    }

    fn outcome(&mut self, origin: Origin<'_>, outcome: Outcome) -> Result<()> {
        let Origin { source, file, path } = origin;
        let event = |hash, version, kind, text| Event { hash, version, kind, source, file, text };
        let row = match outcome {
            Outcome::Refused(refusal) => {
                self.size += 256 + refusal.bytes.len() + refusal.detail.len();
                // A file of another format is no loss of this one's bytes.
                let is_damage = reason(&refusal.reason).is_none_or(|reason| {
                    reason.class == Class::Broken && reason.name != "wrong_format"
                });
                self.count(source, |books| {
                    books.refuse(&refusal.reason);
                    books.note(BYTES_DAMAGED, if is_damage { refusal.n_bytes } else { 0 });
                });
                self.refused.push(*refusal);
                return Ok(());
            }

            Outcome::Empty(hash, version) => {
                event(hash, version, Kind::Empty, 0).write(&mut self.events);
                return Ok(());
            }
            Outcome::Withdraws(hashes) => {
                self.note(source, "withdrawals", hashes.len() as u64);
                for hash in hashes {
                    event(hash, 0, Kind::Withdrawal, 0).write(&mut self.events);
                }
                return Ok(());
            }
            Outcome::Row(row) => row,
        };

        event(row.id_hash, row.document.version, row.kind, row.text_hash).write(&mut self.events);
        let Document { repaired, absent, counts, .. } = &row.document;
        self.count(source, |books| {
            books.read += 1;
            books.kept += 1;
            books.note("repaired", *repaired);
            absent.iter().for_each(|column| books.note(&without(column), 1));
            counts.iter().for_each(|(name, n)| books.note(name, *n));
        });

        self.cursor.documents += 1;
        self.cursor.rows += 1;
        self.size += row.bytes;
        self.batch_bytes += row.bytes;
        self.batch.push((source, Arc::clone(path), row));

        if self.batch.len() >= BATCH_ROWS || self.batch_bytes >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    fn commit_if_full(&mut self) -> Result<()> {
        if self.size < self.part_bytes {
            return Ok(());
        }
        self.commit()?;
        if self.stop_after.is_some_and(|n| self.n_committed >= n) {
            return Err(Error::data("stopped as if killed"));
        }
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut PartWriter> {
        if self.writer.is_none() {
            let place = self.raw.numbered("part", self.part, "parquet");
            self.writer = Some(PartWriter::create(&place, contract("document")?)?);
        }
        self.writer.as_mut().ok_or_else(|| Error::data("the part is not open"))
    }

    /// Has the rows encoded that were gathered, and writes what is encoded meanwhile.
    fn write_batch(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (rows, sources) = (std::mem::take(&mut self.batch), self.sources);
        self.batch_bytes = 0;
        let encoder = self.writer()?.encoder();
        self.encoding
            .push_back(self.workers.give(move || encoder.encode(&to_batch(&rows, sources)?)));

        self.write_encoded(ENCODING)
    }

    /// Writes the first batches, in order, until no more than `n` are left in encoding.
    fn write_encoded(&mut self, n: usize) -> Result<()> {
        while self.encoding.len() > n {
            let Some(group) = self.encoding.pop_front() else { break };
            let group = group.take()??;
            self.writer()?.append(group)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.write_batch()?;
        self.write_encoded(0)?;
        self.writer()?;
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
        }
        write_atomically(&self.raw.numbered("ids", self.part, "bin"), &self.events)?;
        write_json(&self.raw.numbered("cursor", self.part, "json"), &self.cursor)?;
        self.raw.commit(self.part, &self.refused, &[], &self.books)?;
        self.part += 1;
        self.n_committed += 1;
        self.cursor.rows = 0;
        self.size = 0;
        self.refused.clear();
        self.events.clear();
        self.books = Books::default();

        Ok(())
    }
}

/// How many unknown templates are told by name.
const TOLD: usize = 5;

/// What to tell of templates that left holes in the text.
fn holes(books: &Books) -> Option<String> {
    let dropped = books.dropped_templates();
    let rate = books.dropped_per_1000_lines().filter(|_| !dropped.is_empty())?;
    let names: Vec<String> =
        dropped.iter().take(TOLD).map(|(name, n)| format!("{n} × `{name}`")).collect();
    let more = if dropped.len() > TOLD {
        format!(" and {} more", dropped.len() - TOLD)
    } else {
        String::new()
    };
    Some(format!(
        "{rate:.1} inline templates per 1,000 lines of prose are unknown and leave a hole: \
         {}{more}",
        names.join(", ")
    ))
}

/// The note of records that lack a column.
fn without(column: &str) -> String {
    format!("without column `{column}`")
}

/// Rows under the contract `document`.
fn to_batch<'a>(rows: &'a [Placed], sources: &'a [SourceSpec]) -> Result<RecordBatch> {
    let strings = |get: &dyn Fn(&'a Placed) -> Option<&'a str>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let priorities: Int32Array =
        rows.iter().map(|(source, _, _)| Some(sources[*source].priority)).collect();
    let offsets: UInt64Array = rows.iter().map(|(_, _, row)| Some(row.offset)).collect();
    contract("document")?.batch(vec![
        strings(&|(_, _, row)| Some(&row.id)),
        strings(&|(_, _, row)| Some(&row.document.text)),
        strings(&|(source, _, _)| Some(&sources[*source].name)),
        strings(&|(source, _, _)| Some(&sources[*source].role)),
        strings(&|(_, _, row)| row.document.language.as_deref()),
        strings(&|(_, _, row)| row.document.title.as_deref()),
        strings(&|(_, _, row)| row.document.url.as_deref()),
        strings(&|(_, _, row)| row.document.licence.as_deref()),
        strings(&|(_, _, row)| row.document.date.as_deref()),
        strings(&|(_, file, _)| Some(file)),
        Arc::new(offsets),
        Arc::new(priorities),
        strings(&|(_, _, row)| row.document.metadata.as_deref()),
    ])
}
