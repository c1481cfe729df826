//! What a run will need before it begins: parameters, memory and time, and which settings make it
//! fit.
//!
//! Memory is what the engine keeps, added up: weights, gradients (one set, and one for each level
//! of the tree that adds microbatches up), the optimiser's two means, and of the activations what
//! `Architecture::kept` counts, with one block more for what flows backward through it. Time is the
//! number of operations over the speed of a matrix product that is measured here: 6 for each number
//! of the model and token, 2 more where activations are computed twice, and so many times as there
//! are passes: of each task, of passages, of a teacher that is only looked at.

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::flow::progress::Progress;
use crate::train::data::rows::{RowKind, masked, passages, spans};
use crate::train::kernels;
use crate::train::model::hugging_face::Pretrained;
use crate::train::model::parameters::Role;
use crate::train::model::{Activations, Declared, Family, Language, Needs, hub, hugging_face};
use crate::train::objective;
use crate::train::params::{How, Params, Precision};
use crate::train::strategy::{self, Layout};

/// Rows that strategies look at the model with. Their attention weights are kept: with 12 heads of
/// 128 tokens 6 MB a block.
pub(super) const SAMPLE: usize = 8;
/// Of a pass, how much is forward: two operations of six.
const FORWARD: f64 = 1.0 / 3.0;

/// Share of the speed of a matrix product that a whole training step reaches, as `cargo bench
/// --bench rooms -- train` finds it.
const EFFICIENCY: f64 = 0.6;
/// By how much activations are taken to be larger than what is counted: operations need memory in
/// passing, and the allocator holds some, as `cargo bench --bench rooms -- checkpointing` finds it.
const ALLOWANCE: f64 = 1.2;
/// Width and rounds of the product that is measured.
const PRODUCT: (usize, usize) = (768, 6);

/// What a run needs.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Family of the model.
    pub family: &'static str,
    /// Numbers that are trained.
    pub parameters: u64,
    /// Numbers that stay as they are, below an adapter.
    pub frozen: u64,
    /// Numbers as the model's paper counts them.
    pub published: u64,
    /// Bytes, in all and by what they are for.
    pub memory: Memory,
    /// Bytes the machine has.
    pub available: Option<u64>,
    /// Rows of a microbatch, and microbatches of a step.
    pub batch: (usize, usize),
    /// Tokens of a step at most.
    pub tokens_per_step: u64,
    /// Highest learning rate.
    pub lr: f64,
    /// Operations of a matrix product in a second.
    pub flops: f64,
    /// Bytes on disk of what a teacher shows, where that is kept.
    pub teacher_cache: u64,
    /// Passes of a step, forward and backward of the rows that language is learned from being one.
    pub passes: f64,
    /// Seconds of all steps.
    pub seconds: f64,
}

/// Bytes a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The model.
    pub weights: u64,
    /// Gradients, and their sums over microbatches.
    pub gradients: u64,
    /// The optimiser's means, and the running mean of the weights where there is one.
    pub optimiser: u64,
    /// Activations with the settings as they are.
    pub activations: u64,
    /// Activations where everything is kept.
    pub activations_kept: u64,
    /// Activations with `train.checkpoint_every = 1`.
    pub activations_checkpointed: u64,
}

impl Memory {
    /// All of it, with the settings as they are and every row as long as it may be.
    pub fn total(&self) -> u64 {
        self.lasting() + self.activations
    }

    /// What does not depend on the rows.
    pub fn lasting(&self) -> u64 {
        self.weights + self.gradients + self.optimiser
    }
}

/// The model that `params` name, without its weights.
///
/// # Errors
/// If there is none, or it is none that kpipe computes.
pub fn model(params: &Params, progress: &dyn Progress) -> Result<Pretrained> {
    let mut pretrained = if !params.init.is_empty() {
        hugging_face::shape_of(&hub::folder(&params.init, progress)?, &params.init_layers)?
    } else if params.config.is_empty() {
        params.drawn(params.tokenizer.vocabulary, 0)
    } else {
        params.described(params.tokenizer.vocabulary)?
    };
    // A plan is made before the model is fetched: where the settings name none, a shape stands for
    // it.
    let origin = Path::new(&params.init);
    for active in strategy::chosen(params)? {
        active.strategy.adapt(pretrained.model.as_mut(), Some(origin))?;
    }
    Ok(pretrained)
}

/// How many numbers a model has as its paper counts them: of BERT without the head and with the
/// pooler, which pre-training does not use.
pub fn published(model: &Pretrained) -> u64 {
    let declared = model.model.declare();
    let is_head =
        |one: &&Declared| one.part.role == Role::Head && model.family.language == Language::Masked;
    let body = declared.iter().filter(|one| !is_head(one));
    let width = model.model.size().width as u64;
    let pooler = if model.family.language == Language::Masked { width * width + width } else { 0 };
    body.map(Declared::n_numbers).sum::<u64>() + pooler
}

/// Bytes that a run with these settings needs.
///
/// # Errors
/// If a section of the settings does not fit.
pub fn memory(model: &Pretrained, params: &Params) -> Result<Memory> {
    let counts = Counts::of(model, params)?;
    let number = if params.precision == Precision::F64 { 8 } else { 4 };
    // The microbatch at hand, and one sum for each bit of their count.
    let sets = 1 + u64::from(usize::BITS - params.accumulate.leading_zeros());
    let compute = params.precision.compute().size_in_bytes() as u64;
    let activations = |every: usize| -> Result<u64> {
        Ok((ALLOWANCE * (compute * kept(model, params, &counts, every)?) as f64) as u64)
    };

    Ok(Memory {
        weights: number * (counts.trained + counts.frozen),
        gradients: number * counts.trained * sets,
        optimiser: number * counts.trained * 2 + counts.extra_bytes + looked_at(model, params)?,
        activations: activations(params.checkpoint_every)?,
        activations_kept: activations(0)?,
        activations_checkpointed: activations(1)?,
    })
}

/// What a run trains.
struct Counts {
    /// Numbers that are trained.
    trained: u64,
    /// Numbers that stay as they are.
    frozen: u64,
    /// The first step of the model with a parameter that is trained.
    first_step: usize,
    /// Bytes that strategies take.
    extra_bytes: u64,
}

impl Counts {
    /// Of a model and what strategies add to it; what objectives train beside it is small.
    fn of(model: &Pretrained, params: &Params) -> Result<Self> {
        let strategies = strategy::chosen(params)?;
        let shape = model.model.as_ref();
        let added = strategies.iter().flat_map(|active| active.strategy.declare(shape));
        let (declared, still): (Vec<Declared>, Vec<Declared>) = shape
            .declare()
            .into_iter()
            .chain(added)
            .partition(|one| strategy::trains(&strategies, one));
        let layout = Layout { declared, steps: shape.steps() };
        let number = if params.precision == Precision::F64 { 8 } else { 4 };

        Ok(Counts {
            trained: layout.n_numbers(),
            frozen: still.iter().map(Declared::n_numbers).sum(),
            first_step: layout.declared.iter().map(|one| one.part.step).min().unwrap_or(0),
            extra_bytes: strategies
                .iter()
                .map(|active| active.strategy.extra_bytes(&layout, number))
                .sum(),
        })
    }
}

/// Numbers of activations that are held at once: of segments before the last their states, of one
/// segment its graphs, and once more the largest step of it, for what flows backward.
fn kept(model: &Pretrained, params: &Params, counts: &Counts, every: usize) -> Result<u64> {
    let decoded = decoded(model.family, params)?;
    let steps = model.model.kept(params.batch, params.max_tokens, decoded);
    let trained = &steps[counts.first_step.min(steps.len() - 1)..];
    let graph = |step: &Activations| step.graph + step.state;
    let segments: Vec<&[Activations]> =
        trained.chunks(if every == 0 { usize::MAX } else { every }).collect();
    let states: u64 =
        segments.iter().filter_map(|segment| segment.first()).map(|step| step.state).sum();
    let largest =
        segments.iter().map(|segment| segment.iter().map(graph).sum::<u64>()).max().unwrap_or(0);
    let flowing = trained.iter().map(graph).max().unwrap_or(0);
    let last = steps.last().map_or(0, |step| step.state);

    // What objectives look at inside the model and its teacher is held until the backward is done.
    let seen: u64 = Learnt::of(model, params)?.seen(&steps);
    Ok(states + largest + flowing + head(model, params, last)? + seen)
}

/// Bytes on disk of the states of a teacher that keeps them, for all steps.
fn teacher_cache(model: &Pretrained, params: &Params) -> Result<u64> {
    let strategies = strategy::chosen(params)?;
    let Some(teacher) = strategies.iter().find(|active| active.strategy.cache().is_some()) else {
        return Ok(0);
    };
    let width = teacher.strategy.shape().unwrap_or(model.model.as_ref()).size().width as u64;
    let rows = (params.batch * params.accumulate) as u64;
    let decoded = decoded(model.family, params)?;
    let tokens = if decoded > 0 { decoded } else { params.max_tokens };
    let of_row = predicted(model, params, tokens as u64)?;
    let number = params.precision.compute().size_in_bytes() as u64;
    Ok(params.steps * rows * of_row * width * number)
}

/// Tokens that are predicted of so many, the decoder's where there is one.
fn predicted(model: &Pretrained, params: &Params, tokens: u64) -> Result<u64> {
    Ok(match model.family.language {
        Language::Masked => (tokens as f64 * masked::Params::of(params)?.share) as u64,
        Language::Causal | Language::Spans => tokens,
    })
}

/// Bytes of the attention weights that the strategy `attention_kl` keeps: those it began with,
/// those of the last measurement, and those of one under way.
fn looked_at(model: &Pretrained, params: &Params) -> Result<u64> {
    let looks = strategy::chosen(params)?
        .iter()
        .any(|active| active.kind.name == strategy::attention_kl::ATTENTION_KL.name);
    if !looks {
        return Ok(0);
    }
    let decoded = decoded(model.family, params)?;
    let steps = model.model.kept(SAMPLE, params.max_tokens, decoded);
    Ok(3 * 4 * steps.iter().map(|step| step.maps).sum::<u64>())
}

/// What a run learns from, as far as it costs time and memory.
struct Learnt {
    active: Vec<objective::Active>,
    /// Hidden states and attention weights of all steps that somebody looks at, of the model and of
    /// a teacher.
    hidden: [bool; 2],
    maps: [bool; 2],
    /// Whether a teacher of its own, and one that follows, are looked at.
    teachers: u32,
}

impl Learnt {
    fn of(model: &Pretrained, params: &Params) -> Result<Self> {
        let active = objective::chosen(params, model.family.language)?.active;
        let shape = model.model.as_ref();
        let needs: Vec<_> = active.iter().map(|one| one.objective.needs(shape)).collect();
        let has = |of: fn(&Needs) -> bool| {
            let own = needs.iter().any(of);
            [own, needs.iter().any(|needs| needs.teacher.is_some() && of(needs))]
        };
        let mut names: Vec<&str> = needs.iter().filter_map(|needs| needs.teacher).collect();
        // Hard documents are told by what is above a teacher, where there is one.
        let strategies = strategy::chosen(params)?;
        let is_on = |name: &str| strategies.iter().any(|active| active.kind.name == name);
        if is_on(strategy::mining::MINING.name) && is_on(strategy::teacher::TEACHER.name) {
            names.push(strategy::teacher::TEACHER.name);
        }
        names.sort_unstable();
        names.dedup();
        let (hidden, maps) =
            (has(|needs| !needs.hidden.is_empty()), has(|needs| !needs.attention.is_empty()));
        Ok(Learnt { hidden, maps, teachers: names.len() as u32, active })
    }

    /// Numbers that are held for who looks at them.
    fn seen(&self, steps: &[Activations]) -> u64 {
        let states: u64 = steps.iter().map(|step| step.state).sum();
        let maps: u64 = steps.iter().map(|step| step.maps).sum();
        let count = |which: [bool; 2]| which.into_iter().map(u64::from).sum::<u64>();
        // The model's own weights stand in its graph as scores and as weights.
        let own_maps = u64::from(self.maps[0]) * maps;
        count(self.hidden) * states + count(self.maps) * maps + own_maps
    }

    /// Passes of a step; see [`Plan::passes`].
    fn passes(&self, params: &Params) -> Result<f64> {
        let mixed = params.mixed;
        let mut kinds: Vec<RowKind> = self.active.iter().map(|one| one.rows).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let is_drawn = mixed.on && mixed.how == How::Sampled;
        let tasks = kinds.iter().filter(|kind| **kind != RowKind::Passages).count() as f64;
        let mut passes = if is_drawn { 1.0 } else { tasks.max(1.0) };
        passes += f64::from(self.teachers) * FORWARD;
        passes *= selective(params);

        if kinds.contains(&RowKind::Passages) {
            let rows = passages::Params::of(params)?;
            let tokens = rows.anchors * (2 + rows.hard) * rows.tokens;
            let gathers = self.active.iter().any(|one| one.objective.gathered().is_some());
            let again = if gathers { 1.0 + FORWARD } else { 1.0 };
            passes += again * tokens as f64 / (params.batch * params.max_tokens) as f64;
        }
        Ok(passes)
    }
}

/// What is left of the time where some steps learn from their hardest rows alone, and compute all
/// of them forward first.
fn selective(params: &Params) -> f64 {
    let own = params.selective;
    if own.keep >= 1.0 {
        return 1.0;
    }
    let breaks = if own.interrupt > 0 { 1.0 / own.interrupt as f64 } else { 0.0 };
    let active = (own.end - own.start).max(0.0) * (1.0 - breaks);
    1.0 - active + active * (FORWARD + own.keep)
}

/// Tokens of a row of the decoder.
fn decoded(family: &Family, params: &Params) -> Result<usize> {
    Ok(match family.language {
        Language::Spans => spans::Params::of(params)?.decoded(params.max_tokens),
        _ => 0,
    })
}

/// Numbers of the head: its rows, and the logits of a piece of them.
fn head(model: &Pretrained, params: &Params, state: u64) -> Result<u64> {
    const LOGITS: u64 = 32 << 20;
    let (width, vocabulary) =
        (model.model.size().width as u64, model.model.size().vocabulary as u64);
    let predicted = predicted(model, params, state / width.max(1))?;
    Ok(predicted * width * 6 + (predicted * vocabulary).min(LOGITS) * 2)
}

/// Works out what a run needs; refuses one that does not fit into `available` bytes.
///
/// # Errors
/// If the model cannot be read, or the run does not fit: then the settings that make it fit are
/// named.
pub fn plan(params: &Params, available: Option<u64>, progress: &dyn Progress) -> Result<Plan> {
    params.check()?;
    params.check_given()?;
    let model = model(params, progress)?;
    check_rows(&model, params)?;
    check(&model, params, available)?;
    let counts = Counts::of(&model, params)?;
    let tokens_per_step = (params.batch * params.accumulate * params.max_tokens) as u64;
    let flops = product_flops()?;
    let passes = Learnt::of(&model, params)?.passes(params)?;

    Ok(Plan {
        family: model.family.name,
        parameters: counts.trained,
        frozen: counts.frozen,
        published: published(&model),
        memory: memory(&model, params)?,
        available,
        batch: (params.batch, params.accumulate),
        tokens_per_step,
        lr: params.optimiser.lr,
        flops,
        teacher_cache: teacher_cache(&model, params)?,
        passes,
        seconds: passes
            * operations(&model, params, &counts)
            * tokens_per_step as f64
            * params.steps as f64
            / (flops * EFFICIENCY),
    })
}

/// Operations for a token: two for each number forward, four backward, and those of attention; with
/// frozen weights half of the backward is left out.
fn operations(model: &Pretrained, params: &Params, counts: &Counts) -> f64 {
    let weights: u64 =
        model.model.kept(1, params.max_tokens, 0).iter().map(|step| step.state).sum();
    let attention = 2.0 * weights as f64;
    let again = if params.checkpoint_every > 0 { 2.0 } else { 0.0 };
    (6.0 + again) * (counts.trained as f64 + attention) + (4.0 + again) * counts.frozen as f64
}

/// Refuses rows that are longer than the model has positions.
///
/// # Errors
/// Names the most tokens a row can have.
pub fn check_rows(model: &Pretrained, params: &Params) -> Result<()> {
    match model.model.size().max_tokens.filter(|most| *most < params.max_tokens) {
        Some(most) => {
            let tokens = params.max_tokens;
            Err(Error::usage(format!(
                "`train.max_tokens` is {tokens}, but the model has {most} positions"
            ))
            .hint(format!("set `train.max_tokens={most}` or less")))
        }
        None => Ok(()),
    }
}

/// Refuses a run that needs more than there is.
///
/// # Errors
/// Names the settings that make it fit.
pub fn check(model: &Pretrained, params: &Params, available: Option<u64>) -> Result<()> {
    let need = memory(model, params)?;
    let Some(available) = available.filter(|available| need.total() > *available) else {
        return Ok(());
    };
    let mebi = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let error = Error::usage(format!(
        "the run needs about {} of memory and there are {}: weights {}, gradients {}, optimiser \
         {}, activations {}",
        mebi(need.total()),
        mebi(available),
        mebi(need.weights),
        mebi(need.gradients),
        mebi(need.optimiser),
        mebi(need.activations)
    ));

    Err(match fitting(model, params, available)? {
        Some(settings) => error.hint(format!("this fits: {settings}")),
        None if fits_with_adapter(model, params, available)? => {
            error.hint("this fits: --adapter, with `train.checkpoint_every=1` and `train.batch=1`")
        }
        None => {
            let totals: Vec<u64> = variants(params)
                .map(|(_, params)| Ok(memory(model, &params)?.total()))
                .collect::<Result<_>>()?;
            let least = totals.into_iter().min().unwrap_or(0);
            error.hint(format!(
                "no split of the batch makes it fit; with the smallest it needs {}",
                mebi(least)
            ))
        }
    })
}

/// Settings of the same batch that need less memory, those that cost least time first.
fn variants(params: &Params) -> impl Iterator<Item = (String, Params)> {
    let every =
        if params.checkpoint_every == 0 { vec![0, 1] } else { vec![params.checkpoint_every, 1] };
    every.into_iter().flat_map(move |checkpoint_every| {
        let rows = params.batch * params.accumulate;
        let halves = std::iter::successors(Some(params.batch), |batch| {
            (batch % 2 == 0).then_some(batch / 2)
        });
        // Fewer microbatches have fewer sums of gradients.
        let twice = move |batch: usize| (rows.is_multiple_of(2 * batch)).then_some(2 * batch);
        let doubles = std::iter::successors(twice(params.batch), move |batch| twice(*batch));
        halves.chain(doubles).map(move |batch| {
            let accumulate = rows / batch;
            let changed = Params { batch, accumulate, checkpoint_every, ..params.clone() };
            let told = [
                (batch != params.batch).then(|| {
                    format!("--set train.batch={batch} --set train.accumulate={accumulate}")
                }),
                (checkpoint_every != params.checkpoint_every)
                    .then(|| format!("--set train.checkpoint_every={checkpoint_every}")),
            ];
            (told.into_iter().flatten().collect::<Vec<_>>().join(" "), changed)
        })
    })
}

fn fitting(model: &Pretrained, params: &Params, available: u64) -> Result<Option<String>> {
    for (told, params) in variants(params) {
        if memory(model, &params)?.total() <= available {
            return Ok(Some(told));
        }
    }
    Ok(None)
}

/// Whether the model would fit with an adapter on it, which needs neither gradients nor means for
/// what is below.
fn fits_with_adapter(model: &Pretrained, params: &Params, available: u64) -> Result<bool> {
    let counts = Counts::of(model, params)?;
    let is_new =
        counts.frozen == 0 && !params.init.is_empty() && model.family.language == Language::Causal;
    let number = if params.precision == Precision::F64 { 8 } else { 4 };
    let sparing = Params { checkpoint_every: 1, batch: 1, ..params.clone() };
    Ok(is_new && number * counts.trained + memory(model, &sparing)?.activations <= available)
}

/// Bytes of memory that the machine has; `None` where it does not tell.
pub fn machine_memory() -> Option<u64> {
    bytes_told("/proc/meminfo", "MemTotal:")
}

/// The bytes in the line `name` of what Linux tells in a file.
pub(super) fn bytes_told(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Operations in a second of a product of f32 matrices, the best of a few.
fn product_flops() -> Result<f64> {
    let (width, rounds) = PRODUCT;
    let x = Tensor::ones((width, width), DType::F32, &Device::Cpu)?;
    let mut least = f64::INFINITY;

    for _ in 0..rounds {
        let begun = Instant::now();
        std::hint::black_box(kernels::matmul(&x, &x)?);
        least = least.min(begun.elapsed().as_secs_f64());
    }

    Ok(2.0 * (width as f64).powi(3) / least.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use crate::train::fixture::default_params;

    fn gpt2(batch: usize, accumulate: usize) -> Params {
        let mut params = Params { batch, accumulate, max_tokens: 128, ..default_params() };
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 1000, "n_embd": 64, "n_layer": 4, "n_head": 4,
                "n_positions": 128
        });
        params.config = config.as_object().unwrap().clone();
        params.strategy.set("average", "last", 0);
        params
    }

    #[test]
    fn memory_follows_the_settings() {
        let of = |params: &Params| memory(&model(params, &Silent).unwrap(), params).unwrap();
        let base = of(&gpt2(8, 1));
        assert_eq!(
            base.weights,
            4 * (1000 * 64 + 128 * 64 + 4 * (12 * 64 * 64 + 13 * 64) + 2 * 64)
        );
        assert_eq!((base.gradients, base.optimiser), (2 * base.weights, 2 * base.weights));
        assert_eq!(of(&gpt2(8, 6)).gradients, 4 * base.weights, "6 is 110 in binary");
        assert!(base.activations_checkpointed < base.activations_kept);
        assert_eq!(base.activations, base.activations_kept);
        let sparing = Params { checkpoint_every: 1, ..gpt2(8, 1) };
        assert_eq!(of(&sparing).activations, base.activations_checkpointed);
        let mut mean = gpt2(8, 1);
        mean.strategy.set("ema", "decay", 0.9);
        assert_eq!(of(&mean).optimiser, 3 * base.weights);
        let twice = of(&gpt2(16, 1)).activations_kept;
        assert!(twice.abs_diff(2 * base.activations_kept) < 2, "{twice}");
        let halves = Params { precision: Precision::Bf16, ..gpt2(8, 1) };
        assert!(of(&halves).activations_kept.abs_diff(base.activations_kept / 2) < 2);
        let mut adapter = gpt2(8, 1);
        adapter.strategy.set("adapter", "on", true);

        assert!(
            of(&adapter).optimiser < base.optimiser / 20 && of(&adapter).weights > base.weights
        );
    }

    /// Each thing that is computed beside a plain step is counted, in time and in memory.
    #[test]
    fn what_is_computed_beside_a_step_is_counted() {
        let of = |change: &dyn Fn(&mut Params)| {
            let mut params = gpt2(8, 2);
            params.objective.set("contrastive", "weight", 0.0);
            change(&mut params);
            let model = model(&params, &Silent).unwrap();
            let passes = Learnt::of(&model, &params).unwrap().passes(&params).unwrap();
            (passes, memory(&model, &params).unwrap())
        };
        let (passes, plain) = of(&|_| {});
        assert_eq!(passes, 1.0);
        let passes = |change: &dyn Fn(&mut Params)| of(change).0;
        assert_eq!(passes(&|params| params.mixed.on = true), 2.0);
        let drawn =
            |params: &mut Params| (params.mixed.on, params.mixed.how) = (true, How::Sampled);
        assert_eq!(passes(&drawn), 1.0);
        let teacher = |params: &mut Params, name: &str| {
            params.strategy.set("teacher", "on", true);
            params.objective.set(name, "weight", 1.0);
        };
        assert_eq!(passes(&|params| teacher(params, "distill")), 1.0 + FORWARD);
        let half = |params: &mut Params| {
            (params.selective.keep, params.selective.start, params.selective.end) = (0.5, 0.0, 1.0);
            params.selective.interrupt = 0;
        };
        assert!((passes(&half) - 5.0 / 6.0).abs() < 1e-12);
        let contrastive = |gather: bool| {
            passes(&|params| {
                params.objective.set("contrastive", "weight", 0.1);
                params.objective.set("contrastive", "gather", gather);
            })
        };
        let (apart, gathered) = (contrastive(false) - 1.0, contrastive(true) - 1.0);
        assert!(apart > 0.0 && (gathered / apart - 1.0 - FORWARD).abs() < 1e-12);

        let maps = of(&|params| teacher(params, "distill_attention")).1;
        let states = of(&|params| teacher(params, "distill_hidden")).1;
        assert!(states.activations > plain.activations && maps.activations > states.activations);
        let looked = of(&|params| params.strategy.set("attention_kl", "every", 9)).1;
        let params = gpt2(8, 2);
        let of = |key: &str| params.config[key].as_u64().unwrap();
        let one = (SAMPLE * params.max_tokens * params.max_tokens) as u64;
        let one = one * of("n_head") * of("n_layer");
        assert_eq!(looked.optimiser - plain.optimiser, 3 * 4 * one);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_does() {
        let params = gpt2(64, 1);
        let model = model(&params, &Silent).unwrap();
        let need = memory(&model, &params).unwrap();
        check(&model, &params, None).unwrap();
        check(&model, &params, Some(need.total())).unwrap();
        let error = check(&model, &params, Some(need.total() / 2)).unwrap_err();
        assert!(
            error.hints()[0].contains("train.batch=16")
                && error.hints()[0].contains("train.accumulate=4"),
            "{error}"
        );
        let tight = memory(&model, &Params { checkpoint_every: 1, ..gpt2(1, 64) }).unwrap().total();
        let error = check(&model, &params, Some(tight)).unwrap_err();
        assert!(error.hints()[0].contains("checkpoint_every=1"), "{error}");
        let error = check(&model, &params, Some(1 << 20)).unwrap_err();

        assert!(error.hints()[0].contains("no split of the batch"), "{error}");
    }
}
