//! A run as a page to look at: `report.html` in its folder, one file without anything from
//! elsewhere, written anew while it runs; and several runs on one page.
//!
//! `curves` reads `metrics.jsonl` into curves of a bounded size, `charts` draws them, `page`
//! puts them together.

mod charts;
mod curves;
mod page;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;

use curves::Run;

/// The page of a run, in its folder.
pub const REPORT: &str = "report.html";

/// Reads the runs in these folders and writes a page of them.
///
/// # Errors
/// If a folder holds no run, its metrics are damaged, or the page cannot be written.
pub fn write(folders: &[PathBuf], place: &Path) -> Result<()> {
    let runs = folders.iter().map(|folder| Run::read(folder)).collect::<Result<Vec<_>>>()?;
    if runs.is_empty() {
        return Err(Error::usage("there is no run to tell of").hint("name the folder of one"));
    }
    write_atomically(place, page::page(&runs).as_bytes())
}
