//! `obo`: an ontology in OBO 1.2/1.4 (Disease Ontology, HPO, GO).
//!
//! `[Term]` stanzas become concepts; obsolete ones are counted and left out. The kind is the
//! namespace. EXACT, RELATED and NARROW synonyms are names; a BROAD one means more than the concept
//! and is counted and left out. `alt_id` is another id, `is_a` gives parents, `relationship` other
//! links by their names, `xref` the same concept elsewhere.

use std::io::BufRead;
use std::path::Path;

use super::same::own_id;
use super::{Entry, Found, Link, Reader, read_text};
use crate::error::Result;

/// Reader of OBO ontologies.
pub(super) struct Obo;

impl Reader for Obo {
    fn name(&self) -> &'static str {
        "obo"
    }

    fn about(&self) -> &'static str {
        "ontology in OBO format (doid.obo, hp.obo, go.obo)"
    }

    fn recognises(&self, head: &str) -> bool {
        head.starts_with("format-version:") || head.lines().any(|line| line.trim_end() == "[Term]")
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        let mut default_kind = String::new();
        let mut stanza: Option<Stanza> = None;

        for line in text.lines().map(str::trim_end) {
            if line.starts_with('[') {
                push(stanza.take(), found);
                stanza = (line == "[Term]").then(|| Stanza::new(&default_kind));
                continue;
            }

            let Some((tag, value)) = line.split_once(':') else { continue };
            match &mut stanza {
                Some(stanza) => stanza.tag(tag, value.trim(), found),
                None if tag == "default-namespace" => default_kind = value.trim().to_string(),
                None => {}
            }
        }

        push(stanza, found);
        Ok(())
    }
}

/// A `[Term]` stanza being put together.
struct Stanza {
    entry: Entry,
    obsolete: bool,
}

fn push(stanza: Option<Stanza>, found: &mut Found) {
    match stanza {
        Some(stanza) if stanza.obsolete => found.refuse("obsolete"),
        Some(stanza) => found.push(stanza.entry),
        None => {}
    }
}

impl Stanza {
    fn new(kind: &str) -> Self {
        let mut entry = Entry::default();
        entry.concept.kind = kind.to_string();
        Stanza { entry, obsolete: false }
    }

    fn tag(&mut self, tag: &str, value: &str, found: &mut Found) {
        let concept = &mut self.entry.concept;
        let bare = || value.split([' ', '{', '!']).next().unwrap_or("");

        match tag {
            "id" => concept.id = bare().to_string(),
            "alt_id" => concept.also.push(bare().to_string()),
            "name" => concept.name = unescape(value),
            "namespace" => concept.kind = value.to_string(),
            "is_a" => concept.links.push(Link::parent(bare())),
            "relationship" => {
                let mut words = value.split_whitespace();
                let name = words.next().unwrap_or("");
                concept.links.push(Link::named(name, words.next().unwrap_or("")));
            }
            "xref" => concept.links.push(Link::same(own_id(bare()))),
            "synonym" => match quoted(value) {
                Some((_, scope)) if scope.trim_start().starts_with("BROAD") => {
                    found.refuse("broad_synonym")
                }
                Some((name, scope)) => {
                    if !scope.trim_start().starts_with("EXACT") {
                        concept.inexact.push(name.clone());
                    }
                    concept.synonyms.push(name);
                }
                None => found.refuse("malformed"),
            },
            "is_obsolete" => self.obsolete = bare() == "true",
            _ => {}
        }
    }
}

/// The quoted string at the start of a value, and what follows it.
fn quoted(value: &str) -> Option<(String, &str)> {
    let inner = value.strip_prefix('"')?;
    let mut escaped = false;

    for (at, c) in inner.char_indices() {
        match c {
            '"' if !escaped => return Some((unescape(&inner[..at]), &inner[at + 1..])),
            _ => escaped = c == '\\' && !escaped,
        }
    }

    None
}

/// A value without OBO's backslashes (`\n` and `\W` are spaces).
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();

    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n' | 'W' | 't') => plain.push(' '),
                Some(other) => plain.push(other),
                None => {}
            },
            (c, false) => plain.push(c),
        }
    }

    plain
}

#[cfg(test)]
mod tests {
    use super::super::{Lexicon, Relation};
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Found {
        let mut found = Found::default();
        Obo.read(&mut text.as_bytes(), Path::new("x.obo"), &mut found).unwrap();
        found
    }

    #[test]
    fn terms_with_synonyms_and_links() {
        let text = "format-version: 1.2\ndefault-namespace: disease\n\n[Term]\nid: X:1\nname: \
                    heart disease\n\n\
                    [Term]\nid: X:2\nname: infarct \\(old\\)\nsynonym: \"dead \\\"muscle\\\"\" \
                    EXACT [a:b]\n\
                    synonym: \"illness\" BROAD []\nxref: MESH:D009203\nis_a: X:1 ! heart disease\n\
                    relationship: part_of X:30 ! heart\n\n[Term]\nid: X:3\nalt_id: X:30\nname: heart\nnamespace: \
                    organ\n\n\
                    [Term]\nid: X:4\nname: old\nis_obsolete: true\n\n[Typedef]\nid: part_of\nname: \
                    part of\n";
        assert!(Obo.recognises(text));
        let found = read(text);
        assert_eq!((found.refused["obsolete"], found.refused["broad_synonym"]), (1, 1));
        let lexicon = Lexicon::build(found.entries);
        assert_eq!(lexicon.concepts.len(), 3);
        let infarct = &lexicon.concepts[1];
        assert_eq!((infarct.name.as_str(), infarct.kind.as_str()), ("infarct (old)", "disease"));
        assert_eq!(infarct.synonyms, ["dead \"muscle\""]);
        assert_eq!(
            infarct.links.iter().find(|link| link.relation == Relation::Same).unwrap().to,
            "D009203"
        );
        assert!(lexicon.linked(1, 2) && lexicon.parents(1) == [0]);
        assert_eq!(lexicon.find("X:30"), Some(2));
        assert_eq!(lexicon.concepts[2].kind, "organ");
    }

    proptest! {
        #[test]
        fn no_stanza_makes_the_reader_panic(lines in "(\\[Term\\]\n|(id|name|synonym|is_a|xref|relationship): [\"\\\\ a中!{]{0,6}\n){0,12}") {
            read(&lines);
        }
    }
}
