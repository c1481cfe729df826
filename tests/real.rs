//! Real files that are no part of the project. Each test is off where `KPIPE_TEST_DATA` names no
//! folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::hostile::build_damaged;
use crate::support::{fail, kpipe, manifest, real_data, rows, strings, succeed};

fn build(sources: &str, pipeline: &Path, out: &Path, more: &[&str]) -> serde_json::Value {
    let (pipeline, out_arg) = (pipeline.to_str().unwrap(), out.to_str().unwrap());
    let args = ["build", "--source", sources, "--pipeline", pipeline, "--out", out_arg, "--quiet"];
    succeed(&[&args[..], more].concat());
    manifest(out)
}

fn books<'a>(manifest: &'a serde_json::Value, source: &str) -> &'a serde_json::Value {
    &manifest["source_books"][source]
}

/// Every Wikipedia dump and every PubMed file through the whole chain, then scores, then a short
/// training run.
#[test]
fn dumps_and_pubmed_files_become_shards_scores_and_a_model() {
    let Some(data) = real_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let lexicon = format!(
        "[density]\nlexicon = [{{ path = {:?} }}, {{ path = {:?} }}]\n",
        data.join("kg-lexicons/drugbank-vocabulary.csv.gz"),
        data.join("kg-lexicons/doid-2016.obo.gz")
    );
    let pipeline = folder.path().join("real.toml");
    std::fs::write(&pipeline, lexicon).unwrap();
    let dumps = data.join("wikipedia-dumps/*.xml*.bz2");
    let more = data.join("wikipedia-dumps/*shortened.bz2");
    let sources = format!("wiki={},pubmed={}", dumps.display(), data.join("pubmed-xml").display());
    let set = ["--set", "negatives.back_translation.max_sentences=300"];
    let built = build(&sources, &pipeline, &out, &set);
    assert!(
        kpipe(&["build", "--source", &format!("wiki={}", more.display()), "--dry-run"])
            .status
            .success()
    );
    // Counts from the data's own description: 2,789 whole pages in nine dumps, of which this
    // pattern takes all but one file; 1,341 citations.
    let wiki = books(&built, "wiki");
    assert!(wiki["read"].as_u64().unwrap() > 2_700, "{wiki}");
    assert_eq!(wiki["refused"]["truncated"], 2, "one dump is cut, one is not closed");
    let pubmed = books(&built, "pubmed");
    assert!(pubmed["kept"].as_u64().unwrap() > 1_000, "{pubmed}");
    assert!(
        pubmed["refused"]["wrong_format"].as_u64().unwrap() >= 1,
        "the eSummary file is no PubmedArticleSet"
    );
    let shards = rows(&out.join("data"), "");
    let texts = strings(&shards, "text");

    for mark in ["{{", "}}", "[[", "]]", "<ref", "&nbsp;", "&lt;"] {
        let n = texts.iter().filter(|text| text.contains(mark)).count();
        assert!(n * 100 <= texts.len(), "{n} of {} texts still hold `{mark}`", texts.len());
    }

    let languages: BTreeMap<String, usize> =
        strings(&shards, "language").into_iter().fold(BTreeMap::new(), |mut n, l| {
            *n.entry(l).or_default() += 1;
            n
        });
    assert!(
        ["en", "ja", "ltg", "bg"].iter().all(|language| languages.contains_key(*language)),
        "{languages:?}"
    );
    let table = succeed(&["score", out.to_str().unwrap()]);
    assert!(table.contains("highest density"), "{table}");
    let run = folder.path().join("run");
    let small = [
        "--set",
        "train.steps=10",
        "--set",
        "train.model.hidden=32",
        "--set",
        "train.model.feed_forward=64",
        "--set",
        "train.tokenizer.vocabulary=2000",
        "--set",
        "train.eval_windows=8",
        "--quiet",
    ];

    succeed(
        &[
            &["train", "--shards", out.to_str().unwrap(), "--out", run.to_str().unwrap()],
            &small[..],
        ]
        .concat(),
    );
}

/// Every broken file of the collections, as each text format: no panic, no hang, books that
/// balance.
#[test]
fn broken_files_are_refused_with_file_place_and_reason() {
    let Some(data) = real_data() else { return };
    for (name, formats) in [
        ("nasty-inputs/compressed", &["jsonl", "wiki", "pubmed", "csv", "text", "parquet"][..]),
        ("nasty-inputs/json", &["jsonl", "csv"]),
        ("nasty-inputs/utf8", &["text", "jsonl", "wiki"]),
        (
            "web-archives/odd",
            &["text", "jsonl", "wiki", "pubmed", "csv", "parquet", "wikiextractor"],
        ),
    ] {
        for format in formats {
            let folder = tempfile::tempdir().unwrap();
            build_damaged(&data.join(name), format, folder.path());
        }
    }
}

/// Chinese law, medicine in GBK, and old books in GB18030, by the pipeline files that the project
/// ships.
#[test]
fn chinese_sources_keep_their_text() {
    let Some(data) = real_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let pipeline = folder.path().join("zh.toml");
    let source = |name: &str, path: PathBuf, role: &str| {
        format!(
            "[source.{name}]\npath = {path:?}\nformat = \"text\"\nlanguage = \"zh\"\nrole \
             = \"{role}\"\n"
        )
    };
    let text = source("law", data.join("zh-law/md"), "domain")
        + &source("books", data.join("zh-tcm-books/*.gz"), "general")
        + &format!(
            "[density]\nlexicon = [{{ path = {:?} }}]\n",
            data.join("kg-lexicons/zh-medicalkg-disease.txt.gz")
        );

    std::fs::write(&pipeline, text).unwrap();
    let built = build("law,books", &pipeline, &out, &[]);
    assert_eq!(books(&built, "books")["kept"], 123);
    let texts = strings(&rows(&out.join("data"), ""), "text");
    let replaced: usize = texts.iter().map(|text| text.matches('\u{fffd}').count()).sum();
    let all: usize = texts.iter().map(|text| text.chars().count()).sum();

    assert!(all > 5_000_000 && replaced < 500, "{replaced} of {all} characters were not decoded");
}

#[test]
fn a_csv_of_abstracts_is_scored_alone() {
    let Some(data) = real_data() else { return };
    let csv = data.join("pubmed-abstracts-csv/cohen2006-NSAIDS.csv.gz");
    let lexicon = data.join("kg-lexicons/drugbank-vocabulary.csv.gz");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let args = [
        "score",
        csv.to_str().unwrap(),
        "--lexicon",
        lexicon.to_str().unwrap(),
        "--json",
        "--top",
        "3",
    ];

    let summary: serde_json::Value =
        serde_json::from_str(&succeed(&[&args[..], &["--out", out]].concat())).unwrap();
    assert!(summary["with_concepts"].as_u64().unwrap() > 250, "{summary}");
    let no_lexicon = data.join("README.md");
    let args =
        ["score", csv.to_str().unwrap(), "--lexicon", no_lexicon.to_str().unwrap(), "--out", out];
    fail(&args, 2, &["README.md"]);
}
