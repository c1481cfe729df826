//! concepts of each row → a Tantivy index, and BM25 of every row in one pass over its postings.
//!
//! The index has a `concepts` field (one term a concept, its id; postings with frequencies) and
//! fast fields `row` and `length`. Rows without a concept are not in it. There is no `text` field:
//! no question of the pipeline asks for words, and it would take more time and disk than all the
//! rest of the room.
//!
//! Tantivy's scorer is not used, because it rounds lengths; the sums are ours, in f64, in the order
//! of concept ids, so they do not depend on how rows are spread over segments. Tantivy names its
//! files at random, so the index is the one folder whose bytes differ from run to run; nothing that
//! is read from it does.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tantivy::index::IndexSettings;
use tantivy::merge_policy::NoMergePolicy;
use tantivy::postings::Postings;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::store::Compressor;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use tantivy::{DocSet, Index, IndexWriter, TERMINATED, TantivyDocument};

use super::bm25::Bm25;
use super::spill;
use crate::error::{Error, Result};
use crate::flow::dataset::{Batches, Dataset, read_json, write_json};
use crate::flow::disk::files_named;
use crate::knowledge::lexicon::Lexicon;

/// Least and most memory for postings before they are written as a segment.
const HEAP_BYTES: std::ops::RangeInclusive<u64> = 15_000_000..=256_000_000;

/// Name of the tokenizer that cuts a list of ids.
const IDS: &str = "ids";

/// What stands beside a whole index.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Marker {
    rows: u64,
    /// Of its files.
    bytes: u64,
}

fn failed(folder: &Path) -> impl Fn(tantivy::TantivyError) -> Error + '_ {
    |cause| {
        Error::io(format!("the concept index in `{}` failed", folder.display()), cause)
            .hint("free some disk space, or delete the folder, and run the same command again")
    }
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    let postings = TextFieldIndexing::default()
        .set_tokenizer(IDS)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqs);
    schema.add_text_field("concepts", TextOptions::default().set_indexing_options(postings));
    schema.add_u64_field("row", FAST);
    schema.add_u64_field("length", FAST);

    schema.build()
}

/// The index of all rows of `mentions` in `folder`, built anew unless it stands there whole.
///
/// # Errors
/// If the index cannot be written or read.
pub(super) fn open(
    folder: &Path,
    mentions: &Dataset,
    lexicon: &Lexicon,
    memory_bytes: u64,
) -> Result<Index> {
    let place = folder.join("index");
    let rows = mentions.rows();
    let marker = |bytes: u64| Marker { rows, bytes };
    let written = read_json::<Marker>(&folder.join("index.json"))?;

    if written.is_some() && written == Some(marker(bytes_of(&place)?)) {
        return Index::open_in_dir(&place).map_err(failed(&place));
    }
    if place.exists() {
        std::fs::remove_dir_all(&place).map_err(|cause| Error::file("delete", &place, cause))?;
    }
    std::fs::create_dir_all(&place).map_err(|cause| Error::file("create", &place, cause))?;
    let settings =
        IndexSettings { docstore_compression: Compressor::None, ..IndexSettings::default() };
    let index = Index::builder()
        .schema(schema())
        .settings(settings)
        .create_in_dir(&place)
        .map_err(failed(&place))?;
    index.tokenizers().register(IDS, Ids::default());
    let heap = (memory_bytes / 8).clamp(*HEAP_BYTES.start(), *HEAP_BYTES.end());
    let mut writer: IndexWriter =
        index.writer_with_num_threads(1, heap as usize).map_err(failed(&place))?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    add_rows(&writer, &index, mentions, lexicon, &place)?;
    writer.commit().map_err(failed(&place))?;
    writer.wait_merging_threads().map_err(failed(&place))?;
    let done = folder.join("index.json");
    write_json(&done, &marker(bytes_of(&place)?))?;
    // The crate makes some files that only their owner may read.
    let usual =
        std::fs::metadata(&done).map_err(|cause| Error::file("read", &done, cause))?.permissions();

    for file in files_named(&place, "", ".json")? {
        std::fs::set_permissions(&file, usual.clone())
            .map_err(|cause| Error::file("write", &file, cause))?;
    }

    Ok(index)
}

/// Bytes of all files of the index, to notice one that was emptied; its locks are empty anyway.
fn bytes_of(place: &Path) -> Result<u64> {
    if !place.exists() {
        return Ok(0);
    }
    Ok(files_named(place, "", "")?
        .iter()
        .filter_map(|file| file.metadata().ok())
        .map(|facts| facts.len())
        .sum())
}

fn add_rows(
    writer: &IndexWriter,
    index: &Index,
    mentions: &Dataset,
    lexicon: &Lexicon,
    place: &Path,
) -> Result<()> {
    let field =
        |name: &str| -> Result<Field> { index.schema().get_field(name).map_err(failed(place)) };
    let (concepts, row_field, length) = (field("concepts")?, field("row")?, field("length")?);
    let mut number = 0_u64;

    for part in &mentions.parts {
        for batch in Batches::open(&part.path, Some(mentions.contract), None)? {
            for row in spill::rows(&batch?)? {
                if !row.concepts.is_empty() {
                    let mut document = TantivyDocument::default();
                    document.add_text(concepts, id_list(&row, lexicon)?);
                    document.add_u64(row_field, number);
                    document.add_u64(length, u64::from(row.n_tokens));
                    writer.add_document(document).map_err(failed(place))?;
                }
                number += 1;
            }
        }
    }

    Ok(())
}

/// The ids of a row's concepts, each as often as it is mentioned, one a line.
fn id_list(row: &spill::Row, lexicon: &Lexicon) -> Result<String> {
    let mut list = String::new();
    for (concept, tf) in row.concepts.iter().zip(row.freqs) {
        let concept = lexicon.concepts.get(*concept as usize);
        let id = &concept.ok_or_else(|| Error::data("a spilled concept is not in the lexicon"))?.id;
        for _ in 0..*tf {
            list.push_str(id);
            list.push('\n');
        }
    }
    Ok(list)
}

/// How many documents hold each concept.
///
/// # Errors
/// If the index cannot be read.
pub(super) fn document_frequencies(
    index: &Index,
    lexicon: &Lexicon,
    folder: &Path,
) -> Result<Vec<u32>> {
    let mut df = vec![0; lexicon.concepts.len()];
    each_segment(index, folder, |segment, field| {
        let inverted = segment.inverted_index(field)?;
        let mut terms = inverted.terms().stream()?;
        while terms.advance() {
            if let Some(concept) = number(terms.key(), lexicon) {
                df[concept as usize] += terms.value().doc_freq;
            }
        }
        Ok(())
    })?;
    Ok(df)
}

/// BM25 of every row, summed over all concepts in the order of their ids.
///
/// # Errors
/// If the index cannot be read.
pub(super) fn score_rows(
    index: &Index,
    lexicon: &Lexicon,
    bm25: &Bm25,
    idf: &[f64],
    folder: &Path,
) -> Result<Vec<f64>> {
    let mut scores = vec![0.0; bm25.n_docs as usize];
    each_segment(index, folder, |segment, field| {
        let read = |name: &str| -> tantivy::Result<Vec<u64>> {
            let column = segment.fast_fields().column_first_or_default::<u64>(name)?;
            Ok((0..segment.max_doc()).map(|doc| column.get_val(doc)).collect())
        };
        let (rows, lengths) = (read("row")?, read("length")?);
        let inverted = segment.inverted_index(field)?;
        let mut terms = inverted.terms().stream()?;

        while terms.advance() {
            let Some(concept) = number(terms.key(), lexicon) else { continue };
            let mut postings = inverted
                .read_postings_from_terminfo(terms.value(), IndexRecordOption::WithFreqs)?;

            while postings.doc() != TERMINATED {
                let doc = postings.doc() as usize;
                let contribution = bm25.contribution(
                    idf[concept as usize],
                    postings.term_freq(),
                    lengths[doc] as u32,
                );
                scores[rows[doc] as usize] += contribution;
                postings.advance();
            }
        }

        Ok(())
    })?;
    Ok(scores)
}

fn each_segment(
    index: &Index,
    folder: &Path,
    mut visit: impl FnMut(&tantivy::SegmentReader, Field) -> tantivy::Result<()>,
) -> Result<()> {
    let field = index.schema().get_field("concepts").map_err(failed(folder))?;
    let reader = index.reader().map_err(failed(folder))?;
    for segment in reader.searcher().segment_readers() {
        visit(segment, field).map_err(failed(folder))?;
    }
    Ok(())
}

/// The number of the concept whose id is this term.
fn number(term: &[u8], lexicon: &Lexicon) -> Option<u32> {
    std::str::from_utf8(term).ok().and_then(|id| lexicon.find(id))
}

/// Cuts a list of ids at line ends.
#[derive(Clone, Default)]
struct Ids {
    token: Token,
}

/// The ids of one list.
struct IdStream<'a> {
    rest: &'a str,
    token: &'a mut Token,
}

impl Tokenizer for Ids {
    type TokenStream<'a> = IdStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> IdStream<'a> {
        self.token.reset();
        IdStream { rest: text, token: &mut self.token }
    }
}

impl TokenStream for IdStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((id, rest)) = self.rest.split_once('\n') else { return false };
        self.token.text.clear();
        self.token.text.push_str(id);
        self.token.position = self.token.position.wrapping_add(1);
        self.rest = rest;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
