//! Markdown → plain text: what a reader sees, without the marks.
//!
//! CommonMark with GitHub's tables, footnotes and task lists, parsed by `pulldown-cmark`. Headings,
//! paragraphs and items stay as lines; numbers of ordered lists stay, since laws and recipes refer
//! to them; code and formulae (`$…$`) stay as they are. Marks of headings, emphasis and lists, HTML
//! tags and comments, scripts and styles, link targets, pictures, tables' bars, rules and the
//! settings at the head of a file (YAML between `---`, TOML between `+++`) go.
//!
//! HTML says what Markdown cannot: what it raises or lowers is read by the rule of
//! `ingest/numbers.rs`, its tables cell by cell, its MathML as a line.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::ingest::formats::pubmed::mathml;
use crate::ingest::numbers::{END, LOWERED, RAISED};
use crate::ingest::wikitext;

/// A Markdown file as text.
pub(super) struct Plain {
    /// The heading that it begins with.
    pub(super) title: Option<String>,
    /// Paragraphs separated by an empty line, items and rows of tables on lines of their own.
    pub(super) text: String,
}

/// Reads Markdown; every text is some, so nothing can fail.
pub(super) fn plain(markdown: &str) -> Plain {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_MATH
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;

    let mut page = Page::default();
    for event in Parser::new_ext(markdown, options) {
        page.take(event);
    }
    // A formula that never closes is its words.
    if let Some(math) = page.math.take() {
        page.push(&without_tags(&math));
    }
    let title = page.title.map(|title| title.trim().to_string()).filter(|title| !title.is_empty());
    Plain { title, text: page.text.trim().to_string() }
}

#[derive(Default)]
struct Page {
    text: String,
    title: Option<String>,
    /// Inside the heading that becomes the title.
    in_title: bool,
    /// How many pictures and settings are open, whose text goes.
    hidden: usize,
    /// Next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// Cells of the table's row so far.
    n_cells: usize,
    /// The block of HTML that is open; tags and comments may reach over its lines.
    html: String,
    /// The script or style that is open, whose text goes.
    unseen: Option<&'static str>,
    /// The MathML that is open, as it stands.
    math: Option<String>,
}

/// HTML elements whose text nobody sees.
static UNSEEN: &[&str] = &["script", "style", "head", "template", "svg"];
/// HTML elements that stand on lines of their own.
#[rustfmt::skip]
static LINES: &[&str] = &[
    "br", "p", "div", "li", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl",
    "table", "caption",
    "blockquote", "pre", "hr", "section", "article", "details", "summary", "figure", "figcaption",
];

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) => self.push(&text),
            Event::InlineMath(text) => self.push(&format!("${text}$")),
            Event::DisplayMath(text) => self.push(&format!("$${text}$$")),
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(html) => self.html(&html),

            Event::Rule | Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.hidden > 0 || self.unseen.is_some() {
            return;
        }
        if let Some(math) = &mut self.math {
            math.push_str(&quick_xml::escape::escape(text));
            return;
        }

        self.text.push_str(text);
        if let Some(title) = self.title.as_mut().filter(|_| self.in_title) {
            title.push_str(text);
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { .. } => {
                // The title is a heading of any level that nothing stands before.
                self.in_title = self.title.is_none() && self.text.trim().is_empty();
                if self.in_title {
                    self.title = Some(String::new());
                }
                self.paragraph();
            }

            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.paragraph();
                }
                self.lists.push(*first);
            }

            Tag::Item => {
                self.line();
                if let Some(Some(number)) = self.lists.last_mut() {
                    let mark = format!("{number}. ");
                    *number += 1;
                    self.push(&mark);
                }
            }
            // The first paragraph of an item goes on with its number.
            Tag::Paragraph if !self.lists.is_empty() && self.begins_item() => {}
            Tag::TableHead | Tag::TableRow => {
                self.line();
                self.n_cells = 0;
            }
            Tag::TableCell => self.cell(),
            Tag::Image { .. } | Tag::MetadataBlock(_) => self.hidden += 1,
            Tag::Paragraph
            | Tag::BlockQuote(_)
            | Tag::CodeBlock(_)
            | Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::Table(_) => self.paragraph(),

            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.in_title = false,
            TagEnd::HtmlBlock => {
                let html = std::mem::take(&mut self.html);
                self.html(html.trim());
            }
            TagEnd::Image | TagEnd::MetadataBlock(_) => self.hidden = self.hidden.saturating_sub(1),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            _ => {}
        }
    }

    /// Reads HTML, from one tag to a whole block.
    fn html(&mut self, html: &str) {
        let mut rest = html;
        loop {
            // In a script `<` is a sign like others.
            let open = match self.unseen {
                Some(name) => rest.to_ascii_lowercase().find(&format!("</{name}")),
                None => rest.find('<'),
            };
            let Some(open) = open else { break };
            self.push(&wikitext::decode_entities(&rest[..open]));
            let tag = &rest[open..];
            // A comment or tag that never ends takes the rest.
            let Some(length) = tag_length(tag) else { return };
            self.tag(&tag[..length]);
            rest = &tag[length..];
        }
        self.push(&wikitext::decode_entities(rest));
    }

    fn tag(&mut self, tag: &str) {
        let closes = tag.starts_with("</");
        let name = tag
            .trim_start_matches(['<', '/'])
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or("");
        let name = name.to_ascii_lowercase();

        if let Some(open) = self.unseen {
            self.unseen = Some(open).filter(|open| !closes || *open != name);
            return;
        }

        if let Some(math) = &mut self.math {
            math.push_str(tag);
            if closes && name == "math" {
                let math = self.math.take().unwrap_or_default();
                let line = mathml::read(&math).unwrap_or_else(|| without_tags(&math));
                self.push(&line);
            }
            return;
        }

        match name.as_str() {
            "math" if !closes => self.math = Some(tag.to_owned()),
            "sup" => self.push(if closes { END } else { RAISED }.encode_utf8(&mut [0; 4])),
            "sub" => self.push(if closes { END } else { LOWERED }.encode_utf8(&mut [0; 4])),
            "tr" => {
                self.line();
                self.n_cells = 0;
            }
            "td" | "th" if !closes => self.cell(),
            name if LINES.contains(&name) => self.line(),
            name if !closes && !tag.ends_with("/>") => {
                self.unseen = UNSEEN.iter().find(|unseen| **unseen == name).copied();
            }
            _ => {}
        }
    }

    /// Begins a cell of a table's row.
    fn cell(&mut self) {
        self.n_cells += 1;
        if self.n_cells > 1 {
            self.push(", ");
        }
    }

    /// Whether only the mark of an item was written on this line.
    fn begins_item(&self) -> bool {
        let line = self.text.rsplit('\n').next().unwrap_or("");
        line.is_empty()
            || line
                .strip_suffix(". ")
                .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Begins a line.
    fn line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Begins a paragraph.
    fn paragraph(&mut self) {
        self.line();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
}

/// Length of the tag, comment or declaration that `html` begins with.
fn tag_length(html: &str) -> Option<usize> {
    match html.strip_prefix("<!--") {
        Some(comment) => comment.find("-->").map(|at| at + 7),
        None => html.find('>').map(|at| at + 1),
    }
}

/// The text between tags.
fn without_tags(html: &str) -> String {
    let (mut words, mut rest) = (Vec::new(), html);
    while let Some((before, tag)) = rest.split_once('<') {
        words.extend(before.split_whitespace());
        rest = tag.split_once('>').map_or("", |(_, behind)| behind);
    }
    words.extend(rest.split_whitespace());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(markdown: &str, expected: &str) {
        assert_eq!(plain(markdown).text, expected, "{markdown:?}");
    }

    #[test]
    fn marks_go_and_words_stay() {
        check(
            "# Title\n\nA *soft* **metal**.\nSecond line.\n\n## Part ##\n\nB",
            "Title\n\nA soft metal.\nSecond line.\n\nPart\n\nB",
        );
        check(
            "See [the rule](http://a.b/c \"t\") and <http://d.e>, ![seen](x.png)here.",
            "See the rule and http://d.e, here.",
        );
        check("a\n\n- b\n- c\n  - d\n\ne", "a\n\nb\nc\nd\n\ne");
        check("3. b\n4. c\n\n   d", "3. b\n4. c\n\nd");
        check("| a | b |\n|---|:-:|\n| 1 | 2 |\n\nc", "a, b\n1, 2\n\nc");
        check("a <!-- hidden --> b<br>c\n\n<!-- all\nof it -->\n\n<div>d</div>\n", "a  b\nc\n\nd");
        check("---\nkey: value\n---\n\na\n\n***\n\nb", "a\n\nb");
        check("> quoted\n\n```c\nx = 1;\n```\n\n`y`", "quoted\n\nx = 1;\n\ny");
        check("- [x] done\n\nnote[^1]\n\n[^1]: told", "done\n\nnote\n\ntold");
        check("2 \\* 3 &amp; a_b_c", "2 * 3 & a_b_c");
        check(
            "第一条　为了保护<中华>，制定本法。\n\n第二条　",
            "第一条　为了保护<中华>，制定本法。\n\n第二条",
        );
        check("+++\ntitle = \"t\"\n+++\n\na", "a");
        check("$a*b*c$ costs $5 or $6-$7, \\$8", "$a*b*c$ costs $5 or $6-$7, $8");
        check("", "");
    }

    #[test]
    fn html_is_read_too() {
        let read =
            |markdown: &str| crate::ingest::numbers::linear(plain(markdown).text).into_owned();
        for (markdown, expected) in [
            (
                "10<sup>6</sup>5 cells, log<sub>2</sub>8, H<sub>2</sub>O",
                "10^6 5 cells, log_2 8, H2O",
            ),
            ("<p>10<sup>6</sup> &lt; 4.2&nbsp;× 10<sup>−3</sup></p>", "10^6 < 4.2\u{a0}× 10^-3"),
            (
                "<table>\n<tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td>20</td></tr>\n</table>",
                "a, b\n\n1, 20",
            ),
            (
                "a\n\n<style>\np { x: 1 }\n</style>\n\n<script>var a = 1 < 2;</script>\n\nb",
                "a\n\nb",
            ),
            ("x <math><mfrac><mn>1</mn><mn>20</mn></mfrac></math> y", "x 1/20 y"),
            ("x <math><mn>1</mn><mn>2", "x 1 2"),
            ("one<br>two<br/>three", "one\ntwo\nthree"),
            ("a <kbd>b</kbd> <svg>c</svg>d", "a b d"),
        ] {
            assert_eq!(read(markdown), expected, "{markdown}");
        }
    }

    #[test]
    fn the_title_is_the_heading_it_begins_with() {
        let title = |markdown: &str| plain(markdown).title;
        assert_eq!(title("\n# Civil *Code* ##\n\nBook one").as_deref(), Some("Civil Code"));
        assert_eq!(title("Rules\n=====\n\na").as_deref(), Some("Rules"));
        assert_eq!(title("a\n\n# later"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[a#*_`|<>!\\[\\]()\\n\\- 0-9.甲&;:]{0,80}") {
            plain(&text);
        }

        /// Words without marks are all there, in order.
        #[test]
        fn no_word_is_lost(words in proptest::collection::vec("[a-z甲乙]{1,5}", 1..20),
            breaks in proptest::collection::vec(0_usize..4, 20)) {
            let markdown: String = words.iter().zip(&breaks).map(|(word, n)| format!("{word}{}",
                [" ", "\n", "\n\n", "\n- "][*n])).collect();
            let read = plain(&markdown).text;
            let found: Vec<&str> = read.split_whitespace().filter(|word| *word != "-").collect();
            prop_assert_eq!(found, words);
        }
    }
}
