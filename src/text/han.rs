//! Chinese characters that everyone knows.

use std::sync::LazyLock;

/// The plain ideographs, U+4E00 to U+9FFF.
const FIRST: u32 = 0x4e00;
const LAST: u32 = 0x9fff;

/// Whether a character is among the common ones of simplified or traditional Chinese: the first
/// level of GB 2312 (1980), 3,755 characters, or that of Big5 (1984), 5,401.
pub fn is_common(c: char) -> bool {
    static COMMON: LazyLock<Vec<bool>> = LazyLock::new(|| {
        (FIRST..=LAST).map(|code| char::from_u32(code).is_some_and(first_level)).collect()
    });
    let at = u32::from(c).checked_sub(FIRST);
    at.and_then(|at| COMMON.get(at as usize)).copied().unwrap_or(false)
}

fn first_level(c: char) -> bool {
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer);
    let (simplified, _, no_simplified) = encoding_rs::GBK.encode(text);
    let (traditional, _, no_traditional) = encoding_rs::BIG5.encode(text);
    // Rows 16 to 55 of GB 2312; its cells begin at A1, others of GBK below.
    let is_of_gb = matches!(*simplified, [0xb0..=0xd7, 0xa1..=0xfe]) && !no_simplified;
    let is_of_big5 = matches!(*traditional, [0xa4..=0xc6, _]) && !no_traditional;
    is_of_gb || is_of_big5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_characters_of_both_scripts() {
        assert!("的一国國医醫热熱".chars().all(is_common));
        assert!(!"龘癔䶮a，瘙".chars().any(is_common));
        let n = (FIRST..=LAST).filter_map(char::from_u32).filter(|c| is_common(*c)).count();
        // Many stand in both.
        assert!((5_401..5_401 + 3_755).contains(&n), "{n}");
        let gb = |c: &char| {
            matches!(*encoding_rs::GBK.encode(&c.to_string()).0, [0xb0..=0xd7, 0xa1..=0xfe])
        };
        assert_eq!((FIRST..=LAST).filter_map(char::from_u32).filter(gb).count(), 3_755);
    }
}
