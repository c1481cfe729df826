//! `words`: a plain list, one name a line, optionally followed by a tab and a count (THUOCL's
//! lists).
//!
//! The name is its own id; the kind is the file's stem. Lines may end with LF, CRLF or a bare CR.
//! Nothing else recognises such a file, so this reader comes last and takes text of short lines
//! only.

use std::io::BufRead;
use std::path::Path;

use super::{Concept, Entry, Found, Reader, read_text};
use crate::error::Result;
use crate::text::words::is_cjk;

/// Longest line of a word list, in characters.
const LONGEST: usize = 200;

/// Reader of word lists.
pub(super) struct Words;

/// The name of a line, or `None` where the line is no entry of a word list.
fn entry(line: &str) -> Option<&str> {
    let mut columns = line.split('\t');
    let name = columns.next().unwrap_or("").trim();
    let count_or_nothing = columns.all(|column| column.trim().chars().all(|c| c.is_ascii_digit()));
    let fits =
        count_or_nothing && name.chars().count() <= LONGEST && !name.chars().any(char::is_control);
    fits.then_some(name)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r']).filter(|line| !line.trim().is_empty())
}

/// The list's name: the file's name without any ending.
fn stem(file: &Path) -> &str {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
    name.split('.').next().unwrap_or(name)
}

impl Reader for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn about(&self) -> &'static str {
        "plain list, one name a line, optionally with a tab and a count"
    }

    fn recognises(&self, head: &str) -> bool {
        // The last line of the head may be cut.
        let mut found = lines(head).take(1_000).peekable();
        found.peek().is_some()
            && found.all(|line| entry(line).is_some_and(|name| !name.starts_with(['<', '{', '['])))
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        for line in lines(&text) {
            let Some(name) = entry(line) else {
                found.refuse("malformed");
                continue;
            };
            let language = name.chars().any(is_cjk).then(|| "zh".to_string());
            let (id, kind, name) = (name.to_string(), stem(file).to_string(), name.to_string());
            found.push(Entry {
                concept: Concept { id, kind, name, language, ..Concept::default() },
                ..Entry::default()
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_every_line_end() {
        for text in ["肺炎\t12\n感冒 \t 7\n", "肺炎\t12\r感冒\t7\r", "肺炎\r\n\r\n感冒"]
        {
            assert!(Words.recognises(text), "{text:?}");
            let mut found = Found::default();
            Words
                .read(&mut text.as_bytes(), Path::new("lists/medical.txt.gz"), &mut found)
                .unwrap();
            let names: Vec<&str> =
                found.entries.iter().map(|entry| entry.concept.name.as_str()).collect();
            assert_eq!(names, ["肺炎", "感冒"]);
            assert_eq!(found.entries[0].concept.kind, "medical");
        }
        assert!(
            !Words.recognises("a\tb\tc\n") && !Words.recognises("") && !Words.recognises("<x>\n")
        );
    }
}
