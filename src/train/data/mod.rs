//! shards → rows: what one optimiser step learns from, in the order of the curriculum.
//!
//! [`shards`] finds them, on disk or in an object store, and [`foreign`] reads those of other
//! programs as ours; [`stream`] reads them in `seq` order and
//! knows where it stands; [`shuffle`] mixes blocks of that order where it is asked to, [`again`]
//! names documents that come once more, [`paced`] gives an order to
//! shards that have none; [`tokenizer`] makes pieces of text, [`marks`] tells their
//! words and concepts, [`informed`] what words tell of one another, and [`windows`] cuts documents
//! into them; [`rows`] makes rows and labels of windows, one kind a file, and [`batch`] puts those
//! of a step together. [`curriculum`] counts the quotas of the order again, [`consumed`] keeps the
//! proof of what was read. [`probes`] are what a model is asked meanwhile.

pub mod again;
pub mod batch;
pub mod consumed;
pub mod curriculum;
pub mod deal;
pub mod foreign;
pub mod informed;
pub mod marks;
pub mod paced;
pub mod probes;
pub mod rows;
pub mod shards;
pub mod shuffle;
pub mod stream;
pub mod tokenizer;
pub mod windows;
