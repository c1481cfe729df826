//! Bytes that come a few at a time, for tests of what reads them.

use std::io::{self, BufRead, Read};

/// Some bytes.
pub(crate) struct Drip<'a> {
    /// What is left.
    pub(crate) bytes: &'a [u8],
    /// Most that are given at once.
    pub(crate) step: usize,
    /// Whether an error stands at the end.
    pub(crate) fails: bool,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Drip<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && self.fails {
            return Err(io::Error::other("the stream is damaged"));
        }
        Ok(&self.bytes[..self.step.min(self.bytes.len())])
    }

    fn consume(&mut self, n: usize) {
        self.bytes = &self.bytes[n..];
    }
}
