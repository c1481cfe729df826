//! Printing: bars on a terminal, plain lines elsewhere, JSON lines on demand, nothing but errors
//! when quiet.
//!
//! Nothing is told by colour alone. A closed pipe (`kpipe score | head`) is not an error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::flow::progress::Progress;

/// Prints text to standard output.
///
/// # Errors
/// If standard output cannot be written; a closed pipe is no error.
pub(super) fn stdout(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to standard output", cause))
        }
        _ => Ok(()),
    }
}

/// Whether standard output is a terminal that may show colours (no-color.org).
pub(super) fn has_colours() -> bool {
    let asked = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    asked && std::io::stdout().is_terminal()
}

/// Writes a line to standard error. Whoever closed it does not want to hear it.
fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints clap's help, version or complaint.
pub(super) fn usage(help: &clap::Error) -> ExitCode {
    // A help text that cannot be printed leaves nothing to tell it with.
    let _ = help.print();
    ExitCode::from(if help.use_stderr() { 2 } else { 0 })
}

/// Prints an error, as text or as a JSON line, and gives its exit code.
pub(super) fn error(error: &Error, as_json: bool) -> ExitCode {
    let code = error.kind().exit_code();
    if as_json {
        let (what, places, hints) = (error.what(), error.places(), error.hints());
        let event = json!({"event": "error", "what": what, "at": places, "hints": hints,
            "exit_code": code});
        tell(format_args!("{event}"));
    } else {
        let word = if matches!(error.kind(), Kind::Stopped(_)) { "stopped" } else { "error" };
        tell(format_args!("{word}: {error}"));
    }
    ExitCode::from(code)
}

/// Ends the process because a signal says so, with one line of what was saved and how to go on.
pub(super) fn stop(signal: i32, what: &str, as_json: bool) {
    let code = Kind::Stopped(signal).exit_code();
    match as_json {
        true => {
            tell(format_args!("{}", json!({"event": "stopped", "what": what, "exit_code": code})))
        }
        // A bar may stand on the line.
        false => tell(format_args!(
            "{}stopped: {what}",
            if std::io::stderr().is_terminal() { "\r\n" } else { "" }
        )),
    }

    #[expect(
        clippy::exit,
        reason = "other threads are in the middle of their work, and nothing waits for them"
    )]
    std::process::exit(i32::from(code));
}

/// How a command tells its progress and its result.
pub(super) struct Printer {
    mode: Mode,
    stage: Mutex<Stage>,
    done: AtomicU64,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Quiet,
    Json,
    Lines,
    Bars,
}

struct Stage {
    name: String,
    total: Option<u64>,
    unit: &'static str,
    begun: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
    message: String,
}

/// Between two plain progress lines of one stage.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Printer {
    pub(super) fn new(quiet: bool, json: bool) -> Self {
        let mode = match (quiet, json) {
            (true, _) => Mode::Quiet,
            (_, true) => Mode::Json,
            _ if std::io::stderr().is_terminal() => Mode::Bars,
            _ => Mode::Lines,
        };

        let now = Instant::now();
        let stage = Stage {
            name: String::new(),
            total: None,
            unit: "",
            begun: now,
            told: now,
            bar: None,
            message: String::new(),
        };
        Printer { mode, stage: Mutex::new(stage), done: AtomicU64::new(0) }
    }

    /// Prints a result: text for people, or its JSON. Quiet prints neither.
    pub(super) fn result(&self, text: &str, value: &serde_json::Value) -> Result<()> {
        match self.mode {
            Mode::Quiet => Ok(()),
            Mode::Json => stdout(&format!("{value}\n")),
            Mode::Lines | Mode::Bars => stdout(text),
        }
    }

    fn with_stage(&self, act: impl FnOnce(&mut Stage)) {
        // A panic elsewhere must not hide what is being told.
        let mut stage = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut stage);
    }

    fn line(&self, stage: &Stage) {
        let done = self.done.load(Ordering::Relaxed);
        let seconds = stage.begun.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(1e-9);

        if self.mode == Mode::Json {
            let event = json!({"event": "progress", "stage": stage.name, "done": done,
                "total": stage.total,
                "unit": stage.unit, "rate": rate, "message": stage.message});
            tell(format_args!("{event}"));
            return;
        }

        let share = stage.total.filter(|total| *total > 0).map_or(String::new(), |total| {
            let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
            format!(" of {total} ({:.0} %, {:.0} s left)", 100.0 * done as f64 / total as f64, left)
        });
        tell(format_args!(
            "{:<12} {done}{share} {}, {rate:.0}/s {}",
            stage.name, stage.unit, stage.message
        ));
    }
}

impl Progress for Printer {
    fn begin(&self, name: &str, total: Option<u64>, unit: &'static str) {
        self.done.store(0, Ordering::Relaxed);
        self.with_stage(|stage| {
            let now = Instant::now();
            *stage = Stage {
                name: name.to_string(),
                total,
                unit,
                begun: now,
                told: now,
                bar: None,
                message: String::new(),
            };
            if self.mode == Mode::Bars {
                let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
                let template = match total {
                    Some(_) if unit == "bytes" => {
                        "{prefix:<12} {bar:24} {percent:>3} % {bytes}/{total_bytes} \
                         {bytes_per_sec} ETA {eta} {msg}"
                    }
                    Some(_) => {
                        "{prefix:<12} {bar:24} {percent:>3} % {human_pos}/{human_len} \
                                {per_sec} ETA {eta} {msg}"
                    }
                    None => "{prefix:<12} {spinner} {human_pos} {per_sec} {msg}",
                };

                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_prefix(name.to_string());
                bar.enable_steady_tick(Duration::from_millis(200));
                stage.bar = Some(bar);
            } else if self.mode == Mode::Json {
                tell(format_args!(
                    "{}",
                    json!({"event": "begin", "stage": name, "total": total, "unit": unit})
                ));
            }
        });
    }

    fn expect(&self, total: u64) {
        self.with_stage(|stage| {
            stage.total = Some(total);
            if let Some(bar) = &stage.bar {
                bar.set_length(total);
            }
        });
    }

    fn advance(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
        self.with_stage(|stage| {
            if let Some(bar) = &stage.bar {
                bar.inc(n);
            } else if matches!(self.mode, Mode::Lines | Mode::Json)
                && stage.told.elapsed() >= LINE_EVERY
            {
                self.line(stage);
                stage.told = Instant::now();
            }
        });
    }

    fn message(&self, text: &str) {
        self.with_stage(|stage| {
            stage.message = text.to_string();
            if let Some(bar) = &stage.bar {
                bar.set_message(text.to_string());
            }
        });
    }

    fn note(&self, text: &str) {
        self.with_stage(|stage| match (self.mode, &stage.bar) {
            (Mode::Quiet, _) => {}
            (Mode::Json, _) => tell(format_args!(
                "{}",
                json!({"event": "note", "stage": stage.name, "text": text})
            )),
            (_, Some(bar)) => bar.suspend(|| tell(format_args!("note: {text}"))),
            (_, None) => tell(format_args!("note: {text}")),
        });
    }

    fn end(&self, summary: &str) {
        self.with_stage(|stage| {
            let seconds = stage.begun.elapsed().as_secs_f64();
            if let Some(bar) = stage.bar.take() {
                bar.finish_and_clear();
            }

            match self.mode {
                Mode::Quiet => {}
                Mode::Json => {
                    let done = self.done.load(Ordering::Relaxed);
                    let event = json!({"event": "end", "stage": stage.name, "summary": summary,
                        "done": done,
                        "total": stage.total, "seconds": seconds});
                    tell(format_args!("{event}"));
                }
                Mode::Lines | Mode::Bars => tell(format_args!(
                    "{:<12} {summary} in {seconds:.1} \
                                                               s",
                    stage.name
                )),
            }
        });
    }
}
