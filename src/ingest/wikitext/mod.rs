//! Wikitext → plain text, in one linear pass and a pass over the lines.
//!
//! # What stays
//! Paragraphs, headings (a paragraph each, without `=`; only above text that stays), list items (a
//! line each), link and external-link labels, alternative text of inline templates that carry words
//! ([`templates`]), inline formulae as their LaTeX source, quotations, source code inside a
//! sentence. Raised and lowered digits are read by the rule of [`numbers`] (`10^6`, `H2O`).
//!
//! # What goes
//! All other templates (counted, where one leaves a hole in a sentence) and parser functions,
//! tables (wiki and HTML), files with their captions, categories, interlanguage links, references,
//! galleries, comments, code blocks (`<pre>`, `<syntaxhighlight>`, `<source>`), scores, timelines,
//! maps, hidden spans, magic words, signatures, sections that hold no prose ([`sections`]),
//! parentheses and punctuation that only held what went.
//!
//! # Why not a crate
//! `parse-wiki-text-2` 0.2.0, the only Rust parser that is still published, was tried. It is fast
//! on clean articles (134 MB/s on a 2016 English dump), but backtracks exponentially: one thousand
//! `{{`, `{|` or `[http:// ` in a row already run into its time-out. The time-out is wall-clock
//! time, so what it returns depends on the machine's load, which a reproducible build cannot have;
//! without it such a page never ends. It knows no language-converter markup (`-{zh-hans:…}-`), and
//! it leaves templates as trees of nodes, so the greater part of this module would be needed on top
//! of it anyway. This module reads every byte a bounded number of times and never recurses.
//!
//! # Parts
//! [`scan`] is the pass over the characters (comments, tags, templates, links, tables, entities),
//! with [`tags`], [`links`], [`templates`] and [`variants`] for what each piece turns into;
//! [`blocks`] is the pass over the lines (headings, lists, paragraphs); [`inline`] tidies the
//! inside of one line.

use std::collections::BTreeMap;

use crate::ingest::numbers;

mod blocks;
mod disambiguation;
mod entities;
mod inline;
mod languages;
mod links;
mod scan;
mod sections;
mod tags;
mod templates;
mod variants;

pub(super) use entities::decode as decode_entities;

/// Stands where something was removed, so that [`inline`] can mend what is around it. Never leaves
/// this module.
const GAP: char = '\u{1}';

/// An apostrophe that is no bold or italic mark. Never leaves this module.
const APOSTROPHE: char = '\u{2}';

/// How deep pieces may nest and still be rewritten; deeper ones are dropped or left as they are.
/// MediaWiki itself stops expanding templates at 40. The bound is what keeps hostile nesting
/// linear.
const MAX_DEPTH: usize = 40;

/// What the cleaner must know about a wiki and a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Site<'a> {
    /// Language of the wiki, such as `en`.
    pub language: &'a str,
    /// Title of the page, for `{{PAGENAME}}`.
    pub title: &'a str,
    /// The wiki's own names of the file namespaces, lower case, beside the common ones.
    pub files: Vec<String>,
    /// The wiki's own names of the category namespace, lower case, beside the common ones.
    pub categories: Vec<String>,
}

/// Clean text of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cleaned {
    /// Paragraphs separated by one empty line; list items on lines of their own.
    pub text: String,
    /// Whether the page says that it lists the meanings of a word.
    pub disambiguation: bool,
    /// Lines of wikitext that became text.
    pub n_lines: u64,
    /// Templates that nobody knows and that stood in lines of prose, by name.
    pub unknown: BTreeMap<String, u64>,
}

/// The plain text of `wikitext`. Time and memory grow linearly with its length, whatever it holds.
pub(super) fn clean(wikitext: &str, site: &Site) -> Cleaned {
    let scanned = scan::scan(wikitext, site);
    let (paragraphs, n_lines) = blocks::paragraphs(&scanned.text);
    let text = numbers::linear(paragraphs).into_owned();
    Cleaned { text, disambiguation: scanned.disambiguation, n_lines, unknown: scanned.unknown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(wikitext: &str, language: &str) -> Cleaned {
        clean(wikitext, &Site { language, title: "Page", ..Site::default() })
    }

    #[test]
    fn wikitext_becomes_plain_text() {
        let check = |wikitext: &str, expected: &str| {
            assert_eq!(cleaned(wikitext, "en").text, expected, "{wikitext:?}");
        };
        check(
            "'''Tin''' is a [[metal|soft metal]] and [[element]]s.",
            "Tin is a soft metal and elements.",
        );
        check(
            "{{Infobox|a={{b|c}}\n| d = [[e]]\n}}\nTin{{sfn|A|1}} melts.<ref \
             name=\"x\">[[y]]</ref><ref name=z/>",
            "Tin melts.",
        );
        check("a [[File:x.png|thumb|b [[c|d]] {{e}} [http://f g]]] h", "a h");
        check("[[Category:A]]\n[[fr:B]]\na [[:Category:C|c]]", "a c");
        check("a [http://b.c/d e f] g [http://h] i [[http://j k]] l", "a e f g i k l");
        check("{| class=x\n|-\n| a || b\n{|\n| c\n|}\n|}\nd", "d");
        check("{{x|\n{|\n| a\n|}}}\nb", "b");
        check("{| \n| unclosed\n== H ==\na\n|}", "H\n\na");
        check("<table><tr><td>a</td></tr></table>b", "b");
        check("a<!-- b --> c\n<!-- d -->\ne", "a c e");
        check("<nowiki>[[a]] {{b}} '''c'''</nowiki>", "[[a]] {{b}} '''c'''");
        check("x<sup>2</sup> is 10<sup>6</sup> H<sub>2</sub>O", "x^2 is 10^6 H2O");
        check("log<sub>2</sub>8<sup>{{x}}</sup>, 5½, <sup>14</sup>C", "log_2 8, 5 1/2, 14C");
        check(
            "the <code>while</code> and <syntaxhighlight lang=c inline>a[[1]]</syntaxhighlight> b",
            "the while and a[[1]] b",
        );
        check("a [[Media:b.ogg|c]] d [[Media:b.ogg]] e", "a c d e");
        check(
            "a &amp; b &lt;i&gt; &amp;nbsp;&nbsp; c &#8211; &#x2013; &unknown;",
            "a & b <i> c – – &unknown;",
        );
        check("f''(x) is <math>f''(x)=\\frac{{a}}{b}</math>", "f(x) is f''(x)=\\frac{{a}}{b}");
        check("__NOTOC__\na ~~~~ b __c__", "a b __c__");
        check("{{convert|5|km|mi}} ({{IPA-xx|}}; {{lang|fr|mot}})", "5 km (mot)");
        check("a ({{x}}) b ({{y}}, c) d() {{cite}}, e", "a b (c) d(), e");
        check("a {{unclosed\n\nb [[unclosed\n\nc", "a unclosed\n\nb unclosed\n\nc");
        check("a {{b\n== H ==\nc }} d", "a b\n\nH\n\nc d");
        check("a }} b ]] c |} d", "a b c |} d");
        check("{{{param|default}}} {{{{{x}}}}}", "default");
        check("<gallery>\na.png|b\n</gallery>\nc<syntaxhighlight lang=c>d</syntaxhighlight>", "c");
        check("a<span style=\"display:none\">b</span> c", "a c");
        check("a\n\n== References ==\n<references/>\n== See also ==\n* b", "a");
        check("a -{b}- c", "a -{b}- c");
        check("a<br/>b<p>c</p>", "a b\n\nc");
        check("1 < 2 and <stdio.h>", "1 < 2 and <stdio.h>");
        check("{{PAGENAME}} is here", "Page is here");
        check("", "");
    }

    #[test]
    fn language_variants_are_chosen_on_wikis_that_have_them() {
        let check = |wikitext: &str, expected: &str| {
            assert_eq!(cleaned(wikitext, "zh").text, expected, "{wikitext}")
        };
        check("甲-{zh-hans:计算机;zh-hant:電腦}-乙", "甲计算机乙");
        check("甲-{zh-tw:[[電腦|電]];zh-cn:[[电脑]]}-乙", "甲电脑乙");
        check("-{T|zh-hans:题;zh-hant:題}-甲-{H|zh-hans:乙;zh-hant:丙}-", "甲");
        check("甲（{{lang|en|tin}}）乙（{{x}}）丙", "甲（tin）乙丙");
        check("-{A|zh-hans:甲;zh-hant:乙}-是{{x|-{丙}-}}", "甲是");
        check("甲-{原文}-乙-{unclosed", "甲原文乙unclosed");
    }

    #[test]
    fn unknown_templates_are_counted_where_they_leave_a_hole() {
        let check = |wikitext: &str, expected: &[(&str, u64)], n_lines: u64| {
            let cleaned = cleaned(wikitext, "en");
            let unknown: Vec<(&str, u64)> =
                cleaned.unknown.iter().map(|(name, n)| (&**name, *n)).collect();
            assert_eq!((unknown.as_slice(), cleaned.n_lines), (expected, n_lines), "{wikitext}");
        };

        check("A {{no such|x}} b{{No_Such}}.\n* c {{sfn|d}}\n\nE", &[("no such", 2)], 3);
        check("{{no such box|x}}\n{{such}}\n\nTin {{cite web}}", &[], 1);
        check("{{such}} is a metal", &[("such", 1)], 1);
        check(
            "{{such}}{{cite web|title=b}}\n{| \n| a {{such}} b\n|}\n{{nowrap|{{such}} b}} c",
            &[],
            1,
        );
    }

    #[test]
    fn disambiguation_pages_say_so() {
        let check = |wikitext: &str, expected: bool| {
            assert_eq!(cleaned(wikitext, "en").disambiguation, expected, "{wikitext}");
        };
        check("'''A''' may be\n* b\n{{disambig}}", true);
        check("{{Disambiguation|geo}}", true);
        check("{{消歧义}}", true);
        check("a __DISAMBIG__", true);
        check("a{{disambiguation needed}} {{otheruses}}", false);
    }

    /// Quadratic work on any of these would be 10^10 steps and more, hundreds of times over.
    #[test]
    fn hostile_nesting_takes_linear_time() {
        let openings = [
            "{{",
            "{{{",
            "[[",
            "[[a|",
            "{{a|",
            "{{nowrap|",
            "\n{|\n|",
            "<ref>",
            "<ref><b>",
            "<b>",
            "<table>",
            "[http://a ",
            "[[File:a|",
            "-{",
            "-{zh-cn:",
            "<!--",
            "<nowiki>",
            "<span style='display:none'>",
            "''",
            "'''",
            "\n==",
            "\n== a",
            "&",
            "&amp;",
            "__",
            "__A",
            "~",
            "(",
            "({{a}}",
            "\n* ",
            "\n----",
            "-",
            "<",
            "</",
            "<ref",
            "[",
            "]",
            "}",
            "|",
            "=",
            "\n:{|",
            "\n----  ",
        ];

        let closings = ["", "}}", "]]", "]", "\n|}", "}-"];
        for opening in openings {
            for closing in closings {
                let hostile = opening.repeat(100_000) + "a b" + &closing.repeat(100_000);
                let cleaned = cleaned(&hostile, "zh");
                assert!(cleaned.text.len() <= hostile.len() + 16, "{opening:?} {closing:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cleaned(pieces in prop::collection::vec(
            prop::sample::select(vec![
                "{{", "}}", "{{{", "}}}", "[[", "]]", "[http://a ", "]", "|", "\n", "\n\n", "\n{|",
                "\n|}", "\n|-", "==",
                "\n== ", "<ref>", "</ref>", "<ref/>", "<table>", "</table>", "<nowiki>",
                "</nowiki>", "<!--", "-->", "-{", "}-",
                "&amp;", "&nbsp;", "&#x41;", "''", "'''", "a", "é", "漢", "(", ")", ",", " ",
                "File:", "Category:", "lang|fr|",
                "convert|1|km", "__NOTOC__", "~~~~", ":", "*", "\u{1}", "\u{2}",
                "<span style=display:none>", "</span>",
            ]), 0..60)) {
            let text = pieces.concat();
            let cleaned = cleaned(&text, "zh").text;
            let has_mark = cleaned.contains([GAP, APOSTROPHE]);
            prop_assert!(!has_mark);
            let is_tidy = !cleaned.contains("\n\n\n") && cleaned.trim() == cleaned;
            prop_assert!(is_tidy);
        }

        #[test]
        fn any_characters_are_cleaned(text in ".{0,400}") {
            cleaned(&text, "en");
        }
    }
}
