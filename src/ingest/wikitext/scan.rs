//! The pass over the characters: comments, tags, templates, links, tables, entities.
//!
//! One stack of open pieces, one output. A piece that closes looks at what was written since it
//! opened (the pieces inside are already text by then) and cuts it down to what it shows; a piece
//! that never closes leaves what is inside and loses its brackets. Pieces deeper than
//! [`super::MAX_DEPTH`] are not rewritten, so that no text is moved more often than that; a close
//! tag that was once not found is not looked for again.

use std::collections::BTreeMap;

use super::{APOSTROPHE, GAP, Site, disambiguation, entities, links, variants};
use crate::text::byte_set;

mod angles;
mod brackets;

/// What scanning makes of a page.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Lines with [`GAP`] where something was removed.
    pub text: String,
    /// Whether the page is a disambiguation page.
    pub disambiguation: bool,
    /// Templates that nobody knows and that stood in lines of prose, by name.
    pub unknown: BTreeMap<String, u64>,
}

/// What kind of piece is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `{{`
    Template,
    /// `{{{`
    Parameter,
    /// `[[`
    Link,
    /// `[http://`
    External,
    /// `{|` at the start of a line
    Table,
    /// `<table>`
    HtmlTable,
    /// `-{`
    Variants,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    /// Where its content begins in the output.
    start: usize,
    /// How many places of `|` there were when it opened.
    pipes: usize,
    /// A heading was met inside: a template that holds one is two that were not closed.
    has_heading: bool,
    /// An address in two pairs of brackets, a common slip.
    is_doubled: bool,
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: String,
    open: Vec<Open>,
    /// Places of `|` in the output that belong to open templates, links and variants.
    pipes: Vec<usize>,
    /// How many of each kind are open.
    n_open: [usize; 7],
    /// Tags for which no close tag follows any more, a bit each.
    never_closed: u128,
    site: &'a Site<'a>,
    has_variants: bool,
    disambiguation: bool,
    unknown: BTreeMap<String, u64>,
}

/// Bytes at which something may begin or end.
const SPECIAL: [bool; 256] = byte_set(b"<&{}[]|-\n\r_~\x01\x02");

/// Scans `text`; see the module.
pub(super) fn scan(text: &str, site: &Site) -> Scanned {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
        out: String::with_capacity(text.len() / 2),
        open: Vec::new(),
        pipes: Vec::new(),
        n_open: [0; 7],
        never_closed: 0,
        site,
        has_variants: variants::is_converted(site.language),
        disambiguation: false,

        unknown: BTreeMap::new(),
    };

    scanner.line_start();
    scanner.run();

    while let Some(open) = scanner.open.pop() {
        scanner.leave(&open);
    }
    Scanned { text: scanner.out, disambiguation: scanner.disambiguation, unknown: scanner.unknown }
}

impl Scanner<'_> {
    fn run(&mut self) {
        while self.at < self.bytes.len() {
            let start = self.at;
            while self.at < self.bytes.len() && !SPECIAL[usize::from(self.bytes[self.at])] {
                self.at += 1;
            }
            self.out.push_str(&self.text[start..self.at]);
            let Some(&byte) = self.bytes.get(self.at) else { return };

            match byte {
                b'\n' => self.newline(),
                b'<' => self.angle(),
                b'&' => self.ampersand(),
                b'{' => self.brace(),
                b'}' => self.close_brace(),
                b'[' => self.bracket(),
                b']' => self.close_bracket(),
                b'|' => self.pipe(),
                b'-' => self.dash(),
                b'_' => self.underscore(),
                b'~' => self.tilde(),

                _ => self.at += 1,
            }
        }
    }

    /// The byte `distance` from here.
    fn peek(&self, distance: usize) -> Option<u8> {
        self.bytes.get(self.at + distance).copied()
    }

    /// How many times `byte` stands here in a row.
    fn run_of(&self, byte: u8) -> usize {
        self.bytes[self.at..].iter().take_while(|&&other| other == byte).count()
    }

    fn literal(&mut self, n_bytes: usize) {
        self.out.push_str(&self.text[self.at..self.at + n_bytes]);
        self.at += n_bytes;
    }

    fn top(&self) -> Option<Kind> {
        self.open.last().map(|open| open.kind)
    }

    fn is_open(&self, kind: Kind) -> bool {
        self.n_open[kind as usize] > 0
    }

    fn enter(&mut self, kind: Kind) {
        self.n_open[kind as usize] += 1;
        let is_doubled = kind == Kind::External && self.text[..self.at].ends_with("[[");
        self.open.push(Open {
            kind,
            start: self.out.len(),
            pipes: self.pipes.len(),
            has_heading: false,
            is_doubled,
        });
    }

    /// Takes the innermost open piece off the stack, with the place of its first `|` within its
    /// content.
    fn exit(&mut self) -> Option<(Open, Option<usize>)> {
        let open = self.open.pop()?;
        self.n_open[open.kind as usize] -= 1;
        let pipe = self.pipes.get(open.pipes).map(|place| place - open.start);
        Some((open, pipe))
    }

    /// Ends a piece that does not close: its content stays, unless it is the caption of a file.
    fn leave(&mut self, open: &Open) {
        self.pipes.truncate(open.pipes);
        if open.kind == Kind::Link && links::is_media(&self.out[open.start..], self.site) {
            self.cut(open.start);
        }
        if open.has_heading {
            self.mark_heading();
        }
    }

    /// Leaves open pieces until one of `kind` is the innermost.
    fn leave_until(&mut self, kind: Kind) {
        while self.top().is_some_and(|top| top != kind) {
            if let Some((open, _)) = self.exit() {
                self.leave(&open);
            }
        }
    }

    /// Removes all that was written from `start` on.
    fn cut(&mut self, start: usize) {
        self.out.truncate(start);
        self.out.push(GAP);
    }

    fn mark_heading(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.has_heading = true;
        }
    }

    fn pipe(&mut self) {
        if matches!(
            self.top(),
            Some(Kind::Template | Kind::Parameter | Kind::Link | Kind::Variants)
        ) {
            self.pipes.push(self.out.len());
        }
        self.literal(1);
    }

    /// A line ends: external links end with it, and internal ones with a paragraph.
    fn newline(&mut self) {
        while self.top() == Some(Kind::External) {
            self.leave_until_below();
        }
        self.literal(1);

        if self.peek(0) == Some(b'\n') {
            while matches!(self.top(), Some(Kind::Link | Kind::External)) {
                self.leave_until_below();
            }
            return;
        }

        self.line_start();
    }

    fn leave_until_below(&mut self) {
        if let Some((open, _)) = self.exit() {
            self.leave(&open);
        }
    }

    /// What only counts at the start of a line: tables and headings.
    fn line_start(&mut self) {
        let rest = &self.bytes[self.at..];
        let indent = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b':')).count();

        match rest[indent..] {
            [b'{', b'|', ref after @ ..] if !after.starts_with(b"}}") => {
                self.at += indent + 2;
                self.enter(Kind::Table);
            }
            [b'|', b'}', ref after @ ..] if self.closes_table(after) => {
                self.leave_until(Kind::Table);
                if let Some((open, _)) = self.exit() {
                    self.pipes.truncate(open.pipes);
                    self.cut(open.start);
                }
                self.at += indent + 2;
            }

            [b'=', b'=', ..] if indent == 0 => self.heading(),
            _ => {}
        }
    }

    /// Whether `|}` closes a table; `|}}` inside a template is an empty argument and the template's
    /// end.
    fn closes_table(&self, after: &[u8]) -> bool {
        self.is_open(Kind::Table)
            && (after.first() != Some(&b'}') || self.top() == Some(Kind::Table))
    }

    fn heading(&mut self) {
        while matches!(
            self.top(),
            Some(Kind::Link | Kind::External | Kind::Table | Kind::HtmlTable | Kind::Variants)
        ) {
            self.leave_until_below();
        }
        self.mark_heading();
    }

    /// `__NOTOC__` and its like in any language: a word between two underscores on each side.
    fn underscore(&mut self) {
        let run = self.run_of(b'_');
        if run != 2 {
            return self.literal(run);
        }
        let rest = &self.text[self.at + 2..];
        let is_part = |c: &char| c.is_ascii_uppercase() || *c == '_' || !c.is_ascii();
        let word_bytes: usize = rest.chars().take(40).take_while(is_part).map(char::len_utf8).sum();

        match rest[..word_bytes].strip_suffix("__").filter(|word| word.chars().count() > 2) {
            Some(word) => {
                self.disambiguation |= disambiguation::is_magic_word(word);
                self.at += 2 + word_bytes;
                self.out.push(GAP);
            }
            None => self.literal(2),
        }
    }

    /// Signatures: three to five tildes.
    fn tilde(&mut self) {
        let run = self.run_of(b'~');
        if (3..=5).contains(&run) {
            self.at += run;
            self.out.push(GAP);
        } else {
            self.literal(run);
        }
    }

    fn ampersand(&mut self) {
        match entities::entity(&self.text[self.at..]) {
            Some((value, length)) => {
                self.at += length;
                push_verbatim(&mut self.out, &value);
            }
            None => self.literal(1),
        }
    }
}

/// Appends text that is not wikitext, on the line where it stands.
fn push_verbatim(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\'' => out.push(APOSTROPHE),
            '\n' | '\r' | '\t' => out.push(' '),
            GAP | APOSTROPHE => {}
            _ => out.push(c),
        }
    }
}
