//! BioASQ, task B (Tsatsaronis et al. 2015): questions of biomedical experts with snippets of
//! abstracts; here those that are answered by yes or no.
//!
//! Read: the official JSON with gold answers (`questions`, each with `type`, `body`, `snippets` and
//! `exact_answer`). Metrics of the official evaluation are `acc` and `macro_f1`, the mean of F1
//! over yes and over no.

use serde::Deserialize;
use serde_json::Value;

use super::{Item, Reads, Task};
use crate::error::{Error, Result};

/// See the module.
pub static BIOASQ_YESNO: Task = Task {
    name: "bioasq_yesno",
    about: "BioASQ's JSON with gold answers: yes or no, by its snippets",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(read),
};

const ANSWERS: [&str; 2] = ["yes", "no"];

#[derive(Deserialize)]
struct File {
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    r#type: String,
    body: String,
    #[serde(default)]
    snippets: Vec<Snippet>,
    #[serde(default)]
    exact_answer: Value,
}

#[derive(Deserialize)]
struct Snippet {
    text: String,
}

fn read(text: &str, _: &str) -> Result<Vec<Item>> {
    let file: File = serde_json::from_str(text).map_err(|cause| Error::data(cause.to_string()))?;
    file.questions.into_iter().filter(|question| question.r#type == "yesno").map(item).collect()
}

fn item(question: Question) -> Result<Item> {
    // Answers are put into small letters before they are compared, as the official program does;
    // some files have them in a list.
    let told = match &question.exact_answer {
        Value::String(text) => Some(text),
        Value::Array(several) => several.first().and_then(|first| match first {
            Value::String(text) => Some(text),
            _ => None,
        }),
        _ => None,
    };
    let answer = told.map(|text| text.trim().to_lowercase());
    let gold =
        ANSWERS.iter().position(|known| answer.as_deref() == Some(known)).ok_or_else(|| {
            let (id, found) = (&question.id, &question.exact_answer);
            Error::data(format!("question `{id}`: `exact_answer` is {found}, neither yes nor no"))
                .hint("give a file with gold answers, such as `12B1_golden.json`")
        })?;
    let snippets: Vec<&str> = question.snippets.iter().map(|snippet| snippet.text.trim()).collect();
    let context =
        format!("Abstract: {}\nQuestion: {}\nAnswer:", snippets.join("\n"), question.body.trim());
    let choices = ANSWERS.map(str::to_string).to_vec();
    Ok(Item { id: question.id, context, choices, gold, ..Item::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_yes_and_no_are_taken() {
        let text = r#"{"questions": [
            {"id": "a", "type": "yesno", "body": "Is it?", "exact_answer": "Yes",
             "snippets": [{"text": "It is."}, {"text": "So it is."}]},
            {"id": "b", "type": "factoid", "body": "Which?", "exact_answer": [["x"]]},
            {"id": "c", "type": "yesno", "body": "And this?", "exact_answer": ["no"]}]}"#;
        let items = read(text, "").unwrap();
        assert_eq!(items[0].context, "Abstract: It is.\nSo it is.\nQuestion: Is it?\nAnswer:");
        let golds: Vec<usize> = items.iter().map(|item| item.gold).collect();
        assert_eq!(golds, [0, 1]);
        let without = text.replace("\"Yes\"", "null");
        let error = read(&without, "").unwrap_err().to_string();
        assert!(error.contains("question `a`") && error.contains("gold answers"), "{error}");
    }
}
