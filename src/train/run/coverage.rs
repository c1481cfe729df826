//! Fails the run when a parameter gets no gradient.
//!
//! A candle operation without a backward cuts the graph silently: training goes on, the loss falls,
//! and whatever stands before the cut never learns. So after the first backward every parameter
//! must have a gradient that is not all zero.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::train::model::Parameters;
use crate::train::model::gradients::Gradients;
use crate::train::model::moves::Moves;
use crate::train::model::parameters::Part;
use crate::train::objective::Objective;

/// Parameters named in an error.
const SHOWN: usize = 8;

/// The parameters that were not yet seen to learn.
pub struct Coverage {
    waiting: BTreeMap<String, Part>,
}

impl Coverage {
    /// All parameters wait for their first gradient.
    ///
    /// # Errors
    /// Never in practice: every parameter was declared.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        let part = |(name, _): (&str, _)| Ok((name.to_string(), *parameters.part(name)?));
        Ok(Coverage { waiting: parameters.iter().map(part).collect::<Result<_>>()? })
    }

    /// Parameters that only terms reach which had nothing to teach so far.
    pub fn untaught(&self) -> Vec<&str> {
        self.waiting.keys().map(String::as_str).collect()
    }

    /// Checks the gradients of a step in which the objectives `active` had something to teach.
    /// Parameters that only another one reaches, or that do not move yet, go on waiting.
    ///
    /// # Errors
    /// Names every parameter that has no gradient, or only zeros.
    pub fn check(
        &mut self,
        gradients: &Gradients,
        active: &[&dyn Objective],
        moves: &Moves,
    ) -> Result<()> {
        if active.is_empty() || self.waiting.is_empty() {
            return Ok(());
        }
        let is_reached = |part: &Part| active.iter().any(|objective| objective.reaches(part));
        let is_due = |(name, part): &(String, Part)| is_reached(part) && moves.of(name).is_some();
        let (now, later): (BTreeMap<String, Part>, BTreeMap<String, Part>) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_due);
        self.waiting = later;

        let mut without = Vec::new();
        for (name, part) in now {
            match gradients.get(&name) {
                None => without.push(format!("`{name}` none")),
                Some(gradient) if !part.may_rest => {
                    if gradient
                        .abs()?
                        .max_all()?
                        .to_dtype(candle_core::DType::F64)?
                        .to_scalar::<f64>()?
                        == 0.0
                    {
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
        let what = format!(
            "{} parameters learn nothing; their gradients: {}{more}",
            without.len(),
            shown.join(", ")
        );
        Err(Error::new(Kind::Numbers, what)
            .hint("an operation of the model has no backward; take it from `train/kernels`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::default_params;
    use crate::train::model::Language;
    use crate::train::model::gradients::{add_gradients, empty};
    use crate::train::model::parameters::{Declared, Init, Role};
    use crate::train::objective;
    use candle_core::{DType, Device, Module, Result as Computed, Tensor};

    /// A loss over `x · bert.in · … · cls.out`, with `middle` between the two.
    fn check(middle: impl Fn(&Tensor) -> Computed<Tensor>) -> Result<()> {
        let declare = |name: &str, role| Declared {
            name: name.into(),
            shape: vec![4, 4],
            init: Init::Normal(1.0),
            part: Part::new(0, role),
        };

        let beside = Role::Beside("contrastive");
        let declared = [
            declare("bert.in", Role::Attention),
            declare("cls.out", Role::Head),
            declare("projection.dense", beside),
        ];
        let parameters = Parameters::draw(&declared, 1, DType::F32, &Device::Cpu)?;
        let weights = parameters.tracked(&Moves::all());
        let x = Tensor::arange(0_f32, 12.0, &Device::Cpu)?.reshape((3, 4))?;
        let hidden = middle(&x.matmul(weights.get("bert.in")?)?)?;
        let loss = hidden.matmul(weights.get("cls.out")?)?.sqr()?.sum_all()?;
        let mut gradients = empty();
        add_gradients(&mut gradients, &parameters, loss.backward()?.try_into()?)?;
        let mut coverage = Coverage::new(&parameters)?;
        let chosen = objective::chosen(&default_params(), Language::Masked)?.active;
        let [mlm, contrastive] = [0, 1].map(|nth| chosen[nth].objective.as_ref());
        coverage.check(&gradients, &[mlm], &Moves::all())?;
        assert_eq!(coverage.waiting.len(), 1, "the projection waits for the contrastive term");
        assert!(
            coverage
                .check(&gradients, &[mlm, contrastive], &Moves::all())
                .unwrap_err()
                .what()
                .contains("`projection.dense`")
        );

        Ok(())
    }

    #[test]
    fn a_connected_graph_passes() {
        check(|x| Ok(x.clone())).unwrap();
        check(|x| crate::train::kernels::activate(x, crate::train::kernels::Activation::Gelu))
            .unwrap();
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
            assert!(
                error.what().contains("`bert.in`") && !error.what().contains("`cls.out`"),
                "{error}"
            );
            assert_eq!(error.kind(), Kind::Numbers);
        }
    }
}
