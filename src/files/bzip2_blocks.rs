//! The blocks of a bzip2 file, decoded several at once and joined in order.
//!
//! A stream is a header, blocks of up to 900 kB of data, and an end with a checksum over those of
//! the blocks. Blocks know nothing of each other, and each begins with 48 bits that hardly ever
//! stand anywhere else, though seldom at a whole byte. A scanner looks for those bits and hands
//! what lies between them to the threads of [`Decoders`], which put the blocks they get one behind
//! the other in a stream of their own, much as bzip2recover does with single ones. So one long
//! stream, as most dumps are, decodes as fast as a multistream.
//!
//! What does not fit — the bits stood inside a block, a block is damaged or unpacks to more than
//! the bound below, the checksum is another, something else follows — is decoded again from the
//! beginning of its stream, one block after the other, as is all that follows. The bytes and the
//! failures are those of the sequential decoder in every case.
//!
//! Threads of its own, not rayon's: the thread that waits for the data may be one of rayon's.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use bzip2::{Decompress, Status};

use crate::files::decompress::{BZIP2_BLOCK, BZIP2_END, Counted, Packed, Packing, Streams};
use crate::flow::watched::{Failure, Watched};

/// No block is longer than this, packed: bzip2 adds at most a hundredth to 900 kB.
const MAX_PACKED: usize = 1 << 20;
/// A block that unpacks to more, by runs of one byte, is decoded sequentially.
const MAX_UNPACKED: usize = 8 << 20;
/// Most threads that decode; what they hold before it is taken bounds the memory.
const MAX_THREADS: usize = 16;
/// How much is read from the disk at once.
const READ_BYTES: u64 = 256 << 10;

/// What comes next in the file.
enum Piece {
    /// A block: where its stream begins in the file, and where its data will come from; `None` if
    /// it does not decode.
    Block(u64, Receiver<Option<Vec<u8>>>),
    /// A stream of nothing but the beginning of a block, in which the file stops early.
    CutOff(Vec<u8>),
    /// Something else, in or behind the stream that begins here.
    Unclear(u64),
    /// The file ends here, as it should.
    End,
}

/// A block to decode.
struct Task {
    /// `1` to `9`: the size of the stream's blocks.
    level: u8,
    /// The bytes that the block's bits stand in, and which of the bits they are.
    packed: Vec<u8>,
    bits: std::ops::Range<usize>,
    reply: SyncSender<Option<Vec<u8>>>,
}

/// Threads that decode the blocks of any number of files; they end when this and all files opened
/// with it are gone.
///
/// They live as long as a whole run: what a decoder needs is megabytes, and a new thread has them
/// cleared anew.
#[derive(Clone)]
pub struct Decoders {
    tasks: Sender<Task>,
    /// How many blocks of a file are handed out before the first of them is taken.
    ahead: usize,
}

impl Decoders {
    /// Starts `threads` threads, at least one and at most 16.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let threads = threads.clamp(1, MAX_THREADS);
        let (tasks, tasks_out) = channel::<Task>();
        let tasks_out = Arc::new(Mutex::new(tasks_out));
        for _ in 0..threads {
            let tasks = Arc::clone(&tasks_out);
            std::thread::Builder::new().name("bzip2".to_string()).spawn(move || work(&tasks))?;
        }
        Ok(Decoders { tasks, ahead: threads * 2 })
    }
}

/// A bzip2 file as a stream of its unpacked bytes.
pub(super) struct Blocks {
    path: PathBuf,
    failure: Failure,
    scanner: Option<Scanner>,
    /// Pieces that were handed out, in order.
    pieces: VecDeque<Piece>,
    ahead: usize,
    /// Where the stream of the last piece begins, and how much was unpacked of it.
    stream: u64,
    unpacked: u64,
    data: Vec<u8>,
    taken: usize,
    sequential: Option<Streams<Box<dyn Read>>>,
}

impl Blocks {
    /// Has the first blocks decoded; `packed_read` counts the bytes of the file that were read,
    /// `failure` keeps what the system says about it.
    pub(super) fn open(
        path: &Path,
        decoders: &Decoders,
        packed_read: &Arc<AtomicU64>,
        failure: &Failure,
    ) -> io::Result<Self> {
        let scanner = Scanner::open(Watched::open(path, failure)?, decoders, packed_read)?;
        let mut blocks = Blocks::of(path, Some(scanner), VecDeque::new(), decoders.ahead);
        blocks.failure = failure.clone();
        blocks.look_ahead();
        Ok(blocks)
    }

    fn of(path: &Path, scanner: Option<Scanner>, pieces: VecDeque<Piece>, ahead: usize) -> Self {
        let (path, data, failure) = (path.to_path_buf(), Vec::new(), Failure::default());
        Blocks {
            path,
            failure,
            scanner,
            pieces,
            ahead,
            stream: 0,
            unpacked: 0,
            data,
            taken: 0,
            sequential: None,
        }
    }

    fn look_ahead(&mut self) {
        while self.pieces.len() < self.ahead {
            let Some(piece) = self.scanner.as_mut().and_then(Scanner::next) else { return };
            self.pieces.push_back(piece);
        }
    }

    /// Fetches the next block; false at the end of the file.
    fn advance(&mut self) -> io::Result<bool> {
        self.look_ahead();
        let (stream, data) = match self.pieces.pop_front() {
            Some(Piece::Block(stream, data)) => (stream, data.recv().ok().flatten()),
            Some(Piece::Unclear(stream)) => (stream, None),
            Some(Piece::CutOff(rest)) => {
                self.leave_blocks();
                self.sequential = Some(sequential(io::Cursor::new(rest)));
                return Ok(true);
            }
            Some(Piece::End) | None => {
                self.leave_blocks();
                return Ok(false);
            }
        };

        if stream != self.stream {
            (self.stream, self.unpacked) = (stream, 0);
        }
        if let Some(data) = data {
            self.unpacked += data.len() as u64;
            (self.data, self.taken) = (data, 0);
            return Ok(true);
        }

        self.leave_blocks();
        let mut file = Watched::open(&self.path, &self.failure)?;
        file.seek(SeekFrom::Start(stream))?;
        let mut sequential = sequential(file);
        io::copy(&mut sequential.by_ref().take(self.unpacked), &mut io::sink())?;
        self.sequential = Some(sequential);

        Ok(true)
    }

    fn leave_blocks(&mut self) {
        self.scanner = None;
        self.pieces.clear();
    }
}

fn sequential(packed: impl Read + 'static) -> Streams<Box<dyn Read>> {
    Streams::new(Packing::Bzip2, Packed::new(Box::new(packed)))
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.taken < self.data.len() {
                let n = buffer.len().min(self.data.len() - self.taken);
                buffer[..n].copy_from_slice(&self.data[self.taken..self.taken + n]);
                self.taken += n;
                return Ok(n);
            }
            if let Some(sequential) = &mut self.sequential {
                return sequential.read(buffer);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

/// Decodes blocks until there are no more.
fn work(tasks: &Mutex<Receiver<Task>>) {
    let mut decoder = None;
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        let data = decode(&mut decoder, &task);
        // Whoever waited for it may be gone: the file was left before its end.
        let _ = task.reply.send(data);
    }
}

/// A decoder in a stream without an end, behind any number of blocks and the beginning of one more:
/// its tables are megabytes, and stay where they are.
struct Decoder {
    level: u8,
    decoder: Decompress,
    /// What it is given, with the bits of an unfinished byte that it still has to be given.
    bits: Bits,
}

/// The data of a block; `None` if it does not decode, and then `decoder` is none either.
fn decode(decoder: &mut Option<Decoder>, task: &Task) -> Option<Vec<u8>> {
    let begun = decoder.take().filter(|begun| begun.level == task.level);
    let mut begun = begun.unwrap_or_else(|| {
        let mut bits = Bits::default();
        bits.header(task.level);
        bits.push(as_number(BZIP2_BLOCK), 48);
        Decoder { level: task.level, decoder: Decompress::new(false), bits }
    });

    begun.bits.extend(&task.packed, task.bits.start + 48..task.bits.end);
    // The beginning of the next block shows that this one ends here.
    begun.bits.push(as_number(BZIP2_BLOCK), 48);
    // A full block unpacks to a little more than its size, since runs of one byte count as five
    // bytes.
    let mut data =
        Vec::with_capacity((task.packed.len() * 8).min(usize::from(task.level) * 110_000) + 1);
    let (mut given, end) = (0, begun.bits.bytes.len());

    while given < end || data.len() == data.capacity() {
        if data.len() == data.capacity() {
            data.reserve(data.len());
        }
        let before = begun.decoder.total_in();

        match begun.decoder.decompress_vec(&begun.bits.bytes[given..], &mut data) {
            Ok(Status::Ok) if data.len() <= MAX_UNPACKED => {}
            _ => return None,
        }

        given += usize::try_from(begun.decoder.total_in() - before).ok()?;
    }

    begun.bits.bytes.clear();
    // Nothing comes out of a block before it was read to its end.
    let whole = !data.is_empty();
    whole.then(|| {
        *decoder = Some(begun);
        data
    })
}

/// Bits one behind the other, as bytes.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// The bits of the byte that is not full yet, and how many.
    last: u64,
    n: usize,
}

impl Bits {
    /// The beginning of a stream.
    fn header(&mut self, level: u8) {
        self.push(u64::from(u32::from_be_bytes([b'B', b'Z', b'h', b'0' + level])), 32);
    }

    /// The lowest `n` bits of `bits`, at most 56; those above must be zero.
    fn push(&mut self, bits: u64, n: usize) {
        if n == 0 {
            return;
        }
        self.last = (self.last << n) | bits;
        self.n += n;
        self.bytes.extend_from_slice(&(self.last << (64 - self.n)).to_be_bytes()[..self.n / 8]);
        self.n %= 8;
        self.last &= (1 << self.n) - 1;
    }

    /// A range of the bits of `bytes`.
    fn extend(&mut self, bytes: &[u8], mut range: std::ops::Range<usize>) {
        self.bytes.reserve(range.len() / 8 + 8);
        while !range.is_empty() {
            let n = range.len().min(56);
            self.push(bit_at(bytes, range.start, n), n);
            range.start += n;
        }
    }
}

/// A stream of the beginning of a block that ends inside it; `None` where the bits that are missing
/// in the last byte may be all that the block lacks, or where it is damaged.
fn cut_off(level: u8, packed: &[u8], start: usize) -> Option<Vec<u8>> {
    let filled = [0, 0xff].map(|behind| {
        let mut stream = Bits::default();
        stream.header(level);
        stream.extend(packed, start..packed.len() * 8);
        stream.push(behind >> stream.n, (8 - stream.n) % 8);
        stream.bytes
    });

    let mut cut_off = None;
    for stream in filled {
        let mut data = Vec::new();
        let end = bzip2::bufread::BzDecoder::new(stream.as_slice()).read_to_end(&mut data);
        if !data.is_empty() {
            return None;
        }
        if end.is_err_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof) {
            cut_off = Some(stream);
        }
    }

    cut_off
}

/// `n` bits, at most 56, that begin `start` bits into `bytes`; what lies behind the end is zero.
fn bit_at(bytes: &[u8], start: usize, n: usize) -> u64 {
    let behind = bytes.get(start / 8..).unwrap_or_default();
    let mut word = [0; 8];
    let length = behind.len().min(8);
    word[..length].copy_from_slice(&behind[..length]);
    match n {
        0 => 0,
        _ => u64::from_be_bytes(word) << (start % 8) >> (64 - n),
    }
}

fn as_number(bits: [u8; 6]) -> u64 {
    bits.iter().fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

/// Finds the bits that a block or the end of a stream begins with.
struct Marks {
    /// The five whole bytes inside the 48 bits, for the block and for the end, with every place
    /// inside a byte.
    bytes: AhoCorasick,
}

impl Marks {
    fn new() -> io::Result<Self> {
        let shifted = |mark: [u8; 6], shift: usize| {
            let bits = (as_number(mark) << (16 - shift)).to_be_bytes();
            <[u8; 5]>::try_from(&bits[1..6]).unwrap_or_default()
        };
        let patterns = [BZIP2_BLOCK, BZIP2_END]
            .into_iter()
            .flat_map(|mark| (0..8).map(move |at| shifted(mark, at)));
        // Of patterns of one length the leftmost is the one that ends first; only so a vectorised
        // search goes before.
        let bytes = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(patterns);
        Ok(Marks { bytes: bytes.map_err(io::Error::other)? })
    }

    /// The first one that begins at bit `from` or later, and whether it ends a stream.
    fn next(&self, bytes: &[u8], from: usize) -> Option<(usize, bool)> {
        let first = from / 8;
        let mut found = self.bytes.find_iter(bytes.get(first..)?).filter_map(|found| {
            let start =
                ((first + found.start()).checked_sub(1)? * 8) + found.pattern().as_usize() % 8;
            let mark = mark_at(bytes, start)?;
            (start >= from).then_some((start, mark))
        });
        found.next()
    }
}

/// Whether a stream's end (true) or a block (false) begins at a bit.
fn mark_at(bytes: &[u8], start: usize) -> Option<bool> {
    let bits = bit_at(bytes, start, 48);
    let ends = bits == as_number(BZIP2_END);
    (ends || bits == as_number(BZIP2_BLOCK)).then_some(ends)
}

/// Reads the file and hands out its blocks in order.
struct Scanner {
    file: Counted<Watched>,
    marks: Marks,
    /// What was read and not handed out, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// Where `bytes` begins in the file.
    base: u64,
    /// Whether the file could not be read further.
    failed: bool,
    place: Expected,
    tasks: Sender<Task>,
}

/// Where in the file a scanner is.
#[derive(Clone, Copy)]
enum Expected {
    /// At the beginning.
    First,
    /// Behind a whole stream.
    Behind(u64),
    /// In a stream, at a mark.
    Mark(Mark),
    /// Past the last piece.
    Over,
}

/// What a scanner knows at a mark of a stream.
#[derive(Clone, Copy)]
struct Mark {
    /// Where the stream begins in the file, and the size of its blocks.
    stream: u64,
    level: u8,
    /// The mark's first bit, counted from `at`, and whether it ends the stream.
    start: usize,
    ends: bool,
    /// The checksum over those of the blocks before.
    crc: u32,
}

impl Scanner {
    fn open(file: Watched, decoders: &Decoders, packed_read: &Arc<AtomicU64>) -> io::Result<Self> {
        let file = Counted { inner: file, n: Arc::clone(packed_read) };
        let (marks, bytes, place, tasks) =
            (Marks::new()?, Vec::new(), Expected::First, decoders.tasks.clone());
        Ok(Scanner { file, marks, bytes, at: 0, base: 0, failed: false, place, tasks })
    }

    /// The next piece; none behind the last one.
    fn next(&mut self) -> Option<Piece> {
        loop {
            let (piece, place) = match self.place {
                Expected::Over => return None,
                Expected::First => self.stream(0),
                Expected::Behind(stream) => self.between(stream),
                Expected::Mark(mark) => self.mark(mark),
            };
            self.place = place;
            if piece.is_some() {
                return piece;
            }
        }
    }

    /// Behind a stream: zero bytes, and then another one or the end of the file.
    fn between(&mut self, before: u64) -> (Option<Piece>, Expected) {
        while self.want(1) && self.rest()[0] == 0 {
            let zeros = self.rest().iter().take_while(|byte| **byte == 0).count();
            self.at += zeros;
        }

        if !self.want(1) && !self.failed {
            return (Some(Piece::End), Expected::Over);
        }
        if !self.want(10) || Packing::of(self.rest()) != Packing::Bzip2 {
            return unclear(before);
        }
        self.stream(self.base + self.at as u64)
    }

    /// At the header of a stream.
    fn stream(&mut self, stream: u64) -> (Option<Piece>, Expected) {
        if !self.want(14) || Packing::of(self.rest()) != Packing::Bzip2 {
            return unclear(stream);
        }
        let level = self.rest()[3].saturating_sub(b'0');
        match mark_at(self.rest(), 32) {
            Some(ends) => (None, Expected::Mark(Mark { stream, level, start: 32, ends, crc: 0 })),
            None => unclear(stream),
        }
    }

    /// At a mark: hands out the block that begins here, or ends the stream.
    fn mark(&mut self, mark: Mark) -> (Option<Piece>, Expected) {
        let Mark { stream, level, start, ends, crc } = mark;
        let behind = (start + 80).div_ceil(8);
        if !self.want(behind) {
            return unclear(stream);
        }
        let own = bit_at(self.rest(), start + 48, 32) as u32;

        if ends {
            self.at += behind;
            return if own == crc { (None, Expected::Behind(stream)) } else { unclear(stream) };
        }

        let Some((next, ends)) = self.next_mark(start + 80) else {
            if self.failed || self.rest().len() > MAX_PACKED {
                return unclear(stream);
            }
            let Some(rest) = cut_off(level, self.rest(), start) else { return unclear(stream) };
            return (Some(Piece::CutOff(rest)), Expected::Over);
        };

        let (reply, data) = sync_channel(1);
        let packed = self.rest()[..next.div_ceil(8)].to_vec();
        // Where no thread is left, the piece does not decode.
        let _ = self.tasks.send(Task { level, packed, bits: start..next, reply });
        self.at += next / 8;
        let crc = crc.rotate_left(1) ^ own;

        (
            Some(Piece::Block(stream, data)),
            Expected::Mark(Mark { stream, level, start: next % 8, ends, crc }),
        )
    }

    /// The next mark from bit `from` of the bytes at hand.
    fn next_mark(&mut self, mut from: usize) -> Option<(usize, bool)> {
        loop {
            if let Some(found) = self.marks.next(self.rest(), from) {
                return Some(found);
            }
            from = from.max((self.rest().len() * 8).saturating_sub(56));
            if self.rest().len() > MAX_PACKED || !self.want(self.rest().len() + 1) {
                return None;
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Has at least `n` bytes at hand, unless the file ends before or cannot be read further.
    fn want(&mut self, n: usize) -> bool {
        while self.rest().len() < n {
            self.bytes.drain(..self.at);
            self.base += self.at as u64;
            self.at = 0;

            match self.file.by_ref().take(READ_BYTES).read_to_end(&mut self.bytes) {
                Ok(1..) => {}
                Ok(0) => return false,
                Err(_) => {
                    self.failed = true;
                    return false;
                }
            }
        }
        true
    }
}

/// The stream that begins here has to be decoded sequentially.
fn unclear(stream: u64) -> (Option<Piece>, Expected) {
    (Some(Piece::Unclear(stream)), Expected::Over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn pack(level: u32, data: &[u8]) -> Vec<u8> {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn noise(n: usize) -> Vec<u8> {
        (0..n as u64 / 8 + 1)
            .flat_map(|i| xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()).to_le_bytes())
            .take(n)
            .collect()
    }

    /// The data, and whether it ended without a failure.
    fn read(mut stream: impl Read) -> (Vec<u8>, bool) {
        let mut data = Vec::new();
        let whole = stream.read_to_end(&mut data).is_ok();
        (data, whole)
    }

    fn unpack(bytes: &[u8], threads: usize) -> (Vec<u8>, bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(
            Blocks::open(
                file.path(),
                &Decoders::start(threads).unwrap(),
                &Arc::default(),
                &Failure::default(),
            )
            .unwrap(),
        )
    }

    /// How many blocks the scanner hands out, and what comes behind them.
    fn scan(bytes: &[u8]) -> (usize, &'static str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut scanner = Scanner::open(
            Watched::open(file.path(), &Failure::default()).unwrap(),
            &Decoders::start(2).unwrap(),
            &Arc::default(),
        )
        .unwrap();

        let mut n = 0;
        loop {
            match scanner.next().unwrap() {
                Piece::Block(_, _) => n += 1,
                Piece::CutOff(_) => return (n, "cut off"),
                Piece::Unclear(_) => return (n, "unclear"),
                Piece::End => return (n, "end"),
            }
        }
    }

    #[test]
    fn every_block_is_decoded_on_its_own() {
        let data = noise(1_000_000);
        assert_eq!(scan(&pack(1, &data)), (11, "end"), "a block holds a little less than 100 kB");
        assert_eq!(scan(&pack(9, &data)), (2, "end"));
        assert_eq!(
            scan(&[pack(1, &data), vec![0; 7], pack(9, b""), pack(2, b"x")].concat()),
            (12, "end")
        );
        let whole = pack(1, &data);
        assert_eq!(scan(&whole[..whole.len() / 2]), (5, "cut off"));
        assert_eq!(scan(&[&whole[..], b"tail"].concat()), (11, "unclear"));
    }

    /// The last bits of a block may be the first of the byte in which the next one begins.
    #[test]
    fn a_file_cut_around_a_mark_gives_what_the_sequential_decoder_gives() {
        let marks = Marks::new().unwrap();
        for n in [137_611, 151_190, 120_000, 160_003] {
            let whole = pack(1, &noise(n));
            let (second, _) = marks.next(&whole, 33).unwrap();
            let (end, ends) = marks.next(&whole, second + 1).unwrap();
            assert!(ends);

            for cut in [second / 8, end / 8].into_iter().flat_map(|place| place - 8..place + 14) {
                let bytes = &whole[..cut.min(whole.len())];
                let expected = read(Streams::new(
                    Packing::Bzip2,
                    Packed::new(io::Cursor::new(bytes.to_vec())),
                ));
                let found = unpack(bytes, 2);
                assert!(found == expected, "{n} {cut}: {} {}", found.0.len(), expected.0.len());
            }
        }
    }

    #[test]
    fn what_stands_in_one_stream_or_many_is_read() {
        let parts: Vec<Vec<u8>> = (0..40).map(|i| noise(i * i * 700)).collect();
        let many: Vec<u8> = parts.iter().flat_map(|part| pack(1, part)).collect();

        for threads in [1, 2, 5] {
            assert!(unpack(&many, threads) == (parts.concat(), true));
            assert!(unpack(&pack(1, &parts.concat()), threads) == (parts.concat(), true));
        }

        let runs = [vec![7; 30 << 20], noise(300_000), vec![0; 12 << 20]].concat();
        assert!(
            unpack(&pack(9, &runs), 2) == (runs, true),
            "blocks that unpack to more than the bound"
        );
    }

    /// The same blocks under a smaller size in the header are too large for the sequential decoder,
    /// so for this too.
    #[test]
    fn the_header_holds_for_every_block() {
        let mut bytes = pack(9, &noise(500_000));
        bytes[3] = b'1';
        assert!(!unpack(&bytes, 2).1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn damage_ends_as_in_the_sequential_decoder(place in 0_usize..460_000, byte: u8,
            cut in 0_usize..900_000) {
            let mut bytes = [pack(1, &noise(350_000)), pack(1, &noise(100_000)),
                b"tail".to_vec()].concat();
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(cut.max(4));
            let (data, whole) = unpack(&bytes, 2);
            let streams = Streams::new(Packing::Bzip2, Packed::new(io::Cursor::new(bytes)));
            let (expected, expected_whole) = read(streams);
            prop_assert_eq!(whole, expected_whole);
            // A decoder hands over nothing of the call that meets the damage: here the blocks
            // before it came out.
            prop_assert!(data.starts_with(&expected), "{} {}", data.len(), expected.len());
            prop_assert!(!whole || data == expected);
        }
    }

    /// Bits in the data that look like a block's beginning: no piece decodes, but the whole stream
    /// does.
    #[test]
    fn a_piece_that_does_not_decode_is_read_from_its_stream() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (noise(150_000), noise(250_000));
        let start = pack(1, &first).len() as u64;
        std::fs::write(file.path(), [pack(1, &first), pack(1, &second)].concat()).unwrap();
        let mut pieces = VecDeque::new();

        for (stream, data) in
            [(0, Some(first.clone())), (start, Some(second[..99_000].to_vec())), (start, None)]
        {
            let (reply, data_at) = sync_channel(1);
            reply.send(data).unwrap();
            pieces.push_back(Piece::Block(stream, data_at));
        }

        let (data, whole) = read(Blocks::of(file.path(), None, pieces, 4));
        assert!(whole && data == [first, second].concat());
    }
}
