//! The validation split: whole neighbourhoods of near-duplicates, chosen by a draw on the
//! neighbourhood.
//!
//! A neighbourhood joins all documents that share a MinHash band, verified or not, so two documents
//! that are alike never stand on both sides. Large neighbourhoods (templates) stay in training:
//! taking one would take a whole kind. A variant goes where its document goes, of which it has the
//! neighbourhood; of one that is held out it is left out altogether. What was made of the knowledge
//! graph stays in training: it repeats what stands there.

use arrow::array::Array;
use arrow::datatypes::UInt64Type;
use rayon::prelude::*;

use crate::curriculum::Params;
use crate::curriculum::row::Row;
use crate::draw;
use crate::error::Result;
use crate::flow::contract::{lists, numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::Context;

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

/// Which neighbourhoods are held out.
pub struct HeldOut {
    /// That of each document, sorted.
    groups: Vec<u64>,
    /// What a draw is below.
    limit: f64,
    /// Most documents of one that is held out.
    most: usize,
    seed: u64,
    /// What a person must know.
    notes: Vec<String>,
}

impl HeldOut {
    /// Draws among the neighbourhoods of documents.
    pub fn of(mut groups: Vec<u64>, params: &Params, seed: u64) -> Self {
        groups.par_sort_unstable();
        let (limit, most) = (params.validation_share, params.validation_group_max);
        let mut held_out = HeldOut { groups, limit, most, seed, notes: Vec::new() };
        let groups = &held_out.groups;

        if limit > 0.0
            && groups.first() != groups.last()
            && !groups.iter().any(|group| held_out.is_held_out(*group))
        {
            // So few documents that the draw takes none: take the one nearest to being taken.
            let small = groups.iter().filter(|group| held_out.is_small(**group));
            let nearest = small.map(|group| held_out.drawn(*group)).min_by(f64::total_cmp);
            match nearest {
                Some(nearest) => held_out.limit = nearest.next_up(),
                None => held_out.notes.push(format!(
                    "there is no validation split: every neighbourhood has more than {most} \
                     documents"
                )),
            }
        }
        held_out
    }

    /// Reads the neighbourhoods of the documents of a dataset, and draws among them.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub fn read(input: &Dataset, params: &Params, cx: &Context<'_>) -> Result<Self> {
        // Before `facts` there is no row that was made of anything.
        let has_made = input.contract.schema.column_with_name("made_of").is_some();
        let columns: &[&str] = match has_made {
            true => &["neighbourhood", "parent", "made_of"],
            false => &["neighbourhood", "parent"],
        };
        let all = cx.scan(input, Some(columns), |batch, _| {
            let (groups, parents) =
                (numbers::<UInt64Type>(batch, "neighbourhood")?, strings(batch, "parent")?);
            let made_of = if has_made { Some(lists(batch, "made_of")?) } else { None };
            let is_made = |row: usize| made_of.is_some_and(|all| all.value_length(row) > 0);
            let is_document = |row: &usize| parents.is_null(*row) && !is_made(*row);
            let rows = (0..batch.num_rows()).filter(is_document);
            Ok(rows.map(|row| groups.value(row)).collect::<Vec<u64>>())
        })?;
        Ok(Self::of(all.concat(), params, cx.seed))
    }

    /// Whether a neighbourhood is held out.
    pub fn is_held_out(&self, group: u64) -> bool {
        self.drawn(group) < self.limit && self.is_small(group)
    }

    fn drawn(&self, group: u64) -> f64 {
        draw::unit(self.seed, "validation", &group.to_le_bytes())
    }

    fn is_small(&self, group: u64) -> bool {
        let first = self.groups.partition_point(|other| *other < group);
        self.groups[first..].partition_point(|other| *other == group) <= self.most
    }
}

/// Chooses the validation split.
pub(super) fn validation(rows: &[Row], params: &Params, seed: u64) -> Splits {
    let documents = rows.iter().filter(|row| !row.is_variant && !row.is_made);
    let held = HeldOut::of(documents.map(|row| row.group).collect(), params, seed);

    let (mut train, mut validation, mut held_out) = (Vec::new(), Vec::new(), Vec::new());
    for (idx, row) in rows.iter().enumerate() {
        let is_held_out = !row.is_made && held.is_held_out(row.group);
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
    Splits { train, validation, held_out, notes: held.notes }
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
