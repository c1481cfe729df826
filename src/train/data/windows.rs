//! Cuts documents into windows of tokens, one document in memory at a time.
//!
//! Every document gives at least one window, so that what was consumed can be told by `seq` alone.
//! A long one gives consecutive windows that end between words. A document's rewritten passages
//! travel with its first window, and so does the line about its source where there is one.
//!
//! With `train.concepts.focus`, some windows are cut down to a sentence that names a concept and
//! its neighbour: what salient spans teach comes from the sentences more than from the masks.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::draw;
use crate::error::{Error, Result};
use crate::train::data::batch::Batcher;
use crate::train::data::deal::{Blocks, dealt};
use crate::train::data::marks::Mark;
use crate::train::data::rows::passages::Passages;
use crate::train::data::shards::Shards;
use crate::train::data::shuffle::Documents;
use crate::train::data::stream::{Cursor, Document, Stream};
use crate::train::data::tokenizer::Pieces;
use crate::train::params::Long;

/// One row of the model's input, before masking.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Epoch it was read in.
    pub epoch: u64,
    /// Position of its document in the training order.
    pub seq: u64,
    /// Name of its document.
    pub id: String,
    /// What its family is told by, where its document stands several times.
    pub family: Option<u64>,
    /// Number of the window in its document.
    pub index: u64,
    /// Whether it is the last of its document.
    pub last: bool,
    /// Whether the document ends with its pieces.
    pub ends: bool,
    /// Pieces about the source, before the others.
    pub line: Vec<u32>,
    /// The pieces, without what stands around them.
    pub pieces: Pieces,
    /// What its labels count.
    pub weight: f32,
    /// The step in which it is read again; 0 where it comes in its order.
    pub again: u64,
    /// The passages to compare, on the first window of a document that has some.
    pub passages: Option<Passages>,
}

/// Where a run stands in the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The first row of the block of shuffled documents that the next ones are of: the next
    /// document's own where nothing is shuffled.
    pub cursor: Cursor,
    /// Documents of that block that are done.
    #[serde(default)]
    pub drawn: usize,
    /// Windows that were given already of the next documents, whose windows are dealt in turn.
    pub given: usize,
}

/// What windows are cut for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// To be learned from, with all that the run asks for.
    Taught,
    /// To be measured: plain text, so that measures can be compared.
    Measured,
    /// The same with the lines about sources.
    MeasuredWithLine,
}

/// The windows of a split in order.
pub struct Windows<'a> {
    documents: Blocks<'a>,
    batcher: &'a Batcher<'a>,
    /// For documents that are read again.
    again: Stream<'a>,
    cut: Cut,
    pending: VecDeque<Window>,
    position: Position,
}

impl<'a> Windows<'a> {
    /// The windows from `position` on, in the order they are taught, as `batcher` makes rows of
    /// them.
    ///
    /// # Errors
    /// If the document there cannot be read.
    pub fn new(shards: &'a Shards, batcher: &'a Batcher<'a>, position: Position) -> Result<Self> {
        let stream = Stream::new(shards, position.cursor).telling(batcher.fields(Cut::Taught));
        let documents = Documents::new(
            stream,
            batcher.paced,
            batcher.params.shuffle,
            batcher.seed,
            position.drawn,
        )?;
        let documents = Blocks::new(documents, batcher.params.deal);
        let mut windows = Self::of(documents, shards, batcher, Cut::Taught);
        windows.position = position;
        if position.given > 0 {
            windows.read_block()?;
            windows.pending.drain(..position.given.min(windows.pending.len()));
            windows.position.given = position.given;
        }
        Ok(windows)
    }

    /// All windows in the order of `seq`, as they are measured.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn in_order(shards: &'a Shards, batcher: &'a Batcher<'a>, cut: Cut) -> Result<Self> {
        let stream = Stream::new(shards, Cursor::default()).telling(batcher.fields(cut));
        let documents = Documents::new(stream, None, 0, batcher.seed, 0)?;
        Ok(Self::of(Blocks::new(documents, 1), shards, batcher, cut))
    }

    fn of(documents: Blocks<'a>, shards: &'a Shards, batcher: &'a Batcher<'a>, cut: Cut) -> Self {
        let again = Stream::new(shards, Cursor::default()).telling(batcher.fields(cut));
        let (pending, position) = (VecDeque::new(), Position::default());
        Windows { documents, batcher, again, cut, pending, position }
    }

    /// A window of the document that stands at `seq`, for the step `number`; which of several is
    /// drawn.
    ///
    /// # Errors
    /// If there is no such document, or it cannot be read.
    pub fn again(&mut self, seq: u64, number: u64) -> Result<Window> {
        self.again.seek(self.again.shards().find(seq)?);
        let document = self.again.next_document()?.ok_or_else(|| {
            Error::data(format!("no document stands at {seq}")).hint("build the shards again")
        })?;
        let mut windows =
            windows_of(self.batcher, &document, self.position.cursor.epoch, self.cut)?;

        let key = format!("{number}/{seq}");
        let mut draws = draw::stream(self.batcher.seed, "again", key.as_bytes());
        let mut window = windows.swap_remove(draw::next_below(&mut draws, windows.len()));
        window.again = number;
        Ok(window)
    }

    /// Where the next window comes from.
    pub fn position(&self) -> Position {
        if self.pending.is_empty() { self.begin() } else { self.position }
    }

    /// Where the next documents come from.
    fn begin(&self) -> Position {
        let (cursor, drawn) = self.documents.place();
        Position { cursor, drawn, given: 0 }
    }

    /// The next window; `None` at the end of the epoch.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails.
    pub fn next_window(&mut self) -> Result<Option<Window>> {
        if self.pending.is_empty() && !self.read_block()? {
            return Ok(None);
        }
        self.position.given += 1;
        Ok(self.pending.pop_front())
    }

    /// The next windows, at most `n` before the end of the epoch, without their passages.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails.
    pub fn next_windows(&mut self, n: usize) -> Result<Vec<Window>> {
        let mut taken = Vec::new();
        while taken.len() < n {
            let Some(window) = self.next_window()? else { break };
            taken.push(Window { passages: None, ..window });
        }
        Ok(taken)
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

    fn read_block(&mut self) -> Result<bool> {
        let position = self.begin();
        let documents = self.documents.next_block()?;
        if documents.is_empty() {
            return Ok(false);
        }
        self.position = position;
        let epoch = position.cursor.epoch;
        let windows = |document: &Document| -> Result<Vec<Window>> {
            let mut windows = windows_of(self.batcher, document, epoch, self.cut)?;
            if let Some(first) = windows.first_mut().filter(|_| self.cut == Cut::Taught) {
                first.passages = self.batcher.passages(document, epoch)?;
            }
            Ok(windows)
        };
        self.pending = dealt(documents.iter().map(windows).collect::<Result<_>>()?);
        Ok(true)
    }
}

/// The windows of a document, one at least, without its passages.
fn windows_of(batcher: &Batcher, document: &Document, epoch: u64, cut: Cut) -> Result<Vec<Window>> {
    let pieces = batcher.pieces(&document.text)?;
    let mut line = batcher.line(&document.line)?;
    let rooms = [batcher.room(line.len()), batcher.room(0)];
    let spans = spans(&pieces.words, rooms, batcher.params.long);
    let focus = if cut == Cut::Taught { batcher.params.concepts.focus } else { 0.0 };

    let window = |(index, (start, end)): (usize, &(usize, usize))| {
        let (mut start, mut end) = (*start, *end);
        if focus > 0.0 {
            let key = format!("{epoch}/{}/{index}", document.seq);
            let mut draws = draw::stream(batcher.seed, "focus", key.as_bytes());
            if draw::next_unit(&mut draws) < focus {
                let draw = |n| draw::next_below(&mut draws, n);
                (start, end) = focused(&pieces.marks, start, end, draw);
            }
        }
        Window {
            epoch,
            seq: document.seq,
            id: document.id.clone(),
            family: document.family,
            index: index as u64,
            last: index + 1 == spans.len(),
            ends: end == pieces.ids.len(),
            line: std::mem::take(&mut line),
            pieces: pieces.cut(start, end),
            weight: 1.0,
            again: 0,
            passages: None,
        }
    };
    Ok(spans.iter().enumerate().map(window).collect())
}

/// What is left of the pieces `start..end` where a sentence that names a concept is looked at: one
/// of those, and the next one, or the one before where it is the last. All, where none names any.
fn focused(
    marks: &[Mark],
    start: usize,
    end: usize,
    draw: impl FnOnce(usize) -> usize,
) -> (usize, usize) {
    let held = &marks[start..end];
    let naming: BTreeSet<u32> =
        held.iter().filter(|mark| mark.mention > 0).map(|mark| mark.sentence).collect();
    let Some(chosen) = (!naming.is_empty()).then(|| draw(naming.len())) else {
        return (start, end);
    };
    let chosen = naming.into_iter().nth(chosen).unwrap_or_default();
    let is_last = held.last().is_some_and(|last| last.sentence == chosen);
    let pair = [chosen.saturating_sub(u32::from(is_last)), chosen + u32::from(!is_last)];

    let is_in = |mark: &Mark| (pair[0]..=pair[1]).contains(&mark.sentence);
    let first = held.iter().position(is_in).unwrap_or(0);
    let n = held[first..].iter().take_while(|mark| is_in(mark)).count();
    (start + first, start + first + n)
}

/// Where the windows of a document begin and end: at most so many pieces in the first and in any
/// other, cut between words where a word ends in the second half of the window.
fn spans(words: &[u32], [first, other]: [usize; 2], long: Long) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut start = 0;

    loop {
        let room = if start == 0 { first } else { other };
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
    use crate::train::Params;
    use crate::train::data::tokenizer::Tokenizer;
    use crate::train::fixture::{batcher, grammar, shard_folder, tiny_params};
    use crate::train::model::bert::BERT;
    use proptest::prelude::*;

    #[test]
    fn windows_end_between_words_where_they_can() {
        assert_eq!(spans(&[0, 1, 1, 2, 2, 2, 3], [4; 2], Long::Split), [(0, 3), (3, 7)]);
        assert_eq!(spans(&[0, 1, 1, 2, 2, 2, 3], [4; 2], Long::Truncate), [(0, 3)]);
        assert_eq!(spans(&[7; 9], [4; 2], Long::Split), [(0, 4), (4, 8), (8, 9)]);
        assert_eq!(spans(&[7; 9], [2, 4], Long::Split), [(0, 2), (2, 6), (6, 9)]);
        assert_eq!(spans(&[], [4; 2], Long::Split), [(0, 0)]);
    }

    #[test]
    fn a_window_is_cut_down_to_a_sentence_that_names_a_concept() {
        // Sentences of two pieces; the second and the last name something.
        let marks: Vec<Mark> = (0..10)
            .map(|idx| Mark { mention: u32::from(matches!(idx, 3 | 8)), sentence: idx / 2 })
            .collect();
        assert_eq!(focused(&marks, 0, 10, |n| n - 2), (2, 6));
        assert_eq!(focused(&marks, 0, 10, |n| n - 1), (6, 10));
        assert_eq!(focused(&marks, 3, 5, |_| 0), (3, 5));
        assert_eq!(focused(&marks, 3, 4, |_| 0), (3, 4), "a sentence alone is left alone");
        assert_eq!(focused(&marks, 4, 8, |_| unreachable!()), (4, 8));
    }

    proptest! {
        #[test]
        fn spans_cover_a_document_once(steps in proptest::collection::vec(0_u32..2, 0..60),
            room in 2_usize..9) {
            let words: Vec<u32> = steps.iter().scan(0, |word,
                step| { *word += step; Some(*word) }).collect();
            let spans = spans(&words, [room; 2], Long::Split);
            prop_assert!(spans.windows(2).all(|two| two[0].1 == two[1].0));
            prop_assert!(spans.iter().all(|(start, end)| end - start <= room));
            prop_assert_eq!((spans[0].0, spans[spans.len() - 1].1), (0, words.len()));
        }
    }

    #[test]
    fn windows_go_on_from_any_position_over_the_epoch() {
        let folder = shard_folder(&grammar(20, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();

        for (shuffle, deal) in [(0, 0), (8, 1), (0, 5), (8, 3)] {
            let params = Params { max_tokens: 12, shuffle, deal, ..tiny_params() };
            let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
            let batcher = batcher(&tokenizer, &params);
            let open = |position| Windows::new(&shards, &batcher, position).unwrap();
            let mut straight = open(Position::default());
            let mut positions = Vec::new();
            let windows: Vec<Window> = (0..120)
                .map(|_| {
                    positions.push(straight.position());
                    straight.next_window_forever().unwrap()
                })
                .collect();

            assert!(windows.iter().any(|window| window.index > 0) && windows[119].epoch > 0);
            // In turn, windows of other documents stand between those of one.
            let follow = |pair: &[Window]| pair[0].seq == pair[1].seq && pair[1].index > 0;
            let n_follow = windows.windows(2).filter(|pair| follow(pair)).count();
            assert_eq!(deal > 1, n_follow < 10, "{n_follow}");
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
        params.rows.set("passages", "hard", 2);
        let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
        let second = |params: &Params| {
            let batcher = batcher(&tokenizer, params);
            let mut windows = Windows::new(&shards, &batcher, Position::default()).unwrap();
            std::iter::from_fn(|| windows.next_window().unwrap())
                .find(|window| window.seq == 1)
                .unwrap()
                .passages
                .unwrap()
        };

        let passages = second(&params);
        assert!(passages.positive.is_some() && passages.hard.len() == 1);
        params.rows.set("passages", "paraphrase_as", "negative");
        let passages = second(&params);
        assert!(passages.positive.is_none() && passages.hard.len() == 2);
    }
}
