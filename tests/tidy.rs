//! What the tree promises, read off the sources: who may use whom, what a door says, where files
//! are put in place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::project;

/// The rooms, from the ground up, and the rooms that each of them uses. Arrows lead up this list
/// only, so no two rooms can come to need one another.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("draw", &[]),
    ("text", &[]),
    ("flow", &["error"]),
    ("files", &["error", "flow"]),
    ("knowledge", &["error", "files", "flow", "text"]),
    ("ingest", &["error", "files", "flow", "text"]),
    ("dedup", &["error", "flow", "text"]),
    ("density", &["error", "flow", "knowledge"]),
    ("difficulty", &["error", "flow", "text"]),
    ("curriculum", &["draw", "error", "flow"]),
    ("train", &["curriculum", "difficulty", "draw", "error", "flow", "knowledge", "text"]),
    ("translate", &["error", "flow", "train"]),
    ("rewrite", &["draw", "error", "files", "flow", "knowledge", "text", "train", "translate"]),
    ("negatives", &["draw", "error", "flow", "knowledge", "rewrite", "text"]),
    ("variants", &["draw", "error", "flow", "knowledge", "rewrite", "text"]),
    ("facts", &["draw", "error", "flow", "knowledge", "rewrite", "text"]),
    ("tasks", &["draw", "error", "flow", "knowledge", "rewrite", "text"]),
    (
        "eval",
        &["density", "draw", "error", "files", "flow", "knowledge", "rewrite", "text", "train"],
    ),
    (
        "build",
        &[
            "curriculum",
            "dedup",
            "density",
            "difficulty",
            "error",
            "eval",
            "facts",
            "files",
            "flow",
            "ingest",
            "knowledge",
            "negatives",
            "rewrite",
            "tasks",
            "text",
            "train",
            "variants",
        ],
    ),
    ("ablate", &["build", "draw", "error", "eval", "flow", "knowledge", "text", "train"]),
    (
        "cli",
        &[
            "ablate",
            "build",
            "density",
            "error",
            "eval",
            "flow",
            "ingest",
            "knowledge",
            "rewrite",
            "train",
            "variants",
        ],
    ),
];

/// The rooms of the trainer likewise.
const TRAINER: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("params", &[]),
    ("model", &["kernels", "params"]),
    ("data", &["model", "params"]),
    ("schedule", &["params"]),
    ("optimiser", &["model", "params"]),
    ("ask", &["data", "model"]),
    ("strategy", &["ask", "data", "model", "params"]),
    ("objective", &["data", "kernels", "model", "params", "strategy"]),
    (
        "run",
        &["data", "kernels", "model", "objective", "optimiser", "params", "schedule", "strategy"],
    ),
];

/// Slices of components: the trait or type of their entries, the folder they stand in, and the file
/// with the slice.
const REGISTRIES: &[(&str, &str, &str)] = &[
    ("Format", "src/ingest/formats", "src/ingest/formats/mod.rs"),
    ("Reader", "src/knowledge/lexicon", "src/knowledge/lexicon/mod.rs"),
    ("Generator", "src/rewrite", "src/rewrite/mod.rs"),
];

/// Every source file with its text, by its path in the project.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(project()).unwrap().to_str().unwrap().to_string();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    let mut found = BTreeMap::new();
    walk(&project().join("src"), &mut found);
    found
}

/// The code of a file: its comments and its tests left out.
fn code(text: &str) -> String {
    let is_test = |line: &str| line == "#[cfg(test)]";
    let mut lines = text.lines().peekable();
    let mut code = String::new();

    while let Some(line) = lines.next() {
        let ends = is_test(line) && lines.peek().is_some_and(|next| next.contains("mod tests {"));
        if ends {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }

    code
}

/// The first names behind each `prefix` in the code.
fn names_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let behind = code.match_indices(prefix).flat_map(|(at, _)| {
        let rest = &code[at + prefix.len()..];
        // `use crate::{a, b::c}` names several.
        let list = rest
            .strip_prefix('{')
            .map_or(rest, |list| list.split_once('}').map_or(list, |(list, _)| list));
        let one = |part: &str| {
            let name = part
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect::<String>();
            (!name.is_empty()).then_some(name)
        };

        if rest.starts_with('{') {
            list.split(',').filter_map(one).collect::<Vec<_>>()
        } else {
            one(rest).into_iter().collect()
        }
    });
    behind.collect()
}

/// Whom the files of each room use, where `room` tells the room of a file and `prefix` begins a
/// path to another.
fn arrows(
    prefix: &str,
    room: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        // Files of tests alone may use what they like.
        let is_test = path.contains("/tests/")
            || ["tests.rs", "fixture.rs", "toy.rs", "drip.rs"]
                .iter()
                .any(|name| path.ends_with(name));
        let Some(room) = room(&path).filter(|_| !is_test) else { continue };
        let used = names_behind(&code(&text), prefix);
        arrows
            .entry(room.clone())
            .or_default()
            .extend(used.into_iter().filter(|other| *other != room));
    }
    arrows
}

fn compare(table: &[(&str, &[&str])], found: &BTreeMap<String, BTreeSet<String>>) {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (room, allowed) in table {
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let used: BTreeSet<&str> =
            found.get(*room).into_iter().flatten().map(String::as_str).collect();
        assert_eq!(used, allowed, "what `{room}` uses is not what the table in tests/tidy.rs says");
        assert!(allowed.is_subset(&below), "`{room}` uses a room above it: {allowed:?}");
        below.insert(room);
    }

    let known: BTreeSet<&str> = table.iter().map(|(room, _)| *room).collect();
    let all: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(all, known, "rooms in the tree and in the table");
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let room = |path: &str| {
        let rest = path.strip_prefix("src/")?;
        let name = rest.split('/').next()?.trim_end_matches(".rs");
        (name != "lib" && name != "main").then(|| name.to_string())
    };
    compare(ROOMS, &arrows("crate::", room));
}

#[test]
fn rooms_of_the_trainer_use_only_what_lies_below_them() {
    let room = |path: &str| {
        let rest = path.strip_prefix("src/train/")?;
        let name = rest.split('/').next()?.trim_end_matches(".rs");
        (name != "mod" && name != "fixture").then(|| name.to_string())
    };
    compare(TRAINER, &arrows("crate::train::", room));
}

/// In some folders every file is a component and in the slice of its registry, or a private helper
/// of those, which declares none.
#[test]
fn every_file_of_a_registry_folder_is_registered() {
    let sources = sources();
    for folder in ["src/train/schedule", "src/train/objective", "src/train/strategy"] {
        let door = &sources[&format!("{folder}/mod.rs")];
        for path in
            sources.keys().filter(|path| path.starts_with(folder) && !path.ends_with("mod.rs"))
        {
            let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
            let line = format!("&{stem}::{},", stem.to_uppercase());
            let is_helper = door.contains(&format!("\nmod {stem};"))
                && !sources[path].contains("pub static")
                && !sources[path].contains("pub(super) static");
            assert!(
                is_helper || door.contains(&line),
                "{path} is not in the slice: `{line}` is missing in {folder}/mod.rs"
            );
        }
    }
}

#[test]
fn every_door_has_its_plate() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{path} does not begin with what it is for");
        let plate = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(!path.ends_with("/mod.rs") || plate >= 1, "{path}");
    }
}

/// Whoever is of a kind is in the slice of that kind.
#[test]
fn every_component_is_registered() {
    let sources = sources();
    for (kind, folder, slice) in REGISTRIES {
        let list = &sources[*slice];
        let mut n = 0;

        for (path, text) in sources.iter().filter(|(path, _)| path.starts_with(folder)) {
            let mark = format!("impl {kind} for ");
            for (at, _) in code(text).match_indices(&mark) {
                let code = code(text);
                let name: String =
                    code[at + mark.len()..].chars().take_while(|c| c.is_alphanumeric()).collect();
                assert!(
                    list.contains(&format!("::{name},")),
                    "{path}: `{name}` is not in the slice of {slice}"
                );
                n += 1;
            }
        }

        assert!(n > 3, "{kind}: {n}");
    }
}

/// A name in a folder stands for whole bytes because one place syncs and renames.
#[test]
fn files_are_put_in_place_by_one_place() {
    for (path, text) in sources() {
        let renames = code(&text).contains("fs::rename(") && !path.ends_with("/tests.rs");
        assert!(
            !renames || path == "src/flow/disk.rs",
            "{path} renames by itself; see `flow::disk`"
        );
    }
}

/// rustfmt breaks lines, but not those of macros and comments. What stands between quotes, a
/// sample of a format, may be longer.
#[test]
fn lines_of_code_end_at_100_columns() {
    for (path, text) in sources() {
        for (idx, line) in code(&text).lines().enumerate() {
            let is_code = !line.contains('"') && !line.ends_with('\\');
            let n = line.chars().count();
            assert!(!is_code || n <= 100, "{path}:{}: {n} columns: {line}", idx + 1);
        }

        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        for line in comments {
            assert!(line.chars().count() <= 100, "{path}: {line}");
        }
    }
}

/// The maps that people read name what is there.
#[test]
fn the_map_names_every_room() {
    let (readme, lib) = (
        std::fs::read_to_string(project().join("README.md")).unwrap(),
        std::fs::read_to_string(project().join("src/lib.rs")).unwrap(),
    );
    for entry in std::fs::read_dir(project().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();

        if path.is_dir() {
            assert!(
                readme.contains(&format!("\n  {name}/ ")),
                "the tree in the README lacks src/{name}"
            );
            assert!(lib.contains(&format!("`{name}`")), "the map in src/lib.rs lacks `{name}`");
        }
    }
}
