//! Questions that are answered by things: the metrics of BioASQ's own evaluation
//! (`BioASQ/Evaluation-Measures`, `QuestionAnswerEvaluator.java`).
//!
//! Names are equal where they are letter by letter, in small letters. Of one thing up to five
//! answers count: `strict_acc` where the first is right, `lenient_acc` where any is, `mrr` one over
//! the place of the first right one. Of several things, precision, recall and F1 of each question,
//! where every right one is found once, and their means. A question without an answer is wrong;
//! the program of version 9 leaves it out of every mean. Beside each stands what the most frequent
//! things come to, and `reachable` tells of how many questions any right answer is ranked at all.

use super::metrics::{Answered, Metric, mean};
use super::tasks::{Form, Item};

/// Answers to a question about one thing that count.
const TRIES: usize = 5;
/// Answers to a question about several things, at most; and by how much less probable than the
/// first they may be, in nats a byte.
const SEVERAL: usize = 10;
const BELOW: f64 = 0.1;

/// All metrics of some answers.
pub(super) fn metrics(
    answers: &[Answered],
    form: Form,
    skip_missing: bool,
    seed: u64,
) -> Vec<Metric> {
    let given: Vec<Option<Vec<String>>> =
        answers.iter().map(|answer| given(answer, form)).collect();
    let items: Vec<&Item> = answers.iter().map(|answer| answer.item).collect();
    let answered = given.iter().filter(|given| given.is_some()).count();
    let coverage = answered as f64 / given.len().max(1) as f64;

    let score = |given: &[String], item: &Item| match form {
        Form::One => one(given, &item.accepted),
        Form::Several => several(given, &item.accepted),
    };
    let asked = || items.iter().zip(&given).filter(|(_, given)| given.is_some() || !skip_missing);
    let scores: Vec<[f64; 3]> =
        asked().map(|(item, given)| score(given.as_deref().unwrap_or_default(), item)).collect();
    // Candidates stand in the order of their frequency.
    let frequent: Vec<[f64; 3]> = asked()
        .map(|(item, _)| {
            let first: Vec<String> =
                item.choices.iter().take(TRIES).map(|choice| choice.to_lowercase()).collect();
            score(&first, item)
        })
        .collect();
    let is_reachable = |item: &&&Item| {
        let names = || item.accepted.iter().flatten();
        item.choices.iter().any(|choice| names().any(|name| *name == choice.to_lowercase()))
    };
    let reachable = items.iter().filter(is_reachable).count() as f64 / items.len().max(1) as f64;
    let names = match form {
        Form::One => ["strict_acc", "lenient_acc", "mrr"],
        Form::Several => ["mean_precision", "mean_recall", "mean_f1"],
    };
    let mut all: Vec<Metric> = names
        .iter()
        .enumerate()
        .filter(|_| !scores.is_empty())
        .map(|(nth, name)| {
            let values: Vec<f64> = scores.iter().map(|score| score[nth]).collect();
            let beside = frequent.iter().map(|score| score[nth]).sum::<f64>();
            let baselines = [("frequency", beside / frequent.len() as f64)].into();
            Metric { baselines, ..mean(name, &values, true, seed) }
        })
        .collect();
    for (name, value) in [("answered", coverage), ("reachable", reachable)] {
        all.push(Metric { n: given.len(), ..mean(name, &[value], true, seed) });
    }
    all
}

/// What a model answers, the best first; none where there was nothing to rank.
fn given(answer: &Answered, form: Form) -> Option<Vec<String>> {
    let mut ranked: Vec<(f64, &String)> = answer
        .log_probs
        .iter()
        .zip(&answer.item.choices)
        .map(|(of, choice)| (of / choice.len().max(1) as f64, choice))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let best = ranked.first()?.0;
    let ranked = ranked.into_iter();
    let chosen: Vec<&String> = match form {
        Form::One => ranked.take(TRIES).map(|(_, choice)| choice).collect(),
        Form::Several => ranked
            .take_while(|(of, _)| *of >= best - BELOW)
            .take(SEVERAL)
            .map(|(_, choice)| choice)
            .collect(),
    };
    Some(chosen.into_iter().map(|choice| choice.to_lowercase()).collect())
}

/// Strict, lenient and reciprocal rank of answers to a question about one thing.
pub fn one(given: &[String], accepted: &[Vec<String>]) -> [f64; 3] {
    let is_right = |answer: &String| accepted.iter().flatten().any(|name| name == answer);
    match given.iter().take(TRIES).position(is_right) {
        Some(0) => [1.0, 1.0, 1.0],
        Some(at) => [0.0, 1.0, 1.0 / (at + 1) as f64],
        None => [0.0; 3],
    }
}

/// Precision, recall and F1 of answers to a question about several things; the same thing said
/// twice is wrong the second time.
pub fn several(given: &[String], accepted: &[Vec<String>]) -> [f64; 3] {
    let mut left: Vec<&Vec<String>> = accepted.iter().collect();
    let mut found = 0.0;
    for answer in given {
        if let Some(at) = left.iter().position(|names| names.contains(answer)) {
            left.remove(at);
            found += 1.0;
        }
    }
    if found == 0.0 {
        return [0.0; 3];
    }
    let (precision, recall) = (found / given.len() as f64, found / accepted.len() as f64);
    [precision, recall, 2.0 * precision * recall / (precision + recall)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_string()).collect()
    }

    /// By hand, as the official program counts: synonyms, places, repeats, more than five.
    #[test]
    fn answers_are_counted_as_bioasq_counts_them() {
        let gold = [names(&["vlr1", "velarin gene"])];
        assert_eq!(one(&names(&["velarin gene", "x"]), &gold), [1.0, 1.0, 1.0]);
        assert_eq!(one(&names(&["x", "y", "vlr1"]), &gold), [0.0, 1.0, 1.0 / 3.0]);
        assert_eq!(one(&names(&["a", "b", "c", "d", "e", "vlr1"]), &gold), [0.0; 3]);
        assert_eq!(one(&[], &gold), [0.0; 3]);

        let gold = [names(&["corolin", "crl"]), names(&["bavex"]), names(&["tamvex"])];
        let [precision, recall, f1] = several(&names(&["crl", "corolin", "bavex", "x"]), &gold);
        assert_eq!((precision, recall), (0.5, 2.0 / 3.0));
        assert!((f1 - 4.0 / 7.0).abs() < 1e-12);
        assert_eq!(several(&names(&["x"]), &gold), [0.0; 3]);
    }

    #[test]
    fn what_is_not_answered_is_wrong_or_left_out() {
        let item = |choices: &[&str]| Item {
            choices: names(choices),
            accepted: vec![names(&["vlr1"])],
            ..Item::default()
        };
        let (some, none) = (item(&["VLR1", "longer name"]), item(&[]));
        let answers = [
            Answered { item: &some, log_probs: vec![-4.0, -30.0], alone: None },
            Answered { item: &none, log_probs: Vec::new(), alone: None },
        ];
        let value = |skip: bool, name: &str| {
            let all = metrics(&answers, Form::One, skip, 1);
            all.iter().find(|metric| metric.name == name).unwrap().value
        };
        assert_eq!((value(false, "strict_acc"), value(true, "strict_acc")), (0.5, 1.0));
        assert_eq!((value(false, "answered"), value(false, "reachable")), (0.5, 0.5));
        let all = metrics(&answers, Form::One, false, 1);
        assert_eq!(all[0].baselines["frequency"], 0.5);
    }
}
