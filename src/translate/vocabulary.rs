//! The two SentencePiece models and the vocabulary of a MarianMT folder, as transformers'
//! `MarianTokenizer` uses them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::flow::dataset::read_json;
use crate::train::data::tokenizer::sentencepiece::{SentencePiece, text_of};

/// Cuts sources.
pub const SOURCE: &str = "source.spm";
/// Cuts targets; here it is only looked for, since pieces become text without it.
pub const TARGET: &str = "target.spm";
/// Ids of the pieces of both languages, or of the source's.
pub const VOCABULARY: &str = "vocab.json";
/// Ids of the target's pieces, where they have a vocabulary of their own.
pub const TARGET_VOCABULARY: &str = "target_vocab.json";
const SETTINGS: &str = "tokenizer_config.json";
/// Names of ids that are no text.
const SPECIAL: [&str; 3] = ["</s>", "<unk>", "<pad>"];

/// See the module.
pub struct Vocabulary {
    source: SentencePiece,
    ids: HashMap<String, u32>,
    pieces: HashMap<u32, String>,
    unknown: u32,
    end: u32,
    /// Begins every text of a model of several target languages.
    target: Option<u32>,
    /// ISO 639 code of what is translated, as the folder says it.
    pub source_language: String,
    /// Of what it becomes.
    pub target_language: String,
}

impl Vocabulary {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// If one is missing or broken, or `target` is no token of the vocabulary.
    pub fn read(folder: &Path, target: &str) -> Result<Self> {
        let json = |name: &str| -> Result<BTreeMap<String, u32>> {
            let missing = || {
                Error::usage(format!("`{}` holds no `{name}`", folder.display())).hint(
                    "give a folder of a MarianMT model with all of its files, such as \
                     `Helsinki-NLP/opus-mt-en-zh` from the hub",
                )
            };
            read_json(&folder.join(name))?.ok_or_else(missing)
        };
        let ids: HashMap<String, u32> = json(VOCABULARY)?.into_iter().collect();
        let settings: Value = read_json(&folder.join(SETTINGS))?.unwrap_or_default();
        let is_apart = settings["separate_vocabs"].as_bool().unwrap_or(false);
        let pieces: HashMap<u32, String> = match is_apart {
            true => json(TARGET_VOCABULARY)?.into_iter().map(|(piece, id)| (id, piece)).collect(),
            false => ids.iter().map(|(piece, id)| (*id, piece.clone())).collect(),
        };
        let target_model = folder.join(TARGET);
        if !target_model.is_file() {
            return Err(Error::usage(format!("`{}` holds no `{TARGET}`", folder.display()))
                .hint("copy the folder with all of its files"));
        }

        let id = |name: &str| {
            ids.get(name).copied().ok_or_else(|| {
                Error::data(format!("`{VOCABULARY}` has no `{name}`")).at(folder.display())
            })
        };
        let [source_language, target_language] = languages(folder, &settings)?;
        Ok(Vocabulary {
            source: SentencePiece::read(&folder.join(SOURCE))?,
            unknown: id("<unk>")?,
            end: id("</s>")?,
            target: match target {
                "" => None,
                token => Some(target_token(&ids, token).map_err(|e| e.at(folder.display()))?),
            },
            ids,
            pieces,
            source_language,
            target_language,
        })
    }

    /// One more than the highest id of a source.
    pub fn size(&self) -> usize {
        self.ids.values().max().map_or(0, |most| *most as usize + 1)
    }

    /// The ids of a text, the end token behind them. A token such as `>>cmn_Hans<<` at its
    /// beginning names the target language, whatever the model was opened with.
    ///
    /// # Errors
    /// If it cannot be cut, which would be a bug.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let code = text.starts_with(">>").then(|| text.find("<<").map(|at| at + 2)).flatten();
        let (code, rest) = text.split_at(code.unwrap_or(0));
        let id = |piece: &str| self.ids.get(piece).copied().unwrap_or(self.unknown);
        let mut ids: Vec<u32> = match code {
            "" => self.target.into_iter().collect(),
            code => vec![id(code)],
        };
        ids.extend(self.source.pieces(rest)?.iter().map(|piece| id(piece)));
        ids.push(self.end);
        Ok(ids)
    }

    /// The text of a translation's ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> String {
        let known = ids.iter().filter_map(|id| self.pieces.get(id).map(String::as_str));
        text_of(known.filter(|piece| !SPECIAL.contains(piece)))
    }
}

/// The id of a target language's token.
fn target_token(ids: &HashMap<String, u32>, token: &str) -> Result<u32> {
    let known = || {
        let mut all: Vec<&str> = ids.keys().map(String::as_str).collect();
        all.retain(|piece| piece.starts_with(">>") && piece.ends_with("<<"));
        all.sort_unstable();
        match all.is_empty() {
            true => "the model has one target language: leave it empty".to_string(),
            false => format!("it knows {}", all.join(", ")),
        }
    };
    let is_code = token.starts_with(">>") && token.ends_with("<<");
    ids.get(token).copied().filter(|_| is_code).ok_or_else(|| {
        Error::usage(format!("the model has no target language `{token}`")).hint(known())
    })
}

/// Source and target by `tokenizer_config.json`, else by the folder's name (`opus-mt-en-zh`).
fn languages(folder: &Path, settings: &Value) -> Result<[String; 2]> {
    let said = ["source_lang", "target_lang"].map(|key| settings[key].as_str());
    if let [Some(source), Some(target)] = said {
        return Ok([source.to_string(), target.to_string()]);
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let parts: Vec<&str> = name.as_deref().unwrap_or_default().split('-').collect();
    match parts[..] {
        ["opus", "mt", .., source, target] => Ok([source.to_string(), target.to_string()]),
        _ => Err(Error::data(format!(
            "`{}` does not say from which language it translates into which",
            folder.display()
        ))
        .hint(format!("write `source_lang` and `target_lang` into its `{SETTINGS}`"))),
    }
}
