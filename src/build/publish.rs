//! Puts a finished run together in the output folder: shards, manifest, card, ledgers, scores,
//! report.
//!
//! Everything here is linked or written again from the rooms' folders, so it holds no clock and no
//! thread count: the same run gives the same bytes. The manifest is written last, and then
//! `kpipe.json`, which names every file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::build::plan::{Job, Pipeline, Published, ROOMS};
use crate::build::report;
use crate::build::run::{Done, Run};
use crate::curriculum::Curriculum;
use crate::curriculum::card::{About, card};
use crate::error::{Error, Result};
use crate::flow::books::Books;
use crate::flow::contract::contracts;
use crate::flow::dataset::{read_json, write_atomically, write_json};
use crate::flow::disk::{files_named, hash_file, link, sync_folder};
use crate::flow::owned::{Kind, Owned};
use crate::flow::progress::Progress;
use crate::ingest::SourceSpec;
use crate::ingest::source_files::SourceFile;

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

/// Folders below the output folder.
const FOLDERS: [&str; 5] = ["data", "refused", "duplicates", "scores", "difficulty"];
/// The dataset card, which people complete by hand.
const CARD: &str = "README.md";
const REPORT: &str = "report.html";
const MANIFEST: &str = "manifest.json";
/// What the documents cover of the lexicon, where there is one.
const MAP: &str = "knowledge/map.json";

/// Writes the output folder. What was added to it stays; what was edited is told, and the card
/// stays as it was edited.
///
/// # Errors
/// If a file cannot be read, linked or written, a shard is not what was written, or a file of
/// somebody else stands in the place of one of ours.
pub fn publish(job: &Job, run: &Run, progress: &dyn Progress) -> Result<Manifest> {
    let ordered = run.writes("shard")?;
    let curriculum: Curriculum = read_json(&ordered.join("curriculum.json"))?
        .ok_or_else(|| Error::data("the room `curriculum` left no curriculum.json"))?;
    check_shards(&curriculum, ordered)?;
    let links = links(run)?;
    let names: BTreeSet<String> =
        links.keys().cloned().chain([CARD, REPORT, MANIFEST].map(str::to_string)).collect();
    let mut owned = Owned::claim(&job.out, Kind::Build)?;
    let edited = owned.edited()?;
    owned.intend(&names)?;
    tell(&edited, progress);

    // Those that every build has, and those of rooms that had something to publish.
    let of_links = links.keys().filter_map(|name| name.split_once('/'));
    let folders: BTreeSet<&str> =
        FOLDERS.into_iter().chain(of_links.map(|(folder, _)| folder)).collect();
    for folder in folders.iter().map(|folder| job.out.join(folder)) {
        fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
    }
    // A file system without hard links gets copies.
    links.iter().try_for_each(|(name, from)| link(from, &job.out.join(name)))?;
    let engines = read_json(&run.writes("example")?.join("engines.json"))?.unwrap_or(Value::Null);
    let manifest = Manifest {
        kpipe: env!("CARGO_PKG_VERSION").to_string(),
        seed: job.pipeline.seed,
        limit: job.limit,
        sources: job.sources.clone(),
        files: run.files.clone(),
        parameter_files: parameter_files(&job.pipeline)?,
        source_books: run.sources.clone(),
        pipeline: job.pipeline.clone(),
        contracts: contracts()?
            .map(|contract| (contract.name.clone(), contract.hash.clone()))
            .collect(),
        rooms: run.rooms.clone(),
        curriculum,

        engines,
    };

    // A build before this one may have left a map that is not of it.
    let map = match names.contains(MAP) {
        true => read_json(&job.out.join(MAP))?,
        false => None,
    };
    let facts = report::facts::gather(&job.out, &manifest, map)?;
    if !edited.contains(CARD) {
        write_atomically(
            &job.out.join(CARD),
            card(&manifest.curriculum, &about(job, &facts)?).as_bytes(),
        )?;
    }

    write_atomically(&job.out.join(REPORT), report::html::page(&manifest, &facts)?.as_bytes())?;
    folders.iter().try_for_each(|folder| sync_folder(&job.out.join(folder)))?;
    write_json(&job.out.join(MANIFEST), &manifest)?;
    owned.settle(&names, &edited.into_iter().filter(|name| name == CARD).collect())?;
    let added = owned.added(&folders.into_iter().chain(["."]).collect::<Vec<&str>>())?;

    if !added.is_empty() {
        progress.note(&format!(
            "kpipe did not write these files, and leaves them: {}",
            added.join(", ")
        ));
    }

    Ok(manifest)
}

/// Tells what was changed since it was written.
fn tell(edited: &BTreeSet<String>, progress: &dyn Progress) {
    for name in edited {
        progress.note(&match name.as_str() {
            CARD => format!("`{CARD}` was edited and stays; delete it to have it written anew"),
            _ => format!("`{name}` was changed since kpipe wrote it, and is written anew"),
        });
    }
}

/// The files of the rooms that are published, by the names they get.
fn links(run: &Run) -> Result<BTreeMap<String, PathBuf>> {
    let mut links = BTreeMap::new();
    let mut add = |from: &Path, begins: &str, name: &dyn Fn(&str) -> String| -> Result<()> {
        let is_hidden = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        };
        for path in files_named(from, begins, "")?.into_iter().filter(|path| !is_hidden(path)) {
            let own = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            links.insert(name(own), path);
        }
        Ok(())
    };

    for (stem, folder) in [("refused-", "refused"), ("duplicates-", "duplicates")] {
        for (done, from) in run.rooms.iter().zip(&run.folders) {
            add(from, stem, &|name| format!("{folder}/{}-{}", done.room, &name[stem.len()..]))?;
        }
    }

    for (room, from) in ROOMS.iter().zip(&run.folders) {
        for Published { below, begins, into } in room.publishes {
            add(&from.join(below), begins, &|name| format!("{into}/{name}"))?;
        }
    }
    Ok(links)
}

/// Shards in the output folder are links to the room's: whoever edits one in place edits both.
fn check_shards(curriculum: &Curriculum, folder: &Path) -> Result<()> {
    for shard in curriculum.train.iter().chain(&curriculum.validation) {
        let place = folder.join(&shard.file);
        if hash_file(&place)? != shard.xxh3_128 {
            return Err(Error::data(format!(
                "shard `{}` was changed after it was written",
                place.display()
            ))
            .hint(format!("delete `{}` and run the same command again", folder.display())));
        }
    }
    Ok(())
}

fn about(job: &Job, facts: &report::facts::Facts) -> Result<About> {
    let unstated = || "not stated".to_string();
    let sources = job.sources.iter().map(|source| {
        let documents = facts.documents.get(&source.name).copied().unwrap_or(0);
        (
            source.name.clone(),
            source.role.clone(),
            source.licence.clone().unwrap_or_else(unstated),
            documents,
        )
    });

    let shard = crate::flow::contract::contract("shard")?;
    let columns =
        shard.fields.iter().map(|f| (f.name.clone(), f.data_type.to_string(), f.meaning.clone()));
    Ok(About {
        sources: sources.collect(),
        languages: facts.languages.clone(),
        columns: columns.collect(),
    })
}

/// The table a finished build prints.
pub fn summary(job: &Job, manifest: &Manifest) -> String {
    // Most builds make no rows, and need no column of them.
    let has_made = manifest.rooms.iter().any(|done| done.books.n_made() > 0);
    let made = |made: String| if has_made { format!(" {made:>10}") } else { String::new() };
    let mut text = format!(
        "{:<12} {:>10}{} {:>10} {:>10} {:>10}\n",
        "room",
        "read",
        made("made".to_string()),
        "kept",
        "refused",
        "duplicates"
    );
    for done in &manifest.rooms {
        let books = &done.books;
        text += &format!(
            "{:<12} {:>10}{} {:>10} {:>10} {:>10}\n",
            done.room,
            books.read,
            made(books.n_made().to_string()),
            books.kept,
            books.n_refused(),
            books.n_duplicates()
        );
    }

    let curriculum = &manifest.curriculum;
    for (split, shards) in [("train", &curriculum.train), ("validation", &curriculum.validation)] {
        let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
        let bytes: u64 = shards.iter().map(|shard| shard.file_bytes).sum();
        text += &format!(
            "\n{split:<12} {rows} rows in {} shards, {:.1} MB",
            shards.len(),
            bytes as f64 / 1e6
        );
    }

    let out = job.out.display();
    text += &format!("\n\n{out}/report.html shows it; `kpipe train --shards {out}` trains on it\n");
    text
}
