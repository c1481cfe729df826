//! Questions of one's own: JSON lines with `question` (or `context`), `choices`, and `answer`: a
//! number from 0, a letter, or the text of the right choice. Without `choices` the answer alone is
//! measured. `id` and `group` may say what a record is and is about.

use serde::Deserialize;
use serde_json::Value;

use super::exam::number_of;
use super::{Item, Reads, Task, json_lines};
use crate::error::{Error, Result};

/// See the module.
pub static CHOICES: Task = Task {
    name: "choices",
    about: "JSON lines of your own: `question`, `answer` and, to choose from, `choices`",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(read),
};

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    group: String,
    #[serde(alias = "context")]
    question: String,
    #[serde(default)]
    choices: Option<Vec<String>>,
    #[serde(default)]
    answer: Value,
}

fn read(text: &str, _: &str) -> Result<Vec<Item>> {
    let item = |(line, record): (usize, Record)| {
        let (choices, gold) = match (record.choices, &record.answer) {
            (Some(choices), answer) => {
                let gold = number(answer, &choices);
                (choices, gold)
            }
            (None, Value::String(answer)) => (vec![answer.clone()], Some(0)),
            (None, _) => (Vec::new(), None),
        };
        let gold = gold.ok_or_else(|| {
            let answer = record.answer;
            Error::data(format!("line {line}: `answer` is {answer}, which is no choice")).hint(
                "`answer` is a number from 0, a letter, or the text of a choice; without \
                 `choices` it is the answer itself",
            )
        })?;
        let id = match record.id {
            Value::Null => line.to_string(),
            Value::String(id) => id,
            other => other.to_string(),
        };
        let (group, context) = (record.group, record.question);
        Ok(Item { id, group, context, choices, gold, ..Item::default() })
    };
    json_lines(text)?.into_iter().map(item).collect()
}

fn number(answer: &Value, choices: &[String]) -> Option<usize> {
    match answer {
        Value::Number(number) => number.as_u64().map(|number| number as usize),
        Value::String(text) => {
            choices.iter().position(|choice| choice == text).or_else(|| number_of(text))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_numbers_letters_or_texts() {
        let golds: Vec<usize> = ["1", "\"B\"", "\"two\""]
            .iter()
            .map(|answer| {
                let line = format!(
                    r#"{{"question": "q", "choices": ["one", "two"], "answer": {answer}}}"#
                );
                read(&line, "").unwrap()[0].gold
            })
            .collect();
        assert_eq!(golds, [1, 1, 1]);
        let alone = &read(r#"{"id": 7, "context": "q", "answer": "because"}"#, "").unwrap()[0];
        assert_eq!(
            (alone.choices.as_slice(), alone.id.as_str()),
            (&["because".to_string()][..], "7")
        );
        let error = read(r#"{"question": "q", "choices": ["a"], "answer": "z"}"#, "").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
