//! Every key of `[train]` does what it is for: another value gives another model, or says what it
//! leaves as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::build::plan::Pipeline;
use crate::error::Result;
use crate::flow::progress::Silent;
use crate::flow::settings::{DEFAULT, Settings};
use crate::train::data::stream::Document;
use crate::train::fixture::{checkpoint_folder, grammar, job, metrics, shard_folder};
use crate::train::model::FAMILIES;
use crate::train::run::metrics::Metric;
use crate::train::{Params, train};

/// Another shape.
const BERT: &str = "config={model_type=\"bert\", hidden_size=16, num_hidden_layers=1, \
                    num_attention_heads=4, intermediate_size=32, max_position_embeddings=64}";

/// What another value of a key changes.
#[derive(Clone, Copy, PartialEq)]
enum Changes {
    /// What is learned.
    Model,
    /// What is told of it, or kept beside it.
    Beside,
    /// Nothing: only how it is computed, or how often it is saved.
    Nothing,
}

use Changes::{Beside, Model, Nothing};

/// A run of a second.
const BASE: &[&str] = &[
    "steps=6",
    "batch=4",
    "max_tokens=24",
    "eval_every=3",
    "eval_windows=8",
    "save_every=0",
    "deal=1",
    "tokenizer.vocabulary=300",
    "model.hidden=16",
    "model.feed_forward=32",
];
/// Passages that fit into its windows.
const PASSAGES: &[&str] = &["rows.passages.anchors=3", "rows.passages.tokens=12"];

const BPE: &[&str] = &["tokenizer.kind=bpe"];
const GPT2: &[&str] = &[
    "tokenizer.kind=bpe",
    "config={model_type=\"gpt2\", n_embd=16, n_layer=2, n_head=2, n_positions=64}",
];
const T5: &[&str] = &[
    "tokenizer.kind=bpe",
    "config={model_type=\"t5\", d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2}",
];
const TEACHER: &[&str] = &["strategy.teacher.on=true"];
const MOMENTUM: &[&str] = &["strategy.momentum.on=true", "objective.momentum.weight=1.0"];
const MIXED: &[&str] = &["mixed.on=true"];
const MINING: &[&str] = &[
    "strategy.mining.share=0.25",
    "strategy.mining.every=2",
    "strategy.mining.low=0.3",
    "strategy.mining.high=0.8",
    "steps=24",
    "batch=8",
];
const UNFREEZE: &[&str] = &["strategy.unfreeze.on=true", "strategy.unfreeze.first_steps=2"];
const LINE: &[&str] = &["source_line.share=1.0"];
const SELECTIVE: &[&str] = &["selective.keep=0.5"];
const AVERAGE: &[&str] = &["steps=12", "strategy.average.over=0.5"];

/// Every key below `train.` with another value, what has to be set for it, and what it changes.
const KEYS: &[(&str, &[&[&str]], Changes)] = &[
    ("init_layers=[1]", &[GOING_ON], Model),
    ("steps=7", &[], Model),
    ("batch=5", &[], Model),
    ("accumulate=2", &[], Model),
    ("max_tokens=12", &[], Model),
    ("long=truncate", &[&["max_tokens=12"]], Model),
    ("shuffle=8", &[], Model),
    ("deal=3", &[], Model),
    ("packing=true", &[&["max_tokens=64"]], Model),
    ("eval_every=2", &[], Beside),
    ("eval_windows=4", &[], Beside),
    ("save_every=2", &[], Nothing),
    ("keep=1", &[], Nothing),
    ("tensorboard=true", &[], Nothing),
    ("precision=f64", &[], Model),
    ("checkpoint_every=1", &[], Nothing),
    ("tokenizer.kind=bpe", &[], Model),
    ("tokenizer.vocabulary=320", &[BPE], Model),
    ("tokenizer.lowercase=false", &[], Model),
    ("tokenizer.sample_chars=1000", &[BPE], Model),
    ("tokenizer.min_frequency=900", &[BPE], Model),
    (BERT, &[], Model),
    ("model.hidden=32", &[], Model),
    ("model.layers=1", &[], Model),
    ("model.heads=1", &[], Model),
    ("model.feed_forward=16", &[], Model),
    ("model.dropout=0.0", &[], Model),
    ("model.norm=post", &[], Model),
    ("rows.masked.share=0.3", &[], Model),
    ("rows.masked.whole_word=false", &[BPE], Model),
    ("rows.masked.token=\"[UNK]\"", &[], Model),
    ("rows.masked.chinese=jieba", &[], Model),
    ("rows.masked.choose=informask", &[], Model),
    ("rows.masked.candidates=2", &[&["rows.masked.choose=informask"]], Model),
    ("rows.spans.share=0.3", &[T5], Model),
    ("rows.spans.length=2.0", &[T5], Model),
    ("rows.passages.paraphrase_as=negative", &[], Model),
    ("rows.passages.anchors=1", &[], Model),
    ("rows.passages.hard=0", &[], Model),
    ("rows.passages.tokens=9", &[], Model),
    ("pacing.order=competence", &[], Model),
    ("pacing.start=0.5", &[&["pacing.order=competence"]], Model),
    ("pacing.power=1.0", &[&["pacing.order=competence"]], Model),
    ("concepts.mask=0.9", &[], Model),
    ("concepts.mask=0.9", &[T5, &["tokenizer.vocabulary=500"]], Model),
    ("concepts.focus=0.9", &[], Model),
    ("concepts.weight=1.0", &[GPT2], Model),
    ("source_line.share=0.5", &[], Model),
    ("source_line.tokens=2", &[LINE, BPE], Model),
    ("source_line.fields=[\"source\"]", &[LINE, BPE, &["source_line.fields=[\"role\"]"]], Model),
    ("selective.keep=0.5", &[], Model),
    ("selective.start=0.0", &[SELECTIVE], Model),
    ("selective.end=0.6", &[SELECTIVE], Model),
    ("selective.interrupt=0", &[SELECTIVE], Model),
    ("mixed.on=true", &[], Model),
    ("mixed.alpha=0.25", &[MIXED], Model),
    ("mixed.how=sampled", &[MIXED], Model),
    ("objective.mlm.weight=2.0", &[], Model),
    ("objective.mlm.keep=0.5", &[TEACHER], Model),
    ("objective.clm.weight=2.0", &[GPT2], Model),
    ("objective.clm.keep=0.5", &[GPT2, TEACHER], Model),
    ("objective.span.weight=2.0", &[T5], Model),
    ("objective.span.keep=0.5", &[T5, TEACHER], Model),
    ("objective.prefix.weight=2.0", &[T5, MIXED], Model),
    ("objective.prefix.keep=0.5", &[T5, MIXED, TEACHER], Model),
    ("objective.momentum.weight=2.0", &[MOMENTUM], Model),
    ("objective.momentum.warmup=3", &[MOMENTUM], Model),
    ("objective.momentum.temperature=2.0", &[MOMENTUM], Model),
    ("objective.distill.weight=1.0", &[TEACHER], Model),
    ("objective.distill.begin=3", &[TEACHER, &["objective.distill.weight=1.0"]], Model),
    ("objective.distill.begin_share=0.5", &[TEACHER, &["objective.distill.weight=1.0"]], Model),
    ("objective.distill.temperature=4.0", &[TEACHER, &["objective.distill.weight=1.0"]], Model),
    ("objective.distill_cls.weight=1.0", &[TEACHER], Model),
    ("objective.distill_cls.begin=3", &[TEACHER, &["objective.distill_cls.weight=1.0"]], Model),
    (
        "objective.distill_cls.begin_share=0.5",
        &[TEACHER, &["objective.distill_cls.weight=1.0"]],
        Model,
    ),
    ("objective.distill_hidden.weight=1.0", &[TEACHER, BEGUN], Model),
    ("objective.distill_hidden.begin=3", &[TEACHER, HIDDEN, BEGUN], Model),
    ("objective.distill_hidden.begin_share=0.5", &[TEACHER, HIDDEN, BEGUN], Model),
    ("objective.distill_attention.weight=1.0", &[TEACHER, BEGUN], Model),
    ("objective.distill_attention.begin=3", &[TEACHER, ATTENTION, BEGUN], Model),
    ("objective.distill_attention.begin_share=0.5", &[TEACHER, ATTENTION, BEGUN], Model),
    ("objective.contrastive.weight=0.5", &[], Model),
    ("objective.contrastive.form=simclr", &[], Model),
    ("objective.contrastive.temperature=0.5", &[], Model),
    ("objective.contrastive.pooling=mean", &[], Model),
    ("objective.contrastive.hard_weight=1.0", &[], Model),
    ("objective.contrastive.gather=true", &[&["accumulate=2"]], Model),
    ("objective.contrastive.margin=1.0", &[], Model),
    // What is too near stays so for another bound: the loss is another, its gradient is not.
    ("objective.contrastive.margin_least=0.3", &[&["objective.contrastive.margin=1.0"]], Beside),
    (
        "objective.contrastive.margin_most=0.0",
        &[&["objective.contrastive.margin=1.0", "objective.contrastive.margin_least=0.0"]],
        Model,
    ),
    ("strategy.adapter.tokens=3", &[ADAPTER], Model),
    ("strategy.adapter.layers=1", &[ADAPTER], Model),
    ("strategy.ema.decay=0.9", &[], Beside),
    ("strategy.average.last=2", &[AVERAGE], Beside),
    ("strategy.average.over=1.0", &[AVERAGE], Beside),
    ("strategy.average.weights=linear", &[AVERAGE], Beside),
    ("strategy.momentum.decay=0.5", &[MOMENTUM], Model),
    ("strategy.momentum.schedule=byol", &[MOMENTUM], Model),
    ("strategy.unfreeze.on=true", &[&["strategy.unfreeze.first_steps=2"]], Model),
    ("strategy.unfreeze.first_steps=4", &[UNFREEZE], Model),
    ("strategy.unfreeze.first_share=0.7", &[UNFREEZE], Model),
    ("strategy.unfreeze.blocks=1", &[UNFREEZE], Model),
    ("strategy.unfreeze.order=layers", &[UNFREEZE], Model),
    ("strategy.unfreeze.heads=2", &[UNFREEZE, &["strategy.unfreeze.every=1"]], Model),
    ("strategy.unfreeze.every=2", &[UNFREEZE], Model),
    ("strategy.unfreeze.until=1.0", &[UNFREEZE, &["steps=12"]], Model),
    ("strategy.unfreeze.discriminative=2.6", &[UNFREEZE], Model),
    ("strategy.unfreeze.head=true", &[UNFREEZE], Model),
    ("strategy.mining.share=0.5", &[&["strategy.mining.every=2"]], Model),
    ("strategy.mining.every=3", &[MINING], Model),
    ("strategy.mining.low=0.1", &[MINING], Model),
    ("strategy.mining.high=0.95", &[MINING], Model),
    ("strategy.mining.decay=0.0", &[MINING], Model),
    ("strategy.mining.temperature=0.01", &[MINING], Model),
    ("strategy.mining.reuse=1", &[MINING], Model),
    ("strategy.mining.noise_weight=0.9", &[MINING], Model),
    ("strategy.attention_kl.every=2", &[], Beside),
    ("strategy.panel.every=2", &[PANEL], Beside),
    ("strategy.panel.items=1", &[PANEL], Beside),
    ("strategy.panel.forget_max=100.0", &[PANEL, &["steps=24", "optimiser.lr=1e-2"]], Beside),
    ("optimiser.kind=adamw_bert", &[], Model),
    ("optimiser.lr=1e-4", &[], Model),
    ("optimiser.beta1=0.5", &[], Model),
    ("optimiser.beta2=0.9", &[], Model),
    ("optimiser.eps=1e-3", &[], Model),
    ("optimiser.weight_decay=0.5", &[], Model),
    ("optimiser.clip=0.01", &[], Model),
    ("schedule.kind=linear", &[], Model),
    ("schedule.warmup=0.5", &[], Model),
    ("schedule.floor=0.0", &[&["schedule.decay=0.8"]], Model),
    ("schedule.decay=0.8", &[], Model),
];

const HIDDEN: &[&str] = &["objective.distill_hidden.weight=1.0"];
const ATTENTION: &[&str] = &["objective.distill_attention.weight=1.0"];
/// Terms that come late begin at once.
const BEGUN: &[&str] = &["objective.distill_hidden.begin=0", "objective.distill_attention.begin=0"];
/// A folder to begin with.
const GOING_ON: &[&str] = &["init=FOLDER"];
/// Needs a folder to begin with, which the test puts there.
const ADAPTER: &[&str] = &["strategy.adapter.on=true", "init=FOLDER", "max_tokens=32"];

/// Two, of which one must not be forgotten, as it is here: nothing teaches it.
const PROBES: &str = r#"
    {"id": "1", "kind": "concept", "context": "aspirin", "choices": ["lowers"], "answer": 0}
    {"id": "2", "kind": "control", "context": "fever", "choices": ["§"], "answer": 0}
"#;
/// Probes that the test writes.
const PANEL: &[&str] = &["strategy.panel.file=PROBES"];

/// Keys that name a file or turn something on that others here need; each has a test of its own.
const TESTED_ELSEWHERE: &[&str] = &[
    "init",
    "tokenizer.file",
    "strategy.adapter.on",
    "strategy.adapter.from",
    "strategy.momentum.on",
    "strategy.panel.file",
    "strategy.teacher.on",
    "strategy.teacher.from",
    "strategy.teacher.cache",
];

/// Keys that change a longer run, or one on other texts, without what they need here.
const LARGER: &[&str] =
    &["tokenizer.vocabulary", "rows.masked.whole_word", "strategy.average.last", "schedule.floor"];

/// The toy grammar with capitals, names of concepts and Chinese in it.
fn documents(n: usize, seed: u64) -> Vec<Document> {
    let mut documents = grammar(n, seed);
    for (idx, document) in documents.iter_mut().enumerate() {
        if idx % 2 == 0 {
            document.text = document.text.replace("aspirin", "Aspirin").replace("fever", "Fever");
        }
        if idx % 3 == 0 {
            document.text += " 高血压病人应当少吃盐 。";
        }
        for rewrite in document.rewrites.iter_mut().filter(|rewrite| !rewrite.paraphrase) {
            rewrite.text = rewrite.text.split(' ').rev().collect::<Vec<_>>().join(" ");
        }
    }
    documents
}

fn params(assignments: &[&str]) -> Result<Params> {
    let mut settings = Settings::new()?;
    // An adapter leaves no room for what compares passages.
    let passages = if assignments.contains(&ADAPTER[0]) { &[] } else { PASSAGES };
    for assignment in BASE.iter().chain(passages).chain(assignments) {
        settings.add_assignment(&format!("train.{assignment}"))?;
    }
    let mut params = Pipeline::new(&settings)?.train;
    params.given.clear();
    Ok(params)
}

/// The same, where a person gave the last of the assignments.
fn given(assignments: &[&str]) -> Result<Params> {
    let mut params = params(assignments)?;
    let (key, _) = assignments.last().and_then(|last| last.split_once('=')).unwrap();
    params.given.insert(format!("train.{key}"), "a test".to_string());
    Ok(params)
}

/// What a run learned, and all else that it tells.
#[derive(PartialEq)]
struct Outcome {
    model: Vec<u8>,
    beside: Vec<String>,
}

fn outcome(shards: &Path, params: &Params) -> Result<Outcome> {
    let out = tempfile::tempdir().unwrap();
    train(&job(shards, out.path(), &Silent), params)?;
    let read = |name: &str| std::fs::read(out.path().join(name)).ok();
    let model = read("model.safetensors").or_else(|| read("adapter.safetensors"));
    let steady = |metric| Metric { tokens_per_s: 0.0, memory: None, ..metric }.line().unwrap();
    let mut beside: Vec<String> = metrics(out.path()).into_iter().map(steady).collect();
    for folder in ["ema", "average", "panel"] {
        beside.push(format!("{:?}", read(&format!("{folder}/model.safetensors"))));
    }
    Ok(Outcome { model: model.unwrap(), beside })
}

#[test]
fn every_key_does_what_it_is_for() {
    let shards = shard_folder(&documents(40, 3), &documents(12, 9));
    let gpt2 = FAMILIES.iter().find(|family| family.name == "gpt2").unwrap();
    let init = checkpoint_folder(gpt2);
    let folder = format!("init={}", init.path().display());
    let probes = init.path().join("probes.jsonl");
    std::fs::write(&probes, PROBES).unwrap();
    let panel = format!("strategy.panel.file={}", probes.display());
    let mut plain: BTreeMap<Vec<&str>, Outcome> = BTreeMap::new();
    let mut wrong = Vec::new();

    for (other, with, changes) in KEYS {
        let with: Vec<&str> = with
            .concat()
            .into_iter()
            .map(|one| match one {
                "init=FOLDER" => folder.as_str(),
                "strategy.panel.file=PROBES" => panel.as_str(),
                other => other,
            })
            .collect();
        let before = plain
            .entry(with.clone())
            .or_insert_with(|| outcome(shards.path(), &params(&with).unwrap()).unwrap());
        let all = [with.as_slice(), &[*other]].concat();
        let after = given(&all)
            .and_then(|params| outcome(shards.path(), &params))
            .unwrap_or_else(|error| panic!("{all:?}: {error}"));
        let found = match (after.model == before.model, after.beside == before.beside) {
            (false, _) => Model,
            (true, false) => Beside,
            (true, true) => Nothing,
        };
        if found != *changes {
            wrong.push(format!("`train.{other}` with {with:?}"));
        }
    }
    assert!(wrong.is_empty(), "these do not change what they should: {wrong:#?}");
}

/// Without what a key needs, giving it is an error, or it does something nevertheless.
#[test]
fn a_key_without_effect_is_an_error() {
    let shards = shard_folder(&documents(40, 3), &documents(12, 9));
    let plain = outcome(shards.path(), &params(&[]).unwrap()).unwrap();
    let mut silent = Vec::new();

    for (other, _, _) in KEYS.iter().filter(|(_, with, _)| !with.is_empty()) {
        match given(&[*other]).and_then(|params| outcome(shards.path(), &params)) {
            Ok(after) if after != plain => {}
            Ok(_) if LARGER.iter().any(|key| other.starts_with(key)) => {}
            Ok(_) => silent.push(*other),
            Err(error) => assert!(error.to_string().contains("`train."), "{other}: {error}"),
        }
    }
    assert!(silent.is_empty(), "these are silently without effect: {silent:#?}");
}

#[test]
fn no_key_is_left_out() {
    fn walk(table: &toml::Table, path: &str, all: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                // `config` is a table of names that are not ours.
                toml::Value::Table(inner) if path != "config" => walk(inner, &path, all),
                _ => drop(all.insert(path)),
            }
        }
    }

    let defaults: toml::Table = toml::from_str(DEFAULT).unwrap();
    let mut all = BTreeSet::new();
    walk(defaults["train"].as_table().unwrap(), "", &mut all);
    let tried = KEYS.iter().filter_map(|(other, _, _)| other.split_once('=')).map(|(key, _)| key);
    let tried: BTreeSet<String> =
        tried.chain(TESTED_ELSEWHERE.iter().copied()).map(str::to_string).collect();
    let missing: Vec<&String> = all.difference(&tried).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
    let unknown: Vec<&String> = tried.difference(&all).collect();
    assert!(unknown.is_empty(), "no keys: {unknown:?}");
}
