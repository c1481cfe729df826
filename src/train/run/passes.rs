//! Forward and backward of a step: all its microbatches, and in each a pass over the rows of every
//! kind, which the objectives share that learn from them.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::error::{Error, Result};
use crate::train::data::batch::Step;
use crate::train::data::rows::passages::Compared;
use crate::train::data::rows::{RowSet, Task};
use crate::train::kernels::{self, DropoutKey};
use crate::train::model::gradients::{self, Gradients};
use crate::train::model::moves::Moves;
use crate::train::model::{Engine, Needs, Pass, show};
use crate::train::objective::{Active, Forward, LabelLoss, Objective, Taught, Told};
use crate::train::optimiser;
use crate::train::run::metrics::Metric;
use crate::train::run::session::{Session, Teacher};
use crate::train::run::trainer::{Training, share};
use crate::train::strategy::{self, At, DocumentLoss};

/// What the passes of a step came to.
pub(super) struct Passed<'a> {
    pub(super) gradients: Gradients,
    pub(super) losses: Losses<'a>,
    pub(super) documents: Vec<DocumentLoss>,
}

/// Forward and backward of all microbatches of a step, in order, and of all objectives in each;
/// the gradients are multiplied by `scale`.
pub(super) fn backward<'o>(
    training: &'o Training,
    session: &Session,
    step: &Step,
    at: At,
    moves: &Moves,
    scale: f64,
) -> Result<Passed<'o>> {
    let engine = Engine::moving(
        session.model(),
        &session.parameters,
        training.params.checkpoint_every,
        moves,
    )?;

    let teachers = session.teachers();
    let mut losses =
        Losses(training.objectives.iter().map(|active| Loss::of(active, step, at)).collect());

    let told = Told::default();
    let passes = Passes {
        training,
        session,
        engine: &engine,
        step,
        scale,
        teachers: &teachers,
        told: &told,
        tells_excess: session.again().is_some(),
    };
    let gathered = passes.gather(&mut losses)?;

    let mut sums = optimiser::Tree::default();
    for (nth, batch) in step.microbatches.iter().enumerate() {
        let mut gradients = gradients::empty();
        for (kind, rows) in &batch.sets {
            let learns = |loss: &&mut Loss| {
                loss.active.rows == *kind
                    && loss.weight != 0.0
                    && loss.active.objective.gathered().is_none()
                    && loss.active.objective.count(rows) > 0
            };
            let mut group: Vec<&mut Loss> = losses.0.iter_mut().filter(learns).collect();
            if let Some(first) = group.first() {
                let pass = passes.of(first.active, nth, rows);
                pass.run(&mut group, &mut gradients)?;
            }
            for part in gathered.iter().filter(|part| part.active.rows == *kind) {
                if let Some(gradient) = part.gradients.get(&nth) {
                    let pass = passes.of(part.active, nth, rows);
                    pass.flow(part.active.objective.as_ref(), gradient, &mut gradients)?;
                }
            }
        }
        sums.push(gradients)?;
    }

    Ok(Passed { gradients: sums.sum()?, losses, documents: documents(&told.all(), step) })
}

/// What all passes of a step have in common.
struct Passes<'a> {
    training: &'a Training<'a>,
    session: &'a Session<'a>,
    engine: &'a Engine<'a>,
    step: &'a Step,
    /// What the loss is multiplied with.
    scale: f64,
    teachers: &'a BTreeMap<&'static str, Teacher<'a>>,
    /// Takes what single labels come to.
    told: &'a Told,
    /// Whether a teacher is shown what the language objective reads, where there is one.
    tells_excess: bool,
}

impl<'a> Passes<'a> {
    /// A pass for an objective, and others of the same rows, over those in a microbatch.
    fn of(&self, active: &Active, microbatch: usize, rows: &'a RowSet) -> OnePass<'a> {
        let Passes { training, session, engine, step, scale, teachers, told, .. } = *self;
        let key = DropoutKey {
            seed: training.job.seed,
            step: step.number,
            microbatch: step.microbatches[microbatch].index,
            term: active.kind.name,
        };
        let forward = Forward {
            model: session.model(),
            pass: engine.pass(Some(key)),
            frame: session.frame(),
            share: scale,
            rows: active.rows,
            dtype: training.params.precision.compute(),
            device: training.job.device,
            told: None,
        };
        let tells_excess = self.tells_excess;
        OnePass { engine, forward, key, rows, teachers, told, tells_excess }
    }

    /// The loss and its gradients by the vectors of all rows, for the objectives that compare those
    /// of all microbatches.
    fn gather<'o>(&self, losses: &mut Losses<'o>) -> Result<Vec<Flowing<'o>>> {
        let mut all = Vec::new();
        for loss in losses.0.iter_mut().filter(|loss| loss.weight != 0.0) {
            let active = loss.active;
            let Some(objective) = active.objective.gathered() else { continue };
            let sets = self.step.microbatches.iter().enumerate();
            let sets = sets.filter_map(|(nth, batch)| Some((nth, batch.sets.get(&active.rows)?)));
            let sets: Vec<(usize, &RowSet)> = sets.collect();
            let compared = Compared::joined(sets.iter().map(|(_, rows)| &rows.compared));
            let joined = RowSet { compared, ..RowSet::default() };
            loss.count = active.objective.count(&joined);
            if loss.count == 0 {
                continue;
            }

            let weights = self.session.parameters.detached();
            // Of each kind of passage those of all microbatches, in their order.
            let mut vectors: [Vec<Tensor>; 3] = Default::default();
            for (nth, rows) in &sets {
                let pass = self.of(active, *nth, rows);
                let forward = Forward { pass: Pass::new(&weights, Some(pass.key)), ..pass.forward };
                let needs = active.objective.needs(forward.model);
                let seen = show(forward.model, &forward.pass, &forward.inputs(rows)?, &needs)?;
                let found = objective.vectors(&forward, rows, &seen)?;
                let mut at = 0;
                for (kind, n) in rows.compared.sizes().into_iter().enumerate() {
                    vectors[kind].push(found.narrow(0, at, n)?);
                    at += n;
                }
            }
            let vectors = Var::from_tensor(&Tensor::cat(&vectors.concat(), 0)?.detach())?;

            let share = self.scale * loss.weight / loss.count as f64;
            let first = sets.first().map_or(0, |(nth, _)| *nth);
            let forward = self.of(active, first, &joined).forward;
            let sum = objective.sum_of(
                &Forward { share, ..forward },
                &joined.compared,
                vectors.as_tensor(),
            )?;
            loss.sum += kernels::number(&sum.detach())?;
            let mut found = sum.affine(share, 0.0)?.backward()?;
            let gradient = found.remove(vectors.as_tensor()).ok_or_else(|| {
                Error::data(format!("`{}` does not depend on its rows", active.kind.name))
            })?;
            all.push(Flowing { active, gradients: cut(&gradient.detach(), &sets)? });
        }
        Ok(all)
    }
}

/// What flows into the vectors of an objective's rows.
struct Flowing<'o> {
    active: &'o Active,
    /// By the number of the microbatch.
    gradients: BTreeMap<usize, Tensor>,
}

/// The gradients of the vectors of each microbatch, out of those of all.
fn cut(gradient: &Tensor, sets: &[(usize, &RowSet)]) -> Result<BTreeMap<usize, Tensor>> {
    let of_kind = |kind: usize| sets.iter().map(move |(_, rows)| rows.compared.sizes()[kind]);
    let mut at: [usize; 3] = [0, of_kind(0).sum(), of_kind(0).chain(of_kind(1)).sum()];
    let mut parts = BTreeMap::new();
    for (nth, rows) in sets {
        let mut own = Vec::new();
        for (at, n) in at.iter_mut().zip(rows.compared.sizes()) {
            own.push(gradient.narrow(0, *at, n)?);
            *at += n;
        }
        parts.insert(*nth, Tensor::cat(&own, 0)?);
    }
    Ok(parts)
}

/// A pass of the model over the rows of one kind in a microbatch, which all objectives share that
/// learn from them.
struct OnePass<'a> {
    engine: &'a Engine<'a>,
    /// What the objectives compute with; its share is the scale of the loss.
    forward: Forward<'a>,
    key: DropoutKey,
    rows: &'a RowSet,
    teachers: &'a BTreeMap<&'static str, Teacher<'a>>,
    told: &'a Told,
    tells_excess: bool,
}

impl OnePass<'_> {
    /// Forward and backward; adds to the sum of each objective.
    fn run(&self, group: &mut [&mut Loss], gradients: &mut Gradients) -> Result<()> {
        let OnePass { engine, forward, key, rows, teachers, .. } = self;
        let inputs = forward.inputs(rows)?;
        let student = forward.model;
        let mut taught: BTreeMap<&str, Taught> = BTreeMap::new();
        for (name, Teacher { model, weights, kept }) in *teachers {
            let learn = group.iter().filter(|loss| self.teacher(loss.active) == Some(*name));
            let learn = learn.map(|loss| loss.active.objective.as_ref());
            let needs = learn.map(|one| one.teacher_needs(student, *model)).reduce(Needs::and);
            if let Some(needs) = needs {
                let pass = Pass::new(weights, None);
                let show = || Ok(show(*model, &pass, &inputs, &needs)?);
                // Kept is what predictions follow from, not what is inside.
                let kept = kept.filter(|_| needs.hidden.is_empty() && needs.attention.is_empty());
                let seen = kept.map_or_else(show, |kept| kept.seen(rows, show))?;
                taught.insert(name, Taught { model: *model, pass, seen });
            }
        }

        let needs = group.iter().map(|loss| loss.active.objective.needs(student));
        let needs = needs.fold(Needs::default(), Needs::and);
        let run = engine.forward(&inputs, Some(*key), &needs)?;
        let seen = run.seen()?;
        let mut total: Option<Tensor> = None;
        for loss in group {
            let objective = loss.active.objective.as_ref();
            let share = forward.share * loss.weight / loss.count as f64;
            let teacher = self.teacher(loss.active).and_then(|name| taught.get(name));
            let told = self.is_own(loss.active).then_some(self.told);
            let forward = Forward { share, told, ..*forward };
            let sum = objective.sum(&forward, rows, &seen, teacher)?;
            loss.sum += kernels::number(&sum.detach())?;
            let part = sum.affine(share, 0.0)?;
            total = Some(match total {
                Some(total) => (total + part)?,
                None => part,
            });
        }

        match total {
            Some(total) => run.backward(&total, gradients),
            None => Ok(()),
        }
    }

    /// Forward and backward of an objective whose gradient by the vectors of its rows is known.
    fn flow(
        &self,
        objective: &dyn Objective,
        gradient: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let OnePass { engine, forward, key, rows, .. } = self;
        let Some(gathered) = objective.gathered() else { return Ok(()) };
        let (inputs, needs) = (forward.inputs(rows)?, objective.needs(forward.model));
        let run = engine.forward(&inputs, Some(*key), &needs)?;
        let vectors = gathered.vectors(forward, rows, &run.seen()?)?;
        run.backward(&(vectors * gradient)?.sum_all()?, gradients)
    }

    /// Whether an objective is the one that the model learns language by.
    fn is_own(&self, active: &Active) -> bool {
        active.kind.task == Some(Task::own(self.forward.frame.language))
    }

    /// The strategy whose weights an objective is shown.
    fn teacher(&self, active: &Active) -> Option<&'static str> {
        let own =
            (self.tells_excess && self.is_own(active)).then_some(strategy::teacher::TEACHER.name);
        active.objective.needs(self.forward.model).teacher.or(own)
    }
}

/// The documents of a step with the mean losses of their labels, in the order of the shards.
fn documents(told: &[LabelLoss], step: &Step) -> Vec<DocumentLoss> {
    let mut sums: BTreeMap<u64, Sums> = BTreeMap::new();
    for label in told {
        let sums = sums.entry(label.document).or_default();
        sums.loss += f64::from(label.loss);
        sums.excess = label.excess.map(|excess| sums.excess.unwrap_or(0.0) + f64::from(excess));
        sums.n += 1;
    }
    let of_document = |(seq, sums): (u64, Sums)| DocumentLoss {
        seq,
        name: step.names.get(&seq).copied().unwrap_or_default(),
        loss: (sums.loss / f64::from(sums.n)) as f32,
        excess: sums.excess.map(|excess| (excess / f64::from(sums.n)) as f32),
    };
    sums.into_iter().map(of_document).collect()
}

/// Of the labels of a document.
#[derive(Default)]
struct Sums {
    loss: f64,
    excess: Option<f64>,
    n: u32,
}

/// What an objective came to over a step.
struct Loss<'a> {
    active: &'a Active,
    sum: f64,
    count: usize,
    weight: f64,
}

impl<'a> Loss<'a> {
    /// Of a step that is yet to be computed.
    fn of(active: &'a Active, step: &Step, at: At) -> Self {
        let sets = || step.microbatches.iter().filter_map(|batch| batch.sets.get(&active.rows));
        let seen = sets().count() as f64 / step.microbatches.len().max(1) as f64;
        Loss {
            active,
            sum: 0.0,
            count: sets().map(|rows| active.objective.count(rows)).sum(),
            weight: active.weight(at, seen),
        }
    }
}

/// What all came to, in the order of the registry.
pub(super) struct Losses<'a>(Vec<Loss<'a>>);

impl<'a> Losses<'a> {
    /// Those that taught something in this step.
    fn taught(&self) -> impl Iterator<Item = &Loss<'a>> {
        self.0.iter().filter(|loss| loss.count > 0 && loss.weight != 0.0)
    }

    pub(super) fn active(&self) -> Vec<&dyn Objective> {
        self.taught().map(|loss| loss.active.objective.as_ref()).collect()
    }

    pub(super) fn metric(&self, step: &Step, lr: f64, grad_norm: f64) -> Metric {
        let mean = |loss: &Loss| loss.sum / loss.count as f64;
        Metric {
            step: step.number,
            train_loss: self.taught().map(|loss| loss.weight * mean(loss)).sum(),
            losses: self
                .taught()
                .map(|loss| (loss.active.kind.name.to_string(), mean(loss)))
                .collect(),
            val_loss: None,
            strategies: BTreeMap::new(),
            lr,
            grad_norm: Some(grad_norm),
            loss_scale: None,
            domain: None,
            hard: None,
            sources: BTreeMap::new(),
            buckets: BTreeMap::new(),
            moving: None,
            tokens: step.tokens,
            padding: share(step.padding, step.tokens + step.padding),
            tokens_per_s: 0.0,
            memory: None,
            seq_first: step.ranges.first().map_or(0, |range| range.first),
            seq_last: step.ranges.last().map_or(0, |range| range.last),
        }
    }
}
