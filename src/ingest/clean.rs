//! The layout of every document's text, whatever format it came from.
//!
//! Line ends become line feeds, white space at line ends goes, runs of empty lines become one,
//! control characters and byte order marks go. Nothing else changes: no Unicode normalisation, no
//! case, no quotes.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2_iter, memchr3_iter};

/// What ends a line, besides the pair of carriage return and line feed.
const LINE_ENDS: [char; 7] = ['\n', '\r', '\x0b', '\x0c', '\u{85}', '\u{2028}', '\u{2029}'];

/// A text in clean layout; empty if there is nothing but white space.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut empty_lines = 0;

    if is_plain(text.as_bytes()) {
        // The common case, four times as fast: no other line ends and nothing to take out.
        let mut start = 0;
        for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
            push_line(&mut clean, &mut empty_lines, &text[start..end], false);
            start = end + 1;
        }
    } else {
        let text = text.replace("\r\n", "\n");
        text.split(LINE_ENDS).for_each(|line| push_line(&mut clean, &mut empty_lines, line, true));
    }

    clean
}

fn push_line(clean: &mut String, empty_lines: &mut usize, line: &str, filter: bool) {
    let line = line.trim_end_matches(is_blank);
    if line.is_empty() {
        *empty_lines += 1;
        return;
    }

    if !clean.is_empty() {
        clean.push_str(if *empty_lines > 0 { "\n\n" } else { "\n" });
    }
    *empty_lines = 0;

    if filter {
        clean.extend(line.chars().filter(|c| !is_removed(*c)));
    } else {
        clean.push_str(line);
    }
}

/// Whether none of the bytes can belong to a character that is taken out or ends a line, other than
/// the line feed.
fn is_plain(bytes: &[u8]) -> bool {
    let control = |byte: u8| (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    // Many bytes at once: a loop that may end at each of them is not vectorised.
    if bytes.chunks(4096).any(|bytes| bytes.iter().fold(false, |seen, &byte| seen | control(byte)))
    {
        return false;
    }
    // C1 controls are C2 80..9F, the separators E2 80 A8 and A9, the marks EF BB BF, EF BF BE and
    // EF BF BF.
    !memchr3_iter(0xc2, 0xe2, 0xef, bytes).any(|at| match &bytes[at..] {
        [0xc2, next, ..] => *next < 0xa0,
        [0xe2, 0x80, last, ..] => matches!(last, 0xa8 | 0xa9),
        [0xef, 0xbb, 0xbf, ..] | [0xef, 0xbf, 0xbe | 0xbf, ..] => true,
        _ => false,
    })
}

/// A text on one line: white space of any kind becomes one space, and there is none at either end.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if is_one_line(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());

    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        // The marks that are taken out begin with this byte.
        let word = match memchr(0xef, word.as_bytes()) {
            None => Cow::Borrowed(word),
            Some(_) => Cow::Owned(word.chars().filter(|c| !is_removed(*c)).collect()),
        };
        if !word.is_empty() && !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }

    Cow::Owned(line)
}

/// Whether a text is on one line already.
fn is_one_line(text: &[u8]) -> bool {
    let control = |byte: u8| byte < b' ' || byte == 0x7f;
    let lead = |byte: u8| matches!(byte, 0xc2 | 0xe1..=0xe3 | 0xef);
    let (has_control, has_lead) = text
        .iter()
        .fold((false, false), |(seen, leads), &byte| (seen | control(byte), leads | lead(byte)));
    let behind = text.get(1..).unwrap_or(&[]);
    let two_spaces =
        text.iter().zip(behind).fold(false, |seen, (&a, &b)| seen | ((a == b' ') & (b == b' ')));
    let at_an_end = text.starts_with(b" ") || text.ends_with(b" ");

    if has_control || two_spaces || at_an_end {
        return false;
    }
    // White space beyond ASCII, C1 controls and marks that are taken out; a lead byte is never the
    // rest of a character.
    let is_bad = |at: usize| match &text[at..] {
        [0xc2, next, ..] => *next <= 0xa0,
        [0xe1, 0x9a, 0x80, ..] | [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => true,
        [0xe2, 0x80, last, ..] => matches!(last, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf),
        [0xef, 0xbb, 0xbf, ..] | [0xef, 0xbf, 0xbe | 0xbf, ..] => true,
        _ => false,
    };

    !has_lead
        || !memchr3_iter(0xc2, 0xe2, 0xef, text).chain(memchr2_iter(0xe1, 0xe3, text)).any(is_bad)
}

fn is_removed(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || is_removed(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_made_plain() {
        for (text, expected) in [
            ("a  \r\nb\r\n\r\n\r\n\r\nc\r\n", "a\nb\n\nc"),
            ("\n \n  indented\t\n\tkept ", "  indented\n\tkept"),
            ("bell\u{7} and\u{0} \u{FEFF}mark\x0cnew page\u{2029}x", "bell and mark\nnew page\nx"),
            ("mac\rlines\r\rhere", "mac\nlines\n\nhere"),
            (" \u{3000}\n\u{FEFF}\n", ""),
            ("e\u{301} stays", "e\u{301} stays"),
        ] {
            assert_eq!(clean(text), expected.to_string(), "{text:?}");
        }
        assert_eq!(one_line(" a\n b\u{0}c\u{3000}"), "a b c");
    }

    proptest! {
        /// The check by bytes against one by characters.
        #[test]
        fn what_is_left_alone_is_what_needs_nothing(text in "([a-z–é“ \u{a0}，中]|[\u{7f}-\u{a1}\u{1680}\u{2000}-\u{2060}\u{3000}\u{3001}\u{feff}\u{fffd}-\u{ffff}]){0,6}") {
            let needs_nothing = text.chars().all(|c| c == ' ' || !is_blank(c) && !c.is_control())
                && !text.contains("  ") && text.trim() == text;
            prop_assert_eq!(is_one_line(text.as_bytes()), needs_nothing, "{:?}", text);
        }

        #[test]
        fn one_line_is_one_line(text in "[a \\n\\t\u{0}\u{85}\u{FEFF}\u{2028}\u{FFFE}é“，中\u{3000}]{0,12}") {
            let once = one_line(&text).into_owned();
            prop_assert_eq!(one_line(&once).into_owned(), once.as_str());
            prop_assert!(!once.contains("  ") && once.trim() == once && !once.contains(['\n',
                '\u{FEFF}']), "{:?}", once);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&once), letters(&text));
        }

        #[test]
        fn clean_text_is_clean(text in "[a \\n\\r\\t\u{0}\u{85}\u{FEFF}\u{2028}\u{FFFE}é“，中]{0,30}") {
            let once = clean(&text);
            prop_assert_eq!(&clean(&once), &once);
            prop_assert!(is_plain(once.as_bytes()));
            prop_assert!(!once.contains("\n\n\n") && !once.contains(" \n") && !once.contains('\r'));
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&once), letters(&text));
        }
    }
}
