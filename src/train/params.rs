//! The section `[train]` of a pipeline file.

use candle_core::DType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};
use crate::train::kernels::Activation;
use crate::train::model::bert::{self, Bert};
use crate::train::model::hugging_face::{self, Pretrained};
use crate::train::model::{Architecture, Family};
use crate::train::{VERSION, schedule};

/// Parameters of the trainer; units, ranges and reasons stand in `pipelines/default.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// A Hugging Face folder to go on from; empty begins with drawn weights.
    pub init: String,
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
    /// Blocks of the model between two states that are kept for the backward pass; 0 keeps all graphs.
    pub checkpoint_every: usize,
    /// Prompts to train in the place of the model.
    pub adapter: Adapter,
    /// How text becomes tokens.
    pub tokenizer: Tokenizer,
    /// The encoder.
    pub model: Model,
    /// The shape of another model to begin anew, by the names of Hugging Face's `config.json`; empty takes `model`.
    pub config: Map<String, Value>,
    /// The loss.
    pub objective: Objective,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// The learning rate over the steps.
    pub schedule: Schedule,
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

/// Prompts to train in the place of the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Whether they are.
    pub on: bool,
    /// A folder with an adapter to go on from; empty draws one.
    pub from: String,
    /// Prompts of a block.
    pub tokens: usize,
    /// Blocks with prompts, the uppermost ones; 0 leaves out the lowest sixteenth.
    pub layers: usize,
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
    /// BERT's: normalised text, `##` marks a piece inside a word, unknown characters become `[UNK]`.
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
    /// What stands for a passage in the contrastive term.
    pub pooling: Pooling,
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

/// What stands for a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The last hidden state of `[CLS]`.
    Cls,
    /// The mean of the last hidden states of all tokens.
    Mean,
}

/// The loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Share of tokens that are predicted.
    pub mask: f64,
    /// Whether all pieces of a word are masked together.
    pub whole_word: bool,
    /// Mean length of a span that is left out.
    pub span_length: f64,
    /// Weight of the masked-language term.
    pub mlm_weight: f64,
    /// Weight of the next-token term.
    pub clm_weight: f64,
    /// Weight of the span term.
    pub span_weight: f64,
    /// Weight of the contrastive term.
    pub contrastive_weight: f64,
    /// Temperature of the contrastive term.
    pub temperature: f64,
    /// What a rewritten passage of kind `paraphrase` is to its anchor.
    pub paraphrase_as: ParaphraseAs,
    /// Most anchors of a microbatch.
    pub anchors: usize,
    /// Most hard negatives of an anchor.
    pub hard: usize,
    /// Tokens of a passage, with `[CLS]` and `[SEP]`.
    pub passage_tokens: usize,
}

/// What a paraphrase is to its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParaphraseAs {
    /// It means the same, so it is pulled close.
    Positive,
    /// It is pushed away like any other negative.
    Negative,
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
    /// Decay of the running mean of the weights; 0 keeps none.
    pub ema: f64,
}

/// The learning rate over the steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Name in [`schedule::SCHEDULES`].
    pub kind: String,
    /// Share of the steps in which the rate rises from 0.
    pub warmup: f64,
    /// Share of `lr` that is left at the end.
    pub floor: f64,
    /// Share of the steps in which the rate falls (`wsd` only).
    pub decay: f64,
}

impl Params {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first key that is out of its range.
    pub fn check(&self) -> Result<()> {
        let whole = [
            ("train.steps", self.steps, 1, u64::MAX),
            ("train.batch", self.batch as u64, 1, 65_536),
            ("train.accumulate", self.accumulate as u64, 1, 65_536),
            ("train.max_tokens", self.max_tokens as u64, 8, 8_192),
            ("train.shuffle", self.shuffle as u64, 0, 1 << 20),
            ("train.eval_windows", self.eval_windows as u64, 1, u64::MAX),
            ("train.keep", self.keep as u64, 1, u64::MAX),
            ("train.adapter.tokens", self.adapter.tokens as u64, 1, 4_096),
            ("train.adapter.layers", self.adapter.layers as u64, 0, 1_024),
            ("train.tokenizer.vocabulary", self.tokenizer.vocabulary as u64, 300, 1 << 24),
            ("train.tokenizer.sample_chars", self.tokenizer.sample_chars, 1_000, u64::MAX),
            ("train.tokenizer.min_frequency", self.tokenizer.min_frequency, 1, u64::MAX),
            ("train.model.hidden", self.model.hidden as u64, 1, 65_536),
            ("train.model.layers", self.model.layers as u64, 1, 1_024),
            ("train.model.heads", self.model.heads as u64, 1, self.model.hidden as u64),
            ("train.model.feed_forward", self.model.feed_forward as u64, 1, 1 << 20),
            ("train.objective.anchors", self.objective.anchors as u64, 1, 65_536),
            ("train.objective.hard", self.objective.hard as u64, 0, 1_024),
            ("train.objective.passage_tokens", self.objective.passage_tokens as u64, 8, self.max_tokens as u64),
        ];
        for (key, value, low, high) in whole {
            if !(low..=high).contains(&value) {
                return Err(out_of_range(key, value, format!("{low}..={high}")));
            }
        }
        self.check_shares()?;
        if !self.model.hidden.is_multiple_of(self.model.heads) {
            let (hidden, heads) = (self.model.hidden, self.model.heads);
            return Err(Error::usage(format!(
                "`train.model.heads` is {heads}, which does not divide `hidden`, {hidden}"
            ))
            .hint("choose heads so that each is 32 to 64 wide"));
        }
        schedule::schedule(&self.schedule.kind).map(|_| ())
    }

    fn check_shares(&self) -> Result<()> {
        let (o, a, s) = (&self.objective, &self.optimiser, &self.schedule);
        let real = [
            ("train.model.dropout", self.model.dropout, 0.0, 0.9),
            ("train.objective.mask", o.mask, 0.01, 0.9),
            ("train.objective.span_length", o.span_length, 1.0, 100.0),
            ("train.objective.mlm_weight", o.mlm_weight, 1e-6, 1e6),
            ("train.objective.clm_weight", o.clm_weight, 1e-6, 1e6),
            ("train.objective.span_weight", o.span_weight, 1e-6, 1e6),
            ("train.objective.contrastive_weight", o.contrastive_weight, 0.0, 1e6),
            ("train.objective.temperature", o.temperature, 1e-3, 10.0),
            ("train.optimiser.lr", a.lr, 0.0, 10.0),
            ("train.optimiser.beta1", a.beta1, 0.0, 0.999_999),
            ("train.optimiser.beta2", a.beta2, 0.0, 0.999_999),
            ("train.optimiser.eps", a.eps, 1e-16, 1.0),
            ("train.optimiser.weight_decay", a.weight_decay, 0.0, 10.0),
            ("train.optimiser.clip", a.clip, 0.0, 1e9),
            ("train.schedule.warmup", s.warmup, 0.0, 1.0),
            ("train.schedule.floor", s.floor, 0.0, 1.0),
            ("train.schedule.decay", s.decay, 0.0, 1.0),
            ("train.optimiser.ema", a.ema, 0.0, 0.999_999),
        ];
        for (key, value, low, high) in real {
            if !(low..=high).contains(&value) {
                return Err(out_of_range(key, value, format!("{low}..={high}")));
            }
        }
        Ok(())
    }

    /// The family that `[train.config]` names.
    ///
    /// # Errors
    /// If it names none that kpipe trains.
    pub fn family(&self) -> Result<&'static Family> {
        hugging_face::family_of(&Value::Object(self.config.clone())).map_err(Self::in_config)
    }

    /// The model that `[train.config]` describes, with so many rows of embeddings where it does not say how many.
    ///
    /// # Errors
    /// If it is no shape that kpipe computes.
    pub fn described(&self, vocabulary: usize) -> Result<Pretrained> {
        Pretrained::anew(Value::Object(self.config.clone()), vocabulary).map_err(Self::in_config)
    }

    /// The encoder of `[train.model]`, whose padding has the id `pad`.
    pub fn drawn(&self, vocabulary: usize, pad: u32) -> Pretrained {
        let model = self.encoder(vocabulary);
        let mut config = model.config();
        config["pad_token_id"] = pad.into();
        Pretrained { family: &bert::BERT, model: Box::new(model), config }
    }

    fn in_config(error: Error) -> Error {
        let told = Error::usage(error.what()).at("[train.config]");
        let told = error.hints().iter().fold(told, Error::hint);
        told.hint("its names are those of Hugging Face's `config.json`; `model_type` is needed")
    }

    /// The shape of the encoder that `[train.model]` describes, once the vocabulary is known.
    pub fn encoder(&self, vocabulary: usize) -> Bert {
        Bert {
            vocab_size: vocabulary,
            hidden_size: self.model.hidden,
            num_hidden_layers: self.model.layers,
            num_attention_heads: self.model.heads,
            intermediate_size: self.model.feed_forward,
            max_position_embeddings: self.max_tokens,
            type_vocab_size: 2,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: self.model.dropout,
            attention_probs_dropout_prob: self.model.dropout,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            tie_word_embeddings: true,
            norm: self.model.norm,
        }
    }

    /// A hash of everything that changes the bytes of a run; saving more or less often does not, nor does keeping
    /// states. What a run begins with is told by its content, not by its place.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn fingerprint(&self) -> Result<String> {
        let told = Params { save_every: 0, keep: 1, checkpoint_every: 0, init: String::new(), ..self.clone() };
        let text = serde_json::to_string(&told).map_err(|cause| Error::usage(format!("`[train]`: {cause}")))?;
        Ok(format!("{:032x}", xxh3_128(format!("{VERSION}\n{text}").as_bytes())))
    }
}

fn out_of_range(key: &str, value: impl std::fmt::Display, range: String) -> Error {
    Error::usage(format!("`{key}` is {value}, outside {range}"))
        .hint("`pipelines/default.toml` gives each key with its default and the reason for it")
}

#[cfg(test)]
mod tests {
    use crate::train::fixture::default_params;

    #[test]
    fn the_defaults_are_in_range() {
        default_params().check().unwrap();
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let mut params = default_params();
        params.objective.mask = f64::NAN;
        assert!(params.check().unwrap_err().to_string().contains("`train.objective.mask` is NaN"));
        let mut params = default_params();
        params.model.heads = 3;
        assert!(params.check().unwrap_err().to_string().contains("does not divide"));
        let mut params = default_params();
        params.schedule.kind = "lineer".into();
        assert!(params.check().unwrap_err().to_string().contains("linear"));
    }

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
