//! Datasets on disk: a list of Parquet parts under one contract, written beside and renamed.
//!
//! A room that only adds columns to rows writes those alone, beside the part that it has from the
//! room before it (`columns-00007-scored.parquet` beside `part-00007.parquet`, a second name of the
//! same file). Whoever reads the part under the wider contract gets both as one, batch by batch.
//!
//! One row group is one batch: at most [`BATCH_ROWS`] rows or about [`BATCH_BYTES`] of data, so a
//! reader's memory is known from outside. Nothing here depends on threads or time, so equal rows
//! give equal bytes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::flow::changes::{self, Changes};
use crate::flow::contract::{CONTRACT_HASH_KEY, CONTRACT_KEY, Contract, contracts};
use crate::flow::disk::{beside, files_named, is_working, link, put_in_place};
use crate::flow::place::Place;

/// Most rows of a batch.
pub const BATCH_ROWS: usize = 1_024;
/// A batch is closed once it holds this much data in memory.
pub const BATCH_BYTES: usize = 1 << 20;

/// One Parquet file of a dataset.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// How many rows it has, without those that are gone.
    pub rows: u64,
}

/// Parquet parts under one contract, in order.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The contract of every part.
    pub contract: &'static Contract,
    /// The parts, in order.
    pub parts: Vec<Part>,
}

impl Dataset {
    /// All parts named `part-*.parquet` of a folder, in name order, with their contract checked.
    ///
    /// # Errors
    /// If the folder cannot be read or a part has another contract.
    pub fn open(folder: &Path, contract: &'static Contract) -> Result<Self> {
        let paths = files_named(folder, "part-", ".parquet")?;
        let mut parts = Vec::with_capacity(paths.len());

        for path in paths {
            let pieces = Piece::open(&Place::File(path.clone()), Some(contract))?;
            let rows = pieces[0].metadata.metadata().file_metadata().num_rows() as u64;
            let gone = changes::n_gone(changes::read(&path)?.iter());
            parts.push(Part { rows: rows.saturating_sub(gone), path });
        }

        Ok(Dataset { contract, parts })
    }

    /// Rows of all parts.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

/// A file with some of a part's columns.
struct Piece {
    place: Place,
    metadata: ArrowReaderMetadata,
}

impl Piece {
    /// The part at `place` and what stands beside it, as far as the contract goes, or all where
    /// there is none; in the order of the columns, the part first.
    fn open(place: &Place, contract: Option<&Contract>) -> Result<Vec<Self>> {
        let part = Piece { place: place.clone(), metadata: place.metadata()? };
        let Some(contract) = contract else { return part.with_all_beside() };
        let chain = contract.chain()?;
        let Some(own) = chain.iter().position(|contract| part.is_under(contract)) else {
            return Err(part.wrong_contract(contract));
        };
        part.check_schema(chain[own])?;
        let mut pieces = vec![part];

        for contract in chain[..own].iter().rev() {
            let beside = columns_beside(place, &contract.name)
                .ok_or_else(|| pieces[0].wrong_contract(contract))?;
            let beside = Piece { metadata: beside.metadata()?, place: beside };
            if !beside.is_under(contract) {
                return Err(beside.wrong_contract(contract));
            }
            beside.check_schema(&contract.added())?;
            pieces.push(beside);
        }

        Ok(pieces)
    }

    fn with_all_beside(self) -> Result<Vec<Self>> {
        let (mut name, mut pieces) = (self.footer(CONTRACT_KEY), vec![self]);
        while let Some(written) = name.take() {
            for contract in
                contracts()?.filter(|contract| contract.extends.as_ref() == Some(&written))
            {
                let beside = columns_beside(&pieces[0].place, &contract.name);
                if let Some(beside) =
                    beside.filter(|beside| matches!(beside, Place::File(path) if path.exists()))
                {
                    pieces.push(Piece { metadata: beside.metadata()?, place: beside });
                    name = Some(contract.name.clone());
                }
            }
        }
        Ok(pieces)
    }

    fn footer(&self, key: &str) -> Option<String> {
        let pairs = self.metadata.metadata().file_metadata().key_value_metadata();
        pairs
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == key))
            .and_then(|pair| pair.value.clone())
    }

    fn is_under(&self, contract: &Contract) -> bool {
        let (name, hash) = (self.footer(CONTRACT_KEY), self.footer(CONTRACT_HASH_KEY));
        name.as_ref() == Some(&contract.name) && hash.as_ref() == Some(&contract.hash)
    }

    fn wrong_contract(&self, needed: &Contract) -> Error {
        let (name, hash) = (self.footer(CONTRACT_KEY), self.footer(CONTRACT_HASH_KEY));
        Error::data(format!(
            "`{}` was written under the contract {}, but `{}` ({}) is needed",
            self.place,
            name.map_or("of another program".to_string(), |name| format!(
                "`{name}` ({})",
                hash.unwrap_or_default()
            )),
            needed.name,
            needed.hash
        ))
        .hint("build the shards again with this version of kpipe")
    }

    fn check_schema(&self, contract: &Contract) -> Result<()> {
        contract.check_schema(self.metadata.schema()).map_err(|error| error.at(&self.place))
    }

    /// Those of `columns` that it has; `None` where all are wanted.
    fn projected(&self, columns: Option<&[String]>) -> Option<Vec<String>> {
        let schema = self.metadata.schema();
        columns.map(|columns| {
            columns.iter().filter(|name| schema.column_with_name(name).is_some()).cloned().collect()
        })
    }

    fn read(&self, group: usize, columns: Option<&[String]>) -> Result<RecordBatch> {
        let mask = match columns {
            Some(columns) => {
                let schema = self.metadata.metadata().file_metadata().schema_descr();
                ProjectionMask::columns(schema, columns.iter().map(String::as_str))
            }
            None => ProjectionMask::all(),
        };
        self.place.row_group(&self.metadata, group, mask)
    }
}

/// Where the columns stand that the contract `name` adds to a part: `columns-00007-scored.parquet`.
fn columns_beside(part: &Place, name: &str) -> Option<Place> {
    let Place::File(path) = part else { return None };
    let number = path.file_name()?.to_str()?.strip_prefix("part-")?.strip_suffix(".parquet")?;
    Some(Place::File(path.with_file_name(format!("columns-{number}-{name}.parquet"))))
}

/// Gives a part, with its changes and the columns beside it, a second name.
///
/// # Errors
/// If a file can be neither linked nor copied.
pub fn link_part(from: &Path, to: &Path) -> Result<()> {
    link(from, to)?;
    changes::link_beside(from, to)?;

    for contract in contracts()? {
        let beside = |part: &Path| columns_beside(&Place::File(part.to_path_buf()), &contract.name);
        if let (Some(Place::File(from)), Some(Place::File(to))) = (beside(from), beside(to))
            && from.exists()
        {
            link(&from, &to)?;
        }
    }

    Ok(())
}

/// What writes the columns that `contract` adds to `part`, beside it: one row group for each of the
/// part's batches.
///
/// # Errors
/// If the file cannot be created.
pub fn columns_writer(part: &Path, contract: &Contract) -> Result<PartWriter> {
    match columns_beside(&Place::File(part.to_path_buf()), &contract.name) {
        Some(Place::File(place)) => PartWriter::create(&place, &contract.added()),
        _ => Err(Error::data(format!("`{}` is no part", part.display()))),
    }
}

/// Batches of one part, one row group each, with all columns or only those named, and with the
/// part's [`changes`] made. A row group of which all rows are gone is no batch.
pub struct Batches {
    pieces: Vec<Piece>,
    /// What is read of each piece.
    columns: Vec<Option<Vec<String>>>,
    changes: Changes,
    groups: Vec<Group>,
    next: usize,
}

/// A row group of which rows are left.
struct Group {
    /// Its number in the file.
    number: usize,
    /// Number of its first row in the file.
    first_row: u64,
    /// Rows that are left.
    rows: u64,
}

impl Batches {
    /// Reads `columns` (all where `None`) of a Parquet file, checking the contract where one is
    /// given.
    ///
    /// # Errors
    /// If the file cannot be read or breaks the contract.
    pub fn open(
        path: &Path,
        contract: Option<&Contract>,
        columns: Option<&[&str]>,
    ) -> Result<Self> {
        Self::at(&Place::File(path.to_path_buf()), contract, columns)
    }

    /// As [`Batches::open`], of a file that may lie elsewhere than on disk.
    ///
    /// # Errors
    /// If the file cannot be read or breaks the contract.
    pub fn at(
        place: &Place,
        contract: Option<&Contract>,
        columns: Option<&[&str]>,
    ) -> Result<Self> {
        let pieces = Piece::open(place, contract)?;
        let changes = match place {
            Place::File(path) => changes::read(path)?,
            Place::Object(_) => Changes::default(),
        };
        let (mut groups, mut first_row) = (Vec::new(), 0);

        for (number, group) in pieces[0].metadata.metadata().row_groups().iter().enumerate() {
            let end = first_row + group.num_rows() as u64;
            let rows =
                (end - first_row).saturating_sub(changes::n_gone(changes.range(first_row..end)));
            if rows > 0 {
                groups.push(Group { number, first_row, rows });
            }
            first_row = end;
        }

        for beside in &pieces[1..] {
            let rows =
                beside.metadata.metadata().row_groups().iter().map(|group| group.num_rows() as u64);
            if !rows.eq(groups.iter().map(|group| group.rows)) {
                return Err(Error::data(format!(
                    "`{}` does not fit the part beside it",
                    beside.place
                ))
                .hint("delete the folder it is in and run again"));
            }
        }

        let columns: Option<Vec<String>> =
            columns.map(|columns| columns.iter().map(|column| (*column).to_string()).collect());
        let columns = pieces.iter().map(|piece| piece.projected(columns.as_deref())).collect();
        Ok(Batches { pieces, columns, changes, groups, next: 0 })
    }

    /// Leaves out the next `n` batches without reading them.
    pub fn skip_batches(&mut self, n: usize) {
        self.next += n;
    }

    /// How many rows each batch has.
    pub fn rows(&self) -> Vec<u64> {
        self.groups.iter().map(|group| group.rows).collect()
    }

    /// Reads batch number `idx`, whatever was read or left out before.
    ///
    /// # Errors
    /// If there is none or it cannot be read.
    pub fn read(&self, idx: usize) -> Result<RecordBatch> {
        let group = self.groups.get(idx).ok_or_else(|| {
            Error::data(format!("`{}` has no batch {idx}", self.pieces[0].place))
                .hint("delete it and build again")
        })?;
        let (mut fields, mut columns) = (Vec::new(), Vec::new());

        for (nth, (piece, wanted)) in self.pieces.iter().zip(&self.columns).enumerate() {
            if wanted.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let batch = match nth {
                0 => changes::apply(
                    &self.changes,
                    piece.read(group.number, wanted.as_deref())?,
                    group.first_row,
                )?,
                _ => piece.read(idx, wanted.as_deref())?,
            };

            fields.extend(batch.schema().fields().iter().cloned());
            columns.extend(batch.columns().iter().cloned());
        }

        let rows = RecordBatchOptions::new().with_row_count(Some(group.rows as usize));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let idx = self.next;
        self.next += 1;
        (idx < self.groups.len()).then(|| self.read(idx))
    }
}

/// Properties shared by every file we write: its compression, our name, the contract in the footer.
pub fn writer_properties(contract: &Contract, compression: Compression) -> WriterPropertiesBuilder {
    let pair = |key: &str, value: &str| KeyValue::new(key.to_string(), value.to_string());
    WriterProperties::builder()
        .set_compression(compression)
        .set_created_by(concat!("kpipe ", env!("CARGO_PKG_VERSION")).to_string())
        .set_key_value_metadata(Some(vec![
            pair(CONTRACT_KEY, &contract.name),
            pair(CONTRACT_HASH_KEY, &contract.hash),
        ]))
}

/// A batch as it will stand in a file: encoded and compressed.
pub struct RowGroup {
    rows: u64,
    columns: Vec<ArrowColumnChunk>,
}

impl RowGroup {
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Makes row groups for one file, on any thread.
#[derive(Clone)]
pub struct Encoder {
    contract: Arc<Contract>,
    groups: Arc<ArrowRowGroupWriterFactory>,
}

impl Encoder {
    /// Encodes one batch as one row group, after checking it against the contract.
    ///
    /// # Errors
    /// If the batch breaks the contract or cannot be encoded.
    pub fn encode(&self, batch: &RecordBatch) -> Result<RowGroup> {
        self.contract.check(batch)?;
        let failed = |cause| {
            Error::data(format!("a batch of `{}` cannot be encoded: {cause}", self.contract.name))
        };
        // The number of the group matters to encrypted files only.
        let mut writers = self.groups.create_column_writers(0).map_err(failed)?.into_iter();
        let mut columns = Vec::with_capacity(batch.num_columns());

        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, column).map_err(failed)? {
                let mut writer = writers.next().ok_or_else(|| {
                    Error::data(format!(
                        "a batch has more columns than the contract `{}`",
                        self.contract.name
                    ))
                })?;
                writer.write(&leaf).map_err(failed)?;
                columns.push(writer.close().map_err(failed)?);
            }
        }

        Ok(RowGroup { rows: batch.num_rows() as u64, columns })
    }
}

/// Writes one Parquet file: beside its place first, renamed into it by [`PartWriter::finish`].
pub struct PartWriter {
    writer: SerializedFileWriter<BufWriter<File>>,
    encoder: Encoder,
    place: PathBuf,
    beside: PathBuf,
    rows: u64,
}

impl PartWriter {
    /// Begins an intermediate part: no statistics, and LZ4, which takes a third of the time of
    /// zstd's first level and about two fifths more space.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(place: &Path, contract: &Contract) -> Result<Self> {
        let properties = writer_properties(contract, Compression::LZ4_RAW)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_dictionary_enabled(false)
            .build();
        Self::with_properties(place, contract, contract.schema.clone(), properties)
    }

    /// Begins a file with properties of its own; `schema` may carry more metadata than the
    /// contract's.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn with_properties(
        place: &Path,
        contract: &Contract,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self> {
        let beside = beside(place);
        let file = File::create(&beside).map_err(|cause| Error::file("create", &beside, cause))?;
        let writer = ArrowWriter::try_new(BufWriter::new(file), schema, Some(properties))
            .and_then(ArrowWriter::into_serialized_writer);
        let (writer, groups) = writer.map_err(|cause| Error::file("write", &beside, cause))?;
        let encoder = Encoder { contract: Arc::new(contract.clone()), groups: Arc::new(groups) };
        Ok(PartWriter { writer, encoder, place: place.to_path_buf(), beside, rows: 0 })
    }

    /// What encodes batches for this file, so that several can be encoded at once and then be
    /// appended in order.
    pub fn encoder(&self) -> Encoder {
        self.encoder.clone()
    }

    /// Writes one batch as one row group, after checking it against the contract.
    ///
    /// # Errors
    /// If the batch breaks the contract or the file cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let group = self.encoder.encode(batch)?;
        self.append(group)
    }

    /// Makes and encodes a batch of each chunk on all threads, a few at a time, and writes them in
    /// order while the next are made.
    ///
    /// # Errors
    /// The first of `make`; or if a batch breaks the contract or the file cannot be written.
    pub fn write_in_order<T: Sync>(
        &mut self,
        chunks: &[T],
        make: impl Fn(&T) -> Result<RecordBatch> + Sync,
    ) -> Result<()> {
        let encoder = self.encoder();
        let encoded = |some: &[T]| -> Vec<Result<RowGroup>> {
            some.par_iter().map(|chunk| encoder.encode(&make(chunk)?)).collect()
        };
        let mut ready = Vec::new();

        for some in chunks.chunks(2 * rayon::current_num_threads()) {
            let (written, next) = rayon::join(|| self.append_all(ready), || encoded(some));
            written?;
            ready = next;
        }
        self.append_all(ready)
    }

    fn append_all(&mut self, groups: Vec<Result<RowGroup>>) -> Result<()> {
        groups.into_iter().try_for_each(|group| self.append(group?))
    }

    /// Writes a row group that this file's [`Encoder`] made. One without rows is left out.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&mut self, group: RowGroup) -> Result<()> {
        if group.rows == 0 {
            return Ok(());
        }
        let failed = |cause| Error::file("write", &self.beside, cause);
        let mut writer = self.writer.next_row_group().map_err(failed)?;

        for column in group.columns {
            column.append_to_row_group(&mut writer).map_err(failed)?;
        }
        writer.close().map_err(failed)?;
        self.rows += group.rows;
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Closes the file and renames it into its place.
    ///
    /// # Errors
    /// If the file cannot be written or renamed.
    pub fn finish(self) -> Result<Part> {
        let failed = |cause: &dyn std::fmt::Display| Error::file("write", &self.beside, cause);
        let mut file = self.writer.into_inner().map_err(|cause| failed(&cause))?;
        file.flush().map_err(|cause| failed(&cause))?;
        put_in_place(&self.place)?;
        Ok(Part { path: self.place, rows: self.rows })
    }
}

/// Writes a small file beside its place, syncs it and renames it.
///
/// # Errors
/// If the file cannot be written or renamed.
pub fn write_atomically(place: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(place);
    std::fs::write(&beside, bytes).map_err(|cause| Error::file("write", &beside, cause))?;
    put_in_place(place)
}

/// Writes a value as JSON with a trailing newline, beside and renamed.
///
/// # Errors
/// If the value cannot be written.
pub fn write_json<T: Serialize>(place: &Path, value: &T) -> Result<()> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|cause| Error::file("write", place, cause))?;
    text.push('\n');
    write_atomically(place, text.as_bytes())
}

/// Larger ones were not written by us, nor by Hugging Face's tools.
const MAX_JSON: u64 = 512 << 20;

/// Reads a JSON file; `None` where there is no such file.
///
/// # Errors
/// If the file exists but cannot be read or has another shape.
pub fn read_json<T: DeserializeOwned>(place: &Path) -> Result<Option<T>> {
    // A pipe would be waited for, and a device has no end.
    if std::fs::metadata(place).is_ok_and(|facts| !facts.is_file() || facts.len() > MAX_JSON) {
        return Err(Error::data(format!(
            "`{}` is no file, or too large to be what it should",
            place.display()
        ))
        .hint("give the file that is meant"));
    }

    let text = match std::fs::read_to_string(place) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::file("read", place, cause)),
    };
    serde_json::from_str(&text).map(Some).map_err(|cause| {
        let kind = if is_working(place) { Kind::Io } else { Kind::Data };
        Error::new(kind, format!("`{}` is damaged: {cause}", place.display()))
            .hint("delete it and run again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::contract::contract;
    use arrow::array::{Float32Array, Int32Array, StringArray, UInt16Array, UInt64Array};

    fn duplicates(n: usize) -> RecordBatch {
        let ids: Vec<String> = (0..n).map(|i| format!("a:{i}")).collect();
        let strings =
            |text: &str| Arc::new(StringArray::from(vec![text; n])) as arrow::array::ArrayRef;
        let ones = || Arc::new(Float32Array::from(vec![1.0; n])) as arrow::array::ArrayRef;
        let columns = vec![
            Arc::new(StringArray::from(ids)) as arrow::array::ArrayRef,
            strings("a"),
            strings("b:1"),
            strings("b"),
            strings("exact"),
            ones(),
            ones(),
            Arc::new(UInt16Array::from(vec![14; n])),
            strings("text"),
        ];
        contract("duplicate").unwrap().batch(columns).unwrap()
    }

    #[test]
    fn a_part_is_read_back_batch_by_batch() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = contract("duplicate").unwrap();
        let place = folder.path().join("part-00000.parquet");
        let mut writer = PartWriter::create(&place, ledger).unwrap();
        writer.write(&duplicates(3)).unwrap();
        writer.write(&duplicates(2)).unwrap();
        assert!(!place.exists(), "nothing stands in its place before it is whole");
        writer.finish().unwrap();
        let dataset = Dataset::open(folder.path(), ledger).unwrap();
        assert_eq!(dataset.rows(), 5);
        let rows: Vec<usize> = Batches::open(&place, Some(ledger), Some(&["removed_id"]))
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .collect();

        assert_eq!(rows, [3, 2]);
    }

    /// A part of documents `a:0`, `a:1`, ... in batches of two.
    fn documents(folder: &Path, n: usize) -> PathBuf {
        let document = contract("document").unwrap();
        let place = folder.join("part-00000.parquet");
        let mut writer = PartWriter::create(&place, document).unwrap();

        for first in (0..n).step_by(2) {
            let rows = first..n.min(first + 2);
            let column = |field: &crate::flow::contract::Field| -> arrow::array::ArrayRef {
                let text = |row: usize| {
                    if field.name == "role" { "general".into() } else { format!("a:{row}") }
                };
                match field.data_type {
                    arrow::datatypes::DataType::UInt64 => {
                        Arc::new(UInt64Array::from(vec![7; rows.len()]))
                    }
                    arrow::datatypes::DataType::Int32 => {
                        Arc::new(Int32Array::from(vec![0; rows.len()]))
                    }
                    _ => Arc::new(StringArray::from_iter_values(rows.clone().map(text))),
                }
            };

            writer
                .write(&document.batch(document.fields.iter().map(column).collect()).unwrap())
                .unwrap();
        }

        writer.finish().unwrap();
        place
    }

    #[test]
    fn added_columns_are_read_with_the_part_they_stand_beside() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let part = documents(from.path(), 7);
        // Rows 2 and 3 are gone, and with them a whole row group; row 5 has another name.
        changes::write(&part, &[(2, None), (3, None), (5, Some("b:5".to_string()))].into())
            .unwrap();
        let linked = to.path().join("part-00000.parquet");
        link_part(&part, &linked).unwrap();
        let unique = contract("unique").unwrap();
        let column =
            |values: &[u64]| Arc::new(UInt64Array::from(values.to_vec())) as arrow::array::ArrayRef;
        let mut writer = columns_writer(&linked, unique).unwrap();

        for values in [&[10, 11][..], &[14, 15], &[16]] {
            writer.write(&unique.added().batch(vec![column(values)]).unwrap()).unwrap();
        }
        writer.finish().unwrap();

        let read = |contract, columns: Option<&[&str]>| -> Vec<RecordBatch> {
            Batches::open(&linked, contract, columns).unwrap().map(|batch| batch.unwrap()).collect()
        };
        assert_eq!(Dataset::open(to.path(), unique).unwrap().rows(), 5);

        for contract in [Some(unique), None] {
            let batches = read(contract, None);
            assert_eq!(batches[0].schema().fields().len(), unique.fields.len());
            let last =
                crate::flow::contract::strings(&batches[1], "id").unwrap().value(1).to_string();
            assert_eq!((batches.len(), last.as_str()), (3, "b:5"));
        }

        let narrow = read(Some(unique), Some(&["neighbourhood"]));
        assert_eq!(narrow.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(narrow[1].column(0).as_ref(), column(&[14, 15]).as_ref());
        let nothing = read(Some(unique), Some(&[]));
        assert_eq!(nothing.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(
            Batches::open(&part, Some(unique), None).is_err(),
            "the columns stand in the other folder"
        );

        let mut writer = columns_writer(&linked, unique).unwrap();
        writer.write(&unique.added().batch(vec![column(&[1, 2, 3])]).unwrap()).unwrap();
        writer.finish().unwrap();
        let error = Batches::open(&linked, Some(unique), None).err().unwrap().to_string();
        assert!(
            error.contains("does not fit") && error.contains("columns-00000-unique"),
            "{error}"
        );
    }

    #[test]
    fn another_contract_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("part-00000.parquet");
        let mut writer = PartWriter::create(&place, contract("duplicate").unwrap()).unwrap();
        writer.write(&duplicates(1)).unwrap();
        writer.finish().unwrap();
        let error =
            Dataset::open(folder.path(), contract("shard").unwrap()).unwrap_err().to_string();
        assert!(error.contains("`duplicate`") && error.contains("`shard`"), "{error}");
    }
}
