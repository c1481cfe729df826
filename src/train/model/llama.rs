//! LLaMA (arXiv:2302.13971) in the layout of transformers' `LlamaForCausalLM`: RMS norm, rotary
//! positions, grouped keys and values, a gated feed-forward layer, no biases.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::defaults::deviation;
use super::layers::Pass;
use super::parameters::{Declarations, Declared, Role};
use super::{
    Activations, Adapter, Architecture, Family, Head, Inputs, Language, Size, Special, View,
};
use crate::error::{Error, Result as Checked};
use crate::train::kernels::{self, Activation, Attention, Projected};

/// See the module.
pub static LLAMA: Family = Family {
    name: "llama",
    model_types: &["llama"],
    about: "a decoder that predicts the next token",
    language: Language::Causal,
    read: |config, _| {
        for key in ["attention_bias", "mlp_bias"] {
            if config.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false) {
                return Err(Error::data(format!("`{key}` is true, which kpipe does not compute")));
            }
        }
        let llama: Llama = super::from_json(config)?;
        let (heads, hidden) = (
            ("num_attention_heads", llama.num_attention_heads),
            ("hidden_size", llama.hidden_size),
        );
        let keys = ("num_key_value_heads", llama.key_heads());
        super::check_sizes(&[
            ("vocab_size", llama.vocab_size),
            ("num_hidden_layers", llama.num_hidden_layers),
            ("intermediate_size", llama.intermediate_size),
            ("max_position_embeddings", llama.max_position_embeddings),
            heads,
            hidden,
            keys,
        ])?;
        super::check_divides(keys, heads)?;
        if llama.head_dim.is_none() {
            super::check_divides(heads, hidden)?;
        }
        super::check_sizes(&[("head_dim", llama.head_width())])?;
        // Rotary positions turn pairs.
        super::check_divides(("pairs of 2", 2), ("head_dim", llama.head_width()))?;
        super::check_shares(&[("attention_dropout", llama.attention_dropout)])?;
        llama.frequencies()?;
        Ok(Box::new(llama))
    },
    canonical,
    copies: &[],
    special: Special {
        tokens: &["<unk>", "<s>", "</s>"],
        sentinels: 0,
        before: Some("<s>"),
        behind: None,
    },
};

/// The shape, by the names of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Llama {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    /// Width of the hidden state.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Heads of keys and values; divides the attention heads, and equals them where it is not
    /// given.
    #[serde(default)]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; `hidden_size / num_attention_heads` where it is not given.
    #[serde(default)]
    pub head_dim: Option<usize>,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Longest row the model was trained on.
    pub max_position_embeddings: usize,
    /// Of the gate.
    #[serde(default = "silu")]
    pub hidden_act: Activation,
    /// Share of attention weights dropped while training.
    #[serde(default)]
    pub attention_dropout: f64,
    /// Deviation of drawn weights.
    #[serde(default = "deviation")]
    pub initializer_range: f64,
    /// Added to the mean square in RMS norm.
    #[serde(default = "eps")]
    pub rms_norm_eps: f64,
    /// Whether the head uses the word embeddings.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// How places become angles, as transformers 5 writes it.
    #[serde(default)]
    pub rope_parameters: Option<Rope>,
    /// The same as transformers 4 writes it, without the base.
    #[serde(default)]
    pub rope_scaling: Option<Rope>,
    /// The base, as transformers 4 writes it.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// Prompts in the upper blocks.
    #[serde(skip)]
    pub adapter: Option<Adapter>,
}

/// How places become angles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// The base of the angles.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// `default`, `linear` or `llama3`.
    #[serde(alias = "type")]
    pub rope_type: String,
    /// By how much places are pulled together.
    #[serde(default)]
    pub factor: Option<f64>,
    /// Of `llama3`: slower pairs than this many turns within the original length are pulled
    /// together whole.
    #[serde(default)]
    pub low_freq_factor: Option<f64>,
    /// Of `llama3`: faster pairs than this many turns are left alone.
    #[serde(default)]
    pub high_freq_factor: Option<f64>,
    /// Of `llama3`: length before it was stretched.
    #[serde(default)]
    pub original_max_position_embeddings: Option<f64>,
}

fn silu() -> Activation {
    Activation::Silu
}
fn eps() -> f64 {
    1e-6
}

/// The name a tensor of a published file has today; `None` for buffers that hold no parameter.
fn canonical(name: &str) -> Option<String> {
    if name.ends_with("rotary_emb.inv_freq") {
        return None;
    }
    Some(match name.starts_with("model.") || name.starts_with("lm_head.") {
        true => name.to_string(),
        false => format!("model.{name}"),
    })
}

const WORDS: &str = "model.embed_tokens";

impl Architecture for Llama {
    fn declare(&self) -> Vec<Declared> {
        let mut all = Declarations::new(self.initializer_range);
        let (hidden, wide, width) = (self.hidden_size, self.intermediate_size, self.head_width());
        let (queries, keys) = (self.num_attention_heads * width, self.key_heads() * width);
        all.matrix(WORDS, self.vocab_size, hidden);

        for layer in 0..self.num_hidden_layers {
            let block = format!("model.layers.{layer}");
            all.at(1 + layer, Role::Attention);
            all.scale(&format!("{block}.input_layernorm"), hidden);
            all.by_heads(0, self.num_attention_heads, 1);
            all.matrix(&format!("{block}.self_attn.q_proj"), queries, hidden);

            for name in ["k_proj", "v_proj"] {
                all.by_heads(0, self.key_heads(), 1);
                all.matrix(&format!("{block}.self_attn.{name}"), keys, hidden);
            }

            all.by_heads(1, self.num_attention_heads, 1);
            all.matrix(&format!("{block}.self_attn.o_proj"), hidden, queries);
            all.at(1 + layer, Role::FeedForward);
            all.scale(&format!("{block}.post_attention_layernorm"), hidden);
            all.matrix(&format!("{block}.mlp.gate_proj"), wide, hidden);
            all.matrix(&format!("{block}.mlp.up_proj"), wide, hidden);

            all.matrix(&format!("{block}.mlp.down_proj"), hidden, wide);
        }

        all.at(self.steps(), Role::Norm);
        all.scale("model.norm", hidden);
        all.at(self.steps(), Role::Head);
        if !self.tie_word_embeddings {
            all.matrix("lm_head", self.vocab_size, hidden);
        }
        all.into()
    }

    fn size(&self) -> Size {
        Size {
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            max_tokens: Some(self.max_position_embeddings),
        }
    }

    fn steps(&self) -> usize {
        1 + self.num_hidden_layers
    }

    fn step(
        &self,
        pass: &Pass,
        inputs: &Inputs,
        step: usize,
        state: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let next = match step {
            0 => pass.embedding(WORDS, &inputs.tokens.ids)?.to_dtype(inputs.tokens.dtype)?,
            _ => self.block(pass, step - 1, &state[0], &inputs.tokens.mask_of(View::Before)?)?,
        };
        Ok(vec![next])
    }

    fn hidden(&self, pass: &Pass, state: &[Tensor]) -> Result<Tensor> {
        pass.rms_norm("model.norm", &state[0], self.rms_norm_eps)
    }

    fn head(&self, pass: &Pass, hidden: &Tensor) -> Result<Head> {
        pass.head(if self.tie_word_embeddings { WORDS } else { "lm_head" }, hidden)
    }

    fn kept(&self, rows: usize, length: usize, _: usize) -> Vec<Activations> {
        let (tokens, width, heads) = (rows * length, self.hidden_size, self.num_attention_heads);
        let (queries, keys) = (heads * self.head_width(), self.key_heads() * self.head_width());
        let of_attention = 4 * queries + 3 * keys;
        let weights = rows * heads * kernels::causal_weights(length);
        let graph = 5 * width + of_attention + 3 * self.intermediate_size;
        let block = Activations::of(tokens, width, graph, weights);
        let mut all = vec![block.looking(rows * heads * length * length); self.steps()];
        all[0] = Activations::of(tokens, width, 0, 0);

        all
    }

    fn config(&self) -> serde_json::Value {
        super::described("llama", "LlamaForCausalLM", self)
    }

    fn adapt(&mut self, tokens: usize, layers: usize) -> Checked<&Adapter> {
        let size = (self.num_hidden_layers, self.hidden_size, self.num_attention_heads);
        Ok(self.adapter.insert(Adapter::new(tokens, layers, size)?))
    }

    fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }
}

impl Llama {
    fn head_width(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    fn key_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// By how much each pair turns from one place to the next: `θ^(−2i/width)`, stretched as the
    /// file says (`huggingface/transformers:src/transformers/modeling_rope_utils.py`).
    fn frequencies(&self) -> Checked<Vec<f64>> {
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let theta = rope.and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0);
        let width = self.head_width();
        let plain = (0..width / 2).map(|pair| theta.powf(-2.0 * pair as f64 / width as f64));
        let Some(rope) = rope else { return Ok(plain.collect()) };
        let asked = |key: &str, value: Option<f64>| {
            value.ok_or_else(|| {
                Error::data(format!("rotary positions of type `{}` need `{key}`", rope.rope_type))
            })
        };

        match rope.rope_type.as_str() {
            "default" => Ok(plain.collect()),
            "linear" => {
                let factor = asked("factor", rope.factor)?;
                Ok(plain.map(|frequency| frequency / factor).collect())
            }
            "llama3" => {
                let factor = asked("factor", rope.factor)?;
                let low = asked("low_freq_factor", rope.low_freq_factor)?;
                let high = asked("high_freq_factor", rope.high_freq_factor)?;
                let length = asked(
                    "original_max_position_embeddings",
                    rope.original_max_position_embeddings,
                )?;
                let stretch = |frequency: f64| {
                    let turns = length * frequency / std::f64::consts::TAU;
                    let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - share) * frequency / factor + share * frequency
                };

                Ok(plain.map(stretch).collect())
            }
            other => Err(Error::data(format!(
                "kpipe does not compute rotary positions of type `{other}`"
            ))
            .hint("it computes `default`, `linear` and `llama3`")),
        }
    }

    fn block(&self, pass: &Pass, layer: usize, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let name = format!("model.layers.{layer}");
        let norm = |place: &str, x: &Tensor| {
            pass.rms_norm(&format!("{name}.{place}"), x, self.rms_norm_eps)
        };
        let x = pass.residual(
            x,
            &self.attention(pass, layer, &norm("input_layernorm", x)?, mask)?,
            0.0,
            "",
        )?;

        let normed = norm("post_attention_layernorm", &x)?;
        let (gate, up) = (format!("{name}.mlp.gate_proj"), format!("{name}.mlp.up_proj"));
        let wide = pass.gated(&gate, &up, &normed, self.hidden_act)?;
        pass.residual(&x, &pass.linear(&format!("{name}.mlp.down_proj"), &wide)?, 0.0, "")
    }

    fn attention(&self, pass: &Pass, layer: usize, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let block = format!("model.layers.{layer}");
        let frequencies = self.frequencies().map_err(candle_core::Error::msg)?;
        let part = |name: &str, x: &Tensor| pass.linear(&format!("{block}.self_attn.{name}"), x);
        let turned = |name: &str| kernels::rope(&part(name, x)?, &frequencies);
        let site = format!("{block}.attention");
        let with = Attention {
            heads: self.num_attention_heads,
            width: self.head_width(),
            scale: 1.0 / (self.head_width() as f64).sqrt(),
            mask,
            bias: None,
            share: self.attention_dropout,
            key: pass.dropout,
            site: &site,
        };

        let query = turned("q_proj")?;
        let projected = Projected::Apart {
            query: query.clone(),
            key: turned("k_proj")?,
            value: part("v_proj", x)?,
        };
        let mut mixed = pass.attend(&projected, with)?;

        if let Some(adapter) = &self.adapter {
            let project = |x: &Tensor| Ok((part("k_proj", x)?, part("v_proj", x)?));
            mixed = adapter.add(pass, layer, &query, mixed, with, project)?;
        }

        pass.linear(&format!("{block}.self_attn.o_proj"), &mixed)
    }
}
