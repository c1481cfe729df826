//! `kpipe report`: a run as a page to look at, or several beside one another.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::print::Printer;
use crate::error::Result;
use crate::train::run::report::{REPORT, write};

/// Arguments of `kpipe report`.
#[derive(Args)]
pub(super) struct ReportArgs {
    /// Folders that `kpipe train` wrote, or writes
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page [default: `report.html` in the folder of the run, or here where there are several]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Tell the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let place = match (&args.out, args.runs.as_slice()) {
        (Some(place), _) => place.clone(),
        (None, [run]) => run.join(REPORT),
        (None, _) => PathBuf::from(REPORT),
    };
    write(&args.runs, &place)?;
    let text = format!("{}\n", place.display());
    Printer::new(false, args.json).result(&text, &json!({"report": place}))
}
