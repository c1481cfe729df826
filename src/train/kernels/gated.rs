//! A gated layer (arXiv:2002.05202) as one operation: `y = f(x · Gᵀ) · (x · Uᵀ)`.
//!
//! With `g = x · Gᵀ`, `u = x · Uᵀ` and `e` what flows into `y`: `dg = e · u · f′(g)`, `du = e ·
//! f(g)`, `dx = dg · G + du · U`, `dG = dgᵀ · x`, `dU = duᵀ · x`. Of the forward pass `g` and `u`
//! are kept.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::activation::{Activation, knowing};
use super::linear::{Product, as_rows};
use super::operation::Operation;
use super::product::{Factor, Matrix, add_product, product};
use super::real::Real;
use super::rows::{
    Kernel, Products, by_rows, each, matmul, run, run_detached, run_products, tensor, with_storages,
};

/// `x` is `[…, in]`, both weights are `[out, in]`, and all are contiguous.
pub(super) struct Gated {
    activation: Activation,
    /// `g` and `u`.
    kept: Mutex<Option<[Tensor; 2]>>,
}

impl Gated {
    pub(super) fn new(activation: Activation) -> Self {
        Gated { activation, kept: Mutex::default() }
    }
}

impl Operation for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let (x, gate, up) = (inputs[0], inputs[1], inputs[2]);
        let (out, width) = gate.1.shape().dims2()?;
        let mut dims = x.1.dims().to_vec();
        if dims.pop() != Some(width) || gate.1.dims() != up.1.dims() {
            let (gate, up) = (gate.1.dims(), up.1.dims());
            candle_core::bail!("weights {gate:?} and {up:?} do not fit rows {:?}", x.1.dims());
        }

        let layer = Product { rows: dims.iter().product(), width, out, transposed: true };
        dims.push(out);
        let shape = Shape::from(dims);
        let [gate, up] = [run_products(&layer, &[x, gate])?, run_products(&layer, &[x, up])?];
        let layout = Layout::contiguous(&shape);
        let y = run(&Forward(self.activation), &[(&gate, &layout), (&up, &layout)])?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some([tensor(gate, &shape)?, tensor(up, &shape)?]);
        Ok((y, shape))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some([gate, up]) = kept else {
            candle_core::bail!("a gated layer is differentiated once")
        };
        let (x, weights) = (inputs[0], [inputs[1].detach(), inputs[2].detach()]);
        let (out, width) = weights[0].dims2()?;
        let rows = x.elem_count() / width.max(1);
        let flowing = Flowing { activation: self.activation, out };
        let both = run_detached(&flowing, &[&gate, &up, grad], (rows, 2 * out))?;

        let into = ForInput { rows, width, out };
        let dx = with_storages(&[&both, &weights[0], &weights[1]], |all| run_products(&into, all))?;
        let (mut gradients, x) = (vec![Some(tensor(dx, x.shape())?)], as_rows(x)?);
        for (nth, weight) in inputs[1..].iter().enumerate() {
            let grad = both.narrow(1, nth * out, out)?;
            gradients.push(weight.track_op().then(|| matmul(&grad.t()?, &x)).transpose()?);
        }

        Ok(gradients)
    }
}

/// `y` from `g` and `u`.
struct Forward(Activation);

impl Kernel for Forward {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        each(simd, inputs[0].len(), |at, out| {
            let all = out.iter_mut().zip(inputs[0][at.clone()].iter().zip(&inputs[1][at]));
            knowing!(self.0, |known| {
                all.for_each(|(y, (gate, up))| *y = known.value(*gate) * *up)
            });
        })
    }
}

/// `dg` and beside it `du`, `[rows, 2 · out]`, from `g`, `u` and what flows into `y`.
struct Flowing {
    activation: Activation,
    out: usize,
}

impl Kernel for Flowing {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (n, out) = (inputs[0].len(), self.out);
        by_rows(simd, n / out.max(1), 2 * out, |row, both| {
            let [gate, up, grad] = [0, 1, 2].map(|nth| &inputs[nth][row * out..][..out]);
            let (of_gate, of_up) = both.split_at_mut(out);
            let all = of_gate.iter_mut().zip(of_up).zip(gate.iter().zip(up.iter().zip(grad)));
            knowing!(self.activation, |known| {
                all.for_each(|((of_gate, of_up), (gate, (up, grad)))| {
                    *of_gate = *grad * *up * known.slope(*gate);
                    *of_up = *grad * known.value(*gate);
                })
            });
        })
    }
}

/// `dx` from `dg` and `du`, `G` and `U`.
struct ForInput {
    rows: usize,
    width: usize,
    out: usize,
}

impl Products for ForInput {
    fn run<T: Factor>(&self, inputs: &[&[T]]) -> Vec<T> {
        let ForInput { rows, width, out } = *self;
        let beside = |nth: usize| inputs[0].get(nth * out..).unwrap_or_default();
        let grad = |nth: usize| Matrix::apart(beside(nth), rows, out, 2 * out);
        let weight = |nth: usize| Matrix::new(inputs[1 + nth], out, width);
        let mut sum = product(grad(0), weight(0), None);
        add_product(grad(1), weight(1), &mut sum);
        sum
    }
}
