//! `y = x + dropout(branch)`, which ends a branch of a block, as one operation: `dx = g`, and `dbranch` is `g` under the
//! same dropout.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::dropout::Dropout;
use super::real::Real;
use super::rows::{Kernel, by_rows, run, run_detached};

/// Numbers a task takes at once, a row of no meaning.
const CHUNK: usize = 256;

/// See the module.
pub(super) struct Residual {
    /// Which numbers of the branch are kept, where some are dropped.
    pub(super) dropout: Option<Dropout>,
}

impl Kernel for Residual {
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let (x, branch) = (inputs[0], inputs[1]);
        let chunk = if x.len().is_multiple_of(CHUNK) { CHUNK } else { 1 };
        by_rows(x.len() / chunk, chunk, |row, out| {
            let at = row * chunk..(row + 1) * chunk;
            let all = out.iter_mut().zip(x[at.clone()].iter().zip(&branch[at.clone()]));
            match &self.dropout {
                None => all.for_each(|(y, (x, branch))| *y = *x + *branch),
                Some(Dropout { kept, scale }) => {
                    let factors = [T::from_f64(0.0), T::from_f64(*scale)];
                    all.zip(&kept[at])
                        .for_each(|((y, (x, branch)), kept)| *y = *x + *branch * factors[usize::from(*kept)]);
                }
            }
        })
    }
}

impl CustomOp2 for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, branch: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        if lx.shape() != lb.shape() {
            candle_core::bail!("a branch {:?} does not fit {:?}", lb.dims(), lx.dims());
        }
        Ok((run(self, &[(x, lx), (branch, lb)])?, lx.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let branch = match &self.dropout {
            Some(dropout) => run_detached(dropout, &[grad], grad.shape())?,
            None => grad.clone(),
        };
        Ok((Some(grad.clone()), Some(branch)))
    }
}
