//! JSON objects: one a line, one after the other over several lines, or the elements of an array.
//!
//! A line that is broken is one refusal and reading goes on at the next: a string cannot hold a
//! line feed, and a `{` at the beginning of a line where no value may stand begins a new object.
//! `NaN` and `Infinity`, as Python writes them, are `null`; numbers keep their digits
//! (`ingest/lenient.rs`). Columns are found by [`fields`].

use std::io::BufRead;

use memchr::memchr3;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::flow::books::KEPT_BYTES;
use crate::ingest::window::Window;
use crate::ingest::{
    Broken, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, fields, lenient,
};

/// See the module.
#[derive(Debug)]
pub struct Jsonl;

impl Format for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn has_columns(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "JSON objects, one document each: one a line, one after the other, or an array"
    }

    fn endings(&self) -> &'static [&'static str] {
        &[".jsonl", ".ndjson", ".json"]
    }

    fn resembles(&self, head: &[u8]) -> bool {
        let head = head.trim_ascii_start();
        head.starts_with(b"{\"") || head.starts_with(b"[{") || head.starts_with(b"{\n")
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>> {
        let max = limits.max_record_bytes;
        Cutter {
            window: Window::new(input),
            max,
            in_array: false,
            any: false,
            by_line: false,
            facts: FileFacts::default(),
        }
        .run(emit)
    }

    fn parse(&self, raw: &Raw, _: &FileFacts, source: &SourceSpec) -> Vec<Parsed> {
        let json = lenient::strict(&raw.bytes);
        match serde_json::from_slice::<Value>(&json) {
            Ok(Value::Object(object)) => vec![fields::to_document(object, source)],
            Ok(other) => vec![not_an_object(&other)],
            Err(cause) => several(&json, source).unwrap_or_else(|| {
                vec![Parsed::Refused { reason: "malformed", id: None, detail: cause.to_string() }]
            }),
        }
    }
}

fn not_an_object(value: &Value) -> Parsed {
    let kind = match value {
        Value::Array(_) => "a list",
        Value::String(_) => "a string",
        _ => "a bare value",
    };
    Parsed::Refused {
        reason: "missing_field",
        id: None,
        detail: format!("{kind} where an object should stand"),
    }
}

/// Several objects on one line.
fn several(bytes: &[u8], source: &SourceSpec) -> Option<Vec<Parsed>> {
    let objects = serde_json::Deserializer::from_slice(bytes).into_iter::<Map<String, Value>>();
    let objects: Vec<_> = objects.collect::<std::result::Result<_, _>>().ok()?;
    Some(objects.into_iter().map(|object| fields::to_document(object, source)).collect())
}

/// Hands on every line of a file as a record.
pub(super) fn lines(window: Window<'_>, max: usize, emit: Emit<'_>) -> Result<Option<Broken>> {
    Cutter { window, max, in_array: false, any: false, by_line: true, facts: FileFacts::default() }
        .run(emit)
}

struct Cutter<'a> {
    window: Window<'a>,
    max: usize,
    /// Inside of the file's array.
    in_array: bool,
    /// There was a record.
    any: bool,
    /// An object over several lines turned out to be broken: from here on every line is a record.
    by_line: bool,
    facts: FileFacts,
}

impl Cutter<'_> {
    fn run(&mut self, emit: Emit<'_>) -> Result<Option<Broken>> {
        loop {
            self.window.skip_any(if self.in_array { b" \t\r\n\x1e," } else { b" \t\r\n\x1e" });
            let Some(first) = self.window.data().first().copied() else { break };
            // Behind a record a `[` is no array of all the others, but a line of its own.
            if self.in_array && first == b']'
                || !self.in_array && !self.by_line && !self.any && first == b'['
            {
                self.in_array = first == b'[';
                self.window.skip(1);
                continue;
            }
            let piece = if self.in_array || (first == b'{' && !self.by_line) {
                self.value()
            } else {
                self.line()
            };
            match piece {
                Ok(Some(piece)) => {
                    self.any |= !self.in_array;
                    if !emit(&self.facts, piece)? {
                        return Ok(None);
                    }
                }
                Ok(None) => {}
                Err(broken) => return Ok(Some(broken)),
            }
        }
        Ok(match self.window.failure() {
            Some(failure) => Some(self.window.broken("truncated", failure, 0)),
            None if self.in_array => {
                Some(self.window.broken("truncated", "the file ends inside its array", 0))
            }
            None => None,
        })
    }

    /// Takes a line, whatever it is.
    fn line(&mut self) -> std::result::Result<Option<Piece>, Broken> {
        let Some(n) = self.window.line(self.max) else {
            let refused =
                self.window.broken("too_large", format!("more than {} bytes", self.max), self.max);
            self.window.skip_line();
            return Ok(Some(Piece::Refused(refused)));
        };

        if let Some(failure) = self.window.failure()
            && self.window.data().len() == n
        {
            return Err(self.window.broken("truncated", failure, n));
        }
        Ok(Some(Piece::Record(self.window.take(n))))
    }

    /// Takes a value; `None` where it is broken and reading goes on by line.
    fn value(&mut self) -> std::result::Result<Option<Piece>, Broken> {
        let mut scan = Scan::new(self.in_array);
        loop {
            let seen = self.window.data().len().min(self.max);
            match scan.on(&self.window.data()[..seen]) {
                Step::End(0) => return Ok(Some(Piece::Record(self.window.take(1)))),
                Step::End(n) => return Ok(Some(Piece::Record(self.window.take(n)))),
                // Inside an array there is no reading on by line: the value is refused and the next
                // one is looked for.
                Step::Broken(n, _)
                    if !self.in_array
                        && memchr::memmem::find(
                            &self.window.data()[..n.saturating_sub(1)],
                            b"\n{",
                        )
                        .is_some() =>
                {
                    self.by_line = true;
                    return Ok(None);
                }

                Step::Broken(n, what) => {
                    let n = n.max(1);
                    let refused = self.window.broken("malformed", what, n);
                    self.window.skip(n);
                    return Ok(Some(Piece::Refused(refused)));
                }

                Step::More
                    if seen == self.max
                        && (self.window.data().len() > seen || self.window.more()) =>
                {
                    return Ok(self.too_large(scan));
                }

                Step::More if self.window.more() => {}
                Step::More => return self.unfinished(&scan),
            }
        }
    }

    /// The file ends inside a value.
    fn unfinished(&mut self, scan: &Scan) -> std::result::Result<Option<Piece>, Broken> {
        let all = self.window.data().len();
        if let Some(failure) = self.window.failure() {
            return Err(self.window.broken("truncated", failure, all));
        }
        if self.in_array && scan.open.is_empty() {
            return Ok(Some(Piece::Record(self.window.take(all))));
        }

        if !self.in_array && self.holds_another_object() {
            self.by_line = true;
            return Ok(None);
        }

        Err(self.window.broken("truncated", "the file ends inside a value", all))
    }

    /// Whether a later line of what was read begins with an object.
    fn holds_another_object(&self) -> bool {
        let seen = &self.window.data()[..self.window.data().len().min(self.max)];
        memchr::memmem::find(seen, b"\n{").is_some()
    }

    /// Goes over a value that is larger than allowed, or goes on by line if it may be several.
    fn too_large(&mut self, mut scan: Scan) -> Option<Piece> {
        if !self.in_array && self.holds_another_object() {
            self.by_line = true;
            return None;
        }

        let mut refused =
            self.window.broken("too_large", format!("more than {} bytes", self.max), self.max);
        refused.bytes.truncate(KEPT_BYTES);
        self.window.skip(scan.at);

        loop {
            scan.at = 0;
            match scan.on(self.window.data()) {
                Step::End(n) | Step::Broken(n, _) => {
                    self.window.skip(n);
                    return Some(Piece::Refused(refused));
                }
                Step::More => {
                    self.window.skip(scan.at);
                    if !self.window.more() {
                        return Some(Piece::Refused(refused));
                    }
                }
            }
        }
    }
}

enum Step {
    /// The value ends behind these bytes.
    End(usize),
    /// It is broken, and reading goes on behind these bytes.
    Broken(usize, &'static str),
    /// Its end was not seen yet.
    More,
}

/// Brackets that are kept one by one. A value that nests deeper than a hundred levels cannot be
/// parsed anyway, and a gigabyte of `[` must not become a gigabyte of brackets.
const MAX_DEPTH: usize = 4_096;

/// Looks for the end of a value; goes on where it stopped when there is more.
struct Scan {
    in_array: bool,
    at: usize,
    in_string: bool,
    /// The next byte of the string is escaped.
    escaped: bool,
    /// Brackets that are open, and how many more inside of [`MAX_DEPTH`] of them.
    open: Vec<u8>,
    deeper: u64,
    /// The last byte outside of white space.
    last: u8,
    line_begins: bool,
}

impl Scan {
    fn new(in_array: bool) -> Self {
        let open = Vec::new();
        Scan {
            in_array,
            at: 0,
            in_string: false,
            escaped: false,
            open,
            deeper: 0,
            last: 0,
            line_begins: false,
        }
    }

    fn on(&mut self, bytes: &[u8]) -> Step {
        while self.at < bytes.len() {
            let step = if self.in_string { self.string(bytes) } else { self.structure(bytes) };
            if let Some(step) = step {
                return step;
            }
        }
        Step::More
    }

    fn string(&mut self, bytes: &[u8]) -> Option<Step> {
        if self.escaped {
            self.escaped = false;
            self.at += 1;
            return None;
        }

        let Some(found) = memchr3(b'"', b'\\', b'\n', &bytes[self.at..]) else {
            self.at = bytes.len();
            return None;
        };
        self.at += found + 1;

        match bytes[self.at - 1] {
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                self.last = b'"';
            }
            _ => return Some(Step::Broken(self.at, "a line ends inside a string")),
        }

        None
    }

    fn structure(&mut self, bytes: &[u8]) -> Option<Step> {
        let byte = bytes[self.at];
        let line_begins = std::mem::replace(&mut self.line_begins, byte == b'\n');

        match byte {
            b'{' if line_begins && !self.in_array && !self.value_may_stand() => {
                return Some(Step::Broken(self.at, "an object begins where none may stand"));
            }
            b'{' | b'[' if self.open.len() < MAX_DEPTH => self.open.push(byte),
            b'{' | b'[' => self.deeper += 1,
            b'"' => self.in_string = true,
            b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
            b'}' | b']' => {
                if self.open.pop().is_none() {
                    return Some(Step::End(self.at));
                }
                if self.open.is_empty() {
                    return Some(Step::End(self.at + 1));
                }
            }

            b',' if self.open.is_empty() => return Some(Step::End(self.at)),
            _ => {}
        }

        if !byte.is_ascii_whitespace() {
            self.last = byte;
        }
        self.at += 1;
        None
    }

    fn value_may_stand(&self) -> bool {
        self.last == b':' || (self.open.last() == Some(&b'[') && matches!(self.last, b'[' | b','))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::window::split_all;
    use proptest::prelude::*;

    /// What becomes of a file: texts of documents, `!reason` of refusals, `?reason` where it broke.
    fn read(bytes: &[u8], step: usize, max: usize) -> Vec<String> {
        let (pieces, broken, facts) = split_all(&Jsonl, bytes, step, max, false);
        let mut seen = Vec::new();

        for piece in &pieces {
            match piece {
                Piece::Refused(refused) => seen.push(format!("!{}", refused.reason)),
                Piece::Record(raw) => {
                    assert!(bytes[raw.offset as usize..].starts_with(&raw.bytes));
                    seen.extend(Jsonl.parse(raw, &facts, &fields::source(&[])).into_iter().map(
                        |parsed| match parsed {
                            Parsed::Document(document) => document.text,
                            Parsed::Refused { reason, .. } | Parsed::Empty { reason, .. } => {
                                format!("!{reason}")
                            }
                            Parsed::Withdraws(_) => unreachable!(),
                        },
                    ));
                }
            }
        }

        seen.extend(broken.map(|broken| format!("?{}", broken.reason)));
        seen
    }

    fn check(text: &str, expected: &[&str]) {
        for step in [1, 5, 1000] {
            assert_eq!(read(text.as_bytes(), step, 60), expected, "{text:?} by {step}");
        }
    }

    #[test]
    fn lines_arrays_and_objects_one_after_the_other() {
        check("{\"text\":\"a\"}\n{\"text\":\"b\"}\r\n\n{\"text\":\"c\"}", &["a", "b", "c"]);
        check("[{\"text\":\"a\"}, {\"text\":\"}]\\\"\"}\n]", &["a", "}]\""]);
        check(
            "{\n  \"text\":\n{\"x\": [\n{}]},\n \"body\": \"a\"\n}\n{\"text\":\"b\"}{\"text\":\"c\"}",
            &["a", "b", "c"],
        );
        check("[]\n[{\"text\":\"a\"}][{\"text\":\"b\"}]", &["a", "b"]);
        check("", &[]);
    }

    #[test]
    fn a_broken_line_costs_itself() {
        check("{\"text\":\"a\"}\n[[[[\n{\"text\":\"b\"}\n", &["a", "!malformed", "b"]);
        check("{\"text\":\"a\"}\n{\"text\":\"b\n{\"text\":\"c\"}\n", &["a", "!malformed", "c"]);
        check("{\"text\":\"a\"\n{\"text\":\"b\"}\n", &["!malformed", "b"]);
        check("{\"text\":\"a\",\n{\"text\":\"b\"}\n", &["!malformed", "b"]);
        check("{\"x\":[1,\n{\"text\":\"b\"}\n{\"text\":\"c\"}", &["!malformed", "b", "c"]);
        check(
            "{\"text\":\"a\"}}\ngarbage\n{\"text\":\"b\"}",
            &["a", "!malformed", "!malformed", "b"],
        );
        check("[{\"text\":\"a}\n,{\"text\":\"b\"}]", &["!malformed", "b"]);
        check("[{\"a\":1,\n{\"b\":\"x\n\"}]", &["!malformed", "!malformed", "?truncated"]);
        check(
            "[1, \"x\", [2], {\"text\":\"a\"}]",
            &["!missing_field", "!missing_field", "!missing_field", "a"],
        );
        check("{\"title\":\"a\"}", &["!missing_field"]);
    }

    #[test]
    fn cut_files_break_and_large_records_are_skipped() {
        check("{\"text\":\"a\"}\n{\"text\":\"b", &["a", "?truncated"]);
        check("[{\"text\":\"a\"},", &["a", "?truncated"]);
        let long = "x".repeat(100);
        check(&format!("{{\"text\":\"{long}\"}}\n{{\"text\":\"b\"}}"), &["!too_large", "b"]);
        check(&format!("[{{\"text\":\"{long}\"}},{{\"text\":\"b\"}}]"), &["!too_large", "b"]);
        check(&format!("{long}\n{{\"text\":\"b\"}}"), &["!too_large", "b"]);
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(text in "[\\[\\]{},:\"\\\\\na1 \
                                             ]{0,60}", step in 1_usize..9, max in 5_usize..40) {
            let whole = split_all(&Jsonl, text.as_bytes(), 1000, max, false);
            prop_assert_eq!(split_all(&Jsonl, text.as_bytes(), step, max, false), whole);
        }

        #[test]
        fn well_formed_lines_are_all_read(texts in proptest::collection::vec("[ -~中\n]{1,20}",
            0..9), pretty: bool, step in 1_usize..30) {
            let row = |text: &String| serde_json::json!({"n": [1, {"x": text}], "text": text});
            let rows: Vec<Value> = texts.iter().map(row).collect();
            let write = |value: &Value| {
                if pretty { format!("{value:#}") } else { value.to_string() }
            };

            let lines: Vec<String> = rows.iter().map(write).collect();
            prop_assert_eq!(&read(lines.join("\n").as_bytes(), step, 10_000), &texts);
            let array = write(&Value::Array(rows));
            prop_assert_eq!(&read(array.as_bytes(), step, 10_000), &texts);
        }
    }

    /// The verdict is the first letter of the name: y is JSON, n is not, i may be either.
    #[test]
    fn the_json_test_suite_ends_in_records_and_refusals() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let mut seen = 0;

        for entry in
            std::fs::read_dir(std::path::Path::new(&data).join("nasty-inputs/json")).unwrap()
        {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            let found = read(&bytes, 7, 1 << 20);
            assert_eq!(found, read(&bytes, 1 << 20, 1 << 20), "{name}");
            if name.starts_with('y') {
                assert!(
                    !found.iter().any(|row| row == "!malformed" || row == "?truncated"),
                    "{name} {found:?}"
                );
            }
            seen += 1;
        }

        assert!(seen > 200);
    }
}
