//! Chinese medical exams: questions with one right answer among lettered options.
//!
//! Read: CMB's JSON arrays (Wang et al. 2023, arXiv:2308.08833: `question`, `option` by letter,
//! `answer`, `exam_subject`), and CMExam's CSV files (Liu et al. 2023, arXiv:2306.03030:
//! `Question`, `Options` a line each, `Answer`). Questions with several right answers are none of
//! this task. The prompt is that of CMMLU.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::exam::{Prompt, Question, number_of};
use super::{Item, Reads, Task};
use crate::error::{Error, Result};

/// See the module.
pub static ZH_MEDICINE: Task = Task {
    name: "zh_medicine",
    about: "CMB's JSON arrays or CMExam's CSV files: the letter of the answer, in Chinese",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.lettered(&PROMPT))),
};

/// See the module.
pub static ZH_MEDICINE_CLOZE: Task = Task {
    name: "zh_medicine_cloze",
    about: "the same files: the answer itself behind the question",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.cloze(&PROMPT))),
};

const PROMPT: Prompt = Prompt { question: "", options: "", answer: "答案：" };

/// A record of CMB.
#[derive(Deserialize)]
struct Cmb {
    question: String,
    option: BTreeMap<String, String>,
    answer: String,
    #[serde(default)]
    exam_subject: String,
}

/// A row of CMExam.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CmExam {
    question: String,
    options: String,
    answer: String,
}

fn read(text: &str, stem: &str, form: impl Fn(Question) -> Item) -> Result<Vec<Item>> {
    let questions = match text.trim_start().starts_with('[') {
        true => of_cmb(text, stem)?,
        false => of_cmexam(text, stem)?,
    };
    Ok(questions.into_iter().map(form).collect())
}

fn of_cmb(text: &str, stem: &str) -> Result<Vec<Question>> {
    let records: Vec<Cmb> =
        serde_json::from_str(text).map_err(|cause| Error::data(cause.to_string()))?;
    let question = |(nth, record): (usize, Cmb)| {
        // An option that is not used is an empty text.
        let options = record.option.into_values().filter(|option| !option.trim().is_empty());
        let (answer, options) = (record.answer.as_str(), options.collect());
        let question = one(answer, record.question, options, format!("{stem}-{nth}"))?;
        Ok(question.map(|question| Question { group: record.exam_subject, ..question }))
    };
    records.into_iter().enumerate().filter_map(|one| question(one).transpose()).collect()
}

fn of_cmexam(text: &str, stem: &str) -> Result<Vec<Question>> {
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let question = |(nth, record): (usize, csv::Result<CmExam>)| {
        let record = record.map_err(|cause| Error::data(cause.to_string()))?;
        let option = |line: &str| {
            let text = line.trim().trim_start_matches(|c: char| c.is_ascii_uppercase());
            text.trim_start_matches(['.', '、', '．', ' ', ':', '：']).to_string()
        };
        let options = record.options.lines().filter(|line| !line.trim().is_empty()).map(option);
        one(&record.answer, record.question, options.collect(), format!("{stem}-{nth}"))
    };
    rows.deserialize().enumerate().filter_map(|one| question(one).transpose()).collect()
}

/// A question with one right answer; none of one with several.
fn one(answer: &str, text: String, options: Vec<String>, id: String) -> Result<Option<Question>> {
    let answer = answer.trim();
    if answer.chars().count() > 1 && answer.chars().all(|c| c.is_ascii_uppercase()) {
        return Ok(None);
    }
    let gold = number_of(answer).filter(|gold| *gold < options.len()).ok_or_else(|| {
        Error::data(format!("question `{id}`: the answer is `{answer}`, none of its options"))
    })?;
    let (group, description, text) = (String::new(), String::new(), text.trim().to_string());
    Ok(Some(Question { id, group, description, text, options, gold }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let cmb = r#"[{"exam_subject": "内科", "question": "缺铁时应补充", "answer": "B",
            "option": {"A": "钙", "B": "铁", "C": ""}},
            {"question": "多选", "answer": "AB", "option": {"A": "一", "B": "二"}}]"#;
        let items = ZH_MEDICINE.parse(cmb, "cmb").unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].context, "缺铁时应补充\nA. 钙\nB. 铁\n答案：");
        assert_eq!((items[0].gold, items[0].group.as_str()), (1, "内科"));

        let cmexam = "Question,Options,Answer\n缺铁时应补充,\"A 钙\nB 铁\",B\n";
        let items = ZH_MEDICINE_CLOZE.parse(cmexam, "cmexam").unwrap();
        assert_eq!(
            (items[0].choices.as_slice(), items[0].gold),
            (&["钙".into(), "铁".into()][..], 1)
        );
        let error = ZH_MEDICINE.parse(&cmb.replace("\"B\",", "\"F\","), "x").unwrap_err();
        assert!(error.to_string().contains("`F`"), "{error}");
    }
}
