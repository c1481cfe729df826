//! The MarianMT model: an encoder and a decoder with norms behind each part (arXiv:1706.03762), as
//! transformers' `modeling_marian.py` computes them, without anything to learn.
//!
//! The decoder computes one token at a time. What it has computed of the tokens before, and of the
//! source, is kept ([`Decoding`]): keys and values of each block, `[rows, places, width]`.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use super::search::Decoder;
use crate::error::{Error, Result};
use crate::flow::dataset::read_json;
use crate::flow::foreign::caught;
use crate::train::kernels::{self, Activation, Attention, MASKED, Projected};
use crate::train::model::parameters::read_tensors;

/// The shape.
pub const CONFIG: &str = "config.json";
/// The weights.
pub const WEIGHTS: &str = "model.safetensors";
/// The weights as most of these models are published. It is read by candle's own reader, which
/// knows the few objects a checkpoint is made of and runs nothing.
pub const PICKLE: &str = "pytorch_model.bin";
/// Added to the variance in layer norm: PyTorch's default, which these models do not set.
const EPS: f64 = 1e-5;

/// The shape, by the names of `config.json`.
#[derive(Clone, Debug, Deserialize)]
struct Config {
    d_model: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    encoder_attention_heads: usize,
    decoder_attention_heads: usize,
    activation_function: Activation,
    #[serde(default)]
    scale_embedding: bool,
    max_position_embeddings: usize,
    #[serde(default = "yes")]
    share_encoder_decoder_embeddings: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn yes() -> bool {
    true
}

/// `x · weightᵀ + bias`.
struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    fn of(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        kernels::linear(x, &self.weight, Some(&self.bias))
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    /// The norm of `x` and what is added to it.
    fn of(&self, x: &Tensor, branch: &Tensor) -> candle_core::Result<Tensor> {
        kernels::layer_norm(&(x + branch)?, &self.weight, &self.bias, EPS)
    }
}

struct Attend {
    query: Dense,
    key: Dense,
    value: Dense,
    out: Dense,
    heads: usize,
}

impl Attend {
    /// Attention of `x`, `[rows, queries, width]`, to places with these keys and values, of which
    /// `mask`, `[rows, 1, places]`, says which are there.
    fn of(
        &self,
        x: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let width = x.dim(2)? / self.heads;
        let projected =
            Projected::Apart { query: self.query.of(x)?, key: key.clone(), value: value.clone() };
        let with = Attention {
            heads: self.heads,
            width,
            scale: (width as f64).powf(-0.5),
            mask,
            bias: None,
            share: 0.0,
            key: None,
            site: "",
        };
        self.out.of(&kernels::attention(&projected, with)?)
    }
}

/// What a block of either stack ends with.
struct FeedForward {
    wide: Dense,
    narrow: Dense,
    norm: Norm,
    activation: Activation,
}

impl FeedForward {
    fn of(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (weight, bias) = (&self.wide.weight, Some(&self.wide.bias));
        let wide = kernels::linear_activated(x, weight, bias, self.activation)?;
        self.norm.of(x, &self.narrow.of(&wide)?)
    }
}

struct EncoderBlock {
    attention: Attend,
    norm: Norm,
    feed_forward: FeedForward,
}

struct DecoderBlock {
    attention: Attend,
    norm: Norm,
    crossed: Attend,
    crossed_norm: Norm,
    feed_forward: FeedForward,
}

/// See the module.
pub struct Marian {
    config: Config,
    device: Device,
    dtype: DType,
    words: Tensor,
    decoder_words: Tensor,
    head: Tensor,
    head_bias: Tensor,
    /// `[places, width]`.
    positions: Tensor,
    encoder: Vec<EncoderBlock>,
    decoder: Vec<DecoderBlock>,
}

impl Marian {
    /// Reads `config.json` and the weights of a folder.
    ///
    /// # Errors
    /// If a file is missing or broken, or the model is of another kind.
    pub fn read(folder: &Path, device: &Device) -> Result<Self> {
        let place = folder.join(CONFIG);
        let config: Value = read_json(&place)?.ok_or_else(|| {
            Error::usage(format!("`{}` holds no `{CONFIG}`", folder.display())).hint(
                "give a folder of a MarianMT model, such as `Helsinki-NLP/opus-mt-en-zh` from \
                 the hub",
            )
        })?;
        let kind = config["model_type"].as_str().unwrap_or_default();
        if kind != "marian" {
            return Err(Error::data(format!(
                "`model_type` is `{kind}`, and only `marian` translates here"
            ))
            .at(place.display()));
        }
        let config: Config = serde_json::from_value(config)
            .map_err(|cause| Error::data(cause.to_string()).at(place.display()))?;
        let heads = [config.encoder_attention_heads, config.decoder_attention_heads];
        if heads.iter().any(|heads| *heads == 0 || !config.d_model.is_multiple_of(*heads)) {
            return Err(Error::data(format!(
                "`d_model` is {}, which the heads, {} and {}, do not divide",
                config.d_model, heads[0], heads[1]
            ))
            .at(place.display()));
        }
        let weights = Weights::read(folder, device)?;
        Self::of(config, weights).map_err(|error| error.at(folder.display()))
    }

    fn of(config: Config, mut weights: Weights) -> Result<Self> {
        let width = config.d_model;
        let (words, decoder_words) = match config.share_encoder_decoder_embeddings {
            true => {
                let names = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];
                let name = names.iter().find(|name| weights.has(&format!("model.{name}.weight")));
                let name = name.copied().unwrap_or("shared");
                let words = weights.matrix(&format!("model.{name}.weight"), &[0, width])?;
                (words.clone(), words)
            }
            false => (
                weights.matrix("model.encoder.embed_tokens.weight", &[0, width])?,
                weights.matrix("model.decoder.embed_tokens.weight", &[0, width])?,
            ),
        };
        let head = match config.tie_word_embeddings {
            true => decoder_words.clone(),
            false => weights.matrix("lm_head.weight", &[0, width])?,
        };
        let n = head.dim(0)?;
        let head_bias = match weights.has("final_logits_bias") {
            true => weights.exact("final_logits_bias", &[1, n])?.flatten_all()?,
            false => Tensor::zeros(n, DType::F32, &weights.device)?,
        };

        let encoder = (0..config.encoder_layers)
            .map(|layer| {
                let name = format!("model.encoder.layers.{layer}");
                Ok(EncoderBlock {
                    attention: weights.attend(
                        &format!("{name}.self_attn"),
                        width,
                        config.encoder_attention_heads,
                    )?,
                    norm: weights.norm(&format!("{name}.self_attn_layer_norm"), width)?,
                    feed_forward: weights.feed_forward(&name, &config)?,
                })
            })
            .collect::<Result<_>>()?;
        let decoder = (0..config.decoder_layers)
            .map(|layer| {
                let name = format!("model.decoder.layers.{layer}");
                let heads = config.decoder_attention_heads;
                Ok(DecoderBlock {
                    attention: weights.attend(&format!("{name}.self_attn"), width, heads)?,
                    norm: weights.norm(&format!("{name}.self_attn_layer_norm"), width)?,
                    crossed: weights.attend(&format!("{name}.encoder_attn"), width, heads)?,
                    crossed_norm: weights
                        .norm(&format!("{name}.encoder_attn_layer_norm"), width)?,
                    feed_forward: weights.feed_forward(&name, &config)?,
                })
            })
            .collect::<Result<_>>()?;

        let places = config.max_position_embeddings;
        let positions = sinusoids(places, width);
        let positions = Tensor::from_vec(positions, (places, width), &weights.device)?;
        Ok(Marian {
            config,
            positions: positions.to_dtype(weights.dtype)?,
            device: weights.device,
            dtype: weights.dtype,
            words,
            decoder_words,
            head,
            head_bias,
            encoder,
            decoder,
        })
    }

    /// Rows of the source's embeddings.
    pub fn vocabulary(&self) -> usize {
        self.words.dims()[0]
    }

    /// Most tokens of a source or a translation.
    pub fn longest(&self) -> usize {
        self.config.max_position_embeddings
    }

    /// Embeds ids `[rows, length]`, the first of which stands at the place `first`.
    fn embed(&self, words: &Tensor, ids: &Tensor, first: usize) -> candle_core::Result<Tensor> {
        let scale = match self.config.scale_embedding {
            true => (self.config.d_model as f64).sqrt(),
            false => 1.0,
        };
        let embedded = kernels::embedding(words, ids)?.to_dtype(self.dtype)?;
        let positions = self.positions.narrow(0, first, ids.dim(1)?)?;
        embedded.affine(scale, 0.0)?.broadcast_add(&positions)
    }

    /// Encodes rows of ids, and gets ready to translate them.
    ///
    /// # Errors
    /// If an id has no embedding or the device fails.
    pub fn encode(&self, rows: &[&[u32]], pad: u32) -> Result<Decoding<'_>> {
        let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let padded = |row: &&[u32]| {
            row.iter().copied().chain(std::iter::repeat(pad)).take(length).collect::<Vec<u32>>()
        };
        let ids: Vec<u32> = rows.iter().flat_map(padded).collect();
        let seen = |row: &&[u32]| {
            let n = row.len();
            (0..length).map(|place| if place < n { 0.0 } else { MASKED }).collect::<Vec<f32>>()
        };
        let mask: Vec<f32> = rows.iter().flat_map(seen).collect();
        let ids = Tensor::from_vec(ids, (rows.len(), length), &self.device)?;
        let mask = Tensor::from_vec(mask, (rows.len(), 1, length), &self.device)?;

        let mut x = self.embed(&self.words, &ids, 0)?;
        for block in &self.encoder {
            let (key, value) = (block.attention.key.of(&x)?, block.attention.value.of(&x)?);
            let attended = block.attention.of(&x, &key, &value, &mask)?;
            x = block.feed_forward.of(&block.norm.of(&x, &attended)?)?;
        }
        let kept = |block: &DecoderBlock| -> Result<Kept> {
            Ok(Kept {
                own: None,
                source: Places {
                    key: block.crossed.key.of(&x)?,
                    value: block.crossed.value.of(&x)?,
                },
            })
        };
        let blocks = self.decoder.iter().map(kept).collect::<Result<_>>()?;
        Ok(Decoding { model: self, mask, blocks, length: 0 })
    }
}

/// Keys and values of places, `[rows, places, width]`.
struct Places {
    key: Tensor,
    value: Tensor,
}

impl Places {
    fn keep(&mut self, rows: &Tensor) -> candle_core::Result<()> {
        self.key = self.key.index_select(rows, 0)?;
        self.value = self.value.index_select(rows, 0)?;
        Ok(())
    }
}

/// What is kept of one block.
struct Kept {
    own: Option<Places>,
    source: Places,
}

/// Rows that are being translated.
pub struct Decoding<'a> {
    model: &'a Marian,
    /// Which places of the sources are there.
    mask: Tensor,
    blocks: Vec<Kept>,
    /// Tokens so far.
    length: usize,
}

impl Decoding<'_> {
    fn logits(&mut self, tokens: &[u32]) -> candle_core::Result<Vec<f32>> {
        let model = self.model;
        let n = tokens.len();
        let ids = Tensor::from_slice(tokens, (n, 1), &model.device)?;
        let mut x = model.embed(&model.decoder_words, &ids, self.length)?;
        self.length += 1;
        // A row sees all of its own tokens so far.
        let all = Tensor::zeros((n, 1, self.length), DType::F32, &model.device)?;

        for (block, kept) in model.decoder.iter().zip(&mut self.blocks) {
            let (key, value) = (block.attention.key.of(&x)?, block.attention.value.of(&x)?);
            let own = match kept.own.take() {
                None => Places { key, value },
                Some(before) => Places {
                    key: Tensor::cat(&[&before.key, &key], 1)?,
                    value: Tensor::cat(&[&before.value, &value], 1)?,
                },
            };
            let attended = block.attention.of(&x, &own.key, &own.value, &all)?;
            kept.own = Some(own);
            x = block.norm.of(&x, &attended)?;
            let Places { key, value } = &kept.source;
            let crossed = block.crossed.of(&x, key, value, &self.mask)?;
            x = block.feed_forward.of(&block.crossed_norm.of(&x, &crossed)?)?;
        }
        let x = x.reshape((n, model.config.d_model))?;
        let logits = kernels::linear(&x, &model.head, None)?.to_dtype(DType::F32)?;
        logits.broadcast_add(&model.head_bias)?.flatten_all()?.to_vec1()
    }
}

impl Decoder for Decoding<'_> {
    fn next(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        Ok(self.logits(tokens)?)
    }

    fn keep(&mut self, rows: &[u32]) -> Result<()> {
        let rows = Tensor::from_slice(rows, rows.len(), &self.model.device)?;
        self.mask = self.mask.index_select(&rows, 0)?;
        for kept in &mut self.blocks {
            kept.source.keep(&rows)?;
            if let Some(own) = &mut kept.own {
                own.keep(&rows)?;
            }
        }
        Ok(())
    }
}

/// The embeddings of places: sines in the first half of the width, cosines in the second
/// (`MarianSinusoidalPositionalEmbedding`).
fn sinusoids(places: usize, width: usize) -> Vec<f32> {
    let half = width.div_ceil(2);
    let of = |place: usize, at: usize| {
        let nth = if at < half { at } else { at - half };
        let angle = place as f64 / 10_000_f64.powf(2.0 * nth as f64 / width as f64);
        (if at < half { angle.sin() } else { angle.cos() }) as f32
    };
    (0..places).flat_map(|place| (0..width).map(move |at| of(place, at))).collect()
}

/// Tensors by name: matrices in the type that is computed in, everything else in f32.
struct Weights {
    tensors: BTreeMap<String, Tensor>,
    device: Device,
    dtype: DType,
}

impl Weights {
    fn read(folder: &Path, device: &Device) -> Result<Self> {
        let (safe, pickle) = (folder.join(WEIGHTS), folder.join(PICKLE));
        let tensors = if safe.is_file() {
            read_tensors(&safe, &Device::Cpu)?
        } else if pickle.is_file() {
            unpickled(&pickle)?
        } else {
            return Err(Error::usage(format!(
                "`{}` holds neither `{WEIGHTS}` nor `{PICKLE}`",
                folder.display()
            ))
            .hint("copy the folder with its weights"));
        };
        let dtype = if device.is_cpu() { DType::F32 } else { DType::BF16 };
        Ok(Weights { tensors, device: device.clone(), dtype })
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of this shape in f32; 0 stands for any size.
    fn exact(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::data(format!("the weights have no tensor `{name}`")))?;
        let fits = |(is, wanted): (&usize, &usize)| *wanted == 0 || is == wanted;
        if tensor.dims().len() != shape.len() || !tensor.dims().iter().zip(shape).all(fits) {
            return Err(Error::data(format!(
                "the tensor `{name}` has the shape {:?}, and `{CONFIG}` asks for {shape:?} (0 is \
                 any)",
                tensor.dims()
            )));
        }
        let tensor = tensor.to_dtype(DType::F32)?;
        if !tensor.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Err(Error::data(format!(
                "the tensor `{name}` holds numbers that are not finite"
            )));
        }
        Ok(tensor.to_device(&self.device)?)
    }

    fn matrix(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(self.exact(name, shape)?.to_dtype(self.dtype)?)
    }

    /// A dense layer, `[out, in]`; 0 stands for any size.
    fn dense(&mut self, name: &str, out: usize, inside: usize) -> Result<Dense> {
        let weight = self.matrix(&format!("{name}.weight"), &[out, inside])?;
        let out = weight.dim(0)?;
        Ok(Dense { weight, bias: self.exact(&format!("{name}.bias"), &[out])? })
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm> {
        Ok(Norm {
            weight: self.exact(&format!("{name}.weight"), &[width])?,
            bias: self.exact(&format!("{name}.bias"), &[width])?,
        })
    }

    fn attend(&mut self, name: &str, width: usize, heads: usize) -> Result<Attend> {
        let mut part = |part: &str| self.dense(&format!("{name}.{part}"), width, width);
        Ok(Attend {
            query: part("q_proj")?,
            key: part("k_proj")?,
            value: part("v_proj")?,
            out: part("out_proj")?,
            heads,
        })
    }

    fn feed_forward(&mut self, block: &str, config: &Config) -> Result<FeedForward> {
        let wide = self.dense(&format!("{block}.fc1"), 0, config.d_model)?;
        let inner = wide.weight.dim(0)?;
        Ok(FeedForward {
            narrow: self.dense(&format!("{block}.fc2"), config.d_model, inner)?,
            norm: self.norm(&format!("{block}.final_layer_norm"), config.d_model)?,
            activation: config.activation_function,
            wide,
        })
    }
}

/// The tensors of a PyTorch checkpoint.
fn unpickled(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let failed = |cause: &dyn std::fmt::Display| {
        Error::data(format!("the checkpoint cannot be read: {cause}")).at(path.display()).hint(
            "write it as safetensors: `MarianMTModel.from_pretrained(FOLDER)\
             .save_pretrained(FOLDER)` in Python",
        )
    };
    let tensors = caught(|| candle_core::pickle::read_all(path)).map_err(|cause| failed(&cause))?;
    Ok(tensors.map_err(|cause| failed(&cause))?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: transformers, `MarianSinusoidalPositionalEmbedding(3, 4).create_weight()`.
    #[test]
    fn places_have_sines_and_cosines() {
        let expected = [
            0.0,
            0.0,
            1.0,
            1.0,
            0.841_470_96,
            0.009_999_83,
            0.540_302_3,
            0.999_95,
            0.909_297_4,
            0.019_998_67,
            -0.416_146_84,
            0.999_8,
        ];
        for (found, expected) in sinusoids(3, 4).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
