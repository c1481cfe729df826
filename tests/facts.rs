//! Rows made of the knowledge graph: facts and passages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{Array, AsArray};
use kpipe::flow::settings::Settings;
use kpipe::knowledge::lexicon::{Lexicon, LexiconSpec, Relation};
use kpipe::knowledge::mentions::Finder;

use crate::support::{fail, manifest, rows, same_bytes, strings, succeed};

fn build(out: &Path, more: &[&str]) {
    let args = [
        "build",
        "--source",
        "wiki,pubmed",
        "--out",
        out.to_str().unwrap(),
        "--set",
        "negatives.per_document=0",
    ];
    succeed(&[&args, more].concat());
}

/// A row of the training order.
struct Row {
    id: String,
    text: String,
    variant: String,
    parent: String,
    licence: String,
    made_of: Vec<String>,
}

fn order(out: &Path, split: &str) -> Vec<Row> {
    let all = rows(&out.join("data"), split);
    let made_of = all.iter().flat_map(|batch| {
        let lists = batch.column_by_name("made_of").unwrap().as_list::<i32>();
        let of = |row| {
            let own = lists.value(row);
            own.as_string::<i32>().iter().flatten().map(str::to_string).collect::<Vec<String>>()
        };
        (0..lists.len()).map(of).collect::<Vec<_>>()
    });
    let column = |name| strings(&all, name);
    let (ids, texts, variants) = (column("id"), column("text"), column("variant"));
    let (parents, licences) = (column("parent"), column("licence"));
    made_of
        .enumerate()
        .map(|(at, made_of)| Row {
            id: ids[at].clone(),
            text: texts[at].clone(),
            variant: variants[at].clone(),
            parent: parents[at].clone(),
            licence: licences[at].clone(),
            made_of,
        })
        .collect()
}

fn told(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(out.join("facts/facts.json")).unwrap()).unwrap()
}

/// The lexicon of the fixtures, with what finds its names.
fn lexicon() -> (Lexicon, Finder) {
    let spec = LexiconSpec::of_path("fixtures/lexicon/*");
    let lexicon = Lexicon::read(&[spec], 1 << 30).unwrap();
    let settings = Settings::new().unwrap();
    let pipeline = kpipe::build::plan::Pipeline::new(&settings).unwrap();
    let finder = Finder::new(&lexicon, &pipeline.density.names()).unwrap();
    (lexicon, finder)
}

/// The links between concepts that training documents mention, by a join of our own: ids of both in
/// order, with the relation.
fn joined(texts: &[String]) -> BTreeSet<(String, String, String)> {
    let (lexicon, finder) = lexicon();
    let mentioned: BTreeSet<u32> =
        texts.iter().flat_map(|text| finder.find(text)).map(|mention| mention.concept).collect();
    let mut links = BTreeSet::new();
    for head in &mentioned {
        for (link, tail) in lexicon.links(*head) {
            if link.relation != Relation::Same && mentioned.contains(&tail) {
                let id = |one: u32| lexicon.concepts[one as usize].id.clone();
                let (a, b) = (id(*head), id(tail));
                links.insert((a.clone().min(b.clone()), link.name.to_string(), a.max(b)));
            }
        }
    }
    links
}

#[test]
fn facts_are_links_between_what_is_mentioned_told_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, again] = ["whole", "again"].map(|name| folder.path().join(name));
    let set =
        ["--set", "facts.share=1.0", "--set", "facts.held_out=0", "--set", "facts.exposures=3"];
    build(&whole, &set);
    build(&again, &[&set[..], &["--threads", "1"]].concat());
    same_bytes(&whole.join("data"), &again.join("data"));
    same_bytes(&whole.join("facts"), &again.join("facts"));

    let all = order(&whole, "train");
    let documents: Vec<String> = all
        .iter()
        .filter(|row| row.variant.is_empty() && !row.id.starts_with("wiki:"))
        .map(|row| row.text.clone())
        .collect();
    let expected = joined(&documents);
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    let mut texts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in all.iter().filter(|row| row.variant == "fact") {
        row.made_of.iter().for_each(|fact| *times.entry(fact).or_default() += 1);
        let family = if row.parent.is_empty() { row.id.as_str() } else { &row.parent };
        *families.entry(family).or_default() += 1;
        texts.entry(family).or_default().insert(&row.text);
        let ends = row.text.matches(['.', '。']).count();
        assert!(ends >= row.made_of.len(), "{}: {}", row.id, row.text);
    }
    let found: BTreeSet<(String, String, String)> = times
        .keys()
        .map(|fact| {
            let parts: Vec<String> = fact.split('\t').map(str::to_string).collect();
            let [head, relation, tail] = parts.try_into().unwrap();
            (head.clone().min(tail.clone()), relation, head.max(tail))
        })
        .collect();
    let told = told(&whole);
    let unnamed = told["facts"]["unnamed"].as_u64().unwrap() as usize;
    assert_eq!(told["facts"]["linked"].as_u64().unwrap() as usize, expected.len());
    assert!(found.is_subset(&expected) && found.len() + unnamed == expected.len(), "{told}");
    assert!(found.len() > 30, "{}", found.len());
    // In the sheets of both, each as often as it is to be met.
    assert!(times.values().all(|n| *n == 6), "{times:?}");
    assert!(families.values().all(|n| *n == 3));
    assert!(texts.values().filter(|all| all.len() > 1).count() * 2 > texts.len());
}

#[test]
fn passages_repeat_what_different_training_documents_say() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    build(&out, &["--set", "facts.passages=1.0", "--set", "facts.held_out=0"]);
    let (train, held_out) = (order(&out, "train"), order(&out, "validation"));
    let texts: BTreeMap<&str, &str> = train
        .iter()
        .filter(|row| row.variant.is_empty())
        .map(|row| (row.id.as_str(), row.text.as_str()))
        .collect();
    let mut n = 0;
    for row in train.iter().filter(|row| row.variant == "passage") {
        n += 1;
        let mut said = row.text.split("\n\n").collect::<Vec<_>>();
        if said.len() > row.made_of.len() {
            said.remove(0);
        }
        assert_eq!(said.len(), row.made_of.len(), "{}", row.text);
        let distinct: BTreeSet<&String> = row.made_of.iter().collect();
        assert!(distinct.len() >= 2 && distinct.len() == row.made_of.len());
        for (said, id) in said.iter().zip(&row.made_of) {
            let (sentence, _) = said.split_once("\n— ").unwrap();
            assert!(texts[id.as_str()].contains(sentence), "{id}: {sentence}");
        }
        assert_eq!(row.licence, "NLM terms");
    }
    assert!(n > 20, "{n}");
    assert!(held_out.iter().all(|row| row.variant.is_empty() && row.made_of.is_empty()));
    let told = told(&out);
    assert_eq!(told["passages"]["made"].as_u64().unwrap(), n);
    let rooms = manifest(&out)["rooms"].clone();
    let room = rooms.as_array().unwrap().iter().find(|room| room["room"] == "facts").unwrap();
    assert_eq!(room["books"]["made"]["passage"].as_u64().unwrap(), n);
}

#[test]
fn what_is_held_out_or_asked_stands_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let probes = folder.path().join("probes.jsonl");
    let probe = r#"{"id": "a", "context": "Influenza is treated with", "choices": ["aspirin", "oseltamivir"], "answer": 1}"#;
    std::fs::write(&probes, format!("{probe}\n")).unwrap();
    let exclude = format!("facts.exclude=[{:?}]", probes.to_str().unwrap());
    let share = 0.1;
    build(&out, &["--set", "facts.share=0.1", "--set", "facts.passages=0.1", "--set", &exclude]);
    let table = std::fs::read_to_string(out.join("facts/held-out.tsv")).unwrap();
    let held_out: BTreeSet<(&str, &str)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            (cells[0], cells[2])
        })
        .collect();
    assert!(held_out.len() > 3);
    let mut tokens: BTreeMap<String, u64> = BTreeMap::new();
    for row in order(&out, "train") {
        *tokens.entry(row.variant.clone()).or_default() +=
            kpipe::text::words::words(&row.text).count() as u64;
        for fact in row.made_of.iter().filter(|_| row.variant == "fact") {
            let cells: Vec<&str> = fact.split('\t').collect();
            assert!(!held_out.contains(&(cells[0], cells[2])), "{fact}");
        }
        let is_pair = row.variant == "passage" || row.variant == "fact";
        let said = row.text.to_lowercase();
        assert!(!(is_pair && said.contains("influenza") && said.contains("oseltamivir")), "{said}");
        for (a, b) in &held_out {
            assert!(
                !row.id.ends_with(&format!("{a}+{b}")) && !row.id.ends_with(&format!("{b}+{a}"))
            );
        }
    }
    let told = told(&out);
    assert!(told["facts"]["asked"].as_u64().unwrap() >= 1);
    let domain = told["domain_tokens"].as_u64().unwrap() as f64;
    for variant in ["fact", "passage"] {
        let own = tokens[variant] as f64;
        assert!(own <= share * domain && own > 0.2 * share * domain, "{variant}: {own}");
    }
}

#[test]
fn facts_need_links_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let refused = |more: &str, code, told: &[&str]| {
        let build = ["build", "--source", "pubmed", "--out", out.to_str().unwrap()];
        fail(&[&build[..], &["--set", "facts.share=0.1", "--set", more]].concat(), code, told);
    };
    refused("density.lexicon=[]", 2, &["`[facts]` makes rows of the links of a lexicon"]);
    refused("facts.phrases=[\"nowhere.toml\"]", 4, &["nowhere.toml", "room `facts`"]);
    let file = folder.path().join("own.toml");
    std::fs::write(&file, "[fr.treats]\nforward = [\"{a} {b}\"]\ninverse = [\"{b} {a}\"]\n")
        .unwrap();
    let own = format!("facts.phrases=[{:?}]", file.to_str().unwrap());
    refused(&own, 3, &["`fr` is no language", "own.toml", "room `facts`"]);
}

/// Against mentions that are looked for document by document.
#[test]
fn the_map_tells_what_documents_mention() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    build(&out, &[]);
    let (lexicon, finder) = lexicon();
    let read = rows(&out.join(".kpipe/2-dedup"), "part-");
    let mut expected: BTreeMap<String, BTreeMap<String, [u64; 2]>> = BTreeMap::new();
    for (source, text) in strings(&read, "source").into_iter().zip(strings(&read, "text")) {
        let mut own: BTreeMap<u32, u64> = BTreeMap::new();
        finder.find(&text).iter().for_each(|one| *own.entry(one.concept).or_default() += 1);
        for (concept, n) in own {
            let id = lexicon.concepts[concept as usize].id.clone();
            let counts = expected.entry(id).or_default().entry(source.clone()).or_default();
            *counts = [counts[0] + 1, counts[1] + n];
        }
    }

    let map = rows(&out.join("knowledge"), "map.parquet");
    let ids = strings(&map, "concept");
    assert_eq!(ids.len(), lexicon.concepts.len());
    let mut found: BTreeMap<String, BTreeMap<String, [u64; 2]>> = BTreeMap::new();
    let mut at = 0;
    for batch in &map {
        let lists = batch.column_by_name("sources").unwrap().as_list::<i32>();
        for row in 0..batch.num_rows() {
            let own = lists.value(row);
            let own = own.as_struct();
            let names = own.column(0).as_string::<i32>();
            let count = |which: usize, at: usize| {
                own.column(which).as_primitive::<arrow::datatypes::UInt64Type>().value(at)
            };
            for source in 0..names.len() {
                found
                    .entry(ids[at].clone())
                    .or_default()
                    .insert(names.value(source).to_string(), [count(1, source), count(2, source)]);
            }
            at += 1;
        }
    }
    assert_eq!(found, expected);
    let told: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("knowledge/map.json")).unwrap()).unwrap();
    assert_eq!(told["seen"].as_u64().unwrap() as usize, expected.len());
    assert!(!told["branches"].as_array().unwrap().is_empty());
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("Knowledge map") && report.contains("knowledge/map.html"));
}
