//! `kpipe list`: everything that a pipeline file or a command can name.

use clap::Args;
use serde_json::json;

use super::print::Printer;
use crate::build::lists::{LISTS, List, list};
use crate::error::Result;
use crate::flow::registry::Entry;

/// Arguments of `kpipe list`.
#[derive(Args)]
pub(super) struct ListArgs {
    /// What to list; left out, the lists there are
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Tell it as JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Tell it as a table of the README
    #[arg(long, hide = true)]
    markdown: bool,
}

/// Width of the column of names.
const NAME: usize = 20;

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let printer = Printer::new(false, args.json);
    let Some(kind) = &args.kind else {
        let lines: String =
            LISTS.iter().map(|list| format!("{:<NAME$} {}\n", list.name, list.about)).collect();
        let value: Vec<_> =
            LISTS.iter().map(|list| json!({"name": list.name, "about": list.about})).collect();
        return printer.result(&lines, &json!(value));
    };

    let list = list(kind)?;
    let entries = (list.entries)()?;
    let text =
        if args.markdown { markdown(list, &entries) } else { entries.iter().map(told).collect() };
    let value: Vec<_> = entries
        .iter()
        .map(|entry| json!({"name": entry.name, "about": entry.about, "keys": entry.keys}))
        .collect();
    printer.result(&text, &json!(value))
}

fn told(entry: &Entry) -> String {
    let mut text = format!("{:<NAME$} {}\n", entry.name, entry.about);
    for key in &entry.keys {
        text += &format!("{:<NAME$}   {key}\n", "");
    }
    text
}

fn markdown(list: &List, entries: &[Entry]) -> String {
    let row = |entry: &Entry| format!("| `{}` | {} |\n", entry.name, entry.about);
    let rows: String = entries.iter().map(row).collect();
    format!("| {} | |\n|---|---|\n{rows}", list.name)
}
