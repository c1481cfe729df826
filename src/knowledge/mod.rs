//! files of a knowledge graph → concepts, their names, and where a text mentions them
//!
//! [`lexicon`] reads the files into concepts and links; [`names`] chooses the spellings that are
//! looked for; [`mentions`] finds them in a text. Stands between the files and the rooms that ask
//! what a text knows: `density` scores by it, `negatives` exchanges its names.
//!
//! To add a lexicon format: see [`lexicon`].

mod fold;
pub mod lexicon;
pub mod mentions;
pub mod names;
