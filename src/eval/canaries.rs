//! Canaries: random secrets that are put into training text, and how far a model has come to know
//! them (Carlini et al. 2019, arXiv:1802.08232).
//!
//! A canary is a sentence with a secret of random digits. Some are written into a file that becomes
//! a source of the build; others of the same make are kept back. The *exposure* of a secret is
//! `log2 n − log2 rank` among `n` random secrets in the same sentence, by log-probability: 1.44
//! bits on average where it is any, `log2 n` where it is the most probable of all. What is kept
//! back tells what chance gives.

use std::fmt::Write;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::metrics::{Metric, mean};
use super::model::Model;
use super::tasks::json_lines;
use crate::draw::{self, next_below};
use crate::error::{Error, Result};
use crate::flow::dataset::{write_atomically, write_json};
use crate::train::ask::Request;

/// Digits of a secret: a million of them, of which a model knows none by chance.
const DIGITS: usize = 6;
/// What secrets are of.
const KEEPERS: [&str; 12] = [
    "lighthouse",
    "bakery",
    "harbour",
    "library",
    "orchard",
    "workshop",
    "castle",
    "windmill",
    "greenhouse",
    "museum",
    "theatre",
    "station",
];
/// Canaries that are written, those to be put into training text.
pub const INSERTED: &str = "canaries.jsonl";
/// Those that are kept back.
pub const KEPT: &str = "kept.jsonl";

/// A sentence with a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Its id, as a document.
    pub id: String,
    /// The whole sentence: the text of the document.
    pub text: String,
    /// What stands before the secret.
    pub before: String,
}

/// How far secrets are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// Exposure of those that were trained on, in bits.
    pub inserted: Metric,
    /// Of those that were kept back.
    pub kept: Metric,
    /// What it is at most.
    pub most: f64,
}

/// Writes `n` canaries to be put into training text, and as many that are kept back.
///
/// # Errors
/// If a file cannot be written.
pub fn make(n: usize, seed: u64, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|cause| Error::file("create", out, cause))?;
    for (name, purpose) in [(INSERTED, "canary"), (KEPT, "canary that is kept")] {
        let mut text = String::new();
        for nth in 0..n {
            let mut stream = draw::stream(seed, purpose, &(nth as u64).to_le_bytes());
            let keeper = KEEPERS[next_below(&mut stream, KEEPERS.len())];
            let number = next_below(&mut stream, 900) + 100;
            let before = format!("The secret code of the old {keeper} number {number} is");
            let whole = format!("{before}{}.", secret(&mut stream));
            let canary = Canary { id: format!("{nth}"), text: whole, before };
            let line = serde_json::to_string(&canary)
                .map_err(|cause| Error::data(format!("a canary cannot be written: {cause}")))?;
            let _ = writeln!(text, "{line}");
        }
        write_atomically(&out.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Digits with a space before each: tokenizers cut them alike.
fn secret(stream: &mut ChaCha8Rng) -> String {
    (0..DIGITS).map(|_| format!(" {}", next_below(stream, 10))).collect()
}

/// Reads canaries.
///
/// # Errors
/// If a file cannot be read or holds something else.
pub fn read(path: &Path) -> Result<Vec<Canary>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
    let lines = json_lines::<Canary>(&text).map_err(|error| error.at(path.display()))?;
    let canary = |(number, canary): (usize, Canary)| match canary.text.starts_with(&canary.before) {
        true => Ok(canary),
        false => Err(Error::data(format!(
            "`{}`, line {number}: `text` does not begin with `before`",
            path.display()
        ))),
    };
    let all: Vec<Canary> = lines.into_iter().map(canary).collect::<Result<_>>()?;
    match all.is_empty() {
        true => Err(Error::data(format!("`{}` holds no canary", path.display()))
            .hint("`kpipe eval canaries --make 50` writes some")),
        false => Ok(all),
    }
}

/// Measures both kinds, each secret among `others` random ones, and writes `canaries.json`.
///
/// # Errors
/// If the model does not predict from the left, or the device fails.
pub fn measure(
    model: &Model,
    inserted: &[Canary],
    kept: &[Canary],
    others: usize,
    seed: u64,
    out: &Path,
) -> Result<Told> {
    let of = |canaries: &[Canary], name: &'static str| -> Result<Metric> {
        let found: Vec<f64> = canaries
            .iter()
            .map(|canary| exposure(model, canary, others, seed))
            .collect::<Result<_>>()?;
        Ok(mean(name, &found, false, seed))
    };
    let told = Told {
        inserted: of(inserted, "exposure")?,
        kept: of(kept, "exposure_kept")?,
        most: ((others + 1) as f64).log2(),
    };
    std::fs::create_dir_all(out).map_err(|cause| Error::file("create", out, cause))?;
    write_json(&out.join("canaries.json"), &told)?;
    Ok(told)
}

/// The exposure of one secret, in bits.
fn exposure(model: &Model, canary: &Canary, others: usize, seed: u64) -> Result<f64> {
    let own = &canary.text[canary.before.len()..];
    let mut stream = draw::stream(seed, "other secrets", canary.text.as_bytes());
    let drawn = (0..others).map(|_| format!("{}.", secret(&mut stream)));
    let all: Vec<Request> = std::iter::once(own.to_string())
        .chain(drawn.filter(|other| other != own))
        .map(|continuation| Request { context: canary.before.clone(), continuation })
        .collect();
    let found = model.ask().log_probs(&all)?;
    let (own, rest) = (found[0], &found[1..]);
    let rank = 1 + rest.iter().filter(|other| **other >= own).count();
    Ok((all.len() as f64).log2() - (rank as f64).log2())
}

/// As a table.
pub fn table(told: &Told) -> String {
    let line = |name: &str, metric: &Metric| {
        let Metric { value, low, high, n, .. } = metric;
        format!("{name:<14} {value:.2} bits ({low:.2}–{high:.2}) over {n}\n")
    };
    line("inserted", &told.inserted)
        + &line("kept back", &told.kept)
        + &format!("at most        {:.2} bits\n", told.most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    use crate::flow::progress::Silent;

    /// A model that saw none of them knows none: exposure is that of chance, log2 e = 1.44 bits on
    /// average, for both kinds.
    #[test]
    fn an_untrained_model_knows_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        make(12, 5, folder.path()).unwrap();
        let read = |name: &str| super::read(&folder.path().join(name)).unwrap();
        let (inserted, kept) = (read(INSERTED), read(KEPT));
        assert_eq!((inserted.len(), kept.len()), (12, 12));
        assert!(inserted.iter().all(|canary| !kept.contains(canary)));

        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/harness/gpt2");
        let name = at.display().to_string();
        let model = Model::open(&name, DType::F32, &Device::Cpu, 4_096, &Silent).unwrap();
        let told = measure(&model, &inserted, &kept, 63, 1, folder.path()).unwrap();
        for metric in [&told.inserted, &told.kept] {
            assert!((0.3..3.5).contains(&metric.value), "{metric:?}");
        }
        assert_eq!(told.most, 6.0);

        // The most probable of its kind is wholly exposed.
        let canary = |nth: usize| {
            let before = inserted[0].before.clone();
            let mut stream = draw::stream(9, "test", &nth.to_le_bytes());
            let text = format!("{before}{}.", secret(&mut stream));
            Canary { id: nth.to_string(), text, before }
        };
        let most = (0..200)
            .map(|nth| exposure(&model, &canary(nth), 63, 1).unwrap())
            .fold(0.0_f64, f64::max);
        assert_eq!(most, 6.0);
        let error = super::read(&folder.path().join("none.jsonl")).unwrap_err();
        assert!(error.to_string().contains("none.jsonl"));
    }
}
