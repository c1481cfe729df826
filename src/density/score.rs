//! Everything a document's score depends on: the lexicon, this corpus's frequencies and lengths,
//! and the scale.
//!
//! Built in three steps, each of which continues where a kill left it: mentions of every part
//! ([`super::spill`]), the index ([`super::index`]), and one pass over its postings for the scores.
//! The last step is short and kept in memory: 8 bytes a document.

use serde::{Deserialize, Serialize};

use super::bm25::Bm25;
use super::measure::{Corpus, Worth, each_row, measure};
use super::spill::{self, Row};
use super::{Params, VERSION, index, ledger};
use crate::error::{Error, Result};
use crate::flow::dataset::{Dataset, read_json, write_json};
use crate::flow::room::Context;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;

/// What the side files were made from; other side files are deleted.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    version: u32,
    params: String,
    lexicon: String,
    parts: Vec<(String, u64, u64)>,
}

/// The scores of a corpus and what they are made of.
pub(super) struct Scores<'a> {
    pub(super) lexicon: &'a Lexicon,
    pub(super) finder: Finder,
    pub(super) bm25: Bm25,
    /// Documents that hold each concept.
    pub(super) df: Vec<u32>,
    /// Inverse document frequency of each concept.
    pub(super) idf: Vec<f64>,
    /// The same times what the concept counts for: more, where a model is to learn it.
    pub(super) weights: Vec<f64>,
    /// Mentions of each concept in all documents.
    pub(super) tf: Vec<u64>,
    /// BM25 of every row.
    pub(super) scores: Vec<f64>,
    /// What every row is worth by `density.measure`, and which go on.
    pub(super) worth: Worth,
    /// Median worth of the documents with any; 0 where no document has any.
    pub(super) median: f64,
    /// The concepts of every row.
    pub(super) mentions: Dataset,
}

/// The numbers of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measures {
    pub(super) bm25: f64,
    pub(super) worth: f64,
    pub(super) density: f64,
    pub(super) rarity: f64,
    pub(super) coverage: f64,
}

impl<'a> Scores<'a> {
    /// Reads all documents, or what an earlier run left of it, and scores them.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(super) fn build(
        documents: &Dataset,
        lexicon: &'a Lexicon,
        params: &Params,
        cx: &Context,
    ) -> Result<Self> {
        keep_only_matching(documents, lexicon, params, cx)?;
        let finder = Finder::new(lexicon, &params.names())?;
        let mentions = spill::find_all(documents, lexicon, &finder, params, cx)?;
        let mut tf = vec![0; lexicon.concepts.len()];
        let n_tokens = tally(&mentions, &mut tf)?;
        let n_docs = mentions.rows();
        let average = if n_docs == 0 { 0.0 } else { n_tokens as f64 / n_docs as f64 };
        let bm25 = Bm25 {
            variant: params.variant,
            k1: params.k1,
            b: params.b,
            delta: params.delta,
            n_docs,
            average,
        };

        cx.progress.message("index of concepts");
        let index = index::open(cx.folder, &mentions, lexicon, cx.memory_bytes)?;
        let df = index::document_frequencies(&index, lexicon, cx.folder)?;
        let idf: Vec<f64> = df.iter().map(|df| bm25.idf(*df)).collect();
        let factors = ledger::factors(params, lexicon)?;
        let weights: Vec<f64> =
            idf.iter().zip(&factors).map(|(idf, factor)| idf * factor).collect();
        let scores = index::score_rows(&index, lexicon, &bm25, &weights, cx.folder)?;
        let (worth, median) = (Worth::default(), 0.0);
        let model =
            Scores { lexicon, finder, bm25, df, idf, weights, tf, scores, worth, median, mentions };

        cx.progress.message("worth of documents");
        let corpus = Corpus::new(&model, documents, cx, params);
        let worth = (measure(&params.measure)?.worth)(&corpus)?;
        let median = self::median(&worth.values);
        Ok(Scores { worth, median, ..model })
    }

    /// The numbers of a row.
    pub(super) fn measure(&self, number: u64, row: &Row) -> Measures {
        let bm25 = self.scores[number as usize];
        let rarity = match row.concepts.len() {
            0 => 0.0,
            n => {
                row.concepts.iter().map(|concept| self.idf[*concept as usize]).sum::<f64>()
                    / n as f64
            }
        };

        let worth = self.worth.values[number as usize];
        let density = if worth > 0.0 { worth / (worth + self.median) } else { 0.0 };
        let coverage = 1000.0 * f64::from(row.n_pairs) / f64::from(row.n_tokens.max(1));
        Measures { bm25, worth, density, rarity, coverage }
    }
}

/// Counts words and mentions of all rows.
fn tally(mentions: &Dataset, tf: &mut [u64]) -> Result<u64> {
    let mut n_tokens = 0;
    each_row(mentions, |row| {
        n_tokens += u64::from(row.n_tokens);
        for (concept, n) in row.concepts.iter().zip(row.freqs) {
            tf[*concept as usize] += u64::from(*n);
        }
        Ok(())
    })?;
    Ok(n_tokens)
}

/// The median of the positive scores: the middle one, or the mean of the two in the middle; 0
/// without any.
fn median(scores: &[f64]) -> f64 {
    let mut positive: Vec<f64> = scores.iter().copied().filter(|score| *score > 0.0).collect();
    positive.sort_unstable_by(f64::total_cmp);
    match (positive.len() / 2, positive.len() % 2) {
        (0, 0) => 0.0,
        (half, 1) => positive[half],
        (half, _) => (positive[half - 1] + positive[half]) / 2.0,
    }
}

/// Deletes side files that were made from another lexicon, other parameters or other documents.
fn keep_only_matching(
    documents: &Dataset,
    lexicon: &Lexicon,
    params: &Params,
    cx: &Context,
) -> Result<()> {
    let place = cx.folder.join("stamp.json");
    let mut parts = Vec::new();

    for part in &documents.parts {
        let size = std::fs::metadata(&part.path)
            .map_err(|cause| Error::file("read", &part.path, cause))?
            .len();
        parts.push((part.path.display().to_string(), part.rows, size));
    }

    let params =
        serde_json::to_string(params).map_err(|cause| Error::file("write", &place, cause))?;
    let stamp = Stamp { version: VERSION, params, lexicon: lexicon.hash(), parts };
    if read_json::<Stamp>(&place)?.as_ref() == Some(&stamp) {
        return Ok(());
    }
    let entries =
        std::fs::read_dir(cx.folder).map_err(|cause| Error::file("list", cx.folder, cause))?;

    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name == "index.json" || name.starts_with("mentions-") || name.starts_with("scores-") {
            std::fs::remove_file(&path).map_err(|cause| Error::file("delete", &path, cause))?;
        }
    }

    write_json(&place, &stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_leaves_out_documents_without_concepts() {
        assert_eq!(median(&[0.0, 0.0]), 0.0);
        assert_eq!(median(&[0.0, 3.0, 1.0, 0.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 0.0, 1.0]), 2.5);
    }
}
