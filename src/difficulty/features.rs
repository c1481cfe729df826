//! What makes a document hard, measured: density, word rarity, readability, length, tokens per word, loss.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Float32Type, UInt32Type};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::difficulty::edges::POOLED;
use crate::difficulty::losses::Losses;
use crate::error::{Error, Result};
use crate::flow::contract::{numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::Context;
use crate::text::sentences::sentences;
use crate::text::words::{is_cjk, words};

/// Every feature, in the order in which [`Features::new`] takes them.
pub static FEATURES: &[&str] = &["density", "word_rarity", "readability", "length", "tokens_per_word", "loss"];

/// Cells of the word count table of one language, a power of two: 16 MiB each.
pub const CELLS: usize = 1 << 22;

/// The features of one document, in 24 bytes, because those of the whole corpus are in memory at once.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// In the order of [`FEATURES`]; not a number where the language or the pipeline has no such feature.
    values: [f32; 6],
}

impl Features {
    /// Features in the order of [`FEATURES`]; `None` where the language or the pipeline has no such feature.
    pub fn new(values: [Option<f32>; 6]) -> Self {
        Features { values: values.map(|value| value.unwrap_or(f32::NAN)) }
    }

    /// The feature at a place in [`FEATURES`].
    pub fn at(&self, idx: usize) -> Option<f32> {
        Some(self.values[idx]).filter(|value| !value.is_nan())
    }

    /// The feature called `name`.
    pub fn get(&self, name: &str) -> Option<f32> {
        FEATURES.iter().position(|feature| *feature == name).and_then(|idx| self.at(idx))
    }
}

/// How often each word occurs in each language, in a fixed table of hashed cells.
///
/// Memory does not grow with the corpus. Two words that share a cell are counted together, so a collision can
/// only make a word look more common than it is.
#[derive(Clone, Debug, PartialEq)]
pub struct WordCounts {
    /// Cell counts by pool (a language, or the pool of small languages).
    pub pools: BTreeMap<String, Vec<u32>>,
    /// Words in all, by pool.
    totals: BTreeMap<String, f64>,
}

impl WordCounts {
    /// The tables with their sums.
    pub fn new(pools: BTreeMap<String, Vec<u32>>) -> Self {
        let sum = |table: &[u32]| table.iter().map(|n| f64::from(*n)).sum();
        let totals = pools.iter().map(|(pool, table)| (pool.clone(), sum(table))).collect();
        WordCounts { pools, totals }
    }

    /// The pool of a language: its own where it has one, else the shared one.
    pub fn pool(&self, language: Option<&str>) -> &str {
        language.and_then(|language| self.pools.get_key_value(language)).map_or(POOLED, |(pool, _)| pool)
    }
}

fn cell(word: &str) -> usize {
    let lower;
    let key = if word.bytes().all(|b| b.is_ascii_lowercase()) {
        word
    } else {
        lower = word.to_lowercase();
        &lower
    };
    (xxh3_64(key.as_bytes()) as usize) & (CELLS - 1)
}

/// Counts the words of every language that has at least `min_docs` documents; the others share one pool.
///
/// # Errors
/// If a part cannot be read.
pub fn count_words(input: &Dataset, min_docs: u64, cx: &Context) -> Result<WordCounts> {
    let mut docs: BTreeMap<String, u64> = BTreeMap::new();
    let of_batch = |batch: &RecordBatch, _| {
        let mut docs: BTreeMap<String, u64> = BTreeMap::new();
        for language in strings(batch, "language")? {
            *docs.entry(language.unwrap_or(POOLED).to_string()).or_default() += 1;
        }
        Ok(docs)
    };
    cx.fold(input, Some(&["language"]), of_batch, |batch| {
        batch.into_iter().for_each(|(language, n)| *docs.entry(language).or_default() += n);
        Ok(())
    })?;
    let mut names: Vec<String> = docs.into_iter().filter(|(_, n)| *n >= min_docs).map(|(name, _)| name).collect();
    names.push(POOLED.to_string());
    let mut counts = WordCounts::new(names.into_iter().map(|name| (name, vec![0; CELLS])).collect());
    // Words are hashed in parallel; adding up is order-free, so a batch's cells are added as they come.
    let hashed: std::sync::Mutex<&mut WordCounts> = std::sync::Mutex::new(&mut counts);
    cx.scan(input, Some(&["text", "language"]), |batch, _| {
        let (texts, languages) = (strings(batch, "text")?, strings(batch, "language")?);
        let cells: Vec<Vec<usize>> = (0..batch.num_rows())
            .into_par_iter()
            .map(|row| words(texts.value(row)).map(|word| cell(word.text)).collect())
            .collect();
        let mut counts = hashed.lock().map_err(|_| Error::data("a word counting thread panicked"))?;
        for (row, cells) in cells.iter().enumerate() {
            let language = languages.is_valid(row).then(|| languages.value(row));
            let pool = counts.pool(language).to_string();
            if let Some(table) = counts.pools.get_mut(&pool) {
                cells.iter().for_each(|cell| table[*cell] = table[*cell].saturating_add(1));
            }
        }
        Ok(())
    })?;
    Ok(WordCounts::new(counts.pools))
}

/// Measures every document of a batch.
///
/// # Errors
/// If the batch lacks a column.
pub fn measure(
    batch: &RecordBatch,
    counts: &WordCounts,
    tokenizer: Option<&tokenizers::Tokenizer>,
    losses: Option<&Losses>,
) -> Result<Vec<Features>> {
    let (ids, texts, languages) = (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "language")?);
    let density = numbers::<Float32Type>(batch, "density")?;
    let n_tokens = numbers::<UInt32Type>(batch, "n_tokens")?;
    (0..batch.num_rows())
        .into_par_iter()
        .map(|row| {
            let language = languages.is_valid(row).then(|| languages.value(row));
            let pool = counts.pool(language);
            let table = counts.pools.get(pool).ok_or_else(|| Error::data(format!("no word counts for `{pool}`")))?;
            let text = texts.value(row);
            Ok(Features::new([
                Some(density.value(row)),
                Some(word_rarity(text, table, counts.totals.get(pool).copied().unwrap_or(0.0))),
                readability(text, language),
                Some(n_tokens.value(row) as f32),
                tokenizer.map(|tokenizer| tokens_per_word(text, tokenizer)).transpose()?,
                losses.and_then(|losses| losses.get(ids.value(row))),
            ]))
        })
        .collect()
}

/// Mean −ln p(word), in nats; a word no table knows counts as seen once.
fn word_rarity(text: &str, table: &[u32], total: f64) -> f32 {
    let (mut sum, mut n) = (0.0, 0_u32);
    for word in words(text) {
        sum += (total.max(1.0) / f64::from(table[cell(word.text)].max(1))).ln();
        n += 1;
    }
    if n == 0 { 0.0 } else { (sum / f64::from(n)).max(0.0) as f32 }
}

/// Flesch–Kincaid grade level `0.39·words/sentences + 11.8·syllables/words − 15.59` (Kincaid et al. 1975);
/// defined for English only.
fn readability(text: &str, language: Option<&str>) -> Option<f32> {
    if language != Some("en") {
        return None;
    }
    let n_sentences = sentences(text).len();
    let (mut n_words, mut n_syllables) = (0_usize, 0_usize);
    for word in words(text).filter(|word| word.text.chars().any(char::is_alphabetic) && !word.text.contains(is_cjk)) {
        n_words += 1;
        n_syllables += syllables(word.text);
    }
    if n_words == 0 || n_sentences == 0 {
        return None;
    }
    let (words, sentences, syllables) = (n_words as f64, n_sentences as f64, n_syllables as f64);
    Some((0.39 * words / sentences + 11.8 * syllables / words - 15.59) as f32)
}

/// Syllables of an English word by its groups of vowels, a final silent `e` left out; at least one.
fn syllables(word: &str) -> usize {
    let lower = word.to_ascii_lowercase();
    let is_vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let mut groups = 0;
    let mut inside = false;
    for c in lower.chars() {
        groups += usize::from(is_vowel(c) && !inside);
        inside = is_vowel(c);
    }
    let silent = lower.ends_with('e') && !lower.ends_with("le") && groups > 1;
    (groups - usize::from(silent)).max(1)
}

fn tokens_per_word(text: &str, tokenizer: &tokenizers::Tokenizer) -> Result<f32> {
    let n_words = words(text).count().max(1);
    let encoding = tokenizer
        .encode_fast(text, false)
        .map_err(|cause| Error::data(format!("the tokenizer of `difficulty.tokenizer` failed: {cause}")))?;
    Ok(encoding.len() as f32 / n_words as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_of_common_words() {
        for (word, n) in [("the", 1), ("table", 2), ("make", 1), ("hypertension", 4), ("rhythm", 1), ("area", 2)] {
            assert_eq!(syllables(word), n, "{word}");
        }
    }

    /// By hand: 2 sentences, 9 words, 10 syllables: 0.39·4.5 + 11.8·10/9 − 15.59 = −0.7239.
    #[test]
    fn flesch_kincaid_by_hand() {
        let grade = readability("The cat sat on the mat. It was happy.", Some("en")).unwrap();
        assert!((grade - (-0.723_9)).abs() < 1e-3, "{grade}");
        assert_eq!(readability("猫坐在垫子上。", Some("zh")), None);
    }

    #[test]
    fn rarity_is_the_mean_surprise() {
        let mut table = vec![0; CELLS];
        table[cell("the")] = 3;
        table[cell("aspirin")] = 1;
        let expected = ((4.0_f64 / 3.0).ln() + 4.0_f64.ln()) / 2.0;
        assert!((f64::from(word_rarity("The aspirin", &table, 4.0)) - expected).abs() < 1e-6);
        assert_eq!(word_rarity("", &table, 4.0), 0.0);
    }
}
