//! `bucketed` → `varied`
//!
//! Comes in: documents with their difficulty. Goes out: the same documents, and beside those worth
//! it *variants* of them: what they say in another order and in other words, each a row of its own
//! that names its parent. Every row says how often it is to stand in the training order. Promises:
//! every document goes on; a variant mentions the same concepts as often, and says the same
//! numbers, negations and comparisons ([`gate`]); what does not is refused by name; general text
//! has none; the same input and seed give the same rows for any number of threads.
//!
//! ```text
//! domain documents ─plan─▶ exposures of each ─make─▶ variants ─gate─▶ rows
//!                          rows made elsewhere ─import─▶ ┘
//! ```
//!
//! What a model meets once, or again and again in the same words, it repeats; to be told something
//! in several ways is what lets it answer (Allen-Zhu and Li 2023, arXiv:2309.14316). So a *family*,
//! a document and its variants, gets as many exposures as [`plan`] gives it, variants first and
//! repeats last: exposures take the place of others' tokens, not of steps.
//!
//! Antonyms and near misses never come here: they are for [`negatives`](crate::negatives).
//!
//! To add a kind of variants: one file with a [`Variation`], one `mod` line, one line in
//! [`VARIATIONS`].

pub mod alias;
pub mod back_translate;
pub mod extract;
pub mod gate;
pub mod import;
pub mod make;
pub mod permute;
pub mod plan;
mod rows;
pub mod synonym;

use std::ops::Range;
use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::dataset::Dataset;
use crate::flow::registry;
use crate::flow::room::Context;
use crate::knowledge;
use crate::rewrite::back_translation::{self, Translations};
use crate::rewrite::edits::Swap;
use crate::rewrite::rewriter::Rewriter;
use crate::rewrite::{self, ConceptNames, Mention};

/// Part of the room's fingerprint; raised when the same input and parameters give other rows; the
/// hundreds are of what finds mentions.
pub const VERSION: u32 = 2 + 100 * knowledge::VERSION;

/// Parameters of the room: section `[variants]` of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Most times that a family stands in the training order; 1 makes no variants.
    pub exposures: u32,
    /// How often each concept of the lexicon is to be met, all documents together.
    pub target: u32,
    /// Share of the domain tokens that are not documents for the first time, in `[0, 1)`.
    pub share_max: f64,
    /// Names of [`VARIATIONS`]; none repeats documents as they are.
    pub kinds: Vec<String>,
    /// With what probability a mention is called by another name.
    pub alias_share: f64,
    /// What the gate compares.
    pub compare: Compare,
    /// Files of variants made elsewhere.
    pub import: Vec<String>,
}

/// How a variant and its document are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Concepts, numbers, negations and comparisons, each as often.
    Counts,
    /// The same, each at least once: for texts of another form, such as questions and answers.
    Sets,
}

impl Params {
    /// Whether there is anything to do.
    pub fn is_on(&self) -> bool {
        self.exposures > 1 || !self.import.is_empty()
    }

    /// The kinds, in the order they are asked.
    ///
    /// # Errors
    /// If there is none of a name.
    pub fn variations(&self) -> Result<Vec<&'static Variation>> {
        let find = |name: &String| {
            registry::find("kind of variants", VARIATIONS, name, |one| one.name)
                .map_err(|error| error.at("`variants.kinds`"))
        };
        self.kinds.iter().map(find).collect()
    }

    /// Checks what depends on more than one value.
    ///
    /// # Errors
    /// If a kind is unknown, or exposures are to be planned by the concepts of no lexicon.
    pub fn check(&self, has_lexicon: bool) -> Result<()> {
        self.variations()?;
        if self.exposures > 1 && !has_lexicon {
            return Err(Error::usage(
                "`variants.exposures` is above 1, and without a lexicon no document has concepts \
                 to be met again",
            )
            .hint("name one in `density.lexicon`, or set `variants.exposures=1`"));
        }
        Ok(())
    }

    /// Whether some kind needs translations.
    pub fn translates(&self) -> bool {
        self.exposures > 1 && self.kinds.iter().any(|name| name == back_translate::NAME)
    }

    /// Files that this room reads beside its input and the lexicon.
    pub fn files(&self, rewriting: &rewrite::Params) -> Vec<PathBuf> {
        let tables =
            if self.translates() { rewriting.back_translation.tables.as_slice() } else { &[] };
        let thesauri = if self.exposures > 1 { rewriting.thesaurus.as_slice() } else { &[] };
        self.import.iter().chain(tables).chain(thesauri).map(PathBuf::from).collect()
    }

    /// What the rows depend on beyond the parameters: engine and version of translations.
    ///
    /// # Errors
    /// If an engine was demanded by name and is not installed.
    pub fn identity(&self, rewriting: &rewrite::Params) -> Result<String> {
        match self.translates() {
            true => back_translation::identity(&rewriting.back_translation),
            false => Ok(String::new()),
        }
    }

    /// Reads the files and forgets them.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn check_files(&self) -> Result<()> {
        import::Imported::read(&self.import).map(|_| ())
    }
}

/// A document of which variants are made.
pub struct Document<'a> {
    /// What it says.
    pub text: &'a str,
    /// ISO 639 code.
    pub language: Option<&'a str>,
    /// The concepts that it mentions, in order.
    pub mentions: &'a [Mention],
    /// Its sentences, in order.
    pub sentences: &'a [Range<usize>],
}

/// What variants are made with.
pub struct Kit<'a> {
    /// Other words and names.
    pub rewriter: Rewriter<'a>,
    /// Sentences translated there and back.
    pub translations: Translations,
    /// The room's parameters.
    pub params: &'a Params,
    /// The kinds that they name.
    pub variations: Vec<&'static Variation>,
    /// Seed of the draws.
    pub seed: u64,
}

/// A way to say a document again.
pub struct Variation {
    /// Its name, as it stands in the column `variant`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The keys that it reads beyond those of all, by their whole names.
    pub keys: &'static [&'static str],
    how: How,
}

/// What a kind of variants changes. All chance comes from the stream.
enum How {
    /// Words: replacements that do not overlap, none where it has nothing to offer.
    Words(fn(&Document, &Kit, &mut ChaCha8Rng) -> Result<Vec<Swap>>),
    /// The order of sentences: the text anew, `None` where it is better left as it is.
    Order(fn(&Document, &Kit, &mut ChaCha8Rng) -> Option<String>),
}

/// Every kind of variants.
pub static VARIATIONS: &[&Variation] = &[
    &permute::PERMUTE,
    &alias::ALIAS,
    &synonym::SYNONYM,
    &back_translate::BACKTRANSLATE,
    &extract::EXTRACT,
];

/// Writes every document of `input`, and variants of some, into the room's folder.
///
/// # Errors
/// If a thesaurus, table or file of variants cannot be read, an engine that was demanded by name is
/// not installed, the concepts of all documents take more memory than they may, or a file cannot be
/// read or written.
pub fn run(
    input: &Dataset,
    params: &Params,
    rewriting: &rewrite::Params,
    concepts: Option<&dyn ConceptNames>,
    cx: &Context<'_>,
) -> Result<()> {
    if !params.is_on() {
        return rows::without_variants(input, cx);
    }
    let imported = import::Imported::read(&params.import)?;
    let rewriter = Rewriter::new(rewriting.clone(), concepts)?;
    // Once to plan, and once to write.
    cx.readings(input, 2);
    let plan = plan::plan(input, params, &rewriter, &imported, cx)?;
    plan.tell(cx.progress);

    let translations = match params.translates() {
        true => back_translate::prepare(input, &plan, rewriting, cx)?,
        false => Translations::default(),
    };
    let variations = params.variations()?;
    let kit = Kit { rewriter, translations, params, variations, seed: cx.seed };
    rows::write(input, &plan, &imported, &kit, cx)
}
