//! Neural machine translation: MarianMT models (Junczys-Dowmunt et al. 2018, arXiv:1804.00344) in
//! the folders that Hugging Face publishes, such as `Helsinki-NLP/opus-mt-en-zh`.
//!
//! [`Translator`] cuts texts into pieces ([`vocabulary`]), sorts them by length into batches,
//! encodes a batch at once and writes its translations token by token ([`marian`]) by greedy or
//! beam search ([`search`]), which are those of transformers to the token. On the CPU it computes
//! in f32, on a GPU in bf16.

pub mod marian;
pub mod search;
pub mod vocabulary;

use std::path::Path;

use candle_core::Device;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::flow::disk::hash_file;
use marian::{Decoding, Marian};
use search::{Generation, Row};
use vocabulary::Vocabulary;

/// Texts that are translated at once.
const BATCH: usize = 32;
/// A translation may have so many times the tokens of its source, and [`FEW`] more: what is longer
/// repeats itself.
const LONGEST: usize = 3;
/// See [`LONGEST`].
const FEW: usize = 20;

/// A model that translates one language into another.
pub struct Translator {
    model: Marian,
    vocabulary: Vocabulary,
    generation: Generation,
}

impl Translator {
    /// Reads a folder; `target` is a token such as `>>cmn_Hans<<` for models of several target
    /// languages, and empty for others.
    ///
    /// # Errors
    /// If a file is missing or broken, the model is of another kind, or a setting of it changes the
    /// translation and is none that kpipe computes; names the file and the key.
    pub fn open(folder: &Path, target: &str, device: &Device) -> Result<Self> {
        let vocabulary = Vocabulary::read(folder, target)?;
        let generation = Generation::read(folder)?;
        let model = Marian::read(folder, device)?;
        let (most, n) = (vocabulary.size(), model.vocabulary());
        if most > n {
            return Err(Error::data(format!(
                "`vocab.json` has ids up to {}, and the model embeddings of {n}",
                most - 1
            ))
            .at(folder.display())
            .hint("take all files of the folder from one version of the model"));
        }
        Ok(Translator { model, vocabulary, generation })
    }

    /// ISO 639 codes of the two languages, as the folder says them.
    pub fn languages(&self) -> (&str, &str) {
        (&self.vocabulary.source_language, &self.vocabulary.target_language)
    }

    /// Beams that the model's own `generation_config.json` asks for.
    pub fn own_beams(&self) -> usize {
        self.generation.beams
    }

    /// The translations of texts, in order, by so many beams (1 is greedy); `None` where a text is
    /// empty, is longer than the model takes, or has a translation that does not end.
    ///
    /// # Errors
    /// If the device fails.
    pub fn translate(&self, texts: &[String], beams: usize) -> Result<Vec<Option<String>>> {
        let pieces: Vec<Vec<u32>> =
            texts.iter().map(|text| self.vocabulary.encode(text)).collect::<Result<_>>()?;
        let mut order: Vec<usize> = (0..texts.len())
            .filter(|at| !texts[*at].trim().is_empty())
            .filter(|at| pieces[*at].len() <= self.model.longest())
            .collect();
        // Rows of like length are not padded.
        order.sort_by_key(|at| (pieces[*at].len(), *at));

        let mut found = vec![None; texts.len()];
        for batch in order.chunks(BATCH) {
            let rows: Vec<&[u32]> = batch.iter().map(|at| pieces[*at].as_slice()).collect();
            let most = |row: &&[u32]| LONGEST * row.len() + FEW;
            let caps: Vec<usize> = rows.iter().map(most).collect();
            for (at, ids) in batch.iter().zip(self.search(&rows, &caps, beams)?) {
                found[*at] = ids.map(|ids| self.vocabulary.decode(&ids));
            }
        }
        Ok(found)
    }

    /// The ids of the translations of rows of ids, none where there would be more than `caps`.
    fn search(
        &self,
        rows: &[&[u32]],
        caps: &[usize],
        beams: usize,
    ) -> Result<Vec<Option<Vec<u32>>>> {
        let most = self.generation.most.min(self.model.longest());
        let generation = Generation { beams, most, ..self.generation.clone() };
        let mut decoding: Decoding<'_> = self.model.encode(rows, generation.pad)?;
        let rows = caps.iter().map(|cap| Row::new(generation.start, *cap)).collect();
        search::run(&mut decoding, rows, &generation)
    }
}

/// A hash of the files that a translation depends on.
///
/// # Errors
/// If one cannot be read.
pub fn version(folder: &Path) -> Result<String> {
    let files = [
        marian::CONFIG,
        marian::WEIGHTS,
        marian::PICKLE,
        search::GENERATION,
        vocabulary::SOURCE,
        vocabulary::TARGET,
        vocabulary::VOCABULARY,
        vocabulary::TARGET_VOCABULARY,
    ];
    let files = files.iter().map(|name| folder.join(name)).filter(|file| file.is_file());
    let hashes: Vec<String> = files.map(|file| hash_file(&file)).collect::<Result<_>>()?;
    Ok(format!("{:016x}", xxh3_64(hashes.concat().as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Expected {
        texts: Vec<String>,
        pieces: Vec<Vec<u32>>,
        search: BTreeMap<usize, Vec<Found>>,
    }

    #[derive(Deserialize)]
    struct Found {
        ids: Vec<u32>,
        text: String,
    }

    fn folder(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/marian").join(name)
    }

    fn expected(name: &str) -> Expected {
        let text = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Expected values: `fixtures/parity/marian.py`, by transformers 5.24.
    #[test]
    fn pieces_and_translations_are_those_of_transformers() {
        for name in ["shared", "narrow", "apart"] {
            let translator = Translator::open(&folder(name), "", &Device::Cpu).unwrap();
            let expected = expected(name);
            for (text, pieces) in expected.texts.iter().zip(&expected.pieces) {
                assert_eq!(&translator.vocabulary.encode(text).unwrap(), pieces, "{name} {text}");
            }
            let rows: Vec<&[u32]> = expected.pieces.iter().map(Vec::as_slice).collect();
            let caps = vec![usize::MAX; rows.len()];
            for (beams, all) in &expected.search {
                let found = translator.search(&rows, &caps, *beams).unwrap();
                for ((found, one), text) in found.into_iter().zip(all).zip(&expected.texts) {
                    let found = found.unwrap();
                    assert_eq!(found, one.ids, "{name}, {beams} beams, {text}");
                    assert_eq!(translator.vocabulary.decode(&found), one.text, "{name} {text}");
                }
                assert!(*beams == 1 || *beams == translator.own_beams());
            }
        }
    }

    #[test]
    fn a_batch_translates_as_each_text_alone() {
        let translator = Translator::open(&folder("narrow"), "", &Device::Cpu).unwrap();
        assert_eq!(translator.languages(), ("zh", "en"));
        let texts: Vec<String> = expected("narrow").texts;
        for beams in [1, 3] {
            let all = translator.translate(&texts, beams).unwrap();
            for (text, together) in texts.iter().zip(all) {
                let alone = translator.translate(std::slice::from_ref(text), beams).unwrap();
                assert_eq!(alone, [together], "{text}");
            }
        }
        let odd = [String::new(), "水".repeat(100), "水。".to_string()];
        let found = translator.translate(&odd, 1).unwrap();
        assert!(found[0].is_none() && found[1].is_none());
    }

    #[test]
    fn what_is_missing_or_not_computed_is_named() {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder("narrow")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let open = || Translator::open(copy.path(), "", &Device::Cpu).map(|_| ());
        open().unwrap();
        let tell = |file: &str, text: Option<String>| {
            let place = copy.path().join(file);
            let before = std::fs::read(&place).unwrap();
            match text {
                Some(text) => std::fs::write(&place, text).unwrap(),
                None => std::fs::remove_file(&place).unwrap(),
            }
            let error = open().unwrap_err().to_string();
            std::fs::write(&place, before).unwrap();
            error
        };

        for file in ["config.json", "source.spm", "target.spm", "vocab.json", "model.safetensors"] {
            let error = tell(file, None);
            assert!(error.contains(file), "{file}: {error}");
        }
        let config = std::fs::read_to_string(copy.path().join("config.json")).unwrap();
        let error = tell("config.json", Some(config.replace("\"relu\"", "\"mish\"")));
        assert!(error.contains("mish"), "{error}");
        let error = tell("config.json", Some(config.replace("\"marian\"", "\"t5\"")));
        assert!(error.contains("`t5`"), "{error}");
        let error = tell("config.json", Some(config.replace("\"d_model\": 24", "\"d_model\": 28")));
        assert!(error.contains("28"), "{error}");
        let generation = "{\"eos_token_id\": 0, \"pad_token_id\": 2, \"decoder_start_token_id\": \
                          2, \"no_repeat_ngram_size\": 3}";
        let error = tell("generation_config.json", Some(generation.to_string()));
        assert!(error.contains("no_repeat_ngram_size"), "{error}");
        let error = tell("model.safetensors", Some("cut off".to_string()));
        assert!(error.contains("model.safetensors"), "{error}");

        let wrong = Translator::open(copy.path(), ">>deu<<", &Device::Cpu).map(|_| ());
        let error = wrong.unwrap_err().to_string();
        assert!(error.contains(">>deu<<") && error.contains(">>cmn_Hans<<"), "{error}");
    }
}
