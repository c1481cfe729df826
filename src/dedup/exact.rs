//! Exact copies: xxh3-128 of the normalised text, and of the id.
//!
//! A text of which the normal form is empty (a row of dashes, a formula of symbols) is compared by
//! its own bytes, so that such texts are never thrown together.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

/// Seed that keeps the keys of raw texts apart from those of normal forms.
const RAW: u64 = 0x7261_7720_7465_7874;

/// Equal for two texts exactly if they are exact copies; `normal` is the normal form of `text`.
pub fn text_key(text: &str, normal: &str) -> u128 {
    if normal.is_empty() {
        xxh3_128_with_seed(text.as_bytes(), RAW)
    } else {
        xxh3_128(normal.as_bytes())
    }
}

/// Equal for two documents exactly if they have the same id.
pub fn id_key(id: &str) -> u128 {
    xxh3_128(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::normal::normalise;

    #[test]
    fn spelling_of_the_same_text_is_one_key_and_symbols_are_not() {
        let key = |text: &str| text_key(text, &normalise(text));
        assert_eq!(key("Dose: 5 mg."), key("dose 5\nMG"));
        assert_ne!(key("dose 5 mg"), key("dose 50 mg"));
        assert_ne!(key("---"), key("***"));
        assert_eq!(key("---"), key("---"));
    }
}
