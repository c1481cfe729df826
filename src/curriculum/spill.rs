//! The rows of a part between reading order and training order: one file, sorted by where each row
//! goes and cut into the pieces that shards are put together of.
//!
//! A file holds, for `n` pieces, `n + 1` offsets of 8 bytes (little-endian), and then the pieces
//! one behind the other, each some record batches as messages of Arrow's IPC format under one
//! schema that is written nowhere. Nothing is packed, and nothing is kept in memory of a file: what
//! a piece takes is read, no more.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter, write_message,
};

use crate::error::{Error, Kind, Result};
use crate::flow::disk::{beside, put_in_place};

const OFFSET_BYTES: u64 = 8;

/// A record batch as it will stand in a file.
///
/// # Errors
/// If it cannot be encoded.
pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::default();
    // The contracts have no dictionaries.
    let mut dictionaries = DictionaryTracker::new(true);
    let (_, encoded) = IpcDataGenerator::default().encode(
        batch,
        &mut dictionaries,
        &options,
        &mut Default::default(),
    )?;
    let mut bytes = Vec::new();
    write_message(&mut bytes, encoded, &options)?;
    Ok(bytes)
}

/// Writes one file, piece after piece.
pub(super) struct Writer {
    file: BufWriter<File>,
    place: PathBuf,
    /// Where each piece begins, and where the last one ends.
    offsets: Vec<u64>,
    /// The piece that is written.
    piece: usize,
}

impl Writer {
    /// Begins a file of so many pieces, beside its place.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(super) fn create(place: &Path, n_pieces: usize) -> Result<Self> {
        let beside = beside(place);
        let failed = |cause| Error::file("create", &beside, cause);
        let mut file = BufWriter::new(File::create(&beside).map_err(failed)?);
        let begin = OFFSET_BYTES * (n_pieces as u64 + 1);

        file.seek(SeekFrom::Start(begin)).map_err(failed)?;
        Ok(Writer {
            file,
            place: place.to_path_buf(),
            offsets: vec![begin; n_pieces + 1],
            piece: 0,
        })
    }

    /// Adds an encoded batch to a piece, which is none before the last one written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn append(&mut self, piece: usize, bytes: &[u8]) -> Result<()> {
        self.go_on_to(piece);
        self.offsets[piece + 1] += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|cause| Error::file("write", &beside(&self.place), cause))
    }

    /// Pieces up to this one hold nothing more.
    fn go_on_to(&mut self, piece: usize) {
        let end = self.offsets[self.piece + 1];
        while self.piece < piece {
            self.piece += 1;
            self.offsets[self.piece + 1] = end;
        }
    }

    /// Closes the file and renames it into its place.
    ///
    /// # Errors
    /// If it cannot be written or renamed.
    pub(super) fn finish(mut self) -> Result<()> {
        self.go_on_to(self.offsets.len() - 2);
        let offsets: Vec<u8> =
            self.offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(&offsets))
            .and_then(|()| self.file.flush());
        written.map_err(|cause| Error::file("write", &beside(&self.place), cause))?;
        put_in_place(&self.place)
    }
}

/// The batches of one piece of a file.
///
/// # Errors
/// If it cannot be read, or is not what was written.
pub(super) fn read(place: &Path, piece: usize, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let bytes = read_bytes(place, piece).map_err(|cause| Error::file("read", place, cause))?;
    decode(bytes, schema).map_err(|cause| {
        Error::new(Kind::Io, format!("`{}` is damaged: {cause}", place.display()))
            .hint("delete it and run again")
    })
}

fn read_bytes(place: &Path, piece: usize) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(place)?;
    let mut offsets = [[0; OFFSET_BYTES as usize]; 2];
    file.seek(SeekFrom::Start(OFFSET_BYTES * piece as u64))?;
    for offset in &mut offsets {
        file.read_exact(offset)?;
    }

    let [begin, end] = offsets.map(u64::from_le_bytes);
    let size = file.metadata()?.len();
    if begin > end || end > size {
        let what = format!("a piece at {begin} to {end} of {size} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    let mut bytes = vec![0; (end - begin) as usize];
    file.seek(SeekFrom::Start(begin))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn decode(bytes: Vec<u8>, schema: &SchemaRef) -> std::result::Result<Vec<RecordBatch>, ArrowError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut decoder = StreamDecoder::new();
    // A stream begins with its schema.
    let mut head = StreamWriter::try_new(Vec::new(), schema)?;
    head.flush()?;
    let mut head = Buffer::from_vec(std::mem::take(head.get_mut()));
    decoder.decode(&mut head)?;

    let (mut batches, mut bytes) = (Vec::new(), Buffer::from_vec(bytes));
    while !bytes.is_empty() {
        batches.extend(decoder.decode(&mut bytes)?);
    }
    decoder.finish()?;
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray, UInt64Array};
    use std::sync::Arc;

    fn batch(values: &[u64]) -> RecordBatch {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
            values.iter().map(|value| format!("text {value}")),
        ));
        let numbers: ArrayRef = Arc::new(UInt64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("text", texts), ("n", numbers)]).unwrap()
    }

    #[test]
    fn each_piece_is_read_back_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("spill");
        let mut writer = Writer::create(&place, 5).unwrap();
        for (piece, values) in [(1, &[1, 2][..]), (1, &[3]), (3, &[4, 5, 6])] {
            writer.append(piece, &encode(&batch(values)).unwrap()).unwrap();
        }
        assert!(!place.exists(), "nothing stands in its place before it is whole");
        writer.finish().unwrap();

        let schema = batch(&[]).schema();
        let found: Vec<_> = (0..5).map(|piece| read(&place, piece, &schema).unwrap()).collect();
        let expected = [vec![], vec![batch(&[1, 2]), batch(&[3])], vec![], vec![batch(&[4, 5, 6])]];
        assert_eq!(found[..4], expected);
        assert!(found[4].is_empty());
    }

    #[test]
    fn a_file_without_rows_has_empty_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("spill");
        Writer::create(&place, 2).unwrap().finish().unwrap();
        assert!(read(&place, 1, &batch(&[]).schema()).unwrap().is_empty());
    }

    #[test]
    fn damage_is_told_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("spill");
        let mut writer = Writer::create(&place, 1).unwrap();
        writer.append(0, &encode(&batch(&[1, 2, 3])).unwrap()).unwrap();
        writer.finish().unwrap();
        let (whole, schema) = (std::fs::read(&place).unwrap(), batch(&[]).schema());

        std::fs::write(&place, &whole[..whole.len() - 9]).unwrap();
        assert!(read(&place, 0, &schema).unwrap_err().to_string().contains("spill"));
        let mut other = whole.clone();
        other[16..24].fill(0xff);
        std::fs::write(&place, &other).unwrap();
        assert!(read(&place, 0, &schema).unwrap_err().to_string().contains("spill"));
    }
}
