//! What stands around the training loop: the opened data, and a run with its files, begun or
//! resumed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Tensor;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flow::contract::contract;
use crate::flow::disk::hash_file;
use crate::flow::stop;
use crate::train::data::again::Again;
use crate::train::data::batch::{Batcher, Step};
use crate::train::data::consumed::{self, Consumed};
use crate::train::data::curriculum::{Curriculum, Shares};
use crate::train::data::informed::Informed;
use crate::train::data::marks::Marker;
use crate::train::data::paced::Paced;
use crate::train::data::rows::passages::{self, ParaphraseAs};
use crate::train::data::rows::{RowKind, masked};
use crate::train::data::shards::Shards;
use crate::train::data::tokenizer::{Frame, Tokenizer};
use crate::train::data::windows::{Cut, Position, Windows};
use crate::train::kernels::Instructions;
use crate::train::model::gradients::Gradients;
use crate::train::model::hub;
use crate::train::model::hugging_face::{self, Pretrained, TOKENIZER};
use crate::train::model::moves::Moves;
use crate::train::model::parameters::{Role, write_tensors};
use crate::train::model::{Architecture, Declared, Family, Inputs, Parameters, Weights, bert};
use crate::train::objective;
use crate::train::optimiser::{AdamW, LossScale};
use crate::train::params::{Params, Precision};
use crate::train::run::checkpoint::{self, Identity, State};
use crate::train::run::coverage::Coverage;
use crate::train::run::evaluate::{Measured, evaluate};
use crate::train::run::losses;
use crate::train::run::metrics::{Log, METRICS, Metric};
use crate::train::run::plan::{self, SAMPLE};
use crate::train::run::report;
use crate::train::run::taught::Kept;
use crate::train::run::tensorboard::Events;
use crate::train::run::trainer::share;
use crate::train::schedule::learning_rate;
use crate::train::strategy::{self, At, Did, DocumentLoss, Layout, Probe, Reader, Sample};
use crate::train::{Job, Summary};

const CONSUMED: &str = "consumed.jsonl";
const LOSSES: &str = "losses.parquet";
/// A share of the highest rate that teaches little.
const LOW: f64 = 0.1;
/// A page of a run is written anew when the run is so many times as long as on the last one: in all
/// that costs as much as writing it ten times.
const LONGER: f64 = 1.1;

/// The shards, the tokenizer and the shape of the model of a run.
pub(crate) struct Data {
    pub(crate) train: Shards,
    /// The order that documents are taught in, where it is not that of the shards.
    paced: Option<Paced>,
    curriculum: Curriculum,
    pub(crate) tokenizer: Tokenizer,
    /// What tells more of a text than its pieces.
    marker: Marker,
    pretrained: Pretrained,
    /// The folder the run goes on from, where there is one.
    origin: Option<PathBuf>,
    validation: Option<Shards>,
    documents: u64,
    identity: Identity,
    /// What the run learns from.
    pub(crate) objectives: Vec<objective::Active>,
}

impl Data {
    /// Opens the shards, and reads or trains the tokenizer, which then stands in `out`.
    pub(crate) fn open(job: &Job, params: &Params) -> Result<Self> {
        let train = Shards::of_split(job.shards, "train")?;
        let validation = Shards::open(job.shards, "validation")?;

        if train.are_remote() {
            job.progress.note(
                "the shards are in a store: `manifest.json` is compared by their sizes, not \
                       their hashes",
            );
        }

        if validation.is_none() {
            job.progress.note("there is no validation split: the held-out loss is not measured");
        }
        let (documents, ids) = train.identity()?;
        if train.are_foreign() {
            job.progress.note(&about_foreign(&train, documents)?);
        }
        let curriculum = Curriculum::read(&train)?;
        let paced = Paced::read(&train, params, job.seed)?;
        if paced.is_some() && train.declared()?.is_some() {
            job.progress.note(
                "`train.pacing.order` is `competence`: the curriculum of the shards is not followed",
            );
        }
        if let Some(told) = too_low_at_the_end(params, &curriculum)? {
            job.progress.note(&told);
        }
        std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
        let origin = match params.init.as_str() {
            "" => None,
            init => Some(hub::folder(init, job.progress)?),
        };
        let init = origin
            .as_deref()
            .map(|folder| hugging_face::shape_of(folder, &params.init_layers))
            .transpose()?;
        let beside = origin.as_deref().zip(init.as_ref());
        let family = match &init {
            Some(init) => init.family,
            None if params.config.is_empty() => &bert::BERT,
            None => params.family()?,
        };

        if init.is_some() && !params.config.is_empty() {
            job.progress.note(
                "`train.config` is left out: the model of `train.init` has a shape of its own",
            );
        }

        let tokenizer = tokenizer(job, params, &train, family, beside)?;
        let mut pretrained = match init {
            Some(pretrained) => pretrained,
            None => drawn(params, &tokenizer)?,
        };
        let strategies = strategy::chosen(params)?;

        for active in &strategies {
            active.strategy.adapt(pretrained.model.as_mut(), origin.as_deref())?;
        }
        let objectives = objectives(job, params, &pretrained, &strategies)?;

        if job.device.is_cpu()
            && let Err(error) = plan::check(&pretrained, params, plan::machine_memory())
        {
            if plan::machine_memory().is_none_or(|bytes| {
                plan::memory(&pretrained, params).is_ok_and(|memory| memory.lasting() > bytes)
            }) {
                return Err(error);
            }
            // Rows are as long as the documents: where those are short, less is needed.
            job.progress.note(&format!("{}; {}", error.what(), error.hints().join("; ")));
        }

        check_fit(job, params, &tokenizer, &pretrained)?;
        let mut marker = Marker::new(params)?;
        if masked::Params::of(params)?.choose == masked::Choose::Informask {
            job.progress.message("counting what words tell of one another");
            marker.informed = Some(Informed::read(&train, &tokenizer, job.seed)?);
        }
        let identity = Identity {
            seed: job.seed,
            params: params.fingerprint()?,
            contract: contract("shard")?.hash.clone(),
            train: ids,
            validation: validation
                .as_ref()
                .map(|shards| shards.identity().map(|(_, ids)| ids))
                .transpose()?,
            tokenizer: tokenizer.hash(),

            init: origin.as_deref().map(|folder| model_hash(folder, &strategies)).transpose()?,
            marks: marker.hash().map(str::to_string),
        };

        Ok(Data {
            train,
            paced,
            curriculum,
            tokenizer,
            marker,
            pretrained,
            origin,
            validation,
            documents,
            identity,
            objectives,
        })
    }

    /// Every parameter: the model's, and what objectives and strategies declare beside it.
    fn declared(&self, strategies: &[strategy::Active]) -> DeclaredBy {
        let model = self.pretrained.model.as_ref();
        let beside = self
            .objectives
            .iter()
            .flat_map(|active| active.objective.declare(model, shape(active, model, strategies)))
            .collect();
        let added = strategies.iter().flat_map(|active| active.strategy.declare(model)).collect();
        DeclaredBy { model: model.declare(), beside, added }
    }

    /// All parameters as they begin: those of the model read from the folder the run goes on from,
    /// or drawn; those beside it drawn, where no strategy has read them.
    fn begin(
        &self,
        job: &Job,
        params: &Params,
        strategies: &[strategy::Active],
    ) -> Result<Parameters> {
        let (model, dtype) = (self.pretrained.model.as_ref(), params.precision.weights());
        let draw = |declared: &[Declared]| Parameters::draw(declared, job.seed, dtype, job.device);
        let declared = self.declared(strategies);
        let mut all = match &self.origin {
            Some(folder) => self.pretrained.parameters(folder, dtype, job.device)?,
            None => draw(&declared.model)?,
        };
        all = all.and(draw(&declared.beside)?);

        for active in strategies {
            all = all.and(match active.strategy.read(model, dtype, job.device)? {
                Some(read) => read,
                None => draw(&active.strategy.declare(model))?,
            });
        }

        Ok(all)
    }

    /// Rows that strategies look at the model with: the first of the validation split, or of the
    /// train split where there is none.
    fn sample(&self, job: &Job, params: &Params, batcher: &Batcher) -> Result<Inputs> {
        let shards = self.validation.as_ref().unwrap_or(&self.train);
        let taken = Windows::in_order(shards, batcher, Cut::Measured)?.next_windows(SAMPLE)?;

        let mut batch = batcher.microbatch(0, taken.chunks(1), "validation");
        let rows = batch.sets.remove(&RowKind::of_language(self.pretrained.family.language));
        let rows = rows.ok_or_else(|| Error::data("the shards hold no document"))?;
        let dtype = params.precision.compute();
        Ok(rows.inputs(self.tokenizer.frame.pad, dtype, job.device)?)
    }

    /// How the run reads text and computes.
    fn reader<'a>(&'a self, job: &Job<'a>, params: &Params) -> Reader<'a> {
        Reader {
            family: self.pretrained.family,
            tokenizer: &self.tokenizer,
            dtype: params.precision.compute(),
            device: job.device,
        }
    }

    /// The rows of the kinds that the run's objectives learn from.
    pub(crate) fn batcher<'a>(&'a self, job: &Job, params: &'a Params) -> Result<Batcher<'a>> {
        let kinds: BTreeSet<RowKind> = self.objectives.iter().map(|active| active.rows).collect();
        if kinds.contains(&RowKind::Passages)
            && passages::Params::of(params)?.paraphrase_as == ParaphraseAs::Negative
        {
            job.progress.note(
                "`train.rows.passages.paraphrase_as` is `negative`: passages that mean the same \
                 are pushed apart; \
                 the literature uses them as positives",
            );
        }
        check_rows_are_read(params, &kinds, self.pretrained.family.name)?;
        let mut batcher = Batcher::new(&self.tokenizer, &self.marker, params, job.seed, &kinds)?;
        batcher.paced = self.paced.as_ref();
        Ok(batcher)
    }
}

/// Refuses settings of rows that the run does not read.
fn check_rows_are_read(params: &Params, kinds: &BTreeSet<RowKind>, family: &str) -> Result<()> {
    let reads = |some: &[RowKind]| some.iter().any(|kind| kinds.contains(kind));
    let masked = [RowKind::Masked, RowKind::MaskedNext];
    let left_out = [RowKind::Masked, RowKind::MaskedNext, RowKind::Spans];
    let given = |section: &str| params.is_given(section);
    let unused = [
        ("train.concepts.mask", params.concepts.mask > 0.0 && !reads(&left_out)),
        ("train.concepts.weight", params.concepts.weight > 0.0 && !reads(&[RowKind::Causal])),
        ("train.rows.masked", given("train.rows.masked") && !reads(&masked)),
        ("train.rows.spans", given("train.rows.spans") && !reads(&[RowKind::Spans])),
        ("train.rows.passages", given("train.rows.passages") && !reads(&[RowKind::Passages])),
    ];
    match unused.iter().find(|(_, is_unused)| *is_unused) {
        Some((key, _)) => Err(params
            .without_effect(key, &format!("this run of {family} does not read such rows"))
            .hint("leave it out; `train.mixed.on=true` has a model learn in both ways")),
        None => Ok(()),
    }
}

/// Parameters by who declares them.
struct DeclaredBy {
    model: Vec<Declared>,
    /// By objectives.
    beside: Vec<Declared>,
    /// By strategies.
    added: Vec<Declared>,
}

impl DeclaredBy {
    /// Those that the run trains.
    fn trained(self, strategies: &[strategy::Active]) -> Vec<Declared> {
        let mut all = self.model;
        all.extend(self.beside);
        all.extend(self.added);
        all.retain(|one| strategy::trains(strategies, one));
        all
    }
}

/// What to say of shards that another program wrote.
fn about_foreign(train: &Shards, documents: u64) -> Result<String> {
    let empty =
        train.texts(&["text"], |row| Ok(u64::from(row.string("text")?.trim().is_empty())))?;
    let without = match empty {
        0 => String::new(),
        n => format!("; {n} of {documents} documents have no text"),
    };
    Ok(format!(
        "the shards are of another program: they have no curriculum, and no held-out documents but \
         those of `validation` files{without}"
    ))
}

/// What to say where the rate is nearly nothing when the hardest text comes.
fn too_low_at_the_end(params: &Params, curriculum: &Curriculum) -> Result<Option<String>> {
    let last = learning_rate(params.steps.saturating_sub(1), params.steps, 1.0, &params.schedule)?;
    let is_low = params.steps > 1 && last < LOW && curriculum.rises();
    Ok(is_low.then(|| {
        format!(
            "the rate falls to {last:.3} of the highest while the text grows harder: the hardest \
             teaches little; `train.schedule.floor=0.33` or `kind=wsd` keeps it up \
             (arXiv:2511.18903)"
        )
    }))
}

/// The objectives of a run, and what is left out of it and why.
fn objectives(
    job: &Job,
    params: &Params,
    pretrained: &Pretrained,
    strategies: &[strategy::Active],
) -> Result<Vec<objective::Active>> {
    let (model, name) = (pretrained.model.as_ref(), pretrained.family.name);
    let objective::Chosen { mut active, unfit, unshared } =
        objective::chosen(params, pretrained.family.language)?;

    for kind in unshared {
        let section = kind.section();
        if params.is_given(&section) {
            return Err(params
                .without_effect(&section, &format!("{name} does not learn by it"))
                .hint("`train.mixed.on=true` mixes two tasks, `train.mixed.alpha` says how much"));
        }
    }

    for kind in unfit {
        let section = kind.section();
        if params.is_given(&section) {
            let known: Vec<&str> = crate::train::model::FAMILIES
                .iter()
                .filter(|family| kind.languages.contains(&family.language))
                .map(|family| family.name)
                .collect();
            return Err(params
                .without_effect(&section, &format!("it is not defined for {name}"))
                .hint(format!("it is for {}; leave its keys out", known.join(", "))));
        }
        // Each family has a language objective of its own, which nobody misses elsewhere.
        if kind.task.is_none() {
            job.progress
                .note(&format!("`{}` is left out: it is not defined for {name}", kind.name));
        }
    }

    active.retain(|active| {
        let own = active.objective.declare(model, shape(active, model, strategies));
        let still = own.iter().any(|one| !strategy::trains(strategies, one));
        if still {
            let told = "it would train more than the strategies of this run let it";
            job.progress.note(&format!("`{}` is left out: {told}", active.kind.name));
        }
        !still
    });

    for (name, teacher) in active
        .iter()
        .filter_map(|active| Some((active.kind.name, active.objective.needs(model).teacher?)))
    {
        if !strategies.iter().any(|active| active.kind.name == teacher) {
            return Err(Error::usage(format!(
                "the objective `{name}` learns from the strategy `{teacher}`, which is off"
            ))
            .hint(format!("set `train.strategy.{teacher}.on=true`")));
        }
    }

    let is_on = |name: &str| strategies.iter().any(|active| active.kind.name == name);
    let is_asked = |name: &str| {
        // Hard documents are told by what is above a teacher that does not change.
        active.iter().any(|active| active.objective.needs(model).teacher == Some(name))
            || (name == strategy::teacher::TEACHER.name && is_on(strategy::mining::MINING.name))
    };
    for kind in [&strategy::teacher::TEACHER, &strategy::momentum::MOMENTUM] {
        let switch = format!("{}.{}", kind.section(), kind.switch);
        if is_on(kind.name) && !is_asked(kind.name) && params.given.contains_key(&switch) {
            return Err(params
                .without_effect(&switch, "nothing in this run learns from it")
                .hint("give an objective that does a weight, or leave it out"));
        }
    }

    Ok(active)
}

/// The model that an objective learns from, where it is not the one that is trained.
fn shape<'a>(
    active: &objective::Active,
    model: &dyn Architecture,
    strategies: &'a [strategy::Active],
) -> Option<&'a dyn Architecture> {
    let teacher = active.objective.needs(model).teacher?;
    strategies.iter().find(|active| active.kind.name == teacher)?.strategy.shape()
}

/// What a run begins with, told by content.
fn model_hash(folder: &Path, strategies: &[strategy::Active]) -> Result<String> {
    let mut hashes = hash_file(&folder.join("config.json"))?;
    for file in hugging_face::files(folder)? {
        hashes += &hash_file(&file)?;
    }

    for active in strategies {
        for file in active.strategy.files() {
            let hint =
                format!("give a folder that a run with the strategy `{}` wrote", active.kind.name);
            hashes += &hash_file(&file).map_err(|error| error.hint(hint))?;
        }
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

/// The tokenizer that stands in `out` beside a checkpoint, else the one named in the parameters,
/// else that of the model the run goes on from, else a trained one.
fn tokenizer(
    job: &Job,
    params: &Params,
    train: &Shards,
    family: &Family,
    init: Option<(&Path, &Pretrained)>,
) -> Result<Tokenizer> {
    let place = job.out.join(TOKENIZER);
    let (language, config) = (family.language, init.map_or(&Value::Null, |(_, init)| &init.config));
    let given = (!params.tokenizer.file.is_empty()).then(|| PathBuf::from(&params.tokenizer.file));
    let beside = init.map(|(folder, _)| folder.join(TOKENIZER));

    if checkpoint::latest(job.out)?.is_some() {
        match Tokenizer::read(&place, language, config) {
            Ok(tokenizer) => return Ok(tokenizer),
            // Made again from what it was made of it is the same, or the checkpoint says that it is
            // not.
            Err(error) => job.progress.note(&format!("{}; it is made again", error.what())),
        }
    }

    let tokenizer = if let Some(file) = given {
        Tokenizer::read(&file, language, config)?
    } else if let Some(file) = beside {
        Tokenizer::read(&file, language, config).map_err(|error| {
            error.hint(
                "the model's tokenizer is needed: copy its `tokenizer.json` there, or name \
                        it in `train.tokenizer.file`",
            )
        })?
    } else {
        job.progress.message("training the tokenizer");
        Tokenizer::train(train, family, &params.tokenizer, job.seed)?
    };

    tokenizer.save(&place)?;
    Ok(tokenizer)
}

/// Checks that the tokenizer and the windows fit the model.
fn check_fit(
    job: &Job,
    params: &Params,
    tokenizer: &Tokenizer,
    pretrained: &Pretrained,
) -> Result<()> {
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
        job.progress.note(&format!(
            "the tokenizer has {tokens} tokens, the model {rows} rows of embeddings"
        ));
    }

    plan::check_rows(pretrained, params)
}

/// What to say where a run in `precision` goes on with other vector instructions than it had.
fn other_instructions(
    before: Option<Instructions>,
    now: Instructions,
    precision: Precision,
) -> Option<String> {
    let before = before.filter(|before| *before != now)?;
    let then = match before.agrees_with(now, precision.compute()) {
        true => "its bytes are the same with both",
        false => "from here on it rounds otherwise than in one go",
    };
    Some(format!("the run used {} so far and goes on with {}: {then}", before.name(), now.name()))
}

/// A model that objectives learn from.
pub(crate) struct Teacher<'a> {
    pub(crate) model: &'a dyn Architecture,
    pub(crate) weights: Weights,
    /// What it showed before, where that is kept.
    pub(crate) kept: Option<&'a Kept>,
}

/// A run under way: its model, its optimiser, where it stands, and its logs.
pub(crate) struct Session<'a> {
    pub(crate) parameters: Parameters,
    pub(crate) optimiser: AdamW,
    pub(crate) strategies: Vec<strategy::Active>,
    /// What the run trains.
    pub(crate) layout: Layout,
    /// Where the precision is f16.
    pub(crate) loss_scale: Option<LossScale>,
    pub(crate) step: u64,
    pub(crate) position: Position,
    data: &'a Data,
    job: &'a Job<'a>,
    /// Rows that strategies look at the model with.
    sample: Sample<'a>,
    reader: Reader<'a>,
    first_val_loss: Option<f64>,
    metrics: Log,
    consumed: Log,
    /// What teachers showed, by the strategy that keeps them, where that is kept on disk.
    kept: BTreeMap<&'static str, Kept>,
    /// What TensorBoard reads, where that is asked for.
    events: Option<Events>,
    /// Steps that the page of the run tells of.
    reported: u64,
    begun: Instant,
    resumed_from: u64,
    tokens: u64,
    padding: u64,
}

impl<'a> Session<'a> {
    /// Resumes the newest checkpoint in `out`, or begins with drawn weights.
    pub(crate) fn open(
        job: &'a Job<'a>,
        params: &'a Params,
        data: &'a Data,
        batcher: &'a Batcher<'a>,
    ) -> Result<Self> {
        let model = data.pretrained.model.as_ref();
        let mut strategies = strategy::chosen(params)?;
        let declared = data.declared(&strategies).trained(&strategies);
        let found = match checkpoint::latest(job.out)? {
            Some(path) => Some((checkpoint::state(&path)?, path)),
            None => None,
        };

        if let Some((state, path)) = &found {
            data.identity.check(&state.identity).map_err(|error| error.at(path.display()))?;
        }
        checkpoint::tidy(job.out, params.keep)?;
        let before = found.as_ref().and_then(|(state, _)| state.instructions);
        if let Some(told) = other_instructions(before, Instructions::used(), params.precision) {
            job.progress.note(&told);
        }

        let trained: BTreeSet<&str> = declared.iter().map(|one| one.name.as_str()).collect();
        let is_whole = declared.len() == data.declared(&strategies).trained(&[]).len();
        let (parameters, optimiser) = match &found {
            Some((state, path)) => {
                let (own, optimiser) =
                    checkpoint::tensors(path, state, &declared, params, job.device)?;
                let still = match is_whole {
                    true => None,
                    false => Some(
                        data.begin(job, params, &strategies)?.only(|_| false).without(&trained),
                    ),
                };
                (still.into_iter().fold(own, Parameters::and), optimiser)
            }
            None => {
                let begun =
                    data.begin(job, params, &strategies)?.only(|name| trained.contains(name));
                (begun, AdamW::new(&params.optimiser))
            }
        };

        let sample = Sample::new(|| data.sample(job, params, batcher));
        let run = Probe {
            model,
            parameters: &parameters,
            sample: &sample,
            seed: job.seed,
            reader: Some(data.reader(job, params)),
        };
        for active in &mut strategies {
            match &found {
                Some((state, path)) => {
                    let kept = checkpoint::strategy(path, state, active.kind.name, job.device)?;
                    active.strategy.load(kept, &run).map_err(|error| error.at(path.display()))?;
                }
                None => active.strategy.begin(&run)?,
            }
            let told = active.strategy.note(&parameters, params.steps);
            told.iter().for_each(|told| job.progress.note(told));
        }

        let layout = Layout { declared, steps: model.steps() };
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
            kept: BTreeMap::new(),
            events: None,
            reported: 0,
            begun: Instant::now(),
            resumed_from: step,
            tokens: 0,
            padding: 0,
            parameters,
            optimiser,
            strategies,
            layout,
            loss_scale,
            step,

            job,
            sample,
            reader: data.reader(job, params),
        };

        for active in &session.strategies {
            let taught = active.strategy.cache().zip(active.strategy.teacher(&session.parameters));
            if let Some((folder, weights)) = taught {
                session.kept.insert(active.kind.name, Kept::open(folder, &weights)?);
            }
        }
        if params.tensorboard {
            session.events = Some(Events::open(job.out, &job.out.join(METRICS))?);
        }

        job.progress.begin("train", Some(params.steps - step), "steps");
        if step == 0 {
            session.first_val_loss = session.evaluate(batcher)?.0;
        }
        Ok(session)
    }

    /// The model that is trained.
    pub(crate) fn model(&self) -> &'a dyn Architecture {
        self.data.pretrained.model.as_ref()
    }

    /// What stands around the pieces of its rows.
    pub(crate) fn frame(&self) -> &'a Frame {
        &self.data.tokenizer.frame
    }

    /// The loss on the validation split, and under the weights that strategies keep beside the
    /// model's, each as `<strategy>_val_loss`; none where there is no split.
    pub(crate) fn evaluate(
        &self,
        batcher: &Batcher,
    ) -> Result<(Option<f64>, BTreeMap<String, f64>)> {
        let Some(shards) = &self.data.validation else { return Ok((None, BTreeMap::new())) };
        let loss = |weights: &Weights| {
            let measured = Measured::new(self.model(), weights, self.job.device, batcher)?;
            evaluate(shards, &measured, Cut::Measured)
        };
        let mut beside = BTreeMap::new();

        for active in &self.strategies {
            let Some(weights) = active.strategy.beside(&self.parameters) else { continue };
            beside.extend(
                loss(&weights)?.map(|loss| (format!("{}_val_loss", active.kind.name), loss)),
            );
        }

        Ok((loss(&self.parameters.detached())?, beside))
    }

    /// The loss on the validation split where documents begin with the line about their source, by
    /// its name; nothing where they do not in this run.
    pub(crate) fn evaluate_with_lines(&self, batcher: &Batcher) -> Result<Option<(String, f64)>> {
        let Some(shards) = &self.data.validation else { return Ok(None) };
        if batcher.params.source_line.share == 0.0 {
            return Ok(None);
        }
        let weights = self.parameters.detached();
        let measured = Measured::new(self.model(), &weights, self.job.device, batcher)?;
        let loss = evaluate(shards, &measured, Cut::MeasuredWithLine)?;
        Ok(loss.map(|loss| ("source_line_val_loss".to_string(), loss)))
    }

    /// One step of the optimiser, with the gradients times `scale`.
    pub(crate) fn learn(
        &mut self,
        gradients: &Gradients,
        moves: &Moves,
        lr: f64,
        scale: f64,
    ) -> Result<()> {
        self.optimiser.step(&self.parameters, gradients, moves, lr, scale)
    }

    /// Shows the run to the strategies before a step.
    pub(crate) fn before(&mut self, at: At) -> Result<()> {
        let Session { data, job, parameters, sample, strategies, reader, .. } = self;
        let model = data.pretrained.model.as_ref();
        let run = Probe { model, parameters, sample, seed: job.seed, reader: Some(*reader) };
        strategies.iter_mut().try_for_each(|active| active.strategy.before(at, &run))
    }

    /// Shows the run to the strategies behind a step that moved the weights.
    pub(crate) fn after(&mut self, at: At, did: &Did) -> Result<()> {
        let Session { data, job, parameters, sample, strategies, reader, .. } = self;
        let model = data.pretrained.model.as_ref();
        let run = Probe { model, parameters, sample, seed: job.seed, reader: Some(*reader) };
        strategies.iter_mut().try_for_each(|active| active.strategy.after(at, &run, did))
    }

    /// What the documents of a step are.
    pub(crate) fn shares(&self, step: &Step) -> Shares {
        self.data.curriculum.shares(&step.ranges)
    }

    /// Mean losses of a step's documents, by source and by bucket.
    pub(crate) fn by_source_and_bucket(
        &self,
        documents: &[DocumentLoss],
    ) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
        let curriculum = &self.data.curriculum;
        let source = |one: &DocumentLoss| curriculum.source(one.seq).map(str::to_string);
        let bucket = |one: &DocumentLoss| curriculum.bucket(one.seq).map(|it| it.to_string());
        (means(documents, source), means(documents, bucket))
    }

    /// What is read again beside the order of the shards, where a strategy asks for that.
    pub(crate) fn again(&self) -> Option<&Again> {
        self.strategies.iter().find_map(|active| active.strategy.again())
    }

    /// Tells the strategies what a step read again.
    pub(crate) fn read_again(&mut self, step: &Step) {
        let strategies = self.strategies.iter_mut();
        strategies.for_each(|active| active.strategy.read_again(&step.again));
    }

    /// What the strategies tell of a step.
    pub(crate) fn told(&self) -> BTreeMap<String, f64> {
        self.strategies.iter().flat_map(|active| active.strategy.tell()).collect()
    }

    /// The weights that objectives learn from, by the strategy that keeps them.
    pub(crate) fn teachers(&self) -> BTreeMap<&'static str, Teacher<'_>> {
        let mut all = BTreeMap::new();
        for active in &self.strategies {
            if let Some(weights) = active.strategy.teacher(&self.parameters) {
                let model = active.strategy.shape().unwrap_or(self.model());
                let kept = self.kept.get(active.kind.name);
                all.insert(active.kind.name, Teacher { model, weights, kept });
            }
        }
        all
    }

    /// Steps that moved the weights: those that overflowed in f16 did not.
    pub(crate) fn updates(&self) -> u64 {
        self.step - self.loss_scale.map_or(0, |scale| scale.skipped)
    }

    /// Writes the loss of every training document.
    pub(crate) fn write_losses(&self, batcher: &Batcher) -> Result<()> {
        let place = self.job.out.join(LOSSES);
        self.job.progress.message("measuring the loss of every document");
        let (weights, teachers) = (self.parameters.detached(), self.teachers());
        let measured = Measured::new(self.model(), &weights, self.job.device, batcher)?;
        let teacher = teachers.get(strategy::teacher::TEACHER.name).map(|teacher| {
            Measured::new(teacher.model, &teacher.weights, self.job.device, batcher)
        });
        let teacher = teacher.transpose()?;
        let n = losses::write(&self.data.train, &measured, teacher.as_ref(), &place)?;
        self.job.progress.note(&format!("`{}` holds the losses of {n} documents", place.display()));
        Ok(())
    }

    /// One more step is done, and the next window stands at `position`.
    pub(crate) fn advance(&mut self, step: &Step, position: Position) {
        if step.ranges.last().is_some_and(|range| range.epoch == 1)
            && self.position.cursor.epoch == 0
        {
            let step = step.number;
            self.job
                .progress
                .note(&format!("step {step} begins the train split again from its first document"));
        }

        (self.step, self.position) = (step.number, position);
        self.tokens += step.tokens;
        self.padding += step.padding;
    }

    /// Writes the lines of a step.
    pub(crate) fn log(&mut self, metric: &Metric, step: Step) -> Result<()> {
        self.metrics.write(&metric.line()?)?;
        if let Some(events) = &mut self.events {
            events.write(metric)?;
        }
        let Step { number, ranges, source_line, again, .. } = step;
        self.consumed.write(&line(&Consumed { step: number, ranges, source_line, again })?)?;
        self.job.progress.message(&told(metric));
        Ok(())
    }

    /// Writes the page of the run, where it has become longer by a good part since the last one, or
    /// is over.
    pub(crate) fn report(&mut self, last: u64) -> Result<()> {
        if self.step < last && (self.step as f64) < LONGER * self.reported as f64 {
            return Ok(());
        }
        self.reported = self.step;
        report::write(&[self.job.out.to_path_buf()], &self.job.out.join(report::REPORT))
    }

    /// Writes a checkpoint of the steps that none holds yet, and says so.
    pub(crate) fn save_if_new(&self, params: &Params) -> Result<Option<String>> {
        let newest =
            checkpoint::latest(self.job.out)?.map(|path| checkpoint::state(&path)).transpose()?;
        if self.step == 0 || newest.is_some_and(|state| state.step == self.step) {
            return Ok(None);
        }
        self.save(params)?;
        Ok(Some(format!("a checkpoint of step {} was saved", self.step)))
    }

    /// Writes a checkpoint.
    pub(crate) fn save(&self, params: &Params) -> Result<()> {
        let mut kept: BTreeMap<&'static str, strategy::Saved> = self
            .strategies
            .iter()
            .map(|active| (active.kind.name, active.strategy.save()))
            .collect();
        let states = kept.iter_mut().map(|(name, kept)| ((*name).to_string(), kept.state.take()));
        let states = states.filter(|(_, state)| !state.is_null()).collect();
        let state = State {
            identity: self.data.identity.clone(),
            step: self.step,
            position: self.position,
            optimiser_steps: self.optimiser.steps(),
            first_val_loss: self.first_val_loss,
            loss_scale: self.loss_scale,
            strategies: states,
            instructions: Some(Instructions::used()),
        };

        let tensors = checkpoint::Tensors {
            parameters: &self.parameters,
            optimiser: &self.optimiser,
            strategies: kept.into_iter().map(|(name, kept)| (name, kept.tensors)).collect(),
        };
        stop::whole(|| checkpoint::save(self.job.out, &state, &tensors, params.keep).map(drop))
    }

    /// Tells that a step is done.
    pub(crate) fn tell(&self) {
        self.job.progress.advance(1);
    }

    /// Checks the order that was consumed, exports the model and sums up.
    pub(crate) fn finish(self, params: &Params, coverage: &Coverage) -> Result<Summary> {
        let out = self.job.out;
        let (paced, seed) = (self.data.paced.as_ref(), self.job.seed);
        consumed::verify(
            &out.join(CONSUMED),
            &self.data.train,
            paced,
            params.shuffle,
            params.deal,
            seed,
        )?;

        if !coverage.untaught().is_empty() && self.resumed_from < self.step {
            let names = coverage.untaught().join(", ");
            self.job
                .progress
                .note(&format!("nothing taught these parameters, they are as they began: {names}"));
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
            instructions: Instructions::used(),
            model: self.export()?,
        };

        self.job.progress.end(&summary.told());
        Ok(summary)
    }

    /// Writes `model.safetensors` and `config.json` beside `tokenizer.json`, as transformers loads
    /// them, or what a strategy writes in their place; apart from them what objectives trained
    /// beside the model, and the weights that strategies keep beside it, in a folder of each.
    fn export(&self) -> Result<PathBuf> {
        let weights = self.parameters.detached();
        for active in &self.data.objectives {
            let beside = Role::Beside(active.kind.name);
            let own = self.layout.declared.iter().filter(|one| one.part.role == beside);
            let tensors: BTreeMap<String, Tensor> = own
                .map(|one| Ok((one.name.clone(), weights.get(&one.name)?.clone())))
                .collect::<Result<_>>()?;

            if !tensors.is_empty() {
                write_tensors(
                    &self.job.out.join(format!("{}.safetensors", active.kind.name)),
                    &tensors,
                )?;
            }
        }

        for active in &self.strategies {
            let Some(weights) = active.strategy.beside(&self.parameters) else { continue };
            let folder = self.job.out.join(active.kind.name);
            std::fs::create_dir_all(&folder)
                .map_err(|cause| Error::file("create", &folder, cause))?;
            self.data.tokenizer.save(&folder.join(TOKENIZER))?;
            self.write(&folder, &weights)?;
        }

        self.write(self.job.out, &weights)
    }

    /// Writes the model, or what a strategy writes in its place.
    fn write(&self, folder: &Path, weights: &Weights) -> Result<PathBuf> {
        for active in &self.strategies {
            if let Some(place) = active.strategy.write(self.model(), folder, weights)? {
                return Ok(place);
            }
        }
        self.data.pretrained.write(folder, weights, self.data.origin.as_deref())
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

/// Means of the losses by what `of` says of a document.
fn means(
    documents: &[DocumentLoss],
    of: impl Fn(&DocumentLoss) -> Option<String>,
) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, (f64, u32)> = BTreeMap::new();
    for one in documents {
        let Some(name) = of(one) else { continue };
        let (sum, n) = sums.entry(name).or_default();
        (*sum, *n) = (*sum + f64::from(one.loss), *n + 1);
    }
    sums.into_iter().map(|(name, (sum, n))| (name, sum / f64::from(n))).collect()
}

/// A step in one line, its terms apart where there are several.
fn told(metric: &Metric) -> String {
    let mut told = format!("loss {:.3}", metric.train_loss);
    if metric.losses.len() > 1 {
        let terms = metric.losses.iter().map(|(name, loss)| format!("{name} {loss:.3}"));
        told += &format!(" ({})", terms.collect::<Vec<_>>().join(", "));
    }
    if let Some(loss) = metric.val_loss {
        told += &format!(", held-out {loss:.3}");
    }
    told + &format!(", {:.0} tokens/s", metric.tokens_per_s)
}

fn line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| Error::data(format!("a log line: {cause}")))
}

fn first_and_last(metrics: &Path) -> Result<(Metric, Metric)> {
    let text =
        std::fs::read_to_string(metrics).map_err(|cause| Error::file("read", metrics, cause))?;
    let parse = |line: Option<&str>| {
        let damaged =
            |cause: String| Error::data(format!("`{}` is damaged: {cause}", metrics.display()));
        let line = line.ok_or_else(|| damaged("it is empty".to_string()))?;
        serde_json::from_str::<Metric>(line).map_err(|cause| damaged(cause.to_string()))
    };
    Ok((parse(text.lines().next())?, parse(text.lines().next_back())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_with_other_instructions_says_what_that_does() {
        use Instructions::{Avx2, Avx512, Avx512Bf16, Plain};
        use Precision::{Bf16, F16, F32};
        assert_eq!(other_instructions(None, Avx2, F32), None);
        assert_eq!(other_instructions(Some(Avx2), Avx2, F32), None);

        let told = |before, now, precision| other_instructions(Some(before), now, precision);
        let same = "goes on with avx512: its bytes are the same with both";
        for precision in [F32, F16, Bf16] {
            assert!(told(Avx2, Avx512, precision).unwrap().ends_with(same));
            assert!(told(Avx512, Plain, precision).unwrap().contains("rounds otherwise"));
            let rounds_otherwise = precision == Bf16;
            let found = told(Avx512, Avx512Bf16, precision).unwrap();
            assert_eq!(found.contains("rounds otherwise"), rounds_otherwise, "{found}");
        }
    }
}
