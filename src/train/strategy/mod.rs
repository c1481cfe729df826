//! How a run goes beyond its loss: what it puts into the model, what moves when, what it keeps
//! beside the weights.
//!
//! To add a strategy: one file with a [`Kind`], one `mod` line, one line in [`STRATEGIES`], and its
//! section `[train.strategy.<name>]` in `pipelines/default.toml`. The loop, the engine, the
//! optimiser, the checkpoints, the metrics and the plan take it from there.

pub mod adapter;
pub mod attention_kl;
pub mod average;
pub mod ema;
mod maps;
mod mean;
pub mod mining;
pub mod momentum;
pub mod panel;
pub mod teacher;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
pub mod unfreeze;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use crate::error::Result;
use crate::train::data::again::Again;
use crate::train::data::tokenizer::Tokenizer;
use crate::train::model::moves::Moves;
use crate::train::model::parameters::Declared;
use crate::train::model::{Architecture, Family, Inputs, Parameters, Weights};
use crate::train::params::{Params, Section};

/// Where the sections of strategies stand in a pipeline file.
const PLACE: &str = "train.strategy";

/// Every strategy, in the order they are asked.
pub static STRATEGIES: &[&Kind] = &[
    &adapter::ADAPTER,
    &ema::EMA,
    &average::AVERAGE,
    &momentum::MOMENTUM,
    &teacher::TEACHER,
    &unfreeze::UNFREEZE,
    &mining::MINING,
    &attention_kl::ATTENTION_KL,
    &panel::PANEL,
    #[cfg(test)]
    &toy::TOY,
];

/// Makes a strategy of its section; none where that says that it is off.
type Build = fn(Section) -> Result<Option<Box<dyn Strategy>>>;

/// What a strategy is, and how its section of a pipeline file makes one.
pub struct Kind {
    /// Name, that of its section and of its state in a checkpoint.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The key of its section that turns it on.
    pub switch: &'static str,
    /// Makes one of its section; `None` where that says that it is off.
    pub build: Build,
}

impl Kind {
    /// The section of a pipeline file that it is set in.
    pub fn section(&self) -> String {
        format!("{PLACE}.{}", self.name)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The step that is done next, from 1.
    pub step: u64,
    /// Steps in all.
    pub total: u64,
}

/// So many steps, or where `share` is above 0, that share of the `total`.
pub fn steps_or_share(steps: u64, share: f64, total: u64) -> u64 {
    if share > 0.0 { (share * total as f64).round_ties_even() as u64 } else { steps }
}

/// What a run trains: its parameters as they were declared, and the model's steps.
pub struct Layout {
    /// The parameters that the run trains.
    pub declared: Vec<Declared>,
    /// Steps of the model.
    pub steps: usize,
}

impl Layout {
    /// How many numbers are trained.
    pub fn n_numbers(&self) -> u64 {
        self.declared.iter().map(Declared::n_numbers).sum()
    }
}

/// A few rows, the same ones throughout a run, for strategies that look at what the model does
/// with them.
pub struct Sample<'a> {
    make: Box<dyn Fn() -> Result<Inputs> + 'a>,
    made: OnceLock<Inputs>,
}

impl<'a> Sample<'a> {
    /// Rows that are made when somebody asks for them.
    pub fn new(make: impl Fn() -> Result<Inputs> + 'a) -> Self {
        Sample { make: Box::new(make), made: OnceLock::new() }
    }

    /// The rows.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn inputs(&self) -> Result<&Inputs> {
        match self.made.get() {
            Some(made) => Ok(made),
            None => (self.make)().map(|made| self.made.get_or_init(|| made)),
        }
    }
}

/// What a run shows to a strategy, outside of any graph.
#[derive(Clone, Copy)]
pub struct Probe<'a> {
    /// The model.
    pub model: &'a dyn Architecture,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// Rows to look at it with.
    pub sample: &'a Sample<'a>,
    /// Seed of every draw of the run.
    pub seed: u64,
    /// How text is read and computed, for strategies that ask the model something; none where
    /// nobody does.
    pub reader: Option<Reader<'a>>,
}

/// How a run reads text and computes.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The model's family.
    pub family: &'static Family,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// What is computed with.
    pub dtype: DType,
    /// Where.
    pub device: &'a Device,
}

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub struct Did {
    /// The mean of each objective's term, before its weight.
    pub losses: BTreeMap<String, f64>,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// What the documents of the step came to, where its language objective read them.
    pub documents: Vec<DocumentLoss>,
}

/// What a document came to in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DocumentLoss {
    /// Where it stands in the order.
    pub seq: u64,
    /// What stands for its id: [`crate::train::data::again::name`].
    pub name: u64,
    /// Mean loss of its labels, in nats, before any weight.
    pub loss: f32,
    /// The same less that of the teacher, where there is one.
    pub excess: Option<f32>,
}

/// What a strategy keeps in a checkpoint.
#[derive(Default)]
pub struct Saved {
    /// Numbers and words.
    pub state: Value,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// How a run goes beyond its loss. Everything but [`Strategy::build`](Kind::build) has an answer
/// that changes nothing.
pub trait Strategy: Send {
    /// Changes the model before its parameters are declared; `origin` is the folder that the run
    /// goes on from.
    ///
    /// # Errors
    /// If the model cannot be changed so.
    fn adapt(&self, model: &mut dyn Architecture, origin: Option<&Path>) -> Result<()> {
        let _ = (model, origin);
        Ok(())
    }

    /// Parameters it trains beside the model's.
    fn declare(&self, model: &dyn Architecture) -> Vec<Declared> {
        let _ = model;
        Vec::new()
    }

    /// Whether the run trains this parameter at any time. One that no run trains takes no memory
    /// for gradients and means.
    fn trains(&self, parameter: &Declared) -> bool {
        let _ = parameter;
        true
    }

    /// What its own parameters begin with; drawn where this gives none.
    ///
    /// # Errors
    /// If a file cannot be read.
    fn read(
        &self,
        model: &dyn Architecture,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Parameters>> {
        let _ = (model, dtype, device);
        Ok(None)
    }

    /// Files that [`Strategy::read`] reads: a run that begins with others is another run.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Begins with the parameters of a fresh run.
    ///
    /// # Errors
    /// If the device fails.
    fn begin(&mut self, run: &Probe) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// What moves in a step. Pure in the step and in what was saved.
    fn moves(&self, at: At, layout: &Layout) -> Moves {
        let _ = (at, layout);
        Moves::all()
    }

    /// Looks at the run before a step.
    ///
    /// # Errors
    /// If the device fails.
    fn before(&mut self, at: At, run: &Probe) -> Result<()> {
        let _ = (at, run);
        Ok(())
    }

    /// Looks at the run behind a step that moved the weights.
    ///
    /// # Errors
    /// If the device fails.
    fn after(&mut self, at: At, run: &Probe, did: &Did) -> Result<()> {
        let _ = (at, run, did);
        Ok(())
    }

    /// What is read again beside the order of the shards, as it stands behind the last step.
    fn again(&self) -> Option<&Again> {
        None
    }

    /// Told of what a step read again, by its `seq`, whether it moved the weights or not.
    fn read_again(&mut self, seqs: &[u64]) {
        let _ = seqs;
    }

    /// The model whose weights objectives learn from, where it is not the one that is trained.
    fn shape(&self) -> Option<&dyn Architecture> {
        None
    }

    /// Weights that objectives learn from.
    fn teacher(&self, parameters: &Parameters) -> Option<Weights> {
        let _ = parameters;
        None
    }

    /// Where what its teacher shows is kept on disk, if anywhere.
    fn cache(&self) -> Option<&Path> {
        None
    }

    /// Weights that are measured and exported beside the model's.
    fn beside(&self, parameters: &Parameters) -> Option<Weights> {
        let _ = parameters;
        None
    }

    /// Bytes it takes beside the run, with numbers of `number` bytes.
    fn extra_bytes(&self, layout: &Layout, number: u64) -> u64 {
        let _ = (layout, number);
        0
    }

    /// What it needs to go on.
    fn save(&self) -> Saved {
        Saved::default()
    }

    /// Goes on from what it saved.
    ///
    /// # Errors
    /// If that is not what it saves.
    fn load(&mut self, kept: Saved, run: &Probe) -> Result<()> {
        let _ = (kept, run);
        Ok(())
    }

    /// Its numbers for the line of a step in `metrics.jsonl`, by name.
    fn tell(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// Something a person must know about a run of `total` steps, told once.
    fn note(&self, parameters: &Parameters, total: u64) -> Option<String> {
        let _ = (parameters, total);
        None
    }

    /// Writes what the run learned in the place of the whole model; `None` leaves the model to be
    /// written.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn write(
        &self,
        model: &dyn Architecture,
        folder: &Path,
        weights: &Weights,
    ) -> Result<Option<PathBuf>> {
        let _ = (model, folder, weights);
        Ok(None)
    }
}

/// A strategy that is on in a run.
pub struct Active {
    /// What it is.
    pub kind: &'static Kind,
    /// Itself.
    pub strategy: Box<dyn Strategy>,
}

/// The strategies that a run's parameters turn on.
///
/// # Errors
/// If a section does not fit.
pub fn chosen(params: &Params) -> Result<Vec<Active>> {
    let mut active = Vec::new();
    for kind in STRATEGIES {
        let Some(section) = params.strategy.section(PLACE, kind.name) else { continue };
        if let Some(strategy) = (kind.build)(section)? {
            active.push(Active { kind, strategy });
        }
    }
    Ok(active)
}

/// Whether all strategies let the run train a parameter.
pub fn trains(strategies: &[Active], parameter: &Declared) -> bool {
    strategies.iter().all(|active| active.strategy.trains(parameter))
}

/// What moves by all strategies.
///
/// # Errors
/// If two of them contradict one another.
pub fn moves(strategies: &[Active], at: At, layout: &Layout) -> Result<Moves> {
    let all = strategies.iter().map(|active| active.strategy.moves(at, layout));
    all.into_iter().try_fold(Moves::all(), Moves::meet)
}
