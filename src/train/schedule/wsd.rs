//! `wsd`: warm-up, stable, decay (MiniCPM, arXiv:2404.06395): the highest rate until the last share
//! `decay` of the steps, then straight down to the floor. A run can be stretched by going on from
//! before the decay.

use super::Schedule;

/// See the module.
pub static WSD: Schedule = Schedule {
    name: "wsd",
    about: "the highest rate, and straight down to the floor over the last steps",
    keys: &["floor", "decay"],
    factor: |at| {
        let falling = (at.total as f64 * at.decay).round_ties_even();
        let left = at.total.saturating_sub(at.done) as f64;
        let share = if left < falling { left / falling } else { 1.0 };
        at.rising().unwrap_or(at.floor + (1.0 - at.floor) * share)
    },
};
