use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow::array::{Array, AsArray, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The project folder, which is the working folder of every command in the tests.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command of the binary under test.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpipe"));
    command.current_dir(project()).args(args);
    command
}

/// Runs the binary.
pub(crate) fn kpipe(args: &[&str]) -> Output {
    command(args).output().expect("the binary runs")
}

/// Runs the binary and demands that it succeeds; gives standard output.
pub(crate) fn succeed(args: &[&str]) -> String {
    let output = kpipe(args);
    assert!(output.status.success(), "kpipe {args:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs the binary and demands an exit code and words in standard error.
pub(crate) fn fail(args: &[&str], code: i32, words: &[&str]) {
    let output = kpipe(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "kpipe {args:?}\n{stderr}");
    for word in words {
        assert!(stderr.contains(word), "kpipe {args:?}: `{word}` is missing in\n{stderr}");
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every file below a folder with its bytes, the working folder of the rooms left out.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == ".kpipe" {
                continue;
            }

            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(
                    path.strip_prefix(root).unwrap().to_path_buf(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }

    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// Demands that two output folders are equal, byte for byte.
pub(crate) fn same_bytes(a: &Path, b: &Path) {
    let (left, right) = (tree(a), tree(b));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (path, bytes) in &left {
        assert!(bytes == &right[path], "{} differs", path.display());
    }
}

/// All rows of the Parquet files of a folder whose names begin with `stem`, file by file.
pub(crate) fn rows(folder: &Path, stem: &str) -> Vec<RecordBatch> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(stem))
        .collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let file = std::fs::File::open(path).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file)
                .unwrap()
                .build()
                .unwrap()
                .map(Result::unwrap)
        })
        .collect()
}

/// A string column over all batches; null becomes the empty string.
pub(crate) fn strings(batches: &[RecordBatch], name: &str) -> Vec<String> {
    batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            (0..column.len())
                .map(move |row| {
                    if column.is_null(row) { String::new() } else { column.value(row).to_string() }
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// `manifest.json` of an output folder.
pub(crate) fn manifest(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap()
}

/// The sample data of the real world, where the environment names it.
pub(crate) fn real_data() -> Option<PathBuf> {
    std::env::var_os("KPIPE_TEST_DATA").map(PathBuf::from).filter(|folder| folder.is_dir())
}
