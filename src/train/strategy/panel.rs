//! `panel`: probes that the model is asked while it is trained, and the weights that know most
//! without having forgotten.
//!
//! The loss falls all the time while what is known of a fact comes and goes (Chang et al. 2024,
//! arXiv:2406.11813; arXiv:2601.03858): so a panel of probes is asked every so many steps, half of
//! them about what the training text tells of, a quarter about what it does not, a quarter of
//! general text. Each one's loss is told in `metrics.jsonl`, with the steps at which the model read
//! a document that tells of it; `kpipe eval dynamics` makes effectivity and retainability of them.
//!
//! The weights that know most of what is told, and whose loss on general text is not above the
//! first one by more than `forget_max`, are exported beside the last ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::mean::Mean;
use super::{At, Did, Kind, Layout, Probe as Run, Saved, Section, Strategy};
use crate::error::{Error, Result};
use crate::flow::disk::hash_file;
use crate::train::ask::Ask;
use crate::train::data::again;
use crate::train::data::probes::{self, CONTROL, Probe};
use crate::train::model::{Parameters, Weights};

/// Tokens that are computed at once.
const BATCH_TOKENS: usize = 4_096;
/// What the numbers of a single probe begin with in `metrics.jsonl`.
const LOSS: &str = "panel.loss.";
const TOLD: &str = "panel.told.";
/// The same of the losses before the first step, which stand in the line of that.
const FIRST: &str = "panel.first.";

/// See the module.
pub static PANEL: Kind = Kind {
    name: "panel",
    about: "asks knowledge probes every so many steps, and keeps the weights that know most",
    switch: "file",
    build: |section: Section| {
        let keys: Keys = section.parse()?;
        if keys.file.is_empty() {
            return Ok(None);
        }
        let path = PathBuf::from(&keys.file);
        let (probes, hash) = (chosen(probes::read(&path)?, keys.items), hash_file(&path)?);
        let mut telling: HashMap<u64, Vec<usize>> = HashMap::new();
        for (nth, probe) in probes.iter().enumerate() {
            for id in &probe.told_in {
                telling.entry(again::name(id)).or_default().push(nth);
            }
        }
        let (state, kept, lines) = (State::default(), Mean::default(), BTreeMap::new());
        Ok(Some(Box::new(Panel { keys, probes, hash, telling, state, kept, lines })))
    },
};

/// Whether a number that is told is one of a single probe.
pub fn is_of_one(name: &str) -> bool {
    [LOSS, TOLD, FIRST].iter().any(|begin| name.starts_with(begin))
}

/// The section `[train.strategy.panel]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Probes as JSON lines; empty asks none.
    file: String,
    /// Steps between two times they are asked.
    every: u64,
    /// Most probes.
    items: usize,
    /// What general text may lose, in nats per token, for weights to be kept.
    forget_max: f64,
}

/// What a probe is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// The training text tells of it.
    Told,
    /// It does not.
    Untold,
    /// What must not be forgotten.
    Control,
}

/// All of them, by their names in `metrics.jsonl`.
const GROUPS: [(Group, &str); 3] =
    [(Group::Told, "told"), (Group::Untold, "untold"), (Group::Control, "control")];

impl Group {
    fn of(probe: &Probe) -> Self {
        match (probe.kind.as_str(), probe.seen) {
            (CONTROL, _) => Group::Control,
            (_, Some(0)) => Group::Untold,
            _ => Group::Told,
        }
    }
}

/// Half of what is told, a quarter of what is not and a quarter of controls, in the order of the
/// file; what lacks of one is made up by the others.
fn chosen(probes: Vec<Probe>, items: usize) -> Vec<Probe> {
    let mut by: BTreeMap<Group, Vec<Probe>> = BTreeMap::new();
    for probe in probes {
        by.entry(Group::of(&probe)).or_default().push(probe);
    }
    let n = |group| by.get(&group).map_or(0, Vec::len);
    let untold = n(Group::Untold).min(items / 4);
    let control = n(Group::Control).min(items / 4);
    let told = n(Group::Told).min(items - untold - control);
    let take = |(group, n): (Group, usize)| {
        by.remove(&group).unwrap_or_default().into_iter().take(n).collect::<Vec<Probe>>()
    };
    [(Group::Told, told), (Group::Untold, untold), (Group::Control, control)].map(take).concat()
}

/// Where the panel stands; saved with the run.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Probes that documents told of since it was asked last.
    told: BTreeSet<usize>,
    /// Mean loss of the controls at the beginning.
    control: Option<f64>,
    /// Whose weights are kept.
    kept: Option<Kept>,
}

/// The weights that know most so far.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Kept {
    /// The step behind which they stood.
    step: u64,
    /// Their mean loss on what is told.
    loss: f64,
}

/// See the module.
struct Panel {
    keys: Keys,
    probes: Vec<Probe>,
    hash: String,
    /// Probes that a document tells of, by what stands for its id.
    telling: HashMap<u64, Vec<usize>>,
    state: State,
    kept: Mean,
    /// What is told in the line of this step.
    lines: BTreeMap<String, f64>,
}

impl Panel {
    /// Asks all probes behind a step; their losses are told under names that begin with `name`.
    fn ask(&mut self, step: u64, name: &str, run: &Run) -> Result<()> {
        let reader =
            run.reader.ok_or_else(|| Error::data("a panel has no tokenizer to ask with"))?;
        let weights = run.parameters.detached();
        let ask = Ask {
            family: reader.family,
            model: run.model,
            weights: &weights,
            tokenizer: reader.tokenizer,
            dtype: reader.dtype,
            device: reader.device,
            batch_tokens: BATCH_TOKENS,
        };
        let found = ask.left_out(&self.probes).map_err(|error| error.at(&self.keys.file))?;
        let loss = |one: &crate::train::ask::LeftOut| -one.log_prob / one.tokens.max(1) as f64;
        let losses: Vec<f64> = found.iter().map(loss).collect();
        let told = std::mem::take(&mut self.state.told);
        let mean = |group| self.mean(&losses, group);
        let (score, control) = (mean(Group::Told), mean(Group::Control));
        self.lines = (0..)
            .zip(&losses)
            .map(|(nth, loss): (usize, &f64)| (format!("{name}{nth}"), *loss))
            .chain(GROUPS.iter().filter_map(|(group, name)| {
                Some((format!("panel.{name}"), mean(*group)?)).filter(|_| step > 0)
            }))
            .chain(told.iter().map(|nth| (format!("{TOLD}{nth}"), 1.0)))
            .collect();

        let first = *self.state.control.get_or_insert(control.unwrap_or(0.0));
        let forgets = control.is_some_and(|control| control > first + self.keys.forget_max);
        if let Some(score) = score.filter(|_| !forgets)
            && self.state.kept.is_none_or(|kept| score < kept.loss)
        {
            self.state.kept = Some(Kept { step, loss: score });
            self.kept = Mean::of(run.parameters)?;
        }
        let kept = self.state.kept.filter(|_| step > 0);
        self.lines.extend(kept.map(|kept| ("panel.kept_step".to_string(), kept.step as f64)));
        Ok(())
    }

    /// The mean loss of a group; none of an empty one.
    fn mean(&self, losses: &[f64], group: Group) -> Option<f64> {
        let of_group = self.probes.iter().zip(losses);
        let losses: Vec<f64> = of_group
            .filter(|(probe, _)| Group::of(probe) == group)
            .map(|(_, loss)| *loss)
            .collect();
        (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
    }
}

impl Strategy for Panel {
    fn files(&self) -> Vec<PathBuf> {
        vec![PathBuf::from(&self.keys.file)]
    }

    fn begin(&mut self, run: &Run) -> Result<()> {
        self.ask(0, FIRST, run)
    }

    fn before(&mut self, at: At, _: &Run) -> Result<()> {
        if at.step > 1 {
            self.lines.clear();
        }
        Ok(())
    }

    fn after(&mut self, at: At, run: &Run, did: &Did) -> Result<()> {
        for document in &did.documents {
            self.state.told.extend(self.telling.get(&document.name).into_iter().flatten());
        }
        if at.step.is_multiple_of(self.keys.every) || at.step == at.total {
            let first = std::mem::take(&mut self.lines);
            self.ask(at.step, LOSS, run)?;
            self.lines.extend(first);
        }
        Ok(())
    }

    fn beside(&self, parameters: &Parameters) -> Option<Weights> {
        self.state.kept.map(|_| self.kept.weights(parameters))
    }

    fn extra_bytes(&self, layout: &Layout, number: u64) -> u64 {
        number * layout.n_numbers()
    }

    fn save(&self) -> Saved {
        let state = json!({ "file": self.hash, "panel": self.state });
        Saved { state, ..self.kept.save() }
    }

    fn load(&mut self, kept: Saved, run: &Run) -> Result<()> {
        if kept.state["file"] != self.hash.as_str() {
            let what = format!("`{}` is not what the run was begun with", self.keys.file);
            return Err(
                Error::usage(what).hint("give the same probes, or begin in another `--out`")
            );
        }
        self.state = serde_json::from_value(kept.state["panel"].clone())
            .map_err(|cause| Error::data(format!("where the panel stood is lost: {cause}")))?;
        if self.state.kept.is_some() {
            self.kept = Mean::load(kept, run)?;
        }
        Ok(())
    }

    fn tell(&self) -> BTreeMap<String, f64> {
        self.lines.clone()
    }

    fn note(&self, _: &Parameters, _: u64) -> Option<String> {
        let n = |group| self.probes.iter().filter(|probe| Group::of(probe) == group).count();
        let [told, untold, control] = [Group::Told, Group::Untold, Group::Control].map(n);
        Some(format!(
            "a panel of {told} probes that the text tells of, {untold} that it does not, {control} \
             of general text is asked every {} steps",
            self.keys.every
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use crate::train::fixture::{
        checkpoint_folder, dies_after, grammar, job, metrics, outcome, shard_folder, tiny_params,
    };
    use crate::train::model::FAMILIES;
    use crate::train::params::Params;
    use crate::train::train;

    fn probe(nth: usize, kind: &str, seen: u64, told_in: &[&str]) -> Probe {
        Probe {
            id: nth.to_string(),
            kind: kind.into(),
            context: "aspirin relieves".into(),
            choices: vec!["fever".into(), "pain".into()],
            answer: nth % 2,
            behind: " .".into(),
            seen: Some(seen),
            told_in: told_in.iter().map(|id| (*id).to_string()).collect(),
            ..Probe::default()
        }
    }

    #[test]
    fn half_is_told_and_what_lacks_is_made_up() {
        let probes: Vec<Probe> = (0..40)
            .map(|nth| match nth % 4 {
                0 => probe(nth, CONTROL, 0, &[]),
                1 => probe(nth, "concept", 0, &[]),
                _ => probe(nth, "concept", 5, &[]),
            })
            .collect();
        let n = |probes: &[Probe], items| {
            let chosen = chosen(probes.to_vec(), items);
            [Group::Told, Group::Untold, Group::Control]
                .map(|group| chosen.iter().filter(|one| Group::of(one) == group).count())
        };
        assert_eq!(n(&probes, 16), [8, 4, 4]);
        assert_eq!(n(&probes[2..4], 16), [2, 0, 0]);
        let without: Vec<Probe> =
            probes.into_iter().filter(|one| Group::of(one) != Group::Untold).collect();
        assert_eq!(n(&without, 16), [12, 0, 4]);
    }

    /// In all families: a killed run tells the same and keeps the same weights; a loss that is
    /// told is that of the model that is kept; with nothing to be forgotten the first weights stay.
    #[test]
    fn a_panel_is_asked_while_a_model_learns() {
        let documents = grammar(60, 3);
        let shards = shard_folder(&documents, &grammar(12, 9));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("probes.jsonl");
        let first = documents[0].id.as_str();
        let mut all: Vec<Probe> = (0..6).map(|nth| probe(nth, "concept", 9, &[first])).collect();
        all.push(probe(6, CONTROL, 0, &[]));
        std::fs::write(&file, probes::lines(&all).unwrap()).unwrap();

        for family in FAMILIES {
            let init = checkpoint_folder(family);
            let mut params = Params { steps: 12, save_every: 3, max_tokens: 24, ..tiny_params() };
            params.optimiser.lr = 1e-2;
            params.init = init.path().to_str().unwrap().into();
            params.strategy.set("panel", "file", file.to_str().unwrap());
            params.strategy.set("panel", "every", 4);
            params.strategy.set("panel", "forget_max", 100.0);
            let [whole, killed, strict] = [(); 3].map(|()| tempfile::tempdir().unwrap());
            train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
            for steps in [2, 5] {
                dies_after(steps, shards.path(), killed.path(), &params);
            }
            train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
            assert!(outcome(whole.path()) == outcome(killed.path()), "{}", family.name);

            let told: Vec<BTreeMap<String, f64>> =
                metrics(whole.path()).into_iter().map(|metric| metric.strategies).collect();
            let asked: Vec<usize> =
                (1..=12).filter(|step| told[step - 1].contains_key("panel.told")).collect();
            assert_eq!(asked, [4, 8, 12], "{}", family.name);
            assert!(told[0].contains_key("panel.first.6"));
            assert!((0..6).all(|nth| told[3].contains_key(&format!("panel.told.{nth}"))));
            let mean: f64 = (0..6).map(|nth| told[11][&format!("panel.loss.{nth}")]).sum();
            assert!((told[11]["panel.told"] - mean / 6.0).abs() < 1e-12);
            assert!(whole.path().join("panel/model.safetensors").exists());

            // Whatever is learned forgets more than this.
            params.strategy.set("panel", "forget_max", 0.0);
            all[6].answer = 1;
            params.steps = 4;
            train(&job(shards.path(), strict.path(), &Silent), &params).unwrap();
            let kept = metrics(strict.path())[3].strategies["panel.kept_step"];
            assert!(kept == 0.0 || kept == 4.0);

            std::fs::write(&file, probes::lines(&all[..6]).unwrap()).unwrap();
            let error = train(&job(shards.path(), strict.path(), &Silent), &params)
                .unwrap_err()
                .to_string();
            assert!(error.contains("probes.jsonl") || error.contains("other"), "{error}");
            all[6].answer = 0;
            std::fs::write(&file, probes::lines(&all).unwrap()).unwrap();
        }
    }
}
