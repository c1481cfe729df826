//! Facts of a concept as a text: a row for each time they are told.

use std::collections::BTreeMap;

use super::Params;
use super::corpus::{Corpus, Language};
use super::rows::Row;
use super::triples::Fact;
use super::wording::Kit;
use crate::draw;

/// Sentences of one row; a concept of which more is said has several.
const SENTENCES: usize = 16;

/// A fact about the concept of a sheet.
struct Said<'a> {
    fact: &'a Fact<'a>,
    /// Whether the concept is its head.
    is_forward: bool,
}

/// The facts as rows: each stands in the sheet of its head and, told the other way round, in that
/// of its tail, once an exposure. The exposures of a sheet are one family.
pub(super) fn write<'a>(
    facts: &'a [Fact<'a>],
    corpus: &'a Corpus,
    params: &Params,
    kit: &'a Kit<'a>,
    seed: u64,
) -> impl Iterator<Item = Row> + 'a {
    // By language too: a sheet is in one.
    let mut about: BTreeMap<(u32, Language), Vec<Said>> = BTreeMap::new();
    for fact in facts {
        let language = fact.language;
        about.entry((fact.head, language)).or_default().push(Said { fact, is_forward: true });
        about.entry((fact.tail, language)).or_default().push(Said { fact, is_forward: false });
    }

    let exposures = params.exposures;
    about.into_iter().flat_map(move |((concept, language), all)| {
        let mut rows = Vec::new();
        for (nth, some) in all.chunks(SENTENCES).enumerate() {
            let of = &kit.names.lexicon().concepts[concept as usize].id;
            let first = format!("{}:{of}#{}-{nth}", super::SOURCE, language.code());
            for exposure in 0..exposures {
                let id = if exposure == 0 { first.clone() } else { format!("{first}~{exposure}") };
                let parent = (exposure > 0).then(|| first.clone());
                rows.extend(sheet(id, parent, some, concept, corpus, kit, seed));
            }
        }
        rows
    })
}

/// One row: the sentences in an order of its own, with names and wordings of their own.
fn sheet(
    id: String,
    parent: Option<String>,
    all: &[Said],
    concept: u32,
    corpus: &Corpus,
    kit: &Kit,
    seed: u64,
) -> Option<Row> {
    let language = all.first()?.fact.language;
    let mut stream = draw::stream(seed, "sheet", id.as_bytes());
    let mut order: Vec<&Said> = all.iter().collect();
    draw::shuffle(&mut order, &mut stream);
    let said: Vec<String> = order
        .iter()
        .filter_map(|one| kit.sentence(one.fact, one.is_forward, &mut stream))
        .collect();

    let lexicon = kit.names.lexicon();
    let ids = |fact: &Fact| {
        let id = |one: u32| lexicon.concepts[one as usize].id.as_str();
        format!("{}\t{}\t{}", id(fact.head), fact.relation, id(fact.tail))
    };
    let file = lexicon.books.get(usize::from(all[0].fact.file));
    // Of the link, and of the names that it is told by.
    let files = all.iter().flat_map(|one| {
        let of = |concept: u32| lexicon.concepts[concept as usize].file;
        [one.fact.file, of(one.fact.head), of(one.fact.tail)]
    });
    let licences = files.map(|file| lexicon.licence(file).map(str::to_string));
    Some(Row {
        id,
        text: said.join(if language == Language::Chinese { "" } else { " " }),
        language,
        variant: "fact",
        parent,
        title: None,
        licence: super::rows::licence(licences),
        file: file.map(|books| books.file.clone()).unwrap_or_default(),
        made_of: all.iter().map(|one| ids(one.fact)).collect(),
        measures: corpus.concepts[concept as usize].measures,
        n_mentions: 2 * all.len() as u32,
        n_concepts: 1 + all.len() as u32,
    })
}
