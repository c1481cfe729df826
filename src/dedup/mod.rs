//! `document` → `unique`
//!
//! Comes in: documents, some of them copies of each other. Goes out: documents of which no other
//! verified copy is left, each with its `neighbourhood`; what was removed stands in the ledger,
//! with its survivor and how alike the two are. Promises:
//!
//! - Bands propose, the true similarity decides. A text is removed only if a survivor has its id,
//!   has its normalised text, has a Jaccard similarity of at least `jaccard` with it, or is not
//!   shorter and holds at least `containment` of its shingles; in the last two cases the survivor
//!   must also hold all of its numbers (`same_numbers`). Clusters never grow through links that
//!   were not verified.
//! - Texts too short to shingle are compared exactly, never thrown together.
//! - The survivor is the best by source priority, completeness and id; the order of rows, the
//!   number of threads and the memory given change nothing.
//! - A source that loses more than `max_removed` stops the run, after the ledger is written.
//!
//! Five phases, each with side files that stand whole or are made again, so that a killed run goes
//! on: `sketch` (one pass over all text) → `bands` (one sorted column at a time) → `sets` (a second
//! pass over parts with linked documents) → `cluster` (verification, survivors) → `ledger` (rows).
//!
//! Disk: 52 + 8 × `bands` bytes a document (164 by default) and 8 bytes a distinct shingle of the
//! linked texts, until the verdicts are reached. Memory: 9 bytes a document, and 32 bytes a
//! document while texts or ids are sorted (16 while a band is), bounded by a quarter of the memory
//! given, with more passes where that is too little; about 400 bytes for each *linked* document
//! (measured: 41 MB for 500,000 documents of which 100,000 are linked). Texts and shingle sets of
//! the corpus are never in memory.
//!
//! To add a rule: a variant of [`verify::Rule`] with its name, the value in
//! `schemas/duplicate.toml`, and the test in [`verify::duplicate`] (about two texts) or in
//! `cluster` (about documents).

mod bands;
mod cluster;
pub mod exact;
mod ledger;
pub mod minhash;
mod sets;
pub mod shingles;
mod sketch;
pub mod verify;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::contract::contract;
use crate::flow::dataset::Dataset;
use crate::flow::disk::remove_file;
use crate::flow::room::Context;

pub use sketch::{Keys, Signer};

/// Changes when the same input and parameters give other rows.
pub const VERSION: u32 = 3;

/// Parameters of the room; each is explained in `pipelines/default.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Length of a shingle that ends in a word, in tokens.
    pub shingle_words: usize,
    /// Length of a shingle that ends in a CJK character, in tokens.
    pub shingle_chars: usize,
    /// Bands of a signature.
    pub bands: usize,
    /// Rows of a band.
    pub rows: usize,
    /// Least Jaccard similarity of duplicates, in (0, 1].
    pub jaccard: f64,
    /// Least share of a removed text's shingles that a survivor of at least its size must hold, in
    /// (0, 1].
    pub containment: f64,
    /// Whether every number of a removed text must stand in its survivor.
    pub same_numbers: bool,
    /// Survivors of a bucket that a document is compared with at most.
    pub max_compared: usize,
}

impl Params {
    /// Checks every parameter against its range.
    ///
    /// # Errors
    /// Names the first key out of range, with its value and range.
    pub fn check(&self) -> Result<()> {
        let numbers = self.bands * self.rows;
        if numbers > minhash::MAX_ROWS {
            return Err(Error::usage(format!(
                "`dedup.bands` × `dedup.rows` is {numbers}, above {}",
                minhash::MAX_ROWS
            ))
            .hint("take fewer bands, or fewer rows in each"));
        }
        Ok(())
    }
}

/// Removes duplicates from `input` and writes what is left, the ledger and the books into the
/// room's folder.
///
/// `max_removed` is the share of its documents, in [0, 1], that a source may lose.
///
/// # Errors
/// If a source loses more than `max_removed`, or a file cannot be read or written.
pub fn run(input: &Dataset, params: &Params, max_removed: f64, cx: &Context) -> Result<()> {
    let verdicts = match ledger::Verdicts::read(cx)? {
        Some(verdicts) => verdicts,
        None => {
            // To sketch the texts, and to write what stays.
            cx.readings(input, 2);
            let verdicts = decide(input, params, cx)?;
            verdicts.write(cx)?;
            verdicts
        }
    };

    remove_spills(input, cx)?;
    verdicts.tell(params, cx);
    cx.map_parts(input, contract("unique")?, |batch, span| verdicts.apply(batch, span))?;
    verdicts.guard(max_removed, cx)
}

/// Phases 1 to 4.
fn decide(input: &Dataset, params: &Params, cx: &Context) -> Result<ledger::Verdicts> {
    let sketches = sketch::sketch(input, params, cx)?;
    let links = bands::link(&sketches, params.bands, cx)?;
    let sets = sets::spill(input, &links, params, cx)?;
    let verdicts = cluster::decide(&sketches, &links, &sets, params, cx)?;
    Ok(ledger::Verdicts::new(verdicts, &sketches, &links, &sets))
}

/// Removes the side files that the verdicts replace.
fn remove_spills(input: &Dataset, cx: &Context) -> Result<()> {
    for part in 0..input.parts.len() {
        for stem in ["sketch", "sets"] {
            for ending in ["json", "bin", "json.kpipe-tmp", "bin.kpipe-tmp"] {
                remove_file(&cx.numbered(stem, part, ending))?;
            }
        }
    }
    Ok(())
}
