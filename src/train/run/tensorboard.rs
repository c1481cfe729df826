//! `metrics.jsonl` as TensorBoard's event files, in the folder `tensorboard` of a run.
//!
//! A file is a series of records: length, checksum of the length, an `Event` as a protocol buffer,
//! checksum of that (`tensorflow/tensorflow:tensorflow/core/lib/io/record_writer.cc`,
//! `event.proto`, `summary.proto`). Its times are those of training: a run that goes on is told in
//! one piece.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;
use crate::train::run::metrics::Metric;

/// One file for a run, whose name TensorBoard knows by its beginning.
const FILE: &str = "events.out.tfevents.0000000000.kpipe";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file to go on with.
pub struct Events {
    path: PathBuf,
    file: File,
    /// When the run would have begun, had it been one piece that ends now, in seconds since 1970.
    begun: f64,
    /// Seconds of its steps.
    trained: f64,
}

impl Events {
    /// Writes the events of the steps that are done, whose lines are `metrics`, and opens the file
    /// for those to come.
    ///
    /// # Errors
    /// If a line is damaged or the file cannot be written.
    pub fn open(out: &Path, metrics: &Path) -> Result<Self> {
        let folder = out.join("tensorboard");
        std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(metrics)
            .map_err(|cause| Error::file("read", metrics, cause))?;
        let done = text.lines().map(serde_json::from_str::<Metric>);
        let done = done
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|cause| Error::data(format!("`{}` is damaged: {cause}", metrics.display())))?;

        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        let begun = now - done.iter().map(seconds).sum::<f64>();
        let mut bytes = record(&Event {
            wall_time: begun,
            step: 0,
            file_version: Some("brain.Event:2".to_string()),
            summary: None,
        });
        let mut trained = 0.0;
        for metric in &done {
            trained += seconds(metric);
            bytes.extend(record(&event(metric, begun + trained)));
        }

        write_atomically(&path, &bytes)?;
        let file = File::options().append(true).open(&path);
        let file = file.map_err(|cause| Error::file("open", &path, cause))?;
        Ok(Events { path, file, begun, trained })
    }

    /// Adds a step.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, metric: &Metric) -> Result<()> {
        self.trained += seconds(metric);
        let record = record(&event(metric, self.begun + self.trained));
        self.file.write_all(&record).map_err(|cause| Error::file("write", &self.path, cause))
    }
}

/// How long a step took.
fn seconds(metric: &Metric) -> f64 {
    metric.tokens as f64 / metric.tokens_per_s.max(1e-9)
}

fn event(metric: &Metric, wall_time: f64) -> Event {
    let one = |tag: &str, value: Option<f64>| {
        let simple_value = value.map(|value| value as f32);
        simple_value.is_some().then(|| Value { tag: tag.to_string(), simple_value })
    };
    let mut value: Vec<Value> = [
        ("loss/training", Some(metric.train_loss)),
        ("loss/held_out", metric.val_loss),
        ("rate", Some(metric.lr)),
        ("grad_norm", metric.grad_norm),
        ("loss_scale", metric.loss_scale),
        ("curriculum/domain", metric.domain),
        ("curriculum/hard", metric.hard),
        ("moving", metric.moving),
        ("speed/tokens_per_s", Some(metric.tokens_per_s)),
        ("speed/memory_mib", metric.memory),
    ]
    .into_iter()
    .filter_map(|(tag, number)| one(tag, number))
    .collect();

    let groups = [
        ("terms", &metric.losses),
        ("sources", &metric.sources),
        ("buckets", &metric.buckets),
        ("strategies", &metric.strategies),
    ];
    for (group, numbers) in groups {
        let named = numbers.iter().map(|(name, number)| (format!("{group}/{name}"), *number));
        value.extend(named.filter_map(|(tag, number)| one(&tag, Some(number))));
    }
    let summary = Some(Summary { value });
    Event { wall_time, step: metric.step as i64, file_version: None, summary }
}

/// An event as it stands in the file.
fn record(event: &Event) -> Vec<u8> {
    let bytes = event.encode_to_vec();
    let length = (bytes.len() as u64).to_le_bytes();
    [length.as_slice(), &checksum(&length).to_le_bytes(), &bytes, &checksum(&bytes).to_le_bytes()]
        .concat()
}

/// CRC-32C, turned and shifted so that a checksum of checksums is no trivial one.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: `tensorboard.summary.writer.record_writer.RecordWriter.write(b"kpipe")`.
    #[test]
    fn checksums_are_those_of_tensorboard() {
        assert_eq!(checksum(&5_u64.to_le_bytes()), 0x3e04_b2ea);
        assert_eq!(checksum(b"kpipe"), 0x7b71_2da6);
    }
}
