//! `linked` → `example`
//!
//! Comes in: documents with their difficulty bucket. Goes out: the same documents, each with a few
//! rewritten passages: the anchor, the candidate, its kind, the engine that made it, chrF
//! similarity, and the edits. Promises: every document goes on; applying the edits to the anchor
//! gives exactly the candidate; the same seed gives the same candidates for any number of threads
//! and after any restart; nothing is replaced inside a concept mention unless the concept itself
//! is; where an engine is not installed, the notes and `engines.json` say so.
//!
//! `kind` says what a candidate is good for. `paraphrase`: other words, same statement, so as a
//! contrastive negative it is a *false* one (CERT and ConSERT use such pairs as positives). `hard`:
//! nearly the same words, another statement (a sibling concept, an antonym, a lost number or
//! negation): a true hard negative.
//!
//! To add a generator or a translation engine: see [`mod@rewrite`].

pub mod column;
pub mod passages;
mod selection;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arrow::array::Array;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw;
use crate::error::{Error, Result};
use crate::flow::contract::{contract, lists, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::{Added, Context};
use crate::knowledge;
use crate::rewrite::back_translation::{self, Translations};
use crate::rewrite::edits::{self, Edit};
use crate::rewrite::gate::{Bounds, Verdict};
use crate::rewrite::rewriter::Rewriter;
use crate::rewrite::{
    self, ConceptNames, GENERATORS, Generator, Kind, Material, Mention, has_new_unknown_word,
};
use crate::text::languages::{is_chinese, is_english};

/// Part of the room's fingerprint; raised when the same input and parameters give other rows; the
/// hundreds are of what finds mentions.
pub const VERSION: u32 = 4 + 100 * knowledge::VERSION;

/// One rewritten passage.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The passage of the text, as it stands there.
    pub anchor: String,
    /// What was made of it.
    pub text: String,
    /// What it is good for.
    pub kind: Kind,
    /// Generator or translation engine that made it.
    pub engine: String,
    /// chrF of candidate against anchor, in [0, 1].
    pub similarity: f32,
    /// What was replaced.
    pub edits: Vec<Edit>,
}

/// Parameters of the room: section `[negatives]` of the pipeline file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Most candidates of a document.
    pub per_document: usize,
    /// Most passages of a document that are rewritten.
    pub passages: usize,
    /// Shortest passage, in words (a CJK character is one).
    pub min_words: usize,
    /// Longest passage, in words.
    pub max_words: usize,
    /// Share of a passage's words replaced by synonyms, at least one word.
    pub replace_share: f64,
    /// Lowest chrF of a candidate against its anchor, in [0, 1].
    pub min_similarity: f64,
    /// Largest ratio of the lengths of anchor and candidate, in either direction.
    pub max_length_ratio: f64,
    /// Thesaurus files for Chinese, beside the embedded one.
    pub thesaurus: Vec<String>,
    /// Back-translation.
    pub back_translation: back_translation::Params,
}

impl Params {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first key outside its range.
    pub fn check(&self) -> Result<()> {
        if self.max_words < self.min_words {
            let (most, least) = (self.max_words, self.min_words);
            return Err(Error::usage(format!(
                "`negatives.max_words` is {most}, and `negatives.min_words` {least}"
            ))
            .hint("no sentence is as short and as long as that: raise one or lower the other"));
        }
        self.back_translation.check()
    }

    /// Files this room reads beside its input and the lexicon.
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        self.thesaurus
            .iter()
            .chain(&self.back_translation.tables)
            .map(std::path::PathBuf::from)
            .collect()
    }

    /// Reads those files and forgets them; where no candidates are made, nobody reads them.
    ///
    /// # Errors
    /// If one of them cannot be used, or an engine was demanded by name and is not installed.
    pub fn check_files(&self) -> Result<()> {
        if self.per_document == 0 {
            return Ok(());
        }
        Rewriter::new(self.rewriting(), None)?;
        back_translation::check_files(&self.back_translation)
    }

    /// What passages are rewritten with.
    pub fn rewriting(&self) -> rewrite::Params {
        rewrite::Params {
            replace_share: self.replace_share,
            bounds: Bounds {
                min_similarity: self.min_similarity,
                max_length_ratio: self.max_length_ratio,
            },
            thesaurus: self.thesaurus.clone(),
            back_translation: self.back_translation.clone(),
        }
    }
}

/// What the kernel works with, the same for every batch.
struct Tools<'a> {
    params: &'a Params,
    rewriter: Rewriter<'a>,
    translations: Translations,
    seed: u64,
}

/// Documents of a language, and how many of them got no candidate.
type ByLanguage = BTreeMap<String, (u64, u64)>;

/// Rewrites passages of every document of `input` into the room's folder.
///
/// # Errors
/// If a parameter is out of range, a thesaurus or table cannot be read, an engine that was demanded
/// by name is not installed, or a file cannot be read or written.
pub fn run(
    input: &Dataset,
    params: &Params,
    concepts: Option<&dyn ConceptNames>,
    cx: &Context<'_>,
) -> Result<()> {
    params.check()?;
    if params.per_document == 0 {
        return without_candidates(input, cx);
    }
    let rewriter = Rewriter::new(params.rewriting(), concepts)?;
    let translations = selection::translations(input, params, concepts, cx)?;
    let tools = Tools { params, rewriter, translations, seed: cx.seed };

    let leaves = contract("example")?;
    let by_language: Mutex<ByLanguage> = Mutex::default();
    cx.add_columns(input, leaves, &["id", "text", "language", "made_of"], |batch, span| {
        let mut counts = Counts::default();
        if span.part == 0 && span.batch == 0 {
            counts.add_all(&tools.translations.notes);
        }
        let (ids, texts, languages) =
            (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "language")?);
        let made_of = lists(batch, "made_of")?;
        let mut rows = Vec::with_capacity(batch.num_rows());
        let mut languages_here = ByLanguage::new();

        for row in 0..batch.num_rows() {
            // Of a fact a near miss may be true as well, and a passage's sentences stand elsewhere.
            if made_of.value_length(row) > 0 {
                rows.push(Vec::new());
                continue;
            }
            let language = languages.is_valid(row).then(|| languages.value(row));
            if language.is_none() {
                counts.add("documents without a language");
            }
            let found =
                candidates(ids.value(row), texts.value(row), language, &tools, &mut counts)?;
            let (n, n_without) =
                languages_here.entry(language.unwrap_or("").to_string()).or_default();
            *n += 1;
            *n_without += u64::from(found.is_empty());
            rows.push(found);
        }

        let mut all = by_language.lock().unwrap_or_else(PoisonError::into_inner);
        for (language, (n, n_without)) in languages_here {
            let (n_all, n_all_without) = all.entry(language).or_default();
            (*n_all, *n_all_without) = (*n_all + n, *n_all_without + n_without);
        }

        drop(all);
        let columns = vec![("negatives", column::column(&rows, leaves)?)];
        Ok(Added { columns, notes: counts.0.into_iter().collect() })
    })?;

    let by_language = by_language.into_inner().unwrap_or_else(PoisonError::into_inner);
    by_language
        .iter()
        .filter_map(|(language, of)| poorly_served(language, *of))
        .for_each(|note| cx.progress.note(&note));
    Ok(())
}

/// What to tell of a language in which nothing but names of the lexicon is replaced.
fn poorly_served(language: &str, (n, n_without): (u64, u64)) -> Option<String> {
    if language.is_empty() {
        return Some(format!(
            "{n} documents say no language, so no words of theirs are replaced but names of the \
             lexicon; where a source \
             has one language, give it: `[source.<name>] language = \"en\"`"
        ));
    }

    let is_served = is_english(Some(language)) || is_chinese(Some(language));
    (!is_served && n_without > 0).then(|| {
        format!(
            "{n_without} of {n} documents in `{language}` get no rewritten passage: English and \
             Chinese words have \
             thesauri, other languages only the names of the lexicon and of `negatives.thesaurus`"
        )
    })
}

/// Gives every document an empty list: nothing of it is read.
fn without_candidates(input: &Dataset, cx: &Context<'_>) -> Result<()> {
    let leaves = contract("example")?;
    cx.add_columns(input, leaves, &[], |batch, _| {
        let none: Vec<Vec<Candidate>> = vec![Vec::new(); batch.num_rows()];
        Ok(Added {
            columns: vec![("negatives", column::column(&none, leaves)?)],
            notes: Vec::new(),
        })
    })
}

/// Counts for the books.
#[derive(Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn add(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    fn add_all(&mut self, notes: &[(&'static str, u64)]) {
        notes.iter().for_each(|(name, n)| *self.0.entry(name).or_default() += n);
    }
}

/// The candidates of one document, in a fixed order, at most `per_document`.
fn candidates(
    id: &str,
    text: &str,
    language: Option<&str>,
    tools: &Tools<'_>,
    counts: &mut Counts,
) -> Result<Vec<Candidate>> {
    let mut found: Vec<Candidate> = Vec::new();
    let rewriter = &tools.rewriter;
    let thesaurus = rewriter.thesaurus(language, text)?;
    let all_mentions = rewriter.mentions(text);
    let picked = passages::pick(id, text, &all_mentions, tools.params, tools.seed);

    for (nth, passage) in picked.into_iter().enumerate() {
        let mentions: Vec<Mention> = passages::within(&all_mentions, &passage)
            .iter()
            .map(|m| Mention { start: m.start - passage.start, end: m.end - passage.start, ..*m })
            .collect();

        let material = rewriter.material(&text[passage], &mentions, language, thesaurus);
        let translated = translation(&material, tools, counts);
        let rewritten = GENERATORS.iter().filter_map(|generator| {
            let key = format!("{id}\n{nth}");
            rewrite(
                *generator,
                &material,
                &mut draw::stream(tools.seed, generator.name(), key.as_bytes()),
            )
        });

        let mut all = translated.into_iter().chain(rewritten);
        // What nobody has room for is not made.
        while found.len() < tools.params.per_document
            && let Some(candidate) = all.next()
        {
            if found.iter().all(|other| other.text != candidate.text) {
                counts.add(counted(&candidate));
                found.push(candidate);
            }
        }
    }

    if found.is_empty() {
        counts.add("documents without candidates");
    }
    Ok(found)
}

fn counted(candidate: &Candidate) -> &'static str {
    match candidate.kind {
        Kind::Hard => "hard candidates",
        Kind::Paraphrase => "paraphrase candidates",
    }
}

/// One candidate of one generator; `None` where it has nothing to offer or the gate turns it away.
fn rewrite(
    generator: &dyn Generator,
    material: &Material<'_>,
    stream: &mut ChaCha8Rng,
) -> Option<Candidate> {
    let anchor = material.passage;
    let edits = edits::edits(anchor, generator.swaps(material, stream));
    let text = edits::apply(anchor, &edits);
    // A few characters of a short passage may be all it takes; closeness is given by construction.
    let similarity = material.anchor().similarity(&text)?;
    let (kind, engine) = (generator.kind(), generator.name().to_string());
    Some(Candidate { anchor: anchor.to_string(), text, kind, engine, similarity, edits })
}

/// The back-translation of a passage, if it was translated and passes the gate.
fn translation(
    material: &Material<'_>,
    tools: &Tools<'_>,
    counts: &mut Counts,
) -> Option<Candidate> {
    let anchor = material.passage;
    let language = material.language;
    let (engine, text) =
        tools.translations.get(anchor).filter(|_| tools.translations.takes(language))?;
    if material.is_english() && has_new_unknown_word(anchor, text, material.wordnet) {
        counts.add("back-translations dropped: words that are no English");
        return None;
    }

    let changed = tools.rewriter.says_of_others(material.mentions, text);
    if text != anchor && !tools.translations.is_acceptable(language, anchor, text) {
        counts.add("back-translations dropped: not as people write");
        return None;
    }
    let (kind, similarity) = match material.anchor().judge(text, changed, material.params.bounds) {
        Verdict::Identical => {
            counts.add("back-translations dropped: identical");
            return None;
        }
        Verdict::Off => {
            counts.add("back-translations dropped: off");
            return None;
        }
        Verdict::Hard(similarity) => (Kind::Hard, similarity),
        Verdict::Paraphrase(similarity) => (Kind::Paraphrase, similarity),
    };

    counts.add(if kind == Kind::Hard {
        "back-translations kept: hard"
    } else {
        "back-translations kept: paraphrase"
    });
    let edits = edits::diff(anchor, text);
    Some(Candidate {
        anchor: anchor.to_string(),
        text: text.to_string(),
        kind,
        engine: engine.to_string(),
        similarity,
        edits,
    })
}

#[cfg(test)]
mod tests;
