//! Gradients: gathered over microbatches, clipped, and applied by an optimiser.

pub mod adamw;
pub mod ema;
pub mod loss_scale;
pub mod tree;

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use crate::error::Result;
use crate::train::kernels;
use crate::train::model::Parameters;

pub use adamw::AdamW;
pub use ema::Ema;
pub use loss_scale::LossScale;
pub use tree::Tree;

/// Gradients by parameter name. None of them holds on to the graph it was computed from.
pub type Gradients = BTreeMap<String, Tensor>;

/// No gradients yet.
pub fn empty() -> Gradients {
    Gradients::new()
}

/// Adds the parameters' gradients of one backward pass; microbatches are added in order.
///
/// Each is detached: candle's gradients keep the whole forward graph alive otherwise.
///
/// # Errors
/// If the device fails.
pub fn add_gradients(sum: &mut Gradients, parameters: &Parameters, mut found: GradStore) -> Result<()> {
    for (name, var) in parameters.iter() {
        let Some(gradient) = found.remove(var) else { continue };
        let gradient = gradient.detach();
        let total = match sum.remove(name) {
            Some(before) => (before + gradient)?.detach(),
            None => gradient,
        };
        sum.insert(name.to_string(), total);
    }
    Ok(())
}

/// The Euclidean norm over all gradients, summed in f64 in name order.
///
/// # Errors
/// If the device fails.
pub fn norm(gradients: &Gradients) -> Result<f64> {
    let mut total = 0.0;
    for gradient in gradients.values() {
        total += kernels::sum_of_squares(gradient)?;
    }
    Ok(total.sqrt())
}

/// What gradients of this norm are multiplied by so that it is at most `largest` (0 leaves them as they are), as in
/// `torch.nn.utils.clip_grad_norm_`: `largest / (norm + 1e-6)` where that is below 1.
pub fn clip(norm: f64, largest: f64) -> f64 {
    if largest > 0.0 { (largest / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::model::parameters::{Declared, Init, Part, Role};
    use candle_core::{DType, Device};

    fn gradients(values: &[f64]) -> Gradients {
        let named = values.iter().enumerate();
        named.map(|(idx, x)| (format!("p{idx}"), Tensor::new(&[*x], &Device::Cpu).unwrap())).collect()
    }

    #[test]
    fn clips_as_torch_does() {
        let norm = norm(&gradients(&[3.0, 4.0])).unwrap();
        assert_eq!(norm, 5.0);
        assert!((clip(norm, 1.0) - 1.0 / (5.0 + 1e-6)).abs() < 1e-15);
        assert_eq!((clip(norm, 6.0), clip(norm, 0.0)), (1.0, 1.0));
        assert!(clip(f64::NAN, 1.0).is_finite(), "the run stops at the norm, not at the weights");
    }

    #[test]
    fn kept_gradients_do_not_hold_the_graph() {
        let declared =
            [Declared { name: "w".into(), shape: vec![3, 3], init: Init::Normal(1.0), part: Part::new(0, Role::Head) }];
        let parameters = Parameters::draw(&declared, 1, DType::F32, &Device::Cpu).unwrap();
        let mut sum = empty();
        for _ in 0..2 {
            let weights = parameters.tracked();
            let w = weights.get("w").unwrap();
            let loss = w.matmul(w).unwrap().sqr().unwrap().sum_all().unwrap();
            add_gradients(&mut sum, &parameters, loss.backward().unwrap()).unwrap();
            assert!(sum.values().all(|gradient| !gradient.track_op()));
        }
    }
}
