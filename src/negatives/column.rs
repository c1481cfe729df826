//! Candidates as the Arrow column that `schemas/example.toml` defines.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Builder, ListArray, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::flow::contract::Contract;
use crate::negatives::Candidate;
use crate::rewrite::edits;

/// The column `negatives` of a batch.
///
/// # Errors
/// If the contract shapes it in another way.
pub fn column(rows: &[Vec<Candidate>], leaves: &Contract) -> Result<ArrayRef> {
    let shape = |what: &str| Error::data(format!("contract `{}` is broken: {what}", leaves.name));
    let field = leaves.schema.field_with_name("negatives")?;
    let DataType::List(item) = field.data_type() else {
        return Err(shape("`negatives` is no list"));
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(shape("`negatives` holds no structs"));
    };
    let flat = || rows.iter().flatten();
    let strings = |value: &dyn Fn(&Candidate) -> &str| -> ArrayRef {
        let mut builder = StringBuilder::new();
        flat().for_each(|candidate| builder.append_value(value(candidate)));
        Arc::new(builder.finish())
    };
    let mut similarity = Float32Builder::new();
    flat().for_each(|candidate| similarity.append_value(candidate.similarity));
    let edits: Vec<&[edits::Edit]> = flat().map(|candidate| candidate.edits.as_slice()).collect();
    let edits = fields
        .iter()
        .find(|field| field.name() == "edits")
        .and_then(|field| edits::column(&edits, field.data_type()));
    let columns = vec![
        strings(&|c| &c.anchor),
        strings(&|c| &c.text),
        strings(&|c| c.kind.name()),
        strings(&|c| &c.engine),
        Arc::new(similarity.finish()) as ArrayRef,
        edits.ok_or_else(|| shape("`edits` is no list of structs"))??,
    ];

    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(structs), None)?))
}
