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
//! What comes back counts only where people would write it, which a small model of the corpus says
//! ([`acceptability`](super::acceptability)).
//!
//! To add an engine: one file with an [`Engine`], one `mod` line, one line in [`ENGINES`].

pub mod apertium;
pub mod marian;
mod process;
pub mod table;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use arrow::array::Array;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::acceptability::{Acceptability, Corpus, tokens};
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::contract::strings;
use crate::flow::dataset::{Dataset, read_json, write_json};
use crate::flow::registry;
use crate::flow::room::Context;
use crate::text::languages::code;
use crate::text::sentences::sentences;
use table::Table;

/// Sentences that one engine instance translates in order; one side file each.
pub const GROUP: usize = 256;

/// Documents, at most, whose words tell what people write.
const DOCUMENTS: u64 = 10_000;
/// Words of each of them.
const WORDS: usize = 500;

/// A way to translate sentences to another language and back.
pub trait Engine: Send + Sync {
    /// Name, as it stands in the column `engine`.
    fn name(&self) -> &'static str;
    /// Version of program and data; part of what a cached result is good for.
    fn version(&self) -> &str;
    /// Whether it translates sentences of a language, by its [`code`].
    fn takes(&self, language: &str) -> bool;
    /// Whether one group of sentences keeps all cores busy.
    fn uses_all_cores(&self) -> bool {
        false
    }
    /// The round trip of each sentence of a language, in order.
    ///
    /// # Errors
    /// If the engine as a whole cannot go on.
    fn translate(&self, language: &str, batch: &[String]) -> Result<RoundTrips>;
}

/// What an engine made of some sentences.
#[derive(Debug)]
pub struct RoundTrips {
    /// One for each; `None` where the engine failed on it.
    pub texts: Vec<Option<String>>,
    /// How often a child had to be started again.
    pub restarts: u64,
}

/// A sentence that is to be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// [`code`] of its language.
    pub language: String,
    /// What it says.
    pub text: String,
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
    /// Round trips in characters a second and core.
    pub chars_per_second: fn(&Params) -> f64,
    /// Looks whether it can be used.
    pub probe: fn(&Params) -> Probe,
    /// Finds out whether what it reads can be used, where [`Registered::probe`] does not.
    pub check: fn(&Params) -> Result<()>,
    /// Version of program and data, without opening it.
    pub version: fn(&Params) -> Result<String>,
    /// Opens it.
    pub open: fn(&Params) -> Result<Box<dyn Engine>>,
}

/// Every engine that translates.
pub static ENGINES: &[Registered] = &[
    Registered {
        name: "marian",
        about: "two neural MarianMT models, there and back, in this process",
        // Of OPUS-MT's size (77 million numbers), 32 sentences at once on two cores of an AMD EPYC,
        // four characters a token.
        chars_per_second: |params| 250.0 / params.beams as f64,
        probe: marian::probe,
        check: |params| marian::Marian::open(params).map(|_| ()),
        version: marian::version,
        open: |params| Ok(Box::new(marian::Marian::open(params)?)),
    },
    Registered {
        name: "apertium",
        about: "Apertium's rules, English to Spanish and back, in child processes",
        // 2,610 sentences of PubMed abstracts on two busy cores.
        chars_per_second: |_| 13_000.0,
        probe: |_| apertium::probe(),
        check: |_| Ok(()),
        version: |_| Ok(apertium::probe().version.unwrap_or_default()),
        open: |params| {
            Ok(Box::new(apertium::Apertium::open(Duration::from_secs(params.timeout_seconds))?))
        },
    },
];

/// What [`ENGINES`] find on this machine, for `kpipe doctor` and the plan.
pub fn probes(params: &Params) -> Vec<Probe> {
    ENGINES.iter().map(|engine| (engine.probe)(params)).collect()
}

/// Parameters: section `[negatives.back_translation]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// `auto` (the models below, else what is installed), the name of an engine, `table` (only
    /// precomputed pairs) or `none`.
    pub engine: String,
    /// Folders of two MarianMT models, there and back.
    pub models: Vec<String>,
    /// For models of several target languages the token of the one that is meant, for each model;
    /// empty for others.
    pub target_tokens: Vec<String>,
    /// Beams of the models' search; 1 is greedy.
    pub beams: usize,
    /// What the models compute on: `cpu`, `cuda` or `cuda:1`.
    pub device: String,
    /// Most that the new words of a round trip may surprise, in nats ([`Acceptability::surprise`]).
    pub max_surprise: f64,
    /// Files of precomputed pairs, looked up before any engine is asked.
    pub tables: Vec<String>,
    /// Most sentences translated by an engine.
    pub max_sentences: usize,
    /// How long to wait for the next answer before the child is restarted, in seconds.
    pub timeout_seconds: u64,
}

impl Params {
    /// With which nothing is translated.
    pub fn none() -> Self {
        Params {
            engine: "none".to_string(),
            models: Vec::new(),
            target_tokens: Vec::new(),
            beams: 1,
            device: "cpu".to_string(),
            max_surprise: f64::INFINITY,
            tables: Vec::new(),
            max_sentences: 0,
            timeout_seconds: 60,
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first key outside its range.
    pub fn check(&self) -> Result<()> {
        let names: Vec<&'static str> =
            ENGINES.iter().map(|engine| engine.name).chain(["auto", "table", "none"]).collect();
        registry::find("engine", &names, &self.engine, |name| name)
            .map_err(|error| error.at("`negatives.back_translation.engine`"))?;

        if !matches!(self.models.len(), 0 | 2) || self.target_tokens.len() > self.models.len() {
            return Err(Error::usage(
                "two models are wanted, one there and one back, with at most a token for each",
            )
            .at("`negatives.back_translation.models`")
            .hint(marian::HOW_TO_INSTALL));
        }
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
            // Whoever names models wants them, and hears where they cannot be used.
            "auto" if !self.models.is_empty() => self.named("marian"),
            "auto" => Ok(ENGINES.iter().find(|engine| (engine.probe)(self).available)),
            name => self.named(name),
        }
    }

    /// The engine of a name.
    ///
    /// # Errors
    /// If it is not installed.
    fn named(&self, name: &str) -> Result<Option<&'static Registered>> {
        let engine = ENGINES.iter().find(|engine| engine.name == name);
        let probe = engine.map(|engine| (engine.probe)(self));

        match probe {
            Some(probe) if probe.is_broken => Err(Error::usage(format!(
                "`negatives.back_translation.engine` is `{name}`, which cannot be used: {}",
                probe.detail.unwrap_or_default()
            ))
            .hint("mend it, or set the engine to `none`")),
            Some(probe) if !probe.available => Err(Error::usage(format!(
                "`negatives.back_translation.engine` is `{name}`, but it is not installed: {}",
                probe.detail.unwrap_or_default()
            ))
            .hint(format!(
                "install it with `{}`, or set the engine to `auto`",
                probe.how_to_install
            ))),
            _ => Ok(engine),
        }
    }
}

/// What to tell before a build begins: an engine that is installed and would be used, and does not
/// work.
pub fn warning(params: &Params) -> Option<String> {
    if params.max_sentences == 0 || params.engine != "auto" {
        return None;
    }
    let probes = probes(params);
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
    if let Some(engine) = params.chosen()? {
        (engine.check)(params)?;
    }
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
        Some(engine) => format!("{} {}", engine.name, (engine.version)(params)?),
        None => "none".to_string(),
    })
}

/// The engine that would be used here, where one is installed that is asked for.
pub fn available(params: &Params) -> Option<Probe> {
    let is_asked = |probe: &Probe| params.engine == "auto" || params.engine == probe.engine;
    probes(params).into_iter().find(|probe| probe.available && is_asked(probe))
}

/// Seconds that an engine takes to translate `sentences` of `chars` characters on average on
/// `cores` cores, from its measured rate.
pub fn cost(engine: &str, params: &Params, sentences: usize, chars: f64, cores: usize) -> f64 {
    let engine = ENGINES.iter().find(|one| one.name == engine);
    let rate = engine.map_or(f64::INFINITY, |engine| (engine.chars_per_second)(params));
    sentences as f64 * chars / (rate * cores.max(1) as f64)
}

/// Round trips by sentence.
#[derive(Default)]
pub struct Translations {
    table: Table,
    /// What translates the sentences of no table, where something does.
    engine: Option<Box<dyn Engine>>,
    translated: HashMap<String, String>,
    /// What people write, by the [`code`] of their language.
    judges: BTreeMap<String, Acceptability>,
    max_surprise: f64,
    /// What to add to the room's books.
    pub notes: Vec<(&'static str, u64)>,
}

impl Translations {
    /// Engine and round trip of a sentence.
    pub fn get(&self, sentence: &str) -> Option<(&'static str, &str)> {
        let table = self.table.get(sentence).map(|text| ("table", text));
        let engine = self.engine.as_ref().map_or("", |engine| engine.name());
        table.or_else(|| self.translated.get(sentence).map(|text| (engine, text.as_str())))
    }

    /// Whether nothing comes back from anywhere; else the corpus was gone over once.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.engine.is_none()
    }

    /// Whether sentences can be translated that stand in no table.
    pub fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Whether sentences of a language come back from somewhere.
    pub fn takes(&self, language: Option<&str>) -> bool {
        let takes = |engine: &dyn Engine, language| engine.takes(code(language));
        language.is_some_and(|language| {
            !self.table.is_empty() || self.engine.as_deref().is_some_and(|one| takes(one, language))
        })
    }

    /// The sentence to be translated, where it is of a language that an engine takes.
    pub fn asked(&self, text: &str, language: Option<&str>) -> Option<Sentence> {
        let language = code(language?);
        let engine = self.engine.as_deref().filter(|engine| engine.takes(language));
        engine.map(|_| Sentence { language: language.to_string(), text: text.to_string() })
    }

    /// Whether people would write what came back of a sentence; not, where the corpus has no text
    /// of the language to tell by.
    pub fn is_acceptable(&self, language: Option<&str>, sentence: &str, text: &str) -> bool {
        let judge = language.and_then(|language| self.judges.get(code(language)));
        judge.is_some_and(|judge| judge.accepts(sentence, text, self.max_surprise))
    }

    /// Translates sentences, but for those of the tables; without an engine none.
    ///
    /// # Errors
    /// If the engine as a whole cannot go on, or a file cannot be read or written.
    pub fn add(&mut self, mut sentences: Vec<Sentence>, cx: &Context<'_>) -> Result<()> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        sentences.retain(|sentence| self.table.get(&sentence.text).is_none());
        let done = translate(&sentences, engine.as_ref(), cx, self);
        self.engine = Some(engine);
        done
    }

    /// Learns what people write from a sample of the corpus, in the languages that are translated.
    ///
    /// # Errors
    /// If a part cannot be read.
    fn learn(&mut self, input: &Dataset, cx: &Context<'_>) -> Result<()> {
        let share = DOCUMENTS as f64 / input.rows().max(1) as f64;
        let mut corpora: BTreeMap<String, Corpus> = BTreeMap::new();
        cx.fold(
            input,
            Some(&["id", "text", "language"]),
            |batch, _| {
                let (ids, texts) = (strings(batch, "id")?, strings(batch, "text")?);
                let languages = strings(batch, "language")?;
                let of = |row: usize| {
                    let language = languages.is_valid(row).then(|| languages.value(row));
                    let is_drawn =
                        draw::unit(cx.seed, "acceptability", ids.value(row).as_bytes()) < share;
                    (is_drawn && self.takes(language))
                        .then(|| Sample::of(code(language.unwrap_or_default()), texts.value(row)))
                };
                Ok((0..batch.num_rows()).filter_map(of).collect::<Vec<Sample>>())
            },
            |samples| {
                for sample in samples {
                    let corpus = corpora.entry(sample.language).or_default();
                    sample.sentences.iter().for_each(|sentence| corpus.add(sentence));
                }
                Ok(())
            },
        )?;
        self.judges =
            corpora.into_iter().map(|(language, corpus)| (language, corpus.model())).collect();
        Ok(())
    }
}

/// The words of a document that tell what people write.
struct Sample {
    language: String,
    sentences: Vec<Vec<String>>,
}

impl Sample {
    fn of(language: &str, text: &str) -> Self {
        let mut left = WORDS;
        let words = |range: std::ops::Range<usize>| {
            let words = tokens(&text[range]);
            let is_within = left > 0;
            left = left.saturating_sub(words.len());
            is_within.then_some(words)
        };
        let sentences = sentences(text).into_iter().map_while(words).collect();
        Sample { language: language.to_string(), sentences }
    }
}

/// One group's side file.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    engine: String,
    version: String,
    language: String,
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

/// The round trip of each sentence, `None` of those that failed, by the tables and the engine that
/// the parameters name; `None` where there is neither. Without a corpus nobody says whether people
/// would write it.
///
/// # Errors
/// If a table cannot be read, or an engine that was demanded by name is not installed.
pub fn round_trips(asked: &[Sentence], params: &Params) -> Result<Option<Vec<Option<String>>>> {
    let mut table = Table::default();
    if params.engine != "none" {
        params.tables.iter().try_for_each(|path| table.read(path.as_ref()))?;
    }
    let engine = params.chosen()?;
    if engine.is_none() && table.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<Option<String>> =
        asked.iter().map(|one| table.get(&one.text).map(str::to_string)).collect();
    if let Some(engine) = engine {
        let engine = (engine.open)(params)?;
        let mut missing: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, one) in asked.iter().enumerate() {
            if found[at].is_none() && engine.takes(&one.language) {
                missing.entry(&one.language).or_default().push(at);
            }
        }
        for (language, places) in missing {
            let texts: Vec<String> = places.iter().map(|at| asked[*at].text.clone()).collect();
            let trips = engine.translate(language, &texts)?;
            places.into_iter().zip(trips.texts).for_each(|(at, text)| found[at] = text);
        }
    }
    Ok(Some(found))
}

/// Reads the tables, looks for the engine, learns from the corpus what people write, and says in
/// `engines.json`, the notes and the progress what is used.
///
/// # Errors
/// If an engine that was demanded by name is not installed, a table cannot be read, or a file
/// cannot be written.
pub fn open(own: &Params, input: &Dataset, cx: &Context<'_>) -> Result<Translations> {
    let mut translations =
        Translations { max_surprise: own.max_surprise, ..Translations::default() };
    if own.engine != "none" {
        own.tables.iter().try_for_each(|path| translations.table.read(path.as_ref()))?;
    }
    let chosen = own.chosen()?;
    let told: Vec<Told> = probes(own)
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
        if !translations.table.is_empty() {
            translations.learn(input, cx)?;
        }
        return Ok(translations);
    };

    translations.engine = Some((engine.open)(own)?);
    translations.learn(input, cx)?;
    Ok(translations)
}

/// Translates the jobs group by group, in parallel, keeping each finished group on disk.
fn translate(
    jobs: &[Sentence],
    engine: &dyn Engine,
    cx: &Context<'_>,
    translations: &mut Translations,
) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut by_language: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for job in jobs {
        by_language.entry(&job.language).or_default().push(job.text.clone());
    }
    let chunks: Vec<Chunk> = by_language
        .iter()
        .flat_map(|(language, all)| {
            all.chunks(GROUP).map(|sentences| Chunk { language, sentences })
        })
        .collect();

    let done = std::sync::atomic::AtomicUsize::new(0);
    let one = |nth: usize| {
        let place = cx.numbered("translated", nth, "json");
        let group = translate_group(&chunks[nth], engine, &place)?;
        let n = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let all = chunks.len();
        cx.progress.message(&format!("back-translated {n} of {all} groups of sentences"));
        Ok(group)
    };
    let groups: Vec<Result<Group>> = match engine.uses_all_cores() {
        true => (0..chunks.len()).map(one).collect(),
        false => (0..chunks.len()).into_par_iter().with_max_len(1).map(one).collect(),
    };

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
             `timeout_seconds` on them twice, or a model's translation did not end",
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

/// Sentences of one language that are translated together.
struct Chunk<'a> {
    language: &'a str,
    sentences: &'a [String],
}

/// A group from its file, if that was made by the same engine from the same sentences; else
/// translated now.
fn translate_group(chunk: &Chunk, engine: &dyn Engine, place: &Path) -> Result<Group> {
    if let Some(group) = read_json::<Group>(place)? {
        let same = group.pairs.iter().map(|(source, _)| source).eq(chunk.sentences);
        let known = group.engine == engine.name() && group.version == engine.version();
        if same && known && group.language == chunk.language {
            return Ok(group);
        }
    }

    let trips = engine.translate(chunk.language, chunk.sentences)?;
    let group = Group {
        engine: engine.name().to_string(),
        version: engine.version().to_string(),
        language: chunk.language.to_string(),
        restarts: trips.restarts,
        pairs: chunk.sentences.iter().cloned().zip(trips.texts).collect(),
    };
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

        fn takes(&self, language: &str) -> bool {
            language == "en"
        }

        fn translate(&self, language: &str, batch: &[String]) -> Result<RoundTrips> {
            assert!(self.takes(language));
            self.0.fetch_add(batch.len(), Ordering::Relaxed);
            let shout = |text: &String| (!text.ends_with('7')).then(|| text.to_uppercase());
            Ok(RoundTrips { texts: batch.iter().map(shout).collect(), restarts: 0 })
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

        let engine: Box<dyn Engine> = Box::new(Shout(asked.clone()));
        let mut translations = Translations { engine: Some(engine), ..Translations::default() };
        let sentence = |text: &String| translations.asked(text, Some("eng")).unwrap();
        let jobs = jobs.iter().map(sentence).collect();
        translations.add(jobs, &cx).unwrap();
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
        let params = Params { engine: "moses".into(), ..Params::none() };
        assert!(params.check().unwrap_err().to_string().contains("known here: marian, apertium"));
        let params = Params { models: vec!["one".into()], ..Params::none() };
        assert!(params.check().unwrap_err().to_string().contains("two models"));
    }
}
