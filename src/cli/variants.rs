//! `kpipe variants`: what documents say in another order and in other words, to be looked at.

use std::path::PathBuf;

use arrow::array::Array;
use clap::{Args, ValueEnum};
use rayon::prelude::*;
use serde_json::json;

use super::documents::{LexiconArgs, Reading, sources};
use super::environment::{give_memory_back_late, start_again_with};
use super::{MemoryArgs, RunArgs, SettingsArgs, print};
use crate::build::plan::Pipeline;
use crate::density;
use crate::error::Result;
use crate::flow::contract::strings;
use crate::flow::dataset::{Batches, Dataset};
use crate::flow::progress::Progress;
use crate::flow::room::Context;
use crate::flow::stop::{self, Temporary};
use crate::knowledge::mentions::Finder;
use crate::rewrite::back_translation::{self, Translations};
use crate::rewrite::lexicon::LexiconNames;
use crate::rewrite::rewriter::Rewriter;
use crate::variants::import::Imported;
use crate::variants::make::{Family, family};
use crate::variants::{Kit, back_translate};

/// Arguments of `kpipe variants`.
#[derive(Args)]
pub(super) struct VariantsArgs {
    /// Files and folders of documents in any format kpipe reads
    #[arg(required = true)]
    input: Vec<PathBuf>,
    #[command(flatten)]
    lexicons: LexiconArgs,
    /// Variants of each document, where so many can be made
    #[arg(long, value_name = "N", default_value_t = 3)]
    count: usize,
    /// Kinds of variants, of `kpipe list variants` [default: `variants.kinds`]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Files of variants made elsewhere, JSON lines with `parent`, `text` and optionally `kind`, to
    /// see which of them the gate lets through
    #[arg(long, value_name = "FILE,...", value_delimiter = ',')]
    import: Vec<PathBuf>,
    /// How they are written
    #[arg(long, value_name = "NAME", default_value = "text")]
    format: Format,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// How variants are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Each document with its variants below it, and what the gate turned away
    Text,
    /// A line of JSON for each variant, as `--import` reads them
    Jsonl,
}

pub(super) fn run(args: &VariantsArgs) -> Result<()> {
    start_again_with([give_memory_back_late()])?;
    let mut pipeline = args.settings.pipeline()?;
    args.lexicons.name(&mut pipeline);
    if !args.kinds.is_empty() {
        pipeline.variants.kinds.clone_from(&args.kinds);
    }
    pipeline.variants.check(true)?;
    let import: Vec<String> = args.import.iter().map(|path| path.display().to_string()).collect();
    let imported = Imported::read(&import)?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let sources = sources(&args.input, &pipeline)?;

    let json = args.run.json;
    stop::listen(false, move |signal| {
        print::stop(signal, "what was begun is left out; the same command begins anew", json)
    })?;
    let work = Temporary::new(&std::env::temp_dir(), ".kpipe-variants-")?;
    let cx = Context {
        room: "variants",
        folder: work.path(),
        seed: pipeline.seed,
        memory_bytes: args.memory.memory,
        progress: &printer,
    };
    let lexicon = density::read_lexicon(&pipeline.density, &cx)?;
    let finder = Finder::new(&lexicon, &pipeline.density.names())?;
    let names = LexiconNames::new(lexicon, finder);
    let reading = Reading {
        sources: &sources,
        pipeline: &pipeline,
        memory_bytes: args.memory.memory,
        printer: &printer,
    };
    let documents = reading.checked(&work.path().join("ingest"))?;

    let kit = Kit {
        rewriter: Rewriter::new(pipeline.negatives.rewriting(), Some(&names))?,
        translations: translations(&documents, &pipeline, &cx)?,
        params: &pipeline.variants,
        variations: pipeline.variants.variations()?,
        seed: pipeline.seed,
    };
    printer.begin("variants", Some(documents.rows()), "documents");
    let (mut n_documents, mut n_variants, mut n_rejected) = (0, 0, 0);
    for_each(
        &documents,
        |id, text, language| {
            imported.meet(id);
            family(id, text, language, args.count, imported.of(id), &kit)
        },
        |id, text, family| {
            n_documents += 1;
            n_variants += family.variants.len();
            n_rejected += family.rejected.len();
            printer.advance(1);
            if json { Ok(()) } else { print::stdout(&told(id, text, &family, args.format)) }
        },
    )?;
    printer.end(&format!(
        "{n_documents} documents, {n_variants} variants, {n_rejected} turned away by the gate"
    ));
    let orphans = imported.orphans();
    if let Some(first) = orphans.first() {
        printer.note(&format!(
            "{} variants of `--import` belong to no document that was read, the first to `{}`: ids \
             begin with the name of the file, `--set 'source.<name>.path=...'` and `kpipe build` \
             give them another",
            orphans.len(),
            first.id.as_deref().unwrap_or_default()
        ));
    }
    if json {
        let told =
            json!({"documents": n_documents, "variants": n_variants, "rejected": n_rejected});
        return printer.result("", &told);
    }
    Ok(())
}

/// Hands what is made of every document to a sink, in order.
fn for_each(
    documents: &Dataset,
    make: impl Fn(&str, &str, Option<&str>) -> Result<Family> + Sync,
    mut sink: impl FnMut(&str, &str, Family) -> Result<()>,
) -> Result<()> {
    for part in &documents.parts {
        let columns = Some(&["id", "text", "language"][..]);
        for batch in Batches::open(&part.path, Some(documents.contract), columns)? {
            let batch = batch?;
            let (ids, texts) = (strings(&batch, "id")?, strings(&batch, "text")?);
            let languages = strings(&batch, "language")?;
            let of = |row: usize| {
                let language = languages.is_valid(row).then(|| languages.value(row));
                make(ids.value(row), texts.value(row), language)
            };
            let all: Vec<Result<Family>> = (0..batch.num_rows()).into_par_iter().map(of).collect();
            for (row, family) in all.into_iter().enumerate() {
                sink(ids.value(row), texts.value(row), family?)?;
            }
        }
    }
    Ok(())
}

/// The sentences of the documents there and back, where a kind of variants asks for them.
fn translations(documents: &Dataset, pipeline: &Pipeline, cx: &Context) -> Result<Translations> {
    if !pipeline.variants.kinds.iter().any(|kind| kind == back_translate::NAME) {
        return Ok(Translations::default());
    }
    let params = &pipeline.negatives.back_translation;
    let mut translations = back_translation::open(params, documents, cx)?;
    let mut asked = Vec::new();
    for part in &documents.parts {
        let columns = Some(&["text", "language"][..]);
        for batch in Batches::open(&part.path, Some(documents.contract), columns)? {
            let batch = batch?;
            let (texts, languages) = (strings(&batch, "text")?, strings(&batch, "language")?);
            for row in 0..batch.num_rows() {
                let language = languages.is_valid(row).then(|| languages.value(row));
                let said = back_translate::worth_asking(texts.value(row), language, &translations);
                asked.extend(said);
            }
            asked.truncate(params.max_sentences);
        }
    }
    translations.add(asked, cx)?;
    Ok(translations)
}

/// A document with its variants.
fn told(id: &str, text: &str, family: &Family, format: Format) -> String {
    if format == Format::Jsonl {
        let line = |one: &crate::variants::make::Variant| {
            format!("{}\n", json!({"parent": id, "text": one.text, "kind": one.kind}))
        };
        return family.variants.iter().map(line).collect();
    }
    let mut all = format!("{id}\n{text}\n");
    for (one, number) in family.variants.iter().zip(1..) {
        all += &format!("\n{id}~{number} {}\n{}\n", one.kind, one.text);
    }
    for one in &family.rejected {
        let (variant, difference) = (&one.variant, &one.difference);
        all += &format!(
            "\nturned away: {}, other {}: {}\n{}\n",
            variant.kind, difference.kind, difference.detail, variant.text
        );
    }
    all + "\n"
}
