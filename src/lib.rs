//! kpipe turns knowledge-dense corpora into curriculum-ordered training shards and trains a model
//! on them.
//!
//! # The flow
//!
//! ```text
//! files → ingest → document → dedup → unique → density → scored → difficulty → bucketed
//!       → variants → varied → facts → linked → negatives → example → tasks → tasked
//!       → curriculum → shard → train → model, metrics
//! ```
//!
//! A folder is a room; the words between the rooms are contracts, one file each in `schemas/`. A
//! room's `mod.rs` is its door plate: what enters, what leaves, what it promises, and how to add
//! one more of its components.
//!
//! # Around the rooms
//!
//! From the ground up; arrows lead up only (`tests/tidy.rs` has the table, and reads it off the
//! sources):
//!
//! - [`error`], [`draw`] and [`text`] are what several rooms share: one error, keyed random draws,
//!   words and normal form.
//! - [`flow`] is what rooms stand on: contracts, parts on disk, books, settings. It knows no
//!   format, no score, no model.
//! - [`files`] makes text of paths, [`knowledge`] concepts and mentions of lexicons, [`rewrite`]
//!   other words for texts, and [`translate`] other languages by the kernels of [`train`].
//! - The rooms: [`ingest`], [`dedup`], [`density`], [`difficulty`], [`variants`], [`facts`],
//!   [`negatives`], [`tasks`], [`curriculum`], [`train`].
//! - [`eval`] asks models what they know.
//! - [`build`] stands above them: it plans, runs the rooms in order, balances their books and
//!   publishes the output.
//! - [`ablate`] runs builds and trainings with levers and without, and measures what they do.
//! - [`cli`] is the command line.
//!
//! # Invariants
//!
//! - No row vanishes: what a room read is what it kept, refused and marked duplicate
//!   ([`flow::books`]).
//! - Same bytes for any number of threads, for any memory, and after any kill: nothing depends on
//!   time, on thread order or on the order of a hash map; every random draw is a function of what
//!   it is for.
//! - `schemas/` is the only definition of what flows; there is no Rust copy. Checked when the plan
//!   is made, at every door, and from the footer when the trainer opens a shard.
//! - `pipelines/default.toml` is the only definition of keys and defaults; no parameter has a
//!   default in code.
//! - Only [`cli`] prints or exits. The rooms tell what they do through [`flow::progress`].
//! - A room does not know the runner, nor another room: what two of them need lies below both.
//! - Nothing is replaced silently: what was used instead stands in the output, the report and the
//!   manifest.
//!
//! # Where the large crates enter
//!
//! arrow and parquet: [`flow::dataset`] and the columns of every room. polars:
//! `difficulty/quantiles.rs`. tantivy: `density/index.rs`. tokenizers: `train/data/tokenizer.rs`,
//! and the optional feature of `difficulty`. candle: `train/` and `translate/`.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")
)]

pub mod ablate;
pub mod build;
pub mod cli;
pub mod curriculum;
pub mod dedup;
pub mod density;
pub mod difficulty;
pub mod draw;
pub mod error;
pub mod eval;
pub mod facts;
pub mod files;
pub mod flow;
pub mod ingest;
pub mod knowledge;
pub mod negatives;
pub mod rewrite;
pub mod tasks;
pub mod text;
pub mod train;
pub mod translate;
pub mod variants;

pub use error::{Error, Result};
