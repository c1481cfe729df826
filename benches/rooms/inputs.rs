//! What is measured on: real files where `KPIPE_TEST_DATA` names them, else the fixtures repeated.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use arrow::array::{Array, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use kpipe::build::plan::Pipeline;
use kpipe::files::decompress::{Bounds, Unpacked};
use kpipe::files::expand::expand;
use kpipe::flow::contract::{contract, strings};
use kpipe::flow::dataset::{Batches, Dataset};
use kpipe::flow::progress::Silent;
use kpipe::flow::room::Context;
use kpipe::flow::settings::Settings;
use kpipe::ingest::{self, SourceSpec};
use memchr::{memchr, memmem};
use tempfile::TempDir;

use crate::Result;

/// How often files are repeated where they stand for more.
const COPIES: usize = 20;

/// No file is too large.
const BOUNDS: Bounds = Bounds { max_bytes: u64::MAX, max_ratio: u64::MAX };

/// Where the input of every bench is, and with which settings it is worked on.
pub(crate) struct Inputs {
    /// What it is, for the head of the table.
    pub(crate) about: String,
    /// How often everything is repeated.
    pub(crate) rounds: usize,
    /// Dumps: a label, the format, and a glob pattern.
    pub(crate) dumps: Vec<(&'static str, &'static str, String)>,
    /// Lexicons: a label and glob patterns.
    pub(crate) lexicons: Vec<(&'static str, Vec<String>)>,
    /// The default pipeline.
    pub(crate) pipeline: Pipeline,
    /// A file or folder of English text.
    text: PathBuf,
    /// Holds the copied fixtures.
    _copies: Option<TempDir>,
}

impl Inputs {
    /// Looks for them.
    pub(crate) fn find() -> Result<Self> {
        let rounds = std::env::var("KPIPE_BENCH_ROUNDS").map_or(Ok(3), |text| text.parse())?;
        let pipeline = Pipeline::new(&Settings::new()?)?;
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let ours = ("fixture lexicon", vec![pattern(&fixtures, "lexicon/*")]);

        if let Some(data) = std::env::var_os("KPIPE_TEST_DATA") {
            let data = PathBuf::from(data);
            let named = |names: &[&str]| -> Vec<String> {
                names.iter().map(|name| pattern(&data, &format!("kg-lexicons/{name}"))).collect()
            };
            let large = named(&["doid-*.obo.gz", "hp-*.obo.gz", "drugbank-vocabulary.csv.gz"]);
            let more = ["mesh-tree*", "drugbank-aliases*", "hetionet-*", "THUOCL_*"];
            let all = [large.clone(), named(&more)].concat();
            let pubmed = pattern(&data, "pubmed-xml/*.xml*");
            let copies = renumbered(&pubmed)?;

            return Ok(Inputs {
                about: "real data (`KPIPE_TEST_DATA`)".to_string(),
                rounds,
                dumps: vec![
                    ("wiki", "wiki", pattern(&data, "wikipedia-dumps/*.xml*bz2")),
                    ("pubmed", "pubmed", pubmed),
                    ("pubmed, copies", "pubmed", pattern(copies.path(), "*")),
                ],
                lexicons: vec![ours, ("DOID, HP, DrugBank", large), ("all of kg-lexicons", all)],
                pipeline,
                text: data.join("wikipedia-text/en"),

                _copies: Some(copies),
            });
        }

        let copies = copied(&fixtures)?;
        Ok(Inputs {
            about: format!("fixtures, {COPIES} copies (set KPIPE_TEST_DATA for real files)"),
            rounds,
            dumps: vec![
                ("wiki", "wiki", pattern(copies.path(), "wiki-*")),
                ("pubmed", "pubmed", pattern(copies.path(), "pubmed-*")),
            ],
            lexicons: vec![ours],
            pipeline,
            text: fixtures.join("wiki"),

            _copies: Some(copies),
        })
    }

    /// Title and text of every document of the English text.
    pub(crate) fn texts(&self) -> Result<Vec<(String, String)>> {
        let folder = tempfile::tempdir()?;
        let source = SourceSpec::of_path("text", &self.text)?;
        self.ingest(&[source], folder.path())?;
        let mut texts = Vec::new();

        for part in &documents(folder.path())?.parts {
            for batch in Batches::open(&part.path, None, Some(&["title", "text"]))? {
                let batch = batch?;
                let (titles, rows) = (strings(&batch, "title")?, strings(&batch, "text")?);
                let value = |column: &StringArray, row| match column.is_valid(row) {
                    true => column.value(row).to_string(),
                    false => String::new(),
                };
                texts.extend(
                    (0..batch.num_rows()).map(|row| (value(titles, row), value(rows, row))),
                );
            }
        }

        Ok(texts)
    }

    /// Runs the room `ingest` on the English text.
    pub(crate) fn ingest_text(&self, folder: &Path) -> Result<Dataset> {
        self.ingest(&[SourceSpec::of_path("text", &self.text)?], folder)?;
        documents(folder)
    }

    /// Runs the room `ingest`.
    pub(crate) fn ingest(&self, sources: &[SourceSpec], folder: &Path) -> Result<()> {
        Ok(ingest::run(sources, &self.pipeline.ingest, &context("ingest", folder), None)?)
    }
}

/// The documents that `ingest` wrote.
pub(crate) fn documents(folder: &Path) -> Result<Dataset> {
    Ok(Dataset::open(folder, contract("document")?)?)
}

/// A room's context that tells nobody and has a gigabyte.
pub(crate) fn context<'a>(room: &'static str, folder: &'a Path) -> Context<'a> {
    Context { room, folder, seed: 17, memory_bytes: 1 << 30, progress: &Silent }
}

/// Bytes of all texts.
pub(crate) fn n_bytes(texts: &[(String, String)]) -> u64 {
    texts.iter().map(|(_, text)| text.len() as u64).sum()
}

/// A text with the words of every line shuffled, each `copy` in another way: the same words,
/// lengths and lines, but hardly a shingle in common, so that nothing is a duplicate.
pub(crate) fn altered(text: &str, copy: u64) -> String {
    let mut state = copy.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ text.len() as u64;
    let mut draw = move |below: usize| {
        // Knuth's MMIX generator; the upper half is random enough for this.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };

    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut words: Vec<&str> = line.split(' ').collect();
        (1..words.len()).for_each(|at| words.swap(at, draw(at + 1)));
        lines.push(words.join(" "));
    }

    lines.join("\n")
}

fn pattern(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// The fixtures' dumps, each copied several times.
fn copied(fixtures: &Path) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for room in ["wiki", "pubmed"] {
        for entry in std::fs::read_dir(fixtures.join(room))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            for copy in 0..COPIES {
                std::fs::copy(
                    entry.path(),
                    folder.path().join(format!("{room}-{copy:02}-{name}")),
                )?;
            }
        }
    }
    Ok(folder)
}

/// PubMed files, each several times with PMIDs of its own, so that what a run costs only once does
/// not count.
fn renumbered(pattern: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (nth, path) in expand(pattern)?.iter().enumerate() {
        let mut xml = Vec::new();
        // A damaged file gives what stands before the damage.
        let _ = Unpacked::open(path, &BOUNDS, None)?.read_to_end(&mut xml);

        for copy in 0..COPIES {
            let place = folder.path().join(format!("{copy:02}-{nth:02}.xml.gz"));
            let mut packed = GzEncoder::new(std::fs::File::create(place)?, Compression::default());
            let mut rest = xml.as_slice();

            while let Some(at) = memmem::find(rest, b"<PMID") {
                let behind = memchr(b'>', &rest[at..]).map_or(rest.len(), |end| at + end + 1);
                packed.write_all(&rest[..behind])?;
                write!(packed, "{:02}", copy + 10)?;
                rest = &rest[behind..];
            }

            packed.write_all(rest)?;
            packed.finish()?;
        }
    }
    Ok(folder)
}
