//! Tasks that a text's own words give away: connectives, definitions.
//!
//! The English patterns are those of AdaptLLM (`adaptllm/utils/read.py`, MIT): a sentence of 50
//! characters or more, a connective, another such sentence. The Chinese ones are ours.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use super::Task;
use crate::text::sentences::sentences;

/// A pattern whose first group is what is asked about, whose second is the connective, and whose
/// third the answer.
struct Pattern {
    kind: &'static str,
    class: &'static str,
    language: &'static str,
    pattern: String,
}

fn patterns() -> Vec<Pattern> {
    // Without commas, semicolons or either, as the connectives want it.
    let long = |without: &str| format!(r"[^.!?{without}\n]{{50,}}[.!?]+");
    let joined = |first: &str, words: &str, second: &str| {
        format!(r"[.!?]+\s+({first})\s+({words})\s*,\s+({second})\s+")
    };
    let (plain, free) = (long(","), long(""));
    let zh = |words: &str| {
        format!(r"([^。！？\n]{{12,}}[。！？])\s*({words})[，,]([^。！？\n]{{8,}}[。！？])")
    };
    let all = [
        ("nli", "entail", "en",
            joined(&plain, "Yes|Therefore|Thus|Accordingly|Hence|For this reason", &plain)),
        ("nli", "contradict", "en",
            joined(&plain, "No|However|But|On the contrary|In contrast|Whereas", &plain)),
        ("nli", "neutral", "en", joined(&plain,
            "Maybe|Also|Furthermore|Secondly|Additionally|Moreover|In addition", &plain)),
        ("cause_effect", "cause_effect", "en",
            joined(&plain, "Thus|Therefore|Accordingly|Hence|For this reason", &plain)),
        ("cause_effect", "effect_cause", "en", {
            let bare = long(";,");
            format!(r"[.!?]+\s+({bare})\s+(due to|on account of|owing to)\s+({bare})\s+")
        }),
        ("paraphrase", "similar", "en", joined(&free,
            "In other words|In other word|Namely|That is to say|i.e.|Scilicet|Similarly|Equally",
            &free)),
        ("paraphrase", "different", "en",
            joined(&free, "No|However|But|On the contrary|In contrast|Whereas", &free)),
        ("definition", "definition", "en",
            r#"\s+([^.!?,;\s"]{10,})\s+(is defined as|'s definition is)\s+([^.!?\n]{20,}[.!?]+)\s+"#
                .to_string()),
        ("topic", "topic", "en",
            r"[.!?]+\s+([^.!?,;\n]{20,})\s+(was about|talks about|is about|'s topic is)\s+([^.!?\n]{20,}[.!?]+)\s+"
                .to_string()),
        ("nli", "entail", "zh", zh("因此|所以|因而|由此可见|可见|故")),
        ("nli", "contradict", "zh", zh("然而|但是|相反|不过")),
        ("nli", "neutral", "zh", zh("此外|而且|另外|并且")),
        ("cause_effect", "cause_effect", "zh", zh("因此|因而|故")),
        ("cause_effect", "effect_cause", "zh",
            r"([^。！？，；\n]{6,})，?(是由于|是因为)([^。！？\n]{6,}[。！？])".to_string()),
        ("paraphrase", "similar", "zh", zh("换言之|换句话说|也就是说|即是说")),
        ("definition", "definition", "zh",
            r"(?:^|[。！？，；：\n])([^。！？，；：、\s《》“”]{2,16})，?(是指|定义为|指的是)([^。！？\n]{8,}[。！？])".to_string()),
    ];
    all.into_iter()
        .map(|(kind, class, language, pattern)| Pattern { kind, class, language, pattern })
        .collect()
}

/// The patterns with what finds them. They are constants: a test builds them all.
static ALL: LazyLock<Vec<(Pattern, Option<Regex>)>> = LazyLock::new(|| {
    let built = |one: Pattern| {
        let regex =
            RegexBuilder::new(&one.pattern).case_insensitive(true).size_limit(1 << 26).build();
        (one, regex.ok())
    };
    patterns().into_iter().map(built).collect()
});

/// What stands before the patterns' first sentence: a text may begin with it.
const BEFORE: &str = ". ";

/// The tasks of a text in a language (`en` or `zh`), by pattern and in order: `first` and `second`
/// are the groups as they stand there.
pub fn mined(text: &str, language: &str) -> Vec<Task> {
    let mut found = Vec::new();
    for (pattern, regex) in ALL.iter().filter(|(pattern, _)| pattern.language == language) {
        for groups in regex.iter().flat_map(|regex| regex.captures_iter(text)) {
            found.push(Task {
                kind: pattern.kind,
                class: pattern.class,
                first: groups[1].to_string(),
                second: groups[3].to_string(),
                word: groups[2].to_string(),
                choices: Vec::new(),
            });
        }
    }
    found
}

/// The same, also where the first sentence of a text or its last has a part in one; without those
/// that most often are none.
pub(super) fn usable(text: &str, language: &str) -> Vec<Task> {
    // A line is a paragraph, which ends as a text does.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let of_line = |line: &str| -> Vec<Task> {
        let found = match language {
            "en" => mined(&format!("{BEFORE}{line} "), "en"),
            _ => mined(line, language),
        };
        found.into_iter().filter_map(|task| sound(task, line)).collect()
    };
    lines.flat_map(of_line).collect()
}

/// What Chinese terms begin with that are none of theirs, and what ends a clause that is no cause.
static OPENS: &[&str] =
    &["本法所称的", "本法所称", "本条例所称", "前款所称", "所称", "所谓", "而", "其中"];
static ENDS: &[&str] =
    &["不", "非", "可能", "主要", "一般", "大多", "多", "都", "也", "并", "就", "常", "应", "往往"];

/// A task that asks what it seems to ask.
fn sound(task: Task, line: &str) -> Option<Task> {
    let (mut first, second) = (task.first.trim().to_string(), task.second.trim());
    match (task.class, task.word.to_lowercase().as_str()) {
        // What follows on "No," is seldom a contradiction, and what "Similarly," tells is no
        // paraphrase; "Due to" begins a sentence of its own.
        (
            _,
            "no" | "similarly" | "equally" | "yes" | "maybe" | "secondly" | "due to"
            | "on account of" | "owing to",
        ) => return None,
        ("topic", _) if !second.starts_with(char::is_alphabetic) => return None,
        // The reference takes the last word of a term alone.
        ("definition", word) if word.is_ascii() => first = term(line, &first, &task.word)?,
        _ => {}
    }
    if task.class == "definition" || task.class == "effect_cause" {
        let bare = OPENS.iter().find_map(|word| first.strip_prefix(word));
        first = bare.unwrap_or(&first).to_string();
        if first.chars().count() < 2 || ENDS.iter().any(|word| first.ends_with(word)) {
            return None;
        }
    }
    let is_short = |text: &str| text.chars().count() <= 600;
    let second = crate::text::words::capitalised(second);
    (is_short(&first) && is_short(&second)).then_some(Task { first, second, ..task })
}

/// The whole term that ends in a word which is defined: from the beginning of its sentence, without
/// an article.
fn term(line: &str, word: &str, verb: &str) -> Option<String> {
    let at = line.find(&format!("{word} {verb}"))?;
    let sentence = sentences(line).into_iter().find(|range| range.contains(&at))?;
    let term = line[sentence.start..at + word.len()].trim();
    let article = ["A ", "An ", "The "].iter().find_map(|article| term.strip_prefix(article));
    let term = article.unwrap_or(term);
    let is_term = term.split(' ').count() <= 6 && !term.contains([',', ':', ';', '(']);
    is_term.then(|| term.to_string())
}

/// Kinds and classes that are mined in a language.
#[cfg(test)]
pub(super) fn classes(language: &str) -> Vec<(&'static str, &'static str)> {
    let own = ALL.iter().map(|(pattern, _)| pattern).filter(|one| one.language == language);
    own.map(|pattern| (pattern.kind, pattern.class)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_can_be_built() {
        for (pattern, regex) in ALL.iter() {
            assert!(regex.is_some(), "{}", pattern.pattern);
        }
    }

    /// Expected: Python's `re.findall` with the patterns of the reference on this text
    /// (`fixtures/parity/tasks.py`).
    #[test]
    fn mined_tasks_are_those_of_the_reference() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity");
        let text = std::fs::read_to_string(folder.join("tasks.txt")).unwrap();
        let expected = std::fs::read_to_string(folder.join("tasks.json")).unwrap();
        let expected: Vec<[String; 4]> = serde_json::from_str(&expected).unwrap();
        let found: Vec<[String; 4]> = mined(&text, "en")
            .into_iter()
            .map(|task| [task.kind.into(), task.class.into(), task.first, task.second])
            .collect();
        assert!(expected.len() > 10);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_seems_to_ask_is_left_out() {
        let text = "Orthostatic hypotension is defined as a fall in pressure on standing up. The \
                    first drug lowers the pressure of the blood in most people. Similarly, the second \
                    drug raised the rate of the heart in most of them.";
        let found: Vec<(&str, String)> =
            usable(text, "en").into_iter().map(|task| (task.class, task.first)).collect();
        assert_eq!(found, [("definition", "Orthostatic hypotension".to_string())]);
    }

    #[test]
    fn chinese_connectives_are_known() {
        let text = "长期吸烟会损伤气道的上皮细胞。因此，患者应当尽早戒烟并定期复查。\
                    哮喘是指由多种细胞参与的慢性气道炎症性疾病。多数儿童在青春期以后症状会自行缓解。\
                    然而，部分患者的病情会持续到成年以后。";
        let torn = "故意杀人的，处死刑。另外的话一定要去医院检查。慢性病不是指普通感冒之类的疾病。";
        assert!(usable(torn, "zh").is_empty(), "{:?}", usable(torn, "zh"));
        let found: Vec<(&str, String)> =
            usable(text, "zh").into_iter().map(|task| (task.class, task.second)).collect();
        assert!(
            found.contains(&("entail", "患者应当尽早戒烟并定期复查。".to_string())),
            "{found:?}"
        );
        assert!(found.contains(&("contradict", "部分患者的病情会持续到成年以后。".to_string())));
        assert!(
            found.contains(&("definition", "由多种细胞参与的慢性气道炎症性疾病。".to_string()))
        );
    }
}
