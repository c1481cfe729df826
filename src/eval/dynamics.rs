//! What a run learned of facts and what it kept, from one time they were told to the next.
//!
//! Comes in: the `metrics.jsonl` of a run with a panel of probes
//! ([`crate::train::strategy::panel`]). Measures of Chang et al. 2024 (arXiv:2406.11813), with the
//! loss `l` of what is left out of a probe, in nats per token: a fact is told at `t`; `s` is where
//! its loss is least in the steps behind, before it is told again. *Effectivity* is `l(t) − l(s)`,
//! with `l(t)` before it was told; *retainability* at `d` is what is left of it `d` steps behind
//! `s`: `(l(s + d) − l(t0)) / (l(s) − l(t0))`, with `l(t0)` before the fact was told for the first
//! time. Values beyond the quartiles by more than twice what lies between them are left out and
//! counted. The panel is asked every so many steps, so `t` and `s` are known to as many.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tasks::json_lines;
use crate::error::{Error, Result};
use crate::flow::dataset::{write_atomically, write_json};
use crate::train::run::metrics::METRICS;

/// Steps behind an exposure in which the least loss is looked for; the reference's.
const WINDOW: u64 = 50;
/// Quartile ranges beyond the quartiles at which a value is left out; the reference's.
const OUTLIER: f64 = 2.0;

/// The losses of probes over a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Steps behind which the panel was asked, from 0.
    pub steps: Vec<u64>,
    /// Of each probe, its loss at each of them, in nats per token.
    pub losses: Vec<Vec<f64>>,
    /// Of each probe, at each of them, whether it was told since the one before.
    pub told: Vec<Vec<bool>>,
}

/// A mean over some, and how many there were and were left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The mean.
    pub mean: f64,
    /// Values that it is over.
    pub n: usize,
    /// Values that were left out.
    pub left_out: usize,
}

/// What is known of facts so many steps after they were told last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Since {
    /// Steps, at least.
    pub from: u64,
    /// Steps, at most.
    pub to: u64,
    /// The mean probability of a token of what is left out.
    pub probability: f64,
    /// Probes and times that it is over.
    pub n: usize,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dynamics {
    /// Probes that were told at least once.
    pub probes: usize,
    /// Effectivity, in nats per token.
    pub effectivity: Option<Kept>,
    /// Retainability by steps behind the least loss.
    pub retainability: BTreeMap<u64, Kept>,
    /// By how much retainability falls where the steps are e times as many.
    pub slope: Option<f64>,
    /// What is known by steps since it was told last.
    pub since: Vec<Since>,
}

#[derive(Deserialize)]
struct Line {
    step: u64,
    #[serde(default)]
    strategies: BTreeMap<String, f64>,
}

/// The series of a run's folder.
///
/// # Errors
/// If there is no `metrics.jsonl`, it is damaged, or the run had no panel.
pub fn read(run: &Path) -> Result<Series> {
    let path = run.join(METRICS);
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::file("read", &path, cause))?;
    let mut series = Series::default();
    let lines = json_lines::<Line>(&text).map_err(|error| error.at(path.display()))?;
    for (_, line) in lines {
        series.add(&line, "panel.first.", 0);
        series.add(&line, "panel.loss.", line.step);
    }
    match series.steps.is_empty() {
        true => Err(Error::usage(format!("the run in `{}` had no panel", run.display()))
            .hint("train with `train.strategy.panel.file=<probes.jsonl>`")),
        false => Ok(series),
    }
}

impl Series {
    fn add(&mut self, line: &Line, begin: &str, step: u64) {
        let of = |begin: &str| -> BTreeMap<usize, f64> {
            let numbered = |(name, value): (&String, &f64)| {
                Some((name.strip_prefix(begin)?.parse().ok()?, *value))
            };
            line.strategies.iter().filter_map(numbered).collect()
        };
        let losses = of(begin);
        if losses.is_empty() {
            return;
        }
        self.steps.push(step);
        let told = of("panel.told.");
        self.losses.resize(losses.len(), Vec::new());
        self.told.resize(losses.len(), Vec::new());
        for (probe, loss) in losses {
            if let (Some(own), Some(times)) = (self.losses.get_mut(probe), self.told.get_mut(probe))
            {
                own.push(loss);
                times.push(step > 0 && told.contains_key(&probe));
            }
        }
    }
}

/// The measures of a series.
pub fn measure(series: &Series) -> Dynamics {
    let (mut effects, mut kept) = (Vec::new(), BTreeMap::<u64, Vec<f64>>::new());
    let mut since: BTreeMap<u32, Vec<(u64, f64)>> = BTreeMap::new();
    let steps = &series.steps;

    for (losses, told) in series.losses.iter().zip(&series.told) {
        let times: Vec<usize> = (1..steps.len()).filter(|at| told[*at]).collect();
        let Some(first) = times.first() else { continue };
        let begin = losses[first - 1];
        for (nth, at) in times.iter().enumerate() {
            let next = times.get(nth + 1).copied().unwrap_or(steps.len());
            let within = |one: &usize| steps[*one] < steps[*at] + WINDOW;
            let least = (*at..next)
                .take_while(within)
                .min_by(|a, b| losses[*a].total_cmp(&losses[*b]))
                .unwrap_or(*at);
            effects.push(losses[at - 1] - losses[least]);
            for later in least + 1..next {
                let (left, gained) = (losses[later] - begin, losses[least] - begin);
                if gained != 0.0 {
                    kept.entry(steps[later] - steps[least]).or_default().push(left / gained);
                }
            }
            for later in *at..next {
                let passed = steps[later] - steps[*at];
                let bin = if passed == 0 { 0 } else { passed.ilog2() + 1 };
                since.entry(bin).or_default().push((passed, (-losses[later]).exp()));
            }
        }
    }

    let retainability: BTreeMap<u64, Kept> =
        kept.into_iter().filter_map(|(d, values)| Some((d, without_outliers(values)?))).collect();
    let told = |times: &&Vec<bool>| times.iter().any(|told| *told);
    Dynamics {
        probes: series.told.iter().filter(told).count(),
        effectivity: without_outliers(effects),
        slope: slope(&retainability),
        retainability,
        since: since.into_values().map(of_bin).collect(),
    }
}

fn of_bin(points: Vec<(u64, f64)>) -> Since {
    let steps = || points.iter().map(|(steps, _)| *steps);
    let sum: f64 = points.iter().map(|(_, probability)| probability).sum();
    Since {
        from: steps().min().unwrap_or(0),
        to: steps().max().unwrap_or(0),
        probability: sum / points.len() as f64,
        n: points.len(),
    }
}

/// The mean of what lies within the quartiles and twice their range beyond; none of nothing.
fn without_outliers(mut values: Vec<f64>) -> Option<Kept> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let quantile = |share: f64| {
        let at = share * last as f64;
        let (low, part) = (at.floor() as usize, at.fract());
        values[low] + part * (values[(low + 1).min(last)] - values[low])
    };
    let (low, high) = (quantile(0.25), quantile(0.75));
    let beyond = OUTLIER * (high - low);
    let within: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| (low - beyond..=high + beyond).contains(value))
        .collect();
    let mean = within.iter().sum::<f64>() / within.len() as f64;
    Some(Kept { mean, n: within.len(), left_out: values.len() - within.len() })
}

/// The slope of a line through retainability over the logarithm of the steps, each weighted by how
/// many values it is over; none of fewer than two points.
fn slope(points: &BTreeMap<u64, Kept>) -> Option<f64> {
    let all: Vec<(f64, f64, f64)> =
        points.iter().map(|(d, kept)| ((*d as f64).ln(), kept.mean, kept.n as f64)).collect();
    let weight: f64 = all.iter().map(|one| one.2).sum();
    let mean = |of: fn(&(f64, f64, f64)) -> f64| {
        all.iter().map(|one| of(one) * one.2).sum::<f64>() / weight
    };
    let (x, y) = (mean(|one| one.0), mean(|one| one.1));
    let spread: f64 = all.iter().map(|one| one.2 * (one.0 - x).powi(2)).sum();
    let together: f64 = all.iter().map(|one| one.2 * (one.0 - x) * (one.1 - y)).sum();
    (all.len() > 1 && spread > 0.0).then(|| together / spread)
}

/// As a page of Markdown.
pub fn markdown(told: &Dynamics) -> String {
    let mut text = format!("{} probes were told of while the model learned.\n\n", told.probes);
    if let Some(Kept { mean, n, left_out }) = told.effectivity {
        text += &format!(
            "Effectivity: {mean:.4} nats per token less after a fact was told ({n} times, \
             {left_out} outliers left out).\n\n"
        );
    }
    text += "| steps behind the least loss | of what was learned is left | over |\n|---|---|---|\n";
    for (d, kept) in &told.retainability {
        text += &format!("| {d} | {:.3} | {} |\n", kept.mean, kept.n);
    }
    if let Some(slope) = told.slope {
        text += &format!("\nWhere the steps are e times as many, {slope:+.4} of it.\n");
    }
    text += "\n| steps since it was told | probability of a token | over |\n|---|---|---|\n";
    for Since { from, to, probability, n } in &told.since {
        text += &format!("| {from} to {to} | {probability:.4} | {n} |\n");
    }
    text
}

/// Measures a run, and writes `dynamics.json` and `dynamics.md`.
///
/// # Errors
/// As [`read`]; or if a file cannot be written.
pub fn write(run: &Path, out: &Path) -> Result<Dynamics> {
    let told = measure(&read(run)?);
    std::fs::create_dir_all(out).map_err(|cause| Error::file("create", out, cause))?;
    write_json(&out.join("dynamics.json"), &told)?;
    write_atomically(&out.join("dynamics.md"), markdown(&told).as_bytes())?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fact that is told at 10, learned at once, and forgotten by half of what is left in each 10
    /// steps; another one that is never told.
    #[test]
    fn a_planted_fact_rises_and_decays() {
        let steps: Vec<u64> = (0..=5).map(|n| n * 10).collect();
        let losses = vec![vec![4.0, 2.0, 3.0, 3.5, 3.75, 3.875], vec![4.0; 6]];
        let told = vec![vec![false, true, false, false, false, false], vec![false; 6]];
        let found = measure(&Series { steps, losses, told });
        assert_eq!(found.probes, 1);
        assert_eq!(found.effectivity.unwrap().mean, 2.0);
        let left: Vec<f64> = found.retainability.values().map(|kept| kept.mean).collect();
        assert_eq!(left, [0.5, 0.25, 0.125, 0.0625]);
        assert_eq!(found.retainability.keys().copied().collect::<Vec<u64>>(), [10, 20, 30, 40]);
        assert!(found.slope.unwrap() < -0.3);
        let since: Vec<u64> = found.since.iter().map(|one| one.from).collect();
        assert_eq!(since, [0, 10, 20, 40]);
        assert!((found.since[0].probability - (-2.0_f64).exp()).abs() < 1e-12);
    }

    /// Told again, a fact has another exposure, whose effect is counted from where it stood; what
    /// is left is counted from before the first.
    #[test]
    fn each_time_is_an_exposure_of_its_own() {
        let (steps, told) = (vec![0, 5, 10, 15], vec![vec![false, true, true, false]]);
        let found = measure(&Series { steps, losses: vec![vec![4.0, 3.0, 1.0, 2.5]], told });
        let effect = found.effectivity.unwrap();
        assert_eq!((effect.mean, effect.n), (1.5, 2));
        assert_eq!(found.retainability[&5].mean, 0.5);
    }

    /// As numpy's quantiles have them: of 0 to 8 and 100, 2.25 and 6.75.
    #[test]
    fn outliers_are_left_out_and_counted() {
        let values: Vec<f64> = (0..9).map(f64::from).chain([100.0]).collect();
        let kept = without_outliers(values).unwrap();
        assert_eq!(kept, Kept { mean: 4.0, n: 9, left_out: 1 });
        assert_eq!(without_outliers(Vec::new()), None);
    }
}
