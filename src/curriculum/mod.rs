//! `example` → `shard`
//!
//! Comes in: examples in any order. Goes out: `data/train-*.parquet` and
//! `data/validation-*.parquet`, each row with its place `seq` in the training order. Promises:
//! every example is in exactly one split, and at least once; no neighbourhood of near-duplicates is
//! divided between the splits; the opening positions hold general text only; the shares of domain
//! and hard text follow the pacing to within one document of each kind of every window; the order
//! is a function of the seed and the rows alone.
//!
//! Not for shuffling: a loader that shuffles these shards again throws the curriculum away.

pub mod card;
pub mod order;
pub mod pacing;
pub mod shards;
mod spill;
mod split;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::books::Books;
use crate::flow::contract::strings;
use crate::flow::dataset::{Dataset, write_json};
use crate::flow::room::Context;

use order::Row;
use shards::{ShardInfo, Split};

/// Version of what this room computes; part of its fingerprint.
pub const VERSION: u32 = 4;

/// Keys of `[curriculum]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Share of the training tokens that are of the opening, general text only, in `[0, 1)`.
    pub general_first: f64,
    /// Greatest share of domain text, in tokens, in `(0, 1]`.
    pub domain_max: f64,
    /// Greatest share of hard text, in tokens, in `(0, 1]`.
    pub hard_max: f64,
    /// Least share of general, not hard, text, in tokens, in `[0, 1)`.
    pub replay_min: f64,
    /// How often a general document stands in the order at most; 0 sets no limit.
    pub repeat_max: u64,
    /// Documents of this bucket and above count as hard.
    pub hard_from_bucket: u8,
    /// Competence at the start, in `(0, 1]`.
    pub competence_start: f64,
    /// Power of the competence function, `>= 1`: 1 linear, 2 square root.
    pub competence_power: f64,
    /// Documents of mean length whose tokens make a quota window.
    pub window: usize,
    /// Share of the documents held out, in `[0, 0.5]`.
    pub validation_share: f64,
    /// Neighbourhoods with more documents than this stay in the training split.
    pub validation_group_max: usize,
    /// Text of one shard, in bytes before compression.
    pub shard_bytes: u64,
    /// zstd level of the shards, in `1..=22`.
    pub zstd_level: i32,
}

/// What the manifest says about the shards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curriculum {
    /// Training shards, in order.
    pub train: Vec<ShardInfo>,
    /// Validation shards, in order.
    pub validation: Vec<ShardInfo>,
    /// How the positions were shared out.
    pub pacing: pacing::Pacing,
    /// Things a person must know, such as repeated general text.
    pub notes: Vec<String>,
}

/// Runs the room; `curriculum.json` in its folder is the [`Curriculum`].
///
/// # Errors
/// If there is no document at all, or a part cannot be read or written.
pub fn run(input: &Dataset, params: &Params, cx: &Context) -> Result<()> {
    // To order the rows, to spill them and to gather them.
    cx.readings(input, 3);
    let rows = read_rows(input, params, cx)?;

    if rows.is_empty() {
        return Err(Error::data("no document is left to make shards of").hint(format!(
            "every document that was read was turned away: `refused-*.parquet` in the folders of \
             `{}` say why",
            cx.folder.parent().unwrap_or(cx.folder).display()
        )));
    }

    let split = split::validation(&rows, params, cx.seed);
    let mut notes = split.notes;
    let ordered = order::train(&rows, &split.train, params, cx.seed);
    notes.extend(ordered.notes);
    notes.iter().for_each(|note| cx.progress.note(note));
    let plan = shards::Plan::new(
        &rows,
        &ordered.sequence,
        &split.validation,
        ordered.pacing.n_first,
        params,
    );
    // The rows have said what they had to.
    let (n_rows, n_train, n_validation) =
        (rows.len() as u64, split.train.len(), split.validation.len());
    let n_positions = ordered.sequence.len();
    drop((rows, split.train, split.validation, ordered.sequence));
    // Text that is repeated is gathered more than once.
    cx.progress.expect(2 * n_rows + (n_positions + n_validation) as u64);
    let written = shards::write(input, &plan, params, cx)?;
    let of = |split: Split| written.iter().filter(|shard| shard.split == split).cloned().collect();
    let curriculum = Curriculum {
        train: of(Split::Train),
        validation: of(Split::Validation),
        pacing: ordered.pacing,
        notes,
    };

    write_json(&cx.folder.join("curriculum.json"), &curriculum)?;
    let mut books = Books { read: n_rows, kept: n_rows, ..Books::default() };
    books.note("train_positions", n_positions as u64);
    books.note("repeated_positions", (n_positions - n_train) as u64);
    books.note("validation_documents", n_validation as u64);

    cx.commit(0, &[], &[], &books)
}

/// Reads what ordering needs of every row: 40 bytes each.
fn read_rows(input: &Dataset, params: &Params, cx: &Context) -> Result<Vec<Row>> {
    let columns = ["id", "text", "n_tokens", "role", "neighbourhood", "difficulty", "bucket"];
    let mut rows = Vec::with_capacity(input.rows() as usize);
    let kernel = |batch: &RecordBatch, _| {
        let (ids, texts, roles) =
            (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "role")?);
        let groups =
            crate::flow::contract::numbers::<arrow::datatypes::UInt64Type>(batch, "neighbourhood")?;
        let difficulty =
            crate::flow::contract::numbers::<arrow::datatypes::Float32Type>(batch, "difficulty")?;
        let lengths =
            crate::flow::contract::numbers::<arrow::datatypes::UInt32Type>(batch, "n_tokens")?;
        let buckets =
            crate::flow::contract::numbers::<arrow::datatypes::UInt8Type>(batch, "bucket")?;
        let row = |idx: usize| Row {
            name: xxhash_rust::xxh3::xxh3_64(ids.value(idx).as_bytes()),
            group: groups.value(idx),
            n_bytes: texts.value(idx).len() as u32,
            n_tokens: lengths.value(idx),
            difficulty: difficulty.value(idx),
            is_domain: roles.value(idx) == "domain",
            is_hard: buckets.value(idx) >= params.hard_from_bucket,
        };

        Ok((0..batch.num_rows()).map(row).collect::<Vec<Row>>())
    };

    cx.fold(input, Some(&columns), kernel, |batch| {
        rows.extend(batch);
        Ok(())
    })?;
    Ok(rows)
}
