//! CSV and TSV with a header (RFC 4180): quoted fields may hold separators, quotes and line feeds.
//!
//! The separator is what a first line `sep=;` says, else the one of `,` `;` tab `|` that the header
//! holds most often. Columns are found by [`fields`]. A row with more or fewer fields than the
//! header is refused as `malformed`.
//!
//! A field that begins with a quote is quoted if its closing quote stands before a separator, a
//! line end or the end of the file, and every quote inside is doubled. Otherwise it was never
//! quoted, and its row ends with the line it begins on: in CSV such a row is refused as
//! `malformed`; in TSV, which mostly knows no quoting, it is read as it stands. In TSV a quoted
//! field may hold tabs or line feeds, but not both: that is a lone quote with the rows behind it.

use std::io::BufRead;

use memchr::{memchr, memchr2, memchr3};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::ingest::window::Window;
use crate::ingest::{
    Broken, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, fields,
};

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
        "a table with a header, one document a row; any separator"
    }

    fn endings(&self) -> &'static [&'static str] {
        &[".csv", ".tsv"]
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>> {
        let (mut window, mut facts) = (Window::new(input), FileFacts::default());
        window.skip_any(b"\r\n");
        let (mut separator, mut any) = (said_separator(&mut window), false);

        loop {
            window.skip_any(b"\r\n");
            if window.data().is_empty() {
                let broken = window.failure().map(|failure| window.broken("truncated", failure, 0));
                let only_header = broken.is_none() && !any && !facts.0.is_empty();
                return Ok(broken.or_else(|| {
                    only_header.then(|| Broken::new(0, "no_text", "the header is all there is"))
                }));
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
        let malformed =
            |detail: String| vec![Parsed::Refused { reason: "malformed", id: None, detail }];
        let header = facts
            .0
            .get("header")
            .and_then(|header| serde_json::from_str::<Vec<String>>(header).ok());
        let separator = facts.0.get("separator").and_then(|separator| separator.bytes().next());
        let (Some(header), Some(separator)) = (header, separator) else {
            return malformed("the file has no header".to_string());
        };
        let row = to_fields(&raw.bytes, separator);

        if row.len() != header.len() {
            return malformed(format!(
                "{} fields where the header has {}",
                row.len(),
                header.len()
            ));
        }

        let filled = header
            .into_iter()
            .zip(row)
            .filter(|(name, value)| !(name.is_empty() && value.is_empty()));
        vec![fields::to_document(
            filled.map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>(),
            source,
        )]
    }
}

/// The separator that a line `sep=;`, as Excel writes it, names; the line is taken.
fn said_separator(window: &mut Window<'_>) -> Option<u8> {
    let head = window.peek(16);
    let line = &head[..memchr2(b'\n', b'\r', head)?];
    let said = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let n = line.len();

    match said {
        [s, e, p, b'=', separator] if [*s, *e, *p].eq_ignore_ascii_case(b"sep") => {
            let separator = *separator;
            window.skip(n);
            Some(separator)
        }
        _ => None,
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
    let mut names: Vec<String> = Vec::new();

    for name in to_fields(&raw.bytes, separator) {
        let name = name.trim();
        let n_before = names.iter().filter(|other| *other == name).count();
        // A column whose name stands there already must not take its place.
        names.push(if n_before > 0 && !name.is_empty() {
            format!("{name}.{}", n_before + 1)
        } else {
            name.to_string()
        });
    }

    let has_names = names.iter().any(|name| !name.is_empty());
    let json = serde_json::to_string(&names).ok().filter(|_| has_names);
    let Some(json) = json else {
        return Err(Broken {
            bytes: raw.bytes,
            ..Broken::new(raw.offset, "wrong_format", "the header has no names")
        });
    };

    Ok(FileFacts(
        [
            ("header".to_string(), json),
            ("separator".to_string(), char::from(separator).to_string()),
        ]
        .into(),
    ))
}

/// The fields of a row.
fn to_fields(row: &[u8], separator: u8) -> Vec<String> {
    let end = row.len() - row.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let row = &row[..end];
    let (mut fields, mut at) = (Vec::new(), 0);

    loop {
        let field = &row[at..];
        let (text, length) = match field
            .first()
            .filter(|byte| **byte == b'"')
            .and_then(|_| quoted(field, separator))
        {
            Some(length) => {
                (String::from_utf8_lossy(&field[1..length - 1]).replace("\"\"", "\""), length)
            }
            None => {
                let length = memchr(separator, field).unwrap_or(field.len());
                (String::from_utf8_lossy(&field[..length]).into_owned(), length)
            }
        };
        fields.push(text);
        at += length + 1;
        if at > row.len() {
            return fields;
        }
    }
}

/// Length of the quoted field that a row, whole and without its line end, goes on with; `None`
/// where it is not quoted.
fn quoted(field: &[u8], separator: u8) -> Option<usize> {
    let mut quotes = Quotes { at: 1, field: 0, quoted: true, ..Quotes::default() };
    match quotes.close(field, separator) {
        Close::At(end) => Some(end),
        // The last byte of the row closes it.
        Close::Unseen if quotes.closes_at_end(field) => Some(field.len()),
        _ => None,
    }
}

/// Takes the next row, which begins here; see the module for quotes that do not close.
fn next_row(
    window: &mut Window<'_>,
    separator: u8,
    max: usize,
) -> std::result::Result<Piece, Broken> {
    let mut quotes = Quotes::default();
    loop {
        let seen = window.data().len().min(max);
        match quotes.on(&window.data()[..seen], separator) {
            Step::End(n) => return Ok(Piece::Record(window.take(n))),
            Step::Never => return Ok(never_quoted(window, &quotes, separator, max)),
            Step::Unseen => {}
        }
        if seen == max && (window.data().len() > seen || window.more()) {
            let open = quotes.quoted
                && memchr2(b'\n', b'\r', &window.data()[quotes.field..seen]).is_some();
            return Ok(if open {
                never_quoted(window, &quotes, separator, max)
            } else {
                too_large(window, max)
            });
        }
        if window.data().len() > seen || window.more() {
            continue;
        }
        if let Some(failure) = window.failure() {
            return Err(window.broken("truncated", failure, seen));
        }
        return Ok(if quotes.quoted && !quotes.closes_at_end(window.data()) {
            never_quoted(window, &quotes, separator, max)
        } else {
            Piece::Record(window.take(seen))
        });
    }
}

/// Ends a row at the line of its field that begins with a quote and is not quoted.
fn never_quoted(window: &mut Window<'_>, quotes: &Quotes, separator: u8, max: usize) -> Piece {
    let n = loop {
        let seen = &window.data()[quotes.field..];
        if let Some(end) = memchr2(b'\n', b'\r', seen) {
            break quotes.field + end + 1;
        }
        if window.data().len() > max || !window.more() {
            break window.data().len();
        }
    };

    if n > max {
        return too_large(window, max);
    }
    if separator == b'\t' {
        return Piece::Record(window.take(n));
    }
    let refused =
        window.broken("malformed", "a quote opens a field of this line and does not close it", n);
    window.skip(n);
    Piece::Refused(refused)
}

fn too_large(window: &mut Window<'_>, max: usize) -> Piece {
    let refused = window.broken("too_large", format!("more than {max} bytes"), max);
    window.skip_line();
    Piece::Refused(refused)
}

/// What is known of the end of a row.
enum Step {
    /// It ends behind these bytes, its line end included.
    End(usize),
    /// The field that begins last has a quote that does not close as it must.
    Never,
    /// It was not seen yet.
    Unseen,
}

/// What is known of the end of a quoted field.
enum Close {
    /// Its closing quote stands right before this place.
    At(usize),
    /// It does not close.
    Never,
    /// It was not seen yet.
    Unseen,
}

/// Looks for the end of a row; goes on where it stopped when there is more.
#[derive(Default)]
struct Quotes {
    at: usize,
    /// Where the field at hand begins.
    field: usize,
    /// Inside a quoted field.
    quoted: bool,
    /// What the quoted field holds.
    has_tab: bool,
    has_line_feed: bool,
}

impl Quotes {
    /// Looks on.
    fn on(&mut self, bytes: &[u8], separator: u8) -> Step {
        while self.at < bytes.len() {
            if self.quoted {
                match self.close(bytes, separator) {
                    Close::At(end) => (self.at, self.quoted) = (end, false),
                    Close::Never => return Step::Never,
                    Close::Unseen => return Step::Unseen,
                }
            } else if self.at == self.field && bytes[self.at] == b'"' {
                (self.quoted, self.has_tab, self.has_line_feed) = (true, false, false);
                self.at += 1;
            } else {
                let Some(found) = memchr3(separator, b'\n', b'\r', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    return Step::Unseen;
                };
                self.at += found + 1;
                self.field = self.at;
                if bytes[self.at - 1] != separator {
                    return Step::End(self.at);
                }
            }
        }
        Step::Unseen
    }

    /// Looks for the quote that closes the field.
    fn close(&mut self, bytes: &[u8], separator: u8) -> Close {
        loop {
            let quote = memchr(b'"', &bytes[self.at..]).map_or(bytes.len(), |at| self.at + at);
            let inside = &bytes[self.at..quote];
            if separator == b'\t' {
                self.has_tab |= memchr(b'\t', inside).is_some();
                self.has_line_feed |= memchr2(b'\n', b'\r', inside).is_some();
                if self.has_tab && self.has_line_feed {
                    return Close::Never;
                }
            }
            self.at = quote;
            // Two quotes are one quote inside the field; whether this is the first of two needs one
            // byte more.
            match bytes.get(quote + 1) {
                None => return Close::Unseen,
                Some(b'"') => self.at += 2,
                Some(next) if *next == separator || matches!(next, b'\n' | b'\r') => {
                    return Close::At(quote + 1);
                }
                Some(_) => return Close::Never,
            }
        }
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
                Piece::Record(raw) => {
                    match Csv.parse(raw, &facts, &fields::source(&[])).remove(0) {
                        Parsed::Document(document) => document.text,
                        Parsed::Refused { reason, .. } | Parsed::Empty { reason, .. } => {
                            format!("!{reason}")
                        }
                        Parsed::Withdraws(_) => unreachable!(),
                    }
                }
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
        check("sep=;\nid;text\n1;a,b\n", &["a,b"]);
        check("\"SEP=\t\"\r\nid,x\ttext\r\n1\ta\r\n", &["a"]);
    }

    #[test]
    fn a_lone_quote_swallows_no_row() {
        check("id,text\n1,\"a\n2,b \"c\" d\n3,e\n", &["!malformed", "b \"c\" d", "e"]);
        check("id,text\n1,\"a\"b\n2,\"c\"\n", &["!malformed", "c"]);
        check("id,text\n\"1\n2\",\"a\" b\n3,c\n", &["!malformed", "c"]);
        check("id,text\n1,\"a\", \"b\"\n2,c\n", &["!malformed", "c"]);
        // What nothing contradicts is a field of several lines.
        check("id,text\n1,\"a\n2,b\"\n3,c\n", &["a\n2,b", "c"]);
    }

    #[test]
    fn quotes_of_tsv_are_characters_where_they_do_not_close() {
        let rows = "id\ttext\n1\t\"a\n2\tb \"c\" d\n3\t\"e\", f\n4\tpipe \
                    5\"\n5\t\"g \"\"h\"\"\"\n6\t\"i\nj\"\n";
        check(rows, &["\"a", "b \"c\" d", "\"e\", f", "pipe 5\"", "g \"h\"", "i\nj"]);
        check("id\ttext\n1\t\"a\n2\tb\"\n", &["\"a", "b\""]);
        check("id\ttext\n1\t\"a\n", &["\"a"]);
    }

    #[test]
    fn a_name_that_stands_twice_takes_no_place() {
        check("text,text\na,b\n", &["a"]);
    }

    /// What Python makes of CSV files, read strictly: the rows up to its end or its first error,
    /// and whether there was one. Blank lines are left out.
    const PYTHON: &str = "
import csv, io, json, sys
results = []
for text in json.load(sys.stdin):
    rows, failed = [], False
    try:
        for row in csv.reader(io.StringIO(text, newline=''), strict=True):
            if row:
                rows.append(row)
    except csv.Error:
        failed = True
    results.append([rows, failed])
json.dump(results, sys.stdout)
";

    /// Our rows, up to the first that is refused, and whether there was one.
    fn rows(text: &str) -> (Vec<Vec<String>>, bool) {
        let mut input = std::io::BufReader::with_capacity(7, text.as_bytes());
        let mut window = Window::new(&mut input);
        let mut rows = Vec::new();

        loop {
            window.skip_any(b"\r\n");
            if window.data().is_empty() {
                return (rows, false);
            }
            match next_row(&mut window, b',', 10_000) {
                Ok(Piece::Record(raw)) => rows.push(to_fields(&raw.bytes, b',')),
                _ => return (rows, true),
            }
        }
    }

    /// Any file, whole or broken, is read as Python's module reads it; where there is no Python,
    /// nothing is compared.
    #[test]
    fn rows_are_those_of_python() {
        use proptest::strategy::ValueTree;
        use proptest::test_runner::TestRunner;
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut runner = TestRunner::deterministic();
        let field = "[ab ]{0,3}|\"([ab,\n]|\"\"){0,5}\"|\"[ab,\n]{0,4}|[ab]{1,2}\"[ab]{0,2}|\"a\"b";
        let files = proptest::collection::vec(proptest::collection::vec(field, 1..4), 1..5);
        let files: Vec<String> = (0..3_000)
            .map(|_| files.new_tree(&mut runner).unwrap().current())
            .map(|rows| rows.iter().map(|row| row.join(",")).collect::<Vec<_>>().join("\n"))
            .collect();
        let python = Command::new("python3")
            .args(["-c", PYTHON])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut python) = python else { return };
        let json = serde_json::to_vec(&files).unwrap();
        let mut stdin = python.stdin.take().unwrap();
        let giving = std::thread::spawn(move || stdin.write_all(&json).unwrap());
        let output = python.wait_with_output().unwrap();
        giving.join().unwrap();
        let expected: Vec<(Vec<Vec<String>>, bool)> =
            serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            expected.iter().filter(|(_, failed)| *failed).count() > 300
                && expected.len() == files.len()
        );

        for (text, (expected, failed)) in files.iter().zip(expected) {
            assert_eq!(rows(text), (expected, failed), "{text:?}");
        }
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
        fn written_rows_are_read_back(texts in proptest::collection::vec("[ -~\n\r中]{0,12}x", 1..9),
            step in 1_usize..30) {
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
