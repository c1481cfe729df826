//! `mesh_xml`: MeSH descriptors as XML (`desc2024.xml` and its kin), read as a stream.
//!
//! Names are the descriptor's and the terms of all its concepts; permuted terms ("Diseases, Heart")
//! are left out, because mentions turn inverted names round themselves. Links come from tree
//! numbers, pharmacological actions and see-related descriptors. A file that is cut off gives all
//! its whole descriptors and one refusal.

use std::io::BufRead;
use std::path::Path;

use quick_xml::Reader as Xml;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};

use super::mesh::Descriptor;
use super::{Found, Reader};
use crate::error::{Error, Result};

/// Reader of MeSH descriptor XML.
pub(super) struct MeshXml;

impl Reader for MeshXml {
    fn name(&self) -> &'static str {
        "mesh_xml"
    }

    fn about(&self) -> &'static str {
        "MeSH descriptors, XML (desc2024.xml)"
    }

    fn recognises(&self, head: &str) -> bool {
        head.contains("<DescriptorRecordSet") || head.contains("<DescriptorRecord ")
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let mut xml = Xml::from_reader(input);
        let (mut state, mut buffer) = (State::default(), Vec::new());

        loop {
            buffer.clear();
            match xml.read_event_into(&mut buffer) {
                Ok(Event::Start(tag)) => state.open(&tag),
                Ok(Event::End(tag)) => state.close(tag.name().as_ref(), found),
                Ok(Event::Text(text)) => state.text.push_str(&text.xml10_content()),
                Ok(Event::CData(text)) => state.text.push_str(&text.xml10_content()),
                Ok(Event::GeneralRef(entity)) => match entity.resolve_char_ref() {
                    Ok(Some(c)) => state.text.push(c),
                    _ => state.text.push_str(resolve_xml_entity(&entity).unwrap_or("")),
                },
                Ok(Event::Eof) if state.path.is_empty() => break,
                Ok(Event::Eof) => {
                    found.refuse("truncated");
                    break;
                }
                Ok(_) => {}
                Err(_) if !found.entries.is_empty() => {
                    found.refuse("truncated");
                    break;
                }

                Err(cause) => {
                    return Err(Error::data(format!(
                        "`{}` is not well-formed XML: {cause}",
                        file.display()
                    ))
                    .at(format!("byte {}", xml.error_position()))
                    .hint("fetch the file again from nlm.nih.gov/databases/download/mesh.html"));
                }
            }
        }

        Ok(())
    }
}

/// Where in the document the reader stands, and the descriptor being put together.
#[derive(Default)]
struct State {
    path: Vec<String>,
    text: String,
    descriptor: Descriptor,
    permuted: bool,
}

impl State {
    fn open(&mut self, tag: &BytesStart) {
        let name = tag.name().as_ref().to_string();
        if name == "DescriptorRecord" {
            self.descriptor = Descriptor::default();
        }

        if name == "Term" {
            let attribute = tag.try_get_attribute("IsPermutedTermYN").ok().flatten();
            self.permuted = attribute.is_some_and(|attribute| attribute.value.as_ref() == "Y");
        }

        self.path.push(name);
        self.text.clear();
    }

    fn close(&mut self, name: &str, found: &mut Found) {
        let above: Vec<&str> = self.path.iter().rev().skip(1).map(String::as_str).take(3).collect();
        let text = || self.text.trim().to_string();

        match (name, above.as_slice()) {
            ("DescriptorUI", ["DescriptorRecord", ..]) => self.descriptor.id = text(),
            ("String", ["DescriptorName", "DescriptorRecord", ..]) => self.descriptor.name = text(),
            ("String", ["Term", "TermList", "Concept"]) if !self.permuted => {
                self.descriptor.terms.push(text())
            }
            ("TreeNumber", ["TreeNumberList", ..]) => self.descriptor.trees.push(text()),
            (
                "DescriptorUI",
                ["DescriptorReferredTo", "PharmacologicalAction" | "SeeRelatedDescriptor", ..],
            ) => {
                self.descriptor.related.push(text());
            }

            ("DescriptorRecord", _) => {
                found.push(std::mem::take(&mut self.descriptor).into_entry())
            }
            _ => {}
        }

        self.path.pop();
        self.text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "desc.dtd">
<DescriptorRecordSet LanguageCode = "eng">
<DescriptorRecord DescriptorClass = "1">
 <DescriptorUI>D9</DescriptorUI><DescriptorName><String>Fever &amp; Chills</String></DescriptorName>
 <AllowableQualifiersList><AllowableQualifier><QualifierReferredTo><QualifierName><String>blood</String>
 </QualifierName></QualifierReferredTo></AllowableQualifier></AllowableQualifiersList>
 <SeeRelatedList><SeeRelatedDescriptor><DescriptorReferredTo><DescriptorUI>D8</DescriptorUI>
 <DescriptorName><String>Malaria</String></DescriptorName></DescriptorReferredTo></SeeRelatedDescriptor></SeeRelatedList>
 <PharmacologicalActionList><PharmacologicalAction><DescriptorReferredTo><DescriptorUI>D7</DescriptorUI>
 </DescriptorReferredTo></PharmacologicalAction></PharmacologicalActionList>
 <TreeNumberList><TreeNumber>C23.888</TreeNumber></TreeNumberList>
 <ConceptList><Concept PreferredConceptYN="Y"><ConceptUI>M1</ConceptUI><ConceptName><String>Fever</String></ConceptName>
 <TermList><Term IsPermutedTermYN="N"><TermUI>T1</TermUI><String>Pyrexia &#8211; high</String></Term>
 <Term IsPermutedTermYN="Y"><TermUI>T2</TermUI><String>Chills, Fever</String></Term></TermList></Concept></ConceptList>
</DescriptorRecord>
"#;

    fn read(text: &str) -> Found {
        let mut found = Found::default();
        MeshXml.read(&mut text.as_bytes(), Path::new("desc.xml"), &mut found).unwrap();
        found
    }

    #[test]
    fn a_descriptor_has_names_tree_and_links() {
        let found = read(&format!("{RECORD}</DescriptorRecordSet>"));
        let entry = &found.entries[0];
        let concept = &entry.concept;
        assert_eq!((concept.id.as_str(), concept.name.as_str()), ("D9", "Fever & Chills"));
        assert_eq!((concept.kind.as_str(), &entry.trees[0][..]), ("disease", "C23.888"));
        assert_eq!(concept.synonyms, ["Pyrexia \u{2013} high"]);
        assert_eq!(
            concept.links.iter().map(|link| link.to.as_str()).collect::<Vec<_>>(),
            ["D8", "D7"]
        );
        assert!(found.refused.is_empty());
    }

    #[test]
    fn a_file_that_is_cut_off_gives_its_whole_descriptors() {
        let found = read(&format!("{RECORD}<DescriptorRecord><DescriptorUI>D10</Desc"));
        assert_eq!((found.entries.len(), found.refused["truncated"]), (1, 1));
        let found = read(RECORD);
        assert_eq!((found.entries.len(), found.refused["truncated"]), (1, 1));
    }
}
