//! `kpipe eval glue`: GLUE's tasks through a linear head.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Computed, Draws, begin};
use crate::cli::RunArgs;
use crate::error::Result;
use crate::eval::glue;

/// Arguments of `kpipe eval glue`.
#[derive(Args)]
pub(super) struct GlueArgs {
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
    draws: Draws,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &GlueArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let model = args.computed.open(&args.model, &printer)?;
    let job = glue::Job {
        data: &args.data,
        out: &args.out,
        limit: args.limit,
        seed: args.draws.seed,
        progress: &printer,
    };
    let told = glue::evaluate(&model, &job)?;
    printer.result(&glue::table(&told), &json!(told))
}
