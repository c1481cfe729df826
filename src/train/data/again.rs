//! Documents that are read again beside the order of the shards, because they were found hard.
//!
//! Who finds them says so behind every `every`-th step, for the steps up to the next one that does;
//! what is read is the same for any number of steps that are made ahead.

use std::collections::{BTreeSet, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

/// What is read again, and what counts less.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Again {
    /// Steps from one choice to the next.
    pub every: u64,
    /// Share of the rows of a microbatch that are read again, [0, 1).
    pub share: f64,
    /// `seq` of the documents, the first to be read first.
    pub documents: VecDeque<u64>,
    /// Documents that are held to be noise, by [`name`].
    pub noisy: BTreeSet<u64>,
    /// What these count, [0, 1].
    pub noisy_weight: f32,
}

impl Again {
    /// How many rows of `batch` are read again.
    pub fn rows(&self, batch: usize) -> usize {
        let rows = (self.share * batch as f64).round_ties_even() as usize;
        rows.min(batch.saturating_sub(1)).min(self.documents.len())
    }

    /// What a document counts.
    pub fn weight(&self, id: &str) -> f32 {
        if self.noisy.contains(&name(id)) { self.noisy_weight } else { 1.0 }
    }
}

/// What stands for a document's id.
pub fn name(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rows_are_always_new() {
        let of = |share, n| Again { share, documents: (0..n).collect(), ..Again::default() };
        assert_eq!([0.0, 0.25, 0.9, 0.99].map(|share| of(share, 100).rows(8)), [0, 2, 7, 7]);
        assert_eq!((of(0.5, 3).rows(8), of(0.5, 3).rows(1)), (3, 0));
        let noisy = Again { noisy: [name("a")].into(), noisy_weight: 0.1, ..Again::default() };
        assert_eq!((noisy.weight("a"), noisy.weight("b")), (0.1, 1.0));
    }
}
