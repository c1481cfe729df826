//! Numbers of a text, with the units behind them, in one form for every way they are written: two
//! texts that say the same say the same numbers.
//!
//! | written | read |
//! |---|---|
//! | `1,000 mg`, `1000mg`, `１０００ mg` | `1000 mg` |
//! | `0.50 %`, `0.5%` | `0.5 %` |
//! | `三十五岁`, `35岁` | `35 岁` |
//! | `一百二十毫克` | `120 毫克` |
//! | `二〇二四年` | `2024 年` |
//! | `5 million`, `5万` | `5000000`, `50000` |
//! | `three`, `twice`, `三分之一`, `百分之五` | `3`, `twice`, `1/3`, `5 %` |
//! | `p < 0.05`, `≥5 mg/kg`, `-5` | `<0.05`, `≥5 mg/kg`, `-5` |
//!
//! A Chinese numeral is a number where a measure word or unit follows it, or where it has two
//! characters or more: `一` alone is most often no number (`一般`, `一些`).

use std::borrow::Cow;

use crate::text::words::is_cjk;

/// What stands behind a number and is part of what it says, longest first where one begins another.
/// Letters are compared in lower case, but for those that differ by case alone (`mM`, `Mm`), which
/// nobody writes for one another.
#[rustfmt::skip]
static UNITS: &[&str] = &[
    "%", "‰", "°c", "°f", "℃", "℉", "°", "mmol", "mol", "mmhg", "mcg", "µg", "μg", "ug", "mg",
    "kg", "ng", "pg", "g", "ml", "µl", "μl", "dl", "l", "nm", "µm", "μm", "mm", "cm", "km", "m",
    "ms", "min", "h", "s", "hz", "khz", "mhz", "kda", "da", "iu", "u", "kcal", "cal", "kj", "j",
    "kw", "w", "v", "mv", "kpa", "pa", "ppm", "bpm", "pmol", "fmol", "nmol", "µmol", "umol",
    "gy", "cgy", "inches", "feet", "lb", "years", "year", "months", "month", "weeks", "week",
    "days", "day", "hours", "hour", "minutes", "minute", "seconds", "second", "times", "fold",
    "percent",
];

/// The same in Chinese, where they follow without a space.
#[rustfmt::skip]
static UNITS_ZH: &[&str] = &[
    "毫克", "微克", "千克", "公斤", "毫升", "毫米", "厘米", "公里", "分钟", "小时", "星期",
    "个月", "毫摩尔", "国际单位", "岁", "年", "月", "日", "号", "天", "周", "时", "分", "秒",
    "次", "片", "组", "套", "门", "只", "头", "层", "粒", "克", "升", "米", "斤", "元", "人",
    "名", "例", "个", "位", "家", "倍", "条", "款", "项", "章", "节", "度", "种", "级", "期",
    "型", "支", "瓶", "袋", "丸", "滴", "亩", "吨",
];

/// English words for numbers, lower case. `one` is most often no number.
#[rustfmt::skip]
static WORDS: &[(&str, &str)] = &[
    ("two", "2"), ("three", "3"), ("four", "4"), ("five", "5"), ("six", "6"), ("seven", "7"),
    ("eight", "8"), ("nine", "9"), ("ten", "10"), ("eleven", "11"), ("twelve", "12"),
    ("thirteen", "13"), ("fourteen", "14"), ("fifteen", "15"), ("sixteen", "16"),
    ("seventeen", "17"), ("eighteen", "18"), ("nineteen", "19"), ("twenty", "20"),
    ("thirty", "30"), ("forty", "40"), ("fifty", "50"), ("sixty", "60"), ("seventy", "70"),
    ("eighty", "80"), ("ninety", "90"), ("once", "once"), ("twice", "twice"), ("thrice", "thrice"),
    ("half", "1/2"), ("quarter", "1/4"), ("dozen", "12"), ("hundred", "100"), ("hundreds", "100s"),
    ("thousand", "1000"), ("thousands", "1000s"), ("daily", "daily"), ("weekly", "weekly"),
    ("monthly", "monthly"), ("yearly", "yearly"), ("first", "1st"), ("second", "2nd"),
    ("third", "3rd"), ("fourth", "4th"), ("fifth", "5th"), ("sixth", "6th"), ("seventh", "7th"),
    ("eighth", "8th"), ("ninth", "9th"), ("tenth", "10th"),
];

/// Words behind which a Roman numeral is a number.
static BEFORE_ROMAN: &[&str] =
    &["type", "types", "stage", "grade", "class", "phase", "factor", "level", "part", "group"];

/// What multiplies the number before it, and by which power of ten; of Chinese without a space.
static POWERS: &[(&str, usize)] = &[
    ("hundred", 2),
    ("thousand", 3),
    ("million", 6),
    ("billion", 9),
    ("百", 2),
    ("千", 3),
    ("万", 4),
    ("萬", 4),
    ("亿", 8),
    ("億", 8),
];

/// The numbers of a text in order, each with its sign before it and its unit behind a space, where
/// it has them.
pub fn numbers(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().map(narrow).collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let c = chars[at];
        let begins = at == 0 || !chars[at - 1].is_ascii_alphabetic();
        let several = if is_numeral(c) { pair(&chars, at) } else { None };
        if let Some(first) = several {
            // `两三天`: two numbers, of which the second has the unit.
            found.push(first);
            at += 1;
            continue;
        }
        let read = if c.is_ascii_digit() {
            Some(digits(&chars, at))
        } else if is_numeral(c) {
            numeral(&chars, at)
        } else if c.is_ascii_alphabetic() && begins {
            word(&chars, at)
        } else {
            None
        };
        match read {
            Some((number, end)) => {
                let sign = sign(&chars, at);
                let (unit, end) = unit(&chars, end);
                found.push(format!("{sign}{number}{unit}"));
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// A number in an English word that begins at a place, and where it ends.
fn word(chars: &[char], start: usize) -> Option<(String, usize)> {
    let word_at = |start: usize| -> String {
        let letters = chars[start..].iter().take_while(|c| c.is_ascii_alphabetic());
        letters.flat_map(|c| c.to_lowercase()).collect()
    };
    let known = |word: &str| WORDS.iter().find(|(name, _)| *name == word).map(|(_, n)| *n);
    let word = word_at(start);
    let end = start + word.len();

    // `type II`, `stage IV`.
    if BEFORE_ROMAN.contains(&word.as_str()) && chars.get(end) == Some(&' ') {
        let roman = chars[end + 1..].iter().take_while(|c| c.is_ascii_alphabetic());
        let roman: String = roman.collect();
        let is_roman = !roman.is_empty() && roman.chars().all(|c| matches!(c, 'I' | 'V' | 'X'));
        return is_roman.then(|| (format!("no {roman}"), end + 1 + roman.len()));
    }

    let number = known(&word)?;
    // `twenty-five`.
    let is_tens = number.len() == 2 && number.ends_with('0') && number != "10";
    if is_tens && matches!(chars.get(end), Some('-' | ' ')) {
        let next = word_at(end + 1);
        let ones = known(&next).filter(|ones| ones.len() == 1);
        if let Some(ones) = ones {
            let number = format!("{}{ones}", &number[..1]);
            return Some(multiplied(chars, number, end + 1 + next.len()));
        }
    }
    Some(multiplied(chars, number.to_string(), end))
}

/// The first of two Chinese digits that stand for a range, `两三天`.
fn pair(chars: &[char], start: usize) -> Option<String> {
    let run: Vec<u64> = chars[start..].iter().map_while(|c| value(*c)).collect();
    let is_range = matches!(run.as_slice(), [a, b] if *a < 10 && *b == a + 1 && *a > 0)
        && !unit(chars, start + 2).0.is_empty();
    (is_range && (start == 0 || !is_numeral(chars[start - 1]))).then(|| run[0].to_string())
}

/// What stands directly before a number and is part of it: how it is compared, and a minus.
fn sign(chars: &[char], at: usize) -> String {
    let mut before = chars[..at].iter().rev().copied();
    let mut sign = String::new();
    let mut next = before.next();
    if matches!(next, Some('-' | '−' | '–' | '±' | '~' | '～')) {
        let behind = before.next();
        let is_minus = behind.is_none_or(|c| c.is_whitespace() || "(（[<>≤≥=＝，,".contains(c));
        if is_minus {
            sign.push(if next == Some('±') { '±' } else { '-' });
        }
        next = behind;
    }
    let mut rest = next.into_iter().chain(before).skip_while(|c| *c == ' ');
    match rest.next() {
        Some(c @ ('<' | '>' | '≤' | '≥' | '≈' | '≠')) => format!("{c}{sign}"),
        Some(c @ ('$' | '€' | '£' | '¥' | '￥')) => format!("{c}{sign}"),
        Some('⩽' | '≦') => format!("≤{sign}"),
        Some('⩾' | '≧') => format!("≥{sign}"),
        Some('=') => match rest.next() {
            Some('<') => format!("≤{sign}"),
            Some('>') => format!("≥{sign}"),
            _ => sign,
        },
        _ => sign,
    }
}

/// A number times the power of ten that is written behind it, and where it ends.
fn multiplied(chars: &[char], number: String, end: usize) -> (String, usize) {
    let space = usize::from(chars.get(end) == Some(&' '));
    let is_at = |name: &str, at: usize| {
        name.chars()
            .zip(at..)
            .all(|(c, at)| chars.get(at).is_some_and(|d| d.to_ascii_lowercase() == c))
    };
    let found = POWERS.iter().find_map(|(name, power)| {
        let is_cjk_name = name.chars().all(is_cjk);
        let at = if is_cjk_name { end } else { end + space };
        let behind = at + name.chars().count();
        // `5千克` is a weight, no thousand.
        let is_prefix = matches!(*name, "千" | "百")
            && chars.get(behind).is_some_and(|c| "克米卡瓦帕赫升焦伏分万亿".contains(*c));
        let ends = (is_cjk_name && !is_prefix)
            || (!is_cjk_name
                && chars.get(behind).is_none_or(|c| !c.is_ascii_alphabetic() || *c == 's'));
        (is_at(name, at) && ends).then_some((*power, behind))
    });
    match found {
        Some((power, behind)) if number.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            (shifted(&number, power), behind)
        }
        _ => (number, end),
    }
}

/// A number in digits with its point so many places to the right.
fn shifted(number: &str, power: usize) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits = whole.to_string();
    digits.extend(fraction.chars().chain(std::iter::repeat('0')).take(power));
    let rest: String = fraction.chars().skip(power).collect();
    let whole = digits.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if rest.is_empty() { whole.to_string() } else { format!("{whole}.{rest}") }
}

/// Full-width signs as the plain ones.
fn narrow(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '·' => '.',
        c => c,
    }
}

/// A number in digits that begins at a place, and where it ends.
fn digits(chars: &[char], start: usize) -> (String, usize) {
    let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let (mut whole, mut fraction, mut at) = (String::new(), String::new(), start);
    while is_digit(at) {
        whole.push(chars[at]);
        at += 1;
        // Groups of three behind a comma or a thin space.
        let groups = matches!(chars.get(at), Some(',' | '\u{2009}' | '\u{202F}'))
            && (1..=3).all(|n| is_digit(at + n))
            && !is_digit(at + 4)
            && whole.len() <= 15;
        if groups {
            at += 1;
        }
    }
    if chars.get(at) == Some(&'.') && is_digit(at + 1) {
        at += 1;
        while is_digit(at) {
            fraction.push(chars[at]);
            at += 1;
        }
    }

    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let number = match fraction {
        "" => whole.to_string(),
        _ => format!("{whole}.{fraction}"),
    };
    // `3:1`, but not `12:30:05` or a label `5: `.
    if chars.get(at) == Some(&':') && is_digit(at + 1) {
        let (other, end) = digits(chars, at + 1);
        return (format!("{number}:{other}"), end);
    }
    multiplied(chars, number, at)
}

/// What a Chinese numeral counts: a digit, or a power of ten.
fn value(c: char) -> Option<u64> {
    Some(match c {
        '〇' | '零' => 0,
        '一' | '壹' => 1,
        '二' | '贰' | '两' | '兩' => 2,
        '三' | '叁' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' => 6,
        '七' | '柒' => 7,
        '八' | '捌' => 8,
        '九' | '玖' => 9,
        '十' | '拾' => 10,
        '百' | '佰' => 100,
        '千' | '仟' => 1_000,
        '万' | '萬' => 10_000,
        '亿' | '億' => 100_000_000,
        _ => return None,
    })
}

fn is_numeral(c: char) -> bool {
    value(c).is_some()
}

/// A number in Chinese numerals that begins at a place, and where it ends; `None` where it is most
/// likely none.
fn numeral(chars: &[char], start: usize) -> Option<(String, usize)> {
    for (power, sign) in [('百', '%'), ('千', '‰')] {
        if chars[start..].starts_with(&[power, '分', '之']) {
            let (number, end) = numeral(chars, start + 3)?;
            return Some((format!("{number} {sign}"), end));
        }
    }
    let run: Vec<u64> = chars[start..].iter().map_while(|c| value(*c)).collect();
    let end = start + run.len();
    // `三分之一`.
    if chars[end..].starts_with(&['分', '之'])
        && let Some((part, behind)) = numeral(chars, end + 2)
    {
        return Some((format!("{part}/{}", read(&run)), behind));
    }
    // `三点五`.
    let fraction: Vec<u64> = match chars.get(end) {
        Some('点' | '點') => chars[end + 1..].iter().map_while(|c| value(*c)).collect(),
        _ => Vec::new(),
    };
    if !fraction.is_empty() && fraction.iter().all(|value| *value < 10) {
        let digits: String = fraction.iter().map(u64::to_string).collect();
        return Some((format!("{}.{digits}", read(&run)), end + 1 + fraction.len()));
    }
    // `三至五日`: what follows has the unit of both.
    let is_range = matches!(chars.get(end), Some('至' | '到' | '~' | '～'))
        && chars.get(end + 1).is_some_and(|c| is_numeral(*c) || c.is_ascii_digit());
    let is_ordinal = start > 0 && chars[start - 1] == '第' || is_range;
    let of_fraction = start > 1 && chars[start - 2..].starts_with(&['分', '之']);
    let has_unit = !unit(chars, end).0.is_empty();
    let is_positional = run.iter().all(|value| *value < 10);
    let is_number = match run.as_slice() {
        // `十分` is most often "very", `千万` "by all means", `百` part of a word.
        [10] => has_unit && chars.get(end) != Some(&'分') || is_ordinal || of_fraction,
        [_] => (has_unit || is_ordinal || of_fraction) && run[0] < 10,
        [first, ..] if *first > 10 => false,
        _ if is_positional => run.len() > 2 || run.contains(&0) || is_ordinal,
        _ => true,
    };
    is_number.then(|| (read(&run), end))
}

/// The number that a run of Chinese numerals says, in digits; other characters are left out.
pub fn of_numerals(run: &str) -> String {
    read(&run.chars().filter_map(value).collect::<Vec<u64>>())
}

/// The number that a run of numerals says: digit by digit, `二〇二四`, or by powers of ten.
fn read(run: &[u64]) -> String {
    if run.iter().all(|value| *value < 10) {
        let read: String = run.iter().map(u64::to_string).collect();
        let read = read.trim_start_matches('0');
        return if read.is_empty() { "0" } else { read }.to_string();
    }

    let (mut total, mut section, mut digit) = (0_u64, 0_u64, None);
    for value in run.iter().copied() {
        match value {
            0..10 => digit = Some(value),
            10_000.. => {
                section += digit.take().unwrap_or(0);
                // `三万亿` multiplies all before it, `一亿二千万` what stands behind the greater.
                let is_greatest = total < value;
                let counted = if is_greatest { total.saturating_add(section) } else { section };
                let more = counted.max(1).saturating_mul(value);
                total = if is_greatest { more } else { total.saturating_add(more) };
                section = 0;
            }
            // `十五` has no digit before its ten.
            _ => section += digit.take().unwrap_or(1) * value,
        }
    }
    total.saturating_add(section + digit.unwrap_or(0)).to_string()
}

/// The unit behind a number with a space before it, a space or a hyphen between them or not, with
/// what it is counted by (`mg/kg`); and where it ends.
fn unit(chars: &[char], at: usize) -> (String, usize) {
    let own = |at: usize| -> Option<(&'static str, usize)> {
        let is_at = |unit: &&&str| {
            let mut n = 0;
            let same = unit.chars().all(|c| {
                n += 1;
                chars.get(at + n - 1).is_some_and(|found| found.to_lowercase().eq([c]))
            });
            // A unit of letters is a word of its own.
            let ends = !unit.ends_with(char::is_alphabetic)
                || unit.chars().all(is_cjk)
                || chars.get(at + n).is_none_or(|c| !c.is_alphanumeric() || is_cjk(*c));
            same && ends
        };
        let all = UNITS.iter().chain(UNITS_ZH).filter(is_at);
        all.max_by_key(|unit| unit.len()).map(|unit| (*unit, at + unit.chars().count()))
    };
    let has_space = matches!(chars.get(at), Some(' ' | '-' | '\u{A0}' | '\u{2009}'));
    let found = own(at).or_else(|| has_space.then(|| own(at + 1)).flatten());
    let Some((unit, mut end)) = found else { return (String::new(), at) };
    let mut unit = format!(" {}", singular(unit));
    loop {
        // `10 mg per day` is `10 mg/day`.
        let per = chars[end.min(chars.len())..].starts_with(&[' ', 'p', 'e', 'r', ' ']);
        let skipped = if per { 5 } else { 1 };
        if !per && chars.get(end) != Some(&'/') {
            break;
        }
        let by = chars[end + skipped..].iter().take_while(|c| c.is_alphanumeric() || **c == '²');
        let by: String = by.take(8).flat_map(|c| c.to_lowercase()).collect();
        if by.is_empty() {
            break;
        }
        end += skipped + by.chars().count();
        unit.push('/');
        unit.push_str(by.strip_suffix('s').filter(|one| one.len() > 2).unwrap_or(&by));
    }
    (unit, end)
}

/// `years` as `year`, and spellings of one unit as one of them.
fn singular(unit: &'static str) -> Cow<'static, str> {
    match unit {
        "µg" | "μg" | "ug" => "mcg".into(),
        "percent" => "%".into(),
        "℃" => "°c".into(),
        "公斤" => "千克".into(),
        _ => match unit.strip_suffix('s') {
            Some(one) if one.len() > 2 => one.into(),
            _ => unit.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(numbers(text), expected, "{text:?}");
    }

    #[test]
    fn one_number_has_one_form() {
        check("1,000 mg, 1000mg and １０００ mg", &["1000 mg"; 3]);
        check("0.50 % or .5 or 0.5%", &["0.5 %", "5", "0.5 %"]);
        check("a 35-year-old woman, 35 years", &["35 year", "35 year"]);
        check("p < 0.05, P>0.05, ≤5 mg, <=5 mg", &["<0.05", ">0.05", "≤5 mg", "≤5 mg"]);
        check("-5 mmHg, (-3), 2-4 and 10−12", &["-5 mmhg", "-3", "2", "4", "10", "12"]);
        check("10 mg/kg, 10 mg/day and 3 days/week", &["10 mg/kg", "10 mg/day", "3 day/week"]);
        check("5 million, 2.5 thousand, 5 billion", &["5000000", "2500", "5000000000"]);
        check("three patients twice, half of them", &["3", "twice", "1/2"]);
        check("10 mg per day or 10 mg/day, weekly", &["10 mg/day", "10 mg/day", "weekly"]);
        check("type II, stage IV, twenty-five", &["no II", "no IV", "25"]);
        check("–5 mmHg, US$21, €21, 3:1", &["-5 mmhg", "$21", "€21", "3:1"]);
        check("1,2 and 12,345,678", &["1", "2", "12345678"]);
        check("IL-6 at 05 min", &["6", "5 min"]);
        check("5 mgx", &["5"]);
        check("no numbers", &[]);
    }

    #[test]
    fn chinese_numerals_are_numbers() {
        check("三十五岁，35岁", &["35 岁", "35 岁"]);
        check("一百二十毫克", &["120 毫克"]);
        check("二〇二四年一月", &["2024 年", "1 月"]);
        check("两万三千零五十元", &["23050 元"]);
        check("十五天，三次", &["15 天", "3 次"]);
        check("一般一些统一", &[]);
        check("一亿二千万人，三万亿元", &["120000000 人", "3000000000000 元"]);
        check("十万", &["100000"]);
        check(
            "5千克，5公斤，3万元，三万元，5亿元",
            &["5 千克", "5 千克", "30000 元", "30000 元", "500000000 元"],
        );
        check("两三天，2-3天", &["2", "3 天", "2", "3 天"]);
        check("三分之一，百分之五，5%", &["1/3", "5 %", "5 %"]);
        check("十分重要，万一，千万不要，三七", &[]);
        check("第三组，第五组", &["3 组", "5 组"]);
        check("2千人，2000人，5千克", &["2000 人", "2000 人", "5 千克"]);
        check("三点五毫克，3.5毫克", &["3.5 毫克", "3.5 毫克"]);
        check("三至五日，3至5日", &["3", "5 日", "3", "5 日"]);
        check("千分之三，3‰", &["3 ‰", "3 ‰"]);
    }

    proptest! {
        /// However many there are, each is found once.
        #[test]
        fn every_number_is_found(values in proptest::collection::vec(0_u32..100_000, 0..8)) {
            let text: Vec<String> = values.iter().map(|n| format!("about {n} mg")).collect();
            let expected: Vec<String> = values.iter().map(|n| format!("{n} mg")).collect();
            prop_assert_eq!(numbers(&text.join("; ")), expected);
        }

        /// A written Chinese numeral is the number it was written for.
        #[test]
        fn numerals_are_read_as_they_are_written(n in 11_u64..100_000_000) {
            fn section(n: u64) -> String {
                let digit = |d: u64| ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"][d as usize];
                let (mut text, mut gap) = (String::new(), false);
                for (power, name) in [(1000, "千"), (100, "百"), (10, "十"), (1, "")] {
                    let d = n / power % 10;
                    if d == 0 {
                        gap = !text.is_empty();
                        continue;
                    }
                    if std::mem::take(&mut gap) {
                        text += "零";
                    }
                    text += digit(d);
                    text += name;
                }
                text
            }
            let (high, low) = (n / 10_000, n % 10_000);
            let mut text = String::new();
            if high > 0 {
                text = section(high) + "万";
                if low > 0 && low < 1000 {
                    text += "零";
                }
            }
            text += &section(low);
            prop_assert_eq!(numbers(&format!("共{text}元")), vec![format!("{n} 元")]);
        }
    }
}
