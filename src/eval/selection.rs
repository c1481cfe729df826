//! Whether a measure ranks what is worth learning above the rest: documents with labels, in; the
//! area under the curve of each of [`crate::density::measure`], with its interval, out.
//!
//! Beside stand what needs no lexicon: the length, the perplexity of a text's words by their
//! frequencies in all documents (low ones are kept, as CCNet does with a model's, Wenzek et al.
//! 2020, arXiv:1911.00359), how far zlib packs it (what repeats itself packs well), and a draw. 0.5
//! is a guess, less than that ranks the rest above. Length tells much apart by itself, so the area
//! stands beside it that counts pairs of documents of like length alone.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::metrics::{auc, middle, packed_bytes};
use crate::density::measure::{self, Measured};
use crate::density::{Params, read_lexicon};
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::contract::strings;
use crate::flow::dataset::{Batches, Dataset};
use crate::flow::room::Context;
use crate::text::words::words;

/// Which documents are worth learning.
pub enum Label {
    /// Those of some sources.
    Sources(BTreeSet<String>),
    /// Those whose `metadata` has a key with a value.
    Metadata {
        /// The key.
        key: String,
        /// The value, as text.
        value: String,
    },
}

/// How well one way of ranking tells them apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranking {
    /// Its name.
    pub name: &'static str,
    /// What it is; empty of the measures, which `kpipe list measures` tells.
    pub about: &'static str,
    /// Probability that it ranks one that is worth learning above one that is not.
    pub auc: f64,
    /// Ends of its 95 % interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// The same over pairs of which both are in one tenth of all by length; nothing where no tenth
    /// has both.
    pub like_length: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// Documents that are worth learning.
    pub good: usize,
    /// The others.
    pub rest: usize,
    /// Each way, measures first.
    pub rankings: Vec<Ranking>,
}

/// Ranks documents (contract `document`) in every way.
///
/// # Errors
/// If a file cannot be read, or all documents have one label.
pub fn judge(documents: &Dataset, label: &Label, params: &Params, cx: &Context) -> Result<Told> {
    let texts = Texts::read(documents, label)?;
    let good = texts.is_good.iter().filter(|is_good| **is_good).count();
    let rest = texts.is_good.len() - good;
    if good == 0 || rest == 0 {
        return Err(Error::data(format!(
            "{good} documents are worth learning and {rest} are not: there is nothing to tell apart"
        ))
        .hint("`--against PATH` names the others, `--label KEY=VALUE` those that are worth it"));
    }

    let params = Params { keep_tokens: 0, ..params.clone() };
    let lexicon = read_lexicon(&params, cx)?;
    let Measured { by_measure, n_tokens } = measure::all(documents, &lexicon, &params, cx)?;
    let random = (0..n_tokens.len())
        .map(|at| draw::unit(cx.seed, "selection", &(at as u64).to_le_bytes()))
        .collect();
    let others = [
        ("length", "words", n_tokens.iter().map(|n| f64::from(*n)).collect()),
        ("perplexity", "of the words by their frequency, the lowest first", texts.likelihoods),
        ("compression", "how little zlib packs it", texts.ratios),
        ("random", "a draw", random),
    ];
    let tenths = tenths(&n_tokens);
    let measures = by_measure.into_iter().map(|(name, values)| (name, "", values));
    let rankings = measures.chain(others).map(|(name, about, values)| {
        let of = |wanted: bool| -> Vec<f64> {
            let all = values.iter().zip(&texts.is_good);
            all.filter(|(_, is_good)| **is_good == wanted).map(|(value, _)| *value).collect()
        };
        let (higher, lower) = (of(true), of(false));
        let mut draws = draw::stream(cx.seed, "bootstrap", name.as_bytes());
        let mut again = |values: &[f64]| -> Vec<f64> {
            values.iter().map(|_| values[draw::next_below(&mut draws, values.len())]).collect()
        };
        let (low, high) = middle(|| auc(&again(&higher), &again(&lower)));
        let like_length = within(&tenths, &values, &texts.is_good);
        Ranking { name, about, auc: auc(&higher, &lower), low, high, like_length }
    });
    Ok(Told { good, rest, rankings: rankings.collect() })
}

/// The tenth that each document is in by its length, equal ones in one.
fn tenths(lengths: &[u32]) -> Vec<usize> {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let of = |length: &u32| 10 * sorted.partition_point(|other| other < length) / sorted.len();
    lengths.iter().map(of).collect()
}

/// The area over pairs within one tenth.
fn within(tenths: &[usize], values: &[f64], is_good: &[bool]) -> Option<f64> {
    let (mut sum, mut n_pairs) = (0.0, 0.0);
    for tenth in 0..10 {
        let of = |wanted: bool| -> Vec<f64> {
            let here =
                (0..values.len()).filter(|at| tenths[*at] == tenth && is_good[*at] == wanted);
            here.map(|at| values[at]).collect()
        };
        let (higher, lower) = (of(true), of(false));
        let pairs = (higher.len() * lower.len()) as f64;
        if pairs > 0.0 {
            sum += pairs * auc(&higher, &lower);
            n_pairs += pairs;
        }
    }
    (n_pairs > 0.0).then(|| sum / n_pairs)
}

/// What is kept of the texts.
#[derive(Default)]
struct Texts {
    is_good: Vec<bool>,
    /// Bytes that zlib makes of a byte.
    ratios: Vec<f64>,
    /// How often each word stands in all, by its hash.
    counts: HashMap<u64, u64>,
    /// Mean log-probability of the words of each text, in nats.
    likelihoods: Vec<f64>,
}

impl Texts {
    fn read(documents: &Dataset, label: &Label) -> Result<Self> {
        let mut found = Texts::default();
        each_text(documents, |source, text, metadata| {
            found.is_good.push(match label {
                Label::Sources(names) => names.contains(source),
                Label::Metadata { key, value } => has(metadata, key, value),
            });
            found.ratios.push(packed_bytes(text) as f64 / text.len().max(1) as f64);
            hashed(text).for_each(|word| *found.counts.entry(word).or_default() += 1);
        })?;
        let all = found.counts.values().sum::<u64>() as f64;
        let mut likelihoods = Vec::with_capacity(found.is_good.len());
        each_text(documents, |_, text, _| {
            likelihoods.push(likelihood(text, &found.counts, all));
        })?;
        Ok(Texts { likelihoods, ..found })
    }
}

/// Source, text and metadata of every document, in order.
fn each_text(documents: &Dataset, mut of: impl FnMut(&str, &str, Option<&str>)) -> Result<()> {
    let columns = Some(&["source", "text", "metadata"][..]);
    for part in &documents.parts {
        for batch in Batches::open(&part.path, Some(documents.contract), columns)? {
            let batch = batch?;
            let (sources, texts) = (strings(&batch, "source")?, strings(&batch, "text")?);
            for (row, metadata) in strings(&batch, "metadata")?.iter().enumerate() {
                of(sources.value(row), texts.value(row), metadata);
            }
        }
    }
    Ok(())
}

fn hashed(text: &str) -> impl Iterator<Item = u64> {
    words(text).map(|word| xxh3_64(word.text.to_lowercase().as_bytes()))
}

/// Mean log-probability of a text's words by their counts; a text without any is the last of all.
fn likelihood(text: &str, counts: &HashMap<u64, u64>, all: f64) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for word in hashed(text) {
        sum += (counts.get(&word).copied().unwrap_or(1) as f64 / all).ln();
        n += 1;
    }
    if n == 0 { f64::NEG_INFINITY } else { sum / f64::from(n) }
}

/// Whether a JSON object has a key with a value.
fn has(metadata: Option<&str>, key: &str, value: &str) -> bool {
    let object: Option<Value> = metadata.and_then(|metadata| serde_json::from_str(metadata).ok());
    match object.as_ref().and_then(|object| object.get(key)) {
        Some(Value::String(text)) => text == value,
        Some(other) => serde_json::from_str(value).is_ok_and(|value: Value| value == *other),
        None => false,
    }
}

/// What was measured, as a table.
pub fn table(told: &Told) -> String {
    let Told { good, rest, rankings } = told;
    let mut text = format!(
        "{good} documents that are worth learning, {rest} others\n\n\
         | ranked by | AUC | 95 % interval | of like length |\n|---|---|---|---|\n"
    );
    for Ranking { name, about, auc, low, high, like_length } in rankings {
        let about = if about.is_empty() { String::new() } else { format!(", {about}") };
        let alike = like_length.map_or_else(|| "–".to_string(), |auc| format!("{auc:.3}"));
        let _ = writeln!(text, "| `{name}`{about} | {auc:.3} | {low:.3} to {high:.3} | {alike} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_stand() {
        let metadata = Some(r#"{"label": 1, "topic": "heart", "is": true}"#);
        for (key, value, expected) in [
            ("label", "1", true),
            ("label", "0", false),
            ("topic", "heart", true),
            ("is", "true", true),
            ("none", "1", false),
        ] {
            assert_eq!(has(metadata, key, value), expected, "{key}={value}");
        }
        assert!(!has(None, "label", "1") && !has(Some("no JSON"), "label", "1"));
    }

    /// Length alone tells all of these apart, and nothing within one tenth.
    #[test]
    fn like_lengths_are_compared() {
        let lengths: Vec<u32> = (0..20).map(|at| 10 * (1 + at / 2)).collect();
        let values: Vec<f64> = lengths.iter().map(|n| f64::from(*n)).collect();
        let is_good: Vec<bool> = (0..20).map(|at| at >= 11 || at == 9).collect();
        let tenths = tenths(&lengths);
        assert_eq!((tenths[0], tenths[19]), (0, 9));
        assert_eq!(within(&tenths, &values, &is_good), Some(0.5));
        let all_alike = vec![true; 20];
        assert_eq!(within(&tenths, &values, &all_alike), None);
    }

    /// Words of twice "a", once "b" in all: a text of both has the mean of ln 2/3 and ln 1/3.
    #[test]
    fn likelihoods_are_those_of_frequencies() {
        let counts: HashMap<u64, u64> = hashed("a b").zip([2, 1]).collect();
        let expected = ((2.0_f64 / 3.0).ln() + (1.0_f64 / 3.0).ln()) / 2.0;
        assert!((likelihood("B, a", &counts, 3.0) - expected).abs() < 1e-12);
        assert_eq!(likelihood("a", &counts, 3.0), (2.0_f64 / 3.0).ln());
        assert_eq!(likelihood("?", &counts, 3.0), f64::NEG_INFINITY);
    }
}
