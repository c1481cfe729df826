//! Text as every room sees it: words with their places, sentences, and one normal form.
//!
//! Nothing here knows a language model; the trainer's tokenizer lives in `train`.

pub mod normal;
pub mod sentences;
pub mod words;
