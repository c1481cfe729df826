//! What a model knows, measured: tasks are asked, answers scored, results told with their interval
//! and with what guessing gives.
//!
//! Comes in: any model of a Hugging Face folder or its hub ([`model`]), and files of questions as
//! they are published ([`tasks`]); no data is shipped. Goes out: `<task>.jsonl` (each answer),
//! `results.json`, `report.md` and `report.html` in the output folder. Promises: the
//! log-probabilities of lm-evaluation-harness for the models it knows, metrics by its names and
//! definitions ([`metrics`]; of BioASQ, its own: [`entities`]), encoders under names of their own;
//! the same numbers for any number of threads; a run that was stopped goes on behind its last
//! answers.
//!
//! Beside that: [`probes`] are made of held-out text and a lexicon, [`ledger`] joins what was seen
//! of each concept with what is known of it, [`dynamics`] tells what a run learned and kept each
//! time a fact was told, [`glue`] what a model's states say of sentences, [`robustness`] what is
//! left of its answers when text is written otherwise, [`memorisation`] and [`canaries`] whether
//! texts are known by heart; [`mentions`] how well a
//! lexicon's concepts are found, and [`selection`] which measure ranks what is worth learning
//! first.

mod baseline;
pub mod canaries;
pub mod dynamics;
pub mod entities;
mod exposure;
pub mod glue;
pub mod known;
pub mod ledger;
pub mod memorisation;
pub mod mentions;
pub mod metrics;
pub mod model;
pub mod probes;
pub mod report;
pub mod robustness;
pub mod selection;
pub mod tasks;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;
use crate::flow::progress::Progress;
use crate::train::ask::Request;
use crate::train::model::Language;
use metrics::{Answered, Metric};
use model::Model;
use tasks::{Item, Reads, Task};

/// Items that are asked at once, before their answers are written.
const CHUNK: usize = if cfg!(test) { 8 } else { 64 };

/// A task and where its questions are.
pub struct Asked {
    /// The task.
    pub task: &'static Task,
    /// A file, a folder or a pattern.
    pub path: String,
    /// Items with their answers that stand before each question, from the beginning of this path.
    pub examples: Option<String>,
}

/// How tasks are asked.
pub struct Job<'a> {
    /// Where answers and results go.
    pub out: &'a Path,
    /// Most items of a task, from its beginning.
    pub limit: Option<usize>,
    /// Examples before a question.
    pub shots: usize,
    /// Whether questions without an answer are left out of the averages, as BioASQ's own program
    /// does, and not counted as wrong.
    pub skip_missing: bool,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// What a task came to.
#[derive(Clone, Debug, Serialize)]
pub struct TaskResult {
    /// Its name.
    pub task: &'static str,
    /// Its version.
    pub version: u32,
    /// Where its questions were read.
    pub path: String,
    /// A hash of the items as they were asked.
    pub items_hash: String,
    /// Examples before a question.
    pub shots: usize,
    /// Items that are longer than the model reads: the beginning of their question was left out.
    pub cut: usize,
    /// Over all items.
    pub metrics: Vec<Metric>,
    /// By what they are about, where there is more than one thing.
    pub groups: BTreeMap<String, Vec<Metric>>,
    /// What is different from the model before, where one was asked, item by item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// How a metric of items differs from that of the model before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The metric.
    pub name: &'static str,
    /// Its value before.
    pub before: f64,
    /// By how much it is more now.
    pub difference: f64,
    /// Ends of the 95 % interval, by a bootstrap over items that both answered.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// All results for a model.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The version of kpipe.
    pub kpipe: &'static str,
    /// The model, as it was named.
    pub model: String,
    /// Its family.
    pub family: &'static str,
    /// Hash of its files.
    pub model_hash: String,
    /// By task.
    pub tasks: Vec<TaskResult>,
}

/// What a file of answers is of: its first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    task: String,
    version: u32,
    model: String,
    items: String,
}

/// How an item was answered: a line of a file of answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    id: String,
    log_probs: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alone: Option<Vec<f64>>,
    /// The beginning of its question was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// Where the answers of the model before go, in the output folder.
const BEFORE: &str = "before";

/// Asks a model all tasks, and writes answers and results; the same of the model `before` it, and
/// what has changed, where one is given.
///
/// # Errors
/// If a file is broken, a model cannot be asked a task, or `out` holds answers of another model or
/// of other questions.
pub fn evaluate(
    model: &Model,
    before: Option<&Model>,
    asked: &[Asked],
    job: &Job,
) -> Result<Results> {
    let of_before = job.out.join(BEFORE);
    for folder in std::iter::once(job.out).chain(before.map(|_| of_before.as_path())) {
        std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
    }
    let tasks = asked.iter().map(|one| ask(model, before, one, job)).collect::<Result<_>>()?;
    let results = Results {
        kpipe: env!("CARGO_PKG_VERSION"),
        model: model.name.clone(),
        family: model.family(),
        model_hash: model.hash.clone(),
        tasks,
    };
    report::write(&results, job.out)?;
    Ok(results)
}

fn ask(model: &Model, before: Option<&Model>, asked: &Asked, job: &Job) -> Result<TaskResult> {
    let task = asked.task;
    let mut items = task.items(&asked.path)?;
    if let Some(limit) = job.limit {
        items.truncate(limit);
    }
    if job.shots > 0 {
        let examples = match &asked.examples {
            Some(path) => task.items(path)?,
            None => {
                return Err(Error::usage(format!("`{}` has no examples to show", task.name))
                    .hint(format!("name a file of them: `--examples {}=<file>`", task.name)));
            }
        };
        items.iter_mut().try_for_each(|item| show(task, item, &examples, job.shots))?;
    }

    let items_hash = hash(&items);
    let given = answers(model, asked, &items, &items_hash, job.out, job)?;
    let mut result = told(asked, job, &items, items_hash.clone(), &given);
    if let Some(before) = before {
        let folder = job.out.join(BEFORE);
        let then = answers(before, asked, &items, &items_hash, &folder, job)?;
        let answered = |answers: &[Answer]| -> Vec<Vec<f64>> {
            items.iter().zip(answers).map(|(item, answer)| values(task, item, answer)).collect()
        };
        result.changes = changes(task, &answered(&given), &answered(&then), job.seed);
    }
    job.progress.end(&report::summary(&result));
    Ok(result)
}

/// A model's answers to all items, in `folder`; those that stand there are not asked again.
fn answers(
    model: &Model,
    asked: &Asked,
    items: &[Item],
    items_hash: &str,
    folder: &Path,
    job: &Job,
) -> Result<Vec<Answer>> {
    let (task, path) = (asked.task, &asked.path);
    let identity = Identity {
        task: task.name.to_string(),
        version: task.version,
        model: model.hash.clone(),
        items: items_hash.to_string(),
    };
    let place = folder.join(format!("{}.jsonl", task.name));
    let mut answers = Answers::open(place, &identity, items.len())?;
    job.progress.begin(task.name, Some(items.len() as u64), "items");
    job.progress.advance(answers.all.len().min(items.len()) as u64);

    // As it would be known if this run had gone through from the beginning: what is computed at
    // once decides the last bits.
    let mut alone: BTreeMap<String, f64> = BTreeMap::new();
    for (item, answer) in items.iter().zip(&answers.all) {
        let known = item.choices.iter().map(|choice| item.continuation(choice));
        alone.extend(known.zip(answer.alone.iter().flatten().copied()));
    }
    while answers.all.len() < items.len() {
        let chunk = &items[answers.all.len()..items.len().min(answers.all.len() + CHUNK)];
        let new = answer(model, task, chunk, &mut alone).map_err(|error| error.at(path))?;
        answers.add(new)?;
        job.progress.advance(chunk.len() as u64);
    }
    Ok(answers.all)
}

/// What is compared of two models' answers to an item.
const COMPARED: [&str; 2] = ["acc", "gold_bits_per_byte"];

/// The values of an item by [`COMPARED`].
fn values(task: &Task, item: &Item, answer: &Answer) -> Vec<f64> {
    if !matches!(task.reads, Reads::Questions(_)) {
        return Vec::new();
    }
    let chosen = metrics::best(answer.log_probs.iter().copied());
    let right = if chosen == item.gold { 1.0 } else { 0.0 };
    vec![right, metrics::bits(item, answer.log_probs[item.gold])]
}

/// How each compared value changed, over items that were asked of both.
fn changes(task: &Task, now: &[Vec<f64>], then: &[Vec<f64>], seed: u64) -> Vec<Change> {
    if now.is_empty() || !matches!(task.reads, Reads::Questions(_)) {
        return Vec::new();
    }
    let of = |(nth, name): (usize, &&'static str)| {
        let pairs = || now.iter().zip(then).map(|(now, then)| now[nth] - then[nth]);
        let differences = metrics::mean(name, &pairs().collect::<Vec<f64>>(), true, seed);
        let before = then.iter().map(|then| then[nth]).sum::<f64>() / then.len() as f64;
        let metrics::Metric { value, low, high, .. } = differences;
        Change { name, before, difference: value, low, high }
    };
    COMPARED.iter().enumerate().map(of).collect()
}

/// Puts examples with their answers before an item: those of its subject, where the task has some,
/// from the first on, but never itself.
fn show(task: &Task, item: &mut Item, examples: &[Item], shots: usize) -> Result<()> {
    let fits = |one: &&Item| {
        one.context != item.context && (!task.has_subjects || one.group == item.group)
    };
    let shown: Vec<String> = examples
        .iter()
        .filter(fits)
        .take(shots)
        .map(|one| format!("{}{}\n\n", one.context, one.continuation(one.right())))
        .collect();
    if shown.len() < shots {
        let n = shown.len();
        return Err(Error::usage(format!("`--shots` is {shots}, and there are {n} examples"))
            .hint("give a file with more of them to `--examples`"));
    }
    item.context = format!("{}{}", shown.concat(), item.context);
    Ok(())
}

/// A hash of items as they are asked.
fn hash(items: &[Item]) -> String {
    let mut hash = Xxh3::new();
    for item in items {
        let question = [&item.id, &item.description, &item.context, &item.behind];
        let texts = question.into_iter().chain(&item.choices);
        for text in texts {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&(item.gold as u64).to_le_bytes());
        hash.update(&[u8::from(item.is_joined)]);
        item.accepted.iter().flatten().for_each(|name| hash.update(name.as_bytes()));
    }
    format!("{:032x}", hash.digest128())
}

/// Answers that stand in a file, to which more are added.
struct Answers {
    place: PathBuf,
    all: Vec<Answer>,
}

impl Answers {
    /// Reads what stands in the file; answers of a chunk that a kill cut off are taken away.
    fn open(place: PathBuf, identity: &Identity, n_items: usize) -> Result<Self> {
        let failed = |cause: &dyn std::fmt::Display| Error::file("read", &place, cause);
        let text = match std::fs::read_to_string(&place) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(failed(&cause)),
        };
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut lines = whole.lines();

        if let Some(first) = lines.next() {
            let found: Option<Identity> = serde_json::from_str(first).ok();
            if found.as_ref() != Some(identity) {
                return Err(Error::usage(format!(
                    "`{}` holds answers of another model or to other questions",
                    place.display()
                ))
                .hint("give another `--out`, or delete that file"));
            }
        }
        let mut all = lines
            .map(|line| serde_json::from_str(line).map_err(|cause| failed(&cause)))
            .collect::<Result<Vec<Answer>>>()?;
        let is_cut = whole.is_empty() || whole.len() < text.len();
        if is_cut || (all.len() < n_items && !all.len().is_multiple_of(CHUNK)) {
            all.truncate(all.len() / CHUNK * CHUNK);
            let kept = all.iter().map(line).collect::<Result<String>>()?;
            write_atomically(&place, (line(identity)? + &kept).as_bytes())?;
        }
        Ok(Answers { place, all })
    }

    fn add(&mut self, more: Vec<Answer>) -> Result<()> {
        let failed = |cause| Error::file("write", &self.place, cause);
        let text = more.iter().map(line).collect::<Result<String>>()?;
        let mut file = OpenOptions::new().append(true).open(&self.place).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        self.all.extend(more);
        Ok(())
    }
}

fn line<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string(value)
        .map_err(|cause| Error::data(format!("an answer cannot be written: {cause}")))?;
    Ok(text + "\n")
}

/// Answers to some items. What the choices come to alone is kept in `known`: letters are asked for
/// often.
fn answer(
    model: &Model,
    task: &Task,
    items: &[Item],
    known: &mut BTreeMap<String, f64>,
) -> Result<Vec<Answer>> {
    let contexts: Vec<String> =
        items.iter().map(|item| format!("{}{}", item.description, item.context)).collect();
    if matches!(task.reads, Reads::Texts(_)) {
        let texts: Vec<String> = items.iter().map(|item| item.choices[0].clone()).collect();
        let found = model.ask().rolling(&texts)?;
        let of = |(item, of): (&Item, &f64)| Answer {
            id: item.id.clone(),
            log_probs: vec![*of],
            alone: None,
            cut: false,
        };
        return Ok(items.iter().zip(&found).map(of).collect());
    }

    let requests: Vec<Request> = items
        .iter()
        .zip(&contexts)
        .flat_map(|(item, context)| {
            let request = |choice: &String| Request {
                context: context.clone(),
                continuation: item.continuation(choice),
            };
            item.choices.iter().map(request)
        })
        .collect();
    // What is ranked among things of a text is not ranked without it, and encoders predict nothing
    // alone.
    let wants_alone =
        !matches!(task.reads, Reads::Entities(_)) && model.language() != Language::Masked;
    let new: Vec<Request> = requests
        .iter()
        .filter(|one| wants_alone && !known.contains_key(&one.continuation))
        .map(|one| Request { context: String::new(), ..one.clone() })
        .collect();
    for (request, of) in new.iter().zip(model.ask().judge(&new)?) {
        known.insert(request.continuation.clone(), of);
    }

    let mut sums = model.ask().judge(&requests)?.into_iter();
    let mut asked = requests.iter();
    let of = |item: &Item| {
        let alone = |choice: &String| known.get(&item.continuation(choice)).copied();
        let mut cut = false;
        for request in asked.by_ref().take(item.choices.len()) {
            cut |= model.ask().is_cut(request)?;
        }
        Ok(Answer {
            id: item.id.clone(),
            log_probs: sums.by_ref().take(item.choices.len()).collect(),
            alone: item.choices.iter().map(alone).collect(),
            cut,
        })
    };
    items.iter().map(of).collect()
}

fn told(
    asked: &Asked,
    job: &Job,
    items: &[Item],
    items_hash: String,
    all: &[Answer],
) -> TaskResult {
    let task = asked.task;
    let answered: Vec<Answered> = items
        .iter()
        .zip(all)
        .map(|(item, answer)| Answered {
            item,
            log_probs: answer.log_probs.clone(),
            alone: answer.alone.clone(),
        })
        .collect();
    let of = |answers: &[Answered]| match task.reads {
        Reads::Questions(_) => metrics::metrics(answers, job.seed),
        Reads::Entities(tasks::Entities { form, .. }) => {
            entities::metrics(answers, form, job.skip_missing, job.seed)
        }
        Reads::Texts(_) => metrics::of_texts(answers, job.seed),
    };

    let mut groups: BTreeMap<String, Vec<Answered>> = BTreeMap::new();
    for answer in &answered {
        for name in std::iter::once(&answer.item.group).chain(&answer.item.also) {
            groups.entry(name.clone()).or_default().push(answer.clone());
        }
    }
    let groups = match groups.len() {
        1 => BTreeMap::new(),
        _ => groups.into_iter().map(|(name, answers)| (name, of(&answers))).collect(),
    };
    TaskResult {
        task: task.name,
        version: task.version,
        path: asked.path.clone(),
        items_hash,
        shots: job.shots,
        cut: all.iter().filter(|answer| answer.cut).count(),
        metrics: of(&answered),
        groups,
        changes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use candle_core::{DType, Device};
    use serde_json::Value;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/harness")
    }

    fn open(name: &str) -> (Model, Value) {
        let folder = folder().join(name);
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        // So few tokens that rows of different lengths are computed in several batches.
        let model =
            Model::open(folder.to_str().unwrap(), DType::F32, &Device::Cpu, 300, &Silent).unwrap();
        (model, serde_json::from_str(&expected).unwrap())
    }

    fn asked() -> Asked {
        let at = |name: &str| folder().join(name).display().to_string();
        let (path, examples) = (at("items.jsonl"), Some(at("shown.jsonl")));
        Asked { task: &tasks::hellaswag::HELLASWAG, path, examples }
    }

    fn job(out: &Path, shots: usize) -> Job<'_> {
        Job { out, limit: None, shots, skip_missing: false, seed: 17, progress: &Silent }
    }

    fn numbers(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn near(found: &[f64], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, expected) in found.iter().zip(expected) {
            let off = (found - expected).abs();
            assert!(off <= 1e-4 * expected.abs().max(1.0), "{what}: {found}, not {expected}");
        }
    }

    fn answers(out: &Path) -> Vec<Answer> {
        let text = std::fs::read_to_string(out.join("hellaswag.jsonl")).unwrap();
        text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Log-probabilities of each ending, and all accuracies, as lm-evaluation-harness has them
    /// (`fixtures/parity/harness.py`), with examples before the question and without.
    #[test]
    fn endings_are_as_probable_as_the_harness_says() {
        for name in ["gpt2", "llama", "t5"] {
            let (model, expected) = open(name);
            for shots in [0, 2] {
                let out = tempfile::tempdir().unwrap();
                let results = evaluate(&model, None, &[asked()], &job(out.path(), shots)).unwrap();
                let expected = &expected["shots"][shots.to_string()];
                for (nth, answer) in answers(out.path()).iter().enumerate() {
                    let what = format!("{name}, {shots} shots, item {nth}");
                    near(&answer.log_probs, &numbers(&expected["log_probs"][nth]), &what);
                    let alone = answer.alone.as_deref().unwrap();
                    near(alone, &numbers(&expected["alone"][nth]), &what);
                }
                for metric in ["acc", "acc_norm", "acc_bytes", "acc_mutual_info"] {
                    let told = results.tasks[0].metrics.iter().find(|one| one.name == metric);
                    let value = told.unwrap().value;
                    let wanted = expected[metric].as_f64().unwrap();
                    assert!(
                        (value - wanted).abs() < 1e-9,
                        "{name} {metric}: {value}, not {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn long_texts_are_as_probable_as_the_harness_says() {
        for name in ["gpt2", "llama"] {
            let (model, expected) = open(name);
            let texts: Vec<String> =
                serde_json::from_value(expected["rolling"]["texts"].clone()).unwrap();
            let found: Vec<f64> = model.ask().rolling(&texts).unwrap();
            near(&found, &numbers(&expected["rolling"]["log_probs"]), name);
        }
        assert!(open("t5").0.ask().rolling(&["a".into()]).unwrap_err().to_string().contains("t5"));
    }

    #[test]
    fn encoders_are_asked_by_pseudo_likelihood() {
        let (model, expected) = open("bert");
        let out = tempfile::tempdir().unwrap();
        let results = evaluate(&model, None, &[asked()], &job(out.path(), 0)).unwrap();
        for (nth, answer) in answers(out.path()).iter().enumerate() {
            near(&answer.log_probs, &numbers(&expected["log_probs"][nth]), &format!("item {nth}"));
        }
        let names: Vec<&str> = results.tasks[0].metrics.iter().map(|one| one.name).collect();
        assert_eq!(names, ["pll_acc", "brier_score"]);
    }

    /// What a model cannot read whole is counted, and its answer says so.
    #[test]
    fn questions_that_are_cut_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.jsonl");
        let question = |question: String| serde_json::json!({"question": question, "choices": ["a rash", "a cough"], "answer": 0});
        let long = question("which sign is it ? ".repeat(1_000));
        let text = format!("{}\n{long}\n", question("which sign is it ?".to_string()));
        std::fs::write(&file, text).unwrap();
        let asked = Asked {
            task: tasks::task("choices").unwrap(),
            path: file.display().to_string(),
            examples: None,
        };

        for name in ["gpt2", "llama", "t5"] {
            let out = folder.path().join(name);
            let results =
                evaluate(&open(name).0, None, std::slice::from_ref(&asked), &job(&out, 0)).unwrap();
            assert_eq!(results.tasks[0].cut, 1, "{name}");
            let answers = std::fs::read_to_string(out.join("choices.jsonl")).unwrap();
            let cut: Vec<bool> =
                answers.lines().skip(1).map(|line| line.contains("\"cut\":true")).collect();
            assert_eq!(cut, [false, true], "{name}");
        }
    }

    /// A run that was killed in the middle of a line goes on to the same files; another model's
    /// answers are refused.
    #[test]
    fn a_run_goes_on_behind_its_last_answer() {
        let (model, _) = open("gpt2");
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let asked = [asked()];
        evaluate(&model, None, &asked, &job(whole.path(), 0)).unwrap();
        let place = killed.path().join("hellaswag.jsonl");
        let text = std::fs::read_to_string(whole.path().join("hellaswag.jsonl")).unwrap();
        std::fs::write(&place, &text[..text.len() / 2]).unwrap();
        evaluate(&model, None, &asked, &job(killed.path(), 0)).unwrap();
        for name in ["hellaswag.jsonl", report::RESULTS, report::REPORT] {
            let read = |folder: &Path| std::fs::read_to_string(folder.join(name)).unwrap();
            assert_eq!(read(whole.path()), read(killed.path()), "{name}");
        }

        let (other, _) = open("llama");
        let error =
            evaluate(&other, None, &asked, &job(whole.path(), 0)).err().unwrap().to_string();
        assert!(error.contains("another model"), "{error}");
        // Nor are those of other numbers its own.
        let precise = Model::open(&model.name, DType::F64, &Device::Cpu, 512, &Silent).unwrap();
        let error =
            evaluate(&precise, None, &asked, &job(whole.path(), 0)).err().unwrap().to_string();
        assert!(error.contains("another model"), "{error}");
    }

    /// A model beside itself has not changed; beside another, the difference is that of the means.
    #[test]
    fn what_has_changed_is_told_item_by_item() {
        let (model, other) = (open("gpt2").0, open("llama").0);
        let out = tempfile::tempdir().unwrap();
        let same = evaluate(&model, Some(&model), &[asked()], &job(out.path(), 0)).unwrap();
        assert!(same.tasks[0].changes.iter().all(|one| one.difference == 0.0 && one.low == 0.0));
        let out = tempfile::tempdir().unwrap();
        let told = evaluate(&model, Some(&other), &[asked()], &job(out.path(), 0)).unwrap();
        assert!(out.path().join("before/hellaswag.jsonl").exists());
        for change in &told.tasks[0].changes {
            let now = told.tasks[0].metrics.iter().find(|metric| metric.name == change.name);
            let off = now.unwrap().value - change.before - change.difference;
            assert!(off.abs() < 1e-9, "{change:?}");
            assert!(change.low <= change.difference && change.difference <= change.high);
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let (model, _) = open("gpt2");
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("mine.jsonl");
        let told = |text: &str, shots: usize| {
            std::fs::write(&place, text).unwrap();
            let path = place.display().to_string();
            let asked =
                Asked { task: &tasks::choices::CHOICES, path: path.clone(), examples: Some(path) };
            let out = tempfile::tempdir().unwrap();
            evaluate(&model, None, &[asked], &job(out.path(), shots)).err().unwrap().to_string()
        };
        let long = "word ".repeat(80);
        let line = format!(r#"{{"question": "q", "choices": ["{long}", "b"], "answer": 0}}"#);
        let error = told(&line, 0);
        assert!(error.contains("64 positions"), "{error}");
        let line = r#"{"question": "q", "choices": ["a", "b"], "answer": 0}"#;
        assert!(told(line, 1).contains("there are 0 examples"));
        let encoder = open("bert").0;
        let request = Request { context: "a".into(), continuation: " b".into() };
        let error = encoder.ask().log_probs(&[request]).unwrap_err().to_string();
        assert!(error.contains("both sides"), "{error}");
    }
}
