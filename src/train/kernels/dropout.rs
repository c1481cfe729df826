//! Dropout (Srivastava et al. 2014) with the draws made beforehand: `y = kept · x / (1 − p)`, `dx = kept · g / (1 − p)`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

use super::rows::{Kernel, run, run_detached};

/// See the module.
pub(super) struct Dropout {
    /// Whether each number is kept.
    pub(super) kept: Vec<bool>,
    pub(super) scale: f64,
}

impl Kernel for Dropout {
    fn run<T: WithDType>(&self, inputs: &[&[T]]) -> Vec<T> {
        let scale = T::from_f64(self.scale);
        let zero = T::from_f64(0.0);
        inputs[0].iter().zip(&self.kept).map(|(x, kept)| if *kept { *x * scale } else { zero }).collect()
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((run(self, &[(x, layout)])?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_detached(self, &[grad], x.shape()).map(Some)
    }
}
