//! Settings in layers: the embedded defaults, the user's pipeline file, `--set key=value`.
//!
//! `pipelines/default.toml` holds every key, so a key it does not have is a mistake, and the type
//! of its default is the type of the key. Both are checked here with file and line, before serde
//! sees anything.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::error::{Error, Result};
use crate::flow::ranges;
use crate::flow::registry::nearest;

/// The embedded pipeline file with every key and its default.
pub const DEFAULT: &str = include_str!("../../pipelines/default.toml");

/// Keys that had another name in version 0.1.
static MOVED: &[(&str, &str)] = &[
    ("train.adapter", "[train.strategy.adapter]"),
    ("train.model.pooling", "train.objective.contrastive.pooling"),
    ("train.objective.mask", "train.rows.masked.share` or `train.rows.spans.share"),
    ("train.objective.whole_word", "train.rows.masked.whole_word"),
    ("train.objective.span_length", "train.rows.spans.length"),
    ("train.objective.mlm_weight", "train.objective.mlm.weight"),
    ("train.objective.clm_weight", "train.objective.clm.weight"),
    ("train.objective.span_weight", "train.objective.span.weight"),
    ("train.objective.contrastive_weight", "train.objective.contrastive.weight"),
    ("train.objective.temperature", "train.objective.contrastive.temperature"),
    ("train.objective.paraphrase_as", "train.rows.passages.paraphrase_as"),
    ("train.objective.anchors", "train.rows.passages.anchors"),
    ("train.objective.hard", "train.rows.passages.hard"),
    ("train.objective.passage_tokens", "train.rows.passages.tokens"),
    ("train.optimiser.ema", "train.strategy.ema.decay"),
];

/// The keys of a section of the embedded pipeline file, by their whole names; none where there is
/// no such section.
pub fn keys_of(section: &str) -> Vec<String> {
    let (mut here, mut keys) = ("", Vec::new());
    for line in DEFAULT.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            here = name;
        } else if let Some((key, _)) =
            line.split_once(" =").filter(|(key, _)| here == section && !key.contains('#'))
        {
            keys.push(format!("{section}.{}", key.trim()));
        }
    }
    keys
}

/// The layers merged into one table, each checked against the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    merged: Table,
    /// What a person's own settings lie on: the defaults, and a preset where there is one.
    beneath: Table,
    defaults: Table,
    /// Where each key was given last: file and line, or the `--set`.
    places: BTreeMap<String, String>,
}

impl Settings {
    /// The defaults alone.
    ///
    /// # Errors
    /// If the embedded file is wrong.
    pub fn new() -> Result<Self> {
        let defaults: Table = toml::from_str(DEFAULT).map_err(|cause| {
            Error::usage(format!("pipelines/default.toml is wrong: {}", cause.message()))
        })?;
        let (merged, beneath) = (defaults.clone(), defaults.clone());
        Ok(Settings { merged, beneath, defaults, places: BTreeMap::new() })
    }

    /// Adds a preset's text, which is nobody's own setting, beneath all that is added later.
    ///
    /// # Errors
    /// As [`Settings::add_file`].
    pub fn add_preset(&mut self, text: &str, name: &str) -> Result<()> {
        self.add_text(text, name)?;
        self.beneath.clone_from(&self.merged);
        Ok(())
    }

    /// Adds a pipeline file.
    ///
    /// # Errors
    /// If it cannot be read or parsed, or has an unknown key or a value of another type; names file
    /// and line.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::usage(format!("cannot read the pipeline file `{}`: {cause}", path.display()))
                .hint("`kpipe defaults > my.toml` writes one to start from")
        })?;
        self.add_text(&text, &path.display().to_string())
    }

    /// Adds a pipeline file's text; `name` stands for it in errors.
    ///
    /// # Errors
    /// As [`Settings::add_file`].
    pub fn add_text(&mut self, text: &str, name: &str) -> Result<()> {
        let place = |offset: usize| match name.starts_with("--set ") {
            true => name.to_string(),
            false => format!("{name}:{}", line_of(text, offset)),
        };
        let spanned = DeTable::parse(text).map_err(|cause| {
            let at = cause.span().map_or(name.to_string(), |span| place(span.start));
            Error::usage(format!("the pipeline file is not TOML: {}", cause.message())).at(at)
        })?;
        check_table(spanned.get_ref(), &self.defaults, &mut Vec::new(), &place, &mut self.places)?;
        let mut table: Table = toml::from_str(text)
            .map_err(|cause| Error::usage(cause.message().to_string()).at(name))?;
        widen(&mut table, &self.defaults);
        merge(&mut self.merged, table);

        Ok(())
    }

    /// The keys that a person gave, by their whole names, and where. A file that repeats what is
    /// there already says nothing, as a copy of `kpipe defaults` does with every key.
    pub fn given(&self) -> BTreeMap<String, String> {
        let is_said = |key: &str, place: &str| {
            place.starts_with("--set ")
                || value_at(&self.merged, key) != value_at(&self.beneath, key)
        };
        let said = self.places.iter().filter(|(key, place)| is_said(key, place));
        said.map(|(key, place)| (key.clone(), place.clone())).collect()
    }

    /// Adds one `--set dotted.key=value`; a value that is not TOML is taken as a string.
    ///
    /// # Errors
    /// If there is no `=`, the key is unknown or the value has another type.
    pub fn add_assignment(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            Error::usage(format!("`--set {assignment}` has no `=`"))
                .hint("write `--set dedup.jaccard=0.7`")
        })?;
        let (key, value) = (key.trim(), value.trim());
        let line = format!("{key} = {value}");
        let line = if toml::from_str::<Table>(&line).is_ok() {
            line
        } else {
            format!("{key} = {}", Value::String(value.to_string()))
        };
        self.add_text(&line, &format!("--set {assignment}"))
    }

    /// The merged settings as a typed value.
    ///
    /// # Errors
    /// If a value does not fit, such as a negative count.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        Value::Table(self.merged.clone()).try_into().map_err(|cause: toml::de::Error| {
            // On a line of its own it says "in `key`".
            let what = cause.to_string().trim().replace('\n', " ");
            Error::usage(format!("the settings do not fit: {what}"))
                .hint("`kpipe defaults` shows the shape of every key")
        })
    }

    /// An error with the place of the key that it names in backticks, where a file or `--set` gave
    /// that.
    pub fn placed(&self, error: Error) -> Error {
        let told = std::iter::once(error.what()).chain(error.places().iter().map(String::as_str));
        let mut keys = told.flat_map(|text| text.split('`').skip(1).step_by(2));
        let place = keys.find_map(|key| self.places.get(key));
        match place {
            Some(place) => error.at(place),
            None => error,
        }
    }
}

/// What stands at a dotted key.
fn value_at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let mut names = key.split('.');
    let first = table.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

/// Checks keys and types of one table against its defaults. Sources have names of their own and
/// free `fields`; `train.config` holds what Hugging Face's `config.json` does, and
/// `curriculum.weights` names of sources.
fn check_table(
    found: &DeTable<'_>,
    defaults: &Table,
    path: &mut Vec<String>,
    place: &dyn Fn(usize) -> String,
    places: &mut BTreeMap<String, String>,
) -> Result<()> {
    for (key, value) in found {
        let name = key.get_ref().to_string();
        path.push(name.clone());
        let dotted = path.join(".");
        let inside_source = path.len() == 2 && path[0] == "source";
        let free = match path.as_slice() {
            [source, _, fields, _] if source == "source" => fields == "fields",
            [train, config, _, ..] if train == "train" => config == "config",
            [curriculum, weights, _] => curriculum == "curriculum" && weights == "weights",
            _ => false,
        };
        let model;
        let default = if inside_source {
            model = Value::Table(source_model());
            Some(&model)
        } else {
            defaults.get(&name)
        };

        match default {
            None if free => {}
            None => return Err(unknown(&dotted, &name, defaults).at(place(key.span().start))),
            Some(default) => check_value(value, default, path, place, places)?,
        }

        places.insert(dotted, place(key.span().start));
        path.pop();
    }
    Ok(())
}

fn check_value(
    found: &Spanned<DeValue<'_>>,
    default: &Value,
    path: &mut Vec<String>,
    place: &dyn Fn(usize) -> String,
    places: &mut BTreeMap<String, String>,
) -> Result<()> {
    match (found.get_ref(), default) {
        (DeValue::Table(table), Value::Table(defaults)) => {
            check_table(table, defaults, path, place, places)
        }
        (DeValue::Integer(_), Value::Float(_) | Value::Integer(_))
        | (DeValue::Float(_), Value::Float(_)) => check_range(found.get_ref(), &path.join("."))
            .map_err(|error| error.at(place(found.span().start))),
        (DeValue::Boolean(_), Value::Boolean(_))
        | (DeValue::String(_), Value::String(_))
        | (DeValue::Array(_), Value::Array(_)) => Ok(()),
        (other, default) => Err(Error::usage(format!(
            "`{}` is {}, but must be {}",
            path.join("."),
            with_article(other.type_str()),
            with_article(default.type_str())
        ))
        .at(place(found.span().start))
        .hint(format!("the default is {default}"))),
    }
}

/// Checks a number against the range that stands beside its default.
fn check_range(found: &DeValue<'_>, key: &str) -> Result<()> {
    let Some(range) = ranges::range(key) else { return Ok(()) };
    let value: Option<f64> = match found {
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
        }
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };

    if value.is_some_and(|value| range.contains(value)) {
        return Ok(());
    }
    let value = value.map_or("too large".to_string(), |value| value.to_string());
    Err(Error::usage(format!("`{key}` is {value}, outside {range}"))
        .hint(format!("it is {}", range.about)))
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Keys of a source entry, with a value of the right type each.
fn source_model() -> Table {
    let mut model = Table::new();
    for key in ["path", "format", "role", "language", "licence", "ids", "split"] {
        model.insert(key.to_string(), Value::String(String::new()));
    }
    for key in ["drop", "templates"] {
        model.insert(key.to_string(), Value::Array(Vec::new()));
    }
    model.insert("priority".to_string(), Value::Integer(0));
    model.insert("fields".to_string(), Value::Table(Table::new()));
    model
}

fn unknown(dotted: &str, name: &str, known: &Table) -> Error {
    if let Some((_, now)) = MOVED.iter().find(|(before, _)| *before == dotted) {
        return Error::usage(format!("`{dotted}` has another name now"))
            .hint(format!("write `{now}`"));
    }

    let error = Error::usage(format!("unknown key `{dotted}`"));
    match nearest(name, known.keys().map(String::as_str), 0.8) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error
            .hint(format!("known here: {}", known.keys().cloned().collect::<Vec<_>>().join(", "))),
    }
}

/// Writes `1` as `1.0` where the default is no whole number: the same setting is the same in every
/// fingerprint.
fn widen(table: &mut Table, defaults: &Table) {
    for (key, value) in table.iter_mut() {
        match (value, defaults.get(key)) {
            (Value::Table(inner), Some(Value::Table(defaults))) => widen(inner, defaults),
            (value @ Value::Integer(_), Some(Value::Float(_))) => {
                *value = Value::Float(value.as_integer().unwrap_or_default() as f64);
            }
            _ => {}
        }
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str, expected: &[&str]) {
        let error = Settings::new().unwrap().add_text(text, "mine.toml").unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn unknown_keys_and_wrong_types_name_their_line() {
        refuse(
            "seed = 1\n[curriculum]\ngeneral_frist = 0.3\n",
            &["`curriculum.general_frist`", "mine.toml:3", "did you mean `general_first`?"],
        );
        refuse("\nseed = \"x\"\n", &["`seed` is a string, but must be an integer", "mine.toml:2"]);
        refuse("[source.mine]\npth = \"x\"\n", &["`source.mine.pth`", "mine.toml:2"]);
        refuse("seed = \n", &["not TOML", "mine.toml:1"]);
        refuse(
            "[dedup]\njaccard = 1.5\n",
            &["`dedup.jaccard` is 1.5, outside (0, 1]", "mine.toml:2", "least true"],
        );
        refuse("[density]\nb = nan\n", &["`density.b` is NaN, outside [0, 1]"]);
        refuse("[train]\nbatch = 0x1_0001\n", &["`train.batch` is 65537, outside [1, 65_536]"]);

        refuse(
            "[train.objective]\nmask = 0.2\n",
            &["another name", "`train.rows.masked.share`", "mine.toml:2"],
        );
    }

    #[test]
    fn one_and_1_0_are_the_same_setting() {
        let merged = |value: &str| {
            let mut settings = Settings::new().unwrap();
            settings.add_assignment(&format!("train.objective.mlm.weight={value}")).unwrap();
            settings.merged.to_string()
        };
        assert_eq!(merged("2"), merged("2.0"));
    }

    #[test]
    fn layers_override_key_by_key() {
        let mut settings = Settings::new().unwrap();
        settings.add_text("[curriculum]\nwindow = 50\n", "a").unwrap();
        settings.add_assignment("seed=3").unwrap();
        settings.add_assignment("difficulty.tokenizer=some/path.json").unwrap();
        settings
            .add_text("[source.mine]\npath = \"x\"\n[source.mine.fields]\ntext = \"body\"\n", "b")
            .unwrap();
        assert_eq!(settings.merged["curriculum"]["window"].as_integer(), Some(50));
        assert_eq!(settings.merged["curriculum"]["general_first"].as_float(), Some(0.2));
        assert_eq!(settings.merged["seed"].as_integer(), Some(3));
        assert_eq!(settings.merged["difficulty"]["tokenizer"].as_str(), Some("some/path.json"));
        assert_eq!(settings.merged["source"]["mine"]["fields"]["text"].as_str(), Some("body"));
        assert!(settings.add_assignment("seed").is_err());
        assert!(
            settings
                .add_assignment("sed=3")
                .unwrap_err()
                .to_string()
                .contains("did you mean `seed`?")
        );
    }
}
