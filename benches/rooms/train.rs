//! A full training step, beside PyTorch on the same shapes, batch, threads and vector instructions:
//! forward, backward, clipping, AdamW.
//!
//! Every family with 6 blocks (T5 with 6 in each stack), 384 wide, 2,048 tokens in rows of 128,
//! dropout 0.1 where the family has it. Both sides draw their own weights and tokens; what they
//! compute does not depend on them. BERT predicts 15 % of the tokens, GPT-2 and LLaMA all but the
//! first, and T5 decodes 32 for each row.
//!
//! Torch runs eagerly, and once compiled (`torch.compile`). Where the processor has AVX-512, f32
//! is measured again with AVX2 on both sides. Where it multiplies bf16, mixed precision is measured
//! beside `torch.autocast`. The widest instructions are measured with rows of 1,024 tokens as well,
//! of which attention is a larger share.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use kpipe::train::kernels::{self, DropoutKey, Instructions, PIN, Targets};
use kpipe::train::model::gradients;
use kpipe::train::model::moves::Moves;
use kpipe::train::model::{
    Architecture, Engine, FAMILIES, Inputs, Language, Needs, Parameters, Pass, Tokens, infer,
};
use kpipe::train::optimiser::{self, AdamW};
use serde_json::{Value, json};

use crate::Result;
use crate::inputs::Inputs as Corpus;
use crate::measure::{line, numbers, status_mib, trainer};

const TOKENS: usize = 2_048;
/// Tokens that T5 decodes for each row.
const DECODED: usize = 32;
const VOCABULARY: u32 = 4_096;
/// Runs that do not count, and runs of which the best counts.
const RUNS: (usize, usize) = (2, 8);
/// Names the family in the process of one measurement, so that its peak memory is its own.
const CHILD: &str = "KPIPE_BENCH_FAMILY";
/// Says how many tokens a row has.
const LENGTH: &str = "KPIPE_BENCH_LENGTH";
/// Names what the model computes in.
const PRECISION: &str = "KPIPE_BENCH_PRECISION";
/// Has the step run inside of the pool, where a profile sees all of it on one thread.
pub(crate) const WITHIN: &str = "KPIPE_BENCH_WITHIN";

/// With which instructions a step is measured, in which type, and with how many tokens a row.
pub(crate) struct Way {
    set: Instructions,
    dtype: DType,
    length: usize,
}

impl Way {
    /// Those that this processor has, the widest instructions for f32 first.
    pub(crate) fn here() -> Vec<Way> {
        let way = |set, dtype, length| Way { set, dtype, length };
        let sets = [Instructions::Avx512, Instructions::Avx2, Instructions::Neon];
        let here: Vec<Instructions> = sets.into_iter().filter(|set| set.is_here()).collect();

        let mut ways: Vec<Way> = here.iter().map(|set| way(*set, DType::F32, 128)).collect();
        if Instructions::Avx512Bf16.is_here() {
            ways.push(way(Instructions::Avx512Bf16, DType::BF16, 128));
        }
        ways.extend(here.first().map(|widest| way(*widest, DType::F32, 1_024)));
        ways
    }

    pub(crate) fn name(&self) -> String {
        let rows = TOKENS / self.length;
        format!("{}, {}, {rows} x {}", self.set.name(), self.dtype.as_str(), self.length)
    }

    /// The process that measures a family so.
    pub(crate) fn process(&self, family: &str) -> Result<Command> {
        let mut command = trainer("train", CHILD, family)?;
        command.env(PRECISION, self.dtype.as_str()).env(PIN, self.set.pin());
        command.env(LENGTH, self.length.to_string());
        Ok(command)
    }
}

/// Prints tokens a second of training and inference and the peak memory, for each family and its
/// peers.
pub(crate) fn bench(corpus: &Corpus) -> Result<()> {
    if let Ok(family) = std::env::var(CHILD) {
        return measure(&family, &corpus.pipeline.train.optimiser);
    }
    let python = std::env::var_os("KPIPE_BENCH_PYTHON");
    for (nth, way) in Way::here().iter().enumerate() {
        for family in FAMILIES {
            beside_torch(family.name, way, corpus.rounds, python.as_deref(), nth == 0)?;
        }
    }
    if python.is_none() {
        say!("  torch: not measured, KPIPE_BENCH_PYTHON does not name a Python that has it");
    }

    Ok(())
}

/// One family in one way, in turns with torch, and with torch compiled where that is asked for.
fn beside_torch(
    family: &str,
    way: &Way,
    rounds: usize,
    python: Option<&OsStr>,
    compiled: bool,
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    say!("{family}, {} tokens, {threads} threads", way.name());
    let torch = |how: &str| -> Result<Numbers> {
        let Some(python) = python else { return Ok(NOTHING) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/torch_peer.py");
        let mut command = Command::new(python);
        let length = way.length.to_string();
        command.arg(script).args([family, &threads, how, way.dtype.as_str(), &length]);
        // Each of its libraries has a name of its own for the same.
        if way.set == Instructions::Avx2 {
            command.env("ATEN_CPU_CAPABILITY", "avx2");
            command.env("ONEDNN_MAX_CPU_ISA", "AVX2");
            command.env("MKL_ENABLE_INSTRUCTIONS", "AVX2");
        }
        numbers(&mut command)
    };

    let (mut own, mut eager) = (NOTHING, NOTHING);
    for _ in 0..rounds {
        own = better(own, numbers(&mut way.process(family)?)?);
        eager = better(eager, torch("eager")?);
    }

    told("  kpipe", &own, None);
    if python.is_some() {
        told("  torch, eager", &eager, Some(&own));
        if compiled {
            told("  torch, compiled", &torch("compiled")?, Some(&own));
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

/// A line for one of the sides; `own` numbers are said as multiples of a peer's.
fn told(name: &str, [training, inference, peak]: &Numbers, own: Option<&Numbers>) {
    let beside = own.map_or(String::new(), |[t, i, p]| {
        format!(
            "; kpipe {:.2} x, inference {:.2} x, memory {:.2} x",
            t / training,
            i / inference,
            p / peak
        )
    });
    line(
        name,
        &format!("{training:.0} tokens/s"),
        &format!("inference {inference:.0}, peak {peak:.0} MiB{beside}"),
    );
}

pub(crate) fn config(family: &str, length: usize) -> Result<Value> {
    Ok(match family {
        "bert" => json!({
            "vocab_size": VOCABULARY, "hidden_size": 384, "num_hidden_layers": 6,
            "num_attention_heads": 6, "intermediate_size": 1536,
            "max_position_embeddings": length
        }),
        "gpt2" => json!({
            "vocab_size": VOCABULARY, "n_embd": 384, "n_layer": 6, "n_head": 6,
            "n_positions": length
        }),
        "llama" => json!({
            "vocab_size": VOCABULARY, "hidden_size": 384, "num_hidden_layers": 6,
            "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 1024,
            "max_position_embeddings": length
        }),
        "t5" => json!({
            "vocab_size": VOCABULARY, "d_model": 384, "d_kv": 64, "num_heads": 6, "d_ff": 1536,
            "num_layers": 6
        }),
        other => return Err(format!("the bench has no shape for `{other}`").into()),
    })
}

fn tokens(rows: usize, length: usize, dtype: DType) -> Result<Tokens> {
    let rows: Vec<Vec<u32>> =
        (0..rows).map(|row| (0..length).map(|at| token(row * length + at)).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    Ok(Tokens::new(&rows, 0, dtype, &Device::Cpu)?)
}

pub(crate) fn token(at: usize) -> u32 {
    5 + ((at as u32).wrapping_mul(2_654_435_761) >> 8) % (VOCABULARY - 5)
}

fn measure(name: &str, settings: &kpipe::train::params::Optimiser) -> Result<()> {
    let family = FAMILIES.iter().find(|family| family.name == name).ok_or("no such family")?;
    let length: usize = std::env::var(LENGTH)?.parse()?;
    let rows = TOKENS / length;
    let model = (family.read)(&config(name, length)?, &|_| false)?;
    let parameters = Parameters::draw(&model.declare(), 1, DType::F32, &Device::Cpu)?;

    let dtype: DType = std::env::var(PRECISION)?.parse()?;
    let decoder =
        (family.language == Language::Spans).then(|| tokens(rows, DECODED, dtype)).transpose()?;
    let seen = if decoder.is_some() { DECODED } else { length };
    let predicted = |at: &usize| match family.language {
        Language::Masked => at % 20 < 3,
        Language::Causal => at % seen < seen - 1,
        Language::Spans => true,
    };

    let places: Vec<u32> = (0..rows * seen).filter(predicted).map(|at| at as u32).collect();
    let batch = Batch {
        model: model.as_ref(),
        n_tokens: rows * (length + decoder.as_ref().map_or(0, |_| DECODED)),
        inputs: Inputs { tokens: tokens(rows, length, dtype)?, decoder },
        labels: places.iter().map(|at| token(*at as usize + 1)).collect(),
        places: Tensor::new(places, &Device::Cpu)?,
    };

    if std::env::var_os(WITHIN).is_some() {
        rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?;
    }
    let mut adamw = AdamW::new(settings);
    let mut step = 0;
    let training = batch.best(|| {
        step += 1;
        batch.train(&parameters, &mut adamw, step)
    })?;
    let inference = batch.best(|| batch.infer(&parameters))?;
    println!("{training} {inference} {}", status_mib("self", "VmHWM").unwrap_or(0.0));

    Ok(())
}

struct Batch<'a> {
    model: &'a dyn Architecture,
    n_tokens: usize,
    inputs: Inputs,
    places: Tensor,
    labels: Vec<u32>,
}

impl Batch<'_> {
    /// Tokens a second in the fastest run.
    fn best(&self, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut least = f64::INFINITY;
        for nth in 0..RUNS.0 + RUNS.1 {
            let begun = Instant::now();
            run()?;
            if nth >= RUNS.0 {
                least = least.min(begun.elapsed().as_secs_f64());
            }
        }
        Ok(self.n_tokens as f64 / least)
    }

    fn loss(&self, pass: &Pass, hidden: &Tensor) -> Result<Tensor> {
        let chosen = hidden.flatten_to(1)?.index_select(&self.places, 0)?;
        let share = 1.0 / self.labels.len() as f64;
        Ok(self
            .model
            .head(pass, &chosen)?
            .cross_entropy_sum(&Targets::of(&self.labels), share)?
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
