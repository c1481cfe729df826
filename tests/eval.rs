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
