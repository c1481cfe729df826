//! What sources weigh: how many tokens of the order each has, for one of its own.
//!
//! A weight of 2 has every document of the source twice, one of 0.5 half of its tokens. Documents
//! are gone through in the order of a draw, and each stands as often as brings the tokens given
//! nearest to those due: no source is off by more than half of its longest document.

use std::collections::BTreeMap;

use crate::curriculum::order::Row;
use crate::draw;

/// How often a row of a source of this weight may stand at most.
pub const MOST: f64 = 64.0;

/// Multiplies what rows are to stand by the weights of their sources, `weights` by their numbers.
/// Gives how many rows stand no longer.
pub(super) fn weigh(rows: &mut [Row], weights: &BTreeMap<u16, f64>, seed: u64) -> u64 {
    if weights.is_empty() {
        return 0;
    }
    let mut families: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (idx, row) in rows.iter().enumerate().filter(|(_, row)| weights.contains_key(&row.source)) {
        families.entry(row.family).or_default().push(idx as u32);
    }
    let mut order: Vec<(u64, Vec<u32>)> = families.into_iter().collect();
    order.sort_by_key(|(family, _)| {
        (draw::unit(seed, "weight", &family.to_le_bytes()).to_bits(), *family)
    });

    let (mut due, mut given): (BTreeMap<u16, f64>, BTreeMap<u16, f64>) = Default::default();
    let mut left_out = 0;
    for (_, members) in order {
        let source = rows[members[0] as usize].source;
        let of = |idx: &u32| rows[*idx as usize];
        let tokens: f64 = members
            .iter()
            .map(|idx| f64::from(of(idx).times) * f64::from(of(idx).n_tokens.max(1)))
            .sum();
        let (due, given) = (due.entry(source).or_default(), given.entry(source).or_default());
        *due += weights[&source] * tokens;
        let n = ((*due - *given) / tokens).round().clamp(0.0, MOST);
        *given += n * tokens;
        left_out += if n == 0.0 { members.len() as u64 } else { 0 };
        members.iter().for_each(|idx| rows[*idx as usize].times *= n as u32);
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::order::tests::rows;
    use proptest::prelude::*;

    proptest! {
        /// Tokens of a source are those due, but for half of its longest document.
        #[test]
        fn tokens_are_weighed(weight in 0.05_f64..5.0, n in 1_u32..200, seed in 0_u64..9) {
            let mut weighed = rows(n, n);
            weighed.iter_mut().for_each(|row| row.source = u16::from(row.is_domain));
            let before = weighed.clone();
            let left_out = weigh(&mut weighed, &BTreeMap::from([(1, weight)]), seed);
            let tokens = |rows: &[Row], source| -> f64 {
                let own = rows.iter().filter(|row| row.source == source);
                own.map(|row| f64::from(row.times * row.n_tokens)).sum()
            };
            let longest = before.iter().map(|row| row.n_tokens).max().unwrap();
            let off = tokens(&weighed, 1) - weight * tokens(&before, 1);
            prop_assert!(off.abs() <= f64::from(longest) / 2.0 + 1e-6, "{off}");
            prop_assert_eq!(tokens(&weighed, 0), tokens(&before, 0));
            let none = weighed.iter().filter(|row| row.times == 0).count();
            prop_assert_eq!(none as u64, left_out);
        }
    }
}
