//! What is known of a text beside its pieces: where Chinese words end, where concepts of a lexicon
//! are named, where sentences end.
//!
//! Chinese is written without spaces, and a tokenizer makes each character, or a whole run of them,
//! a word. `jieba` cuts a run into words by its own list and the lexicon's names (Cui et al. 2019,
//! arXiv:1906.08101, used LTP for the same). A piece belongs to the word that its first byte is in.

use std::ops::Range;

use jieba_rs::Jieba;
use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;
use crate::knowledge;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;
use crate::text::sentences::sentences;
use crate::text::words::is_cjk;
use crate::train::data::informed::Informed;
use crate::train::data::rows::masked;
use crate::train::data::tokenizer::{Pieces, Tokenizer};
use crate::train::params::Params;

/// Memory that a lexicon may fill.
const LEXICON_BYTES: u64 = 4 << 30;

/// What stands at a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Number of the mention of a concept that it is a part of, from 1; 0 where it is of none.
    pub mention: u32,
    /// Number of its sentence.
    pub sentence: u32,
}

/// Pieces that name a concept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The pieces.
    pub pieces: Range<usize>,
    /// Number of its sentence.
    pub sentence: u32,
}

/// The mentions among marked pieces, in order.
pub fn mentions(marks: &[Mark]) -> Vec<Mention> {
    let mut found: Vec<Mention> = Vec::new();
    for (idx, mark) in marks.iter().enumerate().filter(|(_, mark)| mark.mention > 0) {
        match found.last_mut() {
            Some(last) if marks[last.pieces.start].mention == mark.mention => {
                last.pieces.end = idx + 1;
            }
            _ => found.push(Mention { pieces: idx..idx + 1, sentence: mark.sentence }),
        }
    }
    found
}

/// Marks the pieces of texts.
pub struct Marker {
    words: Option<Jieba>,
    concepts: Option<Finder>,
    /// What words tell of one another, where masks go by it.
    pub informed: Option<Informed>,
    /// Of all that it marks by; `None` where it marks nothing.
    hash: Option<String>,
}

/// Marks nothing.
pub static PLAIN: Marker = Marker { words: None, concepts: None, informed: None, hash: None };

impl Marker {
    /// Marks what the settings ask for.
    ///
    /// # Errors
    /// If a lexicon cannot be read.
    pub fn new(params: &Params) -> Result<Self> {
        let cuts_words = masked::Params::of(params)?.chinese == masked::Chinese::Jieba;
        let marks_concepts = params.concepts.are_used();
        if !cuts_words && !marks_concepts {
            return Ok(Marker { words: None, concepts: None, informed: None, hash: None });
        }
        let lexicon = Lexicon::read(&params.names.lexicon, LEXICON_BYTES)?;
        let concepts =
            marks_concepts.then(|| Finder::new(&lexicon, &params.names.rules)).transpose()?;

        let mut hash = Xxh3::new();
        hash.update(lexicon.hash().as_bytes());
        let rules = &params.names.rules;
        hash.update(format!("{cuts_words} {rules:?} {}", knowledge::VERSION).as_bytes());
        Ok(Marker {
            words: cuts_words.then(|| segmenter(&lexicon)),
            concepts,
            informed: None,
            hash: Some(format!("{:032x}", hash.digest128())),
        })
    }

    /// A hash of what it marks by, for the books of a run; `None` where it marks nothing.
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// The pieces of a text, marked.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn pieces(&self, tokenizer: &Tokenizer, text: &str) -> Result<Pieces> {
        if self.hash.is_none() {
            return tokenizer.pieces(text);
        }
        let (mut pieces, places) = tokenizer.located(text)?;
        if let Some(jieba) = &self.words {
            pieces.words = joined(&pieces.words, &places, &chinese_words(jieba, text));
        }
        if let Some(finder) = &self.concepts {
            let found = finder.find(text);
            let mentions: Vec<Range<usize>> = found.iter().map(|one| one.start..one.end).collect();
            pieces.marks = marks(&places, &mentions, &sentences(text));
        }
        Ok(pieces)
    }
}

/// `jieba` with the Chinese names of a lexicon beside its own words.
fn segmenter(lexicon: &Lexicon) -> Jieba {
    let mut jieba = Jieba::new();
    for concept in &lexicon.concepts {
        for name in std::iter::once(&concept.name).chain(&concept.synonyms) {
            if is_chinese_word(name) {
                jieba.add_word(name, None, None);
            }
        }
    }
    jieba
}

/// Several characters, all of them Chinese.
fn is_chinese_word(word: &str) -> bool {
    word.chars().nth(1).is_some() && word.chars().all(is_cjk)
}

/// Where the Chinese words of a text are, single characters too.
fn chinese_words(jieba: &Jieba, text: &str) -> Vec<Range<usize>> {
    // Most texts of other scripts are told at their first look.
    if !text.chars().any(is_cjk) {
        return Vec::new();
    }
    let mut end = 0;
    let words = jieba.cut(text, true).into_iter().map(|word| {
        let start = end;
        end += word.word.len();
        (start..end, word.word.chars().all(is_cjk))
    });
    words.filter(|(_, is_cjk)| *is_cjk).map(|(place, _)| place).collect()
}

/// The number of the word of each piece: of a run of `words` that stands in one of the segmented
/// words, that; of any other piece the tokenizer's.
fn joined(words: &[u32], places: &[Range<usize>], segmented: &[Range<usize>]) -> Vec<u32> {
    let mut segments = segmented.iter().enumerate().peekable();
    let mut before = None;
    let mut number = 0;
    let mut numbers = Vec::with_capacity(words.len());

    for (word, place) in words.iter().zip(places) {
        while segments.next_if(|(_, segment)| segment.end <= place.start).is_some() {}
        let segment = segments.peek().filter(|(_, segment)| segment.start < place.end);
        // What a piece belongs to: a segmented word, or a word of the tokenizer's.
        let now = (segment.map(|(nth, _)| *nth), segment.is_none().then_some(*word));
        if before.is_some_and(|before| before != now) {
            number += 1;
        }
        before = Some(now);
        numbers.push(number);
    }
    numbers
}

/// What stands at each piece.
fn marks(
    places: &[Range<usize>],
    mentions: &[Range<usize>],
    sentences: &[Range<usize>],
) -> Vec<Mark> {
    let (mut mention, mut sentence) = (0, 0);
    let of_piece = |place: &Range<usize>| {
        while mentions.get(mention).is_some_and(|mention| mention.end <= place.start) {
            mention += 1;
        }
        while sentences.get(sentence + 1).is_some_and(|next| next.start < place.end) {
            sentence += 1;
        }
        let is_mention = mentions.get(mention).is_some_and(|mention| mention.start < place.end);
        let mention = if is_mention { mention as u32 + 1 } else { 0 };
        Mark { mention, sentence: sentence as u32 }
    };
    places.iter().map(of_piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(lengths: &[usize]) -> Vec<Range<usize>> {
        let mut end = 0;
        lengths
            .iter()
            .map(|length| {
                end += length;
                end - length..end
            })
            .collect()
    }

    /// Made by `fixtures/words/segment.py` with Python's jieba 0.42.1, which the crate follows.
    #[test]
    fn words_are_those_of_jieba() {
        let mut jieba = Jieba::new();
        jieba.add_word("壬二酰胺", None, None);
        let cases = include_str!("../../../fixtures/words/jieba.tsv");
        let mut n = 0;
        for line in cases.lines() {
            let (text, words) = line.split_once('\t').unwrap();
            let found: Vec<&str> = jieba.cut(text, true).iter().map(|word| word.word).collect();
            assert_eq!(found.join(" "), words, "{text}");
            n += 1;
        }
        assert!(n > 20, "{n}");
    }

    #[test]
    fn pieces_of_a_chinese_word_are_one() {
        let jieba = Jieba::new();
        let text = "高血压 is 疾病";
        let segmented = chinese_words(&jieba, text);
        assert_eq!(segmented, [0..9, 13..19]);
        // BERT: each character is a word.
        let each = places(&[3, 3, 3, 1, 2, 1, 3, 3]);
        let words = joined(&[0, 1, 2, 3, 4, 5, 6, 7], &each, &segmented);
        assert_eq!(words, [0, 0, 0, 1, 2, 3, 4, 4]);
        // A byte-level tokenizer: a run is a word, and the space goes with what is behind it.
        let runs = joined(&[0, 0, 1, 2, 2], &[0..6, 6..9, 9..12, 12..16, 16..19], &segmented);
        assert_eq!(runs, [0, 0, 1, 2, 2]);
        assert!(chinese_words(&jieba, "no such word").is_empty());
        assert_eq!(joined(&[0, 0, 1], &places(&[2, 1, 4]), &[]), [0, 0, 1]);
    }

    #[test]
    fn pieces_know_their_mention_and_their_sentence() {
        // "Hay fever. Asthma" in pieces with their spaces before them.
        let each = [0..3, 3..7, 7..9, 9..10, 10..14, 14..17];
        let found = marks(&each, &[0..9, 11..17], &[0..10, 11..17]);
        let numbers: Vec<(u32, u32)> =
            found.iter().map(|mark| (mark.mention, mark.sentence)).collect();
        assert_eq!(numbers, [(1, 0), (1, 0), (1, 0), (0, 0), (2, 1), (2, 1)]);
        let of = |pieces, sentence| Mention { pieces, sentence };
        assert_eq!(mentions(&found), [of(0..3, 0), of(4..6, 1)]);
        assert_eq!(mentions(&found[2..5]), [of(0..1, 0), of(2..3, 1)]);
    }
}
