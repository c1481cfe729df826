//! Knowledge probes: sentences in which something is left out, as JSON lines.
//!
//! `kpipe eval probes` makes them of held-out documents, `kpipe ablate` of facts; one's own have
//! `context`, `choices` and `answer` at least. The task `probes` asks a finished model, the
//! strategy `panel` one that is being trained.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The kind of probes of general text: what must not be forgotten.
pub const CONTROL: &str = "control";

/// A sentence in which something is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Names it within its file.
    pub id: String,
    /// What kind it is, such as `concept`, `pair` or `control`.
    pub kind: String,
    /// The sentence up to what is left out, without the space before it.
    pub context: String,
    /// What may stand there.
    pub choices: Vec<String>,
    /// The number of what does, from 0.
    pub answer: usize,
    /// The rest of the sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub behind: String,
    /// Whether no space stands before it, as in Chinese.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// Id of the concept, or of the thing, that it asks about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What the concept is, such as `disease`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub concept_kind: String,
    /// The document it was taken from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub document: String,
    /// The difficulty bucket of that document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<u8>,
    /// Training documents that tell of it, where they are few: what a model knows is followed from
    /// one to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told_in: Vec<String>,
    /// Documents of the training text that mention the concept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
}

impl Probe {
    /// An answer as it follows on the context.
    pub fn continuation(&self, choice: &str) -> String {
        format!("{}{choice}{}", space(self.joined), self.behind)
    }

    /// The whole sentence, rightly filled in.
    pub fn statement(&self) -> String {
        format!("{}{}", self.context, self.continuation(&self.choices[self.answer]))
    }
}

/// What stands between a question and its answer: nothing where words are joined, as in Chinese.
pub fn space(is_joined: bool) -> &'static str {
    if is_joined { "" } else { " " }
}

/// The probes of a text of JSON lines.
///
/// # Errors
/// If a line is no probe, or its answer is none of its choices.
pub fn parse(text: &str) -> Result<Vec<Probe>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let probe = |(number, line): (usize, &str)| {
        let probe: Probe = serde_json::from_str(line)
            .map_err(|cause| Error::data(format!("line {number}: {cause}")))?;
        if probe.answer >= probe.choices.len() {
            let (answer, n) = (probe.answer, probe.choices.len());
            let what = format!("line {number}: `answer` is {answer}, and there are {n} choices");
            return Err(Error::data(what).hint("answers are counted from 0"));
        }
        Ok(probe)
    };
    lines.map(probe).collect()
}

/// The probes of a file.
///
/// # Errors
/// As [`parse`]; or if it cannot be read or holds none.
pub fn read(path: &Path) -> Result<Vec<Probe>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
    let probes = parse(&text).map_err(|error| error.at(path.display()))?;
    match probes.is_empty() {
        true => Err(Error::data(format!("`{}` holds no probe", path.display()))
            .hint("`kpipe eval probes` makes them of held-out documents")),
        false => Ok(probes),
    }
}

/// Probes as JSON lines.
///
/// # Errors
/// If one cannot be written.
pub fn lines(probes: &[Probe]) -> Result<String> {
    let line = |probe: &Probe| {
        let text = serde_json::to_string(probe)
            .map_err(|cause| Error::data(format!("a probe cannot be written: {cause}")))?;
        Ok(text + "\n")
    };
    probes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_go_out_as_they_come_in() {
        let probe = Probe {
            id: "1".into(),
            kind: "concept".into(),
            context: "Scurvy is cured by".into(),
            choices: vec!["iron".into(), "vitamin C".into()],
            answer: 1,
            behind: ".".into(),
            ..Probe::default()
        };
        assert_eq!(probe.statement(), "Scurvy is cured by vitamin C.");
        let text = lines(std::slice::from_ref(&probe)).unwrap();
        assert_eq!(parse(&text).unwrap(), [probe]);
        for (text, what) in [
            (text.replace("\"answer\":1", "\"answer\":2"), "there are 2 choices"),
            (text.replace("\"answer\"", "\"anser\""), "line 1"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
