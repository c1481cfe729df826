//! Gradients: gathered over microbatches, clipped, and applied by an optimiser.

pub mod adamw;
pub mod loss_scale;
pub mod tree;

pub use adamw::AdamW;
pub use loss_scale::LossScale;
pub use tree::Tree;

/// What gradients of this norm are multiplied by so that it is at most `largest` (0 leaves them as
/// they are), as in `torch.nn.utils.clip_grad_norm_`: `largest / (norm + 1e-6)` where that is below
/// 1.
pub fn clip(norm: f64, largest: f64) -> f64 {
    if largest > 0.0 { (largest / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::model::gradients::{Gradients, norm};
    use candle_core::{Device, Tensor};

    fn gradients(values: &[f64]) -> Gradients {
        let named = values.iter().enumerate();
        named
            .map(|(idx, x)| (format!("p{idx}"), Tensor::new(&[*x], &Device::Cpu).unwrap()))
            .collect()
    }

    #[test]
    fn clips_as_torch_does() {
        let norm = norm(&gradients(&[3.0, 4.0])).unwrap();
        assert_eq!(norm, 5.0);
        assert!((clip(norm, 1.0) - 1.0 / (5.0 + 1e-6)).abs() < 1e-15);
        assert_eq!((clip(norm, 6.0), clip(norm, 0.0)), (1.0, 1.0));
        assert!(clip(f64::NAN, 1.0).is_finite(), "the run stops at the norm, not at the weights");
    }
}
