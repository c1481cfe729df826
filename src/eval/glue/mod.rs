//! GLUE (Wang et al. 2019, arXiv:1804.07461) through a linear head: what a model's states say of
//! sentences, without any training of the model.
//!
//! Comes in: a folder with a folder for each task, as they are published (`CoLA/train.tsv` and
//! `dev.tsv` and so on, packed or not). Features are the mean of the last hidden states of a text
//! (of T5, its encoder's); of a pair `[u, v, |u − v|, u · v]`, as SentEval has them (Conneau and
//! Kiela 2018, arXiv:1803.05449). On them a head is learned from the training file ([`head`]), and
//! measured on the development file by the task's own metrics. The numbers tell models apart that
//! were treated alike; they are no fine-tuning scores.

pub mod head;
mod metrics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::metrics::Metric;
use super::model::Model;
use super::tasks::text;
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::dataset::{write_atomically, write_json};
use crate::flow::progress::Progress;
use head::{Features, Head};

/// A task of GLUE.
pub struct GlueTask {
    /// Its folder.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// Where a record has its texts and its label.
    columns: Columns,
    /// The labels as they are written; of a score none.
    pub(super) labels: &'static [&'static str],
    /// Whether its second text is judged by the first, which is as it is.
    pub(super) has_premise: bool,
    /// Files to measure on, without their endings, with what the results are called.
    dev: &'static [(&'static str, &'static str)],
    metrics: &'static [metrics::Kind],
}

/// Where a record has its texts and its label.
enum Columns {
    /// By the names of the first line.
    Named { first: &'static str, second: Option<&'static str>, label: &'static str },
    /// By number, without a first line.
    Numbered { first: usize, label: usize },
}

const DEV: &[(&str, &str)] = &[("dev", "")];

/// All nine.
pub static GLUE: &[GlueTask] = &[
    GlueTask {
        name: "CoLA",
        about: "is it a sentence of English",
        columns: Columns::Numbered { first: 3, label: 1 },
        labels: &["0", "1"],
        has_premise: false,
        dev: DEV,
        metrics: &[metrics::Kind::Matthews],
    },
    GlueTask {
        name: "SST-2",
        about: "does a review praise or blame",
        columns: Columns::Named { first: "sentence", second: None, label: "label" },
        labels: &["0", "1"],
        has_premise: false,
        dev: DEV,
        metrics: &[metrics::Kind::Accuracy],
    },
    GlueTask {
        name: "MRPC",
        about: "do two sentences of the news say the same",
        columns: Columns::Named { first: "#1 String", second: Some("#2 String"), label: "Quality" },
        labels: &["0", "1"],
        has_premise: false,
        dev: &[("dev", ""), ("msr_paraphrase_test", "")],
        metrics: &[metrics::Kind::Accuracy, metrics::Kind::F1],
    },
    GlueTask {
        name: "QQP",
        about: "do two questions ask the same",
        columns: Columns::Named {
            first: "question1",
            second: Some("question2"),
            label: "is_duplicate",
        },
        labels: &["0", "1"],
        has_premise: false,
        dev: DEV,
        metrics: &[metrics::Kind::Accuracy, metrics::Kind::F1],
    },
    GlueTask {
        name: "STS-B",
        about: "how much alike are two sentences, from 0 to 5",
        columns: Columns::Named { first: "sentence1", second: Some("sentence2"), label: "score" },
        labels: &[],
        has_premise: false,
        dev: DEV,
        metrics: &[metrics::Kind::Pearson, metrics::Kind::Spearman],
    },
    GlueTask {
        name: "MNLI",
        about: "does one sentence follow from another, contradict it, or neither",
        columns: Columns::Named {
            first: "sentence1",
            second: Some("sentence2"),
            label: "gold_label",
        },
        labels: &["entailment", "neutral", "contradiction"],
        has_premise: true,
        dev: &[("dev_matched", "matched"), ("dev_mismatched", "mismatched")],
        metrics: &[metrics::Kind::Accuracy],
    },
    GlueTask {
        name: "QNLI",
        about: "does a sentence answer a question",
        columns: Columns::Named { first: "question", second: Some("sentence"), label: "label" },
        labels: &["entailment", "not_entailment"],
        has_premise: false,
        dev: DEV,
        metrics: &[metrics::Kind::Accuracy],
    },
    GlueTask {
        name: "RTE",
        about: "does one sentence follow from another",
        columns: Columns::Named { first: "sentence1", second: Some("sentence2"), label: "label" },
        labels: &["entailment", "not_entailment"],
        has_premise: true,
        dev: DEV,
        metrics: &[metrics::Kind::Accuracy],
    },
    GlueTask {
        name: "WNLI",
        about: "what does a pronoun stand for",
        columns: Columns::Named { first: "sentence1", second: Some("sentence2"), label: "label" },
        labels: &["0", "1"],
        has_premise: true,
        dev: DEV,
        metrics: &[metrics::Kind::Accuracy],
    },
];

/// Texts whose states are computed at once, before their means are kept.
const CHUNK: usize = 256;

/// How tasks are asked.
pub struct Job<'a> {
    /// A folder with a folder for each task.
    pub data: &'a Path,
    /// Where the results go.
    pub out: &'a Path,
    /// Most training records of a task, drawn.
    pub limit: usize,
    /// Seed of that draw and of the bootstrap.
    pub seed: u64,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// What a task came to.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The task, and which of its development files.
    pub task: String,
    /// Training records that the head learned from.
    pub learned: usize,
    /// Lines of both files that are no record.
    pub left_out: usize,
    /// Its metrics.
    pub metrics: Vec<Metric>,
}

/// A record.
pub(super) struct Record {
    first: String,
    second: Option<String>,
    label: Label,
}

impl Record {
    /// Its one or two texts.
    pub(super) fn texts(&self) -> Vec<String> {
        std::iter::once(&self.first).chain(&self.second).cloned().collect()
    }

    /// Its class, where it has one.
    pub(super) fn class(&self) -> Option<usize> {
        match self.label {
            Label::Class(class) => Some(class),
            Label::Score(_) => None,
        }
    }
}

/// A head with the model whose states it was learned on.
pub(super) struct Judge<'a> {
    model: &'a Model,
    head: Head,
}

impl<'a> Judge<'a> {
    /// Learns which class records are of.
    ///
    /// # Errors
    /// If the device fails.
    pub(super) fn learn(task: &GlueTask, model: &'a Model, records: &[Record]) -> Result<Self> {
        Ok(Judge { model, head: task.learn(model, records)? })
    }

    /// How probable each class is, of one or two texts each.
    ///
    /// # Errors
    /// If the device fails.
    pub(super) fn probabilities(&self, given: &[&[String]]) -> Result<Vec<Vec<f64>>> {
        let rows = features(self.model, given)?;
        Ok(rows.iter().map(|row| self.head.probabilities(row)).collect())
    }
}

/// What a record is.
#[derive(Clone, Copy)]
enum Label {
    Class(usize),
    Score(f64),
}

/// Records of a file, and how many of its lines are none.
struct File {
    records: Vec<Record>,
    left_out: usize,
}

/// Learns and measures a head for each task that has both files, and writes `glue.json` and
/// `glue.md`.
///
/// # Errors
/// If no task has both files, one of them is of another format, or a text has more tokens than a
/// row of the model.
pub fn evaluate(model: &Model, job: &Job) -> Result<Vec<Told>> {
    std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
    let mut all = Vec::new();
    for task in GLUE {
        let Some(Files { train, dev }) = task.files(job.data, job.progress) else { continue };
        job.progress.begin(task.name, None, "texts");
        let mut learned = task.read(&train)?;
        learned.records = drawn(learned.records, job.limit, job.seed);
        let head = task.learn(model, &learned.records)?;
        for Dev { path, which } in dev {
            let file = task.read(&path)?;
            let rows = features_of(model, &file.records)?;
            let outputs: Vec<Vec<f64>> = rows.iter().map(|row| head.outputs(row)).collect();
            let metrics = task.measure(&outputs, &file.records, job.seed);
            let name = if which.is_empty() { String::new() } else { format!(" ({which})") };
            all.push(Told {
                task: format!("{}{name}", task.name),
                learned: learned.records.len(),
                left_out: learned.left_out + file.left_out,
                metrics,
            });
        }
        job.progress.end(&format!("{} records learned from", learned.records.len()));
    }

    if all.is_empty() {
        return Err(no_task(job.data));
    }
    write_json(&job.out.join("glue.json"), &all)?;
    write_atomically(&job.out.join("glue.md"), table(&all).as_bytes())?;
    Ok(all)
}

/// That a folder holds nothing of GLUE.
pub(super) fn no_task(data: &Path) -> Error {
    let names: Vec<&str> = GLUE.iter().map(|task| task.name).collect();
    Error::usage(format!("`{}` holds no task of GLUE", data.display())).hint(format!(
        "give a folder with `RTE/train.tsv` and `RTE/dev.tsv`, of {}",
        names.join(", ")
    ))
}

/// The files of a task.
pub(super) struct Files {
    pub(super) train: PathBuf,
    pub(super) dev: Vec<Dev>,
}

/// A file to measure on.
pub(super) struct Dev {
    pub(super) path: PathBuf,
    /// What its results are called beside the task; empty where there is one.
    which: &'static str,
}

/// As a table.
pub fn table(all: &[Told]) -> String {
    let mut text = "| task | metric | value | interval | records | learned from | majority |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_string();
    for Told { task, learned, metrics, .. } in all {
        for Metric { name, value, low, high, n, baselines, .. } in metrics {
            let beside =
                baselines.get("majority").map_or(String::new(), |value| format!("{value:.4}"));
            text += &format!(
                "| {task} | `{name}` | {value:.4} | {low:.4}–{high:.4} | {n} | {learned} | \
                 {beside} |\n"
            );
        }
    }
    text
}

/// A file of this stem, with any ending.
fn find(folder: &Path, stem: &str) -> Option<PathBuf> {
    let endings = ["tsv", "tsv.gz", "tsv.zst", "tsv.bz2", "tsv.xz", "txt", "txt.gz"];
    endings.iter().map(|ending| folder.join(format!("{stem}.{ending}"))).find(|path| path.is_file())
}

/// A draw of so many records, in their order.
pub(super) fn drawn(records: Vec<Record>, limit: usize, seed: u64) -> Vec<Record> {
    let mut numbered: Vec<(usize, Record)> = records.into_iter().enumerate().collect();
    numbered.sort_by_cached_key(|(nth, _)| draw::unit(seed, "glue", &nth.to_le_bytes()).to_bits());
    numbered.truncate(limit);
    numbered.sort_by_key(|(nth, _)| *nth);
    numbered.into_iter().map(|(_, record)| record).collect()
}

impl GlueTask {
    /// Its files in a folder of all; none where one is missing, which is noted where it has a
    /// folder.
    pub(super) fn files(&self, data: &Path, progress: &dyn Progress) -> Option<Files> {
        let folder = data.join(self.name);
        let train = ["train", "msr_paraphrase_train"].iter().find_map(|stem| find(&folder, stem));
        let dev: Vec<Dev> = self
            .dev
            .iter()
            .filter_map(|(stem, which)| Some(Dev { path: find(&folder, stem)?, which }))
            .collect();
        let found = train.filter(|_| !dev.is_empty()).map(|train| Files { train, dev });
        if found.is_none() && folder.is_dir() {
            let name = self.name;
            progress.note(&format!(
                "`{name}` is passed over: it lacks a training or a development file"
            ));
        }
        found
    }

    /// The labelled records of a file.
    ///
    /// # Errors
    /// If it is of another format, or no line of it is one.
    pub(super) fn records(&self, path: &Path) -> Result<Vec<Record>> {
        Ok(self.read(path)?.records)
    }

    /// The records of a file. Lines have their fields between tabs, quotes are letters.
    fn read(&self, path: &Path) -> Result<File> {
        let text = text(path)?;
        let mut lines = text.lines();
        let (first, second, label) = match &self.columns {
            Columns::Numbered { first, label } => (*first, None, *label),
            Columns::Named { first, second, label } => {
                let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
                let find = |name: &str| {
                    head.iter().position(|own| own.trim() == name).ok_or_else(|| {
                        Error::data(format!("there is no column `{name}`, but {head:?}"))
                            .at(path.display())
                            .hint(format!("`{}` reads the files that GLUE publishes", self.name))
                    })
                };
                (find(first)?, second.map(find).transpose()?, find(label)?)
            }
        };

        let mut file = File { records: Vec::new(), left_out: 0 };
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split('\t').collect();
            let field =
                |at: usize| fields.get(at).map(|text| text.trim()).filter(|text| !text.is_empty());
            let label = field(label).and_then(|text| self.label(text));
            let second = second.map(|at| field(at).map(str::to_string));
            match (field(first), label, second) {
                (Some(first), Some(label), None) => {
                    file.records.push(Record { first: first.to_string(), second: None, label });
                }
                (Some(first), Some(label), Some(Some(second))) => {
                    let (first, second) = (first.to_string(), Some(second));
                    file.records.push(Record { first, second, label });
                }
                _ => file.left_out += 1,
            }
        }
        match file.records.is_empty() {
            true => Err(Error::data("no line of it is a labelled record").at(path.display()).hint(
                format!(
                    "`{}` has the labels {}; test files have none",
                    self.name,
                    self.labels.join(", ")
                ),
            )),
            false => Ok(file),
        }
    }

    fn label(&self, text: &str) -> Option<Label> {
        match self.labels.is_empty() {
            true => text.parse().ok().map(Label::Score),
            false => self.labels.iter().position(|label| *label == text).map(Label::Class),
        }
    }

    fn learn(&self, model: &Model, records: &[Record]) -> Result<Head> {
        let rows = features_of(model, records)?;
        Ok(match self.labels.is_empty() {
            true => Head::score(&rows, &scores(records)),
            false => Head::classes(&rows, &classes(records), self.labels.len()),
        })
    }

    fn measure(&self, outputs: &[Vec<f64>], records: &[Record], seed: u64) -> Vec<Metric> {
        let told = metrics::Outputs {
            scores: outputs.iter().map(|one| one[0]).collect(),
            classes: outputs.iter().map(|one| super::metrics::best(one.iter().copied())).collect(),
            gold_scores: scores(records),
            gold_classes: classes(records),
        };
        self.metrics.iter().map(|kind| kind.measure(&told, seed)).collect()
    }
}

fn classes(records: &[Record]) -> Vec<usize> {
    records.iter().filter_map(Record::class).collect()
}

fn scores(records: &[Record]) -> Vec<f64> {
    let score = |record: &Record| match record.label {
        Label::Score(score) => Some(score),
        Label::Class(_) => None,
    };
    records.iter().filter_map(score).collect()
}

/// Features of records.
fn features_of(model: &Model, records: &[Record]) -> Result<Vec<Features>> {
    let texts: Vec<Vec<String>> = records.iter().map(Record::texts).collect();
    features(model, &texts.iter().map(Vec::as_slice).collect::<Vec<&[String]>>())
}

/// Features of one or two texts each.
fn features(model: &Model, given: &[&[String]]) -> Result<Vec<Features>> {
    let mut states: BTreeMap<&str, Features> = BTreeMap::new();
    let mut unique: Vec<&str> = given.iter().copied().flatten().map(String::as_str).collect();
    unique.sort_unstable();
    unique.dedup();
    for some in unique.chunks(CHUNK) {
        let found = model.ask().mean_states(some)?;
        states.extend(some.iter().copied().zip(found));
    }
    let of = |texts: &&[String]| match texts {
        [first, second, ..] => pair(&states[first.as_str()], &states[second.as_str()]),
        [first] => states[first.as_str()].clone(),
        [] => Features::new(),
    };
    Ok(given.iter().map(of).collect())
}

/// What two texts are and how they differ.
fn pair(first: &Features, second: &Features) -> Features {
    let both = || first.iter().zip(second);
    let apart = both().map(|(a, b)| (a - b).abs());
    let together = both().map(|(a, b)| a * b);
    first.iter().chain(second).copied().chain(apart).chain(together).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use candle_core::{DType, Device};

    #[test]
    fn files_are_read_as_they_are_published() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.path().join("train.tsv");
            std::fs::write(&path, text).unwrap();
            let task = GLUE.iter().find(|task| task.name == name).unwrap();
            task.read(&path)
        };
        let cola = read("CoLA", "x\t1\t\tHe \"sings.\ny\t0\t*\tSings he\nbroken\n").unwrap();
        assert_eq!((cola.records.len(), cola.left_out), (2, 1));
        assert_eq!(cola.records[0].first, "He \"sings.");
        let mrpc = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\tone\ttwo\n";
        assert_eq!(read("MRPC", mrpc).unwrap().records[0].second.as_deref(), Some("two"));
        let sts = "index\tgenre\tsentence1\tsentence2\tscore\n0\tx\ta\tb\t3.5\n1\tx\ta\tb\t\n";
        let sts = read("STS-B", sts).unwrap();
        assert_eq!((scores(&sts.records), sts.left_out), (vec![3.5], 1));
        let error = read("RTE", "index\tsentence1\n0\ta\n").err().unwrap().to_string();
        assert!(error.contains("`sentence2`") && error.contains("train.tsv"), "{error}");
        let error = read("WNLI", "sentence1\tsentence2\tlabel\na\tb\t\n").err().unwrap();
        assert!(error.to_string().contains("no line of it"), "{error}");
    }

    /// Two topics, which the mean of the states of a model that was never trained tells apart; in
    /// all families.
    #[test]
    fn a_head_tells_apart_what_states_do() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("SST-2");
        std::fs::create_dir(&folder).unwrap();
        let topics = [["fever", "doctor", "pain"], ["river", "stone", "bridge"]];
        let file = |from: usize, to: usize| {
            let line = |n: usize| {
                let words: Vec<&str> = (0..4).map(|k| topics[n % 2][(n * 5 + k * k) % 3]).collect();
                format!("{}\t{}\n", words.join(" "), n % 2)
            };
            format!("sentence\tlabel\n{}", (from..to).map(line).collect::<String>())
        };
        std::fs::write(folder.join("train.tsv"), file(0, 40)).unwrap();
        std::fs::write(folder.join("dev.tsv"), file(40, 60)).unwrap();
        for name in ["gpt2", "llama", "t5", "bert"] {
            let at =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/harness").join(name);
            let at = at.display().to_string();
            let model = Model::open(&at, DType::F32, &Device::Cpu, 512, &Silent).unwrap();
            let out = tempfile::tempdir().unwrap();
            let job =
                Job { data: data.path(), out: out.path(), limit: 30, seed: 1, progress: &Silent };
            let told = evaluate(&model, &job).unwrap();
            assert_eq!((told.len(), told[0].learned), (1, 30));
            let acc = &told[0].metrics[0];
            assert!(acc.value > 0.9 && acc.baselines["majority"] == 0.5, "{name}: {acc:?}");
            assert!(out.path().join("glue.md").exists());
        }
    }
}
