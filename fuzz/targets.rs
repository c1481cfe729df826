//! What reads foreign bytes: each target takes any bytes, must not panic, hang or take more memory
//! than it may, and keeps the promises that are checked here. `fuzz/run` drives them with
//! libFuzzer; the tests run what was found once (`fuzz/found/<target>/`) on every change.

use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::LazyLock;

use candle_core::Device;
use kpipe::build::plan::Pipeline;
use kpipe::files::decompress::{Bounds, Decoders, Unpacked};
use kpipe::files::encoding::Utf8;
use kpipe::flow::books::reason;
use kpipe::flow::contract::contract;
use kpipe::flow::dataset::Batches;
use kpipe::flow::settings::Settings;
use kpipe::ingest::{Access, Broken, FileFacts, Format, Limits, Parsed, Piece, SourceSpec, format};
use kpipe::knowledge::lexicon::{Found, Lexicon, READERS};
use kpipe::train::data::tokenizer::Tokenizer;
use kpipe::train::model::hugging_face::Pretrained;
use kpipe::train::model::parameters::read_tensors;
use kpipe::train::model::{FAMILIES, Language};

/// A parser under test.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: &'static str,
    /// Feeds it any bytes.
    pub(crate) run: fn(&[u8]),
}

/// Every target.
pub(crate) static TARGETS: &[Target] = &[
    Target { name: "wiki", run: |bytes| of_format("wiki", bytes) },
    Target { name: "wikitext", run: wikitext },
    Target { name: "pubmed", run: |bytes| of_format("pubmed", bytes) },
    Target { name: "csv", run: |bytes| of_format("csv", bytes) },
    Target { name: "jsonl", run: |bytes| of_format("jsonl", bytes) },
    Target { name: "text", run: |bytes| of_format("text", bytes) },
    Target { name: "wikiextractor", run: |bytes| of_format("wikiextractor", bytes) },
    Target { name: "parquet", run: |bytes| of_format("parquet", bytes) },
    Target { name: "encoding", run: encoding },
    Target { name: "decompress", run: decompress },
    Target { name: "bzip2", run: bzip2 },
    Target { name: "lexicon", run: lexicon },
    Target { name: "shard", run: shard },
    Target { name: "safetensors", run: safetensors },
    Target { name: "config", run: config },
    Target { name: "tokenizer", run: tokenizer },
    Target { name: "settings", run: settings },
];

/// Larger inputs find nothing that smaller ones do not, and take long.
const MAX_RECORD: usize = 1 << 16;

/// A file with these bytes, for what reads files alone.
fn on_disk(bytes: &[u8], read: impl FnOnce(&Path)) {
    // In memory, where the system has such a folder: thousands are written a second.
    let memory = Path::new("/dev/shm");
    let file = match memory.is_dir() {
        true => tempfile::NamedTempFile::new_in(memory),
        false => tempfile::NamedTempFile::new(),
    };
    let file = file.expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("a temporary file is written");
    read(file.path());
}

fn utf8(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    Utf8::new(Cursor::new(bytes), None).read_to_end(&mut text).expect("bytes in memory are read");
    text
}

/// Cuts and parses a file. Reasons are declared, offsets do not go back, and for text the size of
/// the reads changes nothing.
fn of_format(name: &str, bytes: &[u8]) {
    let format = format(name).expect("a registered format");
    let limits = Limits {
        max_record_bytes: MAX_RECORD,
        max_unpacked_bytes: 1 << 24,
        max_ratio: 1_000,
        memory_bytes: 1 << 28,
    };

    if format.access() == Access::File {
        on_disk(bytes, |path| {
            let (mut pieces, mut last) = (Vec::new(), FileFacts::default());
            let mut emit = |facts: &FileFacts, piece| {
                pieces.push(piece);
                last = facts.clone();
                Ok(true)
            };
            // An error is one of the system, such as a file that the library cannot be kept from
            // reading past its end.
            let broken = format.split_file(path, &limits, &mut emit).unwrap_or_default();
            parse(format, &Split { pieces, broken, facts: last });
        });
        return;
    }

    let text = utf8(bytes);
    let split = |capacity: usize| {
        let (mut pieces, mut last) = (Vec::new(), FileFacts::default());
        let mut emit = |facts: &FileFacts, piece| {
            pieces.push(piece);
            last = facts.clone();
            Ok(true)
        };
        let mut input = BufReader::with_capacity(capacity, Cursor::new(&text));
        let broken =
            format.split(&mut input, &limits, &mut emit).expect("bytes in memory are read");
        Split { pieces, broken, facts: last }
    };

    let whole = split(text.len().max(1));
    let other = split(1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 61));
    assert!(
        same(&whole, &other),
        "reads of another size: {:#?} instead of {:#?}",
        told(&other),
        told(&whole)
    );
    parse(format, &whole);
}

/// What a splitter makes of a file.
struct Split {
    pieces: Vec<Piece>,
    broken: Option<Broken>,
    facts: FileFacts,
}

/// Each piece in a line: what it is, where, and why.
fn told(split: &Split) -> Vec<String> {
    let of_break =
        |broken: &Broken| format!("{} {}: {}", broken.reason, broken.offset, broken.detail);
    let of_piece = |piece: &Piece| match piece {
        Piece::Record(raw) => format!("record {}, {} bytes", raw.offset, raw.bytes.len()),
        Piece::Refused(broken) => of_break(broken),
    };
    let facts = split.facts.0.iter().map(|(key, value)| format!("{key}={value}"));
    split
        .pieces
        .iter()
        .map(of_piece)
        .chain(split.broken.as_ref().map(of_break))
        .chain(facts)
        .collect()
}

/// Equal but for the bytes at a break, which are those that were read by then.
fn same(a: &Split, b: &Split) -> bool {
    let plain = |broken: &Broken| Broken { bytes: Vec::new(), n_bytes: 0, ..broken.clone() };
    let is_same = |pair: (&Piece, &Piece)| match pair {
        (Piece::Refused(a), Piece::Refused(b)) => plain(a) == plain(b),
        (a, b) => a == b,
    };
    let same_end = a.broken.as_ref().map(plain) == b.broken.as_ref().map(plain);
    a.pieces.len() == b.pieces.len()
        && a.pieces.iter().zip(&b.pieces).all(is_same)
        && same_end
        && a.facts == b.facts
}

fn parse(format: &dyn Format, split: &Split) {
    let source = SourceSpec {
        name: "fuzz".to_string(),
        role: "domain".to_string(),
        ..SourceSpec::default()
    };
    let mut facts = split.facts.clone();
    facts.0.insert("file".to_string(), "fuzz.md".to_string());
    let declared = |why: &str| assert!(reason(why).is_some(), "`{why}` is no reason");
    let mut last = 0;

    for piece in &split.pieces {
        let offset = match piece {
            Piece::Refused(broken) => {
                declared(broken.reason);
                broken.offset
            }
            Piece::Record(raw) => {
                for parsed in format.parse(raw, &facts, &source) {
                    match parsed {
                        Parsed::Refused { reason, .. } | Parsed::Empty { reason, .. } => {
                            declared(reason)
                        }
                        Parsed::Document(_) | Parsed::Withdraws(_) => {}
                    }
                }
                raw.offset
            }
        };

        assert!(offset >= last, "a record at {offset} behind one at {last}");
        last = offset;
    }

    split.broken.iter().for_each(|broken| declared(broken.reason));
}

/// The text of a page, without what the XML around it would keep out.
fn wikitext(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&utf8(bytes)).replace('&', "&amp;").replace('<', "&lt;");
    let language = ["en", "de", "fr", "zh"][bytes.first().map_or(0, |byte| usize::from(*byte) % 4)];
    let page = format!(
        "<mediawiki xml:lang=\"{language}\"><siteinfo><base>https://{language}.x.org/wiki/A</base></siteinfo><page>\
         <title>T</title><ns>0</ns><id>1</id><revision><id>1</id><text>{text}</text></revision></page></mediawiki>"
    );
    of_format("wiki", page.as_bytes());
}

/// What is decoded is UTF-8, and the size of the reads changes nothing.
fn encoding(bytes: &[u8]) {
    let read = |capacity: usize| {
        let mut text = Vec::new();
        let input = BufReader::with_capacity(capacity, Cursor::new(bytes));
        Utf8::new(input, None).read_to_end(&mut text).expect("bytes in memory are read");
        text
    };

    let whole = read(bytes.len().max(1));
    assert!(std::str::from_utf8(&whole).is_ok());
    assert_eq!(read(1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 31)), whole);
}

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 24, max_ratio: 200 };

fn unpacked(path: &Path, decoders: Option<&Decoders>) -> (Vec<u8>, Option<String>) {
    let mut stream = Unpacked::open(path, &BOUNDS, decoders).expect("the file is there");
    let (fault, mut bytes) = (stream.fault(), Vec::new());
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.len() as u64 <= BOUNDS.max_bytes);
    let fault = fault.borrow().clone();
    fault.iter().for_each(|fault| assert!(reason(fault.reason).is_some(), "{fault:?}"));
    (bytes, fault.map(|fault| fault.reason.to_string()))
}

fn decompress(bytes: &[u8]) {
    on_disk(bytes, |path| drop(unpacked(path, None)));
}

/// Decoding blocks apart gives the bytes and the fault of decoding them one after the other.
fn bzip2(bytes: &[u8]) {
    static DECODERS: LazyLock<Decoders> =
        LazyLock::new(|| Decoders::start(2).expect("two threads"));
    on_disk(bytes, |path| assert_eq!(unpacked(path, Some(&DECODERS)), unpacked(path, None)));
}

/// The first byte chooses the reader.
fn lexicon(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let reader = READERS[usize::from(*first) % READERS.len()];
    let text = utf8(bytes);

    for one in READERS {
        let _ = one.recognises(&String::from_utf8_lossy(&text));
    }
    let mut found = Found::within(1 << 28);

    if reader.read(&mut BufReader::new(Cursor::new(&text)), Path::new("fuzz"), &mut found).is_ok() {
        let lexicon = Lexicon::build(found.entries);
        let ids = lexicon.concepts.iter().map(|concept| &concept.id);
        assert!(
            ids.clone().zip(ids.skip(1)).all(|(a, b)| a < b),
            "concepts stand in the order of their ids"
        );
    }
}

/// Reads every row of what says that it is a shard.
fn shard(bytes: &[u8]) {
    on_disk(bytes, |path| {
        for contract in [Some(contract("shard").expect("the contract is there")), None] {
            if let Ok(batches) = Batches::open(path, contract, None) {
                batches.take(100).take_while(Result::is_ok).for_each(drop);
            }
        }
    });
}

fn safetensors(bytes: &[u8]) {
    on_disk(bytes, |path| drop(read_tensors(path, &Device::Cpu)));
}

/// A `config.json` of each family; what is accepted can be written again.
fn config(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    for family in FAMILIES {
        let mut value = value.clone();
        if let Some(config) = value.as_object_mut() {
            config.insert("model_type".to_string(), family.name.into());
        }
        if let Ok(pretrained) = Pretrained::anew(value, 1_000) {
            assert!(pretrained.model.config().is_object());
            assert!(pretrained.model.steps() > 0 && pretrained.model.size().width > 0);
        }
    }
}

fn tokenizer(bytes: &[u8]) {
    on_disk(bytes, |path| {
        for language in [Language::Masked, Language::Causal, Language::Spans] {
            if let Ok(tokenizer) = Tokenizer::read(path, language, &serde_json::Value::Null) {
                let _ = tokenizer.pieces("Aspirin lowers fever, 阿司匹林 退烧。");
            }
        }
    });
}

/// A pipeline file; each error says where.
fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut settings = Settings::new().expect("the defaults are right");
    match settings.add_text(&text, "fuzz.toml") {
        Err(error) => {
            assert!(error.places().iter().any(|place| place.starts_with("fuzz.toml")), "{error}")
        }
        Ok(()) => drop(Pipeline::new(&settings)),
    }
}
