//! JSON as programs write it → JSON as the standard has it, with every digit kept.
//!
//! Python writes `NaN`, `Infinity` and `-Infinity`, which no standard knows: they become `null`.
//! Numbers that a 64-bit integer or a double would not give back digit for digit (ids beyond 2⁶⁴,
//! `0.10`, twenty digits behind the point) become strings of what was written; readers of JSON
//! would round them without a word.

use std::borrow::Cow;

use memchr::memchr2;

/// The record with such values replaced; as it is where there are none.
pub(super) fn strict(json: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Vec<u8> = Vec::new();
    let (mut copied, mut at) = (0, 0);

    while let Some(&byte) = json.get(at) {
        let token = match byte {
            b'"' => {
                at = behind_string(json, at);
                continue;
            }
            b'-' | b'0'..=b'9' | b'N' | b'I' => token(&json[at..]),
            _ => 0,
        };

        let written = &json[at..at + token];
        let end = at + token.max(1);

        if let Some(replacement) = replacement(written) {
            out.extend_from_slice(&json[copied..at]);
            out.extend_from_slice(replacement.as_bytes());
            copied = end;
        }

        at = end;
    }

    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.extend_from_slice(&json[copied..]);
    Cow::Owned(out)
}

/// Where what stands behind the string begins that begins at `from`.
fn behind_string(json: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// Length of the word or number that begins here.
fn token(json: &[u8]) -> usize {
    json.iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
        .count()
}

/// What a word or number becomes; `None` where it stays.
fn replacement(token: &[u8]) -> Option<Cow<'static, str>> {
    const NULL: Cow<'_, str> = Cow::Borrowed("null");
    match token {
        [] => None,
        b"NaN" | b"-NaN" | b"Infinity" | b"-Infinity" => Some(NULL),
        // What is shorter has at most fifteen digits, which a double keeps, if none is a 0 at the
        // end of a fraction.
        _ if token.len() <= 15
            && !(token.ends_with(b"0") && token.contains(&b'.'))
            && !token.iter().any(|byte| matches!(byte, b'e' | b'E')) =>
        {
            None
        }

        _ => match std::str::from_utf8(token) {
            // Python reads it as infinity.
            Ok(number) if number.parse::<f64>().is_ok_and(f64::is_infinite) => Some(NULL),
            Ok(number) if loses_digits(number) => Some(Cow::Owned(format!("\"{number}\""))),
            _ => None,
        },
    }
}

/// Whether a number as JSON writes it is given back with other digits.
pub(super) fn loses_digits(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number.parse::<i64>().is_err()
            && number.parse::<u64>().is_err()
            && number.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    }

    let Ok(value) = number.parse::<f64>() else { return false };
    let mantissa = |text: &str| {
        let text = text.split(['e', 'E']).next().unwrap_or(text);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_string()
    };
    let fraction = number
        .split(['e', 'E'])
        .next()
        .and_then(|text| text.split_once('.'))
        .map_or("", |(_, digits)| digits);
    let ends_with_zero = fraction.len() > 1 && fraction.ends_with('0');
    ends_with_zero || !value.is_finite() || mantissa(number) != mantissa(&format!("{value:e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn what_json_does_not_have_is_replaced() {
        let check = |json: &str, expected: &str| {
            assert_eq!(std::str::from_utf8(&strict(json.as_bytes())).unwrap(), expected);
        };
        check(
            r#"{"a": NaN, "b": [Infinity, -Infinity], "c": "NaN \" NaN"}"#,
            r#"{"a": null, "b": [null, null], "c": "NaN \" NaN"}"#,
        );
        check(
            r#"{"id": 340282366920938463463374607431768211456}"#,
            r#"{"id": "340282366920938463463374607431768211456"}"#,
        );
        check(
            r#"{"id": 18446744073709551616, "n": 18446744073709551615}"#,
            r#"{"id": "18446744073709551616", "n": 18446744073709551615}"#,
        );
        check(
            r#"[1.0, 0.10, 1e5, 1E-07, 0.1, -9223372036854775808]"#,
            r#"[1.0, "0.10", 1e5, 1E-07, 0.1, -9223372036854775808]"#,
        );
        check(
            "[3.14159265358979323846, 0.30000000000000004]",
            "[\"3.14159265358979323846\", 0.30000000000000004]",
        );
        check(r#"{"open": "NaN"#, r#"{"open": "NaN"#);
        check("[1e400, -1E999, 1e5]", "[null, null, 1e5]");
        check("", "");
    }

    proptest! {
        /// Valid JSON without such numbers is left as it is, and what is made of the rest is read.
        #[test]
        fn what_is_strict_stays(numbers in proptest::collection::vec(any::<i64>(), 0..5),
            floats in proptest::collection::vec(-1e9..1e9_f64, 0..5), text in ".{0,20}") {
            let json = serde_json::json!({"n": numbers, "f": floats, "t": text}).to_string();
            prop_assert_eq!(&*strict(json.as_bytes()), json.as_bytes());
        }

        #[test]
        fn every_digit_is_given_back(whole in "[1-9][0-9]{0,40}", fraction in "[0-9]{0,30}",
            negative: bool) {
            let mut number = if negative { format!("-{whole}") } else { whole };
            if !fraction.is_empty() {
                number += &format!(".{fraction}");
            }
            let json = format!("[{number}]");
            let read: Value = serde_json::from_slice(&strict(json.as_bytes())).unwrap();
            let given_back = match &read[0] {
                Value::String(text) => text.clone(),
                Value::Number(number) if number.is_f64() => number.as_f64().unwrap().to_string(),
                other => other.to_string(),
            };
            let plain = |number: &str| number.strip_suffix(".0").unwrap_or(number).to_string();

            prop_assert_eq!(plain(&given_back), plain(&number));
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            strict(&bytes);
        }
    }
}
