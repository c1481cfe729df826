//! `y = x · w + bias` over rows, as one operation: `dx = g · wᵀ`, `dw = xᵀ · g`, `dbias = Σ g` over all rows.
//!
//! Candle gives every operation of a graph a gradient filled with zeros and adds to it, so a matrix product, a
//! transposition, a bias and two reshapes cost more than the additions themselves.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::real::Real;
use super::rows::{Kernel, ROWS, run_detached, sum_of_rows};

/// `x` is `[…, in]` and contiguous, the weight `[in, out]`, or `[out, in]` where it is `transposed`.
pub(super) struct Linear {
    pub(super) transposed: bool,
}

impl Linear {
    fn output(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let ((x, x_at), (weight, weight_at)) = (inputs[0], inputs[1]);
        let weight_at = if self.transposed { weight_at.transpose(0, 1)? } else { weight_at.clone() };
        let (width, out) = weight_at.shape().dims2()?;
        let mut dims = x_at.dims().to_vec();
        if dims.pop() != Some(width) {
            candle_core::bail!("a weight {:?} does not fit rows {:?}", weight_at.dims(), x_at.dims());
        }
        let rows: usize = dims.iter().product();
        dims.push(out);
        let x_at = Layout::contiguous_with_offset((rows, width), x_at.start_offset());
        let mut product = x.matmul(weight, (1, rows, out, width), &x_at, &weight_at)?;
        if let Some((bias, bias_at)) = inputs.get(2) {
            let Some((start, end)) = bias_at.contiguous_offsets().filter(|(start, end)| end - start == out) else {
                candle_core::bail!("a bias {:?} does not fit {out} outputs", bias_at.dims())
            };
            match (&mut product, bias) {
                (CpuStorage::F32(product), CpuStorage::F32(bias)) => add_bias(product, &bias[start..end]),
                (CpuStorage::F64(product), CpuStorage::F64(bias)) => add_bias(product, &bias[start..end]),
                _ => candle_core::bail!("the trainer's kernels take f32 and f64"),
            }
        }
        Ok((product, Shape::from(dims)))
    }

    /// `dx` and `dw`.
    fn backward(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let (rows, weight, grad) = (as_rows(x)?, weight.detach(), as_rows(grad)?);
        let (dx, dw) = match self.transposed {
            true => (grad.matmul(&weight)?, grad.t()?.matmul(&rows)?),
            false => (grad.matmul(&weight.t()?)?, rows.t()?.matmul(&grad)?),
        };
        Ok((dx.reshape(x.shape())?, dw))
    }
}

/// Adds the bias to each row.
pub(super) fn add_bias<T: Real>(product: &mut [T], bias: &[T]) {
    let width = bias.len().max(1);
    product.par_chunks_mut(ROWS * width).for_each(|rows| {
        for row in rows.chunks_mut(width) {
            row.iter_mut().zip(bias).for_each(|(y, bias)| *y += *bias);
        }
    });
}

/// All but the last dimension as one, without a graph.
fn as_rows(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    x.detach().reshape(((), width))
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.output(&[(x, lx), (w, lw), (b, lb)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, weight, grad)?;
        let width = bias.elem_count();
        Ok((Some(dx), Some(dw), Some(run_detached(&Columns(width), &[grad], width)?)))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        self.output(&[(x, lx), (w, lw)])
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, weight, grad)?;
        Ok((Some(dx), Some(dw)))
    }
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
