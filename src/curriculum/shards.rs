//! Writes the shards: from rows in reading order to rows in training order with one part, or one
//! piece of a shard, in memory.
//!
//! First every input part is written again, its rows sorted by their place and cut at the pieces of
//! the shards (`spill`); then every shard gathers one piece after another from all spills. Both
//! steps leave whole files behind, so a run that was killed goes on with the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::UInt64Type;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::curriculum::families::Counted;
use crate::curriculum::row::Row;
use crate::curriculum::{Params, spill};
use crate::error::{Error, Result};
use crate::flow::contract::{Contract, contract, numbers, strings};
use crate::flow::dataset::{BATCH_ROWS, Batches, Dataset, Part, PartWriter, writer_properties};
use crate::flow::disk::{hash_file, remove_file};
use crate::flow::room::Context;

/// Which split a shard belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What it is measured on.
    Validation,
}

impl Split {
    /// `train` or `validation`, as in file names.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
        }
    }
}

/// What the manifest says about one shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Its split.
    pub split: Split,
    /// Its path below the output folder.
    pub file: String,
    /// First position.
    pub seq_first: u64,
    /// Last position.
    pub seq_last: u64,
    /// Rows.
    pub rows: u64,
    /// Text, in bytes before compression.
    pub text_bytes: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// xxh3-128 of the file.
    pub xxh3_128: String,
}

/// One planned shard: a stretch of positions of a split.
#[derive(Clone, Debug)]
struct Stretch {
    split: Split,
    first: u64,
    end: u64,
    text_bytes: u64,
}

/// Text of a piece of a shard, in bytes: as much is gathered at once, with what stands beside it.
/// More of them are more small reads, for each of as many as there are parts.
const PIECE_BYTES: u64 = 16 << 20;

/// Some positions of a shard that are gathered at once. Those of the next begin with a row group of
/// the shard, so that its bytes do not depend on where pieces are cut.
#[derive(Clone, Debug)]
struct Piece {
    shard: usize,
    first: u64,
    end: u64,
    text_bytes: u64,
}

/// Where a row goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    row: u32,
    piece: u32,
    seq: u64,
    /// Which exposure of its family it is, and of how many.
    exposure: u32,
    exposures: u32,
}

/// Which row stands where, and where the shards are cut.
pub struct Plan {
    /// Where each row goes, once or more, sorted by row.
    places: Vec<Place>,
    shards: Vec<Stretch>,
    /// Of all shards, in order.
    pieces: Vec<Piece>,
    n_first: u64,
}

impl Plan {
    /// Cuts the two splits into shards of about `shard_bytes` of text.
    pub fn new(
        rows: &[Row],
        train: &[u32],
        validation: &[u32],
        counted: &Counted,
        n_first: u64,
        params: &Params,
    ) -> Self {
        let mut plan = Plan {
            places: Vec::with_capacity(train.len() + validation.len()),
            shards: Vec::new(),
            pieces: Vec::new(),
            n_first,
        };
        for (split, sequence) in [(Split::Train, train), (Split::Validation, validation)] {
            let mut open: Option<Stretch> = None;
            for (seq, &row) in sequence.iter().enumerate() {
                let n_bytes = u64::from(rows[row as usize].n_bytes);
                if open
                    .as_ref()
                    .is_some_and(|shard| shard.text_bytes + n_bytes > params.shard_bytes)
                {
                    plan.shards.extend(open.take());
                }

                let (exposure, exposures) = match split {
                    Split::Train => (counted.nth[seq], counted.of[seq]),
                    Split::Validation => (0, 1),
                };
                let seq = seq as u64;
                let shard =
                    open.get_or_insert(Stretch { split, first: seq, end: seq, text_bytes: 0 });
                shard.end = seq + 1;
                shard.text_bytes += n_bytes;
                let piece = plan.piece_at(seq, n_bytes);
                plan.places.push(Place { row, piece, seq, exposure, exposures });
            }
            plan.shards.extend(open);
        }

        plan.places.sort_unstable();
        plan
    }

    /// The number of the piece that the next position of the open shard belongs to.
    fn piece_at(&mut self, seq: u64, n_bytes: u64) -> u32 {
        let shard = self.shards.len();
        let is_open = |piece: &&mut Piece| {
            let begins_group = (seq - piece.first).is_multiple_of(BATCH_ROWS as u64);
            piece.shard == shard && !(begins_group && piece.text_bytes >= PIECE_BYTES)
        };
        match self.pieces.last_mut().filter(is_open) {
            Some(piece) => {
                piece.end = seq + 1;
                piece.text_bytes += n_bytes;
            }
            None => {
                self.pieces.push(Piece { shard, first: seq, end: seq + 1, text_bytes: n_bytes });
            }
        }
        self.pieces.len() as u32 - 1
    }

    fn phase(&self, place: Place) -> &'static str {
        let (split, seq) = (self.shards[self.pieces[place.piece as usize].shard].split, place.seq);
        match split {
            Split::Validation => "validation",
            Split::Train if seq < self.n_first => "general",
            Split::Train => "mixed",
        }
    }
}

/// Writes every shard of the plan into `data/` of the room's folder.
///
/// # Errors
/// If a part cannot be read or a file cannot be written.
pub fn write(
    input: &Dataset,
    plan: &Plan,
    params: &Params,
    cx: &Context,
) -> Result<Vec<ShardInfo>> {
    let mut spills = Vec::with_capacity(input.parts.len());
    let mut first_row = 0;

    for (part_idx, part) in input.parts.iter().enumerate() {
        spills.push(spill_part(part, part_idx, first_row, input.contract, plan, cx)?);
        first_row += part.rows;
        cx.progress.advance(part.rows);
    }

    let data = cx.folder.join("data");
    std::fs::create_dir_all(&data).map_err(|cause| Error::file("create", &data, cause))?;
    let mut written = Vec::with_capacity(plan.shards.len());

    for (shard_idx, shard) in plan.shards.iter().enumerate() {
        let of_split = |other: &&Stretch| other.split == shard.split;
        let number = plan.shards[..shard_idx].iter().filter(of_split).count();
        let total = plan.shards.iter().filter(of_split).count();
        let file = format!("data/{}-{number:05}-of-{total:05}.parquet", shard.split.name());
        let place = cx.folder.join(&file);

        if !place.exists() {
            gather(&spills, shard_idx, plan, &place, params)?;
        }
        cx.progress.advance(shard.end - shard.first);
        let size =
            std::fs::metadata(&place).map_err(|cause| Error::file("read", &place, cause))?.len();
        written.push(ShardInfo {
            split: shard.split,
            file,
            seq_first: shard.first,
            seq_last: shard.end - 1,
            rows: shard.end - shard.first,
            text_bytes: shard.text_bytes,
            file_bytes: size,
            xxh3_128: hash_file(&place)?,
        });
    }

    spills.iter().try_for_each(|path| remove_file(path))?;

    Ok(written)
}

/// Rows of several batches, taken by their number over all of them without putting them together
/// first: a part or a piece stands in memory once.
struct Rows {
    batches: Vec<RecordBatch>,
    /// Number of the first row of each batch.
    firsts: Vec<usize>,
}

impl Rows {
    fn new(batches: Vec<RecordBatch>) -> Self {
        let firsts = batches.iter().scan(0, |next, batch| {
            let first = *next;
            *next += batch.num_rows();
            Some(first)
        });
        Rows { firsts: firsts.collect(), batches }
    }

    fn take(&self, rows: impl Iterator<Item = usize>) -> Result<RecordBatch> {
        let place = |row: usize| {
            let batch = self.firsts.partition_point(|first| *first <= row) - 1;
            (batch, row - self.firsts[batch])
        };
        let places: Vec<(usize, usize)> = rows.map(place).collect();
        Ok(interleave_record_batch(&self.batches.iter().collect::<Vec<_>>(), &places)?)
    }
}

/// Reads a part by all threads. Its batches lose the room that their buffers were left with when
/// they were read, which is up to as much as they hold.
fn read(batches: &Batches) -> Result<Vec<RecordBatch>> {
    let fitted = |idx: usize| -> Result<RecordBatch> {
        let batch = batches.read(idx)?;
        let (schema, mut columns) = (batch.schema(), batch.columns().to_vec());
        // Only what nobody else holds is fitted.
        drop(batch);
        columns.iter_mut().for_each(Array::shrink_to_fit);
        Ok(RecordBatch::try_new(schema, columns)?)
    };
    (0..batches.rows().len()).into_par_iter().map(fitted).collect()
}

/// Writes the rows of one part in training order, cut into pieces.
fn spill_part(
    part: &Part,
    part_idx: usize,
    first_row: u64,
    enters: &Contract,
    plan: &Plan,
    cx: &Context,
) -> Result<PathBuf> {
    let place = cx.numbered("spill", part_idx, "arrow");
    if place.exists() {
        return Ok(place);
    }
    let rows = Rows::new(read(&Batches::open(&part.path, Some(enters), None)?)?);
    let shard_contract = contract("shard")?;
    let mut writer = spill::Writer::create(&place, plan.pieces.len())?;

    let (from, to) = (first_row as u32, (first_row + part.rows) as u32);
    let begin = plan.places.partition_point(|place| place.row < from);
    let end = plan.places.partition_point(|place| place.row < to);
    let mut places = plan.places[begin..end].to_vec();
    places.sort_unstable_by_key(|place| (place.piece, place.seq));

    let stretches = places.chunk_by(|a, b| a.piece == b.piece);
    let chunks: Vec<&[Place]> = stretches.flat_map(|stretch| stretch.chunks(BATCH_ROWS)).collect();
    let encoded =
        |chunk: &&[Place]| spill::encode(&placed(&rows, chunk, from, plan, shard_contract)?);
    for chunks in chunks.chunks(2 * rayon::current_num_threads()) {
        let ready: Vec<Result<Vec<u8>>> = chunks.par_iter().map(encoded).collect();
        for (chunk, bytes) in chunks.iter().zip(ready) {
            writer.append(chunk[0].piece as usize, &bytes?)?;
        }
    }

    writer.finish()?;
    Ok(place)
}

/// The rows of `places` as rows of the shard contract.
fn placed(
    rows: &Rows,
    places: &[Place],
    first_row: u32,
    plan: &Plan,
    shard_contract: &Contract,
) -> Result<RecordBatch> {
    let taken = rows.take(places.iter().map(|place| (place.row - first_row) as usize))?;
    let n_chars =
        strings(&taken, "text")?.iter().map(|text| text.unwrap_or("").chars().count() as u32);
    let n_chars: ArrayRef = Arc::new(UInt32Array::from_iter_values(n_chars));
    let seq: ArrayRef = Arc::new(UInt64Array::from_iter_values(places.iter().map(|at| at.seq)));
    let counts = |of: &dyn Fn(&Place) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(places.iter().map(of)))
    };
    let phases = places.iter().map(|place| plan.phase(*place));
    let phase: ArrayRef = Arc::new(StringArray::from_iter_values(phases));

    let added = vec![
        ("seq", seq),
        ("phase", phase),
        ("n_chars", n_chars),
        ("exposure", counts(&|place| place.exposure)),
        ("exposures", counts(&|place| place.exposures)),
    ];
    shard_contract.widen(&taken, added)
}

/// Writes one shard, piece after piece.
fn gather(
    spills: &[PathBuf],
    shard_idx: usize,
    plan: &Plan,
    place: &Path,
    params: &Params,
) -> Result<()> {
    let shard_contract = contract("shard")?;
    let properties = shard_properties(shard_contract, params.zstd_level)?;
    let mut writer = PartWriter::with_properties(
        place,
        shard_contract,
        shard_contract.schema.clone(),
        properties,
    )?;

    for (piece_idx, piece) in plan.pieces.iter().enumerate() {
        if piece.shard == shard_idx {
            let rows = gather_piece(spills, piece_idx, shard_contract)?;
            let order = in_order(&rows, piece, place)?;
            let chunks: Vec<&[usize]> = order.chunks(BATCH_ROWS).collect();
            writer.write_in_order(&chunks, |chunk| rows.take(chunk.iter().copied()))?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// What all spills hold of a piece.
fn gather_piece(spills: &[PathBuf], piece: usize, shard_contract: &Contract) -> Result<Rows> {
    let of_spill = |path: &PathBuf| spill::read(path, piece, &shard_contract.schema);
    let batches: Vec<Vec<RecordBatch>> = spills.par_iter().map(of_spill).collect::<Result<_>>()?;
    Ok(Rows::new(batches.into_iter().flatten().collect()))
}

/// The rows of a piece by their place in the order.
fn in_order(rows: &Rows, piece: &Piece, place: &Path) -> Result<Vec<usize>> {
    let mut order: Vec<(u64, usize)> = Vec::new();
    for batch in &rows.batches {
        let seqs = numbers::<UInt64Type>(batch, "seq")?.values();
        let first = order.len();
        order.extend(seqs.iter().enumerate().map(|(idx, seq)| (*seq, first + idx)));
    }
    order.sort_unstable();

    if !order.iter().map(|(seq, _)| *seq).eq(piece.first..piece.end) {
        return Err(Error::data(format!(
            "the positions {} to {} of `{}` are not whole",
            piece.first,
            piece.end - 1,
            place.display()
        ))
        .hint("this is a bug in kpipe; delete the output folder and report it"));
    }
    Ok(order.into_iter().map(|(_, row)| row).collect())
}

/// Page index on (so readers can seek to a position), statistics where a reader can use them, not
/// on long strings.
fn shard_properties(contract: &Contract, zstd_level: i32) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(zstd_level).map_err(|cause| {
        Error::usage(format!("`curriculum.zstd_level` is {zstd_level}: {cause}"))
    })?;
    let mut properties = writer_properties(contract, Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(BATCH_ROWS / 4);

    for text in [
        "text",
        "title",
        "url",
        "metadata",
        "negatives.list.item.anchor",
        "negatives.list.item.text",
        "edits.list.item.text",
    ] {
        let path = ColumnPath::new(text.split('.').map(str::to_string).collect());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }

    Ok(properties.build())
}
