//! English words replaced by synonyms (`paraphrase`) or one word by its antonym (`hard`), from
//! WordNet.
//!
//! How many words: a share of the passage's words, at least one, as EDA does (Wei and Zou 2019, α =
//! 0.1). Which words and which synonyms: a keyed draw. Part of speech and inflection are respected,
//! "a" and "an" repaired, capitals kept; grammar words, names, numbers, hyphenated words and
//! concept mentions are never touched.

use rand_chacha::ChaCha8Rng;

use crate::draw;
use crate::rewrite::edits::{Swap, with_case_of};
use crate::rewrite::inflect::{Form, Reading, inflect};
use crate::rewrite::wordnet::{Pos, WordNet};
use crate::rewrite::{Generator, Kind, Material};

/// Replaces words by synonyms.
pub struct Synonym;

/// Replaces one word by its antonym.
pub struct Antonym;

impl Generator for Synonym {
    fn name(&self) -> &'static str {
        "synonym"
    }

    fn about(&self) -> &'static str {
        "English words replaced by WordNet synonyms of the same form"
    }

    fn kind(&self) -> Kind {
        Kind::Paraphrase
    }

    fn keys(&self) -> &'static [&'static str] {
        &["negatives.replace_share"]
    }

    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap> {
        let mut choices =
            choices(material, |reading, wordnet| wordnet.synonyms(&reading.lemma, reading.pos));
        let n_words = material.passage.split_whitespace().count();
        let wanted = (n_words as f64 * material.params.replace_share).ceil().max(1.0) as usize;
        let mut swaps = Vec::new();

        while swaps.len() < wanted && !choices.is_empty() {
            let mut choice = choices.swap_remove(draw::next_below(stream, choices.len()));
            let text = choice.1.swap_remove(draw::next_below(stream, choice.1.len()));
            swaps.push(Swap { range: choice.0, text });
        }

        swaps
    }
}

impl Generator for Antonym {
    fn name(&self) -> &'static str {
        "antonym"
    }

    fn about(&self) -> &'static str {
        "one English word replaced by its WordNet antonym of the same form"
    }

    fn kind(&self) -> Kind {
        Kind::Hard
    }

    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap> {
        let mut choices =
            choices(material, |reading, wordnet| wordnet.antonyms(&reading.lemma, reading.pos));
        if choices.is_empty() {
            return Vec::new();
        }
        let mut choice = choices.swap_remove(draw::next_below(stream, choices.len()));
        let text = choice.1.swap_remove(draw::next_below(stream, choice.1.len()));
        vec![Swap { range: choice.0, text }]
    }
}

/// Every word that may be replaced, with all it may become.
fn choices(
    material: &Material<'_>,
    others: impl Fn(&Reading, &WordNet) -> Vec<&'static str>,
) -> Vec<(std::ops::Range<usize>, Vec<String>)> {
    let mut found = Vec::new();
    for (range, reading) in material.readings() {
        let words: Vec<String> = others(reading, material.wordnet)
            .into_iter()
            .filter_map(|lemma| same_form(lemma, reading, material.wordnet))
            .map(|word| with_case_of(&material.passage[range.clone()], &word))
            .collect();
        if !words.is_empty() {
            found.push((range.clone(), words));
        }
    }
    found
}

/// `lemma` in the form of `reading`; `None` where that is not sure.
fn same_form(lemma: &str, reading: &Reading, wordnet: &WordNet) -> Option<String> {
    let word = inflect(lemma, reading.pos, reading.form, wordnet)?;
    // What looks like a past may be a participle, so both must be one word.
    let open = reading.pos == Pos::Verb && reading.form == Form::Past;
    let sure =
        !open || inflect(lemma, Pos::Verb, Form::Participle, wordnet).as_deref() == Some(&word);
    sure.then_some(word)
}
