//! What stands in every text of a kind and says nothing: greetings and thanks of dialogues with
//! doctors, heads and signatures of judgments.

use std::borrow::Cow;

use crate::error::Result;
use crate::flow::registry;
use crate::ingest::clean::clean;

/// A kind of texts with templates.
pub struct Template {
    /// Its name in `source.<name>.templates`.
    pub name: &'static str,
    /// What goes, in one line.
    pub about: &'static str,
    clean: fn(&str) -> String,
}

/// Every kind.
pub static TEMPLATES: &[Template] = &[
    Template {
        name: "dialogue",
        about: "Chinese questions to doctors and lawyers: greetings, labels, thanks and wishes go",
        clean: dialogue,
    },
    Template {
        name: "judgment",
        about: "Chinese judgments: name of the court, number, notice of appeal and signatures go",
        clean: judgment,
    },
];

/// Checks names of kinds.
///
/// # Errors
/// If there is none of a name.
pub fn check(names: &[String]) -> Result<()> {
    let all: Vec<&Template> = TEMPLATES.iter().collect();
    names.iter().try_for_each(|name| {
        registry::find("kind of templates", &all, name, |one| one.name).map(|_| ())
    })
}

/// A text in clean layout without the templates of some kinds; `None` where it has none.
pub(super) fn cleaned(text: &str, names: &[String]) -> Option<String> {
    let wanted = TEMPLATES.iter().filter(|one| names.iter().any(|name| name == one.name));
    let mut cleaned = text.to_string();
    wanted.for_each(|one| cleaned = (one.clean)(&cleaned));
    (cleaned != text).then_some(cleaned)
}

/// Longest sentence that may be a template, in characters: longer ones say something beside it.
const SENTENCE: usize = 45;

/// How a question or an answer begins.
#[rustfmt::skip]
const GREETINGS: &[&str] = &[
    "医生你好", "医生您好", "医生，你好", "医生，您好", "大夫你好", "大夫您好", "大夫，你好", "大夫，您好",
    "律师你好", "律师您好", "律师，你好", "律师，您好", "专家您好", "专家你好", "您好", "你好", "亲，", "哈喽",
    "感谢您的提问", "感谢你的提问",
];

/// Labels of the forms that questions and answers are typed into.
#[rustfmt::skip]
const LABELS: &[&str] = &[
    "医生询问", "医生寻问", "病情分析", "指导意见", "指导建议", "意见建议", "专家意见", "问题分析", "健康咨询描述",
    "咨询描述", "曾经的治疗情况和效果", "想得到怎样的帮助", "在乎怎样的帮助", "需要得到的帮助", "补充问题", "律师解答",
];

fn dialogue(text: &str) -> String {
    // A line that was a template goes whole, an empty one stays.
    let kept = text.lines().filter_map(|line| {
        let cleaned = dialogue_line(line);
        (!cleaned.is_empty() || line.trim().is_empty()).then_some(cleaned)
    });
    // What went leaves empty lines behind.
    clean(&kept.collect::<Vec<String>>().join("\n"))
}

/// A line without what says nothing; one that has none of it is left as it is.
fn dialogue_line(line: &str) -> String {
    let mut said = String::new();
    // Whether the sentence before it stays, and with it the quotation mark behind it.
    let mut is_behind = false;
    for sentence in sentences(line) {
        let bare = without_labels(sentence, said.is_empty());
        let bare = without_thanks(bare);
        let says = bare.chars().any(says);
        if !says && !bare.contains(|c| closes(c) || c == '"') {
            continue;
        }
        is_behind = !is_closing(&bare) && (is_behind || says);
        if is_behind {
            said.push_str(&bare);
        }
    }
    if said == line { said } else { said.trim().to_string() }
}

/// The sentences of a line, each with the closing brackets and quotes behind its stop.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let stop = rest.find(STOPS).unwrap_or(rest.len());
        let behind = rest[stop..].strip_prefix(STOPS).unwrap_or_default();
        let behind = behind.trim_start_matches(closes);
        let (sentence, behind) = rest.split_at(rest.len() - behind.len());
        rest = behind;
        (!sentence.is_empty()).then_some(sentence)
    })
}

/// What ends a sentence.
const STOPS: [char; 5] = ['。', '！', '？', '!', '?'];

/// Whether a character says something: letters and digits, and the signs that findings are told by.
fn says(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '+' | '＋' | '±' | '↑' | '↓' | '√' | '×')
}

/// A sentence without the greeting and the labels that it begins with.
fn without_labels(sentence: &str, is_first: bool) -> &str {
    let trimmed = sentence.trim_start();
    let mut rest = trimmed;
    loop {
        let label = LABELS.iter().find_map(|label| {
            let behind = rest.strip_prefix(label)?;
            behind.strip_prefix(['：', ':'])
        });
        let greeting = || {
            let found = GREETINGS.iter().find_map(|greeting| rest.strip_prefix(greeting))?;
            let is_word = NO_GREETINGS.iter().any(|word| found.starts_with(word));
            (!is_word)
                .then(|| found.trim_start_matches(|c: char| !c.is_alphanumeric() && !opens(c)))
        };
        match label.or_else(|| if is_first { greeting() } else { None }) {
            Some(behind) => rest = behind.trim_start(),
            // The space before a sentence stays.
            None if rest.len() == trimmed.len() => return sentence,
            None => return rest,
        }
    }
}

/// What makes another word of `你好`: "you seem", "you much", "you with difficulty".
const NO_GREETINGS: [&str; 14] =
    ["像", "象", "多", "久", "些", "转", "点", "几", "不", "容", "了", "在", "吗", "好"];

fn opens(c: char) -> bool {
    matches!(c, '“' | '《' | '（' | '(' | '"' | '‘' | '【')
}

fn closes(c: char) -> bool {
    matches!(c, '”' | '》' | '）' | ')' | '’' | '】' | '」' | '』')
}

/// Whether a part of a sentence begins or ends a quotation: somebody else says what is said there.
fn is_quoted(part: &str) -> bool {
    part.contains(['“', '”', '「', '」', '『', '』'])
}

/// A sentence without the thanks and wishes that it ends with. Clause by clause: there may be any
/// number of them.
fn without_thanks(sentence: &str) -> Cow<'_, str> {
    let said = sentence.trim_end_matches(|c| !says(c));
    let behind = &sentence[said.len()..];
    let mut rest = said;
    while let Some((before, last)) = rest.rsplit_once(['，', ','])
        && is_closing(last)
        && !is_quoted(last)
        && before.chars().nth(1).is_some()
    {
        rest = before;
    }
    for thanks in ["谢谢医生", "谢谢大夫", "谢谢律师", "谢谢您", "谢谢了", "谢谢", "多谢"]
    {
        if let Some(before) = rest.strip_suffix(thanks)
            && before.ends_with(['，', ',', '、', ' '])
        {
            rest = before.trim_end_matches(['，', ',', '、', ' ']);
            break;
        }
    }
    if rest == said {
        return Cow::Borrowed(sentence);
    }
    if rest.is_empty() {
        return Cow::Borrowed("");
    }
    // A bracket that opened before the thanks closes behind them.
    let mut cleaned = rest.to_string();
    cleaned.extend(behind.chars().filter(|c| STOPS.contains(c) || closes(*c)));
    if !behind.contains(STOPS) {
        cleaned.push('。');
    }
    Cow::Owned(cleaned)
}

/// Whether a sentence says thanks, wishes well or hopes to have helped, and nothing else.
fn is_closing(sentence: &str) -> bool {
    let said = sentence.trim_matches(|c: char| !c.is_alphanumeric());
    // A finding may be nothing but signs, `尿蛋白，+++`, and the end of a quotation is part of it.
    let ends_quotation = sentence.ends_with(['”', '」', '』']);
    if said.is_empty() || ends_quotation || said.chars().nth(SENTENCE).is_some() {
        return false;
    }
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    // `祝福语` is a word.
    let begins = |words: &[&str]| words.iter().any(|word| said.starts_with(word));
    let wishes = begins(&[
        "祝您", "祝你", "祝患", "祝大", "祝早", "祝身", "祝健", "祝愿", "祝朋", "祝全", "祝生",
        "愿您", "愿你",
    ]) && has(&["健康", "康复", "愉快", "平安", "快乐", "幸福", "顺利", "早日"]);
    let recovers = has(&["希望", "期望", "祝愿"])
        && has(&["早日", "尽快", "可以", "能获得"])
        && has(&["康复", "专业救治"])
        && said.chars().count() <= 24;
    let hopes = has(&["希望", "期望", "但愿"])
        && has(&["帮助", "帮到", "协助", "有用", "采纳"])
        && has(&["您", "你", "大家", "上述", "以上", "述的", "答案", "回答", "解答", "我的"]);
    let thanks = (begins(&["感谢", "非常感谢", "欢迎", "热烈欢迎"])
        && has(&["咨询", "提问", "信任", "支持", "关注"])
        && said.chars().count() <= 16
        && !has(&["：", "患者"]))
        || said.contains('谢')
            && said.trim_start_matches(['谢', '你', '您', '了', '大', '家', '医', '生']).is_empty();
    let refers = has(&["以上", "上述"])
        && has(&["参考", "供您", "供你", "问题的建议", "的解答", "的回答"])
        && said.chars().count() <= 24
        && !said.contains(|c: char| c.is_ascii_digit() || c == '，');
    let asks = said.starts_with(['麻', '请', '求', '望'])
        && has(&["医生", "专家", "大夫", "律师", "各位"])
        && has(&["指导", "解答", "回复", "回答", "帮忙", "帮帮"])
        && said.chars().count() <= 16;
    wishes || recovers || hopes || thanks || refers || asks
}

/// Longest notice of appeal, in characters: what is longer says something beside it.
const NOTICE: usize = 200;
/// What the lines of a judgment's head are.
const TITLES: [&str; 6] = ["判决书", "裁定书", "调解书", "决定书", "通知书", "支付令"];
/// Who signs one.
#[rustfmt::skip]
const SIGNERS: &[&str] = &[
    "审判长", "代理审判员", "助理审判员", "审判员", "人民陪审员", "陪审员", "法官助理", "书记员", "执行长", "执行员",
    "速录员",
];
/// How a date is written under one.
const DATE: &str = "年月日〇零○一二三四五六七八九十0123456789 ";

fn judgment(text: &str) -> String {
    let is_head = |line: &str| {
        let line = line.split_whitespace().collect::<String>();
        let n = line.chars().count();
        n > 0
            && n <= 30
            && (line.ends_with("人民法院")
                || TITLES.iter().any(|title| line.ends_with(title)) && !line.contains(['，', '。'])
                || line.starts_with(['（', '('])
                    && line.ends_with('号')
                    && line.contains(|c: char| c.is_ascii_digit()))
    };
    let is_foot = |line: &str| {
        let line = line.split_whitespace().collect::<String>();
        let is_date = line.ends_with('日') && line.chars().all(|c| DATE.contains(c));
        let is_signed = line.chars().count() <= 20
            && SIGNERS.iter().any(|signer| line.starts_with(signer))
            && !line.contains(['，', '。']);
        line.is_empty() || is_date || is_signed || line.starts_with("本件与原本核对")
    };

    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| !line.trim().is_empty() && !is_head(line));
    let first = first.unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !is_foot(line)).map_or(first, |last| last + 1);
    let kept = lines.get(first..last.max(first)).unwrap_or(&[]);
    clean(&kept.iter().map(|line| without_notice(line)).collect::<Vec<String>>().join("\n"))
}

/// A line without the notice of appeal, from the clause that says who may appeal to the next stop;
/// what a sentence says before it stays.
fn without_notice(line: &str) -> String {
    let mut kept = String::new();
    for sentence in line.split_inclusive(['。', '；', ';']) {
        let at = sentence.find("如不服本").filter(|at| sentence[*at..].contains("上诉"));
        let Some(at) = at else {
            kept.push_str(sentence);
            continue;
        };
        let clause = sentence[..at].rfind(['，', ',']).unwrap_or(0);
        let (before, notice) = sentence.split_at(clause);
        if notice.chars().nth(NOTICE).is_some() {
            kept.push_str(sentence);
        } else if !before.trim().is_empty() {
            kept.push_str(before);
            kept.push('。');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogues_lose_what_everyone_says() {
        for (text, expected) in [
            (
                "医生，您好！我血压高，能吃人参吗？谢谢医生。\n病情分析：您好，人参性温。高血压患者慎用。祝您早日康复！",
                "我血压高，能吃人参吗？\n人参性温。高血压患者慎用。",
            ),
            ("以上是对这个问题的建议，希望对您有帮助，祝您健康！", ""),
            ("期望上述的答案可以协助到您，谢谢。", ""),
            ("你好像发烧了。希望尽早去医院检查，你的帮助很大。", "你好像发烧了。"),
            ("怎么治疗，谢谢！", "怎么治疗！"),
            ("您好您好我有乙肝，能吃吗", "我有乙肝，能吃吗"),
            ("你好吗？祝福语使健康人群快乐。", "你好吗？祝福语使健康人群快乐。"),
            ("以上药物仅供参考，剂量每日3次。", "以上药物仅供参考，剂量每日3次。"),
            ("感谢信任：患者家属送来锦旗。", "感谢信任：患者家属送来锦旗。"),
            ("清淡饮食，以免伤害，期望上述的答案可以协助到你。", "清淡饮食，以免伤害。"),
            ("热烈欢迎进行咨询。房颤是心律失常，期望患者可以尽快康复！", "房颤是心律失常！"),
            ("吃药后好转。\n\n麻烦医生解答一下。", "吃药后好转。"),
            ("感谢您的咨询。。", ""),
            ("尿蛋白，+++。", "尿蛋白，+++。"),
            ("血管瘤，大了。是囊肿吗？大了。", "血管瘤，大了。是囊肿吗？大了。"),
            ("你好好休息。", "你好好休息。"),
            ("他问：“吃什么药好？”谢谢！", "他问：“吃什么药好？”"),
            ("What is MRI? An imaging method.", "What is MRI? An imaging method."),
            ("头疼\n\n谢谢\n\n两天了", "头疼\n\n两天了"),
            (
                "患者感谢医生治好了病，因此愿意继续治疗。",
                "患者感谢医生治好了病，因此愿意继续治疗。",
            ),
        ] {
            assert_eq!(dialogue(text), expected, "{text}");
        }
    }

    /// Ten thousand commas were as many calls within one another.
    #[test]
    fn what_repeats_without_end_is_read() {
        let odd = format!("头疼{}", ",".repeat(10_000));
        assert_eq!(dialogue(&odd), odd);
        assert_eq!(dialogue(&format!("头疼{}", "，谢谢".repeat(10_000))), "头疼。");
    }

    #[test]
    fn a_notice_of_appeal_takes_nothing_else_along() {
        let text = "原告诉称还款；本院判决还款；如不服本判决，可在十五日内上诉于某中院";
        assert_eq!(judgment(text), "原告诉称还款；本院判决还款；");
        let notice = "如不服本判决，可在十五日内上诉于某市中级人民法院";
        for (text, expected) in [
            (format!("甲应还款；{notice}；乙应交货"), "甲应还款；乙应交货"),
            (format!("甲应还款，由乙负担，双方{notice}"), "甲应还款，由乙负担。"),
            (format!("甲应还款\n{notice}\n乙应交货"), "甲应还款\n\n乙应交货"),
            ("甲如不服本院的判断，可以说明。".to_string(), "甲如不服本院的判断，可以说明。"),
        ] {
            assert_eq!(judgment(&text), expected);
        }
        let long = format!("{notice}，{}", "甲应还款，".repeat(NOTICE / 4));
        assert_eq!(judgment(&long), long);
    }

    #[test]
    fn dialogues_keep_what_is_said() {
        for text in [
            "尿蛋白，+++。",
            "尿蛋白？+++。",
            "血管瘤，大了。",
            "孩子，生了。",
            "你好好休息。",
            "他问：“吃什么药好？”",
            "他说：“吃了药。谢谢！”",
            "我问，“谢谢。”",
            "他说\"好吗？\"然后走了。",
            "What is MRI? An imaging method.",
            "  缩进。 又一句！",
            "甲\n\n乙",
        ] {
            assert_eq!(dialogue(text), text);
            assert_eq!(cleaned(text, &["dialogue".to_string()]), None);
        }
        for (text, expected) in [
            ("尿蛋白，+++，谢谢！", "尿蛋白，+++！"),
            ("能吃吗（饭后，谢谢）。", "能吃吗（饭后）。"),
            ("他问：“怎么治，谢谢！”", "他问：“怎么治！”"),
            ("谢谢！ 我血压高。", "我血压高。"),
            ("您好！！ 血压高，谢谢您，祝您健康", "血压高。"),
        ] {
            assert_eq!(dialogue(text), expected, "{text}");
        }
    }

    #[test]
    fn what_goes_leaves_one_empty_line() {
        let text = "第一段。\n\n谢谢！\n\n麻烦医生解答一下。\n\n第二段。";
        let found = cleaned(text, &["dialogue".to_string()]);
        assert_eq!(found.as_deref(), Some("第一段。\n\n第二段。"));
        let text = "甲。\n\n如不服本判决，可以上诉。\n\n乙。\n\n书记员　丙";
        let found = cleaned(text, &["judgment".to_string()]);
        assert_eq!(found.as_deref(), Some("甲。\n\n乙。"));
    }

    #[test]
    fn judgments_lose_head_and_signatures() {
        let text = "某县人民法院\n民 事 判 决 书\n（2015）某民初字第12号\n\n原告甲，男。\n\n本院认为，乙应还款。如不服\
                    本判决，可在判决书送达之日起十五日内上诉于某市中级人民法院。\n\n审 判 长　丙\n人民陪审员 丁\n\n\
                    二〇一五年三月二日\n本件与原本核对无异\n书记员　戊";
        assert_eq!(judgment(text), "原告甲，男。\n\n本院认为，乙应还款。");
        let other = "审判员应当回避。\n二〇一五年三月二日，甲到庭。";
        assert_eq!(judgment(other), other);
        assert_eq!(cleaned(other, &["judgment".to_string()]), None);
        assert!(check(&["judgement".to_string()]).unwrap_err().to_string().contains("`judgment`"));
    }
}
