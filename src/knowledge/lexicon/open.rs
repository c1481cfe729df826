//! Lexicon files on disk: which ones, unpacked, as UTF-8, in which format.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Found, LexiconSpec, READERS, Reader, reader};
use crate::error::{At, Error, Result};
use crate::files::decompress::{Bounds, Unpacked};
use crate::files::encoding::Utf8;
use crate::files::expand::{expand, why_passed_over};
use crate::flow::watched;

/// Bytes at the start of a file that a reader may look at to recognise it.
const HEAD_BYTES: usize = 16 << 10;

/// What a lexicon file may unpack to; the largest known (MeSH descriptors) has 300 MB.
const BOUNDS: Bounds = Bounds { max_bytes: 8 << 30, max_ratio: 1_000 };

/// The files of a lexicon, and those beside them that are none.
#[derive(Debug, Default)]
pub struct Listed {
    /// Files to read, in name order.
    pub files: Vec<PathBuf>,
    /// Files of a folder or pattern that no reader knows, such as a README.
    pub passed_over: Vec<PathBuf>,
}

/// The files that a lexicon's path, folder or glob pattern names.
///
/// # Errors
/// If there is none, or none of them is a lexicon.
pub fn files(spec: &LexiconSpec) -> Result<Listed> {
    let found = expand(&spec.path).map_err(|error| {
        error
            .at("[density] lexicon")
            .hint("`lexicon = []` scores without a lexicon: every density is 0")
    })?;
    // A file that is named itself is read or is an error; so is one whose format is said.
    if spec.format.is_some() || found == [Path::new(&spec.path)] {
        return Ok(Listed { files: found, ..Listed::default() });
    }
    let (mut files, mut passed_over) = (Vec::new(), Vec::new());

    for file in found {
        if is_lexicon(&file)? { files.push(file) } else { passed_over.push(file) }
    }
    if files.is_empty() {
        return Err(Error::usage(format!("no file of `{}` is a lexicon", spec.path))
            .at("[density] lexicon")
            .hint(
                "name the format of what is there: `lexicon = \
                   [{ path = \"...\", format = \"tsv\" }]`",
            ));
    }

    Ok(Listed { files, passed_over })
}

/// What a file is called that stands beside data and is about it.
static ABOUT: &[&str] =
    &["readme", "source", "license", "licence", "copying", "notice", "changelog", "citation"];

/// Whether a file of a folder is meant to be read: by its name, and by its beginning.
fn is_lexicon(file: &Path) -> Result<bool> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = name.split('.').next().unwrap_or("");
    if ABOUT.contains(&stem) || name.ends_with(".md") {
        return Ok(false);
    }
    if why_passed_over(file).is_some() {
        return Ok(false);
    }
    let unpacked =
        Unpacked::open(file, &BOUNDS, None).map_err(|cause| watched::unreadable(file, &cause))?;
    let failure = unpacked.failure();
    let mut head = Vec::with_capacity(HEAD_BYTES);
    // Damage shows when the file is read.
    let _ = Utf8::new(unpacked, None).take(HEAD_BYTES as u64).read_to_end(&mut head);
    failure.check(file)?;

    Ok(recognise(&head, file).is_ok())
}

/// Reads one file with the reader that is named or recognises it; gives the entries and the
/// reader's name. `room` is the memory that its entries may take, in bytes.
///
/// # Errors
/// If the file cannot be read or recognised, or names more than fits.
pub(super) fn read_file(
    file: &Path,
    format: Option<&str>,
    room: u64,
) -> Result<(Found, &'static str)> {
    // Readers hold the text of a file beside what they make of it.
    let bounds = Bounds { max_bytes: BOUNDS.max_bytes.min(room / 4), ..BOUNDS };
    let unpacked =
        Unpacked::open(file, &bounds, None).map_err(|cause| Error::file("open", file, cause))?;
    let (fault, failure) = (unpacked.fault(), unpacked.failure());
    let found = read_unpacked(unpacked, file, format, room);
    // What a reader takes for damage may be a disk that fails, or a bound that is ours.
    failure.check(file)?;
    let too_large = fault.borrow().as_ref().is_some_and(|fault| fault.reason == "bomb");
    let (mut found, reader) = match found {
        _ if too_large => return Err(too_much(file)),
        Ok((found, _)) if found.is_full() => return Err(too_much(file)),
        other => other?,
    };
    // A stream that stops cleanly before the file's end, such as bytes behind its last member.
    if let Some(fault) = fault.borrow().as_ref().filter(|fault| fault.clean) {
        found.refuse(fault.reason);
    }
    if found.entries.is_empty() {
        let refused: Vec<String> =
            found.refused.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let what = format!("lexicon file `{}`, read as {reader}, names nothing", file.display());
        let what = if refused.is_empty() {
            what
        } else {
            format!("{what}: not used are {}", refused.join(", "))
        };
        return Err(Error::data(what)
            .hint("say its format: `lexicon = [{ path = \"...\", format = \"tsv\" }]`"));
    }

    Ok((found, reader))
}

fn too_much(file: &Path) -> Error {
    Error::data(format!("lexicon file `{}` names more than fits into memory", file.display())).hint(
        "is it a lexicon? a name takes about 700 bytes: give more `--memory`, or a smaller file",
    )
}

fn read_unpacked(
    unpacked: Unpacked,
    file: &Path,
    format: Option<&str>,
    room: u64,
) -> Result<(Found, &'static str)> {
    let mut input = Utf8::new(unpacked, None);
    let marks = input.marks();
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut first = input.by_ref().take(HEAD_BYTES as u64);
    first.read_to_end(&mut head).map_err(|cause| unreadable(file, &cause))?;

    if head.trim_ascii().is_empty() {
        return Err(Error::data(format!("lexicon file `{}` is empty", file.display()))
            .hint("fetch it again, or take it out of `density.lexicon`"));
    }

    let reader = match format {
        Some(format) => reader(format)?,
        None => recognise(&head, file)?,
    };
    let mut found = Found::within(room);
    let mut whole = std::io::Cursor::new(head).chain(input);
    reader
        .read(&mut whole, file, &mut found)
        .at_place(|| format!("lexicon file `{}`", file.display()))?;
    let mut marks = marks.borrow_mut();
    let (repairs, encoding) = (marks.repairs(u64::MAX), marks.encoding);
    if repairs > 0 {
        let encoding = encoding.map_or("UTF-8", |encoding| encoding.name());
        return Err(Error::data(format!(
            "lexicon file `{}`, read as {encoding}, holds {repairs} sequences of bytes that are none",
            file.display()
        ))
        .hint("convert it, for example with `iconv -f GB18030 -t UTF-8`"));
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
        Error::usage(format!("`{}` is no lexicon format that kpipe recognises", file.display()))
            .hint(format!(
                "name it: `lexicon = [{{ path = \"...\", format = \"tsv\" }}]`, one of: {}",
                known.join(", ")
            ))
    })
}

/// A lexicon file that cannot be read to its end.
pub(super) fn unreadable(file: &Path, cause: &std::io::Error) -> Error {
    Error::file("read", file, cause).hint("the file is cut off or damaged: fetch it again")
}

/// The whole rest of a file as text.
///
/// # Errors
/// If it cannot be read to its end.
pub(super) fn read_text(input: &mut dyn BufRead, file: &Path) -> Result<String> {
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|cause| unreadable(file, &cause))?;
    Ok(text)
}

/// Reads a file of JSON lines: each object goes to `take`, what is none is counted.
///
/// # Errors
/// If the file cannot be read to its end.
pub(super) fn read_objects(
    input: &mut dyn BufRead,
    file: &Path,
    found: &mut Found,
    take: &mut dyn FnMut(Map<String, Value>, &mut Found),
) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line).map_err(|cause| unreadable(file, &cause))? == 0 {
            return Ok(());
        }
        // Dumps put their lines into an array: `[`, `{…},`, `]`.
        let record = line.trim().trim_end_matches(',');
        if matches!(record, "" | "[" | "]") {
            continue;
        }
        match serde_json::from_str(record) {
            Ok(Value::Object(object)) => take(object, found),
            _ => found.refuse("malformed"),
        }
        if found.is_full() {
            return Ok(());
        }
    }
}

/// The strings of a list, or the one string, under a key.
pub(super) fn strings(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(|text| text.trim().to_string());
    match object.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Whether a head is of JSON lines, of objects that have one of some keys.
pub(super) fn has_objects_with(head: &str, keys: &[&str]) -> bool {
    let mut lines = head.lines().map(|line| line.trim().trim_end_matches(','));
    let first = lines.find(|line| !matches!(*line, "" | "[")).unwrap_or("");
    // The head may end inside a long first line.
    first.starts_with('{') && keys.iter().any(|key| first.contains(&format!("\"{key}\"")))
}
