//! BM25 with exact lengths: what one concept contributes to the score of one document.
//!
//! A document's score is the sum over all concepts it mentions, as if the query were the whole
//! lexicon. With N documents, df of them holding the concept, tf mentions in a document of dl
//! words, and an average of avg words:
//!
//! | variant | idf | weight of tf |
//! |---|---|---|
//! | `lucene` | ln(1 + (N − df + ½) / (df + ½)) | tf / (tf + K) |
//! | `robertson` | max(0, ln((N − df + ½) / (df + ½))) | tf / (tf + K) |
//! | `atire` | ln(N / df) | (k1 + 1) tf / (tf + K) |
//! | `bm25plus` | ln((N + 1) / df) | (k1 + 1) tf / (tf + K) + δ |
//!
//! where K = k1 (1 − b + b dl / avg). Names and formulas follow Kamphuis et al., ECIR 2020 ("Which
//! BM25 do you mean?"), and the Python package `bm25s`, whose numbers the tests reproduce. In
//! `bm25plus` a concept that a document does not mention contributes nothing (as in Lv and Zhai,
//! CIKM 2011; `bm25s` adds δ·idf for it to every document alike). `lucene` and Tantivy's scorer
//! differ by the constant factor k1 + 1; Tantivy also rounds lengths to 256 steps, so its scorer is
//! not used.
//!
//! Adding words without concepts to a document never raises its score: K grows with dl / avg, and
//! dl / avg grows.

use serde::{Deserialize, Serialize};

/// A BM25 formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Lucene's idf, never negative, without the factor k1 + 1.
    Lucene,
    /// The original idf, cut at 0: a concept in more than half of the documents counts nothing.
    Robertson,
    /// ATIRE's idf ln(N / df).
    Atire,
    /// BM25+: every mentioned concept counts at least δ·idf, however long the document.
    Bm25Plus,
}

/// A BM25 formula over one corpus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25 {
    /// The formula.
    pub variant: Variant,
    /// Saturation of tf.
    pub k1: f64,
    /// How much length counts, in [0, 1].
    pub b: f64,
    /// The least weight of a mentioned concept, in `bm25plus`.
    pub delta: f64,
    /// Documents of the corpus.
    pub n_docs: u64,
    /// Their average length in words.
    pub average: f64,
}

impl Bm25 {
    /// Inverse document frequency of a concept that `df` documents hold, in nats; not negative.
    pub fn idf(&self, df: u32) -> f64 {
        let (n, df) = (self.n_docs as f64, f64::from(df));
        if df == 0.0 {
            return 0.0;
        }

        match self.variant {
            Variant::Lucene => (1.0 + (n - df + 0.5) / (df + 0.5)).ln(),
            Variant::Robertson => ((n - df + 0.5) / (df + 0.5)).max(1.0).ln(),
            Variant::Atire => (n / df).ln(),
            Variant::Bm25Plus => ((n + 1.0) / df).ln(),
        }
    }

    /// What a concept of this idf contributes with `tf` mentions to a document of `length` words.
    pub fn contribution(&self, idf: f64, tf: u32, length: u32) -> f64 {
        if tf == 0 {
            return 0.0;
        }
        let relative = if self.average > 0.0 { f64::from(length) / self.average } else { 1.0 };
        let (tf, k) = (f64::from(tf), self.k1 * (1.0 - self.b + self.b * relative));
        let weight = match self.variant {
            Variant::Lucene | Variant::Robertson => tf / (tf + k),
            Variant::Atire => (self.k1 + 1.0) * tf / (tf + k),
            Variant::Bm25Plus => (self.k1 + 1.0) * tf / (tf + k) + self.delta,
        };
        idf * weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} instead of {expected}");
    }

    /// Score of every document for a query, term by term in order.
    fn scores(bm25: &Bm25, docs: &[Vec<String>], query: &BTreeSet<String>) -> Vec<f64> {
        let count =
            |doc: &[String], term: &String| doc.iter().filter(|word| *word == term).count() as u32;
        let df = |term| docs.iter().filter(|doc| count(doc, term) > 0).count() as u32;
        let term = |doc: &[String], term| {
            bm25.contribution(bm25.idf(df(term)), count(doc, term), doc.len() as u32)
        };
        docs.iter().map(|doc| query.iter().map(|query| term(doc, query)).sum()).collect()
    }

    fn corpus(variant: Variant, k1: f64, docs: &[Vec<String>]) -> Bm25 {
        let n_tokens: usize = docs.iter().map(Vec::len).sum();
        Bm25 {
            variant,
            k1,
            b: 0.75,
            delta: 0.5,
            n_docs: docs.len() as u64,
            average: n_tokens as f64 / docs.len() as f64,
        }
    }

    fn letters(docs: &[&str]) -> Vec<Vec<String>> {
        docs.iter().map(|doc| doc.chars().map(String::from).collect()).collect()
    }

    /// Three documents, query `a c`: numbers worked out by hand for k1 = 1.5, and in Tantivy's form
    /// (× (k1 + 1)).
    #[test]
    fn worked_examples() {
        let docs = letters(&["aba", "bc", "accd"]);
        let query = BTreeSet::from(["a".to_string(), "c".to_string()]);

        for (found, expected) in scores(&corpus(Variant::Lucene, 1.5, &docs), &docs, &query)
            .iter()
            .zip([0.268574, 0.221178, 0.406062])
        {
            close(*found, expected, 1e-6);
        }

        for (found, expected) in scores(&corpus(Variant::Lucene, 1.2, &docs), &docs, &query)
            .iter()
            .zip([0.646255, 0.544215, 1.004465])
        {
            close(found * 2.2, expected, 1e-6);
        }
    }

    #[derive(Deserialize)]
    struct Parity {
        docs: Vec<Vec<String>>,
        variants: BTreeMap<String, Vec<BTreeMap<String, f64>>>,
    }

    /// `fixtures/parity/bm25.py` made these numbers with the Python package bm25s.
    #[test]
    fn every_variant_equals_bm25s() {
        let parity: Parity =
            serde_json::from_str(include_str!("../../fixtures/parity/bm25.json")).unwrap();
        assert_eq!(parity.variants.len(), 4);

        for (name, expected) in &parity.variants {
            let variant: Variant = serde_json::from_value(serde_json::json!(name)).unwrap();
            let bm25 = corpus(variant, 1.2, &parity.docs);
            let vocabulary: BTreeSet<String> = parity.docs.iter().flatten().cloned().collect();
            let sums = scores(&bm25, &parity.docs, &vocabulary);

            for ((doc, terms), sum) in parity.docs.iter().zip(expected).zip(sums) {
                close(sum, terms.values().sum(), 1e-5);
                for (term, score) in terms {
                    let one = scores(&bm25, &parity.docs, &BTreeSet::from([term.clone()]));
                    let at = parity.docs.iter().position(|other| other == doc).unwrap();
                    close(one[at], *score, 1e-5);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn words_without_concepts_never_raise_a_score(
            lengths in proptest::collection::vec(1_u32..200, 1..8), tf in 1_u32..9,
                added in 1_u32..100, kind in 0..4,
        ) {
            let variant = [Variant::Lucene, Variant::Robertson, Variant::Atire,
                Variant::Bm25Plus][kind as usize];
            let score = |first: u32| {
                let total: u32 = lengths.iter().skip(1).sum::<u32>() + first;
                let n_docs = lengths.len() as u64;
                let average = f64::from(total) / n_docs as f64;
                let bm25 = Bm25 { variant, k1: 1.2, b: 0.75, delta: 1.0, n_docs, average };
                bm25.contribution(bm25.idf(1), tf, first)
            };
            prop_assert!(score(lengths[0] + added) <= score(lengths[0]) + 1e-12);
        }

        #[test]
        fn contributions_are_never_negative(n in 1_u64..50, share in 0.0..1.0, tf in 0_u32..9,
            length in 0_u32..99, kind in 0..4) {
            let variant = [Variant::Lucene, Variant::Robertson, Variant::Atire,
                Variant::Bm25Plus][kind as usize];
            let bm25 = Bm25 { variant, k1: 1.2, b: 0.75, delta: 1.0, n_docs: n, average: 20.0 };
            let df = 1 + (share * (n - 1) as f64) as u32;
            prop_assert!(bm25.idf(df) >= 0.0 && bm25.contribution(bm25.idf(df), tf, length) >= 0.0);
        }
    }
}
