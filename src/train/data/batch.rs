//! Makes the microbatches of one optimiser step: takes windows in order, makes rows of them, gathers the passages.
//!
//! A row is one window, or with `packing` as many consecutive ones as fit. They do not see one another, and each counts
//! its positions from its own first token, so that packing changes nothing but how much of a row is padding.
//!
//! All microbatches of a step are made before the first is computed, because every loss term is divided by its count
//! over the whole step, not over a microbatch (transformers PR #34191 shows what goes wrong otherwise).

use crate::draw;
use crate::error::Result;
use crate::train::data::consumed::Range;
use crate::train::data::tokenizer::{Pieces, Tokenizer};
use crate::train::data::windows::{Passages, Window, Windows};
use crate::train::model::Language;
use crate::train::objective::mlm::{self, Vocabulary};
use crate::train::objective::{self, spans};
use crate::train::params::Params;

/// Rows of tokens, each of one text or of several that do not see one another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The tokens of each row.
    pub ids: Vec<Vec<u32>>,
    /// How many tokens each text of each row has.
    pub texts: Vec<Vec<usize>>,
}

impl Rows {
    /// Whether a row holds several texts.
    pub fn are_packed(&self) -> bool {
        self.texts.iter().any(|texts| texts.len() > 1)
    }

    fn begin(&mut self) {
        self.ids.push(Vec::new());
        self.texts.push(Vec::new());
    }

    /// Adds a text to the last row; gives where it begins.
    fn extend(&mut self, text: &[u32]) -> usize {
        let (Some(ids), Some(texts)) = (self.ids.last_mut(), self.texts.last_mut()) else { return 0 };
        let begin = ids.len();
        ids.extend(text);
        texts.push(text.len());
        begin
    }
}

impl FromIterator<Vec<u32>> for Rows {
    fn from_iter<I: IntoIterator<Item = Vec<u32>>>(rows: I) -> Self {
        let ids: Vec<Vec<u32>> = rows.into_iter().collect();
        Rows { texts: ids.iter().map(|row| vec![row.len()]).collect(), ids }
    }
}

/// Rows for one forward and backward pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Microbatch {
    /// Number in the step.
    pub index: u64,
    /// Rows for the model, or for its encoder.
    pub rows: Rows,
    /// Rows for the decoder, where the model has both.
    pub decoder: Option<Rows>,
    /// What is to be predicted: row, place in the row (the decoder's where there is one), token.
    pub labels: Vec<(usize, usize, u32)>,
    /// Passages to compare.
    pub contrast: Contrast,
}

/// The passages of a microbatch, each a whole row.
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
    /// Places that hold padding, up to the longest row that is computed with it.
    pub padding: u64,
}

/// Makes rows of windows.
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
        let mut step = Step { number, microbatches: Vec::new(), ranges: Vec::new(), tokens: 0, padding: 0 };
        for index in 0..self.params.accumulate as u64 {
            let taken: Vec<Vec<Window>> =
                (0..self.params.batch).map(|_| self.next_row(windows)).collect::<Result<_>>()?;
            taken.iter().flatten().for_each(|window| Range::extend(&mut step.ranges, window));
            let microbatch = self.microbatch(index, taken.iter().map(Vec::as_slice), "mask");
            let (tokens, places) = microbatch.size();
            step.tokens += tokens;
            step.padding += places - tokens;
            step.microbatches.push(microbatch);
        }
        Ok(step)
    }

    /// The next window, and where rows are packed those behind it that fit into its row.
    fn next_row(&self, windows: &mut Windows) -> Result<Vec<Window>> {
        let lengths = |window: &Window| objective::lengths(&self.tokenizer.frame, self.params, window.pieces.ids.len());
        let mut row = vec![windows.next_window_forever()?];
        if !self.params.packing {
            return Ok(row);
        }
        let mut taken = lengths(&row[0]);
        loop {
            let (ids, decoder) = lengths(windows.peek_forever()?);
            taken = (taken.0 + ids, taken.1 + decoder);
            if taken.0.max(taken.1) > self.params.max_tokens {
                return Ok(row);
            }
            row.push(windows.next_window_forever()?);
        }
    }

    /// Makes rows and labels of the windows of each row; the draws depend on seed, `purpose`, epoch, `seq` and window
    /// only, not on the batching.
    pub fn microbatch<'w>(
        &self,
        index: u64,
        rows: impl IntoIterator<Item = &'w [Window]>,
        purpose: &str,
    ) -> Microbatch {
        let decoder = (self.tokenizer.frame.language == Language::Spans).then(Rows::default);
        let mut batch = Microbatch { index, decoder, ..Microbatch::default() };
        for (row, windows) in rows.into_iter().enumerate() {
            batch.rows.begin();
            batch.decoder.iter_mut().for_each(Rows::begin);
            for window in windows {
                self.add(&mut batch, row, window, purpose);
            }
        }
        batch
    }

    /// Adds a window to the last row, which has the number `row`.
    fn add(&self, batch: &mut Microbatch, row: usize, window: &Window, purpose: &str) {
        let key = format!("{}/{}/{}", window.epoch, window.seq, window.index);
        let Row { ids, decoder, labels } = self.row(&window.pieces, window.last, purpose, &key);
        let mut begin = batch.rows.extend(&ids);
        if let (Some(rows), Some(ids)) = (&mut batch.decoder, decoder) {
            begin = rows.extend(&ids);
        }
        batch.labels.extend(labels.into_iter().map(|(place, token)| (row, begin + place, token)));
        if let Some(passages) = &window.passages
            && batch.contrast.anchors.len() < self.params.objective.anchors
        {
            self.compare(&mut batch.contrast, passages, &key);
        }
    }

    fn compare(&self, contrast: &mut Contrast, passages: &Passages, key: &str) {
        let around = |pieces: &Pieces| self.tokenizer.frame.around(&pieces.ids, true);
        contrast.anchors.push(around(&passages.anchor));
        contrast.positives.push(match &passages.positive {
            Some(positive) => around(positive),
            None => self.row(&passages.anchor, true, "view", key).ids,
        });
        contrast.hard.extend(passages.hard.iter().map(around));
    }

    /// A row with what is to be predicted; `ends` where the document ends with it.
    fn row(&self, pieces: &Pieces, ends: bool, purpose: &str, key: &str) -> Row {
        let frame = &self.tokenizer.frame;
        let mut stream = draw::stream(self.seed, purpose, key.as_bytes());
        match frame.language {
            Language::Masked => {
                let vocabulary = Vocabulary { mask: frame.mask, ordinary: &self.tokenizer.ordinary };
                let row = frame.around(&pieces.ids, ends);
                let (ids, labels) = mlm::mask(&row, &pieces.words, vocabulary, &self.params.objective, &mut stream);
                Row { ids, decoder: None, labels }
            }
            Language::Causal => {
                let ids = frame.around(&pieces.ids, ends);
                let labels = ids.iter().skip(1).copied().enumerate().collect();
                Row { ids, decoder: None, labels }
            }
            Language::Spans => {
                let (ids, target) = spans::corrupt(&pieces.ids, frame, &self.params.objective, &mut stream);
                let shifted = std::iter::once(frame.decoder_start).chain(target.iter().copied());
                let decoder = Some(shifted.take(target.len()).collect());
                Row { ids, decoder, labels: target.into_iter().enumerate().collect() }
            }
        }
    }
}

/// A row before it joins a microbatch.
struct Row {
    ids: Vec<u32>,
    /// What the decoder reads, where there is one.
    decoder: Option<Vec<u32>>,
    /// Place and token; places are the decoder's where there is one.
    labels: Vec<(usize, u32)>,
}

impl Microbatch {
    /// Tokens of all rows and passages, and places they are padded to.
    pub fn size(&self) -> (u64, u64) {
        let Contrast { anchors, positives, hard } = &self.contrast;
        let decoder = self.decoder.as_ref().map(|rows| &rows.ids);
        let together: [&[&Vec<Vec<u32>>]; 3] = [&[&self.rows.ids], decoder.as_slice(), &[anchors, positives, hard]];
        let (mut tokens, mut places) = (0, 0);
        for rows in together {
            let lengths = || rows.iter().copied().flatten().map(|row| row.len() as u64);
            tokens += lengths().sum::<u64>();
            places += lengths().count() as u64 * lengths().max().unwrap_or(0);
        }
        (tokens, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::shards::Shards;
    use crate::train::data::windows::Position;
    use crate::train::fixture::{grammar, shard_folder, tiny_params};
    use crate::train::model::bert::BERT;

    #[test]
    fn rows_that_are_computed_together_are_padded_together() {
        let rows = |lengths: &[usize]| lengths.iter().map(|n| vec![1; *n]).collect::<Vec<Vec<u32>>>();
        let contrast = Contrast { anchors: rows(&[3]), positives: rows(&[5]), hard: Vec::new() };
        let of = |lengths: &[usize]| rows(lengths).into_iter().collect();
        let batch = Microbatch { rows: of(&[4, 2, 7]), decoder: Some(of(&[2, 2])), contrast, ..Microbatch::default() };
        assert_eq!(batch.size(), (13 + 4 + 8, 21 + 4 + 10));
        assert_eq!(Microbatch::default().size(), (0, 0));
    }

    #[test]
    fn masks_do_not_depend_on_the_batching() {
        let folder = shard_folder(&grammar(40, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let params = tiny_params();
        let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
        let rows = |batch, accumulate| {
            let params = Params { batch, accumulate, ..params.clone() };
            let masker = Masker { tokenizer: &tokenizer, params: &params, seed: 1 };
            let mut windows = Windows::new(&shards, &tokenizer, &params, 1, Position::default()).unwrap();
            let step = masker.step(1, &mut windows).unwrap();
            let rows: Vec<Vec<u32>> = step.microbatches.iter().flat_map(|batch| batch.rows.ids.clone()).collect();
            (rows, step.ranges)
        };
        assert_eq!(rows(12, 1), rows(3, 4));
    }
}
