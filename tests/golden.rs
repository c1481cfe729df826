//! What the fixtures give, to the byte: a build, and a short run of each family.
//!
//! A refactor leaves these hashes as they are. Where a change is meant, `KPIPE_GOLDEN=write`
//! records them anew, and the commit says why they moved.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::support::{command, project, succeed, text, tree};

/// What a run leaves whose bytes say what was learned and from what.
const LEARNED: &[&str] = &[
    "adapter.safetensors",
    "contrastive.safetensors",
    "config.json",
    "consumed.jsonl",
    "ema/model.safetensors",
    "model.safetensors",
    "tokenizer.json",
];

/// Runs of a few steps, by name.
const RUNS: &[(&str, &[&str])] = &[
    ("gpt2", &["--preset", "gpt2-tiny"]),
    ("llama", &["--preset", "llama-7b-tiny"]),
    ("t5", &["--preset", "t5-base-tiny"]),
    ("bert", &["--preset", "bert-base-tiny", "--set", "train.strategy.ema.decay=0.9"]),
];

/// The hashes by name, one a line, as `sha256sum` writes them.
fn compare(file: &str, found: &BTreeMap<String, String>) {
    let place = project().join("tests").join(file);
    if std::env::var("KPIPE_GOLDEN").is_ok_and(|what| what == "write") {
        let lines: String = found.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
        std::fs::write(&place, lines).unwrap();
    }

    let text = std::fs::read_to_string(&place).unwrap();
    let known: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, name)| (name.to_string(), hash.to_string()))
        .collect();

    let names = known.keys().chain(found.keys());
    let moved: Vec<&String> = names.filter(|name| known.get(*name) != found.get(*name)).collect();
    assert!(
        moved.is_empty(),
        "these bytes are others than before (see tests/golden.rs): {moved:?}"
    );
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn build(out: &Path) {
    let args = ["build", "--source", "wiki,pubmed", "--quiet", "--out", out.to_str().unwrap()];
    // What a translator writes depends on its version.
    succeed(&[&args[..], &["--set", "negatives.back_translation.engine=none"]].concat());
}

#[test]
fn a_build_gives_the_bytes_it_gave() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    build(&out);

    let mut found = BTreeMap::new();
    for (path, bytes) in tree(&out) {
        let name = path.to_str().unwrap().to_string();
        // The page, the card and the mark are made of what is here.
        if name.contains('/') {
            found.insert(name, hash(&bytes));
        } else if name == "manifest.json" {
            let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            // A build does not read the keys of the trainer, nor ask a translator for anything.
            manifest["pipeline"].as_object_mut().unwrap().remove("train");
            manifest.as_object_mut().unwrap().remove("engines");
            found.insert(name, hash(manifest.to_string().as_bytes()));
        }
    }

    compare("golden-build.sha256", &found);
}

/// Other processors have other mathematical functions.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_run_of_each_family_gives_the_bytes_it_gave_with_any_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("built");
    build(&built);

    let wide = std::arch::is_x86_feature_detected!("avx512f");
    let narrow = std::arch::is_x86_feature_detected!("fma");
    // What multiplies bf16 changes nothing in f32.
    let halves = std::arch::is_x86_feature_detected!("avx512bf16");
    for (instructions, is_here) in [("avx2", narrow), ("avx512", wide), ("avx512bf16", halves)] {
        if is_here {
            let found = runs(&built, instructions, &folder.path().join(instructions));
            compare("golden-train.sha256", &found);
        }
    }
}

/// The hashes of what the runs leave in `folder`.
fn runs(built: &Path, instructions: &str, folder: &Path) -> BTreeMap<String, String> {
    let out = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let mut found = BTreeMap::new();
    let mut train = |name: &str, more: &[&str]| {
        let small = ["train.steps=6", "train.batch=4", "train.accumulate=2", "train.max_tokens=48"];
        let rare = ["train.eval_every=3", "train.eval_windows=16", "train.save_every=3"];
        let settings: Vec<&str> =
            small.iter().chain(&rare).flat_map(|setting| ["--set", *setting]).collect();
        let (built, place) = (built.to_str().unwrap(), out(name));
        let args: &[&str] = &["train", "--shards", built, "--out", &place, "--quiet"];
        let done = command(&[args, more, &settings].concat())
            .env("KPIPE_SIMD", instructions)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));

        for file in LEARNED {
            if let Ok(bytes) = std::fs::read(Path::new(&place).join(file)) {
                found.insert(format!("{name}/{file}"), hash(&bytes));
            }
        }
    };

    RUNS.iter().for_each(|(name, more)| train(name, more));
    let gpt2 = out("gpt2");
    train("adapter", &["--adapter", "--init", &gpt2]);
    found
}
