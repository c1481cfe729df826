//! Which sentences of a document are rewritten.

use std::ops::Range;

use crate::draw;
use crate::negatives::{ConceptNames, Params};
use crate::text::sentences::sentences;
use crate::text::words::words;

/// Byte ranges of up to `passages` sentences within the length bounds: those that mention a concept first, a keyed
/// draw among equals. Pure: the same document, seed and parameters give the same passages.
pub fn pick(
    id: &str,
    text: &str,
    concepts: Option<&dyn ConceptNames>,
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
            (concepts.is_none_or(|concepts| concepts.mentions(&text[range.clone()]).is_empty()), rank, range)
        })
        .collect();
    found.sort_unstable_by_key(|(plain, rank, range)| (*plain, *rank, range.start));
    found.truncate(params.passages);
    found.into_iter().map(|(.., range)| range).collect()
}
