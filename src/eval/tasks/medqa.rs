//! MedQA (Jin et al. 2020, arXiv:2009.13081): questions of medical licensing exams.
//!
//! Read: JSON lines with `question`, `options` (by letter) and `answer_idx`. The lettered prompt is
//! the harness's `medqa_4options`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::exam::{Prompt, Question, number_of};
use super::{Item, Reads, Task, json_lines};
use crate::error::{Error, Result};

/// See the module.
pub static MEDQA: Task = Task {
    name: "medqa",
    about: "MedQA's JSON lines (`question`, `options`, `answer_idx`): the letter of the answer",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(|text, _| read(text, |question| question.lettered(&PROMPT))),
};

/// See the module.
pub static MEDQA_CLOZE: Task = Task {
    name: "medqa_cloze",
    about: "the same files: the answer itself behind the question",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(|text, _| read(text, |question| question.cloze(&PROMPT))),
};

const PROMPT: Prompt = Prompt { question: "Question: ", options: "", answer: "Answer:" };

#[derive(Deserialize)]
struct Record {
    question: String,
    options: BTreeMap<String, String>,
    answer_idx: String,
    #[serde(default)]
    meta_info: String,
}

fn read(text: &str, form: impl Fn(Question) -> Item) -> Result<Vec<Item>> {
    let item = |(line, record): (usize, Record)| {
        let letters: Vec<&String> = record.options.keys().collect();
        let is_whole = letters.iter().enumerate().all(|(at, one)| number_of(one) == Some(at));
        let gold = number_of(&record.answer_idx).filter(|_| is_whole).ok_or_else(|| {
            let answer = &record.answer_idx;
            Error::data(format!("line {line}: `answer_idx` is `{answer}`, of {letters:?}"))
        })?;
        Ok(form(Question {
            id: line.to_string(),
            group: record.meta_info,
            description: String::new(),
            text: record.question,
            options: record.options.into_values().collect(),
            gold,
        }))
    };
    json_lines(text)?.into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"question": "Why?", "options": {"A": "so", "B": "not so"}, "answer_idx": "B"}"#;

    #[test]
    fn both_forms_are_read() {
        let lettered = &MEDQA.parse(LINE, "").unwrap()[0];
        assert_eq!(lettered.context, "Question: Why?\nA. so\nB. not so\nAnswer:");
        assert_eq!((lettered.choices.join(" "), lettered.gold), ("A B".into(), 1));
        let cloze = &MEDQA_CLOZE.parse(LINE, "").unwrap()[0];
        assert_eq!(cloze.context, "Question: Why?\nAnswer:");
        assert_eq!(cloze.choices, ["so", "not so"]);
        let wrong = LINE.replace("\"B\"}", "\"X\"}");
        assert!(MEDQA.parse(&wrong, "").unwrap_err().to_string().contains("line 1"));
    }
}
