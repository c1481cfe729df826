//! The composed twin of each kernel: the same function out of candle's own operations that have a
//! backward.
//!
//! They run where our kernels do not (on a GPU), and the tests hold the kernels against them.

use candle_core::{D, DType, Result, Tensor};

use super::{Activation, Targets};

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

/// RMS norm over the last dimension.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let size = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&size)?.broadcast_mul(weight)
}

/// Softmax of scaled scores `[rows, heads, queries, keys]` plus a mask `[rows, 1 or queries,
/// keys]`.
pub(super) fn masked_softmax(scores: &Tensor, scale: f64, mask: &Tensor) -> Result<Tensor> {
    let masked = scores.affine(scale, 0.0)?.broadcast_add(&mask.unsqueeze(1)?)?;
    candle_nn::ops::softmax(&masked, D::Minus1)
}

/// Rotary embedding of `[rows, heads, length, width]`; cosine and sine are `[length, width / 2]`.
pub(super) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned = first.broadcast_mul(cos)?.sub(&second.broadcast_mul(sin)?)?;
    let other = second.broadcast_mul(cos)?.add(&first.broadcast_mul(sin)?)?;
    Tensor::cat(&[turned, other], D::Minus1)
}

/// Activations; candle's derivatives of the two Gaussian ones are good to 2e-7, and that of `relu`
/// is 1 at 0.
pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluNew => x.gelu(),
        Activation::Silu => x.silu(),
        Activation::Relu => x.relu(),
    }
}

/// Sum of cross-entropies of rows, each by its weight.
pub(super) fn targets_sum(logits: &Tensor, targets: &Targets) -> Result<Tensor> {
    let labels = Tensor::new(targets.labels, logits.device())?.unsqueeze(1)?;
    let each = candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&labels, 1)?.squeeze(1)?;
    let each = each.neg()?;
    if let Some(losses) = targets.losses {
        losses.add(each.detach().to_dtype(DType::F32)?.to_vec1::<f32>()?.into_iter());
    }
    match targets.weights {
        Some(weights) => {
            each.mul(&Tensor::new(weights, logits.device())?.to_dtype(each.dtype())?)?.sum_all()
        }
        None => each.sum_all(),
    }
}

/// Sum of cross-entropies of rows.
pub(super) fn cross_entropy_sum(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    candle_nn::ops::log_softmax(logits, D::Minus1)?
        .gather(&labels.unsqueeze(1)?, 1)?
        .sum_all()?
        .neg()
}

/// Sum of divergences of rows from a teacher's.
pub(super) fn divergence_sum(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let log = |logits: &Tensor| {
        candle_nn::ops::log_softmax(&logits.affine(1.0 / temperature, 0.0)?, D::Minus1)
    };
    let (student, teacher) = (log(student)?, log(teacher)?);
    let apart = (teacher.exp()? * (&teacher - student)?)?.sum_all()?;
    apart.affine(temperature * temperature, 0.0)
}

/// Scales what is kept and zeroes the rest.
pub(super) fn dropout(x: &Tensor, kept: &[bool], scale: f64) -> Result<Tensor> {
    let factors: Vec<f64> = kept.iter().map(|kept| if *kept { scale } else { 0.0 }).collect();
    x * Tensor::from_vec(factors, x.dims(), &candle_core::Device::Cpu)?
        .to_dtype(x.dtype())?
        .to_device(x.device())?
}
