//! Part of speech and form of a word in its sentence, decided without a tagger model, or not at
//! all.
//!
//! Every reading WordNet allows is weighted by its uses in WordNet's tagged corpus; a few sure
//! rules about the neighbours (an article, a preposition, "to", an auxiliary) strike readings out.
//! A word counts as decided only if one part of speech holds at least [`SURE`] of the weight that
//! is left; otherwise it is left alone, since a wrong part of speech reads worse than no
//! replacement.

use std::sync::LazyLock;

use rustc_hash::FxHashSet as HashSet;

use crate::rewrite::inflect::{Form, Reading, readings};
use crate::rewrite::wordnet::{Pos, WordNet};
use crate::text::words::words;

/// Share of the weight that one part of speech must hold.
pub const SURE: f64 = 0.8;

#[rustfmt::skip]
static DETERMINERS: &[&str] = &[
    "the", "a", "an", "this", "that", "these", "those", "his", "her", "its", "their", "our", "my",
    "your", "no",
    "any", "each", "every", "some", "all", "both", "another", "such", "many", "several", "few",
    "most", "other",
    "more", "less",
];
#[rustfmt::skip]
static PREPOSITIONS: &[&str] = &[
    "of", "in", "on", "at", "by", "for", "from", "with", "without", "between", "among", "during",
    "after", "before",
    "through", "under", "over", "into", "onto", "upon", "within", "against", "per", "via", "versus",
    "than", "as",
    "about", "except", "unlike", "plus", "minus", "towards", "toward", "across", "despite",
];
#[rustfmt::skip]
static PARTICLES: &[&str] =
    &["to", "that", "up", "out", "off", "down", "away", "back", "together", "forward", "whether"];
#[rustfmt::skip]
static MODALS: &[&str] =
    &["will", "would", "can", "could", "may", "might", "must", "should", "shall", "did", "does",
        "do"];
#[rustfmt::skip]
static SUBJECTS: &[&str] = &[
    "i", "we", "they", "he", "she", "it", "who", "which",
];
static BE: &[&str] = &["is", "are", "was", "were", "be", "been", "being", "am"];
static HAVE: &[&str] = &["has", "have", "had", "having"];
#[rustfmt::skip]
static PRONOUNS: &[&str] = &[
    "you", "us", "me", "him", "them", "themselves", "itself", "himself", "herself", "ourselves",
    "myself", "yourself",
    "others", "another", "everything", "something", "anything", "everyone", "someone", "anyone",
    "until", "since",
    "unless", "toward", "besides", "beyond", "behind", "around", "till", "inside", "outside",
    "cannot", "whatever",
    "whichever", "whoever", "ours", "theirs", "yours", "hers", "mine", "amongst", "throughout",
    "along",
];
/// Words that are never replaced: grammar, numbers, and words whose commonest sense in WordNet is
/// not the one of scientific prose ("mean", "arm", "significant").
#[rustfmt::skip]
static KEPT: &[&str] = &[
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "hundred",
    "thousand", "million",
    "first", "second", "third", "half", "once", "twice", "and", "or", "but", "if", "when", "where",
    "while",
    "because", "although", "though", "however", "thus", "hence", "therefore", "also", "not", "only",
    "then", "there",
    "here", "so", "very", "too", "just", "even", "still", "yet", "what", "how", "why", "whose",
    "whom", "same", "own",
    "much", "either", "neither", "nor", "well", "like", "etc", "likely", "mean", "means", "arm",
    "arms",
    "significant", "significantly", "control", "controls", "controlled", "trial", "trials",
    "subject", "subjects",
    "case", "cases", "factor", "factors", "rate", "rates", "level", "levels", "scale", "scales",
    "score", "scores",
    "cell", "cells", "time", "times", "people", "person", "year", "years", "day", "days", "week",
    "weeks", "month",
    "months", "hour", "hours", "minute", "minutes", "blind", "open", "sample", "samples", "model",
    "models", "group",
    "groups", "class", "state", "states", "order", "power", "culture", "cultures", "expression",
    "medium", "media",
    "solution", "solutions", "agent", "agents", "drug", "drugs", "test", "tests", "being",
    "respectively", "using",
    "use", "used", "given", "based", "compared", "following", "including", "regarding", "according",
    "due",
    "associated", "related", "whereas", "study", "studies", "child", "children", "adult", "adults",
    "individual",
    "individuals", "patient", "patients", "result", "results", "retention", "infusion", "elevation",
    "variance",
    "therapeutic", "determination", "plain",
];

/// One word of a passage with what stands next to it.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// First byte in the passage.
    pub start: usize,
    /// The word.
    pub text: &'a str,
    /// Whether only one space lies between the word before and this one.
    pub joined: bool,
    /// Whether the word stands free: no hyphen, slash, apostrophe or digit touches it.
    pub free: bool,
}

/// The words of a passage.
pub fn tokens(passage: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut before = usize::MAX;

    for word in words(passage) {
        let end = word.start + word.text.len();
        let left = passage[..word.start].chars().next_back();
        let right = passage[end..].chars().next();
        let free = left.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '"' | '“'))
            && right.is_none_or(|c| c.is_whitespace() || ".,;:!?)\"”".contains(c));
        let joined = before != usize::MAX && &passage[before..word.start] == " ";
        found.push(Token { start: word.start, text: word.text, joined, free });
        before = end;
    }

    found
}

/// A sentence with the words around each word.
pub struct Sentence<'a> {
    /// Its words.
    pub tokens: Vec<Token<'a>>,
    lower: Vec<String>,
    wordnet: &'a WordNet,
}

impl<'a> Sentence<'a> {
    /// Reads the words of a passage.
    pub fn new(passage: &'a str, wordnet: &'a WordNet) -> Self {
        Self::of_tokens(tokens(passage), wordnet)
    }

    /// A sentence whose words are known, one space between them.
    pub fn of_words(words: &[&'a str], wordnet: &'a WordNet) -> Self {
        let mut start = 0;
        let token = |text: &&'a str| {
            let token = Token { start, text, joined: start > 0, free: true };
            start += text.len() + 1;
            token
        };
        Self::of_tokens(words.iter().map(token).collect(), wordnet)
    }

    fn of_tokens(tokens: Vec<Token<'a>>, wordnet: &'a WordNet) -> Self {
        let lower = tokens.iter().map(|token| token.text.to_lowercase()).collect();
        Sentence { tokens, lower, wordnet }
    }

    /// The likeliest part of speech of word `at` among those that its neighbours allow, by its
    /// uses; `None` of grammar, and of what WordNet does not know.
    pub fn likely(&self, at: usize) -> Option<Pos> {
        let word = self.lower[at].as_str();
        if is_function(word) {
            return None;
        }
        let all = readings(word, self.wordnet);
        let allowed: Vec<&Reading> =
            all.iter().filter(|reading| self.allows(at, reading)).collect();
        let left = if allowed.is_empty() { all.iter().collect() } else { allowed };
        // Of equals the first, in the order of `Pos::ALL`.
        let weighted = Pos::ALL.into_iter().map(|pos| (pos, self.weight(&left, pos)));
        let best = weighted.reduce(|best, one| if one.1 > best.1 { one } else { best })?;
        (best.1 > 0.0).then_some(best.0)
    }

    /// How often the words that it may be are used as a part of speech; 0 where it is never that.
    fn weight(&self, readings: &[&Reading], pos: Pos) -> f64 {
        let lemmas = readings
            .iter()
            .filter(|reading| reading.pos == pos)
            .map(|reading| reading.lemma.as_str());
        let count = lemmas.filter_map(|lemma| self.wordnet.usage(lemma)?.count(pos)).max();
        count.map_or(0.0, |count| f64::from(count) + 0.5)
    }

    /// The reading of word `at`, where it is sure and the word may be replaced at all.
    pub fn reading(&self, at: usize) -> Option<Reading> {
        let token = self.tokens[at];
        let lower_case = token.text.chars().all(|c| c.is_ascii_lowercase());
        let opens = at == 0 && token.text.chars().skip(1).all(|c| c.is_ascii_lowercase());
        let word = self.lower[at].as_str();

        if !token.free
            || !(lower_case || opens)
            || word.len() < 3
            || is_function(word)
            || is_kept(word)
        {
            return None;
        }

        let all = readings(word, self.wordnet);
        let left: Vec<&Reading> = all.iter().filter(|reading| self.allows(at, reading)).collect();
        let weight = |pos: Pos| self.weight(&left, pos);

        let total: f64 = Pos::ALL.into_iter().map(weight).sum();
        let best = Pos::ALL.into_iter().find(|pos| weight(*pos) >= SURE * total && total > 0.0)?;
        let mut of_best = left.into_iter().filter(|reading| reading.pos == best);
        let first = of_best.next()?;
        let alike = of_best.all(|reading| reading.lemma == first.lemma);
        let form = self.form(at, first);

        (alike && self.stands_alone(at, first)).then(|| Reading { form, ..first.clone() })
    }

    fn before(&self, at: usize) -> &str {
        if at > 0 && self.tokens[at].joined { &self.lower[at - 1] } else { "" }
    }

    fn after(&self, at: usize) -> &str {
        if self.tokens.get(at + 1).is_some_and(|next| next.joined) {
            &self.lower[at + 1]
        } else {
            ""
        }
    }

    /// Whether the neighbours allow a reading.
    fn allows(&self, at: usize, reading: &Reading) -> bool {
        let (before, after) = (self.before(at), self.after(at));
        let verb = reading.pos == Pos::Verb;
        if DETERMINERS.contains(&before) || before == "of" {
            return !verb;
        }
        if after == "of" && verb && reading.form != Form::Ing {
            return false;
        }

        match before {
            "to" => reading.form == Form::Base && (verb || reading.pos == Pos::Adverb),
            _ if MODALS.contains(&before) => {
                (verb && reading.form == Form::Base) || reading.pos == Pos::Adverb
            }
            _ if SUBJECTS.contains(&before) => verb || reading.pos == Pos::Adverb,
            _ if PREPOSITIONS.contains(&before) => !verb || reading.form == Form::Ing,
            _ if BE.contains(&before) && verb => {
                matches!(reading.form, Form::Participle | Form::Ing)
            }
            _ if BE.contains(&before) => reading.pos != Pos::Noun || reading.form == Form::Plural,
            _ if HAVE.contains(&before) && verb => reading.form == Form::Participle,

            _ => true,
        }
    }

    /// Which form it is, where a regular `-ed` leaves it open. [`Form::Past`] may still be a
    /// participle ("patients treated with"), so a replacement must have one word for both.
    fn form(&self, at: usize, reading: &Reading) -> Form {
        if reading.pos != Pos::Verb || !matches!(reading.form, Form::Past | Form::Participle) {
            return reading.form;
        }
        let ly = |word: &str| {
            word.ends_with("ly") || matches!(word, "also" | "not" | "been" | "often" | "then")
        };
        let mut left = at;

        while left > 0 && self.tokens[left].joined {
            left -= 1;
            let word = self.lower[left].as_str();
            if BE.contains(&word) || HAVE.contains(&word) {
                return Form::Participle;
            }
            if !ly(word) {
                break;
            }
        }

        Form::Past
    }

    /// Whether a word can be exchanged without its neighbours: no compound, no two-word term, no
    /// verb particle.
    fn stands_alone(&self, at: usize, reading: &Reading) -> bool {
        let (before, after) = (self.before(at), self.after(at));
        let term = |first: &str, second: &str| {
            !is_function(first) && !is_function(second) && self.wordnet.is_term(first, second)
        };
        let (word, lemma) = (self.lower[at].as_str(), reading.lemma.as_str());
        let singular = after.strip_suffix('s').unwrap_or(after);

        if [word, lemma]
            .iter()
            .any(|word| term(before, word) || term(word, after) || term(word, singular))
        {
            return false;
        }

        match reading.pos {
            Pos::Noun => !self.is_noun_like(before) && !self.is_noun_like(after),
            // "recovering stroke patients" are no objects of a verb.
            Pos::Verb if reading.form == Form::Ing && self.is_noun_like(after) => false,
            Pos::Verb => !PREPOSITIONS.contains(&after) && !PARTICLES.contains(&after),
            Pos::Adjective | Pos::Adverb => {
                !PREPOSITIONS.contains(&after) && !matches!(after, "to" | "that")
            }
        }
    }

    /// Whether a neighbour may form a compound with a noun: an unknown word, or one mostly used as
    /// a noun.
    fn is_noun_like(&self, word: &str) -> bool {
        if word.is_empty() || is_function(word) {
            return false;
        }
        let found = readings(word, self.wordnet);
        let count = |noun: bool| {
            let of_kind = found.iter().filter(|reading| (reading.pos == Pos::Noun) == noun);
            of_kind.filter_map(|r| self.wordnet.usage(&r.lemma)?.count(r.pos)).max()
        };

        match (count(true), count(false)) {
            (None, None) => !is_kept(word),
            (Some(noun), other) => noun >= other.unwrap_or(0),
            (None, Some(_)) => false,
        }
    }
}

/// Whether a word is grammar rather than content.
pub fn is_function(word: &str) -> bool {
    static FUNCTION: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        [DETERMINERS, PREPOSITIONS, PARTICLES, MODALS, SUBJECTS, BE, HAVE]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    });
    FUNCTION.contains(word)
}

/// Whether a word is on the list [`KEPT`].
fn is_kept(word: &str) -> bool {
    static SET: LazyLock<HashSet<&str>> = LazyLock::new(|| KEPT.iter().copied().collect());
    SET.contains(word)
}

/// Whether an English word is known: to WordNet in any form, or as grammar.
pub fn is_known(word: &str, wordnet: &WordNet) -> bool {
    is_function(word)
        || is_kept(word)
        || PRONOUNS.contains(&word)
        || !readings(word, wordnet).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::wordnet::english;

    fn check(passage: &str, word: &str, expected: Option<(&str, Pos, Form)>) {
        let sentence = Sentence::new(passage, english().unwrap());
        let at = sentence.tokens.iter().position(|token| token.text == word).unwrap();
        let found = sentence.reading(at).map(|reading| (reading.lemma, reading.pos, reading.form));
        assert_eq!(
            found,
            expected.map(|(lemma, pos, form)| (lemma.to_string(), pos, form)),
            "{passage}"
        );
    }

    #[test]
    fn neighbours_decide() {
        check("They want to run fast.", "run", Some(("run", Pos::Verb, Form::Base)));
        check("After the run, they left.", "run", Some(("run", Pos::Noun, Form::Base)));
        check("We begin tomorrow.", "begin", Some(("begin", Pos::Verb, Form::Base)));
        check("The beginning was hard.", "beginning", Some(("beginning", Pos::Noun, Form::Base)));
        check("It may help children.", "help", Some(("help", Pos::Verb, Form::Base)));
        check("They need the help.", "help", Some(("help", Pos::Noun, Form::Base)));
        check(
            "It was completed early.",
            "completed",
            Some(("complete", Pos::Verb, Form::Participle)),
        );
    }

    #[test]
    fn names_numbers_terms_and_compounds_are_left_alone() {
        check("They met Begin there.", "Begin", None);
        check("The blood pressure rose.", "pressure", None);
        check("The well-known effect rose.", "known", None);
        check("It looks at results.", "looks", None);
        check("The placebo effect rose.", "effect", None);
        check("The side effects rose.", "side", None);
    }
}
