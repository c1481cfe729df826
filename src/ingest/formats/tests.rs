//! What holds for every format: looped over [`FORMATS`], so that a new one is held to it from its
//! first day.

use std::path::Path;

use super::{Access, Broken, FORMATS, FileFacts, Format, Limits, Parsed, Piece, Raw};
use crate::draw;
use crate::flow::books::reason;
use crate::flow::dataset::PartWriter;
use crate::flow::progress::Silent;
use crate::flow::room::Context;
use crate::ingest::window::split_all;
use crate::ingest::{Params, fields, run, source_books};

/// A file of a format, and what is true of it.
struct Example {
    bytes: Vec<u8>,
    /// Records that are cut out of it.
    records: usize,
    /// Documents they give.
    documents: usize,
    /// Whether a record shows its own end, so that the last one of a cut file is known to be cut.
    has_ends: bool,
}

impl Example {
    /// Three records with a document each.
    fn of_three(bytes: impl Into<Vec<u8>>) -> Example {
        Example { bytes: bytes.into(), records: 3, documents: 3, has_ends: true }
    }
}

/// A file of each format; a new format adds one here.
fn example(format: &dyn Format) -> Example {
    match format.name() {
        "csv" => Example {
            has_ends: false,
            ..Example::of_three("id,text\n1,the first text\n2,\"a second, quoted\"\n3,a third\n")
        },
        "jsonl" => Example::of_three(
            (1..=3)
                .map(|id| format!("{{\"id\": {id}, \"text\": \"text {id}\"}}\n"))
                .collect::<String>(),
        ),
        // It has no column `text`, and the source maps none.
        "parquet" => Example { documents: 0, ..Example::of_three(parquet()) },
        "pubmed" => {
            let article = |id: u32| {
                format!(
                    "<PubmedArticle><MedlineCitation><PMID \
                     Version=\"1\">{id}</PMID><Article><ArticleTitle>Title {id}\
                     </ArticleTitle><Abstract><AbstractText>Abstract \
                     {id}.</AbstractText></Abstract></Article>\
                     </MedlineCitation></PubmedArticle>\n"
                )
            };

            let articles: String = (1..=3).map(article).collect();
            Example::of_three(format!(
                "<?xml version=\"1.0\"?>\n<PubmedArticleSet>\n{articles}</PubmedArticleSet>\n"
            ))
        }
        "text" => Example {
            bytes: "# A heading\n\nSome text of one document, with an é.\n".into(),
            records: 1,
            documents: 1,
            has_ends: false,
        },
        "wiki" => {
            let page = |id: u32| {
                format!(
                    "<page><title>Page {id}</title><ns>0</ns><id>{id}</id><revision><id>{id}</id>\
                     <text>Prose of page {id}.</text></revision></page>\n"
                )
            };

            let pages: String = (1..=3).map(page).collect();
            Example::of_three(format!(
                "<mediawiki xml:lang=\"en\">\n<siteinfo><base>https://x.org/wiki/A</base>\
                 </siteinfo>\n{pages}</mediawiki>\n"
            ))
        }
        "wikiextractor" => {
            let block = |id: u32| {
                format!(
                    "<doc id=\"{id}\" url=\"https://x.org\" title=\"T{id}\">\nT{id}\n\nText \
                     {id}.\n</doc>\n"
                )
            };
            Example::of_three((1..=3).map(block).collect::<String>())
        }
        other => panic!("`{other}` needs an example"),
    }
}

fn parquet() -> Vec<u8> {
    use arrow::array::{ArrayRef, StringArray};
    let contract = crate::flow::contract::contract("refused").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("x.parquet");
    let mut writer = PartWriter::create(&place, contract).unwrap();
    let columns = contract.fields.iter().map(|field| -> ArrayRef {
        match field.name.as_str() {
            "n_bytes" | "offset" => {
                std::sync::Arc::new(arrow::array::UInt64Array::from(vec![1, 2, 3]))
            }
            "bytes" => {
                std::sync::Arc::new(arrow::array::BinaryArray::from(vec![&b"a"[..], b"b", b"c"]))
            }
            _ => std::sync::Arc::new(StringArray::from(vec!["one", "two", "three"])),
        }
    });

    writer.write(&contract.batch(columns.collect()).unwrap()).unwrap();
    writer.finish().unwrap();
    std::fs::read(place).unwrap()
}

/// What a splitter makes of a file.
#[derive(Debug, PartialEq)]
struct Split {
    pieces: Vec<Piece>,
    broken: Option<Broken>,
    facts: FileFacts,
}

/// Splits a file in memory or on disk, as the format wants it.
fn split(format: &dyn Format, bytes: &[u8], step: usize) -> Split {
    if format.access() == Access::Text {
        let (pieces, broken, facts) = split_all(format, bytes, step, 1 << 20, false);
        return Split { pieces, broken, facts };
    }

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (mut pieces, mut last) = (Vec::new(), FileFacts::default());
    let mut emit = |facts: &FileFacts, piece| {
        pieces.push(piece);
        last = facts.clone();
        Ok(true)
    };
    let broken = format.split_file(file.path(), &Limits::of_records(1 << 20), &mut emit).unwrap();

    Split { pieces, broken, facts: last }
}

/// Parses every record, and checks that every reason that is given is declared.
fn parse_all(format: &dyn Format, split: &Split) -> usize {
    let source = fields::source(&[]);
    let mut n = 0;

    for piece in &split.pieces {
        match piece {
            Piece::Refused(broken) => {
                assert!(reason(broken.reason).is_some(), "{}: {broken:?}", format.name())
            }
            Piece::Record(raw) => {
                for parsed in format.parse(raw, &split.facts, &source) {
                    match parsed {
                        Parsed::Document(document) => n += usize::from(!document.text.is_empty()),
                        Parsed::Refused { reason: why, .. } | Parsed::Empty { reason: why, .. } => {
                            assert!(reason(why).is_some(), "{}: {why}", format.name());
                        }
                        Parsed::Withdraws(_) => {}
                    }
                }
            }
        }
    }

    split.broken.iter().for_each(|broken| {
        assert!(reason(broken.reason).is_some(), "{}: {broken:?}", format.name())
    });
    n
}

fn records(split: &Split) -> Vec<&Raw> {
    let mut found = Vec::new();
    for piece in &split.pieces {
        if let Piece::Record(raw) = piece {
            found.push(raw);
        }
    }
    found
}

#[test]
fn an_example_is_recognised_and_gives_its_documents() {
    for format in FORMATS {
        let name = format.name();
        let example = example(*format);
        let recognised: Vec<&str> = FORMATS
            .iter()
            .filter(|one| one.recognises(&example.bytes).is_some())
            .map(|one| one.name())
            .collect();
        assert!(recognised.is_empty() || recognised == [name], "{name}: {recognised:?}");

        let whole = split(*format, &example.bytes, 64);
        assert_eq!(whole.broken, None, "{name}");
        assert_eq!(records(&whole).len(), example.records, "{name}");
        assert_eq!(parse_all(*format, &whole), example.documents, "{name}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for format in FORMATS {
        for bytes in [&b""[..], b" \n\n"] {
            let found = split(*format, bytes, 1);
            assert_eq!(parse_all(*format, &found), 0, "{}: {found:?}", format.name());
        }
    }
}

#[test]
fn how_the_bytes_arrive_changes_nothing() {
    for format in FORMATS.iter().filter(|format| format.access() == Access::Text) {
        let bytes = example(*format).bytes;
        let whole = split(*format, &bytes, bytes.len());
        for step in [1, 2, 3, 7, 64] {
            assert_eq!(split(*format, &bytes, step), whole, "{} by {step}", format.name());
        }
    }
}

/// Cut anywhere, a file gives its first records as they are, and at most one piece of another.
#[test]
fn a_file_that_is_cut_gives_what_stands_before() {
    for format in FORMATS {
        let Example { bytes, has_ends, .. } = example(*format);
        let whole = split(*format, &bytes, 64);
        let whole = records(&whole);

        for cut in (0..bytes.len()).step_by(3) {
            let cut_off = split(*format, &bytes[..cut], 64);
            parse_all(*format, &cut_off);
            let found = records(&cut_off);
            let same = found.iter().zip(&whole).take_while(|(a, b)| a == b).count();
            assert!(found.len() <= same + 1, "{} cut at {cut}: {found:?}", format.name());
            let is_told = cut_off.broken.is_some()
                || cut_off.pieces.len() > found.len()
                || found.len() == same
                || cut == 0;

            assert!(is_told || !has_ends, "{} cut at {cut}", format.name());
        }
    }
}

#[test]
fn wrong_bytes_are_refused_and_nobody_panics() {
    let mut draws = draw::stream(1, "wrong", b"formats");
    for format in FORMATS {
        let good = example(*format).bytes;
        for round in 0..300 {
            let mut bytes = good.clone();
            for _ in 0..1 + round % 5 {
                let at = draw::next_below(&mut draws, bytes.len());
                let byte = draw::next_below(&mut draws, 256) as u8;
                // Text arrives as UTF-8.
                bytes[at] = if format.access() == Access::Text { byte & 0x7f } else { byte };
            }

            let bytes = match format.access() {
                Access::Text => String::from_utf8_lossy(&bytes).into_owned().into_bytes(),
                Access::File => bytes,
            };
            parse_all(*format, &split(*format, &bytes, 64));
        }
    }
}

/// The room over whole, cut, empty and foreign files of each format: its books balance, and any
/// number of threads gives the same bytes.
#[test]
fn refusals_balance_for_any_number_of_threads() {
    let params = Params {
        max_record_bytes: 1 << 20,
        max_unpacked_bytes: 1 << 30,
        max_ratio: 1_000,
        min_chars: 1,
        part_bytes: 64 << 20,
        script: crate::ingest::chinese::Script::AsIs,
        width: crate::ingest::chinese::Width::AsIs,
    };
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let good = example(*format).bytes;
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("a", &good);
        write("b", &good[..good.len() * 2 / 3]);
        write("c", b"");
        write("d", &[0xff, 0xfe, 0, 1, 2, 3, 0xc0]);
        let source = crate::ingest::SourceSpec {
            name: "s".into(),
            path: folder.path().to_str().unwrap().into(),
            format: format.name().into(),
            ..fields::source(&[])
        };

        let outcome = |threads| {
            let out = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let memory_bytes = 1 << 30;
            let cx = Context {
                room: "ingest",
                folder: out.path(),
                seed: 1,
                memory_bytes,
                progress: &Silent,
            };

            pool.install(|| run(std::slice::from_ref(&source), &params, &cx, None)).unwrap();
            let books = source_books(out.path()).unwrap().remove("s").unwrap();
            books.balance().unwrap();
            (books, bytes(out.path()))
        };

        let one = outcome(1);
        assert!(one.0.read > 0, "{}", format.name());
        assert!(one == outcome(3), "{}: other bytes", format.name());
    }
}

fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<(String, Vec<u8>)> = paths
        .filter(|path| path.is_file())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read(&path).unwrap())
        })
        .collect();

    all.sort();
    all
}
