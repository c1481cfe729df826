//! Blocks of documents whose windows are dealt in turn, so that no batch is one long document.
//!
//! A few documents are open at once: each window of one is taken where it lies in its document, so
//! windows of a long one stand apart, and those that have one window each keep their order. A block
//! is read whole before the next begins. Two documents of a family are in no block: they are kept
//! out of one step, and would end one after the other before their time.

use std::collections::{BTreeSet, VecDeque};

use crate::error::Result;
use crate::train::data::shuffle::Documents;
use crate::train::data::stream::{Cursor, Document};
use crate::train::data::windows::Window;

/// Documents in the order they are taught, in blocks.
pub struct Blocks<'a> {
    documents: Documents<'a>,
    /// Most documents of a block, 1 or more.
    most: usize,
    /// The first document of the next block, where that ended the one before, and its place.
    held: Option<(Document, (Cursor, usize))>,
}

impl<'a> Blocks<'a> {
    /// Blocks of at most so many documents; 0 is 1.
    pub fn new(documents: Documents<'a>, most: usize) -> Self {
        Blocks { documents, most: most.max(1), held: None }
    }

    /// Where the next block begins, as [`Documents::place`].
    pub fn place(&self) -> (Cursor, usize) {
        self.held.as_ref().map_or_else(|| self.documents.place(), |(_, place)| *place)
    }

    /// How often the split was read to its end.
    pub fn epoch(&self) -> u64 {
        self.documents.epoch()
    }

    /// Goes back to the first row, one epoch later.
    pub fn begin_next_epoch(&mut self) {
        self.documents.begin_next_epoch();
    }

    /// The documents of the next block; none at the end of the epoch.
    ///
    /// # Errors
    /// If a shard cannot be read or breaks the order of `seq`.
    pub fn next_block(&mut self) -> Result<Vec<Document>> {
        let (mut block, mut families) = (Vec::new(), BTreeSet::new());
        while block.len() < self.most {
            let place = self.place();
            let next = match self.held.take() {
                Some((document, _)) => Some(document),
                None => self.documents.next_document()?,
            };
            let Some(document) = next else { break };
            if document.family.is_some_and(|family| !families.insert(family)) {
                self.held = Some((document, place));
                break;
            }
            block.push(document);
        }
        Ok(block)
    }
}

/// The order in which windows of documents that have so many are read in turn, as the number of the
/// document of each: of `n`, the one of number `i` stands at `(i + u) / n`, where `u` is the place
/// of its document in the block.
pub fn turns(counts: &[usize]) -> Vec<usize> {
    let n_documents = counts.len() as f64;
    let mut placed: Vec<(f64, usize)> = Vec::new();
    for (at, n) in counts.iter().enumerate() {
        let u = (at as f64 + 0.5) / n_documents;
        placed.extend((0..*n).map(|number| ((number as f64 + u) / *n as f64, at)));
    }
    // Stable: of equal places the document that comes first stands first.
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().map(|(_, at)| at).collect()
}

/// The windows of the documents of a block, in turn.
pub fn dealt(documents: Vec<Vec<Window>>) -> VecDeque<Window> {
    let order = turns(&documents.iter().map(Vec::len).collect::<Vec<usize>>());
    let mut left: Vec<_> = documents.into_iter().map(Vec::into_iter).collect();
    order.into_iter().filter_map(|at| left[at].next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_a_long_document_stand_apart() {
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2], "documents of one window keep their order");
        assert_eq!(turns(&[3]), [0, 0, 0]);
        assert_eq!(turns(&[4, 1, 1, 1]), [0, 0, 1, 0, 2, 0, 3]);
        assert!(turns(&[]).is_empty());
    }
}
