//! The streams of a bzip2 multistream, decoded several at once and joined in order.
//!
//! A scanner looks for places where a stream can begin (`BZh1`..`BZh9` and the block magic) and gives the stretches
//! between them to worker threads. A stretch that does not decode on its own — the magic stood inside a block, the
//! stretch is damaged, or it is larger than the bounds below — is decoded again from its beginning one stream after
//! the other, as is all that follows. The bytes are those of the sequential decoder in every case.
//!
//! Threads of its own, not rayon's: the thread that waits for the data may be one of rayon's.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem::Finder;

use crate::ingest::decompress::{BZIP2_BLOCK, Counted, Packed, Packing, Streams};

/// A longer stretch is decoded sequentially. Wikipedia's streams have 100 pages, about 0.1 to 1 MB.
const MAX_PACKED: usize = 4 << 20;
/// A stretch that unpacks to more is decoded sequentially.
const MAX_UNPACKED: u64 = 32 << 20;

/// A stretch of the file: where it begins, and where its data will come from; `None` if it does not decode alone.
type Stretch = (u64, Receiver<Option<Vec<u8>>>);
type Task = (Vec<u8>, SyncSender<Option<Vec<u8>>>);

/// A bzip2 file as a stream of its unpacked bytes.
pub(super) struct Multistream {
    path: PathBuf,
    stretches: Option<Receiver<Stretch>>,
    data: Vec<u8>,
    taken: usize,
    sequential: Option<Streams<File>>,
}

impl Multistream {
    /// Begins decoding with `threads` workers.
    pub(super) fn open(path: &Path, threads: usize, packed_read: &Arc<AtomicU64>) -> io::Result<Self> {
        let file = Counted { inner: File::open(path)?, n: Arc::clone(packed_read) };
        let (send_stretch, stretches) = sync_channel(threads * 2);
        let (send_task, tasks) = sync_channel::<Task>(threads);
        let tasks = Arc::new(Mutex::new(tasks));
        for _ in 0..threads {
            let tasks = Arc::clone(&tasks);
            std::thread::Builder::new().name("bzip2".to_string()).spawn(move || work(&tasks))?;
        }
        let scan = move || scan(file, &send_stretch, &send_task);
        std::thread::Builder::new().name("bzip2-scan".to_string()).spawn(scan)?;
        let path = path.to_path_buf();
        Ok(Multistream { path, stretches: Some(stretches), data: Vec::new(), taken: 0, sequential: None })
    }

    /// Fetches the next stretch; false at the end of the file.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(stretches) = &self.stretches else { return Ok(false) };
        let Ok((start, data)) = stretches.recv() else { return Ok(false) };
        if let Ok(Some(data)) = data.recv() {
            self.data = data;
            self.taken = 0;
            return Ok(true);
        }
        self.stretches = None;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        self.sequential = Some(Streams::new(Packing::Bzip2, Packed::new(file)));
        Ok(true)
    }
}

impl Read for Multistream {
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

/// Decodes stretches until there are no more.
fn work(tasks: &Mutex<Receiver<Task>>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((packed, reply)) = task else { return };
        let mut data = Vec::with_capacity(packed.len() * 4);
        let mut streams = Streams::new(Packing::Bzip2, Packed::new(Cursor::new(packed))).take(MAX_UNPACKED + 1);
        let whole = streams.read_to_end(&mut data).is_ok() && data.len() as u64 <= MAX_UNPACKED;
        // Whoever waited for it may be gone: the file was left before its end.
        let _ = reply.send(whole.then_some(data));
    }
}

/// Cuts the file into stretches and hands them out in order.
fn scan(mut file: Counted<File>, stretches: &SyncSender<Stretch>, tasks: &SyncSender<Task>) {
    let finder = Finder::new(&BZIP2_BLOCK);
    let (mut bytes, mut start, mut searched, mut ended) = (Vec::new(), 0_u64, 1, false);
    loop {
        let found = next_stream(&finder, &bytes, searched);
        searched = bytes.len().saturating_sub(BZIP2_BLOCK.len() + 3).max(1);
        let end = match found {
            Some(end) => end,
            None if ended && bytes.is_empty() => return,
            None if ended => bytes.len(),
            None if bytes.len() > MAX_PACKED => {
                let (reply, data) = sync_channel(1);
                let _ = reply.send(None);
                let _ = stretches.send((start, data));
                return;
            }
            None => match file.by_ref().take(1 << 20).read_to_end(&mut bytes) {
                Ok(n) => {
                    ended = n == 0;
                    continue;
                }
                // The sequential decoder meets the same failure and reports it.
                Err(_) => 0,
            },
        };
        let (reply, data) = sync_channel(1);
        if end == 0 {
            let _ = reply.send(None);
            let _ = stretches.send((start, data));
            return;
        }
        let rest = bytes.split_off(end);
        let task = std::mem::replace(&mut bytes, rest);
        if stretches.send((start, data)).is_err() || tasks.send((task, reply)).is_err() {
            return;
        }
        start += end as u64;
        searched = 1;
    }
}

/// The first place from `searched` on where a stream can begin.
fn next_stream(finder: &Finder<'_>, bytes: &[u8], searched: usize) -> Option<usize> {
    let behind = bytes.get(searched..)?;
    finder
        .find_iter(behind)
        .map(|at| searched + at)
        .filter(|at| *at > 4)
        .find(|at| matches!(bytes[at - 4..*at], [b'B', b'Z', b'h', b'1'..=b'9']))
        .map(|at| at - 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn pack(data: &[u8]) -> Vec<u8> {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn unpack(bytes: &[u8], threads: usize) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut data = Vec::new();
        Multistream::open(file.path(), threads, &Arc::default()).unwrap().read_to_end(&mut data).unwrap();
        data
    }

    #[test]
    fn many_streams_equal_one() {
        let parts: Vec<Vec<u8>> = (0..40_u64)
            .map(|i| (0..i * 997).flat_map(|j| (j * j * (i + 3)).to_le_bytes()).take(i as usize * 5_000).collect())
            .collect();
        let many: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
        for threads in [1, 2, 5] {
            assert!(unpack(&many, threads) == parts.concat());
        }
        assert!(unpack(&pack(&parts.concat()), 2) == parts.concat());
    }

    /// A stream's magic inside data that bzip2 could not make smaller would look like a stream's beginning.
    #[test]
    fn a_magic_inside_a_stream_changes_nothing() {
        let finder = Finder::new(&BZIP2_BLOCK);
        let mut bytes = pack(&(0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let rest = pack(b"second");
        let junction = bytes.len();
        bytes.extend(&rest);
        assert_eq!(next_stream(&finder, &bytes, 1), Some(junction));
        // A false beginning: the first stream cut in two stretches decodes in neither, but it does from its start.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let (send, stretches) = sync_channel(4);
        let (reply, data) = sync_channel(1);
        reply.send(None).unwrap();
        send.send((0, data)).unwrap();
        let path = file.path().to_path_buf();
        let mut stream = Multistream { path, stretches: Some(stretches), data: Vec::new(), taken: 0, sequential: None };
        let mut data = Vec::new();
        stream.read_to_end(&mut data).unwrap();
        assert_eq!(data.len(), 800_006);
    }
}
