//! `y = x + bias` over rows: `dx = g`, `dbias = Σ g` over all rows.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows};

/// See the module.
pub(super) struct AddBias;

impl Kernel for AddBias {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, bias) = (inputs[0], inputs[1]);
        by_rows(x.len() / bias.len(), bias.len(), |row, out| {
            let x = &x[row * bias.len()..][..bias.len()];
            out.iter_mut().zip(x.iter().zip(bias)).for_each(|(y, (x, bias))| *y = *x + *bias);
        })
    }
}

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(x, lx), (b, lb)])?, lx.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, b: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = b.elem_count();
        Ok((Some(grad.clone()), Some(run_detached(&Columns(width), &[grad], width)?)))
    }
}

/// Sums of columns.
struct Columns(usize);

impl Kernel for Columns {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, width) = (inputs[0], self.0);
        let total = sum_of_rows(x.len() / width, width, |row, total| {
            total.iter_mut().zip(&x[row * width..][..width]).for_each(|(total, x)| *total += x.to_f64());
        });
        total.into_iter().map(T::from_f64).collect()
    }
}
