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

/// `truncated:1`, `missing_field:1-2,no_text:1-2`, `bomb:1 or too_large:1`; nothing for no refusal
/// at all.
fn allows_refusals(expected: &str, found: &BTreeMap<String, u64>) -> bool {
    expected.split(" or ").any(|all| {
        let wanted: BTreeMap<&str, &str> =
            all.split(',').filter_map(|one| one.split_once(':')).collect();
        found.keys().all(|reason| wanted.contains_key(reason.as_str()))
            && wanted.iter().all(|(reason, n)| allows(n, found.get(*reason).copied().unwrap_or(0)))
    })
}

struct Outcome {
    documents: u64,
    refused: BTreeMap<String, u64>,
    read: u64,
}

/// Builds from a file or folder of damaged input; see [`build_all`].
pub(crate) fn build_damaged(path: &Path, format: &str, folder: &Path) -> PathBuf {
    build_all(&[("hostile".to_string(), path.to_path_buf())], format, folder)
}

/// Builds from sources of damaged input, with every policy off; gives the folder of the room
/// `ingest`. The build ends within two minutes, with shards or with the plain statement that no
/// document is left, and every refused row names its file, its reason and what exactly.
fn build_all(sources: &[(String, PathBuf)], format: &str, folder: &Path) -> PathBuf {
    let pipeline = folder.join("hostile.toml");
    let source = |(name, path): &(String, PathBuf)| {
        format!("[source.{name}]\npath = {path:?}\nformat = \"{format}\"\nrole = \"general\"\n")
    };
    std::fs::write(&pipeline, sources.iter().map(source).collect::<String>()).unwrap();
    let names: Vec<&str> = sources.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(",");
    let out = folder.join("out");
    let (pipeline, out_arg) = (pipeline.to_str().unwrap(), out.to_str().unwrap());
    let mut args =
        vec!["build", "--source", &names, "--pipeline", pipeline, "--quiet", "--out", out_arg];

    for set in ["max_refused=1", "max_removed=1", "negatives.back_translation.engine=none"] {
        args.extend(["--set", set]);
    }
    let mut child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();

    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("{names} as {format} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }

    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    let nothing_left = output.status.code() == Some(3) && stderr.contains("no document is left");
    assert!(output.status.success() || nothing_left, "{names} as {format}: {stderr}");
    let ingest = out.join(".kpipe/1-ingest");
    let refused = rows(&ingest, "refused-");

    for column in ["file", "reason", "detail"] {
        assert!(
            strings(&refused, column).iter().all(|text| !text.is_empty()),
            "{names} as {format}"
        );
    }

    ingest
}

/// The books of ingest by source.
fn books(ingest: &Path) -> BTreeMap<String, Outcome> {
    let sources: serde_json::Value =
        serde_json::from_slice(&std::fs::read(ingest.join("sources.json")).unwrap()).unwrap();
    let outcome = |books: &serde_json::Value| {
        let reasons = books["refused"].as_object().cloned().unwrap_or_default();
        let found = Outcome {
            documents: books["kept"].as_u64().unwrap(),
            refused: reasons.into_iter().map(|(reason, n)| (reason, n.as_u64().unwrap())).collect(),
            read: books["read"].as_u64().unwrap(),
        };
        assert_eq!(found.read, found.documents + found.refused.values().sum::<u64>());
        found
    };

    sources
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, books)| (name.clone(), outcome(books)))
        .collect()
}

#[test]
fn every_broken_fixture_gives_what_is_whole_and_says_the_rest() {
    let table = std::fs::read_to_string(project().join("fixtures/hostile/EXPECTED.tsv")).unwrap();
    let mut wrong = Vec::new();

    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (file, format, documents, refused, n_read) =
            (columns[0], columns[1], columns[2], columns[3], columns[4]);
        let folder = tempfile::tempdir().unwrap();
        let ingest =
            build_damaged(&project().join("fixtures/hostile").join(file), format, folder.path());
        let found = &books(&ingest)["hostile"];
        let fits = allows(documents, found.documents)
            && allows_refusals(refused, &found.refused)
            && (n_read.is_empty() || allows(n_read, found.read));

        if !fits {
            wrong.push(format!(
                "{file}: {} documents, {:?} refused, {} read; expected {documents}, `{refused}`, \
                 {n_read}",
                found.documents, found.refused, found.read
            ));
        }
    }

    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Where a seeded rule damages the n-th copy of a file of so many bytes.
fn place(n: u64, low: usize, high: usize) -> usize {
    let drawn = xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes());
    low + usize::try_from(drawn % (high - low) as u64).unwrap()
}

/// A dump cut anywhere gives every page that was whole, and one with a byte changed anywhere
/// between or in pages accounts for each of them.
#[test]
fn no_page_of_a_cut_or_changed_dump_goes_missing() {
    let whole = std::fs::read(project().join("fixtures/wiki/zhwiki-sample.xml")).unwrap();
    let n_pages = |bytes: &[u8]| text(bytes).matches("</page>").count() as u64;
    let begin = text(&whole).find("<page>").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut sources, mut least) = (Vec::new(), BTreeMap::new());

    for n in 0..40 {
        let at = place(n, begin, whole.len() - 20);
        let (kind, bytes) =
            if n < 15 { ("cut", whole[..at].to_vec()) } else { ("changed", whole.clone()) };
        let (name, mut bytes) = (format!("{kind}-{n}"), bytes);
        // The tags between pages are hit on purpose, other places as they come.
        let at = if n % 3 == 0 {
            begin + text(&whole[begin..at]).rfind("page>").unwrap_or(0)
        } else {
            at
        };

        if kind == "changed" {
            bytes[at] ^= 1 << (n % 7);
        }
        let expected = n_pages(if kind == "cut" { &bytes } else { &whole });
        let path = folder.path().join(format!("{name}.xml"));
        std::fs::write(&path, bytes).unwrap();
        least.insert(name.clone(), expected);

        sources.push((name, path));
    }

    let found = books(&build_all(&sources, "wiki", folder.path()));
    for (name, expected) in least {
        assert!(found[&name].read >= expected, "{name}: {} of {expected} pages", found[&name].read);
    }
}

/// The verdict on a file of the JSON test suite is the first letter of its name: `y` must parse,
/// `n` must not.
///
/// Two of them are no matter of parsing here: an empty file holds no record, and commas between the
/// elements of an array, or a value behind another one, take nothing away from the values, each of
/// which is told. `Infinity`, as Python writes it, is null by design.
#[test]
fn json_is_judged_as_its_test_suite_does() {
    let Some(data) = crate::support::real_data() else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(data.join("nasty-inputs/json"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let sources: Vec<(String, PathBuf)> =
        files.iter().enumerate().map(|(n, path)| (format!("s{n}"), path.clone())).collect();
    let folder = tempfile::tempdir().unwrap();
    let found = books(&build_all(&sources, "jsonl", folder.path()));
    let (mut wrong, mut tolerated) = (Vec::new(), 0);

    for (name, path) in &sources {
        let damage = ["malformed", "truncated", "encoding", "wrong_format", "too_large"];
        let is_damaged = damage.iter().any(|reason| found[name].refused.contains_key(*reason));
        let file = path.file_name().unwrap().to_str().unwrap();
        let is_tolerated = file.contains("comma")
            || file.contains("trailing_garbage")
            || file.contains("missing_value")
            || file == "n_structure_no_data.json"
            || file.ends_with("infinity.json");

        match &file[..1] {
            "y" if is_damaged => wrong.push(file),
            "n" if !is_damaged && is_tolerated => tolerated += 1,
            "n" if !is_damaged => wrong.push(file),
            _ => {}
        }
    }

    assert!(wrong.is_empty() && tolerated < 12, "{wrong:?} {tolerated}");
    assert!(sources.len() > 200);
}
