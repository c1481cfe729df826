//! What sources weigh: how many tokens of the order each has, for one of its own.
//!
//! A weight of 2 has every document of the source twice, one of 0.5 half of its tokens, one of 1.5
//! half of its documents twice. Documents are gone through in the order of a draw, and each stands
//! as often as brings the tokens given nearest to those due, but never more or less often than the
//! weight rounded up or down: no source is off by more than its longest document.

use std::collections::BTreeMap;

use crate::curriculum::row::Row;
use crate::draw;

/// How often a row of a source of this weight may stand at most.
pub const MOST: f64 = 64.0;

/// Multiplies what the training rows are to stand by the weights of their sources, `weights` by
/// their numbers; some may stand no longer.
pub(super) fn weigh(rows: &mut [Row], train: &[u32], weights: &BTreeMap<u16, f64>, seed: u64) {
    if weights.is_empty() {
        return;
    }
    let mut families: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let is_weighed = |idx: &&u32| weights.contains_key(&rows[**idx as usize].source);
    for idx in train.iter().filter(is_weighed) {
        families.entry(rows[*idx as usize].family).or_default().push(*idx);
    }
    let mut order: Vec<(u64, Vec<u32>)> = families.into_iter().collect();
    order.sort_by_key(|(family, _)| {
        (draw::unit(seed, "weight", &family.to_le_bytes()).to_bits(), *family)
    });

    let (mut due, mut given): (BTreeMap<u16, f64>, BTreeMap<u16, f64>) = Default::default();
    for (_, members) in order {
        let source = rows[members[0] as usize].source;
        let of = |idx: &u32| rows[*idx as usize];
        // Questions are asked once, however often their document is read.
        let texts = members.iter().filter(|idx| !of(idx).is_questions);
        let tokens: f64 =
            texts.map(|idx| f64::from(of(idx).times) * f64::from(of(idx).n_tokens.max(1))).sum();
        if tokens <= 0.0 {
            continue;
        }
        let (due, given) = (due.entry(source).or_default(), given.entry(source).or_default());
        *due += weights[&source] * tokens;
        let (least, most) = (weights[&source].floor(), weights[&source].ceil());
        // The nearer of both: what is too much is not given to the next.
        let n = ((*due - *given) / tokens).round().clamp(least, most);
        *given += n * tokens;
        for idx in members {
            let row = &mut rows[idx as usize];
            row.times *= if row.is_questions { (n as u32).min(1) } else { n as u32 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::order::tests::rows;
    use proptest::prelude::*;

    proptest! {
        /// Tokens of a source are those due, but for its longest document, and no document stands
        /// more often than the weight rounded up.
        #[test]
        fn tokens_are_weighed(weight in 0.05_f64..5.0, n in 1_u32..200, seed in 0_u64..9) {
            let mut weighed = rows(n, n);
            weighed.iter_mut().for_each(|row| row.source = u16::from(row.is_domain));
            let before = weighed.clone();
            let train: Vec<u32> = (0..2 * n).collect();
            weigh(&mut weighed, &train, &BTreeMap::from([(1, weight)]), seed);
            let tokens = |rows: &[Row], source| -> f64 {
                let own = rows.iter().filter(|row| row.source == source);
                own.map(|row| f64::from(row.times * row.n_tokens)).sum()
            };
            let longest = before.iter().map(|row| row.n_tokens).max().unwrap();
            let off = tokens(&weighed, 1) - weight * tokens(&before, 1);
            prop_assert!(off.abs() <= f64::from(longest) + 1e-6, "{off}");
            prop_assert_eq!(tokens(&weighed, 0), tokens(&before, 0));
            let most = weighed.iter().map(|row| row.times).max().unwrap_or(0);
            prop_assert!(f64::from(most) <= weight.ceil().max(1.0));
        }
    }
}
