//! Phase 3: the shingle sets of the texts that must be compared, spilled to disk and read back by
//! position.
//!
//! Only parts that hold a linked document are read a second time. `sets-NNNNN.bin` holds the sorted
//! sets of a part's carriers with their numbers, 8 bytes each, little-endian; `sets-NNNNN.json`
//! names its linked documents and is its commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::dedup::Params;
use crate::dedup::bands::Links;
use crate::dedup::shingles::{Shingler, numbers};
use crate::dedup::verify::Features;
use crate::error::{Error, Result};
use crate::flow::contract::strings;
use crate::flow::dataset::{Dataset, Part, read_json, write_json};
use crate::flow::disk::{beside, put_in_place};
use crate::flow::room::{Context, Span, for_each_group};
use crate::text::normal::normalise;

/// Files that are kept open at most; well below the usual limit of 1,024 a process.
const OPEN_FILES: usize = 256;

/// Who is linked in a part, and how long the sets in its file are.
#[derive(Default, Serialize, Deserialize)]
struct PartNames {
    ids: Vec<String>,
    sources: Vec<String>,
    /// Shingles and numbers of each set.
    lengths: Vec<(u32, u32)>,
}

/// Where a set stands.
#[derive(Clone, Copy)]
struct SetPlace {
    part: u32,
    shingles: u32,
    numbers: u32,
    offset: u64,
}

/// Names of the linked documents, and their shingle sets on disk.
pub(super) struct Sets {
    /// Id of each of `Links::rows`.
    pub(super) ids: Vec<String>,
    /// Source of each of `Links::rows`, an index into `names`.
    pub(super) sources: Vec<u32>,
    /// Names of the sources, in name order.
    pub(super) names: Vec<String>,
    /// Where the set of each of `Links::compared` stands.
    places: Vec<SetPlace>,
    paths: Vec<PathBuf>,
    open: Mutex<BTreeMap<u32, Arc<Mutex<File>>>>,
}

/// Spills the sets of every part that was not spilled before.
pub(super) fn spill(input: &Dataset, links: &Links, params: &Params, cx: &Context) -> Result<Sets> {
    let (mut ids, mut sources, mut places, mut paths) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut first_row = 0;

    for (idx, part) in input.parts.iter().enumerate() {
        let (place, commit) = (cx.numbered("sets", idx, "bin"), cx.numbered("sets", idx, "json"));
        if !within(&links.rows, first_row, part.rows).is_empty() {
            cx.progress.message(&format!(
                "shingle sets, part {} of {}",
                idx + 1,
                input.parts.len()
            ));
            let names = match read_json(&commit)? {
                Some(names) => names,
                None => {
                    let names = spill_part(input, part, (idx, first_row), links, params, &place)?;
                    write_json(&commit, &names)?;
                    names
                }
            };

            let mut offset = 0;
            for (shingles, numbers) in names.lengths {
                places.push(SetPlace { part: idx as u32, shingles, numbers, offset });
                offset += 8 * (u64::from(shingles) + u64::from(numbers));
            }

            ids.extend(names.ids);
            sources.extend(names.sources);
        }

        paths.push(place);
        first_row += part.rows;
    }

    let mut names = sources.clone();
    names.sort();
    names.dedup();
    let sources =
        sources.iter().map(|source| names.partition_point(|name| name < source) as u32).collect();
    Ok(Sets { ids, sources, names, places, paths, open: Mutex::default() })
}

fn spill_part(
    input: &Dataset,
    part: &Part,
    (idx, first_row): (usize, u64),
    links: &Links,
    params: &Params,
    place: &Path,
) -> Result<PartNames> {
    let beside = beside(place);
    let failed = |cause: std::io::Error| Error::file("write", &beside, cause);
    let mut file = BufWriter::new(File::create(&beside).map_err(failed)?);
    let mut names = PartNames::default();
    let columns = Some(&["id", "text", "source"][..]);
    let kernel = |batch: &RecordBatch, span: Span| spill_batch(batch, span, links, params);
    for_each_group(
        input.contract,
        part,
        idx,
        first_row,
        columns,
        &kernel,
        |_, (batch, bytes): (PartNames, Vec<u8>)| {
            names.ids.extend(batch.ids);
            names.sources.extend(batch.sources);
            names.lengths.extend(batch.lengths);
            file.write_all(&bytes).map_err(failed)
        },
    )?;

    file.flush().map_err(failed)?;
    drop(file);
    put_in_place(place)?;
    Ok(names)
}

/// The pure kernel: names of a batch's linked documents and the sets of its carriers.
fn spill_batch(
    batch: &RecordBatch,
    span: Span,
    links: &Links,
    params: &Params,
) -> Result<(PartNames, Vec<u8>)> {
    let (ids, texts, sources) =
        (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "source")?);
    let (mut names, mut bytes) = (PartNames::default(), Vec::new());
    let rows = batch.num_rows() as u64;
    let at = |row: &u32| (u64::from(*row) - span.first_row) as usize;

    for row in within(&links.rows, span.first_row, rows) {
        names.ids.push(ids.value(at(row)).to_string());
        names.sources.push(sources.value(at(row)).to_string());
    }

    let mut shingler = Shingler::new(params.shingle_words, params.shingle_chars);
    for row in within(&links.compared, span.first_row, rows) {
        let normal = normalise(texts.value(at(row)));
        let (shingles, numbers) = (shingler.set(&normal), numbers(&normal));
        names.lengths.push((shingles.len() as u32, numbers.len() as u32));
        bytes.extend(shingles.iter().chain(&numbers).flat_map(|hash| hash.to_le_bytes()));
    }

    Ok((names, bytes))
}

/// The part of an ascending list that lies in `first..first + n`.
fn within(rows: &[u32], first: u64, n: u64) -> &[u32] {
    let from = rows.partition_point(|row| u64::from(*row) < first);
    let to = rows.partition_point(|row| u64::from(*row) < first + n);
    &rows[from..to]
}

impl Sets {
    /// How many shingles the set at `at` of `Links::compared` has.
    pub(super) fn length(&self, at: usize) -> usize {
        self.places[at].shingles as usize
    }

    /// The shingles and numbers of `at` of `Links::compared`.
    pub(super) fn read(&self, at: usize) -> Result<Features> {
        let place = self.places[at];
        let path = &self.paths[place.part as usize];
        let failed = |cause: std::io::Error| Error::file("read", path, cause);
        let mut bytes = vec![0; 8 * (place.shingles as usize + place.numbers as usize)];
        let file = self.open(place.part, path)?;
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(place.offset)).map_err(failed)?;
            file.read_exact(&mut bytes).map_err(failed)?;
        }

        let (words, _) = bytes.as_chunks::<8>();
        let mut shingles: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let numbers = shingles.split_off(place.shingles as usize);
        Ok(Features { shingles, numbers })
    }

    fn open(&self, part: u32, path: &Path) -> Result<Arc<Mutex<File>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&part) {
            return Ok(file.clone());
        }
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        let file = Arc::new(Mutex::new(
            File::open(path).map_err(|cause| Error::file("open", path, cause))?,
        ));
        open.insert(part, file.clone());

        Ok(file)
    }
}
