//! Rows with spans left out (T5, arXiv:1910.10683), one sentinel token for each, that a decoder
//! restores.
//!
//! As in `google-research/text-to-text-transfer-transformer:t5/data/preprocessors.py`: a share of
//! the tokens is left out in spans of a mean length; spans left and left out alternate, beginning
//! with one that is left, and both are cut at random. The encoder reads the text with a sentinel
//! for each span; the decoder writes each sentinel and its span.
//!
//! Where `[train.concepts]` says so, names of concepts are left out first (salient spans,
//! arXiv:2002.08910), and other spans placed between them, so that a row has as many tokens and
//! spans left out as it would have without.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{Lengths, PLACE, Row, RowMaker, Text, drawn_mentions, labelled};
use crate::draw;
use crate::error::Result;
use crate::train::data::tokenizer::{Frame, Pieces};
use crate::train::params;

/// The section `[train.rows.spans]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Share of tokens that are left out, [0.01, 0.9].
    pub share: f64,
    /// Mean length of a span that is left out, in tokens, [1, 100].
    pub length: f64,
}

/// See the module.
pub struct Spans<'a> {
    /// How much is left out.
    pub params: Params,
    /// What stands around the pieces.
    pub frame: &'a Frame,
    /// With what probability a concept's name is left out before anything else.
    pub concepts: f64,
}

impl Params {
    /// The section of a run.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn of(params: &params::Params) -> Result<Self> {
        params.rows.parse(PLACE, "spans")
    }

    /// Tokens of a row of the decoder, where that of the encoder has at most `max_tokens`.
    pub fn decoded(&self, max_tokens: usize) -> usize {
        lengths(longest(max_tokens, self), self).decoded
    }
}

impl RowMaker for Spans<'_> {
    fn room(&self, max_tokens: usize) -> usize {
        longest(max_tokens, &self.params)
    }

    fn lengths(&self, pieces: usize) -> Lengths {
        lengths(pieces, &self.params)
    }

    fn row(&self, text: &Text, stream: &mut ChaCha8Rng) -> Row {
        let (ids, target) = self.corrupt(text.pieces, stream);
        let shifted = std::iter::once(self.frame.decoder_start).chain(target.iter().copied());
        let decoder = Some(shifted.take(target.len()).collect());
        Row { ids: [text.line, &ids].concat(), decoder, labels: labelled(&target) }
    }
}

impl Spans<'_> {
    /// The row of the encoder and what the decoder is to write.
    fn corrupt(&self, pieces: &Pieces, stream: &mut ChaCha8Rng) -> (Vec<u32>, Vec<u32>) {
        let (ids, frame) = (&pieces.ids, self.frame);
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        if ids.len() < 2 {
            inputs.extend(ids);
        } else {
            let mut at = 0;
            for (span, sentinel) in self.left_out(pieces, stream).iter().zip(&frame.sentinels) {
                inputs.extend(&ids[at..span.start]);
                inputs.push(*sentinel);
                targets.push(*sentinel);
                targets.extend(&ids[span.clone()]);
                at = span.end;
            }
            inputs.extend(&ids[at..]);
            targets.extend(&frame.behind);
        }

        inputs.extend(&frame.behind);
        (inputs, targets)
    }

    /// What is left out of two pieces or more, in order.
    fn left_out(&self, pieces: &Pieces, stream: &mut ChaCha8Rng) -> Vec<Range<usize>> {
        let n = pieces.ids.len();
        let (noise, spans) = amounts(n, &self.params);
        let spans = spans.min(self.frame.sentinels.len());
        if self.concepts > 0.0 {
            let names = drawn_mentions(pieces, self.concepts, stream);
            if let Some(found) = around_names(names, n, noise, spans, stream) {
                return found;
            }
        }

        let (left, left_out) = (parts(n - noise, spans, stream), parts(noise, spans, stream));
        let mut at = 0;
        let span = |(left, left_out): (usize, usize)| {
            let start = at + left;
            at = start + left_out;
            start..at
        };
        left.into_iter().zip(left_out).map(span).collect()
    }
}

/// `spans` spans of `n` pieces, of `noise` in all: those of `names` that fit, and others in places
/// that are drawn among the free ones. `None` where no name fits, or others find no place.
fn around_names(
    names: Vec<Range<usize>>,
    n: usize,
    noise: usize,
    spans: usize,
    stream: &mut ChaCha8Rng,
) -> Option<Vec<Range<usize>>> {
    // A piece is left between two spans, and one before the first.
    let is_free = |taken: &[Range<usize>], span: &Range<usize>| {
        span.start > 0
            && span.end <= n
            && taken.iter().all(|other| other.end < span.start || span.end < other.start)
    };
    let (mut taken, mut rest): (Vec<Range<usize>>, usize) = (Vec::new(), noise);
    for name in names {
        if taken.len() == spans {
            break;
        }
        // Each span that is still to come needs a token, and the last one takes all that is left:
        // then the name and some of what stands around it.
        let to_come = spans - taken.len() - 1;
        if name.len() + to_come > rest {
            continue;
        }
        let length = if to_come == 0 { rest } else { name.len() };
        let starts = (name.start + name.len()).saturating_sub(length)..=name.start;
        let free: Vec<usize> =
            starts.filter(|start| is_free(&taken, &(*start..start + length))).collect();
        let Some(start) = free.get(draw::next_below(stream, free.len().max(1))) else { continue };
        rest -= length;
        taken.push(*start..start + length);
    }

    if taken.is_empty() {
        return None;
    }
    if taken.len() < spans {
        let mut lengths = parts(rest, spans - taken.len(), stream);
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        for length in lengths {
            let free: Vec<usize> =
                (1..n).filter(|start| is_free(&taken, &(*start..start + length))).collect();
            let start = *free.get(draw::next_below(stream, free.len().max(1)))?;
            taken.push(start..start + length);
        }
    }

    taken.sort_unstable_by_key(|span| span.start);
    Some(taken)
}

/// How many tokens of `length` are left out, in how many spans.
fn amounts(length: usize, params: &Params) -> (usize, usize) {
    let noise = (length as f64 * params.share).round_ties_even() as usize;
    let noise = noise.clamp(1, length.saturating_sub(1).max(1));
    let spans = (noise as f64 / params.length).round_ties_even() as usize;
    (noise, spans.clamp(1, noise.min(length - noise).max(1)))
}

/// Tokens of encoder and decoder, ends included, for a text of `length`; of one token, none is left
/// out.
fn lengths(length: usize, params: &Params) -> Lengths {
    if length < 2 {
        return Lengths { tokens: length + 1, decoded: 0 };
    }
    let (noise, spans) = amounts(length, params);
    Lengths { tokens: length - noise + spans + 1, decoded: noise + spans + 1 }
}

/// The longest text whose encoder row and decoder row have at most `room` tokens.
fn longest(room: usize, params: &Params) -> usize {
    let fits = |length: &usize| {
        let Lengths { tokens, decoded } = lengths(*length, params);
        tokens <= room && decoded <= room
    };
    (2..2 * room).take_while(fits).last().unwrap_or(1)
}

/// `n` cut into `parts` of at least 1, every way with equal probability.
fn parts(n: usize, parts: usize, stream: &mut ChaCha8Rng) -> Vec<usize> {
    let mut begins: Vec<bool> = (1..n).map(|at| at < parts).collect();
    draw::shuffle(&mut begins, stream);
    let mut lengths = vec![1];

    for begins in begins {
        match lengths.last_mut() {
            Some(length) if !begins => *length += 1,
            _ => lengths.push(1),
        }
    }

    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::marks::Mark;
    use crate::train::model::Language;
    use proptest::prelude::*;

    const T5S: Params = Params { share: 0.15, length: 3.0 };

    /// `compute_input_and_target_lengths` of T5: raw 70, 141 and 568 tokens fill 64, 128 and 512.
    #[test]
    fn lengths_are_those_of_t5() {
        let params = T5S;
        for (inputs, raw, targets) in [(64, 70, 14), (128, 141, 29), (512, 568, 114)] {
            assert_eq!(longest(inputs, &params), raw);
            assert_eq!(lengths(raw, &params), Lengths { tokens: inputs, decoded: targets });
        }
    }

    proptest! {
        #[test]
        fn the_spans_put_back_give_the_text(ids in proptest::collection::vec(10_u32..90, 0..80),
            key in 0_u64..50) {
            let frame = Frame {
                language: Language::Spans,
                pad: 0,
                before: vec![],
                behind: vec![1],
                end: None,
                mask: 0,
                sentinels: (100..130).rev().collect(),
                decoder_start: 0,
            };
            let stream = &mut draw::stream(key, "spans", b"");
            // Names of two in every seven pieces, four names a sentence, or none.
            let marks = (0..ids.len() as u32).map(|idx| Mark {
                mention: if idx % 7 < 2 { idx / 7 + 1 } else { 0 },
                sentence: idx / 28,
            });
            let concepts = if key % 2 == 0 { 0.0 } else { 0.7 };
            let pieces = Pieces { words: ids.clone(), marks: marks.collect(), ids };
            let spans = Spans { params: T5S, frame: &frame, concepts };
            let ids = &pieces.ids;
            let (inputs, targets) = spans.corrupt(&pieces, stream);
            let mut restored = Vec::new();

            for id in &inputs[..inputs.len() - 1] {
                match targets.iter().position(|target| target == id && *id >= 100) {
                    Some(at) => {
                        let behind = targets[at + 1..].iter();
                        restored.extend(behind.take_while(|id| **id < 100 && **id != 1));
                    }
                    None => restored.push(*id),
                }
            }

            prop_assert_eq!(&restored, ids);
            prop_assert_eq!(inputs.last(), Some(&1));

            if ids.len() > 1 {
                prop_assert!(inputs[0] < 100, "the text begins with a span that is left");
                let found = Lengths { tokens: inputs.len(), decoded: targets.len() };
                prop_assert_eq!(found, lengths(ids.len(), &T5S));
            } else {
                prop_assert!(targets.is_empty());
            }
        }
    }

    #[test]
    fn names_of_concepts_are_left_out_first() {
        let name = 10..13;
        let mut stream = draw::stream(1, "spans", b"");
        for _ in 0..100 {
            let spans = around_names(vec![name.clone()], 60, 9, 3, &mut stream).unwrap();
            assert!(spans.contains(&name), "{spans:?}");
            assert_eq!((spans.len(), spans.iter().map(ExactSizeIterator::len).sum()), (3, 9_usize));
            assert!(spans[0].start > 0 && spans[2].end <= 60);
            assert!(spans.windows(2).all(|two| two[0].end < two[1].start), "{spans:?}");
        }
        // One span alone has all the noise: the name and some of what stands around it.
        for noise in [3, 5] {
            let found = around_names(vec![name.clone()], 60, noise, 1, &mut stream).unwrap();
            assert!(found[0].start <= 10 && found[0].end >= 13 && found[0].len() == noise);
        }
        assert_eq!(around_names(vec![name], 60, 2, 1, &mut stream), None);
    }

    #[test]
    fn every_cut_is_as_likely() {
        let mut seen = std::collections::BTreeMap::new();
        for key in 0..6_000_u64 {
            *seen.entry(parts(5, 3, &mut draw::stream(key, "parts", b""))).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|n| (850..1150).contains(n)), "{seen:?}");
    }
}
