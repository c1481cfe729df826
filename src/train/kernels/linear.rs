//! `y = f(x · w + bias)` over rows, as one operation: with `h = g · f′(x · w + bias)`, `dx = h ·
//! wᵀ`, `dw = xᵀ · h`, `dbias = Σ h` over all rows. Without an activation `h = g`.
//!
//! Candle gives every operation of a graph a gradient filled with zeros and adds to it, so a matrix
//! product, a transposition, a bias and two reshapes cost more than the additions themselves.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, D, DType, Layout, Result, Shape, Tensor, WithDType};

use super::activation::{self, Activation};
use super::operation::Operation;
use super::product::{Matrix, product};
use super::real::Real;
use super::rows::{
    Kernel, matmul, narrowed, run, run_detached, run_detached_as, slice, sum_of_rows, tensor,
    widened,
};

/// `x` is `[…, in]` and contiguous, the weight `[in, out]`, or `[out, in]` where it is
/// `transposed`.
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
    const NAME: &'static str = "linear";

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let ((x, x_at), (weight, weight_at)) = (inputs[0], inputs[1]);
        let weight_at =
            if self.transposed { weight_at.transpose(0, 1)? } else { weight_at.clone() };
        let (width, out) = weight_at.shape().dims2()?;
        let mut dims = x_at.dims().to_vec();

        if dims.pop() != Some(width) {
            candle_core::bail!(
                "a weight {:?} does not fit rows {:?}",
                weight_at.dims(),
                x_at.dims()
            );
        }

        let rows: usize = dims.iter().product();
        dims.push(out);
        let x_at = Layout::contiguous_with_offset((rows, width), x_at.start_offset());
        let bias = inputs.get(2).copied();

        if bias.is_some_and(|(_, at)| at.shape().elem_count() != out) {
            candle_core::bail!(
                "a bias {:?} does not fit {out} outputs",
                bias.map(|(_, at)| at.dims())
            );
        }

        let product = match x {
            CpuStorage::F64(x) => {
                let bias = bias.map(|(bias, at)| slice::<f64>(bias, at)).transpose()?;
                let weight = f64::cpu_storage_as_slice(weight)?;
                let (x, weight) = (Matrix::of(x, &x_at, 0)?, Matrix::of(weight, &weight_at, 0)?);
                CpuStorage::F64(product(x, weight, bias))
            }
            CpuStorage::F32(numbers) => {
                let bias = bias.map(|(bias, at)| widened(bias, at)).transpose()?;
                let weight = f32::cpu_storage_as_slice(weight)?;
                let (rows, weight) =
                    (Matrix::of(numbers, &x_at, 0)?, Matrix::of(weight, &weight_at, 0)?);
                narrowed(product(rows, weight, bias.as_deref()), x)?
            }
            _ => {
                let bias = bias.map(|(bias, at)| widened(bias, at)).transpose()?;
                let flat = widened(x, &x_at)?;
                let weight = weight.to_dtype(&weight_at, DType::F32)?;
                let weight = Matrix::new(f32::cpu_storage_as_slice(&weight)?, width, out);
                narrowed(product(Matrix::new(&flat, rows, width), weight, bias.as_deref()), x)?
            }
        };

        let shape = Shape::from(dims);
        let Some(activation) = self.activation else { return Ok((product, shape)) };
        let activated = run(&activation, &[(&product, &Layout::contiguous(&shape))])?;
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(tensor(product, &shape)?);
        Ok((activated, shape))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (inputs[0], inputs[1].detach());
        let is_trained = inputs[1].track_op();
        let before = self.before_activation(grad)?;
        let (rows, grad) = (as_rows(x)?, as_rows(&before)?);
        let (dx, dw) = match self.transposed {
            true => (matmul(&grad, &weight)?, is_trained.then(|| matmul(&grad.t()?, &rows))),
            false => (matmul(&grad, &weight.t()?)?, is_trained.then(|| matmul(&rows.t()?, &grad))),
        };
        let mut gradients = vec![Some(dx.reshape(x.shape())?), dw.transpose()?];

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
fn as_rows(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    x.detach().reshape(((), width))
}

/// Sums of columns.
struct Columns(usize);

impl Kernel for Columns {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, width) = (inputs[0], self.0);
        sum_of_rows(x.len() / width, width, |row, total| {
            total.iter_mut().zip(&x[row * width..][..width]).for_each(|(total, x)| *total += *x);
        })
    }
}
