//! What marks a page as a redirect or a disambiguation page, apart from templates.

/// The redirect magic word of the languages that have their own, in upper case, without `#`.
static REDIRECTS: &[&str] = &[
    "REDIRECT",
    "REDIRECTION",
    "REDIRECCIÓN",
    "REDIRECCION",
    "REDIRECCIONA",
    "REDIRECIONAMENTO",
    "REDIRECIONA",
    "REDIREKTO",
    "WEITERLEITUNG",
    "DOORVERWIJZING",
    "RINVIA",
    "RIMANDO",
    "OMDIRIGERING",
    "OMDIRIGER",
    "OMDIREGERING",
    "OHJAUS",
    "UUDELLEENOHJAUS",
    "PATRZ",
    "PRZEKIERUJ",
    "TAM",
    "PŘESMĚRUJ",
    "PRESMERUJ",
    "PREUSMERITEV",
    "PREUSMJERI",
    "PREUSMERI",
    "ПРЕУСМЕРИ",
    "ПЕРЕНАПРАВЛЕНИЕ",
    "ПЕРЕНАПР",
    "ПЕРЕНАПРАВЛЕННЯ",
    "ПЕРАНАКІРАВАННЕ",
    "ПЕРАНАКІРАВАНЬНЕ",
    "ВИЖ",
    "ПРЕНАСОЧВАНЕ",
    "ПРЕНАСОЧУВАЊЕ",
    "АЙДАУ",
    "БАҒЫТТАУ",
    "YÖNLENDİRME",
    "YÖNLENDİR",
    "İSTİQAMƏTLƏNDİRMƏ",
    "ALIH",
    "LENCONG",
    "ĐỔI",
    "ÁTIRÁNYÍTÁS",
    "SUUNA",
    "PĀRADRESĀCIJA",
    "PERADRESAVIMAS",
    "PERADRESACIJA",
    "REDIRECTEAZA",
    "REDIRECTARE",
    "TILVÍSUN",
    "ATHSHEOLADH",
    "AIL-CYFEIRIO",
    "BIRZUZENDU",
    "ADKAS",
    "ΑΝΑΚΑΤΕΥΘΥΝΣΗ",
    "ՎԵՐԱՀՂՈՒՄ",
    "გადამისამართება",
    "ᲒᲐᲓᲐᲛᲘᲡᲐᲛᲐᲠᲗᲔᲑᲐ",
    "הפניה",
    "تحويل",
    "تغییر_مسیر",
    "تغییرمسیر",
    "रेडिरेक्ट",
    "अनुप्रेषित",
    "पुनर्निर्देशन",
    "পুননির্দেশ",
    "পুনর্নির্দেশ",
    "เปลี่ยนทาง",
    "넘겨주기",
    "転送",
    "リダイレクト",
    "重定向",
    "重新導向",
];

/// Title endings of disambiguation pages, lower case.
static TITLE_ENDINGS: &[&str] = &[
    "(disambiguation)",
    "(begriffsklärung)",
    "(homonymie)",
    "(desambiguación)",
    "(desambiguação)",
    "(desambiguació)",
    "(disambigua)",
    "(doorverwijspagina)",
    "(ujednoznacznienie)",
    "(rozcestník)",
    "(olika betydelser)",
    "(täsmennyssivu)",
    "(anlam ayrımı)",
    "(định hướng)",
    "(egyértelműsítő lap)",
    "(dezambiguizare)",
    "(disambiguasi)",
    "(значения)",
    "(значення)",
    "(пояснение)",
    "(вишезначна одредница)",
    "(توضيح)",
    "(ابهام‌زدایی)",
    "(פירושונים)",
    "(동음이의)",
    "(曖昧さ回避)",
    "(消歧义)",
    "(消歧義)",
    "（消歧义）",
    "（消歧義）",
];

/// Where a page whose text begins with a redirect (`#REDIRECT [[target]]`, in any language) points
/// to.
pub(super) fn redirect(text: &str) -> Option<String> {
    let rest = text
        .trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
        .strip_prefix(['#', '＃'])?;
    let end = rest.char_indices().take(60).find(|(_, c)| *c == '[').map(|(place, _)| place)?;
    let word = rest[..end]
        .trim_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '：'))
        .to_uppercase();
    if !REDIRECTS.contains(&word.as_str()) {
        return None;
    }
    let target = rest[end..].strip_prefix("[[")?.split(['|', ']', '\n']).next()?;

    Some(target.trim().to_owned())
}

/// Whether the title itself says that the page lists meanings.
pub(super) fn is_disambiguation_title(title: &str) -> bool {
    let title = title.to_lowercase();
    TITLE_ENDINGS.iter().any(|ending| title.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_known_in_any_language() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(redirect(text).as_deref(), expected, "{text}")
        };
        check("#REDIRECT [[A b]]", Some("A b"));
        check("#redirect:[[A|b]] {{R}}", Some("A"));
        check("\n #重定向[[甲]]", Some("甲"));
        check("#転送 [[乙]]", Some("乙"));
        check("#перенаправление [[В]]", Some("В"));
        check("# item [[A]]", None);
        check("#REDIRECT", None);
        check("", None);
    }

    #[test]
    fn every_redirect_word_is_upper_case() {
        assert!(
            REDIRECTS
                .iter()
                .all(|word| word.to_uppercase() == *word
                    || word.to_uppercase() != word.to_lowercase())
        );
        assert!(
            is_disambiguation_title("Tin (disambiguation)")
                && !is_disambiguation_title("Tin (metal)")
        );
    }
}
