//! What probes ask, so that no text made for training answers it.

use std::collections::HashSet;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::rewrite::ConceptNames;
use crate::rewrite::wordnet::readers::read_text;

/// What probes ask: pairs of concepts of which one is in the question and the other the answer.
#[derive(Debug, Default)]
pub struct Asked(HashSet<(usize, usize)>);

/// What is read of a probe.
#[derive(Deserialize)]
struct Probe {
    context: String,
    choices: Vec<String>,
    answer: usize,
    /// What stands behind the answer.
    #[serde(default)]
    behind: String,
}

impl Asked {
    /// Reads the files of probes that a key names, as `kpipe eval probes` and `kpipe ablate` write
    /// them.
    ///
    /// # Errors
    /// If one cannot be read, or a line is no probe; names the line.
    pub fn read(
        paths: &[String],
        concepts: Option<&dyn ConceptNames>,
        key: &'static str,
    ) -> Result<Self> {
        let mut asked = HashSet::new();
        for path in paths {
            let text = read_text(path.as_ref())?;
            for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
            {
                let probe: Option<Probe> = serde_json::from_str(line).ok();
                let probe = probe.filter(|probe| probe.answer < probe.choices.len());
                let probe = probe.ok_or_else(|| {
                    Error::data(format!("a line of `{key}` is no probe"))
                        .at(format!("{path}:{}", nth + 1))
                        .hint("`kpipe eval probes` writes files of them")
                })?;
                let Some(concepts) = concepts else { continue };
                let answers = concepts.mentions(&probe.choices[probe.answer]);
                let before = concepts.mentions(&probe.context);
                for about in before.into_iter().chain(concepts.mentions(&probe.behind)) {
                    asked.extend(answers.iter().map(|one| (about.concept, one.concept)));
                }
            }
        }
        Ok(Asked(asked))
    }

    /// Whether a probe asks for one of two concepts by the other.
    pub fn asks_pair(&self, a: usize, b: usize) -> bool {
        self.0.contains(&(a, b)) || self.0.contains(&(b, a))
    }

    /// Whether a probe asks for a concept of one text by a concept of the other.
    pub fn asks(&self, first: &str, second: &str, concepts: &dyn ConceptNames) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (first, second) = (concepts.mentions(first), concepts.mentions(second));
        first.iter().any(|a| second.iter().any(|b| self.asks_pair(a.concept, b.concept)))
    }
}
