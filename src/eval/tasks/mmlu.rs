//! MMLU (Hendrycks et al. 2021, arXiv:2009.03300): exam questions by subject.
//!
//! Read: the official CSV files without a header, a subject each (`anatomy_test.csv`). The lettered
//! prompt is the harness's `mmlu`.

use super::exam::{Prompt, Question, number_of};
use super::{Item, Reads, Task};
use crate::error::{Error, Result};

/// See the module.
pub static MMLU: Task = Task {
    name: "mmlu",
    about: "MMLU's CSV files, a subject each: the letter of the answer",
    version: 1,
    has_subjects: true,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.lettered(&PROMPT))),
};

/// See the module.
pub static MMLU_CLOZE: Task = Task {
    name: "mmlu_cloze",
    about: "the same files: the answer itself behind the question",
    version: 1,
    has_subjects: true,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.cloze(&CLOZE))),
};

const PROMPT: Prompt = Prompt { question: "", options: "", answer: "Answer:" };
const CLOZE: Prompt = Prompt { question: "Question: ", ..PROMPT };

/// The splits that stand in names of files.
const SPLITS: [&str; 3] = ["_test", "_val", "_dev"];

fn read(text: &str, stem: &str, form: impl Fn(Question) -> Item) -> Result<Vec<Item>> {
    let subject = SPLITS.iter().find_map(|split| stem.strip_suffix(split)).unwrap_or(stem);
    let about = subject.replace('_', " ");
    let description =
        format!("The following are multiple choice questions (with answers) about {about}.\n\n");
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let item = |(nth, row): (usize, csv::Result<csv::StringRecord>)| {
        let row = row.map_err(|cause| Error::data(cause.to_string()))?;
        let fields: Vec<&str> = row.iter().collect();
        let [question, options @ .., answer] = fields.as_slice() else {
            return Err(Error::data(format!("record {}: {} columns", nth + 1, fields.len())));
        };
        let gold = number_of(answer).ok_or_else(|| {
            Error::data(format!("record {}: the last column is `{answer}`, no letter", nth + 1))
        })?;
        Ok(form(Question {
            id: format!("{subject}-{nth}"),
            group: subject.to_string(),
            description: description.clone(),
            text: question.trim().to_string(),
            options: options.iter().map(|option| (*option).to_string()).collect(),
            gold,
        }))
    };
    rows.records().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_the_name_of_the_file() {
        let text = "\"Which, then?\",this,that,neither,both,B\n";
        let found = &MMLU.parse(text, "medical_genetics_test").unwrap()[0];
        assert_eq!(found.context, "Which, then?\nA. this\nB. that\nC. neither\nD. both\nAnswer:");
        assert_eq!(found.group, "medical_genetics");
        assert!(found.description.ends_with("about medical genetics.\n\n"));
        assert_eq!(found.gold, 1);
        let error = MMLU.parse("q,a,b,c,d,7\n", "x").unwrap_err().to_string();
        assert!(error.contains("record 1") && error.contains("`7`"), "{error}");
    }
}
