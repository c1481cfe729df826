//! The tokenizer: trained on the shards with the `tokenizers` crate, or read from a
//! `tokenizer.json`.
//!
//! `wordpiece` is BERT's: the BERT normaliser (Chinese characters stand alone), words and
//! punctuation, `##` pieces. `bpe` is GPT-2's byte-level pairs. Both have the special tokens of the
//! family they are for. Training is reproducible: see `tokenizer/learn.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer as Inner,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::draw;
use crate::error::{Error, Result};
use crate::flow::dataset::write_atomically;
use crate::flow::foreign::caught;
use crate::train::data::marks::Mark;
use crate::train::data::shards::Shards;
use crate::train::model::{Family, Language, Special, bert};
use crate::train::params::{self, TokenizerKind};

mod learn;
pub mod sentencepiece;

use learn::Characters;

/// What stands around the pieces of a window, and the tokens that mean something to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How the model learns language.
    pub language: Language,
    /// Fills short rows.
    pub pad: u32,
    /// Begins every row.
    pub before: Vec<u32>,
    /// Ends every row.
    pub behind: Vec<u32>,
    /// Ends a document, where `behind` does not.
    pub end: Option<u32>,
    /// Stands where a token is to be predicted ([`Language::Masked`]).
    pub mask: u32,
    /// Stand for the spans that were left out, the first one first ([`Language::Spans`]).
    pub sentinels: Vec<u32>,
    /// Begins every row of the decoder ([`Language::Spans`]).
    pub decoder_start: u32,
}

impl Frame {
    /// Most tokens it adds to the pieces of a row.
    pub fn width(&self) -> usize {
        self.before.len() + self.behind.len() + usize::from(self.end.is_some())
    }

    /// A row of these pieces, with a `line` about their source before them; `ends` where the
    /// document ends behind them.
    pub fn around(&self, line: &[u32], ids: &[u32], ends: bool) -> Vec<u32> {
        let end = self.end.filter(|_| ends);
        let inner = self.before.iter().chain(line).chain(ids).copied().chain(end);
        inner.chain(self.behind.iter().copied()).collect()
    }
}

/// A tokenizer with what the trainer needs to know about it.
pub struct Tokenizer {
    inner: Inner,
    /// What stands around the pieces.
    pub frame: Frame,
    /// Ids that are words or pieces, so that a random replacement is never a special token.
    pub ordinary: Vec<u32>,
    /// One more than the highest id: the rows of the word embeddings.
    pub vocabulary: usize,
    json: String,
}

/// The pieces of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pieces {
    /// Piece ids.
    pub ids: Vec<u32>,
    /// For each piece, the number of the word it belongs to.
    pub words: Vec<u32>,
    /// What stands at each piece; empty where nobody asked.
    pub marks: Vec<Mark>,
}

impl Pieces {
    /// The pieces from `start` to before `end`.
    #[must_use]
    pub fn cut(&self, start: usize, end: usize) -> Pieces {
        Pieces {
            ids: self.ids[start..end].to_vec(),
            words: self.words[start..end].to_vec(),
            marks: self.marks.get(start..end).unwrap_or_default().to_vec(),
        }
    }
}

/// What may stand for a masked piece, the first one first. The last is how a byte-level vocabulary
/// writes the byte 0, which no text holds.
const MASKS: [&str; 5] = ["[MASK]", "<mask>", "<unk>", "[UNK]", "Ā"];
/// Larger files are no tokenizers: the largest known has 35 MB.
const MAX_BYTES: u64 = 512 << 20;

impl Tokenizer {
    /// Reads a `tokenizer.json` for a model that learns in this way; `config` is the model's
    /// `config.json`, which names some of the special tokens.
    ///
    /// # Errors
    /// If the file cannot be read, is no tokenizer, or lacks a special token that the model needs.
    pub fn read(path: &Path, language: Language, config: &Value) -> Result<Self> {
        let failed = |cause: std::io::Error| {
            let is_missing = cause.kind() == std::io::ErrorKind::NotFound;
            let error = Error::file("read", path, cause);
            match is_missing {
                true => error.hint(
                    "a folder with other tokenizer files gets one from transformers: \
                     `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`",
                ),
                false => error,
            }
        };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > MAX_BYTES {
            return Err(Error::data(format!("this is no tokenizer: it has {size} bytes"))
                .at(path.display()));
        }
        let json = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(json, language, config).map_err(|error| error.at(path.display()))
    }

    fn parse(json: String, language: Language, config: &Value) -> Result<Self> {
        let no_tokenizer =
            |cause: &dyn std::fmt::Display| Error::data(format!("this is no tokenizer: {cause}"));
        let inner =
            caught(|| Inner::from_bytes(json.as_bytes())).map_err(|cause| no_tokenizer(&cause))?;
        let mut inner = inner.map_err(|cause| no_tokenizer(&cause))?;
        // What a file says of cutting and padding is for single sentences; documents are cut into
        // windows here.
        inner.with_padding(None).with_truncation(None).map_err(|cause| no_tokenizer(&cause))?;
        let frame = match language {
            Language::Masked => masked_frame(&inner)?,
            Language::Causal => causal_frame(&inner, config)?,
            Language::Spans => span_frame(&inner, config)?,
        };
        let known: BTreeMap<u32, String> =
            inner.get_vocab(true).into_iter().map(|(piece, id)| (id, piece)).collect();
        let added: BTreeSet<u32> = inner.get_added_tokens_decoder().keys().copied().collect();
        let ordinary: Vec<u32> = known
            .iter()
            .filter(|(id, piece)| {
                !added.contains(id) && !bert::BERT.special.tokens.contains(&piece.as_str())
            })
            .map(|(id, _)| *id)
            .collect();

        let vocabulary = known.keys().next_back().map_or(0, |id| *id as usize + 1);
        if ordinary.is_empty() {
            return Err(Error::data("the tokenizer has special tokens only"));
        }
        Ok(Tokenizer { inner, frame, ordinary, vocabulary, json })
    }

    /// Trains a tokenizer for a family on a sample of the train shards.
    ///
    /// Documents are drawn by id with the probability that makes the sample about `sample_chars`
    /// long, so that it spans the whole curriculum and not only its general opening.
    ///
    /// # Errors
    /// If a shard cannot be read or holds no text.
    pub fn train(
        shards: &Shards,
        family: &Family,
        params: &params::Tokenizer,
        seed: u64,
    ) -> Result<Self> {
        if family.language != Language::Masked && params.kind == TokenizerKind::Wordpiece {
            return Err(Error::usage(format!(
                "`train.tokenizer.kind` is `wordpiece`, which is not for {}",
                family.name
            ))
            .hint("set `train.tokenizer.kind=bpe`"));
        }

        let total: u64 = shards.texts(&["n_chars"], |row| row.number("n_chars"))?;
        let share = params.sample_chars as f64 / total.max(1) as f64;
        let splitter = Splitter::new(params);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        shards.texts(&["id", "text"], |row| {
            if draw::unit(seed, "tokenizer", row.string("id")?.as_bytes()) < share {
                splitter.count(row.string("text")?, &mut counts)?;
            }
            Ok(0)
        })?;

        if counts.is_empty() {
            return Err(Error::data("the train shards hold no text to train a tokenizer on"));
        }
        Self::from_counts(&counts, family, params)
    }

    /// Trains a tokenizer on word counts.
    ///
    /// # Errors
    /// If the crate refuses the result, which would be a bug.
    pub fn from_counts(
        counts: &BTreeMap<String, u64>,
        family: &Family,
        params: &params::Tokenizer,
    ) -> Result<Self> {
        let inner = match params.kind {
            TokenizerKind::Wordpiece => wordpiece(counts, &family.special, params),
            TokenizerKind::Bpe => byte_level(counts, &family.special, params),
        };
        let json = inner.and_then(|inner| inner.to_string(true)).map_err(|cause| failed(&cause))?;
        Self::parse(json + "\n", family.language, &Value::Null)
    }

    /// The pieces of a text, without special tokens.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn pieces(&self, text: &str) -> Result<Pieces> {
        self.located(text).map(|(pieces, _)| pieces)
    }

    /// The same, and which bytes of the text each piece stands for.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn located(&self, text: &str) -> Result<(Pieces, Vec<Range<usize>>)> {
        // A pattern of a foreign file may give up on some text, and its library panics.
        let encoding = caught(|| self.inner.encode(text, false)).map_err(|words| failed(&words))?;
        let encoding = encoding.map_err(|cause| failed(&cause))?;
        let words = encoding.get_word_ids().iter().scan(0, |last, word| {
            *last = word.unwrap_or(*last);
            Some(*last)
        });
        let pieces =
            Pieces { words: words.collect(), ids: encoding.get_ids().to_vec(), marks: Vec::new() };
        let places = encoding.get_offsets().iter().map(|(start, end)| *start..*end).collect();
        Ok((pieces, places))
    }

    /// The piece that stands for a masked one: the one called `named`, or where that is empty the
    /// tokenizer's own, or one that no text holds.
    ///
    /// # Errors
    /// If there is none.
    pub fn mask(&self, named: &str) -> Result<u32> {
        let no_piece = |what: String| {
            Error::usage(what)
                .hint("`train.rows.masked.token` names a piece that texts do not hold")
        };
        if !named.is_empty() {
            let id = self.inner.token_to_id(named);
            return id.ok_or_else(|| no_piece(format!("the tokenizer has no piece `{named}`")));
        }
        if self.frame.language == Language::Masked {
            return Ok(self.frame.mask);
        }
        let ids = MASKS.iter().filter_map(|name| self.inner.token_to_id(name));
        let mut free = ids.filter(|id| self.frame.end != Some(*id) && *id != self.frame.pad);
        free.next().ok_or_else(|| no_piece("no piece of the tokenizer can mask another".into()))
    }

    /// The piece with this id.
    pub fn piece(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Writes `tokenizer.json`, byte for byte what was read or trained.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.json.as_bytes())
    }

    /// xxh3-128 of `tokenizer.json`, as 32 hex digits.
    pub fn hash(&self) -> String {
        format!("{:032x}", xxh3_128(self.json.as_bytes()))
    }
}

fn id_of(inner: &Inner, name: &str) -> Result<u32> {
    inner.token_to_id(name).ok_or_else(|| {
        Error::data(format!("the tokenizer has no token `{name}`"))
            .hint("take the tokenizer of the model, or leave `train.tokenizer.file` empty")
    })
}

/// The id that `config.json` gives a token; of several, the first.
fn configured(config: &Value, key: &str) -> Option<u32> {
    let value = config.get(key)?;
    value.as_array().map_or(Some(value), |several| several.first())?.as_u64()?.try_into().ok()
}

/// BERT's: `[CLS] … [SEP]`.
fn masked_frame(inner: &Inner) -> Result<Frame> {
    let id = |name| id_of(inner, name);
    Ok(Frame {
        language: Language::Masked,
        pad: id("[PAD]")?,
        before: vec![id("[CLS]")?],
        behind: vec![id("[SEP]")?],
        end: None,
        mask: id("[MASK]")?,
        sentinels: Vec::new(),
        decoder_start: 0,
    })
}

/// What the tokenizer's own post-processor puts around a row, and the end of a document behind its
/// last.
fn causal_frame(inner: &Inner, config: &Value) -> Result<Frame> {
    let encode = |special: bool| {
        let encoding = caught(|| inner.encode("a", special)).map_err(|words| failed(&words))?;
        encoding.map_err(|cause| failed(&cause))
    };
    let (bare, framed) = (encode(false)?, encode(true)?);
    let (bare, framed) = (bare.get_ids(), framed.get_ids());
    let at = framed.windows(bare.len().max(1)).position(|window| window == bare).unwrap_or(0);
    let (before, behind) =
        (framed[..at].to_vec(), framed[framed.len().min(at + bare.len())..].to_vec());
    let named = ["<|endoftext|>", "</s>", "<|end_of_text|>", "[SEP]"];
    let end = configured(config, "eos_token_id")
        .or_else(|| named.iter().find_map(|name| inner.token_to_id(name)));
    let end = end.ok_or_else(|| {
        Error::data("neither the tokenizer nor `config.json` says which token ends a document")
            .hint("set `eos_token_id` in the model's `config.json`")
    })?;

    Ok(Frame {
        language: Language::Causal,
        pad: configured(config, "pad_token_id").unwrap_or(end),
        end: (behind.last() != Some(&end)).then_some(end),
        before,
        behind,
        mask: 0,
        sentinels: Vec::new(),
        decoder_start: 0,
    })
}

/// T5's: `… </s>`, with `<extra_id_0>` and so on for the spans.
fn span_frame(inner: &Inner, config: &Value) -> Result<Frame> {
    let pad = configured(config, "pad_token_id").map_or_else(|| id_of(inner, "<pad>"), Ok)?;
    let end = configured(config, "eos_token_id").map_or_else(|| id_of(inner, "</s>"), Ok)?;
    id_of(inner, "<extra_id_0>")?;
    Ok(Frame {
        language: Language::Spans,
        pad,
        before: Vec::new(),
        behind: vec![end],
        end: None,
        mask: 0,
        sentinels: (0..)
            .map_while(|nth: u32| inner.token_to_id(&format!("<extra_id_{nth}>")))
            .collect(),

        decoder_start: configured(config, "decoder_start_token_id").unwrap_or(pad),
    })
}

fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::data(format!("the tokenizer failed: {cause}"))
}

/// Cuts text into the words a subword model is trained on, as the finished tokenizer will.
enum Splitter {
    Bert(BertNormalizer),
    Bytes(ByteLevel),
}

impl Splitter {
    fn new(params: &params::Tokenizer) -> Self {
        match params.kind {
            TokenizerKind::Wordpiece => Splitter::Bert(normaliser(params)),
            TokenizerKind::Bpe => Splitter::Bytes(bytes()),
        }
    }

    fn count(&self, text: &str, counts: &mut BTreeMap<String, u64>) -> Result<()> {
        let mut normal = NormalizedString::from(text);
        let split = match self {
            Splitter::Bert(normaliser) => normaliser.normalize(&mut normal).and_then(|()| {
                let mut split = PreTokenizedString::from(normal);
                BertPreTokenizer.pre_tokenize(&mut split).map(|()| split)
            }),
            Splitter::Bytes(bytes) => {
                let mut split = PreTokenizedString::from(normal);
                bytes.pre_tokenize(&mut split).map(|()| split)
            }
        };

        let split = split.map_err(|cause| failed(&cause))?;
        for (word, _, _) in split.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            match counts.get_mut(word) {
                Some(n) => *n += 1,
                None => drop(counts.insert(word.to_string(), 1)),
            }
        }

        Ok(())
    }
}

fn normaliser(params: &params::Tokenizer) -> BertNormalizer {
    BertNormalizer::new(true, true, None, params.lowercase)
}

fn bytes() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

fn wordpiece(
    counts: &BTreeMap<String, u64>,
    special: &Special,
    params: &params::Tokenizer,
) -> tokenizers::Result<Inner> {
    let characters =
        Characters { special: special.names(), prefix: "##", alphabet: BTreeSet::new() };
    let learned = learn::learn(counts, &characters, params.vocabulary, params.min_frequency);
    let model =
        WordPiece::builder().vocab(numbered(&learned.pieces)).unk_token("[UNK]".into()).build()?;
    let mut inner = Inner::new(model);
    inner.with_normalizer(Some(normaliser(params)))?.with_pre_tokenizer(Some(BertPreTokenizer));
    inner.with_decoder(Some(WordPieceDecoder::default()));

    finish(inner, special)
}

fn byte_level(
    counts: &BTreeMap<String, u64>,
    special: &Special,
    params: &params::Tokenizer,
) -> tokenizers::Result<Inner> {
    let alphabet: BTreeSet<char> = ByteLevel::alphabet().into_iter().collect();
    let characters = Characters { special: special.names(), prefix: "", alphabet };
    let learned = learn::learn(counts, &characters, params.vocabulary, params.min_frequency);
    let model =
        BPE::builder().vocab_and_merges(numbered(&learned.pieces), learned.merges).build()?;
    let mut inner = Inner::new(model);
    inner.with_pre_tokenizer(Some(bytes())).with_decoder(Some(bytes()));
    finish(inner, special)
}

fn numbered(pieces: &[String]) -> Vocab {
    pieces.iter().zip(0..).map(|(piece, id)| (piece.clone(), id)).collect()
}

/// Adds the special tokens, and what stands around a row for whoever uses the exported tokenizer.
fn finish(mut inner: Inner, special: &Special) -> tokenizers::Result<Inner> {
    inner.add_special_tokens(
        special.names().into_iter().map(|token| AddedToken::from(token, true)),
    )?;
    let with_id = |name: &str| (name.to_string(), inner.token_to_id(name).unwrap_or_default());

    match (special.before, special.behind) {
        (None, None) => {}
        (Some(before), Some(behind)) => {
            let around = BertProcessing::new(with_id(behind), with_id(before));
            inner.with_post_processor(Some(around));
        }
        (before, behind) => {
            let single =
                [before, Some("$A"), behind].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let named: Vec<(String, u32)> = before.into_iter().chain(behind).map(with_id).collect();
            let around =
                TemplateProcessing::builder().try_single(single)?.special_tokens(named).build()?;
            inner.with_post_processor(Some(around));
        }
    }

    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::{default_params, grammar, shard_folder};

    fn small(kind: TokenizerKind) -> params::Tokenizer {
        params::Tokenizer { kind, vocabulary: 500, min_frequency: 2, ..default_params().tokenizer }
    }

    fn trained(kind: TokenizerKind) -> Tokenizer {
        let folder = shard_folder(&grammar(60, 1), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        Tokenizer::train(&shards, &bert::BERT, &small(kind), 1).unwrap()
    }

    #[test]
    fn training_twice_gives_the_same_json() {
        for kind in [TokenizerKind::Wordpiece, TokenizerKind::Bpe] {
            assert_eq!(trained(kind).json, trained(kind).json);
        }
    }

    /// Libraries panic on some of these; each must be an error that says what is wrong.
    #[test]
    fn damaged_tokenizers_are_errors() {
        let whole: Value = serde_json::from_str(&trained(TokenizerKind::Wordpiece).json).unwrap();
        let with = |key: &str, value: Value| {
            let mut changed = whole.clone();
            changed[key] = value;
            changed.to_string()
        };
        let bpe =
            serde_json::json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b", "c d"]});

        for text in [
            with("model", bpe),
            with(
                "normalizer",
                serde_json::json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            ),
            with(
                "model",
                serde_json::json!({"type": "Unigram", "unk_id": 5, "vocab": [["a", 0.0]]}),
            ),
            whole.to_string()[..900].to_string(),
            "[".repeat(100_000),
            "{}".to_string(),
        ] {
            let error = Tokenizer::parse(text, Language::Masked, &Value::Null).err().unwrap();
            assert!(error.what().starts_with("this is no tokenizer"), "{error}");
        }
    }

    /// What transformers sets anew at each call is not what a document is cut or filled to.
    #[test]
    fn truncation_and_padding_of_the_file_are_left_out() {
        let tokenizer = trained(TokenizerKind::Wordpiece);
        let mut json: Value = serde_json::from_str(&tokenizer.json).unwrap();
        json["truncation"] = serde_json::json!({"max_length": 4, "strategy": "LongestFirst",
            "stride": 0, "direction": "Right"});
        json["padding"] = serde_json::json!({"strategy": {"Fixed": 64}, "direction": "Right",
            "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
        let cutting = Tokenizer::parse(json.to_string(), Language::Masked, &Value::Null).unwrap();
        let text = &grammar(1, 1)[0].text;
        assert_eq!(cutting.pieces(text).unwrap().ids, tokenizer.pieces(text).unwrap().ids);
        assert!(tokenizer.pieces(text).unwrap().ids.len() > 4);
    }

    #[test]
    fn the_special_tokens_come_first_and_are_not_ordinary() {
        let tokenizer = trained(TokenizerKind::Wordpiece);
        let Frame { pad, before, behind, mask, .. } = &tokenizer.frame;
        assert_eq!((*pad, before.as_slice(), behind.as_slice(), *mask), (0, &[2][..], &[3][..], 4));
        assert!(tokenizer.ordinary.iter().all(|id| *id >= 5));
        assert_eq!(tokenizer.ordinary.len() + 5, tokenizer.vocabulary);
    }

    #[test]
    fn chinese_characters_stand_alone_and_pieces_know_their_word() {
        let counts: BTreeMap<String, u64> =
            [("阿", 9), ("司", 9), ("匹", 9), ("林", 9), ("dose", 9), ("doses", 9), ("cafe", 9)]
                .map(|(word, n)| (word.to_string(), n))
                .into();
        let params = params::Tokenizer { vocabulary: 40, ..small(TokenizerKind::Wordpiece) };
        let tokenizer = Tokenizer::from_counts(&counts, &bert::BERT, &params).unwrap();
        let pieces = tokenizer.pieces("阿司匹林 Doses, café").unwrap();
        assert_eq!(pieces.words[..4], [0, 1, 2, 3]);
        let named: Vec<String> = pieces.ids.iter().filter_map(|id| tokenizer.piece(*id)).collect();
        assert_eq!(
            named,
            ["阿", "司", "匹", "林", "doses", "[UNK]", "cafe"],
            "the comma was never seen"
        );
        let longer = tokenizer.pieces("dosess cafe").unwrap();

        assert_eq!(longer.words, [0, 0, 1], "a ## piece belongs to the word before it");
    }

    #[test]
    fn bytes_are_never_unknown() {
        let tokenizer = trained(TokenizerKind::Bpe);
        let pieces = tokenizer.pieces("Ωμέγα 林 🙂").unwrap();
        let ids: Vec<u32> = pieces.ids;
        assert_eq!(tokenizer.inner.decode(&ids, true).unwrap(), "Ωμέγα 林 🙂");
    }

    #[test]
    fn a_file_without_mask_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        trained(TokenizerKind::Wordpiece).save(&path).unwrap();
        let read = |path| Tokenizer::read(path, Language::Masked, &Value::Null);
        assert_eq!(read(&path).unwrap().hash(), trained(TokenizerKind::Wordpiece).hash());
        let without = std::fs::read_to_string(&path).unwrap().replace("[MASK]", "[MISK]");
        std::fs::write(&path, without).unwrap();
        assert!(read(&path).err().unwrap().to_string().contains("no token `[MASK]`"));
        let spans = Tokenizer::read(
            &path,
            Language::Spans,
            &serde_json::json!({"pad_token_id": 0, "eos_token_id": 1}),
        );
        assert!(spans.err().unwrap().to_string().contains("no token `<extra_id_0>`"));
        std::fs::write(&path, "{}").unwrap();

        assert!(read(&path).err().unwrap().to_string().contains("no tokenizer"));
    }
}
