//! Runs the rooms in order: skips what is right, goes on where a run was killed, balances the
//! books.
//!
//! A room's folder is `<out>/.kpipe/<n>-<room>`. `room.json` in it, written last, says that the
//! room is whole and with which fingerprint; `fingerprint` says for what its parts are being
//! written. A folder with another fingerprint is emptied first.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use crate::build::plan::{Job, ROOMS, Room, room_that_writes, too_little_memory};
use crate::error::{At, Error, Result};
use crate::flow::books::{Books, Class, reason};
use crate::flow::contract::{contract, strings};
use crate::flow::dataset::{Batches, Dataset, read_json, write_atomically, write_json};
pub use crate::flow::disk::WORK;
use crate::flow::disk::{Lock, damaged, files_named, hash_file, lock, remove_folder, sync_folder};
use crate::flow::owned::{Kind, Owned};
use crate::flow::progress::Progress;
use crate::flow::room::Context;
use crate::ingest;
use crate::ingest::fields::REMEDY;

/// A room that is whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Its name.
    pub room: String,
    /// Hash of everything its output depends on.
    pub fingerprint: String,
    /// Its books.
    pub books: Books,
}

/// What `room.json` says: the room, and the files it leaves with their sizes.
#[derive(Serialize, Deserialize)]
struct Whole {
    #[serde(flatten)]
    done: Done,
    files: BTreeMap<String, u64>,
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// The rooms in order.
    pub rooms: Vec<Done>,
    /// Their folders.
    pub folders: Vec<PathBuf>,
    /// The files that were read.
    pub files: Vec<ingest::source_files::SourceFile>,
    /// Books of reading, by source.
    pub sources: BTreeMap<String, Books>,
    /// Held until the output is published.
    _lock: Lock,
}

impl Run {
    /// The folder of the room that writes a contract.
    ///
    /// # Errors
    /// If no room does.
    pub fn writes(&self, contract: &str) -> Result<&Path> {
        let wanted = room_that_writes(contract)?;
        let idx = self.rooms.iter().position(|room| room.room == wanted.name);
        idx.map(|idx| self.folders[idx].as_path())
            .ok_or_else(|| Error::data(format!("room `{}` did not run", wanted.name)))
    }
}

/// Runs every room that is not whole yet.
///
/// # Errors
/// The first error of a room, or books that do not balance.
pub fn run(job: &Job, progress: &dyn Progress) -> Result<Run> {
    let work = job.out.join(WORK);
    Owned::claim(&job.out, Kind::Build)?;
    let lock = lock(&work)?;
    let files = ingest::source_files::source_files(&job.sources)?;
    let mut fingerprint = String::new();
    let mut input = Dataset { contract: contract("document")?, parts: Vec::new() };
    let mut run = Run {
        rooms: Vec::new(),
        folders: Vec::new(),
        files,
        sources: BTreeMap::new(),
        _lock: lock,
    };

    for (idx, room) in ROOMS.iter().enumerate() {
        let folder = work.join(room.folder());
        fingerprint = fingerprint_of(room, job, &run.files, &fingerprint)?;
        mend(room, &folder, progress)?;
        let done = match finished(&folder, &fingerprint, progress)? {
            Some(done) => {
                progress.begin(room.name, None, "rows");
                progress.end(&format!("{} (done before)", summary(&done.books)));
                done
            }
            None => run_room(room, job, &input, &run.files, &folder, &fingerprint, progress)
                .at_place(|| format!("room `{}`", room.name))?,
        };

        if idx > 0 && done.books.read != input.rows() {
            return Err(Error::data(format!(
                "the books do not balance: room `{}` read {} rows of {}",
                room.name,
                done.books.read,
                input.rows()
            )));
        }

        // Nobody reads the parts of the last room: it leaves shards.
        if idx + 1 < ROOMS.len() {
            input = Dataset::open(&folder, contract(room.writes)?)?;
            if input.rows() != done.books.kept {
                return Err(Error::data(format!(
                    "room `{}` kept {} rows, but {} are on disk",
                    room.name,
                    done.books.kept,
                    input.rows()
                ))
                .hint(format!("delete `{}` and run again", folder.display())));
            }
        }

        if room.reads.is_none() {
            run.sources = ingest::source_books(&folder)?;
            check_refused(&run.sources, job.pipeline.max_refused, Some(&folder))?;
            too_little_memory(input.rows(), job.memory_bytes)
                .iter()
                .for_each(|note| progress.note(note));
        }

        run.rooms.push(done);
        run.folders.push(folder);
    }

    Ok(run)
}

/// Stops a run whose input is more damaged than allowed; `folder` is where the refusals can be
/// looked at.
///
/// # Errors
/// If a source has a greater share of damaged records than `max_refused`.
pub fn check_refused(
    sources: &BTreeMap<String, Books>,
    max_refused: f64,
    folder: Option<&Path>,
) -> Result<()> {
    let nothing_left = sources.values().all(|books| books.kept == 0);
    for (source, books) in sources {
        let share = books.share_broken();
        let missing = books.refused.get("missing_field").copied().unwrap_or(0);
        // However much may be refused: of nothing there is no build.
        if nothing_left && 2 * missing > books.read {
            return Err(without_text(source, books, folder));
        }

        if share > max_refused {
            let broken = books
                .refused
                .iter()
                .filter(|(name, _)| reason(name).is_some_and(|r| r.class == Class::Broken));
            let reasons: Vec<String> = broken.map(|(name, n)| format!("{n} {name}")).collect();
            if 2 * missing > books.n_broken() {
                return Err(without_text(source, books, folder));
            }
            let error = Error::data(format!(
                "{:.1} % of the {} of source `{source}` are damaged, and `max_refused` allows \
                 {:.1} %: {}",
                100.0 * share,
                if books.n_broken() as f64 > max_refused * books.read as f64 {
                    "records"
                } else {
                    "bytes"
                },
                100.0 * max_refused,
                reasons.join(", ")
            ));

            let place = folder.map(|folder| folder.join("refused-*.parquet"));
            let error = place.iter().fold(error, |error, place| {
                error.hint(format!("`{}` says which file, where and why", place.display()))
            });
            return Err(error.hint(format!(
                "where that is fine, go on with `--set max_refused={:.3}`",
                (share * 1000.0).ceil() / 1000.0
            )));
        }
    }
    Ok(())
}

/// Records whose text stands in a column that nobody named: what a person has to type, as the first
/// of them tells it.
fn without_text(source: &str, books: &Books, folder: Option<&Path>) -> Error {
    let n = books.refused.get("missing_field").copied().unwrap_or(0);
    let left = if books.kept == 0 { ", and no document is left" } else { "" };
    let error = Error::data(format!(
        "{n} of {} records of source `{source}` have no column of text{left}",
        books.read
    ));

    match folder.and_then(|folder| first_refusal(folder, source, "missing_field").ok().flatten()) {
        Some(detail) => match detail.split_once(REMEDY) {
            Some((what, line)) => error.at(what).hint(format!("name the column: {line}")),
            None => error.at(detail),
        },
        None => error
            .hint(format!("name the column: `--set 'source.{source}.fields.text=\"<column>\"'`")),
    }
}

/// The detail of a source's first refusal for `reason`.
fn first_refusal(folder: &Path, source: &str, wanted: &str) -> Result<Option<String>> {
    for path in files_named(folder, "refused-", ".parquet")? {
        for batch in
            Batches::open(&path, Some(contract("refused")?), Some(&["source", "reason", "detail"]))?
        {
            let batch = batch?;
            let (sources, reasons) = (strings(&batch, "source")?, strings(&batch, "reason")?);
            let mut rows = sources.iter().zip(reasons).zip(strings(&batch, "detail")?);
            let found =
                rows.find(|((of, reason), _)| (*of, *reason) == (Some(source), Some(wanted)));
            if let Some((_, detail)) = found {
                return Ok(detail.map(str::to_string));
            }
        }
    }
    Ok(None)
}

/// Clears a room of which a file was emptied or shortened, as by a power cut: it is done again.
fn mend(room: &Room, folder: &Path, progress: &dyn Progress) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    if let Some(file) = damaged(folder)? {
        let told = format!(
            "`{}` is not as long as it was written: `{}` is done again",
            file.display(),
            room.name
        );
        progress.note(&told);
        return remove_folder(folder);
    }
    // What says how far the room is may be cut itself: it is small, and then nothing in the room
    // can be trusted.
    for name in ["room.json", "fingerprint"] {
        if fs::metadata(folder.join(name)).is_ok_and(|facts| facts.len() == 0) {
            progress.note(&format!("`{name}` of room `{}` is empty: it is done again", room.name));
            return remove_folder(folder);
        }
    }

    Ok(())
}

/// What a room says that is whole; one of which a file is missing or has another size is done
/// again.
fn finished(folder: &Path, fingerprint: &str, progress: &dyn Progress) -> Result<Option<Done>> {
    let whole: Option<Whole> = read_json(&folder.join("room.json"))?;
    let Some(whole) = whole.filter(|whole| whole.done.fingerprint == fingerprint) else {
        return Ok(None);
    };
    let is_there = |(name, size): &(&String, &u64)| {
        fs::metadata(folder.join(name)).is_ok_and(|facts| facts.len() == **size)
    };

    if let Some((name, _)) = whole.files.iter().find(|file| !is_there(file)) {
        let place = folder.join(name);
        progress.note(&format!(
            "`{}` is missing or cut: `{}` is done again",
            place.display(),
            whole.done.room
        ));
        remove_folder(folder)?;
        return Ok(None);
    }

    Ok(Some(whole.done))
}

/// Files below a folder by their names in it, with their sizes; locks and notes of sizes left out.
fn files_below(folder: &Path, inside: &str, files: &mut BTreeMap<String, u64>) -> Result<()> {
    for path in files_named(&folder.join(inside), "", "")? {
        let own = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = if inside.is_empty() { own.to_string() } else { format!("{inside}/{own}") };
        let facts = fs::metadata(&path).map_err(|cause| Error::file("read", &path, cause))?;
        if facts.is_dir() {
            files_below(folder, &name, files)?;
        } else if !own.starts_with('.') {
            files.insert(name, facts.len());
        }
    }
    Ok(())
}

fn run_room(
    room: &Room,
    job: &Job,
    input: &Dataset,
    files: &[ingest::source_files::SourceFile],
    folder: &Path,
    fingerprint: &str,
    progress: &dyn Progress,
) -> Result<Done> {
    let mark = folder.join("fingerprint");
    if fs::read_to_string(&mark).ok().as_deref() != Some(fingerprint) {
        remove_folder(folder)?;
        fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
        write_atomically(&mark, fingerprint.as_bytes())?;
    }

    match room.reads {
        Some(_) => progress.begin(room.name, Some(input.rows()), "rows"),
        None => progress.begin(
            room.name,
            Some(ingest::source_files::total_bytes(&job.sources)?),
            "bytes",
        ),
    }

    let cx = Context {
        room: room.name,
        folder,
        seed: job.pipeline.seed,
        memory_bytes: job.memory_bytes,
        progress,
    };

    (room.run)(job, input, &cx)?;
    if room.reads.is_none()
        && let Err(error) =
            files.iter().try_for_each(ingest::source_files::SourceFile::check_unchanged)
    {
        // What was read has no fingerprint: nobody knows what it is.
        remove_folder(folder)?;
        return Err(error);
    }

    let done = Done {
        room: room.name.to_string(),
        fingerprint: fingerprint.to_string(),
        books: books_of(folder)?,
    };
    done.books.balance()?;
    progress.end(&summary(&done.books));
    sync_folder(folder)?;
    let mut files = BTreeMap::new();
    files_below(folder, "", &mut files)?;
    let whole = Whole { done, files };
    write_json(&folder.join("room.json"), &whole)?;

    Ok(whole.done)
}

/// The books of all committed parts of a folder.
fn books_of(folder: &Path) -> Result<Books> {
    let mut books = Books::default();
    for path in files_named(folder, "books-", ".json")? {
        if let Some(part) = read_json::<Books>(&path)? {
            books.add(&part);
        }
    }
    Ok(books)
}

/// One line of books.
fn summary(books: &Books) -> String {
    let made = match books.n_made() {
        0 => String::new(),
        n => format!(", {n} made"),
    };
    let mut text = format!("{} read{made}, {} kept", books.read, books.kept);
    if books.n_refused() > 0 {
        text += &format!(", {} refused", books.n_refused());
    }
    if books.n_duplicates() > 0 {
        text += &format!(", {} duplicates", books.n_duplicates());
    }
    text
}

/// Hash of everything a room's output depends on: program, room, contracts, parameters, files, and
/// its input.
fn fingerprint_of(
    room: &Room,
    job: &Job,
    files: &[ingest::source_files::SourceFile],
    before: &str,
) -> Result<String> {
    let mut needs = json!({
        "kpipe": env!("CARGO_PKG_VERSION"),
        "room": room.name,
        "version": room.version,
        "seed": job.pipeline.seed,
        "writes": contract(room.writes)?.hash,
        "params": (room.params)(&job.pipeline)?,
        "input": before,
    });

    if room.reads.is_none() {
        needs["sources"] = json!(job.sources);
        needs["names"] = json!(job.sources.iter().map(|source| &source.name).collect::<Vec<_>>());
        needs["files"] = json!(files);
        needs["limit"] = json!(job.limit);
    }

    let mut beside = Vec::new();
    for path in (room.files)(&job.pipeline)? {
        beside.push(hash_file(&path)?);
    }
    needs["beside"] = json!(beside);
    Ok(format!("{:032x}", xxh3_128(needs.to_string().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_fit_together() {
        let mut flowing = None;
        for room in ROOMS {
            assert_eq!(room.reads, flowing, "{}", room.name);
            contract(room.writes).unwrap();
            flowing = Some(room.writes);
        }
    }
}
