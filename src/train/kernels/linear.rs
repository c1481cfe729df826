//! `y = f(x · w + bias)` over rows, as one operation: with `h = g · f′(x · w + bias)`, `dx = h ·
//! wᵀ`, `dw = xᵀ · h`, `dbias = Σ h` over all rows. Without an activation `h = g`.
//!
//! Candle gives every operation of a graph a gradient filled with zeros and adds to it, so a matrix
//! product, a transposition, a bias and two reshapes cost more than the additions themselves.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, D, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::activation::{self, Activation};
use super::operation::Operation;
use super::product::{Factor, Matrix, product};
use super::real::Real;
use super::rows::{
    Kernel, Products, matmul, run, run_detached, run_detached_as, run_products, sum_of_rows, tensor,
};

/// `x` is `[…, in]`, the weight `[in, out]`, or `[out, in]` where it is `transposed`; both are
/// contiguous.
pub(super) struct Linear {
    transposed: bool,
    activation: Option<Activation>,
    /// What the activation was given.
    before: Mutex<Option<Tensor>>,
}

impl Linear {
    pub(super) fn new(transposed: bool, activation: Option<Activation>) -> Self {
        Linear { transposed, activation, before: Mutex::default() }
    }

    /// What flows into the product, from what flows into the output.
    fn before_activation(&self, grad: &Tensor) -> Result<Tensor> {
        let Some(activation) = self.activation else { return Ok(grad.clone()) };
        match self.before.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(before) => {
                run_detached(&activation::Backward(activation), &[&before, grad], grad.shape())
            }
            None => candle_core::bail!("an activated layer is differentiated once"),
        }
    }
}

impl Operation for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let (x_at, weight_at) = (inputs[0].1, inputs[1].1);
        let (outer, inner) = weight_at.shape().dims2()?;
        let (width, out) = if self.transposed { (inner, outer) } else { (outer, inner) };
        let mut dims = x_at.dims().to_vec();

        if dims.pop() != Some(width) {
            candle_core::bail!("a weight {:?} does not fit rows {:?}", [width, out], x_at.dims());
        }
        let rows = dims.iter().product();
        dims.push(out);

        if let Some((_, at)) = inputs.get(2).filter(|(_, at)| at.shape().elem_count() != out) {
            candle_core::bail!("a bias {:?} does not fit {out} outputs", at.dims());
        }

        let product =
            run_products(&Product { rows, width, out, transposed: self.transposed }, inputs)?;
        let shape = Shape::from(dims);
        let Some(activation) = self.activation else { return Ok((product, shape)) };
        let activated = run(&activation, &[(&product, &Layout::contiguous(&shape))])?;
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(tensor(product, &shape)?);
        Ok((activated, shape))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (inputs[0], inputs[1].detach());
        // Below the lowest block that moves, nobody asks for the gradient by `x`.
        let (is_asked, is_trained) = (x.track_op(), inputs[1].track_op());
        let before = self.before_activation(grad)?;
        let (rows, grad) = (as_rows(x)?, as_rows(&before)?);
        let by_x = || matmul(&grad, &if self.transposed { weight } else { weight.t()? });
        let by_weight = || match self.transposed {
            true => matmul(&grad.t()?, &rows),
            false => matmul(&rows.t()?, &grad),
        };
        let dx = is_asked.then(|| by_x()?.reshape(x.shape())).transpose()?;
        let mut gradients = vec![dx, is_trained.then(by_weight).transpose()?];

        if let Some(bias) = inputs.get(2) {
            let width = bias.elem_count();
            gradients.push(Some(run_detached_as(
                bias.dtype(),
                &Columns(width),
                &[&before],
                width,
            )?));
        }

        Ok(gradients)
    }
}

/// All but the last dimension as one, without a graph.
pub(super) fn as_rows(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    x.detach().reshape(((), width))
}

/// Rows times a weight, and a bias where there is one.
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) out: usize,
    /// Whether the weight is `[out, width]`.
    pub(super) transposed: bool,
}

impl Products for Product {
    fn run<T: Factor>(&self, inputs: &[&[T]]) -> Vec<T> {
        let Product { rows, width, out, transposed } = *self;
        let rows = Matrix::new(inputs[0], rows, width);
        let weight = match transposed {
            true => Matrix::new(inputs[1], out, width).t(),
            false => Matrix::new(inputs[1], width, out),
        };
        product(rows, weight, inputs.get(2).copied())
    }
}

/// Sums of columns.
struct Columns(usize);

impl Kernel for Columns {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, width) = (inputs[0], self.0);
        sum_of_rows(simd, x.len() / width, width, |row, total| {
            total.iter_mut().zip(&x[row * width..][..width]).for_each(|(total, x)| *total += *x);
        })
    }
}
