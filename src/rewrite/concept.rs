//! Concept names replaced: by another name of the same concept (`paraphrase`), or by a sibling
//! (`hard`).
//!
//! A sibling is a near miss: a concept of the same kind under the same parent, such as another drug
//! of the class. The passage then reads as well as before and is wrong, which is what a model has
//! to learn to see. Works in every language the lexicon has names in.

use rand_chacha::ChaCha8Rng;

use crate::draw;
use crate::rewrite::edits::{Swap, count};
use crate::rewrite::wordnet::WordNet;
use crate::rewrite::{Generator, Kind, Material};
use crate::text::normal::normalise;
use crate::text::words::{capitalised, is_cjk};

/// Longest name that is put into a sentence, in characters.
const MAX_NAME: u32 = 60;
/// How many mentioned concepts and how many siblings are tried before giving up.
const TRIES: usize = 8;

/// Replaces a concept by another of its names.
pub struct OtherName;

/// Replaces a concept by a sibling.
pub struct Sibling;

impl Generator for OtherName {
    fn name(&self) -> &'static str {
        "concept_name"
    }

    fn about(&self) -> &'static str {
        "a concept called by another of the lexicon's names for it"
    }

    fn kind(&self) -> Kind {
        Kind::Paraphrase
    }

    fn keys(&self) -> &'static [&'static str] {
        &["density.lexicon"]
    }

    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap> {
        replace(material, stream, |concept, _| vec![concept])
    }
}

impl Generator for Sibling {
    fn name(&self) -> &'static str {
        "concept_sibling"
    }

    fn about(&self) -> &'static str {
        "a concept replaced by a sibling of the same kind under the same parent"
    }

    fn kind(&self) -> Kind {
        Kind::Hard
    }

    fn keys(&self) -> &'static [&'static str] {
        &["density.lexicon"]
    }

    fn swaps(&self, material: &Material<'_>, stream: &mut ChaCha8Rng) -> Vec<Swap> {
        replace(material, stream, |concept, stream| {
            let mut siblings =
                material.concepts.map_or_else(Vec::new, |concepts| concepts.siblings(concept));
            siblings.retain(|sibling| {
                material.mentions.iter().all(|mention| mention.concept != *sibling)
            });
            let n = siblings.len().min(TRIES);
            (0..n).map(|_| siblings.swap_remove(draw::next_below(stream, siblings.len()))).collect()
        })
    }
}

/// Replaces every mention of one drawn concept by a usable name of one of the concepts in its
/// place.
fn replace(
    material: &Material<'_>,
    stream: &mut ChaCha8Rng,
    instead: impl Fn(usize, &mut ChaCha8Rng) -> Vec<usize>,
) -> Vec<Swap> {
    let Some(concepts) = material.concepts else { return Vec::new() };
    let mut mentioned: Vec<usize> =
        material.mentions.iter().map(|mention| mention.concept).collect();
    mentioned.sort_unstable();
    mentioned.dedup();
    // "breast and ovarian cancer" has no place for another name of one of both.
    let is_fixed = |concept: &usize| {
        material.mentions.iter().any(|mention| mention.is_fixed() && mention.concept == *concept)
    };
    mentioned.retain(|concept| !is_fixed(concept));

    for _ in 0..mentioned.len().min(TRIES) {
        let concept = mentioned.swap_remove(draw::next_below(stream, mentioned.len()));
        let mentions = || material.mentions.iter().filter(|mention| mention.concept == concept);
        let Some(first) = mentions().next() else { continue };
        // "heart failure (HF)" would become "stroke (stroke)".
        let explained = mentions()
            .zip(mentions().skip(1))
            .any(|(a, b)| &material.passage[a.end..b.start] == " (");

        if explained {
            continue;
        }
        for other in instead(concept, stream) {
            let mut names = concepts.names(other, material.language);
            names.retain(|name| {
                is_usable(name, &material.passage[first.start..first.end])
                    && !normalise(material.passage).contains(&normalise(name))
            });

            if other != concept {
                // The preferred name stands first: a sibling goes by it.
                names.truncate(1);
            }

            if names.is_empty() {
                continue;
            }
            let name = names.swap_remove(draw::next_below(stream, names.len()));
            let swap = |mention: &crate::rewrite::Mention| {
                let range = mention.start..mention.end;
                let like = &material.passage[range.clone()];
                Swap {
                    text: in_running_text(name, like, range.start == 0, material.wordnet),
                    range,
                }
            };
            return mentions().map(swap).collect();
        }
    }

    Vec::new()
}

/// Whether a lexicon name can stand in the place of another: no inverted or explained form
/// ("Neoplasms, Lung"), no chemical formula, not the same words again.
pub fn is_usable(name: &str, mention: &str) -> bool {
    let plain = !name.contains([',', '(', '[', ';', ':', '/', '+', '，', '（', '、']);
    let formula = |c: char| c.is_numeric() || matches!(c, 'α'..='ω');
    let sorted = |text: &str| {
        let mut words: Vec<String> = normalise(text).split(' ').map(singular).collect();
        words.sort();
        words
    };
    let length = count(name);
    let cjk = name.chars().all(is_cjk);

    plain
        && (length >= 4 || (cjk && length >= 2))
        && length <= MAX_NAME
        && (!name.contains(formula) || mention.contains(formula))
        && sorted(name) != sorted(mention)
        && !is_spelling_of(name, mention)
}

/// What Latin words end with that follow a common noun: "Diabetes Mellitus", "Acne Vulgaris". Names
/// of people stand before it.
static LATIN: &[&str] = &["us", "is", "um", "ae"];

/// Whether two single words share most of their beginning: "haloperidolum" is Latin for
/// "haloperidol".
fn is_spelling_of(name: &str, mention: &str) -> bool {
    let (a, b) = (name.to_lowercase(), mention.to_lowercase());
    let shared = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let shorter = count(&a).min(count(&b)) as usize;
    !a.contains(' ') && !b.contains(' ') && !a.contains(is_cjk) && shared * 5 >= shorter * 3
}

fn singular(word: &str) -> String {
    word.strip_suffix('s').unwrap_or(word).to_string()
}

/// A lexicon name as it would be written in a sentence: lexicons capitalise common nouns ("Heart
/// Failure").
pub fn in_running_text(name: &str, mention: &str, opens: bool, wordnet: &WordNet) -> String {
    let acronym = mention.chars().filter(|c| c.is_uppercase()).count() > 1;
    let lower = mention.chars().next().is_some_and(char::is_lowercase) || opens || acronym;
    if !lower {
        return name.to_string();
    }
    let single = !name.contains(' ');
    let mut was_lower = false;
    let words: Vec<String> = name
        .split(' ')
        .enumerate()
        .map(|(at, word)| {
            let is_title = |part: &str| {
                part.chars().skip(1).all(|c| !c.is_uppercase()) && part.chars().count() > 1
            };
            let title = word.split('-').all(is_title);
            let lower = word.to_lowercase();
            // Behind the first word in its plural, too; before it, "Graves" is a person.
            let is_plural = |word: &str| {
                let one = word.strip_suffix('s').filter(|_| at > 0);
                one.is_some_and(|one| wordnet.usage(one).is_some())
            };
            let is_word = |word: &str| wordnet.usage(word).is_some() || is_plural(word);
            // "Adult-Onset" is none itself.
            let is_known = is_word(&lower) || lower.split('-').all(is_word);
            let is_latin = was_lower && LATIN.iter().any(|end| lower.ends_with(end));
            was_lower = title && (single || is_known || is_latin);
            if was_lower { lower } else { word.to_string() }
        })
        .collect();

    let name = words.join(" ");
    if opens && mention.chars().next().is_some_and(char::is_uppercase) {
        capitalised(&name)
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::wordnet::english;

    #[test]
    fn names_are_written_as_in_a_sentence() {
        let check = |name, mention, opens, expected: &str| {
            assert_eq!(in_running_text(name, mention, opens, english().unwrap()), expected);
        };
        check("Heart Failure", "stroke", false, "heart failure");
        check("Heart Failure", "Stroke", true, "Heart failure");
        check("Alzheimer Disease", "stroke", false, "Alzheimer disease");
        check("Joint Diseases", "stroke", false, "joint diseases");
        check("Graves Disease", "stroke", false, "Graves disease");
        check("Adult-Onset Diabetes Mellitus", "stroke", false, "adult-onset diabetes mellitus");
        check("HIV Infection", "stroke", false, "HIV infection");
        check("Clonidine", "fentanyl", false, "clonidine");
        check("Heart Failure", "CHF", false, "heart failure");
    }

    #[test]
    fn inverted_and_repeated_names_are_not_used() {
        assert!(!is_usable("Neoplasms, Lung", "lung cancer"));
        assert!(!is_usable("Cancer of Lungs", "lung of cancers"));
        assert!(!is_usable("Risperidona", "risperidone") && !is_usable("2-Amino Acid", "amine"));
        assert!(is_usable("Lung Neoplasms", "lung cancer"));
    }
}
