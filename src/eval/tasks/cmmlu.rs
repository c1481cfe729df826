//! CMMLU (Li et al. 2023, arXiv:2306.09212): Chinese exam questions by subject.
//!
//! Read: the official CSV files with a header (`,Question,A,B,C,D,Answer`), a subject each
//! (`anatomy.csv`). The lettered prompt is the harness's `cmmlu` 1.0.

use serde::Deserialize;

use super::exam::{Prompt, Question, number_of};
use super::{Item, Reads, Task};
use crate::error::{Error, Result};

/// See the module.
pub static CMMLU: Task = Task {
    name: "cmmlu",
    about: "CMMLU's CSV files, a subject each: the letter of the answer, in Chinese",
    version: 1,
    has_subjects: true,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.lettered(&PROMPT))),
};

/// See the module.
pub static CMMLU_CLOZE: Task = Task {
    name: "cmmlu_cloze",
    about: "the same files: the answer itself behind the question",
    version: 1,
    has_subjects: true,
    reads: Reads::Questions(|text, stem| read(text, stem, |question| question.cloze(&PROMPT))),
};

const PROMPT: Prompt = Prompt { question: "", options: "", answer: "答案：" };

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    question: String,
    a: String,
    b: String,
    c: String,
    d: String,
    answer: String,
}

fn read(text: &str, subject: &str, form: impl Fn(Question) -> Item) -> Result<Vec<Item>> {
    let name =
        SUBJECTS.iter().find(|(known, _)| *known == subject).map_or(subject, |(_, name)| name);
    let description = format!("以下是关于{name}的单项选择题，请直接给出正确答案的选项。\n\n");
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let item = |(nth, record): (usize, csv::Result<Record>)| {
        let record = record.map_err(|cause| Error::data(cause.to_string()))?;
        let gold = number_of(&record.answer).ok_or_else(|| {
            let answer = &record.answer;
            Error::data(format!("record {}: `Answer` is `{answer}`, no letter", nth + 1))
        })?;
        Ok(form(Question {
            id: format!("{subject}-{nth}"),
            group: subject.to_string(),
            description: description.clone(),
            text: record.question.trim().to_string(),
            options: vec![record.a, record.b, record.c, record.d],
            gold,
        }))
    };
    rows.deserialize().enumerate().map(item).collect()
}

/// The names of the subjects, as the harness has them.
const SUBJECTS: [(&str, &str); 67] = [
    ("agronomy", "农学"),
    ("anatomy", "解剖学"),
    ("ancient_chinese", "古汉语"),
    ("arts", "艺术学"),
    ("astronomy", "天文学"),
    ("business_ethics", "商业伦理"),
    ("chinese_civil_service_exam", "中国公务员考试"),
    ("chinese_driving_rule", "中国驾驶规则"),
    ("chinese_food_culture", "中国饮食文化"),
    ("chinese_foreign_policy", "中国外交政策"),
    ("chinese_history", "中国历史"),
    ("chinese_literature", "中国文学"),
    ("chinese_teacher_qualification", "中国教师资格"),
    ("clinical_knowledge", "临床知识"),
    ("college_actuarial_science", "大学精算学"),
    ("college_education", "大学教育学"),
    ("college_engineering_hydrology", "大学工程水文学"),
    ("college_law", "大学法律"),
    ("college_mathematics", "大学数学"),
    ("college_medical_statistics", "大学医学统计"),
    ("college_medicine", "大学医学"),
    ("computer_science", "计算机科学"),
    ("computer_security", "计算机安全"),
    ("conceptual_physics", "概念物理学"),
    ("construction_project_management", "建设工程管理"),
    ("economics", "经济学"),
    ("education", "教育学"),
    ("electrical_engineering", "电气工程"),
    ("elementary_chinese", "小学语文"),
    ("elementary_commonsense", "小学常识"),
    ("elementary_information_and_technology", "小学信息技术"),
    ("elementary_mathematics", "初等数学"),
    ("ethnology", "民族学"),
    ("food_science", "食品科学"),
    ("genetics", "遗传学"),
    ("global_facts", "全球事实"),
    ("high_school_biology", "高中生物"),
    ("high_school_chemistry", "高中化学"),
    ("high_school_geography", "高中地理"),
    ("high_school_mathematics", "高中数学"),
    ("high_school_physics", "高中物理学"),
    ("high_school_politics", "高中政治"),
    ("human_sexuality", "人类性行为"),
    ("international_law", "国际法学"),
    ("journalism", "新闻学"),
    ("jurisprudence", "法理学"),
    ("legal_and_moral_basis", "法律与道德基础"),
    ("logical", "逻辑学"),
    ("machine_learning", "机器学习"),
    ("management", "管理学"),
    ("marketing", "市场营销"),
    ("marxist_theory", "马克思主义理论"),
    ("modern_chinese", "现代汉语"),
    ("nutrition", "营养学"),
    ("philosophy", "哲学"),
    ("professional_accounting", "专业会计"),
    ("professional_law", "专业法学"),
    ("professional_medicine", "专业医学"),
    ("professional_psychology", "专业心理学"),
    ("public_relations", "公共关系"),
    ("security_study", "安全研究"),
    ("sociology", "社会学"),
    ("sports_science", "体育学"),
    ("traditional_chinese_medicine", "中医中药"),
    ("virology", "病毒学"),
    ("world_history", "世界历史"),
    ("world_religions", "世界宗教"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_names_the_subject_in_chinese() {
        let text = ",Question,A,B,C,D,Answer\n0,哪一个？,甲,乙,丙,丁,C\n";
        let found = &CMMLU.parse(text, "anatomy").unwrap()[0];
        assert_eq!(found.context, "哪一个？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案：");
        assert!(found.description.contains("关于解剖学的"));
        assert_eq!(found.gold, 2);
        let cloze = &CMMLU_CLOZE.parse(text, "mine").unwrap()[0];
        assert_eq!((cloze.context.as_str(), cloze.choices[2].as_str()), ("哪一个？\n答案：", "丙"));
        let wrong = CMMLU.parse(&text.replace(",C\n", ",Z\n"), "x").unwrap_err().to_string();
        assert!(wrong.contains("record 1"), "{wrong}");
    }
}
