//! Which format a single file has, by what it begins with and by its name.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::decompress::{Bounds, Unpacked};
use crate::files::encoding::Utf8;
use crate::files::expand::{expand, why_passed_over, without_packing};
use crate::ingest::{FORMATS, Format};

/// Names the format of a file, or the one that all files of a folder have that show one.
///
/// # Errors
/// If the path cannot be read, nothing tells its format, or its files have several.
pub fn guess_format(path: &Path) -> Result<&'static str> {
    let mut found: Option<(&'static str, PathBuf)> = None;
    let mut unreadable = None;

    for file in expand(&path.to_string_lossy())? {
        if why_passed_over(&file).is_some() {
            continue;
        }
        let name = match guess_file(&file) {
            Ok(Some(name)) => name,
            Ok(None) => continue,
            // Ingest refuses it, and reads the others.
            Err(error) => {
                unreadable = Some(error);
                continue;
            }
        };

        match &found {
            Some((other, before)) if *other != name => {
                let (before, file) = (before.display(), file.display());
                return Err(Error::usage(format!(
                    "`{}` has files of several \
                                                 formats",
                    path.display()
                ))
                .at(format!("`{before}` is {other}, `{file}` is {name}"))
                .hint(
                    "name the files or a pattern for each format, such as `folder/*.csv \
                           folder/*.jsonl`",
                ));
            }
            Some(_) => {}
            None => found = Some((name, file)),
        }
    }

    if let Some((name, _)) = found {
        return Ok(name);
    }
    if let Some(error) = unreadable {
        return Err(error);
    }
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    Err(Error::usage(format!("nothing tells what format `{}` has", path.display())).hint(format!(
        "make it a `[source.<name>]` of a pipeline file and say its `format`: {}",
        names.join(", ")
    )))
}

fn guess_file(path: &Path) -> Result<Option<&'static str>> {
    let bounds = Bounds { max_bytes: u64::MAX, max_ratio: u64::MAX };
    let stream =
        Unpacked::open(path, &bounds, None).map_err(|cause| Error::file("open", path, cause))?;
    let mut head = Vec::new();
    // Damage behind the head is no matter here; reading the whole file will report it.
    let _ = Utf8::new(stream, None).take(4096).read_to_end(&mut head);
    let signed = FORMATS.iter().filter_map(|format| Some((format.recognises(&head)?, *format)));
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = without_packing(&name);
    let is_named =
        |format: &&&dyn Format| format.endings().iter().any(|ending| name.ends_with(ending));

    let format = signed.min_by_key(|(place, _)| *place).map(|(_, format)| format);
    let format = format.or_else(|| FORMATS.iter().find(is_named).copied());
    let format = format.or_else(|| FORMATS.iter().find(|format| format.resembles(&head)).copied());
    Ok(format.map(|format| format.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_before_the_name() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content, expected) in [
            ("a.csv", "id,text\n", Some("csv")),
            ("b.JSONL.gz", "{}", Some("jsonl")),
            ("c", "  {\"text\": 1}", Some("jsonl")),
            ("d.txt", "<mediawiki xmlns=", Some("wiki")),
            ("e.xml", "<?xml version=\"1.0\"?>\n<PubmedArticleSet>", Some("pubmed")),
            ("wiki_00", "<doc id=\"12\" url=", Some("wikiextractor")),
            (
                "wiki_01",
                "{\"id\": \"12\", \"revid\": \"7\", \"url\": \"https://x.org/wiki?curid=12\", \"title\": \"T\"",
                Some("wikiextractor"),
            ),
            ("f.bin", "PAR1....", Some("parquet")),
            ("g.md", "# x", Some("text")),
            ("h.bin", "abc", None),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(guess_format(&path).ok(), expected, "{name}");
        }

        let mixed = guess_format(folder.path()).unwrap_err();
        assert!(mixed.to_string().contains("several formats"), "{mixed}");
        let pattern = folder.path().join("[ah]*");
        assert_eq!(guess_format(&pattern).unwrap(), "csv", "a file that shows none is no matter");
    }
}
