//! Puts a finished run together in the output folder: shards, manifest, card, ledgers, scores, report.
//!
//! Everything here is linked or written again from the rooms' folders, so it holds no clock and no thread count:
//! the same run gives the same bytes. The manifest is written last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::curriculum::Curriculum;
use crate::curriculum::card::{About, card};
use crate::error::{Error, Result};
use crate::flow::books::Books;
use crate::flow::contract::contracts;
use crate::flow::dataset::{read_json, write_atomically, write_json};
use crate::flow::disk::{files_named, hash_file, link};
use crate::flow::plan::{Job, Pipeline, ROOMS};
use crate::flow::run::{Done, Run};
use crate::ingest::SourceSpec;
use crate::ingest::files::SourceFile;
use crate::report;

/// What `manifest.json` says: enough to repeat the run and to check what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of kpipe.
    pub kpipe: String,
    /// Seed of every draw.
    pub seed: u64,
    /// Most documents of each source, where limited.
    pub limit: Option<u64>,
    /// The sources that were read, in order.
    pub sources: Vec<SourceSpec>,
    /// The files that were read, with their hashes.
    pub files: Vec<SourceFile>,
    /// Lexicons, tables and other files that parameters name, with their hashes.
    pub parameter_files: Vec<ParameterFile>,
    /// Books of reading, by source.
    pub source_books: BTreeMap<String, Books>,
    /// Every parameter.
    pub pipeline: Pipeline,
    /// Hash of every contract.
    pub contracts: BTreeMap<String, String>,
    /// Books and fingerprint of every room.
    pub rooms: Vec<Done>,
    /// Shards with their `seq` ranges, and the pacing.
    pub curriculum: Curriculum,
    /// What was available and used to write negatives.
    pub engines: Value,
}

/// A file or folder that a parameter names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParameterFile {
    /// The room that reads it.
    pub room: String,
    /// Its path as given.
    pub path: String,
    /// xxh3-128 of its bytes; of a folder, of its files in name order.
    pub hash: String,
}

fn parameter_files(pipeline: &Pipeline) -> Result<Vec<ParameterFile>> {
    let mut files = Vec::new();
    for room in ROOMS {
        for path in (room.files)(pipeline)? {
            let (room, hash) = (room.name.to_string(), hash_file(&path)?);
            files.push(ParameterFile { room, path: path.display().to_string(), hash });
        }
    }
    Ok(files)
}

/// Writes the output folder.
///
/// # Errors
/// If a file cannot be read, linked or written, or a shard is not what was written.
pub fn publish(job: &Job, run: &Run) -> Result<Manifest> {
    let ordered = run.folder("curriculum")?;
    let curriculum: Curriculum = read_json(&ordered.join("curriculum.json"))?
        .ok_or_else(|| Error::data("the room `curriculum` left no curriculum.json"))?;
    check_shards(&curriculum, ordered)?;
    link_all(&ordered.join("data"), "", &job.out.join("data"), |name| name.to_string())?;
    for (stem, folder) in [("refused-", "refused"), ("duplicates-", "duplicates")] {
        let place = job.out.join(folder);
        let mut kept = BTreeSet::new();
        for (done, from) in run.rooms.iter().zip(&run.folders) {
            let rename = |name: &str| format!("{}-{}", done.room, &name[stem.len()..]);
            kept.extend(link_new(from, stem, &place, rename)?);
        }
        remove_others(&place, &kept)?;
    }
    link_all(run.folder("density")?, "scores-", &job.out.join("scores"), str::to_string)?;
    let difficulty = job.out.join("difficulty");
    link_all(run.folder("difficulty")?, "edges", &difficulty, str::to_string)?;
    link_new(run.folder("difficulty")?, "words", &difficulty, str::to_string)?;
    let engines = read_json(&run.folder("negatives")?.join("engines.json"))?.unwrap_or(Value::Null);
    let manifest = Manifest {
        kpipe: env!("CARGO_PKG_VERSION").to_string(),
        seed: job.pipeline.seed,
        limit: job.limit,
        sources: job.sources.clone(),
        files: run.files.clone(),
        parameter_files: parameter_files(&job.pipeline)?,
        source_books: run.sources.clone(),
        pipeline: job.pipeline.clone(),
        contracts: contracts()?.map(|contract| (contract.name.clone(), contract.hash.clone())).collect(),
        rooms: run.rooms.clone(),
        curriculum,
        engines,
    };
    let facts = report::facts::gather(&job.out, &manifest)?;
    write_atomically(&job.out.join("README.md"), card(&manifest.curriculum, &about(job, &facts)?).as_bytes())?;
    write_atomically(&job.out.join("report.html"), report::html::page(&manifest, &facts)?.as_bytes())?;
    write_json(&job.out.join("manifest.json"), &manifest)?;
    Ok(manifest)
}

/// Shards in the output folder are links to the room's: whoever edits one in place edits both.
fn check_shards(curriculum: &Curriculum, folder: &Path) -> Result<()> {
    for shard in curriculum.train.iter().chain(&curriculum.validation) {
        let place = folder.join(&shard.file);
        if hash_file(&place)? != shard.xxh3_128 {
            return Err(Error::data(format!("shard `{}` was changed after it was written", place.display()))
                .hint(format!("delete `{}` and run the same command again", folder.display())));
        }
    }
    Ok(())
}

/// Links every file of `from` whose name begins with `begins` into `to`, and removes all others there.
fn link_all(from: &Path, begins: &str, to: &Path, rename: impl Fn(&str) -> String) -> Result<()> {
    let kept = link_new(from, begins, to, rename)?;
    remove_others(to, &kept)
}

/// Links files under new names and returns those names. A file system without hard links gets copies.
fn link_new(from: &Path, begins: &str, to: &Path, rename: impl Fn(&str) -> String) -> Result<BTreeSet<String>> {
    fs::create_dir_all(to).map_err(|cause| Error::file("create", to, cause))?;
    let mut kept = BTreeSet::new();
    for path in files_named(from, begins, "")? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = rename(name);
        link(&path, &to.join(&name))?;
        kept.insert(name);
    }
    Ok(kept)
}

/// Removes files of an earlier build that this one does not have.
fn remove_others(folder: &Path, kept: &BTreeSet<String>) -> Result<()> {
    for path in files_named(folder, "", "")? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_file() && name.ends_with(".parquet") && !kept.contains(name) {
            fs::remove_file(&path).map_err(|cause| Error::file("delete", &path, cause))?;
        }
    }
    Ok(())
}

fn about(job: &Job, facts: &report::facts::Facts) -> Result<About> {
    let unstated = || "not stated".to_string();
    let sources = job.sources.iter().map(|source| {
        let documents = facts.documents.get(&source.name).copied().unwrap_or(0);
        (source.name.clone(), source.role.clone(), source.licence.clone().unwrap_or_else(unstated), documents)
    });
    let shard = crate::flow::contract::contract("shard")?;
    let columns = shard.fields.iter().map(|f| (f.name.clone(), f.data_type.to_string(), f.meaning.clone()));
    Ok(About { sources: sources.collect(), languages: facts.languages.clone(), columns: columns.collect() })
}

/// The table a finished build prints.
pub fn summary(job: &Job, manifest: &Manifest) -> String {
    let mut text = format!("{:<12} {:>10} {:>10} {:>10} {:>10}\n", "room", "read", "kept", "refused", "duplicates");
    for done in &manifest.rooms {
        let books = &done.books;
        text += &format!(
            "{:<12} {:>10} {:>10} {:>10} {:>10}\n",
            done.room,
            books.read,
            books.kept,
            books.n_refused(),
            books.n_duplicates()
        );
    }
    let curriculum = &manifest.curriculum;
    for (split, shards) in [("train", &curriculum.train), ("validation", &curriculum.validation)] {
        let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
        let bytes: u64 = shards.iter().map(|shard| shard.file_bytes).sum();
        text += &format!("\n{split:<12} {rows} rows in {} shards, {:.1} MB", shards.len(), bytes as f64 / 1e6);
    }
    let out = job.out.display();
    text += &format!("\n\n{out}/report.html shows it; `kpipe train --shards {out}` trains on it\n");
    text
}
