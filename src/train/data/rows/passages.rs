//! Passages of documents and what they are compared with, from the column `negatives`.
//!
//! A candidate of kind `hard` means something else and is a negative. A candidate of kind
//! `paraphrase` (a synonym or back-translation that kept the meaning) is the anchor's *positive*:
//! pushing away what means the same teaches the wrong thing, and the literature uses such
//! rewritings as positives (CERT arXiv:2005.12766, CLINE, ConSERT). `paraphrase_as = "negative"` is
//! the literal reading of "negatives by synonym and back-translation", kept for comparison and
//! noted as such. An anchor without a paraphrase has itself as positive, made into a row anew.

use serde::{Deserialize, Serialize};

use super::PLACE;
use crate::draw;
use crate::error::Result;
use crate::train::data::stream::{Document, Rewrite};
use crate::train::data::tokenizer::Pieces;
use crate::train::params;

/// The section `[train.rows.passages]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What a rewritten passage of kind `paraphrase` is to its anchor.
    pub paraphrase_as: ParaphraseAs,
    /// Most anchors of a microbatch.
    pub anchors: usize,
    /// Most hard negatives of an anchor.
    pub hard: usize,
    /// Tokens of a passage, with `[CLS]` and `[SEP]`.
    pub tokens: usize,
}

/// What a paraphrase is to its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParaphraseAs {
    /// It means the same, so it is pulled close.
    Positive,
    /// It is pushed away like any other negative.
    Negative,
}

/// An anchor passage and what it is compared with, before they are rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Passages {
    /// The passage of the text.
    pub anchor: Pieces,
    /// A passage that means the same; `None` makes the anchor its own positive.
    pub positive: Option<Pieces>,
    /// Passages that look alike and mean something else.
    pub hard: Vec<Pieces>,
}

/// The passages of a microbatch, each a whole row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// Passages of the text.
    pub anchors: Vec<Vec<u32>>,
    /// For each anchor, the passage it is to be near to.
    pub positives: Vec<Vec<u32>>,
    /// Passages every anchor is to be far from.
    pub hard: Vec<Vec<u32>>,
    /// For each of them, the anchor that it was made of.
    pub owners: Vec<usize>,
}

impl Compared {
    /// All of them: anchors, positives, hard negatives.
    pub fn rows(&self) -> impl Iterator<Item = &Vec<u32>> {
        self.anchors.iter().chain(&self.positives).chain(&self.hard)
    }

    /// How many there are of each.
    pub fn sizes(&self) -> [usize; 3] {
        [self.anchors.len(), self.positives.len(), self.hard.len()]
    }

    /// Those of several microbatches, in order.
    pub fn joined<'a>(parts: impl IntoIterator<Item = &'a Compared>) -> Compared {
        let mut all = Compared::default();
        for part in parts {
            let before = all.anchors.len();
            all.owners.extend(part.owners.iter().map(|owner| before + owner));
            all.anchors.extend(part.anchors.iter().cloned());
            all.positives.extend(part.positives.iter().cloned());
            all.hard.extend(part.hard.iter().cloned());
        }
        all
    }
}

impl Params {
    /// The section of a run.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn of(params: &params::Params) -> Result<Self> {
        params.rows.parse(PLACE, "passages")
    }

    /// One anchor of a document, drawn anew each epoch, with its candidates; `None` where it has
    /// none. `pieces` makes some of a text, which `width` tokens stand around.
    ///
    /// # Errors
    /// From `pieces`.
    pub fn passages(
        &self,
        document: &Document,
        epoch: u64,
        seed: u64,
        width: usize,
        pieces: impl Fn(&str) -> Result<Pieces>,
    ) -> Result<Option<Passages>> {
        if document.rewrites.is_empty() {
            return Ok(None);
        }
        let mut anchors: Vec<&str> =
            document.rewrites.iter().map(|rewrite| rewrite.anchor.as_str()).collect();
        anchors.dedup();
        let mut draws =
            draw::stream(seed, "anchor", format!("{epoch}/{}", document.seq).as_bytes());
        let anchor = anchors[draw::next_below(&mut draws, anchors.len())];

        let own = document.rewrites.iter().filter(|rewrite| rewrite.anchor == anchor);
        let is_positive =
            |rewrite: &&Rewrite| rewrite.paraphrase && self.paraphrase_as == ParaphraseAs::Positive;
        let (positives, mut negatives): (Vec<&Rewrite>, Vec<&Rewrite>) = own.partition(is_positive);
        draw::shuffle(&mut negatives, &mut draws);
        let chosen = (!positives.is_empty())
            .then(|| positives[draw::next_below(&mut draws, positives.len())]);

        let passage = |text: &str| {
            let pieces = pieces(text)?;
            Result::Ok(pieces.cut(0, pieces.ids.len().min(self.tokens - width)))
        };
        Ok(Some(Passages {
            anchor: passage(anchor)?,
            positive: chosen.map(|rewrite| passage(&rewrite.text)).transpose()?,
            hard: negatives
                .iter()
                .take(self.hard)
                .map(|rewrite| passage(&rewrite.text))
                .collect::<Result<_>>()?,
        }))
    }
}
