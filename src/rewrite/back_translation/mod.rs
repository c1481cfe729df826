//! Back-translation: a sentence translated into another language and back says nearly the same in
//! other words.
//!
//! A round trip is slow, so a budget of sentences is chosen *before* anything is translated: the
//! hardest bucket first, in it the documents with the most concepts, and a keyed draw among equals.
//! The budget is a number of sentences, never a clock, so the same input gives the same sentences
//! on any machine; [`cost`] states the time from a measured rate. Sentences are translated in
//! groups of [`GROUP`]; the results of a group are one file, written beside and renamed, so a
//! killed run goes on with the first group that is missing.
//!
//! To add an engine, such as a neural one: one file with an [`Engine`], one `mod` line, one line in
//! [`ENGINES`].

pub mod apertium;
mod process;
pub mod table;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_json};
use crate::flow::registry;
use crate::flow::room::Context;
use table::Table;

/// Sentences that one engine instance translates in order; one side file each.
pub const GROUP: usize = 256;

/// Round trips by Apertium, in characters a second and core: 2,610 sentences of PubMed abstracts on
/// two busy cores.
pub const APERTIUM_CHARS_PER_SECOND: f64 = 13_000.0;

/// A way to translate sentences to another language and back.
pub trait Engine {
    /// Name, as it stands in the column `engine`.
    fn name(&self) -> &'static str;
    /// Version of program and data; part of what a cached result is good for.
    fn version(&self) -> &str;
    /// The round trip of each sentence, in order; `None` where the engine failed on it.
    ///
    /// # Errors
    /// If the engine as a whole cannot go on.
    fn translate(&mut self, batch: &[String]) -> Result<Vec<Option<String>>>;
    /// How often a child had to be started again.
    fn restarts(&self) -> u64 {
        0
    }
}

/// What was found out about an engine on this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Its name.
    pub engine: &'static str,
    /// Whether it can be used.
    pub available: bool,
    /// Whether it is installed and does not work.
    pub is_broken: bool,
    /// Version of program and data.
    pub version: Option<String>,
    /// Why it cannot be used.
    pub detail: Option<String>,
    /// The command that installs it.
    pub how_to_install: &'static str,
}

/// An engine that can be named in the pipeline file.
pub struct Registered {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Looks whether it can be used.
    pub probe: fn() -> Probe,
    /// Opens it.
    pub open: fn(&Params) -> Result<Box<dyn Engine>>,
}

/// Every engine that translates.
pub static ENGINES: &[Registered] = &[Registered {
    name: "apertium",
    about: "Apertium's rules, English to Spanish and back, in child processes",
    probe: apertium::probe,
    open: |params| {
        Ok(Box::new(apertium::Apertium::open(Duration::from_secs(params.timeout_seconds))?))
    },
}];

/// What [`ENGINES`] find on this machine, for `kpipe doctor` and the plan.
pub fn probes() -> Vec<Probe> {
    ENGINES.iter().map(|engine| (engine.probe)()).collect()
}

/// Parameters: section `[negatives.back_translation]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// `auto` (what is installed), `apertium`, `table` (only precomputed pairs) or `none`.
    pub engine: String,
    /// Files of precomputed pairs, looked up before any engine is asked.
    pub tables: Vec<String>,
    /// Most sentences translated by an engine.
    pub max_sentences: usize,
    /// How long to wait for the next answer before the child is restarted, in seconds.
    pub timeout_seconds: u64,
}

impl Params {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first key outside its range.
    pub fn check(&self) -> Result<()> {
        let names: Vec<&'static str> =
            ENGINES.iter().map(|engine| engine.name).chain(["auto", "table", "none"]).collect();
        registry::find("engine", &names, &self.engine, |name| name)
            .map_err(|error| error.at("`negatives.back_translation.engine`"))?;

        if self.engine == "table" && self.tables.is_empty() {
            return Err(Error::usage(
                "`negatives.back_translation.engine` is `table`, but `tables` is empty",
            )
            .hint(
                "name files of `source<TAB>roundtrip` lines in `negatives.back_translation.tables`",
            ));
        }

        Ok(())
    }

    /// The engine that would be used here; `None` where none is wanted or none is installed.
    ///
    /// # Errors
    /// If one was demanded by name and is not installed.
    fn chosen(&self) -> Result<Option<&'static Registered>> {
        if self.max_sentences == 0 {
            return Ok(None);
        }
        match self.engine.as_str() {
            "none" | "table" => Ok(None),
            "auto" => Ok(ENGINES.iter().find(|engine| (engine.probe)().available)),
            name => {
                let engine = ENGINES.iter().find(|engine| engine.name == name);
                let probe = engine.map(|engine| (engine.probe)());

                match probe {
                    Some(probe) if probe.is_broken => Err(Error::usage(format!(
                        "`negatives.back_translation.engine` is `{name}`, which cannot be used: {}",
                        probe.detail.unwrap_or_default()
                    ))
                    .hint("mend it, or set the engine to `none`")),
                    Some(probe) if !probe.available => Err(Error::usage(format!(
                        "`negatives.back_translation.engine` is `{name}`, but it is not installed: \
                         {}",
                        probe.detail.unwrap_or_default()
                    ))
                    .hint(format!(
                        "install it with `{}`, or set the engine to \
                                   `auto`",
                        probe.how_to_install
                    ))),
                    _ => Ok(engine),
                }
            }
        }
    }
}

/// What to tell before a build begins: an engine that is installed and would be used, and does not
/// work.
pub fn warning(params: &Params) -> Option<String> {
    if params.max_sentences == 0 || params.engine != "auto" {
        return None;
    }
    let probes = probes();
    let broken = probes.iter().find(|probe| probe.is_broken)?;
    Some(format!(
        "nothing is back-translated by {}: {}; `--set negatives.back_translation.engine=none` does \
         without it",
        broken.engine,
        broken.detail.as_deref().unwrap_or_default()
    ))
}

/// Reads the tables and forgets them.
///
/// # Errors
/// If one cannot be read, or an engine was demanded by name and is not installed.
pub fn check_files(params: &Params) -> Result<()> {
    params.chosen()?;
    let mut table = Table::default();
    params.tables.iter().try_for_each(|path| table.read(path.as_ref()))
}

/// What the results depend on beyond the parameters, for the room's fingerprint: engine and version
/// in use.
///
/// # Errors
/// If an engine was demanded by name and is not installed.
pub fn identity(params: &Params) -> Result<String> {
    Ok(match params.chosen()? {
        Some(engine) => format!("{} {}", engine.name, (engine.probe)().version.unwrap_or_default()),
        None => "none".to_string(),
    })
}

/// Seconds that translating `sentences` of `chars` characters on average takes on `cores` cores,
/// from the measured rate of Apertium.
pub fn cost(sentences: usize, chars: f64, cores: usize) -> f64 {
    sentences as f64 * chars / (APERTIUM_CHARS_PER_SECOND * cores.max(1) as f64)
}

/// Round trips by sentence.
#[derive(Default)]
pub struct Translations {
    table: Table,
    /// What translates the sentences of no table, where something does.
    engine: Option<&'static Registered>,
    translated: HashMap<String, String>,
    /// What to add to the room's books.
    pub notes: Vec<(&'static str, u64)>,
}

impl Translations {
    /// Engine and round trip of a sentence.
    pub fn get(&self, sentence: &str) -> Option<(&'static str, &str)> {
        let table = self.table.get(sentence).map(|text| ("table", text));
        let engine = self.engine.map_or("", |engine| engine.name);
        table.or_else(|| self.translated.get(sentence).map(|text| (engine, text.as_str())))
    }

    /// Whether sentences can be translated that stand in no table.
    pub fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Translates sentences, but for those of the tables; without an engine none.
    ///
    /// # Errors
    /// If the engine as a whole cannot go on, or a file cannot be read or written.
    pub fn add(
        &mut self,
        mut sentences: Vec<String>,
        params: &Params,
        cx: &Context<'_>,
    ) -> Result<()> {
        let Some(engine) = self.engine else { return Ok(()) };
        sentences.retain(|sentence| self.table.get(sentence).is_none());
        translate(&sentences, || (engine.open)(params), cx, self)
    }
}

/// One group's side file.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    engine: String,
    version: String,
    restarts: u64,
    pairs: Vec<(String, Option<String>)>,
}

/// A line of `engines.json`: what could have been used, and what was.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    probe: Probe,
    used: bool,
}

/// The round trip of each text, `None` of those that failed, by the tables and the engine that the
/// parameters name; `None` where there is neither.
///
/// # Errors
/// If a table cannot be read, or an engine that was demanded by name is not installed.
pub fn round_trips(texts: &[String], params: &Params) -> Result<Option<Vec<Option<String>>>> {
    let mut table = Table::default();
    if params.engine != "none" {
        params.tables.iter().try_for_each(|path| table.read(path.as_ref()))?;
    }
    let engine = params.chosen()?;
    if engine.is_none() && table.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<Option<String>> =
        texts.iter().map(|text| table.get(text).map(str::to_string)).collect();
    if let Some(engine) = engine {
        let missing: Vec<usize> = (0..texts.len()).filter(|at| found[*at].is_none()).collect();
        let asked: Vec<String> = missing.iter().map(|at| texts[*at].clone()).collect();
        for (at, text) in missing.into_iter().zip((engine.open)(params)?.translate(&asked)?) {
            found[at] = text;
        }
    }
    Ok(Some(found))
}

/// Reads the tables, looks for the engine, and says in `engines.json`, the notes and the progress
/// what is used.
///
/// # Errors
/// If an engine that was demanded by name is not installed, a table cannot be read, or a file
/// cannot be written.
pub fn open(own: &Params, cx: &Context<'_>) -> Result<Translations> {
    let mut translations = Translations::default();
    if own.engine != "none" {
        own.tables.iter().try_for_each(|path| translations.table.read(path.as_ref()))?;
    }
    let chosen = own.chosen()?;
    let told: Vec<Told> = probes()
        .into_iter()
        .map(|probe| Told { used: chosen.is_some_and(|engine| engine.name == probe.engine), probe })
        .collect();
    write_json(&cx.folder.join("engines.json"), &told)?;
    let Some(engine) = chosen else {
        if own.engine == "auto" && own.max_sentences > 0 {
            let how: Vec<&str> = told.iter().map(|told| told.probe.how_to_install).collect();
            let instead = if translations.table.is_empty() {
                "nothing is"
            } else {
                "only the tables' sentences are"
            };

            match warning(own) {
                Some(warning) => cx.progress.note(&warning),
                None => cx.progress.note(&format!(
                    "no translation engine is installed, so {instead} back-translated; install one \
                     with `{}`",
                    how.join("` or `")
                )),
            }

            translations.notes.push(("no translation engine installed", 1));
        }
        return Ok(translations);
    };

    translations.engine = Some(engine);
    Ok(translations)
}

/// Translates the jobs group by group, in parallel, keeping each finished group on disk.
fn translate(
    jobs: &[String],
    open: impl Fn() -> Result<Box<dyn Engine>> + Sync,
    cx: &Context<'_>,
    translations: &mut Translations,
) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let version = open()?.version().to_string();
    let n_groups = jobs.len().div_ceil(GROUP);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let groups: Vec<Result<Group>> = jobs
        .par_chunks(GROUP)
        .enumerate()
        .with_max_len(1)
        .map(|(nth, chunk)| {
            let group =
                translate_group(chunk, &version, &open, &cx.numbered("translated", nth, "json"))?;
            let n = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            cx.progress.message(&format!("back-translated {n} of {n_groups} groups of sentences"));
            Ok(group)
        })
        .collect();

    let (mut restarts, mut failed) = (0, 0);
    for group in groups {
        let group = group?;
        restarts += group.restarts;
        for (source, target) in group.pairs {
            match target {
                Some(target) => drop(translations.translated.insert(source, target)),
                None => failed += 1,
            }
        }
    }

    if failed > 0 {
        cx.progress.note(&format!(
            "{failed} of {} sentences got no back-translation: the engine died or took longer than \
             `timeout_seconds` on \
             them twice; a faster machine may do them and write other examples",
            jobs.len()
        ));
    }

    let counts = [
        ("sentences back-translated", jobs.len() as u64 - failed),
        ("sentences the engine failed on", failed),
    ];
    translations.notes.extend(
        counts.into_iter().chain([("restarts of the engine", restarts)]).filter(|(_, n)| *n > 0),
    );
    Ok(())
}

/// A group from its file, if that was made by the same engine from the same sentences; else
/// translated now.
fn translate_group(
    sentences: &[String],
    version: &str,
    open: &impl Fn() -> Result<Box<dyn Engine>>,
    place: &Path,
) -> Result<Group> {
    if let Some(group) = read_json::<Group>(place)? {
        let same = group.pairs.iter().map(|(source, _)| source).eq(sentences);
        if same && group.version == version {
            return Ok(group);
        }
    }

    let mut engine = open()?;
    let targets = engine.translate(sentences)?;
    let pairs = sentences.iter().cloned().zip(targets).collect();
    let (engine, restarts) = (engine.name().to_string(), engine.restarts());
    let group = Group { engine, version: version.to_string(), restarts, pairs };
    write_json(place, &group)?;

    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Shout(Arc<AtomicUsize>);

    impl Engine for Shout {
        fn name(&self) -> &'static str {
            "shout"
        }

        fn version(&self) -> &str {
            "1"
        }

        fn translate(&mut self, batch: &[String]) -> Result<Vec<Option<String>>> {
            self.0.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(batch
                .iter()
                .map(|text| (!text.ends_with('7')).then(|| text.to_uppercase()))
                .collect())
        }
    }

    /// Shouts through the real code, with an engine that counts the sentences it was asked for.
    fn shout(folder: &Path, jobs: &[String]) -> (Translations, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let cx = Context {
            room: "negatives",
            folder,
            seed: 1,
            memory_bytes: 1 << 30,
            progress: &Silent,
        };

        let mut translations = Translations::default();
        translate(jobs, || Ok(Box::new(Shout(asked.clone()))), &cx, &mut translations).unwrap();
        (translations, asked.load(Ordering::Relaxed))
    }

    #[test]
    fn a_killed_run_translates_only_the_groups_that_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let jobs: Vec<String> = (0..GROUP * 2 + 10).map(|n| format!("sentence {n}")).collect();
        let (whole, asked) = shout(folder.path(), &jobs);
        assert_eq!(asked, jobs.len());
        assert_eq!(whole.get("sentence 12").map(|(_, text)| text), Some("SENTENCE 12"));
        assert!(
            whole.get("sentence 17").is_none()
                && whole.notes.contains(&("sentences the engine failed on", 52))
        );
        // Killed while the second group was written: its file does not stand in its place yet.
        let second = folder.path().join("translated-00001.json");
        let bytes = std::fs::read(&second).unwrap();
        std::fs::remove_file(&second).unwrap();
        std::fs::write(folder.path().join("translated-00001.json.kpipe-tmp"), &bytes[..100])
            .unwrap();
        let (again, asked) = shout(folder.path(), &jobs);
        assert_eq!(asked, GROUP);
        assert_eq!(again.translated, whole.translated);
        assert_eq!(std::fs::read(&second).unwrap(), bytes);
    }

    #[test]
    fn another_selection_is_not_taken_from_old_files() {
        let folder = tempfile::tempdir().unwrap();
        shout(folder.path(), &["one".to_string()]);
        let (translations, asked) = shout(folder.path(), &["two".to_string()]);
        assert_eq!(asked, 1);
        assert!(translations.get("one").is_none() && translations.get("two").is_some());
    }

    #[test]
    fn a_wrong_engine_is_named() {
        let params = Params {
            engine: "moses".into(),
            tables: vec![],
            max_sentences: 1,
            timeout_seconds: 60,
        };
        assert!(params.check().unwrap_err().to_string().contains("known here: apertium"));
    }
}
