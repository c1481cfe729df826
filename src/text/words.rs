//! Words with their places: runs of letters and digits in alphabetic scripts, single characters in
//! CJK.
//!
//! Chinese and Japanese are written without spaces; one character is one word here, which needs no
//! dictionary and never fails. That is what lengths, shingles and rarity are made of, in every
//! language alike.

/// Whether a character belongs to a script written without spaces between words (Han with its
/// extensions, Hiragana, Katakana). Ranges as in BERT's `_is_chinese_char`, plus kana.
pub fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x3005 | 0x3007 | 0x3040..=0x30FF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0xFF66..=0xFF9D | 0x20000..=0x2FA1F | 0x30000..=0x323AF)
}

/// Whether a character continues a word of an alphabetic script: letters, digits and combining
/// marks.
pub(crate) fn continues(c: char) -> bool {
    (c.is_alphanumeric() || is_mark(c)) && !is_cjk(c)
}

/// Combining marks that follow a letter (the common blocks; enough to keep `é` written as two
/// characters whole).
fn is_mark(c: char) -> bool {
    matches!(u32::from(c),
        0x0300..=0x036F | 0x0483..=0x0489 | 0x0591..=0x05C7 | 0x064B..=0x065F | 0x0900..=0x0903
        | 0x093A..=0x094F | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF)
}

/// `text` with its first letter in upper case.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A word and where it begins, in bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// First byte.
    pub start: usize,
    /// The word itself.
    pub text: &'a str,
}

/// The words of a text in order. An apostrophe between letters stays inside the word ("don't").
pub fn words(text: &str) -> Words<'_> {
    Words { text, at: 0 }
}

/// Iterator of [`words`].
pub struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let bytes = self.text.as_bytes();
        // Most bytes are ASCII, and need no decoding.
        let mut start = self.at;
        let first = loop {
            let byte = *bytes.get(start)?;
            if byte.is_ascii() {
                if byte.is_ascii_alphanumeric() {
                    break char::from(byte);
                }
                start += 1;
                continue;
            }

            let c = self.text[start..].chars().next()?;
            if c.is_alphanumeric() {
                break c;
            }
            start += c.len_utf8();
        };

        let mut end = start + first.len_utf8();
        while !is_cjk(first) {
            end += bytes[end..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let Some(c) = self.text[end..].chars().next() else { break };
            let behind = end + c.len_utf8();
            let joins = matches!(c, '\'' | '\u{2019}')
                && self.text[behind..].chars().next().is_some_and(continues);

            if !continues(c) && !joins {
                break;
            }
            end = behind;
        }

        self.at = end;
        Some(Word { start, text: &self.text[start..end] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = words(text).map(|word| word.text).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn words_of_many_scripts() {
        check("The patient's BP, 120/80!", &["The", "patient's", "BP", "120", "80"]);
        check("阿司匹林 aspirin片", &["阿", "司", "匹", "林", "aspirin", "片"]);
        check("カタカナ。", &["カ", "タ", "カ", "ナ"]);
        check("cafe\u{301} ' x", &["cafe\u{301}", "x"]);
        check("…—", &[]);
    }

    /// Word by word over characters, as it is defined.
    fn plainly(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let mut chars = text.char_indices().peekable();

        while let Some((start, first)) = chars.next() {
            if !first.is_alphanumeric() {
                continue;
            }
            let mut end = start + first.len_utf8();

            while let Some((at, c)) = chars.peek().copied().filter(|_| !is_cjk(first)) {
                let next = text[at + c.len_utf8()..].chars().next();
                let joins = matches!(c, '\'' | '’') && next.is_some_and(continues);
                if !continues(c) && !joins {
                    break;
                }
                end = at + c.len_utf8();
                chars.next();
            }

            found.push(&text[start..end]);
        }

        found
    }

    proptest! {
        #[test]
        fn words_are_those_of_the_definition(text in "([a-zA-Z0-9'’ .,é\u{301}中の—]|.){0,40}") {
            let found: Vec<&str> = words(&text).map(|word| word.text).collect();
            prop_assert_eq!(found, plainly(&text));
        }

        #[test]
        fn words_are_slices_in_order(text in ".{0,60}") {
            let mut at = 0;
            for word in words(&text) {
                prop_assert!(word.start >= at && !word.text.is_empty());
                prop_assert_eq!(&text[word.start..word.start + word.text.len()], word.text);
                at = word.start + word.text.len();
            }
        }
    }
}
