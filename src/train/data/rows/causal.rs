//! Rows whose every token is predicted from those before it (Radford et al. 2019).

use rand_chacha::ChaCha8Rng;

use super::{Lengths, Row, RowMaker};
use crate::train::data::tokenizer::{Frame, Pieces};

/// See the module.
pub struct Causal<'a> {
    /// What stands around the pieces.
    pub frame: &'a Frame,
}

impl RowMaker for Causal<'_> {
    fn room(&self, max_tokens: usize) -> usize {
        max_tokens - self.frame.width()
    }

    fn lengths(&self, pieces: usize) -> Lengths {
        Lengths { tokens: pieces + self.frame.width(), decoded: 0 }
    }

    fn row(&self, pieces: &Pieces, ends: bool, _: &mut ChaCha8Rng) -> Row {
        let ids = self.frame.around(&pieces.ids, ends);
        let labels = ids.iter().skip(1).copied().enumerate().collect();
        Row { ids, decoder: None, labels }
    }
}
