//! Does a lever make a model learn more? The same facts, the same tokens, with it and without.
//!
//! Comes in: a plan ([`plan`]), real text, and facts that no model can know: a fictional world
//! ([`world`]) and a third party's ([`injected`]). Goes out: one small JSON file for each arm and
//! seed in a folder that is kept, and a report over all of them ([`effects`], [`report`]).
//!
//! The proof rests on this. Facts are invented, so what is known of them was learned here; they are
//! asked in wordings that stand nowhere in training text. All arms go on from the same weights and
//! read as many tokens. Which arms there are, what is measured and by which rule it is judged is
//! hashed before the first run, and results of another plan are not counted. Levers are the factors
//! of a fractional factorial plan, so that each effect rests on all arms and not on a pair.
//!
//! An arm that stands in the folder is not run again: a plan is finished in pieces, on any machine,
//! and anybody can add seeds.

pub mod arm;
pub mod effects;
pub mod injected;
pub mod plan;
pub mod report;
mod text;
pub mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;

use crate::build::plan::Pipeline;
use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_atomically};
use crate::flow::progress::Progress;
use crate::knowledge::lexicon::LexiconSpec;
use arm::{Grounds, Outcome};
use plan::{Arm, Plan};
use world::World;

/// What the arms of a plan are run on and with.
pub struct Job<'a> {
    /// Real text, as for `kpipe build --source`, and the settings it is read by.
    pub sources: &'a str,
    /// See `sources`.
    pub reading: &'a Pipeline,
    /// Files of a third party's facts.
    pub injected: &'a [PathBuf],
    /// A model to go on from; empty trains one.
    pub base: &'a str,
    /// Working folder: builds, the base and runs, which may be thrown away.
    pub out: &'a Path,
    /// Folder of results, which is kept.
    pub results: &'a Path,
    /// Seconds after which no arm is begun that would not be done by then, if any.
    pub budget: Option<f64>,
    /// Memory for builds, in bytes.
    pub memory_bytes: u64,
    /// Where models are computed.
    pub device: &'a Device,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// Runs what is missing of a plan, and reports over all that is there.
///
/// # Errors
/// If the plan, the text or an arm cannot be used, or a result that is there is damaged.
pub fn ablate(plan: &Plan, job: &Job) -> Result<effects::Report> {
    for folder in [job.out, job.results] {
        std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
    }
    let _lock = crate::flow::disk::lock(job.out)?;
    let begun = Instant::now();
    let reading = with_names(plan, job)?;
    let job = &Job { reading: &reading, ..*job };
    let arms = plan.arms();
    let grounds = Grounds::lay(plan, job)?;
    let mut done = outcomes(job, &grounds.hash)?;
    job.progress.begin("ablate", Some((arms.len() * plan.seeds.len()) as u64), "arms");
    job.progress.advance(done.len() as u64);

    let mut longest: f64 = 0.0;
    'seeds: for seed in &plan.seeds {
        for arm in &arms {
            let key = (arm.name.clone(), *seed);
            if done.contains_key(&key) {
                continue;
            }
            let left = job.budget.map(|budget| budget - begun.elapsed().as_secs_f64());
            if left.is_some_and(|left| left < longest) {
                job.progress.note("the budget is used up; the same command goes on");
                break 'seeds;
            }
            let clock = Instant::now();
            job.progress.message(&format!("{}, seed {seed}", arm.name));
            let outcome = grounds.run(arm, *seed)?;
            // In one line: it is kept in a repository, with many others.
            let text = serde_json::to_string(&outcome)
                .map_err(|cause| Error::data(format!("an outcome cannot be written: {cause}")))?;
            write_atomically(&place(job.results, arm, *seed), (text + "\n").as_bytes())?;
            done.insert(key, outcome);
            longest = longest.max(clock.elapsed().as_secs_f64());
            job.progress.advance(1);
        }
    }

    let report = effects::report(plan, &grounds.hash, &arms, &done);
    report::write(&report, job.results)?;
    job.progress.end(&format!("{} of {} arms", done.len(), arms.len() * plan.seeds.len()));
    Ok(report)
}

/// How the text is read, with the names of the world in the lexicon where the plan wants them.
fn with_names(plan: &Plan, job: &Job) -> Result<Pipeline> {
    let mut reading = job.reading.clone();
    if plan.world.lexicon {
        let world = World::draw(&plan.world)?;
        let names: Vec<String> = world.names().into_iter().collect();
        // Without other names as it was before there were any: outcomes keep their hashes.
        let (name, text, format) = match plan.world.aliases {
            0 => ("names.txt", names.join("\n") + "\n", "words"),
            _ => ("names.tsv", world.table(), "tsv"),
        };
        let file = job.out.join(name);
        write_atomically(&file, text.as_bytes())?;
        reading.density.lexicon.push(LexiconSpec {
            format: Some(format.to_string()),
            ..LexiconSpec::of_path(file.display().to_string())
        });
    }
    Ok(reading)
}

fn place(results: &Path, arm: &Arm, seed: u64) -> PathBuf {
    results.join(format!("{}-{seed}.json", arm.name))
}

/// The outcomes of a plan that stand in the folder of results, by arm and seed; those of other
/// plans are left out, and told.
fn outcomes(job: &Job, plan: &str) -> Result<BTreeMap<(String, u64), Outcome>> {
    let (mut found, mut others) = (BTreeMap::new(), 0);
    for path in crate::flow::disk::files_named(job.results, "", ".json")? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || name == report::REPORT_JSON {
            continue;
        }
        let outcome: Outcome = match read_json(&path) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => continue,
            Err(error) => {
                return Err(error.at(path.display()).hint("delete the file: its arm is run again"));
            }
        };
        if outcome.plan == plan {
            found.insert((outcome.arm.clone(), outcome.seed), outcome);
        } else {
            others += 1;
        }
    }
    if others > 0 {
        job.progress.note(&format!(
            "{others} outcomes in `{}` are of another plan, text or facts, and left out",
            job.results.display()
        ));
    }
    Ok(found)
}
