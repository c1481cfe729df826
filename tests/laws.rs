use kpipe::build::lists::list;
use kpipe::build::plan::{Pipeline, ROOMS};
use kpipe::flow::books::REASONS;
use kpipe::flow::contract::contracts;
use kpipe::flow::registry::one_of;
use kpipe::flow::settings::{DEFAULT, Settings};
use kpipe::train::run::preset::PRESETS;

use crate::support::project;

#[test]
fn every_default_has_a_reason() {
    let mut inside_list = false;
    for (idx, line) in DEFAULT.lines().enumerate() {
        let is_key = line
            .split_once(" = ")
            .is_some_and(|(key, _)| !key.starts_with('#') && !key.starts_with(' '));
        if is_key && !line.contains('#') && !inside_list {
            let above = DEFAULT.lines().nth(idx.saturating_sub(1)).unwrap_or("");
            let in_source = DEFAULT.lines().take(idx).filter(|line| line.starts_with('[')).last();
            assert!(
                above.starts_with('#')
                    || in_source.is_some_and(|section| section.starts_with("[source.")),
                "pipelines/default.toml:{}: `{line}` has no reason",
                idx + 1
            );
        }
        inside_list = (inside_list || line.ends_with('[')) && !line.starts_with(']');
    }
}

#[test]
fn every_pipeline_file_is_a_checked_plan() {
    let mut n = 0;
    for entry in std::fs::read_dir(project().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let mut settings = Settings::new().unwrap();
        settings.add_file(&path).unwrap();
        let pipeline = Pipeline::new(&settings).unwrap();
        assert!(!pipeline.source.is_empty());

        n += 1;
    }
    assert!(n >= 4, "{n} pipeline files");
}

#[test]
fn every_preset_is_known_by_the_name_of_its_file() {
    let files = std::fs::read_dir(project().join("pipelines/presets")).unwrap();
    let mut names: Vec<String> = files
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

/// The names that `pipelines/default.toml` gives are those of the registries.
#[test]
fn the_lists_in_the_default_pipeline_are_fresh() {
    let names = |kind: &str| -> Vec<String> {
        (list(kind).unwrap().entries)().unwrap().into_iter().map(|entry| entry.name).collect()
    };
    let formats = names("formats");
    let formats: Vec<&str> = formats.iter().map(String::as_str).collect();
    let line = format!("# format    {}; left out", one_of(&formats));
    assert!(DEFAULT.contains(&line), "pipelines/default.toml lacks `{line}`");
    let of_kind =
        |section: &str| DEFAULT.split(section).nth(1).unwrap().lines().nth(1).unwrap().to_string();

    for name in names("schedules") {
        let line = of_kind("[train.schedule]");
        assert!(line.contains(&format!("\"{name}\"")), "`{name}` is missing in: {line}");
    }

    for (kind, section) in [("objectives", "train.objective"), ("strategies", "train.strategy")] {
        for name in names(kind) {
            assert!(
                DEFAULT.contains(&format!("\n[{section}.{name}]")),
                "no section [{section}.{name}]"
            );
        }
    }

    for name in names("engines") {
        assert!(of_kind("[negatives.back_translation]").contains(&name), "{name}");
    }
}

#[test]
fn every_column_says_what_it_means() {
    for contract in contracts().unwrap() {
        for field in &contract.fields {
            assert!(field.meaning.len() > 3, "{}.{}", contract.name, field.name);
        }
    }
}

#[test]
fn every_room_has_a_folder_and_a_contract() {
    for room in ROOMS {
        assert!(project().join("src").join(room.name).join("mod.rs").exists(), "{}", room.name);
        assert!(
            project().join("schemas").join(format!("{}.toml", room.writes)).exists(),
            "{}",
            room.writes
        );
    }
}

#[test]
fn every_declared_reason_is_used_somewhere() {
    fn sources(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("flow/books.rs")
            {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    let mut text = String::new();
    sources(&project().join("src"), &mut text);

    for reason in REASONS {
        // Or with what is counted behind it, as `dropped:retracted`.
        let is_given =
            ["\"", ":"].iter().any(|end| text.contains(&format!("\"{}{end}", reason.name)));
        assert!(is_given, "`{}` is never given", reason.name);
    }
}
