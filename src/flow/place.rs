//! Where a Parquet file lies, on disk or in an object store, and the reading of it from there.
//!
//! A file on disk is read as the reader asks for it. Of an object, the bytes of a row group's
//! columns are fetched first, because each of a reader's many small questions would be a request of
//! its own.

use std::fmt;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Kind, Result};
use crate::flow::disk::is_working;
use crate::flow::foreign;
use crate::flow::objects::Object;
use crate::flow::watched::{Failure, Watched, unreadable};

/// How much of the end of an object is fetched at first: a footer is seldom longer.
const FOOTER_BYTES: u64 = 64 << 10;

/// Where a file lies.
#[derive(Clone, Debug)]
pub enum Place {
    /// On disk.
    File(PathBuf),
    /// In an object store.
    Object(Object),
}

impl Place {
    /// The name of the file, without the folder it is in.
    pub fn name(&self) -> &str {
        match self {
            Place::File(path) => {
                path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
            }
            Place::Object(object) => object.name(),
        }
    }

    /// What a Parquet file says about itself at its end.
    ///
    /// # Errors
    /// If it cannot be read, or is no Parquet file.
    pub fn metadata(&self) -> Result<ArrowReaderMetadata> {
        let read = match self {
            Place::File(path) => {
                let (file, failure) = open(path)?;
                let read = caught(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()));
                failure.check(path)?;
                read
            }
            Place::Object(object) => footer(object)?,
        };
        read.map_err(|cause| {
            self.damaged(format!("`{self}` is not a readable Parquet file: {cause}"))
                .hint("delete it and build again; kpipe writes it anew")
        })
    }

    /// Reads the columns of `mask` of row group number `group` as one batch.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or has no rows.
    pub fn row_group(
        &self,
        metadata: &ArrowReaderMetadata,
        group: usize,
        mask: ProjectionMask,
    ) -> Result<RecordBatch> {
        let size = decoded_bytes(metadata.metadata().row_group(group));
        if size > MAX_GROUP_BYTES {
            return Err(Error::data(format!(
                "`{self}` cannot be read: its rows would take {size} bytes"
            ))
            .at(format!("row group {group}"))
            .hint("kpipe writes no such file: build again"));
        }

        let batch = match self {
            Place::File(path) => {
                let (file, failure) = open(path)?;
                let batch = decode(file, metadata, group, mask);
                failure.check(path)?;
                batch
            }
            Place::Object(object) => {
                decode(fetch(object, metadata, group, &mask)?, metadata, group, mask)
            }
        };

        batch.map_err(|cause| {
            self.damaged(format!("`{self}` cannot be read: {cause}"))
                .at(format!("row group {group}"))
                .hint("the file was damaged after it was written: delete it and build again")
        })
    }
}

impl Place {
    /// Damage of this file: trouble with the disk where only we read it, else with somebody's data.
    fn damaged(&self, what: String) -> Error {
        let kind = match self {
            Place::File(path) if is_working(path) => Kind::Io,
            _ => Kind::Data,
        };
        Error::new(kind, what)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => path.display().fmt(f),
            Place::Object(object) => object.fmt(f),
        }
    }
}

fn open(path: &std::path::Path) -> Result<(Watched, Failure)> {
    let failure = Failure::default();
    let file = Watched::open(path, &failure).map_err(|cause| unreadable(path, &cause))?;
    Ok((file, failure))
}

/// Rows of one group that take more are not ours: a batch is closed at about 1 MiB, and a row has
/// at most 1 GiB.
const MAX_GROUP_BYTES: u64 = 4 << 30;

/// About how many bytes the rows of a group take in memory once they are decoded, as far as the
/// footer tells. A few bytes may stand for any number of equal values, so their number counts.
pub fn decoded_bytes(group: &RowGroupMetaData) -> u64 {
    let of_column = |column: &parquet::file::metadata::ColumnChunkMetaData| {
        let n_values = u64::try_from(column.num_values()).unwrap_or(0);
        let unpacked = u64::try_from(column.uncompressed_size()).unwrap_or(0);
        let width = match column.column_descr().physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::BYTE_ARRAY => 8,
            Type::FIXED_LEN_BYTE_ARRAY => {
                u64::try_from(column.column_descr().type_length()).unwrap_or(0)
            }
        };
        // Each value of a list has two levels of two bytes as well.
        let levels = if column.column_descr().max_rep_level() > 0 { 4 } else { 0 };
        let fixed = n_values.saturating_mul(width + levels);
        let strings = match column.unencoded_byte_array_data_bytes() {
            _ if column.column_descr().physical_type() != Type::BYTE_ARRAY => 0,
            bytes => bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        };
        fixed.saturating_add(strings).max(unpacked)
    };
    group.columns().iter().map(of_column).fold(0, u64::saturating_add)
}

/// Runs what reads a foreign Parquet file; a panic of the crate is damage as any other.
///
/// # Errors
/// Those of `read`, and its panic.
pub fn caught<T>(read: impl FnOnce() -> ParquetResult<T>) -> ParquetResult<T> {
    foreign::caught(read).unwrap_or_else(|words| Err(ParquetError::General(words)))
}

fn footer(object: &Object) -> Result<ParquetResult<ArrowReaderMetadata>> {
    let mut reader = ParquetMetaDataReader::new();
    let mut length = FOOTER_BYTES.min(object.size());

    loop {
        let range = object.size() - length..object.size();
        let end =
            object.fetch(std::slice::from_ref(&range))?.into_iter().next().unwrap_or_default();
        match caught(|| reader.try_parse_sized(&end, object.size())) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 > length => {
                length = needed as u64;
                continue;
            }
            Err(cause) => return Ok(Err(cause)),
        }
        let metadata = reader.finish();
        return Ok(metadata.and_then(|metadata| {
            ArrowReaderMetadata::try_new(metadata.into(), ArrowReaderOptions::new())
        }));
    }
}

fn decode<R: ChunkReader + 'static>(
    reader: R,
    metadata: &ArrowReaderMetadata,
    group: usize,
    mask: ProjectionMask,
) -> ParquetResult<RecordBatch> {
    let rows = metadata.metadata().row_group(group).num_rows() as usize;
    caught(|| {
        let mut batches =
            ParquetRecordBatchReaderBuilder::new_with_metadata(reader, metadata.clone())
                .with_projection(mask)
                .with_row_groups(vec![group])
                .with_batch_size(rows.max(1))
                .build()?;

        let batch = batches
            .next()
            .ok_or_else(|| ParquetError::General("an empty row group".to_string()))??;
        match batch.num_rows() {
            n if n == rows => Ok(batch),
            n => Err(ParquetError::General(format!("{n} rows instead of {rows}"))),
        }
    })
}

/// The bytes of a row group's columns.
fn fetch(
    object: &Object,
    metadata: &ArrowReaderMetadata,
    group: usize,
    mask: &ProjectionMask,
) -> Result<Chunks> {
    let columns = metadata.metadata().row_group(group).columns();
    let wanted = columns.iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf));
    let ranges: Vec<_> = wanted
        .map(|(_, column)| {
            let (start, length) = column.byte_range();
            start..start + length
        })
        .collect();

    let chunks = ranges.iter().map(|range| range.start).zip(object.fetch(&ranges)?).collect();
    Ok(Chunks { size: object.size(), chunks })
}

/// Parts of a file, each with the place it begins at.
struct Chunks {
    size: u64,
    chunks: Vec<(u64, Bytes)>,
}

impl Chunks {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let inside = |(begin, bytes): &(u64, Bytes)| {
            let skipped = usize::try_from(start.checked_sub(*begin)?).ok()?;
            (skipped < bytes.len()).then(|| bytes.slice(skipped..))
        };
        let found = self.chunks.iter().find_map(inside);
        found.ok_or_else(|| {
            ParquetError::EOF(format!("byte {start} is in no column of this row group"))
        })
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} leave their column")));
        }
        Ok(bytes.slice(..length))
    }
}
