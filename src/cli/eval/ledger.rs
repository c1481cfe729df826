//! `kpipe eval ledger`: what was seen and is known of every concept.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Computed, Names, begin, names};
use crate::cli::{MemoryArgs, RunArgs, SettingsArgs};
use crate::error::Result;
use crate::eval::ledger;
use crate::train::data::probes;

/// Arguments of `kpipe eval ledger`.
#[derive(Args)]
pub(super) struct LedgerArgs {
    /// The model that is asked
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The model it went on from: what it knew before stands beside
    #[arg(long, value_name = "MODEL")]
    before: Option<String>,
    /// What is asked, as `kpipe eval probes` makes it
    #[arg(long, value_name = "FILE", default_value = "probes/probes.jsonl")]
    probes: PathBuf,
    /// Shards with what was trained on
    #[arg(long, value_name = "PATH", default_value = "out")]
    shards: PathBuf,
    /// The folder of the run, whose `consumed.jsonl` says what of them was read; without it, each
    /// row counts once
    #[arg(long, value_name = "FOLDER")]
    read_by: Option<PathBuf>,
    /// Folder for `ledger.parquet` and `ledger.html`
    #[arg(long, value_name = "FOLDER", default_value = "ledger")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &LedgerArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let Names { lexicon, finder } = names(&args.settings.pipeline()?, &args.memory)?;
    let probes = probes::read(&args.probes)?;
    let model = args.computed.open(&args.model, &printer)?;
    let before = args.before.as_ref().map(|before| args.computed.open(before, &printer));
    let job = ledger::Job {
        shards: &args.shards,
        run: args.read_by.as_deref(),
        out: &args.out,
        progress: &printer,
    };
    let summary =
        ledger::write(&lexicon, &finder, &probes, &model, before.transpose()?.as_ref(), &job)?;
    printer.result(&ledger::table(&summary), &json!(summary))
}
