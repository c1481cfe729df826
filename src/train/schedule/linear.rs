//! `linear`: from the highest rate straight down to the floor, as BERT was trained.

use super::Schedule;

/// See the module.
pub static LINEAR: Schedule = Schedule {
    name: "linear",
    about: "straight down to the floor",
    keys: &["floor"],
    factor: |at| at.after_warmup(|progress| 1.0 - progress),
};
