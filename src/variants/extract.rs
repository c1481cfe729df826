//! `extract`: the document without the sentences that hold no knowledge: no concept, number,
//! negation or comparison, and nothing that the next sentence leans on.

use rand_chacha::ChaCha8Rng;

use super::gate::Facts;
use super::permute::{is_list, leans, within};
use super::{Document, How, Variation};
use crate::rewrite::Mention;
use crate::rewrite::edits::Swap;

/// See the module.
pub(super) static EXTRACT: Variation = Variation {
    name: "extract",
    about: "the document without the sentences that mention no concept and count nothing",
    keys: &[],
    how: How::Words(|document, _, _: &mut ChaCha8Rng| Ok(swaps(document))),
};

/// What is left is a document still: at least this share of it.
const LEAST: f64 = 0.4;

fn swaps(document: &Document) -> Vec<Swap> {
    let text = document.text;
    // Of statutes and lists every item says something; and where most sentences have no concept,
    // the lexicon does not know what the text is about.
    let named =
        document.sentences.iter().filter(|one| within(document.mentions, one).next().is_some());
    if is_list(text) || 2 * named.count() < document.sentences.len() {
        return Vec::new();
    }
    let mut swaps: Vec<Swap> = Vec::new();
    for (nth, sentence) in document.sentences.iter().enumerate() {
        let said = &text[sentence.clone()];
        let next = document.sentences.get(nth + 1);
        let is_leant_on = next.is_some_and(|next| leans(&text[next.clone()]));
        let own: Vec<Mention> = within(document.mentions, sentence).copied().collect();
        let is_label = said.contains([':', '：', '“', '”', '"', '「', '」']);
        if own.is_empty() && !is_leant_on && !is_label && Facts::of(said, &own).is_empty() {
            // With the space behind it, but not the end of a line.
            let behind = &text[sentence.end..];
            let space = behind.len() - behind.trim_start_matches([' ', '\u{3000}']).len();
            swaps.push(Swap { range: sentence.start..sentence.end + space, text: String::new() });
        }
    }
    let dropped: usize = swaps.iter().map(|swap| swap.range.len()).sum();
    if (text.len() - dropped) as f64 >= LEAST * text.len() as f64 { swaps } else { Vec::new() }
}
