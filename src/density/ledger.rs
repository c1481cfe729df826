//! What a model has met often and does not know counts more in the next build: the weights of
//! concepts by a knowledge ledger.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, UInt64Type};

use super::Params;
use crate::error::{Error, Result};
use crate::flow::contract::{contract, strings};
use crate::flow::dataset::Batches;
use crate::knowledge::lexicon::Lexicon;
use crate::knowledge::{KNOWN, MET_OFTEN};

/// What each concept of a lexicon counts; 1 for all without a ledger, and for those it does not
/// tell of.
///
/// # Errors
/// If the ledger cannot be read, is none, or tells of no concept of the lexicon.
pub(super) fn factors(params: &Params, lexicon: &Lexicon) -> Result<Vec<f64>> {
    let mut factors = vec![1.0; lexicon.concepts.len()];
    if params.ledger.is_empty() {
        return Ok(factors);
    }
    let path = Path::new(&params.ledger);
    let columns = ["concept", "documents", "known"];
    let mut met = 0_u64;

    for batch in Batches::open(path, Some(contract("ledger")?), Some(&columns))? {
        let batch = batch?;
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| {
                Error::data(format!("the ledger has no column `{name}`")).at(path.display())
            })
        };
        let documents = column("documents")?.as_primitive::<UInt64Type>();
        let known = column("known")?.as_primitive::<Float32Type>();
        for (row, id) in strings(&batch, "concept")?.iter().enumerate() {
            let Some(number) = id.and_then(|id| lexicon.find(id)) else { continue };
            met += 1;
            let is_met_often = documents.value(row) >= MET_OFTEN && known.is_valid(row);
            if is_met_often && f64::from(known.value(row)) < KNOWN {
                factors[number as usize] += params.unknown * f64::from(1.0 - known.value(row));
            }
        }
    }

    match met {
        0 => Err(Error::usage("the ledger tells of no concept of the lexicon")
            .at(path.display())
            .hint("give the ledger and the lexicon that it was made with")),
        _ => Ok(factors),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Float32Array, ListBuilder, StringArray, StringBuilder, UInt32Array, UInt64Array,
    };

    use super::*;
    use crate::flow::dataset::PartWriter;
    use crate::knowledge::lexicon::{Concept, Entry};

    fn write(path: &Path, rows: &[(&str, u64, Option<f32>)]) {
        let contract = contract("ledger").unwrap();
        let strings = |of: fn(&(&str, u64, Option<f32>)) -> String| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef
        };
        let lists = || {
            let item =
                arrow::datatypes::Field::new_list_field(arrow::datatypes::DataType::Utf8, false);
            let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item);
            rows.iter().for_each(|_| builder.append(true));
            Arc::new(builder.finish()) as ArrayRef
        };
        let numbers =
            || Arc::new(rows.iter().map(|row| row.1).collect::<UInt64Array>()) as ArrayRef;
        let shares =
            || Arc::new(rows.iter().map(|row| row.2).collect::<Float32Array>()) as ArrayRef;
        let batch = contract.batch(vec![
            strings(|row| row.0.to_string()),
            strings(|_| String::new()),
            strings(|_| String::new()),
            lists(),
            numbers(),
            numbers(),
            lists(),
            lists(),
            Arc::new(UInt32Array::from(vec![1; rows.len()])),
            shares(),
            shares(),
            shares(),
            shares(),
        ]);
        let mut writer = PartWriter::create(path, contract).unwrap();
        writer.write(&batch.unwrap()).unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn what_was_met_often_and_is_unknown_counts_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.parquet");
        write(
            &path,
            &[
                ("A", 50, Some(0.25)),
                ("B", 50, Some(0.75)),
                ("C", 2, Some(0.0)),
                ("D", 50, None),
                ("elsewhere", 50, Some(0.0)),
            ],
        );
        let concept = |id: &str| Entry {
            concept: Concept { id: id.into(), name: id.into(), ..Concept::default() },
            ..Entry::default()
        };
        let lexicon = Lexicon::build(["A", "B", "C", "D", "E"].map(concept).to_vec());
        let mut params = super::super::tests::params();
        assert_eq!(factors(&params, &lexicon).unwrap(), [1.0; 5]);
        params.ledger = path.display().to_string();
        params.unknown = 2.0;
        assert_eq!(factors(&params, &lexicon).unwrap(), [2.5, 1.0, 1.0, 1.0, 1.0]);

        let other = Lexicon::build(vec![concept("Z")]);
        let error = factors(&params, &other).unwrap_err().to_string();
        assert!(error.contains("no concept of the lexicon"), "{error}");
    }
}
