//! The same thing in two vocabularies is one concept.
//!
//! Files say it by cross-references (`xref: MESH:D006394`), and those are looser than they look: an
//! ontology may refer several terms to one heading, or one term to several. Two concepts are joined
//! only where each is the other's one counterpart in its vocabulary (an exact match in the sense of
//! SSSOM, Matentzoglu et al. 2022); all other references stay links, which make no pair of the
//! graph. Concepts of one vocabulary are never joined, whatever leads from one to the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Relation};

/// Prefixes that vocabularies are referred to by, where their own files write ids in another way.
static PREFIXES: &[(&str, &str)] = &[
    ("MESH:", ""),
    ("MSH:", ""),
    ("MeSH:", ""),
    ("UMLS:", ""),
    ("UMLS_CUI:", ""),
    ("DRUGBANK:", ""),
    ("DrugBank:", ""),
    ("Drugbank:", ""),
    ("DO:", "DOID:"),
    ("HPO:", ""),
];

/// Length of a UMLS id, such as `C0011849`.
const UMLS_CHARS: usize = 8;

/// An id as the vocabulary's own files write it: `MESH:D006394` is `D006394`, `HPO:HP:0000118` is
/// `HP:0000118`.
pub(super) fn own_id(reference: &str) -> String {
    for (prefix, own) in PREFIXES {
        if let Some(rest) = reference.strip_prefix(prefix) {
            return format!("{own}{rest}");
        }
    }
    reference.to_string()
}

/// The vocabulary that an id is of: what stands before its colon, else its letters, such as `D` of
/// MeSH's descriptors or `DB` of DrugBank. UMLS and MeSH's supplement both have `C`, and other
/// lengths.
fn vocabulary(id: &str) -> &str {
    match id.split_once(':') {
        Some((prefix, _)) => prefix,
        None if id.starts_with('C') && id.len() == UMLS_CHARS => "UMLS",
        None => id.trim_end_matches(|c: char| c.is_ascii_digit()),
    }
}

/// Joins concepts of two vocabularies that are each other's one counterpart. Entries come and go in
/// id order.
pub(super) fn join(entries: Vec<Entry>) -> Vec<Entry> {
    let number: BTreeMap<&str, usize> =
        (0..).zip(&entries).map(|(nth, entry)| (entry.concept.id.as_str(), nth)).collect();
    let mut counterparts: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (from, entry) in entries.iter().enumerate() {
        for link in entry.concept.links.iter().filter(|link| link.relation == Relation::Same) {
            if let Some(to) = number.get(link.to.as_str()).filter(|to| **to != from) {
                counterparts.insert((from.min(*to), from.max(*to)));
            }
        }
    }
    if counterparts.is_empty() {
        return entries;
    }

    let of = |nth: usize| vocabulary(&entries[nth].concept.id);
    let mut partners: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for (a, b) in &counterparts {
        *partners.entry((*a, of(*b))).or_default() += 1;
        *partners.entry((*b, of(*a))).or_default() += 1;
    }
    let is_only =
        |one: usize, other: usize| of(one) != of(other) && partners[&(one, of(other))] == 1;

    // Whom each concept is one with: the least of them.
    let mut whole: Vec<usize> = (0..entries.len()).collect();
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (a, b) in &counterparts {
        if !is_only(*a, *b) || !is_only(*b, *a) {
            continue;
        }
        let (one, other) = (whole[*a].min(whole[*b]), whole[*a].max(whole[*b]));
        let own = |nth: usize| members.get(&nth).cloned().unwrap_or_else(|| vec![nth]);
        let (ours, theirs) = (own(one), own(other));
        let has_both = ours.iter().any(|ours| theirs.iter().any(|theirs| of(*ours) == of(*theirs)));
        if one == other || has_both {
            continue;
        }
        theirs.iter().for_each(|nth| whole[*nth] = one);
        members.remove(&other);
        members.insert(one, [ours, theirs].concat());
    }
    let ids: BTreeMap<String, String> = (0..)
        .zip(&whole)
        .filter(|(nth, one)| nth != *one)
        .map(|(nth, one): (usize, &usize)| {
            (entries[nth].concept.id.clone(), entries[*one].concept.id.clone())
        })
        .collect();
    merged(entries, &whole, &ids)
}

/// Entries with those that are one put together, and links to where these are now.
fn merged(entries: Vec<Entry>, whole: &[usize], ids: &BTreeMap<String, String>) -> Vec<Entry> {
    let mut all: Vec<Option<Entry>> = Vec::with_capacity(entries.len());
    for (nth, entry) in entries.into_iter().enumerate() {
        match all.get_mut(whole[nth]).and_then(Option::as_mut) {
            Some(one) => {
                one.concept.also.push(entry.concept.id.clone());
                one.concept.absorb(entry.concept);
                all.push(None);
            }
            None => all.push(Some(entry)),
        }
    }
    let mut all: Vec<Entry> = all.into_iter().flatten().collect();
    for entry in &mut all {
        for link in &mut entry.concept.links {
            if let Some(id) = ids.get(&link.to) {
                link.to.clone_from(id);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::{Concept, Lexicon, Link};
    use super::*;

    fn entry(id: &str, name: &str, same: &[&str]) -> Entry {
        let links = same.iter().map(|to| Link::same(own_id(to))).collect();
        let (id, name) = (id.to_string(), name.to_string());
        Entry { concept: Concept { id, name, links, ..Concept::default() }, ..Entry::default() }
    }

    #[test]
    fn one_thing_of_three_vocabularies_is_one_concept() {
        let mut diabetes = entry("DOID:9351", "diabetes mellitus", &["MESH:D003920", "DO:9351"]);
        diabetes.concept.links.push(Link::parent("DOID:4"));
        let mut drug = entry("DB00331", "metformin", &[]);
        drug.concept.links.push(Link::named("treats", "DOID:9351"));
        let lexicon = Lexicon::build(vec![
            diabetes,
            drug,
            entry("DOID:4", "disease", &[]),
            entry("D003920", "Diabetes Mellitus", &[]),
            entry("C0011849", "diabetes", &["MSH:D003920"]),
        ]);

        let ids: Vec<&str> = lexicon.concepts.iter().map(|one| one.id.as_str()).collect();
        assert_eq!((ids, lexicon.joined), (vec!["C0011849", "DB00331", "DOID:4"], 2));
        let one = &lexicon.concepts[0];
        assert_eq!(one.name, "diabetes");
        assert_eq!(one.synonyms, ["Diabetes Mellitus", "diabetes mellitus"]);
        assert_eq!(one.also, ["D003920", "DOID:9351"]);
        for id in ["C0011849", "D003920", "DOID:9351"] {
            assert_eq!(lexicon.find(id), Some(0), "{id}");
        }
        assert_eq!(lexicon.parents(0), [2]);
        assert!(lexicon.linked(0, 1), "a link to an id that is no longer the concept's own");
    }

    /// Two terms that refer to one heading are two things, and a heading that two terms are
    /// referred to by is neither.
    #[test]
    fn references_that_are_no_exact_match_join_nothing() {
        let lexicon = Lexicon::build(vec![
            entry("DOID:1", "a tumour of the eye", &["MESH:D1"]),
            entry("DOID:2", "a tumour of the lid", &["MESH:D1"]),
            entry("D1", "eye neoplasms", &[]),
            entry("HP:1", "fever", &["MESH:D2", "MESH:D3"]),
            entry("D2", "fever", &[]),
            entry("D3", "hyperthermia", &[]),
            entry("X:1", "one", &["X:2"]),
            entry("X:2", "two", &[]),
        ]);

        assert_eq!((lexicon.concepts.len(), lexicon.joined), (8, 0));
        assert!(!lexicon.linked(0, 1), "a reference is no pair of the graph");
    }

    /// What is one with a third does not make two of a vocabulary one.
    #[test]
    fn two_concepts_of_a_vocabulary_stay_two() {
        let lexicon = Lexicon::build(vec![
            entry("A:1", "a", &["B:1"]),
            entry("B:1", "b", &["C:1"]),
            entry("C:1", "c", &["A:2"]),
            entry("A:2", "d", &[]),
        ]);

        let ids: Vec<&str> = lexicon.concepts.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["A:1", "A:2"]);
        assert_eq!(lexicon.concepts.iter().map(|one| one.also.len()).sum::<usize>(), 2);
    }

    #[test]
    fn the_vocabulary_of_an_id() {
        for (id, of) in [
            ("D006394", "D"),
            ("DB00945", "DB"),
            ("C0011849", "UMLS"),
            ("C000000001", "C"),
            ("DOID:9351", "DOID"),
        ] {
            assert_eq!(vocabulary(id), of, "{id}");
        }
        assert_eq!(own_id("HPO:HP:0000118"), "HP:0000118");
        assert_eq!(own_id("NCI:C1"), "NCI:C1");
    }
}
