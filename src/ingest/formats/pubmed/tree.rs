//! One record as a tree: elements and texts in document order, borrowed from the record.
//!
//! A record is tokenised here and not by quick-xml, which checks each piece for UTF-8 again and
//! keeps a copy of every name: that cost more than all the rest of ingest. What is well-formed is
//! what quick-xml takes, which a property test holds to, but for elements without a name and
//! declarations inside a record: they are errors here.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3, memmem};

use super::mathml;
use crate::ingest::clean::one_line;
use crate::ingest::numbers::{self, END, LOWERED, RAISED};
use crate::ingest::{wikitext, xml};

/// An element or a run of text.
#[derive(Debug)]
struct Node<'x> {
    /// Name of an element without its prefix; empty for text.
    name: &'x str,
    /// The open tag, or the text as it stands in the file.
    raw: &'x str,
    /// The number of the first node behind this one and all inside it.
    end: usize,
}

/// A record.
#[derive(Debug)]
pub(super) struct Tree<'x>(Vec<Node<'x>>);

/// An element of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'t, 'x> {
    tree: &'t Tree<'x>,
    number: usize,
}

impl<'x> Tree<'x> {
    /// Reads a record; the error says why it is not well-formed.
    pub(super) fn read(xml: &'x str) -> Result<Self, String> {
        // Citations have a node for every 18 bytes or more.
        let mut nodes: Vec<Node> = Vec::with_capacity(xml.len() / 18);
        let mut open: Vec<(usize, &str)> = Vec::new();
        let mut rest = xml;

        while !rest.is_empty() {
            let number = nodes.len();
            let (token, behind) = rest.split_at(token(rest)?);
            rest = behind;

            match token.as_bytes() {
                [b'<', b'/', ..] => {
                    let name = token[2..token.len() - 1].trim_end_matches([' ', '\t', '\n', '\r']);
                    match open.pop() {
                        Some((opened, expected)) if expected == name => nodes[opened].end = number,
                        Some((_, expected)) => {
                            return Err(format!("`</{name}>` closes `<{expected}>`"));
                        }
                        None => return Err(format!("`</{name}>` closes nothing")),
                    }
                }

                [b'<', b'?', ..] | [b'<', b'!', b'-', ..] => {}
                [b'<', next, ..] if *next != b'!' => {
                    let closed = token.ends_with("/>");
                    let (name, local) = names(&token[1..token.len() - 1 - usize::from(closed)]);
                    if local.is_empty() {
                        return Err("an element without a name".to_owned());
                    }
                    if !closed {
                        open.push((number, name));
                    }
                    nodes.push(Node { name: local, raw: token, end: number + usize::from(closed) });
                }
                _ => nodes.push(Node { name: "", raw: token, end: number + 1 }),
            }
        }

        match open.last() {
            Some((_, name)) => Err(format!("the record ends inside `<{name}>`")),
            None => Ok(Tree(nodes)),
        }
    }

    /// The outermost element.
    pub(super) fn root(&self) -> Option<Element<'_, 'x>> {
        let number = self.0.iter().position(|node| !node.name.is_empty())?;
        Some(Element { tree: self, number })
    }
}

/// Length of the tag, comment, section, instruction or run of text that `xml` begins with.
fn token(xml: &str) -> Result<usize, String> {
    let bytes = xml.as_bytes();
    let up_to = |close: &str, from: usize| {
        let found = memmem::find(bytes.get(from..).unwrap_or_default(), close.as_bytes());
        found
            .map(|place| from + place + close.len())
            .ok_or_else(|| format!("no `{close}` closes what opens"))
    };

    match bytes {
        [b'<', b'!', b'-', b'-', ..] => up_to("-->", 4),
        [b'<', b'!', b'[', ..] if xml.starts_with("<![CDATA[") => up_to("]]>", 9),
        [b'<', b'!', ..] => Err("`<!` begins neither a comment nor a section".to_owned()),
        [b'<', b'?', ..] => up_to("?>", 2),
        [b'<', b'/', ..] => memchr(b'>', bytes)
            .map(|end| end + 1)
            .ok_or_else(|| "no `>` closes what opens".to_owned()),
        [b'<', ..] => tag(bytes),

        _ => text(bytes),
    }
}

/// Length of the open tag that `xml` begins with: a `>` in quotes does not end it.
fn tag(xml: &[u8]) -> Result<usize, String> {
    let mut at = 1;
    loop {
        let behind = xml.get(at..).unwrap_or_default();
        let Some(place) = memchr3(b'>', b'"', b'\'', behind) else { break };
        match behind[place] {
            b'>' => return Ok(at + place + 1),
            quote => match memchr(quote, &behind[place + 1..]) {
                Some(length) => at += place + length + 2,
                None => break,
            },
        }
    }
    Err("no `>` closes a tag".to_owned())
}

/// Name in an open tag, with and without its prefix.
fn names(tag: &str) -> (&str, &str) {
    let mut local = 0;
    for (at, byte) in tag.bytes().enumerate() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => return (&tag[..at], &tag[local..at]),
            b':' if local == 0 => local = at + 1,
            _ => {}
        }
    }
    (tag, &tag[local..])
}

/// Length of the run of text that `xml` begins with, in which every `&` has to begin a reference.
fn text(xml: &[u8]) -> Result<usize, String> {
    let mut at = 0;
    while let Some(place) = memchr2(b'<', b'&', &xml[at..]) {
        at += place;
        if xml[at] == b'<' {
            return Ok(at);
        }
        match memchr3(b';', b'&', b'<', &xml[at + 1..]) {
            Some(length) if xml[at + 1 + length] == b';' => at += length + 2,
            _ => return Err("an `&` begins no reference".to_owned()),
        }
    }
    Ok(xml.len())
}

impl<'t, 'x> Element<'t, 'x> {
    /// Its name, without a prefix.
    pub(super) fn name(self) -> &'x str {
        self.tree.0[self.number].name
    }

    /// Its child elements.
    pub(super) fn children(self) -> impl Iterator<Item = Element<'t, 'x>> {
        let end = self.tree.0[self.number].end;
        let mut next = self.number + 1;
        std::iter::from_fn(move || {
            while next < end {
                let number = next;
                next = self.tree.0[number].end.max(number + 1);
                if !self.tree.0[number].name.is_empty() {
                    return Some(Element { tree: self.tree, number });
                }
            }
            None
        })
    }

    /// Its children called `name`.
    pub(super) fn all(self, name: &'static str) -> impl Iterator<Item = Element<'t, 'x>> {
        self.children().filter(move |child| child.name() == name)
    }

    /// Its first child called `name`.
    pub(super) fn child(self, name: &str) -> Option<Element<'t, 'x>> {
        self.children().find(|child| child.name() == name)
    }

    /// The element at the end of `path`, from child to child.
    pub(super) fn at(self, path: &[&str]) -> Option<Element<'t, 'x>> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// Text of the first child called `name`, when there is any.
    pub(super) fn text_of(self, name: &str) -> Option<Cow<'x, str>> {
        self.child(name).map(Element::text).filter(|text| !text.is_empty())
    }

    /// Value of attribute `name`, when it is not empty.
    pub(super) fn attribute(self, name: &str) -> Option<Cow<'x, str>> {
        let value = xml::attribute(self.tree.0[self.number].raw, name)?;
        Some(plain(value)).filter(|value| !value.is_empty())
    }

    /// Its texts and child elements, in order.
    pub(super) fn content(self) -> impl Iterator<Item = Child<'t, 'x>> {
        let end = self.tree.0[self.number].end;
        let mut next = self.number + 1;
        std::iter::from_fn(move || {
            let number = next;
            let node = self.tree.0[..end].get(number)?;
            next = node.end.max(number + 1);
            Some(match node.name {
                "" => Child::Text(plain(node.raw)),
                _ => Child::Element(Element { tree: self.tree, number }),
            })
        })
    }

    /// All text inside on one line: white space collapsed, entities replaced (those escaped twice
    /// too), what is raised or lowered and formulae read by the rule of [`numbers`], other mark-up
    /// left out.
    pub(super) fn text(self) -> Cow<'x, str> {
        let nodes = self.inside();
        match nodes {
            [] => Cow::Borrowed(""),
            [only] if only.name.is_empty() => numbers::linear(plain(only.raw)),
            _ => {
                let mut marked = String::new();
                self.mark(self.number + 1, self.tree.0[self.number].end, &mut marked);
                let text = one_line(&marked).into_owned();
                numbers::linear(text)
            }
        }
    }

    /// All text inside, mark-up left out.
    pub(super) fn plain_text(self) -> Cow<'x, str> {
        let texts = self.inside().iter().filter(|node| node.name.is_empty());
        Cow::Owned(one_line(&read(texts.map(|node| node.raw))).into_owned())
    }

    fn inside(self) -> &'t [Node<'x>] {
        &self.tree.0[self.number + 1..self.tree.0[self.number].end.max(self.number + 1)]
    }

    /// Appends the text of the nodes from `first` to `end`, with marks around what is raised or
    /// lowered.
    ///
    /// One loop with a stack of its own: records may nest deeper than a thread's stack.
    fn mark(self, first: usize, end: usize, out: &mut String) {
        // Ends of what is raised or lowered, the innermost last.
        let mut open: Vec<usize> = Vec::new();
        let mut number = first;
        let mut texts = first;

        while number < end {
            let node = &self.tree.0[number];
            let is_mark =
                matches!(node.name, "sup" | "sub" | "math") || open.last() == Some(&number);

            if is_mark {
                out.push_str(&self.read_between(texts, number));
                texts = number;
            }

            while open.last() == Some(&number) {
                open.pop();
                out.push(END);
            }

            match node.name {
                "sup" | "sub" => {
                    out.push(if node.name == "sup" { RAISED } else { LOWERED });
                    open.push(node.end.max(number + 1));
                    number += 1;
                }
                "math" => {
                    let formula = mathml::linear(Element { tree: self.tree, number });
                    let meets = |c: char| c.is_ascii_digit();
                    if out.ends_with(meets) && formula.starts_with(meets) {
                        out.push(' ');
                    }
                    out.push_str(&formula);
                    // A digit right behind a formula would join it.
                    if formula.ends_with(meets) {
                        out.push_str(&numbers::raise(""));
                    }
                    number = node.end.max(number + 1);
                    texts = number;
                }
                _ => number += 1,
            }
        }

        out.push_str(&self.read_between(texts, end));
        out.extend(open.iter().map(|_| END));
    }

    /// The texts of the nodes from `first` to `end`, read; entities may reach over mark-up.
    fn read_between(self, first: usize, end: usize) -> String {
        read(
            self.tree.0[first..end].iter().filter(|node| node.name.is_empty()).map(|node| node.raw),
        )
    }
}

/// A piece of what an element holds.
pub(super) enum Child<'t, 'x> {
    /// Text, read.
    Text(Cow<'x, str>),
    /// An element.
    Element(Element<'t, 'x>),
}

/// Texts as they stand in the file, put together and read.
fn read<'x>(texts: impl Iterator<Item = &'x str>) -> String {
    let joined: String = texts.map(|raw| xml::text(raw.into())).collect();
    escaped_marks(wikitext::decode_entities(&joined)).into_owned()
}

/// Mark-up that a publisher escaped, so that it stands as text: `&lt;sup&gt;2&lt;/sup&gt;`.
fn escaped_marks(text: Cow<'_, str>) -> Cow<'_, str> {
    if memmem::find(text.as_bytes(), b"</").is_none() {
        return text;
    }
    let mut text = text.into_owned();
    let marks = [
        ("sup", Some(RAISED)),
        ("sub", Some(LOWERED)),
        ("i", None),
        ("b", None),
        ("em", None),
        ("strong", None),
    ];

    for (name, mark) in marks {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        if text.contains(&open) && text.contains(&close) {
            let put = |c: Option<char>| c.map(String::from).unwrap_or_default();
            text = text.replace(&open, &put(mark)).replace(&close, &put(mark.map(|_| END)));
        }
    }

    Cow::Owned(text)
}

/// Text as it stands in the file, read.
fn plain(raw: &str) -> Cow<'_, str> {
    if memchr2(b'<', b'&', raw.as_bytes()).is_none() {
        return one_line(raw);
    }
    Cow::Owned(
        one_line(&escaped_marks(wikitext::decode_entities(&xml::text(raw.into())))).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quick_xml::events::Event;

    #[test]
    fn text_is_read_through_mark_up() {
        let tree = Tree::read(
            "<a x='1 &lt; 2'><b>H<sub>2</sub>O\n &amp;lt; &#x3b1;<![CDATA[<&]]></b><m:c/></a>",
        )
        .unwrap();
        let root = tree.root().unwrap();
        assert_eq!(root.text_of("b").as_deref(), Some("H2O < α<&"));
        assert_eq!(root.attribute("x").as_deref(), Some("1 < 2"));
        assert_eq!(root.children().map(Element::name).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(root.at(&["b", "sub"]).map(Element::text).as_deref(), Some("2"));
        assert_eq!(root.text_of("c"), None);
    }

    #[test]
    fn numbers_keep_their_places() {
        let check = |xml: &str, expected: &str| {
            let xml = format!("<a>{xml}</a>");
            assert_eq!(Tree::read(&xml).unwrap().root().unwrap().text(), expected, "{xml}");
        };
        check("10<sup>6</sup> and 10<sup>-3</sup> mol/m<sup>2</sup>", "10^6 and 10^-3 mol/m^2");
        check("<b>10<sup><i>6</i></sup></b>5, log<sub>2</sub>8", "10^6 5, log_2 8");
        check(
            "D<sub>3</sub>, Na<sup>+</sup>/Ca<sup>2+</sup>, SO<sub>4</sub><sup>2-</sup>",
            "D3, Na+/Ca2+, SO4^2-",
        );
        check("5½ and 10⁶", "5 1/2 and 10^6");
        check(
            "10&lt;sup&gt;6&lt;/sup&gt; &amp;lt;i&amp;gt;E. coli&amp;lt;/i&amp;gt; a &lt;b",
            "10^6 E. coli a <b",
        );
        let math = |inside: &str| format!("in 5 <m:math>{inside}</m:math>9 x");
        check(&math("<m:mfrac><m:mn>1</m:mn><m:mn>20</m:mn></m:mfrac>"), "in 5 1/20 9 x");
        check(
            &math("<m:msup><m:mn>10</m:mn><m:mrow><m:mo>-</m:mo><m:mn>3</m:mn></m:mrow></m:msup>"),
            "in 5 10^-3 9 x",
        );
        check(
            &math(
                "<m:mfrac><m:mrow><m:mi>a</m:mi><m:mo>+</m:mo><m:mn>1</m:mn></m:mrow><m:msqrt><m:mn>2</m:mn></m:msqrt></m:mfrac>",
            ),
            "in 5 (a+1)/(√2)9 x",
        );
        check(
            &math(
                "<m:semantics><m:mrow><m:msub><m:mi>CO</m:mi><m:mn>2</m:mn></m:msub><m:mo>=</m:mo><m:msubsup><m:mi>x</m:mi><m:mi>i</m:mi><m:mn>2</m:mn></m:msubsup></m:mrow><m:annotation>CO_2</m:annotation></m:semantics>",
            ),
            "in 5 CO2 = x_i^2 9 x",
        );

        let mn = |number: &str| format!("<m:mn>{number}</m:mn>");
        let half = format!("<m:mfrac>{}{}</m:mfrac>", mn("1"), mn("2"));
        check(
            &math(&format!("<m:msup>{half}{}</m:msup><m:mi>x</m:mi>", mn("3"))),
            "in 5 (1/2)^3x9 x",
        );
        check(
            &math(&format!("{}<m:mo>,</m:mo>{}<m:mo>,</m:mo>{}", mn("1"), mn("000"), mn("2"))),
            "in 5 1,000, 2 9 x",
        );
        let sup = |base: &str, above: &str| {
            format!("<m:msup><m:mrow>{base}</m:mrow><m:mrow>{above}</m:mrow></m:msup>")
        };
        check(&math(&sup(&mn("2"), &sup(&mn("3"), &mn("2")))), "in 5 2^(3^2)9 x");
        check(&math(&sup(&sup(&mn("2"), &mn("3")), &mn("2"))), "in 5 (2^3)^2 9 x");
        check(
            &math(&sup("<m:mi>e</m:mi>", "<m:mo>-</m:mo><m:mi>k</m:mi><m:mi>t</m:mi>")),
            "in 5 e^(-kt)9 x",
        );
        check(&math(&sup(&mn("10"), &format!("<m:mo>-</m:mo>{half}"))), "in 5 10^(-1/2)9 x");
        check(
            "<m:math><m:mover><m:mi>x</m:mi><m:mo>¯</m:mo></m:mover><m:mo>±</m:mo><m:mi>s</m:mi></m:math>",
            "x\u{304} ± s",
        );
    }

    #[test]
    fn damage_is_an_error() {
        assert!(Tree::read("<a><b></a>").is_err());
        assert!(Tree::read("<a>").is_err());
        assert!(Tree::read("").unwrap().root().is_none());
    }

    /// The elements and the text of a record, as quick-xml tells them; `None` if it is not
    /// well-formed.
    fn as_quick_xml(xml: &str) -> Option<(Vec<String>, String)> {
        let mut reader = quick_xml::Reader::from_str(xml);
        let (mut names, mut texts, mut depth) = (Vec::new(), String::new(), 0);

        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) => {
                    depth += 1;
                    names.push(tag.local_name().as_ref().to_owned());
                }
                Event::Empty(tag) => names.push(tag.local_name().as_ref().to_owned()),
                Event::End(_) => depth -= 1,
                Event::Text(text) => texts.push_str(&text),
                Event::GeneralRef(name) => texts.push_str(&format!("&{};", &*name)),
                Event::CData(text) => texts.push_str(&format!("<![CDATA[{}]]>", &*text)),
                Event::Eof => return (depth == 0).then_some((names, texts)),

                _ => {}
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn what_quick_xml_reads_is_read(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..14),
        ) {
            let xml = pieces.concat();
            let ours = Tree::read(&xml).ok().map(|tree| {
                let (texts, elements): (Vec<_>, Vec<_>) =
                    tree.0.iter().partition(|node| node.name.is_empty());
                let names = elements.iter().map(|node| node.name.to_owned());
                (names.collect::<Vec<String>>(), texts.iter().map(|node| node.raw).collect())
            });
            prop_assert_eq!(ours, as_quick_xml(&xml), "{}", xml);
        }
    }

    const PIECES: &[&str] = &[
        "<a>",
        "</a>",
        "<m:b c='>'>",
        "</m:b >",
        "<d e=\"'\"/>",
        "text",
        " é ",
        "&amp;",
        "&",
        ";",
        "<!-- <a> -->",
        "<?p?>",
        "<![CDATA[<&]]>",
        "<a",
        ">",
        "\"",
        "<br/>",
    ];
}
