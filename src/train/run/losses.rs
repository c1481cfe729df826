//! The loss of every training document under a finished model, for a later build's
//! `difficulty.losses`.
//!
//! What the model finds hard outweighs any proxy of difficulty. The loss is that of the model's
//! language term with draws that depend on seed and document only, in nats per labelled token,
//! without dropout; a document repeated in the curriculum is measured once.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::flow::disk::{beside, put_in_place};
use crate::train::data::shards::Shards;
use crate::train::data::windows::{Window, Windows};
use crate::train::run::evaluate::Measured;

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    loss: f64,
}

/// Writes a line `{"id": ..., "loss": ...}` for every document of the split, in training order,
/// beside and renamed; gives how many. A document of which no token is predicted, such as one of a
/// single word, has no line.
///
/// # Errors
/// If a shard cannot be read, the device fails or the file cannot be written.
pub fn write(shards: &Shards, measured: &Measured, place: &Path) -> Result<u64> {
    let mut windows = Windows::in_order(shards, measured.batcher)?;
    let beside = beside(place);
    let failed = |cause: std::io::Error| Error::file("write", &beside, cause);
    let mut file = BufWriter::new(File::create(&beside).map_err(failed)?);
    let (mut seen, mut n) = (HashSet::new(), 0);
    let mut document: Vec<Window> = Vec::new();

    while let Some(window) = windows.next_window()? {
        let (id, last) = (window.id.clone(), window.last);
        document.push(Window { passages: None, ..window });
        if !last {
            continue;
        }
        let taken = std::mem::take(&mut document);

        if !seen.insert(xxh3_64(id.as_bytes())) {
            continue;
        }
        let (mut total, mut labels) = (0.0, 0);

        for some in taken.chunks(measured.batcher.params.batch) {
            let (loss, n) =
                measured.loss(&measured.batcher.microbatch(0, some.chunks(1), "losses"))?;
            total += loss;
            labels += n;
        }

        if labels > 0 {
            let line = serde_json::to_string(&Line { id: &id, loss: total / labels as f64 })
                .map_err(|cause| Error::data(format!("a loss cannot be written: {cause}")))?;
            writeln!(file, "{line}").map_err(failed)?;
            n += 1;
        }
    }

    file.flush().map_err(failed)?;
    drop(file);
    put_in_place(place)?;
    Ok(n)
}
