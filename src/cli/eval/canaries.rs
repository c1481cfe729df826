//! `kpipe eval canaries`: random secrets in training text.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Computed, Draws, begin};
use crate::cli::RunArgs;
use crate::error::Result;
use crate::eval::canaries;

/// Arguments of `kpipe eval canaries`.
#[derive(Args)]
pub(super) struct CanariesArgs {
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
    draws: Draws,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &CanariesArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let folder = &args.canaries;
    let Some(name) = args.model.as_ref() else {
        let n = args.make.unwrap_or_default();
        canaries::make(n, args.draws.seed, folder)?;
        let text = format!(
            "{n} canaries to build with: --source canaries={}\n",
            folder.join(canaries::INSERTED).display()
        );
        return printer.result(&text, &json!({ "made": n }));
    };
    let read = |name: &str| canaries::read(&folder.join(name));
    let (inserted, kept) = (read(canaries::INSERTED)?, read(canaries::KEPT)?);
    let model = args.computed.open(name, &printer)?;
    let (others, seed) = (args.others, args.draws.seed);
    let told = canaries::measure(&model, &inserted, &kept, others, seed, &args.out)?;
    printer.result(&canaries::table(&told), &json!(told))
}
