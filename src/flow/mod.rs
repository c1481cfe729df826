//! The frame around the rooms: the checked plan, the contracts, the parts on disk, the books, the runner.
//!
//! Knows no format, no score and no model; those live in the rooms.

pub mod books;
pub mod changes;
pub mod contract;
pub mod dataset;
pub mod disk;
pub mod estimate;
pub mod foreign;
pub mod objects;
pub mod owned;
pub mod place;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod room;
pub mod run;
pub mod settings;
pub mod stop;
pub mod watched;
