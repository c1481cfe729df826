//! A third party's fictional facts: passages with probes, in the format of Chang et al. 2024
//! (arXiv:2406.11813, `fictional_knowledge.json` of kaistAI/factual-knowledge-acquisition).
//!
//! An array of objects: `train_context` is the passage, `mem_input` and `mem_target` ask in its own
//! words, `gen_…` in others, `hard_gen_…` what follows from it; `paraphrases`, where they are
//! there, are the passage in other words. Users fetch the file; nothing of it is shipped.

use std::path::PathBuf;

use serde::Deserialize;

use super::world::Document;
use crate::error::{Error, Result};
use crate::eval::tasks::text;
use crate::train::data::probes::Probe;

/// The name of the source in builds.
pub const SOURCE: &str = "injected";
/// Kinds of probes.
pub const SEEN: &str = "injected.seen";
/// See [`SEEN`]: in other words.
pub const NEW: &str = "injected.new";
/// See [`SEEN`]: what follows.
pub const HARD: &str = "injected.hard";

#[derive(Deserialize)]
struct Record {
    train_context: String,
    mem_input: Vec<String>,
    mem_target: Vec<String>,
    gen_input: Vec<String>,
    gen_target: Vec<String>,
    hard_gen_input: Vec<String>,
    hard_gen_target: Vec<String>,
    #[serde(default)]
    paraphrases: Vec<String>,
}

/// Passages and their probes.
#[derive(Debug, Default)]
pub struct Injected {
    /// The passages and their paraphrases.
    pub documents: Vec<Document>,
    /// What is asked about them.
    pub probes: Vec<Probe>,
}

/// Reads files; a passage that stands in several is one, with the paraphrases of all.
///
/// # Errors
/// If a file cannot be read or has another format.
pub fn read(files: &[PathBuf]) -> Result<Injected> {
    let mut all: Vec<Record> = Vec::new();
    for file in files {
        let found: Vec<Record> = serde_json::from_str(&text(file)?).map_err(|cause| {
            Error::data(format!("it is no file of fictional knowledge: {cause}"))
                .at(file.display())
                .hint("`--injected` reads an array of objects with `train_context` and probes")
        })?;
        for record in found {
            match all.iter_mut().find(|other| other.train_context == record.train_context) {
                Some(other) => other.paraphrases.extend(record.paraphrases),
                None => all.push(record),
            }
        }
    }

    let mut injected = Injected::default();
    for (nth, record) in all.into_iter().enumerate() {
        let texts = std::iter::once(&record.train_context).chain(&record.paraphrases);
        injected.documents.extend(
            texts.enumerate().map(|(number, text)| Document {
                id: format!("{nth}-{number}"),
                text: text.clone(),
            }),
        );
        for (kind, inputs, targets) in [
            (SEEN, &record.mem_input, &record.mem_target),
            (NEW, &record.gen_input, &record.gen_target),
            (HARD, &record.hard_gen_input, &record.hard_gen_target),
        ] {
            if inputs.len() != targets.len() {
                let what = format!("passage {nth} has {} inputs of `{kind}`", inputs.len());
                return Err(Error::data(format!("{what} and {} targets", targets.len())));
            }
            for (number, (input, target)) in inputs.iter().zip(targets).enumerate() {
                injected.probes.push(Probe {
                    id: format!("{kind}.{nth}.{number}"),
                    kind: kind.to_string(),
                    context: input.trim_end().to_string(),
                    choices: vec![target.trim().to_string()],
                    about: format!("passage {nth}"),
                    ..Probe::default()
                });
            }
        }
    }
    Ok(injected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_of_several_files_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, paraphrases: &str| {
            let text = format!(
                r#"[{{"train_context": "Vela is a moon of Orun.",
                "mem_input": ["Vela is a moon of"],
                "mem_target": ["Orun"], "gen_input": ["Orun has a moon called"],
                "gen_target": ["Vela"],
                "hard_gen_input": [], "hard_gen_target": []{paraphrases}}}]"#
            );
            let place = folder.path().join(name);
            std::fs::write(&place, text).unwrap();
            place
        };
        let files =
            [write("a.json", ""), write("b.json", r#", "paraphrases": ["Orun has Vela."]"#)];
        let found = read(&files).unwrap();
        let texts: Vec<&str> = found.documents.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["Vela is a moon of Orun.", "Orun has Vela."]);
        let statements: Vec<String> = found.probes.iter().map(Probe::statement).collect();
        assert_eq!(statements, ["Vela is a moon of Orun", "Orun has a moon called Vela"]);

        std::fs::write(&files[0], r#"{"train_context": "x"}"#).unwrap();
        let error = read(&files).unwrap_err().to_string();
        assert!(error.contains("a.json") && error.contains("train_context"), "{error}");
    }
}
