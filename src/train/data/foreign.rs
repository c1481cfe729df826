//! Parquet files of other programs as shards: published datasets, exports of other pipelines.
//!
//! What is needed is a column `text`. `id`, `source`, `language`, `title`, `url`, `licence`,
//! `date`, `metadata`, `difficulty` and `negatives` are taken where they are there and can be read
//! as what the contract `shard` says of them; everything else is filled in: such files have no
//! curriculum, so their order is that of their rows, all of it domain text of bucket 0. A document
//! without `id` is named by its file and row; a missing text is an empty one, and counted.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, RecordBatch, RecordBatchOptions, StringArray,
    UInt8Array, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};

use crate::error::{Error, Result};
use crate::flow::contract::{CONTRACT_KEY, Contract, Field, column, contract};
use crate::flow::dataset::Batches;
use crate::flow::place::Place;
use crate::text::words::words;

/// Columns that are taken from the files; the others say how kpipe ordered a set.
const TAKEN: [&str; 11] = [
    "id",
    "text",
    "source",
    "language",
    "title",
    "url",
    "licence",
    "date",
    "metadata",
    "difficulty",
    "negatives",
];

/// A file of another program: what is known of it before it is read.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Its name, without the folder it is in.
    name: String,
    /// Rows in the files before it.
    first_row: u64,
    /// Rows of it.
    pub rows: u64,
    /// Those of [`TAKEN`] that it has.
    columns: Vec<String>,
}

impl Foreign {
    /// The file at `place`, which stands behind `first_row` rows of others; `None` where kpipe
    /// wrote it.
    ///
    /// # Errors
    /// If it cannot be read, or has no texts.
    pub fn open(place: &Place, first_row: u64) -> Result<Option<Self>> {
        let metadata = place.metadata()?;
        let footer = metadata.metadata().file_metadata();
        let mut pairs = footer.key_value_metadata().into_iter().flatten();
        if pairs.any(|pair| pair.key == CONTRACT_KEY) {
            return Ok(None);
        }

        let shard = contract("shard")?;
        let is_readable = |found: &ArrowField| {
            let wanted = shard.fields.iter().find(|field| field.name == *found.name());
            wanted.is_some_and(|field| is_taken(found.data_type(), field))
        };
        let found = metadata.schema().fields();
        let columns: Vec<String> = found
            .iter()
            .filter(|field| is_readable(field))
            .map(|field| field.name().clone())
            .collect();

        if !columns.iter().any(|name| name == "text") {
            let names: Vec<&str> = found.iter().map(|field| field.name().as_str()).collect();
            let error = Error::data(format!("`{place}` has no column `text` with strings"));
            return Err(error
                .hint(format!("it has: {}; name the one with the texts `text`", names.join(", ")))
                .hint("or build shards of it: `kpipe build --source <name>=<file>`"));
        }

        let rows = u64::try_from(footer.num_rows()).unwrap_or(0);
        Ok(Some(Foreign { name: place.name().to_string(), first_row, rows, columns }))
    }

    /// Whether the file says this of its rows itself.
    pub fn says(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// Reads columns of the contract `shard`, one row group after another.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn batches(&self, place: &Place, columns: &[&str]) -> Result<ForeignBatches> {
        let mut own: Vec<&str> = columns.iter().copied().filter(|name| self.says(name)).collect();
        let is_length = |column: &&str| matches!(*column, "n_chars" | "n_tokens");
        if columns.iter().any(is_length) && !own.contains(&"text") {
            own.push("text");
        }
        let mut rows_before = 0;
        let batches = Batches::at(place, None, Some(&own))?;
        let firsts = batches
            .rows()
            .into_iter()
            .map(|rows| {
                rows_before += rows;
                rows_before - rows
            })
            .collect();
        let columns = columns.iter().map(|name| (*name).to_string()).collect();
        Ok(ForeignBatches { file: self.clone(), batches, firsts, columns, next: 0 })
    }

    /// What stands in a column of rows from `first` on, counted within the file.
    fn column(&self, batch: &RecordBatch, field: &Field, first: u64) -> Result<ArrayRef> {
        let n = batch.num_rows();
        let same = |value: &str| Arc::new(StringArray::from(vec![value; n])) as ArrayRef;
        let rows = first..first + n as u64;

        if let Some(found) = batch.column_by_name(&field.name).filter(|_| self.says(&field.name)) {
            return self.taken(found, field, rows.start);
        }
        Ok(match field.name.as_str() {
            "id" => {
                let names = rows.map(|row| format!("{}:{row}", self.name));
                Arc::new(StringArray::from_iter_values(names))
            }
            "seq" => Arc::new(UInt64Array::from_iter_values(rows.map(|row| self.first_row + row))),
            "file" => same(&self.name),
            "source" => same(stem(&self.name)),
            "role" => same("domain"),
            "phase" => same("mixed"),
            "n_chars" | "n_tokens" => {
                let texts = cast(column(batch, "text")?, &DataType::Utf8)?;
                let length = |text: &str| match field.name.as_str() {
                    "n_chars" => text.chars().count() as u32,
                    _ => words(text).count() as u32,
                };
                let texts = texts.as_string::<i32>().iter();
                let lengths = texts.map(|text| length(text.unwrap_or("")));
                Arc::new(UInt32Array::from_iter_values(lengths))
            }
            "density" | "difficulty" => Arc::new(Float32Array::from(vec![0.0; n])),
            "bucket" => Arc::new(UInt8Array::from(vec![0; n])),
            "exposure" => Arc::new(UInt32Array::from(vec![0; n])),
            "exposures" => Arc::new(UInt32Array::from(vec![1; n])),
            _ => new_null_array(&field.data_type, n),
        })
    }

    /// A column of the file as the contract has it.
    fn taken(&self, found: &ArrayRef, field: &Field, first: u64) -> Result<ArrayRef> {
        let column = cast(found, &field.data_type).map_err(|cause| {
            Error::data(format!("`{}`: column `{}`: {cause}", self.name, field.name))
        })?;
        if field.nullable || column.null_count() == 0 {
            return Ok(column);
        }
        let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or(0);
        match field.name.as_str() {
            "negatives" => Ok(column),
            "text" | "source" => {
                let filled = column.as_string::<i32>().iter().map(|text| text.unwrap_or(""));
                Ok(Arc::new(StringArray::from_iter_values(filled)))
            }
            name => Err(Error::data(format!(
                "`{}`: column `{name}` says nothing in row {}",
                self.name,
                first + row as u64
            ))
            .hint(format!("fill it, or leave the column `{name}` out"))),
        }
    }
}

/// Whether a column of this type can be read as the contract has it. Only what is text already is
/// read as text, but for ids, which may be numbers.
fn is_taken(found: &DataType, field: &Field) -> bool {
    let values = match found {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let is_text = matches!(values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let fits = match field.data_type {
        DataType::Utf8 => is_text || (field.name == "id" && values.is_integer()),
        DataType::Float32 => values.is_numeric(),
        _ => can_cast_types(found, &field.data_type),
    };
    TAKEN.contains(&field.name.as_str()) && fits
}

/// The name of a file without its number and ending: `train` of `train-00000-of-00002.parquet`.
fn stem(name: &str) -> &str {
    let name = name.strip_suffix(".parquet").unwrap_or(name);
    name.split_once('-').map_or(name, |(stem, _)| stem)
}

/// Row groups of a file of another program, with the columns of the contract `shard`.
pub struct ForeignBatches {
    file: Foreign,
    batches: Batches,
    /// The first row of each row group, counted within the file.
    firsts: Vec<u64>,
    columns: Vec<String>,
    next: usize,
}

impl ForeignBatches {
    /// Leaves out the next `n` row groups without reading them.
    pub fn skip_batches(&mut self, n: usize) {
        self.next += n;
    }

    fn read(&self, idx: usize) -> Result<RecordBatch> {
        let batch = self.batches.read(idx)?;
        let shard: &Contract = contract("shard")?;
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for field in shard.fields.iter().filter(|field| self.columns.contains(&field.name)) {
            columns.push(self.file.column(&batch, field, self.firsts[idx])?);
            let nullable = columns.last().is_some_and(|column| column.null_count() > 0);
            fields.push(ArrowField::new(&field.name, field.data_type.clone(), nullable));
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?)
    }
}

impl Iterator for ForeignBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let idx = self.next;
        self.next += 1;
        (idx < self.firsts.len()).then(|| self.read(idx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, LargeStringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use std::fs::File;
    use std::path::Path;

    use crate::train::data::curriculum::Curriculum;
    use crate::train::data::paced::Paced;
    use crate::train::data::shards::Shards;
    use crate::train::data::stream::{Cursor, Document, Stream};
    use crate::train::fixture::{default_params, grammar, write_shard};
    use crate::train::params::Order;

    /// Writes columns as another program does, in row groups of two.
    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn texts(of: &[Option<&str>]) -> (&'static str, ArrayRef) {
        ("text", Arc::new(LargeStringArray::from(of.to_vec())))
    }

    fn all(shards: &Shards) -> Vec<Document> {
        let mut stream = Stream::new(shards, Cursor::default());
        std::iter::from_fn(|| stream.next_document().unwrap()).collect()
    }

    fn open(folder: &Path) -> Shards {
        Shards::open(folder, "train").unwrap().unwrap()
    }

    #[test]
    fn files_of_other_programs_are_read_in_the_order_of_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
        write(
            &at("train-00000-of-00002-0a1b2c.parquet"),
            vec![("id", ids), texts(&[Some("a b"), None, Some("c")])],
        );
        write(&at("train-00001-of-00002-3d4e5f.parquet"), vec![texts(&[Some("d")])]);
        write(&at("validation-00000-of-00001-77.parquet"), vec![texts(&[Some("e")])]);

        let shards = open(folder.path());
        let told: Vec<(u64, String, String)> =
            all(&shards).into_iter().map(|one| (one.seq, one.id, one.text)).collect();
        let expected = [(0, "7", "a b"), (1, "8", ""), (2, "9", "c")];
        for (found, (seq, id, text)) in told.iter().zip(expected) {
            assert_eq!((found.0, found.1.as_str(), found.2.as_str()), (seq, id, text));
        }
        assert_eq!(told[3], (3, "train-00001-of-00002-3d4e5f.parquet:0".into(), "d".into()));
        assert_eq!(told.len(), 4);

        let chars = shards.texts(&["n_chars"], |row| row.number("n_chars")).unwrap();
        assert_eq!(chars, 5);
        let curriculum = Curriculum::read(&shards).unwrap();
        assert_eq!((curriculum.source(3), curriculum.bucket(3)), (Some("train"), Some(0)));
        for document in all(&shards) {
            let mut stream = Stream::new(&shards, shards.find(document.seq).unwrap());
            assert_eq!(stream.next_document().unwrap(), Some(document));
        }
        let held_out = Shards::open(folder.path(), "validation").unwrap().unwrap();
        assert_eq!(all(&held_out)[0].text, "e");
    }

    #[test]
    fn names_without_numbers_are_sorted() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b", "2"), ("a", "1"), ("test", "no")] {
            let place = folder.path().join(format!("{name}.parquet"));
            write(&place, vec![texts(&[Some(text)])]);
        }
        let found: Vec<String> = all(&open(folder.path())).into_iter().map(|d| d.text).collect();
        assert_eq!(found, ["1", "2"]);
        assert!(Shards::open(folder.path(), "validation").unwrap().is_none());
    }

    /// By what they say themselves, or else by how rare their words are.
    #[test]
    fn documents_are_paced_from_easy_to_hard() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("train.parquet");
        let mut params = default_params();
        params.pacing.order = Order::Competence;
        let order =
            |shards: &Shards| Paced::read(shards, &params, 1).unwrap().unwrap().by_difficulty;

        let words = [Some("rare words here"), Some("the the the"), Some("the cat")];
        write(&place, vec![texts(&words)]);
        assert_eq!(order(&open(folder.path())), [1, 2, 0]);
        let difficulty: ArrayRef = Arc::new(Int64Array::from(vec![1, 9, 5]));
        write(&place, vec![texts(&words), ("difficulty", difficulty)]);
        assert_eq!(order(&open(folder.path())), [0, 2, 1]);

        let unsaid: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(5)]));
        write(&place, vec![texts(&words), ("difficulty", unsaid)]);
        let error = Paced::read(&open(folder.path()), &params, 1).err().unwrap().to_string();
        assert!(error.contains("`difficulty` says nothing in row 1"), "{error}");
    }

    #[test]
    fn files_without_texts_and_mixed_sets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("train-00000-of-00002.parquet");
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        write(&place, vec![("text", numbers.clone()), ("body", numbers)]);
        write_shard(&folder.path().join("train-00001-of-00002.parquet"), &grammar(3, 1), "train");
        let error = Shards::open(folder.path(), "train").err().unwrap().to_string();
        assert!(error.contains("no column `text`") && error.contains("text, body"), "{error}");
        write(&place, vec![texts(&[Some("a")])]);
        let error = Shards::open(folder.path(), "train").err().unwrap().to_string();
        assert!(error.contains("some of another program"), "{error}");
    }
}
