//! The metrics of GLUE's tasks, by the definitions of scikit-learn and SciPy.

use super::super::metrics::{Metric, bootstrap, share};

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Accuracy,
    /// F1 of the class 1.
    F1,
    /// Matthews' correlation.
    Matthews,
    Pearson,
    Spearman,
}

/// What a head says, and what is right.
pub(super) struct Outputs {
    pub(super) scores: Vec<f64>,
    pub(super) classes: Vec<usize>,
    pub(super) gold_scores: Vec<f64>,
    pub(super) gold_classes: Vec<usize>,
}

impl Kind {
    /// The metric with its interval, and what always saying the most frequent class comes to.
    pub(super) fn measure(self, told: &Outputs, seed: u64) -> Metric {
        let pairs: Vec<(usize, usize)> =
            told.classes.iter().copied().zip(told.gold_classes.iter().copied()).collect();
        if self == Kind::Accuracy {
            let right: Vec<bool> = pairs.iter().map(|(own, gold)| own == gold).collect();
            let majority = [("majority", majority(&told.gold_classes))].into();
            return share("acc", &right, majority);
        }

        let chosen = |rows: &[usize]| rows.iter().map(|row| pairs[*row]).collect::<Vec<_>>();
        let scores = |rows: &[usize]| -> (Vec<f64>, Vec<f64>) {
            rows.iter().map(|row| (told.scores[*row], told.gold_scores[*row])).unzip()
        };
        let of = |rows: &[usize]| match self {
            Kind::Accuracy => 0.0,
            Kind::F1 => f1(&chosen(rows)),
            Kind::Matthews => matthews(&chosen(rows)),
            Kind::Pearson => {
                let (own, gold) = scores(rows);
                pearson(&own, &gold)
            }
            Kind::Spearman => {
                let (own, gold) = scores(rows);
                pearson(&ranks(&own), &ranks(&gold))
            }
        };
        let name = match self {
            Kind::Accuracy => "acc",
            Kind::F1 => "f1",
            Kind::Matthews => "mcc",
            Kind::Pearson => "pearson",
            Kind::Spearman => "spearman",
        };
        let n = told.scores.len();
        let (low, high) = bootstrap(name, n, seed, of);
        let value = of(&(0..n).collect::<Vec<usize>>());
        Metric { name, value, low, high, n, baselines: [].into(), higher_is_better: true }
    }
}

fn majority(gold: &[usize]) -> f64 {
    let most = gold.iter().map(|one| gold.iter().filter(|other| *other == one).count()).max();
    most.unwrap_or(0) as f64 / gold.len().max(1) as f64
}

/// How often each class of two was said of each.
fn counts(pairs: &[(usize, usize)]) -> [f64; 4] {
    let n =
        |own: usize, gold: usize| pairs.iter().filter(|pair| **pair == (own, gold)).count() as f64;
    [n(1, 1), n(1, 0), n(0, 1), n(0, 0)]
}

fn f1(pairs: &[(usize, usize)]) -> f64 {
    let [right, over, missed, _] = counts(pairs);
    let all = 2.0 * right + over + missed;
    if all == 0.0 { 0.0 } else { 2.0 * right / all }
}

fn matthews(pairs: &[(usize, usize)]) -> f64 {
    let [tp, fp, fn_, tn] = counts(pairs);
    let scale = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
    if scale == 0.0 { 0.0 } else { (tp * tn - fp * fn_) / scale }
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().max(1) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (of_a, of_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(*x, *y)).sum::<f64>();
    let together = sum(&|x, y| (x - of_a) * (y - of_b));
    let scale = (sum(&|x, _| (x - of_a).powi(2)) * sum(&|_, y| (y - of_b).powi(2))).sqrt();
    if scale == 0.0 { 0.0 } else { together / scale }
}

/// Ranks from 1, the mean of them among equals.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scikit-learn's and SciPy's numbers.
    #[test]
    fn metrics_are_those_of_the_libraries() {
        let own = [0, 1, 0, 0, 1, 1, 1, 0];
        let gold = [0, 1, 1, 0, 1, 0, 1, 1];
        let pairs: Vec<(usize, usize)> = own.into_iter().zip(gold).collect();
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        near(matthews(&pairs), 0.258198889747);
        near(f1(&pairs), 0.666666666667);
        let (a, b) = ([1.0, 2.0, 2.0, 4.0, 5.0, 3.5], [1.5, 1.0, 2.5, 4.5, 4.0, 4.0]);
        near(pearson(&a, &b), 0.863342569486);
        near(pearson(&ranks(&a), &ranks(&b)), 0.794117647059);
        near(majority(&gold), 0.625);
        near(matthews(&[(1, 1), (1, 0)]), 0.0);
    }
}
