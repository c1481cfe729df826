//! Which sentences of a document are rewritten.

use std::ops::Range;

use crate::draw;
use crate::negatives::{Mention, Params};
use crate::text::sentences::sentences;
use crate::text::words::words;

/// Byte ranges of up to `passages` sentences within the length bounds: those that mention a concept
/// first, a keyed draw among equals. `mentions` are those of the whole text, in order. Pure: the
/// same document, seed and parameters give the same passages.
pub fn pick(
    id: &str,
    text: &str,
    mentions: &[Mention],
    params: &Params,
    seed: u64,
) -> Vec<Range<usize>> {
    let fits = |range: &Range<usize>| {
        let n = words(&text[range.clone()]).take(params.max_words + 1).count();
        (params.min_words..=params.max_words).contains(&n)
    };
    let mut found: Vec<(bool, u64, Range<usize>)> = sentences(text)
        .into_iter()
        .filter(fits)
        .map(|range| {
            let key = format!("{id}\n{}", range.start);
            let rank = draw::unit(seed, "passage", key.as_bytes()).to_bits();
            (within(mentions, &range).is_empty(), rank, range)
        })
        .collect();

    found.sort_unstable_by_key(|(plain, rank, range)| (*plain, *rank, range.start));
    found.truncate(params.passages);
    found.into_iter().map(|(.., range)| range).collect()
}

/// The mentions that lie in a range of the text.
pub fn within<'m>(mentions: &'m [Mention], range: &Range<usize>) -> &'m [Mention] {
    let first = mentions.partition_point(|mention| mention.start < range.start);
    let behind = first + mentions[first..].partition_point(|mention| mention.end <= range.end);
    &mentions[first..behind]
}
