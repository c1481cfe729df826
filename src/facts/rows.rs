//! Facts and passages as rows of the contract `linked`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Int32Array, ListArray, RecordBatch, StringArray, UInt8Array,
    UInt32Array, UInt64Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::xxh3_64;

use super::SOURCE;
use super::corpus::{Language, MEASURED, Measures};
use crate::error::{Error, Result};
use crate::flow::books::Books;
use crate::flow::contract::{Contract, contract};
use crate::flow::dataset::{BATCH_ROWS, Dataset, PartWriter};
use crate::flow::room::{Added, Context};
use crate::rewrite::edits::{self, Edit};
use crate::text::words::words;

/// A row that is made here.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) language: Language,
    /// What it is, as it stands in the column `variant`.
    pub(super) variant: &'static str,
    pub(super) parent: Option<String>,
    pub(super) title: Option<String>,
    pub(super) licence: Option<String>,
    /// The file that its first fact or sentence was read from.
    pub(super) file: String,
    pub(super) made_of: Vec<String>,
    pub(super) measures: Measures,
    pub(super) n_mentions: u32,
    pub(super) n_concepts: u32,
}

/// The licence of what is made of several, as an SPDX expression; none where one has none.
pub(super) fn licence(all: impl Iterator<Item = Option<String>>) -> Option<String> {
    let distinct: Option<BTreeSet<String>> = all.collect();
    let distinct: Vec<String> = distinct?.into_iter().collect();
    let braced = |one: &String| match one.contains(" AND ") || one.contains(" OR ") {
        true => format!("({one})"),
        false => one.clone(),
    };
    match distinct.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(several.iter().map(braced).collect::<Vec<_>>().join(" AND ")),
    }
}

/// Gives every row to the next room as it is.
pub(super) fn pass(input: &Dataset, cx: &Context<'_>) -> Result<()> {
    let leaves = contract("linked")?;
    cx.add_columns(input, leaves, &[], |batch, _| {
        let none = vec![[].as_slice(); batch.num_rows()];
        Ok(Added { columns: vec![("made_of", lists(&none, leaves)?)], notes: Vec::new() })
    })
}

/// Writes rows as one more part.
pub(super) fn append(rows: impl Iterator<Item = Row>, part: usize, cx: &Context<'_>) -> Result<()> {
    let leaves = contract("linked")?;
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut writer = PartWriter::create(&cx.numbered("part", part, "parquet"), leaves)?;
    let mut books = Books::default();
    loop {
        let some: Vec<Row> = rows.by_ref().take(BATCH_ROWS).collect();
        if some.is_empty() {
            break;
        }
        for row in &some {
            *books.made.entry(row.variant.to_string()).or_default() += 1;
        }
        books.kept += some.len() as u64;
        writer.write(&batch(&some, leaves)?)?;
    }
    writer.finish()?;
    cx.commit(part, &[], &[], &books)
}

fn batch(rows: &[Row], leaves: &Contract) -> Result<RecordBatch> {
    let n = rows.len();
    let texts = |of: &dyn Fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let counts = |of: &dyn Fn(&Row) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(of)))
    };
    let means: Vec<[f32; MEASURED.len()]> = rows.iter().map(|row| row.measures.means()).collect();

    let column = |name: &str, kind: &DataType| -> Result<ArrayRef> {
        if let Some(at) = MEASURED.iter().position(|measured| *measured == name) {
            return Ok(Arc::new(Float32Array::from_iter_values(means.iter().map(|of| of[at]))));
        }
        Ok(match name {
            "id" => texts(&|row| Some(&row.id)),
            "text" => texts(&|row| Some(&row.text)),
            "source" => texts(&|_| Some(SOURCE)),
            "role" => texts(&|_| Some("domain")),
            "language" => texts(&|row| Some(row.language.code())),
            "title" => texts(&|row| row.title.as_deref()),
            "licence" => texts(&|row| row.licence.as_deref()),
            "file" => texts(&|row| Some(&row.file)),
            "parent" => texts(&|row| row.parent.as_deref()),
            "variant" => texts(&|row| Some(row.variant)),
            "offset" => Arc::new(UInt64Array::from(vec![0; n])),
            "priority" => Arc::new(Int32Array::from(vec![0; n])),
            // A family of its own: nothing is near it.
            "neighbourhood" => {
                let of = |row: &Row| xxh3_64(row.parent.as_ref().unwrap_or(&row.id).as_bytes());
                Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
            }
            "n_tokens" => counts(&|row| words(&row.text).count() as u32),
            "n_mentions" => counts(&|row| row.n_mentions),
            "n_concepts" => counts(&|row| row.n_concepts),
            "bucket" => {
                Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.measures.bucket())))
            }
            "times" => Arc::new(UInt32Array::from(vec![1; n])),
            "edits" => {
                let none: Vec<&[Edit]> = vec![&[]; n];
                edits::column(&none, kind).ok_or_else(|| broken(name))??
            }
            "made_of" => {
                let all: Vec<&[String]> = rows.iter().map(|row| row.made_of.as_slice()).collect();
                lists(&all, leaves)?
            }
            "url" | "date" | "metadata" | "readability" | "tokens_per_word" | "loss" => {
                new_null_array(kind, n)
            }
            _ => return Err(broken(name)),
        })
    };
    let columns = leaves.fields.iter().map(|field| column(&field.name, &field.data_type));
    leaves.batch(columns.collect::<Result<_>>()?)
}

/// Lists of texts as a column.
fn lists(rows: &[&[String]], leaves: &Contract) -> Result<ArrayRef> {
    let field = leaves.schema.field_with_name("made_of")?;
    let DataType::List(item) = field.data_type() else { return Err(broken("made_of")) };
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.len()));
    let values: StringArray = rows.iter().flat_map(|row| row.iter()).map(Some).collect();
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(values), None)?))
}

fn broken(column: &str) -> Error {
    Error::data(format!("contract `linked` is broken: nothing is known of its column `{column}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_several_is_under_all_of_their_licences() {
        let of = |all: &[Option<&str>]| licence(all.iter().map(|one| one.map(str::to_string)));
        assert_eq!(of(&[Some("CC0-1.0"), Some("CC0-1.0")]).unwrap(), "CC0-1.0");
        assert_eq!(of(&[Some("MIT"), Some("CC0-1.0")]).unwrap(), "CC0-1.0 AND MIT");
        assert_eq!(
            of(&[Some("MIT OR Apache-2.0"), Some("CC0-1.0")]).unwrap(),
            "CC0-1.0 AND (MIT OR Apache-2.0)"
        );
        assert_eq!(of(&[Some("MIT"), None]), None);
    }
}
