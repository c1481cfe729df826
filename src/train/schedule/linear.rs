//! `linear`: from the highest rate straight down to the floor, as BERT was trained.

use super::Schedule;

/// See the module.
pub static LINEAR: Schedule = Schedule {
    name: "linear",
    meaning: "straight down to the floor",
    factor: |at| at.after_warmup(|progress| 1.0 - progress),
};
