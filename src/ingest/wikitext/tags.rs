//! HTML and extension tags: what each does to the text around it.

/// What a tag does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Goes with all it encloses, whose wikitext is not read.
    Dropped,
    /// What it encloses is text, not wikitext.
    Verbatim,
    /// What it encloses is a formula, kept as LaTeX.
    Formula,
    /// Begins a new line.
    Break,
    /// Begins a new paragraph.
    Paragraph,
    /// An HTML table, dropped with all it encloses.
    Table,
    /// Source code: a block, which goes, or a word of a sentence.
    Code,
    /// Raises what it encloses.
    Raised,
    /// Lowers what it encloses.
    Lowered,
    /// Only changes the looks; what it encloses stays.
    Inline,
}

/// Tags with what they do. A name that is not here is text: `<stdio.h>`.
static TAGS: &[(&str, Tag)] = &[
    ("abbr", Tag::Inline),
    ("b", Tag::Inline),
    ("bdi", Tag::Inline),
    ("bdo", Tag::Inline),
    ("big", Tag::Inline),
    ("blockquote", Tag::Paragraph),
    ("br", Tag::Break),
    ("caption", Tag::Break),
    ("categorytree", Tag::Dropped),
    ("ce", Tag::Formula),
    ("center", Tag::Paragraph),
    ("charinsert", Tag::Dropped),
    ("chem", Tag::Formula),
    ("cite", Tag::Inline),
    ("code", Tag::Inline),
    ("data", Tag::Inline),
    ("dd", Tag::Break),
    ("del", Tag::Dropped),
    ("dfn", Tag::Inline),
    ("div", Tag::Paragraph),
    ("dl", Tag::Break),
    ("dt", Tag::Break),
    ("em", Tag::Inline),
    ("font", Tag::Inline),
    ("gallery", Tag::Dropped),
    ("graph", Tag::Dropped),
    ("h1", Tag::Paragraph),
    ("h2", Tag::Paragraph),
    ("h3", Tag::Paragraph),
    ("h4", Tag::Paragraph),
    ("h5", Tag::Paragraph),
    ("h6", Tag::Paragraph),
    ("hiero", Tag::Dropped),
    ("hr", Tag::Paragraph),
    ("i", Tag::Inline),
    ("imagemap", Tag::Dropped),
    ("includeonly", Tag::Dropped),
    ("indicator", Tag::Dropped),
    ("inputbox", Tag::Dropped),
    ("ins", Tag::Inline),
    ("kbd", Tag::Inline),
    ("langconvert", Tag::Inline),
    ("li", Tag::Break),
    ("mapframe", Tag::Dropped),
    ("maplink", Tag::Dropped),
    ("mark", Tag::Inline),
    ("math", Tag::Formula),
    ("noinclude", Tag::Inline),
    ("nowiki", Tag::Verbatim),
    ("ol", Tag::Break),
    ("onlyinclude", Tag::Inline),
    ("p", Tag::Paragraph),
    ("poem", Tag::Paragraph),
    ("pre", Tag::Dropped),
    ("q", Tag::Inline),
    ("rb", Tag::Inline),
    ("ref", Tag::Dropped),
    ("references", Tag::Dropped),
    ("rp", Tag::Inline),
    ("rt", Tag::Inline),
    ("rtc", Tag::Inline),
    ("ruby", Tag::Inline),
    ("s", Tag::Inline),
    ("samp", Tag::Inline),
    ("score", Tag::Dropped),
    ("section", Tag::Inline),
    ("small", Tag::Inline),
    ("source", Tag::Code),
    ("span", Tag::Inline),
    ("strike", Tag::Inline),
    ("strong", Tag::Inline),
    ("style", Tag::Dropped),
    ("sub", Tag::Lowered),
    ("sup", Tag::Raised),
    ("syntaxhighlight", Tag::Code),
    ("table", Tag::Table),
    ("td", Tag::Break),
    ("templatedata", Tag::Dropped),
    ("templatestyles", Tag::Dropped),
    ("th", Tag::Break),
    ("time", Tag::Inline),
    ("timeline", Tag::Dropped),
    ("tr", Tag::Break),
    ("tt", Tag::Inline),
    ("u", Tag::Inline),
    ("ul", Tag::Break),
    ("var", Tag::Inline),
    ("wbr", Tag::Inline),
];

/// Longest name in [`TAGS`].
const MAX_NAME_BYTES: usize = 15;

/// How far the `>` of a tag may be from its `<`.
const MAX_TAG_BYTES: usize = 2000;

/// A tag in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its place in the list of tags, below 128.
    pub number: usize,
    /// What it does.
    pub tag: Tag,
    /// `</name>`
    pub closes: bool,
    /// `<name/>`
    pub is_empty: bool,
    /// Its length in bytes.
    pub length: usize,
}

/// The tag at the start of `text`, which begins with `<`.
pub(super) fn tag_at(text: &[u8]) -> Option<Found> {
    let closes = text.get(1) == Some(&b'/');
    let start = 1 + usize::from(closes);
    let (number, end) = name_at(text, start)?;
    let limit = text.len().min(MAX_TAG_BYTES);
    let close = memchr::memchr2(b'>', b'<', &text[end..limit]).map(|distance| end + distance)?;

    if text[close] == b'<' {
        return None;
    }
    Some(Found {
        number,
        tag: TAGS[number].1,
        closes,
        is_empty: text[close - 1] == b'/',
        length: close + 1,
    })
}

/// Number of the tag whose name begins at `start`, and where the name ends.
fn name_at(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let length = text[start.min(text.len())..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    if length == 0 || length > MAX_NAME_BYTES {
        return None;
    }
    let end = start + length;
    let boundary =
        text.get(end).is_none_or(|byte| matches!(byte, b'>' | b'/') || byte.is_ascii_whitespace());
    let mut lower = [0; MAX_NAME_BYTES];
    lower[..length].copy_from_slice(&text[start..end]);
    lower[..length].make_ascii_lowercase();
    let number = TAGS.binary_search_by(|(name, _)| name.as_bytes().cmp(&lower[..length])).ok()?;

    boundary.then_some((number, end))
}

/// Where what a tag encloses ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// At this place; the text goes on at the second.
    At(usize, usize),
    /// The same tag opens again before: it was not meant to enclose anything.
    OpensAgain,
    /// Nowhere.
    Nowhere,
}

/// Finds where the content of tag `number` that begins at `from` ends. Tags do not nest.
pub(super) fn close_of(text: &[u8], number: usize, from: usize) -> Close {
    let mut at = from;
    while let Some(distance) = memchr::memchr(b'<', &text[at..]) {
        at += distance;
        let closes = text.get(at + 1) == Some(&b'/');

        match name_at(text, at + 1 + usize::from(closes)) {
            Some((found, end)) if found == number && closes => {
                let close = memchr::memchr(b'>', &text[end..text.len().min(end + 64)]);
                return Close::At(at, close.map_or(end, |distance| end + distance + 1));
            }
            Some((found, _))
                if found == number && !tag_at(&text[at..]).is_some_and(|tag| tag.is_empty) =>
            {
                return Close::OpensAgain;
            }
            _ => at += 1,
        }
    }
    Close::Nowhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_short_enough() {
        assert!(TAGS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TAGS.iter().all(|(name, _)| name.len() <= MAX_NAME_BYTES));
        assert!(TAGS.len() < 128);
    }

    #[test]
    fn only_known_names_are_tags() {
        assert_eq!(tag_at(b"<stdio.h>"), None);
        assert_eq!(tag_at(b"< b>"), None);
        assert_eq!(tag_at(b"<b"), None);
        assert_eq!(tag_at(b"<b <i>"), None);
        assert_eq!(tag_at(b"<"), None);
        let found = tag_at(b"<BR/> x").unwrap();
        assert_eq!(
            (found.tag, found.closes, found.is_empty, found.length),
            (Tag::Break, false, true, 5)
        );
        assert!(tag_at(b"</Ref >").unwrap().closes);
    }

    #[test]
    fn a_reference_that_never_closes_encloses_nothing() {
        let number = tag_at(b"<ref>").unwrap().number;
        assert_eq!(close_of(b"<ref>x</ref>y", number, 5), Close::At(6, 12));
        assert_eq!(close_of(b"<ref>x<ref/></ref>y", number, 5), Close::At(12, 18));
        assert_eq!(close_of(b"<ref>x<ref>z</ref>y", number, 5), Close::OpensAgain);
        assert_eq!(close_of(b"<ref>x</references>", number, 5), Close::Nowhere);
    }
}
