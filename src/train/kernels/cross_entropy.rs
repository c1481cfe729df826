//! Sum of cross-entropies of rows of logits: `Σ (ln Σ eˡ − l[label])`, `dl = g · (softmax(l) − onehot(label))`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows};

/// See the module.
#[derive(Clone)]
pub(super) struct CrossEntropySum {
    /// The label of each row.
    pub(super) labels: Vec<u32>,
    pub(super) classes: usize,
}

/// The largest logit and `ln Σ eˡ` above it.
fn log_sum<T: WithDType>(logits: &[T]) -> (f64, f64) {
    let largest = logits.iter().map(|logit| logit.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    (largest, logits.iter().map(|logit| (logit.to_f64() - largest).exp()).sum::<f64>().ln())
}

impl Kernel for CrossEntropySum {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let total = sum_of_rows(self.labels.len(), 1, |row, total| {
            let logits = &inputs[0][row * self.classes..][..self.classes];
            let (largest, above) = log_sum(logits);
            total[0] += largest + above - logits[self.labels[row] as usize].to_f64();
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
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let CrossEntropySum { labels, classes } = self.0;
        let grad = inputs[1][0].to_f64();
        by_rows(labels.len(), *classes, |row, out| {
            let logits = &inputs[0][row * classes..][..*classes];
            let (largest, above) = log_sum(logits);
            for (idx, dl) in out.iter_mut().enumerate() {
                let hit = if idx == labels[row] as usize { 1.0 } else { 0.0 };
                *dl = T::from_f64(grad * ((logits[idx].to_f64() - largest - above).exp() - hit));
            }
        })
    }
}
