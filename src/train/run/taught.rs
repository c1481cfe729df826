//! What a teacher showed, kept on disk: a run that is repeated with another student, or other
//! weights of its terms, does not compute it again.
//!
//! Kept are the teacher's last states where something is predicted, from which its logits follow
//! to the bit at a hundredth of their size. A file is named by what it depends on: the teacher's
//! weights, the rows and the places, so that nothing is ever taken for something else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::train::data::rows::RowSet;
use crate::train::model::parameters::{read_tensors, write_tensors};
use crate::train::model::{Seen, Weights};

/// The name of the states in a file.
const STATES: &str = "states";

/// See the module.
pub(crate) struct Kept {
    folder: PathBuf,
    /// Hash of the teacher's weights.
    teacher: u128,
}

impl Kept {
    /// What the teacher of these weights showed, below `folder`.
    ///
    /// # Errors
    /// If the folder cannot be made or the device fails.
    pub(crate) fn open(folder: &Path, weights: &Weights) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
        let mut hash = Xxh3::new();
        for (name, tensor) in weights.iter() {
            hash.update(name.as_bytes());
            let numbers = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            numbers.iter().for_each(|number| hash.update(&number.to_bits().to_le_bytes()));
        }
        Ok(Kept { folder: folder.to_path_buf(), teacher: hash.digest128() })
    }

    /// What the teacher shows of rows where something is predicted; `compute` is asked where it is
    /// not kept yet. Elsewhere its states are 0.
    ///
    /// # Errors
    /// If a file is damaged or cannot be written; or from `compute`.
    pub(crate) fn seen(
        &self,
        rows: &RowSet,
        compute: impl FnOnce() -> Result<Seen>,
    ) -> Result<Seen> {
        let place = self.place(rows);
        if !place.exists() {
            let seen = compute()?;
            let states = rows.predicted(&seen.last)?.contiguous()?;
            let shape: Vec<u32> = seen.last.dims().iter().map(|dim| *dim as u32).collect();
            let shape = Tensor::from_vec(shape, 3, states.device())?;
            let kept = [(STATES.to_string(), states), ("shape".to_string(), shape)];
            write_tensors(&place, &BTreeMap::from(kept))?;
            return Ok(seen);
        }

        let damaged = |what: &str| {
            Error::data(format!("`{}` holds no {what}", place.display()))
                .hint("delete it; it is made again")
        };
        let mut kept = read_tensors(&place, &candle_core::Device::Cpu)
            .map_err(|error| error.hint("delete it; it is made again"))?;
        let states = kept.remove(STATES).ok_or_else(|| damaged(STATES))?;
        let shape = kept.remove("shape").ok_or_else(|| damaged("shape"))?;
        let shape: Vec<usize> = shape
            .to_dtype(DType::U32)?
            .to_vec1::<u32>()?
            .into_iter()
            .map(|dim| dim as usize)
            .collect();
        let [n, length, width] = shape[..] else {
            return Err(damaged("shape of three dimensions"));
        };
        let places = rows.labels.iter().map(|label| (label.row * length + label.place) as u32);
        let places = Tensor::from_iter(places, states.device())?;
        let last = Tensor::zeros((n * length, width), states.dtype(), states.device())?;
        Ok(Seen::last(last.index_add(&places, &states, 0)?.reshape((n, length, width))?))
    }

    fn place(&self, rows: &RowSet) -> PathBuf {
        let mut hash = Xxh3::new();
        hash.update(&self.teacher.to_le_bytes());
        let decoded = rows.decoder.iter().flat_map(|rows| rows.ids.iter().zip(&rows.texts));
        for (ids, texts) in rows.rows.ids.iter().zip(&rows.rows.texts).chain(decoded) {
            ids.iter().for_each(|id| hash.update(&id.to_le_bytes()));
            texts.iter().for_each(|n| hash.update(&(*n as u64).to_le_bytes()));
            hash.update(b"/");
        }
        for label in &rows.labels {
            hash.update(&(label.row as u64).to_le_bytes());
            hash.update(&(label.place as u64).to_le_bytes());
        }
        self.folder.join(format!("{:032x}.safetensors", hash.digest128()))
    }
}
