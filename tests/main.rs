//! The one integration binary. Each module holds one kind of promise; try not to add more.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

/// Plans that are run in small.
mod ablate;
/// Chinese text in one form.
mod chinese;
/// Exit codes, messages and hints of the binary.
mod cli;
/// Models that are asked what they know.
mod eval;
/// Rows made of the knowledge graph, and the map of it.
mod facts;
/// Faults of the system and kills, at any call.
mod faults;
/// Files that people bring along: ids, columns, marks, lexicons.
mod field;
/// Builds on the fixtures: books, order, splits, determinism, kill and resume.
mod flow;
/// What fuzzing found.
mod fuzz;
/// The bytes of a build and of a run of each family, as they were.
mod golden;
/// Every broken file of the fixtures against what it must give.
mod hostile;
/// Models fetched from a server that answers as the Hugging Face hub does.
mod hub;
/// Laws over registries and contracts.
mod laws;
/// Shards read from a server that answers as an object store does.
mod objects;
/// What the README says is what the program does.
mod readme;
/// Real files, where `KPIPE_TEST_DATA` names a folder with them.
mod real;
/// A small HTTP server.
mod server;
/// Running the binary and looking at what it wrote.
mod support;
/// Reading tasks behind the texts of documents.
mod tasks;
/// What the tree promises, read off the sources.
mod tidy;
/// Training on the shards of the fixtures.
mod train;
/// Back-translation by neural models.
mod translation;
/// Variants of documents, from the build to what a run consumed.
mod variants;
