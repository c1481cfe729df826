//! Braces and brackets: templates, links, language variants.

use super::{Kind, Scanner};
use crate::ingest::wikitext::templates::{self, Shown};
use crate::ingest::wikitext::{GAP, MAX_DEPTH, Site, disambiguation, links, variants};

impl Scanner<'_> {
    pub(super) fn brace(&mut self) {
        let mut n_braces = self.run_of(b'{');
        match n_braces {
            1 => return self.literal(1),
            3 => {
                self.at += 3;
                return self.enter(Kind::Parameter);
            }
            _ => self.at += n_braces,
        }

        while n_braces >= 2 {
            let kind = if n_braces == 3 { Kind::Parameter } else { Kind::Template };
            self.enter(kind);
            n_braces -= if kind == Kind::Parameter { 3 } else { 2 };
        }
    }

    pub(super) fn close_brace(&mut self) {
        if self.peek(1) == Some(b'-')
            && self.is_open(Kind::Variants)
            && self.top_bracket() == Some(Kind::Variants)
        {
            return self.close_variants();
        }

        let mut n_braces = self.run_of(b'}');
        if n_braces == 1 {
            return self.literal(1);
        }
        self.at += n_braces;

        while n_braces >= 2 {
            if !self.is_open(Kind::Template) && !self.is_open(Kind::Parameter) {
                return;
            }
            while !matches!(self.top(), Some(Kind::Template | Kind::Parameter)) {
                self.leave_until_below();
            }
            let is_parameter = self.top() == Some(Kind::Parameter) && n_braces >= 3;
            n_braces -= if is_parameter { 3 } else { 2 };
            self.close_template(is_parameter);

            if n_braces == 2 && self.peek(0) == Some(b'-') && self.top() == Some(Kind::Variants) {
                return;
            }
        }

        if n_braces == 1 && self.peek(0) == Some(b'-') && self.top() == Some(Kind::Variants) {
            self.at -= 1;
            self.close_variants();
        }
    }

    /// The innermost open piece that a `}` can belong to.
    fn top_bracket(&self) -> Option<Kind> {
        self.open
            .iter()
            .rev()
            .take(MAX_DEPTH)
            .map(|open| open.kind)
            .find(|kind| !matches!(kind, Kind::Link | Kind::External))
    }

    fn close_template(&mut self, is_parameter: bool) {
        let Some((open, pipe)) = self.exit() else { return };
        if open.has_heading {
            return self.leave(&open);
        }
        let content = &self.out[open.start..];
        let shown = if self.open.len() > MAX_DEPTH {
            Shown::Nothing
        } else if is_parameter {
            pipe.map_or(Shown::Nothing, |pipe| Shown::Text(content[pipe + 1..].to_owned()))
        } else {
            let parts =
                Parts { content, pipes: &self.pipes[open.pipes..], offset: open.start, at: 0 };
            let head = &content[..pipe.unwrap_or(content.len())];

            match name(head)
                .map(|name| call(head, &name, parts, self.site, &mut self.disambiguation))
            {
                Some(Shown::Unknown) => self.unknown(open.start, pipe),
                Some(shown) => shown,
                None => Shown::Nothing,
            }
        };

        self.pipes.truncate(open.pipes);
        self.cut(open.start);

        if let Shown::Text(shown) = shown {
            self.out.pop();
            self.out.push_str(&shown);
        }
    }

    /// Counts a template that nobody knows, whose content begins at `start` of the output, where it
    /// stands in a line of prose: there a hole is left.
    fn unknown(&mut self, start: usize, pipe: Option<usize>) -> Shown {
        let is_inside = |kind| self.is_open(kind);
        let is_prose = ![Kind::Template, Kind::Parameter, Kind::Table, Kind::HtmlTable]
            .into_iter()
            .any(is_inside);

        if is_prose
            && (ends_with_words(&self.out[..start]) || begins_with_words(&self.text[self.at..]))
        {
            let content = &self.out[start..];
            let name = name(&content[..pipe.unwrap_or(content.len())]).unwrap_or_default();
            *self.unknown.entry(name).or_default() += 1;
        }

        Shown::Nothing
    }

    pub(super) fn bracket(&mut self) {
        let n_brackets = self.run_of(b'[');
        // Of more than two brackets the first are text.
        self.literal(n_brackets.saturating_sub(2));

        if links::has_scheme(&self.text[self.at + n_brackets.min(2)..]) {
            self.at += n_brackets.min(2);
            self.enter(Kind::External);
        } else if n_brackets >= 2 {
            self.at += 2;
            self.enter(Kind::Link);
        } else {
            self.literal(1);
        }
    }

    pub(super) fn close_bracket(&mut self) {
        let is_double = self.peek(1) == Some(b']');
        if self.top() == Some(Kind::External) {
            self.at += 1;
            return self.close_external();
        }

        if !is_double {
            return self.literal(1);
        }
        self.at += 2;
        if self.top() == Some(Kind::Link) {
            self.close_link();
        }
    }

    fn close_external(&mut self) {
        let Some((open, _)) = self.exit() else { return };
        self.pipes.truncate(open.pipes);
        self.at += usize::from(open.is_doubled && self.peek(0) == Some(b']'));

        match links::external_label(&self.out[open.start..]) {
            Some(label) if self.open.len() <= MAX_DEPTH => {
                self.out.replace_range(open.start..open.start + label, "")
            }
            Some(_) => {}
            None => self.cut(open.start),
        }
    }

    fn close_link(&mut self) {
        let Some((open, pipe)) = self.exit() else { return };
        self.pipes.truncate(open.pipes);
        if self.open.len() > MAX_DEPTH {
            return;
        }

        match links::internal(&self.out[open.start..], pipe, self.site) {
            links::Shown::Nothing => self.cut(open.start),
            links::Shown::From(label) => self.out.replace_range(open.start..open.start + label, ""),
            links::Shown::Text(text)
                if open.start + text.len() == self.out.len() && !text.contains('_') => {}
            links::Shown::Text(text) => {
                let text = text.replace('_', " ");
                self.out.truncate(open.start);
                self.out.push_str(&text);
            }
            links::Shown::All => {}
        }
    }

    pub(super) fn dash(&mut self) {
        let opens = self.has_variants
            && self.peek(1) == Some(b'{')
            && (self.peek(2) != Some(b'{') || self.peek(3) == Some(b'{'));
        if opens {
            self.at += 2;
            self.enter(Kind::Variants);
        } else {
            self.literal(1);
        }
    }

    fn close_variants(&mut self) {
        self.leave_until(Kind::Variants);
        self.at += 2;
        let Some((open, pipe)) = self.exit() else { return };
        self.pipes.truncate(open.pipes);

        if self.open.len() > MAX_DEPTH {
            return self.cut(open.start);
        }
        let shown = variants::shown(&self.out[open.start..], pipe).to_owned();
        self.cut(open.start);

        if !shown.is_empty() {
            self.out.pop();
            self.out.push_str(&shown);
        }
    }
}

/// The arguments of a call: its content between the places of `|`.
struct Parts<'t> {
    content: &'t str,
    pipes: &'t [usize],
    offset: usize,
    at: usize,
}

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let start = self.pipes.get(self.at)? - self.offset + 1;
        self.at += 1;
        let end = self.pipes.get(self.at).map_or(self.content.len(), |place| place - self.offset);
        self.content.get(start..end)
    }
}

/// How far a line is looked at for words beside a template.
const BESIDE_BYTES: usize = 300;

/// Whether words stand on the line that a text ends with.
fn ends_with_words(text: &str) -> bool {
    let near = &text[text.floor_char_boundary(text.len().saturating_sub(BESIDE_BYTES))..];
    near.rsplit('\n').next().is_some_and(|line| line.contains(char::is_alphanumeric))
}

/// Whether words stand on the line that a text begins with, outside of further templates.
fn begins_with_words(text: &str) -> bool {
    let near = &text[..text.floor_char_boundary(BESIDE_BYTES)];
    let mut depth = 0_usize;

    for c in near.chars().take_while(|c| *c != '\n') {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '<' if depth == 0 => return false,
            _ if depth == 0 && c.is_alphanumeric() => return true,
            _ => {}
        }
    }

    false
}

/// The name that a call begins with, in lower case with spaces; `None` where it is too long to be
/// one.
fn name(head: &str) -> Option<String> {
    let name = (head.len() <= MAX_NAME_BYTES)
        .then(|| head.trim_matches(|c: char| c.is_whitespace() || c == GAP))?;
    let name = name.replace('_', " ").to_lowercase();
    let plain = ["subst:", "safesubst:", "template:", "msg:"]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    Some(match plain {
        Some(plain) => plain.trim().to_owned(),
        None => name,
    })
}

/// Longest name of a template, in bytes.
const MAX_NAME_BYTES: usize = 120;

/// What the call `{{head|parts…}}` shows.
fn call(head: &str, name: &str, parts: Parts, site: &Site, disambiguation: &mut bool) -> Shown {
    if let Some((function, first)) = head.split_once(':') {
        // Functions that only change how a word or number is written.
        let function = function.trim().to_lowercase();
        if matches!(function.as_str(), "lc" | "uc" | "lcfirst" | "ucfirst" | "formatnum") {
            return Shown::Text(first.trim().to_owned());
        }
    }

    if disambiguation::is_template(name) {
        *disambiguation = true;
        return Shown::Nothing;
    }
    templates::shown(name, parts, site)
}
