//! `prefix`: go on with a text of which the encoder read the beginning. Where it is cut:
//! [`crate::train::data::rows::prefix`].
//!
//! Its sum is the cross-entropy at the labelled places, as of every objective that predicts tokens:
//! see `Labels` in the folder's `mod.rs`.

use super::{Kind, Language, RowKind, Task, language};

/// See the module.
pub static PREFIX: Kind = Kind {
    name: "prefix",
    about: "go on with a text whose beginning is given (with `train.mixed.on`)",
    unit: "nats per target token",
    languages: &[Language::Spans],
    rows: |language| RowKind::of(Task::Continue, language),
    task: Some(Task::Continue),
    build: language,
};
