//! Softmax of attention scores, with their scale and the mask in one pass.
//!
//! `p = softmax(scale · s + mask)`, `ds = scale · p · (g − Σ p · g)`.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, by_rows, run, run_detached};

/// Takes scores `[rows, heads, queries, keys]` and a mask `[rows, 1 or queries, keys]`.
pub(super) struct MaskedSoftmax {
    pub(super) scale: f64,
    pub(super) heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Whether the mask has a row for each query.
    pub(super) by_query: bool,
}

impl MaskedSoftmax {
    /// The row of the mask for a row of scores.
    fn mask_row(&self, row: usize) -> usize {
        let rows = row / (self.heads * self.queries);
        if self.by_query { rows * self.queries + row % self.queries } else { rows }
    }
}

impl Kernel for MaskedSoftmax {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (scores, mask, keys) = (inputs[0], inputs[1], self.keys);
        by_rows(scores.len() / keys, keys, |row, out| {
            let (scores, mask) = (&scores[row * keys..][..keys], &mask[self.mask_row(row) * keys..][..keys]);
            let value = |idx: usize| self.scale * scores[idx].to_f64() + mask[idx].to_f64();
            let largest = (0..keys).map(value).fold(f64::NEG_INFINITY, f64::max);
            let mut total = 0.0;
            for (idx, p) in out.iter_mut().enumerate() {
                let exp = (value(idx) - largest).exp();
                total += exp;
                *p = T::from_f64(exp);
            }
            out.iter_mut().for_each(|p| *p = T::from_f64(p.to_f64() / total));
        })
    }
}

impl CustomOp2 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, s: &CpuStorage, ls: &Layout, m: &CpuStorage, lm: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(s, ls), (m, lm)])?, ls.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, m: &Tensor, p: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let backward = Backward { scale: self.scale, keys: self.keys };
        let scores = run_detached(&backward, &[p, grad], p.shape())?;
        // Nothing learns from the mask; candle wants a gradient all the same.
        Ok((Some(scores), Some(m.zeros_like()?)))
    }
}

struct Backward {
    scale: f64,
    keys: usize,
}

impl Kernel for Backward {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (p, grad, keys) = (inputs[0], inputs[1], self.keys);
        by_rows(p.len() / keys, keys, |row, out| {
            let (p, grad) = (&p[row * keys..][..keys], &grad[row * keys..][..keys]);
            let total: f64 = p.iter().zip(grad).map(|(p, grad)| p.to_f64() * grad.to_f64()).sum();
            for (idx, ds) in out.iter_mut().enumerate() {
                *ds = T::from_f64(self.scale * p[idx].to_f64() * (grad[idx].to_f64() - total));
            }
        })
    }
}
