//! The one sequential pass over the files: unpack, decode, cut, and hand chunks of pieces on.
//!
//! It knows nothing of rows. Where it is to go on inside a file, it cuts the file from its
//! beginning again and leaves the pieces out that were read before: cutting is cheap, parsing is
//! not, and every splitter stays exact.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use encoding_rs::Encoding;

use crate::error::{Error, Result};
use crate::files::decompress::{Decoders, Fault, Packed, Packing, Unpacked};
use crate::files::encoding::{Marks, Utf8};
use crate::files::expand::why_passed_over;
use crate::flow::books::BYTES_READ;
use crate::flow::progress::Progress;
use crate::flow::watched::{Failure, unreadable};
use crate::ingest::prepare::Chunk;
use crate::ingest::{Access, Broken, FileFacts, Format, Limits, Params, Piece, SourceSpec};

/// A chunk is handed on once it holds this many bytes of records.
const CHUNK_BYTES: usize = 1 << 20;
/// A chunk is handed on once it holds this many pieces.
const CHUNK_PIECES: usize = 8_192;

/// Where to go on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadFrom {
    pub(super) source: usize,
    pub(super) file: usize,
    pub(super) piece: u64,
}

/// Walks the files of all sources.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a [SourceSpec],
    pub(super) formats: &'a [&'static dyn Format],
    pub(super) files: &'a [Vec<PathBuf>],
    pub(super) params: &'a Params,
    /// Memory that may be used, in bytes.
    pub(super) memory_bytes: u64,
    /// A folder for files that have to be unpacked onto the disk.
    pub(super) scratch: &'a Path,
    /// Decode the blocks of bzip2 files, where there are threads for it.
    pub(super) decoders: Option<Decoders>,
    /// Told the bytes of the files that were read.
    pub(super) progress: &'a dyn Progress,
    /// By source: whether enough was read of it.
    pub(super) enough: &'a [AtomicBool],
    /// Files so far that were not read to their end.
    pub(super) n_damaged: Cell<usize>,
}

/// So many damaged files are told by name.
const TOLD: usize = 20;

impl Reader<'_> {
    /// Reads from `place` to the end, or until nobody takes the chunks any more.
    ///
    /// While a file is read the next one is open already: of a bzip2 file the first blocks are
    /// unpacked meanwhile.
    pub(super) fn run(&self, place: ReadFrom, chunks: &SyncSender<Chunk>) -> Result<()> {
        let files = (place.source..self.sources.len()).flat_map(|source| {
            let first = if source == place.source { place.file } else { 0 };
            (first..self.files[source].len()).map(move |file| (source, file))
        });
        let wanted = |source: usize| !self.enough[source].load(Ordering::Relaxed);
        let files = files.filter(|(source, _)| wanted(*source));
        let mut files =
            files.map(|(source, file)| (source, file, self.open(source, file))).peekable();
        let mut skip = place.piece;

        while let Some((source, file, opened)) = files.next() {
            files.peek();
            // It may be enough since the file was opened.
            if wanted(source)
                && !self.file(source, file, opened, std::mem::take(&mut skip), chunks)?
            {
                return Ok(());
            }
        }

        Ok(())
    }

    fn open(&self, source: usize, file: usize) -> std::io::Result<Unpacked> {
        Unpacked::open(&self.files[source][file], &self.params.bounds(), self.decoders.as_ref())
    }

    /// Reads one file; false if nobody takes the chunks.
    fn file(
        &self,
        source: usize,
        file: usize,
        opened: std::io::Result<Unpacked>,
        skip: u64,
        chunks: &SyncSender<Chunk>,
    ) -> Result<bool> {
        let (path, format) = (&self.files[source][file], self.formats[source]);
        let mut sink = Sink::new(self, source, file, skip, chunks);
        sink.in_rows = format.access() == Access::File;

        if let Some((reason, why)) = why_passed_over(path) {
            sink.broken(Some(Broken::new(0, reason, why)), None)?;
            return sink.end();
        }

        let stream = opened.map_err(|cause| unreadable(path, &cause))?;
        sink.failure = stream.failure();
        sink.packed = Some(stream.packed_read());
        sink.unpacked = stream.unpacked();

        match format.access() {
            Access::File => self.on_disk(stream, path, format, &mut sink)?,
            _ => self.as_text(stream, source, format, &mut sink)?,
        }

        sink.end()
    }

    fn as_text(
        &self,
        stream: Unpacked,
        source: usize,
        format: &dyn Format,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let fault = stream.fault();
        let mut stream = Packed::new(stream);
        if let Some(what) = stream.peek(512).ok().and_then(binary) {
            return sink.refuse(Broken::new(0, "wrong_format", format!("the file is {what}")));
        }
        let label = self.sources[source]
            .fields
            .get("encoding")
            .and_then(|label| Encoding::for_label(label.as_bytes()));
        let mut text = Utf8::new(stream, label);
        sink.marks = Some(text.marks());
        let broken = self.split(&mut text, format, sink)?;
        // A splitter may leave the end of a file alone; only there a fault shows that stands behind
        // all records.
        while broken.is_none()
            && !sink.stopped
            && text.fill_buf().is_ok_and(|rest| !rest.is_empty())
        {
            let n = text.fill_buf().map_or(0, <[u8]>::len);
            text.consume(n);
        }

        let fault = fault.borrow_mut().take();
        sink.broken(broken, fault)
    }

    fn limits(&self) -> Limits {
        let Params { max_record_bytes, max_unpacked_bytes, max_ratio, .. } = *self.params;
        Limits { max_record_bytes, max_unpacked_bytes, max_ratio, memory_bytes: self.memory_bytes }
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        format: &dyn Format,
        sink: &mut Sink<'_>,
    ) -> Result<Option<Broken>> {
        let limits = self.limits();
        format.split(input, &limits, &mut |facts, piece| sink.take(facts, piece))
    }

    fn on_disk(
        &self,
        mut stream: Unpacked,
        path: &Path,
        format: &dyn Format,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let limits = self.limits();
        if stream.packing() == Packing::Plain {
            let broken =
                format.split_file(path, &limits, &mut |facts, piece| sink.take(facts, piece))?;
            return sink.broken(broken, None);
        }

        let failed = |cause| Error::file("unpack into", self.scratch, cause);
        let mut unpacked = tempfile::NamedTempFile::new_in(self.scratch).map_err(failed)?;
        let mut buffer = vec![0; 256 << 10];

        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            std::io::Write::write_all(&mut unpacked, &buffer[..n]).map_err(failed)?;
        }
        sink.failure.check(path)?;
        let fault = stream.fault().borrow_mut().take();
        let broken = format
            .split_file(unpacked.path(), &limits, &mut |facts, piece| sink.take(facts, piece))?;
        sink.broken(broken, fault)
    }
}

/// What a file is that cannot be text, by its first bytes.
fn binary(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'P', b'K', 3, 4, ..] => Some("a zip archive; unpack it and name the folder"),
        [b'P', b'A', b'R', b'1', ..] => Some("Parquet; `format = \"parquet\"` reads it"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("a PDF document"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => Some("an image"),
        [0x7f, b'E', b'L', b'F', ..] => Some("a program"),
        _ if head.get(257..262) == Some(b"ustar") => {
            Some("a tar archive; unpack it and name the folder")
        }
        _ if Packing::of(head) != Packing::Plain && head.len() > 9 => {
            Some("packed twice; unpack it once")
        }

        _ => None,
    }
}

/// Gathers the pieces of a file into chunks.
struct Sink<'a> {
    chunk: Chunk,
    bytes: usize,
    skip: u64,
    seen: u64,
    stopped: bool,
    enough: &'a AtomicBool,
    n_damaged: &'a Cell<usize>,
    chunks: &'a SyncSender<Chunk>,
    marks: Option<Rc<RefCell<Marks>>>,
    /// What was refused last: how much of the file it costs shows where the next piece begins.
    held_back: Option<HeldBack>,
    /// Whether places are numbers of rows, not bytes.
    in_rows: bool,
    /// Where the last piece ends, or how many bytes the rows have.
    end: u64,
    /// Whether the file was read to its end.
    cut_short: bool,
    /// What the system says about the file.
    failure: Failure,
    /// What the splitter said last, without the path.
    said: FileFacts,
    progress: &'a dyn Progress,
    /// Counts the bytes of the file that were read.
    packed: Option<Arc<AtomicU64>>,
    /// How many of them were told.
    told: u64,
    /// Counts the bytes that they unpacked to.
    unpacked: Arc<AtomicU64>,
    size: u64,
}

/// A refused stretch of a file.
struct HeldBack {
    broken: Broken,
    /// Its place in the file as it lies there, and the repairs in it.
    place: u64,
    repairs: u64,
}

impl<'a> Sink<'a> {
    fn new(
        reader: &'a Reader<'_>,
        source: usize,
        file: usize,
        skip: u64,
        chunks: &'a SyncSender<Chunk>,
    ) -> Self {
        let path: Arc<str> = reader.files[source][file].to_string_lossy().into();
        let facts = Arc::new(with_path(&FileFacts::default(), &path));
        let chunk =
            Chunk { source, file, path, facts, first_piece: skip, pieces: Vec::new(), end: None };
        let enough = &reader.enough[source];
        let said = FileFacts::default();
        let size = std::fs::metadata(&reader.files[source][file]).map_or(0, |meta| meta.len());
        let (progress, packed, told, n_damaged) = (reader.progress, None, 0, &reader.n_damaged);

        Sink {
            chunk,
            bytes: 0,
            skip,
            seen: 0,
            stopped: false,
            enough,
            n_damaged,
            chunks,
            marks: None,
            held_back: None,
            in_rows: false,
            end: 0,
            cut_short: false,
            failure: Failure::default(),
            said,
            progress,
            packed,
            told,
            unpacked: Arc::default(),
            size,
        }
    }

    /// Takes a piece from the splitter; false to stop it.
    fn take(&mut self, facts: &FileFacts, piece: Piece) -> Result<bool> {
        if self.stopped {
            return Ok(false);
        }
        // What a splitter makes of the end that a failing disk gave it is no piece.
        self.failure.check(Path::new(&*self.chunk.path))?;
        let (start, n) = match &piece {
            Piece::Record(raw) => (raw.offset, raw.bytes.len()),
            Piece::Refused(broken) => (broken.offset, broken.bytes.len()),
        };
        let (place, repairs) = match &self.marks {
            Some(marks) => {
                let mut marks = marks.borrow_mut();
                (marks.locate(start), marks.repairs(start + n as u64))
            }
            None => (start, 0),
        };

        self.release(start);
        self.end = if self.in_rows { self.end + n as u64 } else { start + n as u64 };
        self.seen += 1;
        if self.seen <= self.skip {
            return Ok(true);
        }

        if *facts != self.said {
            self.hand_on();
            self.said = facts.clone();
            self.chunk.facts = Arc::new(with_path(facts, &self.chunk.path));
        }

        match piece {
            Piece::Refused(broken) => self.held_back = Some(HeldBack { broken, place, repairs }),
            Piece::Record(_) => self.chunk.pieces.push((piece, place, repairs)),
        }

        self.bytes += n;
        if self.bytes >= CHUNK_BYTES || self.chunk.pieces.len() >= CHUNK_PIECES {
            self.hand_on();
        }
        Ok(!self.stopped)
    }

    fn refuse(&mut self, broken: Broken) -> Result<()> {
        let facts = self.said.clone();
        self.take(&facts, Piece::Refused(broken)).map(|_| ())
    }

    /// Lets go of what was held back, which reaches to the place `end` at most.
    fn release(&mut self, end: u64) {
        let Some(HeldBack { mut broken, place, repairs }) = self.held_back.take() else { return };
        if !self.in_rows {
            broken.n_bytes = end.saturating_sub(broken.offset);
        }
        self.chunk.pieces.push((Piece::Refused(broken), place, repairs));
    }

    /// About how many bytes the file would have had unpacked, were it whole: what was unpacked so
    /// far tells the rate.
    fn whole_bytes(&self) -> u64 {
        let packed =
            self.packed.as_ref().map_or(0, |packed| packed.load(Ordering::Relaxed)).min(self.size);
        let unpacked = self.unpacked.load(Ordering::Relaxed);

        match packed {
            _ if self.in_rows => self.end,
            _ if !self.cut_short => unpacked.max(self.end),
            0 => self.size,
            _ => ((unpacked as f64 * self.size as f64 / packed as f64) as u64).max(self.end),
        }
    }

    /// One refusal for why a file stopped before its end: the fault of its stream says it better
    /// than the splitter.
    fn broken(&mut self, broken: Option<Broken>, fault: Option<Fault>) -> Result<()> {
        self.failure.check(Path::new(&*self.chunk.path))?;
        self.cut_short = true;
        let broken = match (broken, fault) {
            (None, None) => {
                self.cut_short = false;
                return Ok(());
            }
            (Some(broken), None) => broken,
            (None, Some(fault)) => Broken::new(fault.offset, fault.reason, fault.detail),
            (Some(broken), Some(fault)) => {
                let detail = format!("{} ({} bytes unpacked)", fault.detail, fault.offset);
                Broken { reason: fault.reason, detail, ..broken }
            }
        };

        self.tell_damage(&broken);
        self.refuse(broken)
    }

    /// However much of a file is lost, it is one refusal in the books: so it is told as well.
    fn tell_damage(&self, broken: &Broken) {
        let n_damaged = self.n_damaged.get() + 1;
        self.n_damaged.set(n_damaged);

        if n_damaged > TOLD {
            if n_damaged == TOLD + 1 {
                self.progress.note("more files are damaged: the refusals name every one");
            }
            return;
        }

        let Broken { reason, offset, detail, .. } = broken;
        let lost = match *reason {
            "corrupt_stream" => {
                "; what lies behind is lost, and the texts right before may be garbled"
            }
            "truncated" | "bomb" => "; what lies behind is lost",
            _ => "",
        };

        let place = match *reason {
            "dead_link" | "no_file" | "unreadable" => "passed over".to_string(),
            _ => format!("{reason} at byte {offset}"),
        };
        self.progress.note(&format!("`{}`: {place}: {detail}{lost}", self.chunk.path));
    }

    fn hand_on(&mut self) {
        if self.chunk.pieces.is_empty() && self.chunk.end.is_none() {
            return;
        }
        let chunk = Chunk {
            path: Arc::clone(&self.chunk.path),
            facts: Arc::clone(&self.chunk.facts),
            pieces: std::mem::take(&mut self.chunk.pieces),
            end: self.chunk.end.take(),
            ..self.chunk
        };

        self.chunk.first_piece += chunk.pieces.len() as u64;
        self.bytes = 0;
        let read =
            self.packed.as_ref().map_or(0, |packed| packed.load(Ordering::Relaxed)).min(self.size);
        self.tell(read);
        let gone = self.chunks.send(chunk).is_err();

        self.stopped = gone || self.enough.load(Ordering::Relaxed);
    }

    /// Tells that `read` bytes of the file were read in all.
    fn tell(&mut self, read: u64) {
        self.progress.advance(read.saturating_sub(self.told));
        self.told = self.told.max(read);
    }

    /// Hands on what is left; false if nobody takes the chunks.
    fn end(mut self) -> Result<bool> {
        let whole = self.whole_bytes();
        self.release(whole);
        let mut notes = vec![(BYTES_READ.to_string(), whole)];

        if let Some(marks) = &self.marks {
            let mut marks = marks.borrow_mut();
            notes.push(("repaired_outside_of_records".to_string(), marks.repairs(u64::MAX)));
            if let Some(encoding) =
                marks.encoding.filter(|encoding| *encoding != encoding_rs::UTF_8)
            {
                notes.push((format!("files_in_{}", encoding.name()), 1));
            }
        }

        self.tell(self.size);
        self.chunk.end = Some(notes);
        let enough = self.enough.load(Ordering::Relaxed);
        self.hand_on();
        Ok(!self.stopped || enough || self.enough.load(Ordering::Relaxed))
    }
}

fn with_path(facts: &FileFacts, path: &str) -> FileFacts {
    let mut facts = facts.clone();
    facts.0.insert("file".to_string(), path.to_string());
    facts
}
