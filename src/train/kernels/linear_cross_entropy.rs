//! Sum of the cross-entropies of `x · weightᵀ + bias` against labels, without all logits at once.
//!
//! Logits over a vocabulary are by far the largest numbers of a step. They are computed for some
//! rows at a time, and their gradient is used up before the next rows' take their place, so nothing
//! is computed twice (`linkedin/Liger-Kernel:src/liger_kernel/ops/fused_linear_cross_entropy.py`).

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Layout, Result, Shape, Tensor, WithDType};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::cross_entropy::exp_above;
use super::instructions::{Instructions, vectorised};
use super::operation::Operation;
use super::product::{Factor, Matrix, product};
use super::real::Real;
use super::rows::{Products, ROWS, run_products, sum_of_rows, tensor};
use super::{Losses, Targets};

/// Bytes of logits at once.
const LOGITS: usize = 128 << 20;

/// See the module; `x` is `[n, width]`, the weight `[classes, width]`.
pub(super) struct LinearCrossEntropy {
    labels: Vec<u32>,
    /// What the loss of each row counts; 1 where there is nothing.
    weights: Option<Vec<f32>>,
    /// Where the losses go, before they are weighted.
    losses: Option<Losses>,
    /// What the gradient by the sum will be; `None` where none will be asked for.
    expected: Option<f64>,
    /// Whether the gradient by the weight will be asked for as well.
    is_trained: bool,
    /// The gradients for it, once they are computed.
    gradients: Mutex<Option<Vec<Option<Tensor>>>>,
    most_logits: usize,
}

impl LinearCrossEntropy {
    pub(super) fn new(targets: &Targets, expected: Option<f64>, is_trained: bool) -> Self {
        LinearCrossEntropy {
            labels: targets.labels.to_vec(),
            weights: targets.weights.map(<[f32]>::to_vec),
            losses: targets.losses.cloned(),
            expected,
            is_trained,
            gradients: Mutex::new(None),
            most_logits: LOGITS,
        }
    }

    /// Logits and the sum are `T`; their gradient is of the type of `x` before it is multiplied.
    /// The gradients by `x` and the weight become `dtype`.
    fn sum<T: Real, S: Simd>(
        &self,
        simd: S,
        inputs: &[(&CpuStorage, &Layout)],
        dtype: DType,
    ) -> Result<T> {
        let ((x, x_at), weight) = (inputs[0], inputs[1]);
        let bias = inputs.get(2).map(|(bias, layout)| T::read(bias, layout)).transpose()?;
        let (n, width) = x_at.shape().dims2()?;
        let (classes, _) = weight.1.shape().dims2()?;
        let (wide_x, wide_weight) = (T::read(x, x_at)?, T::read(weight.0, weight.1)?);
        let rows_of_x = Matrix::new(&wide_x, n, width);
        let columns = Matrix::new(&wide_weight, classes, width).t();
        let mut total = 0.0;
        let mut gradients = Sums { x: Vec::new(), weight: Vec::new(), bias: Vec::new() };

        for rows in chunks(n, self.most_logits / (classes * size_of::<T>()).max(1)) {
            let (first, n) = (rows.start, rows.len());
            let mut logits = product(rows_of_x.rows(first, n), columns, bias.as_deref());
            total += self.entropy(simd, &mut logits, first, classes);
            if self.expected.is_none() {
                continue;
            }

            if bias.is_some() {
                let sum = sum_of_rows(simd, n, classes, |row, total| {
                    add(total, &logits[row * classes..][..classes])
                });
                gradients.bias = added(std::mem::take(&mut gradients.bias), sum);
            }

            let (logits, shape) = (T::store(logits, x)?, Shape::from((n, classes)));
            let logits = (&logits, &Layout::contiguous(shape));
            let rows = Rows { n, width, classes };
            gradients.x.push(tensor(run_products(&ByInput(rows), &[logits, weight])?, (n, width))?);

            if self.is_trained {
                let x_at = x_at.narrow(0, first, n)?;
                let sum = run_products(&ByWeight(rows), &[logits, (x, &x_at)])?;
                let sum = T::take(sum, &Layout::contiguous((classes, width)))?;
                gradients.weight = added(std::mem::take(&mut gradients.weight), sum);
            }
        }

        if self.expected.is_some() {
            let of_x = match &gradients.x[..] {
                [] => tensor(T::store(Vec::new(), x)?, (n, width))?,
                pieces => Tensor::cat(pieces, 0)?,
            };
            let of_weight = self
                .is_trained
                .then(|| tensor(T::store(gradients.weight, weight.0)?, (classes, width)));
            let of_weight = of_weight.transpose()?.map(|of_weight| of_weight.to_dtype(dtype));
            let mut kept = vec![Some(of_x.to_dtype(dtype)?), of_weight.transpose()?];

            if bias.is_some() {
                kept.push(Some(Tensor::from_vec(gradients.bias, classes, &Device::Cpu)?));
            }
            *self.gradients.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }

        Ok(T::from_f64(total))
    }

    /// The sum over some rows, the first of which is `first`; where a gradient is asked for, the
    /// logits become it.
    fn entropy<T: Real, S: Simd>(
        &self,
        simd: S,
        logits: &mut [T],
        first: usize,
        classes: usize,
    ) -> f64 {
        let expected = self.expected.map(T::from_f64);
        let of_row = |row: usize, logits: &mut [T]| {
            let label = self.labels[row] as usize;
            let (own, (most, above)) = (logits[label], exp_above(logits));
            if let Some(grad) = expected {
                let grad = grad * T::from_f64(self.weight(row));
                let scale = grad / above;
                logits.iter_mut().for_each(|logit| *logit *= scale);
                logits[label] -= grad;
            }
            (most - own).to_f64() + above.to_f64().ln()
        };

        let groups = logits.par_chunks_mut(ROWS * classes).enumerate();
        let groups = groups.map(|(group, logits)| {
            let mut losses = Vec::with_capacity(ROWS);
            simd.vectorize(|| {
                for (nth, logits) in logits.chunks_mut(classes).enumerate() {
                    losses.push(of_row(first + group * ROWS + nth, logits));
                }
            });
            losses
        });

        let groups: Vec<Vec<f64>> = groups.collect();
        let mut row = first;
        let sums = groups.iter().map(|group| {
            let mut sum = 0.0;
            for loss in group {
                sum += self.weight(row) * loss;
                row += 1;
            }
            sum
        });
        let total = sums.sum();
        if let Some(losses) = &self.losses {
            losses.add(groups.iter().flatten().map(|loss| *loss as f32));
        }
        total
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]))
    }
}

impl Operation for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear-cross-entropy"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        Ok((vectorised(Forward { of: self, inputs })?, Shape::from(())))
    }

    fn backward(&self, _: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let kept = self.gradients.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(kept), Some(expected)) = (kept, self.expected) else {
            candle_core::bail!(
                "the gradients of this cross-entropy were not asked for, or were taken before"
            )
        };
        let factor = super::number(grad)?
            / super::number(&Tensor::new(expected, grad.device())?.to_dtype(grad.dtype())?)?;

        match factor == 1.0 {
            true => Ok(kept),
            false => {
                let scaled = |gradient: &Tensor| gradient.affine(factor, 0.0);
                kept.iter().map(|gradient| gradient.as_ref().map(scaled).transpose()).collect()
            }
        }
    }
}

/// The forward pass, in the type of the inputs.
struct Forward<'a> {
    of: &'a LinearCrossEntropy,
    inputs: &'a [(&'a CpuStorage, &'a Layout)],
}

impl WithSimd for Forward<'_> {
    type Output = Result<CpuStorage>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<CpuStorage> {
        let Forward { of, inputs } = self;
        let dtype = inputs.first().map_or(DType::F32, |(storage, _)| storage.dtype());
        let as_they_are = match dtype {
            DType::F16 => false,
            DType::BF16 => Instructions::used().multiplies_bf16(),
            _ => true,
        };
        // Logits and losses of halves are f32.
        Ok(match (dtype, as_they_are) {
            (DType::F64, _) => {
                f64::to_cpu_storage_owned(vec![of.sum::<f64, S>(simd, inputs, dtype)?])
            }
            (_, true) => f32::to_cpu_storage_owned(vec![of.sum::<f32, S>(simd, inputs, dtype)?]),
            // What is multiplied in f32 becomes so once, not with each of the products.
            (_, false) => {
                let wide = |(storage, at): &(&CpuStorage, &Layout)| {
                    Ok((storage.to_dtype(at, DType::F32)?, Layout::contiguous(at.shape())))
                };
                let inputs: Vec<(CpuStorage, Layout)> =
                    inputs.iter().map(wide).collect::<Result<_>>()?;
                let inputs: Vec<_> = inputs.iter().map(|(storage, at)| (storage, at)).collect();
                f32::to_cpu_storage_owned(vec![of.sum::<f32, S>(simd, &inputs, dtype)?])
            }
        })
    }
}

/// Rows of `x`, and of the weight.
#[derive(Clone, Copy)]
struct Rows {
    n: usize,
    width: usize,
    classes: usize,
}

/// The gradient by `x`, from that by the logits and the weight.
struct ByInput(Rows);

impl Products for ByInput {
    fn run<T: Factor>(&self, inputs: &[&[T]]) -> Vec<T> {
        let Rows { n, width, classes } = self.0;
        product(Matrix::new(inputs[0], n, classes), Matrix::new(inputs[1], classes, width), None)
    }
}

/// The gradient by the weight, from that by the logits and `x`.
struct ByWeight(Rows);

impl Products for ByWeight {
    fn run<T: Factor>(&self, inputs: &[&[T]]) -> Vec<T> {
        let Rows { n, width, classes } = self.0;
        product(Matrix::new(inputs[0], n, classes).t(), Matrix::new(inputs[1], n, width), None)
    }
}

/// Gradients of the rows so far.
struct Sums<T> {
    x: Vec<Tensor>,
    weight: Vec<T>,
    bias: Vec<T>,
}

fn add<T: Real>(total: &mut [T], more: &[T]) {
    total.iter_mut().zip(more).for_each(|(total, more)| *total += *more);
}

/// `total + more`, where nothing yet is zero.
fn added<T: Real>(mut total: Vec<T>, more: Vec<T>) -> Vec<T> {
    if total.is_empty() {
        return more;
    }
    let width = ROWS * ROWS;
    total
        .par_chunks_mut(width)
        .zip(more.par_chunks(width))
        .for_each(|(total, more)| add(total, more));
    total
}

/// `0..n` in pieces of about the same size, at most `most` long but whole groups of rows, so that
/// sums over groups are the same however many pieces there are.
fn chunks(n: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let groups = n.div_ceil(ROWS);
    let pieces = groups.div_ceil((most / ROWS).max(1)).max(1);
    let rows = groups.div_ceil(pieces).max(1) * ROWS;
    (0..n.div_ceil(rows)).map(move |piece| piece * rows..n.min((piece + 1) * rows))
}

#[cfg(test)]
mod tests {
    use super::super::operation::apply;
    use super::*;
    use candle_core::Var;

    #[test]
    fn pieces_cover_all_rows_in_whole_groups() {
        for (n, most) in
            [(0, 10), (1, 0), (64, 64), (200, 64), (200, 100), (1016, 667), (1000, 1_000_000)]
        {
            let pieces: Vec<_> = chunks(n, most).collect();
            assert_eq!(pieces.iter().map(ExactSizeIterator::len).sum::<usize>(), n);
            assert!(
                pieces.windows(2).all(|two| two[0].end == two[1].start && two[0].end % ROWS == 0)
            );
            assert!(
                pieces.iter().all(|piece| piece.len() <= most.max(ROWS)),
                "{n} {most}: {pieces:?}"
            );
        }
    }

    /// Loss and gradients do not depend on how many rows are computed at once, but for the order of
    /// additions.
    #[test]
    fn pieces_change_nothing_but_roundings() {
        let numbers =
            |n: usize, by: f64| (0..n).map(|idx| (idx as f64 * by).sin()).collect::<Vec<f64>>();
        let var = |shape: &[usize], by| {
            Var::from_tensor(
                &Tensor::from_vec(numbers(shape.iter().product(), by), shape, &Device::Cpu)
                    .unwrap(),
            )
            .unwrap()
        };

        let (x, weight, bias) = (var(&[300, 5], 0.7), var(&[9, 5], 1.3), var(&[9], 2.1));
        let labels: Vec<u32> = (0..300).map(|row| row * 7 % 9).collect();
        let run = |most_logits: usize, grad: f64| {
            let kernel = LinearCrossEntropy {
                most_logits,
                ..LinearCrossEntropy::new(&Targets::of(&labels), Some(0.25), true)
            };
            let sum = apply(kernel, &[&x, &weight, &bias]).unwrap();
            let found = sum.affine(grad, 0.0).unwrap().backward().unwrap();
            let gradients = [&x, &weight, &bias].map(|var| {
                found.get(var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
            });
            (sum.to_scalar::<f64>().unwrap(), gradients.concat())
        };

        let (sum, gradients) = run(usize::MAX, 0.25);
        for (other, factor) in [(run(64 * 9 * 8, 0.25), 1.0), (run(usize::MAX, 0.5), 2.0)] {
            assert_eq!(other.0.to_bits(), sum.to_bits());
            let close = |(a, b): (&f64, &f64)| (a * factor - b).abs() < 1e-13;
            assert!(gradients.iter().zip(&other.1).all(close));
        }
    }
}
