//! What makes a document hard, measured: density, word rarity, readability, length, tokens per
//! word, loss.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

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
use crate::text::han::is_common;
use crate::text::languages::{is_chinese, is_english};
use crate::text::sentences::sentences;
use crate::text::words::{is_cjk, words};

/// Every feature, in the order in which [`Features::new`] takes them.
pub static FEATURES: &[&str] =
    &["density", "word_rarity", "readability", "length", "tokens_per_word", "loss"];

/// Cells of the word count table of one language, a power of two: 16 MiB each.
pub const CELLS: usize = 1 << 22;

/// The features of one document, in 24 bytes, because those of the whole corpus are in memory at
/// once.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// In the order of [`FEATURES`]; not a number where the language or the pipeline has no such
    /// feature.
    values: [f32; 6],
}

impl Features {
    /// Features in the order of [`FEATURES`]; `None` where the language or the pipeline has no such
    /// feature.
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
/// Memory does not grow with the corpus. Two words that share a cell are counted together, so a
/// collision can only make a word look more common than it is.
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

    /// No words yet, and one pool for all languages.
    pub fn pooled() -> Self {
        WordCounts::new([(POOLED.to_string(), vec![0; CELLS])].into())
    }

    /// Counts the words of a text in the shared pool.
    pub fn add(&mut self, text: &str) {
        let Some(table) = self.pools.get_mut(POOLED) else { return };
        let mut n_words = 0;
        for word in words(text) {
            let count = &mut table[cell(word.text)];
            *count = (*count + 1).min(MOST_COUNTED);
            n_words += 1;
        }
        *self.totals.entry(POOLED.to_string()).or_default() += f64::from(n_words);
    }

    /// Mean −ln p(word) of a text by the shared pool, in nats: the word rarity of Platanios et al.
    /// 2019 (arXiv:1903.09848), for a word.
    pub fn rarity(&self, text: &str) -> f32 {
        let table = self.pools.get(POOLED).map(Vec::as_slice).unwrap_or_default();
        let total = self.totals.get(POOLED).copied().unwrap_or(0.0);
        if table.is_empty() { 0.0 } else { Read::of(text, table, Spoken::Other).rarity(total) }
    }

    /// The pool of a language: its own where it has one, else the shared one.
    pub fn pool(&self, language: Option<&str>) -> &str {
        language
            .and_then(|language| self.pools.get_key_value(language))
            .map_or(POOLED, |(pool, _)| pool)
    }
}

/// Longest word that is put into lower case without the heap.
const SHORT_BYTES: usize = 64;

fn cell(word: &str) -> usize {
    let hash = |bytes: &[u8]| (xxh3_64(bytes) as usize) & (CELLS - 1);
    let bytes = word.as_bytes();
    if bytes.iter().all(u8::is_ascii_lowercase) {
        return hash(bytes);
    }

    if word.is_ascii() && bytes.len() <= SHORT_BYTES {
        let mut lower = [0; SHORT_BYTES];
        let lower = &mut lower[..bytes.len()];
        lower.copy_from_slice(bytes);
        lower.make_ascii_lowercase();
        return hash(lower);
    }

    hash(word.to_lowercase().as_bytes())
}

/// A cell stops counting here, far above what any word of a corpus reaches; what threads add at
/// once beyond it is cut off, so that the count does not depend on them.
const MOST_COUNTED: u32 = u32::MAX - (1 << 20);

/// Counts the words of every language that has at least `min_docs` documents; the others share one
/// pool.
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
    let mut names: Vec<String> =
        docs.into_iter().filter(|(_, n)| *n >= min_docs).map(|(name, _)| name).collect();
    names.push(POOLED.to_string());
    // Adding up is order-free, so all threads add to the same cells as the batches come.
    let cells = || (0..CELLS).map(|_| AtomicU32::new(0)).collect();
    let tables: BTreeMap<String, Vec<AtomicU32>> =
        names.into_iter().map(|name| (name, cells())).collect();
    cx.scan(input, Some(&["text", "language"]), |batch, _| {
        for (text, language) in strings(batch, "text")?.iter().zip(strings(batch, "language")?) {
            let table =
                language.and_then(|language| tables.get(language)).or_else(|| tables.get(POOLED));
            let table = table.ok_or_else(|| Error::data("the shared pool of words is missing"))?;

            for word in words(text.unwrap_or("")) {
                let count = &table[cell(word.text)];
                if count.load(Ordering::Relaxed) < MOST_COUNTED {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    })?;

    let counted = |table: Vec<AtomicU32>| {
        table.into_iter().map(|n| n.into_inner().min(MOST_COUNTED)).collect()
    };
    Ok(WordCounts::new(tables.into_iter().map(|(pool, table)| (pool, counted(table))).collect()))
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
    let (ids, texts, languages) =
        (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "language")?);
    let density = numbers::<Float32Type>(batch, "density")?;
    let n_tokens = numbers::<UInt32Type>(batch, "n_tokens")?;
    (0..batch.num_rows())
        .into_par_iter()
        .map(|row| {
            let language = languages.is_valid(row).then(|| languages.value(row));
            let pool = counts.pool(language);
            let table = counts
                .pools
                .get(pool)
                .ok_or_else(|| Error::data(format!("no word counts for `{pool}`")))?;
            let text = texts.value(row);
            let total = counts.totals.get(pool).copied().unwrap_or(0.0);
            let read = Read::of(text, table, Spoken::of(language));

            Ok(Features::new([
                Some(density.value(row)),
                Some(read.rarity(total)),
                read.readability(),
                Some(n_tokens.value(row) as f32),
                tokenizer.map(|tokenizer| tokens_per_word(text, tokenizer)).transpose()?,
                losses.and_then(|losses| losses.get(ids.value(row))),
            ]))
        })
        .collect()
}

/// A language whose readability has a formula.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Spoken {
    English,
    Chinese,
    #[default]
    Other,
}

impl Spoken {
    fn of(language: Option<&str>) -> Self {
        match language {
            _ if is_english(language) => Spoken::English,
            _ if is_chinese(language) => Spoken::Chinese,
            _ => Spoken::Other,
        }
    }
}

/// What one reading of a text's words gives.
#[derive(Default)]
struct Read {
    language: Spoken,
    n_words: u32,
    /// Sum of ln of the words' counts, in nats.
    ln_counts: f64,
    /// Words of letters with their syllables of English, characters and the uncommon ones of
    /// Chinese; and the sentences.
    n_spoken: u32,
    n_syllables: usize,
    n_uncommon: u32,
    n_sentences: usize,
}

impl Read {
    fn of(text: &str, table: &[u32], language: Spoken) -> Self {
        let mut read = Read { language, ..Read::default() };
        // A logarithm a word would be half of the work: counts are multiplied as long as a double
        // holds them.
        let mut product = 1.0_f64;

        for word in words(text) {
            read.n_words += 1;
            // A word that no table knows counts as seen once.
            product *= f64::from(table[cell(word.text)].max(1));

            if product > 1e290 {
                read.ln_counts += product.ln();
                product = 1.0;
            }

            if language == Spoken::English && is_spoken(word.text) {
                read.n_spoken += 1;
                read.n_syllables += syllables(word.text);
            } else if language == Spoken::Chinese
                && let Some(c) = word.text.chars().next().filter(|c| is_cjk(*c))
            {
                read.n_spoken += 1;
                read.n_uncommon += u32::from(!is_common(c));
            }
        }

        read.ln_counts += product.ln();
        if language != Spoken::Other {
            read.n_sentences = sentences(text).len();
        }
        read
    }

    /// Mean −ln p(word), in nats, of words out of `total`.
    fn rarity(&self, total: f64) -> f32 {
        if self.n_words == 0 {
            return 0.0;
        }
        (total.max(1.0).ln() - self.ln_counts / f64::from(self.n_words)).max(0.0) as f32
    }

    /// Of English the Flesch–Kincaid grade level `0.39·words/sentences + 11.8·syllables/words −
    /// 15.59` (Kincaid et al. 1975). Of Chinese `characters/sentences + 100·uncommon/characters`:
    /// Björnsson's LIX (1968) with characters for words and those outside the first levels of GB
    /// 2312 and Big5 for long words. Other languages have none; ranks are taken within a language.
    fn readability(&self) -> Option<f32> {
        if self.n_spoken == 0 || self.n_sentences == 0 {
            return None;
        }
        let (words, sentences) = (f64::from(self.n_spoken), self.n_sentences as f64);
        if self.language == Spoken::Chinese {
            return Some((words / sentences + 100.0 * f64::from(self.n_uncommon) / words) as f32);
        }
        Some((0.39 * words / sentences + 11.8 * self.n_syllables as f64 / words - 15.59) as f32)
    }
}

/// Whether a word is made of letters; characters written without spaces are words of their own, and
/// not English.
fn is_spoken(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic())
        || (word.contains(char::is_alphabetic) && !word.starts_with(is_cjk))
}

/// Syllables of an English word by its groups of vowels, a final silent `e` left out; at least one.
fn syllables(word: &str) -> usize {
    let is_vowel = |byte: u8| matches!(byte | 0x20, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let (mut groups, mut inside) = (0, false);

    for byte in word.bytes() {
        let vowel = byte.is_ascii_alphabetic() && is_vowel(byte);
        groups += usize::from(vowel && !inside);
        inside = vowel;
    }

    let ends = |end: &str| {
        word.len() >= end.len()
            && word.as_bytes()[word.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
    };
    let silent = ends("e") && !ends("le") && groups > 1;
    (groups - usize::from(silent)).max(1)
}

fn tokens_per_word(text: &str, tokenizer: &tokenizers::Tokenizer) -> Result<f32> {
    let n_words = words(text).count().max(1);
    let encoding = tokenizer.encode_fast(text, false).map_err(|cause| {
        Error::data(format!("the tokenizer of `difficulty.tokenizer` failed: {cause}"))
    })?;
    Ok(encoding.len() as f32 / n_words as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_of_common_words() {
        for (word, n) in
            [("the", 1), ("table", 2), ("make", 1), ("hypertension", 4), ("rhythm", 1), ("area", 2)]
        {
            assert_eq!(syllables(word), n, "{word}");
        }
    }

    /// By hand: 2 sentences, 9 words, 10 syllables: 0.39·4.5 + 11.8·10/9 − 15.59 = −0.7239.
    #[test]
    fn flesch_kincaid_by_hand() {
        let table = vec![0; CELLS];
        let grade = Read::of("The cat sat on the mat. It was happy.", &table, Spoken::English)
            .readability()
            .unwrap();
        assert!((grade - (-0.723_9)).abs() < 1e-3, "{grade}");
        assert_eq!(Read::of("猫坐在垫子上。", &table, Spoken::Other).readability(), None);
    }

    /// By hand: 12 characters in 2 sentences, one uncommon: 12/2 + 100/12.
    #[test]
    fn lix_of_characters_by_hand() {
        let table = vec![0; CELLS];
        let text = "猫坐在垫子上。它在舔瘙痒处（2）。";
        let grade = Read::of(text, &table, Spoken::Chinese).readability().unwrap();
        assert!((grade - (12.0 / 2.0 + 100.0 / 12.0)).abs() < 1e-4, "{grade}");
        // The script does not matter.
        let hant = Read::of("貓坐在墊子上。", &table, Spoken::Chinese).readability();
        assert_eq!(hant, Read::of("猫坐在垫子上。", &table, Spoken::Chinese).readability());
    }

    #[test]
    fn rarity_is_the_mean_surprise() {
        let mut table = vec![0; CELLS];
        table[cell("the")] = 3;
        table[cell("aspirin")] = 1;
        let expected = ((4.0_f64 / 3.0).ln() + 4.0_f64.ln()) / 2.0;
        assert!(
            (f64::from(Read::of("The aspirin", &table, Spoken::English).rarity(4.0)) - expected)
                .abs()
                < 1e-6
        );
        assert_eq!(Read::of("", &table, Spoken::English).rarity(4.0), 0.0);
        // Far more than one product holds.
        table[cell("of")] = 4_000_000_000;
        let long = Read::of(&"of ".repeat(1_000), &table, Spoken::English).rarity(8e9);

        assert!((long - 2.0_f32.ln()).abs() < 1e-6, "{long}");
    }
}
