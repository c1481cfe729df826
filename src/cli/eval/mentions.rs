//! `kpipe eval mentions`: how well concepts are found where people marked them.

use clap::Args;
use serde_json::json;

use super::{begin, pairs};
use crate::cli::documents::LexiconArgs;
use crate::cli::{MemoryArgs, RunArgs, SettingsArgs};
use crate::error::{Error, Result};
use crate::eval::mentions::{Beside, Job, corpus, judge, table};
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;

/// Arguments of `kpipe eval mentions`.
#[derive(Args)]
pub(super) struct MentionsArgs {
    /// Corpora in which people marked concepts, in PubTator's format or CoNLL's
    #[arg(required = true, value_name = "PATH")]
    corpus: Vec<String>,
    #[command(flatten)]
    lexicons: LexiconArgs,
    /// Only concepts of this kind, as the lexicon says it; may be given more than once
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only marks of this kind, as the corpus says it; may be given more than once
    #[arg(long, value_name = "KIND")]
    mark: Vec<String>,
    /// What another program found in the same documents, in PubTator's format, with kinds of the
    /// lexicon or of the corpus; may be given more than once
    #[arg(long, value_name = "NAME=PATH")]
    beside: Vec<String>,
    /// Most frequent errors of each kind that are told
    #[arg(long, value_name = "N", default_value_t = 10)]
    errors: usize,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &MentionsArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let mut pipeline = args.settings.pipeline()?;
    args.lexicons.name(&mut pipeline);
    let whole = corpus::read(&args.corpus)?;
    let beside =
        |(name, path): (String, String)| Ok(Beside { name, found: corpus::read(&[path])? });
    let beside: Vec<Beside> =
        pairs("--beside", &args.beside)?.into_iter().map(beside).collect::<Result<_>>()?;
    if pipeline.density.lexicon.is_empty() {
        return Err(Error::usage("there is no lexicon whose concepts could be found")
            .hint("give `--lexicon FILE`, or `density.lexicon` in a pipeline file"));
    }
    let lexicon = Lexicon::read(&pipeline.density.lexicon, args.memory.memory)?;
    let finder = Finder::new(&lexicon, &pipeline.density.names())?;

    let job =
        Job { kinds: &args.kind, marks: &args.mark, seed: pipeline.seed, errors: args.errors };
    let told = judge(&whole, &lexicon, &finder, &beside, &job)?;
    printer.result(&table(&told), &json!(told))
}
