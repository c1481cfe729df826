//! Which of the concepts that share a name a text means: the one whose neighbours stand near.
//!
//! Each mention of the concept itself by a name of its own, or of one that is linked to it, speaks
//! for it by one over the words between, so that what stands near decides, and elsewhere what the
//! text is about. Where nothing speaks for another, the name stays with whom it would count for
//! without a text. Mentions of shared names speak for none.

use std::collections::HashMap;

use super::lexicon::Lexicon;
use super::mentions::Scan;

/// Mentions on either side that are heard.
const HEARD: usize = 100;

/// A mention by a shared name.
pub(super) struct Doubt<'a> {
    /// Its number.
    pub(super) mention: usize,
    /// The other concepts with this name.
    pub(super) others: &'a [u32],
}

/// The neighbours of concepts that share a name with others.
#[derive(Default)]
pub(super) struct Neighbours {
    of: HashMap<u32, Box<[u32]>>,
}

impl Neighbours {
    /// Those of some concepts, from the lexicon.
    pub(super) fn new(lexicon: &Lexicon, concepts: impl Iterator<Item = u32>) -> Self {
        Neighbours { of: concepts.map(|one| (one, lexicon.neighbours(one).into())).collect() }
    }

    /// Gives each doubtful mention the concept that its text speaks for.
    pub(super) fn decide(&self, scan: &mut Scan, doubts: &[Doubt]) {
        let mut decided = Vec::new();
        for Doubt { mention, others } in doubts {
            let own = scan.mentions[*mention].concept;
            let mut best = (own, self.support(scan, doubts, *mention, own));
            for other in *others {
                let support = self.support(scan, doubts, *mention, *other);
                if support > best.1 {
                    best = (*other, support);
                }
            }
            decided.push(best.0);
        }

        for (Doubt { mention, .. }, concept) in doubts.iter().zip(decided) {
            scan.mentions[*mention].concept = concept;
        }
    }

    fn support(&self, scan: &Scan, doubts: &[Doubt], mention: usize, concept: u32) -> f64 {
        let neighbours = self.of.get(&concept).map_or(&[][..], |all| all);
        let from = mention.saturating_sub(HEARD);
        let here = scan.mentions[mention].word;
        let speaks = |(number, other): (usize, &super::mentions::Mention)| {
            let is_its =
                other.concept == concept || neighbours.binary_search(&other.concept).is_ok();
            let is_sure = || doubts.binary_search_by_key(&number, |doubt| doubt.mention).is_err();
            let distance = 1 + other.word.abs_diff(here);
            if is_its && is_sure() { 1.0 / f64::from(distance) } else { 0.0 }
        };
        (from..).zip(scan.mentions[from..].iter().take(2 * HEARD)).map(speaks).sum()
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
