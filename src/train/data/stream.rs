//! Reads the shards strictly in `seq` order, one row group in memory at a time, and knows where it
//! stands.
//!
//! The rows of a split must be numbered 0, 1, 2, … by `seq` over all its files; a row that is not
//! stops the run with its file and place, because a curriculum read in another order is another
//! curriculum.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flow::contract::{column, contract, numbers, strings};
use crate::train::data::again::name;
use crate::train::data::shards::{Groups, Shards};

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
    /// What it says about its source; empty where nobody asked.
    pub line: String,
    /// Of domain text that stands several times, itself or as variants: what its family is told
    /// by.
    pub family: Option<u64>,
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
    columns: Vec<&'a str>,
    /// What the lines about sources are made of.
    fields: &'a [String],
    cursor: Cursor,
    groups: Option<Groups>,
    batch: Option<RecordBatch>,
}

impl<'a> Stream<'a> {
    /// A stream that gives the row at `cursor` next.
    pub fn new(shards: &'a Shards, cursor: Cursor) -> Self {
        Stream {
            shards,
            columns: vec!["id", "text", "seq", "negatives", "role", "parent", "exposures"],
            fields: &[],
            cursor,
            groups: None,
            batch: None,
        }
    }

    /// The same, with a line about the source of each document, made of columns of the shards and
    /// of fields of their column `metadata`.
    #[must_use]
    pub fn telling(mut self, fields: &'a [String]) -> Self {
        self.fields = fields;
        for field in fields {
            let column = if COLUMNS.contains(&field.as_str()) { field } else { METADATA };
            if !self.columns.contains(&column) {
                self.columns.push(column);
            }
        }
        self
    }

    /// A stream from the first row on that reads names and places only: its documents have no text.
    pub fn names(shards: &'a Shards) -> Self {
        let columns = vec!["id", "seq", "role", "parent", "exposures"];
        Stream { columns, ..Stream::new(shards, Cursor::default()) }
    }

    /// Goes to a row; what is read of its row group stays, where that is the one at hand.
    pub fn seek(&mut self, cursor: Cursor) {
        let at_hand = (self.cursor.shard, self.cursor.group) == (cursor.shard, cursor.group);
        self.cursor = cursor;
        if !at_hand || self.batch.is_none() {
            (self.groups, self.batch) = (None, None);
        }
    }

    /// The shards it reads.
    pub fn shards(&self) -> &'a Shards {
        self.shards
    }

    /// Where the stream stands.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes back to the first row, one epoch later.
    pub fn begin_next_epoch(&mut self) {
        self.cursor = Cursor { epoch: self.cursor.epoch + 1, ..Cursor::default() };
        (self.groups, self.batch) = (None, None);
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
            let document = document(&batch, self.cursor.row, self.fields)
                .map_err(|error| error.at(self.place()))?;
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
            if self.groups.is_none() {
                self.shards.check_unchanged(self.cursor.shard)?;
                let groups = self.shards.groups(self.cursor.shard, &self.columns)?;
                let Some(mut groups) = groups else { return Ok(None) };
                groups.skip_groups(self.cursor.group);
                self.groups = Some(groups);
            }

            match self.groups.as_mut().and_then(Iterator::next) {
                Some(batch) => {
                    // Asked behind the reading, so that what was read is what was there; and before
                    // what it says.
                    self.shards.check_unchanged(self.cursor.shard)?;
                    let batch = batch?;
                    if !self.shards.are_foreign() {
                        contract("shard")?.check_nulls(&batch).map_err(|error| {
                            error.at(self.place()).hint(
                                "the shards were changed after kpipe wrote them; build them again",
                            )
                        })?;
                    }
                    self.batch = Some(batch);
                }
                None => {
                    self.groups = None;
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

/// The columns that a line about a source may be made of.
pub const COLUMNS: [&str; 7] = ["source", "role", "language", "title", "url", "licence", "date"];
const METADATA: &str = "metadata";

fn document(batch: &RecordBatch, row: usize, fields: &[String]) -> Result<Document> {
    let named = batch.column_by_name("text").is_none();
    Ok(Document {
        seq: numbers::<UInt64Type>(batch, "seq")?.value(row),
        id: strings(batch, "id")?.value(row).to_string(),
        text: if named { String::new() } else { strings(batch, "text")?.value(row).to_string() },
        rewrites: if named { Vec::new() } else { rewrites(batch, row)? },
        line: line(batch, row, fields)?,
        family: family(batch, row)?,
    })
}

/// What tells a family: the name of its document. General text is repeated where there is little of
/// it, and nobody is to learn facts from it.
fn family(batch: &RecordBatch, row: usize) -> Result<Option<u64>> {
    let is_one = numbers::<UInt32Type>(batch, "exposures")?.value(row) < 2;
    if is_one || strings(batch, "role")?.value(row) != "domain" {
        return Ok(None);
    }
    let parents = strings(batch, "parent")?;
    let own = if parents.is_valid(row) { parents } else { strings(batch, "id")? };
    Ok(Some(name(own.value(row))))
}

/// What a document says of itself, `pubmed | Journal Article | Asthma`; what it does not say is
/// left out.
fn line(batch: &RecordBatch, row: usize, fields: &[String]) -> Result<String> {
    let cell = |column: &str| -> Result<Option<&str>> {
        let column = strings(batch, column)?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    };
    let (mut said, mut metadata): (Vec<String>, Option<Value>) = (Vec::new(), None);

    for field in fields {
        if COLUMNS.contains(&field.as_str()) {
            said.extend(cell(field)?.map(str::to_string));
            continue;
        }
        if metadata.is_none() {
            let text = cell(METADATA)?.unwrap_or("null");
            metadata = Some(serde_json::from_str(text).map_err(|cause| {
                Error::data(format!("column `{METADATA}` is no JSON: {cause}"))
            })?);
        }
        said.extend(metadata.as_ref().and_then(|metadata| words(&metadata[field.as_str()])));
    }

    said.retain(|words| !words.trim().is_empty());
    Ok(said.join(" | "))
}

/// The words of a value: of several the first, of a record its first words.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(several) => several.first().and_then(words),
        Value::Object(record) => record.values().find_map(words),
        Value::Bool(_) | Value::Null => None,
    }
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
    fn documents_say_what_they_are_asked() {
        let folder = shard_folder(&grammar(9, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let fields = ["source", "title", "role", "mesh"].map(str::to_string);
        let mut stream = Stream::new(&shards, Cursor::default()).telling(&fields);
        assert_eq!(stream.next_document().unwrap().unwrap().line, "toy | general");
        stream.begin_next_epoch();
        assert_eq!(stream.next_document().unwrap().unwrap().line, "toy | general");

        let value = serde_json::json!({"a": [{"name": "Asthma"}, "x"], "b": 7, "c": [], "d": null});
        let found = ["a", "b", "c", "d", "e"].map(|field| words(&value[field]));
        assert_eq!(found, [Some("Asthma".into()), Some("7".into()), None, None, None]);
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
