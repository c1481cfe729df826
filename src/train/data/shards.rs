//! Finds the shards of a split, on disk or in an object store, and makes sure that they are one
//! whole set.
//!
//! A split is the files `<split>-NNNNN-of-NNNNN.parquet`, in the order of their numbers. Where the
//! build's `manifest.json` stands beside their folder, they must be what it says: by hash where
//! they lie on disk, by size where they would have to be fetched for it.
//!
//! Files of other programs ([`foreign`](crate::train::data::foreign)) may have other names: then
//! those that begin with the name of the split are it, in the order of their names, or for `train`
//! all that are not of another split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{ArrowPrimitiveType, UInt32Type};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::flow::contract::{contract, numbers, strings};
use crate::flow::dataset::{Batches, read_json};
use crate::flow::disk::{files_named, hash_file};
use crate::flow::objects::{Folder, is_address};
use crate::flow::place::Place;
use crate::flow::watched::{State, unchanged, unreadable};
use crate::train::data::curriculum::Declared;
use crate::train::data::foreign::{Foreign, ForeignBatches};
use crate::train::data::stream::Cursor;

const MANIFEST: &str = "manifest.json";
const DATA: &str = "data";

/// The shards of a split.
pub struct Shards {
    places: Vec<Place>,
    /// Of each: what it was when it was opened, in the order of the places.
    seen: Vec<Seen>,
    /// Of each, where other programs wrote them; else empty.
    foreign: Vec<Foreign>,
    /// The first row of each row group, once somebody looks for a row.
    groups: OnceLock<Vec<Cursor>>,
}

/// What a shard was when it was opened.
struct Seen {
    /// xxh3-128 of its bytes; of one in a store, its size.
    content: String,
    /// What the file system says of it, where it lies on disk.
    state: Option<Mutex<State>>,
}

impl Seen {
    fn of(place: &Place) -> Result<Self> {
        Ok(match place {
            Place::File(path) => {
                let state = State::of(path).map_err(|cause| unreadable(path, &cause))?;
                Seen { content: hash_file(path)?, state: Some(Mutex::new(state)) }
            }
            Place::Object(object) => Seen { content: object.size().to_string(), state: None },
        })
    }

    /// Stops if the file is another one by now; one that was only touched or linked again is not.
    fn check(&self, place: &Place) -> Result<()> {
        let (Place::File(path), Some(state)) = (place, &self.state) else { return Ok(()) };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);

        if let Some(now) = unchanged(path, *state, &self.content)? {
            *state = now;
            return Ok(());
        }

        Err(Error::data(format!("`{place}` was rebuilt or changed while it is trained on")).hint(
            "what is learned from here on would be of other shards: give `--out` another folder to \
             train on them, or \
             put the ones before in their place and run the same command again",
        ))
    }
}

/// One row, for a pass over a few columns.
pub struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Row<'_> {
    /// The string in column `name`.
    ///
    /// # Errors
    /// If there is no such string column.
    pub fn string(&self, name: &str) -> Result<&str> {
        Ok(strings(self.batch, name)?.value(self.row))
    }

    /// The number in the `UInt32` column `name`.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn number(&self, name: &str) -> Result<u64> {
        self.value::<UInt32Type>(name).map(u64::from)
    }

    /// The number in the column `name` of this type.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn value<T: ArrowPrimitiveType>(&self, name: &str) -> Result<T::Native> {
        Ok(numbers::<T>(self.batch, name)?.value(self.row))
    }
}

impl Shards {
    /// The shards of `split` (`train` or `validation`) at a place; `None` where there are none. The
    /// place is
    ///
    /// - a folder, on disk or by its address in an object store: its `data` folder where it has
    ///   one;
    /// - a file, or a pattern of files such as `disk*/train-*.parquet`; in a store, only the file's
    ///   name is a pattern.
    ///
    /// # Errors
    /// If nothing is there or it cannot be read, a shard of the numbered set is missing, or one
    /// breaks the contract or is not what the manifest says.
    pub fn open(place: &Path, split: &str) -> Result<Option<Self>> {
        let places = of_split(places(place)?, split)?;
        let mut manifests = Manifests::default();
        let mut foreign: Vec<Foreign> = Vec::new();

        for place in &places {
            let first_row = foreign.iter().map(|file| file.rows).sum();
            match Foreign::open(place, first_row)? {
                Some(file) => foreign.push(file),
                None => drop(Batches::at(place, Some(contract("shard")?), None)?),
            }
        }
        if !foreign.is_empty() && foreign.len() < places.len() {
            return Err(Error::data("some of the shards are kpipe's, some of another program")
                .at(places.first().map(ToString::to_string).unwrap_or_default())
                .hint("give a folder or a pattern of those of one set only"));
        }

        let seen = places.iter().map(Seen::of).collect::<Result<Vec<Seen>>>()?;

        for (place, seen) in places.iter().zip(&seen) {
            manifests.check(place, &seen.content, split)?;
        }
        let groups = OnceLock::new();
        Ok((!places.is_empty()).then_some(Shards { places, seen, foreign, groups }))
    }

    /// Whether another program wrote them.
    pub fn are_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// Whether they say this of their rows themselves.
    pub fn say(&self, column: &str) -> bool {
        self.foreign.iter().all(|file| file.says(column))
    }

    /// The columns of shard number `idx`, one row group after another; `None` behind the last.
    ///
    /// # Errors
    /// If it cannot be read or breaks the contract.
    pub fn groups(&self, idx: usize, columns: &[&str]) -> Result<Option<Groups>> {
        let Some(place) = self.places.get(idx) else { return Ok(None) };
        Ok(Some(match self.foreign.get(idx) {
            Some(file) => Groups::Foreign(file.batches(place, columns)?),
            None => Groups::Own(Batches::at(place, Some(contract("shard")?), Some(columns))?),
        }))
    }

    /// What the build declared of the order, where its manifest stands beside the shards.
    ///
    /// # Errors
    /// If the manifest is damaged.
    pub fn declared(&self) -> Result<Option<Declared>> {
        let Some(first) = self.places.first() else { return Ok(None) };
        let mut manifest = manifest(first)?;
        let pacing = manifest["curriculum"]["pacing"].take();
        let hard = manifest["pipeline"]["curriculum"]["hard_from_bucket"].as_u64();
        let (false, Some(hard)) = (pacing.is_null(), hard) else { return Ok(None) };
        let declared: Declared = serde_json::from_value(pacing).map_err(|cause| {
            Error::data(format!("`{MANIFEST}`: `curriculum.pacing`: {cause}"))
                .at(first)
                .hint("another version of kpipe wrote it: repeat `kpipe build`")
        })?;
        let hard_from_bucket = u8::try_from(hard).unwrap_or(u8::MAX);
        Ok(Some(Declared { hard_from_bucket, ..declared }))
    }

    /// Stops if the shard number `idx` is not what it was when the run was begun or resumed.
    ///
    /// # Errors
    /// If it was changed or taken away.
    pub fn check_unchanged(&self, idx: usize) -> Result<()> {
        self.places
            .get(idx)
            .zip(self.seen.get(idx))
            .map_or(Ok(()), |(place, seen)| seen.check(place))
    }

    /// The shard number `idx`.
    pub fn place(&self, idx: usize) -> Option<&Place> {
        self.places.get(idx)
    }

    /// Whether they lie in an object store.
    pub fn are_remote(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Object(_)))
    }

    /// The shards of a split at a place, which must be there.
    ///
    /// # Errors
    /// As [`Shards::open`]; or if there are none.
    pub fn of_split(place: &Path, split: &str) -> Result<Self> {
        Self::open(place, split)?.ok_or_else(|| {
            let what = format!("`{}` holds no `{split}-*-of-*.parquet`", place.display());
            match split {
                "validation" => Error::usage(what)
                    .hint("build with `curriculum.validation_share` above 0: it is held out"),
                _ => Error::usage(what)
                    .hint("`kpipe build` writes them; give its output folder to `--shards`")
                    .hint("Parquet files of other programs are read as well, by `text`"),
            }
        })
    }

    /// Gives `visit` every row with the named columns, in order, and adds up what it returns.
    ///
    /// # Errors
    /// If a shard cannot be read, or from `visit`.
    pub fn texts(
        &self,
        columns: &[&str],
        mut visit: impl FnMut(&Row) -> Result<u64>,
    ) -> Result<u64> {
        let mut total = 0;
        for (idx, place) in self.places.iter().enumerate() {
            for batch in self.groups(idx, columns)?.into_iter().flatten() {
                self.check_unchanged(idx)?;
                let batch = batch?;
                for row in 0..batch.num_rows() {
                    total += visit(&Row { batch: &batch, row }).map_err(|error| error.at(place))?;
                }
            }
        }
        Ok(total)
    }

    /// Where the row `seq` stands.
    ///
    /// # Errors
    /// If there is none, or a shard cannot be read.
    pub fn find(&self, seq: u64) -> Result<Cursor> {
        let groups = match self.groups.get() {
            Some(groups) => groups,
            None => {
                let groups = self.read_groups()?;
                self.groups.get_or_init(|| groups)
            }
        };
        let behind = groups.partition_point(|group| group.seq <= seq);
        let group = behind.checked_sub(1).map(|idx| groups[idx]).ok_or_else(|| {
            Error::data(format!("no document stands at {seq}")).hint("build the shards again")
        })?;
        Ok(Cursor { row: (seq - group.seq) as usize, seq, ..group })
    }

    /// The first row of each row group.
    fn read_groups(&self) -> Result<Vec<Cursor>> {
        let (mut groups, mut seq) = (Vec::new(), 0);
        for (shard, place) in self.places.iter().enumerate() {
            for (group, rows) in Batches::at(place, None, None)?.rows().into_iter().enumerate() {
                groups.push(Cursor { epoch: 0, shard, group, row: 0, seq });
                seq += rows;
            }
        }
        Ok(groups)
    }

    /// Rows of the split, and a hash of their ids in order and of all that the shards hold: what a
    /// run was trained on.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn identity(&self) -> Result<(u64, String)> {
        let mut hash = Xxh3::new();
        let rows = self.texts(&["id"], |row| {
            hash.update(row.string("id")?.as_bytes());
            hash.update(b"\n");
            Ok(1)
        })?;
        self.seen.iter().for_each(|seen| hash.update(seen.content.as_bytes()));
        Ok((rows, format!("{:032x}", hash.digest128())))
    }
}

/// Row groups of a shard.
pub enum Groups {
    /// Of one that kpipe wrote.
    Own(Batches),
    /// Of one of another program.
    Foreign(ForeignBatches),
}

impl Groups {
    /// Leaves out the next `n` row groups without reading them.
    pub fn skip_groups(&mut self, n: usize) {
        match self {
            Groups::Own(batches) => batches.skip_batches(n),
            Groups::Foreign(batches) => batches.skip_batches(n),
        }
    }
}

impl Iterator for Groups {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Groups::Own(batches) => batches.next(),
            Groups::Foreign(batches) => batches.next(),
        }
    }
}

/// Splits that are told by the names of files.
const SPLITS: [&str; 4] = ["train", "validation", "valid", "test"];

/// The files of a split, in order.
fn of_split(places: Vec<Place>, split: &str) -> Result<Vec<Place>> {
    let number = |place: &Place| number_in_set(place.name(), split);
    let (mut found, other): (Vec<Place>, Vec<Place>) =
        places.into_iter().partition(|place| number(place).is_some());
    found.sort_by_key(number);

    for (idx, place) in found.iter().enumerate() {
        if let Some((_, of)) = number(place).filter(|found_as| *found_as != (idx, found.len())) {
            return Err(Error::data(format!("{} of {of} `{split}` shards are there", found.len()))
                .at(place)
                .hint("finish or repeat `kpipe build`, and keep the shards of one build only"));
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }

    let is_of = |place: &Place, split: &str| place.name().starts_with(split);
    let (mut named, mut rest): (Vec<Place>, Vec<Place>) = other
        .into_iter()
        .filter(|place| place.name().ends_with(".parquet"))
        .partition(|place| is_of(place, split));
    rest.retain(|place| !SPLITS.iter().any(|split| is_of(place, split)));
    if named.is_empty() && split == "train" {
        named = rest;
    }
    named.sort_by_key(ToString::to_string);
    Ok(named)
}

/// The files at a place, of whatever name.
fn places(place: &Path) -> Result<Vec<Place>> {
    if let Some(address) = place.to_str().filter(|place| is_address(place)) {
        return objects(address);
    }
    let (inner, text) = (place.join(DATA), place.to_string_lossy());
    let paths = if inner.is_dir() {
        files_named(&inner, "", "")
    } else if place.is_file() {
        Ok(vec![place.to_path_buf()])
    } else if is_pattern(&text) && !place.exists() {
        matching(&text)
    } else {
        files_named(place, "", "")
    };

    let paths = paths.map_err(|error| error.hint(WHERE))?;
    Ok(paths.into_iter().map(Place::File).collect())
}

/// The files that match a pattern.
fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let wrong = |cause: &dyn std::fmt::Display| {
        Error::usage(format!("`{pattern}` cannot be read: {cause}"))
    };
    let paths = glob::glob(pattern).map_err(|cause| wrong(&cause))?;
    let paths: Vec<PathBuf> =
        paths.collect::<std::result::Result<_, _>>().map_err(|cause| wrong(&cause))?;
    if paths.is_empty() { Err(wrong(&"no file matches")) } else { Ok(paths) }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

const WHERE: &str = "`kpipe build` writes the shards; give its output folder to `--shards`";

/// The objects at an address, of whatever name.
fn objects(address: &str) -> Result<Vec<Place>> {
    let address = address.trim_end_matches('/');
    let (folder, name) = address.rsplit_once('/').unwrap_or((address, ""));

    if is_pattern(folder) {
        return Err(Error::usage(format!("`{address}` has a pattern in the name of a folder"))
            .hint(
                "in an object store, only the name of a file is a pattern: \
             `s3://bucket/corpus/data/train-*.parquet`",
            ));
    }

    let found = if is_pattern(name) || name.ends_with(".parquet") {
        let pattern = glob::Pattern::new(name)
            .map_err(|cause| Error::usage(format!("`{address}`: {cause}")))?;
        let mut objects = Folder::at(folder)?.objects()?;
        objects.retain(|object| pattern.matches(object.name()));
        objects
    } else {
        let folder = Folder::at(address)?;
        let inner = folder.join(DATA).objects()?;
        if inner.is_empty() { folder.objects()? } else { inner }
    };

    if found.is_empty() {
        return Err(Error::usage(format!("nothing is at `{address}`"))
            .hint("copy the output folder of `kpipe build` there, or check the address"));
    }

    Ok(found.into_iter().map(Place::Object).collect())
}

/// What is said of a shard: its hash and its bytes.
type Entry = (String, u64);

/// What the manifests of builds say about their shards, by the folder the shards are in; each is
/// read once.
#[derive(Default)]
struct Manifests(BTreeMap<String, BTreeMap<String, Entry>>);

impl Manifests {
    /// A shard that was changed after its build teaches something else.
    fn check(&mut self, place: &Place, content: &str, split: &str) -> Result<()> {
        let folder = place.to_string().strip_suffix(place.name()).unwrap_or_default().to_string();
        let entries = match self.0.entry(folder) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(entries(manifest(place)?))
            }
        };

        let Some((hash, bytes)) = entries.get(&format!("{DATA}/{}", place.name())) else {
            return Ok(());
        };
        let is_same = match place {
            Place::File(_) => content == *hash,
            Place::Object(object) => object.size() == *bytes,
        };
        if is_same {
            return Ok(());
        }
        Err(Error::data(format!(
            "a `{split}` shard is not what `{MANIFEST}` says: it was changed or damaged"
        ))
        .at(place)
        .hint(format!("repeat `kpipe build`; or remove `{MANIFEST}` to train on what is there")))
    }
}

/// The manifest beside the folder a shard is in; null where there is none.
fn manifest(place: &Place) -> Result<Value> {
    let found = match place {
        Place::File(path) => {
            path.parent().and_then(Path::parent).map(|build| read_json(&build.join(MANIFEST)))
        }
        Place::Object(object) => object.folder().and_then(|folder| folder.parent()).map(|build| {
            let Some(bytes) = build.read(MANIFEST)? else { return Ok(None) };
            serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
                Error::data(format!("`{}` is damaged: {cause}", build.join(MANIFEST)))
            })
        }),
    };
    Ok(found.transpose()?.flatten().unwrap_or_default())
}

fn entries(manifest: Value) -> BTreeMap<String, Entry> {
    let shards = ["train", "validation"]
        .into_iter()
        .filter_map(|split| manifest["curriculum"][split].as_array());
    let entry = |shard: &Value| {
        let hash = shard["xxh3_128"].as_str()?.to_string();
        Some((shard["file"].as_str()?.to_string(), (hash, shard["file_bytes"].as_u64()?)))
    };
    shards.flatten().filter_map(entry).collect()
}

/// The numbers of `train-00003-of-00012.parquet` for the split `train`; behind them, older files
/// of the hub have a hash.
fn number_in_set(name: &str, split: &str) -> Option<(usize, usize)> {
    let numbers = name.strip_prefix(split)?.strip_prefix('-')?.strip_suffix(".parquet")?;
    let (number, of) = numbers.split_once("-of-")?;
    let of = of.split_once('-').map_or(of, |(of, _)| of);
    Some((number.parse().ok()?, of.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::stream::Stream;
    use crate::train::fixture::{grammar, shard_folder, write_shard};

    #[test]
    fn a_missing_shard_and_another_contract_are_refused() {
        let folder = shard_folder(&grammar(40, 3), &[]);
        let data = folder.path().join("data");
        std::fs::remove_file(data.join("train-00000-of-00002.parquet")).unwrap();
        assert!(Shards::open(folder.path(), "train").err().unwrap().what().contains("1 of 2"));
        assert!(Shards::open(folder.path(), "validation").unwrap().is_none());
        write_shard(&data.join("train-00000-of-00002.parquet"), &grammar(3, 1), "train");
        std::fs::write(data.join("train-00001-of-00002.parquet"), b"no parquet").unwrap();
        assert!(Shards::open(folder.path(), "train").err().unwrap().what().contains("Parquet"));
    }

    #[test]
    fn any_row_is_found() {
        let documents = grammar(57, 3);
        let folder = shard_folder(&documents, &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        for document in &documents {
            let mut stream = Stream::new(&shards, shards.find(document.seq).unwrap());
            assert_eq!(stream.next_document().unwrap().as_ref(), Some(document));
        }
        let behind = shards.find(57).unwrap();
        assert_eq!(Stream::new(&shards, behind).next_document().unwrap(), None);
    }

    #[test]
    fn a_pattern_gathers_a_set_from_several_folders() {
        let (folder, documents) = (tempfile::tempdir().unwrap(), grammar(40, 3));
        for (disk, rows) in documents.chunks(20).enumerate() {
            let disk_folder = folder.path().join(format!("disk{disk}"));
            std::fs::create_dir(&disk_folder).unwrap();
            write_shard(
                &disk_folder.join(format!("train-0000{disk}-of-00002.parquet")),
                rows,
                "train",
            );
        }

        let open = |pattern: &str| Shards::open(&folder.path().join(pattern), "train");
        let shards = open("disk*/train-*.parquet").unwrap().unwrap();
        let mut stream = Stream::new(&shards, Cursor::default());
        let read: Vec<_> = std::iter::from_fn(|| stream.next_document().unwrap()).collect();
        assert_eq!(read, documents);
        assert!(open("disk0/*").err().unwrap().what().contains("1 of 2"));
        assert!(open("disk9/*").err().unwrap().what().contains("no file matches"));
        assert!(open("disk[/*").err().unwrap().what().contains("cannot be read"));
        assert!(
            Shards::open(Path::new("s3://b*/x/train-*"), "train")
                .err()
                .unwrap()
                .what()
                .contains("pattern")
        );
    }
}
