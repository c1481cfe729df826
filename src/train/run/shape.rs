//! What the settings describe: the model, and whether they go together.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::train::kernels::Activation;
use crate::train::model::bert::{self, Bert};
use crate::train::model::hugging_face::{self, Pretrained};
use crate::train::model::{Architecture, Family};
use crate::train::params::Params;
use crate::train::schedule;

impl Params {
    /// Checks what depends on more than one key; the range of each is checked where a pipeline file
    /// is read.
    ///
    /// # Errors
    /// Names the keys that do not go together.
    pub fn check(&self) -> Result<()> {
        let (hidden, heads) = (self.model.hidden, self.model.heads);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return Err(Error::usage(format!(
                "`train.model.heads` is {heads}, which does not divide `hidden`, {hidden}"
            ))
            .hint("choose heads so that each is 32 to 64 wide"));
        }
        if self.init.is_empty() && !self.init_layers.is_empty() {
            return Err(Error::usage("`train.init_layers` has no effect without `train.init`")
                .hint("name the model whose blocks they are, with `--init`"));
        }
        self.check_source_line()?;
        schedule::schedule(&self.schedule.kind).map(|_| ())
    }

    /// Checks that the line about the source says something and leaves room for the text.
    fn check_source_line(&self) -> Result<()> {
        let line = &self.source_line;
        if line.share == 0.0 {
            return Ok(());
        }
        if line.fields.is_empty() {
            return Err(Error::usage("`train.source_line.fields` names nothing to say")
                .hint("name columns of the shards, such as `source`, or set `share` to 0"));
        }
        let most = self.max_tokens / 2;
        if line.tokens > most {
            let (tokens, all) = (line.tokens, self.max_tokens);
            return Err(Error::usage(format!(
                "`train.source_line.tokens` is {tokens}, more than half of `train.max_tokens`, \
                 {all}"
            ))
            .hint(format!("set `train.source_line.tokens={most}` or less")));
        }
        Ok(())
    }

    /// The family that `[train.config]` names.
    ///
    /// # Errors
    /// If it names none that kpipe trains.
    pub fn family(&self) -> Result<&'static Family> {
        hugging_face::family_of(&Value::Object(self.config.clone())).map_err(Self::in_config)
    }

    /// The model that `[train.config]` describes, with so many rows of embeddings where it does not
    /// say how many.
    ///
    /// # Errors
    /// If it is no shape that kpipe computes.
    pub fn described(&self, vocabulary: usize) -> Result<Pretrained> {
        Pretrained::anew(Value::Object(self.config.clone()), vocabulary).map_err(Self::in_config)
    }

    /// The encoder of `[train.model]`, whose padding has the id `pad`.
    pub fn drawn(&self, vocabulary: usize, pad: u32) -> Pretrained {
        let model = self.encoder(vocabulary);
        let mut config = model.config();
        config["pad_token_id"] = pad.into();
        Pretrained { family: &bert::BERT, model: Box::new(model), config, blocks: Vec::new() }
    }

    fn in_config(error: Error) -> Error {
        let told = Error::usage(error.what()).at("[train.config]");
        let told = error.hints().iter().fold(told, Error::hint);
        told.hint("its names are those of Hugging Face's `config.json`; `model_type` is needed")
    }

    /// The shape of the encoder that `[train.model]` describes, once the vocabulary is known.
    pub fn encoder(&self, vocabulary: usize) -> Bert {
        Bert {
            vocab_size: vocabulary,
            hidden_size: self.model.hidden,
            num_hidden_layers: self.model.layers,
            num_attention_heads: self.model.heads,
            intermediate_size: self.model.feed_forward,
            max_position_embeddings: self.max_tokens,
            type_vocab_size: 2,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: self.model.dropout,
            attention_probs_dropout_prob: self.model.dropout,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            tie_word_embeddings: true,
            norm: self.model.norm,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::train::fixture::default_params;

    #[test]
    fn what_does_not_go_together_is_named() {
        default_params().check().unwrap();
        let mut params = default_params();
        params.model.heads = 3;
        assert!(params.check().unwrap_err().to_string().contains("does not divide"));
        let mut params = default_params();
        params.schedule.kind = "lineer".into();
        assert!(params.check().unwrap_err().to_string().contains("linear"));
    }
}
