//! The checked plan: pipeline file and command line in, rooms in order out.
//!
//! Everything that can be known before a byte of data moves is checked here: keys and ranges, that
//! every source and every file it names exists, that each room reads what the one before it writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::curriculum::split::HeldOut;
use crate::error::{At, Error, Result};
use crate::flow::dataset::Dataset;
use crate::flow::owned::check_apart;
use crate::flow::registry;
use crate::flow::room::Context;
use crate::flow::settings::Settings;
use crate::ingest::{SourceSpec, guess_format};
use crate::knowledge::lexicon::Lexicon;
use crate::rewrite::back_translation;
use crate::rewrite::lexicon::LexiconNames;
use crate::{
    curriculum, dedup, density, difficulty, facts, ingest, negatives, tasks, train, variants,
};

/// A pipeline file, all layers merged, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Seed of every draw.
    pub seed: u64,
    /// Share of damaged records of a source above which a build fails, in `[0, 1]`.
    pub max_refused: f64,
    /// Share of a source that `dedup` may remove, in `[0, 1]`.
    pub max_removed: f64,
    /// Known sources by name.
    pub source: BTreeMap<String, SourceSpec>,
    /// Keys of `[ingest]`.
    pub ingest: ingest::Params,
    /// Keys of `[dedup]`.
    pub dedup: dedup::Params,
    /// Keys of `[density]`.
    pub density: density::Params,
    /// Keys of `[difficulty]`.
    pub difficulty: difficulty::Params,
    /// Keys of `[variants]`.
    pub variants: variants::Params,
    /// Keys of `[facts]`.
    pub facts: facts::Params,
    /// Keys of `[negatives]`.
    pub negatives: negatives::Params,
    /// Keys of `[tasks]`.
    pub tasks: tasks::Params,
    /// Keys of `[curriculum]`.
    pub curriculum: curriculum::Params,
    /// Keys of `[train]`.
    pub train: train::Params,
}

impl Pipeline {
    /// Parses and checks settings.
    ///
    /// # Errors
    /// Names the first key that is outside its range, and where it was given.
    pub fn new(settings: &Settings) -> Result<Self> {
        Self::checked(settings).map_err(|error| settings.placed(error))
    }

    fn checked(settings: &Settings) -> Result<Self> {
        let mut pipeline: Pipeline = settings.parse()?;
        for (name, source) in &mut pipeline.source {
            source.name.clone_from(name);
            source.check_role()?;
        }

        pipeline.train.given = settings.given();
        pipeline.train.names = train::params::Names {
            lexicon: pipeline.density.lexicon.clone(),
            rules: pipeline.density.names(),
        };
        // Ranges were checked where each key was read; here, what depends on more than one.
        pipeline.dedup.check()?;
        pipeline.density.check()?;
        pipeline.difficulty.check()?;
        pipeline.variants.check(!pipeline.density.lexicon.is_empty())?;
        pipeline.facts.check(!pipeline.density.lexicon.is_empty())?;
        pipeline.negatives.check()?;
        pipeline.tasks.check(!pipeline.density.lexicon.is_empty())?;
        pipeline.curriculum.check()?;
        pipeline.train.check()?;
        let (buckets, hard) =
            (pipeline.difficulty.buckets, usize::from(pipeline.curriculum.hard_from_bucket));

        if hard == 0 || hard >= buckets {
            return Err(Error::usage(format!(
                "`curriculum.hard_from_bucket` is {hard}, but `difficulty.buckets` makes 0..={}",
                buckets - 1
            ))
            .hint(format!("give a bucket in 1..={}", buckets - 1)));
        }

        Ok(pipeline)
    }

    /// The sources that `--source` names: `wiki,pubmed`, or `wiki=/data/x.xml.bz2,pubmed`.
    ///
    /// # Errors
    /// If a name is unknown, given twice, or empty.
    pub fn sources(&self, list: &str) -> Result<Vec<SourceSpec>> {
        let mut sources: Vec<SourceSpec> = Vec::new();
        for entry in self.entries(list) {
            let entry = entry.as_str();
            let (name, path) = match entry.split_once('=') {
                Some((name, path)) => (name.trim(), Some(path.trim())),
                None => (entry, None),
            };
            let mut source = match (self.source.get(name), path) {
                (Some(known), _) => known.clone(),
                (None, Some(path)) if is_plain_name(name) && !path.is_empty() => SourceSpec {
                    name: name.to_string(),
                    role: ingest::domain(),
                    ..SourceSpec::default()
                },
                (None, _) => return Err(self.unknown_source(name)),
            };

            if sources.iter().any(|other| other.name == name) {
                return Err(Error::usage(format!("source `{name}` is given twice")).hint(
                    "one path may be a folder or a glob pattern; or add a `[source.<name>]` to a \
                     pipeline file",
                ));
            }

            if path == Some("") {
                return Err(Error::usage(format!("`--source {entry}` names no path")).hint(
                    format!(
                        "write `{name}=<file, folder or pattern>`, or `{name}` alone for \
                                   the path it has"
                    ),
                ));
            }

            if let Some(path) = path {
                source.path = path.to_string();
            }
            if source.path.is_empty() {
                return Err(Error::usage(format!("source `{name}` has no path"))
                    .hint(format!("write `--source {name}=<file, folder or pattern>`")));
            }

            if source.format.is_empty() {
                let place = || format!("[source.{name}]");
                source.format = guess_format(source.path.as_ref()).at_place(place)?.to_string();
                source.is_guessed = true;
            }

            sources.push(source);
        }

        if sources.is_empty() {
            return Err(Error::usage("no source is given").hint(format!(
                "give `--source` one or more of: {}",
                self.source.keys().cloned().collect::<Vec<_>>().join(", ")
            )));
        }

        Ok(sources)
    }

    /// Cuts a list at its commas, but for those inside a path that leads to files.
    fn entries(&self, list: &str) -> Vec<String> {
        let pieces: Vec<&str> = list.split(',').collect();
        let (mut entries, mut at) = (Vec::new(), 0);

        while at < pieces.len() {
            let is_next =
                |piece: &&str| piece.contains('=') || self.source.contains_key(piece.trim());
            let most = pieces[at + 1..].iter().take_while(|piece| !is_next(piece)).count();
            let joined = |n: &usize| pieces[at..=at + n].join(",").trim().to_string();
            let leads_to_files = |entry: &String| {
                entry
                    .split_once('=')
                    .is_some_and(|(_, path)| crate::files::expand::expand(path.trim()).is_ok())
            };
            let n = (1..=most).rev().find(|n| leads_to_files(&joined(n))).unwrap_or(0);
            entries.push(joined(&n));

            at += 1 + n;
        }

        entries.retain(|entry| !entry.is_empty());
        entries
    }

    fn unknown_source(&self, name: &str) -> Error {
        let known: Vec<&str> = self.source.keys().map(String::as_str).collect();
        registry::unknown("source", name, &known)
            .hint(format!(
                "`--source {name}=<file, folder or pattern>` adds one whose format its files tell"
            ))
            .hint(format!("a pipeline file adds one: `[source.{name}]` with path, format and role"))
    }
}

/// Whether a name can stand before the `:` of an id and in the name of a folder.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

/// What a build takes whatever the size of its input: program, lexicon, batches in work, one part.
const FIXED_BYTES: u64 = 280_000_000;
/// What it takes for each document, in the room that takes most.
const DOCUMENT_BYTES: u64 = 160;

/// Memory that a build of so many documents needs beside what it sorts and indexes with, in bytes:
/// measured on 0.1 and 0.4 million documents of Wikipedia (`cargo bench --bench rooms -- memory`).
pub fn memory_needed(documents: u64) -> u64 {
    FIXED_BYTES + DOCUMENT_BYTES * documents
}

/// What to tell where `memory_bytes` is too little for `documents`: a quarter of it is for sorting
/// and indexing.
pub fn too_little_memory(documents: u64, memory_bytes: u64) -> Option<String> {
    let needed = memory_needed(documents);
    let too_little = needed > memory_bytes / 4 * 3;
    too_little.then(|| {
        let asked = needed.div_ceil(3 << 18);
        format!(
            "{documents} documents need about `--memory {asked}M`, more than the {}M given",
            memory_bytes >> 20
        )
    })
}

/// What a build is to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The checked pipeline.
    pub pipeline: Pipeline,
    /// The sources to read, in order.
    pub sources: Vec<SourceSpec>,
    /// Where the output goes.
    pub out: PathBuf,
    /// Most documents of each source.
    pub limit: Option<u64>,
    /// Memory the run may use, in bytes.
    pub memory_bytes: u64,
}

/// Files of a room that a finished build publishes.
pub struct Published {
    /// The folder below the room's own that they stand in; empty for that itself.
    pub below: &'static str,
    /// What their names begin with.
    pub begins: &'static str,
    /// The folder of the output.
    pub into: &'static str,
}

/// One room: what it reads and writes, and how to run it.
pub struct Room {
    /// Its name, which is its folder's.
    pub name: &'static str,
    /// Contract of its input; `None` for the first.
    pub reads: Option<&'static str>,
    /// Contract of its output.
    pub writes: &'static str,
    /// Version of what it computes.
    pub version: u32,
    /// Its parameters, for the fingerprint and the manifest.
    pub params: fn(&Pipeline) -> Result<Value>,
    /// Files beside its input that it reads.
    pub files: fn(&Pipeline) -> Result<Vec<PathBuf>>,
    /// Reads what its parameters name, so that a file nobody can use stops a build before any data
    /// moves.
    pub check: fn(&Job) -> Result<()>,
    /// What of its folder is published, beside what was refused and removed: the beginning of
    /// names, and the folder of the output that they go into.
    pub publishes: &'static [Published],
    /// Runs it. The input of the first room is empty.
    pub run: fn(&Job, &Dataset, &Context) -> Result<()>,
}

fn as_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|cause| Error::usage(format!("the parameters cannot be written: {cause}")))
}

fn no_check(_: &Job) -> Result<()> {
    Ok(())
}

fn no_files(_: &Pipeline) -> Result<Vec<PathBuf>> {
    Ok(Vec::new())
}

/// Parameters of a room that looks at concepts, and at no document that is held out.
fn with_held_out(pipeline: &Pipeline, name: &str, own: &impl Serialize) -> Result<Value> {
    Ok(json!({
        name: as_json(own)?,
        "lexicon": as_json(&pipeline.density)?,
        "validation_share": pipeline.curriculum.validation_share,
        "validation_group_max": pipeline.curriculum.validation_group_max,
    }))
}

/// The concepts of the lexicon, for the rooms that say texts in other words or ask about them.
fn concept_names(job: &Job, cx: &Context) -> Result<LexiconNames> {
    let density = &job.pipeline.density;
    LexiconNames::read(&density.lexicon, &density.names(), cx.memory_bytes)
}

/// The rooms of a build, in order.
pub static ROOMS: &[Room] = &[
    Room {
        name: "ingest",
        reads: None,
        writes: "document",
        version: ingest::VERSION,
        params: |pipeline| as_json(&pipeline.ingest),
        files: no_files,
        check: no_check,
        publishes: &[],
        run: |job, _, cx| ingest::run(&job.sources, &job.pipeline.ingest, cx, job.limit),
    },
    Room {
        name: "dedup",
        reads: Some("document"),
        writes: "unique",
        version: dedup::VERSION,
        params: |pipeline| {
            Ok(json!({"dedup": as_json(&pipeline.dedup)?, "max_removed": pipeline.max_removed}))
        },
        files: no_files,
        check: no_check,
        publishes: &[],
        run: |job, input, cx| dedup::run(input, &job.pipeline.dedup, job.pipeline.max_removed, cx),
    },
    Room {
        name: "density",
        reads: Some("unique"),
        writes: "scored",
        version: density::VERSION,
        params: |pipeline| as_json(&pipeline.density),
        files: |pipeline| pipeline.density.files(),
        check: |job| Lexicon::read(&job.pipeline.density.lexicon, job.memory_bytes).map(|_| ()),
        publishes: &[
            Published { below: "", begins: "scores-", into: "scores" },
            Published { below: "", begins: "map", into: "knowledge" },
        ],
        run: |job, input, cx| density::run(input, &job.pipeline.density, cx),
    },
    Room {
        name: "difficulty",
        reads: Some("scored"),
        writes: "bucketed",
        version: difficulty::VERSION,
        params: |pipeline| as_json(&pipeline.difficulty),
        files: |pipeline| Ok(pipeline.difficulty.files()),
        check: |job| job.pipeline.difficulty.check_files(),
        publishes: &[
            Published { below: "", begins: "edges", into: "difficulty" },
            Published { below: "", begins: "words", into: "difficulty" },
        ],
        run: |job, input, cx| difficulty::run(input, &job.pipeline.difficulty, cx),
    },
    Room {
        name: "variants",
        reads: Some("bucketed"),
        writes: "varied",
        version: variants::VERSION,
        params: |pipeline| {
            if !pipeline.variants.is_on() {
                return Ok(json!({"exposures": 1}));
            }
            let engine = pipeline.variants.identity(&pipeline.negatives.rewriting())?;
            Ok(json!({
                "variants": as_json(&pipeline.variants)?, "lexicon": as_json(&pipeline.density)?,
                "rewriting": as_json(&pipeline.negatives)?, "engine": engine,
            }))
        },
        files: |pipeline| match pipeline.variants.is_on() {
            true => Ok([
                pipeline.density.files()?,
                pipeline.variants.files(&pipeline.negatives.rewriting()),
            ]
            .concat()),
            false => Ok(Vec::new()),
        },
        check: |job| job.pipeline.variants.check_files(),
        publishes: &[Published { below: "", begins: "exposures", into: "variants" }],
        run: |job, input, cx| {
            let params = &job.pipeline.variants;
            let rewriting = job.pipeline.negatives.rewriting();
            if !params.is_on() {
                return variants::run(input, params, &rewriting, None, cx);
            }
            let names = concept_names(job, cx)?;
            variants::run(input, params, &rewriting, Some(&names), cx)
        },
    },
    Room {
        name: "facts",
        reads: Some("varied"),
        writes: "linked",
        version: facts::VERSION,
        params: |pipeline| match pipeline.facts.is_on() {
            true => with_held_out(pipeline, "facts", &pipeline.facts),
            false => Ok(json!({"share": 0.0})),
        },
        files: |pipeline| match pipeline.facts.is_on() {
            true => Ok([pipeline.density.files()?, pipeline.facts.files()].concat()),
            false => Ok(Vec::new()),
        },
        check: |job| job.pipeline.facts.check_files(),
        publishes: &[
            Published { below: "", begins: "facts", into: "facts" },
            Published { below: "", begins: "held-out", into: "facts" },
        ],
        run: |job, input, cx| {
            let params = &job.pipeline.facts;
            if !params.is_on() {
                return facts::run(input, params, None, &|_| false, cx);
            }
            let held_out = HeldOut::read(input, &job.pipeline.curriculum, cx)?;
            let names = concept_names(job, cx)?;
            facts::run(input, params, Some(&names), &|group| held_out.is_held_out(group), cx)
        },
    },
    Room {
        name: "negatives",
        reads: Some("linked"),
        writes: "example",
        version: negatives::VERSION,
        params: |pipeline| {
            if pipeline.negatives.per_document == 0 {
                return Ok(json!({"per_document": 0}));
            }
            let engine = back_translation::identity(&pipeline.negatives.back_translation)?;
            Ok(json!({
                "negatives": as_json(&pipeline.negatives)?, "lexicon": as_json(&pipeline.density)?,
                "engine": engine,
            }))
        },
        files: |pipeline| match pipeline.negatives.per_document {
            0 => Ok(Vec::new()),
            _ => Ok([pipeline.density.files()?, pipeline.negatives.files()].concat()),
        },
        check: |job| job.pipeline.negatives.check_files(),
        publishes: &[],
        run: |job, input, cx| {
            if job.pipeline.negatives.per_document == 0 {
                return negatives::run(input, &job.pipeline.negatives, None, cx);
            }
            let names = concept_names(job, cx)?;
            negatives::run(input, &job.pipeline.negatives, Some(&names), cx)
        },
    },
    Room {
        name: "tasks",
        reads: Some("example"),
        writes: "tasked",
        version: tasks::VERSION,
        params: |pipeline| match pipeline.tasks.is_on() {
            true => with_held_out(pipeline, "tasks", &pipeline.tasks),
            false => Ok(json!({"share": 0.0})),
        },
        files: |pipeline| match pipeline.tasks.is_on() {
            true => Ok([pipeline.density.files()?, pipeline.tasks.files()].concat()),
            false => Ok(Vec::new()),
        },
        check: |job| tasks::check_files(&job.pipeline.tasks),
        publishes: &[],
        run: |job, input, cx| {
            let params = &job.pipeline.tasks;
            if !params.is_on() {
                return tasks::run(input, params, None, &|_| false, cx);
            }
            let held_out = HeldOut::read(input, &job.pipeline.curriculum, cx)?;
            let names = concept_names(job, cx)?;
            tasks::run(input, params, Some(&names), &|group| held_out.is_held_out(group), cx)
        },
    },
    Room {
        name: "curriculum",
        reads: Some("tasked"),
        writes: "shard",
        version: curriculum::VERSION,
        params: |pipeline| as_json(&pipeline.curriculum),
        files: no_files,
        check: no_check,
        publishes: &[Published { below: "data", begins: "", into: "data" }],
        run: |job, input, cx| curriculum::run(input, &job.pipeline.curriculum, cx),
    },
];

/// The room that writes a contract.
///
/// # Errors
/// If none does.
pub fn room_that_writes(contract: &str) -> Result<&'static Room> {
    ROOMS
        .iter()
        .find(|room| room.writes == contract)
        .ok_or_else(|| Error::data(format!("no room writes the contract `{contract}`")))
}

impl Room {
    /// The name of its folder below the working folder of a build: its number and its name.
    pub fn folder(&self) -> String {
        let number = 1 + ROOMS.iter().take_while(|room| room.name != self.name).count();
        format!("{number}-{}", self.name)
    }
}

/// Checks that each room reads what the one before it writes, and that the files the rooms name
/// exist and can be used.
///
/// # Errors
/// Names the room and the contract or file.
pub fn check(job: &Job) -> Result<()> {
    let mut flowing = None;
    for spec in &job.pipeline.density.lexicon {
        check_apart(&job.out, "the lexicon", &spec.path)?;
    }
    check_apart(&job.out, "the ledger", &job.pipeline.density.ledger)?;

    for room in ROOMS {
        if room.reads != flowing {
            return Err(Error::data(format!(
                "room `{}` reads {:?}, but gets {flowing:?}",
                room.name, room.reads
            )));
        }

        crate::flow::contract::contract(room.writes)?;
        flowing = Some(room.writes);

        for path in (room.files)(&job.pipeline).map_err(|error| {
            error.at(format!("room `{}`", room.name)).hint(
                "the paths of the default pipeline are the samples in kpipe's source tree: run it \
                 there, or set your own",
            )
        })? {
            std::fs::metadata(&path).map_err(|cause| {
                Error::file("read", &path, cause)
                    .at(format!("a file that room `{}` needs", room.name))
                    .hint("check the key that names it; `kpipe defaults` explains each")
            })?;
        }

        (room.check)(job).at_place(|| format!("a file that room `{}` needs", room.name))?;
    }

    for name in job.pipeline.curriculum.weights.keys() {
        let known: Vec<&str> = job.sources.iter().map(|source| source.name.as_str()).collect();
        if !known.contains(&name.as_str()) {
            return Err(registry::unknown("source", name, &known).at("`curriculum.weights`"));
        }
    }

    for source in &job.sources {
        check_apart(&job.out, &format!("the files of source `{}`", source.name), &source.path)?;
        source.check()?;
        crate::files::expand::expand(&source.path)
            .at_place(|| format!("[source.{}]", source.name))?;
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(list: &str) -> String {
        let pipeline = Pipeline::new(&Settings::new().unwrap()).unwrap();
        match pipeline.sources(list) {
            Ok(sources) => {
                sources.iter().map(|source| format!("{}={};", source.name, source.path)).collect()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_comma_in_a_path_is_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a,b.xml");
        std::fs::write(&file, "").unwrap();
        let file = file.display();
        assert_eq!(sources(&format!("wiki={file},pubmed=/x")), format!("wiki={file};pubmed=/x;"));
        assert!(sources(&format!("wiki={file},pubmd")).contains("did you mean `pubmed`?"));
        let pattern = folder.path().join("*.xml").display().to_string();
        assert_eq!(sources(&format!("wiki={pattern},")), format!("wiki={pattern};"));
        assert!(sources(&format!("wiki={pattern},pubmd")).contains("did you mean `pubmed`?"));
        assert!(sources("wiki=,pubmed").contains("names no path"));
        assert!(sources("wiki,wiki").contains("given twice"));
        assert!(sources("mine").contains("there is no source `mine`"));
        let mine = folder.path().join("mine.jsonl");
        std::fs::write(&mine, "{\"text\": \"a\"}\n").unwrap();
        assert_eq!(
            sources(&format!("mine={}", mine.display())),
            format!("mine={};", mine.display())
        );
        assert!(sources(&format!("m:e={}", mine.display())).contains("there is no source"));
    }

    #[test]
    fn a_range_error_names_its_line() {
        let refused = |text: &str| {
            Settings::new().unwrap().add_text(text, "my.toml").unwrap_err().to_string()
        };
        assert!(refused("[dedup]\nbands = 14\njaccard = 1.5\n").contains("at: my.toml:3"));
        let error =
            Settings::new().unwrap().add_assignment("max_refused=2").unwrap_err().to_string();
        assert!(error.contains("at: --set max_refused=2"), "{error}");
        assert_eq!(refused("\n[dedup]\nbands = -1\n").matches("at: my.toml:3").count(), 1);
        // What depends on two keys is known once both are.
        let mut settings = Settings::new().unwrap();
        settings.add_text("[dedup]\nbands = 512\nrows = 64\n", "my.toml").unwrap();

        assert!(Pipeline::new(&settings).unwrap_err().to_string().contains("at: my.toml:2"));
    }

    /// Whatever number is out of range, the error names where it was given.
    #[test]
    fn every_range_error_names_its_place() {
        fn numbers(table: &toml::Table, path: &str, found: &mut Vec<String>) {
            for (key, value) in table.iter().filter(|(key, _)| *key != "source") {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match value {
                    toml::Value::Table(inner) => numbers(inner, &path, found),
                    toml::Value::Integer(_) | toml::Value::Float(_) => found.push(path),
                    _ => {}
                }
            }
        }

        let mut keys = Vec::new();
        numbers(&toml::from_str(crate::flow::settings::DEFAULT).unwrap(), "", &mut keys);
        let mut n_errors = 0;

        for key in &keys {
            for value in ["-1", "-0.5", "1000000000000"] {
                let mut settings = Settings::new().unwrap();
                let added = settings.add_assignment(&format!("{key}={value}"));
                // A wrong type is another error.
                let is_other = added.as_ref().is_err_and(|error| error.what().contains("must be"));

                if let Err(error) = added.and_then(|()| Pipeline::new(&settings))
                    && !is_other
                {
                    n_errors += 1;
                    assert!(
                        error.to_string().contains(&format!("at: --set {key}={value}")),
                        "{key}={value}: {error}"
                    );
                }
            }
        }

        assert!(keys.len() > 40 && n_errors > keys.len(), "{} {n_errors}", keys.len());
    }

    #[test]
    fn the_memory_that_is_asked_for_is_enough() {
        assert_eq!(too_little_memory(1_000_000, 4 << 30), None);
        let told = too_little_memory(100_000_000, 4 << 30).unwrap();
        assert_eq!(
            told,
            "100000000 documents need about `--memory 20702M`, more than the 4096M given"
        );
        assert_eq!(too_little_memory(100_000_000, 20_702 << 20), None);
    }
}
