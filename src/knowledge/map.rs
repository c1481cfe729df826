//! The knowledge map: which concepts of a lexicon a corpus mentions, branch by branch.

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::lexicon::Lexicon;

/// Branches of a summary.
const BRANCHES: usize = 40;

/// What stands below each concept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branches {
    /// Levels below a concept without parents, by the shortest way.
    pub depth: Vec<u32>,
    /// Concepts below it, itself among them.
    pub below: Vec<u32>,
    /// Those of them that were seen.
    pub seen: Vec<u32>,
    /// Levels from it to the lowest below it.
    pub height: Vec<u32>,
    /// The same of those that were seen; 0 where none was.
    pub height_seen: Vec<u32>,
}

/// What a corpus covers: `map.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Concepts of the lexicon.
    pub concepts: u64,
    /// Those that a document mentions.
    pub seen: u64,
    /// By source, those that one of its documents mentions.
    pub sources: Vec<(String, u64)>,
    /// The largest branches.
    pub branches: Vec<Branch>,
}

/// A branch of the lexicon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Id of the concept above it.
    pub concept: String,
    /// Its name.
    pub name: String,
    /// Concepts of it.
    pub concepts: u32,
    /// Those that were seen.
    pub seen: u32,
    /// Its levels.
    pub levels: u32,
    /// Those down to the lowest that was seen.
    pub levels_seen: u32,
    /// Names of the largest branches just below it of which nothing was seen.
    pub missing: Vec<String>,
}

/// Names of missing branches that a summary tells.
const MISSING: usize = 5;

/// Counts what stands below each concept. A concept with several parents is below all of them, once
/// each; of a circle each is below the others.
pub fn branches(lexicon: &Lexicon, is_seen: &dyn Fn(u32) -> bool) -> Branches {
    let n = lexicon.concepts.len();
    let depth = depths(lexicon);
    let mut all = Branches {
        below: vec![0; n],
        seen: vec![0; n],
        height: vec![0; n],
        height_seen: vec![0; n],
        depth: Vec::new(),
    };
    // By which concept one was reached last: each has its ancestors walked once.
    let mut reached = vec![u32::MAX; n];
    let mut level: Vec<u32> = Vec::new();
    for concept in 0..n as u32 {
        let seen = is_seen(concept);
        level.clear();
        level.push(concept);
        reached[concept as usize] = concept;
        let mut up = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for one in &level {
                let at = *one as usize;
                all.below[at] += 1;
                all.seen[at] += u32::from(seen);
                all.height[at] = all.height[at].max(up);
                if seen {
                    all.height_seen[at] = all.height_seen[at].max(up);
                }
                for parent in lexicon.parents(*one) {
                    if reached[*parent as usize] != concept {
                        reached[*parent as usize] = concept;
                        next.push(*parent);
                    }
                }
            }
            level = next;
            up += 1;
        }
    }
    all.depth = depth;
    all
}

/// Levels below a concept without parents; 0 inside a circle that nothing stands above.
fn depths(lexicon: &Lexicon) -> Vec<u32> {
    let n = lexicon.concepts.len();
    let mut depth = vec![0; n];
    let mut is_done = vec![false; n];
    let mut level: Vec<u32> =
        (0..n as u32).filter(|one| lexicon.parents(*one).is_empty()).collect();
    level.iter().for_each(|one| is_done[*one as usize] = true);
    let mut down = 0;
    while !level.is_empty() {
        down += 1;
        let mut next = Vec::new();
        for child in level.iter().flat_map(|one| lexicon.children(*one)) {
            if !std::mem::replace(&mut is_done[*child as usize], true) {
                depth[*child as usize] = down;
                next.push(*child);
            }
        }
        level = next;
    }
    depth
}

impl Branches {
    /// The largest branches: those below concepts without parents, and where one of these holds
    /// more than half of all concepts, those below it. A circle that nothing stands above is a
    /// branch too.
    pub fn largest(&self, lexicon: &Lexicon) -> Vec<Branch> {
        let n = lexicon.concepts.len() as u32;
        let mut tops = self.tops(lexicon);
        // A concept below several others is looked at once.
        let mut known: FxHashSet<u32> = tops.iter().copied().collect();
        let mut largest: Vec<u32> = Vec::new();
        while let Some(top) = tops.pop() {
            let is_most = n > 2 && 2 * self.below[top as usize] > n;
            let smaller = if is_most { self.just_below(lexicon, top) } else { Vec::new() };
            if smaller.is_empty() {
                largest.push(top);
            }
            tops.extend(smaller.into_iter().filter(|child| known.insert(*child)));
        }
        largest.sort_by_key(|one| (std::cmp::Reverse(self.below[*one as usize]), *one));
        largest.retain(|one| self.below[*one as usize] > 1);
        largest.truncate(BRANCHES);
        largest.into_iter().map(|top| self.branch(lexicon, top)).collect()
    }

    /// The concepts without parents, and one of each circle that nothing stands above.
    fn tops(&self, lexicon: &Lexicon) -> Vec<u32> {
        let mut order: Vec<u32> = (0..lexicon.concepts.len() as u32).collect();
        // What stands in a circle has more below it than what stands below the circle.
        order.sort_by_key(|one| {
            let has_parents = !lexicon.parents(*one).is_empty();
            (has_parents, std::cmp::Reverse(self.below[*one as usize]), *one)
        });
        let mut is_reached = vec![false; order.len()];
        let mut reach = |one: u32| !std::mem::replace(&mut is_reached[one as usize], true);
        let mut tops = Vec::new();
        for top in order {
            let mut left = if reach(top) { vec![top] } else { continue };
            tops.push(top);
            while let Some(one) = left.pop() {
                left.extend(lexicon.children(one).iter().copied().filter(|child| reach(*child)));
            }
        }
        tops
    }

    /// The concepts just below one, and below those that stand in a circle with it.
    fn just_below(&self, lexicon: &Lexicon, top: u32) -> Vec<u32> {
        let mut known = FxHashSet::from_iter([top]);
        let (mut circle, mut smaller) = (vec![top], Vec::new());
        while let Some(one) = circle.pop() {
            for child in lexicon.children(one).iter().filter(|child| known.insert(**child)) {
                // With as many below it, it has its own parent below it.
                let is_beside = self.below[*child as usize] == self.below[top as usize];
                if is_beside { circle.push(*child) } else { smaller.push(*child) }
            }
        }
        smaller
    }

    fn branch(&self, lexicon: &Lexicon, top: u32) -> Branch {
        let at = top as usize;
        let name = |one: u32| lexicon.concepts[one as usize].name.clone();
        let mut missing: Vec<u32> = lexicon.children(top).to_vec();
        missing.retain(|one| self.seen[*one as usize] == 0);
        missing.sort_by_key(|one| (std::cmp::Reverse(self.below[*one as usize]), *one));
        Branch {
            concept: lexicon.concepts[at].id.clone(),
            name: name(top),
            concepts: self.below[at],
            seen: self.seen[at],
            levels: self.height[at] + 1,
            levels_seen: if self.seen[at] > 0 { self.height_seen[at] + 1 } else { 0 },
            missing: missing.into_iter().take(MISSING).map(name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::lexicon::{Concept, Entry, Link};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lexicon(parents: &[Vec<usize>]) -> Lexicon {
        let id = |n: usize| format!("C{n:02}");
        let entry = |(n, parents): (usize, &Vec<usize>)| Entry {
            concept: Concept {
                id: id(n),
                name: id(n),
                links: parents.iter().map(|parent| Link::parent(id(*parent))).collect(),
                ..Concept::default()
            },
            ..Entry::default()
        };
        Lexicon::build(parents.iter().enumerate().map(entry).collect())
    }

    #[test]
    fn branches_tell_what_is_covered_how_deep_and_what_is_missing() {
        // 0 ─ 1 ─ 3 ─ 4, 0 ─ 2 ─ 4, 5 alone.
        let lexicon = lexicon(&[vec![], vec![0], vec![0], vec![1], vec![3, 2], vec![]]);
        let all = branches(&lexicon, &|one| one == 3);
        assert_eq!(all.below, [5, 3, 2, 2, 1, 1]);
        assert_eq!(all.seen, [1, 1, 0, 1, 0, 0]);
        assert_eq!(all.depth, [0, 1, 1, 2, 2, 0]);
        let told = all.largest(&lexicon);
        // The first holds most of all: those below it are told.
        let names: Vec<(&str, u32, u32)> =
            told.iter().map(|one| (one.name.as_str(), one.concepts, one.seen)).collect();
        assert_eq!(names, [("C01", 3, 1), ("C02", 2, 0)]);
        assert_eq!((told[0].levels, told[0].levels_seen), (3, 2));
        assert_eq!(
            (told[1].levels_seen, told[1].missing.as_slice()),
            (0, ["C04".to_string()].as_slice())
        );
    }

    #[test]
    fn diamonds_are_walked_once_and_circles_stay() {
        let told = |parents: &[Vec<usize>]| -> Vec<(String, u32)> {
            let lexicon = lexicon(parents);
            let told = branches(&lexicon, &|_| false).largest(&lexicon);
            told.into_iter().map(|one| (one.name, one.concepts)).collect()
        };
        let expected = |told: &[(&str, u32)]| -> Vec<(String, u32)> {
            told.iter().map(|(name, n)| (name.to_string(), *n)).collect()
        };
        // 60 levels of two below both of the level before: 2^60 ways down.
        let mut diamonds = vec![vec![], vec![0], vec![0]];
        diamonds.extend(
            (3..121).map(|n| if n % 2 == 1 { vec![n - 2, n - 1] } else { vec![n - 3, n - 2] }),
        );
        assert_eq!(told(&diamonds), expected(&[("C61", 59), ("C62", 59)]));
        // A circle below a concept, one that nothing stands above, and one with branches.
        assert_eq!(told(&[vec![], vec![0, 2], vec![1]]), expected(&[("C01", 2)]));
        assert_eq!(told(&[vec![1], vec![0], vec![]]), expected(&[("C00", 2)]));
        let branched = [vec![1], vec![0], vec![0], vec![2], vec![1], vec![4]];
        assert_eq!(told(&branched), expected(&[("C02", 2), ("C04", 2)]));
    }

    proptest! {
        /// Against the closure of the parents, circles among them.
        #[test]
        fn what_is_below_is_the_closure(
            parents in proptest::collection::vec(proptest::collection::vec(0_usize..9, 0..3), 9),
            seen in proptest::collection::btree_set(0_u32..9, 0..9),
        ) {
            let lexicon = lexicon(&parents);
            let all = branches(&lexicon, &|one| seen.contains(&one));
            let mut above: Vec<BTreeSet<u32>> = (0..9).map(|one| BTreeSet::from([one])).collect();
            for _ in 0..9 {
                for one in 0..9_u32 {
                    let more: Vec<u32> = above[one as usize].iter()
                        .flat_map(|other| lexicon.parents(*other)).copied().collect();
                    above[one as usize].extend(more);
                }
            }
            for top in 0..9_u32 {
                let below: Vec<u32> = (0..9).filter(|one| above[*one as usize].contains(&top)).collect();
                prop_assert_eq!(all.below[top as usize] as usize, below.len());
                let n = below.iter().filter(|one| seen.contains(one)).count();
                prop_assert_eq!(all.seen[top as usize] as usize, n);
            }
            all.largest(&lexicon);
        }
    }
}
