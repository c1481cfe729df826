//! Sentences with their places, by punctuation: enough to cut a passage at a natural end.
//!
//! Not a linguistic splitter: an abbreviation may end a sentence early. A short list of the
//! commonest English ones is honoured, and a full stop inside a number or before a lower-case
//! letter never ends a sentence.

use std::ops::Range;

use crate::text::byte_set;

/// Abbreviations after which a full stop does not end a sentence, lower case.
static ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "cf", "vs", "dr", "mr", "mrs", "ms", "prof", "st", "fig", "figs", "no",
    "al", "approx", "ca",
];

/// Byte ranges of the sentences of a text, in order, trimmed, none empty.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(distance) =
        text.as_bytes()[at..].iter().position(|byte| MAY_END[usize::from(*byte)])
    {
        at += distance;
        let Some(c) = text[at..].chars().next() else { break };
        let mut end = at + c.len_utf8();
        let stops = match c {
            '\n' | '。' | '！' | '？' => true,
            '!' | '?' => text[end..].chars().next().is_none_or(char::is_whitespace),
            '.' => full_stop_ends(&text[start..at], &text[end..]),
            _ => false,
        };
        if stops {
            let closes = |c: &char| matches!(c, '"' | '\'' | ')' | '”' | '’' | '」' | '）');
            end += text[end..].chars().take_while(closes).map(char::len_utf8).sum::<usize>();
            push(text, start..end, &mut found);
            start = end;
        }
        at = end;
    }

    push(text, start..text.len(), &mut found);
    found
}

/// Bytes that a character begins with which may end a sentence; the full stops, exclamation and
/// question marks of full width begin with the last two.
const MAY_END: [bool; 256] = byte_set(b"\n.!?\xe3\xef");

fn full_stop_ends(before: &str, after: &str) -> bool {
    let mut rest = after.chars().skip_while(|c| matches!(c, '"' | '\'' | ')' | '”' | '’'));
    match rest.next() {
        None => return true,
        Some(next) if !next.is_whitespace() => return false,
        Some(_) => {}
    }

    if rest.find(|c| !c.is_whitespace()).is_some_and(char::is_lowercase) {
        return false;
    }
    let last =
        before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("").to_lowercase();
    let initial = last.chars().count() == 1 && last.chars().all(char::is_alphabetic);
    !initial && !ABBREVIATIONS.contains(&last.as_str())
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    let end = start + slice.trim().len();
    if start < end {
        found.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn ends_are_found_and_false_ends_are_not() {
        check(
            "One dose of 2.5 mg. Then two (see Fig. 3).",
            &["One dose of 2.5 mg.", "Then two (see Fig. 3)."],
        );
        check(
            "J. Smith et al. Found it! \"Yes.\" No",
            &["J. Smith et al. Found it!", "\"Yes.\"", "No"],
        );
        check("阿司匹林。可以吗？可以。", &["阿司匹林。", "可以吗？", "可以。"]);
        check("a line\n\nanother", &["a line", "another"]);
        check(" \n ", &[]);
    }

    proptest! {
        #[test]
        fn sentences_cover_everything_but_space(text in "[a-zA-Z .!?\n。中\"）]{0,60}") {
            let joined: String = sentences(&text).into_iter().map(|range| &text[range]).collect();
            let strip = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(strip(&joined), strip(&text));
        }
    }
}
