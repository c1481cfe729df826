//! MinHash signatures in one pass over the shingles, and the bands that propose candidates.
//!
//! Classic MinHash hashes every shingle once for every row of the signature. Here a shingle is
//! hashed once and competes for one row only; rounds are repeated, each with a fresh hash, until
//! every row has a winner, and rows still empty after as many rounds as rows get a round of their
//! own (Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching", FOCS 2017). Like MinHash, two
//! rows are equal with probability exactly J, the Jaccard similarity of the sets, with errors no
//! wider than those of independent rows; the cost falls from `n × rows` to `n + rows × ln rows`
//! hashes a text.
//!
//! The hashes are keyed by constants and not by the run's seed, so a text has the same signature in
//! every run.

/// Most rows of a signature; a row's round number must fit above its 48 hash bits.
pub const MAX_ROWS: usize = 4_096;

/// A row that no shingle has won yet. Greater than every real value.
const EMPTY: u64 = u64::MAX;

/// Puts the signature of a set of shingle hashes into `signature`, whose length says how many rows
/// it has.
///
/// Repeats and order of the shingles change nothing; neither need they be well mixed. Without any
/// shingle all rows are `u64::MAX`; such signatures must not be compared.
pub fn sign(shingles: &[u64], signature: &mut [u64]) {
    signature.fill(EMPTY);
    if shingles.is_empty() || signature.is_empty() {
        return;
    }
    let n = signature.len() as u64;
    let row_of = |hash: u64| (((hash >> 32) * n) >> 32) as usize;
    let mixed: Vec<u64> = shingles.iter().map(|shingle| mix(*shingle)).collect();
    // Every row is written whether it changes or not: while many rows are open, a branch would be
    // foreseen badly.
    let compete = |signature: &mut [u64], round: u64, hash: u64| {
        let row = &mut signature[row_of(hash)];
        *row = (*row).min(value(round, hash));
    };
    mixed.iter().for_each(|hash| compete(signature, 0, *hash));

    for round in 1..n {
        if signature.iter().all(|row| *row != EMPTY) {
            return;
        }
        let key = round_key(round);
        mixed.iter().for_each(|mixed| compete(signature, round, fold(mixed ^ key)));
    }

    for (round, row) in (n..).zip(signature.iter_mut()).filter(|(_, row)| **row == EMPTY) {
        let key = round_key(round);
        *row = mixed.iter().map(|mixed| value(round, fold(mixed ^ key))).min().unwrap_or(EMPTY);
    }
}

/// Earlier rounds win; within a round the smaller hash does.
fn value(round: u64, hash: u64) -> u64 {
    (round << 48) | (hash >> 16)
}

fn round_key(round: u64) -> u64 {
    mix((round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A bijection that spreads every bit over all bits (the finaliser of SplitMix64, Steele et al.
/// 2014).
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Another hash of what [`mix`] has spread already, for half its cost: the two halves of a 128-bit
/// product, folded (as in wyhash).
fn fold(mixed: u64) -> u64 {
    let product = u128::from(mixed) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    product as u64 ^ (product >> 64) as u64
}

/// Share of equal rows of two signatures: an unbiased estimate of J with a standard error of about
/// `sqrt(J (1 - J) / rows)`.
pub fn estimate(a: &[u64], b: &[u64]) -> f64 {
    let equal = a.iter().zip(b).filter(|(x, y)| x == y).count();
    equal as f64 / a.len().max(1) as f64
}

/// One key a band: the hash of its `rows` rows of the signature. Never 0, which stands for "no
/// key".
pub fn band_keys(signature: &[u64], rows: usize) -> impl Iterator<Item = u64> {
    signature
        .chunks_exact(rows.max(1))
        .map(|band| band.iter().fold(0, |key, row| mix(key ^ row)).max(1))
}

/// Probability that two texts of Jaccard similarity `jaccard` share at least one band: `1 - (1 -
/// J^rows)^bands`.
pub fn collision_probability(jaccard: f64, bands: usize, rows: usize) -> f64 {
    1.0 - (1.0 - jaccard.powi(rows as i32)).powi(bands as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sets of about `n` elements together with `shared` in common; small integers, so badly
    /// mixed on purpose.
    fn pair(case: u64, n: u64, shared: u64) -> (Vec<u64>, Vec<u64>) {
        let base = case * 1_000_003;
        let alone = n - shared;
        let a = (0..shared + alone / 2).map(|i| base + i).collect();
        let b = (0..shared).chain(shared + alone / 2..n).map(|i| base + i).collect();
        (a, b)
    }

    fn signature(set: &[u64], rows: usize) -> Vec<u64> {
        let mut rows = vec![0; rows];
        sign(set, &mut rows);
        rows
    }

    /// Over 2,000 pairs a case: the mean error lies within 3 standard errors of 0 (unbiased), and
    /// the spread of the estimates does not exceed that of 112 independent rows by more than chance
    /// (10 %).
    #[test]
    fn estimates_are_unbiased_and_as_narrow_as_independent_rows() {
        for (n, shared) in
            [(10, 8), (20, 10), (60, 48), (100, 30), (200, 160), (500, 250), (2_000, 1_600)]
        {
            let truth = shared as f64 / n as f64;
            let sigma = (truth * (1.0 - truth) / 112.0).sqrt();
            let errors: Vec<f64> = (0..2_000)
                .map(|case| {
                    let (a, b) = pair(case, n, shared);
                    estimate(&signature(&a, 112), &signature(&b, 112)) - truth
                })
                .collect();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            let spread = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
            assert!(
                mean.abs() < 3.0 * sigma / (errors.len() as f64).sqrt(),
                "n {n}, J {truth}: mean error {mean}"
            );
            assert!(spread < 1.1 * sigma, "n {n}, J {truth}: spread {spread} against {sigma}");
        }
    }

    /// Bands propose as often as theory says: within 3.5 binomial standard errors, plus 0.02 for
    /// rows that are drawn without replacement.
    #[test]
    fn bands_propose_with_the_stated_probability() {
        let cases = 2_000_u64;
        for (n, shared) in
            [(50, 30), (50, 40), (300, 180), (300, 210), (300, 240), (300, 270), (1_000, 500)]
        {
            let expected = collision_probability(shared as f64 / n as f64, 14, 8);
            let hits = (0..cases)
                .filter(|case| {
                    let (a, b) = pair(*case, n, shared);
                    let (a, b) = (signature(&a, 112), signature(&b, 112));
                    band_keys(&a, 8).zip(band_keys(&b, 8)).any(|(x, y)| x == y)
                })
                .count();
            let found = hits as f64 / cases as f64;
            let error = (expected * (1.0 - expected) / cases as f64).sqrt();
            assert!(
                (found - expected).abs() < 3.5 * error + 0.02,
                "n {n} of {shared}: {found} against {expected}"
            );
        }
    }

    #[test]
    fn order_and_repeats_change_nothing() {
        let (a, _) = pair(3, 90, 40);
        let mut shuffled: Vec<u64> = a.iter().rev().copied().collect();
        shuffled.extend(&a);
        assert_eq!(signature(&a, 112), signature(&shuffled, 112));
        assert!(signature(&a, 112).iter().all(|row| *row != EMPTY));
        assert!(signature(&[7], 112).iter().all(|row| *row != EMPTY));
        assert_eq!(signature(&[], 4), [EMPTY; 4]);
        assert_eq!(band_keys(&signature(&a, 112), 8).count(), 14);
    }
}
