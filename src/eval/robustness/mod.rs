//! How much of what a model can do is left when the text is written in another way: attacks and
//! transformations, for one model or along the checkpoints of a run.
//!
//! Comes in: GLUE as it is published, of which each task is judged by a linear head on the model's
//! states ([`super::glue`]), and tasks of `kpipe eval` with questions. Goes out:
//! `robustness.json`, `robustness.md`, `robustness.html` with the curves, each changed text beside
//! what it was as a line of `changes/<task>.jsonl`, and each attack as a line of
//! `points/<point>/<task>.attacks.jsonl`. Promises: the same records, changes and draws for all
//! points of a run; heads are learned from unchanged text; only records that a transformation
//! changes are compared, with what the model makes of them unchanged; a point that is done is not
//! asked again.
//!
//! To add a transformation: see [`transform`]. The attack is [`textfooler`].

pub mod candidates;
mod report;
pub mod textfooler;
pub mod transform;
pub mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use super::glue::{self, GLUE, GlueTask, Judge, Record};
use super::metrics::{self, Metric, best};
use super::model::Model;
use super::tasks::{Item, Reads};
use super::{Asked, answers, hash};
use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_atomically, write_json};
use crate::flow::progress::Progress;
use crate::train::run::{checkpoint, metrics::last_step};
use textfooler::{Attack, Encoder, Ending, Step, Victim};
use transform::{Kit, Transformation};
use words::Text;

pub use report::{markdown, table};

/// A model on the way of a run, or one alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// How it is called in the results.
    pub name: String,
    /// The step it is of; 0 of a model alone.
    pub step: u64,
    /// Where it is.
    pub place: Place,
}

/// Where a model is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// In a folder, or on the hub.
    Model(String),
    /// In a run's folder, as it was at a checkpoint.
    Checkpoint {
        /// The run.
        run: PathBuf,
        /// The checkpoint.
        folder: PathBuf,
    },
}

impl Point {
    /// The model that others went on from.
    pub fn initial(name: &str) -> Self {
        Point { name: "initial".to_string(), step: 0, place: Place::Model(name.to_string()) }
    }
}

/// The points of a run: the model it began with, where one is named, its checkpoints, and what it
/// came to.
///
/// # Errors
/// If the folder holds no run.
pub fn points(run: &Path, initial: Option<&str>) -> Result<Vec<Point>> {
    let last = last_step(run)?;
    let mut all: Vec<Point> = initial.map(Point::initial).into_iter().collect();
    for checkpoint::Found { step, folder } in checkpoint::all(run)? {
        // The last one is what was exported.
        if step < last {
            let place = Place::Checkpoint { run: run.to_path_buf(), folder };
            all.push(Point { name: format!("step-{step}"), step, place });
        }
    }
    let place = Place::Model(run.display().to_string());
    all.push(Point { name: format!("step-{last}"), step: last, place });
    Ok(all)
}

/// How robustness is measured.
pub struct Job<'a> {
    /// A folder with a folder for each task of GLUE.
    pub glue: Option<&'a Path>,
    /// Tasks with questions.
    pub tasks: &'a [Asked],
    /// Where the results go.
    pub out: &'a Path,
    /// Most records that a head is learned from, drawn.
    pub learn: usize,
    /// Most records and items of a task that are changed, drawn of GLUE, the first of others.
    pub items: usize,
    /// The changes.
    pub transformations: &'a [&'static Transformation],
    /// What they are made with.
    pub kit: &'a Kit<'a>,
    /// The attack, of which the encoder is the first point's model.
    pub attack: Option<Attack<'a>>,
    /// Records that are attacked, the first of those that are changed.
    pub attacked: usize,
    /// Seed of the draws and of the bootstrap.
    pub seed: u64,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The version of kpipe.
    pub kpipe: &'static str,
    /// What words were replaced by in the attack, and whose states told whether it shows.
    pub attack: Option<String>,
    /// By point.
    pub points: Vec<Measured>,
}

/// What a point came to.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Its step.
    pub step: u64,
    /// By task.
    pub tasks: Vec<Outcome>,
}

/// What a model came to in a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Hash of the model, the records and how they were changed.
    pub identity: String,
    /// The task.
    pub task: String,
    /// Accuracy on unchanged text.
    pub accuracy: Share,
    /// The same where always the commonest answer is given.
    pub majority: f64,
    /// By transformation.
    pub changed: Vec<Changed>,
    /// The attack, where one was made.
    pub attack: Option<Attacks>,
}

/// A share with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its value.
    pub value: f64,
    /// The ends of the interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// What it is of.
    pub n: usize,
}

/// What a transformation does to a model's answers, over the records that it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The transformation.
    pub name: String,
    /// Whether the text says the same then. Where it does not, what was right may be wrong, and
    /// `turned` alone tells something.
    pub keeps: bool,
    /// Records.
    pub n: usize,
    /// Accuracy on them unchanged.
    pub before: f64,
    /// Accuracy on them changed.
    pub after: Share,
    /// After less before, with its interval by a bootstrap over records.
    pub difference: Share,
    /// The share that is answered in another way.
    pub turned: f64,
}

/// What an attack came to, as TextAttack tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacks {
    /// Accuracy before.
    pub before: Share,
    /// And then.
    pub under_attack: Share,
    /// The share of what was right that is not any more.
    pub success: f64,
    /// Mean share of the words that were replaced where it is not; none where all still is.
    pub words: Option<f64>,
    /// Mean number of texts that the model was asked about, of those that were attacked.
    pub queries: f64,
}

/// A line of an attack: what became of a record.
#[derive(Serialize)]
struct Attacked<'a> {
    texts: &'a [String],
    class: usize,
    ending: Ending,
    after: &'a [String],
    steps: &'a [Step],
    queries: usize,
}

/// Measures all points. `open` opens the model of one.
///
/// # Errors
/// If a file is broken, no task has its files, or a model cannot be asked.
pub fn evaluate(
    points: &[Point],
    open: &dyn Fn(&Point) -> Result<Model>,
    job: &Job,
) -> Result<Told> {
    std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
    let sets = match job.glue {
        Some(data) => sets(data, job)?,
        None => Vec::new(),
    };
    let questions = job.tasks.iter().map(|asked| questions(asked, job)).collect::<Result<_>>()?;
    let questions: Vec<Questions> = questions;

    for set in &sets {
        let texts = set.records.iter().map(|one| one.text.columns().to_vec()).collect();
        let changed = set.changed.iter().map(|of| {
            of.iter().map(|one| one.as_ref().map(|text| text.columns().to_vec())).collect()
        });
        write_changes(set.task.name, texts, changed.collect(), job)?;
    }
    for Questions { asked, items, changed } in &questions {
        let texts = items.iter().map(|item| vec![item.context.clone()]).collect();
        let changed = changed.iter().map(|of| {
            of.iter().map(|one| one.as_ref().map(|item| vec![item.context.clone()])).collect()
        });
        write_changes(asked.task.name, texts, changed.collect(), job)?;
    }

    // It does not learn while the others do: what is alike stays alike.
    let is_attacked = job.attack.is_some() && !sets.is_empty();
    let encoder = points.first().filter(|_| is_attacked).map(open).transpose()?;
    let mut told = Told {
        kpipe: env!("CARGO_PKG_VERSION"),
        attack: job.attack.as_ref().zip(encoder.as_ref()).map(|(attack, encoder)| {
            format!("{}; alike by the states of {}", attack.candidates.about(), encoder.name)
        }),
        points: Vec::new(),
    };
    for (nth, point) in points.iter().enumerate() {
        let opened;
        let model = match &encoder {
            Some(first) if nth == 0 => first,
            _ => {
                opened = open(point)?;
                &opened
            }
        };
        let mut tasks = Vec::new();
        for set in &sets {
            tasks.push(of_set(model, encoder.as_ref(), point, set, job)?);
        }
        for questions in &questions {
            tasks.push(of_questions(model, point, questions, job)?);
        }
        told.points.push(Measured { name: point.name.clone(), step: point.step, tasks });
    }
    write_json(&job.out.join("robustness.json"), &told)?;
    write_atomically(&job.out.join("robustness.md"), markdown(&told).as_bytes())?;
    write_atomically(&job.out.join("robustness.html"), report::page(&told).as_bytes())?;
    Ok(told)
}

/// Texts that belong together.
type Texts = Vec<String>;

/// A line of what was changed.
#[derive(Serialize)]
struct Change<'a> {
    transformation: &'static str,
    before: &'a Texts,
    after: &'a Texts,
}

/// Writes what each transformation makes of the records of a task, to be looked at.
fn write_changes(
    task: &str,
    before: Vec<Texts>,
    after: Vec<Vec<Option<Texts>>>,
    job: &Job,
) -> Result<()> {
    let folder = job.out.join("changes");
    std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
    let mut lines = String::new();
    for (one, after) in job.transformations.iter().zip(&after) {
        for (before, after) in before.iter().zip(after) {
            let Some(after) = after else { continue };
            lines += &line(&Change { transformation: one.name, before, after })?;
        }
    }
    write_atomically(&folder.join(format!("{task}.jsonl")), lines.as_bytes())
}

/// A record as a line of JSON.
fn line(record: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(record)
        .map_err(|cause| Error::data(format!("a record cannot be written: {cause}")))?;
    Ok(text + "\n")
}

/// The records of a task of GLUE, and what they are changed to.
struct Set {
    task: &'static GlueTask,
    learned: Vec<Record>,
    records: Vec<Asking>,
    /// By transformation, of each record.
    changed: Vec<Vec<Option<Text>>>,
}

/// A record that is asked.
struct Asking {
    text: Text,
    class: usize,
}

impl Set {
    /// Whether a text may be changed: a premise is as it is.
    fn may_change(&self, column: usize) -> bool {
        column > 0 || !self.task.has_premise
    }
}

/// The tasks of GLUE in a folder that ask for a class.
fn sets(data: &Path, job: &Job) -> Result<Vec<Set>> {
    let mut all = Vec::new();
    for task in GLUE.iter().filter(|task| !task.labels.is_empty()) {
        let Some(files) = task.files(data, job.progress) else { continue };
        let Some(dev) = files.dev.first() else { continue };
        let learned = glue::drawn(task.records(&files.train)?, job.learn, job.seed);
        let records = glue::drawn(task.records(&dev.path)?, job.items, job.seed)
            .iter()
            .filter_map(|one| Some(Asking { text: Text::new(one.texts()), class: one.class()? }))
            .collect();
        let mut set = Set { task, learned, records, changed: Vec::new() };
        for one in job.transformations {
            let changed = set.by(one, job.kit)?;
            set.changed.push(changed);
        }
        all.push(set);
    }
    match all.is_empty() {
        true => Err(glue::no_task(data)),
        false => Ok(all),
    }
}

impl Set {
    /// Each record as a transformation changes it.
    fn by(&self, one: &Transformation, kit: &Kit) -> Result<Vec<Option<Text>>> {
        let n = self.records.iter().map(|record| record.text.columns().len()).max().unwrap_or(0);
        let mut columns: Vec<Vec<Option<String>>> = Vec::with_capacity(n);
        for column in 0..n {
            let texts: Vec<String> =
                self.records.iter().map(|one| one.text.columns()[column].clone()).collect();
            columns.push(match self.may_change(column) {
                true => one.of(&texts, kit)?,
                false => vec![None; texts.len()],
            });
        }
        let of = |(nth, record): (usize, &Asking)| {
            columns.iter().any(|column| column[nth].is_some()).then(|| {
                let own = record.text.columns().iter().zip(&columns);
                let texts = own.map(|(text, column)| column[nth].as_ref().unwrap_or(text).clone());
                Text::new(texts.collect())
            })
        };
        Ok(self.records.iter().enumerate().map(of).collect())
    }
}

impl Victim for Judge<'_> {
    fn probabilities(&self, texts: &[Text]) -> Result<Vec<Vec<f64>>> {
        let given: Vec<&[String]> = texts.iter().map(Text::columns).collect();
        Judge::probabilities(self, &given)
    }
}

/// A model whose states tell what texts say.
struct Frozen<'a>(&'a Model);

impl Encoder for Frozen<'_> {
    fn states(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
        self.0.ask().mean_states(texts)
    }
}

fn of_set(
    model: &Model,
    encoder: Option<&Model>,
    point: &Point,
    set: &Set,
    job: &Job,
) -> Result<Outcome> {
    let names: Vec<&str> = job.transformations.iter().map(|one| one.name).collect();
    let columns = |text: &Text| text.columns().to_vec();
    let identity = identity(&[
        json!(model.hash),
        json!(encoder.map(|encoder| &encoder.hash)),
        json!(set.learned.iter().map(|one| (one.texts(), one.class())).collect::<Vec<_>>()),
        json!(set.records.iter().map(|one| (columns(&one.text), one.class)).collect::<Vec<_>>()),
        json!(
            set.changed.iter().flatten().map(|one| one.as_ref().map(columns)).collect::<Vec<_>>()
        ),
        json!(names),
        json!(job.attack.as_ref().map(Attack::identity)),
        json!(job.attacked),
    ]);
    let folder = folder(point, job)?;
    let place = folder.join(format!("{}.json", set.task.name));
    if let Some(done) = done(&place, &identity)? {
        return Ok(done);
    }

    job.progress.begin(set.task.name, None, "texts");
    let judge = Judge::learn(set.task, model, &set.learned)?;
    let texts: Vec<Text> = set.records.iter().map(|one| one.text.clone()).collect();
    let answer = |found: &Vec<f64>| best(found.iter().copied());
    let before: Vec<usize> = Victim::probabilities(&judge, &texts)?.iter().map(answer).collect();
    let gold: Vec<usize> = set.records.iter().map(|one| one.class).collect();

    let mut changed = Vec::new();
    for (one, texts) in job.transformations.iter().zip(&set.changed) {
        let present: Vec<Text> = texts.iter().flatten().cloned().collect();
        let mut found = Victim::probabilities(&judge, &present)?
            .iter()
            .map(answer)
            .collect::<Vec<_>>()
            .into_iter();
        let after: Vec<Option<usize>> =
            texts.iter().map(|text| text.as_ref().and_then(|_| found.next())).collect();
        changed.extend(compare(one, &before, &after, &gold, job.seed));
    }
    let attack = match &job.attack {
        Some(attack) => {
            let encoder = encoder.map(Frozen);
            let attack =
                Attack { encoder: encoder.as_ref().map(|one| one as &dyn Encoder), ..*attack };
            Some(attacks(&attack, &judge, set, &folder, job)?)
        }
        None => None,
    };
    let outcome = Outcome {
        identity,
        task: set.task.name.to_string(),
        accuracy: Share::of(&right(&before, &gold)),
        majority: majority(&gold),
        changed,
        attack,
    };
    write_json(&place, &outcome)?;
    job.progress.end(&format!("{}, {}", point.name, told(&outcome)));
    Ok(outcome)
}

/// Attacks the first records, and writes a line of each.
fn attacks(attack: &Attack, judge: &Judge, set: &Set, folder: &Path, job: &Job) -> Result<Attacks> {
    let (mut lines, mut before, mut after) = (String::new(), Vec::new(), Vec::new());
    let (mut words, mut queries) = (Vec::new(), Vec::new());
    for Asking { text, class } in set.records.iter().take(job.attacked) {
        let found = attack.run(judge, text, *class, &|column| set.may_change(column))?;
        before.push(found.ending != Ending::Skipped);
        after.push(found.ending == Ending::Failed);
        if found.ending != Ending::Skipped {
            queries.push(found.queries as f64);
        }
        if found.ending == Ending::Succeeded {
            words.push(found.steps.len() as f64 / text.len() as f64);
        }
        lines += &line(&Attacked {
            texts: text.columns(),
            class: *class,
            ending: found.ending,
            after: found.text.columns(),
            steps: &found.steps,
            queries: found.queries,
        })?;
        job.progress.advance(1);
    }
    let place = folder.join(format!("{}.attacks.jsonl", set.task.name));
    write_atomically(&place, lines.as_bytes())?;

    let n = |of: &[bool]| of.iter().filter(|one| **one).count() as f64;
    let mean = |of: &[f64]| of.iter().fold(0.0, |sum, one| sum + one) / of.len().max(1) as f64;
    Ok(Attacks {
        before: Share::of(&before),
        under_attack: Share::of(&after),
        success: 1.0 - n(&after) / n(&before).max(1.0),
        words: (!words.is_empty()).then(|| mean(&words)),
        queries: mean(&queries),
    })
}

/// The items of a task, and what their questions are changed to.
struct Questions<'a> {
    asked: &'a Asked,
    items: Vec<Item>,
    /// By transformation, of each item.
    changed: Vec<Vec<Option<Item>>>,
}

fn questions<'a>(asked: &'a Asked, job: &Job) -> Result<Questions<'a>> {
    if !matches!(asked.task.reads, Reads::Questions(_)) {
        let name = asked.task.name;
        return Err(Error::usage(format!("`{name}` asks for no choice"))
            .hint("robustness is measured on tasks that do, such as `hellaswag` or `cmmlu`"));
    }
    let mut items = asked.task.items(&asked.path)?;
    items.truncate(job.items);
    let mut changed = Vec::new();
    for one in job.transformations {
        changed.push(by_line(&items, one, job.kit)?);
    }
    Ok(Questions { asked, items, changed })
}

/// Items with their questions changed line by line: what is around the question stays, such as the
/// choices below it and `Answer:`.
fn by_line(items: &[Item], one: &Transformation, kit: &Kit) -> Result<Vec<Option<Item>>> {
    let lines = || items.iter().flat_map(|item| item.context.split('\n'));
    let bodies: Vec<String> = lines().map(|line| body(line).to_string()).collect();
    // All at once: an engine of round trips is started once.
    let changed = one.of(&bodies, kit)?;
    let mut rest = bodies.iter().zip(&changed);

    let mut found = Vec::with_capacity(items.len());
    for item in items {
        let (mut context, mut is_changed) = (Vec::new(), false);
        for (line, (body, changed)) in item.context.split('\n').zip(rest.by_ref()) {
            is_changed |= changed.is_some();
            context.push(match changed {
                Some(changed) => line[..line.len() - body.len()].to_string() + changed,
                None => line.to_string(),
            });
        }
        found.push(is_changed.then(|| Item { context: context.join("\n"), ..item.clone() }));
    }
    Ok(found)
}

/// What of a line of a question is its text: nothing of a choice or of what ends with a colon, and
/// not the word before the first colon.
fn body(line: &str) -> &str {
    let trimmed = line.trim_end();
    let mut letters = trimmed.chars();
    let is_choice = letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.next().is_some_and(|c| ".、．)".contains(c));
    if is_choice || trimmed.ends_with([':', '：']) {
        return "";
    }
    match line.split_once([':', '：']) {
        Some((head, rest)) if !head.contains(char::is_whitespace) && head.len() < 16 => rest,
        _ => line,
    }
}

fn of_questions(model: &Model, point: &Point, questions: &Questions, job: &Job) -> Result<Outcome> {
    let Questions { asked, items, changed } = questions;
    let task = asked.task;
    let names: Vec<&str> = job.transformations.iter().map(|one| one.name).collect();
    let changed_items = || changed.iter().flatten().flatten().cloned().collect::<Vec<Item>>();
    let identity = identity(&[
        json!(model.hash),
        json!(task.version),
        json!(hash(items)),
        json!(hash(&changed_items())),
        json!(names),
    ]);
    let folder = folder(point, job)?;
    let place = folder.join(format!("{}.json", task.name));
    if let Some(done) = done(&place, &identity)? {
        return Ok(done);
    }

    let own = super::Job {
        out: &folder,
        limit: None,
        shots: 0,
        skip_missing: false,
        seed: job.seed,
        progress: job.progress,
    };
    let ask = |items: &[Item], folder: &Path| -> Result<Vec<usize>> {
        std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
        let found = answers(model, asked, items, &hash(items), folder, &own)?;
        Ok(found.iter().map(|one| best(one.log_probs.iter().copied())).collect())
    };
    let before = ask(items, &folder.join("unchanged"))?;
    let gold: Vec<usize> = items.iter().map(|item| item.gold).collect();
    let mut all = Vec::new();
    for (one, changed) in job.transformations.iter().zip(changed) {
        let present: Vec<Item> = changed.iter().flatten().cloned().collect();
        if present.is_empty() {
            continue;
        }
        let mut found = ask(&present, &folder.join(one.name))?.into_iter();
        let after: Vec<Option<usize>> =
            changed.iter().map(|item| item.as_ref().and_then(|_| found.next())).collect();
        all.extend(compare(one, &before, &after, &gold, job.seed));
    }
    let outcome = Outcome {
        identity,
        task: task.name.to_string(),
        accuracy: Share::of(&right(&before, &gold)),
        majority: majority(&gold),
        changed: all,
        attack: None,
    };
    write_json(&place, &outcome)?;
    job.progress.end(&format!("{}, {}", point.name, told(&outcome)));
    Ok(outcome)
}

/// What a transformation does to answers; none where it changes nothing.
fn compare(
    one: &Transformation,
    before: &[usize],
    after: &[Option<usize>],
    gold: &[usize],
    seed: u64,
) -> Option<Changed> {
    let (mut was_right, mut is_right, mut turned) = (Vec::new(), Vec::new(), 0);
    for ((before, after), gold) in before.iter().zip(after).zip(gold) {
        let Some(after) = after else { continue };
        was_right.push(before == gold);
        is_right.push(after == gold);
        turned += usize::from(before != after);
    }
    let n = is_right.len();
    if n == 0 {
        return None;
    }
    let number = |is: &bool| f64::from(u8::from(*is));
    let differences: Vec<f64> =
        is_right.iter().zip(&was_right).map(|(is, was)| number(is) - number(was)).collect();
    let Metric { value, low, high, .. } = metrics::mean(one.name, &differences, true, seed);
    Some(Changed {
        name: one.name.to_string(),
        keeps: one.keeps,
        n,
        before: Share::of(&was_right).value,
        after: Share::of(&is_right),
        difference: Share { value, low, high, n },
        turned: turned as f64 / n as f64,
    })
}

impl Share {
    fn of(right: &[bool]) -> Self {
        let Metric { value, low, high, n, .. } = metrics::share("acc", right, BTreeMap::new());
        // Of nothing it is none.
        let value = if n == 0 { 0.0 } else { value };
        Share {
            value,
            low: if n == 0 { 0.0 } else { low },
            high: if n == 0 { 1.0 } else { high },
            n,
        }
    }
}

fn right(answers: &[usize], gold: &[usize]) -> Vec<bool> {
    answers.iter().zip(gold).map(|(answer, gold)| answer == gold).collect()
}

/// The share of the commonest class.
fn majority(gold: &[usize]) -> f64 {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    gold.iter().for_each(|class| *counts.entry(*class).or_default() += 1);
    counts.values().copied().max().unwrap_or(0) as f64 / gold.len().max(1) as f64
}

fn identity(of: &[serde_json::Value]) -> String {
    let text: String = of.iter().map(|one| format!("{one}\n")).collect();
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

fn folder(point: &Point, job: &Job) -> Result<PathBuf> {
    let folder = job.out.join("points").join(&point.name);
    std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
    Ok(folder)
}

/// What stands in a file, if it is of the same model and records.
fn done(place: &Path, identity: &str) -> Result<Option<Outcome>> {
    Ok(read_json::<Outcome>(place)?.filter(|found| found.identity == identity))
}

/// In one line.
fn told(outcome: &Outcome) -> String {
    let attack = outcome
        .attack
        .as_ref()
        .map_or(String::new(), |one| format!(", {:.3} under attack", one.under_attack.value));
    format!("accuracy {:.3}{attack}", outcome.accuracy.value)
}
