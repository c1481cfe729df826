//! The loss terms. A step's loss is `Σ weight · (sum over the step / count over the step)` over all terms.
//!
//! One more term is one file, one `mod` line and one line in [`TERMS`].

pub mod contrastive;
pub mod mlm;

use candle_core::{DType, Device, Result, Tensor};

use crate::train::batch::Microbatch;
use crate::train::model::Pass;
use crate::train::params;

/// A loss term.
pub struct Term {
    /// Name; its column in `metrics.jsonl` is `<name>_loss`.
    pub name: &'static str,
    /// What it teaches, in one line.
    pub meaning: &'static str,
    /// Unit of the term before its weight.
    pub unit: &'static str,
    /// Prefix of the parameters that this term alone reaches.
    pub owns: &'static str,
    /// Its weight.
    pub weight: fn(&params::Objective) -> f64,
    /// What its sum is divided by, for one microbatch; 0 where it has nothing to teach.
    pub count: fn(&Microbatch) -> usize,
    /// Its sum over one microbatch with a count above 0.
    pub sum: fn(&Forward, &Microbatch) -> Result<Tensor>,
}

/// Every term.
pub static TERMS: &[&Term] = &[&mlm::MLM, &contrastive::CONTRASTIVE];

/// What a term needs for a forward pass.
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    /// Weights, shape and dropout.
    pub pass: Pass<'a>,
    /// Parameters of the loss.
    pub objective: &'a params::Objective,
    /// Id that fills short rows.
    pub pad: u32,
    /// Type of the numbers.
    pub dtype: DType,
    /// Where they are computed.
    pub device: &'a Device,
}

impl<'a> Forward<'a> {
    /// The same pass for the term `name`, which drops activations of its own.
    #[must_use]
    pub fn of_term(&self, name: &'static str) -> Forward<'a> {
        let mut forward = *self;
        if let Some(key) = &mut forward.pass.dropout {
            key.term = name;
        }
        forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::contract::contract;
    use crate::train::batch::Contrast;
    use crate::train::fixture::{default_params, tiny_config};
    use crate::train::kernels::{self, DropoutKey};
    use crate::train::model::parameters::{Declared, Init};
    use crate::train::model::{Config, Parameters, Weights};
    use crate::train::params::{Norm, Pooling};
    use std::collections::BTreeMap;

    #[test]
    fn every_term_is_named_explained_and_has_a_column() {
        for (idx, term) in TERMS.iter().enumerate() {
            assert!(!term.meaning.is_empty() && !term.unit.is_empty());
            assert!(TERMS[..idx].iter().all(|other| other.name != term.name));
            let column = format!("{}_loss", term.name);
            assert!(contract("metric").unwrap().fields.iter().any(|field| field.name == column), "{column}");
        }
    }

    fn microbatch() -> Microbatch {
        Microbatch {
            index: 0,
            rows: vec![vec![2, 5, 4, 7, 8, 3], vec![2, 4, 9, 3]],
            labels: vec![(0, 2, 6), (1, 1, 10), (1, 2, 9)],
            contrast: Contrast {
                anchors: vec![vec![2, 5, 6, 3], vec![2, 7, 3]],
                positives: vec![vec![2, 5, 11, 3], vec![2, 7, 8, 3]],
                hard: vec![vec![2, 9, 6, 5, 3]],
            },
        }
    }

    fn loss(weights: &Weights, config: &Config) -> Tensor {
        let objective = default_params().objective;
        let dropout = Some(DropoutKey { seed: 1, step: 3, microbatch: 0, term: "" });
        let pass = Pass { weights, config, dropout };
        let forward = Forward { pass, objective: &objective, pad: 0, dtype: DType::F64, device: &Device::Cpu };
        let terms = TERMS.iter().map(|term| (term.sum)(&forward.of_term(term.name), &microbatch()).unwrap());
        terms.reduce(|a, b| (a + b).unwrap()).unwrap()
    }

    /// Central differences at random places of every tensor of the whole model, dropout on.
    #[test]
    fn the_gradient_of_the_whole_model_is_right() {
        for (norm, pooling) in [(Norm::Pre, Pooling::Mean), (Norm::Post, Pooling::Cls)] {
            let config = Config { norm, pooling, ..tiny_config() };
            let larger = |d: Declared| Declared {
                init: match d.init {
                    Init::Normal(_) | Init::Zeros => Init::Normal(0.3),
                    ones => ones,
                },
                ..d
            };
            let declared: Vec<Declared> = config.declare().into_iter().map(larger).collect();
            let parameters = Parameters::draw(&declared, 7, DType::F64, &Device::Cpu).unwrap();
            let gradients = loss(&parameters.tracked(), &config).backward().unwrap();
            let plain: BTreeMap<String, Tensor> =
                parameters.iter().map(|(name, var)| (name.to_string(), var.as_detached_tensor())).collect();
            for (name, var) in parameters.iter() {
                let gradient = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
                let values = plain[name].flatten_all().unwrap().to_vec1::<f64>().unwrap();
                let mut draws = crate::draw::stream(5, "coordinates", name.as_bytes());
                for _ in 0..4 {
                    let at = crate::draw::next_below(&mut draws, values.len());
                    let moved = |delta: f64| {
                        let mut values = values.clone();
                        values[at] += delta;
                        let tensor = Tensor::from_vec(values, plain[name].dims(), &Device::Cpu).unwrap();
                        let mut all = plain.clone();
                        all.insert(name.to_string(), tensor);
                        kernels::number(&loss(&Weights::new(all), &config)).unwrap()
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    let close = (slope - gradient[at]).abs() <= 1e-6 * gradient[at].abs().max(1.0);
                    assert!(close, "{norm:?} {name}[{at}]: {slope} by differences, {} by backward", gradient[at]);
                }
            }
        }
    }
}
