//! The embedded English thesaurus: synonyms, antonyms, inflections and two-word terms of WordNet
//! 3.0.
//!
//! An extract of Princeton WordNet 3.0 (as Debian's `wordnet-base` ships it), made by `extract.py`
//! beside this file; its licence is the file `LICENSE`. WordNet 3.0 Copyright 2006 by Princeton
//! University. Only lower-case words of letters are in it; senses marked as slang, slur or dialect
//! are never offered. The extract is decoded once, on first use, in about 60 ms into about 15 MB.
//!
//! A synonym is offered only where both words mean the synset in their *commonest* sense, the
//! synonym was met a few times in WordNet's sense-tagged corpus, and it is no mere variant: "sigh"
//! never becomes "suspire", "dependence" never "dependency".

use std::sync::LazyLock;

// Looked up several times a word; nobody chooses these keys to collide.
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use crate::error::{Error, Result};

pub mod readers;

/// Uses in the tagged corpus that a synonym needs; rarer words read oddly ("upshots" for
/// "results").
const MIN_USES: u32 = 4;

static PACKED: &[u8] = include_bytes!("wordnet.tsv.zst");
static ENGLISH: LazyLock<std::result::Result<WordNet, String>> = LazyLock::new(|| {
    let bytes = zstd::decode_all(PACKED).map_err(|cause| cause.to_string())?;
    let text: &'static str =
        String::leak(String::from_utf8(bytes).map_err(|cause| cause.to_string())?);
    WordNet::parse(text)
});

/// Part of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pos {
    /// n
    Noun,
    /// v
    Verb,
    /// a
    Adjective,
    /// r
    Adverb,
}

impl Pos {
    /// All of them, in the order of the extract's columns.
    pub const ALL: [Pos; 4] = [Pos::Noun, Pos::Verb, Pos::Adjective, Pos::Adverb];

    fn parse(letter: &str) -> std::result::Result<Pos, String> {
        match letter {
            "n" => Ok(Pos::Noun),
            "v" => Ok(Pos::Verb),
            "a" => Ok(Pos::Adjective),
            "r" => Ok(Pos::Adverb),
            other => Err(format!("`{other}` is no part of speech")),
        }
    }
}

/// How a word is used, for each part of speech in the order of [`Pos::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Uses in WordNet's sense-tagged corpus.
    pub counts: [u32; 4],
    /// Number of senses; 0 = the word is never that part of speech.
    pub senses: [u16; 4],
}

impl Usage {
    /// Uses as `pos`; `None` where the word is never that.
    pub fn count(&self, pos: Pos) -> Option<u32> {
        (self.senses[pos as usize] > 0).then_some(self.counts[pos as usize])
    }
}

#[derive(Clone, Copy, Debug)]
struct Member {
    word: &'static str,
    rank: u16,
    count: u32,
}

/// One map from words for each part of speech.
type ByPos<T> = [HashMap<&'static str, T>; 4];

/// The decoded extract.
#[derive(Debug, Default)]
pub struct WordNet {
    usage: HashMap<&'static str, Usage>,
    synsets: Vec<Vec<Member>>,
    first_sense: ByPos<usize>,
    antonyms: ByPos<Vec<&'static str>>,
    lemmas: ByPos<Vec<&'static str>>,
    forms: ByPos<Vec<&'static str>>,
    terms: HashSet<(&'static str, &'static str)>,
}

/// The embedded thesaurus.
///
/// # Errors
/// If the embedded extract is damaged, which a test rules out.
pub fn english() -> Result<&'static WordNet> {
    ENGLISH
        .as_ref()
        .map_err(|cause| Error::data(format!("the embedded WordNet extract is damaged: {cause}")))
}

impl WordNet {
    fn parse(text: &'static str) -> std::result::Result<Self, String> {
        let mut wordnet = WordNet::default();
        for line in text.lines() {
            let fields: Vec<&'static str> = line.split('\t').collect();
            wordnet.take(&fields).map_err(|cause| format!("{cause} in `{line}`"))?;
        }
        Ok(wordnet)
    }

    fn take(&mut self, fields: &[&'static str]) -> std::result::Result<(), String> {
        match fields {
            ["W", word, shape @ ..] => {
                let mut usage = Usage::default();
                for part in shape {
                    let (pos, count, senses) = three(part)?;
                    let pos = Pos::parse(pos)? as usize;
                    usage.counts[pos] = number(count)?;
                    usage.senses[pos] = number(senses)?;
                }
                self.usage.insert(word, usage);
            }

            ["S", pos, members @ ..] => {
                let pos = Pos::parse(pos)?;
                let mut synset = Vec::with_capacity(members.len());

                for part in members {
                    let (word, rank, count) = three(part)?;
                    let member = Member { word, rank: number(rank)?, count: number(count)? };
                    if member.rank == 1 {
                        self.first_sense[pos as usize].insert(word, self.synsets.len());
                    }
                    synset.push(member);
                }

                self.synsets.push(synset);
            }

            ["A", pos, a, b] => {
                let pos = Pos::parse(pos)?;
                self.antonyms[pos as usize].entry(a).or_default().push(b);
                self.antonyms[pos as usize].entry(b).or_default().push(a);
            }
            ["X", pos, form, lemma] => {
                let pos = Pos::parse(pos)?;
                self.lemmas[pos as usize].entry(form).or_default().push(lemma);
                self.forms[pos as usize].entry(lemma).or_default().push(form);
            }
            ["M", first, second] => {
                self.terms.insert((first, second));
            }
            _ => return Err("an unknown line".to_string()),
        }
        Ok(())
    }

    /// How `word` is used; `None` where WordNet does not have it as one lower-case word.
    pub fn usage(&self, word: &str) -> Option<Usage> {
        self.usage.get(word).copied()
    }

    /// Words that may stand for `lemma` as `pos`, in WordNet's order.
    ///
    /// Empty unless the commonest sense makes up at least half of the word's uses.
    pub fn synonyms(&self, lemma: &str, pos: Pos) -> Vec<&'static str> {
        let Some(&synset) = self.first_sense[pos as usize].get(lemma) else { return Vec::new() };
        let members = &self.synsets[synset];
        let leads = |member: &Member| {
            let total = self.usage(member.word).and_then(|usage| usage.count(pos)).unwrap_or(0);
            member.rank == 1 && member.count > 0 && member.count * 2 >= total
        };
        if !members.iter().any(|member| member.word == lemma && leads(member)) {
            return Vec::new();
        }
        let fits = |member: &&Member| {
            member.count >= MIN_USES && leads(member) && !is_variant(member.word, lemma)
        };

        members.iter().filter(fits).map(|member| member.word).collect()
    }

    /// Opposites of `lemma` as `pos`, each in its commonest sense and met in the tagged corpus.
    pub fn antonyms(&self, lemma: &str, pos: Pos) -> Vec<&'static str> {
        let known = |word: &&&str| {
            self.usage(word).and_then(|usage| usage.count(pos)).is_some_and(|count| count > 0)
        };
        let all = self.antonyms[pos as usize].get(lemma).map_or(&[][..], Vec::as_slice);
        all.iter().filter(known).copied().collect()
    }

    /// Lemmas of an irregular inflected form.
    pub fn irregular_lemmas(&self, form: &str, pos: Pos) -> &[&'static str] {
        self.lemmas[pos as usize].get(form).map_or(&[], Vec::as_slice)
    }

    /// Irregular inflected forms of a lemma; the tables do not say which form is which.
    pub fn irregular_forms(&self, lemma: &str, pos: Pos) -> &[&'static str] {
        self.forms[pos as usize].get(lemma).map_or(&[], Vec::as_slice)
    }

    /// Whether the two words make up a term whose parts must stay together, such as "blood
    /// pressure".
    pub fn is_term(&self, first: &str, second: &str) -> bool {
        self.terms.contains(&(first, second))
    }
}

/// Whether two words share most of their beginning, such as "minimal" and "minimum".
fn is_variant(a: &str, b: &str) -> bool {
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    shared * 5 >= a.len().min(b.len()) * 3
}

fn three(
    part: &'static str,
) -> std::result::Result<(&'static str, &'static str, &'static str), String> {
    let mut parts = part.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(a), Some(b), Some(c)) => Ok((a, b, c)),
        _ => Err(format!("`{part}` is not three values")),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_extract_is_whole() {
        let wordnet = english().unwrap();
        assert!(
            wordnet.usage.len() > 60_000
                && wordnet.synsets.len() > 20_000
                && wordnet.terms.len() > 30_000
        );
        assert!(PACKED.len() < 1_500_000);
    }

    #[test]
    fn synonyms_are_common_words_in_their_commonest_sense() {
        let wordnet = english().unwrap();
        assert!(wordnet.synonyms("begin", Pos::Verb).contains(&"start"));
        assert!(
            !wordnet.synonyms("sigh", Pos::Verb).contains(&"suspire"),
            "never met in the tagged corpus"
        );
        assert!(!wordnet.synonyms("dependence", Pos::Noun).contains(&"dependency"), "a variant");
        assert!(wordnet.synonyms("begin", Pos::Noun).is_empty());
        assert!(wordnet.antonyms("increase", Pos::Verb).contains(&"decrease"));
        assert!(wordnet.antonyms("high", Pos::Adjective).contains(&"low"));
    }

    #[test]
    fn inflections_and_terms_are_known() {
        let wordnet = english().unwrap();
        assert_eq!(wordnet.irregular_lemmas("gave", Pos::Verb), ["give"]);
        assert!(wordnet.is_term("blood", "pressure") && !wordnet.is_term("pressure", "blood"));
        let usage = wordnet.usage("patient").unwrap();
        assert!(
            usage.count(Pos::Noun) > usage.count(Pos::Adjective)
                && usage.count(Pos::Verb).is_none()
        );
    }
}
