//! Where a Parquet file lies, on disk or in an object store, and the reading of it from there.
//!
//! A file on disk is read as the reader asks for it. Of an object, the bytes of a row group's columns are fetched
//! first, because each of a reader's many small questions would be a request of its own.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};
use crate::flow::objects::Object;

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
            Place::File(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            Place::Object(object) => object.name(),
        }
    }

    /// What a Parquet file says about itself at its end.
    ///
    /// # Errors
    /// If it cannot be read, or is no Parquet file.
    pub fn metadata(&self) -> Result<ArrowReaderMetadata> {
        let read = match self {
            Place::File(path) => ArrowReaderMetadata::load(&open(path)?, ArrowReaderOptions::new()),
            Place::Object(object) => footer(object)?,
        };
        read.map_err(|cause| {
            Error::data(format!("`{self}` is not a readable Parquet file: {cause}"))
                .hint("delete it and build again; kpipe writes it anew")
        })
    }

    /// Reads the columns of `mask` of row group number `group` as one batch.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or has no rows.
    pub fn row_group(&self, metadata: &ArrowReaderMetadata, group: usize, mask: ProjectionMask) -> Result<RecordBatch> {
        let batch = match self {
            Place::File(path) => decode(open(path)?, metadata, group, mask),
            Place::Object(object) => decode(fetch(object, metadata, group, &mask)?, metadata, group, mask),
        };
        batch.map_err(|cause| {
            Error::data(format!("`{self}` cannot be read: {cause}"))
                .at(format!("row group {group}"))
                .hint("the file was damaged after it was written: delete it and build again")
        })
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

fn open(path: &std::path::Path) -> Result<File> {
    File::open(path).map_err(|cause| Error::file("open", path, cause))
}

fn footer(object: &Object) -> Result<ParquetResult<ArrowReaderMetadata>> {
    let mut reader = ParquetMetaDataReader::new();
    let mut length = FOOTER_BYTES.min(object.size());
    loop {
        let range = object.size() - length..object.size();
        let end = object.fetch(std::slice::from_ref(&range))?.into_iter().next().unwrap_or_default();
        match reader.try_parse_sized(&end, object.size()) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 > length => {
                length = needed as u64;
                continue;
            }
            Err(cause) => return Ok(Err(cause)),
        }
        let metadata = reader.finish();
        return Ok(
            metadata.and_then(|metadata| ArrowReaderMetadata::try_new(metadata.into(), ArrowReaderOptions::new()))
        );
    }
}

fn decode<R: ChunkReader + 'static>(
    reader: R,
    metadata: &ArrowReaderMetadata,
    group: usize,
    mask: ProjectionMask,
) -> ParquetResult<RecordBatch> {
    let rows = metadata.metadata().row_group(group).num_rows() as usize;
    let mut batches = ParquetRecordBatchReaderBuilder::new_with_metadata(reader, metadata.clone())
        .with_projection(mask)
        .with_row_groups(vec![group])
        .with_batch_size(rows.max(1))
        .build()?;
    let batch = batches.next().ok_or_else(|| ParquetError::General("an empty row group".to_string()))?;
    Ok(batch?)
}

/// The bytes of a row group's columns.
fn fetch(object: &Object, metadata: &ArrowReaderMetadata, group: usize, mask: &ProjectionMask) -> Result<Chunks> {
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
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} is in no column of this row group")))
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
