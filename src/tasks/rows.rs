//! Texts with tasks, and questions, as rows of the contract `tasked`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, UInt32Type};
use xxhash_rust::xxh3::xxh3_64;

use super::write::Read;
use crate::error::Result;
use crate::flow::contract::{Contract, lists, numbers, strings};
use crate::flow::room::Outcome;
use crate::text::words::words;

/// What a row of questions is called in the column `variant`.
const QUESTIONS: &str = "questions";

/// Rows to be written.
#[derive(Default)]
pub(super) struct Made {
    /// Of each, the row of the document.
    rows: Vec<u32>,
    /// Of each, the text it has instead of its own, and whether that is a row of questions.
    reads: Vec<Option<(Read, bool)>>,
}

impl Made {
    /// A document as it is, its text with tasks, or its questions alone.
    pub(super) fn add(&mut self, row: usize, read: Option<(Read, bool)>) {
        self.rows.push(row as u32);
        self.reads.push(read);
    }

    /// The rows, each with the columns that its text changes.
    pub(super) fn outcome(
        self,
        batch: &RecordBatch,
        leaves: &Contract,
        notes: BTreeMap<&'static str, u64>,
    ) -> Result<Outcome> {
        let taken = take_record_batch(batch, &UInt32Array::from(self.rows))?;
        let n = taken.num_rows();
        let (texts, ids) = (strings(&taken, "text")?, strings(&taken, "id")?);
        let lengths = numbers::<UInt32Type>(&taken, "n_tokens")?;
        let read = |row: usize| self.reads[row].as_ref().map(|(read, _)| read);
        let is_asked = |row: usize| self.reads[row].as_ref().is_some_and(|(_, is_asked)| *is_asked);

        let column = |name: &str, own: &ArrayRef| -> Result<ArrayRef> {
            let optional = |of: &dyn Fn(usize) -> Option<String>| -> Result<ArrayRef> {
                let before = strings(&taken, name)?;
                let or_own = |row| {
                    let own = before.is_valid(row).then(|| before.value(row).to_string());
                    if is_asked(row) { of(row) } else { own }
                };
                Ok(Arc::new((0..n).map(or_own).collect::<StringArray>()))
            };
            Ok(match name {
                "id" => optional(&|row| {
                    // With what it says in it: a document may be called so itself.
                    let said = read(row).map_or("", |read| &read.text);
                    let hash = xxh3_64(said.as_bytes()) as u32;
                    Some(format!("{}~{QUESTIONS}-{hash:08x}", ids.value(row)))
                })?,
                "parent" => optional(&|row| Some(ids.value(row).to_string()))?,
                "variant" => optional(&|_| Some(QUESTIONS.to_string()))?,
                "text" => {
                    let said = |row| read(row).map_or(texts.value(row), |read| &read.text);
                    Arc::new(StringArray::from_iter_values((0..n).map(said)))
                }
                "n_tokens" => {
                    let count = |row| match read(row) {
                        Some(read) => words(&read.text).count() as u32,
                        None => lengths.value(row),
                    };
                    Arc::new(UInt32Array::from_iter_values((0..n).map(count)))
                }
                "times" => {
                    let times = numbers::<UInt32Type>(&taken, name)?;
                    let once = |row| if is_asked(row) { 1 } else { times.value(row) };
                    Arc::new(UInt32Array::from_iter_values((0..n).map(once)))
                }
                // What was replaced in the document, and passages of it, are not of its questions.
                "edits" | "negatives" => emptied(lists(&taken, name)?, &is_asked)?,
                _ => own.clone(),
            })
        };
        let schema = taken.schema();
        let columns = schema.fields().iter().zip(taken.columns());
        let columns: Vec<ArrayRef> =
            columns.map(|(field, own)| column(field.name(), own)).collect::<Result<_>>()?;
        let rows = RecordBatch::try_new(schema.clone(), columns)?;

        let kinds: StringArray = (0..n).map(|row| read(row).map(|read| &read.kinds)).collect();
        let kept = leaves.widen(&rows, vec![("tasks", Arc::new(kinds) as ArrayRef)])?;
        let made =
            vec![(QUESTIONS.to_string(), (0..n).filter(|row| is_asked(*row)).count() as u64)];
        Ok(Outcome { notes: notes.into_iter().collect(), made, ..Outcome::kept(kept) })
    }
}

/// A list column, empty in some rows.
fn emptied(all: &ListArray, is_empty: &dyn Fn(usize) -> bool) -> Result<ArrayRef> {
    let DataType::List(item) = all.data_type() else { return Ok(Arc::new(all.clone())) };
    let n_of = |row: usize| if is_empty(row) { 0 } else { all.value_length(row) as usize };
    let items = (0..all.len()).flat_map(|row| {
        let first = all.value_offsets()[row] as u32;
        first..first + n_of(row) as u32
    });
    let values = take(all.values(), &UInt32Array::from_iter_values(items), None)?;
    let offsets = OffsetBuffer::from_lengths((0..all.len()).map(n_of));
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, None)?))
}
