//! Parquet of any program: a row is a record, its columns are found by [`fields`].
//!
//! Strings, numbers, booleans, lists and structures come as they are; other types (dates, decimals) as text. A file
//! that is damaged gives the rows of its whole row groups. The offset of a record is its row number.

use std::fs::File;
use std::io::BufRead;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::ingest::lenient::loses_digits;
use crate::ingest::{Access, Broken, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, fields};

/// See the module.
#[derive(Debug)]
pub struct Parquet;

/// Rows that are decoded at once.
const ROWS: usize = 256;

impl Format for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn has_columns(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "Parquet with a column of text"
    }

    fn access(&self) -> Access {
        Access::File
    }

    fn split_file(&self, path: &Path, limits: &Limits, emit: Emit<'_>) -> Result<Option<Broken>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(cause) => return Ok(Some(Broken::new(0, "unreadable", cause.to_string()))),
        };
        let batches =
            ParquetRecordBatchReaderBuilder::try_new(file).and_then(|reader| reader.with_batch_size(ROWS).build());
        let batches = match batches {
            Ok(batches) => batches,
            Err(cause) => return Ok(Some(Broken::new(0, "wrong_format", cause.to_string()))),
        };
        let (facts, mut row) = (FileFacts::default(), 0);
        for batch in batches {
            let batch = match batch {
                Ok(batch) => batch,
                Err(cause) => return Ok(Some(Broken::new(row, "corrupt_stream", cause.to_string()))),
            };
            for idx in 0..batch.num_rows() {
                if !emit(&facts, to_piece(&batch, idx, row, limits.max_record_bytes))? {
                    return Ok(None);
                }
                row += 1;
            }
        }
        Ok(None)
    }

    /// Parquet cannot be read as a stream: its table of contents stands at the end.
    fn split(&self, _: &mut dyn BufRead, _: &Limits, _: Emit<'_>) -> Result<Option<Broken>> {
        Ok(Some(Broken::new(0, "wrong_format", "Parquet is read from a file, not from a stream")))
    }

    fn parse(&self, raw: &Raw, _: &FileFacts, source: &SourceSpec) -> Vec<Parsed> {
        vec![match serde_json::from_slice::<Map<String, Value>>(&raw.bytes) {
            Ok(object) => fields::to_document(object, source),
            Err(cause) => Parsed::Refused { reason: "malformed", id: None, detail: cause.to_string() },
        }]
    }
}

/// A row as a JSON object.
fn to_piece(batch: &RecordBatch, idx: usize, row: u64, max: usize) -> Piece {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let object: Map<String, Value> = names.zip(batch.columns().iter().map(|column| to_value(column, idx))).collect();
    match serde_json::to_vec(&object) {
        Ok(bytes) if bytes.len() <= max => Piece::Record(Raw { offset: row, bytes }),
        Ok(mut bytes) => {
            bytes.truncate(crate::flow::books::KEPT_BYTES);
            Piece::Refused(Broken { bytes, ..Broken::new(row, "too_large", format!("more than {max} bytes")) })
        }
        Err(cause) => Piece::Refused(Broken::new(row, "malformed", cause.to_string())),
    }
}

fn to_value(column: &dyn Array, idx: usize) -> Value {
    if column.is_null(idx) {
        return Value::Null;
    }
    let list = |values: &dyn Array| Value::Array((0..values.len()).map(|idx| to_value(values, idx)).collect());
    // Old writers store text as bytes; what is no text stands in hexadecimal digits.
    let bytes = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_string()),
        Err(_) => Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    match column.data_type() {
        DataType::Utf8 => Value::String(column.as_string::<i32>().value(idx).to_string()),
        DataType::LargeUtf8 => Value::String(column.as_string::<i64>().value(idx).to_string()),
        DataType::Utf8View => Value::String(column.as_string_view().value(idx).to_string()),
        DataType::Binary => bytes(column.as_binary::<i32>().value(idx)),
        DataType::LargeBinary => bytes(column.as_binary::<i64>().value(idx)),
        DataType::BinaryView => bytes(column.as_binary_view().value(idx)),
        DataType::Boolean => Value::Bool(column.as_boolean().value(idx)),
        DataType::List(_) => list(&column.as_list::<i32>().value(idx)),
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(idx)),
        DataType::FixedSizeList(_, _) => list(&column.as_fixed_size_list().value(idx)),
        DataType::Map(_, _) => {
            let entries = column.as_map().value(idx);
            let (keys, values) = (entries.column(0), entries.column(1));
            let name = |row: usize| match to_value(keys, row) {
                Value::String(name) => name,
                other => other.to_string(),
            };
            (0..entries.len()).map(|row| (name(row), to_value(values, row))).collect()
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), to_value(column, idx))).collect()
        }
        other => {
            let text = ArrayFormatter::try_new(column, &FormatOptions::default())
                .map(|as_text| as_text.value(idx).to_string());
            let text = text.unwrap_or_default();
            // A decimal may have more digits than a number of JSON gives back.
            match serde_json::from_str::<Value>(&text) {
                Ok(number) if other.is_numeric() && !loses_digits(&text) => number,
                Err(_) if other.is_floating() => Value::Null,
                _ => Value::String(text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::arrow::ArrowWriter;
    use arrow::array::{ArrayRef, Int64Array, LargeStringArray, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Field, Int32Type};
    use std::sync::Arc;

    fn write(path: &Path) {
        let meta: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("pmid", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![Some(7), None, Some(9)])) as ArrayRef,
        )]));
        let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), Some(2)]), None, None]);
        let batch = RecordBatch::try_from_iter([
            ("meta", meta),
            ("body", Arc::new(LargeStringArray::from(vec![Some("one"), None, Some("three")])) as ArrayRef),
            ("title", Arc::new(StringArray::from(vec!["A", "B", "C"])) as ArrayRef),
            ("numbers", Arc::new(numbers) as ArrayRef),
        ])
        .unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn read(path: &Path, max_record_bytes: usize) -> (Vec<Piece>, Option<Broken>) {
        let mut pieces = Vec::new();
        let broken = Parquet
            .split_file(path, &Limits { max_record_bytes }, &mut |_, piece| {
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
        assert_eq!((first.id.as_deref(), first.text.as_str(), first.title.as_deref()), (Some("7"), "one", Some("A")));
        assert_eq!(first.metadata.as_deref(), Some(r#"{"numbers":[1,2]}"#));
        let Parsed::Document(second) = &parsed[1] else { panic!() };
        assert_eq!((second.id.as_deref(), second.text.as_str()), (None, ""));
        assert!(matches!(&pieces[2], Piece::Record(raw) if raw.offset == 2));
        assert!(matches!(&read(file.path(), 5).0[0], Piece::Refused(refused) if refused.reason == "too_large"));
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
