//! The training loop and what stands around it.
//!
//! `shape` makes the model that the settings describe, `unused` refuses settings without effect,
//! [`plan`] tells what a run needs and [`preset`] holds the settings of well-known models;
//! `session` begins, resumes and ends a run, `trainer` is the loop, and `passes` what a step of it
//! computes. [`coverage`] fails the run if a parameter gets no gradient; [`selective`] keeps the
//! hardest rows; [`checkpoint`] saves and resumes; [`evaluate`] measures the validation split,
//! [`losses`] every training document; [`metrics`] keeps the log, [`report`] and [`tensorboard`]
//! show it.

pub mod checkpoint;
pub mod coverage;
pub mod evaluate;
pub mod losses;
pub mod metrics;
mod passes;
pub mod plan;
pub mod preset;
pub mod report;
pub mod selective;
pub(super) mod session;
#[cfg(test)]
mod settings_tests;
mod shape;
mod taught;
pub mod tensorboard;
#[cfg(test)]
mod tests;
pub(super) mod trainer;
mod unused;
