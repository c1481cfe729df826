//! Reads the shards strictly in `seq` order, one row group in memory at a time, and knows where it
//! stands.
//!
//! The rows of a split must be numbered 0, 1, 2, … by `seq` over all its files; a row that is not
//! stops the run with its file and place, because a curriculum read in another order is another
//! curriculum.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::contract::{column, contract, numbers, strings};
use crate::flow::dataset::Batches;
use crate::train::data::shards::Shards;

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
        Stream {
            shards,
            columns: &["id", "text", "seq", "negatives"],
            cursor,
            batches: None,
            batch: None,
        }
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
            let document =
                document(&batch, self.cursor.row).map_err(|error| error.at(self.place()))?;
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
            let Some(place) = self.shards.place(self.cursor.shard) else { return Ok(None) };
            if self.batches.is_none() {
                self.shards.check_unchanged(self.cursor.shard)?;
                let mut batches = Batches::at(place, Some(contract("shard")?), Some(self.columns))?;
                batches.skip_batches(self.cursor.group);
                self.batches = Some(batches);
            }

            match self.batches.as_mut().and_then(Iterator::next) {
                Some(batch) => {
                    // Asked behind the reading, so that what was read is what was there; and before
                    // what it says.
                    self.shards.check_unchanged(self.cursor.shard)?;
                    let batch = batch?;
                    contract("shard")?.check_nulls(&batch).map_err(|error| {
                        error.at(self.place()).hint(
                            "the shards were changed after kpipe wrote them; build them again",
                        )
                    })?;
                    self.batch = Some(batch);
                }
                None => {
                    self.batches = None;
                    (self.cursor.shard, self.cursor.group, self.cursor.row) =
                        (self.cursor.shard + 1, 0, 0);
                }
            }
        }
        Ok(self.batch.clone())
    }

    fn place(&self) -> String {
        let place = self.shards.place(self.cursor.shard).map(ToString::to_string);
        format!(
            "{}, row group {}, row {}",
            place.unwrap_or_default(),
            self.cursor.group,
            self.cursor.row
        )
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
    let text = |name: &str| {
        fields.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(broken)
    };
    let (anchors, texts, kinds) = (text("anchor")?, text("text")?, text("kind")?);
    let rewrite = |idx| {
        let paraphrase = match kinds.value(idx) {
            "paraphrase" => true,
            "hard" => false,
            other => {
                return Err(Error::data(format!(
                    "`negatives.kind` is `{other}`, neither `hard` nor `paraphrase`"
                )));
            }
        };
        Ok(Rewrite {
            anchor: anchors.value(idx).to_string(),
            text: texts.value(idx).to_string(),
            paraphrase,
        })
    };

    (0..fields.len()).map(rewrite).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{grammar, shard_folder};

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

        assert!(
            error.contains("`seq` is 99 where 33 comes next")
                && error.contains("train-00001-of-00002"),
            "{error}"
        );
    }
}
