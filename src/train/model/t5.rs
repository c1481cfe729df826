//! T5 (arXiv:1910.10683) and its gated version 1.1, in the layout of transformers'
//! `T5ForConditionalGeneration`.
//!
//! Two stacks without positions of their own: scores get a learnt number by bucket of relative
//! position, one table for each stack, which all its blocks share. Scores are not scaled. Where the
//! head is tied, the hidden state is scaled by `d_model^−½` before it (`scale_decoder_outputs`).
//!
//! Steps: embed the encoder's tokens; its blocks; one that ends the encoder and embeds the
//! decoder's tokens; the decoder's blocks, whose state is the decoder's and the encoder's.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::defaults::{tenth, yes};
use super::inputs::Tokens;
use super::layers::Pass;
use super::parameters::{Declarations, Declared, Init, Role};
use super::{Activations, Architecture, Family, Head, Inputs, Language, Size, Special};
use crate::train::kernels::{self, Activation, Attention, Projected};

/// See the module.
pub static T5: Family = Family {
    name: "t5",
    model_types: &["t5"],
    about: "an encoder and a decoder that restores spans",
    language: Language::Spans,
    read: |config, has| {
        let mut t5: T5Config = super::from_json(config)?;
        super::check_sizes(&[
            ("vocab_size", t5.vocab_size),
            ("d_model", t5.d_model),
            ("d_kv", t5.d_kv),
            ("d_ff", t5.d_ff),
            ("num_layers", t5.num_layers),
            ("num_decoder_layers", t5.layers(Stack::Decoder)),
            ("num_heads", t5.num_heads),
            ("relative_attention_max_distance", t5.relative_attention_max_distance),
        ])?;
        // Half of the encoder's are for each direction, and half of those for near places.
        super::check_divides(
            ("4", 4),
            ("relative_attention_num_buckets", t5.relative_attention_num_buckets),
        )?;
        super::check_sizes(&[(
            "relative_attention_num_buckets",
            t5.relative_attention_num_buckets,
        )])?;
        super::check_shares(&[("dropout_rate", t5.dropout_rate)])?;
        // transformers 5 writes `tie_word_embeddings = true` whatever the file holds.
        t5.scale_decoder_outputs = Some(t5.scale_decoder_outputs.unwrap_or(t5.tie_word_embeddings));
        t5.tie_word_embeddings = !has("lm_head.weight");
        t5.feed_forward()?;
        Ok(Box::new(t5))
    },
    canonical,
    copies: &[],
    special: Special {
        tokens: &["<pad>", "</s>", "<unk>"],
        sentinels: 100,
        before: None,
        behind: Some("</s>"),
    },
};

/// The shape, by the names of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct T5Config {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    /// Width of the hidden state.
    pub d_model: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width of the feed-forward layer.
    pub d_ff: usize,
    /// Blocks of the encoder.
    pub num_layers: usize,
    /// Blocks of the decoder; as many as the encoder's where it is not given.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    /// Attention heads.
    pub num_heads: usize,
    /// Buckets of relative positions.
    #[serde(default = "buckets")]
    pub relative_attention_num_buckets: usize,
    /// Positions farther apart share the last bucket.
    #[serde(default = "distance")]
    pub relative_attention_max_distance: usize,
    /// Share of activations dropped while training.
    #[serde(default = "tenth")]
    pub dropout_rate: f64,
    /// Added to the mean square in RMS norm.
    #[serde(default = "eps")]
    pub layer_norm_epsilon: f64,
    /// Scale of drawn weights.
    #[serde(default = "one")]
    pub initializer_factor: f64,
    /// `relu`, or `gated-gelu` in version 1.1.
    #[serde(default = "relu")]
    pub feed_forward_proj: String,
    /// Whether the head uses the word embeddings.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// Whether the hidden state is scaled before the head.
    #[serde(default)]
    pub scale_decoder_outputs: Option<bool>,
}

fn buckets() -> usize {
    32
}
fn distance() -> usize {
    128
}
fn eps() -> f64 {
    1e-6
}
fn one() -> f64 {
    1.0
}
fn relu() -> String {
    "relu".to_string()
}

/// The name a tensor of a published file has; `None` for copies of the word embeddings and what was
/// never used.
fn canonical(name: &str) -> Option<String> {
    let copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
    let unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
    (!copies.contains(&name) && name != unused).then(|| name.to_string())
}

const WORDS: &str = "shared";

/// One of the two stacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    Encoder,
    Decoder,
}

impl Stack {
    fn name(self) -> &'static str {
        match self {
            Stack::Encoder => "encoder",
            Stack::Decoder => "decoder",
        }
    }
}

impl Architecture for T5Config {
    fn declare(&self) -> Vec<Declared> {
        let factor = self.initializer_factor;
        let (model, inner, heads) = (self.d_model, self.num_heads * self.d_kv, self.num_heads);
        let (of_model, of_inner) = (factor / (model as f64).sqrt(), factor / (inner as f64).sqrt());
        let mut all = Declarations::new(of_model);
        all.drawn(WORDS, &[self.vocab_size, model], Init::Normal(factor));

        for stack in [Stack::Encoder, Stack::Decoder] {
            let name = stack.name();
            let first = match stack {
                Stack::Encoder => 1,
                Stack::Decoder => 2 + self.layers(Stack::Encoder),
            };
            let bias = format!("{name}.block.0.layer.0.SelfAttention.relative_attention_bias");
            all.at(first, Role::Attention);
            all.by_heads(1, heads, 1);
            all.drawn(
                &bias,
                &[self.relative_attention_num_buckets, heads],
                Init::Normal(of_model),
            )
            .decays = false;

            for layer in 0..self.layers(stack) {
                let block = format!("{name}.block.{layer}");
                all.at(first + layer, Role::Attention);
                let attentions: &[(usize, &str)] = match stack {
                    Stack::Encoder => &[(0, "SelfAttention")],
                    Stack::Decoder => &[(0, "SelfAttention"), (1, "EncDecAttention")],
                };

                for (nth, kind) in attentions {
                    let attention = format!("{block}.layer.{nth}.{kind}");
                    let of_query = factor / ((model * self.d_kv) as f64).sqrt();
                    all.by_heads(0, heads, 1);
                    all.drawn(&format!("{attention}.q"), &[inner, model], Init::Normal(of_query));

                    for part in ["k", "v"] {
                        all.by_heads(0, heads, 1);
                        all.matrix(&format!("{attention}.{part}"), inner, model);
                    }

                    all.by_heads(1, heads, 1);
                    all.drawn(&format!("{attention}.o"), &[model, inner], Init::Normal(of_inner));
                    all.scale(&format!("{block}.layer.{nth}.layer_norm"), model);
                }

                let feed_forward = format!("{block}.layer.{}", attentions.len());
                all.at(first + layer, Role::FeedForward);
                let wide: &[&str] = if self.is_gated() { &["wi_0", "wi_1"] } else { &["wi"] };

                for part in wide {
                    all.matrix(&format!("{feed_forward}.DenseReluDense.{part}"), self.d_ff, model);
                }
                let of_wide = factor / (self.d_ff as f64).sqrt();
                all.drawn(
                    &format!("{feed_forward}.DenseReluDense.wo"),
                    &[model, self.d_ff],
                    Init::Normal(of_wide),
                );
                all.scale(&format!("{feed_forward}.layer_norm"), model);
            }

            all.at(first + self.layers(stack), Role::Norm);
            all.scale(&format!("{name}.final_layer_norm"), model);
        }

        all.at(self.steps(), Role::Head);
        if !self.tie_word_embeddings {
            all.drawn("lm_head", &[self.vocab_size, model], Init::Normal(factor));
        }
        all.into()
    }

    fn size(&self) -> Size {
        Size { vocabulary: self.vocab_size, width: self.d_model, max_tokens: None }
    }

    fn steps(&self) -> usize {
        2 + self.layers(Stack::Encoder) + self.layers(Stack::Decoder)
    }

    fn turn(&self) -> usize {
        1 + self.layers(Stack::Encoder)
    }

    fn step(
        &self,
        pass: &Pass,
        inputs: &Inputs,
        step: usize,
        state: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let turn = self.turn();
        if step == 0 {
            return Ok(vec![self.embed(pass, &inputs.tokens, Stack::Encoder)?]);
        }

        if step < turn {
            let mask = inputs.tokens.mask()?;
            return Ok(vec![self.encoder_block(pass, step - 1, &state[0], &mask)?]);
        }

        // Without rows to decode, what the encoder found is the end.
        let Some(decoder) = &inputs.decoder else {
            return match step == turn {
                true => Ok(vec![self.end(pass, &state[0], Stack::Encoder)?]),
                false => Ok(state.to_vec()),
            };
        };
        if step == turn {
            let encoded = self.end(pass, &state[0], Stack::Encoder)?;
            return Ok(vec![self.embed(pass, decoder, Stack::Decoder)?, encoded]);
        }

        let (causal, seen) = (decoder.causal_mask()?, inputs.tokens.mask_from(decoder)?);
        let next =
            self.decoder_block(pass, step - turn - 1, &state[0], &state[1], &causal, &seen)?;
        Ok(vec![next, state[1].clone()])
    }

    fn hidden(&self, pass: &Pass, state: &[Tensor]) -> Result<Tensor> {
        match state {
            [encoded] => Ok(encoded.clone()),
            _ => self.end(pass, &state[0], Stack::Decoder),
        }
    }

    fn head(&self, pass: &Pass, hidden: &Tensor) -> Result<Head> {
        let scaled = match self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings) {
            true => hidden.affine((self.d_model as f64).powf(-0.5), 0.0)?,
            false => hidden.clone(),
        };
        pass.head(if self.tie_word_embeddings { WORDS } else { "lm_head" }, &scaled)
    }

    fn kept(&self, rows: usize, length: usize, decoded: usize) -> Vec<Activations> {
        let (width, heads, inner) = (self.d_model, self.num_heads, self.num_heads * self.d_kv);
        let feed_forward = 2 * width + if self.is_gated() { 4 } else { 3 } * self.d_ff;
        let own = |length: usize, weights: usize| {
            let block = Activations::of(
                rows * length,
                width,
                3 * width + 5 * inner + feed_forward,
                rows * heads * weights,
            );
            (block, Activations::of(rows * length, width, width, 0))
        };

        let (encoder, turn) = own(length, length * length);
        let (decoder, _) = own(decoded, kernels::causal_weights(decoded));
        let crossed = rows * decoded * (3 * width + 3 * inner)
            + rows * length * 2 * inner
            + rows * heads * decoded * length;
        let decoder = Activations { graph: decoder.graph + crossed as u64, ..decoder };
        let decoder = decoder.looking(rows * heads * decoded * (decoded + length));
        let encoder = encoder.looking(rows * heads * length * length);
        let mut all = vec![turn];
        all.extend(vec![encoder; self.layers(Stack::Encoder)]);
        all.push(turn);
        all.extend(vec![decoder; self.layers(Stack::Decoder)]);

        all
    }

    fn config(&self) -> serde_json::Value {
        super::described("t5", "T5ForConditionalGeneration", self)
    }
}

impl T5Config {
    fn layers(&self, stack: Stack) -> usize {
        match stack {
            Stack::Encoder => self.num_layers,
            Stack::Decoder => self.num_decoder_layers.unwrap_or(self.num_layers),
        }
    }

    fn is_gated(&self) -> bool {
        self.feed_forward_proj.starts_with("gated-")
    }

    /// The activation of the feed-forward layer.
    fn feed_forward(&self) -> crate::error::Result<Activation> {
        match self.feed_forward_proj.as_str() {
            "relu" => Ok(Activation::Relu),
            // Version 1.1 says `gated-gelu` and means the approximation.
            "gated-gelu" => Ok(Activation::GeluNew),
            "gated-silu" => Ok(Activation::Silu),
            other => Err(crate::error::Error::data(format!(
                "kpipe does not compute `feed_forward_proj` = `{other}`"
            ))
            .hint("it computes `relu`, `gated-gelu` and `gated-silu`")),
        }
    }

    fn embed(&self, pass: &Pass, tokens: &Tokens, stack: Stack) -> Result<Tensor> {
        let words = pass.embedding(WORDS, &tokens.ids)?.to_dtype(tokens.dtype)?;
        pass.drop(&words, self.dropout_rate, &format!("{}.embeddings", stack.name()))
    }

    fn norm(&self, pass: &Pass, name: &str, x: &Tensor) -> Result<Tensor> {
        pass.rms_norm(name, x, self.layer_norm_epsilon)
    }

    /// What ends a stack.
    fn end(&self, pass: &Pass, x: &Tensor, stack: Stack) -> Result<Tensor> {
        let name = stack.name();
        let normed = self.norm(pass, &format!("{name}.final_layer_norm"), x)?;
        pass.drop(&normed, self.dropout_rate, &format!("{name}.end"))
    }

    fn encoder_block(
        &self,
        pass: &Pass,
        layer: usize,
        x: &Tensor,
        mask: &Tensor,
    ) -> Result<Tensor> {
        let block = format!("encoder.block.{layer}.layer");
        let x = self.self_attention(pass, &block, x, mask, Stack::Encoder)?;
        self.feed_forward_part(pass, &format!("{block}.1"), &x)
    }

    fn decoder_block(
        &self,
        pass: &Pass,
        layer: usize,
        x: &Tensor,
        encoded: &Tensor,
        causal: &Tensor,
        seen: &Tensor,
    ) -> Result<Tensor> {
        let block = format!("decoder.block.{layer}.layer");
        let x = self.self_attention(pass, &block, x, causal, Stack::Decoder)?;
        let normed = self.norm(pass, &format!("{block}.1.layer_norm"), &x)?;
        let crossed = self.attention(
            pass,
            &format!("{block}.1.EncDecAttention"),
            &normed,
            encoded,
            None,
            seen,
        )?;

        let x = pass.residual(&x, &crossed, self.dropout_rate, &format!("{block}.1"))?;
        self.feed_forward_part(pass, &format!("{block}.2"), &x)
    }

    fn self_attention(
        &self,
        pass: &Pass,
        block: &str,
        x: &Tensor,
        mask: &Tensor,
        stack: Stack,
    ) -> Result<Tensor> {
        let bias = self.position_bias(pass, stack, x.dim(1)?)?;
        let normed = self.norm(pass, &format!("{block}.0.layer_norm"), x)?;
        let name = format!("{block}.0.SelfAttention");
        let mixed = self.attention(pass, &name, &normed, &normed, Some(&bias), mask)?;
        pass.residual(x, &mixed, self.dropout_rate, &format!("{block}.0"))
    }

    fn attention(
        &self,
        pass: &Pass,
        name: &str,
        from: &Tensor,
        to: &Tensor,
        bias: Option<&Tensor>,
        mask: &Tensor,
    ) -> Result<Tensor> {
        let part = |part: &str, x: &Tensor| pass.linear(&format!("{name}.{part}"), x);
        let with = Attention {
            heads: self.num_heads,
            width: self.d_kv,
            scale: 1.0,
            mask,
            bias,
            share: self.dropout_rate,
            key: pass.dropout,
            site: name,
        };

        let projected = Projected::Apart {
            query: part("q", from)?,
            key: part("k", to)?,
            value: part("v", to)?,
        };
        let mixed = pass.attend(&projected, with)?;
        pass.linear(&format!("{name}.o"), &mixed)
    }

    fn feed_forward_part(&self, pass: &Pass, layer: &str, x: &Tensor) -> Result<Tensor> {
        let activation = self.feed_forward().map_err(candle_core::Error::msg)?;
        let name = format!("{layer}.DenseReluDense");
        let normed = self.norm(pass, &format!("{layer}.layer_norm"), x)?;
        let wide = match self.is_gated() {
            true => {
                let (gate, up) = (format!("{name}.wi_0"), format!("{name}.wi_1"));
                pass.gated(&gate, &up, &normed, activation)?
            }
            false => pass.linear_activated(&format!("{name}.wi"), &normed, activation)?,
        };

        let wide = pass.drop(&wide, self.dropout_rate, &format!("{name}.wide"))?;
        let out = pass.linear(&format!("{name}.wo"), &wide)?;
        pass.residual(x, &out, self.dropout_rate, &name)
    }

    /// What the scores of a stack get by relative position, `[1, heads, length, length]`.
    fn position_bias(&self, pass: &Pass, stack: Stack, length: usize) -> Result<Tensor> {
        let name =
            format!("{}.block.0.layer.0.SelfAttention.relative_attention_bias", stack.name());
        let bucket =
            |idx: usize| self.bucket((idx % length) as i64 - (idx / length) as i64, stack) as u32;
        let buckets: Vec<u32> = (0..length * length).map(bucket).collect();
        let table = pass.get(&format!("{name}.weight"))?;
        let buckets = Tensor::from_vec(buckets, (length, length), table.device())?;
        kernels::embedding(table, &buckets)?.permute((2, 0, 1))?.unsqueeze(0)?.contiguous()
    }

    /// The bucket of a key `ahead` places ahead of its query: near places have one each, far ones
    /// share one by the logarithm of the distance (`_relative_position_bucket` in transformers'
    /// `modeling_t5.py`).
    fn bucket(&self, ahead: i64, stack: Stack) -> usize {
        let (n, start, distance) = match stack {
            Stack::Encoder => {
                let half = self.relative_attention_num_buckets / 2;
                (half, if ahead > 0 { half } else { 0 }, ahead.unsigned_abs() as usize)
            }
            Stack::Decoder => (self.relative_attention_num_buckets, 0, (-ahead).max(0) as usize),
        };

        let exact = n / 2;
        if distance < exact {
            return start + distance;
        }
        // In f32, as the reference: on the border of two buckets the rounding decides.
        let (far, near) = (self.relative_attention_max_distance as f32, exact as f32);
        let share = (distance as f32 / near).ln() / (far / near).ln();
        start + (exact + (share * (n - exact) as f32) as usize).min(n - 1)
    }
}
