//! Rows of which some tokens are masked (arXiv:1810.04805), whole words at a time.
//!
//! A model that was made to predict the next token predicts each of them at the place before it
//! (masked next tokens, arXiv:2410.24159), so that both tasks share its head; what it never sees
//! the place before of is not masked.
//!
//! As in `google-research/bert:create_pretraining_data.py`: the words of a row are shuffled and
//! taken while they fit into `max(1, round(length · share))` tokens; each token taken becomes
//! `[MASK]` in 80 %, a random word in 10 %, and stays in 10 % of the cases. Two differences: there
//! is no cap of 20 predictions a row, and the random word is never a special token. A word is what
//! the tokenizer's own pre-tokenizer calls one, so `##` pieces go with their word and a Chinese
//! character is a word of its own.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{Lengths, PLACE, Row, RowMaker};
use crate::draw;
use crate::error::Result;
use crate::train::data::tokenizer::{Frame, Pieces, Tokenizer};
use crate::train::model::Language;
use crate::train::params;

/// The section `[train.rows.masked]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Share of tokens that are predicted, [0.01, 0.9].
    pub share: f64,
    /// Whether all pieces of a word are masked together.
    pub whole_word: bool,
    /// The piece that stands for a masked one; empty takes what the tokenizer has for it.
    pub token: String,
}

impl Params {
    /// The section of a run.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn of(params: &params::Params) -> Result<Self> {
        params.rows.parse(PLACE, "masked")
    }
}

/// See the module.
pub struct Masked<'a> {
    params: Params,
    frame: &'a Frame,
    vocabulary: Vocabulary<'a>,
}

impl<'a> Masked<'a> {
    /// Rows of a tokenizer's pieces.
    ///
    /// # Errors
    /// If no piece can stand for a masked one.
    pub fn new(params: Params, tokenizer: &'a Tokenizer) -> Result<Self> {
        let mask = tokenizer.mask(&params.token)?;
        let vocabulary = Vocabulary { mask, ordinary: &tokenizer.ordinary };
        Ok(Masked { params, frame: &tokenizer.frame, vocabulary })
    }
}

impl RowMaker for Masked<'_> {
    fn room(&self, max_tokens: usize) -> usize {
        max_tokens - self.frame.width()
    }

    fn lengths(&self, pieces: usize) -> Lengths {
        Lengths { tokens: pieces + self.frame.width(), decoded: 0 }
    }

    fn row(&self, pieces: &Pieces, ends: bool, stream: &mut ChaCha8Rng) -> Row {
        let row = self.frame.around(&pieces.ids, ends);
        let (first, is_next) = (self.frame.before.len(), self.frame.language == Language::Causal);
        let (ids, mut labels) =
            mask(&row, first, &pieces.words, self.vocabulary, &self.params, stream);
        if is_next {
            labels.iter_mut().for_each(|(place, _)| *place -= 1);
        }
        Row { ids, decoder: None, labels }
    }
}

/// What a masked token may become.
#[derive(Clone, Copy)]
pub struct Vocabulary<'a> {
    /// Id of `[MASK]`.
    pub mask: u32,
    /// Ids of words and pieces.
    pub ordinary: &'a [u32],
}

/// Masks a row; `words` tells the word of each piece, of which the first stands at the place
/// `first`. The first place of all is never masked.
///
/// Gives the row and, in order, the places to predict with what stood there.
pub fn mask(
    row: &[u32],
    first: usize,
    words: &[u32],
    vocabulary: Vocabulary,
    params: &Params,
    stream: &mut ChaCha8Rng,
) -> (Vec<u32>, Vec<(usize, u32)>) {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (idx, word) in words.iter().enumerate() {
        match groups.last_mut() {
            Some((_, end)) if params.whole_word && words[idx - 1] == *word => {
                *end = first + idx + 1;
            }
            _ => groups.push((first + idx, first + idx + 1)),
        }
    }

    groups.retain(|(start, _)| *start > 0);
    draw::shuffle(&mut groups, stream);
    let room = ((row.len() as f64 * params.share).round_ties_even() as usize).max(1);
    let mut places = Vec::new();

    for (start, end) in groups {
        if places.len() + end - start <= room {
            places.extend(start..end);
        }
    }

    places.sort_unstable();
    let mut masked = row.to_vec();
    let labels = places.iter().map(|place| (*place, row[*place])).collect();

    for place in places {
        let case = draw::next_unit(stream);
        if case < 0.8 {
            masked[place] = vocabulary.mask;
        } else if case < 0.9 {
            masked[place] =
                vocabulary.ordinary[draw::next_below(stream, vocabulary.ordinary.len())];
        }
    }

    (masked, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 4;
    const BERTS: Params = Params { share: 0.15, whole_word: true, token: String::new() };

    fn masked(words: &[u32], key: u64, params: &Params) -> (Vec<u32>, Vec<u32>, Vec<(usize, u32)>) {
        let ordinary: Vec<u32> = (5..1000).collect();
        let row: Vec<u32> = [2]
            .into_iter()
            .chain((0..words.len() as u32).map(|idx| 10 + idx % 900))
            .chain([3])
            .collect();
        let mut stream = draw::stream(1, "mask", &key.to_le_bytes());
        let (masked, labels) = mask(
            &row,
            1,
            words,
            Vocabulary { mask: MASK, ordinary: &ordinary },
            params,
            &mut stream,
        );
        (row, masked, labels)
    }

    #[test]
    fn words_are_masked_whole_within_the_room_and_specials_never() {
        let params = BERTS;
        let words: Vec<u32> =
            (0..100).flat_map(|word| std::iter::repeat_n(word, 1 + word as usize % 3)).collect();

        for key in 0..200 {
            let (row, masked, labels) = masked(&words, key, &params);
            let room = (row.len() as f64 * 0.15).round_ties_even() as usize;
            assert!(labels.len() <= room && labels.len() + 2 >= room, "{} of {room}", labels.len());

            for (place, token) in &labels {
                assert_eq!(row[*place], *token);
                let word = words[place - 1];
                let whole = (0..words.len()).filter(|idx| words[*idx] == word);
                assert!(
                    whole.into_iter().all(|idx| labels.iter().any(|(other, _)| *other == idx + 1))
                );
            }

            let changed = (0..row.len()).filter(|at| row[*at] != masked[*at]);
            assert!(changed.into_iter().all(|at| labels.iter().any(|(place, _)| *place == at)));
            assert_eq!((masked[0], masked[row.len() - 1]), (2, 3));
        }
    }

    /// 80/10/10 over about 150,000 tokens: chi-squared with 2 degrees of freedom, p = 0.001 at
    /// 13.8.
    #[test]
    fn the_shares_are_80_10_10_and_15_percent() {
        let params = BERTS;
        let words: Vec<u32> = (0..498).collect();
        let (mut masks, mut others, mut same, mut all) = (0.0, 0.0, 0.0, 0.0);

        for key in 0..2000 {
            let (row, masked, labels) = masked(&words, key, &params);
            all += row.len() as f64;

            for (place, token) in labels {
                match masked[place] {
                    MASK => masks += 1.0,
                    id if id == token => same += 1.0,
                    _ => others += 1.0,
                }
            }
        }

        let n: f64 = masks + others + same;
        assert!((n / all - 0.15).abs() < 0.001, "{}", n / all);
        let off = |found: f64, share: f64| (found - n * share).powi(2) / (n * share);
        // One random word in 995 is the word itself.
        let again = 0.1 / 995.0;
        let chi = off(masks, 0.8) + off(others, 0.1 - again) + off(same, 0.1 + again);

        assert!(chi < 13.8, "{chi}");
    }

    #[test]
    fn a_row_without_words_has_no_labels() {
        assert_eq!(masked(&[], 1, &BERTS).2, []);
    }
}
