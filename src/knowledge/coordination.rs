//! Names that share a word: "breast and ovarian cancer", "type 1 and 2 diabetes", "cancer of the
//! breast and ovary", "hypo- and hyperglycaemia", 肺和肝癌.
//!
//! Each concept of such a group is a mention of the whole group, as corpora of entities have it
//! (BC5CDR and NCBI-disease call it composite), so several mentions stand at one place. A group is
//! only what the lexicon bears out: every name, made whole, is one of its names. What is a name of
//! the same kind by itself shares nothing: "fever and dengue fever".

use std::ops::Range;

use memchr::memmem;

use super::mentions::{Mention, Scan};
use super::names::Rule;
use crate::text::words::{continues, is_cjk, words};

/// Most words of a name beside those it shares, and most characters of a script without spaces.
const WORDS: usize = 4;
const CHARACTERS: usize = 6;
/// Most names of a group.
const NAMES: usize = 6;
/// How far around a mention is looked at, in bytes.
const AROUND_BYTES: usize = 100;

/// Words that stand between the last two names of a group, and signs.
static WORDS_BETWEEN: &[&str] = &["and/or", "and", "or"];
static SIGNS_BETWEEN: &[&str] = &["/", "&", "以及", "和", "及", "与", "或", "、"];
/// What stands between others.
static LISTED: &[&str] = &[",", "，"];

/// What knows the names of a lexicon.
pub(super) trait Names {
    /// The concept that a whole text is a name of.
    fn concept(&self, name: &str) -> Option<u32>;

    /// Whether two concepts are of one kind.
    fn is_one_kind(&self, a: u32, b: u32) -> bool;
}

/// Where the names of a group stand, and what they name, in their order.
struct Group {
    range: Range<usize>,
    concepts: Vec<u32>,
}

/// Makes mentions of groups out of the mentions that end or begin them.
pub(super) fn resolve(text: &str, scan: &mut Scan, names: &impl Names) {
    let mut groups: Vec<Group> = Vec::new();
    for (nth, mention) in scan.mentions.iter().enumerate() {
        let floor = groups.last().map_or(0, |group| group.range.end);
        if mention.start >= floor {
            let place = Place { text, names, mentions: &scan.mentions, nth, floor };
            groups.extend(place.group());
        }
    }

    groups.extend(numbered(text, scan, names));
    if groups.is_empty() {
        return;
    }

    // Of two that touch, the one that begins first.
    groups.sort_by_key(|group| group.range.start);
    let mut mentions: Vec<Mention> = Vec::with_capacity(scan.mentions.len() + groups.len());
    let mut rest = scan.mentions.iter().peekable();
    let mut behind = 0;
    for Group { range: Range { start, end }, concepts } in groups {
        if start < behind {
            continue;
        }
        while let Some(mention) = rest.next_if(|mention| mention.end <= start) {
            mentions.push(*mention);
        }
        let before = mentions.last();
        let (from, n_words) = before.map_or((0, 0), |before| (before.start, before.word));
        let word = n_words + words(&text[from..start]).count() as u32;
        let of = |concept| Mention { start, end, concept, word, rule: Rule::Coordination };
        mentions.extend(concepts.into_iter().map(of));
        while rest.next_if(|mention| mention.start < end).is_some() {}
        behind = end;
    }
    mentions.extend(rest);
    scan.mentions = mentions;
}

/// "type 1 and 2 diabetes": numbers or letters tell apart what begins and ends alike. No name need
/// stand there whole.
fn numbered(text: &str, scan: &Scan, names: &impl Names) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for separator in [" and ", " or ", "/", " & "] {
        for at in memmem::find_iter(text.as_bytes(), separator) {
            let behind = at + separator.len();
            // Most of them stand between words, and nothing else is looked at then.
            if !ends_with_number(&text[..at]) || !begins_with_number(&text[behind..]) {
                continue;
            }
            let near = text.floor_char_boundary(at.saturating_sub(AROUND_BYTES))..at;
            let far = behind..text.floor_char_boundary(behind + AROUND_BYTES);
            let before = units(text, near);
            let after = units(text, far);
            let ([.., first], [second, heads @ ..]) = (&before[..], &after[..]) else { continue };
            if !is_number(&text[first.clone()]) || !is_number(&text[second.clone()]) {
                continue;
            }

            let mut apart = vec![first.clone(), second.clone()];
            let mut begins = &before[..before.len() - 1];
            while let [rest @ .., number, comma] = begins
                && &text[comma.clone()] == ","
                && is_number(&text[number.clone()])
            {
                apart.insert(0, number.clone());
                begins = rest;
            }
            let concepts = |begin: &Range<usize>, head: &Range<usize>| -> Option<Vec<u32>> {
                let begin = text[begin.start..apart[0].start].trim_end();
                let head = &text[heads[0].start..head.end];
                let name = |number: &Range<usize>| {
                    names.concept(&joined(&joined(begin, &text[number.clone()]), head))
                };
                apart.iter().map(name).collect()
            };
            let group = heads.iter().take(WORDS).rev().find_map(|head| {
                begins.iter().rev().take(2).find_map(|begin| {
                    let range = begin.start..head.end;
                    concepts(begin, head).map(|concepts| Group { range, concepts })
                })
            });
            groups.extend(group.filter(|group| is_whole(group, &scan.mentions)));
        }
    }
    groups
}

/// Whether a group names several things, and no mention goes over its begin or its end.
fn is_whole(group: &Group, mentions: &[Mention]) -> bool {
    let is_over = |at: usize| {
        let first = mentions.partition_point(|mention| mention.end <= at);
        mentions.get(first).is_some_and(|mention| mention.start < at)
    };
    let Range { start, end } = group.range;
    group.concepts.iter().any(|one| *one != group.concepts[0]) && !is_over(start) && !is_over(end)
}

/// Whether the last word of a text may be a number, and the first one.
fn ends_with_number(text: &str) -> bool {
    let n = text.bytes().rev().take_while(u8::is_ascii_alphanumeric).take(5).count();
    is_number(&text[text.len() - n..])
}

fn begins_with_number(text: &str) -> bool {
    let n = text.bytes().take_while(u8::is_ascii_alphanumeric).take(5).count();
    is_number(&text[..n])
}

/// Whether a word is what things of one name are counted by: 1, II, B, 2a, C7; but no article.
fn is_number(word: &str) -> bool {
    let is_short =
        (1..=4).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_roman = word.bytes().all(|byte| matches!(byte, b'I' | b'V' | b'X'));
    is_short
        && word != "a"
        && (word.len() == 1 || is_roman || word.bytes().any(|byte| byte.is_ascii_digit()))
}

/// A mention, and what stands around it.
struct Place<'a, N> {
    text: &'a str,
    names: &'a N,
    mentions: &'a [Mention],
    nth: usize,
    /// Where the group before ends.
    floor: usize,
}

impl<N: Names> Place<'_, N> {
    fn mention(&self) -> Mention {
        self.mentions[self.nth]
    }

    /// The mention as it stands in the text.
    fn whole(&self) -> &str {
        let Mention { start, end, .. } = self.mention();
        &self.text[start..end]
    }

    fn group(&self) -> Option<Group> {
        let parts = self.parts(self.mention().start);
        let before = parts
            .first()
            .and_then(|nearest| self.shared_prefix(nearest).or_else(|| self.shared_head(&parts)));
        let mut group = before.or_else(|| self.shared_begin())?;
        group.concepts.dedup();
        is_whole(&group, self.mentions).then_some(group)
    }

    /// What may be the other names of a group whose last one begins at a place, nearest first.
    fn parts(&self, start: usize) -> Vec<Range<usize>> {
        let (mut parts, mut at) = (Vec::new(), start);
        while parts.len() + 1 < NAMES
            && let Some(end) = self.parted_before(at, !parts.is_empty())
            && let Some(from) = self.units_before(end).first()
        {
            parts.push(*from..end);
            at = *from;
        }
        parts
    }

    /// Where the text ends that is parted from what begins at a place.
    fn parted_before(&self, start: usize, is_listed: bool) -> Option<usize> {
        let before = self.text[self.floor..start].trim_end_matches(' ');
        let words = WORDS_BETWEEN
            .iter()
            .filter_map(|word| before.strip_suffix(word).filter(|rest| rest.ends_with([' ', ','])));
        let listed = if is_listed { LISTED } else { &[] };
        let mut signs = SIGNS_BETWEEN.iter().chain(listed);
        let rest = words.chain(signs.find_map(|sign| before.strip_suffix(sign))).next()?;
        // "breast, ovarian, and other cancers"
        let rest = rest.trim_end_matches(' ');
        Some(self.floor + rest.strip_suffix(LISTED[0]).unwrap_or(rest).len())
    }

    /// Where the words, or characters of Chinese, begin that stand before a place and may be of one
    /// name, in the order of the text.
    fn units_before(&self, end: usize) -> Vec<usize> {
        let from = self.text.floor_char_boundary(end.saturating_sub(AROUND_BYTES)).max(self.floor);
        let all = units(self.text, from..end);
        let is_part = |unit: &&Range<usize>| is_part(&self.text[(*unit).clone()]);
        let n = all.iter().rev().take_while(is_part).count();
        let most = if self.text[..end].ends_with(is_cjk) { CHARACTERS } else { WORDS };
        all[all.len() - n.min(most)..].iter().map(|unit| unit.start).collect()
    }

    /// "breast and ovarian cancer": what stands before goes on with an end of the mention.
    fn shared_head(&self, parts: &[Range<usize>]) -> Option<Group> {
        let whole = self.whole();
        let heads = units(whole, 0..whole.len()).into_iter().skip(1);
        let heads = heads.map(|unit| &whole[unit.start..]);
        heads.map(|head| self.with_head(parts, head)).find(|group| group.concepts.len() > 1)
    }

    fn with_head(&self, parts: &[Range<usize>], head: &str) -> Group {
        let Mention { start, end, concept, .. } = self.mention();
        let mut group = Group { range: start..end, concepts: vec![concept] };
        for part in parts {
            let named = self.units_before(part.end).into_iter().find_map(|from| {
                let range = from..part.end;
                let concept = self.names.concept(&joined(&self.text[range.clone()], head))?;
                self.is_free(&range, concept).then_some(Group { range, concepts: vec![concept] })
            });
            let Some(named) = named else { break };
            group.range.start = named.range.start;
            group.concepts.splice(..0, named.concepts);
            // Words that are of no name end the list.
            if named.range.start > part.start {
                break;
            }
        }
        group
    }

    /// Whether what stands in a range is no name by itself of what it would name, or of the
    /// mention's kind.
    fn is_free(&self, range: &Range<usize>, concept: u32) -> bool {
        let at = self.mentions.partition_point(|other| other.start < range.start);
        let itself = self
            .mentions
            .get(at)
            .filter(|other| other.end == range.end && other.start == range.start);
        itself.is_none_or(|other| {
            other.concept != concept
                && !self.names.is_one_kind(other.concept, self.mention().concept)
        })
    }

    /// "hypo- and hyperglycaemia": a begin of the mention's first word is another.
    fn shared_prefix(&self, part: &Range<usize>) -> Option<Group> {
        let Mention { end, concept, .. } = self.mention();
        let start = *self.units_before(part.end).last()?;
        let stem = self.text[start..part.end].strip_suffix('-')?;
        let whole = self.whole();
        let word = whole.len() - whole.trim_start_matches(continues).len();
        let mut cuts = whole[..word].char_indices().skip(1).map(|(at, _)| &whole[at..]);
        let first = cuts.find_map(|rest| self.names.concept(&format!("{stem}{rest}")))?;
        Some(Group { range: start..end, concepts: vec![first, concept] })
    }

    /// "cancer of the breast and ovary": what follows stands behind the mention's begin.
    fn shared_begin(&self) -> Option<Group> {
        let Mention { start, end, concept, .. } = self.mention();
        let begin = &self.whole()[..self.whole().find(" of ")? + " of".len()];
        let mut group = Group { range: start..end, concepts: vec![concept] };
        while group.concepts.len() < NAMES
            && let Some(from) = self.parted_behind(group.range.end)
        {
            let to = self.text.floor_char_boundary(from + AROUND_BYTES);
            let all = units(self.text, from..to);
            let parts = all.iter().take(WORDS).map(|unit| from..unit.end);
            let named = parts.rev().find_map(|range| {
                let part = &self.text[range.clone()];
                let whole = [joined(begin, part), joined(begin, &joined("the", part))];
                let concept = whole.iter().find_map(|name| self.names.concept(name))?;
                self.is_free(&range, concept).then_some(Group { range, concepts: vec![concept] })
            });
            let Some(named) = named else { break };
            group.range.end = named.range.end;
            group.concepts.extend(named.concepts);
        }
        Some(group)
    }

    /// Where the text begins that is parted from what ends at a place.
    fn parted_behind(&self, end: usize) -> Option<usize> {
        let rest = self.text[end..].trim_start_matches(' ');
        let listed = LISTED.iter().find_map(|sign| rest.strip_prefix(sign));
        let rest = listed.unwrap_or(rest).trim_start_matches(' ');
        let mut words = WORDS_BETWEEN.iter().map(|word| rest.strip_prefix(word)?.strip_prefix(' '));
        let behind = words.find_map(|behind| behind).or(listed.map(|_| rest))?;
        let behind = behind.strip_prefix("the ").unwrap_or(behind);
        Some(self.text.len() - behind.len())
    }
}

/// Words, characters of Chinese, and signs of a part of a text, each with its place.
fn units(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut is_word = false;
    for (at, c) in text[part.clone()].char_indices() {
        let (start, end) = (part.start + at, part.start + at + c.len_utf8());
        let goes_on = !is_cjk(c) && (continues(c) || matches!(c, '-' | '\'' | '\u{2019}' | '+'));
        match units.last_mut() {
            Some(last) if is_word && goes_on => last.end = end,
            _ if c.is_whitespace() => {}
            _ => units.push(start..end),
        }
        is_word = goes_on;
    }
    units
}

/// Whether a word or sign may be part of a name.
fn is_part(unit: &str) -> bool {
    unit.starts_with(char::is_alphanumeric)
        && !WORDS_BETWEEN.contains(&unit)
        && !SIGNS_BETWEEN.contains(&unit)
}

/// Two parts of a name together.
fn joined(begin: &str, end: &str) -> String {
    let joint = if end.starts_with(is_cjk) { "" } else { " " };
    format!("{begin}{joint}{end}")
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::{Concept, Entry, Lexicon};
    use super::super::mentions::Finder;
    use super::super::names::tests::rules;
    use super::*;
    use proptest::prelude::*;

    fn finder() -> Finder {
        let entry = |(number, line): (usize, &str)| {
            let (kind, names) = line.split_once(": ").unwrap();
            let mut names = names.split(" | ").map(str::to_string);
            let name = names.next().unwrap();
            let synonyms = names.collect();
            let (id, kind) = (format!("{number:02}"), kind.to_string());
            Entry {
                concept: Concept { id, kind, name, synonyms, ..Concept::default() },
                ..Entry::default()
            }
        };
        let lines = "disease: breast cancer | cancer of the breast\n\
                     disease: ovarian cancer | cancer of ovary\n\
                     disease: prostate cancer\n\
                     disease: type 1 diabetes\n\
                     disease: type 2 diabetes\n\
                     disease: hepatitis\n\
                     disease: hypoglycaemia\n\
                     disease: hyperglycaemia\n\
                     disease: fever\n\
                     disease: dengue fever\n\
                     disease: melanoma | melanoma cancer\n\
                     disease: skin cancer\n\
                     anatomy: breast\n\
                     disease: 肺癌\n\
                     disease: 肝癌\n\
                     disease: 1型糖尿病\n\
                     disease: 2型糖尿病\n\
                     disease: non-small cell lung cancer\n\
                     disease: small cell lung cancer";
        Finder::new(&Lexicon::build(lines.lines().enumerate().map(entry).collect()), &rules())
            .unwrap()
    }

    /// The mentions of a text: what stands there, and the numbers of the concepts.
    fn check(text: &str, expected: &[(&str, &[u32])]) {
        let mut found: Vec<(&str, Vec<u32>)> = Vec::new();
        let mut behind = 0;
        for mention in finder().find(text) {
            let mentioned = &text[mention.start..mention.end];
            match found.last_mut().filter(|_| mention.start < behind) {
                Some((_, concepts)) => concepts.push(mention.concept),
                None => found.push((mentioned, vec![mention.concept])),
            }
            behind = mention.end;
        }
        let expected: Vec<(&str, Vec<u32>)> =
            expected.iter().map(|(text, concepts)| (*text, concepts.to_vec())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn names_that_share_a_word() {
        check("in breast and ovarian cancer,", &[("breast and ovarian cancer", &[0, 1])]);
        check("Breast/ovarian cancers", &[("Breast/ovarian cancers", &[0, 1])]);
        check(
            "risk of prostate, breast, and ovarian cancer",
            &[("prostate, breast, and ovarian cancer", &[2, 0, 1])],
        );
        check("in type 1 and 2 diabetes", &[("type 1 and 2 diabetes", &[3, 4])]);
        check("types 1, 2 and 3", &[]);
        check("both type 1 or 2 diabetes", &[("type 1 or 2 diabetes", &[3, 4])]);
        check("type 1 and type 2 diabetes", &[("type 1 and type 2 diabetes", &[3, 4])]);
        check("severe hypo- and hyperglycaemia", &[("hypo- and hyperglycaemia", &[6, 7])]);
        check(
            "cancer of the breast and the ovary",
            &[("cancer of the breast and the ovary", &[0, 1])],
        );
        check("患者肺和肝癌", &[("肺和肝癌", &[13, 14])]);
        check("1型和2型糖尿病", &[("1型和2型糖尿病", &[15, 16])]);
        check(
            "non-small and small cell lung cancer",
            &[("non-small and small cell lung cancer", &[17, 18])],
        );
    }

    #[test]
    fn what_shares_nothing() {
        check("fever and dengue fever", &[("fever", &[8]), ("dengue fever", &[9])]);
        check("melanoma and skin cancer", &[("melanoma", &[10]), ("skin cancer", &[11])]);
        check("the lung and ovarian cancer", &[("ovarian cancer", &[1])]);
        check("breast, then ovarian cancer", &[("breast", &[12]), ("ovarian cancer", &[1])]);
        check("breast. And ovarian cancer", &[("breast", &[12]), ("ovarian cancer", &[1])]);
        check("breast and, ovarian cancer", &[("breast", &[12]), ("ovarian cancer", &[1])]);
        check("type 1 and a type 2", &[]);
        check("and ovarian cancer", &[("ovarian cancer", &[1])]);
        check("肺癌和肝癌", &[("肺癌", &[13]), ("肝癌", &[14])]);
    }

    /// Each mention's words are counted as everywhere, also before a group's first mention.
    #[test]
    fn a_group_stands_at_its_first_word() {
        let words: Vec<u32> =
            finder().find("Of all prostate and breast cancer").iter().map(|one| one.word).collect();
        assert_eq!(words, [2, 2]);
    }

    proptest! {
        #[test]
        fn mentions_stay_in_order(
            text in "((breast|ovarian|cancer|fever|type|1|2|diabetes|hypo-|hyperglycaemia|and|or|of|the|肺|肝|癌|和|型|糖尿病)[ ,/]{0,2}){0,14}",
        ) {
            let mut before = 0..0;
            for mention in finder().find(&text) {
                let range = mention.start..mention.end;
                prop_assert!(range == before || range.start >= before.end, "{text}");
                let counted = words(&text).filter(|word| word.start < range.start).count();
                prop_assert_eq!(mention.word as usize, counted);
                before = range;
            }
        }
    }
}
