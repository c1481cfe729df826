//! A BERT-style encoder (arXiv:1810.04805): embed → blocks → head, each a pure function over named weights.
//!
//! `norm = "post"` is BERT itself; `norm = "pre"` moves layer norm in front of attention and feed-forward and adds one
//! behind the last block (arXiv:2002.04745), which trains without a long warm-up. The masked-language head is tied
//! to the word embeddings and runs at labelled positions only. The projection for the contrastive term is dense → tanh.

use candle_core::{D, DType, Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::Weights;
use super::parameters::{Declared, Init};
use crate::train::kernels::{self, DropoutKey};
use crate::train::params::{Norm, Pooling};

/// Standard deviation of drawn weights, as in BERT.
const DEVIATION: f64 = 0.02;
/// Added to the variance in layer norm, as in BERT.
const EPS: f64 = 1e-12;

/// The shape of the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rows of the word embeddings.
    pub vocabulary: usize,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Rows of the position embeddings.
    pub max_tokens: usize,
    /// Share of activations dropped while training.
    pub dropout: f64,
    /// Where layer norm stands.
    pub norm: Norm,
    /// What stands for a passage.
    pub pooling: Pooling,
}

impl Config {
    /// Every parameter of the encoder and its heads.
    pub fn declare(&self) -> Vec<Declared> {
        let mut all = Vec::new();
        let (hidden, wide) = (self.hidden, self.feed_forward);
        table(&mut all, "bert.embeddings.word_embeddings", self.vocabulary, hidden);
        table(&mut all, "bert.embeddings.position_embeddings", self.max_tokens, hidden);
        table(&mut all, "bert.embeddings.token_type_embeddings", 2, hidden);
        norm(&mut all, "bert.embeddings.LayerNorm", hidden);
        for layer in 0..self.layers {
            let block = format!("bert.encoder.layer.{layer}");
            for name in ["query", "key", "value"] {
                dense(&mut all, &format!("{block}.attention.self.{name}"), hidden, hidden);
            }
            dense(&mut all, &format!("{block}.attention.output.dense"), hidden, hidden);
            norm(&mut all, &format!("{block}.attention.output.LayerNorm"), hidden);
            dense(&mut all, &format!("{block}.intermediate.dense"), hidden, wide);
            dense(&mut all, &format!("{block}.output.dense"), wide, hidden);
            norm(&mut all, &format!("{block}.output.LayerNorm"), hidden);
        }
        if self.norm == Norm::Pre {
            norm(&mut all, "bert.encoder.LayerNorm", hidden);
        }
        dense(&mut all, "cls.predictions.transform.dense", hidden, hidden);
        norm(&mut all, "cls.predictions.transform.LayerNorm", hidden);
        all.push(Declared { name: "cls.predictions.bias".into(), shape: vec![self.vocabulary], init: Init::Zeros });
        dense(&mut all, "projection.dense", hidden, hidden);
        all
    }

    /// The `config.json` beside an exported model, in Hugging Face's words.
    pub fn describe(&self, pad: u32) -> serde_json::Value {
        let (kind, class) = match self.norm {
            Norm::Post => ("bert", "BertForMaskedLM"),
            Norm::Pre => ("kpipe-bert-pre-norm", "KpipeBertPreNormForMaskedLM"),
        };
        serde_json::json!({
            "model_type": kind,
            "architectures": [class],
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.max_tokens,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "initializer_range": DEVIATION,
            "layer_norm_eps": EPS,
            "pad_token_id": pad,
            "tie_word_embeddings": true,
            "kpipe": self,
        })
    }
}

fn table(all: &mut Vec<Declared>, name: &str, rows: usize, width: usize) {
    all.push(Declared { name: format!("{name}.weight"), shape: vec![rows, width], init: Init::Normal(DEVIATION) });
}

fn dense(all: &mut Vec<Declared>, name: &str, inputs: usize, outputs: usize) {
    table(all, name, outputs, inputs);
    all.push(Declared { name: format!("{name}.bias"), shape: vec![outputs], init: Init::Zeros });
}

fn norm(all: &mut Vec<Declared>, name: &str, width: usize) {
    all.push(Declared { name: format!("{name}.weight"), shape: vec![width], init: Init::Ones });
    all.push(Declared { name: format!("{name}.bias"), shape: vec![width], init: Init::Zeros });
}

/// Token rows of one length, padded, with what attention must not see.
pub struct Tokens {
    /// Token ids `[rows, length]`.
    ids: Tensor,
    /// 1 at tokens and 0 at padding, `[rows, length]`.
    present: Tensor,
}

impl Tokens {
    /// Pads rows to the longest with `pad`.
    ///
    /// # Errors
    /// If there is no row or the device fails.
    pub fn new(rows: &[&[u32]], pad: u32, dtype: DType, device: &Device) -> Result<Self> {
        let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut ids, mut present) = (Vec::new(), Vec::new());
        for row in rows {
            ids.extend(row.iter().copied().chain(std::iter::repeat_n(pad, length - row.len())));
            present.extend((0..length).map(|place| if place < row.len() { 1_f32 } else { 0.0 }));
        }
        let shape = (rows.len(), length);
        let present = Tensor::from_vec(present, shape, device)?.to_dtype(dtype)?;
        Ok(Tokens { ids: Tensor::from_vec(ids, shape, device)?, present })
    }

    /// Length of the padded rows.
    ///
    /// # Errors
    /// Never in practice: the ids are a matrix.
    pub fn length(&self) -> Result<usize> {
        self.ids.dim(1)
    }

    /// 0 where attention may look and a large negative number at padding, `[rows, length]`.
    fn attention_mask(&self) -> Result<Tensor> {
        let masked = f64::from(kernels::MASKED);
        self.present.affine(-masked, masked)
    }
}

/// One forward pass: the weights, the shape, and which activations are dropped (none where `dropout` is `None`).
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The weights.
    pub weights: &'a Weights,
    /// The shape.
    pub config: &'a Config,
    /// Which activations are dropped.
    pub dropout: Option<DropoutKey>,
}

impl Pass<'_> {
    /// The last hidden states, `[rows, length, hidden]`.
    ///
    /// # Errors
    /// If the device fails or a row is longer than the positions.
    pub fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        let mask = tokens.attention_mask()?;
        let mut hidden = self.embed(tokens)?;
        for layer in 0..self.config.layers {
            hidden = self.block(layer, &hidden, &mask)?;
        }
        match self.config.norm {
            Norm::Pre => self.norm("bert.encoder.LayerNorm", &hidden),
            Norm::Post => Ok(hidden),
        }
    }

    /// Word, position and type embeddings of the tokens, normed.
    ///
    /// # Errors
    /// If a row is longer than the positions.
    pub fn embed(&self, tokens: &Tokens) -> Result<Tensor> {
        let words = kernels::embedding(self.weights.get("bert.embeddings.word_embeddings.weight")?, &tokens.ids)?;
        let positions = self.weights.get("bert.embeddings.position_embeddings.weight")?;
        let places = positions.narrow(0, 0, tokens.length()?)?;
        let kind = self.weights.get("bert.embeddings.token_type_embeddings.weight")?.narrow(0, 0, 1)?;
        let sum = words.broadcast_add(&places)?.broadcast_add(&kind)?;
        self.drop(&self.norm("bert.embeddings.LayerNorm", &sum)?, "embeddings")
    }

    /// One block: attention and feed-forward, each with a residual.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn block(&self, layer: usize, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let name = format!("bert.encoder.layer.{layer}");
        let (first, second) = (format!("{name}.attention.output.LayerNorm"), format!("{name}.output.LayerNorm"));
        match self.config.norm {
            Norm::Pre => {
                let x = (x + self.attention(&name, &self.norm(&first, x)?, mask)?)?;
                &x + self.feed_forward(&name, &self.norm(&second, &x)?)?
            }
            Norm::Post => {
                let x = self.norm(&first, &(x + self.attention(&name, x, mask)?)?)?;
                self.norm(&second, &(&x + self.feed_forward(&name, &x)?)?)
            }
        }
    }

    fn attention(&self, block: &str, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (rows, length, width) = x.dims3()?;
        let heads = self.config.heads;
        let split = |name: &str| -> Result<Tensor> {
            let y = self.dense(&format!("{block}.attention.self.{name}"), x)?;
            y.reshape((rows, length, heads, width / heads))?.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) = (split("query")?, split("key")?, split("value")?);
        let scale = 1.0 / ((width / heads) as f64).sqrt();
        let scores = query.matmul(&key.t()?)?;
        let weights = self.drop(&kernels::masked_softmax(&scores, scale, mask)?, &format!("{block}.attention"))?;
        let mixed = weights.matmul(&value)?.transpose(1, 2)?.reshape((rows, length, width))?;
        self.drop(&self.dense(&format!("{block}.attention.output.dense"), &mixed)?, &format!("{block}.mixed"))
    }

    fn feed_forward(&self, block: &str, x: &Tensor) -> Result<Tensor> {
        let wide = kernels::gelu(&self.dense(&format!("{block}.intermediate.dense"), x)?)?;
        self.drop(&self.dense(&format!("{block}.output.dense"), &wide)?, &format!("{block}.output"))
    }

    /// Vocabulary logits at some positions, `[positions, vocabulary]`; `positions` index the flattened rows.
    ///
    /// # Errors
    /// If a position is out of range.
    pub fn predict(&self, hidden: &Tensor, positions: &Tensor) -> Result<Tensor> {
        let chosen = hidden.flatten_to(1)?.index_select(positions, 0)?;
        let chosen = kernels::gelu(&self.dense("cls.predictions.transform.dense", &chosen)?)?;
        let chosen = self.norm("cls.predictions.transform.LayerNorm", &chosen)?;
        let words = self.weights.get("bert.embeddings.word_embeddings.weight")?;
        kernels::linear(&chosen, words, self.weights.get("cls.predictions.bias")?)
    }

    /// One vector for each row, `[rows, hidden]`, for the contrastive term.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn project(&self, hidden: &Tensor, tokens: &Tokens) -> Result<Tensor> {
        let pooled = match self.config.pooling {
            Pooling::Cls => hidden.narrow(1, 0, 1)?.squeeze(1)?,
            Pooling::Mean => {
                let present = tokens.present.unsqueeze(2)?;
                let total = hidden.broadcast_mul(&present)?.sum(1)?;
                total.broadcast_div(&tokens.present.sum_keepdim(D::Minus1)?)?
            }
        };
        self.dense("projection.dense", &pooled)?.tanh()
    }

    fn dense(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        kernels::linear(x, self.weights.get(&weight)?, self.weights.get(&bias)?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        kernels::layer_norm(x, self.weights.get(&weight)?, self.weights.get(&bias)?, EPS)
    }

    fn drop(&self, x: &Tensor, site: &str) -> Result<Tensor> {
        kernels::dropout(x, self.config.dropout, self.dropout, site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::tiny_config;
    use crate::train::model::Parameters;

    fn encode(norm: Norm, rows: &[&[u32]]) -> Vec<Vec<Vec<f64>>> {
        let config = Config { norm, ..tiny_config() };
        let weights = Parameters::draw(&config.declare(), 1, DType::F64, &Device::Cpu).unwrap().detached();
        let pass = Pass { weights: &weights, config: &config, dropout: None };
        pass.encode(&Tokens::new(rows, 0, DType::F64, &Device::Cpu).unwrap()).unwrap().to_vec3().unwrap()
    }

    #[test]
    fn padding_changes_nothing() {
        for norm in [Norm::Pre, Norm::Post] {
            let alone = encode(norm, &[&[2, 7, 8, 3]]);
            let beside = encode(norm, &[&[2, 7, 8, 3], &[2, 5, 6, 7, 8, 9, 3]]);
            for (place, state) in alone[0].iter().enumerate() {
                for (a, b) in state.iter().zip(&beside[0][place]) {
                    assert!((a - b).abs() < 1e-12, "{norm:?} at {place}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn attention_looks_both_ways_and_knows_order() {
        let (one, two) = (encode(Norm::Pre, &[&[2, 7, 8, 3]]), encode(Norm::Pre, &[&[2, 7, 9, 3]]));
        assert_ne!(one[0][0], two[0][0], "an earlier place sees a later one");
        let turned = encode(Norm::Pre, &[&[2, 8, 7, 3]]);
        assert_ne!(one[0][0], turned[0][0], "order matters");
    }

    /// BERT-base has 109,482,240 parameters with its pooler (590,592), without the masked-language head.
    #[test]
    fn bert_base_has_the_known_number_of_parameters() {
        let config = Config {
            vocabulary: 30_522,
            hidden: 768,
            layers: 12,
            heads: 12,
            feed_forward: 3_072,
            max_tokens: 512,
            norm: Norm::Post,
            ..tiny_config()
        };
        let bert = config.declare().into_iter().filter(|parameter| parameter.name.starts_with("bert."));
        let n: usize = bert.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        assert_eq!(n + 768 * 768 + 768, 109_482_240);
    }
}
