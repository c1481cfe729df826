//! An order of the trainer's own, for shards without a curriculum: from easy to hard by competence
//! (Platanios et al. 2019, arXiv:1903.09848) in the first epoch, and in any order in those behind
//! it, when all is within reach.
//!
//! Shards of other programs that do not say how hard their documents are, are ranked as that paper
//! does: by how rare their words are among those of the set.

use arrow::datatypes::Float32Type;

use crate::curriculum::order::paced;
use crate::difficulty::features::WordCounts;
use crate::draw;
use crate::error::{Error, Result};
use crate::train::data::again::name;
use crate::train::data::shards::Shards;
use crate::train::params::{Order, Params};

/// See the module.
pub struct Paced {
    /// The documents by their `seq`, the easiest first.
    pub(super) by_difficulty: Vec<u32>,
    start: f64,
    power: f64,
    seed: u64,
}

impl Paced {
    /// The order that the settings ask for; `None` where that is the shards' own.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn read(shards: &Shards, params: &Params, seed: u64) -> Result<Option<Self>> {
        if params.pacing.order == Order::Shards {
            return Ok(None);
        }
        let mut all: Vec<Easy> = Vec::new();
        let rarity = if shards.say("difficulty") { None } else { Some(words_of(shards)?) };
        let columns = ["id", if rarity.is_some() { "text" } else { "difficulty" }];
        shards.texts(&columns, |row| {
            let seq = u32::try_from(all.len())
                .map_err(|_| Error::data("there are more documents than can be paced"))?;
            let difficulty = match &rarity {
                Some(counts) => counts.rarity(row.string("text")?),
                None => row.value::<Float32Type>("difficulty")?,
            };
            all.push(Easy { difficulty, name: name(row.string("id")?), seq });
            Ok(0)
        })?;
        all.sort_by(|a, b| {
            a.difficulty.total_cmp(&b.difficulty).then(a.name.cmp(&b.name)).then(a.seq.cmp(&b.seq))
        });

        let (start, power) = (params.pacing.start, params.pacing.power);
        let by_difficulty = all.into_iter().map(|one| one.seq).collect();
        Ok(Some(Paced { by_difficulty, start, power, seed }))
    }

    /// The documents of an epoch by their `seq`, in the order they are taught.
    pub fn epoch(&self, epoch: u64) -> Vec<u32> {
        let mut draws = draw::stream(self.seed, "paced", &epoch.to_le_bytes());
        if epoch == 0 {
            return paced(&self.by_difficulty, self.start, self.power, &mut draws);
        }
        let mut all = self.by_difficulty.clone();
        draw::shuffle(&mut all, &mut draws);
        all
    }
}

/// How often each word stands in the shards.
fn words_of(shards: &Shards) -> Result<WordCounts> {
    let mut counts = WordCounts::pooled();
    shards.texts(&["text"], |row| {
        counts.add(row.string("text")?);
        Ok(0)
    })?;
    Ok(counts)
}

/// A document as it is ranked.
struct Easy {
    difficulty: f32,
    name: u64,
    seq: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::pacing::competence;

    /// Each document once; none before the competence has reached its rank.
    #[test]
    fn no_document_comes_before_its_time() {
        let n = 1_000_u32;
        let by_difficulty: Vec<u32> = (0..n).map(|rank| rank * 7 % n).collect();
        let order =
            Paced { by_difficulty: by_difficulty.clone(), start: 0.01, power: 2.0, seed: 1 };
        let first = order.epoch(0);
        let rank: std::collections::BTreeMap<u32, usize> =
            by_difficulty.iter().copied().zip(0..).collect();
        for (at, seq) in first.iter().enumerate() {
            let reached = competence((at + 1) as f64 / f64::from(n), 0.01, 2.0) * f64::from(n);
            assert!(rank[seq] < (reached.ceil() as usize).max(at + 1), "{at}: {}", rank[seq]);
        }
        let mean = |part: &[u32]| part.iter().map(|seq| rank[seq]).sum::<usize>() / part.len();
        assert!(mean(&first[..100]) < 250 && mean(&first[900..]) > 550);

        let second = order.epoch(1);
        assert!(mean(&second[..100]) > 400, "all is within reach");
        for mut epoch in [first, second] {
            epoch.sort_unstable();
            assert!(epoch.into_iter().eq(0..n));
        }
    }
}
