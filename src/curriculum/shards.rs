//! Writes the shards: from rows in reading order to rows in training order with one part and one
//! shard in memory.
//!
//! First every input part is written again, its rows sorted by their place and cut into one stretch
//! a shard (`spill-NNNNN.parquet`); then every shard gathers its stretches from all spills. Both
//! steps leave whole files behind, so a run that was killed goes on with the next.

use std::ops::Range;
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

use crate::curriculum::Params;
use crate::curriculum::order::Row;
use crate::error::{Error, Result};
use crate::flow::contract::{Contract, contract, numbers, strings};
use crate::flow::dataset::{
    BATCH_ROWS, Batches, Dataset, Part, PartWriter, read_json, write_json, writer_properties,
};
use crate::flow::disk::hash_file;
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

/// Which row stands where, and where the shards are cut.
pub struct Plan {
    /// (row, shard, seq), sorted by row: where each row goes, once or more.
    places: Vec<(u32, u32, u64)>,
    shards: Vec<Stretch>,
    n_first: u64,
}

impl Plan {
    /// Cuts the two splits into shards of about `shard_bytes` of text.
    pub fn new(
        rows: &[Row],
        train: &[u32],
        validation: &[u32],
        n_first: u64,
        params: &Params,
    ) -> Self {
        let mut plan = Plan {
            places: Vec::with_capacity(train.len() + validation.len()),
            shards: Vec::new(),
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

                let seq = seq as u64;
                let shard =
                    open.get_or_insert(Stretch { split, first: seq, end: seq, text_bytes: 0 });
                shard.end = seq + 1;
                shard.text_bytes += n_bytes;
                plan.places.push((row, plan.shards.len() as u32, seq));
            }
            plan.shards.extend(open);
        }

        plan.places.sort_unstable();
        plan
    }

    fn phase(&self, split: Split, seq: u64) -> &'static str {
        match split {
            Split::Validation => "validation",
            Split::Train if seq < self.n_first => "general",
            Split::Train => "mixed",
        }
    }
}

/// Row groups of one shard's rows in a spill.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SpillIndex {
    /// (shard, number of row groups), in file order.
    groups: Vec<(u32, usize)>,
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
        spills.push(spill(part, part_idx, first_row, input.contract, plan, cx)?);
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
            gather(&spills, shard_idx as u32, shard, &place, params)?;
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

    for (path, _) in &spills {
        for path in [path.clone(), path.with_extension("json")] {
            std::fs::remove_file(&path).map_err(|cause| Error::file("delete", &path, cause))?;
        }
    }

    Ok(written)
}

/// Rows of several batches, taken by their number over all of them without putting them together
/// first: a part or a shard stands in memory once.
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

/// Reads some batches by all threads. They lose the room that their buffers were left with when
/// they were read, which is up to as much as they hold.
fn read(batches: &Batches, which: Range<usize>) -> Result<Vec<RecordBatch>> {
    let fitted = |idx: usize| -> Result<RecordBatch> {
        let batch = batches.read(idx)?;
        let (schema, mut columns) = (batch.schema(), batch.columns().to_vec());
        // Only what nobody else holds is fitted.
        drop(batch);
        columns.iter_mut().for_each(Array::shrink_to_fit);
        Ok(RecordBatch::try_new(schema, columns)?)
    };
    which.into_par_iter().map(fitted).collect()
}

/// Writes the rows of one part in training order, one or more row groups a shard.
fn spill(
    part: &Part,
    part_idx: usize,
    first_row: u64,
    enters: &Contract,
    plan: &Plan,
    cx: &Context,
) -> Result<(PathBuf, SpillIndex)> {
    let place = cx.numbered("spill", part_idx, "parquet");
    let index_place = place.with_extension("json");
    if let Some(index) = read_json(&index_place)? {
        return Ok((place, index));
    }
    let batches = Batches::open(&part.path, Some(enters), None)?;
    let rows = Rows::new(read(&batches, 0..batches.rows().len())?);
    let shard_contract = contract("shard")?;
    let mut index = SpillIndex { groups: Vec::new() };
    let mut writer = PartWriter::unpacked(&place, shard_contract)?;

    if !rows.batches.is_empty() {
        let (from, to) = (first_row as u32, (first_row + part.rows) as u32);
        let begin = plan.places.partition_point(|(row, _, _)| *row < from);
        let end = plan.places.partition_point(|(row, _, _)| *row < to);
        let mut places = plan.places[begin..end].to_vec();
        places.sort_unstable_by_key(|(_, shard, seq)| (*shard, *seq));

        for stretch in places.chunk_by(|a, b| a.1 == b.1) {
            let chunks: Vec<&[(u32, u32, u64)]> = stretch.chunks(BATCH_ROWS).collect();
            writer.write_in_order(&chunks, |chunk| {
                placed(&rows, chunk, from, plan, shard_contract)
            })?;
            index.groups.push((stretch[0].1, chunks.len()));
        }
    }

    writer.finish()?;
    write_json(&index_place, &index)?;
    Ok((place, index))
}

/// The rows of `places` as rows of the shard contract.
fn placed(
    rows: &Rows,
    places: &[(u32, u32, u64)],
    first_row: u32,
    plan: &Plan,
    shard_contract: &Contract,
) -> Result<RecordBatch> {
    let taken = rows.take(places.iter().map(|(row, _, _)| (row - first_row) as usize))?;
    let n_chars =
        strings(&taken, "text")?.iter().map(|text| text.unwrap_or("").chars().count() as u32);
    let n_chars: ArrayRef = Arc::new(UInt32Array::from_iter_values(n_chars));
    let seq: ArrayRef =
        Arc::new(UInt64Array::from_iter_values(places.iter().map(|(_, _, seq)| *seq)));
    let phases =
        places.iter().map(|(_, shard, seq)| plan.phase(plan.shards[*shard as usize].split, *seq));
    let phase: ArrayRef = Arc::new(StringArray::from_iter_values(phases));

    shard_contract.widen(&taken, vec![("seq", seq), ("phase", phase), ("n_chars", n_chars)])
}

/// Writes one shard from its stretches in all spills.
fn gather(
    spills: &[(PathBuf, SpillIndex)],
    shard_idx: u32,
    shard: &Stretch,
    place: &Path,
    params: &Params,
) -> Result<()> {
    let shard_contract = contract("shard")?;
    let mut batches = Vec::new();

    for (path, index) in spills {
        let before: usize =
            index.groups.iter().take_while(|(shard, _)| *shard != shard_idx).map(|(_, n)| n).sum();
        if let Some((_, n)) = index.groups.iter().find(|(shard, _)| *shard == shard_idx) {
            let spilled = Batches::open(path, Some(shard_contract), None)?;
            batches.extend(read(&spilled, before..before + n)?);
        }
    }

    let mut order: Vec<(u64, usize)> = Vec::new();
    for batch in &batches {
        let seqs = numbers::<UInt64Type>(batch, "seq")?.values();
        let first = order.len();
        order.extend(seqs.iter().enumerate().map(|(idx, seq)| (*seq, first + idx)));
    }

    order.sort_unstable();
    let rows = Rows::new(batches);

    if order.len() as u64 != shard.end - shard.first {
        return Err(Error::data(format!("shard `{}` has {} rows", place.display(), order.len()))
            .hint("this is a bug in kpipe; delete the output folder and report it"));
    }

    let properties = shard_properties(shard_contract, params.zstd_level)?;
    let mut writer = PartWriter::with_properties(
        place,
        shard_contract,
        shard_contract.schema.clone(),
        properties,
    )?;

    let chunks: Vec<&[(u64, usize)]> = order.chunks(BATCH_ROWS).collect();
    writer.write_in_order(&chunks, |chunk| rows.take(chunk.iter().map(|(_, row)| *row)))?;
    writer.finish()?;
    Ok(())
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
    ] {
        let path = ColumnPath::new(text.split('.').map(str::to_string).collect());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }

    Ok(properties.build())
}
