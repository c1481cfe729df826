//! Ways to change a text that leave its meaning, or do not: after TextFlint (Wang et al. 2021,
//! arXiv:2103.11441), in English and Chinese.
//!
//! Slips of the hand and of the eye are made here; synonyms, names, antonyms and siblings by the
//! generators of `rewrite`, round trips by its engines. How many words: a share of them, at least
//! one. Which ones and how: a keyed draw, the same for every model that is asked.
//!
//! To add one: a function from a text to a text, one line in [`TRANSFORMATIONS`].

use std::collections::HashMap;
use std::sync::LazyLock;

use rand_chacha::ChaCha8Rng;

use crate::draw;
use crate::error::Result;
use crate::flow::registry;
use crate::rewrite::back_translation::Sentence;
use crate::rewrite::rewriter::Rewriter;
use crate::rewrite::{Generator, Params, back_translation, concept, synonym, thesaurus};
use crate::text::words::{is_cjk, words};

/// A way to change a text.
pub struct Transformation {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Whether the text says the same then.
    pub keeps: bool,
    how: How,
}

/// By what a text is changed.
enum How {
    /// By this, of which a share of the words is wanted.
    Slips(fn(&str, f64, &mut ChaCha8Rng) -> Option<String>),
    /// By a generator of `rewrite`.
    Words(&'static dyn Generator),
    /// By its table and engine.
    RoundTrip,
}

/// Every transformation.
pub static TRANSFORMATIONS: &[&Transformation] = &[
    &Transformation {
        name: "typo",
        about: "a letter inside a word left out, doubled, exchanged with the next or another; in \
                Chinese two characters exchanged",
        keeps: true,
        how: How::Slips(typo),
    },
    &Transformation {
        name: "keyboard",
        about: "a letter replaced by one beside it on the keyboard",
        keeps: true,
        how: How::Slips(|text, share, stream| letters(text, share, stream, &KEYBOARD)),
    },
    &Transformation {
        name: "ocr",
        about: "a letter replaced by one that a scanner takes it for",
        keeps: true,
        how: How::Slips(|text, share, stream| letters(text, share, stream, &OCR)),
    },
    &Transformation {
        name: "capitals",
        about: "words in capital letters",
        keeps: true,
        how: How::Slips(capitals),
    },
    &Transformation {
        name: "homophone",
        about: "Chinese characters replaced by others that sound alike",
        keeps: true,
        how: How::Slips(homophones),
    },
    &Transformation {
        name: "synonym",
        about: "English words replaced by WordNet synonyms of the same form",
        keeps: true,
        how: How::Words(&synonym::Synonym),
    },
    &Transformation {
        name: "thesaurus",
        about: "Chinese words replaced by synonyms, of the embedded thesaurus and \
                `negatives.thesaurus`",
        keeps: true,
        how: How::Words(&thesaurus::ThesaurusSynonym),
    },
    &Transformation {
        name: "concept_name",
        about: "a concept called by another name of `density.lexicon`",
        keeps: true,
        how: How::Words(&concept::OtherName),
    },
    &Transformation {
        name: "back_translation",
        about: "translated and back, by `negatives.back_translation`, where its gate holds",
        keeps: true,
        how: How::RoundTrip,
    },
    &Transformation {
        name: "concept_sibling",
        about: "a concept replaced by a sibling in `density.lexicon`: another statement",
        keeps: false,
        how: How::Words(&concept::Sibling),
    },
    &Transformation {
        name: "antonym",
        about: "an English word replaced by its WordNet antonym: another statement",
        keeps: false,
        how: How::Words(&synonym::Antonym),
    },
    &Transformation {
        name: "thesaurus_antonym",
        about: "a Chinese word replaced by its opposite or negation: another statement",
        keeps: false,
        how: How::Words(&thesaurus::ThesaurusAntonym),
    },
];

/// What texts are changed with.
pub struct Kit<'a> {
    /// Rewrites by the generators.
    pub rewriter: Rewriter<'a>,
    /// Share of the words that are changed, and the engine of round trips.
    pub params: &'a Params,
    /// Seed of the draws.
    pub seed: u64,
}

/// Those of some names; all where there is none, and none of `none`.
///
/// # Errors
/// If there is no such transformation.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Transformation>> {
    match names {
        [] => Ok(TRANSFORMATIONS.to_vec()),
        [none] if none == "none" => Ok(Vec::new()),
        names => names
            .iter()
            .map(|name| registry::find("transformation", TRANSFORMATIONS, name, |one| one.name))
            .collect(),
    }
}

impl Transformation {
    /// Each text as it is changed; `None` where there is nothing to change in it.
    ///
    /// # Errors
    /// If a table or an engine of round trips cannot be used.
    pub fn of(&self, texts: &[String], kit: &Kit) -> Result<Vec<Option<String>>> {
        let alone = |text: &String| {
            let mut stream = draw::stream(kit.seed, self.name, text.as_bytes());
            match self.how {
                How::Slips(slip) => Ok(slip(text, kit.params.replace_share, &mut stream)),
                How::Words(generator) => {
                    kit.rewriter.rewrite(generator, text, Some(language(text)), &mut stream)
                }
                How::RoundTrip => Ok(None),
            }
        };
        let found: Vec<Option<String>> = match self.how {
            How::RoundTrip => round_trips(texts, kit)?,
            _ => texts.iter().map(alone).collect::<Result<_>>()?,
        };
        let changed = |(text, found): (&String, Option<String>)| found.filter(|one| one != text);
        Ok(texts.iter().zip(found).map(changed).collect())
    }
}

/// Texts by the table and the engine; none where there is neither, or where what comes back is no
/// paraphrase.
fn round_trips(texts: &[String], kit: &Kit) -> Result<Vec<Option<String>>> {
    let sentence =
        |text: &String| Sentence { language: language(text).to_string(), text: text.clone() };
    let asked: Vec<Sentence> = texts.iter().map(sentence).collect();
    let Some(told) = back_translation::round_trips(&asked, &kit.params.back_translation)? else {
        return Ok(vec![None; texts.len()]);
    };
    let is_same = |one: &Sentence, text: &String| {
        kit.rewriter.is_paraphrase(&one.text, text, Some(&one.language))
    };
    let pairs = asked.iter().zip(told);
    Ok(pairs.map(|(one, text)| text.filter(|text| is_same(one, text))).collect())
}

/// The language of a text by its script.
fn language(text: &str) -> &'static str {
    if text.chars().any(is_cjk) { "zh" } else { "en" }
}

/// How many of `n` words are changed.
fn wanted(n: usize, share: f64) -> usize {
    (n as f64 * share).ceil().max(1.0) as usize
}

/// Draws `n` of some things, in a new order.
fn drawn<T>(mut all: Vec<T>, n: usize, stream: &mut ChaCha8Rng) -> Vec<T> {
    let n = n.min(all.len());
    (0..n).map(|_| all.swap_remove(draw::next_below(stream, all.len()))).collect()
}

/// A text with some of its words, each by its first byte, written in another way; words whose
/// letters `change` does not know stay, and count for nothing.
fn rewritten(
    text: &str,
    share: f64,
    stream: &mut ChaCha8Rng,
    change: impl Fn(&str, &mut ChaCha8Rng) -> Option<String>,
) -> Option<String> {
    let all: Vec<(usize, &str)> = words(text).map(|word| (word.start, word.text)).collect();
    let n = wanted(all.len(), share);
    let mut changes: Vec<(usize, usize, String)> = Vec::new();
    let total = all.len();
    for (start, word) in drawn(all, total, stream) {
        if changes.len() == n {
            break;
        }
        changes.extend(change(word, stream).map(|new| (start, start + word.len(), new)));
    }
    changes.sort_by_key(|(start, _, _)| std::cmp::Reverse(*start));
    let mut found = text.to_string();
    for (start, end, new) in &changes {
        found.replace_range(*start..*end, new);
    }
    (!changes.is_empty()).then_some(found)
}

/// Places of a word's letters without the first and the last.
fn inner(letters: &[char]) -> std::ops::Range<usize> {
    1..letters.len().saturating_sub(1)
}

fn is_plain(word: &str) -> bool {
    word.len() > 3 && word.chars().all(|c| c.is_ascii_alphabetic())
}

fn typo(text: &str, share: f64, stream: &mut ChaCha8Rng) -> Option<String> {
    if language(text) == "zh" {
        return exchanged(text, share, stream);
    }
    rewritten(text, share, stream, |word, stream| {
        if !is_plain(word) {
            return None;
        }
        let mut letters: Vec<char> = word.chars().collect();
        let places = inner(&letters);
        let at = places.start + draw::next_below(stream, places.len());
        match draw::next_below(stream, 4) {
            0 => drop(letters.remove(at)),
            1 => letters.insert(at + 1, letters[at]),
            // Where the next is the same, it is left out: the word is another in any case.
            2 if letters[at] == letters[at + 1] => drop(letters.remove(at)),
            2 => letters.swap(at, at + 1),
            _ => {
                let other = b'a' + draw::next_below(stream, 25) as u8;
                let own = letters[at].to_ascii_lowercase() as u8;
                letters[at] = char::from(other + u8::from(other >= own));
            }
        }
        Some(letters.into_iter().collect())
    })
}

/// Two Chinese characters that stand side by side, exchanged.
fn exchanged(text: &str, share: f64, stream: &mut ChaCha8Rng) -> Option<String> {
    let mut letters: Vec<char> = text.chars().collect();
    let n = letters.iter().filter(|c| is_cjk(**c)).count();
    let is_pair = |at: &usize| {
        is_cjk(letters[*at]) && is_cjk(letters[at + 1]) && letters[*at] != letters[at + 1]
    };
    let places: Vec<usize> = (0..letters.len().saturating_sub(1)).filter(is_pair).collect();
    let mut done: Vec<usize> = Vec::new();
    let total = places.len();
    for at in drawn(places, total, stream) {
        // Two characters make a word.
        if done.len() == wanted(n / 2, share) {
            break;
        }
        if done.iter().all(|other| other.abs_diff(at) > 1) {
            letters.swap(at, at + 1);
            done.push(at);
        }
    }
    (!done.is_empty()).then(|| letters.into_iter().collect())
}

/// What stands beside each letter on a keyboard, and what a scanner takes it for.
type Mistaken = HashMap<char, Vec<char>>;

static KEYBOARD: LazyLock<Mistaken> = LazyLock::new(|| {
    let rows = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let mut beside = Mistaken::new();
    for (nth, row) in rows.iter().enumerate() {
        let row: Vec<char> = row.chars().collect();
        for (at, letter) in row.iter().enumerate() {
            let own = beside.entry(*letter).or_default();
            own.extend(row.get(at + 1));
            own.extend(at.checked_sub(1).and_then(|at| row.get(at)));
            // A row stands half a key to the right of the one above it.
            let below: Vec<char> =
                rows.get(nth + 1).map_or(Vec::new(), |row| row.chars().collect());
            own.extend(below.get(at));
            own.extend(at.checked_sub(1).and_then(|at| below.get(at)));
        }
    }
    beside
});

/// Each letter with what it is taken for.
#[rustfmt::skip]
static LOOK_ALIKE: &[(char, char)] = &[
    ('o', '0'), ('l', '1'), ('i', '1'), ('i', 'l'), ('s', '5'), ('b', '6'), ('g', '9'), ('z', '2'),
    ('q', '9'), ('t', 'f'), ('f', 't'), ('u', 'v'), ('v', 'u'), ('c', 'e'), ('e', 'c'), ('n', 'h'),
    ('h', 'n'), ('m', 'n'), ('r', 'n'), ('a', 'o'), ('d', 'b'), ('y', 'v'), ('w', 'v'), ('k', 'h'),
];

static OCR: LazyLock<Mistaken> = LazyLock::new(|| {
    let mut taken = Mistaken::new();
    for (letter, other) in LOOK_ALIKE {
        taken.entry(*letter).or_default().push(*other);
    }
    taken
});

fn letters(text: &str, share: f64, stream: &mut ChaCha8Rng, mistaken: &Mistaken) -> Option<String> {
    rewritten(text, share, stream, |word, stream| {
        if !is_plain(word) {
            return None;
        }
        let mut letters: Vec<char> = word.chars().collect();
        let others = |at: &usize| mistaken.get(&letters[*at].to_ascii_lowercase());
        let places: Vec<usize> =
            inner(&letters).filter(|at| others(at).is_some_and(|all| !all.is_empty())).collect();
        let at = *drawn(places, 1, stream).first()?;
        let all = others(&at)?;
        let other = all[draw::next_below(stream, all.len())];
        let is_capital = letters[at].is_ascii_uppercase();
        letters[at] = if is_capital { other.to_ascii_uppercase() } else { other };
        Some(letters.into_iter().collect())
    })
}

fn capitals(text: &str, share: f64, stream: &mut ChaCha8Rng) -> Option<String> {
    rewritten(text, share, stream, |word, _| {
        let capitals = word.to_uppercase();
        (word.chars().count() > 1 && capitals != word).then_some(capitals)
    })
}

/// Characters by those that sound like them.
static HOMOPHONES: LazyLock<Mistaken> = LazyLock::new(|| {
    let groups = include_str!("homophones.txt").lines().filter(|line| !line.starts_with('#'));
    let mut all = Mistaken::new();
    for group in groups {
        for letter in group.chars() {
            all.entry(letter).or_default().extend(group.chars().filter(|other| *other != letter));
        }
    }
    all
});

fn homophones(text: &str, share: f64, stream: &mut ChaCha8Rng) -> Option<String> {
    let mut letters: Vec<char> = text.chars().collect();
    let n = letters.iter().filter(|c| is_cjk(**c)).count();
    let places: Vec<usize> =
        (0..letters.len()).filter(|at| HOMOPHONES.contains_key(&letters[*at])).collect();
    // Two characters make a word.
    let places = drawn(places, wanted(n / 2, share), stream);
    for at in &places {
        let all = &HOMOPHONES[&letters[*at]];
        letters[*at] = all[draw::next_below(stream, all.len())];
    }
    (!places.is_empty()).then(|| letters.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::plan::Pipeline;
    use crate::flow::settings::Settings;

    fn params() -> Params {
        let mut params = Pipeline::new(&Settings::new().unwrap()).unwrap().negatives.rewriting();
        params.back_translation.engine = "none".to_string();
        params
    }

    fn of(name: &str, text: &str) -> Option<String> {
        let params = params();
        let rewriter = Rewriter::new(params.clone(), None).unwrap();
        let kit = Kit { rewriter, params: &params, seed: 3 };
        let one = TRANSFORMATIONS.iter().find(|one| one.name == name).unwrap();
        one.of(&[text.to_string()], &kit).unwrap().swap_remove(0)
    }

    const ENGLISH: &str = "The large clinic began a new treatment for patients with high fever.";
    const CHINESE: &str = "患者应当在手术后三天内进行检查,症状严重的须立即治疗。";

    /// What changes a text changes about a share of it, and the same again.
    #[test]
    fn changed_texts_are_near_and_drawn_once() {
        for one in TRANSFORMATIONS {
            for text in [ENGLISH, CHINESE] {
                let Some(found) = of(one.name, text) else { continue };
                assert_ne!(found, text, "{}", one.name);
                assert_eq!(of(one.name, text).as_ref(), Some(&found), "{}", one.name);
                let (before, after): (Vec<char>, Vec<char>) =
                    (text.chars().collect(), found.chars().collect());
                let same = before.iter().filter(|c| after.contains(c)).count();
                assert!(same * 10 >= before.len() * 8, "{}: {found}", one.name);
            }
        }
        for name in ["typo", "keyboard", "ocr", "capitals", "synonym", "antonym"] {
            assert!(of(name, ENGLISH).is_some(), "{name}");
        }
        for name in ["typo", "homophone", "thesaurus_antonym"] {
            assert!(of(name, CHINESE).is_some(), "{name}");
        }
        assert!(of("homophone", ENGLISH).is_none() && of("synonym", CHINESE).is_none());
        assert!(of("typo", "It is 5 mg.").is_none() && of("typo", "").is_none());
    }

    /// What comes back from a translation counts where it says the same in words that are some.
    #[test]
    fn round_trips_pass_the_gate_of_the_builds() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("table.tsv");
        let trip = |back: &str| {
            std::fs::write(&place, format!("{ENGLISH}\t{back}\n")).unwrap();
            let mut params = params();
            params.back_translation.engine = "table".to_string();
            params.back_translation.tables = vec![place.display().to_string()];
            let rewriter = Rewriter::new(params.clone(), None).unwrap();
            let kit = Kit { rewriter, params: &params, seed: 3 };
            let one = TRANSFORMATIONS.iter().find(|one| one.name == "back_translation").unwrap();
            one.of(&[ENGLISH.to_string()], &kit).unwrap().swap_remove(0)
        };
        let good = "The big clinic began a new treatment for patients with a high fever.";
        assert_eq!(trip(good).as_deref(), Some(good));
        assert_eq!(trip("The large clinic began a new prpers for patients with high fever."), None);
        assert_eq!(trip("The large clinic never began a new treatment for patients."), None);
        assert_eq!(trip(ENGLISH), None);
    }

    #[test]
    fn letters_are_those_beside_them() {
        assert!(KEYBOARD[&'a'].contains(&'s') && KEYBOARD[&'q'].contains(&'a'));
        assert!(!KEYBOARD[&'a'].contains(&'p') && KEYBOARD.len() == 26);
        assert!(OCR.iter().all(|(letter, others)| !others.contains(letter)));
    }

    #[test]
    fn homophones_stand_in_one_group() {
        let all: Vec<char> = include_str!("homophones.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::chars)
            .collect();
        let met: std::collections::HashSet<char> = all.iter().copied().collect();
        assert_eq!(met.len(), all.len());
        assert!(all.into_iter().all(is_cjk));
    }
}
