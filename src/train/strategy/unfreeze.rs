//! `unfreeze`: the model begins to move from a part of it, and the rest joins in later.
//!
//! Stage 1: for `first_steps`, the feed-forward layers of the uppermost `blocks` blocks alone.
//! Stage 2, by `order`:
//!
//! - `heads`, as asked for by who named this method: attention heads join, those of the lowest
//!   block first and in a block those that follow positions first, then everything else. What a
//!   head is to positions is measured once on a few rows, by its `score` (after Voita et al.
//!   2019, arXiv:1905.09418, who call a head positional from 0.9 on).
//! - `layers`: whole blocks join from the top down, the embeddings last, as in ULMFiT
//!   (arXiv:1801.06146); with `discriminative` at 2.6, its number, a block below another learns
//!   2.6 times slower. It is the better supported of the two.
//!
//! Neither is free: T5 found gradual unfreezing slightly worse than none (arXiv:1910.10683). What
//! it buys is time, since nothing is differentiated below the lowest block that moves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::maps::Maps;
use super::{At, Kind, Layout, Probe, Saved, Section, Strategy, steps_or_share};
use crate::error::{Error, Result};
use crate::train::model::moves::{Moves, Share};
use crate::train::model::parameters::{Part, Role};
use crate::train::model::{Declared, Parameters};

/// From this score on a head follows positions; Voita et al.'s.
const POSITIONAL: f64 = 0.9;
/// How far the place that a positional head looks at may be off.
const OFF: i64 = 2;

/// See the module.
pub static UNFREEZE: Kind = Kind {
    name: "unfreeze",
    about: "moves the upper feed-forward layers first; heads or blocks join in later",
    switch: "on",
    build: |section: Section| {
        let keys: Keys = section.parse()?;
        let unfreeze = Unfreeze { keys, heads: Vec::new() };
        Ok(if unfreeze.keys.on { Some(Box::new(unfreeze)) } else { None })
    },
};

/// The section `[train.strategy.unfreeze]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Whether it is done.
    on: bool,
    /// Steps of stage 1.
    first_steps: u64,
    /// The same as a share of the steps, [0, 1]; 0 goes by `first_steps`.
    first_share: f64,
    /// Uppermost blocks whose feed-forward layers move in stage 1, 1 and more.
    blocks: usize,
    /// What joins in stage 2.
    order: Order,
    /// Heads that join at a time, 1 and more (`heads` only).
    heads: usize,
    /// Steps between two that join; 0 spreads them evenly.
    every: u64,
    /// Share of the steps by which everything has joined, (0, 1], where they are spread.
    until: f64,
    /// By what the rate of a block is divided for each block above it, 1 and more.
    discriminative: f64,
    /// Whether the head of the model and its last norm move from the beginning.
    head: bool,
}

/// What joins in stage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Heads from below, then everything.
    Heads,
    /// Blocks from above.
    Layers,
}

/// An attention head of a step of the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct HeadOf {
    step: usize,
    head: usize,
    score: f64,
}

/// See the module.
struct Unfreeze {
    keys: Keys,
    /// In the order they join; empty where blocks do.
    heads: Vec<HeadOf>,
}

impl Keys {
    /// Steps of stage 1 in a run of so many.
    fn first(&self, total: u64) -> u64 {
        steps_or_share(self.first_steps, self.first_share, total)
    }

    /// How many of `n` groups have joined in a step.
    fn joined(&self, at: At, n: usize) -> usize {
        let first = self.first(at.total);
        let Some(behind) = at.step.checked_sub(first + 1) else { return 0 };
        let joined = match self.every {
            0 => {
                let last = (self.until * at.total as f64).round_ties_even() as u64;
                let span = last.saturating_sub(first).max(1);
                1 + u128::from(behind) * n as u128 / u128::from(span)
            }
            every => 1 + u128::from(behind / every),
        };
        joined.min(n as u128) as usize
    }
}

impl Unfreeze {
    /// Groups of stage 2: of heads and then the rest, or of blocks from above.
    fn n_groups(&self, layout: &Layout) -> usize {
        match self.keys.order {
            Order::Heads => self.heads.len().div_ceil(self.keys.heads) + 1,
            Order::Layers => layout.steps,
        }
    }

    /// The lowest step whose feed-forward layers move in stage 1.
    fn lowest(&self, layout: &Layout) -> usize {
        let feeds = |one: &&Declared| one.part.role == Role::FeedForward;
        let steps: BTreeSet<usize> =
            layout.declared.iter().filter(feeds).map(|one| one.part.step).collect();
        steps.iter().rev().take(self.keys.blocks).next_back().copied().unwrap_or(0)
    }

    /// Whether a parameter moves from the beginning.
    fn is_first(&self, part: &Part, lowest: usize, steps: usize) -> bool {
        match part.role {
            Role::FeedForward => part.step >= lowest,
            Role::Beside(_) | Role::Prompt => true,
            Role::Head => self.keys.head,
            Role::Norm => self.keys.head && part.step == steps,
            Role::Attention | Role::Embedding => false,
        }
    }

    /// What of a parameter that is not whole yet moves when so many groups have joined.
    fn share(&self, one: &Declared, joined: usize, top: usize, rate: f64) -> Option<Share> {
        match self.keys.order {
            Order::Layers => {
                (joined > 0 && one.part.step + joined > top).then_some(Share::Whole { rate })
            }
            Order::Heads if one.part.role == Role::Attention => self.of_heads(one, joined, rate),
            Order::Heads => None,
        }
    }

    /// What of a parameter belongs to the heads that have joined.
    fn of_heads(&self, one: &Declared, joined: usize, rate: f64) -> Option<Share> {
        let n = self.heads.len().min(joined * self.keys.heads);
        let of_step = |heads: &[HeadOf]| -> BTreeSet<usize> {
            let own = heads.iter().filter(|head| head.step == one.part.step);
            own.map(|head| head.head).collect()
        };
        let (moving, all) = (of_step(&self.heads[..n]), of_step(&self.heads));
        if moving.len() == all.len() {
            return Some(Share::Whole { rate });
        }

        // What belongs to no head alone waits for all of them.
        let cut = one.part.heads?;
        // Heads that share keys and values bring them along.
        let shared = |head: &usize| head * cut.heads / all.len();
        let own: BTreeSet<usize> = moving.iter().map(shared).collect();
        let ranges = merged(own.iter().flat_map(|head| cut.ranges(*head, &one.shape)).collect());
        (!ranges.is_empty()).then_some(Share::Slices { dim: cut.dim, ranges, rate })
    }
}

/// The same numbers as ranges in order that do not touch.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut all: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

impl Strategy for Unfreeze {
    fn begin(&mut self, run: &Probe) -> Result<()> {
        let mut trained = run.parameters.iter();
        let moves_first =
            |name: &str| run.parameters.part(name).is_ok_and(|part| part.role == Role::FeedForward);
        if !trained.any(|(name, _)| moves_first(name)) {
            return Err(Error::usage("`train.strategy.unfreeze` has nothing to move")
                .hint("an adapter leaves the model as it is: turn one of the two off"));
        }
        if self.keys.order == Order::Heads {
            self.heads = ordered(run)?;
        }
        Ok(())
    }

    fn moves(&self, at: At, layout: &Layout) -> Moves {
        let n_groups = self.n_groups(layout);
        let joined = self.keys.joined(at, n_groups);
        if joined == n_groups && self.keys.discriminative == 1.0 {
            return Moves::all();
        }

        let (lowest, top) = (self.lowest(layout), layout.steps - 1);
        let shares = layout.declared.iter().filter_map(|one| {
            let below = top.saturating_sub(one.part.step) as i32;
            let rate = self.keys.discriminative.powi(-below);
            let is_whole = joined == n_groups || self.is_first(&one.part, lowest, layout.steps);
            let share = match is_whole {
                true => Share::Whole { rate },
                false => self.share(one, joined, top, rate)?,
            };
            Some((one.name.clone(), share))
        });
        Moves::some(shares.collect())
    }

    fn save(&self) -> Saved {
        Saved { state: json!({ "heads": self.heads }), ..Saved::default() }
    }

    fn load(&mut self, kept: Saved, _: &Probe) -> Result<()> {
        let heads = kept.state.get("heads").cloned().unwrap_or_default();
        self.heads = serde_json::from_value(heads)
            .map_err(|cause| Error::data(format!("the order of the heads is lost: {cause}")))?;
        Ok(())
    }

    fn note(&self, _: &Parameters, total: u64) -> Option<String> {
        let first = self.keys.first(total);
        if first >= total {
            return Some(format!(
                "the run of {total} steps ends in stage 1 of `train.strategy.unfreeze`, which has \
                 {first}: set `first_share`"
            ));
        }
        let positional = self.heads.iter().filter(|head| head.score >= POSITIONAL).count();
        (self.keys.order == Order::Heads).then(|| {
            format!(
                "{positional} of {} attention heads follow positions; in each block the most \
                 positional join first",
                self.heads.len()
            )
        })
    }
}

/// All heads: from the lowest block up, in a block by score.
fn ordered(run: &Probe) -> Result<Vec<HeadOf>> {
    let (maps, inputs) = (Maps::of(run)?, run.sample.inputs()?);
    let mut all = Vec::new();
    for step in maps.steps() {
        // The first is that of the step over its own tokens.
        for map in maps.read(step, inputs)?.iter().take(1) {
            let scored = |head| HeadOf { step, head, score: score(map.of_head(head)) };
            all.extend((0..map.heads).map(scored));
        }
    }
    all.sort_by(|a, b| a.step.cmp(&b.step).then(b.score.total_cmp(&a.score)));
    Ok(all)
}

/// `max over Δ in −2..2 of the share of queries i whose largest weight is at i + Δ`.
fn score<'a>(queries: impl Iterator<Item = (usize, &'a [f32])>) -> f64 {
    let (mut at, mut n) = (BTreeMap::<i64, usize>::new(), 0_usize);
    for (query, weights) in queries {
        let largest = (0..weights.len())
            .reduce(|best, key| if weights[key] > weights[best] { key } else { best });
        n += 1;
        if let Some(key) = largest {
            *at.entry(key as i64 - query as i64).or_default() += 1;
        }
    }
    let most = at.range(-OFF..=OFF).map(|(_, n)| *n).max().unwrap_or(0);
    most as f64 / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(order: Order) -> Keys {
        Keys {
            on: true,
            first_steps: 10,
            first_share: 0.0,
            blocks: 2,
            order,
            heads: 2,
            every: 5,
            until: 0.8,
            discriminative: 1.0,
            head: false,
        }
    }

    #[test]
    fn groups_join_behind_stage_1() {
        let joined = |keys: &Keys, step| keys.joined(At { step, total: 100 }, 4);
        let every = keys(Order::Heads);
        let table = [(1, 0), (10, 0), (11, 1), (15, 1), (16, 2), (21, 3), (26, 4), (100, 4)];
        table.iter().for_each(|(step, n)| assert_eq!(joined(&every, *step), *n, "{step}"));

        // 70 steps for 4 groups.
        let spread = Keys { every: 0, ..keys(Order::Heads) };
        let table = [(10, 0), (11, 1), (28, 1), (29, 2), (46, 3), (63, 3), (64, 4), (100, 4)];
        table.iter().for_each(|(step, n)| assert_eq!(joined(&spread, *step), *n, "{step}"));

        let share = Keys { first_share: 0.25, ..keys(Order::Heads) };
        assert_eq!((joined(&share, 25), joined(&share, 26)), (0, 1));
        // A run that ends before.
        assert_eq!(keys(Order::Heads).joined(At { step: 8, total: 8 }, 4), 0);
    }

    #[test]
    fn a_head_is_scored_by_the_place_it_looks_at() {
        // Three of four queries look at the place before them, the first has none.
        let before: [&[f32]; 4] = [&[1.0, 0.0], &[0.9, 0.1], &[0.1, 0.8, 0.1], &[0.0, 0.1, 0.9]];
        assert_eq!(score(before.into_iter().enumerate()), 0.75);
        // All look at the first place: of five queries one is at each distance.
        let first: [&[f32]; 5] = [&[0.9, 0.1]; 5];
        assert_eq!(score(first.into_iter().enumerate()), 0.2);
        // Three places on is no position.
        let far: [&[f32]; 2] = [&[0.0, 0.0, 0.0, 1.0], &[0.0, 0.0, 0.0, 0.0, 1.0]];
        assert_eq!(score(far.into_iter().enumerate()), 0.0);
        assert_eq!(score(std::iter::empty()), 0.0);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges = |all: &[[usize; 2]]| all.iter().map(|[a, b]| *a..*b).collect::<Vec<_>>();
        let found = merged(ranges(&[[8, 12], [0, 4], [4, 8], [20, 24]]));
        assert_eq!(found, ranges(&[[0, 12], [20, 24]]));
        assert!(merged(Vec::new()).is_empty());
    }
}
