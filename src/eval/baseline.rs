//! What can be reached without a model: guessing, always the same answer, and counting words.

use std::collections::{BTreeMap, HashMap};

use super::metrics::best;
use super::tasks::Item;
use crate::text::words::words;

/// The accuracy of each way of answering, by its name.
///
/// - `random`: the mean of one over the number of choices;
/// - `majority`: always the number of the choice that is right most often;
/// - `ngram`: the choice whose words follow one another and the question most probably, by counts
///   of words and pairs in all questions and choices of the task (nothing of which is right where
///   is known to it), for a word.
pub(super) fn accuracies(items: &[&Item]) -> BTreeMap<&'static str, f64> {
    let n = items.len() as f64;
    let random = items.iter().map(|item| 1.0 / item.choices.len() as f64).sum::<f64>() / n;
    let mut golds: BTreeMap<usize, u32> = BTreeMap::new();
    items.iter().for_each(|item| *golds.entry(item.gold).or_default() += 1);
    let majority = f64::from(golds.values().copied().max().unwrap_or(0)) / n;
    let pairs = Pairs::of(items);
    let right = items.iter().filter(|item| pairs.choose(item) == item.gold).count();
    [("random", random), ("majority", majority), ("ngram", right as f64 / n)].into()
}

/// What is left to words alone where pairs are unknown, and to unknown words.
const BACK: f64 = 0.4;

/// Counts of words and of pairs of them.
#[derive(Default)]
struct Pairs {
    words: HashMap<String, u32>,
    pairs: HashMap<(String, String), u32>,
    total: u32,
}

impl Pairs {
    fn of(items: &[&Item]) -> Self {
        let mut counts = Pairs::default();
        for item in items {
            counts.add(&item.context);
            item.choices.iter().for_each(|choice| counts.add(choice));
        }
        counts
    }

    fn add(&mut self, text: &str) {
        let mut before: Option<String> = None;
        for word in words(text).map(|word| word.text.to_lowercase()) {
            *self.words.entry(word.clone()).or_default() += 1;
            self.total += 1;
            if let Some(before) = before.replace(word.clone()) {
                *self.pairs.entry((before, word)).or_default() += 1;
            }
        }
    }

    fn choose(&self, item: &Item) -> usize {
        let last = words(&item.context).last().map(|word| word.text.to_lowercase());
        best(item.choices.iter().map(|choice| self.mean(last.clone(), choice)))
    }

    /// Mean log-probability of the words of a choice (stupid backoff, Brants et al. 2007).
    fn mean(&self, mut before: Option<String>, choice: &str) -> f64 {
        let (mut sum, mut n) = (0.0, 0);
        for word in words(choice).map(|word| word.text.to_lowercase()) {
            let count = |word: &String| f64::from(self.words.get(word).copied().unwrap_or(0));
            let pair = before.take().map(|before| (before, word.clone()));
            let together = pair.as_ref().and_then(|pair| self.pairs.get(pair)).copied();
            sum += match (together, &pair) {
                (Some(together), Some((before, _))) => (f64::from(together) / count(before)).ln(),
                _ => (BACK * count(&word).max(BACK) / f64::from(self.total.max(1))).ln(),
            };
            n += 1;
            before = Some(word);
        }
        sum / f64::from(n.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(context: &str, choices: &[&str], gold: usize) -> Item {
        let choices = choices.iter().map(|choice| (*choice).to_string()).collect();
        Item { context: context.to_string(), choices, gold, ..Item::default() }
    }

    #[test]
    fn what_needs_no_model_is_known() {
        let items = [
            item("the red", &["house stands", "stands house"], 0),
            item("a red", &["house stands", "quite other words"], 0),
            item("the red house stands", &["a", "b", "c", "d"], 1),
        ];
        let found = accuracies(&items.iter().collect::<Vec<_>>());
        assert!((found["random"] - (0.5 + 0.5 + 0.25) / 3.0).abs() < 1e-12);
        assert!((found["majority"] - 2.0 / 3.0).abs() < 1e-12);
        assert!(found["ngram"] >= 2.0 / 3.0, "{found:?}");
    }
}
