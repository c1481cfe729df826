//! The normal form two texts are compared in: case, width, accents, punctuation and spacing do not
//! matter.
//!
//! Follows datatrove's `TextNormConfig` (lower case, punctuation to space, accents off), with two
//! changes: compatibility forms are folded first (NFKD, so full-width letters and digits equal the
//! plain ones), and numbers stay, because in medicine and law a number is often the only difference
//! between two texts.
//!
//! Runs of ASCII and of plain ideographs, which are most of any text, are copied through a table;
//! only what is left goes through Unicode's tables. Cutting there is exact: ASCII and ideographs
//! are starters without a decomposition, and Unicode reorders marks only between two starters.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::text::words::is_cjk;

/// What an ASCII byte becomes: a lower-case letter, a digit, or a space.
static FOLD: [u8; 128] = fold_table();

const fn fold_table() -> [u8; 128] {
    let mut table = [b' '; 128];
    let mut byte = 0;

    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }

    table
}

/// The text in its normal form: words of letters and digits separated by one space, CJK characters
/// unseparated.
pub fn normalise(text: &str) -> String {
    let mut normal = Normal { bytes: Vec::with_capacity(text.len()), after_word: false };
    let mut rest = text;

    while !rest.is_empty() {
        let (ascii, other) = rest.split_at(ascii_prefix(rest.as_bytes()));
        normal.push_ascii(ascii.as_bytes());
        let end = other.bytes().position(|byte| byte.is_ascii()).unwrap_or(other.len());
        normal.push_other(&other[..end]);
        rest = &other[end..];
    }

    normal.finish()
}

/// How many leading bytes are ASCII.
fn ascii_prefix(bytes: &[u8]) -> usize {
    let whole =
        bytes.chunks(32).take_while(|chunk| chunk.is_ascii()).map(<[u8]>::len).sum::<usize>();
    whole + bytes[whole..].iter().take_while(|byte| byte.is_ascii()).count()
}

/// A normal form while it is built. A space stands at its end only behind a word.
struct Normal {
    bytes: Vec<u8>,
    /// Whether the last character belongs to a word of an alphabetic script, so that a gap must be
    /// written.
    after_word: bool,
}

impl Normal {
    /// Without a branch: every byte is written, and the place moves on unless it would double a
    /// space.
    fn push_ascii(&mut self, run: &[u8]) {
        let from = self.bytes.len();
        self.bytes.resize(from + run.len(), 0);
        let out = &mut self.bytes[from..];
        let (mut at, mut is_word) = (0, self.after_word);

        for byte in run {
            let folded = FOLD[usize::from(byte & 0x7f)];
            out[at] = folded;
            let was_word = is_word;
            is_word = folded != b' ';
            at += usize::from(is_word | was_word);
        }

        self.bytes.truncate(from + at);
        self.after_word = is_word;
    }

    fn push_other(&mut self, run: &str) {
        let mut odd = 0;
        for (at, c) in run.char_indices() {
            let plain = matches!(c, '\u{4e00}'..='\u{9fff}');
            if !plain && !is_plain_gap(c) {
                continue;
            }
            self.push_odd(&run[odd..at]);

            if plain {
                self.push(c)
            } else {
                self.gap()
            }

            odd = at + c.len_utf8();
        }
        self.push_odd(&run[odd..]);
    }

    fn push_odd(&mut self, run: &str) {
        for c in run.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
            if c.is_alphanumeric() { self.push(c.to_ascii_lowercase()) } else { self.gap() }
        }
    }

    fn gap(&mut self) {
        if self.after_word {
            self.bytes.push(b' ');
            self.after_word = false;
        }
    }

    fn push(&mut self, c: char) {
        let cjk = is_cjk(c);
        if cjk {
            self.trim();
        }
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.after_word = !cjk;
    }

    fn trim(&mut self) {
        if self.bytes.last() == Some(&b' ') {
            self.bytes.pop();
        }
    }

    fn finish(mut self) -> String {
        self.trim();
        String::from_utf8(self.bytes)
            .unwrap_or_else(|cause| String::from_utf8_lossy(cause.as_bytes()).into_owned())
    }
}

/// Dashes, quotes and CJK punctuation: the common characters of which NFKD leaves neither letter
/// nor digit.
fn is_plain_gap(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2027}' | '\u{3000}'..='\u{3002}' | '\u{3008}'..='\u{3011}'
        | '\u{ff01}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}'
        | '\u{ff1f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, character by character, without any shortcut.
    fn plainly(text: &str) -> String {
        let (mut normal, mut gap) = (String::new(), false);
        for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
            if !c.is_alphanumeric() {
                gap = true;
                continue;
            }

            if gap
                && !normal.is_empty()
                && !is_cjk(c)
                && !normal.chars().next_back().is_some_and(is_cjk)
            {
                normal.push(' ');
            }

            gap = false;
            normal.push(c.to_ascii_lowercase());
        }
        normal
    }

    #[test]
    fn what_does_not_matter_is_folded() {
        assert_eq!(normalise("  Café—au  LAIT! "), "cafe au lait");
        assert_eq!(normalise("ＡＢＣ１２，阿司匹林。 用量"), "abc12阿司匹林用量");
        assert_eq!(normalise("dose: 5 mg"), normalise("Dose 5\tmg."));
        assert_ne!(normalise("dose 5 mg"), normalise("dose 50 mg"));
        assert_eq!(normalise("!?…"), "");
    }

    #[test]
    fn every_character_is_folded_as_defined() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            for text in [format!("a {c} b"), format!("中{c}文"), format!("a{c}\u{301}1")] {
                assert_eq!(normalise(&text), plainly(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn a_long_ascii_run_is_found_to_its_end() {
        for n in 0..100 {
            assert_eq!(ascii_prefix(format!("{}é{}", "x".repeat(n), "y".repeat(40)).as_bytes()), n);
        }
    }

    proptest! {
        #[test]
        fn normal_form_is_stable(text in "[ -~éÉ中文，。ａ]{0,40}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn shortcuts_change_nothing(text in "([ -~]{0,40}|[éß中文，。ａ–\u{301}\u{316}가ガﬁ]{0,6}|.{0,5}){0,8}") {
            prop_assert_eq!(normalise(&text), plainly(&text));
        }
    }
}
