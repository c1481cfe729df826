//! Readers of thesauri that a user supplies: Open Multilingual Wordnet `.tab`, Cilin-style groups,
//! antonym lists.
//!
//! A file may be compressed (gzip, bzip2, xz, zstd, by its first bytes) and in UTF-8 or GB18030.
//! Each line is read by what it is:
//!
//! - `00001740-n<TAB>fra:lemma<TAB>entité` (OMW): words of one synset are synonyms
//! - `Aa01A01= 人 士 人物` (Cilin): `=` synonyms; `#` (related) and `@` (alone) only teach where words
//!   end
//! - `冷@热`, `冷——热`: antonyms

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::decompress::{Bounds, Unpacked};

/// Largest thesaurus read, in bytes after decompression; real ones have a few MB.
const MAX_BYTES: u64 = 256 << 20;

/// What thesaurus files say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// Groups of synonyms.
    pub synonyms: Vec<Vec<String>>,
    /// Pairs of antonyms.
    pub antonyms: Vec<(String, String)>,
    /// Words without synonyms.
    pub others: Vec<String>,
}

/// Reads one thesaurus file into `entries`.
///
/// # Errors
/// If the file cannot be read, is too large, or has no line in a known form.
pub fn read(path: &Path, entries: &mut Entries) -> Result<()> {
    let hint = "`thesaurus` in [negatives] lists files; give paths that exist";
    let bytes = unpack(path).map_err(|error| error.hint(hint))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_string(),
        Err(_) => encoding_rs::GB18030.decode(&bytes).0.into_owned(),
    };

    if parse(&text, entries) == 0 {
        return Err(Error::data(format!("`{}` holds no thesaurus entry", path.display())).hint(
            "known are OMW .tab files, Cilin lines (`Aa01A01= word word`) and antonyms \
                   (`word@word`)",
        ));
    }

    Ok(())
}

/// Reads the lines of a thesaurus; returns how many were understood.
pub fn parse(text: &str, entries: &mut Entries) -> usize {
    let mut synsets: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut understood = 0;

    for line in text.lines().map(|line| line.trim_start_matches('\u{feff}').trim()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let first = line.split_whitespace().next().unwrap_or("");
        let code = first.len() > 4
            && first.is_ascii()
            && first.starts_with(|c: char| c.is_ascii_uppercase());
        let rest = || line.split_whitespace().skip(1).map(str::to_string);

        if let [synset, kind, word] = fields[..]
            && kind.ends_with("lemma")
        {
            synsets.entry(synset).or_default().push(word.trim().to_string());
        } else if code && first.ends_with('=') {
            entries.synonyms.push(rest().collect());
        } else if code && first.ends_with(['#', '@']) {
            entries.others.extend(rest());
        } else if let Some((a, b)) = line.split_once("——").or_else(|| line.split_once('@'))
            && !a.is_empty()
            && !b.is_empty()
            && !b.contains(['@', '—'])
        {
            entries.antonyms.push((a.trim().to_string(), b.trim().to_string()));
        } else {
            continue;
        }

        understood += 1;
    }

    entries.synonyms.extend(synsets.into_values());
    understood
}

/// A whole small file, decompressed by its first bytes. One that is damaged anywhere, also behind
/// its end, is refused.
fn unpack(path: &Path) -> Result<Vec<u8>> {
    let bounds = Bounds { max_bytes: MAX_BYTES, max_ratio: u64::MAX };
    let mut unpacked =
        Unpacked::open(path, &bounds, None).map_err(|cause| Error::file("read", path, cause))?;
    let mut bytes = Vec::new();
    unpacked.read_to_end(&mut bytes).map_err(|cause| Error::file("decompress", path, cause))?;

    match unpacked.fault().borrow().as_ref() {
        Some(fault) => Err(Error::file("decompress", path, &fault.detail)),
        None => Ok(bytes),
    }
}

/// Reads a whole small file, decompressed by its first bytes, as text.
///
/// # Errors
/// If it cannot be read, is larger than 256 MiB, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(unpack(path)?).map_err(|cause| Error::file("read", path, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    #[test]
    fn every_kind_of_line_is_read() {
        let mut entries = Entries::default();
        let text = "# OMW\tcmn\n00001-n\tcmn:lemma\t病人\n00001-n\tcmn:lemma\t患者\nA 人\nAa01A01= 医生 \
                    大夫\n\
                    Aa01A02# 护士 护工\n冷@热\n前——后\n@\n";
        assert_eq!(parse(text, &mut entries), 6);
        assert_eq!(entries.synonyms, [vec!["医生", "大夫"], vec!["病人", "患者"]]);
        assert_eq!(entries.others, ["护士", "护工"]);
        assert_eq!(entries.antonyms, [("冷".into(), "热".into()), ("前".into(), "后".into())]);
    }

    #[test]
    fn gb18030_and_gzip_are_read_and_junk_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gz");
        let mut gzip = flate2::write::GzEncoder::new(
            std::fs::File::create(&path).unwrap(),
            Default::default(),
        );
        gzip.write_all(&encoding_rs::GB18030.encode("Aa01A01= 医生 大夫\r\n").0).unwrap();
        gzip.finish().unwrap();
        let mut entries = Entries::default();
        read(&path, &mut entries).unwrap();
        assert_eq!(entries.synonyms, [vec!["医生", "大夫"]]);
        std::fs::write(&path, "nothing here").unwrap();

        assert!(read(&path, &mut entries).unwrap_err().what().contains("no thesaurus entry"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[A-Za1= \t@#—中\n:-]{0,60}") {
            parse(&text, &mut Entries::default());
        }
    }
}
