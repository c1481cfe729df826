//! The documents of a split in the order they are taught: that of `seq`, or shuffled within
//! consecutive blocks of it.
//!
//! A block is read, put into an order drawn from seed, epoch and its place, and handed out, so that
//! no document moves further than a block is long and the curriculum stays what it is. Where a run
//! stands is told by the block's first row and how many of its documents were drawn: one that is
//! resumed reads the block again.
//!
//! Where the trainer has an order of its own, that takes the place of `seq`: a cursor's `seq` then
//! counts the documents of the epoch.

use std::collections::VecDeque;

use crate::draw;
use crate::error::Result;
use crate::train::data::paced::Paced;
use crate::train::data::stream::{Cursor, Document, Stream};

/// Documents in the order they are taught.
pub struct Documents<'a> {
    rows: Rows<'a>,
    /// Documents that are shuffled together; 0 and 1 leave the order as it is.
    block: usize,
    seed: u64,
    /// The first row of the block.
    begin: Cursor,
    /// Documents of the block that were given already.
    drawn: usize,
    left: VecDeque<Document>,
}

impl<'a> Documents<'a> {
    /// Documents from the block that begins where `stream` stands, `drawn` of which were given
    /// already; in the order `paced`, where there is one.
    ///
    /// # Errors
    /// If the block cannot be read.
    pub fn new(
        stream: Stream<'a>,
        paced: Option<&'a Paced>,
        block: usize,
        seed: u64,
        drawn: usize,
    ) -> Result<Self> {
        let begin = stream.cursor();
        let own = paced.map(|paced| Own { paced, cursor: begin, order: paced.epoch(begin.epoch) });
        let rows = Rows { stream, own };
        let mut documents = Documents { rows, block, seed, begin, drawn: 0, left: VecDeque::new() };

        if drawn > 0 {
            documents.read_block()?;
            documents.left.drain(..drawn.min(documents.left.len()));
            documents.drawn = drawn;
        }

        Ok(documents)
    }

    /// The first row of the block the next document is of, and how many of the block were given.
    pub fn place(&self) -> (Cursor, usize) {
        if self.left.is_empty() { (self.rows.cursor(), 0) } else { (self.begin, self.drawn) }
    }

    /// The next document; `None` at the end of the epoch.
    ///
    /// # Errors
    /// If a shard cannot be read or breaks the order of `seq`.
    pub fn next_document(&mut self) -> Result<Option<Document>> {
        if self.left.is_empty() {
            self.read_block()?;
        }
        self.drawn += 1;
        Ok(self.left.pop_front())
    }

    /// How often the split was read to its end.
    pub fn epoch(&self) -> u64 {
        self.rows.cursor().epoch
    }

    /// Goes back to the first row, one epoch later.
    pub fn begin_next_epoch(&mut self) {
        self.rows.begin_next_epoch();
        self.left.clear();
    }

    fn read_block(&mut self) -> Result<()> {
        (self.begin, self.drawn) = (self.rows.cursor(), 0);
        let mut read = Vec::new();

        while read.len() < self.block.max(1)
            && let Some(document) = self.rows.next_document()?
        {
            read.push(document);
        }

        let key = format!("{}/{}", self.begin.epoch, self.begin.seq);
        draw::shuffle(&mut read, &mut draw::stream(self.seed, "shuffle", key.as_bytes()));
        self.left = read.into();
        Ok(())
    }
}

/// The documents of the shards, one by one.
struct Rows<'a> {
    stream: Stream<'a>,
    own: Option<Own<'a>>,
}

/// An order of the trainer's own, and where it stands.
struct Own<'a> {
    paced: &'a Paced,
    cursor: Cursor,
    order: Vec<u32>,
}

impl Rows<'_> {
    fn cursor(&self) -> Cursor {
        self.own.as_ref().map_or(self.stream.cursor(), |own| own.cursor)
    }

    fn next_document(&mut self) -> Result<Option<Document>> {
        let Some(own) = &mut self.own else { return self.stream.next_document() };
        let Some(seq) = own.order.get(own.cursor.seq as usize) else { return Ok(None) };
        self.stream.seek(self.stream.shards().find(u64::from(*seq))?);
        own.cursor.seq += 1;
        self.stream.next_document()
    }

    fn begin_next_epoch(&mut self) {
        match &mut self.own {
            Some(own) => {
                own.cursor = Cursor { epoch: own.cursor.epoch + 1, ..Cursor::default() };
                own.order = own.paced.epoch(own.cursor.epoch);
            }
            None => self.stream.begin_next_epoch(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::shards::Shards;
    use crate::train::fixture::{grammar, shard_folder};

    fn seqs(documents: &mut Documents) -> Vec<u64> {
        std::iter::from_fn(|| documents.next_document().unwrap())
            .map(|document| document.seq)
            .collect()
    }

    #[test]
    fn no_document_leaves_its_block_and_each_epoch_has_its_own_order() {
        let folder = shard_folder(&grammar(57, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let open = |block| {
            Documents::new(Stream::new(&shards, Cursor::default()), None, block, 1, 0).unwrap()
        };
        let straight: Vec<u64> = (0..57).collect();
        assert_eq!(seqs(&mut open(0)), straight);
        assert_eq!(seqs(&mut open(1)), straight);
        let mut documents = open(10);
        let first = seqs(&mut documents);
        documents.begin_next_epoch();
        let second = seqs(&mut documents);
        assert_ne!(first, second);

        for order in [&first, &second] {
            for (block, expected) in order.chunks(10).zip(straight.chunks(10)) {
                assert_ne!(block, expected);
                let mut sorted = block.to_vec();
                sorted.sort_unstable();
                assert_eq!(sorted, expected);
            }
        }
    }

    #[test]
    fn a_shuffled_order_goes_on_from_any_place() {
        let folder = shard_folder(&grammar(33, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let open = |(cursor, drawn)| {
            Documents::new(Stream::new(&shards, cursor), None, 10, 1, drawn).unwrap()
        };
        let whole = seqs(&mut open((Cursor::default(), 0)));

        for n in 0..=whole.len() {
            let mut documents = open((Cursor::default(), 0));
            (0..n).for_each(|_| drop(documents.next_document().unwrap()));
            assert_eq!(seqs(&mut open(documents.place())), whole[n..]);
        }
    }
}
