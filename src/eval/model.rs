//! A model that is evaluated: opened from a folder or the hub, and asked by [`Ask`].

use candle_core::{DType, Device};

use crate::error::{Error, Result};
use crate::flow::disk::hash_file;
use crate::flow::progress::Progress;
use crate::train::ask::Ask;
use crate::train::data::tokenizer::Tokenizer;
use crate::train::model::hugging_face::{self, Pretrained, TOKENIZER};
use crate::train::model::{Language, Weights, hub};

/// A model with its tokenizer, as it stands in a folder.
pub struct Model {
    /// Its name, as it was asked for.
    pub name: String,
    /// A hash of its `config.json`, tokenizer and weights.
    pub hash: String,
    pretrained: Pretrained,
    weights: Weights,
    tokenizer: Tokenizer,
    dtype: DType,
    device: Device,
    /// Most tokens that are computed at once, padding among them.
    batch_tokens: usize,
}

impl Model {
    /// The model in a folder of Hugging Face's layout, or of its hub by `owner/name`.
    ///
    /// # Errors
    /// If there is none, its files are damaged, or its family is none that kpipe computes.
    pub fn open(
        name: &str,
        dtype: DType,
        device: &Device,
        batch_tokens: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let folder = hub::folder(name, progress)?;
        let pretrained = hugging_face::shape(&folder)?;
        let language = pretrained.family.language;
        let tokenizer = Tokenizer::read(&folder.join(TOKENIZER), language, &pretrained.config)?;
        let size = pretrained.model.size();
        if tokenizer.vocabulary > size.vocabulary {
            return Err(Error::data(format!(
                "the tokenizer has {} tokens, the model {} rows of embeddings",
                tokenizer.vocabulary, size.vocabulary
            ))
            .at(folder.display())
            .hint("give a folder whose `tokenizer.json` is the model's own"));
        }

        let mut hash = hash_file(&folder.join("config.json"))? + &tokenizer.hash();
        for file in hugging_face::files(&folder)? {
            hash += &hash_file(&file)?;
        }
        let weights = pretrained.parameters(&folder, dtype, device)?.detached();
        Ok(Model {
            name: name.to_string(),
            hash: format!("{:032x}", xxhash_rust::xxh3::xxh3_128(hash.as_bytes())),
            pretrained,
            weights,
            tokenizer,
            dtype,
            device: device.clone(),
            batch_tokens,
        })
    }

    /// It, to be asked.
    pub fn ask(&self) -> Ask<'_> {
        Ask {
            family: self.pretrained.family,
            model: self.pretrained.model.as_ref(),
            weights: &self.weights,
            tokenizer: &self.tokenizer,
            dtype: self.dtype,
            device: &self.device,
            batch_tokens: self.batch_tokens,
        }
    }

    /// How it learned language.
    pub fn language(&self) -> Language {
        self.pretrained.family.language
    }

    /// The name of its family.
    pub fn family(&self) -> &'static str {
        self.pretrained.family.name
    }
}
