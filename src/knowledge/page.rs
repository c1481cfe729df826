//! A page of concepts: a table that sorts and searches itself, and the tree that they stand in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lexicon::Lexicon;
use crate::error::{Error, Result};
use crate::text::markup::escape;

/// Concepts on a page.
pub const ON_PAGE: usize = 20_000;

/// What a page shows beside the concepts.
pub struct Page<'a> {
    /// Its heading.
    pub title: &'a str,
    /// What there is to say before all, one paragraph.
    pub told: String,
    /// What the tree shows, one paragraph.
    pub tree: &'a str,
    /// Names of the columns.
    pub columns: &'a [&'a str],
    /// Those that are searched.
    pub searched: &'a [usize],
    /// Those that are numbers.
    pub numbers: std::ops::Range<usize>,
    /// That by which the table is sorted at first.
    pub sorted: usize,
    /// The script's function that tells of a branch: `seen` or `known`.
    pub branch: &'a str,
}

/// The page of some concepts, in the order of what is shown first; the rest is left out and told.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn page(
    lexicon: &Lexicon,
    mut shown: Vec<usize>,
    page: &Page,
    row: &dyn Fn(usize) -> Vec<Value>,
) -> Result<String> {
    let n_left_out = shown.len().saturating_sub(ON_PAGE);
    shown.truncate(ON_PAGE);
    // What stands above them, so that each has its place in the tree.
    let mut all: BTreeSet<usize> = shown.iter().copied().collect();
    let mut above: Vec<usize> = shown;
    while let Some(number) = above.pop() {
        for parent in lexicon.parents(number as u32) {
            if all.insert(*parent as usize) {
                above.push(*parent as usize);
            }
        }
    }

    let place: BTreeMap<usize, usize> = all.iter().copied().zip(0..).collect();
    let parents = |number: &usize| -> Vec<usize> {
        lexicon.parents(*number as u32).iter().map(|parent| place[&(*parent as usize)]).collect()
    };
    let data = json!({
        "columns": page.columns,
        "searched": page.searched,
        "numbers": [page.numbers.start, page.numbers.end],
        "sorted": page.sorted,
        "branch": page.branch,
        "rows": all.iter().map(|number| row(*number)).collect::<Vec<Vec<Value>>>(),
        "parents": all.iter().map(parents).collect::<Vec<Vec<usize>>>(),
    });
    let data = serde_json::to_string(&data)
        .map_err(|cause| Error::data(format!("the page cannot be written: {cause}")))?;
    // `<` is escaped so that no text can close the element.
    let data = data.replace('<', "\\u003c");
    let left_out = match n_left_out {
        0 => String::new(),
        n => format!(" {n} more are in the Parquet file alone."),
    };
    Ok(include_str!("page.html")
        .replace("{{title}}", &escape(page.title))
        .replace("{{told}}", &escape(&format!("{}{left_out}", page.told)))
        .replace("{{tree}}", &escape(page.tree))
        .replace("{{data}}", &data))
}
