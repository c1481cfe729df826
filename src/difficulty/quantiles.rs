//! The relational questions of this room, answered by polars: quantiles per language over narrow
//! columns.

use std::collections::BTreeMap;

use polars::prelude::{ChunkQuantile, Float32Chunked, NewChunkedArray, QuantileMethod};

use crate::difficulty::edges::{GRID, Grid};
use crate::difficulty::features::{FEATURES, Features};
use crate::error::{Error, Result};

/// For each pool and feature, the [`GRID`] + 1 quantiles from 0 to 1; a feature without any value
/// has none. Rows have the number of their pool in `pools`.
///
/// # Errors
/// If polars fails.
pub(super) fn grids(
    rows: &[(u32, Features)],
    pools: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, Grid>>> {
    let mut found: BTreeMap<String, BTreeMap<String, Grid>> = BTreeMap::new();
    for (idx, feature) in FEATURES.iter().enumerate() {
        let values = rows.iter().map(|(pool, features)| (*pool, features.at(idx)));
        for (pool, values) in by_pool(values) {
            if let Some(grid) = quantiles(&values, GRID)?.into_iter().collect::<Option<Vec<f32>>>()
            {
                let of_pool = found.entry(name(pools, pool)).or_default();
                of_pool.insert((*feature).to_string(), Grid(grid));
            }
        }
    }
    Ok(found)
}

/// Something of each pool, by its name.
type ByPool<T> = BTreeMap<String, T>;

/// For each pool the `buckets - 1` inner quantiles of difficulty, and its grid.
///
/// # Errors
/// If polars fails.
pub(super) fn bucket_edges(
    difficulties: &[(u32, f32)],
    pools: &[&str],
    buckets: usize,
) -> Result<(ByPool<Vec<f32>>, ByPool<Grid>)> {
    let (mut edges, mut grids) = (BTreeMap::new(), BTreeMap::new());
    for (pool, values) in by_pool(difficulties.iter().map(|(pool, d)| (*pool, Some(*d)))) {
        let whole =
            |quantiles: &[Option<f32>]| quantiles.iter().map(|q| q.unwrap_or(1.0)).collect();
        edges.insert(name(pools, pool), whole(&quantiles(&values, buckets)?[1..buckets]));
        grids.insert(name(pools, pool), Grid(whole(&quantiles(&values, GRID)?)));
    }
    Ok((edges, grids))
}

fn name(pools: &[&str], pool: u32) -> String {
    pools.get(pool as usize).copied().unwrap_or_default().to_string()
}

/// The values of each pool, in pool order.
fn by_pool(rows: impl Iterator<Item = (u32, Option<f32>)>) -> BTreeMap<u32, Vec<Option<f32>>> {
    let mut pools: BTreeMap<u32, Vec<Option<f32>>> = BTreeMap::new();
    for (pool, value) in rows {
        pools.entry(pool).or_default().push(value);
    }
    pools
}

/// The `n + 1` linearly interpolated quantiles k/n of some values; none of them where there is no
/// value.
fn quantiles(values: &[Option<f32>], n: usize) -> Result<Vec<Option<f32>>> {
    let asked: Vec<f64> = (0..=n).map(|k| k as f64 / n as f64).collect();
    Float32Chunked::from_slice_options("x".into(), values)
        .quantiles(&asked, QuantileMethod::Linear)
        .map_err(|cause| Error::data(format!("the quantiles could not be computed: {cause}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy: `numpy.quantile([1, 2, 4, 8], [0, .25, .5, .75, 1])` = 1, 1.75, 3, 5, 8.
    #[test]
    fn quantiles_equal_numpys() {
        let values = [Some(8.0_f32), None, Some(1.0), Some(4.0), Some(2.0)];
        assert_eq!(quantiles(&values, 4).unwrap(), [1.0, 1.75, 3.0, 5.0, 8.0].map(Some));
        assert_eq!(quantiles(&[None, None], 4).unwrap(), [None; 5]);
    }
}
