//! Dates and centuries, in the wording of the wiki.

use super::Wiki;
use super::words::Arguments;

/// A date by its parts, in the wiki's own order and words; empty parts are left out.
fn worded(day: &str, month: &str, year: &str, wiki: Wiki<'_>) -> String {
    let month = wiki.month(month);
    let day = day.trim_start_matches('0');
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());

    if matches!(wiki.language, "ja" | "zh") {
        let with = |part: &str, sign: &str| {
            if is_number(part) { format!("{part}{sign}") } else { part.to_owned() }
        };
        return format!("{}{month}{}", with(year, "年"), with(day, "日"));
    }

    let (day, between) = match wiki.language {
        "fr" if day == "1" => ("1er".to_owned(), " "),
        "de" if is_number(day) => (format!("{day}."), " "),
        "es" => (day.to_owned(), " de "),
        _ => (day.to_owned(), " "),
    };

    let filled: Vec<&str> =
        [day.as_str(), month, year].into_iter().filter(|part| !part.is_empty()).collect();
    filled.join(between)
}

/// Year, month and day of `1984-05-02`.
fn iso(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.split('-');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |part: &str, least: usize| {
        part.len() >= least && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_date = is_number(found.0, 3)
        && is_number(found.1, 1)
        && is_number(found.2, 1)
        && parts.next().is_none();
    is_date.then_some(found)
}

/// A date: `1984|5|2`, `14|juillet|1903` or `1984-05-02`. What stands behind the third argument is
/// no part of it.
pub(super) fn date(arguments: &Arguments, _: &str, wiki: Wiki<'_>) -> String {
    let filled = arguments.filled(1);
    if let [only] = filled[..] {
        return match (iso(only), only.strip_prefix("1 ")) {
            (Some((year, month, day)), _) => worded(day, month, year, wiki),
            (None, Some(rest)) if wiki.language == "fr" => format!("1er {rest}"),
            _ => only.to_owned(),
        };
    }

    let [first, second, third] = [1, 2, 3].map(|place| arguments.get(place));
    let n_digits = first.bytes().filter(u8::is_ascii_digit).count();

    match n_digits >= 3 {
        true => worded(third, second, first, wiki),
        false => worded(first, second, third, wiki),
    }
}

/// English `as of`.
pub(super) fn as_of(arguments: &Arguments, code: &str, wiki: Wiki<'_>) -> String {
    if let Some(text) = arguments.named(&["alt"]) {
        return text.to_owned();
    }
    let words = match (arguments.named(&["since"]).is_some(), arguments.named(&["lc"]).is_some()) {
        (false, false) => "As of",
        (false, true) => "as of",
        (true, false) => "Since",
        (true, true) => "since",
    };
    format!("{words} {}", date(arguments, code, wiki))
}

/// Spanish centuries: number, era, and whether the word stands before it.
pub(super) fn siglo(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let number = arguments.get(1);
    if number.is_empty() {
        return String::new();
    }
    let word = match arguments.get(3) {
        "s" => "siglo ",
        "S" => "Siglo ",
        _ => "",
    };
    let era = match arguments.get(2) {
        "a" | "A" => " a. C.",
        "d" | "D" => " d. C.",
        _ => "",
    };
    format!("{word}{number}{era}")
}

/// Russian dates in both calendars: the Julian one, and the Gregorian in brackets; what both share
/// stands once.
pub(super) fn old_style(arguments: &Arguments, _: &str, wiki: Wiki<'_>) -> String {
    let filled = arguments.filled(1);
    let [new_day, new_month, new_year, old_day, old_month, old_year] = if let [only] = filled[..] {
        let Some((day, month, year)) = julian(only) else { return only.to_owned() };
        let (new_day, new_month, new_year) = gregorian(day, month, year);
        [new_day, new_month, new_year, day, month, year].map(|part| part.to_string())
    } else {
        in_parts(&filled)
    };

    let (new_month, old_month) = (wiki.month(&new_month), wiki.month(&old_month));
    let old_month = if old_month.is_empty() { new_month } else { old_month };
    let old_year = if old_year.is_empty() { new_year.clone() } else { old_year };
    let text = if old_year != new_year {
        format!("{old_day} {old_month} {old_year} ({new_day} {new_month} {new_year})")
    } else if old_month != new_month {
        format!("{old_day} {old_month} ({new_day} {new_month}) {new_year}")
    } else {
        format!("{old_day} ({new_day}) {new_month} {new_year}")
    };
    text.trim().to_owned()
}

/// New day, month and year, then the old ones; a day may hold its month ("24 марта").
fn in_parts(arguments: &[&str]) -> [String; 6] {
    let mut parts: [String; 6] = Default::default();
    let mut rest = arguments.iter().copied().peekable();

    for date in 0..2 {
        let Some(day) = rest.next() else { break };
        let (day, month) = match day.split_once(' ') {
            Some((day, month)) => (day, month),
            None => (day, rest.next().unwrap_or("")),
        };
        let year = rest.next().unwrap_or("");

        for (place, part) in [day, month, year].into_iter().enumerate() {
            parts[3 * date + place] = part.trim().to_owned();
        }
    }

    parts
}

/// French centuries: numbers with their endings, or without, and what stands between two of them.
pub(super) fn siecles(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    const ENDINGS: &[&str] = &["e", "er", "re", "ème", "ier"];
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || "IVXLCDM".contains(c));
    let words = arguments.filled(1);
    let (mut text, mut n_numbers, mut is_plural, mut after_number) =
        (String::new(), 0, false, false);
    let mut at = 0;

    while let Some(word) = words.get(at).copied() {
        at += 1;
        if is_number(word) {
            n_numbers += 1;
            // Two numbers without a word between them.
            if after_number {
                is_plural = true;
                text.push_str(" et ");
            } else if !text.is_empty() {
                text.push(' ');
            }

            let given = words.get(at).copied().filter(|ending| ENDINGS.contains(ending));
            at += usize::from(given.is_some());
            let usual = if matches!(word, "I" | "1") { "er" } else { "e" };
            text += &format!("{word}{}", given.unwrap_or(usual));
        } else if word == "s" && at == words.len() {
            is_plural = true;
        } else {
            text += &format!(" {word}");
        }
        after_number = is_number(word);
    }

    match n_numbers {
        0 => String::new(),
        _ => format!("{} siècle{}", text.trim_start(), if is_plural { "s" } else { "" }),
    }
}

/// The same before our era.
pub(super) fn siecles_av(arguments: &Arguments, code: &str, wiki: Wiki<'_>) -> String {
    match siecles(arguments, code, wiki) {
        text if text.is_empty() => text,
        text => format!("{text} av. J.-C."),
    }
}

/// Day, month and year of `8.4.1765`.
fn julian(text: &str) -> Option<(i64, i64, i64)> {
    let parts: Vec<i64> = text.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    match parts[..] {
        [day @ 1..=31, month @ 1..=12, year @ 100..=9999] => Some((day, month, year)),
        _ => None,
    }
}

/// The Gregorian date of a Julian one, by way of the day's number (Richards 2013, "Calendars",
/// section 15.11).
fn gregorian(day: i64, month: i64, year: i64) -> (i64, i64, i64) {
    let is_early = (14 - month) / 12;
    let (y, m) = (year + 4800 - is_early, month + 12 * is_early - 3);
    let number = day + (153 * m + 2) / 5 + 365 * y + y / 4 - 32_083;
    let b = number + 32_044;
    let century = (4 * b + 3) / 146_097;
    let c = b - 146_097 * century / 4;
    let d = (4 * c + 3) / 1_461;
    let e = c - 1_461 * d / 4;
    let m = (5 * e + 2) / 153;

    (e - (153 * m + 2) / 5 + 1, m + 3 - 12 * (m / 10), 100 * century + d - 4800 + m / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendars_agree_with_known_days() {
        // The October revolution, the first Gregorian day of Russia, Catherine's accession.
        assert_eq!(gregorian(25, 10, 1917), (7, 11, 1917));
        assert_eq!(gregorian(1, 2, 1918), (14, 2, 1918));
        assert_eq!(gregorian(28, 6, 1762), (9, 7, 1762));
        assert_eq!(gregorian(25, 12, 1799), (5, 1, 1800));
    }
}
