//! What a build measured, kept so that a later build can bucket new documents in the same way.
//!
//! `edges.json` holds the quantile grid of every feature and the bucket edges, per language;
//! `words.zst` the word counts behind `word_rarity`, as little-endian `u32` cells in the order of
//! the pools.

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
    /// Share of the measured documents below `value`, in `[0, 1]`; the middle of the range where
    /// many are equal.
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
    /// Quantile grid of difficulty by pool: tells how many documents share a difficulty that is an
    /// edge.
    #[serde(default)]
    pub difficulty: BTreeMap<String, Grid>,
}

impl Edges {
    /// Distributions without bucket edges yet.
    pub fn new(params: &Params, grids: BTreeMap<String, BTreeMap<String, Grid>>) -> Self {
        let (edges, difficulty) = (BTreeMap::new(), BTreeMap::new());
        Edges { weights: params.weights.clone(), buckets: params.buckets, grids, edges, difficulty }
    }

    /// Sets the bucket edges of every pool, and the grid of difficulty they were cut from.
    pub fn set_bucket_edges(
        &mut self,
        edges: BTreeMap<String, Vec<f32>>,
        difficulty: BTreeMap<String, Grid>,
    ) {
        (self.edges, self.difficulty) = (edges, difficulty);
    }

    /// Checks that an earlier build's edges are asked for with the parameters they were measured
    /// with.
    ///
    /// # Errors
    /// If weights or number of buckets differ.
    pub fn check_fits(&self, params: &Params) -> Result<()> {
        if self.weights == params.weights && self.buckets == params.buckets {
            return Ok(());
        }
        Err(Error::usage(
            "`difficulty.edges` were measured with other weights or another number of \
                          buckets",
        )
        .hint(
            "give the same `difficulty.weights` and `difficulty.buckets`, or leave \
                   `difficulty.edges` empty",
        ))
    }

    /// Weighted mean of the ranks of the features a document has, in `[0, 1]`; 0.5 where it has
    /// none.
    pub fn difficulty(&self, pool: &str, features: &Features) -> f32 {
        let grids = of_pool(&self.grids, pool);
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

    /// The bucket of a difficulty: how many edges lie below it. A difficulty that many documents
    /// share may be several edges at once; all of them then lie in the bucket of their middle, not
    /// in the hardest they reach.
    pub fn bucket(&self, pool: &str, difficulty: f32) -> u8 {
        let Some(edges) = of_pool(&self.edges, pool) else { return 0 };
        let below = edges.partition_point(|edge| *edge < difficulty);
        let not_above = edges.partition_point(|edge| *edge <= difficulty);
        if below == not_above {
            return below as u8;
        }
        let middle = of_pool(&self.difficulty, pool).map_or(0.5, |grid| grid.rank(difficulty));
        ((middle * self.buckets as f64) as usize).clamp(below, not_above) as u8
    }
}

/// What was measured of a pool; of an unknown one, the shared pool's or else any.
fn of_pool<'m, T>(measured: &'m BTreeMap<String, T>, pool: &str) -> Option<&'m T> {
    measured.get(pool).or_else(|| measured.get(POOLED)).or_else(|| measured.values().next())
}

/// Writes `edges.json` and `words.zst` into a folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write(folder: &Path, edges: &Edges, words: &WordCounts) -> Result<()> {
    let place = folder.join("words.zst");
    let mut cells = Vec::with_capacity(words.pools.len() * CELLS * size_of::<u32>());
    words.pools.values().flatten().for_each(|n| cells.extend(n.to_le_bytes()));
    let packed = zstd::encode_all(cells.as_slice(), 3)
        .map_err(|cause| Error::file("write", &place, cause))?;
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
    let edges: Edges =
        read_json(&folder.join("edges.json"))?.ok_or_else(|| missing("edges.json"))?;
    let pools: Vec<String> =
        read_json(&folder.join("words.json"))?.ok_or_else(|| missing("words.json"))?;
    let place = folder.join("words.zst");
    let packed = std::fs::read(&place).map_err(|cause| Error::file("read", &place, cause))?;
    let cells =
        zstd::decode_all(packed.as_slice()).map_err(|cause| Error::file("read", &place, cause))?;
    let cells: Vec<u32> =
        cells.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();

    if cells.len() != pools.len() * CELLS {
        return Err(Error::data(format!(
            "`{}` is damaged: {} cells",
            place.display(),
            cells.len()
        )));
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

        assert!(
            (half_zero.rank(0.0) - 0.25).abs() < 1e-9,
            "equal values share the middle of their range"
        );
    }

    fn example() -> Edges {
        let grid = Grid((0..=100).map(|k| k as f32 / 100.0).collect());
        let of = |name: &str| BTreeMap::from([(name.to_string(), grid.clone())]);
        Edges {
            weights: BTreeMap::from([("density".to_string(), 2.0), ("loss".to_string(), 1.0)]),
            buckets: 4,
            grids: BTreeMap::from([
                ("en".to_string(), of("density")),
                (POOLED.to_string(), of("density")),
            ]),
            edges: BTreeMap::from([("en".to_string(), vec![0.25, 0.5, 0.75])]),
            difficulty: BTreeMap::from([(
                "en".to_string(),
                Grid((0..=100).map(|k| k as f32 / 100.0).collect()),
            )]),
        }
    }

    #[test]
    fn missing_features_are_left_out_of_the_mean() {
        let edges = example();
        let with = |density, loss| Features::new([Some(density), None, None, None, None, loss]);
        assert!(
            (edges.difficulty("en", &with(0.8, Some(0.1))) - 0.8).abs() < 1e-6,
            "no grid for loss"
        );
        assert!(
            (edges.difficulty("fr", &with(0.3, None)) - 0.3).abs() < 1e-6,
            "unknown languages use the pool"
        );
        assert_eq!(edges.bucket("en", 0.1), 0);
        assert_eq!(edges.bucket("en", 0.5), 2);
        assert_eq!(edges.bucket("en", 1.0), 3);
    }

    /// Buckets of documents with these difficulties, counted, when they are measured among
    /// themselves.
    fn counted(difficulties: &[f32]) -> [usize; 5] {
        let rows: Vec<(u32, f32)> =
            difficulties.iter().map(|difficulty| (0, *difficulty)).collect();
        let mut edges = Edges { buckets: 5, ..example() };
        let (cut, grids) = crate::difficulty::quantiles::bucket_edges(&rows, &["en"], 5).unwrap();
        edges.set_bucket_edges(cut, grids);
        let mut counts = [0; 5];
        difficulties
            .iter()
            .for_each(|difficulty| counts[usize::from(edges.bucket("en", *difficulty))] += 1);

        counts
    }

    #[test]
    fn ties_lie_in_the_bucket_of_their_middle() {
        let mixed = |n_low: usize, n_tied: usize, n_high: usize| -> Vec<f32> {
            let low = (0..n_low).map(|n| n as f32 / n_low as f32 * 0.4);
            let high = (0..n_high).map(|n| 0.6 + n as f32 / n_high as f32 * 0.4);
            low.chain(std::iter::repeat_n(0.5, n_tied)).chain(high).collect()
        };
        assert_eq!(counted(&mixed(0, 1_000, 0)), [0, 0, 1_000, 0, 0]);
        assert_eq!(counted(&mixed(0, 1, 0)), [0, 0, 1, 0, 0]);
        assert_eq!(counted(&mixed(500, 0, 500)), [200; 5], "without ties nothing changes");
        assert_eq!(counted(&mixed(750, 250, 0)), [200, 200, 200, 150, 250]);
        assert_eq!(counted(&mixed(0, 250, 750)), [250, 150, 200, 200, 200]);
        assert_eq!(counted(&mixed(200, 600, 200)), [200, 0, 600, 0, 200]);
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
