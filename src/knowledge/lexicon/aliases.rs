//! `aliases`: a JSON object of id → list of names; the first name is the preferred one.

use std::io::BufRead;
use std::path::Path;

use super::{Concept, Entry, Found, Reader, read_text};
use crate::error::{Error, Result};

/// Reader of JSON objects of names.
pub(super) struct Aliases;

impl Reader for Aliases {
    fn name(&self) -> &'static str {
        "aliases"
    }

    fn about(&self) -> &'static str {
        "JSON object of id = list of names"
    }

    fn recognises(&self, head: &str) -> bool {
        head.trim_start().starts_with('{')
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
            .map_err(|cause| {
                Error::data(format!("`{}` is no JSON object: {cause}", file.display()))
                    .at(format!("line {}", cause.line()))
                    .hint("it must look like {\"DB00945\": [\"Aspirin\", \"ASA\"], ...}")
            })?;

        for (id, names) in object {
            let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
            let mut names = names.iter().filter_map(|name| name.as_str().map(str::to_string));
            let name = names.next().unwrap_or_default();
            let concept = Concept { id, name, synonyms: names.collect(), ..Concept::default() };
            found.push(Entry { concept, ..Entry::default() });
        }

        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_is_preferred() {
        let mut found = Found::default();
        let text = r#"{"B": ["Aspirin", "ASA"], "A": [], "C": 7}"#;
        Aliases.read(&mut text.as_bytes(), Path::new("x.json"), &mut found).unwrap();
        assert_eq!(found.entries[0].concept.synonyms, ["ASA"]);
        assert_eq!((found.entries.len(), found.refused["no_name"]), (1, 2));
        let error = Aliases
            .read(&mut &b"{\"a\":\n[}"[..], Path::new("x.json"), &mut found)
            .unwrap_err()
            .to_string();

        assert!(error.contains("line 2"), "{error}");
    }
}
