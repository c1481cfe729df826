//! Back-translation by neural models, from folders of models to what stands in the shards.

use std::fmt::Write;
use std::path::Path;

use crate::support::{command, fail, manifest, project, same_bytes, text};

/// The two models of `fixtures/parity/marian` that translate into each other: they know ten
/// sentences, and of others they make what ten sentences teach.
fn models() -> String {
    let folder = |name: &str| project().join("fixtures/parity/marian").join(name);
    let names = [folder("shared"), folder("narrow")].map(|path| path.display().to_string());
    format!("negatives.back_translation.models={}", serde_json::json!(names))
}

/// Documents in Chinese and English.
fn corpus(place: &Path) {
    let mut lines = String::new();
    for nth in 0..40 {
        let (language, text) = match nth % 2 {
            0 => ("zh", format!("护士在第{nth}天锁上药柜之前把药片数了两遍，并且记了下来。")),
            _ => (
                "en",
                format!("On day {nth} the nurse counted all tablets before the doors closed."),
            ),
        };
        let line = serde_json::json!({"id": nth.to_string(), "text": text, "language": language});
        writeln!(lines, "{line}").unwrap();
    }
    std::fs::write(place, lines).unwrap();
}

#[test]
fn two_models_translate_both_languages_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("domain.jsonl");
    corpus(&file);
    let build = |out: &Path, more: &[&str], threads: &str| {
        let source = format!("domain={}", file.display());
        let models = models();
        let set = ["negatives.min_similarity=0.0", "negatives.max_length_ratio=10.0", &models];
        let out = out.to_str().unwrap();
        let mut args = vec!["build", "--quiet", "--source", &source, "--out", out];
        args.extend(set.iter().chain(more).flat_map(|one| ["--set", one]));
        let done = command(&args).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
    };
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    build(&one, &[], "1");
    build(&two, &[], "3");
    same_bytes(&one, &two);

    let told = manifest(&one);
    assert_eq!(told["engines"][0]["engine"], "marian");
    assert_eq!(told["engines"][0]["used"], true);
    let rooms = told["rooms"].as_array().unwrap();
    let notes = &rooms.iter().find(|room| room["room"] == "negatives").unwrap()["books"]["notes"];
    let n = |name: &str| notes[name].as_u64().unwrap_or(0);
    assert_eq!(n("sentences back-translated") + n("sentences the engine failed on"), 40, "{notes}");
    assert!(n("sentences back-translated") > 20, "{notes}");
    assert!(n("back-translations dropped: not as people write") > 0, "{notes}");

    // With beams other sentences come back.
    let beams = folder.path().join("beams");
    build(&beams, &["negatives.back_translation.beams=3"], "2");
    let pairs = |out: &Path| {
        let negatives = out.join(".kpipe/7-negatives");
        std::fs::read_to_string(negatives.join("translated-00000.json")).unwrap()
    };
    assert_ne!(pairs(&one), pairs(&beams));
}

#[test]
fn models_that_cannot_be_used_stop_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let args = |set: &'static str| {
        ["build", "--source", "pubmed", "--out", out, "--dry-run", "--set", set]
    };
    let of = |set| args(set);
    fail(
        &of("negatives.back_translation.models=[\"a\"]"),
        2,
        &["two models", "there and one back"],
    );
    fail(&of("negatives.back_translation.models=[\"none\",\"none\"]"), 2, &["no folder `none`"]);
}
