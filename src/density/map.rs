//! The knowledge map of a build: of every concept the documents that mention it, by source.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ListArray, ListBuilder, StringArray, StringBuilder, StructArray, UInt32Array,
    UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use serde_json::json;

use super::score::Scores;
use super::spilled;
use crate::error::{Error, Result};
use crate::flow::contract::{contract, strings};
use crate::flow::dataset::{BATCH_ROWS, Dataset, PartWriter, write_atomically, write_json};
use crate::flow::room::{Context, Span};
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::map::{Branches, Summary, branches};
use crate::knowledge::page::{Page, page};

/// Documents and mentions.
type Counts = [u64; 2];

/// What the documents of each source mention: by concept, only of those that some do.
type BySource = BTreeMap<u32, BTreeMap<u16, Counts>>;

/// Writes `map.parquet`, `map.html` and `map.json` into the room's folder; nothing without a
/// lexicon.
///
/// # Errors
/// If a part cannot be read, or a file cannot be written.
pub(super) fn write(
    input: &Dataset,
    model: &Scores,
    lexicon: &Lexicon,
    cx: &Context<'_>,
) -> Result<()> {
    if lexicon.concepts.is_empty() {
        return Ok(());
    }
    cx.progress.message("knowledge map");
    let (sources, seen) = count(input, model, cx)?;
    let all = branches(lexicon, &|concept| seen.contains_key(&concept));
    rows(lexicon, &sources, &seen, &all, cx)?;
    let of_source = |(number, name): (usize, &String)| {
        let is_of = |counts: &&BTreeMap<u16, Counts>| counts.contains_key(&(number as u16));
        (name.clone(), seen.values().filter(is_of).count() as u64)
    };
    let summary = Summary {
        concepts: lexicon.concepts.len() as u64,
        seen: seen.len() as u64,
        sources: sources.iter().enumerate().map(of_source).collect(),
        branches: all.largest(lexicon),
    };
    let html = html(lexicon, &sources, &seen, &all, &summary)?;
    write_atomically(&cx.folder.join("map.html"), html.as_bytes())?;
    write_json(&cx.folder.join("map.json"), &summary)
}

/// What each source mentions, with the names of the sources in the order in which they were met.
fn count(input: &Dataset, model: &Scores, cx: &Context<'_>) -> Result<(Vec<String>, BySource)> {
    let (mut sources, mut seen): (Vec<String>, BySource) = Default::default();
    let kernel = |batch: &arrow::array::RecordBatch, span: Span| {
        let names = strings(batch, "source")?;
        let spilled = spilled(model, span)?;
        let mut own: BTreeMap<String, BTreeMap<u32, Counts>> = BTreeMap::new();
        for (at, row) in super::spill::rows(&spilled)?.iter().enumerate() {
            let own = own.entry(names.value(at).to_string()).or_default();
            for (concept, n) in row.concepts.iter().zip(row.freqs) {
                let counts = own.entry(*concept).or_default();
                *counts = [counts[0] + 1, counts[1] + u64::from(*n)];
            }
        }
        Ok(own)
    };
    cx.fold(input, Some(&["source"]), kernel, |own| {
        for (name, concepts) in own {
            let known = sources.iter().position(|other| *other == name);
            let number = known.unwrap_or_else(|| {
                sources.push(name);
                sources.len() - 1
            });
            for (concept, [documents, mentions]) in concepts {
                let counts = seen.entry(concept).or_default().entry(number as u16).or_default();
                *counts = [counts[0] + documents, counts[1] + mentions];
            }
        }
        Ok(())
    })?;
    Ok((sources, seen))
}

/// A concept's documents and mentions in all sources.
fn total(seen: &BySource, concept: u32) -> Counts {
    let all = seen.get(&concept).into_iter().flat_map(BTreeMap::values);
    all.fold([0, 0], |sum, own| [sum[0] + own[0], sum[1] + own[1]])
}

fn rows(
    lexicon: &Lexicon,
    sources: &[String],
    seen: &BySource,
    all: &Branches,
    cx: &Context<'_>,
) -> Result<()> {
    let leaves = contract("map")?;
    let mut writer = PartWriter::create(&cx.folder.join("map.parquet"), leaves)?;
    let n = lexicon.concepts.len();
    for from in (0..n).step_by(BATCH_ROWS) {
        let numbers = from..n.min(from + BATCH_ROWS);
        let texts = |of: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(numbers.clone().map(of)))
        };
        let counts =
            |of: &[u32]| -> ArrayRef { Arc::new(UInt32Array::from(of[numbers.clone()].to_vec())) };
        let totals = |which: usize| -> ArrayRef {
            let of = |number: usize| total(seen, number as u32)[which];
            Arc::new(UInt64Array::from_iter_values(numbers.clone().map(of)))
        };
        let mut parents = ListBuilder::new(StringBuilder::new())
            .with_field(Field::new_list_field(DataType::Utf8, false));
        for number in numbers.clone() {
            for parent in lexicon.parents(number as u32) {
                parents.values().append_value(&lexicon.concepts[*parent as usize].id);
            }
            parents.append(true);
        }

        writer.write(&leaves.batch(vec![
            texts(&|number| lexicon.concepts[number].id.clone()),
            texts(&|number| lexicon.concepts[number].name.clone()),
            texts(&|number| lexicon.concepts[number].kind.clone()),
            Arc::new(parents.finish()),
            counts(&all.depth),
            totals(0),
            totals(1),
            by_source(numbers.clone(), sources, seen, leaves.schema.field_with_name("sources")?)?,
            counts(&all.below),
            counts(&all.seen),
        ])?)?;
    }
    writer.finish()?;
    Ok(())
}

fn by_source(
    numbers: std::ops::Range<usize>,
    sources: &[String],
    seen: &BySource,
    field: &Field,
) -> Result<ArrayRef> {
    let broken = || Error::data("contract `map` is broken: `sources` is no list of structs");
    let DataType::List(item) = field.data_type() else { return Err(broken()) };
    let DataType::Struct(parts) = item.data_type() else { return Err(broken()) };
    let of = |number: usize| seen.get(&(number as u32)).into_iter().flatten();
    let all = || numbers.clone().flat_map(of);
    let names: StringArray =
        all().map(|(source, _)| Some(sources[usize::from(*source)].as_str())).collect();
    let counts = |which: usize| -> ArrayRef {
        Arc::new(all().map(|(_, counts)| counts[which]).collect::<UInt64Array>())
    };
    let columns: Vec<ArrayRef> = vec![Arc::new(names), counts(0), counts(1)];
    let lengths = numbers.clone().map(|number| of(number).count());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let structs = StructArray::try_new(parts.clone(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(structs), None)?))
}

fn html(
    lexicon: &Lexicon,
    sources: &[String],
    seen: &BySource,
    all: &Branches,
    summary: &Summary,
) -> Result<String> {
    let mut shown: Vec<usize> = (0..lexicon.concepts.len()).collect();
    // What is missing stands behind, the largest branches first.
    shown.sort_by_key(|number| {
        let [_, mentions] = total(seen, *number as u32);
        (std::cmp::Reverse(mentions), std::cmp::Reverse(all.below[*number]), *number)
    });
    let row = |number: usize| {
        let concept = &lexicon.concepts[number];
        let [documents, mentions] = total(seen, number as u32);
        let own: Vec<String> = seen
            .get(&(number as u32))
            .into_iter()
            .flatten()
            .map(|(source, [documents, _])| {
                format!("{} {documents}", sources[usize::from(*source)])
            })
            .collect();
        vec![
            json!(concept.id),
            json!(concept.name),
            json!(concept.kind),
            json!(documents),
            json!(mentions),
            json!(all.depth[number]),
            json!(all.below[number]),
            json!(all.seen[number]),
            json!(own.join(", ")),
        ]
    };
    let shape = Page {
        title: "Knowledge map",
        told: format!(
            "Of {} concepts {} are mentioned by some document.",
            summary.concepts, summary.seen
        ),
        tree: "Below each concept: how many are mentioned, and how many there are.",
        columns: &[
            "concept",
            "name",
            "kind",
            "documents",
            "mentions",
            "level",
            "below",
            "below, mentioned",
            "by source, in documents",
        ],
        searched: &[0, 1, 2, 8],
        numbers: 3..8,
        sorted: 4,
        branch: "seen",
    };
    page(lexicon, shown, &shape, &row)
}
