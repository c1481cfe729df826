//! `attention_kl`: how far each attention head has moved, as the divergence of what it looks at.
//!
//! `KL = mean over tokens of Σⱼ Aᵣⱼ ln(Aᵣⱼ / Aⱼ)` over a few rows that stay the same, against the
//! heads the run began with (`initial`) and those of the measurement before (`last`). Padding does
//! not count. Who asked for it reads it as how much a head has absorbed; it says how much it has
//! changed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::maps::{Map, Maps};
use super::{At, Did, Kind, Probe, Saved, Section, Strategy};
use crate::error::Result;

/// Weights below this count as this: f32 rounds smaller ones to 0.
const LEAST: f64 = 1e-12;

/// See the module.
pub static ATTENTION_KL: Kind = Kind {
    name: "attention_kl",
    about: "measures how far each attention head has moved, and changes nothing",
    switch: "every",
    build: |section: Section| {
        let Keys { every } = section.parse()?;
        let (initial, last, told) = Default::default();
        let found = AttentionKl { every, initial, last, told };
        Ok(if every > 0 { Some(Box::new(found)) } else { None })
    },
};

/// The section `[train.strategy.attention_kl]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Steps between two measurements; 0 measures none.
    every: u64,
}

/// See the module.
struct AttentionKl {
    every: u64,
    initial: Maps,
    last: Maps,
    /// What the step before came to.
    told: BTreeMap<String, f64>,
}

impl Strategy for AttentionKl {
    fn begin(&mut self, run: &Probe) -> Result<()> {
        self.initial = Maps::of(run)?;
        self.last = self.initial.clone();
        Ok(())
    }

    fn after(&mut self, at: At, run: &Probe, _: &Did) -> Result<()> {
        self.told.clear();
        if !at.step.is_multiple_of(self.every) && at.step != at.total {
            return Ok(());
        }
        let (now, inputs) = (Maps::of(run)?, run.sample.inputs()?);
        for (before, what) in [(&self.initial, "initial"), (&self.last, "last")] {
            for step in now.steps() {
                tell(step, &before.read(step, inputs)?, &now.read(step, inputs)?, what)
                    .for_each(|(name, found)| _ = self.told.insert(name, found));
            }
        }
        self.last = now;
        Ok(())
    }

    fn tell(&self) -> BTreeMap<String, f64> {
        self.told.clone()
    }

    fn save(&self) -> Saved {
        let tensors = self.initial.named("initial").chain(self.last.named("last")).collect();
        Saved { tensors, ..Saved::default() }
    }

    fn load(&mut self, kept: Saved, _: &Probe) -> Result<()> {
        self.initial = Maps::take(&kept.tensors, "initial")?;
        self.last = Maps::take(&kept.tensors, "last")?;
        Ok(())
    }
}

/// The divergences of all heads of a step, and their mean, by name.
fn tell(
    step: usize,
    before: &[Map],
    now: &[Map],
    what: &str,
) -> impl Iterator<Item = (String, f64)> {
    let mut heads: Vec<(String, f64)> = Vec::new();
    for (nth, (before, now)) in before.iter().zip(now).enumerate() {
        // A decoder looks at its encoder by heads of its own.
        let crossed = if nth > 0 { ".crossed" } else { "" };
        heads.extend((0..now.heads).map(|head| {
            let name = format!("attention_kl.{step}{crossed}.{head}.{what}");
            (name, divergence(before.of_head(head), now.of_head(head)))
        }));
    }
    let mean = heads.iter().map(|(_, found)| found).sum::<f64>() / heads.len().max(1) as f64;
    heads.into_iter().chain([(format!("attention_kl.{step}.{what}"), mean)])
}

/// See the module; the larger of it and 0, below which it is by rounding alone.
fn divergence<'a>(
    reference: impl Iterator<Item = (usize, &'a [f32])>,
    now: impl Iterator<Item = (usize, &'a [f32])>,
) -> f64 {
    let (mut sum, mut n) = (0.0, 0_usize);
    for ((_, reference), (_, now)) in reference.zip(now) {
        let weights = reference.iter().zip(now).filter(|(reference, _)| **reference > 0.0);
        sum += weights
            .map(|(reference, now)| {
                let [reference, now] = [*reference, *now].map(|x| f64::from(x).max(LEAST));
                reference * (reference / now).ln()
            })
            .sum::<f64>();
        n += 1;
    }
    (sum / n.max(1) as f64).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(weights: &[[f32; 3]]) -> impl Iterator<Item = (usize, &[f32])> {
        weights.iter().map(<[f32; 3]>::as_slice).enumerate()
    }

    /// `scipy.stats.entropy(reference, now)` of each row, and their mean.
    #[test]
    fn the_divergence_is_that_of_scipy() {
        let reference = [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]];
        let now = [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]];
        let right = (0.173_286_795_139_986_33 + std::f64::consts::LN_2) / 2.0;
        let found = divergence(rows(&reference), rows(&now));
        assert!((found - right).abs() < 1e-12, "{found}, not {right}");

        assert_eq!(divergence(rows(&now), rows(&now)), 0.0);
        assert_eq!(divergence(rows(&[]), rows(&[])), 0.0);
        // What was seen and is no longer is finite.
        let gone = divergence(rows(&[[1.0, 0.0, 0.0]]), rows(&[[0.0, 1.0, 0.0]]));
        assert!((gone - -LEAST.ln()).abs() < 1e-9, "{gone}");
    }
}
