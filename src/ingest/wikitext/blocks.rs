//! Lines → paragraphs, headings and lists.

use super::{GAP, inline, sections};

/// The pieces a page's lines are put together from.
#[derive(Default)]
struct Page {
    text: String,
    /// The lines of the paragraph that is being read.
    paragraph: String,
    /// Headings above text that did not come yet.
    headings: Vec<(usize, String)>,
    /// Level of the section being passed over.
    skipped: Option<usize>,
    /// The last thing written was a list item.
    in_list: bool,
    has_text: bool,
    quotes: String,
    /// Lines of wikitext that became text.
    n_lines: u64,
}

/// Plain paragraphs of scanned text, and how many of its lines went into them.
pub(super) fn paragraphs(scanned: &str) -> (String, u64) {
    let mut page = Page { text: String::with_capacity(scanned.len()), ..Page::default() };
    for line in scanned.split('\n') {
        page.line(line);
    }
    page.end_paragraph();
    (page.text, page.n_lines)
}

impl Page {
    fn line(&mut self, line: &str) {
        let trimmed = line.trim_matches(|c: char| c.is_whitespace() || c == GAP);
        if trimmed.is_empty() {
            // A line that only held something removed does not end a paragraph.
            if !line.contains(GAP) {
                self.end_paragraph();
                self.in_list = false;
            }
            return;
        }

        if let Some((level, title)) = heading(trimmed) {
            return self.heading(level, title);
        }
        if self.skipped.is_some() || is_table_remnant(trimmed) {
            return;
        }

        if trimmed.starts_with("----") {
            self.end_paragraph();
            return self.line(trimmed.trim_start_matches(['-', ' ', '\t', GAP]));
        }

        let item = trimmed.trim_start_matches(['*', '#', ':', ';', ' ', GAP]);
        if item.len() < trimmed.len() && trimmed.starts_with(['*', '#', ':', ';']) {
            self.end_paragraph();
            if (!self.has_text || !self.headings.is_empty()) && is_hatnote(trimmed) {
                return;
            }
            self.item(item);
        } else if line.starts_with(' ') {
            self.end_paragraph();
            self.item(trimmed);
        } else {
            self.join(line);
        }
    }

    /// Adds a line to the paragraph; wikitext lines of one paragraph run on, without a space
    /// between ideographs.
    fn join(&mut self, line: &str) {
        self.n_lines += 1;
        let runs_on = is_ideographic(self.paragraph.chars().next_back())
            && is_ideographic(line.chars().next());

        if !self.paragraph.is_empty() && !runs_on {
            self.paragraph.push(' ');
        }
        // Marks of bold and italic text end with their line.
        if line.contains("''") {
            inline::without_quotes(line, &mut self.paragraph);
        } else {
            self.paragraph.push_str(line);
        }
    }

    fn end_paragraph(&mut self) {
        if self.paragraph.is_empty() {
            return;
        }
        let paragraph = std::mem::take(&mut self.paragraph);
        self.write(&paragraph, "\n\n");
        self.in_list = false;
        self.paragraph = paragraph;
        self.paragraph.clear();
    }

    fn item(&mut self, item: &str) {
        let mut quotes = std::mem::take(&mut self.quotes);
        quotes.clear();
        inline::without_quotes(item, &mut quotes);
        let before = if self.in_list { "\n" } else { "\n\n" };
        let is_written = self.write(&quotes, before);
        self.in_list |= is_written;
        self.n_lines += u64::from(is_written);
        self.quotes = quotes;
    }

    /// Writes one tidy line behind `before`, with the headings above it; false when nothing is left
    /// of it.
    fn write(&mut self, line: &str, before: &str) -> bool {
        let mut tidied = String::with_capacity(line.len());
        inline::tidy(line, &mut tidied);
        if !tidied.chars().any(char::is_alphanumeric) {
            return false;
        }
        let mut before = before;

        for (_, title) in self.headings.drain(..) {
            separate(&mut self.text, "\n\n");
            self.text.push_str(&title);
            before = "\n\n";
        }

        separate(&mut self.text, before);
        self.text.push_str(&tidied);
        self.has_text = true;
        true
    }

    fn heading(&mut self, level: usize, title: &str) {
        self.end_paragraph();
        self.in_list = false;
        if self.skipped.is_some_and(|skipped| level > skipped) {
            return;
        }
        let mut quotes = String::new();
        inline::without_quotes(title, &mut quotes);
        let mut tidied = String::new();
        inline::tidy(&quotes, &mut tidied);
        self.skipped = sections::is_without_prose(&tidied).then_some(level);
        self.headings.retain(|(above, _)| *above < level);

        if self.skipped.is_none() && tidied.chars().any(char::is_alphanumeric) {
            self.headings.push((level, tidied));
        }
    }
}

/// Whether `c` belongs to a script written without spaces (Korean is not).
fn is_ideographic(c: Option<char>) -> bool {
    c.is_some_and(|c| matches!(c, '\u{2e80}'..='\u{abff}' | '\u{f900}'..='\u{ffef}'))
}

fn separate(text: &mut String, between: &str) {
    if !text.is_empty() {
        text.push_str(between);
    }
}

/// Level and title of a heading line.
fn heading(line: &str) -> Option<(usize, &str)> {
    let opening = line.bytes().take_while(|&byte| byte == b'=').count();
    let closing = line.bytes().rev().take_while(|&byte| byte == b'=').count();
    let level = opening.min(closing).min(6);
    let title = line.get(level..line.len().checked_sub(level)?)?;
    (level > 0 && !title.trim().is_empty()).then_some((level, title))
}

/// Whether `line` is left over from a table whose other end is missing.
fn is_table_remnant(line: &str) -> bool {
    let attributes = [
        "! ", "!scope", "!style", "!width", "!colspan", "!rowspan", "!align", "!class", "!bgcolor",
    ];
    line.starts_with('|')
        || line.starts_with("{|")
        || (line.starts_with('!') && attributes.iter().any(|start| line.starts_with(start)))
}

/// Whether an indented line at the top of a page or section says "see also …": it is all in
/// italics.
fn is_hatnote(line: &str) -> bool {
    let inside = line.trim_start_matches([':', ' ']);
    line.starts_with(':')
        && inside.starts_with("''")
        && inside.trim_end_matches(['.', ' ']).ends_with("''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_paragraphs() {
        let check =
            |lines: &str, expected: &str| assert_eq!(paragraphs(lines).0, expected, "{lines:?}");
        check("a\nb\n\nc", "a b\n\nc");
        check("甲\n乙", "甲乙");
        check("== H ==\na", "H\n\na");
        check("== H ==\n=== I ===\n== J ==\na\n== K ==", "J\n\na");
        check("== H ==\n=== I ===\na", "H\n\nI\n\na");
        check("a\n* b\n** c\n# d\ne", "a\n\nb\nc\nd\n\ne");
        check("; term: meaning", "term: meaning");
        check("a\n== See also ==\n* b\n=== c ===\nd\n== E ==\nf", "a\n\nE\n\nf");
        check("a\n== H ==\n:''Main article: b''\nc\n:''d''", "a\n\nH\n\nc\n\nd");
        check(":''For other uses, see b.''\na\n:''c''", "a\n\nc");
        check("a\n| b\n|-\n! c\n!d\nf", "a !d f");
        check("a\n----\nb", "a\n\nb");
        check("a\n\u{1}\nb", "a b");
        check("* \n*\n", "");
        check("=", "");
        check("==", "");
        check("= a", "= a");
        check("'''a\nb'''", "a b");
    }
}
