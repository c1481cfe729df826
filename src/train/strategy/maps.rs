//! The attention weights of a model over the sample of a run, for strategies that look at heads.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::Probe;
use crate::error::{Error, Result};
use crate::train::model::{Inputs, Needs, Pass, Tokens, show};

/// Maps of each step of the model that attends: its own first, and behind it that of a decoder over
/// its encoder.
#[derive(Clone, Default)]
pub(super) struct Maps(BTreeMap<usize, Vec<Tensor>>);

/// The weights of one attention over the sample.
pub(super) struct Map {
    /// How many heads it has.
    pub(super) heads: usize,
    queries: usize,
    keys: usize,
    /// `[rows, heads, queries, keys]`.
    weights: Vec<f32>,
    /// `[rows, queries]`: whether a query is a token.
    present: Vec<bool>,
}

impl Maps {
    /// Those of the model as it is.
    pub(super) fn of(run: &Probe) -> Result<Self> {
        let needs = Needs { attention: (0..run.model.steps()).collect(), ..Needs::default() };
        let weights = run.parameters.detached();
        let seen = show(run.model, &Pass::new(&weights, None), run.sample.inputs()?, &needs)?;
        let attends = seen.attention.into_iter().filter(|(_, attention)| !attention.is_empty());
        let all = attends.map(|(step, attention)| {
            let wide = attention.iter().map(|one| one.to_dtype(DType::F32));
            Ok((step, wide.collect::<candle_core::Result<_>>()?))
        });
        Ok(Maps(all.collect::<Result<_>>()?))
    }

    /// The steps that attend, from below.
    pub(super) fn steps(&self) -> impl Iterator<Item = usize> {
        self.0.keys().copied()
    }

    /// The maps of a step over the same sample.
    pub(super) fn read(&self, step: usize, inputs: &Inputs) -> Result<Vec<Map>> {
        let Some(attention) = self.0.get(&step) else { return Ok(Vec::new()) };
        // Only a decoder over an encoder attends twice.
        let decoder = inputs.decoder.as_ref().filter(|_| attention.len() > 1);
        let tokens = decoder.unwrap_or(&inputs.tokens);
        attention.iter().map(|attention| Map::new(attention, tokens)).collect()
    }

    /// All of them, named behind `prefix`.
    pub(super) fn named(&self, prefix: &str) -> impl Iterator<Item = (String, Tensor)> {
        self.0.iter().flat_map(move |(step, maps)| {
            let nth = maps.iter().enumerate();
            nth.map(move |(nth, map)| (format!("{prefix}.{step}.{nth}"), map.clone()))
        })
    }

    /// Takes those with this prefix from what [`Maps::named`] gave.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn take(kept: &BTreeMap<String, Tensor>, prefix: &str) -> Result<Self> {
        let lost = || Error::data(format!("the attention maps `{prefix}` are lost"));
        let mut all: BTreeMap<usize, Vec<(usize, Tensor)>> = BTreeMap::new();

        for (name, map) in kept {
            let Some(rest) = name.strip_prefix(prefix) else { continue };
            let place = rest.strip_prefix('.').and_then(|rest| rest.split_once('.'));
            let (step, nth) = place.ok_or_else(lost)?;
            let number = |text: &str| text.parse::<usize>().map_err(|_| lost());
            all.entry(number(step)?).or_default().push((number(nth)?, map.clone()));
        }

        if all.is_empty() {
            return Err(lost());
        }
        // Names are in order, and no step has ten.
        let maps = |maps: Vec<(usize, Tensor)>| maps.into_iter().map(|(_, map)| map).collect();
        Ok(Maps(all.into_iter().map(|(step, all)| (step, maps(all))).collect()))
    }
}

impl Map {
    fn new(attention: &Tensor, tokens: &Tokens) -> Result<Self> {
        let (_, heads, queries, keys) = attention.dims4()?;
        let present = tokens.present.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let present = present.into_iter().map(|present| present > 0.0).collect();
        let weights = attention.flatten_all()?.to_vec1()?;
        Ok(Map { heads, queries, keys, weights, present })
    }

    /// What each token looks at by a head: its place in its row, and the weights of all keys.
    pub(super) fn of_head(&self, head: usize) -> impl Iterator<Item = (usize, &[f32])> {
        let tokens = self.present.iter().enumerate().filter(|(_, present)| **present);
        tokens.map(move |(at, _)| {
            let (row, query) = (at / self.queries, at % self.queries);
            let first = ((row * self.heads + head) * self.queries + query) * self.keys;
            (query, &self.weights[first..first + self.keys])
        })
    }
}
