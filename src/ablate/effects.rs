//! What levers do: main effects with intervals, comparisons with plain training, and what may be
//! said of them.
//!
//! The unit is a thing that probes ask about, with a seed: an arm's bits of the right answers,
//! paired over arms. Where there is something to choose from, these are bits among the choices: a
//! model that has learned how such sentences go on, and of no thing what is true of it, saves none
//! of them, though its bits per byte fall. Elsewhere they are bits per byte.
//!
//! A factor's effect is the mean over all arms without it less that over all arms with it, so more
//! is better. Intervals are of a bootstrap of two levels, seeds and then things; over the factors,
//! p-values of the primary kind are Holm's. The least effect that would be found is 2.8 standard
//! errors (80 % power at 5 %). A kind of probes whose arms differ less than seeds do ranks nothing
//! (arXiv:2508.13144).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::arm::{Outcome, is_control};
use super::plan::{Arm, Plan};
use crate::draw::{self, next_below};
use crate::eval::dynamics::Since;
use crate::eval::known::Unit;

/// Draws of a bootstrap.
const DRAWS: usize = 2_000;
/// Standard errors of the least effect that is found in four of five cases.
const POWER: f64 = 2.8;
/// The arm that others are compared with, and the same with more steps.
pub const PLAIN: &str = "plain";
/// See [`PLAIN`].
pub const PLAIN_LONG: &str = "plain_long";
/// The arm with every lever.
const FULL: &str = "full";
/// The arm whose facts are those of other things: who learns texts alone is no better.
const EXCHANGED: &str = "exchanged";
/// How far beyond the longer plain training an arm is still set beside it: seconds of the processor
/// scatter by about a tenth of what the two lengths differ by.
const BEYOND: f64 = 1.1;
/// What general text may lose, in bits per byte: 0.02 nats a token of four bytes.
const FORGET_MAX: f64 = 0.0072;

/// A difference with what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Bits that are saved, among the choices or per byte; more is better.
    pub gain: f64,
    /// Ends of the 95 % interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Two-sided, by the same bootstrap.
    pub p: f64,
    /// The least gain that would be found in four of five cases.
    pub least: f64,
    /// Seeds and things that it is over.
    pub seeds: usize,
    /// See `seeds`.
    pub units: usize,
}

/// What a factor does to what is known of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The factor.
    pub factor: String,
    /// The kind of probes.
    pub kind: String,
    /// With it, over without.
    pub difference: Difference,
    /// Holm's p-value over the factors, of the primary kind.
    pub holm: Option<f64>,
}

/// An arm beside plain training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm.
    pub arm: String,
    /// The kind of probes.
    pub kind: String,
    /// At equal tokens.
    pub tokens: Difference,
    /// At equal seconds of the processor, where plain training was run for as long or longer.
    pub seconds: Option<Difference>,
}

/// What an arm came to, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub arm: String,
    /// Seeds that were run.
    pub seeds: usize,
    /// By kind of probes: mean bits per byte, and the share that is right.
    pub known: BTreeMap<String, Known>,
    /// Bits per byte of held-out general text.
    pub general_bits: Option<f64>,
    /// Tokens it was trained on.
    pub tokens: f64,
    /// Seconds of the processor that training took.
    pub seconds: f64,
    /// What was known by steps since it was told.
    pub since: Vec<Since>,
}

/// What is known of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Known {
    /// Bits per byte of the right answers.
    pub bits: f64,
    /// Share where the right one is the most probable for its length, where there is a choice.
    pub right: Option<f64>,
    /// Bits of the right answers among those to choose from.
    pub choice: Option<f64>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Hash of the plan.
    pub plan: String,
    /// What was to be decided.
    pub question: String,
    /// The kind of probes that decides.
    pub primary: String,
    /// Arms of the plan, and those that were run, each with each seed.
    pub planned: usize,
    /// See `planned`.
    pub done: usize,
    /// Seeds with which all factorial arms were run.
    pub seeds: Vec<u64>,
    /// The arms.
    pub arms: Vec<Row>,
    /// By factor and kind.
    pub effects: Vec<Effect>,
    /// By arm and kind.
    pub comparisons: Vec<Comparison>,
    /// Spread between arms over that between seeds, by kind; below 1 it ranks nothing.
    pub signal_to_noise: BTreeMap<String, f64>,
    /// Products of two factors that cannot be told apart.
    pub aliases: Vec<Vec<String>>,
    /// What the factors are.
    pub factors: BTreeMap<String, String>,
    /// What may be said.
    pub verdict: Vec<String>,
    /// Where it was computed.
    pub processors: BTreeSet<String>,
}

type Outcomes = BTreeMap<(String, u64), Outcome>;

/// Reports over what was run of a plan.
pub fn report(plan: &Plan, hash: &str, arms: &[Arm], done: &Outcomes) -> Report {
    let factorial: Vec<&Arm> = arms.iter().filter(|arm| !arm.levels.is_empty()).collect();
    let all_seeds: BTreeSet<u64> = done.keys().map(|(_, seed)| *seed).collect();
    let has_all =
        |seed: &u64| factorial.iter().all(|arm| done.contains_key(&(arm.name.clone(), *seed)));
    let seeds: Vec<u64> = all_seeds.iter().copied().filter(has_all).collect();
    let kinds: BTreeSet<&str> =
        done.values().flat_map(|outcome| outcome.known.keys().map(String::as_str)).collect();

    let mut effects = Vec::new();
    for (nth, factor) in plan.factor.iter().enumerate() {
        for kind in &kinds {
            let table = effect_table(nth, kind, &factorial, &seeds, done);
            let Some(difference) = difference(&table, &format!("{} {kind}", factor.name)) else {
                continue;
            };
            let (factor, kind) = (factor.name.clone(), (*kind).to_string());
            effects.push(Effect { factor, kind, difference, holm: None });
        }
    }
    holm(&mut effects, &plan.primary);

    let rows: Vec<Row> = arms.iter().filter_map(|arm| row(&arm.name, &all_seeds, done)).collect();
    let mut comparisons = Vec::new();
    for reference in plan.reference.iter().filter(|one| one.name != PLAIN) {
        for kind in &kinds {
            comparisons.extend(compare(&reference.name, kind, &all_seeds, done));
        }
    }

    let mut report = Report {
        plan: hash.to_string(),
        question: plan.question.clone(),
        primary: plan.primary.clone(),
        planned: arms.len() * plan.seeds.len(),
        done: done.len(),
        signal_to_noise: kinds
            .iter()
            .filter_map(|kind| {
                Some(((*kind).to_string(), signal_to_noise(kind, &factorial, &seeds, done)?))
            })
            .collect(),
        seeds,
        arms: rows,
        effects,
        comparisons,
        aliases: plan.aliases(),
        factors: plan.factor.iter().map(|one| (one.name.clone(), one.about.clone())).collect(),
        verdict: Vec::new(),
        processors: done.values().map(|outcome| outcome.processor.clone()).collect(),
    };
    report.verdict = verdict(&report);
    report
}

/// Values by seed, then by thing.
type Table = Vec<Vec<f64>>;

/// What a factor does to each thing with each seed, over all factorial arms.
fn effect_table(factor: usize, kind: &str, arms: &[&Arm], seeds: &[u64], done: &Outcomes) -> Table {
    let of_seed = |seed: &u64| -> Option<Vec<f64>> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for arm in arms {
            let sign = if arm.levels[factor] { -1.0 } else { 1.0 };
            let units = done.get(&(arm.name.clone(), *seed))?.known.get(kind)?;
            for (about, unit) in units {
                *sums.entry(about).or_default() += sign * judged(unit) * 2.0 / arms.len() as f64;
            }
        }
        Some(sums.into_values().collect())
    };
    seeds.iter().filter_map(of_seed).collect()
}

/// The mean of a table, with the interval of a bootstrap over seeds and then things; none of
/// nothing.
fn difference(table: &Table, purpose: &str) -> Option<Difference> {
    let units = table.first().map(Vec::len).filter(|n| *n > 0)?;
    if table.iter().any(|row| row.len() != units) {
        return None;
    }
    let mean = |seeds: &[usize], things: &[usize]| {
        let of_seed = |seed: &usize| things.iter().map(|unit| table[*seed][*unit]).sum::<f64>();
        seeds.iter().map(of_seed).sum::<f64>() / (seeds.len() * things.len()) as f64
    };
    let all = |n: usize| (0..n).collect::<Vec<usize>>();
    let mut stream = draw::stream(0, "ablation", purpose.as_bytes());
    let mut again = |n: usize| (0..n).map(|_| next_below(&mut stream, n)).collect::<Vec<usize>>();
    let mut drawn: Vec<f64> =
        (0..DRAWS).map(|_| (again(table.len()), again(units))).map(|(s, u)| mean(&s, &u)).collect();
    drawn.sort_by(f64::total_cmp);

    let at = |share: f64| drawn[((DRAWS - 1) as f64 * share).round() as usize];
    let beyond = |is_beyond: fn(&f64) -> bool| {
        (drawn.iter().filter(|one| is_beyond(one)).count() + 1) as f64 / (DRAWS + 1) as f64
    };
    let middle = drawn.iter().sum::<f64>() / DRAWS as f64;
    let squares: f64 = drawn.iter().map(|one| (one - middle).powi(2)).sum();
    Some(Difference {
        gain: mean(&all(table.len()), &all(units)),
        low: at(0.025),
        high: at(0.975),
        p: (2.0 * beyond(|one| *one <= 0.0).min(beyond(|one| *one >= 0.0))).min(1.0),
        least: POWER * (squares / DRAWS as f64).sqrt(),
        seeds: table.len(),
        units,
    })
}

/// Holm's p-values over the factors for one kind (Holm 1979).
fn holm(effects: &mut [Effect], kind: &str) {
    let mut of_kind: Vec<&mut Effect> =
        effects.iter_mut().filter(|effect| effect.kind == kind).collect();
    of_kind.sort_by(|a, b| a.difference.p.total_cmp(&b.difference.p));
    let (n, mut most) = (of_kind.len(), 0.0_f64);
    for (nth, effect) in of_kind.into_iter().enumerate() {
        most = most.max(effect.difference.p * (n - nth) as f64).min(1.0);
        effect.holm = Some(most);
    }
}

/// An arm beside plain training, over the seeds that both were run with.
fn compare(arm: &str, kind: &str, seeds: &BTreeSet<u64>, done: &Outcomes) -> Option<Comparison> {
    let of = |name: &str, seed: u64| done.get(&(name.to_string(), seed));
    let (mut tokens, mut seconds) = (Table::new(), Table::new());
    for seed in seeds {
        let (Some(own), Some(plain)) = (of(arm, *seed), of(PLAIN, *seed)) else { continue };
        let units = |outcome: &Outcome| outcome.known.get(kind).map(bits);
        let (Some(known), Some(beside)) = (units(own), units(plain)) else { continue };
        tokens.push(beside.iter().zip(&known).map(|(plain, own)| plain - own).collect());

        // What plain training knew after as many seconds of the processor, between its two lengths.
        let Some(long) = of(PLAIN_LONG, *seed).filter(|_| arm != PLAIN_LONG) else { continue };
        let Some(longer) = units(long) else { continue };
        let more = long.cpu_seconds - plain.cpu_seconds;
        let part = ((own.cpu_seconds - plain.cpu_seconds) / more.max(1e-9)).max(0.0);
        // What plain training knows after more than that nobody measured.
        if part > BEYOND {
            continue;
        }
        let part = part.min(1.0);
        let at = |(plain, long): (&f64, &f64)| plain + part * (long - plain);
        let beside: Vec<f64> = beside.iter().zip(&longer).map(at).collect();
        seconds.push(beside.iter().zip(&known).map(|(plain, own)| plain - own).collect());
    }
    Some(Comparison {
        arm: arm.to_string(),
        kind: kind.to_string(),
        tokens: difference(&tokens, &format!("{arm} {kind}"))?,
        seconds: difference(&seconds, &format!("{arm} {kind} seconds")),
    })
}

/// The bits that a unit is judged by.
fn judged(unit: &Unit) -> f64 {
    unit.choice.unwrap_or(unit.bits)
}

fn bits(units: &BTreeMap<String, Unit>) -> Vec<f64> {
    units.values().map(judged).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}

fn row(arm: &str, seeds: &BTreeSet<u64>, done: &Outcomes) -> Option<Row> {
    let own: Vec<&Outcome> =
        seeds.iter().filter_map(|seed| done.get(&(arm.to_string(), *seed))).collect();
    let first = own.first()?;
    let known = |kind: &String| {
        let units = || own.iter().filter_map(|one| one.known.get(kind)).flat_map(BTreeMap::values);
        let right: Vec<f64> = units().filter_map(|unit| unit.right).collect();
        let right = (!right.is_empty()).then(|| mean(right.into_iter()));
        let choice: Vec<f64> = units().filter_map(|unit| unit.choice).collect();
        let choice = (!choice.is_empty()).then(|| mean(choice.into_iter()));
        Known { bits: mean(units().map(|unit| unit.bits)), right, choice }
    };
    let general: Vec<f64> = own.iter().filter_map(|one| one.general_bits).collect();
    Some(Row {
        arm: arm.to_string(),
        seeds: own.len(),
        known: first.known.keys().map(|kind| (kind.clone(), known(kind))).collect(),
        general_bits: (!general.is_empty()).then(|| mean(general.into_iter())),
        tokens: mean(own.iter().map(|one| one.tokens as f64)),
        seconds: mean(own.iter().map(|one| one.cpu_seconds)),
        since: pooled(&own),
    })
}

/// What is known by steps since it was told, over several seeds.
fn pooled(outcomes: &[&Outcome]) -> Vec<Since> {
    let mut bins: BTreeMap<u32, Since> = BTreeMap::new();
    for one in outcomes.iter().flat_map(|outcome| &outcome.since) {
        let bin = if one.from == 0 { 0 } else { one.from.ilog2() + 1 };
        bins.entry(bin)
            .and_modify(|all| {
                let n = all.n + one.n;
                let of = |some: &Since| some.probability * some.n as f64;
                let probability = (of(all) + of(one)) / n as f64;
                *all =
                    Since { from: all.from.min(one.from), to: all.to.max(one.to), probability, n };
            })
            .or_insert(*one);
    }
    bins.into_values().collect()
}

/// The spread between factorial arms over that between seeds; none of one seed.
fn signal_to_noise(kind: &str, arms: &[&Arm], seeds: &[u64], done: &Outcomes) -> Option<f64> {
    if seeds.len() < 2 || arms.len() < 2 {
        return None;
    }
    let (mut means, mut noise) = (Vec::new(), Vec::new());
    for arm in arms {
        let of_seed = |seed: &u64| {
            let units = done.get(&(arm.name.clone(), *seed))?.known.get(kind)?;
            Some(mean(bits(units).into_iter()))
        };
        let own = seeds.iter().map(of_seed).collect::<Option<Vec<f64>>>()?;
        means.push(mean(own.iter().copied()));
        noise.push(variance(&own));
    }
    let noise = mean(noise.into_iter()).sqrt();
    (noise > 0.0).then(|| variance(&means).sqrt() / noise)
}

/// The unbiased variance.
fn variance(values: &[f64]) -> f64 {
    let middle = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|one| (one - middle).powi(2)).sum();
    squares / (values.len().max(2) - 1) as f64
}

/// What may be said, by the rules that were written down before.
fn verdict(report: &Report) -> Vec<String> {
    let mut said = Vec::new();
    let of_primary = |effect: &&Effect| effect.kind == report.primary;
    for Effect { factor, difference, holm, .. } in report.effects.iter().filter(of_primary) {
        let Difference { gain, low, high, least, .. } = difference;
        let (least, holm) = (format!("{least:.4}"), holm.unwrap_or(1.0));
        let told = format!("{gain:+.4} bits [{low:+.4}, {high:+.4}], Holm p {holm:.3}");
        said.push(match (holm < 0.05, *gain > 0.0) {
            (true, true) => format!("`{factor}` helps: {told}"),
            (true, false) => format!("`{factor}` harms: {told}"),
            (false, _) => format!("`{factor}`: nothing shown: {told}; {least} would be seen"),
        });
    }

    // Where the same sentences with other truths teach as much, no fact was learned, and no lever
    // can be said to help in that.
    let exchanged =
        report.comparisons.iter().find(|one| one.arm == EXCHANGED && one.kind == report.primary);
    if let Some(Comparison { tokens: Difference { gain, low, high, .. }, .. }) = exchanged {
        let told = format!("{:+.4} bits [{:+.4}, {:+.4}]", -gain, -high, -low);
        said.insert(0, match *high < 0.0 {
            true => format!("Facts are learned: `{PLAIN}` saves {told} over `{EXCHANGED}`"),
            false => format!(
                "No fact is learned here: `{PLAIN}` saves {told} over `{EXCHANGED}`, whose facts \
                 are those of other things; what follows tells of texts, not of knowledge"
            ),
        });
    }

    let general = |name: &str| {
        let row = report.arms.iter().find(|row| row.arm == name);
        row.and_then(|row| row.general_bits)
    };
    let mut all_hold = true;
    for Comparison { arm, kind, tokens, seconds } in
        report.comparisons.iter().filter(|one| one.arm == FULL && !is_control(&one.kind))
    {
        let decides = kind.ends_with(".new") || kind.starts_with("real.");
        let Difference { gain, low, high, .. } = tokens;
        all_hold &= !decides || *low > 0.0;
        let seconds = seconds.map_or(String::new(), |found| {
            let Difference { gain, low, high, .. } = found;
            format!("; at equal processor time {gain:+.4} [{low:+.4}, {high:+.4}]")
        });
        let mark = if decides { "" } else { " (beside)" };
        said.push(format!(
            "`{arm}` against `{PLAIN}` on `{kind}`{mark}: {gain:+.4} [{low:+.4}, {high:+.4}] at \
             equal tokens{seconds}"
        ));
    }
    if let (Some(full), Some(plain)) = (general(FULL), general(PLAIN)) {
        all_hold &= full - plain <= FORGET_MAX;
        said.push(format!(
            "general text: {full:.4} bits per byte with `{FULL}`, {plain:.4} with `{PLAIN}`"
        ));
        let is_worse = report
            .comparisons
            .iter()
            .any(|one| one.arm == FULL && one.kind == report.primary && one.tokens.high < 0.0);
        let together = match (all_hold, is_worse) {
            (true, _) => {
                "Everything together teaches more than shuffled plain training, on invented and on \
                 real facts, and forgets no more."
            }
            (false, true) => {
                "Everything together teaches less than shuffled plain training, by the probes that decide."
            }
            (false, false) => {
                "It is not shown that everything together teaches more than shuffled plain \
                 training on all of these without forgetting more."
            }
        };
        said.push(together.to_string());
    }
    for (kind, ratio) in report.signal_to_noise.iter().filter(|(_, ratio)| **ratio < 1.0) {
        said.push(format!("`{kind}` ranks nothing: arms differ {ratio:.2} times as much as seeds"));
    }
    if report.seeds.len() == 1 {
        said.push(
            "One seed: intervals are over things alone, and another seed may turn them."
                .to_string(),
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablate::plan::Facts;

    fn outcome(arm: &str, seed: u64, values: &[f64], seconds: f64) -> Outcome {
        let unit = |(nth, bits): (usize, &f64)| {
            (
                format!("thing {nth:02}"),
                Unit { n: 1, bits: 9.0, right: Some(0.5), choice: Some(*bits) },
            )
        };
        Outcome {
            plan: "p".into(),
            arm: arm.into(),
            seed,
            known: [("facts.new".to_string(), values.iter().enumerate().map(unit).collect())]
                .into(),
            general_bits: Some(2.0),
            since: Vec::new(),
            tokens: 10,
            cpu_seconds: seconds,
            train_seconds: seconds,
            seconds,
            processor: "one".into(),
            kpipe: "0".into(),
            commit: None,
        }
    }

    fn plan() -> Plan {
        let text = crate::ablate::plan::EXAMPLE.replace("\"none\"", "\"plain\"");
        toml::from_str(&text).unwrap()
    }

    /// Arms whose bits are made of a known effect of each factor, of their product, and of noise of
    /// seeds and things that is the same in all arms.
    fn planted(effects: [f64; 2], product: f64, things: usize) -> (Vec<Arm>, Outcomes) {
        let arms = plan().arms();
        let mut done = Outcomes::new();
        for arm in &arms {
            let sign = |high: bool| if high { 0.5 } else { -0.5 };
            let by_levels = match arm.levels.as_slice() {
                [a, b] => {
                    effects[0] * sign(*a) + effects[1] * sign(*b) + product * sign(*a) * sign(*b)
                }
                _ if arm.facts == Facts::Untrained => 0.0,
                _ => (effects[0] + effects[1]) / 2.0,
            };
            for seed in [1, 2, 3] {
                let noise = |nth: usize| draw::unit(seed, "noise", &nth.to_le_bytes());
                let values: Vec<f64> =
                    (0..things).map(|nth| 3.0 + noise(nth) - by_levels).collect();
                done.insert((arm.name.clone(), seed), outcome(&arm.name, seed, &values, 1.0));
            }
        }
        (arms, done)
    }

    #[test]
    fn planted_effects_are_found() {
        let (arms, done) = planted([0.4, -0.1], 0.7, 20);
        let told = report(&plan(), "p", &arms, &done);
        assert_eq!(told.seeds, [1, 2, 3]);
        let found: Vec<f64> = told.effects.iter().map(|one| one.difference.gain).collect();
        assert!((found[0] - 0.4).abs() < 1e-9 && (found[1] + 0.1).abs() < 1e-9, "{found:?}");
        assert!(told.effects.iter().all(|one| one.holm.unwrap() < 0.01));
        assert!(told.verdict[0].contains("`order` helps") && told.verdict[1].contains("harms"));
        let full = told.comparisons.iter().find(|one| one.arm == "full").unwrap();
        assert!((full.tokens.gain - 0.15).abs() < 1e-9, "{full:?}");

        // Where all levers together harm, that is what is said.
        let (arms, done) = planted([-0.4, -0.1], 0.0, 20);
        let told = report(&plan(), "p", &arms, &done);
        assert!(
            told.verdict.iter().any(|said| said.contains("teaches less")),
            "{:?}",
            told.verdict
        );
    }

    /// What is nothing but noise is not called an effect, and the least that would be seen is told.
    #[test]
    fn noise_is_no_effect() {
        let (arms, mut done) = planted([0.0, 0.0], 0.0, 20);
        for ((arm, seed), outcome) in &mut done {
            for (about, unit) in outcome.known.get_mut("facts.new").unwrap() {
                let key = format!("{arm} {about}");
                let bits = unit.choice.as_mut().unwrap();
                *bits += 0.2 * (draw::unit(*seed, "more", key.as_bytes()) - 0.5);
            }
        }
        let told = report(&plan(), "p", &arms, &done);
        for effect in &told.effects {
            let Difference { gain, low, high, least, .. } = effect.difference;
            assert!(low < gain && gain < high && gain.abs() < least, "{effect:?}");
        }
        assert!(told.verdict[0].contains("nothing shown"), "{:?}", told.verdict);
        assert!(told.signal_to_noise["facts.new"] < 1.0 || told.signal_to_noise["facts.new"] < 3.0);
    }

    /// By hand: of 0.01, 0.04 and 0.03 with three factors, 0.03, 0.06 and 0.06.
    #[test]
    fn holm_is_holms() {
        let effect = |p: f64| Effect {
            factor: p.to_string(),
            kind: "k".into(),
            difference: Difference {
                gain: 0.0,
                low: 0.0,
                high: 0.0,
                p,
                least: 0.0,
                seeds: 1,
                units: 1,
            },
            holm: None,
        };
        let mut effects = [0.01, 0.04, 0.03].map(effect);
        holm(&mut effects, "k");
        let found: Vec<f64> = effects.iter().map(|one| one.holm.unwrap()).collect();
        assert!(found.iter().zip([0.03, 0.06, 0.06]).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    /// An arm that takes half of the seconds more is set beside plain training half way to the
    /// longer one.
    #[test]
    fn equal_seconds_lie_between_the_two_lengths() {
        let mut done = Outcomes::new();
        for (name, bits, seconds) in
            [(PLAIN, 3.0, 10.0), (PLAIN_LONG, 2.0, 20.0), ("full", 2.2, 15.0)]
        {
            done.insert((name.to_string(), 1), outcome(name, 1, &[bits; 5], seconds));
        }
        let found = compare("full", "facts.new", &[1].into(), &done).unwrap();
        assert!((found.tokens.gain - 0.8).abs() < 1e-12);
        assert!((found.seconds.unwrap().gain - 0.3).abs() < 1e-12);

        // Beyond the longer one nothing is said.
        done.insert(("full".to_string(), 1), outcome("full", 1, &[2.2; 5], 25.0));
        let found = compare("full", "facts.new", &[1].into(), &done).unwrap();
        assert!(found.seconds.is_none() && (found.tokens.gain - 0.8).abs() < 1e-12);
    }
}
