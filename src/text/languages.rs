//! Which languages there are rules for, by ISO 639 code or by how they are written.

use crate::text::words::is_cjk;

/// How far a text is looked at for how it is written, in characters.
const LOOKED_AT: usize = 1_000;

/// Whether a language is English.
pub fn is_english(language: Option<&str>) -> bool {
    language.is_some_and(|language| is_one_of(language, &["en", "eng"]))
}

/// Whether a language is Chinese.
pub fn is_chinese(language: Option<&str>) -> bool {
    language.is_some_and(|language| is_one_of(language, &["zh", "zho", "chi", "cmn"]))
}

/// Whether a tag is one of some languages, whatever the case and whatever region or script behind
/// it: `zh_Hans`, `EN-gb`.
fn is_one_of(tag: &str, languages: &[&str]) -> bool {
    let language = tag.trim().split(['-', '_']).next().unwrap_or_default();
    languages.iter().any(|one| one.eq_ignore_ascii_case(language))
}

/// One code for the languages that have several: `en` for `eng` and `en-US`, `zh` for `zho` and
/// `cmn`; others as they are.
pub fn code(language: &str) -> &str {
    match language {
        english if is_english(Some(english)) => "en",
        chinese if is_chinese(Some(chinese)) => "zh",
        other => other,
    }
}

/// Whether a text without a stated language is written as Chinese is: most of its letters are Han,
/// and none is kana or Hangul.
pub fn is_written_chinese(text: &str) -> bool {
    let (mut han, mut letters) = (0, 0);
    for c in text.chars().take(LOOKED_AT) {
        // The dot of foreign names, U+30FB, is written in Chinese too.
        let is_kana = matches!(c, '\u{3040}'..='\u{30ff}') && c != '・';
        if is_kana || matches!(c, '\u{ac00}'..='\u{d7af}') {
            return false;
        }
        letters += usize::from(c.is_alphabetic());
        han += usize::from(is_cjk(c));
    }
    2 * han > letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_by_its_code_or_its_letters() {
        assert!(is_english(Some("en-GB")) && is_english(Some("eng")) && !is_english(Some("enm")));
        assert!(is_chinese(Some("zh-Hant")) && is_chinese(Some("cmn")) && !is_chinese(None));
        assert!(
            is_chinese(Some("ZH")) && is_chinese(Some(" zh_Hans ")) && is_english(Some("en_US"))
        );
        assert!(is_written_chinese("卡尔・马克思写了这本书。"));
        assert!(is_written_chinese("心肌梗死（MI）是常见病。"));
        assert!(
            !is_written_chinese("心筋梗塞は心臓の病気である。") && !is_written_chinese("MI, 心")
        );
        assert!(!is_written_chinese("") && !is_written_chinese("심근경색 心筋梗塞"));
    }
}
