//! `teacher`: a teacher that stays as it is, for the objectives `distill…`: the model as the run
//! began, which keeps it from forgetting, or another of the same vocabulary, from which a smaller
//! one learns (Hinton et al. 2015, arXiv:1503.02531).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::Deserialize;

use super::mean::Mean;
use super::{Kind, Layout, Probe, Saved, Section, Strategy};
use crate::error::{Error, Result};
use crate::train::model::hugging_face::{self, Pretrained};
use crate::train::model::{Architecture, Declared, Parameters, Weights};

/// See the module.
pub static TEACHER: Kind = Kind {
    name: "teacher",
    about: "keeps a teacher that does not change, for the objectives `distill…`",
    switch: "on",
    build: |section: Section| {
        let Keys { on, from, cache } = section.parse()?;
        if !on {
            return Ok(None);
        }
        let other = match from.as_str() {
            "" => None,
            from => Some(Other::open(Path::new(from))?),
        };
        let cache = (!cache.is_empty()).then(|| PathBuf::from(cache));
        Ok(Some(Box::new(Teacher { other, begun: Mean::default(), cache })))
    },
};

/// The section `[train.strategy.teacher]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Whether one is kept.
    on: bool,
    /// A Hugging Face folder of the same vocabulary; empty keeps the model as the run begins.
    from: String,
    /// A folder for what it shows; empty keeps nothing.
    cache: String,
}

/// See the module.
struct Teacher {
    /// Where it is another model.
    other: Option<Other>,
    /// Where it is the model as the run began.
    begun: Mean,
    /// Where what it shows is kept.
    cache: Option<PathBuf>,
}

/// A model in a folder.
struct Other {
    folder: PathBuf,
    pretrained: Pretrained,
    weights: BTreeMap<String, Tensor>,
}

impl Other {
    fn open(folder: &Path) -> Result<Self> {
        let pretrained = hugging_face::shape(folder)
            .map_err(|error| error.at("`train.strategy.teacher.from`"))?;
        Ok(Other { folder: folder.to_path_buf(), pretrained, weights: BTreeMap::new() })
    }

    /// Reads the weights, as the student has them.
    fn read(&mut self, run: &Probe) -> Result<()> {
        let (own, student) = (self.pretrained.model.size(), run.model.size());
        if own.vocabulary != student.vocabulary {
            return Err(Error::usage(format!(
                "the teacher has {} rows of embeddings, the model {}: they do not read the same",
                own.vocabulary, student.vocabulary
            ))
            .at(self.folder.display())
            .hint("a teacher needs the vocabulary of the model"));
        }
        let Some((_, like)) = run.parameters.iter().next() else { return Ok(()) };
        let parameters = self.pretrained.parameters(&self.folder, like.dtype(), like.device())?;
        self.weights = parameters
            .iter()
            .map(|(name, var)| (name.to_string(), var.as_detached_tensor()))
            .collect();
        Ok(())
    }
}

impl Strategy for Teacher {
    fn files(&self) -> Vec<PathBuf> {
        let files = self.other.as_ref().map(|other| hugging_face::files(&other.folder));
        files.and_then(Result::ok).unwrap_or_default()
    }

    fn begin(&mut self, run: &Probe) -> Result<()> {
        match &mut self.other {
            Some(other) => other.read(run)?,
            None => self.begun = Mean::of(run.parameters)?,
        }
        Ok(())
    }

    fn shape(&self) -> Option<&dyn Architecture> {
        self.other.as_ref().map(|other| other.pretrained.model.as_ref())
    }

    fn teacher(&self, parameters: &Parameters) -> Option<Weights> {
        Some(match &self.other {
            Some(other) => Weights::new(other.weights.clone()),
            None => self.begun.weights(parameters),
        })
    }

    fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    fn extra_bytes(&self, layout: &Layout, number: u64) -> u64 {
        let n = match &self.other {
            Some(other) => other.pretrained.model.declare().iter().map(Declared::n_numbers).sum(),
            None => layout.n_numbers(),
        };
        number * n
    }

    fn save(&self) -> Saved {
        // Another model is read again from its folder.
        if self.other.is_some() { Saved::default() } else { self.begun.save() }
    }

    fn load(&mut self, kept: Saved, run: &Probe) -> Result<()> {
        match &mut self.other {
            Some(other) => other.read(run)?,
            None => self.begun = Mean::load(kept, run)?,
        }
        Ok(())
    }
}
