//! Reads the shards strictly in `seq` order, one row group in memory at a time, and knows where it stands.
//!
//! A split is the files `<split>-NNNNN-of-NNNNN.parquet` in name order. Their rows must be numbered 0, 1, 2, … by
//! `seq` over all files; a row that is not stops the run with its file and place, because a curriculum read in another
//! order is another curriculum.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::flow::contract::{column, contract, numbers, strings};
use crate::flow::dataset::{Batches, read_json};
use crate::flow::disk::hash_file;

/// A document as the trainer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Position in the training order.
    pub seq: u64,
    /// Stable name.
    pub id: String,
    /// Plain text.
    pub text: String,
    /// Rewritten passages.
    pub rewrites: Vec<Rewrite>,
}

/// A passage of a document and one rewriting of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// The passage as it stands in the text.
    pub anchor: String,
    /// The rewriting.
    pub text: String,
    /// Whether it still means the same (`paraphrase`) or no longer does (`hard`).
    pub paraphrase: bool,
}

/// Where a stream stands: the next row it will give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// How often the split was read to its end.
    pub epoch: u64,
    /// Index of the shard.
    pub shard: usize,
    /// Row group in the shard.
    pub group: usize,
    /// Row in the row group.
    pub row: usize,
    /// `seq` that row must have.
    pub seq: u64,
}

/// The shards of a split.
pub struct Shards {
    paths: Vec<PathBuf>,
}

/// What a build's manifest says about its shards, by file name; nothing where there is no manifest.
fn hashes(data: &Path) -> Result<BTreeMap<String, String>> {
    let manifest: Option<Value> = match data.parent() {
        Some(folder) => read_json(&folder.join("manifest.json"))?,
        None => None,
    };
    let mut hashes = BTreeMap::new();
    for split in ["train", "validation"] {
        let shards = manifest.as_ref().and_then(|manifest| manifest["curriculum"][split].as_array());
        for shard in shards.into_iter().flatten() {
            if let (Some(file), Some(hash)) = (shard["file"].as_str(), shard["xxh3_128"].as_str()) {
                hashes.insert(file.to_string(), hash.to_string());
            }
        }
    }
    Ok(hashes)
}

/// A shard that was changed after its build teaches something else.
fn check_hash(shard: &Path, split: &str, hashes: &BTreeMap<String, String>) -> Result<()> {
    let name = shard.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match hashes.get(&format!("data/{name}")) {
        Some(hash) if hash_file(shard)? != *hash => {
            Err(Error::data(format!("a `{split}` shard is not what `manifest.json` says: it was changed or damaged"))
                .at(shard.display())
                .hint("repeat `kpipe build`; or remove `manifest.json` to train on what is there"))
        }
        _ => Ok(()),
    }
}

/// One row, for a pass over a few columns.
pub struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Row<'_> {
    /// The string in column `name`.
    ///
    /// # Errors
    /// If there is no such string column.
    pub fn string(&self, name: &str) -> Result<&str> {
        Ok(strings(self.batch, name)?.value(self.row))
    }

    /// The number in the `UInt32` column `name`.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn number(&self, name: &str) -> Result<u64> {
        Ok(u64::from(numbers::<UInt32Type>(self.batch, name)?.value(self.row)))
    }
}

impl Shards {
    /// The shards of `split` (`train` or `validation`) in `folder` or its `data` folder; `None` where there are none.
    ///
    /// # Errors
    /// If the folder cannot be read, a shard of the numbered set is missing, or one breaks the contract.
    pub fn open(folder: &Path, split: &str) -> Result<Option<Self>> {
        let data = folder.join("data");
        let folder = if data.is_dir() { data.as_path() } else { folder };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|cause| {
            Error::file("list", folder, cause)
                .hint("`kpipe build` writes the shards; give its output folder to `--shards`")
        })? {
            let path = entry.map_err(|cause| Error::file("list", folder, cause))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(place) = number_in_set(name, split) {
                found.push((place, path));
            }
        }
        found.sort();
        let hashes = hashes(folder)?;
        for (idx, ((number, of), path)) in found.iter().enumerate() {
            if (*number, *of) != (idx, found.len()) {
                return Err(Error::data(format!("{} of {of} `{split}` shards are there", found.len()))
                    .at(path.display())
                    .hint("finish or repeat `kpipe build`, and keep the shards of one build only"));
            }
            Batches::open(path, Some(contract("shard")?), None)?;
            check_hash(path, split, &hashes)?;
        }
        let paths: Vec<PathBuf> = found.into_iter().map(|(_, path)| path).collect();
        Ok((!paths.is_empty()).then_some(Shards { paths }))
    }

    /// Gives `visit` every row with the named columns, in order, and adds up what it returns.
    ///
    /// # Errors
    /// If a shard cannot be read, or from `visit`.
    pub fn texts(&self, columns: &[&str], mut visit: impl FnMut(&Row) -> Result<u64>) -> Result<u64> {
        let mut total = 0;
        for path in &self.paths {
            for batch in Batches::open(path, None, Some(columns))? {
                let batch = batch?;
                for row in 0..batch.num_rows() {
                    total += visit(&Row { batch: &batch, row }).map_err(|error| error.at(path.display()))?;
                }
            }
        }
        Ok(total)
    }

    /// Rows of the split, and a hash of their ids in order: what a run was trained on.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn identity(&self) -> Result<(u64, String)> {
        let mut hash = Xxh3::new();
        let rows = self.texts(&["id"], |row| {
            hash.update(row.string("id")?.as_bytes());
            hash.update(b"\n");
            Ok(1)
        })?;
        Ok((rows, format!("{:032x}", hash.digest128())))
    }
}

/// The numbers of `train-00003-of-00012.parquet` for the split `train`.
fn number_in_set(name: &str, split: &str) -> Option<(usize, usize)> {
    let numbers = name.strip_prefix(split)?.strip_prefix('-')?.strip_suffix(".parquet")?;
    let (number, of) = numbers.split_once("-of-")?;
    Some((number.parse().ok()?, of.parse().ok()?))
}

/// Documents of a split in order, from a cursor on.
pub struct Stream<'a> {
    shards: &'a Shards,
    columns: &'static [&'static str],
    cursor: Cursor,
    batches: Option<Batches>,
    batch: Option<RecordBatch>,
}

impl<'a> Stream<'a> {
    /// A stream that gives the row at `cursor` next.
    pub fn new(shards: &'a Shards, cursor: Cursor) -> Self {
        Stream { shards, columns: &["id", "text", "seq", "negatives"], cursor, batches: None, batch: None }
    }

    /// A stream from the first row on that reads names and places only: its documents have no text.
    pub fn names(shards: &'a Shards) -> Self {
        Stream { columns: &["id", "seq"], ..Stream::new(shards, Cursor::default()) }
    }

    /// Where the stream stands.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes back to the first row, one epoch later.
    pub fn begin_next_epoch(&mut self) {
        let cursor = Cursor { epoch: self.cursor.epoch + 1, ..Cursor::default() };
        *self = Stream { columns: self.columns, ..Stream::new(self.shards, cursor) };
    }

    /// The next document; `None` at the end of the epoch.
    ///
    /// # Errors
    /// If a shard cannot be read, or its `seq` is not the next number.
    pub fn next_document(&mut self) -> Result<Option<Document>> {
        loop {
            let Some(batch) = self.current_batch()? else { return Ok(None) };
            if self.cursor.row >= batch.num_rows() {
                self.batch = None;
                (self.cursor.group, self.cursor.row) = (self.cursor.group + 1, 0);
                continue;
            }
            let document = document(&batch, self.cursor.row).map_err(|error| error.at(self.place()))?;
            if document.seq != self.cursor.seq {
                let (found, expected) = (document.seq, self.cursor.seq);
                return Err(Error::data(format!("`seq` is {found} where {expected} comes next"))
                    .at(self.place())
                    .hint("the shards are not of one build, or were changed; build them again"));
            }
            (self.cursor.row, self.cursor.seq) = (self.cursor.row + 1, self.cursor.seq + 1);
            return Ok(Some(document));
        }
    }

    /// The row group at the cursor; `None` behind the last shard. Cloning a batch copies no data.
    fn current_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.batch.is_none() {
            let Some(path) = self.shards.paths.get(self.cursor.shard) else { return Ok(None) };
            if self.batches.is_none() {
                let mut batches = Batches::open(path, Some(contract("shard")?), Some(self.columns))?;
                batches.skip_batches(self.cursor.group);
                self.batches = Some(batches);
            }
            match self.batches.as_mut().and_then(Iterator::next) {
                Some(batch) => {
                    let batch = batch?;
                    contract("shard")?.check_nulls(&batch).map_err(|error| {
                        error.at(self.place()).hint("the shards were changed after kpipe wrote them; build them again")
                    })?;
                    self.batch = Some(batch);
                }
                None => {
                    self.batches = None;
                    (self.cursor.shard, self.cursor.group, self.cursor.row) = (self.cursor.shard + 1, 0, 0);
                }
            }
        }
        Ok(self.batch.clone())
    }

    fn place(&self) -> String {
        let path = self.shards.paths.get(self.cursor.shard).map(|path| path.display().to_string());
        format!("{}, row group {}, row {}", path.unwrap_or_default(), self.cursor.group, self.cursor.row)
    }
}

fn document(batch: &RecordBatch, row: usize) -> Result<Document> {
    let named = batch.column_by_name("text").is_none();
    Ok(Document {
        seq: numbers::<UInt64Type>(batch, "seq")?.value(row),
        id: strings(batch, "id")?.value(row).to_string(),
        text: if named { String::new() } else { strings(batch, "text")?.value(row).to_string() },
        rewrites: if named { Vec::new() } else { rewrites(batch, row)? },
    })
}

fn rewrites(batch: &RecordBatch, row: usize) -> Result<Vec<Rewrite>> {
    let broken = || Error::data("column `negatives` is not a list of rewritten passages");
    let list = column(batch, "negatives")?.as_list_opt::<i32>().ok_or_else(broken)?;
    if list.is_null(row) {
        return Ok(Vec::new());
    }
    let values = list.value(row);
    let fields = values.as_struct_opt().ok_or_else(broken)?;
    let text = |name: &str| fields.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(broken);
    let (anchors, texts, kinds) = (text("anchor")?, text("text")?, text("kind")?);
    let rewrite = |idx| {
        let paraphrase = match kinds.value(idx) {
            "paraphrase" => true,
            "hard" => false,
            other => {
                return Err(Error::data(format!("`negatives.kind` is `{other}`, neither `hard` nor `paraphrase`")));
            }
        };
        Ok(Rewrite { anchor: anchors.value(idx).to_string(), text: texts.value(idx).to_string(), paraphrase })
    };
    (0..fields.len()).map(rewrite).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{grammar, shard_folder, write_shard};

    fn all(stream: &mut Stream) -> Vec<Document> {
        std::iter::from_fn(|| stream.next_document().unwrap()).collect()
    }

    #[test]
    fn documents_come_in_order_over_shards_and_row_groups() {
        let documents = grammar(57, 3);
        let folder = shard_folder(&documents, &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let mut stream = Stream::new(&shards, Cursor::default());
        assert_eq!(all(&mut stream), documents);
        stream.begin_next_epoch();
        assert_eq!(stream.cursor().epoch, 1);
        assert_eq!(all(&mut stream), documents);
    }

    #[test]
    fn a_stream_goes_on_from_any_cursor() {
        let documents = grammar(57, 3);
        let folder = shard_folder(&documents, &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        for n in 0..=documents.len() {
            let mut stream = Stream::new(&shards, Cursor::default());
            (0..n).for_each(|_| drop(stream.next_document().unwrap()));
            assert_eq!(all(&mut Stream::new(&shards, stream.cursor())), documents[n..]);
        }
    }

    #[test]
    fn a_gap_in_the_order_is_named() {
        let mut documents = grammar(40, 3);
        documents[33].seq = 99;
        let folder = shard_folder(&documents, &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let mut stream = Stream::new(&shards, Cursor::default());
        let error = (0..40).find_map(|_| stream.next_document().err()).unwrap().to_string();
        assert!(error.contains("`seq` is 99 where 33 comes next") && error.contains("train-00001-of-00002"), "{error}");
    }

    #[test]
    fn a_missing_shard_and_another_contract_are_refused() {
        let folder = shard_folder(&grammar(40, 3), &[]);
        let data = folder.path().join("data");
        std::fs::remove_file(data.join("train-00000-of-00002.parquet")).unwrap();
        assert!(Shards::open(folder.path(), "train").err().unwrap().what().contains("1 of 2"));
        assert!(Shards::open(folder.path(), "validation").unwrap().is_none());
        write_shard(&data.join("train-00000-of-00002.parquet"), &grammar(3, 1), "train");
        std::fs::write(data.join("train-00001-of-00002.parquet"), b"no parquet").unwrap();
        assert!(Shards::open(folder.path(), "train").err().unwrap().what().contains("Parquet"));
    }
}
