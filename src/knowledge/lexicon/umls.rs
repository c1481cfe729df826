//! `umls`: the rich release format of UMLS: `MRCONSO.RRF` (names), `MRREL.RRF` (relations) and
//! `MRSTY.RRF` (semantic types), under the user's own licence.
//!
//! Files of one release are read together: names make concepts of their CUIs, the others say more
//! of them. The preferred name is the one that UMLS prefers in English (`TS` P, `STT` PF, `ISPREF`
//! Y), else the first; suppressed names are counted and left out. Main headings of MeSH and terms
//! of DrugBank, HPO and GO are cross-references. `REL` tells how the second concept stands to the
//! first; `RELA` names it. Columns: NLM, UMLS Reference Manual, chapter 3.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use super::open::unreadable;
use super::{Concept, Entry, Found, Link, Reader};
use crate::error::{Error, Result};

/// Reader of UMLS files.
pub(super) struct Umls;

/// What a file holds, by how many columns its lines have; each ends with a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Names,
    Relations,
    Types,
}

/// Sources and types of terms that are cross-references to vocabularies which kpipe reads.
static REFERENCES: &[(&str, &[&str])] =
    &[("MSH", &["MH", "NM"]), ("DRUGBANK", &["IN"]), ("HPO", &["PT"]), ("GO", &["PT"])];

fn is_cui(text: &str) -> bool {
    text.len() == 8 && text.starts_with('C') && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

fn holds(line: &str) -> Option<Holds> {
    let columns: Vec<&str> = line.trim_end().split('|').collect();
    match columns.len() {
        _ if !is_cui(columns[0]) => None,
        19 => Some(Holds::Names),
        17 => Some(Holds::Relations),
        7 => Some(Holds::Types),
        _ => None,
    }
}

impl Reader for Umls {
    fn name(&self) -> &'static str {
        "umls"
    }

    fn about(&self) -> &'static str {
        "UMLS in rich release format (MRCONSO.RRF, MRREL.RRF, MRSTY.RRF)"
    }

    fn recognises(&self, head: &str) -> bool {
        head.lines().next().and_then(holds).is_some()
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let mut lines = Lines { input, file, line: String::new() };
        let Some(holds) = lines.next()?.and_then(holds) else {
            return Err(Error::data(format!("`{}` is no file of UMLS", file.display()))
                .at("line 1")
                .hint("give MRCONSO.RRF, MRREL.RRF or MRSTY.RRF of a release"));
        };
        let (mut name, mut names) = (Names::default(), HashMap::new());
        loop {
            let columns: Vec<&str> = lines.line.trim_end().split('|').collect();
            match holds {
                _ if !is_cui(columns[0]) => found.refuse("malformed"),
                Holds::Names if columns.len() == 19 => name.add(&columns, found),
                Holds::Relations if columns.len() == 17 => relation(&columns, &mut names, found),
                Holds::Types if columns.len() == 7 => found.kind(columns[0], columns[3]),
                _ => found.refuse("malformed"),
            }
            if found.is_full() || lines.next()?.is_none() {
                break;
            }
        }
        name.end(found);
        Ok(())
    }
}

/// The lines of a file, one at a time: relations of a release are 60 million.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    file: &'a Path,
    line: String,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<&str>> {
        self.line.clear();
        let n = self.input.read_line(&mut self.line);
        match n.map_err(|cause| unreadable(self.file, &cause))? {
            0 => Ok(None),
            _ => Ok(Some(&self.line)),
        }
    }
}

/// The names of a concept, which stand behind one another.
#[derive(Default)]
struct Names {
    concept: Concept,
    is_preferred: bool,
}

impl Names {
    fn add(&mut self, columns: &[&str], found: &mut Found) {
        let (cui, language, name) = (columns[0], columns[1], columns[14]);
        let (source, kind, code, suppressed) = (columns[11], columns[12], columns[13], columns[16]);
        if self.concept.id != cui {
            self.end(found);
            self.concept.id = cui.to_string();
        }
        if matches!(suppressed, "O" | "E" | "Y") {
            found.refuse("suppressed");
            return;
        }

        let preferred = (columns[2], columns[4], columns[6]) == ("P", "PF", "Y");
        if preferred && language == "ENG" && !self.is_preferred {
            let before = std::mem::replace(&mut self.concept.name, name.to_string());
            self.concept.synonyms.extend(Some(before).filter(|before| !before.is_empty()));
            self.is_preferred = true;
        } else if self.concept.name.is_empty() {
            self.concept.name = name.to_string();
        } else {
            self.concept.synonyms.push(name.to_string());
        }
        if REFERENCES.iter().any(|(of, kinds)| *of == source && kinds.contains(&kind)) {
            self.concept.links.push(Link::same(code));
        }
    }

    fn end(&mut self, found: &mut Found) {
        let Names { concept, .. } = std::mem::take(self);
        if !concept.id.is_empty() {
            found.push(Entry { concept, ..Entry::default() });
        }
    }
}

/// A line of relations: the second concept is `REL` to the first.
fn relation(columns: &[&str], names: &mut HashMap<String, Arc<str>>, found: &mut Found) {
    let (first, rel, second, rela, suppressed) =
        (columns[0], columns[3], columns[4], columns[7], columns[14]);
    if !is_cui(second) {
        return found.refuse("malformed");
    }
    if matches!(suppressed, "O" | "E" | "Y") {
        return found.refuse("suppressed");
    }
    match rel {
        "PAR" | "RB" => found.link(first, Link::parent(second)),
        "CHD" | "RN" => found.link(second, Link::parent(first)),
        "RO" | "RQ" | "RL" => {
            let name = names.entry(rela.to_string()).or_insert_with(|| rela.into()).clone();
            found.link(second, Link { name, ..Link::related(first) });
        }
        // Siblings follow from parents; the rest is about terms and qualifiers.
        _ => found.refuse("other_relation"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
    use super::*;

    fn read(found: &mut Found, text: &str) {
        assert!(Umls.recognises(text));
        Umls.read(&mut text.as_bytes(), Path::new("MR.RRF"), found).unwrap();
    }

    #[test]
    fn names_relations_and_types_of_a_release_are_one_lexicon() {
        let mut found = Found::default();
        read(
            &mut found,
            "C0000001|ENG|S|L1|PF|S1|Y|A1||M1|D1|MSH|ET|D1|Sugar sickness|0|N|256|\n\
             C0000001|ENG|P|L2|PF|S2|Y|A2||M1|D1|MSH|MH|D1|Diabetes|0|N|256|\n\
             C0000001|FRE|P|L3|PF|S3|Y|A3||||MSHFRE|MH|D1|Diabete sucre|3|N||\n\
             C0000001|ENG|S|L4|PF|S4|Y|A4||||X|OP|1|Old name|0|O||\n\
             C0000002|ENG|P|L5|PF|S5|Y|A5||||DRUGBANK|IN|DB1|Metformin|0|N||\n\
             C0000003|ENG|P|L6|PF|S6|Y|A6||||X|PT|3|Disease|0|N||\nbroken\n",
        );
        read(
            &mut found,
            "C0000001|A2|AUI|PAR|C0000003|A6|AUI||R1||MSH|MSH|||N||\n\
             C0000003|A6|AUI|CHD|C0000001|A2|AUI||R2||MSH|MSH|||N||\n\
             C0000001|A2|AUI|RO|C0000002|A5|AUI|may_treat|R3||X|X|||N||\n\
             C0000001|A2|AUI|SIB|C0000002|A5|AUI||R4||X|X|||N||\n",
        );
        read(&mut found, "C0000002|T121|A1.4.1.1.1|Pharmacologic Substance|AT1||\n");
        let counts = ["suppressed", "malformed", "other_relation"].map(|one| found.refused[one]);
        assert_eq!(counts, [1, 1, 1]);

        let lexicon = Lexicon::with_facts(found.entries, found.facts);
        let diabetes = &lexicon.concepts[0];
        assert_eq!(diabetes.name, "Diabetes");
        assert_eq!(diabetes.synonyms, ["Sugar sickness", "Diabete sucre"]);
        assert_eq!(lexicon.parents(0), [2]);
        let named: Vec<(&str, u32)> =
            lexicon.links(1).map(|(link, to)| (link.name.as_ref(), to)).collect();
        assert_eq!(named, [("may_treat", 0)], "metformin may treat diabetes");
        assert_eq!(lexicon.concepts[1].kind, "Pharmacologic Substance");
    }

    #[test]
    fn other_tables_are_none() {
        assert!(!Umls.recognises("C1|ENG|x|\n") && !Umls.recognises("C0000001\tdiabetes\n"));
    }
}
