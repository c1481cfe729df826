//! `unique` → `scored`
//!
//! Comes in: deduplicated documents. Goes out: the same documents, with how much knowledge of a
//! lexicon's concepts each one holds: all of them, or, of domain text, those that are worth most
//! ([`measure`]) up to so many tokens; the others are refused by name. Promises: every number is
//! exact over the whole corpus (its own document frequencies, its own lengths, no rounding), can be
//! explained term by term, and is the same for any number of threads and after any kill.
//!
//! ```text
//! lexicon files ─lexicon─▶ concepts ─names, mentions─▶ finder
//! texts ─spill─▶ concepts of each row ─index─▶ postings ─bm25─▶ scores ─measure─▶ columns and
//!                                                                         scores-NNNNN.parquet
//! ```
//!
//! Very frequent concepts need no list of their own: a concept that every other document holds has
//! an idf near 0. Everyday *words* that merely look like a concept do; that is the stop list of
//! [`crate::knowledge::names`].
//!
//! To add a formula of BM25: one arm in [`bm25::Variant`] and its parity numbers; another measure:
//! see [`measure`].

pub mod bm25;
pub mod coverage;
pub mod explain;
mod index;
mod ledger;
mod map;
pub mod measure;
mod score;
mod spill;
pub mod table;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::books::Refusal;
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::{Batches, Dataset};
use crate::flow::room::{Added, Context, Outcome, Span};
use crate::knowledge;
use crate::knowledge::lexicon::{self, Lexicon, LexiconSpec};
use crate::knowledge::names::NameRules;
use bm25::Variant;
use score::Scores;

/// Version of the room, part of its fingerprint; the hundreds are of what finds mentions.
pub const VERSION: u32 = 2 + 100 * knowledge::VERSION;

/// What `[density]` of a pipeline file sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Files of the knowledge graph; empty scores every document 0.
    pub lexicon: Vec<LexiconSpec>,
    /// BM25 formula.
    pub variant: Variant,
    /// Saturation of term frequency, [0, 10].
    pub k1: f64,
    /// How much length counts, [0, 1].
    pub b: f64,
    /// Least weight of a mentioned concept in `bm25plus`, [0, 10].
    pub delta: f64,
    /// Words between two mentions that count as near, 1..=10,000.
    pub window: u32,
    /// Shortest name in letters and digits, at least 1.
    pub min_name_chars: usize,
    /// The same for names with CJK characters, at least 1.
    pub min_cjk_chars: usize,
    /// Longest name that is an acronym where it has two capitals or more.
    pub acronym_chars: usize,
    /// Whether "Infarction, Myocardial" is also "Myocardial Infarction".
    pub turn_inverted: bool,
    /// Whether a name is also found in its plural or singular.
    pub plurals: bool,
    /// Whether a name is also found as others spell it: β for beta, anaemia for anemia, without the
    /// hyphen behind a prefix.
    pub spellings: bool,
    /// Names not looked for, beside the embedded list.
    pub stop: Vec<String>,
    /// Names looked for although they are short or stopped.
    pub keep: Vec<String>,
    /// `ledger.parquet` of a model that was trained before; empty weighs all concepts alike.
    pub ledger: String,
    /// What more a concept counts that the model has met often and does not know, [0, 100].
    pub unknown: f64,
    /// Name of a [`measure::Measure`]: what density is made of.
    pub measure: String,
    /// Documents that are to mention a concept, at least 1; only `coverage` asks.
    pub wanted: u32,
    /// Tokens of domain text that go on, those of the greatest worth; 0 keeps all.
    pub keep_tokens: u64,
}

impl Params {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// Names the first key whose value is out of range.
    pub fn check(&self) -> Result<()> {
        measure::measure(&self.measure)?;
        if self.keep_tokens > 0 && self.lexicon.is_empty() {
            return Err(Error::usage(
                "`density.keep_tokens` keeps what is worth most, and without a lexicon nothing is",
            )
            .hint("name one in `density.lexicon`, or set `density.keep_tokens=0`"));
        }
        self.lexicon
            .iter()
            .filter_map(|spec| spec.format.as_deref())
            .try_for_each(|name| lexicon::reader(name).map(|_| ()))
    }

    /// Which names of the lexicon are looked for.
    pub fn names(&self) -> NameRules {
        NameRules {
            min_name_chars: self.min_name_chars,
            min_cjk_chars: self.min_cjk_chars,
            acronym_chars: self.acronym_chars,
            turn_inverted: self.turn_inverted,
            plurals: self.plurals,
            spellings: self.spellings,
            stop: self.stop.clone(),
            keep: self.keep.clone(),
        }
    }

    /// The files that `lexicon` and `ledger` name, in reading order; their content belongs into the
    /// room's fingerprint.
    ///
    /// # Errors
    /// If a path leads to no file.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for spec in &self.lexicon {
            all.extend(lexicon::files(spec)?.files);
        }
        if !self.ledger.is_empty() {
            all.push(PathBuf::from(&self.ledger));
        }
        Ok(all)
    }
}

/// Scores every document of `input` and writes it on under the contract `scored`, and
/// `scores-NNNNN.parquet` under the contract `score` beside it.
///
/// # Errors
/// If a lexicon or a part cannot be read, or a file cannot be written.
pub fn run(input: &Dataset, params: &Params, cx: &Context) -> Result<()> {
    // To find mentions, to write scores, to draw the map, and to write the documents.
    cx.readings(input, if params.lexicon.is_empty() { 3 } else { 4 });
    let lexicon = read_lexicon(params, cx)?;
    let model = Scores::build(input, &lexicon, params, cx)?;
    explain::write_scores(input, &model, cx)?;
    map::write(input, &model, &lexicon, cx)?;
    let leaves = contract("scored")?;
    if params.keep_tokens > 0 {
        return keep_best(input, &model, params, cx);
    }
    // The mentions say all there is to know of the rows.
    cx.add_columns(input, leaves, &[], |_, span| {
        let spilled = spilled(&model, span)?;
        Ok(Added { columns: columns(&spilled, &model, span.first_row)?, notes: Vec::new() })
    })
}

/// Writes on what is worth most, and refuses the rest.
fn keep_best(input: &Dataset, model: &Scores, params: &Params, cx: &Context) -> Result<()> {
    let leaves = contract("scored")?;
    cx.map_parts(input, leaves, |batch, span| {
        let spilled = spilled(model, span)?;
        let scored = leaves.widen(batch, columns(&spilled, model, span.first_row)?)?;
        let rows = span.first_row as usize..span.first_row as usize + batch.num_rows();
        let stays = BooleanArray::from(model.worth.stays[rows.clone()].to_vec());

        let (sources, files) = (strings(batch, "source")?, strings(batch, "file")?);
        let (ids, texts) = (strings(batch, "id")?, strings(batch, "text")?);
        let offsets = numbers::<UInt64Type>(batch, "offset")?;
        let refused = (0..batch.num_rows()).filter(|row| !stays.value(*row)).map(|row| Refusal {
            source: sources.value(row).to_string(),
            file: files.value(row).to_string(),
            offset: offsets.value(row),
            id: Some(ids.value(row).to_string()),
            reason: "not_chosen".into(),
            detail: format!("{} {:.6}", params.measure, model.worth.values[rows.start + row]),
            n_bytes: texts.value(row).len() as u64,
            // It is whole where it was read, and would be most of the corpus here.
            bytes: Vec::new(),
        });
        let refused = refused.collect();
        let kept = filter_record_batch(&scored, &stays)?;
        Ok(Outcome { refused, ..Outcome::kept(kept) })
    })
}

/// Reads the lexicon of a pipeline file and tells what was not used of it.
///
/// # Errors
/// If a file is missing or cannot be read.
pub fn read_lexicon(params: &Params, cx: &Context) -> Result<Lexicon> {
    let lexicon = Lexicon::read(&params.lexicon, cx.memory_bytes)?;
    if params.lexicon.is_empty() {
        cx.progress.note(
            "no lexicon is set (`[density] lexicon`): every document gets density 0, so nothing is \
             ranked by knowledge",
        );
    }

    for file in &lexicon.passed_over {
        cx.progress
            .note(&format!("`{file}` stands beside the lexicons and is none; it is passed over"));
    }

    if lexicon.joined > 0 {
        cx.progress.note(&format!(
            "{} concepts are one with another of another vocabulary that refers to them",
            lexicon.joined
        ));
    }

    for file in lexicon.books.iter().filter(|file| !file.refused.is_empty()) {
        let refused: Vec<String> =
            file.refused.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        cx.progress.note(&format!(
            "lexicon `{}`: {} entries, not used: {}",
            file.file,
            file.entries,
            refused.join(", ")
        ));
    }

    Ok(lexicon)
}

/// The concepts of the rows of one batch of the input.
fn spilled(model: &Scores, span: Span) -> Result<RecordBatch> {
    let part = &model.mentions.parts[span.part];
    let mut batches = Batches::open(&part.path, Some(model.mentions.contract), None)?;
    batches.skip_batches(span.batch);
    batches.next().unwrap_or_else(|| {
        Err(Error::data(format!("`{}` has too few rows", part.path.display()))
            .hint("delete it and run again"))
    })
}

/// The columns that this room adds; the contract `score` takes some of them too.
fn columns(
    spilled: &RecordBatch,
    model: &Scores,
    first_row: u64,
) -> Result<Vec<(&'static str, ArrayRef)>> {
    let rows = spill::rows(spilled)?;
    let measures: Vec<score::Measures> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| model.measure(first_row + at as u64, row))
        .collect();
    let counts = |count: &dyn Fn(&spill::Row) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(count)))
    };
    let floats = |value: &dyn Fn(usize) -> f64| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values((0..rows.len()).map(|at| value(at) as f32)))
    };
    Ok(vec![
        ("n_tokens", counts(&|row| row.n_tokens)),
        ("n_mentions", counts(&|row| row.n_mentions)),
        ("n_concepts", counts(&|row| row.concepts.len() as u32)),
        ("bm25", floats(&|at| measures[at].bm25)),
        ("bm25_per_token", floats(&|at| measures[at].bm25 / f64::from(rows[at].n_tokens.max(1)))),
        ("rarity", floats(&|at| measures[at].rarity)),
        ("coverage", floats(&|at| measures[at].coverage)),
        ("worth", floats(&|at| measures[at].worth)),
        ("density", floats(&|at| measures[at].density)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::dataset::{Part, PartWriter};
    use crate::flow::progress::Silent;
    use crate::knowledge::lexicon::{Concept, Entry, Link};
    use arrow::array::{Int32Array, StringArray, UInt64Array};
    use std::path::Path;

    pub(super) fn params() -> Params {
        let defaults: toml::Table =
            toml::from_str(include_str!("../../pipelines/default.toml")).unwrap();
        let params: Params = defaults["density"].clone().try_into().unwrap();
        Params { lexicon: Vec::new(), ..params }
    }

    pub(super) fn context(folder: &Path) -> Context<'_> {
        Context { room: "density", folder, seed: 1, memory_bytes: 1 << 28, progress: &Silent }
    }

    /// A lexicon of linked everyday drugs and diseases.
    pub(super) fn lexicon() -> Lexicon {
        let entry = |id: &str, name: &str, synonyms: &[&str], link: &str| Entry {
            concept: Concept {
                id: id.into(),
                name: name.into(),
                synonyms: synonyms.iter().map(|s| (*s).to_string()).collect(),
                links: vec![Link::related(link)],
                ..Concept::default()
            },
            ..Entry::default()
        };
        Lexicon::build(vec![
            entry("D1", "Aspirin", &["acetylsalicylic acid", "ASA"], "D2"),
            entry("D2", "Fever", &["pyrexia"], "D1"),
            entry("D3", "Malaria", &["疟疾"], "D4"),
            entry("D4", "Quinine", &["奎宁"], "D3"),
            entry("D5", "Heart attack", &[], "D1"),
        ])
    }

    /// Documents `t:0`, `t:1`, ... in parts of `rows` rows and batches of two.
    pub(super) fn documents(folder: &Path, texts: &[String], rows: usize) -> Dataset {
        let unique = contract("unique").unwrap();
        let mut parts: Vec<Part> = Vec::new();
        let ids: Vec<String> = (0..texts.len()).map(|at| format!("t:{at}")).collect();

        for (idx, (texts, ids)) in texts.chunks(rows).zip(ids.chunks(rows)).enumerate() {
            let place = folder.join(format!("part-{idx:05}.parquet"));
            let mut writer = PartWriter::create(&place, unique).unwrap();
            for (texts, ids) in texts.chunks(2).zip(ids.chunks(2)) {
                let columns =
                    unique.fields.iter().map(|field| column_of(&field.name, texts, ids)).collect();
                writer.write(&unique.batch(columns).unwrap()).unwrap();
            }
            parts.push(writer.finish().unwrap());
        }

        Dataset { contract: unique, parts }
    }

    fn column_of(name: &str, texts: &[String], ids: &[String]) -> ArrayRef {
        let n = texts.len();
        match name {
            "id" | "title" => Arc::new(StringArray::from(ids.to_vec())),
            "text" => Arc::new(StringArray::from(texts.to_vec())),
            "offset" | "neighbourhood" => Arc::new(UInt64Array::from(vec![0; n])),
            "priority" => Arc::new(Int32Array::from(vec![0; n])),
            _ => Arc::new(StringArray::from(vec!["general"; n])),
        }
    }

    #[test]
    fn a_format_of_lexicons_that_nobody_knows_is_named() {
        params().check().unwrap();
        let spec = LexiconSpec { format: Some("xls".into()), ..LexiconSpec::of_path("x") };
        assert!(
            Params { lexicon: vec![spec], ..params() }
                .check()
                .unwrap_err()
                .to_string()
                .contains("tsv")
        );
    }

    fn texts() -> Vec<String> {
        let some = [
            "Aspirin lowers fever.",
            "No concept here at all.",
            "Malaria and quinine; malaria again.",
            "奎宁治疗疟疾，发烧。",
        ];

        let more = (0..23).map(|n| {
            format!(
                "{} Fever {} and a heart attack.",
                "Filler words. ".repeat(n),
                "aspirin ".repeat(n % 4)
            )
        });
        some.iter().map(|text| (*text).to_string()).chain(more).collect()
    }

    fn lexicon_file(folder: &Path) -> Params {
        let file = folder.join("lexicon.tsv");
        std::fs::write(&file, "id\tname\tsynonyms\tlinks\nD1\tAspirin\tASA\tD2\nD2\tFever\t\t\nD3\tMalaria\t疟疾\tD4\nD4\tQuinine\t奎宁\t\nD5\tHeart attack\t\tD1\n").unwrap();
        Params { lexicon: vec![LexiconSpec::of_path(file.display().to_string())], ..params() }
    }

    /// All files of a run but the index, whose names are random.
    fn outputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |path: &PathBuf| {
            (path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read(path).unwrap())
        };
        files.iter().filter(|path| path.is_file()).map(read).collect()
    }

    #[test]
    fn every_row_goes_on_and_a_rerun_after_a_kill_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::create_dir(&input).unwrap();
        let (params, documents) = (lexicon_file(folder.path()), documents(&input, &texts(), 6));
        let run_in = |name: &str| {
            let out = folder.path().join(name);
            std::fs::create_dir_all(&out).unwrap();
            run(&documents, &params, &context(&out)).unwrap();
            out
        };

        let whole = run_in("whole");
        let scored = Dataset::open(&whole, contract("scored").unwrap()).unwrap();
        assert_eq!(scored.rows(), 27);
        let expected = outputs(&whole);
        // What a kill may leave: nothing of a phase, or its files up to any point, and a
        // half-written index.
        for (name, lost) in [
            ("a", &["mentions-00002"][..]),
            ("b", &["index.json", "scores-00001", "books-00003"]),
            ("c", &["stamp"]),
        ] {
            let out = run_in(name);
            for entry in std::fs::read_dir(&out).unwrap() {
                let path = entry.unwrap().path();
                if lost
                    .iter()
                    .any(|lost| path.file_name().unwrap().to_str().unwrap().starts_with(lost))
                {
                    std::fs::remove_file(path).unwrap();
                }
            }

            std::fs::write(out.join("index").join("meta.json"), "cut of").unwrap();
            std::fs::remove_file(out.join("index.json")).ok();
            run_in(name);
            assert!(outputs(&out) == expected, "{name}");
        }

        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let one = single.install(|| run_in("one"));
        assert!(outputs(&one) == expected);
    }

    #[test]
    fn without_a_lexicon_every_density_is_0() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::create_dir(&input).unwrap();
        let documents = documents(&input, &texts(), 10);
        run(&documents, &params(), &context(folder.path())).unwrap();

        for part in Dataset::open(folder.path(), contract("scored").unwrap()).unwrap().parts {
            for batch in Batches::open(&part.path, None, Some(&["density", "n_tokens"])).unwrap() {
                let batch = batch.unwrap();
                let density = crate::flow::contract::numbers::<arrow::datatypes::Float32Type>(
                    &batch, "density",
                )
                .unwrap();
                assert!(density.values().iter().all(|density| *density == 0.0));
            }
        }
    }
}
