//! `Σ x²` in f64, for the norm of a gradient.

use pulp::Simd;

use super::real::Real;
use super::rows::{Kernel, sum_of_rows};

/// Numbers summed at once; sums are made of such sums, added in order.
const CHUNK: usize = 4_096;

/// See the module.
pub(super) struct Squares;

impl Kernel for Squares {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let chunks: Vec<&[T]> = inputs[0].chunks(CHUNK).collect();
        let total: Vec<f64> = sum_of_rows(simd, chunks.len(), 1, |row, total| {
            total[0] += chunks[row].iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        });
        total.into_iter().map(T::from_f64).collect()
    }
}
