//! Real text beside the facts: read and deduplicated once, then a part of it by a draw.
//!
//! General text that is held out stands in no arm and not in the model they go on from; as many
//! characters of general and of domain text as the plan says, for those of the facts, are what all
//! arms read; the rest of the general text is what that model learned from.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::Job;
use super::arm::{build, create, lines};
use super::plan::Plan;
use super::world::Document;
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;
use crate::text::sentences::sentences;
use crate::train::data::shards::Shards;

/// Files of text, and what is held out.
pub(super) struct Text {
    /// General text of all arms.
    pub(super) general: PathBuf,
    /// Domain text of all arms.
    pub(super) domain: PathBuf,
    /// General text that the model they go on from learns.
    pub(super) base: PathBuf,
    /// General texts that nobody reads.
    pub(super) held_out: Vec<String>,
    /// Of what `base` holds.
    pub(super) base_hash: String,
    /// Of all of it.
    pub(super) hash: String,
}

/// Takes the text of a plan whose facts have so many characters.
///
/// # Errors
/// If the sources cannot be read, or hold no general text or no domain text that is asked for.
pub(super) fn take(plan: &Plan, job: &Job, fact_chars: usize) -> Result<Text> {
    let mut reading = job.reading.clone();
    reading.seed = plan.world.seed;
    reading.negatives.per_document = 0;
    reading.density.lexicon.clear();
    let shards = job.out.join("text-build");
    job.progress.message("reading the text");
    build(reading, job.sources, &shards, job)?;
    let (general, domain) = documents(&shards, plan.world.seed)?;

    let folder = job.out.join("text");
    create(&folder)?;
    let mut general = general.into_iter();
    let held_out: Vec<String> =
        general.by_ref().take(plan.text.held_out).map(|one| one.text).collect();
    let rest: Vec<Document> = general.collect();
    let of = |documents: &[Document]| passages(documents, plan.text.passage);
    let (rest, domain) = (of(&rest), of(&domain));
    let (of_general, of_domain) = (
        first(&rest, plan.text.general * fact_chars as f64),
        first(&domain, plan.text.domain * fact_chars as f64),
    );
    for (what, documents, wanted) in
        [("general", of_general, plan.text.general), ("domain", of_domain, plan.text.domain)]
    {
        if documents.is_empty() && wanted > 0.0 {
            return Err(Error::usage(format!("`{}` holds no {what} text", job.sources))
                .hint(format!("give a source of it; `source.NAME.role=\"{what}\"` makes one so")));
        }
    }

    let mut hash = held_out.concat();
    let mut write = |name: &str, documents: &[Document]| -> Result<PathBuf> {
        let (text, place) = (lines(documents), folder.join(name));
        write_atomically(&place, text.as_bytes())?;
        hash += &text;
        Ok(place)
    };
    let general = write("general.jsonl", of_general)?;
    let domain = write("domain.jsonl", of_domain)?;
    // What arms read again is what the model has read: the replay that it is to remember.
    let base = write("base.jsonl", &rest)?;
    let of = |text: &str| format!("{:032x}", xxh3_128(text.as_bytes()));
    let (base_hash, hash) = (of(&lines(&rest)), of(&hash));
    Ok(Text { general, domain, base, held_out, base_hash, hash })
}

/// The first documents, up to so many characters.
fn first(documents: &[Document], chars: f64) -> &[Document] {
    let (mut total, mut n) = (0, 0);
    while n < documents.len() && (total as f64) < chars {
        total += documents[n].text.chars().count();
        n += 1;
    }
    &documents[..n]
}

/// Documents in passages of at most so many characters, cut at ends of sentences; a sentence that
/// is longer stands whole.
fn passages(documents: &[Document], longest: usize) -> Vec<Document> {
    if longest == 0 {
        return documents.to_vec();
    }
    let mut all = Vec::new();
    for document in documents {
        let (mut start, mut end, mut nth) = (0, 0, 0);
        let mut push = |range: Range<usize>| {
            let text = document.text[range].trim();
            if !text.is_empty() {
                let id = format!("{}#{nth}", document.id);
                all.push(Document { id, text: text.to_string() });
                nth += 1;
            }
        };
        for sentence in sentences(&document.text) {
            if document.text[start..sentence.end].chars().count() > longest {
                push(start..end);
                start = sentence.start;
            }
            end = sentence.end;
        }
        push(start..end);
    }
    all
}

/// General and domain documents of a build, each once, in an order that is drawn.
fn documents(shards: &Path, seed: u64) -> Result<(Vec<Document>, Vec<Document>)> {
    let (mut general, mut domain, mut met) = (Vec::new(), Vec::new(), HashSet::new());
    for split in ["train", "validation"] {
        let Some(shards) = Shards::open(shards, split)? else { continue };
        shards.texts(&["id", "text", "role"], |row| {
            let id = row.string("id")?.to_string();
            if met.insert(id.clone()) {
                let document = Document { id, text: row.string("text")?.to_string() };
                let of_role =
                    if row.string("role")? == "general" { &mut general } else { &mut domain };
                of_role.push(document);
            }
            Ok(0)
        })?;
    }
    let drawn = |one: &Document| {
        (draw::unit(seed, "ablation text", one.id.as_bytes()).to_bits(), one.id.clone())
    };
    general.sort_by_cached_key(drawn);
    domain.sort_by_cached_key(drawn);
    Ok((general, domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { id: "a".to_string(), text: text.to_string() }
    }

    #[test]
    fn passages_end_with_sentences() {
        let text =
            "One is here. Two is there.\n\nA third one is longer than both of them. 四。五！";
        let cut = |longest| -> Vec<String> {
            passages(&[document(text)], longest).into_iter().map(|one| one.text).collect()
        };

        assert_eq!(cut(0), [text]);
        assert_eq!(cut(1000), [text]);
        assert_eq!(
            cut(30),
            ["One is here. Two is there.", "A third one is longer than both of them.", "四。五！",],
        );
        // Each sentence for itself, none in pieces, and nothing lost.
        let words = |texts: &[String]| -> Vec<String> {
            texts.concat().chars().filter(|c| !c.is_whitespace()).map(String::from).collect()
        };
        assert_eq!(cut(1).len(), 5);
        assert_eq!(words(&cut(1)), words(&cut(0)));
    }

    #[test]
    fn passages_have_ids_of_their_own() {
        let ids: Vec<String> = passages(&[document("One. Two."), document("")], 4)
            .into_iter()
            .map(|one| one.id)
            .collect();

        assert_eq!(ids, ["a#0", "a#1"]);
    }
}
