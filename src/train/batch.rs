//! Makes the microbatches of one optimiser step: takes windows in order, masks them, gathers the passages.
//!
//! All microbatches of a step are made before the first is computed, because every loss term is divided by its count
//! over the whole step, not over a microbatch (transformers PR #34191 shows what goes wrong otherwise).

use crate::draw;
use crate::error::Result;
use crate::train::consumed::Range;
use crate::train::objective::mlm::{self, Vocabulary};
use crate::train::params::Params;
use crate::train::tokenizer::{Pieces, SpecialIds, Tokenizer};
use crate::train::windows::{Passages, Window, Windows};

/// Rows for one forward and backward pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Microbatch {
    /// Number in the step.
    pub index: u64,
    /// Masked windows with `[CLS]` and `[SEP]`.
    pub rows: Vec<Vec<u32>>,
    /// What is to be predicted: row, place in the row, token.
    pub labels: Vec<(usize, usize, u32)>,
    /// Passages to compare.
    pub contrast: Contrast,
}

/// The passages of a microbatch, each with `[CLS]` and `[SEP]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contrast {
    /// Passages of the text.
    pub anchors: Vec<Vec<u32>>,
    /// For each anchor, the passage it is to be near to.
    pub positives: Vec<Vec<u32>>,
    /// Passages every anchor is to be far from.
    pub hard: Vec<Vec<u32>>,
}

/// Everything one optimiser step needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Number of the step, from 1.
    pub number: u64,
    /// Its microbatches in order.
    pub microbatches: Vec<Microbatch>,
    /// What was consumed.
    pub ranges: Vec<Range>,
    /// Tokens the model reads, padding left out.
    pub tokens: u64,
}

/// Makes masked rows of windows.
#[derive(Clone, Copy)]
pub struct Masker<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The parameters.
    pub params: &'a Params,
    /// Seed of the run.
    pub seed: u64,
}

impl Masker<'_> {
    /// Takes the next windows and makes the step `number` of them.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails.
    pub fn step(&self, number: u64, windows: &mut Windows) -> Result<Step> {
        let mut step = Step { number, microbatches: Vec::new(), ranges: Vec::new(), tokens: 0 };
        for index in 0..self.params.accumulate as u64 {
            let taken: Vec<Window> =
                (0..self.params.batch).map(|_| windows.next_window_forever()).collect::<Result<_>>()?;
            taken.iter().for_each(|window| Range::extend(&mut step.ranges, window));
            let microbatch = self.microbatch(index, &taken, "mask");
            step.tokens += microbatch.n_tokens();
            step.microbatches.push(microbatch);
        }
        Ok(step)
    }

    /// Masks windows; the draws depend on seed, `purpose`, epoch, `seq` and window only, not on the batching.
    pub fn microbatch(&self, index: u64, windows: &[Window], purpose: &str) -> Microbatch {
        let mut batch = Microbatch { index, ..Microbatch::default() };
        for (row, window) in windows.iter().enumerate() {
            let key = format!("{}/{}/{}", window.epoch, window.seq, window.index);
            let (ids, labels) = self.mask(&window.pieces, purpose, &key);
            batch.rows.push(ids);
            batch.labels.extend(labels.into_iter().map(|(place, token)| (row, place, token)));
            if let Some(passages) = &window.passages
                && batch.contrast.anchors.len() < self.params.objective.anchors
            {
                self.compare(&mut batch.contrast, passages, &key);
            }
        }
        batch
    }

    fn compare(&self, contrast: &mut Contrast, passages: &Passages, key: &str) {
        contrast.anchors.push(self.around(&passages.anchor.ids));
        contrast.positives.push(match &passages.positive {
            Some(positive) => self.around(&positive.ids),
            None => self.mask(&passages.anchor, "view", key).0,
        });
        contrast.hard.extend(passages.hard.iter().map(|hard| self.around(&hard.ids)));
    }

    fn mask(&self, pieces: &Pieces, purpose: &str, key: &str) -> (Vec<u32>, Vec<(usize, u32)>) {
        let vocabulary = Vocabulary { mask: self.tokenizer.special.mask, ordinary: &self.tokenizer.ordinary };
        let mut stream = draw::stream(self.seed, purpose, key.as_bytes());
        mlm::mask(&self.around(&pieces.ids), &pieces.words, vocabulary, &self.params.objective, &mut stream)
    }

    fn around(&self, ids: &[u32]) -> Vec<u32> {
        let SpecialIds { cls, sep, .. } = self.tokenizer.special;
        std::iter::once(cls).chain(ids.iter().copied()).chain(std::iter::once(sep)).collect()
    }
}

impl Microbatch {
    /// Tokens of all rows and passages.
    pub fn n_tokens(&self) -> u64 {
        let Contrast { anchors, positives, hard } = &self.contrast;
        [&self.rows, anchors, positives, hard].into_iter().flatten().map(|row| row.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{grammar, shard_folder, tiny_params};
    use crate::train::stream::Shards;
    use crate::train::windows::Position;

    #[test]
    fn masks_do_not_depend_on_the_batching() {
        let folder = shard_folder(&grammar(40, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let params = tiny_params();
        let tokenizer = Tokenizer::train(&shards, &params.tokenizer, 1).unwrap();
        let rows = |batch, accumulate| {
            let params = Params { batch, accumulate, ..params.clone() };
            let masker = Masker { tokenizer: &tokenizer, params: &params, seed: 1 };
            let mut windows = Windows::new(&shards, &tokenizer, &params, 1, Position::default()).unwrap();
            let step = masker.step(1, &mut windows).unwrap();
            let rows: Vec<Vec<u32>> = step.microbatches.iter().flat_map(|batch| batch.rows.clone()).collect();
            (rows, step.ranges)
        };
        assert_eq!(rows(12, 1), rows(3, 4));
    }
}
