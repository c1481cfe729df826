//! `consumed.jsonl`: the proof that the shards were read in their order, one line a step.
//!
//! A line holds the ranges of `seq` (one, or more where an epoch ends) that its windows came from,
//! with a hash of the ids of their documents. [`verify`] reads the ids from the shards again and
//! follows the ranges from the first document on: none is skipped, repeated or out of order, and
//! each is the document that stands there. Where blocks of the order were shuffled, it shuffles
//! them again; where the windows of some documents are dealt in turn, it deals them again once all
//! documents of a block are read and the number of their windows is known.

use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::train::data::deal::{Blocks, turns};
use crate::train::data::paced::Paced;
use crate::train::data::shards::Shards;
use crate::train::data::shuffle::Documents;
use crate::train::data::stream::{Document, Stream};
use crate::train::data::windows::Window;

/// One line: what a step consumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumed {
    /// Number of the step, from 1.
    pub step: u64,
    /// What it consumed, in order.
    pub ranges: Vec<Range>,
    /// Whether documents began with a line about their source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_line: bool,
    /// `seq` of the documents that it read again because they are hard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<u64>,
}

/// Consecutive windows of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Epoch, from 0.
    pub epoch: u64,
    /// `seq` of the first document.
    pub first: u64,
    /// Number of the first window in its document.
    pub first_window: u64,
    /// `seq` of the last document.
    pub last: u64,
    /// Number of the last window in its document.
    pub last_window: u64,
    /// Whether that is the document's last window.
    pub ends: bool,
    /// Running xxh3-64 over the ids of the documents, as 16 hex digits.
    pub ids: String,
}

impl Range {
    /// Adds the next window to ranges: to the last one if it follows on it, else as a new one.
    pub fn extend(ranges: &mut Vec<Range>, window: &Window) {
        if let Some(last) =
            ranges.last_mut().filter(|last| last.epoch == window.epoch && last.precedes(window))
        {
            if window.seq != last.last {
                last.ids = add_id(&last.ids, &window.id);
            }
            (last.last, last.last_window, last.ends) = (window.seq, window.index, window.last);
            return;
        }
        ranges.push(Range {
            epoch: window.epoch,
            first: window.seq,
            first_window: window.index,
            last: window.seq,
            last_window: window.index,
            ends: window.last,
            ids: add_id("", &window.id),
        });
    }

    /// Whether the window comes right after this range in the same epoch. A document of several
    /// windows ends it, so that it tells how many each has.
    fn precedes(&self, window: &Window) -> bool {
        match self.ends {
            true => self.last_window == 0 && (window.seq, window.index) == (self.last + 1, 0),
            false => (window.seq, window.index) == (self.last, self.last_window + 1),
        }
    }
}

fn add_id(hash: &str, id: &str) -> String {
    format!("{:016x}", xxh3_64(format!("{hash}\n{id}").as_bytes()))
}

/// Checks that a `consumed.jsonl` is the order of the shards without a gap, from their first
/// document on, or the order `paced`, with `shuffle` documents shuffled together under `seed`, and
/// the windows of `deal` documents dealt in turn.
///
/// # Errors
/// Names the first step that is out of order, or whose documents are not those of the shards.
pub fn verify(
    path: &Path,
    shards: &Shards,
    paced: Option<&Paced>,
    shuffle: usize,
    deal: usize,
    seed: u64,
) -> Result<()> {
    let documents = Documents::new(Stream::names(shards), paced, shuffle, seed, 0)?;
    let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
    let mut order = Order {
        documents: Blocks::new(documents, deal),
        open: Vec::new(),
        windows: Vec::new(),
        read: Vec::new(),
    };

    for (line, number) in text.lines().zip(1..) {
        let consumed: Consumed = serde_json::from_str(line).map_err(|cause| {
            Error::data(format!("`{}` is damaged: {cause}", path.display()))
                .at(format!("line {number}"))
        })?;
        for range in consumed.ranges {
            order
                .follow(range)
                .map_err(|error| error.at(format!("{}, line {number}", path.display())))?;
        }
    }

    Ok(())
}

/// Follows ranges through the shards.
struct Order<'a> {
    documents: Blocks<'a>,
    /// The documents of the block that are not read to their end, in order.
    open: Vec<Open>,
    /// Windows of each document of the block, as far as they were read.
    windows: Vec<usize>,
    /// Of each window that was read of the block, the number of its document in it.
    read: Vec<usize>,
}

/// A document that is being read.
struct Open {
    /// Its number in the block.
    number: usize,
    epoch: u64,
    seq: u64,
    id: String,
    /// Its next window.
    window: u64,
}

impl Order<'_> {
    fn follow(&mut self, range: Range) -> Result<()> {
        let mut ids = String::new();
        for seq in range.first..=range.last {
            let (is_first, is_last) = (seq == range.first, seq == range.last);
            let window = if is_first { range.first_window } else { 0 };
            let at = self.find(range.epoch, seq, window)?;
            ids = add_id(&ids, &self.open[at].id);
            // One of several windows ends its range, so those before the last have one each.
            let last = if is_last { range.last_window } else { window };
            let number = self.open[at].number;
            for _ in window..=last {
                self.windows[number] += 1;
                self.read.push(number);
            }
            match is_last && !range.ends {
                true => self.open[at].window = range.last_window + 1,
                false => drop(self.open.remove(at)),
            }
            if self.open.is_empty() && turns(&self.windows) != self.read {
                return Err(Error::data(format!(
                    "the windows of the documents up to {seq} were not read in turn: another \
                     window comes next"
                )));
            }
        }

        if ids != range.ids {
            let (first, last) = (range.first, range.last);
            return Err(Error::data(format!(
                "the documents {first} to {last} were not those of the shards"
            )));
        }
        Ok(())
    }

    /// The open document whose window comes next.
    fn find(&mut self, epoch: u64, seq: u64, window: u64) -> Result<usize> {
        if self.open.is_empty() {
            self.advance()?;
        }
        let is_it = |open: &Open| (open.epoch, open.seq, open.window) == (epoch, seq, window);
        self.open.iter().position(is_it).ok_or_else(|| {
            let (found, comes) = ((epoch, seq, window), self.open.first());
            let comes = comes.map(|open| (open.epoch, open.seq, open.window)).unwrap_or_default();
            Error::data(format!(
                "(epoch, seq, window) {found:?} was read where {comes:?} comes next"
            ))
        })
    }

    /// Reaches the next documents, from the beginning again where the epoch ends.
    fn advance(&mut self) -> Result<()> {
        let mut block = self.documents.next_block()?;
        if block.is_empty() {
            self.documents.begin_next_epoch();
            block = self.documents.next_block()?;
        }
        let epoch = self.documents.epoch();
        let open = |(number, document): (usize, Document)| Open {
            number,
            epoch,
            seq: document.seq,
            id: document.id,
            window: 0,
        };
        (self.windows, self.read) = (vec![0; block.len()], Vec::new());
        self.open = block.into_iter().enumerate().map(open).collect();
        match self.open.is_empty() {
            true => Err(Error::data("more was read than the shards hold")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::again::Again;
    use crate::train::data::tokenizer::Tokenizer;
    use crate::train::data::windows::{Position, Windows};
    use crate::train::fixture::{batcher, grammar, shard_folder, tiny_params};
    use crate::train::model::bert::BERT;
    use crate::train::params::Params;

    /// The lines of a run of 30 steps over 20 documents: several epochs, documents over several
    /// windows.
    fn lines(shards: &Shards, shuffle: usize, deal: usize) -> Vec<Consumed> {
        let params = Params { max_tokens: 12, shuffle, deal, ..tiny_params() };
        let tokenizer = Tokenizer::train(shards, &BERT, &params.tokenizer, 1).unwrap();
        let batcher = batcher(&tokenizer, &params);
        let mut windows = Windows::new(shards, &batcher, Position::default()).unwrap();
        (1..=30)
            .map(|step| {
                let made = batcher.step(step, &mut windows, &mut Again::default()).unwrap();
                Consumed { step, ranges: made.ranges, source_line: false, again: Vec::new() }
            })
            .collect()
    }

    fn check(lines: &[Consumed], shards: &Shards, shuffle: usize, deal: usize) -> Result<()> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: Vec<String> =
            lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        std::fs::write(file.path(), text.concat()).unwrap();
        verify(file.path(), shards, None, shuffle, deal, 1)
    }

    #[test]
    fn a_run_proves_its_order_and_tampering_shows() {
        let folder = shard_folder(&grammar(20, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let mut other = grammar(20, 3);
        other[11].id = "toy:another".into();
        let other = shard_folder(&other, &[]);
        let other = Shards::open(other.path(), "train").unwrap().unwrap();

        for (shuffle, deal) in [(0, 0), (8, 1), (0, 5), (8, 4)] {
            let good = lines(&shards, shuffle, deal);
            assert!(good.iter().any(|line| line.ranges.len() > 1), "an epoch ends inside a step");
            assert!(
                good.iter().any(|line| line.ranges[0].first_window > 0),
                "a document goes on in the next step"
            );
            check(&good, &shards, shuffle, deal).unwrap();
            let mut swapped = good.clone();
            swapped.swap(3, 4);
            let mut without = good.clone();
            without.remove(6);
            let mut twice = good.clone();
            twice.insert(6, good[5].clone());

            for bad in [swapped, without, twice] {
                assert!(
                    check(&bad, &shards, shuffle, deal).unwrap_err().what().contains("comes next")
                );
            }
            assert!(
                check(&good, &other, shuffle, deal)
                    .unwrap_err()
                    .what()
                    .contains("not those of the shards")
            );
            assert!(
                check(&good, &shards, 8 - shuffle, deal).unwrap_err().what().contains("comes next"),
                "another order"
            );
        }
    }
}
