//! RMS norm (arXiv:1910.07467): `y = x̂ · w` with `x̂ = x · r`, `r = 1 / √(mean(x²) + eps)`.
//!
//! With `h = g · w`: `dx = r · (h − x̂ · mean(h · x̂))`, `dw = Σ g · x̂` over all rows.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::operation::Operation;
use super::real::{Real, sum, sum2};
use super::rows::{Kernel, by_rows, run, run_detached, run_detached_as, sum_of_rows};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct RmsNorm {
    pub(super) eps: f64,
}

impl RmsNorm {
    /// `r` of a row.
    #[inline(always)]
    fn scale<T: Real>(self, x: &[T]) -> T {
        let square = sum(x, |x| x * x) / T::from_f64(x.len() as f64);
        T::from_f64(1.0) / (square + T::from_f64(self.eps)).sqrt()
    }
}

impl Kernel for RmsNorm {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight) = (inputs[0], inputs[1]);
        let width = weight.len();
        by_rows(simd, x.len() / width, width, |row, out| {
            let x = &x[row * width..][..width];
            let r = self.scale(x);
            out.iter_mut().zip(x.iter().zip(weight)).for_each(|(y, (x, w))| *y = *x * r * *w);
        })
    }
}

impl Operation for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, inputs)?, inputs[0].1.shape().clone()))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (inputs[0], inputs[1]);
        let width = weight.elem_count();
        let dx = run_detached(&ForInput(*self), &[x, weight, grad], x.shape())?;
        // In the type of the weight, which is no half where the rows are.
        let dw = run_detached_as(weight.dtype(), &ForWeight(*self, width), &[x, grad], width)?;
        Ok(vec![Some(dx), Some(dw)])
    }
}

/// `dx`.
struct ForInput(RmsNorm);

impl Kernel for ForInput {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight, grad) = (inputs[0], inputs[1], inputs[2]);
        let width = weight.len();
        by_rows(simd, x.len() / width, width, |row, out| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let r = self.0.scale(x);
            // What comes out is `h` until the mean is known.
            out.iter_mut()
                .zip(grad.iter().zip(weight))
                .for_each(|(h, (grad, weight))| *h = *grad * *weight);
            let along = sum2(out, x, |h, x| h * x * r) / T::from_f64(width as f64);
            out.iter_mut().zip(x).for_each(|(h, x)| *h = r * (*h - *x * r * along));
        })
    }
}

/// `dw`.
struct ForWeight(RmsNorm, usize);

impl Kernel for ForWeight {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, grad, width) = (inputs[0], inputs[1], self.1);
        sum_of_rows(simd, x.len() / width, width, |row, total: &mut [T]| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let r = self.0.scale(x);
            total
                .iter_mut()
                .zip(grad.iter().zip(x))
                .for_each(|(dw, (grad, x))| *dw += *grad * *x * r);
        })
    }
}
