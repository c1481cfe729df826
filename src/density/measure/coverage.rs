//! Coverage of the whole lexicon: documents that together mention every concept often enough.
//!
//! `f(S) = sum over concepts of idf * min(documents of S that mention it, wanted)` is monotone and
//! submodular, so taking in turn what adds most a word comes within `1 - 1/e` of the best choice of
//! as many tokens, but for one document (Khuller, Moss and Naor 1999; Krause and Guestrin 2005).
//! What a document adds never grows, so it is computed again only where it stands first (lazy
//! greedy, Minoux 1978). A document's worth is what it added a word when it was taken; of those
//! that were not, and of general text, what they would add behind all that were.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{Corpus, Measure, Worth};
use crate::error::{Error, Result};

/// See the module.
pub(super) static COVERAGE: Measure = Measure {
    name: "coverage",
    about: "what it adds a word to those chosen before it: each concept in so many documents",
    worth: |corpus| {
        let documents = Documents::of(corpus)?;
        let weights = &corpus.model.weights;
        let is_domain = corpus.is_domain()?;
        Ok(greedy(&documents, weights, corpus.wanted, &is_domain, corpus.keep_tokens))
    },
    why: |corpus, one| {
        let (n, wanted) = (one.row.concepts.len(), corpus.wanted);
        format!("what its {n} concepts add a word, each wanted in {wanted} documents")
    },
};

/// The concepts of all documents, in memory.
#[derive(Default)]
struct Documents {
    n_tokens: Vec<u32>,
    /// Where the concepts of each end.
    ends: Vec<usize>,
    concepts: Vec<u32>,
}

impl Documents {
    fn of(corpus: &Corpus) -> Result<Self> {
        let mut documents = Documents::default();
        corpus.each(|one| {
            documents.push(one.row.n_tokens, one.row.concepts);
            // The rest is for the heap, and for what the room holds anyway.
            let bytes = 4 * documents.concepts.len() + 40 * documents.ends.len();
            if bytes as u64 > corpus.memory_bytes / 2 {
                return Err(Error::usage(
                    "the concepts of all documents take more memory than `coverage` may have",
                )
                .hint("give more `--memory`, or measure by `hks` or `bm25_coverage`"));
            }
            Ok(())
        })?;
        Ok(documents)
    }

    fn push(&mut self, n_tokens: u32, concepts: &[u32]) {
        self.n_tokens.push(n_tokens.max(1));
        self.concepts.extend_from_slice(concepts);
        self.ends.push(self.concepts.len());
    }

    fn concepts(&self, at: usize) -> &[u32] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.concepts[start..self.ends[at]]
    }
}

/// A document and what it adds a word, as far as is known.
struct Offer {
    value: f64,
    document: usize,
}

impl Ord for Offer {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of equals the first document stands first.
        let by_value = self.value.total_cmp(&other.value);
        by_value.then_with(|| Reverse(self.document).cmp(&Reverse(other.document)))
    }
}

impl PartialOrd for Offer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Offer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Offer {}

/// Takes candidates in turn until no tokens are left; others stay as they are.
fn greedy(
    documents: &Documents,
    weights: &[f64],
    wanted: u32,
    is_candidate: &[bool],
    most_tokens: Option<u64>,
) -> Worth {
    let n = documents.ends.len();
    let mut met = vec![0_u32; weights.len()];
    let adds = |met: &[u32], document: usize| {
        let new = documents.concepts(document).iter().filter(|one| met[**one as usize] < wanted);
        // A sum of nothing is -0, which would stand below 0.
        let sum = new.map(|one| weights[*one as usize]).sum::<f64>() + 0.0;
        sum / f64::from(documents.n_tokens[document])
    };
    let mut values = vec![0.0; n];
    let mut is_taken = vec![false; n];
    let mut room = most_tokens.unwrap_or(u64::MAX);
    let offer = |document| Offer { value: adds(&met, document), document };
    let mut offers: BinaryHeap<Offer> =
        (0..n).filter(|document| is_candidate[*document]).map(offer).collect();

    while let Some(Offer { document, .. }) = offers.pop() {
        let value = adds(&met, document);
        let again = Offer { value, document };
        if offers.peek().is_some_and(|next| *next > again) {
            offers.push(again);
            continue;
        }
        let n_tokens = u64::from(documents.n_tokens[document]);
        if n_tokens <= room {
            room -= n_tokens;
            is_taken[document] = true;
            values[document] = value;
            documents.concepts(document).iter().for_each(|one| met[*one as usize] += 1);
        }
    }

    for document in (0..n).filter(|document| !is_taken[*document]) {
        values[document] = adds(&met, document);
    }
    let stays = (0..n).map(|document| is_taken[document] || !is_candidate[document]).collect();
    Worth { values, stays }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEIGHTS: [f64; 6] = [1.0, 2.0, 0.5, 3.0, 1.5, 0.25];
    const WANTED: u32 = 2;

    fn worth_of(chosen: &[&(u32, Vec<u32>)]) -> f64 {
        let of = |(concept, weight): (usize, &f64)| {
            let holds = |one: &&&(u32, Vec<u32>)| one.1.contains(&(concept as u32));
            let n = chosen.iter().filter(holds).count() as u32;
            weight * f64::from(n.min(WANTED))
        };
        WEIGHTS.iter().enumerate().map(of).sum()
    }

    /// The best of all choices that fit.
    fn best(all: &[(u32, Vec<u32>)], most: u32) -> f64 {
        let choices = (0_u32..1 << all.len()).map(|bits| {
            all.iter()
                .enumerate()
                .filter(|(at, _)| bits >> at & 1 == 1)
                .map(|(_, one)| one)
                .collect()
        });
        let fit =
            |chosen: &Vec<&(u32, Vec<u32>)>| chosen.iter().map(|one| one.0).sum::<u32>() <= most;
        choices.filter(fit).map(|chosen: Vec<_>| worth_of(&chosen)).fold(0.0, f64::max)
    }

    fn taken(all: &[(u32, Vec<u32>)], most: Option<u64>) -> Worth {
        let mut documents = Documents::default();
        all.iter().for_each(|(n_tokens, concepts)| documents.push(*n_tokens, concepts));
        greedy(&documents, &WEIGHTS, WANTED, &vec![true; all.len()], most)
    }

    fn documents(lengths: std::ops::Range<u32>) -> impl Strategy<Value = Vec<(u32, Vec<u32>)>> {
        let concepts = proptest::collection::btree_set(0_u32..6, 0..4);
        let document = (lengths, concepts.prop_map(|set| set.into_iter().collect::<Vec<u32>>()));
        proptest::collection::vec(document, 1..10)
    }

    proptest! {
        /// Nemhauser, Wolsey and Fisher's bound, where all documents are as long.
        #[test]
        fn the_choice_is_near_the_best(all in documents(1..2), most in 1_u32..6) {
            let worth = taken(&all, Some(u64::from(most)));
            let with = all.iter().zip(&worth.stays).filter(|(_, stays)| **stays);
            let chosen: Vec<_> = with.map(|(one, _)| one).collect();
            let share = 1.0 - 1.0 / std::f64::consts::E;
            prop_assert!(worth_of(&chosen) >= share * best(&all, most) - 1e-9);
        }

        /// With lengths of any kind, it holds with the first document that did not fit.
        #[test]
        fn the_choice_and_one_more_are_near_the_best(all in documents(1..6), most in 1_u32..15) {
            // In the order in which an endless choice takes them.
            let values = taken(&all, None).values;
            let mut order: Vec<usize> = (0..all.len()).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            let (mut chosen, mut n_tokens) = (Vec::new(), 0);
            for at in order {
                chosen.push(&all[at]);
                n_tokens += all[at].0;
                if n_tokens > most {
                    break;
                }
            }
            let share = 1.0 - 1.0 / std::f64::consts::E;
            prop_assert!(worth_of(&chosen) >= share * best(&all, most) - 1e-9);
        }

        /// Being lazy changes nothing: each step takes what adds most then.
        #[test]
        fn each_step_takes_what_adds_most(all in documents(1..6)) {
            let worth = taken(&all, None);
            let mut left: Vec<usize> = (0..all.len()).collect();
            let mut chosen: Vec<&(u32, Vec<u32>)> = Vec::new();
            while !left.is_empty() {
                let before = worth_of(&chosen);
                let adds = |at: usize| {
                    let with: Vec<_> = chosen.iter().copied().chain([&all[at]]).collect();
                    (worth_of(&with) - before) / f64::from(all[at].0)
                };
                let most = left.iter().map(|at| adds(*at)).fold(0.0, f64::max);
                let at = left.iter().position(|at| (worth.values[*at] - most).abs() < 1e-9
                    && (adds(*at) - most).abs() < 1e-9);
                prop_assert!(at.is_some(), "{most}: {:?}", worth.values);
                chosen.push(&all[left.remove(at.unwrap())]);
            }
        }
    }

    #[test]
    fn general_text_is_never_chosen_from() {
        let mut documents = Documents::default();
        documents.push(10, &[3]);
        documents.push(10, &[0]);
        documents.push(10, &[1]);
        let worth = greedy(&documents, &WEIGHTS, 1, &[false, true, true], Some(10));
        assert_eq!(worth.stays, [true, false, true]);
        assert_eq!(worth.values, [0.3, 0.1, 0.2], "general text by what it would add");
    }
}
