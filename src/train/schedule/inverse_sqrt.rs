//! `inverse_sqrt`: by one over the root of the steps, as T5 was trained
//! (`get_inverse_sqrt_schedule` in transformers): `√(scale / (scale + steps behind the warm-up))`,
//! where the scale is the warm-up, or 10,000 steps without one. It goes on the same however long
//! the run is.

use super::Schedule;

/// Steps over which the rate falls to `1/√2` where there is no warm-up.
const SCALE: f64 = 10_000.0;

/// See the module.
pub static INVERSE_SQRT: Schedule = Schedule {
    name: "inverse_sqrt",
    about: "by one over the root of the steps, whatever the length of the run",
    keys: &["floor"],
    factor: |at| {
        let scale = if at.warmup == 0 { SCALE } else { at.warmup as f64 };
        at.rising()
            .unwrap_or_else(|| at.floor.max((scale / (scale + at.behind_warmup() as f64)).sqrt()))
    },
};
