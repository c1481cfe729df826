//! The dataset card: a `README.md` that people read and `datasets.load_dataset` obeys.
//!
//! The YAML head names the splits' files and the features, as the Hugging Face hub documents it
//! (hub-docs, "Dataset cards" and "Manual configuration").

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::curriculum::Curriculum;
use crate::curriculum::pacing::STRATA;
use crate::curriculum::shards::ShardInfo;

/// What the card says besides the shards.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Sources: name, role, licence, documents kept.
    pub sources: Vec<(String, String, String, u64)>,
    /// Languages and their documents.
    pub languages: BTreeMap<String, u64>,
    /// Columns of a shard with their type and meaning.
    pub columns: Vec<(String, String, String)>,
}

/// The text of the card.
pub fn card(curriculum: &Curriculum, about: &About) -> String {
    let rows = |shards: &[ShardInfo]| shards.iter().map(|shard| shard.rows).sum::<u64>();
    let bytes = |shards: &[ShardInfo]| shards.iter().map(|shard| shard.file_bytes).sum::<u64>();
    let mut text = String::from("---\nconfigs:\n- config_name: default\n  data_files:\n");

    for (split, shards) in [("train", &curriculum.train), ("validation", &curriculum.validation)] {
        if !shards.is_empty() {
            let _ = write!(text, "  - split: {split}\n    path: data/{split}-*.parquet\n");
        }
    }

    if !about.languages.is_empty() {
        text.push_str("language:\n");
        about.languages.keys().filter(|language| *language != "unknown").for_each(|language| {
            let _ = writeln!(text, "- \"{}\"", language.replace(['"', '\\'], ""));
        });
    }

    let total = rows(&curriculum.train) + rows(&curriculum.validation);
    let _ = write!(text, "size_categories:\n- {}\n", size_category(total));
    text.push_str(
        "license: other\ntask_categories:\n- fill-mask\n- text-generation\ntags:\n- curriculum\n- \
         continued-pretraining\n---\n\n",
    );
    text.push_str("# Curriculum-ordered training shards\n\n");
    let _ = write!(
        text,
        "Written by kpipe {}. The rows of `train` stand in training order (`seq`); read the shards \
         one after the \
         other and do not shuffle them.\n\n",
        env!("CARGO_PKG_VERSION")
    );

    text.push_str(
        "```python\nfrom datasets import load_dataset\n\ntrain = load_dataset(\"out\", \
         split=\"train\")\n```\n\n",
    );
    text.push_str("| split | rows | shards | bytes |\n|---|---:|---:|---:|\n");

    for (split, shards) in [("train", &curriculum.train), ("validation", &curriculum.validation)] {
        let _ =
            writeln!(text, "| {split} | {} | {} | {} |", rows(shards), shards.len(), bytes(shards));
    }

    text.push_str("\n## Sources\n\n| source | role | licence | documents |\n|---|---|---|---:|\n");
    for (name, role, licence, documents) in &about.sources {
        let licence = licence.replace('|', "\\|");
        let _ = writeln!(text, "| {name} | {role} | {licence} | {documents} |");
    }

    order_section(&mut text, curriculum);
    text.push_str("\n## Columns\n\n| column | type | meaning |\n|---|---|---|\n");

    for (name, kind, meaning) in &about.columns {
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} |",
            kind.replace('|', "\\|"),
            meaning.replace('|', "\\|")
        );
    }

    text
}

fn order_section(text: &mut String, curriculum: &Curriculum) {
    let pacing = &curriculum.pacing;
    let _ = write!(
        text,
        "\n## Order\n\nThe first {} of {} positions hold general text only. Behind them the share \
         of domain text grows \
         to {:.1} % of the tokens and the share of hard text to {:.1} %.\n\n| stratum | positions \
         |\n|---|---:|\n",
        pacing.n_first,
        pacing.n_positions,
        100.0 * pacing.domain_peak,
        100.0 * pacing.hard_peak
    );

    for (stratum, n) in STRATA.iter().zip(pacing.n_of) {
        let _ = writeln!(text, "| {stratum} | {n} |");
    }
    for note in &curriculum.notes {
        let _ = write!(text, "\nNote: {note}.\n");
    }
}

/// The hub's size categories.
fn size_category(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        _ => "n>10M",
    }
}
