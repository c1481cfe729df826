//! What a room gets and gives: a folder to write parts into, and one way to map parts onto parts.
//!
//! A room is `fn(input, plan, context)`. It writes `part-NNNNN.parquet` (rows that go on),
//! `refused-NNNNN.parquet` and `duplicates-NNNNN.parquet` into its folder and then, as the commit
//! of that part, `books-NNNNN.json`. A rerun after a kill finds the committed parts and goes on
//! behind them.

use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};
use rayon::prelude::*;

use crate::error::Result;
use crate::flow::books::{Books, Refusal, refusals_to_batch};
use crate::flow::contract::{Contract, contract};
use crate::flow::dataset::{
    BATCH_ROWS, Batches, Dataset, Part, PartWriter, columns_writer, link_part, read_json,
    write_json,
};
use crate::flow::disk::sync_folder;
use crate::flow::progress::Progress;

/// What the runner hands to a room.
pub struct Context<'a> {
    /// The room's name.
    pub room: &'static str,
    /// The room's folder; it exists.
    pub folder: &'a Path,
    /// Seed of every draw.
    pub seed: u64,
    /// How much memory the run may use, in bytes. It may change what is spilled, never what is
    /// written.
    pub memory_bytes: u64,
    /// Where to tell how far the room is.
    pub progress: &'a dyn Progress,
}

/// What a kernel makes of one batch.
pub struct Outcome {
    /// Rows that go on, under the room's outgoing contract.
    pub kept: RecordBatch,
    /// Rows turned away.
    pub refused: Vec<Refusal>,
    /// Rows removed as duplicates, under the contract `duplicate`.
    pub duplicates: Option<RecordBatch>,
    /// Rows among these that were made here, by what they were made by.
    pub made: Vec<(String, u64)>,
    /// Counts for the books beyond rows.
    pub notes: Vec<(&'static str, u64)>,
}

impl Outcome {
    /// All rows go on.
    pub fn kept(batch: RecordBatch) -> Self {
        Outcome {
            kept: batch,
            refused: Vec::new(),
            duplicates: None,
            made: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// What a kernel adds to one batch.
pub struct Added {
    /// The columns that the room's outgoing contract adds.
    pub columns: Vec<(&'static str, ArrayRef)>,
    /// Counts for the books beyond rows.
    pub notes: Vec<(&'static str, u64)>,
}

/// Where a batch stands in the dataset it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the part.
    pub part: usize,
    /// Index of the batch in its part.
    pub batch: usize,
    /// Index of the batch's first row in the whole dataset.
    pub first_row: u64,
}

impl Context<'_> {
    /// Path of a numbered file of this room, such as `part-00007.parquet`.
    pub fn numbered(&self, stem: &str, part: usize, ending: &str) -> PathBuf {
        self.folder.join(format!("{stem}-{part:05}.{ending}"))
    }

    /// Books of a part that was committed, by this run or one before it.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn committed(&self, part: usize) -> Result<Option<Books>> {
        read_json(&self.numbered("books", part, "json"))
    }

    /// Writes the refusals and duplicates of a part, then commits it with its books.
    ///
    /// The part itself must stand in its place already.
    ///
    /// # Errors
    /// If the books do not balance or a file cannot be written.
    pub fn commit(
        &self,
        part: usize,
        refused: &[Refusal],
        duplicates: &[RecordBatch],
        books: &Books,
    ) -> Result<()> {
        books.balance().map_err(|error| error.at(format!("room `{}`, part {part}", self.room)))?;
        if !refused.is_empty() {
            let mut writer = PartWriter::create(
                &self.numbered("refused", part, "parquet"),
                contract("refused")?,
            )?;
            self.write_refused(&mut writer, refused)?;
            writer.finish()?;
        }

        if duplicates.iter().any(|batch| batch.num_rows() > 0) {
            let mut writer = PartWriter::create(
                &self.numbered("duplicates", part, "parquet"),
                contract("duplicate")?,
            )?;
            for batch in duplicates {
                writer.write(batch)?;
            }
            writer.finish()?;
        }
        // Names of files that stand in their places, before the books that say so.
        sync_folder(self.folder)?;
        write_json(&self.numbered("books", part, "json"), books)
    }

    /// Writes refusals of this room, encoded in parallel.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_refused(&self, writer: &mut PartWriter, refused: &[Refusal]) -> Result<()> {
        let chunks: Vec<&[Refusal]> = refused.chunks(BATCH_ROWS).collect();
        writer.write_in_order(&chunks, |some| refusals_to_batch(self.room, some))
    }

    /// Maps every part of `input` onto a part of this room: a pure kernel over each batch, run in
    /// parallel, written in order. Parts that are committed already are left as they are.
    ///
    /// # Errors
    /// The first error of the kernel in row order, or a file that cannot be read or written.
    pub fn map_parts(
        &self,
        input: &Dataset,
        leaves: &'static Contract,
        kernel: impl Fn(&RecordBatch, Span) -> Result<Outcome> + Sync,
    ) -> Result<()> {
        let mut first_row = 0;
        for (part_idx, part) in input.parts.iter().enumerate() {
            match self.committed(part_idx)? {
                Some(_) => self.progress.advance(part.rows),
                None => {
                    self.map_part(input.contract, part, part_idx, first_row, leaves, &kernel)?
                }
            }
            first_row += part.rows;
        }
        Ok(())
    }

    fn map_part(
        &self,
        enters: &Contract,
        part: &Part,
        part_idx: usize,
        first_row: u64,
        leaves: &'static Contract,
        kernel: &(impl Fn(&RecordBatch, Span) -> Result<Outcome> + Sync),
    ) -> Result<()> {
        let mut writer = PartWriter::create(&self.numbered("part", part_idx, "parquet"), leaves)?;
        let (mut refused, mut duplicates, mut books) = (Vec::new(), Vec::new(), Books::default());
        let encoder = writer.encoder();
        let encoded = |batch: &RecordBatch, span| {
            let outcome = kernel(batch, span)?;
            Ok((
                encoder.encode(&outcome.kept)?,
                Outcome { kept: RecordBatch::new_empty(outcome.kept.schema()), ..outcome },
            ))
        };

        for_each_group(
            enters,
            part,
            part_idx,
            first_row,
            None,
            &encoded,
            |batch_rows, (kept, outcome)| {
                books.read += batch_rows;
                books.kept += kept.rows();

                for refusal in &outcome.refused {
                    *books.refused.entry(refusal.reason.to_string()).or_default() += 1;
                }
                if let Some(ledger) = &outcome.duplicates {
                    for rule in crate::flow::contract::strings(ledger, "rule")?.iter().flatten() {
                        *books.duplicates.entry(rule.to_string()).or_default() += 1;
                    }
                }

                for (name, n) in outcome.made.iter().filter(|(_, n)| *n > 0) {
                    *books.made.entry(name.clone()).or_default() += n;
                }
                outcome.notes.iter().for_each(|(name, n)| books.note(name, *n));
                writer.append(kept)?;
                self.progress.advance(batch_rows);
                refused.extend(outcome.refused);
                duplicates.extend(outcome.duplicates);

                Ok(())
            },
        )?;

        writer.finish()?;
        self.commit(part_idx, &refused, &duplicates, &books)
    }

    /// Adds columns to every row of `input`: a pure kernel over `columns` of each batch, run in
    /// parallel, written in order. Only the added columns are written; the part itself gets a
    /// second name in this room's folder. Parts that are committed already are left as they are.
    ///
    /// # Errors
    /// The first error of the kernel in row order, or a file that cannot be read or written.
    pub fn add_columns(
        &self,
        input: &Dataset,
        leaves: &'static Contract,
        columns: &[&str],
        kernel: impl Fn(&RecordBatch, Span) -> Result<Added> + Sync,
    ) -> Result<()> {
        let added = leaves.added();
        let mut first_row = 0;

        for (idx, part) in input.parts.iter().enumerate() {
            if self.committed(idx)?.is_some() {
                self.progress.advance(part.rows);
            } else {
                let place = self.numbered("part", idx, "parquet");
                link_part(&part.path, &place)?;
                let mut writer = columns_writer(&place, leaves)?;
                let encoder = writer.encoder();
                let encoded = |batch: &RecordBatch, span| {
                    let Added { columns, notes } = kernel(batch, span)?;
                    Ok((encoder.encode(&added.widen(batch, columns)?)?, notes))
                };
                let mut books = Books { read: part.rows, kept: part.rows, ..Books::default() };
                for_each_group(
                    input.contract,
                    part,
                    idx,
                    first_row,
                    Some(columns),
                    &encoded,
                    |n, (group, notes)| {
                        notes.iter().for_each(|(name, n)| books.note(name, *n));
                        self.progress.advance(n);
                        writer.append(group)
                    },
                )?;

                writer.finish()?;
                self.commit(idx, &[], &[], &books)?;
            }
            first_row += part.rows;
        }

        Ok(())
    }

    /// Maps every part of `input` onto a file of its own, `<stem>-NNNNN.parquet`, row by row: what
    /// a room works with beside the parts that go on. Files that are there already are left as they
    /// are.
    ///
    /// # Errors
    /// The first error of the kernel in row order, or a file that cannot be read or written.
    pub fn map_beside(
        &self,
        input: &Dataset,
        stem: &str,
        leaves: &'static Contract,
        columns: &[&str],
        kernel: impl Fn(&RecordBatch, Span) -> Result<RecordBatch> + Sync,
    ) -> Result<Dataset> {
        let mut parts = Vec::with_capacity(input.parts.len());
        let mut first_row = 0;

        for (idx, part) in input.parts.iter().enumerate() {
            let path = self.numbered(stem, idx, "parquet");
            if path.exists() {
                self.progress.advance(part.rows);
            } else {
                self.progress.message(&format!(
                    "{stem}, part {} of {}",
                    idx + 1,
                    input.parts.len()
                ));
                let mut writer = PartWriter::create(&path, leaves)?;
                let encoder = writer.encoder();
                let encoded = |batch: &RecordBatch, span| encoder.encode(&kernel(batch, span)?);
                for_each_group(
                    input.contract,
                    part,
                    idx,
                    first_row,
                    Some(columns),
                    &encoded,
                    |n, group| {
                        self.progress.advance(n);
                        writer.append(group)
                    },
                )?;

                writer.finish()?;
            }

            parts.push(Part { path, rows: part.rows });
            first_row += part.rows;
        }

        Ok(Dataset { contract: leaves, parts })
    }

    /// Tells that the room goes over all rows of `input` so many times; [`Context::fold`],
    /// [`Context::map_parts`], [`Context::add_columns`] and [`Context::map_beside`] are once each.
    pub fn readings(&self, input: &Dataset, n: u64) {
        self.progress.expect(n * input.rows());
    }

    /// Runs a pure function over every batch (all columns, or those named), in parallel, and hands
    /// its results to `sink` in row order.
    ///
    /// # Errors
    /// The first error of the function in row order, one of the sink, or a file that cannot be
    /// read.
    pub fn fold<T: Send>(
        &self,
        input: &Dataset,
        columns: Option<&[&str]>,
        kernel: impl Fn(&RecordBatch, Span) -> Result<T> + Sync,
        mut sink: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let mut first_row = 0;
        for (part_idx, part) in input.parts.iter().enumerate() {
            for_each_group(
                input.contract,
                part,
                part_idx,
                first_row,
                columns,
                &kernel,
                |n, result| {
                    self.progress.advance(n);
                    sink(result)
                },
            )?;
            first_row += part.rows;
        }
        Ok(())
    }

    /// The results of [`Context::fold`]. For narrow ones only: all of them stay in memory.
    ///
    /// # Errors
    /// Those of [`Context::fold`].
    pub fn scan<T: Send>(
        &self,
        input: &Dataset,
        columns: Option<&[&str]>,
        kernel: impl Fn(&RecordBatch, Span) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let mut results = Vec::new();
        self.fold(input, columns, kernel, |result| {
            results.push(result);
            Ok(())
        })?;
        Ok(results)
    }
}

/// Reads the batches of a part and maps them, a few at a time and in parallel, and hands over the
/// results in order.
pub(crate) fn for_each_group<T: Send>(
    enters: &Contract,
    part: &Part,
    part_idx: usize,
    mut first_row: u64,
    columns: Option<&[&str]>,
    kernel: &(impl Fn(&RecordBatch, Span) -> Result<T> + Sync),
    mut sink: impl FnMut(u64, T) -> Result<()>,
) -> Result<()> {
    let batches = Batches::open(&part.path, Some(enters), columns)?;
    let mut spans = Vec::new();

    for (batch, rows) in batches.rows().into_iter().enumerate() {
        spans.push((Span { part: part_idx, batch, first_row }, rows));
        first_row += rows;
    }

    for spans in spans.chunks(rayon::current_num_threads() * 2) {
        let results: Vec<Result<T>> =
            spans.par_iter().map(|(span, _)| kernel(&batches.read(span.batch)?, *span)).collect();
        for ((_, rows), result) in spans.iter().zip(results) {
            sink(*rows, result?)?;
        }
    }

    Ok(())
}
