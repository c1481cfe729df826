//! `momentum`: a teacher that follows the model: `θ′ ← m θ′ + (1 − m) θ` after each step, from the
//! weights the run began with (ALBEF arXiv:2107.07651, MoCo arXiv:1911.05722). The objective of the
//! same name learns from it. It drops nothing and is never trained.

use serde::Deserialize;

use super::mean::Mean;
use super::{At, Did, Kind, Layout, Probe, Saved, Section, Strategy};
use crate::error::Result;
use crate::train::model::{Parameters, Weights};

/// See the module.
pub static MOMENTUM: Kind = Kind {
    name: "momentum",
    about: "keeps a teacher that follows the model slowly, for the objective `momentum`",
    switch: "on",
    build: |section: Section| {
        let keys: Keys = section.parse()?;
        let momentum = Momentum { keys, mean: Mean::default() };
        Ok(if momentum.keys.on { Some(Box::new(momentum)) } else { None })
    },
};

/// The section `[train.strategy.momentum]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Whether it is kept.
    on: bool,
    /// What of the teacher is left after a step, [0, 1).
    decay: f64,
    /// How that changes over a run.
    schedule: Follows,
}

/// How the decay changes over a run.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Follows {
    /// It does not.
    Constant,
    /// `1 − (1 − m) (cos(π t / T) + 1) / 2`: in the end the teacher stands still (BYOL,
    /// arXiv:2006.07733).
    Byol,
    /// `min(1 − 1 / (t + 1), m)`: at first it is the mean of all weights so far (mean teacher,
    /// arXiv:1703.01780).
    MeanTeacher,
}

impl Keys {
    /// What of the teacher is left after a step.
    fn left(&self, at: At) -> f64 {
        let done = at.step as f64;
        match self.schedule {
            Follows::Constant => self.decay,
            Follows::Byol => {
                let turned = (std::f64::consts::PI * done / at.total as f64).cos();
                1.0 - (1.0 - self.decay) * (turned + 1.0) / 2.0
            }
            Follows::MeanTeacher => (1.0 - 1.0 / (done + 1.0)).min(self.decay),
        }
    }
}

/// See the module.
struct Momentum {
    keys: Keys,
    mean: Mean,
}

impl Strategy for Momentum {
    fn begin(&mut self, run: &Probe) -> Result<()> {
        self.mean = Mean::of(run.parameters)?;
        Ok(())
    }

    fn after(&mut self, at: At, run: &Probe, _: &Did) -> Result<()> {
        self.mean.take(run.parameters, self.keys.left(at))
    }

    fn teacher(&self, parameters: &Parameters) -> Option<Weights> {
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
    use super::*;

    /// BYOL's from 0.996: .996, .998 and 1 at the beginning, the middle and the end.
    #[test]
    fn the_decay_follows_its_schedule() {
        let left = |schedule, decay, step| {
            Keys { on: true, decay, schedule }.left(At { step, total: 1000 })
        };
        let close = |found: f64, right: f64| assert!((found - right).abs() < 1e-12, "{found}");
        close(left(Follows::Constant, 0.995, 7), 0.995);
        close(left(Follows::Byol, 0.996, 0), 0.996);
        close(left(Follows::Byol, 0.996, 500), 0.998);
        close(left(Follows::Byol, 0.996, 1000), 1.0);
        close(left(Follows::MeanTeacher, 0.995, 1), 0.5);
        close(left(Follows::MeanTeacher, 0.995, 9), 0.9);
        close(left(Follows::MeanTeacher, 0.995, 999), 0.995);
    }
}
