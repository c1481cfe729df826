//! Softmax of attention scores, with their scale and the mask in one pass.
//!
//! `p = softmax(scale · s + mask)`, `ds = scale · p · (g − Σ p · g)`.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::real::{Real, largest, sum, sum2};
use super::rows::{Kernel, by_rows, run, run_detached};

/// Takes scores `[rows, heads, queries, keys]` and a mask `[rows, 1 or queries, keys]`.
pub(super) struct MaskedSoftmax {
    scale: f64,
    heads: usize,
    queries: usize,
    keys: usize,
    /// Whether the mask has a row for each query.
    by_query: bool,
}

impl MaskedSoftmax {
    /// For scores and a mask of these shapes.
    pub(super) fn of(scores: &Tensor, mask: &Tensor, scale: f64) -> Result<Self> {
        let (rows, heads, queries, keys) = scores.dims4()?;
        let by_query = mask.dim(1)? > 1;
        if mask.dims() != [rows, if by_query { queries } else { 1 }, keys] {
            bail!("a mask {:?} does not fit scores {:?}", mask.dims(), scores.dims());
        }
        Ok(MaskedSoftmax { scale, heads, queries, keys, by_query })
    }

    /// The row of the mask for a row of scores.
    fn mask_row(&self, row: usize) -> usize {
        let rows = row / (self.heads * self.queries);
        if self.by_query { rows * self.queries + row % self.queries } else { rows }
    }
}

impl Kernel for MaskedSoftmax {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (scores, mask, keys) = (inputs[0], inputs[1], self.keys);
        by_rows(scores.len() / keys, keys, |row, out| {
            let (scores, mask) =
                (&scores[row * keys..][..keys], &mask[self.mask_row(row) * keys..][..keys]);
            let scale = T::from_f64(self.scale);
            out.iter_mut()
                .zip(scores.iter().zip(mask))
                .for_each(|(p, (score, mask))| *p = scale * *score + *mask);
            let most = largest(out, |value| value);
            out.iter_mut().for_each(|p| *p = (*p - most).exp());
            let share = T::from_f64(1.0) / sum(out, |p| p);

            out.iter_mut().for_each(|p| *p *= share);
        })
    }
}

impl CustomOp2 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(
        &self,
        s: &CpuStorage,
        ls: &Layout,
        m: &CpuStorage,
        lm: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(s, ls), (m, lm)])?, ls.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        m: &Tensor,
        p: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let backward = Backward { scale: self.scale, keys: self.keys };
        let scores = run_detached(&backward, &[p, grad], p.shape())?;
        // Nothing learns from the mask; candle wants a gradient all the same.
        Ok((Some(scores), Some(m.zeros_like()?)))
    }
}

/// The gradient by the scores, from the weights and what flows into them.
pub(super) struct Backward {
    pub(super) scale: f64,
    pub(super) keys: usize,
}

impl Kernel for Backward {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (p, grad, keys) = (inputs[0], inputs[1], self.keys);
        by_rows(p.len() / keys, keys, |row, out| {
            let (p, grad) = (&p[row * keys..][..keys], &grad[row * keys..][..keys]);
            let (scale, along) = (T::from_f64(self.scale), sum2(p, grad, |p, grad| p * grad));
            out.iter_mut()
                .zip(p.iter().zip(grad))
                .for_each(|(ds, (p, grad))| *ds = scale * *p * (*grad - along));
        })
    }
}
