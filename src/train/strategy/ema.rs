//! `ema`: a running mean of the weights: `θ′ ← m θ′ + (1 − m) θ` after each step, from the weights
//! the run began with.
//!
//! It is evaluated and exported beside the model (GPT-BERT ships such weights), and never trained.

use serde::Deserialize;

use super::mean::Mean;
use super::{At, Did, Kind, Layout, Probe, Saved, Section, Strategy};
use crate::error::Result;
use crate::train::model::{Parameters, Weights};

/// See the module.
pub static EMA: Kind = Kind {
    name: "ema",
    about: "keeps a running mean of the weights, measured and exported beside the model",
    switch: "decay",
    build: |section: Section| {
        let Keys { decay } = section.parse()?;
        Ok(if decay > 0.0 { Some(Box::new(Ema { decay, mean: Mean::default() })) } else { None })
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
    mean: Mean,
}

impl Strategy for Ema {
    fn begin(&mut self, run: &Probe) -> Result<()> {
        self.mean = Mean::of(run.parameters)?;
        Ok(())
    }

    fn after(&mut self, _: At, run: &Probe, _: &Did) -> Result<()> {
        self.mean.take(run.parameters, self.decay)
    }

    fn beside(&self, parameters: &Parameters) -> Option<Weights> {
        Some(self.mean.weights(parameters))
    }

    fn extra_bytes(&self, layout: &Layout, number: u64) -> u64 {
        number * layout.n_numbers()
    }

    fn save(&self) -> Saved {
        self.mean.save()
    }

    fn load(&mut self, kept: Saved, run: &Probe) -> Result<()> {
        self.mean = Mean::load(kept, run)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;
    use crate::train::fixture::tiny_encoder;
    use crate::train::model::parameters::{Declared, Init, Part, Role};
    use candle_core::{DType, Device, Tensor};

    /// `θ′ₙ = mⁿ θ₀ + (1 − m) Σ mⁿ⁻ⁱ θᵢ`; over 1 to 5 from 0 with 0.995 it is 0.07450187125312499.
    #[test]
    fn the_mean_has_its_closed_form_and_goes_on_from_what_it_kept() {
        let part = Part::new(0, Role::Head);
        let declared = [Declared { name: "w".into(), shape: vec![1], init: Init::Zeros, part }];
        let parameters = Parameters::draw(&declared, 1, DType::F64, &Device::Cpu).unwrap();
        let model = tiny_encoder();
        let sample = Sample::new(|| unreachable!("nobody looks"));
        let run = Probe {
            model: &model,
            parameters: &parameters,
            sample: &sample,
            seed: 1,
            reader: None,
        };
        let new = || Ema { decay: 0.995, mean: Mean::default() };
        let mut ema = new();
        ema.begin(&run).unwrap();
        let did = Did::default();

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
