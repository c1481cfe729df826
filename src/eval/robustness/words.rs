//! A text as words that can be replaced one by one, with all that stands between them kept; as
//! TextAttack 0.3 has it (`textattack/shared/attacked_text.py`, `words_from_text`).

use std::ops::Range;

use crate::text::words::capitalised;

/// What may stand inside a word, but neither begins nor ends it.
const INSIDE: [char; 5] = ['\'', '-', '_', '*', '@'];

/// One or more texts that belong together, and their words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    columns: Vec<String>,
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    column: usize,
    range: Range<usize>,
}

impl Text {
    /// Reads the words of some texts, in their order.
    pub fn new(columns: Vec<String>) -> Self {
        let of = |(column, text): (usize, &String)| {
            words(text).into_iter().map(move |range| Word { column, range })
        };
        let words = columns.iter().enumerate().flat_map(of).collect();
        Text { columns, words }
    }

    /// The texts.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The word number `at`.
    pub fn word(&self, at: usize) -> &str {
        let Word { column, range } = &self.words[at];
        &self.columns[*column][range.clone()]
    }

    /// All words.
    pub fn words(&self) -> Vec<&str> {
        (0..self.len()).map(|at| self.word(at)).collect()
    }

    /// The text that a word stands in.
    pub fn column_of(&self, at: usize) -> usize {
        self.words[at].column
    }

    /// The same with another word there.
    #[must_use]
    pub fn replaced(&self, at: usize, with: &str) -> Text {
        let Word { column, range } = &self.words[at];
        let mut columns = self.columns.clone();
        columns[*column].replace_range(range.clone(), with);
        Text::new(columns)
    }

    /// The same without a word, and without one of the spaces beside it: the one before, but for
    /// the first word of all the one behind.
    #[must_use]
    pub fn without(&self, at: usize) -> Text {
        let Word { column, range } = &self.words[at];
        let mut columns = self.columns.clone();
        let text = &columns[*column];
        let mut range = range.clone();
        if at == 0 {
            range.end += usize::from(text[range.end..].starts_with(' '));
        } else {
            range.start -= usize::from(text[..range.start].ends_with(' '));
        }
        columns[*column].replace_range(range, "");
        Text::new(columns)
    }

    /// All texts in one.
    pub fn joined(&self) -> String {
        self.columns.join("\n")
    }

    /// What stands from the first to the last of `size` words around one; at either end of the text
    /// the first or last `size` words.
    pub fn window(&self, at: usize, size: usize) -> String {
        let (n, half) = (self.len(), size - 1);
        // In halves, as TextAttack's, whose window of an even size is a word longer.
        let (first, last) = if 2 * at < half {
            (0, half.min(n - 1))
        } else if 2 * at + half >= 2 * n {
            (n.saturating_sub(size), n - 1)
        } else {
            (at - half.div_ceil(2), at + half / 2)
        };

        let (first, last) = (&self.words[first], &self.words[last]);
        if first.column == last.column {
            return self.columns[first.column][first.range.start..last.range.end].to_string();
        }
        let mut parts = vec![&self.columns[first.column][first.range.start..]];
        parts.extend(self.columns[first.column + 1..last.column].iter().map(String::as_str));
        parts.push(&self.columns[last.column][..last.range.end]);
        parts.join("\n")
    }
}

/// Whether something is one word by itself.
pub fn is_one_word(text: &str) -> bool {
    words(text).first().is_some_and(|range| *range == (0..text.len()))
}

/// Where the words of a text stand: runs of letters, digits and what may stand inside a word.
fn words(text: &str) -> Vec<Range<usize>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '`' || INSIDE.contains(&c);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find(is_part) {
        let begin = from + begin;
        let end = text[begin..].find(|c| !is_part(c)).map_or(text.len(), |end| begin + end);
        let run = &text[begin..end];
        let start = begin + run.len() - run.trim_start_matches(INSIDE).len();
        let length = run.trim_matches(INSIDE).len();
        if length > 0 {
            found.push(start..start + length);
        }
        from = end;
    }
    found
}

/// `word` in small letters, in capitals, or with a first capital, as `like` is; as it is where that
/// is something else.
pub fn with_case_of(like: &str, word: &str) -> String {
    let letters = || like.chars().filter(|c| c.is_alphabetic());
    let is_lower =
        |text: &str| text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase);
    let first = like.chars().next();
    let rest = &like[first.map_or(0, char::len_utf8)..];

    if is_lower(like) {
        word.to_lowercase()
    } else if letters().count() > 0
        && !letters().any(char::is_lowercase)
        && like.chars().count() > 1
    {
        word.to_uppercase()
    } else if first.is_some_and(char::is_uppercase) && is_lower(rest) {
        capitalised(&word.to_lowercase())
    } else {
        word.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(columns: &[&str]) -> Text {
        Text::new(columns.iter().map(|one| (*one).to_string()).collect())
    }

    /// As TextAttack 0.3.11's `words_from_text` has them.
    #[test]
    fn words_are_those_of_textattack() {
        for (given, expected) in [
            (
                "it 's a charming and often affecting journey .",
                "it s a charming and often affecting journey",
            ),
            ("'quoted' well-known don't -- x_1 a@b", "quoted well-known don't x_1 a@b"),
            ("50% of 3.5 (mg)", "50 of 3 5 mg"),
            ("naïve Ångström…", "naïve Ångström"),
        ] {
            assert_eq!(text(&[given]).words().join(" "), expected);
        }
        assert!(is_one_word("don't") && !is_one_word("two words") && !is_one_word("u.s."));
    }

    #[test]
    fn words_are_replaced_and_left_out_where_they_stand() {
        let given = text(&["A man, a plan.", "No canal!"]);
        assert_eq!(given.replaced(3, "scheme").columns(), ["A man, a scheme.", "No canal!"]);
        assert_eq!(given.replaced(4, "One").columns(), ["A man, a plan.", "One canal!"]);
        assert_eq!(given.without(0).columns()[0], "man, a plan.");
        assert_eq!(given.without(1).columns()[0], "A, a plan.");
        assert_eq!(given.without(5).columns()[1], "No!");
        assert_eq!((given.column_of(3), given.column_of(4)), (0, 1));
    }

    #[test]
    fn windows_hold_so_many_words() {
        let given = text(&["a b c, d e f g h"]);
        let of = |at| given.window(at, 3);
        assert_eq!([of(0), of(2), of(7)], ["a b c", "b c, d", "f g h"]);
        assert_eq!(text(&["a b", "c d"]).window(1, 3), "a b\nc");
        assert_eq!(text(&["a b"]).window(1, 15), "a b");
    }

    #[test]
    fn letters_are_as_large_as_before() {
        for (like, word, expected) in [
            ("good", "Fine", "fine"),
            ("GOOD", "fine", "FINE"),
            ("Good", "fINE", "Fine"),
            ("I", "we", "we"),
            ("iPod", "Box", "Box"),
        ] {
            assert_eq!(with_case_of(like, word), expected);
        }
    }

    proptest! {
        #[test]
        fn a_word_and_what_is_around_it_stay(given in "[a-z' .,-]{1,40}", with in "[a-z]{1,6}") {
            let before = text(&[&given]);
            for at in 0..before.len() {
                let after = before.replaced(at, &with);
                prop_assert_eq!(after.len(), before.len());
                prop_assert_eq!(after.word(at), &with);
                prop_assert_eq!(after.replaced(at, before.word(at)), before.clone());
                prop_assert_eq!(before.without(at).len() + 1 >= before.len(), true);
            }
        }
    }
}
