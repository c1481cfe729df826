//! Rotary position embedding (arXiv:2104.09864) in the layout of Hugging Face, which turns the
//! first half of a head's numbers against the second.
//!
//! With `c = cos(p · θᵢ)`, `s = sin(p · θᵢ)` for place `p`: `y₁ = x₁ c − x₂ s`, `y₂ = x₂ c + x₁ s`.
//! The gradient is turned back: the same with `−s`. Angles are computed in f64.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::real::Real;
use super::rows::{Kernel, by_rows, run, run_detached};

/// Takes `[rows, heads, length, width]`.
#[derive(Clone)]
pub(super) struct Rope {
    /// Cosine and sine by place and pair.
    pub(super) turns: Vec<(f64, f64)>,
    pub(super) length: usize,
    pub(super) width: usize,
}

impl Rope {
    /// For the places `0..length`; `frequencies` has one entry for each pair, `width / 2`.
    pub(super) fn new(length: usize, frequencies: &[f64]) -> Self {
        let turn = |place: usize, frequency: &f64| (place as f64 * frequency).sin_cos();
        let turns = (0..length)
            .flat_map(|place| frequencies.iter().map(move |frequency| turn(place, frequency)));
        Rope {
            turns: turns.map(|(sin, cos)| (cos, sin)).collect(),
            length,
            width: 2 * frequencies.len(),
        }
    }

    fn back(&self) -> Self {
        Rope { turns: self.turns.iter().map(|(cos, sin)| (*cos, -sin)).collect(), ..*self }
    }
}

impl Kernel for Rope {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, half) = (inputs[0], self.width / 2);
        by_rows(x.len() / self.width, self.width, |row, out| {
            let x = &x[row * self.width..][..self.width];
            let turns = &self.turns[row % self.length * half..][..half];
            for (pair, (cos, sin)) in turns.iter().enumerate() {
                let (first, second, cos, sin) =
                    (x[pair], x[pair + half], T::from_f64(*cos), T::from_f64(*sin));
                out[pair] = first * cos - second * sin;
                out[pair + half] = second * cos + first * sin;
            }
        })
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(x, layout)])?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_detached(&self.back(), &[grad], x.shape()).map(Some)
    }
}
