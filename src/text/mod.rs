//! Text as every room sees it: words with their places, sentences, and one normal form.
//!
//! Nothing here knows a language model; the trainer's tokenizer lives in `train`.

pub mod han;
pub mod languages;
pub mod markup;
pub mod normal;
pub mod numbers;
pub mod sentences;
pub mod words;

/// Which bytes are in `list`, by their value: one look per byte where a scan would stop.
pub const fn byte_set(list: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut index = 0;
    while index < list.len() {
        set[list[index] as usize] = true;
        index += 1;
    }
    set
}
