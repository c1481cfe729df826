//! Which of the concepts that share a name a text means: the one whose neighbours stand near.
//!
//! Each mention of the concept itself by a name of its own, or of one that is linked to it, speaks
//! for it by one over the words between, so that what stands near decides, and elsewhere what the
//! text is about. Where nothing speaks for another, the name stays with whom it would count for
//! without a text. Mentions of shared names speak for none.

use std::collections::HashMap;

use super::lexicon::Lexicon;
use super::mentions::Scan;
use super::names::Owner;

/// Places that are heard on either side; others are too far to matter.
const HEARD: usize = 100;

/// A mention by a shared name.
pub(super) struct Doubt<'a> {
    /// Its number.
    pub(super) mention: usize,
    /// The other concepts with this name.
    pub(super) others: &'a [Owner],
}

/// The neighbours of concepts that share a name with others.
#[derive(Default)]
pub(super) struct Neighbours {
    of: HashMap<u32, Box<[u32]>>,
}

/// A mention that is of one concept alone.
#[derive(Clone, Copy)]
struct Sure {
    concept: u32,
    word: u32,
}

impl Neighbours {
    /// Those of some concepts, from the lexicon.
    pub(super) fn new(lexicon: &Lexicon, concepts: impl Iterator<Item = u32>) -> Self {
        Neighbours { of: concepts.map(|one| (one, lexicon.neighbours(one).into())).collect() }
    }

    /// Gives each doubtful mention the concept that its text speaks for.
    pub(super) fn decide(&self, scan: &mut Scan, doubts: &[Doubt]) {
        if doubts.is_empty() {
            return;
        }
        let mut open = doubts.iter().map(|doubt| doubt.mention).peekable();
        let is_sure = |at: &usize| open.next_if_eq(at).is_none();
        let sure = (0..scan.mentions.len()).filter(is_sure).map(|at| &scan.mentions[at]);
        let mut sure: Vec<Sure> =
            sure.map(|one| Sure { concept: one.concept, word: one.word }).collect();
        sure.sort_by_key(|one| one.concept);
        // Where each of the concepts in doubt is spoken for.
        let mut places: HashMap<u32, Vec<u32>> = HashMap::new();

        for Doubt { mention, others } in doubts {
            let mention = &mut scan.mentions[*mention];
            let mut support = |concept: u32| -> f64 {
                let words = places.entry(concept).or_insert_with(|| self.speak(concept, &sure));
                let here = words.partition_point(|word| *word < mention.word);
                let heard = here.saturating_sub(HEARD)..words.len().min(here + HEARD);
                let near = |word: &u32| 1.0 / f64::from(1 + word.abs_diff(mention.word));
                words[heard].iter().map(near).sum()
            };
            let mut best = Owner { concept: mention.concept, rule: mention.rule };
            let mut most = support(best.concept);
            for other in *others {
                let support = support(other.concept);
                if support > most {
                    (best, most) = (*other, support);
                }
            }
            (mention.concept, mention.rule) = (best.concept, best.rule);
        }
    }

    /// The words at which a concept is mentioned, or one that is linked to it, in order.
    fn speak(&self, concept: u32, sure: &[Sure]) -> Vec<u32> {
        let neighbours = self.of.get(&concept).map_or(&[][..], |all| all);
        let mut words: Vec<u32> = Vec::new();
        if neighbours.len() < sure.len() {
            for one in neighbours.iter().chain([&concept]) {
                let first = sure.partition_point(|sure| sure.concept < *one);
                let same = sure[first..].iter().take_while(|sure| sure.concept == *one);
                words.extend(same.map(|sure| sure.word));
            }
        } else {
            let is_of = |one: u32| one == concept || neighbours.binary_search(&one).is_ok();
            words.extend(sure.iter().filter(|sure| is_of(sure.concept)).map(|sure| sure.word));
        }
        words.sort_unstable();
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::{Concept, Entry, Lexicon, Link};
    use super::super::mentions::Finder;
    use super::super::names::tests::rules;

    #[test]
    fn what_stands_near_decides() {
        let entry = |id: &str, names: &[&str], linked: &str| Entry {
            concept: Concept {
                id: id.into(),
                name: names[0].into(),
                synonyms: names[1..].iter().map(|name| (*name).to_string()).collect(),
                links: vec![Link::related(linked)],
                ..Concept::default()
            },
            ..Entry::default()
        };
        let lexicon = Lexicon::build(vec![
            entry("B", &["mercury"], "E"),
            entry("C", &["planet Mercury", "mercury"], "F"),
            entry("E", &["thermometer"], ""),
            entry("F", &["solar system"], ""),
        ]);
        let finder = Finder::new(&lexicon, &rules()).unwrap();
        let rules_of = |text: &str| -> Vec<&str> {
            finder.find(text).iter().map(|one| one.rule.name()).collect()
        };
        assert_eq!(rules_of("mercury was measured"), ["name"]);
        assert_eq!(rules_of("mercury in the solar system"), ["synonym", "name"]);
        let of = |text: &str| -> Vec<&str> {
            let found = finder.find(text);
            found.iter().map(|one| lexicon.concepts[one.concept as usize].id.as_str()).collect()
        };

        assert_eq!(of("mercury was measured"), ["B"], "whose preferred name it is");
        assert_eq!(of("mercury in a thermometer"), ["B", "E"]);
        assert_eq!(of("mercury in the solar system"), ["C", "F"]);
        assert_eq!(of("the planet Mercury; mercury turns"), ["C", "C"], "named in full before");
        let near = "a thermometer, and far from it in the solar system mercury";
        assert_eq!(of(near), ["E", "F", "C"], "the nearer one");
        assert_eq!(of("mercury and mercury"), ["B", "B"], "doubtful ones decide nothing");
    }
}
