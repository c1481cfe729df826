//! Dynamic loss scaling for f16 (arXiv:1710.03740), in the numbers of `torch.amp.GradScaler`.
//!
//! The loss is multiplied so that small gradients do not vanish in f16. Gradients that overflow
//! cost the step: weights, optimiser and learning rate stay as they are, and the scale is halved.
//! After 2,000 steps in a row without overflow it is doubled.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The scale of the first step.
const FIRST: f64 = 65_536.0;
/// Steps without overflow after which the scale grows.
const INTERVAL: u64 = 2_000;
/// A loss that overflows unscaled is no matter of scaling.
const LEAST: f64 = 1.0;

/// The scale, and what it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    /// What the loss of the next step is multiplied with, a power of two.
    pub scale: f64,
    /// Steps without overflow since the scale last changed.
    pub good_steps: u64,
    /// Steps that were skipped so far.
    pub skipped: u64,
}

impl Default for LossScale {
    fn default() -> Self {
        LossScale { scale: FIRST, good_steps: 0, skipped: 0 }
    }
}

impl LossScale {
    /// Takes note of a step; `finite` tells whether its gradients were.
    ///
    /// # Errors
    /// If they were not, though the loss was not scaled any more.
    pub fn update(&mut self, finite: bool) -> Result<()> {
        self.update_every(finite, INTERVAL)
    }

    fn update_every(&mut self, finite: bool, interval: u64) -> Result<()> {
        if !finite {
            if self.scale <= LEAST {
                return Err(Error::new(
                    Kind::Numbers,
                    "the gradients overflow in f16 even without loss scaling",
                )
                .hint("set `train.precision=bf16` or `f32`, or lower `train.optimiser.lr`"));
            }
            *self = LossScale { scale: self.scale / 2.0, good_steps: 0, skipped: self.skipped + 1 };
            return Ok(());
        }

        self.good_steps += 1;
        if self.good_steps == interval {
            (self.scale, self.good_steps) = (self.scale * 2.0, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trace of `torch.amp.GradScaler(init_scale=65536, growth_interval=2)`, by hand from its
    /// rules.
    #[test]
    fn the_scale_follows_overflows() {
        let mut scale = LossScale::default();
        let trace: Vec<f64> = (1..=6)
            .map(|step| {
                scale.update_every(step != 1 && step != 5, 2).unwrap();
                scale.scale
            })
            .collect();

        assert_eq!(trace, [32_768.0, 32_768.0, 65_536.0, 65_536.0, 32_768.0, 32_768.0]);
        assert_eq!((scale.skipped, scale.good_steps), (2, 1));
    }

    #[test]
    fn overflow_without_a_scale_stops_the_run() {
        let mut scale = LossScale::default();
        let error = (0..40).find_map(|_| scale.update(false).err()).unwrap();
        assert_eq!((error.kind(), scale.skipped), (Kind::Numbers, 16));
    }
}
