//! Rows of which an encoder reads the beginning and a decoder goes on (prefix language modelling,
//! arXiv:1910.10683, section 3.2.1). Where a text is cut is drawn, each place alike.

use rand_chacha::ChaCha8Rng;

use super::{Lengths, Row, RowMaker, Text, labelled};
use crate::draw;
use crate::train::data::tokenizer::Frame;

/// See the module.
pub struct Prefix<'a> {
    /// What stands around the pieces.
    pub frame: &'a Frame,
}

impl RowMaker for Prefix<'_> {
    fn room(&self, max_tokens: usize) -> usize {
        max_tokens
    }

    /// Whatever the place: each side has its share and its end.
    fn lengths(&self, pieces: usize) -> Lengths {
        Lengths { tokens: pieces.max(2), decoded: pieces }
    }

    fn row(&self, text: &Text, stream: &mut ChaCha8Rng) -> Row {
        let ids = &text.pieces.ids;
        // A text of one token has nothing to go on with.
        let cut = match ids.len() {
            0 | 1 => ids.len(),
            n => 1 + draw::next_below(stream, n - 1),
        };
        let behind = |part: &[u32]| [part, &self.frame.behind].concat();
        let prefix = [text.line, &behind(&ids[..cut])].concat();
        let rest: Vec<u32> = if cut < ids.len() { behind(&ids[cut..]) } else { Vec::new() };

        let shifted = std::iter::once(self.frame.decoder_start).chain(rest.iter().copied());
        let decoder = Some(shifted.take(rest.len()).collect());
        Row { ids: prefix, decoder, labels: labelled(&rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::tokenizer::Pieces;
    use crate::train::model::Language;
    use std::collections::BTreeSet;

    #[test]
    fn both_sides_together_are_the_text() {
        let frame = Frame {
            language: Language::Spans,
            pad: 0,
            before: Vec::new(),
            behind: vec![1],
            end: None,
            mask: 0,
            sentinels: vec![9],
            decoder_start: 0,
        };
        let maker = Prefix { frame: &frame };
        for n in 1..9_usize {
            let ids: Vec<u32> = (10..10 + n as u32).collect();
            let pieces = Pieces { words: ids.clone(), ids, marks: Vec::new() };
            let mut cuts = BTreeSet::new();
            for key in 0..200_u64 {
                let mut stream = draw::stream(1, "prefix", &key.to_le_bytes());
                let row = maker.row(&Text::whole(&pieces), &mut stream);
                let rest: Vec<u32> = row.labels.iter().map(|label| label.token).collect();
                let decoder = row.decoder.unwrap();
                assert!(row.ids.len() <= maker.lengths(n).tokens.max(2) && decoder.len() <= n);
                assert_eq!(decoder.len(), rest.len());

                if n == 1 {
                    assert_eq!((row.ids, rest), (vec![10, 1], Vec::new()));
                    continue;
                }
                assert_eq!((row.ids.last(), rest.last()), (Some(&1), Some(&1)));
                assert_eq!((decoder[0], &decoder[1..]), (0, &rest[..rest.len() - 1]));
                let whole = [&row.ids[..row.ids.len() - 1], &rest[..rest.len() - 1]].concat();
                assert_eq!(whole, pieces.ids);
                cuts.insert(row.ids.len() - 1);
            }
            assert_eq!(cuts.len(), n - 1, "every place is drawn");
        }
    }
}
