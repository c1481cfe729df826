//! A plain dictionary: every name as the lexicon has it, in any case, between word boundaries, the
//! longest first. That is what FlashText does (Singh 2017, arXiv:1711.00046), and what the rules
//! of [`crate::knowledge`] have to be better than.

use std::collections::HashMap;
use std::ops::Range;

use crate::knowledge::lexicon::Lexicon;
use crate::text::words::words;

pub(super) struct Dictionary {
    /// In small letters; of several concepts with one name, the first.
    names: HashMap<String, u32>,
    /// Words of the longest name.
    longest: usize,
}

impl Dictionary {
    pub(super) fn new(lexicon: &Lexicon) -> Self {
        let mut dictionary = Dictionary { names: HashMap::new(), longest: 0 };
        for (number, concept) in (0..).zip(&lexicon.concepts) {
            for name in concept.synonyms.iter().chain([&concept.name]) {
                dictionary.longest = dictionary.longest.max(words(name).count());
                dictionary.names.entry(name.to_lowercase()).or_insert(number);
            }
        }
        dictionary
    }

    /// The concepts of a text with their places, in order.
    pub(super) fn find(&self, text: &str) -> Vec<(Range<usize>, u32)> {
        let words: Vec<Range<usize>> =
            words(text).map(|word| word.start..word.start + word.text.len()).collect();
        let (mut found, mut at) = (Vec::new(), 0);
        while at < words.len() {
            let most = words.len().min(at + self.longest);
            let longest = (at..most).rev().find_map(|last| {
                let range = words[at].start..words[last].end;
                let number = self.names.get(&text[range.clone()].to_lowercase())?;
                Some((last, range, *number))
            });
            let Some((last, range, number)) = longest else {
                at += 1;
                continue;
            };
            found.push((range, number));
            at = last + 1;
        }
        found
    }
}
