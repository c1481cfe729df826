//! PubMedQA (Jin et al. 2019, arXiv:1909.06146): does the abstract say yes, no or maybe?
//!
//! Read: `ori_pqal.json` and files of its shape, an object of records by their PubMed id. The
//! prompt is the harness's `pubmedqa` 1.0.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Item, Reads, Task};
use crate::error::{Error, Result};

/// See the module.
pub static PUBMEDQA: Task = Task {
    name: "pubmedqa",
    about: "PubMedQA's object of records by PubMed id: yes, no or maybe by an abstract",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(read),
};

const ANSWERS: [&str; 3] = ["yes", "no", "maybe"];

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "QUESTION")]
    question: String,
    #[serde(rename = "CONTEXTS")]
    contexts: Vec<String>,
    final_decision: String,
}

fn read(text: &str, _: &str) -> Result<Vec<Item>> {
    let records: BTreeMap<String, Record> =
        serde_json::from_str(text).map_err(|cause| Error::data(cause.to_string()))?;
    let item = |(id, record): (String, Record)| {
        let decision = record.final_decision;
        let gold = ANSWERS.iter().position(|answer| *answer == decision).ok_or_else(|| {
            Error::data(format!("`{id}`: `final_decision` is `{decision}`, none of yes, no, maybe"))
        })?;
        let abstracts = record.contexts.join("\n");
        let context = format!("Abstract: {abstracts}\nQuestion: {}\nAnswer:", record.question);
        let choices = ANSWERS.map(str::to_string).to_vec();
        Ok(Item { id, context, choices, gold, ..Item::default() })
    };
    records.into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_that_of_the_harness() {
        let text = r#"{"7": {"QUESTION": "Does it?", "CONTEXTS": ["One.", "Two."],
            "final_decision": "maybe"}}"#;
        let found = &read(text, "").unwrap()[0];
        assert_eq!(found.context, "Abstract: One.\nTwo.\nQuestion: Does it?\nAnswer:");
        assert_eq!((found.gold, found.id.as_str()), (2, "7"));
        let other = text.replace("maybe", "perhaps");
        assert!(read(&other, "").unwrap_err().to_string().contains("`perhaps`"));
    }
}
