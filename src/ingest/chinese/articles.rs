//! Statutes article by article: each `第…条` a document of its own, with the name of the law and the
//! chapters that it stands under.

use std::collections::{HashMap, HashSet};

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
/// Most of who enacted a statute and when that every article tells, in characters: it is copied for
/// each, and some statutes tell every change of a century.
const ENACTED: usize = 300;
/// Articles that one may skip: what was repealed is sometimes left out.
const SKIPPED: u64 = 50;
/// Parts of a statute, the widest first.
const LEVELS: [&[&str]; 5] =
    [&["编", "編", "篇"], &["分编", "分編"], &["章"], &["节", "節"], &["目"]];
/// What begins what stands behind the articles.
const ANNEXES: [&str; 6] = ["附件", "附录", "附錄", "附表", "附：", "附1"];
/// What a sentence has and a heading has not.
const STOPS: [char; 3] = ['。', '；', '，'];

/// What a line of a statute is.
enum Line {
    /// The heading of a part, of a level of [`LEVELS`].
    Part(usize),
    /// The first line of an article: its number as written, without spaces, and as a number with
    /// what stands behind `之`.
    Article { mark: String, number: (u64, u64) },
    /// An annex.
    Annex,
    /// Anything else.
    Text,
}

/// A document as its articles, where it is one statute; the same document where it is none, or
/// several.
pub(super) fn split(mut document: Document) -> Vec<Document> {
    // Out of the document, which is copied for each part.
    let text = std::mem::take(&mut document.text);
    let Some((law, mut parts)) = statute(document.title.as_deref(), &text) else {
        document.text = text;
        return vec![document];
    };
    name(&mut parts);

    let (counts, absent) =
        (std::mem::take(&mut document.counts), std::mem::take(&mut document.absent));
    let repaired = std::mem::take(&mut document.repaired);
    let metadata = document.metadata.take();
    let metadata = metadata.and_then(|metadata| serde_json::from_str(&metadata).ok());
    let whole = Whole { document, law, metadata: metadata.unwrap_or_default() };
    // What is long is told once, and what is counted of the record is counted once.
    let (all, some) = (whole.law.enacted.as_slice(), shortened(&whole.law.enacted));
    let mut documents: Vec<Document> = (0..)
        .zip(&parts)
        .map(|(n, part)| whole.part(part, if n == 0 { all } else { some }))
        .collect();
    if let Some(first) = documents.first_mut() {
        (first.counts, first.absent, first.repaired) = (counts, absent, repaired);
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

/// The name of a statute, and who enacted it and when.
struct Law<'a> {
    name: String,
    enacted: Vec<&'a str>,
}

/// A statute without its text, of which each part has a copy.
struct Whole<'a> {
    document: Document,
    law: Law<'a>,
    metadata: Map<String, Value>,
}

impl Whole<'_> {
    /// A part as a document that tells these lines of who enacted the statute.
    fn part(&self, part: &Part, enacted: &[&str]) -> Document {
        let law = self.law.name.as_str();
        let mut head = vec![law];
        head.extend(part.path.iter().map(String::as_str));
        let mut metadata = self.metadata.clone();
        metadata.insert("law".to_string(), law.into());
        metadata.insert("article".to_string(), part.mark.as_str().into());
        metadata.insert("path".to_string(), part.path.clone().into());
        if !enacted.is_empty() {
            metadata.insert("enacted".to_string(), enacted.into());
        }
        Document {
            id: self.document.id.as_ref().map(|id| format!("{id}#{}", part.mark)),
            text: format!("{}\n\n{}", head.join(" "), part.lines.join("\n").trim()),
            title: Some(format!("{law} {}", part.mark)),
            metadata: Some(Value::Object(metadata).to_string()),
            ..self.document.clone()
        }
    }
}

/// The parts of a text that is one statute.
fn statute<'a>(title: Option<&str>, text: &'a str) -> Option<(Law<'a>, Vec<Part<'a>>)> {
    let name = law(title, text)?;
    let mut reader = Reader::default();
    for line in text.lines() {
        reader.read(line);
    }
    reader.leave();
    let Reader { head, mut parts, articles, is_several, .. } = reader;
    if articles < ARTICLES || is_several {
        return None;
    }
    let (preamble, enacted) = preamble(&head, &name);
    if !preamble.is_empty() {
        parts.insert(0, Part { mark: "序言".to_string(), path: Vec::new(), lines: preamble });
    }
    Some((Law { name, enacted }, parts))
}

/// What was read of a text, line by line.
#[derive(Default)]
struct Reader<'a> {
    /// What stands before the first article.
    head: Vec<&'a str>,
    parts: Vec<Part<'a>>,
    /// The headings that the last part stands under, with their levels.
    path: Vec<(usize, &'a str)>,
    /// Headings below which nothing stands so far, the widest first.
    headings: Vec<(usize, &'a str)>,
    /// The last article's number.
    last: (u64, u64),
    articles: usize,
    /// Whether the last part is an annex.
    is_annexed: bool,
    /// Whether that annex has articles of its own, such as a contract to be filled in.
    is_numbered: bool,
    /// Whether another statute begins behind the articles.
    is_several: bool,
}

impl<'a> Reader<'a> {
    fn read(&mut self, line: &'a str) {
        match read(line) {
            Line::Part(level) => {
                self.leave_below(level);
                self.headings.push((level, line));
            }
            Line::Article { mark, number } if self.follows(number) => {
                self.last = number;
                self.articles += 1;
                self.is_annexed = false;
                self.begin(mark, line);
            }
            Line::Annex if !self.parts.is_empty() && !self.is_annexed => {
                self.leave();
                self.is_annexed = true;
                let mark = line.split_whitespace().collect::<Vec<&str>>().join(" ");
                self.parts.push(Part { mark, path: Vec::new(), lines: vec![line] });
            }
            other => {
                self.is_again(&other);
                self.text(line);
            }
        }
    }

    /// Whether an article of a number may stand behind the last.
    fn follows(&self, number: (u64, u64)) -> bool {
        let begins = self.last.0 > 0 || number.0 == 1;
        begins
            && number > self.last
            && number.0 <= self.last.0 + SKIPPED
            && !(self.is_annexed && self.is_numbered)
    }

    /// Takes note of a first article behind others: an annex has articles of its own, or a second
    /// statute begins, whose articles would be taken for text of the first.
    fn is_again(&mut self, line: &Line) {
        if matches!(line, Line::Article { number: (1, 0), .. }) {
            self.is_numbered |= self.is_annexed;
            self.is_several |= !self.is_annexed;
        }
    }

    fn text(&mut self, line: &'a str) {
        if self.parts.is_empty() {
            self.head.push(line);
        } else if self.headings.is_empty() || line.trim().is_empty() {
            self.push(line);
        } else if self.is_annexed {
            self.leave();
            self.push(line);
        } else {
            // Below a heading of its own it is of no article before it.
            self.begin(String::new(), line);
        }
    }

    /// Begins a part under the headings before it; one without an article is called by them.
    fn begin(&mut self, mark: String, line: &'a str) {
        if let Some((widest, _)) = self.headings.first() {
            self.path.retain(|(level, _)| level < widest);
            self.path.append(&mut self.headings);
        }
        let path: Vec<String> = self.path.iter().map(|(_, heading)| spaced(heading)).collect();
        let mark = if mark.is_empty() { path.join(" ") } else { mark };
        self.parts.push(Part { mark, path, lines: vec![line] });
    }

    /// Leaves the headings below which nothing stands to the part before them.
    fn leave(&mut self) {
        self.leave_below(0);
    }

    /// The same of those of a level and below it. Before the first article they are the table of
    /// contents, which goes.
    fn leave_below(&mut self, level: usize) {
        let at = self.headings.partition_point(|(other, _)| *other < level);
        let left = self.headings.split_off(at);
        left.into_iter().for_each(|(_, heading)| self.push(heading));
    }

    /// Adds a line to the last part; of empty ones around a heading that was left to it one.
    fn push(&mut self, line: &'a str) {
        let Some(part) = self.parts.last_mut() else { return };
        let is_empty = |line: &str| line.trim().is_empty();
        if !(is_empty(line) && part.lines.last().is_some_and(|last| is_empty(last))) {
            part.lines.push(line);
        }
    }
}

/// Gives parts that are called the same numbers, so that each has an id of its own: annexes, and
/// parts under headings that stand there twice.
fn name(parts: &mut [Part]) {
    let (mut taken, mut counts) = (HashSet::new(), HashMap::new());
    for part in parts {
        let n = counts.entry(part.mark.clone()).or_insert(1);
        let mut mark = part.mark.clone();
        while !taken.insert(mark.clone()) {
            *n += 1;
            mark = format!("{} ({n})", part.mark);
        }
        part.mark = mark;
    }
}

/// The name of the law: the title, else the first line.
fn law(title: Option<&str>, text: &str) -> Option<String> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let title = title.or(first)?.trim();
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

/// The first lines that together have at most [`ENACTED`] characters.
fn shortened<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let mut n = 0;
    let is_more = |line: &&str| {
        n += line.chars().count();
        n > ENACTED
    };
    let end = lines.iter().position(is_more).unwrap_or(lines.len());
    &lines[..end]
}

fn read(line: &str) -> Line {
    let line = line.trim();
    if ANNEXES.iter().any(|annex| line.starts_with(annex)) && is_heading(line) {
        return Line::Annex;
    }
    let article = || article(line).map(|(mark, number)| Line::Article { mark, number });
    let part = || part(line).map(|(level, ..)| Line::Part(level));
    article().or_else(part).unwrap_or(Line::Text)
}

/// The mark and the number of the article that a line begins.
fn article(line: &str) -> Option<(String, (u64, u64))> {
    let (number, rest) = numeral(line.strip_prefix('第')?)?;
    let kind = rest.chars().next().filter(|c| matches!(c, '条' | '條'))?;
    let after = &rest[kind.len_utf8()..];
    let (sub, after) = sub(after).unwrap_or(("", after));
    // In running text neither a space nor a bracket stands behind it: 第三条规定的。
    if !is_apart(after) && !after.starts_with(['【', '（', '(']) {
        return None;
    }
    let joint = if sub.is_empty() { "" } else { "之" };
    Some((format!("第{number}{kind}{joint}{sub}"), (value(&number), value(sub))))
}

/// The number behind `之`, and what stands behind that. The article may begin with another number,
/// so there are no spaces in it.
fn sub(after: &str) -> Option<(&str, &str)> {
    let behind = after.strip_prefix('之')?.trim_start();
    let end = behind.find(|c| !is_numeral(c)).unwrap_or(behind.len());
    (end > 0).then(|| behind.split_at(end))
}

/// The level of the part of which a line is the heading, its number as written but for spaces, and
/// its name.
fn part(line: &str) -> Option<(usize, String, &str)> {
    let (number, rest) = numeral(line.strip_prefix('第')?)?;
    let (level, mark, name) = LEVELS.iter().enumerate().find_map(|(level, marks)| {
        let mark = marks.iter().find(|mark| rest.starts_with(**mark))?;
        Some((level, mark, &rest[mark.len()..]))
    })?;
    // 第二节能 and 第一目标 are other words.
    // `第一章总则` is one, `第一节能指标` and `第一目标` are not, nor is 章程.
    let is_joined = matches!(*mark, "章" | "编" | "編")
        && !name
            .starts_with(['程', '号', '號', '写', '寫', '制', '製', '辑', '輯', '者', '队', '隊']);
    let is_one = (is_apart(name) || is_joined || name.starts_with(['“', '《'])) && is_heading(line);
    is_one.then(|| (level, format!("第{number}{mark}"), name))
}

/// Whether a line is short enough for a heading, and no sentence.
fn is_heading(line: &str) -> bool {
    !line.contains(STOPS) && line.chars().count() <= HEADING
}

/// Whether what stands behind a number is set off from it, or nothing.
fn is_apart(behind: &str) -> bool {
    behind.is_empty() || behind.starts_with(is_gap)
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || matches!(c, '：' | ':')
}

/// The number that a text begins with and what stands behind it, both without the spaces in the
/// number and around it: `第 十 二 条`.
fn numeral(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !is_numeral(c) && !c.is_whitespace()).unwrap_or(text.len());
    let number: String = text[..end].split_whitespace().collect();
    (!number.is_empty()).then(|| (number, &text[end..]))
}

/// What a number says: digits, or Chinese numerals, of which zero is at times typed as a circle.
fn value(number: &str) -> u64 {
    match number.parse() {
        Ok(value) => value,
        Err(_) => of_numerals(&number.replace('○', "〇")).parse().unwrap_or(0),
    }
}

fn is_numeral(c: char) -> bool {
    c.is_ascii_digit() || "零〇○一二三四五六七八九十百千两兩".contains(c)
}

/// A heading with one space behind its number: `第一章 总 则` is `第一章 总则`.
fn spaced(heading: &str) -> String {
    let heading = heading.trim();
    let Some((_, number, name)) = part(heading) else { return heading.to_string() };
    let pieces: Vec<&str> = name.trim_start_matches(is_gap).split_whitespace().collect();
    if pieces.is_empty() {
        return number;
    }
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
    fn words_that_begin_as_headings_and_annexes_do_are_text() {
        let text = "第一条 甲：\n第一目标是安全\n第二节能\n附件应当齐全，逾期不补。\n\n第二条 乙。\n\n附件1\n\n第三条 丙。";
        let found = texts("某办法", text);
        let marks: Vec<&str> = found.iter().map(|(title, _)| title.as_str()).collect();
        // What was taken for an annex ends where the articles go on.
        assert_eq!(marks, ["某办法 第一条", "某办法 第二条", "某办法 附件1", "某办法 第三条"]);
        assert_eq!(
            found[0].1,
            "某办法\n\n第一条 甲：\n第一目标是安全\n第二节能\n附件应当齐全，逾期不补。"
        );
    }

    #[test]
    fn no_heading_is_lost() {
        let text = "目录\n第一章 甲\n第二章 乙\n\n第一章 甲\n\n第一条 一。\n\n第二章 已删除\n\n第三章：乙\n\n第二条 二。\n\n\
                    第四章 丙\n\n附表\n\n第五章 丁\n\n一栏\n\n第六章 戊";
        let found = texts("某办法", text);
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "某办法 第一章 甲\n\n第一条 一。\n\n第二章 已删除",
                "某办法 第三章 乙\n\n第二条 二。\n\n第四章 丙",
                "某办法\n\n附表\n\n第五章 丁\n一栏\n\n第六章 戊",
            ]
        );
    }

    #[test]
    fn several_statutes_stay_whole_and_annexes_have_articles_of_their_own() {
        let one = "第一条 甲。\n\n第二条 乙。";
        assert_eq!(texts("两部办法", &format!("{one}\n\n又一办法\n\n{one}")).len(), 1);
        let found = texts("某办法", &format!("{one}\n\n附件\n\n{one}\n\n第三条 丙。"));
        assert_eq!(found.len(), 3);
        assert_eq!(found[2].1, "某办法\n\n附件\n\n第一条 甲。\n\n第二条 乙。\n\n第三条 丙。");
        // An annex is no article.
        assert_eq!(texts("某办法", "第一条 甲。\n\n附件\n\n表").len(), 1);
    }

    #[test]
    fn every_part_has_an_id_of_its_own() {
        let text = "第一章 甲\n第一条 一。\n第一节 通则\n无条。\n第二章 乙\n第二条 二。\n第一节 通则\n无条。\n\
                    第一节 通则\n又无条。\n附件\n一\n附表\n第三条 三。\n附件\n二";
        let document = Document {
            title: Some("某办法".to_string()),
            text: text.to_string(),
            id: Some("a".to_string()),
            ..Document::default()
        };
        let ids: Vec<String> = split(document).into_iter().filter_map(|part| part.id).collect();
        assert_eq!(
            ids,
            [
                "a#第一条",
                "a#第一章 甲 第一节 通则",
                "a#第二条",
                "a#第二章 乙 第一节 通则",
                "a#第二章 乙 第一节 通则 (2)",
                "a#附件",
                "a#第三条",
                "a#附件 (2)",
            ]
        );
    }

    #[test]
    fn numbers_are_read_as_they_are_typed() {
        for (line, mark, number) in [
            ("第 1 條", "第1條", (1, 0)),
            ("第　十 二　条　甲", "第十二条", (12, 0)),
            ("第一条(目的)", "第一条", (1, 0)),
            ("第一○一条 甲", "第一○一条", (101, 0)),
            ("第三条之一 二十人以上的", "第三条之一", (3, 1)),
            ("第 15 條之 1", "第15條之1", (15, 1)),
        ] {
            match read(line) {
                Line::Article { mark: found, number: said } => {
                    assert_eq!((found.as_str(), said), (mark, number), "{line}");
                }
                _ => panic!("{line}"),
            }
        }
        for line in ["第一条规定的", "第条 甲", "第一 件", "第三条之一规定的"] {
            assert!(matches!(read(line), Line::Text), "{line}");
        }
        assert_eq!(spaced("第 三 章　 总 则"), "第三章 总则");
        assert_eq!(spaced("第五章“甲”品牌 建设"), "第五章 “甲”品牌 建设");
    }

    #[test]
    fn what_is_long_is_told_once() {
        let row = "改".repeat(ENACTED - 10);
        let document = Document {
            title: Some("某办法".to_string()),
            text: format!("某局公布\n{row}\n{row}\n第一条 甲。\n第二条 乙。\n第三条 丙。"),
            counts: vec![("a".to_string(), 1)],
            repaired: 2,
            ..Document::default()
        };
        let parts = split(document);
        let told = |at: usize| -> Vec<String> {
            let metadata = parts[at].metadata.as_deref().unwrap();
            let metadata: Map<String, Value> = serde_json::from_str(metadata).unwrap();
            let told = metadata["enacted"].as_array().unwrap();
            told.iter().map(|line| line.as_str().unwrap().to_string()).collect()
        };
        assert_eq!(told(0), ["某局公布", row.as_str(), row.as_str()]);
        assert_eq!(told(1), ["某局公布", row.as_str()]);
        assert_eq!(told(2), told(1));
        let counted: Vec<(usize, u64)> =
            parts.iter().map(|part| (part.counts.len(), part.repaired)).collect();
        assert_eq!(counted, [(1, 2), (0, 0), (0, 0)]);
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

    #[test]
    fn lines_that_look_like_headings_are_kept() {
        let text = "第一条 分两步：\n第一目标是安全\n第二节能是要求\n第二条 乙。\n附件一所列商品除外，不适用。\n\
                    第三条 丙。\n第二章 附则";
        let found = texts("甲办法", text);
        let all: Vec<&str> = found.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(all, ["甲办法 第一条", "甲办法 第二条", "甲办法 第三条"]);
        let said: String = found.iter().map(|(_, text)| text.as_str()).collect();
        for line in ["第一目标是安全", "第二节能是要求", "附件一所列", "第二章 附则"]
        {
            assert_eq!(said.matches(line).count(), 1, "{line}");
        }
    }

    #[test]
    fn two_statutes_in_one_record_are_no_one() {
        let two =
            "第一条 甲一。\n第二条 甲二。\n乙办法\n第一条 乙一。\n第二条 乙二。\n第三条 乙三。";
        assert_eq!(texts("甲办法", two).len(), 1);
        let found = texts("甲办法", "第 1 條 甲。\n第 2 條(目的) 乙。");
        assert_eq!(found.len(), 2);
        // One article and an annex are no statute.
        assert_eq!(texts("甲办法", "第一条 甲。\n附件\n表").len(), 1);
        let text = "第一章 甲\n第一节 通则\n无条文。\n第二章 乙\n第一节 通则\n也无。\n第一条 一。\n第二条 二。";
        let document = Document {
            title: Some("甲办法".to_string()),
            id: Some("a".to_string()),
            text: format!("第一条 零。\n{}", text.replace("第一条", "第三条")),
            ..Document::default()
        };
        let ids: Vec<String> = split(document).into_iter().filter_map(|part| part.id).collect();
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
    }

    /// A record of many articles was copied whole for each.
    #[test]
    fn many_articles_are_split() {
        let lines = (1..=20_000).map(|n| format!("第{n}条 {}", "甲".repeat(60)));
        let text = lines.collect::<Vec<String>>().join("\n");
        assert_eq!(texts("甲办法", &text).len(), 20_000);
    }

    #[test]
    fn a_chapter_needs_no_space() {
        let found = texts("甲办法", "第一章总则\n第一条 甲。\n第二章程序要求\n第二条 乙。");
        assert!(found[0].1.starts_with("甲办法 第一章 总则\n\n第一条 甲。"), "{found:?}");
        assert!(found.iter().any(|(_, text)| text.contains("第二章程序要求")), "{found:?}");
    }
}
