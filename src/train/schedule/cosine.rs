//! `cosine`: half a cosine from the highest rate to the floor (SGDR without restarts,
//! arXiv:1608.03983).

use super::Schedule;

/// See the module.
pub static COSINE: Schedule = Schedule {
    name: "cosine",
    about: "half a cosine down to the floor",
    keys: &["floor"],
    factor: |at| at.after_warmup(|progress| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())),
};
