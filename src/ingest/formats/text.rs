//! One document a file: `.txt`, `.md` and whatever else is text.
//!
//! Files named `.md` or `.markdown` are read as Markdown (`ingest/markdown.rs`) and others kept as
//! they are. The title is the heading that Markdown begins with, or a first line `# ...`, else the
//! file's name without its endings. A file with nothing in it is refused as `no_text`.

use std::io::BufRead;
use std::path::Path;

use crate::error::Result;
use crate::files::expand::without_packing;
use crate::ingest::window::{Window, as_text};
use crate::ingest::{
    Broken, Document, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec, markdown,
};

/// See the module.
#[derive(Debug)]
pub struct Text;

impl Format for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn about(&self) -> &'static str {
        "one document a file; `.md` as Markdown, without its marks"
    }

    fn endings(&self) -> &'static [&'static str] {
        &[".txt", ".md", ".markdown"]
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>> {
        let mut window = Window::new(input);
        let n = window.peek(limits.max_record_bytes + 1).len();
        if let Some(failure) = window.failure() {
            return Ok(Some(window.broken("truncated", failure, n)));
        }
        let facts = FileFacts::default();

        if n > limits.max_record_bytes {
            let detail = format!("more than {} bytes", limits.max_record_bytes);
            emit(&facts, Piece::Refused(window.broken("too_large", detail, n)))?;
        } else {
            emit(&facts, Piece::Record(window.take(n)))?;
        }

        Ok(None)
    }

    fn parse(&self, raw: &Raw, facts: &FileFacts, _: &SourceSpec) -> Vec<Parsed> {
        let refused = |reason, detail: &str| {
            vec![Parsed::Refused { reason, id: None, detail: detail.to_string() }]
        };
        if raw.bytes.iter().filter(|byte| **byte == 0).count() * 100 > raw.bytes.len() {
            return refused(
                "wrong_format",
                "more than one byte in a hundred is zero: this is no text",
            );
        }

        let text = as_text(&raw.bytes).into_owned();
        if text.trim().is_empty() {
            return refused("no_text", "the file is empty");
        }
        let file = facts.0.get("file").map_or("", String::as_str);
        let (title, text) = if is_markdown(file) {
            let markdown::Plain { title, text } = markdown::plain(&text);
            (title, text)
        } else {
            (heading(&text), text)
        };

        let title = title.or_else(|| stem(file));
        vec![Parsed::Document(Box::new(Document { title, text, ..Document::default() }))]
    }
}

/// The heading that a Markdown text begins with.
fn heading(text: &str) -> Option<String> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let rest = first.trim_start_matches('#');
    let level = first.len() - rest.len();
    let title = rest.trim().trim_end_matches('#').trim_end();
    ((1..=6).contains(&level) && rest.starts_with(' ') && !title.is_empty())
        .then(|| title.to_string())
}

/// A file's name without its folders, its ending and that of its packing.
fn stem(file: &str) -> Option<String> {
    Some(unpacked(file)?.file_stem()?.to_str()?.to_string())
}

fn is_markdown(file: &str) -> bool {
    let ending = unpacked(file).and_then(Path::extension).and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| {
        ending.eq_ignore_ascii_case("md") || ending.eq_ignore_ascii_case("markdown")
    })
}

/// A file's name without its folders and the ending of its packing.
fn unpacked(file: &str) -> Option<&Path> {
    let name = Path::new(file).file_name()?.to_str()?;
    Some(Path::new(without_packing(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::fields::source;
    use crate::ingest::window::split_all;

    fn parse(text: &str) -> Parsed {
        parse_as("a/b.v2.txt.gz", text)
    }

    fn parse_as(file: &str, text: &str) -> Parsed {
        let (pieces, broken, mut facts) = split_all(&Text, text.as_bytes(), 3, 1000, false);
        assert_eq!((pieces.len(), broken), (1, None));
        facts.0.insert("file".into(), file.into());
        let Piece::Record(raw) = &pieces[0] else { panic!() };
        Text.parse(raw, &facts, &source(&[])).remove(0)
    }

    fn title(text: &str) -> String {
        let Parsed::Document(document) = parse(text) else { panic!() };
        document.title.unwrap()
    }

    #[test]
    fn titles_are_headings_or_names() {
        assert_eq!(title("\n# Civil *Code* ##\n\nBook one"), "Civil *Code*");
        assert_eq!(title("#hashtag first"), "b.v2");
        assert_eq!(title("plain\n# later"), "b.v2");
    }

    #[test]
    fn markdown_is_read_by_the_name_of_its_file() {
        for (file, expected) in [
            ("x/rules.MD.gz", "Rules\n\nA bold rule."),
            ("rules.markdown", "Rules\n\nA bold rule."),
            ("rules.txt", "# Rules\n\nA **bold** rule.<!-- x -->"),
        ] {
            let Parsed::Document(document) =
                parse_as(file, "# Rules\n\nA **bold** rule.<!-- x -->")
            else {
                panic!()
            };
            assert_eq!(
                (document.title.as_deref(), document.text.as_str()),
                (Some("Rules"), expected),
                "{file}"
            );
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (text, expected) in [("", "no_text"), (" \n\t", "no_text"), ("\0\0ELF", "wrong_format")]
        {
            let Parsed::Refused { reason, .. } = parse(text) else { panic!("{text:?}") };
            assert_eq!(reason, expected);
        }
    }

    #[test]
    fn a_damaged_or_huge_file_is_one_refusal() {
        let (pieces, broken, _) = split_all(&Text, b"half a te", 4, 1000, true);
        assert!(pieces.is_empty() && broken.unwrap().bytes == b"half a te");
        let (pieces, broken, _) = split_all(&Text, &[b'x'; 50], 4, 49, false);
        assert!(
            matches!(&pieces[0], Piece::Refused(refused) if refused.reason == "too_large")
                && broken.is_none()
        );
    }
}
