//! Rotary position embedding (arXiv:2104.09864) in the layout of Hugging Face, which turns the
//! first half of a head's numbers against the second.
//!
//! With `c = cos(p · θᵢ)`, `s = sin(p · θᵢ)` for place `p`: `y₁ = x₁ c − x₂ s`, `y₂ = x₂ c + x₁ s`.
//! The gradient is turned back: the same with `−s`. Angles are computed in f64.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::operation::Operation;
use super::real::Real;
use super::rows::{Kernel, by_rows, run, run_detached};

/// Takes `[rows, length, heads · width]`.
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

impl Rope {
    /// Numbers of the table as the kernel computes with them.
    fn table<T: Real>(&self, of: impl Fn(&(f64, f64)) -> f64) -> Vec<T> {
        self.turns.iter().map(|turn| T::from_f64(of(turn))).collect()
    }
}

/// What is turned, and how many numbers stand in a place.
struct Turned<'a> {
    rope: &'a Rope,
    numbers: usize,
}

impl Kernel for Turned<'_> {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let Turned { rope, numbers } = *self;
        let (x, half) = (inputs[0], rope.width / 2);
        let (cos, sin) = (rope.table::<T>(|turn| turn.0), rope.table::<T>(|turn| turn.1));

        by_rows(simd, x.len() / numbers, numbers, |row, out| {
            let at = row % rope.length * half;
            let (cos, sin) = (&cos[at..][..half], &sin[at..][..half]);
            let heads = out.chunks_mut(rope.width).zip(x[row * numbers..].chunks(rope.width));
            for (out, x) in heads {
                let ((first, second), (x, y)) = (out.split_at_mut(half), x.split_at(half));
                let turns = cos.iter().zip(sin);
                let out = first.iter_mut().zip(second);
                for ((out, (x, y)), (cos, sin)) in out.zip(x.iter().zip(y)).zip(turns) {
                    *out.0 = *x * *cos - *y * *sin;
                    *out.1 = *y * *cos + *x * *sin;
                }
            }
        })
    }
}

impl Operation for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let shape = inputs[0].1.shape();
        let turned = Turned { rope: self, numbers: shape.dims3()?.2 };
        Ok((run(&turned, inputs)?, shape.clone()))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let turned = Turned { rope: &self.back(), numbers: inputs[0].dim(2)? };
        Ok(vec![Some(run_detached(&turned, &[grad], grad.shape())?)])
    }
}
