//! lexicon, shards, probes, a model → the knowledge ledger and the map of what is known
//!
//! For every concept of a lexicon: how often training text mentioned it, in which documents and
//! spellings, and whether the model knows what probes ask about it, before and after. Goes out as
//! `ledger.parquet` under the contract `ledger`, and as a page on which concepts can be sorted and
//! searched and stand in the lexicon's tree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, ListBuilder, StringArray, StringBuilder, UInt32Array, UInt64Array,
};
use serde::Serialize;
use serde_json::json;

use super::exposure::{self, Exposure, Seen, Wanted};
use super::known::{self, Unit};
use super::model::Model;
use super::tasks::json_lines;
use crate::error::{Error, Result};
use crate::flow::contract::contract;
use crate::flow::dataset::{BATCH_ROWS, PartWriter, write_atomically};
use crate::flow::progress::Progress;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::mentions::Finder;
use crate::knowledge::page::Page;
use crate::knowledge::{KNOWN, MET_OFTEN};
use crate::train::data::consumed::Consumed;
use crate::train::data::probes::Probe;

/// The ledger, in the output folder.
pub const LEDGER: &str = "ledger.parquet";
const PAGE: &str = "ledger.html";
/// Spellings that are told of a concept.
const SPELLINGS: usize = 8;

/// What a ledger is made of.
pub struct Job<'a> {
    /// Shards with what was trained on.
    pub shards: &'a Path,
    /// A run's folder, whose `consumed.jsonl` says what of the shards was read, and how often.
    pub run: Option<&'a Path>,
    /// Where it goes.
    pub out: &'a Path,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// What it comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Concepts of the lexicon.
    pub concepts: usize,
    /// Those that training text mentions.
    pub seen: usize,
    /// Those that are asked about.
    pub asked: usize,
    /// Of them, those of which at least half of the probes are answered rightly.
    pub known: usize,
    /// The same with the model before.
    pub known_before: Option<usize>,
    /// Concepts that were seen in at least ten documents and are not known: what the next build
    /// should teach.
    pub seen_and_unknown: usize,
}

/// A concept of the ledger.
struct Row<'a> {
    seen: &'a Seen,
    now: Option<Unit>,
    before: Option<Unit>,
}

/// Writes the ledger.
///
/// # Errors
/// If a shard cannot be read, a model cannot be asked, or a file cannot be written.
pub fn write(
    lexicon: &Lexicon,
    finder: &Finder,
    probes: &[Probe],
    model: &Model,
    before: Option<&Model>,
    job: &Job,
) -> Result<Summary> {
    std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
    job.progress.begin("ledger", None, "concepts");
    let read = job.run.map(times).transpose()?;
    let times = |seq: u64| match &read {
        Some(times) => times.get(seq as usize).copied().unwrap_or(0),
        None => 1,
    };
    let exposure = exposure::read(job.shards, lexicon, finder, &Wanted::default(), &times)?;
    job.progress.message("asking the model");
    let now = by_concept(model, probes)?;
    let then = before.map(|model| by_concept(model, probes)).transpose()?;

    let rows: Vec<Row> = lexicon
        .concepts
        .iter()
        .zip(&exposure.concepts)
        .map(|(concept, seen)| Row {
            seen,
            now: now.get(&concept.id).copied(),
            before: then.as_ref().and_then(|then| then.get(&concept.id).copied()),
        })
        .collect();
    write_rows(lexicon, &rows, &job.out.join(LEDGER))?;
    let summary = summary(&rows, before.is_some());
    let page = page(lexicon, &exposure, &rows, &summary)?;
    write_atomically(&job.out.join(PAGE), page.as_bytes())?;
    job.progress.end(&format!("{} of {} concepts seen", summary.seen, summary.concepts));
    Ok(summary)
}

/// How often a run read the document of each `seq`: once in each epoch that any window of it is of,
/// and once for each time that it was read again.
fn times(run: &Path) -> Result<Vec<u64>> {
    let path = run.join("consumed.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::file("read", &path, cause))?;
    let (mut times, mut last) = (Vec::<u64>::new(), None);
    let mut add = |seq: u64| {
        let seq = seq as usize;
        if times.len() <= seq {
            times.resize(seq + 1, 0);
        }
        times[seq] += 1;
    };
    let lines = json_lines::<Consumed>(&text).map_err(|error| error.at(path.display()))?;
    for (_, consumed) in lines {
        for range in &consumed.ranges {
            for seq in range.first..=range.last {
                // A document whose windows stand in two steps was read once.
                if last != Some((range.epoch, seq)) {
                    add(seq);
                }
                last = Some((range.epoch, seq));
            }
        }
        consumed.again.iter().for_each(|seq| add(*seq));
    }
    Ok(times)
}

/// What a model knows by the id of the concept that is asked about.
fn by_concept(model: &Model, probes: &[Probe]) -> Result<BTreeMap<String, Unit>> {
    let mut all: BTreeMap<String, Unit> = BTreeMap::new();
    for (about, unit) in known::ask(model, probes)?.into_values().flatten() {
        if about.is_empty() {
            continue;
        }
        let own = all.entry(about).or_default();
        *own = own.and(unit);
    }
    Ok(all)
}

fn is_known(unit: Option<Unit>) -> bool {
    unit.and_then(|unit| unit.right).is_some_and(|right| right >= KNOWN)
}

fn summary(rows: &[Row], has_before: bool) -> Summary {
    let n = |is: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count();
    Summary {
        concepts: rows.len(),
        seen: n(&|row| row.seen.documents > 0),
        asked: n(&|row| row.now.is_some()),
        known: n(&|row| is_known(row.now)),
        known_before: has_before.then(|| n(&|row| is_known(row.before))),
        seen_and_unknown: n(&|row| {
            row.seen.documents >= MET_OFTEN && row.now.is_some() && !is_known(row.now)
        }),
    }
}

/// As a table.
pub fn table(summary: &Summary) -> String {
    let Summary { concepts, seen, asked, known, known_before, seen_and_unknown } = summary;
    let before = known_before.map_or(String::new(), |n| format!(", {n} before"));
    format!(
        "concepts       {concepts}\nseen           {seen}\nasked about    {asked}\n\
         known          {known}{before}\n\
         unknown        {seen_and_unknown} that stand in {MET_OFTEN} documents or more\n"
    )
}

fn write_rows(lexicon: &Lexicon, rows: &[Row], place: &Path) -> Result<()> {
    let contract = contract("ledger")?;
    let mut writer = PartWriter::create(place, contract)?;
    for from in (0..rows.len()).step_by(BATCH_ROWS) {
        let numbers = from..rows.len().min(from + BATCH_ROWS);
        let concepts = || numbers.clone().map(|number| &lexicon.concepts[number]);
        let rows = || rows[numbers.clone()].iter();
        let strings = |of: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(numbers.clone().map(of)))
        };
        let units = |of: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef {
            Arc::new(rows().map(|row| of(row).map(|value| value as f32)).collect::<Float32Array>())
        };
        let parents = concepts().zip(numbers.clone()).map(|(_, number)| {
            let parents = lexicon.parents(number as u32).iter();
            parents.map(|parent| lexicon.concepts[*parent as usize].id.clone()).collect()
        });
        let columns: Vec<ArrayRef> = vec![
            strings(&|number| lexicon.concepts[number].id.clone()),
            strings(&|number| lexicon.concepts[number].name.clone()),
            strings(&|number| lexicon.concepts[number].kind.clone()),
            lists(parents),
            Arc::new(rows().map(|row| row.seen.documents).collect::<UInt64Array>()),
            Arc::new(rows().map(|row| row.seen.mentions).collect::<UInt64Array>()),
            lists(rows().map(|row| spellings(row.seen))),
            lists(rows().map(|row| row.seen.first.clone())),
            Arc::new(rows().map(|row| row.now.map_or(0, |unit| unit.n)).collect::<UInt32Array>()),
            units(&|row| row.now.and_then(|unit| unit.right)),
            units(&|row| row.now.map(|unit| unit.bits)),
            units(&|row| row.before.and_then(|unit| unit.right)),
            units(&|row| row.before.map(|unit| unit.bits)),
        ];
        writer.write(&contract.batch(columns)?)?;
    }
    writer.finish()?;
    Ok(())
}

/// The most frequent spellings first.
fn spellings(seen: &Seen) -> Vec<String> {
    let mut all: Vec<(&String, &u64)> = seen.spellings.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    all.into_iter().take(SPELLINGS).map(|(name, _)| name.clone()).collect()
}

fn lists(rows: impl Iterator<Item = Vec<String>>) -> ArrayRef {
    let field = arrow::datatypes::Field::new_list_field(arrow::datatypes::DataType::Utf8, false);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field);
    for row in rows {
        row.iter().for_each(|text| builder.values().append_value(text));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// The page: those that were asked about, then those that were seen most.
fn page(lexicon: &Lexicon, exposure: &Exposure, rows: &[Row], summary: &Summary) -> Result<String> {
    let mut shown: Vec<usize> = (0..rows.len())
        .filter(|number| rows[*number].seen.documents > 0 || rows[*number].now.is_some())
        .collect();
    shown.sort_by_key(|number| {
        let row = &rows[*number];
        (row.now.is_none(), std::cmp::Reverse(row.seen.mentions), *number)
    });
    let of = |number: usize| {
        let (concept, row) = (&lexicon.concepts[number], &rows[number]);
        let round = |value: f64| (value * 1e3).round() / 1e3;
        vec![
            json!(concept.id),
            json!(concept.name),
            json!(concept.kind),
            json!(row.seen.documents),
            json!(row.seen.mentions),
            json!(row.now.map_or(0, |unit| unit.n)),
            json!(row.now.and_then(|unit| unit.right).map(round)),
            json!(row.now.map(|unit| round(unit.bits))),
            json!(row.before.and_then(|unit| unit.right).map(round)),
            json!(spellings(row.seen).join(", ")),
            json!(row.seen.first.iter().take(3).cloned().collect::<Vec<String>>().join(", ")),
        ]
    };
    let told = format!(
        "{} documents were read, {} rows in all. Of {} concepts {} were seen, {} asked about, {} \
         known.",
        exposure.documents,
        exposure.rows,
        summary.concepts,
        summary.seen,
        summary.asked,
        summary.known
    );
    let shape = Page {
        title: "Knowledge ledger",
        told,
        tree: "Below each concept: how many were seen, how many asked about, and the share of those \
               that is known.",
        columns: &[
            "concept",
            "name",
            "kind",
            "documents",
            "mentions",
            "probes",
            "known",
            "bits",
            "known before",
            "spellings",
            "first in",
        ],
        searched: &[0, 1, 2, 9],
        numbers: 3..9,
        sorted: 4,
        branch: "known",
    };
    crate::knowledge::page::page(lexicon, shown, &shape, &of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_once_in_an_epoch_and_again_where_it_is_mined() {
        let folder = tempfile::tempdir().unwrap();
        let range = |epoch: u64, first: u64, last: u64, ends: bool| {
            format!(
                r#"{{"epoch":{epoch},"first":{first},"first_window":0,"last":{last},
                "last_window":0,"ends":{ends},"ids":"0"}}"#
            )
            .replace('\n', "")
        };
        let text = format!(
            "{{\"step\":1,\"ranges\":[{}]}}\n{{\"step\":2,\"ranges\":[{},{}],\"again\":[0]}}\n",
            range(0, 0, 2, false),
            range(0, 2, 3, true),
            range(1, 0, 0, true)
        );
        std::fs::write(folder.path().join("consumed.jsonl"), text).unwrap();
        assert_eq!(times(folder.path()).unwrap(), [3, 1, 1, 1]);
    }
}
