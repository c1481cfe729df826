//! Activations, each a function of one number with its slope: `y = f(x)`, `dx = g · f′(x)`.
//!
//! - `gelu`, the Gaussian error linear unit (arXiv:1606.08415) in its exact form: `x · Φ(x)`;
//! - `gelu_new`, its approximation by a hyperbolic tangent, which GPT-2 and gated T5 were trained
//!   with;
//! - `silu` (arXiv:1702.03118): `x · σ(x)`;
//! - `relu`: `max(x, 0)`, with slope 0 at 0 as in PyTorch.

use std::f64::consts::PI;

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;
use serde::{Deserialize, Serialize};

use super::operation::Operation;
use super::real::Real;
use super::rows::{Kernel, each, run, run_detached};

/// `√(2/π)`.
const ROOT: f64 = 0.797_884_560_802_865_4;
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
    #[inline(always)]
    pub(super) fn value<T: Real>(self, x: T) -> T {
        match self {
            Activation::Gelu => x * x.normal_below(bell(x)),
            Activation::GeluNew => x * logistic(double_bend(x)),
            Activation::Silu => x * logistic(x),
            Activation::Relu => x.larger(T::from_f64(0.0)),
        }
    }

    /// Its derivative.
    #[inline(always)]
    pub(super) fn slope<T: Real>(self, x: T) -> T {
        let one = T::from_f64(1.0);
        match self {
            Activation::Gelu => {
                let bell = bell(x);
                x.normal_below(bell) + x * bell * T::from_f64(1.0 / (2.0 * PI).sqrt())
            }
            Activation::GeluNew => {
                let share = logistic(double_bend(x));
                let inner = T::from_f64(2.0 * ROOT) * (one + T::from_f64(3.0 * CUBIC) * x * x);
                share + x * share * (one - share) * inner
            }
            Activation::Silu => {
                let share = logistic(x);
                share * (one + x * (one - share))
            }
            Activation::Relu => {
                if x > T::from_f64(0.0) {
                    one
                } else {
                    T::from_f64(0.0)
                }
            }
        }
    }
}

/// A loop once for each activation, which it knows, so that it becomes vector instructions.
macro_rules! knowing {
    ($activation:expr, |$known:ident| $loop:expr) => {
        match $activation {
            Activation::Gelu => {
                let $known = Activation::Gelu;
                $loop
            }
            Activation::GeluNew => {
                let $known = Activation::GeluNew;
                $loop
            }
            Activation::Silu => {
                let $known = Activation::Silu;
                $loop
            }
            Activation::Relu => {
                let $known = Activation::Relu;
                $loop
            }
        }
    };
}
pub(super) use knowing;

/// `e^(−x²/2)`.
#[inline(always)]
fn bell<T: Real>(x: T) -> T {
    (T::from_f64(-0.5) * x * x).exp()
}

/// `1 / (1 + e^(−x))`.
#[inline(always)]
fn logistic<T: Real>(x: T) -> T {
    let one = T::from_f64(1.0);
    one / (one + (T::from_f64(0.0) - x).exp())
}

/// Twice what `gelu_new` takes the hyperbolic tangent of: `(1 + tanh(u)) / 2` is the logistic
/// function of `2u`.
#[inline(always)]
fn double_bend<T: Real>(x: T) -> T {
    T::from_f64(2.0 * ROOT) * (x + T::from_f64(CUBIC) * x * x * x)
}

impl Kernel for Activation {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        each(simd, inputs[0].len(), |at, out| {
            let all = out.iter_mut().zip(&inputs[0][at]);
            knowing!(self, |known| all.for_each(|(y, x)| *y = known.value(*x)));
        })
    }
}

impl Operation for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, inputs)?, inputs[0].1.shape().clone()))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(run_detached(&Backward(*self), &[inputs[0], grad], grad.shape())?)])
    }
}

/// `dx` from `x` and what flows into `y`.
pub(super) struct Backward(pub(super) Activation);

impl Kernel for Backward {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        each(simd, inputs[0].len(), |at, out| {
            let all = out.iter_mut().zip(inputs[0][at.clone()].iter().zip(&inputs[1][at]));
            knowing!(self.0, |known| {
                all.for_each(|(dx, (x, grad))| *dx = *grad * known.slope(*x))
            });
        })
    }
}
