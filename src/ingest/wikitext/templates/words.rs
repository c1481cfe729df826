//! The arguments of a template, and how the templates that do more than repeat one word them.

use crate::ingest::wikitext::{Site, languages};

/// The arguments of a call.
pub(super) struct Arguments<'t> {
    pub(super) unnamed: Vec<&'t str>,
    pub(super) named: Vec<(&'t str, &'t str)>,
}

impl<'t> Arguments<'t> {
    pub(super) fn new(parts: impl Iterator<Item = &'t str>) -> Self {
        let mut arguments = Arguments { unnamed: Vec::new(), named: Vec::new() };
        for part in parts {
            match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some((name, value)) if is_name(name) => match name.parse::<usize>() {
                    Ok(place @ 1..=20) => {
                        let length = arguments.unnamed.len().max(place);
                        arguments.unnamed.resize(length, "");
                        arguments.unnamed[place - 1] = value;
                    }
                    _ => arguments.named.push((name, value)),
                },
                _ => arguments.unnamed.push(part.trim()),
            }
        }
        arguments
    }

    pub(super) fn get(&self, place: usize) -> &'t str {
        place.checked_sub(1).and_then(|index| self.unnamed.get(index)).copied().unwrap_or("")
    }

    pub(super) fn named(&self, names: &[&str]) -> Option<&'t str> {
        self.named.iter().find(|(name, value)| names.contains(name) && !value.is_empty()).map(|(_, value)| *value)
    }

    pub(super) fn last(&self) -> &'t str {
        self.unnamed.iter().rev().find(|value| !value.is_empty()).copied().unwrap_or("")
    }

    pub(super) fn joined(&self, separator: &str) -> String {
        let filled: Vec<&str> = self.unnamed.iter().copied().filter(|value| !value.is_empty()).collect();
        filled.join(separator)
    }
}

/// Whether what stands before a `=` can be the name of an argument, not part of a formula or an address.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 40 && name.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'))
}

pub(super) fn quotation(arguments: &Arguments) -> String {
    let text = arguments.named(&["text", "quote", "content", "1", "quotetext"]).unwrap_or_else(|| arguments.get(1));
    if text.is_empty() { String::new() } else { format!("\n\n{text}\n\n") }
}

/// Units whose code is not how they are written.
static UNITS: &[(&str, &str)] = &[
    ("C", "°C"),
    ("F", "°F"),
    ("C-change", "°C"),
    ("F-change", "°F"),
    ("R", "°R"),
    ("sqmi", "sq mi"),
    ("sqkm", "km2"),
    ("sqft", "sq ft"),
    ("sqyd", "sq yd"),
    ("cuft", "cu ft"),
    ("cuyd", "cu yd"),
    ("cuin", "cu in"),
    ("kph", "km/h"),
    ("kn", "knots"),
    ("inHg", "inches of mercury"),
    ("impgal", "imperial gallons"),
    ("USgal", "US gallons"),
    ("u.s.gal", "US gallons"),
    ("nmi", "nautical miles"),
    ("acre", "acres"),
    ("LT", "long tons"),
    ("ST", "short tons"),
    ("m3/s", "m3/s"),
];

/// `5|km|mi` → `5 km`, `5|-|10|km` → `5–10 km`, `5|ft|2|in` → `5 ft 2 in`: the part before the conversion.
pub(super) fn measure(arguments: &Arguments) -> String {
    let is_number =
        |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '−' | '+' | '.' | '½' | '¼'));
    let mut text = String::new();
    let mut place = 1;
    while is_number(arguments.get(place)) {
        if !text.is_empty() && !text.ends_with(['–', ' ']) {
            text.push(' ');
        }
        text.push_str(arguments.get(place));
        let between = arguments.get(place + 1);
        match between {
            "-" | "–" | "to(-)" => text.push('–'),
            "to" | "and" | "or" | "by" | "x" | "×" | "+" | "," => {
                text.push(' ');
                text.push_str(between);
                text.push(' ');
            }
            _ => {
                let unit = UNITS.iter().find(|(code, _)| *code == between).map_or(between, |(_, unit)| unit);
                text.push(' ');
                text.push_str(unit);
                // Feet and inches: another number and unit of the input, not of the output, follow.
                if !matches!((between, arguments.get(place + 3)), ("ft", "in") | ("lb", "oz") | ("st", "lb")) {
                    return text;
                }
            }
        }
        place += 2;
    }
    text.trim().to_owned()
}

pub(super) fn value(arguments: &Arguments) -> String {
    let mut text = arguments.get(1).to_owned();
    if let Some(exponent) = arguments.named(&["e"]) {
        text.push_str("×10^");
        text.push_str(exponent);
    }
    if let Some(unit) = arguments.named(&["u", "ul", "up", "upl"]) {
        text.push(' ');
        text.push_str(unit);
    }
    text
}

pub(super) fn fraction(arguments: &Arguments) -> String {
    match arguments.unnamed.as_slice() {
        [bottom] => format!("1/{bottom}"),
        [top, bottom] => format!("{top}/{bottom}"),
        [whole, top, bottom, ..] => format!("{whole} {top}/{bottom}"),
        [] => String::new(),
    }
}

/// English wikis write the name of the language before the word.
pub(super) fn language(code: &str, word: &str, site: &Site) -> String {
    match languages::english_name(code).filter(|_| site.language == "en" && !word.is_empty()) {
        Some(name) => format!("{name}: {word}"),
        None => word.to_owned(),
    }
}

pub(super) fn nihongo(arguments: &Arguments) -> String {
    let rest: Vec<&str> = arguments.unnamed.iter().skip(1).take(2).copied().filter(|word| !word.is_empty()).collect();
    let first = arguments.get(1);
    match (first.is_empty(), rest.is_empty()) {
        (_, true) => first.to_owned(),
        (true, false) => rest.join(", "),
        (false, false) => format!("{first} ({})", rest.join(", ")),
    }
}

pub(super) fn sounds(arguments: &Arguments) -> String {
    const NOTES: &[&str] =
        &["lang", "local", "pron", "also", "us", "uk", "ipa", "audio", "icon", "en", "uslang", "uklang"];
    let sounds = arguments.unnamed.iter().filter(|sound| !NOTES.contains(&sound.to_lowercase().as_str()));
    let joined: String = sounds.copied().collect();
    if joined.is_empty() { joined } else { format!("/{joined}/") }
}

pub(super) fn chinese(arguments: &Arguments) -> String {
    const SCRIPTS: &[(&str, &str)] = &[
        ("c", "Chinese: "),
        ("s", "simplified Chinese: "),
        ("t", "traditional Chinese: "),
        ("p", "pinyin: "),
        ("w", "Wade–Giles: "),
        ("j", "Jyutping: "),
        ("poj", "Pe̍h-ōe-jī: "),
        ("l", "lit. "),
    ];
    let parts: Vec<String> = SCRIPTS
        .iter()
        .filter_map(|(name, label)| arguments.named(&[name]).map(|word| format!("{label}{word}")))
        .collect();
    if parts.is_empty() { arguments.joined("; ") } else { parts.join("; ") }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) fn date(arguments: &Arguments) -> String {
    let month = arguments.get(2).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)).copied());
    let month = month.unwrap_or_else(|| arguments.get(2));
    let filled: Vec<&str> =
        [arguments.get(3), month, arguments.get(1)].into_iter().filter(|part| !part.is_empty()).collect();
    filled.join(" ")
}

pub(super) fn as_of(arguments: &Arguments) -> String {
    let date = date(arguments);
    if let Some(text) = arguments.named(&["alt"]) {
        return text.to_owned();
    }
    let words = match (arguments.named(&["since"]).is_some(), arguments.named(&["lc"]).is_some()) {
        (false, false) => "As of",
        (false, true) => "as of",
        (true, false) => "Since",
        (true, true) => "since",
    };
    format!("{words} {date}")
}
