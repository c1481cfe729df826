//! `span`: restore spans that were left out (T5, arXiv:1910.10683). Which ones:
//! [`crate::train::data::rows::spans`].
//!
//! Its sum is the cross-entropy at the labelled places, as of every objective that predicts tokens:
//! see `Labels` in the folder's `mod.rs`.

use super::{Kind, Language, RowKind, Task, language};

/// See the module.
pub static SPAN: Kind = Kind {
    name: "span",
    about: "restore spans that were left out",
    unit: "nats per target token",
    languages: &[Language::Spans],
    rows: |language| RowKind::of(Task::Restore, language),
    task: Some(Task::Restore),
    build: language,
};
