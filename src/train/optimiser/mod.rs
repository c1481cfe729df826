//! Gradients: gathered over microbatches, clipped, and applied by an optimiser.

pub mod adamw;
pub mod ema;
pub mod tree;

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use crate::error::Result;
use crate::train::model::Parameters;

pub use adamw::AdamW;
pub use ema::Ema;
pub use tree::Tree;

/// Gradients by parameter name. None of them holds on to the graph it was computed from.
pub type Gradients = BTreeMap<String, Tensor>;

/// Numbers summed at once for the norm; the order of summation is fixed by this and the names alone.
const CHUNK: usize = 4_096;

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
        let values = gradient.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for chunk in values.chunks(CHUNK) {
            total += chunk.iter().map(|x| x * x).sum::<f64>();
        }
    }
    Ok(total.sqrt())
}

/// Scales all gradients down to the norm `largest` (0 leaves them as they are), as `torch.nn.utils.clip_grad_norm_`:
/// by `largest / (norm + 1e-6)` where that is below 1. Gives the norm before.
///
/// # Errors
/// If the device fails.
pub fn clip(gradients: &mut Gradients, largest: f64) -> Result<f64> {
    let norm = norm(gradients)?;
    let scale = largest / (norm + 1e-6);
    if largest > 0.0 && scale < 1.0 {
        for gradient in gradients.values_mut() {
            *gradient = gradient.affine(scale, 0.0)?.detach();
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::model::parameters::{Declared, Init};
    use candle_core::Device;

    fn gradients(values: &[f64]) -> Gradients {
        let named = values.iter().enumerate();
        named.map(|(idx, x)| (format!("p{idx}"), Tensor::new(&[*x], &Device::Cpu).unwrap())).collect()
    }

    fn check(values: &[f64], largest: f64, expected: &[f64]) {
        let mut clipped = gradients(values);
        let norm = clip(&mut clipped, largest).unwrap();
        assert!((norm - values.iter().map(|x| x * x).sum::<f64>().sqrt()).abs() < 1e-12);
        for (found, expected) in clipped.values().zip(expected) {
            assert!((found.to_vec1::<f64>().unwrap()[0] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn clips_as_torch_does() {
        let scale = 1.0 / (5.0 + 1e-6);
        check(&[3.0, 4.0], 1.0, &[3.0 * scale, 4.0 * scale]);
        check(&[3.0, 4.0], 6.0, &[3.0, 4.0]);
        check(&[3.0, 4.0], 0.0, &[3.0, 4.0]);
    }

    #[test]
    fn kept_gradients_do_not_hold_the_graph() {
        let declared = [Declared { name: "w".into(), shape: vec![3, 3], init: Init::Normal(1.0) }];
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
