//! What wikiextractor writes: `<doc id="12" url="..." title="...">`, plain text, `</doc>`.
//!
//! Its JSON output, an object with `id`, `url`, `title` and `text` a line, is read as well. The
//! first line of a block repeats the title and is left out. Version 3 escapes `&`, `<` and `>` in
//! texts, the ones before did not. How often a block is escaped shows in the line that repeats its
//! title, or else in whether every `&` begins such an entity; it is read that often and no more, so
//! text that says `&nbsp;` itself comes out as it was. Brackets whose words the tool lost, `()` and
//! `(, )`, go. A block that another one begins inside of is refused as `malformed`; text between
//! blocks as well.

use std::borrow::Cow;
use std::io::BufRead;

use memchr::memmem;

use crate::error::Result;
use crate::ingest::formats::jsonl::{self, Jsonl};
use crate::ingest::window::{Window, as_text};
use crate::ingest::{
    Broken, Document, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, wikitext,
};

/// See the module.
#[derive(Debug)]
pub struct Wikiextractor;

const BEGIN: &[u8] = b"<doc ";
const END: &[u8] = b"</doc>";

impl Format for Wikiextractor {
    fn name(&self) -> &'static str {
        "wikiextractor"
    }

    fn about(&self) -> &'static str {
        "what wikiextractor writes: its `<doc>` blocks, and its JSON lines"
    }

    fn recognises(&self, head: &[u8]) -> Option<usize> {
        let has = |sign: &str| memmem::find(head, sign.as_bytes()).is_some();
        let begins = head.trim_ascii_start().starts_with(b"{\"id\": \"");
        let is_json = begins && has("\"revid\": \"") && has("curid=") && has("\"title\": ");
        if is_json { Some(0) } else { memmem::find(head, b"<doc id=") }
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>> {
        let (mut window, facts, max) =
            (Window::new(input), FileFacts::default(), limits.max_record_bytes);
        let mut any = false;
        window.skip_any(b" \t\r\n");
        if window.peek(1) == b"{" {
            return jsonl::lines(window, max, emit);
        }

        loop {
            window.skip_any(b" \t\r\n");
            if window.data().is_empty() {
                return Ok(window.failure().map(|failure| window.broken("truncated", failure, 0)));
            }
            let is_block = window.peek(BEGIN.len()) == BEGIN;
            if !any && !is_block {
                window.peek(1024);
                return Ok(Some(window.broken(
                    "wrong_format",
                    "the file does not begin with `<doc `",
                    1024,
                )));
            }
            any = true;
            let (n, whole) = match next_line_with(&mut window, is_block, max) {
                Found::Inside(n) => (n, is_block),
                Found::TooLarge => {
                    let refused = window.broken("too_large", format!("more than {max} bytes"), max);
                    skip_block(&mut window);
                    if !emit(&facts, Piece::Refused(refused))? {
                        return Ok(None);
                    }
                    continue;
                }

                Found::End(n) => {
                    let detail =
                        window.failure().unwrap_or("the file ends inside a block").to_string();
                    return Ok(Some(window.broken("truncated", detail, n)));
                }
                Found::Unclosed(n) => (n, false),
            };
            let piece = if whole {
                Piece::Record(window.take(n))
            } else {
                let what =
                    if is_block { "the block is not closed" } else { "text outside of any block" };
                let refused = window.broken("malformed", what, n);
                window.skip(n);
                Piece::Refused(refused)
            };
            if !emit(&facts, piece)? {
                return Ok(None);
            }
        }
    }

    fn parse(&self, raw: &Raw, facts: &FileFacts, source: &SourceSpec) -> Vec<Parsed> {
        if raw.bytes.starts_with(b"{") {
            return Jsonl.parse(raw, facts, source).into_iter().map(mended).collect();
        }
        let text = as_text(&raw.bytes);
        let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
        let (head, body) = match head.split_once("\">") {
            Some((head, rest)) if !rest.trim().is_empty() => {
                (head, &text[text.len() - rest.len() - body.len() - 1..])
            }
            _ => (head, body),
        };

        let body = body.trim_end().strip_suffix("</doc>").unwrap_or(body);
        let title = attribute(head, "title");
        let body = read(body, title.as_deref());

        if body.trim().is_empty() {
            let detail = format!("the block of `{}` is empty", title.unwrap_or_default());
            return vec![Parsed::Refused { reason: "no_text", id: attribute(head, "id"), detail }];
        }

        vec![Parsed::Document(Box::new(Document {
            id: attribute(head, "id"),
            text: body,
            title,
            url: attribute(head, "url"),
            ..Document::default()
        }))]
    }
}

/// A record of the JSON output with its text read as that of a block.
fn mended(parsed: Parsed) -> Parsed {
    let Parsed::Document(mut document) = parsed else { return parsed };
    document.title = document.title.map(|title| wikitext::decode_entities(&title).into_owned());
    document.text = read(&document.text, document.title.as_deref());
    Parsed::Document(document)
}

/// The text of a block: unescaped, without the line that repeats the title and without empty
/// brackets.
fn read(body: &str, title: Option<&str>) -> String {
    let body = unescaped(body, n_escaped(body, title));
    let body = title.map_or(&*body, |title| without_title(&body, title));
    without_empty_brackets(body).into_owned()
}

enum Found {
    /// The block, or the text between blocks, ends behind these bytes.
    Inside(usize),
    /// Another block begins behind these bytes.
    Unclosed(usize),
    /// The stream ends behind these bytes.
    End(usize),
    TooLarge,
}

/// Looks line by line for the end of what begins here.
fn next_line_with(window: &mut Window<'_>, is_block: bool, max: usize) -> Found {
    let mut line = 0;
    loop {
        let Some(end) = memchr::memchr(b'\n', &window.data()[line..]).map(|at| line + at + 1)
        else {
            if line.max(window.data().len()) > max {
                return Found::TooLarge;
            }
            if window.more() {
                continue;
            }
            let all = window.data().len();
            return match window.data()[line..].trim_ascii_end().ends_with(END)
                && window.failure().is_none()
            {
                true if is_block => Found::Inside(all),
                _ if !is_block && window.failure().is_none() => Found::Unclosed(all),
                _ => Found::End(all),
            };
        };
        let bytes = &window.data()[line..end];
        if end > max {
            return Found::TooLarge;
        }
        if line > 0 && bytes.starts_with(BEGIN) {
            return Found::Unclosed(line);
        }
        if is_block && bytes.trim_ascii_end().ends_with(END) {
            return Found::Inside(end);
        }
        line = end;
    }
}

/// Leaves out lines up to and with the end of the block.
fn skip_block(window: &mut Window<'_>) {
    loop {
        let line = window.line(1 << 20).unwrap_or(0);
        let ends = window.data()[..line].trim_ascii_end().ends_with(END);
        window.skip_line();
        if ends || (window.data().is_empty() && !window.more()) || window.peek(BEGIN.len()) == BEGIN
        {
            return;
        }
    }
}

/// The text behind the line that repeats the title.
fn without_title<'a>(body: &'a str, title: &str) -> &'a str {
    let start = body.trim_start();
    match start.split_once('\n') {
        Some((first, rest)) if first.trim() == title.trim() => rest,
        None if start.trim() == title.trim() => "",
        _ => body,
    }
}

/// How often the tool escaped a block.
fn n_escaped(body: &str, title: Option<&str>) -> usize {
    let first = body.trim_start().lines().next().unwrap_or("").trim();
    let told = title.filter(|title| title.contains(['&', '<', '>']));
    if let Some(n) = told.and_then(|title| (0..=2).find(|n| unescaped(first, *n) == title.trim())) {
        return n;
    }
    const ESCAPED: [&str; 3] = ["&amp;", "&lt;", "&gt;"];
    let is_escaped = |at: usize| ESCAPED.iter().any(|entity| body[at..].starts_with(entity));
    let has_mark = memchr::memchr2(b'<', b'>', body.as_bytes()).is_some();

    usize::from(!has_mark && memchr::memchr_iter(b'&', body.as_bytes()).all(is_escaped))
}

/// A text read `n` times.
fn unescaped(text: &str, n: usize) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..n {
        if memchr::memchr(b'&', text.as_bytes()).is_some() {
            text = Cow::Owned(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
        }
    }
    text
}

/// Without brackets that hold nothing but separators, and the space before them; a call such as
/// `f()` stays.
fn without_empty_brackets(text: &str) -> Cow<'_, str> {
    let is_left_over = |c: char| {
        c.is_whitespace() && c != '\n' || matches!(c, ',' | ';' | ':' | '、' | '，' | '；' | '：')
    };
    let mut out = String::new();
    let mut copied = 0;

    for (open, bracket) in text.match_indices(['(', '（']) {
        let inside = &text[open + bracket.len()..];
        let close = if bracket == "(" { ')' } else { '）' };
        let Some(behind) = inside.trim_start_matches(is_left_over).strip_prefix(close) else {
            continue;
        };
        let before = text[..open].chars().next_back();
        let is_call = bracket == "("
            && inside.starts_with(')')
            && before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');

        if is_call || open < copied {
            continue;
        }
        out.push_str(text[copied..open].trim_end_matches(' '));
        copied = text.len() - behind.len();
        // At the start of a line the space behind goes instead.
        if out.is_empty() || out.ends_with('\n') {
            copied += behind.len() - behind.trim_start_matches(' ').len();
        }
    }

    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// An attribute of the block's head; titles may hold quotes, so it ends where the next attribute or
/// the head does.
fn attribute(head: &str, name: &str) -> Option<String> {
    let from = memmem::find(head.as_bytes(), format!(" {name}=\"").as_bytes())? + name.len() + 3;
    let rest = &head[from..];
    let ends = ["\" id=\"", "\" url=\"", "\" title=\"", "\" revid=\""];
    let end = ends.iter().filter_map(|end| rest.find(end)).min();
    let value = match end {
        Some(end) => &rest[..end],
        None => rest.trim_end().trim_end_matches('>').trim_end_matches('"'),
    };
    let plain = wikitext::decode_entities(value).into_owned();

    Some(plain).filter(|plain| !plain.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::fields::source;
    use crate::ingest::window::split_all;
    use proptest::prelude::*;

    const FILE: &str = "<doc id=\"12\" url=\"https://x.org/wiki?curid=12\" title=\"The \"A\" &amp; \
                        B\">\nThe \"A\" & B\n\nFirst.\nSecond.\n\n</doc>\n<doc id=\"13\" url=\"u\" \
                        title=\"Empty\">\nEmpty\n</doc>\n<doc id=\"14\" url=\"u\" \
                        title=\"T\">\nOpen\n<doc id=\"15\" url=\"u\" \
                        title=\"Last\">\nLast\n\nEnd.\n</doc>";

    fn parse(piece: &Piece) -> Option<Parsed> {
        let Piece::Record(raw) = piece else { return None };
        Some(Wikiextractor.parse(raw, &FileFacts::default(), &source(&[])).remove(0))
    }

    #[test]
    fn blocks_become_documents() {
        let (pieces, broken, _) = split_all(&Wikiextractor, FILE.as_bytes(), 10, 1000, false);
        assert_eq!((pieces.len(), broken), (4, None));
        let Some(Parsed::Document(first)) = parse(&pieces[0]) else { panic!("{pieces:?}") };
        assert_eq!(
            (first.id.as_deref(), first.title.as_deref()),
            (Some("12"), Some("The \"A\" & B"))
        );
        assert_eq!((first.text.trim(), first.url.unwrap().len()), ("First.\nSecond.", 27));
        assert!(matches!(parse(&pieces[1]), Some(Parsed::Refused { reason: "no_text", .. })));
        assert!(matches!(&pieces[2], Piece::Refused(refused) if refused.reason == "malformed"));
        let Some(Parsed::Document(last)) = parse(&pieces[3]) else { panic!("{pieces:?}") };

        assert_eq!(last.text.trim(), "End.");
    }

    #[test]
    fn its_json_is_read_like_its_blocks() {
        let file = "{\"id\": \"12\", \"revid\": \"7\", \"url\": \"https://x.org/wiki?curid=12\", \"title\": \"Salt &amp; Rye\", \"text\": \"Salt &amp; Rye\\n\\nA mill (, ) where a &lt; b.\"}\n{\"id\": broken\n";
        let (pieces, broken, _) = split_all(&Wikiextractor, file.as_bytes(), 10, 1000, false);
        assert_eq!((pieces.len(), broken), (2, None));
        let Some(Parsed::Document(document)) = parse(&pieces[0]) else { panic!("{pieces:?}") };
        assert_eq!(
            (document.id.as_deref(), document.title.as_deref()),
            (Some("12"), Some("Salt & Rye"))
        );
        assert_eq!(
            (document.text.trim(), document.metadata.as_deref()),
            ("A mill where a < b.", Some("{\"revid\":\"7\"}"))
        );
        assert!(matches!(parse(&pieces[1]), Some(Parsed::Refused { reason: "malformed", .. })));
    }

    #[test]
    fn texts_are_read_once_and_mended() {
        let check = |title: &str, body: &str, expected: &str| {
            let block = format!("<doc id=\"1\" url=\"u\" title=\"{title}\">\n{body}\n</doc>");
            let raw = Raw { offset: 0, bytes: block.into_bytes() };
            let Parsed::Document(document) =
                Wikiextractor.parse(&raw, &FileFacts::default(), &source(&[])).remove(0)
            else {
                panic!("{title}")
            };
            assert_eq!(document.text.trim(), expected);
        };

        check(
            "A &amp; B",
            "A &amp; B\n\nR&amp;D where a &lt; b, &amp;lt; too.",
            "R&D where a < b, &lt; too.",
        );
        check("A &amp;amp; B", "A &amp; B\n\nR&amp;D writes &amp;nbsp;.", "R&D writes &nbsp;.");
        check("A &amp;amp; B", "A &amp;amp; B\n\nR&amp;amp;D.", "R&D.");
        check("A &amp; B", "A & B\n\nR&D, no &amp; here.", "R&D, no &amp; here.");
        check("T", "T\n\nR&D where a &lt; b and c < d.", "R&D where a &lt; b and c < d.");
        check(
            "T",
            "T\n\nTin (, ) is ( ; ) a metal () for f() and g(x).\n() Lead（、）is.",
            "Tin is a metal for f() and g(x).\nLeadis.",
        );
    }

    #[test]
    fn other_files_and_cut_files_are_told() {
        let (pieces, broken, _) = split_all(&Wikiextractor, b"plain text\n", 10, 1000, false);
        assert!(pieces.is_empty() && broken.unwrap().reason == "wrong_format");

        for fails in [true, false] {
            let (pieces, broken, _) =
                split_all(&Wikiextractor, &FILE.as_bytes()[..60], 10, 1000, fails);
            assert!(pieces.is_empty() && broken.unwrap().reason == "truncated");
        }

        let (pieces, _, _) = split_all(&Wikiextractor, FILE.as_bytes(), 10, 60, false);
        assert!(matches!(&pieces[0], Piece::Refused(refused) if refused.reason == "too_large"));
        assert_eq!(pieces.len(), 4);
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(lines in proptest::collection::vec("<doc id=\"1\">|</doc>|text|", 0..12), step in 1_usize..20, max in 10_usize..60) {
            let bytes = lines.join("\n").into_bytes();
            let whole = split_all(&Wikiextractor, &bytes, 10_000, max, false);
            prop_assert_eq!(split_all(&Wikiextractor, &bytes, step, max, false), whole);
        }
    }
}
