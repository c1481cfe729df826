//! The models: four families as steps over named weights, and the engine that differentiates them.
//!
//! A family is one file with an [`Architecture`]: its shape by the names of Hugging Face's
//! `config.json`, its parameters by the names of its safetensors files, and its steps (embed, then
//! block after block), each a pure function. [`engine`] computes and differentiates the steps, of
//! which `taps` shows the inside to whoever asks; [`adapter`] adds prompts to a model that is left
//! as it is; [`hugging_face`] reads and writes folders, [`hub`] fetches them. To add a family: one
//! file, one `mod` line, one line in [`FAMILIES`].
//!
//! The functions take [`Weights`], not variables: given the variables they record a graph to
//! differentiate; given detached tensors they record none, which is how evaluation runs.

pub mod adapter;
pub mod bert;
mod defaults;
pub mod engine;
pub mod gpt2;
pub mod gradients;
pub mod hub;
pub mod hugging_face;
pub mod inputs;
mod layers;
pub mod llama;
pub mod moves;
pub mod parameters;
pub mod t5;
mod taps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::train::kernels::{self, Losses, Targets};

pub use adapter::Adapter;
pub use engine::Engine;
pub use inputs::{Inputs, Tokens, View};
pub use layers::Pass;
pub use parameters::{Declared, Parameters, Weights};
pub use taps::{Needs, Seen, Tap};

/// Every family.
pub static FAMILIES: &[&Family] = &[&bert::BERT, &gpt2::GPT2, &llama::LLAMA, &t5::T5];

/// Reads a shape from a `config.json`, told whether the file has a tensor.
pub type Read = fn(&Value, &dyn Fn(&str) -> bool) -> crate::error::Result<Box<dyn Architecture>>;

/// What a family is.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// The values of `model_type` in a `config.json` that name it.
    pub model_types: &'static [&'static str],
    /// What it is, in one line.
    pub about: &'static str,
    /// How it learns language.
    pub language: Language,
    /// Reads the shape from a `config.json`; told which tensors the file has, by
    /// [`Family::canonical`] name.
    pub read: Read,
    /// The name a tensor of a published file has in ours; `None` where it is no parameter we train.
    pub canonical: fn(&str) -> Option<String>,
    /// Names under which transformers wants a copy of another tensor, where that one exists.
    pub copies: &'static [(&'static str, &'static str)],
    /// What a tokenizer that is trained for it knows beside pieces of text.
    pub special: Special,
}

/// The special tokens of a tokenizer.
#[derive(Clone, Copy, Debug)]
pub struct Special {
    /// Their names, by id from 0.
    pub tokens: &'static [&'static str],
    /// How many of `<extra_id_0>` and so on come behind them.
    pub sentinels: usize,
    /// Begins every row.
    pub before: Option<&'static str>,
    /// Ends every row.
    pub behind: Option<&'static str>,
}

impl Special {
    /// All names, by id.
    pub fn names(&self) -> Vec<String> {
        let sentinels = (0..self.sentinels).map(|nth| format!("<extra_id_{nth}>"));
        self.tokens.iter().map(|token| (*token).to_string()).chain(sentinels).collect()
    }
}

/// The family that a `model_type` names; `None` where kpipe trains none of that kind.
pub fn family(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types.contains(&model_type)).copied()
}

/// How a family learns language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// From both sides: masked tokens are predicted.
    Masked,
    /// From the left: the next token is predicted.
    Causal,
    /// Spans that were left out are restored.
    Spans,
}

/// How large a model is where it meets the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows of the word embeddings.
    pub vocabulary: usize,
    /// Width of the hidden state.
    pub width: usize,
    /// Longest row, where there is a limit.
    pub max_tokens: Option<usize>,
}

/// A model as pure functions: steps from state to state, then the head.
pub trait Architecture: Send + Sync {
    /// Every parameter.
    fn declare(&self) -> Vec<Declared>;
    /// How large it is.
    fn size(&self) -> Size;
    /// How many steps there are; the first takes no state.
    fn steps(&self) -> usize;
    /// The first step whose state is of the rows that are decoded; [`Architecture::steps`] where
    /// none is.
    fn turn(&self) -> usize {
        self.steps()
    }
    /// The state behind a step.
    ///
    /// # Errors
    /// If the shapes do not fit or the device fails.
    fn step(
        &self,
        pass: &Pass,
        inputs: &Inputs,
        step: usize,
        state: &[Tensor],
    ) -> Result<Vec<Tensor>>;
    /// The last hidden state, `[rows, length, width]`, of the last step's state.
    ///
    /// # Errors
    /// If the device fails.
    fn hidden(&self, pass: &Pass, state: &[Tensor]) -> Result<Tensor>;
    /// What the vocabulary logits of hidden states `[n, width]` are the product of.
    ///
    /// # Errors
    /// If the device fails.
    fn head(&self, pass: &Pass, hidden: &Tensor) -> Result<Head>;
    /// The `config.json`.
    fn config(&self) -> Value;
    /// What a training pass keeps of each step, for `rows` of `length` tokens and, where it
    /// decodes, of `decoded` tokens.
    fn kept(&self, rows: usize, length: usize, decoded: usize) -> Vec<Activations>;
    /// Puts prompts, so many to a block, into the uppermost blocks: `layers` of them, or all but a
    /// sixteenth where it is 0.
    ///
    /// # Errors
    /// If it has fewer blocks, or its family takes no adapter.
    fn adapt(&mut self, tokens: usize, layers: usize) -> crate::error::Result<&Adapter> {
        let _ = (tokens, layers);
        Err(Error::usage("an adapter can be put onto a LLaMA or a GPT-2 only")
            .hint("leave `--adapter` out"))
    }
    /// The adapter that was put onto it.
    fn adapter(&self) -> Option<&Adapter> {
        None
    }
}

/// Numbers that are kept of a step between forward and backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activations {
    /// Of its state.
    pub state: u64,
    /// Of the graph behind it, its state left out: outputs of operations that their backward needs,
    /// or that candle's graph holds on to.
    pub graph: u64,
    /// Of its attention weights, where somebody looks at them: those that nothing is seen of too.
    pub maps: u64,
}

impl Activations {
    /// Of `tokens` rows of a hidden state of this `width`, with a graph so many times as wide, and
    /// attention weights.
    fn of(tokens: usize, width: usize, graph: usize, weights: usize) -> Self {
        let graph = (tokens * graph + weights) as u64;
        Activations { state: (tokens * width) as u64, graph, maps: 0 }
    }

    /// The same with so many attention weights.
    fn looking(self, maps: usize) -> Self {
        Activations { maps: maps as u64, ..self }
    }
}

/// Vocabulary logits before the last product: `x · weightᵀ + bias`.
pub struct Head {
    /// `[n, width]`.
    pub x: Tensor,
    /// `[vocabulary, width]`; the word embeddings themselves where the two are tied.
    pub weight: Tensor,
    /// `[vocabulary]`.
    pub bias: Option<Tensor>,
}

impl Head {
    /// The logits, `[n, vocabulary]`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn logits(&self) -> Result<Tensor> {
        kernels::linear(&self.x, &self.weight, self.bias.as_ref())
    }

    /// Sum of the cross-entropies of the logits against labels; see
    /// [`kernels::linear_cross_entropy_sum`].
    ///
    /// # Errors
    /// If the labels do not fit or the device fails.
    pub fn cross_entropy_sum(&self, targets: &Targets, expected: f64) -> Result<Tensor> {
        kernels::linear_cross_entropy_sum(
            &self.x,
            &self.weight,
            self.bias.as_ref(),
            targets,
            expected,
        )
    }

    /// The cross-entropies of the logits against labels, one for each, outside of any graph.
    ///
    /// # Errors
    /// If the labels do not fit or the device fails.
    pub fn cross_entropies(&self, labels: &[u32]) -> Result<Vec<f32>> {
        let apart = Head {
            x: self.x.detach(),
            weight: self.weight.detach(),
            bias: self.bias.as_ref().map(Tensor::detach),
        };
        let losses = Losses::default();
        let targets = Targets { losses: Some(&losses), ..Targets::of(labels) };
        apart.cross_entropy_sum(&targets, 1.0)?;
        Ok(losses.take())
    }
}

/// The last hidden state without a graph, for measuring.
///
/// # Errors
/// If the shapes do not fit or the device fails.
pub fn infer(model: &dyn Architecture, pass: &Pass, inputs: &Inputs) -> Result<Tensor> {
    Ok(show(model, pass, inputs, &Needs::default())?.last)
}

/// What a pass without a graph shows.
///
/// # Errors
/// If the shapes do not fit or the device fails.
pub fn show(model: &dyn Architecture, pass: &Pass, inputs: &Inputs, needs: &Needs) -> Result<Seen> {
    let (mut state, mut hidden, mut attention) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for step in 0..model.steps() {
        let tap = needs.attention.contains(&step).then(Tap::default);
        state = model.step(&Pass { tap: tap.as_ref(), ..*pass }, inputs, step, &state)?;
        if let Some(tap) = tap {
            attention.insert(step, tap.take());
        }
        if needs.hidden.contains(&step) {
            hidden.insert(step, state[0].clone());
        }
    }
    Ok(Seen { last: model.hidden(pass, &state)?, hidden, attention })
}

/// A shape from a `config.json`.
fn from_json<T: DeserializeOwned>(config: &Value) -> crate::error::Result<T> {
    serde_json::from_value(config.clone())
        .map_err(|cause| Error::data(format!("`config.json`: {cause}")))
}

/// Largest number a shape may hold.
const LARGEST: usize = 1 << 24;

/// Refuses a shape with a number that is 0 or out of all bounds, by its name in `config.json`.
fn check_sizes(sizes: &[(&str, usize)]) -> crate::error::Result<()> {
    match sizes.iter().find(|(_, size)| !(1..=LARGEST).contains(size)) {
        Some((name, size)) => {
            Err(Error::data(format!("`config.json`: `{name}` is {size}, outside 1..={LARGEST}")))
        }
        None => Ok(()),
    }
}

/// Refuses `whole` that `parts` do not divide.
fn check_divides(parts: (&str, usize), whole: (&str, usize)) -> crate::error::Result<()> {
    if whole.1.is_multiple_of(parts.1) {
        return Ok(());
    }
    let what = format!(
        "`config.json`: `{}` is {}, which does not divide `{}`, {}",
        parts.0, parts.1, whole.0, whole.1
    );
    Err(Error::data(what))
}

/// Refuses a share of activations to be dropped that is none.
fn check_shares(shares: &[(&str, f64)]) -> crate::error::Result<()> {
    match shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
        Some((name, share)) => {
            Err(Error::data(format!("`config.json`: `{name}` is {share}, outside [0, 1)")))
        }
        None => Ok(()),
    }
}

/// A `config.json` with the names that transformers asks for.
fn described(kind: &str, class: &str, shape: &impl Serialize) -> Value {
    let mut config = serde_json::json!({ "model_type": kind, "architectures": [class] });
    if let (Value::Object(config), Ok(Value::Object(shape))) =
        (&mut config, serde_json::to_value(shape))
    {
        config.extend(shape.into_iter().filter(|(_, value)| !value.is_null()));
    }
    config
}
