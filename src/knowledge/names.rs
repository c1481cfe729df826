//! Which names of a lexicon are looked for, in which spellings, and whose they are.
//!
//! - Shorter than `min_name_chars` letters and digits (`min_cjk_chars` for names with CJK
//!   characters), or without any letter: not looked for.
//! - On the stop list: not looked for. The embedded list (`ambiguous.txt`) holds everyday words
//!   that are also aliases; `stop` adds to it. An entry in lower case stops that word, one with
//!   capitals stops that acronym. `keep` overrides length and stop list.
//! - An acronym (at most `acronym_chars` characters, no space, at least two capitals: HIV, mRNA,
//!   IL-2) must stand in the text with exactly its capitals; every other name is found in any case.
//! - "Infarction, Myocardial" is also looked for as "Myocardial Infarction" (`turn_inverted`), a
//!   name of an alphabetic script also as others spell it and as an adjective (`spellings`), and in
//!   the other number (`plurals`). A hyphen is a space.
//! - A name of several concepts counts for the one that the text speaks for (see
//!   `context`); where it speaks for none, for the concept whose preferred name it is,
//!   before one that has it as a synonym, before one that has it only turned round or in another
//!   number, before one whose adjective it is; among equals for the first by id. The others are
//!   counted as ambiguous.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fold::{fold, plain};
use super::lexicon::{Concept, Lexicon};
use super::spelling;
use crate::text::words::is_cjk;

/// Everyday words that are also names: `word<TAB>reason`.
static AMBIGUOUS: &str = include_str!("ambiguous.txt");

/// Shortest name that gets a plural, in characters.
const PLURAL_CHARS: usize = 5;

/// What a spelling is to its concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Its preferred name.
    Name,
    /// Another name that the lexicon has.
    Synonym,
    /// A name turned round: "Infarction, Myocardial" as "Myocardial Infarction".
    Inverted,
    /// A name as others spell it.
    Spelling,
    /// A name in its other number.
    Number,
    /// The adjective of a name: "ischemic" of "ischemia".
    Adjective,
    /// What the text itself abbreviates.
    Abbreviation,
    /// One of several names that share a word.
    Coordination,
}

impl Rule {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Name => "name",
            Rule::Synonym => "synonym",
            Rule::Inverted => "inverted",
            Rule::Spelling => "spelling",
            Rule::Number => "number",
            Rule::Adjective => "adjective",
            Rule::Abbreviation => "abbreviation",
            Rule::Coordination => "coordination",
        }
    }

    /// Whether other names of the concept could stand in its place.
    pub fn is_exchangeable(self) -> bool {
        !matches!(self, Rule::Adjective | Rule::Coordination)
    }
}

/// A concept that a spelling may be of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Owner {
    /// Its number.
    pub(super) concept: u32,
    /// What the spelling is to it.
    pub(super) rule: Rule,
}

/// One spelling of a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    /// The folded spelling.
    pub(super) folded: String,
    /// The spelling with its case, for acronyms.
    pub(super) exact: Option<String>,
    /// Number of the concept it counts for without a text.
    pub(super) concept: u32,
    /// Others that have it, in the order in which it would count for them.
    pub(super) others: Vec<Owner>,
    /// What it is to the concept.
    pub(super) rule: Rule,
}

/// Which names are looked for; the keys of `[density]` with the same names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameRules {
    /// Shortest name in letters and digits, at least 1.
    pub min_name_chars: usize,
    /// The same for names with CJK characters, at least 1.
    pub min_cjk_chars: usize,
    /// Longest name that is an acronym where it has two capitals or more.
    pub acronym_chars: usize,
    /// Whether "Infarction, Myocardial" is also "Myocardial Infarction".
    pub turn_inverted: bool,
    /// Whether a name is also found in its plural or singular.
    pub plurals: bool,
    /// Whether a name is also found as others spell it: β for beta, anaemia for anemia, without the
    /// hyphen behind a prefix.
    pub spellings: bool,
    /// Names not looked for, beside the embedded list.
    pub stop: Vec<String>,
    /// Names looked for although they are short or stopped.
    pub keep: Vec<String>,
}

/// What became of the names of a lexicon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NameBooks {
    /// Names of all concepts as the lexicon has them.
    pub names: u64,
    /// Spellings that are looked for.
    pub spellings: u64,
    /// Names not looked for: too short, without a letter, on the stop list.
    pub left_out: BTreeMap<String, u64>,
    /// Spellings that several concepts share; each counts for one of them.
    pub ambiguous: u64,
}

/// The spellings to look for, in order of the folded form, acronyms first, and what was left out.
pub(super) fn spellings(lexicon: &Lexicon, rules: &NameRules) -> (Vec<Name>, NameBooks) {
    let stop = StopList::new(rules);
    let mut books = NameBooks::default();
    let mut ranked: Vec<(Name, u8)> = Vec::new();

    for (number, concept) in lexicon.concepts.iter().enumerate() {
        for (rank, name) in names(concept) {
            books.names += 1;
            let name = clean(name);

            if let Some(reason) = stop.reason(&name, rules) {
                *books.left_out.entry(reason.to_string()).or_default() += 1;
                continue;
            }

            for Variant { text, less, rule } in variants(&name, rules) {
                // A variant may itself be an everyday word.
                if less == 0 || stop.reason(&text, rules).is_none() {
                    let own = if rank == 0 { Rule::Name } else { Rule::Synonym };
                    let name = Name {
                        folded: fold(&text).text,
                        exact: is_acronym(&text, rules).then_some(text),
                        concept: number as u32,
                        others: Vec::new(),
                        rule: rule.unwrap_or(own),
                    };
                    ranked.push((name, rank + less));
                }
            }
        }
    }
    // `false` stands before `true`: acronyms first.
    ranked.sort_by(|(a, rank_a), (b, rank_b)| {
        (&a.folded, a.exact.is_none(), &a.exact, rank_a, a.concept).cmp(&(
            &b.folded,
            b.exact.is_none(),
            &b.exact,
            rank_b,
            b.concept,
        ))
    });

    let mut found: Vec<Name> = Vec::with_capacity(ranked.len());
    let mut other_owners = 0;

    for (name, _) in ranked {
        match found.last_mut() {
            Some(last) if last.folded == name.folded && last.exact == name.exact => {
                other_owners += u64::from(last.concept != name.concept);
                let Name { concept, rule, .. } = name;
                let is_known = last.others.iter().any(|other| other.concept == concept);
                if last.concept != concept && !is_known {
                    last.others.push(Owner { concept, rule });
                }
            }
            _ => found.push(name),
        }
    }

    books.ambiguous = other_owners;
    books.spellings = found.len() as u64;
    (found, books)
}

fn names(concept: &Concept) -> impl Iterator<Item = (u8, &str)> {
    let synonyms = concept.synonyms.iter().map(|synonym| (1, synonym.as_str()));
    std::iter::once((0, concept.name.as_str())).chain(synonyms)
}

/// The name with plain characters and single spaces.
fn clean(name: &str) -> String {
    let plain: String = name.chars().map(plain).collect();
    plain.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A short name with two capitals or more; a plural s does not count.
fn is_acronym(name: &str, rules: &NameRules) -> bool {
    let stem = name.strip_suffix('s').unwrap_or(name);
    stem.chars().count() <= rules.acronym_chars
        && !stem.contains(' ')
        && stem.chars().filter(|c| c.is_uppercase()).count() >= 2
}

/// A spelling of a name.
struct Variant {
    text: String,
    /// How much less it is the name itself.
    less: u8,
    /// Why it is looked for; nothing of the name itself.
    rule: Option<Rule>,
}

/// The name, and its other spellings.
fn variants(name: &str, rules: &NameRules) -> Vec<Variant> {
    let mut all = vec![Variant { text: name.to_string(), less: 0, rule: None }];
    if rules.turn_inverted
        && let Some((head, tail)) = name.split_once(", ")
        && !tail.contains(", ")
    {
        let text = format!("{tail} {head}");
        all.push(Variant { text, less: 2, rule: Some(Rule::Inverted) });
    }
    let mut add = |rule: Rule, other: &dyn Fn(&Variant) -> Vec<String>| {
        let of = |one: &Variant| {
            // An adjective is the last thing that a word may be.
            let less = one.less + if rule == Rule::Adjective { 6 } else { 2 };
            other(one).into_iter().map(move |text| Variant { text, less, rule: Some(rule) })
        };
        let new: Vec<Variant> = all.iter().flat_map(of).collect();
        all.extend(new);
    };

    if rules.spellings {
        add(Rule::Spelling, &|one| match is_acronym(name, rules) {
            true => spelling::numbered(&one.text).into_iter().collect(),
            false => spelling::others(&one.text),
        });
    }
    if rules.plurals {
        add(Rule::Number, &|one| other_number(&one.text, rules).into_iter().collect());
    }
    if rules.spellings {
        add(Rule::Adjective, &|one| match one.rule {
            Some(Rule::Number) => Vec::new(),
            _ => spelling::adjective(&one.text).into_iter().collect(),
        });
    }
    all
}

/// The plural of a singular or the singular of a plural, as far as the end of a word tells.
fn other_number(name: &str, rules: &NameRules) -> Option<String> {
    let last = name.chars().next_back()?;
    if is_acronym(name, rules) {
        return last.is_uppercase().then(|| format!("{name}s"));
    }
    if name.chars().count() < PLURAL_CHARS || !last.is_alphabetic() || is_cjk(last) {
        return None;
    }
    spelling::other_number(name)
}

/// Names that are not looked for.
struct StopList {
    words: BTreeSet<String>,
    acronyms: BTreeSet<String>,
    keep: BTreeSet<String>,
}

impl StopList {
    fn new(rules: &NameRules) -> Self {
        let embedded = AMBIGUOUS.lines().filter(|line| !line.starts_with('#'));
        let entries = embedded
            .filter_map(|line| line.split('\t').next())
            .chain(rules.stop.iter().map(String::as_str));
        let (mut words, mut acronyms) = (BTreeSet::new(), BTreeSet::new());

        for entry in entries.map(clean).filter(|entry| !entry.is_empty()) {
            if entry.chars().any(char::is_uppercase) {
                acronyms.insert(entry);
            } else {
                words.insert(entry);
            }
        }

        StopList {
            words,
            acronyms,
            keep: rules.keep.iter().map(|name| fold(&clean(name)).text).collect(),
        }
    }

    /// Why a cleaned name is not looked for.
    fn reason(&self, name: &str, rules: &NameRules) -> Option<&'static str> {
        let folded = fold(name).text;
        if self.keep.contains(&folded) {
            return None;
        }
        let shortest =
            if name.chars().any(is_cjk) { rules.min_cjk_chars } else { rules.min_name_chars };
        if name.chars().filter(|c| c.is_alphanumeric()).count() < shortest {
            return Some("too_short");
        }

        if !name.chars().any(char::is_alphabetic) {
            return Some("no_letter");
        }
        let stopped = if is_acronym(name, rules) {
            self.acronyms.contains(name)
        } else {
            self.words.contains(&folded)
        };
        stopped.then_some("stop_list")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::lexicon::Entry;
    use super::*;

    /// The defaults of `[density]`.
    pub(in crate::knowledge) fn rules() -> NameRules {
        NameRules {
            min_name_chars: 3,
            min_cjk_chars: 2,
            acronym_chars: 6,
            turn_inverted: true,
            plurals: true,
            spellings: true,
            stop: Vec::new(),
            keep: Vec::new(),
        }
    }

    fn lexicon(concepts: &[(&str, &str, &[&str])]) -> Lexicon {
        let entry = |(id, name, synonyms): &(&str, &str, &[&str])| Entry {
            concept: Concept {
                id: (*id).into(),
                name: (*name).into(),
                synonyms: synonyms.iter().map(|s| (*s).to_string()).collect(),
                ..Concept::default()
            },
            ..Entry::default()
        };
        Lexicon::build(concepts.iter().map(entry).collect())
    }

    fn check(name: &str, expected: &[&str]) {
        let (found, _) = spellings(&lexicon(&[("1", name, &[])]), &rules());
        let found: Vec<String> =
            found.into_iter().map(|name| name.exact.unwrap_or(name.folded)).collect();
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn spellings_of_a_name() {
        check(
            "Infarction,  Myocardial",
            &[
                "infarction, myocardial",
                "infarction, myocardials",
                "myocardial infarction",
                "myocardial infarctions",
            ],
        );
        check("Lung Neoplasms", &["lung neoplasm", "lung neoplasms"]);
        check("HIV", &["HIV", "HIVs"]);
        check("p53", &["p53"]);
        check("Diabetes insipidus", &["diabetes insipidus"]);
        check("阿司匹林", &["阿司匹林"]);
        check("ＩＬ‐2", &["IL-2", "IL2"]);
    }

    #[test]
    fn what_is_not_looked_for() {
        for name in ["Na", "肺", "2,000", "Was", "CAN"] {
            let mut set = rules();
            set.stop = vec!["CAN".into()];
            let (found, books) = spellings(&lexicon(&[("1", name, &[])]), &set);
            assert!(found.is_empty(), "{name}: {found:?}");
            assert_eq!(books.left_out.values().sum::<u64>(), 1);
            set.keep = vec![name.into()];
            assert!(!spellings(&lexicon(&[("1", name, &[])]), &set).0.is_empty());
        }
    }

    #[test]
    fn a_shared_name_counts_for_its_best_owner() {
        let (found, books) = spellings(
            &lexicon(&[
                ("A", "salicylates", &["aspirin"]),
                ("B", "Aspirin", &[]),
                ("C", "aspirin", &[]),
            ]),
            &rules(),
        );

        let aspirin = found.iter().find(|name| name.folded == "aspirin").unwrap();
        assert_eq!(
            (aspirin.concept, books.ambiguous),
            (1, 4),
            "aspirin and aspirins, each with two other owners"
        );
    }

    #[test]
    fn the_stop_list_gives_a_reason_for_every_word() {
        let mut words = BTreeSet::new();
        for line in AMBIGUOUS.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            assert_eq!(columns.len(), 2, "{line}");
            assert!(columns.iter().all(|column| !column.trim().is_empty()), "{line}");
            assert!(words.insert(columns[0]), "`{}` stands twice", columns[0]);
        }
    }
}
