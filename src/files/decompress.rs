//! file → stream of unpacked bytes: plain, gzip, bzip2, zstd or xz, told by its first bytes and
//! never by its name.
//!
//! Several streams one after the other (gzip members, bzip2 multistream, zstd frames, xz streams,
//! each with zero padding between them) are one file. A damaged file gives everything that stands
//! before the damage and then one [`Fault`]; bytes behind a whole stream that are no stream are a
//! fault too, but a clean one: the data is complete. What a file may unpack to is bounded by
//! [`Bounds`], so a bomb is a fault as well.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::bzip2_blocks::Blocks;
use crate::flow::watched::{Failure, Watched};

pub use crate::files::bzip2_blocks::Decoders;

/// The ratio is not looked at before this much is unpacked.
pub(crate) const FREE_BYTES: u64 = 64 << 20;

/// Most memory an xz stream may ask for; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 1 << 30;

/// How much is read from the disk at once.
const READ_BYTES: usize = 256 << 10;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// Zstandard (RFC 8878).
    Zstd,
    /// xz.
    Xz,
}

impl Packing {
    /// Tells the packing by the first bytes of a file; 10 bytes are enough.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Packing::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
                if rest.starts_with(&BZIP2_BLOCK)
                    || rest.starts_with(&BZIP2_END)
                    || rest.len() < 6 =>
            {
                Packing::Bzip2
            }

            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            _ => Packing::Plain,
        }
    }

    /// Name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Bzip2 => "bzip2",
            Packing::Zstd => "zstd",
            Packing::Xz => "xz",
        }
    }

    /// First bytes of every stream, as far as a cut one can be told by them.
    fn magic(self) -> &'static [u8] {
        match self {
            Packing::Plain => b"",
            Packing::Gzip => &[0x1f, 0x8b, 8],
            Packing::Bzip2 => b"BZh",
            Packing::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Packing::Xz => b"\xfd7zXZ\0",
        }
    }
}

/// What a bzip2 block begins with: pi.
pub(super) const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
/// What a bzip2 stream ends with, and an empty one begins with: the square root of pi.
pub(super) const BZIP2_END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

/// Why a stream stopped before the end of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Declared reason: `truncated`, `corrupt_stream` or `bomb`; `unreadable` where the system gave
    /// no more, which [`Unpacked::failure`] tells and which is no damage.
    pub reason: &'static str,
    /// What exactly.
    pub detail: String,
    /// Unpacked bytes before it.
    pub offset: u64,
    /// Whether everything before it is complete, so that the end of the stream is a true end.
    pub clean: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn of(cause: &io::Error, offset: u64) -> Self {
        if let Some(fault) = cause.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
            return Fault { offset, ..fault.clone() };
        }
        let reason = match cause.kind() {
            _ if cause.raw_os_error().is_some() => "unreadable",
            io::ErrorKind::UnexpectedEof => "truncated",
            _ => "corrupt_stream",
        };
        Fault { reason, detail: cause.to_string(), offset, clean: false }
    }

    fn clean(reason: &'static str, detail: String) -> io::Error {
        io::Error::other(Fault { reason, detail, offset: 0, clean: true })
    }
}

/// How much one file may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In bytes.
    pub max_bytes: u64,
    /// In times the file's own size, once more than 64 MiB are unpacked.
    pub max_ratio: u64,
}

/// The unpacked bytes of a file.
pub struct Unpacked {
    inner: Box<dyn Read>,
    path: PathBuf,
    packing: Packing,
    /// Whether the bytes right before damage were fetched, see [`Unpacked::up_to_damage`].
    to_the_last: bool,
    left: u64,
    delivered: u64,
    fault: Rc<RefCell<Option<Fault>>>,
    failure: Failure,
    packed_read: Arc<AtomicU64>,
    unpacked: Arc<AtomicU64>,
}

impl Unpacked {
    /// Opens a file; `decoders` decode several blocks of a bzip2 file at once, with the same bytes
    /// for any number.
    ///
    /// # Errors
    /// If the file cannot be opened or its first bytes not read. Damage shows while reading.
    pub fn open(path: &Path, bounds: &Bounds, decoders: Option<&Decoders>) -> io::Result<Self> {
        let failure = Failure::default();
        let file = Watched::open(path, &failure)?;
        let packed_bytes = file.size()?;
        let packed_read = Arc::new(AtomicU64::new(0));
        let mut packed = Packed::new(Counted { inner: file, n: Arc::clone(&packed_read) });
        let packing = Packing::of(packed.peek(10)?);
        let inner: Box<dyn Read> = match (packing, decoders) {
            (Packing::Plain, _) => Box::new(packed),
            (Packing::Bzip2, Some(decoders)) => {
                // It opens the file again; what was looked at here does not count twice.
                packed_read.store(0, Ordering::Relaxed);
                Box::new(Blocks::open(path, decoders, &packed_read, &failure)?)
            }
            _ => Box::new(Streams::new(packing, packed)),
        };

        let left = match packing {
            Packing::Plain => bounds.max_bytes,
            _ => {
                bounds.max_bytes.min(packed_bytes.saturating_mul(bounds.max_ratio).max(FREE_BYTES))
            }
        };

        let (path, fault, unpacked) = (path.to_path_buf(), Rc::default(), Arc::default());
        let (to_the_last, delivered) = (false, 0);
        Ok(Unpacked {
            inner,
            path,
            packing,
            to_the_last,
            left,
            delivered,
            fault,
            failure,
            packed_read,

            unpacked,
        })
    }

    /// Where an error of the system shows up, which is no fault of the file.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// Counts the unpacked bytes that were handed over.
    pub fn unpacked(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unpacked)
    }

    /// Counts the bytes of the file that were read so far; readers run a little ahead.
    pub fn packed_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.packed_read)
    }

    /// How the file is packed.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Where the fault shows up once the stream has stopped.
    pub fn fault(&self) -> Rc<RefCell<Option<Fault>>> {
        Rc::clone(&self.fault)
    }

    fn stop(&self, fault: Fault) -> io::Result<usize> {
        *self.fault.borrow_mut() = Some(fault.clone());
        if fault.clean { Ok(0) } else { Err(io::Error::other(fault)) }
    }

    /// Decodes again up to here and then byte by byte: a decoder that meets damage hands over
    /// nothing of what it decoded in the same call, which may be hundreds of kilobytes of whole
    /// records.
    fn up_to_damage(&self) -> io::Result<Box<dyn Read>> {
        let mut streams =
            Streams::new(self.packing, Packed::new(Watched::open(&self.path, &self.failure)?));
        io::copy(&mut streams.by_ref().take(self.delivered), &mut io::sink())?;
        Ok(Box::new(ByteByByte { inner: streams, failure: None }))
    }

    /// Keeps the byte that tells a bomb for the next read.
    fn keep_back(&mut self, buffer: &[u8], n: usize) -> usize {
        let inner = std::mem::replace(&mut self.inner, Box::new(io::empty()));
        self.inner = Box::new(io::Cursor::new(vec![buffer[n - 1]]).chain(inner));
        n - 1
    }

    fn bomb(&self) -> Fault {
        let detail = format!(
            "the file unpacks to more than {} bytes; where it is meant to, raise \
             `ingest.max_ratio` or \
             `ingest.max_unpacked_bytes`",
            self.delivered
        );
        Fault { reason: "bomb", detail, offset: self.delivered, clean: false }
    }
}

/// About how many bytes of a file were read to unpack its first `offset` bytes; readers run a
/// little ahead.
///
/// # Errors
/// If the file cannot be opened. Damage ends the count.
pub fn packed_before(path: &Path, offset: u64) -> io::Result<u64> {
    let unpacked =
        Unpacked::open(path, &Bounds { max_bytes: u64::MAX, max_ratio: u64::MAX }, None)?;
    let packed_read = unpacked.packed_read();
    // What cannot be unpacked ends the count.
    let _ = io::copy(&mut unpacked.take(offset), &mut io::sink());
    Ok(packed_read.load(Ordering::Relaxed))
}

/// Reads on and counts the bytes.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) n: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stopped = self.fault.borrow().clone();
        if let Some(fault) = stopped {
            return self.stop(fault);
        }
        // One byte more than allowed tells a bomb from a file that ends just there.
        let allowed =
            buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(1));
        match self.inner.read(&mut buffer[..allowed]) {
            Ok(n) if n as u64 > self.left && n == 1 => self.stop(self.bomb()),
            Ok(n) => {
                let n = if n as u64 > self.left { self.keep_back(buffer, n) } else { n };
                self.left -= n as u64;
                self.delivered += n as u64;
                self.unpacked.store(self.delivered, Ordering::Relaxed);
                Ok(n)
            }

            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Err(cause),
            Err(cause) => {
                let fault = Fault::of(&cause, self.delivered);
                if self.to_the_last
                    || self.packing == Packing::Plain
                    || fault.clean
                    || fault.reason != "corrupt_stream"
                {
                    return self.stop(fault);
                }

                self.to_the_last = true;
                match self.up_to_damage() {
                    Ok(inner) => self.inner = inner,
                    Err(_) => return self.stop(fault),
                }

                self.read(buffer)
            }
        }
    }
}

/// Reads as little at once as can be, so that nothing before a failure is lost.
struct ByteByByte<R> {
    inner: R,
    failure: Option<io::Error>,
}

impl<R: Read> Read for ByteByByte<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        for n in 0..buffer.len() {
            match self.inner.read(&mut buffer[n..=n]) {
                Ok(0) => return Ok(n),
                Ok(_) => {}
                Err(cause) if n == 0 => return Err(cause),
                Err(cause) => {
                    self.failure = Some(cause);
                    return Ok(n);
                }
            }
        }
        Ok(buffer.len())
    }
}

/// Buffered bytes that can be looked at a few bytes ahead.
pub struct Packed<R> {
    inner: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Packed<R> {
    /// A buffer before `inner`.
    pub fn new(inner: R) -> Self {
        Packed { inner, bytes: vec![0; READ_BYTES], start: 0, end: 0 }
    }

    /// The next `n` bytes, or fewer where the end is nearer; they stay. At most 256 KiB.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.end - self.start < n.min(READ_BYTES) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;

            match self.inner.read(&mut self.bytes[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(&self.bytes[self.start..self.end.min(self.start + n)])
    }
}

impl<R: Read> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.end = self.inner.read(&mut self.bytes)?;
        }
        Ok(&self.bytes[self.start..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && buffer.len() >= READ_BYTES / 4 {
            return self.inner.read(buffer);
        }
        let read = self.fill_buf()?;
        let n = read.len().min(buffer.len());
        buffer[..n].copy_from_slice(&read[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// The decoder of one stream.
enum Decoder<R: Read> {
    Gzip(flate2::bufread::GzDecoder<Packed<R>>),
    Bzip2(bzip2::bufread::BzDecoder<Packed<R>>),
    Zstd(zstd::stream::read::Decoder<'static, Packed<R>>),
    Xz(liblzma::bufread::XzDecoder<Packed<R>>),
}

impl<R: Read> Decoder<R> {
    fn begin(packing: Packing, packed: Packed<R>) -> io::Result<Self> {
        Ok(match packing {
            Packing::Bzip2 => Decoder::Bzip2(bzip2::bufread::BzDecoder::new(packed)),
            Packing::Zstd => {
                Decoder::Zstd(zstd::stream::read::Decoder::with_buffer(packed)?.single_frame())
            }
            Packing::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)
                    .map_err(io::Error::other)?;
                Decoder::Xz(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Packing::Gzip | Packing::Plain => {
                Decoder::Gzip(flate2::bufread::GzDecoder::new(packed))
            }
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Bzip2(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Xz(decoder) => decoder.read(buffer),
        }
    }

    /// How many bytes were unpacked, of those that say so even of a call that fails.
    fn unpacked(&self) -> u64 {
        match self {
            Decoder::Bzip2(decoder) => decoder.total_out(),
            Decoder::Xz(decoder) => decoder.total_out(),
            Decoder::Gzip(_) | Decoder::Zstd(_) => 0,
        }
    }

    fn end(self) -> Packed<R> {
        match self {
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Bzip2(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
            Decoder::Xz(decoder) => decoder.into_inner(),
        }
    }
}

/// All streams of a packed file, decoded one after the other.
pub(super) struct Streams<R: Read> {
    packing: Packing,
    /// Before the first stream.
    waiting: Option<Packed<R>>,
    decoder: Option<Decoder<R>>,
    /// What the call before met behind the bytes that it gave.
    failure: Option<io::Error>,
}

impl<R: Read> Streams<R> {
    pub(super) fn new(packing: Packing, packed: Packed<R>) -> Self {
        Streams { packing, waiting: Some(packed), decoder: None, failure: None }
    }

    /// Goes over the padding behind a stream; false at the end of the file.
    fn next_stream(&mut self, mut packed: Packed<R>) -> io::Result<bool> {
        let mut padding = 0_u64;
        while packed.peek(1)? == [0] {
            packed.consume(1);
            padding += 1;
        }

        let name = self.packing.name();
        let head = packed.peek(10)?;

        if self.packing == Packing::Xz && !padding.is_multiple_of(4) {
            return Err(Fault::clean(
                "corrupt_stream",
                format!("{padding} bytes of padding behind an xz stream"),
            ));
        }

        if head.is_empty() {
            return Ok(false);
        }
        if Packing::of(head) == self.packing {
            self.decoder = Some(Decoder::begin(self.packing, packed)?);
            return Ok(true);
        }

        if self.packing.magic().starts_with(head) {
            return Err(Fault::clean(
                "truncated",
                format!("the file ends in the header of a {name} stream"),
            ));
        }

        Err(Fault::clean(
            "corrupt_stream",
            format!("the bytes behind the last {name} stream are no {name} stream"),
        ))
    }
}

impl<R: Read> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(packed) = self.waiting.take() {
            self.decoder = Some(Decoder::begin(self.packing, packed)?);
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }

        while let Some(mut decoder) = self.decoder.take() {
            let before = decoder.unpacked();
            match decoder.read(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    self.next_stream(decoder.end())?;
                }
                Ok(n) => {
                    self.decoder = Some(decoder);
                    return Ok(n);
                }
                // bzip2 compares a checksum in the call that gives the last byte before it: that
                // byte is good, and whoever decodes blocks apart has it.
                Err(cause) => {
                    let n = usize::try_from(decoder.unpacked() - before).unwrap_or_default();
                    self.decoder = Some(decoder);
                    if n == 0 {
                        return Err(cause);
                    }

                    self.failure = Some(cause);
                    return Ok(n);
                }
            }
        }

        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const WIDE: Bounds = Bounds { max_bytes: 1 << 40, max_ratio: 1_000_000 };

    fn pack(packing: Packing, data: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Plain => data.to_vec(),
            Packing::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(data).unwrap();
                writer.finish().unwrap()
            }

            Packing::Bzip2 => {
                let mut writer =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                writer.write_all(data).unwrap();
                writer.finish().unwrap()
            }

            Packing::Zstd => {
                let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
                writer.include_checksum(true).unwrap();
                writer.write_all(data).unwrap();
                writer.finish().unwrap()
            }

            Packing::Xz => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 0);
                writer.write_all(data).unwrap();
                writer.finish().unwrap()
            }
        }
    }

    fn unpack(bytes: &[u8], bounds: Bounds, threads: usize) -> (Vec<u8>, Option<Fault>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let decoders = (threads > 1).then(|| Decoders::start(threads).unwrap());
        let mut stream = Unpacked::open(file.path(), &bounds, decoders.as_ref()).unwrap();
        let (mut data, mut buffer) = (Vec::new(), [0; 1000]);

        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 {
                break;
            }
            data.extend_from_slice(&buffer[..n]);
        }

        let fault = stream.fault().borrow().clone();
        (data, fault)
    }

    const ALL: [Packing; 4] = [Packing::Gzip, Packing::Bzip2, Packing::Zstd, Packing::Xz];

    fn sample(n: usize) -> Vec<u8> {
        (0..n as u64)
            .flat_map(|i| xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()).to_le_bytes())
            .take(n)
            .collect()
    }

    #[test]
    fn streams_one_after_the_other_are_one_file() {
        let (first, second) = (sample(300_000), sample(70_000));
        for packing in ALL {
            for threads in [1, 2] {
                let mut bytes = pack(packing, &first);
                bytes.extend([0; 8]);
                bytes.extend(pack(packing, &[]));
                bytes.extend(pack(packing, &second));
                let (data, fault) = unpack(&bytes, WIDE, threads);
                assert_eq!(fault, None, "{packing:?}");
                assert!(data == [&first[..], &second[..]].concat(), "{packing:?} {threads}");
            }
        }
    }

    #[test]
    fn what_stands_before_the_damage_is_delivered() {
        let data = sample(2_000_000);
        for packing in ALL {
            for threads in [1, 2] {
                let whole = pack(packing, &data);
                let (before, fault) = unpack(&whole[..whole.len() - 9], WIDE, threads);
                assert!(
                    data.starts_with(&before) && before.len() > 700_000,
                    "{packing:?} {}",
                    before.len()
                );
                let fault = fault.unwrap();
                assert_eq!(
                    (fault.reason, fault.offset),
                    ("truncated", before.len() as u64),
                    "{packing:?}"
                );

                let mut hit = whole.clone();
                let end = hit.len() - 40_000;
                hit[end..end + 20].fill(0x55);
                let (before, fault) = unpack(&hit, WIDE, threads);
                // All but the block that is hit: of xz and zstd, whose blocks are long or checked
                // as a whole, less.
                assert!(data.starts_with(&before[..before.len().min(1_000_000)]), "{packing:?}");
                assert!(before.len() > 1_000_000, "{packing:?} {}", before.len());
                let fault = fault.unwrap();
                assert_eq!(
                    (fault.reason, fault.offset),
                    ("corrupt_stream", before.len() as u64),
                    "{packing:?}"
                );

                let (all, fault) = unpack(&[&whole[..], b"garbage"].concat(), WIDE, threads);
                assert!(all == data, "{packing:?}");
                let fault = fault.unwrap();
                assert!(fault.clean && fault.reason == "corrupt_stream", "{packing:?} {fault:?}");
            }
        }
    }

    /// A wrong checksum behind the last byte takes none away, however many threads decode.
    #[test]
    fn what_a_checksum_condemns_is_the_same_for_any_number_of_threads() {
        let data = sample(300);
        for packing in [Packing::Bzip2, Packing::Xz] {
            let whole = pack(packing, &data);
            for at in 0..whole.len() {
                let mut hit = whole.clone();
                hit[at] ^= 0x10;
                let bytes = [&hit[..], &whole].concat();
                let one = unpack(&bytes, WIDE, 1);
                assert_eq!(unpack(&bytes, WIDE, 2), one, "{packing:?} {at}");

                // Behind what was packed, there are but checksums.
                let is_behind = packing == Packing::Bzip2 && at + 4 >= whole.len();
                assert!(!is_behind || one.0.starts_with(&data), "{at}: {}", one.0.len());
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let zeros = vec![0; 66 << 20];
        for packing in ALL {
            let (data, fault) =
                unpack(&pack(packing, &zeros), Bounds { max_bytes: 1 << 40, max_ratio: 10 }, 2);
            assert_eq!(
                (data.len() as u64, fault.unwrap().reason),
                (FREE_BYTES, "bomb"),
                "{packing:?}"
            );
        }

        let (data, fault) = unpack(&sample(5000), Bounds { max_bytes: 4096, max_ratio: 10 }, 1);
        assert_eq!((data.len(), fault.unwrap().reason), (4096, "bomb"));
        assert_eq!(unpack(&sample(4096), Bounds { max_bytes: 4096, max_ratio: 10 }, 1).1, None);
    }

    /// What Python's `gzip`, `bz2` and `lzma` read from these files is what stands here: the names
    /// say good or bad.
    #[test]
    fn hostile_files_end_in_data_or_a_fault() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let folder = Path::new(&data).join("nasty-inputs/compressed");
        let mut seen = 0;

        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            let bytes = std::fs::read(&path).unwrap();
            let (data, fault) = unpack(&bytes, WIDE, 2);
            let packed = Packing::of(&bytes) != Packing::Plain;

            if name.starts_with("good") || name == "multi.gz" || name.contains("rle-first") {
                assert_eq!(fault, None, "{name}");
            } else if packed
                && (name.starts_with("bad")
                    || name.contains("errors")
                    || name.starts_with("corrupt"))
            {
                assert!(fault.is_some(), "{name} gave {} bytes", data.len());
            }

            seen += 1;
        }

        assert!(seen > 50);
    }
}
