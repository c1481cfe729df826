//! The composed twin of each kernel: the same function out of candle's own operations that have a backward.
//!
//! They run where our kernels do not (on a GPU), and the tests hold the kernels against them.

use candle_core::{D, Result, Tensor};

/// Adds a bias to every row.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.broadcast_add(bias)
}

/// Layer norm over the last dimension.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Softmax of scaled scores `[rows, heads, queries, keys]` plus a mask `[rows, keys]`.
pub(super) fn masked_softmax(scores: &Tensor, scale: f64, mask: &Tensor) -> Result<Tensor> {
    let masked = scores.affine(scale, 0.0)?.broadcast_add(&mask.unsqueeze(1)?.unsqueeze(1)?)?;
    candle_nn::ops::softmax(&masked, D::Minus1)
}

/// The exact Gaussian error linear unit; candle's derivative of it is good to 2e-7.
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// Sum of cross-entropies of rows.
pub(super) fn cross_entropy_sum(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&labels.unsqueeze(1)?, 1)?.sum_all()?.neg()
}

/// Scales what is kept and zeroes the rest.
pub(super) fn dropout(x: &Tensor, kept: &[bool], scale: f64) -> Result<Tensor> {
    let factors: Vec<f64> = kept.iter().map(|kept| if *kept { scale } else { 0.0 }).collect();
    x * Tensor::from_vec(factors, x.dims(), &candle_core::Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())?
}
