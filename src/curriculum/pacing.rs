//! How much text the order has and what each window of it holds: pure arithmetic, in tokens.
//!
//! Competence-based curriculum (Platanios et al. 2019, arXiv:1903.09848, eq. 5), mapped onto
//! shares: behind the general opening the share of domain text, and the share of hard text, grow
//! with the competence `c(t) = min(1, (t·(1 − c0^p) + c0^p)^(1/p))`, as `peak · (c(t) − c(t0)) / (1
//! − c(t0))`. Shares are of tokens: a model learns from tokens, and an article may have as many as
//! fifty abstracts. Documents stand whole, so a window is off by one of each kind at most.
//!
//! Every document is used, so the peaks follow from the lengths: the tokens in all `T` are the
//! fewest for which no peak passes its cap. Where the caps need more general text than there is,
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

/// How the share of domain text, and of hard text, goes along the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainShare {
    /// None in the opening, then growing with the competence: the curriculum as it was asked for.
    Ramp,
    /// The same everywhere, from the first document on, without an opening (SPT, arXiv:2603.16177).
    Flat,
    /// The greatest at the beginning, falling to none as the ramp grows.
    Early,
}

/// Kinds of documents that are paced apart, in the order of [`Counts`].
pub const STRATA: [&str; 4] = ["general", "general_hard", "domain", "domain_hard"];

/// How many documents, positions or tokens, of each of [`STRATA`].
pub type Counts = [u64; 4];

/// How finely the growth of shares is summed up: so many points a window.
const POINTS: u64 = 16;

/// How the training text is shared out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pacing {
    /// Positions in all: documents of the order.
    pub n_positions: u64,
    /// Positions of the opening, general text only.
    pub n_first: u64,
    /// Positions of each stratum, in the order of [`STRATA`].
    pub n_of: Counts,
    /// Tokens in all.
    pub tokens: u64,
    /// Tokens of the opening, to which its last document may add.
    pub tokens_first: u64,
    /// Tokens of each stratum.
    pub tokens_of: Counts,
    /// Tokens of a window, to which its last document may add.
    pub tokens_window: u64,
    /// Tokens of the longest document, by which a window may be off.
    pub longest: u64,
    /// Greatest share of domain text.
    pub domain_peak: f64,
    /// Greatest share of hard text.
    pub hard_peak: f64,
    /// Tokens of general, not hard, text that the caps ask for.
    pub tokens_wanted: u64,
    /// How its share goes.
    domain_share: DomainShare,
    /// Greatest share of paced text anywhere.
    most: f64,
    start: f64,
    power: f64,
}

/// The documents that are paced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Texts {
    /// Documents of each stratum.
    pub documents: Counts,
    /// Their tokens, each as often as it is to stand at least.
    pub tokens: Counts,
    /// Tokens of general, not hard, text, each document once.
    pub easy_once: u64,
    /// Tokens of the longest.
    pub longest: u64,
}

impl Pacing {
    /// Shares out the tokens of some documents, each used at least once. Positions are known once
    /// they stand in order.
    ///
    /// Without general, not hard, text there is no opening and nothing to stretch with: every
    /// document stands once and the caps do not apply.
    pub fn new(texts: &Texts, params: &Params) -> Self {
        let total: u64 = texts.tokens.iter().sum();
        let [easy, general_hard, domain, domain_hard] = texts.tokens;
        let mean_length = total as f64 / texts.documents.iter().sum::<u64>().max(1) as f64;
        let mut pacing = Pacing {
            n_positions: 0,
            n_first: 0,
            n_of: [0; 4],
            tokens: total,
            tokens_first: 0,
            tokens_of: texts.tokens,
            tokens_window: ((params.window as f64 * mean_length).round() as u64).max(1),
            longest: texts.longest,
            domain_peak: 0.0,
            hard_peak: 0.0,
            tokens_wanted: easy,
            domain_share: params.domain_share,
            most: 1.0,
            start: params.competence_start,
            power: params.competence_power,
        };

        let paced = total - easy;
        if easy == 0 || paced == 0 {
            return pacing;
        }
        let first = match params.domain_share {
            DomainShare::Ramp => params.general_first,
            DomainShare::Flat | DomainShare::Early => 0.0,
        };
        let mean = pacing.mean_share(first) * (1.0 - first);
        let need = |n: u64, cap: f64| (n as f64 / (mean * cap)).ceil() as u64;
        pacing.tokens = total
            .max(need(domain + domain_hard, params.domain_max))
            .max(need(general_hard + domain_hard, params.hard_max))
            .max(need(paced, 1.0 - params.replay_min));
        pacing.tokens_first = (pacing.tokens as f64 * first).floor() as u64;
        pacing.tokens_of[0] = pacing.tokens - paced;
        pacing.tokens_wanted = pacing.tokens_of[0];
        let most = params.repeat_max.saturating_mul(texts.easy_once).max(easy);
        let peak = match params.repeat_max > 0 && most < pacing.tokens_wanted {
            true => pacing.bend(most, paced, params.replay_min) / paced as f64,
            false => 1.0 / (mean * pacing.tokens as f64),
        };
        pacing.domain_peak = peak * (domain + domain_hard) as f64;
        pacing.hard_peak = peak * (general_hard + domain_hard) as f64;

        pacing
    }

    /// Makes do with `most` tokens of general text; gives the tokens of paced text for one token
    /// where there are most.
    fn bend(&mut self, most: u64, paced: u64, replay_min: f64) -> f64 {
        let opening = self.tokens_first as f64 / self.tokens_wanted as f64;
        self.tokens_of[0] = most;
        self.tokens = paced + most;
        self.tokens_first = (opening * most as f64).floor() as u64;
        let behind = (self.tokens - self.tokens_first) as f64;
        // Replay is kept up where there is enough for it, and spread evenly where there is not.
        self.most = (1.0 - replay_min).max(paced as f64 / behind);
        let grown = self.grown();
        let n = grown.len() - 1;
        // Where it is greatest: at the end, or at the beginning of what comes early.
        let slope = match self.domain_share {
            DomainShare::Early => grown[1] - grown[0],
            DomainShare::Ramp | DomainShare::Flat => grown[n] - grown[n - 1],
        };
        slope * paced as f64 * n as f64 / behind
    }

    /// How great the paced shares are at progress `t`, for their greatest, in `[0, 1]`; of a ramp 0
    /// up to `first`.
    fn share(&self, t: f64, first: f64) -> f64 {
        match self.domain_share {
            DomainShare::Ramp => self.grown_to(t, first),
            DomainShare::Flat => 1.0,
            // Of a competence that is whole from the beginning nothing is early.
            DomainShare::Early if competence(0.0, self.start, self.power) >= 1.0 => 1.0,
            DomainShare::Early => 1.0 - self.grown_to(t, 0.0),
        }
    }

    /// How far a ramp has grown.
    fn grown_to(&self, t: f64, first: f64) -> f64 {
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

    /// Tokens of each stratum that should be given by the end of each window behind the opening, in
    /// order; the last window may be shorter.
    pub fn targets(&self) -> Vec<[f64; 4]> {
        let behind = self.tokens - self.tokens_first;
        if behind == 0 {
            return Vec::new();
        }
        let grown = self.grown();
        let n_windows = behind.div_ceil(self.tokens_window);
        let target = |window: u64| {
            let end = ((window + 1) * self.tokens_window).min(behind) as f64;
            // The points lie evenly, and the last window may be shorter.
            let at = end / behind as f64 * (grown.len() - 1) as f64;
            let (below, part) = (at.floor() as usize, at.fract());
            let above = (below + 1).min(grown.len() - 1);
            let grown = grown[below] + part * (grown[above] - grown[below]);
            let mut target = [0.0; 4];
            for (target, tokens) in target[1..].iter_mut().zip(&self.tokens_of[1..]) {
                *target = *tokens as f64 * grown;
            }
            target[0] = end - target[1..].iter().sum::<f64>();
            target
        };
        (0..n_windows).map(target).collect()
    }

    /// Share of all paced text used at evenly spaced points behind the opening: 0 first, exactly 1
    /// last.
    fn grown(&self) -> Vec<f64> {
        let behind = self.tokens - self.tokens_first;
        let n = behind.div_ceil(self.tokens_window) * POINTS;
        let first = self.tokens_first as f64 / self.tokens as f64;
        let share = |point: u64| {
            let t = first + (1.0 - first) * (point as f64 + 0.5) / n as f64;
            // Without an opening and without easy general text nothing can wait: the share is even.
            if self.tokens_of[0] == 0 { 1.0 } else { self.share(t, first) }
        };
        let shares: Vec<f64> = (0..n).map(share).collect();
        let most = self.steepest(&shares, behind as f64 / n as f64);
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

    /// Where shares that grow so are cut off, at points of so many tokens, so that with all paced
    /// text below them none is above the greatest share: that of `x` for which `Σ min(share, x) ·
    /// most / x` is the paced text.
    fn steepest(&self, shares: &[f64], tokens: f64) -> f64 {
        let paced = self.tokens_of[1..].iter().sum::<u64>() as f64;
        let top = shares.iter().copied().fold(0.0, f64::max);
        let held =
            |x: f64| shares.iter().map(|share| share.min(x)).sum::<f64>() * self.most / x * tokens;
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

    /// Documents of ten tokens each.
    fn texts(documents: Counts) -> Texts {
        let tokens = documents.map(|n| 10 * n);
        Texts { documents, tokens, easy_once: tokens[0], longest: 10 }
    }

    /// Tokens of each stratum in each window.
    fn windows(pacing: &Pacing) -> Vec<[f64; 4]> {
        let targets = pacing.targets();
        let before = |at: usize| if at == 0 { [0.0; 4] } else { targets[at - 1] };
        let of = |(at, target): (usize, &[f64; 4])| {
            [0, 1, 2, 3].map(|s: usize| target[s] - before(at)[s])
        };
        targets.iter().enumerate().map(of).collect()
    }

    proptest! {
        #[test]
        fn windows_use_everything_and_keep_to_the_caps(
            easy in 1_u64..3000, general_hard in 0_u64..300, domain in 0_u64..2000,
                domain_hard in 0_u64..500,
        ) {
            let params = params();
            let pacing = Pacing::new(&texts([easy, general_hard, domain, domain_hard]), &params);
            let last = pacing.targets().last().copied().unwrap_or_default();
            for (target, tokens) in last[1..].iter().zip([general_hard, domain, domain_hard]) {
                prop_assert!((target - 10.0 * tokens as f64).abs() < 1e-6);
            }
            let all = last.iter().sum::<f64>() + pacing.tokens_first as f64;
            prop_assert!((all - pacing.tokens as f64).abs() < 1e-6);
            prop_assert!(pacing.tokens_of[0] >= 10 * easy);

            if domain + domain_hard + general_hard > 0 {
                prop_assert!(pacing.domain_peak <= params.domain_max + 1e-9);
                prop_assert!(pacing.hard_peak <= params.hard_max + 1e-9);
                prop_assert_eq!(pacing.tokens_first,
                    (pacing.tokens as f64 * params.general_first) as u64);

                for window in windows(&pacing) {
                    let n = window.iter().sum::<f64>();
                    // The growth is summed up at points of a window.
                    let most = |cap: f64| cap * n * 1.01 + 1.0;
                    prop_assert!(window[2] + window[3] <= most(params.domain_max));
                    prop_assert!(window[1] + window[3] <= most(params.hard_max));
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
            let texts = texts([easy, general_hard, domain, domain_hard]);
            let (free, pacing) = (
                Pacing::new(&texts, &Params { repeat_max: 0, ..params.clone() }),
                Pacing::new(&texts, &params),
            );
            prop_assert_eq!(pacing.tokens_of.iter().sum::<u64>(), pacing.tokens);
            prop_assert!((10 * easy..=10 * easy * repeat_max).contains(&pacing.tokens_of[0]));
            prop_assert_eq!(pacing.tokens_wanted, free.tokens_of[0]);

            if free.tokens_of[0] <= 10 * easy * repeat_max {
                prop_assert_eq!(&pacing.tokens_of, &free.tokens_of);
                prop_assert_eq!(pacing.targets(), free.targets());
            } else {
                // The opening keeps its proportion, and the caps are what bends.
                let of = |pacing: &Pacing| {
                    pacing.tokens_first as f64 / pacing.tokens_of[0] as f64
                };
                prop_assert!((of(&pacing) - of(&free)).abs() <= 1.0 / pacing.tokens_of[0] as f64);
                prop_assert!(pacing.domain_peak <= 1.0 + 1e-9 && pacing.hard_peak <= 1.0 + 1e-9);
                for window in windows(&pacing) {
                    let n = window.iter().sum::<f64>();
                    let most = |peak: f64| peak * n * 1.01 + 1.0;
                    prop_assert!(window[2] + window[3] <= most(pacing.domain_peak));
                    prop_assert!(window[1] + window[3] <= most(pacing.hard_peak));
                }
            }
        }
    }

    /// 76 general documents beside 1,500 of the domain: once they filled 1,892 positions.
    #[test]
    fn a_handful_of_general_documents_is_not_repeated_for_ever() {
        let texts = texts([76, 0, 1200, 300]);
        let pacing = Pacing::new(&texts, &Params { repeat_max: 4, ..params() });
        assert_eq!(pacing.tokens_of[0], 3_040);
        assert!(pacing.tokens_wanted > 15_000 && pacing.tokens_first > 600, "{pacing:?}");
        let windows = windows(&pacing);
        let domain = |window: &[f64; 4]| window[2] + window[3];
        let last = &windows[windows.len() - 2];
        assert!(2.0 * domain(&windows[0]) < domain(last), "it still begins with little");
        assert!(last[0] >= 40.0, "and some replay is left at the end");
    }

    #[test]
    fn shares_grow_with_competence() {
        let pacing = Pacing::new(&texts([4000, 0, 1000, 0]), &params());
        let windows = windows(&pacing);
        let n_windows = windows.len() as f64;
        let grown = |k: usize| {
            pacing.share(0.2 + 0.8 * (k as f64 + 0.5) / n_windows, 0.2) * pacing.domain_peak
        };

        for (k, window) in windows[..windows.len() - 1].iter().enumerate().skip(1) {
            assert!((window[2] - 1_000.0 * grown(k)).abs() <= 15.0, "window {k}: {window:?}");
        }
    }

    /// The peak that is told, and that the trainer holds the order to, is the greatest share of a
    /// window, wherever that is.
    #[test]
    fn the_peak_is_the_greatest_share_of_any_window() {
        for domain_share in [DomainShare::Ramp, DomainShare::Flat, DomainShare::Early] {
            let params = Params { domain_share, repeat_max: 1, ..params() };
            let pacing = Pacing::new(&texts([100, 10, 300, 100]), &params);
            let shares = windows(&pacing)
                .into_iter()
                .map(|window| (window[2] + window[3]) / window.iter().sum::<f64>());
            let most = shares.fold(0.0, f64::max);
            assert!(most <= pacing.domain_peak + 1e-3, "{domain_share:?}: {most}");
            assert!(most > 0.5 * pacing.domain_peak, "{domain_share:?}: {most}");
        }
        // Of a competence that is whole from the beginning nothing is early.
        let params = Params { domain_share: DomainShare::Early, competence_start: 1.0, ..params() };
        let pacing = Pacing::new(&texts([100, 0, 100, 0]), &params);
        assert!(pacing.tokens < 100_000, "{}", pacing.tokens);
    }
}
