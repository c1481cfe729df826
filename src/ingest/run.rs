//! The room: a reader thread, workers that parse and encode, a writer thread, and then the settling
//! of ids.
//!
//! A worker does a whole chunk or a whole batch and waits for no other. Results are taken in the
//! order of the jobs, so what is written does not depend on who was first.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

use crate::error::{Error, Result};
use crate::files::decompress::Decoders;
use crate::files::expand::expand;
use crate::flow::books::Books;
use crate::flow::dataset::read_json;
use crate::flow::disk::remove_folder;
use crate::flow::room::Context;
use crate::ingest::parts::{Cursor, Parts, Plan};
use crate::ingest::prepare::{Chunk, Prepared, prepare};
use crate::ingest::reader::Reader;
use crate::ingest::workers::{Pending, Workers, failed};
use crate::ingest::{Format, Params, SourceSpec, format, ids};

/// Reads every file of `sources`, in order, into parts of the contract `document`.
///
/// Goes on behind the last committed part of an earlier run in the same folder. `limit` is the most
/// documents of one source; what lies behind is not read, and the books note `limit_reached`.
/// [`source_books`] gives the books by source. Advances the progress by the bytes of the files.
///
/// # Errors
/// A source whose path holds no file or whose format is unknown; a part that cannot be written.
/// Damaged files and records are no errors but refusals.
pub fn run(
    sources: &[SourceSpec],
    params: &Params,
    cx: &Context<'_>,
    limit: Option<u64>,
) -> Result<()> {
    Job { sources, params, limit, part_bytes: params.part_bytes, stop_after: None }.run(cx)
}

/// The books of each source, from the folder of a finished room.
///
/// # Errors
/// If the room was not finished there.
pub fn source_books(folder: &Path) -> Result<BTreeMap<String, Books>> {
    read_json(&folder.join("sources.json"))?.ok_or_else(|| {
        Error::data(format!("`{}` holds no finished ingest", folder.display()))
            .hint("run the same build again")
    })
}

/// Chunks that may wait to be parsed, and as many to be written. Files and records that are cheap
/// to cut and dear to parse alternate with others; what waits evens that out, and bounds the
/// memory. With 8 a sixth of the time two cores stand still.
const WAITING: usize = 24;

struct Job<'a> {
    sources: &'a [SourceSpec],
    params: &'a Params,
    limit: Option<u64>,
    part_bytes: usize,
    stop_after: Option<usize>,
}

impl Job<'_> {
    fn run(&self, cx: &Context<'_>) -> Result<()> {
        let folder = cx.folder.join("raw");
        if cx.folder.join("sources.json").exists() {
            return remove_folder(&folder);
        }
        std::fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
        let raw = Context { folder: &folder, ..*cx };
        let finished = folder.join("finished.json");

        if !finished.exists() {
            self.read(&raw)?;
        }
        let last: Cursor =
            read_json(&finished)?.ok_or_else(|| Error::data("the raw parts are not finished"))?;
        let books = ids::settle(cx, &raw, &last, self.sources)?;
        ids::write_sources(cx.folder, &books)?;
        remove_folder(&folder)
    }

    /// The first phase: files → raw parts.
    fn read(&self, raw: &Context<'_>) -> Result<()> {
        let mut formats: Vec<&'static dyn Format> = Vec::new();
        let mut files: Vec<Vec<PathBuf>> = Vec::new();

        for source in self.sources {
            source.check()?;
            formats.push(format(&source.format)?);
            files.push(
                expand(&source.path)
                    .map_err(|error| error.at(format!("[source.{}]", source.name)))?,
            );
        }

        let enough: Vec<AtomicBool> = self.sources.iter().map(|_| AtomicBool::new(false)).collect();
        let plan = Plan {
            sources: self.sources,
            n_files: files.iter().map(Vec::len).collect(),
            limit: self.limit,
            part_bytes: self.part_bytes,
            stop_after: self.stop_after,
            enough: &enough,
        };

        let threads = rayon::current_num_threads();
        let decoders = (threads > 1).then(|| Decoders::start(threads)).transpose();
        let decoders = decoders.map_err(Error::no_thread)?;
        std::thread::scope(|scope| {
            let workers = Workers::start(scope, threads).map_err(Error::no_thread)?;
            let mut parts = Parts::open(raw, plan, workers.clone())?;
            let place = parts.cursor.place();
            let reader = Reader {
                sources: self.sources,
                formats: &formats,
                files: &files,
                params: self.params,
                memory_bytes: raw.memory_bytes,
                scratch: raw.folder,
                decoders,
                enough: &enough,
                progress: raw.progress,

                n_damaged: Cell::new(0),
            };

            let (send_chunk, chunks) = sync_channel::<Chunk>(WAITING);
            let (send_rows, rows) = sync_channel::<Pending<Prepared>>(WAITING);
            let thread = |name: &str| std::thread::Builder::new().name(name.to_string());
            let read = move || reader.run(place, &send_chunk);
            let reading = thread("read").spawn_scoped(scope, read).map_err(Error::no_thread)?;
            let write = move || -> Result<Parts<'_>> {
                rows.iter().try_for_each(|prepared| parts.accept(prepared.take()?))?;
                Ok(parts)
            };
            let writing = thread("write").spawn_scoped(scope, write).map_err(Error::no_thread)?;

            for chunk in chunks {
                let (format, source, params) =
                    (formats[chunk.source], &self.sources[chunk.source], self.params);
                if send_rows
                    .send(workers.give(move || prepare(chunk, format, source, params)))
                    .is_err()
                {
                    break;
                }
            }

            drop((send_rows, workers));
            let written = writing.join().map_err(|_| failed())?;
            let read = reading.join().map_err(|_| failed())?;
            // What was read ends here also where a file could not be read further: only with its
            // reader's word is it all there is.
            let parts = written?;
            read?;

            parts.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::contract::{contract, strings};
    use crate::flow::dataset::{Batches, Dataset};
    use crate::flow::progress::Silent;
    use crate::ingest::{Ids, fields};
    use std::io::Write;

    const PARAMS: Params = Params {
        max_record_bytes: 1 << 20,
        max_unpacked_bytes: 1 << 30,
        max_ratio: 1_000,
        min_chars: 1,
        part_bytes: 64 << 20,
        script: crate::ingest::chinese::Script::AsIs,
        width: crate::ingest::chinese::Width::AsIs,
    };

    fn source(name: &str, path: &Path, format: &str) -> SourceSpec {
        let path = path.to_str().unwrap().to_string();
        SourceSpec { name: name.into(), path, format: format.into(), ..fields::source(&[]) }
    }

    struct Run {
        folder: tempfile::TempDir,
        limit: Option<u64>,
        part_bytes: usize,
        params: Params,
    }

    impl Run {
        fn new() -> Self {
            Run {
                folder: tempfile::tempdir().unwrap(),
                limit: None,
                part_bytes: PARAMS.part_bytes,
                params: PARAMS,
            }
        }

        /// Runs on, as if killed behind `stop_after` parts; whether it came to its end.
        fn go(&self, sources: &[SourceSpec], stop_after: Option<usize>, memory_bytes: u64) -> bool {
            let cx = Context {
                room: "ingest",
                folder: self.folder.path(),
                seed: 1,
                memory_bytes,
                progress: &Silent,
            };

            let (params, limit, part_bytes) = (&self.params, self.limit, self.part_bytes);
            match (Job { sources, params, limit, part_bytes, stop_after }).run(&cx) {
                Ok(()) => true,
                Err(error) if error.what() == "stopped as if killed" => false,
                Err(error) => panic!("{error}"),
            }
        }

        fn documents(&self, column: &str) -> Vec<String> {
            let dataset = Dataset::open(self.folder.path(), contract("document").unwrap()).unwrap();
            let mut found = Vec::new();

            for part in &dataset.parts {
                for batch in Batches::open(&part.path, None, None).unwrap() {
                    found.extend(
                        strings(&batch.unwrap(), column)
                            .unwrap()
                            .iter()
                            .map(|v| v.unwrap_or("-").to_string()),
                    );
                }
            }

            found
        }

        /// Every file with its bytes, and the books checked against the rows.
        fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
            let files =
                std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
            files
                .map(|path| {
                    (
                        path.file_name().unwrap().to_str().unwrap().into(),
                        std::fs::read(&path).unwrap(),
                    )
                })
                .collect()
        }

        fn books(&self) -> Books {
            let mut total = Books::default();
            let by_source = source_books(self.folder.path()).unwrap();
            by_source.values().for_each(|books| total.add(books));
            total.balance().unwrap();
            assert_eq!(total.kept as usize, self.documents("id").len());
            let mut by_part = Books::default();
            let mut part = 0;

            while let Some(books) =
                read_json::<Books>(&self.folder.path().join(format!("books-{part:05}.json")))
                    .unwrap()
            {
                by_part.add(&books);
                part += 1;
            }

            assert_eq!((by_part.kept, by_part.refused), (total.kept, total.refused.clone()));
            total
        }
    }

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    fn bzip2(data: &[u8]) -> Vec<u8> {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn lines(ids: std::ops::Range<u32>, version: u32) -> String {
        let line = |id| {
            let text: Vec<String> =
                (0..20).map(|n| format!("w{}", (id * 31 + n * 7 + version) % 9_973)).collect();
            let text = text.join(" ");
            format!(
                "{{\"id\": {id}, \"v\": {version}, \"text\": \"{text}\", \"title\": \"T{id}\"}}\n"
            )
        };
        ids.map(line).collect()
    }

    /// Three sources: a multistream with a damaged line, a second reading of some ids, texts
    /// without ids.
    fn corpus() -> (tempfile::TempDir, Vec<SourceSpec>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("texts")).unwrap();
        let mut packed = Vec::new();

        for stream in 0..20 {
            packed.extend(bzip2(lines(stream * 100..stream * 100 + 100, 1).as_bytes()));
            packed.extend(bzip2(b"{\"id\": broken\n"));
        }

        write(folder.path(), "a.jsonl.bz2", &packed);
        write(folder.path(), "b.jsonl", lines(150..450, 2).as_bytes());

        for n in 0..40 {
            write(
                folder.path(),
                &format!("texts/{n:02}.txt"),
                format!("text number {}", n % 30).as_bytes(),
            );
        }

        write(folder.path(), "texts/99.txt", b" ");
        let mut versioned = source("a", &folder.path().join("?.jsonl*"), "jsonl");
        versioned.fields.insert("version".into(), "v".into());
        let sources = vec![versioned, source("t", &folder.path().join("texts"), "text")];
        (folder, sources)
    }

    #[test]
    fn every_record_is_kept_or_refused() {
        let (_folder, sources) = corpus();
        let run = Run::new();
        assert!(run.go(&sources, None, 1 << 30));
        let books = run.books();
        assert_eq!((books.read, books.kept), (2_000 + 20 + 300 + 41, 2_000 + 40));
        let refused: Vec<(&str, u64)> =
            books.refused.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(
            refused,
            [("malformed", 19), ("no_text", 1), ("superseded", 300), ("truncated", 1)]
        );
        assert_eq!(books.notes["renamed"], 10);
        let mut ids = run.documents("id");
        assert!(ids[0] == "a:0" && ids.iter().filter(|id| id.ends_with("-2")).count() == 10);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 2_040, "ids are unique");
        assert!(!run.folder.path().join("raw").exists());
    }

    #[test]
    fn a_killed_run_goes_on_to_the_same_bytes() {
        let (_folder, sources) = corpus();
        let whole = Run { part_bytes: 40_000, ..Run::new() };
        assert!(whole.go(&sources, None, 1 << 30));
        let expected = whole.bytes();
        assert!(expected.len() > 20, "{:?}", expected.keys());

        for stop_after in [1, 2, 5] {
            let killed = Run { part_bytes: 40_000, ..Run::new() };
            let mut n_kills = 0;
            while !killed.go(&sources, Some(stop_after), 1 << 20) {
                n_kills += 1;
                write(&killed.folder.path().join("raw"), "part-00099.parquet.kpipe-tmp", b"half");
            }
            assert!(n_kills >= 2, "{n_kills}");
            assert!(killed.bytes() == expected, "stopped after every {stop_after}");
        }
    }

    /// The second of two files has the ids of the first, with other texts but for one.
    fn restarted(folder: &Path) -> SourceSpec {
        let line = |id: u32, text: &str| format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n");
        let first: String = (0..5).map(|id| line(id, &format!("first text {id}"))).collect();
        let second: String = (0..4).map(|id| line(id, &format!("second text {id}"))).collect();
        write(folder, "p0.jsonl", first.as_bytes());
        write(
            folder,
            "p1.jsonl",
            (second + &line(4, "first text 4") + &line(3, "third text 3")).as_bytes(),
        );

        source("a", folder, "jsonl")
    }

    #[test]
    fn ids_that_begin_anew_in_each_file_lose_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let spec = restarted(folder.path());
        let run = Run { part_bytes: 300, ..Run::new() };
        assert!(run.go(std::slice::from_ref(&spec), None, 1 << 30));
        let mut ids = run.documents("id");
        ids.sort();
        let expected = [
            "a:4",
            "a:p0.jsonl#0",
            "a:p0.jsonl#1",
            "a:p0.jsonl#2",
            "a:p0.jsonl#3",
            "a:p1.jsonl#0",
            "a:p1.jsonl#1",
            "a:p1.jsonl#2",
            "a:p1.jsonl#3",
            "a:p1.jsonl#3#2",
        ];

        assert_eq!(ids, expected);
        assert_eq!(
            (run.books().refused["repeated"], run.books().notes["ids_named_by_file"]),
            (1, 9)
        );
        // The same names however the run is cut into parts and shares of memory.
        let killed = Run { part_bytes: 300, ..Run::new() };
        while !killed.go(std::slice::from_ref(&spec), Some(1), 1 << 20) {}
        assert!(killed.bytes() == run.bytes());

        let by_file = Run::new();
        assert!(by_file.go(&[SourceSpec { ids: Ids::File, ..spec }], None, 1 << 30));
        let mut ids = by_file.documents("id");
        ids.sort();
        assert_eq!((ids.len(), &*ids[0], &*ids[10]), (11, "a:p0.jsonl#0", "a:p1.jsonl#4"));
        assert!(ids.contains(&"a:p1.jsonl#3#2".to_string()) && by_file.books().n_refused() == 0);
    }

    #[test]
    fn ids_that_are_said_to_be_global_must_be() {
        let folder = tempfile::tempdir().unwrap();
        let spec = SourceSpec { ids: Ids::Global, ..restarted(folder.path()) };
        let run = Run::new();
        let (folder, params) = (run.folder.path(), &run.params);
        let cx =
            Context { room: "ingest", folder, seed: 1, memory_bytes: 1 << 30, progress: &Silent };
        let job = Job {
            sources: &[spec],
            params,
            limit: None,
            part_bytes: run.part_bytes,
            stop_after: None,
        };

        let error = job.run(&cx).unwrap_err().to_string();
        assert!(error.contains("9 of 11 records of source `a` (81.8 %)"), "{error}");
        assert!(error.contains("ids = \"file\"") && error.contains("fields.version"), "{error}");
    }

    #[test]
    fn marks_and_placeholders_are_reasons_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "{\"text\": \"a\", \"bad\": true}\n{\"text\": \"N/A\"}\n{\"text\": \"b\", \"kind\": [\"x\", \"y\"]}\n{\"text\": \"c\"}\n";
        write(folder.path(), "a.jsonl", lines.as_bytes());
        let drop = vec!["bad".to_string(), "kind=y".to_string()];
        let spec = SourceSpec { drop, ..source("s", folder.path(), "jsonl") };
        let run = Run::new();
        assert!(run.go(&[spec], None, 1 << 30));
        let refused: Vec<(String, u64)> = run.books().refused.into_iter().collect();
        let one = |reason: &str| (reason.to_string(), 1);
        assert_eq!(refused, [one("dropped:bad"), one("dropped:kind=y"), one("placeholder")]);
        assert_eq!(run.documents("text"), ["c"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_dead_link_is_one_refusal_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.txt", b"text a");
        write(folder.path(), "c.txt", b"text c");
        std::os::unix::fs::symlink("gone", folder.path().join("b.txt")).unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("d")).unwrap();
        let run = Run::new();
        assert!(run.go(&[source("s", folder.path(), "text")], None, 1 << 30));
        assert_eq!(
            (run.books().kept, run.books().refused["dead_link"], run.books().n_broken()),
            (2, 2, 0)
        );
    }

    #[test]
    fn a_kill_while_ids_are_settled_changes_nothing() {
        let (_folder, sources) = corpus();
        let whole = Run { part_bytes: 40_000, ..Run::new() };
        assert!(whole.go(&sources, None, 1 << 30));
        // The first phase is over, and of the second the first part is linked but not committed.
        let killed = Run { part_bytes: 40_000, ..Run::new() };
        let n_parts = whole.bytes().keys().filter(|name| name.starts_with("part-")).count();
        while !killed.go(&sources, Some(n_parts - 1), 1 << 30) {}

        for name in ["sources.json", "books-00001.json", "books-00002.json"] {
            assert!(killed.folder.path().join(name).exists());
        }
        assert!(killed.bytes() == whole.bytes());
        assert!(killed.go(&sources, None, 1 << 30), "a finished room is left as it is");
    }

    #[test]
    fn threads_change_nothing() {
        let (_folder, sources) = corpus();
        let read = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let run = Run { part_bytes: 100_000, ..Run::new() };
            assert!(pool.install(|| run.go(&sources, None, 1 << 30)));
            run.bytes()
        };
        assert!(read(1) == read(2));
    }

    #[test]
    fn a_limit_stops_each_source() {
        let (_folder, sources) = corpus();
        let run = Run { limit: Some(7), ..Run::new() };
        assert!(run.go(&sources, None, 1 << 30));
        let books = run.books();
        assert_eq!((books.read, books.kept, books.notes["limit_reached"]), (14, 14, 2));
        let killed = Run { limit: Some(7), part_bytes: 500, ..Run::new() };
        while !killed.go(&sources, Some(1), 1 << 30) {}
        assert_eq!(killed.documents("id"), run.documents("id"));
    }

    #[test]
    fn damaged_files_give_what_is_whole_and_one_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let gzip = |data: &[u8]| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(data).unwrap();
            writer.finish().unwrap()
        };
        let whole = gzip(lines(0..100, 1).as_bytes());
        write(folder.path(), "a.gz", &whole[..whole.len() / 2]);
        write(folder.path(), "b.gz", &[&whole[..], b"garbage"].concat());
        write(folder.path(), "c.gz", &gzip(&whole));
        write(
            folder.path(),
            "d.gz",
            &gzip(format!("{{\"text\": \"{}\"}}", "x".repeat(2 << 20)).as_bytes()),
        );
        let mut reasons = Vec::new();

        for name in ["a.gz", "b.gz", "c.gz", "d.gz"] {
            let run = Run::new();
            assert!(run.go(&[source("s", &folder.path().join(name), "jsonl")], None, 1 << 30));
            let books = run.books();
            reasons.push((books.kept, books.refused.into_keys().collect::<Vec<_>>().join(" ")));
            assert_eq!(books.read, reasons.last().unwrap().0 + 1);
        }

        assert!(
            reasons[0].0 > 20 && reasons[0].0 < 100 && reasons[0].1 == "truncated",
            "{reasons:?}"
        );
        assert_eq!(
            reasons[1..],
            [(100, "corrupt_stream".into()), (0, "wrong_format".into()), (0, "too_large".into())]
        );
        let bomb = Run { params: Params { max_unpacked_bytes: 1 << 20, ..PARAMS }, ..Run::new() };
        write(folder.path(), "e", "{\"text\": \"x\"}\n".repeat(100_000).as_bytes());
        assert!(bomb.go(&[source("s", &folder.path().join("e"), "jsonl")], None, 1 << 30));
        assert_eq!((bomb.books().kept, bomb.books().refused["bomb"]), ((1 << 20) / 14, 1));
    }

    #[test]
    fn an_empty_source_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.jsonl", b"");
        let run = Run::new();
        assert!(run.go(&[source("s", folder.path(), "jsonl")], None, 1 << 30));
        assert_eq!((run.books().read, run.books().notes["empty_source"]), (0, 1));
    }

    #[test]
    fn repairs_and_encodings_are_counted_and_places_stay_true() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            "a.jsonl",
            b"\xef\xbb\xbf{\"text\": \"caf\xc3\xa9 \xff\xff\"}\n{\"text\": \"na\xc3\xafve\"}\n",
        );
        let chinese = encoding_rs::GBK
            .encode("id,text\n1,第一条 为了保护民事主体的合法权益，调整民事关系\n")
            .0;
        write(folder.path(), "b.csv", &chinese);
        let run = Run::new();
        let sources = [
            source("s", &folder.path().join("a.jsonl"), "jsonl"),
            source("z", &folder.path().join("b.csv"), "csv"),
        ];
        assert!(run.go(&sources, None, 1 << 30));
        assert_eq!((run.books().notes["repaired"], run.books().notes["files_in_GBK"]), (2, 1));
        assert_eq!(run.documents("text")[..2], ["café \u{FFFD}\u{FFFD}", "naïve"]);
        assert!(run.documents("text")[2].starts_with("第一条"));
        let batch =
            Batches::open(&run.folder.path().join("part-00000.parquet"), None, Some(&["offset"]))
                .unwrap()
                .next();
        let offsets = batch.unwrap().unwrap();
        let offsets =
            arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt64Type>(offsets.column(0));

        assert_eq!(offsets.values(), &[3, 24, 8]);
    }

    #[test]
    fn parquet_is_read_packed_as_well() {
        let (corpus, _) = corpus();
        let first = Run::new();
        assert!(first.go(&[source("b", &corpus.path().join("b.jsonl"), "jsonl")], None, 1 << 30));
        let folder = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(first.folder.path().join("part-00000.parquet")).unwrap();
        write(folder.path(), "a.parquet", &bytes);
        write(folder.path(), "b.parquet.zst", &zstd::encode_all(&bytes[..], 1).unwrap());
        let run = Run::new();
        assert!(run.go(&[source("p", folder.path(), "parquet")], None, 1 << 30));
        assert_eq!((run.books().kept, run.books().refused["repeated"]), (300, 300));
        assert_eq!(run.documents("text"), first.documents("text"));
    }

    /// Nothing of this is good; all of it must end, in balanced books.
    #[test]
    fn hostile_files_end_in_balanced_books() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let folder = Path::new(&data).join("nasty-inputs");
        let sources: Vec<SourceSpec> = ["jsonl", "csv", "parquet", "text", "wikiextractor"]
            .iter()
            .flat_map(|format| {
                ["compressed", "json", "utf8"]
                    .map(|part| source(&format!("{format}-{part}"), &folder.join(part), format))
            })
            .collect();

        let run = Run::new();
        assert!(run.go(&sources, None, 1 << 30));
        assert!(run.books().n_refused() > 1_000, "{:?}", run.books());
    }

    /// Counts are those of the data's own SOURCE.md files; of blocks, those of `zcat en/wiki*.gz |
    /// grep -c '^<doc id='`.
    #[test]
    fn real_files_give_all_their_records() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let asked = [("text", "ask+answer+symptom+treatment")];
        let taught = [("text", "instruction+output")];
        let answered = [("text", "question+answer")];
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u64, u64);
        let table: [Row<'_>; 7] = [
            ("pubmed-abstracts-csv/*.csv.gz", "csv", &[], 8_599, 0),
            ("zh-medical/*.gbk.csv.gz", "csv", &asked, 7_644 + 10_027, 2),
            ("zh-medical/*.jsonl.gz", "jsonl", &taught, 6_130, 0),
            ("zh-law-tasks/lawbench*.gz", "jsonl", &answered, 5_000, 0),
            ("wikipedia-text/en/wiki*.gz", "wikiextractor", &[], 34_336, 0),
            ("zh-tcm-books/*.txt.gz", "text", &[], 123, 123),
            ("zh-law/md", "text", &[], 53, 0),
        ];

        for (path, format, fields, records, in_gbk) in &table {
            let mut source = source("s", &Path::new(&data).join(path), format);
            source.fields = fields::source(fields).fields;
            let params = Params { max_record_bytes: 64 << 20, ..PARAMS };
            let run = Run { params, ..Run::new() };
            assert!(run.go(&[source], None, 1 << 30));
            let books = run.books();
            assert_eq!((books.read, books.n_broken()), (*records, 0), "{path}");
            assert_eq!(books.notes.get("files_in_GBK").copied().unwrap_or(0), *in_gbk, "{path}");
        }
    }
}
