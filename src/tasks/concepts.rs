//! Tasks about the concepts that a text mentions: which is left out, what kind it is, which
//! sentence speaks of it.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::Task;
use crate::draw;
use crate::error::{Error, Result};
use crate::rewrite::wordnet::readers::read_text;
use crate::rewrite::{ConceptNames, Mention};
use crate::text::words::words;

/// Wrong answers beside the right one.
const DISTRACTORS: usize = 3;
/// Concepts of a sentence that is asked for by them.
const CONCEPTS: usize = 3;
/// Words of a sentence that something is asked about; shorter ones say too little, longer ones are
/// lists.
const WORDS: Range<usize> = 6..101;
/// What stands where a name is left out.
const BLANK: &str = "____";

/// What probes ask: pairs of concepts of which one is in the question and the other the answer.
#[derive(Debug, Default)]
pub struct Asked(HashSet<(usize, usize)>);

/// What is read of a probe.
#[derive(Deserialize)]
struct Probe {
    context: String,
    choices: Vec<String>,
    answer: usize,
}

impl Asked {
    /// Reads files of probes, as `kpipe eval probes` and `kpipe ablate` write them.
    ///
    /// # Errors
    /// If one cannot be read, or a line is no probe; names the line.
    pub fn read(paths: &[String], concepts: Option<&dyn ConceptNames>) -> Result<Self> {
        let mut asked = HashSet::new();
        for path in paths {
            let text = read_text(path.as_ref())?;
            for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
            {
                let probe: Option<Probe> = serde_json::from_str(line).ok();
                let probe = probe.filter(|probe| probe.answer < probe.choices.len());
                let probe = probe.ok_or_else(|| {
                    Error::data("a line of `tasks.exclude` is no probe")
                        .at(format!("{path}:{}", nth + 1))
                        .hint("`kpipe eval probes` writes files of them")
                })?;
                let Some(concepts) = concepts else { continue };
                let answers = concepts.mentions(&probe.choices[probe.answer]);
                for about in concepts.mentions(&probe.context) {
                    asked.extend(answers.iter().map(|one| (about.concept, one.concept)));
                }
            }
        }
        Ok(Asked(asked))
    }

    /// Whether a probe asks for a concept by one of others.
    fn asks(&self, answer: usize, others: &[Mention]) -> bool {
        others.iter().any(|one| self.0.contains(&(one.concept, answer)))
    }
}

/// The tasks about the concepts of a text, some of each kind, and how many were left out because
/// probes ask the same.
pub(super) fn asked(
    text: &str,
    sentences: &[Range<usize>],
    mentions: &[Mention],
    concepts: &dyn ConceptNames,
    excluded: &Asked,
    stream: &mut ChaCha8Rng,
) -> (Vec<Task>, u64) {
    let (mut tasks, mut left_out) = (Vec::new(), 0);
    let kinds: BTreeSet<&str> = mentions
        .iter()
        .map(|one| concepts.kind(one.concept))
        .filter(|kind| !kind.is_empty())
        .collect();

    for sentence in sentences {
        let said = &text[sentence.clone()];
        let inside = |one: &&Mention| sentence.start <= one.start && one.end <= sentence.end;
        let own: Vec<Mention> = mentions.iter().filter(inside).copied().collect();
        if own.is_empty() || !WORDS.contains(&words(said).take(WORDS.end).count()) {
            continue;
        }

        let one = own[draw::next_below(stream, own.len())];
        let name = &text[one.start..one.end];
        let once = own.iter().filter(|other| other.concept == one.concept).count() == 1;
        let choices = distractors(&one, mentions, concepts, stream);
        if once && !one.is_fixed() && choices.len() == DISTRACTORS {
            if excluded.asks(one.concept, &own) {
                left_out += 1;
            } else {
                let (before, behind) =
                    (&text[sentence.start..one.start], &text[one.end..sentence.end]);
                let first = format!("{before}{BLANK}{behind}");
                tasks.push(choice("cloze", first, name, choices, stream));
            }
        }

        let distinct: BTreeSet<usize> = own.iter().map(|one| one.concept).collect();
        if distinct.len() >= CONCEPTS {
            let mut seen = BTreeSet::new();
            let names: Vec<&str> = own
                .iter()
                .filter(|one| seen.insert(one.concept))
                .take(CONCEPTS)
                .map(|one| &text[one.start..one.end])
                .collect();
            tasks.push(Task {
                kind: "words_to_text",
                class: "words_to_text",
                first: names.join(", "),
                second: said.to_string(),
                choices: Vec::new(),
            });
        }

        let kind = concepts.kind(one.concept);
        if !kind.is_empty() && kinds.len() > 1 && !one.is_fixed() {
            let readable = |kind: &str| kind.replace('_', " ");
            let others = kinds.iter().filter(|other| **other != kind).map(|kind| readable(kind));
            let others: Vec<String> = others.take(DISTRACTORS).collect();
            tasks.push(choice("which_type", name.to_string(), &readable(kind), others, stream));
        }
    }
    (tasks, left_out)
}

/// A task whose answer stands among others, in an order that is drawn.
fn choice(
    kind: &'static str,
    first: String,
    answer: &str,
    mut choices: Vec<String>,
    stream: &mut ChaCha8Rng,
) -> Task {
    choices.push(answer.to_string());
    draw::shuffle(&mut choices, stream);
    Task { kind, class: kind, first, second: answer.to_string(), choices }
}

/// Names of siblings that the text does not mention, and where these are too few of others of the
/// kind.
fn distractors(
    one: &Mention,
    mentions: &[Mention],
    concepts: &dyn ConceptNames,
    stream: &mut ChaCha8Rng,
) -> Vec<String> {
    let mut others = concepts.siblings(one.concept);
    draw::shuffle(&mut others, stream);
    let all = concepts.of_kind(concepts.kind(one.concept));
    let more = (0..2 * DISTRACTORS).filter(|_| !all.is_empty());
    others.extend(more.map(|_| all[draw::next_below(stream, all.len())]).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    others.retain(|other| {
        mentions.iter().all(|mention| mention.concept != *other) && seen.insert(*other)
    });
    let name =
        |concept: usize| concepts.names(concept, None).first().map(|name| (*name).to_string());
    let mut names: Vec<String> = others.into_iter().filter_map(name).take(DISTRACTORS).collect();
    names.dedup();
    names
}
