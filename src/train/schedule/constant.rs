//! `constant`: the highest rate throughout.

use super::Schedule;

/// See the module.
pub static CONSTANT: Schedule =
    Schedule { name: "constant", meaning: "the highest rate throughout", factor: |at| at.after_warmup(|_| 1.0) };
