//! `kpipe eval dynamics`: what a run with a panel learned and kept.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::RunArgs;
use crate::error::Result;
use crate::eval::dynamics;

/// Arguments of `kpipe eval dynamics`.
#[derive(Args)]
pub(super) struct DynamicsArgs {
    /// The folder of a run that was trained with `train.strategy.panel.file`
    #[arg(default_value = "run")]
    run_folder: PathBuf,
    /// Folder for `dynamics.json` and `dynamics.md`
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &DynamicsArgs) -> Result<()> {
    let told = dynamics::write(&args.run_folder, &args.out)?;
    args.run.printer().result(&dynamics::markdown(&told), &json!(told))
}
