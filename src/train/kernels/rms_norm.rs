//! RMS norm (arXiv:1910.07467): `y = x̂ · w` with `x̂ = x · r`, `r = 1 / √(mean(x²) + eps)`.
//!
//! With `h = g · w`: `dx = r · (h − x̂ · mean(h · x̂))`, `dw = Σ g · x̂` over all rows.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct RmsNorm {
    pub(super) eps: f64,
}

impl RmsNorm {
    /// `r` of a row.
    fn scale<T: WithDType>(self, x: &[T]) -> f64 {
        let square = x.iter().map(|x| x.to_f64().powi(2)).sum::<f64>() / x.len() as f64;
        1.0 / (square + self.eps).sqrt()
    }
}

impl Kernel for RmsNorm {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight) = (inputs[0], inputs[1]);
        let width = weight.len();
        by_rows(x.len() / width, width, |row, out| {
            let x = &x[row * width..][..width];
            let r = self.scale(x);
            for (idx, y) in out.iter_mut().enumerate() {
                *y = T::from_f64(x[idx].to_f64() * r * weight[idx].to_f64());
            }
        })
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(x, lx), (w, lw)])?, lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let dx = run_detached(&ForInput(*self), &[x, weight, grad], x.shape())?;
        Ok((Some(dx), Some(run_detached(&ForWeight(*self, width), &[x, grad], width)?)))
    }
}

/// `dx`.
struct ForInput(RmsNorm);

impl Kernel for ForInput {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight, grad) = (inputs[0], inputs[1], inputs[2]);
        let width = weight.len();
        by_rows(x.len() / width, width, |row, out| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let r = self.0.scale(x);
            let terms = |idx: usize| (x[idx].to_f64() * r, grad[idx].to_f64() * weight[idx].to_f64());
            let along = (0..width).map(|idx| terms(idx).0 * terms(idx).1).sum::<f64>() / width as f64;
            for (idx, dx) in out.iter_mut().enumerate() {
                let (scaled, h) = terms(idx);
                *dx = T::from_f64(r * (h - scaled * along));
            }
        })
    }
}

/// `dw`.
struct ForWeight(RmsNorm, usize);

impl Kernel for ForWeight {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, grad, width) = (inputs[0], inputs[1], self.1);
        let total = sum_of_rows(x.len() / width, width, |row, total| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let r = self.0.scale(x);
            for (idx, dw) in total.iter_mut().enumerate() {
                *dw += grad[idx].to_f64() * x[idx].to_f64() * r;
            }
        });
        total.into_iter().map(T::from_f64).collect()
    }
}
