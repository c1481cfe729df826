//! What training documents mention: concepts, and pairs of them in one sentence.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Float32Type, UInt8Type, UInt32Type, UInt64Type};

use super::Params;
use crate::error::{Error, Result};
use crate::flow::contract::{numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::{Context, Span};
use crate::rewrite::lexicon::LexiconNames;
use crate::rewrite::{ConceptNames, Mention};
use crate::text::languages::{is_chinese, is_english};
use crate::text::sentences::sentences;
use crate::text::words::words;

/// Columns whose means the rows of this room get: they were measured of documents.
pub(super) const MEASURED: [&str; 7] =
    ["bm25", "bm25_per_token", "rarity", "coverage", "density", "word_rarity", "difficulty"];
/// Words of a sentence that a passage may have: shorter ones say too little, longer ones are lists.
const WORDS: std::ops::Range<usize> = 6..101;
/// Concepts of a sentence whose pairs count; of more it is a list.
const CONCEPTS: usize = 6;
/// Memory of a pair that is counted, in bytes: key, number, and the map's free places.
const PAIR_BYTES: u64 = 32;

/// A language that facts are worded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    /// That of an ISO 639 code; `None` for all others.
    pub(super) fn of(code: Option<&str>) -> Option<Self> {
        match code {
            _ if is_english(code) => Some(Language::English),
            _ if is_chinese(code) => Some(Language::Chinese),
            _ => None,
        }
    }

    /// Its ISO 639 code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh",
        }
    }
}

/// Sums over documents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Measures {
    /// Of each of [`MEASURED`].
    sums: [f64; MEASURED.len()],
    buckets: u64,
    n: u32,
}

impl Measures {
    /// Those of one document.
    pub(super) fn of(batch: &RecordBatch, row: usize) -> Result<Self> {
        let mut sums = [0.0; MEASURED.len()];
        for (sum, name) in sums.iter_mut().zip(MEASURED) {
            *sum = f64::from(numbers::<Float32Type>(batch, name)?.value(row));
        }
        let buckets = u64::from(numbers::<UInt8Type>(batch, "bucket")?.value(row));
        Ok(Measures { sums, buckets, n: 1 })
    }

    /// With those of others.
    pub(super) fn add(&mut self, other: &Measures) {
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum += more);
        self.buckets += other.buckets;
        self.n += other.n;
    }

    /// The mean of each of [`MEASURED`].
    pub(super) fn means(&self) -> [f32; MEASURED.len()] {
        self.sums.map(|sum| (sum / f64::from(self.n.max(1))) as f32)
    }

    /// The mean bucket, rounded.
    pub(super) fn bucket(&self) -> u8 {
        (self.buckets as f64 / f64::from(self.n.max(1))).round() as u8
    }
}

/// A concept of training documents.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Documents that mention it.
    pub(super) documents: u32,
    /// Those of them in Chinese.
    pub(super) chinese: u32,
    /// What was measured of them.
    pub(super) measures: Measures,
}

/// What training documents mention.
pub(super) struct Corpus {
    /// By concept.
    pub(super) concepts: Vec<Told>,
    /// Documents with a sentence that names both concepts of a pair, the smaller number first.
    pub(super) pairs: HashMap<[u32; 2], u32>,
    /// Documents that were looked at.
    pub(super) documents: u64,
    /// Tokens of the domain, those of further exposures too.
    pub(super) domain_tokens: u64,
}

impl Corpus {
    /// The language that most documents about a concept are in.
    pub(super) fn language(&self, concept: u32) -> Language {
        let told = &self.concepts[concept as usize];
        match 2 * told.chinese > told.documents {
            true => Language::Chinese,
            false => Language::English,
        }
    }
}

/// A sentence of a document that names both concepts of some pairs.
pub(super) struct Sentence<'a> {
    pub(super) said: &'a str,
    pub(super) pairs: Vec<[u32; 2]>,
}

/// The sentences of a text that name two concepts, with the pairs; not its title, which readers put
/// before it.
pub(super) fn pairs<'a>(
    text: &'a str,
    title: Option<&str>,
    mentions: &[Mention],
) -> Vec<Sentence<'a>> {
    let mut found = Vec::new();
    for range in sentences(text) {
        let within = |one: &&Mention| range.start <= one.start && one.end <= range.end;
        let mut own: Vec<u32> =
            mentions.iter().filter(within).map(|one| one.concept as u32).collect();
        own.sort_unstable();
        own.dedup();
        let said = &text[range.clone()];
        let is_some = (2..=CONCEPTS).contains(&own.len());
        let is_title = title.is_some_and(|title| title.contains(said.trim()));
        if !is_some
            || is_title
            || !is_sentence(said)
            || !WORDS.contains(&words(said).take(WORDS.end).count())
        {
            continue;
        }
        let pairs =
            own.iter().enumerate().flat_map(|(at, a)| own[at + 1..].iter().map(move |b| [*a, *b]));
        found.push(Sentence { said, pairs: pairs.collect() });
    }
    found
}

/// Whether it begins and ends as a sentence does: a heading or the item of a list says nothing by
/// itself.
fn is_sentence(said: &str) -> bool {
    let begins =
        said.chars().next().is_some_and(|c| !c.is_lowercase() && !c.is_ascii_punctuation());
    begins && said.ends_with(['.', '!', '?', '。', '！', '？']) && !said.contains('\n')
}

/// The training documents of a batch: their rows.
pub(super) fn rows_of(
    batch: &RecordBatch,
    held_out: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Vec<usize>> {
    let (roles, parents) = (strings(batch, "role")?, strings(batch, "parent")?);
    let groups = numbers::<UInt64Type>(batch, "neighbourhood")?;
    let is_one = |row: &usize| {
        roles.value(*row) == "domain" && parents.is_null(*row) && !held_out(groups.value(*row))
    };
    Ok((0..batch.num_rows()).filter(is_one).collect())
}

/// Reads what all training documents of a domain mention.
///
/// # Errors
/// If a part cannot be read, or the pairs take more memory than they may.
pub(super) fn read(
    input: &Dataset,
    params: &Params,
    names: &LexiconNames,
    held_out: &(dyn Fn(u64) -> bool + Sync),
    cx: &Context<'_>,
) -> Result<Corpus> {
    cx.progress.message("concepts of documents");
    let n = names.lexicon().concepts.len();
    let mut corpus = Corpus {
        concepts: vec![Told::default(); n],
        pairs: HashMap::new(),
        documents: 0,
        domain_tokens: 0,
    };
    let kernel = |batch: &RecordBatch, _: Span| {
        let (texts, languages) = (strings(batch, "text")?, strings(batch, "language")?);
        let (roles, titles) = (strings(batch, "role")?, strings(batch, "title")?);
        let (lengths, times) =
            (numbers::<UInt32Type>(batch, "n_tokens")?, numbers::<UInt32Type>(batch, "times")?);
        let domain = (0..batch.num_rows()).filter(|row| roles.value(*row) == "domain");
        let tokens: u64 =
            domain.map(|row| u64::from(lengths.value(row)) * u64::from(times.value(row))).sum();

        let mut documents = Vec::new();
        for row in rows_of(batch, held_out)? {
            let code = languages.is_valid(row).then(|| languages.value(row));
            let Some(language) = Language::of(code) else { continue };
            let mentions = names.mentions(texts.value(row));
            let mut concepts: Vec<u32> =
                mentions.iter().map(|mention| mention.concept as u32).collect();
            concepts.sort_unstable();
            concepts.dedup();
            let title = titles.is_valid(row).then(|| titles.value(row));
            let mut named: Vec<[u32; 2]> = match params.passages > 0.0 {
                true => pairs(texts.value(row), title, &mentions)
                    .into_iter()
                    .flat_map(|sentence| sentence.pairs)
                    .collect(),
                false => Vec::new(),
            };
            named.sort_unstable();
            named.dedup();
            documents.push((language, concepts, named, Measures::of(batch, row)?));
        }
        Ok((tokens, documents))
    };

    cx.fold(input, None, kernel, |(tokens, documents)| {
        corpus.domain_tokens += tokens;
        for (language, concepts, named, measures) in documents {
            corpus.documents += 1;
            for concept in concepts {
                let told = &mut corpus.concepts[concept as usize];
                told.documents += 1;
                told.chinese += u32::from(language == Language::Chinese);
                told.measures.add(&measures);
            }
            named.into_iter().for_each(|pair| *corpus.pairs.entry(pair).or_default() += 1);
        }
        if corpus.pairs.len() as u64 * PAIR_BYTES > cx.memory_bytes / 4 {
            return Err(Error::usage(
                "the pairs of concepts of all documents take more memory than they may",
            )
            .hint("give more `--memory`, or set `facts.passages=0`"));
        }
        Ok(())
    })?;
    Ok(corpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_of_whole_sentences() {
        let text = "Heading of aspirin and fever\n\nAspirin lowers the fever of most children. It \
                    helps. Fever, pain and aspirin are named here, too.";
        let at = |name: &str, from: usize, concept| {
            let start = from + text[from..].to_lowercase().find(name).unwrap();
            Mention { end: start + name.len(), ..Mention::at(start, concept) }
        };
        let mentions = [
            at("aspirin", 0, 7),
            at("fever", 0, 3),
            at("aspirin", 29, 7),
            at("fever", 29, 3),
            at("fever", 75, 3),
            at("pain", 75, 5),
            at("aspirin", 75, 7),
        ];
        let found = pairs(text, None, &mentions);
        let said: Vec<&str> = found.iter().map(|one| one.said).collect();
        assert_eq!(
            said,
            [
                "Aspirin lowers the fever of most children.",
                "Fever, pain and aspirin are named here, too."
            ]
        );
        assert_eq!(found[0].pairs, [[3, 7]]);
        assert_eq!(found[1].pairs, [[3, 5], [3, 7], [5, 7]]);
        let title = "Aspirin lowers the fever of most children.";
        assert_eq!(pairs(text, Some(title), &mentions).len(), 1);
    }
}
