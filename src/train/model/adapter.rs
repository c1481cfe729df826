//! LLaMA-Adapter (arXiv:2303.16199): a few learnt prompts in the upper blocks of a model that is
//! left as it is.
//!
//! The official variant, `OpenGVLab/LLaMA-Adapter:alpaca_finetuning_v1/llama/model.py`: the prompts
//! of a block go through the block's own projections of keys and values, without positions; every
//! query attends to them through a softmax of their own, and what comes of it, times tanh of a gate
//! per head, is added before the output projection. Gates begin at 0, so that the model begins as
//! it was. Names and shapes of the tensors are the official ones. GPT-2 has it alike.

use std::path::Path;

use candle_core::{DType, Device, Result as Computed, Tensor};
use serde::{Deserialize, Serialize};

use super::layers::Pass;
use super::parameters::{Declarations, Init, Role};
use super::{Declared, Parameters, Weights};
use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_json};
use crate::train::kernels::{self, Attention, Projected};

const PROMPTS: &str = "adapter_query";
/// The tensors of an adapter, in its folder.
pub const WEIGHTS: &str = "adapter.safetensors";
const CONFIG: &str = "adapter_config.json";

/// An adapter on a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Prompts of a block.
    pub tokens: usize,
    /// Blocks that have prompts, the uppermost ones.
    pub layers: usize,
    /// Blocks of the model.
    pub blocks: usize,
    /// Width of its hidden state.
    pub width: usize,
    /// Attention heads of a block.
    pub heads: usize,
}

impl Adapter {
    /// An adapter on the uppermost `layers` blocks of a model; 0 leaves out the lowest sixteenth,
    /// as the official one leaves out 2 of 32.
    ///
    /// # Errors
    /// If the model has fewer blocks.
    pub fn new(
        tokens: usize,
        layers: usize,
        (blocks, width, heads): (usize, usize, usize),
    ) -> Result<Self> {
        if layers > blocks {
            return Err(Error::usage(format!(
                "`train.strategy.adapter.layers` is {layers}, but the model has {blocks} blocks"
            ))
            .hint(format!("set `train.strategy.adapter.layers={blocks}` or less")));
        }
        let layers = if layers == 0 { blocks - blocks / 16 } else { layers };
        Ok(Adapter { tokens, layers, blocks, width, heads })
    }

    /// The step of the model that is the first with prompts; nothing below it is trained.
    pub fn first_step(&self) -> usize {
        1 + self.blocks - self.layers
    }

    /// Its parameters: `tokens · layers · width + layers · heads` numbers.
    pub fn declare(&self) -> Vec<Declared> {
        let mut all = Declarations::new(1.0);
        all.at(self.first_step(), Role::Prompt);
        // As long as the gates are at 0 nothing flows back to the prompts.
        all.matrix(PROMPTS, self.tokens * self.layers, self.width).may_rest = true;

        for layer in self.blocks - self.layers..self.blocks {
            all.at(1 + layer, Role::Prompt);
            all.push(gate(layer), &[1, self.heads, 1, 1], Init::Zeros);
        }

        all.into()
    }

    /// Adds to what the attention of block `layer` mixed, `[rows, queries, heads · width]`, what
    /// its queries, of the same shape, see in the prompts; `project` makes keys and values `[1,
    /// tokens, shared · width]` of prompts `[1, tokens, hidden]`, and `with` is what the block's
    /// attention did.
    pub(super) fn add(
        &self,
        pass: &Pass,
        layer: usize,
        query: &Tensor,
        mixed: Tensor,
        with: Attention,
        project: impl FnOnce(&Tensor) -> Computed<(Tensor, Tensor)>,
    ) -> Computed<Tensor> {
        let Some(nth) = (layer + self.layers).checked_sub(self.blocks) else { return Ok(mixed) };
        let prompts =
            pass.get(&format!("{PROMPTS}.weight"))?.narrow(0, nth * self.tokens, self.tokens)?;
        let (key, value) = project(&prompts.unsqueeze(0)?.to_dtype(query.dtype())?)?;
        let rows = query.dim(0)?;
        let of_each_row = |x: &Tensor| {
            let (_, tokens, numbers) = x.dims3()?;
            x.broadcast_as((rows, tokens, numbers))?.contiguous()
        };
        let wide = if query.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let mask = Tensor::zeros((rows, 1, self.tokens), wide, query.device())?;
        let (heads, width) = (with.heads, with.width);
        let with = Attention { mask: &mask, bias: None, share: 0.0, key: None, site: "", ..with };
        let projected = Projected::Apart {
            query: query.clone(),
            key: of_each_row(&key)?,
            value: of_each_row(&value)?,
        };
        let seen = kernels::attention(&projected, with)?;
        let gate = pass.get(&gate(layer))?.tanh()?.to_dtype(query.dtype())?.reshape((heads, 1))?;
        let gate = gate.broadcast_as((heads, width))?.reshape((1, 1, heads * width))?;

        mixed + seen.broadcast_mul(&gate)?
    }

    /// Reads the tensors that [`Adapter::write`] wrote.
    ///
    /// # Errors
    /// If the folder holds no adapter, or one of another shape.
    pub fn read(&self, folder: &Path, dtype: DType, device: &Device) -> Result<Parameters> {
        let place = folder.join(CONFIG);
        let found: Adapter = read_json(&place)?.ok_or_else(|| {
            Error::usage(format!("`{}` holds no `{CONFIG}`", folder.display()))
                .hint("give the output folder of `kpipe train --adapter`")
        })?;

        if found != *self {
            let what = format!("the adapter is {found:?}, and {self:?} is wanted");
            let hint = "take the model it was trained on, and the same \
                        `train.strategy.adapter.tokens` and `train.strategy.adapter.layers`";
            return Err(Error::data(what).at(place.display()).hint(hint));
        }

        let tensors = super::parameters::read_tensors(&folder.join(WEIGHTS), device)?;
        let converted =
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(dtype)?)));
        let tensors = converted.collect::<Result<_>>()?;
        Parameters::from_tensors(tensors, &self.declare())
            .map_err(|error| error.at(folder.join(WEIGHTS).display()))
    }

    /// Writes the adapter alone into `folder`; gives the file of its tensors.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path, weights: &Weights) -> Result<std::path::PathBuf> {
        let declared = self.declare().into_iter();
        let tensors = declared.map(|one| Ok((one.name.clone(), weights.get(&one.name)?.clone())));
        let place = folder.join(WEIGHTS);
        Weights::new(tensors.collect::<Result<_>>()?).save(&place)?;
        write_json(&folder.join(CONFIG), self)?;
        Ok(place)
    }
}

fn gate(layer: usize) -> String {
    format!("layers.{layer}.attention.gate")
}
