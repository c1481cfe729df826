//! Rows whose every token is predicted from those before it (Radford et al. 2019).

use rand_chacha::ChaCha8Rng;

use super::{Label, Lengths, Row, RowMaker, Text};
use crate::train::data::marks::{Mark, mentions};
use crate::train::data::tokenizer::Frame;

/// See the module.
pub struct Causal<'a> {
    /// What stands around the pieces.
    pub frame: &'a Frame,
    /// What the first piece of a concept's name counts more than others.
    pub concepts: f64,
}

impl RowMaker for Causal<'_> {
    fn room(&self, max_tokens: usize) -> usize {
        max_tokens - self.frame.width()
    }

    fn lengths(&self, pieces: usize) -> Lengths {
        Lengths { tokens: pieces + self.frame.width(), decoded: 0 }
    }

    fn row(&self, text: &Text, _: &mut ChaCha8Rng) -> Row {
        let ids = self.frame.around(text.line, &text.pieces.ids, text.ends);
        let first = self.frame.before.len() + text.line.len();
        // Nothing stands before the first token, and nobody learns the line about the source.
        let taught = if text.line.is_empty() { 1 } else { first };
        let label = |(place, token): (usize, &u32)| Label::new(place - 1, *token);
        let mut labels: Vec<Label> = ids.iter().enumerate().skip(taught).map(label).collect();
        self.weigh(&mut labels, first, &text.pieces.marks);
        Row { ids, decoder: None, labels }
    }
}

impl Causal<'_> {
    /// Has the names of concepts count more, and the mean over the row stay as it is. Only their
    /// first piece does: those behind it are about spelling. The pieces begin at the place `first`.
    fn weigh(&self, labels: &mut [Label], first: usize, marks: &[Mark]) {
        if self.concepts == 0.0 {
            return;
        }
        for mention in mentions(marks) {
            let place = first + mention.pieces.start;
            // A label stands at the place before what it predicts.
            let labels = labels.iter_mut().find(|label| label.place + 1 == place);
            labels.into_iter().for_each(|label| label.weight += self.concepts as f32);
        }
        let mean = labels.iter().map(|label| label.weight).sum::<f32>() / labels.len() as f32;
        labels.iter_mut().for_each(|label| label.weight /= mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;
    use crate::train::data::tokenizer::Pieces;
    use crate::train::model::Language;

    fn frame() -> Frame {
        Frame {
            language: Language::Causal,
            pad: 0,
            before: vec![1],
            behind: vec![],
            end: Some(2),
            mask: 0,
            sentinels: vec![],
            decoder_start: 0,
        }
    }

    fn row(concepts: f64, line: &[u32], mentions: &[u32]) -> Row {
        let marks = mentions.iter().map(|mention| Mark { mention: *mention, sentence: 0 });
        let ids: Vec<u32> = (10..10 + mentions.len() as u32).collect();
        let pieces = Pieces { words: ids.clone(), ids, marks: marks.collect() };
        let text = Text { pieces: &pieces, line, ends: true };
        Causal { frame: &frame(), concepts }.row(&text, &mut draw::stream(1, "x", b""))
    }

    #[test]
    fn names_of_concepts_count_more_and_a_row_the_same() {
        let plain = row(0.0, &[], &[0, 1, 1, 0]);
        let tokens: Vec<u32> = plain.labels.iter().map(|label| label.token).collect();
        assert_eq!(tokens, [10, 11, 12, 13, 2]);
        assert!(plain.labels.iter().all(|label| label.weight == 1.0));

        let weighed = row(1.0, &[], &[0, 1, 1, 0]);
        let weights: Vec<f32> = weighed.labels.iter().map(|label| label.weight).collect();
        let [low, high] = [1.0 / 1.2, 2.0 / 1.2];
        let right = [low, high, low, low, low];
        assert!(weights.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6), "{weights:?}");
        assert_eq!(row(1.0, &[], &[0, 0]), row(0.0, &[], &[0, 0]));
    }

    #[test]
    fn nobody_learns_the_line_about_the_source() {
        let row = row(0.0, &[7, 8], &[0, 0]);
        assert_eq!(row.ids, [1, 7, 8, 10, 11, 2]);
        let labels: Vec<(usize, u32)> =
            row.labels.iter().map(|label| (label.place, label.token)).collect();
        assert_eq!(labels, [(2, 10), (3, 11), (4, 2)]);
    }
}
