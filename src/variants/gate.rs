//! Whether a variant says what its document says, as far as that can be seen without understanding:
//! the same concepts as often, the same numbers with their units, the same negations and the same
//! comparisons.
//!
//! What stands inside the name of a concept is the concept: `vitamin B12` has no number, and
//! `non-small cell lung cancer` no comparison.

use std::collections::BTreeMap;

use crate::rewrite::gate::negation;
use crate::rewrite::{ConceptNames, Mention};
use crate::text::numbers::numbers;
use crate::text::words::words;

/// Words that compare, lower case, each by one form of it.
#[rustfmt::skip]
static COMPARISONS: &[(&str, &[&str])] = &[
    ("more", &["more", "greater", "higher", "larger", "bigger", "above", "over", "exceeds",
        "exceeded", "exceed", "superior"]),
    ("less", &["less", "fewer", "lower", "smaller", "below", "under", "inferior"]),
    ("most", &["most", "highest", "greatest", "largest", "maximum", "maximal"]),
    ("least", &["least", "lowest", "smallest", "minimum", "minimal"]),
    ("better", &["better", "best", "improved", "improves", "improve", "improvement"]),
    ("worse", &["worse", "worst", "worsened", "worsens", "worsen", "worsening"]),
    ("longer", &["longer", "longest"]),
    ("shorter", &["shorter", "shortest"]),
    ("older", &["older", "oldest"]),
    ("younger", &["younger", "youngest"]),
    ("before", &["before", "earlier", "prior", "preceding"]),
    ("after", &["after", "later", "following", "subsequent", "subsequently"]),
    ("increase", &["increase", "increases", "increased", "increasing", "rise", "rises", "rose",
        "risen", "elevated", "elevation", "raised"]),
    ("decrease", &["decrease", "decreases", "decreased", "decreasing", "reduce", "reduces",
        "reduced", "reducing", "reduction", "decline", "declines", "declined", "fall", "falls",
        "fell", "fallen", "lowered"]),
    ("faster", &["faster", "fastest", "sooner", "quicker"]),
    ("slower", &["slower", "slowest"]),
    ("stronger", &["stronger", "strongest"]),
    ("weaker", &["weaker", "weakest"]),
    ("double", &["double", "doubled", "doubles", "twofold"]),
    ("half", &["half", "halved", "halves"]),
    ("rarely", &["rarely", "seldom", "hardly", "scarcely", "rare"]),
    ("often", &["often", "frequently", "frequent", "common", "commonly"]),
    ("except", &["except", "excluding", "excluded", "exclude"]),
    ("contraindicated", &["contraindicated", "contraindication"]),
    ("equal", &["equal", "same", "similar", "identical", "unchanged"]),
];

/// The same in Chinese, where words have no spaces.
#[rustfmt::skip]
static COMPARISONS_ZH: &[&str] = &[
    "更", "比", "较", "禁", "忌", "慎", "莫", "别", "倍增", "减半", "除外", "罕见", "常见",
    "高于", "低于", "大于", "小于", "多于", "少于", "优于", "劣于", "超过", "不足", "以上",
    "以下", "以内", "以外", "至少", "至多", "最高", "最低", "最大", "最小", "增加", "减少",
    "升高", "降低", "上升", "下降", "增高", "提高", "改善", "恶化", "之前", "之后", "以前",
    "以后", "相同", "等于",
];

/// What a text says that a variant of it has to say as well, each as often as it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    concepts: BTreeMap<usize, usize>,
    numbers: BTreeMap<String, usize>,
    negations: BTreeMap<String, usize>,
    comparisons: BTreeMap<String, usize>,
}

/// What one of two texts says and the other does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `concepts`, `numbers`, `negations` or `comparisons`.
    pub kind: &'static str,
    /// What is lost and what is new.
    pub detail: String,
}

impl Facts {
    /// What a text says that mentions these concepts.
    pub fn of(text: &str, mentions: &[Mention]) -> Self {
        let mut facts = Facts::default();
        mentions.iter().for_each(|one| count(&mut facts.concepts, one.concept));
        let text = without(text, mentions);
        numbers(&text).into_iter().for_each(|number| count(&mut facts.numbers, number));

        for word in words(&text) {
            let lower = word.text.to_lowercase();
            if let Some(negation) = negation(&lower) {
                count(&mut facts.negations, negation.to_string());
            } else if let Some(comparison) = comparison(&lower) {
                count(&mut facts.comparisons, comparison.to_string());
            }
        }
        for word in COMPARISONS_ZH {
            let n = text.matches(word).count();
            if n > 0 {
                facts.comparisons.insert((*word).to_string(), n);
            }
        }
        facts
    }

    /// The same, each once.
    #[must_use]
    pub fn once(&self) -> Facts {
        fn once<T: Ord + Clone>(counts: &BTreeMap<T, usize>) -> BTreeMap<T, usize> {
            counts.keys().map(|one| (one.clone(), 1)).collect()
        }
        Facts {
            concepts: once(&self.concepts),
            numbers: once(&self.numbers),
            negations: once(&self.negations),
            comparisons: once(&self.comparisons),
        }
    }

    /// Whether it says nothing of these kinds.
    pub fn is_empty(&self) -> bool {
        *self == Facts::default()
    }

    /// The first kind of which another text says something else; names of concepts by `names`.
    pub fn difference(
        &self,
        other: &Facts,
        names: Option<&dyn ConceptNames>,
    ) -> Option<Difference> {
        let name = |concept: &usize| {
            let known = names.and_then(|names| names.names(*concept, None).first().copied());
            known.map_or_else(|| format!("concept {concept}"), str::to_string)
        };
        let own = |one: &String| one.clone();
        let kinds = [
            ("concepts", changes(&self.concepts, &other.concepts, name)),
            ("numbers", changes(&self.numbers, &other.numbers, own)),
            ("negations", changes(&self.negations, &other.negations, own)),
            ("comparisons", changes(&self.comparisons, &other.comparisons, own)),
        ];
        let changed = kinds.into_iter().find(|(_, detail)| !detail.is_empty());
        changed.map(|(kind, detail)| Difference { kind, detail })
    }
}

fn count<T: Ord>(counts: &mut BTreeMap<T, usize>, one: T) {
    *counts.entry(one).or_default() += 1;
}

/// `lost a, b; new c`; empty where both are the same.
fn changes<T: Ord>(
    before: &BTreeMap<T, usize>,
    after: &BTreeMap<T, usize>,
    name: impl Fn(&T) -> String,
) -> String {
    let fewer = |a: &BTreeMap<T, usize>, b: &BTreeMap<T, usize>| -> Vec<String> {
        let is_fewer = |(one, n): &(&T, &usize)| b.get(*one).copied().unwrap_or(0) < **n;
        a.iter().filter(is_fewer).map(|(one, _)| name(one)).collect()
    };
    let told = |what: &str, all: Vec<String>| {
        (!all.is_empty()).then(|| format!("{what} {}", all.join(", ")))
    };
    let both = [told("lost", fewer(before, after)), told("new", fewer(after, before))];
    both.into_iter().flatten().collect::<Vec<String>>().join("; ")
}

fn comparison(word: &str) -> Option<&'static str> {
    COMPARISONS.iter().find(|(_, forms)| forms.contains(&word)).map(|(name, _)| *name)
}

/// A text without the names of concepts.
fn without(text: &str, mentions: &[Mention]) -> String {
    let (mut rest, mut at) = (String::with_capacity(text.len()), 0);
    for mention in mentions {
        // Names that share a word overlap.
        rest.push_str(text.get(at..mention.start).unwrap_or_default());
        rest.push(' ');
        at = at.max(mention.end);
    }
    rest.push_str(text.get(at..).unwrap_or_default());
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(before: &str, after: &str) -> Option<&'static str> {
        let facts = |text| Facts::of(text, &[]);
        facts(before).difference(&facts(after), None).map(|one| one.kind)
    }

    #[test]
    fn what_is_said_differs_by_kind() {
        let text = "The dose was 1,000 mg, and 12 patients did not recover more quickly.";
        assert_eq!(
            differ(text, "12 patients didn't recover more quickly. 1000mg was given."),
            None
        );
        let number = "The dose was 100 mg, and 12 patients did not recover more quickly.";
        assert_eq!(differ(text, number), Some("numbers"));
        let unit = "The dose was 1,000 g, and 12 patients did not recover more quickly.";
        assert_eq!(differ(text, unit), Some("numbers"));
        let negation = "The dose was 1,000 mg, and 12 patients did recover more quickly.";
        assert_eq!(differ(text, negation), Some("negations"));
        let comparison = "The dose was 1,000 mg, and 12 patients did not recover less quickly.";
        assert_eq!(differ(text, comparison), Some("comparisons"));
        for (said, other) in [
            ("p < 0.05 there", "p > 0.05 there"),
            ("at least ≤5 mg", "at least ≥5 mg"),
            ("a change of -5 mmHg", "a change of 5 mmHg"),
            ("three patients", "five patients"),
            ("twice daily", "once daily"),
            ("10 mg/kg", "10 mg/day"),
            ("5 million people", "5 billion people"),
            ("第三组患者", "第五组患者"),
            ("5 kPa", "5 Pa"),
        ] {
            assert_eq!(differ(said, other), Some("numbers"), "{said}");
        }
        assert_eq!(differ("it rarely helps", "it often helps"), Some("comparisons"));
        assert_eq!(differ("该药禁用于儿童", "该药用于儿童"), Some("comparisons"));
        assert_eq!(differ("血压高于140毫米汞柱", "血压低于140毫米汞柱"), Some("comparisons"));
        assert_eq!(differ("三岁儿童不宜服用", "3岁儿童不宜服用"), None);
        assert_eq!(differ("儿童不宜服用", "儿童宜服用"), Some("negations"));
    }

    #[test]
    fn what_stands_in_a_name_is_the_name() {
        let (text, other) = ("Vitamin B 12 helps.", "Cobalamin helps.");
        let mention = |end| Mention { end, ..Mention::at(0, 7) };
        let facts = Facts::of(text, &[mention(12)]);
        assert_eq!(facts.difference(&Facts::of(other, &[mention(9)]), None), None);
        let lost = facts.difference(&Facts::of("It helps.", &[]), None).unwrap();
        assert_eq!((lost.kind, lost.detail.as_str()), ("concepts", "lost concept 7"));
    }
}
