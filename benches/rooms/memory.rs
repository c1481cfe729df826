//! Time and peak memory of a whole `kpipe build` as its input grows: the same texts altered once,
//! four times and sixteen times.
//!
//! Nothing in the larger inputs is a duplicate, so every room has so many times the documents to go
//! through. Time is compared over all sizes. Memory is compared from four times on, where there are
//! several parts: before, a room never meets a whole one. The peak is the kernel's own (`VmHWM`),
//! reset at the beginning of every room so that each room's peak is seen on its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::inputs::{Inputs, altered, n_bytes};
use crate::measure::{line, reset_peak, status_mib};

/// How often the texts are altered.
const SIZES: [u64; 3] = [1, 4, 16];
/// Least text of the smallest input, in bytes; four times as much is several parts of 64 MiB.
const LEAST_BYTES: u64 = 40_000_000;
/// The same for the fixtures, which are only a try.
pub(crate) const LEAST_BYTES_TRY: u64 = 1_000_000;

/// Prints time and peak of every room, and of the build, for all inputs.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let texts = inputs.texts()?;
    let least = if inputs.lexicons.len() > 1 { LEAST_BYTES } else { LEAST_BYTES_TRY };
    let copies = least.div_ceil(n_bytes(&texts).max(1));
    let mut builds: Vec<(u64, Vec<Peak>)> = Vec::new();

    for times in SIZES {
        let folder = tempfile::tempdir()?;
        let bytes = write_corpus(&texts, copies * times, folder.path())?;
        let mut best: Vec<Peak> = build(inputs, folder.path(), &[])?;
        for _ in 1..inputs.rounds {
            for (best, again) in best.iter_mut().zip(build(inputs, folder.path(), &[])?) {
                best.seconds = best.seconds.min(again.seconds);
                best.mib = best.mib.min(again.mib);
            }
        }
        say!(
            "{times:>2} x: {:.0} MB of text in {} documents",
            bytes as f64 / 1e6,
            (copies * times) as usize * texts.len()
        );
        builds.push((bytes, best));
    }

    let [(small, one), (_, four), (large, sixteen)] = &builds[..] else { return Ok(()) };
    let told = |room: &str, mib: [f64; 2], seconds: [f64; 2]| {
        let grown = *large as f64 / *small as f64;
        let times = format!("{:.2} -> {:.2} s", seconds[0], seconds[1]);
        let beside = format!(
            "{:+.1} % a byte; {:.0} -> {:.0} MiB, {:+.1} %",
            growth(seconds[0] * grown, seconds[1]),
            mib[0],
            mib[1],
            growth(mib[0], mib[1])
        );
        line(room, &times, &beside);
    };

    for (one, (four, sixteen)) in one.iter().zip(four.iter().zip(sixteen)) {
        let (mib, seconds) = ([four.mib, sixteen.mib], [one.seconds, sixteen.seconds]);
        told(&format!("  {}", one.room), mib, seconds);
    }
    let peak = |peaks: &[Peak]| peaks.iter().map(|peak| peak.mib).fold(0.0, f64::max);
    let seconds = |peaks: &[Peak]| peaks.iter().map(|peak| peak.seconds).sum();
    told("build", [peak(four), peak(sixteen)], [seconds(one), seconds(sixteen)]);
    say!("goal: within 10 % of linear, memory below +10 %");
    Ok(())
}

fn growth(before: f64, after: f64) -> f64 {
    100.0 * (after / before - 1.0)
}

/// Writes two sources of about the same size, `general.jsonl` and `domain.jsonl`; gives the bytes
/// of their texts.
pub(crate) fn write_corpus(texts: &[(String, String)], copies: u64, folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let create = |name: &str| std::fs::File::create(folder.join(name)).map(std::io::BufWriter::new);
    let mut files = [create("general.jsonl")?, create("domain.jsonl")?];

    for copy in 0..copies {
        for (idx, (title, text)) in texts.iter().enumerate() {
            let text = altered(text, copy + 1);
            bytes += text.len() as u64;
            let record = json!({"id": format!("{copy}-{idx}"), "title": title, "text": text});
            writeln!(files[idx % 2], "{record}")?;
        }
    }

    files.iter_mut().try_for_each(Write::flush)?;
    Ok(bytes)
}

/// Peak of the resident memory while a room ran, and how long it did.
pub(crate) struct Peak {
    pub(crate) room: String,
    mib: f64,
    pub(crate) seconds: f64,
}

/// Runs `kpipe build` anew on the corpus in `folder`, with settings beside the bench's own.
pub(crate) fn build(inputs: &Inputs, folder: &Path, settings: &[&str]) -> Result<Vec<Peak>> {
    let (_, lexicon) = inputs.lexicons.last().ok_or("no lexicon")?;
    let lexicon: Vec<String> =
        lexicon.iter().map(|path| format!("{{ path = {} }}", json!(path))).collect();
    let source = |name: &str| {
        let path = folder.join(format!("{name}.jsonl")).display().to_string();
        format!(
            "[source.{name}]\npath = {}\nformat = \"jsonl\"\nrole = \"{name}\"\nlanguage \
             = \"en\"\n",
            json!(path)
        )
    };

    let pipeline = format!(
        "[density]\nlexicon = [{}]\n[negatives.back_translation]\nengine = \"none\"\n{}{}",
        lexicon.join(", "),
        source("general"),
        source("domain")
    );
    // A copy, so that a build of the program meanwhile changes nothing.
    let program = folder.join("kpipe");
    std::fs::copy(env!("CARGO_BIN_EXE_kpipe"), &program)?;
    let file = folder.join("pipeline.toml");
    std::fs::write(&file, pipeline)?;
    let out = folder.join("out");

    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    let mut child = Command::new(&program)
        .args(["build", "--source", "general,domain", "--json", "--pipeline"])
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;

    let process = child.id().to_string();
    let told = child.stderr.take().ok_or("no standard error")?;
    let peaks = Mutex::new(Vec::new());
    let (errors, status) = std::thread::scope(|scope| {
        let listener = scope.spawn(|| listen(told, &process, &peaks));
        let status = loop {
            sample(&process, &peaks);
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                other => break other,
            }
        };
        (listener.join().unwrap_or_default(), status)
    });

    if !status?.is_some_and(|status| status.success()) {
        return Err(format!("kpipe failed: {errors}").into());
    }
    peaks.into_inner().map_err(|_| "a thread failed".into())
}

/// Takes the peak so far into the room that is running.
fn sample(process: &str, peaks: &Mutex<Vec<Peak>>) {
    if let (Some(mib), Ok(mut peaks)) = (status_mib(process, "VmHWM"), peaks.lock())
        && let Some(peak) = peaks.last_mut()
    {
        peak.mib = peak.mib.max(mib);
    }
}

/// Reads the events of a build to its end: a new room begins with the memory that is in use then.
/// Gives what was no event.
fn listen(told: impl Read, process: &str, peaks: &Mutex<Vec<Peak>>) -> String {
    let mut other = String::new();
    for event in BufReader::new(told).lines().map_while(std::result::Result::ok) {
        let Ok(fields) = serde_json::from_str::<Value>(&event) else {
            other += &event;
            continue;
        };
        match fields["event"].as_str() {
            Some("begin") => {
                sample(process, peaks);
                reset_peak(process);
                if let Ok(mut peaks) = peaks.lock() {
                    let room = fields["stage"].as_str().unwrap_or("").to_string();
                    peaks.push(Peak { room, mib: 0.0, seconds: 0.0 });
                }
            }

            Some("end") => {
                if let (Ok(mut peaks), Some(seconds)) = (peaks.lock(), fields["seconds"].as_f64())
                    && let Some(peak) = peaks.last_mut()
                {
                    peak.seconds = seconds;
                }
            }
            _ => {}
        }
    }
    other
}
