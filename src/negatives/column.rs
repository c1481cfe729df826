//! Candidates as the Arrow column that `schemas/example.toml` defines.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Builder, ListArray, StringBuilder, StructArray, UInt32Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Fields};

use crate::error::{Error, Result};
use crate::flow::contract::Contract;
use crate::negatives::Candidate;

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
    let columns = vec![
        strings(&|c| &c.anchor),
        strings(&|c| &c.text),
        strings(&|c| c.kind.name()),
        strings(&|c| &c.engine),
        Arc::new(similarity.finish()) as ArrayRef,
        edits_column(rows, fields).ok_or_else(|| shape("`edits` is no list of structs"))??,
    ];

    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(structs), None)?))
}

fn edits_column(rows: &[Vec<Candidate>], fields: &Fields) -> Option<Result<ArrayRef>> {
    let DataType::List(item) = fields.iter().find(|field| field.name() == "edits")?.data_type()
    else {
        return None;
    };
    let DataType::Struct(parts) = item.data_type() else { return None };
    let (mut starts, mut ends, mut texts) =
        (UInt32Builder::new(), UInt32Builder::new(), StringBuilder::new());

    for edit in rows.iter().flatten().flat_map(|candidate| &candidate.edits) {
        starts.append_value(edit.start);
        ends.append_value(edit.end);
        texts.append_value(&edit.text);
    }

    let columns: Vec<ArrayRef> =
        vec![Arc::new(starts.finish()), Arc::new(ends.finish()), Arc::new(texts.finish())];
    let offsets =
        OffsetBuffer::from_lengths(rows.iter().flatten().map(|candidate| candidate.edits.len()));
    let build = || -> Result<ArrayRef> {
        let structs = StructArray::try_new(parts.clone(), columns, None)?;
        Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(structs), None)?))
    };
    Some(build())
}
