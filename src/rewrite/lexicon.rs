//! A lexicon as this room sees it: mentions, names and siblings.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::knowledge::lexicon::{Lexicon, LexiconSpec};
use crate::knowledge::mentions::{self as found, Finder};
use crate::knowledge::names::NameRules;
use crate::rewrite::{ConceptNames, Mention};
use crate::text::languages::code;

/// A lexicon with what finds its names in a text.
pub struct LexiconNames {
    lexicon: Lexicon,
    finder: Finder,
    /// Concepts by kind, in their order.
    kinds: BTreeMap<String, Vec<usize>>,
}

impl LexiconNames {
    /// Reads lexicon files, of whose names those count that the rules allow.
    ///
    /// # Errors
    /// If a lexicon file is missing or cannot be read.
    pub fn read(files: &[LexiconSpec], rules: &NameRules, memory_bytes: u64) -> Result<Self> {
        let lexicon = Lexicon::read(files, memory_bytes)?;
        let finder = Finder::new(&lexicon, rules)?;
        Ok(LexiconNames::new(lexicon, finder))
    }

    /// A lexicon that was read, with what finds its names.
    pub fn new(lexicon: Lexicon, finder: Finder) -> Self {
        let mut kinds: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, concept) in lexicon.concepts.iter().enumerate() {
            if !concept.kind.is_empty() {
                kinds.entry(concept.kind.clone()).or_default().push(number);
            }
        }
        LexiconNames { lexicon, finder, kinds }
    }

    /// The lexicon itself.
    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }
}

impl ConceptNames for LexiconNames {
    fn mentions(&self, text: &str) -> Vec<Mention> {
        let of = |found: found::Mention| Mention {
            start: found.start,
            end: found.end,
            concept: found.concept as usize,
            rule: found.rule,
        };
        self.finder.find(text).into_iter().map(of).collect()
    }

    fn names(&self, concept: usize, language: Option<&str>) -> Vec<&str> {
        let Some(concept) = self.lexicon.concepts.get(concept) else { return Vec::new() };
        let other = concept
            .language
            .as_deref()
            .zip(language)
            .is_some_and(|(ours, wanted)| code(ours) != code(wanted));
        if other {
            return Vec::new();
        }
        let exact = concept.synonyms.iter().filter(|name| !concept.inexact.contains(name));
        std::iter::once(&concept.name).chain(exact).map(String::as_str).collect()
    }

    fn kind(&self, concept: usize) -> &str {
        self.lexicon.concepts.get(concept).map_or("", |concept| concept.kind.as_str())
    }

    fn of_kind(&self, kind: &str) -> &[usize] {
        self.kinds.get(kind).map_or(&[], Vec::as_slice)
    }

    fn siblings(&self, concept: usize) -> Vec<usize> {
        let kind = |concept: usize| {
            self.lexicon.concepts.get(concept).map(|concept| concept.kind.as_str())
        };
        let siblings =
            self.lexicon.siblings(concept as u32).into_iter().map(|sibling| sibling as usize);
        siblings.filter(|sibling| kind(*sibling) == kind(concept)).collect()
    }
}
