//! How well mentions are found: documents in which people marked concepts, against what
//! [`crate::knowledge::mentions`] finds in them.
//!
//! A mention is right where a mark begins and ends at the same places; with its concept, where the
//! mark also names that concept (marks without an id are left out there). Beside stand a plain
//! dictionary of the same names (`dictionary`) and what other programs found, as PubTator has it.
//! Precision, recall and F1 are over all marks (micro), their intervals of a bootstrap over
//! documents, which also draws the difference to the dictionary.

pub mod corpus;
mod dictionary;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use super::metrics::bootstrap;
use crate::error::{Error, Result};
use crate::knowledge::lexicon::{Concept, Lexicon, Relation};
use crate::knowledge::mentions::Finder;
use corpus::{Corpus, Mark, Marked, bare};
use dictionary::Dictionary;

/// How mentions are judged.
pub struct Job<'a> {
    /// Kinds of concepts that are looked for, in any case; all of them where there is none.
    pub kinds: &'a [String],
    /// Kinds of marks that are looked for, in any case; all of them where there is none.
    pub marks: &'a [String],
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Most frequent errors of each kind that are told.
    pub errors: usize,
}

/// What another program found in the corpus.
pub struct Beside {
    /// Its name.
    pub name: String,
    /// Its documents.
    pub found: Corpus,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Documents of the corpus.
    pub documents: usize,
    /// Marks that are looked for.
    pub marks: usize,
    /// Marks that are not what stands at their place, and were left out.
    pub misplaced: u64,
    /// Each way of finding mentions.
    pub ways: Vec<Way>,
    /// Marks that were missed, the most frequent first.
    pub missed: Vec<Frequent>,
    /// Mentions where nothing is marked so, the most frequent first.
    pub spurious: Vec<Frequent>,
}

/// A way of finding mentions, and how well it does.
#[derive(Debug, Serialize)]
pub struct Way {
    /// Its name.
    pub name: String,
    /// By places alone.
    pub spans: Score,
    /// By places and concepts, where the corpus names concepts.
    pub concepts: Option<Score>,
}

/// Precision, recall and F1, in [0, 1].
#[derive(Debug, Serialize)]
pub struct Score {
    /// Share of what was found that is right.
    pub precision: f64,
    /// Share of what is marked that was found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Ends of its 95 % interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Less the dictionary's F1, with the interval of the difference.
    pub more: f64,
    /// See `more`.
    pub more_low: f64,
    /// See `more`.
    pub more_high: f64,
}

/// A text that was missed or found wrongly, in small letters, and how often.
#[derive(Debug, PartialEq, Serialize)]
pub struct Frequent {
    /// The text.
    pub text: String,
    /// How often.
    pub n: u64,
}

/// A place that something was found at.
struct Spot {
    range: Range<usize>,
    /// The ids of each concept there.
    concepts: Vec<BTreeSet<String>>,
}

/// What counts of one document.
#[derive(Clone, Copy, Default)]
struct Counts {
    found: u64,
    marked: u64,
    /// Of what was found.
    right: u64,
    /// Of what is marked.
    met: u64,
}

/// Finds mentions in a corpus and judges them.
///
/// # Errors
/// If nothing of it is marked, or another program's documents are others.
pub fn judge(
    corpus: &Corpus,
    lexicon: &Lexicon,
    finder: &Finder,
    beside: &[Beside],
    job: &Job,
) -> Result<Told> {
    let is_wanted = |kind: &str, wanted: &[String]| {
        wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(kind))
    };
    let wanted = |one: &Marked| -> Vec<Mark> {
        merged(one.marks.iter().filter(|mark| is_wanted(&mark.kind, job.marks)))
    };
    let gold: Vec<Vec<Mark>> = corpus.documents.iter().map(wanted).collect();
    let marks = gold.iter().map(Vec::len).sum();
    if marks == 0 {
        let kinds: BTreeSet<&str> = corpus
            .documents
            .iter()
            .flat_map(|one| &one.marks)
            .map(|mark| mark.kind.as_str())
            .collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        return Err(Error::usage("nothing of the corpus is marked as what is looked for")
            .hint(format!("it marks: {}", kinds.join(", "))));
    }

    let concepts = |number: u32| &lexicon.concepts[number as usize];
    let spots = |found: Vec<(Range<usize>, u32)>| {
        let wanted =
            found.into_iter().filter(|(_, one)| is_wanted(&concepts(*one).kind, job.kinds));
        together(wanted.map(|(range, one)| (range, ids(concepts(one)))))
    };
    let dictionary = Dictionary::new(lexicon);
    let ours = |one: &Marked| {
        let found = finder.find(&one.text).into_iter();
        spots(found.map(|mention| (mention.start..mention.end, mention.concept)).collect())
    };
    let all = |of: &(dyn Fn(&Marked) -> Vec<Spot> + Sync)| -> Vec<Vec<Spot>> {
        corpus.documents.par_iter().map(of).collect()
    };
    let mut ways = vec![
        ("kpipe".to_string(), all(&ours)),
        ("dictionary".to_string(), all(&|one| spots(dictionary.find(&one.text)))),
    ];
    for Beside { name, found } in beside {
        let by_id: BTreeMap<&str, &Marked> =
            found.documents.iter().map(|one| (one.id.as_str(), one)).collect();
        let of = |one: &Marked| {
            let other = by_id.get(one.id.as_str()).filter(|other| other.text == one.text);
            let other = other.ok_or_else(|| {
                Error::data(format!("`{name}` has no document `{}` with its text", one.id))
                    .hint("it must have all documents of the corpus, as PubTator has them")
            })?;
            // Its kinds may be the corpus' or the lexicon's.
            let kinds = [job.kinds, job.marks].concat();
            let wanted = other.marks.iter().filter(|mark| is_wanted(&mark.kind, &kinds));
            Ok(together(wanted.map(|mark| (mark.range.clone(), mark.ids.clone()))))
        };
        let found = corpus.documents.iter().map(of).collect::<Result<_>>()?;
        ways.push((name.clone(), found));
    }

    let has_ids = gold.iter().flatten().any(|mark| !mark.ids.is_empty());
    let counted = |found: &[Vec<Spot>], count: fn(&[Spot], &[Mark]) -> Counts| -> Vec<Counts> {
        found.iter().zip(&gold).map(|(found, gold)| count(found, gold)).collect()
    };
    let score = |found: &[Vec<Spot>], count: fn(&[Spot], &[Mark]) -> Counts| {
        Score::of(&counted(found, count), &counted(&ways[1].1, count), job.seed)
    };
    let [missed, spurious] = errors(&corpus.documents, &gold, &ways[0].1, job.errors);
    let told = ways.iter().map(|(name, found)| Way {
        name: name.clone(),
        spans: score(found, by_span),
        concepts: has_ids.then(|| score(found, by_concept)),
    });
    Ok(Told {
        documents: corpus.documents.len(),
        marks,
        misplaced: corpus.misplaced,
        ways: told.collect(),
        missed,
        spurious,
    })
}

/// All ids that a concept goes by.
fn ids(concept: &Concept) -> BTreeSet<String> {
    let same = concept.links.iter().filter(|link| link.relation == Relation::Same);
    let others = concept.also.iter().chain(same.map(|link| &link.to));
    others.chain([&concept.id]).map(|id| bare(id).to_string()).collect()
}

/// Marks of one place as one, with the ids of all.
fn merged<'a>(marks: impl Iterator<Item = &'a Mark>) -> Vec<Mark> {
    let mut merged: Vec<Mark> = Vec::new();
    for mark in marks {
        match merged.last_mut().filter(|last| last.range == mark.range) {
            Some(last) => last.ids.extend(mark.ids.iter().cloned()),
            None => merged.push(mark.clone()),
        }
    }
    merged
}

/// What stands at one place, together; in order.
fn together(found: impl Iterator<Item = (Range<usize>, BTreeSet<String>)>) -> Vec<Spot> {
    let mut spots: Vec<Spot> = Vec::new();
    for (range, ids) in found {
        match spots.last_mut().filter(|last| last.range == range) {
            Some(last) => last.concepts.push(ids),
            None => spots.push(Spot { range, concepts: vec![ids] }),
        }
    }
    spots
}

fn by_span(found: &[Spot], gold: &[Mark]) -> Counts {
    let is_marked = |spot: &&Spot| gold.iter().any(|mark| mark.range == spot.range);
    let right = found.iter().filter(is_marked).count() as u64;
    Counts { found: found.len() as u64, marked: gold.len() as u64, right, met: right }
}

/// Each concept of a mark and of a place counts.
fn by_concept(found: &[Spot], gold: &[Mark]) -> Counts {
    let mut counts = Counts::default();
    for spot in found {
        let mark = gold.iter().find(|mark| mark.range == spot.range);
        // Nobody says what this one names.
        if mark.is_some_and(|mark| mark.ids.is_empty()) {
            continue;
        }
        let is_right =
            |ids: &&BTreeSet<String>| mark.is_some_and(|mark| !mark.ids.is_disjoint(ids));
        counts.found += spot.concepts.len() as u64;
        counts.right += spot.concepts.iter().filter(is_right).count() as u64;
    }
    for mark in gold {
        let spot = found.iter().find(|spot| spot.range == mark.range);
        let is_met = |id: &&String| {
            spot.is_some_and(|spot| spot.concepts.iter().any(|ids| ids.contains(*id)))
        };
        counts.marked += mark.ids.len() as u64;
        counts.met += mark.ids.iter().filter(is_met).count() as u64;
    }
    counts
}

impl Score {
    fn of(counts: &[Counts], dictionary: &[Counts], seed: u64) -> Self {
        let all: Vec<usize> = (0..counts.len()).collect();
        let [precision, recall, f1] = rates(counts, &all);
        let of_f1 = |rows: &[usize]| rates(counts, rows)[2];
        let more = |rows: &[usize]| rates(counts, rows)[2] - rates(dictionary, rows)[2];
        let (low, high) = bootstrap("mentions", counts.len(), seed, of_f1);
        let (more_low, more_high) = bootstrap("mentions", counts.len(), seed, more);
        Score { precision, recall, f1, low, high, more: more(&all), more_low, more_high }
    }
}

/// Precision, recall and F1 over some documents.
fn rates(counts: &[Counts], rows: &[usize]) -> [f64; 3] {
    let sum = |of: fn(&Counts) -> u64| rows.iter().map(|row| of(&counts[*row])).sum::<u64>() as f64;
    let precision = sum(|one| one.right) / sum(|one| one.found).max(1.0);
    let recall = sum(|one| one.met) / sum(|one| one.marked).max(1.0);
    let both = precision + recall;
    let f1 = if both > 0.0 { 2.0 * precision * recall / both } else { 0.0 };
    [precision, recall, f1]
}

/// Marks that were missed, and mentions that are not marked so.
fn errors(
    documents: &[Marked],
    gold: &[Vec<Mark>],
    found: &[Vec<Spot>],
    most: usize,
) -> [Vec<Frequent>; 2] {
    let [mut missed, mut spurious] = [BTreeMap::new(), BTreeMap::new()];
    for ((document, gold), found) in documents.iter().zip(gold).zip(found) {
        let text = |range: &Range<usize>| document.text[range.clone()].to_lowercase();
        for mark in gold.iter().filter(|mark| found.iter().all(|spot| spot.range != mark.range)) {
            *missed.entry(text(&mark.range)).or_insert(0) += 1;
        }
        for spot in found.iter().filter(|spot| gold.iter().all(|mark| mark.range != spot.range)) {
            *spurious.entry(text(&spot.range)).or_insert(0) += 1;
        }
    }
    [missed, spurious].map(|all: BTreeMap<String, u64>| {
        let mut all: Vec<Frequent> =
            all.into_iter().map(|(text, n)| Frequent { text, n }).collect();
        all.sort_by(|a, b| b.n.cmp(&a.n).then_with(|| a.text.cmp(&b.text)));
        all.truncate(most);
        all
    })
}

/// What was measured, as a table and lists.
pub fn table(told: &Told) -> String {
    let Told { documents, marks, misplaced, ways, missed, spurious } = told;
    let mut text = format!("{marks} marks in {documents} documents");
    if *misplaced > 0 {
        let _ = write!(text, "; {misplaced} are not what stands at their place, and left out");
    }
    text +=
        "\n\n| | precision | recall | F1 | | beside the dictionary |\n|---|---|---|---|---|---|\n";
    let mut row = |name: &str, score: &Score| {
        let Score { precision, recall, f1, low, high, more, more_low, more_high } = score;
        let _ = writeln!(
            text,
            "| {name} | {precision:.3} | {recall:.3} | {f1:.3} | {low:.3} to {high:.3} | \
             {more:+.3} ({more_low:+.3} to {more_high:+.3}) |"
        );
    };
    for way in ways {
        row(&way.name, &way.spans);
        if let Some(score) = &way.concepts {
            row(&format!("{}, with the concept", way.name), score);
        }
    }
    for (name, all) in [("missed", missed), ("not marked so", spurious)] {
        if !all.is_empty() {
            let all: Vec<String> =
                all.iter().map(|one| format!("{} ({})", one.text, one.n)).collect();
            let _ = write!(text, "\n{name}: {}\n", all.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::lexicon::Entry;
    use crate::knowledge::names::NameRules;

    fn lexicon() -> Lexicon {
        let entry = |id: &str, kind: &str, name: &str, also: &[&str]| Entry {
            concept: Concept {
                id: id.into(),
                kind: kind.into(),
                name: name.into(),
                also: also.iter().map(|id| (*id).to_string()).collect(),
                ..Concept::default()
            },
            ..Entry::default()
        };
        Lexicon::build(vec![
            entry("DOID:1", "disease", "breast cancer", &["D1"]),
            entry("DOID:2", "disease", "ovarian cancer", &["MESH:D2"]),
            entry("DOID:3", "disease", "fever", &[]),
            entry("C1", "drug", "aspirin", &[]),
        ])
    }

    const TEXT: &str = "1|t|Breast and ovarian cancer\n1|a|Fevers, ovarian cancer, aspirin.\n\
                        1\t0\t25\tBreast and ovarian cancer\tDisease\tD1|D2\n\
                        1\t26\t32\tFevers\tDisease\tD9\n\
                        1\t34\t48\tovarian cancer\tDisease\tMESH:D2\n\
                        1\t50\t57\taspirin\tChemical\t-1\n";

    fn told(job: &Job, beside: &[Beside]) -> Result<Told> {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("corpus.txt");
        std::fs::write(&place, TEXT).unwrap();
        let (corpus, lexicon) = (corpus::read(&[place.display().to_string()]).unwrap(), lexicon());
        let rules = NameRules {
            min_name_chars: 3,
            min_cjk_chars: 2,
            plurals: true,
            ..NameRules::default()
        };
        let finder = Finder::new(&lexicon, &rules).unwrap();
        judge(&corpus, &lexicon, &finder, beside, job)
    }

    /// Counted by hand: places 4 of 4; concepts D1, D2, D2 of D1, D2, D9, D2 in as many found,
    /// where aspirin's mark names none. The dictionary has "ovarian cancer" twice, one of them in
    /// part of a mark, and aspirin.
    #[test]
    fn places_and_concepts_count() {
        let told = told(&Job { kinds: &[], marks: &[], seed: 1, errors: 5 }, &[]).unwrap();
        let [ours, dictionary] = &told.ways[..] else { panic!() };
        let rates = |score: &Score| [score.precision, score.recall, score.f1];
        assert_eq!(rates(&ours.spans), [1.0, 1.0, 1.0]);
        assert_eq!(rates(ours.concepts.as_ref().unwrap()), [0.75, 0.75, 0.75]);
        assert_eq!(rates(&dictionary.spans)[..2], [2.0 / 3.0, 0.5]);
        assert_eq!(rates(dictionary.concepts.as_ref().unwrap())[..2], [0.5, 0.25]);
        assert!((ours.spans.more - (1.0 - dictionary.spans.f1)).abs() < 1e-12);
        assert!(table(&told).contains("| kpipe, with the concept | 0.750 | 0.750 | 0.750 |"));
    }

    /// A line for each concept of a place is one mark.
    #[test]
    fn marks_of_one_place_are_one() {
        let mark = |id: &str| Mark { range: 0..5, kind: "Disease".into(), ids: [id.into()].into() };
        let merged = merged([mark("D1"), mark("D2")].iter());
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].ids, ["D1".to_string(), "D2".to_string()].into());
    }

    #[test]
    fn kinds_may_be_chosen() {
        let (drug, chemical) = (["Drug".to_string()], ["chemical".to_string()]);
        let job = Job { kinds: &drug, marks: &chemical, seed: 1, errors: 5 };
        let told = told(&job, &[]).unwrap();
        assert_eq!((told.marks, told.ways[0].spans.f1), (1, 1.0));
        assert!(told.ways[0].concepts.is_none(), "no mark of these has an id");

        let none = ["Gene".to_string()];
        let job = Job { kinds: &[], marks: &none, seed: 1, errors: 5 };
        assert!(self::told(&job, &[]).unwrap_err().to_string().contains("Chemical, Disease"));
    }

    #[test]
    fn another_program_stands_beside() {
        let job = Job { kinds: &[], marks: &[], seed: 1, errors: 1 };
        let mark =
            |range, id: &str| Mark { range, kind: "Disease".into(), ids: [id.to_string()].into() };
        let mut other = Marked {
            id: "1".into(),
            text: "Breast and ovarian cancer\nFevers, ovarian cancer, aspirin.".into(),
            marks: vec![mark(26..32, "D9"), mark(34..41, "D2")],
        };
        let beside = |document: &Marked| Beside {
            name: "other".into(),
            found: Corpus { documents: vec![document.clone()], misplaced: 0 },
        };
        let found = told(&job, &[beside(&other)]).unwrap();
        let concepts = found.ways[2].concepts.as_ref().unwrap();
        assert_eq!((found.ways[2].spans.precision, found.ways[2].spans.recall), (0.5, 0.25));
        assert_eq!((concepts.precision, concepts.recall), (0.5, 0.25));

        other.text.push('x');
        let error = told(&job, &[beside(&other)]).unwrap_err().to_string();
        assert!(error.contains("`other` has no document `1`"), "{error}");
    }
}
