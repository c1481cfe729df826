//! `kpipe eval`: a model is asked what it knows.

use std::path::PathBuf;

use candle_core::DType;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::environment::start_again_with;
use super::train::environment;
use super::{MemoryArgs, RunArgs, SettingsArgs};
use crate::error::{Error, Result};
use crate::eval::model::Model;
use crate::eval::robustness::candidates::{Candidates, Synonyms, Vectors};
use crate::eval::robustness::textfooler::{Attack, Tagger};
use crate::eval::robustness::transform::Kit;
use crate::eval::robustness::{self, Place, Point};
use crate::eval::{
    Asked, Job, canaries, dynamics, evaluate, glue, ledger, memorisation, probes, report, tasks,
};
use crate::flow::progress::Progress;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;
use crate::negatives::ConceptNames;
use crate::negatives::back_translation::identity;
use crate::negatives::lexicon::LexiconNames;
use crate::negatives::rewriter::Rewriter;
use crate::train;
use crate::train::params::Precision;

/// Arguments of `kpipe eval`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct EvalArgs {
    #[command(subcommand)]
    other: Option<Other>,
    /// A folder of Hugging Face's (config.json, safetensors, tokenizer.json), such as a run of
    /// `kpipe train`, or `owner/name` on its hub
    #[arg(long, value_name = "MODEL", required = true)]
    model: Option<String>,
    /// The model it went on from: each metric's change is told, over the items that both answered
    #[arg(long, value_name = "MODEL")]
    before: Option<String>,
    /// A task and its questions: a file (packed or not), a folder or a pattern; may be given more
    /// than once. `kpipe list tasks` tells what each reads
    #[arg(long, value_name = "NAME=PATH", required = true)]
    task: Vec<String>,
    /// Items with answers that are shown before each question, see `--shots`
    #[arg(long, value_name = "NAME=PATH")]
    examples: Vec<String>,
    /// Examples before each question
    #[arg(long, value_name = "N", default_value_t = 0)]
    shots: usize,
    /// Only the first items of each task
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Count what BioASQ's program of that version counts: 9 leaves questions without an answer out
    /// of all averages, where here they are wrong
    #[arg(long, value_name = "VERSION", value_parser = ["9"])]
    bioasq_compat: Option<String>,
    /// Folder for answers and results; what was stopped there goes on
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    run: RunArgs,
}

/// What else is asked of a model.
#[derive(Subcommand)]
enum Other {
    /// Whether texts are known by heart: those that were trained on against others of their kind
    Memorisation(MemorisationArgs),
    /// GLUE's nine tasks through a linear head on a model's states
    Glue(GlueArgs),
    /// Random secrets in training text: write them, and measure how far a model knows them
    Canaries(CanariesArgs),
    /// Make knowledge probes of held-out documents and a lexicon, for the task `probes` and for
    /// `train.strategy.panel.file`
    Probes(ProbesArgs),
    /// For every concept of a lexicon how often it was seen and whether it is known, as Parquet and
    /// as a page with the map of what is known
    Ledger(LedgerArgs),
    /// What a run with a panel learned of facts each time they were told, and what it kept
    Dynamics(DynamicsArgs),
    /// What is left of a model's answers when the text is written in another way: TextFooler's
    /// attack, slips, synonyms and more, for one model or along the checkpoints of a run
    Robustness(RobustnessArgs),
}

#[derive(Args)]
struct RobustnessArgs {
    /// A model of any family
    #[arg(long, value_name = "MODEL", required_unless_present = "run_folder")]
    model: Option<String>,
    /// The folder of a run that is over: its checkpoints, one after the other, and what it came to
    #[arg(long = "run", value_name = "DIR", conflicts_with = "model")]
    run_folder: Option<PathBuf>,
    /// The model that it went on from: the first point, and the encoder of the attack; without it,
    /// that is the first checkpoint
    #[arg(long, value_name = "MODEL")]
    initial: Option<String>,
    /// Folder of GLUE, as for `kpipe eval glue`: its tasks with classes
    #[arg(long, value_name = "FOLDER", required_unless_present = "task")]
    glue: Option<PathBuf>,
    /// A task with questions, as for `kpipe eval`; may be given more than once
    #[arg(long, value_name = "NAME=PATH")]
    task: Vec<String>,
    /// What to change texts by, or `none`; left out, everything that `kpipe list transformations`
    /// tells
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    transform: Vec<String>,
    /// Most records of a task that are changed
    #[arg(long, value_name = "N", default_value_t = 200)]
    items: usize,
    /// Most training records of a task that its head is learned from
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    learn: usize,
    /// Records of each task of GLUE that TextFooler attacks; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 50)]
    attack: usize,
    /// Word vectors whose neighbours replace words: text, a word and its numbers in each line
    /// (counter-fitted ones are TextFooler's own); without it, WordNet's synonyms do
    #[arg(long, value_name = "FILE", conflicts_with = "synonyms")]
    vectors: Option<PathBuf>,
    /// A thesaurus whose synonyms replace words, as `negatives.thesaurus` takes it
    #[arg(long, value_name = "FILE")]
    synonyms: Option<PathBuf>,
    /// Parts of speech, `word<TAB>NOUN` lines, that go before WordNet's
    #[arg(long, value_name = "FILE")]
    tags: Option<PathBuf>,
    /// Most texts that the model is asked about in one attack
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    queries: usize,
    /// Folder for `robustness.json`, `.md` and `.html`; points that are done are not asked again
    #[arg(long, value_name = "FOLDER", default_value = "robustness")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct GlueArgs {
    /// A model of any family
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// Folder with a folder for each task, as they are published: `RTE/train.tsv`, `RTE/dev.tsv`
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Most training records of a task
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    limit: usize,
    /// Folder for `glue.json` and `glue.md`
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct CanariesArgs {
    /// Write so many into `canaries.jsonl`, a source for the build, and as many into `kept.jsonl`
    #[arg(long, value_name = "N", conflicts_with = "model")]
    make: Option<usize>,
    /// A GPT-2, LLaMA or T5 that was trained on text with them
    #[arg(long, value_name = "MODEL", required_unless_present = "make")]
    model: Option<String>,
    /// Folder with the canaries
    #[arg(long, value_name = "FOLDER", default_value = "canaries")]
    canaries: PathBuf,
    /// Random secrets that each one is ranked among
    #[arg(long, value_name = "N", default_value_t = 1_023)]
    others: usize,
    /// Folder for `canaries.json`
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct ProbesArgs {
    /// Shards with a `train` and a `validation` split, as `kpipe build` writes them
    #[arg(long, value_name = "PATH", default_value = "out")]
    shards: PathBuf,
    /// Folder for `probes.jsonl`, and `probes.json` with what was left out and why
    #[arg(long, value_name = "FOLDER", default_value = "probes")]
    out: PathBuf,
    /// Most probes about concepts
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// Most of them from one document
    #[arg(long, value_name = "N", default_value_t = 4)]
    per_document: usize,
    /// Wrong answers beside the right one
    #[arg(long, value_name = "N", default_value_t = 9)]
    distractors: usize,
    /// Most probes of general text: what must not be forgotten
    #[arg(long, value_name = "N", default_value_t = 250)]
    controls: usize,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct LedgerArgs {
    /// The model that is asked
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The model it went on from: what it knew before stands beside
    #[arg(long, value_name = "MODEL")]
    before: Option<String>,
    /// What is asked, as `kpipe eval probes` makes it
    #[arg(long, value_name = "FILE", default_value = "probes/probes.jsonl")]
    probes: PathBuf,
    /// Shards with what was trained on
    #[arg(long, value_name = "PATH", default_value = "out")]
    shards: PathBuf,
    /// The folder of the run, whose `consumed.jsonl` says what of them was read; without it, each
    /// row counts once
    #[arg(long, value_name = "FOLDER")]
    read_by: Option<PathBuf>,
    /// Folder for `ledger.parquet` and `ledger.html`
    #[arg(long, value_name = "FOLDER", default_value = "ledger")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct DynamicsArgs {
    /// The folder of a run that was trained with `train.strategy.panel.file`
    #[arg(default_value = "run")]
    run_folder: PathBuf,
    /// Folder for `dynamics.json` and `dynamics.md`
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct MemorisationArgs {
    /// A GPT-2 or LLaMA, as for `kpipe eval`
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The model it went on from: what training has added is told apart from what was there
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Texts that were trained on: shards (their `train` split), or JSON lines with `text`
    #[arg(long, value_name = "PATH")]
    seen: PathBuf,
    /// Texts of the same kind that were not: shards (their `validation` split), or JSON lines
    #[arg(long, value_name = "PATH")]
    unseen: PathBuf,
    /// Tokens of a text that are looked at, from its beginning
    #[arg(long, value_name = "N", default_value_t = 256)]
    tokens: usize,
    /// Texts with fewer tokens are left out
    #[arg(long, value_name = "N", default_value_t = 32)]
    least_tokens: usize,
    /// Most texts of each side
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: usize,
    /// Seen texts that are continued, to see whether they come out word for word
    #[arg(long, value_name = "N", default_value_t = 100)]
    continued: usize,
    /// Folder for the results
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    run: RunArgs,
}

/// How a model is computed.
#[derive(Args)]
struct Computed {
    /// What the model computes with
    #[arg(long, value_enum, default_value_t = Computes::F32)]
    precision: Computes,
    /// Tokens that are computed at once, padding among them
    #[arg(long, value_name = "N", default_value_t = 4_096)]
    batch_tokens: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 17)]
    seed: u64,
    /// `cpu`, `cuda` or `cuda:1`
    #[arg(long, default_value = "cpu")]
    device: String,
}

impl Computed {
    fn open(&self, name: &str, progress: &dyn Progress) -> Result<Model> {
        let device = train::device(&self.device)?;
        Model::open(name, self.dtype(), &device, self.batch_tokens, progress)
    }

    /// The model of a point on the way of a run.
    fn open_point(&self, point: &Point, progress: &dyn Progress) -> Result<Model> {
        match &point.place {
            Place::Model(name) => self.open(name, progress),
            Place::Checkpoint { run, folder } => {
                let device = train::device(&self.device)?;
                Model::at_checkpoint(run, folder, self.dtype(), &device, self.batch_tokens)
            }
        }
    }

    fn dtype(&self) -> DType {
        let precision = match self.precision {
            Computes::F32 => Precision::F32,
            Computes::F64 => Precision::F64,
            Computes::Bf16 => Precision::Bf16,
        };
        precision.compute()
    }
}

/// What a model computes with.
#[derive(Clone, Copy, ValueEnum)]
enum Computes {
    F32,
    F64,
    Bf16,
}

impl EvalArgs {
    pub(super) fn is_json(&self) -> bool {
        match &self.other {
            Some(Other::Memorisation(args)) => args.run.json,
            Some(Other::Glue(args)) => args.run.json,
            Some(Other::Canaries(args)) => args.run.json,
            Some(Other::Probes(args)) => args.run.json,
            Some(Other::Ledger(args)) => args.run.json,
            Some(Other::Dynamics(args)) => args.run.json,
            Some(Other::Robustness(args)) => args.run.json,
            None => self.run.json,
        }
    }

    /// The tasks with their questions and examples.
    fn asked(&self) -> Result<Vec<Asked>> {
        let examples = pairs("--examples", &self.examples)?;
        let mut all = asked(&self.task)?;
        for one in &mut all {
            let own = examples.iter().find(|(of, _)| of == one.task.name);
            one.examples = own.map(|(_, path)| path.clone());
        }

        match examples.iter().find(|(name, _)| !all.iter().any(|one| one.task.name == name)) {
            Some((name, _)) => Err(Error::usage(format!(
                "`--examples {name}=…` has no effect: the task `{name}` is not asked"
            ))),
            None if self.shots == 0 && !examples.is_empty() => {
                Err(Error::usage("`--examples` has no effect: `--shots` is 0"))
            }
            None => Ok(all),
        }
    }
}

/// The tasks with their questions.
fn asked(given: &[String]) -> Result<Vec<Asked>> {
    let mut all: Vec<Asked> = Vec::new();
    for (name, path) in pairs("--task", given)? {
        if all.iter().any(|asked| asked.task.name == name) {
            return Err(Error::usage(format!("the task `{name}` is given twice"))
                .hint("one path may be a folder or a pattern; or give another `--out`"));
        }
        all.push(Asked { task: tasks::task(&name)?, path, examples: None });
    }
    Ok(all)
}

/// `name=path` of each.
fn pairs(argument: &str, given: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_string(), path.to_string()))
        }
        _ => Err(Error::usage(format!("`{argument} {text}` is no name and path"))
            .hint(format!("write `{argument} hellaswag=hellaswag_val.jsonl`"))),
    };
    given.iter().map(pair).collect()
}

pub(super) fn run(args: &EvalArgs) -> Result<()> {
    match &args.other {
        Some(Other::Memorisation(args)) => return memorised(args),
        Some(Other::Glue(args)) => return ask_glue(args),
        Some(Other::Canaries(args)) => return expose(args),
        Some(Other::Probes(args)) => return make_probes(args),
        Some(Other::Ledger(args)) => return write_ledger(args),
        Some(Other::Dynamics(args)) => return tell_dynamics(args),
        Some(Other::Robustness(args)) => return measure_robustness(args),
        None => {}
    }
    start_again_with(environment(args.run.threads)?)?;
    let asked = args.asked()?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let model = args.computed.open(args.model.as_deref().unwrap_or_default(), &printer)?;
    let job = Job {
        out: &args.out,
        limit: args.limit,
        shots: args.shots,
        skip_missing: args.bioasq_compat.is_some(),
        seed: args.computed.seed,
        progress: &printer,
    };
    let before = args.before.as_ref().map(|before| args.computed.open(before, &printer));
    let results = evaluate(&model, before.transpose()?.as_ref(), &asked, &job)?;
    printer.result(&report::table(&results), &json!(results))
}

fn memorised(args: &MemorisationArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let unseen = tasks::texts::texts(&args.unseen, "validation")?;
    let model = args.computed.open(&args.model, &printer)?;
    let base = args.base.as_ref().map(|base| args.computed.open(base, &printer)).transpose()?;
    let job = memorisation::Job {
        out: &args.out,
        tokens: args.tokens,
        least_tokens: args.least_tokens,
        limit: args.limit,
        continued: args.continued,
        seed: args.computed.seed,
        progress: &printer,
    };

    let mut seen = memorisation::Seen::beside(&unseen, &job);
    tasks::texts::visit(&args.seen, "train", &mut |item| seen.add(item, job.seed))?;
    let told = memorisation::measure(&model, base.as_ref(), seen, &unseen, &job)?;
    printer.result(&memorisation::markdown(&told), &json!(told))
}

fn ask_glue(args: &GlueArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let model = args.computed.open(&args.model, &printer)?;
    let job = glue::Job {
        data: &args.data,
        out: &args.out,
        limit: args.limit,
        seed: args.computed.seed,
        progress: &printer,
    };
    let told = glue::evaluate(&model, &job)?;
    printer.result(&glue::table(&told), &json!(told))
}

fn expose(args: &CanariesArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let folder = &args.canaries;
    let Some(name) = args.model.as_ref() else {
        let n = args.make.unwrap_or_default();
        canaries::make(n, args.computed.seed, folder)?;
        let text = format!(
            "{n} canaries to build with: --source canaries={}\n",
            folder.join(canaries::INSERTED).display()
        );
        return printer.result(&text, &json!({ "made": n }));
    };
    let read = |name: &str| canaries::read(&folder.join(name));
    let (inserted, kept) = (read(canaries::INSERTED)?, read(canaries::KEPT)?);
    let model = args.computed.open(name, &printer)?;
    let (others, seed) = (args.others, args.computed.seed);
    let told = canaries::measure(&model, &inserted, &kept, others, seed, &args.out)?;
    printer.result(&canaries::table(&told), &json!(told))
}

fn make_probes(args: &ProbesArgs) -> Result<()> {
    let pipeline = args.settings.pipeline()?;
    let names = &pipeline.train.names;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let lexicon = Lexicon::read(&names.lexicon, args.memory.memory)?;
    let finder = Finder::new(&lexicon, &names.rules)?;
    let books = probes::make(
        &lexicon,
        &finder,
        &probes::Job {
            shards: &args.shards,
            out: &args.out,
            limit: args.limit,
            per_document: args.per_document,
            distractors: args.distractors,
            controls: args.controls,
            seed: pipeline.seed,
            progress: &printer,
        },
    )?;
    printer.result(&probes::table(&books), &json!(books))
}

fn write_ledger(args: &LedgerArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    let pipeline = args.settings.pipeline()?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let names = &pipeline.train.names;
    let lexicon = Lexicon::read(&names.lexicon, args.memory.memory)?;
    let finder = Finder::new(&lexicon, &names.rules)?;
    let probes = train::data::probes::read(&args.probes)?;
    let model = args.computed.open(&args.model, &printer)?;
    let before = args.before.as_ref().map(|before| args.computed.open(before, &printer));
    let job = ledger::Job {
        shards: &args.shards,
        run: args.read_by.as_deref(),
        out: &args.out,
        progress: &printer,
    };
    let summary =
        ledger::write(&lexicon, &finder, &probes, &model, before.transpose()?.as_ref(), &job)?;
    printer.result(&ledger::table(&summary), &json!(summary))
}

fn tell_dynamics(args: &DynamicsArgs) -> Result<()> {
    let told = dynamics::write(&args.run_folder, &args.out)?;
    args.run.printer().result(&dynamics::markdown(&told), &json!(told))
}

fn measure_robustness(args: &RobustnessArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    let asked = asked(&args.task)?;
    let transformations = robustness::transform::chosen(&args.transform)?;
    let points = match (&args.run_folder, &args.model) {
        (Some(run), _) => robustness::points(run, args.initial.as_deref())?,
        (None, model) => {
            let place = Place::Model(model.clone().unwrap_or_default());
            let own = Point { name: "model".to_string(), step: 0, place };
            let first = args.initial.clone().map(|name| Point {
                name: "initial".to_string(),
                step: 0,
                place: Place::Model(name),
            });
            first.into_iter().chain([own]).collect()
        }
    };
    let pipeline = args.settings.pipeline()?;
    args.run.start_threads()?;
    let printer = args.run.printer();

    let names = &pipeline.train.names;
    let lexicon = (!names.lexicon.is_empty())
        .then(|| LexiconNames::read(&names.lexicon, &names.rules, args.memory.memory))
        .transpose()?;
    let concepts = lexicon.as_ref().map(|lexicon| lexicon as &dyn ConceptNames);
    let kit = Kit {
        rewriter: Rewriter::new(&pipeline.negatives, concepts)?,
        params: &pipeline.negatives,
        seed: pipeline.seed,
    };
    let translating = &pipeline.negatives.back_translation;
    let is_wanted = transformations.iter().any(|one| one.name == "back_translation");
    if is_wanted && translating.tables.is_empty() && identity(translating)? == "none" {
        printer.note(
            "nothing is translated and back: `kpipe doctor` tells which engine to install, \
             `negatives.back_translation.tables` takes what was translated elsewhere",
        );
    }
    let candidates: Box<dyn Candidates> = match (&args.vectors, &args.synonyms) {
        (Some(vectors), _) => Box::new(Vectors::read(vectors)?),
        (None, Some(synonyms)) => Box::new(Synonyms::read(synonyms)?),
        (None, None) => Box::new(Synonyms::embedded()?),
    };
    let tagger = Tagger::read(args.tags.as_deref())?;
    let attack = (args.attack > 0).then_some(Attack {
        candidates: candidates.as_ref(),
        tagger: &tagger,
        encoder: None,
        queries: args.queries,
    });
    let told = robustness::evaluate(
        &points,
        &|point| args.computed.open_point(point, &printer),
        &robustness::Job {
            glue: args.glue.as_deref(),
            tasks: &asked,
            out: &args.out,
            learn: args.learn,
            items: args.items,
            transformations: &transformations,
            kit: &kit,
            attack,
            attacked: args.attack,
            seed: args.computed.seed,
            progress: &printer,
        },
    )?;
    printer.result(&robustness::markdown(&told), &json!(told))
}
