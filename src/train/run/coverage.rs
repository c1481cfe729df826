//! Fails the run when a parameter gets no gradient.
//!
//! A candle operation without a backward cuts the graph silently: training goes on, the loss falls, and whatever stands
//! before the cut never learns. So after the first backward every parameter must have a gradient that is not all zero.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::train::model::Parameters;
use crate::train::objective::{TERMS, Term};
use crate::train::optimiser::Gradients;

/// Parameters whose gradient may be all zero: softmax does not see a shift of all scores of a query, so the bias of
/// the keys has gradient 0 but for rounding; prompts of an adapter have it as long as their gates are at 0.
const MAY_BE_ZERO: [&str; 2] = ["attention.self.key.bias", "adapter_query.weight"];

/// Parameters named in an error.
const SHOWN: usize = 8;

/// The parameters that were not yet seen to learn.
pub struct Coverage {
    waiting: BTreeSet<String>,
}

impl Coverage {
    /// All parameters wait for their first gradient.
    pub fn new(parameters: &Parameters) -> Self {
        Coverage { waiting: parameters.iter().map(|(name, _)| name.to_string()).collect() }
    }

    /// Parameters that only terms reach which had nothing to teach so far.
    pub fn untaught(&self) -> Vec<&str> {
        self.waiting.iter().map(String::as_str).collect()
    }

    /// Checks the gradients of a step in which the terms `active` had something to teach. Parameters that only
    /// another term reaches go on waiting.
    ///
    /// # Errors
    /// Names every parameter that has no gradient, or only zeros.
    pub fn check(&mut self, gradients: &Gradients, active: &[&Term]) -> Result<()> {
        if active.is_empty() || self.waiting.is_empty() {
            return Ok(());
        }
        let idle: Vec<&str> = TERMS
            .iter()
            .filter(|term| active.iter().all(|other| other.name != term.name && other.owns != term.owns))
            .map(|term| term.owns)
            .collect();
        let (later, now): (BTreeSet<String>, BTreeSet<String>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|name| idle.iter().any(|o| name.starts_with(o)));
        self.waiting = later;
        let mut without = Vec::new();
        for name in now {
            match gradients.get(&name) {
                None => without.push(format!("`{name}` none")),
                Some(gradient) if !MAY_BE_ZERO.iter().any(|ending| name.ends_with(ending)) => {
                    if gradient.abs()?.max_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()? == 0.0 {
                        without.push(format!("`{name}` all zero"));
                    }
                }
                Some(_) => {}
            }
        }
        if without.is_empty() {
            return Ok(());
        }
        let shown = &without[..without.len().min(SHOWN)];
        let more = if shown.len() < without.len() { ", …" } else { "" };
        let what = format!("{} parameters learn nothing; their gradients: {}{more}", without.len(), shown.join(", "));
        Err(Error::new(Kind::Numbers, what)
            .hint("an operation of the model has no backward; take it from `train/kernels`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::model::parameters::{Declared, Init};
    use crate::train::objective::{contrastive::CONTRASTIVE, mlm::MLM};
    use crate::train::optimiser::{add_gradients, empty};
    use candle_core::{DType, Device, Module, Result as Computed, Tensor};

    /// A loss over `x · bert.in · … · cls.out`, with `middle` between the two.
    fn check(middle: impl Fn(&Tensor) -> Computed<Tensor>) -> Result<()> {
        let declare = |name: &str| Declared { name: name.into(), shape: vec![4, 4], init: Init::Normal(1.0) };
        let declared = [declare("bert.in"), declare("cls.out"), declare("projection.dense")];
        let parameters = Parameters::draw(&declared, 1, DType::F32, &Device::Cpu)?;
        let weights = parameters.tracked();
        let x = Tensor::arange(0_f32, 12.0, &Device::Cpu)?.reshape((3, 4))?;
        let hidden = middle(&x.matmul(weights.get("bert.in")?)?)?;
        let loss = hidden.matmul(weights.get("cls.out")?)?.sqr()?.sum_all()?;
        let mut gradients = empty();
        add_gradients(&mut gradients, &parameters, loss.backward()?)?;
        let mut coverage = Coverage::new(&parameters);
        coverage.check(&gradients, &[&MLM])?;
        assert_eq!(coverage.waiting.len(), 1, "the projection waits for the contrastive term");
        assert!(coverage.check(&gradients, &[&MLM, &CONTRASTIVE]).unwrap_err().what().contains("`projection.dense`"));
        Ok(())
    }

    #[test]
    fn a_connected_graph_passes() {
        check(|x| Ok(x.clone())).unwrap();
        check(|x| crate::train::kernels::activate(x, crate::train::kernels::Activation::Gelu)).unwrap();
    }

    #[test]
    fn operations_without_backward_are_found() {
        let ones = || Tensor::ones(4, DType::F32, &Device::Cpu).unwrap();
        let norm = candle_nn::LayerNorm::new(ones(), ones(), 1e-5);
        for error in [
            check(|x| norm.forward(x)).unwrap_err(),
            check(candle_nn::ops::softmax_last_dim).unwrap_err(),
            check(|x| x.affine(0.0, 1.0)).unwrap_err(),
        ] {
            assert!(error.what().contains("`bert.in`") && !error.what().contains("`cls.out`"), "{error}");
            assert_eq!(error.kind(), Kind::Numbers);
        }
    }
}
