//! One arm: its build, its run, and what the model then knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::DType;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::injected::{self, Injected};
use super::plan::{Arm, Facts, Plan};
use super::world::{self, Document, World};
use super::{Job, text};
use crate::build::plan::{self as build_plan, Pipeline};
use crate::build::{publish, run as rooms};
use crate::error::{Error, Result};
use crate::eval::known::{self, Known};
use crate::eval::model::Model;
use crate::eval::{dynamics, probes};
use crate::flow::dataset::{write_atomically, write_json};
use crate::flow::disk::hash_file;
use crate::flow::progress::Silent;
use crate::flow::registry;
use crate::flow::settings::Settings;
use crate::knowledge::lexicon::{Lexicon, files};
use crate::knowledge::mentions::Finder;
use crate::train;
use crate::train::data::probes::{self as probe, CONTROL, Probe};
use crate::train::kernels::Instructions;
use crate::train::model::Language;
use crate::train::run::preset::preset;

/// Tokens that are computed at once where models are asked.
const BATCH_TOKENS: usize = 4_096;
/// What the kinds of probes about real text begin with.
const REAL: &str = "real";
/// Wrong answers beside the right one in real text.
const DISTRACTORS: usize = 4;
/// Most probes of one real document.
const PER_DOCUMENT: usize = 3;
/// Says in its folder that a base is whole.
const DONE: &str = "done.json";
/// Bytes of a held-out text that are measured.
const HELD_OUT_BYTES: usize = 2_000;

/// What an arm came to with a seed: a file that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Hash of the plan, the text and the facts.
    pub plan: String,
    /// The arm.
    pub arm: String,
    /// The seed of its run.
    pub seed: u64,
    /// What it knows: by kind of probes, by what they are about.
    pub known: Known,
    /// Bits per byte of held-out general text, where the model predicts from the left.
    pub general_bits: Option<f64>,
    /// What it knew of facts while it learned, by steps since they were told.
    pub since: Vec<dynamics::Since>,
    /// Tokens that were trained on.
    pub tokens: u64,
    /// Seconds of the processor that training took, over all cores: what equal compute is read by,
    /// since other programs on the machine make a clock on the wall run on.
    pub cpu_seconds: f64,
    /// Seconds by the clock of training, and of all together.
    pub train_seconds: f64,
    /// See `train_seconds`.
    pub seconds: f64,
    /// Where it was computed: vector instructions and processor.
    pub processor: String,
    /// The program.
    pub kpipe: String,
    /// Its commit, where the results stand in a repository.
    pub commit: Option<String>,
}

/// What all arms of a plan stand on: facts, text, probes and the model they go on from.
pub struct Grounds<'a> {
    /// Hash of the plan, the text and the facts.
    pub hash: String,
    plan: &'a Plan,
    job: &'a Job<'a>,
    world: World,
    injected: Injected,
    text: text::Text,
    lexicon: Lexicon,
    base: PathBuf,
    probes: Vec<Probe>,
}

/// A trained run.
#[derive(Default)]
struct Trained {
    folder: PathBuf,
    tokens: u64,
    cpu_seconds: f64,
    seconds: f64,
    since: Vec<dynamics::Since>,
}

impl<'a> Grounds<'a> {
    /// Draws the facts, takes the text, and trains the model to go on from, as far as these are not
    /// there.
    ///
    /// # Errors
    /// If the text cannot be read, the plan's settings do not fit, or training fails.
    pub fn lay(plan: &'a Plan, job: &'a Job<'a>) -> Result<Self> {
        let (world, injected) = (World::draw(&plan.world)?, injected::read(job.injected)?);
        // Told before hours are spent: what an arm's run would refuse.
        for arm in plan.arms() {
            let place = || format!("the arm `{}` of the plan", arm.name);
            let checked = || {
                let mut params = pipeline(plan, job, &arm.set, "", &|_| true)?.train;
                params.init = "the model that all arms go on from".to_string();
                params.check()?;
                params.check_given()
            };
            checked().map_err(|error: Error| error.at(place()))?;
        }

        let told = world.documents(Facts::Told);
        let chars = told.iter().map(|one| one.text.chars().count()).sum();
        let text = text::take(plan, job, chars)?;
        let base = base(plan, job, &text)?;
        let mut hash = plan.canonical()? + &text.hash;
        for document in told.iter().chain(&injected.documents) {
            hash += &document.text;
        }
        hash += &probe::lines(&injected.probes)?;
        hash += &probe::lines(&world.probes())?;
        if !job.base.is_empty() {
            hash += &open(&base, job)?.hash;
        }
        let specs = &job.reading.density.lexicon;
        let lexicon = Lexicon::read(specs, job.memory_bytes)?;
        // The files, not what is made of them: a later version may read more of the same files, and
        // each outcome says which version it is of.
        for spec in specs {
            for file in files(spec)?.files {
                hash += &hash_file(&file)?;
            }
        }

        let mut grounds = Grounds {
            hash: format!("{:032x}", xxh3_128(hash.as_bytes())),
            plan,
            job,
            probes: [world.probes(), injected.probes.clone()].concat(),
            world,
            injected,
            text,
            lexicon,
            base,
        };
        let real = grounds.real_probes()?;
        grounds.probes.extend(real);
        if !grounds.probes.iter().any(|one| one.kind == plan.primary) {
            let kinds: BTreeSet<&str> =
                grounds.probes.iter().map(|one| one.kind.as_str()).collect();
            let kinds: Vec<&str> = kinds.into_iter().collect();
            return Err(registry::unknown("kind of probes", &plan.primary, &kinds));
        }
        Ok(grounds)
    }

    /// Probes about concepts of real held-out documents, and of general text.
    fn real_probes(&self) -> Result<Vec<Probe>> {
        if self.plan.text.probes == 0 || self.plan.text.domain == 0.0 {
            return Ok(Vec::new());
        }
        // All builds hold out the same documents: seed and ids decide which.
        let set = self.plan.arms().pop().map(|arm| arm.set).unwrap_or_default();
        let shards = self.build(&set, Facts::Told)?;
        let out = self.job.out.join("real-probes");
        let names = pipeline(self.plan, self.job, &set, "", &|_| true)?.train.names;
        if names.lexicon.is_empty() {
            return Ok(Vec::new());
        }
        let finder = Finder::new(&self.lexicon, &names.rules)?;
        let made = probes::make(
            &self.lexicon,
            &finder,
            &probes::Job {
                shards: &shards,
                out: &out,
                limit: self.plan.text.probes,
                per_document: PER_DOCUMENT,
                distractors: DISTRACTORS,
                controls: self.plan.text.probes / 4,
                seed: self.plan.world.seed,
                progress: &Silent,
            },
        )?;
        self.job.progress.note(&format!("probes of held-out text: {:?}", made.made));
        let facts = format!("{}:", world::SOURCE);
        let mut all = probe::read(&out.join(probes::PROBES))?;
        all.retain(|one| !one.document.starts_with(&facts));
        for one in &mut all {
            one.about.clone_from(&one.document);
            one.kind = format!("{REAL}.{}", one.kind);
        }
        Ok(all)
    }

    /// Builds, trains and measures an arm.
    ///
    /// # Errors
    /// If one of these fails.
    pub fn run(&self, arm: &Arm, seed: u64) -> Result<Outcome> {
        let clock = Instant::now();
        let trained = match arm.facts {
            Facts::Untrained => Trained { folder: self.base.clone(), ..Trained::default() },
            facts => self.train(arm, facts, seed)?,
        };
        // Where the plan has a mean of the last weights, that is the model.
        let mean = trained.folder.join("average");
        let folder = if mean.is_dir() { &mean } else { &trained.folder };
        let model = open(folder, self.job)?;
        let outcome = Outcome {
            plan: self.hash.clone(),
            arm: arm.name.clone(),
            seed,
            known: known(&model, &self.probes)?,
            general_bits: general_bits(&model, &self.text.held_out)?,
            since: trained.since,
            tokens: trained.tokens,
            cpu_seconds: trained.cpu_seconds,
            train_seconds: trained.seconds,
            seconds: clock.elapsed().as_secs_f64(),
            processor: format!("{}, {}", processor(), Instructions::used().name()),
            kpipe: env!("CARGO_PKG_VERSION").to_string(),
            commit: commit(self.job.results),
        };
        if trained.folder != self.base {
            crate::flow::disk::remove_folder(&trained.folder)?;
        }
        Ok(outcome)
    }

    /// The shards of an arm: made once for all seeds and arms that build alike.
    fn build(&self, set: &[String], facts: Facts) -> Result<PathBuf> {
        let is_of_build = |setting: &str| !setting.starts_with("train.");
        let pipeline = pipeline(self.plan, self.job, set, "", &is_of_build)?;
        let told = self.world.documents(facts);
        let folder = self.job.out.join("facts");
        create(&folder)?;
        let mut sources = vec![format!("general={}", self.text.general.display())];
        if self.plan.text.domain > 0.0 {
            sources.push(format!("domain={}", self.text.domain.display()));
        }
        for (name, documents) in
            [(world::SOURCE, &told), (injected::SOURCE, &self.injected.documents)]
        {
            if documents.is_empty() {
                continue;
            }
            let lines = lines(documents);
            let place = folder.join(format!("{:016x}.jsonl", xxh3_64(lines.as_bytes())));
            write_atomically(&place, lines.as_bytes())?;
            sources.push(format!("{name}={}", place.display()));
        }

        let sources = sources.join(",");
        let given = self.plan.set.iter().chain(set).filter(|one| is_of_build(one));
        let key = format!(
            "{sources}\n{}\n{}",
            self.lexicon.hash(),
            given.cloned().collect::<Vec<String>>().join("\n")
        );
        let out = self.job.out.join(format!("build-{:016x}", xxh3_64(key.as_bytes())));
        build(pipeline, &sources, &out, self.job)?;
        Ok(out)
    }

    fn train(&self, arm: &Arm, facts: Facts, seed: u64) -> Result<Trained> {
        let shards = self.build(&arm.set, facts)?;
        let mut params = pipeline(self.plan, self.job, &arm.set, "", &|_| true)?.train;
        params.init = self.base.display().to_string();
        let has_panel = self.plan.world.panel > 0 && facts == Facts::Told;
        if has_panel {
            let file = self.job.out.join("panel.jsonl");
            write_atomically(&file, probe::lines(&self.world.panel())?.as_bytes())?;
            params.strategy.set("panel", "file", file.display().to_string().as_str());
            params.strategy.set("panel", "every", self.plan.world.panel_every);
            params.strategy.set("panel", "items", self.plan.world.panel as u64);
        }

        let folder = self.job.out.join(format!("run-{}-{seed}", arm.name));
        // Not gone on with where it was cut: its tokens and seconds would be those of the rest.
        crate::flow::disk::remove_folder(&folder)?;
        let begun = cpu_seconds();
        let summary = train::train(
            &train::Job {
                shards: &shards,
                out: &folder,
                seed,
                device: self.job.device,
                losses: false,
                progress: &Silent,
            },
            &params,
        )
        .map_err(|error| error.at(format!("the arm `{}`, seed {seed}", arm.name)))?;
        let cpu = cpu_seconds() - begun;
        let since = match has_panel {
            true => dynamics::measure(&dynamics::read(&folder)?).since,
            false => Vec::new(),
        };
        Ok(Trained {
            folder,
            tokens: summary.tokens,
            cpu_seconds: cpu,
            seconds: summary.seconds,
            since,
        })
    }
}

/// Seconds of the processor that this process took so far, over all its threads.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// The pipeline of a plan's settings with those of an arm, over a preset where one is named; of
/// those that `takes` says.
fn pipeline(
    plan: &Plan,
    job: &Job,
    set: &[String],
    over: &str,
    takes: &dyn Fn(&str) -> bool,
) -> Result<Pipeline> {
    let mut settings = Settings::new()?;
    if !over.is_empty() {
        settings.add_preset(preset(over)?.text, &format!("preset {over}"))?;
    }
    // What the facts stand beside is general or domain text, whatever it was called.
    settings.add_text("[source.general]\nrole = \"general\"\n", "ablate")?;
    settings.add_assignment(&format!("seed={}", plan.world.seed))?;
    for assignment in plan.set.iter().chain(set).filter(|one| takes(one)) {
        settings.add_assignment(assignment)?;
    }
    let mut pipeline = Pipeline::new(&settings)?;
    // Of the text, as the sources are.
    pipeline.density.lexicon.clone_from(&job.reading.density.lexicon);
    pipeline.train.names.lexicon.clone_from(&job.reading.density.lexicon);
    Ok(pipeline)
}

/// Builds shards of sources; a build that is there is not done again.
pub(super) fn build(pipeline: Pipeline, sources: &str, out: &Path, job: &Job) -> Result<()> {
    let sources = pipeline.sources(sources)?;
    let (out, memory_bytes) = (out.to_path_buf(), job.memory_bytes);
    let build = build_plan::Job { pipeline, sources, out, limit: None, memory_bytes };
    build_plan::check(&build)?;
    let run = rooms::run(&build, &Silent)?;
    publish::publish(&build, &run, &Silent)?;
    Ok(())
}

/// The model that all arms go on from: the one that was named, else one that is trained on general
/// text alone.
fn base(plan: &Plan, job: &Job, text: &text::Text) -> Result<PathBuf> {
    if !job.base.is_empty() {
        return crate::train::model::hub::folder(job.base, job.progress);
    }
    let of_base = Plan { set: plan.base.set.clone(), ..plan.clone() };
    let is_of_build = |setting: &str| !setting.starts_with("train.");
    let mut plain = pipeline(&of_base, job, &[], "", &is_of_build)?;
    plain.negatives.per_document = 0;
    plain.density.lexicon.clear();
    let params = pipeline(&of_base, job, &[], &plan.base.preset, &|_| true)?.train;

    let key = format!("{}\n{}\n{}", json!(plan.base), plan.world.seed, text.base_hash);
    let name = |what: &str| job.out.join(format!("{what}-{:016x}", xxh3_64(key.as_bytes())));
    let (folder, shards) = (name("base"), name("base-build"));
    if folder.join(DONE).exists() {
        return Ok(folder);
    }
    job.progress.message("training the model that all arms go on from");
    build(plain, &format!("general={}", text.base.display()), &shards, job)?;
    train::train(
        &train::Job {
            shards: &shards,
            out: &folder,
            seed: plan.world.seed,
            device: job.device,
            losses: false,
            progress: job.progress,
        },
        &params,
    )
    .map_err(|error| error.at("the model that all arms go on from"))?;
    write_json(&folder.join(DONE), &plan.base)?;
    Ok(folder)
}

fn open(folder: &Path, job: &Job) -> Result<Model> {
    let name = folder.display().to_string();
    Model::open(&name, DType::F32, job.device, BATCH_TOKENS, &Silent)
}

/// What a model knows, in as many digits as tell arms apart: files that can be read.
fn known(model: &Model, probes: &[Probe]) -> Result<Known> {
    let mut found = known::ask(model, probes)?;
    for unit in found.values_mut().flat_map(BTreeMap::values_mut) {
        unit.bits = (unit.bits * 1e4).round() / 1e4;
        unit.right = unit.right.map(|right| (right * 1e4).round() / 1e4);
        unit.choice = unit.choice.map(|choice| (choice * 1e4).round() / 1e4);
    }
    Ok(found)
}

/// Bits per byte of held-out general texts, each from its beginning.
fn general_bits(model: &Model, texts: &[String]) -> Result<Option<f64>> {
    if model.language() != Language::Causal || texts.is_empty() {
        return Ok(None);
    }
    let cut = |text: &String| {
        let end = (0..=text.len().min(HELD_OUT_BYTES)).rev().find(|at| text.is_char_boundary(*at));
        text[..end.unwrap_or(0)].to_string()
    };
    let texts: Vec<String> = texts.iter().map(cut).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let nats: f64 = model.ask().rolling(&texts)?.iter().sum();
    Ok(Some(-nats / std::f64::consts::LN_2 / bytes as f64))
}

/// Documents as JSON lines.
pub(super) fn lines(documents: &[Document]) -> String {
    let mut text = String::new();
    for Document { id, text: own } in documents {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", json!({ "id": id, "text": own }));
    }
    text
}

pub(super) fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or("unknown".to_string(), |(_, name)| name.trim().to_string())
}

/// The commit of the repository that a folder stands in.
fn commit(folder: &Path) -> Option<String> {
    let output = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude", "*"])
        .current_dir(folder)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Kinds whose probes are of general text.
pub(super) fn is_control(kind: &str) -> bool {
    kind.strip_prefix(REAL).is_some_and(|rest| rest.strip_prefix('.') == Some(CONTROL))
}
