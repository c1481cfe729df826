//! Documents that a command is given on its line: files and folders in any format that kpipe reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::print::Printer;
use crate::build::plan::Pipeline;
use crate::build::run::check_refused;
use crate::error::{Error, Result};
use crate::flow::books::Books;
use crate::flow::contract::contract;
use crate::flow::dataset::Dataset;
use crate::flow::progress::Progress;
use crate::flow::room::Context;
use crate::ingest::{self, SourceSpec};
use crate::knowledge::lexicon::LexiconSpec;

/// A source for each file or folder, named by its stem; what is set of that name holds, where it is
/// not of a source with a path of its own.
pub(super) fn sources(inputs: &[PathBuf], pipeline: &Pipeline) -> Result<Vec<SourceSpec>> {
    let mut sources: Vec<SourceSpec> = Vec::new();
    for path in inputs {
        let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or("input");
        let stem =
            stem.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("input").to_string();
        let numbered = (1..).map(|n| if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
        let is_new = |name: &String| sources.iter().all(|source| source.name != *name);
        let name = numbered.into_iter().find(is_new).unwrap_or(stem.clone());
        let known = pipeline.source.get(&name).filter(|known| known.path.is_empty());
        if let Some(known) = known.filter(|known| !known.format.is_empty() && path.exists()) {
            let path = path.to_string_lossy().into_owned();
            sources.push(SourceSpec { path, ..known.clone() });
            continue;
        }
        let found = SourceSpec::of_path(&name, path).map_err(|error| {
            if path.exists() {
                error
            } else {
                error.hint("give a file or folder, or run `kpipe build` first")
            }
        })?;
        sources.push(match known {
            Some(known) => SourceSpec { path: found.path, format: found.format, ..known.clone() },
            None => found,
        });
    }
    Ok(sources)
}

/// The lexicons that a command line names.
#[derive(Args)]
pub(super) struct LexiconArgs {
    /// Lexicon in any format of `kpipe list lexicons`; may be given more than once [default:
    /// `density.lexicon`]
    #[arg(long, value_name = "FILE")]
    pub(super) lexicon: Vec<PathBuf>,
}

impl LexiconArgs {
    /// They take the place of the pipeline's.
    pub(super) fn name(&self, pipeline: &mut Pipeline) {
        if !self.lexicon.is_empty() {
            let spec = |path: &PathBuf| LexiconSpec::of_path(path.to_string_lossy());
            pipeline.density.lexicon = self.lexicon.iter().map(spec).collect();
        }
    }
}

/// How documents are read.
pub(super) struct Reading<'a> {
    /// What is read.
    pub(super) sources: &'a [SourceSpec],
    /// By which settings.
    pub(super) pipeline: &'a Pipeline,
    /// Memory to stay within, in bytes.
    pub(super) memory_bytes: u64,
    /// Where to tell how far it is.
    pub(super) printer: &'a Printer,
}

/// What was read.
pub(super) struct Read {
    /// The documents.
    pub(super) documents: Dataset,
    /// What became of the records, by source.
    pub(super) books: BTreeMap<String, Books>,
}

impl Reading<'_> {
    /// Reads the documents into a working folder.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn documents(&self, folder: &Path) -> Result<Read> {
        std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
        let total = ingest::source_files::total_bytes(self.sources)?;
        self.printer.begin("ingest", Some(total), "bytes");
        let cx = Context {
            room: "ingest",
            folder,
            seed: self.pipeline.seed,
            memory_bytes: self.memory_bytes,
            progress: self.printer,
        };
        ingest::run(self.sources, &self.pipeline.ingest, &cx, None)?;

        let documents = Dataset::open(folder, contract("document")?)?;
        let books = ingest::source_books(folder)?;
        let (mut refused, mut reasons) = (0, Vec::new());
        for (source, books) in &books {
            refused += books.n_refused();
            let of = |(reason, n): (&String, &u64)| format!("{source}: {n} {reason}");
            reasons.extend(books.refused.iter().map(of));
        }
        self.printer.end(&format!("{} documents, {refused} refused", documents.rows()));
        if refused > 0 {
            self.printer.note(&format!("refused: {}", reasons.join(", ")));
        }
        Ok(Read { documents, books })
    }

    /// The same, where a document was read and not too many records were refused.
    ///
    /// # Errors
    /// If a file cannot be read, or it is not so.
    pub(super) fn checked(&self, folder: &Path) -> Result<Dataset> {
        let found = self.documents(folder)?;
        found.check(self.pipeline.max_refused, None)?;
        Ok(found.documents)
    }
}

impl Read {
    /// Checks that there is a document, and that not too many records were refused; these may lie
    /// in `out`.
    ///
    /// # Errors
    /// If it is not so.
    pub(super) fn check(&self, max_refused: f64, out: Option<&Path>) -> Result<()> {
        check_refused(&self.books, max_refused, out)?;
        if self.documents.rows() == 0 {
            return Err(Error::data("no document was read")
                .hint("the notes above say what was refused and why"));
        }
        Ok(())
    }
}
