//! Above all rooms: a pipeline file and a command line become a checked [`plan`], [`run`] does the
//! rooms in order and balances their books, [`publish`] puts the output together, [`report`] draws
//! a page about it. [`estimate`] tells beforehand what a build will take. [`lists`] tells
//! everything that a pipeline file can name.
//!
//! Knows every room by its line in [`plan::ROOMS`]; no room knows this one.

pub mod estimate;
pub mod lists;
pub mod plan;
pub mod publish;
pub mod report;
pub mod run;
