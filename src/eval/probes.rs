//! held-out documents, a lexicon → knowledge probes
//!
//! A probe is a sentence of a held-out document in which the name of a concept is left out: a
//! *pair* where the sentence names a linked concept before it, a *concept* elsewhere. Beside the
//! name stand others of the same type that are about as frequent in training text, spelled as they
//! stand there, and neither linked with it nor named in the document: what is known without the
//! fact, that a disease stands here, tells nothing. *Controls* are the last words of general
//! sentences, with nothing to choose from: what must not be forgotten.
//!
//! No probe stands in training text: a sentence that shares 13 words in a row with any of it (8,
//! where it has fewer than 13) is left out and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use arrow::datatypes::UInt8Type;
use serde::Serialize;

use super::exposure::{self, Exposure, SHARED_BY_SHORT, Wanted};
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::dataset::{write_atomically, write_json};
use crate::flow::progress::Progress;
use crate::knowledge::lexicon::{Concept, Lexicon};
use crate::knowledge::mentions::{Finder, Mention};
use crate::text::sentences::sentences;
use crate::text::words::words;
use crate::train::data::probes::{CONTROL, Probe, lines};
use crate::train::data::shards::Shards;

/// The probes, in the output folder.
pub const PROBES: &str = "probes.jsonl";
/// What was made and what was left out.
const BOOKS: &str = "probes.json";
/// The kinds of probes.
const PAIR: &str = "pair";
const CONCEPT: &str = "concept";
/// Words of a sentence; longer ones are lists.
const WORDS: std::ops::RangeInclusive<usize> = SHARED_BY_SHORT..=60;
/// Least words before what is left out: with fewer there is nothing to know it by.
const BEFORE: usize = 3;
/// Sentences that are looked at for each probe that is wanted: most of what is left out is found
/// only when the training text was read.
const CANDIDATES: usize = 4;
/// Concepts of about one frequency that distractors are drawn from, for each of them.
const NEAR: usize = 4;

/// What is to be made.
pub struct Job<'a> {
    /// Shards with a `train` and a `validation` split.
    pub shards: &'a Path,
    /// Where the probes go.
    pub out: &'a Path,
    /// Most probes about concepts.
    pub limit: usize,
    /// Most of them from one document.
    pub per_document: usize,
    /// Wrong answers beside the right one.
    pub distractors: usize,
    /// Most probes of general text.
    pub controls: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// What was made and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Books {
    /// Held-out documents.
    pub documents: u64,
    /// Sentences of them with something to ask.
    pub sentences: u64,
    /// Probes by kind.
    pub made: BTreeMap<String, u64>,
    /// Sentences that were left out, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// A sentence with something to ask.
struct Candidate {
    /// By what it is drawn.
    drawn: f64,
    id: String,
    document: String,
    bucket: u8,
    sentence: String,
    /// What is left out of it, in bytes.
    from: usize,
    to: usize,
    /// The concept and, of a pair, the other one; none of a control.
    asks: Option<Asks>,
}

struct Asks {
    concept: u32,
    other: Option<u32>,
    /// Concepts of the whole document.
    named: Rc<BTreeSet<u32>>,
}

impl Candidate {
    fn kind(&self) -> &'static str {
        match &self.asks {
            None => CONTROL,
            Some(Asks { other: None, .. }) => CONCEPT,
            Some(_) => PAIR,
        }
    }
}

/// Makes probes, and writes `probes.jsonl` and `probes.json`.
///
/// # Errors
/// If a split is missing, a shard cannot be read, or no sentence is left.
pub fn make(lexicon: &Lexicon, finder: &Finder, job: &Job) -> Result<Books> {
    std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
    job.progress.begin("probes", None, "documents");
    let mut books = Books::default();
    let candidates = candidates(lexicon, finder, job, &mut books)?;
    let mut wanted = Wanted::default();
    candidates.iter().for_each(|one| wanted.add(&one.sentence));

    let exposure = exposure::read(job.shards, lexicon, finder, &wanted, &|_| 1)?;
    let choosing = Choosing::new(lexicon, &exposure, job);
    let (mut probes, mut n_controls) = (Vec::new(), 0);
    for candidate in &candidates {
        let (n, most) = match candidate.kind() {
            CONTROL => (n_controls, job.controls),
            _ => (probes.len() - n_controls, job.limit),
        };
        let mut leave_out = |why| *books.left_out.entry(why).or_default() += 1;
        if n >= most {
            leave_out("more than wanted");
        } else if exposure.holds(&candidate.sentence) {
            leave_out("in training text");
        } else if let Some(probe) = choosing.probe(candidate) {
            *books.made.entry(probe.kind.clone()).or_default() += 1;
            n_controls += usize::from(probe.kind == CONTROL);
            probes.push(probe);
        } else {
            leave_out("too few concepts of its type");
        }
    }

    if probes.is_empty() {
        return Err(Error::data(format!("no probe can be made: {books:?}")).hint(
            "hold out more documents (`curriculum.validation_share`), or name the lexicon of \
             their subject in `density.lexicon`",
        ));
    }
    write_atomically(&job.out.join(PROBES), lines(&probes)?.as_bytes())?;
    write_json(&job.out.join(BOOKS), &books)?;
    job.progress.end(&format!("{} of {} sentences", probes.len(), books.sentences));
    Ok(books)
}

/// What was made and what was left out, as a table.
pub fn table(books: &Books) -> String {
    let mut text = format!(
        "documents      {} held out\nsentences      {} with something to ask\n",
        books.documents, books.sentences
    );
    for (kind, n) in &books.made {
        text += &format!("{kind:<14} {n} probes\n");
    }
    for (why, n) in &books.left_out {
        text += &format!("left out       {n} {why}\n");
    }
    text
}

/// Sentences of held-out documents, in the order in which they are drawn.
fn candidates(
    lexicon: &Lexicon,
    finder: &Finder,
    job: &Job,
    books: &mut Books,
) -> Result<Vec<Candidate>> {
    let shards = Shards::of_split(job.shards, "validation")?;
    let mut all: Vec<Candidate> = Vec::new();

    shards.texts(&["id", "text", "role", "bucket"], |row| {
        let (id, text) = (row.string("id")?, row.string("text")?);
        let is_general = row.string("role")? == "general";
        let bucket = row.value::<UInt8Type>("bucket")?;
        books.documents += 1;
        let mentions = if is_general { Vec::new() } else { finder.find(text) };
        let named: Rc<BTreeSet<u32>> =
            Rc::new(mentions.iter().map(|mention| mention.concept).collect());

        let mut own = Vec::new();
        for (nth, range) in sentences(text).into_iter().enumerate() {
            let sentence = &text[range.clone()];
            if !WORDS.contains(&words(sentence).count()) {
                continue;
            }
            let within: Vec<Mention> = mentions
                .iter()
                .filter(|mention| range.contains(&mention.start) && mention.end <= range.end)
                .map(|mention| Mention {
                    start: mention.start - range.start,
                    end: mention.end - range.start,
                    ..*mention
                })
                .collect();
            let asked = match is_general {
                true => last_words(sentence).map(|(from, to)| (from, to, None)),
                false => asked(lexicon, sentence, &within, &named),
            };
            let Some((from, to, asks)) = asked else { continue };
            let id = format!("{id}/{nth}");
            let drawn = draw::unit(job.seed, "probe", id.as_bytes());
            let (document, sentence) = (row.string("id")?.to_string(), sentence.to_string());
            own.push(Candidate { drawn, id, document, bucket, sentence, from, to, asks });
        }

        books.sentences += own.len() as u64;
        own.sort_by(|a, b| a.drawn.total_cmp(&b.drawn));
        let more = own.len().saturating_sub(job.per_document) as u64;
        if more > 0 {
            *books.left_out.entry("more than wanted of its document").or_default() += more;
        }
        own.truncate(job.per_document);
        all.extend(own);
        Ok(0)
    })?;

    all.sort_by(|a, b| a.drawn.total_cmp(&b.drawn).then_with(|| a.id.cmp(&b.id)));
    let (mut n_controls, mut n_others) = (0, 0);
    let before = all.len();
    all.retain(|one| {
        let (n, most) = match one.kind() {
            CONTROL => (&mut n_controls, job.controls),
            _ => (&mut n_others, job.limit),
        };
        *n += 1;
        *n <= CANDIDATES * most
    });
    if all.len() < before {
        *books.left_out.entry("more than wanted").or_default() += (before - all.len()) as u64;
    }
    Ok(all)
}

/// What is left out of a sentence: the second of a linked pair, else the last concept.
fn asked(
    lexicon: &Lexicon,
    sentence: &str,
    mentions: &[Mention],
    named: &Rc<BTreeSet<u32>>,
) -> Option<(usize, usize, Option<Asks>)> {
    let may_be_asked = |mention: &&Mention| {
        words(&sentence[..mention.start]).count() >= BEFORE
            && mention.rule.is_exchangeable()
            // Named before, it would only have to be repeated.
            && mentions.iter().all(|other| {
                other.start >= mention.start || other.concept != mention.concept
            })
    };
    let pair = mentions.iter().filter(may_be_asked).find_map(|mention| {
        let before = mentions.iter().take_while(|other| other.start < mention.start);
        let mut linked = before.filter(|other| lexicon.linked(other.concept, mention.concept));
        linked.next().map(|other| (mention, Some(other.concept)))
    });
    let last = || mentions.iter().rev().find(may_be_asked).map(|mention| (mention, None));
    let (mention, other) = pair.or_else(last)?;
    let asks = Asks { concept: mention.concept, other, named: Rc::clone(named) };
    Some((mention.start, mention.end, Some(asks)))
}

/// The last two words of a sentence: one may be known by its spelling alone.
fn last_words(sentence: &str) -> Option<(usize, usize)> {
    let all: Vec<_> = words(sentence).collect();
    let [.., first, last] = all.as_slice() else { return None };
    (all.len() >= BEFORE + 2).then_some((first.start, last.start + last.text.len()))
}

/// What a concept is; where the lexicon does not say, the vocabulary that its id is of, such as
/// `DOID` of `DOID:9352`.
fn kind(concept: &Concept) -> &str {
    if !concept.kind.is_empty() {
        return &concept.kind;
    }
    let end = concept.id.find(|c: char| !c.is_alphabetic()).unwrap_or(concept.id.len());
    &concept.id[..end]
}

/// Makes probes of sentences.
struct Choosing<'a> {
    lexicon: &'a Lexicon,
    exposure: &'a Exposure,
    job: &'a Job<'a>,
    /// Concepts by what they are, from rare to frequent.
    kinds: BTreeMap<&'a str, Vec<u32>>,
}

impl<'a> Choosing<'a> {
    fn new(lexicon: &'a Lexicon, exposure: &'a Exposure, job: &'a Job<'a>) -> Self {
        let mut kinds: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (number, concept) in (0..).zip(&lexicon.concepts) {
            kinds.entry(kind(concept)).or_default().push(number);
        }
        let seen = |number: &u32| exposure.concepts[*number as usize].documents;
        kinds
            .values_mut()
            .for_each(|numbers| numbers.sort_by_key(|number| (seen(number), *number)));
        Choosing { lexicon, exposure, job, kinds }
    }

    fn probe(&self, candidate: &Candidate) -> Option<Probe> {
        let Candidate { id, document, bucket, sentence, from, to, asks, .. } = candidate;
        let (before, gold) = (&sentence[..*from], &sentence[*from..*to]);
        let (mut choices, mut answer) = (vec![gold.to_string()], 0);
        let mut probe = Probe {
            id: id.clone(),
            kind: candidate.kind().to_string(),
            context: before.trim_end().to_string(),
            behind: sentence[*to..].to_string(),
            joined: !before.ends_with(char::is_whitespace),
            document: document.clone(),
            bucket: Some(*bucket),
            ..Probe::default()
        };

        if let Some(asks) = asks {
            let concept = &self.lexicon.concepts[asks.concept as usize];
            choices.extend(self.distractors(asks, gold, id)?);
            let mut stream = draw::stream(self.job.seed, "answer", id.as_bytes());
            answer = draw::next_below(&mut stream, choices.len());
            choices.swap(0, answer);
            probe.about.clone_from(&concept.id);
            probe.concept_kind = kind(concept).to_string();
            let seen = &self.exposure.concepts[asks.concept as usize];
            probe.seen = Some(seen.documents);
            if seen.documents == seen.first.len() as u64 {
                probe.told_in.clone_from(&seen.first);
            }
        }
        Some(Probe { choices, answer, ..probe })
    }

    /// Names of other concepts of the same kind and about the same frequency.
    fn distractors(&self, asks: &Asks, gold: &str, id: &str) -> Option<Vec<String>> {
        let concept = &self.lexicon.concepts[asks.concept as usize];
        let all = self.kinds.get(kind(concept))?;
        let seen = |number: u32| self.exposure.concepts[number as usize].documents;
        let own = (seen(asks.concept), asks.concept);
        let at = all.partition_point(|number| (seen(*number), *number) < own);

        let is_told_apart = |number: u32| {
            let is_linked = |one: u32| self.lexicon.linked(one, number);
            number != asks.concept
                && !asks.named.contains(&number)
                && !is_linked(asks.concept)
                && !asks.other.is_some_and(is_linked)
        };
        let (mut near, mut names) = (Vec::new(), BTreeSet::from([gold.to_lowercase()]));
        // From its own place outwards, rarer and more frequent ones in turn.
        for step in 0..all.len() {
            let places = [at.checked_sub(step + 1), Some(at + step)];
            for number in places.into_iter().flatten().filter_map(|place| all.get(place)) {
                let name = self.spelled(*number, gold);
                if is_told_apart(*number) && names.insert(name.to_lowercase()) {
                    near.push(name);
                }
            }
            if near.len() >= NEAR * self.job.distractors {
                break;
            }
        }

        if near.len() < self.job.distractors {
            return None;
        }
        near.sort_by_cached_key(|name| {
            draw::unit(self.job.seed, "distractor", format!("{id}\n{name}").as_bytes()).to_bits()
        });
        near.truncate(self.job.distractors);
        Some(near)
    }

    /// A name as it stands in training text most often where it begins as `like` does, in capitals
    /// or not: its case must not give it away.
    fn spelled(&self, number: u32, like: &str) -> String {
        let is_capital = |name: &str| name.chars().next().is_some_and(char::is_uppercase);
        let seen = &self.exposure.concepts[number as usize].spellings;
        let most = seen
            .iter()
            .filter(|(name, _)| is_capital(name) == is_capital(like))
            .max_by_key(|(name, n)| (**n, std::cmp::Reverse(*name)));
        if let Some((name, _)) = most {
            return name.clone();
        }

        let name = &self.lexicon.concepts[number as usize].name;
        let mut rest = name.chars();
        let Some(first) = rest.next() else { return String::new() };
        let is_acronym = rest.clone().next().is_some_and(|second| second.is_uppercase());
        match (is_acronym, is_capital(like)) {
            (true, _) => name.clone(),
            (false, true) => first.to_uppercase().chain(rest).collect(),
            (false, false) => first.to_lowercase().chain(rest).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use crate::knowledge::lexicon::{Entry, Link};
    use crate::knowledge::names::NameRules;
    use crate::train::data::probes;
    use crate::train::data::stream::Document;
    use crate::train::fixture::shard_folder;

    fn concept(id: &str, kind: &str, name: &str, link: &str) -> Entry {
        let link = Link::related(link);
        let links = if link.to.is_empty() { Vec::new() } else { vec![link] };
        let (id, kind, name) = (id.to_string(), kind.to_string(), name.to_string());
        Entry {
            concept: Concept { id, kind, name, links, ..Concept::default() },
            ..Entry::default()
        }
    }

    fn documents(texts: &[&str], name: &str) -> Vec<Document> {
        let document = |(seq, text): (usize, &&str)| Document {
            seq: seq as u64,
            id: format!("{name}:{seq}"),
            text: (*text).to_string(),
            rewrites: Vec::new(),
            line: String::new(),
            family: None,
        };
        texts.iter().enumerate().map(document).collect()
    }

    #[test]
    fn a_concept_without_a_kind_is_of_its_vocabulary() {
        let of = |id: &str, kind: &str| Concept {
            id: id.into(),
            kind: kind.into(),
            ..Concept::default()
        };
        assert_eq!(kind(&of("DOID:9352", "")), "DOID");
        assert_eq!(kind(&of("DB00945", "")), "DB");
        assert_eq!(kind(&of("DB00945", "drug")), "drug");
    }

    /// What is asked stands in no training text, is linked where it can be, and stands among others
    /// of its type that are written alike.
    #[test]
    fn probes_are_new_and_their_distractors_alike() {
        let lexicon = Lexicon::build(vec![
            concept("D1", "drug", "Aspirin", "S1"),
            concept("D2", "drug", "Insulin", ""),
            concept("D3", "drug", "Quinine", ""),
            concept("D4", "drug", "Digoxin", ""),
            concept("S1", "sign", "Fever", ""),
        ]);
        let rules = NameRules::default();
        let finder = Finder::new(&lexicon, &rules).unwrap();
        let old = "For it was insulin that the authors of this study gave to all at night .";
        let shards = shard_folder(
            &documents(
                &[
                    "Some take aspirin and quinine .",
                    "Many inject insulin , and few take digoxin . Insulin is dear .",
                    old,
                    "Nobody sells quinine here .",
                ],
                "train",
            ),
            &documents(
                &[
                    "Here we could show that fever falls soon where aspirin is given twice a day .",
                    &format!("Yes . {old}"),
                    "Of all the drugs that were at hand the doctor chose insulin .",
                    "Insulin .",
                ],
                "held",
            ),
        );
        let out = tempfile::tempdir().unwrap();
        let job = Job {
            shards: shards.path(),
            out: out.path(),
            limit: 10,
            per_document: 2,
            distractors: 2,
            controls: 5,
            seed: 3,
            progress: &Silent,
        };
        let books = make(&lexicon, &finder, &job).unwrap();
        assert_eq!((books.documents, books.sentences), (4, 3));
        assert_eq!(books.made, [("concept".to_string(), 1), ("pair".to_string(), 1)].into());
        assert_eq!(books.left_out, [("in training text", 1)].into());

        let mut all = probes::read(&out.path().join(PROBES)).unwrap();
        all.sort_by(|a, b| a.kind.cmp(&b.kind));
        let [concept, pair] = &all[..] else { panic!("{all:?}") };
        assert_eq!(pair.context, "Here we could show that fever falls soon where");
        assert_eq!((pair.choices[pair.answer].as_str(), pair.about.as_str()), ("aspirin", "D1"));
        assert_eq!(pair.behind, " is given twice a day .");
        assert_eq!(pair.told_in, ["train:0"]);
        assert_eq!((concept.about.as_str(), concept.seen), ("D2", Some(2)));
        for probe in &all {
            assert_eq!(probe.choices.len(), 3);
            let is_drug = |name: &String| {
                ["aspirin", "insulin", "quinine", "digoxin"].contains(&name.as_str())
            };
            assert!(probe.choices.iter().all(is_drug), "{probe:?}");
        }

        let hard = Job { distractors: 9, ..job };
        let error = make(&lexicon, &finder, &hard).unwrap_err().to_string();
        assert!(error.contains("no probe can be made") && error.contains("too few"), "{error}");
    }
}
