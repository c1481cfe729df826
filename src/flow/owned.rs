//! Which folders and files are ours: what `--out` may be, and what in it may be replaced or
//! removed.
//!
//! `kpipe.json` in an output folder says which command wrote there and which files, each with its
//! hash. Names of files say nothing: web apps have a `manifest.json`, every model of Hugging Face
//! has a `tokenizer.json`. A folder without that mark is taken only if it is empty; a file that the
//! mark does not name is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::dataset::{read_json, write_json};
use crate::flow::disk::{UNFINISHED, files_named, hash_file, remove_file, rename};

/// The file that marks a folder as ours.
pub const MARK: &str = "kpipe.json";

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What `kpipe build` wrote.
    Build,
    /// What `kpipe train` wrote.
    Run,
    /// What `kpipe score` wrote.
    Scores,
}

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Kind::Build => "kpipe build",
            Kind::Run => "kpipe train",
            Kind::Scores => "kpipe score",
        }
    }

    /// Whether an entry of a folder without a mark may be left of one of our runs that was killed
    /// as it began.
    fn is_leftover(self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_empty = || fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == 0);

        match name {
            // What every freshly made disk has.
            "lost+found" => true,
            _ if name.ends_with(UNFINISHED) => true,
            // `kpipe.json.1234` of a program that was killed as it began.
            _ if name.strip_prefix(MARK).is_some_and(|rest| rest.starts_with('.')) => true,
            "lock" => self == Kind::Run && is_empty(),
            // As versions before called it.
            "tokenizer.json.tmp" => self == Kind::Run,
            _ => self == Kind::Scores && name.starts_with(".kpipe-score-"),
        }
    }
}

/// What stands in `kpipe.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// Version of kpipe.
    kpipe: String,
    holds: Kind,
    /// Files that were written, by their path below the folder, with their xxh3-128; empty before a
    /// file is whole.
    files: BTreeMap<String, String>,
}

/// An output folder that is ours.
#[derive(Clone, Debug)]
pub struct Owned {
    folder: PathBuf,
    mark: Mark,
}

impl Owned {
    /// Makes a folder ours, or finds that it is. It is created where it is not there.
    ///
    /// # Errors
    /// If it holds files and has no mark, or that of another command; or cannot be created.
    pub fn claim(folder: &Path, holds: Kind) -> Result<Self> {
        let foreign = |what: String| {
            Error::usage(format!("`{}` holds {what}", folder.display())).hint(format!(
                "give `--out` a new or empty folder, or one of an earlier `{}`; where this is one \
                 and its `{MARK}` was \
                 lost, delete what it holds",
                holds.command()
            ))
        };

        if fs::metadata(folder).is_ok_and(|facts| !facts.is_dir()) {
            return Err(Error::usage(format!("`{}` is no folder", folder.display()))
                .hint("give `--out` a new or empty folder"));
        }

        let read = || match fs::metadata(folder) {
            Ok(_) => read_json(&folder.join(MARK))
                .map_err(|_| foreign(format!("a `{MARK}` that kpipe cannot read"))),
            Err(_) => Ok(None),
        };
        let mut found: Option<Mark> = read()?;
        let mut other = None;

        if found.is_none() {
            other = entries(folder)?.into_iter().find(|path| !holds.is_leftover(path));
            // Another program may have begun there in this moment: then what was listed is its own.
            found = if other.is_some() { read()? } else { None };
        }

        let mark = match found {
            Some(mark) if mark.holds == holds => mark,
            Some(mark) => return Err(foreign(format!("what `{}` wrote", mark.holds.command()))),
            None => {
                if let Some(other) = other {
                    let what = format!("files that `{}` did not write", holds.command());
                    return Err(foreign(what).at(other.display()));
                }

                fs::create_dir_all(folder).map_err(|cause| {
                    Error::file("create", folder, cause)
                        .hint("give `--out` a folder that you may write to")
                })?;
                let mark = Mark {
                    kpipe: env!("CARGO_PKG_VERSION").to_string(),
                    holds,
                    files: BTreeMap::new(),
                };
                begin(folder, &mark)?;
                mark
            }
        };
        Ok(Owned { folder: folder.to_path_buf(), mark })
    }

    /// Whether a folder says that it holds `holds`.
    pub fn is(folder: &Path, holds: Kind) -> bool {
        read_json::<Mark>(&folder.join(MARK)).ok().flatten().is_some_and(|mark| mark.holds == holds)
    }

    /// Files of ours, by their path below the folder.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.mark.files.keys().map(String::as_str)
    }

    /// Says that these files will be written, so that they are ours however the writing ends.
    ///
    /// # Errors
    /// If one of them stands there and is none of ours.
    pub fn intend(&mut self, names: &BTreeSet<String>) -> Result<()> {
        let is_foreign = |name: &&String| {
            !self.mark.files.contains_key(*name) && self.folder.join(name).exists()
        };
        let foreign: Vec<String> =
            names.iter().filter(is_foreign).map(|name| format!("`{name}`")).collect();

        if !foreign.is_empty() {
            return Err(Error::usage(format!(
                "kpipe did not write {}, and would replace it",
                foreign.join(", ")
            ))
            .at(self.folder.display())
            .hint("move it away and run the same command again"));
        }

        let added = names.iter().filter(|name| !self.mark.files.contains_key(*name)).cloned();
        let added: Vec<(String, String)> = added.map(|name| (name, String::new())).collect();
        if added.is_empty() {
            return Ok(());
        }
        self.mark.files.extend(added);
        self.save()
    }

    /// Files of ours that have other bytes than were written; those that are gone are none of them.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn edited(&self) -> Result<BTreeSet<String>> {
        let mut edited = BTreeSet::new();
        for (name, hash) in self.mark.files.iter().filter(|(_, hash)| !hash.is_empty()) {
            let place = self.folder.join(name);
            if place.exists() && hash_file(&place)? != *hash {
                edited.insert(name.clone());
            }
        }
        Ok(edited)
    }

    /// Removes the files of ours that are not `kept`, and notes the hashes of those that are; but
    /// for `edited` ones, of which the hash that was written stays.
    ///
    /// # Errors
    /// If a file cannot be removed or read.
    pub fn settle(&mut self, kept: &BTreeSet<String>, edited: &BTreeSet<String>) -> Result<()> {
        let gone: Vec<String> =
            self.mark.files.keys().filter(|name| !kept.contains(*name)).cloned().collect();
        for name in &gone {
            remove_file(&self.folder.join(name))?;
        }
        self.sweep()?;
        let mut files = BTreeMap::new();

        for name in kept {
            let place = self.folder.join(name);
            let hash = match self.mark.files.get(name).filter(|_| edited.contains(name)) {
                Some(hash) => hash.clone(),
                // Somebody may have taken it away since.
                None if !place.exists() => continue,
                None => hash_file(&place)?,
            };
            files.insert(name.clone(), hash);
        }

        if self.mark.files != files {
            self.mark.files = files;
            self.save()?;
        }

        Ok(())
    }

    /// Removes what programs left that were killed as they began.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn sweep(&self) -> Result<()> {
        let is_left = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.strip_prefix(MARK).is_some_and(|rest| rest.starts_with('.'))
        };
        entries(&self.folder)?.iter().filter(is_left).try_for_each(|path| remove_file(path))
    }

    /// Files beside ours in `folders` below, which stay.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub fn added(&self, folders: &[&str]) -> Result<Vec<String>> {
        let mut added = Vec::new();
        for folder in folders {
            for path in entries(&self.folder.join(folder))? {
                let name =
                    path.strip_prefix(&self.folder).unwrap_or(&path).to_string_lossy().into_owned();
                if path.is_file() && name != MARK && !self.mark.files.contains_key(&name) {
                    added.push(name);
                }
            }
        }
        Ok(added)
    }

    fn save(&self) -> Result<()> {
        write_json(&self.folder.join(MARK), &self.mark)
    }
}

/// Writes the first mark of a folder, unless another program did so in this moment: its own may say
/// more by now.
fn begin(folder: &Path, mark: &Mark) -> Result<()> {
    let own = folder.join(format!("{MARK}.{}", std::process::id()));
    write_json(&own, mark)?;
    let place = folder.join(MARK);

    match fs::hard_link(&own, &place) {
        Ok(()) => remove_file(&own),
        Err(_) if place.exists() => remove_file(&own),
        // A file system without links.
        Err(_) => rename(&own, &place),
    }
}

/// What is in a folder, in name order; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    // Where it cannot be at all, creating it says so.
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    files_named(folder, "", "")
        .map_err(|error| error.hint("give `--out` a folder that you may write to"))
}

/// Refuses an output folder that is, holds, or lies in what is read: `what` is `source `wiki``,
/// `path` a file, a folder or a pattern. What does not exist is no matter here.
///
/// # Errors
/// If they overlap.
pub fn check_apart(out: &Path, what: &str, path: &str) -> Result<()> {
    let ours = real(out);
    let overlaps = |how: &str| {
        Error::usage(format!("`--out {}` {how} {what}", out.display()))
            .at(path)
            .hint("what is written would be read again, or lost: give `--out` a folder beside it")
    };
    let place = Path::new(path);

    if let Ok(facts) = fs::metadata(place) {
        let theirs = real(place);
        return match () {
            () if theirs == ours => Err(overlaps("is")),
            () if theirs.starts_with(&ours) => Err(overlaps("holds")),
            () if facts.is_dir() && ours.starts_with(&theirs) => Err(overlaps("lies in")),
            () => Ok(()),
        };
    }

    let Some(first) = path.find(['*', '?', '[']) else { return Ok(()) };
    // A pattern reads the folders that it matches, and with `**` all that lies below its fixed
    // beginning.
    let (folder, rest) = path.split_at(path[..first].rfind('/').map_or(0, |slash| slash + 1));
    let fixed = real(Path::new(if folder.is_empty() { "." } else { folder }));
    let options =
        glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let names = format!("{}/{rest}", glob::Pattern::escape(&fixed.to_string_lossy()));
    let pattern = glob::Pattern::new(&names).ok();
    let is_read = |folder: &Path| {
        pattern.as_ref().is_some_and(|pattern| pattern.matches_path_with(folder, options))
    };

    if ours.starts_with(&fixed) && (path.contains("**") || ours.ancestors().any(is_read)) {
        return Err(overlaps("lies in"));
    }
    match glob::glob(&names)
        .ok()
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| real(&file).starts_with(&ours))
    {
        true => Err(overlaps("holds")),
        false => Ok(()),
    }
}

/// The real path of what may not exist yet: links are followed as far as it does.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for above in absolute.ancestors() {
        if let Ok(found) = above.canonicalize() {
            let mut place = found;
            for part in absolute.strip_prefix(above).unwrap_or(Path::new("")).components() {
                match part {
                    Component::ParentDir => _ = place.pop(),
                    other => place.push(other),
                }
            }
            return place;
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_string()).collect()
    }

    #[test]
    fn a_folder_is_ours_by_its_mark_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        Owned::claim(&out, Kind::Build).unwrap();
        Owned::claim(&out, Kind::Build).unwrap();
        assert!(Owned::is(&out, Kind::Build) && !Owned::is(&out, Kind::Run));
        assert!(
            Owned::claim(&out, Kind::Run).unwrap_err().to_string().contains("`kpipe build` wrote")
        );

        for name in ["manifest.json", "tokenizer.json", "checkpoints", "README.md", "lock"] {
            let foreign = folder.path().join(format!("has-{name}"));
            fs::create_dir(&foreign).unwrap();
            fs::write(foreign.join(name), "{}").unwrap();
            for kind in [Kind::Build, Kind::Run, Kind::Scores] {
                let error = Owned::claim(&foreign, kind).unwrap_err().to_string();
                assert!(error.contains("did not write") && error.contains(name), "{error}");
            }
            assert_eq!(entries(&foreign).unwrap().len(), 1, "nothing is written there");
        }

        fs::write(out.join(MARK), "").unwrap();
        assert!(Owned::claim(&out, Kind::Build).is_err());
    }

    #[test]
    fn a_new_disk_and_what_a_kill_left_are_no_foreign_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        for name in ["lock", "tokenizer.json.tmp", "tokenizer.json.kpipe-tmp", "kpipe.json.77"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(Owned::claim(folder.path(), Kind::Build).is_err());
        Owned::claim(folder.path(), Kind::Run).unwrap();
    }

    #[test]
    fn only_what_the_mark_names_is_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let mut owned = Owned::claim(folder.path(), Kind::Build).unwrap();
        owned.intend(&set(&["a", "b"])).unwrap();
        put("a", "1");
        put("b", "2");
        owned.settle(&set(&["a", "b"]), &set(&[])).unwrap();
        put("added", "mine");
        put("b", "edited");

        let mut owned = Owned::claim(folder.path(), Kind::Build).unwrap();
        assert_eq!(owned.edited().unwrap(), set(&["b"]));
        assert_eq!(owned.added(&["."]).unwrap().len(), 1);
        let error = owned.intend(&set(&["added", "c"])).unwrap_err().to_string();
        assert!(error.contains("`added`") && error.contains("move it away"), "{error}");
        owned.settle(&set(&["b"]), &set(&["b"])).unwrap();
        assert!(!folder.path().join("a").exists() && folder.path().join("added").exists());
        assert_eq!(
            Owned::claim(folder.path(), Kind::Build).unwrap().edited().unwrap(),
            set(&["b"])
        );
    }

    #[test]
    fn what_is_read_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("corpus/deep")).unwrap();
        fs::write(at("corpus/a.txt"), "a").unwrap();
        let apart = |out: &str, path: &str| {
            check_apart(&at(out), "source `s`", &at(path).to_string_lossy())
        };

        for (out, path, how) in [
            ("corpus", "corpus", "is source"),
            ("corpus/out", "corpus", "lies in"),
            ("corpus/../corpus/deep/out", "corpus", "lies in"),
            ("corpus", "corpus/a.txt", "holds"),
            (".", "corpus", "holds"),
            ("corpus/out", "corpus/**/*.txt", "lies in"),
            ("corpus/out", "corpus/*", "lies in"),
            ("corpus", "corpus/*.txt", "holds"),
        ] {
            let error = apart(out, path).unwrap_err().to_string();
            assert!(error.contains(how), "{out} {path}: {error}");
        }

        for (out, path) in [
            ("out", "corpus"),
            ("corpus/out", "corpus/*.txt"),
            ("corpus-2", "corpus"),
            ("out", "gone"),
        ] {
            apart(out, path).unwrap();
        }
    }
}
