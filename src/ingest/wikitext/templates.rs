//! Inline templates whose arguments are words of the sentence, by the language of the wiki.
//!
//! What a template shows is data, one file a language in `templates/tables/`; `all.toml` holds for
//! every wiki, and a language's own file goes before it. A name stands in `[shows]` with a pattern
//! ([`pattern`]) or a function ([`words`]), under `[silent]` where nothing of it belongs to a
//! sentence (footnotes, marks of maintenance, boxes), or in `[prefixes]` (`lang-`). A name that
//! stands nowhere is unknown: it is dropped as well, and counted, because wrong words are worse
//! than holes, and holes that nobody counts are worse than both.
//!
//! To add one: a line in the table of its language, and one in `templates/examples.tsv` with what
//! its wiki shows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Site, languages};
use words::Arguments;

mod dates;
mod pattern;
mod words;

/// The tables, `all` first.
static FILES: &[(&str, &str)] = &[
    ("all", include_str!("templates/tables/all.toml")),
    ("de", include_str!("templates/tables/de.toml")),
    ("en", include_str!("templates/tables/en.toml")),
    ("es", include_str!("templates/tables/es.toml")),
    ("fr", include_str!("templates/tables/fr.toml")),
    ("ja", include_str!("templates/tables/ja.toml")),
    ("ru", include_str!("templates/tables/ru.toml")),
    ("zh", include_str!("templates/tables/zh.toml")),
];

static TABLES: LazyLock<BTreeMap<&'static str, Table>> = LazyLock::new(|| {
    // A test reads every table, so that none is left out here.
    FILES.iter().filter_map(|(language, text)| Some((*language, Table::read(text).ok()?))).collect()
});

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    shows: BTreeMap<String, String>,
    silent: Names,
    #[serde(default)]
    prefixes: BTreeMap<String, String>,
    months: Option<Names>,
    #[serde(default)]
    languages: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    names: Vec<String>,
}

/// What the templates of a wiki show.
struct Table {
    /// Patterns and functions by name.
    shows: HashMap<String, String>,
    silent: HashSet<String>,
    /// Beginnings of silent names, and ends.
    silent_beginnings: Vec<String>,
    silent_ends: Vec<String>,
    /// Beginnings of names with what those show, the longest first.
    prefixes: Vec<(String, String)>,
    months: Vec<String>,
    languages: HashMap<String, String>,
}

impl Table {
    fn read(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        let shows = file.shows.iter().flat_map(|(names, pattern)| {
            names.split('|').map(|name| (name.to_owned(), pattern.clone())).collect::<Vec<_>>()
        });
        let (mut silent, mut silent_beginnings, mut silent_ends) =
            (HashSet::new(), Vec::new(), Vec::new());

        for name in file.silent.names {
            match (name.strip_prefix('*'), name.strip_suffix('*')) {
                (Some(end), _) => silent_ends.push(end.to_owned()),
                (_, Some(beginning)) => silent_beginnings.push(beginning.to_owned()),
                _ => _ = silent.insert(name),
            }
        }

        let mut prefixes: Vec<(String, String)> = file.prefixes.into_iter().collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Table {
            shows: shows.collect(),
            silent,
            silent_beginnings,
            silent_ends,
            prefixes,
            months: file.months.map_or_else(Vec::new, |months| months.names),
            languages: file.languages,
        })
    }
}

/// The wiki a template stands on: its own table, if it has one, and that of all.
#[derive(Clone, Copy)]
struct Wiki<'s> {
    language: &'s str,
    title: &'s str,
}

impl<'s> Wiki<'s> {
    fn of(site: &Site<'s>) -> Self {
        // Simple English has the templates of English.
        let language = if site.language == "simple" { "en" } else { site.language };
        Wiki { language, title: site.title }
    }

    fn tables(self) -> impl Iterator<Item = &'static Table> {
        [TABLES.get(self.language), TABLES.get("all")].into_iter().flatten()
    }

    /// A month by its number, as it stands in a date; what is no number of one stays.
    fn month(self, month: &str) -> &str {
        let named = |number: usize| {
            let own = TABLES.get(self.language).filter(|table| !table.months.is_empty());
            own.or_else(|| TABLES.get("en"))?.months.get(number.checked_sub(1)?)
        };
        month.parse().ok().and_then(named).map_or(month, String::as_str)
    }

    /// What the wiki calls a country by its code of capitals, where `{{FRA}}` and the like show it.
    fn country(self, code: &str) -> Option<&'static str> {
        let is_code =
            matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let table = TABLES.get(self.language).filter(|_| is_code)?;
        table
            .shows
            .get(&code.to_lowercase())
            .map(String::as_str)
            .filter(|name| !name.contains(['{', '@', '[']))
    }

    /// What the wiki calls a language; a code with a suffix falls back on what stands before it.
    fn language_name(self, code: &str) -> Option<&'static str> {
        let code = code.to_lowercase();
        let named = |code: &str| match self.language {
            "en" => languages::english_name(code),
            _ => TABLES.get(self.language)?.languages.get(code).map(String::as_str),
        };
        named(&code).or_else(|| named(code.split_once('-')?.0))
    }
}

/// What a template leaves behind.
#[derive(Debug, PartialEq)]
pub(super) enum Shown {
    /// These words.
    Text(String),
    /// Nothing, as it should.
    Nothing,
    /// Nothing, because nobody knows what.
    Unknown,
}

/// What `{{name|parts…}}` shows; the name is in lower case, with spaces.
pub(super) fn shown<'t>(name: &str, parts: impl Iterator<Item = &'t str>, site: &Site) -> Shown {
    let wiki = Wiki::of(site);
    // A name of its own goes before a beginning that it shares with others.
    for table in wiki.tables() {
        if let Some(pattern) = table.shows.get(name) {
            return written(pattern, "", parts, wiki);
        }
        if table.silent.contains(name) {
            return Shown::Nothing;
        }
    }

    for table in wiki.tables() {
        let found = table
            .prefixes
            .iter()
            .find_map(|(prefix, pattern)| Some((name.strip_prefix(prefix)?, pattern)));
        if let Some((code, pattern)) = found.filter(|(code, _)| !code.is_empty()) {
            return written(pattern, code, parts, wiki);
        }
        let is_silent =
            table.silent_beginnings.iter().any(|beginning| name.starts_with(beginning.as_str()))
                || table.silent_ends.iter().any(|end| name.ends_with(end.as_str()));
        if is_silent {
            return Shown::Nothing;
        }
    }
    // Functions of the parser compute something, and mostly nothing for a sentence.
    if name.starts_with('#') { Shown::Nothing } else { Shown::Unknown }
}

fn written<'t>(
    pattern: &str,
    code: &str,
    parts: impl Iterator<Item = &'t str>,
    wiki: Wiki<'_>,
) -> Shown {
    let arguments = Arguments::new(parts);
    let text = match pattern.strip_prefix('@') {
        Some(function) => {
            words::function(function).map(|function| function(&arguments, code, wiki))
        }
        None => pattern::write(pattern, &arguments, code, wiki),
    };
    text.filter(|text| !text.is_empty()).map_or(Shown::Nothing, Shown::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::wikitext::clean;

    #[test]
    fn every_table_is_read_and_every_name_stands_once() {
        assert_eq!(TABLES.len(), FILES.len());
        for (language, text) in FILES {
            let file: File =
                toml::from_str(text).unwrap_or_else(|cause| panic!("{language}: {cause}"));
            let names = file.shows.keys().flat_map(|names| names.split('|'));
            let silent = file.silent.names.iter().map(String::as_str);
            let mut seen = HashSet::new();

            for name in names.chain(silent).chain(file.prefixes.keys().map(String::as_str)) {
                assert!(seen.insert(name), "`{name}` stands twice in {language}.toml");
                assert_eq!(name, name.to_lowercase(), "{language}.toml");
                assert!(!name.is_empty() && !name.contains('_'), "`{name}` in {language}.toml");
            }

            for pattern in file.shows.values().chain(file.prefixes.values()) {
                match pattern.strip_prefix('@') {
                    Some(name) => {
                        assert!(words::function(name).is_some(), "`{pattern}` in {language}.toml")
                    }
                    None => assert!(pattern::is_whole(pattern), "`{pattern}` in {language}.toml"),
                }
            }

            let n_months = file.months.map_or(0, |months| months.names.len());
            assert_eq!(n_months, if *language == "all" { 0 } else { 12 }, "{language}.toml");
        }
    }

    /// What the wikis show, language by language.
    #[test]
    fn templates_show_the_words_of_their_wiki() {
        let mut n_by_language: BTreeMap<&str, usize> = BTreeMap::new();
        let mut wrong = Vec::new();

        for line in include_str!("templates/examples.tsv").lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [language, call, expected] = fields[..] else { panic!("{line}") };
            *n_by_language.entry(language).or_default() += 1;
            let site = Site { language, title: "Tin", ..Site::default() };
            // Words around it, as in a sentence.
            let cleaned = clean(&format!("x {call}y"), &site).text;
            let expected = clean(&format!("x {}y", expected.replace('<', "&lt;")), &site).text;

            if cleaned != expected {
                wrong.push(format!("{language} {call}: {cleaned:?} instead of {expected:?}"));
            }
        }

        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(
            n_by_language.len() == 7 && n_by_language.values().all(|n| *n >= 15),
            "{n_by_language:?}"
        );
    }

    /// Beginnings of articles as those wikis write them, and what is left of them.
    const PAGES: &[(&str, &str, &str)] = &[
        (
            "fr",
            "Le moulin de Vallon est bâti au {{s|XII}} et restauré le \
             {{date|3|mai|1921}}{{Référence nécessaire|.}} Il \
             compte {{nombre|12|meules}} pour une surface de {{unité|340|m|2}}<ref>x</ref>, soit \
             {{nobr|4 étages}}.{{Sfn|Roy|1990}} \
             Son nom vient du {{lang-la|mola}}. Le {{1er}} {{lien|langue=de|trad=Müller|meunier}} \
             y naît au {{-s|II|e}} ou après.",
            "Le moulin de Vallon est bâti au XIIe siècle et restauré le 3 mai 1921. Il compte 12 \
             meules pour une surface de \
             340 m^2, soit 4 étages. Son nom vient du en latin : mola. Le 1er meunier y naît au \
             IIe siècle av. J.-C. ou après.",
        ),
        (
            "de",
            "Die Mühle ({{enS|mill}}) liegt auf {{Höhe|412|DE-NHN|link=true}} und wurde \
             {{nowrap|im Mai 1921}} \
             gebaut.<ref>x</ref>{{Belege fehlen}} Sie mahlt {{FormatNum|1200}} Säcke.",
            "Die Mühle (englisch mill) liegt auf 412 m und wurde im Mai 1921 gebaut. Sie mahlt \
             1200 Säcke.",
        ),
        (
            "es",
            "El molino se construyó en el {{siglo|XII||s}} y se reformó el \
             {{fecha|3|5|1921}}.{{cita requerida}} Muele \
             {{unidad|1200|kg}} al día ({{lang-en|mill}}).{{harvnp|Roy|1990}}",
            "El molino se construyó en el siglo XII y se reformó el 3 de mayo de 1921. Muele 1200 \
             kg al día (en inglés, mill).",
        ),
        (
            "ru",
            "Мельница ({{lang-en|mill}}) построена \
             {{OldStyleDate|20|февраля|1888|8}}.{{нет АИ|1|2|2020}} Мелет \
             {{num|1200}} кг, высота {{nobr|25 м}}{{sfn|Рой|1990}}, по данным \
             {{нп3|Ада Квилл|Ады Квилл||Ada Quill}}.",
            "Мельница (англ. mill) построена 8 (20) февраля 1888. Мелет 1200 кг, высота 25 м, по \
             данным Ады Квилл.",
        ),
        (
            "zh",
            "水磨坊（{{lang-en|mill}}）建於{{nowrap|1921年}}，{{le|米勒|Miller}}（{{bd|1923年|8月19日|2003年|4月18日}}）\
             曾居於此{{來源請求}}，重{{convert|5|kg|lb}}。",
            "水磨坊（英语：mill）建於1921年，米勒（1923年8月19日－2003年4月18日）曾居於此，重5 kg。",
        ),
        (
            "ja",
            "水車小屋（{{lang-en-short|mill}}、{{読み仮名|水車|すいしゃ}}）は{{仮リンク|ミラー|en|Miller}}が建てた{{要出典|date=2020年}}。\
             高さ{{convert|5|m|ft}}、{{lang|en|mill}}と呼ぶ{{sfn|ロイ|1990}}。",
            "水車小屋（英: mill、水車（すいしゃ））はミラーが建てた。高さ5 m、millと呼ぶ。",
        ),
    ];

    #[test]
    fn beginnings_of_articles_keep_their_words() {
        let mut wrong = Vec::new();
        for (language, wikitext, expected) in PAGES {
            let cleaned = clean(wikitext, &Site { language, title: "Tin", ..Site::default() });
            if cleaned.text != *expected || !cleaned.unknown.is_empty() {
                wrong.push(format!("{language}: {} {:?}", cleaned.text, cleaned.unknown));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn unknown_names_are_told_from_silent_ones() {
        let check = |language: &str, name: &str, expected: Shown| {
            let site = Site { language, title: "Tin", ..Site::default() };
            assert_eq!(shown(name, ["a"].into_iter(), &site), expected, "{language} {name}");
        };
        check("en", "cite web", Shown::Nothing);
        check("en", "de icon", Shown::Nothing);
        check("en", "#if:x", Shown::Nothing);
        check("en", "no such template", Shown::Unknown);
        check("simple", "nowrap", Shown::Text("a".to_owned()));
        check("bg", "nowrap", Shown::Text("a".to_owned()));
        check("fr", "nombre", Shown::Text("a".to_owned()));
        check("de", "nombre", Shown::Unknown);
    }
}
