//! Questions asked of a GPT-2, beside lm-evaluation-harness with torch: the same model, the same
//! items, the same accuracies, or the bench fails.
//!
//! Items are made of English text: a passage and what follows it, among three endings of other
//! passages, or four letters of which one is right. Loading the model is left out of both sides;
//! the harness has the best of several batch sizes.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::inputs::Inputs;
use crate::measure::{line, numbers};

const ITEMS: usize = 200;
/// Words of a passage and of an ending.
const WORDS: [usize; 2] = [40, 12];
/// Two sums that differ in their last bits may choose otherwise in one item.
const OFF: f64 = 1.5 / ITEMS as f64;

/// What a side came to: seconds, and the three accuracies.
struct Told {
    seconds: f64,
    accuracies: [f64; 3],
}

/// Prints how long each side takes.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let Some(python) = std::env::var_os("KPIPE_BENCH_PYTHON") else {
        say!("not measured: KPIPE_BENCH_PYTHON does not name a Python that has lm_eval and torch");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let passages = passages(inputs)?;
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/eval_peer.py");
    let model = folder.path().join("model");

    for (name, items) in [("endings", endings(&passages)), ("letters", letters(&passages))] {
        let place = folder.path().join(format!("{name}.jsonl"));
        let mut file = std::fs::File::create(&place)?;
        items.iter().try_for_each(|item| writeln!(file, "{item}"))?;
        if !model.exists() {
            let mut make = Command::new(&python);
            let made = make.arg(&peer).arg("make").arg(&model).arg(&place).output()?;
            if !made.status.success() {
                return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
            }
        }

        let (mut own, mut harness): (Option<Told>, Option<Told>) = (None, None);
        for _ in 0..inputs.rounds {
            own = Some(best(own, ask(&model, &place, folder.path())?));
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let mut asked = Command::new(&python);
            asked.arg(&peer).arg("ask").arg(&model).arg(&place).arg(threads.to_string());
            let [seconds, accuracies @ ..] = numbers::<4>(asked.env("HF_HUB_OFFLINE", "1"))?;
            harness = Some(best(harness, Told { seconds, accuracies }));
        }

        let (Some(own), Some(harness)) = (own, harness) else { continue };
        let mut pairs = own.accuracies.iter().zip(&harness.accuracies);
        if !pairs.all(|(own, other)| (own - other).abs() <= OFF) {
            let told = format!("{:?}, not {:?}", own.accuracies, harness.accuracies);
            return Err(format!("{name}: the accuracies are {told}").into());
        }
        line(
            &format!("  {ITEMS} items, {name}"),
            &format!("{:.1} s", own.seconds),
            &format!("{:.2} x lm-evaluation-harness", harness.seconds / own.seconds),
        );
    }
    say!("goal: 1.0 x");
    Ok(())
}

/// Passages with what follows each.
fn passages(inputs: &Inputs) -> Result<Vec<[String; 2]>> {
    let mut found = Vec::new();
    for (_, text) in inputs.texts()? {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [passage, ending] = WORDS;
        for cut in words.chunks_exact(passage + ending) {
            found.push([cut[..passage].join(" "), cut[passage..].join(" ")]);
        }
        if found.len() >= ITEMS {
            return Ok(found);
        }
    }
    Err("the texts are too short for a bench".into())
}

fn endings(passages: &[[String; 2]]) -> Vec<Value> {
    let item = |nth: usize| {
        let choices: Vec<&String> =
            (0..4).map(|other| &passages[(nth + other * 7) % passages.len()][1]).collect();
        // The right one stands in any place.
        let mut turned = choices.clone();
        turned.rotate_right(nth % 4);
        json!({"question": passages[nth][0], "choices": turned, "answer": nth % 4})
    };
    (0..ITEMS).map(item).collect()
}

fn letters(passages: &[[String; 2]]) -> Vec<Value> {
    let item = |item: Value| {
        let options = item["choices"].as_array().into_iter().flatten().zip(["A", "B", "C", "D"]);
        let listed: String = options
            .map(|(option, letter)| format!("{letter}. {}\n", option.as_str().unwrap_or("")))
            .collect();
        let question = item["question"].as_str().unwrap_or_default();
        let question = format!("{question}\n{listed}Answer:");
        json!({"question": question, "choices": ["A", "B", "C", "D"], "answer": item["answer"]})
    };
    endings(passages).into_iter().map(item).collect()
}

fn best(before: Option<Told>, now: Told) -> Told {
    match before {
        Some(before) if before.seconds < now.seconds => before,
        _ => now,
    }
}

/// Asks the program, and reads what it tells.
fn ask(model: &Path, items: &Path, folder: &Path) -> Result<Told> {
    let out = folder.join("out");
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    let task = format!("choices={}", items.display());
    let output = Command::new(env!("CARGO_BIN_EXE_kpipe"))
        .args(["eval", "--json", "--task", &task, "--model"])
        .arg(model)
        .arg("--out")
        .arg(&out)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }

    let events = String::from_utf8_lossy(&output.stderr).into_owned();
    let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let seconds = events
        .filter(|event| event["event"] == "end")
        .find_map(|event| event["seconds"].as_f64())
        .ok_or("kpipe told no time")?;
    let results: Value = serde_json::from_slice(&output.stdout)?;
    let metrics = results["tasks"][0]["metrics"].as_array().ok_or("kpipe told no metrics")?;
    let value = |name: &str| {
        let metric = metrics.iter().find(|one| one["name"] == *name);
        metric.and_then(|metric| metric["value"].as_f64()).unwrap_or(f64::NAN)
    };
    Ok(Told { seconds, accuracies: ["acc", "acc_norm", "acc_mutual_info"].map(value) })
}
