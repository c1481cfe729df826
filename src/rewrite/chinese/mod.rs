//! The embedded Chinese thesaurus: synonyms, opposites and negations, and the words that tell where
//! words end.
//!
//! `thesaurus.tsv.zst` is an extract of the Chinese Open Wordnet (Wang and Bond 2013), the `cmn`
//! part of the Open Multilingual Wordnet, with Princeton WordNet 3.0, made by `extract.py` beside
//! it; its licence is the file `LICENSE`. The other lists were written for this project:
//! `synonyms.tsv`, `opposites.tsv` (应当 and 不得, 以上 and 以下, 阳性 and 阴性), `negation.tsv`, and
//! `protect.tsv` with words that hide the shorter ones inside them.
//!
//! What a user's own thesauri say goes before: a word that is in a group of theirs is taken out of
//! ours, and so are the opposites of a word that has some there.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::error::{Error, Result};
use crate::rewrite::wordnet::readers::Entries;

static EXTRACT: &[u8] = include_bytes!("thesaurus.tsv.zst");
static SYNONYMS: &str = include_str!("synonyms.tsv");
static OPPOSITES: &[&str] = &[include_str!("opposites.tsv"), include_str!("negation.tsv")];
static PROTECTED: &str = include_str!("protect.tsv");

/// Frequent characters of traditional Chinese that simplified Chinese writes otherwise, in order:
/// hardly a sentence has none. None of them is in GB 2312.
const TRADITIONAL: &str = "來係個們備債傷億劑動務問單國壓學實將對導師從應擇據時書會東條業標機檢權氣減準為無現環產當療癥發種節範\
    約經維續罰義腦臟與萬藥處術製見規訟設訴診話認語說請證識護讀費車這進過達選醫長門開間關際隨電頭題額馬驗\
    體點";

/// How far a text is looked at for them, in characters.
const LOOKED_AT: usize = 300;

/// Whether a text is written in traditional characters, which the embedded thesaurus does not know.
pub fn is_traditional(text: &str) -> bool {
    static SORTED: LazyLock<Vec<char>> = LazyLock::new(|| TRADITIONAL.chars().collect());
    text.chars().take(LOOKED_AT).any(|c| SORTED.binary_search(&c).is_ok())
}

/// The user's entries with the embedded ones beside them.
///
/// # Errors
/// If the embedded extract is damaged, which a test rules out.
pub fn with_embedded(own: &Entries) -> Result<Entries> {
    let damaged =
        |cause: String| Error::data(format!("the embedded Chinese thesaurus is damaged: {cause}"));
    let bytes = zstd::decode_all(EXTRACT).map_err(|cause| damaged(cause.to_string()))?;
    let extract = String::from_utf8(bytes).map_err(|cause| damaged(cause.to_string()))?;
    let mut embedded = Entries::default();

    for line in extract.lines() {
        let mut fields = line.split('\t').map(str::to_string);
        match (fields.next().as_deref(), fields.collect::<Vec<_>>()) {
            (Some("S"), words) => embedded.synonyms.push(words),
            (Some("A"), words) => embedded.antonyms.extend(pair(&words)),
            (Some("W"), words) => embedded.others.extend(words),
            _ => return Err(damaged(format!("`{line}`"))),
        }
    }

    embedded.synonyms.extend(lines(SYNONYMS).map(|words| words.map(str::to_string).collect()));
    for words in OPPOSITES.iter().flat_map(|list| lines(list)) {
        embedded.antonyms.extend(pair(&words.map(str::to_string).collect::<Vec<_>>()));
    }
    embedded.others.extend(lines(PROTECTED).flatten().map(str::to_string));
    Ok(merged(own, embedded))
}

/// The fields of every line that is no comment.
fn lines(list: &str) -> impl Iterator<Item = std::str::Split<'_, char>> {
    list.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t'))
}

fn pair(words: &[String]) -> Option<(String, String)> {
    match words {
        [a, b] => Some((a.clone(), b.clone())),
        _ => None,
    }
}

fn merged(own: &Entries, embedded: Entries) -> Entries {
    let grouped: HashSet<&String> = own.synonyms.iter().flatten().collect();
    let opposed: HashSet<&String> = own.antonyms.iter().flat_map(|(a, b)| [a, b]).collect();
    let mut all = own.clone();
    all.synonyms.extend(embedded.synonyms.into_iter().map(|group| {
        group.into_iter().filter(|word| !grouped.contains(word)).collect::<Vec<String>>()
    }));
    all.antonyms.extend(
        embedded.antonyms.into_iter().filter(|(a, b)| !opposed.contains(a) && !opposed.contains(b)),
    );
    all.others.extend(embedded.others);

    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_lists_are_whole() {
        let all = with_embedded(&Entries::default()).unwrap();
        assert!(all.synonyms.len() > 200 && all.antonyms.len() > 400 && all.others.len() > 40_000);
        assert!(all.synonyms.iter().all(|group| group.len() > 1));
        let has = |a: &str, b: &str| {
            all.antonyms.iter().any(|pair| *pair == (a.to_string(), b.to_string()))
        };
        assert!(has("应当", "不得") && has("以上", "以下") && has("阳性", "阴性"));
        let mut seen = HashSet::new();

        for word in all.synonyms.iter().flatten() {
            assert!(seen.insert(word), "`{word}` stands in two groups and would never be replaced");
        }
        assert!(EXTRACT.len() < 400_000);
    }

    #[test]
    fn a_script_is_told_by_its_characters() {
        assert!(TRADITIONAL.chars().is_sorted(), "looked up by halves");
        assert!(
            is_traditional("公司應當在三十日以內提交證明")
                && !is_traditional("公司应当在三十日以内提交证明，导致造成损失")
        );
    }

    #[test]
    fn a_users_words_go_before() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
        let own = Entries {
            synonyms: vec![words(&["应当", "须得"])],
            antonyms: vec![("以上".into(), "不足".into())],
            others: Vec::new(),
        };
        let all = with_embedded(&own).unwrap();
        assert_eq!(
            all.synonyms.iter().filter(|group| group.contains(&"应当".to_string())).count(),
            1
        );
        let of = |word: &str| all.antonyms.iter().filter(|(a, b)| a == word || b == word).count();

        assert!(of("以上") == 1 && of("应当") >= 1);
    }
}
