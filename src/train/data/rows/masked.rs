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
//! character is a word of its own, unless `chinese = "jieba"` (arXiv:1906.08101).
//!
//! Where `[train.concepts]` says so, names of concepts are taken first (salient spans,
//! arXiv:2002.08909); words fill what is left of the room, and the other names stay in view. With
//! `choose = "informask"`, of several masks the one is taken whose words tell most of the others.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{Label, Lengths, PLACE, Row, RowMaker, Text, drawn_mentions};
use crate::draw;
use crate::error::Result;
use crate::train::data::informed::{Informed, relevance};
use crate::train::data::marks::mentions;
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
    /// What a Chinese word is.
    pub chinese: Chinese,
    /// Which words are masked.
    pub choose: Choose,
    /// Masks that are drawn to choose one of (`informask` only), 1 and more.
    pub candidates: usize,
}

/// Which words are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// Any.
    Random,
    /// Of several masks the one whose words tell most of those that stay in view.
    Informask,
}

/// What a Chinese word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chinese {
    /// What the tokenizer calls one: of BERT a character.
    Tokenizer,
    /// What jieba makes of a text, with the names of the lexicon.
    Jieba,
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
    frame: &'a Frame,
    masking: Masking<'a>,
}

impl<'a> Masked<'a> {
    /// Rows of a tokenizer's pieces.
    ///
    /// # Errors
    /// If no piece can stand for a masked one.
    pub fn new(
        params: &params::Params,
        tokenizer: &'a Tokenizer,
        informed: Option<&'a Informed>,
    ) -> Result<Self> {
        let own = Params::of(params)?;
        let masking = Masking {
            mask: tokenizer.mask(&own.token)?,
            ordinary: &tokenizer.ordinary,
            concepts: params.concepts.mask,
            share: own.share,
            whole_word: own.whole_word,
            informed,
            candidates: if informed.is_some() { own.candidates } else { 1 },
        };
        Ok(Masked { frame: &tokenizer.frame, masking })
    }
}

impl RowMaker for Masked<'_> {
    fn room(&self, max_tokens: usize) -> usize {
        max_tokens - self.frame.width()
    }

    fn lengths(&self, pieces: usize) -> Lengths {
        Lengths { tokens: pieces + self.frame.width(), decoded: 0 }
    }

    fn row(&self, text: &Text, stream: &mut ChaCha8Rng) -> Row {
        let row = self.frame.around(text.line, &text.pieces.ids, text.ends);
        let first = self.frame.before.len() + text.line.len();
        let (ids, mut labels) = self.masking.mask(&row, first, text.pieces, stream);
        if self.frame.language == Language::Causal {
            labels.iter_mut().for_each(|label| label.place -= 1);
        }
        Row { ids, decoder: None, labels }
    }
}

/// How the tokens of a row are masked.
#[derive(Clone, Copy)]
pub struct Masking<'a> {
    /// Id of `[MASK]`.
    pub mask: u32,
    /// Ids of words and pieces, one of which may stand for a masked token.
    pub ordinary: &'a [u32],
    /// Share of the tokens that are predicted.
    pub share: f64,
    /// Whether all pieces of a word are masked together.
    pub whole_word: bool,
    /// With what probability a concept's name is taken before any word.
    pub concepts: f64,
    /// What words tell of one another, where a mask is chosen by it.
    pub informed: Option<&'a Informed>,
    /// Masks that one is chosen of.
    pub candidates: usize,
}

impl Masking<'_> {
    /// Masks a row of these pieces, of which the first stands at the place `first`. The first place
    /// of all is never masked.
    ///
    /// Gives the row and, in order, the places to predict with what stood there.
    pub fn mask(
        &self,
        row: &[u32],
        first: usize,
        pieces: &Pieces,
        stream: &mut ChaCha8Rng,
    ) -> (Vec<u32>, Vec<Label>) {
        let room = ((row.len() as f64 * self.share).round_ties_even() as usize).max(1);
        let mut groups = self.words(&pieces.words);
        let mut names = Vec::new();
        if self.concepts > 0.0 {
            names = drawn_mentions(pieces, self.concepts, stream);
            let all = mentions(&pieces.marks);
            groups.retain(|word| all.iter().all(|name| are_apart(&name.pieces, word)));
        }

        let told = Told::new(self.informed, pieces, &names, &groups);
        let mut best: Option<(f64, Vec<usize>)> = None;
        for _ in 0..self.candidates.max(1) {
            draw::shuffle(&mut groups, stream);
            let mut places = Vec::new();
            for group in names.iter().chain(&groups) {
                let group = first + group.start..first + group.end;
                if group.start > 0 && places.len() + group.len() <= room {
                    places.extend(group);
                }
            }
            let relevance = told.as_ref().map_or(0.0, |told| told.relevance(first, &places));
            if best.as_ref().is_none_or(|(most, _)| relevance > *most) {
                best = Some((relevance, places));
            }
        }

        let mut places = best.map(|(_, places)| places).unwrap_or_default();
        places.sort_unstable();
        let mut masked = row.to_vec();
        let labels = places.iter().map(|place| Label::new(*place, row[*place])).collect();

        for place in places {
            let case = draw::next_unit(stream);
            if case < 0.8 {
                masked[place] = self.mask;
            } else if case < 0.9 {
                masked[place] = self.ordinary[draw::next_below(stream, self.ordinary.len())];
            }
        }

        (masked, labels)
    }

    /// The pieces that are masked together.
    fn words(&self, words: &[u32]) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (idx, word) in words.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if self.whole_word && words[idx - 1] == *word => group.end = idx + 1,
                _ => groups.push(idx..idx + 1),
            }
        }
        groups
    }
}

/// What the words of a row tell of one another.
struct Told {
    groups: Vec<Range<usize>>,
    between: Vec<f32>,
}

impl Told {
    fn new(
        informed: Option<&Informed>,
        pieces: &Pieces,
        names: &[Range<usize>],
        words: &[Range<usize>],
    ) -> Option<Self> {
        let groups = [names, words].concat();
        Some(Told { between: informed?.between(pieces, &groups), groups })
    }

    /// Of a mask over these places of a row whose first piece stands at `first`.
    fn relevance(&self, first: usize, places: &[usize]) -> f64 {
        let is_masked: Vec<bool> =
            self.groups.iter().map(|group| places.contains(&(first + group.start))).collect();
        relevance(&self.between, &is_masked)
    }
}

fn are_apart(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.end <= b.start || b.end <= a.start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::marks::Mark;

    const MASK: u32 = 4;

    fn masked(words: &[u32], key: u64) -> (Vec<u32>, Vec<u32>, Vec<Label>) {
        let pieces = Pieces { words: words.to_vec(), ids: words.to_vec(), marks: Vec::new() };
        masked_pieces(&pieces, key, 0.0)
    }

    fn masked_pieces(pieces: &Pieces, key: u64, concepts: f64) -> (Vec<u32>, Vec<u32>, Vec<Label>) {
        let ordinary: Vec<u32> = (5..1000).collect();
        let row: Vec<u32> = [2]
            .into_iter()
            .chain((0..pieces.words.len() as u32).map(|idx| 10 + idx % 900))
            .chain([3])
            .collect();
        let mut stream = draw::stream(1, "mask", &key.to_le_bytes());
        let masking = Masking {
            mask: MASK,
            ordinary: &ordinary,
            share: 0.15,
            whole_word: true,
            concepts,
            informed: None,
            candidates: 1,
        };
        let (masked, labels) = masking.mask(&row, 1, pieces, &mut stream);
        (row, masked, labels)
    }

    #[test]
    fn words_are_masked_whole_within_the_room_and_specials_never() {
        let words: Vec<u32> =
            (0..100).flat_map(|word| std::iter::repeat_n(word, 1 + word as usize % 3)).collect();

        for key in 0..200 {
            let (row, masked, labels) = masked(&words, key);
            let room = (row.len() as f64 * 0.15).round_ties_even() as usize;
            assert!(labels.len() <= room && labels.len() + 2 >= room, "{} of {room}", labels.len());

            let is_label = |at: usize| labels.iter().any(|label| label.place == at);
            for label in &labels {
                assert_eq!(row[label.place], label.token);
                let word = words[label.place - 1];
                let mut whole = (0..words.len()).filter(|idx| words[*idx] == word);
                assert!(whole.all(|idx| is_label(idx + 1)));
            }

            let mut changed = (0..row.len()).filter(|at| row[*at] != masked[*at]);
            assert!(changed.all(is_label));
            assert_eq!((masked[0], masked[row.len() - 1]), (2, 3));
        }
    }

    /// 80/10/10 over about 150,000 tokens: chi-squared with 2 degrees of freedom, p = 0.001 at
    /// 13.8.
    #[test]
    fn the_shares_are_80_10_10_and_15_percent() {
        let words: Vec<u32> = (0..498).collect();
        let (mut masks, mut others, mut same, mut all) = (0.0, 0.0, 0.0, 0.0);

        for key in 0..2000 {
            let (row, masked, labels) = masked(&words, key);
            all += row.len() as f64;

            for label in labels {
                match masked[label.place] {
                    MASK => masks += 1.0,
                    id if id == label.token => same += 1.0,
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
        assert_eq!(masked(&[], 1).2, []);
    }

    /// Ten sentences of twelve words with a name of two and one of three.
    fn named() -> Pieces {
        let mention = |nth: u32, sentence: u32| match nth {
            2..4 => 2 * sentence + 1,
            7..10 => 2 * sentence + 2,
            _ => 0,
        };
        let marks = (0..10).flat_map(|sentence| {
            (0..12).map(move |nth| Mark { mention: mention(nth, sentence), sentence })
        });
        let words: Vec<u32> = (0..120).collect();
        Pieces { ids: words.clone(), words, marks: marks.collect() }
    }

    #[test]
    fn names_of_concepts_are_taken_first_whole_and_never_both_of_a_sentence() {
        let pieces = named();
        let names = mentions(&pieces.marks);
        let (mut taken, mut of_names, mut all) = (0, 0, 0);
        for key in 0..500 {
            let (row, _, labels) = masked_pieces(&pieces, key, 0.2);
            let room = (row.len() as f64 * 0.15).round_ties_even() as usize;
            assert!(labels.len() <= room && labels.len() + 3 >= room);
            all += labels.len();

            let mut by_sentence = [0; 10];
            for name in &names {
                let places = name.pieces.start + 1..name.pieces.end + 1;
                let n = labels.iter().filter(|label| places.contains(&label.place)).count();
                assert!(n == 0 || n == places.len(), "a name is masked whole or not");
                by_sentence[name.sentence as usize] += usize::from(n > 0);
                of_names += n;
            }
            assert!(by_sentence.iter().all(|n| *n <= 1));
            taken += by_sentence.iter().sum::<usize>();
        }
        // Of 20 names a fifth, but for the second of a sentence whose first was drawn: 1 - 0.8².
        let share = taken as f64 / 500.0 / 10.0;
        assert!((share - 0.36).abs() < 0.03, "{share}");
        assert!(of_names < all, "words fill the rest");
    }

    #[test]
    fn with_no_share_of_names_the_bits_are_those_of_plain_masking() {
        let pieces = named();
        let plain = Pieces { marks: Vec::new(), ..pieces.clone() };
        for key in 0..50 {
            assert_eq!(masked_pieces(&pieces, key, 0.0), masked_pieces(&plain, key, 0.0));
        }
        // Nor does a share change a row without names but for its draws.
        let without = masked_pieces(&plain, 1, 0.5);
        assert_eq!(without, masked_pieces(&plain, 1, 0.0));
    }
}
