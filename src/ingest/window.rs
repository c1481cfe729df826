//! A sliding window over a stream, for splitters: look ahead as far as needed, then take a record
//! off the front.

use std::borrow::Cow;
use std::io::BufRead;

use memchr::memchr;

use crate::flow::books::KEPT_BYTES;
use crate::ingest::{Broken, Raw};

/// What was read of a stream and not taken yet.
pub struct Window<'a> {
    input: &'a mut dyn BufRead,
    bytes: Vec<u8>,
    start: usize,
    offset: u64,
    ended: bool,
    failure: Option<String>,
}

impl<'a> Window<'a> {
    /// A window at the beginning of `input`.
    pub fn new(input: &'a mut dyn BufRead) -> Self {
        Window { input, bytes: Vec::new(), start: 0, offset: 0, ended: false, failure: None }
    }

    /// What was read and not taken yet.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Place of `data()[0]` in the stream, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on; false at the end of the stream or where it fails.
    pub fn more(&mut self) -> bool {
        while !self.ended {
            match self.input.fill_buf() {
                Ok([]) => self.ended = true,
                Ok(read) => {
                    if self.start > 0 && self.start >= self.bytes.len() / 2 {
                        self.bytes.drain(..self.start);
                        self.start = 0;
                    }
                    let n = read.len();
                    self.bytes.extend_from_slice(read);
                    self.input.consume(n);
                    return true;
                }

                Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    self.failure = Some(cause.to_string());
                    self.ended = true;
                }
            }
        }
        false
    }

    /// Reads until `data()` holds `n` bytes or the stream ends, and gives what there is of them.
    pub fn peek(&mut self, n: usize) -> &[u8] {
        while self.data().len() < n && self.more() {}
        &self.data()[..n.min(self.data().len())]
    }

    /// Why the stream failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Takes the next `n` bytes as a record.
    pub fn take(&mut self, n: usize) -> Raw {
        let raw = Raw { offset: self.offset, bytes: self.data()[..n].to_vec() };
        self.skip(n);
        raw
    }

    /// Leaves out the next `n` bytes.
    pub fn skip(&mut self, n: usize) {
        self.start += n;
        self.offset += n as u64;
    }

    /// Leaves out what comes of `any` bytes.
    pub fn skip_any(&mut self, any: &[u8]) {
        loop {
            let n = self.data().iter().take_while(|byte| any.contains(byte)).count();
            self.skip(n);
            if !self.data().is_empty() || !self.more() {
                return;
            }
        }
    }

    /// Length of the next line with its line feed (without, at the end of the stream); `None` where
    /// it is longer than `max` bytes.
    pub fn line(&mut self, max: usize) -> Option<usize> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr(b'\n', &self.data()[searched..]) {
                return Some(searched + at + 1).filter(|n| *n <= max);
            }
            searched = self.data().len();
            if searched > max {
                return None;
            }
            if !self.more() {
                return Some(searched);
            }
        }
    }

    /// Leaves out everything up to and with the next line feed, in bounded memory.
    pub fn skip_line(&mut self) {
        loop {
            match memchr(b'\n', self.data()) {
                Some(at) => return self.skip(at + 1),
                None => self.skip(self.data().len()),
            }
            if !self.more() {
                return;
            }
        }
    }

    /// A refusal of what begins here, with the first of its `n` bytes.
    pub fn broken(&self, reason: &'static str, detail: impl Into<String>, n: usize) -> Broken {
        let kept = n.min(self.data().len()).min(KEPT_BYTES);
        let (bytes, n_bytes) = (self.data()[..kept].to_vec(), n as u64);
        Broken { bytes, n_bytes, ..Broken::new(self.offset, reason, detail) }
    }
}

/// The bytes of a record as text. They are valid UTF-8 when they come through
/// [`encoding`](crate::files::encoding).
pub fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    // Much faster than the lossy conversion where nothing is lost.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[cfg(test)]
use crate::files::drip::Drip;

/// All pieces of `bytes` as a splitter gives them when it is fed `step` bytes at a time.
#[cfg(test)]
pub(crate) fn split_all(
    format: &dyn crate::ingest::Format,
    bytes: &[u8],
    step: usize,
    max_record_bytes: usize,
    fails: bool,
) -> (Vec<crate::ingest::Piece>, Option<Broken>, crate::ingest::FileFacts) {
    let (mut pieces, mut last_facts) = (Vec::new(), crate::ingest::FileFacts::default());
    let broken = format
        .split(
            &mut Drip { bytes, step, fails },
            &crate::ingest::Limits::of_records(max_record_bytes),
            &mut |facts, piece| {
                pieces.push(piece);
                last_facts = facts.clone();
                Ok(true)
            },
        )
        .unwrap();
    (pieces, broken, last_facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_stream_arrives() {
        for step in [1, 2, 3, 100] {
            let mut input = Drip { bytes: b"  ab\ncdefgh\nx", step, fails: false };
            let mut window = Window::new(&mut input);
            window.skip_any(b" ");
            assert_eq!(window.line(10), Some(3));
            assert_eq!(window.take(3), Raw { offset: 2, bytes: b"ab\n".to_vec() });
            assert_eq!(window.line(4), None, "longer than allowed");
            window.skip_line();
            assert_eq!(window.offset(), 12);
            assert_eq!((window.line(4), window.peek(9)), (Some(1), &b"x"[..]));
        }
    }
}
