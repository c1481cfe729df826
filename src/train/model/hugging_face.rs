//! Folders as transformers writes them: `config.json`, `model.safetensors` (or shards with an
//! index), `tokenizer.json`.
//!
//! Reading is strict: a tensor that is missing, unknown, of another shape or not finite is an error
//! that names it. Old names and missing prefixes become today's names. Pickle files are refused:
//! reading one runs code from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::parameters::{header, read_tensors, write_tensors};
use super::{Architecture, FAMILIES, Family, Parameters, Weights};
use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_atomically, write_json};

pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// The tokenizer beside the weights.
pub const TOKENIZER: &str = "tokenizer.json";
pub(super) const PICKLES: [&str; 3] =
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"];
/// Files beside the weights that an export takes along unchanged.
pub(super) const COMPANIONS: [&str; 8] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
];

/// A model as it stands in a folder.
pub struct Pretrained {
    /// Its family.
    pub family: &'static Family,
    /// Its shape and functions.
    pub model: Box<dyn Architecture>,
    /// The `config.json`, as found, but for the number of blocks where some were chosen.
    pub config: Value,
    /// The blocks of the folder that are its own, in order; empty where all are.
    pub blocks: Vec<usize>,
}

/// Reads the shape of the model in `folder`.
///
/// # Errors
/// If there is no `config.json`, or its family or one of its settings is none that kpipe computes.
pub fn shape(folder: &Path) -> Result<Pretrained> {
    shape_of(folder, &[])
}

/// Reads the shape of a model that has only some blocks of the one in `folder`, in this order; all,
/// where none are named. Of T5 they are chosen from encoder and decoder alike.
///
/// # Errors
/// As [`shape`]; or if there is no such block.
pub fn shape_of(folder: &Path, blocks: &[usize]) -> Result<Pretrained> {
    let place = folder.join(CONFIG);
    let mut config: Value = read_json(&place)?.ok_or_else(|| {
        Error::usage(format!("`{}` holds no `{CONFIG}`", folder.display())).hint(
            "give a folder that transformers' `save_pretrained` wrote, or `owner/name` of a \
                   model on the hub",
        )
    })?;
    let family = family_of(&config).map_err(|error| error.at(place.display()))?;
    let names: BTreeSet<String> = match files(folder) {
        Ok(files) => names(&files, family)?,
        Err(_) => BTreeSet::new(),
    };
    choose(&mut config, blocks).map_err(|error| error.at(place.display()))?;
    let model = (family.read)(&config, &|name| names.contains(name))
        .map_err(|error| error.at(place.display()))?;

    Ok(Pretrained { family, model, config, blocks: blocks.to_vec() })
}

/// What a `config.json` calls the number of blocks.
const BLOCKS: [&str; 4] = ["num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers"];

/// Leaves these blocks in a `config.json`.
fn choose(config: &mut Value, blocks: &[usize]) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    for key in BLOCKS {
        let Some(n) = config.get(key).and_then(Value::as_u64) else { continue };
        if let Some(block) = blocks.iter().find(|block| **block as u64 >= n) {
            return Err(Error::usage(format!("there is no block {block}: `{key}` is {n}"))
                .hint(format!("name blocks of 0 to {} in `train.init_layers`", n - 1)));
        }
        config[key] = blocks.len().into();
    }
    Ok(())
}

/// The number of the block in the name of a tensor, and where it stands there: the first number
/// between two dots.
fn block_of(name: &str) -> Option<(std::ops::Range<usize>, usize)> {
    let mut at = 0;
    for part in name.split('.') {
        let place = at..at + part.len();
        at = place.end + 1;
        if let Ok(number) = part.parse() {
            return Some((place, number));
        }
    }
    None
}

/// The family that a `config.json` names.
///
/// # Errors
/// If kpipe does not train it.
pub fn family_of(config: &Value) -> Result<&'static Family> {
    let kind = config.get("model_type").and_then(Value::as_str).unwrap_or("");
    super::family(kind).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        Error::data(format!("`model_type` is `{kind}`, a family that kpipe does not train"))
            .hint(format!("it trains {}", known.join(", ")))
    })
}

impl Pretrained {
    /// A model to begin anew: the shape of a `config.json`, `vocabulary` rows of embeddings where
    /// it does not say how many, and the ids that a tokenizer trained for the family gives its
    /// special tokens.
    ///
    /// # Errors
    /// If it is no shape that kpipe computes.
    pub fn anew(mut config: Value, vocabulary: usize) -> Result<Self> {
        let family = family_of(&config)?;
        let is_tied = config.get("tie_word_embeddings").and_then(Value::as_bool);
        let id = |name: Option<&str>| {
            let place = family.special.tokens.iter().position(|token| Some(*token) == name);
            place.map_or(Value::Null, Value::from)
        };
        let (first, ends) = (family.special.tokens.first().copied(), family.special.tokens);
        let end = ends.iter().copied().find(|token| ["</s>", "<|endoftext|>"].contains(token));

        if let Value::Object(config) = &mut config {
            let or_insert =
                |config: &mut serde_json::Map<String, Value>, key: &str, value: Value| {
                    if !value.is_null() {
                        config.entry(key).or_insert(value);
                    }
                };

            or_insert(config, "vocab_size", vocabulary.into());
            or_insert(config, "eos_token_id", id(end));
            or_insert(
                config,
                "bos_token_id",
                id(family.special.before.filter(|_| end.is_some()).or(end)),
            );
            if family.language != super::Language::Causal {
                or_insert(config, "pad_token_id", id(first));
            }

            if family.language == super::Language::Spans {
                or_insert(config, "decoder_start_token_id", id(first));
            }
        }

        let model =
            (family.read)(&config, &|name| name == "lm_head.weight" && is_tied == Some(false))?;
        if let (Value::Object(config), Value::Object(whole)) = (&mut config, model.config()) {
            for (key, value) in whole {
                config.entry(key).or_insert(value);
            }
        }

        Ok(Pretrained { family, model, config, blocks: Vec::new() })
    }

    /// What the tensor of this name in the folder is called here: nothing where its block was not
    /// chosen, and several where it was more than once.
    fn own_names(&self, name: &str) -> Vec<String> {
        let Some((place, number)) = block_of(name).filter(|_| !self.blocks.is_empty()) else {
            return vec![name.to_string()];
        };
        // Only the first block has relative positions, whichever that is.
        if name.contains("relative_attention_bias") {
            return vec![name.to_string()];
        }
        let chosen = self.blocks.iter().enumerate().filter(|(_, block)| **block == number);
        chosen
            .map(|(own, _)| format!("{}{own}{}", &name[..place.start], &name[place.end..]))
            .collect()
    }

    /// Reads the parameters from `folder`, as numbers of type `dtype`.
    ///
    /// # Errors
    /// If a file is damaged or missing, or its tensors are not exactly the model's, or not finite.
    pub fn parameters(&self, folder: &Path, dtype: DType, device: &Device) -> Result<Parameters> {
        let declared = self.model.declare();
        let wanted: BTreeSet<&str> =
            declared.iter().map(|parameter| parameter.name.as_str()).collect();
        let mut found = BTreeMap::new();

        for file in files(folder)? {
            for (name, tensor) in read_tensors(&file, &Device::Cpu)? {
                let Some(name) = (self.family.canonical)(&name) else { continue };
                for name in self.own_names(&name) {
                    if !wanted.contains(name.as_str()) && self.is_copy(&name, &wanted) {
                        continue;
                    }
                    if !tensor.dtype().is_float() {
                        let what =
                            format!("the tensor `{name}` holds {:?}, not weights", tensor.dtype());
                        return Err(Error::data(what)
                            .at(file.display())
                            .hint("give a model that is not quantised"));
                    }

                    let tensor = tensor.to_dtype(dtype)?.to_device(device)?;
                    check_finite(&name, &tensor).map_err(|error| error.at(file.display()))?;
                    found.insert(name, tensor);
                }
            }
        }

        Parameters::from_tensors(found, &declared).map_err(|error| error.at(folder.display()))
    }

    /// Whether a file may hold this name as a copy of a parameter: of a tied head, or one that
    /// transformers repeats.
    fn is_copy(&self, name: &str, wanted: &BTreeSet<&str>) -> bool {
        let repeated =
            |(copy, of): &(&str, &str)| *copy == name && wanted.contains(of) || *of == name;
        let tied =
            ["lm_head.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"];
        self.family.copies.iter().any(repeated) || tied.contains(&name)
    }

    /// Writes the model into `folder` so that transformers loads it with no key missing or
    /// unexpected; what stands beside the weights in `origin` is taken along.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(
        &self,
        folder: &Path,
        weights: &Weights,
        origin: Option<&Path>,
    ) -> Result<PathBuf> {
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for parameter in self.model.declare() {
            tensors.insert(parameter.name.clone(), weights.get(&parameter.name)?.clone());
        }

        for (copy, of) in self.family.copies {
            if let Some(tensor) = tensors.get(*of).cloned() {
                tensors.entry((*copy).to_string()).or_insert(tensor.copy()?);
            }
        }

        let place = folder.join(WEIGHTS);
        write_tensors(&place, &tensors)?;
        let mut config = self.config.clone();

        if let (Value::Object(config), Some(tensor)) = (&mut config, tensors.values().next()) {
            config.remove("torch_dtype");
            config.insert("dtype".to_string(), dtype_name(tensor.dtype()).into());
        }

        write_json(&folder.join(CONFIG), &config)?;
        for name in COMPANIONS {
            let Some(from) = origin.map(|origin| origin.join(name)).filter(|from| from.exists())
            else {
                continue;
            };
            let bytes = std::fs::read(&from).map_err(|cause| Error::file("read", &from, cause))?;
            write_atomically(&folder.join(name), &bytes)?;
        }

        Ok(place)
    }
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        _ => "float32",
    }
}

fn check_finite(name: &str, tensor: &Tensor) -> Result<()> {
    let sum = tensor.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
    if sum.is_finite() {
        return Ok(());
    }
    Err(Error::data(format!("the tensor `{name}` holds numbers that are not finite"))
        .hint("the file is damaged, or the model diverged before it was saved"))
}

/// The safetensors files of a folder, in name order.
///
/// # Errors
/// If there is none; pickles are named.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join(INDEX);
    if index.exists() {
        return Ok(shards(&index)?.into_iter().map(|name| folder.join(name)).collect());
    }
    let single = folder.join(WEIGHTS);
    if single.exists() {
        return Ok(vec![single]);
    }
    let error = Error::usage(format!("`{}` holds no `{WEIGHTS}`", folder.display()));

    match PICKLES.iter().find(|name| folder.join(name).exists()) {
        Some(pickle) => Err(Error::usage(format!(
            "`{}` holds its weights in `{pickle}`, a pickle, which kpipe does not read: reading \
             one runs code from it",
            folder.display()
        ))
        .hint("load and save it with transformers: `save_pretrained` writes safetensors")),
        None => Err(error.hint("give a folder that transformers' `save_pretrained` wrote")),
    }
}

/// The names of the files that an index spreads the weights over, in order.
///
/// # Errors
/// If it is no index, or a name leads out of the folder.
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let read: Option<Value> = read_json(index)?;
    let map = read.as_ref().and_then(|read| read.get("weight_map")).and_then(Value::as_object);
    let map =
        map.ok_or_else(|| Error::data("the index has no `weight_map`").at(index.display()))?;
    let names: BTreeSet<String> =
        map.values().filter_map(Value::as_str).map(str::to_string).collect();

    match names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(name) => Err(Error::data(format!("`{name}` is no name of a file in the same folder"))
            .at(index.display())),
        None => Ok(names),
    }
}

/// Names of the tensors in some files, without reading the tensors.
fn names(files: &[PathBuf], family: &Family) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in files {
        let header = header(file)?;
        let tensors = header.keys().filter(|name| *name != "__metadata__");
        names.extend(tensors.filter_map(|name| (family.canonical)(name)));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::checkpoint_folder;

    /// A model of the second block alone has its numbers, in every family; so has one of both, the
    /// other way round.
    #[test]
    fn a_smaller_model_begins_with_chosen_blocks() {
        for family in FAMILIES {
            let folder = checkpoint_folder(family);
            let read = |blocks: &[usize]| {
                let pretrained = shape_of(folder.path(), blocks).unwrap();
                let parameters =
                    pretrained.parameters(folder.path(), DType::F64, &Device::Cpu).unwrap();
                let numbers =
                    |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                let named: BTreeMap<String, Vec<f64>> = parameters
                    .iter()
                    .map(|(name, var)| (name.to_string(), numbers(var.as_tensor())))
                    .collect();
                named
            };
            let whole = read(&[]);
            for blocks in [vec![1], vec![1, 0], vec![0, 1, 1]] {
                let found = read(&blocks);
                for (name, numbers) in &found {
                    let of = block_of(name).filter(|_| !name.contains("relative_attention_bias"));
                    let from = of.map_or(name.clone(), |(place, own)| {
                        let block = blocks[own];
                        format!("{}{block}{}", &name[..place.start], &name[place.end..])
                    });
                    assert!(*numbers == whole[&from], "{}: {name}", family.name);
                }
                let n = |named: &BTreeMap<String, Vec<f64>>| {
                    named.keys().filter(|name| block_of(name).is_some()).count()
                };
                assert!(n(&found) * 2 >= n(&whole) * blocks.len() - 4, "{}", family.name);
            }
            let error = shape_of(folder.path(), &[2]).err().unwrap();
            assert!(error.to_string().contains("no block 2"), "{error}");
        }
    }
}
