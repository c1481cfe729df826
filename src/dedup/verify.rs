//! How alike two texts truly are, from their sets of shingles, and whether that makes one of them
//! superfluous.

use crate::dedup::Params;

/// Similarity of a text that may be removed to one that stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Shingles of both / shingles of either, in [0, 1].
    pub jaccard: f64,
    /// Share of the removed text's shingles that the survivor holds, in [0, 1].
    pub containment: f64,
}

/// Why a text is superfluous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The survivor has the same id.
    SameId,
    /// The survivor has the same normalised text.
    Exact,
    /// The true Jaccard similarity reaches its threshold.
    Jaccard,
    /// The survivor is not shorter and holds nearly all of it.
    Containment,
}

impl Rule {
    /// All rules, each at its own number.
    pub const ALL: [Rule; 4] = [Rule::SameId, Rule::Exact, Rule::Jaccard, Rule::Containment];

    /// Name, as it stands in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Rule::SameId => "same_id",
            Rule::Exact => "exact",
            Rule::Jaccard => "jaccard",
            Rule::Containment => "containment",
        }
    }
}

/// What a text is compared by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Its shingles, sorted and without repeats.
    pub shingles: Vec<u64>,
    /// Its numbers, sorted and without repeats.
    pub numbers: Vec<u64>,
}

/// Similarity of two sets of shingles, both sorted and without repeats. Of two empty sets, 0.
pub fn similarity(removed: &[u64], survivor: &[u64]) -> Similarity {
    of_counts(common(removed, survivor, 0).unwrap_or(0), removed.len(), survivor.len())
}

/// Whether two sets of these sizes can be duplicates at all, and how many common shingles that
/// takes, rounded down.
pub(super) fn least_common(n_removed: usize, n_survivor: usize, params: &Params) -> Option<usize> {
    let (n, m) = (n_removed, n_survivor);
    let by_jaccard = params.jaccard / (1.0 + params.jaccard) * (n + m) as f64;
    let by_containment = if n <= m { params.containment * n as f64 } else { f64::INFINITY };
    let needed = by_jaccard.min(by_containment) - 1e-6;
    (n.min(m) > 0 && needed <= n.min(m) as f64).then_some(needed as usize)
}

/// The rule by which `survivor` makes `removed` superfluous, if any.
///
/// Where `params.same_numbers` holds, every number of the removed text must stand in the survivor:
/// in medicine and law a dose, a year or a count is often the only difference between two texts,
/// and all of their difference.
pub fn duplicate(
    removed: &Features,
    survivor: &Features,
    params: &Params,
) -> Option<(Rule, Similarity)> {
    let (n, m) = (removed.shingles.len(), survivor.shingles.len());
    let needed = least_common(n, m, params)?;
    let found = of_counts(common(&removed.shingles, &survivor.shingles, needed)?, n, m);
    let rule = if found.jaccard >= params.jaccard {
        Rule::Jaccard
    } else if n <= m && found.containment >= params.containment {
        Rule::Containment
    } else {
        return None;
    };

    let stand = !params.same_numbers
        || common(&removed.numbers, &survivor.numbers, removed.numbers.len()).is_some();
    stand.then_some((rule, found))
}

fn of_counts(common: usize, n: usize, m: usize) -> Similarity {
    let share = |of: usize| if of == 0 { 0.0 } else { common as f64 / of as f64 };
    Similarity { jaccard: share(n + m - common), containment: share(n) }
}

/// How many hashes two sorted sets share; `None` as soon as fewer than `needed` are certain.
fn common(a: &[u64], b: &[u64], needed: usize) -> Option<usize> {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    let (mut spare_a, mut spare_b) = (a.len().checked_sub(needed)?, b.len().checked_sub(needed)?);

    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Equal => {
                shared += 1;
                i += 1;
                j += 1;
            }
            std::cmp::Ordering::Less => {
                spare_a = spare_a.checked_sub(1)?;
                i += 1;
            }
            std::cmp::Ordering::Greater => {
                spare_b = spare_b.checked_sub(1)?;
                j += 1;
            }
        }
    }

    (shared >= needed).then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::tests::params;
    use proptest::prelude::*;

    fn features(shingles: impl IntoIterator<Item = u64>, numbers: &[u64]) -> Features {
        Features { shingles: shingles.into_iter().collect(), numbers: numbers.to_vec() }
    }

    fn check(
        removed: std::ops::Range<u64>,
        survivor: std::ops::Range<u64>,
        expected: Option<Rule>,
    ) {
        let found = duplicate(&features(removed, &[]), &features(survivor, &[]), &params());
        assert_eq!(found.map(|(rule, _)| rule), expected);
    }

    #[test]
    fn thresholds_are_exact() {
        check(0..80, 0..100, Some(Rule::Jaccard));
        check(0..79, 0..100, Some(Rule::Containment));
        check(21..110, 0..100, None);
        check(0..90, 10..1_000, None);
        check(0..100, 10..1_000, Some(Rule::Containment));
        check(0..1_000, 0..100, None);
        check(0..0, 0..0, None);
    }

    #[test]
    fn numbers_of_the_removed_text_must_stand_in_the_survivor() {
        let check = |removed: &[u64], survivor: &[u64], same_numbers, expected| {
            let (a, b) = (features(0..90, removed), features(0..100, survivor));
            assert_eq!(duplicate(&a, &b, &Params { same_numbers, ..params() }).is_some(), expected);
        };
        check(&[5, 7], &[5, 6, 7], true, true);
        check(&[5, 8], &[5, 6, 7], true, false);
        check(&[5, 8], &[5, 6, 7], false, true);
        check(&[], &[5], true, true);
        check(&[5], &[], true, false);
    }

    proptest! {
        #[test]
        fn agrees_with_set_arithmetic(a in prop::collection::btree_set(0..60_u64, 0..50),
            b in prop::collection::btree_set(0..60_u64, 0..50)) {
            let both = a.intersection(&b).count() as f64;
            let either = a.union(&b).count() as f64;
            let x: Vec<u64> = a.iter().copied().collect();
            let y: Vec<u64> = b.iter().copied().collect();

            if !a.is_empty() && !b.is_empty() {
                prop_assert_eq!(similarity(&x, &y),
                    Similarity { jaccard: both / either, containment: both / a.len() as f64 });
            }
            let p = params();
            let is_like = both / either >= p.jaccard;
            let is_inside = a.len() <= b.len() && both / a.len() as f64 >= p.containment;
            let yes = !a.is_empty() && !b.is_empty() && (is_like || is_inside);

            prop_assert_eq!(duplicate(&features(x, &[]), &features(y, &[]), &p).is_some(), yes);
        }
    }
}
