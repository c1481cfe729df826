//! Shingles: the runs of neighbouring tokens that two texts are compared by, as 64-bit hashes.
//!
//! A token is a word of the normal form, or one CJK character. A shingle is `words` tokens long
//! where it ends in a word and `chars` tokens long where it ends in a CJK character. The rule is
//! local, so a text that mixes scripts needs no verdict on its language, and an edit changes only
//! the shingles around it.
//!
//! Both ends are padded (Gravano et al. 2001), so that a token is part of equally many shingles
//! wherever it stands. Without, a change in the last word, where titles and stubs tell themselves
//! apart, would cost one shingle and not five. A text without a single whole shingle has none at
//! all.
//!
//! A token is hashed with xxh3-64 and the tokens of a shingle are added up as a polynomial modulo
//! 2^64 (Karp and Rabin 1987), which rolls: one multiplication a token, whatever the length of a
//! shingle.

use xxhash_rust::xxh3::xxh3_64;

use crate::text::numbers::of_numerals;
use crate::text::words::is_cjk;

/// Base of the polynomial: any large odd number does, since the token hashes are random already.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hash of the token that stands before the first and behind the last.
const PAD: u64 = 0x5851_f42d_4c95_7f2d;

/// Chinese numerals; two or more in a row are a number (one alone is more often part of a word).
static NUMERALS: &str = "零〇一二三四五六七八九十百千万亿两";

/// First UTF-8 byte of the lowest CJK character (U+3005); whatever is smaller needs no decoding.
const FIRST_CJK_BYTE: u8 = 0xe3;

/// Makes shingles of one size after another, reusing its memory.
#[derive(Clone, Debug)]
pub struct Shingler {
    words: Window,
    chars: Window,
    tokens: Vec<u64>,
}

/// A rolling hash over the last `n` tokens.
#[derive(Clone, Debug)]
struct Window {
    n: usize,
    /// `BASE^n`: what a token weighs when it leaves.
    leaving: u64,
    hash: u64,
}

impl Window {
    fn new(n: usize) -> Self {
        Window { n, leaving: (0..n).fold(1, |power: u64, _| power.wrapping_mul(BASE)), hash: 0 }
    }

    /// Takes the last of `tokens` in and gives the hash of the shingle that ends there.
    ///
    /// There are at least `n` tokens, padding included.
    fn roll(&mut self, tokens: &[u64]) -> u64 {
        let last = tokens.len() - 1;
        let leaves = tokens[last - self.n].wrapping_mul(self.leaving);
        self.hash = self.hash.wrapping_mul(BASE).wrapping_add(tokens[last]).wrapping_sub(leaves);
        self.hash
    }

    /// Starts with nothing but padding.
    fn reset(&mut self) {
        self.hash = (0..self.n).fold(0, |hash: u64, _| hash.wrapping_mul(BASE).wrapping_add(PAD));
    }
}

impl Shingler {
    /// Shingles of `words` tokens behind a word and of `chars` tokens behind a CJK character, both
    /// at least 1.
    pub fn new(words: usize, chars: usize) -> Self {
        Shingler {
            words: Window::new(words.max(1)),
            chars: Window::new(chars.max(1)),
            tokens: Vec::new(),
        }
    }

    /// Puts the shingles of a text in normal form into `shingles`, in text order, repeats included.
    ///
    /// None is what a text gets that is shorter than one shingle.
    pub fn shingle(&mut self, normal: &str, shingles: &mut Vec<u64>) {
        let (words, chars, tokens) = (&mut self.words, &mut self.chars, &mut self.tokens);
        let padding = words.n.max(chars.n);
        shingles.clear();
        tokens.clear();
        tokens.resize(padding, PAD);
        words.reset();
        chars.reset();
        let (mut whole, mut last_cjk) = (false, false);
        for_each_token(normal, |token, cjk| {
            tokens.push(xxh3_64(token));
            let (by_words, by_chars) = (words.roll(tokens), chars.roll(tokens));
            shingles.push(if cjk { by_chars } else { by_words });
            whole |= tokens.len() - padding >= if cjk { chars.n } else { words.n };
            last_cjk = cjk;
        });

        if !whole {
            shingles.clear();
            return;
        }

        let last = if last_cjk { chars } else { words };
        for _ in 1..last.n {
            tokens.push(PAD);
            shingles.push(last.roll(tokens));
        }
    }

    /// The set of a text's shingles, sorted.
    pub fn set(&mut self, normal: &str) -> Vec<u64> {
        let mut shingles = Vec::new();
        self.shingle(normal, &mut shingles);
        shingles.sort_unstable();
        shingles.dedup();
        shingles
    }
}

/// The numbers of a text in normal form, as a sorted set of hashes: the digits that a word begins
/// with, without zeros in front (so `05 mg` and `5mg` are one), and runs of two or more Chinese
/// numerals (so `三十五岁` and `35岁` are one, too).
pub fn numbers(normal: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for_each_token(normal, |token, _| {
        let n_digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let n_zeros = token.iter().take_while(|byte| **byte == b'0').count();
        if n_digits > 0 {
            found.push(xxh3_64(&token[n_zeros..n_digits]));
        }
    });

    let runs = normal.split(|c| !NUMERALS.contains(c)).filter(|run| run.chars().nth(1).is_some());
    found.extend(runs.map(|run| xxh3_64(of_numerals(run).as_bytes())));
    found.sort_unstable();
    found.dedup();
    found
}

/// Calls `found` with each token of a text in normal form, and whether it is a CJK character.
fn for_each_token(normal: &str, mut found: impl FnMut(&[u8], bool)) {
    let bytes = normal.as_bytes();
    let (mut start, mut at) = (0, 0);

    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b' ' {
            if start < at {
                found(&bytes[start..at], false);
            }
            at += 1;
            start = at;
        } else if byte < FIRST_CJK_BYTE {
            at += 1;
        } else {
            let c = normal[at..].chars().next().unwrap_or(' ');
            if is_cjk(c) {
                if start < at {
                    found(&bytes[start..at], false);
                }
                found(&bytes[at..at + c.len_utf8()], true);
                start = at + c.len_utf8();
            }
            at += c.len_utf8();
        }
    }

    if start < at {
        found(&bytes[start..], false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::normal::normalise;
    use crate::text::words::words;
    use proptest::prelude::*;

    /// Shingles from their definition: cut with `text::words`, pad, hash each run afresh.
    fn plainly(normal: &str, n_words: usize, n_chars: usize) -> Vec<u64> {
        let tokens: Vec<&str> = words(normal).map(|word| word.text).collect();
        let n_at =
            |i: usize| if tokens[i].chars().next().is_some_and(is_cjk) { n_chars } else { n_words };
        if !(0..tokens.len()).any(|i| i + 1 >= n_at(i)) {
            return Vec::new();
        }
        let at = |i: i64| {
            usize::try_from(i)
                .ok()
                .and_then(|i| tokens.get(i))
                .map_or(PAD, |t| xxh3_64(t.as_bytes()))
        };

        let behind = n_at(tokens.len() - 1) - 1;
        let ends = (0..tokens.len() + behind)
            .map(|end| (end as i64, n_at(end.min(tokens.len() - 1)) as i64));
        ends.map(|(end, n)| {
            (end + 1 - n..=end).fold(0, |h: u64, i| h.wrapping_mul(BASE).wrapping_add(at(i)))
        })
        .collect()
    }

    fn shingles(text: &str, n_words: usize, n_chars: usize) -> Vec<u64> {
        let mut found = Vec::new();
        Shingler::new(n_words, n_chars).shingle(&normalise(text), &mut found);
        found
    }

    #[test]
    fn short_texts_have_none_and_order_matters() {
        assert!(shingles("one two three four", 5, 8).is_empty());
        assert_eq!(shingles("one two three four five", 5, 8).len(), 9);
        assert_eq!(shingles("阿司匹林用于解热镇痛", 5, 8).len(), 17);
        assert!(shingles("阿司匹林", 1, 8).is_empty());
        assert_ne!(shingles("a b c", 3, 8), shingles("b a c", 3, 8));
    }

    #[test]
    fn an_edit_changes_equally_many_shingles_wherever_it_is() {
        let a = shingles("a b c d e f g h i j", 3, 8);
        for edited in ["X b c d e f g h i j", "a b c d X f g h i j", "a b c d e f g h i X"] {
            assert_eq!(
                a.iter().zip(&shingles(edited, 3, 8)).filter(|(x, y)| x != y).count(),
                3,
                "{edited}"
            );
        }
    }

    #[test]
    fn numbers_are_words_that_begin_with_a_digit_and_runs_of_numerals() {
        let check = |text: &str, n: usize| assert_eq!(numbers(&normalise(text)).len(), n, "{text}");
        check("5 mg, 05mg, 17th of B12 and 5 0", 3);
        check("第十二条 罚款五百元，一般", 2);
        check("第十二条和第12条，二〇二四年和2024年", 2);
        check("no number", 0);
    }

    proptest! {
        #[test]
        fn rolling_equals_hashing_afresh(text in "([a-d]{1,2} |[甲乙丙]{1,3}|é |가 \
                                                  ){0,20}", n in 1..5_usize, m in 1..5_usize) {
            let normal = normalise(&text);
            prop_assert_eq!(shingles(&text, n, m), plainly(&normal, n, m));
        }
    }
}
