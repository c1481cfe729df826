//! The inside of one line: bold and italic marks, spaces, and what is around removed pieces.

use super::{APOSTROPHE, GAP};

/// `line` without the marks of bold and italic text.
///
/// A run of four apostrophes is one and bold, of more than five the rest and both. When a line has
/// an odd number of bold and of italic marks, one run of three was an apostrophe before italic text
/// (`l'''Iliade''`): MediaWiki's own rule picks the first that follows a one-letter word, else a
/// longer word, else a space.
pub(super) fn without_quotes(line: &str, out: &mut String) {
    let runs = runs(line);
    let (mut bold, mut italic) = (0_usize, 0_usize);

    for run in &runs {
        match run.1 {
            2 => italic += 1,
            3 | 4 => bold += 1,
            _ => (bold, italic) = (bold + 1, italic + 1),
        }
    }

    let apostrophe = if bold % 2 == 1 && italic % 2 == 1 { misread(line, &runs) } else { None };
    let mut at = 0;

    for (number, &(start, length)) in runs.iter().enumerate() {
        out.push_str(&line[at..start]);
        let literal = match length {
            4 => 1,
            0..=5 => usize::from(apostrophe == Some(number)),
            longer => longer - 5,
        };
        out.extend(std::iter::repeat_n('\'', literal));
        at = start + length;
    }

    out.push_str(&line[at..]);
}

/// Where runs of two or more apostrophes begin, and how long they are.
fn runs(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let mut runs = Vec::new();
    let mut at = 0;

    while let Some(distance) = memchr::memchr(b'\'', &bytes[at..]) {
        let start = at + distance;
        let length = bytes[start..].iter().take_while(|&&byte| byte == b'\'').count();
        if length >= 2 {
            runs.push((start, length));
        }
        at = start + length;
    }

    runs
}

/// The run of three that is an apostrophe and an italic mark.
fn misread(line: &str, runs: &[(usize, usize)]) -> Option<usize> {
    let mut best: Option<(u8, usize)> = None;
    for (number, &(start, length)) in runs.iter().enumerate().filter(|(_, run)| run.1 == 3) {
        debug_assert_eq!(length, 3);
        let mut before = line[..start].chars().rev();
        let rank = match (before.next(), before.next()) {
            (Some(' ') | None, _) => 2,
            (_, Some(' ') | None) => 0,
            _ => 1,
        };
        if best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, number));
        }
    }
    best.map(|(_, number)| number)
}

/// Tidies characters into a line.
struct Line<'o> {
    out: &'o mut String,
    start: usize,
    space: bool,
    /// Something was removed behind the last character.
    gap: bool,
    /// Something was removed since the last opening parenthesis.
    gap_in_parenthesis: bool,
}

/// Appends `line` to `out` with single spaces, without parentheses and separators that only held
/// removed pieces, and without the space that a removed piece leaves before punctuation.
pub(super) fn tidy(line: &str, out: &mut String) {
    let start = out.len();
    let mut line_out = Line { out, start, space: false, gap: false, gap_in_parenthesis: false };
    let bytes = line.as_bytes();
    let mut at = 0;

    while at < bytes.len() {
        let plain = if line_out.gap { 0 } else { plain(&bytes[at..]) };
        if plain > 0 {
            line_out.word(&line[at..at + plain]);
            at += plain;
            continue;
        }

        let Some(c) = line[at..].chars().next() else { break };
        line_out.character(c);
        at += c.len_utf8();
    }
}

/// What a byte says about the character that it begins or goes on with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    /// It stays as it is, unless something was removed right before it.
    Plain,
    Space,
    /// The bytes behind it tell.
    Unclear,
    /// A parenthesis or a control character.
    Other,
}

const BYTES: [Byte; 256] = {
    let mut bytes = [Byte::Plain; 256];
    let mut value = 0;
    while value < 256 {
        bytes[value] = match value {
            0x20 => Byte::Space,
            0..0x20 | 0x28 | 0x29 | 0x7f => Byte::Other,
            0xc2 | 0xe1..=0xe3 | 0xef => Byte::Unclear,
            _ => Byte::Plain,
        };
        value += 1;
    }
    bytes
};

/// Length of what stands at the start and stays as it is, unless something was removed right before
/// it: characters that [`Line::character`] would only pass on, with single spaces between them.
fn plain(bytes: &[u8]) -> usize {
    let mut end = 0;
    loop {
        end += bytes[end..]
            .iter()
            .take_while(|byte| BYTES[usize::from(**byte)] == Byte::Plain)
            .count();
        let is_in = match bytes.get(end).map(|byte| BYTES[usize::from(*byte)]) {
            Some(Byte::Unclear) => is_plain(&bytes[end..]),
            Some(Byte::Space) if end > 0 => {
                match bytes.get(end + 1).map(|byte| BYTES[usize::from(*byte)]) {
                    Some(Byte::Unclear) => is_plain(&bytes[end + 1..]),
                    behind => behind == Some(Byte::Plain),
                }
            }
            _ => false,
        };
        if !is_in {
            return end;
        }
        end += 1;
    }
}

/// Whether a character is plain whose first byte does not tell.
fn is_plain(bytes: &[u8]) -> bool {
    match bytes {
        // Control characters, no-break space, soft hyphen.
        [0xc2, next, ..] => *next > 0xa0 && *next != 0xad,
        // The Ogham space.
        [0xe1, next, ..] => *next != 0x9a,
        // Among spaces, dashes and marks what is neither a space nor invisible.
        [0xe2, 0x80, last, ..] => matches!(last, 0x8c | 0x8d | 0x90..=0xa7 | 0xb0..=0xbf),
        [0xe2, 0x81, last, ..] => *last < 0x9f,
        // The ideographic space.
        [0xe3, 0x80, last, ..] => *last != 0x80,
        // Parentheses of full width, the byte order mark.
        [0xef, 0xbc, last, ..] => !matches!(last, 0x88 | 0x89),
        [0xef, 0xbb, last, ..] => *last != 0xbf,

        _ => true,
    }
}

impl Line<'_> {
    fn last(&self) -> Option<char> {
        self.out[self.start..].chars().next_back()
    }

    fn word(&mut self, word: &str) {
        if self.space {
            let opens = self.gap_in_parenthesis && matches!(self.last(), Some('(' | '（'));
            if self.out.len() > self.start && !opens {
                self.out.push(' ');
            }
            self.space = false;
        }

        self.gap = false;
        self.out.push_str(word);
    }

    fn character(&mut self, c: char) {
        match c {
            GAP => (self.gap, self.gap_in_parenthesis) = (true, true),
            APOSTROPHE => self.word("'"),
            // Bidirectional marks, soft hyphen, zero-width space, byte order mark; joiners are part
            // of words.
            '\u{ad}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{feff}'
            | '\u{2060}'
            | '\u{202a}'..='\u{202e}' => {}

            _ if c.is_whitespace() => self.space = true,
            _ if c.is_control() => {}
            ')' | '）' => self.close(c),
            ',' | ';' | ':' | '.' | '!' | '?' | '、' | '。' | '，' | '；' | '：' => {
                self.punctuation(c)
            }
            _ => {
                let mut buffer = [0; 4];
                self.word(c.encode_utf8(&mut buffer));
                if matches!(c, '(' | '（') {
                    self.gap_in_parenthesis = false;
                }
            }
        }
    }

    fn punctuation(&mut self, c: char) {
        let separates = is_separator(c);
        if self.gap {
            self.space = false;
        }
        let last = self.last();
        if separates && self.gap_in_parenthesis && matches!(last, Some('(' | '（')) {
            return;
        }

        if separates && self.gap && last.is_some_and(is_separator) {
            return;
        }
        let gap = self.gap;
        let mut buffer = [0; 4];
        self.word(c.encode_utf8(&mut buffer));
        self.gap = gap && separates;
    }

    fn close(&mut self, c: char) {
        if self.gap_in_parenthesis {
            while self.last().is_some_and(|last| is_separator(last) || last == ' ') {
                self.out.pop();
            }
        }

        let open = if c == ')' { '(' } else { '（' };
        if self.gap_in_parenthesis && self.last() == Some(open) {
            self.out.pop();
            self.space = self.last() == Some(' ');
            if self.space {
                self.out.pop();
            }
            self.gap = true;
            return;
        }

        if self.gap || self.gap_in_parenthesis {
            self.space = false;
        }
        let mut buffer = [0; 4];
        self.word(c.encode_utf8(&mut buffer));
        self.gap_in_parenthesis = false;
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '、' | '，' | '；' | '：')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn removed_pieces_leave_no_trace() {
        let check = |line: &str, expected: &str| {
            let mut out = String::from("x ");
            tidy(&line.replace('@', "\u{1}"), &mut out);
            assert_eq!(out.strip_prefix("x ").unwrap(), expected, "{line}");
        };
        check("a  b", "a b");
        check("a (@) b", "a b");
        check("a (@; @) b", "a b");
        check("a (@; c) b", "a (c) b");
        check("a (c, @) b", "a (c) b");
        check("a (c; @; d) b", "a (c; d) b");
        check("f() and g( x )", "f() and g( x )");
        check("a @, b", "a, b");
        check("a, @, b", "a, b");
        check("a @.", "a.");
        check("mot : @ suite", "mot : suite");
        check("词（@）是", "词是");
        check("词（@、音）是", "词（音）是");
        check("a\u{a0}b\u{200b}c", "a bc");
        check("(@)", "");
        check("@", "");
        check("a (b (@)) c", "a (b) c");
    }

    proptest! {
        #[test]
        fn plain_characters_may_be_taken_at_once(pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "bc", "é", "漢", "か", "“", "–", "…", "𝄞", "\u{301}", " ", "  ", "\u{a0}",
                "\u{3000}", "\u{2009}",
                "\u{85}", "\u{ad}", "\u{200b}", "\u{200d}", "\u{feff}", "\u{2060}", "\u{1680}", "(",
                ")", "（", "）", ",",
                ";", ":", ".", "!", "?", "、", "。", "，", "；", "：", "-", "[", "'", "\u{1}", "\u{1}",
                "\u{2}", "\u{7f}", "\t",
            ]), 0..30)) {
            let text = pieces.concat();
            let (mut fast, mut slow) = (String::from("x"), String::from("x"));
            tidy(&text, &mut fast);
            let mut line = Line { start: 1, out: &mut slow, space: false, gap: false,
                gap_in_parenthesis: false };
            text.chars().for_each(|c| line.character(c));
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn any_character_is_plain_or_looked_at(text in ".{0,80}") {
            let (mut fast, mut slow) = (String::new(), String::new());
            tidy(&text, &mut fast);
            let mut line = Line { start: 0, out: &mut slow, space: false, gap: false,
                gap_in_parenthesis: false };
            text.chars().for_each(|c| line.character(c));
            prop_assert_eq!(fast, slow);
        }
    }

    #[test]
    fn quotes_follow_mediawiki() {
        let check = |line: &str, expected: &str| {
            let mut out = String::new();
            without_quotes(line, &mut out);
            assert_eq!(out, expected, "{line}");
        };
        check("it's", "it's");
        check("''a'' '''b''' '''''c'''''", "a b c");
        check("l'''Iliade''", "l'Iliade");
        check("dell''''Eneide'''", "dell'Eneide");
        check("'''''''a'''''", "''a");
        check("the '''a''s", "the 'as");
    }
}
