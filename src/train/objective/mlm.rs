//! `mlm`: predict masked tokens (arXiv:1810.04805). Which ones:
//! [`crate::train::data::rows::masked`].
//!
//! Its sum is the cross-entropy at the labelled places, as of every objective that predicts tokens:
//! see `Labels` in the folder's `mod.rs`.

use super::{Kind, Language, RowKind, Task, language};

/// See the module.
pub static MLM: Kind = Kind {
    name: "mlm",
    about: "predict masked tokens from both sides",
    unit: "nats per labelled token",
    languages: &[Language::Masked, Language::Causal],
    rows: |language| RowKind::of(Task::Restore, language),
    task: Some(Task::Restore),
    build: language,
};
