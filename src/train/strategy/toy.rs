//! `toy`: a strategy of the tests alone, which shows that one file and one line add one that says
//! what moves when, keeps state and tensors, teaches, and tells.
//!
//! In the first half of the steps only the attention of the first head in the model's second block
//! moves, at half the rate; then everything does. It teaches with the weights the run began with.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::json;

use super::{At, Did, Kind, Layout, Probe, Saved, Section, Strategy};
use crate::error::Result;
use crate::train::model::moves::{Moves, Share};
use crate::train::model::{Parameters, Weights};

/// See the module.
pub(super) static TOY: Kind = Kind {
    name: "toy",
    about: "moves one head first",
    switch: "on",
    build: |section: Section| {
        let Keys { on } = section.parse()?;
        Ok(if on { Some(Box::new(Toy { first: BTreeMap::new(), steps: 0 })) } else { None })
    },
};

#[derive(Deserialize)]
struct Keys {
    on: bool,
}

struct Toy {
    /// The weights the run began with.
    first: BTreeMap<String, Tensor>,
    steps: u64,
}

impl Strategy for Toy {
    fn begin(&mut self, run: &Probe) -> Result<()> {
        let copy = |(name, var): (&str, &candle_core::Var)| {
            Ok((name.to_string(), var.as_detached_tensor().copy()?))
        };
        self.first = run.parameters.iter().map(copy).collect::<Result<_>>()?;
        Ok(())
    }

    fn moves(&self, at: At, layout: &Layout) -> Moves {
        if 2 * at.step > at.total {
            return Moves::all();
        }
        let heads = layout.declared.iter().filter(|one| one.part.step == 2).filter_map(|one| {
            let heads = one.part.heads?;
            let share =
                Share::Slices { dim: heads.dim, ranges: heads.ranges(0, &one.shape), rate: 0.5 };
            Some((one.name.clone(), share))
        });
        Moves::some(heads.collect())
    }

    fn after(&mut self, _: At, _: &Probe, _: &Did) -> Result<()> {
        self.steps += 1;
        Ok(())
    }

    fn teacher(&self, parameters: &Parameters) -> Option<Weights> {
        Some(parameters.beside(self.first.clone()))
    }

    fn save(&self) -> Saved {
        Saved { state: json!({ "steps": self.steps }), tensors: self.first.clone() }
    }

    fn load(&mut self, kept: Saved, _: &Probe) -> Result<()> {
        self.steps = kept.state["steps"].as_u64().unwrap_or_default();
        self.first = kept.tensors;
        Ok(())
    }

    fn tell(&self) -> BTreeMap<String, f64> {
        [("toy_steps".to_string(), self.steps as f64)].into()
    }
}
