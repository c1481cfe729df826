//! The training loop.

use std::time::Instant;

use candle_core::{DType, Tensor};

use crate::error::{Error, Kind, Result};
use crate::train::batch::{Microbatch, Step};
use crate::train::coverage::Coverage;
use crate::train::kernels::{self, DropoutKey};
use crate::train::metrics::Metric;
use crate::train::model::Pass;
use crate::train::objective::{Forward, TERMS, Term};
use crate::train::optimiser::{self, Gradients};
use crate::train::params::Params;
use crate::train::schedule::learning_rate;
use crate::train::session::{Data, Session};
use crate::train::windows::Windows;
use crate::train::{Job, Summary, checkpoint};

/// Trains, and exports the model. Called by [`crate::train::train`], on a thread with a large stack.
pub(crate) fn run(job: &Job, params: &Params) -> Result<Summary> {
    let data = Data::open(job, params)?;
    let mut session = Session::open(job, params, &data)?;
    let masker = data.masker(job, params);
    let mut windows = Windows::new(&data.train, &data.tokenizer, params, job.seed, session.position)?;
    let mut coverage = Coverage::new(&session.parameters);
    while session.step < params.steps {
        let clock = Instant::now();
        let step = masker.step(session.step + 1, &mut windows)?;
        let (mut gradients, losses) = backward(job, params, &session, &step)?;
        coverage.check(&gradients, &losses.active(params))?;
        let grad_norm = optimiser::clip(&mut gradients, params.optimiser.clip)?;
        let lr = learning_rate(session.step, params.steps, params.optimiser.lr, &params.schedule)?;
        let mut metric = losses.metric(&step, params, lr, grad_norm);
        refuse_bad_numbers(job, &metric)?;
        session.optimiser.step(&session.parameters, &gradients, lr)?;
        session.advance(&step, windows.position());
        metric.tokens_per_s = step.tokens as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        if due(session.step, params.eval_every, params.steps) {
            metric.val_loss = session.evaluate(&data, &masker)?;
        }
        session.log(&metric, step)?;
        if due(session.step, params.save_every, params.steps) {
            session.save(params)?;
        }
        session.tell();
    }
    if job.losses {
        session.write_losses(&data, &masker)?;
    }
    session.finish(&data, &coverage)
}

/// Whether something that happens every so many steps (0: at the end only) happens after this one.
fn due(step: u64, every: u64, last: u64) -> bool {
    step == last || (every > 0 && step.is_multiple_of(every))
}

/// What each term came to over a step: its sum and its count, in the order of [`TERMS`].
struct Losses(Vec<(f64, usize)>);

/// Forward and backward of all microbatches of a step, in order.
fn backward(job: &Job, params: &Params, session: &Session, step: &Step) -> Result<(Gradients, Losses)> {
    let counts: Vec<usize> =
        TERMS.iter().map(|term| step.microbatches.iter().map(|batch| (term.count)(batch)).sum()).collect();
    let mut losses = Losses(counts.into_iter().map(|count| (0.0, count)).collect());
    let mut gradients = optimiser::empty();
    let weights = session.parameters.tracked();
    for batch in &step.microbatches {
        let dropout = DropoutKey { seed: job.seed, step: step.number, microbatch: batch.index, term: "" };
        let forward = Forward {
            pass: Pass { weights: &weights, config: &session.config, dropout: Some(dropout) },
            objective: &params.objective,
            pad: session.pad,
            dtype: DType::F32,
            device: job.device,
        };
        if let Some(loss) = losses.add(&forward, batch, params)? {
            optimiser::add_gradients(&mut gradients, &session.parameters, loss.backward()?)?;
        }
    }
    Ok((gradients, losses))
}

impl Losses {
    /// Adds a microbatch's sums, and gives its share of the step's loss to differentiate; `None` where no term has
    /// anything to teach.
    fn add(&mut self, forward: &Forward, batch: &Microbatch, params: &Params) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (term, (sum, count)) in TERMS.iter().zip(&mut self.0) {
            let weight = (term.weight)(&params.objective);
            if (term.count)(batch) == 0 || weight == 0.0 {
                continue;
            }
            let found = (term.sum)(&forward.of_term(term.name), batch)?;
            *sum += kernels::number(&found.detach())?;
            let share = found.affine(weight / *count as f64, 0.0)?;
            total = Some(match total {
                Some(before) => (before + share)?,
                None => share,
            });
        }
        Ok(total)
    }

    /// The terms that taught something in this step.
    fn active(&self, params: &Params) -> Vec<&'static Term> {
        let taught =
            |(term, (_, count)): &(&&'static Term, &(f64, usize))| *count > 0 && (term.weight)(&params.objective) > 0.0;
        TERMS.iter().zip(&self.0).filter(taught).map(|(term, _)| *term).collect()
    }

    /// The mean of the term called `name`; `None` where it taught nothing.
    fn mean(&self, name: &str, params: &Params) -> Option<f64> {
        let at = self.active(params).iter().find_map(|term| (term.name == name).then_some(term.name));
        let found = TERMS.iter().zip(&self.0).find(|(term, _)| Some(term.name) == at);
        found.map(|(_, (sum, count))| sum / *count as f64)
    }

    fn metric(&self, step: &Step, params: &Params, lr: f64, grad_norm: f64) -> Metric {
        let weighted =
            |term: &&'static Term| (term.weight)(&params.objective) * self.mean(term.name, params).unwrap_or(0.0);
        Metric {
            step: step.number,
            train_loss: TERMS.iter().map(weighted).sum(),
            mlm_loss: self.mean("mlm", params).unwrap_or(0.0),
            contrastive_loss: self.mean("contrastive", params),
            val_loss: None,
            lr,
            grad_norm,
            tokens_per_s: 0.0,
            seq_first: step.ranges.first().map_or(0, |range| range.first),
            seq_last: step.ranges.last().map_or(0, |range| range.last),
        }
    }
}

/// Stops before a loss or a gradient that is not finite reaches the weights.
fn refuse_bad_numbers(job: &Job, metric: &Metric) -> Result<()> {
    if metric.train_loss.is_finite() && metric.grad_norm.is_finite() {
        return Ok(());
    }
    let good = match checkpoint::latest(job.out)? {
        Some(path) => format!("the last good checkpoint is `{}`", path.display()),
        None => "there is no checkpoint yet".to_string(),
    };
    let Metric { step, train_loss, grad_norm, seq_first, seq_last, .. } = metric;
    let what = format!("the loss is {train_loss} and the norm of the gradient {grad_norm} in step {step}");
    Err(Error::new(Kind::Numbers, what)
        .at(format!("documents with `seq` {seq_first} to {seq_last}"))
        .hint(good)
        .hint("lower `train.optimiser.lr` or raise `train.schedule.warmup`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::flow::progress::{Progress, Silent};
    use crate::train::fixture::{grammar, shard_folder, tiny_params};
    use crate::train::stream::{Document, Rewrite};
    use crate::train::{Params, train};
    use candle_core::Device;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Panics when the given number of steps is done, as a kill would end the run.
    struct Kill(AtomicU64);

    impl Progress for Kill {
        fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
        fn expect(&self, _: u64) {}
        fn advance(&self, n: u64) {
            assert!(self.0.fetch_sub(n, Ordering::Relaxed) > n, "killed");
        }
        fn message(&self, _: &str) {}
        fn note(&self, _: &str) {}
        fn end(&self, _: &str) {}
    }

    fn job<'a>(shards: &'a Path, out: &'a Path, progress: &'a dyn Progress) -> Job<'a> {
        Job { shards, out, seed: 17, device: &Device::Cpu, losses: false, progress }
    }

    /// The bytes of everything a run leaves, with `tokens_per_s` taken out of the metrics.
    fn outcome(out: &Path) -> Vec<Vec<u8>> {
        let read = |name: &str| std::fs::read(out.join(name)).unwrap();
        let metrics = String::from_utf8(read("metrics.jsonl")).unwrap();
        let steady = |line: &str| {
            let mut metric: Metric = serde_json::from_str(line).unwrap();
            metric.tokens_per_s = 0.0;
            metric.line().unwrap()
        };
        let metrics: Vec<String> = metrics.lines().map(steady).collect();
        let checkpoint = checkpoint::latest(out).unwrap().unwrap();
        let mut all: Vec<Vec<u8>> =
            ["model.safetensors", "config.json", "tokenizer.json", "consumed.jsonl"].into_iter().map(read).collect();
        let saved = ["model.safetensors", "optimiser.safetensors", "state.json"];
        all.extend(saved.into_iter().map(|name| std::fs::read(checkpoint.join(name)).unwrap()));
        all.push(metrics.join("\n").into_bytes());
        all
    }

    #[test]
    fn a_killed_run_goes_on_bit_for_bit() {
        let folder = shard_folder(&grammar(50, 3), &grammar(12, 9));
        let params = tiny_params();
        let (straight, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let summary = train(&job(folder.path(), straight.path(), &Silent), &params).unwrap();
        assert_eq!((summary.steps, summary.resumed_from), (20, 0));
        // Before the first checkpoint, on one, between two; the last attempt finds a run to go on with.
        for steps in [2, 4, 7, 1] {
            let kill = Kill(AtomicU64::new(steps));
            let dies = || train(&job(folder.path(), killed.path(), &kill), &params);
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(dies)).is_err());
        }
        let resumed = train(&job(folder.path(), killed.path(), &Silent), &params).unwrap();
        assert!(resumed.resumed_from > 0);
        assert_eq!((resumed.val_loss, resumed.train_loss), (summary.val_loss, summary.train_loss));
        assert!(outcome(straight.path()) == outcome(killed.path()), "the bytes differ");
        // A finished run that is started again changes nothing.
        train(&job(folder.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(straight.path()) == outcome(killed.path()), "the bytes differ");
    }

    /// Runs itself as a child process for each number of threads, since candle reads it from the environment.
    #[test]
    fn threads_change_no_bit() {
        let Some(out) = std::env::var_os("KPIPE_TEST_TRAIN_OUT") else {
            let outcomes: Vec<Vec<Vec<u8>>> = ["1", "2"]
                .iter()
                .map(|threads| {
                    let out = tempfile::tempdir().unwrap();
                    let status = std::process::Command::new(std::env::current_exe().unwrap())
                        .args(["--exact", "train::trainer::tests::threads_change_no_bit"])
                        .env("KPIPE_TEST_TRAIN_OUT", out.path())
                        .env("RAYON_NUM_THREADS", threads)
                        .stdout(std::process::Stdio::null())
                        .status()
                        .unwrap();
                    assert!(status.success());
                    outcome(out.path())
                })
                .collect();
            assert!(outcomes[0] == outcomes[1], "the bytes differ");
            return;
        };
        let folder = shard_folder(&grammar(50, 3), &[]);
        let mut params = tiny_params();
        (params.steps, params.model.hidden, params.model.feed_forward, params.batch) = (4, 64, 256, 16);
        train(&job(folder.path(), Path::new(&out), &Silent), &params).unwrap();
    }

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
        assert!(first > 4.0 && last < 0.5, "held-out loss from {first} to {last}");
    }

    /// 400 abstracts, with a paraphrase and a hard negative of each first sentence, at the default sizes.
    #[test]
    fn real_abstracts_are_learnt() {
        let Some(folder) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let path = Path::new(&folder).join("pubmed-abstracts-csv/cohen2006-ADHD-refetched.csv.gz");
        let mut csv = csv::Reader::from_reader(flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()));
        let column = csv.headers().unwrap().iter().position(|name| name == "abstract").unwrap();
        let texts: Vec<String> =
            csv.records().map(|row| row.unwrap()[column].to_string()).filter(|text| text.len() > 300).collect();
        let documents = |texts: &[String]| texts.iter().enumerate().map(abstract_document).collect::<Vec<Document>>();
        let shards = shard_folder(&documents(&texts[..400]), &documents(&texts[400..460]));
        let out = tempfile::tempdir().unwrap();
        let params = Params { steps: 40, eval_windows: 32, ..crate::train::fixture::default_params() };
        let summary = train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let (first, last) = summary.val_loss.unwrap();
        assert!(last < first - 0.5, "held-out loss from {first} to {last}");
    }

    fn abstract_document((seq, text): (usize, &String)) -> Document {
        let anchor = text.split_inclusive(". ").next().unwrap().to_string();
        let mut words: Vec<&str> = anchor.split(' ').collect();
        words.reverse();
        let rewrite = |text: String, paraphrase| Rewrite { anchor: anchor.clone(), text, paraphrase };
        let rewrites = vec![rewrite(format!("In short: {anchor}"), true), rewrite(words.join(" "), false)];
        Document { seq: seq as u64, id: format!("abstract:{seq}"), text: text.clone(), rewrites }
    }

    /// Windows of unequal length, so that the mean of microbatch means would be another loss.
    #[test]
    fn accumulating_equals_one_large_batch() {
        let folder = shard_folder(&grammar(50, 3), &[]);
        let losses = |batch, accumulate| {
            let mut params = Params { steps: 3, batch, accumulate, ..tiny_params() };
            (params.model.dropout, params.objective.contrastive_weight) = (0.0, 0.0);
            let out = tempfile::tempdir().unwrap();
            train(&job(folder.path(), out.path(), &Silent), &params).unwrap();
            let text = std::fs::read_to_string(out.path().join("metrics.jsonl")).unwrap();
            let metrics = text.lines().map(|line| serde_json::from_str::<Metric>(line).unwrap());
            metrics.flat_map(|metric| [metric.train_loss, metric.grad_norm]).collect::<Vec<f64>>()
        };
        for (a, b) in losses(12, 1).into_iter().zip(losses(3, 4)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn bad_numbers_stop_the_run_with_their_place() {
        let folder = shard_folder(&grammar(50, 3), &[]);
        let mut params = tiny_params();
        (params.optimiser.lr, params.optimiser.weight_decay, params.schedule.warmup) = (10.0, 10.0, 0.0);
        (params.optimiser.clip, params.steps, params.schedule.kind) = (0.0, 60, "constant".into());
        let out = tempfile::tempdir().unwrap();
        let error = train(&job(folder.path(), out.path(), &Silent), &params).unwrap_err();
        assert_eq!(error.kind(), Kind::Numbers);
        let text = error.to_string();
        assert!(text.contains("in step") && text.contains("`seq`") && text.contains("checkpoints/step-"), "{text}");
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
}
