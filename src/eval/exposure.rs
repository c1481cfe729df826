//! How often each concept of a lexicon was seen in training text: documents, places, spellings.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;
use crate::text::words::words;
use crate::train::data::shards::Shards;

/// Words in a row that make two texts share a passage; of GPT-3's and most later checks.
pub(super) const SHARED: usize = 13;
/// The same for a sentence of fewer words.
pub(super) const SHARED_BY_SHORT: usize = 8;
/// Documents that are named where a concept was seen: where it stands in more, it is met all the
/// time.
const NAMED: usize = 32;

/// What was seen of a concept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Documents that mention it, each once.
    pub(super) documents: u64,
    /// Places where it is mentioned, in all rows that a model reads: repeated ones again.
    pub(super) mentions: u64,
    /// How often each spelling stands there.
    pub(super) spellings: BTreeMap<String, u64>,
    /// The first documents that mention it.
    pub(super) first: Vec<String>,
}

/// What a training text holds.
#[derive(Default)]
pub(super) struct Exposure {
    /// By the number of a concept in its lexicon.
    pub(super) concepts: Vec<Seen>,
    /// Documents, each once.
    pub(super) documents: u64,
    /// Rows: documents that are repeated count again.
    pub(super) rows: u64,
    /// Passages that were looked for and found.
    pub(super) met: HashSet<u64>,
}

/// Passages that are looked for, by how many words they have.
#[derive(Default)]
pub(super) struct Wanted(BTreeMap<usize, HashSet<u64>>);

impl Wanted {
    /// Looks for what a sentence and a training text must not share.
    pub(super) fn add(&mut self, sentence: &str) {
        let n = shared(sentence);
        self.0.entry(n).or_default().extend(passages(sentence, n));
    }
}

/// Words in a row that a sentence must not share with training text: fewer where it has fewer.
fn shared(sentence: &str) -> usize {
    if words(sentence).count() < SHARED { SHARED_BY_SHORT } else { SHARED }
}

impl Exposure {
    /// Whether the training text shares a passage with a sentence that was looked for.
    pub(super) fn holds(&self, sentence: &str) -> bool {
        passages(sentence, shared(sentence)).any(|hash| self.met.contains(&hash))
    }
}

/// Reads the `train` split of shards: what concepts it mentions, and which of the passages that
/// are `wanted` it holds. `times` says how often a model read the row of a `seq`.
///
/// # Errors
/// If there is no such split, or a shard cannot be read.
pub(super) fn read(
    shards: &Path,
    lexicon: &Lexicon,
    finder: &Finder,
    wanted: &Wanted,
    times: &dyn Fn(u64) -> u64,
) -> Result<Exposure> {
    let shards = Shards::of_split(shards, "train")?;
    let mut found =
        Exposure { concepts: vec![Seen::default(); lexicon.concepts.len()], ..Exposure::default() };
    // A row that is repeated holds what it held before.
    let mut held: HashMap<u64, Vec<(u32, u32)>> = HashMap::new();
    let mut seq = 0;

    shards.texts(&["id", "text"], |row| {
        let times = times(seq);
        seq += 1;
        if times == 0 {
            return Ok(0);
        }
        let (id, text) = (row.string("id")?, row.string("text")?);
        found.rows += times;
        let name = xxh3_64(id.as_bytes());
        if let Some(held) = held.get(&name) {
            for (concept, n) in held {
                found.concepts[*concept as usize].mentions += times * u64::from(*n);
            }
            return Ok(0);
        }

        found.documents += 1;
        for (n, wanted) in &wanted.0 {
            found.met.extend(passages(text, *n).filter(|hash| wanted.contains(hash)));
        }
        let mut own: BTreeMap<u32, u32> = BTreeMap::new();
        for mention in finder.find(text) {
            *own.entry(mention.concept).or_default() += 1;
            let seen = &mut found.concepts[mention.concept as usize];
            if mention.rule.is_exchangeable() {
                let spelling = text[mention.start..mention.end].to_string();
                *seen.spellings.entry(spelling).or_default() += 1;
            }
        }
        for (concept, n) in &own {
            let seen = &mut found.concepts[*concept as usize];
            seen.documents += 1;
            seen.mentions += times * u64::from(*n);
            if seen.first.len() < NAMED {
                seen.first.push(id.to_string());
            }
        }
        held.insert(name, own.into_iter().collect());
        Ok(0)
    })?;
    Ok(found)
}

/// Hashes of `n` words in a row of a text, at each place; of a shorter text none.
pub(super) fn passages(text: &str, n: usize) -> impl Iterator<Item = u64> + use<> {
    let all: Vec<String> = words(text).map(|word| word.text.to_lowercase()).collect();
    let hashes: Vec<u64> =
        all.windows(n.max(1)).map(|passage| xxh3_64(passage.join(" ").as_bytes())).collect();
    hashes.into_iter()
}
