//! Families: a document and its variants, and where in a stratum its exposures stand.
//!
//! Two of one family that are read together teach what is alike in them, their wording, and not
//! what they say: with five versions of a text in one training window the replication of Allen-Zhu
//! and Li got 7 % where it gets 97 % with them apart. So the exposures of a family are spread
//! evenly: of `e` exposures the n-th stands at `(n + u) / e` of the stratum, where `u` is the place
//! of its document among those with as many. Between two of them lies every other family as often
//! as its share, so they stand `positions / e` apart but for one document of each number of
//! exposures.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::curriculum::row::Row;

/// How often families stand in the training order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exposures {
    /// Families of a domain by how often they stand there.
    pub by_exposures: BTreeMap<u32, u64>,
    /// Positions that hold a variant.
    pub variants: u64,
    /// Positions that hold a document of a domain again, as it is.
    pub repeats: u64,
    /// Fewest positions from one exposure of a family of variants to the next; `None` without any.
    pub least_gap: Option<u64>,
}

/// Each document of some rows, with all exposures of its family in order; the rows that stand once
/// and alone are not among the families.
pub(super) struct Families {
    /// Rows that are documents themselves.
    pub(super) documents: Vec<u32>,
    /// The exposures of those that have several, by their document.
    several: HashMap<u32, Vec<u32>>,
}

impl Families {
    /// The families of the rows of a stratum.
    pub(super) fn of(rows: &[Row], stratum: &[u32]) -> Self {
        let row = |idx: u32| &rows[idx as usize];
        let documents: Vec<u32> =
            stratum.iter().copied().filter(|idx| !row(*idx).is_variant).collect();
        let mut several: HashMap<u32, Vec<u32>> = HashMap::new();
        if stratum.iter().all(|idx| !row(*idx).is_variant && row(*idx).times == 1) {
            return Families { documents, several };
        }

        let mut members: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for idx in stratum {
            members.entry(row(*idx).family).or_default().push(*idx);
        }
        for mut own in members.into_values() {
            // The document stands first, its variants in the order they were made.
            own.sort_by_key(|idx| (row(*idx).is_variant, *idx));
            let most = own.iter().map(|idx| row(*idx).times).max().unwrap_or(0);
            let round = |nth: u32| own.iter().copied().filter(move |idx| row(*idx).times > nth);
            let exposures: Vec<u32> = (0..most).flat_map(round).collect();
            if exposures.len() != 1 {
                several.insert(own[0], exposures);
            }
        }
        Families { documents, several }
    }

    /// The exposures of a document.
    fn exposures<'a>(&'a self, document: &'a u32) -> &'a [u32] {
        self.several.get(document).map_or(std::slice::from_ref(document), Vec::as_slice)
    }

    /// All exposures, where `order` is that of the documents.
    pub(super) fn spread(&self, order: Vec<u32>) -> Vec<u32> {
        if self.several.is_empty() {
            return order;
        }
        let mut of_number: HashMap<usize, usize> = HashMap::new();
        for document in &order {
            *of_number.entry(self.exposures(document).len()).or_default() += 1;
        }

        let mut placed: Vec<(f64, u32)> = Vec::new();
        let mut before: HashMap<usize, usize> = HashMap::new();
        for document in &order {
            let exposures = self.exposures(document);
            let e = exposures.len();
            let rank = before.entry(e).or_default();
            let u = (*rank as f64 + 0.5) / of_number[&e] as f64;
            *rank += 1;
            let places = exposures.iter().enumerate();
            placed.extend(places.map(|(nth, row)| ((nth as f64 + u) / e as f64, *row)));
        }
        // Stable: of equal places the document that comes first stands first.
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        placed.into_iter().map(|(_, row)| row).collect()
    }
}

/// Which exposure of its family each position of the order is, and of how many.
pub struct Counted {
    /// By position: the number of the exposure, from 0.
    pub nth: Vec<u32>,
    /// By position: how many there are of its family.
    pub of: Vec<u32>,
    /// What it comes to.
    pub exposures: Exposures,
}

/// Counts the exposures of an order.
pub(super) fn count(rows: &[Row], sequence: &[u32]) -> Counted {
    // Most documents have no variant, and are told by their row: a map of all would take more
    // memory than the rows do.
    let row = |idx: u32| &rows[idx as usize];
    let is_variant = |idx: &&u32| row(**idx).is_variant && !row(**idx).is_questions;
    let varied: HashSet<u64> =
        sequence.iter().filter(is_variant).map(|idx| row(*idx).family).collect();
    let mut of_row = vec![0_u32; rows.len()];
    let mut of_family: HashMap<u64, u32> = HashMap::new();
    for idx in sequence.iter().filter(|idx| !row(**idx).is_questions) {
        match varied.contains(&row(*idx).family) {
            true => *of_family.entry(row(*idx).family).or_default() += 1,
            false => of_row[*idx as usize] += 1,
        }
    }

    let mut exposures = Exposures::default();
    let (mut nth, mut of) =
        (Vec::with_capacity(sequence.len()), Vec::with_capacity(sequence.len()));
    let mut seen_of_row = vec![0_u32; rows.len()];
    let mut last_of_family: HashMap<u64, (u32, usize)> = HashMap::new();
    for (at, idx) in sequence.iter().enumerate() {
        let one = row(*idx);
        // Questions are no exposure of the text that they are about.
        if one.is_questions {
            nth.push(0);
            of.push(1);
            continue;
        }
        let (number, total) = match of_family.get(&one.family) {
            Some(total) => {
                let last = last_of_family.entry(one.family).or_insert((0, at));
                if last.0 > 0 {
                    let gap = (at - last.1) as u64;
                    exposures.least_gap =
                        Some(exposures.least_gap.map_or(gap, |least| least.min(gap)));
                }
                *last = (last.0 + 1, at);
                (last.0 - 1, *total)
            }
            None => {
                seen_of_row[*idx as usize] += 1;
                (seen_of_row[*idx as usize] - 1, of_row[*idx as usize])
            }
        };
        exposures.variants += u64::from(one.is_variant);
        exposures.repeats += u64::from(number > 0 && !one.is_variant && one.is_domain);
        if number == 0 && one.is_domain {
            *exposures.by_exposures.entry(total).or_default() += 1;
        }
        nth.push(number);
        of.push(total);
    }
    Counted { nth, of, exposures }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::order::tests::rows;
    use proptest::prelude::*;

    /// Families of so many exposures, each of `members` rows.
    fn families(numbers: &[u32], members: u32) -> Vec<Row> {
        let mut all = Vec::new();
        for (family, exposures) in numbers.iter().enumerate() {
            let members = members.min(*exposures).max(1);
            for member in 0..members {
                all.push(Row {
                    family: family as u64,
                    is_variant: member > 0,
                    times: exposures / members + u32::from(member < exposures % members),
                    ..rows(1, 0)[0]
                });
            }
        }
        all
    }

    proptest! {
        /// All exposures stand there, as often as they are to, variants before repeats, and apart.
        #[test]
        fn exposures_stand_apart(
            numbers in proptest::collection::vec(1_u32..6, 1..80), members in 1_u32..5,
        ) {
            let rows = families(&numbers, members);
            let all: Vec<u32> = (0..rows.len() as u32).collect();
            let families = Families::of(&rows, &all);
            let order = families.spread(families.documents.clone());
            let classes = numbers.iter().collect::<std::collections::BTreeSet<_>>().len();
            let counted = count(&rows, &order);

            for (idx, row) in rows.iter().enumerate() {
                let n = order.iter().filter(|one| **one as usize == idx).count();
                prop_assert_eq!(n as u32, row.times);
            }
            for (family, exposures) in numbers.iter().enumerate() {
                let places: Vec<usize> = (0..order.len())
                    .filter(|at| rows[order[*at] as usize].family == family as u64)
                    .collect();
                prop_assert_eq!(places.len() as u32, *exposures);
                let members: Vec<bool> =
                    places.iter().map(|at| rows[order[*at] as usize].is_variant).collect();
                prop_assert!(!members[0]);
                let distinct = places.iter().map(|at| order[*at])
                    .collect::<std::collections::BTreeSet<u32>>().len();
                let first: Vec<u32> = places[..distinct].iter().map(|at| order[*at]).collect();
                prop_assert_eq!(
                    first.iter().collect::<std::collections::BTreeSet<_>>().len(), distinct,
                    "all stand once before one stands twice"
                );
                for pair in places.windows(2) {
                    let apart = (pair[1] - pair[0] + classes) as f64;
                    prop_assert!(apart >= order.len() as f64 / f64::from(*exposures) - 1e-9);
                }
                for (nth, at) in places.iter().enumerate() {
                    prop_assert_eq!((counted.nth[*at], counted.of[*at]), (nth as u32, *exposures));
                }
            }
        }
    }

    #[test]
    fn what_stands_once_stays_as_it_was() {
        let rows = rows(20, 20);
        let all: Vec<u32> = (0..40).rev().collect();
        let families = Families::of(&rows, &all);
        assert_eq!(families.spread(families.documents.clone()), all);
        let exposures = count(&rows, &all).exposures;
        assert_eq!(exposures.by_exposures, BTreeMap::from([(1, 20)]));
        assert_eq!((exposures.variants, exposures.least_gap), (0, None));
    }

    #[test]
    fn questions_are_no_exposure() {
        let mut rows = families(&[1, 1], 1);
        rows.push(Row { is_questions: true, is_variant: true, ..rows[0] });
        let counted = count(&rows, &[2, 0, 1]);
        assert_eq!((counted.nth, counted.of), (vec![0, 0, 0], vec![1, 1, 1]));
        assert_eq!((counted.exposures.variants, counted.exposures.repeats), (0, 0));
        assert!(counted.exposures.least_gap.is_none());
    }
}
