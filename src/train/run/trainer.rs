//! The training loop.

use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::flow::stop;
use crate::train::data::again::Again;
use crate::train::data::batch::{Batcher, Step};
use crate::train::data::windows::{Position, Windows};
use crate::train::model::gradients;
use crate::train::objective::Active;
use crate::train::optimiser;
use crate::train::params::Params;
use crate::train::run::checkpoint;
use crate::train::run::coverage::Coverage;
use crate::train::run::evaluate::Measured;
use crate::train::run::metrics::{Metric, memory};
use crate::train::run::passes::{Passed, backward};
use crate::train::run::selective;
use crate::train::run::session::{Data, Session};
use crate::train::schedule::learning_rate;
use crate::train::strategy::{self, At, Did};
use crate::train::{Job, Summary};

/// Steps whose rows are made before they are needed.
const READ_AHEAD: usize = 2;

/// Trains, and exports the model. Called by [`crate::train::train`], on a thread with a large
/// stack.
pub(crate) fn run(job: &Job, params: &Params) -> Result<Summary> {
    let data = Data::open(job, params)?;
    let batcher = data.batcher(job, params)?;
    let mut session = Session::open(job, params, &data, &batcher)?;
    let windows = Windows::new(&data.train, &batcher, session.position)?;
    let mut coverage = Coverage::new(&session.parameters)?;

    std::thread::scope(|scope| {
        let numbers = session.step + 1..=params.steps;
        let again = session.again().cloned();
        let Reading { steps, chosen } = read_ahead(scope, &batcher, windows, numbers, again)?;
        while session.step < params.steps {
            let clock = Instant::now();
            let made = match steps
                .recv()
                .map_err(|_| Error::data("the thread that makes the rows failed"))?
            {
                Ok(made) => made,
                Err(error) => {
                    // Whatever is wrong with the shards, what was learned from them before is not
                    // lost.
                    let told = session.save_if_new(params)?;
                    return Err(told.iter().fold(error, |error, told| error.hint(told)));
                }
            };

            let training =
                Training { job, params, batcher: &batcher, objectives: &data.objectives };
            training.learn(&mut session, &mut coverage, made, clock)?;
            if let Some(again) = session.again().filter(|again| is_chosen(again, session.step)) {
                // Nobody listens behind the last step.
                _ = chosen.send(again.clone());
            }

            if let Some(signal) = stop::requested().filter(|_| session.step < params.steps) {
                session.save_if_new(params)?;
                let what = format!(
                    "a checkpoint of step {} is saved; the same command goes on from it",
                    session.step
                );
                return Err(Error::new(Kind::Stopped(signal), what));
            }
        }
        Result::Ok(())
    })?;

    if job.losses {
        session.write_losses(&batcher)?;
    }
    session.finish(params, &coverage)
}

/// The rows of a step, and where the next window stands.
struct Made {
    step: Step,
    position: Position,
}

/// A thread that makes rows.
struct Reading {
    /// The steps it made.
    steps: Receiver<Result<Made>>,
    /// Takes what is to be read again, behind each step that chose.
    chosen: Sender<Again>,
}

/// Whether what is read again is chosen anew behind this step.
fn is_chosen(again: &Again, step: u64) -> bool {
    again.every > 0 && step.is_multiple_of(again.every)
}

/// Makes the steps' rows on a thread of their own, a few ahead; what is made does not depend on how
/// far ahead it is, since the thread waits for what is to be read again.
fn read_ahead<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    batcher: &'scope Batcher,
    mut windows: Windows<'scope>,
    numbers: RangeInclusive<u64>,
    again: Option<Again>,
) -> Result<Reading> {
    let (made, steps) = sync_channel(READ_AHEAD);
    let (chosen, choices) = channel();
    let (first, mut again) = (*numbers.start(), again.unwrap_or_default());
    let make = move || {
        for number in numbers {
            if number > first && is_chosen(&again, number - 1) {
                let Ok(next) = choices.recv() else { return };
                again = next;
            }
            let step = batcher
                .step(number, &mut windows, &mut again)
                .map(|step| Made { step, position: windows.position() });
            let failed = step.is_err();
            // Where nobody listens any more, the run failed or was stopped.
            if made.send(step).is_err() || failed {
                return;
            }
        }
    };

    let started = std::thread::Builder::new().name("rows".to_string()).spawn_scoped(scope, make);
    started.map_err(Error::no_thread)?;
    Ok(Reading { steps, chosen })
}

/// What stays the same from step to step.
pub(super) struct Training<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) params: &'a Params,
    batcher: &'a Batcher<'a>,
    pub(super) objectives: &'a [Active],
}

impl Training<'_> {
    /// One step: forward, backward, the optimiser, and what is due behind it. It began at `clock`,
    /// with the wait for its rows.
    fn learn(
        &self,
        session: &mut Session,
        coverage: &mut Coverage,
        made: Made,
        clock: Instant,
    ) -> Result<()> {
        let Made { mut step, position } = made;
        let at = At { step: step.number, total: self.params.steps };
        session.before(at)?;
        let moves = strategy::moves(&session.strategies, at, &session.layout)?;
        let scale = session.loss_scale.map_or(1.0, |scale| scale.scale);

        self.select(session, &mut step, at)?;

        let Passed { mut gradients, losses, documents } =
            backward(self, session, &step, at, &moves, scale)?;
        // Clipping goes by the norm of what moves.
        moves.mask(&mut gradients)?;
        let grad_norm = gradients::norm(&gradients)? / scale;
        let lr = learning_rate(
            session.updates(),
            self.params.steps,
            self.params.optimiser.lr,
            &self.params.schedule,
        )?;

        let mut metric = losses.metric(&step, lr, grad_norm);
        let shares = session.shares(&step);
        (metric.domain, metric.hard) = (Some(shares.domain), Some(shares.hard));
        (metric.sources, metric.buckets) = session.by_source_and_bucket(&documents);
        let n_moving = moves.n_numbers(&session.layout.declared);
        metric.moving = Some(share(n_moving, session.layout.n_numbers()));
        metric.loss_scale = session.loss_scale.map(|scale| scale.scale);

        if session.loss_scale.is_some() && !grad_norm.is_finite() {
            metric.grad_norm = None;
            let number = step.number;
            let told = format!(
                "step {number} overflowed in f16 at the loss scale {scale} and was skipped"
            );
            self.job.progress.note(&told);
        }

        self.refuse_bad_numbers(&metric)?;

        // Before what is to be read again is chosen anew.
        session.read_again(&step);
        if let Some(grad_norm) = metric.grad_norm {
            coverage.check(&gradients, &losses.active(), &moves)?;
            let factor = optimiser::clip(grad_norm, self.params.optimiser.clip) / scale;
            session.learn(&gradients, &moves, lr, factor)?;
            let did = Did { losses: metric.losses.clone(), grad_norm, documents };
            session.after(at, &did)?;
        }

        session
            .loss_scale
            .as_mut()
            .map_or(Ok(()), |scale| scale.update(metric.grad_norm.is_some()))?;
        session.advance(&step, position);
        metric.tokens_per_s = step.tokens as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        metric.memory = memory();

        metric.strategies = session.told();
        if due(session.step, self.params.eval_every, self.params.steps) {
            let (val_loss, beside) = session.evaluate(self.batcher)?;
            metric.val_loss = val_loss;
            metric.strategies.extend(beside);
        }
        if session.step == self.params.steps {
            metric.strategies.extend(session.evaluate_with_lines(self.batcher)?);
        }

        session.log(&metric, step)?;
        if due(session.step, self.params.eval_every, self.params.steps) {
            session.report(self.params.steps)?;
        }
        if due(session.step, self.params.save_every, self.params.steps) {
            session.save(self.params)?;
        }
        session.tell();
        Ok(())
    }

    /// Leaves the hardest rows of a step that learns from those alone.
    fn select(&self, session: &Session, step: &mut Step, at: At) -> Result<()> {
        if !selective::is_active(&self.params.selective, at) {
            return Ok(());
        }
        let weights = session.parameters.detached();
        let measured = Measured::new(session.model(), &weights, self.job.device, self.batcher)?;
        selective::select(step, &measured, self.params.selective.keep, self.job.seed)
    }

    /// Stops before a loss or a gradient that is not finite reaches the weights.
    fn refuse_bad_numbers(&self, metric: &Metric) -> Result<()> {
        if metric.train_loss.is_finite() && metric.grad_norm.is_none_or(f64::is_finite) {
            return Ok(());
        }
        let good = match checkpoint::latest(self.job.out)? {
            Some(path) => format!("the last good checkpoint is `{}`", path.display()),
            None => "there is no checkpoint yet".to_string(),
        };
        let Metric { step, train_loss, grad_norm, seq_first, seq_last, .. } = metric;
        let grad_norm = grad_norm.map_or("unknown".to_string(), |norm| norm.to_string());
        let what = format!(
            "the loss is {train_loss} and the norm of the gradient {grad_norm} in step {step}"
        );

        Err(Error::new(Kind::Numbers, what)
            .at(format!("documents with `seq` {seq_first} to {seq_last}"))
            .hint(good)
            .hint("lower `train.optimiser.lr` or raise `train.schedule.warmup`"))
    }
}

/// Whether something that happens every so many steps (0: at the end only) happens after this one.
fn due(step: u64, every: u64, last: u64) -> bool {
    step == last || (every > 0 && step.is_multiple_of(every))
}

/// `part` of `whole`; 0 of nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::flow::progress::Silent;
    use crate::train::data::stream::{Document, Rewrite};
    use crate::train::fixture::{
        checkpoint_folder, dies_after, grammar, job, metrics, outcome, shard_folder, tiny_params,
    };
    use crate::train::model::FAMILIES;
    use crate::train::model::Language;
    use crate::train::params::Precision;
    use crate::train::{Params, train};
    use candle_core::Device;
    use std::path::Path;

    #[test]
    fn a_killed_run_goes_on_bit_for_bit() {
        let folder = shard_folder(&grammar(50, 3), &grammar(12, 9));
        for (shuffle, packing) in [(0, false), (8, true)] {
            let params = Params { shuffle, packing, ..tiny_params() };
            let (straight, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let summary = train(&job(folder.path(), straight.path(), &Silent), &params).unwrap();
            assert_eq!((summary.steps, summary.resumed_from), (20, 0));
            // Before the first checkpoint, on one, between two; the last attempt finds a run to go
            // on with.
            for steps in [2, 4, 7, 1] {
                dies_after(steps, folder.path(), killed.path(), &params);
            }

            let resumed = train(&job(folder.path(), killed.path(), &Silent), &params).unwrap();
            assert!(resumed.resumed_from > 0);
            assert_eq!(
                (resumed.val_loss, resumed.train_loss),
                (summary.val_loss, summary.train_loss)
            );
            assert!(outcome(straight.path()) == outcome(killed.path()), "the bytes differ");
            // A finished run that is started again changes nothing.
            train(&job(folder.path(), killed.path(), &Silent), &params).unwrap();

            assert!(outcome(straight.path()) == outcome(killed.path()), "the bytes differ");
        }
    }

    /// Runs itself as a child process for each number of threads, since candle reads it from the
    /// environment.
    #[test]
    fn threads_change_no_bit() {
        let Some(out) = std::env::var_os("KPIPE_TEST_TRAIN_OUT") else {
            let run = |threads: &str, precision: &str| -> Vec<Vec<u8>> {
                let out = tempfile::tempdir().unwrap();
                let status = std::process::Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "train::run::trainer::tests::threads_change_no_bit"])
                    .env("KPIPE_TEST_TRAIN_OUT", out.path())
                    .env("KPIPE_TEST_TRAIN_PRECISION", precision)
                    .env("RAYON_NUM_THREADS", threads)
                    .stdout(std::process::Stdio::null())
                    .status()
                    .unwrap();

                assert!(status.success());
                outcome(out.path())
            };
            for precision in ["f32", "bf16"] {
                assert!(run("1", precision) == run("2", precision), "the bytes of {precision}");
            }
            return;
        };

        let folder = shard_folder(&grammar(50, 3), &[]);
        let is_bf16 = std::env::var("KPIPE_TEST_TRAIN_PRECISION").unwrap() == "bf16";
        let precision = if is_bf16 { Precision::Bf16 } else { Precision::F32 };
        let mut params = Params { precision, ..tiny_params() };
        (params.steps, params.model.hidden, params.model.feed_forward, params.batch) =
            (4, 64, 256, 16);
        train(&job(folder.path(), Path::new(&out), &Silent), &params).unwrap();
    }

    /// The rate is high for so few steps, so where it ends depends on the rounding: 0.06 to 0.8
    /// over seeds.
    #[test]
    fn the_toy_grammar_is_learnt() {
        let folder = shard_folder(&grammar(200, 3), &grammar(40, 9));
        let mut params = tiny_params();
        (params.steps, params.batch, params.accumulate, params.max_tokens) = (300, 16, 1, 40);
        (params.model.hidden, params.model.feed_forward, params.model.dropout) = (32, 128, 0.0);
        params.optimiser.lr = 1e-2;
        (params.eval_every, params.save_every) = (0, 0);
        let out = tempfile::tempdir().unwrap();
        let summary = train(&job(folder.path(), out.path(), &Silent), &params).unwrap();
        let (first, last) = summary.val_loss.unwrap();

        assert!(first > 4.0 && last < 1.2, "held-out loss from {first} to {last}");
    }

    /// A checkpoint of every family, as a Hugging Face folder, goes on learning; a killed run goes
    /// on bit for bit; with states kept every two steps of the model the bytes are the same; what
    /// is exported is a folder to go on from.
    #[test]
    fn every_family_goes_on_from_a_folder() {
        let shards = shard_folder(&grammar(80, 3), &grammar(20, 9));
        for family in FAMILIES {
            let init = checkpoint_folder(family);
            let mut params = tiny_params();
            (params.steps, params.eval_every, params.save_every, params.max_tokens) =
                (30, 0, 8, 20);
            params.optimiser.lr = 1e-2;
            params.strategy.set("ema", "decay", 0.9);
            params.init = init.path().to_str().unwrap().into();
            let [whole, killed, again] = [(); 3].map(|()| tempfile::tempdir().unwrap());
            let summary = train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
            let (first, last) = summary.val_loss.unwrap();
            assert!(last < first - 0.5, "{}: held-out loss from {first} to {last}", family.name);
            let sparing = Params { checkpoint_every: 2, ..params.clone() };
            dies_after(13, shards.path(), killed.path(), &sparing);
            train(&job(shards.path(), killed.path(), &Silent), &sparing).unwrap();
            assert!(outcome(whole.path()) == outcome(killed.path()), "{}", family.name);
            let means = [&whole, &killed]
                .map(|out| std::fs::read(out.path().join("ema/model.safetensors")).unwrap());
            assert!(means[0] == means[1], "{}: the running mean", family.name);
            let params = Params { init: whole.path().to_str().unwrap().into(), steps: 1, ..params };
            let summary = train(&job(shards.path(), again.path(), &Silent), &params).unwrap();
            let begun = summary.val_loss.unwrap().0;

            assert!(
                (begun - last).abs() < 1e-12,
                "{}: exported at {last}, read at {begun}",
                family.name
            );
        }
    }

    /// Prompts learn, the model stays as it is; they are saved alone, and put onto the model again.
    #[test]
    fn an_adapter_learns_on_a_model_that_does_not() {
        let shards = shard_folder(&grammar(80, 3), &grammar(20, 9));
        for family in FAMILIES.iter().filter(|family| family.language == Language::Causal) {
            let (init, [whole, killed, again]) =
                (checkpoint_folder(family), [(); 3].map(|()| tempfile::tempdir().unwrap()));
            let mut params =
                Params { steps: 30, eval_every: 0, save_every: 8, max_tokens: 20, ..tiny_params() };
            params.optimiser.lr = 3e-2;
            params.strategy.set("ema", "decay", 0.9);
            params.strategy.set("adapter", "on", true);
            params.init = init.path().to_str().unwrap().into();
            let before = std::fs::read(init.path().join("model.safetensors")).unwrap();
            let summary = train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
            let (first, last) = summary.val_loss.unwrap();
            assert!(last < first, "{}: held-out loss from {first} to {last}", family.name);
            assert!(std::fs::read(init.path().join("model.safetensors")).unwrap() == before);
            assert!(
                !whole.path().join("model.safetensors").exists(),
                "the adapter alone is written"
            );
            let mut plain = Params { steps: 1, ..params.clone() };
            plain.strategy.set("adapter", "on", false);
            let other = tempfile::tempdir().unwrap();
            let alone = train(&job(shards.path(), other.path(), &Silent), &plain).unwrap();
            assert_eq!(alone.val_loss.unwrap().0, first, "{} begins as another model", family.name);

            dies_after(13, shards.path(), killed.path(), &params);
            train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();

            for name in ["adapter.safetensors", "ema/adapter.safetensors", "consumed.jsonl"] {
                let read = |out: &tempfile::TempDir| std::fs::read(out.path().join(name)).unwrap();
                assert!(read(&whole) == read(&killed), "{}: {name}", family.name);
            }

            params.steps = 1;
            params.strategy.set("adapter", "from", whole.path().to_str().unwrap());
            let summary = train(&job(shards.path(), again.path(), &Silent), &params).unwrap();
            assert_eq!(
                summary.val_loss.unwrap().0,
                last,
                "{}: put onto the model again",
                family.name
            );

            params.strategy.set("adapter", "tokens", 7);
            let error =
                train(&job(shards.path(), other.path().join("x").as_path(), &Silent), &params)
                    .unwrap_err();
            assert!(error.to_string().contains("tokens: 7"), "{error}");
        }

        let mut params = Params { init: String::new(), ..tiny_params() };
        params.strategy.set("adapter", "on", true);
        let out = tempfile::tempdir().unwrap();
        let error = train(&job(shards.path(), out.path(), &Silent), &params).unwrap_err();
        assert!(error.to_string().contains("--init"), "{error}");
    }

    /// Within 2 % of each other, on the mean over 100 steps. For f16 without the contrastive term,
    /// whose gradients overflow at the first scale: what is skipped is learnt later.
    #[test]
    fn halves_learn_as_f32_does() {
        let shards = shard_folder(&grammar(200, 3), &[]);
        let losses = |init: &Path, precision, contrastive_weight| {
            let mut params = Params { precision, steps: 100, max_tokens: 24, ..tiny_params() };
            params.init = init.to_str().unwrap().into();
            params.objective.set("contrastive", "weight", contrastive_weight);
            (params.eval_every, params.save_every, params.optimiser.lr) = (0, 0, 2e-3);
            let out = tempfile::tempdir().unwrap();
            train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
            metrics(out.path()).into_iter().map(|metric| metric.train_loss).collect::<Vec<f64>>()
        };

        for family in FAMILIES {
            let init = checkpoint_folder(family);
            let all = [(Precision::F64, 0.1), (Precision::Bf16, 0.1), (Precision::F16, 0.0)];

            for (precision, contrastive) in all {
                let expected = losses(init.path(), Precision::F32, contrastive);
                assert!(expected[99] < expected[0] - 0.5, "{}: {expected:?}", family.name);
                let found = losses(init.path(), precision, contrastive);
                assert_ne!(found, expected);
                let off =
                    found.iter().zip(&expected).map(|(a, b)| (a / b - 1.0).abs()).sum::<f64>()
                        / 100.0;
                assert!(off < 0.02, "{} in {precision:?}: off by {off}", family.name);
            }
        }
    }

    /// A step that overflows leaves the weights alone and halves the scale; a killed run goes on
    /// with the same scale.
    #[test]
    fn an_overflow_in_f16_costs_the_step_only() {
        let shards = shard_folder(&grammar(60, 3), &[]);
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let params = Params {
            precision: Precision::F16,
            steps: 12,
            save_every: 1,
            keep: 20,
            ..tiny_params()
        };

        let checkpoint = |out: &Path, step: u64| out.join(format!("checkpoints/step-{step:08}"));

        for out in [whole.path(), killed.path()] {
            dies_after(7, shards.path(), out, &params);
            let place = checkpoint(out, 6).join("state.json");
            let mut state: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
            state["loss_scale"]["scale"] = 2_f64.powi(40).into();
            std::fs::write(&place, state.to_string()).unwrap();
            let behind = checkpoint(out, 7);

            if behind.exists() {
                std::fs::remove_dir_all(behind).unwrap();
            }
        }

        dies_after(3, shards.path(), killed.path(), &params);
        for out in [whole.path(), killed.path()] {
            train(&job(shards.path(), out, &Silent), &params).unwrap();
        }
        assert!(outcome(whole.path()) == outcome(killed.path()), "the bytes differ");
        let weights =
            |step| std::fs::read(checkpoint(whole.path(), step).join("model.safetensors")).unwrap();
        assert!(weights(5) != weights(6) && weights(6) == weights(7), "step 7 overflowed");
        let metrics = metrics(whole.path());
        assert_eq!((metrics[6].grad_norm, metrics[6].loss_scale), (None, Some(2_f64.powi(40))));
        let state = checkpoint::state(&checkpoint(whole.path(), 12)).unwrap();
        let skipped = metrics.iter().filter(|metric| metric.grad_norm.is_none()).count() as u64;
        assert_eq!(state.loss_scale.unwrap().skipped, skipped);
        assert!(metrics[7].lr == metrics[6].lr, "a skipped step does not advance the schedule");
    }

    /// Updates too small for bf16 reach the weights.
    #[test]
    fn weights_stay_f32_in_mixed_precision() {
        let shards = shard_folder(&grammar(60, 3), &[]);
        let init = checkpoint_folder(FAMILIES[0]);
        let mut params =
            Params { precision: Precision::Bf16, steps: 1, max_tokens: 24, ..tiny_params() };
        params.init = init.path().to_str().unwrap().into();
        (params.optimiser.lr, params.optimiser.weight_decay, params.schedule.warmup) =
            (1e-6, 0.0, 0.0);
        let out = tempfile::tempdir().unwrap();
        train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let read = |folder: &Path| {
            let place = folder.join("model.safetensors");
            let tensors = candle_core::safetensors::load(place, &Device::Cpu).unwrap();
            tensors["bert.encoder.layer.0.output.dense.weight"].flatten_all().unwrap()
        };
        let (before, after) = (read(init.path()), read(out.path()));
        let moved = |dtype| {
            let numbers = |x: &candle_core::Tensor| {
                x.to_dtype(dtype)
                    .unwrap()
                    .to_dtype(candle_core::DType::F32)
                    .unwrap()
                    .to_vec1::<f32>()
                    .unwrap()
            };
            numbers(&before).iter().zip(numbers(&after)).filter(|(a, b)| **a != *b).count()
        };

        let (exactly, in_halves) =
            (moved(candle_core::DType::F32), moved(candle_core::DType::BF16));
        assert!(
            exactly > 400 && in_halves * 10 < exactly,
            "{exactly} of 512 moved, {in_halves} as bf16"
        );
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused() {
        let shards = shard_folder(&grammar(20, 3), &[]);
        let fails = |init: &Path, params: Params| {
            let params = Params { init: init.to_str().unwrap().into(), steps: 1, ..params };
            let out = tempfile::tempdir().unwrap();
            train(&job(shards.path(), out.path(), &Silent), &params).unwrap_err().to_string()
        };
        let init = checkpoint_folder(FAMILIES[0]);
        let text = fails(init.path(), Params { max_tokens: 500, ..tiny_params() });
        assert!(text.contains("positions") && text.contains("train.max_tokens="), "{text}");
        let place = init.path().join("tokenizer.json");
        let other = checkpoint_folder(FAMILIES.iter().find(|family| family.name == "t5").unwrap());
        std::fs::copy(other.path().join("tokenizer.json"), &place).unwrap();
        let text = fails(init.path(), tiny_params());
        assert!(text.contains("no token `[PAD]`") && text.contains("tokenizer.json"), "{text}");
        std::fs::remove_file(&place).unwrap();
        assert!(fails(init.path(), tiny_params()).contains("the model's tokenizer is needed"));
        let mut larger = tiny_params();
        let folder = shard_folder(&grammar(60, 3), &[]);
        let tokenizer = crate::train::data::tokenizer::Tokenizer::train(
            &crate::train::data::shards::Shards::open(folder.path(), "train").unwrap().unwrap(),
            &crate::train::model::bert::BERT,
            &crate::train::params::Tokenizer {
                vocabulary: 900,
                min_frequency: 1,
                ..larger.tokenizer.clone()
            },
            1,
        );

        tokenizer.unwrap().save(&place).unwrap();
        larger.tokenizer.file = place.to_str().unwrap().into();
        let text = fails(init.path(), larger);
        assert!(text.contains("rows of embeddings"), "{text}");
        assert!(fails(shards.path(), tiny_params()).contains("no `config.json`"));
    }

    /// 400 abstracts, with a paraphrase and a hard negative of each first sentence, at the default
    /// sizes.
    #[test]
    fn real_abstracts_are_learnt() {
        let Some(folder) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let path = Path::new(&folder).join("pubmed-abstracts-csv/cohen2006-ADHD-refetched.csv.gz");
        let mut csv = csv::Reader::from_reader(flate2::read::MultiGzDecoder::new(
            std::fs::File::open(path).unwrap(),
        ));
        let column = csv.headers().unwrap().iter().position(|name| name == "abstract").unwrap();
        let texts: Vec<String> = csv
            .records()
            .map(|row| row.unwrap()[column].to_string())
            .filter(|text| text.len() > 300)
            .collect();
        let documents = |texts: &[String]| {
            texts.iter().enumerate().map(abstract_document).collect::<Vec<Document>>()
        };
        let shards = shard_folder(&documents(&texts[..400]), &documents(&texts[400..460]));
        let out = tempfile::tempdir().unwrap();
        let params =
            Params { steps: 40, eval_windows: 32, ..crate::train::fixture::default_params() };
        let summary = train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let (first, last) = summary.val_loss.unwrap();

        assert!(last < first - 0.5, "held-out loss from {first} to {last}");
    }

    fn abstract_document((seq, text): (usize, &String)) -> Document {
        let anchor = text.split_inclusive(". ").next().unwrap().to_string();
        let mut words: Vec<&str> = anchor.split(' ').collect();
        words.reverse();
        let rewrite =
            |text: String, paraphrase| Rewrite { anchor: anchor.clone(), text, paraphrase };
        let rewrites =
            vec![rewrite(format!("In short: {anchor}"), true), rewrite(words.join(" "), false)];
        let (id, line) = (format!("abstract:{seq}"), String::new());
        Document { seq: seq as u64, id, text: text.clone(), rewrites, line, family: None }
    }

    /// Windows of unequal length, so that the mean of microbatch means would be another loss.
    #[test]
    fn accumulating_equals_one_large_batch() {
        let folder = shard_folder(&grammar(50, 3), &[]);
        let losses = |batch, accumulate| {
            let mut params = Params { steps: 3, batch, accumulate, ..tiny_params() };
            params.model.dropout = 0.0;
            params.objective.set("contrastive", "weight", 0.0);
            let out = tempfile::tempdir().unwrap();
            train(&job(folder.path(), out.path(), &Silent), &params).unwrap();
            let metrics = metrics(out.path()).into_iter();

            metrics
                .flat_map(|metric| [metric.train_loss, metric.grad_norm.unwrap()])
                .collect::<Vec<f64>>()
        };

        for (a, b) in losses(12, 1).into_iter().zip(losses(3, 4)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn bad_numbers_stop_the_run_with_their_place() {
        let folder = shard_folder(&grammar(50, 3), &[]);
        let mut params = tiny_params();
        (params.optimiser.lr, params.optimiser.weight_decay, params.schedule.warmup) =
            (10.0, 10.0, 0.0);
        (params.optimiser.clip, params.steps, params.schedule.kind) = (0.0, 60, "constant".into());
        let out = tempfile::tempdir().unwrap();
        let error = train(&job(folder.path(), out.path(), &Silent), &params).unwrap_err();
        assert_eq!(error.kind(), Kind::Numbers);
        let text = error.to_string();

        assert!(
            text.contains("in step")
                && text.contains("`seq`")
                && text.contains("checkpoints/step-"),
            "{text}"
        );
    }

    #[test]
    fn another_run_in_the_folder_is_refused() {
        let folder = shard_folder(&grammar(50, 3), &[]);
        let out = tempfile::tempdir().unwrap();
        let params = Params { steps: 2, ..tiny_params() };
        train(&job(folder.path(), out.path(), &Silent), &params).unwrap();
        let longer = Params { steps: 3, ..params };
        let error = train(&job(folder.path(), out.path(), &Silent), &longer).unwrap_err();
        assert!(error.what().contains("parameters in `[train]`"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = train(&job(empty.path(), out.path(), &Silent), &longer).unwrap_err();

        assert!(error.what().contains("no `train-*-of-*.parquet`"), "{error}");
    }

    /// A test-only objective and a test-only strategy, each one file and one line, in a whole run:
    /// what does not move stays bit for bit, parts too, what teaches is kept, and a killed run goes
    /// on to the same bytes.
    #[test]
    fn an_objective_and_a_strategy_are_a_file_and_a_line_each() {
        let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
        let init = checkpoint_folder(FAMILIES[0]);
        let mut params = Params { steps: 12, save_every: 1, keep: 20, ..tiny_params() };
        params.init = init.path().to_str().unwrap().into();
        params.objective.set("toy", "weight", 0.5);
        params.strategy.set("toy", "on", true);
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();

        for steps in [3, 5] {
            dies_after(steps, shards.path(), killed.path(), &params);
        }

        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "the bytes differ");

        let read = |folder: &Path| {
            let place = folder.join("model.safetensors");
            crate::train::model::parameters::read_tensors(&place, &Device::Cpu).unwrap()
        };
        let rows = |tensor: &candle_core::Tensor| tensor.to_vec2::<f32>().unwrap();
        let (first, half) =
            (read(init.path()), read(&whole.path().join("checkpoints/step-00000006")));
        let query = "bert.encoder.layer.1.attention.self.query.weight";

        for (name, before) in &first {
            let is_cut =
                name.starts_with("bert.encoder.layer.1.attention.") && !name.contains("LayerNorm");
            let moved = before.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                != half[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            // The bias behind the heads is of all of them.
            assert_eq!(moved, is_cut && !name.ends_with("output.dense.bias"), "{name}");
        }

        let (before, after) = (rows(&first[query]), rows(&half[query]));
        assert!(
            before[..8] != after[..8] && before[8..] == after[8..],
            "the first head of two moved"
        );
        let last = read(whole.path());
        assert!(first.iter().all(|(name, before)| {
            before.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                != last[name].flatten_all().unwrap().to_vec1::<f32>().unwrap()
        }));

        let metrics = metrics(whole.path());
        assert!(metrics.iter().all(|metric| metric.losses.contains_key("toy")));
        assert_eq!(metrics[11].strategies["toy_steps"], 11.0 + 1.0);
        let alone = Params { strategy: tiny_params().strategy, ..params };
        let error =
            train(&job(shards.path(), tempfile::tempdir().unwrap().path(), &Silent), &alone)
                .unwrap_err();

        assert!(error.what().contains("`toy`, which is off"), "{error}");
    }
}
