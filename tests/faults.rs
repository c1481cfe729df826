//! A system that fails: calls that return errors, a process that is killed at any of them, files
//! that lose their bytes, two programs in one folder. What comes of it must be an error that says
//! so (exit 4), and the same command run again must give the bytes of a run that nothing happened
//! to.
//!
//! `faults/shim.c` is preloaded into the program. CI makes a few trials of each kind;
//! `KPIPE_FAULT_TRIALS=200 cargo test --release --test integration faults` makes so many, and
//! `faults/results.md` keeps what came of that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::flow::built;
use crate::support::{command, project, same_bytes, text, tree};
use crate::train::SMALL;

/// Trials of each kind where the environment names no number.
const TRIALS: usize = 6;

fn trials() -> usize {
    std::env::var("KPIPE_FAULT_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(TRIALS)
}

/// The shim, compiled once; `None` where there is no compiler or the system knows no preloading.
fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fault-shim.so");
        let source = project().join("tests/faults/shim.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&place)
            .arg(source)
            .arg("-ldl")
            .status();
        made.is_ok_and(|status| status.success()).then_some(place)
    };
    SHIM.get_or_init(compile).as_deref()
}

/// A command whose system fails as `fault` says.
fn failing(args: &[&str], shim: &Path, fault: &str) -> Output {
    command(args).env("LD_PRELOAD", shim).env("KPIPE_FAULT", fault).output().unwrap()
}

/// How often a command makes each call on files whose path holds `part`.
fn counted(args: &[&str], shim: &Path, part: &str) -> BTreeMap<String, usize> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = command(args);
    command.env("LD_PRELOAD", shim).env("KPIPE_FAULT_COUNT", file.path());
    let output = command.env("KPIPE_FAULT", format!("none:0:0:{part}")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let counts = std::fs::read_to_string(file.path()).unwrap();
    let lines = counts.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, n)| (name.to_string(), n.parse().unwrap())).collect()
}

/// Places spread over `1..=n`, as many as there are trials.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let trials = trials().min(n);
    (0..trials).map(move |trial| 1 + trial * n / trials)
}

const BUILD: &[&str] = &[
    "build",
    "--source",
    "wiki,pubmed",
    "--quiet",
    "--set",
    "negatives.back_translation.engine=none",
    "--out",
];

/// A build that nothing happened to.
fn expected() -> &'static Path {
    static BUILT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let build = || {
        let folder = tempfile::tempdir().unwrap();
        crate::support::succeed(&[BUILD, &[folder.path().join("out").to_str().unwrap()]].concat());
        folder
    };
    Box::leak(Box::new(BUILT.get_or_init(build).path().join("out")))
}

/// Runs a command once with a fault and once without, and looks at what the first said.
fn heals(args: &[&str], shim: &Path, fault: &str, kills: bool) {
    let first = failing(args, shim, fault);
    match first.status.code() {
        Some(0) => {}
        Some(4) => {
            assert!(text(&first.stderr).contains("error"), "{fault}: {}", text(&first.stderr))
        }
        None if kills => {}
        code => panic!("{fault}: exit {code:?}: {}", text(&first.stderr)),
    }

    let again = command(args).output().unwrap();
    assert!(again.status.success(), "{fault}, again: {}", text(&again.stderr));
}

/// Faults at a call, spread over the `n` times that it is made: each run must heal, and leave what
/// `same` looks at.
struct Trials<'a> {
    shim: &'a Path,
    /// What holds the outputs.
    folder: &'a Path,
    call: &'a str,
    /// An error's number, or `KILL`.
    what: &'a str,
    /// What the path of a file holds that the call is about.
    part: &'a str,
    n: usize,
}

impl Trials<'_> {
    /// Makes every `step`-th of the trials with the command `args` into a folder of its own.
    fn make(&self, step: usize, args: &[&str], same: impl Fn(&Path)) {
        let Trials { shim, folder, call, what, part, n } = self;
        for nth in spread(*n).step_by(step) {
            let out = folder.join(format!("{call}-{what}-{nth}"));
            let args = [args, &[out.to_str().unwrap()]].concat();
            heals(&args, shim, &format!("{call}:{nth}:{what}:{part}"), *what == "KILL");
            same(&out);
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn a_build_that_is_killed_at_any_call_goes_on_to_the_same_bytes() {
    let Some(shim) = shim() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let part = folder.path().to_str().unwrap();
    let counts = counted(&[BUILD, &[&out("count")]].concat(), shim, part);

    for call in ["rename", "sync", "link", "write"] {
        assert!(counts[call] > 10, "{counts:?}");
        let trials =
            Trials { shim, folder: folder.path(), call, what: "KILL", part, n: counts[call] };
        trials.make(1, BUILD, |out| same_bytes(out, expected()));
    }
}

/// EIO, a full disk, and too many open files, at the writing and at the reading of a source.
#[test]
fn a_build_whose_system_fails_says_so_and_goes_on() {
    let Some(shim) = shim() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let part = folder.path().to_str().unwrap();
    let ours = counted(&[BUILD, &[&out("count")]].concat(), shim, part);
    let sources = counted(&[BUILD, &[&out("count-2")]].concat(), shim, "fixtures/");
    let faults = [
        ("write", "28", part),
        ("sync", "5", part),
        ("rename", "5", part),
        ("read", "5", part),
        ("open", "24", part),
    ];

    let faults = faults.map(|(call, error, part)| (call, error, part, ours[call]));
    let of_sources = [("read", "5"), ("open", "24")]
        .map(|(call, error)| (call, error, "fixtures/", sources[call]));

    for (call, error, part, n) in faults.into_iter().chain(of_sources) {
        assert!(n > 5, "{call} {part} {n}");
        let trials = Trials { shim, folder: folder.path(), call, what: error, part, n };
        trials.make(1, BUILD, |out| same_bytes(out, expected()));
    }
}

/// A container's limit of threads, met at any of them, is told as such, never as a bug.
#[test]
fn a_system_that_gives_no_more_threads_is_told() {
    let Some(shim) = shim() else { return };
    let (folder, built) = (tempfile::tempdir().unwrap(), built());
    let out = |name: String| folder.path().join(name).to_str().unwrap().to_string();
    let shards = built.to_str().unwrap();
    let train =
        [&["train", "--shards", shards, "--quiet"], SMALL, &["--set", "train.steps=2", "--out"]]
            .concat();

    for (name, args) in
        [("build", BUILD), ("train", &train), ("score", &["score", "fixtures/pubmed", "--out"])]
    {
        let n = counted(&[args, &[&out(format!("{name}-count"))]].concat(), shim, "")["thread"];
        for nth in spread(n) {
            let out = out(format!("{name}-{nth}"));
            heals(&[args, &[&out]].concat(), shim, &format!("thread:{nth}:11:"), false);
        }
    }
}

/// As a power cut may leave it, and as nothing else should: a file with fewer bytes than were
/// written.
#[test]
fn working_files_that_lost_their_bytes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    collect(&expected().join(".kpipe"), &mut files);
    files.retain(|file| !file.ends_with("lock") && !file.to_string_lossy().contains(".tantivy"));
    files.sort();
    let step = if trials() > TRIALS { 1 } else { 5 };

    for (nth, file) in files.iter().enumerate().step_by(step) {
        let name = file.strip_prefix(expected()).unwrap();
        for (keeps, is_done) in
            [(None, true), (Some(0), true), (Some(2), true), (Some(0), false), (Some(2), false)]
        {
            let out = folder.path().join(format!("{nth}-{keeps:?}-{is_done}"));
            copy(expected(), &out);
            if !is_done {
                // As if the room and those behind it were killed before their last word.
                let room = name.components().nth(1).unwrap().as_os_str().to_str().unwrap();
                for entry in std::fs::read_dir(out.join(".kpipe"))
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                {
                    if entry.is_dir() && entry.file_name().unwrap().to_str().unwrap() >= room {
                        std::fs::remove_file(entry.join("room.json")).unwrap();
                    }
                }
            }
            let damaged = out.join(name);
            let Ok(facts) = damaged.metadata() else { continue };
            match keeps {
                Some(keeps) => {
                    let file = std::fs::File::options().write(true).open(&damaged).unwrap();
                    file.set_len(facts.len() * keeps / 4).unwrap();
                }
                None => std::fs::remove_file(&damaged).unwrap(),
            }

            let args = [BUILD, &[out.to_str().unwrap()]].concat();
            let what =
                format!("{} cut to {keeps:?}/4 (none: removed), done: {is_done}", name.display());
            let mut output = command(&args).output().unwrap();
            if !output.status.success() {
                let said = text(&output.stderr);
                assert_eq!(output.status.code(), Some(4), "{what}: {said}");
                follow(&said);
                output = command(&args).output().unwrap();
            }
            assert!(output.status.success(), "{what}: {}", text(&output.stderr));
            same_bytes(&out, expected());
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}

/// Does what a hint says: deletes the file or folder that it names.
fn follow(said: &str) {
    assert!(said.contains("hint: delete"), "{said}");
    let quoted: Vec<&str> =
        said.split('`').skip(1).step_by(2).filter(|path| path.contains(".kpipe")).collect();
    let place = Path::new(quoted.last().unwrap_or_else(|| panic!("no path in {said}")));

    if place.is_dir() {
        std::fs::remove_dir_all(place).unwrap()
    } else {
        std::fs::remove_file(place).unwrap()
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// A copy with files of its own; those that were links to one file are links again.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_training_run_that_is_killed_or_fails_goes_on_to_the_same_bytes() {
    let Some(shim) = shim() else { return };
    let folder = tempfile::tempdir().unwrap();
    let built = built();
    let shards = built.to_str().unwrap();
    let train = [
        &["train", "--shards", shards, "--quiet"],
        SMALL,
        &["--set", "train.save_every=2", "--out"],
    ]
    .concat();

    let whole = folder.path().join("whole").to_str().unwrap().to_string();
    let part = folder.path().to_str().unwrap();
    let counts = counted(&[&train[..], &[&whole]].concat(), shim, part);
    let weights = |out: &Path| {
        ["model.safetensors", "consumed.jsonl", "config.json", "tokenizer.json"]
            .map(|name| std::fs::read(out.join(name)).unwrap())
    };
    let faults = [
        ("rename", "KILL"),
        ("sync", "KILL"),
        ("write", "KILL"),
        ("write", "28"),
        ("sync", "5"),
        ("open", "24"),
    ];

    for (call, what) in faults {
        let trials = Trials { shim, folder: folder.path(), call, what, part, n: counts[call] };
        trials.make(2, &train, |out| {
            assert!(weights(out) == weights(Path::new(&whole)), "{call} {what}")
        });
    }
}

#[test]
fn scores_that_are_killed_or_fail_are_written_by_the_next_run() {
    let Some(shim) = shim() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let part = folder.path().to_str().unwrap();
    let score = ["score", "fixtures/pubmed", "--quiet", "--out"];
    let whole = out("whole");
    let counts = counted(&[&score[..], &[&whole]].concat(), shim, part);

    for (call, what) in [("rename", "KILL"), ("write", "KILL"), ("write", "28"), ("sync", "5")] {
        let trials = Trials { shim, folder: folder.path(), call, what, part, n: counts[call] };
        trials.make(2, &score, |out| same_bytes(out, Path::new(&whole)));
    }
}

/// Of several programs in one folder one works, and the others say that it is in use.
#[test]
fn several_programs_in_one_folder_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let args = [BUILD, &[out.to_str().unwrap()]].concat();
    let start = || command(&args).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let outputs: Vec<Output> =
        [start(), start(), start()].map(|child| child.wait_with_output().unwrap()).into();
    let codes: Vec<Option<i32>> = outputs.iter().map(|output| output.status.code()).collect();
    assert!(
        codes.contains(&Some(0)) && codes.iter().all(|code| matches!(code, Some(0 | 4))),
        "{codes:?}"
    );
    let refused = outputs.iter().filter(|output| !output.status.success());
    refused.for_each(|output| {
        assert!(text(&output.stderr).contains("in use"), "{}", text(&output.stderr))
    });
    same_bytes(&out, expected());

    assert!(
        !tree(&out).keys().any(|name| name.extension().is_some_and(|ending| ending == "kpipe-tmp"))
    );
}

/// A signal to a process.
fn send(child: &std::process::Child, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

/// Waits until something holds, for a minute at most.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 60, "{what} does not happen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn ends(child: std::process::Child, code: i32, words: &[&str]) {
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "`{word}` in {said}"));
}

#[test]
fn a_training_run_that_is_told_to_end_saves_and_goes_on() {
    let (folder, built) = (tempfile::tempdir().unwrap(), built());
    let whole = folder.path().join("whole");
    let start = |out: &Path, steps: &str| {
        let args = ["train", "--shards", built.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let mut command = command(&[&args[..], SMALL, &["--set", steps]].concat());
        command
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };

    assert!(start(&whole, "train.steps=200").wait().unwrap().success());
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&whole.join(name).metadata().unwrap().permissions())
    };
    assert_eq!(
        mode("model.safetensors"),
        mode("config.json"),
        "others may read what the umask lets them"
    );

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let out = folder.path().join(code.to_string());
        let child = start(&out, "train.steps=200");
        let metrics = || std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
        wait_for("a step", || metrics().lines().count() > 2);
        send(&child, signal);
        ends(child, code, &["stopped: ", "is saved; the same command goes on"]);
        assert!(metrics().lines().count() < 200);
        assert!(start(&out, "train.steps=200").wait().unwrap().success());

        for name in ["model.safetensors", "consumed.jsonl"] {
            assert!(
                std::fs::read(out.join(name)).unwrap() == std::fs::read(whole.join(name)).unwrap(),
                "{name}"
            );
        }
    }
}

/// An engine that answers one sentence and hangs on all others, as if it were Apertium.
fn hanging_engine(folder: &Path, mark: &str) -> String {
    let (bin, modes) = (folder.join("bin"), folder.join("share/apertium/modes"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&modes).unwrap();
    let script = |name: &str, text: &str| {
        std::fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        let rights = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join(name), rights).unwrap();
    };
    script("apertium", "echo Apertium 3.8.3");
    let hang =
        format!("case \"$line\" in *house*) printf '%s\\0' \"$line\";; *) sleep {mark};; esac");
    script("engine", &format!("tr '\\0' '\\n' | while IFS= read -r line; do {hang}; done"));

    for mode in ["eng-spa.mode", "spa-eng.mode"] {
        std::fs::write(modes.join(mode), format!("{} | cat -u", bin.join("engine").display()))
            .unwrap();
    }
    // `cat` knows no `-z`; the last stage of a pipeline is given one as every other.
    script("cat", "exec /bin/cat");
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// Processes whose command line holds a word.
fn alive(word: &str) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| text(line).contains(word)).count()
}

#[test]
fn translators_die_with_the_program_however_it_ends() {
    if !Path::new("/proc/self/cmdline").exists() {
        return;
    }
    for (signal, mark) in
        [(Signal::KILL, "7731.25"), (Signal::TERM, "7731.50"), (Signal::INT, "7731.75")]
    {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let args = ["build", "--source", "pubmed", "--limit", "60", "--out", out.to_str().unwrap()];
        let mut command = command(&args);
        command
            .env("PATH", hanging_engine(folder.path(), mark))
            .stderr(std::process::Stdio::piped());
        let child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        wait_for("a translator that hangs", || alive(&format!("sleep\0{mark}")) > 0);
        send(&child, signal);
        match signal {
            Signal::KILL => drop(child.wait_with_output().unwrap()),
            Signal::TERM => {
                ends(child, 143, &["is kept in", ".kpipe`; the same command goes on there"])
            }
            _ => ends(child, 130, &["is kept in"]),
        }
        wait_for("the end of the translators", || alive(mark) == 0);
    }
}

#[test]
fn temporary_folders_go_when_a_signal_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let pages: String = (0..60_000)
        .map(|n| format!("{{\"text\": \"word{n} of a long list of {n} words\"}}\n"))
        .collect();
    let source = folder.path().join("a.jsonl");
    std::fs::write(&source, pages).unwrap();
    let out = folder.path().join("scores");
    let args = ["score", source.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let child = command(&args)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let working = || {
        let names =
            std::fs::read_dir(&out).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".kpipe-score-")).count()
    };
    wait_for("the working folder", || working() > 0);
    send(&child, Signal::TERM);
    ends(child, 143, &["no scores were written"]);

    assert_eq!(working(), 0);
}

/// Shards that are built again while a run reads them are other shards: it saves what it learned
/// and says so.
#[test]
fn shards_that_change_under_a_run_stop_it_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("built");
    copy(&built(), &shards);
    let run = folder.path().join("run");
    let steps = "train.steps=100000";
    let args = [
        "train",
        "--shards",
        shards.to_str().unwrap(),
        "--out",
        run.to_str().unwrap(),
        "--set",
        steps,
    ];

    let mut command = command(&[&args[..], SMALL].concat());
    let child = command
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let metrics =
        || std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default().lines().count();
    wait_for("a step", || metrics() > 2);
    // Linked again, it is the same.
    let shard = shards.join("data/train-00000-of-00001.parquet");
    std::fs::hard_link(&shard, folder.path().join("second name")).unwrap();
    let before = metrics();
    wait_for("another step", || metrics() > before + 2);
    let other = crate::support::rows(&shards.join("data"), "validation");
    assert!(!other.is_empty());
    std::fs::copy(
        shards.join("data/validation-00000-of-00001.parquet"),
        folder.path().join("other"),
    )
    .unwrap();
    std::fs::rename(folder.path().join("other"), &shard).unwrap();

    ends(child, 3, &["was rebuilt or changed while it is trained on", "a checkpoint of step"]);
}
