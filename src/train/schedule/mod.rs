//! Learning-rate schedules: pure functions from a step to a share of the highest rate.
//!
//! Every schedule rises linearly over the warm-up and then goes its own way. As in Hugging Face's `LambdaLR`
//! schedules the argument is the number of steps *already done*, so with a warm-up the first step has rate 0.
//! One more schedule is one file, one `mod` line and one line in [`SCHEDULES`].

pub mod constant;
pub mod cosine;
pub mod linear;

use crate::error::{Error, Result};
use crate::train::params;

/// A schedule by name.
pub struct Schedule {
    /// Name in the pipeline file.
    pub name: &'static str,
    /// What it does, in one line.
    pub meaning: &'static str,
    /// Share of the highest rate left after the part `progress` of the steps behind the warm-up, both in `[0, 1]`.
    pub decay: fn(progress: f64) -> f64,
}

/// Every schedule.
pub static SCHEDULES: &[&Schedule] = &[&linear::LINEAR, &cosine::COSINE, &constant::CONSTANT];

/// The schedule called `name`.
///
/// # Errors
/// With the names there are, if there is none of this name.
pub fn schedule(name: &str) -> Result<&'static Schedule> {
    SCHEDULES.iter().find(|schedule| schedule.name == name).copied().ok_or_else(|| {
        let names: Vec<String> = SCHEDULES.iter().map(|schedule| format!("`{}`", schedule.name)).collect();
        Error::usage(format!("`train.schedule.kind` is `{name}`")).hint(format!("use one of {}", names.join(", ")))
    })
}

impl Schedule {
    /// Share of the highest rate after `done` of `total` steps, `warmup` of which rise from 0; never below `floor`
    /// behind the warm-up.
    pub fn factor(&self, done: u64, total: u64, warmup: u64, floor: f64) -> f64 {
        if done < warmup {
            return done as f64 / warmup as f64;
        }
        let progress = (done - warmup) as f64 / (total.saturating_sub(warmup)).max(1) as f64;
        floor + (1.0 - floor) * (self.decay)(progress.min(1.0))
    }
}

/// The learning rate after `done` of `total` steps.
///
/// # Errors
/// If the schedule is not known.
pub fn learning_rate(done: u64, total: u64, highest: f64, params: &params::Schedule) -> Result<f64> {
    let warmup = (total as f64 * params.warmup).round_ties_even() as u64;
    Ok(highest * schedule(&params.kind)?.factor(done, total, warmup, params.floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, floor: f64, expected: &[(u64, f64)]) {
        for (step, factor) in expected {
            let found = schedule(name).unwrap().factor(*step, 100, 10, floor);
            assert!((found - factor).abs() < 1e-12, "{name} at {step}: {found}, not {factor}");
        }
    }

    /// Values of transformers' `get_{cosine,linear,constant}_schedule_with_warmup(warmup 10, total 100)`.
    #[test]
    fn tables_agree_with_transformers() {
        check("cosine", 0.0, &[(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.5), (100, 0.0), (120, 0.0)]);
        check("linear", 0.0, &[(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.5), (91, 0.1), (100, 0.0), (120, 0.0)]);
        check("constant", 0.0, &[(0, 0.0), (5, 0.5), (10, 1.0), (55, 1.0), (100, 1.0)]);
        check("cosine", 0.1, &[(10, 1.0), (55, 0.55), (100, 0.1)]);
    }

    #[test]
    fn every_schedule_is_named_explained_and_stays_in_0_to_1() {
        for (idx, schedule) in SCHEDULES.iter().enumerate() {
            assert!(!schedule.meaning.is_empty());
            assert!(SCHEDULES[..idx].iter().all(|other| other.name != schedule.name));
            for (total, warmup) in [(1, 0), (1, 1), (7, 7), (50, 3)] {
                let factors = (0..=total).map(|step| schedule.factor(step, total, warmup, 0.0));
                assert!(factors.into_iter().all(|factor| (0.0..=1.0).contains(&factor)), "{}", schedule.name);
            }
        }
    }
}
