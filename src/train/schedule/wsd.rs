//! `wsd`: warm-up, stable, decay (MiniCPM, arXiv:2404.06395): the highest rate until the last share
//! `decay` of the steps, then straight down to the floor. A run can be stretched by going on from
//! before the decay.

use super::Schedule;

/// See the module.
pub static WSD: Schedule = Schedule {
    name: "wsd",
    about: "the highest rate, and straight down to the floor over the last steps",
    keys: &["floor", "decay"],
    factor: |at| at.at_the_end(|done| 1.0 - done),
};
