//! Which facts of the knowledge graph are told: links between concepts that documents mention.
//!
//! In the order of a draw, each concept's relations in turn: a concept that is linked with
//! thousands, such as "neoplasms", has [`Params::per_concept`] of them, and not all of one kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::Params;
use super::corpus::{Corpus, Language};
use super::wording::Kit;
use crate::draw;
use crate::knowledge::lexicon::{Lexicon, Relation};
use crate::rewrite::asked::Asked;

/// What the knowledge graph says of two concepts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact<'a> {
    pub(super) head: u32,
    /// As the file calls it.
    pub(super) relation: &'a str,
    pub(super) tail: u32,
    /// The language that it is told in.
    pub(super) language: Language,
    /// Number of the file that says it.
    pub(super) file: u16,
}

/// What became of the links of the lexicon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Books {
    /// Those between concepts that training documents mention; one that stands in both directions
    /// is one.
    pub linked: u64,
    /// Those that are told.
    pub told: u64,
    /// Those held out (`facts.held_out`).
    pub held_out: u64,
    /// Those that probes ask.
    pub asked: u64,
    /// Those of which a concept has no name that means it alone, in the language of its documents.
    pub unnamed: u64,
    /// Those of a concept that has as many as it may.
    pub of_hubs: u64,
    /// Those that `facts.share` has no room for.
    pub too_many: u64,
    /// Those that are told, by relation.
    pub by_relation: BTreeMap<String, u64>,
    /// Tokens that they come to at most, in all exposures.
    pub tokens: u64,
}

/// What is in no fact and no passage.
pub(super) struct HeldOut<'a> {
    pub(super) params: &'a Params,
    pub(super) asked: &'a Asked,
    pub(super) lexicon: &'a Lexicon,
    pub(super) seed: u64,
}

impl HeldOut<'_> {
    /// Whether a pair is held out: a function of both ids, whichever stands first and whatever
    /// links them, so that no other relation gives it away.
    pub(super) fn draws(&self, a: u32, b: u32) -> bool {
        let id = |one: u32| self.lexicon.concepts[one as usize].id.as_str();
        let (first, second) = (id(a).min(id(b)), id(a).max(id(b)));
        draw::unit(self.seed, "held-out pair", format!("{first}\n{second}").as_bytes())
            < self.params.held_out
    }

    /// Whether no text made here may tell of a pair: probes ask it, or it is linked and held out.
    pub(super) fn keeps_back(&self, [a, b]: [u32; 2]) -> bool {
        self.is_asked(a, b) || self.draws(a, b) && self.lexicon.linked(a, b)
    }

    /// Whether probes ask one of a pair by the other.
    pub(super) fn is_asked(&self, a: u32, b: u32) -> bool {
        self.asked.asks_pair(a as usize, b as usize)
    }
}

/// Facts that are told, those held out, and what became of all.
#[derive(Default)]
pub(super) struct Chosen<'a> {
    /// In the order in which they were chosen.
    pub(super) told: Vec<Fact<'a>>,
    /// In the order of the lexicon.
    pub(super) held_out: Vec<Fact<'a>>,
    pub(super) books: Books,
}

/// Chooses the facts that are told.
pub(super) fn choose<'a>(corpus: &Corpus, out: &HeldOut<'a>, kit: &Kit<'_>) -> Chosen<'a> {
    let (params, lexicon) = (out.params, out.lexicon);
    let mut chosen = Chosen::default();
    let linked = linked(corpus, out, &mut chosen);
    // What is held out is held out of passages, too.
    if params.share <= 0.0 {
        return chosen;
    }
    let Chosen { told: facts, held_out: _, books } = &mut chosen;
    let mut room = (params.share * corpus.domain_tokens as f64) as u64;
    let mut told: HashMap<u32, u32> = HashMap::new();

    for fact in in_turn(linked, lexicon, out.seed) {
        let is_full = |one: &u32| told.get(one).is_some_and(|n| *n >= params.per_concept);
        if is_full(&fact.head) || is_full(&fact.tail) {
            books.of_hubs += 1;
            continue;
        }
        let Some(tokens) = kit.most_tokens(&fact) else {
            books.unnamed += 1;
            continue;
        };
        let tokens = tokens * u64::from(params.exposures);
        if tokens > room {
            books.too_many += 1;
            continue;
        }

        room -= tokens;
        books.tokens += tokens;
        books.told += 1;
        *books.by_relation.entry(fact.relation.to_string()).or_default() += 1;
        [fact.head, fact.tail].into_iter().for_each(|one| *told.entry(one).or_default() += 1);
        facts.push(fact);
    }
    chosen
}

/// The links between concepts that documents mention, without those held out or asked.
fn linked<'a>(corpus: &Corpus, out: &HeldOut<'a>, chosen: &mut Chosen<'a>) -> Vec<Fact<'a>> {
    let is_told = |one: u32| corpus.concepts[one as usize].documents > 0;
    let mut seen: BTreeSet<(u32, u32, &str)> = BTreeSet::new();
    let mut facts = Vec::new();

    for head in (0..out.lexicon.concepts.len() as u32).filter(|head| is_told(*head)) {
        for (link, tail) in out.lexicon.links(head) {
            if link.relation == Relation::Same || tail == head || !is_told(tail) {
                continue;
            }
            let relation: &str = &link.name;
            // "A resembles B" and "B resembles A" are one.
            if seen.contains(&(tail, head, relation)) || !seen.insert((head, tail, relation)) {
                continue;
            }
            let language = corpus.language(head);
            let fact = Fact { head, relation, tail, language, file: link.file };
            let books = &mut chosen.books;
            books.linked += 1;
            if out.is_asked(head, tail) {
                books.asked += 1;
            } else if out.draws(head, tail) {
                books.held_out += 1;
                chosen.held_out.push(fact);
            } else {
                facts.push(fact);
            }
        }
    }
    facts
}

/// Facts in the order of a draw, but the second of a concept's relation behind the first of all.
fn in_turn<'a>(facts: Vec<Fact<'a>>, lexicon: &Lexicon, seed: u64) -> Vec<Fact<'a>> {
    let drawn = |fact: &Fact| {
        let id = |one: u32| lexicon.concepts[one as usize].id.as_str();
        let key = format!("{}\n{}\n{}", id(fact.head), fact.relation, id(fact.tail));
        draw::unit(seed, "fact", key.as_bytes()).to_bits()
    };
    let mut drawn: Vec<(u64, Fact)> = facts.into_iter().map(|fact| (drawn(&fact), fact)).collect();
    drawn.sort_by_key(|(drawn, fact)| (*drawn, fact.head, fact.tail));

    let mut before: HashMap<(u32, bool, &str), u32> = HashMap::new();
    let mut ranked: Vec<(u32, Fact)> = Vec::with_capacity(drawn.len());
    for (_, fact) in drawn {
        let mut next = |one: u32, is_head: bool| {
            let n = before.entry((one, is_head, fact.relation)).or_default();
            *n += 1;
            *n
        };
        ranked.push((next(fact.head, true).max(next(fact.tail, false)), fact));
    }
    // Stable: of one rank the order of the draw stays.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, fact)| fact).collect()
}
