//! A run as a page to look at: `report.html` in its folder, one file without anything from
//! elsewhere, written anew while it runs; and several runs on one page.
//!
//! `curves` reads `metrics.jsonl` into curves of a bounded size, `charts` draws them, `page`
//! puts them together.

mod charts;
mod curves;
mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;

use charts::{Named, lines};
use curves::{Curve, Run};

pub use curves::Point;

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

/// A figure of curves over steps, for a page of [`page_of`]; empty where there is nothing to draw.
pub fn figure(title: &str, about: &str, curves: &BTreeMap<String, Vec<Point>>) -> String {
    let curves: Vec<(&String, Curve)> =
        curves.iter().map(|(name, points)| (name, Curve::of(points))).collect();
    let named =
        curves.iter().map(|(name, curve)| Named { name: (*name).clone(), curve, is_told: false });
    lines(title, about, named.collect())
}

/// A page with a title and what stands below it, in the style of all; it needs nothing else.
pub fn page_of(title: &str, body: &str) -> String {
    page::page_of(title, body)
}
