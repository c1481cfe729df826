//! The room as a whole, against brute force, against generators of texts that must stay or go, and
//! (in `real`) on real data.

mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Float32Type, UInt16Type, UInt64Type};
use rand_chacha::ChaCha8Rng;

use super::shingles::Shingler;
use super::verify::{Rule, similarity};
use super::{Params, Signer, run};
use crate::draw;
use crate::error::Result;
use crate::flow::books::Books;
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::{Batches, Dataset, PartWriter, read_json};
use crate::flow::progress::Silent;
use crate::flow::room::Context;
use crate::text::normal::normalise;

pub(super) fn params() -> Params {
    #[derive(serde::Deserialize)]
    struct File {
        dedup: Params,
    }
    toml::from_str::<File>(include_str!("../../pipelines/default.toml")).unwrap().dedup
}

#[derive(Clone, Debug)]
struct Doc {
    id: String,
    text: String,
    source: &'static str,
    priority: i32,
    title: Option<&'static str>,
}

fn doc(id: impl Into<String>, text: impl Into<String>) -> Doc {
    Doc { id: id.into(), text: text.into(), source: "s", priority: 0, title: None }
}

fn batch(docs: &[Doc]) -> RecordBatch {
    let words = |f: &dyn Fn(&Doc) -> Option<String>| {
        Arc::new(docs.iter().map(f).collect::<StringArray>()) as ArrayRef
    };
    let none = || words(&|_| None);
    contract("document")
        .unwrap()
        .batch(vec![
            words(&|d| Some(d.id.clone())),
            words(&|d| Some(d.text.clone())),
            words(&|d| Some(d.source.to_string())),
            words(&|_| Some("general".to_string())),
            none(),
            words(&|d| d.title.map(str::to_string)),
            none(),
            none(),
            none(),
            words(&|_| Some("f".to_string())),
            Arc::new(UInt64Array::from(vec![0; docs.len()])),
            Arc::new(docs.iter().map(|d| d.priority).collect::<Int32Array>()),
            none(),
        ])
        .unwrap()
}

/// Writes documents as parts of `part_rows` rows in batches of `batch_rows`.
fn write(folder: &Path, docs: &[Doc], part_rows: usize, batch_rows: usize) -> Dataset {
    let enters = contract("document").unwrap();
    let mut parts = Vec::new();

    for (idx, docs) in docs.chunks(part_rows).enumerate() {
        let mut writer =
            PartWriter::create(&folder.join(format!("part-{idx:05}.parquet")), enters).unwrap();
        docs.chunks(batch_rows).for_each(|docs| writer.write(&batch(docs)).unwrap());
        parts.push(writer.finish().unwrap());
    }

    Dataset { contract: enters, parts }
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    removed: String,
    survivor: String,
    rule: String,
    jaccard: f32,
    containment: f32,
    bands: u16,
}

/// What came out of a run.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// Neighbourhood of each document that was kept.
    kept: BTreeMap<String, u64>,
    ledger: Vec<Entry>,
    books: Books,
}

impl Found {
    fn removed(&self) -> BTreeSet<&str> {
        self.ledger.iter().map(|entry| entry.removed.as_str()).collect()
    }
}

fn context(folder: &Path, memory_bytes: u64) -> Context<'_> {
    Context { room: "dedup", folder, seed: 17, memory_bytes, progress: &Silent }
}

fn read(folder: &Path, n_parts: usize) -> Found {
    let mut found = Found::default();
    for part in 0..n_parts {
        let cx = context(folder, 0);
        found.books.add(&read_json(&cx.numbered("books", part, "json")).unwrap().unwrap());
        let place = cx.numbered("part", part, "parquet");

        for batch in Batches::open(&place, Some(contract("unique").unwrap()), None).unwrap() {
            let batch = batch.unwrap();
            let near = numbers::<UInt64Type>(&batch, "neighbourhood").unwrap();
            for (id, near) in strings(&batch, "id").unwrap().iter().zip(near) {
                assert!(
                    found.kept.insert(id.unwrap().to_string(), near.unwrap()).is_none(),
                    "{id:?} was kept twice"
                );
            }
        }

        let place = cx.numbered("duplicates", part, "parquet");
        if !place.exists() {
            continue;
        }

        for batch in Batches::open(&place, Some(contract("duplicate").unwrap()), None).unwrap() {
            let batch = batch.unwrap();
            let word =
                |name: &str, row: usize| strings(&batch, name).unwrap().value(row).to_string();
            found.ledger.extend((0..batch.num_rows()).map(|row| Entry {
                removed: word("removed_id", row),
                survivor: word("survivor_id", row),
                rule: word("rule", row),
                jaccard: numbers::<Float32Type>(&batch, "jaccard").unwrap().value(row),
                containment: numbers::<Float32Type>(&batch, "containment").unwrap().value(row),
                bands: numbers::<UInt16Type>(&batch, "bands").unwrap().value(row),
            }));
        }
    }
    found
}

fn dedup_with(docs: &[Doc], params: &Params, max_removed: f64, memory_bytes: u64) -> Result<Found> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir(&input).unwrap();
    std::fs::create_dir(&output).unwrap();
    let dataset = write(&input, docs, 100, 37);
    run(&dataset, params, max_removed, &context(&output, memory_bytes))?;
    Ok(read(&output, dataset.parts.len()))
}

fn dedup(docs: &[Doc]) -> Found {
    dedup_with(docs, &params(), 1.0, 1 << 30).unwrap()
}

static SYLLABLES: &[&str] = &[
    "ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "zu", "pha", "gri", "stel", "qua", "dor",
    "lin",
];

/// A word of an invented language, frequent ones drawn more often.
fn word(rng: &mut ChaCha8Rng) -> String {
    let u = draw::next_unit(rng);
    let mut n = (u * u * 3_000.0) as usize + 1;
    let mut word = String::new();
    while n > 0 {
        word.push_str(SYLLABLES[n % 16]);
        n /= 16;
    }
    word
}

fn han(rng: &mut ChaCha8Rng) -> char {
    let u = draw::next_unit(rng);
    char::from_u32(0x4e00 + (u * u * 3_000.0) as u32).unwrap()
}

/// Tokens of a text and how to put them together again.
fn tokens(rng: &mut ChaCha8Rng, n: usize, chinese: bool) -> Vec<String> {
    (0..n).map(|_| if chinese { han(rng).to_string() } else { word(rng) }).collect()
}

fn join(tokens: &[String], chinese: bool) -> String {
    tokens.join(if chinese { "" } else { " " })
}

/// Copies with typing, scanning and layout errors at about `rate` of the tokens.
fn edited(rng: &mut ChaCha8Rng, tokens: &[String], rate: f64, chinese: bool) -> String {
    let mut edited = Vec::new();
    for token in tokens {
        match draw::next_unit(rng) / rate {
            x if x < 0.5 => {
                edited.push(if chinese { han(rng).to_string() } else { format!("{token}x") })
            }
            x if x < 0.75 => {}
            x if x < 1.0 => {
                edited.extend([token.clone(), if chinese { "的".into() } else { "the".into() }])
            }
            _ => edited.push(token.clone()),
        }
    }

    let text = join(&edited, chinese);
    if chinese {
        text.replace('的', "，的")
    } else {
        text.replace(" ba", ",  Ba").to_uppercase()
    }
}

/// Documents that fill the same template of `n` tokens, with `slots` of them filled differently in
/// each.
fn templated(seed: u64, n_docs: usize, n: usize, slots: usize, chinese: bool) -> Vec<Doc> {
    let mut rng = draw::stream(seed, "template", b"");
    let template = tokens(&mut rng, n, chinese);
    (0..n_docs)
        .map(|i| {
            let mut filled = template.clone();
            for slot in 0..slots {
                let other = (i * slots + slot) as u32;
                let han = char::from_u32(0x6000 + other).unwrap().to_string();
                filled[(2 * slot + 1) * n / (2 * slots)] =
                    if chinese { han } else { format!("q{other}") };
            }
            doc(format!("t:{i:04}"), join(&filled, chinese))
        })
        .collect()
}

fn set(text: &str) -> Vec<u64> {
    Shingler::new(params().shingle_words, params().shingle_chars).set(&normalise(text))
}

fn share_a_band(signer: &mut Signer, a: &str, b: &str) -> bool {
    let (a, b) = (signer.keys(a), signer.keys(b));
    !a.too_short && a.bands.iter().zip(&b.bands).any(|(x, y)| x == y)
}

#[test]
fn templated_texts_stay_where_bands_alone_would_merge_them() {
    for (chinese, n, slots) in [(false, 240, 6), (true, 380, 6)] {
        let docs = templated(1, 120, n, slots, chinese);
        let mut signer = Signer::new(&params());
        let mut proposed = 0;

        for (i, a) in docs.iter().enumerate() {
            for b in &docs[..i] {
                let found = similarity(&set(&a.text), &set(&b.text));
                assert!(
                    found.jaccard < 0.8,
                    "the generator is meant to stay below the threshold: {found:?}"
                );
                proposed += usize::from(share_a_band(&mut signer, &a.text, &b.text));
            }
        }

        assert!(proposed > 3_000, "bands alone would link {proposed} of 7,140 pairs");
        let found = dedup(&docs);
        assert_eq!(found.ledger, [], "chinese: {chinese}");
        let neighbourhoods: BTreeSet<u64> = found.kept.values().copied().collect();
        assert!(
            neighbourhoods.len() <= 2,
            "a split must still keep them on one side: {}",
            neighbourhoods.len()
        );
    }
}

#[test]
fn edited_copies_go() {
    for chinese in [false, true] {
        let mut rng = draw::stream(2, "edits", &[u8::from(chinese)]);
        let (mut docs, n) = (Vec::new(), 60);

        for i in 0..n {
            let original = tokens(&mut rng, 150 + 5 * i, chinese);
            docs.push(doc(format!("a:{i:03}"), join(&original, chinese) + "!!"));
            docs.push(doc(
                format!("b:{i:03}"),
                edited(&mut rng, &original, if chinese { 0.005 } else { 0.008 }, chinese),
            ));
        }

        let found = dedup(&docs);
        let right = |entry: &Entry| entry.removed[2..] == entry.survivor[2..];
        assert!(found.ledger.iter().all(right), "unrelated texts were merged");
        assert!(
            found.ledger.len() >= n * 95 / 100,
            "chinese {chinese}: {} of {n} copies found",
            found.ledger.len()
        );
    }
}

/// Against all pairs: every removal is true, and what lies above the threshold is found as often as
/// theory says.
#[test]
fn agrees_with_brute_force() {
    let mut rng = draw::stream(3, "brute", b"");
    let mut docs = Vec::new();

    for i in 0..100 {
        let chinese = i % 4 == 0;
        let original = tokens(&mut rng, 60 + 2 * i, chinese);
        docs.push(doc(format!("o:{i}"), join(&original, chinese)));
        for copy in 0..3 {
            let rate = [0.004, 0.02, 0.06][copy];
            docs.push(doc(format!("c:{i}:{copy}"), edited(&mut rng, &original, rate, chinese)));
        }
    }

    let (found, p) = (dedup(&docs), params());
    let sets: BTreeMap<&str, Vec<u64>> =
        docs.iter().map(|doc| (doc.id.as_str(), set(&doc.text))).collect();

    for entry in &found.ledger {
        let (removed, survivor) = (&sets[entry.removed.as_str()], &sets[entry.survivor.as_str()]);
        let truth = similarity(removed, survivor);
        assert_eq!(
            (truth.jaccard as f32, truth.containment as f32),
            (entry.jaccard, entry.containment)
        );
        assert!(
            found.kept.contains_key(&entry.survivor),
            "{entry:?}: the survivor did not survive"
        );
        let held = truth.containment >= p.containment && removed.len() <= survivor.len();

        match entry.rule.as_str() {
            "exact" => assert_eq!((truth.jaccard, entry.bands), (1.0, 14)),
            "jaccard" => assert!(truth.jaccard >= p.jaccard && entry.bands >= 1),
            "containment" => assert!(truth.jaccard < p.jaccard && held && entry.bands >= 1),
            rule => panic!("{rule}"),
        }
    }

    let (mut above, mut missed) = (0, 0);
    let kept: Vec<&str> = found.kept.keys().map(String::as_str).collect();

    for (i, a) in docs.iter().enumerate() {
        for b in &docs[..i] {
            let pair = (a.id.as_str(), b.id.as_str());
            if similarity(&sets[pair.0], &sets[pair.1]).jaccard >= 0.9 {
                above += 1;
                missed += usize::from(kept.contains(&pair.0) && kept.contains(&pair.1));
            }
        }
    }

    assert!(above > 50, "the generator made {above} pairs above 0.9");
    assert_eq!(missed, 0, "of {above} pairs above 0.9, which bands propose with 99.9 %");
}

#[test]
fn a_cluster_never_grows_through_a_chain() {
    let mut rng = draw::stream(4, "chain", b"");
    let base = tokens(&mut rng, 400, false);
    let shifted = |by: usize| join(&base[by..by + 300], false);
    // Neighbours overlap by 280 of 300 words (J about 0.87), the ends by 260 (0.76): too little.
    let docs = [doc("m:1", shifted(0)), doc("m:2", shifted(20)), doc("m:3", shifted(40))];
    let found = dedup(&docs);
    assert!(similarity(&set(&docs[0].text), &set(&docs[2].text)).jaccard < 0.8);
    let best = docs
        .iter()
        .max_by_key(|doc| (doc.text.chars().count(), std::cmp::Reverse(&doc.id)))
        .unwrap();

    for entry in &found.ledger {
        assert!(entry.jaccard >= 0.8, "{entry:?}");
    }
    assert!(found.kept.contains_key(&best.id));
    assert!(found.ledger.len() == if best.id == "m:2" { 2 } else { 1 }, "{found:?}");
}

/// Bands propose a pair of similarity 0.77 with a probability of 0.8, so 20 pairs are tried.
#[test]
fn an_excerpt_goes_for_the_whole_and_never_the_reverse() {
    let mut rng = draw::stream(5, "excerpt", b"");
    let mut docs = Vec::new();

    for i in 0..20 {
        let whole = tokens(&mut rng, 300, i % 2 == 0);
        docs.push(Doc {
            priority: 1,
            ..doc(format!("excerpt:{i}"), join(&whole[..235], i % 2 == 0))
        });
        docs.push(doc(format!("whole:{i}"), join(&whole, i % 2 == 0)));
    }
    // The excerpts have the better rank, and hold too little of the wholes to remove them.
    assert_eq!(dedup(&docs).ledger, []);
    docs.iter_mut().for_each(|doc| doc.priority = 0);
    let found = dedup(&docs);
    assert!(found.ledger.len() >= 10, "{}", found.ledger.len());

    for entry in &found.ledger {
        assert_eq!(entry.removed.replace("excerpt", "whole"), entry.survivor);
        assert_eq!(entry.rule, "containment");
    }
}

#[test]
fn short_and_empty_texts_are_compared_exactly() {
    let docs = [
        "yes",
        "no",
        "Yes!",
        "一二",
        "---",
        "***",
        "---",
        "one two three four",
        "one two three five",
    ];

    let docs: Vec<Doc> =
        docs.iter().enumerate().map(|(i, text)| doc(format!("x:{i}"), *text)).collect();
    let found = dedup(&docs);
    assert_eq!(
        found.removed(),
        BTreeSet::from(["x:0", "x:6"]),
        "the longer spelling and the first id stay"
    );
    assert_eq!(found.books.notes["too short to shingle"], 9);
    assert_eq!(found.kept.values().collect::<BTreeSet<_>>().len(), 7, "nothing else is linked");
}

#[test]
fn the_survivor_is_the_best_by_priority_completeness_and_id() {
    let text = "the quick brown fox jumps over the lazy dog again and again";
    let check = |docs: &[Doc], survivor: &str| {
        let found = dedup(docs);
        assert_eq!(found.kept.keys().collect::<Vec<_>>(), [survivor]);
        assert!(
            found.ledger.iter().all(|entry| entry.survivor == survivor && entry.rule == "exact")
        );
    };

    check(&[doc("b", text), doc("a", text), doc("c", text)], "a");
    check(&[doc("a", text), doc("b", format!("{text}...")), doc("c", text)], "b");
    check(
        &[
            doc("a", format!("{text}...")),
            doc("b", text),
            Doc { title: Some("T"), ..doc("c", text) },
        ],
        "c",
    );
    check(
        &[
            Doc { title: Some("T"), ..doc("a", text) },
            Doc { priority: 1, ..doc("b", text) },
            doc("c", text),
        ],
        "b",
    );
}

#[test]
fn one_id_survives_once() {
    let mut rng = draw::stream(6, "ids", b"");
    let (a, b) = (tokens(&mut rng, 80, false), tokens(&mut rng, 90, false));
    let docs = [
        doc("p:1", join(&a, false)),
        doc("p:1", join(&b, false)),
        doc("p:2", join(&a, false)),
        doc("p:1", join(&b, false)),
        doc("p:3", "too short"),
        doc("p:3", "much too short"),
    ];

    let found = dedup(&docs);
    assert_eq!(found.kept.keys().map(String::as_str).collect::<Vec<_>>(), ["p:1", "p:2", "p:3"]);
    let rules: BTreeMap<String, u64> = BTreeMap::from([("same_id".into(), 3)]);
    assert_eq!(found.books.duplicates, rules);
    let similar: Vec<f32> = found.ledger.iter().map(|entry| entry.jaccard).collect();

    assert_eq!(similar, [0.0, 1.0, 0.0]);
}

#[test]
fn rows_threads_and_memory_change_nothing() {
    let mut rng = draw::stream(7, "order", b"");
    let mut docs = templated(8, 60, 200, 5, false);

    for i in 0..80 {
        let original = tokens(&mut rng, 40 + i, i % 3 == 0);
        docs.push(doc(format!("o:{i}"), join(&original, i % 3 == 0)));
        docs.push(Doc {
            priority: i as i32 % 2,
            source: "r",
            ..doc(format!("e:{i}"), edited(&mut rng, &original, 0.01, i % 3 == 0))
        });
        docs.push(doc(format!("x:{}", i % 70), join(&original, i % 3 == 0)));
    }

    let expected = dedup(&docs);
    assert!(expected.ledger.len() > 100, "{}", expected.ledger.len());
    let sorted = |mut found: Found| {
        let key =
            |entry: &Entry| (entry.removed.clone(), entry.survivor.clone(), entry.rule.clone());
        found.ledger.sort_by(|a, b| key(a).cmp(&key(b)).then(a.jaccard.total_cmp(&b.jaccard)));
        found
    };

    assert_eq!(dedup_with(&docs, &params(), 1.0, 1).unwrap(), expected, "in many passes");
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| dedup(&docs)), expected, "{threads} threads");
    }

    let expected = sorted(expected);
    for round in 0..4_u64 {
        let mut shuffled = docs.clone();
        shuffled.sort_by_key(|doc| {
            (draw::unit(round, "shuffle", format!("{}{}", doc.id, doc.text).as_bytes()) * 1e9)
                as u64
        });
        assert_eq!(sorted(dedup(&shuffled)), expected, "order {round}");
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let mut rng = draw::stream(9, "kill", b"");
    let mut docs = Vec::new();

    for i in 0..90 {
        let original = tokens(&mut rng, 50 + i, false);
        docs.push(doc(format!("o:{i}"), join(&original, false)));
        docs.push(doc(format!("e:{i}"), edited(&mut rng, &original, 0.01, false)));
    }

    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &docs, 60, 16);
    let bytes = |output: &Path| -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(output).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
            .collect()
    };

    let undisturbed = folder.path().join("whole");
    std::fs::create_dir(&undisturbed).unwrap();
    run(&dataset, &params(), 1.0, &context(&undisturbed, 1 << 30)).unwrap();
    let expected = bytes(&undisturbed);
    assert_eq!(
        expected.len(),
        3 * 3 + 2,
        "parts, duplicates, books, verdicts and nothing else: {:?}",
        expected.keys()
    );
    // Every state a kill can leave: some phases done for some parts, half-written files beside.
    for done in 0..6 {
        let output = folder.path().join(format!("killed-{done}"));
        std::fs::create_dir(&output).unwrap();
        let cx = context(&output, 1 << 30);
        let mut sketches = super::sketch::sketch(&dataset, &params(), &cx).unwrap();

        if done >= 1 {
            let links = super::bands::link(&sketches, params().bands, &cx).unwrap();
            super::sets::spill(&dataset, &links, &params(), &cx).unwrap();
        }

        let leave_out = |name: &str| std::fs::remove_file(output.join(name)).unwrap();
        match done {
            0 => leave_out("sketch-00001.json"),
            1 => leave_out("sets-00002.json"),
            2 => std::fs::write(output.join("sets-00001.bin.kpipe-tmp"), b"half").unwrap(),
            _ => {
                let verdicts = super::decide(&dataset, &params(), &cx).unwrap();
                verdicts.write(&cx).unwrap();
                if done >= 4 {
                    super::remove_spills(&dataset, &cx).unwrap();
                }

                if done >= 5 {
                    cx.map_parts(&dataset, contract("unique").unwrap(), |b, s| {
                        verdicts.apply(b, s)
                    })
                    .unwrap();
                    leave_out("books-00001.json");
                    leave_out("part-00002.parquet");
                    leave_out("books-00002.json");
                }
            }
        }

        sketches.facts.clear();
        run(&dataset, &params(), 1.0, &cx).unwrap();
        let found = bytes(&output);
        assert!(found == expected, "state {done}: {:?}", found.keys());
    }
}

#[test]
fn a_source_that_loses_too_much_stops_the_run() {
    let text = |i: usize| {
        format!("{} the same long sentence stands in every record of this source", i % 3)
    };
    let mut docs: Vec<Doc> = (0..30)
        .map(|i| Doc { source: "mirror", ..doc(format!("mirror:{i:02}"), text(i)) })
        .collect();
    docs.extend((0..5).map(|i| doc(format!("s:{i}"), format!("text number {i}"))));
    let error = dedup_with(&docs, &params(), 0.85, 1 << 30).unwrap_err().to_string();

    for part in [
        "`mirror` loses 90.0 % of its 30",
        "0.85",
        "9 removed for `mirror:00`: `mirror:03`",
        "max_removed",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }

    assert!(dedup_with(&docs, &params(), 0.9, 1 << 30).is_ok());
}

#[test]
fn work_in_a_full_bucket_is_bounded_and_what_was_left_out_is_counted() {
    let mut docs = templated(11, 150, 240, 6, false);
    docs.push(doc("copy", docs[149].text.clone() + " more"));
    let few = Params { max_compared: 2, ..params() };
    let found = dedup_with(&docs, &few, 1.0, 1 << 30).unwrap();
    assert!(found.books.notes["candidates left out by max_compared"] > 1_000);
    let all = dedup(&docs);
    assert_eq!(all.ledger.len(), 1);
    assert_eq!(all.books.notes.get("too short to shingle"), None);
}

#[test]
fn bands_and_rows_that_are_too_many_are_named() {
    let check = |p: Params, key: &str| {
        let error = p.check().unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("hint"), "{error}");
    };
    assert!(params().check().is_ok());
    check(Params { bands: 512, rows: 64, ..params() }, "above 4096");

    for rule in Rule::ALL {
        let values = contract("duplicate")
            .unwrap()
            .fields
            .iter()
            .find(|f| f.name == "rule")
            .unwrap()
            .values
            .clone();
        assert!(values.unwrap().contains(&rule.name().to_string()));
    }
}
