//! LawBench (Fei et al. 2023, arXiv:2309.16289): Chinese law, by what can be chosen.
//!
//! Read: its JSON arrays (`instruction`, `question`, `answer`), a task each. Questions of exams and
//! cases (1-2, 3-6) have lettered options in their text (`…?A:…;B:…;C:…;D:…。`), asked by letter as
//! in CMMLU, or in cloze form. Consultations (2-4) have a list of categories in their instruction
//! (`类别包括：…。`), which are chosen from in both. Its other tasks are answered in free text: they
//! are read by `choices`, whose `answer` alone is measured.

use serde::Deserialize;

use super::exam::{LETTERS, Prompt, Question, number_of};
use super::{Item, Reads, Task};
use crate::error::{Error, Result};

/// See the module.
pub static LAWBENCH: Task = Task {
    name: "lawbench",
    about: "LawBench's JSON arrays with options or categories (1-2, 2-4, 3-6), by letter",
    version: 1,
    has_subjects: true,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.lettered(&PROMPT))),
};

/// See the module.
pub static LAWBENCH_CLOZE: Task = Task {
    name: "lawbench_cloze",
    about: "the same files: the answer itself behind the question",
    version: 1,
    has_subjects: true,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.cloze(&PROMPT))),
};

const PROMPT: Prompt = Prompt { question: "", options: "", answer: "答案：" };
/// Stands before the options of a text, and before a category's list.
const CATEGORIES: &str = "类别包括：";

#[derive(Deserialize)]
struct Record {
    instruction: String,
    question: String,
    answer: String,
}

fn read(text: &str, stem: &str, form: impl Fn(Question) -> Item) -> Result<Vec<Item>> {
    let records: Vec<Record> =
        serde_json::from_str(text).map_err(|cause| Error::data(cause.to_string()))?;
    let item = |(nth, record): (usize, Record)| {
        let id = format!("{stem}-{nth}");
        let told = categories(&record, &id, stem)
            .or_else(|| options(&record, &id, stem).map(&form))
            .ok_or_else(|| {
                Error::data(format!("record {nth} has no lettered options and no categories"))
                    .hint("tasks that are answered in free text are read by `choices`")
            })?;
        Ok(told)
    };
    records.into_iter().enumerate().map(item).collect()
}

/// A consultation and the categories of its instruction.
fn categories(record: &Record, id: &str, stem: &str) -> Option<Item> {
    let (_, rest) = record.instruction.split_once(CATEGORIES)?;
    let (list, _) = rest.split_once('。')?;
    let choices: Vec<String> = list.split('、').map(str::to_string).collect();
    let gold = choices.iter().position(|choice| *choice == record.answer.trim())?;
    Some(Item {
        id: id.to_string(),
        group: stem.to_string(),
        context: format!("咨询：{}\n类别：", record.question.trim()),
        choices,
        gold,
        is_joined: true,
        ..Item::default()
    })
}

/// A question and the options at the end of its text, of which the answer names one.
fn options(record: &Record, id: &str, stem: &str) -> Option<Question> {
    let text = record.question.trim();
    // From behind, since a letter with a colon may stand in the question itself.
    let (mut options, mut rest) = (Vec::new(), text.strip_suffix('。').unwrap_or(text));
    for (nth, letter) in LETTERS.iter().enumerate().rev() {
        let first = [format!("{letter}:"), format!("{letter}：")];
        let Some((at, mark)) =
            first.iter().filter_map(|mark| Some((rest.rfind(mark)?, mark))).max()
        else {
            continue;
        };
        options.insert(0, rest[at + mark.len()..].trim_end_matches([';', '；']).trim().to_string());
        rest = &rest[..at];
        if nth == 0 {
            break;
        }
    }
    let letter = record.answer.split_once([':', '：'])?.1.trim_end_matches('。').trim();
    let gold = number_of(letter).filter(|gold| *gold < options.len())?;
    Some(Question {
        id: id.to_string(),
        group: stem.to_string(),
        description: String::new(),
        text: rest.trim_end_matches([';', '；']).trim().to_string(),
        options,
        gold,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_categories_are_taken_out_of_the_text() {
        let text = r#"[
            {"instruction": "选出一个正确的答案。", "answer": "正确答案：B。",
             "question": "甲（A:原告）起诉乙，法院应当如何处理?A:驳回;B:受理:立案;C:移送;D:中止。"},
            {"instruction": "确定类别，类别包括：婚姻家庭、劳动纠纷。将答案写出。", "question": "工资没发怎么办",
             "answer": "劳动纠纷"}]"#;
        let items = (LAWBENCH.parse(text, "lawbench-1-2")).unwrap();
        assert!(
            items[0]
                .context
                .starts_with("甲（A:原告）起诉乙，法院应当如何处理?\nA. 驳回\nB. 受理:立案")
        );
        assert_eq!((items[0].gold, items[0].choices.len()), (1, 4));
        assert_eq!(items[1].context, "咨询：工资没发怎么办\n类别：");
        assert_eq!((items[1].gold, items[1].choices.len()), (1, 2));
        let cloze = LAWBENCH_CLOZE.parse(text, "x").unwrap();
        assert_eq!(cloze[0].choices, ["驳回", "受理:立案", "移送", "中止"]);

        let free = r#"[{"instruction": "回答", "question": "第一条是什么", "answer": "答案:某"}]"#;
        let error = LAWBENCH.parse(free, "x").unwrap_err().to_string();
        assert!(error.contains("record 0") && error.contains("`choices`"), "{error}");
    }
}
