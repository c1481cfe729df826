//! `ema`: a running mean of the weights: `θ′ ← m θ′ + (1 − m) θ` after each step, from the weights
//! the run began with.
//!
//! It is evaluated and exported beside the model (GPT-BERT ships such weights), and never trained.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Deserialize;

use super::{At, Did, Kind, Layout, Probe, Saved, Section, Strategy};
use crate::error::{Error, Result};
use crate::train::model::{Parameters, Weights};

/// See the module.
pub static EMA: Kind = Kind {
    name: "ema",
    about: "keeps a running mean of the weights, measured and exported beside the model",
    teaches: false,
    build: |section: Section| {
        let Keys { decay } = section.parse()?;
        Ok(if decay > 0.0 { Some(Box::new(Ema { decay, mean: BTreeMap::new() })) } else { None })
    },
};

/// The section `[train.strategy.ema]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Decay of the mean, [0, 1); 0 keeps none.
    decay: f64,
}

/// The mean and its decay.
struct Ema {
    decay: f64,
    mean: BTreeMap<String, Tensor>,
}

impl Strategy for Ema {
    fn begin(&mut self, run: &Probe) -> Result<()> {
        let copy = |(name, var): (&str, &candle_core::Var)| {
            Ok((name.to_string(), var.as_detached_tensor().copy()?))
        };
        self.mean = run.parameters.iter().map(copy).collect::<Result<_>>()?;
        Ok(())
    }

    fn after(&mut self, _: At, run: &Probe, _: &Did) -> Result<()> {
        for (name, var) in run.parameters.iter() {
            if let Some(mean) = self.mean.get_mut(name) {
                let own = var.as_detached_tensor().affine(1.0 - self.decay, 0.0)?;
                *mean = (mean.affine(self.decay, 0.0)? + own)?.detach();
            }
        }
        Ok(())
    }

    fn beside(&self, parameters: &Parameters) -> Option<Weights> {
        Some(parameters.beside(self.mean.clone()))
    }

    fn extra_bytes(&self, layout: &Layout, number: u64) -> u64 {
        number * layout.n_numbers()
    }

    fn save(&self) -> Saved {
        Saved { tensors: self.mean.clone(), ..Saved::default() }
    }

    fn load(&mut self, kept: Saved, run: &Probe) -> Result<()> {
        let is_missing = |(name, _): &(&str, _)| !kept.tensors.contains_key(*name);
        if let Some((name, _)) = run.parameters.iter().find(is_missing) {
            return Err(Error::data(format!("the running mean lacks `{name}`")));
        }
        self.mean = kept.tensors;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::tiny_encoder;
    use crate::train::model::parameters::{Declared, Init, Part, Role};
    use candle_core::{DType, Device};

    /// `θ′ₙ = mⁿ θ₀ + (1 − m) Σ mⁿ⁻ⁱ θᵢ`; over 1 to 5 from 0 with 0.995 it is 0.07450187125312499.
    #[test]
    fn the_mean_has_its_closed_form_and_goes_on_from_what_it_kept() {
        let part = Part::new(0, Role::Head);
        let declared = [Declared { name: "w".into(), shape: vec![1], init: Init::Zeros, part }];
        let parameters = Parameters::draw(&declared, 1, DType::F64, &Device::Cpu).unwrap();
        let model = tiny_encoder();
        let run = Probe { model: &model, parameters: &parameters };
        let new = || Ema { decay: 0.995, mean: BTreeMap::new() };
        let mut ema = new();
        ema.begin(&run).unwrap();
        let did = Did { losses: BTreeMap::new(), grad_norm: 0.0 };

        for step in 1..=5 {
            let (_, var) = parameters.iter().next().unwrap();
            var.set(&Tensor::new(&[step as f64], &Device::Cpu).unwrap()).unwrap();
            ema.after(At { step, total: 5 }, &run, &did).unwrap();
            let kept = ema.save();
            ema = new();
            ema.load(kept, &run).unwrap();
        }

        let mean = ema.beside(&parameters).unwrap().get("w").unwrap().to_vec1::<f64>().unwrap()[0];
        assert!((mean - 0.074_501_871_253_124_99).abs() < 1e-12, "{mean}");
        assert!(new().load(Saved::default(), &run).unwrap_err().what().contains("`w`"));
    }
}
