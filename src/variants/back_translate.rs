//! `backtranslate`: the sentences of a document translated and back, each where the round trip says
//! the same and people would write it.
//!
//! The engine is slow, so what it is to translate is chosen before: whole documents, those of the
//! most exposures first, as long as `negatives.back_translation.max_sentences` lasts.

use std::collections::BTreeSet;

use arrow::array::Array;
use rand_chacha::ChaCha8Rng;

use super::gate::Facts;
use super::plan::Plan;
use super::{Document, How, Kit, Variation};
use crate::error::Result;
use crate::flow::contract::strings;
use crate::flow::dataset::Dataset;
use crate::flow::room::Context;
use crate::rewrite::back_translation::{self, Sentence, Translations};
use crate::rewrite::edits::Swap;
use crate::text::sentences::sentences;
use crate::text::words::words;

/// Its name, by which the room knows whether anything is to be translated.
pub const NAME: &str = "backtranslate";

/// Sentences of fewer words are headings, and come back as they were.
const MIN_WORDS: usize = 6;
/// Longer ones are lists and tables, and translate badly.
const MAX_WORDS: usize = 60;

/// See the module.
pub(super) static BACKTRANSLATE: Variation = Variation {
    name: NAME,
    about: "sentences translated and back, where the round trip says the same and is well written",
    keys: &["negatives.back_translation"],
    how: How::Words(|document, kit, _: &mut ChaCha8Rng| Ok(swaps(document, kit))),
};

fn swaps(document: &Document, kit: &Kit) -> Vec<Swap> {
    if !kit.translations.takes(document.language) {
        return Vec::new();
    }
    let mut swaps = Vec::new();
    for range in document.sentences {
        let said = &document.text[range.clone()];
        let Some((_, text)) = kit.translations.get(said) else { continue };
        let facts = |text| Facts::of(text, &kit.rewriter.mentions(text));
        let is_same = facts(said) == facts(text);
        let language = document.language;
        if is_same
            && kit.rewriter.is_paraphrase(said, text, language)
            && kit.translations.is_acceptable(language, said, text)
        {
            swaps.push(Swap { range: range.clone(), text: text.to_string() });
        }
    }
    swaps
}

/// The sentences of a document that are worth a round trip; none of a language that no engine
/// takes.
pub fn worth_asking(
    text: &str,
    language: Option<&str>,
    translations: &Translations,
) -> Vec<Sentence> {
    if !translations.takes(language) {
        return Vec::new();
    }
    let fits = |said: &&str| {
        let n = words(said).take(MAX_WORDS + 1).count();
        (MIN_WORDS..=MAX_WORDS).contains(&n)
    };
    let said = sentences(text).into_iter().map(|range| &text[range]);
    said.filter(fits).filter_map(|said| translations.asked(said, language)).collect()
}

/// A document that is to be translated: its exposures, row and sentences.
type Asked = (u32, u64, Vec<Sentence>);

/// Keeps those of the most exposures, in row order among equals.
fn keep_first(asked: &mut Vec<Asked>, n: usize) {
    asked.sort_by_key(|(exposures, row, _)| (std::cmp::Reverse(*exposures), *row));
    asked.truncate(n);
}

/// Chooses the documents, and translates their sentences.
///
/// # Errors
/// As [`back_translation::open`], or if a part cannot be read.
pub(super) fn prepare(
    input: &Dataset,
    plan: &Plan,
    rewriting: &crate::rewrite::Params,
    cx: &Context<'_>,
) -> Result<Translations> {
    let params = &rewriting.back_translation;
    let mut translations = back_translation::open(params, input, cx)?;
    // Once to plan, to learn what people write, to choose the documents, and to write.
    let choosing = u64::from(translations.has_engine());
    cx.readings(input, u64::from(!translations.is_empty()) + choosing + 2);
    if !translations.has_engine() {
        return Ok(translations);
    }
    let mut asked: Vec<Asked> = Vec::new();
    let columns = ["text", "language"];
    cx.fold(
        input,
        Some(&columns),
        |batch, span| {
            let (texts, languages) = (strings(batch, "text")?, strings(batch, "language")?);
            let of_row = |at: usize| {
                let row = span.first_row + at as u64;
                let exposures = plan.exposures(row);
                let language = languages.is_valid(at).then(|| languages.value(at));
                let said = || worth_asking(texts.value(at), language, &translations);
                (exposures > 1).then(|| (exposures, row, said()))
            };
            Ok((0..batch.num_rows()).filter_map(of_row).collect::<Vec<_>>())
        },
        |batch| {
            asked.extend(batch);
            // Not more than a few times what is asked for in the end stands in memory.
            if asked.len() > 4 * params.max_sentences {
                keep_first(&mut asked, params.max_sentences);
            }
            Ok(())
        },
    )?;

    keep_first(&mut asked, params.max_sentences);
    let (mut left, mut seen, mut jobs) = (params.max_sentences, BTreeSet::new(), Vec::new());
    for (_, _, sentences) in asked {
        if sentences.len() > left {
            continue;
        }
        left -= sentences.len();
        jobs.extend(sentences.into_iter().filter(|one| seen.insert(one.text.clone())));
    }
    translations.add(jobs, cx)?;
    Ok(translations)
}
