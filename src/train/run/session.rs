//! What stands around the training loop: the opened data, and a run with its files, begun or resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Tensor;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flow::contract::contract;
use crate::flow::disk::hash_file;
use crate::flow::stop;
use crate::train::data::batch::{Masker, Step};
use crate::train::data::consumed::{self, Consumed};
use crate::train::data::shards::Shards;
use crate::train::data::tokenizer::{Frame, Tokenizer};
use crate::train::data::windows::Position;
use crate::train::model::hub;
use crate::train::model::hugging_face::{self, Pretrained, TOKENIZER};
use crate::train::model::parameters::write_tensors;
use crate::train::model::{Architecture, Declared, Family, Language, Parameters, Weights, adapter, bert};
use crate::train::objective::contrastive;
use crate::train::optimiser::{AdamW, Ema, Gradients, LossScale};
use crate::train::params::{self, Params, ParaphraseAs, Precision};
use crate::train::run::checkpoint::{self, Identity, State};
use crate::train::run::coverage::Coverage;
use crate::train::run::evaluate::evaluate;
use crate::train::run::losses;
use crate::train::run::metrics::{Log, Metric};
use crate::train::run::plan;
use crate::train::run::trainer::share;
use crate::train::{Job, Summary};

const METRICS: &str = "metrics.jsonl";
const CONSUMED: &str = "consumed.jsonl";
const LOSSES: &str = "losses.jsonl";
const PROJECTION: &str = "projection.safetensors";
const EMA: &str = "ema";

/// The shards, the tokenizer and the shape of the model of a run.
pub(crate) struct Data {
    pub(crate) train: Shards,
    pub(crate) tokenizer: Tokenizer,
    pretrained: Pretrained,
    /// The folder the run goes on from, where there is one.
    origin: Option<PathBuf>,
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
        if train.are_remote() {
            job.progress
                .note("the shards are in a store: `manifest.json` is compared by their sizes, not their hashes");
        }
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
        let origin = match params.init.as_str() {
            "" => None,
            init => Some(hub::folder(init, job.progress)?),
        };
        let init = origin.as_deref().map(hugging_face::shape).transpose()?;
        let beside = origin.as_deref().zip(init.as_ref());
        let family = match &init {
            Some(init) => init.family,
            None if params.config.is_empty() => &bert::BERT,
            None => params.family()?,
        };
        if init.is_some() && !params.config.is_empty() {
            job.progress.note("`train.config` is left out: the model of `train.init` has a shape of its own");
        }
        let tokenizer = tokenizer(job, params, &train, (family, beside))?;
        let mut pretrained = match init {
            Some(pretrained) => pretrained,
            None => drawn(params, &tokenizer)?,
        };
        if params.adapter.on {
            if origin.is_none() {
                return Err(Error::usage("an adapter needs a model to be put onto")
                    .hint("name one with `--init`; prompts alone learn nothing on drawn weights"));
            }
            pretrained.model.adapt(params.adapter.tokens, params.adapter.layers)?;
        }
        if job.device.is_cpu()
            && let Err(error) = plan::check(&pretrained, params, plan::machine_memory())
        {
            if plan::machine_memory().is_none_or(|bytes| plan::memory(&pretrained, params).lasting() > bytes) {
                return Err(error);
            }
            // Rows are as long as the documents: where those are short, less is needed.
            job.progress.note(&format!("{}; {}", error.what(), error.hints().join("; ")));
        }
        check_fit(job, params, &tokenizer, &pretrained)?;
        let identity = Identity {
            seed: job.seed,
            params: params.fingerprint()?,
            contract: contract("shard")?.hash.clone(),
            train: ids,
            validation: validation.as_ref().map(|shards| shards.identity().map(|(_, ids)| ids)).transpose()?,
            tokenizer: tokenizer.hash(),
            init: origin.as_deref().map(|folder| model_hash(folder, &params.adapter)).transpose()?,
        };
        Ok(Data { train, tokenizer, pretrained, origin, validation, documents, identity })
    }

    /// What is trained, as it begins, beside `beside`.
    fn begin(&self, job: &Job, params: &Params, beside: &[Declared]) -> Result<Parameters> {
        let (model, dtype) = (self.pretrained.model.as_ref(), params.precision.weights());
        let draw = |declared: &[Declared]| Parameters::draw(declared, job.seed, dtype, job.device);
        match (model.adapter(), params.adapter.from.as_str(), &self.origin) {
            (Some(adapter), "", _) => draw(&adapter.declare()),
            (Some(adapter), from, _) => adapter.read(Path::new(from), dtype, job.device),
            (None, _, Some(folder)) => Ok(self.pretrained.parameters(folder, dtype, job.device)?.and(draw(beside)?)),
            (None, _, None) => draw(&[model.declare(), beside.to_vec()].concat()),
        }
    }

    /// What is not trained: the model below an adapter.
    fn frozen(&self, job: &Job, params: &Params) -> Result<Option<Parameters>> {
        let (Some(_), Some(folder)) = (self.pretrained.model.adapter(), &self.origin) else { return Ok(None) };
        let dtype = params.precision.weights();
        Ok(Some(self.pretrained.parameters(folder, dtype, job.device)?.freeze()))
    }

    pub(crate) fn masker<'a>(&'a self, job: &Job, params: &'a Params) -> Masker<'a> {
        Masker { tokenizer: &self.tokenizer, params, seed: job.seed }
    }
}

/// What a run begins with, told by content.
fn model_hash(folder: &Path, adapter: &params::Adapter) -> Result<String> {
    let mut hashes = hash_file(&folder.join("config.json"))?;
    for file in hugging_face::files(folder)? {
        hashes += &hash_file(&file)?;
    }
    if adapter.on && !adapter.from.is_empty() {
        let hash = hash_file(&Path::new(&adapter.from).join(adapter::WEIGHTS));
        hashes += &hash.map_err(|error| error.hint("give the output folder of `kpipe train --adapter`"))?;
    }
    Ok(hashes)
}

/// The model that `[train.config]` describes, or else the encoder of `[train.model]`.
fn drawn(params: &Params, tokenizer: &Tokenizer) -> Result<Pretrained> {
    match params.config.is_empty() {
        true => Ok(params.drawn(tokenizer.vocabulary, tokenizer.frame.pad)),
        false => params.described(tokenizer.vocabulary),
    }
}

/// The tokenizer that stands in `out` beside a checkpoint, else the one named in the parameters, else that of the model
/// the run goes on from, else a trained one.
fn tokenizer(
    job: &Job,
    params: &Params,
    train: &Shards,
    (family, init): (&Family, Option<(&Path, &Pretrained)>),
) -> Result<Tokenizer> {
    let place = job.out.join(TOKENIZER);
    let (language, config) = (family.language, init.map_or(&Value::Null, |(_, init)| &init.config));
    let given = (!params.tokenizer.file.is_empty()).then(|| PathBuf::from(&params.tokenizer.file));
    let beside = init.map(|(folder, _)| folder.join(TOKENIZER));
    if checkpoint::latest(job.out)?.is_some() {
        match Tokenizer::read(&place, language, config) {
            Ok(tokenizer) => return Ok(tokenizer),
            // Made again from what it was made of it is the same, or the checkpoint says that it is not.
            Err(error) => job.progress.note(&format!("{}; it is made again", error.what())),
        }
    }
    let tokenizer = if let Some(file) = given {
        Tokenizer::read(&file, language, config)?
    } else if let Some(file) = beside {
        Tokenizer::read(&file, language, config).map_err(|error| {
            error.hint("the model's tokenizer is needed: copy its `tokenizer.json` there, or name it in `train.tokenizer.file`")
        })?
    } else {
        job.progress.message("training the tokenizer");
        Tokenizer::train(train, family, &params.tokenizer, job.seed)?
    };
    tokenizer.save(&place)?;
    Ok(tokenizer)
}

/// Checks that the tokenizer and the windows fit the model.
fn check_fit(job: &Job, params: &Params, tokenizer: &Tokenizer, pretrained: &Pretrained) -> Result<()> {
    let size = pretrained.model.size();
    if tokenizer.vocabulary > size.vocabulary {
        return Err(Error::data(format!(
            "the tokenizer has {} tokens, the model {} rows of embeddings",
            tokenizer.vocabulary, size.vocabulary
        ))
        .hint("use the tokenizer the model was trained with"));
    }
    if tokenizer.vocabulary < size.vocabulary {
        let (tokens, rows) = (tokenizer.vocabulary, size.vocabulary);
        job.progress.note(&format!("the tokenizer has {tokens} tokens, the model {rows} rows of embeddings"));
    }
    plan::check_rows(pretrained, params)?;
    if params.objective.contrastive_weight > 0.0
        && !contrastive::CONTRASTIVE.languages.contains(&pretrained.family.language)
    {
        let name = pretrained.family.name;
        job.progress.note(&format!("the contrastive term is left out: it is not defined for {name}"));
    }
    Ok(())
}

/// A run under way: its model, its optimiser, where it stands, and its logs.
pub(crate) struct Session<'a> {
    pub(crate) parameters: Parameters,
    pub(crate) optimiser: AdamW,
    ema: Option<Ema>,
    /// Where the precision is f16.
    pub(crate) loss_scale: Option<LossScale>,
    pub(crate) step: u64,
    pub(crate) position: Position,
    data: &'a Data,
    job: &'a Job<'a>,
    first_val_loss: Option<f64>,
    metrics: Log,
    consumed: Log,
    begun: Instant,
    resumed_from: u64,
    tokens: u64,
    padding: u64,
}

impl<'a> Session<'a> {
    /// Resumes the newest checkpoint in `out`, or begins with drawn weights.
    pub(crate) fn open(job: &'a Job<'a>, params: &Params, data: &'a Data) -> Result<Self> {
        let model = data.pretrained.model.as_ref();
        let beside = match contrastive::CONTRASTIVE.is_on(data.pretrained.family.language, &params.objective) {
            true => contrastive::declare(model),
            false => Vec::new(),
        };
        let declared = match model.adapter() {
            Some(adapter) => adapter.declare(),
            None => [model.declare(), beside.clone()].concat(),
        };
        let found = match checkpoint::latest(job.out)? {
            Some(path) => Some((checkpoint::state(&path)?, path)),
            None => None,
        };
        if let Some((state, path)) = &found {
            data.identity.check(&state.identity).map_err(|error| error.at(path.display()))?;
        }
        checkpoint::tidy(job.out, params.keep)?;
        let (mut parameters, optimiser) = match &found {
            Some((state, path)) => checkpoint::tensors(path, state, &declared, params, job.device)?,
            None => (data.begin(job, params, &beside)?, AdamW::new(&params.optimiser)),
        };
        if let Some(frozen) = data.frozen(job, params)? {
            parameters = parameters.and(frozen);
            let (n, all) = (parameters.n_numbers(), parameters.n_numbers() + parameters.n_frozen());
            job.progress.note(&format!("{n} of {all} numbers are trained, those of the adapter"));
        }
        let ema = match &found {
            Some((_, path)) => checkpoint::ema(path, params, job.device)?,
            None => Ema::begin(params.optimiser.ema, &parameters)?,
        };
        let step = found.as_ref().map_or(0, |(state, _)| state.step);
        let loss_scale = match &found {
            Some((state, _)) => state.loss_scale,
            None => (params.precision == Precision::F16).then(LossScale::default),
        };
        let mut session = Session {
            data,
            position: found.as_ref().map_or_else(Position::default, |(state, _)| state.position),
            first_val_loss: found.and_then(|(state, _)| state.first_val_loss),
            metrics: Log::open(&job.out.join(METRICS), step)?,
            consumed: Log::open(&job.out.join(CONSUMED), step)?,
            begun: Instant::now(),
            resumed_from: step,
            tokens: 0,
            padding: 0,
            parameters,
            optimiser,
            ema,
            loss_scale,
            step,
            job,
        };
        job.progress.begin("train", Some(params.steps - step), "steps");
        if step == 0 {
            session.first_val_loss = session.evaluate(&data.masker(job, params))?.0;
        }
        Ok(session)
    }

    /// The model that is trained.
    pub(crate) fn model(&self) -> &'a dyn Architecture {
        self.data.pretrained.model.as_ref()
    }

    /// How it learns.
    pub(crate) fn language(&self) -> Language {
        self.data.pretrained.family.language
    }

    /// What stands around the pieces of its rows.
    pub(crate) fn frame(&self) -> &'a Frame {
        &self.data.tokenizer.frame
    }

    /// The loss on the validation split, and under the running mean of the weights; `None` where there is none.
    pub(crate) fn evaluate(&self, masker: &Masker) -> Result<(Option<f64>, Option<f64>)> {
        let Some(shards) = &self.data.validation else { return Ok((None, None)) };
        let loss = |weights: &Weights| evaluate(shards, self.model(), weights, self.job.device, masker);
        let ema = self.ema.as_ref().map(|ema| loss(&ema.weights(&self.parameters))).transpose()?;
        Ok((loss(&self.parameters.detached())?, ema.flatten()))
    }

    /// One step of the optimiser, with the gradients times `scale`.
    pub(crate) fn learn(&mut self, gradients: &Gradients, lr: f64, scale: f64) -> Result<()> {
        self.optimiser.step(&self.parameters, gradients, lr, scale)?;
        self.ema.as_mut().map_or(Ok(()), |ema| ema.follow(&self.parameters))
    }

    /// Steps that moved the weights: those that overflowed in f16 did not.
    pub(crate) fn updates(&self) -> u64 {
        self.step - self.loss_scale.map_or(0, |scale| scale.skipped)
    }

    /// Writes the loss of every training document.
    pub(crate) fn write_losses(&self, masker: &Masker) -> Result<()> {
        let place = self.job.out.join(LOSSES);
        self.job.progress.message("measuring the loss of every document");
        let n = losses::write(
            &self.data.train,
            self.model(),
            &self.parameters.detached(),
            self.job.device,
            masker,
            &place,
        )?;
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
        self.padding += step.padding;
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

    /// Writes a checkpoint of the steps that none holds yet, and says so.
    pub(crate) fn save_if_new(&self, params: &Params) -> Result<Option<String>> {
        let newest = checkpoint::latest(self.job.out)?.map(|path| checkpoint::state(&path)).transpose()?;
        if self.step == 0 || newest.is_some_and(|state| state.step == self.step) {
            return Ok(None);
        }
        self.save(params)?;
        Ok(Some(format!("a checkpoint of step {} was saved", self.step)))
    }

    /// Writes a checkpoint.
    pub(crate) fn save(&self, params: &Params) -> Result<()> {
        let state = State {
            identity: self.data.identity.clone(),
            step: self.step,
            position: self.position,
            optimiser_steps: self.optimiser.steps(),
            first_val_loss: self.first_val_loss,
            loss_scale: self.loss_scale,
        };
        let (parameters, optimiser, ema) = (&self.parameters, &self.optimiser, self.ema.as_ref());
        stop::whole(|| checkpoint::save(self.job.out, &state, (parameters, optimiser, ema), params.keep).map(drop))
    }

    /// Tells that a step is done.
    pub(crate) fn tell(&self) {
        self.job.progress.advance(1);
    }

    /// Checks the order that was consumed, exports the model and sums up.
    pub(crate) fn finish(self, params: &Params, coverage: &Coverage) -> Result<Summary> {
        let out = self.job.out;
        consumed::verify(&out.join(CONSUMED), &self.data.train, params.shuffle, self.job.seed)?;
        if !coverage.untaught().is_empty() && self.resumed_from < self.step {
            let names = coverage.untaught().join(", ");
            self.job.progress.note(&format!("nothing taught these parameters, they are as they began: {names}"));
        }
        let (first, last) = first_and_last(&out.join(METRICS))?;
        let summary = Summary {
            steps: self.step,
            resumed_from: self.resumed_from,
            n_parameters: self.parameters.n_numbers(),
            vocabulary: self.model().size().vocabulary,
            documents: self.data.documents,
            epochs: self.position.cursor.epoch + 1,
            train_loss: (first.train_loss, last.train_loss),
            val_loss: self.first_val_loss.zip(last.val_loss),
            tokens: self.tokens,
            padding: share(self.padding, self.tokens + self.padding),
            seconds: self.begun.elapsed().as_secs_f64(),
            model: self.export()?,
        };
        self.job.progress.end(&summary.told());
        Ok(summary)
    }

    /// Writes `model.safetensors` and `config.json` beside `tokenizer.json`, as transformers loads them, or the adapter
    /// alone; and apart from them what the contrastive term trained beside the model.
    fn export(&self) -> Result<PathBuf> {
        let weights = self.parameters.detached();
        let declared = contrastive::declare(self.model());
        let projection: BTreeMap<String, Tensor> =
            declared.iter().filter_map(|one| Some((one.name.clone(), weights.get(&one.name).ok()?.clone()))).collect();
        if !projection.is_empty() {
            write_tensors(&self.job.out.join(PROJECTION), &projection)?;
        }
        if let Some(ema) = &self.ema {
            let folder = self.job.out.join(EMA);
            std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
            self.data.tokenizer.save(&folder.join(TOKENIZER))?;
            self.write(&folder, &ema.weights(&self.parameters))?;
        }
        self.write(self.job.out, &weights)
    }

    /// Writes the model; where there is an adapter, that alone.
    fn write(&self, folder: &Path, weights: &Weights) -> Result<PathBuf> {
        match self.model().adapter() {
            Some(adapter) => adapter.write(folder, weights),
            None => self.data.pretrained.write(folder, weights, self.data.origin.as_deref()),
        }
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
