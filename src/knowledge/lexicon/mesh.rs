//! What the two MeSH readers share: kinds, and the shape of a descriptor or supplementary concept.

use super::{Concept, Entry, Link};

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

/// Where MeSH has proteins: most stand among hormones, antigens or biological factors as well, and
/// first there. Peptides (`D12.644`) are not counted, since drugs are among them.
static PROTEINS: &[&str] = &["D08.811", "D12.776"];

/// What stands at some places of MeSH's tree; empty where nobody knows.
pub(super) fn kind_of_trees(trees: &[String]) -> &'static str {
    let Some(first) = trees.first() else { return "" };
    if trees.iter().any(|tree| PROTEINS.iter().any(|above| tree.starts_with(above))) {
        return "protein";
    }
    let letter = first.chars().next();
    CATEGORIES.iter().find(|(category, _)| Some(*category) == letter).map_or("", |(_, name)| name)
}

/// Classes of supplementary concepts (nlm.nih.gov/mesh/xml_data_elements.html).
static CLASSES: &[(&str, &str)] =
    &[("1", "chemical"), ("2", "protocol"), ("3", "disease"), ("4", "organism")];

/// What an action of a substance, and what is worth seeing beside a heading, is called in a link.
pub(super) const ACTION: &str = "pharmacological_action";
pub(super) const SEE: &str = "see_related";

/// The kind of a supplementary concept of a class.
pub(super) fn kind_of_class(class: &str) -> &'static str {
    CLASSES.iter().find(|(number, _)| *number == class).map_or("", |(_, name)| name)
}

/// A MeSH descriptor or supplementary concept, as both file formats give it.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptor {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) terms: Vec<String>,
    /// Those that are not the descriptor itself, but a narrower or related concept of it.
    pub(super) inexact: Vec<String>,
    pub(super) trees: Vec<String>,
    /// Of a supplementary concept; a descriptor's follows from its first tree number.
    pub(super) kind: &'static str,
    /// Pharmacological actions, see-related descriptors and headings that it is mapped to.
    pub(super) links: Vec<Link>,
    /// The same by name.
    pub(super) by_name: Vec<Link>,
}

impl Descriptor {
    /// It as an entry.
    pub(super) fn into_entry(self) -> Entry {
        let concept = Concept {
            id: self.id,
            kind: self.kind.to_string(),
            name: self.name,
            synonyms: self.terms,
            inexact: self.inexact,
            language: Some("en".to_string()),
            links: self.links,
            file: 0,
            also: Vec::new(),
        };
        Entry { concept, trees: self.trees, by_name: self.by_name }
    }
}
