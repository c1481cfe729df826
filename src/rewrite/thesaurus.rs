//! Words of scripts without spaces replaced from the embedded Chinese thesaurus and the user's:
//! synonyms, or one word by its antonym.
//!
//! Needs no segmenter: the thesaurus' own words, matched leftmost-longest, cut the text. A word is
//! replaced only if it has two characters or more and stands in exactly one group of synonyms, and
//! only by a word of its own length of which the same holds; that keeps out chance matches across
//! word borders and words of many senses.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use rand_chacha::ChaCha8Rng;

use crate::draw;
use crate::error::{Error, Result};
use crate::rewrite::edits::{Swap, count};
use crate::rewrite::wordnet::readers::Entries;
use crate::rewrite::{Generator, Kind, Material};
use crate::text::words::is_cjk;

/// Replaces words by synonyms of the thesauri.
pub struct ThesaurusSynonym;

/// Replaces one word by its opposite or negation.
pub struct ThesaurusAntonym;

/// Thesauri as one automaton.
pub struct Thesaurus {
    words: Vec<String>,
    groups: Vec<Vec<usize>>,
    groups_of: Vec<Vec<usize>>,
    antonyms: HashMap<usize, Vec<usize>>,
    automaton: AhoCorasick,
}

impl Thesaurus {
    /// Builds the automaton over all words of the entries that are written in CJK characters.
    ///
    /// # Errors
    /// If there are too many words for an automaton.
    pub fn build(entries: &Entries) -> Result<Self> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut words = Vec::new();
        let mut number = |word: &String| {
            let cjk = !word.is_empty() && word.chars().all(is_cjk);
            cjk.then(|| {
                *numbers.entry(word.clone()).or_insert_with(|| {
                    words.push(word.clone());
                    words.len() - 1
                })
            })
        };

        let groups: Vec<Vec<usize>> = entries
            .synonyms
            .iter()
            .map(|group| group.iter().filter_map(&mut number).collect())
            .collect();
        let mut antonyms: HashMap<usize, Vec<usize>> = HashMap::new();

        for (a, b) in &entries.antonyms {
            if let (Some(a), Some(b)) = (number(a), number(b)) {
                antonyms.entry(a).or_default().push(b);
                antonyms.entry(b).or_default().push(a);
            }
        }

        for word in &entries.others {
            number(word);
        }
        let mut groups_of = vec![Vec::new(); words.len()];

        for (idx, group) in groups.iter().enumerate() {
            group.iter().for_each(|word| groups_of[*word].push(idx));
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&words)
            .map_err(|cause| {
                Error::data(format!("the thesaurus does not fit into an automaton: {cause}"))
            })?;
        Ok(Thesaurus { words, groups, groups_of, antonyms, automaton })
    }

    /// How many words it has.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it has no words.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn synonyms(&self, word: usize) -> Vec<usize> {
        let length = count(&self.words[word]);
        let [group] = self.groups_of[word][..] else { return Vec::new() };
        let fits = |other: &usize| {
            *other != word
                && count(&self.words[*other]) == length
                && self.groups_of[*other].len() == 1
        };
        self.groups[group].iter().copied().filter(fits).collect()
    }

    /// Every word of the passage outside concepts that `others` has replacements for.
    fn choices(
        &self,
        material: &Material<'_>,
        others: impl Fn(usize) -> Vec<usize>,
    ) -> Vec<(Range<usize>, Vec<usize>)> {
        let free = |range: &Range<usize>| {
            !material
                .mentions
                .iter()
                .any(|mention| mention.start < range.end && range.start < mention.end)
        };
        self.automaton
            .find_iter(material.passage)
            .filter(|found| {
                free(&found.range()) && count(&self.words[found.pattern().as_usize()]) >= 2
            })
            .map(|found| (found.range(), others(found.pattern().as_usize())))
            .filter(|(_, words)| !words.is_empty())
            .collect()
    }

    fn draw(
        &self,
        mut choices: Vec<(Range<usize>, Vec<usize>)>,
        n: usize,
        stream: &mut ChaCha8Rng,
    ) -> Vec<Swap> {
        let mut swaps = Vec::new();
        while swaps.len() < n && !choices.is_empty() {
            let (range, words) = choices.swap_remove(draw::next_below(stream, choices.len()));
            let word = words[draw::next_below(stream, words.len())];
            swaps.push(Swap { range, text: self.words[word].clone() });
        }
        swaps
    }
}

impl Generator for ThesaurusSynonym {
    fn name(&self) -> &'static str {
        "thesaurus"
    }

    fn about(&self) -> &'static str {
        "Chinese words replaced by synonyms of the embedded thesaurus and of those that \
         `thesaurus` names"
    }

    fn kind(&self) -> Kind {
        Kind::Paraphrase
    }

    fn keys(&self) -> &'static [&'static str] {
        &["negatives.replace_share", "negatives.thesaurus"]
    }

    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap> {
        let Some(thesaurus) = material.thesaurus else { return Vec::new() };
        // Two characters a word on average, so that the share means the same as for words with
        // spaces.
        let n_words = f64::from(count(material.passage)) / 2.0;
        let wanted = (n_words * material.params.replace_share).ceil().max(1.0) as usize;
        thesaurus.draw(thesaurus.choices(material, |word| thesaurus.synonyms(word)), wanted, stream)
    }
}

impl Generator for ThesaurusAntonym {
    fn name(&self) -> &'static str {
        "thesaurus_antonym"
    }

    fn about(&self) -> &'static str {
        "one Chinese word replaced by its opposite or negation, of the same thesauri"
    }

    fn kind(&self) -> Kind {
        Kind::Hard
    }

    fn keys(&self) -> &'static [&'static str] {
        &["negatives.thesaurus"]
    }

    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap> {
        let Some(thesaurus) = material.thesaurus else { return Vec::new() };
        let opposite = |word: usize| thesaurus.antonyms.get(&word).cloned().unwrap_or_default();
        thesaurus.draw(thesaurus.choices(material, opposite), 1, stream)
    }
}
