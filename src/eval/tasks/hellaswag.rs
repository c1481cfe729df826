//! HellaSwag (Zellers et al. 2019, arXiv:1905.07830): which of four endings follows.
//!
//! Read: the official `hellaswag_*.jsonl`, or six lines an item (`activity: context`, the number of
//! the right ending, four endings). Prompt and preprocessing are the harness's `hellaswag` 1.0.

use serde::Deserialize;

use super::{Item, Reads, Task, json_lines};
use crate::error::{Error, Result};
use crate::text::words::capitalised;

/// See the module.
pub static HELLASWAG: Task = Task {
    name: "hellaswag",
    about: "HellaSwag's JSON lines, or six lines an item: which of four endings follows",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(read),
};

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    ind: u64,
    activity_label: String,
    ctx_a: String,
    #[serde(default)]
    ctx_b: String,
    endings: Vec<String>,
    label: Label,
    #[serde(default)]
    split_type: String,
}

/// The official files have a number, the hub's a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Number(usize),
    Text(String),
}

fn read(text: &str, _: &str) -> Result<Vec<Item>> {
    if text.trim_start().starts_with('{') {
        return json_lines::<Record>(text)?
            .into_iter()
            .map(|(line, one)| item(line, one))
            .collect();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(6).enumerate().map(|(nth, lines)| of_lines(nth, lines)).collect()
}

fn item(line: usize, record: Record) -> Result<Item> {
    let gold = match &record.label {
        Label::Number(number) => Some(*number),
        Label::Text(text) => text.trim().parse().ok(),
    };
    let gold = gold.ok_or_else(|| {
        Error::data(format!("line {line}: `label` is empty: this file has no answers"))
            .hint("the answers of the test set are not published; take the validation set")
    })?;
    // Python's `str.capitalize`.
    let context = format!("{} {}", record.ctx_a, capitalised(&record.ctx_b.to_lowercase()));
    Ok(Item {
        id: record.ind.to_string(),
        group: record.split_type,
        context: preprocess(&format!("{}: {context}", record.activity_label)),
        choices: record.endings.iter().map(|ending| preprocess(ending)).collect(),
        gold,
        ..Item::default()
    })
}

fn of_lines(nth: usize, lines: &[&str]) -> Result<Item> {
    let line = 6 * nth + 1;
    let [context, label, endings @ ..] = lines else {
        return Err(Error::data(format!("line {line}: six lines are an item, and 1 is left")));
    };
    if endings.len() != 4 {
        let n = lines.len();
        return Err(Error::data(format!("line {line}: six lines are an item, and {n} are left")));
    }
    let gold = label.trim().parse().map_err(|_| {
        Error::data(format!("line {}: `{label}` is no number of an ending", line + 1))
    })?;
    Ok(Item {
        id: nth.to_string(),
        context: preprocess(context),
        choices: endings.iter().map(|ending| preprocess(ending)).collect(),
        gold,
        ..Item::default()
    })
}

/// `lm_eval/tasks/hellaswag/utils.py`: marks of WikiHow are taken out. Two spaces become one once,
/// as there.
fn preprocess(text: &str) -> String {
    let text = text.trim().replace(" [title]", ". ");
    without_brackets(&text).replace("  ", " ")
}

/// `re.sub("\\[.*?\\]", "", text)`: no line break stands between the brackets.
fn without_brackets(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        kept.push_str(before);
        match from.find(']').filter(|close| !from[..*close].contains('\n')) {
            Some(close) => rest = &from[close + 1..],
            None => {
                kept.push('[');
                rest = &from[1..];
            }
        }
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python with the harness's `preprocess`.
    #[test]
    fn marks_are_taken_out_as_the_harness_does() {
        for (text, expected) in [
            (" a b ", "a b"),
            (
                "How to: [header] Cut [title] Take a knife. [step] Cut.",
                "How to: Cut. Take a knife. Cut.",
            ),
            ("a   b", "a  b"),
            ("a [b c", "a [b c"),
            ("[x] a [y", " a [y"),
            ("a [[b] c] d", "a c] d"),
        ] {
            assert_eq!(preprocess(text), expected, "{text}");
        }
    }

    #[test]
    fn both_files_give_the_same_item() {
        let record = r#"{"ind": 24, "activity_label": "Mowing", "ctx_a": "A man mows.",
            "ctx_b": "he", "endings": ["a [x] b", "c", "d", "e"], "label": 3,
            "split_type": "indomain"}"#
            .replace('\n', " ");
        let found = read(&record, "").unwrap();
        assert_eq!(found[0].context, "Mowing: A man mows. He");
        assert_eq!(found[0].choices, ["a b", "c", "d", "e"]);
        assert_eq!((found[0].gold, found[0].group.as_str()), (3, "indomain"));
        let lines = read("Mowing: A man mows. He\n3\na [x] b\nc\nd\ne\n", "").unwrap();
        assert_eq!(lines[0].choices, found[0].choices);
        assert_eq!((&lines[0].context, lines[0].gold), (&found[0].context, 3));

        let text = record.replace("\"label\": 3", "\"label\": \"2\"");
        assert_eq!(read(&text, "").unwrap()[0].gold, 2);
        let unlabelled = record.replace("\"label\": 3", "\"label\": \"\"");
        assert!(read(&unlabelled, "").unwrap_err().to_string().contains("no answers"));
        assert!(read("a\n1\nb\n", "").unwrap_err().to_string().contains("3 are left"));
    }
}
