//! The section `[train]` of a pipeline file.

use std::collections::BTreeMap;

use candle_core::DType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};
use crate::knowledge::lexicon::LexiconSpec;
use crate::knowledge::names::NameRules;
use crate::train::VERSION;

/// Parameters of the trainer; units, ranges and reasons stand in `pipelines/default.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// A Hugging Face folder to go on from; empty begins with drawn weights.
    pub init: String,
    /// Blocks of it that a smaller model begins with, in order; empty takes all.
    pub init_layers: Vec<usize>,
    /// Optimiser steps.
    pub steps: u64,
    /// Token windows in a microbatch.
    pub batch: usize,
    /// Microbatches in an optimiser step.
    pub accumulate: usize,
    /// Tokens in a window, with `[CLS]` and `[SEP]`.
    pub max_tokens: usize,
    /// What becomes of a document longer than a window.
    pub long: Long,
    /// Documents that are shuffled together; 0 keeps the order of the shards.
    pub shuffle: usize,
    /// Documents whose windows are dealt in turn; 0 and 1 read them one after the other.
    pub deal: usize,
    /// Whether short windows share a row.
    pub packing: bool,
    /// Steps between two evaluations; 0 evaluates before the first and after the last step only.
    pub eval_every: u64,
    /// Most windows of the validation split that are evaluated.
    pub eval_windows: usize,
    /// Steps between two checkpoints; 0 saves after the last step only.
    pub save_every: u64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// What the model computes with.
    pub precision: Precision,
    /// Blocks of the model between two states that are kept for the backward pass; 0 keeps all
    /// graphs.
    pub checkpoint_every: usize,
    /// How text becomes tokens.
    pub tokenizer: Tokenizer,
    /// The encoder.
    pub model: Model,
    /// The shape of another model to begin anew, by the names of Hugging Face's `config.json`;
    /// empty takes `model`.
    pub config: Map<String, Value>,
    /// Rows by kind: a section for each of [`crate::train::data::rows`].
    pub rows: Sections,
    /// Loss terms by name: a section for each of [`crate::train::objective`].
    pub objective: Sections,
    /// How the two ways to learn language are mixed.
    pub mixed: Mixed,
    /// Strategies by name: a section for each of [`crate::train::strategy`].
    pub strategy: Sections,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// The order in which documents are taught.
    pub pacing: Pacing,
    /// What the names of concepts are for.
    pub concepts: Concepts,
    /// What documents say of their source.
    pub source_line: SourceLine,
    /// Whether a step learns from its hardest rows alone.
    pub selective: Selective,
    /// Whether `metrics.jsonl` is written as TensorBoard's event files as well.
    pub tensorboard: bool,
    /// Names of concepts: `[density]` says which.
    #[serde(skip)]
    pub names: Names,
    /// Keys that a person gave, by their whole names, and where.
    #[serde(skip)]
    pub given: BTreeMap<String, String>,
}

/// The order in which documents are taught.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pacing {
    /// Whose it is.
    pub order: Order,
    /// Competence at the beginning, (0, 1].
    pub start: f64,
    /// Power of the competence function, 1 and more.
    pub power: f64,
}

/// Whose order documents are taught in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// That of the shards.
    Shards,
    /// From easy to hard by competence.
    Competence,
}

/// What the names of concepts are for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concepts {
    /// With what probability a name is masked, or left out for T5, before anything else.
    pub mask: f64,
    /// Share of the windows that are cut down to a sentence with a name and its neighbour.
    pub focus: f64,
    /// What the first piece of a name counts more than others, where each token is predicted.
    pub weight: f64,
}

impl Concepts {
    /// Whether names have to be found.
    pub fn are_used(&self) -> bool {
        self.mask > 0.0 || self.focus > 0.0 || self.weight > 0.0
    }
}

/// The names of concepts that are looked for in texts.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Files of the lexicon.
    pub lexicon: Vec<LexiconSpec>,
    /// Which names of it.
    pub rules: NameRules,
}

/// A line about its source before the first window of a document, on which nothing is learned
/// (metadata conditioning with cool-down, arXiv:2501.01956).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceLine {
    /// Share of the steps, the first ones, in which it is read; 0 leaves it out.
    pub share: f64,
    /// Most tokens of it.
    pub tokens: usize,
    /// Columns of the shards, and fields of their column `metadata`.
    pub fields: Vec<String>,
}

impl SourceLine {
    /// Whether it is read in a step.
    pub fn is_read(&self, step: u64, steps: u64) -> bool {
        step as f64 <= self.share * steps as f64
    }
}

/// Steps that learn from their hardest rows alone (Selective-Backprop, arXiv:1910.00762).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selective {
    /// Share of the rows that are kept; 1 keeps all.
    pub keep: f64,
    /// Share of the steps before it begins.
    pub start: f64,
    /// Share of the steps at which it ends.
    pub end: f64,
    /// Every so many steps all rows are learned from; 0 makes no such break.
    pub interrupt: u64,
}

/// What the model computes with. Weights, optimiser, norms, softmax and losses are never halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits, weights too.
    F64,
    /// 16 bits with the exponents of f32.
    Bf16,
    /// 16 bits with five of them exponent: the loss is scaled.
    F16,
}

impl Precision {
    /// Type of activations, and of weights where they are multiplied.
    pub fn compute(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
            Precision::Bf16 => DType::BF16,
            Precision::F16 => DType::F16,
        }
    }

    /// Type of the weights that are trained.
    pub fn weights(self) -> DType {
        if self == Precision::F64 { DType::F64 } else { DType::F32 }
    }
}

/// What becomes of a document longer than a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Long {
    /// It is cut into consecutive windows.
    Split,
    /// Its first window is used and the rest left out.
    Truncate,
}

/// How text becomes tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokenizer {
    /// Which model is trained.
    pub kind: TokenizerKind,
    /// A `tokenizer.json` to use instead of training one; empty trains one.
    pub file: String,
    /// Pieces in the vocabulary, special tokens included.
    pub vocabulary: usize,
    /// Whether case and accents are folded (`wordpiece` only).
    pub lowercase: bool,
    /// Characters of text the tokenizer learns from.
    pub sample_chars: u64,
    /// Times a pair must occur to become a piece.
    pub min_frequency: u64,
}

/// Which subword model is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// BERT's: normalised text, `##` marks a piece inside a word, unknown characters become
    /// `[UNK]`.
    Wordpiece,
    /// GPT-2's: byte-level pairs, nothing is unknown.
    Bpe,
}

/// The encoder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Width of the hidden state.
    pub hidden: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; divides `hidden`.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Share of activations dropped while training.
    pub dropout: f64,
    /// Where layer norm stands.
    pub norm: Norm,
}

/// Where layer norm stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Before attention and feed-forward, and once after the last block.
    Pre,
    /// After each residual sum, as in BERT.
    Post,
}

/// How the two ways to learn language are mixed: `(1 − α) · restore + α · continue`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixed {
    /// Whether they are; else a model learns in the way it is made for alone.
    pub on: bool,
    /// Share of going on with a text, `clm` or `prefix`; the rest is for `mlm` or `span`.
    pub alpha: f64,
    /// How much of each is computed.
    pub how: How,
}

/// How much of each of two terms is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Both for every microbatch.
    Both,
    /// One of them for each, drawn by its share.
    Sampled,
}

/// Which AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimiserKind {
    /// With bias correction, as PyTorch's.
    Adamw,
    /// Without, as BERT was trained: the first steps are shorter.
    AdamwBert,
}

/// The optimiser, AdamW.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimiser {
    /// Which one.
    pub kind: OptimiserKind,
    /// Highest learning rate of the schedule.
    pub lr: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub eps: f64,
    /// Decoupled weight decay; not applied to biases and norms.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 does not clip.
    pub clip: f64,
}

/// The learning rate over the steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Name in [`crate::train::schedule::SCHEDULES`].
    pub kind: String,
    /// Share of the steps in which the rate rises from 0.
    pub warmup: f64,
    /// Share of `lr` that is left at the end.
    pub floor: f64,
    /// Share of the steps in which the rate falls (`wsd` only).
    pub decay: f64,
}

/// Sections of a pipeline file that their owners parse, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sections(BTreeMap<String, Value>);

/// One of them.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    sections: &'a Sections,
    place: &'static str,
    name: &'static str,
}

impl Section<'_> {
    /// Its keys.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.sections.parse(self.place, self.name)
    }
}

impl Sections {
    /// The section `name` for whoever parses it; `None` where there is none.
    pub fn section(&self, place: &'static str, name: &'static str) -> Option<Section<'_>> {
        self.has(name).then_some(Section { sections: self, place, name })
    }

    /// The section `name`; `place` is what it stands below in the pipeline file.
    ///
    /// # Errors
    /// If it is missing, or holds something else.
    pub fn parse<T: DeserializeOwned>(&self, place: &str, name: &str) -> Result<T> {
        let wrong = |what: String| {
            Error::usage(format!("`[{place}.{name}]` {what}"))
                .hint("`kpipe defaults` shows the shape of every key")
        };
        let section = self.0.get(name).ok_or_else(|| wrong("is missing".to_string()))?;
        serde_json::from_value(section.clone())
            .map_err(|cause| wrong(format!("does not fit: {cause}")))
    }

    /// Whether there is a section `name`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets a key of the section `name`, which begins empty where there is none.
    pub fn set(&mut self, name: &str, key: &str, value: impl Into<Value>) {
        let section = self.0.entry(name.to_string()).or_insert_with(|| Value::Object(Map::new()));
        section[key] = value.into();
    }
}

impl Params {
    /// Whether a person gave a key of this section.
    pub fn is_given(&self, section: &str) -> bool {
        self.given
            .keys()
            .any(|key| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
    }

    /// A hash of everything that changes the bytes of a run; saving more or less often does not,
    /// nor does keeping states. What a run begins with is told by its content, not by its place.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn fingerprint(&self) -> Result<String> {
        let told = Params {
            save_every: 0,
            keep: 1,
            checkpoint_every: 0,
            init: String::new(),
            ..self.clone()
        };

        let text = serde_json::to_string(&told)
            .map_err(|cause| Error::usage(format!("`[train]`: {cause}")))?;
        Ok(format!("{:032x}", xxh3_128(format!("{VERSION}\n{text}").as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use crate::train::fixture::default_params;

    #[test]
    fn only_what_changes_the_bytes_is_in_the_fingerprint() {
        let params = default_params();
        let print = params.fingerprint().unwrap();
        let saved_often = crate::train::Params { save_every: 1, keep: 9, ..params.clone() };
        assert_eq!(saved_often.fingerprint().unwrap(), print);
        let longer = crate::train::Params { steps: params.steps + 1, ..params };
        assert_ne!(longer.fingerprint().unwrap(), print);
    }
}
