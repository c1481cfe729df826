//! Lexicon files on disk: which ones, unpacked, in which format.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Found, READERS, Reader, reader};
use crate::error::{At, Error, Result};
use crate::ingest::decompress::{Bounds, Unpacked};
use crate::ingest::files::expand;

/// Bytes at the start of a file that a reader may look at to recognise it.
const HEAD_BYTES: usize = 16 << 10;

/// What a lexicon file may unpack to; the largest known (MeSH descriptors) has 300 MB.
const BOUNDS: Bounds = Bounds { max_bytes: 8 << 30, max_ratio: 1_000 };

/// The files that a path, folder or glob pattern names, in name order.
///
/// # Errors
/// If there is none.
pub fn files(path: &str) -> Result<Vec<PathBuf>> {
    expand(path).map_err(|error| {
        error.at("[density] lexicon").hint("`lexicon = []` scores without a lexicon: every density is 0")
    })
}

/// Reads one file with the reader that is named or recognises it; gives the entries and the reader's name.
///
/// # Errors
/// If the file cannot be read or recognised.
pub(super) fn read_file(file: &Path, format: Option<&str>) -> Result<(Found, &'static str)> {
    let unpacked = Unpacked::open(file, &BOUNDS, None).map_err(|cause| Error::file("open", file, cause))?;
    let fault = unpacked.fault();
    let mut input = BufReader::new(unpacked);
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut first = input.by_ref().take(HEAD_BYTES as u64);
    first.read_to_end(&mut head).map_err(|cause| unreadable(file, &cause))?;
    if head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    if head.trim_ascii().is_empty() {
        return Err(Error::data(format!("lexicon file `{}` is empty", file.display()))
            .hint("fetch it again, or take it out of `density.lexicon`"));
    }
    let reader = match format {
        Some(format) => reader(format)?,
        None => recognise(&head, file)?,
    };
    let mut found = Found::default();
    let mut whole = std::io::Cursor::new(head).chain(input);
    reader.read(&mut whole, file, &mut found).at_place(|| format!("lexicon file `{}`", file.display()))?;
    // A stream that stops cleanly before the file's end, such as bytes behind its last member.
    if let Some(fault) = fault.borrow().as_ref().filter(|fault| fault.clean) {
        found.refuse(fault.reason);
    }
    if found.entries.is_empty() {
        let refused: Vec<String> = found.refused.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let what = format!("lexicon file `{}`, read as {}, names nothing", file.display(), reader.name());
        let what = if refused.is_empty() { what } else { format!("{what}: not used are {}", refused.join(", ")) };
        return Err(Error::data(what).hint("say its format: `lexicon = [{ path = \"...\", format = \"tsv\" }]`"));
    }
    Ok((found, reader.name()))
}

fn recognise(head: &[u8], file: &Path) -> Result<&'static dyn Reader> {
    let whole = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head may end inside a character.
        Err(cause) => std::str::from_utf8(&head[..cause.valid_up_to()]).unwrap_or(""),
    };
    READERS.iter().copied().find(|reader| reader.recognises(whole)).ok_or_else(|| {
        let known: Vec<&str> = READERS.iter().map(|reader| reader.name()).collect();
        Error::usage(format!("`{}` is no lexicon format that kpipe recognises", file.display())).hint(format!(
            "name it: `lexicon = [{{ path = \"...\", format = \"tsv\" }}]`, one of: {}",
            known.join(", ")
        ))
    })
}

/// A lexicon file that cannot be read to its end.
fn unreadable(file: &Path, cause: &std::io::Error) -> Error {
    Error::file("read", file, cause).hint("the file is cut off or damaged: fetch it again")
}

/// The whole rest of a file as text.
///
/// # Errors
/// If it is not UTF-8, with the line.
pub(super) fn read_text(input: &mut dyn BufRead, file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|cause| unreadable(file, &cause))?;
    String::from_utf8(bytes).map_err(|cause| {
        let line = 1 + cause.as_bytes()[..cause.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Error::data(format!("`{}` is not UTF-8", file.display()))
            .at(format!("line {line}"))
            .hint("convert it, for example with `iconv -f GB18030 -t UTF-8`")
    })
}
