//! One record as a tree: elements and texts in document order, borrowed from the record.

use quick_xml::Reader;
use quick_xml::events::Event;

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
        let mut reader = Reader::from_str(xml);
        let mut nodes: Vec<Node> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        loop {
            let start = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let event = reader.read_event().map_err(|error| error.to_string())?;
            let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let raw = xml.get(start..end).unwrap_or_default();
            let number = nodes.len();
            match event {
                Event::Start(_) => {
                    open.push(number);
                    nodes.push(Node { name: name(raw), raw, end: 0 });
                }
                Event::Empty(_) => nodes.push(Node { name: name(raw), raw, end: number + 1 }),
                Event::End(_) => {
                    if let Some(opened) = open.pop() {
                        nodes[opened].end = number;
                    }
                }
                Event::Text(_) | Event::GeneralRef(_) | Event::CData(_) => {
                    nodes.push(Node { name: "", raw, end: number + 1 });
                }
                Event::Eof if open.is_empty() => return Ok(Tree(nodes)),
                Event::Eof => return Err("the record ends inside an element".to_owned()),
                _ => {}
            }
        }
    }

    /// The outermost element.
    pub(super) fn root(&self) -> Option<Element<'_, 'x>> {
        let number = self.0.iter().position(|node| !node.name.is_empty())?;
        Some(Element { tree: self, number })
    }
}

/// Name in an open tag, without its namespace prefix.
fn name(tag: &str) -> &str {
    let inside = tag.trim_start_matches('<');
    let end = inside.find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/')).unwrap_or(inside.len());
    let name = &inside[..end];
    name.rsplit_once(':').map_or(name, |(_, local)| local)
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
    pub(super) fn text_of(self, name: &str) -> Option<String> {
        self.child(name).map(Element::text).filter(|text| !text.is_empty())
    }

    /// Value of attribute `name`, when it is not empty.
    pub(super) fn attribute(self, name: &str) -> Option<String> {
        let value = xml::attribute(self.tree.0[self.number].raw, name)?;
        Some(plain(value)).filter(|value| !value.is_empty())
    }

    /// All text inside, mark-up left out, white space collapsed, entities replaced (those escaped twice too).
    pub(super) fn text(self) -> String {
        let nodes = &self.tree.0[self.number + 1..self.tree.0[self.number].end.max(self.number + 1)];
        let mut texts = nodes.iter().filter(|node| node.name.is_empty());
        match (texts.next(), texts.next()) {
            (None, _) => String::new(),
            (Some(only), None) => plain(only.raw),
            _ => {
                let texts = nodes.iter().filter(|node| node.name.is_empty());
                let joined: String = texts.map(|node| xml::text(node.raw.into())).collect();
                collapsed(&wikitext::decode_entities(&joined))
            }
        }
    }
}

fn plain(raw: &str) -> String {
    collapsed(&wikitext::decode_entities(&xml::text(raw.into())))
}

/// `text` with every run of white space as one space, and without control characters.
fn collapsed(text: &str) -> String {
    if is_collapsed(text.as_bytes()) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Whether there is surely nothing to collapse; the lead bytes of non-ASCII white space count as some.
fn is_collapsed(text: &[u8]) -> bool {
    let mut before = b' ';
    for &byte in text {
        let is_double = byte == b' ' && before == b' ';
        if is_double || byte < b' ' || matches!(byte, 0x7F | 0xC2 | 0xE1..=0xE3) {
            return false;
        }
        before = byte;
    }
    before != b' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_through_mark_up() {
        let tree =
            Tree::read("<a x='1 &lt; 2'><b>H<sub>2</sub>O\n &amp;lt; &#x3b1;<![CDATA[<&]]></b><m:c/></a>").unwrap();
        let root = tree.root().unwrap();
        assert_eq!(root.text_of("b").as_deref(), Some("H2O < α<&"));
        assert_eq!(root.attribute("x").as_deref(), Some("1 < 2"));
        assert_eq!(root.children().map(Element::name).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(root.at(&["b", "sub"]).map(Element::text).as_deref(), Some("2"));
        assert_eq!(root.text_of("c"), None);
    }

    #[test]
    fn damage_is_an_error() {
        assert!(Tree::read("<a><b></a>").is_err());
        assert!(Tree::read("<a>").is_err());
        assert!(Tree::read("").unwrap().root().is_none());
    }
}
