//! The loss of every training document under a finished model, for a later build's
//! `difficulty.losses`.
//!
//! What the model finds hard outweighs any proxy of difficulty. The loss is that of the model's
//! language term with draws that depend on seed and document only, in nats per labelled token,
//! without dropout; a document repeated in the curriculum is measured once. Where a teacher is
//! there, how far it is above the teacher's stands beside it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, StringArray, UInt32Array};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::flow::contract::contract;
use crate::flow::dataset::{BATCH_ROWS, PartWriter};
use crate::train::data::shards::Shards;
use crate::train::data::windows::{Cut, Window, Windows};
use crate::train::run::evaluate::Measured;

/// The columns of the file.
#[derive(Default)]
struct Rows {
    ids: Vec<String>,
    losses: Vec<f32>,
    excess: Vec<Option<f32>>,
    n_labels: Vec<u32>,
}

impl Rows {
    fn write(&mut self, writer: &mut PartWriter) -> Result<()> {
        let Rows { ids, losses, excess, n_labels } = std::mem::take(self);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(ids)),
            Arc::new(Float32Array::from(losses)),
            Arc::new(Float32Array::from(excess)),
            Arc::new(UInt32Array::from(n_labels)),
        ];
        writer.write(&contract("loss")?.batch(columns)?)
    }
}

/// Writes a row under the contract `loss` for every document of the split, in training order,
/// beside and renamed; gives how many. A document of which no token is predicted, such as one of a
/// single word, has none.
///
/// # Errors
/// If a shard cannot be read, the device fails or the file cannot be written.
pub fn write(
    shards: &Shards,
    measured: &Measured,
    teacher: Option<&Measured>,
    place: &Path,
) -> Result<u64> {
    let mut windows = Windows::in_order(shards, measured.batcher, Cut::Measured)?;
    let mut writer = PartWriter::create(place, contract("loss")?)?;
    let (mut seen, mut rows) = (HashSet::new(), Rows::default());
    let mut document: Vec<Window> = Vec::new();

    while let Some(window) = windows.next_window()? {
        let (id, last) = (window.id.clone(), window.last);
        document.push(window);
        if !last {
            continue;
        }
        let taken = std::mem::take(&mut document);
        if !seen.insert(xxh3_64(id.as_bytes())) {
            continue;
        }

        let (mut total, mut of_teacher, mut labels) = (0.0, 0.0, 0);
        for some in taken.chunks(measured.batcher.params.batch) {
            let batch = measured.batcher.microbatch(0, some.chunks(1), "losses");
            let (loss, n) = measured.loss(&batch)?;
            of_teacher +=
                teacher.map_or(Ok(0.0), |teacher| teacher.loss(&batch).map(|one| one.0))?;
            total += loss;
            labels += n;
        }

        if labels > 0 {
            rows.ids.push(id);
            rows.losses.push((total / labels as f64) as f32);
            let excess = ((total - of_teacher) / labels as f64) as f32;
            rows.excess.push(teacher.map(|_| excess));
            rows.n_labels.push(labels as u32);
        }
        if rows.ids.len() == BATCH_ROWS {
            rows.write(&mut writer)?;
        }
    }

    rows.write(&mut writer)?;
    Ok(writer.finish()?.rows)
}
