//! One spelling for names and texts, with a way back to the original's byte offsets.
//!
//! Case, width (full-width letters and digits), the kind of an apostrophe and of a single space
//! (tab, line end, no-break) do not matter, and a hyphen or dash of any kind is a space. Nothing is
//! removed and no character becomes several, so the way back is a short list of places where
//! lengths differ, and a folded text has the words of the original ([`crate::text::words`]).

/// A text in one spelling.
pub(super) struct Folded {
    /// The folded text.
    pub(super) text: String,
    /// (folded offset, original offset) behind every character whose length changed.
    shifts: Vec<(usize, usize)>,
}

impl Folded {
    /// The original byte offset of a folded one; both at character boundaries.
    pub(super) fn original(&self, folded: usize) -> usize {
        match self.shifts.partition_point(|(at, _)| *at <= folded).checked_sub(1) {
            Some(last) => self.shifts[last].1 + (folded - self.shifts[last].0),
            None => folded,
        }
    }
}

/// Lower case, and one kind of space.
fn ascii(byte: u8) -> u8 {
    if matches!(byte, b'\t' | b'\n' | b'\r' | b'-') { b' ' } else { byte.to_ascii_lowercase() }
}

/// Folds a text.
pub(super) fn fold(text: &str) -> Folded {
    let mut folded = Vec::with_capacity(text.len());
    let mut shifts = Vec::new();
    let mut at = 0;

    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let run = rest.iter().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        folded.extend(rest[..run].iter().map(|byte| ascii(*byte)));
        at += run;

        for c in text[at..].chars().take_while(|c| !c.is_ascii()) {
            let plain = lower(spaced(c));
            folded.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
            at += c.len_utf8();
            if plain.len_utf8() != c.len_utf8() {
                shifts.push((folded.len(), at));
            }
        }
    }
    // Made of whole characters only, so the second arm never runs.
    let text = String::from_utf8(folded)
        .unwrap_or_else(|cause| String::from_utf8_lossy(cause.as_bytes()).into_owned());
    Folded { text, shifts }
}

/// The character without its width and typographic form; case stays.
pub(super) fn plain(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF06}' | '\u{FF08}'..='\u{FF5E}' => {
            char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c)
        }
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' => '-',
        '\u{2019}' => '\'',
        '\t' | '\n' | '\r' | '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{3000}' => ' ',
        _ => c,
    }
}

/// The same, with a space for a hyphen.
pub(super) fn spaced(c: char) -> char {
    match plain(c) {
        '-' => ' ',
        plain => plain,
    }
}

/// Lower case where that is one character.
fn lower(c: char) -> char {
    let mut all = c.to_lowercase();
    match (all.next(), all.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_matter_is_folded() {
        let folded = fold("ＡＢＣ\u{2013}Ⅻ Aspirin\nÉ’s\u{3000}阿");
        assert_eq!(folded.text, "abc ⅻ aspirin é's 阿");
    }

    proptest! {
        /// Every character of the folded text leads back to the character it was made of.
        #[test]
        fn offsets_lead_back(text in "[a-zA-Z Ａ-Ｃ\u{2013}’ÉİßẞΣ中ａ\n\u{212A}]{0,40}") {
            let folded = fold(&text);
            let originals: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let back: Vec<usize> = folded.text.char_indices().map(|(at,
                _)| folded.original(at)).collect();
            prop_assert_eq!(back, originals);
            prop_assert_eq!(folded.original(folded.text.len()), text.len());
        }
    }
}
