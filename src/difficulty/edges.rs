//! What a build measured, kept so that a later build can bucket new documents in the same way.
//!
//! `edges.json` holds the quantile grid of every feature and the bucket edges, per language; `words.zst` the word
//! counts behind `word_rarity`, as little-endian `u32` cells in the order of the pools.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::difficulty::Params;
use crate::difficulty::features::{CELLS, FEATURES, Features, WordCounts};
use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_atomically, write_json};

/// Name of the pool that small languages, and documents without a language, share.
pub const POOLED: &str = "other";
/// Steps of a quantile grid: ranks are read off to about 1/100 and interpolated between.
pub const GRID: usize = 100;

/// Quantiles 0, 1/100, ..., 1 of a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid(pub Vec<f32>);

impl Grid {
    /// Share of the measured documents below `value`, in `[0, 1]`; the middle of the range where many are equal.
    pub fn rank(&self, value: f32) -> f64 {
        let below = self.0.partition_point(|q| *q < value);
        let not_above = self.0.partition_point(|q| *q <= value);
        let last = (self.0.len() - 1) as f64;
        if below < not_above {
            return ((below + not_above - 1) as f64 / 2.0 / last).clamp(0.0, 1.0);
        }
        if below == 0 {
            return 0.0;
        }
        if below == self.0.len() {
            return 1.0;
        }
        let (low, high) = (f64::from(self.0[below - 1]), f64::from(self.0[below]));
        ((below - 1) as f64 + (f64::from(value) - low) / (high - low)) / last
    }
}

/// The measured distributions and the edges that follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edges {
    /// Weight of each feature.
    pub weights: BTreeMap<String, f64>,
    /// Number of buckets.
    pub buckets: usize,
    /// Quantile grids by pool and feature.
    pub grids: BTreeMap<String, BTreeMap<String, Grid>>,
    /// Inner bucket edges by pool, ascending.
    pub edges: BTreeMap<String, Vec<f32>>,
}

impl Edges {
    /// Distributions without bucket edges yet.
    pub fn new(params: &Params, grids: BTreeMap<String, BTreeMap<String, Grid>>) -> Self {
        Edges { weights: params.weights.clone(), buckets: params.buckets, grids, edges: BTreeMap::new() }
    }

    /// Sets the bucket edges of every pool.
    pub fn set_bucket_edges(&mut self, edges: BTreeMap<String, Vec<f32>>) {
        self.edges = edges;
    }

    /// Checks that an earlier build's edges are asked for with the parameters they were measured with.
    ///
    /// # Errors
    /// If weights or number of buckets differ.
    pub fn check_fits(&self, params: &Params) -> Result<()> {
        if self.weights == params.weights && self.buckets == params.buckets {
            return Ok(());
        }
        Err(Error::usage("`difficulty.edges` were measured with other weights or another number of buckets")
            .hint("give the same `difficulty.weights` and `difficulty.buckets`, or leave `difficulty.edges` empty"))
    }

    /// Weighted mean of the ranks of the features a document has, in `[0, 1]`; 0.5 where it has none.
    pub fn difficulty(&self, pool: &str, features: &Features) -> f32 {
        let grids = self.grids.get(pool).or_else(|| self.grids.get(POOLED)).or_else(|| self.grids.values().next());
        let (mut sum, mut weights) = (0.0, 0.0);
        for (idx, name) in FEATURES.iter().enumerate() {
            let weight = self.weights.get(*name).copied().unwrap_or(0.0);
            let grid = grids.and_then(|grids| grids.get(*name));
            if let (Some(value), Some(grid)) = (features.at(idx), grid) {
                sum += weight * grid.rank(value);
                weights += weight;
            }
        }
        if weights > 0.0 { (sum / weights).clamp(0.0, 1.0) as f32 } else { 0.5 }
    }

    /// The bucket of a difficulty: how many edges lie at or below it.
    pub fn bucket(&self, pool: &str, difficulty: f32) -> u8 {
        let edges = self.edges.get(pool).or_else(|| self.edges.get(POOLED)).or_else(|| self.edges.values().next());
        edges.map_or(0, |edges| edges.partition_point(|edge| *edge <= difficulty) as u8)
    }
}

/// Writes `edges.json` and `words.zst` into a folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write(folder: &Path, edges: &Edges, words: &WordCounts) -> Result<()> {
    let place = folder.join("words.zst");
    let mut cells = Vec::with_capacity(words.pools.len() * CELLS * size_of::<u32>());
    words.pools.values().flatten().for_each(|n| cells.extend(n.to_le_bytes()));
    let packed = zstd::encode_all(cells.as_slice(), 3).map_err(|cause| Error::file("write", &place, cause))?;
    write_atomically(&place, &packed)?;
    write_json(&folder.join("words.json"), &words.pools.keys().collect::<Vec<_>>())?;
    write_json(&folder.join("edges.json"), edges)
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// If a file is missing or damaged.
pub fn read(folder: &Path) -> Result<(Edges, WordCounts)> {
    let missing = |name: &str| {
        Error::usage(format!("`{}` has no {name}", folder.display()))
            .at("`difficulty.edges`")
            .hint("give the folder `difficulty` of an earlier build's output")
    };
    let edges: Edges = read_json(&folder.join("edges.json"))?.ok_or_else(|| missing("edges.json"))?;
    let pools: Vec<String> = read_json(&folder.join("words.json"))?.ok_or_else(|| missing("words.json"))?;
    let place = folder.join("words.zst");
    let packed = std::fs::read(&place).map_err(|cause| Error::file("read", &place, cause))?;
    let cells = zstd::decode_all(packed.as_slice()).map_err(|cause| Error::file("read", &place, cause))?;
    let cells: Vec<u32> = cells.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if cells.len() != pools.len() * CELLS {
        return Err(Error::data(format!("`{}` is damaged: {} cells", place.display(), cells.len())));
    }
    let pools = pools.into_iter().zip(cells.chunks_exact(CELLS).map(<[u32]>::to_vec)).collect();
    Ok((edges, WordCounts::new(pools)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_the_share_below() {
        let grid = Grid((0..=100).map(|k| k as f32 * 2.0).collect());
        assert_eq!(grid.rank(-1.0), 0.0);
        assert_eq!(grid.rank(300.0), 1.0);
        assert!((grid.rank(101.0) - 0.505).abs() < 1e-9);
        assert!((grid.rank(100.0) - 0.5).abs() < 1e-9);
        let half_zero = Grid([vec![0.0; 51], (1..=50).map(|k| k as f32).collect()].concat());
        assert!((half_zero.rank(0.0) - 0.25).abs() < 1e-9, "equal values share the middle of their range");
    }

    fn example() -> Edges {
        let grid = Grid((0..=100).map(|k| k as f32 / 100.0).collect());
        let of = |name: &str| BTreeMap::from([(name.to_string(), grid.clone())]);
        Edges {
            weights: BTreeMap::from([("density".to_string(), 2.0), ("loss".to_string(), 1.0)]),
            buckets: 4,
            grids: BTreeMap::from([("en".to_string(), of("density")), (POOLED.to_string(), of("density"))]),
            edges: BTreeMap::from([("en".to_string(), vec![0.25, 0.5, 0.75])]),
        }
    }

    #[test]
    fn missing_features_are_left_out_of_the_mean() {
        let edges = example();
        let with = |density, loss| Features::new([Some(density), None, None, None, None, loss]);
        assert!((edges.difficulty("en", &with(0.8, Some(0.1))) - 0.8).abs() < 1e-6, "no grid for loss");
        assert!((edges.difficulty("fr", &with(0.3, None)) - 0.3).abs() < 1e-6, "unknown languages use the pool");
        assert_eq!(edges.bucket("en", 0.1), 0);
        assert_eq!(edges.bucket("en", 0.5), 2);
        assert_eq!(edges.bucket("en", 1.0), 3);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut cells = vec![0; CELLS];
        cells[17] = 5;
        let words = WordCounts::new(BTreeMap::from([("en".to_string(), cells)]));
        write(folder.path(), &example(), &words).unwrap();
        assert_eq!(read(folder.path()).unwrap(), (example(), words));
    }
}
