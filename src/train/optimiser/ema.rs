//! A running mean of the weights: `θ′ ← m θ′ + (1 − m) θ` after each step, from the weights the run began with.
//!
//! It is evaluated and exported beside the model (GPT-BERT ships such weights), and never trained.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::train::model::parameters::{read_tensors, write_tensors};
use crate::train::model::{Parameters, Weights};

/// The mean and its decay.
pub struct Ema {
    decay: f64,
    mean: BTreeMap<String, Tensor>,
}

impl Ema {
    /// Begins with the weights as they are; `None` for a decay of 0.
    ///
    /// # Errors
    /// If the device fails.
    pub fn begin(decay: f64, parameters: &Parameters) -> Result<Option<Self>> {
        if decay == 0.0 {
            return Ok(None);
        }
        let copy = |(name, var): (&str, &candle_core::Var)| Ok((name.to_string(), var.as_detached_tensor().copy()?));
        Ok(Some(Ema { decay, mean: parameters.iter().map(copy).collect::<Result<_>>()? }))
    }

    /// Moves the mean towards the weights.
    ///
    /// # Errors
    /// If the device fails.
    pub fn follow(&mut self, parameters: &Parameters) -> Result<()> {
        for (name, var) in parameters.iter() {
            if let Some(mean) = self.mean.get_mut(name) {
                let own = var.as_detached_tensor().affine(1.0 - self.decay, 0.0)?;
                *mean = (mean.affine(self.decay, 0.0)? + own)?.detach();
            }
        }
        Ok(())
    }

    /// The mean, to be measured or exported, beside what is not trained.
    pub fn weights(&self, parameters: &Parameters) -> Weights {
        parameters.beside(self.mean.clone())
    }

    /// Writes the mean as safetensors.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_tensors(path, &self.mean)
    }

    /// Reads what [`Ema::save`] wrote; `None` for a decay of 0.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load(decay: f64, path: &Path, device: &Device) -> Result<Option<Self>> {
        Ok(if decay == 0.0 { None } else { Some(Ema { decay, mean: read_tensors(path, device)? }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::model::parameters::{Declared, Init, Part, Role};
    use candle_core::DType;

    /// `θ′ₙ = mⁿ θ₀ + (1 − m) Σ mⁿ⁻ⁱ θᵢ`; over 1 to 5 from 0 with 0.995 it is 0.07450187125312499.
    #[test]
    fn the_mean_has_its_closed_form_and_goes_on_from_a_file() {
        let declared =
            [Declared { name: "w".into(), shape: vec![1], init: Init::Zeros, part: Part::new(0, Role::Head) }];
        let parameters = Parameters::draw(&declared, 1, DType::F64, &Device::Cpu).unwrap();
        let mut ema = Ema::begin(0.995, &parameters).unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ema.safetensors");
        for step in 1..=5 {
            let (_, var) = parameters.iter().next().unwrap();
            var.set(&Tensor::new(&[f64::from(step)], &Device::Cpu).unwrap()).unwrap();
            ema.follow(&parameters).unwrap();
            ema.save(&path).unwrap();
            ema = Ema::load(0.995, &path, &Device::Cpu).unwrap().unwrap();
        }
        let mean = ema.weights(&parameters).get("w").unwrap().to_vec1::<f64>().unwrap()[0];
        assert!((mean - 0.074_501_871_253_124_99).abs() < 1e-12, "{mean}");
        assert!(Ema::begin(0.0, &parameters).unwrap().is_none());
    }
}
