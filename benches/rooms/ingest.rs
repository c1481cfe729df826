//! `ingest` beside the least that any reader must do: unpack the same files and cut them into XML
//! tokens.
//!
//! Both sides get one thread, then all. The floor has no order to keep and shares out whole files,
//! the largest first. With one thread the room still has a reader and a writer beside its parser,
//! and on a machine with several cores they run at once; processor time tells what the work costs
//! wherever it ran.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use kpipe::files::decompress::Packing;
use kpipe::files::expand::expand;
use kpipe::ingest::SourceSpec;
use quick_xml::Reader;
use quick_xml::events::Event;
use rayon::prelude::*;

use crate::inputs::Inputs;
use crate::measure::{Took, line, rate, took};
use crate::{Result, inputs};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// How long each comparison goes on at least: of what takes some hundredths of a second three
/// rounds tell little.
const AT_LEAST: Duration = Duration::from_secs(3);

/// Prints wall and processor time of the room and of the floor, for each format and number of
/// threads.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (label, format, pattern) in &inputs.dumps {
        let source = SourceSpec::of_path(label, Path::new(pattern))?;
        let source = SourceSpec { format: (*format).to_string(), ..source };
        for threads in [1, cores] {
            compare(inputs, label, &source, threads)?;
        }
    }
    Ok(())
}

fn compare(inputs: &Inputs, label: &str, source: &SourceSpec, threads: usize) -> Result<()> {
    let mut paths = expand(&source.path)?;
    paths.sort_by_key(|path| std::cmp::Reverse(path.metadata().map_or(0, |facts| facts.len())));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let (mut floor, mut room) = (Took::FOREVER, Took::FOREVER);
    let (mut counted, mut rows) = (Counted::default(), 0);
    let (begun, mut round) = (Instant::now(), 0);

    while round < inputs.rounds || begun.elapsed() < AT_LEAST {
        round += 1;
        let (all, run) = took(|| pool.install(|| tokenise_all(&paths)))?;
        (counted, floor) = (all, floor.best(run));
        let folder = tempfile::tempdir()?;
        let ((), run) =
            took(|| pool.install(|| inputs.ingest(std::slice::from_ref(source), folder.path())))?;
        room = room.best(run);
        rows = inputs::documents(folder.path())?.rows();
    }

    let Counted { bytes, tokens } = counted;
    say!(
        "{label}, {threads} threads: {} files, {:.1} MB unpacked, {tokens} tokens, {rows} \
         documents",
        paths.len(),
        bytes as f64 / 1e6
    );
    let seconds = |took: Took| format!("{:.2} s ({:.2} s cpu)", took.wall, took.cpu);
    line("  unpack and tokenise", &seconds(floor), &rate(bytes, floor.wall));
    let times = format!(
        "{}; {:.2} x the floor's time, {:.2} x its cpu",
        rate(bytes, room.wall),
        room.wall / floor.wall,
        room.cpu / floor.cpu
    );

    line("  ingest", &seconds(room), &times);
    Ok(())
}

/// What the floor saw.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    bytes: u64,
    tokens: u64,
}

fn tokenise_all(paths: &[PathBuf]) -> Result<Counted> {
    let counted: Result<Vec<Counted>> =
        paths.par_iter().with_max_len(1).map(|path| tokenise(path)).collect();
    let add = |sum: Counted, one: &Counted| Counted {
        bytes: sum.bytes + one.bytes,
        tokens: sum.tokens + one.tokens,
    };
    Ok(counted?.iter().fold(Counted::default(), add))
}

/// Unpacks a file and reads its tokens until the end or the damage, where a broken file has some.
fn tokenise(path: &Path) -> Result<Counted> {
    let mut packed = BufReader::with_capacity(READ_BYTES, File::open(path)?);
    let unpacked: Box<dyn Read> = match Packing::of(packed.fill_buf()?) {
        Packing::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        _ => Box::new(packed),
    };
    let mut reader = Reader::from_reader(BufReader::with_capacity(READ_BYTES, unpacked));
    reader.config_mut().check_end_names = false;
    let (mut token, mut tokens) = (Vec::new(), 0);

    while !matches!(reader.read_event_into(&mut token), Ok(Event::Eof) | Err(_)) {
        tokens += 1;
        token.clear();
    }

    let bytes = reader.buffer_position();
    // What stands behind a broken place must still be unpacked, as the room does.
    let rest = std::io::copy(reader.get_mut(), &mut std::io::sink()).unwrap_or(0);
    Ok(Counted { bytes: bytes + rest, tokens })
}
