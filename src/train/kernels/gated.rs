//! A gated layer (arXiv:2002.05202) as one operation: `y = f(x · Gᵀ) · (x · Uᵀ)`.
//!
//! With `g = x · Gᵀ`, `u = x · Uᵀ` and `e` what flows into `y`: `dg = e · u · f′(g)`, `du = e ·
//! f(g)`, `dx = dg · G + du · U`, `dG = dgᵀ · x`, `dU = duᵀ · x`. Of the forward pass `g` and `u`
//! are kept.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::activation::{Activation, Pointwise};
use super::linear::{Product, as_rows};
use super::operation::Operation;
use super::product::{Matrix, add_product, product};
use super::real::Real;
use super::rows::{Kernel, matmul, run, run_detached, tensor};

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
        let [gate, up] = [run(&layer, &[x, gate])?, run(&layer, &[x, up])?];
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
        let of_gate = run_detached(&ForGate(self.activation), &[&gate, &up, grad], grad.shape())?;
        let of_up = run_detached(&ForUp(self.activation), &[&gate, grad], grad.shape())?;

        let (out, width) = weights[0].dims2()?;
        let rows = x.elem_count() / width.max(1);
        let both = [&of_gate, &weights[0], &of_up, &weights[1]];
        let dx = run_detached(&ForInput { rows, width, out }, &both, x.shape())?;
        let (x, mut gradients) = (as_rows(x)?, vec![Some(dx)]);
        for (weight, grad) in inputs[1..].iter().zip([&of_gate, &of_up]) {
            let grad = as_rows(grad)?;
            gradients.push(weight.track_op().then(|| matmul(&grad.t()?, &x)).transpose()?);
        }

        Ok(gradients)
    }
}

/// `y` from `g` and `u`.
struct Forward(Activation);

impl Kernel for Forward {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        self.0.each(simd, inputs, self)
    }
}

impl Pointwise for Forward {
    #[inline(always)]
    fn write<T: Real>(
        &self,
        activation: Activation,
        inputs: &[&[T]],
        at: Range<usize>,
        out: &mut [T],
    ) {
        let all = out.iter_mut().zip(inputs[0][at.clone()].iter().zip(&inputs[1][at]));
        all.for_each(|(y, (gate, up))| *y = activation.value(*gate) * *up);
    }
}

/// `dg` from `g`, `u` and what flows into `y`.
struct ForGate(Activation);

impl Kernel for ForGate {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        self.0.each(simd, inputs, self)
    }
}

impl Pointwise for ForGate {
    #[inline(always)]
    fn write<T: Real>(
        &self,
        activation: Activation,
        inputs: &[&[T]],
        at: Range<usize>,
        out: &mut [T],
    ) {
        let flowing = inputs[1][at.clone()].iter().zip(&inputs[2][at.clone()]);
        let all = out.iter_mut().zip(inputs[0][at].iter().zip(flowing));
        all.for_each(|(dg, (gate, (up, grad)))| *dg = *grad * *up * activation.slope(*gate));
    }
}

/// `du` from `g` and what flows into `y`.
struct ForUp(Activation);

impl Kernel for ForUp {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        self.0.each(simd, inputs, self)
    }
}

impl Pointwise for ForUp {
    #[inline(always)]
    fn write<T: Real>(
        &self,
        activation: Activation,
        inputs: &[&[T]],
        at: Range<usize>,
        out: &mut [T],
    ) {
        let all = out.iter_mut().zip(inputs[0][at.clone()].iter().zip(&inputs[1][at]));
        all.for_each(|(du, (gate, grad))| *du = *grad * activation.value(*gate));
    }
}

/// `dx` from `dg`, `G`, `du` and `U`.
struct ForInput {
    rows: usize,
    width: usize,
    out: usize,
}

impl Kernel for ForInput {
    fn run<T: Real, S: Simd>(&self, _: S, inputs: &[&[T]]) -> Vec<T> {
        let ForInput { rows, width, out } = *self;
        let grad = |nth: usize| Matrix::new(inputs[nth], rows, out);
        let weight = |nth: usize| Matrix::new(inputs[nth], out, width);
        let mut sum = product(grad(0), weight(1), None);
        add_product(grad(2), weight(3), &mut sum);
        sum
    }
}
