//! Time, processor time and peak memory, read from the system; and the lines they are printed as.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::Result;

/// What was said since [`keep`] was called last.
static SAID: Mutex<String> = Mutex::new(String::new());

/// Prints a line, and remembers it for the file of results.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    println!("{line}");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    // Writing to a string cannot fail.
    let _ = writeln!(said, "{line}");
}

/// `println!` that is kept.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::measure::say(format_args!($($arg)*)) };
}

/// Adds what a bench said to `benches/results/<name>.txt`, the newest first, where
/// `KPIPE_BENCH_KEEP` is set.
pub(crate) fn keep(name: &str, input: &str) -> Result<()> {
    let said = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
    if std::env::var_os("KPIPE_BENCH_KEEP").is_none() {
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = |program: &str, args: &[&str]| -> Result<String> {
        let output = std::process::Command::new(program).args(args).current_dir(root).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let date = told("date", &["-u", "+%F"])?;
    let commit = told("git", &["describe", "--always", "--dirty"])?;
    let head = format!("## {date}, {commit}\n{}\n{input}\n", machine());

    let place = root.join("benches/results").join(format!("{name}.txt"));
    let before = std::fs::read_to_string(&place).unwrap_or_default();
    Ok(std::fs::write(&place, format!("{head}\n{said}\n{before}"))?)
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Wall time, in seconds.
    pub(crate) wall: f64,
    /// Processor time of all threads of this process, in seconds; 0 where the system does not tell.
    pub(crate) cpu: f64,
}

impl Took {
    /// What a run takes that never ends; the start of a search for the best.
    pub(crate) const FOREVER: Took = Took { wall: f64::INFINITY, cpu: f64::INFINITY };

    /// The better of two runs, in each number.
    pub(crate) fn best(self, other: Took) -> Took {
        Took { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu) }
    }
}

/// Runs `work` and says what it took.
pub(crate) fn took<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Took)> {
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let done = work()?;
    Ok((done, Took { wall: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }))
}

/// User and system time of this process so far, in seconds, at the resolution of Linux's clock
/// ticks (10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses and may hold anything; utime and stime
    // are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or("");
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// Processor time of the calling thread so far, in seconds; it moves on with the scheduler's clock,
/// a few milliseconds.
pub(crate) fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// A number of `/proc/<process>/status` in MiB, such as `VmHWM`, the peak of the resident memory.
pub(crate) fn status_mib(process: &str, key: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Begins `VmHWM` anew. Where this is not allowed, it goes on from what it was.
pub(crate) fn reset_peak(process: &str) {
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Cores, processor, memory and program, in one line.
pub(crate) fn machine() -> String {
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
        value.map_or("unknown".to_string(), |(_, value)| value.trim().to_string())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (model, memory) =
        (first("/proc/cpuinfo", "model name"), first("/proc/meminfo", "MemTotal"));
    format!(
        "machine: {cores} cores of {model}, {memory} of memory; kpipe {}; {}",
        env!("CARGO_PKG_VERSION"),
        load()
    )
}

/// How busy the machine is, since others may use it too.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", load.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// Runs a command that measures in a process of its own; gives the last line of so many numbers
/// that it prints.
pub(crate) fn numbers<const N: usize>(command: &mut std::process::Command) -> Result<[f64; N]> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = |line: &str| -> Option<[f64; N]> {
        let found: Vec<f64> = line.split(' ').map_while(|number| number.parse().ok()).collect();
        found.try_into().ok()
    };
    let found = text.lines().rev().find_map(parsed);
    found.ok_or_else(|| {
        format!("the command failed: {}", String::from_utf8_lossy(&output.stderr)).into()
    })
}

/// This program again, for one measurement of the trainer: bench `name` with `key` set, in the
/// environment that `kpipe train` gives itself.
pub(crate) fn trainer(name: &str, key: &str, value: &str) -> Result<std::process::Command> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg(name).env(key, value).env("CANDLE_NUM_THREADS", "1").env(PURGE_DELAY, "-1");
    // What it measures is told by who started it.
    command.env_remove("KPIPE_BENCH_KEEP");
    command.env(
        "RAYON_NUM_THREADS",
        std::thread::available_parallelism().map_or(1, usize::from).to_string(),
    );
    Ok(command)
}

/// Milliseconds after which the allocator gives memory back.
pub(crate) const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Prints a line of the table: what was measured, the number, and what stands beside it.
pub(crate) fn line(what: &str, number: &str, beside: &str) {
    say!("{what:<46} {number:>22}   {beside}");
}

/// Megabytes (10^6) a second.
pub(crate) fn rate(bytes: u64, seconds: f64) -> String {
    format!("{:.1} MB/s", bytes as f64 / 1e6 / seconds.max(1e-9))
}
