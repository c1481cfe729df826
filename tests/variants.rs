//! Variants from documents to what a run consumed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use kpipe::rewrite::edits::{Edit, apply};

use crate::support::{fail, kpipe, manifest, rows, same_bytes, strings, succeed, text};
use crate::train::SMALL;

const DRUGS: [&str; 12] = [
    "baxolin",
    "corvidone",
    "dexuvir",
    "fenamide",
    "gliolin",
    "halaxin",
    "loruvir",
    "mavidone",
    "nopamide",
    "praolin",
    "quelaxin",
    "rexuvir",
];
const DISEASES: [&str; 6] =
    ["marsh fever", "lung rust", "pale gout", "stone cough", "river palsy", "ash rickets"];

/// Documents of a domain, general texts and a lexicon, each drug with two more names.
fn corpus(folder: &Path, n_domain: usize) -> [PathBuf; 3] {
    let mut domain = String::new();
    for nth in 0..n_domain {
        let (drug, disease) = (DRUGS[nth % 12], DISEASES[nth * 7 % 6]);
        let capital = drug[..1].to_uppercase() + &drug[1..];
        let text = format!(
            "{capital} is given against {disease}. The first trial of {drug} had {} patients. \
             {disease} of grade {nth} did not end without {drug}. It was seen again. In the north, \
             {disease} is more common than elsewhere. Study {nth} of {drug} went on in the town.",
            nth * 3 + 10,
        );
        writeln!(domain, "{}", serde_json::json!({"id": format!("d{nth}"), "text": text})).unwrap();
    }
    let mut general = String::new();
    for nth in 0..120 {
        let text = format!(
            "Village number {nth} lies by a lake. Its houses are of wood, and {} people live there. \
             A road of {nth} miles leads to the next market, where fish and bread are sold.",
            nth * 11 + 40
        );
        writeln!(general, "{}", serde_json::json!({"id": format!("g{nth}"), "text": text}))
            .unwrap();
    }
    let mut lexicon = "id\tname\tkind\tsynonyms\n".to_string();
    for (nth, drug) in DRUGS.iter().enumerate() {
        writeln!(lexicon, "D{nth}\t{drug}\tdrug\tTrade{nth}vel|compound of {drug}").unwrap();
    }
    for (nth, disease) in DISEASES.iter().enumerate() {
        writeln!(lexicon, "S{nth}\t{disease}\tdisease\tmorbus {}", &disease[..4]).unwrap();
    }
    [("domain.jsonl", domain), ("general.jsonl", general), ("words.tsv", lexicon)].map(
        |(name, text)| {
            let place = folder.join(name);
            std::fs::write(&place, text).unwrap();
            place
        },
    )
}

/// Builds the corpus with variants.
fn build(folder: &Path, out: &Path, more: &[&str]) -> String {
    let [domain, general, lexicon] = corpus(folder, 60);
    let sources = format!("facts={},plain={}", domain.display(), general.display());
    let lexicon = format!("density.lexicon=[{{path=\"{}\"}}]", lexicon.display());
    let settings = folder.join("roles.toml");
    std::fs::write(&settings, "[source.plain]\nrole = \"general\"\n").unwrap();
    let args = [
        "build",
        "--source",
        &sources,
        "--out",
        out.to_str().unwrap(),
        "--pipeline",
        settings.to_str().unwrap(),
        "--set",
        &lexicon,
        "--set",
        "negatives.back_translation.engine=\"none\"",
        "--set",
        "curriculum.validation_share=0.1",
        "--set",
        "density.acronym_chars=0",
        "--set",
        "dedup.jaccard=0.99",
        "--set",
        "dedup.containment=1.0",
    ];
    succeed(&[&args, more].concat())
}

const ON: &[&str] = &[
    "--set",
    "variants.exposures=4",
    "--set",
    "variants.target=1000",
    "--set",
    "variants.share_max=0.7",
    "--set",
    "variants.kinds=[\"permute\", \"alias\"]",
];

fn numbers(batches: &[RecordBatch], name: &str) -> Vec<u32> {
    let of = |batch: &RecordBatch| {
        let column = batch.column_by_name(name).unwrap();
        column.as_primitive::<UInt32Type>().values().to_vec()
    };
    batches.iter().flat_map(of).collect()
}

fn edits(batches: &[RecordBatch]) -> Vec<Vec<Edit>> {
    let mut all = Vec::new();
    for batch in batches {
        let lists = batch.column_by_name("edits").unwrap().as_list::<i32>();
        for row in 0..batch.num_rows() {
            let own = lists.value(row);
            let own = own.as_struct();
            let place = |name: &str| {
                own.column_by_name(name).unwrap().as_primitive::<UInt32Type>().values().to_vec()
            };
            let (starts, ends) = (place("start"), place("end"));
            let texts = own.column_by_name("text").unwrap().as_string::<i32>();
            let edit = |at: usize| Edit {
                start: starts[at],
                end: ends[at],
                text: texts.value(at).to_string(),
            };
            all.push((0..own.len()).map(edit).collect());
        }
    }
    all
}

fn sorted_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
    words.sort();
    words
}

/// Families stand as often as planned, apart, on one side of the split, and say the same.
#[test]
fn families_are_spread_and_held_together() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    build(folder.path(), &out, ON);
    let (train, held_out) = (rows(&out.join("data"), "train"), rows(&out.join("data"), "valid"));
    let (ids, parents) = (strings(&train, "id"), strings(&train, "parent"));
    let (texts, kinds) = (strings(&train, "text"), strings(&train, "variant"));
    let (nth, of) = (numbers(&train, "exposure"), numbers(&train, "exposures"));
    let edits = edits(&train);

    assert!(strings(&held_out, "parent").iter().all(String::is_empty));
    let held_out: BTreeSet<String> = strings(&held_out, "id").into_iter().collect();
    let own: BTreeMap<&str, &str> =
        ids.iter().zip(&texts).map(|(id, text)| (id.as_str(), text.as_str())).collect();
    let mut families: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        let family = if parents[at].is_empty() { id } else { &parents[at] };
        assert!(!held_out.contains(family), "{id}");
        families.entry(family).or_default().push(at);
    }

    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let n_domain: usize =
        families.iter().filter(|(id, _)| id.starts_with("facts:")).map(|(_, all)| all.len()).sum();
    let mut n_several = 0;
    for (family, places) in &families {
        for (number, at) in places.iter().enumerate() {
            assert_eq!((nth[*at], of[*at]), (number as u32, places.len() as u32));
        }
        if !family.starts_with("facts:") {
            continue;
        }
        assert_eq!(ids[places[0]], **family, "the document comes first");
        n_several += usize::from(places.len() == 4);
        for pair in places.windows(2) {
            // Of what the domain has behind the opening; three numbers of exposures are possible.
            let between = (pair[0]..pair[1]).filter(|at| ids[*at].starts_with("facts:")).count();
            assert!(between + 4 >= n_domain / (places.len() + 1) / 2, "{between} of {n_domain}");
        }
        for at in places.iter().filter(|at| !parents[**at].is_empty()) {
            let edited = apply(own[family], &edits[*at]);
            seen.insert(&kinds[*at]);
            match kinds[*at].contains("permute") {
                true => assert_eq!(sorted_words(&edited), sorted_words(&texts[*at])),
                false => assert_eq!(edited, texts[*at]),
            }
            assert!(texts[*at].contains("It was seen again"), "{}", texts[*at]);
        }
    }
    assert!(n_several > 10, "{n_several}");
    assert!(seen.contains("alias+permute"), "{seen:?}");

    let told = manifest(&out);
    let exposures = &told["curriculum"]["exposures"];
    assert!(exposures["least_gap"].as_u64().unwrap() > 16, "{exposures}");
    let room = |name: &str| {
        let all = told["rooms"].as_array().unwrap();
        all.iter().find(|room| room["room"] == name).unwrap()["books"].clone()
    };
    let n = |value: &serde_json::Value| value.as_u64().unwrap();
    let sum = |value: &serde_json::Value| -> u64 {
        value.as_object().map_or(0, |all| all.values().map(n).sum())
    };
    for books in [room("variants"), room("curriculum")] {
        assert_eq!(
            n(&books["read"]) + sum(&books["made"]),
            n(&books["kept"]) + sum(&books["refused"])
        );
    }
    let held_out = held_out.iter().filter(|id| id.starts_with("facts:")).count();
    assert!(held_out > 0 && n(&room("curriculum")["refused"]["of_held_out"]) > 0);
}

/// Any number of threads writes the same bytes.
#[test]
fn variants_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let parts = ["--set", "ingest.part_bytes=65536"];
    build(folder.path(), &one, &[ON, &parts, &["--threads", "1"]].concat());
    build(folder.path(), &two, &[ON, &parts, &["--threads", "2"]].concat());
    same_bytes(&one.join("data"), &two.join("data"));
}

/// What a run reads of each family is what was planned, and never two of one in a step.
#[test]
fn a_run_meets_every_family_as_often_as_planned() {
    let folder = tempfile::tempdir().unwrap();
    let (out, run) = (folder.path().join("out"), folder.path().join("run"));
    build(folder.path(), &out, ON);
    let train = rows(&out.join("data"), "train");
    let (ids, parents) = (strings(&train, "id"), strings(&train, "parent"));
    let planned = numbers(&train, "exposures");
    // Shuffled far, so that families meet where nobody keeps them apart.
    let args = [
        "train",
        "--shards",
        out.to_str().unwrap(),
        "--out",
        run.to_str().unwrap(),
        "--set",
        "train.steps=60",
        "--set",
        "train.batch=16",
        "--set",
        "train.shuffle=1000",
        "--set",
        "train.long=\"truncate\"",
        "--set",
        "train.eval_every=0",
    ];
    succeed(&[&args, SMALL].concat());

    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    let (mut first_epoch_ends, mut n_short) = (false, 0);
    for line in std::fs::read_to_string(run.join("consumed.jsonl")).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut step: Vec<String> = Vec::new();
        let mut n_rows = 0;
        for range in line["ranges"].as_array().unwrap() {
            let place = |key: &str| range[key].as_u64().unwrap() as usize;
            for at in place("first")..=place("last") {
                let family = if parents[at].is_empty() { &ids[at] } else { &parents[at] };
                n_rows += 1;
                if planned[at] > 1 && family.starts_with("facts:") {
                    step.push(family.clone());
                }
                if place("epoch") == 0 {
                    *met.entry(family.clone()).or_default() += 1;
                } else {
                    first_epoch_ends = true;
                }
            }
        }
        n_short += usize::from(n_rows < 16);
        let n = step.len();
        step.sort();
        step.dedup();
        assert_eq!(step.len(), n, "two of a family in one step");
    }
    assert!(first_epoch_ends && n_short > 0, "{n_short}");
    for (at, id) in ids.iter().enumerate() {
        let family = if parents[at].is_empty() { id } else { &parents[at] };
        assert_eq!(met[family], planned[at], "{family}");
    }
}

/// Rows made elsewhere go through the gate, and of none is it unknown what became of it.
#[test]
fn what_is_imported_is_kept_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let (out, made) = (folder.path().join("out"), folder.path().join("made.jsonl"));
    let lines = [
        "{\"parent\": \"facts:d1\", \"kind\": \"table\", \"text\": \"Lung rust: Corvidone is given. \
         Patients of the first trial of corvidone: 13. Grade 1 of lung rust: not ended without \
         corvidone. More common in the north: lung rust. Study 1 of corvidone: in the town.\"}",
        "{\"parent\": \"facts:d1\", \"text\": \"Corvidone is given against lung rust.\"}",
        "{\"parent\": \"plain:g1\", \"text\": \"A village.\"}",
        "{\"parent\": \"facts:d999\", \"text\": \"Of nobody.\"}",
    ];
    std::fs::write(&made, lines.join("\n")).unwrap();
    let all = ["--set", "curriculum.validation_share=0", "--import", made.to_str().unwrap()];
    build(folder.path(), &out, &all);
    let train = rows(&out.join("data"), "train");
    let kinds: BTreeSet<String> = strings(&train, "variant").into_iter().collect();
    assert_eq!(kinds, BTreeSet::from([String::new(), "table".to_string()]));
    let refused = rows(&out.join("refused"), "variants");
    let mut reasons = strings(&refused, "reason");
    reasons.sort();
    assert_eq!(reasons, ["no_parent", "no_parent", "not_the_same:concepts"]);
    assert!(strings(&refused, "file").iter().all(|file| file.ends_with("made.jsonl")));

    std::fs::write(&made, "{\"parent\": \"facts:d1\"}\n").unwrap();
    let [domain, _, lexicon] = corpus(folder.path(), 3);
    let source = format!("facts={}", domain.display());
    let lexicon = format!("density.lexicon=[{{path=\"{}\"}}]", lexicon.display());
    let other = folder.path().join("other");
    let args = [
        "build",
        "--source",
        &source,
        "--out",
        other.to_str().unwrap(),
        "--set",
        &lexicon,
        "--import",
        made.to_str().unwrap(),
    ];
    fail(&args, 3, &["made.jsonl:1", "missing field `text`", "\"parent\""]);
    assert!(!other.exists(), "told before anything is read");
}

#[test]
fn variants_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let [domain, _, lexicon] = corpus(folder.path(), 2);
    let (domain, lexicon) = (domain.to_str().unwrap(), lexicon.to_str().unwrap());
    let args = ["variants", domain, "--lexicon", lexicon, "--kinds", "alias,permute"];
    let told = succeed(&[&args[..], &["--count", "2"]].concat());
    assert!(told.contains("domain:d0~2 alias+permute") && told.contains("domain:d1~1"), "{told}");

    // What it writes is what a build reads.
    let lines = succeed(&[&args[..], &["--format", "jsonl", "--quiet"]].concat());
    let made = folder.path().join("made.jsonl");
    std::fs::write(&made, &lines).unwrap();
    let args = ["variants", domain, "--lexicon", lexicon, "--count", "0", "--json", "--import"];
    let told = text(&kpipe(&[&args[..], &[made.to_str().unwrap()]].concat()).stdout);
    let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["variants"].as_u64().unwrap(), lines.lines().count() as u64);
    assert_eq!(last["rejected"], 0);

    let none = folder.path().join("none");
    let args = ["variants", domain, "--lexicon", lexicon, "--kinds", "permut"];
    fail(&args, 2, &["did you mean `permute`?"]);
    let args = [
        "build",
        "--source",
        "pubmed",
        "--set",
        "density.lexicon=[]",
        "--set",
        "variants.exposures=2",
        "--out",
        none.to_str().unwrap(),
    ];
    fail(&args, 2, &["`variants.exposures` is above 1", "density.lexicon"]);
    let args = [
        "build",
        "--source",
        "pubmed",
        "--set",
        "curriculum.weights={pubmd=2.0}",
        "--out",
        none.to_str().unwrap(),
    ];
    fail(&args, 2, &["pubmd", "`curriculum.weights`", "did you mean `pubmed`?"]);
}

/// Tokens of sources are those of their weights, and shares may be the same everywhere.
#[test]
fn sources_weigh_what_they_are_to() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = |more: &[&str], name: &str| -> (f64, Vec<String>) {
        let out = folder.path().join(name);
        build(folder.path(), &out, more);
        let train = rows(&out.join("data"), "train");
        let sources = strings(&train, "source");
        let lengths = numbers(&train, "n_tokens");
        let own = sources.iter().zip(&lengths).filter(|(source, _)| *source == "facts");
        (own.map(|(_, n)| f64::from(*n)).sum(), sources)
    };
    let free = ["--set", "curriculum.repeat_max=0"];
    let (once, _) = tokens(&free, "once");
    let half = ["--set", "curriculum.weights={facts=0.5}"];
    let (half, _) = tokens(&[&free[..], &half].concat(), "half");
    assert!((half / once - 0.5).abs() < 0.02, "{half} of {once}");
    let double =
        ["--set", "curriculum.weights={facts=2.0}", "--set", "curriculum.domain_share=\"flat\""];
    let (double, order) = tokens(&[&free[..], &double].concat(), "double");
    assert!((double / once - 2.0).abs() < 0.02, "{double} of {once}");
    let share = |part: &[String]| {
        part.iter().filter(|source| *source == "facts").count() as f64 / part.len() as f64
    };
    let (first, last) = (share(&order[..order.len() / 4]), share(&order[order.len() * 3 / 4..]));
    assert!((first - last).abs() < 0.15, "{first} {last}");

    let early = ["--set", "curriculum.domain_share=\"early\""];
    let (_, order) = tokens(&[&free[..], &early].concat(), "early");
    let (first, last) = (share(&order[..order.len() / 4]), share(&order[order.len() * 3 / 4..]));
    assert!(first > last + 0.2, "{first} {last}");
}
