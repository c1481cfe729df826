//! What a model knows of what probes ask, by kind and by what they are about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::Model;
use crate::error::Result;
use crate::train::ask::{Request, log_sum_exp};
use crate::train::data::probes::Probe;

/// What is known of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Probes.
    pub n: u32,
    /// Their mean bits per byte of the right answer, what stands behind it included.
    pub bits: f64,
    /// Share of them where it is the most probable for its length; none where there is nothing to
    /// choose from.
    pub right: Option<f64>,
    /// Mean bits of the right answer among those to choose from: what is left when it is known that
    /// it is one of them. Of five, 2.32 where nothing more is known. None where there is nothing to
    /// choose from.
    pub choice: Option<f64>,
}

impl Unit {
    /// Both together; those of one kind have all something to choose from, or none has.
    pub fn and(self, other: Unit) -> Unit {
        if self.n == 0 {
            return other;
        }
        let (own, more) = (f64::from(self.n), f64::from(other.n));
        let mean = |a: f64, b: f64| (a * own + b * more) / (own + more);
        Unit {
            n: self.n + other.n,
            bits: mean(self.bits, other.bits),
            right: self.right.zip(other.right).map(|(a, b)| mean(a, b)),
            choice: self.choice.zip(other.choice).map(|(a, b)| mean(a, b)),
        }
    }
}

/// By kind of probes, and by what they are about.
pub type Known = BTreeMap<String, BTreeMap<String, Unit>>;

/// Asks a model all probes.
///
/// # Errors
/// If a probe has more tokens than a row of the model, or the device fails.
pub fn ask(model: &Model, probes: &[Probe]) -> Result<Known> {
    let request = |one: &Probe, choice: &String| Request {
        context: one.context.clone(),
        continuation: one.continuation(choice),
    };
    let requests: Vec<Request> = probes
        .iter()
        .flat_map(|one| one.choices.iter().map(|choice| request(one, choice)))
        .collect();
    let log_probs = model.ask().judge(&requests)?;

    let (mut found, mut rest) = (Known::new(), log_probs.as_slice());
    for one in probes {
        let (own, behind) = rest.split_at(one.choices.len());
        rest = behind;
        let bytes = |choice: &String| (choice.len() + one.behind.len()).max(1) as f64;
        let by_length: Vec<f64> =
            own.iter().zip(&one.choices).map(|(of, choice)| of / bytes(choice)).collect();
        let gold = by_length[one.answer];
        let is_best = by_length.iter().enumerate().all(|(nth, of)| nth == one.answer || *of < gold);
        let right = if is_best { 1.0 } else { 0.0 };
        let has_choice = one.choices.len() > 1;
        let unit = Unit {
            n: 1,
            bits: -gold / std::f64::consts::LN_2,
            right: has_choice.then_some(right),
            choice: has_choice.then(|| among(own, one.answer)),
        };
        let of_kind = found.entry(one.kind.clone()).or_default();
        let own = of_kind.entry(one.about.clone()).or_default();
        *own = own.and(unit);
    }
    Ok(found)
}

/// Bits of one of some outcomes, whose log-probabilities are in nats, where it is one of them.
fn among(log_probs: &[f64], answer: usize) -> f64 {
    (log_sum_exp(log_probs) - log_probs[answer]) / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_pooled_by_how_many_probes_they_are_of() {
        let unit = |n, bits, right| Unit { n, bits, right, choice: right };
        let all = Unit::default().and(unit(1, 4.0, Some(1.0))).and(unit(3, 2.0, Some(0.0)));
        assert_eq!(all, unit(4, 2.5, Some(0.25)));
        assert_eq!(unit(1, 1.0, None).and(unit(1, 3.0, None)), unit(2, 2.0, None));
    }

    #[test]
    fn a_guess_among_five_takes_the_bits_of_five() {
        assert!((among(&[-7.0; 5], 3) - 5.0_f64.log2()).abs() < 1e-12);
        assert!((among(&[-1.0, -1.0 - 3.0_f64.ln()], 0) - (4.0_f64 / 3.0).log2()).abs() < 1e-12);
    }
}
