//! `kpipe eval memorisation`: whether texts are known by heart.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Computed, Draws, begin};
use crate::cli::RunArgs;
use crate::error::Result;
use crate::eval::{memorisation, tasks};

/// Arguments of `kpipe eval memorisation`.
#[derive(Args)]
pub(super) struct MemorisationArgs {
    /// A GPT-2 or LLaMA, as for `kpipe eval`
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The model it went on from: what training has added is told apart from what was there
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Texts that were trained on: shards (their `train` split), or JSON lines with `text`
    #[arg(long, value_name = "PATH")]
    seen: PathBuf,
    /// Texts of the same kind that were not: shards (their `validation` split), or JSON lines
    #[arg(long, value_name = "PATH")]
    unseen: PathBuf,
    /// Tokens of a text that are looked at, from its beginning
    #[arg(long, value_name = "N", default_value_t = 256)]
    tokens: usize,
    /// Texts with fewer tokens are left out
    #[arg(long, value_name = "N", default_value_t = 32)]
    least_tokens: usize,
    /// Most texts of each side
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: usize,
    /// Seen texts that are continued, to see whether they come out word for word
    #[arg(long, value_name = "N", default_value_t = 100)]
    continued: usize,
    /// Folder for the results
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    draws: Draws,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &MemorisationArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let unseen = tasks::texts::texts(&args.unseen, "validation")?;
    let model = args.computed.open(&args.model, &printer)?;
    let base = args.base.as_ref().map(|base| args.computed.open(base, &printer)).transpose()?;
    let job = memorisation::Job {
        out: &args.out,
        tokens: args.tokens,
        least_tokens: args.least_tokens,
        limit: args.limit,
        continued: args.continued,
        seed: args.draws.seed,
        progress: &printer,
    };

    let mut seen = memorisation::Seen::beside(&unseen, &job);
    tasks::texts::visit(&args.seen, "train", &mut |item| seen.add(item, job.seed))?;
    let told = memorisation::measure(&model, base.as_ref(), seen, &unseen, &job)?;
    printer.result(&memorisation::markdown(&told), &json!(told))
}
