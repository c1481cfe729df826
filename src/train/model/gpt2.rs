//! GPT-2 (Radford et al. 2019) in the layout of transformers' `GPT2LMHeadModel`, whose matrices are
//! `[in, out]`.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::defaults::{deviation, tenth, yes};
use super::layers::Pass;
use super::parameters::{Declarations, Declared, Role};
use super::{
    Activations, Adapter, Architecture, Family, Head, Inputs, Language, Size, Special, View,
};
use crate::error::Error;
use crate::train::kernels::{self, Activation, Attention, Projected};

/// See the module.
pub static GPT2: Family = Family {
    name: "gpt2",
    model_types: &["gpt2"],
    about: "a decoder that predicts the next token",
    language: Language::Causal,
    read: |config, _| {
        for (key, expected) in
            [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false)]
        {
            if config
                .get(key)
                .and_then(serde_json::Value::as_bool)
                .is_some_and(|found| found != expected)
            {
                return Err(Error::data(format!(
                    "`{key}` is {}, which kpipe does not compute",
                    !expected
                )));
            }
        }
        let gpt2: Gpt2 = super::from_json(config)?;
        let (heads, hidden) = (("n_head", gpt2.n_head), ("n_embd", gpt2.n_embd));
        super::check_sizes(&[
            ("vocab_size", gpt2.vocab_size),
            ("n_layer", gpt2.n_layer),
            ("n_inner", gpt2.inner()),
            ("n_positions", gpt2.n_positions),
            heads,
            hidden,
        ])?;
        super::check_divides(heads, hidden)?;
        super::check_shares(&[
            ("embd_pdrop", gpt2.embd_pdrop),
            ("attn_pdrop", gpt2.attn_pdrop),
            ("resid_pdrop", gpt2.resid_pdrop),
        ])?;
        Ok(Box::new(gpt2))
    },
    canonical,
    copies: &[],
    special: Special { tokens: &["<|endoftext|>"], sentinels: 0, before: None, behind: None },
};

/// The shape, by the names of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt2 {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    /// Width of the hidden state.
    pub n_embd: usize,
    /// Blocks.
    pub n_layer: usize,
    /// Attention heads.
    pub n_head: usize,
    /// Rows of the position embeddings.
    pub n_positions: usize,
    /// Width of the feed-forward layer; 4 times `n_embd` where it is not given.
    #[serde(default)]
    pub n_inner: Option<usize>,
    /// Of the feed-forward layer.
    #[serde(default = "gelu_new")]
    pub activation_function: Activation,
    /// Share of the embeddings dropped while training.
    #[serde(default = "tenth")]
    pub embd_pdrop: f64,
    /// Share of attention weights dropped while training.
    #[serde(default = "tenth")]
    pub attn_pdrop: f64,
    /// Share of what attention and feed-forward give that is dropped while training.
    #[serde(default = "tenth")]
    pub resid_pdrop: f64,
    /// Deviation of drawn weights; matrices that end in a residual sum get it divided by `√(2 ·
    /// n_layer)`.
    #[serde(default = "deviation")]
    pub initializer_range: f64,
    /// Added to the variance in layer norm.
    #[serde(default = "eps")]
    pub layer_norm_epsilon: f64,
    /// Whether the head uses the word embeddings.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// Prompts in the upper blocks.
    #[serde(skip)]
    pub adapter: Option<Adapter>,
}

fn gelu_new() -> Activation {
    Activation::GeluNew
}
fn eps() -> f64 {
    1e-5
}

/// The name a tensor of a published file has today; `None` for buffers that hold no parameter.
fn canonical(name: &str) -> Option<String> {
    if name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") {
        return None;
    }
    Some(match name.starts_with("transformer.") || name.starts_with("lm_head.") {
        true => name.to_string(),
        false => format!("transformer.{name}"),
    })
}

const WORDS: &str = "transformer.wte";

impl Architecture for Gpt2 {
    fn declare(&self) -> Vec<Declared> {
        let mut all = Declarations::new(self.initializer_range);
        let (hidden, wide) = (self.n_embd, self.inner());
        let ending = self.initializer_range / (2.0 * self.n_layer as f64).sqrt();
        all.matrix(WORDS, self.vocab_size, hidden);
        all.matrix("transformer.wpe", self.n_positions, hidden);

        for layer in 0..self.n_layer {
            let block = format!("transformer.h.{layer}");
            all.at(1 + layer, Role::Attention);
            all.norm(&format!("{block}.ln_1"), hidden);
            all.by_heads(1, self.n_head, 3);
            all.conv1d(&format!("{block}.attn.c_attn"), hidden, 3 * hidden, self.initializer_range);
            all.by_heads(0, self.n_head, 1);
            all.conv1d(&format!("{block}.attn.c_proj"), hidden, hidden, ending);
            all.at(1 + layer, Role::FeedForward);
            all.norm(&format!("{block}.ln_2"), hidden);
            all.conv1d(&format!("{block}.mlp.c_fc"), hidden, wide, self.initializer_range);

            all.conv1d(&format!("{block}.mlp.c_proj"), wide, hidden, ending);
        }

        all.at(self.steps(), Role::Norm);
        all.norm("transformer.ln_f", hidden);
        all.at(self.steps(), Role::Head);
        if !self.tie_word_embeddings {
            all.matrix("lm_head", self.vocab_size, hidden);
        }
        all.into()
    }

    fn size(&self) -> Size {
        Size { vocabulary: self.vocab_size, width: self.n_embd, max_tokens: Some(self.n_positions) }
    }

    fn steps(&self) -> usize {
        1 + self.n_layer
    }

    fn step(
        &self,
        pass: &Pass,
        inputs: &Inputs,
        step: usize,
        state: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let next = match step {
            0 => self.embed(pass, inputs)?.to_dtype(inputs.tokens.dtype)?,
            _ => self.block(pass, step - 1, &state[0], &inputs.tokens.mask_of(View::Before)?)?,
        };
        Ok(vec![next])
    }

    fn hidden(&self, pass: &Pass, state: &[Tensor]) -> Result<Tensor> {
        pass.layer_norm("transformer.ln_f", &state[0], self.layer_norm_epsilon)
    }

    fn head(&self, pass: &Pass, hidden: &Tensor) -> Result<Head> {
        pass.head(if self.tie_word_embeddings { WORDS } else { "lm_head" }, hidden)
    }

    fn kept(&self, rows: usize, length: usize, _: usize) -> Vec<Activations> {
        let (tokens, width) = (rows * length, self.n_embd);
        let weights = rows * self.n_head * kernels::causal_weights(length);
        let block = Activations::of(tokens, width, 10 * width + 2 * self.inner(), weights);
        let mut all = vec![block.looking(rows * self.n_head * length * length); self.steps()];
        all[0] = Activations::of(tokens, width, 2 * width, 0);
        all
    }

    fn config(&self) -> serde_json::Value {
        super::described("gpt2", "GPT2LMHeadModel", self)
    }

    fn adapt(&mut self, tokens: usize, layers: usize) -> crate::error::Result<&Adapter> {
        let size = (self.n_layer, self.n_embd, self.n_head);
        Ok(self.adapter.insert(Adapter::new(tokens, layers, size)?))
    }

    fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }
}

impl Gpt2 {
    fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    fn embed(&self, pass: &Pass, inputs: &Inputs) -> Result<Tensor> {
        let words = pass.embedding(WORDS, &inputs.tokens.ids)?;
        let words = pass.with_positions("transformer.wpe", &words, &inputs.tokens)?;
        pass.drop(&words, self.embd_pdrop, "embeddings")
    }

    fn block(&self, pass: &Pass, layer: usize, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let name = format!("transformer.h.{layer}");
        let norm = |place: &str, x: &Tensor| {
            pass.layer_norm(&format!("{name}.{place}"), x, self.layer_norm_epsilon)
        };
        let mixed = self.attention(pass, layer, &norm("ln_1", x)?, mask)?;
        let x = pass.residual(x, &mixed, self.resid_pdrop, &format!("{name}.mixed"))?;
        let wide = pass.conv1d_activated(
            &format!("{name}.mlp.c_fc"),
            &norm("ln_2", &x)?,
            self.activation_function,
        )?;
        let out = pass.conv1d(&format!("{name}.mlp.c_proj"), &wide)?;

        pass.residual(&x, &out, self.resid_pdrop, &format!("{name}.mlp"))
    }

    fn attention(&self, pass: &Pass, layer: usize, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let block = format!("transformer.h.{layer}");
        let (hidden, heads) = (self.n_embd, self.n_head);
        let site = format!("{block}.attention");
        let with = Attention {
            heads,
            width: hidden / heads,
            scale: 1.0 / ((hidden / heads) as f64).sqrt(),
            mask,
            bias: None,
            share: self.attn_pdrop,
            key: pass.dropout,
            site: &site,
        };
        let project = |x: &Tensor| {
            Ok::<_, candle_core::Error>(Projected::Joined(
                pass.conv1d(&format!("{block}.attn.c_attn"), x)?,
            ))
        };

        let projected = project(x)?;
        let mut mixed = pass.attend(&projected, with)?;

        if let Some(adapter) = &self.adapter {
            let [query, _, _] = projected.apart()?;
            mixed = adapter.add(pass, layer, &query, mixed, with, |x| {
                let [_, key, value] = project(x)?.apart()?;
                Ok((key, value))
            })?;
        }

        pass.conv1d(&format!("{block}.attn.c_proj"), &mixed)
    }
}
