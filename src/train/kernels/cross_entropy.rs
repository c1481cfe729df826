//! Sum of cross-entropies of rows of logits: `Σ (ln Σ eˡ − l[label])`, `dl = g · (softmax(l) −
//! onehot(label))`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::real::{Real, largest, sum};
use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows};

/// See the module.
#[derive(Clone)]
pub(super) struct CrossEntropySum {
    /// The label of each row.
    pub(super) labels: Vec<u32>,
    pub(super) classes: usize,
}

/// The largest logit, and `Σ e^((l − largest) · colder)`.
#[inline(always)]
pub(super) fn sum_above<T: Real>(logits: &[T], colder: T) -> (T, T) {
    let most = largest(logits, |logit| logit);
    (most, sum(logits, |logit| ((logit - most) * colder).exp()))
}

/// The largest logit, and `Σ e^(l − largest)`, where each logit becomes its `e^(l − largest)`.
#[inline(always)]
pub(super) fn exp_above<T: Real>(logits: &mut [T]) -> (T, T) {
    let most = largest(logits, |logit| logit);
    logits.iter_mut().for_each(|logit| *logit = (*logit - most).exp());
    (most, sum(logits, |exp| exp))
}

impl Kernel for CrossEntropySum {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let total: Vec<f64> = sum_of_rows(simd, self.labels.len(), 1, |row, total| {
            let logits = &inputs[0][row * self.classes..][..self.classes];
            let (most, above) = sum_above(logits, T::from_f64(1.0));
            total[0] += (most - logits[self.labels[row] as usize]).to_f64() + above.to_f64().ln();
        });
        total.into_iter().map(T::from_f64).collect()
    }
}

impl CustomOp1 for CrossEntropySum {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(logits, layout)])?, Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_detached(&Backward(self), &[logits, grad], logits.shape()).map(Some)
    }
}

struct Backward<'a>(&'a CrossEntropySum);

impl Kernel for Backward<'_> {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let CrossEntropySum { labels, classes } = self.0;
        let grad = inputs[1][0];
        by_rows(simd, labels.len(), *classes, |row, out| {
            let logits = &inputs[0][row * classes..][..*classes];
            let (most, above) = sum_above(logits, T::from_f64(1.0));
            let scale = grad / above;
            out.iter_mut().zip(logits).for_each(|(dl, logit)| *dl = scale * (*logit - most).exp());
            out[labels[row] as usize] -= grad;
        })
    }
}
