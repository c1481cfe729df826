//! The verdicts on disk, the rows they make (kept or in the ledger), and the guard that reads them
//! per source.
//!
//! `verdicts.bin` holds one fixed record for each linked document, in row order; `verdicts.json` is
//! its commit. From then on the room needs none of its other side files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Builder, RecordBatch, StringBuilder, UInt16Builder, UInt64Array,
};
use arrow::compute::filter_record_batch;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::dedup::Params;
use crate::dedup::bands::{Links, little_endian};
use crate::dedup::cluster::{Removal, Verdict};
use crate::dedup::sets::Sets;
use crate::dedup::sketch::Sketches;
use crate::dedup::verify::{Rule, Similarity};
use crate::error::{Error, Result};
use crate::flow::contract::{contract, strings};
use crate::flow::dataset::{read_json, write_atomically, write_json};
use crate::flow::room::{Context, Outcome, Span};

/// Bytes of a verdict on disk.
const RECORD: usize = 43;

/// Clusters that the guard's message shows, and removed ids of each.
const SHOWN: usize = 3;

/// Everything the last phase needs.
#[derive(Default)]
pub(super) struct Verdicts {
    verdicts: Vec<Verdict>,
    facts: Facts,
}

/// What stands beside the verdicts.
#[derive(Default, Serialize, Deserialize)]
struct Facts {
    /// Texts too short to shingle, by part.
    too_short: Vec<u64>,
    /// Row, id and source of every document that another was removed for, in row order.
    survivors: Vec<(u32, String, String)>,
    /// What each source loses.
    sources: BTreeMap<String, Losses>,
}

/// What a source loses.
#[derive(Default, Serialize, Deserialize)]
struct Losses {
    documents: u64,
    removed: u64,
    /// The largest clusters: survivor, documents of this source removed for it, some of their ids.
    largest: Vec<(String, u64, Vec<String>)>,
}

impl Verdicts {
    /// Puts together what phases 1 to 4 found.
    pub(super) fn new(
        verdicts: Vec<Verdict>,
        sketches: &Sketches,
        links: &Links,
        sets: &Sets,
    ) -> Self {
        let mut facts = Facts::default();
        for part in &sketches.facts {
            facts.too_short.push(part.too_short);
            for (source, n) in &part.sources {
                facts.sources.entry(source.clone()).or_default().documents += n;
            }
        }

        let place = |row: u32| links.rows.partition_point(|linked| *linked < row);
        let source = |row: u32| &sets.names[sets.sources[place(row)] as usize];
        let mut survivors: Vec<u32> =
            verdicts.iter().filter_map(|v| v.removal.map(|r| r.survivor)).collect();
        survivors.sort_unstable();
        survivors.dedup();
        facts.survivors = survivors
            .into_iter()
            .map(|row| (row, sets.ids[place(row)].clone(), source(row).clone()))
            .collect();
        let removed = verdicts.iter().filter_map(|v| v.removal.map(|r| (v.row, r.survivor)));
        let mut removed: Vec<(&str, &str, &str)> = removed
            .map(|(row, survivor)| {
                (
                    source(row).as_str(),
                    sets.ids[place(survivor)].as_str(),
                    sets.ids[place(row)].as_str(),
                )
            })
            .collect();

        removed.sort_unstable();
        for lost in removed.chunk_by(|a, b| a.0 == b.0) {
            let losses = facts.sources.entry(lost[0].0.to_string()).or_default();
            losses.removed = lost.len() as u64;
            losses.largest = largest(lost);
        }

        Verdicts { verdicts, facts }
    }

    /// The verdicts of this run or one before it, if they were reached.
    pub(super) fn read(cx: &Context) -> Result<Option<Self>> {
        let Some(facts) = read_json(&cx.folder.join("verdicts.json"))? else { return Ok(None) };
        let place = cx.folder.join("verdicts.bin");
        let bytes = std::fs::read(&place).map_err(|cause| Error::file("read", &place, cause))?;
        let (records, rest) = bytes.as_chunks::<RECORD>();
        let verdicts: Option<Vec<Verdict>> = records.iter().map(decode).collect();

        match verdicts.filter(|_| rest.is_empty()) {
            Some(verdicts) => Ok(Some(Verdicts { verdicts, facts })),
            None => Err(Error::data(format!("`{}` is damaged", place.display()))
                .hint(format!("delete the folder `{}` and run again", cx.folder.display()))),
        }
    }

    /// Writes the verdicts; with this the phases before are done.
    pub(super) fn write(&self, cx: &Context) -> Result<()> {
        let bytes: Vec<u8> = self.verdicts.iter().flat_map(encode).collect();
        write_atomically(&cx.folder.join("verdicts.bin"), &bytes)?;
        write_json(&cx.folder.join("verdicts.json"), &self.facts)
    }

    /// Tells what a person must know beyond the books.
    pub(super) fn tell(&self, params: &Params, cx: &Context) {
        let left_out: u64 = self.verdicts.iter().map(|verdict| u64::from(verdict.left_out)).sum();
        if left_out > 0 {
            cx.progress.note(&format!(
                "dedup left out {left_out} candidates, because a bucket held more than \
                 `dedup.max_compared` = {} survivors; \
                 many documents share a template",
                params.max_compared
            ));
        }
    }

    /// The pure kernel of the last phase: splits a batch into rows that go on and rows of the
    /// ledger.
    pub(super) fn apply(&self, batch: &RecordBatch, span: Span) -> Result<Outcome> {
        let ids = strings(batch, "id")?;
        let mut neighbourhoods: Vec<u64> =
            ids.iter().map(|id| xxh3_64(id.unwrap_or("").as_bytes())).collect();
        let mut kept = vec![true; batch.num_rows()];
        let (mut removed, mut left_out) = (Vec::new(), 0);
        let from = self.verdicts.partition_point(|verdict| u64::from(verdict.row) < span.first_row);
        let end = span.first_row + batch.num_rows() as u64;

        for verdict in
            self.verdicts[from..].iter().take_while(|verdict| u64::from(verdict.row) < end)
        {
            let row = (u64::from(verdict.row) - span.first_row) as usize;
            neighbourhoods[row] = verdict.neighbourhood;
            left_out += u64::from(verdict.left_out);
            if let Some(removal) = &verdict.removal {
                kept[row] = false;
                removed.push((row, removal));
            }
        }

        let column: ArrayRef = Arc::new(UInt64Array::from(neighbourhoods));
        let wide = contract("unique")?.widen(batch, vec![("neighbourhood", column)])?;
        let mut notes = vec![("candidates left out by max_compared", left_out)];

        if span.batch == 0 {
            notes.push((
                "too short to shingle",
                self.facts.too_short.get(span.part).copied().unwrap_or(0),
            ));
        }

        Ok(Outcome {
            made: Vec::new(),
            kept: filter_record_batch(&wide, &BooleanArray::from(kept))?,
            refused: Vec::new(),
            duplicates: if removed.is_empty() { None } else { Some(self.ledger(batch, &removed)?) },
            notes,
        })
    }

    /// Rows of the contract `duplicate`.
    fn ledger(&self, batch: &RecordBatch, removed: &[(usize, &Removal)]) -> Result<RecordBatch> {
        let (ids, texts, sources) =
            (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "source")?);
        let mut words: [StringBuilder; 6] = Default::default();
        let (mut jaccard, mut containment) = (Float32Builder::new(), Float32Builder::new());
        let mut bands = UInt16Builder::new();

        for (row, removal) in removed {
            let at = self.facts.survivors.partition_point(|survivor| survivor.0 < removal.survivor);
            let Some((_, survivor, survivor_source)) = self.facts.survivors.get(at) else {
                return Err(Error::data("`verdicts.json` does not belong to `verdicts.bin`")
                    .hint("delete the room's folder and run again"));
            };
            let (id, source, text) = (ids.value(*row), sources.value(*row), texts.value(*row));
            let values = [id, source, survivor, survivor_source, removal.rule.name(), text];
            words.iter_mut().zip(values).for_each(|(builder, value)| builder.append_value(value));
            jaccard.append_value(removal.similarity.jaccard as f32);
            containment.append_value(removal.similarity.containment as f32);

            bands.append_value(removal.bands);
        }

        let [id, source, survivor, survivor_source, rule, text] =
            words.map(|mut w| Arc::new(w.finish()) as ArrayRef);
        let numbers: [ArrayRef; 3] =
            [Arc::new(jaccard.finish()), Arc::new(containment.finish()), Arc::new(bands.finish())];
        let [jaccard, containment, bands] = numbers;
        contract("duplicate")?.batch(vec![
            id,
            source,
            survivor,
            survivor_source,
            rule,
            jaccard,
            containment,
            bands,
            text,
        ])
    }

    /// Stops the run when a source loses more than `max_removed` of its documents, a share in [0,
    /// 1].
    pub(super) fn guard(&self, max_removed: f64, cx: &Context) -> Result<()> {
        for (name, losses) in &self.facts.sources {
            let share = losses.removed as f64 / losses.documents.max(1) as f64;
            if share <= max_removed {
                continue;
            }
            let mut error = Error::data(format!(
                "source `{name}` loses {:.1} % of its {} documents as duplicates, more than \
                 `max_removed` = {max_removed} allows",
                100.0 * share,
                losses.documents
            ));

            for (survivor, n, examples) in &losses.largest {
                error =
                    error.at(format!("{n} removed for `{survivor}`: `{}`", examples.join("`, `")));
            }

            return Err(error
                .hint(format!(
                    "see `{}`: is it one template, or true copies?",
                    cx.numbered("duplicates", 0, "parquet").display()
                ))
                .hint(
                    "true copies: raise `max_removed`; a template: raise `dedup.jaccard` and \
                       `dedup.containment`",
                ));
        }
        Ok(())
    }
}

/// The largest clusters of one source's losses, which are sorted by survivor and removed id.
fn largest(lost: &[(&str, &str, &str)]) -> Vec<(String, u64, Vec<String>)> {
    let mut clusters: Vec<&[(&str, &str, &str)]> = lost.chunk_by(|a, b| a.1 == b.1).collect();
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.len()));
    let shown = clusters.into_iter().take(SHOWN).map(|cluster| {
        let examples =
            cluster.iter().take(SHOWN).map(|(_, _, removed)| (*removed).to_string()).collect();
        (cluster[0].1.to_string(), cluster.len() as u64, examples)
    });
    shown.collect()
}

fn encode(verdict: &Verdict) -> [u8; RECORD] {
    let none = Similarity { jaccard: 0.0, containment: 0.0 };
    let removal = verdict.removal.unwrap_or(Removal {
        survivor: 0,
        rule: Rule::Exact,
        similarity: none,
        bands: 0,
    });

    let rule =
        verdict.removal.and_then(|removal| Rule::ALL.iter().position(|rule| *rule == removal.rule));
    let mut bytes = [0; RECORD];
    bytes[0..4].copy_from_slice(&verdict.row.to_le_bytes());
    bytes[4..12].copy_from_slice(&verdict.neighbourhood.to_le_bytes());
    bytes[12..16].copy_from_slice(&verdict.left_out.to_le_bytes());
    bytes[16] = rule.map_or(0, |rule| rule as u8 + 1);
    bytes[17..21].copy_from_slice(&removal.survivor.to_le_bytes());
    bytes[21..29].copy_from_slice(&removal.similarity.jaccard.to_le_bytes());
    bytes[29..37].copy_from_slice(&removal.similarity.containment.to_le_bytes());
    bytes[37..39].copy_from_slice(&removal.bands.to_le_bytes());
    let check = xxh3_64(&bytes[..39]) as u32;
    bytes[39..43].copy_from_slice(&check.to_le_bytes());

    bytes
}

/// `None` where the record is damaged.
fn decode(bytes: &[u8; RECORD]) -> Option<Verdict> {
    let take = |from: usize, n: usize| little_endian(&bytes[from..from + n]);
    if take(39, 4) != xxh3_64(&bytes[..39]) & 0xffff_ffff {
        return None;
    }
    let removal = match bytes[16] {
        0 => None,
        number => Some(Removal {
            survivor: take(17, 4) as u32,
            rule: *Rule::ALL.get(usize::from(number) - 1)?,
            similarity: Similarity {
                jaccard: f64::from_bits(take(21, 8)),
                containment: f64::from_bits(take(29, 8)),
            },
            bands: take(37, 2) as u16,
        }),
    };

    Some(Verdict {
        row: take(0, 4) as u32,
        neighbourhood: take(4, 8),
        left_out: take(12, 4) as u32,
        removal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_back_and_damage_is_seen() {
        let similarity = Similarity { jaccard: 0.8125, containment: 0.9 };
        let removal =
            Some(Removal { survivor: 70_000, rule: Rule::Containment, similarity, bands: 14 });

        for removal in [None, removal] {
            let verdict =
                Verdict { row: 4_000_000_000, neighbourhood: u64::MAX - 5, left_out: 9, removal };
            let mut bytes = encode(&verdict);
            assert_eq!(decode(&bytes), Some(verdict));
            bytes[5] ^= 1;
            assert_eq!(decode(&bytes), None);
        }
    }
}
