//! texts → concepts of each row, on disk: the one pass of the room that reads text.
//!
//! One `mentions-NNNNN.parquet` (contract `mention`) a part of the input, row group by row group as
//! its part, each written beside and renamed: after a kill the parts that stand are not read again.
//! Nothing here grows with the number of documents but these files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, UInt32Type};

use super::Params;
use super::coverage::linked_pairs;
use crate::error::{Error, Result};
use crate::flow::contract::{column, contract, numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::Context;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;

/// The concepts of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) n_tokens: u32,
    pub(super) n_mentions: u32,
    pub(super) n_pairs: u32,
    /// Numbers of the distinct concepts, ascending.
    pub(super) concepts: &'a [u32],
    /// Mentions of each.
    pub(super) freqs: &'a [u32],
}

/// The rows of a batch of the contract `mention`.
///
/// # Errors
/// If a column is missing.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Row<'_>>> {
    let tokens = numbers::<UInt32Type>(batch, "n_tokens")?.values();
    let mentions = numbers::<UInt32Type>(batch, "n_mentions")?.values();
    let pairs = numbers::<UInt32Type>(batch, "n_pairs")?.values();
    let (concept_ends, concepts) = lists(batch, "concepts")?;
    let (freq_ends, freqs) = lists(batch, "freqs")?;
    let slice = |ends: &[i32], row: usize| ends[row] as usize..ends[row + 1] as usize;
    let row = |at: usize| Row {
        n_tokens: tokens[at],
        n_mentions: mentions[at],
        n_pairs: pairs[at],
        concepts: &concepts[slice(concept_ends, at)],
        freqs: &freqs[slice(freq_ends, at)],
    };

    Ok((0..batch.num_rows()).map(row).collect())
}

fn lists<'a>(batch: &'a RecordBatch, name: &str) -> Result<(&'a [i32], &'a [u32])> {
    let wrong = || Error::data(format!("column `{name}` is not a list of UInt32"));
    let list = column(batch, name)?.as_list_opt::<i32>().ok_or_else(wrong)?;
    let values = list.values().as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
    Ok((list.value_offsets(), values.values()))
}

/// Finds the mentions of every document; parts that were read before are left as they are.
///
/// # Errors
/// If a part cannot be read or written.
pub(super) fn find_all(
    documents: &Dataset,
    lexicon: &Lexicon,
    finder: &Finder,
    params: &Params,
    cx: &Context,
) -> Result<Dataset> {
    let find = |batch: &RecordBatch, _| find_batch(batch, lexicon, finder, params);
    cx.map_beside(documents, "mentions", contract("mention")?, &["text"], find)
}

fn find_batch(
    batch: &RecordBatch,
    lexicon: &Lexicon,
    finder: &Finder,
    params: &Params,
) -> Result<RecordBatch> {
    let (mut tokens, mut n_mentions, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lengths, mut concepts, mut freqs) = (Vec::new(), Vec::new(), Vec::new());

    for text in strings(batch, "text")?.iter() {
        let scan = finder.scan(text.unwrap_or(""));
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        scan.mentions.iter().for_each(|mention| *counts.entry(mention.concept).or_default() += 1);
        tokens.push(scan.n_words);
        n_mentions.push(scan.mentions.len() as u32);
        pairs.push(linked_pairs(&scan.mentions, lexicon, params.window));
        lengths.push(counts.len());
        concepts.extend(counts.keys().copied());

        freqs.extend(counts.values().copied());
    }

    let leaves = contract("mention")?;
    let list = |name: &str, values: Vec<u32>| -> Result<ArrayRef> {
        let DataType::List(item) = leaves.schema.field_with_name(name)?.data_type().clone() else {
            return Err(Error::data(format!("`{name}` is no list in schemas/mention.toml")));
        };
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(UInt32Array::from(values)), None)?))
    };

    let plain = |values: Vec<u32>| -> ArrayRef { Arc::new(UInt32Array::from(values)) };
    let (concepts, freqs) = (list("concepts", concepts)?, list("freqs", freqs)?);
    leaves.batch(vec![plain(tokens), plain(n_mentions), plain(pairs), concepts, freqs])
}
