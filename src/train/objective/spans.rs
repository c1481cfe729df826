//! `spans`: restore spans that were left out (T5, arXiv:1910.10683), with one sentinel token for each.
//!
//! As in `google-research/text-to-text-transfer-transformer:t5/data/preprocessors.py`: a share of the tokens is left
//! out in spans of a mean length; spans left and left out alternate, beginning with one that is left, and both are cut
//! at random. The encoder reads the text with a sentinel for each span; the decoder writes each sentinel and its span.

use rand_chacha::ChaCha8Rng;

use super::{Term, labels, language_inputs, language_sum, reaches_no_other};
use crate::draw;
use crate::train::data::tokenizer::Frame;
use crate::train::model::Language;
use crate::train::params;

/// See the module.
pub static SPANS: Term = Term {
    name: "span",
    meaning: "restore spans that were left out",
    unit: "nats per target token",
    reaches: reaches_no_other,
    languages: &[Language::Spans],
    weight: |objective| objective.span_weight,
    count: labels,
    inputs: language_inputs,
    sum: language_sum,
};

/// How many tokens of `length` are left out, in how many spans.
fn amounts(length: usize, objective: &params::Objective) -> (usize, usize) {
    let noise = (length as f64 * objective.mask).round_ties_even() as usize;
    let noise = noise.clamp(1, length.saturating_sub(1).max(1));
    let spans = (noise as f64 / objective.span_length).round_ties_even() as usize;
    (noise, spans.clamp(1, noise.min(length - noise).max(1)))
}

/// Tokens of encoder and decoder, ends included, for a text of `length`; of one token, none is left out.
pub fn lengths(length: usize, objective: &params::Objective) -> (usize, usize) {
    if length < 2 {
        return (length + 1, 0);
    }
    let (noise, spans) = amounts(length, objective);
    (length - noise + spans + 1, noise + spans + 1)
}

/// The longest text whose encoder row and decoder row have at most `room` tokens.
pub fn longest(room: usize, objective: &params::Objective) -> usize {
    let fits = |length: &usize| {
        let (inputs, targets) = lengths(*length, objective);
        inputs <= room && targets <= room
    };
    (2..2 * room).take_while(fits).last().unwrap_or(1)
}

/// The row of the encoder and what the decoder is to write.
pub fn corrupt(
    ids: &[u32],
    frame: &Frame,
    objective: &params::Objective,
    stream: &mut ChaCha8Rng,
) -> (Vec<u32>, Vec<u32>) {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    if ids.len() < 2 {
        inputs.extend(ids);
    } else {
        let (noise, spans) = amounts(ids.len(), objective);
        let spans = spans.min(frame.sentinels.len());
        let (left, left_out) = (parts(ids.len() - noise, spans, stream), parts(noise, spans, stream));
        let mut at = 0;
        for (nth, (left, left_out)) in left.into_iter().zip(left_out).enumerate() {
            inputs.extend(&ids[at..at + left]);
            inputs.push(frame.sentinels[nth]);
            targets.push(frame.sentinels[nth]);
            targets.extend(&ids[at + left..at + left + left_out]);
            at += left + left_out;
        }
        targets.extend(&frame.behind);
    }
    inputs.extend(&frame.behind);
    (inputs, targets)
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
    use crate::train::fixture::default_params;
    use proptest::prelude::*;

    /// `compute_input_and_target_lengths` of T5: raw 70, 141 and 568 tokens fill 64, 128 and 512.
    #[test]
    fn lengths_are_those_of_t5() {
        let objective = default_params().objective;
        for (inputs, raw, targets) in [(64, 70, 14), (128, 141, 29), (512, 568, 114)] {
            assert_eq!(longest(inputs, &objective), raw);
            assert_eq!(lengths(raw, &objective), (inputs, targets));
        }
    }

    proptest! {
        #[test]
        fn the_spans_put_back_give_the_text(ids in proptest::collection::vec(10_u32..90, 0..80), key in 0_u64..50) {
            let objective = default_params().objective;
            let frame = Frame {
                language: Language::Spans, pad: 0, before: vec![], behind: vec![1], end: None, mask: 0,
                sentinels: (100..130).rev().collect(), decoder_start: 0,
            };
            let (inputs, targets) = corrupt(&ids, &frame, &objective, &mut draw::stream(key, "spans", b""));
            let mut restored = Vec::new();
            for id in &inputs[..inputs.len() - 1] {
                match targets.iter().position(|target| target == id && *id >= 100) {
                    Some(at) => restored.extend(targets[at + 1..].iter().take_while(|id| **id < 100 && **id != 1)),
                    None => restored.push(*id),
                }
            }
            prop_assert_eq!(&restored, &ids);
            prop_assert_eq!(inputs.last(), Some(&1));
            if ids.len() > 1 {
                prop_assert!(inputs[0] < 100, "the text begins with a span that is left");
                prop_assert_eq!((inputs.len(), targets.len()), lengths(ids.len(), &objective));
            } else {
                prop_assert!(targets.is_empty());
            }
        }
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
