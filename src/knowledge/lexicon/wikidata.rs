//! `wikidata`: items of Wikidata as JSON, a line each (a dump, or a part of one).
//!
//! Labels and aliases in English and Chinese are names, others are left out. `instance of` and
//! `subclass of` give parents; statements of medicine give named links, and identifiers of other
//! vocabularies cross-references. Deprecated statements are left out. An item without a label in
//! either language is counted.

use std::io::BufRead;
use std::path::Path;

use serde_json::{Map, Value};

use super::open::{has_objects_with, read_objects};
use super::{Concept, Entry, Found, Link, Reader};
use crate::error::Result;

/// Reader of Wikidata's items.
pub(super) struct Wikidata;

/// Languages of names, the preferred first; Wikidata has Chinese in several.
static LANGUAGES: &[&str] = &["en", "mul", "zh-hans", "zh-cn", "zh", "zh-hant", "zh-tw", "zh-hk"];

/// Properties whose items are more general.
static PARENTS: &[&str] = &["P31", "P279"];

/// Properties that link to another item, by what they are called.
static LINKS: &[(&str, &str)] = &[
    ("P129", "interacts_with"),
    ("P361", "part_of"),
    ("P527", "has_part"),
    ("P689", "afflicts"),
    ("P769", "significant_drug_interaction"),
    ("P780", "symptoms"),
    ("P828", "has_cause"),
    ("P923", "medical_examination"),
    ("P924", "possible_treatment"),
    ("P927", "anatomical_location"),
    ("P1060", "transmission"),
    ("P1542", "has_effect"),
    ("P1995", "health_specialty"),
    ("P2175", "treats"),
    ("P2176", "treated_by"),
    ("P2293", "genetic_association"),
    ("P3780", "active_ingredient_in"),
    ("P3781", "has_active_ingredient"),
    ("P5642", "risk_factor"),
];

/// Properties that hold ids of other vocabularies: MeSH, GO, DOID, DrugBank, UMLS and HPO.
static IDENTIFIERS: &[&str] = &["P486", "P686", "P699", DRUGBANK, "P2892", "P3841"];

/// DrugBank's ids, which are given without their letters too.
const DRUGBANK: &str = "P715";

/// Places in MeSH's tree.
const TREES: &str = "P672";

impl Reader for Wikidata {
    fn name(&self) -> &'static str {
        "wikidata"
    }

    fn about(&self) -> &'static str {
        "items of Wikidata as JSON, a line each"
    }

    fn recognises(&self, head: &str) -> bool {
        has_objects_with(head, &["labels", "claims"])
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        read_objects(input, file, found, &mut |object, found| found.push(entry(&object)))
    }
}

fn entry(item: &Map<String, Value>) -> Entry {
    let of = |key: &str| item.get(key).and_then(Value::as_object);
    let (labels, aliases) = (of("labels"), of("aliases"));
    let text = |value: &Value| value.get("value").and_then(Value::as_str).map(str::to_string);
    let mut names: Vec<String> = Vec::new();
    let mut language = None;
    for code in LANGUAGES {
        let label = labels.and_then(|labels| labels.get(*code)).and_then(text);
        if label.is_some() && language.is_none() {
            language = code.split('-').next().filter(|code| *code != "mul").map(str::to_string);
        }
        names.extend(label);
    }
    for code in LANGUAGES {
        let others = aliases.and_then(|aliases| aliases.get(*code)).and_then(Value::as_array);
        names.extend(others.into_iter().flatten().filter_map(text));
    }

    let mut links = Vec::new();
    for property in PARENTS {
        links.extend(items(item, property).map(Link::parent));
    }
    for (property, name) in LINKS {
        links.extend(items(item, property).map(|to| Link::named(name, to)));
    }
    for property in IDENTIFIERS {
        let bare = |id: &str| *property == DRUGBANK && id.starts_with(|c: char| c.is_ascii_digit());
        let id = |id: &str| if bare(id) { format!("DB{id}") } else { id.to_string() };
        links.extend(strings(item, property).map(|text| Link::same(id(text))));
    }

    let mut names = names.into_iter();
    let concept = Concept {
        id: item.get("id").and_then(Value::as_str).unwrap_or("").to_string(),
        name: names.next().unwrap_or_default(),
        synonyms: names.collect(),
        language,
        links,
        ..Concept::default()
    };
    let trees = strings(item, TREES).map(str::to_string).collect();
    Entry { concept, trees, ..Entry::default() }
}

/// The values of a property, of statements that are not deprecated.
fn values<'a>(item: &'a Map<String, Value>, property: &str) -> impl Iterator<Item = &'a Value> {
    let statements = item.get("claims").and_then(|claims| claims.get(property));
    let statements = statements.and_then(Value::as_array).into_iter().flatten();
    statements
        .filter(|statement| statement.get("rank").and_then(Value::as_str) != Some("deprecated"))
        .filter_map(|statement| statement.pointer("/mainsnak/datavalue/value"))
}

fn items<'a>(item: &'a Map<String, Value>, property: &str) -> impl Iterator<Item = &'a str> {
    values(item, property).filter_map(|value| value.get("id").and_then(Value::as_str))
}

fn strings<'a>(item: &'a Map<String, Value>, property: &str) -> impl Iterator<Item = &'a str> {
    values(item, property).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
    use super::*;

    fn statement(value: &Value, rank: &str) -> Value {
        serde_json::json!({"mainsnak": {"snaktype": "value", "datavalue": {"value": value}},
            "rank": rank, "type": "statement"})
    }

    #[test]
    fn items_become_linked_concepts() {
        let item = |id: &str| serde_json::json!({"entity-type": "item", "id": id});
        let drug = serde_json::json!({"type": "item", "id": "Q1",
            "labels": {"zh-hans": {"language": "zh-hans", "value": "二甲双胍"},
                "en": {"language": "en", "value": "metformin"},
                "fr": {"language": "fr", "value": "metformine"}},
            "aliases": {"en": [{"language": "en", "value": "Glucophage"}]},
            "claims": {"P2175": [statement(&item("Q2"), "normal"), statement(&item("Q3"), "deprecated")],
                "P715": [statement(&"00331".into(), "normal")],
                "P279": [statement(&item("Q9"), "normal")],
                "P18": [statement(&"picture.jpg".into(), "normal")]}});
        let disease = serde_json::json!({"type": "item", "id": "Q2",
            "labels": {"zh": {"language": "zh", "value": "糖尿病"}}, "claims": {}});
        let other = serde_json::json!({"type": "item", "id": "Q3", "labels": {}, "claims": {}});
        let text = format!("[\n{drug},\n{disease},\n{other}\n]\n");
        assert!(Wikidata.recognises(&text));
        let mut found = Found::default();
        Wikidata.read(&mut text.as_bytes(), Path::new("items.json"), &mut found).unwrap();
        assert_eq!(found.refused["no_name"], 1);

        let lexicon = Lexicon::build(found.entries);
        let concept = &lexicon.concepts[0];
        assert_eq!((concept.name.as_str(), concept.language.as_deref()), ("metformin", Some("en")));
        assert_eq!(concept.synonyms, ["二甲双胍", "Glucophage"]);
        assert!(concept.links.contains(&Link::same("DB00331")));
        let (link, to) = lexicon.links(0).next().unwrap();
        assert_eq!((link.name.as_ref(), to), ("treats", 1));
        assert_eq!(lexicon.concepts[1].language.as_deref(), Some("zh"));
    }
}
