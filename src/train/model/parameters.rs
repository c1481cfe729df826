//! Named parameters in name order, drawn from the seed.
//!
//! Candle's `VarMap` lists its variables in hash-map order and draws from an unseeded generator;
//! neither can be resumed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};

use super::moves::Moves;
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::disk::{beside, put_in_place};

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal draws with this standard deviation around 0.
    Normal(f64),
    /// All ones.
    Ones,
    /// All zeros.
    Zeros,
}

/// One parameter of a model: name, shape, how it begins, and what it is for.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Name, unique in the model.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// How it begins.
    pub init: Init,
    /// What it is to the model.
    pub part: Part,
}

impl Declared {
    /// How many numbers it has.
    pub fn n_numbers(&self) -> u64 {
        self.shape.iter().map(|n| *n as u64).product()
    }
}

/// What a parameter is to its model. Said once, where the parameter is declared: nobody guesses by
/// its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The step of the model that reads it first; the number of steps where only what stands behind
    /// them does.
    pub step: usize,
    /// What it is for.
    pub role: Role,
    /// Whether weight decay applies: not to biases and norms, as in transformers' `Trainer`.
    pub decays: bool,
    /// Whether its gradient may be all zero for a reason that is known.
    pub may_rest: bool,
    /// How it is cut into the parts that belong to an attention head each, where it is.
    pub heads: Option<Heads>,
}

impl Part {
    /// A matrix that decays, and whose gradient is never all zero.
    pub fn new(step: usize, role: Role) -> Self {
        Part { step, role, decays: true, may_rest: false, heads: None }
    }
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Of tokens, positions or types.
    Embedding,
    /// Queries, keys, values and what mixes them.
    Attention,
    /// The two or three layers behind attention.
    FeedForward,
    /// Of a layer norm or RMS norm.
    Norm,
    /// What makes logits of the last hidden state.
    Head,
    /// Prompts of an adapter, and their gates.
    Prompt,
    /// Of the objective with this name, beside the model.
    Beside(&'static str),
}

/// How a parameter is cut into attention heads: along `dim` stand `groups` blocks (queries, keys
/// and values in one, for GPT-2), each of `heads` parts of the same width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The dimension that is cut.
    pub dim: usize,
    /// Heads.
    pub heads: usize,
    /// Blocks that each hold all heads.
    pub groups: usize,
}

impl Heads {
    /// What belongs to `head` along the dimension, in a parameter of this shape.
    pub fn ranges(&self, head: usize, shape: &[usize]) -> Vec<Range<usize>> {
        let block = shape[self.dim] / self.groups;
        let width = block / self.heads;
        let begins = (0..self.groups).map(|group| group * block + head * width);
        begins.map(|begin| begin..begin + width).collect()
    }
}

/// Gathers declarations, each as a part of the place that [`Declarations::at`] named last.
pub(super) struct Declarations {
    all: Vec<Declared>,
    deviation: f64,
    step: usize,
    role: Role,
    heads: Option<Heads>,
}

impl Declarations {
    /// Matrices are drawn with this deviation where nothing else is said.
    pub(super) fn new(deviation: f64) -> Self {
        Declarations { all: Vec::new(), deviation, step: 0, role: Role::Embedding, heads: None }
    }

    /// What follows is read first in this step, for this.
    pub(super) fn at(&mut self, step: usize, role: Role) {
        (self.step, self.role) = (step, role);
    }

    /// The next layer's weight is cut into attention heads along `dim`.
    pub(super) fn by_heads(&mut self, dim: usize, heads: usize, groups: usize) -> &mut Self {
        self.heads = Some(Heads { dim, heads, groups });
        self
    }

    /// Declares a parameter by its whole name.
    pub(super) fn push(&mut self, name: String, shape: &[usize], init: Init) -> &mut Part {
        let part = Part { heads: self.heads.take(), ..Part::new(self.step, self.role) };
        self.all.push(Declared { name, shape: shape.to_vec(), init, part });
        let last = self.all.len() - 1;
        &mut self.all[last].part
    }

    /// `<name>.weight`, drawn.
    pub(super) fn drawn(&mut self, name: &str, shape: &[usize], init: Init) -> &mut Part {
        self.push(format!("{name}.weight"), shape, init)
    }

    /// `<name>.weight` `[rows, width]`.
    pub(super) fn matrix(&mut self, name: &str, rows: usize, width: usize) -> &mut Part {
        self.drawn(name, &[rows, width], Init::Normal(self.deviation))
    }

    /// A dense layer: `<name>.weight` `[outputs, inputs]` and `<name>.bias`; gives the part of its
    /// bias.
    pub(super) fn dense(&mut self, name: &str, inputs: usize, outputs: usize) -> &mut Part {
        let heads = self.matrix(name, outputs, inputs).heads;
        self.bias(&format!("{name}.bias"), outputs, heads.filter(|heads| heads.dim == 0))
    }

    /// A dense layer in GPT-2's layout, `[inputs, outputs]`.
    pub(super) fn conv1d(&mut self, name: &str, inputs: usize, outputs: usize, deviation: f64) {
        let heads = self.drawn(name, &[inputs, outputs], Init::Normal(deviation)).heads;
        self.bias(&format!("{name}.bias"), outputs, heads.filter(|heads| heads.dim == 1));
    }

    /// A layer norm: `<name>.weight` and `<name>.bias`.
    pub(super) fn norm(&mut self, name: &str, width: usize) {
        self.scale(name, width);
        let role = self.role_of_norm();
        self.bias(&format!("{name}.bias"), width, None).role = role;
    }

    /// An RMS norm: `<name>.weight`.
    pub(super) fn scale(&mut self, name: &str, width: usize) {
        let role = self.role_of_norm();
        let part = self.drawn(name, &[width], Init::Ones);
        (part.role, part.decays) = (role, false);
    }

    /// A norm of the head is a part of the head: nothing else reads it.
    fn role_of_norm(&self) -> Role {
        if self.role == Role::Head { Role::Head } else { Role::Norm }
    }

    /// A vector of zeros with this whole name, whose numbers belong to the heads that the layer's
    /// outputs do.
    pub(super) fn bias(&mut self, name: &str, width: usize, heads: Option<Heads>) -> &mut Part {
        self.heads = heads.map(|heads| Heads { dim: 0, ..heads });
        let part = self.push(name.to_string(), &[width], Init::Zeros);
        part.decays = false;
        part
    }
}

impl From<Declarations> for Vec<Declared> {
    fn from(declarations: Declarations) -> Self {
        declarations.all
    }
}

/// The numbers of a model, in name order: trainable variables, and tensors that stay as they are.
pub struct Parameters {
    trained: BTreeMap<String, Var>,
    frozen: BTreeMap<String, Tensor>,
    parts: BTreeMap<String, Part>,
}

/// Named tensors in name order.
#[derive(Clone)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Parameters {
    /// Draws every declared parameter; the values depend on the seed and the name only.
    ///
    /// # Errors
    /// If the device fails.
    pub fn draw(declared: &[Declared], seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let mut all = BTreeMap::new();
        for parameter in declared {
            let n: usize = parameter.shape.iter().product();
            let values: Vec<f64> = match parameter.init {
                Init::Ones => vec![1.0; n],
                Init::Zeros => vec![0.0; n],
                Init::Normal(deviation) => {
                    let mut stream = draw::stream(seed, "init", parameter.name.as_bytes());
                    (0..n).map(|_| deviation * draw::next_normal(&mut stream)).collect()
                }
            };

            let tensor = Tensor::from_vec(values, parameter.shape.as_slice(), &Device::Cpu)?;
            all.insert(
                parameter.name.clone(),
                Var::from_tensor(&tensor.to_dtype(dtype)?.to_device(device)?)?,
            );
        }
        Ok(Self::new(all, declared))
    }

    fn new(trained: BTreeMap<String, Var>, declared: &[Declared]) -> Self {
        let parts = declared.iter().map(|one| (one.name.clone(), one.part)).collect();
        Parameters { trained, frozen: BTreeMap::new(), parts }
    }

    /// Reads every declared parameter from a safetensors file.
    ///
    /// # Errors
    /// If the file lacks a parameter, has one more, or one of another shape.
    pub fn load(path: &Path, declared: &[Declared], device: &Device) -> Result<Self> {
        Self::from_tensors(read_tensors(path, device)?, declared)
            .map_err(|error| error.at(path.display()))
    }

    /// Takes the declared parameters from named tensors, which must be exactly those.
    ///
    /// # Errors
    /// Names the parameters that are missing, left over, or of another shape.
    pub fn from_tensors(
        mut found: BTreeMap<String, Tensor>,
        declared: &[Declared],
    ) -> Result<Self> {
        let (mut all, mut missing, mut misshapen) = (BTreeMap::new(), Vec::new(), Vec::new());
        for parameter in declared {
            match found.remove(&parameter.name) {
                None => missing.push(format!("`{}`", parameter.name)),
                Some(tensor) if tensor.dims() != parameter.shape => {
                    let (dims, shape) = (tensor.dims(), &parameter.shape);
                    misshapen
                        .push(format!("`{}` is {dims:?} instead of {shape:?}", parameter.name));
                }
                Some(tensor) => _ = all.insert(parameter.name.clone(), Var::from_tensor(&tensor)?),
            }
        }

        let extra: Vec<String> = found.keys().map(|name| format!("`{name}`")).collect();
        let wrong = [("missing", missing), ("unknown", extra), ("of another shape", misshapen)];
        let wrong = wrong.into_iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> =
            wrong.map(|(what, names)| format!("{what}: {}", first_few(&names))).collect();

        if told.is_empty() {
            return Ok(Self::new(all, declared));
        }
        Err(Error::data(format!("the tensors are not those of this model; {}", told.join("; "))))
    }

    /// All of these and those of `other`.
    #[must_use]
    pub fn and(mut self, other: Parameters) -> Self {
        self.trained.extend(other.trained);
        self.frozen.extend(other.frozen);
        self.parts.extend(other.parts);
        self
    }

    /// The same numbers, of which none is trained.
    #[must_use]
    pub fn freeze(self) -> Self {
        let still = self.trained.into_iter().map(|(name, var)| (name, var.as_detached_tensor()));
        let frozen = self.frozen.into_iter().chain(still).collect();
        Parameters { frozen, trained: BTreeMap::new(), parts: self.parts }
    }

    /// The same numbers, of which those that `trains` leaves out stay as they are.
    #[must_use]
    pub fn only(mut self, trains: impl Fn(&str) -> bool) -> Self {
        let (trained, still): (BTreeMap<String, Var>, BTreeMap<String, Var>) =
            std::mem::take(&mut self.trained).into_iter().partition(|(name, _)| trains(name));
        let still = Parameters { trained: still, frozen: self.frozen, parts: self.parts }.freeze();
        Parameters { trained, ..still }
    }

    /// The same numbers without those of these names.
    #[must_use]
    pub fn without(mut self, names: &BTreeSet<&str>) -> Self {
        self.trained.retain(|name, _| !names.contains(name.as_str()));
        self.frozen.retain(|name, _| !names.contains(name.as_str()));
        self
    }

    /// The trainable variables by name, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.trained.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// What the parameter called `name` is to the model.
    ///
    /// # Errors
    /// If there is none.
    pub fn part(&self, name: &str) -> candle_core::Result<&Part> {
        self.parts
            .get(name)
            .ok_or_else(|| candle_core::Error::msg(format!("the model has no weight `{name}`")))
    }

    /// How many numbers are trained.
    pub fn n_numbers(&self) -> u64 {
        self.trained.values().map(|var| var.elem_count() as u64).sum()
    }

    /// How many numbers stay as they are.
    pub fn n_frozen(&self) -> u64 {
        self.frozen.values().map(|tensor| tensor.elem_count() as u64).sum()
    }

    /// All of them; what is computed from those that move can be differentiated.
    pub fn tracked(&self, moves: &Moves) -> Weights {
        self.beside(self.iter().map(|(name, var)| {
            let tensor = match moves.of(name) {
                Some(_) => var.as_tensor().clone(),
                None => var.as_detached_tensor(),
            };
            (name.to_string(), tensor)
        }))
    }

    /// Their values at this moment, without a graph; they change with the next optimiser step.
    pub fn detached(&self) -> Weights {
        self.beside(self.trained().0)
    }

    /// The same of the trainable variables alone.
    pub fn trained(&self) -> Weights {
        Weights(
            self.iter().map(|(name, var)| (name.to_string(), var.as_detached_tensor())).collect(),
        )
    }

    /// These tensors beside those that stay as they are.
    pub fn beside(&self, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Weights {
        let mut all = self.frozen.clone();
        all.extend(tensors);
        Weights(all)
    }
}

impl Weights {
    /// Named tensors.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        Weights(tensors)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> candle_core::Result<&Tensor> {
        self.0
            .get(name)
            .ok_or_else(|| candle_core::Error::msg(format!("the model has no weight `{name}`")))
    }

    /// Writes all of them as safetensors, in a fixed order.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_tensors(path, &self.0)
    }
}

/// Writes named tensors as safetensors, beside and renamed. The `format` entry is what transformers
/// asks for.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let info = HashMap::from([("format".to_string(), "pt".to_string())]);
    let beside = beside(path);
    let failed = |cause: &dyn std::fmt::Display| Error::file("write", &beside, cause);
    // The crate makes files that only their owner may read; others get the rights that the user's
    // umask leaves.
    let usual = std::fs::File::create(&beside)
        .and_then(|file| file.metadata())
        .map_err(|cause| failed(&cause))?;
    safetensors::serialize_to_file(tensors.iter(), Some(info), &beside)
        .map_err(|cause| failed(&cause))?;
    std::fs::set_permissions(&beside, usual.permissions()).map_err(|cause| failed(&cause))?;

    put_in_place(path)
}

/// Reads all tensors of a safetensors file, in name order.
///
/// # Errors
/// If the file cannot be read.
pub fn read_tensors(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    header(path)?;
    let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, device).map_err(|cause| {
        Error::data(format!("the file is no safetensors file, or was cut off: {cause}"))
            .at(path.display())
            .hint(
                "copy or fetch it again; `sha256sum` tells whether it is the one that was \
                   published",
            )
    })?;
    Ok(tensors.into_iter().collect())
}

/// The header of a safetensors file, by names of tensors: eight bytes of length, then a JSON object
/// with the places of their bytes behind it. No tensor is read.
///
/// # Errors
/// If it is none, or the file is not as long as it says.
pub(super) fn header(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let failed = |cause| Error::file("read", path, cause);
    let facts = std::fs::metadata(path).map_err(failed)?;
    let wrong = |what: String| {
        Error::data(format!("the file is no safetensors file, or was cut off: {what}"))
            .at(path.display())
            .hint(
                "copy or fetch it again; `sha256sum` tells whether it is the one that was \
                   published",
            )
    };
    if !facts.is_file() {
        return Err(wrong("it is no file".to_string()));
    }
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|cause| wrong(cause.to_string()))?;
    let length = u64::from_le_bytes(length);

    if length > MAX_HEADER {
        return Err(wrong(format!("its header would have {length} bytes")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(failed)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|cause| wrong(cause.to_string()))?;
    let ends = header.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    let expected = 8_u64.saturating_add(length).saturating_add(ends.max().unwrap_or(0));

    if expected == facts.len() {
        return Ok(header);
    }
    Err(wrong(format!("it has {} bytes, and its header says {expected}", facts.len())))
}

/// What the format allows.
const MAX_HEADER: u64 = 100 << 20;

/// Names in a sentence, the first few of many.
fn first_few(names: &[String]) -> String {
    let shown = &names[..names.len().min(8)];
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Fails if tensors are left that nothing asked for.
///
/// # Errors
/// Names them.
pub fn refuse_extra(path: &Path, left: &BTreeMap<String, Tensor>) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = left.keys().map(|name| format!("`{name}`")).collect();
    Err(Error::data(format!(
        "`{}` has tensors this model does not know: {}",
        path.display(),
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(names: &[&str]) -> Vec<Declared> {
        let part = Part::new(0, Role::Embedding);
        let declare = |name: &&str| Declared {
            name: (*name).into(),
            shape: vec![40, 50],
            init: Init::Normal(0.02),
            part,
        };
        names.iter().map(declare).collect()
    }

    fn values(parameters: &Parameters, name: &str) -> Vec<f32> {
        parameters.detached().get(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn draws_depend_on_seed_and_name_only() {
        let draw = |names, seed| {
            Parameters::draw(&declared(names), seed, DType::F32, &Device::Cpu).unwrap()
        };
        let (both, one) = (draw(&["a", "b"], 1), draw(&["b"], 1));
        assert_eq!(values(&both, "b"), values(&one, "b"));
        assert_ne!(values(&both, "a"), values(&both, "b"));
        assert_ne!(values(&draw(&["b"], 2), "b"), values(&one, "b"));
        let deviation = (values(&one, "b").iter().map(|x| x * x).sum::<f32>() / 2000.0).sqrt();

        assert!((deviation - 0.02).abs() < 0.001, "{deviation}");
    }

    #[test]
    fn missing_extra_and_misshapen_tensors_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let saved = Parameters::draw(&declared(&["a", "b"]), 1, DType::F32, &Device::Cpu).unwrap();
        saved.detached().save(&path).unwrap();
        let load = |declared: &[Declared]| Parameters::load(&path, declared, &Device::Cpu);
        assert_eq!(values(&load(&declared(&["a", "b"])).unwrap(), "a"), values(&saved, "a"));
        assert!(load(&declared(&["a"])).err().unwrap().what().contains("`b`"));
        assert!(load(&declared(&["a", "b", "c"])).err().unwrap().what().contains("missing: `c`"));
        let mut wrong = declared(&["a", "b"]);
        wrong[1].shape = vec![50, 40];

        assert!(load(&wrong).err().unwrap().what().contains("[40, 50] instead of [50, 40]"));
    }
}
