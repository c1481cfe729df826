//! CSV and TSV with a header (RFC 4180): quoted fields may hold separators, quotes and line feeds.
//!
//! The separator is the one of `,` `;` tab `|` that the header holds most often. Columns are found by
//! [`fields`]. A row with more or fewer fields than the header is refused as `malformed`. A
//! quote that is never closed costs its line, not the rest of the file.

use std::io::BufRead;

use memchr::{memchr, memchr3};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::ingest::window::Window;
use crate::ingest::{Broken, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, fields};

/// See the module.
#[derive(Debug)]
pub struct Csv;

/// In falling order where the header holds two equally often.
const SEPARATORS: [u8; 4] = *b",;\t|";

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn has_columns(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "CSV or TSV with a header"
    }

    fn split(&self, input: &mut dyn BufRead, limits: &Limits, emit: Emit<'_>) -> Result<Option<Broken>> {
        let (mut window, mut facts) = (Window::new(input), FileFacts::default());
        let (mut separator, mut any) = (None, false);
        loop {
            window.skip_any(b"\r\n");
            if window.data().is_empty() {
                let broken = window.failure().map(|failure| window.broken("truncated", failure, 0));
                let only_header = broken.is_none() && !any && !facts.0.is_empty();
                return Ok(
                    broken.or_else(|| only_header.then(|| Broken::new(0, "no_text", "the header is all there is")))
                );
            }
            let between = *separator.get_or_insert_with(|| guess_separator(&mut window));
            let piece = match next_row(&mut window, between, limits.max_record_bytes) {
                Ok(piece) => piece,
                Err(broken) => return Ok(Some(broken)),
            };
            if facts.0.is_empty() {
                match header(piece, between) {
                    Ok(found) => facts = found,
                    Err(broken) => return Ok(Some(broken)),
                }
            } else {
                any = true;
                if !emit(&facts, piece)? {
                    return Ok(None);
                }
            }
        }
    }

    fn parse(&self, raw: &Raw, facts: &FileFacts, source: &SourceSpec) -> Vec<Parsed> {
        let malformed = |detail: String| vec![Parsed::Refused { reason: "malformed", id: None, detail }];
        let header = facts.0.get("header").and_then(|header| serde_json::from_str::<Vec<String>>(header).ok());
        let separator = facts.0.get("separator").and_then(|separator| separator.bytes().next());
        let (Some(header), Some(separator)) = (header, separator) else {
            return malformed("the file has no header".to_string());
        };
        let Some(row) = to_fields(&raw.bytes, separator) else {
            return malformed("no row can be read here".to_string());
        };
        if row.len() != header.len() {
            return malformed(format!("{} fields where the header has {}", row.len(), header.len()));
        }
        let filled = header.into_iter().zip(row).filter(|(name, value)| !(name.is_empty() && value.is_empty()));
        vec![fields::to_document(
            filled.map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>(),
            source,
        )]
    }
}

fn guess_separator(window: &mut Window<'_>) -> u8 {
    let head = window.peek(64 << 10);
    let line = &head[..memchr(b'\n', head).unwrap_or(head.len())];
    let count = |separator: u8| {
        let mut quoted = false;
        line.iter()
            .filter(|byte| {
                quoted ^= **byte == b'"';
                !quoted && **byte == separator
            })
            .count()
    };
    // `max_by_key` takes the last of equals.
    SEPARATORS.into_iter().rev().max_by_key(|separator| count(*separator)).unwrap_or(b',')
}

fn header(piece: Piece, separator: u8) -> std::result::Result<FileFacts, Broken> {
    let raw = match piece {
        Piece::Record(raw) => raw,
        Piece::Refused(refused) => return Err(Broken { reason: "wrong_format", ..refused }),
    };
    let names: Option<Vec<String>> = to_fields(&raw.bytes, separator)
        .map(|names| names.iter().map(|name| name.trim().to_string()).collect())
        .filter(|names: &Vec<String>| names.iter().any(|name| !name.is_empty()));
    let json = names.and_then(|names| serde_json::to_string(&names).ok());
    let Some(json) = json else {
        return Err(Broken { bytes: raw.bytes, ..Broken::new(raw.offset, "wrong_format", "the header has no names") });
    };
    Ok(FileFacts([("header".to_string(), json), ("separator".to_string(), char::from(separator).to_string())].into()))
}

fn to_fields(bytes: &[u8], separator: u8) -> Option<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(separator)
        .buffer_capacity(bytes.len().max(16))
        .from_reader(bytes);
    let mut record = ::csv::ByteRecord::new();
    match reader.read_byte_record(&mut record) {
        Ok(true) => Some(record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()),
        _ => None,
    }
}

/// Takes the next row, which begins here; a row with an open quote is refused up to its line's end.
fn next_row(window: &mut Window<'_>, separator: u8, max: usize) -> std::result::Result<Piece, Broken> {
    let mut quotes = Quotes { at: 0, field_begins: true, quoted: false };
    loop {
        let seen = window.data().len().min(max);
        if let Some(n) = quotes.on(&window.data()[..seen], separator) {
            return Ok(Piece::Record(window.take(n)));
        }
        if seen == max && (window.data().len() > seen || window.more()) {
            let open = quotes.quoted && memchr(b'\n', &window.data()[..seen]).is_some();
            return Ok(if open { open_quote(window, seen) } else { too_large(window, max) });
        }
        if window.data().len() > seen || window.more() {
            continue;
        }
        if let Some(failure) = window.failure() {
            return Err(window.broken("truncated", failure, seen));
        }
        return Ok(if quotes.quoted && !quotes.closes_at_end(window.data()) {
            open_quote(window, seen)
        } else {
            Piece::Record(window.take(seen))
        });
    }
}

fn open_quote(window: &mut Window<'_>, seen: usize) -> Piece {
    let n = memchr(b'\n', &window.data()[..seen]).map_or(seen, |at| at + 1);
    let refused = window.broken("malformed", "a quote opens here and is never closed", n);
    window.skip(n);
    Piece::Refused(refused)
}

fn too_large(window: &mut Window<'_>, max: usize) -> Piece {
    let refused = window.broken("too_large", format!("more than {max} bytes"), max);
    window.skip_line();
    Piece::Refused(refused)
}

/// Looks for the end of a row; goes on where it stopped when there is more.
struct Quotes {
    at: usize,
    field_begins: bool,
    quoted: bool,
}

impl Quotes {
    /// The length of the row with its line feed, once its end is seen.
    fn on(&mut self, bytes: &[u8], separator: u8) -> Option<usize> {
        while self.at < bytes.len() {
            if self.quoted {
                let Some(quote) = memchr(b'"', &bytes[self.at..]).map(|at| self.at + at) else {
                    self.at = bytes.len();
                    return None;
                };
                self.at = quote;
                // Two quotes are one quote inside the field; whether this is the first of two needs one byte more.
                self.quoted = *bytes.get(quote + 1)? == b'"';
                self.at += 1 + usize::from(self.quoted);
            } else if self.field_begins && bytes[self.at] == b'"' {
                (self.quoted, self.field_begins) = (true, false);
                self.at += 1;
            } else {
                let Some(found) = memchr3(separator, b'\n', b'\r', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    self.field_begins = false;
                    return None;
                };
                self.at += found + 1;
                self.field_begins = true;
                if bytes[self.at - 1] != separator {
                    return Some(self.at);
                }
            }
        }
        None
    }

    /// Whether the last byte of the file is the quote that closes the field.
    fn closes_at_end(&self, bytes: &[u8]) -> bool {
        self.at + 1 == bytes.len() && bytes[self.at] == b'"'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::window::split_all;
    use proptest::prelude::*;

    fn read(bytes: &[u8], step: usize, max: usize) -> Vec<String> {
        let (pieces, broken, facts) = split_all(&Csv, bytes, step, max, false);
        let mut seen: Vec<String> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Refused(refused) => format!("!{}", refused.reason),
                Piece::Record(raw) => match Csv.parse(raw, &facts, &fields::source(&[])).remove(0) {
                    Parsed::Document(document) => document.text,
                    Parsed::Refused { reason, .. } | Parsed::Empty { reason, .. } => format!("!{reason}"),
                    Parsed::Withdraws(_) => unreachable!(),
                },
            })
            .collect();
        seen.extend(broken.map(|broken| format!("?{}", broken.reason)));
        seen
    }

    fn check(text: &str, expected: &[&str]) {
        for step in [1, 3, 1000] {
            assert_eq!(read(text.as_bytes(), step, 40), expected, "{text:?} by {step}");
        }
    }

    #[test]
    fn rows_are_cut_at_their_ends() {
        check("id,text\n1,a\n2,\"b, \"\"c\"\"\nd\"\r\n\n3,e", &["a", "b, \"c\"\nd", "e"]);
        check("id;text\r1;a,b\r2;\"c\"", &["a,b", "c"]);
        check("id\ttext\n1\ta \"quoted\" word\n", &["a \"quoted\" word"]);
        check("text\nalone\n", &["alone"]);
        check("", &[]);
        check("not,a,table\n", &["?no_text"]);
    }

    #[test]
    fn a_bad_row_costs_itself() {
        check("id,text\n1,a,b\n2\n3,c\n", &["!malformed", "!malformed", "c"]);
        check("id,text\n1,\"open\n2,b\n3,c\n", &["!malformed", "b", "c"]);
        check(&format!("id,text\n1,{}\n2,b\n", "x".repeat(50)), &["!too_large", "b"]);
        let open = format!("id,text\n1,\"{}\n2,b\n", "x\n".repeat(25));
        check(&open, &[&["!malformed"; 25][..], &["b"]].concat());
        check(",\n1,2", &["?wrong_format"]);
        let (pieces, broken, _) = split_all(&Csv, b"id,text\n1,a\n2,b", 4, 100, true);
        assert!(pieces.len() == 1 && broken.unwrap().reason == "truncated");
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(text in "[,;\"\n\ra ]{0,50}", step in 1_usize..9, max in 5_usize..40) {
            let whole = split_all(&Csv, text.as_bytes(), 1000, max, false);
            prop_assert_eq!(split_all(&Csv, text.as_bytes(), step, max, false), whole);
        }

        /// What the `csv` crate writes is read back, row by row.
        #[test]
        fn written_rows_are_read_back(texts in proptest::collection::vec("[ -~\n\r中]{0,12}x", 1..9), step in 1_usize..30) {
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            writer.write_record(["id", "text"]).unwrap();
            for (id, text) in texts.iter().enumerate() {
                writer.write_record([&id.to_string(), text]).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            prop_assert_eq!(read(&bytes, step, 10_000), texts);
        }
    }
}
