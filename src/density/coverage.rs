//! Triple coverage: how many linked pairs of the knowledge graph a text brings together.
//!
//! A pair counts once a text, if both concepts are mentioned within `window` words of each other
//! and the lexicon links them (Mintz et al., ACL 2009: a sentence that names both ends of a triple
//! likely speaks of it). One sweep over the mentions with the last `window` words behind it: at
//! most `window` comparisons a mention.

use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Mention;

/// Distinct linked concept pairs whose mentions begin at most `window` words apart.
pub fn linked_pairs(mentions: &[Mention], lexicon: &Lexicon, window: u32) -> u32 {
    let (mut pairs, mut first) = (Vec::new(), 0);
    for (at, mention) in mentions.iter().enumerate() {
        while mention.word - mentions[first].word > window {
            first += 1;
        }
        if lexicon.neighbours(mention.concept).is_empty() {
            continue;
        }

        for other in &mentions[first..at] {
            if lexicon.linked(mention.concept, other.concept) {
                pairs
                    .push((mention.concept.min(other.concept), mention.concept.max(other.concept)));
            }
        }
    }

    pairs.sort_unstable();
    pairs.dedup();
    pairs.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::lexicon::{Concept, Entry, Link};
    use crate::knowledge::names::Rule;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lexicon() -> Lexicon {
        let entry = |id: &str, links: &[&str]| {
            let links = links.iter().map(|to| Link::related(*to)).collect();
            Entry {
                concept: Concept { id: id.into(), name: id.into(), links, ..Concept::default() },
                ..Entry::default()
            }
        };
        Lexicon::build(vec![
            entry("0", &["1", "2"]),
            entry("1", &[]),
            entry("2", &["3"]),
            entry("3", &[]),
        ])
    }

    fn check(mentions: &[(u32, u32)], window: u32, expected: u32) {
        let mentions: Vec<Mention> = mentions
            .iter()
            .map(|(word, concept)| Mention {
                start: 0,
                end: 0,
                concept: *concept,
                word: *word,
                rule: Rule::Name,
            })
            .collect();
        assert_eq!(linked_pairs(&mentions, &lexicon(), window), expected);
    }

    #[test]
    fn only_linked_and_near_pairs_count_and_only_once() {
        check(&[(0, 0), (5, 1), (6, 0)], 10, 1);
        check(&[(0, 0), (11, 1)], 10, 0);
        check(&[(0, 1), (3, 2), (4, 3), (9, 0)], 10, 3);
        check(&[(0, 1), (1, 3)], 10, 0);
        check(&[], 10, 0);
    }

    proptest! {
        #[test]
        fn the_sweep_equals_all_pairs(steps in proptest::collection::vec((0_u32..6, 0_u32..4),
            0..20), window in 0_u32..10) {
            let (mut mentions, mut word) = (Vec::new(), 0);
            for (step, concept) in steps {
                word += step;
                mentions.push(Mention { start: 0, end: 0, concept, word, rule: Rule::Name });
            }

            let (lexicon, mut pairs) = (lexicon(), BTreeSet::new());
            for a in &mentions {
                for b in &mentions {
                    if a.concept < b.concept
                        && a.word.abs_diff(b.word) <= window
                        && lexicon.linked(a.concept, b.concept)
                    {
                        pairs.insert((a.concept, b.concept));
                    }
                }
            }

            prop_assert_eq!(linked_pairs(&mentions, &lexicon, window) as usize, pairs.len());
        }
    }
}
