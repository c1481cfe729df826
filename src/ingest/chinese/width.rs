//! Full-width letters and digits as plain ones, and punctuation between Chinese characters in full
//! width: what typists mix within one text.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::text::words::is_cjk;

/// How wide letters, digits and punctuation are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Width {
    /// As each document is written.
    #[default]
    AsIs,
    /// Letters, digits and signs plain, punctuation of Chinese sentences full.
    Fold,
}

/// Farthest that a bracket is looked for, in characters.
const BRACKETED: usize = 200;

/// A text in a width.
pub(super) fn folded(text: &str, width: Width) -> Cow<'_, str> {
    if width == Width::AsIs || text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let written: Vec<char> = text.chars().collect();
    let plain: Vec<char> = written.iter().copied().map(plain).collect();
    // In an address `?` begins a query.
    let mut is_address = false;
    let mut folded = String::with_capacity(text.len());
    // Brackets that are open, as they were written.
    let mut open: Vec<char> = Vec::new();

    for (at, c) in plain.iter().copied().enumerate() {
        // As it is written now: of `,.` both are wide behind a character.
        let before = folded.chars().next_back();
        let next = plain.get(at + 1).copied();
        let is_behind = before.is_some_and(is_written);
        let goes_on =
            |c: char| is_cjk(c) || c.is_whitespace() || "”’“‘》《〉」「』『】【〕）)".contains(c);
        let is_between = is_behind && next.is_none_or(goes_on);
        is_address = !ends_address(c) && (is_address || folded.ends_with("://"));
        // Within a number or a word neither side is Chinese.
        let is_beside = is_behind || before.is_some() && next.is_some_and(is_cjk);
        folded.push(match c {
            ',' if is_beside => '，',
            ';' if is_beside => '；',
            ':' if is_behind && next != Some('/') => '：',
            '?' if is_beside && !is_address && !next.is_some_and(|c| c.is_ascii_alphanumeric()) => {
                '？'
            }
            // `![` is an image in Markdown.
            '!' if is_beside && next != Some('[') => '！',
            // Between the parts of a name, or behind the number of a heading.
            '.' if written[at] == '．' && is_behind && next.is_some_and(is_cjk) => '．',
            '.' if is_between => '。',
            '(' => {
                let close =
                    plain[at..].iter().take(BRACKETED).position(|c| *c == ')' || *c == '\n');
                let close = close.map(|n| at + n).filter(|close| plain[*close] == ')');
                let is_chinese = close.is_some_and(|close| {
                    let inside = &plain[at + 1..close];
                    let at_an_end = [inside.first(), inside.last()].into_iter().flatten();
                    // `f("中", x)` is code.
                    inside.iter().any(|c| is_cjk(*c))
                        && (is_behind || at_an_end.copied().any(is_cjk))
                        // `[text](address)` is a link in Markdown.
                        && before != Some(']')
                });
                let bracket = if is_chinese { '（' } else { '(' };
                open.push(bracket);
                bracket
            }
            '（' => {
                open.push(c);
                c
            }
            ')' | '）' => match open.pop() {
                Some('（') => '）',
                _ => c,
            },
            '\n' => {
                open.clear();
                c
            }
            // A wide space at the beginning of a line indents, beside another it is one too many.
            ' ' if written[at] != ' ' && before.is_none_or(|c| c == '\n' || c == ' ') => continue,
            c => c,
        });
    }
    if folded == text { Cow::Borrowed(text) } else { Cow::Owned(folded) }
}

/// A letter, digit or sign of full width as the plain one; punctuation that Chinese sentences have
/// stays.
fn plain(c: char) -> char {
    match c {
        '，' | '；' | '：' | '？' | '！' | '（' | '）' | '～' => c,
        '\u{ff01}'..='\u{ff5d}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    }
}

/// Whether a character ends an address: white space, or punctuation of a Chinese sentence.
fn ends_address(c: char) -> bool {
    c.is_whitespace() || "，。、；：？！（）“”《》".contains(c)
}

/// Whether Chinese is written with a character: what stands beside it is punctuation of a Chinese
/// sentence.
fn is_written(c: char) -> bool {
    is_cjk(c) || "。，、；：？！”’》〉」』）】〕“‘《〈「『（【〔…—".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fold(text: &str) -> String {
        folded(text, Width::Fold).into_owned()
    }

    #[test]
    fn what_is_typed_in_two_widths_is_one() {
        for (text, expected) in [
            ("ＡＢＣ１２３％、３．５ｍｇ／Ｌ", "ABC123%、3.5mg/L"),
            ("第一条　　为了　规范", "第一条 为了 规范"),
            ("　　段首缩进", "段首缩进"),
            ("《海关法》(以下简称《海关法》)的规定", "《海关法》（以下简称《海关法》）的规定"),
            ("蛋白(CRP)升高,白细胞正常.", "蛋白(CRP)升高，白细胞正常。"),
            ("应当具备下列条件:\n(一)有名称;", "应当具备下列条件：\n（一）有名称；"),
            ("比例为3:1,见 http://a.b/c?d=1", "比例为3:1，见 http://a.b/c?d=1"),
            ("时间:9:30;地点:北京,1,000元", "时间：9:30；地点：北京，1,000元"),
            ("不正常,ALT 88;24日复查", "不正常，ALT 88;24日复查"),
            ("1．经营者?是!", "1.经营者？是！"),
            ("见附件(第3页\n下一行)", "见附件(第3页\n下一行)"),
            ("数据（n=3, p<0.05)表明", "数据（n=3, p<0.05）表明"),
            ("代码print(\"你好\",x)", "代码print(\"你好\",x)"),
            ("plain text, left alone.", "plain text, left alone."),
            ("３～５天", "3～5天"),
            ("卡尔．马克思，二．治疗", "卡尔．马克思，二．治疗"),
            ("代码：\n    def f():\n        return 1", "代码：\n    def f():\n        return 1"),
            ("见http://a.cn/搜索?q=1 是吗?", "见http://a.cn/搜索?q=1 是吗？"),
            ("见![图](a.png)", "见![图](a.png)"),
            ("见[图](图.png)", "见[图](图.png)"),
            ("说:“是.”“对.”", "说：“是。”“对。”"),
            ("(见下图.)结束. 完", "（见下图。）结束。 完"),
            ("甲 , 乙\n  丙　　丁", "甲 , 乙\n  丙 丁"),
            ("见 http://a.cn/b。对吗?q=搜索", "见 http://a.cn/b。对吗?q=搜索"),
            ("见 http://a.cn/?词=1，对吗?", "见 http://a.cn/?词=1，对吗？"),
        ] {
            assert_eq!(fold(text), expected);
            assert_eq!(folded(text, Width::AsIs), text);
        }
    }

    proptest! {
        /// Nothing but width changes, and once is enough.
        #[test]
        fn folding_keeps_what_is_said(text in "[中文ａＺ９，。．,.;:?!()（） 　a1\n]{0,30}") {
            let once = fold(&text);
            prop_assert_eq!(&fold(&once), &once);
            let key = |text: &str| -> String {
                use unicode_normalization::UnicodeNormalization;
                let wide = text.replace(['。', '．'], ".");
                wide.nfkc().filter(|c| !c.is_whitespace()).collect()
            };
            prop_assert_eq!(key(&once), key(&text));
        }
    }
}
