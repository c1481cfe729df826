//! `clm`: predict each token from those before it (Radford et al. 2019).
//!
//! Its sum is the cross-entropy at the labelled places, as of every objective that predicts tokens:
//! see `Labels` in the folder's `mod.rs`.

use super::{Kind, Language, RowKind, Task, language};

/// See the module.
pub static CLM: Kind = Kind {
    name: "clm",
    about: "predict the next token",
    unit: "nats per token",
    languages: &[Language::Masked, Language::Causal],
    rows: |language| RowKind::of(Task::Continue, language),
    task: Some(Task::Continue),
    build: language,
};
