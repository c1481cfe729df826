//! High-Knowledge Scorer: knowledge density times coverage (Duan et al. 2025, arXiv:2505.14070).
//!
//! `d * ln(c + 1)`: `d` are the mentions a word, `c` the share of the lexicon's concepts that are
//! mentioned. `d` favours short lists and `c` long texts, so both count up to their greatest
//! hundredth, which the paper does not have.

use super::{CAPPED, Corpus, Measure, One, quantile};

/// See the module.
pub(super) static HKS: Measure = Measure {
    name: "hks",
    about: "mentions a word times ln(1 + share of all concepts), each capped (arXiv:2505.14070)",
    worth: |corpus| {
        let (mut densities, mut coverages) = (Vec::new(), Vec::new());
        corpus.each(|one| {
            densities.push(density(one));
            coverages.push(coverage(corpus, one));
            Ok(())
        })?;
        let most_dense = quantile(densities.iter().copied(), CAPPED);
        let most_covered = quantile(coverages.iter().copied(), CAPPED);
        let value = |(density, coverage): (&f64, &f64)| {
            density.min(most_dense) * coverage.min(most_covered).ln_1p()
        };
        corpus.chosen(densities.iter().zip(&coverages).map(value).collect())
    },
    why: |corpus, one| {
        format!(
            "{:.4} mentions a word × ln(1 + {} of {} concepts)",
            density(one),
            one.row.concepts.len(),
            corpus.model.lexicon.concepts.len()
        )
    },
};

fn density(one: &One) -> f64 {
    f64::from(one.row.n_mentions) / f64::from(one.row.n_tokens.max(1))
}

fn coverage(corpus: &Corpus, one: &One) -> f64 {
    one.row.concepts.len() as f64 / corpus.model.lexicon.concepts.len().max(1) as f64
}
