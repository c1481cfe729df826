//! `permute`: the sentences of a paragraph in another order.
//!
//! Sentences that lean on the one before go with it: those that begin with a pronoun, a connective
//! or an ordinal, those that point back anywhere ("these patients"), those that mention no concept,
//! and all that one bracket or quotation holds. A short form stands behind where it is explained;
//! that which the paragraph uses most gets its full name where it comes first instead. That is the
//! rule of the generator of Allen-Zhu and Li (PhysicsLM4, `augmentation_permutation2`): protect
//! abbreviations, find how the subject is referred to, shuffle, full name in the first sentence.
//!
//! A paragraph is a line, as readers write them, so the sections of an abstract stay whole and
//! where they are, each behind its label. Never permuted is what has an order of its own: statutes,
//! lists, steps and days, questions and answers, speakers.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use super::{Document, How, Variation};
use crate::draw;
use crate::knowledge::abbreviations::{Definition, definitions};
use crate::rewrite::Mention;
use crate::text::words::{capitalised, is_cjk, words};

/// See the module.
pub(super) static PERMUTE: Variation = Variation {
    name: "permute",
    about: "the sentences of a paragraph in another order, those that lean on another with it",
    keys: &[],
    how: How::Order(|document, _, stream| permuted(document, stream)),
};

/// Words that a sentence leans on the one before with, lower case.
#[rustfmt::skip]
static LEANS: &[&str] = &[
    "it", "its", "he", "she", "his", "her", "they", "their", "them", "we", "our", "this", "that",
    "these", "those", "such", "here", "there", "both", "neither", "either", "each", "another",
    "other", "others", "which", "who", "so", "thus", "hence", "therefore", "thereby", "then",
    "however", "but", "yet", "although", "though", "while", "whereas", "instead", "conversely",
    "moreover", "furthermore", "also", "additionally", "besides", "and", "or", "nor", "because",
    "since", "consequently", "accordingly", "finally", "lastly", "overall", "similarly",
    "likewise", "nevertheless", "nonetheless", "still", "meanwhile", "afterwards", "later",
    "subsequently", "next", "first", "firstly", "second", "secondly", "third", "thirdly",
    "fourth", "alternatively", "specifically", "namely", "indeed", "otherwise", "again", "one",
];

/// The same of several words.
#[rustfmt::skip]
static LEANS_LONG: &[&str] = &[
    "in addition", "in contrast", "on the contrary", "on the other hand", "for example",
    "for instance", "in particular", "as a result", "in other words", "in conclusion",
    "in summary", "in turn", "of these", "of those", "of note", "the former", "the latter",
    "the same", "the other", "at the same time", "to this end", "for this", "in this",
    "in these", "at this", "during this", "after this", "under these", "among these",
    "among them",
];

/// The same in Chinese, without a space behind them.
#[rustfmt::skip]
static LEANS_ZH: &[&str] = &[
    "其", "该", "此", "这", "那", "它", "他", "她", "上述", "前述", "前款", "以上", "但", "然而",
    "不过", "而", "因此", "因而", "所以", "故", "从而", "于是", "同时", "另外", "此外", "并",
    "且", "又", "也", "还", "再", "则", "即", "例如", "如", "其次", "首先", "最后", "第一",
    "第二", "第三", "一是", "二是", "三是", "综上", "总之", "可见", "相反", "同样", "随后",
    "之后", "否则",
];

/// Words that point back, wherever they stand.
static POINTS: &[&str] = &[
    "these",
    "those",
    "this",
    "such",
    "latter",
    "former",
    "remaining",
    "aforementioned",
    "above",
    "respectively",
    "thereafter",
    "therein",
];

/// The same in Chinese.
static POINTS_ZH: &[&str] =
    &["该", "上述", "前述", "此类", "这些", "这种", "前者", "后者", "本款", "前款"];

/// How often an order is drawn until it is another.
const TRIES: usize = 8;

fn permuted(document: &Document, stream: &mut ChaCha8Rng) -> Option<String> {
    let text = document.text;
    if is_list(text) {
        return None;
    }
    let (mut all, mut is_moved) = (String::with_capacity(text.len()), false);
    let mut at = 0;

    for line in text.split_inclusive('\n') {
        let paragraph = at..at + line.trim_end_matches('\n').len();
        match paragraph_permuted(document, &paragraph, stream) {
            Some(permuted) => {
                all.push_str(&permuted);
                all.push_str(&text[paragraph.end..at + line.len()]);
                is_moved = true;
            }
            None => all.push_str(line),
        }
        at += line.len();
    }
    is_moved.then_some(all)
}

/// Whether the order of a text's lines says something: statutes, and texts a third of whose lines
/// are items of lists.
pub(super) fn is_list(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_statute = |line: &&str| {
        line.strip_prefix('第').is_some_and(|rest| {
            let end = rest.find(['条', '章', '节', '款', '编']);
            end.is_some_and(|end| end > 0 && end <= 24 && numeral(&rest[..end]))
        })
    };
    let items = lines.iter().filter(|line| is_item(line)).count();
    lines.iter().any(is_statute) || (items > 1 && 3 * items >= lines.len())
}

fn numeral(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || "〇零一二三四五六七八九十百千之".contains(c);
    !text.is_empty() && text.chars().all(is_digit)
}

/// Whether a line is an item of a list: `1. …`, `(2) …`, `- …`, `（一）…`, `一、…`.
fn is_item(line: &str) -> bool {
    if line.starts_with(['-', '*', '•', '·', '–', '—', '●']) {
        return true;
    }
    let inner = line.trim_start_matches(['(', '（', '[']);
    let end = inner.find(['.', ')', '）', ']', '、', '．', ':', '：']).unwrap_or(0);
    // `2.5 mg were given` begins with a number and is no item.
    let behind = inner[end..].chars().nth(1);
    end > 0 && end <= 12 && numeral(&inner[..end]) && !behind.is_some_and(|c| c.is_ascii_digit())
}

/// A paragraph with its groups of sentences in another order.
fn paragraph_permuted(
    document: &Document,
    paragraph: &Range<usize>,
    stream: &mut ChaCha8Rng,
) -> Option<String> {
    let text = document.text;
    let first = document.sentences.partition_point(|sentence| sentence.start < paragraph.start);
    let behind = document.sentences.partition_point(|sentence| sentence.start < paragraph.end);
    let own = &document.sentences[first..behind];
    if own.len() < 2 || is_item(&text[paragraph.clone()]) {
        return None;
    }

    if has_an_order(&text[paragraph.clone()], own.iter().skip(1).map(|one| &text[one.clone()])) {
        return None;
    }

    // A label stays before whatever comes first behind it.
    let begin = own[0].start + label(&text[own[0].clone()]);
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (nth, sentence) in own.iter().enumerate() {
        let start = if nth == 0 { begin } else { sentence.start };
        let said = &text[start..sentence.end];
        let names = within(document.mentions, &(start..sentence.end)).next().is_some();
        match groups.last_mut() {
            Some(last)
                if leans(said)
                    || !names
                    || !ends(&text[..sentence.start])
                    || is_open(&text[last.clone()]) =>
            {
                last.end = sentence.end;
            }
            _ => groups.push(start..sentence.end),
        }
    }
    if groups.iter().any(|group| is_open(&text[group.clone()])) {
        return None;
    }
    // What does not end as a sentence does would run into the next one.
    let moving = groups.len() - usize::from(!ends(&text[..own[own.len() - 1].end]));
    if moving < 2 {
        return None;
    }

    let short = ShortForms::of(text, &groups);
    let mut order: Vec<usize> = (0..moving).collect();
    let is_same = |order: &[usize]| order.windows(2).all(|pair| pair[0] < pair[1]);
    for _ in 0..TRIES {
        draw::shuffle(&mut order, stream);
        short.put_behind(&mut order);
        if !is_same(&order) {
            break;
        }
    }
    if is_same(&order) {
        return None;
    }
    order.extend(moving..groups.len());
    let named = short.named(text, &groups, &order);

    let mut all = text[paragraph.start..begin].to_string();
    for (place, group) in order.iter().enumerate() {
        let range = &groups[*group];
        match &named {
            Some((at, name)) if range.contains(&at.start) => {
                all.push_str(&text[range.start..at.start]);
                all.push_str(&if at.start == range.start {
                    capitalised(name)
                } else {
                    name.clone()
                });
                all.push_str(&text[at.end..range.end]);
            }
            _ => all.push_str(&text[range.clone()]),
        }
        // What stands between sentences stays at its place.
        let gap = groups.get(place + 1).map(|next| &text[groups[place].end..next.start]);
        all.push_str(gap.unwrap_or_default());
    }
    all.push_str(&text[groups.last().map_or(begin, |last| last.end)..paragraph.end]);
    Some(all)
}

/// The short forms that a paragraph explains and uses.
struct ShortForms {
    /// Of each: the group that explains it, those that use it, and where both forms stand.
    all: Vec<(usize, Vec<usize>, Definition)>,
    /// The one that is used most, where its full name can stand in its place.
    main: Option<usize>,
}

impl ShortForms {
    fn of(text: &str, groups: &[Range<usize>]) -> Self {
        let mut all: Vec<(usize, Vec<usize>, Definition)> = Vec::new();
        for definition in definitions(text) {
            let group = |at: usize| groups.iter().position(|group| group.contains(&at));
            let Some(explains) = group(definition.short.start) else { continue };
            let users = (0..groups.len())
                .filter(|at| *at != explains && uses(text, &groups[*at], &definition).is_some());
            let users: Vec<usize> = users.collect();
            if !users.is_empty() {
                all.push((explains, users, definition));
            }
        }
        // Of Chinese nobody knows where a long form begins.
        let can_be_named = |(_, users, definition): &(usize, Vec<usize>, Definition)| {
            let is_plain = |user: &usize| {
                uses(text, &groups[*user], definition).is_some_and(|one| one.is_plain)
            };
            definition.long.len() > 4 && users.iter().all(is_plain)
        };
        let numbers = (0..all.len()).filter(|at| can_be_named(&all[*at]));
        let main = numbers.max_by_key(|at| (all[*at].1.len(), std::cmp::Reverse(*at)));
        ShortForms { all, main }
    }

    /// Moves groups that explain before those that use, but for the main short form.
    fn put_behind(&self, order: &mut Vec<usize>) {
        for _ in 0..order.len() * self.all.len() {
            let place = |group: usize| order.iter().position(|one| *one == group);
            let wrong = self.all.iter().enumerate().find_map(|(at, (explains, users, _))| {
                let own = place(*explains).filter(|_| Some(at) != self.main)?;
                let first = users.iter().filter_map(|user| place(*user)).min()?;
                (first < own).then_some((own, first))
            });
            let Some((own, first)) = wrong else { return };
            let group = order.remove(own);
            order.insert(first, group);
        }
    }

    /// Where the main short form comes first before it is explained, and the name it gets.
    fn named(
        &self,
        text: &str,
        groups: &[Range<usize>],
        order: &[usize],
    ) -> Option<(Range<usize>, String)> {
        let (explains, users, definition) = &self.all[self.main?];
        let first = order.iter().find(|group| *group == explains || users.contains(group))?;
        if first == explains {
            return None;
        }
        let at = uses(text, &groups[*first], definition)?.place;
        let long = &text[definition.long.clone()];
        // A capital at the beginning of a sentence is none of the name's.
        let opens = groups.iter().any(|group| group.start == definition.long.start);
        let mut letters = long.chars();
        let lower: String =
            letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
        let is_acronym = long.chars().nth(1).is_some_and(|c| !c.is_lowercase());
        Some((at, if opens && !is_acronym { lower } else { long.to_string() }))
    }
}

/// A place where a short form is used.
struct Use {
    place: Range<usize>,
    /// Whether the long form can stand there: it is no plural, and no article stands before it.
    is_plain: bool,
}

/// Where a short form is used first in a group, in either number.
fn uses(text: &str, group: &Range<usize>, definition: &Definition) -> Option<Use> {
    let short = &text[definition.short.clone()];
    let stem = short.strip_suffix('s').unwrap_or(short);
    let said = &text[group.clone()];
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !is_cjk(c));
    said.match_indices(stem).find_map(|(start, _)| {
        let plural = usize::from(said[start + stem.len()..].starts_with('s'));
        let end = start + stem.len() + plural;
        let free =
            !is_word(said[..start].chars().next_back()) && !is_word(said[end..].chars().next());
        let before = said[..start].trim_end().rsplit(' ').next().unwrap_or("").to_lowercase();
        free.then(|| Use {
            place: start + group.start..end + group.start,
            is_plain: &said[start..end] == short && !matches!(before.as_str(), "a" | "an"),
        })
    })
}

/// Whether a paragraph has an order of its own: steps and days, questions, numbered points, or
/// sentences behind the first that begin with a label or a speaker.
fn has_an_order<'a>(paragraph: &str, mut later: impl Iterator<Item = &'a str>) -> bool {
    let lower = paragraph.to_lowercase();
    let numbered = |word: &str| {
        let behind = |(at, word): (usize, &str)| {
            let rest = lower[at + word.len()..].trim_start();
            rest.starts_with(|c: char| c.is_ascii_digit())
                || ["one", "two", "three", "four"].iter().any(|number| rest.starts_with(number))
        };
        lower.match_indices(word).filter(|one| behind(*one)).count()
    };
    let n_steps: usize =
        ["step ", "day ", "week ", "month ", "phase ", "visit "].into_iter().map(numbered).sum();
    n_steps > 1
        || paragraph.contains(['?', '？'])
        || paragraph.contains(|c: char| matches!(c, '①'..='⑳'))
        || later.any(is_labelled)
        || label_is_short(paragraph)
        || (label(paragraph) == 0 && is_labelled(paragraph))
}

/// Whether a sentence begins with a label or a speaker: `METHODS: `, `患者：`.
fn is_labelled(sentence: &str) -> bool {
    let begin: String = sentence.chars().take(30).collect();
    let end = begin.find([':', '：']);
    end.is_some_and(|end| end > 0 && !begin[..end].contains(['.', '。', '，', ',']))
}

/// Whether a paragraph begins with a label of Chinese that may belong to its sentence, `法院认为：`.
fn label_is_short(paragraph: &str) -> bool {
    let begin: String = paragraph.trim_start().chars().take(12).collect();
    begin.find(['：', ':']).is_some_and(|end| end > 0 && begin[..end].chars().all(is_cjk))
}

/// Whether a text opens a bracket or a quotation that it does not close, or closes one.
fn is_open(text: &str) -> bool {
    let pairs = [('(', ')'), ('（', '）'), ('[', ']'), ('“', '”'), ('「', '」'), ('《', '》')];
    let n = |c: char| text.matches(c).count();
    pairs.iter().any(|(open, close)| n(*open) != n(*close)) || n('"') % 2 == 1
}

/// Whether a mention is what stands in brackets: `myocardial infarction (MI)`.
pub(super) fn is_in_brackets(text: &str, mention: &Mention) -> bool {
    text[..mention.start].ends_with(['(', '（', '['])
        && text[mention.end..].starts_with([')', '）', ']'])
}

/// The mentions that lie in a range.
pub(super) fn within<'m>(
    mentions: &'m [Mention],
    range: &Range<usize>,
) -> impl Iterator<Item = &'m Mention> {
    let first = mentions.partition_point(|mention| mention.start < range.start);
    let (start, end) = (range.start, range.end);
    mentions[first..]
        .iter()
        .take_while(move |mention| mention.start < end)
        .filter(move |mention| mention.start >= start && mention.end <= end)
}

/// Length of the label a paragraph begins with, `METHODS: ` or `【适应症】`; 0 where there is none.
fn label(sentence: &str) -> usize {
    if sentence.starts_with('【') {
        return sentence.find('】').map_or(0, |end| end + '】'.len_utf8());
    }
    let Some(end) = sentence.find([':', '：']) else { return 0 };
    let label = &sentence[..end];
    let is_capital =
        label.chars().all(|c| !c.is_lowercase()) && label.contains(char::is_alphabetic);
    if !is_capital || label.contains(is_cjk) || label.len() > 60 {
        return 0;
    }
    let behind = end + sentence[end..].chars().next().map_or(0, char::len_utf8);
    behind + (sentence[behind..].len() - sentence[behind..].trim_start().len())
}

/// Whether a sentence leans on the one before it.
pub(super) fn leans(sentence: &str) -> bool {
    let bare = sentence.trim_start_matches(['"', '\'', '“', '‘', '(', '（']);
    if bare.starts_with(is_cjk) {
        return LEANS_ZH.iter().any(|word| bare.starts_with(word))
            || POINTS_ZH.iter().any(|word| bare.contains(word));
    }
    let lower: String = bare.chars().take(40).flat_map(char::to_lowercase).collect();
    let is_long = |words: &&&str| {
        lower.strip_prefix(**words).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let first = words(&lower).next().map(|word| word.text);
    let points = || words(bare).any(|word| POINTS.contains(&word.text.to_lowercase().as_str()));
    // A small letter, a digit or a closing sign begins what a false end of a sentence cut off.
    bare.starts_with(|c: char| c.is_lowercase() || c.is_ascii_digit())
        || sentence.starts_with([')', ']', '”', '）', '」', ',', ';'])
        || points()
        || first.is_some_and(|word| LEANS.contains(&word))
        || LEANS_LONG.iter().any(|words| is_long(&words))
}

/// Whether a text ends as sentences do.
fn ends(before: &str) -> bool {
    let bare = before.trim_end().trim_end_matches(['"', '\'', ')', '”', '’', '」', '）', ']']);
    bare.ends_with(['.', '!', '?', '。', '！', '？'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::sentences::sentences;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Mentions of some words: the n-th is the concept n.
    fn mentions(text: &str, names: &[&str]) -> Vec<Mention> {
        let mut found: Vec<Mention> = Vec::new();
        for (concept, name) in names.iter().enumerate() {
            let at =
                |(start, _)| Mention { end: start + name.len(), ..Mention::at(start, concept) };
            found.extend(text.match_indices(name).map(at));
        }
        found.sort_by_key(|mention| mention.start);
        found
    }

    /// All that comes of a text over many draws.
    fn all(text: &str, names: &[&str]) -> BTreeSet<String> {
        let mentions = mentions(text, names);
        let sentences = sentences(text);
        let document =
            Document { text, language: None, mentions: &mentions, sentences: &sentences };
        let draw = |nth: u32| permuted(&document, &mut draw::stream(1, "test", &nth.to_le_bytes()));
        (0..64).filter_map(draw).collect()
    }

    #[test]
    fn sentences_move_with_those_that_lean_on_them() {
        let text = "Asthma is common. It is mild. Cough follows asthma. No end is known here.";
        let expected = "Cough follows asthma. No end is known here. Asthma is common. It is mild.";
        assert_eq!(all(text, &["sthma", "ough"]), BTreeSet::from([expected.to_string()]));
        // Nothing moves where all leans, and nothing runs into what has no end.
        assert!(all("Asthma is common. It is mild. However, it stays.", &["sthma"]).is_empty());
        let cut = "Asthma is common. Cough is mild. Asthma goes on with";
        assert_eq!(
            all(cut, &["sthma", "ough"]),
            BTreeSet::from(["Cough is mild. Asthma is common. Asthma goes on with".to_string()])
        );
    }

    #[test]
    fn the_first_short_form_gets_its_name() {
        let text = "In heart failure (HF) rest helps. In HF water collects. Asthma is no HF.";
        let found = all(text, &["heart failure", "HF", "Asthma"]);
        assert!(found.contains(
            "In heart failure water collects. In heart failure (HF) rest helps. Asthma is no HF."
        ));
        assert!(found.contains(
            "Asthma is no heart failure. In heart failure (HF) rest helps. In HF water collects."
        ));
        // Of two short forms one gets its name, and the other stands behind where it is explained.
        let text = "Asthma needs inhaled corticosteroids (ICS). Heart failure (HF) is no asthma. \
                    In asthma ICS help, and so they do in HF. Nothing helps in HF but rest.";
        for found in all(text, &["sthma", "eart failure", "HF"]) {
            assert!(found.find("(ICS)").unwrap() < found.find("ICS help").unwrap(), "{found}");
            let (named, first) = (found.find("eart failure").unwrap(), found.find("HF").unwrap());
            assert!(named < first, "{found}");
        }
    }

    #[test]
    fn what_belongs_together_or_has_an_order_stays() {
        let names = ["sthma", "ough"];
        for text in [
            "BACKGROUND: Asthma is common. METHODS: Cough was counted. RESULTS: Asthma was rare.",
            "Q: Is asthma common? A: Asthma is. Q: Is cough? A: Cough is.",
            "Step 1: Treat asthma. Step 2: Treat cough.",
            "Day one: asthma began. Cough came on day two. Asthma ended.",
            "On day 1 asthma began. On day 2 cough began. Cough ended asthma.",
            "① Asthma is common. ② Cough is rare.",
        ] {
            assert!(all(text, &names).is_empty(), "{text}");
        }
        assert!(all("法院认为：哮喘是病。咳嗽也是病。", &["哮喘", "咳嗽"]).is_empty());

        let together = [
            "He said: \u{201c}Asthma is bad. Cough is worse.\u{201d}",
            "Asthma (in the ward. Cough too) was seen.",
            "Asthma was rare (P < 0. 001), but cough was not.",
            "Asthma is common. Cough was seen in these patients.",
        ];
        for text in together {
            for found in all(&format!("{text} Asthma ends. Cough stays."), &names) {
                assert!(found.contains(text), "{found}");
            }
        }
    }

    #[test]
    fn labels_stay_and_lists_and_statutes_are_left_alone() {
        let text = "METHODS: Asthma was treated. Cough was counted.\nRESULTS: Asthma was rare.";
        assert_eq!(
            all(text, &["sthma", "ough"]),
            BTreeSet::from([
                "METHODS: Cough was counted. Asthma was treated.\nRESULTS: Asthma was rare."
                    .to_string()
            ])
        );
        let zh = "【适应症】哮喘用之。咳嗽用之。";
        assert_eq!(
            all(zh, &["哮喘", "咳嗽"]),
            BTreeSet::from(["【适应症】咳嗽用之。哮喘用之。".to_string()])
        );
        assert!(all("第十二条 哮喘应当登记。咳嗽应当登记。", &["哮喘", "咳嗽"]).is_empty());
        assert!(all("1. Asthma. Cough.\n2. Cough. Asthma.", &["Asthma", "Cough"]).is_empty());
        assert!(
            is_item("2. Give it") && is_item("(3) rest") && is_item("一、哮喘") && is_item("- a")
        );
        assert!(!is_item("2.5 mg were given") && !is_item("In 1. it") && !is_item("哮喘、咳嗽"));
    }

    proptest! {
        /// Nothing is lost and nothing new: the words are the same, as often.
        #[test]
        fn words_stay(text in "([A-C][a-c]{1,3}( [a-cX]{1,4}){0,3}[.?!] ?\n?){2,9}[a-c]{0,3}") {
            let sorted = |text: &str| {
                let mut all: Vec<String> = words(text).map(|word| word.text.to_string()).collect();
                all.sort();
                all
            };
            for found in all(&text, &["a", "b"]) {
                prop_assert_eq!(sorted(&found), sorted(&text));
                prop_assert_eq!(found.len(), text.len());
                prop_assert_eq!(found.matches('\n').count(), text.matches('\n').count());
            }
        }
    }
}
