//! MathML → one line: `1/20`, `x^2`, `x_i`, `√(a+b)`, `√[3]x`, `Σ_(i=1)^n`.
//!
//! Presentation MathML as publishers send it to PubMed. What is simple is marked as raised or
//! lowered and read by the rule of `ingest/numbers.rs`; what has several parts stands in brackets.
//! Of `semantics` the first child counts, annotations repeat it in another language.

use std::borrow::Cow;

use super::tree::{Child, Element, Tree};
use crate::ingest::numbers::{END, LOWERED, RAISED, lower, overline, raise};

/// Deeper formulae are read as the texts in them; real ones have about ten levels.
const MAX_DEPTH: usize = 64;

/// A formula that stands in another text, from `<math` to `</math>`; `None` if it is not
/// well-formed.
pub(in crate::ingest) fn read(math: &str) -> Option<String> {
    let tree = Tree::read(math).ok()?;
    tree.root().map(linear)
}

/// The formula on one line.
pub(super) fn linear(math: Element<'_, '_>) -> String {
    row(math, 0)
}

/// All children in a row.
fn row(element: Element<'_, '_>, depth: usize) -> String {
    let mut line = String::new();
    for child in element.content() {
        match child {
            Child::Text(text) => push(&mut line, text.trim()),
            Child::Element(child) => push(&mut line, &node(child, depth + 1)),
        }
    }
    line
}

/// Puts a piece behind others; two numbers side by side stay two, and nothing joins an exponent or
/// a fraction.
fn push(line: &mut String, piece: &str) {
    let meets = |is: fn(char) -> bool| line.ends_with(is) && piece.starts_with(is);
    let last =
        line.rsplit(|c: char| c.is_whitespace() || "()[]{}=+".contains(c)).next().unwrap_or("");
    let is_closed = last.contains(['/', '^', '_']) && meets(char::is_alphanumeric);
    let is_group = piece.len() == 3 && piece.bytes().all(|byte| byte.is_ascii_digit());
    let before = line
        .strip_suffix(", ")
        .filter(|before| is_group && before.ends_with(|c: char| c.is_ascii_digit()));

    if let Some(before) = before.map(str::len) {
        // A comma between thousands, set as an operator.
        line.truncate(before + 1);
    } else if is_closed || meets(|c| c.is_ascii_digit()) {
        line.push(' ');
    }

    line.push_str(piece);
}

fn node(element: Element<'_, '_>, depth: usize) -> String {
    if depth > MAX_DEPTH {
        return element.plain_text().into_owned();
    }
    let parts: Vec<Element<'_, '_>> = element.children().collect();
    let part =
        |place: usize| parts.get(place).map(|part| node(*part, depth + 1)).unwrap_or_default();

    match element.name() {
        "mfrac" => format!("{}/{}", grouped(part(0)), grouped(part(1))),
        "msup" => base(part(0)) + &raised(&part(1)),
        "msub" => base(part(0)) + &lowered(&part(1)),
        "msubsup" => base(part(0)) + &lowered(&part(1)) + &raised(&part(2)),
        "munder" => part(0) + &lowered(&part(1)),
        "munderover" => part(0) + &lowered(&part(1)) + &raised(&part(2)),
        // A bar or a hat over a symbol, or the upper bound of a sum.
        "mover" => match part(1) {
            over if over.chars().all(|c| !c.is_alphanumeric()) => accented(&part(0), over.trim()),
            over => part(0) + &raised(&over),
        },
        "msqrt" => format!("√{}", grouped(row(element, depth))),
        "mroot" => format!("√[{}]{}", part(1), grouped(part(0))),
        "mfenced" => {
            let inside: Vec<String> = (0..parts.len()).map(part).collect();
            let sign = |name: &str, usual: &str| {
                element.attribute(name).map_or(usual.to_owned(), Cow::into_owned)
            };
            format!("{}{}{}", sign("open", "("), inside.join(", "), sign("close", ")"))
        }
        "mtr" | "mlabeledtr" => (0..parts.len()).map(part).collect::<Vec<_>>().join(", "),
        "mtable" => (0..parts.len()).map(part).collect::<Vec<_>>().join("; "),
        "semantics" => part(0),
        "annotation" | "annotation-xml" | "mphantom" => String::new(),
        "mspace" => " ".to_owned(),
        "mmultiscripts" => multiscripts(&parts, depth),
        "mtext" | "ms" => element.plain_text().into_owned(),
        "mo" => operator(&row(element, depth)),
        _ => row(element, depth),
    }
}

/// Relations and sums stand between spaces, as in text; other operators stand close.
fn operator(sign: &str) -> String {
    match sign {
        "=" | "<" | ">" | "≤" | "≥" | "≈" | "≠" | "±" | "×" | "→" | "∈" | "~" | "∼" | "≡" | "∝"
        | "≪" | "≫" => {
            format!(" {sign} ")
        }
        "," | ";" => format!("{sign} "),
        // Invisible: the application of a function, a product, a comma, a sum.
        "\u{2061}" | "\u{2062}" | "\u{2063}" | "\u{2064}" => String::new(),
        _ => sign.to_owned(),
    }
}

/// Pairs of lowered and raised parts behind a symbol, and, behind `mprescripts`, before it.
fn multiscripts(parts: &[Element<'_, '_>], depth: usize) -> String {
    let Some((base, scripts)) = parts.split_first() else { return String::new() };
    let before =
        scripts.iter().position(|part| part.name() == "mprescripts").unwrap_or(scripts.len());
    let pairs = |scripts: &[Element<'_, '_>]| {
        let texts: Vec<String> = scripts.iter().map(|part| node(*part, depth + 1)).collect();
        texts.chunks(2).map(|pair| pair.iter().map(String::as_str).collect::<Vec<_>>()).fold(
            (String::new(), String::new()),
            |(below, above), pair| {
                (below + pair.first().unwrap_or(&""), above + pair.get(1).unwrap_or(&""))
            },
        )
    };

    let (below, above) = pairs(&scripts[..before]);
    let (below_before, above_before) = pairs(scripts.get(before + 1..).unwrap_or_default());
    raised(&above_before)
        + &lowered(&below_before)
        + &node(*base, depth + 1)
        + &lowered(&below)
        + &raised(&above)
}

/// Longest part that is raised or lowered without brackets, in characters.
const SIMPLE_CHARS: usize = 12;

fn is_simple(part: &str) -> bool {
    part.chars().count() <= SIMPLE_CHARS
        && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '+' | '-' | '−' | '.'))
}

/// Whether several factors stand side by side, so that what is raised would not end where it does:
/// `-kt`, `2n`, `a+b`.
fn is_product(part: &str) -> bool {
    let factors = part.strip_prefix(['-', '−', '+']).unwrap_or(part);
    factors.chars().count() > 1
        && factors.chars().any(|c| !c.is_ascii_digit() && c != '.')
        && !is_word(factors)
}

/// A name of several letters, as of a function or an index.
fn is_word(part: &str) -> bool {
    matches!(
        part,
        "max" | "min" | "opt" | "eff" | "ref" | "obs" | "exp" | "th" | "st" | "nd" | "rd"
    )
}

/// A symbol with what stands over it, as a combining character where there is one.
fn accented(symbol: &str, over: &str) -> String {
    let mark = match over {
        "¯" | "‾" | "―" | "_" | "\u{304}" | "\u{305}" | "−" | "-" | "–" | "—" => {
            return overline(symbol);
        }
        "^" | "ˆ" | "\u{302}" => '\u{302}',
        "~" | "˜" | "∼" | "\u{303}" => '\u{303}',
        "." | "˙" | "\u{307}" => '\u{307}',
        ".." | "¨" | "\u{308}" => '\u{308}',
        "→" | "⃗" => '\u{20d7}',
        _ => return symbol.to_owned(),
    };
    match symbol.chars().count() {
        1 => format!("{symbol}{mark}"),
        _ => symbol.to_owned(),
    }
}

fn raised(part: &str) -> String {
    match part {
        "" => String::new(),
        "′" | "″" | "*" | "∗" | "†" | "∘" | "°" => part.to_owned(),
        _ if is_simple(part)
            && !is_product(part)
            && part.contains(|c: char| c.is_ascii_digit()) =>
        {
            raise(part)
        }

        _ if is_simple(part) && !is_product(part) => format!("^{part}"),
        _ => format!("^({part})"),
    }
}

fn lowered(part: &str) -> String {
    match part {
        "" => String::new(),
        _ if is_simple(part) && part.starts_with(|c: char| c.is_ascii_digit()) => lower(part),
        _ if is_simple(part) => format!("_{part}"),
        _ => format!("_({part})"),
    }
}

/// A part that stands over or under a line, in brackets if it has several.
fn grouped(part: String) -> String {
    let is_single = part
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '^' | RAISED | LOWERED | END));
    if is_single || is_bracketed(&part) { part } else { format!("({part})") }
}

/// What is raised to a power or has an index, in brackets if it is a sum, a fraction or a power.
fn base(part: String) -> String {
    let is_compound = part.contains(['/', '+', '-', '−', '×', '=', '^', RAISED]);
    if is_compound && !is_bracketed(&part) { format!("({part})") } else { part }
}

fn is_bracketed(part: &str) -> bool {
    part.starts_with('(') && part.find(')') == Some(part.len() - 1)
}
