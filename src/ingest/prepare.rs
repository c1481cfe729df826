//! piece → rows: the pure kernel that parses, cleans and names, run over chunks in parallel.

use std::borrow::Cow;
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::files::expand::name_below;
use crate::flow::books::{KEPT_BYTES, Refusal};
use crate::ingest::chinese;
use crate::ingest::clean::{clean, one_line};
use crate::ingest::ids::{Kind, id_in_file};
use crate::ingest::marks;
use crate::ingest::numbers::linear;
use crate::ingest::{Document, FileFacts, Format, Ids, Params, Parsed, Piece, SourceSpec};
use crate::text::normal::normalise;

/// Longer ids are left, and the document named by its content.
const MAX_ID_BYTES: usize = 512;

/// Pieces of one file that stand one behind the other.
pub(super) struct Chunk {
    /// Index of the source.
    pub(super) source: usize,
    /// Index of the file in its source.
    pub(super) file: usize,
    /// The file's path as given.
    pub(super) path: Arc<str>,
    /// What the file said before these pieces.
    pub(super) facts: Arc<FileFacts>,
    /// Index of the first piece in its file.
    pub(super) first_piece: u64,
    /// The pieces, each with its place in the file and the repairs of its bytes.
    pub(super) pieces: Vec<(Piece, u64, u64)>,
    /// Whether the file ends behind these pieces, and what there is to count about it.
    pub(super) end: Option<Vec<(String, u64)>>,
}

/// A chunk as rows.
pub(super) struct Prepared {
    pub(super) source: usize,
    pub(super) file: usize,
    pub(super) path: Arc<str>,
    pub(super) first_piece: u64,
    /// What came of each piece.
    pub(super) pieces: Vec<Vec<Outcome>>,
    pub(super) end: Option<Vec<(String, u64)>>,
}

/// What comes of a piece.
pub(super) enum Outcome {
    Row(Box<Row>),
    Refused(Box<Refusal>),
    /// Hash of an id of which this version has no document.
    Empty(u128, u64),
    /// Hashes of ids that are withdrawn.
    Withdraws(Vec<u128>),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Outcome::Refused(Box::new(refusal))
    }
}

/// A document with its name.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) id_hash: u128,
    /// What it says about its id.
    pub(super) kind: Kind,
    /// xxh3-64 of the text.
    pub(super) text_hash: u64,
    pub(super) offset: u64,
    pub(super) document: Document,
    /// Size in memory, in bytes.
    pub(super) bytes: usize,
}

/// Makes rows of a chunk.
pub(super) fn prepare(
    chunk: Chunk,
    format: &dyn Format,
    source: &SourceSpec,
    params: &Params,
) -> Prepared {
    let Chunk { path, facts, pieces, .. } = chunk;
    let is_versioned = format.has_versions();
    let kernel = Kernel { path: &path, facts: &facts, format, source, params, is_versioned };
    let pieces = pieces
        .into_iter()
        .map(|(piece, offset, repaired)| kernel.outcomes(piece, offset, repaired));
    let pieces = pieces.collect();
    let (source, file, first_piece, end) = (chunk.source, chunk.file, chunk.first_piece, chunk.end);

    Prepared { source, file, path, first_piece, pieces, end }
}

/// What comes of one record.
#[derive(Default)]
struct Outcomes {
    all: Vec<Outcome>,
    /// Whether a refusal among them has the record's bytes.
    has_bytes: bool,
}

impl Outcomes {
    /// Adds what came of a part. The record's bytes are kept once: of a statute a thousand articles
    /// may be refused.
    fn push(&mut self, mut outcome: Outcome) {
        if let Outcome::Refused(refusal) = &mut outcome
            && std::mem::replace(&mut self.has_bytes, true)
        {
            refusal.bytes = Vec::new();
        }
        self.all.push(outcome);
    }
}

struct Kernel<'a> {
    path: &'a str,
    facts: &'a FileFacts,
    format: &'a dyn Format,
    source: &'a SourceSpec,
    params: &'a Params,
    /// Whether records of one id are versions of one, by their format.
    is_versioned: bool,
}

impl Kernel<'_> {
    fn outcomes(&self, piece: Piece, offset: u64, repaired: u64) -> Vec<Outcome> {
        let raw = match piece {
            Piece::Refused(broken) => {
                let mut refusal =
                    self.refusal(offset, broken.reason, None, broken.detail, &broken.bytes);
                refusal.n_bytes = refusal.n_bytes.max(broken.n_bytes);
                return vec![refusal.into()];
            }
            Piece::Record(raw) => raw,
        };

        let mut left = repaired;
        let mut outcomes = Outcomes::default();

        for parsed in self.format.parse(&raw, self.facts, self.source) {
            match parsed {
                Parsed::Document(mut document) => {
                    document.repaired += std::mem::take(&mut left);
                    for document in self.in_form(*document) {
                        let (id, version) = (document.id.clone(), document.version);
                        let outcome = self.row(document, offset, &raw.bytes);
                        // Without a version it may be a slip in a file that has the document too.
                        if let (Outcome::Refused(_), Some(id), 1..) = (&outcome, id, version) {
                            outcomes.push(Outcome::Empty(self.id_hash(&id), version));
                        }
                        outcomes.push(outcome);
                    }
                }

                Parsed::Refused { reason, id, detail } => {
                    outcomes.push(self.refusal(offset, reason, id, detail, &raw.bytes).into());
                }
                Parsed::Empty { reason, id, version, detail } => {
                    if version > 0 {
                        outcomes.push(Outcome::Empty(self.id_hash(&id), version));
                    }
                    outcomes
                        .push(self.refusal(offset, reason, Some(id), detail, &raw.bytes).into());
                }

                Parsed::Withdraws(ids) => {
                    outcomes
                        .push(Outcome::Withdraws(ids.iter().map(|id| self.id_hash(id)).collect()));
                }
            }
        }

        outcomes.all
    }

    fn id_hash(&self, id: &str) -> u128 {
        xxh3_128(self.full_id(&one_line(id)).as_bytes())
    }

    /// The id of a record in the whole run: behind its source's name and, where the source says
    /// that ids hold within a file, the file's.
    fn full_id(&self, id: &str) -> String {
        match self.source.ids {
            Ids::File => {
                id_in_file(&self.source.name, &name_below(&self.source.path, self.path), id)
            }
            Ids::Auto | Ids::Global => format!("{}:{id}", self.source.name),
        }
    }

    fn refusal(
        &self,
        offset: u64,
        reason: impl Into<Cow<'static, str>>,
        id: Option<String>,
        detail: String,
        bytes: &[u8],
    ) -> Refusal {
        Refusal {
            source: self.source.name.clone(),
            file: self.path.to_string(),
            offset,
            id: id.map(|id| self.full_id(&one_line(&id))),
            reason: reason.into(),
            detail,
            n_bytes: bytes.len() as u64,
            bytes: bytes[..bytes.len().min(KEPT_BYTES)].to_vec(),
        }
    }

    /// A document in clean layout, and where it is Chinese in the form and the parts that are
    /// wanted.
    fn in_form(&self, mut document: Document) -> Vec<Document> {
        document.text = linear(clean(&document.text)).into_owned();
        let (form, templates) = (self.params.form(), &self.source.templates);
        let is_plain = form == chinese::Form::default()
            && templates.is_empty()
            && self.source.split == chinese::Split::Whole;
        if is_plain || !chinese::is_one(&document, self.source.language.as_deref()) {
            return vec![document];
        }
        chinese::in_form(&mut document, form, templates);
        chinese::split(document, self.source.split)
    }

    fn row(&self, mut document: Document, offset: u64, bytes: &[u8]) -> Outcome {
        let id = lined(document.id.take()).filter(|id| id.len() <= MAX_ID_BYTES);

        if document.text.is_empty() {
            return self
                .refusal(offset, "no_text", id, "the record has no text".to_string(), bytes)
                .into();
        }

        if marks::is_placeholder(&document.text) {
            return self
                .refusal(offset, "placeholder", id, "the text holds nothing".to_string(), bytes)
                .into();
        }

        if let Some(mark) = marks::dropped(&self.source.drop, &document) {
            let detail = format!("`drop` of the source names `{mark}`");
            return self.refusal(offset, format!("dropped:{mark}"), id, detail, bytes).into();
        }

        let n_chars = document.text.chars().take(self.params.min_chars).count();
        if n_chars < self.params.min_chars {
            let detail =
                format!("{n_chars} characters; `ingest.min_chars` is {}", self.params.min_chars);
            return self.refusal(offset, "too_short", id, detail, bytes).into();
        }

        let (id, kind) = match id {
            Some(id) if self.is_versioned => (self.full_id(&id), Kind::Versioned),
            Some(id) => (self.full_id(&id), Kind::Named),
            None => {
                let hash = xxh3_128(normalise(&document.text).as_bytes());
                (format!("{}:x{hash:032x}", self.source.name), Kind::ByContent)
            }
        };

        document.title = lined(document.title).map(|title| linear(title).into_owned());
        document.url = lined(document.url);
        document.date = lined(document.date);
        document.language = lined(document.language).or_else(|| self.source.language.clone());
        document.licence = lined(document.licence).or_else(|| self.source.licence.clone());
        let sizes = [&document.title, &document.url, &document.date, &document.metadata];
        let bytes = 128
            + document.text.len()
            + sizes.iter().map(|text| text.as_ref().map_or(0, String::len)).sum::<usize>();
        let id_hash = xxh3_128(id.as_bytes());
        let text_hash = xxh3_64(document.text.as_bytes());

        Outcome::Row(Box::new(Row { id, id_hash, kind, text_hash, offset, document, bytes }))
    }
}

/// A field on one line; nothing if that is empty.
fn lined(field: Option<String>) -> Option<String> {
    let field = field?;
    let line = match one_line(&field) {
        Cow::Borrowed(_) => field,
        Cow::Owned(line) => line,
    };
    Some(line).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_refusals_of_a_record_the_first_has_its_bytes() {
        let refusal = || Refusal {
            source: "a".to_string(),
            file: "b".to_string(),
            offset: 0,
            id: None,
            reason: "too_short".into(),
            detail: String::new(),
            n_bytes: 3,
            bytes: vec![1, 2, 3],
        };
        let mut outcomes = Outcomes::default();
        outcomes.push(Outcome::Withdraws(Vec::new()));
        (0..3).for_each(|_| outcomes.push(refusal().into()));
        let refused = outcomes.all.iter().filter_map(|outcome| match outcome {
            Outcome::Refused(refusal) => Some((refusal.n_bytes, refusal.bytes.len())),
            _ => None,
        });
        assert_eq!(refused.collect::<Vec<(u64, usize)>>(), [(3, 3), (3, 0), (3, 0)]);
    }
}
