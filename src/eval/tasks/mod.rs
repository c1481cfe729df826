//! The tasks that a model is asked: files of questions as they are published, read into items.
//!
//! To add one: a file with a [`Task`] that reads the text of a file into [`Item`]s, one `mod` line,
//! one line in [`TASKS`]. Prompts are lm-evaluation-harness 0.4's where it has the task; a task
//! whose prompt changes gets another `version`.

pub mod bioasq;
pub mod choices;
pub mod cmmlu;
mod exam;
pub mod hellaswag;
pub mod lawbench;
pub mod medmcqa;
pub mod medqa;
pub mod mmlu;
pub mod probes;
pub mod pubmedqa;
pub mod texts;
pub mod zh_medicine;

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::files::decompress::{Bounds, Unpacked};
use crate::files::expand::expand;
use crate::flow::registry;
use crate::train::data::probes::space;

/// Every task.
pub static TASKS: &[&Task] = &[
    &hellaswag::HELLASWAG,
    &pubmedqa::PUBMEDQA,
    &bioasq::BIOASQ_YESNO,
    &bioasq::BIOASQ_FACTOID,
    &bioasq::BIOASQ_LIST,
    &medqa::MEDQA,
    &medqa::MEDQA_CLOZE,
    &medmcqa::MEDMCQA,
    &medmcqa::MEDMCQA_CLOZE,
    &mmlu::MMLU,
    &mmlu::MMLU_CLOZE,
    &cmmlu::CMMLU,
    &cmmlu::CMMLU_CLOZE,
    &lawbench::LAWBENCH,
    &lawbench::LAWBENCH_CLOZE,
    &zh_medicine::ZH_MEDICINE,
    &zh_medicine::ZH_MEDICINE_CLOZE,
    &choices::CHOICES,
    &probes::PROBES,
    &texts::BITS,
];

/// Questions of one kind.
pub struct Task {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// Changes when the same file gives other items.
    pub version: u32,
    /// Whether its groups are subjects, of which each has examples of its own.
    pub has_subjects: bool,
    /// What it reads.
    pub reads: Reads,
}

/// What a task reads.
pub enum Reads {
    /// Questions: the items of the text of a file, which has this name without its endings.
    Questions(fn(&str, &str) -> Result<Vec<Item>>),
    /// Questions that are answered by things: an item's choices are what is ranked, of which none
    /// needs to be right, and what it accepts is.
    Entities(Entities),
    /// Texts that are measured from their beginning: each the only choice of an item.
    Texts(fn(&Path) -> Result<Vec<Item>>),
}

/// How questions that are answered by things are read.
pub struct Entities {
    /// The items of the text of a file.
    pub read: fn(&str) -> Result<Vec<Item>>,
    /// How many things answer one.
    pub form: Form,
}

/// How many things answer a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One, of which the first five tries count.
    One,
    /// Several.
    Several,
}

/// A question with its answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Names it within its task.
    pub id: String,
    /// What it is about, where the file says so: results are told by it too.
    pub group: String,
    /// Stands once before everything, examples too.
    pub description: String,
    /// The question, as the model reads it.
    pub context: String,
    /// The answers to choose from, without the space between them and the question; one alone where
    /// nothing is to be chosen.
    pub choices: Vec<String>,
    /// The right one.
    pub gold: usize,
    /// Of questions that are answered by things, the right ones, each with its other names, in
    /// small letters.
    pub accepted: Vec<Vec<String>>,
    /// What stands behind each answer and is judged with it, such as the rest of a sentence.
    pub behind: String,
    /// Whether no space stands before an answer, as in Chinese.
    pub is_joined: bool,
    /// What else it is told by, beside its group, such as `bucket 2`.
    pub also: Vec<String>,
    /// When a text was written, in years, where that is known.
    pub year: Option<f64>,
}

/// The task called `name`.
///
/// # Errors
/// If there is none.
pub fn task(name: &str) -> Result<&'static Task> {
    registry::find("task", TASKS, name, |task| task.name)
}

/// Larger files are no benchmarks.
const MAX_BYTES: u64 = 1 << 30;

impl Task {
    /// The items of all files at a path: a file (packed or not), a folder, or a pattern.
    ///
    /// # Errors
    /// If there is no file, one cannot be read, or an item of it is broken, with its place.
    pub fn items(&self, path: &str) -> Result<Vec<Item>> {
        let items = match self.reads {
            Reads::Texts(read) => read(Path::new(path)).map_err(|error| error.hint(self.hint()))?,
            Reads::Questions(_) | Reads::Entities(_) => {
                let files = expand(path)?;
                let all: Vec<Vec<Item>> =
                    files.iter().map(|file| self.of_file(file)).collect::<Result<_>>()?;
                all.into_iter().flatten().collect()
            }
        };
        if items.is_empty() {
            return Err(Error::data(format!("`{path}` holds no item of `{}`", self.name)));
        }
        Ok(items)
    }

    fn of_file(&self, file: &Path) -> Result<Vec<Item>> {
        let placed = |error: Error| error.at(file.display()).hint(self.hint());
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        let found = self.parse(&text(file)?, stem).map_err(placed)?;
        for item in &found {
            item.check()
                .map_err(|what| placed(Error::data(format!("item `{}`: {what}", item.id))))?;
        }
        Ok(found)
    }

    /// The items of the text of a file of questions.
    fn parse(&self, text: &str, stem: &str) -> Result<Vec<Item>> {
        match self.reads {
            Reads::Questions(read) => read(text, stem),
            Reads::Entities(Entities { read, .. }) => read(text),
            Reads::Texts(_) => Err(Error::usage(format!("`{}` asks no questions", self.name))),
        }
    }

    fn hint(&self) -> String {
        format!("`{}` reads {}; `kpipe list tasks` tells what each reads", self.name, self.about)
    }
}

impl Item {
    /// An answer as it follows on the question.
    pub fn continuation(&self, choice: &str) -> String {
        format!("{}{choice}{}", space(self.is_joined), self.behind)
    }

    /// A right answer.
    pub fn right(&self) -> &str {
        let named = self.accepted.iter().flatten().next();
        named.or(self.choices.get(self.gold)).map_or("", String::as_str)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !self.accepted.is_empty() {
            return Ok(());
        }
        if self.choices.is_empty() {
            return Err("there is nothing to choose from".to_string());
        }
        if let Some(empty) = self.choices.iter().position(|choice| choice.trim().is_empty()) {
            return Err(format!("choice {empty} is empty"));
        }
        if self.gold >= self.choices.len() {
            let (gold, n) = (self.gold, self.choices.len());
            return Err(format!("the right answer is number {gold} of {n}, counted from 0"));
        }
        Ok(())
    }
}

/// The text of a file, unpacked.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub fn text(path: &Path) -> Result<String> {
    let failed = |cause: &dyn std::fmt::Display| Error::file("read", path, cause);
    let bounds = Bounds { max_bytes: MAX_BYTES, max_ratio: 1_000 };
    let mut unpacked = Unpacked::open(path, &bounds, None).map_err(|cause| failed(&cause))?;
    let mut bytes = Vec::new();
    unpacked.read_to_end(&mut bytes).map_err(|cause| failed(&cause))?;
    let text = String::from_utf8(bytes).map_err(|cause| {
        Error::data(format!("it is not UTF-8: {}", cause.utf8_error())).at(path.display())
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

/// The records of a file of JSON lines, with their line numbers.
pub(super) fn json_lines<T: DeserializeOwned>(text: &str) -> Result<Vec<(usize, T)>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let parse = |(number, line): (usize, &str)| {
        let record = serde_json::from_str(line)
            .map_err(|cause| Error::data(format!("line {number}: {cause}")))?;
        Ok((number, record))
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_have_names_of_their_own() {
        for (idx, task) in TASKS.iter().enumerate() {
            assert!(!task.about.is_empty() && task.version > 0);
            assert!(TASKS[..idx].iter().all(|other| other.name != task.name), "{}", task.name);
        }
        assert!(super::task("helaswag").err().unwrap().to_string().contains("`hellaswag`"));
    }

    #[test]
    fn broken_items_are_told_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("mine.jsonl");
        let told = |text: &str| {
            std::fs::write(&place, text).unwrap();
            choices::CHOICES.items(place.to_str().unwrap()).unwrap_err().to_string()
        };
        for (text, what) in [
            (r#"{"question": "q", "choices": [], "answer": 0}"#, "nothing to choose from"),
            (r#"{"question": "q", "choices": ["a", " "], "answer": 0}"#, "choice 1 is empty"),
            (r#"{"question": "q", "choices": ["a", "b"], "answer": 2}"#, "number 2 of 2"),
            (r#"{"question": "q", "choices": ["a", "b"]}"#, "answer"),
            ("\n{\"question\": 7}\n", "line 2"),
            ("", "holds no item"),
        ] {
            let told = told(text);
            assert!(told.contains(what) && told.contains("mine.jsonl"), "{told}");
        }
    }
}
