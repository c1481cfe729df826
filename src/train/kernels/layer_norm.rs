//! Layer norm (arXiv:1607.06450): `y = x̂ · w + b` with `x̂ = (x − mean) · r`, `r = 1 / √(variance
//! + eps)`.
//!
//! With `h = g · w`: `dx = r · (h − mean(h) − x̂ · mean(h · x̂))`, `dw = Σ g · x̂`, `db = Σ g` over
//! all rows.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::operation::Operation;
use super::real::{Real, sum, sum2};
use super::rows::{Kernel, by_rows, run, run_detached, run_detached_as, sum_of_rows};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct LayerNorm {
    pub(super) eps: f64,
}

impl LayerNorm {
    /// Mean and `r` of a row.
    #[inline(always)]
    fn moments<T: Real>(self, x: &[T]) -> (T, T) {
        let n = T::from_f64(x.len() as f64);
        let mean = sum(x, |x| x) / n;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
        (mean, T::from_f64(1.0) / (variance + T::from_f64(self.eps)).sqrt())
    }
}

impl Kernel for LayerNorm {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight, bias) = (inputs[0], inputs[1], inputs[2]);
        let width = weight.len();
        by_rows(simd, x.len() / width, width, |row, out| {
            let x = &x[row * width..][..width];
            let (mean, r) = self.moments(x);
            for ((y, x), (w, b)) in out.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
                *y = (*x - mean) * r * *w + *b;
            }
        })
    }
}

impl Operation for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, inputs)?, inputs[0].1.shape().clone()))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (inputs[0], inputs[1]);
        let width = weight.elem_count();
        let dx = run_detached(&ForInput(*self), &[x, weight, grad], x.shape())?;
        // In the type of the weights, which are no halves where the rows are.
        let both =
            run_detached_as(weight.dtype(), &ForWeights(*self, width), &[x, grad], (2, width))?;
        Ok(vec![Some(dx), Some(both.get(0)?), Some(both.get(1)?)])
    }
}

/// `dx`.
struct ForInput(LayerNorm);

impl Kernel for ForInput {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, weight, grad) = (inputs[0], inputs[1], inputs[2]);
        let width = weight.len();
        by_rows(simd, x.len() / width, width, |row, out| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let (mean, r) = self.0.moments(x);
            // What comes out is `h` until the means are known.
            out.iter_mut()
                .zip(grad.iter().zip(weight))
                .for_each(|(h, (grad, weight))| *h = *grad * *weight);
            let n = T::from_f64(width as f64);
            let of_h = sum(out, |h| h) / n;
            let of_hx = sum2(out, x, |h, x| h * (x - mean) * r) / n;

            out.iter_mut().zip(x).for_each(|(h, x)| *h = r * (*h - of_h - (*x - mean) * r * of_hx));
        })
    }
}

/// `dw` and behind it `db`.
struct ForWeights(LayerNorm, usize);

impl Kernel for ForWeights {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (x, grad, width) = (inputs[0], inputs[1], self.1);
        sum_of_rows(simd, x.len() / width, 2 * width, |row, total: &mut [T]| {
            let (x, grad) = (&x[row * width..][..width], &grad[row * width..][..width]);
            let (mean, r) = self.0.moments(x);
            let (dw, db) = total.split_at_mut(width);
            for ((dw, db), (grad, x)) in dw.iter_mut().zip(db).zip(grad.iter().zip(x)) {
                *dw += *grad * (*x - mean) * r;
                *db += *grad;
            }
        })
    }
}
