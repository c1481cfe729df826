//! windows → rows: what a model reads and what it is to predict, one kind of rows a file.
//!
//! A microbatch keeps one set of rows of each kind that an objective learns from. To add a kind:
//! one file with a [`RowMaker`], one `mod` line, one variant of [`RowKind`] with its line in
//! [`RowKind::maker`].

pub mod causal;
pub mod masked;
pub mod passages;
pub mod prefix;
pub mod spans;

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::draw;
use crate::error::Result;
use crate::train::data::informed::Informed;
use crate::train::data::marks::mentions;
use crate::train::data::tokenizer::{Pieces, Tokenizer};
use crate::train::model::{Inputs, Language, Tokens, View};
use crate::train::params::Params;

/// Where the sections of row kinds stand in a pipeline file.
const PLACE: &str = "train.rows";

/// A way to learn language; each family has its own, and can learn by the other as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// What was taken out of a text is put back, with what stands on both sides in view.
    Restore,
    /// A text is gone on with.
    Continue,
}

impl Task {
    /// That of a family's own.
    pub fn own(language: Language) -> Self {
        if language == Language::Causal { Task::Continue } else { Task::Restore }
    }
}

/// A kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// Some tokens are masked and predicted from both sides.
    Masked,
    /// Each token is predicted from those before it.
    Causal,
    /// Spans are left out for a decoder to restore.
    Spans,
    /// Passages that are compared with one another.
    Passages,
    /// Some tokens are masked, and predicted from both sides at the place before them.
    MaskedNext,
    /// A decoder goes on with what an encoder has read the beginning of.
    Prefix,
}

impl RowKind {
    /// The rows of a task for a model that learns language in this way.
    pub fn of(task: Task, language: Language) -> Self {
        match (task, language) {
            (Task::Restore, Language::Masked) => RowKind::Masked,
            (Task::Restore, Language::Causal) => RowKind::MaskedNext,
            (Task::Restore, Language::Spans) => RowKind::Spans,
            (Task::Continue, Language::Masked | Language::Causal) => RowKind::Causal,
            (Task::Continue, Language::Spans) => RowKind::Prefix,
        }
    }

    /// The rows that a model learns language from in its own way; windows are cut so that these
    /// fit.
    pub fn of_language(language: Language) -> Self {
        Self::of(Task::own(language), language)
    }

    /// Whether a decoder reads its labels.
    pub fn has_decoder(self) -> bool {
        matches!(self, RowKind::Spans | RowKind::Prefix)
    }

    /// What a place of such rows sees; `None` where the model decides.
    pub fn view(self) -> Option<View> {
        match self {
            RowKind::Masked | RowKind::MaskedNext => Some(View::Both),
            RowKind::Causal => Some(View::Before),
            RowKind::Spans | RowKind::Prefix | RowKind::Passages => None,
        }
    }

    /// The section of a pipeline file that says how such rows are made.
    pub fn section(self) -> String {
        let name = match self {
            RowKind::Masked | RowKind::MaskedNext => "masked",
            RowKind::Causal => "causal",
            RowKind::Spans => "spans",
            RowKind::Passages => "passages",
            RowKind::Prefix => "prefix",
        };
        format!("{PLACE}.{name}")
    }

    /// What makes such rows of windows; `None` for passages, which come with a document and not
    /// with its windows.
    ///
    /// # Errors
    /// If its section of the pipeline file does not fit.
    pub fn maker<'a>(
        self,
        params: &Params,
        tokenizer: &'a Tokenizer,
        informed: Option<&'a Informed>,
    ) -> Result<Option<Box<dyn RowMaker + 'a>>> {
        Ok(match self {
            RowKind::Masked | RowKind::MaskedNext => {
                Some(Box::new(masked::Masked::new(params, tokenizer, informed)?))
            }
            RowKind::Prefix => Some(Box::new(prefix::Prefix { frame: &tokenizer.frame })),
            RowKind::Causal => Some(Box::new(causal::Causal {
                frame: &tokenizer.frame,
                concepts: params.concepts.weight,
            })),
            RowKind::Spans => Some(Box::new(spans::Spans {
                params: spans::Params::of(params)?,
                frame: &tokenizer.frame,
                concepts: params.concepts.mask,
            })),
            RowKind::Passages => None,
        })
    }
}

/// Makes rows of one kind.
pub trait RowMaker: Send + Sync {
    /// Most pieces of a window, so that its row has at most `max_tokens`.
    fn room(&self, max_tokens: usize) -> usize;

    /// Most tokens that a window of `pieces` takes.
    fn lengths(&self, pieces: usize) -> Lengths;

    /// A row with what is to be predicted. All chance comes from `stream`.
    fn row(&self, text: &Text, stream: &mut ChaCha8Rng) -> Row;
}

/// A text that a row is made of.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its pieces.
    pub pieces: &'a Pieces,
    /// Pieces about its source, which are read before it and never predicted.
    pub line: &'a [u32],
    /// Whether the document ends with it.
    pub ends: bool,
}

impl<'a> Text<'a> {
    /// A whole document that says nothing about its source.
    pub fn whole(pieces: &'a Pieces) -> Self {
        Text { pieces, line: &[], ends: true }
    }
}

/// Tokens of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Of the model, or of its encoder.
    pub tokens: usize,
    /// Of its decoder, where it has both.
    pub decoded: usize,
}

/// A row before it joins a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the model reads.
    pub ids: Vec<u32>,
    /// What the decoder reads, where there is one.
    pub decoder: Option<Vec<u32>>,
    /// What is to be predicted.
    pub labels: Vec<Label>,
}

/// A token that is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Number of its row in a set; 0 before the row joins one.
    pub row: usize,
    /// Its place in the row, the decoder's where there is one.
    pub place: usize,
    /// The token.
    pub token: u32,
    /// What its loss counts.
    pub weight: f32,
    /// `seq` of its document; 0 before the row joins a set.
    pub document: u64,
}

impl Label {
    /// One that counts as any other.
    pub fn new(place: usize, token: u32) -> Self {
        Label { row: 0, place, token, weight: 1.0, document: 0 }
    }
}

/// A label for each token of a decoder, in order.
fn labelled(tokens: &[u32]) -> Vec<Label> {
    tokens.iter().enumerate().map(|(place, token)| Label::new(place, *token)).collect()
}

/// Names of concepts that are to be taken out of a text: each is drawn with the probability
/// `share`, in an order that is drawn as well. Of a sentence with several at most half are, since
/// from nothing nothing can be restored.
fn drawn_mentions(pieces: &Pieces, share: f64, stream: &mut ChaCha8Rng) -> Vec<Range<usize>> {
    let mut found = mentions(&pieces.marks);
    let mut left: BTreeMap<u32, usize> = BTreeMap::new();
    found.iter().for_each(|mention| *left.entry(mention.sentence).or_default() += 1);
    left.values_mut().for_each(|n| *n = (*n / 2).max(1));

    draw::shuffle(&mut found, stream);
    found.retain(|mention| {
        let is_drawn = draw::next_unit(stream) < share;
        let left = left.get_mut(&mention.sentence).filter(|left| is_drawn && **left > 0);
        left.map(|left| *left -= 1).is_some()
    });
    found.into_iter().map(|mention| mention.pieces).collect()
}

/// Rows of tokens, each of one text or of several that do not see one another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The tokens of each row.
    pub ids: Vec<Vec<u32>>,
    /// How many tokens each text of each row has.
    pub texts: Vec<Vec<usize>>,
}

impl Rows {
    /// Whether a row holds several texts.
    pub fn are_packed(&self) -> bool {
        self.texts.iter().any(|texts| texts.len() > 1)
    }

    fn begin(&mut self) {
        self.ids.push(Vec::new());
        self.texts.push(Vec::new());
    }

    /// Adds a text to the last row; gives where it begins.
    fn extend(&mut self, text: &[u32]) -> usize {
        let (Some(ids), Some(texts)) = (self.ids.last_mut(), self.texts.last_mut()) else {
            return 0;
        };
        let begin = ids.len();
        ids.extend(text);
        texts.push(text.len());
        begin
    }

    fn tokens(&self, pad: u32, dtype: DType, device: &Device) -> candle_core::Result<Tokens> {
        let rows: Vec<&[u32]> = self.ids.iter().map(Vec::as_slice).collect();
        let tokens = Tokens::new(&rows, pad, dtype, device)?;
        Ok(if self.are_packed() { tokens.packed(&self.texts) } else { tokens })
    }
}

impl FromIterator<Vec<u32>> for Rows {
    fn from_iter<I: IntoIterator<Item = Vec<u32>>>(rows: I) -> Self {
        let ids: Vec<Vec<u32>> = rows.into_iter().collect();
        Rows { texts: ids.iter().map(|row| vec![row.len()]).collect(), ids }
    }
}

/// The rows of one kind in a microbatch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSet {
    /// Rows for the model, or for its encoder.
    pub rows: Rows,
    /// Rows for the decoder, where the model has both.
    pub decoder: Option<Rows>,
    /// What is to be predicted.
    pub labels: Vec<Label>,
    /// Passages to compare, each a whole row; these sets have no other rows.
    pub compared: passages::Compared,
}

impl RowSet {
    /// Begins a row, to which texts are added.
    pub fn begin(&mut self, has_decoder: bool) {
        self.rows.begin();
        if has_decoder {
            self.decoder.get_or_insert_default().begin();
        }
    }

    /// Adds a text to the last row: one of the document that stands at `seq`, of which each label
    /// counts `weight` times what it would.
    pub fn add(&mut self, row: Row, document: u64, weight: f32) {
        let Row { ids, decoder, labels } = row;
        let mut begin = self.rows.extend(&ids);
        if let (Some(rows), Some(ids)) = (&mut self.decoder, decoder) {
            begin = rows.extend(&ids);
        }
        let row = self.rows.ids.len() - 1;
        self.labels.extend(labels.into_iter().map(|label| Label {
            row,
            place: begin + label.place,
            weight: weight * label.weight,
            document,
            ..label
        }));
    }

    /// The rows with these numbers, in their order; only of sets that windows were made into.
    #[must_use]
    pub fn only(&self, numbers: &[usize]) -> RowSet {
        let of = |rows: &Rows| Rows {
            ids: numbers.iter().map(|number| rows.ids[*number].clone()).collect(),
            texts: numbers.iter().map(|number| rows.texts[*number].clone()).collect(),
        };
        let labels = self.labels.iter().filter_map(|label| {
            let row = numbers.iter().position(|number| *number == label.row)?;
            Some(Label { row, ..*label })
        });
        RowSet {
            rows: of(&self.rows),
            decoder: self.decoder.as_ref().map(of),
            labels: labels.collect(),
            compared: passages::Compared::default(),
        }
    }

    /// What the model reads, padded with `pad`.
    ///
    /// # Errors
    /// If there is no row or the device fails.
    pub fn inputs(&self, pad: u32, dtype: DType, device: &Device) -> candle_core::Result<Inputs> {
        if !self.compared.anchors.is_empty() {
            let rows: Vec<&[u32]> = self.compared.rows().map(Vec::as_slice).collect();
            return Ok(Tokens::new(&rows, pad, dtype, device)?.into());
        }
        let decoder =
            self.decoder.as_ref().map(|rows| rows.tokens(pad, dtype, device)).transpose()?;
        Ok(Inputs { tokens: self.rows.tokens(pad, dtype, device)?, decoder })
    }

    /// The hidden states, `[n, width]` of `[rows, length, width]`, where its labels are predicted.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn predicted(&self, hidden: &Tensor) -> candle_core::Result<Tensor> {
        let length = hidden.dim(1)?;
        let places = self.labels.iter().map(|label| (label.row * length + label.place) as u32);
        let places = Tensor::from_iter(places, hidden.device())?;
        hidden.flatten_to(1)?.index_select(&places, 0)
    }

    /// Tokens of all rows, and places they are padded to.
    pub fn size(&self) -> (u64, u64) {
        let compared: Vec<&Vec<u32>> = self.compared.rows().collect();
        let decoded = self.decoder.iter().flat_map(|rows| &rows.ids).collect();
        let (mut tokens, mut places) = (0, 0);

        for together in [self.rows.ids.iter().collect(), decoded, compared] {
            let together: Vec<&Vec<u32>> = together;
            let lengths = || together.iter().map(|row| row.len() as u64);
            tokens += lengths().sum::<u64>();
            places += together.len() as u64 * lengths().max().unwrap_or(0);
        }

        (tokens, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_kept_keep_their_labels() {
        let row = |ids: &[u32], place: usize| Row {
            ids: ids.to_vec(),
            decoder: Some(ids.iter().map(|id| id + 50).collect()),
            labels: vec![Label::new(place, ids[place])],
        };
        let mut set = RowSet::default();
        for (seq, ids) in [[1, 2], [3, 4], [5, 6]].iter().enumerate() {
            set.begin(true);
            set.add(row(ids, 1), seq as u64, 0.5);
        }
        let kept = set.only(&[0, 2]);
        assert_eq!(kept.rows.ids, [[1, 2], [5, 6]]);
        assert_eq!(kept.decoder.as_ref().unwrap().ids, [[51, 52], [55, 56]]);
        let label =
            |row, token, document| Label { row, document, weight: 0.5, ..Label::new(1, token) };
        assert_eq!(kept.labels, [label(0, 2, 0), label(1, 6, 2)]);
        assert_eq!(set.only(&[0, 1, 2]), set);
    }

    #[test]
    fn rows_that_are_computed_together_are_padded_together() {
        let rows =
            |lengths: &[usize]| lengths.iter().map(|n| vec![1; *n]).collect::<Vec<Vec<u32>>>();
        let of = |lengths: &[usize]| rows(lengths).into_iter().collect();
        let compared =
            passages::Compared { anchors: rows(&[3]), positives: rows(&[5]), ..Default::default() };
        let set = RowSet { rows: of(&[4, 2, 7]), decoder: Some(of(&[2, 2])), ..RowSet::default() };
        assert_eq!(set.size(), (13 + 4, 21 + 4));
        assert_eq!(RowSet { compared, ..RowSet::default() }.size(), (8, 10));
        assert_eq!(RowSet::default().size(), (0, 0));
    }
}
