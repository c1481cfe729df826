//! Checkpoints: whole folders, written beside and renamed, from which a run goes on bit for bit.
//!
//! `checkpoints/step-00000300/` holds `model.safetensors`, `optimiser.safetensors`, `state.json`,
//! and of each strategy that keeps tensors `<its name>.safetensors`. The newest is the one with the
//! highest step; there is no link to it that could point at nothing. A folder that is not yet, or
//! no longer, whole has a name that does not count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_json};
use crate::flow::disk::{files_named, remove_folder, rename, sync_folder};
use crate::train::data::windows::Position;
use crate::train::kernels::Instructions;
use crate::train::model::Parameters;
use crate::train::model::parameters::{Declared, read_tensors, write_tensors};
use crate::train::optimiser::adamw::Steps;
use crate::train::optimiser::{AdamW, LossScale};
use crate::train::params::Params;
use crate::train::strategy::Saved;

const FOLDER: &str = "checkpoints";
/// The weights, in the folder of a checkpoint.
pub const MODEL: &str = "model.safetensors";
const OPTIMISER: &str = "optimiser.safetensors";
const STATE: &str = "state.json";
/// What a checkpoint is called while it is removed.
const RETIRED: &str = "retired";

/// What a run is; a checkpoint goes on only with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Seed of every draw.
    pub seed: u64,
    /// Fingerprint of the parameters and the trainer's version.
    pub params: String,
    /// Hash of the contract `shard`.
    pub contract: String,
    /// Hash of the ids of the train split, in order.
    pub train: String,
    /// The same of the validation split, where there is one.
    pub validation: Option<String>,
    /// Hash of `tokenizer.json`.
    pub tokenizer: String,
    /// Hashes of the files the run began with, where it did not begin anew.
    pub init: Option<String>,
    /// Hash of the lexicon and the rules by which words and concepts were found, where they were.
    #[serde(default)]
    pub marks: Option<String>,
}

/// Everything a run needs to go on, beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What the run is.
    pub identity: Identity,
    /// Steps done.
    pub step: u64,
    /// Where the run stands in the data.
    pub position: Position,
    /// Steps the optimiser did for each parameter.
    pub optimiser_steps: BTreeMap<String, Steps>,
    /// Loss on the validation split before the first step.
    pub first_val_loss: Option<f64>,
    /// What the loss is multiplied with, where the precision is f16.
    pub loss_scale: Option<LossScale>,
    /// What the strategies keep beside tensors, by name.
    #[serde(default)]
    pub strategies: BTreeMap<String, Value>,
    /// The vector instructions that the last steps were done with; `None` in runs of before they
    /// were told.
    #[serde(default)]
    pub instructions: Option<Instructions>,
}

/// What a checkpoint is made of beside its state.
pub struct Tensors<'a> {
    /// The parameters that the run trains.
    pub parameters: &'a Parameters,
    /// The optimiser.
    pub optimiser: &'a AdamW,
    /// The strategies' own, by name.
    pub strategies: BTreeMap<&'static str, BTreeMap<String, Tensor>>,
}

impl Identity {
    /// Checks that a checkpoint's identity is this one.
    ///
    /// # Errors
    /// Names what differs.
    pub fn check(&self, found: &Identity) -> Result<()> {
        let differs = [
            ("seed", self.seed != found.seed),
            ("parameters in `[train]`", self.params != found.params),
            ("contract `shard`", self.contract != found.contract),
            ("train shards", self.train != found.train),
            ("validation shards", self.validation != found.validation),
            ("tokenizer", self.tokenizer != found.tokenizer),
            ("model it began with", self.init != found.init),
            ("lexicon", self.marks != found.marks),
        ];

        let names: Vec<&str> =
            differs.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::usage(format!("the run in this folder differs in: {}", names.join(", ")))
            .hint("use the same settings to go on, or another `--out` to begin anew"))
    }
}

/// The checkpoint with the highest step under `out`; `None` where there is none.
///
/// # Errors
/// If the folder cannot be read.
pub fn latest(out: &Path) -> Result<Option<PathBuf>> {
    Ok(all(out)?.pop().map(|found| found.folder))
}

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The step it is of.
    pub step: u64,
    /// Its folder.
    pub folder: PathBuf,
}

/// Whole checkpoints under `out`, in the order of their steps.
///
/// # Errors
/// If the folder cannot be read.
pub fn all(out: &Path) -> Result<Vec<Found>> {
    let folder = out.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(Error::file("list", &folder, cause)),
    };
    let mut found = Vec::new();

    for entry in entries {
        let folder = entry.map_err(|cause| Error::file("list", &folder, cause))?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(step) = name.strip_prefix("step-").and_then(|step| step.parse::<u64>().ok()) {
            found.push(Found { step, folder });
        }
    }

    found.sort();
    Ok(found)
}

/// The weights of a checkpoint by their names, those that were trained beside the model among them.
///
/// # Errors
/// If its file is damaged.
pub fn weights(checkpoint: &Path) -> Result<BTreeMap<String, Tensor>> {
    read_tensors(&checkpoint.join(MODEL), &Device::Cpu)
}

/// Writes a checkpoint and removes all but the last `keep`.
///
/// # Errors
/// If a file cannot be written, renamed or removed.
pub fn save(out: &Path, state: &State, tensors: &Tensors, keep: usize) -> Result<PathBuf> {
    let place = out.join(FOLDER).join(format!("step-{:08}", state.step));
    let beside = out.join(FOLDER).join(format!("unfinished-{:08}", state.step));
    remove_folder(&beside)?;
    std::fs::create_dir_all(&beside).map_err(|cause| Error::file("create", &beside, cause))?;
    tensors.parameters.trained().save(&beside.join(MODEL))?;
    tensors.optimiser.save(&beside.join(OPTIMISER))?;

    for (name, tensors) in tensors.strategies.iter().filter(|(_, tensors)| !tensors.is_empty()) {
        write_tensors(&beside.join(format!("{name}.safetensors")), tensors)?;
    }
    write_json(&beside.join(STATE), state)?;
    if place.exists() {
        retire(&place)?;
    }
    sync_folder(&beside)?;
    rename(&beside, &place)?;
    sync_folder(&out.join(FOLDER))?;
    keep_last(out, keep)?;

    Ok(place)
}

/// Removes all whole checkpoints but the last `keep`.
fn keep_last(out: &Path, keep: usize) -> Result<()> {
    let whole = all(out)?;
    whole[..whole.len().saturating_sub(keep)].iter().try_for_each(|old| retire(&old.folder))
}

/// Removes what a run that was killed while it saved left behind: what is not, or no longer, a
/// whole checkpoint, and all of those but the last `keep`.
///
/// # Errors
/// If something cannot be removed.
pub fn tidy(out: &Path, keep: usize) -> Result<()> {
    let folder = out.join(FOLDER);
    if folder.exists() {
        let (unfinished, retired) =
            (files_named(&folder, "unfinished-", "")?, files_named(&folder, RETIRED, "")?);
        unfinished.iter().chain(&retired).try_for_each(|left| remove_folder(left))?;
    }
    keep_last(out, keep)
}

/// Reads the state of a checkpoint, without its tensors.
///
/// # Errors
/// If it is damaged.
pub fn state(checkpoint: &Path) -> Result<State> {
    let path = checkpoint.join(STATE);
    let remedy = || format!("remove `{}`; the checkpoint before it is used", checkpoint.display());
    match read_json(&path) {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(Error::data(format!("`{}` is missing", path.display())).hint(remedy())),
        Err(error) => Err(Error::new(error.kind(), error.what()).hint(remedy())),
    }
}

/// Reads the tensors of a checkpoint.
///
/// # Errors
/// If a file is damaged, or its tensors are not exactly those declared.
pub fn tensors(
    checkpoint: &Path,
    state: &State,
    declared: &[Declared],
    params: &Params,
    device: &Device,
) -> Result<(Parameters, AdamW)> {
    let read = || {
        let parameters = Parameters::load(&checkpoint.join(MODEL), declared, device)?;
        let path = checkpoint.join(OPTIMISER);
        let optimiser = AdamW::load(&path, &params.optimiser, &state.optimiser_steps, device)?;
        Ok((parameters, optimiser))
    };
    read().map_err(|error: Error| {
        error.hint(format!(
            "remove `{}` to go on from the checkpoint before it",
            checkpoint.display()
        ))
    })
}

/// What a strategy kept in a checkpoint.
///
/// # Errors
/// If its file is damaged.
pub fn strategy(checkpoint: &Path, state: &State, name: &str, device: &Device) -> Result<Saved> {
    let path = checkpoint.join(format!("{name}.safetensors"));
    let tensors = if path.exists() { read_tensors(&path, device)? } else { BTreeMap::new() };
    Ok(Saved { state: state.strategies.get(name).cloned().unwrap_or_default(), tensors })
}

/// Gives a folder a name that does not count, then removes it: a kill between leaves no half
/// checkpoint.
fn retire(path: &Path) -> Result<()> {
    let retired = path.with_file_name(RETIRED);
    remove_folder(&retired)?;
    rename(path, &retired)?;
    remove_folder(&retired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{default_params, tiny_encoder};
    use crate::train::model::Architecture;
    use candle_core::DType;

    fn example(step: u64) -> State {
        State {
            identity: Identity {
                seed: 1,
                params: "p".into(),
                contract: "c".into(),
                train: "t".into(),
                validation: None,
                tokenizer: "k".into(),
                init: None,
                marks: None,
            },
            step,
            position: Position::default(),
            optimiser_steps: BTreeMap::new(),
            first_val_loss: Some(0.1),
            loss_scale: None,
            strategies: BTreeMap::new(),
            instructions: Some(Instructions::Avx2),
        }
    }

    #[test]
    fn the_newest_is_found_and_old_ones_go() {
        let out = tempfile::tempdir().unwrap();
        assert!(latest(out.path()).unwrap().is_none());
        let model = tiny_encoder();
        let parameters = Parameters::draw(&model.declare(), 1, DType::F32, &Device::Cpu).unwrap();
        let optimiser = AdamW::new(&default_params().optimiser);

        for step in [5, 10, 15, 15] {
            let tensors = Tensors {
                parameters: &parameters,
                optimiser: &optimiser,
                strategies: BTreeMap::new(),
            };
            save(out.path(), &example(step), &tensors, 2).unwrap();
        }

        let names: Vec<String> = std::fs::read_dir(out.path().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
        // What a kill leaves behind does not count, and goes when the run is started again.
        std::fs::create_dir(out.path().join(FOLDER).join("unfinished-00000020")).unwrap();
        let newest = latest(out.path()).unwrap().unwrap();
        assert!(newest.ends_with("step-00000015"));
        assert_eq!(state(&newest).unwrap(), example(15));
        let (loaded, _) =
            tensors(&newest, &example(15), &model.declare(), &default_params(), &Device::Cpu)
                .unwrap();
        assert_eq!(loaded.n_numbers(), parameters.n_numbers());
        std::fs::create_dir(out.path().join(FOLDER).join(RETIRED)).unwrap();
        tidy(out.path(), 1).unwrap();
        let left: Vec<PathBuf> = std::fs::read_dir(out.path().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();

        assert_eq!(left, [newest]);
    }

    #[test]
    fn another_run_is_refused_by_what_differs() {
        let ours = example(1).identity;
        ours.check(&ours.clone()).unwrap();
        let theirs = Identity { seed: 2, tokenizer: "other".into(), ..ours.clone() };
        assert!(ours.check(&theirs).unwrap_err().what().ends_with("seed, tokenizer"));
    }
}
