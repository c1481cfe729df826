//! A shell pipeline in a process group of its own that dies with us, however we die.
//!
//! The group is killed by a system call. For the case that we are killed ourselves, with no time to
//! do so, a watchdog in the group reads from a pipe that only we hold open: when it ends, the
//! watchdog kills the group.

use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Result};

/// Answers that may wait to be read.
const WAITING: usize = 64;
/// Longest answer, in bytes; an engine that says more at once is broken.
const MAX_ANSWER: u64 = 1 << 20;

/// The watchdog in front of a pipeline. Its pipe comes in place of standard error, which nobody
/// reads: the standard library passes no other. A shell that does not know `read` in a subshell, or
/// has no `kill`, is no POSIX shell.
const WATCHED: &str =
    "exec 3<&2 2>/dev/null; (read _ <&3; kill -s KILL -- -$$) </dev/null >/dev/null & exec 3<&-; ";

/// A running pipeline.
struct Group {
    child: Child,
    /// Never written to: its end is what is waited for.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "held open, not used: closing it is what kills the group")
    )]
    lifeline: Option<PipeWriter>,
}

impl Group {
    fn start(pipeline: &str) -> Result<Self> {
        let failed = |cause| Error::no_thread(cause).at("the translation pipeline");
        let (end, lifeline) = std::io::pipe().map_err(failed)?;
        let child = Command::new("sh")
            .args(["-c", &format!("{WATCHED}{pipeline}"), "kpipe", "-n", ""])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(end)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Group { child, lifeline: Some(lifeline) })
    }
}

impl Drop for Group {
    /// Kills the child and everything it started. The group's number stays its own until the child
    /// is waited for.
    fn drop(&mut self) {
        kill_all(&mut self.child);
    }
}

/// Kills a child that leads a group of its own, and all of that group, and waits for it.
fn kill_all(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // The group may have ended by itself; then there is nothing to kill.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts a pipeline, writes all sentences, each ended by NUL, and returns the answers that came;
/// fewer than asked if it died, if one took longer than `timeout`, or if it said more than an
/// answer can be.
///
/// # Errors
/// If the system starts no process or thread.
pub(super) fn ask(pipeline: &str, sentences: &[&str], timeout: Duration) -> Result<Vec<String>> {
    if sentences.is_empty() {
        return Ok(Vec::new());
    }
    let mut group = Group::start(pipeline)?;
    let (stdin, stdout) = (group.child.stdin.take(), group.child.stdout.take());
    std::thread::scope(|scope| {
        let answers = stdout.map(listen).transpose().map_err(Error::no_thread)?;
        let speaker = std::thread::Builder::new().spawn_scoped(scope, move || {
            let mut stdin = stdin?;
            // A pipeline that died shows as a missing answer; a broken pipe here says nothing more.
            sentences
                .iter()
                .try_for_each(|sentence| stdin.write_all(format!("{sentence}[]\0").as_bytes()))
                .ok()
        });

        let mut found = Vec::with_capacity(sentences.len());
        if speaker.is_ok() {
            while let Some(Ok(answer)) =
                answers.as_ref().map(|answers| answers.recv_timeout(timeout))
            {
                found.push(answer);
                if found.len() == sentences.len() {
                    break;
                }
            }
        }
        // Ends the threads as well: what they read from and write to is gone.
        drop(group);
        speaker.map_err(Error::no_thread)?;
        Ok(found)
    })
}

/// Reads answers in a thread of its own until the pipeline ends, says too much, or nobody listens.
fn listen(stdout: impl Read + Send + 'static) -> std::io::Result<Receiver<String>> {
    let (sender, receiver) = sync_channel(WAITING);
    std::thread::Builder::new().spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut bytes = Vec::new();

        while reader.by_ref().take(MAX_ANSWER).read_until(0, &mut bytes).is_ok()
            && bytes.pop() == Some(0)
        {
            if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    })?;
    Ok(receiver)
}

/// What a program says on standard output when it is called with one argument; at most 64 KiB,
/// within `timeout`.
///
/// # Errors
/// If it cannot be started or does not end, in words.
pub(super) fn said(
    program: &Path,
    argument: &str,
    timeout: Duration,
) -> std::result::Result<String, String> {
    let mut child = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|cause| cause.to_string())?;

    let (sender, receiver) = channel();
    let stdout = child.stdout.take();
    let reading = std::thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        let read = stdout.map(|stdout| stdout.take(64 << 10).read_to_end(&mut text));
        // Whoever asked may have stopped waiting.
        let _ = sender.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
    });

    let end = Instant::now() + timeout;
    let text = match reading {
        Ok(_) => receiver.recv_timeout(timeout),
        Err(_) => Err(RecvTimeoutError::Disconnected),
    };
    let mut ended = child.try_wait();

    while text.is_ok() && matches!(ended, Ok(None)) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
        ended = child.try_wait();
    }

    if !matches!(ended, Ok(Some(_))) {
        // It may have started others.
        kill_all(&mut child);
        return Err(format!("`{} {argument}` does not end", program.display()));
    }

    if let Ok(Some(status)) = ended
        && !status.success()
    {
        return Err(format!("`{} {argument}` fails: {status}", program.display()));
    }

    Ok(text.ok().flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes whose command line holds `mark`.
    fn alive(mark: &str) -> usize {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
    }

    fn wait_until_gone(mark: &str) -> bool {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            alive(mark) == 0
        })
    }

    #[test]
    fn what_hangs_is_killed_with_all_it_started() {
        let answers =
            ask("cat | sleep 61.75 | sleep 61.75", &["a"], Duration::from_millis(200)).unwrap();
        assert!(answers.is_empty() && wait_until_gone("61.75"));
    }

    #[test]
    fn a_group_dies_when_nobody_holds_its_pipe() {
        let mut group = Group::start("sleep 61.25 | sleep 61.25").unwrap();
        assert!((0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            alive("61.25") > 0
        }));
        // As if we were killed: the pipe is closed, and nothing else happens.
        group.lifeline = None;
        assert!(wait_until_gone("sleep\u{0}61.25"));
    }

    #[test]
    fn a_flood_is_not_kept() {
        let answers = ask("yes", &["a", "b"], Duration::from_secs(20)).unwrap();
        assert!(answers.is_empty());
    }

    #[test]
    fn a_program_that_never_ends_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("engine");
        let script = |text: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            said(&program, "-V", Duration::from_millis(500))
        };

        assert_eq!(script("echo 3.8").as_deref(), Ok("3.8\n"));
        assert!(
            script("sleep 61.5").unwrap_err().contains("does not end") && wait_until_gone("61.5")
        );
        assert!(script("exec >&-; sleep 61.5").is_err() && wait_until_gone("61.5"));
        assert!(script("yes").is_err());
    }
}
