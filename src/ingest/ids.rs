//! raw parts → parts: which record of an id stays.
//!
//! Where records say their version, the one with the greatest version of an id stays; the others
//! are refused as `superseded`, also where the one that stays is no document (an article that
//! became a redirect). Among equal versions of dumps and of PubMed, whose ids are global, the one
//! read last stays.
//!
//! Elsewhere an id alone proves nothing, nor do equal versions of a mapped column: files often
//! count their rows anew. Of records with the same id and the same text the first stays, and the
//! others are refused as `repeated`. Records with the same id and other texts all stay, each named
//! by its file as well (`s:part-01.jsonl#7`, and from the second of a file on
//! `s:part-01.jsonl#7#2`), whatever was read before them; or they are an error, where the source
//! says that its ids are global.
//!
//! A withdrawal refuses what was read of its id before as `deleted`; what is read after it stays.
//! Documents that are named by their content are told apart, not removed: the second of one name
//! gets `-2`, the third `-3`, and deduplication will see that they are equal.
//!
//! This is decided over the hashes of the ids, 41 bytes a record on disk, of as many of them at
//! once as memory allows; most ids are said once and need no more than 8 bytes there. Then the raw
//! parts become parts as they are, and beside those that hold affected rows stand their
//! [`changes`].

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::files::expand::name_below;
use crate::flow::books::{Books, KEPT_BYTES, Refusal};
use crate::flow::changes::{self, Changes};
use crate::flow::contract::{column, contract, strings};
use crate::flow::dataset::{Batches, PartWriter, read_json, write_json};
use crate::flow::disk::link;
use crate::flow::room::Context;
use crate::ingest::parts::Cursor;
use crate::ingest::{Ids, SourceSpec};

/// What a record says about an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is a document of that id, in a format whose records say their version.
    Versioned,
    /// It is a document of that id; only a mapped column may say which version, else all are 0.
    Named,
    /// It is a document whose id is the hash of its content.
    ByContent,
    /// It withdraws that id.
    Withdrawal,
    /// It is a version of that id without a document.
    Empty,
}

impl Kind {
    fn has_row(self) -> bool {
        matches!(self, Kind::Versioned | Kind::Named | Kind::ByContent)
    }
}

/// One record that says something about an id, in reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// xxh3-128 of the id.
    pub hash: u128,
    /// Version of the record.
    pub version: u64,
    /// What it says.
    pub kind: Kind,
    /// Index of its source.
    pub source: usize,
    /// Index of its file in the source.
    pub file: usize,
    /// xxh3-64 of its text; two texts are compared only where their ids are equal, so 64 bits are
    /// enough.
    pub text: u64,
}

/// Length of a written event: hash, version, kind, source, file, text.
const EVENT_BYTES: usize = 16 + 8 + 1 + 4 + 4 + 8;
/// Memory that an event of an id that is said again takes while it is looked at.
const EVENT_MEMORY: u64 = 112;

impl Event {
    /// Appends the event to what will be a file of them.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.hash.to_le_bytes());
        bytes.extend(self.version.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend((self.source as u32).to_le_bytes());
        bytes.extend((self.file as u32).to_le_bytes());
        bytes.extend(self.text.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (source, rest) = rest.split_first_chunk()?;
        let (file, rest) = rest.split_first_chunk()?;
        let kinds = [Kind::Versioned, Kind::Named, Kind::ByContent, Kind::Withdrawal, Kind::Empty];

        Some(Event {
            hash: u128::from_le_bytes(*hash),
            version: u64::from_le_bytes(*version),
            kind: *kinds.get(usize::from(*kind))?,
            source: u32::from_le_bytes(*source) as usize,
            file: u32::from_le_bytes(*file) as usize,
            text: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// What happens to a row that does not go on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Another record of its id stays: own version, version that stays.
    Superseded(u64, u64),
    /// Another record of its id stays, and has no document: own version, version that stays.
    Emptied(u64, u64),
    /// It was withdrawn.
    Deleted,
    /// A record with its id and its text was read before.
    Repeated,
    /// Another record of its id has another text: it is named by its file too, as the n-th of its
    /// id in there.
    Qualified(u64),
    /// It gets this suffix.
    Renamed(u64),
}

/// Rows that are affected, by number in the whole dataset, with their source.
pub type Fates = BTreeMap<u64, (usize, Fate)>;

/// Decides over events of all parts, given in reading order; rows are the events of documents.
pub fn decide<E: Iterator<Item = Event>>(events: impl Fn() -> E) -> Fates {
    decide_share(events, 0, 1)
}

/// Decides over the `share`-th of `n_shares` of the hashes.
fn decide_share<E: Iterator<Item = Event>>(
    events: impl Fn() -> E,
    share: u128,
    n_shares: u128,
) -> Fates {
    let is_ours = |event: &Event| (event.hash >> 64) % n_shares == share;
    // Nothing happens to an id that is said once. Two that share these bits are looked at in vain.
    let again = said_again(events().filter(is_ours).map(|event| event.hash as u64).collect());
    let mut row = 0;
    let mut ours = Vec::new();

    for (order, event) in events().enumerate() {
        if is_ours(&event) && again.binary_search(&(event.hash as u64)).is_ok() {
            ours.push((event.hash, order as u64, row, event));
        }
        row += u64::from(event.kind.has_row());
    }

    ours.par_sort_unstable_by_key(|(hash, order, _, _)| (*hash, *order));
    let mut fates = Fates::new();

    for of_one_id in ours.chunk_by(|a, b| a.0 == b.0) {
        decide_id(of_one_id.iter().map(|(_, _, row, event)| (*row, event)), &mut fates);
        decide_named(of_one_id.iter().map(|(_, _, row, event)| (*row, event)), &mut fates);
    }

    fates
}

/// What stands twice or more, ascending.
fn said_again(mut all: Vec<u64>) -> Vec<u64> {
    all.par_sort_unstable();
    let several = all.chunk_by(|a, b| a == b).filter(|equal| equal.len() > 1);
    several.map(|equal| equal[0]).collect()
}

/// Records of one id in a format that knows no versions: the greatest version that a mapped column
/// says stays, and of those equal texts are one record, other texts are other records.
fn decide_named<'a>(events: impl Iterator<Item = (u64, &'a Event)> + Clone, fates: &mut Fates) {
    let is_ours = |(_, event): &(u64, &Event)| matches!(event.kind, Kind::Named | Kind::Empty);
    let Some(newest) = events.clone().filter(is_ours).map(|(_, event)| event.version).max() else {
        return;
    };
    let of_newest =
        events.clone().filter(|(_, event)| event.kind == Kind::Named && event.version == newest);
    let older = if of_newest.clone().next().is_some() { Fate::Superseded } else { Fate::Emptied };

    let mut texts = HashSet::new();
    let mut first_of_text = Vec::new();

    for (row, event) in events.filter(|(_, event)| event.kind == Kind::Named) {
        if event.version < newest {
            fates.insert(row, (event.source, older(event.version, newest)));
        } else if texts.insert(event.text) {
            first_of_text.push((row, event));
        } else {
            fates.insert(row, (event.source, Fate::Repeated));
        }
    }

    if first_of_text.len() > 1 {
        let mut n_in_file: HashMap<usize, u64> = HashMap::new();
        for (row, event) in first_of_text {
            let nth = n_in_file.entry(event.file).or_default();
            *nth += 1;
            fates.insert(row, (event.source, Fate::Qualified(*nth)));
        }
    }
}

fn decide_id<'a>(events: impl Iterator<Item = (u64, &'a Event)>, fates: &mut Fates) {
    let mut stays: Option<(u64, &Event)> = None;
    let mut n_by_content = 0;

    for (row, event) in events {
        match event.kind {
            Kind::ByContent => {
                n_by_content += 1;
                if n_by_content > 1 {
                    fates.insert(row, (event.source, Fate::Renamed(n_by_content)));
                }
            }

            Kind::Withdrawal => {
                if let Some((row, event)) = stays.take().filter(|(_, event)| event.kind.has_row()) {
                    fates.insert(row, (event.source, Fate::Deleted));
                }
            }
            Kind::Named => {}
            Kind::Versioned | Kind::Empty => {
                let (goes, winner) = match stays {
                    None => (None, (row, event)),
                    Some(old) if event.version >= old.1.version => (Some(old), (row, event)),
                    Some(old) => (Some((row, event)), old),
                };
                if let Some((row, event)) = goes.filter(|(_, event)| event.kind.has_row()) {
                    let fate =
                        if winner.1.kind.has_row() { Fate::Superseded } else { Fate::Emptied };
                    fates.insert(row, (event.source, fate(event.version, winner.1.version)));
                }
                stays = Some(winner);
            }
        }
    }
}

/// Writes the final parts and gives the books by source.
///
/// # Errors
/// If ids that a source calls global stand for several texts, or a file cannot be read or written.
pub(super) fn settle(
    cx: &Context<'_>,
    raw: &Context<'_>,
    last: &Cursor,
    sources: &[SourceSpec],
) -> Result<BTreeMap<String, Books>> {
    let mut cursors = Vec::new();
    while raw.committed(cursors.len())?.is_some() {
        let cursor: Option<Cursor> = read_json(&raw.numbered("cursor", cursors.len(), "json"))?;
        cursors.push(
            cursor.ok_or_else(|| Error::data("a cursor is missing").at(raw.folder.display()))?,
        );
    }

    let fates = read_and_decide(raw, &cursors, cx.memory_bytes)?;
    sources
        .iter()
        .enumerate()
        .try_for_each(|(number, source)| check_ids(number, source, &fates, last, cx))?;
    let mut first_row = 0;

    for (part, cursor) in cursors.iter().enumerate() {
        let rows = first_row..first_row + cursor.rows;
        if cx.committed(part)?.is_none() {
            settle_part(cx, raw, part, rows.clone(), &fates, sources)?;
        }
        first_row = rows.end;
    }

    let mut books = last.books.clone();
    for (source, fate) in fates.values() {
        if let Some(books) = sources.get(*source).and_then(|source| books.get_mut(&source.name)) {
            amend(books, fate);
        }
    }

    Ok(books)
}

/// Tells how many records of a source share their id with another text.
///
/// # Errors
/// If there are any and the source says that its ids are global.
fn check_ids(
    number: usize,
    source: &SourceSpec,
    fates: &Fates,
    last: &Cursor,
    cx: &Context<'_>,
) -> Result<()> {
    let is_shared =
        |(of, fate): &&(usize, Fate)| *of == number && matches!(fate, Fate::Qualified(_));
    let n_shared = fates.values().filter(is_shared).count() as u64;
    if n_shared == 0 {
        return Ok(());
    }
    let n_documents = last.books.get(&source.name).map_or(n_shared, |books| books.kept);
    let share = 100.0 * n_shared as f64 / n_documents as f64;
    let (version, replaces) = match source.fields.get("version") {
        None => {
            let name = &source.name;
            let map =
                format!("map what says so: `--set 'source.{name}.fields.version=\"<column>\"'`");
            ("", format!("where one record replaces the other, {map}"))
        }
        Some(_) => (
            " and its version",
            "where one record replaces the other, its version must be greater".to_string(),
        ),
    };

    let told = format!(
        "{n_shared} of {n_documents} records of source `{}` ({share:.1} %) have the id{version} of \
         a record with \
         another text",
        source.name
    );
    match source.ids {
        Ids::Global => Err(Error::data(told).at(format!("[source.{}]", source.name)).hint(
            format!("where ids begin anew in each file, take `ids = \"file\"`; {replaces}",),
        )),
        Ids::Auto | Ids::File => {
            let how = match source.ids {
                Ids::File => "they are numbered within their file",
                _ => "they are named by their file too",
            };
            cx.progress.note(&format!(
                "{told}; {how}, such as `{}:part-01.jsonl#7`; {replaces}",
                source.name
            ));
            Ok(())
        }
    }
}

/// Moves a row of the books from kept to where its fate puts it.
fn amend(books: &mut Books, fate: &Fate) {
    match reason(fate) {
        Some(reason) => {
            books.kept -= 1;
            books.read -= 1;
            books.refuse(reason);
        }
        None if matches!(fate, Fate::Qualified(_)) => books.note("ids_named_by_file", 1),
        None => books.note("renamed", 1),
    }
}

fn reason(fate: &Fate) -> Option<&'static str> {
    match fate {
        Fate::Superseded(_, _) | Fate::Emptied(_, _) => Some("superseded"),
        Fate::Deleted => Some("deleted"),
        Fate::Repeated => Some("repeated"),
        Fate::Renamed(_) | Fate::Qualified(_) => None,
    }
}

fn read_and_decide(raw: &Context<'_>, cursors: &[Cursor], memory_bytes: u64) -> Result<Fates> {
    let paths: Vec<_> = (0..cursors.len()).map(|part| raw.numbered("ids", part, "bin")).collect();
    let mut n_events = 0;

    for (path, cursor) in paths.iter().zip(cursors) {
        let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
        // Ids that are missing would leave rows that other ones replace.
        let rows = bytes
            .chunks(EVENT_BYTES)
            .filter(|event| Event::read(event).is_some_and(|event| event.kind.has_row()));

        if !bytes.len().is_multiple_of(EVENT_BYTES) || rows.count() as u64 != cursor.rows {
            return Err(Error::new(
                crate::error::Kind::Io,
                format!("`{}` lost some of its ids", path.display()),
            )
            .hint(format!("delete `{}` and run the same command again", raw.folder.display())));
        }

        n_events += (bytes.len() / EVENT_BYTES) as u64;
    }

    let n_shares = (n_events * EVENT_MEMORY).div_ceil((memory_bytes / 4).max(1 << 20)).max(1);
    let mut fates = Fates::new();

    let failure = RefCell::new(None);
    let read = |path: &PathBuf| match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(cause) => {
            failure.replace(Some(Error::file("read", path, cause)));
            None
        }
    };
    let events = || {
        paths.iter().map_while(read).flat_map(|bytes| {
            bytes.chunks_exact(EVENT_BYTES).filter_map(Event::read).collect::<Vec<_>>()
        })
    };

    for share in 0..n_shares {
        fates.extend(decide_share(events, u128::from(share), u128::from(n_shares)));
        if let Some(failure) = failure.take() {
            return Err(failure);
        }
    }

    Ok(fates)
}

fn settle_part(
    cx: &Context<'_>,
    raw: &Context<'_>,
    part: usize,
    rows: std::ops::Range<u64>,
    fates: &Fates,
    sources: &[SourceSpec],
) -> Result<()> {
    let mut books = raw.committed(part)?.unwrap_or_default();
    let from = |stem| (raw.numbered(stem, part, "parquet"), cx.numbered(stem, part, "parquet"));
    let ((raw_part, place), (raw_refused, refused_place)) = (from("part"), from("refused"));
    link(&raw_part, &place)?;
    let (changed, refused) = carry_out(&raw_part, rows.clone(), fates, sources)?;

    if !changed.is_empty() {
        changes::write(&place, &changed)?;
    }
    if refused.is_empty() && raw_refused.exists() {
        link(&raw_refused, &refused_place)?;
    } else if !refused.is_empty() {
        let mut writer = PartWriter::create(&refused_place, contract("refused")?)?;
        if raw_refused.exists() {
            for batch in Batches::open(&raw_refused, Some(contract("refused")?), None)? {
                writer.write(&batch?)?;
            }
        }
        cx.write_refused(&mut writer, &refused)?;
        writer.finish()?;
    }

    fates.range(rows).for_each(|(_, (_, fate))| amend(&mut books, fate));
    // The refusals stand in their place already; this checks the books and writes them.
    cx.commit(part, &[], &[], &books)
}

/// What the fates make of the rows of a raw part: its changes, and the refusals of those that are
/// gone. Batches that no fate hits are not read.
fn carry_out(
    raw_part: &Path,
    rows: std::ops::Range<u64>,
    fates: &Fates,
    sources: &[SourceSpec],
) -> Result<(Changes, Vec<Refusal>)> {
    let columns = ["id", "text", "source", "file", "offset"];
    let batches = Batches::open(raw_part, Some(contract("document")?), Some(&columns))?;
    let mut end = rows.start;
    let spans = batches.rows().into_iter().map(|n_rows| {
        end += n_rows;
        end - n_rows..end
    });
    let hit: Vec<_> =
        spans.enumerate().filter(|(_, span)| fates.range(span.clone()).next().is_some()).collect();
    let kernel = |(idx, span): (usize, std::ops::Range<u64>)| {
        let batch = batches.read(idx)?;
        let (ids, files) = (strings(&batch, "id")?, strings(&batch, "file")?);
        let (mut changed, mut refused) = (Changes::new(), Vec::new());

        for (row, (source, fate)) in fates.range(span.clone()) {
            let idx = (row - span.start) as usize;
            let id = match fate {
                Fate::Renamed(nth) => Some(format!("{}-{nth}", ids.value(idx))),
                Fate::Qualified(nth) => {
                    Some(qualified(ids.value(idx), *nth, files.value(idx), &sources[*source]))
                }
                _ => None,
            };

            if id.is_none() {
                refused.push(to_refusal(&batch, idx, fate)?);
            }
            changed.insert(row - rows.start, id);
        }

        Ok((changed, refused))
    };

    let done: Vec<Result<(Changes, Vec<Refusal>)>> = hit.into_par_iter().map(kernel).collect();
    let (mut changed, mut refused) = (Changes::new(), Vec::new());

    for done in done {
        let (more_changed, more_refused) = done?;
        changed.extend(more_changed);
        refused.extend(more_refused);
    }

    Ok((changed, refused))
}

/// The id of the `nth` record of `id` in `file`.
fn qualified(id: &str, nth: u64, file: &str, source: &SourceSpec) -> String {
    let mut name = match source.ids {
        Ids::File => id.to_string(),
        Ids::Auto | Ids::Global => {
            let own =
                id.strip_prefix(&source.name).and_then(|id| id.strip_prefix(':')).unwrap_or(id);
            id_in_file(&source.name, &name_below(&source.path, file), own)
        }
    };

    if nth > 1 {
        name += &format!("#{nth}");
    }
    name
}

/// How a record is named by its file and the id it has in there.
pub(super) fn id_in_file(source: &str, file: &str, id: &str) -> String {
    format!("{source}:{file}#{id}")
}

fn to_refusal(batch: &RecordBatch, idx: usize, fate: &Fate) -> Result<Refusal> {
    let text = |name: &str| strings(batch, name).map(|column| column.value(idx));
    let bytes = text("text")?.as_bytes();
    let detail = match fate {
        Fate::Superseded(own, other) => {
            format!("version {own}; version {other} of the same record stays")
        }
        Fate::Emptied(own, other) => {
            format!("version {own}; version {other} of the same record is no document")
        }
        Fate::Repeated => "a record with this id and this text was read before".to_string(),
        _ => "a record read later withdraws it".to_string(),
    };

    let offsets = column(batch, "offset")?.as_primitive_opt::<UInt64Type>();
    Ok(Refusal {
        source: text("source")?.to_string(),
        file: text("file")?.to_string(),
        offset: offsets.map_or(0, |offsets| offsets.value(idx)),
        id: Some(text("id")?.to_string()),
        reason: reason(fate).unwrap_or("superseded").into(),
        detail,
        n_bytes: bytes.len() as u64,
        bytes: bytes[..bytes.len().min(KEPT_BYTES)].to_vec(),
    })
}

/// Writes the books by source, which end the room.
pub(super) fn write_sources(folder: &Path, books: &BTreeMap<String, Books>) -> Result<()> {
    books.iter().try_for_each(|(name, books)| {
        books.balance().map_err(|error| error.at(format!("source `{name}`")))
    })?;
    write_json(&folder.join("sources.json"), books)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn event(kind: Kind, id: u64, version: u64) -> Event {
        Event { hash: u128::from(id) << 64 | 7, version, kind, source: 0, file: 0, text: 0 }
    }

    fn check(events: &[Event], expected: &[(u64, Fate)]) {
        let fates: Vec<(u64, Fate)> = decide(|| events.iter().copied())
            .into_iter()
            .map(|(row, (_, fate))| (row, fate))
            .collect();
        assert_eq!(fates, expected);
    }

    #[test]
    fn the_greatest_version_stays_then_the_last_read() {
        let named = |id, version| event(Kind::Versioned, id, version);
        check(
            &[named(1, 5), named(1, 4), named(2, 1), named(1, 5)],
            &[(0, Fate::Superseded(5, 5)), (1, Fate::Superseded(4, 5))],
        );
    }

    #[test]
    fn a_withdrawal_reaches_back_only() {
        let (named, gone) =
            (|id| event(Kind::Versioned, id, 1), |id| event(Kind::Withdrawal, id, 0));
        check(&[named(1), gone(1), gone(2), named(1), named(2)], &[(0, Fate::Deleted)]);
    }

    #[test]
    fn a_version_without_a_document_goes_before_older_ones() {
        let (named, empty) = (
            |version| event(Kind::Versioned, 1, version),
            |version| event(Kind::Empty, 1, version),
        );
        check(
            &[named(1), empty(2), named(1)],
            &[(0, Fate::Emptied(1, 2)), (1, Fate::Emptied(1, 2))],
        );
        check(&[empty(2), named(3), empty(1)], &[]);
    }

    #[test]
    fn without_versions_other_texts_are_other_records() {
        let named = |file, text| Event { file, text, ..event(Kind::Named, 1, 0) };
        check(
            &[named(0, 5), named(1, 5), named(1, 5)],
            &[(1, Fate::Repeated), (2, Fate::Repeated)],
        );
        check(
            &[named(0, 5), named(1, 6), named(1, 7), named(2, 5)],
            &[
                (0, Fate::Qualified(1)),
                (1, Fate::Qualified(1)),
                (2, Fate::Qualified(2)),
                (3, Fate::Repeated),
            ],
        );
    }

    #[test]
    fn a_mapped_version_decides_only_where_it_is_greater() {
        let named = |version, text| Event { text, ..event(Kind::Named, 1, version) };
        check(
            &[named(1, 5), named(2, 6), named(1, 7)],
            &[(0, Fate::Superseded(1, 2)), (2, Fate::Superseded(1, 2))],
        );
        check(
            &[named(1, 5), named(2, 6), named(2, 7), named(2, 6)],
            &[
                (0, Fate::Superseded(1, 2)),
                (1, Fate::Qualified(1)),
                (2, Fate::Qualified(2)),
                (3, Fate::Repeated),
            ],
        );
        check(&[named(1, 5), event(Kind::Empty, 1, 2)], &[(0, Fate::Emptied(1, 2))]);
        check(&[named(1, 5), event(Kind::Empty, 1, 1)], &[]);
    }

    #[test]
    fn equal_contents_are_numbered() {
        let same = event(Kind::ByContent, 1, 0);
        check(
            &[same, same, event(Kind::ByContent, 2, 0), same],
            &[(1, Fate::Renamed(2)), (3, Fate::Renamed(3))],
        );
    }

    proptest! {
        /// Naive: for every row, look at all others of its id.
        #[test]
        fn decisions_agree_with_a_naive_one_and_with_any_number_of_shares(
            events in proptest::collection::vec((0_u64..4, 0_u64..3, 0_usize..6), 0..40),
                n_shares in 1_u128..5,
        ) {
            let events: Vec<Event> = events
                .into_iter()
                .map(|(id, version, kind)| match kind {
                    0 => event(Kind::Withdrawal, id, 0),
                    1 => event(Kind::ByContent, id + 100, version),
                    2 => event(Kind::Empty, id, version),
                    3 => Event { file: version as usize % 2, text: version,
                        ..event(Kind::Named, id + 200, 0) },
                    _ => event(Kind::Versioned, id, version),
                })
                .collect();

            let fates = decide(|| events.iter().copied());
            let mut shared = Fates::new();
            for share in 0..n_shares {
                shared.extend(decide_share(|| events.iter().copied(), share, n_shares));
            }
            prop_assert_eq!(&shared, &fates);
            let mut row = 0;

            for (idx, event) in events.iter().enumerate() {
                let gone = fates.get(&row).and_then(|(_, fate)| reason(fate)).is_some();
                if event.kind == Kind::Named {
                    let same = |other: &&Event| {
                        other.hash == event.hash && other.kind == Kind::Named
                    };
                    let mut before = events[..idx].iter().filter(same);
                    let repeats = before.any(|other| other.text == event.text);
                    let texts: BTreeSet<u64> =
                        events.iter().filter(same).map(|other| other.text).collect();
                    prop_assert_eq!(gone, repeats, "row {}", row);
                    let is_qualified = matches!(fates.get(&row), Some((_, Fate::Qualified(_))));
                    prop_assert_eq!(is_qualified, !repeats && texts.len() > 1, "row {}", row);
                }

                if event.kind == Kind::Versioned {
                    let same = |other: &&Event| other.hash == event.hash;
                    let withdraws = |other: &Event| {
                        same(&other) && other.kind == Kind::Withdrawal
                    };
                    let since = events[..idx].iter().rposition(withdraws).map_or(0, |at| at + 1);
                    let until = events[idx..].iter().position(withdraws);
                    let era = &events[since..until.map_or(events.len(), |n| idx + n)];
                    let beaten = era.iter().enumerate().any(|(at, other)| {
                        same(&other) && (other.version, at + since) > (event.version, idx)
                    });
                    prop_assert_eq!(gone, beaten || until.is_some(), "row {}", row);
                }

                row += u64::from(event.kind.has_row());
            }
        }
    }
}
