//! Dates and language codes as NLM writes them.

use std::borrow::Cow;

use super::tree::Element;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// ISO 8601 date of an element with `Year`, `Month`, `Day` or `MedlineDate`, as exact as it is
/// given: `2019-03-08`, `2019-03`, `2019`. A span of months or a season gives its first year.
pub(super) fn iso(element: Element) -> Option<String> {
    if let Some(year) = element.text_of("Year").and_then(|year| number(&year, 4)) {
        let Some(month) = element.text_of("Month").and_then(|name| month(&name)) else {
            return Some(year);
        };
        let day = element.text_of("Day").and_then(|day| number(&format!("{day:0>2}"), 2));
        return Some(match day {
            Some(day) => format!("{year}-{month}-{day}"),
            None => format!("{year}-{month}"),
        });
    }
    medline(&element.text_of("MedlineDate")?)
}

/// `2000 Mar 3-9` → `2000-03`; `1998 Dec-1999 Jan` and `2000 Spring` → the first year.
fn medline(text: &str) -> Option<String> {
    let start =
        text.as_bytes().windows(4).position(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let year = text.get(start..start + 4)?;
    let rest = text.get(start + 4..)?;
    let name = rest.strip_prefix(' ').and_then(|rest| rest.split(' ').next());
    Some(match name.and_then(month) {
        Some(month) => format!("{year}-{month}"),
        None => year.to_owned(),
    })
}

fn number(text: &str, digits: usize) -> Option<String> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.to_owned())
}

/// `Mar`, `March`, `3`, `03` → `03`.
fn month(text: &str) -> Option<String> {
    if let Ok(number @ 1..=12) = text.parse::<u8>() {
        return Some(format!("{number:02}"));
    }
    let is_name = text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let head = text.get(..3).filter(|_| is_name)?.to_ascii_lowercase();
    let place = MONTHS.iter().position(|name| *name == head)?;
    Some(format!("{:02}", place + 1))
}

/// ISO 639-2 (bibliographic) codes with their two-letter ISO 639-1 codes.
static LANGUAGES: &[(&str, &str)] = &[
    ("afr", "af"),
    ("alb", "sq"),
    ("amh", "am"),
    ("ara", "ar"),
    ("arm", "hy"),
    ("aze", "az"),
    ("baq", "eu"),
    ("bel", "be"),
    ("ben", "bn"),
    ("bos", "bs"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("chi", "zh"),
    ("cze", "cs"),
    ("dan", "da"),
    ("dut", "nl"),
    ("eng", "en"),
    ("est", "et"),
    ("fin", "fi"),
    ("fre", "fr"),
    ("geo", "ka"),
    ("ger", "de"),
    ("gle", "ga"),
    ("glg", "gl"),
    ("gre", "el"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("ice", "is"),
    ("ind", "id"),
    ("ita", "it"),
    ("jpn", "ja"),
    ("kaz", "kk"),
    ("kin", "rw"),
    ("kor", "ko"),
    ("lat", "la"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("mac", "mk"),
    ("mal", "ml"),
    ("mao", "mi"),
    ("may", "ms"),
    ("mon", "mn"),
    ("nor", "no"),
    ("per", "fa"),
    ("pol", "pl"),
    ("por", "pt"),
    ("pus", "ps"),
    ("rum", "ro"),
    ("rus", "ru"),
    ("san", "sa"),
    ("slo", "sk"),
    ("slv", "sl"),
    ("spa", "es"),
    ("srp", "sr"),
    ("swa", "sw"),
    ("swe", "sv"),
    ("tam", "ta"),
    ("tel", "te"),
    ("tha", "th"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("urd", "ur"),
    ("uzb", "uz"),
    ("vie", "vi"),
    ("wel", "cy"),
];

/// Two-letter code of a language that NLM names with three letters; other codes stay as they are.
pub(super) fn language(code: &str) -> Cow<'static, str> {
    let lower = code.to_ascii_lowercase();
    match LANGUAGES.binary_search_by_key(&lower.as_str(), |(code, _)| code) {
        Ok(place) => Cow::Borrowed(LANGUAGES[place].1),
        Err(_) => Cow::Owned(lower),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn dates_are_as_exact_as_given() {
        let check = |inside: &str, expected: Option<&str>| {
            let xml = format!("<D>{inside}</D>");
            let tree = Tree::read(&xml).unwrap();
            assert_eq!(iso(tree.root().unwrap()).as_deref(), expected, "{inside}");
        };
        check("<Year>2019</Year><Month>Mar</Month><Day>8</Day>", Some("2019-03-08"));
        check("<Year>2019</Year><Month>03</Month>", Some("2019-03"));
        check("<Year>2019</Year><Season>Spring</Season>", Some("2019"));
        check("<MedlineDate>2000 Mar 3-9</MedlineDate>", Some("2000-03"));
        check("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", Some("1998"));
        check("<MedlineDate>2019 Sep/Oct</MedlineDate>", Some("2019"));
        check("<MedlineDate>Fall 2000</MedlineDate>", Some("2000"));
        check("<MedlineDate>1947-1948</MedlineDate>", Some("1947"));
        check("<MedlineDate>n.d.</MedlineDate>", None);
        check("<Year>MMXX</Year>", None);
    }

    #[test]
    fn languages_have_two_letters_where_there_are_two() {
        assert!(LANGUAGES.is_sorted());
        assert_eq!(
            (language("eng"), language("GER"), language("mul")),
            ("en".into(), "de".into(), "mul".into())
        );
    }
}
