//! TextFooler (Jin et al. 2020, arXiv:1907.11932): words are replaced by near ones, the most
//! important first, until a classifier says something else.
//!
//! The steps are those of TextAttack 0.3 (`textfooler_jin_2019.py`, `greedy_word_swap_wir.py`), as
//! a test checks. A word is as important as the probability of the right class is low without it.
//! Stop words stay, and so does the premise where one text is judged by another. A candidate must
//! be of the same part of speech, or a verb for a noun, and the fifteen words around it must say
//! about the same by the states of an encoder that is not trained: 1 − angle / π of at least
//! 0.840845, the 0.5 of the original, which leaves the division out. In shorter texts that is not
//! asked. Of several candidates that turn the classifier the most alike is taken; where there is
//! none, the one that takes most from the right class.
//!
//! Here a stop word is one in capitals too, and a candidate is one word.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::candidates::Candidates;
use super::words::{Text, is_one_word, with_case_of};
use crate::error::{Error, Result};
use crate::eval::metrics::best;
use crate::eval::tasks::text;
use crate::rewrite::pos::{Sentence, is_function};
use crate::rewrite::wordnet::{self, Pos, WordNet};

/// Words around a replaced one that must say about the same.
const WINDOW: usize = 15;
/// How much alike: 1 − 0.5 / π.
const ALIKE: f64 = 0.840_845_057;

/// Words that are not replaced, of the released TextFooler.
#[rustfmt::skip]
static STOP_WORDS: &[&str] = &[
    "a", "about", "above", "across", "after", "afterwards", "again", "against", "ain", "all",
    "almost", "alone", "along", "already", "also", "although", "am", "among", "amongst", "an",
    "and", "another", "any", "anyhow", "anyone", "anything", "anyway", "anywhere", "are", "aren",
    "aren't", "around", "as", "at", "back", "been", "before", "beforehand", "behind", "being",
    "below", "beside", "besides", "between", "beyond", "both", "but", "by", "can", "cannot",
    "could", "couldn", "couldn't", "d", "didn", "didn't", "doesn", "doesn't", "don", "don't",
    "down", "due", "during", "either", "else", "elsewhere", "empty", "enough", "even", "ever",
    "everyone", "everything", "everywhere", "except", "first", "for", "former", "formerly", "from",
    "hadn", "hadn't", "hasn", "hasn't", "haven", "haven't", "he", "hence", "her", "here",
    "hereafter", "hereby", "herein", "hereupon", "hers", "herself", "him", "himself", "his", "how",
    "however", "hundred", "i", "if", "in", "indeed", "into", "is", "isn", "isn't", "it", "it's",
    "its", "itself", "just", "latter", "latterly", "least", "ll", "may", "me", "meanwhile",
    "mightn", "mightn't", "mine", "more", "moreover", "most", "mostly", "must", "mustn", "mustn't",
    "my", "myself", "namely", "needn", "needn't", "neither", "never", "nevertheless", "next", "no",
    "nobody", "none", "noone", "nor", "not", "nothing", "now", "nowhere", "o", "of", "off", "on",
    "once", "one", "only", "onto", "or", "other", "others", "otherwise", "our", "ours",
    "ourselves", "out", "over", "per", "please", "s", "same", "shan", "shan't", "she", "she's",
    "should've", "shouldn", "shouldn't", "somehow", "something", "sometime", "somewhere", "such",
    "t", "than", "that", "that'll", "the", "their", "theirs", "them", "themselves", "then",
    "thence", "there", "thereafter", "thereby", "therefore", "therein", "thereupon", "these",
    "they", "this", "those", "through", "throughout", "thru", "thus", "to", "too", "toward",
    "towards", "under", "unless", "until", "up", "upon", "used", "ve", "was", "wasn", "wasn't",
    "we", "were", "weren", "weren't", "what", "whatever", "when", "whence", "whenever", "where",
    "whereafter", "whereas", "whereby", "wherein", "whereupon", "wherever", "whether", "which",
    "while", "whither", "who", "whoever", "whole", "whom", "whose", "why", "with", "within",
    "without", "won", "won't", "would", "wouldn", "wouldn't", "y", "yet", "you", "you'd", "you'll",
    "you're", "you've", "your", "yours", "yourself", "yourselves",
];

/// What is attacked.
pub trait Victim {
    /// How probable each class is, of each text.
    ///
    /// # Errors
    /// If the model fails.
    fn probabilities(&self, texts: &[Text]) -> Result<Vec<Vec<f64>>>;
}

/// Tells what texts say as vectors.
pub trait Encoder {
    /// A vector of each.
    ///
    /// # Errors
    /// If the model fails.
    fn states(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>>;
}

/// Tells the parts of speech of words: the user's by a file, all others by WordNet and what stands
/// beside them.
pub struct Tagger {
    own: HashMap<String, String>,
    hash: u64,
    wordnet: &'static WordNet,
}

/// The tag of nouns and of words that nothing is known of.
const NOUN: &str = "NOUN";
const VERB: &str = "VERB";

impl Tagger {
    /// One that reads `word<TAB>TAG` lines, with universal tags (`NOUN`, `VERB`, `ADJ`, `ADV`, …),
    /// from a file where one is given.
    ///
    /// # Errors
    /// If it cannot be read, or a line is something else.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let mut own = HashMap::new();
        let text = path.map(text).transpose()?.unwrap_or_default();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let Some((word, tag)) = line.trim_end().split_once('\t') else {
                let place = path.unwrap_or(Path::new("")).display();
                return Err(Error::data(format!("`{line}` is no word and tag"))
                    .at(format!("{place}:{number}"))
                    .hint("write `word<TAB>NOUN`"));
            };
            own.entry(word.to_lowercase()).or_insert_with(|| tag.to_string());
        }
        let hash = xxh3_64(text.as_bytes());
        Ok(Tagger { own, hash, wordnet: wordnet::english()? })
    }

    /// The tag of a word among others.
    fn tag(&self, words: &[&str], at: usize) -> &str {
        let word = words[at].to_lowercase();
        if let Some(tag) = self.own.get(&word) {
            return tag;
        }
        match Sentence::of_words(words, self.wordnet).likely(at) {
            Some(Pos::Verb) => VERB,
            Some(Pos::Adjective) => "ADJ",
            Some(Pos::Adverb) => "ADV",
            None if is_function(&word) => "X",
            Some(Pos::Noun) | None => NOUN,
        }
    }

    fn allows(&self, words: &[&str], at: usize, with: &str) -> bool {
        let mut after = words.to_vec();
        after[at] = with;
        let (before, after) = (self.tag(words, at), self.tag(&after, at));
        let is_either = |tag: &str| tag == NOUN || tag == VERB;
        before == after || (is_either(before) && is_either(after))
    }
}

/// What an attack is made with.
pub struct Attack<'a> {
    /// What words may be replaced by.
    pub candidates: &'a dyn Candidates,
    /// Tells their parts of speech.
    pub tagger: &'a Tagger,
    /// Tells whether two windows say the same; none asks for nothing.
    pub encoder: Option<&'a dyn Encoder>,
    /// Most texts that the victim is asked about.
    pub queries: usize,
}

/// How an attack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The text was judged wrongly before.
    Skipped,
    /// Another class is the most probable.
    Succeeded,
    /// It is not.
    Failed,
}

/// A word that was replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Its number.
    pub at: usize,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
    /// How probable the right class is then.
    pub probability: f64,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked {
    /// How it ended.
    pub ending: Ending,
    /// The text as it then was.
    pub text: Text,
    /// What was replaced, in this order.
    pub steps: Vec<Step>,
    /// Texts that the victim was asked about.
    pub queries: usize,
}

/// A changed text on trial.
struct Trial {
    text: Text,
    to: String,
    /// How much its window is like that before, where that was asked.
    alike: Option<f64>,
}

impl Attack<'_> {
    /// What it depends on beside the models, as JSON.
    pub fn identity(&self) -> Value {
        json!([self.candidates.about(), self.candidates.hash(), self.tagger.hash, self.queries])
    }

    /// Attacks a text of the class `gold`, in those of its columns that may change.
    ///
    /// # Errors
    /// If a model fails.
    pub fn run(
        &self,
        victim: &dyn Victim,
        text: &Text,
        gold: usize,
        may_change: &dyn Fn(usize) -> bool,
    ) -> Result<Attacked> {
        let first = victim.probabilities(std::slice::from_ref(text))?.swap_remove(0);
        let mut all =
            Attacked { ending: Ending::Failed, text: text.clone(), steps: Vec::new(), queries: 1 };
        if best(first.iter().copied()) != gold {
            all.ending = Ending::Skipped;
            return Ok(all);
        }

        let mut probability = first[gold];
        let words = text.words();
        for at in self.order(victim, text, gold, may_change, &mut all)? {
            let mut trials = self.trials(&words, &all.text, at)?;
            trials.truncate(self.queries.saturating_sub(all.queries));
            if trials.is_empty() {
                continue;
            }
            all.queries += trials.len();
            let texts: Vec<Text> = trials.iter().map(|trial| trial.text.clone()).collect();
            let found = victim.probabilities(&texts)?;

            // The lowest first; of equals the first by its letters.
            let mut order: Vec<usize> = (0..trials.len()).collect();
            order.sort_by(|a, b| found[*a][gold].total_cmp(&found[*b][gold]));
            if found[order[0]][gold] >= probability {
                continue;
            }
            let turns = |nth: &usize| best(found[*nth].iter().copied()) != gold;
            let turning = order.iter().copied().take_while(turns);
            let most_alike =
                turning.reduce(
                    |best, one| {
                        if trials[one].alike > trials[best].alike { one } else { best }
                    },
                );

            let chosen = most_alike.unwrap_or(order[0]);
            probability = found[chosen][gold];
            let Trial { text, to, .. } = trials.swap_remove(chosen);
            all.steps.push(Step { at, from: words[at].to_string(), to, probability });
            all.text = text;
            if most_alike.is_some() {
                all.ending = Ending::Succeeded;
                break;
            }
        }
        Ok(all)
    }

    /// The words that may be replaced, the most important first.
    fn order(
        &self,
        victim: &dyn Victim,
        text: &Text,
        gold: usize,
        may_change: &dyn Fn(usize) -> bool,
        all: &mut Attacked,
    ) -> Result<Vec<usize>> {
        let is_free = |at: &usize| {
            may_change(text.column_of(*at)) && !is_stop_word(&text.word(*at).to_lowercase())
        };
        let mut order: Vec<usize> = (0..text.len()).filter(is_free).collect();
        order.truncate(self.queries.saturating_sub(all.queries));
        all.queries += order.len();
        let without: Vec<Text> = order.iter().map(|at| text.without(*at)).collect();
        let left: HashMap<usize, f64> = order
            .iter()
            .copied()
            .zip(victim.probabilities(&without)?.iter().map(|found| found[gold]))
            .collect();
        order.sort_by(|a, b| left[a].total_cmp(&left[b]));
        Ok(order)
    }

    /// What a word may be replaced by, in the order of the whole texts' letters. `words` are those
    /// of the text at the beginning.
    fn trials(&self, words: &[&str], text: &Text, at: usize) -> Result<Vec<Trial>> {
        let word = words[at];
        let mut met = HashSet::new();
        let mut trials: Vec<Trial> = self
            .candidates
            .of(&word.to_lowercase())
            .iter()
            .map(|other| with_case_of(word, other))
            .filter(|to| to != word && is_one_word(to) && self.tagger.allows(words, at, to))
            .filter(|to| met.insert(to.clone()))
            .map(|to| Trial { text: text.replaced(at, &to), to, alike: None })
            .collect();

        if let Some(encoder) = self.encoder {
            if text.len() < WINDOW {
                trials.iter_mut().for_each(|trial| trial.alike = Some(1.0));
            } else if !trials.is_empty() {
                let before = text.window(at, WINDOW);
                let windows: Vec<String> =
                    trials.iter().map(|trial| trial.text.window(at, WINDOW)).collect();
                let all: Vec<&str> =
                    std::iter::once(&before).chain(&windows).map(String::as_str).collect();
                let states = encoder.states(&all)?;
                for (trial, after) in trials.iter_mut().zip(&states[1..]) {
                    trial.alike = Some(alike(&states[0], after));
                }
                trials.retain(|trial| trial.alike >= Some(ALIKE));
            }
        }
        trials.sort_by_cached_key(|trial| trial.text.joined());
        Ok(trials)
    }
}

/// Whether a word in small letters is a stop word.
pub fn is_stop_word(word: &str) -> bool {
    static SET: LazyLock<HashSet<&str>> = LazyLock::new(|| STOP_WORDS.iter().copied().collect());
    SET.contains(word)
}

/// 1 − angle / π.
fn alike(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE);
    1.0 - cosine.clamp(-1.0, 1.0).acos() / std::f64::consts::PI
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::robustness::candidates::Vectors;
    use std::collections::BTreeMap;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/textfooler")
    }

    /// Sums a weight of each word for each class.
    struct Bag(BTreeMap<String, Vec<f64>>);

    impl Victim for Bag {
        fn probabilities(&self, texts: &[Text]) -> Result<Vec<Vec<f64>>> {
            let of = |text: &Text| {
                let mut logits = [0.0; 3];
                for word in text.words() {
                    let own = self.0.get(&word.to_lowercase()).into_iter().flatten();
                    logits.iter_mut().zip(own).for_each(|(logit, weight)| *logit += weight);
                }
                let parts: Vec<f64> = logits.iter().map(|logit| logit.exp()).collect();
                let sum: f64 = parts.iter().sum();
                parts.iter().map(|part| part / sum).collect()
            };
            Ok(texts.iter().map(of).collect())
        }
    }

    /// The sum of the words' vectors, and a little.
    struct Sum(BTreeMap<String, Vec<f64>>);

    impl Encoder for Sum {
        fn states(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
            let of = |text: &&str| {
                let mut sum = vec![0.01; 12];
                for word in Text::new(vec![(*text).to_string()]).words() {
                    let own = self.0.get(&word.to_lowercase()).into_iter().flatten();
                    sum.iter_mut().zip(own).for_each(|(sum, number)| *sum += number);
                }
                sum
            };
            Ok(texts.iter().map(of).collect())
        }
    }

    fn expected() -> Value {
        let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn sum() -> Sum {
        let text = std::fs::read_to_string(folder().join("vectors.txt")).unwrap();
        let line = |line: &str| {
            let (word, numbers) = line.split_once(' ').unwrap();
            let numbers = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            (word.to_string(), numbers)
        };
        Sum(text.lines().map(line).collect())
    }

    /// Every step, probability, text and count of queries of `fixtures/parity/textfooler.py`:
    /// TextAttack's own recipe on the same vectors, tags and classifier, with its constraint on
    /// sentences and without.
    #[test]
    fn attacks_are_those_of_textattack() {
        let expected = expected();
        let victim = Bag(serde_json::from_value(expected["weights"].clone()).unwrap());
        let vectors = Vectors::read(&folder().join("vectors.txt")).unwrap();
        let tagger = Tagger::read(Some(&folder().join("tags.tsv"))).unwrap();
        let (sum, mut endings) = (sum(), BTreeMap::<String, usize>::new());
        for item in expected["items"].as_array().unwrap() {
            let columns: Vec<String> = serde_json::from_value(item["texts"].clone()).unwrap();
            let (is_pair, text) = (columns.len() == 2, Text::new(columns));
            let gold = item["label"].as_u64().unwrap() as usize;
            for (name, encoder) in [("alone", None), ("encoded", Some(&sum as &dyn Encoder))] {
                let attack =
                    Attack { candidates: &vectors, tagger: &tagger, encoder, queries: 10_000 };
                let found =
                    attack.run(&victim, &text, gold, &|column| column > 0 || !is_pair).unwrap();
                let (wanted, what) = (&item[name], format!("{name}: {:?}", text.columns()));
                assert_eq!(serde_json::to_value(found.ending).unwrap(), wanted["ending"], "{what}");
                *endings.entry(wanted["ending"].to_string()).or_default() += 1;
                assert_eq!(found.queries as u64, wanted["queries"].as_u64().unwrap(), "{what}");
                let steps = wanted["steps"].as_array().unwrap();
                assert_eq!(found.steps.len(), steps.len(), "{what}");
                for (found, wanted) in found.steps.iter().zip(steps) {
                    let told = json!({
                        "at": found.at, "from": found.from, "to": found.to,
                    });
                    assert_eq!(told, *wanted, "{what}");
                }
                if let Some(last) = found.steps.last() {
                    let wanted = wanted["probability"].as_f64().unwrap();
                    assert!((last.probability - wanted).abs() < 1e-9, "{what}");
                }
                if found.ending != Ending::Skipped {
                    assert_eq!(json!(found.text.columns()), wanted["text"], "{what}");
                }
            }
        }
        assert!(endings.values().all(|n| *n >= 5) && endings.len() == 3, "{endings:?}");
    }

    /// What an attack may not do, checked on what it did: stop words and premises as they were,
    /// one word for one word, the same part of speech.
    #[test]
    fn an_attack_keeps_what_it_must() {
        let expected = expected();
        let victim = Bag(serde_json::from_value(expected["weights"].clone()).unwrap());
        let candidates = Vectors::read(&folder().join("vectors.txt")).unwrap();
        let tagger = Tagger::read(Some(&folder().join("tags.tsv"))).unwrap();
        let attack =
            Attack { candidates: &candidates, tagger: &tagger, encoder: None, queries: 40 };
        let premise = "The good doctor found the remedy quickly.".to_string();
        let text = Text::new(vec![premise.clone(), "THE bad house is not a great home".into()]);
        for gold in 0..3 {
            let found = attack.run(&victim, &text, gold, &|column| column == 1).unwrap();
            assert!(found.queries <= 40 && found.text.columns()[0] == premise);
            assert_eq!(found.text.len(), text.len());
            for (at, (before, after)) in text.words().iter().zip(found.text.words()).enumerate() {
                let is_step = found.steps.iter().any(|step| step.at == at);
                assert_eq!(*before != after, is_step);
                if is_step {
                    assert!(!is_stop_word(&before.to_lowercase()));
                    assert!(tagger.allows(&text.words(), at, after));
                }
            }
        }
        let skipped = (0..3)
            .filter(|gold| {
                let found = attack.run(&victim, &text, *gold, &|_| true).unwrap();
                found.ending == Ending::Skipped && found.queries == 1 && found.steps.is_empty()
            })
            .count();
        assert_eq!(skipped, 2, "of three classes one is the most probable");
    }

    #[test]
    fn parts_of_speech_are_told_by_what_stands_beside() {
        let tagger = Tagger::read(None).unwrap();
        let tag = |text: &str, word: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            tagger.tag(&words, words.iter().position(|one| *one == word).unwrap()).to_string()
        };
        assert_eq!(tag("they walk home", "walk"), "VERB");
        assert_eq!(tag("the walk was long", "walk"), "NOUN");
        assert_eq!(tag("a very good dose", "good"), "ADJ");
        assert_eq!(tag("she quickly left", "quickly"), "ADV");
        assert_eq!((tag("the zorp", "zorp"), tag("the zorp", "the")), ("NOUN".into(), "X".into()));
        assert!(tagger.allows(&["they", "walk"], 1, "stroll"));
        assert!(!tagger.allows(&["a", "good", "dose"], 1, "quickly"));
    }

    #[test]
    fn likeness_is_one_less_the_angle() {
        assert!((alike(&[1.0, 0.0], &[0.0, 2.0]) - 0.5).abs() < 1e-12);
        assert!((alike(&[1.0, 1.0], &[2.0, 2.0]) - 1.0).abs() < 1e-6);
        assert!(alike(&[1.0, 0.0], &[-1.0, 0.0]).abs() < 1e-12);
    }
}
