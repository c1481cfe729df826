//! `disease_records`: Chinese records of diseases, as medical graphs are made of: JSON lines
//! (`medical.json` of QASystemOnMedicalKG) or a table with a header line.
//!
//! A record names a disease, and beside it symptoms, complications, drugs, examinations,
//! departments, parts of the body, treatments and food: each becomes a concept of its kind, and a
//! named link. Names are their own ids, as in [`super::words`], so that a word list of the same
//! graph adds nothing twice. Lists are JSON lists, or stand in a field, separated by spaces or
//! marks; `[详细]` ("more") behind them is left out, and a name that the page cut off (`…`) is
//! counted.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::Path;

use super::open::{has_objects_with, read_objects, strings};
use super::{Concept, Entry, Found, Link, Reader, read_text};
use crate::error::Result;

/// Reader of records of diseases.
pub(super) struct DiseaseRecords;

/// What a field holds: how its names stand to the disease, and what they are.
struct Field {
    names: &'static [&'static str],
    relation: &'static str,
    kind: &'static str,
}

static FIELDS: &[Field] = &[
    Field { names: &["symptom"], relation: "has_symptom", kind: "symptom" },
    Field { names: &["complication", "acompany"], relation: "has_complication", kind: "disease" },
    Field {
        names: &["drug", "common_drug", "recommand_drug"],
        relation: "treated_by",
        kind: "drug",
    },
    Field { names: &["treatment", "cure_way"], relation: "treated_by", kind: "treatment" },
    Field { names: &["checklist", "check"], relation: "examined_by", kind: "examination" },
    Field { names: &["department", "cure_department"], relation: "treated_in", kind: "department" },
    Field { names: &["part"], relation: "located_in", kind: "body part" },
    Field { names: &["do_eat", "recommand_eat"], relation: "helped_by", kind: "food" },
    Field { names: &["not_eat"], relation: "harmed_by", kind: "food" },
];

/// Fields of which one must be there beside `name`, so that other tables are none of these.
static SIGNS: &[&str] = &["symptom", "acompany", "complication", "cure_department"];

/// "More", a link of the page that a record was taken from.
const MORE: &str = "[详细]";

fn header(head: &str) -> Option<Vec<&str>> {
    let columns: Vec<&str> = head.lines().next()?.split(',').map(str::trim).collect();
    (columns.contains(&"name") && SIGNS.iter().any(|sign| columns.contains(sign)))
        .then_some(columns)
}

impl Reader for DiseaseRecords {
    fn name(&self) -> &'static str {
        "disease_records"
    }

    fn about(&self) -> &'static str {
        "Chinese records of diseases with symptoms, drugs and more: JSON lines or CSV"
    }

    fn recognises(&self, head: &str) -> bool {
        header(head).is_some()
            || (has_objects_with(head, &["name"]) && has_objects_with(head, SIGNS))
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let mut records = Records { known: HashSet::new() };
        let mut input = input;
        let begins_with_object =
            input.fill_buf().is_ok_and(|bytes| bytes.trim_ascii_start().starts_with(b"{"));
        if begins_with_object {
            return read_objects(&mut input, file, found, &mut |object, found| {
                records.push(&|key| strings(&object, key), found);
            });
        }

        let text = read_text(&mut input, file)?;
        let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let columns: Vec<String> = rows
            .headers()
            .map(|header| header.iter().map(|column| column.trim().to_string()).collect())
            .unwrap_or_default();
        for row in rows.records() {
            let Ok(row) = row else {
                found.refuse("malformed");
                continue;
            };
            let field = |key: &str| -> Vec<String> {
                let at = columns.iter().position(|column| column == key);
                at.and_then(|at| row.get(at)).into_iter().map(str::to_string).collect()
            };
            records.push(&field, found);
        }
        Ok(())
    }
}

/// Records that become concepts.
struct Records {
    /// Names beside diseases that are concepts already.
    known: HashSet<String>,
}

impl Records {
    /// Adds a record, whose fields `field` gives.
    fn push(&mut self, field: &dyn Fn(&str) -> Vec<String>, found: &mut Found) {
        let name = field("name").concat().trim().to_string();
        let mut concept = of(&name, "disease");
        concept.synonyms = field("alias").iter().flat_map(|list| items(list)).collect();
        for Field { names, relation, kind } in FIELDS {
            for list in names.iter().flat_map(|name| field(name)) {
                for item in items(&list) {
                    if item.ends_with("..") || item.ends_with('…') {
                        found.refuse("cut_name");
                        continue;
                    }
                    concept.links.push(Link::named(relation, item.clone()));
                    if self.known.insert(item.clone()) {
                        let concept = of(&item, kind);
                        found.push(Entry { concept, ..Entry::default() });
                    }
                }
            }
        }
        found.push(Entry { concept, ..Entry::default() });
    }
}

fn of(name: &str, kind: &str) -> Concept {
    Concept {
        id: name.to_string(),
        name: name.to_string(),
        kind: kind.to_string(),
        language: Some("zh".to_string()),
        ..Concept::default()
    }
}

/// The names of a list.
fn items(list: &str) -> Vec<String> {
    let is_between = |c: char| c.is_whitespace() || matches!(c, '、' | '，' | ',' | '；' | ';');
    let list = list.replace(MORE, " ");
    let items = list.split(is_between).filter(|item| !item.is_empty() && *item != "无");
    items.map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
    use super::*;

    fn read(text: &str) -> (Lexicon, Found) {
        assert!(DiseaseRecords.recognises(text), "{text}");
        let mut found = Found::default();
        DiseaseRecords.read(&mut text.as_bytes(), Path::new("medical"), &mut found).unwrap();
        (Lexicon::build(found.entries.clone()), found)
    }

    fn named(lexicon: &Lexicon, id: &str) -> Vec<String> {
        let of = |(link, to): (&Link, u32)| {
            let to = &lexicon.concepts[to as usize];
            format!("{} {} ({})", link.name, to.name, to.kind)
        };
        lexicon.links(lexicon.find(id).unwrap()).map(of).collect()
    }

    #[test]
    fn a_record_of_json_is_a_disease_with_what_it_is_linked_to() {
        let text = r#"{"_id": {"$oid": "5"}, "name": "甲肺炎", "symptom": ["干咳", "发热"], "acompany": ["乙心病"], "recommand_drug": ["丙胶囊"], "do_eat": ["梨"], "desc": "一种病"}
{"name": "乙心病", "symptom": ["发热"], "cure_department": ["内科", "心内科"]}
{"symptom": ["无名"]}
"#;
        let (lexicon, found) = read(text);
        assert_eq!(found.refused["no_id"], 1);
        assert_eq!(
            named(&lexicon, "甲肺炎"),
            [
                "has_complication 乙心病 (disease)",
                "has_symptom 发热 (symptom)",
                "has_symptom 干咳 (symptom)",
                "helped_by 梨 (food)",
                "treated_by 丙胶囊 (drug)",
            ]
        );
        assert_eq!(named(&lexicon, "乙心病").len(), 3);
    }

    #[test]
    fn a_table_gives_the_same() {
        let text = "name,alias,part,symptom,complication,drug,money\n\
                    甲肺炎,甲型肺病，甲肺,肺,干咳 发热 [详细],乙心病 [详细],丙胶囊 注射用丁... [详细],十元\n";
        let (lexicon, found) = read(text);
        assert_eq!(found.refused["cut_name"], 1);
        let disease = &lexicon.concepts[lexicon.find("甲肺炎").unwrap() as usize];
        assert_eq!(disease.synonyms, ["甲型肺病", "甲肺"]);
        assert_eq!(
            named(&lexicon, "甲肺炎"),
            [
                "has_complication 乙心病 (disease)",
                "has_symptom 发热 (symptom)",
                "has_symptom 干咳 (symptom)",
                "located_in 肺 (body part)",
                "treated_by 丙胶囊 (drug)",
            ]
        );
    }
}
