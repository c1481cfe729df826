//! Edits: which characters of an anchor became what, so that anchor and edits give exactly the
//! candidate.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StringBuilder, StructArray, UInt32Builder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::rewrite::inflect::takes_an;
use crate::text::words::{capitalised, words};

/// A replaced range of the anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// First character replaced, counted in Unicode scalar values.
    pub start: u32,
    /// First character behind, counted in Unicode scalar values.
    pub end: u32,
    /// What stands there instead.
    pub text: String,
}

/// A replacement by byte ranges, before it is written as [`Edit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Bytes of the anchor, on character boundaries.
    pub range: Range<usize>,
    /// What stands there instead.
    pub text: String,
}

/// The candidate that the edits make of the anchor.
pub fn apply(anchor: &str, edits: &[Edit]) -> String {
    let mut text = String::with_capacity(anchor.len());
    let mut chars = anchor.chars();
    let mut at = 0;

    for edit in edits {
        text.extend(chars.by_ref().take((edit.start - at) as usize));
        text.push_str(&edit.text);
        chars.by_ref().take((edit.end - edit.start) as usize).for_each(drop);
        at = edit.end;
    }

    text.extend(chars);
    text
}

/// Sorts the swaps, repairs the articles before them and counts characters.
///
/// Swaps must not overlap; of two that do, the later is left out.
pub fn edits(anchor: &str, mut swaps: Vec<Swap>) -> Vec<Edit> {
    swaps.sort_by_key(|swap| swap.range.start);
    let mut kept: Vec<Swap> = Vec::with_capacity(swaps.len());

    for swap in swaps {
        if kept.last().is_some_and(|last| last.range.end > swap.range.start) {
            continue;
        }
        let free = kept.last().map_or(0, |last| last.range.end);
        kept.extend(article(anchor, free, &swap));
        kept.push(swap);
    }

    let (mut at_byte, mut at_char, mut found) = (0, 0_u32, Vec::with_capacity(kept.len()));
    for swap in kept {
        let start = at_char + count(&anchor[at_byte..swap.range.start]);
        let end = start + count(&anchor[swap.range.clone()]);
        (at_byte, at_char) = (swap.range.end, end);
        found.push(Edit { start, end, text: swap.text });
    }

    found
}

/// The change of "a" or "an" that stands directly before a swap, where the sound changes.
fn article(anchor: &str, free: usize, swap: &Swap) -> Option<Swap> {
    let before = anchor[free..swap.range.start].strip_suffix(' ')?;
    let end = free + before.len();
    let start = free + before.trim_end_matches(char::is_alphabetic).len();
    let opens = anchor[..start]
        .chars()
        .next_back()
        .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '"'));

    if !opens || (start == free && free > 0) {
        return None;
    }
    let now = &anchor[start..end];
    let first = swap.text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
    // Elsewhere a capital stands for itself: "vitamin A".
    let said = anchor[..start].trim_end();
    let begins = said.is_empty()
        || said.ends_with(['.', '!', '?', ':'])
        || said.len() < start && anchor[said.len()..start].contains('\n');
    let wanted = match (now, takes_an(first)) {
        ("a", true) => "an",
        ("an", false) => "a",
        ("A", true) if begins => "An",
        ("An", false) if begins => "A",
        _ => return None,
    };
    Some(Swap { range: start..end, text: wanted.to_string() })
}

/// The fewest word-wise edits that make `candidate` of `anchor` (longest common subsequence of
/// words and signs).
pub fn diff(anchor: &str, candidate: &str) -> Vec<Edit> {
    let (a, b) = (pieces(anchor), pieces(candidate));
    // longest[i][j]: length of the longest common subsequence of a[i..] and b[j..].
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];

    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }

    let (mut i, mut j, mut at, mut found) = (0, 0, 0, Vec::new());
    let mut open: Option<Edit> = None;

    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            found.extend(open.take());
            at += count(a[i]);
            (i, j) = (i + 1, j + 1);
            continue;
        }

        let edit = open.get_or_insert_with(|| Edit { start: at, end: at, text: String::new() });
        if j == b.len() || (i < a.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            at += count(a[i]);
            edit.end = at;
            i += 1;
        } else {
            edit.text.push_str(b[j]);
            j += 1;
        }
    }

    found.extend(open);
    found
}

/// Runs of letters and digits, and every other character by itself; CJK characters one by one.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;

    for word in words(text) {
        found.extend(text[at..word.start].split_inclusive(|_: char| true));
        found.push(word.text);
        at = word.start + word.text.len();
    }

    found.extend(text[at..].split_inclusive(|_: char| true));
    found
}

/// The edits of each row as an Arrow column of a type, a list of structs; `None` where it is none.
pub fn column(rows: &[&[Edit]], data_type: &DataType) -> Option<Result<ArrayRef>> {
    let DataType::List(item) = data_type else { return None };
    let DataType::Struct(parts) = item.data_type() else { return None };
    let (mut starts, mut ends, mut texts) =
        (UInt32Builder::new(), UInt32Builder::new(), StringBuilder::new());

    for edit in rows.iter().copied().flatten() {
        starts.append_value(edit.start);
        ends.append_value(edit.end);
        texts.append_value(&edit.text);
    }

    let columns: Vec<ArrayRef> =
        vec![Arc::new(starts.finish()), Arc::new(ends.finish()), Arc::new(texts.finish())];
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.len()));
    let build = || -> Result<ArrayRef> {
        let structs = StructArray::try_new(parts.clone(), columns, None)?;
        Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(structs), None)?))
    };
    Some(build())
}

/// Length in Unicode scalar values.
pub fn count(text: &str) -> u32 {
    text.chars().count() as u32
}

/// Writes `text` with the capitals of `like`: a first capital, or all capitals from two letters on.
pub fn with_case_of(like: &str, text: &str) -> String {
    let letters = || like.chars().filter(|c| c.is_alphabetic());
    if letters().count() > 1 && letters().all(char::is_uppercase) {
        return text.to_uppercase();
    }
    if like.chars().next().is_some_and(char::is_uppercase) {
        return capitalised(text);
    }
    text.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(anchor: &str, swaps: &[(&str, &str)], expected: &str) {
        let swaps = swaps.iter().map(|(from, to)| {
            let start = anchor.find(from).unwrap();
            Swap { range: start..start + from.len(), text: (*to).to_string() }
        });
        assert_eq!(apply(anchor, &edits(anchor, swaps.collect())), expected);
    }

    #[test]
    fn articles_are_repaired() {
        check("It has a large effect.", &[("large", "enormous")], "It has an enormous effect.");
        check(
            "An outcome and a dose.",
            &[("outcome", "result"), ("dose", "amount")],
            "A result and an amount.",
        );
        check(
            "Vitamin A result",
            &[("result", "dose")],
            "Vitamin A result".replace("result", "dose").as_str(),
        );
        check("One fell. A large dose.", &[("large", "enormous")], "One fell. An enormous dose.");
        check("a university", &[("university", "union")], "a union");
        check("naïve a é dose", &[("dose", "effect")], "naïve a é effect");
    }

    #[test]
    fn case_is_kept() {
        assert_eq!(with_case_of("Begin", "start"), "Start");
        assert_eq!(with_case_of("BEGIN", "start"), "START");
        assert_eq!(with_case_of("begin", "start"), "start");
    }

    #[test]
    fn a_diff_is_small() {
        let edits = diff("Children had a higher dose.", "Boys had a taller dose.");
        let found: Vec<(u32, u32, &str)> =
            edits.iter().map(|e| (e.start, e.end, e.text.as_str())).collect();
        assert_eq!(found, [(0, 8, "Boys"), (15, 21, "taller")]);
    }

    proptest! {
        #[test]
        fn a_diff_makes_exactly_the_candidate(a in "[ab é中,.]{0,20}", b in "[ab é中,.]{0,20}") {
            prop_assert_eq!(apply(&a, &diff(&a, &b)), b);
        }

        /// Against replacing from the back with `replace_range`, over words of a text with
        /// characters of 1 to 4 bytes.
        #[test]
        fn edits_make_exactly_the_candidate(words in proptest::collection::vec("[a-zé中🙂]{1,4}",
            1..12), mask in any::<u16>()) {
            let anchor = words.join("  ");
            let (mut at, mut swaps) = (0, Vec::new());

            for (idx, word) in words.iter().enumerate() {
                if mask >> idx & 1 == 1 {
                    swaps.push(Swap { range: at..at + word.len(), text: format!("<{idx}>") });
                }
                at += word.len() + 2;
            }

            let mut expected = anchor.clone();
            swaps.iter().rev().for_each(|swap| expected.replace_range(swap.range.clone(),
                &swap.text));
            prop_assert_eq!(apply(&anchor, &edits(&anchor, swaps)), expected);
        }
    }
}
