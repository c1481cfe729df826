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

/// The page of some concepts, in the order of what is shown first, with all that stand above them;
/// the rest is left out and told.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn page(
    lexicon: &Lexicon,
    mut shown: Vec<usize>,
    page: &Page,
    row: &dyn Fn(usize) -> Vec<Value>,
) -> Result<String> {
    let rest = shown.split_off(shown.len().min(ON_PAGE));
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

    // Some of the rest stand above others and are on the page.
    let n_left_out = rest.iter().filter(|number| !all.contains(number)).count();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::lexicon::{Concept, Entry, Link};

    #[test]
    fn what_is_left_out_is_counted_without_what_stands_above() {
        // The last concept stands above the first.
        let last = ON_PAGE + 3;
        let id = |n: usize| format!("C{n:05}");
        let entry = |n: usize| {
            let links = if n == 0 { vec![Link::parent(id(last))] } else { Vec::new() };
            let concept = Concept { id: id(n), name: id(n), links, ..Concept::default() };
            Entry { concept, ..Entry::default() }
        };
        let lexicon = Lexicon::build((0..=last).map(entry).collect());
        let shape = Page {
            title: "a",
            told: "b.".to_string(),
            tree: "",
            columns: &[],
            searched: &[],
            numbers: 0..0,
            sorted: 0,
            branch: "seen",
        };
        let made = |n: usize| page(&lexicon, (0..n).collect(), &shape, &|_| Vec::new()).unwrap();
        assert!(made(last + 1).contains("b. 3 more are in the Parquet file alone."));
        assert!(made(ON_PAGE + 1).contains("b. 1 more are in the Parquet file alone."));
        assert!(!made(ON_PAGE).contains("more are in the Parquet file alone"));
    }
}
