//! Abbreviations that a text defines itself: "myocardial infarction (MI)", "MI (myocardial
//! infarction)".
//!
//! The long form is found by the letters of the short one, from the right (Schwartz and Hearst
//! 2003, "A simple algorithm for identifying abbreviation definitions in biomedical text", with the
//! limits of its reference implementation). In Chinese, whose long forms do not have these letters,
//! it is what stands directly before the bracket: 心肌梗死（MI）.

use std::ops::Range;

use memchr::memchr2_iter;

use super::mentions::{Mention, Scan};
use super::names::Rule;
use crate::text::words::{continues, is_cjk, words};

/// Longest short form, in characters.
const LONGEST: usize = 10;
/// Longest text in brackets that is looked at, in bytes.
const BRACKET_BYTES: usize = 300;
/// How far a long form may begin before its bracket, in bytes.
const BEFORE_BYTES: usize = 300;

/// First byte of `（`.
const WIDE: u8 = 0xef;

/// A short form and its long form, as byte ranges of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The short form, where it is defined.
    pub short: Range<usize>,
    /// The long form; of Chinese, its last character: where it begins is not known.
    pub long: Range<usize>,
}

/// Gives all occurrences of an abbreviation the concept that its long form names, in the whole
/// text, also where a lexicon takes it for another's name.
pub(super) fn resolve(text: &str, scan: &mut Scan) {
    let mut known: Vec<(&str, u32)> = Vec::new();
    for Definition { short, long } in definitions(text) {
        // The head of a long form stands at its end: "hereditary nephritis" is a nephritis.
        let named = scan.mentions.iter().find(|mention| mention.end == long.end);
        let short = &text[short];
        if let Some(named) = named
            && known.iter().all(|(other, _)| *other != short)
        {
            known.push((short, named.concept));
        }
    }
    if known.is_empty() {
        return;
    }

    let starts: Vec<usize> = words(text).map(|word| word.start).collect();
    for (short, concept) in known {
        for (start, _) in text.match_indices(short) {
            let Some(end) = end_of_word(text, start, start + short.len()) else { continue };
            let word = starts.partition_point(|word| *word < start) as u32;
            put(
                &mut scan.mentions,
                Mention { start, end, concept, word, rule: Rule::Abbreviation },
            );
        }
    }
}

/// The end of an occurrence that is a word, or the plural of one.
fn end_of_word(text: &str, start: usize, end: usize) -> Option<usize> {
    let is_inner = |c: Option<char>| c.is_some_and(|c| continues(c) && !is_cjk(c));
    if is_inner(text[..start].chars().next_back()) {
        return None;
    }
    let plural = text[end..].strip_prefix('s').map(|_| end + 1);
    [Some(end), plural].into_iter().flatten().find(|end| !is_inner(text[*end..].chars().next()))
}

/// Puts a mention among others, in the place of one at the same place; one within a longer name is
/// a part of that name.
fn put(mentions: &mut Vec<Mention>, new: Mention) {
    let at = mentions.partition_point(|other| other.end <= new.start);
    match mentions.get_mut(at) {
        Some(other) if (other.start, other.end) == (new.start, new.end) => *other = new,
        Some(other) if other.start < new.end => {}
        _ => mentions.insert(at, new),
    }
}

/// All definitions of a text, in its order.
pub fn definitions(text: &str) -> Vec<Definition> {
    let mut found = Vec::new();
    // The first byte of the wide bracket begins other characters too.
    for open in memchr2_iter(b'(', WIDE, text.as_bytes()) {
        let Some(bracket) = ["(", "（"].iter().find(|bracket| text[open..].starts_with(**bracket))
        else {
            continue;
        };
        let inside = open + bracket.len();
        let Some(close) = text[inside..]
            .char_indices()
            .take_while(|(at, _)| *at < BRACKET_BYTES)
            .find(|(_, c)| matches!(c, ')' | '）' | '(' | '（'))
            .filter(|(_, c)| matches!(c, ')' | '）'))
        else {
            continue;
        };
        found.extend(definition(text, open, inside..inside + close.0));
    }
    found
}

/// What brackets define, which begin at `open` and hold `inside`.
fn definition(text: &str, open: usize, inside: Range<usize>) -> Option<Definition> {
    let first = text[inside.clone()].split([',', ';', '，', '；', '、']).next().unwrap_or("");
    let within = trimmed(text, inside.start..inside.start + first.len());
    let before = trimmed(text, floor(text, open.saturating_sub(BEFORE_BYTES))..open);
    let short = &text[within.clone()];

    if is_short(short) {
        if text[before.clone()].ends_with(is_cjk) {
            let last = text[before.clone()].chars().next_back()?.len_utf8();
            let has_capital = short.chars().any(char::is_uppercase);
            return (has_capital && short.is_ascii())
                .then(|| Definition { short: within, long: before.end - last..before.end });
        }
        let sentence = begin_of_sentence(text, &before);
        let long = long_form(text, short, sentence..before.end)?;
        return Some(Definition { short: within, long });
    }

    // The other way round: the word before the bracket is the short form.
    let start = text[before.clone()].rfind(char::is_whitespace).map_or(before.start, |at| {
        before.start + at + text[before.start + at..].chars().next().map_or(0, char::len_utf8)
    });
    let word = &text[start..before.end];
    if !is_short(word) || !word.chars().any(char::is_uppercase) {
        return None;
    }
    let whole = trimmed(text, inside);
    let long = long_form(text, word, whole.clone())?;
    (long == whole).then_some(Definition { short: start..before.end, long })
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    start..start + inner.trim().len()
}

/// The character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Where the sentence at the end of a range begins, as far as it is looked at.
fn begin_of_sentence(text: &str, range: &Range<usize>) -> usize {
    let inner = &text[range.clone()];
    ["\n", ". ", "; ", "? ", "! ", ") "]
        .iter()
        .filter_map(|end| inner.rfind(end).map(|at| range.start + at + end.len()))
        .max()
        .unwrap_or(range.start)
}

/// Whether a text may be a short form: one word or two, of two to ten characters, with a letter,
/// begun by a letter or digit.
fn is_short(text: &str) -> bool {
    let n = text.chars().count();
    (2..=LONGEST).contains(&n)
        && text.split_whitespace().count() <= 2
        && text.chars().any(char::is_alphabetic)
        && text.starts_with(char::is_alphanumeric)
}

/// The long form of a short one, at the end of a range.
fn long_form(text: &str, short: &str, range: Range<usize>) -> Option<Range<usize>> {
    let letters: Vec<char> = short.chars().filter(|c| c.is_alphanumeric()).map(lower).collect();
    let long: Vec<(usize, char)> =
        text[range.clone()].char_indices().map(|(at, c)| (range.start + at, lower(c))).collect();

    // From the right, each letter of the short form at the next place that has it; the first one
    // at the beginning of a word.
    let mut at = long.len();
    for (nth, letter) in letters.iter().enumerate().rev() {
        loop {
            at = at.checked_sub(1)?;
            let begins = at == 0 || !long[at - 1].1.is_alphanumeric();
            if long[at].1 == *letter && (nth > 0 || begins) {
                break;
            }
        }
    }
    let start =
        long[..at].iter().rposition(|(_, c)| c.is_whitespace()).map_or(0, |space| space + 1);
    let found = long.get(start)?.0..range.end;

    let form = &text[found.clone()];
    let n_words = form.split(|c: char| c.is_whitespace() || c == '-').count();
    let is_long = form.chars().count() > short.chars().count()
        && n_words <= (letters.len() * 2).min(letters.len() + 5)
        && !form.split_whitespace().any(|word| word == short);
    is_long.then_some(found)
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::{Concept, Entry, Lexicon};
    use super::super::mentions::Finder;
    use super::super::names::tests::rules;
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found: Vec<(&str, &str)> =
            definitions(text).into_iter().map(|one| (&text[one.short], &text[one.long])).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn definitions_are_found_by_their_letters() {
        check("After a myocardial infarction (MI) or two.", &[("MI", "myocardial infarction")]);
        check(
            "The heat-shock transcription factor (HSF) binds.",
            &[("HSF", "heat-shock transcription factor")],
        );
        check(
            "tumour necrosis factor alpha (TNF-a; a cytokine)",
            &[("TNF-a", "tumour necrosis factor alpha")],
        );
        check(
            "COPD (chronic obstructive pulmonary disease) is common",
            &[("COPD", "chronic obstructive pulmonary disease")],
        );
        check(
            "X-linked adrenoleukodystrophy (X-ALD)",
            &[("X-ALD", "X-linked adrenoleukodystrophy")],
        );
        check("急性心肌梗死（AMI）患者", &[("AMI", "死")]);
    }

    #[test]
    fn what_defines_nothing() {
        for text in [
            "three groups (n = 12) were compared (Table 2)",
            "a fever (38.5)",
            "see above (and below)",
            "unclosed (MI",
            "nested (a (MI))",
            "the drug (MI) of choice",
            "MI (MI)",
            "患者（见下）",
            "(MI) at the beginning",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn a_short_form_means_its_long_form_in_the_whole_text() {
        let entry = |id: &str, name: &str| Entry {
            concept: Concept { id: id.into(), name: name.into(), ..Concept::default() },
            ..Entry::default()
        };
        let lexicon = Lexicon::build(vec![
            entry("A", "mitral insufficiency"),
            entry("B", "myocardial infarction"),
            entry("C", "MIs"),
            entry("D", "acute MI unit"),
        ]);
        let finder = Finder::new(&lexicon, &rules()).unwrap();
        let text = "MI was rare. A myocardial infarction (MI) and two MIs; the acute MI unit, \
                    MIx, mi.";
        let found: Vec<(&str, u32, u32)> = finder
            .find(text)
            .iter()
            .map(|one| (&text[one.start..one.end], one.concept, one.word))
            .collect();

        assert_eq!(
            found,
            [
                ("MI", 1, 0),
                ("myocardial infarction", 1, 4),
                ("MI", 1, 6),
                ("MIs", 1, 9),
                ("acute MI unit", 3, 11),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-cA-C]{1,3}|[ (),;（）-]|中|é|\n){0,40}") {
            for Definition { short, long } in definitions(&text) {
                prop_assert!(!text[short].is_empty() && !text[long].is_empty());
            }
        }
    }
}
