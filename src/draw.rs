//! Random draws as pure functions of what they are for.
//!
//! A draw is keyed by meaning (seed, what, which), never by call order, so it is the same for any
//! number of threads and after any restart. The key is hashed with xxh3 into the seed of a ChaCha8
//! stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// A stream of random numbers for `key`, such as `draw::stream(seed, "synonym", id.as_bytes())`.
pub fn stream(seed: u64, purpose: &str, key: &[u8]) -> ChaCha8Rng {
    let domain = xxh3_64_with_seed(purpose.as_bytes(), seed);
    let (low, high) =
        (xxh3_128_with_seed(key, domain), xxh3_128_with_seed(key, domain ^ 0x9e37_79b9_7f4a_7c15));
    let mut bytes = [0_u8; 32];
    bytes[..16].copy_from_slice(&low.to_le_bytes());
    bytes[16..].copy_from_slice(&high.to_le_bytes());
    ChaCha8Rng::from_seed(bytes)
}

/// One uniform number in `[0, 1)` for `key`.
pub fn unit(seed: u64, purpose: &str, key: &[u8]) -> f64 {
    to_unit(xxh3_64_with_seed(key, xxh3_64_with_seed(purpose.as_bytes(), seed)))
}

/// The next uniform number in `[0, 1)` of a stream.
pub fn next_unit(stream: &mut ChaCha8Rng) -> f64 {
    to_unit(stream.next_u64())
}

/// The next uniform number in `0..n` of a stream (Lemire's multiply-shift; bias below n / 2^64).
pub fn next_below(stream: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(stream.next_u64()) * n as u128) >> 64) as usize
}

/// Puts items into an order drawn from a stream, each order with equal probability (Fisher–Yates).
pub fn shuffle<T>(items: &mut [T], stream: &mut ChaCha8Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, next_below(stream, at + 1));
    }
}

/// The next standard normal number of a stream (Box–Muller).
pub fn next_normal(stream: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - next_unit(stream)).ln()).sqrt();
    radius * (std::f64::consts::TAU * next_unit(stream)).cos()
}

fn to_unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a thing of this `weight`, above 0, is sorted by, from `unit` in `[0, 1)`: the things with
/// the largest are a sample drawn by weight, one after the other without putting back (Efraimidis
/// and Spirakis 2006).
pub fn by_weight(unit: f64, weight: f64) -> f64 {
    unit.max(f64::MIN_POSITIVE).ln() / weight.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_draw() {
        assert_eq!(unit(7, "a", b"k"), unit(7, "a", b"k"));
        assert_ne!(unit(7, "a", b"k"), unit(7, "b", b"k"));
        assert_ne!(unit(7, "a", b"k"), unit(8, "a", b"k"));
        assert_eq!(stream(7, "a", b"k").next_u64(), stream(7, "a", b"k").next_u64());
    }

    /// Chi-squared over 64 cells with 64,000 sequential keys; 63 degrees of freedom, p = 0.001 at
    /// 103.4.
    #[test]
    fn draws_over_sequential_keys_are_uniform() {
        let mut cells = [0_f64; 64];
        for key in 0..64_000_u64 {
            cells[(unit(1, "cells", &key.to_le_bytes()) * 64.0) as usize] += 1.0;
        }
        let chi: f64 = cells.iter().map(|n| (n - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 103.4, "{chi}");
    }

    /// The first of two is the heavier one in three of four cases where it weighs three times as
    /// much.
    #[test]
    fn the_heavier_is_drawn_first_more_often() {
        let first = (0..20_000_u32).filter(|key| {
            let of = |name| unit(1, name, &key.to_le_bytes());
            by_weight(of("heavy"), 3.0) > by_weight(of("light"), 1.0)
        });
        let share = first.count() as f64 / 20_000.0;
        assert!((share - 0.75).abs() < 0.01, "{share}");
    }

    #[test]
    fn normal_draws_have_mean_0_and_variance_1() {
        let mut rng = stream(3, "normal", b"");
        let draws: Vec<f64> = (0..20_000).map(|_| next_normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        let below: Vec<usize> = (0..100).map(|_| next_below(&mut rng, 3)).collect();
        assert!(below.contains(&0) && below.contains(&2) && below.iter().all(|n| *n < 3));
    }
}
