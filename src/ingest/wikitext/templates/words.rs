//! The arguments of a template, and the functions that the tables name: templates that do more than
//! repeat their words.

use super::{Wiki, dates};
use crate::ingest::numbers::{lower, raise};

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
        self.named
            .iter()
            .find(|(name, value)| names.contains(name) && !value.is_empty())
            .map(|(_, value)| *value)
    }

    pub(super) fn last(&self) -> &'t str {
        self.unnamed.iter().rev().find(|value| !value.is_empty()).copied().unwrap_or("")
    }

    /// The unnamed ones that are filled, from the `first` place on, counted from 1.
    pub(super) fn filled(&self, first: usize) -> Vec<&'t str> {
        let from = self.unnamed.iter().skip(first.saturating_sub(1));
        from.copied().filter(|value| !value.is_empty()).collect()
    }
}

/// Whether what stands before a `=` can be the name of an argument, not part of a formula or an
/// address.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 40
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'))
}

/// How a template is worded, given the rest of its name where that stands in `[prefixes]`.
pub(super) type Function = fn(&Arguments, &str, Wiki<'_>) -> String;

/// The functions that the tables may name.
static FUNCTIONS: &[(&str, Function)] = &[
    ("as_of", dates::as_of),
    ("chemical", chemical),
    ("chinese", chinese),
    ("date", dates::date),
    ("fraction", fraction),
    ("harvard", harvard),
    ("interlanguage", interlanguage),
    ("langx", langx),
    ("measure", measure),
    ("music", music),
    ("nihongo", nihongo),
    ("old_style", dates::old_style),
    ("ordinal", ordinal),
    ("quotation", quotation),
    ("siecles", dates::siecles),
    ("siecles_av", dates::siecles_av),
    ("siglo", dates::siglo),
    ("sounds", sounds),
    ("unite", unite),
    ("value", value),
];

/// The function called `name`.
pub(super) fn function(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
}

/// A paragraph of its own.
fn quotation(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    const TEXTS: &[&str] =
        &["text", "quote", "content", "quotetext", "texte", "citation", "Text", "texto", "текст"];
    let text = arguments.named(TEXTS).unwrap_or_else(|| arguments.get(1));
    if text.is_empty() { String::new() } else { format!("\n\n{text}\n\n") }
}

/// Units whose code is not how they are written.
#[rustfmt::skip]
static UNITS: &[(&str, &str)] = &[
    ("C", "°C"), ("F", "°F"), ("C-change", "°C"), ("F-change", "°F"), ("R", "°R"),
    ("sqmi", "sq mi"), ("sqkm", "km^2"),
    ("sqft", "sq ft"), ("sqyd", "sq yd"), ("sqin", "sq in"), ("cuft", "cu ft"), ("cuyd", "cu yd"),
    ("cuin", "cu in"),
    ("Tcuft", "trillion cubic \
               feet"), ("kph", "km/h"), ("kn", "knots"), ("inHg", "inches of mercury"),
    ("impgal", "imperial gallons"), ("USgal", "US gallons"), ("MUSgal", "million US gallons"),
    ("u.s.gal", "US gallons"),
    ("nmi", "nautical miles"), ("NM", "nautical miles"), ("acre", "acres"), ("LT", "long tons"),
    ("ST", "short tons"),
    ("oilbbl", "barrels"), ("koilbbl", "thousand barrels"), ("Moilbbl", "million barrels"),
    ("Goilbbl", "billion barrels"),
    ("oilbbl/d", "barrels per day"), ("PD/sqmi", "inhabitants per square \
                                                  mile"), ("PD/km2", "inhabitants per km^2"),
    ("g0", "g"),
];

/// Powers of ten before the code of a unit.
static POWERS: &[(&str, &str)] =
    &[("e3", "thousand"), ("e6", "million"), ("e9", "billion"), ("e12", "trillion")];

/// A unit as people write it.
pub(super) fn unit(code: &str) -> String {
    if let Some((_, unit)) = UNITS.iter().find(|(known, _)| *known == code) {
        return (*unit).to_owned();
    }
    if let Some((power, rest)) =
        POWERS.iter().find_map(|(prefix, power)| Some((power, code.strip_prefix(prefix)?)))
    {
        return format!("{power} {}", unit(rest));
    }
    // `km2`, `m3/s`: a raised digit behind a unit of length.
    const LENGTHS: &[&str] =
        &["m", "km", "cm", "mm", "dm", "nm", "um", "μm", "µm", "ft", "in", "mi", "yd"];
    let parts = code.split('/').map(|part| match part.strip_suffix(['2', '3']) {
        Some(length) if LENGTHS.contains(&length) => format!("{length}^{}", &part[length.len()..]),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// `5|km|mi` → `5 km`, `5|-|10|km` → `5–10 km`, `5|ft|2|in` → `5 ft 2 in`: the part before the
/// conversion.
fn measure(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let is_number = |text: &str| {
        text.starts_with(|c: char| {
            c.is_ascii_digit() || matches!(c, '-' | '−' | '+' | '.' | '½' | '¼' | '¾')
        })
    };
    let mut text = String::new();
    let mut place = 1;

    while is_number(arguments.get(place)) {
        if !text.is_empty() && !text.ends_with(['–', ' ']) {
            text.push(' ');
        }
        // `5+1/2` and `1//2` are fractions.
        let number = arguments.get(place);
        let parts =
            number.split_once('+').filter(|(whole, part)| !whole.is_empty() && part.contains('/'));
        let number = parts.map_or(number.to_owned(), |(whole, part)| format!("{whole} {part}"));
        text.push_str(&number.replace("//", "/"));
        let between = arguments.get(place + 1);

        match between {
            "-" | "–" | "to(-)" => text.push('–'),
            "to" | "and" | "or" | "by" | "x" | "×" | "+" | "," | "and(-)" | "or(-)" => {
                text.push(' ');
                text.push_str(between.trim_end_matches("(-)"));
                text.push(' ');
            }
            _ => {
                text.push(' ');
                text.push_str(&unit(between));
                // Feet and inches: another number and unit of the input, not of the output, follow.
                if !matches!(
                    (between, arguments.get(place + 3)),
                    ("ft", "in") | ("lb", "oz") | ("st", "lb")
                ) {
                    return text;
                }
            }
        }

        place += 2;
    }

    text.trim().to_owned()
}

/// `SO|4|2-`: symbols, numbers of atoms and charges as arguments of their own; before the first
/// symbol stand the mass and the atomic number.
fn chemical(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_charge = |part: &str| {
        let number = part.trim_end_matches(['+', '-', '−']);
        number.len() < part.len() && is_number(number)
    };
    let (mut text, mut has_symbol, mut n_before) = (String::new(), false, 0);

    for part in arguments.filled(1) {
        if is_number(part) && !has_symbol {
            text += &if n_before == 0 { raise(part) } else { lower(part) };
            n_before += 1;
        } else if is_number(part) {
            text += &lower(part);
        } else if is_charge(part) {
            text += &raise(&part.replace('−', "-"));
        } else {
            text.push_str(part);
            has_symbol = true;
        }
    }

    text
}

/// `3` → `3rd`.
fn ordinal(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let number = arguments.get(1);
    let ending = match (number.ends_with(['1', '2', '3']), number.as_bytes()) {
        (true, [.., b'1', _]) | (false, _) => "th",
        (true, [.., b'1']) => "st",
        (true, [.., b'2']) => "nd",
        (true, _) => "rd",
    };

    if number.ends_with(|c: char| c.is_ascii_digit()) {
        format!("{number}{ending}")
    } else {
        number.to_owned()
    }
}

/// A number, or two with a range, an uncertainty or the digits of one between them, a power of ten
/// and a unit.
fn value(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let mut text = arguments.get(1).to_owned();
    let (second, third) = (arguments.get(2), arguments.get(3));

    match second {
        "" => {}
        "-" | "–" | "to" => text += &format!("–{third}"),
        "x" | "×" | "by" | "*" => text += &format!(" × {third}"),
        "/" | "and" | "or" | "," => text += &format!(" {second} {third}"),
        _ if second.starts_with(['(', '+', '-', '−', '±']) => {
            text += &format!("{second}{third}")
        }
        _ => text += &format!("±{second}"),
    }

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

/// French and Spanish: a number, then pairs of a unit and its exponent; `par` is what it is divided
/// by.
fn unite(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    const SECOND: &[(&str, &str)] =
        &[("à", "à"), ("et", "et"), ("ou", "ou"), ("x", "×"), ("×", "×"), ("/", "/"), ("-", "–")];
    let mut text = arguments.get(1).to_owned();
    if text.is_empty() {
        return text;
    }

    for (name, word) in SECOND {
        if let Some(number) = arguments.named(&[name]) {
            text += &format!(" {word} {number}");
        }
    }

    if let Some(exponent) = arguments.named(&["e"]) {
        text += &format!("×10^{exponent}");
    }
    let raised =
        |exponent: &str| if exponent.is_empty() { String::new() } else { format!("^{exponent}") };
    let mut units: Vec<String> = Vec::new();

    for (nth, pair) in arguments.unnamed.get(1..).unwrap_or_default().chunks(2).enumerate() {
        let (unit, exponent) = (pair[0], pair.get(1).copied().unwrap_or(""));
        match arguments.named(&["par"]).filter(|_| nth == 0) {
            Some(below) => units.push(format!("{unit}/{below}{}", raised(exponent))),
            None if !unit.is_empty() => units.push(format!("{unit}{}", raised(exponent))),
            None => {}
        }
    }

    if units.is_empty() { text } else { format!("{text} {}", units.join("⋅")) }
}

fn fraction(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    // Marked as Unicode's own fractions are read, which keeps the digits around it apart.
    let over = |top: &str, bottom: &str| raise(top) + "⁄" + &lower(bottom);
    match arguments.unnamed.as_slice() {
        [bottom] => over("1", bottom),
        [top, bottom] => over(top, bottom),
        [whole, top, bottom, ..] => format!("{whole} {}", over(top, bottom)),
        [] => String::new(),
    }
}

/// English wikis write the name of the language before the word, and romanisation and meaning
/// behind it.
fn langx(arguments: &Arguments, code: &str, wiki: Wiki<'_>) -> String {
    let shift = usize::from(code.is_empty());
    let code = if code.is_empty() { arguments.get(1) } else { code };
    let text = arguments.named(&["text"]).unwrap_or_else(|| arguments.get(1 + shift));
    if text.is_empty() {
        return String::new();
    }
    let label = match arguments.named(&["label"]) {
        Some("none") => None,
        Some(label) => Some(label),
        None => wiki.language_name(code),
    };
    let romanised =
        arguments.named(&["translit", "tr"]).unwrap_or_else(|| arguments.get(2 + shift));
    let meaning =
        arguments.named(&["lit", "translation"]).unwrap_or_else(|| arguments.get(3 + shift));
    let mut shown = label.map_or_else(String::new, |label| format!("{label}: ")) + text;

    if !romanised.is_empty() {
        shown += &format!(", romanized: {romanised}");
    }
    if !meaning.is_empty() {
        shown += &format!(", lit. '{meaning}'");
    }
    shown
}

fn nihongo(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let rest: Vec<&str> =
        arguments.unnamed.iter().skip(1).take(2).copied().filter(|word| !word.is_empty()).collect();
    let first = arguments.get(1);
    match (first.is_empty(), rest.is_empty()) {
        (_, true) => first.to_owned(),
        (true, false) => rest.join(", "),
        (false, false) => format!("{first} ({})", rest.join(", ")),
    }
}

/// Sounds one by one; signs of the keyboard stand for marks of stress.
fn sounds(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    const NOTES: &[&str] = &[
        "lang", "local", "pron", "also", "us", "uk", "ipa", "audio", "icon", "en", "uslang",
        "uklang",
    ];
    let sounds =
        arguments.unnamed.iter().filter(|sound| !NOTES.contains(&sound.to_lowercase().as_str()));
    let joined: String = sounds
        .map(|sound| match *sound {
            "'" | "\u{2}" => "ˈ",
            "," => "ˌ",
            sound => sound,
        })
        .collect();
    if joined.is_empty() { joined } else { format!("/{joined}/") }
}

fn chinese(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
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
    if parts.is_empty() { arguments.filled(1).join("; ") } else { parts.join("; ") }
}

/// Authors and year, as `harvtxt` writes them into a sentence.
fn harvard(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    match arguments.filled(1).as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [author, year] => format!("{author} ({year})"),
        [first, _, _, _, .., year] => format!("{first} et al. ({year})"),
        [authors @ .., last, year] => format!("{} & {last} ({year})", authors.join(", ")),
    }
}

/// A link to another wiki: its label, else the page here; some have the language first.
fn interlanguage(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    if let Some(label) = arguments.named(&["lt", "text", "label"]) {
        return label.to_owned();
    }
    let first = arguments.get(1);
    let mut parts = first.split('-');
    let is_code = parts.next().is_some_and(|code| (2..=3).contains(&code.len()))
        && first.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_old = is_code && !arguments.get(2).is_empty() && !arguments.get(3).is_empty();

    (if is_old { arguments.get(2) } else { first }).to_owned()
}

fn music(arguments: &Arguments, _: &str, _: Wiki<'_>) -> String {
    let first = arguments.get(1);
    let sign = match first.to_lowercase().as_str() {
        "sharp" | "#" => "♯",
        "flat" | "b" => "♭",
        "natural" => "♮",
        "doublesharp" | "double sharp" => "𝄪",
        "doubleflat" | "double flat" => "𝄫",
        "time" | "t" => return format!("{}/{}", arguments.get(2), arguments.get(3)),
        _ => first,
    };
    sign.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_keep_their_raised_digits() {
        for (code, expected) in [
            ("km2", "km^2"),
            ("m3/s", "m^3/s"),
            ("sqmi", "sq mi"),
            ("km", "km"),
            ("e6acre", "million acres"),
            ("H2", "H2"),
        ] {
            assert_eq!(unit(code), expected);
        }
    }
}
