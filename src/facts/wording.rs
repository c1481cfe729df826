//! Facts in words: names of concepts and phrases of relations.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::corpus::Language;
use super::triples::Fact;
use crate::draw;
use crate::error::{Error, Result};
use crate::rewrite::ConceptNames;
use crate::rewrite::concept::in_running_text;
use crate::rewrite::inflect::{Form, readings};
use crate::rewrite::lexicon::LexiconNames;
use crate::rewrite::wordnet::WordNet;
use crate::rewrite::wordnet::readers::read_text;
use crate::text::words::words;

/// The phrases of each language.
static PHRASES: &[(Language, &str)] = &[
    (Language::English, include_str!("phrases/en.toml")),
    (Language::Chinese, include_str!("phrases/zh.toml")),
];

/// Names of a concept that are drawn from, the preferred one first: further ones are rare.
const NAMES: usize = 4;
/// Letters of an abbreviation, which means many things where nothing explains it.
const SHORT: usize = 5;
/// How a relation is told of which nobody says how, as SKILL has it; from the tail to the head,
/// too.
const BARE: [[&str; 2]; 2] = [
    ["{a}, {relation}, {b}.", "{b}: {a}, {relation}."],
    ["{a}，{relation}，{b}。", "{b}：{a}，{relation}。"],
];
/// How it is told in English where its name can be read: `has_manifestation`, `precursor_of`,
/// `metabolises`, `converts_to`.
const HAS: [&str; 2] = ["{a} {has|have} {b} as {relation}.", "{b} {is|are} the {relation} of {a}."];
const OF: [&str; 2] = ["{a} {is|are} the {relation} of {b}.", "{b} {has|have} {a} as {relation}."];
const VERB: [&str; 2] = ["{a} {relation} {b}.", "{b} {is|are} what {a} {relation}."];

/// How a relation is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrases {
    /// Of the head, `{a}`; `{b}` is the tail.
    forward: Vec<String>,
    /// Of the tail.
    inverse: Vec<String>,
}

/// The phrases of relations by language and by what files call these.
pub(super) struct Wording(BTreeMap<Language, BTreeMap<String, Phrases>>);

impl Wording {
    /// The embedded phrases, and those of files before them: TOML with a section a relation, below
    /// `en` or `zh`.
    ///
    /// # Errors
    /// If a file cannot be read, or a phrase lacks one of its concepts; names file and relation.
    pub(super) fn read(paths: &[String]) -> Result<Self> {
        let mut all = BTreeMap::new();
        for (language, text) in PHRASES {
            let phrases: BTreeMap<String, Phrases> = toml::from_str(text).map_err(|cause| {
                Error::data(format!("src/facts/phrases are wrong: {}", cause.message()))
            })?;
            all.insert(*language, phrases);
        }

        for path in paths {
            let text = read_text(path.as_ref())?;
            let own: BTreeMap<String, BTreeMap<String, Phrases>> =
                toml::from_str(&text).map_err(|cause| {
                    Error::data(format!("a file of wordings is wrong: {}", cause.message()))
                        .at(path)
                        .hint(
                            "sections like `[en.treats]`, each with `forward` and `inverse`, lists \
                             of sentences with `{a}` and `{b}`",
                        )
                })?;
            for (code, phrases) in own {
                let language = Language::of(Some(&code)).ok_or_else(|| {
                    Error::data(format!("`{code}` is no language that facts are told in"))
                        .at(path)
                        .hint("write `[en.<relation>]` or `[zh.<relation>]`")
                })?;
                for (relation, phrases) in phrases {
                    let all_of = phrases.forward.iter().chain(&phrases.inverse);
                    if phrases.forward.is_empty() || phrases.inverse.is_empty() {
                        return Err(Error::data(format!(
                            "`{code}.{relation}` has nothing to say in one direction"
                        ))
                        .at(path)
                        .hint("give both `forward` and `inverse` a sentence"));
                    }
                    for phrase in all_of {
                        if !is_whole(phrase) {
                            return Err(Error::data(format!(
                                "`{code}.{relation}` does not name both concepts once: {phrase:?}"
                            ))
                            .at(path)
                            .hint(
                                "`{a}` stands for the head of a fact, `{b}` for its tail, \
                                 `{is|are}` for the form that the name before it asks for",
                            ));
                        }
                    }
                    all.entry(language).or_default().insert(relation, phrases);
                }
            }
        }
        Ok(Wording(all))
    }

    /// The phrases of a relation, told of the head or of the tail.
    fn of(
        &self,
        relation: &str,
        language: Language,
        is_forward: bool,
        wordnet: &WordNet,
    ) -> Vec<String> {
        let known = self.0.get(&language).and_then(|all| all.get(relation));
        if let Some(phrases) = known {
            let own = if is_forward { &phrases.forward } else { &phrases.inverse };
            return own.clone();
        }
        let name = relation.replace('_', " ");
        let words: Vec<&str> = name.split(' ').collect();
        let is_verb =
            |word: &str| readings(word, wordnet).iter().any(|one| one.form == Form::ThirdPerson);
        let is_english = language == Language::English;
        let (told, name) = match words.as_slice() {
            ["has", rest @ ..] if is_english && !rest.is_empty() => (HAS, rest.join(" ")),
            [first @ .., "of"] if is_english && matches!(first, [one] if !is_verb(one)) => {
                (OF, first.join(" "))
            }
            [verb] | [verb, _] if is_english && is_verb(verb) => (VERB, name),
            _ => (BARE[usize::from(!is_english)], name),
        };
        vec![told[usize::from(!is_forward)].replace("{relation}", &name)]
    }
}

/// Names of concepts in a language.
type Found = HashMap<(u32, Language), Rc<[String]>>;

/// What facts are told with.
pub(super) struct Kit<'a> {
    wording: Wording,
    pub(super) names: &'a LexiconNames,
    wordnet: &'static WordNet,
    /// Names of the concepts that were asked for.
    found: RefCell<Found>,
}

impl<'a> Kit<'a> {
    pub(super) fn new(
        wording: Wording,
        names: &'a LexiconNames,
        wordnet: &'static WordNet,
    ) -> Self {
        Kit { wording, names, wordnet, found: RefCell::default() }
    }

    /// The names that a concept is called by in a sentence.
    pub(super) fn names(&self, concept: u32, language: Language) -> Rc<[String]> {
        let key = (concept, language);
        if let Some(names) = self.found.borrow().get(&key) {
            return Rc::clone(names);
        }
        let names: Rc<[String]> = self.fit(concept, language).into();
        self.found.borrow_mut().insert(key, Rc::clone(&names));
        names
    }

    /// Those that are read as that concept where nothing stands beside them, without the inverted
    /// ones and abbreviations.
    fn fit(&self, concept: u32, language: Language) -> Vec<String> {
        let number = concept as usize;
        let is_plain = |name: &str| !name.contains([',', '(', '[', '，', '（', '、', ';', '/']);
        let is_of = |name: &str| {
            let is_chinese = name.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            is_chinese == (language == Language::Chinese)
        };
        let is_read = |name: &str| {
            let found = self.names.mentions(name);
            matches!(found.as_slice(), [one] if one.concept == number
                && one.start == 0 && one.end == name.len())
        };
        let is_short = |name: &str| {
            name.len() <= SHORT && name.chars().all(|c| !c.is_lowercase()) && name.is_ascii()
        };
        let all = self.names.names(number, Some(language.code()));
        let fit = all.into_iter().enumerate().filter(|(nth, name)| {
            is_plain(name) && is_of(name) && (*nth == 0 || !is_short(name)) && is_read(name)
        });
        // As they stand behind a word in small letters.
        fit.take(NAMES).map(|(_, name)| in_running_text(name, "x", false, self.wordnet)).collect()
    }

    /// Most tokens of a fact told in both directions once; `None` where a concept has no name.
    pub(super) fn most_tokens(&self, fact: &Fact) -> Option<u64> {
        let longest = |texts: &[String]| texts.iter().map(|text| words(text).count()).max();
        let names = |one: u32| longest(&self.names(one, fact.language));
        let (head, tail) = (names(fact.head)?, names(fact.tail)?);
        let phrase = |is_forward| {
            let phrases = self.wording.of(fact.relation, fact.language, is_forward, self.wordnet);
            // Either form is one word.
            let bare = |phrase: &String| filled(phrase, " ", " ", &|_| false);
            longest(&phrases.iter().map(bare).collect::<Vec<_>>()).unwrap_or(0)
        };
        Some((2 * (head + tail) + phrase(true) + phrase(false)) as u64)
    }

    /// A fact as a sentence about its head, or about its tail.
    pub(super) fn sentence(
        &self,
        fact: &Fact,
        is_forward: bool,
        stream: &mut ChaCha8Rng,
    ) -> Option<String> {
        let mut drawn = |all: &[String]| {
            (!all.is_empty()).then(|| all[draw::next_below(stream, all.len())].clone())
        };
        let phrase =
            drawn(&self.wording.of(fact.relation, fact.language, is_forward, self.wordnet))?;
        let head = drawn(&self.names(fact.head, fact.language))?;
        let tail = drawn(&self.names(fact.tail, fact.language))?;
        let is_plural = |name: &str| {
            let last = name.rsplit([' ', '-']).next().unwrap_or_default().to_lowercase();
            let all = readings(&last, self.wordnet);
            !all.is_empty() && all.iter().all(|one| one.form == Form::Plural)
        };
        let said = filled(&phrase, &head, &tail, &is_plural);
        let mut letters = said.chars();
        let first = letters.next()?;
        Some(first.to_uppercase().chain(letters).collect())
    }
}

/// Whether a phrase has both names once, and no other braces but those with two forms.
fn is_whole(phrase: &str) -> bool {
    let (mut rest, mut names) = (phrase, Vec::new());
    while let Some((plain, behind)) = rest.split_once('{') {
        let Some((slot, after)) = behind.split_once('}') else { return false };
        if plain.contains('}') || slot.contains('{') {
            return false;
        }
        if !slot.contains('|') {
            names.push(slot);
        }
        rest = after;
    }
    names.sort_unstable();
    names == ["a", "b"] && !rest.contains('}')
}

/// A phrase with names in its braces, and of `{is|are}` what the name before it asks for.
fn filled(phrase: &str, head: &str, tail: &str, is_plural: &dyn Fn(&str) -> bool) -> String {
    let (mut said, mut rest, mut before) = (String::new(), phrase, "");
    while let Some((plain, behind)) = rest.split_once('{') {
        said.push_str(plain);
        let (slot, after) = behind.split_once('}').unwrap_or((behind, ""));
        match (slot, slot.split_once('|')) {
            (_, Some((one, many))) => said.push_str(if is_plural(before) { many } else { one }),
            (slot, None) => {
                before = if slot == "a" { head } else { tail };
                said.push_str(before);
            }
        }
        rest = after;
    }
    said + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::wordnet::english;

    #[test]
    fn every_phrase_names_both_concepts_in_both_directions() {
        let wording = Wording::read(&[]).unwrap();
        for (language, all) in &wording.0 {
            for (relation, phrases) in all {
                assert!(!phrases.forward.is_empty() && !phrases.inverse.is_empty(), "{relation}");
                for phrase in phrases.forward.iter().chain(&phrases.inverse) {
                    let n = |slot| phrase.matches(slot).count();
                    assert_eq!((n("{a}"), n("{b}")), (1, 1), "{relation}: {phrase}");
                    let ends = if *language == Language::English { '.' } else { '。' };
                    assert!(phrase.ends_with(ends), "{relation}: {phrase}");
                }
            }
        }
    }

    #[test]
    fn a_relation_is_told_by_its_name_where_no_phrase_is_known() {
        let wording = Wording::read(&[]).unwrap();
        let of = |relation: &str, language| {
            let wordnet = english().unwrap();
            [true, false].map(|way| wording.of(relation, language, way, wordnet).concat())
        };
        let (en, zh) = (Language::English, Language::Chinese);
        let told = |relation: &str| {
            let is_plural = |name: &str| name.ends_with('s');
            of(relation, en).map(|phrase| filled(&phrase, "nails", "{b}", &is_plural))
        };
        assert_eq!(
            told("metabolises"),
            ["nails metabolises {b}.", "{b} is what nails metabolises."]
        );
        assert_eq!(told("converts_to")[1], "{b} is what nails converts to.");
        assert_eq!(
            told("has_manifestation"),
            ["nails have {b} as manifestation.", "{b} is the manifestation of nails."]
        );
        assert_eq!(
            told("precursor_of"),
            ["nails are the precursor of {b}.", "{b} has nails as precursor."]
        );
        assert_eq!(of("RO:12", en), ["{a}, RO:12, {b}.", "{b}: {a}, RO:12."]);
        assert_eq!(of("伴随", zh), ["{a}，伴随，{b}。", "{b}：{a}，伴随。"]);
    }

    #[test]
    fn what_is_no_wording_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml").display().to_string();
        let refused = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Wording::read(std::slice::from_ref(&file)).err().unwrap().to_string()
        };
        let one = "forward = [\"{a} x {b}\"]\ninverse = [\"{b} y\"]";
        assert!(refused(&format!("[en.eats]\n{one}")).contains("`en.eats` does not name both"));
        for wrong in ["{a} x {b} in {c}.", "{b} {is|are x {a}.", "{a} {a} {b}.", "{a} x {b}}."] {
            let text = format!("[en.eats]\nforward = [{wrong:?}]\ninverse = [\"{{b}} y {{a}}\"]");
            assert!(refused(&text).contains("does not name both"), "{wrong}");
        }
        assert!(refused(&format!("[fr.eats]\n{one}")).contains("`fr` is no language"));
        assert!(
            refused("[en.eats]\nforward = [\"{a} {b}\"]\ninverse = []").contains("one direction")
        );
        assert!(refused("[en.eats]\nahead = []").contains("a file of wordings is wrong"));

        let own = "[en.treats]\nforward = [\"{a} heals {b}.\"]\ninverse = [\"{b}: see {a}.\"]";
        std::fs::write(&file, own).unwrap();
        let wording = Wording::read(&[file]).unwrap();
        let wordnet = english().unwrap();
        assert_eq!(wording.of("treats", Language::English, true, wordnet), ["{a} heals {b}."]);
    }
}
