//! A training step with each of the methods that go beyond predicting tokens, beside the same
//! written in PyTorch: BERT and GPT-2 with 6 blocks, 384 wide, 2,048 tokens in rows of 128, as in
//! the bench `train`, whose plain step stands first.
//!
//! - mixed: masked and next-token prediction of the same rows, two passes;
//! - contrastive: 16 anchors with a positive and a hard negative each, 32 tokens long, SimCSE's
//!   loss beside the language's;
//! - distillation: what a frozen copy of the model predicts at temperature 2, beside the language;
//! - unfreezing: the first stage, in which the feed-forward layers of the upper two blocks move.
//!
//! Below them, what a panel of knowledge probes takes of the time of plain steps, as it is asked by
//! default.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use kpipe::train::Params;
use kpipe::train::ask::Ask;
use kpipe::train::data::probes::Probe;
use kpipe::train::data::rows::passages::Compared;
use kpipe::train::data::rows::{Label, RowKind, RowSet};
use kpipe::train::data::tokenizer::{Frame, Tokenizer};
use kpipe::train::kernels::{DropoutKey, Instructions, PIN};
use kpipe::train::model::gradients::{self, Gradients};
use kpipe::train::model::{
    Architecture, Engine, FAMILIES, Language, Needs, Parameters, Pass, Weights, show,
};
use kpipe::train::objective::{self, Active, Forward, Taught};
use kpipe::train::optimiser::{self, AdamW};
use kpipe::train::params::TokenizerKind;
use kpipe::train::strategy::{self, At, Layout};
use serde_json::Value;

use crate::Result;
use crate::inputs::Inputs as Corpus;
use crate::measure::{line, numbers, status_mib, trainer};
use crate::train::{config, token};

const ROWS: usize = 16;
const LENGTH: usize = 128;
/// Anchors of a step, and tokens of a passage.
const PASSAGES: (usize, usize) = (16, 32);
/// Runs that do not count, and runs of which the best counts.
const RUNS: (usize, usize) = (2, 6);
const FAMILY: &str = "KPIPE_BENCH_FAMILY";
const METHOD: &str = "KPIPE_BENCH_METHOD";
const PANEL: &str = "panel";

/// Each with what is asked of it beside PyTorch eager: the plain step of BERT and of GPT-2.
const METHODS: [(&str, [f64; 2]); 5] = [
    ("plain", [1.25, 1.15]),
    ("mixed", [1.0; 2]),
    ("contrastive", [1.0; 2]),
    ("distillation", [1.0; 2]),
    ("unfreezing", [1.0; 2]),
];

/// Prints tokens a second and peak memory of each method and of its peer.
pub(crate) fn bench(corpus: &Corpus) -> Result<()> {
    if let (Ok(family), Ok(method)) = (std::env::var(FAMILY), std::env::var(METHOD)) {
        return match method.as_str() {
            PANEL => ask(&family, corpus),
            _ => measure(&family, &method, &corpus.pipeline.train),
        };
    }
    let python = std::env::var_os("KPIPE_BENCH_PYTHON");
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();

    for (nth, family) in ["bert", "gpt2"].into_iter().enumerate() {
        say!("{family}, f32, {ROWS} x {LENGTH} tokens, {threads} threads");
        let mut plain = 0.0;
        for (method, goals) in METHODS {
            let (mut own, mut eager) = (NOTHING, NOTHING);
            for _ in 0..corpus.rounds {
                let mut command = trainer("methods", FAMILY, family)?;
                command.env(METHOD, method).env(PIN, Instructions::used().pin());
                own = better(own, numbers(&mut command)?);
                if let Some(python) = &python {
                    eager = better(eager, peer(python, family, method, &threads)?);
                }
            }
            let beside = match python {
                Some(_) => format!(
                    "torch eager {:.0}: kpipe {:.2} x, goal {:.2}; memory {:.0} MiB, {:.2} x",
                    eager[0],
                    own[0] / eager[0],
                    goals[nth],
                    own[1],
                    own[1] / eager[1]
                ),
                None => {
                    "torch: not measured, KPIPE_BENCH_PYTHON does not name a Python that has it"
                        .to_string()
                }
            };
            line(&format!("  {method}"), &format!("{:.0} tokens/s", own[0]), &beside);
            if method == "plain" {
                plain = own[0];
            }
        }
        tell_panel(family, plain, corpus)?;
    }
    Ok(())
}

/// Tells what asking the panel takes of the time, beside steps of so many tokens a second.
fn tell_panel(family: &str, plain: f64, corpus: &Corpus) -> Result<()> {
    let keys: Value = corpus.pipeline.train.strategy.parse("train.strategy", PANEL)?;
    let every = keys["every"].as_f64().ok_or("no `every`")?;
    let mut least = f64::INFINITY;
    for _ in 0..corpus.rounds {
        let mut command = trainer("methods", FAMILY, family)?;
        command.env(METHOD, PANEL).env(PIN, Instructions::used().pin());
        let [seconds, _]: Numbers = numbers(&mut command)?;
        least = least.min(seconds);
    }
    let steps = every * (ROWS * LENGTH) as f64 / plain;
    let share = 100.0 * least / (steps + least);
    let beside = format!("asked every {every} steps: {share:.2} % of the time, goal 2 %");
    line(&format!("  {PANEL}"), &format!("{least:.2} s"), &beside);
    Ok(())
}

/// Asks as many probes as a panel has by default, of the beginnings of texts, and prints the
/// seconds that it takes.
fn ask(name: &str, corpus: &Corpus) -> Result<()> {
    let family = FAMILIES.iter().find(|family| family.name == name).ok_or("no such family")?;
    let keys: Value = corpus.pipeline.train.strategy.parse("train.strategy", PANEL)?;
    let items = keys["items"].as_u64().ok_or("no `items`")?;
    let texts = corpus.texts()?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for word in texts.iter().flat_map(|(_, text)| text.split_whitespace()) {
        *counts.entry(word.to_string()).or_default() += 1;
    }
    let mut params = corpus.pipeline.train.tokenizer.clone();
    params.vocabulary = 4_000;
    params.kind = match family.language {
        Language::Masked => TokenizerKind::Wordpiece,
        _ => TokenizerKind::Bpe,
    };
    let tokenizer = Tokenizer::from_counts(&counts, family, &params)?;

    // As sentences with the name of a concept left out are.
    let probe = |(_, text): &(String, String)| {
        let words: Vec<&str> = text.split_whitespace().take(26).collect();
        let (context, rest) = words.split_at_checked(16)?;
        let (gold, behind) = rest.split_at_checked(2)?;
        Some(Probe {
            context: context.join(" "),
            choices: vec![gold.join(" ")],
            behind: format!(" {}", behind.join(" ")),
            ..Probe::default()
        })
    };
    let probes: Vec<Probe> = texts.iter().filter_map(probe).cycle().take(items as usize).collect();
    let model = (family.read)(&config(name, LENGTH)?, &|_| false)?;
    let weights = Parameters::draw(&model.declare(), 1, DType::F32, &Device::Cpu)?.detached();
    let asking = Ask {
        family,
        model: model.as_ref(),
        weights: &weights,
        tokenizer: &tokenizer,
        dtype: DType::F32,
        device: &Device::Cpu,
        batch_tokens: 4_096,
    };
    let mut least = f64::INFINITY;
    for _ in 0..RUNS.0 + 1 {
        let begun = Instant::now();
        asking.left_out(&probes)?;
        least = least.min(begun.elapsed().as_secs_f64());
    }
    println!("{least} {}", status_mib("self", "VmHWM").unwrap_or(0.0));
    Ok(())
}

/// Tokens a second, and peak memory in MiB.
type Numbers = [f64; 2];

const NOTHING: Numbers = [0.0, f64::INFINITY];

fn better(a: Numbers, b: Numbers) -> Numbers {
    [a[0].max(b[0]), a[1].min(b[1])]
}

fn peer(python: &OsStr, family: &str, method: &str, threads: &str) -> Result<Numbers> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/methods_peer.py");
    let mut command = Command::new(python);
    numbers(command.arg(script).args([family, threads, method]))
}

/// The settings of a method.
fn settings(method: &str, defaults: &Params) -> Params {
    let mut params = defaults.clone();
    params.max_tokens = LENGTH;
    params.mixed.on = method == "mixed";
    let contrastive = if method == "contrastive" { 0.1 } else { 0.0 };
    params.objective.set("contrastive", "weight", contrastive);
    if method == "distillation" {
        params.strategy.set("teacher", "on", true);
        params.objective.set("distill", "weight", 1.0);
    }
    if method == "unfreezing" {
        params.strategy.set("unfreeze", "on", true);
        // What moves at first does not depend on it; heads would have to be measured.
        params.strategy.set("unfreeze", "order", "layers");
    }
    params
}

fn measure(name: &str, method: &str, defaults: &Params) -> Result<()> {
    let family = FAMILIES.iter().find(|family| family.name == name).ok_or("no such family")?;
    let params = settings(method, defaults);
    let model = (family.read)(&config(name, LENGTH)?, &|_| false)?;
    let active = objective::chosen(&params, family.language)?.active;
    let mut declared = model.declare();
    for one in &active {
        declared.extend(one.objective.declare(model.as_ref(), None));
    }
    let parameters = Parameters::draw(&declared, 1, DType::F32, &Device::Cpu)?;
    let strategies = strategy::chosen(&params)?;
    let teaches = strategies.iter().any(|one| one.kind.name == "teacher");
    let copies = parameters
        .iter()
        .map(|(name, var)| Ok((name.to_string(), var.as_detached_tensor().copy()?)));
    let copies: BTreeMap<String, Tensor> = copies.collect::<Result<_>>()?;

    let step = Step {
        model: model.as_ref(),
        frame: frame(family.language),
        sets: sets(&active),
        active,
        teacher: teaches.then(|| Weights::new(copies)),
    };
    let layout = Layout { declared, steps: model.steps() };
    let moves = strategy::moves(&strategies, At { step: 1, total: 100_000 }, &layout)?;
    let mut adamw = AdamW::new(&params.optimiser);
    let mut least = f64::INFINITY;

    for nth in 0..RUNS.0 + RUNS.1 {
        let begun = Instant::now();
        let engine = Engine::moving(model.as_ref(), &parameters, 0, &moves)?;
        let mut found = step.gradients(&engine, nth as u64)?;
        moves.mask(&mut found)?;
        let scale = optimiser::clip(gradients::norm(&found)?, 1.0);
        adamw.step(&parameters, &found, &moves, 1e-4, scale)?;
        if nth >= RUNS.0 {
            least = least.min(begun.elapsed().as_secs_f64());
        }
    }
    let peak = status_mib("self", "VmHWM").unwrap_or(0.0);
    println!("{} {peak}", (ROWS * LENGTH) as f64 / least);
    Ok(())
}

/// What a step computes.
struct Step<'a> {
    model: &'a dyn Architecture,
    frame: Frame,
    sets: BTreeMap<RowKind, RowSet>,
    active: Vec<Active>,
    teacher: Option<Weights>,
}

impl Step<'_> {
    /// A pass for each kind of rows, which all objectives share that learn from them.
    fn gradients(&self, engine: &Engine, step: u64) -> Result<Gradients> {
        let mut sum = gradients::empty();
        for (kind, rows) in &self.sets {
            let key = Some(DropoutKey { seed: 1, step, microbatch: 0, term: "bench" });
            let forward = Forward {
                model: self.model,
                pass: engine.pass(key),
                frame: &self.frame,
                share: 1.0,
                rows: *kind,
                dtype: DType::F32,
                device: &Device::Cpu,
                told: None,
            };
            let inputs = forward.inputs(rows)?;
            let group: Vec<&Active> = self.active.iter().filter(|one| one.rows == *kind).collect();
            let needs = group.iter().map(|one| one.objective.needs(self.model));
            let needs = needs.fold(Needs::default(), Needs::and);
            let taught = match self.teacher.as_ref().filter(|_| needs.teacher.is_some()) {
                Some(weights) => {
                    let pass = Pass::new(weights, None);
                    let seen = show(self.model, &pass, &inputs, &Needs::default())?;
                    Some(Taught { model: self.model, pass, seen })
                }
                None => None,
            };

            let run = engine.forward(&inputs, key, &needs)?;
            let seen = run.seen()?;
            let mut total: Option<Tensor> = None;
            for one in group {
                let at = At { step: 1, total: 1 };
                let n = one.objective.count(rows).max(1) as f64;
                let share = one.weight(at, 1.0) / n;
                let cx = Forward { share, ..forward };
                let part = one.objective.sum(&cx, rows, &seen, taught.as_ref())?;
                let part = part.affine(share, 0.0)?;
                total = Some(match total {
                    Some(total) => (total + part)?,
                    None => part,
                });
            }
            if let Some(total) = total {
                run.backward(&total, &mut sum)?;
            }
        }
        Ok(sum)
    }
}

fn frame(language: Language) -> Frame {
    Frame {
        language,
        pad: 0,
        before: Vec::new(),
        behind: Vec::new(),
        end: None,
        mask: 4,
        sentinels: Vec::new(),
        decoder_start: 0,
    }
}

/// Rows of each kind that something learns from: BERT predicts 15 % of the tokens, GPT-2 all but
/// the first.
fn sets(active: &[Active]) -> BTreeMap<RowKind, RowSet> {
    let rows: Vec<Vec<u32>> =
        (0..ROWS).map(|row| (0..LENGTH).map(|at| token(row * LENGTH + at)).collect()).collect();
    let labels = |chosen: &dyn Fn(usize) -> bool, shift: usize| -> Vec<Label> {
        let places = (0..ROWS).flat_map(|row| (1..LENGTH).map(move |place| (row, place)));
        places
            .filter(|(_, place)| chosen(*place))
            .map(|(row, place)| Label { row, ..Label::new(place - shift, rows[row][place]) })
            .collect()
    };
    let of = |kind: RowKind| {
        let labels = match kind {
            RowKind::Causal => labels(&|_| true, 1),
            RowKind::MaskedNext => labels(&|place| place % 20 < 3, 1),
            _ => labels(&|place| place % 20 < 3, 0),
        };
        RowSet { rows: rows.iter().cloned().collect(), labels, ..RowSet::default() }
    };
    let set = |kind: RowKind| match kind {
        RowKind::Passages => RowSet { compared: compared(), ..RowSet::default() },
        kind => of(kind),
    };
    active.iter().map(|one| (one.rows, set(one.rows))).collect()
}

fn compared() -> Compared {
    let (n, length) = PASSAGES;
    let passages = |kind: usize| -> Vec<Vec<u32>> {
        let passage = |nth: usize| (0..length).map(move |at| token((kind * n + nth) * length + at));
        (0..n).map(|nth| passage(nth).collect()).collect()
    };
    Compared {
        anchors: passages(0),
        positives: passages(1),
        hard: passages(2),
        owners: (0..n).collect(),
    }
}
