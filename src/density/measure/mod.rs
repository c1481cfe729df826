//! What a document's knowledge is worth: the numbers that documents are ranked by, and which of
//! them go on where only so many tokens may (`density.keep_tokens`).
//!
//! Density is a document's worth on a scale of 0 to 1 (`score`). General text is ranked
//! with the rest and always stays: it is what keeps a model's language.
//!
//! To add a measure: a file with a [`Measure`], one `mod` line, one line in [`MEASURES`].

mod bm25;
mod bm25_coverage;
mod coverage;
mod hks;
mod sparrow;

use super::score::Scores;
use super::spill::{self, Row};
use crate::error::Result;
use crate::flow::contract::strings;
use crate::flow::dataset::{Batches, Dataset};
use crate::flow::registry;
use crate::flow::room::Context;
use crate::knowledge::lexicon::Lexicon;

/// Every measure.
pub static MEASURES: &[&Measure] = &[
    &bm25::BM25,
    &bm25_coverage::BM25_COVERAGE,
    &hks::HKS,
    &sparrow::SPARROW,
    &coverage::COVERAGE,
];

/// A measure of knowledge.
pub struct Measure {
    /// Its name: `density.measure`.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// What every document is worth.
    pub(super) worth: fn(&Corpus) -> Result<Worth>,
    /// How a document comes by its worth, in words.
    pub(super) why: fn(&Corpus, &One) -> String,
}

/// The measure called `name`.
///
/// # Errors
/// If there is none.
pub fn measure(name: &str) -> Result<&'static Measure> {
    registry::find("measure", MEASURES, name, |measure| measure.name)
}

/// What all documents are worth by every measure.
pub struct Measured {
    /// By the measures' names, in their order.
    pub by_measure: Vec<(&'static str, Vec<f64>)>,
    /// Length of each document, in words.
    pub n_tokens: Vec<u32>,
}

/// Measures all documents in every way.
///
/// # Errors
/// If a file cannot be read or written.
pub fn all(
    documents: &Dataset,
    lexicon: &Lexicon,
    params: &super::Params,
    cx: &Context,
) -> Result<Measured> {
    let model = Scores::build(documents, lexicon, params, cx)?;
    let corpus = Corpus::new(&model, documents, cx, params);
    let mut n_tokens = Vec::new();
    corpus.each(|one| {
        n_tokens.push(one.row.n_tokens);
        Ok(())
    })?;
    let values = |measure: &&Measure| Ok((measure.name, (measure.worth)(&corpus)?.values));
    Ok(Measured { by_measure: MEASURES.iter().map(values).collect::<Result<_>>()?, n_tokens })
}

/// The documents that are measured.
pub(super) struct Corpus<'a> {
    /// Their concepts, and BM25.
    pub(super) model: &'a Scores<'a>,
    documents: &'a Dataset,
    /// Tokens of the domain that may go on; all where there is no bound.
    pub(super) keep_tokens: Option<u64>,
    /// Documents that are to mention a concept.
    pub(super) wanted: u32,
    /// Memory to stay within, in bytes.
    pub(super) memory_bytes: u64,
}

/// A document of them.
pub(super) struct One<'a> {
    pub(super) row: Row<'a>,
    pub(super) bm25: f64,
}

/// What documents are worth, in the order of their rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Worth {
    pub(super) values: Vec<f64>,
    /// Whether each goes on.
    pub(super) stays: Vec<bool>,
}

impl<'a> Corpus<'a> {
    /// The corpus of some documents.
    pub(super) fn new(
        model: &'a Scores<'a>,
        documents: &'a Dataset,
        cx: &Context,
        params: &super::Params,
    ) -> Self {
        let keep_tokens = (params.keep_tokens > 0).then_some(params.keep_tokens);
        let (wanted, memory_bytes) = (params.wanted, cx.memory_bytes);
        Corpus { model, documents, keep_tokens, wanted, memory_bytes }
    }

    /// Whether each document is of a domain, not general text; all are where nothing says what they
    /// are. Read where it is asked, because most builds never ask.
    ///
    /// # Errors
    /// If a part cannot be read.
    fn is_domain(&self) -> Result<Vec<bool>> {
        let Dataset { contract, parts } = self.documents;
        let n_documents = self.model.scores.len();
        if contract.fields.iter().all(|field| field.name != "role") {
            return Ok(vec![true; n_documents]);
        }
        let mut is_domain = Vec::with_capacity(n_documents);
        for part in parts {
            for batch in Batches::open(&part.path, Some(contract), Some(&["role"]))? {
                let batch = batch?;
                let roles = strings(&batch, "role")?;
                is_domain.extend(roles.iter().map(|role| role != Some("general")));
            }
        }
        Ok(is_domain)
    }

    /// Every document, in order.
    ///
    /// # Errors
    /// If a part cannot be read, or those of the function.
    fn each(&self, mut of: impl FnMut(&One) -> Result<()>) -> Result<()> {
        let mut scores = self.model.scores.iter();
        each_row(&self.model.mentions, |row| {
            let bm25 = scores.next().copied().unwrap_or_default();
            of(&One { row: *row, bm25 })
        })
    }

    /// The worth of documents each of which is measured by itself.
    ///
    /// # Errors
    /// If a part cannot be read.
    fn one_by_one(&self, mut of: impl FnMut(&One) -> f64) -> Result<Worth> {
        let mut values = Vec::with_capacity(self.model.scores.len());
        self.each(|one| {
            values.push(of(one));
            Ok(())
        })?;
        self.chosen(values)
    }

    /// Which documents of some values go on: the greatest first, as long as they fit; of equals the
    /// first.
    ///
    /// # Errors
    /// If a part cannot be read.
    fn chosen(&self, values: Vec<f64>) -> Result<Worth> {
        let Some(most) = self.keep_tokens else {
            return Ok(Worth { stays: vec![true; values.len()], values });
        };
        let mut tokens = Vec::with_capacity(values.len());
        self.each(|one| {
            tokens.push(one.row.n_tokens);
            Ok(())
        })?;
        let is_domain = self.is_domain()?;
        let mut order: Vec<usize> = (0..values.len()).filter(|at| is_domain[*at]).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
        let mut stays: Vec<bool> = is_domain.iter().map(|is_domain| !is_domain).collect();
        let mut room = most;
        for at in order {
            let n = u64::from(tokens[at]);
            if n <= room {
                room -= n;
                stays[at] = true;
            }
        }
        Ok(Worth { values, stays })
    }
}

/// Every row of a dataset under the contract `mention`, in order.
///
/// # Errors
/// If a part cannot be read, or those of the function.
pub(super) fn each_row(mentions: &Dataset, mut of: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    for part in &mentions.parts {
        for batch in Batches::open(&part.path, Some(mentions.contract), None)? {
            for row in spill::rows(&batch?)? {
                of(&row)?;
            }
        }
    }
    Ok(())
}

/// The value that so large a share of the positive ones does not pass; 0 where none is positive.
fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut positive: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    positive.sort_unstable_by(f64::total_cmp);
    let at = (positive.len() as f64 * share).ceil() as usize;
    positive.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// What single lists and single long texts must not decide: values count up to that of the greatest
/// hundredth.
const CAPPED: f64 = 0.99;
