//! `alias`: concepts called by another of their exact names, each mention with a probability.
//!
//! Only names that mean the concept itself, never a broader or narrower one
//! ([`Concept::inexact`](crate::knowledge::lexicon::Concept)), and that are read as that concept
//! where they stand alone. What is fixed stays: adjectives, names that share a word with others,
//! names in another number, what the text abbreviates, and names inside those of others
//! ("Osteoarthritis Index", "ibuprofen-treated"). So does whatever a sentence calls by two names:
//! "heart failure (HF)", "aspirin, also known as acetylsalicylic acid".

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;

use super::permute::{is_in_brackets, within};
use super::{Document, How, Kit, Variation};
use crate::draw;
use crate::error::Result;
use crate::knowledge::names::Rule;
use crate::rewrite::Mention;
use crate::rewrite::concept::{in_running_text, is_usable};
use crate::rewrite::edits::Swap;
use crate::text::words::words;

/// See the module.
pub(super) static ALIAS: Variation = Variation {
    name: "alias",
    about: "concepts called by another of the lexicon's exact names for them",
    keys: &["variants.alias_share"],
    how: How::Words(swaps),
};

fn swaps(document: &Document, kit: &Kit, stream: &mut ChaCha8Rng) -> Result<Vec<Swap>> {
    let Some(concepts) = kit.rewriter.concepts() else { return Ok(Vec::new()) };
    let text = document.text;
    let mut swaps: Vec<Swap> = Vec::new();

    for (nth, mention) in document.mentions.iter().enumerate() {
        let is_drawn = draw::next_unit(stream) < kit.params.alias_share;
        let next = document.mentions.get(nth + 1);
        if !is_drawn || stays(text, mention, next) || has_two_names(document, mention) {
            continue;
        }
        let like = &text[mention.start..mention.end];
        let is_read = |name: &str| {
            let found = kit.rewriter.mentions(name);
            matches!(found.as_slice(), [one] if one.concept == mention.concept
                && one.start == 0 && one.end == name.len())
        };
        let mut names = concepts.names(mention.concept, document.language);
        // Of so many most are products of it.
        if names.len() > MOST_NAMES {
            continue;
        }
        names.retain(|name| is_usable(name, like) && is_plain(name, like) && is_read(name));
        if names.is_empty() {
            continue;
        }

        let name = names[draw::next_below(stream, names.len())];
        let opens = document.sentences.iter().any(|sentence| sentence.start == mention.start);
        let written = in_running_text(name, like, opens, kit.rewriter.wordnet());
        swaps.push(Swap { range: mention.start..mention.end, text: written });
    }
    Ok(swaps)
}

/// Names that a concept may have for one of them to be put into a text.
const MOST_NAMES: usize = 20;

/// Words of names that are products, forms of them, or places in a classification.
static MARKS: &[&str] = &[
    "nos",
    "nec",
    "unspecified",
    "sr",
    "cr",
    "er",
    "xr",
    "xl",
    "ec",
    "strength",
    "children",
    "childrens",
    "infant",
    "infants",
    "junior",
    "adult",
    "tablet",
    "tablets",
    "capsule",
    "capsules",
    "gel",
    "gels",
    "liqui",
    "cream",
    "patch",
    "relief",
    "equate",
    "brand",
    "acute",
    "chronic",
    "potassium",
    "sodium",
    "hydrochloride",
    "and",
    "with",
    "plus",
    "due",
    "induced",
];

/// Whether a name means no more and no less than the mention, as far as words tell: neither has all
/// words of the other and more, and it is no product or form of it.
fn is_plain(name: &str, mention: &str) -> bool {
    let of = |text: &str| -> BTreeSet<String> {
        words(text).map(|word| word.text.to_lowercase()).collect()
    };
    let (name, mention) = (of(name), of(mention));
    let is_marked = MARKS.iter().any(|mark| name.contains(*mark) && !mention.contains(*mark));
    !is_marked && !name.is_subset(&mention) && !mention.is_subset(&name)
}

/// Whether a sentence calls a concept by two names, or speaks of its name.
fn has_two_names(document: &Document, mention: &Mention) -> bool {
    let at = document.sentences.partition_point(|sentence| sentence.end < mention.end);
    let Some(sentence) = document.sentences.get(at) else { return false };
    let said = document.text[sentence.clone()].to_lowercase();
    let names: BTreeSet<String> = within(document.mentions, sentence)
        .filter(|one| one.concept == mention.concept && one.rule != Rule::Abbreviation)
        .map(|one| document.text[one.start..one.end].to_lowercase())
        .collect();
    names.len() > 1 || SPEAKS.iter().any(|words| said.contains(words))
}

/// What a sentence says that speaks of names.
static SPEAKS: &[&str] = &[
    " called ",
    "known as",
    "the word ",
    "the term ",
    "named ",
    "termed ",
    "synonym",
    "abbreviat",
    "又称",
    "简称",
    "也叫",
    "亦称",
    "俗称",
    "又名",
    "别名",
];

/// Whether a mention keeps its name.
fn stays(text: &str, mention: &Mention, next: Option<&Mention>) -> bool {
    let is_explained = next.is_some_and(|next| {
        next.concept == mention.concept
            && text
                .get(mention.end..next.start)
                .is_some_and(|between| matches!(between, " (" | "(" | "（" | " ["))
    });
    let overlaps = next.is_some_and(|next| next.start < mention.end);
    mention.is_fixed()
        || matches!(mention.rule, Rule::Number | Rule::Abbreviation)
        || is_explained
        || overlaps
        || is_in_brackets(text, mention)
        || is_part_of_a_name(text, mention)
        // What the text does not explain may mean something else here.
        || text[mention.start..mention.end].chars().filter(|c| c.is_uppercase()).count() > 1
}

/// Whether a mention is part of something else's name: joined by a hyphen, or with capitals beside
/// a word that has one.
fn is_part_of_a_name(text: &str, mention: &Mention) -> bool {
    let (before, behind) = (&text[..mention.start], &text[mention.end..]);
    let is_joined = before.ends_with(['-', '/']) || behind.starts_with(['-', '/']);
    let has_capital = text[mention.start..].starts_with(char::is_uppercase);
    let next = behind.strip_prefix(' ').is_some_and(|rest| rest.starts_with(char::is_uppercase));
    let last = before.strip_suffix(' ').and_then(|rest| rest.rsplit(' ').next());
    let previous = last.is_some_and(|word| {
        word.starts_with(char::is_uppercase) && word.ends_with(char::is_alphanumeric)
    });
    is_joined || has_capital && (next || previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_neither_more_nor_less() {
        assert!(is_plain("heart attack", "myocardial infarction"));
        assert!(is_plain("acetylsalicylic acid", "aspirin"));
        for (name, mention) in [
            ("exercise induced asthma", "asthma"),
            ("asthma", "bronchial asthma"),
            ("Advil Liqui-Gels", "ibuprofen"),
            ("gingival enlargement NOS", "gingival overgrowth"),
        ] {
            assert!(!is_plain(name, mention), "{name}");
        }
    }

    #[test]
    fn names_inside_names_stay() {
        let part = |text: &str, name: &str| {
            let start = text.find(name).unwrap();
            let mention = Mention { end: start + name.len(), ..Mention::at(start, 0) };
            is_part_of_a_name(text, &mention)
        };
        assert!(part("by the Universities Osteoarthritis Index", "Osteoarthritis"));
        assert!(part("the ibuprofen-treated group", "ibuprofen"));
        assert!(!part("given. Ibuprofen helps", "Ibuprofen"));
        assert!(!part("the group on ibuprofen was", "ibuprofen"));
    }
}
