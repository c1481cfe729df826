//! Learning-rate schedules: pure functions from a step to a share of the highest rate.
//!
//! Every schedule rises linearly over the warm-up (`stlr` from its floor) and then goes its own
//! way. As in Hugging Face's `LambdaLR` schedules the argument is the number of steps *already
//! done*, so with a warm-up the first step has rate 0. One more schedule is one file, one `mod`
//! line and one line in [`SCHEDULES`].

pub mod constant;
pub mod cosine;
pub mod inverse_sqrt;
pub mod linear;
pub mod stlr;
pub mod wsd;
pub mod wsd_sqrt;

use crate::error::Result;
use crate::flow::registry;
use crate::train::params;

/// A schedule by name.
pub struct Schedule {
    /// Name in the pipeline file.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What of `[train.schedule]` it reads beside `warmup`.
    pub keys: &'static [&'static str],
    /// Share of the highest rate, in `[0, 1]`.
    pub factor: fn(&At) -> f64,
}

/// Every schedule.
#[rustfmt::skip]
pub static SCHEDULES: &[&Schedule] = &[
    &linear::LINEAR,
    &cosine::COSINE,
    &constant::CONSTANT,
    &inverse_sqrt::INVERSE_SQRT,
    &wsd::WSD,
    &wsd_sqrt::WSD_SQRT,
    &stlr::STLR,
];

/// Where a run stands, and how its schedule is set.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Steps done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
    /// Steps in which the rate rises.
    pub warmup: u64,
    /// Share of the highest rate that is left at the end.
    pub floor: f64,
    /// Share of the steps in which the rate falls ([`wsd`], [`wsd_sqrt`]).
    pub decay: f64,
}

impl At {
    /// The share of the warm-up that is done; `None` behind it.
    fn rising(&self) -> Option<f64> {
        (self.done < self.warmup).then(|| self.done as f64 / self.warmup as f64)
    }

    /// Steps done behind the warm-up.
    fn behind_warmup(&self) -> u64 {
        self.done.saturating_sub(self.warmup)
    }

    /// The share of the steps behind the warm-up that is done, in `[0, 1]`.
    fn progress(&self) -> f64 {
        (self.behind_warmup() as f64 / self.total.saturating_sub(self.warmup).max(1) as f64)
            .min(1.0)
    }

    /// Rises from 0 over the warm-up, then goes from the highest rate to the floor as `fall` goes
    /// from 1 to 0.
    fn after_warmup(&self, fall: impl Fn(f64) -> f64) -> f64 {
        self.rising().unwrap_or_else(|| self.floor + (1.0 - self.floor) * fall(self.progress()))
    }

    /// Rises from 0 over the warm-up, stays, and in the last share of the steps goes to the floor
    /// as `fall` of the share of them that is done goes from 1 to 0.
    fn at_the_end(&self, fall: impl Fn(f64) -> f64) -> f64 {
        let falling = (self.total as f64 * self.decay).round_ties_even();
        let left = self.total.saturating_sub(self.done) as f64;
        let share = if left < falling { fall(1.0 - left / falling) } else { 1.0 };
        self.rising().unwrap_or(self.floor + (1.0 - self.floor) * share)
    }
}

/// The schedule called `name`.
///
/// # Errors
/// With the names there are, if there is none of this name.
pub fn schedule(name: &str) -> Result<&'static Schedule> {
    registry::find("schedule", SCHEDULES, name, |schedule| schedule.name)
        .map_err(|error| error.at("`train.schedule.kind`"))
}

/// The learning rate after `done` of `total` steps.
///
/// # Errors
/// If the schedule is not known.
pub fn learning_rate(
    done: u64,
    total: u64,
    highest: f64,
    params: &params::Schedule,
) -> Result<f64> {
    let warmup = (total as f64 * params.warmup).round_ties_even() as u64;
    let at = At { done, total, warmup, floor: params.floor, decay: params.decay };
    Ok(highest * (schedule(&params.kind)?.factor)(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(name: &str, done: u64, total: u64, warmup: u64, floor: f64) -> f64 {
        (schedule(name).unwrap().factor)(&At { done, total, warmup, floor, decay: 0.2 })
    }

    fn check(name: &str, floor: f64, expected: &[(u64, f64)]) {
        for (step, expected) in expected {
            let found = factor(name, *step, 100, 10, floor);
            assert!((found - expected).abs() < 1e-12, "{name} at {step}: {found}, not {expected}");
        }
    }

    /// Values of transformers' `get_{cosine,linear,constant}_schedule_with_warmup(warmup 10, total
    /// 100)`, of its `get_inverse_sqrt_schedule(10)`, and of `get_wsd_schedule(10, 20,
    /// num_training_steps=100, decay_type="linear")`.
    #[test]
    fn tables_agree_with_transformers() {
        check("cosine", 0.0, &[(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.5), (100, 0.0), (120, 0.0)]);
        check(
            "linear",
            0.0,
            &[(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.5), (91, 0.1), (100, 0.0), (120, 0.0)],
        );
        check("constant", 0.0, &[(0, 0.0), (5, 0.5), (10, 1.0), (55, 1.0), (100, 1.0)]);
        check("cosine", 0.1, &[(10, 1.0), (55, 0.55), (100, 0.1)]);
        check("inverse_sqrt", 0.0, &[(0, 0.0), (5, 0.5), (10, 1.0), (40, 0.5), (90, 1.0 / 3.0)]);
        assert_eq!(factor("inverse_sqrt", 30_000, 50_000, 0, 0.0), 0.5);
        check(
            "wsd",
            0.0,
            &[
                (0, 0.0),
                (5, 0.5),
                (10, 1.0),
                (80, 1.0),
                (90, 0.5),
                (99, 0.05),
                (100, 0.0),
                (120, 0.0),
            ],
        );
        check("wsd", 0.1, &[(80, 1.0), (90, 0.55), (100, 0.1)]);
        // `decay_type="1-sqrt"`.
        let half = 0.5_f64.sqrt();
        check("wsd_sqrt", 0.0, &[(5, 0.5), (80, 1.0), (85, 0.5), (90, 1.0 - half), (100, 0.0)]);
        check("wsd_sqrt", 0.33, &[(80, 1.0), (85, 0.665), (90, 1.0 - 0.67 * half), (100, 0.33)]);
    }

    /// The formula of ULMFiT with cut 0.1 and ratio 32; its rate of 0.01 gives .0003125, .00515625,
    /// .01 and so on.
    #[test]
    fn the_slanted_triangle_is_that_of_ulmfit() {
        let ratio = 1.0 / 32.0;
        check(
            "stlr",
            ratio,
            &[(0, ratio), (5, 0.515_625), (10, 1.0), (55, 0.515_625), (100, ratio)],
        );
    }

    #[test]
    fn every_schedule_is_named_explained_and_stays_in_0_to_1() {
        for (idx, schedule) in SCHEDULES.iter().enumerate() {
            assert!(!schedule.about.is_empty());
            assert!(SCHEDULES[..idx].iter().all(|other| other.name != schedule.name));

            for (total, warmup) in [(1, 0), (1, 1), (7, 7), (50, 3)] {
                let factors =
                    (0..=total).map(|step| factor(schedule.name, step, total, warmup, 0.0));
                assert!(
                    factors.into_iter().all(|factor| (0.0..=1.0).contains(&factor)),
                    "{}",
                    schedule.name
                );
            }
        }
    }
}
