//! The command line: one file a command, and the only place that prints or exits.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 2 wrong
//! command line or pipeline file, 3 data breaks a contract or a policy, 4 disk or file trouble, 5
//! numbers went bad, 101 our bug, 130 and 143 stopped by a signal.

mod ablate;
mod build;
mod completions;
mod doctor;
mod documents;
mod environment;
mod eval;
mod list;
mod mentions;
mod plan;
mod print;
mod report;
mod score;
mod train;
mod variants;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::build::plan::Pipeline;
use crate::error::{Error, Result};
use crate::flow::settings::Settings;
use print::Printer;

/// Turns knowledge-dense corpora into curriculum-ordered training shards, and trains on them.
#[derive(Parser)]
#[command(name = "kpipe", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 2 wrong command line or pipeline file, 3 data breaks a contract or a policy, \
4 disk or file trouble, 5 numbers went bad, 101 a bug, 130 stopped by Ctrl-C, 143 by SIGTERM.

Every key of a pipeline file, with its default and the reason for it: kpipe defaults";

#[derive(Subcommand)]
enum Command {
    /// Raw files in, curriculum-ordered Parquet shards out
    Build(build::BuildArgs),
    /// Knowledge density of documents: histogram, top and bottom, and why
    Score(score::ScoreArgs),
    /// Where documents mention the concepts of a lexicon, as text, JSON lines, PubTator, brat or
    /// Parquet
    Mentions(mentions::MentionsArgs),
    /// What documents say in another order and in other words, as a build adds it to its shards
    Variants(variants::VariantsArgs),
    /// Train a model on the shards, strictly in their order
    Train(train::TrainArgs),
    /// Ask a model what it knows: questions of published benchmarks or your own, held-out text
    Eval(Box<eval::EvalArgs>),
    /// Whether levers make a model learn more: the same facts with them and without, by a plan
    Ablate(ablate::AblateArgs),
    /// What a training run would need: parameters, memory, time
    Plan(plan::PlanArgs),
    /// Curves of a training run as a page, or of several beside one another
    Report(report::ReportArgs),
    /// What is installed, what is missing, and how to get it
    Doctor(doctor::DoctorArgs),
    /// Formats, lexicons, generators, variants, objectives, strategies, schedules, models, presets,
    /// tasks, metrics: what can be named
    List(list::ListArgs),
    /// Print every key of a pipeline file with its default and reason
    Defaults,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Where settings come from.
#[derive(Args, Clone, Debug)]
struct SettingsArgs {
    /// Pipeline file with the keys that differ from the defaults; may be given more than once
    #[arg(long, value_name = "FILE")]
    pipeline: Vec<PathBuf>,
    /// One key, such as `--set dedup.jaccard=0.7`; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of every random draw [default: key `seed`]
    #[arg(long)]
    seed: Option<u64>,
}

impl SettingsArgs {
    fn pipeline(&self) -> Result<Pipeline> {
        self.pipeline_over("", "")
    }

    /// The settings on top of those of another pipeline file, a preset or a finished build's, given
    /// as its text; `name` stands for it in errors.
    fn pipeline_over(&self, text: &str, name: &str) -> Result<Pipeline> {
        let mut settings = Settings::new()?;
        settings.add_preset(text, name)?;

        for path in &self.pipeline {
            settings.add_file(path)?;
        }
        for assignment in &self.set {
            settings.add_assignment(assignment)?;
        }
        if let Some(seed) = self.seed {
            settings.add_assignment(&format!("seed={seed}"))?;
        }
        Pipeline::new(&settings)
    }
}

/// How a run uses the machine and how it tells.
#[derive(Args, Clone, Debug)]
struct RunArgs {
    /// Worker threads; the output is the same for any number [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Tell nothing but errors
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Tell progress and result as JSON lines
    #[arg(long)]
    json: bool,
}

/// How much memory a run may use.
#[derive(Args, Clone, Debug)]
struct MemoryArgs {
    /// Memory to stay within, such as 4G or 800M; the output is the same for any. What is sorted or
    /// indexed gets a quarter of it and takes more passes where that is too little; the rest is
    /// about 280 MB and 160 bytes a document, and a run that needs more than it was given says so
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = parse_size)]
    memory: u64,
}

/// Most worker threads.
const MAX_THREADS: usize = 1_024;

impl RunArgs {
    fn printer(&self) -> Printer {
        Printer::new(self.quiet, self.json)
    }

    fn start_threads(&self) -> Result<()> {
        if let Some(threads) = self.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
            return Err(Error::usage(format!(
                "`--threads` is {threads}, outside 1..={MAX_THREADS}"
            ))
            .hint("leave it out to use all cores"));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.unwrap_or(0))
            .build_global()
            .map_err(Error::no_thread)
    }
}

/// Bytes of `800M`, `4G`, `4GiB` or a plain number; units are powers of 1024.
fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        unit => return Err(format!("`{unit}` is no unit; write 800M or 4G")),
    };

    let number: f64 =
        digits.parse().map_err(|_| format!("`{digits}` is no number; write 800M or 4G"))?;
    let bytes = number * f64::from(1_u32 << 10).powi(shift / 10);

    if bytes >= 64.0 * 1024.0 * 1024.0 {
        Ok(bytes as u64)
    } else {
        Err("at least 64M are needed".to_string())
    }
}

/// Runs the command line and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(help) => return print::usage(&help),
    };
    let json = match &cli.command {
        Command::Build(args) => args.run.json,
        Command::Score(args) => args.run.json,
        Command::Mentions(args) => args.run.json,
        Command::Variants(args) => args.run.json,
        Command::Train(args) => args.run.json,
        Command::Eval(args) => args.is_json(),
        Command::Ablate(args) => args.run.json,
        Command::Plan(args) => args.is_json(),
        Command::Report(args) => args.json,
        Command::Doctor(_) | Command::List(_) | Command::Defaults | Command::Completions(_) => {
            false
        }
    };

    tell_of_limits(json);
    let result = match cli.command {
        Command::Build(args) => build::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Mentions(args) => mentions::run(&args),
        Command::Variants(args) => variants::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::List(args) => list::run(&args),
        Command::Defaults => print::stdout(crate::flow::settings::DEFAULT),
        Command::Completions(args) => completions::run(&args),
    };

    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print::error(&error, json),
    }
}

/// Libraries panic where the system gives no more threads. That is a limit somebody set, not a bug,
/// and is told as such.
fn tell_of_limits(json: bool) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload_as_str().unwrap_or_default();
        // EAGAIN, as `std`, rayon and tokio each say it.
        let is_limit = words.contains("spawn")
            && (words.contains("os error 11") || words.contains("code: 11"));
        if !is_limit {
            return usual(panic);
        }
        let error = Error::no_thread("the system gives no more of them");
        print::error(&error, json);
        #[expect(
            clippy::exit,
            reason = "the thread that panics may be any, and the others wait for it"
        )]
        std::process::exit(4);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        no_argument_twice(&Cli::command());
    }

    /// clap says so itself where it is compiled with its assertions, which a release is not.
    fn no_argument_twice(command: &clap::Command) {
        let mut names: Vec<&str> =
            command.get_arguments().filter_map(clap::Arg::get_long).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|two| two[0] == two[1]);
        assert_eq!(twice, None, "{}", command.get_name());
        command.get_subcommands().for_each(no_argument_twice);
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4G"), Ok(4 << 30));
        assert_eq!(parse_size("800MiB"), Ok(800 << 20));
        assert_eq!(parse_size("1.5g"), Ok(3 << 29));
        assert!(parse_size("4X").is_err() && parse_size("G").is_err() && parse_size("1K").is_err());
    }
}
