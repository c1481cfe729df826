//! A linear head on features that stay as they are: multinomial logistic regression, and ridge
//! regression for scores.
//!
//! Both have one optimum: `Σ loss + ½ ‖w‖²` over standardised features with a free intercept, as
//! scikit-learn's `StandardScaler` with `LogisticRegression(C=1)` and `Ridge(alpha=1)`. It is found
//! by L-BFGS (Nocedal and Wright 2006, algorithm 7.5) with a halving line search, the same to the
//! last bit for any number of threads.

use crate::train::ask::log_sum_exp;

/// Pairs of steps and gradients that L-BFGS remembers.
const MEMORY: usize = 10;
/// Steps after which it gives up, and the norm of the gradient at which it is there.
const STEPS: usize = 1_000;
const NEAR: f64 = 1e-5;

/// Features of a text or of a pair.
pub type Features = Vec<f64>;

/// A head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    mean: Features,
    deviation: Features,
    /// For each output, a weight of each feature and, last, what is added.
    weights: Vec<Features>,
}

impl Head {
    /// Learns which of `classes` each row is of.
    pub fn classes(rows: &[Features], labels: &[usize], classes: usize) -> Self {
        Self::learn(rows, classes, |nth, logits| {
            let total = log_sum_exp(logits);
            let loss = total - logits[labels[nth]];
            for (class, logit) in logits.iter_mut().enumerate() {
                let part = (*logit - total).exp();
                *logit = if class == labels[nth] { part - 1.0 } else { part };
            }
            loss
        })
    }

    /// Learns a score of each row.
    pub fn score(rows: &[Features], scores: &[f64]) -> Self {
        Self::learn(rows, 1, |nth, outputs| {
            outputs[0] -= scores[nth];
            outputs[0] * outputs[0] / 2.0
        })
    }

    /// Learns so many outputs: `loss` tells that of a row, and puts the gradient in the place of
    /// its outputs.
    fn learn(rows: &[Features], n: usize, loss: impl Fn(usize, &mut [f64]) -> f64) -> Self {
        let (mean, deviation) = standard(rows);
        let rows: Vec<Features> = rows.iter().map(|row| scaled(row, &mean, &deviation)).collect();
        let width = mean.len() + 1;
        let of = |all: &[f64], gradient: &mut [f64]| {
            gradient.fill(0.0);
            let mut total = 0.0;
            for (nth, row) in rows.iter().enumerate() {
                let mut outputs: Vec<f64> = all.chunks(width).map(|own| output(own, row)).collect();
                total += loss(nth, &mut outputs);
                for (own, by) in gradient.chunks_mut(width).zip(outputs) {
                    add(own, row, by);
                }
            }
            total + shrink(all, width, gradient)
        };
        let weights = minimise(vec![0.0; width * n], of);
        Head { mean, deviation, weights: weights.chunks(width).map(<[f64]>::to_vec).collect() }
    }

    /// What it makes of features: a logit of each class, or the score.
    pub fn outputs(&self, row: &Features) -> Vec<f64> {
        let row = scaled(row, &self.mean, &self.deviation);
        self.weights.iter().map(|own| output(own, &row)).collect()
    }

    /// How probable it makes each class.
    pub fn probabilities(&self, row: &Features) -> Vec<f64> {
        let logits = self.outputs(row);
        let total = log_sum_exp(&logits);
        logits.iter().map(|logit| (logit - total).exp()).collect()
    }
}

/// Mean and deviation of each feature; of one that is always the same, 1.
fn standard(rows: &[Features]) -> (Features, Features) {
    let n = rows.len().max(1) as f64;
    let width = rows.first().map_or(0, Vec::len);
    let (mut mean, mut deviation) = (vec![0.0; width], vec![0.0; width]);
    for row in rows {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n);
    }
    for row in rows {
        for ((deviation, mean), value) in deviation.iter_mut().zip(&mean).zip(row) {
            *deviation += (value - mean).powi(2) / n;
        }
    }
    for one in &mut deviation {
        *one = if *one > 0.0 { one.sqrt() } else { 1.0 };
    }
    (mean, deviation)
}

fn scaled(row: &Features, mean: &Features, deviation: &Features) -> Features {
    row.iter().zip(mean).zip(deviation).map(|((value, mean), by)| (value - mean) / by).collect()
}

fn output(own: &[f64], row: &[f64]) -> f64 {
    dot(&own[..row.len()], row) + own[row.len()]
}

fn add(own: &mut [f64], row: &[f64], factor: f64) {
    own.iter_mut().zip(row).for_each(|(own, value)| *own += factor * value);
    own[row.len()] += factor;
}

/// Half of the squares of all weights but what is added, and their gradient.
fn shrink(all: &[f64], width: usize, gradient: &mut [f64]) -> f64 {
    let mut total = 0.0;
    for (own, gradient) in all.chunks(width).zip(gradient.chunks_mut(width)) {
        for (weight, gradient) in own[..width - 1].iter().zip(gradient) {
            total += weight * weight / 2.0;
            *gradient += weight;
        }
    }
    total
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A step that was taken, and by how much the gradient changed over it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
}

/// Where a convex function is least, from `at` on.
fn minimise(mut at: Vec<f64>, of: impl Fn(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let mut gradient = vec![0.0; at.len()];
    let mut value = of(&at, &mut gradient);
    let mut pairs: Vec<Pair> = Vec::new();

    for _ in 0..STEPS {
        if dot(&gradient, &gradient).sqrt() <= NEAR {
            break;
        }
        let way = direction(&gradient, &pairs);
        let slope = dot(&gradient, &way);
        let mut length = if pairs.is_empty() { 1.0 / dot(&way, &way).sqrt().max(1.0) } else { 1.0 };
        let mut next_gradient = vec![0.0; at.len()];
        let (next, next_value) = loop {
            let next: Vec<f64> = at.iter().zip(&way).map(|(at, way)| at + length * way).collect();
            let found = of(&next, &mut next_gradient);
            if found <= value + 1e-4 * length * slope || length < 1e-12 {
                break (next, found);
            }
            length /= 2.0;
        };
        if length < 1e-12 {
            break;
        }

        let step: Vec<f64> = next.iter().zip(&at).map(|(next, at)| next - at).collect();
        let change: Vec<f64> =
            next_gradient.iter().zip(&gradient).map(|(next, before)| next - before).collect();
        if dot(&step, &change) > 0.0 {
            pairs.push(Pair { step, change });
            if pairs.len() > MEMORY {
                pairs.remove(0);
            }
        }
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    at
}

/// The two loops of L-BFGS.
fn direction(gradient: &[f64], pairs: &[Pair]) -> Vec<f64> {
    let mut way: Vec<f64> = gradient.iter().map(|one| -one).collect();
    let mut factors = Vec::new();
    for Pair { step, change } in pairs.iter().rev() {
        let factor = dot(step, &way) / dot(step, change);
        way.iter_mut().zip(change).for_each(|(way, change)| *way -= factor * change);
        factors.push(factor);
    }
    if let Some(Pair { step, change }) = pairs.last() {
        let scale = dot(step, change) / dot(change, change);
        way.iter_mut().for_each(|way| *way *= scale);
    }
    for (Pair { step, change }, factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let back = dot(change, &way) / dot(step, change);
        way.iter_mut().zip(step).for_each(|(way, step)| *way += (factor - back) * step);
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Features> {
        let value = |n: usize, k: usize| ((n * 7 + k * 5) % 11) as f64 + 0.1 * (n * k) as f64;
        (0..20).map(|n| (0..3).map(|k| value(n, k)).collect()).collect()
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
        }
    }

    /// scikit-learn 1.9's `LogisticRegression(C=1, tol=1e-10)` over `StandardScaler`: differences
    /// of the logits of the first and the last row, and `Ridge(alpha=1)`.
    #[test]
    fn heads_are_those_of_scikit_learn() {
        let rows = rows();
        let labels: Vec<usize> = (0..20).map(|n| (n * n + n / 3) % 3).collect();
        let head = Head::classes(&rows, &labels, 3);
        let differences = |row: &Features| {
            let found = head.outputs(row);
            vec![found[1] - found[0], found[2] - found[0]]
        };
        near(&differences(&rows[0]), &[0.038275, -1.084493]);
        near(&differences(&rows[19]), &[-0.010538, -0.652217]);

        let scores: Vec<f64> = (0..20).map(|n| f64::from(n % 5) + 0.3 * f64::from(n % 3)).collect();
        let head = Head::score(&rows, &scores);
        near(&[head.outputs(&rows[0])[0], head.outputs(&rows[19])[0]], &[1.283022, 1.983518]);
    }

    #[test]
    fn a_feature_that_is_always_the_same_changes_nothing() {
        let with: Vec<Features> = rows().into_iter().map(|row| [row, vec![4.0]].concat()).collect();
        let labels: Vec<usize> = (0..20).map(|n| n % 2).collect();
        let (with, without) =
            (Head::classes(&with, &labels, 2), Head::classes(&rows(), &labels, 2));
        near(&with.outputs(&[rows()[3].clone(), vec![4.0]].concat()), &without.outputs(&rows()[3]));
    }
}
