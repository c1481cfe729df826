//! Back-translations that were made elsewhere, read from a file.
//!
//! One pair a line: `source<TAB>roundtrip`, or JSON `{"source": ..., "roundtrip": ...}`; plain,
//! gzip, bzip2, xz or zstd. A sentence is looked up by its normal form ([`crate::text::normal`]),
//! so case, spacing and punctuation do not matter; of two lines for one sentence the first counts.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::rewrite::wordnet::readers::read_text;
use crate::text::normal::normalise;

/// Pairs by the normal form of their source.
#[derive(Debug, Default)]
pub struct Table {
    pairs: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Pair {
    source: String,
    roundtrip: String,
}

impl Table {
    /// Reads a file into the table.
    ///
    /// # Errors
    /// If the file cannot be read or a line is no pair; names the line.
    pub fn read(&mut self, path: &Path) -> Result<()> {
        for (nth, line) in
            read_text(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
        {
            let pair = if line.starts_with('{') {
                serde_json::from_str::<Pair>(line).ok().map(|pair| (pair.source, pair.roundtrip))
            } else {
                line.split_once('\t')
                    .map(|(source, roundtrip)| (source.to_string(), roundtrip.to_string()))
            };
            let Some((source, roundtrip)) = pair else {
                return Err(Error::data("a line of a back-translation table is no pair")
                    .at(format!("{}:{}", path.display(), nth + 1))
                    .hint(
                        "write `source<TAB>roundtrip` or \
                           {\"source\": \"...\", \"roundtrip\": \"...\"}",
                    ));
            };
            self.pairs.entry(normalise(&source)).or_insert(roundtrip);
        }
        Ok(())
    }

    /// The round trip of a sentence.
    pub fn get(&self, sentence: &str) -> Option<&str> {
        if self.pairs.is_empty() {
            return None;
        }
        self.pairs.get(&normalise(sentence)).map(String::as_str)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read_and_looked_up_by_normal_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.tsv");
        let text = "The dog ran.\tThe dog \
                    walked.\n{\"source\":\"A cat\",\"roundtrip\":\"One cat\"}\nthe DOG ran\tx\n";
        std::fs::write(&path, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        let mut table = Table::default();
        table.read(&path).unwrap();
        assert_eq!(table.get("the dog  ran"), Some("The dog walked."));
        assert_eq!(table.get("A cat."), Some("One cat"));
        assert_eq!((table.get("A cow."), table.len()), (None, 2));
        std::fs::write(&path, "no pair").unwrap();

        assert!(table.read(&path).unwrap_err().to_string().contains("pairs.tsv:1"));
    }
}
