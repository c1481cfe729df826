//! A running mean of the weights, which several strategies keep.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::{Probe, Saved};
use crate::error::{Error, Result};
use crate::train::model::{Parameters, Weights};

/// The mean by the names of the parameters; empty before it is begun.
#[derive(Default)]
pub(super) struct Mean(BTreeMap<String, Tensor>);

impl Mean {
    /// Begins with the weights as they are.
    pub(super) fn of(parameters: &Parameters) -> Result<Self> {
        let copy =
            |(name, var): (&str, &Var)| Ok((name.to_string(), var.as_detached_tensor().copy()?));
        Ok(Mean(parameters.iter().map(copy).collect::<Result<_>>()?))
    }

    /// Becomes `decay` of itself and `1 − decay` of the weights.
    pub(super) fn take(&mut self, parameters: &Parameters, decay: f64) -> Result<()> {
        for (name, var) in parameters.iter() {
            if let Some(mean) = self.0.get_mut(name) {
                let own = var.as_detached_tensor().affine(1.0 - decay, 0.0)?;
                *mean = (mean.affine(decay, 0.0)? + own)?.detach();
            }
        }
        Ok(())
    }

    /// The mean in the place of the weights.
    pub(super) fn weights(&self, parameters: &Parameters) -> Weights {
        parameters.beside(self.0.clone())
    }

    /// What it needs to go on.
    pub(super) fn save(&self) -> Saved {
        Saved { tensors: self.0.clone(), ..Saved::default() }
    }

    /// Goes on from what it saved.
    pub(super) fn load(kept: Saved, run: &Probe) -> Result<Self> {
        let is_missing = |(name, _): &(&str, _)| !kept.tensors.contains_key(*name);
        if let Some((name, _)) = run.parameters.iter().find(is_missing) {
            return Err(Error::data(format!("the running mean lacks `{name}`")));
        }
        Ok(Mean(kept.tensors))
    }
}
