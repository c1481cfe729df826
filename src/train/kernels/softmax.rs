//! Softmax of attention scores, with their scale and the mask in one pass.
//!
//! `p = softmax(scale · s + mask)`, `ds = scale · p · (g − Σ p · g)`.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use pulp::Simd;

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
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (scores, mask, keys) = (inputs[0], inputs[1], self.keys);
        by_rows(simd, scores.len() / keys, keys, |row, out| {
            out.copy_from_slice(&scores[row * keys..][..keys]);
            let mask = &mask[self.mask_row(row) * keys..][..keys];
            soften(out, T::from_f64(self.scale), None, mask);
        })
    }
}

/// Makes scores of a query its weights: softmax of `scale · scores + bias + mask`.
#[inline(always)]
pub(super) fn soften<T: Real>(scores: &mut [T], scale: T, bias: Option<&[T]>, mask: &[T]) {
    let masked = scores.iter_mut().zip(mask);
    match bias {
        Some(bias) => masked
            .zip(bias)
            .for_each(|((score, mask), bias)| *score = scale * *score + *bias + *mask),
        None => masked.for_each(|(score, mask)| *score = scale * *score + *mask),
    }

    let most = largest(scores, |value| value);
    scores.iter_mut().for_each(|p| *p = (*p - most).exp());
    let share = T::from_f64(1.0) / sum(scores, |p| p);
    scores.iter_mut().for_each(|p| *p *= share);
}

/// Makes what flows into the weights `p` of a query what flows into its scores.
#[inline(always)]
pub(super) fn flow_back<T: Real>(p: &[T], grad: &mut [T], scale: T) {
    let along = sum2(p, grad, |p, grad| p * grad);
    grad.iter_mut().zip(p).for_each(|(grad, p)| *grad = scale * *p * (*grad - along));
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
struct Backward {
    scale: f64,
    keys: usize,
}

impl Kernel for Backward {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (p, grad, keys) = (inputs[0], inputs[1], self.keys);
        by_rows(simd, p.len() / keys, keys, |row, out| {
            out.copy_from_slice(&grad[row * keys..][..keys]);
            flow_back(&p[row * keys..][..keys], out, T::from_f64(self.scale));
        })
    }
}
