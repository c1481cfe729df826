//! The relational questions of this room, answered by polars: quantiles per language over narrow
//! columns.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame, Expr, IntoLazy, QuantileMethod, col, lit};

use crate::difficulty::edges::{GRID, Grid};
use crate::difficulty::features::{FEATURES, Features};
use crate::error::{Error, Result};

fn failed(cause: impl std::fmt::Display) -> Error {
    Error::data(format!("the quantiles could not be computed: {cause}"))
}

/// For each pool and feature, the [`GRID`] + 1 quantiles from 0 to 1; a feature without any value
/// has none. Rows have the number of their pool in `pools`.
///
/// # Errors
/// If polars fails.
pub(super) fn grids(
    rows: &[(u32, Features)],
    pools: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, Grid>>> {
    let pool = pool_column(rows.iter().map(|(pool, _)| *pool));
    let mut found: BTreeMap<String, BTreeMap<String, Grid>> = BTreeMap::new();

    for (idx, feature) in FEATURES.iter().enumerate() {
        let values: Vec<Option<f32>> = rows.iter().map(|(_, features)| features.at(idx)).collect();
        let columns = vec![pool.clone(), Column::new((*feature).into(), values)];

        for (pool, quantiles) in quantiles(columns, rows.len(), feature, GRID)? {
            if let Some(grid) = quantiles.into_iter().collect::<Option<Vec<f32>>>() {
                found
                    .entry(name(pools, pool))
                    .or_default()
                    .insert((*feature).to_string(), Grid(grid));
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
    let columns = vec![
        pool_column(difficulties.iter().map(|(pool, _)| *pool)),
        Column::new(
            "difficulty".into(),
            difficulties.iter().map(|(_, d)| *d).collect::<Vec<f32>>(),
        ),
    ];

    let (mut edges, mut grids) = (BTreeMap::new(), BTreeMap::new());
    for (pool, quantiles) in quantiles(columns.clone(), difficulties.len(), "difficulty", buckets)?
    {
        edges.insert(
            name(pools, pool),
            quantiles[1..buckets].iter().map(|q| q.unwrap_or(1.0)).collect(),
        );
    }

    for (pool, quantiles) in quantiles(columns, difficulties.len(), "difficulty", GRID)? {
        grids.insert(
            name(pools, pool),
            Grid(quantiles.into_iter().map(|q| q.unwrap_or(1.0)).collect()),
        );
    }

    Ok((edges, grids))
}

fn name(pools: &[&str], pool: u32) -> String {
    pools.get(pool as usize).copied().unwrap_or_default().to_string()
}

fn pool_column(pools: impl Iterator<Item = u32>) -> Column {
    Column::new("pool".into(), pools.collect::<Vec<u32>>())
}

/// The `n + 1` linearly interpolated quantiles k/n of one column, for each pool, in pool order.
fn quantiles(
    columns: Vec<Column>,
    height: usize,
    name: &str,
    n: usize,
) -> Result<Vec<(u32, Vec<Option<f32>>)>> {
    let ask = |k: usize| -> Expr {
        col(name)
            .quantile(lit(k as f64 / n as f64), QuantileMethod::Linear)
            .alias(format!("q{k:03}"))
    };
    let table = DataFrame::new(height, columns)
        .map_err(failed)?
        .lazy()
        .group_by([col("pool")])
        .agg((0..=n).map(ask).collect::<Vec<Expr>>())
        .sort(["pool"], Default::default())
        .collect()
        .map_err(failed)?;

    let pools = table.column("pool").and_then(|column| column.u32()).map_err(failed)?;
    let mut found: Vec<(u32, Vec<Option<f32>>)> =
        pools.iter().map(|pool| (pool.unwrap_or_default(), Vec::with_capacity(n + 1))).collect();

    for k in 0..=n {
        let column = table.column(&format!("q{k:03}")).map_err(failed)?;
        let values = column.cast(&polars::prelude::DataType::Float32).map_err(failed)?;
        for (idx, value) in values.f32().map_err(failed)?.iter().enumerate() {
            found[idx].1.push(value);
        }
    }

    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy: `numpy.quantile([1, 2, 4, 8], [0, .25, .5, .75, 1])` = 1, 1.75, 3, 5, 8.
    #[test]
    fn quantiles_equal_numpys() {
        let columns = vec![
            pool_column([0, 1, 0, 0, 0].into_iter()),
            Column::new("x".into(), vec![Some(8.0_f32), None, Some(1.0), Some(4.0), Some(2.0)]),
        ];
        let found = quantiles(columns, 5, "x", 4).unwrap();
        assert_eq!(found[0], (0, [1.0, 1.75, 3.0, 5.0, 8.0].map(Some).to_vec()));
        assert_eq!(found[1], (1, vec![None; 5]));
    }
}
