//! Two MarianMT models, there and back, from folders that Hugging Face publishes.
//!
//! With a model from English into Chinese and one from Chinese into English, English sentences go
//! through the first and the second, and Chinese ones through the second and the first.

use std::path::Path;

use super::{Engine, Params, Probe, RoundTrips};
use crate::error::{Error, Result};
use crate::text::languages::code;
use crate::train::device;
use crate::translate::{self, Translator};

/// How to get it.
pub const HOW_TO_INSTALL: &str = "hf download Helsinki-NLP/opus-mt-en-zh --local-dir \
    opus-mt-en-zh, the same for opus-mt-zh-en, and \
    `--set negatives.back_translation.models=[\"opus-mt-en-zh\", \"opus-mt-zh-en\"]`";

/// See the module.
pub struct Marian {
    there: Translator,
    back: Translator,
    /// What the first model translates, and what it becomes.
    languages: [String; 2],
    beams: usize,
    version: String,
}

/// Looks whether the folders are named and are there.
pub fn probe(params: &Params) -> Probe {
    let missing = params.models.iter().find(|folder| !Path::new(folder).is_dir());
    let detail = match missing {
        _ if params.models.is_empty() => {
            Some("`negatives.back_translation.models` names no folders".to_string())
        }
        Some(folder) => Some(format!("there is no folder `{folder}`")),
        None => None,
    };
    Probe {
        engine: "marian",
        available: detail.is_none(),
        is_broken: missing.is_some(),
        version: detail.is_none().then(|| params.models.join(" and ")),
        detail,
        how_to_install: HOW_TO_INSTALL,
    }
}

/// What the translations depend on: the files of both models, and how they are searched.
///
/// # Errors
/// If a file cannot be read.
pub fn version(params: &Params) -> Result<String> {
    let models = params.models.iter().map(|folder| translate::version(Path::new(folder)));
    let mut parts: Vec<String> = models.collect::<Result<_>>()?;
    parts.push(params.beams.to_string());
    Ok(parts.join(" "))
}

impl Marian {
    /// Reads both folders.
    ///
    /// # Errors
    /// If one is no MarianMT model, or the second does not translate back.
    pub fn open(params: &Params) -> Result<Self> {
        let [there, back] = params.models.as_slice() else {
            return Err(Error::usage("two models are wanted, one there and one back")
                .at("`negatives.back_translation.models`")
                .hint(HOW_TO_INSTALL));
        };
        let device = device(&params.device)?;
        let token = |nth: usize| params.target_tokens.get(nth).map_or("", String::as_str);
        let there = Translator::open(Path::new(there), token(0), &device)?;
        let back = Translator::open(Path::new(back), token(1), &device)?;

        let pair = |one: &Translator| {
            let (source, target) = one.languages();
            [code(source).to_string(), code(target).to_string()]
        };
        let (languages, [source, target]) = (pair(&there), pair(&back));
        if languages != [target.clone(), source.clone()] {
            let [from, to] = languages;
            return Err(Error::usage(format!(
                "the first model translates `{from}` into `{to}`, and the second `{source}` into \
                 `{target}`"
            ))
            .at("`negatives.back_translation.models`")
            .hint("name one there and one back, such as opus-mt-en-zh and opus-mt-zh-en"));
        }
        Ok(Marian { there, back, languages, beams: params.beams, version: version(params)? })
    }
}

impl Engine for Marian {
    fn name(&self) -> &'static str {
        "marian"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn takes(&self, language: &str) -> bool {
        self.languages.iter().any(|one| one == language)
    }

    fn uses_all_cores(&self) -> bool {
        true
    }

    fn translate(&self, language: &str, batch: &[String]) -> Result<RoundTrips> {
        let (first, second) = match language == self.languages[0] {
            true => (&self.there, &self.back),
            false => (&self.back, &self.there),
        };
        let between = first.translate(batch, self.beams)?;
        // What is empty is not translated, and gives nothing.
        let between: Vec<String> = between.into_iter().map(Option::unwrap_or_default).collect();
        Ok(RoundTrips { texts: second.translate(&between, self.beams)?, restarts: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> String {
        format!("{}/fixtures/parity/marian/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn params(models: &[&str]) -> Params {
        Params { models: models.iter().map(|name| folder(name)).collect(), ..Params::none() }
    }

    #[test]
    fn two_models_translate_both_ways() {
        let params = params(&["narrow", "shared"]);
        assert!(probe(&params).available);
        let engine = Marian::open(&params).unwrap();
        assert!(engine.takes("zh") && engine.takes("en") && !engine.takes("de"));
        let said = ["护士锁上药柜之前把药片数了两遍。".to_string(), String::new()];
        let found = engine.translate("zh", &said).unwrap().texts;
        assert!(found[0].is_some() && found[1].is_none(), "{found:?}");
        let english = ["The nurse counted the tablets twice.".to_string()];
        assert!(engine.translate("en", &english).unwrap().texts[0].is_some());
    }

    #[test]
    fn models_that_do_not_belong_together_are_told() {
        let error = Marian::open(&params(&["narrow", "narrow"])).err().unwrap().to_string();
        assert!(error.contains("`zh` into `en`"), "{error}");
        let error = Marian::open(&params(&["narrow"])).err().unwrap().to_string();
        assert!(error.contains("two models"), "{error}");
        let error = Marian::open(&params(&["narrow", "none"])).err().unwrap().to_string();
        assert!(error.contains("none"), "{error}");
        assert!(probe(&params(&["none", "none"])).is_broken);
    }
}
