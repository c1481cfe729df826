//! What people bring along: files that nobody here wrote, tried as a new user would.

use std::path::Path;

use crate::support::{fail, kpipe, manifest, project, rows, strings, succeed, text};

/// Settings that keep small inputs whole.
const PLAIN: [&str; 6] = [
    "--set",
    "density.lexicon=[]",
    "--set",
    "negatives.per_document=0",
    "--set",
    "curriculum.validation_share=0",
];

/// Builds from `source` into `out` of `folder` with more arguments.
fn build(folder: &Path, source: &str, more: &[&str]) -> String {
    let out = folder.join("out").display().to_string();
    succeed(&[&["build", "--source", source, "--out", &out], &PLAIN[..], more].concat())
}

fn shard_column(folder: &Path, name: &str) -> Vec<String> {
    let mut values = strings(&rows(&folder.join("out/data"), "train-"), name);
    values.sort();
    values.dedup();
    values
}

#[test]
fn a_file_needs_no_pipeline_and_a_missing_column_is_a_line_to_type() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("qa.jsonl");
    let line = |n: u32| {
        format!(
            "{{\"n\": {n}, \"question\": \"What does number {n} melt?\", \"answer\": \"It melts tin, says record {n}.\"}}\n"
        )
    };
    std::fs::write(&file, (0..20).map(line).collect::<String>()).unwrap();
    let (source, out) = (format!("qa={}", file.display()), folder.path().join("out"));
    let out = out.to_str().unwrap();

    for more in [&[][..], &["--set", "max_refused=1"]] {
        let args = [&["build", "--source", &source, "--out", out], &PLAIN[..], more].concat();
        let output = kpipe(&args);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains("20 of 20 records of source `qa` have no column of text"), "{told}");
        assert!(
            told.contains("among n, question, answer; question, answer could be text"),
            "{told}"
        );
        assert!(told.contains("--set 'source.qa.fields.text=\"question+answer\"'"), "{told}");
        assert!(!told.contains("max_refused"), "{told}");
        assert!(told.contains("source `qa` is read as jsonl, with the role domain"), "{told}");
    }

    // The same line helps a command that takes plain paths.
    let mapped = ["--set", "source.qa.fields.text=\"question+answer\""];
    let shown = succeed(&[&["mentions", file.to_str().unwrap(), "--quiet"], &mapped[..]].concat());
    assert!(shown.contains("It melts tin"), "{shown}");
    build(folder.path(), &source, &mapped);
    assert_eq!(shard_column(folder.path(), "text").len(), 20);
    assert_eq!(shard_column(folder.path(), "metadata")[0], "{\"n\":0}");
    fail(
        &["build", "--source", "qa"],
        2,
        &["there is no source `qa`", "--source qa=<file, folder or pattern>"],
    );
}

#[test]
fn ids_that_begin_anew_are_shown_by_the_dry_run_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    std::fs::create_dir(&shards).unwrap();

    for file in 0..4 {
        let line = |id: u32| {
            format!(
                "{{\"id\": {id}, \"text\": \"Mill {file} grinds {id} sacks for house {}.\"}}\n",
                file * 7 + id
            )
        };
        std::fs::write(shards.join(format!("p{file}.jsonl")), (0..5).map(line).collect::<String>())
            .unwrap();
    }

    let source = format!("a={}", shards.display());
    let dry = succeed(&[&["build", "--source", &source, "--dry-run"], &PLAIN[..]].concat());
    assert!(
        dry.contains("20 of 20 records of several files share an id with another text"),
        "{dry}"
    );
    build(folder.path(), &source, &["--set", "dedup.jaccard=1"]);
    let ids = shard_column(folder.path(), "id");
    assert_eq!((ids.len(), ids[0].as_str()), (20, "a:p0.jsonl#0"));
    let out = folder.path().join("global").display().to_string();
    let global = ["build", "--source", &source, "--out", &out, "--set", "source.a.ids=global"];
    fail(
        &global,
        3,
        &["20 of 20 records of source `a` (100.0 %)", "ids = \"file\"", "source.a.fields.version"],
    );

    fail(&["build", "--source", &source, "--set", "source.a.ids=some"], 2, &["some"]);
}

#[test]
fn marks_reach_the_shards_or_keep_records_out() {
    let folder = tempfile::tempdir().unwrap();
    let record = |pmid: u32, kind: &str, text: &str| {
        format!(
            "<PubmedArticle><MedlineCitation Status=\"MEDLINE\" Owner=\"NLM\"><PMID \
             Version=\"1\">{pmid}</PMID><Article>\
             <ArticleTitle>Mill \
             {pmid}.</ArticleTitle><Abstract><AbstractText>{text}</AbstractText></Abstract>\
             <PublicationTypeList><PublicationType>{kind}</PublicationType></PublicationTypeList></Article>\
             <MeshHeadingList><MeshHeading><DescriptorName UI=\"D1\" \
             MajorTopicYN=\"N\">Flour</DescriptorName></MeshHeading>\
             </MeshHeadingList></MedlineCitation></PubmedArticle>"
        )
    };

    let set = [
        record(1, "Retracted Publication", "The dust of mills cures every cough in ten days."),
        record(2, "Editorial", "We should look at the dust of mills with more care."),
        record(3, "Journal Article", "Bakers who wore masks coughed less than those without."),
    ];
    let file = folder.path().join("p.xml");
    std::fs::write(&file, format!("<PubmedArticleSet>{}</PubmedArticleSet>", set.concat()))
        .unwrap();
    let source = format!("p={}", file.display());
    build(folder.path(), &source, &[]);
    let metadata = shard_column(folder.path(), "metadata");
    assert!(metadata.iter().all(|json| json.contains("\"name\":\"Flour\"")), "{metadata:?}");
    assert_eq!(metadata.iter().filter(|json| json.contains("\"retracted\":true")).count(), 1);
    build(
        folder.path(),
        &source,
        &["--set", "source.p.drop=[\"retracted\", \"publication_types=Editorial\"]"],
    );
    assert_eq!(shard_column(folder.path(), "id"), ["p:3"]);
    let refused = &manifest(&folder.path().join("out"))["source_books"]["p"]["refused"];
    assert_eq!(refused["dropped:retracted"], 1);
    assert_eq!(refused["dropped:publication_types=Editorial"], 1);
}

#[test]
fn a_file_nobody_can_use_stops_a_build_before_data_moves() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.tsv");
    std::fs::write(&bad, "id\tname\nD1\n").unwrap();
    let (bad, out) = (bad.display().to_string(), folder.path().join("out"));

    for (setting, says) in [
        (format!("density.lexicon=[{{ path = {bad:?} }}]"), "names nothing"),
        (format!("negatives.thesaurus=[{bad:?}]"), "holds no thesaurus entry"),
        (format!("difficulty.tokenizer={bad:?}"), "is not a readable tokenizer.json"),
        (format!("difficulty.losses={bad:?}"), "bad.tsv"),
    ] {
        let args = ["build", "--source", "wiki", "--out", out.to_str().unwrap(), "--set", &setting];
        let output = kpipe(&args);
        let told = text(&output.stderr);
        assert!(!output.status.success() && told.contains(says), "{setting}: {told}");
        assert!(!out.exists(), "{setting}: something was written");
    }
}

#[test]
fn a_build_without_negatives_asks_for_no_engine_and_reads_no_thesaurus() {
    let folder = tempfile::tempdir().unwrap();
    let none = [
        "--set",
        "negatives.back_translation.engine=none",
        "--set",
        "negatives.thesaurus=[\"/nowhere\"]",
    ];

    build(folder.path(), "wiki,pubmed", &none);
    let rooms = manifest(&folder.path().join("out"));
    let rooms = rooms["rooms"].as_array().unwrap();
    let negatives = rooms.iter().find(|room| room["room"] == "negatives").unwrap();
    assert!(
        negatives["books"]["read"].as_u64() > Some(100)
            && negatives["books"]["read"] == negatives["books"]["kept"]
    );
    // The part is the one of the room before it, under a second name.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |room: &str| {
            std::fs::metadata(
                folder.path().join("out/.kpipe").join(room).join("part-00000.parquet"),
            )
            .unwrap()
            .ino()
        };
        assert_eq!(inode("2-dedup"), inode("7-negatives"));
    }
}

/// What is worth most goes on, by every measure; general text does whatever it is worth, and what was
/// not chosen is named.
#[test]
fn so_many_tokens_of_the_greatest_worth_are_kept() {
    let n_of = |out: &Path, role: &str| {
        let all = strings(&rows(&out.join("data"), ""), "role");
        all.iter().filter(|other| *other == role).count()
    };
    for measure in ["bm25", "bm25_coverage", "hks", "sparrow", "coverage"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let set = format!("density.measure=\"{measure}\"");
        let build =
            ["build", "--source", "wiki,pubmed", "--out", out.to_str().unwrap(), "--set", &set];
        let plain = ["--set", "negatives.per_document=0", "--set", "curriculum.repeat_max=1"];
        succeed(&[&build[..], &plain, &["--keep-tokens", "4K"]].concat());

        let told = manifest(&out);
        let density =
            told["rooms"].as_array().unwrap().iter().find(|room| room["room"] == "density");
        let books = &density.unwrap()["books"];
        let n_refused = books["refused"]["not_chosen"].as_u64().unwrap();
        assert_eq!(books["read"].as_u64().unwrap(), books["kept"].as_u64().unwrap() + n_refused);
        let refused = rows(&out.join("refused"), "");
        let reasons = strings(&refused, "reason");
        let n_named = reasons.iter().filter(|reason| *reason == "not_chosen").count() as u64;
        assert_eq!(n_named, n_refused, "{measure}");
        assert!(n_of(&out, "domain") < 100 && n_of(&out, "general") > 150, "{measure}");
    }
    let build = ["build", "--source", "wiki", "--keep-tokens", "4K", "--set", "density.lexicon=[]"];
    fail(&build, 2, &["density.keep_tokens", "without a lexicon"]);
    fail(&["build", "--source", "wiki", "--keep-tokens", "4MB"], 2, &["no number of tokens"]);
}

/// Abstracts are told from an encyclopedia's pages by what they name.
#[test]
fn selection_is_judged_by_labels() {
    let abstracts = "fixtures/pubmed/pubmed26n9001.xml.gz";
    let pages = ["--against", "fixtures/wiki/enwiki-sample.xml.bz2"];
    let told = succeed(&[&["eval", "selection", abstracts, "--json"], &pages[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let auc = |name: &str| {
        let all = told["rankings"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["auc"].as_f64().unwrap()
    };
    assert!(auc("hks") > 0.9 && auc("bm25") > 0.9 && (auc("random") - 0.5).abs() < 0.15, "{told}");

    let label = ["--label", "none=1"];
    fail(&[&["eval", "selection", abstracts], &label[..]].concat(), 3, &["nothing to tell apart"]);
    fail(&["eval", "selection", abstracts], 2, &["--against"]);
    fail(&["eval", "selection", abstracts, "--label", "label"], 2, &["--label label=1"]);
}

/// Found in what people marked, in two formats at once, beside a dictionary and another program.
#[test]
fn mentions_are_judged_by_marks() {
    let corpus = project().join("fixtures/annotated");
    let marks = corpus.join("corpus.txt").display().to_string();
    let args = ["eval", "mentions", &corpus.display().to_string()];
    let shown = succeed(&args);
    for words in ["46 marks in 8 documents", "| kpipe | 0.977 | 0.935 | 0.956 |", "stroke (1)"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    let beside = format!("people={marks}");
    let args = ["eval", "mentions", &marks, "--beside", &beside, "--mark", "Disease", "--kind"];
    let told = succeed(&[&args[..], &["Disease", "--json"]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let way = |at: usize| told["ways"][at]["spans"]["f1"].as_f64().unwrap();
    assert_eq!(told["marks"], 31);
    assert!(way(0) > way(1) && way(2) == 1.0, "{told}");

    let readme = project().join("README.md").display().to_string();
    fail(&["eval", "mentions", &readme], 3, &["no corpus", "README.md", "pubtator", "conll"]);
    fail(&["eval", "mentions", &marks, "--mark", "Gen"], 2, &["Chemical, Disease, Gene"]);
    fail(&["eval", "mentions", &marks, "--set", "density.lexicon=[]"], 2, &["--lexicon"]);
}

/// Mentions in every format, from a lexicon of one's own, for any number of threads.
#[test]
fn mentions_are_written_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let lexicon = r#"{"id": "X:1", "name": "myocardial infarction", "type": "disease"}
{"id": "X:2", "name": "aspirin", "type": "drug", "synonyms": ["acetylsalicylic acid"], "links": ["treats:X:1"]}
"#;
    std::fs::write(at("own.jsonl"), lexicon).unwrap();
    let text = "Aspirin after a myocardial infarction (MI).\\n\\nAn MI needs acetylsalicylic-acid.";
    let documents: String =
        (0..40).map(|n| format!("{{\"id\": \"{n}\", \"text\": \"{text} Case {n}.\"}}\n")).collect();
    std::fs::write(at("cases.jsonl"), documents).unwrap();
    let run = |more: &[&str]| {
        let (documents, lexicon) = (at("cases.jsonl"), at("own.jsonl"));
        let args = ["mentions", &documents, "--lexicon", &lexicon];
        succeed(&[&args[..], more].concat())
    };

    let shown = run(&[]);
    assert!(
        shown.starts_with("cases:0\nAspirin{X:2} after a myocardial infarction{X:1} (MI{X:1})."),
        "{shown}"
    );
    let lines = run(&["--format", "jsonl"]);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let rules: Vec<&str> =
        first["mentions"].as_array().unwrap().iter().filter_map(|m| m["rule"].as_str()).collect();
    assert_eq!(rules, ["name", "name", "abbreviation", "abbreviation", "synonym"]);
    assert_eq!(run(&["--format", "jsonl", "--threads", "1"]), lines);

    let place = at("mentions.parquet");
    assert!(run(&["--format", "parquet", "--out", &place]).contains("200 mentions"));
    let found = rows(folder.path(), "mentions");
    assert_eq!(found.iter().map(|batch| batch.num_rows()).sum::<usize>(), 200);
    let brat = at("brat");
    run(&["--format", "brat", "--out", &brat]);
    let annotations = std::fs::read_to_string(Path::new(&brat).join("cases_7.ann")).unwrap();
    assert!(annotations.starts_with("T1\tdrug 0 7\tAspirin\n"), "{annotations}");
    assert!(run(&["--format", "pubtator"]).contains("cases:7\t39\t41\tMI\tdisease\tX:1\n"));

    let (documents, lexicon) = (at("cases.jsonl"), at("own.jsonl"));
    let args = ["mentions", &documents, "--lexicon", &lexicon];
    for (more, words) in [
        (&["--format", "parquet"][..], &["`parquet` needs a place", "--out"][..]),
        (&["--format", "pubtaor"], &["pubtaor", "did you mean `pubtator`?"]),
        (&["--out", &place], &["is there already"]),
        (&["--json"], &["--out"]),
    ] {
        fail(&[&args[..], more].concat(), 2, words);
    }
}
