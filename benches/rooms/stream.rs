//! Memory of the trainer's stream as its shards grow: 64 MB of text, and 1 GB.
//!
//! Every row of every step is made, as `kpipe train` makes them, and thrown away: what is measured
//! is shards, windows, shuffling, packing and masking, without a model. The shards are those of a
//! build of the fixtures, repeated.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use kpipe::flow::contract::contract;
use kpipe::flow::dataset::{Batches, PartWriter};
use kpipe::train::Params;
use kpipe::train::data::again::Again;
use kpipe::train::data::batch::Batcher;
use kpipe::train::data::marks::PLAIN;
use kpipe::train::data::rows::RowKind;
use kpipe::train::data::shards::Shards;
use kpipe::train::data::tokenizer::Tokenizer;
use kpipe::train::data::windows::{Position, Windows};
use kpipe::train::model::bert::BERT;

use crate::Result;
use crate::inputs::Inputs;
use crate::measure::{line, rate, reset_peak, status_mib};

/// Bytes of text: of the smaller stream and of the larger.
const SIZES: [u64; 2] = [64_000_000, 1_000_000_000];
/// Bytes of text in a shard.
const SHARD_BYTES: u64 = 64_000_000;

/// Prints the peak and the rate of both streams, for each way of making rows.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let built = folder.path().join("out");
    build(&built)?;
    let base = inputs.pipeline.train.clone();
    let small = Shards::open(&built, "train")?.ok_or("the build has no shards")?;
    let tokenizer = Tokenizer::train(&small, &BERT, &base.tokenizer, 17)?;
    let written = |size: &u64| repeated(&built, &folder.path().join(size.to_string()), *size);
    let streams: Vec<PathBuf> = SIZES.iter().map(written).collect::<Result<_>>()?;

    for (name, shuffle, packing) in
        [("in order", 0, false), ("shuffled by 1024, packed", 1_024, true)]
    {
        let params = Params { shuffle, packing, ..base.clone() };
        let mut peaks = Vec::new();
        for (size, stream) in SIZES.iter().zip(&streams) {
            let shards = Shards::open(stream, "train")?.ok_or("no shards")?;
            reset_peak("self");
            let begun = Instant::now();
            let tokens = read(&shards, &tokenizer, &params)?;
            let peak = status_mib("self", "VmHWM").unwrap_or(f64::NAN);
            let seconds = begun.elapsed().as_secs_f64();
            let beside = format!(
                "peak {peak:.0} MiB, {:.2} M tokens/s on one thread",
                tokens as f64 / 1e6 / seconds
            );
            line(&format!("  {name}, {} MB", size / 1_000_000), &rate(*size, seconds), &beside);

            peaks.push(peak);
        }
        let growth = 100.0 * (peaks[1] / peaks[0] - 1.0);
        line(
            &format!("  {name}"),
            &format!("{growth:+.1} % memory"),
            "from the smaller to the larger",
        );
    }

    Ok(())
}

/// Makes the rows of one epoch; gives their tokens.
fn read(shards: &Shards, tokenizer: &Tokenizer, params: &Params) -> Result<u64> {
    let kinds = [RowKind::Masked, RowKind::Passages].into();
    let batcher = Batcher::new(tokenizer, &PLAIN, params, 17, &kinds)?;
    let mut windows = Windows::new(shards, &batcher, Position::default())?;
    let (mut tokens, mut number) = (0, 0);

    while windows.position().cursor.epoch == 0 {
        number += 1;
        let step = batcher.step(number, &mut windows, &mut Again::default())?;
        if step.ranges.iter().any(|range| range.epoch > 0) {
            break;
        }
        tokens += step.tokens;
    }

    Ok(tokens)
}

/// `kpipe build` on the fixtures.
fn build(out: &Path) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpipe"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null());
    command.args([
        "build",
        "--source",
        "wiki,pubmed",
        "--quiet",
        "--set",
        "negatives.back_translation.engine=none",
    ]);

    let status = command.arg("--out").arg(out).status()?;
    if status.success() { Ok(()) } else { Err("kpipe build failed".into()) }
}

/// The train shard of a build over and over, numbered anew, until there is so much text.
fn repeated(built: &Path, folder: &Path, bytes: u64) -> Result<PathBuf> {
    let shard = contract("shard")?;
    let mut batches = Vec::new();

    for entry in std::fs::read_dir(built.join("data"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("train-")) {
            batches.extend(
                Batches::open(&path, Some(shard), None)?
                    .collect::<std::result::Result<Vec<_>, _>>()?,
            );
        }
    }

    let text_bytes = |batch: &RecordBatch| {
        let texts = kpipe::flow::contract::strings(batch, "text")?;
        Result::Ok(texts.iter().flatten().map(|text| text.len() as u64).sum::<u64>())
    };
    let lap: u64 = batches.iter().map(text_bytes).sum::<Result<u64>>()?;
    std::fs::create_dir_all(folder)?;
    let n_shards = bytes.div_ceil(SHARD_BYTES);
    let mut seq = 0;

    for number in 0..n_shards {
        let place = folder.join(format!("train-{number:05}-of-{n_shards:05}.parquet"));
        let mut writer = PartWriter::create(&place, shard)?;

        for _ in 0..SHARD_BYTES.min(bytes).div_ceil(lap.max(1)) {
            for batch in &batches {
                let rows = batch.num_rows() as u64;
                let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
                columns[batch.schema().index_of("seq")?] =
                    Arc::new(UInt64Array::from_iter_values(seq..seq + rows));
                writer.write(&shard.batch(columns)?)?;
                seq += rows;
            }
        }

        writer.finish()?;
    }

    Ok(folder.to_path_buf())
}
