//! `mining`: documents that are hard are read again, and what is noise counts less.
//!
//! Every document has a running mean of its loss, or where the strategy `teacher` is on of how far
//! that is above the teacher's (excess loss; Mindermann et al. 2022, arXiv:2206.07137), which what
//! nobody can learn does not have. Behind every `every`-th step all documents seen so far are
//! ranked by it. Those between two quantiles are hard: until the next ranking a `share` of the rows
//! are theirs, drawn by `exp(loss / temperature)`, each at most `reuse` times in a run. What is
//! above the upper quantile is taken for noise (in dataset cartography, arXiv:2009.10795, that
//! corner is mostly wrong labels): it is not read again, and counts `noise_weight` where it comes
//! in its order once more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::{At, Did, Kind, Probe, Saved, Section, Strategy};
use crate::draw;
use crate::error::{Error, Result};
use crate::train::data::again::Again;

/// See the module.
pub static MINING: Kind = Kind {
    name: "mining",
    about: "reads hard documents again, and lets noise count less",
    switch: "share",
    build: |section: Section| {
        let keys: Keys = section.parse()?;
        if keys.share == 0.0 {
            return Ok(None);
        }
        if keys.low >= keys.high {
            let Keys { low, high, .. } = keys;
            return Err(Error::usage(format!(
                "`train.strategy.mining.low` is {low}, which is not below `high`, {high}"
            ))
            .hint("the band of hard documents lies between the two; 0.7 and 0.95 are usual"));
        }
        Ok(Some(Box::new(Mining::new(keys))))
    },
};

/// The section `[train.strategy.mining]`.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Share of the rows that are read again, [0, 1); 0 reads none.
    share: f64,
    /// Steps from one ranking to the next, 1 and more.
    every: u64,
    /// Quantile of the losses that the hard documents begin at, [0, 1).
    low: f64,
    /// Quantile that they end at, (0, 1].
    high: f64,
    /// What is left of a document's mean at its next loss, [0, 1).
    decay: f64,
    /// How evenly hard documents are drawn, above 0: high for all alike.
    temperature: f64,
    /// Times that a document is read again at most, 1 and more.
    reuse: u32,
    /// What noise counts, [0, 1].
    noise_weight: f32,
}

/// What is known of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    /// Where it stands in the order.
    seq: u64,
    /// Running mean of its loss.
    loss: f32,
    /// Times it was read again.
    reused: u32,
}

/// See the module.
struct Mining {
    keys: Keys,
    /// By the documents' names.
    entries: BTreeMap<u64, Entry>,
    again: Again,
    /// The names of what is to be read again, in its order.
    names: VecDeque<u64>,
    /// Documents in the band at the last ranking.
    hard: usize,
}

impl Mining {
    fn new(keys: Keys) -> Self {
        let again = Again {
            every: keys.every,
            share: keys.share,
            documents: VecDeque::new(),
            noisy: BTreeSet::new(),
            noisy_weight: keys.noise_weight,
        };
        Mining { keys, entries: BTreeMap::new(), again, names: VecDeque::new(), hard: 0 }
    }

    /// Takes in the losses of a step.
    fn observe(&mut self, did: &Did) {
        for one in &did.documents {
            let loss = one.excess.unwrap_or(one.loss);
            let decay = self.keys.decay as f32;
            self.entries
                .entry(one.name)
                .and_modify(|entry| entry.loss = decay * entry.loss + (1.0 - decay) * loss)
                .or_insert(Entry { seq: one.seq, loss, reused: 0 });
        }
    }

    /// Chooses what is read again from the next step on.
    fn rank(&mut self, seed: u64, step: u64) {
        let mut ranked: Vec<(u64, Entry)> =
            self.entries.iter().map(|(name, entry)| (*name, *entry)).collect();
        ranked.sort_by(|(name, a), (other, b)| a.loss.total_cmp(&b.loss).then(name.cmp(other)));
        let at = |quantile: f64| (quantile * ranked.len() as f64).floor() as usize;
        let (low, high) = (at(self.keys.low), at(self.keys.high));
        let (below, noisy) = ranked.split_at(high);
        let band = &below[low.min(below.len())..];
        self.hard = band.len();
        self.again.noisy = noisy.iter().map(|(name, _)| *name).collect();

        let most = band.last().map_or(0.0, |(_, entry)| f64::from(entry.loss));
        let mut drawn: Vec<(f64, u64, u64)> = band
            .iter()
            .filter(|(_, entry)| entry.reused < self.keys.reuse)
            .map(|(name, entry)| {
                let weight = ((f64::from(entry.loss) - most) / self.keys.temperature).exp();
                let unit = draw::unit(seed, "mining", format!("{step}/{name:016x}").as_bytes());
                (draw::by_weight(unit, weight), *name, entry.seq)
            })
            .collect();
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.again.documents = drawn.iter().map(|(_, _, seq)| *seq).collect();
        self.names = drawn.iter().map(|(_, name, _)| *name).collect();
    }
}

impl Strategy for Mining {
    fn again(&self) -> Option<&Again> {
        Some(&self.again)
    }

    fn read_again(&mut self, seqs: &[u64]) {
        let n = seqs.len().min(self.names.len());
        self.again.documents.drain(..n);
        for name in self.names.drain(..n) {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.reused += 1;
            }
        }
    }

    fn after(&mut self, at: At, run: &Probe, did: &Did) -> Result<()> {
        self.observe(did);
        if at.step.is_multiple_of(self.keys.every) {
            self.rank(run.seed, at.step);
        }
        Ok(())
    }

    fn tell(&self) -> BTreeMap<String, f64> {
        [("mining.hard", self.hard), ("mining.noisy", self.again.noisy.len())]
            .map(|(name, n)| (name.to_string(), n as f64))
            .into()
    }

    fn save(&self) -> Saved {
        let entries = || self.entries.values();
        let columns = [
            ("names", numbers(self.entries.keys().copied())),
            ("seqs", numbers(entries().map(|entry| entry.seq))),
            ("losses", numbers(entries().map(|entry| u64::from(entry.loss.to_bits())))),
            ("reused", numbers(entries().map(|entry| u64::from(entry.reused)))),
            ("documents", numbers(self.again.documents.iter().copied())),
            ("waiting", numbers(self.names.iter().copied())),
            ("noisy", numbers(self.again.noisy.iter().copied())),
            ("hard", numbers(std::iter::once(self.hard as u64))),
        ];
        let tensors = columns.into_iter().filter_map(|(name, column)| Some((name, column.ok()?)));
        let tensors = tensors.map(|(name, column)| (name.to_string(), column)).collect();
        Saved { tensors, ..Saved::default() }
    }

    fn load(&mut self, kept: Saved, _: &Probe) -> Result<()> {
        let column = |name: &str| -> Result<Vec<u64>> {
            let column = kept.tensors.get(name);
            let column = column.ok_or_else(|| Error::data(format!("`mining` lacks `{name}`")))?;
            let column = column.to_dtype(DType::I64)?.to_vec1::<i64>()?;
            Ok(column.into_iter().map(i64::cast_unsigned).collect())
        };
        let [names, seqs, losses, reused] =
            [column("names")?, column("seqs")?, column("losses")?, column("reused")?];
        let entries = names.iter().zip(&seqs).zip(&losses).zip(&reused);
        self.entries = entries
            .map(|(((name, seq), loss), reused)| {
                let loss = f32::from_bits(*loss as u32);
                (*name, Entry { seq: *seq, loss, reused: *reused as u32 })
            })
            .collect();
        self.again.documents = column("documents")?.into();
        self.names = column("waiting")?.into();
        self.again.noisy = column("noisy")?.into_iter().collect();
        self.hard = column("hard")?.first().copied().unwrap_or(0) as usize;
        Ok(())
    }
}

/// Whole numbers as a tensor keeps them, bit for bit.
fn numbers(values: impl Iterator<Item = u64>) -> Result<Tensor> {
    let values: Vec<i64> = values.map(u64::cast_signed).collect();
    let n = values.len();
    Ok(Tensor::from_vec(values, n, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::tiny_encoder;
    use crate::train::model::Parameters;
    use crate::train::strategy::{DocumentLoss, Sample};

    const KEYS: Keys = Keys {
        share: 0.25,
        every: 10,
        low: 0.7,
        high: 0.95,
        decay: 0.5,
        temperature: 1.0,
        reuse: 2,
        noise_weight: 0.1,
    };

    fn did(losses: impl IntoIterator<Item = (u64, f32)>) -> Did {
        let of = |(name, loss)| DocumentLoss { seq: 1_000 + name, name, loss, excess: None };
        Did { documents: losses.into_iter().map(of).collect(), ..Did::default() }
    }

    /// 80 easy documents, 15 hard ones and 5 of noise.
    fn planted() -> Mining {
        let mut mining = Mining::new(Keys { low: 0.8, ..KEYS });
        mining.observe(&did((0..80).map(|name| (name, 1.0 + name as f32 / 100.0))));
        mining.observe(&did((80..95).map(|name| (name, 3.0 + name as f32 / 100.0))));
        mining.observe(&did((95..100).map(|name| (name, 9.0))));
        mining.rank(1, 10);
        mining
    }

    #[test]
    fn hard_documents_move_up_and_noise_does_not() {
        let mining = planted();
        let read: BTreeSet<u64> = mining.again.documents.iter().copied().collect();
        assert_eq!(read, (1_080..1_095).collect());
        assert_eq!(mining.again.noisy, (95..100).collect());
        assert_eq!(mining.tell()["mining.hard"], 15.0);
    }

    #[test]
    fn the_harder_are_drawn_before_and_a_high_temperature_draws_alike() {
        let firsts = |temperature: f64| {
            let mut n = 0;
            for step in 0..2_000 {
                let mut mining = Mining::new(Keys { low: 0.0, high: 1.0, temperature, ..KEYS });
                mining.observe(&did([(1, 1.0), (2, 2.0)]));
                mining.rank(1, step);
                n += usize::from(mining.again.documents[0] == 1_002);
            }
            n as f64 / 2_000.0
        };
        // e² / (e + e²)
        assert!((firsts(1.0) - 0.731).abs() < 0.03, "{}", firsts(1.0));
        assert!((firsts(1e3) - 0.5).abs() < 0.03, "{}", firsts(1e3));
    }

    #[test]
    fn means_run_and_no_document_is_read_again_too_often() {
        let mut mining = planted();
        mining.observe(&did([(0, 3.0)]));
        assert_eq!(mining.entries[&0].loss, 2.0);

        for _ in 0..2 {
            let all: Vec<u64> = mining.again.documents.iter().copied().collect();
            mining.read_again(&all);
            assert!(mining.again.documents.is_empty());
            mining.rank(1, 20);
        }
        assert!(mining.again.documents.is_empty(), "each was read twice");
    }

    #[test]
    fn what_is_saved_is_what_goes_on() {
        let mut mining = planted();
        let first = mining.again.documents[0];
        mining.read_again(&[first]);
        let mut other = Mining::new(KEYS);
        let kept = mining.save();
        let model = tiny_encoder();
        let parameters = Parameters::draw(&[], 1, DType::F32, &Device::Cpu).unwrap();
        let sample = Sample::new(|| Err(Error::data("nobody looks")));
        let run = Probe {
            model: &model,
            parameters: &parameters,
            sample: &sample,
            seed: 1,
            reader: None,
        };
        other.load(kept, &run).unwrap();
        assert_eq!((other.entries, other.again), (mining.entries, mining.again));
        assert_eq!(other.names, mining.names);
    }
}
