//! Small inputs for the tests of the trainer: a toy grammar, shards of it, tiny models, and runs on
//! them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    ArrayRef, Float32Array, Float32Builder, ListArray, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructBuilder, UInt8Array, UInt32Array, UInt32Builder, UInt64Array,
    new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use candle_core::{DType, Device};
use serde_json::json;

use crate::draw;
use crate::flow::contract::contract;
use crate::flow::dataset::PartWriter;
use crate::flow::progress::Progress;
use crate::text::words::words;
use crate::train::data::batch::Batcher;
use crate::train::data::marks::PLAIN;
use crate::train::data::rows::RowKind;
use crate::train::data::stream::{Document, Rewrite};
use crate::train::data::tokenizer::Tokenizer;
use crate::train::model::bert::Bert;
use crate::train::model::hugging_face::Pretrained;
use crate::train::model::{Family, Language, Parameters};
use crate::train::run::checkpoint;
use crate::train::run::metrics::Metric;
use crate::train::{Job, Params, train};

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
    (params.model.hidden, params.model.layers, params.model.heads, params.model.feed_forward) =
        (16, 2, 2, 32);
    params.rows.set("passages", "anchors", 3);
    params.rows.set("passages", "tokens", 12);

    params
}

/// Rows that a model learns language from, and passages, drawn from the seed 1.
pub(crate) fn batcher<'a>(tokenizer: &'a Tokenizer, params: &'a Params) -> Batcher<'a> {
    let own = RowKind::of_language(tokenizer.frame.language);
    Batcher::new(tokenizer, &PLAIN, params, 1, &[own, RowKind::Passages].into()).unwrap()
}

/// An encoder small enough for central differences.
pub(crate) fn tiny_encoder() -> Bert {
    let mut params = default_params();
    let model = &mut params.model;
    (model.hidden, model.layers, model.heads, model.feed_forward) = (8, 2, 2, 12);
    params.max_tokens = 10;
    params.encoder(12)
}

/// A Hugging Face folder with a tiny model of the family, drawn anew, and a tokenizer of the toy
/// grammar's words with the special tokens and the post-processor of the family's own.
pub(crate) fn checkpoint_folder(family: &'static Family) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (special, single): (&[&str], &[&str]) = match family.name {
        "bert" => (&["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], &["[CLS]", "$A", "[SEP]"]),
        "gpt2" => (&["<|endoftext|>", "[UNK]"], &["$A"]),
        "llama" => (&["<unk>", "<s>", "</s>"], &["<s>", "$A"]),
        _ => (&["<pad>", "</s>", "<unk>"], &["$A", "</s>"]),
    };

    let sentinels: Vec<String> = (0..10).map(|nth| format!("<extra_id_{nth}>")).collect();
    let sentinels = sentinels.iter().filter(|_| family.language == Language::Spans);
    let words: std::collections::BTreeSet<String> = grammar(60, 1)
        .iter()
        .flat_map(|one| one.text.split(' ').map(str::to_string).collect::<Vec<_>>())
        .collect();
    let special = special.iter().map(|token| (*token).to_string());
    let special: Vec<String> = special.chain(sentinels.cloned()).collect();
    let vocabulary: BTreeMap<&String, usize> = special.iter().chain(&words).zip(0..).collect();
    let part = |token: &&str| match *token {
        "$A" => json!({"Sequence": {"id": "A", "type_id": 0}}),
        token => json!({"SpecialToken": {"id": token, "type_id": 0}}),
    };
    let ids = |token: &String| {
        (token.clone(), json!({"id": token, "ids": [vocabulary[token]], "tokens": [token]}))
    };
    let added = |token: &String| {
        json!({
            "id": vocabulary[token], "content": token, "single_word": false, "lstrip": false,
            "rstrip": false,
            "normalized": false, "special": true
        })
    };

    let unknown = special.iter().find(|token| token.to_lowercase().contains("unk"));
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": special.iter().map(added).collect::<Vec<_>>(),
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single.iter().map(part).collect::<Vec<_>>(),
            "pair": [],
            "special_tokens": special.iter().map(ids).collect::<serde_json::Map<_, _>>()
        },
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": unknown}
    });

    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let n = vocabulary.len() + 2;
    let config = match family.name {
        "bert" => json!({
            "vocab_size": n, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 32
        }),
        "gpt2" => json!({
            "vocab_size": n, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32,
                "eos_token_id": 0
        }),
        "llama" => json!({
            "vocab_size": n, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64,
                "eos_token_id": [2, 0]
        }),
        _ => json!({
            "vocab_size": n, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
            "feed_forward_proj": "gated-gelu", "pad_token_id": 0, "eos_token_id": 1,
                "decoder_start_token_id": 0
        }),
    };

    let mut config = config;
    config["model_type"] = family.name.into();
    let model = (family.read)(&config, &|_| false).unwrap();
    let pretrained = Pretrained { family, model, config, blocks: Vec::new() };
    let drawn = Parameters::draw(&pretrained.model.declare(), 5, DType::F32, &Device::Cpu).unwrap();
    pretrained.write(folder.path(), &drawn.detached(), None).unwrap();

    folder
}

/// Documents of a toy grammar in which words predict one another, with a paraphrase and a hard
/// negative in some.
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
        let rewrite =
            |text: String, paraphrase| Rewrite { anchor: anchor.clone(), text, paraphrase };
        let rewrites = match seq % 3 {
            0 => Vec::new(),
            1 => vec![
                rewrite(format!("indeed {anchor}"), true),
                rewrite(anchor.replace(" in ", " not in "), false),
            ],
            _ => vec![rewrite(anchor.replace("reduce", "raise"), false)],
        };

        Document {
            seq: seq as u64,
            id: format!("toy:{seq}"),
            text: sentences.join(" "),
            rewrites,
            line: String::new(),
            family: None,
        }
    };
    (0..n).map(document).collect()
}

/// A folder with `data/train-*` in two shards of small row groups, and one validation shard where
/// asked for.
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
    let tokens = |row: &Document| words(&row.text).count() as u32;
    contract("shard")
        .unwrap()
        .batch(vec![
            strings(rows.iter().map(|row| Some(row.id.clone())).collect()),
            strings(rows.iter().map(|row| Some(row.text.clone())).collect()),
            same(Some("toy")),
            // The toy grammar is general text, what tests write themselves is not.
            strings(rows.iter().map(|row| Some(role(row).to_string())).collect()),
            same(Some("en")),
            same(None),
            same(None),
            same(None),
            same(None),
            same(Some("toy.txt")),
            Arc::new(UInt64Array::from(vec![0; n])),
            same(None),
            Arc::new(Float32Array::from(vec![0.5; n])),
            Arc::new(Float32Array::from(vec![0.5; n])),
            Arc::new(UInt8Array::from(vec![0; n])),
            same(Some(if split == "train" { "mixed" } else { "validation" })),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.seq))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(tokens))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(chars))),
            strings(rows.iter().map(|row| row.family.map(|family| family.to_string())).collect()),
            same(None),
            no_items("edits", n),
            no_items("made_of", n),
            same(None),
            Arc::new(UInt32Array::from(vec![0; n])),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(exposures))),
            negatives(rows),
        ])
        .unwrap()
}

/// Lists without items, as the contract has them.
fn no_items(name: &str, n: usize) -> ArrayRef {
    let schema = &contract("shard").unwrap().schema;
    let field = schema.field_with_name(name).unwrap();
    let DataType::List(item) = field.data_type() else { panic!("{name} is no list") };
    let offsets = OffsetBuffer::from_lengths(vec![0; n]);
    Arc::new(ListArray::new(item.clone(), offsets, new_empty_array(item.data_type()), None))
}

fn exposures(row: &Document) -> u32 {
    if row.family.is_some() { 2 } else { 1 }
}

fn role(row: &Document) -> &'static str {
    if row.id.starts_with("toy:") { "general" } else { "domain" }
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

            for (place, text) in
                [rewrite.anchor.as_str(), &rewrite.text, kind, "toy"].into_iter().enumerate()
            {
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
    let columns = vec![
        text(),
        text(),
        text(),
        text(),
        Box::new(Float32Builder::new()) as _,
        Box::new(edits) as _,
    ];

    StructBuilder::new(fields.clone(), columns)
}

/// Panics when the given number of steps is done, as a kill would end the run.
struct Kill(AtomicU64);

impl Progress for Kill {
    fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
    fn expect(&self, _: u64) {}
    fn advance(&self, n: u64) {
        assert!(self.0.fetch_sub(n, Ordering::Relaxed) > n, "killed");
    }
    fn message(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn end(&self, _: &str) {}
}

/// A run on the CPU.
pub(crate) fn job<'a>(shards: &'a Path, out: &'a Path, progress: &'a dyn Progress) -> Job<'a> {
    Job { shards, out, seed: 17, device: &Device::Cpu, losses: false, progress }
}

/// The lines of a run's `metrics.jsonl`.
pub(crate) fn metrics(out: &Path) -> Vec<Metric> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of everything a run leaves, with `tokens_per_s` and `memory` taken out of the metrics.
pub(crate) fn outcome(out: &Path) -> Vec<Vec<u8>> {
    let read = |name: &str| std::fs::read(out.join(name)).unwrap();
    let steady = |metric| Metric { tokens_per_s: 0.0, memory: None, ..metric }.line().unwrap();
    let metrics: Vec<String> = metrics(out).into_iter().map(steady).collect();
    let checkpoint = checkpoint::latest(out).unwrap().unwrap();
    let mut all: Vec<Vec<u8>> =
        ["model.safetensors", "config.json", "tokenizer.json", "consumed.jsonl"]
            .into_iter()
            .map(read)
            .collect();
    let saved = ["model.safetensors", "optimiser.safetensors", "state.json"];
    all.extend(saved.into_iter().map(|name| std::fs::read(checkpoint.join(name)).unwrap()));
    all.push(metrics.join("\n").into_bytes());

    all
}

/// A run that is killed when so many more steps are done.
pub(crate) fn dies_after(steps: u64, shards: &Path, out: &Path, params: &Params) {
    let kill = Kill(AtomicU64::new(steps));
    let run = || train(&job(shards, out, &kill), params);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}
