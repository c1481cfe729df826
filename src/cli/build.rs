//! `kpipe build`: raw files in, curriculum-ordered Parquet shards out.

use std::path::PathBuf;

use clap::Args;

use super::environment::{give_memory_back_late, start_again_with};
use super::{MemoryArgs, RunArgs, SettingsArgs, print};
use crate::build::plan::{self, Job};
use crate::build::{estimate, publish, run as rooms};
use crate::error::Result;
use crate::flow::progress::Progress;
use crate::flow::stop;
use crate::rewrite::back_translation;

/// Arguments of `kpipe build`.
#[derive(Args)]
pub(super) struct BuildArgs {
    /// Sources by name, such as `wiki,pubmed`; `wiki=/data/x.xml.bz2` reads another file, folder or
    /// glob pattern
    #[arg(long, value_name = "NAME[=PATH],...", required = true)]
    source: Vec<String>,
    /// Folder for the shards and everything about them
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    out: PathBuf,
    /// At most so many documents of each source
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// What a model that was trained before knows, as `kpipe eval ledger` writes it: what it has
    /// met often and does not know counts more (`density.ledger`)
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// At most so many tokens of domain text, such as 50M: those of documents that are worth most
    /// by `density.measure` (`density.keep_tokens`)
    #[arg(long, value_name = "N", value_parser = parse_tokens)]
    keep_tokens: Option<u64>,
    /// Files of variants of domain documents made elsewhere, JSON lines with `parent`, `text` and
    /// optionally `kind`; they go through the same gate as those made here (`variants.import`)
    #[arg(long, value_name = "FILE,...", value_delimiter = ',')]
    import: Vec<PathBuf>,
    /// Print the checked plan with expected documents, disk and time from a sample, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &BuildArgs) -> Result<()> {
    start_again_with([give_memory_back_late()])?;
    let mut pipeline = args.settings.pipeline()?;
    if let Some(ledger) = &args.ledger {
        pipeline.density.ledger = ledger.display().to_string();
    }
    if let Some(keep_tokens) = args.keep_tokens {
        pipeline.density.keep_tokens = keep_tokens;
        pipeline.density.check()?;
    }
    if !args.import.is_empty() {
        let paths = args.import.iter().map(|path| path.display().to_string());
        pipeline.variants.import = paths.collect();
    }
    let sources = pipeline.sources(&args.source.join(","))?;
    let job = Job {
        pipeline,
        sources,
        out: args.out.clone(),
        limit: args.limit,
        memory_bytes: args.memory.memory,
    };

    plan::check(&job)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let is_sample = |path: &str| path.starts_with("fixtures/");

    if job.pipeline.density.lexicon.iter().any(|spec| is_sample(&spec.path))
        && job.sources.iter().any(|source| !is_sample(&source.path))
    {
        printer.note(
            "your files are scored with the sample lexicon of the fixtures; name yours in \
                      `density.lexicon`",
        );
    }

    for source in job.sources.iter().filter(|source| source.is_guessed) {
        printer.note(&format!(
            "source `{}` is read as {}, with the role {}",
            source.name, source.format, source.role
        ));
    }

    if job.pipeline.negatives.per_document > 0
        && let Some(warning) = back_translation::warning(&job.pipeline.negatives.back_translation)
    {
        printer.note(&warning);
    }

    let place = args.out.join(rooms::WORK);
    let (dry_run, json) = (args.dry_run, args.run.json);
    stop::listen(false, move |signal| {
        let kept = format!(
            "what is done is kept in `{}`; the same command goes on there",
            place.display()
        );
        print::stop(signal, if dry_run { "nothing was written" } else { &kept }, json);
    })?;

    if args.dry_run {
        let estimate = estimate::estimate(&job)?;
        return printer.result(&estimate.to_string(), &serde_json::json!(estimate));
    }

    let finished = rooms::run(&job, &printer)?;
    let manifest = publish::publish(&job, &finished, &printer)?;
    printer.result(&publish::summary(&job, &manifest), &serde_json::json!(manifest))
}

/// A number of tokens: 50M are fifty millions.
fn parse_tokens(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("`{text}` is no number of tokens; write 800K, 50M or 1.5G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1.0,
        "K" | "k" => 1e3,
        "M" | "m" => 1e6,
        "G" | "g" | "B" | "b" => 1e9,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    if number * unit >= 1.0 { Ok((number * unit) as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_by_thousands() {
        assert_eq!(parse_tokens("50M"), Ok(50_000_000));
        assert_eq!(parse_tokens("1.5k"), Ok(1_500));
        assert_eq!(parse_tokens("7"), Ok(7));
        for wrong in ["", "0", "50MB", "-1K", "nan", "many"] {
            assert!(parse_tokens(wrong).is_err(), "{wrong}");
        }
    }
}
