//! The quality gate: is a rewritten passage still close to its anchor, and does it still say the
//! same?
//!
//! Closeness is chrF2 (Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT
//! 2015) as sacrebleu computes it: character n-grams of 1 to 6, whitespace left out, precision and
//! recall averaged over the orders that both texts have, β = 2. What is said is compared by what
//! can be seen without understanding: numbers, negations, names, acronyms, and the lexicon's
//! concepts. Where those stay it is a `paraphrase`; where one changes it is a `hard` negative:
//! nearly the same text with another meaning.

use crate::text::numbers::numbers;
use crate::text::words::words;

/// Longest character n-gram.
const ORDER: usize = 6;
/// Weight of recall against precision.
const BETA: f64 = 2.0;
/// Words that turn a statement round, lower case.
static NEGATIONS: &[&str] = &[
    "no", "not", "nor", "neither", "never", "none", "nobody", "nothing", "without", "cannot",
    "lack", "lacks", "lacked", "absence", "unable", "failed", "fails", "fail",
];
/// The same in Chinese.
static NEGATIONS_ZH: &[&str] = &["不", "没", "無", "无", "未", "非", "否", "勿"];

/// The negation that a word is, in one form of it: a word in lower case, or a Chinese character.
pub fn negation(word: &str) -> Option<&'static str> {
    if word.ends_with("n't") || word.ends_with("n’t") {
        return Some("not");
    }
    NEGATIONS.iter().chain(NEGATIONS_ZH).find(|one| **one == word).copied()
}

/// What the gate says of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The same text, but for spaces; worth nothing.
    Identical,
    /// Too far from the anchor, or too short or long.
    Off,
    /// Kept: another statement in nearly the same words. Carries chrF in [0, 1].
    Hard(f32),
    /// Kept: the same statement in other words. Carries chrF in [0, 1].
    Paraphrase(f32),
}

/// Bounds of the gate.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lowest chrF kept, in [0, 1].
    pub min_similarity: f64,
    /// Largest length ratio in either direction, at least 1.
    pub max_length_ratio: f64,
}

/// An anchor with what every candidate is compared with, worked out once.
pub struct Anchor<'a> {
    text: &'a str,
    bare: Vec<char>,
    grams: Grams,
}

impl<'a> Anchor<'a> {
    /// Reads an anchor.
    pub fn new(text: &'a str) -> Self {
        let bare = bare(text);
        Anchor { text, grams: Grams::new(&bare), bare }
    }

    /// Judges a candidate; `concept_changed` says whether a concept was lost or another came in.
    pub fn judge(&self, candidate: &str, concept_changed: bool, bounds: Bounds) -> Verdict {
        let (a, b) = (&self.bare, bare(candidate));
        if *a == b {
            return Verdict::Identical;
        }
        let ratio = a.len().max(b.len()) as f64 / a.len().min(b.len()).max(1) as f64;
        let similarity = self.chrf_of(&b);

        if ratio > bounds.max_length_ratio || similarity < bounds.min_similarity {
            return Verdict::Off;
        }
        if concept_changed || facts(self.text) != facts(candidate) {
            return Verdict::Hard(similarity as f32);
        }
        Verdict::Paraphrase(similarity as f32)
    }

    /// chrF2 of a candidate whose meaning is known already; `None` where it is the same text but
    /// for spaces.
    pub fn similarity(&self, candidate: &str) -> Option<f32> {
        let bare = bare(candidate);
        (bare != self.bare).then(|| self.chrf_of(&bare) as f32)
    }

    fn chrf_of(&self, hypothesis: &[char]) -> f64 {
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        let grams = Grams::new(hypothesis);

        for order in 1..=ORDER {
            if hypothesis.len() < order || self.bare.len() < order {
                break;
            }
            let matches = shared(grams.of(order), self.grams.of(order));
            precision += matches as f64 / (hypothesis.len() + 1 - order) as f64;
            recall += matches as f64 / (self.bare.len() + 1 - order) as f64;
            orders += 1.0;
        }

        if matches!(precision + recall, 0.0) {
            return 0.0;
        }
        let (precision, recall) = (precision / orders, recall / orders);
        (1.0 + BETA * BETA) * precision * recall / (BETA * BETA * precision + recall)
    }
}

/// Judges one candidate against its anchor, as [`Anchor::judge`].
pub fn judge(anchor: &str, candidate: &str, concept_changed: bool, bounds: Bounds) -> Verdict {
    Anchor::new(anchor).judge(candidate, concept_changed, bounds)
}

/// chrF2 of a hypothesis against a reference, in [0, 1].
pub fn chrf(hypothesis: &str, reference: &str) -> f64 {
    Anchor::new(reference).chrf_of(&bare(hypothesis))
}

fn bare(text: &str) -> Vec<char> {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Bits of a character; six of them fit into 126.
const CHAR_BITS: usize = 21;

/// What follows each place of a text, up to the longest n-gram, as numbers with the first character
/// on top, sorted: so the n-grams of every order stand in order too, and one sort serves all.
struct Grams(Vec<u128>);

impl Grams {
    fn new(text: &[char]) -> Self {
        // One more than the character, so that 0 is none.
        let code = |place: usize| text.get(place).map_or(0, |c| u128::from(u32::from(*c) + 1));
        let follows = |place: usize| {
            (place..place + ORDER).fold(0, |packed, place| packed << CHAR_BITS | code(place))
        };
        let mut grams: Vec<u128> = (0..text.len()).map(follows).collect();
        grams.sort_unstable();
        Grams(grams)
    }

    /// The n-grams of an order, sorted.
    fn of(&self, order: usize) -> impl Iterator<Item = u128> {
        let (behind, last) = (CHAR_BITS * (ORDER - order), (1 << CHAR_BITS) - 1);
        self.0.iter().map(move |gram| gram >> behind).filter(move |gram| gram & last != 0)
    }
}

/// How many elements two sorted lists share, each as often as the list that has it less often.
fn shared(mut a: impl Iterator<Item = u128>, mut b: impl Iterator<Item = u128>) -> usize {
    let (mut x, mut y, mut n) = (a.next(), b.next(), 0);
    while let (Some(of_a), Some(of_b)) = (x, y) {
        n += usize::from(of_a == of_b);
        if of_a <= of_b {
            x = a.next();
        }
        if of_b <= of_a {
            y = b.next();
        }
    }
    n
}

/// Numbers, names and acronyms in sorted order, and the number of negations.
fn facts(text: &str) -> (Vec<String>, usize) {
    let mut facts = Vec::new();
    let mut negations = 0;

    for (nth, word) in words(text).enumerate() {
        // A capital inside a sentence is a name.
        let opens = nth == 0
            || text[..word.start].trim_end().ends_with(['.', '!', '?', ':', '"', '(', '[']);
        let lower = word.text.to_lowercase();

        if negation(&lower).is_some() {
            negations += 1;
        } else if word.text.chars().any(char::is_numeric)
            || word.text.chars().filter(|c| c.is_uppercase()).count() > 1
            || (!opens && word.text.chars().next().is_some_and(char::is_uppercase))
        {
            facts.push(lower);
        }
    }

    // In one form, whether they are written in digits, in words or in Chinese numerals.
    facts.extend(numbers(text));
    facts.sort();
    (facts, negations)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min_similarity: 0.4, max_length_ratio: 1.5 };

    fn label(anchor: &str, candidate: &str) -> &'static str {
        match judge(anchor, candidate, false, BOUNDS) {
            Verdict::Identical => "identical",
            Verdict::Off => "off",
            Verdict::Hard(_) => "hard",
            Verdict::Paraphrase(_) => "paraphrase",
        }
    }

    /// Expected values: Python, sacrebleu 2.x from PyPI: `from sacrebleu.metrics import CHRF;
    /// CHRF().sentence_score(hypothesis, [reference]).score / 100`
    #[test]
    fn chrf_equals_sacrebleu() {
        let cases = [
            ("The cat sat on the mat.", "The cat sat on the mat.", 1.0),
            ("The cat sat on the mat.", "A cat was sitting on a mat.", 0.19450981437099635),
            ("abc", "xyz", 0.0),
            ("ab", "abcdefgh", 0.23404255319148937),
            ("required any intervention", "required no intervention", 0.7594996591547141),
            ("阿司匹林可以用于儿童。", "阿司匹林可用于小儿。", 0.37181184008753393),
            ("Ümlaut  naïve", "Umlaut naive", 0.555940355940356),
            ("aaaaaaaa", "aaaa", 0.7422630560928433),
            (
                "Boys who received clonidine had a taller incidence of sedation (63%)",
                "Children who received clonidine had a higher incidence of preoperative sedation \
                 (63%)",
                0.6325745382630015,
            ),
        ];
        for (hypothesis, reference, expected) in cases {
            let found = chrf(hypothesis, reference);
            assert!(
                (found - expected).abs() < 1e-9,
                "{hypothesis} / {reference}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn what_changes_the_statement_is_hard() {
        let anchor = "Aspirin did not lower the risk in 12 patients with COPD.";
        assert_eq!(
            label(anchor, "Aspirin  did not lower the risk in 12 patients with COPD."),
            "identical"
        );
        assert_eq!(
            label(anchor, "Aspirin did not reduce the risk in 12 patients with COPD."),
            "paraphrase"
        );
        assert_eq!(label(anchor, "Aspirin did lower the risk in 12 patients with COPD."), "hard");
        assert_eq!(
            label(anchor, "Aspirin did not lower the risk in 21 patients with COPD."),
            "hard"
        );
        assert_eq!(
            label(anchor, "Aspirin did not lower the risk in 12 patients with goods."),
            "hard"
        );
        assert_eq!(label(anchor, "It rained."), "off");
        assert_eq!(label("We gave the Conners test.", "We gave the test of conners."), "hard");
        assert_eq!(label("阿司匹林可以用于儿童。", "阿司匹林不可以用于儿童。"), "hard");
        assert_eq!(label("三十五岁以上的患者每天服用。", "四十五岁以上的患者每天服用。"), "hard");
        assert_eq!(label("We gave it to three boys.", "We gave it to four boys."), "hard");
        let changed = judge("Aspirin lowers risk.", "Heparin lowers risk.", true, BOUNDS);

        assert!(matches!(changed, Verdict::Hard(_)), "{changed:?}");
    }
}
