//! Activations, each a function of one number with its slope: `y = f(x)`, `dx = g · f′(x)`.
//!
//! - `gelu`, the Gaussian error linear unit (arXiv:1606.08415) in its exact form: `x · Φ(x)`;
//! - `gelu_new`, its approximation by a hyperbolic tangent, which GPT-2 and gated T5 were trained with;
//! - `silu` (arXiv:1702.03118): `x · σ(x)`;
//! - `relu`: `max(x, 0)`, with slope 0 at 0 as in PyTorch.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::cpu::erf::erf_f64;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use serde::{Deserialize, Serialize};

use super::rows::{Kernel, by_rows, run, run_detached};

/// Numbers a task takes at once.
const WIDTH: usize = 64;
/// Of the cubic term in `gelu_new`.
const CUBIC: f64 = 0.044_715;

/// An activation by the name it has in a `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x · Φ(x)`.
    #[serde(rename = "gelu")]
    Gelu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluNew,
    /// `x · σ(x)`.
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

impl Activation {
    /// The function.
    pub(super) fn value(self, x: f64) -> f64 {
        match self {
            Activation::Gelu => x * below(x),
            Activation::GeluNew => 0.5 * x * (1.0 + bend(x).tanh()),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Relu => x.max(0.0),
        }
    }

    /// Its derivative.
    fn slope(self, x: f64) -> f64 {
        match self {
            Activation::Gelu => below(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
            Activation::GeluNew => {
                let tanh = bend(x).tanh();
                let inner = (2.0 / PI).sqrt() * (1.0 + 3.0 * CUBIC * x * x);
                0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
            }
            Activation::Silu => {
                let sigmoid = 1.0 / (1.0 + (-x).exp());
                sigmoid * (1.0 + x * (1.0 - sigmoid))
            }
            Activation::Relu => f64::from(u8::from(x > 0.0)),
        }
    }
}

/// Share of the normal distribution below `x`.
fn below(x: f64) -> f64 {
    0.5 * (1.0 + erf_f64(x * FRAC_1_SQRT_2))
}

/// What `gelu_new` takes the hyperbolic tangent of.
fn bend(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + CUBIC * x * x * x)
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

impl Kernel for Activation {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        each(inputs[0].len(), |idx| self.value(inputs[0][idx].to_f64()))
    }
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(x, layout)])?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_detached(&Backward(*self), &[x, grad], x.shape()).map(Some)
    }
}

struct Backward(Activation);

impl Kernel for Backward {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        each(inputs[0].len(), |idx| inputs[1][idx].to_f64() * self.0.slope(inputs[0][idx].to_f64()))
    }
}
