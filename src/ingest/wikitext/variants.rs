//! Language-converter markup: `-{zh-hans:计算机;zh-hant:電腦}-`.
//!
//! A wiki in several scripts shows each reader one variant. This cleaner is the reader of
//! simplified Chinese as used on the mainland (`zh-hans`, then `zh-cn`), of Cyrillic Serbian, and
//! otherwise of the variant that is written first. Rules that are only declared (`-{H|…}-`,
//! `-{T|…}-`, `-{-|…}-`) show nothing; text outside the markup stays as it was typed.

/// Wikis whose pages are converted.
static CONVERTED: &[&str] = &[
    "ban", "crh", "gan", "iu", "kk", "ku", "sh", "shi", "sr", "tg", "tly", "uz", "wuu", "zh",
    "zh-hans", "zh-hant",
];

/// Variants in the order they are chosen in.
static CHOICE: &[&str] = &[
    "zh-hans", "zh-cn", "zh-sg", "zh-my", "zh", "gan-hans", "sr-ec", "sr-cyrl", "kk-cyrl",
    "uz-cyrl",
];

/// Whether wikis in `language` use this markup; elsewhere `-{` is text.
pub(super) fn is_converted(language: &str) -> bool {
    CONVERTED.contains(&language)
}

/// What `-{content}-` shows; `pipe` is the place of its first `|`.
pub(super) fn shown(content: &str, pipe: Option<usize>) -> &str {
    let (flags, rules) = match pipe {
        Some(pipe) => (content[..pipe].trim(), &content[pipe + 1..]),
        None => ("", content),
    };
    if flags.split(';').any(|flag| matches!(flag.trim(), "H" | "T" | "-" | "N")) {
        return "";
    }
    if flags.split(';').any(|flag| flag.trim() == "R") {
        return rules.trim();
    }
    choose(rules).unwrap_or_else(|| rules.trim())
}

/// The text of the chosen variant; `None` when `rules` are no rules but text.
fn choose(rules: &str) -> Option<&str> {
    let mut first = None;
    let mut best: Option<(usize, &str)> = None;

    for rule in rules.split(';') {
        let Some((variant, text)) = rule.split_once(':') else {
            // The text of the rule before may hold a `;`, and the last rule is often followed by
            // one.
            if rule.trim().is_empty() || first.is_some() {
                continue;
            }
            return None;
        };

        let variant = variant.rsplit("=>").next().unwrap_or(variant).trim();
        if !is_variant(variant) {
            if first.is_some() {
                continue;
            }
            return None;
        }

        first = first.or(Some(text.trim()));
        let rank = CHOICE.iter().position(|choice| choice.eq_ignore_ascii_case(variant));
        if let Some(rank) = rank.filter(|rank| best.is_none_or(|(other, _)| *rank < other)) {
            best = Some((rank, text.trim()));
        }
    }

    best.map(|(_, text)| text).or(first)
}

fn is_variant(name: &str) -> bool {
    (2..=12).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_variant_is_shown() {
        let check = |content: &str, expected: &str| {
            assert_eq!(shown(content, content.find('|')), expected, "{content}")
        };
        check("zh-hans:计算机;zh-hant:電腦", "计算机");
        check("zh-hant:電腦;zh-hans:计算机;", "计算机");
        check("zh-tw:電腦; zh-hk:電腦; zh-cn: 电脑;", "电脑");
        check("zh-tw:電腦;zh-hk:电脑二", "電腦");
        check("原文", "原文");
        check("A|zh-hans:甲;zh-hant:乙", "甲");
        check("T|zh-hans:甲;zh-hant:乙", "");
        check("H|zh-hans:甲;zh-hant:乙", "");
        check("R|zh-hans:甲", "zh-hans:甲");
        check("zh-hans;zh-hant|甲", "甲");
        check("H|甲=>zh-cn:乙", "");
        check("甲=>zh-cn:乙", "乙");
        check("时间：3:15", "时间：3:15");
        check("", "");
    }
}
