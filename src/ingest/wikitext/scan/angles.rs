//! Angle brackets: comments, HTML and extension tags.

use super::{Kind, Scanner, push_verbatim};
use crate::ingest::numbers;
use crate::ingest::wikitext::{GAP, entities, tags};

impl Scanner<'_> {
    pub(super) fn angle(&mut self) {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"<!--") {
            // An unclosed comment runs to the end, as in MediaWiki.
            let close = memchr::memmem::find(&rest[4..], b"-->");
            self.at = close.map_or(self.bytes.len(), |distance| self.at + 4 + distance + 3);
            return self.after_comment();
        }

        let Some(found) = tags::tag_at(rest) else { return self.literal(1) };
        let start = self.at;
        self.at += found.length;

        match found.tag {
            tags::Tag::Dropped | tags::Tag::Verbatim | tags::Tag::Formula => self.enclosing(found),
            tags::Tag::Break => self.out.push('\n'),
            tags::Tag::Paragraph => self.out.push_str("\n\n"),
            tags::Tag::Table => self.html_table(found),
            tags::Tag::Raised | tags::Tag::Lowered if found.closes => self.close_mark(),
            tags::Tag::Raised => self.out.push(numbers::RAISED),
            tags::Tag::Lowered => self.out.push(numbers::LOWERED),
            tags::Tag::Code => {
                let tag = &self.bytes[start..self.at];
                let is_inline = ["inline", "enclose=\"none\"", "enclose=none"]
                    .iter()
                    .any(|attribute| memchr::memmem::find(tag, attribute.as_bytes()).is_some());
                let tag = if is_inline { tags::Tag::Verbatim } else { tags::Tag::Dropped };
                self.enclosing(tags::Found { tag, ..found });
            }

            tags::Tag::Inline => {
                let tag = &self.bytes[start..self.at];
                if !found.closes && memchr::memmem::find(tag, b"display:none").is_some() {
                    self.enclosing(tags::Found { tag: tags::Tag::Dropped, ..found });
                }
            }
        }
    }

    /// Ends what is raised or lowered; where only something removed stood there, nothing is.
    fn close_mark(&mut self) {
        let inside = self.out.trim_end_matches([GAP, ' ']);
        if inside.ends_with([numbers::RAISED, numbers::LOWERED]) {
            self.out.truncate(inside.len());
            self.out.pop();
            self.out.push(GAP);
        } else {
            self.out.push(numbers::END);
        }
    }

    /// A comment on a line of its own takes the line with it.
    fn after_comment(&mut self) {
        if self.out.is_empty() || self.out.ends_with('\n') {
            let blank = self.bytes[self.at..].iter().take_while(|&&byte| byte == b' ').count();
            if self.peek(blank) == Some(b'\n') {
                self.at += blank + 1;
                if self.peek(0) != Some(b'\n') {
                    self.line_start();
                }
            } else {
                self.line_start();
            }
        }
    }

    /// A tag whose content is not wikitext.
    fn enclosing(&mut self, found: tags::Found) {
        if found.closes || found.is_empty {
            return self.out.push(GAP);
        }
        let bit = 1_u128 << found.number;
        if self.never_closed & bit != 0 {
            return self.out.push(GAP);
        }

        match tags::close_of(self.bytes, found.number, self.at) {
            tags::Close::At(end, after) => {
                let content = &self.text[self.at..end];
                match found.tag {
                    tags::Tag::Verbatim => push_verbatim(&mut self.out, &entities::decode(content)),
                    tags::Tag::Formula => push_verbatim(&mut self.out, content),
                    _ => self.out.push(GAP),
                }
                self.at = after;
            }

            tags::Close::OpensAgain => self.out.push(GAP),
            tags::Close::Nowhere => {
                self.never_closed |= bit;
                self.out.push(GAP);
            }
        }
    }

    fn html_table(&mut self, found: tags::Found) {
        if !found.closes {
            self.out.push('\n');
            return self.enter(Kind::HtmlTable);
        }

        if self.is_open(Kind::HtmlTable) {
            self.leave_until(Kind::HtmlTable);
            if let Some((open, _)) = self.exit() {
                self.pipes.truncate(open.pipes);
                self.cut(open.start);
            }
        }
        self.out.push('\n');
    }
}
