//! Every operation the model is made of, each with a backward.
//!
//! Several of candle's own operations have none and cut the graph silently (`softmax_last_dim`, the
//! fused layer norm and RMS norm, rotary embedding, scaled dot-product attention): training goes
//! on, the loss even falls, and whatever stands before the cut never learns. So the model takes its
//! operations from here only. Each of our kernels is one file with its formulas, runs on the CPU in
//! parallel, and has a twin in `composed` out of candle's operations, which is what runs on a GPU.
//! Results do not depend on the number of threads.
//!
//! On the CPU a model's step is written on a tape of our own (`tape`) and differentiated from it;
//! what stands before and behind the steps is in candle's graph, where the same operations fit in.

mod activation;
mod attention;
mod composed;
mod cross_entropy;
mod divergence;
mod dropout;
mod gated;
mod instructions;
mod layer_norm;
mod linear;
mod linear_cross_entropy;
mod operation;
mod peak;
mod product;
mod real;
mod residual;
mod rms_norm;
mod rope;
mod rows;
mod softmax;
mod squares;
mod tape;

use std::sync::{Arc, Mutex, PoisonError};

pub use activation::Activation;
pub use attention::causal_weights;
use candle_core::{D, DType, Device, Result, Tensor};
pub use instructions::{Instructions, PIN};
use operation::apply;
pub use peak::Speed;
pub use tape::{Flows, Tape, add, recorded};

/// Additive mask of a place that must not be attended to. Finite, since a row of −∞ alone is NaN in
/// softmax.
pub const MASKED: f32 = -1e9;

/// `x · weightᵀ + bias` over the last dimension; `weight` is `[out, in]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    affine(x, weight, bias, true, None)
}

/// The activation of [`linear()`], as one operation.
///
/// # Errors
/// If the shapes do not fit.
pub fn linear_activated(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    affine(x, weight, bias, true, Some(activation))
}

/// `x · weight + bias` over the last dimension; `weight` is `[in, out]`, as in GPT-2.
///
/// # Errors
/// If the shapes do not fit.
pub fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    affine(x, weight, bias, false, None)
}

/// The activation of [`product()`], as one operation.
///
/// # Errors
/// If the shapes do not fit.
pub fn product_activated(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    affine(x, weight, bias, false, Some(activation))
}

/// A gated layer (arXiv:2002.05202): the activation of `x · gateᵀ` times `x · upᵀ`, over the last
/// dimension; both weights are `[out, in]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn gated(x: &Tensor, gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return linear_activated(x, gate, None, activation)? * linear(x, up, None)?;
    }
    let weight = |weight: &Tensor| weight.to_dtype(x.dtype())?.contiguous();
    apply(gated::Gated::new(activation), &[&x.contiguous()?, &weight(gate)?, &weight(up)?])
}

/// The matrix product of tensors on the CPU over their last two dimensions, outside of any graph;
/// the dimensions before them are equal. Halves are added up in f32.
///
/// # Errors
/// If the shapes do not fit.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    rows::matmul(a, b)
}

/// Weights are rounded to the type of `x`, as mixed precision has it; biases only where a product
/// of bf16 adds them.
fn affine(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    transposed: bool,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let weight = &weight.to_dtype(x.dtype())?.contiguous()?;
    if x.device().is_cpu() {
        let x = x.contiguous()?;
        let inputs: Vec<&Tensor> = [&x, weight].into_iter().chain(bias).collect();
        return apply(linear::Linear::new(transposed, activation), &inputs);
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = weight.dim(usize::from(!transposed))?;
    }
    let flat = x.reshape(((), x.dim(D::Minus1)?))?;
    let product = if transposed { flat.matmul(&weight.t()?)? } else { flat.matmul(weight)? };
    let product = match bias {
        Some(bias) => composed::add_bias(&product, &bias.to_dtype(x.dtype())?)?,
        None => product,
    };
    let product = product.reshape(dims)?;

    activation.map_or(Ok(product.clone()), |activation| composed::activate(&product, activation))
}

/// The sum of the squares of all numbers, in f64 and in an order that no number of threads changes.
///
/// # Errors
/// If `x` is no float tensor.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    let flat = x.flatten_all()?.to_device(&Device::Cpu)?;
    number(&rows::run_detached(&squares::Squares, &[&flat], ())?)
}

/// Layer norm over the last dimension (arXiv:1607.06450): `(x − mean) / √(variance + eps) · weight
/// + bias`.
///
/// # Errors
/// If the shapes do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    match x.device().is_cpu() {
        true => apply(layer_norm::LayerNorm { eps }, &[&x.contiguous()?, weight, bias]),
        false => composed::layer_norm(&x.to_dtype(weight.dtype())?, weight, bias, eps)?
            .to_dtype(x.dtype()),
    }
}

/// RMS norm over the last dimension (arXiv:1910.07467): `x / √(mean(x²) + eps) · weight`.
///
/// # Errors
/// If the shapes do not fit.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    match x.device().is_cpu() {
        true => apply(rms_norm::RmsNorm { eps }, &[&x.contiguous()?, weight]),
        false => composed::rms_norm(&x.to_dtype(weight.dtype())?, weight, eps)?.to_dtype(x.dtype()),
    }
}

/// Rotary embedding (arXiv:2104.09864) of `[rows, length, heads · width]` at the places
/// `0..length`; `frequencies` are the angles by which each of the `width / 2` pairs turns from one
/// place to the next.
///
/// # Errors
/// If the width does not fit.
pub fn rope(x: &Tensor, frequencies: &[f64]) -> Result<Tensor> {
    let ((_, length, numbers), width) = (x.dims3()?, 2 * frequencies.len());
    if width == 0 || !numbers.is_multiple_of(width) {
        candle_core::bail!("{} frequencies do not fit {numbers} numbers", frequencies.len());
    }
    let kernel = rope::Rope::new(length, frequencies);
    if x.device().is_cpu() {
        return apply(kernel, &[&x.contiguous()?]);
    }
    let (cos, sin): (Vec<f64>, Vec<f64>) = kernel.turns.into_iter().unzip();
    let table =
        |values| Tensor::from_vec(values, (length, width / 2), x.device())?.to_dtype(x.dtype());

    let turned = composed::rope(&split_heads(x, numbers / width)?, &table(cos)?, &table(sin)?)?;
    merge_heads(&turned)
}

/// Attention weights: softmax over the keys of `scale · scores + mask`; scores are `[rows, heads,
/// queries, keys]`, the mask is `[rows, 1 or queries, keys]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn masked_softmax(scores: &Tensor, scale: f64, mask: &Tensor) -> Result<Tensor> {
    let kernel = softmax::MaskedSoftmax::of(scores, mask, scale)?;
    match scores.device().is_cpu() {
        true => scores.contiguous()?.apply_op2(&mask.contiguous()?, kernel),
        false => composed::masked_softmax(&scores.to_dtype(mask.dtype())?, scale, mask)?
            .to_dtype(scores.dtype()),
    }
}

/// Queries, keys and values of rows, with the heads of a place side by side.
pub enum Projected {
    /// Each of its own.
    Apart {
        /// `[rows, queries, heads · width]`.
        query: Tensor,
        /// `[rows, keys, shared · width]`: so many heads share keys and values (arXiv:2305.13245).
        key: Tensor,
        /// The same.
        value: Tensor,
    },
    /// All three side by side, `[rows, length, 3 · heads · width]`.
    Joined(Tensor),
}

impl Projected {
    /// Queries, keys and values, each of its own.
    ///
    /// # Errors
    /// If the width does not fit.
    pub fn apart(&self) -> Result<[Tensor; 3]> {
        match self {
            Projected::Apart { query, key, value } => {
                Ok([query.clone(), key.clone(), value.clone()])
            }
            Projected::Joined(all) => {
                let width = all.dim(D::Minus1)? / 3;
                let part = |nth: usize| all.narrow(D::Minus1, nth * width, width);
                Ok([part(0)?, part(1)?, part(2)?])
            }
        }
    }
}

/// What attention is to do besides the products.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Heads of the queries.
    pub heads: usize,
    /// Numbers of a head.
    pub width: usize,
    /// What scores are multiplied by.
    pub scale: f64,
    /// `[rows, 1 or queries, keys]`.
    pub mask: &'a Tensor,
    /// Added to the scores before the mask, `[1, heads, queries, keys]`.
    pub bias: Option<&'a Tensor>,
    /// Share of the weights that is dropped.
    pub share: f64,
    /// Which are.
    pub key: Option<DropoutKey>,
    /// The place in the model.
    pub site: &'a str,
}

/// Attention (arXiv:1706.03762), with the heads of a place side by side: `[rows, queries, heads ·
/// width]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn attention(projected: &Projected, with: Attention) -> Result<Tensor> {
    let Attention { heads, width, scale, mask, bias, share, key: drawn, site } = with;
    if mask.device().is_cpu() {
        let dropout =
            drawn.filter(|_| share > 0.0).map(|drawn| (share, drawn.seed, drawn.place(site)));
        let (mask, bias) = (mask.clone(), bias.cloned());
        let settings = attention::Settings { heads, width, scale, mask, bias, dropout };
        return attention::attention(projected, settings);
    }
    let [query, key, value] = projected.apart()?;
    attention_of(&attention_weights(&query, &key, with)?, &value, with)
}

/// The weights of [`attention()`], before any is dropped, `[rows, heads, queries, keys]`: for
/// whoever wants to see them.
///
/// # Errors
/// If the shapes do not fit.
pub fn attention_weights(query: &Tensor, key: &Tensor, with: Attention) -> Result<Tensor> {
    let query = split_heads(query, with.heads)?;
    let key = repeat_heads(key, with.heads, with.width)?;
    let scores = query.matmul(&key.t()?)?;
    let (scores, scale) = match with.bias {
        Some(bias) => {
            let scores = if with.scale == 1.0 { scores } else { scores.affine(with.scale, 0.0)? };
            (scores.broadcast_add(&bias.to_dtype(query.dtype())?)?, 1.0)
        }
        None => (scores, with.scale),
    };
    masked_softmax(&scores, scale, with.mask)
}

/// What [`attention()`] gives under these weights.
///
/// # Errors
/// If the shapes do not fit.
pub fn attention_of(weights: &Tensor, value: &Tensor, with: Attention) -> Result<Tensor> {
    let dropped = dropout(weights, with.share, with.key, with.site)?;
    merge_heads(&dropped.matmul(&repeat_heads(value, with.heads, with.width)?)?)
}

/// `[rows, length, heads · width]` as `[rows, heads, length, width]`.
fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, length, width) = x.dims3()?;
    x.reshape((rows, length, heads, width / heads))?.transpose(1, 2)?.contiguous()
}

/// Back from [`split_heads`].
fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (rows, heads, length, width) = x.dims4()?;
    x.transpose(1, 2)?.reshape((rows, length, heads * width))
}

/// Keys or values `[rows, length, shared · width]` as `[rows, heads, length, width]`, repeated for
/// the heads that share them.
fn repeat_heads(x: &Tensor, heads: usize, width: usize) -> Result<Tensor> {
    let (rows, length, numbers) = x.dims3()?;
    let shared = numbers / width;
    let x = split_heads(x, shared)?;
    if shared == heads {
        return Ok(x);
    }
    x.unsqueeze(2)?
        .broadcast_as((rows, shared, heads / shared, length, width))?
        .reshape((rows, heads, length, width))
}

/// The activation of each number.
///
/// # Errors
/// If `x` is not a float tensor.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match x.device().is_cpu() {
        true => apply(activation, &[&x.contiguous()?]),
        false => composed::activate(x, activation),
    }
}

/// Sum of the cross-entropy of each row of `logits` `[n, classes]` against its label, in nats.
///
/// # Errors
/// If the shapes do not fit or a label is no class.
pub fn cross_entropy_sum(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (rows, classes) = logits.dims2()?;
    check_labels(labels, rows, classes)?;
    match logits.device().is_cpu() {
        true => logits
            .contiguous()?
            .apply_op1(cross_entropy::CrossEntropySum { labels: labels.to_vec(), classes }),
        false => composed::cross_entropy_sum(logits, &Tensor::new(labels, logits.device())?),
    }
}

/// Sum over rows of `T² KL(softmax(teacher / T) ‖ softmax(student / T))`, in nats; both are `[n,
/// classes]`, and no gradient reaches the teacher.
///
/// # Errors
/// If the shapes do not fit.
pub fn divergence_sum(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let (_, classes) = student.dims2()?;
    if student.dims() != teacher.dims() {
        let (student, teacher) = (student.dims(), teacher.dims());
        candle_core::bail!("logits {student:?} do not fit those of a teacher, {teacher:?}");
    }
    if !student.device().is_cpu() {
        return composed::divergence_sum(student, &teacher.detach(), temperature);
    }
    let teacher = teacher.detach().to_dtype(student.dtype())?.contiguous()?;
    let kernel = divergence::DivergenceSum { teacher, temperature, classes };
    apply(kernel, &[&student.contiguous()?])
}

/// What the rows of a cross-entropy are to predict.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// The label of each row.
    pub labels: &'a [u32],
    /// What the loss of each counts; 1 where there is nothing.
    pub weights: Option<&'a [f32]>,
    /// Where the loss of each goes, before it is weighted.
    pub losses: Option<&'a Losses>,
}

impl<'a> Targets<'a> {
    /// Labels that count the same.
    pub fn of(labels: &'a [u32]) -> Self {
        Targets { labels, weights: None, losses: None }
    }
}

/// Losses of rows, in their order, as a kernel leaves them behind.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Mutex<Vec<f32>>>);

impl Losses {
    /// Those that were left since this was asked last.
    pub fn take(&self) -> Vec<f32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, losses: impl Iterator<Item = f32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(losses);
    }
}

/// [`cross_entropy_sum`] of `x · weightᵀ + bias`, for `x` `[n, width]` and `weight` `[classes,
/// width]`, each row by its weight. Logits are held for some rows at a time, in f32 where `x` is of
/// halves; `expected` is what the sum will be multiplied with before it is differentiated, which
/// saves doing so with its gradients.
///
/// # Errors
/// If the shapes do not fit or a label is no class.
pub fn linear_cross_entropy_sum(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    targets: &Targets,
    expected: f64,
) -> Result<Tensor> {
    check_labels(targets.labels, x.dim(0)?, weight.dim(0)?)?;
    if targets.weights.is_some_and(|weights| weights.len() != targets.labels.len()) {
        candle_core::bail!("there is not one weight for each of {} labels", targets.labels.len());
    }
    if !x.device().is_cpu() {
        let logits = linear(x, weight, bias)?;
        return match x.dtype() {
            DType::BF16 | DType::F16 => {
                composed::targets_sum(&logits.to_dtype(DType::F32)?, targets)
            }
            _ => composed::targets_sum(&logits, targets),
        };
    }

    let tracked = [Some(x), Some(weight), bias].into_iter().flatten().any(Tensor::track_op);
    let expected = tracked.then_some(expected);
    let kernel =
        linear_cross_entropy::LinearCrossEntropy::new(targets, expected, weight.track_op());
    let (x, weight) = (x.contiguous()?, weight.to_dtype(x.dtype())?.contiguous()?);
    let inputs: Vec<&Tensor> = [&x, &weight].into_iter().chain(bias).collect();
    apply(kernel, &inputs)
}

fn check_labels(labels: &[u32], rows: usize, classes: usize) -> Result<()> {
    if rows != labels.len() || labels.iter().any(|label| *label as usize >= classes) {
        candle_core::bail!("{} labels do not fit {rows} rows of {classes} classes", labels.len());
    }
    Ok(())
}

/// Rows of a table by index; the shape is that of `ids` with the row width behind it.
///
/// # Errors
/// If an index is out of range.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut dims = ids.dims().to_vec();
    dims.push(table.dim(1)?);
    table.index_select(&ids.flatten_all()?, 0)?.reshape(dims)
}

/// Which activations are dropped: a pure function of these, so that a recomputation drops the same.
#[derive(Clone, Copy, Debug)]
pub struct DropoutKey {
    /// Seed of the run.
    pub seed: u64,
    /// Optimiser step.
    pub step: u64,
    /// Microbatch in the step.
    pub microbatch: u64,
    /// The loss term whose forward pass this is.
    pub term: &'static str,
}

impl DropoutKey {
    fn place(&self, site: &str) -> String {
        format!("{}/{}/{}/{site}", self.step, self.microbatch, self.term)
    }
}

/// Drops the share `p` of activations and scales up the rest; `site` names the place in the model.
///
/// # Errors
/// If `x` is not a float tensor.
pub fn dropout(x: &Tensor, p: f64, key: Option<DropoutKey>, site: &str) -> Result<Tensor> {
    let Some(key) = key.filter(|_| p > 0.0) else { return Ok(x.clone()) };
    let kernel = dropout::Dropout::new(x.elem_count(), p, key.seed, &key.place(site));
    match x.device().is_cpu() {
        true => apply(kernel, &[&x.contiguous()?]),
        false => composed::dropout(x, &kernel.kept, kernel.scale),
    }
}

/// `x` plus [`dropout()`] of a branch, as one operation.
///
/// # Errors
/// If the shapes do not fit.
pub fn residual(
    x: &Tensor,
    branch: &Tensor,
    p: f64,
    key: Option<DropoutKey>,
    site: &str,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x + dropout(branch, p, key, site)?;
    }
    let key = key.filter(|_| p > 0.0);
    let dropout =
        key.map(|key| dropout::Dropout::new(x.elem_count(), p, key.seed, &key.place(site)));
    apply(residual::Residual { dropout }, &[&x.contiguous()?, &branch.contiguous()?])
}

/// A float tensor's only number.
///
/// # Errors
/// If it has more than one.
pub fn number(x: &Tensor) -> Result<f64> {
    x.to_dtype(DType::F64)?.to_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;
    use candle_core::Var;

    fn random(shape: &[usize], key: &str) -> Tensor {
        let mut stream = draw::stream(1, "kernels", key.as_bytes());
        let n = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|_| draw::next_normal(&mut stream)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Central differences against the backward of `f`, weighted so that no direction cancels. `x`
    /// is a transposed view.
    fn check(name: &str, shape: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) {
        let mut flipped = shape.to_vec();
        flipped.reverse();
        let var = Var::from_tensor(&random(&flipped, name)).unwrap();
        let loss = |x: &Tensor| {
            let y = f(&x.t().unwrap()).unwrap();
            let weights = random(y.dims(), "weights");
            (y * weights).unwrap().sum_all().unwrap()
        };
        let gradient = loss(&var)
            .backward()
            .unwrap()
            .get(&var)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap();

        let values = var.as_detached_tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for idx in 0..values.len() {
            let at = |delta: f64| {
                let mut moved = values.clone();
                moved[idx] += delta;
                let x = Tensor::from_vec(moved, flipped.as_slice(), &Device::Cpu).unwrap();
                loss(&x).to_scalar::<f64>().unwrap()
            };

            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            let close = (slope - gradient[idx]).abs() <= 1e-6 * gradient[idx].abs().max(1.0);
            assert!(close, "{name}[{idx}]: {slope} by differences, {} by backward", gradient[idx]);
        }
    }

    #[test]
    fn every_kernel_has_the_right_gradient() {
        let (w, b) = (random(&[5, 4], "w"), random(&[5], "b"));
        check("linear", &[3, 4], |x| linear(x, &w, Some(&b)));
        check("product", &[3, 5], |x| product(x, &w, None));
        check("product_weight", &[4, 5], |w| product(&random(&[3, 4], "x"), w, None));
        check("add_bias", &[5, 1], |bias| {
            linear(&random(&[70, 4], "x"), &w, Some(&bias.flatten_all()?))
        });
        let (w, b) = (random(&[4], "nw"), random(&[4], "nb"));
        check("layer_norm", &[3, 4], |x| layer_norm(x, &w, &b, 1e-5));
        check("norm_weight", &[4, 1], |w| {
            layer_norm(&random(&[70, 4], "x"), &w.flatten_all()?, &b, 1e-5)
        });
        check("norm_bias", &[4, 1], |b| {
            layer_norm(&random(&[70, 4], "x"), &w, &b.flatten_all()?, 1e-5)
        });
        // A row masked everywhere is at -1e9, where f64 itself is too coarse for differences.
        let seen = mask().narrow(0, 0, 1).unwrap().repeat((2, 1, 1)).unwrap();
        check("masked_softmax", &[4, 6], |x| masked_softmax(&x.reshape((2, 2, 1, 6))?, 0.7, &seen));
        let causal = Tensor::new(&[[[0.0, f64::from(MASKED)], [0.0, 0.0]]], &Device::Cpu).unwrap();
        check("causal_softmax", &[4, 2], |x| {
            masked_softmax(&x.reshape((1, 2, 2, 2))?, 0.7, &causal)
        });

        for activation in ACTIVATIONS {
            check(&format!("{activation:?}"), &[3, 25], |x| activate(x, activation));
        }
        check("rms_norm", &[3, 4], |x| rms_norm(x, &w.narrow(0, 0, 4)?, 1e-5));
        check("rms_weight", &[4, 1], |w| rms_norm(&random(&[70, 4], "x"), &w.flatten_all()?, 1e-5));
        let key = DropoutKey { seed: 1, step: 2, microbatch: 0, term: "test" };
        check_attention(None);
        check_attention(Some(key));

        let (gate, up) = (random(&[5, 4], "gate"), random(&[5, 4], "up"));
        for activation in ACTIVATIONS {
            check("gated", &[3, 4], |x| gated(x, &gate, &up, activation));
            check("gate", &[5, 4], |gate| gated(&random(&[3, 4], "x"), gate, &up, activation));
            check("up", &[5, 4], |up| gated(&random(&[3, 4], "x"), &gate, up, activation));
        }

        check("rope", &[6, 4], |x| rope(&x.reshape((1, 3, 8))?, &[1.0, 0.1]));
        check("cross_entropy", &[3, 4], |x| cross_entropy_sum(x, &[2, 0, 2]));
        let (head, bias) = (random(&[5, 4], "head"), random(&[5], "head bias"));
        let chosen = random(&[3, 4], "chosen");
        let entropy = |x: &Tensor, w: &Tensor, b: Option<&Tensor>| {
            let targets = Targets { weights: Some(&[1.0, 0.25, 2.0]), ..Targets::of(&[2, 0, 4]) };
            linear_cross_entropy_sum(x, w, b, &targets, 1.0)
        };
        check("linear_cross_entropy", &[3, 4], |x| entropy(x, &head, Some(&bias)));
        check("linear_cross_entropy_weight", &[5, 4], |w| entropy(&chosen, w, None));
        check("linear_cross_entropy_bias", &[5, 1], |bias| {
            entropy(&chosen, &head, Some(&bias.flatten_all()?))
        });
        let ids = Tensor::new(&[[2_u32, 0], [2, 1]], &Device::Cpu).unwrap();
        check("embedding", &[3, 4], |x| embedding(&x.contiguous()?, &ids));
        check("dropout", &[3, 4], |x| dropout(x, 0.5, Some(key), "here"));
        let other = random(&[3, 4], "other");

        for key in [None, Some(key)] {
            check("residual", &[3, 4], |x| residual(x, &other, 0.5, key, "here"));
            check("residual_branch", &[3, 4], |branch| residual(&other, branch, 0.5, key, "here"));
        }

        for activation in ACTIVATIONS {
            let (w, b) = (random(&[5, 4], "w"), random(&[5], "b"));
            check(&format!("linear_{activation:?}"), &[3, 4], |x| {
                linear_activated(x, &w, Some(&b), activation)
            });
            check(&format!("{activation:?}_weight"), &[4, 5], |w| {
                product_activated(&other, w, None, activation)
            });
        }
    }

    /// The gradients of attention by queries, keys, values, all of them joined, and the bias: two
    /// rows, four heads 3 wide of which two share keys, 3 queries, 5 keys.
    fn check_attention(key: Option<DropoutKey>) {
        let (mask, bias) = (random(&[2, 3, 5], "mask"), random(&[1, 4, 3, 5], "bias"));
        let with = Attention { key, ..plain(4, 3, &mask) };
        let part = |nth: usize| match nth {
            0 => random(&[2, 3, 12], "query"),
            _ => random(&[2, 5, 6], &format!("part {nth}")),
        };

        for nth in 0..3 {
            for bias in [None, Some(&bias)] {
                let size = [part(nth).elem_count() / 3, 3];
                check(&format!("attention of {nth}"), &size, |x| {
                    let parts = [0, 1, 2].map(|other| match other == nth {
                        true => x.reshape(part(nth).shape()).unwrap(),
                        false => part(other),
                    });
                    let [query, key, value] = parts;
                    let with = Attention { bias, ..with };
                    attention(&Projected::Apart { query, key, value }, with)
                });
            }
        }

        check("attention's bias", &[20, 3], |bias| {
            let [query, key, value] = [0, 1, 2].map(part);
            let bias = Some(&bias.reshape((1, 4, 3, 5))?);
            attention(&Projected::Apart { query, key, value }, Attention { bias, ..with })
        });
        // Everything learns at once.
        check("attention's all", &[20, 3], |x| {
            let bias = Some(&x.reshape((1, 4, 3, 5))?);
            let key = x.reshape((2, 5, 6))?;
            let projected = Projected::Apart { query: part(0), key: key.clone(), value: key };
            attention(&projected, Attention { bias, ..with })
        });
        let mask = random(&[2, 1, 5], "one mask");
        check("joined attention", &[30, 6], |x| {
            let joined = Projected::Joined(x.reshape((2, 5, 18))?);
            attention(&joined, Attention { key, ..plain(2, 3, &mask) })
        });
    }

    /// Whatever is never computed since it is masked: of long rows that look back, of packed texts,
    /// of padding, and of queries that see nothing.
    #[test]
    fn attention_leaves_out_what_is_masked_alone() {
        let (rows, length, heads, width) = (3, 300, 2, 4);
        let far = f64::from(MASKED);
        let seen = |row: usize, query: usize, key: usize| match row {
            0 => key <= query,
            1 => key / 70 == query / 70 && query < 280,
            _ => (20..150).contains(&key),
        };
        let places = (0..rows * length * length)
            .map(|at| (at / (length * length), at / length % length, at % length));
        let mask = places.map(|(row, query, key)| if seen(row, query, key) { 0.0 } else { far });
        let mask: Vec<f64> = mask.collect();
        let mask = Tensor::from_vec(mask, (rows, length, length), &Device::Cpu).unwrap();

        let joined = Var::from_tensor(&random(&[rows, length, 3 * heads * width], "joined"));
        let bias = Var::from_tensor(&random(&[1, heads, length, length], "bias"));
        let (joined, bias) = (joined.unwrap(), bias.unwrap());
        let flowing = random(&[rows, length, heads * width], "flowing");
        let projected = Projected::Joined(joined.as_tensor().clone());
        let [query, key, value] = projected.apart().unwrap();

        for bias in [None, Some(bias.as_tensor())] {
            let with = Attention { bias, ..plain(heads, width, &mask) };
            let weights = attention_weights(&query, &key, with).unwrap();
            let twin = attention_of(&weights, &value, with).unwrap();
            let ours = attention(&projected, with).unwrap();
            let [ours, twin] = [ours, twin].map(|out| {
                let loss = (&out * &flowing).unwrap().sum_all().unwrap();
                let gradients = loss.backward().unwrap();
                let learns = [Some(joined.as_tensor()), bias];
                let gradients = learns.into_iter().flatten().map(|x| gradients.get(x).unwrap());
                gradients.cloned().chain([out]).collect::<Vec<Tensor>>()
            });
            for (ours, twin) in ours.iter().zip(&twin) {
                let off = (ours - twin).unwrap().abs().unwrap().flatten_all().unwrap();
                let off = number(&off.max(0).unwrap()).unwrap();
                assert!(off < 1e-12, "{:?} is off by {off}", ours.dims());
            }
        }
    }

    fn plain(heads: usize, width: usize, mask: &Tensor) -> Attention<'_> {
        let (scale, share, site) = (0.6, 0.3, "here");
        Attention { heads, width, scale, mask, bias: None, share, key: None, site }
    }

    const ACTIVATIONS: [Activation; 4] =
        [Activation::Gelu, Activation::GeluNew, Activation::Silu, Activation::Relu];

    fn mask() -> Tensor {
        let far = f64::from(MASKED);
        Tensor::new(&[[[0.0, 0.0, 0.0, far, 0.0, far]], [[far; 6]]], &Device::Cpu).unwrap()
    }

    fn scores_of() -> Tensor {
        random(&[2, 3, 5, 6], "scores")
    }

    #[test]
    fn kernels_equal_their_composed_twins() {
        let same = |name: &str, ours: Tensor, twin: Tensor| {
            let off = (ours - twin).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let off = number(&off).unwrap();
            assert!(off < 1e-12, "{name} is off by {off}");
        };
        let (x, w, b) = (random(&[130, 6], "x"), random(&[6], "w"), random(&[6], "b"));
        same(
            "layer_norm",
            layer_norm(&x, &w, &b, 1e-12).unwrap(),
            composed::layer_norm(&x, &w, &b, 1e-12).unwrap(),
        );
        let scores = scores_of();
        let twin = composed::masked_softmax(&scores, 0.3, &mask()).unwrap();
        same("masked_softmax", masked_softmax(&scores, 0.3, &mask()).unwrap(), twin);

        for activation in ACTIVATIONS {
            let twin = composed::activate(&x, activation).unwrap();
            same(&format!("{activation:?}"), activate(&x, activation).unwrap(), twin);
        }

        same(
            "rms_norm",
            rms_norm(&x, &w, 1e-6).unwrap(),
            composed::rms_norm(&x, &w, 1e-6).unwrap(),
        );
        let heads = random(&[2, 5, 12], "heads");
        let (sin, cos): (Vec<f64>, Vec<f64>) =
            (0..5).flat_map(|place| [1.0, 0.1].map(|f| (f64::from(place) * f).sin_cos())).unzip();
        let table = |values| Tensor::from_vec(values, (5, 2), &Device::Cpu).unwrap();
        let twin = composed::rope(&split_heads(&heads, 3).unwrap(), &table(cos), &table(sin));
        let twin = merge_heads(&twin.unwrap()).unwrap();
        same("rope", rope(&heads, &[1.0, 0.1]).unwrap(), twin);

        let (bias, seen) = (random(&[1, 4, 5, 6], "bias"), mask());
        for shared in [1, 2, 4] {
            let query = random(&[2, 5, 12], "q");
            let part = |name: &str| random(&[2, 6, 3 * shared], name);
            let projected = Projected::Apart { query, key: part("k"), value: part("v") };
            for bias in [None, Some(&bias)] {
                let with = Attention { bias, ..plain(4, 3, &seen) };
                let [query, key, value] = projected.apart().unwrap();
                let weights = attention_weights(&query, &key, with).unwrap();
                let twin = attention_of(&weights, &value, with).unwrap();
                same("attention", attention(&projected, with).unwrap(), twin);
            }
        }
        let joined = Projected::Joined(random(&[2, 6, 36], "joined"));
        let [query, key, value] = joined.apart().unwrap();
        let apart = Projected::Apart { query, key, value };
        let with = plain(4, 3, &seen);
        same("joined", attention(&joined, with).unwrap(), attention(&apart, with).unwrap());

        let (gate, up) = (random(&[5, 6], "gate"), random(&[5, 6], "up"));
        for activation in ACTIVATIONS {
            let gate_of = linear_activated(&x, &gate, None, activation).unwrap();
            let twin = (gate_of * linear(&x, &up, None).unwrap()).unwrap();
            same("gated", gated(&x, &gate, &up, activation).unwrap(), twin);
        }
        let x = random(&[130, 6], "x");
        let by_query = random(&[2, 5, 6], "by query");
        let twin = composed::masked_softmax(&scores_of(), 0.3, &by_query).unwrap();
        same("masked by query", masked_softmax(&scores_of(), 0.3, &by_query).unwrap(), twin);
        let labels: Vec<u32> = (0..130).map(|row| row % 6).collect();
        let twin =
            composed::cross_entropy_sum(&x, &Tensor::new(labels.as_slice(), &Device::Cpu).unwrap())
                .unwrap();
        let ours = cross_entropy_sum(&x, &labels).unwrap();
        same("cross_entropy", ours.reshape(1).unwrap(), twin.reshape(1).unwrap());
        let (weight, bias) = (random(&[5, 6], "weight"), random(&[5], "bias"));
        let twin = composed::add_bias(&x.matmul(&weight.t().unwrap()).unwrap(), &bias).unwrap();
        same("linear", linear(&x, &weight, Some(&bias)).unwrap(), twin.clone());
        let ours = linear_activated(&x, &weight, Some(&bias), Activation::GeluNew).unwrap();
        same("linear_activated", ours, activate(&twin, Activation::GeluNew).unwrap());
        let key = Some(DropoutKey { seed: 1, step: 2, microbatch: 0, term: "test" });
        let twin = (&x + dropout(&x, 0.3, key, "here").unwrap()).unwrap();
        same("residual", residual(&x, &x, 0.3, key, "here").unwrap(), twin);
        let of_logits =
            cross_entropy_sum(&linear(&x, &weight, Some(&bias)).unwrap(), &vec![3; 130]).unwrap();
        let targets = Targets::of(&[3; 130]);
        let ours = linear_cross_entropy_sum(&x, &weight, Some(&bias), &targets, 1.0).unwrap();
        same("linear_cross_entropy", ours.reshape(1).unwrap(), of_logits.reshape(1).unwrap());
        let weights: Vec<f32> = (0..130).map(|row| row as f32 / 65.0).collect();
        let (left, right) = (Losses::default(), Losses::default());
        let weighted = Targets { weights: Some(&weights), ..targets };
        let ours = Targets { losses: Some(&left), ..weighted };
        let ours = linear_cross_entropy_sum(&x, &weight, Some(&bias), &ours, 1.0).unwrap();
        let logits = linear(&x, &weight, Some(&bias)).unwrap();
        let twin = Targets { losses: Some(&right), ..weighted };
        let twin = composed::targets_sum(&logits, &twin).unwrap();
        same("targets", ours.reshape(1).unwrap(), twin.reshape(1).unwrap());
        let (left, right) = (left.take(), right.take());
        assert_eq!((left.len(), right.len()), (130, 130));
        assert!(left.iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-5));
        let teacher = random(&[130, 6], "teacher");
        for temperature in [0.5, 1.0, 2.0] {
            let twin = composed::divergence_sum(&x, &teacher, temperature).unwrap();
            let ours = divergence_sum(&x, &teacher, temperature).unwrap();
            same("divergence", ours.reshape(1).unwrap(), twin.reshape(1).unwrap());
        }
        let none = divergence_sum(&teacher, &teacher, 2.0).unwrap().to_scalar::<f64>().unwrap();
        assert!(none.abs() < 1e-12, "{none}");
        assert!(divergence_sum(&x, &random(&[130, 5], "other"), 1.0).is_err());
        assert!(attention(&joined, plain(5, 3, &mask())).is_err());
        assert!(attention(&apart, plain(4, 2, &mask())).is_err());
        assert!(gated(&x, &gate, &up.t().unwrap(), Activation::Silu).is_err());
        assert!(cross_entropy_sum(&x, &[7; 130]).is_err());
        let wrong =
            |targets: Targets| linear_cross_entropy_sum(&x, &weight, None, &targets, 1.0).is_err();
        assert!(wrong(Targets::of(&[5; 130])));
        assert!(wrong(Targets { weights: Some(&[1.0]), ..Targets::of(&[3; 130]) }));
        let kept: Vec<bool> = (0..780).map(|idx| idx % 3 > 0).collect();
        let twin = composed::dropout(&x, &kept, 1.5).unwrap();

        same("dropout", apply(dropout::Dropout { kept, scale: 1.5 }, &[&x]).unwrap(), twin);
    }

    #[test]
    fn dropout_is_keyed_and_keeps_the_mean() {
        let x = Tensor::ones(40_000, DType::F32, &Device::Cpu).unwrap();
        let drop = |step, site| {
            let key = DropoutKey { seed: 1, step, microbatch: 0, term: "mlm" };
            dropout(&x, 0.1, Some(key), site).unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(drop(3, "a"), drop(3, "a"));
        assert_ne!(drop(3, "a"), drop(4, "a"));
        assert_ne!(drop(3, "a"), drop(3, "b"));
        let mean = drop(3, "a").iter().sum::<f32>() / 40_000.0;

        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_row_masked_everywhere_is_finite() {
        let scores = Tensor::zeros((1, 1, 1, 4), DType::F32, &Device::Cpu).unwrap();
        let mask = Tensor::full(MASKED, (1, 1, 4), &Device::Cpu).unwrap();
        let weights = masked_softmax(&scores, 1.0, &mask).unwrap().flatten_all().unwrap();
        assert_eq!(weights.to_vec1::<f32>().unwrap(), [0.25; 4]);
    }
}
