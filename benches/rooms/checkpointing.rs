//! Gradient checkpointing: memory and time of one forward and backward pass, with all graphs kept
//! and with one state a block or one every four blocks kept (`train.checkpoint_every` 0, 1 and 4).
//!
//! BERT of 12 and of 24 blocks, 128 wide, 16 rows of 128 tokens, f32, dropout 0.1. Memory is the
//! peak of the resident memory above what stood before the pass (weights and inputs), in a process
//! of its own; it counts the gradients too.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use kpipe::train::kernels::{DropoutKey, Targets};
use kpipe::train::model::gradients;
use kpipe::train::model::{Engine, FAMILIES, Inputs, Needs, Parameters, Tokens};
use kpipe::train::run::plan;
use serde_json::{Value, json};

use crate::Result;
use crate::inputs::Inputs as Corpus;
use crate::measure::{line, numbers, reset_peak, status_mib, trainer};

const ROWS: usize = 16;
const LENGTH: usize = 128;
const VOCABULARY: usize = 1_024;
/// Passes of which the fastest counts.
const RUNS: usize = 6;
/// Names blocks and `checkpoint_every` in the process of one measurement.
const CHILD: &str = "KPIPE_BENCH_CHECKPOINTING";

/// Prints the peak and the time of each setting.
pub(crate) fn bench(corpus: &Corpus) -> Result<()> {
    if let Ok(setting) = std::env::var(CHILD) {
        return measure(&setting);
    }
    let measured = |layers: usize, every: usize| -> Result<(f64, f64)> {
        let (mut least, mut fastest) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..corpus.rounds {
            let [mib, seconds] =
                numbers(&mut trainer("checkpointing", CHILD, &format!("{layers} {every}"))?)?;
            (least, fastest) = (least.min(mib), fastest.min(seconds));
        }
        Ok((least, fastest))
    };

    let plain = [measured(12, 0)?, measured(24, 0)?];
    say!("all graphs kept: {:.0} MiB for 12 blocks, {:.0} MiB for 24", plain[0].0, plain[1].0);
    say!(
        "  `kpipe plan train` expects {:.0} and {:.0}",
        planned(corpus, 12, 0)?,
        planned(corpus, 24, 0)?
    );

    for every in [1, 4] {
        let kept = [measured(12, every)?, measured(24, every)?];
        let growth = 100.0 * (kept[1].0 / kept[0].0 - 1.0);
        let beside = format!(
            "24 blocks: {:.2} x the memory (goal 0.45), {:.2} x the time (goal 1.5); {growth:+.0} \
             % from 12 (goal +15)",
            kept[1].0 / plain[1].0,
            kept[1].1 / plain[1].1
        );
        let name = format!("checkpoint_every = {every}");
        line(&name, &format!("{:.0} -> {:.0} MiB", kept[0].0, kept[1].0), &beside);

        say!(
            "  `kpipe plan train` expects {:.0} and {:.0}",
            planned(corpus, 12, every)?,
            planned(corpus, 24, every)?
        );
    }

    Ok(())
}

fn config(layers: usize) -> Value {
    json!({
        "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 2, "intermediate_size": 512, "max_position_embeddings": LENGTH
    })
}

/// MiB of activations and of one set of gradients, as the plan has them.
fn planned(corpus: &Corpus, layers: usize, every: usize) -> Result<f64> {
    let mut params = corpus.pipeline.train.clone();
    (params.batch, params.max_tokens, params.checkpoint_every) = (ROWS, LENGTH, every);
    params.config = config(layers).as_object().cloned().unwrap_or_default();
    let memory = plan::memory(&params.described(VOCABULARY)?, &params)?;
    Ok((memory.activations + memory.weights) as f64 / f64::from(1 << 20))
}

fn measure(setting: &str) -> Result<()> {
    let (layers, every) = setting.split_once(' ').ok_or("two numbers")?;
    let every: usize = every.parse()?;
    let family = FAMILIES.iter().find(|family| family.name == "bert").ok_or("no such family")?;
    let model = (family.read)(&config(layers.parse()?), &|_| false)?;
    let parameters = Parameters::draw(&model.declare(), 1, DType::F32, &Device::Cpu)?;
    let token = |at: usize| (5 + at * 7919 % (VOCABULARY - 5)) as u32;
    let rows: Vec<Vec<u32>> =
        (0..ROWS).map(|row| (0..LENGTH).map(|at| token(row * LENGTH + at)).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let inputs: Inputs = Tokens::new(&rows, 0, DType::F32, &Device::Cpu)?.into();
    let places: Vec<u32> =
        (0..ROWS * LENGTH).filter(|at| at % 20 < 3).map(|at| at as u32).collect();
    let labels: Vec<u32> = places.iter().map(|at| token(*at as usize + 1)).collect();
    let places = Tensor::new(places, &Device::Cpu)?;
    reset_peak("self");
    let before = status_mib("self", "VmRSS").unwrap_or(0.0);
    let (mut least, mut peak) = (f64::INFINITY, 0.0);

    for run in 0..RUNS {
        let begun = Instant::now();
        let dropout = Some(DropoutKey { seed: 1, step: run as u64, microbatch: 0, term: "bench" });
        let engine = Engine::new(model.as_ref(), &parameters, every)?;
        let needs = Needs::default();
        let pass = engine.forward(&inputs, dropout, &needs)?;
        let hidden = pass.seen()?.last;
        let chosen = hidden.flatten_to(1)?.index_select(&places, 0)?;
        let head = model.head(&engine.pass(dropout), &chosen)?;
        let loss = head.cross_entropy_sum(&Targets::of(&labels), 1.0)?;
        let mut gradients = gradients::empty();
        pass.backward(&loss, &mut gradients)?;
        std::hint::black_box(&gradients);
        least = least.min(begun.elapsed().as_secs_f64());

        if run == 0 {
            peak = status_mib("self", "VmHWM").unwrap_or(0.0) - before;
        }
    }

    println!("{peak} {least}");
    Ok(())
}
