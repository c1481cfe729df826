//! The numbers of a report, gathered from the finished shards in one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt8Type};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::build::publish::Manifest;
use crate::error::{Error, Result};
use crate::flow::contract::{column, contract, numbers, strings};
use crate::flow::dataset::Batches;
use crate::knowledge::map::Summary;

/// Bins of a histogram over `[0, 1]`.
pub const BINS: usize = 20;
/// Stretches of the training order in which shares are counted.
pub const STRETCHES: usize = 50;

/// A few rewritten passages of one kind, to look at.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Document it stems from.
    pub id: String,
    /// Kind and engine.
    pub kind: String,
    /// Passage of the document.
    pub anchor: String,
    /// What was made of it.
    pub text: String,
    /// chrF similarity in `[0, 1]`.
    pub similarity: f32,
}

/// What the shards hold.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Distinct documents of each source in both splits.
    pub documents: BTreeMap<String, u64>,
    /// Distinct documents of each language.
    pub languages: BTreeMap<String, u64>,
    /// Histogram of density over distinct documents, by source.
    pub density: BTreeMap<String, [u64; BINS]>,
    /// Histogram of difficulty over distinct documents, by source.
    pub difficulty: BTreeMap<String, [u64; BINS]>,
    /// Documents in each bucket, by language.
    pub buckets: BTreeMap<String, BTreeMap<u8, u64>>,
    /// For each stretch of the training order: tokens, those of domain text, those of hard text.
    pub order: Vec<[u64; 3]>,
    /// What the documents cover of the lexicon; `None` without one.
    pub map: Option<Summary>,
    /// Rewritten passages by `kind, engine`.
    pub negatives: BTreeMap<String, u64>,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// Samples of each kind and engine.
const SAMPLES: usize = 3;

/// Reads every shard that the manifest names, below `out`.
///
/// # Errors
/// If a shard cannot be read or breaks its contract.
pub fn gather(out: &Path, manifest: &Manifest, map: Option<Summary>) -> Result<Facts> {
    let mut facts = Facts { order: vec![[0; 3]; STRETCHES], map, ..Facts::default() };
    let mut seen = BTreeSet::new();
    let columns = [
        "id",
        "source",
        "role",
        "language",
        "density",
        "difficulty",
        "bucket",
        "seq",
        "n_tokens",
        "negatives",
    ];
    let n_positions = manifest.curriculum.pacing.n_positions.max(1);
    let hard = manifest.pipeline.curriculum.hard_from_bucket;
    let shards = manifest.curriculum.train.iter().chain(&manifest.curriculum.validation);

    for (shard_idx, shard) in shards.enumerate() {
        let is_train = shard_idx < manifest.curriculum.train.len();
        for batch in
            Batches::open(&out.join(&shard.file), Some(contract("shard")?), Some(&columns))?
        {
            let batch = batch?;
            if is_train {
                count_order(&batch, n_positions, hard, &mut facts)?;
            }
            count_documents(&batch, &mut seen, &mut facts)?;
        }
    }

    Ok(facts)
}

fn count_order(batch: &RecordBatch, n_positions: u64, hard: u8, facts: &mut Facts) -> Result<()> {
    let (roles, buckets) = (strings(batch, "role")?, numbers::<UInt8Type>(batch, "bucket")?);
    let seqs = numbers::<arrow::datatypes::UInt64Type>(batch, "seq")?;
    let lengths = numbers::<arrow::datatypes::UInt32Type>(batch, "n_tokens")?;

    for row in 0..batch.num_rows() {
        let stretch = (seqs.value(row) * STRETCHES as u64 / n_positions) as usize;
        let counts = facts
            .order
            .get_mut(stretch)
            .ok_or_else(|| Error::data("a `seq` is beyond the manifest's"))?;
        let n_tokens = u64::from(lengths.value(row).max(1));
        counts[0] += n_tokens;
        counts[1] += n_tokens * u64::from(roles.value(row) == "domain");
        counts[2] += n_tokens * u64::from(buckets.value(row) >= hard);
    }

    Ok(())
}

fn count_documents(batch: &RecordBatch, seen: &mut BTreeSet<u64>, facts: &mut Facts) -> Result<()> {
    let (ids, sources, languages) =
        (strings(batch, "id")?, strings(batch, "source")?, strings(batch, "language")?);
    let density = numbers::<Float32Type>(batch, "density")?;
    let difficulty = numbers::<Float32Type>(batch, "difficulty")?;
    let buckets = numbers::<UInt8Type>(batch, "bucket")?;
    let negatives = column(batch, "negatives")?.as_list::<i32>();
    let bin = |value: f32| ((value * BINS as f32) as usize).min(BINS - 1);

    for row in 0..batch.num_rows() {
        if !seen.insert(xxh3_64(ids.value(row).as_bytes())) {
            continue;
        }
        let source = sources.value(row);
        let language = if languages.is_valid(row) { languages.value(row) } else { "unknown" };
        *facts.documents.entry(source.to_string()).or_default() += 1;
        *facts.languages.entry(language.to_string()).or_default() += 1;
        facts.density.entry(source.to_string()).or_insert([0; BINS])[bin(density.value(row))] += 1;
        facts.difficulty.entry(source.to_string()).or_insert([0; BINS])
            [bin(difficulty.value(row))] += 1;
        *facts
            .buckets
            .entry(language.to_string())
            .or_default()
            .entry(buckets.value(row))
            .or_default() += 1;

        count_negatives(ids.value(row), &negatives.value(row), facts)?;
    }

    Ok(())
}

fn count_negatives(id: &str, candidates: &dyn Array, facts: &mut Facts) -> Result<()> {
    let candidates = candidates.as_struct();
    let strings = |name: &str| {
        candidates
            .column_by_name(name)
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or_else(|| Error::data(format!("`negatives` has no strings `{name}`")))
    };

    let (anchors, texts, kinds, engines) =
        (strings("anchor")?, strings("text")?, strings("kind")?, strings("engine")?);
    let similarity =
        candidates.column_by_name("similarity").and_then(|c| c.as_primitive_opt::<Float32Type>());

    for idx in 0..candidates.len() {
        let kind = format!("{}, {}", kinds.value(idx), engines.value(idx));
        let n = facts.negatives.entry(kind.clone()).or_default();
        *n += 1;

        if *n <= SAMPLES as u64 {
            facts.samples.push(Sample {
                id: id.to_string(),
                kind,
                anchor: anchors.value(idx).to_string(),
                text: texts.value(idx).to_string(),
                similarity: similarity.map_or(0.0, |similarity| similarity.value(idx)),
            });
        }
    }

    Ok(())
}
