//! One self-contained HTML page about a build, and the facts behind it as JSON inside the page.
//!
//! Reads the finished shards and the manifest; knows no room's inner files.

pub mod facts;
pub mod html;
