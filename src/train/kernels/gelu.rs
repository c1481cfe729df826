//! The Gaussian error linear unit (arXiv:1606.08415) in its exact form: `y = x · Φ(x)`, `dx = g · (Φ(x) + x · φ(x))`.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::cpu::erf::erf_f64;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, by_rows, run, run_detached};

/// Numbers a task takes at once.
const WIDTH: usize = 64;

/// See the module.
pub(super) struct Gelu;

/// Share of the normal distribution below `x`.
fn below(x: f64) -> f64 {
    0.5 * (1.0 + erf_f64(x * FRAC_1_SQRT_2))
}

/// `f` of each index, in parallel.
fn each<T: WithDType>(n: usize, f: impl Fn(usize) -> f64 + Sync) -> Vec<T> {
    let mut all = by_rows(n.div_ceil(WIDTH), WIDTH, |row, out| {
        for (idx, y) in out.iter_mut().enumerate() {
            if row * WIDTH + idx < n {
                *y = T::from_f64(f(row * WIDTH + idx));
            }
        }
    });
    all.truncate(n);
    all
}

impl Kernel for Gelu {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        each(inputs[0].len(), |idx| {
            let x = inputs[0][idx].to_f64();
            x * below(x)
        })
    }
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(x, layout)])?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_detached(&Backward, &[x, grad], x.shape()).map(Some)
    }
}

struct Backward;

impl Kernel for Backward {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        each(inputs[0].len(), |idx| {
            let x = inputs[0][idx].to_f64();
            let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
            inputs[1][idx].to_f64() * (below(x) + x * density)
        })
    }
}
