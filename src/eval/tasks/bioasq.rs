//! BioASQ, task B (Tsatsaronis et al. 2015): questions of biomedical experts with snippets of
//! abstracts, which are answered by yes or no, by one thing (factoid) or by several (list).
//!
//! Read: the official JSON with gold answers (`questions`, each with `type`, `body`, `snippets` and
//! `exact_answer`). Of yes and no, the metrics of the official evaluation are `acc` and `macro_f1`,
//! the mean of F1 over both. What else a question is answered by is looked for in its snippets: a
//! run of up to four words that neither begins nor ends with an everyday word and does not stand in
//! the question. The model ranks those that stand there most often.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{Entities, Form, Item, Reads, Task};
use crate::error::{Error, Result};
use crate::text::sentences::sentences;
use crate::text::words::words;

/// See the module.
pub static BIOASQ_YESNO: Task = Task {
    name: "bioasq_yesno",
    about: "BioASQ's JSON with gold answers: yes or no, by its snippets",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(read),
};

/// See the module.
pub static BIOASQ_FACTOID: Task = Task {
    name: "bioasq_factoid",
    about: "BioASQ's JSON with gold answers: one thing out of its snippets, five tries",
    version: 1,
    has_subjects: false,
    reads: Reads::Entities(Entities { read: |text| entities(text, "factoid"), form: Form::One }),
};

/// See the module.
pub static BIOASQ_LIST: Task = Task {
    name: "bioasq_list",
    about: "BioASQ's JSON with gold answers: several things out of its snippets",
    version: 1,
    has_subjects: false,
    reads: Reads::Entities(Entities { read: |text| entities(text, "list"), form: Form::Several }),
};

/// Most words of a thing, and most things that are ranked: each is a row that the model computes.
const WORDS: usize = 4;
const CANDIDATES: usize = 32;
/// Words that a thing neither begins nor ends with.
const EVERYDAY: &str = "a about after all also among an and are as at be been before between both \
                        but by can could did do does during each for from had has have he her his \
                        how if in into is it its may more most no not of on one or other our over \
                        she should so some such than that the their there these they this those \
                        through to two under up was we were what when where which who whose will \
                        with within without would";

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

/// The questions of a type, with what is ranked and what is right.
fn entities(text: &str, kind: &str) -> Result<Vec<Item>> {
    let file: File = serde_json::from_str(text).map_err(|cause| Error::data(cause.to_string()))?;
    let item = |question: Question| {
        let accepted = accepted(&question.exact_answer, kind).ok_or_else(|| {
            let (id, found) = (&question.id, &question.exact_answer);
            Error::data(format!("question `{id}`: `exact_answer` is {found}, no list of names"))
                .hint("give a file with gold answers, such as `12B1_golden.json`")
        })?;
        let choices = candidates(&question);
        let Question { id, body, snippets, .. } = question;
        let snippets: Vec<&str> = snippets.iter().map(|snippet| snippet.text.trim()).collect();
        let context =
            format!("Abstract: {}\nQuestion: {}\nAnswer:", snippets.join("\n"), body.trim());
        Ok(Item { id, context, choices, accepted, ..Item::default() })
    };
    file.questions.into_iter().filter(|question| question.r#type == kind).map(item).collect()
}

/// The right answers, each with its other names, in small letters. Of a factoid all names are of
/// one thing, in one list or in one each.
fn accepted(answer: &Value, kind: &str) -> Option<Vec<Vec<String>>> {
    let name = |value: &Value| Some(value.as_str()?.trim().to_lowercase());
    let names = |value: &Value| match value {
        Value::Array(several) => several.iter().map(name).collect::<Option<Vec<String>>>(),
        one => Some(vec![name(one)?]),
    };
    let all = match answer {
        Value::Array(several) => several.iter().map(names).collect::<Option<Vec<_>>>()?,
        one => vec![names(one)?],
    };
    let all = if kind == "factoid" { vec![all.concat()] } else { all };
    all.iter().any(|names| !names.is_empty()).then_some(all)
}

/// What the snippets of a question may answer it by, the most frequent first.
fn candidates(question: &Question) -> Vec<String> {
    let asked: BTreeSet<String> =
        words(&question.body).map(|word| word.text.to_lowercase()).collect();
    let everyday: BTreeSet<&str> = EVERYDAY.split(' ').collect();
    // By the name in small letters: how often it stands there, and how it is written first.
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();

    for snippet in &question.snippets {
        for sentence in sentences(&snippet.text) {
            let text = &snippet.text[sentence];
            let all: Vec<_> = words(text).collect();
            for first in 0..all.len() {
                for run in (1..=WORDS).filter_map(|n| all.get(first..first + n)) {
                    let (begin, end) = (&run[0], &run[run.len() - 1]);
                    let is_everyday = |word: &str| {
                        let word = word.to_lowercase();
                        everyday.contains(word.as_str()) || word.chars().count() < 2
                    };
                    let is_asked = run.iter().all(|word| asked.contains(&word.text.to_lowercase()));
                    let name = &text[begin.start..end.start + end.text.len()];
                    // A comma or a bracket parts two things.
                    let is_apart = name.contains([',', ';', ':', '(', ')', '[', ']', '.', '"']);
                    if is_everyday(begin.text) || is_everyday(end.text) || is_asked || is_apart {
                        continue;
                    }
                    let (n, _) = found.entry(name.to_lowercase()).or_insert((0, name.to_string()));
                    *n += run.len();
                }
            }
        }
    }

    let mut all: Vec<(usize, String)> = found.into_values().collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().take(CANDIDATES).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_looked_for_in_the_snippets() {
        let text = r#"{"questions": [
            {"id": "a", "type": "factoid", "body": "Which gene causes velar fever?",
             "exact_answer": [["VLR1", "Velarin gene"]],
             "snippets": [{"text": "Velar fever is caused by mutations of VLR1, and VLR1 only."}]},
            {"id": "b", "type": "list", "body": "Which drugs help?", "snippets": [],
             "exact_answer": [["Corolin", "CRL"], ["Bavex"]]}]}"#;
        let one = &entities(text, "factoid").unwrap()[0];
        assert_eq!(one.accepted, [["vlr1", "velarin gene"]]);
        assert!(one.choices.contains(&"VLR1".to_string()), "{:?}", one.choices);
        assert!(one.choices.iter().all(|name| !name.contains(',') && *name != "Velar fever"));
        let several = &entities(text, "list").unwrap()[0];
        assert_eq!((several.accepted.len(), several.choices.len()), (2, 0));
        let error = entities(&text.replace("[[\"VLR1\", \"Velarin gene\"]]", "null"), "factoid");
        assert!(error.unwrap_err().to_string().contains("question `a`"));
    }

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
