//! `tasked` → `shard`
//!
//! Comes in: examples in any order. Goes out: `data/train-*.parquet` and
//! `data/validation-*.parquet`, each row with its place `seq` in the training order. Promises:
//! every document is in exactly one split, and at least once, but for those of a source that weighs
//! less ([`weights`]); variants stand as often as they are to, apart from their document and from
//! one another ([`families`]), and where the document is held out nowhere; no neighbourhood of
//! near-duplicates is divided between the splits; the opening positions hold general text only; the
//! shares of domain and hard text follow the pacing to within one document of each kind of every
//! window; the order is a function of the seed and the rows alone.
//!
//! Not for shuffling: a loader that shuffles these shards again throws the curriculum away.

pub mod card;
pub mod families;
pub mod order;
pub mod pacing;
pub mod row;
pub mod shards;
mod spill;
pub mod split;
pub mod weights;

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Float32Type, UInt8Type, UInt32Type, UInt64Type};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::books::{Books, Refusal};
use crate::flow::contract::{lists, numbers, strings};
use crate::flow::dataset::{Dataset, write_json};
use crate::flow::room::Context;

use row::Row;
use shards::{ShardInfo, Split};

/// Version of what this room computes; part of its fingerprint.
pub const VERSION: u32 = 6;

/// Keys of `[curriculum]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// How the share of domain text goes along the order.
    pub domain_share: pacing::DomainShare,
    /// What sources weigh, for 1: tokens in the order for one of their own, in `(0, 64]`.
    pub weights: BTreeMap<String, f64>,
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
    /// How often families stand there.
    pub exposures: families::Exposures,
    /// Things a person must know, such as repeated general text.
    pub notes: Vec<String>,
}

impl Params {
    /// Checks the weights.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self) -> Result<()> {
        let is_wrong =
            |(_, weight): &(&String, &f64)| !(**weight > 0.0 && **weight <= weights::MOST);
        match self.weights.iter().find(is_wrong) {
            Some((source, weight)) => Err(Error::usage(format!(
                "`curriculum.weights.{source}` is {weight}, outside (0, {}]",
                weights::MOST
            ))
            .hint(
                "a weight is how many tokens the order has for one of the source; 1 is all of it",
            )),
            None => Ok(()),
        }
    }
}

/// Runs the room; `curriculum.json` in its folder is the [`Curriculum`].
///
/// # Errors
/// If there is no document at all, or a part cannot be read or written.
pub fn run(input: &Dataset, params: &Params, cx: &Context) -> Result<()> {
    // To order the rows, to spill them and to gather them.
    cx.readings(input, 3);
    let (mut rows, sources) = read_rows(input, params, cx)?;

    if rows.is_empty() {
        return Err(Error::data("no document is left to make shards of").hint(format!(
            "every document that was read was turned away: `refused-*.parquet` in the folders of \
             `{}` say why",
            cx.folder.parent().unwrap_or(cx.folder).display()
        )));
    }

    let mut split = split::validation(&rows, params, cx.seed);
    let mut notes = std::mem::take(&mut split.notes);
    let of_source = |(name, weight): (&String, &f64)| {
        let number = sources.iter().position(|source| source == name)?;
        Some((number as u16, *weight))
    };
    let by_number = params.weights.iter().filter_map(of_source).collect();
    weights::weigh(&mut rows, &split.train, &by_number, cx.seed);
    let left_out = split.train.iter().filter(|idx| rows[**idx as usize].times == 0);
    let mut out: BTreeMap<u32, &'static str> = left_out.map(|idx| (*idx, "outweighed")).collect();
    let n_left_out = out.len();
    split.train.retain(|idx| rows[*idx as usize].times > 0);
    out.extend(split.held_out.iter().map(|idx| (*idx, "of_held_out")));
    if n_left_out > 0 {
        notes.push(format!(
            "{n_left_out} documents do not stand in the order: their source weighs less than 1 \
             (`curriculum.weights`)"
        ));
    }

    let ordered = order::train(&rows, &split.train, params, cx.seed);
    let counted = families::count(&rows, &ordered.sequence);
    notes.extend(ordered.notes);
    notes.iter().for_each(|note| cx.progress.note(note));
    let plan = shards::Plan::new(
        &rows,
        &ordered.sequence,
        &split.validation,
        &counted,
        ordered.pacing.n_first,
        params,
    );
    // The rows have said what they had to.
    let (n_rows, n_train, n_validation) =
        (rows.len() as u64, split.train.len(), split.validation.len());
    let (n_positions, exposures) = (ordered.sequence.len(), counted.exposures);
    drop((rows, split.train, split.validation, ordered.sequence, counted.nth, counted.of));
    // Text that is repeated is gathered more than once.
    cx.progress.expect(2 * n_rows + (n_positions + n_validation) as u64);
    let written = shards::write(input, &plan, params, cx)?;
    let of = |split: Split| written.iter().filter(|shard| shard.split == split).cloned().collect();
    let curriculum = Curriculum {
        train: of(Split::Train),
        validation: of(Split::Validation),
        pacing: ordered.pacing,
        exposures,
        notes,
    };

    write_json(&cx.folder.join("curriculum.json"), &curriculum)?;
    let refused = refusals(input, &out, cx)?;
    let n_kept = n_rows - out.len() as u64;
    let mut books = Books { read: n_rows, kept: n_kept, ..Books::default() };
    out.values().for_each(|reason| *books.refused.entry((*reason).to_string()).or_default() += 1);
    books.note("train_positions", n_positions as u64);
    books.note("repeated_positions", (n_positions - n_train) as u64);
    books.note("validation_documents", n_validation as u64);

    cx.commit(0, &refused, &[], &books)
}

/// Rows that stand nowhere, as they are told; their text stands where it was read.
fn refusals(
    input: &Dataset,
    out: &BTreeMap<u32, &'static str>,
    cx: &Context,
) -> Result<Vec<Refusal>> {
    if out.is_empty() {
        return Ok(Vec::new());
    }
    let columns = ["id", "source", "file", "offset", "text"];
    let all = cx.scan(input, Some(&columns), |batch, span| {
        let (ids, sources) = (strings(batch, "id")?, strings(batch, "source")?);
        let (files, texts) = (strings(batch, "file")?, strings(batch, "text")?);
        let offsets = numbers::<UInt64Type>(batch, "offset")?;
        let rows = span.first_row as u32..span.first_row as u32 + batch.num_rows() as u32;
        let refusal = |(row, reason): (&u32, &&'static str)| {
            let at = (row - rows.start) as usize;
            Refusal {
                source: sources.value(at).to_string(),
                file: files.value(at).to_string(),
                offset: offsets.value(at),
                id: Some(ids.value(at).to_string()),
                reason: (*reason).into(),
                detail: String::new(),
                n_bytes: texts.value(at).len() as u64,
                bytes: Vec::new(),
            }
        };
        Ok(out.range(rows.clone()).map(refusal).collect::<Vec<Refusal>>())
    })?;
    Ok(all.into_iter().flatten().collect())
}

/// Reads what ordering needs of every row, 64 bytes each, and the names of the sources.
fn read_rows(input: &Dataset, params: &Params, cx: &Context) -> Result<(Vec<Row>, Vec<String>)> {
    let columns = [
        "id",
        "text",
        "n_tokens",
        "role",
        "source",
        "neighbourhood",
        "difficulty",
        "bucket",
        "parent",
        "variant",
        "made_of",
        "times",
    ];
    let mut rows = Vec::with_capacity(input.rows() as usize);
    let mut names: Vec<String> = Vec::new();
    let kernel = |batch: &RecordBatch, _| {
        let (ids, texts, roles) =
            (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "role")?);
        let (parents, sources) = (strings(batch, "parent")?, strings(batch, "source")?);
        let groups = numbers::<UInt64Type>(batch, "neighbourhood")?;
        let (made_of, variants) = (lists(batch, "made_of")?, strings(batch, "variant")?);
        let difficulty = numbers::<Float32Type>(batch, "difficulty")?;
        let lengths = numbers::<UInt32Type>(batch, "n_tokens")?;
        let times = numbers::<UInt32Type>(batch, "times")?;
        let buckets = numbers::<UInt8Type>(batch, "bucket")?;
        let hash = |id: &str| xxhash_rust::xxh3::xxh3_64(id.as_bytes());
        // The names of this batch, numbered by it.
        let mut own: Vec<String> = Vec::new();
        let row = |idx: usize| {
            let is_variant = parents.is_valid(idx);
            let name = hash(ids.value(idx));
            let mut row = Row {
                name,
                family: if is_variant { hash(parents.value(idx)) } else { name },
                group: groups.value(idx),
                n_bytes: texts.value(idx).len() as u32,
                n_tokens: lengths.value(idx),
                times: times.value(idx),
                source: 0,
                difficulty: difficulty.value(idx),
                is_domain: roles.value(idx) == "domain",
                is_hard: buckets.value(idx) >= params.hard_from_bucket,
                is_variant,
                is_made: made_of.value_length(idx) > 0,
                is_questions: variants.is_valid(idx) && variants.value(idx) == row::QUESTIONS,
            };
            let source = sources.value(idx);
            let known = own.iter().position(|name| name == source);
            row.source = known.unwrap_or(own.len()) as u16;
            if known.is_none() {
                own.push(source.to_string());
            }
            row
        };

        let rows: Vec<Row> = (0..batch.num_rows()).map(row).collect();
        Ok((rows, own))
    };

    cx.fold(input, Some(&columns), kernel, |batch| {
        let (batch, own) = batch;
        let mut number = |name: String| {
            let known = names.iter().position(|other| *other == name);
            known.unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            }) as u16
        };
        let numbers: Vec<u16> = own.into_iter().map(&mut number).collect();
        rows.extend(
            batch.into_iter().map(|row| Row { source: numbers[usize::from(row.source)], ..row }),
        );
        Ok(())
    })?;
    Ok((rows, names))
}
