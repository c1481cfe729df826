//! Documents and variants as rows of the contract `varied`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, UInt64Type};
use xxhash_rust::xxh3::xxh3_64;

use super::Kit;
use super::import::Imported;
use super::make::{Family, Rejected, Unusable, family};
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::flow::books::Refusal;
use crate::flow::contract::{Contract, contract, numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::room::{Added, Context, Outcome};
use crate::rewrite::edits::{self, Edit};
use crate::text::words::words;

/// Gives every document to the next room as it is, once.
pub(super) fn without_variants(input: &Dataset, cx: &Context<'_>) -> Result<()> {
    let leaves = contract("varied")?;
    cx.add_columns(input, leaves, &[], |batch, _| {
        let n = batch.num_rows();
        let none: ArrayRef = new_null_array(&DataType::Utf8, n);
        let edits: Vec<&[Edit]> = vec![&[]; n];
        let columns = vec![
            ("parent", none.clone()),
            ("variant", none),
            ("edits", edits_column(&edits, leaves)?),
            ("times", Arc::new(UInt32Array::from(vec![1; n])) as ArrayRef),
        ];
        Ok(Added { columns, notes: Vec::new() })
    })
}

/// Writes every document, with its variants behind it.
pub(super) fn write(
    input: &Dataset,
    plan: &Plan,
    imported: &Imported,
    kit: &Kit,
    cx: &Context<'_>,
) -> Result<()> {
    let leaves = contract("varied")?;
    cx.map_parts(input, leaves, |batch, span| {
        let mut made = Made::default();
        if span.first_row == 0 {
            made.refused = imported.orphans();
            made.notes.extend(kit.translations.notes.iter().copied());
        }
        let (ids, texts, roles) =
            (strings(batch, "id")?, strings(batch, "text")?, strings(batch, "role")?);
        let languages = strings(batch, "language")?;
        let places = Places {
            sources: strings(batch, "source")?,
            files: strings(batch, "file")?,
            offsets: numbers::<UInt64Type>(batch, "offset")?,
        };

        for row in 0..batch.num_rows() {
            let (id, text) = (ids.value(row), texts.value(row));
            let language = languages.is_valid(row).then(|| languages.value(row));
            let exposures = plan.exposures(span.first_row + row as u64);
            let family = match roles.value(row) {
                "domain" => {
                    family(id, text, language, exposures as usize - 1, imported.of(id), kit)?
                }
                _ => Family::default(),
            };
            made.add(row as u32, id, exposures, family, &places);
        }
        made.outcome(batch, leaves)
    })
}

/// Where documents of a batch were read.
struct Places<'a> {
    sources: &'a StringArray,
    files: &'a StringArray,
    offsets: &'a UInt64Array,
}

/// Rows to be written.
#[derive(Default)]
struct Made {
    /// Of each, the row of the document.
    rows: Vec<u32>,
    /// Of variants: id, text, parent and what was done.
    variants: Vec<Option<[String; 4]>>,
    edits: Vec<Vec<Edit>>,
    times: Vec<u32>,
    refused: Vec<Refusal>,
    notes: Vec<(&'static str, u64)>,
    made: Vec<(String, u64)>,
}

impl Made {
    /// A document and what was made of it: so many exposures, those of the document first, and of
    /// all alike.
    fn add(&mut self, row: u32, id: &str, exposures: u32, family: Family, places: &Places) {
        let members = 1 + family.variants.len() as u32;
        let exposures = exposures.max(members);
        // Variants first, repeats last: nobody stands twice before all stood once.
        let times = |member: u32| exposures / members + u32::from(member < exposures % members);

        self.rows.push(row);
        self.variants.push(None);
        self.edits.push(Vec::new());
        self.times.push(times(0));
        self.notes.push(("exposures", u64::from(exposures)));
        self.notes.push(("families of variants", u64::from(members > 1)));
        self.notes.push(("documents repeated as they are", u64::from(exposures > members)));

        for (variant, member) in family.variants.into_iter().zip(1..) {
            self.made.push((variant.kind.clone(), 1));
            self.rows.push(row);
            // With what it says in it: a document may be called `parent~1` itself.
            let own = format!("{id}~{member}-{:08x}", xxh3_64(variant.text.as_bytes()) as u32);
            self.variants.push(Some([own, variant.text, id.to_string(), variant.kind]));
            self.edits.push(variant.edits);
            self.times.push(times(member));
        }

        let at = row as usize;
        for Unusable { text, kind, reason, place } in family.unusable {
            self.made.push((kind.clone(), 1));
            self.refused.push(Refusal {
                source: places.sources.value(at).to_string(),
                file: place.0,
                offset: place.1,
                id: Some(id.to_string()),
                reason: reason.into(),
                detail: kind,
                n_bytes: text.len() as u64,
                bytes: text.into_bytes(),
            });
        }
        for Rejected { variant, difference, place } in family.rejected {
            self.made.push((variant.kind.clone(), 1));
            let (file, offset) = place
                .unwrap_or_else(|| (places.files.value(at).to_string(), places.offsets.value(at)));
            self.refused.push(Refusal {
                source: places.sources.value(at).to_string(),
                file,
                offset,
                id: Some(id.to_string()),
                reason: format!("not_the_same:{}", difference.kind).into(),
                detail: format!("{}: {}", variant.kind, difference.detail),
                n_bytes: variant.text.len() as u64,
                bytes: variant.text.into_bytes(),
            });
        }
    }

    fn outcome(mut self, batch: &RecordBatch, leaves: &Contract) -> Result<Outcome> {
        let orphans = self.refused.iter().filter(|one| one.reason == "no_parent").count();
        self.made.push(("imported without a document".to_string(), orphans as u64));
        let taken = take_record_batch(batch, &UInt32Array::from(self.rows))?;
        let of =
            |which: usize| self.variants.iter().map(move |one| one.as_ref().map(|v| &v[which]));
        let instead = |name: &str| -> Result<Option<ArrayRef>> {
            let or_own = |which: usize| -> Result<ArrayRef> {
                let own = strings(&taken, name)?;
                let all = of(which).enumerate();
                let all = all.map(|(at, one)| one.map_or(own.value(at), String::as_str));
                Ok(Arc::new(StringArray::from_iter_values(all)))
            };
            Ok(match name {
                "id" => Some(or_own(0)?),
                "text" => Some(or_own(1)?),
                "n_tokens" => {
                    let own = numbers::<arrow::datatypes::UInt32Type>(&taken, name)?;
                    let n = |(at, text): (usize, Option<&String>)| {
                        text.map_or(own.value(at), |text| words(text).count() as u32)
                    };
                    Some(Arc::new(UInt32Array::from_iter_values(of(1).enumerate().map(n))))
                }
                _ => None,
            })
        };

        let schema = taken.schema();
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .zip(taken.columns())
            .map(|(field, own)| Ok(instead(field.name())?.unwrap_or_else(|| own.clone())))
            .collect::<Result<_>>()?;
        let rows = RecordBatch::try_new(schema, columns)?;
        let optional = |which: usize| -> ArrayRef {
            Arc::new(of(which).map(|one| one.map(String::as_str)).collect::<StringArray>())
        };
        let edits: Vec<&[Edit]> = self.edits.iter().map(Vec::as_slice).collect();
        let added = vec![
            ("parent", optional(2)),
            ("variant", optional(3)),
            ("edits", edits_column(&edits, leaves)?),
            ("times", Arc::new(UInt32Array::from(self.times)) as ArrayRef),
        ];
        let kept = leaves.widen(&rows, added)?;
        let (refused, notes, made) = (self.refused, self.notes, self.made);
        Ok(Outcome { refused, notes, made, ..Outcome::kept(kept) })
    }
}

fn edits_column(rows: &[&[Edit]], leaves: &Contract) -> Result<ArrayRef> {
    let field = leaves.schema.field_with_name("edits")?;
    edits::column(rows, field.data_type()).ok_or_else(|| {
        Error::data(format!("contract `{}` is broken: `edits` is no list of structs", leaves.name))
    })?
}
