//! SentencePiece models (`source.spm`, `spiece.model`) of the unigram kind: what a text is in
//! their pieces (Kudo and Richardson 2018, arXiv:1808.06226).
//!
//! The file is a protocol buffer (`sentencepiece_model.proto`). A text is first brought into the
//! model's form, by the rules that the file carries: at each place the longest rule applies, as in
//! `normalizer.cc`. Then the pieces of the greatest sum of scores are looked for, by the crate
//! `tokenizers`.

use std::path::Path;

use prost::Message;
use tokenizers::models::unigram::Unigram;

use crate::error::{Error, Result};

/// What stands for a space in pieces.
pub const SPACE: char = '▁';
/// Stands for a piece that is none in the list that `tokenizers` gets: noncharacters, which no
/// text holds, since it would match them.
const UNKNOWN: &str = "\u{10ffff}\u{10fffe}";

/// The parts of `ModelProto` that say how a text is cut.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(enumeration = "Kind", optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    /// 1 is unigram, 2 byte pairs, 3 words, 4 characters.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

/// A model that cuts texts.
pub struct SentencePiece {
    unigram: Unigram,
    rules: Rules,
    /// Whether a character without a piece becomes the pieces of its bytes.
    by_bytes: bool,
}

/// How a text is brought into the model's form.
struct Rules {
    /// The double array of the characters to be replaced, and what replaces them.
    map: Option<CharsMap>,
    begins_with_space: bool,
    joins_spaces: bool,
    escapes_spaces: bool,
    /// Pieces that no rule touches.
    untouched: Vec<String>,
}

impl SentencePiece {
    /// Reads a model.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or is of another kind than unigram.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
        Self::parse(&bytes).map_err(|error| error.at(path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let broken =
            |cause: &dyn std::fmt::Display| Error::data(format!("no SentencePiece model: {cause}"));
        let model = Model::decode(bytes).map_err(|cause| broken(&cause))?;
        let trainer = model.trainer.clone().unwrap_or_default();
        if trainer.model_type.unwrap_or(1) != 1 {
            return Err(Error::data(
                "the SentencePiece model is of byte pairs, words or characters",
            )
            .hint("kpipe reads those of the kind `unigram`"));
        }
        if trainer.treat_whitespace_as_suffix.unwrap_or(false) {
            return Err(Error::data(
                "the SentencePiece model has `treat_whitespace_as_suffix`, which kpipe does not \
                 compute",
            ));
        }

        let kind = |piece: &Piece| piece.kind.unwrap_or(Kind::Normal as i32);
        let of_kind =
            |wanted: Kind| model.pieces.iter().filter(move |piece| kind(piece) == wanted as i32);
        let best = of_kind(Kind::Normal).filter_map(|piece| piece.score).fold(0.0, f32::max);
        let text = |piece: &Piece| piece.piece.clone().unwrap_or_default();

        let mut pieces = vec![(UNKNOWN.to_string(), 0.0)];
        pieces.extend(
            of_kind(Kind::Normal).map(|piece| (text(piece), f64::from(piece.score.unwrap_or(0.0)))),
        );
        // So that it always wins, as in `unigram_model.cc`.
        pieces.extend(of_kind(Kind::UserDefined).map(|piece| {
            let text = text(piece);
            let score = text.chars().count() as f32 * best - 0.1;
            (text, f64::from(score))
        }));
        pieces.extend(of_kind(Kind::Byte).map(|piece| (text(piece), f64::NEG_INFINITY)));
        if of_kind(Kind::Normal).all(|piece| text(piece).is_empty()) {
            return Err(broken(&"it has no pieces"));
        }

        let spec = model.normalizer.clone().unwrap_or_default();
        let map = spec.precompiled_charsmap.filter(|map| !map.is_empty());
        let by_bytes = trainer.byte_fallback.unwrap_or(false);
        // Bytes are put in place of what is unknown, and never matched.
        let matched = pieces.into_iter().filter(|(_, score)| score.is_finite()).collect();
        Ok(SentencePiece {
            unigram: Unigram::from(matched, Some(0), false).map_err(|cause| broken(&cause))?,
            rules: Rules {
                map: map.map(|map| CharsMap::parse(&map)).transpose()?,
                begins_with_space: spec.add_dummy_prefix.unwrap_or(true),
                joins_spaces: spec.remove_extra_whitespaces.unwrap_or(true),
                escapes_spaces: spec.escape_whitespaces.unwrap_or(true),
                untouched: of_kind(Kind::UserDefined).map(text).collect(),
            },
            by_bytes,
        })
    }

    /// The pieces of a text, in order; what has no piece stands as it is, several such characters
    /// together.
    ///
    /// # Errors
    /// If the crate refuses it, which would be a bug.
    pub fn pieces(&self, text: &str) -> Result<Vec<String>> {
        use tokenizers::Model as _;

        let normal = self.rules.normalise(text);
        let pieces = self
            .unigram
            .encode(&normal)
            .map_err(|cause| Error::data(format!("a text cannot be cut into pieces: {cause}")))?;
        let bytes = |piece: String| -> Vec<String> {
            match self.by_bytes && self.unigram.token_to_id(&piece).is_none() {
                true => piece.bytes().map(|byte| format!("<0x{byte:02X}>")).collect(),
                false => vec![piece],
            }
        };
        Ok(pieces.into_iter().flat_map(bytes).collect())
    }
}

/// The text that pieces stand for.
pub fn text_of<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
    let mut bytes: Vec<u8> = Vec::new();
    for piece in pieces {
        let byte = piece.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        match byte.and_then(|byte| u8::from_str_radix(byte, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(piece.as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).replace(SPACE, " ").trim().to_string()
}

impl Rules {
    /// `Normalizer::Normalize` of `normalizer.cc`.
    fn normalise(&self, text: &str) -> String {
        let space = if self.escapes_spaces { SPACE } else { ' ' };
        let mut rest = text;
        if self.joins_spaces {
            while let Some((" ", n)) = self.next(rest) {
                rest = &rest[n..];
            }
        }
        if rest.is_empty() {
            return String::new();
        }

        let mut normal = String::with_capacity(text.len() + 4);
        if self.begins_with_space {
            normal.push(space);
        }
        let mut is_behind_space = self.joins_spaces;
        while let Some((mut said, n)) = self.next(rest) {
            if is_behind_space {
                said = said.trim_start_matches(' ');
            }
            normal.extend(said.chars().map(|c| if c == ' ' { space } else { c }));
            if !said.is_empty() {
                is_behind_space = said.ends_with(' ');
            }
            is_behind_space &= self.joins_spaces;
            rest = &rest[n..];
        }
        if self.joins_spaces {
            normal.truncate(normal.trim_end_matches(space).len());
        }
        normal
    }

    /// What the first characters of a text become, and how many bytes those are.
    fn next<'a>(&'a self, text: &'a str) -> Option<(&'a str, usize)> {
        let first = text.chars().next()?;
        let untouched = self.untouched.iter().filter(|piece| text.starts_with(piece.as_str()));
        if let Some(piece) = untouched.max_by_key(|piece| piece.len()) {
            return Some((&text[..piece.len()], piece.len()));
        }
        let replaced = self.map.as_ref().and_then(|map| map.longest(text));
        Some(replaced.unwrap_or((&text[..first.len_utf8()], first.len_utf8())))
    }
}

/// `precompiled_charsmap`: the length of a double array in bytes, the array, and replacements that
/// end in NUL, at the places that the array gives.
struct CharsMap {
    units: Vec<u32>,
    replacements: String,
}

impl CharsMap {
    fn parse(map: &[u8]) -> Result<Self> {
        let broken = || Error::data("the rules of the SentencePiece model are broken");
        let (length, rest) = map.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() || length < 4 {
            return Err(broken());
        }
        let (array, replacements) = rest.split_at(length);
        let unit = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let replacements = String::from_utf8(replacements.to_vec()).map_err(|_| broken())?;
        Ok(CharsMap { units: array.chunks_exact(4).map(unit).collect(), replacements })
    }

    /// What the longest known beginning of a text becomes, and its length in bytes: a walk through
    /// Darts' double array.
    fn longest<'a>(&'a self, text: &str) -> Option<(&'a str, usize)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let unit = |at: usize| self.units.get(at).copied();
        let mut at = offset(unit(0)?);
        let mut found = None;
        for (nth, byte) in text.bytes().enumerate() {
            at ^= byte as usize;
            let Some(here) = unit(at) else { break };
            if here & ((1 << 31) | 0xff) != u32::from(byte) || byte == 0 {
                break;
            }
            at ^= offset(here);
            if here >> 8 & 1 == 1 {
                found = unit(at).map(|leaf| ((leaf & ((1 << 31) - 1)) as usize, nth + 1));
            }
        }
        let (start, n) = found?;
        let rest = self.replacements.get(start..)?;
        Some((rest.split('\0').next().unwrap_or_default(), n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity/marian")
    }

    #[test]
    fn what_is_no_model_is_told() {
        let error = SentencePiece::parse(b"not one").err().unwrap().to_string();
        assert!(error.contains("SentencePiece"), "{error}");
        let pairs = Model {
            trainer: Some(Trainer { model_type: Some(2), ..Trainer::default() }),
            ..Model::default()
        };
        let error = SentencePiece::parse(&pairs.encode_to_vec()).err().unwrap().to_string();
        assert!(error.contains("unigram"), "{error}");
        assert!(CharsMap::parse(&[1, 2]).is_err() && CharsMap::parse(&[255; 8]).is_err());
    }

    /// Expected values: sentencepiece 0.2.3 on the fixture,
    /// `spm.SentencePieceProcessor(model_file=...).normalize(text)`.
    #[test]
    fn a_text_is_brought_into_the_models_form() {
        let model = SentencePiece::read(&folder().join("shared/source.spm")).unwrap();
        let cases = [
            ("  two   spaces ", "▁two▁spaces"),
            ("The ﬁrst ① dose", "▁The▁first▁1▁dose"),
            ("２０ｍｇ\u{3000}x", "▁20mg▁x"),
            ("a\tb\u{200b}c", "▁a▁b▁c"),
            ("", ""),
            ("   ", ""),
            ("ｶﾞ e\u{301}", "▁ガ▁é"),
        ];
        for (text, expected) in cases {
            assert_eq!(model.rules.normalise(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pieces_become_text_again() {
        assert_eq!(
            text_of(["▁The", "▁cat", "s", "▁<0x41>", "<0xE6>", "<0xB0>", "<0xB4>"]),
            "The cats <0x41>水"
        );
        assert_eq!(text_of(["▁水", "。"]), "水。");
    }
}
