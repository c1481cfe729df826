//! `scored` → `bucketed`
//!
//! Comes in: scored documents. Goes out: the same, with how hard each is and the bucket that makes.
//! Promises: every row is kept; a document's difficulty depends on the measured distributions
//! alone, which are written to `edges.json` and `words.zst`, so a later build that is given them
//! buckets new documents the same way.
//!
//! Difficulty is the weighted mean of a document's ranks, feature by feature, among the documents
//! of its language (Platanios et al. 2019 use one such rank, the "CDF difficulty"). A rank is read
//! off a grid of quantiles, so it needs no sort of the corpus at hand. A feature a language does
//! not have (readability) or that was not given (loss) is left out of the mean.
//!
//! To add a feature: a line in [`features::FEATURES`], its value in [`features::measure`], its
//! weight in `pipelines/default.toml`.

pub mod edges;
pub mod features;
mod losses;
mod quantiles;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, UInt8Array};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::contract::{contract, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::{Added, Context};

use edges::Edges;
use features::{FEATURES, Features, WordCounts};

/// Version of what this room computes; part of its fingerprint.
pub const VERSION: u32 = 3;

/// Keys of `[difficulty]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Number of buckets, in `2..=100`.
    pub buckets: usize,
    /// Weight of each feature in the mean, `>= 0`, at least one above 0.
    pub weights: BTreeMap<String, f64>,
    /// Languages with fewer documents share one pool of ranks and edges.
    pub min_language_docs: u64,
    /// A `tokenizer.json` for `tokens_per_word`; empty leaves the feature out.
    pub tokenizer: String,
    /// JSON lines `{"id": ..., "loss": ...}` from a training run; empty leaves the feature out.
    pub losses: String,
    /// Folder with `edges.json` and `words.zst` of an earlier build, to bucket in the same way;
    /// empty measures anew.
    pub edges: String,
}

impl Params {
    /// Checks ranges and feature names.
    ///
    /// # Errors
    /// Names the key, the value and what is allowed.
    pub fn check(&self) -> Result<()> {
        if let Some(name) = self.weights.keys().find(|name| !FEATURES.contains(&name.as_str())) {
            return Err(Error::usage(format!("`difficulty.weights.{name}` is no feature"))
                .hint(format!("the features are {}", FEATURES.join(", "))));
        }

        if self.weights.values().all(|weight| *weight == 0.0) {
            return Err(Error::usage("all of `difficulty.weights` are 0")
                .hint("give at least one feature a weight"));
        }
        Ok(())
    }
}

impl Params {
    /// Files and folders this room reads beside its input.
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.tokenizer, &self.losses, &self.edges]
            .into_iter()
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect()
    }

    /// Reads those files and forgets them.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn check_files(&self) -> Result<()> {
        self.read_tokenizer()?;
        self.read_losses()?;
        self.read_edges().map(|_| ())
    }

    fn read_tokenizer(&self) -> Result<Option<tokenizers::Tokenizer>> {
        let path = Some(self.tokenizer.as_str()).filter(|path| !path.is_empty());
        let read = path.map(|path| {
            tokenizers::Tokenizer::from_file(path).map_err(|cause| {
                Error::data(format!("`{path}` is not a readable tokenizer.json: {cause}"))
                    .at("`difficulty.tokenizer`")
            })
        });
        read.transpose()
    }

    fn read_losses(&self) -> Result<Option<losses::Losses>> {
        let path = Some(self.losses.as_str()).filter(|path| !path.is_empty());
        path.map(|path| losses::Losses::read(path.as_ref())).transpose()
    }

    /// Edges and words of an earlier build, which must fit these parameters.
    fn read_edges(&self) -> Result<Option<(Edges, WordCounts)>> {
        let folder = Some(self.edges.as_str()).filter(|folder| !folder.is_empty());
        let read = folder.map(|folder| edges::read(folder.as_ref())).transpose()?;
        read.iter().try_for_each(|(edges, _)| edges.check_fits(self))?;
        Ok(read)
    }
}

/// What the room measures with: the word counts of each language and, where given, a tokenizer and
/// losses.
struct Measure {
    words: WordCounts,
    tokenizer: Option<tokenizers::Tokenizer>,
    losses: Option<losses::Losses>,
}

/// Runs the room.
///
/// # Errors
/// If a named tokenizer, loss file or edges folder cannot be read, or a part cannot be read or
/// written.
pub fn run(input: &Dataset, params: &Params, cx: &Context) -> Result<()> {
    let (tokenizer, losses, earlier) =
        (params.read_tokenizer()?, params.read_losses()?, params.read_edges()?);
    // To count languages and words, to measure, and to write; where edges are given, to write
    // alone.
    cx.readings(input, if earlier.is_some() { 1 } else { 4 });
    let (words, edges) = match earlier {
        Some((edges, words)) => (words, Some(edges)),
        None => (features::count_words(input, params.min_language_docs, cx)?, None),
    };
    let measure = Measure { words, tokenizer, losses };
    let (edges, measured) = match edges {
        Some(edges) => (edges, None),
        None => {
            let (edges, measured) = measure_edges(input, params, &measure, cx)?;
            (edges, Some(measured))
        }
    };

    edges::write(cx.folder, &edges, &measure.words)?;
    let columns: &[&str] = if measured.is_some() { &["language"] } else { MEASURED };
    cx.add_columns(input, contract("bucketed")?, columns, |batch, span| {
        let first = span.first_row as usize;
        match &measured {
            Some(all) => {
                bucket_batch(batch, &all[first..first + batch.num_rows()], &measure, &edges)
            }
            None => bucket_batch(batch, &measure_batch(batch, &measure)?, &measure, &edges),
        }
    })
}

/// The columns that features are measured on.
const MEASURED: &[&str] = &["id", "text", "language", "density", "n_tokens"];

/// Reads the features of the whole corpus once and has polars find the quantiles per language;
/// gives the features of every row too, 24 bytes each.
fn measure_edges(
    input: &Dataset,
    params: &Params,
    measure: &Measure,
    cx: &Context,
) -> Result<(Edges, Vec<Features>)> {
    // In name order, so that a pool's number is found by its name.
    let names: Vec<&str> = measure.words.pools.keys().map(String::as_str).collect();
    let mut rows: Vec<(u32, Features)> = Vec::with_capacity(input.rows() as usize);
    let kernel = |batch: &RecordBatch, _| {
        let pools = pools_of(batch, &measure.words)?;
        let numbers = pools.iter().map(|pool| names.partition_point(|name| name < pool) as u32);
        Ok(numbers.zip(measure_batch(batch, measure)?).collect::<Vec<_>>())
    };
    cx.fold(input, Some(MEASURED), kernel, |batch| {
        rows.extend(batch);
        Ok(())
    })?;
    let grids = quantiles::grids(&rows, &names)?;
    let mut edges = Edges::new(params, grids);
    let difficulties: Vec<(u32, f32)> = rows
        .iter()
        .map(|(pool, features)| (*pool, edges.difficulty(names[*pool as usize], features)))
        .collect();
    let (cut, grids) = quantiles::bucket_edges(&difficulties, &names, params.buckets)?;
    edges.set_bucket_edges(cut, grids);

    Ok((edges, rows.into_iter().map(|(_, features)| features).collect()))
}

/// The pool of ranks each row belongs to: its language, or the pool of small languages.
fn pools_of<'a>(batch: &RecordBatch, words: &'a WordCounts) -> Result<Vec<&'a str>> {
    Ok(strings(batch, "language")?.iter().map(|language| words.pool(language)).collect())
}

fn measure_batch(batch: &RecordBatch, measure: &Measure) -> Result<Vec<Features>> {
    features::measure(batch, &measure.words, measure.tokenizer.as_ref(), measure.losses.as_ref())
}

fn bucket_batch(
    batch: &RecordBatch,
    features: &[Features],
    measure: &Measure,
    edges: &Edges,
) -> Result<Added> {
    let pools = pools_of(batch, &measure.words)?;
    let difficulty: Vec<f32> =
        pools.iter().zip(features).map(|(pool, f)| edges.difficulty(pool, f)).collect();
    let buckets: Vec<u8> =
        pools.iter().zip(&difficulty).map(|(pool, d)| edges.bucket(pool, *d)).collect();
    let column = |name: &str| -> ArrayRef {
        Arc::new(Float32Array::from(
            features.iter().map(|f| f.get(name)).collect::<Vec<Option<f32>>>(),
        ))
    };
    let columns: Vec<(&'static str, ArrayRef)> = vec![
        ("word_rarity", column("word_rarity")),
        ("readability", column("readability")),
        ("tokens_per_word", column("tokens_per_word")),
        ("loss", column("loss")),
        ("difficulty", Arc::new(Float32Array::from(difficulty))),
        ("bucket", Arc::new(UInt8Array::from(buckets))),
    ];

    Ok(Added { columns, notes: Vec::new() })
}
