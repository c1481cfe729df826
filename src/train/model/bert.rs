//! BERT (arXiv:1810.04805) with its masked-language head, in the layout of transformers'
//! `BertForMaskedLM`.
//!
//! `norm = "pre"` is a variant of ours: layer norm stands in front of attention and feed-forward,
//! and one more behind the last block (arXiv:2002.04745), which trains without a long warm-up. The
//! head is dense → activation → norm → the word embeddings, or a table of its own where the head is
//! not tied.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::defaults::{deviation, tenth, yes};
use super::layers::Pass;
use super::parameters::{Declarations, Declared, Role};
use super::{Activations, Architecture, Family, Head, Inputs, Language, Size, Special, View};
use crate::error::Error;
use crate::train::kernels::{Activation, Attention, Projected};
use crate::train::params::Norm;

/// See the module.
pub static BERT: Family = Family {
    name: "bert",
    model_types: &["bert", "kpipe-bert-pre-norm"],
    about: "an encoder that predicts masked tokens from both sides",
    language: Language::Masked,
    read: |config, _| {
        let bert: Bert = super::from_json(config)?;
        let (heads, hidden) =
            (("num_attention_heads", bert.num_attention_heads), ("hidden_size", bert.hidden_size));
        super::check_sizes(&[
            ("vocab_size", bert.vocab_size),
            ("num_hidden_layers", bert.num_hidden_layers),
            ("intermediate_size", bert.intermediate_size),
            ("max_position_embeddings", bert.max_position_embeddings),
            ("type_vocab_size", bert.type_vocab_size),
            heads,
            hidden,
        ])?;
        super::check_divides(heads, hidden)?;
        super::check_shares(&[
            ("hidden_dropout_prob", bert.hidden_dropout_prob),
            ("attention_probs_dropout_prob", bert.attention_probs_dropout_prob),
        ])?;
        if config.get("is_decoder").and_then(serde_json::Value::as_bool).unwrap_or(false) {
            return Err(
                Error::data("this BERT is a decoder").hint("kpipe trains BERT as an encoder")
            );
        }
        Ok(Box::new(bert))
    },
    canonical,
    copies: &[("cls.predictions.bias", "cls.predictions.decoder.bias")],
    special: Special {
        tokens: &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        sentinels: 0,
        before: Some("[CLS]"),
        behind: Some("[SEP]"),
    },
};

/// The shape, by the names of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bert {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    /// Width of the hidden state.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Rows of the position embeddings.
    pub max_position_embeddings: usize,
    /// Kinds of tokens, such as first and second sentence.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Of the feed-forward layer and the head.
    #[serde(default = "gelu")]
    pub hidden_act: Activation,
    /// Share of activations dropped while training.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Share of attention weights dropped while training.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Deviation of drawn weights.
    #[serde(default = "deviation")]
    pub initializer_range: f64,
    /// Added to the variance in layer norm.
    #[serde(default = "eps")]
    pub layer_norm_eps: f64,
    /// Whether the head uses the word embeddings.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// Where layer norm stands.
    #[serde(default = "post")]
    pub norm: Norm,
}

fn two() -> usize {
    2
}
fn gelu() -> Activation {
    Activation::Gelu
}
fn eps() -> f64 {
    1e-12
}
fn post() -> Norm {
    Norm::Post
}

/// The name a tensor of a published file has today; `None` for what pre-training does not use.
fn canonical(name: &str) -> Option<String> {
    let name = name.replace(".gamma", ".weight").replace(".beta", ".bias");
    let prefixed = match name.starts_with("bert.") || name.starts_with("cls.") {
        true => name,
        false => format!("bert.{name}"),
    };
    let unused = ["bert.pooler.", "cls.seq_relationship.", "bert.embeddings.position_ids"];
    (!unused.iter().any(|unused| prefixed.starts_with(unused))).then_some(prefixed)
}

const WORDS: &str = "bert.embeddings.word_embeddings";
const DECODER: &str = "cls.predictions.decoder";

impl Architecture for Bert {
    fn declare(&self) -> Vec<Declared> {
        let mut all = Declarations::new(self.initializer_range);
        let (hidden, wide) = (self.hidden_size, self.intermediate_size);
        all.matrix(WORDS, self.vocab_size, hidden);
        all.matrix("bert.embeddings.position_embeddings", self.max_position_embeddings, hidden);
        all.matrix("bert.embeddings.token_type_embeddings", self.type_vocab_size, hidden);
        all.norm("bert.embeddings.LayerNorm", hidden);

        for layer in 0..self.num_hidden_layers {
            let block = format!("bert.encoder.layer.{layer}");
            all.at(1 + layer, Role::Attention);

            for name in ["query", "key", "value"] {
                all.by_heads(0, self.num_attention_heads, 1);
                let bias = all.dense(&format!("{block}.attention.self.{name}"), hidden, hidden);
                // Softmax does not see a shift of all scores of a query: it has gradient 0 but for
                // rounding.
                bias.may_rest = name == "key";
            }

            all.by_heads(1, self.num_attention_heads, 1);
            all.dense(&format!("{block}.attention.output.dense"), hidden, hidden);
            all.norm(&format!("{block}.attention.output.LayerNorm"), hidden);
            all.at(1 + layer, Role::FeedForward);
            all.dense(&format!("{block}.intermediate.dense"), hidden, wide);
            all.dense(&format!("{block}.output.dense"), wide, hidden);

            all.norm(&format!("{block}.output.LayerNorm"), hidden);
        }

        all.at(self.steps(), Role::Norm);
        if self.norm == Norm::Pre {
            all.norm("bert.encoder.LayerNorm", hidden);
        }
        all.at(self.steps(), Role::Head);
        all.dense("cls.predictions.transform.dense", hidden, hidden);
        all.norm("cls.predictions.transform.LayerNorm", hidden);

        if self.tie_word_embeddings {
            all.bias("cls.predictions.bias", self.vocab_size, None);
        } else {
            all.dense(DECODER, hidden, self.vocab_size);
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
            0 => self.embed(pass, inputs)?.to_dtype(inputs.tokens.dtype)?,
            _ => self.block(pass, step - 1, &state[0], &inputs.tokens.mask_of(View::Both)?)?,
        };
        Ok(vec![next])
    }

    fn hidden(&self, pass: &Pass, state: &[Tensor]) -> Result<Tensor> {
        match self.norm {
            Norm::Pre => pass.layer_norm("bert.encoder.LayerNorm", &state[0], self.layer_norm_eps),
            Norm::Post => Ok(state[0].clone()),
        }
    }

    fn head(&self, pass: &Pass, hidden: &Tensor) -> Result<Head> {
        let x = pass.dense_activated("cls.predictions.transform.dense", hidden, self.hidden_act)?;
        let x = pass.layer_norm("cls.predictions.transform.LayerNorm", &x, self.layer_norm_eps)?;
        let (weight, bias) = match self.tie_word_embeddings {
            true => (format!("{WORDS}.weight"), "cls.predictions.bias".to_string()),
            false => (format!("{DECODER}.weight"), format!("{DECODER}.bias")),
        };
        Ok(Head { x, weight: pass.get(&weight)?.clone(), bias: Some(pass.get(&bias)?.clone()) })
    }

    fn kept(&self, rows: usize, length: usize, _: usize) -> Vec<Activations> {
        let (tokens, width) = (rows * length, self.hidden_size);
        let weights = rows * self.num_attention_heads * length * length;
        let block =
            Activations::of(tokens, width, 10 * width + 2 * self.intermediate_size, weights);
        let mut all = vec![block.looking(weights); self.steps()];
        all[0] = Activations::of(tokens, width, 4 * width, 0);
        all
    }

    fn config(&self) -> serde_json::Value {
        let (kind, class) = match self.norm {
            Norm::Post => ("bert", "BertForMaskedLM"),
            Norm::Pre => ("kpipe-bert-pre-norm", "KpipeBertPreNormForMaskedLM"),
        };
        super::described(kind, class, self)
    }
}

impl Bert {
    /// Word, position and type embeddings of the tokens, normed.
    fn embed(&self, pass: &Pass, inputs: &Inputs) -> Result<Tensor> {
        let tokens = &inputs.tokens;
        let words = pass.embedding(WORDS, &tokens.ids)?;
        let sum = pass.with_positions("bert.embeddings.position_embeddings", &words, tokens)?;
        let types = "bert.embeddings.token_type_embeddings";
        let sum = match &tokens.types {
            Some(kinds) => (sum + pass.embedding(types, kinds)?)?,
            None => sum.broadcast_add(&pass.get(&format!("{types}.weight"))?.narrow(0, 0, 1)?)?,
        };
        let normed = pass.layer_norm("bert.embeddings.LayerNorm", &sum, self.layer_norm_eps)?;

        pass.drop(&normed, self.hidden_dropout_prob, "embeddings")
    }

    /// Attention and feed-forward, each with a residual.
    fn block(&self, pass: &Pass, layer: usize, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let name = format!("bert.encoder.layer.{layer}");
        let norm = |place: &str, x: &Tensor| {
            pass.layer_norm(&format!("{name}.{place}"), x, self.layer_norm_eps)
        };
        let (first, second) = ("attention.output.LayerNorm", "output.LayerNorm");
        let add = |x: &Tensor, branch: &Tensor, site: &str| {
            pass.residual(x, branch, self.hidden_dropout_prob, &format!("{name}.{site}"))
        };

        match self.norm {
            Norm::Pre => {
                let x = add(x, &self.attention(pass, &name, &norm(first, x)?, mask)?, "mixed")?;
                add(&x, &self.feed_forward(pass, &name, &norm(second, &x)?)?, "output")
            }
            Norm::Post => {
                let x = norm(first, &add(x, &self.attention(pass, &name, x, mask)?, "mixed")?)?;
                norm(second, &add(&x, &self.feed_forward(pass, &name, &x)?, "output")?)
            }
        }
    }

    fn attention(&self, pass: &Pass, block: &str, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let heads = self.num_attention_heads;
        let part = |name: &str| pass.dense(&format!("{block}.attention.self.{name}"), x);
        let site = format!("{block}.attention");
        let with = Attention {
            heads,
            width: self.hidden_size / heads,
            scale: 1.0 / ((self.hidden_size / heads) as f64).sqrt(),
            mask,
            bias: None,
            share: self.attention_probs_dropout_prob,
            key: pass.dropout,
            site: &site,
        };

        let projected =
            Projected::Apart { query: part("query")?, key: part("key")?, value: part("value")? };
        let mixed = pass.attend(&projected, with)?;
        pass.dense(&format!("{block}.attention.output.dense"), &mixed)
    }

    fn feed_forward(&self, pass: &Pass, block: &str, x: &Tensor) -> Result<Tensor> {
        let wide =
            pass.dense_activated(&format!("{block}.intermediate.dense"), x, self.hidden_act)?;
        pass.dense(&format!("{block}.output.dense"), &wide)
    }
}
