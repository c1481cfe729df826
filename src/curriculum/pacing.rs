//! How many positions there are and what each window of them holds: pure arithmetic.
//!
//! Competence-based curriculum (Platanios et al. 2019, arXiv:1903.09848, eq. 5), mapped onto
//! shares: behind the general opening the share of domain text, and the share of hard text, grow
//! with the competence `c(t) = min(1, (t·(1 − c0^p) + c0^p)^(1/p))`, as `peak · (c(t) − c(t0)) / (1
//! − c(t0))`.
//!
//! Every document is used, so the peaks follow from the counts: the number of positions `T` is the
//! smallest for which no peak passes its cap. Where the caps need more general text than there is,
//! general documents are repeated, up to `repeat_max` times: more than about four repetitions teach
//! next to nothing (Muennighoff et al. 2023, arXiv:2305.16264). Where that does not do, the shares
//! bend: the opening and the replay keep their proportion, and paced text fills what is left.

use serde::{Deserialize, Serialize};

use crate::curriculum::Params;

/// Competence at progress `t` in `[0, 1]`; in `[c0, 1]`.
pub fn competence(t: f64, start: f64, power: f64) -> f64 {
    let base = start.powf(power);
    (t.clamp(0.0, 1.0) * (1.0 - base) + base).powf(1.0 / power).min(1.0)
}

/// Kinds of documents that are paced apart, in the order of [`Counts`].
pub const STRATA: [&str; 4] = ["general", "general_hard", "domain", "domain_hard"];

/// How many documents, or positions, of each of [`STRATA`].
pub type Counts = [u64; 4];

/// How the training positions are shared out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pacing {
    /// Positions in all.
    pub n_positions: u64,
    /// Positions of the opening, general text only.
    pub n_first: u64,
    /// Positions of each stratum, in the order of [`STRATA`].
    pub n_of: Counts,
    /// Share of domain text at the last position.
    pub domain_peak: f64,
    /// Share of hard text at the last position.
    pub hard_peak: f64,
    /// Positions of general, not hard, text that the caps ask for.
    #[serde(default)]
    pub n_wanted: u64,
    /// Greatest share of paced text at any position.
    #[serde(default = "whole")]
    most: f64,
    window: usize,
    start: f64,
    power: f64,
}

fn whole() -> f64 {
    1.0
}

impl Pacing {
    /// Shares out positions for `docs` documents of each stratum, each used at least once.
    ///
    /// Without general, not hard, text there is no opening and nothing to stretch with: every
    /// document stands once and the caps do not apply.
    pub fn new(docs: Counts, params: &Params) -> Self {
        let total: u64 = docs.iter().sum();
        let [easy, general_hard, domain, domain_hard] = docs;
        let mut pacing = Pacing {
            n_positions: total,
            n_first: 0,
            n_of: docs,
            domain_peak: 0.0,
            hard_peak: 0.0,
            n_wanted: easy,
            most: 1.0,
            window: params.window,
            start: params.competence_start,
            power: params.competence_power,
        };

        let paced = total - easy;
        if easy == 0 || paced == 0 {
            return pacing;
        }
        let mean = pacing.mean_share(params.general_first) * (1.0 - params.general_first);
        let need = |n: u64, cap: f64| (n as f64 / (mean * cap)).ceil() as u64;
        pacing.n_positions = total
            .max(need(domain + domain_hard, params.domain_max))
            .max(need(general_hard + domain_hard, params.hard_max))
            .max(need(paced, 1.0 - params.replay_min));
        pacing.n_first = (pacing.n_positions as f64 * params.general_first).floor() as u64;
        pacing.n_of[0] = pacing.n_positions - paced;
        pacing.n_wanted = pacing.n_of[0];
        let most = params.repeat_max.saturating_mul(easy);
        let peak = match most > 0 && most < pacing.n_wanted {
            true => pacing.bend(most, paced, params.replay_min) / paced as f64,
            false => 1.0 / (mean * pacing.n_positions as f64),
        };
        pacing.domain_peak = peak * (domain + domain_hard) as f64;
        pacing.hard_peak = peak * (general_hard + domain_hard) as f64;

        pacing
    }

    /// Makes do with `most` positions of general text; gives the share of paced text at the last
    /// position.
    fn bend(&mut self, most: u64, paced: u64, replay_min: f64) -> f64 {
        let opening = self.n_first as f64 / self.n_wanted as f64;
        self.n_of[0] = most;
        self.n_positions = paced + most;
        self.n_first = (opening * most as f64).floor() as u64;
        let n = self.n_positions - self.n_first;
        // Replay is kept up where there is enough for it, and spread evenly where there is not.
        self.most = (1.0 - replay_min).max(paced as f64 / n as f64);
        let grows = self.grown_share(n);
        (grows[n as usize] - grows[n as usize - 1]) * paced as f64
    }

    /// How far the paced shares have grown at progress `t`, in `[0, 1]`; 0 up to `first`.
    fn share(&self, t: f64, first: f64) -> f64 {
        let at_first = competence(first, self.start, self.power);
        if t <= first || at_first >= 1.0 {
            return if at_first >= 1.0 && t > first { 1.0 } else { 0.0 };
        }
        (competence(t, self.start, self.power) - at_first) / (1.0 - at_first)
    }

    /// Mean of [`Pacing::share`] over `(first, 1]`, by the midpoint rule.
    fn mean_share(&self, first: f64) -> f64 {
        let n = 10_000;
        let at = |k: usize| first + (1.0 - first) * (k as f64 + 0.5) / f64::from(n);
        (0..n as usize).map(|k| self.share(at(k), first)).sum::<f64>() / f64::from(n)
    }

    /// Exact counts of each stratum for every window behind the opening, in order; the last may be
    /// shorter.
    ///
    /// In each window every stratum gets its share rounded down or up, by the largest deficit so
    /// far, so that at the end of each window the counts are within one of the pacing and at the
    /// last all are used.
    pub fn windows(&self) -> Vec<Counts> {
        let n = self.n_positions - self.n_first;
        if n == 0 {
            return Vec::new();
        }
        let grows = self.grown_share(n);
        let paced: Vec<f64> = self.n_of[1..].iter().map(|n| *n as f64).collect();
        let mut given: Counts = [0; 4];
        let mut windows = Vec::new();
        let mut begin = 0;

        while begin < n {
            let end = (begin + self.window as u64).min(n);
            let grown = grows[end as usize];
            let mut target = [0.0, paced[0] * grown, paced[1] * grown, paced[2] * grown];
            target[0] = end as f64 - target[1..].iter().sum::<f64>();
            let mut window: Counts = [0; 4];

            for _ in begin..end {
                let deficit = |s: usize| target[s] - (given[s] + window[s]) as f64;
                let next = (0..4)
                    .fold(0, |best, s| if deficit(s) > deficit(best) + 1e-9 { s } else { best });
                window[next] += 1;
            }

            (0..4).for_each(|s| given[s] += window[s]);
            windows.push(window);
            begin = end;
        }

        windows
    }

    /// Share of all paced documents used before each position behind the opening: 0 first, exactly
    /// 1 last.
    fn grown_share(&self, n: u64) -> Vec<f64> {
        let first = self.n_first as f64 / self.n_positions as f64;
        let share = |position: u64| {
            let t = (self.n_first as f64 + position as f64 + 0.5) / self.n_positions as f64;
            // Without an opening and without easy general text nothing can wait: the share is even.
            if self.n_of[0] == 0 { 1.0 } else { self.share(t, first) }
        };
        let shares: Vec<f64> = (0..n).map(share).collect();
        let most = self.steepest(&shares);
        let mut sums = Vec::with_capacity(n as usize + 1);
        let mut sum = 0.0;
        sums.push(sum);

        for share in shares {
            sum += share.min(most);
            sums.push(sum);
        }

        let last = if sum > 0.0 { sum } else { 1.0 };
        sums.iter_mut().for_each(|sum| *sum /= last);
        sums
    }

    /// Where shares that grow so are cut off, so that with all paced text below them none is above
    /// the greatest share: that of `x` for which `Σ min(share, x) · most / x` is the paced text.
    fn steepest(&self, shares: &[f64]) -> f64 {
        let paced = self.n_of[1..].iter().sum::<u64>() as f64;
        let top = shares.iter().copied().fold(0.0, f64::max);
        let held = |x: f64| shares.iter().map(|share| share.min(x)).sum::<f64>() * self.most / x;
        if self.most >= 1.0 || held(top) >= paced {
            return top;
        }
        // The lower the cut, the flatter the shares and the more they hold.
        let (mut low, mut high) = (0.0, top);
        for _ in 0..64 {
            let middle = f64::midpoint(low, high);
            if held(middle) >= paced { low = middle } else { high = middle }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::order::tests::params;
    use proptest::prelude::*;

    /// Platanios et al.: c0 = 0.01 at t = 0, .1, .25, .5, 1, square root and linear.
    #[test]
    fn competence_table() {
        for (t, root, linear) in [
            (0.0, 0.01, 0.01),
            (0.1, 0.31637, 0.109),
            (0.25, 0.500_075, 0.2575),
            (0.5, 0.707_142, 0.505),
            (1.0, 1.0, 1.0),
        ] {
            assert!((competence(t, 0.01, 2.0) - root).abs() < 1e-5, "{t}");
            assert!((competence(t, 0.01, 1.0) - linear).abs() < 1e-9, "{t}");
        }
        assert_eq!(competence(1.2, 0.01, 2.0), 1.0);
    }

    proptest! {
        #[test]
        fn windows_use_everything_and_keep_to_the_caps(
            easy in 1_u64..3000, general_hard in 0_u64..300, domain in 0_u64..2000,
                domain_hard in 0_u64..500,
        ) {
            let params = params();
            let pacing = Pacing::new([easy, general_hard, domain, domain_hard], &params);
            let windows = pacing.windows();
            let mut sums = [0; 4];
            windows.iter().for_each(|window| (0..4).for_each(|s| sums[s] += window[s]));
            prop_assert_eq!(sums[1..].to_vec(), vec![general_hard, domain, domain_hard]);
            prop_assert_eq!(sums.iter().sum::<u64>() + pacing.n_first, pacing.n_positions);
            prop_assert!(pacing.n_of[0] >= easy);

            if domain + domain_hard + general_hard > 0 {
                prop_assert!(pacing.domain_peak <= params.domain_max + 1e-9);
                prop_assert!(pacing.hard_peak <= params.hard_max + 1e-9);
                prop_assert_eq!(pacing.n_first,
                    (pacing.n_positions as f64 * params.general_first) as u64);

                for window in &windows {
                    let n = window.iter().sum::<u64>() as f64;
                    // One row of rounding and one of carry for each of the two strata that are
                    // added up.
                    prop_assert!((window[2] + window[3]) as f64 <= params.domain_max * n + 4.0);
                    prop_assert!((window[1] + window[3]) as f64 <= params.hard_max * n + 4.0);
                }
            }
        }
    }

    proptest! {
        /// General text is repeated so often and no more, and everything is used all the same.
        #[test]
        fn short_general_text_bends_the_shares(
            easy in 1_u64..300, general_hard in 0_u64..100, domain in 0_u64..2000,
                domain_hard in 0_u64..500, repeat_max in 1_u64..6,
        ) {
            let params = Params { repeat_max, ..params() };
            let docs = [easy, general_hard, domain, domain_hard];
            let (free, pacing) = (
                Pacing::new(docs, &Params { repeat_max: 0, ..params.clone() }),
                Pacing::new(docs, &params),
            );
            let windows = pacing.windows();
            let mut sums = [pacing.n_first, 0, 0, 0];
            windows.iter().for_each(|window| (0..4).for_each(|s| sums[s] += window[s]));
            prop_assert_eq!(sums, pacing.n_of);
            prop_assert_eq!(sums.iter().sum::<u64>(), pacing.n_positions);
            prop_assert!((easy..=easy * repeat_max).contains(&pacing.n_of[0]));
            prop_assert_eq!(pacing.n_wanted, free.n_of[0]);

            if free.n_of[0] <= easy * repeat_max {
                prop_assert_eq!(&pacing.n_of, &free.n_of);
                prop_assert_eq!(windows, free.windows());
            } else {
                // The opening keeps its proportion, and the caps are what bends.
                let of = |pacing: &Pacing| pacing.n_first as f64 / pacing.n_of[0] as f64;
                prop_assert!((of(&pacing) - of(&free)).abs() <= 1.0 / pacing.n_of[0] as f64);
                prop_assert!(pacing.domain_peak <= 1.0 && pacing.hard_peak <= 1.0);
                for window in &windows {
                    let n = window.iter().sum::<u64>() as f64;
                    prop_assert!((window[2] + window[3]) as f64 <= pacing.domain_peak * n + 4.0);
                    prop_assert!((window[1] + window[3]) as f64 <= pacing.hard_peak * n + 4.0);
                }
            }
        }
    }

    /// 76 general documents beside 1,500 of the domain: once they filled 1,892 positions.
    #[test]
    fn a_handful_of_general_documents_is_not_repeated_for_ever() {
        let pacing = Pacing::new([76, 0, 1200, 300], &Params { repeat_max: 4, ..params() });
        assert_eq!(pacing.n_of[0], 304);
        assert!(pacing.n_wanted > 1500 && pacing.n_first > 60, "{pacing:?}");
        let windows = pacing.windows();
        let domain = |window: &Counts| window[2] + window[3];
        let last = &windows[windows.len() - 2];
        assert!(2 * domain(&windows[0]) < domain(last), "it still begins with little");
        assert!(windows[windows.len() - 2][0] >= 4, "and some replay is left at the end");
    }

    #[test]
    fn shares_grow_with_competence() {
        let pacing = Pacing::new([4000, 0, 1000, 0], &params());
        let windows = pacing.windows();
        let n_windows = windows.len() as f64;
        let grown = |k: usize| {
            pacing.share(0.2 + 0.8 * (k as f64 + 0.5) / n_windows, 0.2) * pacing.domain_peak
        };

        for (k, window) in
            windows.iter().enumerate().filter(|(_, window)| window.iter().sum::<u64>() == 100)
        {
            assert!((window[2] as f64 - 100.0 * grown(k)).abs() <= 1.5, "window {k}: {window:?}");
        }
    }
}
