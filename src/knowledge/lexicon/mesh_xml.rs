//! `mesh_xml`: MeSH as XML, descriptors (`desc2024.xml`) and supplementary concepts
//! (`supp2024.xml`), read as a stream.
//!
//! Names are the record's and the terms of all its concepts; permuted terms ("Diseases, Heart") are
//! left out, because mentions turn inverted names round themselves. Links come from tree numbers,
//! pharmacological actions, see-related descriptors, and the headings that a supplementary concept
//! is mapped to. A file that is cut off gives all its whole records and one refusal.

use std::io::BufRead;
use std::path::Path;

use super::mesh::{ACTION, Descriptor, SEE, kind_of_class};
use super::xml::{self, Element, Elements, Tag};
use super::{Found, Link, Reader};
use crate::error::Result;

/// Reader of MeSH descriptor XML.
pub(super) struct MeshXml;

impl Reader for MeshXml {
    fn name(&self) -> &'static str {
        "mesh_xml"
    }

    fn about(&self) -> &'static str {
        "MeSH descriptors and supplementary concepts, XML (desc2024.xml, supp2024.xml)"
    }

    fn recognises(&self, head: &str) -> bool {
        ["<DescriptorRecordSet", "<DescriptorRecord ", "<SupplementalRecordSet"]
            .iter()
            .any(|tag| head.contains(tag))
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let source = "nlm.nih.gov/databases/download/mesh.html";
        xml::read(input, file, source, &mut State::default(), found)
    }
}

/// The record being put together.
#[derive(Default)]
struct State {
    descriptor: Descriptor,
    is_permuted: bool,
    /// Whether the concept at hand is the descriptor itself, and no narrower or related one.
    is_preferred: bool,
}

impl Elements for State {
    fn open(&mut self, tag: &Tag, _: &[String]) {
        match tag.name().as_str() {
            "DescriptorRecord" => self.descriptor = Descriptor::default(),
            "SupplementalRecord" => {
                let kind = kind_of_class(&tag.attribute("SCRClass"));
                self.descriptor = Descriptor { kind, ..Descriptor::default() };
            }
            "Concept" => self.is_preferred = tag.attribute("PreferredConceptYN") != "N",
            "Term" => self.is_permuted = tag.attribute("IsPermutedTermYN") == "Y",
            _ => {}
        }
    }

    fn close(&mut self, element: &Element, found: &mut Found) {
        let text = || element.text.to_string();
        match (element.name, element.above.as_slice()) {
            ("DescriptorUI", ["DescriptorRecord", ..])
            | ("SupplementalRecordUI", ["SupplementalRecord", ..]) => self.descriptor.id = text(),
            ("String", ["DescriptorName", "DescriptorRecord", ..])
            | ("String", ["SupplementalRecordName", "SupplementalRecord", ..]) => {
                self.descriptor.name = text();
            }
            ("String", ["Term", "TermList", "Concept", ..]) if !self.is_permuted => {
                if !self.is_preferred {
                    self.descriptor.inexact.push(text());
                }
                self.descriptor.terms.push(text());
            }
            ("TreeNumber", ["TreeNumberList", ..]) => self.descriptor.trees.push(text()),
            ("DescriptorUI", ["DescriptorReferredTo", "PharmacologicalAction", ..]) => {
                self.descriptor.links.push(Link::named(ACTION, text()));
            }
            ("DescriptorUI", ["DescriptorReferredTo", "SeeRelatedDescriptor", ..]) => {
                self.descriptor.links.push(Link::named(SEE, text()));
            }
            ("DescriptorUI", ["DescriptorReferredTo", "HeadingMappedTo", ..]) => {
                // `*` marks the heading that it is mapped to first.
                self.descriptor.links.push(Link::parent(text().trim_start_matches('*')));
            }
            ("DescriptorRecord" | "SupplementalRecord", _) => {
                found.push(std::mem::take(&mut self.descriptor).into_entry());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
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
        assert_eq!(entry.trees, ["C23.888"]);
        assert_eq!(Lexicon::build(vec![entry.clone()]).concepts[0].kind, "disease");
        assert_eq!(concept.synonyms, ["Pyrexia \u{2013} high"]);
        assert_eq!(
            concept.links.iter().map(|link| link.to.as_str()).collect::<Vec<_>>(),
            ["D8", "D7"]
        );
        assert!(found.refused.is_empty());
    }

    #[test]
    fn a_supplementary_concept_stands_below_its_headings() {
        let text = r#"<SupplementalRecordSet LanguageCode="eng"><SupplementalRecord SCRClass="3">
 <SupplementalRecordUI>C538231</SupplementalRecordUI>
 <SupplementalRecordName><String>Pale fever</String></SupplementalRecordName>
 <HeadingMappedToList><HeadingMappedTo><DescriptorReferredTo><DescriptorUI>*D9</DescriptorUI>
 <DescriptorName><String>Fever</String></DescriptorName></DescriptorReferredTo></HeadingMappedTo>
 </HeadingMappedToList><ConceptList><Concept PreferredConceptYN="Y"><ConceptName><String>Pale fever</String>
 </ConceptName><TermList><Term IsPermutedTermYN="N"><String>Fever of the pale</String></Term></TermList>
 </Concept></ConceptList></SupplementalRecord></SupplementalRecordSet>"#;
        assert!(MeshXml.recognises(text));
        let concept = &read(text).entries[0].concept;
        assert_eq!((concept.id.as_str(), concept.name.as_str()), ("C538231", "Pale fever"));
        assert_eq!((concept.kind.as_str(), concept.synonyms.len()), ("disease", 1));
        assert_eq!(concept.links, [Link::parent("D9")]);
    }

    #[test]
    fn a_file_that_is_cut_off_gives_its_whole_descriptors() {
        let found = read(&format!("{RECORD}<DescriptorRecord><DescriptorUI>D10</Desc"));
        assert_eq!((found.entries.len(), found.refused["truncated"]), (1, 1));
        let found = read(RECORD);
        assert_eq!((found.entries.len(), found.refused["truncated"]), (1, 1));
    }
}
