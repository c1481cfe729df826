//! Phase 2: which documents share a text, an id or a band; answered one column at a time.
//!
//! The keys of one column are sorted with their rows; equal keys stand together. When a column does
//! not fit into the memory given, it is read in several passes, each over its own range of keys;
//! the groups come out the same.

use rayon::prelude::*;

use crate::dedup::sketch::{Column, Sketches};
use crate::error::Result;
use crate::flow::room::Context;

/// Documents that share something with another, and what.
pub(super) struct Links {
    /// Rows that share a text, an id or a band with another row, ascending.
    pub(super) rows: Vec<u32>,
    /// For each of `rows`, some row of its component, the same for all of the component.
    pub(super) components: Vec<u32>,
    /// For each of `rows`, the row that stands for its text: the first of its exact copies.
    pub(super) carriers: Vec<u32>,
    /// Carriers that may have to be compared by their shingles, ascending.
    pub(super) compared: Vec<u32>,
    /// Buckets (a band and a key that two texts or more share) of each of `compared`, one behind
    /// the other.
    buckets: Vec<u32>,
    /// Where the buckets of each of `compared` begin in `buckets`, and where the last end.
    starts: Vec<usize>,
}

impl Links {
    /// The buckets that the text of `carrier` is in, ascending: at most one a band.
    pub(super) fn buckets(&self, carrier: u32) -> &[u32] {
        match self.compared.binary_search(&carrier) {
            Ok(at) => &self.buckets[self.starts[at]..self.starts[at + 1]],
            Err(_) => &[],
        }
    }
}

/// The number that up to eight bytes stand for, lowest byte first.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// A key as it stands in a sketch.
trait Key: Copy + Ord + Send {
    fn read(bytes: &[u8]) -> Self;
    /// Its highest 32 bits.
    fn top(self) -> u32;
    /// Whether it stands for "no key".
    fn is_none(self) -> bool;
}

impl Key for u64 {
    fn read(bytes: &[u8]) -> Self {
        little_endian(bytes)
    }
    fn top(self) -> u32 {
        (self >> 32) as u32
    }
    fn is_none(self) -> bool {
        self == 0
    }
}

impl Key for u128 {
    fn read(bytes: &[u8]) -> Self {
        bytes.iter().rev().fold(0, |key, byte| (key << 8) | u128::from(*byte))
    }
    fn top(self) -> u32 {
        (self >> 96) as u32
    }
    fn is_none(self) -> bool {
        false
    }
}

/// Finds all links of the corpus.
pub(super) fn link(sketches: &Sketches, bands: usize, cx: &Context) -> Result<Links> {
    let budget = cx.memory_bytes / 4;
    let n = sketches.rows() as usize;
    let mut carriers: Vec<u32> = (0..n as u32).collect();
    let mut sets = DisjointSets::new(n);
    shared::<u128>(
        sketches,
        Column::Text,
        budget,
        |_| true,
        |group| {
            for (_, row) in group {
                carriers[*row as usize] = group[0].1;
                sets.union(group[0].1, *row);
            }
        },
    )?;
    // Documents of one id but different texts: the ledger states how alike they are, so their
    // shingles are needed.
    let mut members: Vec<(u32, u32)> = Vec::new();
    let mut same_id = Vec::new();
    shared::<u128>(
        sketches,
        Column::Id,
        budget,
        |_| true,
        |group| {
            let texts = group.iter().map(|(_, row)| carriers[*row as usize]);
            if texts.clone().any(|text| text != carriers[group[0].1 as usize]) {
                same_id.extend(texts);
            }
            group.iter().for_each(|(_, row)| sets.union(group[0].1, *row));
        },
    )?;

    let mut n_buckets = 0;
    for band in 0..bands {
        cx.progress.message(&format!("bands, {} of {bands}", band + 1));
        let is_carrier = |row: u32| carriers[row as usize] == row;
        shared::<u64>(sketches, Column::Band(band), budget, is_carrier, |group| {
            for (_, row) in group {
                members.push((*row, n_buckets));
                sets.union(group[0].1, *row);
            }
            n_buckets += 1;
        })?;
    }

    Ok(collect(&carriers, &mut sets, members, same_id))
}

/// Calls `found` with every group of two rows or more that share a key, in key order, rows
/// ascending.
fn shared<K: Key>(
    sketches: &Sketches,
    column: Column,
    budget: u64,
    takes_part: impl Fn(u32) -> bool,
    mut found: impl FnMut(&[(K, u32)]),
) -> Result<()> {
    let bytes = sketches.rows() * size_of::<(K, u32)>() as u64;
    let passes = bytes.div_ceil(budget.max(1 << 16)).max(1);

    // Keys are hashes: a pass has about its share of them, or a little more.
    let of_pass = sketches.rows().div_ceil(passes) as usize;
    for pass in 0..passes {
        let mut entries: Vec<(K, u32)> = Vec::with_capacity(of_pass + of_pass / 64);
        let mut first = 0;

        for part in 0..sketches.n_parts() {
            let (bytes, width) = sketches.read(part, column)?;
            let keys = (first..).zip(bytes.chunks_exact(width).map(K::read));
            let here = |key: &K| !key.is_none() && (u64::from(key.top()) * passes) >> 32 == pass;
            entries.extend(
                keys.filter(|(row, key)| here(key) && takes_part(*row))
                    .map(|(row, key)| (key, row)),
            );
            first += sketches.facts[part].rows as u32;
        }

        entries.par_sort_unstable();
        entries.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).for_each(&mut found);
    }

    Ok(())
}

fn collect(
    carriers: &[u32],
    sets: &mut DisjointSets,
    mut members: Vec<(u32, u32)>,
    same_id: Vec<u32>,
) -> Links {
    let n = carriers.len() as u32;
    let mut linked = vec![false; carriers.len()];

    for row in 0..n {
        let root = sets.find(row);
        if root != row {
            linked[row as usize] = true;
            linked[root as usize] = true;
        }
    }

    let rows: Vec<u32> = (0..n).filter(|row| linked[*row as usize]).collect();
    let components = rows.iter().map(|row| sets.find(*row)).collect();
    members.par_sort_unstable();
    let mut compared: Vec<u32> = members.iter().map(|(row, _)| *row).chain(same_id).collect();
    compared.par_sort_unstable();
    compared.dedup();
    let mut starts: Vec<usize> =
        compared.iter().map(|row| members.partition_point(|(member, _)| member < row)).collect();
    starts.push(members.len());

    Links {
        components,
        carriers: rows.iter().map(|row| carriers[*row as usize]).collect(),
        rows,
        compared,
        buckets: members.into_iter().map(|(_, bucket)| bucket).collect(),
        starts,
    }
}

/// Union-find with path halving; the lower row is the root, so the sets do not depend on the order
/// of unions.
struct DisjointSets(Vec<u32>);

impl DisjointSets {
    fn new(n: usize) -> Self {
        DisjointSets((0..n as u32).collect())
    }

    fn find(&mut self, mut row: u32) -> u32 {
        while self.0[row as usize] != row {
            let above = self.0[self.0[row as usize] as usize];
            self.0[row as usize] = above;
            row = above;
        }
        row
    }

    fn union(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_join_whatever_the_order() {
        let links = [(5, 3), (1, 2), (3, 1), (7, 8)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut sets = DisjointSets::new(9);
            order.iter().for_each(|i| sets.union(links[*i].0, links[*i].1));
            let roots: Vec<u32> = (0..9).map(|row| sets.find(row)).collect();
            assert_eq!(roots, [0, 1, 1, 1, 4, 1, 6, 7, 7]);
        }
    }
}
