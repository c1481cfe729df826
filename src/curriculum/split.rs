//! The validation split: whole neighbourhoods of near-duplicates, chosen by a draw on the
//! neighbourhood.
//!
//! A neighbourhood joins all documents that share a MinHash band, verified or not, so two documents
//! that are alike never stand on both sides. Large neighbourhoods (templates) stay in training:
//! taking one would take a whole kind. A variant goes where its document goes, of which it has the
//! neighbourhood; of one that is held out it is left out altogether.

use rayon::prelude::*;

use crate::curriculum::Params;
use crate::curriculum::order::Row;
use crate::draw;

/// Row indices of the two splits.
pub(super) struct Splits {
    /// Training rows, in row order.
    pub(super) train: Vec<u32>,
    /// Validation rows, in the order of a draw: documents, no variants.
    pub(super) validation: Vec<u32>,
    /// Variants of those, which stand in neither.
    pub(super) held_out: Vec<u32>,
    /// What a person must know.
    pub(super) notes: Vec<String>,
}

/// Chooses the validation split.
pub(super) fn validation(rows: &[Row], params: &Params, seed: u64) -> Splits {
    let documents = rows.iter().filter(|row| !row.is_variant);
    let mut groups: Vec<u64> = documents.map(|row| row.group).collect();
    groups.par_sort_unstable();
    let size = |group: u64| {
        let first = groups.partition_point(|other| *other < group);
        groups[first..].partition_point(|other| *other == group)
    };
    let drawn = |group: u64| draw::unit(seed, "validation", &group.to_le_bytes());
    let small = |group: u64| size(group) <= params.validation_group_max;
    let mut notes = Vec::new();
    let mut limit = params.validation_share;

    if limit > 0.0
        && groups.first() != groups.last()
        && !groups.iter().any(|group| drawn(*group) < limit && small(*group))
    {
        // So few documents that the draw takes none: take the one nearest to being taken.
        let nearest = groups
            .iter()
            .filter(|group| small(**group))
            .map(|group| drawn(*group))
            .min_by(f64::total_cmp);
        match nearest {
            Some(nearest) => limit = nearest.next_up(),
            None => notes.push(format!(
                "there is no validation split: every neighbourhood has more than {} documents",
                params.validation_group_max
            )),
        }
    }

    let (mut train, mut validation, mut held_out) = (Vec::new(), Vec::new(), Vec::new());
    for (idx, row) in rows.iter().enumerate() {
        let is_held_out = drawn(row.group) < limit && small(row.group);
        let side = match (is_held_out, row.is_variant) {
            (false, _) => &mut train,
            (true, false) => &mut validation,
            (true, true) => &mut held_out,
        };
        side.push(idx as u32);
    }

    validation.sort_by_key(|&idx| {
        let row = &rows[idx as usize];
        (draw::unit(seed, "validation order", &row.name.to_le_bytes()).to_bits(), row.name)
    });
    Splits { train, validation, held_out, notes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::order::tests::{params, rows};

    #[test]
    fn groups_are_never_divided_and_large_ones_stay() {
        let mut rows = rows(2000, 0);
        rows.iter_mut()
            .enumerate()
            .for_each(|(idx, row)| row.group = if idx < 500 { 0 } else { idx as u64 / 3 });
        let splits = validation(&rows, &params(), 17);
        let share = splits.validation.len() as f64 / 1500.0;
        assert!((0.02..0.09).contains(&share), "{share}");
        assert_eq!(splits.train.len() + splits.validation.len(), 2000);

        for &idx in &splits.validation {
            let group = rows[idx as usize].group;
            assert!(
                group != 0 && splits.train.iter().all(|&other| rows[other as usize].group != group)
            );
        }
    }

    #[test]
    fn a_tiny_corpus_still_holds_one_out() {
        assert_eq!(validation(&rows(5, 0), &params(), 1).validation.len(), 1);
        assert_eq!(validation(&rows(1, 0), &params(), 1).validation.len(), 0);
    }
}
