//! The room as a whole, on documents written here.

use super::*;
use crate::flow::dataset::{Batches, PartWriter};
use crate::flow::progress::Progress;
use arrow::array::{
    ArrayRef, AsArray, ListArray, StringArray, UInt8Array, new_empty_array, new_null_array,
};
use arrow::array::{Float32Array, Int32Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A lexicon of three statins under one parent, in a naive scan.
struct Statins;

const NAMES: [&[&str]; 3] =
    [&["atorvastatin", "Lipitor"], &["simvastatin"], &["阿托伐他汀", "立普妥"]];

impl ConceptNames for Statins {
    fn mentions(&self, text: &str) -> Vec<Mention> {
        let mut found: Vec<Mention> = Vec::new();
        for (concept, names) in NAMES.iter().enumerate() {
            for name in *names {
                found.extend(text.match_indices(name).map(|(start, _)| Mention {
                    end: start + name.len(),
                    ..Mention::at(start, concept)
                }));
            }
        }

        found.sort_by_key(|mention| mention.start);
        found
    }

    fn names(&self, concept: usize, _: Option<&str>) -> Vec<&str> {
        NAMES[concept].to_vec()
    }

    fn siblings(&self, concept: usize) -> Vec<usize> {
        (0..2).filter(|other| *other != concept).collect()
    }
}

/// Remembers what a person was told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_string());
    }
    fn end(&self, _: &str) {}
}

fn params() -> Params {
    #[derive(Deserialize)]
    struct File {
        negatives: Params,
    }
    let file: File = toml::from_str(include_str!("../../pipelines/default.toml")).unwrap();
    file.negatives
}

/// Lists without items.
fn no_items(kind: &DataType, n: usize) -> ArrayRef {
    let DataType::List(item) = kind else { panic!("{kind} is no list") };
    let offsets = OffsetBuffer::from_lengths(vec![0; n]);
    Arc::new(ListArray::new(item.clone(), offsets, new_empty_array(item.data_type()), None))
}

fn linked(documents: &[(&str, &str)]) -> RecordBatch {
    let n = documents.len();
    let contract = contract("linked").unwrap();
    let columns = contract.fields.iter().map(|field| -> ArrayRef {
        match (field.name.as_str(), &field.data_type) {
            ("id", _) => {
                Arc::new(StringArray::from_iter_values((0..n).map(|at| format!("test:{at}"))))
            }
            ("text", _) => {
                Arc::new(StringArray::from_iter_values(documents.iter().map(|(_, text)| *text)))
            }
            ("language", _) => Arc::new(StringArray::from_iter_values(
                documents.iter().map(|(language, _)| *language),
            )),
            ("role", _) => Arc::new(StringArray::from(vec!["domain"; n])),
            ("n_concepts", _) => {
                Arc::new(UInt32Array::from_iter_values((0..n as u32).map(|at| at % 3)))
            }
            ("bucket", _) => {
                Arc::new(UInt8Array::from_iter_values((0..n).map(|at| (at % 4) as u8)))
            }
            ("edits", kind) => edits::column(&vec![&[][..]; n], kind).unwrap().unwrap(),
            ("made_of", kind) => no_items(kind, n),
            (_, kind) if field.nullable => new_null_array(kind, n),
            (_, DataType::Utf8) => Arc::new(StringArray::from(vec!["x"; n])),
            (_, DataType::UInt32) => Arc::new(UInt32Array::from(vec![1; n])),
            (_, DataType::UInt64) => Arc::new(UInt64Array::from(vec![1; n])),
            (_, DataType::Int32) => Arc::new(Int32Array::from(vec![1; n])),

            _ => Arc::new(Float32Array::from(vec![0.5; n])),
        }
    });
    contract.batch(columns.collect()).unwrap()
}

fn input(folder: &Path, documents: &[(&str, &str)]) -> Dataset {
    let place = folder.join("part-00000.parquet");
    let mut writer = PartWriter::create(&place, contract("linked").unwrap()).unwrap();
    for chunk in documents.chunks(3) {
        writer.write(&linked(chunk)).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(folder, contract("linked").unwrap()).unwrap()
}

/// Runs the room; gives the bytes of its part, its notes to people and its books.
fn build(
    documents: &[(&str, &str)],
    params: &Params,
    seed: u64,
) -> (Vec<u8>, Vec<String>, RecordBatch) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let notes = Notes::default();
    let cx = Context {
        room: "negatives",
        folder: to.path(),
        seed,
        memory_bytes: 1 << 30,
        progress: &notes,
    };

    run(&input(from.path(), documents), params, Some(&Statins), &cx).unwrap();
    let part = to.path().join("part-00000.parquet");
    let batches: Vec<RecordBatch> =
        Batches::open(&part, None, None).unwrap().map(|batch| batch.unwrap()).collect();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let books = cx.committed(0).unwrap().unwrap();
    assert_eq!((books.read, books.kept), (documents.len() as u64, documents.len() as u64));
    assert!(to.path().join("engines.json").exists());
    let added = to.path().join("columns-00000-example.parquet");

    (std::fs::read(added).unwrap(), notes.0.into_inner().unwrap(), all)
}

/// (row, anchor, text, kind, engine) of every candidate, after checking that its edits make it.
fn unpack(batch: &RecordBatch) -> Vec<(usize, String, String, String, String)> {
    let lists = batch.column_by_name("negatives").unwrap().as_list::<i32>();
    let mut found = Vec::new();

    for row in 0..lists.len() {
        let structs = lists.value(row);
        let structs = structs.as_struct();
        let text = |name: &str, at: usize| {
            structs.column_by_name(name).unwrap().as_string::<i32>().value(at).to_string()
        };

        for at in 0..structs.len() {
            let edits = structs.column_by_name("edits").unwrap().as_list::<i32>().value(at);
            let edits = edits.as_struct();
            let number = |name: &str, at: usize| {
                edits
                    .column_by_name(name)
                    .unwrap()
                    .as_primitive::<arrow::datatypes::UInt32Type>()
                    .value(at)
            };

            let read: Vec<Edit> = (0..edits.len())
                .map(|at| Edit {
                    start: number("start", at),
                    end: number("end", at),
                    text: edits.column(2).as_string::<i32>().value(at).to_string(),
                })
                .collect();

            assert_eq!(edits::apply(&text("anchor", at), &read), text("text", at));
            found.push((
                row,
                text("anchor", at),
                text("text", at),
                text("kind", at),
                text("engine", at),
            ));
        }
    }

    found
}

static DOCUMENTS: &[(&str, &str)] = &[
    (
        "en",
        "The doctor began to help the child with atorvastatin in a big room.\n\nHigh doses were \
         hard to buy.",
    ),
    (
        "en",
        "Patients who took simvastatin had a higher risk, and the result was completed early in 12 \
         centres.",
    ),
    ("zh", "医生认为立普妥对病人有很大的帮助，需要继续观察。"),
    (
        "fr",
        "Le médecin a donné de la simvastatin au malade pendant trois longues semaines de suite.",
    ),
    ("en", "Short."),
];

fn quiet() -> Params {
    let mut params = params();
    params.back_translation.engine = "none".to_string();
    params
}

#[test]
fn lengths_that_exclude_one_another_are_named() {
    params().check().unwrap();
    let mut wrong = params();
    wrong.max_words = wrong.min_words - 1;
    assert!(wrong.check().unwrap_err().to_string().contains("`negatives.max_words` is 7"));
}

#[test]
fn every_document_goes_on_with_candidates_that_follow_from_their_edits() {
    let (.., batch) = build(DOCUMENTS, &quiet(), 17);
    let found = unpack(&batch);
    let engines: Vec<&str> = found.iter().map(|candidate| candidate.4.as_str()).collect();
    assert!(
        ["concept_sibling", "synonym", "antonym", "concept_name"]
            .iter()
            .all(|name| engines.contains(name)),
        "{found:?}"
    );

    for (row, anchor, text, kind, engine) in &found {
        assert!(DOCUMENTS[*row].1.contains(anchor.as_str()) && anchor != text);
        // What no generator made, a translation engine did.
        let made_by = GENERATORS.iter().find(|generator| generator.name() == engine);
        let expected = made_by.map_or(Kind::Paraphrase, |generator| generator.kind());
        assert_eq!(kind, expected.name(), "{engine}");

        if engine == "concept_sibling" {
            assert!(text.contains("vastatin"), "{text}");
        }
        assert_eq!(anchor.contains("12"), text.contains("12"), "numbers stay: {text}");
    }

    assert!(
        found.iter().any(|c| c.0 == 2 && c.2.contains("阿托伐他汀")),
        "Chinese concept names work"
    );
    assert!(found.iter().any(|c| c.0 == 3), "other languages get concepts");
    assert!(found.iter().all(|c| c.0 != 4), "no sentence is long enough");
}

#[test]
fn the_seed_decides_and_threads_do_not() {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let many: Vec<(&str, &str)> = DOCUMENTS.iter().copied().cycle().take(40).collect();
    let first = build(&many, &quiet(), 17).0;
    assert!(one.install(|| build(&many, &quiet(), 17).0) == first);
    assert!(
        (18..22).any(|seed| build(&many, &quiet(), seed).0 != first),
        "another seed makes other choices"
    );
}

#[test]
fn a_chinese_thesaurus_is_used_outside_concepts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cilin.txt");
    std::fs::write(
        &path,
        "Aa01A01= 医生 大夫\nAa01A02= 病人 患者\nAa01A03= 普妥 怪词\n继续@停止\n",
    )
    .unwrap();
    let mut params = quiet();
    params.thesaurus = vec![path.display().to_string()];
    params.per_document = 9;
    let mut opposites = std::collections::BTreeSet::new();

    for seed in 0..12 {
        let found = unpack(&build(&DOCUMENTS[2..3], &params, seed).2);
        let of = |engine: &str| {
            found.iter().find(|c| c.4 == engine).map(|c| (c.2.clone(), c.3.clone())).unwrap()
        };
        let (text, kind) = of("thesaurus");
        assert!(
            (text.contains("大夫") || text.contains("患者"))
                && text.contains("立普妥")
                && kind == "paraphrase",
            "{text}"
        );

        let (text, kind) = of("thesaurus_antonym");
        assert_eq!(kind, "hard", "{text}");
        opposites.extend(["停止", "不需要"].into_iter().filter(|word| text.contains(word)));
    }

    assert_eq!(opposites.len(), 2, "one of the user's, one of the embedded thesaurus");
}

#[test]
fn chinese_is_rewritten_without_any_file_and_other_languages_are_told() {
    let law = [("zh", "承租人应当在三十日以内支付租金，不得擅自将房屋转租给他人。"); 3];
    let found = unpack(&build(&law, &quiet(), 17).2);
    assert!(found.iter().any(|c| c.4 == "thesaurus_antonym" && c.3 == "hard"), "{found:?}");
    let french = [(
        "fr",
        "Le locataire paie le loyer dans les trente jours et ne cède pas le bail à autrui.",
    )];
    let (_, notes, _) = build(&french, &quiet(), 17);

    assert!(
        notes.iter().any(|note| note.contains("1 of 1 documents in `fr` get no rewritten passage")),
        "{notes:?}"
    );
}

#[test]
fn a_table_is_an_engine_and_the_gate_labels_its_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.tsv");
    let source = DOCUMENTS[1].1;
    std::fs::write(
        &path,
        format!("{source}\t{}\n", source.replace("simvastatin", "water").replace("risk", "hazard")),
    )
    .unwrap();
    let mut params = params();
    params.back_translation.engine = "table".to_string();
    params.back_translation.tables = vec![path.display().to_string()];
    let found = unpack(&build(DOCUMENTS, &params, 17).2);
    assert!(found.iter().all(|c| c.4 != "table"), "a few documents know nothing of `hazard`");
    params.back_translation.max_surprise = 100.0;
    let found = unpack(&build(DOCUMENTS, &params, 17).2);
    let pair = found.iter().find(|c| c.4 == "table").unwrap();

    assert!(pair.0 == 1 && pair.3 == "hard", "the concept is lost: {pair:?}");
}

#[test]
fn apertium_is_used_where_it_is_installed_and_else_a_note_says_so() {
    let (first, notes, batch) = build(DOCUMENTS, &params(), 17);
    let used = unpack(&batch).iter().any(|candidate| candidate.4 == "apertium");

    if back_translation::probes(&params().back_translation).iter().any(|probe| probe.available) {
        assert!(used && notes.is_empty(), "{notes:?}");
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(one.install(|| build(DOCUMENTS, &params(), 17).0) == first);
    } else {
        assert!(!used && notes[0].contains("apt install"), "{notes:?}");
    }
}

/// What holds for every generator: looped over [`GENERATORS`], so that a new one is held to it from
/// its first day.
#[test]
fn every_generator_keeps_the_laws() {
    let params = quiet();
    let alone = Rewriter::new(params.rewriting(), None).unwrap();
    let with_lexicon = Rewriter::new(params.rewriting(), Some(&Statins)).unwrap();
    let known: Vec<(&str, &str)> = DOCUMENTS.to_vec();
    let strange = [
        ("en", ""),
        ("en", " \n\t"),
        ("en", "a"),
        ("zh", "。"),
        ("en", "🩺🩺🩺 atorvastatin🩺 e\u{301} ﬁnal"),
        ("zh", "atorvastatin立普妥atorvastatin"),
        ("en", "\u{202e}help the doctor\u{202c}"),
        ("", "simvastatin"),
        (
            "en",
            "help help help help help help help help help help help help help help help help help \
             help",
        ),
    ];

    for generator in GENERATORS {
        let mut n_swaps = 0;
        for (at, (language, text)) in known.iter().chain(&strange).enumerate() {
            let swaps = |key: u64, rewriter: &Rewriter| {
                let language = Some(*language).filter(|language| !language.is_empty());
                let mentions = rewriter.mentions(text);
                let thesaurus = rewriter.thesaurus(language, text).unwrap();
                let material = rewriter.material(text, &mentions, language, thesaurus);
                generator
                    .swaps(&material, &mut draw::stream(key, generator.name(), &at.to_le_bytes()))
            };

            for key in 0..20 {
                let found = swaps(key, &with_lexicon);
                assert_eq!(
                    found,
                    swaps(key, &with_lexicon),
                    "{}: all chance comes from the stream",
                    generator.name()
                );

                let mut ends: Vec<(usize, usize)> =
                    found.iter().map(|swap| (swap.range.start, swap.range.end)).collect();
                ends.sort_unstable();
                assert!(
                    ends.windows(2).all(|two| two[0].1 <= two[1].0),
                    "{}: {found:?} overlap",
                    generator.name()
                );

                for swap in &found {
                    let own = text.get(swap.range.clone());
                    assert!(
                        own.is_some_and(|own| !own.is_empty()),
                        "{}: {swap:?} in {text:?}",
                        generator.name()
                    );
                    assert_ne!(
                        own,
                        Some(swap.text.as_str()),
                        "{}: it changes nothing",
                        generator.name()
                    );
                }

                n_swaps += found.len();
                swaps(key, &alone);
            }
        }
        assert!(n_swaps > 0, "{} never finds anything", generator.name());
    }
}

/// The part is the same for any number of threads.
#[test]
fn threads_change_no_byte() {
    let many: Vec<(&str, &str)> = DOCUMENTS.iter().copied().cycle().take(60).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(&many, &quiet(), 3).0)
    };
    assert!(with(1) == with(3));
}
