//! What answers come to: metrics by the names and definitions of lm-evaluation-harness, each with
//! its interval and what guessing gives.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

use super::baseline;
use super::tasks::Item;
use crate::draw;
use crate::train::ask::log_sum_exp;

/// How an item was answered: log-probabilities of its choices in nats, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<'a> {
    /// The item.
    pub item: &'a Item,
    /// Behind the question; of encoders, pseudo-log-likelihoods of the question with each answer.
    pub log_probs: Vec<f64>,
    /// Behind nothing; of encoders none.
    pub alone: Option<Vec<f64>>,
}

/// A number with what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Ends of the 95 % interval: Wilson's for shares, a bootstrap over items for the rest.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Items it is over.
    pub n: usize,
    /// What other ways of answering reach in it, by their name.
    pub baselines: BTreeMap<&'static str, f64>,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// Least choices whose ranks are told.
const RANKED: usize = 6;
/// Draws of a bootstrap.
const DRAWS: usize = 1_000;

/// All metrics of some answers, in a fixed order.
pub fn metrics(answers: &[Answered], seed: u64) -> Vec<Metric> {
    let items: Vec<&Item> = answers.iter().map(|answer| answer.item).collect();
    let choosing = answers.iter().all(|answer| answer.item.choices.len() > 1);
    let mut all = Vec::new();

    if choosing && !answers.is_empty() {
        let baselines = baseline::accuracies(&items);
        for (name, pick) in picks(answers) {
            let right: Vec<bool> =
                answers.iter().map(|answer| pick(answer) == answer.item.gold).collect();
            all.push(share(name, &right, baselines.clone()));
        }
        all.extend(macro_f1(answers, seed));
        all.extend(reciprocal_rank(answers, seed));
        let even = map(answers, |answer| 1.0 - 1.0 / answer.item.choices.len() as f64);
        let guessed = [("random", even.iter().sum::<f64>() / even.len() as f64)].into();
        let brier = mean("brier_score", &map(answers, brier), false, seed);
        all.push(Metric { baselines: guessed, ..brier });
    }
    if answers.iter().all(|answer| answer.alone.is_some()) {
        let of = |log_probs: fn(&Answered) -> f64| -> Vec<f64> {
            answers.iter().map(|answer| bits(answer.item, log_probs(answer))).collect()
        };
        let alone = of(|answer| answer.alone.as_deref().unwrap_or_default()[answer.item.gold]);
        let baselines = [("no_question", alone.iter().sum::<f64>() / alone.len() as f64)].into();
        let behind = of(|answer| answer.log_probs[answer.item.gold]);
        let metric = mean("gold_bits_per_byte", &behind, false, seed);
        all.push(Metric { baselines, ..metric });
    }
    all
}

/// Metrics of texts from their beginning, over all of their bytes and words, as the harness's
/// `loglikelihood_rolling`: `bits_per_byte`, `byte_perplexity` and `word_perplexity` (words are
/// what stands between spaces).
pub fn of_texts(answers: &[Answered], seed: u64) -> Vec<Metric> {
    let bits: fn(f64) -> f64 = |nats| nats / std::f64::consts::LN_2;
    let words: fn(&str) -> usize = |text| text.split_whitespace().count();
    let all: Vec<usize> = (0..answers.len()).collect();
    let nats = map(answers, |answer| -answer.log_probs[0]);

    [
        ("bits_per_byte", str::len as fn(&str) -> usize, bits),
        ("byte_perplexity", str::len, f64::exp),
        ("word_perplexity", words, f64::exp),
    ]
    .map(|(name, length, finish)| {
        let units: Vec<f64> =
            answers.iter().map(|answer| length(&answer.item.choices[0]) as f64).collect();
        let of = |rows: &[usize]| {
            let sum = |values: &[f64]| rows.iter().map(|row| values[*row]).sum::<f64>();
            finish(sum(&nats) / sum(&units))
        };
        let (low, high) = bootstrap(name, answers.len(), seed, of);
        let (value, n) = (of(&all), answers.len());
        let baselines = if name == "bits_per_byte" { packed(answers) } else { BTreeMap::new() };
        Metric { name, value, low, high, n, baselines, higher_is_better: false }
    })
    .to_vec()
}

/// What zlib makes of the same texts, each by itself, in bits a byte.
fn packed(answers: &[Answered]) -> BTreeMap<&'static str, f64> {
    let (mut whole, mut packed) = (0, 0);
    for text in answers.iter().map(|answer| &answer.item.choices[0]) {
        packed += packed_bytes(text);
        whole += text.len();
    }
    [("zlib", 8.0 * packed as f64 / whole.max(1) as f64)].into()
}

/// Bytes that zlib packs a text into.
pub(super) fn packed_bytes(text: &str) -> usize {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let done = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    // Writing into memory does not fail.
    done.map_or(0, |bytes| bytes.len())
}

/// What an answer chooses.
type Pick = fn(&Answered) -> usize;

fn picks(answers: &[Answered]) -> Vec<(&'static str, Pick)> {
    if answers.iter().any(|answer| answer.alone.is_none()) {
        return vec![("pll_acc", |answer| best(answer.log_probs.iter().copied()))];
    }
    vec![
        ("acc", |answer| best(answer.log_probs.iter().copied())),
        ("acc_norm", |answer| by_length(answer, |choice| choice.chars().count())),
        ("acc_bytes", |answer| by_length(answer, str::len)),
        ("acc_mutual_info", |answer| {
            let alone = answer.alone.as_deref().unwrap_or_default();
            best(answer.log_probs.iter().zip(alone).map(|(of, alone)| of - alone))
        }),
    ]
}

fn by_length(answer: &Answered, length: fn(&str) -> usize) -> usize {
    let choices = answer.item.choices.iter().map(|choice| length(choice).max(1) as f64);
    best(answer.log_probs.iter().zip(choices).map(|(of, length)| of / length))
}

/// The first of the greatest, as `numpy.argmax`.
pub(super) fn best(values: impl Iterator<Item = f64>) -> usize {
    let first = (0, f64::NEG_INFINITY);
    values.enumerate().fold(first, |best, one| if one.1 > best.1 { one } else { best }).0
}

fn map(answers: &[Answered], of: fn(&Answered) -> f64) -> Vec<f64> {
    answers.iter().map(of).collect()
}

/// Squared distance of the probabilities of the choices from certainty of the right one.
fn brier(answer: &Answered) -> f64 {
    let total = log_sum_exp(&answer.log_probs);
    let distance = |(idx, of): (usize, &f64)| {
        let wanted = if idx == answer.item.gold { 1.0 } else { 0.0 };
        ((of - total).exp() - wanted).powi(2)
    };
    answer.log_probs.iter().enumerate().map(distance).sum()
}

/// Bits for each byte of the right answer that is so probable, what stands behind it included.
pub fn bits(item: &Item, log_prob: f64) -> f64 {
    let bytes = item.choices[item.gold].len() + item.behind.len();
    -log_prob / std::f64::consts::LN_2 / bytes.max(1) as f64
}

/// The mean of one over the rank of the right answer, where there are so many to choose from that
/// its rank tells more than whether it is the first; among equals it comes last.
fn reciprocal_rank(answers: &[Answered], seed: u64) -> Option<Metric> {
    if answers.iter().any(|answer| answer.item.choices.len() < RANKED) {
        return None;
    }
    let rank = |answer: &Answered| {
        let gold = answer.log_probs[answer.item.gold];
        1.0 / answer.log_probs.iter().filter(|of| **of >= gold).count() as f64
    };
    let guess = |answer: &Answered| {
        let n = answer.item.choices.len();
        (1..=n).map(|rank| 1.0 / rank as f64).sum::<f64>() / n as f64
    };
    let guessed = map(answers, guess).iter().sum::<f64>() / answers.len() as f64;
    let found = mean("mrr", &map(answers, rank), true, seed);
    Some(Metric { baselines: [("random", guessed)].into(), ..found })
}

/// A share with Wilson's interval.
pub(super) fn share(
    name: &'static str,
    right: &[bool],
    baselines: BTreeMap<&'static str, f64>,
) -> Metric {
    const Z: f64 = 1.959_963_984_540_054;
    let n = right.len() as f64;
    let value = right.iter().filter(|right| **right).count() as f64 / n;
    let (squared, scale) = (Z * Z / n, 1.0 + Z * Z / n);
    let middle = (value + squared / 2.0) / scale;
    let half = Z * (value * (1.0 - value) / n + squared / (4.0 * n)).sqrt() / scale;
    // With none or all right the end is reached, which sums of floats miss by a last digit.
    let low = if value == 0.0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if value == 1.0 { 1.0 } else { (middle + half).min(1.0) };
    Metric { name, value, low, high, n: right.len(), baselines, higher_is_better: true }
}

/// A mean with a bootstrap's interval.
pub(super) fn mean(
    name: &'static str,
    values: &[f64],
    higher_is_better: bool,
    seed: u64,
) -> Metric {
    let of = |rows: &[usize]| rows.iter().map(|row| values[*row]).sum::<f64>() / rows.len() as f64;
    let (low, high) = bootstrap(name, values.len(), seed, of);
    let value = values.iter().sum::<f64>() / values.len() as f64;
    let (n, baselines) = (values.len(), BTreeMap::new());
    Metric { name, value, low, high, n, baselines, higher_is_better }
}

/// The middle 95 % of a statistic over rows drawn with replacement.
pub(super) fn bootstrap(
    name: &str,
    n: usize,
    seed: u64,
    of: impl Fn(&[usize]) -> f64,
) -> (f64, f64) {
    let mut draws = draw::stream(seed, "bootstrap", name.as_bytes());
    middle(|| {
        let rows: Vec<usize> = (0..n).map(|_| draw::next_below(&mut draws, n)).collect();
        of(&rows)
    })
}

/// The ends of the middle 95 % of what is drawn over and over.
pub(super) fn middle(mut drawn: impl FnMut() -> f64) -> (f64, f64) {
    let mut values: Vec<f64> = (0..DRAWS).map(|_| drawn()).collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((DRAWS - 1) as f64 * share).round() as usize];
    (at(0.025), at(0.975))
}

/// How often one of `higher` is above one of `lower`; equal ones count half.
pub(super) fn auc(higher: &[f64], lower: &[f64]) -> f64 {
    let mut sorted = lower.to_vec();
    sorted.sort_by(f64::total_cmp);
    let of = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        let equal = sorted[below..].partition_point(|other| other <= value);
        below as f64 + equal as f64 / 2.0
    };
    higher.iter().map(of).sum::<f64>() / (higher.len() * lower.len()) as f64
}

/// The mean of the F1 of all labels, as sklearn's `f1_score(average="macro")`, where all items have
/// the same choices that are no mere letters.
fn macro_f1(answers: &[Answered], seed: u64) -> Option<Metric> {
    let choices = &answers.first()?.item.choices;
    let is_labels = choices.iter().any(|choice| choice.chars().count() > 1)
        && answers.iter().all(|answer| answer.item.choices == *choices)
        && answers.len() > 1;
    if !is_labels {
        return None;
    }
    let pairs: Vec<(usize, usize)> = answers
        .iter()
        .map(|answer| (best(answer.log_probs.iter().copied()), answer.item.gold))
        .collect();
    let of = |rows: &[usize]| f1_of(rows.iter().map(|row| pairs[*row]), choices.len());
    let rows: Vec<usize> = (0..pairs.len()).collect();
    let (low, high) = bootstrap("macro_f1", pairs.len(), seed, of);
    let (value, n) = (of(&rows), pairs.len());
    let always = |label: usize| f1_of(pairs.iter().map(|(_, gold)| (label, *gold)), choices.len());
    let baselines = [("majority", (0..choices.len()).map(always).fold(0.0, f64::max))].into();
    Some(Metric { name: "macro_f1", value, low, high, n, baselines, higher_is_better: true })
}

/// Over labels that are predicted or right somewhere.
fn f1_of(pairs: impl Iterator<Item = (usize, usize)>, n_labels: usize) -> f64 {
    let (mut both, mut predicted, mut right) =
        (vec![0_u32; n_labels], vec![0_u32; n_labels], vec![0_u32; n_labels]);
    for (found, gold) in pairs {
        predicted[found] += 1;
        right[gold] += 1;
        both[gold] += u32::from(found == gold);
    }
    let seen = (0..n_labels).filter(|label| predicted[*label] + right[*label] > 0);
    let of: Vec<f64> = seen
        .map(|label| f64::from(2 * both[label]) / f64::from(predicted[label] + right[label]))
        .collect();
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(choices: &[&str], gold: usize) -> Item {
        let choices = choices.iter().map(|choice| (*choice).to_string()).collect();
        Item { choices, gold, ..Item::default() }
    }

    fn answered<'a>(item: &'a Item, log_probs: &[f64], alone: &[f64]) -> Answered<'a> {
        Answered { item, log_probs: log_probs.to_vec(), alone: Some(alone.to_vec()) }
    }

    fn value(metrics: &[Metric], name: &str) -> f64 {
        metrics.iter().find(|metric| metric.name == name).unwrap().value
    }

    /// One item whose four ways of choosing all differ.
    #[test]
    fn an_area_counts_pairs() {
        let (higher, lower) = ([3.0, 1.0, 2.0, 2.0], [2.0, 0.0, 5.0]);
        let pairs: f64 = higher
            .iter()
            .flat_map(|a| lower.iter().map(move |b| (a, b)))
            .map(|(a, b)| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 })
            .sum();
        assert!((auc(&higher, &lower) - pairs / 12.0).abs() < 1e-12);
        assert_eq!(auc(&[1.0], &[0.0]), 1.0);
    }

    #[test]
    fn each_metric_chooses_in_its_own_way() {
        // By sum the first, by character the second (é is one), by byte the third, by what the
        // question adds the fourth.
        let choices = item(&["a", "éééé", "bbbbb", "c"], 0);
        let answer = answered(&choices, &[-3.0, -4.0, -6.0, -5.0], &[-1.0, -2.0, -3.0, -9.0]);
        let chosen: Vec<usize> =
            picks(std::slice::from_ref(&answer)).iter().map(|(_, pick)| pick(&answer)).collect();
        assert_eq!(chosen, [0, 1, 1, 3]);
        // 4/8 bytes a byte against 6/5: by bytes the second still; longer, the third.
        let choices = item(&["a", "éé", "bbbbb", "c"], 0);
        let answer = answered(&choices, &[-3.0, -4.0, -6.0, -5.0], &[0.0; 4]);
        let chosen: Vec<usize> =
            picks(std::slice::from_ref(&answer)).iter().map(|(_, pick)| pick(&answer)).collect();
        assert_eq!(chosen[..3], [0, 2, 1]);
        assert_eq!(best([1.0, 1.0, f64::NAN].into_iter()), 0, "the first of equals");
    }

    /// By scipy's `binomtest(8, 10).proportion_ci(method="wilson")`.
    #[test]
    fn a_share_has_wilsons_interval() {
        let right = [true, true, true, true, true, true, true, true, false, false];
        let metric = share("acc", &right, BTreeMap::new());
        assert!(
            (metric.low - 0.490_162_47).abs() < 1e-6 && (metric.high - 0.943_317_8).abs() < 1e-6
        );
    }

    /// By sklearn: `f1_score([0,1,2,1,0],[0,1,1,1,2],average="macro")` is 0.48889 (0.66667, 0.8,
    /// 0).
    #[test]
    fn macro_f1_is_that_of_sklearn() {
        let pairs = [(0, 0), (1, 1), (2, 1), (1, 1), (0, 2)];
        assert!((f1_of(pairs.into_iter(), 3) - 0.488_888_888_9).abs() < 1e-9);
    }

    #[test]
    fn certainty_has_no_brier_score_and_bits_are_of_the_right_answer() {
        let choices = item(&["aa", "b"], 0);
        let certain = answered(&choices, &[0.0, -1e3], &[0.0, 0.0]);
        let even = answered(
            &choices,
            &[-2.0 * std::f64::consts::LN_2, -2.0 * std::f64::consts::LN_2],
            &[0.0; 2],
        );
        assert!(brier(&certain) < 1e-12 && (brier(&even) - 0.5).abs() < 1e-12);
        assert!((bits(&choices, even.log_probs[0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_bootstrap_holds_the_mean_and_is_the_same_again() {
        let values: Vec<f64> = (0..200).map(|n| f64::from(n % 10)).collect();
        let metric = mean("x", &values, true, 7);
        assert!(metric.low < 4.5 && metric.high > 4.5 && metric.high - metric.low < 1.0);
        assert_eq!(mean("x", &values, true, 7), metric);
    }

    #[test]
    fn encoders_have_a_name_of_their_own() {
        let choices = item(&["a", "b"], 1);
        let answer = Answered { item: &choices, log_probs: vec![-2.0, -1.0], alone: None };
        let names: Vec<&str> = metrics(&[answer], 1).iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["pll_acc", "brier_score"]);
        let single = item(&["a"], 0);
        let found = metrics(&[answered(&single, &[-2.0], &[-3.0])], 1);
        assert_eq!(found.len(), 1);
        assert!(value(&found, "gold_bits_per_byte") > 2.8);
    }
}
