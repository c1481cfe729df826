//! `kpipe mentions`: where documents mention the concepts of a lexicon.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use clap::Args;
use rayon::prelude::*;
use serde_json::json;

use super::documents::{LexiconArgs, Reading, sources};
use super::environment::{give_memory_back_late, start_again_with};
use super::print::Printer;
use super::{MemoryArgs, RunArgs, SettingsArgs, print};
use crate::density;
use crate::error::{Error, Result};
use crate::flow::contract::{contract, strings};
use crate::flow::dataset::{Batches, Dataset, PartWriter};
use crate::flow::disk::{beside, put_in_place};
use crate::flow::owned::check_apart;
use crate::flow::progress::Progress;
use crate::flow::registry;
use crate::flow::room::Context;
use crate::flow::stop::{self, Temporary};
use crate::knowledge::annotate::{self, Annotated, FORMATS};
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;

/// Arguments of `kpipe mentions`.
#[derive(Args)]
pub(super) struct MentionsArgs {
    /// Files and folders of documents in any format kpipe reads
    #[arg(required = true)]
    input: Vec<PathBuf>,
    #[command(flatten)]
    lexicons: LexiconArgs,
    /// `text` (the names with ids behind them, in colours on a terminal), `jsonl`, `pubtator`,
    /// `brat` (a folder), `parquet`
    #[arg(long, value_name = "NAME", default_value = TEXT)]
    format: String,
    /// File to write, for `brat` a folder [default: standard output]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// The format that has colours on a terminal, and those that need a place on disk.
const TEXT: &str = "text";
const BRAT: &str = "brat";
const PARQUET: &str = "parquet";

pub(super) fn run(args: &MentionsArgs) -> Result<()> {
    start_again_with([give_memory_back_late()])?;
    let mut pipeline = args.settings.pipeline()?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let sources = sources(&args.input, &pipeline)?;
    let mut sink = Sink::open(args)?;
    args.lexicons.name(&mut pipeline);

    let json = args.run.json;
    stop::listen(false, move |signal| {
        print::stop(signal, "what was begun is left out; the same command begins anew", json)
    })?;
    let work = Temporary::new(&std::env::temp_dir(), ".kpipe-mentions-")?;
    let cx = Context {
        room: "mentions",
        folder: work.path(),
        seed: pipeline.seed,
        memory_bytes: args.memory.memory,
        progress: &printer,
    };
    // A wrong one is told before much is read.
    let lexicon = density::read_lexicon(&pipeline.density, &cx)?;
    let finder = Finder::new(&lexicon, &pipeline.density.names())?;
    let reading = Reading {
        sources: &sources,
        pipeline: &pipeline,
        memory_bytes: args.memory.memory,
        printer: &printer,
    };
    let documents = reading.checked(&work.path().join("ingest"))?;

    let told = annotate_all(&documents, &lexicon, &finder, &mut sink, &printer)?;
    sink.finish()?;
    printer.end(&format!(
        "{} documents, {} mentions of {} concepts",
        told.documents,
        told.mentions,
        told.concepts.len()
    ));
    match &args.out {
        Some(out) => printer.result(
            &format!("{} mentions: {}\n", told.mentions, out.display()),
            &json!({"documents": told.documents, "mentions": told.mentions,
                "concepts": told.concepts.len(), "out": out}),
        ),
        None => Ok(()),
    }
}

/// What was found.
#[derive(Default)]
struct Told {
    documents: u64,
    mentions: u64,
    concepts: BTreeSet<u32>,
}

fn annotate_all(
    documents: &Dataset,
    lexicon: &Lexicon,
    finder: &Finder,
    sink: &mut Sink,
    printer: &Printer,
) -> Result<Told> {
    let mut told = Told::default();
    printer.begin("mentions", Some(documents.rows()), "documents");
    for part in &documents.parts {
        let columns = Some(&["id", "text"][..]);
        for batch in Batches::open(&part.path, Some(documents.contract), columns)? {
            let batch = batch?;
            let (ids, texts) = (strings(&batch, "id")?, strings(&batch, "text")?);
            let of = |row: usize| {
                let text = texts.value(row);
                let mentions = finder.find(text);
                Annotated { id: ids.value(row), text, mentions, lexicon }
            };
            let all: Vec<Annotated> = (0..batch.num_rows()).into_par_iter().map(of).collect();
            for mention in all.iter().flat_map(|one| &one.mentions) {
                told.mentions += 1;
                told.concepts.insert(mention.concept);
            }
            told.documents += all.len() as u64;
            sink.write(&all)?;
            printer.advance(all.len() as u64);
        }
    }
    Ok(told)
}

/// Where mentions go.
enum Sink {
    Output(fn(&Annotated) -> String),
    File { write: fn(&Annotated) -> String, file: BufWriter<File>, place: PathBuf },
    Brat { folder: PathBuf, taken: BTreeSet<String> },
    Parquet(Box<PartWriter>),
}

impl Sink {
    /// Checks what is asked for and opens it.
    fn open(args: &MentionsArgs) -> Result<Self> {
        let known: Vec<&str> =
            FORMATS.iter().map(|format| format.name).chain([BRAT, PARQUET]).collect();
        let format = FORMATS.iter().find(|format| format.name == args.format);
        if format.is_none() && !known.contains(&args.format.as_str()) {
            return Err(registry::unknown("format", &args.format, &known));
        }
        let Some(out) = &args.out else {
            if args.run.json {
                return Err(Error::usage(
                    "`--json` tells the result on standard output, where \
                     the mentions would stand",
                )
                .hint("give `--out` a file for the mentions"));
            }
            return match format {
                Some(format) if format.name == TEXT && print::has_colours() => {
                    Ok(Sink::Output(annotate::coloured))
                }
                Some(format) => Ok(Sink::Output(format.write)),
                None => Err(Error::usage(format!("`{}` needs a place", args.format))
                    .hint("give `--out` a file, or a folder for `brat`")),
            };
        };

        for input in args.input.iter().chain(&args.lexicons.lexicon) {
            check_apart(out, "what is read", &input.to_string_lossy())?;
        }
        let is_empty =
            out.is_dir() && std::fs::read_dir(out).is_ok_and(|mut all| all.next().is_none());
        if out.exists() && !(args.format == BRAT && is_empty) {
            return Err(Error::usage(format!("`{}` is there already", out.display()))
                .hint("delete it, or give another `--out`"));
        }
        match (format, args.format.as_str()) {
            (Some(format), _) => {
                let begun = beside(out);
                let file = File::create(&begun);
                let file = file.map_err(|cause| Error::file("create", &begun, cause))?;
                let (write, file) = (format.write, BufWriter::new(file));
                Ok(Sink::File { write, file, place: out.clone() })
            }
            (None, BRAT) => {
                std::fs::create_dir_all(out).map_err(|cause| Error::file("create", out, cause))?;
                Ok(Sink::Brat { folder: out.clone(), taken: BTreeSet::new() })
            }
            (None, _) => {
                Ok(Sink::Parquet(Box::new(PartWriter::create(out, contract("annotation")?)?)))
            }
        }
    }

    fn write(&mut self, all: &[Annotated]) -> Result<()> {
        match self {
            Sink::Output(write) => {
                let texts: Vec<String> = all.par_iter().map(*write).collect();
                texts.iter().try_for_each(|text| print::stdout(text))
            }
            Sink::File { write, file, place } => {
                let texts: Vec<String> = all.par_iter().map(*write).collect();
                let written = texts.iter().try_for_each(|text| file.write_all(text.as_bytes()));
                written.map_err(|cause| Error::file("write", place, cause))
            }
            Sink::Brat { folder, taken } => {
                all.iter().try_for_each(|one| write_brat(folder, taken, one))
            }
            Sink::Parquet(writer) => {
                let batch: RecordBatch = annotate::batch(all)?;
                writer.write(&batch)
            }
        }
    }

    /// Puts what was written in its place.
    fn finish(self) -> Result<()> {
        match self {
            Sink::File { mut file, place, .. } => {
                file.flush().map_err(|cause| Error::file("write", &place, cause))?;
                put_in_place(&place)
            }
            Sink::Parquet(writer) => writer.finish().map(|_| ()),
            Sink::Output(_) | Sink::Brat { .. } => Ok(()),
        }
    }
}

/// A document and its annotations: two files of one name, made of its id.
fn write_brat(folder: &Path, taken: &mut BTreeSet<String>, one: &Annotated) -> Result<()> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.');
    let stem: String =
        one.id.chars().map(|c| if is_plain(c) { c } else { '_' }).take(100).collect();
    let numbered = (1..).map(|n| if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
    let name = numbered.into_iter().find(|name| taken.insert(name.clone())).unwrap_or(stem.clone());
    for (end, text) in [("txt", one.text.to_string()), ("ann", annotate::brat(one))] {
        let place = folder.join(format!("{name}.{end}"));
        std::fs::write(&place, text).map_err(|cause| Error::file("write", &place, cause))?;
    }
    Ok(())
}
