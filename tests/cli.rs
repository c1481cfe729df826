use crate::flow::built;
use crate::support::{command, fail, kpipe, project, succeed, text};

/// A reader that goes away is no failure, a full disk is one.
#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = crate::support::command(&["defaults"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("cannot write to standard output"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = crate::support::command(&["defaults"]).stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn wrong_command_lines_say_what_and_what_next() {
    fail(
        &["build", "--source", "wikki"],
        2,
        &["there is no source `wikki`", "did you mean `wiki`?"],
    );
    fail(&["build", "--source", "wiki=/nowhere/x.xml"], 4, &["`/nowhere/x.xml`", "[source.wiki]"]);
    fail(&["build", "--source", "wiki,wiki"], 2, &["given twice"]);
    fail(&["build", "--source", "wiki="], 2, &["`--source wiki=` names no path", "hint"]);
    fail(
        &["build", "--source", "wiki", "--set", "seed=-1"],
        2,
        &["`seed` is -1, outside [0, inf)", "at: --set seed=-1"],
    );
    fail(&["train", "--shards", "/nowhere"], 4, &["`/nowhere`", "`kpipe build` writes the shards"]);
    fail(
        &["build", "--source", "wiki", "--set", "dedup.jacard=0.7"],
        2,
        &["`dedup.jacard`", "did you mean `jaccard`?"],
    );
    fail(&["build", "--source", "wiki", "--set", "dedup.jaccard=1.7"], 2, &["jaccard", "1.7"]);
    fail(
        &["build", "--source", "wiki", "--pipeline", "none.toml"],
        2,
        &["none.toml", "kpipe defaults"],
    );
    fail(&["build", "--source", "wiki", "--threads", "0"], 2, &["`--threads` is 0"]);
    fail(
        &["build", "--source", "wiki", "--threads", "100000"],
        2,
        &["`--threads` is 100000", "1..=1024"],
    );
    fail(&["build", "--source", "wiki", "--limit", "0"], 2, &["--limit"]);
    fail(&["build", "--source", "wiki=/dev/zero"], 2, &["`/dev/zero` is a device"]);
    fail(
        &["score", "fixtures/pubmed", "--out", "fixtures"],
        2,
        &["`--out fixtures` holds what is scored"],
    );
    fail(&["score", "fixtures/pubmed", "--lexicon", "none.obo"], 4, &["none.obo"]);
    let built = built();
    let out = built.to_str().unwrap();
    fail(&["train", "--shards", out, "--out", out], 2, &["is the shards"]);
    fail(&["train", "--shards", "fixtures", "--out", out], 2, &["holds what `kpipe build` wrote"]);
    fail(&["build", "--source", "wiki", "--memory", "4X"], 2, &["`X` is no unit"]);
    fail(&["build"], 2, &["--source"]);
    fail(&["train", "--device", "tpu"], 2, &["`tpu`"]);

    fail(&["score", "no-such-file.csv"], 4, &["no-such-file.csv"]);
}

/// The numbers of parameters are those of the papers; what does not fit is refused with what does.
#[test]
fn a_training_run_is_planned() {
    let plan = |preset: &str| succeed(&["plan", "train", "--preset", preset, "--memory", "1000G"]);
    for (preset, numbers, batch) in [
        ("bert-base", "109,482,240", "4096 rows: 256 microbatches of 16"),
        ("gpt2", "124,439,808", "2048 rows"),
        ("t5-base", "222,903,552", "1024 rows"),
        ("llama-7b", "6,738,415,616", "512 rows"),
    ] {
        let told = plan(preset);
        for word in [
            numbers,
            batch,
            "everything is kept",
            "train.checkpoint_every=1",
            "days",
            "In the literature:",
        ] {
            assert!(told.contains(word), "{preset}: `{word}` is missing in\n{told}");
        }
    }

    let planned = ["plan", "train", "--preset", "bert-base", "--memory"];
    let fails = |memory: &str, words: &[&str]| fail(&[&planned[..], &[memory]].concat(), 2, words);
    fails(
        "12G",
        &[
            "the run needs about 16.1 GiB",
            "this fits: --set train.batch=8 --set train.accumulate=512",
        ],
    );

    fails("1G", &["no split of the batch makes it fit"]);
    fail(
        &["plan", "train", "--preset", "bert-bas"],
        2,
        &["no preset `bert-bas`", "did you mean `bert-base`?"],
    );
    fail(
        &["plan", "train", "--set", "train.config.model_type=rnn"],
        2,
        &["`rnn`", "[train.config]", "bert, gpt2"],
    );
    let rows = ["plan", "train", "--preset", "gpt2", "--set", "train.max_tokens=2048"];
    fail(&rows, 2, &["the model has 1024 positions", "train.max_tokens=1024"]);
    let (folder, built) = (tempfile::tempdir().unwrap(), built());
    let out = folder.path().join("run");
    let train = [
        "train",
        "--shards",
        built.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--preset",
        "llama-7b",
    ];

    let larger = [&train[..], &["--set", "train.config.num_hidden_layers=1000"]].concat();
    fail(&larger, 2, &["the run needs about", "no split of the batch"]);
    let json = succeed(&["plan", "train", "--preset", "gpt2-tiny", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(
        json["parameters"].as_u64().unwrap() < 1_000_000
            && json["memory"]["weights"].as_u64().unwrap() > 0
    );
}

#[test]
fn a_pipeline_file_with_a_mistake_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "seed = 1\n\n[curriculum]\nwindow = \"wide\"\n").unwrap();
    fail(
        &["build", "--source", "wiki", "--pipeline", path.to_str().unwrap()],
        2,
        &["mine.toml:4", "`curriculum.window`"],
    );
}

#[test]
fn an_output_that_cannot_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let out = file.join("out");
    fail(
        &["build", "--source", "wiki", "--out", out.to_str().unwrap()],
        4,
        &["cannot create", "--out"],
    );
}

#[test]
fn damaged_input_beyond_the_policy_stops_with_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl");
    std::fs::write(&path, "{\"id\":\"1\",\"text\":\"a whole record about winter\"}\nnonsense\n")
        .unwrap();
    let pipeline = folder.path().join("mine.toml");
    let source = format!("[source.mine]\npath = {path:?}\nformat = \"jsonl\"\nrole = \"domain\"\n");
    std::fs::write(&pipeline, source).unwrap();
    let out = folder.path().join("out");
    let args = [
        "build",
        "--source",
        "mine",
        "--pipeline",
        pipeline.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];

    fail(&args, 3, &["50.0 %", "1 malformed", "max_refused", "refused-"]);
    succeed(&[&args[..], &["--set", "max_refused=0.5", "--quiet"]].concat());
    let scores = folder.path().join("scores");
    let args = ["score", path.to_str().unwrap(), "--out", scores.to_str().unwrap()];
    fail(&args, 3, &["50.0 %", "1 malformed", "max_refused", "refused-"]);
    let refused: usize =
        crate::support::rows(&scores, "refused-").iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(refused, 1, "what was refused can be looked at");

    succeed(&[&args[..], &["--set", "max_refused=0.5", "--quiet"]].concat());
}

#[test]
fn a_folder_of_several_formats_is_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "id,text\n1,winter\n").unwrap();
    std::fs::write(folder.path().join("b.jsonl"), "{\"text\": \"summer\"}\n").unwrap();
    fail(
        &["score", folder.path().to_str().unwrap()],
        2,
        &["several formats", "a.csv` is csv", "b.jsonl` is jsonl"],
    );
}

#[test]
fn a_shard_under_another_contract_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let scores = built().join("scores/scores-00000.parquet");
    std::fs::copy(scores, data.join("train-00000-of-00001.parquet")).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let run = beside.path().join("run");
    let args =
        ["train", "--shards", folder.path().to_str().unwrap(), "--out", run.to_str().unwrap()];

    fail(&args, 3, &["contract", "`shard`"]);
}

#[test]
fn a_column_that_no_record_has_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qa.jsonl");
    let line = |n: u32| {
        format!(
            "{{\"id\": {n}, \"question\": \"what is {n}?\", \"answer\": \"number {n} of them all\"}}\n"
        )
    };
    std::fs::write(&path, (0..30).map(line).collect::<String>()).unwrap();
    let pipeline = folder.path().join("mine.toml");
    let source = format!(
        "[source.qa]\npath = {path:?}\nformat = \"jsonl\"\nrole = \"domain\"\nfields = \
         {{ text = \"question+anser\" }}\n"
    );
    std::fs::write(&pipeline, source).unwrap();
    let out = folder.path().join("out");
    let args = [
        "build",
        "--source",
        "qa",
        "--pipeline",
        pipeline.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];

    let wiki = [&args[..], &["--set", "source.qa.format=wiki"]].concat();
    fail(&wiki, 2, &["`fields.text` maps a column, and `wiki` has none", "[source.qa]"]);
    let stderr = text(&kpipe(&args).stderr);
    assert!(stderr.contains("no record of source `qa` has the column `anser`"), "{stderr}");
    assert!(stderr.contains("30 documents say no language"), "{stderr}");
}

/// A dump that is cut off is one refusal in the books, however much is lost, so it is told as well.
#[test]
fn a_damaged_file_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(project().join("fixtures/pubmed/pubmed26n9001.xml.gz")).unwrap();
    let path = folder.path().join("cut.xml.gz");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let scores = folder.path().join("scores");
    let args = [
        "score",
        path.to_str().unwrap(),
        "--out",
        scores.to_str().unwrap(),
        "--set",
        "max_refused=1",
    ];

    let output = kpipe(&args);
    let stderr = text(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("cut.xml.gz`: truncated at byte"),
        "{stderr}"
    );
    assert!(stderr.contains("what lies behind is lost"), "{stderr}");
}

/// One bit of a shard's text, as a bad disk changes it: the trainer finds out before it learns from
/// it.
#[test]
fn a_shard_that_was_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = "data/train-00000-of-00001.parquet";
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let mut bytes = std::fs::read(built().join(name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(folder.path().join(name), bytes).unwrap();
    std::fs::copy(built().join("manifest.json"), folder.path().join("manifest.json")).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let run = beside.path().join("run");
    let args =
        ["train", "--shards", folder.path().to_str().unwrap(), "--out", run.to_str().unwrap()];

    fail(&args, 3, &["is not what `manifest.json` says", "train-00000-of-00001.parquet"]);
}

#[test]
fn quiet_is_quiet_and_json_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let args = ["build", "--source", "pubmed", "--limit", "20", "--out", out.to_str().unwrap()];
    let quiet = kpipe(&[&args[..], &["--quiet"]].concat());
    assert!(
        quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty(),
        "{}",
        text(&quiet.stderr)
    );
    let json = kpipe(&[&args[..], &["--json"]].concat());

    for line in text(&json.stderr).lines().chain(text(&json.stdout).lines()) {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let manifest: serde_json::Value = serde_json::from_str(&text(&json.stdout)).unwrap();
    assert_eq!(manifest["limit"], 20);
    let failed = kpipe(&["build", "--source", "wikki", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&text(&failed.stderr)).unwrap();
    assert_eq!((&error["event"], &error["exit_code"]), (&"error".into(), &2.into()));
    assert_eq!(error["hints"][0], "did you mean `wiki`?");
}

/// A room goes over its rows several times, and the progress says so: it ends where it was expected
/// to.
#[test]
fn progress_moves_in_every_pass() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let json =
        kpipe(&["build", "--source", "wiki,pubmed", "--out", out.to_str().unwrap(), "--json"]);
    let mut ends = 0;

    for line in text(&json.stderr).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["event"] == "end" {
            assert_eq!(event["done"], event["total"], "{line}");
            ends += 1;
        }
    }

    assert_eq!(ends, 9);
}

#[test]
fn defaults_are_the_file() {
    let file = std::fs::read_to_string(project().join("pipelines/default.toml")).unwrap();
    assert_eq!(succeed(&["defaults"]), file);
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(succeed(&["completions", shell]).contains("kpipe"), "{shell}");
    }
}

#[test]
fn vector_instructions_are_chosen_and_told() {
    let doctor =
        |set: &str| command(&["doctor", "--json"]).env("KPIPE_SIMD", set).output().unwrap();
    let plain: serde_json::Value = serde_json::from_slice(&doctor("plain").stdout).unwrap();
    assert_eq!(plain["instructions"], "plain");
    assert!(plain["product_gflops"].as_f64().unwrap() > 0.0);

    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let asked = format!("this processor has no {foreign}");
    for (set, told) in [("avx521", "did you mean `avx512`?"), (foreign, asked.as_str())] {
        let refused = doctor(set);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
}

#[test]
fn doctor_names_engine_and_how_to_get_it() {
    let value: serde_json::Value = serde_json::from_str(&succeed(&["doctor", "--json"])).unwrap();
    let how = |nth: usize| value["engines"][nth]["how_to_install"].as_str().unwrap();
    assert_eq!(value["engines"][0]["engine"], "marian");
    assert!(how(0).contains("opus-mt-en-zh"));
    assert_eq!(value["engines"][1]["engine"], "apertium");
    assert!(how(1).contains("apertium-eng-spa"));
    assert!(succeed(&["doctor"]).contains("WordNet"));
}

#[test]
fn a_dry_run_states_documents_disk_and_time_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let plan =
        succeed(&["build", "--source", "wiki,pubmed", "--dry-run", "--out", out.to_str().unwrap()]);
    for word in ["documents", "disk", "time", "back-translation", "ingest → dedup → density"] {
        assert!(plan.contains(word), "{plan}");
    }
    assert!(!out.exists());
}

#[test]
fn score_explains_every_term() {
    let built = built();
    let out = built.to_str().unwrap();
    let table: serde_json::Value =
        serde_json::from_str(&succeed(&["score", out, "--json"])).unwrap();
    let id = table["top"][0]["id"].as_str().unwrap();
    let explained: serde_json::Value =
        serde_json::from_str(&succeed(&["score", out, "--explain", id, "--json"])).unwrap();
    let sum: f64 = explained["terms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|term| term["contribution"].as_f64().unwrap())
        .sum();

    let bm25 = explained["bm25"].as_f64().unwrap();
    assert!(bm25 > 0.0 && (sum - bm25).abs() < 1e-5 * bm25, "{sum} {bm25}");
    fail(&["score", out, "--explain", "pubmed:0"], 2, &["there is no document `pubmed:0`"]);
}

#[test]
fn score_works_alone_on_a_file_with_a_lexicon() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("scores");
    // As a run that was killed leaves it.
    std::fs::create_dir_all(out.join(".kpipe-score-killed/ingest")).unwrap();
    let args = [
        "score",
        "fixtures/pubmed/pubmed26n9001.xml.gz",
        "--lexicon",
        "fixtures/lexicon/mesh-sample.xml",
        "--quiet",
    ];

    succeed(&[&args[..], &["--out", out.to_str().unwrap()]].concat());
    let rows: usize =
        crate::support::rows(&out, "scores-").iter().map(|batch| batch.num_rows()).sum();
    assert!(rows > 50, "{rows}");
    let mut names: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();

    assert_eq!(
        names,
        ["kpipe.json", "refused-00000.parquet", "scores-00000.parquet"],
        "no working file is left behind"
    );
}
