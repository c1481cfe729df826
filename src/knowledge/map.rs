//! The knowledge map: which concepts of a lexicon a corpus mentions, branch by branch.

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
    /// more than half of all concepts, those below it.
    pub fn largest(&self, lexicon: &Lexicon) -> Vec<Branch> {
        let n = lexicon.concepts.len() as u32;
        let mut tops: Vec<u32> = (0..n).filter(|one| lexicon.parents(*one).is_empty()).collect();
        while let Some(at) =
            tops.iter().position(|one| 2 * self.below[*one as usize] > n.max(1) && n > 2)
        {
            let top = tops.swap_remove(at);
            let children = lexicon.children(top);
            if children.is_empty() {
                break;
            }
            tops.extend(children.iter().filter(|child| {
                // In a circle a child may be its own parent's parent.
                self.below[**child as usize] < self.below[top as usize]
            }));
        }
        tops.sort_by_key(|one| (std::cmp::Reverse(self.below[*one as usize]), *one));
        tops.dedup();
        tops.retain(|one| self.below[*one as usize] > 1);
        tops.truncate(BRANCHES);
        tops.into_iter().map(|top| self.branch(lexicon, top)).collect()
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
