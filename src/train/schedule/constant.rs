//! `constant`: the highest rate throughout.

use super::Schedule;

/// See the module.
pub static CONSTANT: Schedule = Schedule {
    name: "constant",
    about: "the highest rate throughout",
    keys: &[],
    factor: |at| at.after_warmup(|_| 1.0),
};
