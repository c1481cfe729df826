//! What became of the rows of a part after it was written: they are gone, or have a new id.
//!
//! A room that learns at its end that rows must not go on does not write its parts again. It writes
//! the changes beside them, and [`crate::flow::dataset`] applies them to whatever is read, so
//! nobody sees the rows as they were.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;

use crate::error::{Error, Result};
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::{BATCH_ROWS, Batches, PartWriter};
use crate::flow::disk::link;

/// By the number of a row in its part's file: its new id, or none where the row is gone.
pub type Changes = BTreeMap<u64, Option<String>>;

/// Writes the changes of `part` beside it.
///
/// # Errors
/// If the file cannot be written.
pub fn write(part: &Path, changes: &Changes) -> Result<()> {
    let place =
        place(part).ok_or_else(|| Error::data(format!("`{}` is no part", part.display())))?;
    let mut writer = PartWriter::create(&place, contract("change")?)?;
    let rows: Vec<(&u64, &Option<String>)> = changes.iter().collect();

    for rows in rows.chunks(BATCH_ROWS) {
        let numbers: UInt64Array = rows.iter().map(|(row, _)| Some(**row)).collect();
        let ids: StringArray = rows.iter().map(|(_, id)| id.as_deref()).collect();
        writer.write(&contract("change")?.batch(vec![Arc::new(numbers), Arc::new(ids)])?)?;
    }

    writer.finish().map(|_| ())
}

/// Reads the changes that stand beside `part`.
///
/// # Errors
/// If their file is there and cannot be read.
pub fn read(part: &Path) -> Result<Changes> {
    let mut changes = Changes::new();
    let Some(place) = place(part).filter(|place| place.exists()) else { return Ok(changes) };

    for batch in Batches::open(&place, Some(contract("change")?), None)? {
        let batch = batch?;
        let (rows, ids) = (numbers::<UInt64Type>(&batch, "row")?, strings(&batch, "id")?);
        changes
            .extend(rows.values().iter().zip(ids).map(|(row, id)| (*row, id.map(str::to_string))));
    }

    Ok(changes)
}

/// Gives the changes of the part `from` a second name beside `to`, where there are any.
///
/// # Errors
/// If they can be neither linked nor copied.
pub fn link_beside(from: &Path, to: &Path) -> Result<()> {
    match (place(from).filter(|place| place.exists()), place(to)) {
        (Some(from), Some(to)) => link(&from, &to),
        _ => Ok(()),
    }
}

/// How many of the rows are gone.
pub fn n_gone<'a>(changes: impl Iterator<Item = (&'a u64, &'a Option<String>)>) -> u64 {
    changes.filter(|(_, id)| id.is_none()).count() as u64
}

/// The batch with its changes made; `first_row` is the number of its first row in the file.
///
/// # Errors
/// If the batch's `id` is no string column.
pub fn apply(changes: &Changes, batch: RecordBatch, first_row: u64) -> Result<RecordBatch> {
    let n_rows = batch.num_rows();
    let mut stay = vec![true; n_rows];
    let mut renamed: BTreeMap<usize, &str> = BTreeMap::new();

    for (row, id) in changes.range(first_row..first_row + n_rows as u64) {
        let idx = (row - first_row) as usize;
        match id {
            None => stay[idx] = false,
            Some(id) => _ = renamed.insert(idx, id),
        }
    }

    let mut batch = batch;
    if let Some((at, _)) = batch.schema().column_with_name("id").filter(|_| !renamed.is_empty()) {
        let ids = strings(&batch, "id")?;
        let ids: StringArray = (0..n_rows)
            .map(|row| {
                renamed.get(&row).copied().or_else(|| ids.is_valid(row).then(|| ids.value(row)))
            })
            .collect();
        let mut columns = batch.columns().to_vec();
        columns[at] = Arc::new(ids) as ArrayRef;
        batch = RecordBatch::try_new(batch.schema(), columns).map_err(changed)?;
    }

    if stay.iter().all(|stays| *stays) {
        return Ok(batch);
    }
    filter_record_batch(&batch, &BooleanArray::from(stay)).map_err(changed)
}

fn changed(cause: arrow::error::ArrowError) -> Error {
    Error::data(format!("the changes of a part cannot be made: {cause}"))
}

/// Where the changes of a part stand: `changes-00007.parquet` beside `part-00007.parquet`.
fn place(part: &Path) -> Option<PathBuf> {
    let number = part.file_name()?.to_str()?.strip_prefix("part-")?;
    Some(part.with_file_name(format!("changes-{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::dataset::Dataset;
    use proptest::prelude::*;

    /// A part of refusals whose ids are the numbers of the rows, in groups of three.
    fn part(folder: &Path, n: u64) -> PathBuf {
        let place = folder.join("part-00000.parquet");
        let refused = contract("refused").unwrap();
        let mut writer = PartWriter::create(&place, refused).unwrap();

        for first in (0..n).step_by(3) {
            let rows = first..n.min(first + 3);
            let same =
                || Arc::new(StringArray::from_iter_values(rows.clone().map(|_| "a"))) as ArrayRef;
            let numbers = || Arc::new(UInt64Array::from_iter_values(rows.clone())) as ArrayRef;
            let ids =
                Arc::new(StringArray::from_iter_values(rows.clone().map(|row| row.to_string())))
                    as ArrayRef;
            let bytes = arrow::array::BinaryArray::from_iter_values(rows.clone().map(|_| b"a"));
            let columns = vec![
                same(),
                same(),
                same(),
                numbers(),
                ids,
                same(),
                same(),
                numbers(),
                Arc::new(bytes) as ArrayRef,
            ];

            writer.write(&refused.batch(columns).unwrap()).unwrap();
        }

        writer.finish().unwrap().path
    }

    /// Row number and id of all rows.
    fn rows(part: &Path) -> Vec<(u64, String)> {
        let batches =
            Batches::open(part, Some(contract("refused").unwrap()), Some(&["id", "offset"]))
                .unwrap();
        let lengths = batches.rows();
        let batches: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
        assert_eq!(
            lengths,
            batches.iter().map(|batch| batch.num_rows() as u64).collect::<Vec<_>>()
        );
        assert!(batches.iter().all(|batch| batch.num_rows() > 0));
        let of_batch = |batch: &RecordBatch| {
            let offsets = numbers::<UInt64Type>(batch, "offset").unwrap().values().to_vec();
            let ids: Vec<String> =
                strings(batch, "id").unwrap().iter().flatten().map(str::to_string).collect();
            offsets.into_iter().zip(ids).collect::<Vec<_>>()
        };

        batches.iter().flat_map(of_batch).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn readers_see_the_rows_as_they_are_now(n in 1_u64..12,
            changes in proptest::collection::btree_map(0_u64..12, proptest::option::of("[a-z]{3}"),
            0..12)) {
            let folder = tempfile::tempdir().unwrap();
            let part = part(folder.path(), n);
            let changes: Changes = changes.into_iter().filter(|(row, _)| *row < n).collect();
            write(&part, &changes).unwrap();
            let expected: Vec<(u64, String)> = (0..n)
                .filter_map(|row| match changes.get(&row) {
                    None => Some((row, row.to_string())),
                    Some(id) => id.clone().map(|id| (row, id)),
                })
                .collect();

            prop_assert_eq!(Dataset::open(folder.path(),
                contract("refused").unwrap()).unwrap().rows(), expected.len() as u64);
            prop_assert_eq!(rows(&part), expected);
        }
    }

    #[test]
    fn a_batch_without_ids_loses_its_rows_too() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 4);
        write(&part, &Changes::from([(1, None), (2, Some("new".to_string())), (3, None)])).unwrap();
        let offsets: Vec<Vec<u64>> = Batches::open(&part, None, Some(&["offset"]))
            .unwrap()
            .map(|batch| {
                numbers::<UInt64Type>(&batch.unwrap(), "offset").unwrap().values().to_vec()
            })
            .collect();
        assert_eq!(offsets, [[0, 2]]);
    }
}
