//! `jsonl`: concepts of one's own, a JSON object a line.
//!
//! `id` and `name` must be there; `type` or `kind`, `synonyms` or `aliases`, `language`, `parents`,
//! `same` (ids in other vocabularies) and `links` may be. A link is an id, an id with its relation
//! before it (`treats:D003924`), or an object of `relation` and `to`. Objects of one id are one
//! concept.

use std::io::BufRead;
use std::path::Path;

use serde_json::{Map, Value};

use super::open::{has_objects_with, read_objects, strings};
use super::same::own_id;
use super::{Concept, Entry, Found, Link, Reader};
use crate::error::Result;

/// Reader of concepts as JSON lines.
pub(super) struct Jsonl;

impl Reader for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn about(&self) -> &'static str {
        "JSON lines with id, name and optionally type, synonyms, language, links, parents, same"
    }

    fn recognises(&self, head: &str) -> bool {
        has_objects_with(head, &["id"]) && has_objects_with(head, &["name"])
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        read_objects(input, file, found, &mut |object, found| found.push(entry(&object)))
    }
}

fn entry(object: &Map<String, Value>) -> Entry {
    let text = |keys: &[&str]| {
        let one = keys.iter().find_map(|key| object.get(*key));
        match one {
            Some(Value::String(text)) => text.trim().to_string(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    };
    let lists = |keys: &[&str]| keys.iter().flat_map(|key| strings(object, key)).collect();
    let language = Some(text(&["language", "lang"])).filter(|language| !language.is_empty());

    let mut links: Vec<Link> = strings(object, "parents").into_iter().map(Link::parent).collect();
    links.extend(strings(object, "same").iter().map(|id| Link::same(own_id(id))));
    links.extend(strings(object, "links").into_iter().map(Link::related));
    let stated = object.get("links").and_then(Value::as_array).into_iter().flatten();
    links.extend(stated.filter_map(|link| {
        let text = |key| link.get(key).and_then(Value::as_str);
        Some(match text("relation").unwrap_or("") {
            "is_a" | "parent" => Link::parent(text("to")?),
            relation => Link::named(relation, text("to")?),
        })
    }));

    let concept = Concept {
        id: text(&["id"]),
        kind: text(&["type", "kind"]),
        name: text(&["name"]),
        synonyms: lists(&["synonyms", "aliases"]),
        language,
        links,
        ..Concept::default()
    };
    Entry { concept, ..Entry::default() }
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
    use super::*;

    #[test]
    fn objects_become_linked_concepts() {
        let text = r#"{"id": "A1", "name": "aspirin", "type": "drug", "synonyms": ["ASA"], "language": "en", "links": ["treats:A2", {"relation": "causes", "to": "A3"}], "same": ["DrugBank:DB00945"]}
{"id": "A2", "name": "fever", "parents": ["A3"]}
{"id": 7, "name": "bleeding", "kind": "disease"}

{"id": "A3", "name": "symptom"}
{"id": "A4"}
[1]
{"id":
"#;
        assert!(Jsonl.recognises(text) && !Jsonl.recognises("{\"a\": [\"b\"]}"));
        let mut found = Found::default();
        Jsonl.read(&mut text.as_bytes(), Path::new("own.jsonl"), &mut found).unwrap();
        assert_eq!((found.refused["no_name"], found.refused["malformed"]), (1, 2));
        let lexicon = Lexicon::build(found.entries);
        let (aspirin, fever) = (lexicon.find("A1").unwrap(), lexicon.find("A2").unwrap());
        let concept = &lexicon.concepts[aspirin as usize];
        assert_eq!((concept.kind.as_str(), concept.language.as_deref()), ("drug", Some("en")));
        let links: Vec<(&str, u32)> =
            lexicon.links(aspirin).map(|(link, to)| (link.name.as_ref(), to)).collect();
        let symptom = lexicon.find("A3").unwrap();
        assert_eq!(links, [("causes", symptom), ("treats", fever)]);
        assert_eq!(lexicon.parents(fever), [symptom]);
        assert_eq!(lexicon.concepts[lexicon.find("7").unwrap() as usize].kind, "disease");
    }
}
