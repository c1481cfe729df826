//! `clm`: predict each token from those before it (Radford et al. 2019).

use super::{Kind, Language, RowKind, language};

/// See the module.
pub static CLM: Kind = Kind {
    name: "clm",
    about: "predict the next token",
    unit: "nats per token",
    languages: &[Language::Causal],
    rows: RowKind::Causal,
    build: language,
};
