//! A model that is evaluated: opened from a folder or the hub, and asked by [`Ask`].

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::flow::disk::hash_file;
use crate::flow::progress::Progress;
use crate::train::ask::Ask;
use crate::train::data::tokenizer::Tokenizer;
use crate::train::model::hugging_face::{self, Pretrained, TOKENIZER};
use crate::train::model::{Language, Weights, hub};
use crate::train::run::checkpoint;

/// A model with its tokenizer, as it stands in a folder.
pub struct Model {
    /// Its name, as it was asked for.
    pub name: String,
    /// A hash of its `config.json`, tokenizer and weights, and of the numbers it computes with
    /// where they are not `f32`: answers of the same hash are the same.
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
        Self::read(name, &folder, None, dtype, device, batch_tokens)
    }

    /// The model of a run as it was at one of its checkpoints. What was not trained is taken from
    /// the model that the run exported.
    ///
    /// # Errors
    /// If the run has not ended, it exported something else than a model, or a file is damaged.
    pub fn at_checkpoint(
        run: &Path,
        checkpoint: &Path,
        dtype: DType,
        device: &Device,
        batch_tokens: usize,
    ) -> Result<Self> {
        let name = checkpoint.display().to_string();
        Self::read(&name, run, Some(checkpoint), dtype, device, batch_tokens).map_err(|error| {
            error.hint("a run is evaluated when it is over: the same `kpipe train` finishes it")
        })
    }

    fn read(
        name: &str,
        folder: &Path,
        checkpoint: Option<&Path>,
        dtype: DType,
        device: &Device,
        batch_tokens: usize,
    ) -> Result<Self> {
        let pretrained = hugging_face::shape(folder)?;
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
        for file in hugging_face::files(folder)? {
            hash += &hash_file(&file)?;
        }
        if dtype != DType::F32 {
            hash += dtype.as_str();
        }
        let mut weights = pretrained.parameters(folder, dtype, device)?.detached();
        if let Some(checkpoint) = checkpoint {
            hash += &hash_file(&checkpoint.join(checkpoint::MODEL))?;
            let mut all: BTreeMap<String, Tensor> =
                weights.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
            for (name, tensor) in checkpoint::weights(checkpoint)? {
                // Heads of objectives are no part of the model.
                let Some(own) = all.get_mut(&name) else { continue };
                *own = tensor.to_dtype(dtype)?.to_device(device)?;
            }
            weights = Weights::new(all);
        }
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
