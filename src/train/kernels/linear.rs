//! `y = x · w + bias` over rows, as one operation: `dx = g · wᵀ`, `dw = xᵀ · g`, `dbias = Σ g` over all rows.
//!
//! Candle gives every operation of a graph a gradient filled with zeros and adds to it, so a matrix product, a
//! transposition, a bias and two reshapes cost more than the additions themselves.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};

use super::real::Real;
use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows};

/// `x` is `[…, in]`, the weight `[in, out]`, or `[out, in]` where it is `transposed`.
pub(super) struct Linear {
    /// `x · w`, computed beforehand, `[rows, out]`.
    product: Tensor,
    /// `[…, out]`.
    shape: Vec<usize>,
    transposed: bool,
}

impl Linear {
    pub(super) fn new(x: &Tensor, weight: &Tensor, transposed: bool) -> Result<Self> {
        let weight = if transposed { weight.detach().t()? } else { weight.detach() };
        let product = as_rows(x)?.matmul(&weight)?;
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = product.dim(1)?;
        }
        Ok(Linear { product, shape, transposed })
    }

    fn output(&self, bias: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.product.storage_and_layout();
        let candle_core::Storage::Cpu(product) = &*storage else {
            candle_core::bail!("the trainer's kernels run on the CPU")
        };
        let inputs = [&[(product, layout)], bias].concat();
        Ok((run(&AddBias(self.product.dim(1)?), &inputs)?, Shape::from(self.shape.as_slice())))
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
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.output(&[(b, lb)])
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

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.output(&[])
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, weight, grad)?;
        Ok((Some(dx), Some(dw)))
    }
}

/// A product of this width, and a bias where there is one.
struct AddBias(usize);

impl Kernel for AddBias {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, width) = (inputs[0], self.0);
        by_rows(x.len() / width, width, |row, out| {
            let x = &x[row * width..][..width];
            match inputs.get(1) {
                Some(bias) => out.iter_mut().zip(x.iter().zip(*bias)).for_each(|(y, (x, bias))| *y = *x + *bias),
                None => out.copy_from_slice(x),
            }
        })
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
