//! `average`: the mean of the weights at several steps near the end of a run, exported beside the
//! last ones.
//!
//! A curriculum ends with its hardest text. Where the learning rate falls to nothing there, that
//! text teaches little; where it stays high, the last weights are noisy. A mean of checkpoints does
//! what the fall is for, without its cost (arXiv:2511.18903: a fall to a third of the rate and a
//! mean of six checkpoints did best).
//!
//! The steps are known from the beginning, so only the mean is kept and not the checkpoints: `θ̄ ←
//! θ̄ + s (θ − θ̄)` with `s = 1 / n` for the n-th of equal ones, `2 / (n + 1)` where the n-th
//! counts n times, and a fixed `s` for an exponential mean.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::mean::Mean;
use super::{At, Did, Kind, Layout, Probe, Saved, Section, Strategy};
use crate::error::{Error, Result};
use crate::train::model::{Parameters, Weights};

/// What the newest weights count in an exponential mean; the paper's.
const NEWEST: f64 = 0.2;

/// See the module.
pub static AVERAGE: Kind = Kind {
    name: "average",
    about: "the mean of the weights at the last few of some steps, exported beside the last ones",
    switch: "last",
    build: |section: Section| {
        let keys: Keys = section.parse()?;
        let average = Average { keys, passed: 0, taken: 0, mean: Mean::default() };
        Ok(if average.keys.last > 1 { Some(Box::new(average)) } else { None })
    },
};

/// The section `[train.strategy.average]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Weights that the mean is of; 0 and 1 keep none.
    last: u64,
    /// Share of the steps that they are spread over, the last step among them, (0, 1].
    over: f64,
    /// What each counts.
    weights: Counts,
}

/// What the weights of a step count in the mean.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Counts {
    /// All the same.
    Equal,
    /// The n-th n times.
    Linear,
    /// A fifth of what the mean is then.
    Exponential,
}

impl Counts {
    /// What of the mean is left when the weights number `n`, from 2, are taken into it.
    fn left(self, n: usize) -> f64 {
        1.0 - match self {
            Counts::Equal => 1.0 / n as f64,
            Counts::Linear => 2.0 / (n as f64 + 1.0),
            Counts::Exponential => NEWEST,
        }
    }
}

impl Keys {
    /// The steps whose weights are taken; fewer than asked for where the run is short.
    fn steps(&self, total: u64) -> BTreeSet<u64> {
        let apart = self.over * total as f64 / self.last as f64;
        let before = |n: u64| (n as f64 * apart).round_ties_even() as u64;
        (0..self.last).map(|n| total.saturating_sub(before(n)).max(1)).collect()
    }
}

/// See the module.
struct Average {
    keys: Keys,
    /// Steps behind the run whose weights were to be taken.
    passed: usize,
    /// How many weights the mean is of.
    taken: usize,
    mean: Mean,
}

impl Strategy for Average {
    fn after(&mut self, at: At, run: &Probe, _: &Did) -> Result<()> {
        // A step that overflowed in f16 is not shown; the next one stands in for it.
        let passed = self.keys.steps(at.total).range(..=at.step).count();
        if passed <= self.passed {
            return Ok(());
        }
        (self.passed, self.taken) = (passed, self.taken + 1);
        match self.taken {
            1 => self.mean = Mean::of(run.parameters)?,
            n => self.mean.take(run.parameters, self.keys.weights.left(n))?,
        }
        Ok(())
    }

    fn beside(&self, parameters: &Parameters) -> Option<Weights> {
        (self.taken > 0).then(|| self.mean.weights(parameters))
    }

    fn extra_bytes(&self, layout: &Layout, number: u64) -> u64 {
        number * layout.n_numbers()
    }

    fn save(&self) -> Saved {
        let state = json!({ "passed": self.passed, "taken": self.taken });
        Saved { state, ..self.mean.save() }
    }

    fn load(&mut self, kept: Saved, run: &Probe) -> Result<()> {
        let number = |key: &str| {
            let number = kept.state.get(key).and_then(serde_json::Value::as_u64);
            number.ok_or_else(|| Error::data("how many weights the mean is of is lost"))
        };
        (self.passed, self.taken) = (number("passed")? as usize, number("taken")? as usize);
        if self.taken > 0 {
            self.mean = Mean::load(kept, run)?;
        }
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

    fn average(last: u64, over: f64, weights: Counts) -> Average {
        let keys = Keys { last, over, weights };
        Average { keys, passed: 0, taken: 0, mean: Mean::default() }
    }

    /// The mean after each step, of a weight that is the number of the step; gone on with from what
    /// was saved after each.
    fn means(last: u64, over: f64, weights: Counts, total: u64) -> Vec<Option<f64>> {
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
        let did = Did::default();
        let mut kept = average(last, over, weights).save();

        let mean = |step| {
            let mut average = average(last, over, weights);
            average.load(std::mem::take(&mut kept), &run).unwrap();
            let (_, var) = parameters.iter().next().unwrap();
            var.set(&Tensor::new(&[step as f64], &Device::Cpu).unwrap()).unwrap();
            average.after(At { step, total }, &run, &did).unwrap();
            kept = average.save();
            let beside = average.beside(&parameters)?;
            Some(beside.get("w").unwrap().to_vec1::<f64>().unwrap()[0])
        };
        (1..=total).map(mean).collect()
    }

    #[test]
    fn the_mean_is_that_of_the_steps_by_what_each_counts() {
        let close = |found: Option<f64>, right: f64| {
            let found = found.unwrap();
            assert!((found - right).abs() < 1e-12, "{found}, not {right}");
        };
        // 85, 88, 91, 94, 97 and 100 of 100.
        let equal = means(6, 0.18, Counts::Equal, 100);
        assert_eq!((equal[83], equal[84]), (None, Some(85.0)));
        close(equal[90], (85.0 + 88.0 + 91.0) / 3.0);
        close(equal[99], (85.0 + 88.0 + 91.0 + 94.0 + 97.0 + 100.0) / 6.0);

        let linear = means(3, 0.3, Counts::Linear, 10);
        close(linear[9], (8.0 + 2.0 * 9.0 + 3.0 * 10.0) / 6.0);

        let exponential = means(3, 0.3, Counts::Exponential, 10);
        close(exponential[9], 0.64 * 8.0 + 0.16 * 9.0 + 0.2 * 10.0);
    }

    #[test]
    fn a_short_run_has_fewer() {
        let all = |last, over, total| {
            let steps = Keys { last, over, weights: Counts::Equal }.steps(total);
            steps.into_iter().collect::<Vec<u64>>()
        };
        assert_eq!(all(6, 0.2, 300), [250, 260, 270, 280, 290, 300]);
        assert_eq!(all(6, 1.0, 3), [1, 2, 3]);
        assert_eq!(all(6, 0.2, 4), [3, 4]);
        assert_eq!(all(2, 1.0, 1), [1]);
    }

    #[test]
    fn a_mean_that_lost_its_count_is_refused() {
        let model = tiny_encoder();
        let parameters = Parameters::draw(&[], 1, DType::F64, &Device::Cpu).unwrap();
        let sample = Sample::new(|| unreachable!("nobody looks"));
        let run = Probe {
            model: &model,
            parameters: &parameters,
            sample: &sample,
            seed: 1,
            reader: None,
        };
        assert!(average(6, 0.2, Counts::Equal).load(Saved::default(), &run).is_err());
    }
}
