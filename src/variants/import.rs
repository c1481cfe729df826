//! Variants that were made elsewhere, by a language model or by hand, read from files.
//!
//! JSON lines, plain, gzip, bzip2, xz or zstd: `parent`, the id of a document as it stands in the
//! shards, `text`, and optionally `kind`, what was done to it, in one word. They go through the
//! same gate as all others; of one whose document is not in the build, the refusals say so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::flow::books::Refusal;
use crate::rewrite::wordnet::readers::read_text;

/// What a variant is called whose file does not say what was done.
const KIND: &str = "imported";

/// A line of a file.
#[derive(Deserialize)]
struct Line {
    parent: String,
    text: String,
    #[serde(default)]
    kind: String,
}

/// A variant that was made elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it says.
    pub text: String,
    /// What was done.
    pub kind: String,
    /// The file that it stands in.
    pub file: String,
    /// Where its line begins, in bytes of the unpacked file.
    pub offset: u64,
}

/// Variants of one document.
#[derive(Debug, Default)]
struct Own {
    rows: Vec<Row>,
    /// Whether the document was met.
    is_met: AtomicBool,
}

/// All variants that were made elsewhere, in memory, by the ids of their documents.
#[derive(Debug, Default)]
pub struct Imported(BTreeMap<String, Own>);

impl Imported {
    /// Reads files.
    ///
    /// # Errors
    /// If one cannot be read, or a line is no variant; names the line.
    pub fn read(paths: &[String]) -> Result<Self> {
        let mut imported = Imported::default();
        for path in paths {
            let text = read_text(path.as_ref()).map_err(|error| {
                error.hint("`variants.import` lists files; give paths that exist")
            })?;
            let mut offset = 0;
            for (nth, line) in text.split_inclusive('\n').enumerate() {
                let begins = offset;
                offset += line.len() as u64;
                if line.trim().is_empty() {
                    continue;
                }
                let wrong = |what: &str| {
                    Error::data(format!("a line of `variants.import` is no variant: {what}"))
                        .at(format!("{path}:{}", nth + 1))
                        .hint(
                            "write {\"parent\": \"<id of a document>\", \"text\": \"...\"}, and \
                             optionally \"kind\"",
                        )
                };
                let line: Line =
                    serde_json::from_str(line).map_err(|cause| wrong(&cause.to_string()))?;
                let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '+');
                if !line.kind.chars().all(is_plain) {
                    return Err(wrong("`kind` is one word: letters, digits, `-`, `_` and `+`"));
                }
                let kind = if line.kind.is_empty() { KIND.to_string() } else { line.kind };
                let row = Row { text: line.text, kind, file: path.clone(), offset: begins };
                imported.0.entry(line.parent).or_default().rows.push(row);
            }
        }
        Ok(imported)
    }

    /// Those of a document, in the order they were read.
    pub fn of(&self, parent: &str) -> &[Row] {
        self.0.get(parent).map_or(&[], |own| &own.rows)
    }

    /// Says that a document is in the build.
    pub fn meet(&self, parent: &str) {
        if let Some(own) = self.0.get(parent) {
            own.is_met.store(true, Ordering::Relaxed);
        }
    }

    /// Those whose documents were not met.
    pub fn orphans(&self) -> Vec<Refusal> {
        let lost = self.0.iter().filter(|(_, own)| !own.is_met.load(Ordering::Relaxed));
        let all = lost.flat_map(|(parent, own)| own.rows.iter().map(move |row| (parent, row)));
        all.map(|(parent, row)| Refusal {
            source: String::new(),
            file: row.file.clone(),
            offset: row.offset,
            id: Some(parent.clone()),
            reason: "no_parent".into(),
            detail: format!("no domain document of the build is `{parent}`"),
            n_bytes: row.text.len() as u64,
            bytes: row.text.clone().into_bytes(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variants_of_their_documents() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made.jsonl");
        let path = || vec![file.display().to_string()];
        let text = "{\"parent\": \"a:1\", \"text\": \"one\", \"kind\": \"faq\"}\n\n\
                    {\"parent\": \"a:1\", \"text\": \"two\"}\n{\"parent\": \"b\", \"text\": \"x\"}";
        std::fs::write(&file, text).unwrap();
        let found = Imported::read(&path()).unwrap();
        let own: Vec<(&str, &str)> =
            found.of("a:1").iter().map(|row| (row.text.as_str(), row.kind.as_str())).collect();
        assert_eq!(own, [("one", "faq"), ("two", "imported")]);
        let second = &found.of("a:1")[1];
        assert!(
            text[second.offset as usize..].starts_with("{\"parent\": \"a:1\", \"text\": \"two")
        );
        found.meet("a:1");
        let lost: Vec<String> = found.orphans().into_iter().filter_map(|one| one.id).collect();
        assert_eq!(lost, ["b"]);

        for wrong in [
            "{\"text\": \"x\"}",
            "no json",
            "{\"parent\": \"a\", \"text\": \"b\", \"kind\": \"a b\"}",
        ] {
            std::fs::write(&file, format!("{{\"parent\": \"a\", \"text\": \"b\"}}\n{wrong}\n"))
                .unwrap();
            let error = Imported::read(&path()).unwrap_err().to_string();
            assert!(error.contains("made.jsonl:2"), "{error}");
        }
    }
}
