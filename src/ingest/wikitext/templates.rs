//! Inline templates whose arguments are words of the sentence. Every other template is dropped.
//!
//! To add one: its name (lower case, spaces instead of underscores) in [`RULES`], beside what it shows.

use std::collections::HashMap;
use std::sync::LazyLock;

use words::{Arguments, as_of, chinese, date, fraction, language, measure, nihongo, quotation, sounds, value};

mod words;

/// What a template shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Always this.
    Constant(&'static str),
    /// An unnamed argument, counted from 1.
    Argument(usize),
    /// The last unnamed argument.
    Last,
    /// This, then the first unnamed argument.
    Before(&'static str),
    /// All unnamed arguments with this between.
    Joined(&'static str),
    /// A paragraph of its own: a quotation.
    Quotation,
    /// Two arguments in the order "text (reading)".
    Reading,
    /// `{{convert|5|km|mi}}`
    Measure,
    /// `{{val|5|u=km}}`
    Value,
    /// `{{frac|3|1|2}}`
    Fraction,
    /// `{{lang-fr|mot}}`, with the language in the name.
    Language,
    /// `{{langx|fr|mot}}`, with the language in the first argument.
    LanguageArgument,
    /// `{{nihongo|Tokyo|東京|Tōkyō}}`
    Nihongo,
    /// `{{zh|s=…|p=…}}`
    Chinese,
    /// `{{IPA-fr|ti|lang}}`: the pronunciation in brackets.
    Pronunciation,
    /// `{{IPAc-en|t|ɪ|n}}`: the pronunciation sound by sound.
    Sounds,
    /// `{{ship|HMS|Victory}}`
    Ship,
    /// `{{HMS|Victory}}`, with the prefix in the name.
    ShipOf,
    /// `{{as of|2010|5}}`
    AsOf,
    /// `{{birth date|1960|1|2}}`
    Date,
    /// The title of the page.
    Title,
}

/// What the templates show whose names are listed, separated by `|`.
#[rustfmt::skip]
const RULES: &[(Rule, &str)] = &[
    (Rule::Constant(" "), "nbsp|space|spaces|sp|pad|thinsp|thin space|hairsp|zwsp|,"),
    (Rule::Constant("–"), "ndash|–|en dash"),
    (Rule::Constant("—"), "mdash|—|em dash"),
    (Rule::Constant(" – "), "snd|spnd|spaced ndash|dash|spaced en dash|snds|spndsp"),
    (Rule::Constant(" — "), "spaced mdash|snm"),
    (Rule::Constant(" · "), "·|•|dot|middot|bullet|\\"),
    (Rule::Constant("|"), "!"),
    (Rule::Constant("="), "="),
    (Rule::Constant("\u{2}"), "'|`|apostrophe"),
    (Rule::Constant("\u{2}s"), "'s"),
    (Rule::Constant(""), "-|shy|wbr"),
    (Rule::Constant("π"), "pi"),
    (Rule::Constant("×"), "times"),
    (Rule::Constant("−"), "minus"),
    (Rule::Constant("♯"), "sharp"),
    (Rule::Constant("♭"), "flat"),
    (Rule::Constant("\n"), "br|break|crlf"),
    (Rule::Title, "pagename|fullpagename|subpagename|basepagename"),
    (Rule::Argument(1), "\
        nowrap|nobr|nobreak|no wrap|j|small|smaller|large|larger|big|resize|em|strong|italic|italics|i|b|\
        bold|bolditalic|u|underline|abbr|abbrlink|tooltip|h:title|define|sub|mvar|math|bigmath|tmath|var|\
        code|mono|monospace|tt|kbd|key|keypress|samp|smallcaps|sc|smcaps|unicode|polytonic|iast|\
        unicode fonts|ill|interlanguage link|link-interwiki|interlanguage link multi|illm|link-en|link-de|\
        link-fr|link-ja|link-ru|link-es|link-it|le|lj|lf|lwh|仮リンク|flag|flagcountry|flagu|country|noitalic|\
        noitalics|normal|nobold|noitalic title|visible anchor|vanchor|anchored|linktext|hebrew|hebr|rtl|\
        persian|nastaliq|aramaic|gothic|tibetan|coptic|okina|formatnum|nts|number|ntsh|track gauge|railgauge|\
        sic|typo|as written|notatypo|not a typo|proper name|chem2|music|skr|wikt-lang|wdl|w|lc|uc|lcfirst|\
        ucfirst|longitem|clarify span|citation needed span|cn span|fact span|要出典範囲|補助漢字フォント|cp932フォント|\
        jis2004フォント|拡張漢字|jis90フォント|huge|司法不正|補助漢字|僻字|nobold text|center|centre|plainlist|noflag|plain link|\
        nolink|delink|color|zhongwen|非简体中文|ipa|ipaalink|ipablink|ipa link|api|audio-ipa|angbr|respell|\
        angle bracket|grapheme"),
    (Rule::Last, "\
        lang|transl|transliteration|translit|script|rtl-lang|lang2|wikt|fontcolor|font color|colour|tsl|ilh|\
        internal link helper|bdo|iw|iw2"),
    (Rule::LanguageArgument, "langx"),
    (Rule::Before("c. "), "circa|c.|ca.|c|ca|approx"),
    (Rule::Before("fl. "), "floruit|fl.|fl"),
    (Rule::Before("r. "), "r.|reign"),
    (Rule::Before("b. "), "b.|born"),
    (Rule::Before("d. "), "d.|died"),
    (Rule::Before("US$"), "us$|usd"),
    (Rule::Before("£"), "gbp|£"),
    (Rule::Before("€"), "€|eur|euro"),
    (Rule::Before("A$"), "a$|aud"),
    (Rule::Before("¥"), "¥|jpy"),
    (Rule::Before("×10^"), "e|esp"),
    (Rule::Before(""), "sup"),
    (Rule::Joined(""), "gaps|chem|chemf|su"),
    (Rule::Joined(" "), "bibleverse|bibleref|bibleref2|bible verse|bv"),
    (Rule::Joined(", "), "hlist|flatlist|ubl|unbulleted list|plain list|cslist|comma separated entries|csv"),
    (Rule::Quotation, "\
        quote|blockquote|cquote|quotation|quote box|rquote|bquote|long quote|poem quote|poemquote|quotebox|\
        pull quote|centered pull quote|引文|引用|quote frame|zitat|citation bloc|cita|цитат|цитата|начало цитаты"),
    (Rule::Reading, "読み仮名|読み仮名 ruby不使用|ruby|ルビ|ふりがな|ruby-ja|rubyja|yomigana"),
    (Rule::Measure, "convert|cvt|convertir|unité|convert/2"),
    (Rule::Value, "val|math value"),
    (Rule::Fraction, "frac|fraction|sfrac|vfrac|fract"),
    (Rule::Nihongo, "nihongo|nihongo2|nihongo3|nihongo krt|korean"),
    (Rule::Chinese, "zh|zh-full|chinese"),
    (Rule::Ship, "ship|sclass|sclass2|sclass-"),
    (Rule::ShipOf, "hms|uss|hmas|hmcs|hnlms|ss|ms|rms|sms|mv|rv|uscgc|usns"),
    (Rule::AsOf, "as of|asof"),
    (Rule::Date, "\
        birth date|birth-date|death date|start date|end date|date|dts|birth date and age|death date and age|\
        release date|start date and age|bda"),
];

/// The rules by name.
static BY_NAME: LazyLock<HashMap<&str, Rule>> = LazyLock::new(|| {
    let names = |(rule, names): &(Rule, &'static str)| names.split('|').map(|name| (name, *rule)).collect::<Vec<_>>();
    RULES.iter().flat_map(names).collect()
});

/// What the template called `name` shows; `None` for those that are dropped.
fn rule(name: &str) -> Option<Rule> {
    BY_NAME.get(name).copied().or_else(|| match name {
        _ if name.starts_with("lang-") => Some(Rule::Language),
        _ if name.starts_with("ipa-") => Some(Rule::Pronunciation),
        _ if name.starts_with("ipac-") => Some(Rule::Sounds),
        _ if name.starts_with("internal link helper/") => Some(Rule::Argument(1)),
        _ => None,
    })
}

/// What `{{name|parts…}}` shows, or `None` when it is dropped.
pub(super) fn shown<'t>(name: &str, parts: impl Iterator<Item = &'t str>, site: &super::Site) -> Option<String> {
    let rule = rule(name)?;
    let arguments = Arguments::new(parts);
    let first = arguments.get(1);
    let text = match rule {
        Rule::Constant(text) => return Some(text.to_owned()),
        Rule::Title => return Some(site.title.to_owned()),
        Rule::Argument(place) => {
            arguments.named(&["text", "lt"]).map_or_else(|| arguments.get(place).to_owned(), str::to_owned)
        }
        Rule::Last => arguments.named(&["text"]).unwrap_or_else(|| arguments.last()).to_owned(),
        Rule::Before(prefix) if first.is_empty() => prefix.trim_end().to_owned(),
        Rule::Before(prefix) => format!("{prefix}{}", arguments.joined("–")),
        Rule::Joined(separator) => arguments.joined(separator),
        Rule::Quotation => quotation(&arguments),
        Rule::Reading if arguments.get(2).is_empty() => first.to_owned(),
        Rule::Reading => format!("{first}（{}）", arguments.get(2)),
        Rule::Measure => measure(&arguments),
        Rule::Value => value(&arguments),
        Rule::Fraction => fraction(&arguments),
        Rule::Language => language(name.trim_start_matches("lang-"), first, site),
        Rule::LanguageArgument => language(first, arguments.get(2), site),
        Rule::Nihongo => nihongo(&arguments),
        Rule::Chinese => chinese(&arguments),
        Rule::Pronunciation if first.is_empty() => String::new(),
        Rule::Pronunciation => format!("[{first}]"),
        Rule::Sounds => sounds(&arguments),
        Rule::Ship => arguments.unnamed.iter().take(2).copied().collect::<Vec<_>>().join(" "),
        Rule::ShipOf => format!("{} {first}", name.to_uppercase()),
        Rule::AsOf => as_of(&arguments),
        Rule::Date => date(&arguments),
    };
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::wikitext::Site;

    #[test]
    fn every_name_stands_once() {
        let n_names: usize = RULES.iter().map(|(_, names)| names.split('|').count()).sum();
        assert_eq!(BY_NAME.len(), n_names);
        assert!(BY_NAME.keys().all(|name| *name == name.trim().to_lowercase() && !name.is_empty()));
    }

    #[test]
    fn inline_templates_keep_their_words() {
        let site = Site { language: "en", title: "Tin", ..Site::default() };
        let check = |call: &str, expected: &str| {
            let (name, rest) = call.split_once('|').unwrap_or((call, ""));
            let parts = rest.split('|').filter(|_| call.contains('|'));
            assert_eq!(shown(name, parts, &site).unwrap_or_default(), expected, "{call}");
        };
        check("convert|5|km|mi", "5 km");
        check("convert|5|-|10|km|mi|abbr=on", "5–10 km");
        check("convert|5|ft|2|in|m", "5 ft 2 in");
        check("convert|5|by|6|m", "5 by 6 m");
        check("convert|20|C|F", "20 °C");
        check("lang|fr|mot", "mot");
        check("lang-fr|mot", "French: mot");
        check("lang-xx|mot", "mot");
        check("langx|de|Wort", "German: Wort");
        check("nowrap|a b", "a b");
        check("nowrap|1=a = b", "a = b");
        check("abbr|km|kilometre", "km");
        check("circa|1500", "c. 1500");
        check("circa", "c.");
        check("frac|3|1|2", "3 1/2");
        check("val|5|e=6|u=Hz", "5×10^6 Hz");
        check("as of|2010|5|lc=y", "as of May 2010");
        check("zh|s=中|p=zhōng", "simplified Chinese: 中; pinyin: zhōng");
        check("nihongo|Tea|茶|cha", "Tea (茶, cha)");
        check("読み仮名|茶|ちゃ", "茶（ちゃ）");
        check("hms|Victory", "HMS Victory");
        check("pagename", "Tin");
        check("chem|H|2|O", "H2O");
        check("ipac-en|lang|t|ɪ|n|audio=x", "/tɪn/");
        check("ipa-fr|etɛ̃|lang", "[etɛ̃]");
        check("cite web|title=x", "");
        check("nowrap", "");
        check("convert|x=1", "");
    }
}
