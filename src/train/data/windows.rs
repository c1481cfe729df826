//! Cuts documents into windows of tokens, one document in memory at a time.
//!
//! Every document gives at least one window, so that what was consumed can be told by `seq` alone. A long one gives
//! consecutive windows that end between words. A document's rewritten passages travel with its first window.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::draw;
use crate::error::{Error, Result};
use crate::train::data::shards::Shards;
use crate::train::data::shuffle::Documents;
use crate::train::data::stream::{Cursor, Document, Rewrite, Stream};
use crate::train::data::tokenizer::{Pieces, Tokenizer};
use crate::train::objective;
use crate::train::params::{Long, Params, ParaphraseAs};

/// One row of the model's input, before masking.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Epoch it was read in.
    pub epoch: u64,
    /// Position of its document in the training order.
    pub seq: u64,
    /// Name of its document.
    pub id: String,
    /// Number of the window in its document.
    pub index: u64,
    /// Whether it is the last of its document.
    pub last: bool,
    /// The pieces, without what stands around them.
    pub pieces: Pieces,
    /// The passages to compare, on the first window of a document that has some.
    pub passages: Option<Passages>,
}

/// An anchor passage and what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Passages {
    /// The passage of the text.
    pub anchor: Pieces,
    /// A passage that means the same; `None` makes the masked anchor its own positive.
    pub positive: Option<Pieces>,
    /// Passages that look alike and mean something else.
    pub hard: Vec<Pieces>,
}

/// Where a run stands in the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The first row of the block the document of the next window is of: the document's own where nothing is shuffled.
    pub cursor: Cursor,
    /// Documents of that block that are done.
    #[serde(default)]
    pub drawn: usize,
    /// Windows of that document that were given already.
    pub given: usize,
}

/// The windows of a split in order.
pub struct Windows<'a> {
    documents: Documents<'a>,
    tokenizer: &'a Tokenizer,
    params: &'a Params,
    seed: u64,
    /// Most pieces of a window.
    room: usize,
    pending: VecDeque<Window>,
    position: Position,
}

impl<'a> Windows<'a> {
    /// The windows from `position` on, in the order they are taught.
    ///
    /// # Errors
    /// If the document there cannot be read.
    pub fn new(
        shards: &'a Shards,
        tokenizer: &'a Tokenizer,
        params: &'a Params,
        seed: u64,
        position: Position,
    ) -> Result<Self> {
        let stream = Stream::new(shards, position.cursor);
        let documents = Documents::new(stream, params.shuffle, seed, position.drawn)?;
        Self::of(documents, tokenizer, params, seed, position)
    }

    /// All windows in the order of `seq`, as they are measured.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn in_order(shards: &'a Shards, tokenizer: &'a Tokenizer, params: &'a Params, seed: u64) -> Result<Self> {
        let documents = Documents::new(Stream::new(shards, Cursor::default()), 0, seed, 0)?;
        Self::of(documents, tokenizer, params, seed, Position::default())
    }

    fn of(
        documents: Documents<'a>,
        tokenizer: &'a Tokenizer,
        params: &'a Params,
        seed: u64,
        position: Position,
    ) -> Result<Self> {
        let room = objective::room(&tokenizer.frame, params);
        let mut windows = Windows { documents, tokenizer, params, seed, room, pending: VecDeque::new(), position };
        if position.given > 0 {
            windows.read_document()?;
            windows.pending.drain(..position.given.min(windows.pending.len()));
            windows.position.given = position.given;
        }
        Ok(windows)
    }

    /// Where the next window comes from.
    pub fn position(&self) -> Position {
        if self.pending.is_empty() { self.begin() } else { self.position }
    }

    /// Where the next document comes from.
    fn begin(&self) -> Position {
        let (cursor, drawn) = self.documents.place();
        Position { cursor, drawn, given: 0 }
    }

    /// The next window; `None` at the end of the epoch.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails.
    pub fn next_window(&mut self) -> Result<Option<Window>> {
        if self.pending.is_empty() && !self.read_document()? {
            return Ok(None);
        }
        self.position.given += 1;
        Ok(self.pending.pop_front())
    }

    /// The next window, from the beginning again where the epoch ends.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails, or the split is empty.
    pub fn next_window_forever(&mut self) -> Result<Window> {
        loop {
            if let Some(window) = self.next_window()? {
                return Ok(window);
            }
            if self.documents.place().0.seq == 0 {
                return Err(Error::data("the train shards hold no document"));
            }
            self.documents.begin_next_epoch();
        }
    }

    /// What [`Windows::next_window_forever`] gives next.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails, or the split is empty.
    pub fn peek_forever(&mut self) -> Result<&Window> {
        if self.pending.is_empty() {
            let window = self.next_window_forever()?;
            self.position.given -= 1;
            self.pending.push_front(window);
        }
        self.pending.front().ok_or_else(|| Error::data("a document without a window"))
    }

    fn read_document(&mut self) -> Result<bool> {
        let position = self.begin();
        let Some(document) = self.documents.next_document()? else { return Ok(false) };
        self.position = position;
        let epoch = position.cursor.epoch;
        let pieces = self.tokenizer.pieces(&document.text)?;
        let spans = spans(&pieces.words, self.room, self.params.long);
        let mut passages = self.passages(epoch, &document)?;
        for (index, (start, end)) in spans.iter().enumerate() {
            self.pending.push_back(Window {
                epoch,
                seq: document.seq,
                id: document.id.clone(),
                index: index as u64,
                last: index + 1 == spans.len(),
                pieces: cut(&pieces, *start, *end),
                passages: passages.take(),
            });
        }
        Ok(true)
    }

    /// One anchor of the document, drawn anew each epoch, with its candidates.
    fn passages(&self, epoch: u64, document: &Document) -> Result<Option<Passages>> {
        let objective = &self.params.objective;
        if document.rewrites.is_empty() || objective.contrastive_weight == 0.0 {
            return Ok(None);
        }
        let mut anchors: Vec<&str> = document.rewrites.iter().map(|rewrite| rewrite.anchor.as_str()).collect();
        anchors.dedup();
        let mut draws = draw::stream(self.seed, "anchor", format!("{epoch}/{}", document.seq).as_bytes());
        let anchor = anchors[draw::next_below(&mut draws, anchors.len())];
        let own = document.rewrites.iter().filter(|rewrite| rewrite.anchor == anchor);
        let positive = |rewrite: &&Rewrite| rewrite.paraphrase && objective.paraphrase_as == ParaphraseAs::Positive;
        let (positives, mut negatives): (Vec<&Rewrite>, Vec<&Rewrite>) = own.partition(positive);
        draw::shuffle(&mut negatives, &mut draws);
        let chosen = (!positives.is_empty()).then(|| positives[draw::next_below(&mut draws, positives.len())]);
        Ok(Some(Passages {
            anchor: self.passage(anchor)?,
            positive: chosen.map(|rewrite| self.passage(&rewrite.text)).transpose()?,
            hard: negatives.iter().take(objective.hard).map(|r| self.passage(&r.text)).collect::<Result<_>>()?,
        }))
    }

    fn passage(&self, text: &str) -> Result<Pieces> {
        let pieces = self.tokenizer.pieces(text)?;
        let room = self.params.objective.passage_tokens - self.tokenizer.frame.width();
        let end = pieces.ids.len().min(room);
        Ok(cut(&pieces, 0, end))
    }
}

fn cut(pieces: &Pieces, start: usize, end: usize) -> Pieces {
    Pieces { ids: pieces.ids[start..end].to_vec(), words: pieces.words[start..end].to_vec() }
}

/// Where the windows of a document begin and end: at most `room` pieces, cut between words where a word ends in the
/// second half of the window.
fn spans(words: &[u32], room: usize, long: Long) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut start = 0;
    loop {
        let mut end = words.len().min(start + room);
        while end < words.len() && end > start + room / 2 && words[end] == words[end - 1] {
            end -= 1;
        }
        if end < words.len() && words[end] == words[end - 1] {
            end = words.len().min(start + room);
        }
        spans.push((start, end));
        if end >= words.len() || long == Long::Truncate {
            return spans;
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{grammar, shard_folder, tiny_params};
    use crate::train::model::bert::BERT;
    use proptest::prelude::*;

    #[test]
    fn windows_end_between_words_where_they_can() {
        assert_eq!(spans(&[0, 1, 1, 2, 2, 2, 3], 4, Long::Split), [(0, 3), (3, 7)]);
        assert_eq!(spans(&[0, 1, 1, 2, 2, 2, 3], 4, Long::Truncate), [(0, 3)]);
        assert_eq!(spans(&[7; 9], 4, Long::Split), [(0, 4), (4, 8), (8, 9)]);
        assert_eq!(spans(&[], 4, Long::Split), [(0, 0)]);
    }

    proptest! {
        #[test]
        fn spans_cover_a_document_once(steps in proptest::collection::vec(0_u32..2, 0..60), room in 2_usize..9) {
            let words: Vec<u32> = steps.iter().scan(0, |word, step| { *word += step; Some(*word) }).collect();
            let spans = spans(&words, room, Long::Split);
            prop_assert!(spans.windows(2).all(|two| two[0].1 == two[1].0));
            prop_assert!(spans.iter().all(|(start, end)| end - start <= room));
            prop_assert_eq!((spans[0].0, spans[spans.len() - 1].1), (0, words.len()));
        }
    }

    #[test]
    fn windows_go_on_from_any_position_over_the_epoch() {
        let folder = shard_folder(&grammar(20, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        for shuffle in [0, 8] {
            let params = Params { max_tokens: 12, shuffle, ..tiny_params() };
            let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
            let open = |position| Windows::new(&shards, &tokenizer, &params, 1, position).unwrap();
            let mut straight = open(Position::default());
            let mut positions = Vec::new();
            let windows: Vec<Window> = (0..120)
                .map(|_| {
                    positions.push(straight.position());
                    straight.next_window_forever().unwrap()
                })
                .collect();
            assert!(windows.iter().any(|window| window.index > 0) && windows[119].epoch > 0);
            for (at, position) in positions.iter().enumerate() {
                let mut resumed = open(*position);
                for expected in windows.iter().skip(at).take(4) {
                    assert_eq!(&resumed.next_window_forever().unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn the_literal_reading_makes_paraphrases_negatives() {
        let folder = shard_folder(&grammar(20, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let mut params = tiny_params();
        params.objective.hard = 2;
        let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
        let second = |params: &Params| {
            let mut windows = Windows::new(&shards, &tokenizer, params, 1, Position::default()).unwrap();
            std::iter::from_fn(|| windows.next_window().unwrap())
                .find(|window| window.seq == 1)
                .unwrap()
                .passages
                .unwrap()
        };
        let passages = second(&params);
        assert!(passages.positive.is_some() && passages.hard.len() == 1);
        params.objective.paraphrase_as = ParaphraseAs::Negative;
        let passages = second(&params);
        assert!(passages.positive.is_none() && passages.hard.len() == 2);
    }
}
