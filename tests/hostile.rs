use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{command, project, rows, strings, text};

/// `2`, `2-3`, `1-` or `0 or 3`.
fn allows(expected: &str, n: u64) -> bool {
    expected.split(" or ").any(|range| match range.split_once('-') {
        Some((low, "")) => n >= low.parse().unwrap(),
        Some((low, high)) => (low.parse().unwrap()..=high.parse().unwrap()).contains(&n),
        None => n == range.parse::<u64>().unwrap(),
    })
}

/// `truncated:1`, `missing_field:1-2,no_text:1-2`, `bomb:1 or too_large:1`; nothing for no refusal at all.
fn allows_refusals(expected: &str, found: &BTreeMap<String, u64>) -> bool {
    expected.split(" or ").any(|all| {
        let wanted: BTreeMap<&str, &str> = all.split(',').filter_map(|one| one.split_once(':')).collect();
        found.keys().all(|reason| wanted.contains_key(reason.as_str()))
            && wanted.iter().all(|(reason, n)| allows(n, found.get(*reason).copied().unwrap_or(0)))
    })
}

struct Outcome {
    documents: u64,
    refused: BTreeMap<String, u64>,
    read: u64,
}

/// Builds from a file or folder of damaged input, with every policy off; gives the folder of the room `ingest`. The build
/// ends within two minutes, with shards or with the plain statement that no document is left, and every refused row
/// names its file, its reason and what exactly.
pub(crate) fn build_damaged(path: &Path, format: &str, folder: &Path) -> PathBuf {
    let pipeline = folder.join("hostile.toml");
    let source = format!("[source.hostile]\npath = {path:?}\nformat = \"{format}\"\nrole = \"general\"\n");
    std::fs::write(&pipeline, source).unwrap();
    let out = folder.join("out");
    let (pipeline, out_arg) = (pipeline.to_str().unwrap(), out.to_str().unwrap());
    let mut args = vec!["build", "--source", "hostile", "--pipeline", pipeline, "--quiet", "--out", out_arg];
    for set in ["max_refused=1", "max_removed=1", "negatives.back_translation.engine=none"] {
        args.extend(["--set", set]);
    }
    let mut child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("{} as {format} hangs", path.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    let nothing_left = output.status.code() == Some(3) && stderr.contains("no document is left");
    assert!(output.status.success() || nothing_left, "{} as {format}: {stderr}", path.display());
    let ingest = out.join(".kpipe/1-ingest");
    let refused = rows(&ingest, "refused-");
    for column in ["file", "reason", "detail"] {
        assert!(strings(&refused, column).iter().all(|text| !text.is_empty()), "{} as {format}", path.display());
    }
    ingest
}

/// Builds from one file and reads the books of ingest, whether or not a document was left.
fn read(path: &Path, format: &str, folder: &Path) -> Outcome {
    let ingest = build_damaged(path, format, folder);
    let books: serde_json::Value =
        serde_json::from_slice(&std::fs::read(ingest.join("sources.json")).unwrap()).unwrap();
    let books = &books["hostile"];
    let reasons = books["refused"].as_object().cloned().unwrap_or_default();
    Outcome {
        documents: books["kept"].as_u64().unwrap_or(0),
        refused: reasons.into_iter().map(|(reason, n)| (reason, n.as_u64().unwrap())).collect(),
        read: books["read"].as_u64().unwrap_or(0),
    }
}

#[test]
fn every_broken_fixture_gives_what_is_whole_and_says_the_rest() {
    let table = std::fs::read_to_string(project().join("fixtures/hostile/EXPECTED.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (file, format, documents, refused, n_read) = (columns[0], columns[1], columns[2], columns[3], columns[4]);
        let folder = tempfile::tempdir().unwrap();
        let found = read(&project().join("fixtures/hostile").join(file), format, folder.path());
        let fits = allows(documents, found.documents)
            && allows_refusals(refused, &found.refused)
            && (n_read.is_empty() || allows(n_read, found.read));
        if !fits {
            wrong.push(format!(
                "{file}: {} documents, {:?} refused, {} read; expected {documents}, `{refused}`, {n_read}",
                found.documents, found.refused, found.read
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
