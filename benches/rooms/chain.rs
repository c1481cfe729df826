//! The whole chain of `kpipe build` on English text, room by room, with negatives off and on, and
//! with all that knows of knowledge: variants, facts, passages, reading tasks and questions beside
//! the map and the negatives; without translation. Each room is told with its share of the total.
//!
//! Beside every room stand two floors. One is that of a room that looks at words: the text read
//! once from the parts that `ingest` wrote, its words split at spaces and hashed, on all threads;
//! it writes nothing. The other is a room that does nothing at all: what this room's rows are made
//! of, read with all columns and written again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use kpipe::build::plan::ROOMS;
use kpipe::flow::contract::contract;
use kpipe::flow::dataset::{Batches, Dataset, PartWriter};
use rayon::prelude::*;

use crate::Result;
use crate::inputs::{Inputs, documents, n_bytes};
use crate::measure::{Took, line, rate, took};
use crate::memory::{LEAST_BYTES_TRY, build, write_corpus};

/// Least text, in bytes.
const LEAST_BYTES: u64 = 300_000_000;

/// A way to build.
struct Way {
    label: &'static str,
    settings: &'static [&'static str],
    /// What is asked of the whole chain on two cores, in MB of text a second.
    goal: f64,
}

const WAYS: [Way; 3] = [
    Way { label: "negatives off", settings: &["negatives.per_document=0"], goal: 12.0 },
    Way { label: "negatives on", settings: &[], goal: 8.0 },
    Way {
        label: "all of it on",
        settings: &[
            "variants.exposures=2",
            "facts.share=0.05",
            "facts.passages=0.02",
            "tasks.share=0.3",
            "tasks.questions=0.1",
        ],
        goal: 4.0,
    },
];

/// Prints the rate of every room and of the chain.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let texts = inputs.texts()?;
    let least = if inputs.lexicons.len() > 1 { LEAST_BYTES } else { LEAST_BYTES_TRY };
    let copies = least.div_ceil(n_bytes(&texts).max(1));
    let folder = tempfile::tempdir()?;
    let bytes = write_corpus(&texts, copies, folder.path())?;
    say!("{:.0} MB of text in {} documents", bytes as f64 / 1e6, copies as usize * texts.len());

    for Way { label, settings, goal } in WAYS {
        let mut rooms: Vec<(String, f64)> = Vec::new();
        for round in 0..inputs.rounds {
            for (nth, of) in build(inputs, folder.path(), settings)?.iter().enumerate() {
                match round {
                    0 => rooms.push((of.room.clone(), of.seconds)),
                    _ => rooms[nth].1 = rooms[nth].1.min(of.seconds),
                }
            }
        }

        let read = documents(&folder.path().join("out").join(".kpipe").join("1-ingest"))?;
        let floor = (0..inputs.rounds).try_fold(Took::FOREVER, |best, _| {
            took(|| words(&read)).map(|(_, took)| best.best(took))
        })?;
        say!("{label}; floor: {} for the words read and hashed once", rate(bytes, floor.wall));

        let all: f64 = rooms.iter().map(|(_, seconds)| seconds).sum();
        for (nth, (room, seconds)) in rooms.iter().enumerate() {
            // The last room leaves shards; its floor is what comes in.
            let copied = nth.min(rooms.len() - 2);
            let from = folder.path().join("out/.kpipe").join(name(copied));
            let copying = (0..inputs.rounds).try_fold(Took::FOREVER, |best, _| {
                took(|| copy(&from, ROOMS[copied].writes)).map(|(_, took)| best.best(took))
            })?;

            let beside = format!(
                "{seconds:.2} s, {:.0} %, {:.1} x the floor's time, {:.1} x that of copying",
                100.0 * seconds / all,
                seconds / floor.wall,
                seconds / copying.wall
            );
            line(&format!("  {room}"), &rate(bytes, *seconds), &beside);
        }

        line(
            &format!("  chain, {label}"),
            &rate(bytes, all),
            &format!("{all:.1} s; goal {goal} MB/s on two cores"),
        );
    }

    Ok(())
}

/// The working folder of a room.
fn name(nth: usize) -> String {
    format!("{}-{}", nth + 1, ROOMS[nth].name)
}

/// Reads a room's rows with all columns, on all threads, and writes them into one file each.
fn copy(folder: &Path, of: &str) -> Result<()> {
    let read = Dataset::open(folder, contract(of)?)?;
    let written = tempfile::tempdir()?;

    for (nth, part) in read.parts.iter().enumerate() {
        let batches = Batches::open(&part.path, Some(read.contract), None)?;
        let place = written.path().join(format!("part-{nth:05}.parquet"));
        let mut writer = PartWriter::create(&place, read.contract)?;
        let all: Vec<usize> = (0..batches.rows().len()).collect();
        writer.write_in_order(&all, |idx| batches.read(*idx))?;
        writer.finish()?;
    }

    Ok(())
}

/// Reads all texts and hashes their words; the sum keeps the compiler from leaving it out.
fn words(read: &Dataset) -> Result<u64> {
    let hash = |word: &str| {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        hasher.finish()
    };
    let mut sum = 0_u64;

    for part in &read.parts {
        let batches =
            kpipe::flow::dataset::Batches::open(&part.path, Some(read.contract), Some(&["text"]))?;
        let of_batch = |idx: usize| -> Result<u64> {
            let batch = batches.read(idx)?;
            let texts = kpipe::flow::contract::strings(&batch, "text")?;
            let words = texts.iter().flatten().flat_map(|text| text.split(' '));
            Ok(words.fold(0, |sum: u64, word| sum.wrapping_add(hash(word))))
        };

        let sums: Vec<Result<u64>> =
            (0..batches.rows().len()).into_par_iter().map(of_batch).collect();
        for of in sums {
            sum = sum.wrapping_add(of?);
        }
    }

    Ok(sum)
}
