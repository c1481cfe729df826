//! What chemists write before a name, with a hyphen: the d of "d-penicillamine", the alpha of
//! "alpha-lipoic acid", the 5 of "5-fluorouracil". It belongs to the mention, although the name
//! that the lexicon has begins behind it.

use crate::text::words::continues;

/// Descriptors of configuration and position, in small letters.
static DESCRIPTORS: &[&str] = &[
    "d",
    "l",
    "dl",
    "r",
    "s",
    "rs",
    "n",
    "o",
    "p",
    "m",
    "cis",
    "trans",
    "all-trans",
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "omega",
    "α",
    "β",
    "γ",
    "δ",
    "ε",
    "ω",
    "tert",
    "iso",
];

/// Bytes of a locant and its hyphen at the end of a text; 0 where there is none.
pub(super) fn at_end(text: &str) -> usize {
    let Some(before) = text.strip_suffix(['-', '\u{2010}', '\u{2011}']) else { return 0 };
    let begin = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| continues(*c) || matches!(c, '-' | ',' | '\'' | '\u{2019}'))
        .last();
    let Some((begin, _)) = begin else { return 0 };
    let locant = before[begin..].to_lowercase();
    let is_position = |part: &str| {
        let digits = part.trim_end_matches(['\'', '\u{2019}', 'a', 'b', 'c']);
        (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_locant =
        DESCRIPTORS.contains(&locant.as_str()) || locant.split([',', '-']).all(is_position);
    if is_locant { text.len() - begin } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locants() {
        for (text, expected) in [
            ("with d-", "d-"),
            ("(DL-", "DL-"),
            ("of alpha-", "alpha-"),
            ("β-", "β-"),
            ("and 2,3'-", "2,3'-"),
            ("of 5-", "5-"),
            ("17\u{2010}", "17\u{2010}"),
            ("nitro-l-", ""),
            ("Alzheimer\u{2019}s-", ""),
            ("about 1950-", ""),
            ("non-", ""),
            ("a, -", ""),
            ("-", ""),
            ("d -", ""),
            ("d", ""),
        ] {
            assert_eq!(&text[text.len() - at_end(text)..], expected, "{text}");
        }
    }
}
