//! MinHash signatures on one core, beside PyPI `rensa` on the same shingles, both in processor
//! time.
//!
//! rensa gets the very hashes that our signatures are made of, repeats included, in one flat
//! buffer: its fastest way.

use std::path::Path;
use std::process::Command;

use kpipe::dedup::shingles::Shingler;
use kpipe::dedup::{Signer, minhash};
use kpipe::text::normal::normalise;

use crate::Result;
use crate::inputs::{Inputs, n_bytes};
use crate::measure::{line, rate, thread_seconds};

/// How often all shingles are signed for one measurement: a thread's processor time moves on in
/// steps of milliseconds.
const REPEATS: u32 = 32;

/// Prints the rate of signatures from text, from shingles, and the peer's from the same shingles.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let texts = inputs.texts()?;
    let params = &inputs.pipeline.dedup;
    let rows = params.bands * params.rows;
    let mut shingler = Shingler::new(params.shingle_words, params.shingle_chars);
    let (mut shingles, mut found) = (Shingles { flat: Vec::new(), offsets: vec![0] }, Vec::new());

    for (_, text) in &texts {
        shingler.shingle(&normalise(text), &mut found);
        shingles.flat.extend(&found);
        shingles.offsets.push(shingles.flat.len());
    }

    let (bytes, n_shingles) = (n_bytes(&texts), shingles.flat.len());
    say!(
        "{} texts, {:.1} MB, {n_shingles} shingles, signatures of {rows} rows, one thread",
        texts.len(),
        bytes as f64 / 1e6
    );
    let folder = tempfile::tempdir()?;
    shingles.write(folder.path())?;
    let (mut from_text, mut from_shingles) = (f64::INFINITY, f64::INFINITY);
    let mut peers: Vec<(String, f64)> = Vec::new();
    let python = std::env::var_os("KPIPE_BENCH_PYTHON");

    for _ in 0..inputs.rounds {
        let mut signer = Signer::new(params);
        from_text = from_text.min(thread_time(|| {
            texts.iter().fold(0, |sum, (_, text)| sum ^ signer.keys(text).bands[0])
        }));
        let repeated = thread_time(|| {
            (0..REPEATS).fold(0, |sum, _| sum ^ std::hint::black_box(&shingles).sign(rows))
        });
        from_shingles = from_shingles.min(repeated / f64::from(REPEATS));

        if let Some(python) = &python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rensa_peer.py");
            let mut peer = Command::new(python);
            // rensa computes with rayon too.
            peer.arg(script).arg(folder.path()).arg(rows.to_string()).env("RAYON_NUM_THREADS", "1");
            keep_best(&mut peers, &output(&mut peer)?)?;
        }
    }

    line(
        "text to band keys",
        &rate(bytes, from_text),
        "normal form, shingles, signature, bands; goal 50 MB/s",
    );
    let per_second =
        |seconds: f64| format!("{:.1} million shingles/s", n_shingles as f64 / 1e6 / seconds);
    line("shingles to signatures", &rate(bytes, from_shingles), &per_second(from_shingles));

    for (name, seconds) in peers {
        let beside =
            format!("{}; kpipe is {:.1} x as fast", per_second(seconds), seconds / from_shingles);
        line(&format!("  rensa {name}"), &rate(bytes, seconds), &beside);
    }

    if python.is_none() {
        say!("  rensa: not measured, KPIPE_BENCH_PYTHON does not name a Python that has it");
    }
    Ok(())
}

/// Seconds of processor time: one thread's work, and what else the machine does must not count on
/// either side.
fn thread_time(work: impl FnOnce() -> u64) -> f64 {
    let begun = thread_seconds();
    std::hint::black_box(work());
    thread_seconds() - begun
}

/// The shingles of all texts one after the other, and where each text's begin and end.
struct Shingles {
    flat: Vec<u64>,
    offsets: Vec<usize>,
}

impl Shingles {
    fn sign(&self, rows: usize) -> u64 {
        let mut signature = vec![0; rows];
        self.offsets.windows(2).fold(0, |sum, ends| {
            minhash::sign(&self.flat[ends[0]..ends[1]], &mut signature);
            sum ^ signature[0]
        })
    }

    /// Writes `shingles.u64` and `offsets.u64`, little-endian.
    fn write(&self, folder: &Path) -> Result<()> {
        let bytes = |numbers: &mut dyn Iterator<Item = u64>| {
            numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
        };
        std::fs::write(folder.join("shingles.u64"), bytes(&mut self.flat.iter().copied()))?;
        Ok(std::fs::write(
            folder.join("offsets.u64"),
            bytes(&mut self.offsets.iter().map(|at| *at as u64)),
        )?)
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("the peer failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Takes lines `name<TAB>seconds` in.
fn keep_best(peers: &mut Vec<(String, f64)>, lines: &str) -> Result<()> {
    for (name, seconds) in lines.lines().filter_map(|line| line.split_once('\t')) {
        let seconds: f64 = seconds.parse()?;
        match peers.iter_mut().find(|(known, _)| known == name) {
            Some((_, best)) => *best = best.min(seconds),
            None => peers.push((name.to_string(), seconds)),
        }
    }
    Ok(())
}
