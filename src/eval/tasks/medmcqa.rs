//! MedMCQA (Pal et al. 2022, arXiv:2203.14371): questions of Indian medical entrance exams.
//!
//! Read: JSON lines with `question`, `opa` to `opd` and `cop`, the number of the right one, from 1
//! in the authors' files and from 0 in the hub's. The lettered prompt is the harness's `medmcqa`.

use serde::Deserialize;

use super::exam::{Prompt, Question};
use super::{Item, Reads, Task, json_lines};
use crate::error::{Error, Result};

/// See the module.
pub static MEDMCQA: Task = Task {
    name: "medmcqa",
    about: "MedMCQA's JSON lines (`question`, `opa` to `opd`, `cop`): the letter of the answer",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(|text, _| read(text, |question| question.lettered(&PROMPT))),
};

/// See the module.
pub static MEDMCQA_CLOZE: Task = Task {
    name: "medmcqa_cloze",
    about: "the same files: the answer itself behind the question",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(|text, _| read(text, |question| question.cloze(&PROMPT))),
};

const PROMPT: Prompt = Prompt { question: "Question: ", options: "Choices:\n", answer: "Answer:" };

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    id: String,
    question: String,
    opa: String,
    opb: String,
    opc: String,
    opd: String,
    cop: Option<usize>,
    #[serde(default)]
    subject_name: Option<String>,
}

fn read(text: &str, form: impl Fn(Question) -> Item) -> Result<Vec<Item>> {
    let records: Vec<(usize, Record)> = json_lines(text)?;
    // Only the hub's files know a number 0.
    let first = usize::from(!records.iter().any(|(_, record)| record.cop == Some(0)));
    let item = |(line, record): (usize, Record)| {
        let gold = record.cop.and_then(|number| number.checked_sub(first)).ok_or_else(|| {
            Error::data(format!("line {line}: `cop` is missing: this file has no answers"))
        })?;
        Ok(form(Question {
            id: if record.id.is_empty() { line.to_string() } else { record.id },
            group: record.subject_name.unwrap_or_default(),
            description: String::new(),
            text: record.question,
            options: vec![record.opa, record.opb, record.opc, record.opd],
            gold,
        }))
    };
    records.into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_1_or_at_0() {
        let line = |number: &str| {
            format!(
                r#"{{"question": "Q", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": {number}}}"#
            )
        };
        let golds = |text: &str| -> Vec<usize> {
            MEDMCQA.parse(text, "").unwrap().iter().map(|item| item.gold).collect()
        };
        assert_eq!(golds(&[line("1"), line("4")].join("\n")), [0, 3]);
        assert_eq!(golds(&[line("1"), line("0")].join("\n")), [1, 0]);
        let item = &MEDMCQA.parse(&line("2"), "").unwrap()[0];
        assert_eq!(item.context, "Question: Q\nChoices:\nA. a\nB. b\nC. c\nD. d\nAnswer:");
        assert!(MEDMCQA.parse(&line("null"), "").unwrap_err().to_string().contains("no answers"));
    }
}
