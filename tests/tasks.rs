//! Reading tasks behind the texts of documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;

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

/// The texts of all rows of the order by their ids.
fn texts(out: &Path) -> BTreeMap<String, String> {
    let all = rows(&out.join("data"), "");
    strings(&all, "id").into_iter().zip(strings(&all, "text")).collect()
}

#[test]
fn tasks_stand_behind_the_texts_they_are_about() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, read, again] = ["plain", "read", "again"].map(|name| folder.path().join(name));
    build(&plain, &[]);
    build(&read, &["--set", "tasks.share=1.0"]);
    build(&again, &["--set", "tasks.share=1.0", "--threads", "1"]);
    same_bytes(&read.join("data"), &again.join("data"));

    let before = texts(&plain);
    let all = rows(&read.join("data"), "");
    let (ids, texts) = (strings(&all, "id"), strings(&all, "text"));
    let (roles, kinds) = (strings(&all, "role"), strings(&all, "tasks"));
    let lengths: Vec<u32> = all
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name("n_tokens").unwrap();
            column.as_primitive::<UInt32Type>().values().to_vec()
        })
        .collect();
    let words = |text: &str| kpipe::text::words::words(text).count() as u32;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut n_read = 0;

    for at in 0..ids.len() {
        let own = &before[&ids[at]];
        assert_eq!(lengths[at], words(&texts[at]), "{}", ids[at]);
        if kinds[at].is_empty() {
            assert_eq!(&texts[at], own, "{}", ids[at]);
            continue;
        }
        n_read += 1;
        seen.extend(kinds[at].split('+'));
        assert_eq!(roles[at], "domain");
        // Every line of the document stands there, whatever it is asked for; what it is cut at
        // ends a sentence.
        let is_whole = !kinds[at].contains("completion");
        for line in own.lines().skip(1).filter(|line| !line.is_empty() && is_whole) {
            assert!(texts[at].contains(line), "{}: {line}", ids[at]);
        }
        assert!(kinds[at].contains("title") || texts[at].contains(own.lines().next().unwrap()));
        assert!(words(&texts[at]) > words(own) / 2);
    }
    assert!(n_read > 60, "{n_read}");
    for kind in ["cloze", "which_type", "words_to_text", "title", "completion"] {
        assert!(seen.contains(kind), "{kind} of {seen:?}");
    }

    let told = manifest(&read);
    let rooms = told["rooms"].as_array().unwrap();
    let books = &rooms.iter().find(|room| room["room"] == "tasks").unwrap()["books"];
    assert_eq!(books["read"], books["kept"]);
    assert!(books["notes"]["tasks: cloze"].as_u64().unwrap() > 20, "{books}");
}

/// What probes ask is asked by no task.
#[test]
fn what_probes_ask_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (out, docs) = (folder.path().join("out"), folder.path().join("notes.jsonl"));
    let lexicon = folder.path().join("words.tsv");
    let probes = folder.path().join("probes.jsonl");
    let mut table = "id\tname\tkind\tparents\nP\tagent\tdrug\t\n".to_string();
    for nth in 0..8 {
        table += &format!("D{nth}\tdrug{nth}olin\tdrug\tP\n");
    }
    table += "S1\tmarsh fever\tdisease\t\n";
    std::fs::write(&lexicon, table).unwrap();
    let text = "In all of these people, drug1olin ends marsh fever within nine days.";
    std::fs::write(&docs, serde_json::json!({"id": "1", "text": text}).to_string()).unwrap();
    let probe = serde_json::json!({"id": "a", "kind": "pair", "context": "Against marsh fever one gives",
        "choices": ["drug1olin", "drug2olin"], "answer": 0});
    std::fs::write(&probes, probe.to_string()).unwrap();

    let source = format!("notes={}", docs.display());
    let lexicon = format!("density.lexicon=[{{path=\"{}\"}}]", lexicon.display());
    let exclude = format!("tasks.exclude=[\"{}\"]", probes.display());
    let base =
        ["build", "--source", &source, "--out", out.to_str().unwrap(), "--set", &lexicon, "--set"];
    let run = |more: &[&str]| {
        let asked = [
            "source.notes.language=\"en\"",
            "--set",
            "tasks.share=1.0",
            "--set",
            "tasks.kinds=[\"cloze\"]",
            "--set",
            "curriculum.validation_share=0",
        ];
        succeed(&[&base[..], &asked, more].concat());
        let all = rows(&out.join("data"), "train");
        (strings(&all, "text").remove(0), strings(&all, "tasks").remove(0))
    };
    let (read, kinds) = run(&[]);
    // Of the two concepts one is drawn, and only the drug has others of its kind beside it.
    let is_asked = kinds == "cloze" && read.contains("____ ends marsh fever");
    assert!(is_asked || kinds.is_empty(), "{read}");
    let (read, kinds) = run(&["--set", &exclude]);
    assert!(kinds.is_empty() && read == text, "{read}");

    std::fs::write(&probes, "{\"context\": \"x\", \"choices\": [], \"answer\": 0}").unwrap();
    let args = [&base[..], &[&exclude, "--set", "tasks.share=0.5"]].concat();
    fail(&args, 3, &["probes.jsonl:1", "is no probe", "kpipe eval probes"]);
    let kinds = ["build", "--source", "pubmed", "--set", "tasks.kinds=[\"clozes\"]"];
    fail(&kinds, 2, &["`tasks.kinds`", "did you mean `cloze`?"]);
}
