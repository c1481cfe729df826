//! What rooms stand on: the contracts between them, their parts on disk, the books, settings,
//! progress and signals.
//!
//! Knows no format, no score and no model, and no order of rooms; those live in the rooms and in
//! [`crate::build`].

pub mod books;
pub mod changes;
pub mod contract;
pub mod dataset;
pub mod disk;
pub mod foreign;
pub mod objects;
pub mod owned;
pub mod place;
pub mod progress;
pub mod ranges;
pub mod registry;
pub mod room;
pub mod settings;
pub mod stop;
pub mod watched;
