//! `y = x + dropout(branch)`, which ends a branch of a block, as one operation: `dx = g`, and
//! `dbranch` is `g` under the same dropout.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::dropout::Dropout;
use super::operation::Operation;
use super::real::Real;
use super::rows::{Kernel, each, run, run_detached};

/// See the module.
pub(super) struct Residual {
    /// Which numbers of the branch are kept, where some are dropped.
    pub(super) dropout: Option<Dropout>,
}

impl Kernel for Residual {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        each(simd, inputs[0].len(), |at, out| {
            let all = out.iter_mut().zip(inputs[0][at.clone()].iter().zip(&inputs[1][at.clone()]));
            match &self.dropout {
                None => all.for_each(|(y, (x, branch))| *y = *x + *branch),
                Some(dropout) => {
                    let factors = dropout.factors();
                    let all = all.zip(&dropout.kept[at]);
                    all.for_each(|((y, (x, branch)), kept)| {
                        *y = *x + *branch * factors[usize::from(*kept)]
                    });
                }
            }
        })
    }
}

impl Operation for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let (x, branch) = (inputs[0].1, inputs[1].1);
        if x.shape() != branch.shape() {
            candle_core::bail!("a branch {:?} does not fit {:?}", branch.dims(), x.dims());
        }
        Ok((run(self, inputs)?, x.shape().clone()))
    }

    fn backward(&self, _: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let branch = match &self.dropout {
            Some(dropout) => run_detached(dropout, &[grad], grad.shape())?,
            None => grad.clone(),
        };
        Ok(vec![Some(grad.clone()), Some(branch)])
    }
}
