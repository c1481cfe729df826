//! Braces and brackets: templates, links, language variants.

use super::{Kind, Scanner};
use crate::ingest::wikitext::{GAP, MAX_DEPTH, Site, disambiguation, links, templates, variants};

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
        if self.peek(1) == Some(b'-') && self.is_open(Kind::Variants) && self.top_bracket() == Some(Kind::Variants) {
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
            None
        } else if is_parameter {
            pipe.map(|pipe| content[pipe + 1..].to_owned())
        } else {
            let parts = Parts { content, pipes: &self.pipes[open.pipes..], offset: open.start, at: 0 };
            call(&content[..pipe.unwrap_or(content.len())], parts, self.site, &mut self.disambiguation)
        };
        self.pipes.truncate(open.pipes);
        self.cut(open.start);
        if let Some(shown) = shown {
            self.out.pop();
            self.out.push_str(&shown);
        }
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
            Some(label) if self.open.len() <= MAX_DEPTH => self.out.replace_range(open.start..open.start + label, ""),
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
            links::Shown::Text(text) if open.start + text.len() == self.out.len() && !text.contains('_') => {}
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

/// What the call `{{head|parts…}}` shows; `None` when it is dropped.
fn call(head: &str, parts: Parts, site: &Site, disambiguation: &mut bool) -> Option<String> {
    if head.len() > 120 {
        return None;
    }
    let name = head.trim_matches(|c: char| c.is_whitespace() || c == GAP).replace('_', " ").to_lowercase();
    let name = ["subst:", "safesubst:", "template:", "msg:"]
        .iter()
        .find_map(|start| name.strip_prefix(start))
        .unwrap_or(&name);
    if let Some((function, first)) = head.split_once(':') {
        // Functions that only change how a word or number is written.
        let function = function.trim().to_lowercase();
        if matches!(function.as_str(), "lc" | "uc" | "lcfirst" | "ucfirst" | "formatnum") {
            return Some(first.trim().to_owned());
        }
    }
    *disambiguation |= disambiguation::is_template(name);
    templates::shown(name, parts, site)
}
