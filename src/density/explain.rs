//! Scores of any documents, by themselves: the library of `kpipe score`.
//!
//! [`score`] writes `scores-NNNNN.parquet` (contract `score`) into the context's folder and gives a
//! [`Summary`]; [`explain`] lists every term of one document, and their contributions sum to its
//! BM25. Both take up the side files that an earlier run over the same documents left in the
//! folder. [`super::table`] sets them as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float32Array, ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Float32Type, UInt32Type};
use serde::Serialize;

use super::measure::{Corpus, MEASURES, One};
use super::score::{Measures, Scores};
use super::spill::{self, Row};
use super::{Params, columns, spilled};
use crate::error::{Error, Result};
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::{Batches, Dataset};
use crate::flow::room::{Context, Span};
use crate::knowledge::lexicon::{FileBooks, Lexicon};
use crate::knowledge::names::NameBooks;

/// Terms listed with each score.
const TOP_TERMS: usize = 8;
/// Bins of the histogram over [0, 1].
pub const BINS: usize = 20;

/// What one concept contributes to the score of one document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Term {
    /// Id of the concept.
    pub concept: String,
    /// Its preferred name.
    pub name: String,
    /// Mentions in the document.
    pub tf: u32,
    /// Documents that mention it.
    pub df: u32,
    /// Its inverse document frequency, in nats.
    pub idf: f64,
    /// What it adds to BM25.
    pub contribution: f64,
    /// The mentions as they stand in the text, with how often; only in an [`Explanation`].
    pub found: Vec<(String, u32)>,
}

/// A document in a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoredDocument {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its title, where it has one.
    pub title: Option<String>,
    /// Knowledge density, [0, 1].
    pub density: f32,
    /// Sum of the contributions.
    pub bm25: f32,
    /// Its length in words.
    pub n_tokens: u32,
    /// Distinct concepts.
    pub n_concepts: u32,
    /// The terms that contribute most, greatest first; at most 8.
    pub terms: Vec<Term>,
}

/// How often a concept is mentioned in a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrequentConcept {
    /// Id of the concept.
    pub concept: String,
    /// Its preferred name.
    pub name: String,
    /// Documents that mention it.
    pub df: u32,
    /// Mentions in all documents.
    pub mentions: u64,
}

/// What scoring a corpus gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Documents scored.
    pub documents: u64,
    /// Documents that mention any concept with a positive contribution.
    pub with_concepts: u64,
    /// Average length in words.
    pub average_tokens: f64,
    /// What density is made of: a name of [`super::measure::MEASURES`].
    pub measure: String,
    /// Median worth of the documents with any: density 0.5.
    pub median: f64,
    /// Concepts of the lexicon.
    pub concepts: u64,
    /// Concepts that any document mentions.
    pub concepts_found: u64,
    /// Documents by density, in [`BINS`] equal bins over [0, 1].
    pub histogram: Vec<u64>,
    /// The documents of highest density, highest first; equal ones by id.
    pub top: Vec<ScoredDocument>,
    /// The documents of lowest density above 0, lowest first; equal ones by id.
    pub bottom: Vec<ScoredDocument>,
    /// The concepts that most documents mention.
    pub frequent: Vec<FrequentConcept>,
    /// What was read of each lexicon file.
    pub lexicon: Vec<FileBooks>,
    /// What became of the lexicon's names.
    pub names: NameBooks,
}

/// What a document is worth by a measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ByMeasure {
    /// Its name.
    pub measure: &'static str,
    /// What the document is worth by it.
    pub worth: f64,
    /// Its place among all documents, 1 for the greatest; equal ones share a place.
    pub rank: u64,
    /// How it comes by that.
    pub why: String,
}

/// Why a document has its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Its id.
    pub id: String,
    /// Knowledge density, [0, 1].
    pub density: f64,
    /// Sum of the contributions.
    pub bm25: f64,
    /// What density is made of: a name of [`super::measure::MEASURES`].
    pub measure: String,
    /// What the document is worth by it.
    pub worth: f64,
    /// Median worth of the documents with any.
    pub median: f64,
    /// The document by every measure.
    pub by_measure: Vec<ByMeasure>,
    /// Its length in words.
    pub n_tokens: u32,
    /// Average length in words.
    pub average_tokens: f64,
    /// Documents of the corpus.
    pub documents: u64,
    /// Mean idf of its distinct concepts, in nats.
    pub rarity: f64,
    /// Distinct linked pairs that stand near each other, per 1,000 words.
    pub coverage: f64,
    /// All its terms, greatest contribution first, equal ones by id.
    pub terms: Vec<Term>,
}

/// Scores all documents (any contract with `id`, `source` and `text`) and says what came of it,
/// with `k` documents and concepts in each list.
///
/// # Errors
/// If a file cannot be read or written.
pub fn score(
    documents: &Dataset,
    lexicon: &Lexicon,
    params: &Params,
    k: usize,
    cx: &Context,
) -> Result<Summary> {
    let model = Scores::build(documents, lexicon, params, cx)?;
    write_scores(documents, &model, cx)?;
    summarise(documents, &model, params, k, cx)
}

/// Writes the scores of every part that has none yet.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn write_scores(documents: &Dataset, model: &Scores, cx: &Context) -> Result<()> {
    let leaves = contract("score")?;
    let score = |batch: &RecordBatch, span: Span| {
        let spilled = spilled(model, span)?;
        let mut added = columns(&spilled, model, span.first_row)?;
        added.push(("terms", terms_column(&spill::rows(&spilled)?, model)?));
        leaves.widen(batch, added)
    };
    cx.map_beside(documents, "scores", leaves, &["id", "source"], score).map(|_| ())
}

/// The terms of a row, greatest contribution first, equal ones by id.
fn terms(row: &Row, model: &Scores) -> Vec<Term> {
    let term = |(concept, tf): (&u32, &u32)| {
        let (at, known) = (*concept as usize, &model.lexicon.concepts[*concept as usize]);
        Term {
            concept: known.id.clone(),
            name: known.name.clone(),
            tf: *tf,
            df: model.df[at],
            idf: model.idf[at],
            contribution: model.bm25.contribution(model.weights[at], *tf, row.n_tokens),
            found: Vec::new(),
        }
    };

    let mut terms: Vec<Term> = row.concepts.iter().zip(row.freqs).map(term).collect();
    // Stable: the concepts stand in id order.
    terms.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    terms
}

fn terms_column(rows: &[Row], model: &Scores) -> Result<ArrayRef> {
    let schema = &contract("score")?.schema;
    let wrong = || Error::data("`terms` is no list of structs in schemas/score.toml");
    let DataType::List(item) = schema.field_with_name("terms")?.data_type().clone() else {
        return Err(wrong());
    };
    let DataType::Struct(fields) = item.data_type().clone() else { return Err(wrong()) };
    let lists: Vec<Vec<Term>> =
        rows.iter().map(|row| terms(row, model).into_iter().take(TOP_TERMS).collect()).collect();
    let flat: Vec<&Term> = lists.iter().flatten().collect();
    let all = || flat.iter();
    let children: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(all().map(|term| &term.concept))),
        Arc::new(StringArray::from_iter_values(all().map(|term| &term.name))),
        Arc::new(UInt32Array::from_iter_values(all().map(|term| term.tf))),
        Arc::new(UInt32Array::from_iter_values(all().map(|term| term.df))),
        Arc::new(Float32Array::from_iter_values(all().map(|term| term.idf as f32))),
        Arc::new(Float32Array::from_iter_values(all().map(|term| term.contribution as f32))),
    ];

    let values = StructArray::try_new_with_length(fields, children, None, flat.len())?;
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(values), None)?))
}

/// A document that may stand in a summary: density, id, and where its rows are.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    density: f32,
    id: String,
    span: Span,
    row: usize,
}

/// Keeps the first `k` candidates of an order in which equal densities stand by id.
fn keep(candidates: &mut Vec<Candidate>, k: usize, highest: bool) {
    candidates.sort_by(|a, b| {
        let by_density = a.density.total_cmp(&b.density);
        (if highest { by_density.reverse() } else { by_density }).then_with(|| a.id.cmp(&b.id))
    });
    candidates.truncate(k);
}

/// Reads the scores back: histogram, first and last documents, frequent concepts.
fn summarise(
    documents: &Dataset,
    model: &Scores,
    params: &Params,
    k: usize,
    cx: &Context,
) -> Result<Summary> {
    let (mut histogram, mut with_concepts) = (vec![0; BINS], 0);
    let (mut top, mut bottom): (Vec<Candidate>, Vec<Candidate>) = (Vec::new(), Vec::new());

    for part in 0..documents.parts.len() {
        let batches = Batches::open(
            &cx.numbered("scores", part, "parquet"),
            Some(contract("score")?),
            Some(&["id", "density"]),
        )?;
        for (idx, batch) in batches.enumerate() {
            let batch = batch?;
            let span = Span { part, batch: idx, first_row: 0 };
            let densities = numbers::<Float32Type>(&batch, "density")?.values();
            let ids = strings(&batch, "id")?;

            for (row, density) in densities.iter().copied().enumerate() {
                histogram[((density * BINS as f32) as usize).min(BINS - 1)] += 1;
                if density > 0.0 {
                    with_concepts += 1;
                    let candidate =
                        Candidate { density, id: ids.value(row).to_string(), span, row };
                    top.push(candidate.clone());
                    bottom.push(candidate);
                }
            }

            keep(&mut top, k, true);
            keep(&mut bottom, k, false);
        }
    }

    Ok(Summary {
        documents: model.bm25.n_docs,
        with_concepts,
        average_tokens: model.bm25.average,
        measure: params.measure.clone(),
        median: model.median,
        concepts: model.lexicon.concepts.len() as u64,
        concepts_found: model.df.iter().filter(|df| **df > 0).count() as u64,
        histogram,
        top: top
            .iter()
            .map(|candidate| look_up(documents, candidate, cx))
            .collect::<Result<_>>()?,
        bottom: bottom
            .iter()
            .map(|candidate| look_up(documents, candidate, cx))
            .collect::<Result<_>>()?,
        frequent: frequent(model, k),
        lexicon: model.lexicon.books.clone(),

        names: model.finder.books().clone(),
    })
}

fn frequent(model: &Scores, k: usize) -> Vec<FrequentConcept> {
    let mut order: Vec<usize> = (0..model.df.len()).filter(|at| model.df[*at] > 0).collect();
    order.sort_by_key(|at| (std::cmp::Reverse((model.df[*at], model.tf[*at])), *at));
    let concept = |at: usize| FrequentConcept {
        concept: model.lexicon.concepts[at].id.clone(),
        name: model.lexicon.concepts[at].name.clone(),
        df: model.df[at],
        mentions: model.tf[at],
    };
    order.into_iter().take(k).map(concept).collect()
}

/// The batch of a file at a span.
fn batch_at(path: &std::path::Path, span: Span, columns: Option<&[&str]>) -> Result<RecordBatch> {
    let mut batches = Batches::open(path, None, columns)?;
    batches.skip_batches(span.batch);
    batches
        .next()
        .unwrap_or_else(|| Err(Error::data(format!("`{}` has too few rows", path.display()))))
}

/// Everything a summary tells about one document.
fn look_up(documents: &Dataset, candidate: &Candidate, cx: &Context) -> Result<ScoredDocument> {
    let Candidate { span, row, .. } = *candidate;
    let scores = batch_at(&cx.numbered("scores", span.part, "parquet"), span, None)?;
    let has_title = documents.contract.fields.iter().any(|field| field.name == "title");
    let title = if has_title {
        let titles = batch_at(&documents.parts[span.part].path, span, Some(&["title"]))?;
        strings(&titles, "title")?.iter().nth(row).flatten().map(str::to_string)
    } else {
        None
    };

    let count =
        |name: &str| -> Result<u32> { Ok(numbers::<UInt32Type>(&scores, name)?.value(row)) };
    Ok(ScoredDocument {
        id: candidate.id.clone(),
        source: strings(&scores, "source")?.value(row).to_string(),
        title,
        density: candidate.density,
        bm25: numbers::<Float32Type>(&scores, "bm25")?.value(row),
        n_tokens: count("n_tokens")?,
        n_concepts: count("n_concepts")?,
        terms: read_terms(&scores, row)?,
    })
}

fn read_terms(scores: &RecordBatch, row: usize) -> Result<Vec<Term>> {
    let wrong = || Error::data("column `terms` is no list of structs");
    let list = crate::flow::contract::column(scores, "terms")?
        .as_list_opt::<i32>()
        .ok_or_else(wrong)?
        .value(row);
    let values = RecordBatch::from(list.as_struct_opt().ok_or_else(wrong)?);
    let (concepts, names) = (strings(&values, "concept")?, strings(&values, "name")?);
    let (tf, df) = (numbers::<UInt32Type>(&values, "tf")?, numbers::<UInt32Type>(&values, "df")?);
    let idf = numbers::<Float32Type>(&values, "idf")?;
    let contribution = numbers::<Float32Type>(&values, "contribution")?;
    let term = |at: usize| Term {
        concept: concepts.value(at).to_string(),
        name: names.value(at).to_string(),
        tf: tf.value(at),
        df: df.value(at),
        idf: f64::from(idf.value(at)),
        contribution: f64::from(contribution.value(at)),
        found: Vec::new(),
    };

    Ok((0..values.num_rows()).map(term).collect())
}

/// Why the document `id` has its score, term by term; `None` where there is no such document.
///
/// # Errors
/// If a file cannot be read or written.
pub fn explain(
    documents: &Dataset,
    lexicon: &Lexicon,
    params: &Params,
    id: &str,
    cx: &Context,
) -> Result<Option<Explanation>> {
    let model = Scores::build(documents, lexicon, params, cx)?;
    let place = cx.scan(documents, Some(&["id"]), |batch, span| {
        Ok(strings(batch, "id")?.iter().position(|other| other == Some(id)).map(|row| (span, row)))
    })?;
    let Some((span, row)) = place.into_iter().flatten().next() else { return Ok(None) };
    let texts = batch_at(&documents.parts[span.part].path, span, Some(&["text"]))?;
    let text = strings(&texts, "text")?.value(row);
    let spilled = spilled(&model, span)?;
    let rows = spill::rows(&spilled)?;
    let mut terms = terms(&rows[row], &model);
    let mut found: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();

    for mention in model.finder.find(text) {
        let concept = lexicon.concepts[mention.concept as usize].id.clone();
        *found
            .entry(concept)
            .or_default()
            .entry(text[mention.start..mention.end].to_string())
            .or_default() += 1;
    }

    for term in &mut terms {
        term.found = found.remove(&term.concept).unwrap_or_default().into_iter().collect();
    }
    let number = span.first_row + row as u64;
    let Measures { bm25, worth, density, rarity, coverage } = model.measure(number, &rows[row]);
    let one = One { row: rows[row], bm25 };
    let corpus = Corpus::new(&model, documents, cx, params);
    let by_measure = MEASURES.iter().map(|measure| {
        let values = (measure.worth)(&corpus)?.values;
        let own = values[number as usize];
        Ok(ByMeasure {
            measure: measure.name,
            worth: own,
            rank: 1 + values.iter().filter(|value| **value > own).count() as u64,
            why: (measure.why)(&corpus, &one),
        })
    });
    let by_measure = by_measure.collect::<Result<_>>()?;
    Ok(Some(Explanation {
        id: id.to_string(),
        density,
        bm25,
        measure: params.measure.clone(),
        worth,
        median: model.median,
        by_measure,
        n_tokens: rows[row].n_tokens,
        average_tokens: model.bm25.average,
        documents: model.bm25.n_docs,
        rarity,
        coverage,

        terms,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::bm25::Variant;
    use super::super::tests::{context, documents, lexicon, params};
    use super::*;
    use crate::text::words::words;
    use proptest::prelude::*;

    /// BM25 by its definition: every concept against every document, found by splitting at spaces.
    fn brute_force(texts: &[String], variant: Variant) -> Vec<f64> {
        let concepts = [&["aspirin", "asa"][..], &["fever", "pyrexia"], &["malaria"], &["quinine"]];
        let n = texts.len() as f64;
        let length = |text: &String| words(text).count() as f64;
        let average = texts.iter().map(length).sum::<f64>() / n;
        let tf = |text: &String, names: &[&str]| {
            text.split(' ').filter(|word| names.contains(&word.to_lowercase().as_str())).count()
                as f64
        };
        let score = |text: &String| {
            let one = |names: &&[&str]| {
                let df = texts.iter().filter(|text| tf(text, names) > 0.0).count() as f64;
                let (tf, k) = (tf(text, names), 1.2 * (0.25 + 0.75 * length(text) / average));

                match variant {
                    _ if tf == 0.0 => 0.0,
                    Variant::Lucene => (1.0 + (n - df + 0.5) / (df + 0.5)).ln() * tf / (tf + k),
                    Variant::Robertson => {
                        ((n - df + 0.5) / (df + 0.5)).ln().max(0.0) * tf / (tf + k)
                    }
                    Variant::Atire => (n / df).ln() * 2.2 * tf / (tf + k),
                    Variant::Bm25Plus => ((n + 1.0) / df).ln() * (2.2 * tf / (tf + k) + 1.0),
                }
            };
            concepts.iter().map(one).sum()
        };

        texts.iter().map(score).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Scores equal brute force, explanations sum to them, and the summary counts every
        /// document once.
        #[test]
        fn scores_equal_brute_force(
            texts in proptest::collection::vec("(aspirin|ASA|fever|Pyrexia|malaria|quinine|word|and|filler)( (aspirin|fever|malaria|note|the)){0,9}", 1..16),
            rows in 1_usize..6, kind in 0..4,
        ) {
            let variant = [Variant::Lucene, Variant::Robertson, Variant::Atire,
                Variant::Bm25Plus][kind as usize];
            let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (lexicon, params) = (lexicon(), Params { variant, ..params() });
            let (documents, cx) = (documents(folder.path(), &texts, rows), context(out.path()));
            let summary = score(&documents, &lexicon, &params, 3, &cx).unwrap();
            prop_assert_eq!(summary.histogram.iter().sum::<u64>(), texts.len() as u64);

            for (at, expected) in brute_force(&texts, variant).into_iter().enumerate() {
                let why = explain(&documents, &lexicon, &params, &format!("t:{at}"),
                    &cx).unwrap().unwrap();
                prop_assert!((why.bm25 - expected).abs() < 1e-9, "{} instead of \
                                                                  {expected}", why.bm25);
                let sum: f64 = why.terms.iter().map(|term| term.contribution).sum();
                prop_assert!((sum - expected).abs() < 1e-9);
                for term in &why.terms {
                    prop_assert_eq!(term.found.iter().map(|(_, n)| n).sum::<u32>(), term.tf);
                }
            }
        }
    }

    #[test]
    fn the_summary_lists_the_best_and_the_poorest_with_their_terms() {
        let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut texts = vec![
            "Quinine treats malaria.".to_string(),
            "A fever, in many other words.".to_string(),
        ];
        texts.extend((0..4).map(|n| format!("Nothing of interest, number {n}.")));
        texts.push("Fever again, and nothing else that a lexicon would have.".to_string());
        let (documents, cx) = (documents(folder.path(), &texts, 3), context(out.path()));
        let summary = score(&documents, &lexicon(), &params(), 2, &cx).unwrap();
        let ids = |list: &[ScoredDocument]| {
            list.iter().map(|document| document.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&summary.top), ["t:0", "t:1"]);
        assert_eq!(ids(&summary.bottom), ["t:6", "t:1"]);
        assert_eq!(summary.bottom[1].density, 0.5, "the median document");
        assert_eq!((summary.documents, summary.with_concepts, summary.concepts_found), (7, 3, 3));
        assert_eq!(summary.top[0].title.as_deref(), Some("t:0"));
        let terms: Vec<&str> = summary.top[0].terms.iter().map(|term| term.name.as_str()).collect();
        assert_eq!(terms, ["Malaria", "Quinine"]);
        assert_eq!((summary.frequent[0].name.as_str(), summary.frequent[0].df), ("Fever", 2));
        let text = super::super::table::summary(&summary);
        assert!(
            text.contains("7 documents, 3 with concepts") && text.contains("Malaria"),
            "{text}"
        );
        let why = explain(&documents, &lexicon(), &params(), "t:0", &cx).unwrap().unwrap();
        assert_eq!(why.coverage, 1000.0 / 3.0);
        assert!(super::super::table::explanation(&why).contains("Malaria (D3): 1 × \"malaria\""));
        assert_eq!(explain(&documents, &lexicon(), &params(), "t:99", &cx).unwrap(), None);
    }
}
