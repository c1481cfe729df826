use std::path::PathBuf;

use crate::support::project;

/// What `fuzz/run` drives with libFuzzer.
#[path = "../fuzz/targets.rs"]
mod targets;

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

/// Inputs that once broke a target, and those that fuzzing begins with.
#[test]
fn what_was_found_once_stays_mended() {
    let seeds = std::fs::read_to_string(project().join("fuzz/seeds.tsv")).unwrap();
    let seeds: Vec<(&str, &str)> = seeds.lines().filter_map(|line| line.split_once('\t')).collect();

    for target in targets::TARGETS {
        let found = files(project().join("fuzz/found").join(target.name));
        let own = seeds
            .iter()
            .filter(|(name, _)| *name == target.name)
            .map(|(_, path)| project().join(path));
        let own = own.flat_map(|path| if path.is_dir() { files(path) } else { vec![path] });
        let inputs: Vec<PathBuf> = found.into_iter().chain(own).collect();
        assert!(!inputs.is_empty(), "`{}` has no input to begin with", target.name);

        for input in inputs {
            (target.run)(
                &std::fs::read(&input)
                    .unwrap_or_else(|cause| panic!("{}: {cause}", input.display())),
            );
        }
    }

    for format in kpipe::ingest::FORMATS {
        let has_target = targets::TARGETS.iter().any(|target| target.name == format.name());
        assert!(has_target, "no fuzz target reads `{}`", format.name());
    }
    for (name, path) in seeds {
        assert!(targets::TARGETS.iter().any(|target| target.name == name), "{name} {path}");
    }
}
