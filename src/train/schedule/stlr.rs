//! `stlr`: the slanted triangle of ULMFiT (arXiv:1801.06146): a short straight rise from the floor
//! and a long straight fall back to it. The reference has a floor of 1/32 and rises over a tenth of
//! the steps.

use super::Schedule;

/// See the module.
pub static STLR: Schedule = Schedule {
    name: "stlr",
    about: "a slanted triangle from the floor up and back",
    keys: &["floor"],
    factor: |at| {
        let share = at.rising().unwrap_or_else(|| 1.0 - at.progress());
        at.floor + (1.0 - at.floor) * share
    },
};
