//! Sparse score, entity rarity and relation coverage, together.
//!
//! The request names an algorithm "SPARROW" that selects text by a knowledge graph; no publication
//! or program of that name does (the nearest are SPAR, arXiv:2110.06918, a dense retriever, and
//! SPARQL, a query language). This one is ours, under that name: the mean of
//!
//! - BM25 of all concepts,
//! - the information of the concepts, `sum of min(tf, 5) * -log2((df + 0.5) / (N + 1))` over the
//!   root of the length,
//! - the linked pairs of concepts that stand near each other, a thousand words,
//!
//! each beside the value that its greatest hundredth reaches, and at most 1.

use super::{CAPPED, Corpus, Measure, One, quantile};

/// Mentions of a concept that count.
const MENTIONS: u32 = 5;

/// See the module.
pub(super) static SPARROW: Measure = Measure {
    name: "sparrow",
    about: "mean of BM25, entity rarity and linked pairs a word, each capped; ours",
    worth: |corpus| {
        let mut parts: [Vec<f64>; 3] = Default::default();
        corpus.each(|one| {
            parts.iter_mut().zip(of(corpus, one)).for_each(|(all, part)| all.push(part));
            Ok(())
        })?;
        let mut values = vec![0.0; parts[0].len()];
        for part in &parts {
            let most = quantile(part.iter().copied(), CAPPED);
            let scale = if most > 0.0 { 1.0 / most } else { 0.0 };
            for (value, part) in values.iter_mut().zip(part) {
                *value += (part * scale).min(1.0) / 3.0;
            }
        }
        corpus.chosen(values)
    },
    why: |corpus, one| {
        let [bm25, rarity, pairs] = of(corpus, one);
        format!(
            "mean of bm25 {bm25:.4}, information {rarity:.4} and {pairs:.2} linked pairs a \
             thousand words, each beside the corpus' greatest hundredth"
        )
    },
};

fn of(corpus: &Corpus, one: &One) -> [f64; 3] {
    let n_docs = corpus.model.scores.len() as f64;
    let information = |(concept, tf): (&u32, &u32)| {
        let df = f64::from(corpus.model.df[*concept as usize]);
        f64::from((*tf).min(MENTIONS)) * -((df + 0.5) / (n_docs + 1.0)).log2()
    };
    let n_tokens = f64::from(one.row.n_tokens.max(1));
    let rarity: f64 = one.row.concepts.iter().zip(one.row.freqs).map(information).sum();
    [one.bm25, rarity.max(0.0) / n_tokens.sqrt(), 1_000.0 * f64::from(one.row.n_pairs) / n_tokens]
}
