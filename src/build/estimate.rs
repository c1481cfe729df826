//! What a build will cost, measured on a sample: the plan that `--dry-run` prints.
//!
//! The first documents of every source go through all rooms in a throw-away folder, without
//! translation. What they took, scaled by the bytes still to read, is the estimate; it cannot see
//! how much a larger corpus repeats itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use arrow::array::Array;
use arrow::datatypes::UInt64Type;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::build::plan::{
    Job, Pipeline, ROOMS, memory_needed, room_that_writes, too_little_memory,
};
use crate::build::run::run;
use crate::error::{Error, Result};
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::{Batches, Dataset};
use crate::flow::progress::{Progress, Silent};
use crate::flow::room::Context;
use crate::flow::stop::Temporary;
use crate::ingest::{self, Ids, SourceSpec};
use crate::rewrite::back_translation;
use crate::text::languages::is_chinese;

/// Documents of each source in the sample.
pub const SAMPLE: u64 = 200;

/// The estimate for one source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceEstimate {
    /// Its name.
    pub source: String,
    /// Files that will be read.
    pub files: usize,
    /// Their size, as they are on disk.
    pub bytes: u64,
    /// Documents expected.
    pub documents: u64,
}

/// The checked plan with its cost.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// The rooms in order.
    pub rooms: Vec<&'static str>,
    /// By source.
    pub sources: Vec<SourceEstimate>,
    /// Where the output goes.
    pub out: PathBuf,
    /// Disk for output and work, in bytes.
    pub disk_bytes: u64,
    /// Memory, in bytes, beside a quarter of what `--memory` gives.
    pub memory_bytes: u64,
    /// Time without translation, in seconds, with the threads of this run.
    pub seconds: f64,
    /// Time for back-translation, in seconds; `None` where no engine is installed.
    pub translation_seconds: Option<f64>,
    /// What will be used and what is missing.
    pub notes: Vec<String>,
}

/// Keeps the notes of the sample run, but for the last room's: a sample of one source has no order
/// to speak of.
#[derive(Default)]
struct Notes {
    kept: Mutex<Vec<String>>,
    deaf: AtomicBool,
}

impl Progress for Notes {
    fn begin(&self, stage: &str, _: Option<u64>, _: &'static str) {
        self.deaf.store(stage == "curriculum", Ordering::Relaxed);
    }
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn note(&self, text: &str) {
        if !self.deaf.load(Ordering::Relaxed) {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_string());
        }
    }
    fn end(&self, _: &str) {
        self.deaf.store(false, Ordering::Relaxed);
    }
}

/// Runs the sample and scales it.
///
/// # Errors
/// Whatever the sample run itself meets.
pub fn estimate(job: &Job) -> Result<Estimate> {
    let files = ingest::source_files::source_files(&job.sources)?;
    let folder = Temporary::new(&std::env::temp_dir(), ".kpipe-sample-")?;
    let mut sources = Vec::new();
    let (mut seconds, mut disk_bytes) = (0.0, 0.0);
    let notes = Notes::default();

    for source in &job.sources {
        let limit = job.limit.unwrap_or(u64::MAX);
        let mut pipeline = job.pipeline.clone();
        pipeline.negatives.back_translation.max_sentences = 0;
        let sample = Job {
            pipeline,
            sources: vec![source.clone()],
            out: folder.path().join(&source.name),
            limit: Some(SAMPLE.min(limit)),
            // What is too little is said of the whole input.
            memory_bytes: u64::MAX,
        };

        let begun = Instant::now();
        let done = run(&sample, &notes);
        let took = begun.elapsed().as_secs_f64();
        let bytes: u64 =
            files.iter().filter(|file| file.source == source.name).map(|file| file.bytes).sum();
        // A sample that ended in an error, such as one with no document left, still says how much
        // was read.
        if let Err(error) = done {
            notes.note(&format!("the sample of `{}` stopped: {}", source.name, error.what()));
        }
        let (kept, share) = share_read(&sample, bytes)?;
        let scale = 1.0 / share;
        let documents = ((kept as f64 * scale).round() as u64).min(limit);
        let factor = if kept > 0 { documents as f64 / kept as f64 } else { 1.0 };
        seconds += took * factor;
        disk_bytes += (folder_bytes(&sample.out)? + spilled_bytes(&sample)?) as f64 * factor;
        notes.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(shared_ids(
            source,
            job,
            folder.path(),
        )?);
        let n_files = files.iter().filter(|file| file.source == source.name).count();

        sources.push(SourceEstimate {
            source: source.name.clone(),
            files: n_files,
            bytes,
            documents,
        });
    }

    let mut notes = notes.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    let documents = sources.iter().map(|source| source.documents).sum();
    notes.extend(too_little_memory(documents, job.memory_bytes));

    if job.pipeline.negatives.per_document > 0
        && job.sources.iter().any(|source| is_chinese(source.language.as_deref()))
    {
        notes.push(
            "Chinese passages are rewritten by the embedded thesaurus (synonyms, opposites, \
             negations) and by names of \
             the lexicon; back-translation knows no Chinese"
                .to_string(),
        );
    }

    let (translation_seconds, note) = translation(&job.pipeline, documents);
    notes.push(note);
    notes.dedup();
    Ok(Estimate {
        rooms: ROOMS.iter().map(|room| room.name).collect(),
        sources,
        out: job.out.clone(),
        disk_bytes: disk_bytes as u64,
        memory_bytes: memory_needed(documents),
        seconds,
        translation_seconds,
        notes,
    })
}

/// Files of a source whose ids are compared, and documents of each.
const COMPARED: (usize, u64) = (4, 50);

/// Whether the ids of a source begin anew in its files: what the sample, which seldom reaches the
/// second file, cannot show. `None` where records say their version, or no id stands for two texts.
fn shared_ids(source: &SourceSpec, job: &Job, scratch: &Path) -> Result<Option<String>> {
    let mut files = crate::files::expand::expand(&source.path)?;
    files.retain(|file| crate::files::expand::why_passed_over(file).is_none());

    if source.has_versions(ingest::format(&source.format)?)
        || source.ids == Ids::File
        || files.len() < 2
    {
        return Ok(None);
    }

    let (n_files, n_documents) = COMPARED;
    let mut texts: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut n_read = 0_u64;

    for nth in 0..n_files.min(files.len()) {
        let file = &files[nth * (files.len() - 1) / (n_files.min(files.len()) - 1)];
        let folder = scratch.join(format!("{}-ids-{nth}", source.name));
        let one = SourceSpec {
            path: file.to_string_lossy().into_owned(),
            ids: Ids::Auto,
            ..source.clone()
        };
        std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
        let cx = Context {
            room: "ingest",
            folder: &folder,
            seed: 0,
            memory_bytes: 1 << 30,
            progress: &Silent,
        };

        ingest::run(&[one], &job.pipeline.ingest, &cx, Some(n_documents))?;
        for part in Dataset::open(&folder, contract("document")?)?.parts {
            for batch in
                Batches::open(&part.path, Some(contract("document")?), Some(&["id", "text"]))?
            {
                let batch = batch?;
                for (id, text) in strings(&batch, "id")?.iter().zip(strings(&batch, "text")?) {
                    let (id, text) = (id.unwrap_or_default(), text.unwrap_or_default());
                    n_read += 1;
                    texts.entry(id.to_string()).or_default().insert(xxh3_64(text.as_bytes()));
                }
            }
        }
    }

    let n_shared: usize = texts.values().map(BTreeSet::len).filter(|n| *n > 1).sum();
    let then = match source.ids {
        Ids::Global => "`ids = \"global\"` makes that an error",
        _ => {
            "such records are named by their file too (`ids`), or map `fields.version` where one \
             replaces the other"
        }
    };

    Ok((n_shared > 0).then(|| {
        format!(
            "source `{}`: {n_shared} of {n_read} records of several files share an id with another \
             text; {then}",
            source.name
        )
    }))
}

/// Characters of a sentence of an abstract, to state the cost of translating it.
const SENTENCE_CHARS: f64 = 150.0;

/// What back-translation costs at most, and what will be used.
fn translation(pipeline: &Pipeline, documents: u64) -> (Option<f64>, String) {
    let negatives = &pipeline.negatives;
    let (of_passages, of_variants) = (negatives.per_document > 0, pipeline.variants.translates());
    if !of_passages && !of_variants {
        return (
            None,
            "negatives: none are made (`negatives.per_document` is 0), so nothing is translated"
                .to_string(),
        );
    }

    let params = &negatives.back_translation;
    let wanted = params.max_sentences > 0 && !matches!(params.engine.as_str(), "table" | "none");
    let probe = back_translation::available(params);

    match probe {
        _ if !wanted => {
            (None, format!("back-translation: engine `{}`, nothing is translated", params.engine))
        }
        Some(probe) => {
            // A sentence of each document, and all sentences of those that variants are made of.
            let most = params.max_sentences;
            let sentences = usize::from(of_passages) * most.min(documents as usize)
                + usize::from(of_variants) * most;
            let cores = rayon::current_num_threads();
            let seconds =
                back_translation::cost(probe.engine, params, sentences, SENTENCE_CHARS, cores);
            let version = probe.version.unwrap_or_default();
            (
                Some(seconds),
                format!(
                    "back-translation: {} {version}, at most {sentences} sentences",
                    probe.engine
                ),
            )
        }

        None if let Some(warning) = back_translation::warning(params) => (None, warning),
        None => {
            let how: Vec<&str> =
                back_translation::probes(params).iter().map(|probe| probe.how_to_install).collect();
            (
                None,
                format!(
                    "back-translation: no engine is installed; install one with `{}`",
                    how.join("` or `")
                ),
            )
        }
    }
}

/// What the last room lays down unpacked while it puts the rows into their order.
fn spilled_bytes(sample: &Job) -> Result<u64> {
    let folder =
        sample.out.join(crate::build::run::WORK).join(room_that_writes("example")?.folder());
    if !folder.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    for part in Dataset::open(&folder, contract("example")?)?.parts {
        for batch in Batches::open(&part.path, Some(contract("example")?), None)? {
            for column in batch?.columns() {
                bytes += column.to_data().get_slice_memory_size()? as u64;
            }
        }
    }
    Ok(bytes)
}

/// Documents of the sample, and the share of the source's bytes that were read for them.
fn share_read(sample: &Job, bytes: u64) -> Result<(u64, f64)> {
    let folder =
        sample.out.join(crate::build::run::WORK).join(room_that_writes("document")?.folder());
    let documents = Dataset::open(&folder, contract("document")?)?;
    let source = &sample.sources[0];
    let books = ingest::source_books(&folder)?.remove(&source.name).unwrap_or_default();

    if !books.notes.contains_key("limit_reached") || bytes == 0 {
        return Ok((documents.rows(), 1.0));
    }
    let mut last: Option<(String, u64)> = None;

    for part in &documents.parts {
        for batch in Batches::open(&part.path, Some(documents.contract), Some(&["file", "offset"]))?
        {
            let batch = batch?;
            let (files, offsets) =
                (strings(&batch, "file")?, numbers::<UInt64Type>(&batch, "offset")?);
            for (file, offset) in files.iter().flatten().zip(offsets.values()) {
                last = last.max(Some((file.to_string(), *offset)));
            }
        }
    }

    let Some((file, offset)) = last else { return Ok((0, 1.0)) };
    let mut read = crate::files::decompress::packed_before(file.as_ref(), offset)
        .map_err(|cause| Error::file("read", file.as_ref(), cause))?;

    for path in crate::files::expand::expand(&source.path)?
        .iter()
        .take_while(|path| *path.to_string_lossy() < *file.as_str())
    {
        // A dead link has none.
        read += std::fs::metadata(path).map_or(0, |facts| facts.len());
    }

    Ok((documents.rows(), (read.max(1) as f64 / bytes as f64).min(1.0)))
}

fn folder_bytes(folder: &std::path::Path) -> Result<u64> {
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::file("list", folder, cause))?;
    let mut bytes = 0;

    for entry in entries.flatten() {
        let path = entry.path();
        bytes += if path.is_dir() {
            folder_bytes(&path)?
        } else {
            entry.metadata().map_or(0, |meta| meta.len())
        };
    }

    Ok(bytes)
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14} {:>7} {:>14} {:>12}", "source", "files", "bytes", "documents")?;
        for source in &self.sources {
            writeln!(
                f,
                "{:<14} {:>7} {:>14} {:>12}",
                source.source, source.files, source.bytes, source.documents
            )?;
        }

        writeln!(f, "\nrooms      {}", self.rooms.join(" → "))?;
        writeln!(f, "output     {}", self.out.display())?;
        writeln!(f, "disk       about {:.1} MB, output and work", self.disk_bytes as f64 / 1e6)?;
        writeln!(
            f,
            "memory     about {:.0} MB, and what sorting takes",
            self.memory_bytes as f64 / 1e6
        )?;
        writeln!(f, "time       about {:.0} s without translation", self.seconds)?;

        if let Some(seconds) = self.translation_seconds {
            writeln!(f, "           about {seconds:.0} s for translation, at most")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
