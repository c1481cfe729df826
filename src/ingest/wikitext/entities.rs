//! HTML entities: `&nbsp;`, `&#8211;`, `&#x2013;`, and the same escaped twice (`&amp;nbsp;`).

use std::borrow::Cow;

use memchr::memchr;
use quick_xml::escape::resolve_html5_entity;

/// Longest name of an entity in HTML 5 (`CounterClockwiseContourIntegral`), with room for numbers.
const MAX_NAME_BYTES: usize = 34;

/// What the entity at the start of `text` stands for, and how many bytes it takes; `None` when
/// there is none.
pub(super) fn entity(text: &str) -> Option<(Cow<'static, str>, usize)> {
    let (value, length) = single(text)?;
    if value == "&"
        && let Some((value, second)) = after_ampersand(&text[length..])
    {
        return Some((value, length + second));
    }
    Some((value, length))
}

fn single(text: &str) -> Option<(Cow<'static, str>, usize)> {
    let (value, length) = after_ampersand(text.strip_prefix('&')?)?;
    Some((value, length + 1))
}

/// Like [`entity`] for a text that begins behind the `&`.
fn after_ampersand(text: &str) -> Option<(Cow<'static, str>, usize)> {
    let head = &text.as_bytes()[..text.len().min(MAX_NAME_BYTES)];
    let end = memchr(b';', head)?;
    let name = text.get(..end)?;
    let value = match name.strip_prefix('#') {
        Some(number) => Cow::Owned(numeric(number)?.to_string()),
        None => Cow::Borrowed(resolve_html5_entity(name)?),
    };
    Some((value, end + 1))
}

fn numeric(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    // Browsers read the C1 range as Windows-1252, and the punctuation of old pages is written that
    // way.
    if let byte @ 0x80..=0x9F = code {
        return encoding_rs::WINDOWS_1252
            .decode_without_bom_handling(&[byte as u8])
            .0
            .chars()
            .next();
    }
    char::from_u32(code).filter(|c| *c != '\0')
}

/// `text` with its entities replaced.
pub(in crate::ingest) fn decode(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr(b'&', text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut at = first;

    while at < text.len() {
        match entity(&text[at..]) {
            Some((value, length)) => {
                out.push_str(&value);
                at += length;
            }
            None => {
                out.push('&');
                at += 1;
            }
        }

        let next =
            memchr(b'&', &text.as_bytes()[at..]).map_or(text.len(), |distance| at + distance);
        out.push_str(&text[at..next]);
        at = next;
    }

    Cow::Owned(out)
}
