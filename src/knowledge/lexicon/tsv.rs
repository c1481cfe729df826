//! `tsv`: a table separated by tabs with a header line.
//!
//! Columns are mapped by name, in any order: `id` (also `concept_id`, `mesh_id`, `drugbank_id`) and
//! `name` (also `label`, `term`, `mesh_name`) must be there; `type` or `kind`, `synonyms` or
//! `aliases`, `language`, `links`, `parents` and `tree_numbers` may be. Lists inside a field are
//! separated by `|`; a link may name its relation (`treats:D003924`). Other columns are not used.
//! Rows of one id are one concept. Reads as they are: Hetionet's nodes, MeSH tables, DrugBank
//! tables.

use std::io::BufRead;
use std::path::Path;

use super::delimited::{Table, roles};
use super::{Found, Reader, read_text};
use crate::error::Result;

/// Reader of tables separated by tabs.
pub(super) struct Tsv;

impl Reader for Tsv {
    fn name(&self) -> &'static str {
        "tsv"
    }

    fn about(&self) -> &'static str {
        "table separated by tabs with columns id, name and optionally type, synonyms, language, \
         links, parents"
    }

    fn recognises(&self, head: &str) -> bool {
        let first = head.lines().next().unwrap_or("");
        first.contains('\t') && roles(first.split('\t')).is_some()
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        Table { delimiter: b'\t', quoting: false, skip_lines: 0, kind: "", language: None }
            .read(&text, file, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lexicon, Relation};
    use super::*;

    fn read(text: &str) -> Result<Found> {
        let mut found = Found::default();
        Tsv.read(&mut text.as_bytes(), Path::new("x.tsv"), &mut found)?;
        Ok(found)
    }

    #[test]
    fn columns_are_mapped_by_name() {
        let text = "name\tid\tkind\tsynonyms\tlanguage\tlinks\tnote\n\
                    aspirin\tA1\tdrug\tASA|acetylsalicylic \"acid\"\ten\tA2|A3\tx\n\
                    fever\tA2\t\t\t\t\t\n\
                    \tA4\t\t\t\t\t\n\
                    cut\n";
        let found = read(text).unwrap();
        let aspirin = &found.entries[0].concept;
        assert_eq!((aspirin.id.as_str(), aspirin.kind.as_str()), ("A1", "drug"));
        assert_eq!(aspirin.synonyms, ["ASA", "acetylsalicylic \"acid\""]);
        assert_eq!(aspirin.links[1].to, "A3");
        assert_eq!(aspirin.links[1].relation, Relation::Related);
        assert_eq!(found.refused.values().sum::<u64>(), 2, "{:?}", found.refused);
        assert_eq!(Lexicon::build(found.entries).concepts.len(), 2);
    }

    #[test]
    fn a_table_without_names_says_which_columns_are_needed() {
        assert!(!Tsv.recognises("code\tvalue\n1\t2\n"));
        let error = read("code\tvalue\n").unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("id, name"), "{error}");
    }
}
