//! A document as ordering, splitting and weighing see it.

/// The column `variant` of a row of questions without the document they are about.
pub const QUESTIONS: &str = "questions";

/// What ordering needs to know of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Hash of its id; breaks ties.
    pub name: u64,
    /// Hash of the id of its document: its own, or that which it is a variant of.
    pub family: u64,
    /// Its neighbourhood.
    pub group: u64,
    /// Length of its text.
    pub n_bytes: u32,
    /// The same in words, as the contract `scored` counts them.
    pub n_tokens: u32,
    /// How often it is to stand in the order at least.
    pub times: u32,
    /// Number of its source.
    pub source: u16,
    /// Difficulty in `[0, 1]`.
    pub difficulty: f32,
    /// Domain or general text.
    pub is_domain: bool,
    /// Whether it counts as hard.
    pub is_hard: bool,
    /// Whether it is a variant of a document.
    pub is_variant: bool,
    /// Whether it was made of the knowledge graph: never held out.
    pub is_made: bool,
    /// Whether it has questions alone, which stand before all texts of its stratum.
    pub is_questions: bool,
}

impl Row {
    /// Tokens of all its exposures.
    pub fn tokens(&self) -> u64 {
        u64::from(self.times) * u64::from(self.n_tokens.max(1))
    }
}
