//! The loss terms. A step's loss is `Σ weight · (sum over the step / count over the step)` over all
//! objectives.
//!
//! To add an objective: one file with a [`Kind`], one `mod` line, one line in [`OBJECTIVES`], and
//! its section `[train.objective.<name>]` in `pipelines/default.toml`, which has a `weight`. An
//! objective says which rows it learns from ([`RowKind`]), what it declares beside the model, and
//! what of the model's inside it wants to see ([`Needs`]); the loop, the checkpoints, the metrics
//! and the plan take it from there.

pub mod clm;
pub mod contrastive;
pub mod distill;
pub mod distill_attention;
pub mod distill_cls;
pub mod distill_hidden;
pub mod mlm;
pub mod momentum;
#[cfg(test)]
mod parity_tests;
pub mod prefix;
pub mod span;
#[cfg(test)]
mod toy;

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result as Computed, Tensor};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::train::data::rows::passages::Compared;
use crate::train::data::rows::{RowKind, RowSet, Task};
use crate::train::data::tokenizer::Frame;
use crate::train::kernels::{Losses, Targets};
use crate::train::model::parameters::{Declared, Part, Role};
use crate::train::model::{Architecture, Inputs, Language, Needs, Pass, Seen, Tokens};
use crate::train::params::{How, Mixed, Params, Section};
use crate::train::strategy::At;

/// Where the sections of objectives stand in a pipeline file.
const PLACE: &str = "train.objective";

/// Every objective.
pub static OBJECTIVES: &[&Kind] = &[
    &mlm::MLM,
    &clm::CLM,
    &span::SPAN,
    &prefix::PREFIX,
    &momentum::MOMENTUM,
    &distill::DISTILL,
    &distill_cls::DISTILL_CLS,
    &distill_hidden::DISTILL_HIDDEN,
    &distill_attention::DISTILL_ATTENTION,
    &contrastive::CONTRASTIVE,
    #[cfg(test)]
    &toy::TOY,
];

/// What an objective is, and how its section of a pipeline file makes one.
pub struct Kind {
    /// Name, that of its section and of its number in `metrics.jsonl`.
    pub name: &'static str,
    /// What it teaches, in one line.
    pub about: &'static str,
    /// Unit of the term before its weight.
    pub unit: &'static str,
    /// The models it is for.
    pub languages: &'static [Language],
    /// The rows it learns from, for a model that learns language in this way.
    pub rows: fn(Language) -> RowKind,
    /// The task it teaches language by, where it does: `[train.mixed]` says how much of each.
    pub task: Option<Task>,
    /// Makes one of its section.
    pub build: fn(Section) -> Result<Box<dyn Objective>>,
}

/// A loss term: a pass of the model over the rows of a kind, and a sum computed from what is seen
/// of it.
pub trait Objective: Send + Sync {
    /// Its weight at a step; pure.
    fn weight(&self, at: At) -> f64;

    /// Parameters it trains beside the model, as parts with [`Role::Beside`] its name; `teacher` is
    /// what it learns from, where that is another model.
    fn declare(
        &self,
        model: &dyn Architecture,
        teacher: Option<&dyn Architecture>,
    ) -> Vec<Declared> {
        let _ = (model, teacher);
        Vec::new()
    }

    /// Whether its gradient reaches a parameter: of the model all, if nothing else is said.
    fn reaches(&self, part: &Part) -> bool {
        !matches!(part.role, Role::Beside(_))
    }

    /// What it wants to see beside the last hidden state. Whatever nobody wants is not kept.
    fn needs(&self, model: &dyn Architecture) -> Needs {
        let _ = model;
        Needs::default()
    }

    /// The same of its teacher.
    fn teacher_needs(&self, model: &dyn Architecture, teacher: &dyn Architecture) -> Needs {
        let _ = teacher;
        self.needs(model)
    }

    /// What its sum is divided by, for the rows of one microbatch; 0 where it has nothing to teach.
    fn count(&self, rows: &RowSet) -> usize;

    /// Its sum over the rows, from what the model showed of them. `teacher` is what the weights
    /// that a strategy keeps show of the same rows, without a graph, where it needs one.
    ///
    /// # Errors
    /// If the shapes do not fit or the device fails.
    fn sum(
        &self,
        cx: &Forward,
        rows: &RowSet,
        seen: &Seen,
        teacher: Option<&Taught>,
    ) -> Computed<Tensor>;

    /// How it compares the rows of all microbatches of a step with one another, where it does.
    fn gathered(&self) -> Option<&dyn Gathered> {
        None
    }
}

/// An objective whose rows of all microbatches are compared at once, in two passes (GradCache,
/// arXiv:2101.06983): vectors of all rows without a graph, the gradient of the loss by them, and
/// each microbatch again with a graph, into which that gradient flows.
pub trait Gathered {
    /// A vector for each passage, in the order of [`Compared::rows`].
    ///
    /// # Errors
    /// If the shapes do not fit or the device fails.
    fn vectors(&self, cx: &Forward, rows: &RowSet, seen: &Seen) -> Computed<Tensor>;

    /// The sum over passages with these vectors.
    ///
    /// # Errors
    /// If the shapes do not fit or the device fails.
    fn sum_of(&self, cx: &Forward, compared: &Compared, vectors: &Tensor) -> Computed<Tensor>;
}

/// What single labels came to, as the objective tells that a model learns language by.
#[derive(Default)]
pub struct Told(Mutex<Vec<LabelLoss>>);

/// What a label came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelLoss {
    /// `seq` of its document.
    pub document: u64,
    /// Its loss, before any weight.
    pub loss: f32,
    /// The same less that of the teacher, where one was shown.
    pub excess: Option<f32>,
}

impl Told {
    /// All that was told.
    pub fn all(self) -> Vec<LabelLoss> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, more: impl Iterator<Item = LabelLoss>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
    }
}

/// A teacher, and what it showed of some rows.
pub struct Taught<'a> {
    /// Its model; that of the student where it has the same shape.
    pub model: &'a dyn Architecture,
    /// Its weights; nothing is dropped.
    pub pass: Pass<'a>,
    /// What it showed.
    pub seen: Seen,
}

impl Kind {
    /// The key that a section of this objective begins with.
    pub fn section(&self) -> String {
        format!("{PLACE}.{}", self.name)
    }

    /// Whether it has a section and a weight there.
    ///
    /// # Errors
    /// If the section does not fit.
    pub fn has_weight(&self, params: &Params) -> Result<bool> {
        #[derive(Deserialize)]
        struct Weighted {
            weight: f64,
        }
        let section = params.objective.section(PLACE, self.name);
        section.map_or(Ok(false), |section| Ok(section.parse::<Weighted>()?.weight != 0.0))
    }

    /// The objective of a run; `None` where it has no section or no weight at any time.
    fn active(&self, params: &Params) -> Result<Option<Box<dyn Objective>>> {
        match params.objective.section(PLACE, self.name) {
            Some(section) if self.has_weight(params)? => Ok(Some((self.build)(section)?)),
            _ => Ok(None),
        }
    }

    /// Its share of the loss by `[train.mixed]`: that of its task.
    fn share(&self, mixed: Mixed, language: Language) -> f64 {
        match self.task {
            None => 1.0,
            Some(task) if !mixed.on => f64::from(u8::from(task == Task::own(language))),
            Some(Task::Restore) => 1.0 - mixed.alpha,
            Some(Task::Continue) => mixed.alpha,
        }
    }
}

/// An objective that has a weight in a run.
pub struct Active {
    /// What it is.
    pub kind: &'static Kind,
    /// Itself.
    pub objective: Box<dyn Objective>,
    /// The rows it learns from.
    pub rows: RowKind,
    /// Its share beside its own weight, by `[train.mixed]`.
    share: f64,
    /// Whether its microbatches are drawn by that share, which is then no weight.
    is_drawn: bool,
}

impl Active {
    /// Its weight at a step in which this share of the microbatches has its rows.
    pub fn weight(&self, at: At, seen: f64) -> f64 {
        self.objective.weight(at) * if self.is_drawn { seen } else { self.share }
    }
}

/// The objectives of a run: those that teach, and those that have a weight and do not.
pub struct Chosen {
    /// Those that teach.
    pub active: Vec<Active>,
    /// Those that are not for models that learn in this way.
    pub unfit: Vec<&'static Kind>,
    /// Those of a task that `[train.mixed]` gives no share.
    pub unshared: Vec<&'static Kind>,
}

/// The objectives that a run's parameters give a weight.
///
/// # Errors
/// If a section does not fit.
pub fn chosen(params: &Params, language: Language) -> Result<Chosen> {
    let mut chosen = Chosen { active: Vec::new(), unfit: Vec::new(), unshared: Vec::new() };
    for kind in OBJECTIVES {
        let Some(objective) = kind.active(params)? else { continue };
        let (share, rows) = (kind.share(params.mixed, language), (kind.rows)(language));
        let is_drawn = kind.task.is_some() && params.mixed.on && params.mixed.how == How::Sampled;
        match kind.languages.contains(&language) {
            false => chosen.unfit.push(kind),
            true if share == 0.0 => chosen.unshared.push(kind),
            true => chosen.active.push(Active { kind, objective, rows, share, is_drawn }),
        }
    }
    Ok(chosen)
}

/// The objective that measures how well a model knows language: that of its own rows.
///
/// # Errors
/// If its section does not fit.
pub fn of_language(params: &Params, language: Language) -> Result<Box<dyn Objective>> {
    let own = Some(Task::own(language));
    let kind =
        OBJECTIVES.iter().find(|kind| kind.task == own && kind.languages.contains(&language));
    let objective = kind.map(|kind| kind.active(params)).transpose()?.flatten();
    objective.ok_or_else(|| {
        Error::usage("the objective that the model learns language by has no weight")
    })
}

/// What an objective computes with.
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    /// The model.
    pub model: &'a dyn Architecture,
    /// Weights and dropout.
    pub pass: Pass<'a>,
    /// What stands around the pieces of a row.
    pub frame: &'a Frame,
    /// What the sum will be multiplied with before it is differentiated.
    pub share: f64,
    /// What the rows are of.
    pub rows: RowKind,
    /// What the model computes with.
    pub dtype: DType,
    /// Where it is computed.
    pub device: &'a Device,
    /// Who wants to know what single labels come to.
    pub told: Option<&'a Told>,
}

impl Forward<'_> {
    /// What the model reads for these rows.
    ///
    /// # Errors
    /// If there is no row or the device fails.
    pub fn inputs(&self, rows: &RowSet) -> Computed<Inputs> {
        let mut inputs = rows.inputs(self.frame.pad, self.dtype, self.device)?;
        inputs.tokens.view = self.rows.view();
        Ok(inputs)
    }
}

impl Forward<'_> {
    /// The state that stands for a whole row, `[rows, width]` of `[rows, length, width]`: that of
    /// its first token, or of the last one of a model that looks back only, which has read all of
    /// the row there.
    fn whole(&self, tokens: &Tokens, hidden: &Tensor) -> Computed<Tensor> {
        match self.frame.language {
            Language::Masked | Language::Spans => hidden.narrow(1, 0, 1)?.squeeze(1),
            Language::Causal => {
                let last = tokens.last()?.to_dtype(hidden.dtype())?.unsqueeze(2)?;
                hidden.broadcast_mul(&last)?.sum(1)
            }
        }
    }
}

/// An objective that predicts the labelled tokens of its rows, or of them only those whose loss is
/// furthest above a teacher's (selective language modelling, Rho-1, arXiv:2404.07965).
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    /// Weight of the term, above 0.
    weight: f64,
    /// Share of the labels that it learns, (0, 1].
    keep: f64,
}

/// See [`Labels`].
fn language(section: Section) -> Result<Box<dyn Objective>> {
    Ok(Box::new(section.parse::<Labels>()?))
}

impl Labels {
    /// How many of `n` labels are learned.
    fn kept(&self, n: usize) -> usize {
        if self.keep < 1.0 { (self.keep * n as f64).ceil() as usize } else { n }
    }
}

/// The numbers of the `n` largest values, in order; of equal ones the first.
fn largest(values: &[f32], n: usize) -> Vec<u32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    let mut kept: Vec<u32> = order.into_iter().take(n).map(|at| at as u32).collect();
    kept.sort_unstable();
    kept
}

impl Objective for Labels {
    fn weight(&self, _: At) -> f64 {
        self.weight
    }

    fn needs(&self, _: &dyn Architecture) -> Needs {
        let teacher = (self.keep < 1.0).then_some(distill::TEACHER);
        Needs { teacher, ..Needs::default() }
    }

    fn count(&self, rows: &RowSet) -> usize {
        self.kept(rows.labels.len())
    }

    /// Sum of the cross-entropy at all labelled places, each by its weight; only there is the head
    /// computed. Without a teacher all are learned: so a model is measured.
    fn sum(
        &self,
        cx: &Forward,
        rows: &RowSet,
        seen: &Seen,
        teacher: Option<&Taught>,
    ) -> Computed<Tensor> {
        let mut tokens: Vec<u32> = rows.labels.iter().map(|label| label.token).collect();
        let mut weights: Vec<f32> = rows.labels.iter().map(|label| label.weight).collect();
        let mut chosen = rows.predicted(&seen.last)?;
        let theirs = |taught: &Taught| {
            let chosen = rows.predicted(&taught.seen.last)?;
            taught.model.head(&taught.pass, &chosen)?.cross_entropies(&tokens)
        };
        let theirs: Option<Vec<f32>> = teacher.map(theirs).transpose()?;

        let mut ours = None;
        if let Some(theirs) = theirs.as_ref().filter(|_| self.keep < 1.0) {
            let own = cx.model.head(&cx.pass, &chosen)?.cross_entropies(&tokens)?;
            let excess: Vec<f32> = own.iter().zip(theirs).map(|(own, other)| own - other).collect();
            let kept = largest(&excess, self.kept(tokens.len()));
            tokens = kept.iter().map(|at| tokens[*at as usize]).collect();
            weights = kept.iter().map(|at| weights[*at as usize]).collect();
            let n = kept.len();
            chosen = chosen.index_select(&Tensor::from_vec(kept, n, cx.device)?, 0)?;
            ours = Some(own);
        }

        let losses = Losses::default();
        let targets = Targets {
            labels: &tokens,
            weights: weights.iter().any(|weight| *weight != 1.0).then_some(&weights),
            losses: cx.told.map(|_| &losses),
        };
        let sum = cx.model.head(&cx.pass, &chosen)?.cross_entropy_sum(&targets, cx.share)?;
        if let Some(told) = cx.told {
            let ours = ours.unwrap_or_else(|| losses.take());
            told.add(rows.labels.iter().zip(ours).enumerate().map(|(at, (label, loss))| {
                let excess = theirs.as_ref().map(|theirs| loss - theirs[at]);
                LabelLoss { document: label.document, loss, excess }
            }));
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::again::Again;
    use crate::train::data::rows::Label;
    use crate::train::data::shards::Shards;
    use crate::train::data::stream::Document;
    use crate::train::data::tokenizer::Tokenizer;
    use crate::train::data::windows::{Position, Windows};
    use crate::train::fixture::{
        batcher, checkpoint_folder, default_params, grammar, shard_folder, tiny_encoder,
        tiny_params,
    };
    use crate::train::kernels::{self, DropoutKey};
    use crate::train::model::bert::Bert;
    use crate::train::model::gradients::{Gradients, empty};
    use crate::train::model::parameters::Init;
    use crate::train::model::{Engine, FAMILIES, Parameters, Weights, hugging_face, show};
    use crate::train::params::Norm;
    use std::collections::BTreeMap;

    #[test]
    fn objectives_are_named_once_and_explained_and_have_a_section_with_a_weight() {
        let params = default_params();
        for (idx, kind) in OBJECTIVES.iter().enumerate() {
            assert!(!kind.about.is_empty() && !kind.unit.is_empty() && !kind.languages.is_empty());
            assert!(OBJECTIVES[..idx].iter().all(|other| other.name != kind.name));
            // A weight of 0 leaves it out, so its other keys are read here.
            let section = params.objective.section(PLACE, kind.name);
            assert!(section.is_some() || kind.name == "toy", "{} has no section", kind.name);
            section.into_iter().for_each(|section| drop((kind.build)(section).unwrap()));
        }

        for language in LANGUAGES {
            of_language(&params, language).unwrap();
            let Chosen { active, unfit, unshared } = chosen(&params, language).unwrap();
            let tasks: Vec<RowKind> = active
                .iter()
                .filter(|active| active.kind.task.is_some())
                .map(|active| active.rows)
                .collect();
            assert_eq!(tasks, [RowKind::of_language(language)], "its own alone");
            let is_on = |kind: &&&'static Kind| kind.active(&params).unwrap().is_some();
            let n_on = OBJECTIVES.iter().filter(is_on).count();
            assert_eq!(active.len() + unfit.len() + unshared.len(), n_on);
        }
    }

    const LANGUAGES: [Language; 3] = [Language::Masked, Language::Causal, Language::Spans];

    /// `(1 − α) · restore + α · continue`, by the names of each family; with α at an end, that
    /// task alone.
    #[test]
    fn two_tasks_are_mixed_by_their_share() {
        let at = At { step: 3, total: 10 };
        let weights = |language, alpha: f64, how: How| {
            let mut params = default_params();
            params.objective.set("mlm", "weight", 2.0);
            params.objective.set("contrastive", "weight", 0.0);
            params.mixed = Mixed { on: true, alpha, how };
            let active = chosen(&params, language).unwrap().active;
            let weight = |active: &Active| (active.kind.name, active.weight(at, 0.75));
            active.iter().map(weight).collect::<Vec<(&str, f64)>>()
        };

        let both = |language, alpha| weights(language, alpha, How::Both);
        assert_eq!(both(Language::Masked, 0.25), [("mlm", 1.5), ("clm", 0.25)]);
        assert_eq!(both(Language::Causal, 0.25), [("mlm", 1.5), ("clm", 0.25)]);
        assert_eq!(both(Language::Spans, 0.25), [("span", 0.75), ("prefix", 0.25)]);
        assert_eq!(both(Language::Masked, 0.0), [("mlm", 2.0)]);
        assert_eq!(both(Language::Causal, 1.0), [("clm", 1.0)]);
        // Drawn, each weighs what it was drawn.
        let drawn = weights(Language::Masked, 0.25, How::Sampled);
        assert_eq!(drawn, [("mlm", 1.5), ("clm", 0.75)]);
    }

    /// Rows of each kind.
    fn rows(kind: RowKind) -> RowSet {
        match kind {
            RowKind::Passages => RowSet {
                compared: Compared {
                    anchors: vec![vec![2, 5, 6, 3], vec![2, 7, 3]],
                    positives: vec![vec![2, 5, 11, 3], vec![2, 7, 8, 3]],
                    hard: vec![vec![2, 9, 6, 5, 3]],
                    owners: vec![1],
                },
                ..RowSet::default()
            },
            _ => RowSet {
                rows: [vec![2, 5, 4, 7, 8, 3], vec![2, 4, 9, 3]].into_iter().collect(),
                labels: [(0, 2, 6), (1, 1, 10), (1, 2, 9)]
                    .map(|(row, place, token)| Label { row, ..Label::new(place, token) })
                    .into(),
                ..RowSet::default()
            },
        }
    }

    const KEY: DropoutKey = DropoutKey { seed: 1, step: 3, microbatch: 0, term: "test" };

    fn frame() -> Frame {
        Frame {
            language: Language::Masked,
            pad: 0,
            before: vec![2],
            behind: vec![3],
            end: None,
            mask: 4,
            sentinels: Vec::new(),
            decoder_start: 0,
        }
    }

    /// Both tasks, passages, a teacher of these weights, and what looks inside the model.
    fn all(pooling: &str) -> Vec<Active> {
        let mut params = default_params();
        params.mixed.on = true;
        params.objective.set("contrastive", "pooling", pooling);
        // Both forms are tried, and the margin where its kinks are far away.
        let form = if pooling == "cls" { "simcse" } else { "simclr" };
        params.objective.set("contrastive", "form", form);
        params.objective.set("contrastive", "hard_weight", 0.5);
        params.objective.set("contrastive", "margin", 1.0);
        params.objective.set("contrastive", "margin_least", 1.9);
        params.objective.set("toy", "weight", 1.0);
        params.objective.set("momentum", "weight", 1.0);
        params.objective.set("momentum", "temperature", 2.0);
        for name in ["distill_cls", "distill_hidden", "distill_attention"] {
            params.objective.set(name, "weight", 1.0);
        }
        chosen(&params, Language::Masked).unwrap().active
    }

    fn forward<'a>(
        model: &'a Bert,
        frame: &'a Frame,
        pass: Pass<'a>,
        rows: RowKind,
    ) -> Forward<'a> {
        let (share, dtype, device, told) = (1.0, DType::F64, &Device::Cpu, None);
        Forward { model, pass, frame, share, rows, dtype, device, told }
    }

    fn taught<'a>(cx: &Forward<'a>, active: &Active, teacher: &'a Weights) -> Taught<'a> {
        let (needs, pass) = (active.objective.needs(cx.model), Pass::new(teacher, None));
        let inputs = cx.inputs(&rows(active.rows)).unwrap();
        let seen = show(cx.model, &pass, &inputs, &needs).unwrap();
        Taught { model: cx.model, pass, seen }
    }

    fn loss(weights: &Weights, teacher: &Weights, model: &Bert, pooling: &str) -> f64 {
        let frame = frame();
        let sum = |active: &Active| {
            let cx = forward(model, &frame, Pass::new(weights, Some(KEY)), active.rows);
            let rows = rows(active.rows);
            let needs = active.objective.needs(model);
            let seen = show(model, &cx.pass, &cx.inputs(&rows).unwrap(), &needs).unwrap();
            let taught = taught(&cx, active, teacher);
            kernels::number(&active.objective.sum(&cx, &rows, &seen, Some(&taught)).unwrap())
                .unwrap()
        };
        all(pooling).iter().map(sum).sum()
    }

    fn gradients(
        parameters: &Parameters,
        teacher: &Weights,
        model: &Bert,
        pooling: &str,
        every: usize,
    ) -> Gradients {
        let frame = frame();
        let mut gradients = empty();
        let engine = Engine::new(model, parameters, every).unwrap();

        for active in all(pooling) {
            let cx = forward(model, &frame, engine.pass(Some(KEY)), active.rows);
            let rows = rows(active.rows);
            let (inputs, needs) = (cx.inputs(&rows).unwrap(), active.objective.needs(model));
            let taught = taught(&cx, &active, teacher);
            let run = engine.forward(&inputs, Some(KEY), &needs).unwrap();
            let sum =
                active.objective.sum(&cx, &rows, &run.seen().unwrap(), Some(&taught)).unwrap();
            run.backward(&sum, &mut gradients).unwrap();
        }

        gradients
    }

    /// Of three labels the two whose loss is furthest above the teacher's are learned, as if the
    /// third were none; without a teacher, or with a share of 1, all are.
    #[test]
    fn tokens_are_chosen_by_what_is_above_a_teacher() {
        let model = tiny_encoder();
        let draw = |seed| {
            let declared: Vec<Declared> = model
                .declare()
                .into_iter()
                .map(|one| Declared { init: Init::Normal(0.5), ..one })
                .collect();
            Parameters::draw(&declared, seed, DType::F64, &Device::Cpu).unwrap().detached()
        };
        let (weights, teacher, frame) = (draw(7), draw(8), frame());
        let rows = rows(RowKind::Masked);
        let sum = |labels: &[Label], keep: f64, with_teacher: bool, told: Option<&Told>| {
            let rows = RowSet { labels: labels.to_vec(), ..rows.clone() };
            let cx = forward(&model, &frame, Pass::new(&weights, None), RowKind::Masked);
            let cx = Forward { told, ..cx };
            let show = |weights: &Weights| {
                let pass = Pass::new(weights, None);
                show(&model, &pass, &cx.inputs(&rows).unwrap(), &Needs::default()).unwrap()
            };
            let taught =
                Taught { model: &model, pass: Pass::new(&teacher, None), seen: show(&teacher) };
            let labels = Labels { weight: 1.0, keep };
            let teacher = with_teacher.then_some(&taught);
            let sum = labels.sum(&cx, &rows, &show(&weights), teacher).unwrap();
            (kernels::number(&sum).unwrap(), labels.count(&rows))
        };

        let all = &rows.labels;
        let told = Told::default();
        assert_eq!(sum(all, 0.5, true, Some(&told)).1, 2);
        let told = told.all();
        let excess: Vec<f32> = told.iter().map(|label| label.excess.unwrap()).collect();
        let least = (0..3).min_by(|a, b| excess[*a].total_cmp(&excess[*b])).unwrap();
        let others: Vec<Label> =
            all.iter().enumerate().filter(|(at, _)| *at != least).map(|(_, one)| *one).collect();

        let (found, right) = (sum(all, 0.5, true, None).0, sum(&others, 1.0, false, None).0);
        assert!((found - right).abs() < 1e-12, "{found}, not {right}");
        let plain = sum(all, 1.0, false, None);
        assert_eq!(sum(all, 1.0, true, None), plain);
        assert_eq!(sum(all, 0.5, false, None).0.to_bits(), plain.0.to_bits());
        let losses: f32 = told.iter().map(|label| label.loss).sum();
        assert!((f64::from(losses) - plain.0).abs() < 1e-5);
    }

    /// Central differences at random places of every tensor of the whole model, dropout on, with
    /// all graphs kept and with a state kept every step and every two.
    #[test]
    fn the_gradient_of_the_whole_model_is_right() {
        for (norm, pooling) in [(Norm::Pre, "mean"), (Norm::Post, "cls")] {
            let model = Bert { norm, ..tiny_encoder() };
            let larger = |d: Declared| Declared {
                init: match d.init {
                    Init::Normal(_) | Init::Zeros => Init::Normal(0.3),
                    ones => ones,
                },
                ..d
            };

            let beside =
                all(pooling).into_iter().flat_map(|active| active.objective.declare(&model, None));
            let declared: Vec<Declared> =
                model.declare().into_iter().chain(beside).map(larger).collect();
            let parameters = Parameters::draw(&declared, 7, DType::F64, &Device::Cpu).unwrap();
            let teacher =
                Parameters::draw(&declared, 8, DType::F64, &Device::Cpu).unwrap().detached();
            let gradients =
                [1, 2, 0].map(|every| gradients(&parameters, &teacher, &model, pooling, every));
            let plain: BTreeMap<String, Tensor> = parameters
                .iter()
                .map(|(name, var)| (name.to_string(), var.as_detached_tensor()))
                .collect();
            let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();

            for (name, _) in parameters.iter() {
                let gradient = numbers(&gradients[0][name]);
                for other in &gradients[1..] {
                    assert_eq!(
                        numbers(&other[name]),
                        gradient,
                        "{name}: the same bits whatever is kept"
                    );
                }

                let values = numbers(&plain[name]);
                let mut draws = crate::draw::stream(5, "coordinates", name.as_bytes());

                for _ in 0..4 {
                    let at = crate::draw::next_below(&mut draws, values.len());
                    let moved = |delta: f64| {
                        let mut values = values.clone();
                        values[at] += delta;
                        let tensor =
                            Tensor::from_vec(values, plain[name].dims(), &Device::Cpu).unwrap();
                        let mut all = plain.clone();
                        all.insert(name.to_string(), tensor);
                        loss(&Weights::new(all), &teacher, &model, pooling)
                    };

                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    let close = (slope - gradient[at]).abs() <= 1e-6 * gradient[at].abs().max(1.0);
                    assert!(
                        close,
                        "{norm:?} {name}[{at}]: {slope} by differences, {} by backward",
                        gradient[at]
                    );
                }
            }
        }
    }

    /// Texts that share a row give the loss and the gradients they give alone, in every family.
    #[test]
    fn packing_changes_no_number() {
        let short = |one: Document| {
            let words: Vec<&str> =
                one.text.split(' ').take(3 + 5 * (one.seq as usize % 3)).collect();
            Document { text: words.join(" "), ..one }
        };
        let documents: Vec<Document> = grammar(60, 3).into_iter().map(short).collect();
        let shards = shard_folder(&documents, &[]);
        let shards = Shards::open(shards.path(), "train").unwrap().unwrap();

        for family in FAMILIES {
            let folder = checkpoint_folder(family);
            let pretrained = hugging_face::shape(folder.path()).unwrap();
            let file = folder.path().join(hugging_face::TOKENIZER);
            let tokenizer = Tokenizer::read(&file, family.language, &pretrained.config).unwrap();
            let params = Params { packing: true, max_tokens: 32, batch: 4, ..tiny_params() };
            let batcher = batcher(&tokenizer, &params);
            let (position, kind) = (Position::default(), RowKind::of_language(family.language));
            let mut windows = Windows::new(&shards, &batcher, position).unwrap();
            let packed = batcher
                .step(1, &mut windows, &mut Again::default())
                .unwrap()
                .microbatches
                .remove(0)
                .sets
                .remove(&kind)
                .unwrap();

            assert!(packed.rows.are_packed(), "{}", family.name);
            assert!(packed.rows.ids.iter().all(|row| row.len() <= 32), "{}", family.name);
            let n: usize = packed.rows.texts.iter().map(Vec::len).sum();
            let mut windows = Windows::new(&shards, &batcher, position).unwrap();
            let alone: Vec<_> = (0..n).map(|_| windows.next_window().unwrap().unwrap()).collect();
            let alone = batcher.microbatch(0, alone.chunks(1), "mask").sets.remove(&kind).unwrap();
            assert_eq!(alone.labels.len(), packed.labels.len());

            let parameters =
                pretrained.parameters(folder.path(), DType::F64, &Device::Cpu).unwrap();
            let model = pretrained.model.as_ref();
            let term = of_language(&params, family.language).unwrap();
            let run = |rows: &RowSet| {
                let engine = Engine::new(model, &parameters, 0).unwrap();
                let (frame, dtype, device) = (&tokenizer.frame, DType::F64, &Device::Cpu);
                let (pass, share, told) = (engine.pass(None), 1.0, None);
                let rows_of = kind;
                let cx = Forward { model, pass, frame, share, rows: rows_of, dtype, device, told };
                let (inputs, needs) = (cx.inputs(rows).unwrap(), Needs::default());
                let run = engine.forward(&inputs, None, &needs).unwrap();
                let sum = term.sum(&cx, rows, &run.seen().unwrap(), None).unwrap();
                let mut gradients = empty();
                run.backward(&sum, &mut gradients).unwrap();

                (kernels::number(&sum.detach()).unwrap(), gradients)
            };

            let ((alone, alone_gradients), (packed, packed_gradients)) =
                (run(&alone), run(&packed));
            assert!(
                (alone - packed).abs() <= 1e-9 * alone,
                "{}: {alone} alone, {packed} packed",
                family.name
            );
            assert_eq!(alone_gradients.len(), packed_gradients.len());
            let numbers =
                |gradient: &Tensor| gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();

            for (name, gradient) in &alone_gradients {
                for (alone, packed) in
                    numbers(gradient).iter().zip(numbers(&packed_gradients[name]))
                {
                    let close = (alone - packed).abs() <= 1e-9 + 1e-9 * alone.abs();
                    assert!(close, "{} {name}: {alone} alone, {packed} packed", family.name);
                }
            }
        }
    }
}
