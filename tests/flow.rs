use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{UInt8Type, UInt64Type};

use crate::support::{command, fail, manifest, rows, same_bytes, strings, succeed, text};

/// A build of the fixtures that several tests look at.
static BUILT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    build(&folder.path().join("out"), &[]);
    folder
});

pub(crate) fn built() -> PathBuf {
    BUILT.path().join("out")
}

fn build(out: &Path, more: &[&str]) {
    let args = ["build", "--source", "wiki,pubmed", "--quiet", "--out", out.to_str().unwrap()];
    succeed(&[&args[..], more].concat());
}

#[test]
fn books_balance_from_files_to_shards() {
    let manifest = manifest(&built());
    let lexicons = manifest["parameter_files"].as_array().unwrap();
    assert!(
        lexicons
            .iter()
            .any(|file| file["room"] == "density" && file["hash"].as_str().unwrap().len() == 32)
    );
    let mut flowing = None;

    for room in manifest["rooms"].as_array().unwrap() {
        let books = &room["books"];
        let sum = |key: &str| {
            books[key].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>()
        };
        let (read, kept) = (books["read"].as_u64().unwrap(), books["kept"].as_u64().unwrap());
        assert_eq!(read, kept + sum("refused") + sum("duplicates"), "{room}");
        assert!(flowing.is_none_or(|flowing| flowing == read), "{room}");
        flowing = Some(kept);
    }

    let shards = rows(&built().join("data"), "");
    let ids: BTreeSet<String> = strings(&shards, "id").into_iter().collect();
    assert_eq!(ids.len() as u64, flowing.unwrap(), "every kept document is in a shard");
    let refused = strings(&rows(&built().join("refused"), ""), "id").len() as u64;
    let books = &manifest["rooms"][0]["books"]["refused"];
    assert_eq!(
        refused,
        books.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>()
    );
    let ledger = rows(&built().join("duplicates"), "");
    let (removed, survivors) = (strings(&ledger, "removed_id"), strings(&ledger, "survivor_id"));

    assert!(
        removed.iter().all(|id| !ids.contains(id)) && survivors.iter().all(|id| ids.contains(id))
    );
}

/// Characters of Chinese and Japanese, and words of other scripts.
fn n_tokens(text: &str) -> usize {
    let is_cjk = |c: char| matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x9fff);
    let spaced: String =
        text.chars().map(|c| if c.is_alphanumeric() && !is_cjk(c) { c } else { ' ' }).collect();
    spaced.split_whitespace().count() + text.chars().filter(|c| is_cjk(*c)).count()
}

#[test]
fn shards_stand_in_training_order_as_the_manifest_says() {
    let manifest = manifest(&built());
    for split in ["train", "validation"] {
        let shards = rows(&built().join("data"), split);
        let seqs: Vec<u64> = shards
            .iter()
            .flat_map(|batch| {
                batch.column_by_name("seq").unwrap().as_primitive::<UInt64Type>().values().to_vec()
            })
            .collect();

        assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<u64>>(), "{split}");
        let ranges = manifest["curriculum"][split].as_array().unwrap();
        assert_eq!(ranges.last().unwrap()["seq_last"].as_u64().unwrap() + 1, seqs.len() as u64);

        for shard in ranges {
            let bytes = std::fs::read(built().join(shard["file"].as_str().unwrap())).unwrap();
            let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes));
            assert_eq!(shard["xxh3_128"], hash);
        }
    }

    let train = rows(&built().join("data"), "train");
    let roles = strings(&train, "role");
    // Every character of Chinese and every word of the rest, counted apart from the program.
    let lengths: Vec<usize> = strings(&train, "text").iter().map(|text| n_tokens(text)).collect();
    let fifth = lengths.iter().sum::<usize>() as f64 / 5.0;
    let mut given = 0.0;
    let n_first = lengths.iter().take_while(|n| {
        given += **n as f64;
        given < fifth
    });
    let n_first = n_first.count();
    assert!(n_first > 20, "{n_first}");
    assert!(roles[..n_first].iter().all(|role| role == "general"), "the first 20 % are general");
    assert!(roles[n_first..].iter().any(|role| role == "domain"));
    let tail = &roles[roles.len() - 50..];
    assert!(tail.iter().any(|role| role == "general"), "general text is replayed to the end");
    let buckets: Vec<u8> = train
        .iter()
        .flat_map(|batch| {
            batch.column_by_name("bucket").unwrap().as_primitive::<UInt8Type>().values().to_vec()
        })
        .collect();

    assert!(buckets[..n_first].iter().all(|bucket| *bucket < 4), "nothing hard in the opening");
}

/// Word 5-grams by the plainest means, not by the program's own.
fn shingles(text: &str) -> HashSet<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.windows(5).map(|window| window.join(" ")).collect()
}

#[test]
fn validation_shares_no_near_duplicate_with_train() {
    let of = |split: &str| -> BTreeMap<String, HashSet<String>> {
        let batches = rows(&built().join("data"), split);
        let texts = strings(&batches, "text");
        strings(&batches, "id").into_iter().zip(texts.iter().map(|text| shingles(text))).collect()
    };
    let (train, validation) = (of("train"), of("validation"));
    assert!(!validation.is_empty());

    for (held_out, theirs) in &validation {
        assert!(!train.contains_key(held_out));
        for (id, ours) in &train {
            let shared = ours.intersection(theirs).count() as f64;
            let jaccard = shared / ((ours.len() + theirs.len()) as f64 - shared).max(1.0);
            assert!(jaccard < 0.3, "{held_out} and {id}: {jaccard}");
        }
    }
}

#[test]
fn threads_and_memory_do_not_change_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("one", ["--threads", "1", "--memory", "256M"]),
        ("two", ["--threads", "2", "--memory", "8G"]),
    ] {
        let out = folder.path().join(name);
        build(&out, &more);
        same_bytes(&built(), &out);
    }
}

#[test]
fn a_rerun_does_nothing_and_another_seed_does() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let args = ["build", "--source", "wiki,pubmed", "--out", out.to_str().unwrap()];
    let first = command(&args).output().unwrap();
    assert!(first.status.success(), "{}", text(&first.stderr));
    let before = crate::support::tree(&out);
    let again = command(&args).output().unwrap();
    assert_eq!(text(&again.stderr).matches("(done before)").count(), 9, "{}", text(&again.stderr));
    assert!(crate::support::tree(&out) == before);
    succeed(&[&args[..], &["--seed", "18", "--quiet"]].concat());

    assert!(crate::support::tree(&out) != before);
}

#[test]
fn a_shard_that_was_edited_is_not_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    build(&out, &[]);
    let shard = out.join("data/train-00000-of-00001.parquet");
    let bytes = std::fs::read(&shard).unwrap();
    let mut edited = bytes.clone();
    edited[bytes.len() / 2] ^= 1;
    std::fs::File::options().write(true).open(&shard).unwrap().write_all(&edited).unwrap();
    let args = ["build", "--source", "wiki,pubmed", "--quiet", "--out", out.to_str().unwrap()];
    fail(
        &args,
        3,
        &[
            "train-00000-of-00001.parquet` was changed",
            "9-curriculum` and run the same command again",
        ],
    );

    std::fs::remove_dir_all(out.join(".kpipe/9-curriculum")).unwrap();
    build(&out, &[]);
    same_bytes(&out, &built());
    // One that is longer or shorter shows without its hash, and is written again at once.
    std::fs::File::options().append(true).open(&shard).unwrap().write_all(b"more").unwrap();
    build(&out, &[]);

    same_bytes(&out, &built());
}

#[test]
fn a_build_of_fewer_sources_leaves_nothing_of_the_larger_one_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (out, fresh) = (folder.path().join("out"), folder.path().join("fresh"));
    build(&out, &["--set", "curriculum.shard_bytes=100000"]);
    for out in [&out, &fresh] {
        succeed(&["build", "--source", "wiki", "--quiet", "--out", out.to_str().unwrap()]);
    }
    same_bytes(&out, &fresh);
}

/// A dump large enough to be killed inside: pages of words drawn by a fixed rule, in one bzip2
/// stream.
fn large_dump(path: &Path) {
    let words = [
        "river", "stone", "market", "harbour", "winter", "engine", "letter", "garden", "copper",
        "valley",
    ];
    let file = std::fs::File::create(path).unwrap();
    let mut dump = bzip2::write::BzEncoder::new(file, bzip2::Compression::fast());
    let head = "<mediawiki xmlns=\"http://www.mediawiki.org/xml/export-0.11/\" version=\"0.11\" \
                xml:lang=\"en\">\n\
        <siteinfo><sitename>W</sitename><dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base>\
        </siteinfo>\n";
    dump.write_all(head.as_bytes()).unwrap();
    let mut state = 12_345_u64;

    for page in 0..6_000 {
        let text: Vec<String> = (0..120)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                format!("{}{}", words[(state >> 33) as usize % words.len()], (state >> 40) % 500)
            })
            .collect();
        writeln!(
            dump,
            "<page><title>Page {page}</title><ns>0</ns><id>{page}</id><revision><id>{page}</id>\
             <timestamp>2026-01-01T00:00:00Z</timestamp><text>{}.</text></revision></page>",
            text.join(" ")
        )
        .unwrap();
    }

    dump.write_all(b"</mediawiki>\n").unwrap();
    dump.finish().unwrap();
}

/// Kills a build of one large compressed dump and the PubMed fixtures at 20 points, every other one
/// inside the large file behind one part more; after two kills the build is finished and compared,
/// byte for byte, and begun anew.
#[test]
fn killed_at_twenty_points_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("large.xml.bz2");
    large_dump(&dump);
    let source = format!("wiki={},pubmed", dump.display());
    let args = |out: &Path| {
        let out = out.to_str().unwrap().to_string();
        let small =
            ["--set", "ingest.part_bytes=600000", "--set", "curriculum.shard_bytes=1000000"];
        let budget = ["--set", "negatives.back_translation.max_sentences=600"];
        let mut args = vec![
            "build".to_string(),
            "--quiet".into(),
            "--source".into(),
            source.clone(),
            "--out".into(),
            out,
        ];

        args.extend(small.iter().chain(&budget).map(|arg| (*arg).to_string()));
        args
    };

    let run = |out: &Path| {
        let args = args(out);
        command(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let whole = folder.path().join("whole");
    let begun = Instant::now();
    assert!(run(&whole).status().unwrap().success());
    let took = begun.elapsed();
    let out = folder.path().join("killed");
    let raw = out.join(".kpipe/1-ingest/raw");
    let n_parts = || {
        std::fs::read_dir(&raw).map_or(0, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("books-"))
                .count()
        })
    };

    let (mut n_killed, mut n_inside_file) = (0, 0);
    for point in 0..20_u32 {
        let mut child = run(&out).spawn().unwrap();
        if point % 2 == 0 {
            // Inside the large file, behind one part more each time.
            while n_parts() <= point as usize / 2 && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        } else {
            // The golden ratio spreads the points over the time of a whole build.
            std::thread::sleep(took.mul_f64((f64::from(point) * 0.618_033_988_75).fract()));
        }

        n_killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        n_inside_file += u32::from(point % 2 == 0 && n_parts() > 0);

        if point % 2 == 1 {
            assert!(run(&out).status().unwrap().success());
            same_bytes(&whole, &out);
            std::fs::remove_dir_all(&out).unwrap();
        }
    }

    assert!(n_killed >= 10, "only {n_killed} of 20 kills hit a running build");
    assert!(
        n_inside_file >= 5,
        "only {n_inside_file} kills hit the reading of the large file behind a part"
    );
}

#[test]
fn edges_of_one_build_bucket_another_in_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let edges = format!("difficulty.edges={}", built().join("difficulty").display());
    build(&out, &["--set", &edges]);
    let buckets = |out: &Path| -> BTreeMap<String, Vec<u8>> {
        let shards = rows(&out.join("data"), "");
        let found = shards.iter().map(|batch| {
            let buckets = batch
                .column_by_name("bucket")
                .unwrap()
                .as_primitive::<UInt8Type>()
                .values()
                .to_vec();
            (strings(std::slice::from_ref(batch), "id").join(","), buckets)
        });
        found.collect()
    };

    assert_eq!(buckets(&built()), buckets(&out));
}

/// The planted copies of `fixtures/README.md`: by default a near duplicate must hold the same
/// numbers.
#[test]
fn planted_duplicates_are_found_and_changed_numbers_decide() {
    let titles = |out: &Path| {
        let ledger = rows(&out.join("duplicates"), "");
        strings(&ledger, "removed_id").into_iter().collect::<BTreeSet<String>>().len()
    };
    assert_eq!(titles(&built()), 3);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    build(&out, &["--set", "dedup.same_numbers=false"]);

    assert_eq!(titles(&out), 6);
}

/// The counts of `fixtures/README.md`, which were made without this program.
#[test]
fn fixtures_give_the_books_they_were_made_for() {
    let books = manifest(&built())["source_books"].clone();
    let wiki = serde_json::json!({"redirect": 11, "disambiguation": 5, "namespace": 9});
    assert_eq!(books["wiki"]["refused"], wiki);
    assert_eq!(books["wiki"]["kept"], 154 + 25);
    assert_eq!(books["pubmed"]["refused"]["deleted"], 2);
    assert_eq!(books["pubmed"]["refused"]["superseded"], 3);
    assert_eq!(books["pubmed"]["refused"]["no_text"], 3);
}

#[test]
fn a_folder_of_other_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("data/precious.txt");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(&precious, "mine").unwrap();
    let out = folder.path().to_str().unwrap();
    crate::support::fail(
        &["build", "--source", "wiki", "--out", out],
        2,
        &["did not write", "hint"],
    );

    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
}
