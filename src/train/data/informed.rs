//! How much words tell of one another: the pointwise mutual information of words that stand near
//! one another, counted over a sample of the shards (InforMask, Sadeq et al. 2022,
//! arXiv:2210.11771).

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::draw;
use crate::error::Result;
use crate::train::data::shards::Shards;
use crate::train::data::tokenizer::{Pieces, Tokenizer};

/// Characters that are counted over, about; more changes little.
const SAMPLE_CHARS: f64 = 5e6;
/// Words that are counted: the most frequent ones, and of these only what occurs so often.
const MOST_WORDS: usize = 20_000;
const LEAST: usize = 5;
/// Words between two that count as near; InforMask has a window of 11.
const NEAR: usize = 10;

/// See the module.
pub struct Informed {
    /// Hashes of the words' pieces, sorted.
    words: Vec<u64>,
    /// Two words each, by their numbers, the lower first; sorted.
    pairs: Vec<u64>,
    /// Of each pair, in nats.
    information: Vec<f32>,
}

impl Informed {
    /// Counts over a sample of the shards.
    ///
    /// # Errors
    /// If a shard cannot be read or the tokenizer fails.
    pub fn read(shards: &Shards, tokenizer: &Tokenizer, seed: u64) -> Result<Self> {
        let total: u64 = shards.texts(&["n_chars"], |row| row.number("n_chars"))?;
        let share = SAMPLE_CHARS / total.max(1) as f64;
        let mut documents: Vec<Vec<u64>> = Vec::new();
        shards.texts(&["id", "text"], |row| {
            if draw::unit(seed, "informed", row.string("id")?.as_bytes()) < share {
                let pieces = tokenizer.pieces(row.string("text")?)?;
                documents.push(words(&pieces).map(|word| hash(&pieces.ids[word])).collect());
            }
            Ok(0)
        })?;
        Ok(Self::count(&documents))
    }

    /// Counts over documents of words.
    fn count(documents: &[Vec<u64>]) -> Self {
        let mut all: Vec<u64> = documents.concat();
        all.sort_unstable();
        let mut counted: Vec<&[u64]> =
            all.chunk_by(|a, b| a == b).filter(|same| same.len() >= LEAST).collect();
        counted.sort_by(|a, b| b.len().cmp(&a.len()).then(a[0].cmp(&b[0])));
        let mut words: Vec<u64> = counted.iter().take(MOST_WORDS).map(|same| same[0]).collect();
        words.sort_unstable();

        let mut near: Vec<u64> = Vec::new();
        for document in documents {
            let numbers: Vec<Option<u32>> =
                document.iter().map(|word| find(&words, *word)).collect();
            for (at, one) in numbers.iter().enumerate() {
                let Some(one) = one else { continue };
                let behind = numbers[at + 1..].iter().take(NEAR).flatten();
                near.extend(behind.filter(|other| *other != one).map(|other| pair(*one, *other)));
            }
        }
        near.sort_unstable();

        let mut of_word = vec![0_u64; words.len()];
        for pair in &near {
            of_word[(pair >> 32) as usize] += 1;
            of_word[(pair & 0xffff_ffff) as usize] += 1;
        }
        // Each pair counts for both of its words.
        let total = 2.0 * near.len() as f64;
        let (mut pairs, mut information) = (Vec::new(), Vec::new());
        for same in near.chunk_by(|a, b| a == b) {
            let [one, other] = [same[0] >> 32, same[0] & 0xffff_ffff];
            let expected = of_word[one as usize] as f64 * of_word[other as usize] as f64;
            pairs.push(same[0]);
            information.push((same.len() as f64 * total / expected).ln() as f32);
        }
        Informed { words, pairs, information }
    }

    /// What each of two words tells of the other, for all groups of these pieces; 0 where they were
    /// not seen near one another. Row by row.
    pub fn between(&self, pieces: &Pieces, groups: &[Range<usize>]) -> Vec<f32> {
        let numbers: Vec<Option<u32>> = groups
            .iter()
            .map(|group| find(&self.words, hash(&pieces.ids[group.clone()])))
            .collect();
        let of = |one: Option<u32>, other: Option<u32>| {
            let (one, other) = (one?, other?);
            let at = self.pairs.binary_search(&pair(one, other)).ok()?;
            (one != other).then(|| self.information[at])
        };
        numbers
            .iter()
            .flat_map(|one| numbers.iter().map(move |other| of(*one, *other).unwrap_or(0.0)))
            .collect()
    }
}

/// The words of a text, in order.
fn words(pieces: &Pieces) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    pieces.words.chunk_by(|a, b| a == b).map(move |same| {
        end += same.len();
        end - same.len()..end
    })
}

fn hash(ids: &[u32]) -> u64 {
    xxh3_64(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())
}

fn find(words: &[u64], word: u64) -> Option<u32> {
    words.binary_search(&word).ok().map(|at| at as u32)
}

fn pair(one: u32, other: u32) -> u64 {
    u64::from(one.min(other)) << 32 | u64::from(one.max(other))
}

/// What masked words tell of those that stay in view: the sum over the masked of the mean over the
/// others. `between` is that of all words, row by row.
pub fn relevance(between: &[f32], is_masked: &[bool]) -> f64 {
    let n = is_masked.len();
    let left = is_masked.iter().filter(|masked| !**masked).count().max(1) as f64;
    let masked = (0..n).filter(|row| is_masked[*row]);
    let told = masked.flat_map(|row| {
        let others = between[row * n..][..n].iter().zip(is_masked).filter(|(_, masked)| !**masked);
        others.map(|(told, _)| f64::from(*told))
    });
    told.sum::<f64>() / left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against counting every pair by hand: "hay fever" stand together, "the" with all.
    #[test]
    fn words_that_stand_together_tell_of_one_another() {
        let [hay, fever, the, asthma] = [1_u32, 2, 3, 4].map(|id| hash(&[id]));
        let mut documents = vec![vec![the, hay, fever]; 10];
        documents.extend(vec![vec![the, asthma]; 10]);
        let informed = Informed::count(&documents);
        let pieces = Pieces { ids: vec![1, 2, 3, 4, 9], words: vec![0, 1, 2, 3, 4], marks: vec![] };
        let groups: Vec<Range<usize>> = (0..5).map(|at| at..at + 1).collect();
        let found = informed.between(&pieces, &groups);
        // Pairs: the-hay 10, the-fever 10, hay-fever 10, the-asthma 10; of 40 pairs.
        let marginal = [20.0, 20.0, 30.0, 10.0];
        let pmi = |n: f64, a: usize, b: usize| (n * 80.0 / (marginal[a] * marginal[b])).ln() as f32;
        let right = |a: usize, b: usize| match (a.min(b), a.max(b)) {
            (0, 1) => pmi(10.0, 0, 1),
            (0 | 1, 2) => pmi(10.0, a, b),
            (2, 3) => pmi(10.0, 2, 3),
            _ => 0.0,
        };
        for one in 0..5 {
            for other in (0..5).filter(|other| *other != one) {
                let told = found[one * 5 + other];
                assert!((told - right(one, other)).abs() < 1e-6, "{one} {other}: {told}");
            }
        }
        // Of "hay fever the", "hay" tells more of the others than "the" does.
        let three = informed.between(&pieces, &groups[..3]);
        let of = |masked: [bool; 3]| relevance(&three, &masked);
        assert!(of([true, false, false]) > of([false, false, true]));
        let both = f64::from(2.0 * pmi(10.0, 0, 2));
        assert!((of([true, true, false]) - both).abs() < 1e-6, "what is masked tells nothing");
    }
}
