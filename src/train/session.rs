//! What stands around the training loop: the opened data, and a run with its files, begun or resumed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::DType;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::flow::contract::contract;
use crate::flow::dataset::write_json;
use crate::train::batch::{Masker, Step};
use crate::train::checkpoint::{self, Identity, State};
use crate::train::consumed::{self, Consumed};
use crate::train::coverage::Coverage;
use crate::train::evaluate::evaluate;
use crate::train::losses;
use crate::train::metrics::{Log, Metric};
use crate::train::model::{Config, Parameters};
use crate::train::optimiser::AdamW;
use crate::train::params::{Params, ParaphraseAs};
use crate::train::stream::Shards;
use crate::train::tokenizer::Tokenizer;
use crate::train::windows::Position;
use crate::train::{Job, Summary};

const METRICS: &str = "metrics.jsonl";
const CONSUMED: &str = "consumed.jsonl";
const TOKENIZER: &str = "tokenizer.json";
const LOSSES: &str = "losses.jsonl";

/// The shards and the tokenizer of a run.
pub(crate) struct Data {
    pub(crate) train: Shards,
    pub(crate) tokenizer: Tokenizer,
    validation: Option<Shards>,
    documents: u64,
    identity: Identity,
}

impl Data {
    /// Opens the shards, and reads or trains the tokenizer, which then stands in `out`.
    pub(crate) fn open(job: &Job, params: &Params) -> Result<Self> {
        let train = Shards::open(job.shards, "train")?.ok_or_else(|| {
            Error::usage(format!("`{}` holds no `train-*-of-*.parquet`", job.shards.display()))
                .hint("`kpipe build` writes them; give its output folder to `--shards`")
        })?;
        let validation = Shards::open(job.shards, "validation")?;
        if validation.is_none() {
            job.progress.note("there is no validation split: the held-out loss is not measured");
        }
        if params.objective.paraphrase_as == ParaphraseAs::Negative {
            job.progress.note(
                "`train.objective.paraphrase_as` is `negative`: passages that mean the same are pushed apart; \
                 the literature uses them as positives",
            );
        }
        let (documents, ids) = train.identity()?;
        std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
        let tokenizer = tokenizer(job, params, &train)?;
        let identity = Identity {
            seed: job.seed,
            params: params.fingerprint()?,
            contract: contract("shard")?.hash.clone(),
            train: ids,
            validation: validation.as_ref().map(|shards| shards.identity().map(|(_, ids)| ids)).transpose()?,
            tokenizer: tokenizer.hash(),
        };
        Ok(Data { train, tokenizer, validation, documents, identity })
    }

    pub(crate) fn masker<'a>(&'a self, job: &Job, params: &'a Params) -> Masker<'a> {
        Masker { tokenizer: &self.tokenizer, params, seed: job.seed }
    }
}

/// The tokenizer that stands in `out` beside a checkpoint, else the one named in the parameters, else a trained one.
fn tokenizer(job: &Job, params: &Params, train: &Shards) -> Result<Tokenizer> {
    let place = job.out.join(TOKENIZER);
    if checkpoint::latest(job.out)?.is_some() {
        return Tokenizer::read(&place);
    }
    let tokenizer = if params.tokenizer.file.is_empty() {
        job.progress.message("training the tokenizer");
        Tokenizer::train(train, &params.tokenizer, job.seed)?
    } else {
        Tokenizer::read(Path::new(&params.tokenizer.file))?
    };
    tokenizer.save(&place)?;
    Ok(tokenizer)
}

/// A run under way: its model, its optimiser, where it stands, and its logs.
pub(crate) struct Session<'a> {
    pub(crate) config: Config,
    pub(crate) parameters: Parameters,
    pub(crate) optimiser: AdamW,
    pub(crate) step: u64,
    pub(crate) position: Position,
    pub(crate) pad: u32,
    job: &'a Job<'a>,
    identity: Identity,
    first_val_loss: Option<f64>,
    metrics: Log,
    consumed: Log,
    begun: Instant,
    resumed_from: u64,
    tokens: u64,
}

impl<'a> Session<'a> {
    /// Resumes the newest checkpoint in `out`, or begins with drawn weights.
    pub(crate) fn open(job: &'a Job<'a>, params: &Params, data: &Data) -> Result<Self> {
        let config = params.config(data.tokenizer.vocabulary);
        let declared = config.declare();
        let found = match checkpoint::latest(job.out)? {
            Some(path) => Some((checkpoint::state(&path)?, path)),
            None => None,
        };
        if let Some((state, path)) = &found {
            data.identity.check(&state.identity).map_err(|error| error.at(path.display()))?;
        }
        let (parameters, optimiser) = match &found {
            Some((state, path)) => checkpoint::tensors(path, state, &declared, params, job.device)?,
            None => (Parameters::draw(&declared, job.seed, DType::F32, job.device)?, AdamW::new(&params.optimiser)),
        };
        let step = found.as_ref().map_or(0, |(state, _)| state.step);
        let mut session = Session {
            pad: data.tokenizer.special.pad,
            position: found.as_ref().map_or_else(Position::default, |(state, _)| state.position),
            first_val_loss: found.and_then(|(state, _)| state.first_val_loss),
            metrics: Log::open(&job.out.join(METRICS), step)?,
            consumed: Log::open(&job.out.join(CONSUMED), step)?,
            identity: data.identity.clone(),
            begun: Instant::now(),
            resumed_from: step,
            tokens: 0,
            config,
            parameters,
            optimiser,
            step,
            job,
        };
        job.progress.begin("train", Some(params.steps - step), "steps");
        if step == 0 {
            session.first_val_loss = session.evaluate(data, &data.masker(job, params))?;
        }
        Ok(session)
    }

    /// The loss on the validation split; `None` where there is none.
    pub(crate) fn evaluate(&self, data: &Data, masker: &Masker) -> Result<Option<f64>> {
        let Some(shards) = &data.validation else { return Ok(None) };
        evaluate(shards, &self.parameters, &self.config, masker)
    }

    /// Writes the loss of every training document.
    pub(crate) fn write_losses(&self, data: &Data, masker: &Masker) -> Result<()> {
        let place = self.job.out.join(LOSSES);
        self.job.progress.message("measuring the loss of every document");
        let n = losses::write(&data.train, &self.parameters, &self.config, masker, &place)?;
        self.job.progress.note(&format!("`{}` holds the losses of {n} documents", place.display()));
        Ok(())
    }

    /// One more step is done, and the next window stands at `position`.
    pub(crate) fn advance(&mut self, step: &Step, position: Position) {
        if step.ranges.last().is_some_and(|range| range.epoch == 1) && self.position.cursor.epoch == 0 {
            let step = step.number;
            self.job.progress.note(&format!("step {step} begins the train split again from its first document"));
        }
        (self.step, self.position) = (step.number, position);
        self.tokens += step.tokens;
    }

    /// Writes the lines of a step.
    pub(crate) fn log(&mut self, metric: &Metric, step: Step) -> Result<()> {
        self.metrics.write(&metric.line()?)?;
        self.consumed.write(&line(&Consumed { step: step.number, ranges: step.ranges })?)?;
        let val_loss = metric.val_loss.map(|loss| format!(", held-out {loss:.3}")).unwrap_or_default();
        let told = format!("loss {:.3}{val_loss}, {:.0} tokens/s", metric.train_loss, metric.tokens_per_s);
        self.job.progress.message(&told);
        Ok(())
    }

    /// Writes a checkpoint.
    pub(crate) fn save(&self, params: &Params) -> Result<()> {
        let state = State {
            identity: self.identity.clone(),
            step: self.step,
            position: self.position,
            optimiser_steps: self.optimiser.steps(),
            first_val_loss: self.first_val_loss,
        };
        checkpoint::save(self.job.out, &state, &self.parameters, &self.optimiser, params.keep).map(drop)
    }

    /// Tells that a step is done.
    pub(crate) fn tell(&self) {
        self.job.progress.advance(1);
    }

    /// Checks the order that was consumed, exports the model and sums up.
    pub(crate) fn finish(self, data: &Data, coverage: &Coverage) -> Result<Summary> {
        let out = self.job.out;
        consumed::verify(&out.join(CONSUMED), &data.train)?;
        if !coverage.untaught().is_empty() && self.resumed_from < self.step {
            let names = coverage.untaught().join(", ");
            self.job.progress.note(&format!("nothing taught these parameters, they are as they began: {names}"));
        }
        let (first, last) = first_and_last(&out.join(METRICS))?;
        let summary = Summary {
            steps: self.step,
            resumed_from: self.resumed_from,
            n_parameters: self.parameters.n_numbers(),
            vocabulary: self.config.vocabulary,
            documents: data.documents,
            epochs: self.position.cursor.epoch + 1,
            train_loss: (first.train_loss, last.train_loss),
            val_loss: self.first_val_loss.zip(last.val_loss),
            tokens: self.tokens,
            seconds: self.begun.elapsed().as_secs_f64(),
            model: self.export()?,
        };
        self.job.progress.end(&summary.told());
        Ok(summary)
    }

    /// Writes `model.safetensors` and `config.json` beside `tokenizer.json`.
    fn export(&self) -> Result<PathBuf> {
        let place = self.job.out.join("model.safetensors");
        let beside = self.job.out.join("model.safetensors.tmp");
        self.parameters.detached().save(&beside)?;
        std::fs::rename(&beside, &place).map_err(|cause| Error::file("rename", &beside, cause))?;
        write_json(&self.job.out.join("config.json"), &self.config.describe(self.pad))?;
        Ok(place)
    }
}

impl Summary {
    /// One line for a person.
    fn told(&self) -> String {
        let (from, to) = self.val_loss.unwrap_or(self.train_loss);
        let which = if self.val_loss.is_some() { "held-out" } else { "training" };
        format!(
            "{} steps, {which} loss {from:.3} to {to:.3}, {} tokens in {:.0} s",
            self.steps, self.tokens, self.seconds
        )
    }
}

fn line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| Error::data(format!("a log line: {cause}")))
}

fn first_and_last(metrics: &Path) -> Result<(Metric, Metric)> {
    let text = std::fs::read_to_string(metrics).map_err(|cause| Error::file("read", metrics, cause))?;
    let parse = |line: Option<&str>| {
        let damaged = |cause: String| Error::data(format!("`{}` is damaged: {cause}", metrics.display()));
        let line = line.ok_or_else(|| damaged("it is empty".to_string()))?;
        serde_json::from_str::<Metric>(line).map_err(|cause| damaged(cause.to_string()))
    };
    Ok((parse(text.lines().next())?, parse(text.lines().next_back())?))
}
