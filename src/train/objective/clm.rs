//! `clm`: predict each token from those before it (Radford et al. 2019).

use super::{Term, labels, language_inputs, language_sum, reaches_no_other};
use crate::train::model::Language;

/// See the module.
pub static CLM: Term = Term {
    name: "clm",
    meaning: "predict the next token",
    unit: "nats per token",
    reaches: reaches_no_other,
    languages: &[Language::Causal],
    weight: |objective| objective.clm_weight,
    count: labels,
    inputs: language_inputs,
    sum: language_sum,
};
