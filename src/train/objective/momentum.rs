//! `momentum`: be sure of what a teacher that follows the model is sure of (ALBEF,
//! arXiv:2107.07651).
//!
//! `T² KL(teacher ‖ student)` at the places that the language objective predicts, with softmax at
//! the temperature `T`. Its weight grows as `min(1, step / warmup)`: the β of `(1 − α) · mlm + α ·
//! clm + β · momentum_teacher`. The teacher is what the strategy of the same name keeps.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::distill::divergence;
use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::model::Architecture;

/// See the module.
pub static MOMENTUM: Kind = Kind {
    name: "momentum",
    about: "predict what a teacher that follows the model predicts (strategy `momentum`)",
    unit: "nats per labelled token",
    languages: &[Language::Masked, Language::Causal, Language::Spans],
    rows: RowKind::of_language,
    task: None,
    build: |section: Section| Ok(Box::new(section.parse::<Momentum>()?)),
};

/// The section `[train.objective.momentum]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Momentum {
    /// Weight of the term once it is warm, 0 and more.
    weight: f64,
    /// Steps over which the weight grows; 0 begins with all of it.
    warmup: u64,
    /// Of both softmaxes, [0.1, 100].
    temperature: f64,
}

impl Objective for Momentum {
    fn weight(&self, at: At) -> f64 {
        self.weight * if at.step < self.warmup { at.step as f64 / self.warmup as f64 } else { 1.0 }
    }

    fn needs(&self, _: &dyn Architecture) -> Needs {
        Needs { teacher: Some("momentum"), ..Needs::default() }
    }

    fn count(&self, rows: &RowSet) -> usize {
        rows.labels.len()
    }

    fn sum(
        &self,
        cx: &Forward,
        rows: &RowSet,
        seen: &Seen,
        teacher: Option<&Taught>,
    ) -> Result<Tensor> {
        divergence(cx, rows, seen, teacher, self.temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_weight_grows_over_the_warm_up() {
        let weight = |warmup, step| {
            Momentum { weight: 2.0, warmup, temperature: 1.0 }.weight(At { step, total: 100 })
        };
        assert_eq!([1, 5, 10, 11].map(|step| weight(10, step)), [0.2, 1.0, 2.0, 2.0]);
        assert_eq!(weight(0, 1), 2.0);
    }
}
