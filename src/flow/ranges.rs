//! The range of every number in `pipelines/default.toml`, read off the comment beside it: `bands =
//! 14  # [1, 512] bands of a signature; …`. So the manual, the default and the check are one line
//! and cannot come apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use crate::flow::settings::DEFAULT;

/// What a number may be, and what the manual says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
    /// Whether `low` itself is left out.
    above: bool,
    /// Whether `high` itself is left out.
    below: bool,
    /// As it stands in the manual.
    text: String,
    /// The rest of the comment.
    pub about: String,
}

impl Range {
    /// Whether a number is in it; NaN is in none.
    pub fn contains(&self, value: f64) -> bool {
        let is_above = if self.above { value > self.low } else { value >= self.low };
        let is_below = if self.below { value < self.high } else { value <= self.high };
        is_above && is_below
    }

    /// Reads the beginning of a comment: `[0, 1) share of …`.
    fn parse(comment: &str) -> Option<Range> {
        let open = comment.chars().next().filter(|c| matches!(c, '[' | '('))?;
        let end = comment.find([']', ')'])?;
        let (low, high) = comment[1..end].split_once(", ")?;
        let number = |text: &str| text.replace('_', "").parse::<f64>().ok();
        Some(Range {
            low: number(low)?,
            high: number(high)?,
            above: open == '(',
            below: comment[end..].starts_with(')'),
            text: comment[..=end].to_string(),
            about: comment[end + 1..].trim().to_string(),
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The ranges by the whole names of their keys.
static RANGES: LazyLock<BTreeMap<String, Range>> = LazyLock::new(|| {
    let (mut section, mut ranges) = (String::new(), BTreeMap::new());
    for line in DEFAULT.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = format!("{name}.");
        }
        let Some((key, rest)) = line.split_once('=') else { continue };
        let comment = rest.split_once('#').map_or("", |(_, comment)| comment.trim());
        if let Some(range) = Range::parse(comment) {
            ranges.insert(format!("{section}{}", key.trim()), range);
        }
    }
    ranges
});

/// The range of the key with this whole name; `None` where it has none.
pub fn range(key: &str) -> Option<&'static Range> {
    RANGES.get(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_in_or_out_as_the_brackets_say() {
        let range = Range::parse("(0, 1_000] things; none are too few").unwrap();
        assert_eq!(
            [0.0, 1e-9, 1_000.0, 1_000.1, f64::NAN].map(|x| range.contains(x)),
            [false, true, true, false, false]
        );
        assert_eq!(
            (range.to_string().as_str(), range.about.as_str()),
            ("(0, 1_000]", "things; none are too few")
        );
        let range = Range::parse("[1, inf) steps").unwrap();
        assert_eq!(
            [0.0, 1.0, 1e300, f64::INFINITY].map(|x| range.contains(x)),
            [false, true, true, false]
        );
        assert_eq!([Range::parse("of every draw"), Range::parse("[CLS] is in")], [None, None]);
    }

    /// No number is without a range, and every default is in its own.
    #[test]
    fn every_number_has_a_range_that_its_default_is_in() {
        fn walk(table: &toml::Table, path: &str, n: &mut usize) {
            for (key, value) in table.iter().filter(|(key, _)| *key != "source") {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let number = match value {
                    toml::Value::Table(inner) => {
                        walk(inner, &path, n);
                        continue;
                    }
                    toml::Value::Integer(number) => *number as f64,
                    toml::Value::Float(number) => *number,
                    _ => continue,
                };

                let range = range(&path).unwrap_or_else(|| panic!("`{path}` has no range"));
                assert!(range.contains(number) && range.about.len() > 5, "`{path}`: {range:?}");
                *n += 1;
            }
        }

        let mut n = 0;
        walk(&toml::from_str(DEFAULT).unwrap(), "", &mut n);
        assert_eq!(n, RANGES.len(), "a range without a number");
        assert!(n > 80);
    }
}
