//! Speed and memory of the rooms, each number beside a floor or a peer that was measured in the
//! same run.
//!
//! ```text
//! cargo bench --bench rooms                     # all of them, on the fixtures
//! cargo bench --bench rooms -- ingest minhash   # some: ingest, minhash, dedup-score, mentions,
//!                                               # chain, memory, stream, products, train,
//!                                               # methods, profile, eval, checkpointing
//! ```
//!
//! `KPIPE_TEST_DATA` names a folder with `wikipedia-dumps`, `pubmed-xml`, `wikipedia-text/en` and
//! `kg-lexicons` to measure on instead of the fixtures, which are too small for more than a try.
//! `KPIPE_BENCH_PYTHON` names a Python that has `rensa`, `torch`, `transformers` and `lm_eval`.
//! `KPIPE_BENCH_ROUNDS` is how often everything is repeated, the two sides of a comparison in
//! turns; the best of each side counts, because whatever else the machine does only ever makes a
//! run slower.
//! `KPIPE_BENCH_KEEP=1` adds what was measured to `benches/results/`, with date, commit and
//! machine.
#![allow(clippy::print_stdout, reason = "a bench prints its table")]

// First, so that the others know its macro.
#[macro_use]
mod measure;

mod chain;
mod checkpointing;
mod dedup_score;
mod eval;
mod ingest;
mod inputs;
mod memory;
mod mentions;
mod methods;
mod minhash;
mod products;
mod profile;
mod stream;
mod train;

use inputs::Inputs;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Starts this program again with the allocator set as `kpipe build` sets it; it reads that once.
fn again_as_the_program_runs() -> Result<()> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let status =
        command.args(std::env::args_os().skip(1)).env(measure::PURGE_DELAY, "10000").status()?;
    if status.success() { Ok(()) } else { Err("a bench failed".into()) }
}

/// Any failure ends the bench.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A bench by the name that picks it.
type Bench = (&'static str, fn(&Inputs) -> Result<()>);

/// Every bench, in the order they run in.
static BENCHES: &[Bench] = &[
    ("ingest", ingest::bench),
    ("minhash", minhash::bench),
    ("dedup-score", dedup_score::bench),
    ("mentions", mentions::bench),
    ("chain", chain::bench),
    ("memory", memory::bench),
    ("stream", stream::bench),
    ("products", products::bench),
    ("train", train::bench),
    ("methods", methods::bench),
    ("profile", profile::bench),
    ("eval", eval::bench),
    ("checkpointing", checkpointing::bench),
];

fn main() -> Result<()> {
    if std::env::var_os(measure::PURGE_DELAY).is_none() {
        return again_as_the_program_runs();
    }
    // Cargo adds `--bench`.
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(unknown) = asked.iter().find(|word| BENCHES.iter().all(|(name, _)| name != word)) {
        let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(
            format!("there is no bench `{unknown}`; benches are: {}", known.join(", ")).into()
        );
    }

    let inputs = Inputs::find()?;
    println!("{}", measure::machine());
    let input = format!("input: {}; best of {} rounds", inputs.about, inputs.rounds);
    println!("{input}");

    for (name, bench) in BENCHES {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            println!("\n== {name}");
            bench(&inputs)?;
            measure::keep(name, &input)?;
        }
    }

    println!("\n{}", measure::load());
    Ok(())
}
