//! Tables with a header line, column by column mapped onto a concept; shared by the readers of such
//! files.

use std::path::Path;

use super::{Concept, Entry, Found, Link, hetionet};
use crate::error::{Error, Result};

/// What a column of a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Id,
    Name,
    Kind,
    Synonyms,
    Language,
    Links,
    Parents,
    Trees,
}

/// Column names of known tables, lower case, with what they hold.
static COLUMNS: &[(&str, Role)] = &[
    ("id", Role::Id),
    ("concept_id", Role::Id),
    ("identifier", Role::Id),
    ("mesh_id", Role::Id),
    ("drugbank_id", Role::Id),
    ("drugbank id", Role::Id),
    ("name", Role::Name),
    ("label", Role::Name),
    ("term", Role::Name),
    ("mesh_name", Role::Name),
    ("common name", Role::Name),
    ("type", Role::Kind),
    ("kind", Role::Kind),
    ("synonyms", Role::Synonyms),
    ("aliases", Role::Synonyms),
    ("language", Role::Language),
    ("lang", Role::Language),
    ("links", Role::Links),
    ("parents", Role::Parents),
    ("tree_numbers", Role::Trees),
    ("mesh_tree_number", Role::Trees),
];

/// What the columns of a header line hold, or `None` where it has no id or no name.
pub(super) fn roles<'a>(header: impl Iterator<Item = &'a str>) -> Option<Vec<Option<Role>>> {
    let role = |column: &str| {
        let column = column.trim().to_lowercase();
        COLUMNS.iter().find(|(name, _)| *name == column).map(|(_, role)| *role)
    };
    let roles: Vec<Option<Role>> = header.map(role).collect();
    (roles.contains(&Some(Role::Id)) && roles.contains(&Some(Role::Name))).then_some(roles)
}

/// How a table is written.
pub(super) struct Table<'a> {
    /// Separator of columns.
    pub(super) delimiter: u8,
    /// Whether a field may stand in double quotes.
    pub(super) quoting: bool,
    /// Lines before the header.
    pub(super) skip_lines: usize,
    /// Kind of concepts whose row does not say.
    pub(super) kind: &'a str,
    /// Language of concepts whose row does not say.
    pub(super) language: Option<&'a str>,
}

impl Table<'_> {
    /// Adds every row as an entry; lists inside a field are separated by `|`.
    ///
    /// # Errors
    /// If the header has no id or name column.
    pub(super) fn read(&self, text: &str, file: &Path, found: &mut Found) -> Result<()> {
        let body: usize = text.split_inclusive('\n').take(self.skip_lines).map(str::len).sum();
        let mut rows = csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.quoting)
            .flexible(true)
            .has_headers(false)
            .from_reader(&text.as_bytes()[body..]);

        let mut records = rows.records();
        let header = records.next().and_then(std::result::Result::ok).unwrap_or_default();
        let Some(roles) = roles(header.iter()) else {
            return Err(Error::data(format!("`{}` has no column for id and name", file.display()))
                .at(format!("line {}", self.skip_lines + 1))
                .hint(
                    "name the columns id, name and, where there are, type, synonyms, language, \
                       links, parents",
                ));
        };

        for record in records {
            match record {
                Ok(record) if record.len() == header.len() => {
                    found.push(self.entry(&record, &roles))
                }
                _ => found.refuse("malformed"),
            }
        }

        Ok(())
    }

    fn entry(&self, record: &csv::StringRecord, roles: &[Option<Role>]) -> Entry {
        let concept = Concept {
            kind: self.kind.to_string(),
            language: self.language.map(str::to_string),
            ..Concept::default()
        };
        let mut entry = Entry { concept, ..Entry::default() };

        for (field, role) in record.iter().zip(roles) {
            let field = field.trim();
            let items = || {
                field.split('|').map(str::trim).filter(|item| !item.is_empty()).map(str::to_string)
            };

            match role {
                _ if field.is_empty() => {}
                Some(Role::Id) => entry.concept.id = hetionet::own_id(field).to_string(),
                Some(Role::Name) => entry.concept.name = field.to_string(),
                Some(Role::Kind) => entry.concept.kind = field.to_string(),
                Some(Role::Language) => entry.concept.language = Some(field.to_string()),
                Some(Role::Synonyms) => entry.concept.synonyms.extend(items()),
                Some(Role::Links) => entry.concept.links.extend(items().map(Link::related)),
                Some(Role::Parents) => entry.concept.links.extend(items().map(Link::parent)),
                Some(Role::Trees) => entry.trees.extend(items()),

                None => {}
            }
        }

        entry
    }
}
