//! `kpipe train`: a model learns from the shards, strictly in their order.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::environment::{Variable, instructions, keep_memory, start_again_with};
use super::{RunArgs, SettingsArgs, print};
use crate::build::plan::Pipeline;
use crate::error::Result;
use crate::flow::stop;
use crate::train;
use crate::train::run::metrics::METRICS;
use crate::train::run::preset::preset;

/// Arguments of `kpipe train`.
#[derive(Args)]
pub(super) struct TrainArgs {
    /// Folder that `kpipe build` wrote, or one with `train-*-of-*.parquet`; a pattern of such
    /// files; or an address in an object store, such as `s3://bucket/corpus`. Parquet files of
    /// other programs are read by their column `text`
    #[arg(long, value_name = "FOLDER|PATTERN|ADDRESS", default_value = "out")]
    shards: PathBuf,
    /// Folder for model, checkpoints and metrics; a run that was stopped there goes on
    #[arg(long, value_name = "FOLDER", default_value = "run")]
    out: PathBuf,
    /// Afterwards write the loss of every training document into `losses.parquet`, for the key
    /// `difficulty.losses`
    #[arg(long)]
    losses: bool,
    /// `cpu`, `cuda` or `cuda:1`
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// What is trained, and how.
#[derive(Args)]
pub(super) struct ModelArgs {
    /// Settings and shape of a well-known model, or of its tiny twin: bert-base, gpt2, t5-base,
    /// llama-7b, and each with `-tiny`; with `--init` the settings alone
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// BERT, GPT-2, T5 or LLaMA to go on from: a folder of Hugging Face's (config.json,
    /// safetensors, tokenizer.json), or `owner/name` or `owner/name@revision` on its hub
    #[arg(long, value_name = "MODEL")]
    init: Option<String>,
    /// Begin a smaller model with these blocks of `--init`, from 0, in order: `0,2,4,7,9,11`
    #[arg(long, value_name = "BLOCKS", value_delimiter = ',', requires = "init")]
    init_from_layers: Vec<usize>,
    /// Leave the model of `--init` as it is and train a LLaMA-Adapter on it (LLaMA and GPT-2), or
    /// go on with one that an earlier run wrote into a folder: `--adapter=FOLDER`
    #[arg(long, value_name = "FOLDER")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "")]
    adapter: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ModelArgs {
    /// The pipeline with what the arguments say.
    pub(super) fn pipeline(&self) -> Result<Pipeline> {
        let mut pipeline = match &self.preset {
            Some(name) => {
                self.settings.pipeline_over(preset(name)?.text, &format!("preset {name}"))?
            }
            None => self.settings.pipeline()?,
        };

        if let Some(init) = &self.init {
            pipeline.train.init.clone_from(init);
        }
        if !self.init_from_layers.is_empty() {
            pipeline.train.init_layers.clone_from(&self.init_from_layers);
        }
        if let Some(folder) = &self.adapter {
            pipeline.train.strategy.set("adapter", "on", true);
            if !folder.is_empty() {
                pipeline.train.strategy.set("adapter", "from", folder.as_str());
            }
        }

        Ok(pipeline)
    }
}

/// What the trainer's libraries are told through the environment.
///
/// - Threads of candle's element-wise operations: they wait for one another in busy loops, which on
///   two cores takes three times as long as not splitting; kpipe's own kernels and the matrix
///   products keep all cores.
/// - Threads of matrix products: without it candle counts the cores anew for each product, by
///   reading `/proc/cpuinfo`.
/// - Vector instructions, where the user asks for some.
pub(super) fn environment(threads: Option<usize>) -> Result<Vec<Variable>> {
    let threads =
        threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let candle = ("CANDLE_NUM_THREADS", "1".to_string());
    let fixed = [candle, ("RAYON_NUM_THREADS", threads.to_string()), keep_memory()];
    Ok(fixed.into_iter().chain(instructions()?).collect())
}

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    start_again_with(environment(args.run.threads)?)?;
    let pipeline = args.model.pipeline()?;
    let device = train::device(&args.device)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let (out, json) = (args.out.clone(), args.run.json);
    stop::listen(true, move |signal| {
        let saved = train::run::checkpoint::latest(&out).ok().flatten();
        let saved = saved.map(|folder| {
            format!("`{}` is saved; the same command goes on from it", folder.display())
        });
        print::stop(
            signal,
            saved.as_deref().unwrap_or("no checkpoint was saved yet; the same command begins anew"),
            json,
        );
    })?;

    let job = train::Job {
        shards: &args.shards,
        out: &args.out,
        seed: pipeline.seed,
        device: &device,
        losses: args.losses,
        progress: &printer,
    };

    let summary = train::train(&job, &pipeline.train)?;
    printer.result(&table(&summary, args), &json!(summary))
}

fn table(summary: &train::Summary, args: &TrainArgs) -> String {
    let mut lines = vec![
        ("steps", summary.steps.to_string()),
        ("parameters", summary.n_parameters.to_string()),
        ("vocabulary", summary.vocabulary.to_string()),
        ("documents", format!("{}, begun {} times", summary.documents, summary.epochs)),
        ("training loss", format!("{:.4} → {:.4}", summary.train_loss.0, summary.train_loss.1)),
    ];

    if summary.resumed_from > 0 {
        lines.insert(1, ("went on from", format!("step {}", summary.resumed_from)));
    }
    if let Some((first, last)) = summary.val_loss {
        lines.push(("held-out loss", format!("{first:.4} → {last:.4} nats per predicted token")));
    }
    let rate = summary.tokens as f64 / summary.seconds.max(1e-9);
    let padding = 100.0 * summary.padding;
    lines.push((
        "tokens",
        format!("{}, and {padding:.1} % of the places computed are padding", summary.tokens),
    ));
    lines.push((
        "speed",
        format!(
            "{rate:.0} tokens/s with {}, {:.0} s",
            summary.instructions.name(),
            summary.seconds
        ),
    ));
    lines.push(("model", summary.model.display().to_string()));
    lines.push(("metrics", args.out.join(METRICS).display().to_string()));

    lines.iter().map(|(name, value)| format!("{name:<14} {value}\n")).collect()
}
