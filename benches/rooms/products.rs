//! Matrix products of the shapes that a training step is made of, as a share of what this machine
//! does at most, beside torch (oneDNN or MKL) and numpy (OpenBLAS).
//!
//! 16 rows of 128 tokens through a model 384 wide: the layers forward, the gradients by inputs and
//! by weights, the vocabulary, one head of attention, and few rows. In bf16 too, where the
//! processor multiplies such numbers.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use kpipe::train::kernels::{Instructions, Speed, matmul};

use crate::Result;
use crate::inputs::Inputs as Corpus;
use crate::measure::{line, numbers};

/// A product by what it is for: rows, columns, depth, and whether either side stands transposed.
struct Shape {
    name: &'static str,
    rows: usize,
    columns: usize,
    depth: usize,
    turned: [bool; 2],
}

/// A product, for the table below.
const fn shape(name: &'static str, size: [usize; 3], turned: [bool; 2]) -> Shape {
    let [rows, columns, depth] = size;
    Shape { name, rows, columns, depth, turned }
}

/// As BERT has its weights.
const BY_OUTPUTS: [bool; 2] = [false, true];
/// As GPT-2 has them.
const BY_INPUTS: [bool; 2] = [false, false];
/// The gradient by a weight sums over rows.
const OVER_ROWS: [bool; 2] = [true, false];

static SHAPES: &[Shape] = &[
    shape("attention, forward", [2048, 384, 384], BY_OUTPUTS),
    shape("wider, forward", [2048, 1536, 384], BY_OUTPUTS),
    shape("narrower, forward", [2048, 384, 1536], BY_OUTPUTS),
    shape("GPT-2's attention, forward", [2048, 1152, 384], BY_INPUTS),
    shape("wider, gradient by inputs", [2048, 384, 1536], BY_INPUTS),
    shape("narrower, gradient by inputs", [2048, 1536, 384], BY_INPUTS),
    shape("attention, by weights", [384, 384, 2048], OVER_ROWS),
    shape("wider, by weights", [1536, 384, 2048], OVER_ROWS),
    shape("vocabulary, forward", [307, 4096, 384], BY_OUTPUTS),
    shape("a head's scores", [128, 128, 64], BY_OUTPUTS),
    shape("a head's mixture", [128, 64, 128], BY_INPUTS),
    shape("16 rows", [16, 1536, 384], BY_OUTPUTS),
    shape("square", [1024, 1024, 1024], BY_INPUTS),
];

/// Operations that one measurement takes at least.
const OPERATIONS: f64 = 4e8;
/// Measurements, of which the best counts.
const RUNS: usize = 10;

/// Prints the speed of each shape with one thread and with all, in each type.
pub(crate) fn bench(corpus: &Corpus) -> Result<()> {
    let python = std::env::var_os("KPIPE_BENCH_PYTHON");
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let used = Instructions::used();
    say!("instructions: {}", used.name());

    let halves = used.multiplies_bf16().then_some(DType::BF16);
    for dtype in [DType::F32].into_iter().chain(halves) {
        for threads in [1, all] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let speed = pool.install(Speed::measure);
            let peak =
                speed.peak.ok_or("without vector instructions there is nothing to compare")?;
            let most = format!("at most {:.0} GFLOP/s in f32", peak / 1e9);
            say!("{}, {threads} threads, {most}", dtype.as_str());

            for shape in SHAPES {
                let (mut own, mut peers) = (0.0_f64, [0.0_f64; 2]);
                for _ in 0..corpus.rounds {
                    own = own.max(pool.install(|| measure(shape, dtype))?);
                    if let Some(python) = &python {
                        let found = shape.peers(python, threads, dtype)?;
                        peers = [peers[0].max(found[0]), peers[1].max(found[1])];
                    }
                }

                let share = format!("{:.0} % of that", 100.0 * own / peak);
                let beside = ["torch", "numpy"].iter().zip(peers).filter(|(_, peer)| *peer > 0.0);
                let beside = beside.map(|(name, peer)| format!("; {:.2} x {name}", own / peer));
                line(
                    &format!("  {}", shape.name),
                    &format!("{:.0} GFLOP/s", own / 1e9),
                    &format!("{share}{}", beside.collect::<String>()),
                );
            }
        }
    }

    if python.is_none() {
        say!("  torch, numpy: not measured, KPIPE_BENCH_PYTHON does not name a Python");
    }
    Ok(())
}

impl Shape {
    fn operations(&self) -> f64 {
        2.0 * (self.rows * self.columns * self.depth) as f64
    }

    fn repeats(&self) -> usize {
        (OPERATIONS / self.operations()).ceil() as usize
    }

    /// Operations a second of torch and of numpy, 0 where they cannot.
    fn peers(&self, python: &OsStr, threads: usize, dtype: DType) -> Result<[f64; 2]> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/products_peer.py");
        let sizes = [threads, self.rows, self.columns, self.depth, self.repeats(), RUNS];
        let turned = self.turned.map(usize::from);
        let mut command = Command::new(python);
        command.arg(script).arg(dtype.as_str());
        numbers(command.args(sizes.iter().chain(&turned).map(usize::to_string)))
    }
}

/// Operations a second in the fastest run.
fn measure(shape: &Shape, dtype: DType) -> Result<f64> {
    let matrix = |rows: usize, columns: usize, is_turned: bool| -> Result<Tensor> {
        let numbers: Vec<f32> = (0..rows * columns).map(|at| (at % 1013) as f32 / 1e3).collect();
        let device = &Device::Cpu;
        Ok(match is_turned {
            true => Tensor::from_vec(numbers, (columns, rows), device)?.to_dtype(dtype)?.t()?,
            false => Tensor::from_vec(numbers, (rows, columns), device)?.to_dtype(dtype)?,
        })
    };

    let left = matrix(shape.rows, shape.depth, shape.turned[0])?;
    let right = matrix(shape.depth, shape.columns, shape.turned[1])?;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let begun = Instant::now();
        for _ in 0..shape.repeats() {
            std::hint::black_box(matmul(&left, &right)?);
        }
        least = least.min(begun.elapsed().as_secs_f64());
    }

    Ok(shape.operations() * shape.repeats() as f64 / least)
}
