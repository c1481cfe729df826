//! `kpipe eval selection`: which measure ranks what is worth learning first.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::begin;
use crate::cli::documents::{LexiconArgs, Reading, sources};
use crate::cli::{MemoryArgs, RunArgs, SettingsArgs};
use crate::error::{Error, Result};
use crate::eval::selection::{Label, judge, table};
use crate::flow::room::Context;
use crate::flow::stop::Temporary;

/// Arguments of `kpipe eval selection`.
#[derive(Args)]
pub(super) struct SelectionArgs {
    /// Documents that are worth learning, in any format kpipe reads; with `--label`, all documents
    #[arg(required = true, value_name = "PATH")]
    good: Vec<PathBuf>,
    /// Documents that are not; may be given more than once
    #[arg(long, value_name = "PATH", required_unless_present = "label", conflicts_with = "label")]
    against: Vec<PathBuf>,
    /// Those are worth learning that have this in their record, such as `label=1`
    #[arg(long, value_name = "KEY=VALUE")]
    label: Option<String>,
    #[command(flatten)]
    lexicons: LexiconArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &SelectionArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let mut pipeline = args.settings.pipeline()?;
    args.lexicons.name(&mut pipeline);
    let all = sources(&[args.good.as_slice(), &args.against].concat(), &pipeline)?;
    let label = match args.label.as_deref().map(|label| label.split_once('=')) {
        Some(Some((key, value))) => {
            Label::Metadata { key: key.to_string(), value: value.to_string() }
        }
        Some(None) => {
            return Err(
                Error::usage("`--label` is no key and value").hint("write `--label label=1`")
            );
        }
        None => Label::Sources(all[..args.good.len()].iter().map(|one| one.name.clone()).collect()),
    };

    let work = Temporary::new(&std::env::temp_dir(), ".kpipe-selection-")?;
    let reading = Reading {
        sources: &all,
        pipeline: &pipeline,
        memory_bytes: args.memory.memory,
        printer: &printer,
    };
    let documents = reading.checked(&work.path().join("ingest"))?;
    let folder = work.path().join("density");
    std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
    let cx = Context {
        room: "density",
        folder: &folder,
        seed: pipeline.seed,
        memory_bytes: args.memory.memory,
        progress: &printer,
    };
    let told = judge(&documents, &label, &pipeline.density, &cx)?;
    printer.result(&table(&told), &json!(told))
}
