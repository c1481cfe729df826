//! Phase 1: every document read once and reduced to a few numbers, spilled to disk column by
//! column.
//!
//! `sketch-NNNNN.bin` holds the columns of one part one behind the other, fixed width,
//! little-endian, so that a later phase reads one band of the whole corpus without the others.
//! `sketch-NNNNN.json` is its commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Int32Type, UInt64Type};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::dedup::shingles::Shingler;
use crate::dedup::{Params, exact, minhash};
use crate::error::{Error, Result};
use crate::flow::contract::{column, numbers, strings};
use crate::flow::dataset::{Dataset, Part, read_json, write_atomically, write_json};
use crate::flow::room::{Context, for_each_group};
use crate::text::normal::normalise;

/// Columns whose presence makes a document more complete.
static METADATA: &[&str] = &["title", "url", "licence", "language", "date", "metadata"];

/// A column of a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// xxh3-128 of the normal form.
    Text,
    /// xxh3-128 of the id.
    Id,
    /// Hash of text, file and offset; orders documents that nothing else tells apart, wherever they
    /// stand.
    Tie,
    /// The source's priority.
    Priority,
    /// How many of [`METADATA`] are not null.
    Complete,
    /// Length of the text in characters.
    Chars,
    /// Key of a band; 0 where the text is too short to shingle.
    Band(usize),
}

/// Columns before the bands, with their widths in bytes.
static FIXED: &[(Column, usize)] = &[
    (Column::Text, 16),
    (Column::Id, 16),
    (Column::Tie, 8),
    (Column::Priority, 4),
    (Column::Complete, 4),
    (Column::Chars, 4),
];

/// What is known of a sketched part beyond its columns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) rows: u64,
    /// Texts too short to shingle: compared exactly only.
    pub(super) too_short: u64,
    /// Documents by source.
    pub(super) sources: BTreeMap<String, u64>,
}

/// The sketches of all parts, on disk.
pub(super) struct Sketches {
    paths: Vec<PathBuf>,
    pub(super) facts: Vec<Facts>,
}

/// Sketches every part that was not sketched before.
pub(super) fn sketch(input: &Dataset, params: &Params, cx: &Context) -> Result<Sketches> {
    let mut sketches = Sketches { paths: Vec::new(), facts: Vec::new() };
    for (idx, part) in input.parts.iter().enumerate() {
        cx.progress.message(&format!("signatures, part {} of {}", idx + 1, input.parts.len()));
        let (place, commit) =
            (cx.numbered("sketch", idx, "bin"), cx.numbered("sketch", idx, "json"));
        let facts = match read_json(&commit)? {
            Some(facts) => facts,
            None => {
                let (bytes, facts) = sketch_part(input, part, idx, params)?;
                write_atomically(&place, &bytes)?;
                write_json(&commit, &facts)?;
                facts
            }
        };

        cx.progress.advance(part.rows);
        sketches.paths.push(place);
        sketches.facts.push(facts);
    }

    if sketches.rows() > u64::from(u32::MAX) {
        return Err(Error::data(format!(
            "{} documents are more than one run can dedup",
            sketches.rows()
        ))
        .hint("split the input into runs of at most 4,294,967,295 documents"));
    }

    Ok(sketches)
}

fn sketch_part(
    input: &Dataset,
    part: &Part,
    idx: usize,
    params: &Params,
) -> Result<(Vec<u8>, Facts)> {
    let mut columns = vec![Vec::new(); FIXED.len() + params.bands];
    let mut facts = Facts::default();
    let kernel = |batch: &RecordBatch, _| sketch_batch(batch, params);
    for_each_group(
        input.contract,
        part,
        idx,
        0,
        None,
        &kernel,
        |n, (batch, added): (Vec<Vec<u8>>, Facts)| {
            columns.iter_mut().zip(batch).for_each(|(column, bytes)| column.extend(bytes));
            facts.rows += n;
            facts.too_short += added.too_short;
            for (source, n) in added.sources {
                *facts.sources.entry(source).or_default() += n;
            }
            Ok(())
        },
    )?;
    Ok((columns.concat(), facts))
}

/// The pure kernel: one batch to the bytes of its columns.
fn sketch_batch(batch: &RecordBatch, params: &Params) -> Result<(Vec<Vec<u8>>, Facts)> {
    let (ids, texts, sources) =
        (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "source")?);
    let (files, offsets) = (strings(batch, "file")?, numbers::<UInt64Type>(batch, "offset")?);
    let priorities = numbers::<Int32Type>(batch, "priority")?;
    let metadata: Vec<_> =
        METADATA.iter().map(|name| column(batch, name)).collect::<Result<_>>()?;
    let mut columns = vec![Vec::new(); FIXED.len() + params.bands];
    let mut facts = Facts::default();
    let mut signer = Signer::new(params);

    for row in 0..batch.num_rows() {
        let text = texts.value(row);
        let keys = signer.keys(text);
        let complete = metadata.iter().filter(|column| column.is_valid(row)).count() as u32;
        let chars = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let place = xxh3_64_with_seed(files.value(row).as_bytes(), offsets.value(row));
        columns[0].extend(keys.text.to_le_bytes());
        columns[1].extend(exact::id_key(ids.value(row)).to_le_bytes());
        columns[2].extend((xxh3_64(text.as_bytes()) ^ place).to_le_bytes());
        columns[3].extend(priorities.value(row).to_le_bytes());
        columns[4].extend(complete.to_le_bytes());
        columns[5].extend(chars.to_le_bytes());

        for (band, key) in keys.bands.iter().enumerate() {
            columns[FIXED.len() + band].extend(key.to_le_bytes());
        }
        facts.too_short += u64::from(keys.too_short);
        *facts.sources.entry(sources.value(row).to_string()).or_default() += 1;
    }

    Ok((columns, facts))
}

/// What two texts are compared by before anything is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// Equal for exact copies.
    pub text: u128,
    /// One key a band; all 0 where the text is too short to shingle.
    pub bands: Vec<u64>,
    /// Whether the text is shorter than one shingle.
    pub too_short: bool,
}

/// Text to keys: normal form, shingles, signature, bands; reuses its memory from text to text.
pub struct Signer {
    shingler: Shingler,
    shingles: Vec<u64>,
    signature: Vec<u64>,
    rows: usize,
}

impl Signer {
    /// A signer with the shingle sizes and bands of `params`.
    pub fn new(params: &Params) -> Self {
        Signer {
            shingler: Shingler::new(params.shingle_words, params.shingle_chars),
            shingles: Vec::new(),
            signature: vec![0; params.bands * params.rows],
            rows: params.rows,
        }
    }

    /// The keys of a text as it stands in a document.
    pub fn keys(&mut self, text: &str) -> Keys {
        let normal = normalise(text);
        self.shingler.shingle(&normal, &mut self.shingles);
        let too_short = self.shingles.is_empty();
        minhash::sign(&self.shingles, &mut self.signature);
        let bands = minhash::band_keys(&self.signature, self.rows)
            .map(|key| if too_short { 0 } else { key });
        Keys { text: exact::text_key(text, &normal), bands: bands.collect(), too_short }
    }
}

impl Sketches {
    /// Documents of all parts.
    pub(super) fn rows(&self) -> u64 {
        self.facts.iter().map(|facts| facts.rows).sum()
    }

    /// How many parts there are.
    pub(super) fn n_parts(&self) -> usize {
        self.paths.len()
    }

    /// The bytes of one column of one part, and the width of a value.
    pub(super) fn read(&self, part: usize, column: Column) -> Result<(Vec<u8>, usize)> {
        let rows = self.facts[part].rows;
        let fixed: usize = FIXED.iter().map(|(_, width)| width).sum();
        let (before, width) = match column {
            Column::Band(band) => (fixed + 8 * band, 8),
            _ => {
                let at = FIXED.iter().position(|(name, _)| *name == column).unwrap_or(0);
                (FIXED[..at].iter().map(|(_, width)| width).sum(), FIXED[at].1)
            }
        };

        let path = &self.paths[part];
        let failed = |cause: std::io::Error| Error::file("read", path, cause);
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(before as u64 * rows)).map_err(failed)?;
        let mut bytes = vec![0; width * rows as usize];
        file.read_exact(&mut bytes).map_err(failed)?;

        Ok((bytes, width))
    }

    /// Values of a narrow column for the given rows (ascending), through `decode`.
    pub(super) fn pick<T>(
        &self,
        column: Column,
        rows: &[u32],
        decode: impl Fn(&[u8]) -> T,
    ) -> Result<Vec<T>> {
        let mut picked = Vec::with_capacity(rows.len());
        let mut first = 0_u64;

        for part in 0..self.n_parts() {
            let end = first + self.facts[part].rows;
            let wanted = &rows[picked.len()..];
            let wanted = &wanted[..wanted.partition_point(|row| u64::from(*row) < end)];

            if !wanted.is_empty() {
                let (bytes, width) = self.read(part, column)?;
                let at = |row: &u32| (u64::from(*row) - first) as usize * width;
                picked.extend(wanted.iter().map(|row| decode(&bytes[at(row)..at(row) + width])));
            }

            first = end;
        }

        Ok(picked)
    }
}
