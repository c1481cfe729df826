//! `wsd_sqrt`: as [`wsd`](super::wsd), with a fall that is steep at first: `1 − √r` of the way to
//! the floor is left when the share `r` of it is done (Hägele et al. 2024, arXiv:2405.18392).

use super::Schedule;

/// See the module.
pub static WSD_SQRT: Schedule = Schedule {
    name: "wsd_sqrt",
    about: "the highest rate, and down to the floor over the last steps, steeply at first",
    keys: &["floor", "decay"],
    factor: |at| at.at_the_end(|done| 1.0 - done.sqrt()),
};
