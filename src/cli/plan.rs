//! `kpipe plan`: what a command would need, before it is started.

use clap::{Args, Subcommand};

use super::environment::start_again_with;
use super::train::{ModelArgs, environment};
use super::{RunArgs, parse_size};
use crate::error::Result;
use crate::train::params::Params;
use crate::train::run::plan::{self, Plan};
use crate::train::run::preset::preset;

/// Arguments of `kpipe plan`.
#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(subcommand)]
    command: Planned,
}

#[derive(Subcommand)]
enum Planned {
    /// Parameters, memory and time of a training run; one that does not fit is refused with what
    /// would
    Train(PlanTrainArgs),
}

#[derive(Args)]
struct PlanTrainArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Memory to fit into, such as 24G [default: all of this machine]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

impl PlanArgs {
    pub(super) fn is_json(&self) -> bool {
        let Planned::Train(args) = &self.command;
        args.run.json
    }
}

pub(super) fn run(args: &PlanArgs) -> Result<()> {
    let Planned::Train(args) = &args.command;
    start_again_with(environment(args.run.threads)?)?;
    let params = args.model.pipeline()?.train;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let plan = plan::plan(&params, args.memory.or_else(plan::machine_memory), &printer)?;
    let about = args
        .model
        .preset
        .as_deref()
        .map(|name| preset(name).map(|preset| format!("\n{}", preset.about())));
    let text = table(&plan, &params) + &about.transpose()?.unwrap_or_default();

    printer.result(&text, &serde_json::json!(plan))
}

fn table(plan: &Plan, params: &Params) -> String {
    let memory = &plan.memory;
    let (rows, microbatches) = plan.batch;
    let mut lines =
        vec![("model", plan.family.to_string()), ("parameters", grouped(plan.parameters))];

    if plan.frozen > 0 {
        lines.push(("", format!("and {} that stay as they are", grouped(plan.frozen))));
    } else if plan.published != plan.parameters {
        lines.push((
            "",
            format!("{} as published, without the head and with a pooler", grouped(plan.published)),
        ));
    }

    let activations = format!(
        "{}; {} where everything is kept, {} with train.checkpoint_every=1",
        size(memory.activations),
        size(memory.activations_kept),
        size(memory.activations_checkpointed)
    );

    let available = plan.available.map(|bytes| format!(" of {}", size(bytes))).unwrap_or_default();
    lines.extend([
        ("weights", size(memory.weights)),
        ("gradients", format!("{}, with sums over microbatches", size(memory.gradients))),
        ("optimiser", size(memory.optimiser)),
        ("activations", activations),
        ("memory", format!("{}{available}", size(memory.total()))),
        ("batch", format!("{} rows: {microbatches} microbatches of {rows}", rows * microbatches)),
        ("tokens", format!("{} a step at most", grouped(plan.tokens_per_step))),
        ("rate", format!("{:e}, {}", plan.lr, params.schedule.kind)),
        (
            "teacher",
            match plan.teacher_cache {
                0 => "nothing of it is kept on disk".to_string(),
                bytes => format!("{} on disk", size(bytes)),
            },
        ),
        ("passes", format!("{:.2} a step, with what is computed beside its rows", plan.passes)),
        (
            "time",
            format!(
                "about {} for {} steps on this processor",
                duration(plan.seconds),
                grouped(params.steps)
            ),
        ),
    ]);

    let speed = plan.flops / 1e9;
    lines.push((
        "",
        format!(
            "a matrix product reaches {speed:.0} GFLOP/s here, a step somewhat more than half of it"
        ),
    ));
    lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

/// A number with commas between its thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

fn size(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        mebi if mebi < 1024.0 => format!("{mebi:.1} MiB"),
        mebi => format!("{:.1} GiB", mebi / 1024.0),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5_400.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} hours", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_for_people() {
        assert_eq!(
            (grouped(7), grouped(1_000), grouped(109_482_240)),
            ("7".into(), "1,000".into(), "109,482,240".into())
        );
        assert_eq!((size(3 << 19), size(5 << 30)), ("1.5 MiB".into(), "5.0 GiB".into()));
        assert_eq!((duration(60.0), duration(7_200.0)), ("60 s".into(), "2 hours".into()));
    }
}
