//! The patterns of the tables: what a template shows, with places for its arguments.
//!
//! | | |
//! |---|---|
//! | `{1}` `{name}` | an unnamed argument, counted from 1; a named one |
//! | `{text/lt/1}` `{2/'e'}` | the first of these that is filled; text in quotes always is |
//! | `{last}` `{all:, }` `{2..:, }` | the last filled one; all, or from the second on, so joined |
//! | `{title}` `{code}` | the page's title; the rest of a name that stands in `[prefixes]` |
//! | `{month 2}` `{language code}` `{unit 2}` | a month by number; a language, a unit by code |
//! | `{country 1}` | a country by a code that has a template of its own |
//! | `{raised 1}` `{lowered 1}` `{overlined 1}` | by the rule of [`numbers`] |
//! | `[…]` | left out unless every place directly inside is filled; `\[` and `\]` are brackets |

use super::Wiki;
use super::words::{Arguments, unit};
use crate::ingest::numbers;

/// Writes a pattern; `None` where it has places outside of brackets and none at all is filled.
pub(super) fn write(
    pattern: &str,
    arguments: &Arguments,
    code: &str,
    wiki: Wiki<'_>,
) -> Option<String> {
    let mut writer =
        Writer { arguments, code, wiki, rest: pattern, any: false, depth: 0, needs_any: false };
    let (text, is_whole) = writer.sequence();
    if writer.needs_any && !writer.any {
        return None;
    }
    // Where a place in the middle is empty, the space before it has nothing to part.
    Some(if is_whole { text } else { text.trim().to_owned() })
}

/// Whether the brackets of a pattern are closed and its places can be read.
#[cfg(test)]
pub(super) fn is_whole(pattern: &str) -> bool {
    let plain = pattern.replace("\\[", "").replace("\\]", "");
    let count = |sign: char| plain.chars().filter(|c| *c == sign).count();
    count('[') == count(']') && count('{') == count('}')
}

struct Writer<'p, 'a, 't> {
    arguments: &'a Arguments<'t>,
    code: &'a str,
    wiki: Wiki<'a>,
    rest: &'p str,
    /// Whether any place was filled.
    any: bool,
    /// How many brackets are open.
    depth: usize,
    /// Whether a place stands outside of them.
    needs_any: bool,
}

impl Writer<'_, '_, '_> {
    /// Writes up to the end or the bracket that closes; whether every place directly inside was
    /// filled.
    fn sequence(&mut self) -> (String, bool) {
        let (mut text, mut is_whole) = (String::new(), true);
        while let Some(c) = self.rest.chars().next() {
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '\\' => {
                    let literal = self.rest.chars().next();
                    text.extend(literal);
                    self.rest = &self.rest[literal.map_or(0, char::len_utf8)..];
                }
                '[' => {
                    self.depth += 1;
                    let (inside, is_filled) = self.sequence();
                    self.depth -= 1;
                    if is_filled {
                        text.push_str(&inside);
                    }
                }

                ']' => return (text, is_whole),
                '{' => {
                    let (place, rest) = self.rest.split_once('}').unwrap_or((self.rest, ""));
                    self.rest = rest;
                    self.needs_any |= self.depth == 0;

                    match self.place(place).filter(|value| !value.is_empty()) {
                        Some(value) => {
                            self.any |= !place.contains('\'');
                            text.push_str(&value);
                        }
                        None => is_whole = false,
                    }
                }
                c => text.push(c),
            }
        }
        (text, is_whole)
    }

    fn place(&self, place: &str) -> Option<String> {
        if let Some(between) = place.strip_prefix("all:") {
            return Some(self.arguments.filled(1).join(between));
        }
        if let Some((from, between)) = place.split_once("..:") {
            return Some(self.arguments.filled(from.parse().ok()?).join(between));
        }
        let (form, names) = match place.split_once(' ') {
            Some((form, names)) if !form.contains('/') => (form, names),
            _ => ("", place),
        };
        let value =
            names.split('/').map(|name| self.value(name)).find(|value| !value.is_empty())?;
        Some(match form {
            "month" => self.wiki.month(value).to_owned(),
            "language" => self.wiki.language_name(value)?.to_owned(),
            "unit" => unit(value),
            "country" => self.wiki.country(value).unwrap_or(value).to_owned(),
            "upper" => value.to_uppercase(),
            "lower" => value.to_lowercase(),
            "raised" => numbers::raise(value),
            "lowered" => numbers::lower(value),
            "overlined" => numbers::overline(value),
            _ => value.to_owned(),
        })
    }

    fn value<'v>(&'v self, name: &'v str) -> &'v str {
        if let Some(literal) = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')) {
            return literal;
        }
        match (name, name.parse::<usize>()) {
            (_, Ok(place)) => self.arguments.get(place),
            ("last", _) => self.arguments.last(),
            ("title", _) => self.wiki.title,
            ("code", _) => self.code,
            (name, _) => self.arguments.named(&[name]).unwrap_or(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_optional_parts_left_out() {
        let wiki = Wiki { language: "fr", title: "Tin" };
        let check = |pattern: &str, parts: &str, expected: Option<&str>| {
            let arguments = Arguments::new(parts.split('|'));
            assert_eq!(
                write(pattern, &arguments, "de", wiki).as_deref(),
                expected,
                "{pattern} {parts}"
            );
        };

        check("{1}[ ({2}[, {3}])]", "a|b|c", Some("a (b, c)"));
        check("{1}[ ({2}[, {3}])]", "a|b", Some("a (b)"));
        check("{1}[ ({2}[, {3}])]", "a", Some("a"));
        check("{1}[ {2}]", "", None);
        check("{1} {2}", "a", Some("a"));
        check("{1}{2/'e'} siècle", "XII", Some("XIIe siècle"));
        check("{1}{2/'e'} siècle", "", None);
        check("{text/lt/1}", "a|lt=b", Some("b"));
        check("{1} {month 2} {3}", "14|7|1903", Some("14 juillet 1903"));
        check("{all:, }", "a||b", Some("a, b"));
        check("{2..:/}", "a|b|c", Some("b/c"));
        check("\\[{1}\\] {code} {title}", "a", Some("[a] de Tin"));
        check("HMS {1}", "x=1", None);
        check("c.[ {1}]", "", Some("c."));
        check(" – ", "", Some(" – "));
    }
}
