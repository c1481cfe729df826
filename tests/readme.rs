use std::path::Path;
use std::process::Command;

use crate::support::{project, text};

fn readme() -> String {
    std::fs::read_to_string(project().join("README.md")).unwrap()
}

/// The lines of the README's `sh` blocks.
fn commands() -> Vec<String> {
    let (mut inside, mut found) = (false, Vec::new());
    for line in readme().lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.trim().is_empty() => found.push(line.to_string()),
            _ => {}
        }
    }
    found
}

/// Every documented command, in order, in a folder that has what a fresh clone has. Installing
/// packages and compiling are left to whoever set the tests up; a training run is cut to a few
/// steps.
#[test]
fn every_documented_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["fixtures", "pipelines"] {
        std::os::unix::fs::symlink(project().join(name), folder.path().join(name)).unwrap();
    }
    let mut n = 0;

    for line in commands() {
        if line == "cargo test --release" {
            continue;
        }
        let command = line.rsplit_once("&& ").map_or(line.as_str(), |(_, last)| last);
        let args = command
            .strip_prefix("cargo run --release -- ")
            .or_else(|| command.strip_prefix("kpipe "))
            .unwrap_or_else(|| panic!("a test does not know how to run `{line}`"));
        let mut run = Command::new(env!("CARGO_BIN_EXE_kpipe"));
        run.current_dir(folder.path()).args(args.split(' '));

        if args.starts_with("train ") {
            run.args(["--set", "train.steps=4"]);
        }
        let output = run.output().unwrap();
        assert!(output.status.success(), "`{line}`\n{}", text(&output.stderr));
        n += 1;
    }

    assert!(n >= 10, "only {n} commands found");
    for name in
        ["out/manifest.json", "out/report.html", "run/model.safetensors", "out-law/manifest.json"]
    {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn ci_runs_the_documented_test_command() {
    let ci = std::fs::read_to_string(project().join(".ci/run")).unwrap();
    assert!(commands().iter().any(|line| line == "cargo test --release"));
    assert!(ci.lines().any(|line| line == "cargo test --release"));
}

/// The tables between `<!-- kpipe list KIND -->` and `<!-- end -->` are what the program says.
/// `KPIPE_README=write` writes them anew.
#[test]
fn the_tables_are_what_kpipe_lists() {
    let old = readme();
    let mut new = String::new();
    let mut rest = old.as_str();
    let mut n = 0;

    while let Some((before, behind)) = rest.split_once("<!-- kpipe list ") {
        let (kind, behind) = behind.split_once(" -->").unwrap();
        let (_, behind) = behind.split_once("<!-- end -->").unwrap();
        let table = crate::support::succeed(&["list", kind, "--markdown"]);
        new += &format!("{before}<!-- kpipe list {kind} -->\n{table}<!-- end -->");
        rest = behind;
        n += 1;
    }

    new += rest;
    if std::env::var("KPIPE_README").is_ok_and(|what| what == "write") {
        std::fs::write(project().join("README.md"), &new).unwrap();
    }
    assert!(
        n >= 3 && (readme() == new),
        "a table of the README is stale: KPIPE_README=write cargo test --release the_tables"
    );
}

/// The tree in the README names what is there.
#[test]
fn the_tree_is_fresh() {
    let readme = readme();
    for entry in std::fs::read_dir(project().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        assert!(
            !path.is_dir() || readme.contains(&format!("\n  {name}/ ")),
            "src/{name} is missing in the README"
        );
    }

    for name in ["schemas", "pipelines", "fixtures", "tests", "benches", "fuzz"] {
        assert!(
            Path::new(&project().join(name)).is_dir() && readme.contains(&format!("\n{name}/ ")),
            "{name}"
        );
    }
}
