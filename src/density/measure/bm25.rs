//! BM25 of all concepts as one query.

use super::Measure;

/// See the module.
pub(super) static BM25: Measure = Measure {
    name: "bm25",
    about: "the sum of what every concept contributes, by `density.variant`",
    worth: |corpus| corpus.chosen(corpus.model.scores.clone()),
    why: |_, one| format!("what the concepts below contribute, {:.4} in all", one.bm25),
};
