//! Scaled dot-product attention (arXiv:1706.03762) as one operation, row by row in parallel.
//!
//! With `P = softmax(scale · Q Kᵀ + mask)`, `P̃` its numbers left by dropout and `G` what flows
//! into `P̃ V`: `dV = P̃ᵀ G`, `dP` is `G Vᵀ` under the same dropout, `dS = scale · P (dP − Σ P ·
//! dP)`, `dQ = dS K`, `dK = dSᵀ Q`. Of the forward pass `P` alone is kept; dropout is drawn again.
//! The products of a head are small, so a row of heads is one task and no product is split over
//! threads.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::dropout::Dropout;
use super::real::Real;
use super::rows::{Kernel, by_rows, matmul, run, run_detached};
use super::softmax::{self, MaskedSoftmax};

/// Takes queries `[rows, heads, queries, width]` and keys and values `[rows, heads, keys, width]`;
/// gives `[rows, queries, heads · width]`.
pub(super) struct Attention {
    pub(super) scale: f64,
    /// `[rows, 1 or queries, keys]`.
    pub(super) mask: Tensor,
    /// Share, seed and place of dropout.
    pub(super) dropout: Option<(f64, u64, String)>,
    /// `P` of each row.
    kept: Mutex<Vec<Tensor>>,
    output: Option<Tensor>,
}

impl Attention {
    /// Computes the output; [`Attention::apply`] puts it into the graph.
    pub(super) fn new(
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        scale: f64,
        mask: &Tensor,
        dropout: Option<(f64, u64, String)>,
    ) -> Result<Self> {
        let mask = mask.detach().contiguous()?;
        let mut attention =
            Attention { scale, mask, dropout, kept: Mutex::default(), output: None };
        let (query, key, value) = (query.detach(), key.detach(), value.detach());
        let rows: Vec<usize> = (0..query.dim(0)?).collect();
        let done: Result<Vec<(Tensor, Tensor)>> = rows
            .par_iter()
            .map(|row| {
                let part = |x: &Tensor| x.narrow(0, *row, 1);
                let scores = matmul(&part(&query)?, &part(&key)?.t()?)?;
                let mask = part(&attention.mask)?;
                let kernel = MaskedSoftmax::of(&scores, &mask, scale)?;
                let weights = run_detached(&kernel, &[&scores, &mask], scores.shape())?;
                let mixed = matmul(&attention.drop(&weights, *row)?, &part(&value)?)?;
                Ok((weights, merged(&mixed)?))
            })
            .collect();

        let (kept, outputs): (Vec<Tensor>, Vec<Tensor>) = done?.into_iter().unzip();
        attention.output = Some(Tensor::cat(&outputs, 0)?);
        attention.kept = Mutex::new(kept);
        Ok(attention)
    }

    pub(super) fn apply(self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
        query.apply_op3(key, value, self)
    }

    /// Attention weights of a row, or what flows into them, under its dropout.
    fn drop(&self, weights: &Tensor, row: usize) -> Result<Tensor> {
        let Some((share, seed, place)) = &self.dropout else { return Ok(weights.clone()) };
        let dropout = Dropout::new(weights.elem_count(), *share, *seed, &format!("{place}/{row}"));
        run_detached(&dropout, &[weights], weights.shape())
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Some(output) = &self.output else { bail!("attention was not computed") };
        let (storage, _) = output.storage_and_layout();
        match &*storage {
            candle_core::Storage::Cpu(storage) => Ok((storage.clone(), output.shape().clone())),
            _ => bail!("the trainer's kernels run on the CPU"),
        }
    }

    fn bwd(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let kept = std::mem::take(
            &mut *self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let (query, key, value, grad) =
            (query.detach(), key.detach(), value.detach(), grad.detach());
        let heads = query.dim(1)?;
        let done: Result<Vec<[Tensor; 3]>> = kept
            .into_par_iter()
            .enumerate()
            .map(|(row, weights)| {
                let part = |x: &Tensor| x.narrow(0, row, 1);
                let grad = split_detached(&part(&grad)?, heads)?;
                let of_value = matmul(&self.drop(&weights, row)?.t()?, &grad)?;
                let of_weights = self.drop(&matmul(&grad, &part(&value)?.t()?)?, row)?;
                let kernel = softmax::Backward { scale: self.scale, keys: weights.dim(3)? };
                let of_scores = run_detached(&kernel, &[&weights, &of_weights], weights.shape())?;

                Ok([
                    matmul(&of_scores, &part(&key)?)?,
                    matmul(&of_scores.t()?, &part(&query)?)?,
                    of_value,
                ])
            })
            .collect();

        let done = done?;
        if done.is_empty() {
            bail!("attention is differentiated once");
        }
        let whole =
            |nth: usize| Tensor::cat(&done.iter().map(|parts| &parts[nth]).collect::<Vec<_>>(), 0);
        Ok((Some(whole(0)?), Some(whole(1)?), Some(whole(2)?)))
    }
}

/// Turns the two middle dimensions of `[rows, a, b, width]`.
#[derive(Clone, Copy)]
struct Turn {
    a: usize,
    b: usize,
    width: usize,
}

impl Kernel for Turn {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let Turn { a, b, width } = *self;
        by_rows(inputs[0].len() / width, width, |row, out| {
            let (outer, at_b, at_a) = (row / (a * b), row / a % b, row % a);
            out.copy_from_slice(&inputs[0][((outer * a + at_a) * b + at_b) * width..][..width]);
        })
    }
}

fn split_detached(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, length, width) = x.dims3()?;
    let turn = Turn { a: length, b: heads, width: width / heads };
    run_detached(&turn, &[x], (rows, heads, length, width / heads))
}

fn merged(x: &Tensor) -> Result<Tensor> {
    let (rows, heads, length, width) = x.dims4()?;
    run_detached(&Turn { a: heads, b: length, width }, &[x], (rows, length, heads * width))
}

/// `[rows, length, heads · width]` as `[rows, heads, length, width]`.
pub(super) struct SplitHeads(pub(super) usize);

impl CustomOp1 for SplitHeads {
    fn name(&self) -> &'static str {
        "split-heads"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, length, width) = layout.shape().dims3()?;
        let turn = Turn { a: length, b: self.0, width: width / self.0 };
        Ok((run(&turn, &[(x, layout)])?, Shape::from((rows, self.0, length, width / self.0))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        merged(grad).map(Some)
    }
}
