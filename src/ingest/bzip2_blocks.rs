//! The blocks of a bzip2 file, decoded several at once and joined in order.
//!
//! A stream is a header, blocks of up to 900 kB of data, and an end with a checksum over those of the blocks. Blocks
//! know nothing of each other, and each begins with 48 bits that hardly ever stand anywhere else, though seldom at a
//! whole byte. A scanner looks for those bits and hands what lies between them to worker threads, which put the blocks
//! they get one behind the other in a stream of their own, much as bzip2recover does with single ones. So one long
//! stream, as most dumps are, decodes as fast as a multistream.
//!
//! What does not fit — the bits stood inside a block, a block is damaged or unpacks to more than the bound below, the
//! checksum is another, something else follows — is decoded again from the beginning of its stream, one block after
//! the other, as is all that follows. The bytes and the failures are those of the sequential decoder in every case.
//!
//! Threads of its own, not rayon's: the thread that waits for the data may be one of rayon's.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use bzip2::{Decompress, Status};

use crate::ingest::decompress::{BZIP2_BLOCK, BZIP2_END, Counted, Packed, Packing, Streams};

/// No block is longer than this, packed: bzip2 adds at most a hundredth to 900 kB.
const MAX_PACKED: usize = 1 << 20;
/// A block that unpacks to more, by runs of one byte, is decoded sequentially.
const MAX_UNPACKED: usize = 8 << 20;
/// How much is read from the disk at once.
const READ_BYTES: u64 = 256 << 10;

/// What comes next in the file.
enum Piece {
    /// A block: where its stream begins in the file, and where its data will come from; `None` if it does not decode.
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

/// A bzip2 file as a stream of its unpacked bytes.
pub(super) struct Blocks {
    path: PathBuf,
    pieces: Option<Receiver<Piece>>,
    /// Where the stream of the last piece begins, and how much was unpacked of it.
    stream: u64,
    unpacked: u64,
    data: Vec<u8>,
    taken: usize,
    sequential: Option<Streams<Box<dyn Read>>>,
}

impl Blocks {
    /// Begins decoding with `threads` workers; `packed_read` counts the bytes of the file that were read.
    pub(super) fn open(path: &Path, threads: usize, packed_read: &Arc<AtomicU64>) -> io::Result<Self> {
        let file = Counted { inner: File::open(path)?, n: Arc::clone(packed_read) };
        let (pieces, pieces_out) = sync_channel(threads * 2);
        let (tasks, tasks_out) = sync_channel::<Task>(threads);
        let tasks_out = Arc::new(Mutex::new(tasks_out));
        for _ in 0..threads {
            let tasks = Arc::clone(&tasks_out);
            std::thread::Builder::new().name("bzip2".to_string()).spawn(move || work(&tasks))?;
        }
        let (marks, bytes, at, base, failed) = (Marks::new()?, Vec::new(), 0, 0, false);
        let scanner = Scanner { file, marks, bytes, at, base, failed, pieces, tasks };
        std::thread::Builder::new().name("bzip2-scan".to_string()).spawn(move || scanner.run())?;
        Ok(Blocks::of(path, pieces_out))
    }

    fn of(path: &Path, pieces: Receiver<Piece>) -> Self {
        let (path, pieces, data) = (path.to_path_buf(), Some(pieces), Vec::new());
        Blocks { path, pieces, stream: 0, unpacked: 0, data, taken: 0, sequential: None }
    }

    /// Fetches the next block; false at the end of the file.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(pieces) = &self.pieces else { return Ok(false) };
        let (stream, data) = match pieces.recv() {
            Ok(Piece::End) => {
                self.pieces = None;
                return Ok(false);
            }
            Ok(Piece::Block(stream, data)) => (stream, data.recv().ok().flatten()),
            Ok(Piece::Unclear(stream)) => (stream, None),
            // Without an end it is not known what the file still holds.
            Err(_) => (self.stream, None),
            Ok(Piece::CutOff(rest)) => {
                self.pieces = None;
                self.sequential = Some(sequential(io::Cursor::new(rest)));
                return Ok(true);
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
        self.pieces = None;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(stream))?;
        let mut sequential = sequential(file);
        io::copy(&mut sequential.by_ref().take(self.unpacked), &mut io::sink())?;
        self.sequential = Some(sequential);
        Ok(true)
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

/// A decoder in a stream without an end, behind any number of blocks and the beginning of one more: its tables are
/// megabytes, and stay where they are.
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
    let mut data = Vec::with_capacity((task.packed.len() * 4).min(usize::from(task.level) * 100_000) + 1);
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

/// A stream of the beginning of a block that ends inside it; `None` where the bits that are missing in the last byte may
/// be all that the block lacks, or where it is damaged.
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
    /// The five whole bytes inside the 48 bits, for the block and for the end, with every place inside a byte.
    bytes: AhoCorasick,
}

impl Marks {
    fn new() -> io::Result<Self> {
        let shifted = |mark: [u8; 6], shift: usize| {
            let bits = (as_number(mark) << (16 - shift)).to_be_bytes();
            <[u8; 5]>::try_from(&bits[1..6]).unwrap_or_default()
        };
        let patterns = [BZIP2_BLOCK, BZIP2_END].into_iter().flat_map(|mark| (0..8).map(move |at| shifted(mark, at)));
        Ok(Marks { bytes: AhoCorasick::new(patterns).map_err(io::Error::other)? })
    }

    /// The first one that begins at bit `from` or later, and whether it ends a stream.
    fn next(&self, bytes: &[u8], from: usize) -> Option<(usize, bool)> {
        let first = from / 8;
        let mut found = self.bytes.find_iter(bytes.get(first..)?).filter_map(|found| {
            let start = ((first + found.start()).checked_sub(1)? * 8) + found.pattern().as_usize() % 8;
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
    file: Counted<File>,
    marks: Marks,
    /// What was read and not handed out, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// Where `bytes` begins in the file.
    base: u64,
    /// Whether the file could not be read further.
    failed: bool,
    pieces: SyncSender<Piece>,
    tasks: SyncSender<Task>,
}

/// How a stream ended.
enum End {
    /// Whole.
    Whole,
    /// Nobody waits for the rest.
    Left,
    /// It has to be decoded sequentially.
    Unclear,
}

impl Scanner {
    fn run(mut self) {
        let mut stream = 0;
        loop {
            match self.stream(stream) {
                End::Whole => {}
                End::Left => return,
                End::Unclear => break,
            }
            while self.want(1) && self.rest()[0] == 0 {
                let zeros = self.rest().iter().take_while(|byte| **byte == 0).count();
                self.at += zeros;
            }
            if !self.want(1) && !self.failed {
                // Whoever waits for it may be gone.
                let _ = self.pieces.send(Piece::End);
                return;
            }
            if !self.want(10) || Packing::of(self.rest()) != Packing::Bzip2 {
                break;
            }
            stream = self.base + self.at as u64;
        }
        let _ = self.pieces.send(Piece::Unclear(stream));
    }

    /// Hands out the blocks of the stream that begins here and goes behind it.
    fn stream(&mut self, stream: u64) -> End {
        if !self.want(14) || Packing::of(self.rest()) != Packing::Bzip2 {
            return End::Unclear;
        }
        let level = self.rest()[3].saturating_sub(b'0');
        let Some(mut ends) = mark_at(self.rest(), 32) else { return End::Unclear };
        let (mut start, mut crc) = (32_usize, 0_u32);
        loop {
            let behind = (start + 80).div_ceil(8);
            if !self.want(behind) {
                return End::Unclear;
            }
            let own = bit_at(self.rest(), start + 48, 32) as u32;
            if ends {
                self.at += behind;
                return if own == crc { End::Whole } else { End::Unclear };
            }
            crc = crc.rotate_left(1) ^ own;
            let Some((next, next_ends)) = self.next_mark(start + 80) else {
                if self.failed || self.rest().len() > MAX_PACKED {
                    return End::Unclear;
                }
                let Some(rest) = cut_off(level, self.rest(), start) else { return End::Unclear };
                let _ = self.pieces.send(Piece::CutOff(rest));
                return End::Left;
            };
            let (reply, data) = sync_channel(1);
            let packed = self.rest()[..next.div_ceil(8)].to_vec();
            let task = Task { level, packed, bits: start..next, reply };
            if self.pieces.send(Piece::Block(stream, data)).is_err() || self.tasks.send(task).is_err() {
                return End::Left;
            }
            self.at += next / 8;
            (start, ends) = (next % 8, next_ends);
        }
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
        (0..n as u64 / 8 + 1).flat_map(|i| xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()).to_le_bytes()).take(n).collect()
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
        read(Blocks::open(file.path(), threads, &Arc::default()).unwrap())
    }

    /// How many blocks the scanner hands out, and what comes behind them.
    fn scan(bytes: &[u8]) -> (usize, &'static str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let pieces = Blocks::open(file.path(), 2, &Arc::default()).unwrap().pieces.unwrap();
        let mut n = 0;
        loop {
            match pieces.recv().unwrap() {
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
        assert_eq!(scan(&[pack(1, &data), vec![0; 7], pack(9, b""), pack(2, b"x")].concat()), (12, "end"));
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
                let expected = read(Streams::new(Packing::Bzip2, Packed::new(io::Cursor::new(bytes.to_vec()))));
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
        assert!(unpack(&pack(9, &runs), 2) == (runs, true), "blocks that unpack to more than the bound");
    }

    /// The same blocks under a smaller size in the header are too large for the sequential decoder, so for this too.
    #[test]
    fn the_header_holds_for_every_block() {
        let mut bytes = pack(9, &noise(500_000));
        bytes[3] = b'1';
        assert!(!unpack(&bytes, 2).1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn damage_ends_as_in_the_sequential_decoder(place in 0_usize..460_000, byte: u8, cut in 0_usize..900_000) {
            let mut bytes = [pack(1, &noise(350_000)), pack(1, &noise(100_000)), b"tail".to_vec()].concat();
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(cut.max(4));
            let (data, whole) = unpack(&bytes, 2);
            let streams = Streams::new(Packing::Bzip2, Packed::new(io::Cursor::new(bytes)));
            let (expected, expected_whole) = read(streams);
            prop_assert_eq!(whole, expected_whole);
            // A decoder hands over nothing of the call that meets the damage: here the blocks before it came out.
            prop_assert!(data.starts_with(&expected), "{} {}", data.len(), expected.len());
            prop_assert!(!whole || data == expected);
        }
    }

    /// Bits in the data that look like a block's beginning: no piece decodes, but the whole stream does.
    #[test]
    fn a_piece_that_does_not_decode_is_read_from_its_stream() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (noise(150_000), noise(250_000));
        let start = pack(1, &first).len() as u64;
        std::fs::write(file.path(), [pack(1, &first), pack(1, &second)].concat()).unwrap();
        let (send, pieces) = sync_channel(4);
        for (stream, data) in [(0, Some(first.clone())), (start, Some(second[..99_000].to_vec())), (start, None)] {
            let (reply, data_at) = sync_channel(1);
            reply.send(data).unwrap();
            send.send(Piece::Block(stream, data_at)).unwrap();
        }
        let (data, whole) = read(Blocks::of(file.path(), pieces));
        assert!(whole && data == [first, second].concat());
    }
}
