//! The trainer: curriculum-ordered shards go in, a checkpoint and `metrics.jsonl` come out.
//!
//! Comes in: `train-*-of-*.parquet` under the contract `shard`, and the Hugging Face folder to go
//! on from. Goes out: `model.safetensors` and `config.json` (or `adapter.safetensors` alone),
//! `tokenizer.json`, `checkpoints/`, `metrics.jsonl` (contract `metric`), `consumed.jsonl`.
//! Promises: rows are read strictly in `seq` order (in blocks that are shuffled, where
//! `train.shuffle` says so, and windows of a few documents in turn, as `train.deal` says), once an
//! epoch; a run killed at any moment and started again gives the same bytes as one that was not,
//! except for `tokens_per_s`.
//!
//! The rooms of the trainer, in the order data passes them:
//!
//! - [`data`] reads the shards in `seq` order and makes the rows of a step's microbatches;
//! - [`model`] holds the families as pure functions over named weights and the engine that
//!   differentiates them; [`kernels`] holds every operation they are made of, because some of
//!   candle's own have no backward and cut the graph without a word;
//! - [`objective`] holds the loss terms, [`strategy`] what goes beyond them (what moves when,
//!   running means, adapters), [`schedule`] the learning rates. Each is a registry: one file, one
//!   `mod` line, one line in the `static` slice adds one. [`optimiser`] holds AdamW and clipping;
//! - [`run`] is the loop and what stands around it: sessions, checkpoints, measures, plans and
//!   presets.
//!
//! Everything random is keyed by what it is for (seed, step, microbatch, block, site), never by
//! call order.

pub mod ask;
pub mod data;
pub mod kernels;
pub mod model;
pub mod objective;
pub mod optimiser;
pub mod params;
pub mod run;
pub mod schedule;
pub mod strategy;

#[cfg(test)]
pub(crate) mod fixture;

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::flow::owned::{self, Owned, check_apart};
use crate::flow::progress::Progress;

pub use params::Params;

/// Part of the fingerprint of a run: a checkpoint of another version is not resumed.
pub const VERSION: u32 = 3;

/// Stack of the training thread. Candle walks and drops the graph recursively.
const STACK_BYTES: usize = 256 << 20;

/// What to train on and where to put it.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// A folder with `data/train-*-of-*.parquet` or with those files themselves, a pattern of them,
    /// or an address: what [`data::shards::Shards::open`] takes.
    pub shards: &'a Path,
    /// Where the model, the checkpoints and the books go. A run that stands there is resumed.
    pub out: &'a Path,
    /// Seed of every draw.
    pub seed: u64,
    /// Where the numbers are computed, from [`device`].
    pub device: &'a Device,
    /// Whether to write the loss of every training document into `losses.parquet` after the last
    /// step.
    pub losses: bool,
    /// Where to tell how far the run is.
    pub progress: &'a dyn Progress,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Optimiser steps done in all.
    pub steps: u64,
    /// The step this run went on from; 0 for a fresh run.
    pub resumed_from: u64,
    /// Trainable numbers of the model.
    pub n_parameters: u64,
    /// Pieces in the tokenizer's vocabulary.
    pub vocabulary: usize,
    /// Documents of the train split.
    pub documents: u64,
    /// Times the train split was begun.
    pub epochs: u64,
    /// Total loss of the first and the last step.
    pub train_loss: (f64, f64),
    /// Masked-language loss on the validation split before the first and after the last step, in
    /// nats per token.
    pub val_loss: Option<(f64, f64)>,
    /// Tokens the model read in this process, padding left out.
    pub tokens: u64,
    /// Share of the places it computed that held padding.
    pub padding: f64,
    /// Seconds this process took.
    pub seconds: f64,
    /// The vector instructions of its processor that were used.
    pub instructions: kernels::Instructions,
    /// The exported model.
    pub model: PathBuf,
}

/// Trains on the shards of `job` and gives what came of it; resumes a run that stands in `job.out`.
///
/// # Errors
/// - `Usage` if a parameter is out of range or `out` holds a run with other parameters, seed or
///   shards;
/// - `Data` if a shard breaks the contract or the order of `seq`;
/// - `Io` if a file cannot be read or written;
/// - `Numbers` if the loss or the gradient is not finite, or a parameter gets no gradient.
pub fn train(job: &Job, params: &Params) -> Result<Summary> {
    params.check()?;
    params.check_given()?;
    let read =
        [("the shards", &*job.shards.to_string_lossy()), ("the model of `--init`", &params.init)];

    for (what, path) in read {
        check_apart(job.out, what, path)?;
    }
    for active in strategy::chosen(params)? {
        for file in active.strategy.files() {
            let what = format!("what the strategy `{}` begins with", active.kind.name);
            check_apart(job.out, &what, &file.to_string_lossy())?;
        }
    }

    let owned = Owned::claim(job.out, owned::Kind::Run)?;
    let _lock = crate::flow::disk::lock(job.out)?;
    owned.sweep()?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("train".to_string())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || run::trainer::run(job, params))
            .map_err(Error::no_thread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The device called `name`: `cpu`, or `cuda` or `cuda:1` in a program built with the feature
/// `cuda`.
///
/// # Errors
/// If there is no such device.
pub fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let ordinal = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
        None => None,
    };

    match ordinal {
        Some(ordinal) => cuda(ordinal),
        None => Err(Error::usage(format!("there is no device `{name}`"))
            .hint("use `cpu`, `cuda` or `cuda:1`")),
    }
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize) -> Result<Device> {
    Device::new_cuda(ordinal).map_err(|cause| {
        Error::usage(format!("`cuda:{ordinal}` cannot be used: {cause}"))
            .hint("`nvidia-smi` lists the GPUs")
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(ordinal: usize) -> Result<Device> {
    Err(Error::usage(format!("`cuda:{ordinal}` cannot be used: this kpipe was built without CUDA"))
        .hint("build it with `cargo build --release --features cuda`, or use `cpu`"))
}

/// What candle says when tensors do not fit together or a device fails.
impl From<candle_core::Error> for Error {
    fn from(cause: candle_core::Error) -> Self {
        Error::new(Kind::Numbers, format!("the model cannot be computed: {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named() {
        assert!(matches!(device("cpu").unwrap(), Device::Cpu));
        assert!(device("tpu").unwrap_err().to_string().contains("`tpu`"));
        assert!(device("cuda:x").unwrap_err().to_string().contains("no device"));
        #[cfg(not(feature = "cuda"))]
        assert!(device("cuda:1").unwrap_err().to_string().contains("without CUDA"));
    }
}
