//! `alias`: concepts called by another of their exact names, each mention with a probability.
//!
//! Only names that mean the concept itself, never a broader or narrower one
//! ([`Concept::inexact`](crate::knowledge::lexicon::Concept)), and that are read as that concept
//! where they stand alone. What is fixed stays: adjectives, names that share a word with others,
//! names in another number, and a name that is explained behind it ("heart failure (HF)").

use rand_chacha::ChaCha8Rng;

use super::permute::is_in_brackets;
use super::{Document, How, Kit, Variation};
use crate::draw;
use crate::error::Result;
use crate::knowledge::names::Rule;
use crate::rewrite::Mention;
use crate::rewrite::concept::{in_running_text, is_usable};
use crate::rewrite::edits::Swap;

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
        if !is_drawn || stays(text, mention, next) {
            continue;
        }
        let like = &text[mention.start..mention.end];
        let is_read = |name: &str| {
            let found = kit.rewriter.mentions(name);
            matches!(found.as_slice(), [one] if one.concept == mention.concept
                && one.start == 0 && one.end == name.len())
        };
        let mut names = concepts.names(mention.concept, document.language);
        names.retain(|name| is_usable(name, like) && is_read(name));
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
        || mention.rule == Rule::Number
        || is_explained
        || overlaps
        || is_in_brackets(text, mention)
}
