//! Dropout (Srivastava et al. 2014) with the draws made beforehand: `y = kept · x / (1 − p)`, `dx =
//! kept · g / (1 − p)`.

use std::ops::Range;

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use super::operation::Operation;
use super::real::Real;
use super::rows::{Kernel, each, run, run_detached};
use crate::draw;

/// Numbers that a stream of draws is for.
const CHUNK: usize = 8_192;

/// Which of `n` numbers are kept, each with probability `1 − p`; `key` and the number of the chunk
/// name the draws.
fn kept(n: usize, p: f64, seed: u64, key: &str) -> Vec<bool> {
    let threshold = (p * f64::from(u16::MAX)).round() as u16;
    let mut kept = vec![false; n];
    kept.par_chunks_mut(CHUNK).enumerate().for_each(|(nth, kept)| {
        let mut bytes = [0; 2 * CHUNK];
        draw::stream(seed, "dropout", format!("{key}/{nth}").as_bytes())
            .fill_bytes(&mut bytes[..2 * kept.len()]);
        let draws = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        kept.iter_mut().zip(draws).for_each(|(kept, draw)| *kept = draw >= threshold);
    });
    kept
}

/// See the module.
pub(super) struct Dropout {
    /// Whether each number is kept.
    pub(super) kept: Vec<bool>,
    pub(super) scale: f64,
}

impl Dropout {
    /// For `n` numbers of which the share `p` is dropped; see [`kept`].
    pub(super) fn new(n: usize, p: f64, seed: u64, key: &str) -> Self {
        Dropout { kept: kept(n, p, seed, key), scale: 1.0 / (1.0 - p) }
    }

    /// What a number is multiplied with that is dropped, and one that is kept.
    pub(super) fn factors<T: Real>(&self) -> [T; 2] {
        [T::from_f64(0.0), T::from_f64(self.scale)]
    }

    /// What is left of `x`, which are the numbers `at`, on this thread alone.
    pub(super) fn drop<T: Real, S: Simd>(&self, simd: S, at: Range<usize>, x: &[T], out: &mut [T]) {
        simd.vectorize(|| self.write(x, &self.kept[at], out));
    }

    #[inline(always)]
    fn write<T: Real>(&self, x: &[T], kept: &[bool], out: &mut [T]) {
        let factors = self.factors();
        let all = out.iter_mut().zip(x.iter().zip(kept));
        all.for_each(|(y, (x, kept))| *y = *x * factors[usize::from(*kept)]);
    }
}

impl Kernel for Dropout {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        each(simd, inputs[0].len(), |at, out| {
            self.write(&inputs[0][at.clone()], &self.kept[at], out);
        })
    }
}

impl Operation for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, inputs)?, inputs[0].1.shape().clone()))
    }

    fn backward(&self, _: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(run_detached(self, &[grad], grad.shape())?)])
    }
}
