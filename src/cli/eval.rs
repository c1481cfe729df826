//! `kpipe eval`: a model is asked what it knows.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::RunArgs;
use super::environment::start_again_with;
use super::train::environment;
use crate::error::{Error, Result};
use crate::eval::model::Model;
use crate::eval::{Asked, Job, evaluate, report, tasks};
use crate::train;
use crate::train::params::Precision;

/// Arguments of `kpipe eval`.
#[derive(Args)]
pub(super) struct EvalArgs {
    /// A folder of Hugging Face's (config.json, safetensors, tokenizer.json), such as a run of
    /// `kpipe train`, or `owner/name` on its hub
    #[arg(long, value_name = "MODEL")]
    model: String,
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
    /// Folder for answers and results; what was stopped there goes on
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
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
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// What a model computes with.
#[derive(Clone, Copy, ValueEnum)]
enum Computes {
    F32,
    F64,
    Bf16,
}

impl EvalArgs {
    /// The tasks with their questions and examples.
    fn asked(&self) -> Result<Vec<Asked>> {
        let examples = pairs("--examples", &self.examples)?;
        let mut all: Vec<Asked> = Vec::new();
        for (name, path) in pairs("--task", &self.task)? {
            if all.iter().any(|asked| asked.task.name == name) {
                return Err(Error::usage(format!("the task `{name}` is given twice"))
                    .hint("one path may be a folder or a pattern; or give another `--out`"));
            }
            let own = examples.iter().find(|(of, _)| *of == name);
            let examples = own.map(|(_, path)| path.clone());
            all.push(Asked { task: tasks::task(&name)?, path, examples });
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
    start_again_with(environment(args.run.threads)?)?;
    let asked = args.asked()?;
    let device = train::device(&args.device)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let precision = match args.precision {
        Computes::F32 => Precision::F32,
        Computes::F64 => Precision::F64,
        Computes::Bf16 => Precision::Bf16,
    };

    let model =
        Model::open(&args.model, precision.compute(), &device, args.batch_tokens, &printer)?;
    let job = Job {
        out: &args.out,
        limit: args.limit,
        shots: args.shots,
        seed: args.seed,
        progress: &printer,
    };
    let results = evaluate(&model, &asked, &job)?;
    printer.result(&report::table(&results), &json!(results))
}
