//! Layer norm (arXiv:1607.06450): `y = x̂ · w + b` with `x̂ = (x − mean) · r`, `r = 1 / √(variance + eps)`.
//!
//! With `h = g · w`: `dx = r · (h − mean(h) − x̂ · mean(h · x̂))`, `dw = Σ g · x̂`, `db = Σ g` over all rows.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct LayerNorm {
    pub(super) eps: f64,
}

impl LayerNorm {
    /// Mean and `r` of a row.
    fn moments<T: WithDType>(self, x: &[T]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|x| x.to_f64()).sum::<f64>() / n;
        let variance = x.iter().map(|x| (x.to_f64() - mean).powi(2)).sum::<f64>() / n;
        (mean, 1.0 / (variance + self.eps).sqrt())
    }
}

impl Kernel for LayerNorm {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight, bias) = (inputs[0], inputs[1], inputs[2]);
        let width = weight.len();
        by_rows(x.len() / width, width, |row, out| {
            let x = &x[row * width..][..width];
            let (mean, r) = self.moments(x);
            for (idx, y) in out.iter_mut().enumerate() {
                *y = T::from_f64((x[idx].to_f64() - mean) * r * weight[idx].to_f64() + bias[idx].to_f64());
            }
        })
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
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
        Ok((run(self, &[(x, lx), (w, lw), (b, lb)])?, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let dx = run_detached(&ForInput(*self), &[x, weight, grad], x.shape())?;
        let both = run_detached(&ForWeights(*self, width), &[x, grad], (2, width))?;
        Ok((Some(dx), Some(both.get(0)?), Some(both.get(1)?)))
    }
}

/// `dx`.
struct ForInput(LayerNorm);

impl Kernel for ForInput {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight, grad) = (inputs[0], inputs[1], inputs[2]);
        let width = weight.len();
        by_rows(x.len() / width, width, |row, out| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let (mean, r) = self.0.moments(x);
            let terms = |idx: usize| ((x[idx].to_f64() - mean) * r, grad[idx].to_f64() * weight[idx].to_f64());
            let (mut of_h, mut of_hx) = (0.0, 0.0);
            for idx in 0..width {
                let (scaled, h) = terms(idx);
                (of_h, of_hx) = (of_h + h, of_hx + h * scaled);
            }
            let (of_h, of_hx) = (of_h / width as f64, of_hx / width as f64);
            for (idx, dx) in out.iter_mut().enumerate() {
                let (scaled, h) = terms(idx);
                *dx = T::from_f64(r * (h - of_h - scaled * of_hx));
            }
        })
    }
}

/// `dw` and behind it `db`.
struct ForWeights(LayerNorm, usize);

impl Kernel for ForWeights {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, grad, width) = (inputs[0], inputs[1], self.1);
        let total = sum_of_rows(x.len() / width, 2 * width, |row, total| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let (mean, r) = self.0.moments(x);
            let (dw, db) = total.split_at_mut(width);
            for idx in 0..width {
                dw[idx] += grad[idx].to_f64() * (x[idx].to_f64() - mean) * r;
                db[idx] += grad[idx].to_f64();
            }
        });
        total.into_iter().map(T::from_f64).collect()
    }
}
