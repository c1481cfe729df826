//! Raised, lowered and fraction digits → one line that keeps every number: the one rule of all
//! readers.
//!
//! | written | read |
//! |---|---|
//! | 10⁶, 4.2 × 10⁻³, m², R² | `10^6`, `4.2 × 10^-3`, `m^2`, `R^2` |
//! | log₂8, x₁, p₁5 | `log_2 8`, `x_1`, `p_1 5` |
//! | 5½, ¼, 5¹⁄₂ | `5 1/2`, `1/4`, `5 1/2` |
//! | H₂O, CO₂, Ca²⁺, D₃, PM₂.₅, ¹⁴C | `H2O`, `CO2`, `Ca2+`, `D3`, `PM2.5`, `14C`: as people do |
//! | SO₄²⁻ | `SO4^2-`: digits that would meet are kept apart |
//! | 19ᵗʰ, 5ᵃ (as mark-up) | `19th`, `5a` |
//!
//! Raised digits get a `^`, but for charges behind letters and mass numbers before a symbol.
//! Lowered digits stand plain behind a capital letter, an element or a bracket, and get a `_`
//! elsewhere. A digit never follows them directly.
//!
//! Readers that know mark-up put what it raises or lowers between [`RAISED`] or [`LOWERED`] and
//! [`END`], three noncharacters of Unicode that no text can hold; Unicode's own raised and lowered
//! digits are read alike.

use std::borrow::Cow;

use memchr::memchr3_iter;

/// Begins what mark-up raises.
pub(super) const RAISED: char = '\u{fdd0}';
/// Begins what mark-up lowers.
pub(super) const LOWERED: char = '\u{fdd1}';
/// Ends what mark-up raises or lowers.
pub(super) const END: char = '\u{fdd2}';

/// A part that mark-up raises, as readers hand it on.
pub(super) fn raise(part: &str) -> String {
    format!("{RAISED}{part}{END}")
}

/// A part that mark-up lowers.
pub(super) fn lower(part: &str) -> String {
    format!("{LOWERED}{part}{END}")
}

/// A part with a line over it: a mean, a repeating decimal. Each character gets Unicode's combining
/// line, a single letter the shorter one (x̄).
pub(super) fn overline(part: &str) -> String {
    let is_letter = part.chars().count() == 1 && part.chars().all(char::is_alphabetic);
    let mark = if is_letter { '\u{304}' } else { '\u{305}' };
    part.chars()
        .flat_map(|c| [Some(c), Some(mark).filter(|_| c.is_alphanumeric())])
        .flatten()
        .collect()
}

/// Longest stretch between [`RAISED`] or [`LOWERED`] and [`END`] that is read as one, in bytes;
/// beyond, somebody forgot a closing tag.
const MAX_BYTES: usize = 60;

/// A text with its raised, lowered and fraction digits on the line; as it is where there are none.
pub(super) fn linear<'t>(text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
    let text = text.into();
    if !has_any(text.as_bytes()) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = &*text;
    // Whether what was written last is a number, or a power or an index, that a digit must not
    // touch.
    let mut closed = false;

    while let Some(c) = rest.chars().next() {
        if closed && c.is_ascii_digit() {
            out.push(' ');
        }
        closed = false;
        let start = out.len();

        match Piece::at(rest) {
            Some(Piece { kind, content, length }) => {
                rest = &rest[length..];
                match kind {
                    Kind::Fraction => fraction(&mut out, &content),
                    Kind::Raised => match denominator(rest) {
                        Some((below, length)) if is_number(&content) => {
                            rest = &rest[length..];
                            fraction(&mut out, &format!("{content}/{below}"));
                        }
                        _ => raised(&mut out, &content, rest),
                    },
                    Kind::Lowered => lowered(&mut out, &content),
                }

                let is_marked = out[start..].contains(['^', '_']);
                closed =
                    out.ends_with(|c: char| c.is_ascii_digit() || is_marked && c.is_alphanumeric());
            }
            None => {
                out.push(if c == '⁄' { '/' } else { c });
                rest = &rest[c.len_utf8()..];
            }
        }
    }

    Cow::Owned(out.replace([RAISED, LOWERED, END], ""))
}

/// Whether there may be something to do: the bytes that such characters begin with.
fn has_any(text: &[u8]) -> bool {
    memchr3_iter(0xc2, 0xe2, 0xef, text).any(|at| match &text[at..] {
        [0xc2, second, ..] => matches!(second, 0xb2 | 0xb3 | 0xb9 | 0xbc..=0xbe),
        [0xe2, 0x81, third, ..] => *third == 0x84 || *third >= 0xb0,
        [0xe2, 0x82, third, ..] => *third <= 0x9f,
        [0xe2, 0x85, third, ..] => *third <= 0x9f,
        [0xe2, 0x86, 0x89, ..] => true,
        [0xef, 0xb7, third, ..] => matches!(third, 0x90..=0x92),
        _ => false,
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Raised,
    Lowered,
    Fraction,
}

/// A raised, lowered or fraction stretch at the start of a text.
struct Piece {
    kind: Kind,
    /// What it says, in plain characters.
    content: String,
    /// Its length in bytes.
    length: usize,
}

impl Piece {
    fn at(text: &str) -> Option<Self> {
        let first = text.chars().next()?;
        if let Some(content) = vulgar(first) {
            return Some(Piece { kind: Kind::Fraction, content, length: first.len_utf8() });
        }

        if first == RAISED || first == LOWERED {
            let inside = &text[first.len_utf8()..];
            let end = inside.find([END, RAISED, LOWERED, '\n']).unwrap_or(inside.len());
            if end > MAX_BYTES {
                return None;
            }
            let closing =
                inside[end..].chars().next().filter(|c| *c == END).map_or(0, char::len_utf8);
            let kind = if first == RAISED { Kind::Raised } else { Kind::Lowered };
            let mut content = String::with_capacity(end);

            for c in inside[..end].chars() {
                match vulgar(c) {
                    Some(parts) => fraction(&mut content, &parts),
                    None => content.push(plain(c).map_or(c, |(_, c)| c)),
                }
            }

            let content = content.trim().replace('−', "-").replace('⁄', "/");
            return Some(Piece { kind, content, length: first.len_utf8() + end + closing });
        }

        let kind = plain(first)?.0;
        let (mut content, mut length) = (String::new(), 0);

        for c in text.chars() {
            match plain(c) {
                Some((other, c)) if other == kind => content.push(c),
                _ => break,
            }
            length += c.len_utf8();
        }

        Some(Piece { kind, content, length })
    }
}

/// What a raised or lowered character of Unicode stands for.
fn plain(c: char) -> Option<(Kind, char)> {
    const DIGITS: &[u8; 16] = b"0123456789+-=()n";
    let at = |kind, index: u32| Some((kind, char::from(DIGITS[index as usize])));

    match c {
        '²' => at(Kind::Raised, 2),
        '³' => at(Kind::Raised, 3),
        '¹' => at(Kind::Raised, 1),
        'ⁱ' => Some((Kind::Raised, 'i')),
        '⁰' | '\u{2074}'..='\u{207f}' => at(Kind::Raised, u32::from(c) - 0x2070),
        '\u{2080}'..='\u{208e}' => at(Kind::Lowered, u32::from(c) - 0x2080),
        _ => None,
    }
}

/// A fraction in one character.
fn vulgar(c: char) -> Option<String> {
    let fraction = match c {
        '¼' => "1/4",
        '½' => "1/2",
        '¾' => "3/4",
        '⅐' => "1/7",
        '⅑' => "1/9",
        '⅒' => "1/10",
        '⅓' => "1/3",
        '⅔' => "2/3",
        '⅕' => "1/5",
        '⅖' => "2/5",
        '⅗' => "3/5",
        '⅘' => "4/5",
        '⅙' => "1/6",
        '⅚' => "5/6",
        '⅛' => "1/8",
        '⅜' => "3/8",
        '⅝' => "5/8",
        '⅞' => "7/8",
        '↉' => "0/3",

        _ => return None,
    };
    Some(fraction.to_string())
}

/// What is lowered behind a slash at the start of a text: the lower part of a fraction, and the
/// length of both.
fn denominator(text: &str) -> Option<(String, usize)> {
    let slash = text.chars().next().filter(|c| matches!(c, '/' | '⁄'))?;
    let behind = &text[slash.len_utf8()..];
    let below = Piece::at(behind)
        .filter(|piece| piece.kind == Kind::Lowered && is_number(&piece.content))?;
    Some((below.content, slash.len_utf8() + below.length))
}

fn is_number(content: &str) -> bool {
    !content.is_empty() && content.bytes().all(|byte| byte.is_ascii_digit())
}

fn fraction(out: &mut String, fraction: &str) {
    if out.ends_with(|c: char| c.is_ascii_digit()) {
        out.push(' ');
    }
    out.push_str(fraction);
}

fn raised(out: &mut String, content: &str, behind: &str) {
    let last = out.chars().next_back();
    let has_digit = content.contains(|c: char| c.is_ascii_digit());
    let on_digit = last.is_some_and(|c| c.is_ascii_digit());
    let begins_symbol = behind.starts_with(|c: char| c.is_ascii_uppercase());
    let is_power = match last {
        // A mass number before its symbol, a mark before a word.
        None | Some(' ' | '\n' | '(' | '[' | '/' | '–' | '-' | ',' | ';') if has_digit => {
            // "× 10 ⁶"
            let number =
                out.ends_with(' ') && out.trim_end().ends_with(|c: char| c.is_ascii_digit());
            (number || last == Some(',')) && !begins_symbol
        }

        None | Some(' ' | '\n') => false,
        // Charges: Ca2+, but SO4^2- and 10^6.
        Some(_) if is_charge(content) => on_digit && content.len() > 1,
        Some(_) if has_digit => true,
        // 10^(a+b), e^-x and 10^n, but 19th and 5a.
        Some(_)
            if on_digit
                && content
                    .get(1..)
                    .is_some_and(|rest| rest.contains('+') && !rest.ends_with('+')) =>
        {
            true
        }

        Some(last) if content.starts_with('-') && content.len() > 1 => last.is_alphanumeric(),
        Some(_) => {
            on_digit && matches!(content, "n" | "k" | "m" | "x" | "y" | "i" | "j" | "p" | "N")
        }
    };

    if is_power {
        out.push('^');
    }
    push_grouped(out, content, is_power);
}

/// A number with its sign behind it, or a sign alone.
fn is_charge(content: &str) -> bool {
    let number = content.trim_end_matches(['+', '-']);
    number.len() < content.len() && (number.is_empty() || is_number(number))
}

fn lowered(out: &mut String, content: &str) {
    let has_digit = content.contains(|c: char| c.is_ascii_digit());
    let is_letter =
        |text: &str| text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_below = match out.chars().next_back() {
        Some(c) if c.is_ascii_digit() => has_digit,
        Some(c) if c.is_ascii_lowercase() && has_digit => !ends_with_element(out),
        // An index: one letter behind a word of one letter.
        Some(_) => {
            is_letter(content)
                && out.rsplit(|c: char| !c.is_alphanumeric()).next().is_some_and(is_letter)
        }
        None => false,
    };

    if is_below {
        out.push('_');
    }
    push_grouped(out, content, is_below);
}

/// Sums and words of several parts need brackets behind a `^` or `_`.
fn push_grouped(out: &mut String, content: &str, is_behind_mark: bool) {
    let body = content.strip_prefix('-').unwrap_or(content);
    let is_sign = |c: char| matches!(c, '+' | '-' | ' ' | '=' | '×' | '*' | '/');
    let is_sum = body.chars().skip(1).any(is_sign) && !is_charge(content);

    if is_behind_mark && is_sum && !body.starts_with('(') {
        out.push('(');
        out.push_str(content);
        out.push(')');
    } else {
        out.push_str(content);
    }
}

/// Symbols of two letters; those of one are capitals.
#[rustfmt::skip]
static ELEMENTS: &[&str] = &[
    "Ac", "Ag", "Al", "Am", "Ar", "As", "At", "Au", "Ba", "Be", "Bh", "Bi", "Bk", "Br", "Ca", "Cd",
    "Ce", "Cf", "Cl",
    "Cm", "Cn", "Co", "Cr", "Cs", "Cu", "Db", "Ds", "Dy", "Er", "Es", "Eu", "Fe", "Fl", "Fm", "Fr",
    "Ga", "Gd", "Ge",
    "He", "Hf", "Hg", "Ho", "Hs", "In", "Ir", "Kr", "La", "Li", "Lr", "Lu", "Lv", "Mc", "Md", "Me",
    "Mg", "Mn", "Mo",
    "Mt", "Na", "Nb", "Nd", "Ne", "Nh", "Ni", "No", "Np", "Og", "Os", "Pa", "Pb", "Pd", "Pm", "Po",
    "Pr", "Pt", "Pu",
    "Ra", "Rb", "Re", "Rf", "Rg", "Rh", "Rn", "Ru", "Sb", "Sc", "Se", "Sg", "Si", "Sm", "Sn", "Sr",
    "Ta", "Tb", "Tc",
    "Te", "Th", "Ti", "Tl", "Tm", "Ts", "Xe", "Yb", "Zn", "Zr", "Et", "Ph", "Hb",
];

fn ends_with_element(text: &str) -> bool {
    ELEMENTS.iter().any(|symbol| {
        text.strip_suffix(symbol)
            .is_some_and(|before| !before.ends_with(|c: char| c.is_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        // Mark-up in short: `{` raises, `}` ends, `<` lowers, `>` ends.
        let marked: String = text
            .chars()
            .map(|c| match c {
                '{' => RAISED,
                '<' => LOWERED,
                '}' | '>' => END,
                c => c,
            })
            .collect();
        assert_eq!(linear(&marked), expected, "{text}");
    }

    #[test]
    fn numbers_stay_apart() {
        check("10⁶ and 4.2 × 10⁻³", "10^6 and 4.2 × 10^-3");
        check("10{6} and 4.2 × 10{−3} mol/m{2}", "10^6 and 4.2 × 10^-3 mol/m^2");
        check("log₂8, log<2>8, log<2>(x)", "log_2 8, log_2 8, log_2(x)");
        check("p<1>5 and x₁² + x₂²", "p_1 5 and x_1^2 + x_2^2");
        check("x<n>, a<i>, V<max>, pH<a>", "x_n, a_i, Vmax, pHa");
        check("5½ cups, ¼ and 3⅞", "5 1/2 cups, 1/4 and 3 7/8");
        check("5¹⁄₂, 5{1}/<2>, {1}⁄<20> and 1⁄3", "5 1/2, 5 1/2, 1/20 and 1/3");
        check("10 {6} cells/mm³", "10 ^6 cells/mm^3");
        check("2{n+1}, e{-x}, 10{n}, 10{-n}", "2^(n+1), e^-x, 10^n, 10^-n");
        check("10{6}5, 10{a+b}, 2{n}5, x<i>2", "10^6 5, 10^(a+b), 2^n 5, x_i 2");
        check("10{-3/2}, x{1/2}", "10^(-3/2), x^(1/2)");
        check("R{2} = 0.98", "R^2 = 0.98");
        check("ends.{12} there,{3,4} too", "ends.^12 there,^3,4 too");
    }

    #[test]
    fn formulae_stay_as_people_write_them() {
        check("H₂O, H<2>O, CO<2>, C₆H₁₂O₆", "H2O, H2O, CO2, C6H12O6");
        check("Ca²⁺, Na{+}/Ca{2+}, Fe{III}, Cl⁻", "Ca2+, Na+/Ca2+, FeIII, Cl-");
        check("SO₄²⁻ and CD4{+}", "SO4^2- and CD4+");
        check("Ca<3>(PO<4>)<2>, Mg<2>SiO<4>", "Ca3(PO4)2, Mg2SiO4");
        check(
            "vitamin D<3>, B<12>, IC<50>, PM₂.₅, T<1/2>, VO<2>max",
            "vitamin D3, B12, IC50, PM2.5, T1/2, VO2max",
        );
        check("{14}C, of {99m}Tc, a 5 {14}C dose, [{3}H]", "14C, of 99mTc, a 5 14C dose, [3H]");
        check("the 19{th}, 5{a}, Acme{TM}, α<1>", "the 19th, 5a, AcmeTM, α1");
    }

    #[test]
    fn what_is_left_open_is_text() {
        check("a{b", "ab");
        check("a{2\nb}", "a^2\nb");
        check(&format!("a{{{}", "b ".repeat(40)), &format!("a{}", "b ".repeat(40)));
        check("{}<>", "");
        assert!(matches!(linear("plain – text “here” 中文，。"), Cow::Borrowed(_)));
    }

    /// The numbers of a text before it is linear: digits of one kind that stand side by side are
    /// one number, and a fraction is two.
    fn numbers(pieces: &[String]) -> Vec<String> {
        let mut numbers: Vec<String> = Vec::new();
        let mut before = None;

        for piece in pieces {
            let mut inside = 0;
            for c in piece.chars() {
                let (kind, digit) = match c {
                    RAISED | LOWERED => {
                        inside = if c == RAISED { 3 } else { 4 };
                        before = None;
                        continue;
                    }
                    END => {
                        inside = 0;
                        before = None;
                        continue;
                    }
                    '½' => {
                        numbers.extend(["1".to_string(), "2".to_string()]);
                        before = None;
                        continue;
                    }
                    c if c.is_ascii_digit() => (inside, c),
                    c => match plain(c) {
                        Some((kind, digit)) => (1 + kind as u8, digit),
                        None => {
                            before = None;
                            continue;
                        }
                    },
                };

                match numbers.last_mut().filter(|_| before == Some(kind)) {
                    Some(number) => number.push(digit),
                    None => numbers.push(digit.to_string()),
                }
                before = Some(kind);
            }
        }

        numbers
    }

    /// Digits and letters, raised and lowered ones as characters and between marks.
    const PIECE: &str = "[0-9]{1,3}|[a-zA-Z ./,()]|⁶|²|₂|½|\u{fdd0}[0-9]{1,2}\u{fdd2}\
                         |\u{fdd1}[0-9]{1,2}\u{fdd2}|\u{fdd0}-3\u{fdd2}";

    proptest! {
        /// No digit is lost, added or joined to another.
        #[test]
        fn every_run_of_digits_stays(pieces in proptest::collection::vec(PIECE, 0..12)) {
            let text = pieces.concat();
            let read = linear(&text).into_owned();
            let runs = read.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
            let found: Vec<&str> = runs.collect();
            prop_assert_eq!(found, numbers(&pieces), "{} → {}", text, read);
        }

        #[test]
        fn twice_is_once(text in "[a-zA-Z0-9 ⁰-⁹₀-₉½¼⁄\u{fdd0}-\u{fdd2}]{0,30}") {
            let once = linear(&text).into_owned();
            prop_assert_eq!(linear(&once).into_owned(), once);
        }
    }
}
