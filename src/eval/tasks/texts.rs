//! Held-out text: how many bits a byte of it takes, by source and by difficulty bucket.
//!
//! Read: the `validation` split of shards, or JSON lines with `text` (and `id`, `group`). Bits per
//! byte do not depend on the tokenizer, so models can be compared that cut text differently.

use std::path::Path;

use arrow::datatypes::UInt8Type;
use serde::Deserialize;
use serde_json::Value;

use super::{Item, Reads, Task, json_lines, text};
use crate::error::Result;
use crate::train::data::shards::Shards;

/// See the module.
pub static BITS: Task = Task {
    name: "bits",
    about: "held-out text: shards with a `validation` split, or JSON lines with `text`",
    version: 1,
    has_subjects: false,
    reads: Reads::Texts(|place| texts(place, "validation")),
};

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    group: String,
    text: String,
    /// When it was written, in ISO 8601.
    #[serde(default)]
    date: String,
}

/// The texts at a place, each the only choice of an item: of JSON lines, or of a split of shards
/// (`train` or `validation`), by source and bucket.
///
/// # Errors
/// If there are none, or a file cannot be read.
pub fn texts(place: &Path, split: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    visit(place, split, &mut |item| items.push(item))?;
    Ok(items)
}

/// Gives each of them to `take`, one after the other.
///
/// # Errors
/// As [`texts`].
pub fn visit(place: &Path, split: &str, take: &mut dyn FnMut(Item)) -> Result<()> {
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if place.is_file() && !name.ends_with(".parquet") {
        let records: Vec<(usize, Record)> =
            json_lines(&text(place)?).map_err(|error| error.at(place.display()))?;
        let item = |(line, record): (usize, Record)| {
            let id = match record.id {
                Value::String(id) => id,
                _ => line.to_string(),
            };
            item(id, record.group, &record.text, &record.date)
        };
        records.into_iter().filter_map(item).for_each(take);
        return Ok(());
    }

    let shards =
        Shards::of_split(place, split).map_err(|error| error.hint("or give JSON lines"))?;
    shards.texts(&["id", "text", "source", "bucket", "date"], |row| {
        let group =
            format!("{}, bucket {}", row.string("source")?, row.value::<UInt8Type>("bucket")?);
        let (id, text, date) = (row.string("id")?, row.string("text")?, row.string("date")?);
        let item = item(id.to_string(), group, text, date);
        item.into_iter().for_each(&mut *take);
        Ok(0)
    })?;
    Ok(())
}

/// None of an empty text: it has no bits.
fn item(id: String, group: String, text: &str, date: &str) -> Option<Item> {
    let (choices, year) = (vec![text.to_string()], year(date));
    (!text.trim().is_empty()).then(|| Item { id, group, choices, year, ..Item::default() })
}

/// An ISO 8601 date or time as years, as exact as it is: 2006, 2006-03, 2006-03-04.
fn year(date: &str) -> Option<f64> {
    let mut parts = date.split(['-', 'T', ' ']);
    let year: f64 = parts.next()?.parse().ok()?;
    let mut part = || parts.next().and_then(|part| part.parse::<f64>().ok()).unwrap_or(1.0);
    let (month, day) = (part(), part());
    Some(year + (month - 1.0) / 12.0 + (day - 1.0) / 365.25)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{grammar, shard_folder};

    #[test]
    fn dates_are_as_exact_as_they_are_told() {
        let found = ["2006", "2006-07", "2006-07-02T10:00:00Z", "", "May 2006"].map(year);
        assert_eq!(found[..2], [Some(2006.0), Some(2006.5)]);
        assert!(found[2].is_some_and(|year| year > 2006.5 && year < 2006.51));
        assert_eq!(found[3..], [None, None]);
    }

    #[test]
    fn shards_and_json_lines_are_read() {
        let held_out = grammar(9, 9);
        let folder = shard_folder(&grammar(9, 3), &held_out);
        let items = texts(folder.path(), "validation").unwrap();
        assert_eq!(items.len(), 9);
        assert_eq!(items[0].choices, [held_out[0].text.clone()]);
        assert_eq!(items[0].group, "toy, bucket 0");

        let place = folder.path().join("mine.jsonl");
        std::fs::write(
            &place,
            "{\"text\": \"a\"}\n{\"text\": \" \"}\n{\"id\": \"x\", \"text\": \"b\"}\n",
        )
        .unwrap();
        let ids: Vec<String> =
            texts(&place, "validation").unwrap().into_iter().map(|item| item.id).collect();
        assert_eq!(ids, ["1", "x"]);
        let without = shard_folder(&grammar(9, 3), &[]);
        assert!(
            texts(without.path(), "validation")
                .unwrap_err()
                .to_string()
                .contains("holds no `validation-")
        );
    }
}
