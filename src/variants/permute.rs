//! `permute`: the sentences of a paragraph in another order.
//!
//! Sentences that lean on the one before go with it: those that begin with a pronoun, a
//! demonstrative, a connective or an ordinal, and those that mention no concept. Where the first
//! mention of what the paragraph is about is a short form then, it gets its full name. That is the
//! rule of the generator of Allen-Zhu and Li (PhysicsLM4, `augmentation_permutation2`): protect
//! abbreviations, find how the subject is referred to, shuffle, full name in the first sentence.
//!
//! A paragraph is a line, as readers write them, so the sections of an abstract stay whole and
//! where they are, each behind its label. Statutes and lists are never permuted: their order says
//! something.

use std::collections::BTreeMap;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use super::{Document, How, Variation};
use crate::draw;
use crate::knowledge::names::Rule;
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
fn is_list(text: &str) -> bool {
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

    // A label stays before whatever comes first behind it.
    let begin = own[0].start + label(&text[own[0].clone()]);
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (nth, sentence) in own.iter().enumerate() {
        let start = if nth == 0 { begin } else { sentence.start };
        let said = &text[start..sentence.end];
        let names = within(document.mentions, &(start..sentence.end)).next().is_some();
        match groups.last_mut() {
            Some(last) if leans(said) || !names || !ends(&text[..sentence.start]) => {
                last.end = sentence.end;
            }
            _ => groups.push(start..sentence.end),
        }
    }
    // What does not end as a sentence does would run into the next one.
    let moving = groups.len() - usize::from(!ends(&text[..own[own.len() - 1].end]));
    if moving < 2 {
        return None;
    }

    let mut order: Vec<usize> = (0..moving).collect();
    let is_same = |order: &[usize]| order.windows(2).all(|pair| pair[0] < pair[1]);
    for _ in 0..TRIES {
        if !is_same(&order) {
            break;
        }
        draw::shuffle(&mut order, stream);
    }
    if is_same(&order) {
        return None;
    }
    order.extend(moving..groups.len());
    let named = full_name(document, &groups, &order);

    let mut all = text[paragraph.start..begin].to_string();
    for (place, group) in order.iter().enumerate() {
        let range = &groups[*group];
        match &named {
            Some((mention, name)) if range.contains(&mention.start) => {
                all.push_str(&text[range.start..mention.start]);
                let opens = mention.start == range.start;
                all.push_str(&if opens { capitalised(name) } else { (*name).to_string() });
                all.push_str(&text[mention.end..range.end]);
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

/// The first mention, in the new order, of what the paragraph mentions most, where it is a short
/// form, and the full name it gets.
fn full_name<'a>(
    document: &Document<'a>,
    groups: &[Range<usize>],
    order: &[usize],
) -> Option<(&'a Mention, &'a str)> {
    let whole = groups.first()?.start..groups.last()?.end;
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    within(document.mentions, &whole).for_each(|one| *counts.entry(one.concept).or_default() += 1);
    let most = counts.iter().max_by_key(|(concept, n)| (**n, std::cmp::Reverse(**concept)));
    let (main, _) = most?;

    let mut mentions = order.iter().flat_map(|group| within(document.mentions, &groups[*group]));
    let first = mentions.find(|mention| mention.concept == *main)?;
    if first.rule != Rule::Abbreviation || is_in_brackets(document.text, first) {
        return None;
    }
    let full = document
        .mentions
        .iter()
        .filter(|one| one.concept == *main && one.rule != Rule::Abbreviation && !one.is_fixed());
    let name = full.map(|one| &document.text[one.start..one.end]).max_by_key(|name| name.len())?;
    Some((first, name))
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
    let is_short = label.chars().all(is_cjk) && label.chars().count() <= 8;
    if !(is_capital && !label.contains(is_cjk) && label.len() <= 60 || is_short) {
        return 0;
    }
    let behind = end + sentence[end..].chars().next().map_or(0, char::len_utf8);
    behind + (sentence[behind..].len() - sentence[behind..].trim_start().len())
}

/// Whether a sentence leans on the one before it.
pub(super) fn leans(sentence: &str) -> bool {
    let bare = sentence.trim_start_matches(['"', '\'', '“', '‘', '(', '（']);
    if bare.starts_with(is_cjk) {
        return LEANS_ZH.iter().any(|word| bare.starts_with(word));
    }
    let lower: String = bare.chars().take(40).flat_map(char::to_lowercase).collect();
    let is_long = |words: &&&str| {
        lower.strip_prefix(**words).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let first = words(&lower).next().map(|word| word.text);
    // A small letter begins what a false end of a sentence cut off.
    bare.starts_with(char::is_lowercase)
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

    /// Mentions of some words: the n-th is the concept n; those in capitals are short forms of the
    /// one before them.
    fn mentions(text: &str, names: &[&str]) -> Vec<Mention> {
        let mut found: Vec<Mention> = Vec::new();
        for (nth, name) in names.iter().enumerate() {
            let is_short = name.chars().all(char::is_uppercase);
            let rule = if is_short { Rule::Abbreviation } else { Rule::Name };
            let concept = nth - usize::from(is_short);
            let at = |(start, _)| Mention {
                end: start + name.len(),
                rule,
                ..Mention::at(start, concept)
            };
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
        let text = "Heart failure (HF) is common. HF needs care. Asthma may lead to HF.";
        let found = all(text, &["eart failure", "HF", "sthma"]);
        assert!(
            found.iter().any(|text| text.starts_with("eart failure") || text.starts_with("Eart"))
        );
        let text = "In heart failure (HF) rest helps. In HF water collects. Asthma is no HF.";
        let found = all(text, &["heart failure", "HF", "Asthma"]);
        assert!(found.contains(
            "In heart failure water collects. In heart failure (HF) rest helps. Asthma is no HF."
        ));
        assert!(found.contains(
            "Asthma is no heart failure. In heart failure (HF) rest helps. In HF water collects."
        ));
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
