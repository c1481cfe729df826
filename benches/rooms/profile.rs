//! Where the time of a training step goes, for each family, set of instructions and type, in the
//! shapes of `rooms -- train`.
//!
//! `perf` samples the thread that runs the step and takes part in every loop, so that its samples
//! are shares of the wall time, its waiting for the other threads included. Each sample counts for
//! the outermost function that the table below knows. Where there is no `perf`, nothing is
//! measured.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use kpipe::train::model::FAMILIES;

use crate::Result;
use crate::inputs::Inputs;
use crate::measure::line;
use crate::train::{WITHIN, Way};

/// Samples a second.
const RATE: &str = "199";
/// Bytes of the stack that go with a sample: the kernels of products keep blocks on theirs.
const STACK: &str = "dwarf,65528";

/// What samples are counted as, by a part of a function's name.
static PARTS: &[(&str, &str)] = &[
    ("optimiser::adamw", "optimiser"),
    ("sum_of_squares", "norm of the gradients"),
    ("linear_cross_entropy", "vocabulary and cross-entropy"),
    ("kernels::attention", "attention"),
    ("kernels::gated", "gated layers"),
    ("kernels::affine", "layers"),
    ("kernels::linear", "layers"),
    ("layer_norm", "norms"),
    ("rms_norm", "norms"),
    ("kernels::rope", "rotary positions"),
    ("kernels::residual", "residuals and dropout"),
    ("kernels::dropout", "residuals and dropout"),
    ("kernels::embedding", "embeddings"),
    ("index_add", "embeddings"),
    ("Tensor::add", "gradients added up by the graph"),
    ("zeros_like", "gradients added up by the graph"),
    ("binary_map", "gradients added up by the graph"),
];
/// What is left.
const REST: &str = "the rest";
/// Functions that multiply matrices.
const PRODUCTS: &str = "gemmkit";

/// Prints a table for each family and way.
pub(crate) fn bench(_: &Inputs) -> Result<()> {
    let found = Command::new("perf").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        say!("not measured: there is no `perf`");
        return Ok(());
    }

    for way in &Way::here() {
        for family in FAMILIES {
            let samples = sampled(family.name, way)?;
            say!("{}, {}, {} samples", family.name, way.name(), samples.n);
            samples.tell();
        }
    }
    Ok(())
}

/// Runs a family's step under `perf`.
fn sampled(family: &str, way: &Way) -> Result<Samples> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("perf.data");
    let child = way.process(family)?;
    let mut perf = Command::new("perf");
    perf.args(["record", "-F", RATE, "--call-graph", STACK, "-o"]).arg(&data);
    perf.arg(child.get_program()).args(child.get_args());

    for (key, value) in child.get_envs() {
        match value {
            Some(value) => perf.env(key, value),
            None => perf.env_remove(key),
        };
    }
    perf.env(WITHIN, "1");
    let status = perf.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("`perf record` failed: {status}").into());
    }

    let script = ["script", "--no-inline", "-F", "tid,ip,sym", "-i"];
    let told = Command::new("perf").args(script).arg(&data).output()?;
    Ok(samples(&String::from_utf8_lossy(&told.stdout)))
}

/// Samples counted by part, and those of them in products.
#[derive(Default)]
struct Samples {
    n: u64,
    parts: HashMap<&'static str, (u64, u64)>,
}

impl Samples {
    fn count(&mut self, stack: &[&str]) {
        // The innermost function comes first.
        let Some(begun) = stack.iter().position(|name| name.contains("Batch::train")) else {
            return;
        };
        let within = &stack[..begun];
        let part = within.iter().rev().find_map(|name| {
            let known = PARTS.iter().find(|(function, _)| name.contains(function));
            known.map(|(_, part)| *part)
        });

        self.n += 1;
        let (all, products) = self.parts.entry(part.unwrap_or(REST)).or_default();
        *all += 1;
        *products += u64::from(within.iter().any(|name| name.contains(PRODUCTS)));
    }

    fn tell(&self) {
        let mut parts: Vec<(&str, (u64, u64))> =
            self.parts.iter().map(|(part, counts)| (*part, *counts)).collect();
        parts.sort_by_key(|(part, (all, _))| (std::cmp::Reverse(*all), *part));
        let share = |count: u64| 100.0 * count as f64 / self.n.max(1) as f64;

        for (part, (all, products)) in &parts {
            let beside = match *products {
                0 => String::new(),
                n => format!("{:.1} % in products", share(n)),
            };
            line(&format!("  {part}"), &format!("{:.1} %", share(*all)), &beside);
        }
        let products = parts.iter().map(|(_, (_, products))| products).sum();
        line("  all products", &format!("{:.1} %", share(products)), "");
    }
}

/// The samples of `perf script`: a line with the thread, and a line for each function on its stack.
fn samples(script: &str) -> Samples {
    let mut samples = Samples::default();
    for sample in script.split("\n\n") {
        let stack: Vec<&str> = sample
            .lines()
            .filter_map(|line| line.strip_prefix('\t')?.trim_start().split_once(' '))
            .map(|(_, name)| name)
            .collect();
        samples.count(&stack);
    }
    samples
}
