//! Which sentences are worth the slow round trip: one a document, until the budget is spent.
//!
//! Two narrow scans: the first ranks documents by (bucket, concepts, draw) and keeps the best in a
//! bounded list; the second fetches their sentences, in row order. Both are pure, so a rerun
//! chooses the same.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{UInt8Type, UInt32Type};

use crate::draw;
use crate::error::Result;
use crate::flow::contract::{numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::{Context, Span};
use crate::negatives::{Params, passages};
use crate::rewrite::ConceptNames;
use crate::rewrite::back_translation::{self, Sentence, Translations};

/// Documents with this many concepts or more count alike.
const MANY_CONCEPTS: u32 = 8;

/// A document's claim to a translation; the smallest come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    /// 255 - bucket.
    ease: u8,
    /// What its concepts lack to [`MANY_CONCEPTS`].
    plain: u32,
    draw: u64,
    row: u64,
}

/// Chooses sentences and translates them.
///
/// # Errors
/// As [`back_translation::open`], or if a part cannot be read.
pub(super) fn translations(
    input: &Dataset,
    params: &Params,
    concepts: Option<&dyn ConceptNames>,
    cx: &Context<'_>,
) -> Result<Translations> {
    let mut translations = back_translation::open(&params.back_translation, input, cx)?;
    // Once to learn what people write, twice to choose the sentences, and once to write.
    let choosing = if translations.has_engine() { 2 } else { 0 };
    cx.readings(input, u64::from(!translations.is_empty()) + choosing + 1);
    if translations.has_engine() {
        let sentences = select(input, params, concepts, &translations, cx)?;
        translations.add(sentences, cx)?;
    }
    Ok(translations)
}

/// The sentences to translate, in row order, at most `max_sentences`.
///
/// # Errors
/// If a part cannot be read.
fn select(
    input: &Dataset,
    params: &Params,
    concepts: Option<&dyn ConceptNames>,
    translations: &Translations,
    cx: &Context<'_>,
) -> Result<Vec<Sentence>> {
    let budget = params.back_translation.max_sentences;
    let columns = ["id", "language", "bucket", "n_concepts"];
    // A document may turn out to have no sentence of fitting length, so twice the budget is looked
    // at.
    let most = budget.saturating_mul(2);
    let mut tickets: Vec<Ticket> = Vec::new();
    cx.fold(
        input,
        Some(&columns),
        |batch, span| self::tickets(batch, span, translations, cx.seed),
        |batch| {
            tickets.extend(batch);
            if tickets.len() > most.saturating_mul(2) {
                keep_smallest(&mut tickets, most);
            }
            Ok(())
        },
    )?;

    keep_smallest(&mut tickets, most);
    tickets.sort_unstable();
    let mut rows: Vec<(u64, usize)> =
        tickets.iter().enumerate().map(|(rank, ticket)| (ticket.row, rank)).collect();
    rows.sort_unstable();
    let found = cx.scan(input, Some(&["id", "text", "language"]), |batch, span| {
        let (ids, texts) = (strings(batch, "id")?, strings(batch, "text")?);
        let languages = strings(batch, "language")?;
        let first = rows.partition_point(|(row, _)| *row < span.first_row);
        let mine = rows[first..]
            .iter()
            .take_while(|(row, _)| *row < span.first_row + batch.num_rows() as u64);
        let sentences = mine.filter_map(|(row, rank)| {
            let at = (row - span.first_row) as usize;
            let (id, text) = (ids.value(at), texts.value(at));
            let mentions = concepts.map_or_else(Vec::new, |concepts| concepts.mentions(text));
            let passage =
                passages::pick(id, text, &mentions, params, cx.seed).into_iter().next()?;
            let language = languages.is_valid(at).then(|| languages.value(at));
            Some((*rank, translations.asked(&text[passage], language)?))
        });
        Ok(sentences.collect::<Vec<_>>())
    })?;

    let mut found: Vec<(usize, Sentence)> = found.into_iter().flatten().collect();
    let mut ranks: Vec<usize> = found.iter().map(|(rank, _)| *rank).collect();
    ranks.sort_unstable();
    if let Some(&beyond) = ranks.get(budget) {
        found.retain(|(rank, _)| *rank < beyond);
    }
    Ok(found.into_iter().map(|(_, sentence)| sentence).collect())
}

fn keep_smallest(tickets: &mut Vec<Ticket>, n: usize) {
    if n < tickets.len() {
        tickets.select_nth_unstable(n);
        tickets.truncate(n);
    }
}

fn tickets(
    batch: &RecordBatch,
    span: Span,
    translations: &Translations,
    seed: u64,
) -> Result<Vec<Ticket>> {
    let (ids, languages) = (strings(batch, "id")?, strings(batch, "language")?);
    let (buckets, concepts) =
        (numbers::<UInt8Type>(batch, "bucket")?, numbers::<UInt32Type>(batch, "n_concepts")?);
    let taken = languages.iter().enumerate().filter(|(_, language)| translations.takes(*language));
    let tickets = taken.map(|(at, _)| Ticket {
        ease: u8::MAX - buckets.value(at),
        plain: MANY_CONCEPTS.saturating_sub(concepts.value(at)),
        draw: draw::unit(seed, "back-translation", ids.value(at).as_bytes()).to_bits(),
        row: span.first_row + at as u64,
    });
    Ok(tickets.collect())
}
