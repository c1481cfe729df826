//! Tasks about the concepts that a text mentions: which is left out, what kind it is, which
//! sentence speaks of it.

use std::collections::BTreeSet;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use super::Task;
use crate::draw;
use crate::knowledge::names::Rule;
use crate::rewrite::concept::in_running_text;
use crate::rewrite::wordnet::WordNet;
use crate::rewrite::{ConceptNames, Mention};
use crate::text::sentences::sentences;
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

/// The tasks about the concepts of a text, with lists joined by `joint`; kinds of concepts have
/// names in English alone.
pub(super) fn asked(
    text: &str,
    language: &str,
    joint: &str,
    concepts: &dyn ConceptNames,
    wordnet: &WordNet,
    stream: &mut ChaCha8Rng,
) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mentions = concepts.mentions(text);
    let readable = |one: &Mention| readable(concepts.kind(one.concept));
    let kinds: BTreeSet<String> = mentions.iter().filter_map(readable).collect();

    for sentence in sentences(text) {
        let said = &text[sentence.clone()];
        let inside = |one: &&Mention| sentence.start <= one.start && one.end <= sentence.end;
        let own: Vec<Mention> = mentions.iter().filter(inside).copied().collect();
        if own.is_empty() || !WORDS.contains(&words(said).take(WORDS.end).count()) {
            continue;
        }

        let one = own[draw::next_below(stream, own.len())];
        let name = &text[one.start..one.end];
        let is_plain = !one.is_fixed() && one.rule != Rule::Abbreviation;
        let once = said.to_lowercase().matches(&name.to_lowercase()).count() == 1
            && own.iter().filter(|other| other.concept == one.concept).count() == 1;
        if is_plain && once {
            let choices = distractors(text, &one, &mentions, concepts, wordnet, stream);
            if choices.len() == DISTRACTORS {
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
                first: names.join(joint),
                second: said.to_string(),
                word: String::new(),
                choices: Vec::new(),
            });
        }

        if let Some(kind) = readable(&one).filter(|_| is_plain && language == "en") {
            // "disease" and "disease ontology" are one answer.
            let is_other = |other: &&String| !other.contains(&kind) && !kind.contains(*other);
            let others: Vec<String> =
                kinds.iter().filter(is_other).take(DISTRACTORS).cloned().collect();
            if !others.is_empty() {
                tasks.push(choice("which_type", name.to_string(), &kind, others, stream));
            }
        }
    }
    tasks
}

/// The kind of a concept in words; `None` where it is the name of a file more likely.
fn readable(kind: &str) -> Option<String> {
    let is_word = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_word.then(|| kind.replace('_', " "))
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
    let second = answer.to_string();
    Task { kind, class: kind, first, second, word: String::new(), choices }
}

/// Names of siblings, and where these are too few of others of the kind, written as the answer is:
/// none that the text mentions, or that is part of the answer or has it as a part.
fn distractors(
    text: &str,
    one: &Mention,
    mentions: &[Mention],
    concepts: &dyn ConceptNames,
    wordnet: &WordNet,
    stream: &mut ChaCha8Rng,
) -> Vec<String> {
    let mut others = concepts.siblings(one.concept);
    draw::shuffle(&mut others, stream);
    let all = concepts.of_kind(concepts.kind(one.concept));
    let more = (0..4 * DISTRACTORS).filter(|_| !all.is_empty());
    others.extend(more.map(|_| all[draw::next_below(stream, all.len())]).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    others.retain(|other| {
        mentions.iter().all(|mention| mention.concept != *other) && seen.insert(*other)
    });

    let like = &text[one.start..one.end];
    let (answer, lower) = (like.to_lowercase(), text.to_lowercase());
    let mut names: Vec<String> = Vec::new();
    for other in others {
        let plain = |name: &&str| !name.contains([',', '(', '，', '（', '、', ';']);
        let Some(name) = concepts.names(other, None).into_iter().find(plain) else { continue };
        let own = name.to_lowercase();
        let is_near = own.contains(&answer) || answer.contains(&own) || lower.contains(&own);
        let written = in_running_text(name, like, false, wordnet);
        let is_new = !names.iter().any(|before| before.eq_ignore_ascii_case(&written));
        if !is_near && is_new && is_cased(&written) == is_cased(like) {
            names.push(written);
        }
        if names.len() == DISTRACTORS {
            break;
        }
    }
    names
}

/// Whether a name begins with a capital.
fn is_cased(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}
