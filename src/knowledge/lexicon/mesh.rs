//! What the two MeSH readers share: kinds from tree numbers, and the shape of a descriptor.

use super::{Concept, Entry, Link, Relation};

/// MeSH tree categories by their letter (nlm.nih.gov/mesh/intro_trees.html).
static CATEGORIES: &[(char, &str)] = &[
    ('A', "anatomy"),
    ('B', "organism"),
    ('C', "disease"),
    ('D', "chemical"),
    ('E', "technique"),
    ('F', "psychology"),
    ('G', "phenomenon"),
    ('H', "discipline"),
    ('I', "society"),
    ('J', "technology"),
    ('K', "humanities"),
    ('L', "information"),
    ('M', "person"),
    ('N', "health care"),
    ('V', "publication type"),
    ('Z', "place"),
];

/// A MeSH descriptor as both file formats give it.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptor {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) terms: Vec<String>,
    pub(super) trees: Vec<String>,
    /// Ids of pharmacological actions and see-related descriptors.
    pub(super) related: Vec<String>,
    /// The same by name.
    pub(super) related_names: Vec<String>,
}

impl Descriptor {
    /// The descriptor as an entry; its kind is the category of its first tree number.
    pub(super) fn into_entry(self) -> Entry {
        let letter = self.trees.first().and_then(|tree| tree.chars().next());
        let kind = CATEGORIES
            .iter()
            .find(|(category, _)| Some(*category) == letter)
            .map_or("", |(_, name)| name);
        let concept = Concept {
            id: self.id,
            kind: kind.to_string(),
            name: self.name,
            synonyms: self.terms,
            language: Some("en".to_string()),

            links: self
                .related
                .into_iter()
                .map(|to| Link { relation: Relation::Related, to })
                .collect(),
        };
        Entry { concept, trees: self.trees, related_names: self.related_names }
    }
}
