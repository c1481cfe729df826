//! Records that are left out by what they say of themselves: marks in the metadata, and texts that
//! hold nothing.
//!
//! A source's `drop` names marks: `retracted` leaves out every record whose metadata have that key
//! with something in it (`true`, a number other than 0, a text or list that is not empty),
//! `publication_types=Editorial` every record where it is, or lists, that value. A path goes down
//! by dots, through lists too: `mesh.name=Animals`. The columns `title`, `url`, `date`, `language`
//! and `licence` are looked at likewise. Each mark is a reason of its own in the books,
//! `dropped:retracted`; one that no record has is told.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::ingest::Document;

/// Checks that every mark names a key.
///
/// # Errors
/// If one is empty or has no key before its `=`.
pub fn check(drop: &[String]) -> Result<()> {
    match drop.iter().find(|mark| key_and_value(mark).0.is_empty()) {
        Some(mark) => {
            Err(Error::usage(format!("`drop` names the mark `{mark}`, which has no key"))
                .hint("a mark is a key of the metadata, such as `retracted`, or `key=value`"))
        }
        None => Ok(()),
    }
}

/// The first mark of `drop` that a document has, in its metadata or in a column of its own.
pub(super) fn dropped<'d>(drop: &'d [String], document: &Document) -> Option<&'d str> {
    if drop.is_empty() {
        return None;
    }
    let metadata: Option<Value> =
        document.metadata.as_deref().and_then(|json| serde_json::from_str(json).ok());
    drop.iter().map(String::as_str).find(|mark| {
        let (key, wanted) = key_and_value(mark);
        let path: Vec<&str> = key.split('.').collect();
        let column = match key {
            "title" => &document.title,
            "url" => &document.url,
            "date" => &document.date,
            "language" => &document.language,
            "licence" => &document.licence,
            _ => &None,
        };

        let in_column = column
            .as_deref()
            .is_some_and(|value| wanted.is_none_or(|wanted| wanted == value.trim()));
        in_column || metadata.as_ref().is_some_and(|metadata| has(metadata, &path, wanted))
    })
}

fn key_and_value(mark: &str) -> (&str, Option<&str>) {
    match mark.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (mark.trim(), None),
    }
}

/// Whether something at the end of `path` is `wanted`, or is set where nothing certain is wanted.
fn has(value: &Value, path: &[&str], wanted: Option<&str>) -> bool {
    if let Value::Array(list) = value {
        return list.iter().any(|value| has(value, path, wanted));
    }
    let [first, rest @ ..] = path else {
        return match wanted {
            Some(wanted) => is(value, wanted),
            None => is_set(value),
        };
    };
    value.get(first).is_some_and(|inner| has(inner, rest, wanted))
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        _ => false,
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        // CSV has no other way to say no.
        Value::String(text) => {
            !matches!(text.trim().to_lowercase().as_str(), "" | "false" | "no" | "0" | "none")
        }
        Value::Array(list) => !list.is_empty(),

        Value::Object(object) => !object.is_empty(),
    }
}

/// What stands in the place of a text that there is not, in lower case, without a full stop at its
/// end.
static PLACEHOLDERS: &[&str] = &[
    "#n/a",
    "<na>",
    "[no abstract available]",
    "[not available]",
    "\\n",
    "n.a",
    "n/a",
    "na",
    "nan",
    "nil",
    "no abstract available",
    "none",
    "not available",
    "null",
    "undefined",
    "无",
    "暂无",
    "空",
];

/// Longest of [`PLACEHOLDERS`] in bytes, with room for signs around it.
const MAX_PLACEHOLDER_BYTES: usize = 64;

/// Whether a text holds nothing: one of the usual words for that, signs alone, or characters that
/// nobody sees.
pub(super) fn is_placeholder(text: &str) -> bool {
    let is_seen = |c: char| !c.is_whitespace() && !is_invisible(c);
    let mut seen = text.chars().filter(|c| is_seen(*c));
    if seen.clone().next().is_none() {
        return true;
    }
    if text.len() > MAX_PLACEHOLDER_BYTES {
        return false;
    }
    let is_filler =
        |c| matches!(c, '-' | '–' | '—' | '.' | '…' | '_' | '?' | '*' | '/' | '|' | '。');

    if seen.all(is_filler) {
        return true;
    }
    let word: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let word = word.trim().trim_end_matches(['.', '。']).to_lowercase();
    PLACEHOLDERS.contains(&word.as_str())
}

/// Characters without a picture of their own: zero-width ones, marks of direction, fillers,
/// variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_keys_or_values() {
        let metadata = r#"{"retracted":true,"kind":"article","n":3,"none":[],"csv":"False","publication_types":["Letter","Editorial"],"mesh":[{"name":"Mice"}]}"#;
        let document = Document {
            metadata: Some(metadata.to_string()),
            language: Some("fr".to_string()),
            ..Document::default()
        };
        let check = |mark: &str, expected: bool| {
            let marks = [mark.to_string()];
            assert_eq!(dropped(&marks, &document).is_some(), expected, "{mark}");
        };

        for mark in [
            "retracted",
            "retracted=true",
            "publication_types = Editorial",
            "mesh.name=Mice",
            "n=3",
            "mesh",
        ] {
            check(mark, true);
        }

        for mark in [
            "withdrawn",
            "publication_types=Edit",
            "mesh.name=Rats",
            "none",
            "csv",
            "kind.name",
            "retracted=false",
        ] {
            check(mark, false);
        }

        check("language=fr", true);
        check("language=en", false);
        assert_eq!(dropped(&["a".into(), "n".into()], &document), Some("n"));
        assert!(self::check(&["=x".into()]).is_err() && self::check(&["a".into()]).is_ok());
    }

    #[test]
    fn placeholders_hold_nothing() {
        for text in [
            "NA",
            " n/a. ",
            "NULL",
            "None",
            "nan",
            "—",
            "...",
            "\u{200b}\u{feff}",
            "暂无。",
            "[Not Available].",
        ] {
            assert!(is_placeholder(text), "{text:?}");
        }
        for text in
            ["Na", "na 5", "Nil by mouth", "5", "!", "无罪", "e\u{301}", "None of them came."]
        {
            assert_eq!(is_placeholder(text), text == "Na", "{text:?}");
        }
    }
}
