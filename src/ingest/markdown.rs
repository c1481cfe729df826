//! Markdown → plain text: what a reader sees, without the marks.
//!
//! CommonMark with GitHub's tables, footnotes and task lists, parsed by `pulldown-cmark`. Headings, paragraphs and
//! items stay as lines; numbers of ordered lists stay, since laws and recipes refer to them; code stays as it is. Marks
//! of headings, emphasis and lists, HTML tags and comments, link targets, pictures, tables' bars, rules and the settings
//! at the head of a file (YAML between `---`) go.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

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
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut page = Page::default();
    for event in Parser::new_ext(markdown, options) {
        page.take(event);
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
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) => self.push(&text),
            Event::InlineMath(text) | Event::DisplayMath(text) => self.push(&text),
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(tag) if is_break(&tag) => self.push("\n"),
            Event::InlineHtml(_) | Event::Rule | Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.hidden > 0 {
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
            Tag::TableCell => {
                self.n_cells += 1;
                if self.n_cells > 1 {
                    self.push(", ");
                }
            }
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
                let text = without_tags(&std::mem::take(&mut self.html));
                self.push(text.trim());
            }
            TagEnd::Image | TagEnd::MetadataBlock(_) => self.hidden = self.hidden.saturating_sub(1),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            _ => {}
        }
    }

    /// Whether only the mark of an item was written on this line.
    fn begins_item(&self) -> bool {
        let line = self.text.rsplit('\n').next().unwrap_or("");
        line.is_empty()
            || line.strip_suffix(". ").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
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

fn is_break(tag: &str) -> bool {
    tag.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("<br"))
}

/// The text of a block of HTML, without its tags and comments.
fn without_tags(html: &str) -> String {
    let (mut text, mut rest) = (String::new(), html);
    while let Some(open) = rest.find('<') {
        text.push_str(&rest[..open]);
        let tag = &rest[open..];
        let close =
            if tag.starts_with("<!--") { tag.find("-->").map(|at| at + 3) } else { tag.find('>').map(|at| at + 1) };
        // A comment or tag that never ends takes the rest.
        let Some(close) = close else { return text };
        rest = &tag[close..];
    }
    text.push_str(rest);
    text
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
        check("第一条　为了保护<中华>，制定本法。\n\n第二条　", "第一条　为了保护<中华>，制定本法。\n\n第二条");
        check("", "");
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
        fn no_word_is_lost(words in proptest::collection::vec("[a-z甲乙]{1,5}", 1..20), breaks in proptest::collection::vec(0_usize..4, 20)) {
            let markdown: String = words.iter().zip(&breaks).map(|(word, n)| format!("{word}{}", [" ", "\n", "\n\n", "\n- "][*n])).collect();
            let read = plain(&markdown).text;
            let found: Vec<&str> = read.split_whitespace().filter(|word| *word != "-").collect();
            prop_assert_eq!(found, words);
        }
    }
}
