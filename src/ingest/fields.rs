//! Free columns → [`Document`]: which column of a JSON object, CSV row or Parquet row is the text,
//! the id, ...
//!
//! `SourceSpec.fields` names columns where a person knows them: `text = "body"`, `id = "meta.pmid"`
//! (a path into nested objects), `text = "title+abstract"` (paragraphs, in that order; those that
//! are missing are left out). What it does not name is taken from the first of the usual names
//! below, in any case. A list of strings is joined. Every other column goes into the metadata.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::ingest::{Document, Parsed, SourceSpec, marks};
use crate::text::words::is_cjk;

/// Our fields and the names they usually have, the likeliest first. `version` has none: only a
/// mapping names it.
static USUAL: &[(&str, &[&str])] = &[
    (
        "text",
        &[
            "text",
            "content",
            "contents",
            "abstract",
            "abstracts",
            "abstract_text",
            "abstracttext",
            "body",
            "body_text",
            "article",
            "document",
            "passage",
            "paragraph",
            "raw_content",
            "full_text",
            "fulltext",
            "markdown",
            "正文",
            "内容",
        ],
    ),
    ("id", &["id", "_id", "pmid", "pubmedid", "pubmed_id", "doc_id", "docid", "uid", "uuid"]),
    ("title", &["title", "article_title", "headline", "标题"]),
    ("url", &["url", "link", "source_url", "uri"]),
    (
        "date",
        &["date", "timestamp", "published", "publication_date", "pub_date", "created", "year"],
    ),
    ("language", &["language", "lang"]),
    ("licence", &["licence", "license"]),
    ("version", &[]),
];

/// Options of a source that stand among its fields.
static OPTIONS: &[&str] = &["encoding"];

/// Checks that a mapping names only fields that there are.
///
/// # Errors
/// Names the first unknown field, or an encoding that no label means.
pub fn check(fields: &BTreeMap<String, String>) -> Result<()> {
    for (name, column) in fields {
        if !USUAL.iter().any(|(field, _)| field == name) && !OPTIONS.contains(&name.as_str()) {
            let known: Vec<&str> =
                USUAL.iter().map(|(field, _)| *field).chain(OPTIONS.iter().copied()).collect();
            return Err(Error::usage(format!("`fields.{name}` is not a field")).hint(format!(
                "fields are: {}; on the left stands our name, on the right the column's",
                known.join(", ")
            )));
        }
        if name == "encoding" && encoding_rs::Encoding::for_label(column.as_bytes()).is_none() {
            return Err(Error::usage(format!(
                "`fields.encoding` is `{column}`, which is no \
                                             encoding"
            ))
            .hint(
                "labels are those of the WHATWG standard, such as `utf-8`, `gb18030`, `big5` or \
                 `windows-1252`",
            ));
        }
    }
    Ok(())
}

/// Makes a document of one object.
pub fn to_document(mut object: Map<String, Value>, source: &SourceSpec) -> Parsed {
    let mut columns = Columns::default();
    let mut find = |field: &str, between: &str| find(&object, source, field, between, &mut columns);
    let id = find("id", " ").unwrap_or_default();
    let Some(text) = find("text", "\n\n") else {
        return Parsed::Refused {
            reason: "missing_field",
            id: filled(id),
            detail: no_text_field(&object, source),
        };
    };

    let version = find("version", "").and_then(filled);
    let Some(version) = version.as_deref().map_or(Some(0), to_version) else {
        let detail = format!(
            "the version `{}` is neither a whole number nor a date",
            version.unwrap_or_default()
        );
        return Parsed::Refused { reason: "malformed", id: filled(id), detail };
    };

    let mut document = Document {
        id: filled(id),
        version,
        text,
        title: find("title", " ").and_then(filled),
        url: find("url", " ").and_then(filled),
        licence: find("licence", " ").and_then(filled),
        language: find("language", " ").and_then(filled),

        date: find("date", " ").and_then(filled),
        ..Document::default()
    };

    let is_empty = |value: &Value| value.is_null() || value.as_str().is_some_and(str::is_empty);
    object.retain(|name, value| !columns.used.contains(name) && !is_empty(value));
    document.absent = columns.absent;
    document.metadata = (!object.is_empty()).then(|| Value::Object(object).to_string());
    Parsed::Document(Box::new(document))
}

/// A version as a number: a whole number as it is, a date or time of ISO 8601 by its digits,
/// `YYYYMMDDhhmmss`.
fn to_version(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let mut parts =
        text.split(['-', 'T', ' ', ':', '.', 'Z', '+']).take(6).take_while(|part| !part.is_empty());
    let year = parts.next().filter(|year| year.len() == 4)?;
    let parts: Vec<&str> = parts.collect();
    let is_date = !parts.is_empty() && parts.iter().all(|part| part.len() == 2);
    let digits = [year].into_iter().chain(parts).collect::<String>();

    is_date.then(|| format!("{digits:0<14}").parse().ok()).flatten()
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.trim().is_empty())
}

/// What stands between what is wrong and the line to type, in the detail of a record without a
/// column of text.
pub const REMEDY: &str = "; name the column with ";

/// Most keys of a record that are told.
const MAX_KEYS: usize = 20;

fn no_text_field(object: &Map<String, Value>, source: &SourceSpec) -> String {
    let mut keys: Vec<&str> = object.keys().map(String::as_str).take(MAX_KEYS).collect();
    if object.len() > keys.len() {
        keys.push("...");
    }
    let wanted = source
        .fields
        .get("text")
        .map_or("text, content, abstract, body or the like", String::as_str);
    let mut texts = Vec::new();
    texts_in(object, "", &mut texts);
    let told = if texts.is_empty() {
        String::new()
    } else {
        format!("; {} could be text", texts.join(", "))
    };
    // A key with a `+` would be taken for two.
    texts.retain(|key| !key.contains('+'));
    let column = if texts.is_empty() { "<column>".to_string() } else { texts.join("+") };
    let setting = format!("source.{}.fields.text={}", source.name, Value::String(column));
    // As a shell reads it: nothing is special between single quotes but the quote itself.
    let line = format!("--set '{}'", setting.replace('\'', "'\\''"));
    format!("no column `{wanted}` among {}{told}{REMEDY}`{line}`", keys.join(", "))
}

/// The columns of an object that look like text, those of nested objects by their path.
fn texts_in(object: &Map<String, Value>, path: &str, texts: &mut Vec<String>) {
    for (key, value) in object {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Object(inner) => texts_in(inner, &path, texts),
            value if looks_like_text(value) => texts.push(path),
            _ => {}
        }
    }
}

/// Whether a value reads like prose: some words, or some characters of a script without spaces.
fn looks_like_text(value: &Value) -> bool {
    let text = match value {
        Value::String(text) => text.trim(),
        Value::Array(list) => return !list.is_empty() && list.iter().all(looks_like_text),
        _ => return false,
    };
    let n_words =
        text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count();
    let n_cjk = text.chars().filter(|c| is_cjk(*c)).count();
    !text.starts_with("http") && (n_words >= 3 || n_cjk >= 4)
}

/// Columns of a record.
#[derive(Default)]
struct Columns {
    /// Top-level ones that a field was read from.
    used: Vec<String>,
    /// Those that the source names and that are not there.
    absent: Vec<String>,
}

/// The text of one of our fields; `None` where no column of that name is there.
fn find(
    object: &Map<String, Value>,
    source: &SourceSpec,
    field: &str,
    between: &str,
    columns: &mut Columns,
) -> Option<String> {
    if let Some(named) = source.fields.get(field) {
        let mut parts = Vec::new();
        let mut any = false;
        // A column may have a `+` in its own name.
        let whole = object.contains_key(named).then_some(named.as_str());
        let several = named.split('+').map(str::trim).filter(|_| whole.is_none());

        for column in whole.into_iter().chain(several) {
            let Some((top, value)) = lookup(object, column) else {
                columns.absent.push(column.to_string());
                continue;
            };
            any = true;
            columns.used.push(top.to_string());
            // Of several columns, one that holds nothing adds nothing.
            let text = filled(to_text(value, between));
            parts.extend(text.filter(|text| !named.contains('+') || !marks::is_placeholder(text)));
        }

        return any.then(|| parts.join(between));
    }

    let usual = USUAL.iter().find(|(name, _)| *name == field)?.1;
    let plain = |(_, value): &(&String, &Value)| !value.is_object();
    let exact = usual.iter().find_map(|name| object.get_key_value(*name).filter(plain));
    let (name, value) = exact.or_else(|| {
        let same = |name: &str| {
            object.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).filter(plain)
        };
        usual.iter().find_map(|name| same(name))
    })?;

    columns.used.push(name.clone());
    Some(to_text(value, between))
}

/// The value at `path`, which is a column's whole name or goes down through objects and lists by
/// dots.
fn lookup<'a>(object: &'a Map<String, Value>, path: &str) -> Option<(&'a str, &'a Value)> {
    if let Some((name, value)) = object.get_key_value(path) {
        return Some((name, value));
    }
    let (first, rest) = path.split_once('.')?;
    let (top, value) = object.get_key_value(first)?;
    let step = |value: &'a Value, key: &str| match value {
        Value::Object(object) => object.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    Some((top, rest.split('.').try_fold(value, step)?))
}

fn to_text(value: &Value, between: &str) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => String::new(),
        Value::Array(list) => list
            .iter()
            .filter_map(|value| filled(to_text(value, between)))
            .collect::<Vec<_>>()
            .join(between),

        Value::Object(object) => object
            .values()
            .filter_map(|value| filled(to_text(value, between)))
            .collect::<Vec<_>>()
            .join(between),
    }
}

/// A source without any mapping, for tests of formats.
#[cfg(test)]
pub(crate) fn source(fields: &[(&str, &str)]) -> SourceSpec {
    SourceSpec {
        name: "s".into(),
        format: "jsonl".into(),
        role: "domain".into(),
        fields: fields
            .iter()
            .map(|(field, column)| (field.to_string(), column.to_string()))
            .collect(),
        ..SourceSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str, fields: &[(&str, &str)]) -> Document {
        match to_document(serde_json::from_str(json).unwrap(), &source(fields)) {
            Parsed::Document(document) => *document,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn usual_names_are_found_and_the_rest_is_metadata() {
        let found = document(
            r#"{"PMID": 12, "Title": "T", "abstract": "A", "label": 1, "none": null, "x": {"y": 2}}"#,
            &[],
        );
        assert_eq!(
            (found.id.as_deref(), found.title.as_deref(), found.text.as_str()),
            (Some("12"), Some("T"), "A")
        );
        assert_eq!(found.metadata.as_deref(), Some(r#"{"label":1,"x":{"y":2}}"#));
    }

    #[test]
    fn mappings_go_down_and_put_together() {
        let fields =
            [("text", "q+a.0+none"), ("id", "meta.id"), ("version", "meta.v"), ("title", "d.t")];
        let found = document(
            r#"{"q": "Q", "a": ["A", "B"], "meta": {"id": "i", "v": 7}, "d.t": "dotted"}"#,
            &fields,
        );
        assert_eq!(found.text, "Q\n\nA");
        assert_eq!(found.absent, ["none"]);
        assert_eq!(
            (found.id.as_deref(), found.version, found.title.as_deref()),
            (Some("i"), 7, Some("dotted"))
        );
        assert_eq!(found.metadata, None);
    }

    #[test]
    fn versions_are_numbers_or_dates() {
        let check = |version: &str, expected: Option<u64>| {
            assert_eq!(to_version(version), expected, "{version}")
        };
        check("12", Some(12));
        check("2024-03-05", Some(20_240_305_000_000));
        check("2024-03-05T06:07:08.9Z", Some(20_240_305_060_708));
        check("2024-03", Some(20_240_300_000_000));
        check("v3", None);
        check("1.5", None);
        check("-1", None);
        let object = serde_json::from_str(r#"{"text": "x", "v": "new"}"#).unwrap();
        let refused = to_document(object, &source(&[("version", "v")]));

        assert!(matches!(refused, Parsed::Refused { reason: "malformed", .. }), "{refused:?}");
    }

    #[test]
    fn a_missing_text_names_the_keys_seen() {
        let object =
            r#"{"id": 1, "question": "What melts first?", "label": "B", "answer": "锡先熔化。"}"#;
        let object = serde_json::from_str(object).unwrap();
        let Parsed::Refused { reason, id, detail } = to_document(object, &source(&[])) else {
            panic!()
        };
        assert_eq!((reason, id.as_deref()), ("missing_field", Some("1")));
        assert!(
            detail.contains("among id, question, label, answer; question, answer could be text"),
            "{detail}"
        );
        assert!(detail.ends_with("`--set 'source.s.fields.text=\"question+answer\"'`"), "{detail}");
        let object = r#"{"it's \"x\"": "one two three four", "d": {"body_x": "one two three"}, "a+b": "one two three"}"#;
        let Parsed::Refused { detail, .. } =
            to_document(serde_json::from_str(object).unwrap(), &source(&[]))
        else {
            panic!()
        };
        assert!(
            detail.ends_with(r#"`--set 'source.s.fields.text="it'\''s \"x\"+d.body_x"'`"#),
            "{detail}"
        );
        assert_eq!(document(r#"{"a+b": "x"}"#, &[("text", "a+b")]).text, "x");
        assert_eq!(document(r#"{"text": null}"#, &[]).text, "", "there, but empty: another reason");
    }

    #[test]
    fn unknown_fields_are_told() {
        assert!(
            check(&source(&[("txt", "a")]).fields)
                .unwrap_err()
                .to_string()
                .contains("fields are: text")
        );
        assert!(check(&source(&[("encoding", "klingon")]).fields).is_err());
        assert!(check(&source(&[("encoding", "big5"), ("text", "a")]).fields).is_ok());
    }
}
