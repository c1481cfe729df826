//! Other spellings of a name of an alphabetic script: β-blocker and beta-blocker, anaemia and
//! anemia, post-traumatic and posttraumatic, metastasis and metastases.

/// Greek letters, whose names stand in their place.
static GREEK: &[(&str, &str)] = &[
    ("alpha", "α"),
    ("beta", "β"),
    ("gamma", "γ"),
    ("delta", "δ"),
    ("epsilon", "ε"),
    ("zeta", "ζ"),
    ("eta", "η"),
    ("theta", "θ"),
    ("kappa", "κ"),
    ("lambda", "λ"),
    ("mu", "μ"),
    ("sigma", "σ"),
    ("tau", "τ"),
    ("phi", "φ"),
    ("chi", "χ"),
    ("psi", "ψ"),
    ("omega", "ω"),
];

/// Where in a word a spelling differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    End,
}

/// British spellings, and American ones: of the words that names of medicine are made of.
static REGIONS: &[(At, &str, &str)] = &[
    (At::Begin, "haemo", "hemo"),
    (At::Begin, "haema", "hema"),
    (At::Begin, "oedema", "edema"),
    (At::Begin, "oesoph", "esoph"),
    (At::Begin, "oestr", "estr"),
    (At::Begin, "paed", "ped"),
    (At::Begin, "foet", "fet"),
    (At::Begin, "faec", "fec"),
    (At::Begin, "caec", "cec"),
    (At::Begin, "coeliac", "celiac"),
    (At::Begin, "aetio", "etio"),
    (At::Begin, "anaesth", "anesth"),
    (At::Begin, "gynaec", "gynec"),
    (At::Begin, "orthopaed", "orthoped"),
    (At::Begin, "ischaem", "ischem"),
    (At::Begin, "leukaem", "leukem"),
    (At::Begin, "leucaem", "leukem"),
    (At::Begin, "sulph", "sulf"),
    (At::Begin, "tumour", "tumor"),
    (At::Begin, "behaviour", "behavior"),
    (At::Begin, "colour", "color"),
    (At::Begin, "fibre", "fiber"),
    (At::Begin, "goitre", "goiter"),
    (At::Begin, "ageing", "aging"),
    (At::End, "aemia", "emia"),
    (At::End, "aemias", "emias"),
    (At::End, "aemic", "emic"),
    (At::End, "rrhoea", "rrhea"),
    (At::End, "pnoea", "pnea"),
    (At::End, "oedema", "edema"),
    (At::End, "isation", "ization"),
    (At::End, "ised", "ized"),
];

/// What a word may begin with that is written with a hyphen, or joined.
static PREFIXES: &[&str] = &[
    "anti", "co", "extra", "hyper", "hypo", "inter", "intra", "macro", "micro", "multi", "neo",
    "non", "over", "peri", "poly", "post", "pre", "pseudo", "re", "semi", "sub", "supra", "trans",
    "under",
];

/// Other spellings of a name, in lower case, none twice.
pub(super) fn others(name: &str) -> Vec<String> {
    let name = name.to_lowercase();
    let mut all = vec![name];
    for change in [greek, regional, joined] {
        let changed: Vec<String> = all.iter().filter_map(|name| change(name)).collect();
        all.extend(changed);
    }
    all.remove(0);
    all
}

/// With letters of Greek in the place of their names, or the names in the place of letters.
fn greek(name: &str) -> Option<String> {
    if GREEK.iter().any(|(_, letter)| name.contains(letter)) {
        let spelled = |text: String, (word, letter): &(&str, &str)| text.replace(letter, word);
        return Some(GREEK.iter().fold(name.to_string(), spelled));
    }
    by_word(name, |word| {
        GREEK.iter().find(|(name, _)| *name == word).map(|(_, letter)| (*letter).to_string())
    })
}

/// As the other side of the Atlantic spells it.
fn regional(name: &str) -> Option<String> {
    let other = |british: bool| {
        by_word(name, |word| {
            let change = |(at, own, other): &(At, &str, &str)| {
                let (from, to) = if british { (own, other) } else { (other, own) };
                match at {
                    At::Begin => word.strip_prefix(from).map(|rest| format!("{to}{rest}")),
                    At::End => word.strip_suffix(from).map(|rest| format!("{rest}{to}")),
                }
            };
            REGIONS.iter().find_map(change)
        })
    };
    other(true).or_else(|| other(false))
}

/// Without the hyphen behind a prefix.
fn joined(name: &str) -> Option<String> {
    let begins = |before: &str| {
        let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        PREFIXES.contains(&word)
    };
    let (at, _) = name.match_indices('-').find(|(at, _)| {
        begins(&name[..*at]) && name[at + 1..].starts_with(|c: char| c.is_alphabetic())
    })?;
    Some(format!("{}{}", &name[..at], &name[at + 1..]))
}

/// A text with some of its words changed; nothing where none is.
fn by_word(text: &str, change: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (mut changed, mut is_changed) = (String::with_capacity(text.len()), false);
    for piece in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
        match change(word) {
            Some(other) => {
                changed += &other;
                is_changed = true;
            }
            None => changed += word,
        }
        changed += &piece[word.len()..];
    }
    is_changed.then_some(changed)
}

/// How names of one word end, and the adjectives that are made of them.
static ADJECTIVES: &[(&str, &str)] = &[
    ("hypertension", "hypertensive"),
    ("hypotension", "hypotensive"),
    ("epsy", "eptic"),
    ("emia", "emic"),
    ("itis", "itic"),
    ("osis", "otic"),
    ("uria", "uric"),
    ("plegia", "plegic"),
    ("phrenia", "phrenic"),
    ("trophy", "trophic"),
    ("betes", "betic"),
    ("phobia", "phobic"),
    ("toxicity", "toxic"),
];

/// Words that are no adjectives of what ends so: they name drugs, or nothing of the kind.
static NO_ADJECTIVES: &[&str] = &["antibiotic", "hypnotic", "narcotic", "academic"];

/// The adjective of a name: hypertensive, ischemic. Names of several words have none, and those of
/// less than seven letters are too near to other words.
pub(super) fn adjective(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let is_word = name.chars().count() >= 7 && name.chars().all(char::is_alphabetic);
    let mut all = ADJECTIVES.iter().filter(|_| is_word).filter_map(|(noun, adjective)| {
        name.strip_suffix(noun).map(|stem| format!("{stem}{adjective}"))
    });
    all.next().filter(|adjective| !NO_ADJECTIVES.contains(&adjective.as_str()))
}

/// Without the hyphen between its letters and its number: FK-506 as FK506; nothing of other names.
/// The other way round, PM10 would be found in "at 5 PM 10 patients", where a hyphen is a space.
pub(super) fn numbered(name: &str) -> Option<String> {
    let letters = name.len() - name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (begin, rest) = name.split_at(letters);
    let number = rest.strip_prefix('-')?;
    let is_number = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_alphanumeric());
    (letters > 0 && is_number).then(|| format!("{begin}{number}"))
}

/// The plural of a singular or the singular of a plural, by how a word of English ends; names that
/// are shorter than five letters have none.
pub(super) fn other_number(name: &str) -> Option<String> {
    let with = |stem: &str, end: &str| Some(format!("{stem}{end}"));
    if let Some(stem) = name.strip_suffix("ies") {
        return with(stem, "y");
    }
    // Words of Greek: metastasis, metastases.
    if let Some(stem) = name.strip_suffix("sis") {
        return with(stem, "ses");
    }
    if let Some(stem) = name.strip_suffix("ses") {
        return with(stem, "sis");
    }
    match name.strip_suffix('s') {
        Some(stem) if stem.ends_with(['s', 'i', 'u', '\'']) => None,
        Some(stem) => with(stem, ""),
        None if name.ends_with(['x', 'z']) || name.ends_with("ch") || name.ends_with("sh") => {
            with(name, "es")
        }
        None => match name.strip_suffix('y') {
            Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => with(stem, "ies"),
            _ => with(name, "s"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_in_other_ways() {
        for (name, expected) in [
            ("beta-Blocker", &["β-blocker"][..]),
            ("TGF-β receptor", &["tgf-beta receptor"]),
            ("Anaemia", &["anemia"]),
            ("Leukemia", &["leukaemia"]),
            ("Hemorrhage", &["haemorrhage"]),
            ("brain tumour", &["brain tumor"]),
            ("Diarrhea", &["diarrhoea"]),
            ("post-traumatic stress", &["posttraumatic stress"]),
            (
                "non-beta anemia",
                &[
                    "non-β anemia",
                    "non-beta anaemia",
                    "non-β anaemia",
                    "nonbeta anemia",
                    "nonβ anemia",
                    "nonbeta anaemia",
                    "nonβ anaemia",
                ],
            ),
            ("hemisphere", &[]),
            ("seminoma", &[]),
            ("x-ray", &[]),
            ("肺炎", &[]),
        ] {
            assert_eq!(others(name), expected, "{name}");
        }
    }

    #[test]
    fn adjectives() {
        for (name, expected) in [
            ("Hypertension", Some("hypertensive")),
            ("Ischaemia", Some("ischaemic")),
            ("cirrhosis", Some("cirrhotic")),
            ("Diabetes", Some("diabetic")),
            ("heart ischemia", None),
            ("uremia", None),
            ("extension", None),
            ("narcosis", None),
            ("fever", None),
        ] {
            assert_eq!(adjective(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn numbers_stand_without_a_hyphen_too() {
        for (name, expected) in [
            ("FK506", None),
            ("FK-506", Some("FK506")),
            ("IL-2R", Some("IL2R")),
            ("TNF-a", None),
            ("5-FU", None),
            ("COX-2-x", None),
        ] {
            assert_eq!(numbered(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn numbers() {
        for (one, many) in [
            ("infarction", "infarctions"),
            ("allergy", "allergies"),
            ("metastasis", "metastases"),
            ("reflex", "reflexes"),
        ] {
            assert_eq!(other_number(one).as_deref(), Some(many));
            if one != "reflex" {
                assert_eq!(other_number(many).as_deref(), Some(one));
            }
        }
        assert_eq!(other_number("diabetes insipidus"), None);
        assert_eq!(other_number("illness"), None);
    }
}
