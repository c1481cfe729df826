//! `adapter`: prompts are trained and the model stays as it is (LLaMA-Adapter, arXiv:2303.16199).
//! What it computes is a part of the model: [`crate::train::model::adapter`].

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde::Deserialize;

use super::{Kind, Section, Strategy};
use crate::error::{Error, Result};
use crate::train::model::parameters::{Declared, Role};
use crate::train::model::{Adapter, Architecture, Parameters, Weights, adapter};

/// See the module.
pub static ADAPTER: Kind = Kind {
    name: "adapter",
    about: "trains a few prompts in the upper blocks and leaves the model as it is (LLaMA and \
            GPT-2)",
    switch: "on",
    build: |section: Section| {
        let keys: Keys = section.parse()?;
        Ok(if keys.on { Some(Box::new(Prompts(keys))) } else { None })
    },
};

/// The section `[train.strategy.adapter]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Whether prompts are trained.
    on: bool,
    /// A folder with an adapter to go on from; empty draws one.
    from: String,
    /// Prompts of a block.
    tokens: usize,
    /// Blocks with prompts, the uppermost ones; 0 leaves out the lowest sixteenth.
    layers: usize,
}

struct Prompts(Keys);

impl Prompts {
    fn of(model: &dyn Architecture) -> Option<&Adapter> {
        model.adapter()
    }
}

impl Strategy for Prompts {
    fn adapt(&self, model: &mut dyn Architecture, origin: Option<&Path>) -> Result<()> {
        if origin.is_none() {
            return Err(Error::usage("an adapter needs a model to be put onto")
                .hint("name one with `--init`; prompts alone learn nothing on drawn weights"));
        }
        model.adapt(self.0.tokens, self.0.layers).map(|_| ())
    }

    fn declare(&self, model: &dyn Architecture) -> Vec<Declared> {
        Self::of(model).map(Adapter::declare).unwrap_or_default()
    }

    fn trains(&self, parameter: &Declared) -> bool {
        parameter.part.role == Role::Prompt
    }

    fn read(
        &self,
        model: &dyn Architecture,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Parameters>> {
        match (Self::of(model), self.0.from.as_str()) {
            (Some(adapter), from) if !from.is_empty() => {
                adapter.read(Path::new(from), dtype, device).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match self.0.from.as_str() {
            "" => Vec::new(),
            from => vec![Path::new(from).join(adapter::WEIGHTS)],
        }
    }

    fn note(&self, parameters: &Parameters, _: u64) -> Option<String> {
        let (n, all) = (parameters.n_numbers(), parameters.n_numbers() + parameters.n_frozen());
        Some(format!("{n} of {all} numbers are trained, those of the adapter"))
    }

    fn write(
        &self,
        model: &dyn Architecture,
        folder: &Path,
        weights: &Weights,
    ) -> Result<Option<PathBuf>> {
        Self::of(model).map(|adapter| adapter.write(folder, weights)).transpose()
    }
}
