//! Losses of an earlier training run, by document id: `losses.parquet`, or JSON lines made
//! elsewhere.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use arrow::datatypes::Float32Type;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::Batches;

#[derive(Deserialize)]
struct Line {
    id: String,
    loss: f32,
}

/// Loss per document; ids are kept as 64-bit hashes, 12 bytes a document.
pub struct Losses(HashMap<u64, f32>);

impl Losses {
    /// Reads the rows of a `.parquet` under the contract `loss`, or JSON lines
    /// `{"id": "pubmed:12", "loss": 2.5}`; the last of an id counts.
    ///
    /// # Errors
    /// Names file and line of what cannot be read, and of a loss that is not finite.
    pub fn read(path: &Path) -> Result<Self> {
        match path.extension().is_some_and(|ending| ending == "parquet") {
            true => Self::read_rows(path).map_err(|error| error.at("`difficulty.losses`")),
            false => Self::read_lines(path),
        }
    }

    fn read_rows(path: &Path) -> Result<Self> {
        let mut losses = HashMap::new();
        for batch in Batches::open(path, Some(contract("loss")?), Some(&["id", "loss"]))? {
            let batch = batch?;
            let (ids, found) = (strings(&batch, "id")?, numbers::<Float32Type>(&batch, "loss")?);
            for (id, loss) in ids.iter().flatten().zip(found.values()) {
                check(id, *loss).map_err(|error| error.at(path.display()))?;
                losses.insert(xxh3_64(id.as_bytes()), *loss);
            }
        }
        Ok(Losses(losses))
    }

    fn read_lines(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path)
            .map_err(|cause| Error::file("open", path, cause).at("`difficulty.losses`"))?;
        let mut losses = HashMap::new();

        for (idx, line) in BufReader::new(file).lines().enumerate() {
            let place = || format!("{}:{}", path.display(), idx + 1);
            let line = line.map_err(|cause| Error::file("read", path, cause))?;
            let line: Line = serde_json::from_str(&line).map_err(|cause| {
                Error::data(format!("a line is not `{{\"id\": ..., \"loss\": ...}}`: {cause}"))
                    .at(place())
                    .hint("`kpipe train --losses` writes losses.parquet, which can be read too")
            })?;
            check(&line.id, line.loss).map_err(|error| error.at(place()))?;
            losses.insert(xxh3_64(line.id.as_bytes()), line.loss);
        }

        Ok(Losses(losses))
    }

    /// The loss of a document, where the run saw it.
    pub fn get(&self, id: &str) -> Option<f32> {
        self.0.get(&xxh3_64(id.as_bytes())).copied()
    }
}

fn check(id: &str, loss: f32) -> Result<()> {
    match loss.is_finite() {
        true => Ok(()),
        false => Err(Error::data(format!("the loss of `{id}` is {loss}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_and_bad_lines_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("losses.jsonl");
        std::fs::write(&path, "{\"id\":\"a:1\",\"loss\":2.5}\n").unwrap();
        let losses = Losses::read(&path).unwrap();
        assert_eq!((losses.get("a:1"), losses.get("a:2")), (Some(2.5), None));
        std::fs::write(&path, "{\"id\":\"a:1\",\"loss\":2.5}\nnonsense\n").unwrap();
        assert!(Losses::read(&path).err().unwrap().to_string().contains("losses.jsonl:2"));
    }
}
