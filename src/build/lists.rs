//! Everything that a pipeline file or a command can name, as lists for people: `kpipe list`, the
//! tables of the README and the names in `pipelines/default.toml` are made of these, and a test
//! fails where they are stale.

use std::collections::BTreeSet;

use crate::density::measure::MEASURES;
use crate::error::Result;
use crate::eval::robustness::transform::TRANSFORMATIONS;
use crate::eval::tasks::TASKS;
use crate::flow::contract::contract;
use crate::flow::registry::{self, Entry};
use crate::flow::settings::keys_of;
use crate::ingest::FORMATS;
use crate::ingest::chinese::TEMPLATES;
use crate::knowledge::lexicon::READERS;
use crate::rewrite::GENERATORS;
use crate::rewrite::back_translation::ENGINES;
use crate::tasks::KINDS;
use crate::train::model::FAMILIES;
use crate::train::objective::OBJECTIVES;
use crate::train::run::preset::PRESETS;
use crate::train::schedule::SCHEDULES;
use crate::train::strategy::STRATEGIES;
use crate::variants::VARIATIONS;

/// A list of components of one kind.
pub struct List {
    /// Its name, in the plural.
    pub name: &'static str,
    /// What they are, in one line.
    pub about: &'static str,
    /// The components, in the order of their registry.
    pub entries: fn() -> Result<Vec<Entry>>,
}

/// Every list. One line more makes a registry known to `kpipe list`.
pub static LISTS: &[List] = &[
    List {
        name: "formats",
        about: "files that sources are read from: `source.<name>.format`",
        entries: formats,
    },
    List {
        name: "templates",
        about: "what Chinese texts of a kind all have: `source.<name>.templates`",
        entries: templates,
    },
    List { name: "lexicons", about: "files of concepts: `density.lexicon`", entries: lexicons },
    List {
        name: "measures",
        about: "what density is made of: `density.measure`",
        entries: measures,
    },
    List {
        name: "generators",
        about: "ways to rewrite a passage, in the order they are asked",
        entries: generators,
    },
    List {
        name: "variants",
        about: "ways to say a document again: `variants.kinds`",
        entries: variants,
    },
    List {
        name: "readings",
        about: "reading tasks behind the text of documents: `tasks.kinds`",
        entries: readings,
    },
    List {
        name: "engines",
        about: "translators: `negatives.back_translation.engine`",
        entries: engines,
    },
    List {
        name: "objectives",
        about: "loss terms: `[train.objective.<name>]`",
        entries: objectives,
    },
    List {
        name: "strategies",
        about: "what goes beyond the loss: `[train.strategy.<name>]`",
        entries: strategies,
    },
    List {
        name: "schedules",
        about: "learning rates behind the warm-up: `train.schedule.kind`",
        entries: schedules,
    },
    List {
        name: "models",
        about: "families, by the `model_type` of a `config.json`",
        entries: models,
    },
    List {
        name: "presets",
        about: "settings and shapes of well-known models: `--preset`",
        entries: presets,
    },
    List { name: "tasks", about: "what models are asked: `kpipe eval --task`", entries: tasks },
    List {
        name: "transformations",
        about: "ways to write a text otherwise: `kpipe eval robustness --transform`",
        entries: transformations,
    },
    List { name: "metrics", about: "the fields of a line of `metrics.jsonl`", entries: metrics },
];

/// The list called `name`.
///
/// # Errors
/// If there is none.
pub fn list(name: &str) -> Result<&'static List> {
    let all: Vec<&'static List> = LISTS.iter().collect();
    registry::find("list", &all, name, |list| list.name)
}

fn entry(name: &str, about: impl Into<String>, keys: Vec<String>) -> Entry {
    Entry { name: name.to_string(), about: about.into(), keys }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_string()).collect()
}

fn templates() -> Result<Vec<Entry>> {
    Ok(TEMPLATES.iter().map(|one| entry(one.name, one.about, Vec::new())).collect())
}

fn formats() -> Result<Vec<Entry>> {
    let keys =
        |has_columns| if has_columns { owned(&["source.<name>.fields"]) } else { Vec::new() };
    Ok(FORMATS
        .iter()
        .map(|format| entry(format.name(), format.about(), keys(format.has_columns())))
        .collect())
}

fn lexicons() -> Result<Vec<Entry>> {
    Ok(READERS.iter().map(|reader| entry(reader.name(), reader.about(), Vec::new())).collect())
}

fn measures() -> Result<Vec<Entry>> {
    Ok(MEASURES.iter().map(|one| entry(one.name, one.about, Vec::new())).collect())
}

fn generators() -> Result<Vec<Entry>> {
    let about = |about: &str, kind: &str| format!("{about} ({kind})");
    let told = GENERATORS
        .iter()
        .map(|one| (one.name(), about(one.about(), one.kind().name()), owned(one.keys())));
    Ok(told.map(|(name, about, keys)| entry(name, about, keys)).collect())
}

fn variants() -> Result<Vec<Entry>> {
    Ok(VARIATIONS.iter().map(|one| entry(one.name, one.about, owned(one.keys))).collect())
}

fn readings() -> Result<Vec<Entry>> {
    Ok(KINDS.iter().map(|kind| entry(kind.name, kind.about, Vec::new())).collect())
}

fn engines() -> Result<Vec<Entry>> {
    let keys = || keys_of("negatives.back_translation");
    Ok(ENGINES.iter().map(|engine| entry(engine.name, engine.about, keys())).collect())
}

fn objectives() -> Result<Vec<Entry>> {
    let all = OBJECTIVES.iter().map(|kind| {
        let families: Vec<&str> = FAMILIES
            .iter()
            .filter(|family| kind.languages.contains(&family.language))
            .map(|family| family.name)
            .collect();
        let about = format!("{}, in {} ({})", kind.about, kind.unit, families.join(", "));
        let sections: BTreeSet<String> =
            kind.languages.iter().map(|language| (kind.rows)(*language).section()).collect();
        let rows = sections.iter().flat_map(|section| keys_of(section)).collect();
        entry(kind.name, about, [keys_of(&kind.section()), rows].concat())
    });
    Ok(all.collect())
}

fn strategies() -> Result<Vec<Entry>> {
    let keys = |name: &str| keys_of(&format!("train.strategy.{name}"));
    Ok(STRATEGIES.iter().map(|kind| entry(kind.name, kind.about, keys(kind.name))).collect())
}

fn schedules() -> Result<Vec<Entry>> {
    let whole = |key: &&str| format!("train.schedule.{key}");
    let keys = |keys: &[&str]| ["warmup"].iter().chain(keys).map(whole).collect();
    Ok(SCHEDULES
        .iter()
        .map(|schedule| entry(schedule.name, schedule.about, keys(schedule.keys)))
        .collect())
}

fn models() -> Result<Vec<Entry>> {
    let keys = || owned(&["train.config", "train.init"]);
    Ok(FAMILIES.iter().map(|family| entry(family.name, family.about, keys())).collect())
}

fn presets() -> Result<Vec<Entry>> {
    let first = |text: String| text.lines().next().unwrap_or_default().to_string();
    Ok(PRESETS.iter().map(|preset| entry(preset.name, first(preset.about()), Vec::new())).collect())
}

fn transformations() -> Result<Vec<Entry>> {
    Ok(TRANSFORMATIONS.iter().map(|one| entry(one.name, one.about, Vec::new())).collect())
}

fn tasks() -> Result<Vec<Entry>> {
    Ok(TASKS.iter().map(|task| entry(task.name, task.about, Vec::new())).collect())
}

fn metrics() -> Result<Vec<Entry>> {
    let about = |meaning: &str, unit: Option<&str>| match unit {
        Some(unit) => format!("{meaning}, in {unit}"),
        None => meaning.to_string(),
    };
    let fields = contract("metric")?.fields.iter();
    Ok(fields
        .map(|field| entry(&field.name, about(&field.meaning, field.unit.as_deref()), Vec::new()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_is_named_once_and_explained_and_its_keys_are_there() {
        for list in LISTS {
            let entries = (list.entries)().unwrap();
            let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            assert!(names.len() == entries.len() && !entries.is_empty(), "{}", list.name);

            for Entry { name, about, keys } in &entries {
                assert!(about.len() > 5 && !about.contains('\n'), "{name}: {about}");
                for key in keys.iter().filter(|key| !key.contains('<')) {
                    let (section, _) = key.rsplit_once('.').unwrap();
                    let is_section = !keys_of(key).is_empty() || key == "train.config";
                    assert!(
                        is_section || keys_of(section).contains(key),
                        "{name}: there is no key `{key}`"
                    );
                }
            }
        }
    }
}
