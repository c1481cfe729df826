use std::path::Path;

use crate::flow::built;
use crate::support::{kpipe, same_bytes, strings, succeed, text};

/// A model small enough for a test; the README trains the default one.
pub(crate) const SMALL: &[&str] = &[
    "--set",
    "train.model.hidden=32",
    "--set",
    "train.model.feed_forward=64",
    "--set",
    "train.model.layers=1",
    "--set",
    "train.max_tokens=48",
    "--set",
    "train.tokenizer.vocabulary=800",
    "--set",
    "train.optimiser.lr=0.003",
];

fn train(out: &Path, more: &[&str]) -> serde_json::Value {
    let built = built();
    let args =
        ["train", "--shards", built.to_str().unwrap(), "--out", out.to_str().unwrap(), "--json"];
    serde_json::from_str(&succeed(&[&args[..], SMALL, more].concat())).unwrap()
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_held_out_loss_falls_and_the_order_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let summary = train(&out, &["--set", "train.steps=60", "--set", "train.eval_every=30"]);
    let (first, last) =
        (summary["val_loss"][0].as_f64().unwrap(), summary["val_loss"][1].as_f64().unwrap());
    assert!(last + 0.4 < first, "held-out loss {first} to {last}");
    let metrics = lines(&out.join("metrics.jsonl"));
    assert_eq!(metrics.len(), 60);
    assert!(metrics.iter().any(|line| line["losses"]["contrastive"].as_f64().is_some()));
    let consumed = lines(&out.join("consumed.jsonl"));
    assert_eq!(consumed.len(), 60);
    let shards = crate::support::rows(&built().join("data"), "train");
    assert!(strings(&shards, "id").len() > 100);

    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        assert!(out.join(name).exists(), "{name}");
    }
}

#[test]
fn killed_and_resumed_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let steps =
        ["--set", "train.steps=30", "--set", "train.save_every=10", "--set", "train.eval_every=15"];
    train(&whole, &steps);
    let n_lines = || {
        std::fs::read_to_string(killed.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
    };
    let mut n_killed = 0;
    // Before the first checkpoint, behind it, and between two.
    for line in [4, 12, 17, 23] {
        let mut child = starting(&killed, &steps).spawn().unwrap();
        while n_lines() < line && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        n_killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    assert!(n_killed >= 2, "only {n_killed} kills hit a running training");
    train(&killed, &steps);
    same_run(&whole, &killed);
}

/// Demands the same files, but for the one field that tells time.
fn same_run(whole: &Path, killed: &Path) {
    for out in [whole, killed] {
        let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let steady = |line: &str| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            let object = value.as_object_mut().unwrap();
            ["tokens_per_s", "memory"].iter().for_each(|name| drop(object.remove(*name)));
            format!("{value}\n")
        };
        std::fs::write(out.join("metrics.jsonl"), metrics.lines().map(steady).collect::<String>())
            .unwrap();
    }
    for out in [whole, killed] {
        // It tells times too.
        std::fs::remove_file(out.join("report.html")).unwrap();
    }
    same_bytes(whole, killed);
}

/// `kpipe train` on the fixtures into `out`, to be started, killed or held back.
pub(crate) fn starting(out: &Path, more: &[&str]) -> std::process::Command {
    let built = built();
    let args =
        ["train", "--shards", built.to_str().unwrap(), "--out", out.to_str().unwrap(), "--quiet"];
    crate::support::command(&[&args[..], SMALL, more].concat())
}

#[test]
fn killed_while_it_saves_it_goes_on_from_the_checkpoint_before() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let steps =
        ["--set", "train.steps=40", "--set", "train.save_every=1", "--set", "train.eval_every=0"];
    train(&whole, &steps);
    let is_saving = || {
        let entries = std::fs::read_dir(killed.join("checkpoints")).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with("unfinished-"))
        })
    };

    let mut left_half = 0;
    for _ in 0..12 {
        let mut child = starting(&killed, &steps).spawn().unwrap();
        // What the run before left behind is cleared away first.
        std::thread::sleep(std::time::Duration::from_millis(150));

        while !is_saving() && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        left_half += u32::from(is_saving());
    }

    assert!(left_half > 0, "no kill hit a run that was saving");
    train(&killed, &steps);
    same_run(&whole, &killed);
}

/// A file that may not grow is what a full disk looks like to who writes it.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, held) = (folder.path().join("whole"), folder.path().join("held"));
    let steps =
        ["--set", "train.steps=12", "--set", "train.save_every=4", "--set", "train.eval_every=0"];
    train(&whole, &steps);
    let mut child = starting(&held, &steps).spawn().unwrap();
    let first = held.join("checkpoints/step-00000004");

    while !first.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before the first checkpoint");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = crate::support::tree(&first);
    let command = starting(&held, &steps);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\""])
        .arg(command.get_program());
    let output =
        limited.args(command.get_args()).current_dir(crate::support::project()).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("cannot write") && stderr.contains("model.safetensors"), "{stderr}");
    assert!(crate::support::tree(&first) == before, "the checkpoint before is as it was");
    train(&held, &steps);

    same_run(&whole, &held);
}

#[test]
fn another_set_of_parameters_does_not_resume_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(&out, &["--set", "train.steps=2"]);
    let built = built();
    let args = ["train", "--shards", built.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let again = kpipe(
        &[&args[..], SMALL, &["--set", "train.steps=2", "--set", "train.optimiser.beta1=0.5"]]
            .concat(),
    );
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("hint"), "{}", text(&again.stderr));
}

/// The loop closes: what a model finds hard makes the next build's buckets.
#[test]
fn losses_of_a_run_count_in_the_next_build() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, &["--set", "train.steps=3", "--losses"]);
    let losses = crate::support::rows(&run, "losses");
    let shards = crate::support::rows(&built().join("data"), "train");
    let ids: std::collections::BTreeSet<String> = strings(&shards, "id").into_iter().collect();
    let measured = strings(&losses, "id");
    assert_eq!(measured.len(), ids.len(), "one row a document");
    assert!(measured.iter().all(|id| ids.contains(id)));
    let found = losses.iter().flat_map(|batch| {
        let column = batch.column_by_name("loss").unwrap();
        column.as_any().downcast_ref::<arrow::array::Float32Array>().unwrap().values().to_vec()
    });
    assert!(found.into_iter().all(|loss| loss > 0.0));
    let (out, key) = (
        folder.path().join("out"),
        format!("difficulty.losses={}", run.join("losses.parquet").display()),
    );
    succeed(&[
        "build",
        "--source",
        "wiki,pubmed",
        "--quiet",
        "--out",
        out.to_str().unwrap(),
        "--set",
        &key,
    ]);

    let edges = |out: &Path| std::fs::read(out.join("difficulty/edges.json")).unwrap();
    assert!(edges(&out) != edges(&built()));
}
