use serde_json::Value;

use crate::flow::built;
use crate::support::{command, kpipe, project, succeed, text};

/// A model of the trainer is asked questions and held-out text; all threads give the same bytes.
#[test]
fn a_run_is_asked_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let gpt2 = ["--set", "train.tokenizer.kind=bpe", "--preset", "gpt2-tiny", "--set"];
    let trained = command(
        &[
            &["train", "--shards", built().to_str().unwrap(), "--out", run.to_str().unwrap()][..],
            &gpt2,
            &["train.steps=2"],
        ]
        .concat(),
    )
    .output()
    .unwrap();
    assert!(trained.status.success(), "{}", text(&trained.stderr));

    let questions = project().join("fixtures/questions/medicine.jsonl");
    let task = format!("choices={}", questions.display());
    let bits = format!("bits={}", built().display());
    let asked = |out: &str, threads: &str| -> Value {
        let out = folder.path().join(out);
        let found = succeed(&[
            "eval",
            "--model",
            run.to_str().unwrap(),
            "--task",
            &task,
            "--task",
            &bits,
            "--out",
            out.to_str().unwrap(),
            "--threads",
            threads,
            "--json",
        ]);
        serde_json::from_str(&found).unwrap()
    };

    let (one, two) = (asked("one", "1"), asked("two", "2"));
    assert_eq!(one, two);
    let metrics = one["tasks"][0]["metrics"].as_array().unwrap();
    let acc = metrics.iter().find(|metric| metric["name"] == "acc").unwrap();
    assert_eq!((acc["n"].as_u64(), acc["baselines"]["random"].as_f64()), (Some(8), Some(0.25)));
    assert_eq!(one["tasks"][0]["groups"].as_object().unwrap().len(), 2);
    let bits = &one["tasks"][1]["metrics"][0];
    for value in [&bits["value"], &bits["baselines"]["zlib"]] {
        assert!((1.0..8.0).contains(&value.as_f64().unwrap()), "{bits}");
    }
    for name in ["choices.jsonl", "bits.jsonl", "results.json", "report.md", "report.html"] {
        let read = |out: &str| std::fs::read(folder.path().join(out).join(name)).unwrap();
        assert!(read("one") == read("two"), "{name}");
    }
}

#[test]
fn what_cannot_be_asked_is_told_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let model = project().join("fixtures/parity/harness/bert");
    let (model, out) = (model.to_str().unwrap(), folder.path().join("out"));
    let shards = format!("bits={}", built().display());
    for (args, told) in [
        (&["--task", "helaswag=x"][..], &["did you mean `hellaswag`"][..]),
        (&["--task", "hellaswag"], &["write `--task hellaswag=hellaswag_val.jsonl`"]),
        (&["--task", "mmlu=nowhere/*.csv"], &["nowhere"]),
        (&["--task", shards.as_str()], &["bert gives no probability", "GPT-2"]),
        (&["--task", "mmlu=x", "--examples", "mmlu=y"], &["`--shots` is 0"]),
    ] {
        let all = [&["eval", "--model", model, "--out", out.to_str().unwrap()], args].concat();
        let output = kpipe(&all);
        assert!(!output.status.success(), "{args:?}");
        for part in told {
            assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
        }
    }
    let none = kpipe(&["eval", "--model", folder.path().to_str().unwrap(), "--task", "mmlu=x"]);
    assert!(text(&none.stderr).contains("holds no `config.json`"), "{}", text(&none.stderr));
}

/// Attacks and transformations along the checkpoints of a run: the same records for all, the same
/// bytes for any number of threads, and nothing is asked twice.
#[test]
fn robustness_is_measured_along_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let trained = command(&[
        "train",
        "--shards",
        built().to_str().unwrap(),
        "--out",
        run.to_str().unwrap(),
        "--set",
        "train.steps=3",
        "--set",
        "train.save_every=1",
        "--set",
        "train.keep=3",
    ])
    .output()
    .unwrap();
    assert!(trained.status.success(), "{}", text(&trained.stderr));

    let glue = project().join("fixtures/glue");
    let questions = project().join("fixtures/questions/medicine.jsonl");
    let task = format!("choices={}", questions.display());
    let measured = |out: &str, threads: &str| -> Value {
        let out = folder.path().join(out);
        let found = succeed(&[
            "eval",
            "robustness",
            "--run",
            run.to_str().unwrap(),
            "--glue",
            glue.to_str().unwrap(),
            "--task",
            &task,
            "--attack",
            "6",
            "--set",
            "negatives.back_translation.engine=\"none\"",
            "--out",
            out.to_str().unwrap(),
            "--threads",
            threads,
            "--json",
        ]);
        serde_json::from_str(&found).unwrap()
    };
    let (one, two) = (measured("one", "1"), measured("two", "2"));
    assert_eq!(one, two);

    let points = one["points"].as_array().unwrap();
    let names: Vec<&str> = points.iter().map(|point| point["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["step-1", "step-2", "step-3"]);
    for point in points {
        let tasks = point["tasks"].as_array().unwrap();
        let names: Vec<&str> = tasks.iter().map(|task| task["task"].as_str().unwrap()).collect();
        assert_eq!(names, ["CoLA", "RTE", "choices"]);
        for task in tasks {
            let typo = task["changed"].as_array().unwrap().iter();
            let typo = typo.clone().find(|one| one["name"] == "typo").unwrap();
            assert!(typo["n"].as_u64() > Some(4), "{typo}");
            let change =
                typo["after"]["value"].as_f64().unwrap() - typo["before"].as_f64().unwrap();
            assert!((typo["difference"]["value"].as_f64().unwrap() - change).abs() < 1e-12);
        }
        assert_eq!(tasks[0]["attack"]["before"]["n"], 6);
        assert!(tasks[2]["attack"].is_null());
    }

    // Premises and stop words stay in what was attacked.
    let place = folder.path().join("one/points/step-2/RTE.attacks.jsonl");
    let lines = std::fs::read_to_string(&place).unwrap();
    assert_eq!(lines.lines().count(), 6);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["texts"][0], line["after"][0]);
        let is_changed = line["texts"] != line["after"];
        assert_eq!(is_changed, !line["steps"].as_array().unwrap().is_empty());
    }

    // What is done is not asked again: a result that was changed by hand is still there.
    let kept = folder.path().join("one/points/step-2/RTE.json");
    let text = std::fs::read_to_string(&kept).unwrap();
    let mut outcome: Value = serde_json::from_str(&text).unwrap();
    outcome["majority"] = 0.125.into();
    std::fs::write(&kept, outcome.to_string()).unwrap();
    assert_eq!(measured("one", "2")["points"][1]["tasks"][1]["majority"], 0.125);
    for name in ["robustness.json", "robustness.md", "robustness.html"] {
        assert!(folder.path().join("two").join(name).exists(), "{name}");
    }
}

#[test]
fn robustness_that_cannot_be_measured_is_told_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let model = project().join("fixtures/parity/harness/bert");
    let (model, out) = (model.to_str().unwrap(), folder.path().join("out"));
    let glue = project().join("fixtures/glue");
    let (glue, empty) = (glue.to_str().unwrap(), folder.path().to_str().unwrap());
    let broken = folder.path().join("vectors.txt");
    std::fs::write(&broken, "good 1 2\nbad 1\n").unwrap();
    let bits = format!("bits={}", built().display());
    for (args, told) in [
        (&["--model", model, "--glue", empty][..], &["holds no task of GLUE", "RTE/train.tsv"][..]),
        (&["--model", model, "--glue", glue, "--transform", "tyop"], &["did you mean `typo`"]),
        (&["--model", model, "--task", bits.as_str()], &["asks for no choice", "hellaswag"]),
        (&["--run", empty, "--glue", glue], &["metrics.jsonl", "kpipe train"]),
        (
            &["--model", model, "--glue", glue, "--vectors", broken.to_str().unwrap()],
            &["vectors.txt:2", "a word and its numbers"],
        ),
    ] {
        let all = [&["eval", "robustness", "--out", out.to_str().unwrap()], args].concat();
        let output = kpipe(&all);
        assert!(!output.status.success(), "{args:?}");
        for part in told {
            assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
        }
    }
}
