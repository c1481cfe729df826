//! What other words can say a text in, and what keeps it the same: below the rooms that write
//! passages anew ([`negatives`](crate::negatives)) and change what a model is asked
//! ([`eval::robustness`](crate::eval::robustness)).
//!
//! Generators replace words and names ([`GENERATORS`]), engines translate there and back
//! ([`back_translation`]), the [`gate`] says whether what comes of it still says the same, and
//! [`acceptability`] whether people would write it.
//!
//! `kind` says what a rewriting is good for. `paraphrase`: other words, same statement. `hard`:
//! nearly the same words, another statement (a sibling concept, an antonym, a lost number or
//! negation).
//!
//! To add a generator: one file with a [`Generator`], one `mod` line, one line in [`GENERATORS`].
//! To add a translation engine: see [`back_translation`].

pub mod acceptability;
pub mod asked;
pub mod back_translation;
pub mod chinese;
pub mod concept;
pub mod edits;
pub mod gate;
pub mod inflect;
pub mod lexicon;
pub mod pos;
pub mod rewriter;
pub mod synonym;
pub mod thesaurus;
pub mod wordnet;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use crate::knowledge::names::Rule;
use crate::text::languages::is_english;
use crate::text::words::words;
use edits::Swap;
use gate::Bounds;
use inflect::Reading;
use pos::Sentence;
use thesaurus::Thesaurus;
use wordnet::WordNet;

/// What texts are rewritten with: keys of `[negatives]`, which has most use for them.
#[derive(Clone, Debug)]
pub struct Params {
    /// Share of a passage's words replaced by synonyms, at least one word.
    pub replace_share: f64,
    /// What the gate lets through.
    pub bounds: Bounds,
    /// Thesaurus files for Chinese, beside the embedded one.
    pub thesaurus: Vec<String>,
    /// Back-translation.
    pub back_translation: back_translation::Params,
}

/// Where a concept is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// First byte.
    pub start: usize,
    /// First byte behind.
    pub end: usize,
    /// Number of the concept in its lexicon.
    pub concept: usize,
    /// By which rule its name was found.
    pub rule: Rule,
}

impl Mention {
    /// A mention of no length, of a concept by its name.
    pub fn at(start: usize, concept: usize) -> Self {
        Mention { start, end: start, concept, rule: Rule::Name }
    }

    /// Whether no other name can stand here: it is an adjective, or shares a word with another
    /// name.
    pub fn is_fixed(&self) -> bool {
        !self.rule.is_exchangeable()
    }
}

/// What this room needs to know of a lexicon.
pub trait ConceptNames: Sync {
    /// Mentions in a text, in order, not overlapping but where they share a word.
    fn mentions(&self, text: &str) -> Vec<Mention>;
    /// Names of a concept in a language (all where `None`), the preferred name first.
    fn names(&self, concept: usize, language: Option<&str>) -> Vec<&str>;
    /// What a concept is, such as `disease`; empty where nobody says.
    fn kind(&self, _: usize) -> &str {
        ""
    }
    /// All concepts of a kind, in a fixed order.
    fn of_kind(&self, _: &str) -> &[usize] {
        &[]
    }
    /// Concepts of the same kind under the same parent, or linked neighbours in a tree, in a fixed
    /// order.
    fn siblings(&self, concept: usize) -> Vec<usize>;
}

/// What a candidate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another statement in nearly the same words.
    Hard,
    /// The same statement in other words.
    Paraphrase,
}

impl Kind {
    /// As it stands in the column `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hard => "hard",
            Kind::Paraphrase => "paraphrase",
        }
    }
}

/// All a generator may look at.
pub struct Material<'a> {
    /// The anchor.
    pub passage: &'a str,
    /// The anchor as the gate compares it, once somebody asks.
    anchor: OnceCell<gate::Anchor<'a>>,
    /// Its English words that may be replaced, once somebody asks.
    readings: OnceCell<Vec<(Range<usize>, Reading)>>,
    /// ISO 639 code of the document.
    pub language: Option<&'a str>,
    /// Concepts mentioned in the passage.
    pub mentions: &'a [Mention],
    /// The embedded English thesaurus.
    pub wordnet: &'a WordNet,
    /// For documents in Chinese the embedded thesaurus with the user's, for others the user's.
    pub thesaurus: Option<&'a Thesaurus>,
    /// The lexicon.
    pub concepts: Option<&'a dyn ConceptNames>,
    /// What the generators go by.
    pub params: &'a Params,
}

impl<'a> Material<'a> {
    /// The passage as the gate compares it.
    pub fn anchor(&self) -> &gate::Anchor<'a> {
        self.anchor.get_or_init(|| gate::Anchor::new(self.passage))
    }

    /// Words outside of concepts whose part of speech and form are sure, with their places; none
    /// but of English.
    pub fn readings(&self) -> &[(Range<usize>, Reading)] {
        self.readings.get_or_init(|| {
            if !self.is_english() {
                return Vec::new();
            }
            let sentence = Sentence::new(self.passage, self.wordnet);
            let place = |at: usize| {
                sentence.tokens[at].start
                    ..sentence.tokens[at].start + sentence.tokens[at].text.len()
            };
            let is_free = |range: &Range<usize>| {
                !self.mentions.iter().any(|m| m.start < range.end && range.start < m.end)
            };
            let free = (0..sentence.tokens.len())
                .map(|at| (at, place(at)))
                .filter(|(_, range)| is_free(range));

            free.filter_map(|(at, range)| Some((range, sentence.reading(at)?))).collect()
        })
    }

    /// Whether the document says that it is English.
    pub fn is_english(&self) -> bool {
        is_english(self.language)
    }
}

/// A way to rewrite a passage by replacing words. Pure: all chance comes from `stream`.
pub trait Generator: Sync {
    /// Name, as it stands in the column `engine`.
    fn name(&self) -> &'static str;
    /// What it does, in one line.
    fn about(&self) -> &'static str;
    /// What its candidates are good for.
    fn kind(&self) -> Kind;
    /// The keys that only some generators read, by their whole names.
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }
    /// Replacements that do not overlap; none where the passage offers nothing.
    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap>;
}

/// Every generator, in the order in which they fill a document's candidates.
pub static GENERATORS: &[&dyn Generator] = &[
    &concept::Sibling,
    &synonym::Synonym,
    &synonym::Antonym,
    &concept::OtherName,
    &thesaurus::ThesaurusSynonym,
    &thesaurus::ThesaurusAntonym,
];

/// Whether the translation has a word that neither its source nor English has, such as one left
/// untranslated.
pub fn has_new_unknown_word(anchor: &str, text: &str, wordnet: &WordNet) -> bool {
    let before: HashSet<String> = words(anchor).map(|word| word.text.to_lowercase()).collect();
    words(text).any(|word| {
        let lower = word.text.to_lowercase();
        // Letters with digits are what is left of a measure that grew together with a word.
        let plain = lower.chars().count() > 2 && !lower.chars().all(char::is_numeric);
        plain && !before.contains(&lower) && !pos::is_known(&lower, wordnet)
    })
}
