//! path → files: what a path of a pipeline file stands for.
//!
//! A path is a file, a folder (all its files, subfolders included) or a glob pattern. Files come in
//! name order; hidden ones are left out. A path that exists is never taken for a pattern, even with
//! `[` in its name.
//!
//! What a folder or pattern holds and nobody can read (a dead link, a link back into a folder
//! around it, a file or folder without rights, a pipe) stands among the files: reading refuses it
//! by name and goes on. A path that is itself such a thing is an error, since somebody meant it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The files that a source's path stands for, in name order.
///
/// # Errors
/// If nothing is there, nothing matches, or a folder cannot be listed.
pub fn expand(path: &str) -> Result<Vec<PathBuf>> {
    let place = Path::new(path);
    let mut found = Vec::new();

    match std::fs::metadata(place) {
        Ok(facts) if facts.is_dir() => {
            std::fs::read_dir(place).map_err(|cause| missing(place, &cause))?;
            let real = place.canonicalize().map_err(|cause| missing(place, &cause))?;
            walk(place, &mut folders_around(&real), &mut found)?;
        }
        Ok(facts) if !facts.is_file() => {
            return Err(Error::usage(format!("`{path}` is a device or a pipe, not a file"))
                .hint("files are read more than once: write its content into one first"));
        }
        Ok(_) => found.push(place.to_path_buf()),
        Err(cause) if is_pattern(path) && cause.kind() == std::io::ErrorKind::NotFound => {
            matches(path, &mut found)?
        }
        Err(cause) => return Err(missing(place, &cause)),
    }

    if found.is_empty() {
        return Err(Error::usage(format!("`{path}` holds no file")).hint(
            "hidden files are left out; give a file, a folder with files or a pattern such \
                   as `dumps/*.bz2`",
        ));
    }

    found.sort();
    found.dedup();
    Ok(found)
}

/// What a file is called below what its source's path names: `b/c.jsonl` of the folder `a`, the
/// pattern `a/*/c.jsonl` or, if it is the path itself, its own name. The same wherever the corpus
/// lies.
pub fn name_below(path: &str, file: &str) -> String {
    let own_name = || Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
    let folder = match path.find(['*', '?', '[']).filter(|_| !file.starts_with(path)) {
        Some(first) => path[..first].rfind('/').map_or("", |slash| &path[..slash]),
        None => path,
    };
    let below = file
        .strip_prefix(folder)
        .map(|rest| rest.trim_start_matches('/'))
        .filter(|rest| !rest.is_empty());
    below.map(str::to_string).or_else(own_name).unwrap_or_else(|| file.to_string())
}

/// A file's name without the ending of its packing.
pub(crate) fn without_packing(name: &str) -> &str {
    [".gz", ".bz2", ".zst", ".xz"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

fn missing(place: &Path, cause: &std::io::Error) -> Error {
    let error = Error::file("open", place, cause);
    if cause.kind() != std::io::ErrorKind::NotFound {
        return error.hint("check the rights of the file and of the folders above it");
    }
    let parent =
        place.ancestors().skip(1).find(|parent| !parent.as_os_str().is_empty() && parent.exists());

    match parent {
        Some(parent) => {
            error.hint(format!("`{}` exists; look there for the right name", parent.display()))
        }
        None => error.hint("a relative path begins at the folder kpipe is called from"),
    }
}

/// Adds the files that match a pattern, and those in folders that match it.
fn matches(pattern: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let no_pattern = |cause| Error::usage(format!("`{pattern}` is not a glob pattern: {cause}"));

    if pattern.contains("**") {
        return matches_below(
            pattern,
            &glob::Pattern::new(pattern).map_err(no_pattern)?,
            options,
            found,
        );
    }

    for path in glob::glob_with(pattern, options).map_err(no_pattern)? {
        match path {
            Ok(path) => walk(&path, &mut folders_around(&path), found)?,
            Err(cause) if is_passed_over(cause.error()) => found.push(cause.path().to_path_buf()),
            Err(cause) => return Err(Error::file("list", cause.path(), cause.error())),
        }
    }

    Ok(())
}

/// The same for a pattern with `**`, which `glob` would follow through links into the folders
/// around them.
fn matches_below(
    pattern: &str,
    parsed: &glob::Pattern,
    options: glob::MatchOptions,
    found: &mut Vec<PathBuf>,
) -> Result<()> {
    let first = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let root = pattern[..first].rfind('/').map_or("", |slash| &pattern[..=slash]);
    let mut below = Vec::new();

    match std::fs::metadata(if root.is_empty() { "." } else { root }) {
        Ok(_) => walk(Path::new(root), &mut folders_around(Path::new(root)), &mut below)?,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {}
        Err(cause) => return Err(missing(Path::new(root), &cause)),
    }
    // A folder that nobody may list could hold anything.
    let is_closed = |path: &Path| path.is_dir() && std::fs::read_dir(path).is_err();
    let is_wanted = |path: &Path| {
        let around = path.ancestors().take_while(|part| part.as_os_str().len() >= root.len());
        around.into_iter().any(|part| parsed.matches_path_with(part, options)) || is_closed(path)
    };
    found.extend(below.into_iter().filter(|path| is_wanted(path)));
    Ok(())
}

/// The real paths of the folders around a place.
fn folders_around(place: &Path) -> Vec<PathBuf> {
    let parent =
        place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = parent.canonicalize().unwrap_or_default();
    real.ancestors().map(Path::to_path_buf).collect()
}

/// Why a file of a source is not read: a reason of the books, and what exactly. `None` for a file
/// that can be opened.
pub(crate) fn why_passed_over(file: &Path) -> Option<(&'static str, String)> {
    match std::fs::metadata(file) {
        Ok(facts) if facts.is_dir() && std::fs::read_dir(file).is_ok() => {
            Some(("dead_link", "the link leads back into a folder around it".to_string()))
        }
        // Opening a pipe would wait for its writer.
        Ok(facts) if !facts.is_file() && !facts.is_dir() => {
            Some(("no_file", "it is a pipe, a socket or a device".to_string()))
        }
        Ok(_) => {
            let cause = File::open(file).err().filter(is_passed_over)?;
            Some(("unreadable", format!("{cause}; give kpipe the right to read it")))
        }
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied => {
            Some(("unreadable", format!("{cause}; give kpipe the right to read it")))
        }
        // A file that was there a moment ago is another matter.
        Err(cause) if is_passed_over(&cause) && file.is_symlink() => {
            let target = std::fs::read_link(file)
                .map(|target| format!(" `{}`", target.display()))
                .unwrap_or_default();
            Some(match cause.kind() {
                ErrorKind::NotFound => {
                    ("dead_link", format!("the link leads nowhere: there is no{target}"))
                }
                _ => ("dead_link", format!("the link leads by{target} back to itself")),
            })
        }

        Err(_) => None,
    }
}

/// Whether an error says something about one file; any other may pass, and must stop the run.
fn is_passed_over(cause: &std::io::Error) -> bool {
    // Too many levels of links have no kind of their own yet.
    const ELOOP: i32 = 40;
    matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
        || cause.raw_os_error() == Some(ELOOP)
}

/// Adds a file, or the files of a folder. `above` holds the real paths of the folders around it,
/// against link loops.
fn walk(place: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    // The folder kpipe is called from is nameless.
    let here = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    let facts = match std::fs::metadata(here) {
        Ok(facts) => facts,
        Err(cause) if is_passed_over(&cause) => {
            found.push(place.to_path_buf());
            return Ok(());
        }
        Err(cause) => return Err(missing(place, &cause)),
    };

    if !facts.is_dir() {
        found.push(place.to_path_buf());
        return Ok(());
    }

    let failed = |cause| Error::file("list", here, cause).hint("check the rights of the folder");
    let real = here.canonicalize().map_err(failed)?;

    if above.contains(&real) {
        found.push(place.to_path_buf());
        return Ok(());
    }

    let entries = match std::fs::read_dir(here) {
        Ok(entries) => entries,
        Err(cause) if is_passed_over(&cause) => {
            found.push(place.to_path_buf());
            return Ok(());
        }
        Err(cause) => return Err(failed(cause)),
    };

    above.push(real);
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            walk(&place.join(entry.file_name()), above, found)?;
        }
    }

    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a/2.txt", "a/10.txt", ".hidden/x.txt", "a/.y", "c[1].txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    fn check(path: &str, expected: &[&str]) {
        let folder = tree();
        let root = folder.path().to_str().unwrap();
        let found = expand(&format!("{root}{path}")).unwrap();
        let names: Vec<&str> =
            found.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, expected, "{path}");
    }

    #[test]
    fn files_come_in_name_order_without_hidden_ones() {
        check("", &["a/10.txt", "a/2.txt", "b.txt", "c[1].txt"]);
        check("/b.txt", &["b.txt"]);
        check("/*.txt", &["b.txt", "c[1].txt"]);
        check("/**/2.*", &["a/2.txt"]);
        check("/?", &["a/10.txt", "a/2.txt"]);
        check("/c[1].txt", &["c[1].txt"]);
    }

    #[test]
    fn what_is_not_there_is_an_error_with_a_way_out() {
        let folder = tree();
        for (path, says) in [("/zzz", "exists; look there"), ("/*.xml", "holds no file")] {
            let error = expand(&format!("{}{path}", folder.path().display())).unwrap_err();
            assert!(
                error.to_string().contains(says) && error.to_string().contains("hint:"),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_nowhere_are_named() {
        let folder = tree();
        for (target, link) in [
            ("..", "a/loop"),
            ("gone.txt", "a/dead.txt"),
            ("self", "self"),
            ("a/2.txt", "good.txt"),
        ] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }

        let found = expand(folder.path().to_str().unwrap()).unwrap();
        let passed_over: Vec<(String, &str)> = found
            .iter()
            .filter_map(|file| {
                Some((
                    name_below(&folder.path().to_string_lossy(), &file.to_string_lossy()),
                    why_passed_over(file)?.0,
                ))
            })
            .collect();

        assert_eq!(found.len(), 8);
        let root = folder.path().display();

        for (pattern, n) in
            [("/**/*.txt", 6), ("/**/1*", 1), ("/*", 8), ("/a/*", 4), ("/gone/**/x", 0)]
        {
            assert_eq!(
                expand(&format!("{root}{pattern}")).map_or(0, |found| found.len()),
                n,
                "{pattern}"
            );
        }

        let dead = |name: &str| (name.to_string(), "dead_link");
        assert_eq!(passed_over, [dead("a/dead.txt"), dead("a/loop"), dead("self")]);
        assert!(
            expand(&folder.path().join("a/dead.txt").to_string_lossy()).is_err(),
            "named itself, it is an error"
        );
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_links_out_of_the_folder_are_passed_over() {
        let folder = tree();
        let pipe = folder.path().join("a/pipe");
        let _socket = std::os::unix::net::UnixListener::bind(&pipe).unwrap();
        std::os::unix::fs::symlink("../..", folder.path().join("a/up")).unwrap();
        let found = expand(folder.path().join("a").to_str().unwrap()).unwrap();
        let reasons: Vec<_> =
            found.iter().map(|file| why_passed_over(file).map(|(reason, _)| reason)).collect();
        assert_eq!(reasons, [None, None, Some("no_file"), Some("dead_link")]);
        assert!(expand(pipe.to_str().unwrap()).is_err(), "named itself, it is an error");
    }

    #[test]
    fn names_hold_wherever_the_corpus_lies() {
        for (path, file, expected) in [
            ("/c", "/c/a/b.txt", "a/b.txt"),
            ("/c/", "/c/b.txt", "b.txt"),
            ("/c/a*/b?.txt", "/c/a1/b2.txt", "a1/b2.txt"),
            ("*.txt", "b.txt", "b.txt"),
            ("/c/b.txt", "/c/b.txt", "b.txt"),
            ("/c/b[1].txt", "/c/b[1].txt", "b[1].txt"),
        ] {
            assert_eq!(name_below(path, file), expected, "{path}");
        }
    }
}
