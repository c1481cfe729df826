//! Gradients by the names of parameters.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::Parameters;
use crate::error::Result;
use crate::train::kernels::{self, Flows};

/// Gradients by parameter name. None of them holds on to the graph it was computed from.
pub type Gradients = BTreeMap<String, Tensor>;

/// No gradients yet.
pub fn empty() -> Gradients {
    Gradients::new()
}

/// Adds the parameters' gradients of one backward pass; microbatches are added in order.
///
/// # Errors
/// If the device fails.
pub fn add_gradients(sum: &mut Gradients, parameters: &Parameters, mut found: Flows) -> Result<()> {
    for (name, var) in parameters.iter() {
        let Some(gradient) = found.remove(var) else { continue };
        let total = match sum.remove(name) {
            Some(before) => kernels::add(&before, &gradient)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::model::moves::Moves;
    use crate::train::model::parameters::{Declared, Init, Part, Role};
    use candle_core::{DType, Device};

    #[test]
    fn kept_gradients_do_not_hold_the_graph() {
        let declared = [Declared {
            name: "w".into(),
            shape: vec![3, 3],
            init: Init::Normal(1.0),
            part: Part::new(0, Role::Head),
        }];

        let parameters = Parameters::draw(&declared, 1, DType::F32, &Device::Cpu).unwrap();
        let mut sum = empty();

        for _ in 0..2 {
            let weights = parameters.tracked(&Moves::all());
            let w = weights.get("w").unwrap();
            let loss = w.matmul(w).unwrap().sqr().unwrap().sum_all().unwrap();
            add_gradients(&mut sum, &parameters, loss.backward().unwrap().try_into().unwrap())
                .unwrap();
            assert!(sum.values().all(|gradient| !gradient.track_op()));
        }
    }
}
