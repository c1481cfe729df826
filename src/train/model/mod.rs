//! The model: named weights, and the encoder as pure functions over them.
//!
//! Weights carry Hugging Face's BERT names, so with `norm = "post"` an exported folder is a `BertForMaskedLM`.
//! The functions take [`Weights`], not variables: given the variables they record a graph to differentiate; given
//! detached tensors they record none, which is how evaluation runs.

pub mod encoder;
pub mod parameters;

pub use encoder::{Config, Pass};
pub use parameters::{Parameters, Weights};
