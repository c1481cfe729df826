//! Parquet of any program: a row is a record, its columns are found by [`fields`].
//!
//! Strings, numbers, booleans, lists and structures come as they are; other types (dates, decimals)
//! as text. A file that is damaged gives the rows of its whole row groups. The offset of a record
//! is its row number.
//!
//! A few bytes of Parquet may stand for gigabytes, in one row or in many. So the footer is asked
//! first: a file whose rows would be larger than the bounds of all formats allow is a `bomb`, a row
//! group whose rows or pages do not fit into memory is `too_large`, and as many rows are decoded at
//! once as fit.

use std::io::BufRead;
use std::path::Path;

use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::Type;
use ::parquet::column::page::{Page, PageReader};
use ::parquet::errors::Result as PageResult;
use ::parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use ::parquet::file::serialized_reader::SerializedPageReader;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::files::decompress::FREE_BYTES;
use crate::flow::place::{caught, decoded_bytes};
use crate::flow::watched::{Failure, Watched, unreadable};
use crate::ingest::lenient::loses_digits;
use crate::ingest::{
    Access, Broken, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, fields,
};

/// See the module.
#[derive(Debug)]
pub struct Parquet;

/// Most rows that are decoded at once.
const ROWS: usize = 256;

impl Format for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn has_columns(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "a table, one document a row"
    }

    fn recognises(&self, head: &[u8]) -> Option<usize> {
        head.starts_with(b"PAR1").then_some(0)
    }

    fn endings(&self) -> &'static [&'static str] {
        &[".parquet"]
    }

    fn access(&self) -> Access {
        Access::File
    }

    fn split_file(&self, path: &Path, limits: &Limits, emit: Emit<'_>) -> Result<Option<Broken>> {
        let failure = Failure::default();
        let file = Watched::open(path, &failure).map_err(|cause| unreadable(path, &cause))?;
        let broken = rows(&file, limits, emit);
        // What the crate takes for damage may be a disk that fails.
        failure.check(path)?;
        broken
    }

    /// Parquet cannot be read as a stream: its table of contents stands at the end.
    fn split(&self, _: &mut dyn BufRead, _: &Limits, _: Emit<'_>) -> Result<Option<Broken>> {
        Ok(Some(Broken::new(0, "wrong_format", "Parquet is read from a file, not from a stream")))
    }

    fn parse(&self, raw: &Raw, _: &FileFacts, source: &SourceSpec) -> Vec<Parsed> {
        vec![match serde_json::from_slice::<Map<String, Value>>(&raw.bytes) {
            Ok(object) => fields::to_document(object, source),
            Err(cause) => {
                Parsed::Refused { reason: "malformed", id: None, detail: cause.to_string() }
            }
        }]
    }
}

/// Hands over the rows of all row groups; what is left over where the file breaks.
fn rows(file: &Watched, limits: &Limits, emit: Emit<'_>) -> Result<Option<Broken>> {
    let size = file.size().unwrap_or(0);
    let whole = |reason, detail| Broken { n_bytes: size, ..Broken::new(0, reason, detail) };
    let metadata = match caught(|| ArrowReaderMetadata::load(file, ArrowReaderOptions::new())) {
        Ok(metadata) => metadata,
        Err(cause) => return Ok(Some(whole("wrong_format", cause.to_string()))),
    };
    let groups = metadata.metadata().row_groups();
    let sizes: Vec<u64> = groups.iter().map(|group| group_bytes(file, group)).collect();
    let unpacked = sizes.iter().copied().fold(0, u64::saturating_add);
    let allowed =
        limits.max_unpacked_bytes.min(size.saturating_mul(limits.max_ratio).max(FREE_BYTES));

    if unpacked > allowed {
        let detail = format!(
            "the rows of the file take {unpacked} bytes; where they are meant to, raise \
             `ingest.max_ratio` or \
             `ingest.max_unpacked_bytes`"
        );
        return Ok(Some(Broken { n_bytes: unpacked, ..Broken::new(0, "bomb", detail) }));
    }

    let (facts, mut row, mut lost) = (FileFacts::default(), 0, unpacked);
    for (number, (group, bytes)) in groups.iter().zip(sizes).enumerate() {
        let n_rows = u64::try_from(group.num_rows()).unwrap_or(0);
        let at_once = match rows_at_once(file, group, bytes, limits) {
            Ok(at_once) => at_once,
            Err(detail) => {
                let broken = Broken { n_bytes: bytes, ..Broken::new(row, "too_large", detail) };
                if !emit(&facts, Piece::Refused(broken))? {
                    return Ok(None);
                }
                row += n_rows;
                continue;
            }
        };

        let mut left = n_rows;
        let mut batches = match caught(|| open_group(file, &metadata, number, at_once)) {
            Ok(batches) => batches,
            Err(cause) => return Ok(Some(cut(row, lost, &cause))),
        };

        loop {
            let batch = match caught(|| Ok(batches.next().transpose()?)) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(cause) => return Ok(Some(cut(row, lost, &cause))),
            };
            for idx in 0..batch.num_rows() {
                if !emit(&facts, to_piece(&batch, idx, row, limits.max_record_bytes))? {
                    return Ok(None);
                }
                row += 1;
            }
            left = left.saturating_sub(batch.num_rows() as u64);
        }

        if left > 0 {
            let detail = format!("row group {number} ends {left} rows early");
            return Ok(Some(Broken {
                n_bytes: lost,
                ..Broken::new(row, "corrupt_stream", detail)
            }));
        }

        lost = lost.saturating_sub(bytes);
    }

    Ok(None)
}

fn cut(row: u64, lost: u64, cause: &::parquet::errors::ParquetError) -> Broken {
    Broken { n_bytes: lost, ..Broken::new(row, "corrupt_stream", cause.to_string()) }
}

fn open_group(
    file: &Watched,
    metadata: &ArrowReaderMetadata,
    number: usize,
    at_once: usize,
) -> PageResult<ParquetRecordBatchReader> {
    ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone())
        .with_row_groups(vec![number])
        .with_batch_size(at_once)
        .build()
}

/// How many rows of a group are decoded at once, so that they and the pages they stand in fit into
/// memory; the error says why not even one does.
fn rows_at_once(
    file: &Watched,
    group: &RowGroupMetaData,
    bytes: u64,
    limits: &Limits,
) -> std::result::Result<usize, String> {
    let budget = (limits.memory_bytes / 8).max(limits.max_record_bytes as u64);
    let of_row = bytes / u64::try_from(group.num_rows()).unwrap_or(0).max(1);

    if of_row > budget {
        return Err(format!(
            "the rows of a row group have {of_row} bytes on average, and {budget} may be in memory"
        ));
    }

    for column in group.columns() {
        let unpacked = u64::try_from(column.uncompressed_size()).unwrap_or(0);
        if unpacked > budget {
            let n_pages =
                caught(|| count_pages(file, column, group.num_rows())).unwrap_or(1).max(1);
            if unpacked / n_pages > budget {
                let of_page = unpacked / n_pages;
                return Err(format!(
                    "the pages of a column have {of_page} bytes, and {budget} may be in memory"
                ));
            }
        }
    }

    Ok(usize::try_from(budget / of_row.max(1)).unwrap_or(ROWS).clamp(1, ROWS))
}

/// About how many bytes the rows of a group take in memory. Strings of a dictionary stand in the
/// file once, however often they are meant: where the footer does not say how long all are, their
/// mean length counts.
fn group_bytes(file: &Watched, group: &RowGroupMetaData) -> u64 {
    let of_dictionary = |column: &ColumnChunkMetaData| {
        let n_values = u64::try_from(column.num_values()).unwrap_or(0);
        let is_counted = column.unencoded_byte_array_data_bytes().is_some();

        if column.column_descr().physical_type() != Type::BYTE_ARRAY || is_counted {
            return 0;
        }
        // What is damaged shows when the rows are read.
        let dictionary = caught(|| dictionary(file, column, group.num_rows())).ok().flatten();
        dictionary
            .map_or(0, |(bytes, n_entries)| (bytes / n_entries.max(1)).saturating_mul(n_values))
    };
    group.columns().iter().map(of_dictionary).fold(decoded_bytes(group), u64::saturating_add)
}

/// Bytes of a column's dictionary and its entries, where it has one that is no bomb itself.
fn dictionary(
    file: &Watched,
    column: &ColumnChunkMetaData,
    n_rows: i64,
) -> PageResult<Option<(u64, u64)>> {
    if column.uncompressed_size() > MAX_DICTIONARY_BYTES {
        return Ok(None);
    }
    let mut pages = pages_of(file, column, n_rows)?;
    if !pages.peek_next_page()?.is_some_and(|page| page.is_dict) {
        return Ok(None);
    }
    Ok(match pages.get_next_page()? {
        Some(Page::DictionaryPage { buf, num_values, .. }) => {
            Some((buf.len() as u64, u64::from(num_values)))
        }
        _ => None,
    })
}

/// Columns with more than this are not as small in the file as the dictionary alone.
const MAX_DICTIONARY_BYTES: i64 = 64 << 20;

fn pages_of(
    file: &Watched,
    column: &ColumnChunkMetaData,
    n_rows: i64,
) -> PageResult<SerializedPageReader<Watched>> {
    let n_rows = usize::try_from(n_rows).unwrap_or(0);
    SerializedPageReader::new(std::sync::Arc::new(file.clone()), column, n_rows, None)
}

/// Pages of a column, by their headers.
fn count_pages(file: &Watched, column: &ColumnChunkMetaData, n_rows: i64) -> PageResult<u64> {
    let mut pages = pages_of(file, column, n_rows)?;
    let mut n_pages = 0;
    while pages.peek_next_page()?.is_some() {
        pages.skip_next_page()?;
        n_pages += 1;
    }
    Ok(n_pages)
}

/// A row as a JSON object, which is not built further than it may be long.
fn to_piece(batch: &RecordBatch, idx: usize, row: u64, max: usize) -> Piece {
    let mut object = Json { bytes: Vec::new(), max };
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| field.name().as_str());

    match object.object(fields.zip(batch.columns().iter().map(|column| &**column)), idx) {
        Some(()) => Piece::Record(Raw { offset: row, bytes: object.bytes }),
        None => {
            // The rest of the row was not looked at: its arrays tell how much it is.
            let of_row = |column: &arrow::array::ArrayRef| {
                column.slice(idx, 1).to_data().get_slice_memory_size().ok()
            };
            let n_bytes = batch.columns().iter().filter_map(of_row);
            let mut bytes = object.bytes;
            bytes.truncate(crate::flow::books::KEPT_BYTES);
            Piece::Refused(Broken {
                bytes,
                n_bytes: n_bytes.sum::<usize>().max(max) as u64,
                ..Broken::new(row, "too_large", format!("more than {max} bytes"))
            })
        }
    }
}

/// JSON being written, up to a length.
struct Json {
    bytes: Vec<u8>,
    max: usize,
}

impl Json {
    /// Appends; `None` where it would be too long.
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.extend_from_slice(
            &bytes[..bytes.len().min(self.max.saturating_sub(self.bytes.len()) + 1)],
        );
        (self.bytes.len() <= self.max).then_some(())
    }

    fn scalar(&mut self, value: &Value) -> Option<()> {
        self.push(value.to_string().as_bytes())
    }

    fn string(&mut self, text: &str) -> Option<()> {
        // Escaped it is not shorter, and what is too long need not be escaped.
        if text.len() > self.max {
            return self.push(text.as_bytes());
        }
        self.scalar(&Value::String(text.to_string()))
    }

    /// Old writers store text as bytes; what is no text stands in hexadecimal digits.
    fn text_or_hex(&mut self, bytes: &[u8]) -> Option<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.string(text),
            Err(_) if bytes.len() > self.max => self.push(bytes),
            Err(_) => {
                self.string(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
        }
    }

    fn list(&mut self, values: &dyn Array) -> Option<()> {
        self.push(b"[")?;
        for idx in 0..values.len() {
            if idx > 0 {
                self.push(b",")?;
            }
            self.value(values, idx)?;
        }
        self.push(b"]")
    }

    fn object<'a>(
        &mut self,
        columns: impl Iterator<Item = (&'a str, &'a dyn Array)>,
        idx: usize,
    ) -> Option<()> {
        self.push(b"{")?;
        for (place, (name, column)) in columns.enumerate() {
            if place > 0 {
                self.push(b",")?;
            }
            self.string(name)?;
            self.push(b":")?;
            self.value(column, idx)?;
        }
        self.push(b"}")
    }

    fn value(&mut self, column: &dyn Array, idx: usize) -> Option<()> {
        if column.is_null(idx) {
            return self.push(b"null");
        }
        match column.data_type() {
            DataType::Utf8 => self.string(column.as_string::<i32>().value(idx)),
            DataType::LargeUtf8 => self.string(column.as_string::<i64>().value(idx)),
            DataType::Utf8View => self.string(column.as_string_view().value(idx)),
            DataType::Binary => self.text_or_hex(column.as_binary::<i32>().value(idx)),
            DataType::LargeBinary => self.text_or_hex(column.as_binary::<i64>().value(idx)),
            DataType::BinaryView => self.text_or_hex(column.as_binary_view().value(idx)),
            DataType::Boolean => self.scalar(&Value::Bool(column.as_boolean().value(idx))),
            DataType::List(_) => self.list(&column.as_list::<i32>().value(idx)),
            DataType::LargeList(_) => self.list(&column.as_list::<i64>().value(idx)),
            DataType::FixedSizeList(_, _) => self.list(&column.as_fixed_size_list().value(idx)),
            DataType::Map(_, _) => {
                let entries = column.as_map().value(idx);
                let (keys, values) = (entries.column(0), entries.column(1));
                self.push(b"{")?;

                for row in 0..entries.len() {
                    if row > 0 {
                        self.push(b",")?;
                    }
                    let mut key = Json { bytes: Vec::new(), max: self.max };
                    key.value(keys, row)?;
                    let is_text = key.bytes.starts_with(b"\"");

                    if is_text {
                        self.push(&key.bytes)?
                    } else {
                        self.string(&String::from_utf8_lossy(&key.bytes))?
                    };

                    self.push(b":")?;
                    self.value(values, row)?;
                }

                self.push(b"}")
            }

            DataType::Struct(fields) => {
                let columns = column.as_struct().columns().iter().map(|column| &**column);
                self.object(fields.iter().map(|field| field.name().as_str()).zip(columns), idx)
            }
            other => {
                let text = ArrayFormatter::try_new(column, &FormatOptions::default())
                    .map(|as_text| as_text.value(idx).to_string());
                let text = text.unwrap_or_default();
                // A decimal may have more digits than a number of JSON gives back.
                match serde_json::from_str::<Value>(&text) {
                    Ok(number) if other.is_numeric() && !loses_digits(&text) => {
                        self.scalar(&number)
                    }
                    Err(_) if other.is_floating() => self.push(b"null"),
                    _ => self.string(&text),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::arrow::ArrowWriter;
    use arrow::array::{
        ArrayRef, Int64Array, LargeStringArray, ListArray, StringArray, StructArray,
    };
    use arrow::datatypes::{Field, Int32Type};
    use std::sync::Arc;

    fn write(path: &Path) {
        let meta: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("pmid", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![Some(7), None, Some(9)])) as ArrayRef,
        )]));
        let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), Some(2)]),
            None,
            None,
        ]);
        let batch = RecordBatch::try_from_iter([
            ("meta", meta),
            (
                "body",
                Arc::new(LargeStringArray::from(vec![Some("one"), None, Some("three")]))
                    as ArrayRef,
            ),
            ("title", Arc::new(StringArray::from(vec!["A", "B", "C"])) as ArrayRef),
            ("numbers", Arc::new(numbers) as ArrayRef),
        ])
        .unwrap();

        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None)
                .unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn read(path: &Path, max_record_bytes: usize) -> (Vec<Piece>, Option<Broken>) {
        let mut pieces = Vec::new();
        let broken = Parquet
            .split_file(path, &Limits::of_records(max_record_bytes), &mut |_, piece| {
                pieces.push(piece);
                Ok(true)
            })
            .unwrap();
        (pieces, broken)
    }

    #[test]
    fn rows_are_records() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path());
        let (pieces, broken) = read(file.path(), 1000);
        assert!(broken.is_none());
        let source = fields::source(&[("id", "meta.pmid")]);
        let parsed: Vec<Parsed> = pieces
            .iter()
            .map(|piece| {
                let Piece::Record(raw) = piece else { panic!() };
                Parquet.parse(raw, &FileFacts::default(), &source).remove(0)
            })
            .collect();

        let Parsed::Document(first) = &parsed[0] else { panic!() };
        assert_eq!(
            (first.id.as_deref(), first.text.as_str(), first.title.as_deref()),
            (Some("7"), "one", Some("A"))
        );
        assert_eq!(first.metadata.as_deref(), Some(r#"{"numbers":[1,2]}"#));
        let Parsed::Document(second) = &parsed[1] else { panic!() };
        assert_eq!((second.id.as_deref(), second.text.as_str()), (None, ""));
        assert!(matches!(&pieces[2], Piece::Record(raw) if raw.offset == 2));
        assert!(matches!(&read(file.path(), 5).0[0],
                Piece::Refused(refused) if refused.reason == "too_large"));
    }

    /// A file of `n_rows` rows, each with a list of `length` zeros: a few hundred bytes.
    fn write_zeros(path: &Path, n_rows: usize, length: usize) {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
            (0..n_rows).map(|_| Some(std::iter::repeat_n(Some(0), length))),
        );
        let batch = RecordBatch::try_from_iter([("zeros", Arc::new(lists) as ArrayRef)]).unwrap();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None)
                .unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn bombs_are_not_unpacked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_zeros(file.path(), 1, 20_000_000);
        assert!(file.path().metadata().unwrap().len() < 10_000);
        let (pieces, broken) = read(file.path(), 1 << 20);
        let broken = broken.unwrap();
        assert_eq!((pieces.len(), broken.reason), (0, "bomb"));
        assert!(broken.n_bytes > 100_000_000, "{broken:?}");
    }

    #[test]
    fn rows_and_row_groups_above_the_limit_are_refused_and_the_others_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_zeros(file.path(), 3, 100_000);
        let (pieces, broken) = read(file.path(), 50_000);
        assert!(broken.is_none() && pieces.len() == 3);

        for piece in &pieces {
            let Piece::Refused(refused) = piece else { panic!("{piece:?}") };
            assert!(refused.reason == "too_large" && refused.n_bytes > 100_000, "{refused:?}");
        }

        let limits = Limits { memory_bytes: 1 << 20, ..Limits::of_records(1_000) };
        let mut reasons = Vec::new();
        let emit = &mut |_: &FileFacts, piece: Piece| {
            let Piece::Refused(refused) = piece else { panic!("{piece:?}") };
            reasons.push((refused.reason, refused.detail));
            Ok(true)
        };
        assert!(Parquet.split_file(file.path(), &limits, emit).unwrap().is_none());
        assert!(reasons.len() == 1 && reasons[0].1.contains("bytes on average"), "{reasons:?}");
    }

    #[test]
    fn damaged_files_are_one_refusal() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path());
        let bytes = std::fs::read(file.path()).unwrap();
        for end in [0, 3, 20, bytes.len() - 1] {
            std::fs::write(file.path(), &bytes[..end]).unwrap();
            assert_eq!(read(file.path(), 1000).1.unwrap().reason, "wrong_format", "cut at {end}");
        }
    }
}
