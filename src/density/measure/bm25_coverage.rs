//! BM25 times how many concepts there are: what repeats few concepts counts less.
//!
//! `bm25 * ln(1 + distinct concepts)`, the product of High-Knowledge Scorer ([`super::hks`]) with
//! BM25 in the place of plain density: ours.

use super::Measure;

/// See the module.
pub(super) static BM25_COVERAGE: Measure = Measure {
    name: "bm25_coverage",
    about: "the same times ln(1 + distinct concepts)",
    worth: |corpus| corpus.one_by_one(|one| one.bm25 * (one.row.concepts.len() as f64).ln_1p()),
    why: |_, one| format!("bm25 {:.4} × ln(1 + {} concepts)", one.bm25, one.row.concepts.len()),
};
