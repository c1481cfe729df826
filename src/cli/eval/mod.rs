//! `kpipe eval`: a model is asked what it knows.

mod canaries;
mod dynamics;
mod glue;
mod ledger;
mod memorisation;
mod mentions;
mod probes;
mod robustness;
mod selection;

use std::path::PathBuf;

use candle_core::DType;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::environment::start_again_with;
use super::print::Printer;
use super::train::environment;
use super::{MemoryArgs, RunArgs};
use crate::build::plan::Pipeline;
use crate::error::{Error, Result};
use crate::eval::model::Model;
use crate::eval::robustness::{Place, Point};
use crate::eval::{Asked, Job, evaluate, report, tasks};
use crate::flow::progress::Progress;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;
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
    draws: Draws,
    #[command(flatten)]
    run: RunArgs,
}

/// What else is asked of a model.
#[derive(Subcommand)]
enum Other {
    /// Whether texts are known by heart: those that were trained on against others of their kind
    Memorisation(memorisation::MemorisationArgs),
    /// GLUE's nine tasks through a linear head on a model's states
    Glue(glue::GlueArgs),
    /// Random secrets in training text: write them, and measure how far a model knows them
    Canaries(canaries::CanariesArgs),
    /// Make knowledge probes of held-out documents and a lexicon, for the task `probes` and for
    /// `train.strategy.panel.file`
    Probes(probes::ProbesArgs),
    /// For every concept of a lexicon how often it was seen and whether it is known, as Parquet and
    /// as a page with the map of what is known
    Ledger(ledger::LedgerArgs),
    /// What a run with a panel learned of facts each time they were told, and what it kept
    Dynamics(dynamics::DynamicsArgs),
    /// Which measure of knowledge ranks what is worth learning above the rest
    Selection(selection::SelectionArgs),
    /// How well a lexicon's concepts are found in documents where people marked them
    Mentions(mentions::MentionsArgs),
    /// What is left of a model's answers when the text is written in another way: TextFooler's
    /// attack, slips, synonyms and more, for one model or along the checkpoints of a run
    Robustness(robustness::RobustnessArgs),
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
    /// `cpu`, `cuda` or `cuda:1`
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// The draws of commands that read no pipeline.
#[derive(Args)]
struct Draws {
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 17)]
    seed: u64,
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
        let run = match &self.other {
            Some(Other::Memorisation(args)) => &args.run,
            Some(Other::Glue(args)) => &args.run,
            Some(Other::Canaries(args)) => &args.run,
            Some(Other::Probes(args)) => &args.run,
            Some(Other::Ledger(args)) => &args.run,
            Some(Other::Dynamics(args)) => &args.run,
            Some(Other::Mentions(args)) => &args.run,
            Some(Other::Selection(args)) => &args.run,
            Some(Other::Robustness(args)) => &args.run,
            None => &self.run,
        };
        run.json
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

/// What comes before a model is asked: the environment of its kernels, threads, and what tells.
fn begin(run: &RunArgs) -> Result<Printer> {
    start_again_with(environment(run.threads)?)?;
    run.start_threads()?;
    Ok(run.printer())
}

/// A lexicon, and what finds its names.
struct Names {
    lexicon: Lexicon,
    finder: Finder,
}

/// The lexicon of a pipeline.
fn names(pipeline: &Pipeline, memory: &MemoryArgs) -> Result<Names> {
    let names = &pipeline.train.names;
    let lexicon = Lexicon::read(&names.lexicon, memory.memory)?;
    let finder = Finder::new(&lexicon, &names.rules)?;
    Ok(Names { lexicon, finder })
}

pub(super) fn run(args: &EvalArgs) -> Result<()> {
    match &args.other {
        Some(Other::Memorisation(args)) => return memorisation::run(args),
        Some(Other::Glue(args)) => return glue::run(args),
        Some(Other::Canaries(args)) => return canaries::run(args),
        Some(Other::Probes(args)) => return probes::run(args),
        Some(Other::Ledger(args)) => return ledger::run(args),
        Some(Other::Dynamics(args)) => return dynamics::run(args),
        Some(Other::Mentions(args)) => return mentions::run(args),
        Some(Other::Selection(args)) => return selection::run(args),
        Some(Other::Robustness(args)) => return robustness::run(args),
        None => {}
    }
    let printer = begin(&args.run)?;
    let asked = args.asked()?;
    let model = args.computed.open(args.model.as_deref().unwrap_or_default(), &printer)?;
    let job = Job {
        out: &args.out,
        limit: args.limit,
        shots: args.shots,
        skip_missing: args.bioasq_compat.is_some(),
        seed: args.draws.seed,
        progress: &printer,
    };
    let before = args.before.as_ref().map(|before| args.computed.open(before, &printer));
    let results = evaluate(&model, before.transpose()?.as_ref(), &asked, &job)?;
    printer.result(&report::table(&results), &json!(results))
}
