//! Statutes article by article: each `第…条` a document of its own, with the name of the law and the
//! chapters that it stands under.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ingest::Document;
use crate::text::numbers::of_numerals;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// One document.
    #[default]
    Whole,
    /// One for each article of a statute; what is none stays whole.
    Articles,
}

/// Least articles of a statute.
const ARTICLES: usize = 2;
/// Longest heading, in characters; longer ones are sentences.
const HEADING: usize = 40;
/// Articles that one may skip: what was repealed is sometimes left out.
const SKIPPED: u64 = 50;
/// Parts of a statute, the widest first.
const LEVELS: [&[&str]; 5] =
    [&["编", "編", "篇"], &["分编", "分編"], &["章"], &["节", "節"], &["目"]];
/// What begins what stands behind the articles.
const ANNEXES: [&str; 6] = ["附件", "附录", "附錄", "附表", "附：", "附1"];

/// What a line of a statute is.
enum Line<'a> {
    /// The heading of a part, of a level of [`LEVELS`].
    Part(usize),
    /// The first line of an article: its number as written, and as a number with what stands behind
    /// `之`.
    Article { mark: &'a str, number: (u64, u64) },
    /// An annex.
    Annex,
    /// Anything else.
    Text,
}

/// A document as its articles, where it is a statute.
pub(super) fn split(document: Document) -> Vec<Document> {
    let law = law(&document);
    let mut parts: Vec<Part> = Vec::new();
    let mut head: Vec<&str> = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut last = (0, 0);
    let (mut is_annexed, mut is_headed) = (false, false);

    for line in document.text.lines() {
        match read(line) {
            _ if is_annexed => push(&mut parts, line),
            Line::Part(level) => {
                path.retain(|(other, _)| *other < level);
                path.push((level, line));
                is_headed = true;
            }
            Line::Article { mark, number }
                if number > last
                    && number.0 <= last.0 + SKIPPED
                    && (last.0 > 0 || number.0 == 1) =>
            {
                last = number;
                is_headed = false;
                let path = path.iter().map(|(_, heading)| spaced(heading)).collect();
                parts.push(Part { mark: mark.to_string(), path, lines: vec![line] });
            }
            Line::Annex if !parts.is_empty() => {
                is_annexed = true;
                let mark = line.chars().take(HEADING).collect();
                parts.push(Part { mark, path: Vec::new(), lines: vec![line] });
            }
            _ if parts.is_empty() => head.push(line),
            // Below a heading of its own it is of no article before it.
            _ if is_headed && !line.trim().is_empty() => {
                is_headed = false;
                let path: Vec<String> = path.iter().map(|(_, heading)| spaced(heading)).collect();
                let mark = path.last().cloned().unwrap_or_default();
                parts.push(Part { mark, path, lines: vec![line] });
            }
            _ => push(&mut parts, line),
        }
    }
    let Some(law) = law.filter(|_| parts.len() >= ARTICLES && last.0 > 0) else {
        return vec![document];
    };

    let (preamble, enacted) = preamble(&head, &law);
    if !preamble.is_empty() {
        parts.insert(0, Part { mark: "序言".to_string(), path: Vec::new(), lines: preamble });
    }
    let mut documents: Vec<Document> =
        parts.iter().map(|part| part.document(&document, &law, &enacted)).collect();
    // What is counted of the record is counted once.
    if let Some(first) = documents.first_mut() {
        first.repaired = document.repaired;
        (first.counts, first.absent) = (document.counts, document.absent);
    }
    documents
}

/// A part of a statute that becomes a document.
struct Part<'a> {
    /// What it is called: `第三条`.
    mark: String,
    /// The headings that it stands under.
    path: Vec<String>,
    lines: Vec<&'a str>,
}

fn push<'a>(parts: &mut [Part<'a>], line: &'a str) {
    if let Some(part) = parts.last_mut() {
        part.lines.push(line);
    }
}

impl Part<'_> {
    fn document(&self, whole: &Document, law: &str, enacted: &[&str]) -> Document {
        let mut head = vec![law.to_string()];
        head.extend(self.path.iter().cloned());
        let text = self.lines.join("\n");
        let mut metadata: Map<String, Value> = whole
            .metadata
            .as_deref()
            .and_then(|metadata| serde_json::from_str(metadata).ok())
            .unwrap_or_default();
        metadata.insert("law".to_string(), law.into());
        metadata.insert("article".to_string(), self.mark.as_str().into());
        metadata.insert("path".to_string(), self.path.clone().into());
        if !enacted.is_empty() {
            metadata.insert("enacted".to_string(), enacted.into());
        }
        Document {
            id: whole.id.as_ref().map(|id| format!("{id}#{}", self.mark)),
            text: format!("{}\n\n{}", head.join(" "), text.trim()),
            title: Some(format!("{law} {}", self.mark)),
            metadata: Some(Value::Object(metadata).to_string()),
            counts: Vec::new(),
            absent: Vec::new(),
            repaired: 0,
            ..whole.clone()
        }
    }
}

/// The name of the law: the title, else the first line.
fn law(document: &Document) -> Option<String> {
    let first = document.text.lines().map(str::trim).find(|line| !line.is_empty());
    let title = document.title.as_deref().or(first)?.trim();
    (title.chars().count() <= 2 * HEADING).then(|| title.to_string())
}

/// What stands before the first article: sentences, and the lines that say who enacted it and when.
fn preamble<'a>(head: &[&'a str], law: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    // The table of contents is made of headings, which stand nowhere else but before articles.
    let is_said = |line: &&str| {
        let bare: String = line.split_whitespace().collect();
        !matches!(bare.as_str(), "" | "目录" | "目錄") && line.trim() != law
    };
    let lines = head.iter().copied().filter(is_said);
    lines.partition(|line| {
        let line = line.trim();
        line.ends_with(['。', '：', '；']) && !line.starts_with(|c: char| c.is_ascii_digit())
    })
}

fn read(line: &str) -> Line<'_> {
    let line = line.trim();
    if ANNEXES.iter().any(|annex| line.starts_with(annex)) && line.chars().count() <= HEADING {
        return Line::Annex;
    }
    let Some(behind) = line.strip_prefix('第') else { return Line::Text };
    let end = behind.find(|c: char| !is_numeral(c)).unwrap_or(behind.len());
    let (number, rest) = behind.split_at(end);
    let Some(kind) = rest.chars().next().filter(|_| !number.is_empty()) else { return Line::Text };
    let after = &rest[kind.len_utf8()..];

    if kind == '条' || kind == '條' {
        let sub = after.strip_prefix('之').map(|sub| {
            let end = sub.find(|c: char| !is_numeral(c)).unwrap_or(sub.len());
            (&sub[..end], &sub[end..])
        });
        let (sub, after) = sub.filter(|(sub, _)| !sub.is_empty()).unwrap_or(("", after));
        // In running text no space stands behind it: 第三条规定的。
        if !after.is_empty() && !after.starts_with([' ', '\u{3000}', '：', ':', '【', '（']) {
            return Line::Text;
        }
        let mark = &line[..line.len() - after.len()];
        let value = |run: &str| match run.parse() {
            Ok(number) => number,
            Err(_) => of_numerals(run).parse().unwrap_or(0),
        };
        return Line::Article { mark, number: (value(number), value(sub)) };
    }
    let level = LEVELS.iter().position(|marks| marks.iter().any(|mark| rest.starts_with(mark)));
    let is_heading = line.chars().count() <= HEADING && !line.contains(['。', '；', '，']);
    match level.filter(|_| is_heading) {
        Some(level) => Line::Part(level),
        None => Line::Text,
    }
}

fn is_numeral(c: char) -> bool {
    c.is_ascii_digit() || "零〇一二三四五六七八九十百千两兩".contains(c)
}

/// A heading with one space behind its number: `第一章 总 则` is `第一章 总则`.
fn spaced(heading: &str) -> String {
    let heading = heading.trim();
    let Some((number, name)) = heading.split_once([' ', '\u{3000}']) else {
        return heading.to_string();
    };
    let pieces: Vec<&str> = name.split_whitespace().collect();
    let joint = if pieces.iter().all(|piece| piece.chars().count() == 1) { "" } else { " " };
    format!("{number} {}", pieces.join(joint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(title: &str, text: &str) -> Vec<(String, String)> {
        let document = Document {
            title: Some(title.to_string()),
            text: format!("{title}\n\n{text}"),
            id: Some("a".to_string()),
            ..Document::default()
        };
        split(document)
            .into_iter()
            .map(|part| (part.title.unwrap_or_default(), part.text))
            .collect()
    }

    #[test]
    fn every_article_has_its_law_and_chapters() {
        let text = "2001年2月3日 某会议通过\n\n目录\n\n第一章 总 则\n\n第二章 分则\n\n第一章　总 则\n\n第一条 为了\
                    试验，制定本办法。\n\n第二条 依照第一条规定的，适用下列规定：\n\n（一）甲；\n\n第一条规定的除外。\n\n\
                    第二章 分则\n\n第一节 通则\n\n第三条 乙。\n\n第三条之一 丙。\n\n第五条 自公布之日起施行。\n\n附件1\n\n表";
        let found = texts("试验办法", text);
        let expected = [
            ("试验办法 第一条", "试验办法 第一章 总则\n\n第一条 为了试验，制定本办法。"),
            (
                "试验办法 第二条",
                "试验办法 第一章 总则\n\n第二条 依照第一条规定的，适用下列规定：\n\n（一）甲；\n\n第一条规定的除外。",
            ),
            ("试验办法 第三条", "试验办法 第二章 分则 第一节 通则\n\n第三条 乙。"),
            ("试验办法 第三条之一", "试验办法 第二章 分则 第一节 通则\n\n第三条之一 丙。"),
            ("试验办法 第五条", "试验办法 第二章 分则 第一节 通则\n\n第五条 自公布之日起施行。"),
            ("试验办法 附件1", "试验办法\n\n附件1\n\n表"),
        ];
        let found: Vec<(&str, &str)> =
            found.iter().map(|(title, text)| (title.as_str(), text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_said_before_the_articles_is_kept() {
        let text =
            "2020年1月2日 某法院通过\n\n为正确审理案件，制定本规定。\n\n第1条：甲。\n\n第2条：乙。";
        let document = Document {
            text: format!("某规定\n{text}"),
            metadata: Some("{\"a\":1}".to_string()),
            ..Document::default()
        };
        let parts = split(document);
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0].text, "某规定\n\n为正确审理案件，制定本规定。");
        assert_eq!(
            parts[1].metadata.as_deref().unwrap(),
            r#"{"a":1,"law":"某规定","article":"第1条","path":[],"enacted":["2020年1月2日 某法院通过"]}"#
        );
        assert_eq!(parts[1].title.as_deref(), Some("某规定 第1条"));
    }

    #[test]
    fn what_stands_under_a_heading_without_an_article_is_a_part_of_its_own() {
        let text = "第一条 甲。\n\n第二条 乙。\n\n第三章 附则\n\n本办法自公布之日起施行。\n\n解释权归某局。";
        let found = texts("某办法", text);
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].1, "某办法\n\n第二条 乙。");
        assert_eq!(found[2].0, "某办法 第三章 附则");
        assert_eq!(found[2].1, "某办法 第三章 附则\n\n本办法自公布之日起施行。\n\n解释权归某局。");
    }

    #[test]
    fn what_is_no_statute_stays_whole() {
        for text in [
            "一、将第三条修改为：\n\n“第三条 甲。”\n\n二、乙",
            "第三条 甲。\n\n第四条 乙。",
            "依照\n第一条规定的\n第二条规定的",
            "",
        ] {
            assert_eq!(texts("决定", text).len(), 1, "{text}");
        }
    }
}
