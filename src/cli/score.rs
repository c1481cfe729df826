//! `kpipe score`: the knowledge density of documents, and why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::documents::{LexiconArgs, Reading, sources};
use super::environment::{give_memory_back_late, start_again_with};
use super::print::Printer;
use super::{MemoryArgs, RunArgs, SettingsArgs, print};
use crate::build::plan::{Pipeline, room_that_writes};
use crate::build::publish::Manifest;
use crate::build::run::WORK;
use crate::density::{self, explain, table};
use crate::error::{Error, Result};
use crate::flow::contract::contract;
use crate::flow::dataset::Dataset;
use crate::flow::disk::{Lock, files_named, lock, rename};
use crate::flow::owned::{Kind, Owned, check_apart};
use crate::flow::progress::Progress;
use crate::flow::room::Context;
use crate::flow::stop::{self, Temporary};
use crate::knowledge::lexicon::Lexicon;

/// Arguments of `kpipe score`.
#[derive(Args)]
pub(super) struct ScoreArgs {
    /// A folder that `kpipe build` wrote, or files and folders of documents in any format kpipe
    /// reads
    #[arg(default_value = "out")]
    input: Vec<PathBuf>,
    #[command(flatten)]
    lexicons: LexiconArgs,
    /// Folder for the scores as Parquet [default: `scores`; a build has them already]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Documents and concepts in each list
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// List every term of one document: tf, df, idf and contribution
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &ScoreArgs) -> Result<()> {
    start_again_with([give_memory_back_late()])?;
    let mut pipeline = args.settings.pipeline()?;
    args.run.start_threads()?;
    let printer = args.run.printer();
    let is_build = matches!(args.input.as_slice(), [folder] if Owned::is(folder, Kind::Build));
    let sources = if is_build { Vec::new() } else { sources(&args.input, &pipeline)? };
    let wants_file = !is_build && args.explain.is_none();
    let out = args.out.clone().or_else(|| wants_file.then(|| PathBuf::from("scores")));

    if let Some(out) = &out {
        for input in &args.input {
            check_apart(out, "what is scored", &input.to_string_lossy())?;
        }
        let given = args.lexicons.lexicon.iter().map(|path| path.to_string_lossy().into_owned());
        for path in given.chain(pipeline.density.lexicon.iter().map(|spec| spec.path.clone())) {
            check_apart(out, "the lexicon", &path)?;
        }
    }

    let json = args.run.json;
    stop::listen(false, move |signal| {
        print::stop(signal, "no scores were written; the same command begins anew", json)
    })?;
    let work = Work::new(out.as_deref())?;

    if is_build {
        pipeline =
            args.settings.pipeline_over(&density_of_build(&args.input[0])?, "manifest.json")?;
    }

    args.lexicons.name(&mut pipeline);

    let folder = work.folder.join("density");
    create(&folder)?;
    let cx = context("density", &folder, &pipeline, args.memory.memory, &printer);
    // A wrong one is told before much is read.
    let lexicon = density::read_lexicon(&pipeline.density, &cx)?;
    let documents = match is_build {
        true => built(&args.input[0])?,
        false => {
            let read = Reading {
                sources: &sources,
                pipeline: &pipeline,
                memory_bytes: args.memory.memory,
                printer: &printer,
            };
            let found = read.documents(&work.folder.join("ingest"))?;
            if let Some(out) = &out {
                keep(&work.folder.join("ingest"), "refused-", out)?;
            }
            found.check(pipeline.max_refused, out.as_deref())?;
            found.documents
        }
    };
    // To find mentions, and to write scores or to look for the id.
    printer.begin("score", Some(2 * documents.rows()), "rows");
    if let Some(id) = &args.explain {
        return explain(id, &documents, &lexicon, &pipeline, &cx, &printer);
    }
    let summary = explain::score(&documents, &lexicon, &pipeline.density, args.top, &cx)?;
    printer.end(&format!("{} documents scored", summary.documents));
    let mut text = table::summary(&summary);

    if let Some(out) = &out {
        keep(&folder, "scores-", out)?;
        text += &format!("\nscores: {}\n", out.join("scores-*.parquet").display());
    }

    printer.result(&text, &json!(summary))
}

fn explain(
    id: &str,
    documents: &Dataset,
    lexicon: &Lexicon,
    pipeline: &Pipeline,
    cx: &Context,
    printer: &Printer,
) -> Result<()> {
    let explanation = explain::explain(documents, lexicon, &pipeline.density, id, cx)?;
    printer.end(&format!("{} documents scored", documents.rows()));
    match explanation {
        Some(explanation) => printer.result(&table::explanation(&explanation), &json!(explanation)),
        None => Err(Error::usage(format!("there is no document `{id}`")).hint(
            "ids look like `pubmed:12` or `<file stem>:<id>`; the lists of `kpipe score` name some",
        )),
    }
}

/// The lexicon and the parameters a build was scored with, as a pipeline file; what the command
/// line gives comes on top.
fn density_of_build(folder: &Path) -> Result<String> {
    let manifest: Manifest = crate::flow::dataset::read_json(&folder.join("manifest.json"))?
        .ok_or_else(|| Error::data(format!("`{}` has no manifest.json", folder.display())))?;
    let section = std::collections::BTreeMap::from([("density", manifest.pipeline.density)]);
    toml::to_string(&section).map_err(|cause| {
        Error::data(format!("the parameters of the build cannot be read: {cause}"))
    })
}

/// The documents of a finished build.
fn built(folder: &Path) -> Result<Dataset> {
    let room = folder.join(WORK).join(room_that_writes("unique")?.folder());
    Dataset::open(&room, contract("unique")?).map_err(|error| {
        error.hint("the working files of the build are gone; run the same build again")
    })
}

/// A working folder: below `--out` so that it is on the same disk, thrown away at the end.
struct Work {
    folder: PathBuf,
    _guard: Temporary,
    _lock: Lock,
}

/// What the name of a working folder begins with.
const WORK_PREFIX: &str = ".kpipe-score-";

impl Work {
    fn new(out: Option<&Path>) -> Result<Self> {
        let place = match out {
            Some(out) => {
                Owned::claim(out, Kind::Scores)?;
                sweep(out)?;
                out.to_path_buf()
            }
            None => std::env::temp_dir(),
        };

        let guard = Temporary::new(&place, WORK_PREFIX)?;
        let lock = lock(guard.path())?;
        Ok(Work { folder: guard.path().to_path_buf(), _guard: guard, _lock: lock })
    }
}

/// Removes the working folders of runs that were killed; a run that still works holds its lock.
fn sweep(out: &Path) -> Result<()> {
    for folder in files_named(out, WORK_PREFIX, "")? {
        if lock(&folder).is_ok() {
            std::fs::remove_dir_all(&folder)
                .map_err(|cause| Error::file("remove", &folder, cause))?;
        }
    }
    Ok(())
}

fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|cause| {
        Error::file("create", folder, cause).hint("give `--out` a folder that you may write to")
    })
}

fn context<'a>(
    room: &'static str,
    folder: &'a Path,
    pipeline: &Pipeline,
    memory_bytes: u64,
    progress: &'a dyn Progress,
) -> Context<'a> {
    Context { room, folder, seed: pipeline.seed, memory_bytes, progress }
}

/// Moves what was written to where it is wanted, in the place of what an earlier run left there.
fn keep(folder: &Path, begins: &str, out: &Path) -> Result<()> {
    let written =
        if folder.exists() { files_named(folder, begins, ".parquet")? } else { Vec::new() };
    let named: Vec<(PathBuf, String)> = written
        .into_iter()
        .filter_map(|path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .map(|name| (path, name))
        })
        .collect();

    let mut owned = Owned::claim(out, Kind::Scores)?;
    // What the same command wrote of the other kind stays.
    let others = owned.files().filter(|name| !name.starts_with(begins)).map(str::to_string);
    let names: BTreeSet<String> =
        others.chain(named.iter().map(|(_, name)| name.clone())).collect();
    owned.intend(&names)?;

    for (path, name) in &named {
        rename(path, &out.join(name))?;
    }
    owned.settle(&names, &BTreeSet::new())
}
