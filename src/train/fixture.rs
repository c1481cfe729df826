//! Small inputs for the tests of the trainer: a toy grammar, shards of it, a tiny encoder.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float32Builder, ListBuilder, RecordBatch, StringArray, StringBuilder, StructBuilder,
    UInt8Array, UInt32Array, UInt32Builder, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Fields};

use crate::draw;
use crate::flow::contract::contract;
use crate::flow::dataset::PartWriter;
use crate::train::Params;
use crate::train::model::Config;
use crate::train::params::{Norm, Pooling};
use crate::train::stream::{Document, Rewrite};

/// The parameters of `pipelines/default.toml`.
pub(crate) fn default_params() -> Params {
    #[derive(serde::Deserialize)]
    struct File {
        train: Params,
    }
    toml::from_str::<File>(include_str!("../../pipelines/default.toml")).unwrap().train
}

/// Parameters of a run that takes a second.
pub(crate) fn tiny_params() -> Params {
    let mut params = default_params();
    (params.steps, params.batch, params.accumulate, params.max_tokens) = (20, 4, 2, 24);
    (params.eval_every, params.eval_windows, params.save_every, params.keep) = (5, 16, 4, 2);
    params.tokenizer.vocabulary = 300;
    (params.model.hidden, params.model.layers, params.model.heads, params.model.feed_forward) = (16, 2, 2, 32);
    (params.objective.anchors, params.objective.passage_tokens) = (3, 12);
    params
}

/// An encoder small enough for central differences.
pub(crate) fn tiny_config() -> Config {
    Config {
        vocabulary: 12,
        hidden: 8,
        layers: 2,
        heads: 2,
        feed_forward: 12,
        max_tokens: 10,
        dropout: 0.1,
        norm: Norm::Pre,
        pooling: Pooling::Mean,
    }
}

/// Documents of a toy grammar in which words predict one another, with a paraphrase and a hard negative in some.
pub(crate) fn grammar(n: usize, seed: u64) -> Vec<Document> {
    const CHAINS: [[&str; 5]; 4] = [
        ["aspirin", "lowers", "fever", "in", "children"],
        ["insulin", "controls", "sugar", "after", "meals"],
        ["statins", "reduce", "cholesterol", "among", "adults"],
        ["oxygen", "helps", "breathing", "during", "asthma"],
    ];
    let document = |seq: usize| {
        let mut rng = draw::stream(seed, "grammar", &seq.to_le_bytes());
        let sentences: Vec<String> = (0..3 + draw::next_below(&mut rng, 4))
            .map(|_| format!("{} .", CHAINS[draw::next_below(&mut rng, CHAINS.len())].join(" ")))
            .collect();
        let anchor = sentences[0].clone();
        let rewrite = |text: String, paraphrase| Rewrite { anchor: anchor.clone(), text, paraphrase };
        let rewrites = match seq % 3 {
            0 => Vec::new(),
            1 => vec![rewrite(format!("indeed {anchor}"), true), rewrite(anchor.replace(" in ", " not in "), false)],
            _ => vec![rewrite(anchor.replace("reduce", "raise"), false)],
        };
        Document { seq: seq as u64, id: format!("toy:{seq}"), text: sentences.join(" "), rewrites }
    };
    (0..n).map(document).collect()
}

/// A folder with `data/train-*` in two shards of small row groups, and one validation shard where asked for.
pub(crate) fn shard_folder(train: &[Document], validation: &[Document]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let (first, second) = train.split_at(train.len() / 2);
    write_shard(&data.join("train-00000-of-00002.parquet"), first, "train");
    write_shard(&data.join("train-00001-of-00002.parquet"), second, "train");
    if !validation.is_empty() {
        write_shard(&data.join("validation-00000-of-00001.parquet"), validation, "validation");
    }
    folder
}

/// Writes one shard in row groups of 7.
pub(crate) fn write_shard(path: &Path, documents: &[Document], split: &str) {
    let mut writer = PartWriter::create(path, contract("shard").unwrap()).unwrap();
    documents.chunks(7).for_each(|rows| writer.write(&batch(rows, split)).unwrap());
    writer.finish().unwrap();
}

fn batch(rows: &[Document], split: &str) -> RecordBatch {
    let n = rows.len();
    let strings = |values: Vec<Option<String>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let same = |value: Option<&str>| strings(vec![value.map(str::to_string); n]);
    let chars = |row: &Document| row.text.chars().count() as u32;
    contract("shard")
        .unwrap()
        .batch(vec![
            strings(rows.iter().map(|row| Some(row.id.clone())).collect()),
            strings(rows.iter().map(|row| Some(row.text.clone())).collect()),
            same(Some("toy")),
            same(Some("general")),
            same(Some("en")),
            same(None),
            same(None),
            same(None),
            same(None),
            same(Some("toy.txt")),
            Arc::new(UInt64Array::from(vec![0; n])),
            Arc::new(Float32Array::from(vec![0.5; n])),
            Arc::new(Float32Array::from(vec![0.5; n])),
            Arc::new(UInt8Array::from(vec![0; n])),
            same(Some(if split == "train" { "mixed" } else { "validation" })),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.seq))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(chars))),
            negatives(rows),
        ])
        .unwrap()
}

fn negatives(rows: &[Document]) -> ArrayRef {
    let schema = &contract("shard").unwrap().schema;
    let list = schema.field_with_name("negatives").unwrap();
    let DataType::List(item) = list.data_type() else { panic!("negatives is no list") };
    let DataType::Struct(fields) = item.data_type() else { panic!("negatives holds no structs") };
    let mut builder = ListBuilder::new(rewrite_builder(fields)).with_field(item.clone());
    for row in rows {
        for rewrite in &row.rewrites {
            let values = builder.values();
            let kind = if rewrite.paraphrase { "paraphrase" } else { "hard" };
            for (place, text) in [rewrite.anchor.as_str(), &rewrite.text, kind, "toy"].into_iter().enumerate() {
                values.field_builder::<StringBuilder>(place).unwrap().append_value(text);
            }
            values.field_builder::<Float32Builder>(4).unwrap().append_value(0.9);
            values.field_builder::<ListBuilder<StructBuilder>>(5).unwrap().append(true);
            values.append(true);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn rewrite_builder(fields: &Fields) -> StructBuilder {
    let text = || Box::new(StringBuilder::new()) as Box<dyn arrow::array::ArrayBuilder>;
    let DataType::List(edit) = fields[5].data_type() else { panic!("edits is no list") };
    let DataType::Struct(edit_fields) = edit.data_type() else { panic!("edits holds no structs") };
    let number = || Box::new(UInt32Builder::new()) as Box<dyn arrow::array::ArrayBuilder>;
    let edits = StructBuilder::new(edit_fields.clone(), vec![number(), number(), text()]);
    let edits = ListBuilder::new(edits).with_field(Arc::<Field>::clone(edit));
    let columns = vec![text(), text(), text(), text(), Box::new(Float32Builder::new()) as _, Box::new(edits) as _];
    StructBuilder::new(fields.clone(), columns)
}
