//! Contracts: the named, checked shapes of what flows between rooms.
//!
//! The files in `schemas/` are the only definition; they are embedded here and parsed once. A
//! contract is checked when the plan is made (room by room), when a batch leaves or enters a room,
//! and when the trainer opens a shard, whose Parquet footer carries the contract's name and hash.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use arrow::datatypes::{
    DataType, Field as ArrowField, Float32Type, Float64Type, Schema, SchemaRef,
};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};

/// Parquet footer key that names the contract of a file.
pub const CONTRACT_KEY: &str = "kpipe.contract";
/// Parquet footer key with the contract's hash.
pub const CONTRACT_HASH_KEY: &str = "kpipe.contract_hash";

/// The embedded schema files, by contract name.
static FILES: &[(&str, &str)] = &[
    ("document", include_str!("../../schemas/document.toml")),
    ("unique", include_str!("../../schemas/unique.toml")),
    ("scored", include_str!("../../schemas/scored.toml")),
    ("mention", include_str!("../../schemas/mention.toml")),
    ("annotation", include_str!("../../schemas/annotation.toml")),
    ("score", include_str!("../../schemas/score.toml")),
    ("bucketed", include_str!("../../schemas/bucketed.toml")),
    ("varied", include_str!("../../schemas/varied.toml")),
    ("linked", include_str!("../../schemas/linked.toml")),
    ("example", include_str!("../../schemas/example.toml")),
    ("tasked", include_str!("../../schemas/tasked.toml")),
    ("shard", include_str!("../../schemas/shard.toml")),
    ("change", include_str!("../../schemas/change.toml")),
    ("refused", include_str!("../../schemas/refused.toml")),
    ("duplicate", include_str!("../../schemas/duplicate.toml")),
    ("loss", include_str!("../../schemas/loss.toml")),
    ("map", include_str!("../../schemas/map.toml")),
    ("ledger", include_str!("../../schemas/ledger.toml")),
    ("metric", include_str!("../../schemas/metric.toml")),
];

/// Every contract, by name.
static CONTRACTS: LazyLock<std::result::Result<BTreeMap<&'static str, Contract>, String>> =
    LazyLock::new(parse_all);

/// One column of a contract.
#[derive(Clone, Debug)]
pub struct Field {
    /// Column name.
    pub name: String,
    /// Arrow type.
    pub data_type: DataType,
    /// Whether nulls are allowed.
    pub nullable: bool,
    /// Allowed closed range of a float column; NaN is never allowed in a ranged column.
    pub range: Option<(f64, f64)>,
    /// Allowed values of a string column.
    pub values: Option<Vec<String>>,
    /// Unit in words.
    pub unit: Option<String>,
    /// What the column says.
    pub meaning: String,
}

/// The named shape of what leaves a room.
#[derive(Clone, Debug)]
pub struct Contract {
    /// Name, which is the schema file's stem.
    pub name: String,
    /// Columns in order.
    pub fields: Vec<Field>,
    /// The same as an Arrow schema.
    pub schema: SchemaRef,
    /// xxh3-128 over names, types, nullability, ranges and values, as 32 hex digits.
    pub hash: String,
    /// The contract whose columns this one begins with.
    pub extends: Option<String>,
    /// How many columns those are.
    n_inherited: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    extends: Option<String>,
    version: u32,
    #[serde(default)]
    field: Vec<FileField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileField {
    name: String,
    r#type: String,
    #[serde(default)]
    nullable: bool,
    range: Option<(f64, f64)>,
    values: Option<Vec<String>>,
    unit: Option<String>,
    meaning: String,
}

/// The contract called `name`.
///
/// # Errors
/// If there is none, or if an embedded schema file is wrong.
pub fn contract(name: &str) -> Result<&'static Contract> {
    let all = CONTRACTS
        .as_ref()
        .map_err(|cause| Error::data(format!("an embedded schema file is wrong: {cause}")))?;
    all.get(name).ok_or_else(|| Error::data(format!("there is no contract `{name}` in schemas/")))
}

/// All contracts in name order.
///
/// # Errors
/// If an embedded schema file is wrong.
pub fn contracts() -> Result<impl Iterator<Item = &'static Contract>> {
    let all = CONTRACTS
        .as_ref()
        .map_err(|cause| Error::data(format!("an embedded schema file is wrong: {cause}")))?;
    Ok(all.values())
}

fn parse_all() -> std::result::Result<BTreeMap<&'static str, Contract>, String> {
    let mut all: BTreeMap<&'static str, Contract> = BTreeMap::new();
    for (name, text) in FILES {
        let file: File =
            toml::from_str(text).map_err(|cause| format!("schemas/{name}.toml: {cause}"))?;
        let mut fields = match &file.extends {
            Some(base) => all
                .get(base.as_str())
                .ok_or(format!("schemas/{name}.toml extends unknown `{base}`"))?
                .fields
                .clone(),
            None => Vec::new(),
        };

        let n_inherited = fields.len();
        for field in file.field {
            let data_type: DataType = field
                .r#type
                .parse()
                .map_err(|cause| format!("schemas/{name}.toml, `{}`: {cause}", field.name))?;
            fields.push(Field {
                name: field.name,
                data_type,
                nullable: field.nullable,
                range: field.range,
                values: field.values,
                unit: field.unit,
                meaning: field.meaning,
            });
        }

        let built = Contract::build(name, file.version, fields);
        all.insert(name, Contract { extends: file.extends, n_inherited, ..built });
    }
    Ok(all)
}

impl Contract {
    fn build(name: &str, version: u32, fields: Vec<Field>) -> Self {
        let shape: Vec<String> = fields
            .iter()
            .map(|f| {
                format!("{} {} {} {:?} {:?}", f.name, f.data_type, f.nullable, f.range, f.values)
            })
            .collect();

        let hash = format!(
            "{:032x}",
            xxh3_128(format!("{name} {version}\n{}", shape.join("\n")).as_bytes())
        );
        let schema = schema_of(&fields);
        Contract { name: name.to_string(), fields, schema, hash, extends: None, n_inherited: 0 }
    }

    /// The columns that it adds to the contract it extends, under its name and hash.
    pub fn added(&self) -> Contract {
        let fields = self.fields[self.n_inherited..].to_vec();
        Contract { schema: schema_of(&fields), fields, n_inherited: 0, ..self.clone() }
    }

    /// This contract and those it extends, the widest first.
    ///
    /// # Errors
    /// If an embedded schema file is wrong.
    pub fn chain(&self) -> Result<Vec<&Contract>> {
        let mut chain = vec![self];
        while let Some(base) = chain.last().and_then(|last| last.extends.as_deref()) {
            chain.push(contract(base)?);
        }
        Ok(chain)
    }

    /// Checks that a batch has exactly this contract's columns, types, nulls, ranges and values.
    ///
    /// # Errors
    /// Names the first column that differs, with the first row that breaks it.
    pub fn check(&self, batch: &RecordBatch) -> Result<()> {
        self.check_schema(&batch.schema())?;
        for (field, column) in self.fields.iter().zip(batch.columns()) {
            self.check_column(field, column)?;
        }
        Ok(())
    }

    /// Checks names, types and nullability of a schema against this contract.
    ///
    /// # Errors
    /// Names the first column that differs.
    pub fn check_schema(&self, schema: &Schema) -> Result<()> {
        let broken =
            |what: String| Err(Error::data(format!("contract `{}` is broken: {what}", self.name)));
        for (idx, field) in self.fields.iter().enumerate() {
            let Some(found) = schema.fields().get(idx) else {
                return broken(format!("column `{}` is missing", field.name));
            };
            if found.name() != &field.name {
                return broken(format!(
                    "column {idx} is `{}` instead of `{}`",
                    found.name(),
                    field.name
                ));
            }

            if !found.data_type().equals_datatype(&field.data_type) {
                return broken(format!(
                    "`{}` is {} instead of {}",
                    field.name,
                    found.data_type(),
                    field.data_type
                ));
            }
        }

        match schema.fields().get(self.fields.len()) {
            Some(extra) => broken(format!("column `{}` is not part of it", extra.name())),
            None => Ok(()),
        }
    }

    /// Checks that no column of a batch, which may hold only some of the contract's, has a null
    /// where none may be.
    ///
    /// # Errors
    /// Names the column and the first row.
    pub fn check_nulls(&self, batch: &RecordBatch) -> Result<()> {
        for field in self.fields.iter().filter(|field| !field.nullable) {
            if let Some(column) =
                batch.column_by_name(&field.name).filter(|column| column.null_count() > 0)
            {
                self.check_column(field, column)?;
            }
        }
        Ok(())
    }

    fn check_column(&self, field: &Field, column: &ArrayRef) -> Result<()> {
        let broken = |row: usize, what: String| {
            Err(Error::data(format!(
                "contract `{}` is broken: `{}` is {what} in row {row}",
                self.name, field.name
            )))
        };

        if !field.nullable && column.null_count() > 0 {
            let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or(0);
            return broken(row, "null".to_string());
        }

        if let Some((low, high)) = field.range {
            let values: Vec<Option<f64>> = match column.data_type() {
                DataType::Float32 => {
                    column.as_primitive::<Float32Type>().iter().map(|v| v.map(f64::from)).collect()
                }
                DataType::Float64 => column.as_primitive::<Float64Type>().iter().collect(),
                _ => Vec::new(),
            };
            for (row, value) in values.into_iter().enumerate() {
                if let Some(value) = value.filter(|v| !(low..=high).contains(v)) {
                    return broken(row, format!("{value}, outside {low}..={high},"));
                }
            }
        }

        if let Some(values) = &field.values {
            for (row, value) in column.as_string::<i32>().iter().enumerate() {
                if let Some(value) = value.filter(|v| !values.iter().any(|known| known == v)) {
                    return broken(row, format!("`{value}`, not one of {values:?},"));
                }
            }
        }

        Ok(())
    }

    /// Adds columns to a batch so that it fulfils this contract; every column is taken by name.
    ///
    /// # Errors
    /// If a column is missing or breaks the contract.
    pub fn widen(&self, batch: &RecordBatch, added: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let column = match added.iter().find(|(name, _)| *name == field.name) {
                Some((_, column)) => column.clone(),
                None => column(batch, &field.name)?.clone(),
            };
            columns.push(column);
        }
        self.batch(columns)
    }

    /// A batch of these columns, in order, checked against this contract.
    ///
    /// # Errors
    /// If the columns break the contract.
    pub fn batch(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|cause| Error::data(format!("contract `{}` is broken: {cause}", self.name)))?;
        self.check(&batch)?;
        Ok(batch)
    }
}

fn schema_of(fields: &[Field]) -> SchemaRef {
    let fields = fields.iter().map(|f| ArrowField::new(&f.name, f.data_type.clone(), f.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<ArrowField>>()))
}

/// The column called `name` of a batch.
///
/// # Errors
/// If the batch has no such column.
pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::data(format!("column `{name}` is missing")))
}

/// The list column called `name` of a batch.
///
/// # Errors
/// If the batch has no such column or it is no list.
pub fn lists<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray> {
    column(batch, name)?
        .as_list_opt::<i32>()
        .ok_or_else(|| Error::data(format!("column `{name}` is no list")))
}

/// The string column called `name` of a batch.
///
/// # Errors
/// If the batch has no such column or it is not `Utf8`.
pub fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::StringArray> {
    column(batch, name)?
        .as_string_opt::<i32>()
        .ok_or_else(|| Error::data(format!("column `{name}` is not a string column")))
}

/// The primitive column called `name` of a batch, such as `numbers::<Float32Type>(&batch,
/// "density")`.
///
/// # Errors
/// If the batch has no such column or it has another type.
pub fn numbers<'a, T: arrow::datatypes::ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::PrimitiveArray<T>> {
    column(batch, name)?
        .as_primitive_opt::<T>()
        .ok_or_else(|| Error::data(format!("column `{name}` is not {}", T::DATA_TYPE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, StringArray};

    #[test]
    fn nulls_are_found_in_a_few_columns() {
        let strings: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("a"), None]));
        let batch = |name: &str| {
            RecordBatch::try_from_iter_with_nullable([(name, strings.clone(), true)]).unwrap()
        };
        let shard = contract("shard").unwrap();
        let error = shard.check_nulls(&batch("text")).unwrap_err().to_string();
        assert!(error.contains("`text` is null in row 1"), "{error}");
        assert!(shard.check_nulls(&batch("title")).is_ok(), "a title may be null");
    }

    #[test]
    fn every_schema_file_is_a_contract() {
        let found = contracts().unwrap().count();
        assert_eq!(found, FILES.len());
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
        assert_eq!(
            std::fs::read_dir(folder).unwrap().count(),
            FILES.len(),
            "a schema file is not embedded"
        );
    }

    #[test]
    fn a_wider_contract_begins_with_the_one_it_extends() {
        let (narrow, wide) = (contract("document").unwrap(), contract("example").unwrap());
        for (a, b) in narrow.fields.iter().zip(&wide.fields) {
            assert_eq!(a.name, b.name);
        }
        assert_ne!(narrow.hash, wide.hash);
        let chain: Vec<&str> =
            wide.chain().unwrap().iter().map(|contract| contract.name.as_str()).collect();
        assert_eq!(
            chain,
            ["example", "linked", "varied", "bucketed", "scored", "unique", "document"]
        );
        let added: usize =
            wide.chain().unwrap().iter().map(|contract| contract.added().fields.len()).sum();

        assert_eq!(added, wide.fields.len());
    }

    #[test]
    fn ranges_values_and_nulls_are_checked() {
        let density = Field {
            name: "density".into(),
            data_type: DataType::Float32,
            nullable: false,
            range: Some((0.0, 1.0)),
            values: None,
            unit: None,
            meaning: String::new(),
        };

        let role = Field {
            name: "role".into(),
            data_type: DataType::Utf8,
            range: None,
            values: Some(vec!["general".into()]),
            ..density.clone()
        };

        let contract = Contract::build("test", 1, vec![density, role]);
        let batch = |d: f32, r: &str| {
            contract.batch(vec![
                Arc::new(Float32Array::from(vec![d])),
                Arc::new(StringArray::from(vec![r])),
            ])
        };

        assert!(batch(0.5, "general").is_ok());
        assert!(batch(f32::NAN, "general").unwrap_err().what().contains("NaN"));
        assert!(batch(1.5, "general").unwrap_err().what().contains("outside 0..=1"));
        assert!(batch(0.5, "other").unwrap_err().what().contains("`other`"));
    }
}
