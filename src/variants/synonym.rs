//! `synonym`: words outside of concepts replaced by synonyms, English by WordNet, Chinese by the
//! thesaurus, so many in each sentence as `negatives.replace_share` says.
//!
//! A word that negates, compares or counts stays, and none becomes one that does.

use rand_chacha::ChaCha8Rng;

use super::gate::Facts;
use super::permute::within;
use super::{Document, How, Kit, Variation};
use crate::error::Result;
use crate::rewrite::edits::Swap;
use crate::rewrite::synonym::Synonym;
use crate::rewrite::thesaurus::ThesaurusSynonym;
use crate::rewrite::{Generator, Mention};

/// See the module.
pub(super) static SYNONYM: Variation = Variation {
    name: "synonym",
    about: "words replaced by synonyms of the same form, English and Chinese",
    keys: &["negatives.replace_share", "negatives.thesaurus"],
    how: How::Words(swaps),
};

fn swaps(document: &Document, kit: &Kit, stream: &mut ChaCha8Rng) -> Result<Vec<Swap>> {
    let thesaurus = kit.rewriter.thesaurus(document.language, document.text)?;
    let mut all = Vec::new();

    for sentence in document.sentences {
        let own: Vec<Mention> = within(document.mentions, sentence)
            .map(|one| Mention {
                start: one.start - sentence.start,
                end: one.end - sentence.start,
                ..*one
            })
            .collect();
        let said = &document.text[sentence.clone()];
        let material = kit.rewriter.material(said, &own, document.language, thesaurus);
        let generator: &dyn Generator =
            if material.is_english() { &Synonym } else { &ThesaurusSynonym };

        let is_plain = |text: &str| Facts::of(text, &kit.rewriter.mentions(text)).is_empty();
        let swaps = generator.swaps(&material, stream).into_iter();
        let kept = swaps.filter(|swap| is_plain(&said[swap.range.clone()]) && is_plain(&swap.text));
        all.extend(kept.map(|swap| Swap {
            range: swap.range.start + sentence.start..swap.range.end + sentence.start,
            text: swap.text,
        }));
    }
    Ok(all)
}
