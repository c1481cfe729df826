//! files of a knowledge graph → concepts, their names, and where a text mentions them
//!
//! [`lexicon`] reads the files into concepts and links; [`names`] chooses the spellings that are
//! looked for; [`mentions`] finds them in a text, with what the text abbreviates itself. Stands
//! between the files and the rooms that ask what a text knows: `density` scores by it, `negatives`
//! exchanges its names.
//!
//! To add a lexicon format: see [`lexicon`].

pub mod abbreviations;
pub mod annotate;
mod context;
mod coordination;
mod fold;
pub mod lexicon;
mod locant;
pub mod map;
pub mod mentions;
pub mod names;
pub mod page;
mod spelling;

/// Raised when the same text and lexicon give other mentions; the versions of all that is made of
/// mentions hold it.
pub const VERSION: u32 = 2;

/// Documents from which on a concept should be known: one that was met less often needs no greater
/// weight, but more text.
pub const MET_OFTEN: u64 = 10;
/// Share of right answers from which on a concept counts as known.
pub const KNOWN: f64 = 0.5;
