//! The elements of an XML lexicon, one after the other, read as a stream.

use std::io::BufRead;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};

use super::Found;
use crate::error::{Error, Result};

/// An element, seen from within.
pub(super) struct Element<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Names of the elements around it, the nearest first.
    pub(super) above: Vec<&'a str>,
    /// Its own text, trimmed.
    pub(super) text: &'a str,
}

/// What makes concepts of elements.
pub(super) trait Elements {
    /// An element begins; `path` are the elements around it, the outermost first.
    fn open(&mut self, tag: &Tag, path: &[String]);

    /// An element ends.
    fn close(&mut self, element: &Element, found: &mut Found);
}

/// The beginning of an element.
pub(super) struct Tag<'a>(&'a BytesStart<'a>);

impl Tag<'_> {
    pub(super) fn name(&self) -> String {
        self.0.name().as_ref().to_string()
    }

    /// An attribute; empty where there is none.
    pub(super) fn attribute(&self, name: &str) -> String {
        let found = self.0.try_get_attribute(name).ok().flatten();
        found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
    }
}

/// Reads a file. One that is cut off gives all its whole records and one refusal.
///
/// # Errors
/// If it is damaged before its first record; `source` is where to fetch it.
pub(super) fn read(
    input: &mut dyn BufRead,
    file: &Path,
    source: &str,
    elements: &mut dyn Elements,
    found: &mut Found,
) -> Result<()> {
    let mut xml = Reader::from_reader(input);
    let mut path: Vec<String> = Vec::new();
    let (mut text, mut buffer) = (String::new(), Vec::new());

    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer) {
            Ok(Event::Start(tag)) => {
                let tag = Tag(&tag);
                elements.open(&tag, &path);
                path.push(tag.name());
                text.clear();
            }
            Ok(Event::End(_)) => {
                if let Some((name, around)) = path.split_last() {
                    let above = around.iter().rev().map(String::as_str).collect();
                    elements.close(&Element { name, above, text: text.trim() }, found);
                }
                path.pop();
                text.clear();
            }
            Ok(Event::Text(part)) => text.push_str(&part.xml10_content()),
            Ok(Event::CData(part)) => text.push_str(&part.xml10_content()),
            Ok(Event::GeneralRef(entity)) => match entity.resolve_char_ref() {
                Ok(Some(c)) => text.push(c),
                _ => text.push_str(resolve_xml_entity(&entity).unwrap_or("")),
            },
            Ok(Event::Eof) if path.is_empty() => return Ok(()),
            Ok(Event::Eof) => {
                found.refuse("truncated");
                return Ok(());
            }
            Ok(_) => {}
            Err(_) if !found.entries.is_empty() => {
                found.refuse("truncated");
                return Ok(());
            }
            Err(cause) => {
                return Err(Error::data(format!(
                    "`{}` is not well-formed XML: {cause}",
                    file.display()
                ))
                .at(format!("byte {}", xml.error_position()))
                .hint(format!("fetch the file again from {source}")));
            }
        }
        if found.is_full() {
            return Ok(());
        }
    }
}
