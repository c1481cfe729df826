//! `kpipe ablate`: whether levers make a model learn more, by a plan.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::environment::start_again_with;
use super::train::environment;
use super::{MemoryArgs, RunArgs, SettingsArgs, print};
use crate::ablate::plan::Plan;
use crate::ablate::{self, report};
use crate::error::{Error, Result};
use crate::flow::stop;
use crate::train;

/// Arguments of `kpipe ablate`.
#[derive(Args)]
pub(super) struct AblateArgs {
    /// The plan: levers, arms, facts, how long
    plan: PathBuf,
    /// Real text, as for `kpipe build --source`, some of it with the role general; `--pipeline` and
    /// `--set` say how it is read and name its lexicon, the plan says all else
    #[arg(long, value_name = "NAME[=PATH],...", required = true)]
    source: Vec<String>,
    /// A third party's fictional facts with their probes (`fictional_knowledge.json` of
    /// kaistAI/factual-knowledge-acquisition); may be given more than once
    #[arg(long, value_name = "FILE")]
    injected: Vec<PathBuf>,
    /// A model to go on from, in the place of the one that the plan trains
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Working folder for builds and runs; may be deleted
    #[arg(long, value_name = "FOLDER", default_value = "ablation")]
    out: PathBuf,
    /// Folder for the outcome of each arm and the report; what stands there is not run again
    #[arg(long, value_name = "FOLDER", default_value = "ablation-results")]
    results: PathBuf,
    /// Begin no arm that would not be done within this time: `90m`, `2h`
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    budget: Option<f64>,
    /// Print the arms of the plan with their settings, and stop
    #[arg(long)]
    dry_run: bool,
    /// `cpu`, `cuda` or `cuda:1`
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// Seconds of `45s`, `90m` or `2h`.
fn seconds(text: &str) -> std::result::Result<f64, String> {
    let wrong = || format!("`{text}` is no time: write `90m` or `2h`");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    if number >= 0.0 { Ok(number * factor) } else { Err(wrong()) }
}

pub(super) fn run(args: &AblateArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    let plan = Plan::read(&args.plan)?;
    let device = train::device(&args.device)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    if args.dry_run {
        let arms = plan.arms();
        let line = |arm: &ablate::plan::Arm| format!("{:<14} {}\n", arm.name, arm.set.join(" "));
        let mut text: String = arms.iter().map(line).collect();
        text += &format!("{} arms with {} seeds\n", arms.len(), plan.seeds.len());
        return printer.result(&text, &json!(arms));
    }
    if args.results == args.out {
        return Err(Error::usage("`--results` is what is kept, `--out` what may be deleted")
            .hint("give them folders of their own"));
    }

    if args.settings.seed.is_some() {
        return Err(Error::usage("`--seed` has no effect: the plan names its seeds")
            .hint("add one to `seeds` in the plan; outcomes of the others are kept"));
    }

    let (results, json) = (args.results.clone(), args.run.json);
    stop::listen(true, move |signal| {
        let kept = format!("the arms that are done stand in `{}`", results.display());
        print::stop(signal, &format!("{kept}; the same command goes on"), json);
    })?;
    let told = ablate::ablate(
        &plan,
        &ablate::Job {
            sources: &args.source.join(","),
            reading: &args.settings.pipeline()?,
            injected: &args.injected,
            base: args.base.as_deref().unwrap_or_default(),
            out: &args.out,
            results: &args.results,
            budget: args.budget,
            memory_bytes: args.memory.memory,
            device: &device,
            progress: &printer,
        },
    )?;
    printer.result(&report::markdown(&told), &json!(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("90m"), Ok(5_400.0));
        assert_eq!(seconds("1.5h"), Ok(5_400.0));
        assert!(seconds("90").is_err() && seconds("-1h").is_err() && seconds("").is_err());
    }
}
