//! A full training step, beside PyTorch eager on the same shapes, batch and threads: forward,
//! backward, clipping, AdamW.
//!
//! BERT and GPT-2 with 6 blocks, 384 wide, 16 rows of 128 tokens, f32, dropout 0.1. Both sides draw
//! their own weights and tokens; what they compute does not depend on them. BERT predicts 15 % of
//! the tokens, GPT-2 all but the first.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use kpipe::train::kernels::{self, DropoutKey};
use kpipe::train::model::gradients;
use kpipe::train::model::moves::Moves;
use kpipe::train::model::{
    Architecture, Engine, FAMILIES, Inputs, Needs, Parameters, Pass, Tokens, infer,
};
use kpipe::train::optimiser::{self, AdamW};
use serde_json::{Value, json};

use crate::Result;
use crate::inputs::Inputs as Corpus;
use crate::measure::{line, numbers, status_mib, trainer};

const ROWS: usize = 16;
const LENGTH: usize = 128;
const VOCABULARY: u32 = 4_096;
/// Runs that do not count, and runs of which the best counts.
const RUNS: (usize, usize) = (2, 8);
/// Names the family in the process of one measurement, so that its peak memory is its own.
const CHILD: &str = "KPIPE_BENCH_FAMILY";

/// Prints tokens a second of training and inference and the peak memory, for each family and its
/// peer.
pub(crate) fn bench(corpus: &Corpus) -> Result<()> {
    if let Ok(family) = std::env::var(CHILD) {
        return measure(&family, &corpus.pipeline.train.optimiser);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let python = std::env::var_os("KPIPE_BENCH_PYTHON");

    for family in ["bert", "gpt2"] {
        say!("{family}, {threads} threads, {ROWS} x {LENGTH} tokens");
        let (mut own, mut peer) = (NOTHING, NOTHING);

        for _ in 0..corpus.rounds {
            own = better(own, numbers(&mut trainer("train", CHILD, family)?)?);
            if let Some(python) = &python {
                let mut command = Command::new(python);
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/torch_peer.py");
                peer = better(peer, numbers(command.arg(script).arg(family).arg(&threads))?);
            }
        }

        told("  kpipe", &own, python.as_ref().map(|_| &peer));
        match &python {
            Some(_) => told("  torch", &peer, None),
            None => {
                say!("  torch: not measured, KPIPE_BENCH_PYTHON does not name a Python that has it")
            }
        }
    }

    Ok(())
}

/// Training and inference in tokens a second, and peak memory in MiB.
type Numbers = [f64; 3];

const NOTHING: Numbers = [0.0, 0.0, f64::INFINITY];

fn better(a: Numbers, b: Numbers) -> Numbers {
    [a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2])]
}

fn told(name: &str, [training, inference, peak]: &Numbers, peer: Option<&Numbers>) {
    let beside = peer.map_or(String::new(), |[t, i, p]| {
        format!(
            "; {:.2} x torch, inference {:.2} x, memory {:.2} x",
            training / t,
            inference / i,
            peak / p
        )
    });
    line(
        name,
        &format!("{training:.0} tokens/s"),
        &format!("inference {inference:.0}, peak {peak:.0} MiB{beside}"),
    );
}

fn config(family: &str) -> Value {
    match family {
        "bert" => json!({
            "vocab_size": VOCABULARY, "hidden_size": 384, "num_hidden_layers": 6,
            "num_attention_heads": 6,
            "intermediate_size": 1536, "max_position_embeddings": LENGTH
        }),
        _ => json!({
            "vocab_size": VOCABULARY, "n_embd": 384, "n_layer": 6, "n_head": 6,
                "n_positions": LENGTH
        }),
    }
}

fn measure(name: &str, settings: &kpipe::train::params::Optimiser) -> Result<()> {
    let family = FAMILIES.iter().find(|family| family.name == name).ok_or("no such family")?;
    let model = (family.read)(&config(name), &|_| false)?;
    let parameters = Parameters::draw(&model.declare(), 1, DType::F32, &Device::Cpu)?;
    let token = |at: usize| 5 + ((at as u32).wrapping_mul(2_654_435_761) >> 8) % (VOCABULARY - 5);
    let rows: Vec<Vec<u32>> =
        (0..ROWS).map(|row| (0..LENGTH).map(|at| token(row * LENGTH + at)).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let inputs: Inputs = Tokens::new(&rows, 0, DType::F32, &Device::Cpu)?.into();
    let predicted =
        |at: &usize| if name == "bert" { at % 20 < 3 } else { at % LENGTH < LENGTH - 1 };
    let places: Vec<u32> = (0..ROWS * LENGTH).filter(predicted).map(|at| at as u32).collect();
    let labels: Vec<u32> = places.iter().map(|at| token(*at as usize + 1)).collect();
    let batch =
        Batch { model: model.as_ref(), inputs, places: Tensor::new(places, &Device::Cpu)?, labels };
    let mut adamw = AdamW::new(settings);
    let mut step = 0;
    let training = best(|| {
        step += 1;
        batch.train(&parameters, &mut adamw, step)
    })?;
    let inference = best(|| batch.infer(&parameters))?;
    println!("{training} {inference} {}", status_mib("self", "VmHWM").unwrap_or(0.0));

    Ok(())
}

/// Tokens a second in the fastest run.
fn best(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for nth in 0..RUNS.0 + RUNS.1 {
        let begun = Instant::now();
        run()?;
        if nth >= RUNS.0 {
            least = least.min(begun.elapsed().as_secs_f64());
        }
    }
    Ok((ROWS * LENGTH) as f64 / least)
}

struct Batch<'a> {
    model: &'a dyn Architecture,
    inputs: Inputs,
    places: Tensor,
    labels: Vec<u32>,
}

impl Batch<'_> {
    fn loss(&self, pass: &Pass, hidden: &Tensor) -> Result<Tensor> {
        let chosen = hidden.flatten_to(1)?.index_select(&self.places, 0)?;
        let share = 1.0 / self.labels.len() as f64;
        Ok(self
            .model
            .head(pass, &chosen)?
            .cross_entropy_sum(&self.labels, share)?
            .affine(share, 0.0)?)
    }

    fn train(&self, parameters: &Parameters, adamw: &mut AdamW, step: u64) -> Result<()> {
        let dropout = Some(DropoutKey { seed: 1, step, microbatch: 0, term: "bench" });
        let engine = Engine::new(self.model, parameters, 0)?;
        let needs = Needs::default();
        let run = engine.forward(&self.inputs, dropout, &needs)?;
        let loss = self.loss(&engine.pass(dropout), &run.seen()?.last)?;
        let mut gradients = gradients::empty();
        run.backward(&loss, &mut gradients)?;
        let scale = optimiser::clip(gradients::norm(&gradients)?, 1.0);

        Ok(adamw.step(parameters, &gradients, &Moves::all(), 1e-4, scale)?)
    }

    fn infer(&self, parameters: &Parameters) -> Result<()> {
        let weights = parameters.detached();
        let pass = Pass::new(&weights, None);
        let hidden = infer(self.model, &pass, &self.inputs)?;
        std::hint::black_box(kernels::number(&self.loss(&pass, &hidden)?)?);
        Ok(())
    }
}
