//! `kpipe eval probes`: knowledge probes of held-out documents.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Names, names};
use crate::cli::{MemoryArgs, RunArgs, SettingsArgs};
use crate::error::Result;
use crate::eval::probes;

/// Arguments of `kpipe eval probes`.
#[derive(Args)]
pub(super) struct ProbesArgs {
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
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &ProbesArgs) -> Result<()> {
    let pipeline = args.settings.pipeline()?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let Names { lexicon, finder } = names(&pipeline, &args.memory)?;
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
