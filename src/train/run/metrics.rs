//! `metrics.jsonl`: one JSON object a step under the contract `metric`, and logs of lines that a
//! resume cuts back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::flow::contract::contract;
use crate::flow::dataset::write_atomically;
use crate::train::run::plan::bytes_told;

/// The log of a run, in its folder.
pub const METRICS: &str = "metrics.jsonl";

/// One line of `metrics.jsonl`; units and meanings stand in `schemas/metric.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Line")]
pub struct Metric {
    /// Optimiser steps done, from 1.
    pub step: u64,
    /// Total training loss of the step.
    pub train_loss: f64,
    /// Mean of each objective's term, by its name, before its weight; none of one that had nothing
    /// to teach.
    pub losses: BTreeMap<String, f64>,
    /// Loss on the validation split; none between evaluations.
    pub val_loss: Option<f64>,
    /// What strategies tell, by name, such as `ema_val_loss`.
    pub strategies: BTreeMap<String, f64>,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping; none on a step that overflowed in f16 and was skipped.
    pub grad_norm: Option<f64>,
    /// What the loss was multiplied with for its gradient; none where the precision is not f16.
    pub loss_scale: Option<f64>,
    /// Share of the documents that are domain text; none in lines of versions before 5.
    pub domain: Option<f64>,
    /// Share of the documents that are hard, likewise.
    pub hard: Option<f64>,
    /// Mean language loss of the documents of each source.
    pub sources: BTreeMap<String, f64>,
    /// The same of each difficulty bucket, by its number.
    pub buckets: BTreeMap<String, f64>,
    /// Share of the trained numbers that move; none in lines of versions before 6.
    pub moving: Option<f64>,
    /// Tokens read by the model, padding left out.
    pub tokens: u64,
    /// Share of the places computed that held padding.
    pub padding: f64,
    /// Tokens read by the model each second; this and `memory` may differ between two equal runs.
    pub tokens_per_s: f64,
    /// Memory of the process, in MiB; none where the system does not say.
    pub memory: Option<f64>,
    /// First position of the training order in this step.
    pub seq_first: u64,
    /// Last position of the training order in this step.
    pub seq_last: u64,
}

/// A line as it is read: until version 3 of the contract each term had a column of its own.
#[derive(Deserialize)]
struct Line {
    step: u64,
    train_loss: f64,
    #[serde(default)]
    losses: BTreeMap<String, f64>,
    val_loss: Option<f64>,
    #[serde(default)]
    strategies: BTreeMap<String, f64>,
    lr: f64,
    grad_norm: Option<f64>,
    loss_scale: Option<f64>,
    domain: Option<f64>,
    hard: Option<f64>,
    #[serde(default)]
    sources: BTreeMap<String, f64>,
    #[serde(default)]
    buckets: BTreeMap<String, f64>,
    moving: Option<f64>,
    tokens: u64,
    padding: f64,
    tokens_per_s: f64,
    memory: Option<f64>,
    seq_first: u64,
    seq_last: u64,
    mlm_loss: Option<f64>,
    clm_loss: Option<f64>,
    span_loss: Option<f64>,
    contrastive_loss: Option<f64>,
    ema_val_loss: Option<f64>,
}

impl From<Line> for Metric {
    fn from(line: Line) -> Self {
        let terms = [
            ("mlm", line.mlm_loss),
            ("clm", line.clm_loss),
            ("span", line.span_loss),
            ("contrastive", line.contrastive_loss),
        ];

        let (mut losses, mut strategies) = (line.losses, line.strategies);
        losses.extend(terms.into_iter().filter_map(|(name, loss)| Some((name.to_string(), loss?))));
        strategies.extend(line.ema_val_loss.map(|loss| ("ema_val_loss".to_string(), loss)));
        Metric {
            step: line.step,
            train_loss: line.train_loss,
            losses,
            val_loss: line.val_loss,
            strategies,
            lr: line.lr,
            grad_norm: line.grad_norm,
            loss_scale: line.loss_scale,
            domain: line.domain,
            hard: line.hard,
            sources: line.sources,
            buckets: line.buckets,
            moving: line.moving,
            tokens: line.tokens,
            padding: line.padding,
            tokens_per_s: line.tokens_per_s,
            memory: line.memory,
            seq_first: line.seq_first,
            seq_last: line.seq_last,
        }
    }
}

impl Metric {
    /// The line, checked against the contract `metric`: its names in order, and nothing null that
    /// may not be.
    ///
    /// # Errors
    /// Names the field that breaks the contract.
    pub fn line(&self) -> Result<String> {
        let value = serde_json::to_value(self)
            .map_err(|cause| Error::data(format!("a metric: {cause}")))?;
        let fields = &contract("metric")?.fields;
        let object = value.as_object().cloned().unwrap_or_default();

        if !object.keys().eq(fields.iter().map(|field| &field.name)) {
            let names: Vec<&String> = object.keys().collect();
            return Err(Error::data(format!(
                "contract `metric` is broken: its fields are not {names:?}"
            )));
        }

        for field in fields {
            if !field.nullable && object[&field.name].is_null() {
                let what = format!("`{}` of step {} is not a number", field.name, self.step);
                return Err(Error::new(Kind::Numbers, what));
            }
        }

        Ok(value.to_string())
    }
}

/// A file of JSON lines, one for each step from 1 on.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens a log to go on behind line `step`; what a killed run wrote behind it is cut off.
    ///
    /// # Errors
    /// If the file cannot be written, or does not hold the lines of the steps 1 to `step`.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let before = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(Error::file("read", path, cause)),
        };
        let kept: Vec<&str> = before.lines().take(step as usize).collect();
        let complete = kept.iter().zip(1..).all(|(line, step)| step_of(line) == Some(step));

        if kept.len() as u64 != step || !complete {
            return Err(Error::data(format!(
                "`{}` lacks lines of the first {step} \
                                            steps",
                path.display()
            ))
            .hint(
                "the checkpoint needs the log of the steps before it; begin anew in another \
                       `--out`",
            ));
        }

        let text: String = kept.iter().flat_map(|line| [*line, "\n"]).collect();
        write_atomically(path, text.as_bytes())?;
        let file = File::options()
            .append(true)
            .open(path)
            .map_err(|cause| Error::file("open", path, cause))?;
        Ok(Log { path: path.to_path_buf(), file })
    }

    /// Adds one line; it is in the file when this returns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, line: &str) -> Result<()> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|cause| Error::file("write", &self.path, cause))
    }
}

/// The last step that the log of a run tells of.
///
/// # Errors
/// If the folder holds no log of steps, or it ends with something else.
pub fn last_step(run: &Path) -> Result<u64> {
    let path = run.join(METRICS);
    let hint = "give the folder of a run of `kpipe train`";
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| Error::file("read", &path, cause).hint(hint))?;
    let last = text.lines().last().and_then(step_of);
    last.ok_or_else(|| Error::data("it tells of no step").at(path.display()).hint(hint))
}

/// Memory of this process, in MiB, as Linux tells it.
pub fn memory() -> Option<f64> {
    let bytes = bytes_told("/proc/self/status", "VmRSS:")?;
    Some(bytes as f64 / f64::from(1 << 20))
}

fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(step: u64) -> Metric {
        Metric {
            step,
            train_loss: 2.0,
            losses: [("mlm".to_string(), 2.0)].into(),
            val_loss: None,
            strategies: BTreeMap::new(),
            lr: 0.1,
            grad_norm: Some(1.0),
            loss_scale: None,
            domain: Some(0.5),
            hard: Some(0.25),
            sources: [("wiki".to_string(), 2.0)].into(),
            buckets: [("3".to_string(), 2.0)].into(),
            moving: Some(1.0),
            tokens: 100,
            padding: 0.25,
            tokens_per_s: 10.0,
            memory: Some(90.0),
            seq_first: 0,
            seq_last: 3,
        }
    }

    #[test]
    fn a_line_fulfils_the_contract() {
        assert!(metric(1).line().unwrap().starts_with("{\"step\":1,\"train_loss\":2.0"));
        let bad = Metric { train_loss: f64::NAN, ..metric(1) };
        assert!(bad.line().unwrap_err().what().contains("`train_loss` of step 1"));
    }

    /// A line of version 3.
    #[test]
    fn lines_of_earlier_runs_are_read() {
        let old = r#"{"step":1,"train_loss":2.0,"mlm_loss":2.0,"clm_loss":null,"span_loss":null,
            "contrastive_loss":null,"val_loss":null,"ema_val_loss":3.5,"lr":0.1,"grad_norm":1.0,"loss_scale":null,
            "tokens":100,"padding":0.25,"tokens_per_s":10.0,"seq_first":0,"seq_last":3}"#;
        let strategies = [("ema_val_loss".to_string(), 3.5)].into();
        let expected = Metric {
            strategies,
            domain: None,
            hard: None,
            sources: BTreeMap::new(),
            buckets: BTreeMap::new(),
            moving: None,
            memory: None,
            ..metric(1)
        };
        assert_eq!(serde_json::from_str::<Metric>(old).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Metric>(&expected.line().unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_resume_cuts_what_came_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = Log::open(&path, 0).unwrap();
        (1..=3).for_each(|step| log.write(&metric(step).line().unwrap()).unwrap());
        log.file.write_all(b"{\"step\":4,\"tra").unwrap();
        drop(log);
        let mut log = Log::open(&path, 2).unwrap();
        log.write(&metric(3).line().unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter_map(step_of).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(Log::open(&path, 5).err().unwrap().what().contains("first 5 steps"));
    }
}
