//! `drugbank_xml`: the whole of DrugBank as XML (`full database.xml`), under the user's licence,
//! read as a stream.
//!
//! Names are the drug's, its synonyms and its international brands. Interactions give links
//! (`interacts_with`), categories of MeSH others (`category`), and external identifiers of UMLS and
//! Wikidata cross-references. Elements of the same names inside pathways, salts and products are
//! not the drug's own.

use std::io::BufRead;
use std::path::Path;

use super::xml::{self, Element, Elements, Tag};
use super::{Concept, Entry, Found, Link, Reader};
use crate::error::Result;

/// Reader of DrugBank's XML.
pub(super) struct DrugBankXml;

impl Reader for DrugBankXml {
    fn name(&self) -> &'static str {
        "drugbank_xml"
    }

    fn about(&self) -> &'static str {
        "DrugBank's whole database, XML (full database.xml)"
    }

    fn recognises(&self, head: &str) -> bool {
        head.contains("<drugbank ") || head.contains("<drugbank>")
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        xml::read(input, file, "go.drugbank.com/releases", &mut State::default(), found)
    }
}

/// The drug being put together.
#[derive(Default)]
struct State {
    concept: Concept,
    is_primary: bool,
    /// What an external identifier is of.
    resource: String,
}

impl Elements for State {
    fn open(&mut self, tag: &Tag, path: &[String]) {
        match (tag.name().as_str(), path) {
            ("drug", [_]) => {
                let (kind, language) = ("drug".to_string(), Some("en".to_string()));
                self.concept = Concept { kind, language, ..Concept::default() };
            }
            ("drugbank-id", _) => self.is_primary = tag.attribute("primary") == "true",
            _ => {}
        }
    }

    fn close(&mut self, element: &Element, found: &mut Found) {
        let (concept, text) = (&mut self.concept, element.text.to_string());
        match (element.name, element.above.as_slice()) {
            ("drugbank-id", ["drug", "drugbank"]) if self.is_primary => concept.id = text,
            ("name", ["drug", "drugbank"]) => concept.name = text,
            ("synonym", ["synonyms", "drug", "drugbank"])
            | ("name", ["international-brand", "international-brands", "drug", "drugbank"]) => {
                concept.synonyms.push(text);
            }
            ("drugbank-id", ["drug-interaction", "drug-interactions", "drug", "drugbank"]) => {
                concept.links.push(Link::named("interacts_with", text));
            }
            ("mesh-id", ["category", "categories", "drug", "drugbank"]) if !text.is_empty() => {
                concept.links.push(Link::named("category", text));
            }
            ("resource", ["external-identifier", "external-identifiers", "drug", "drugbank"]) => {
                self.resource = text;
            }
            ("identifier", ["external-identifier", "external-identifiers", "drug", "drugbank"])
                if matches!(self.resource.as_str(), "UMLS" | "Wikidata") =>
            {
                concept.links.push(Link::same(text));
            }
            ("drug", ["drugbank"]) => {
                let concept = std::mem::take(concept);
                found.push(Entry { concept, ..Entry::default() });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
    use super::*;

    const TEXT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<drugbank xmlns="http://www.drugbank.ca" version="5.1">
<drug type="small molecule" created="2005-06-13">
 <drugbank-id primary="true">DB90001</drugbank-id><drugbank-id>APRD90</drugbank-id>
 <name>Metformin</name><description>About <b>it</b>.</description>
 <salts><salt><drugbank-id primary="true">DBSALT1</drugbank-id><name>Metformin chloride</name></salt></salts>
 <synonyms><synonym language="english" coder="">Dimethylbiguanide</synonym></synonyms>
 <products><product><name>Metformin 500 mg Tablet</name></product></products>
 <international-brands><international-brand><name>Diabex</name><company>X &amp; Y</company></international-brand></international-brands>
 <categories><category><category>Biguanides</category><mesh-id>D001645</mesh-id></category>
  <category><category>Other</category><mesh-id/></category></categories>
 <drug-interactions><drug-interaction><drugbank-id>DB90002</drugbank-id><name>Insulin</name></drug-interaction></drug-interactions>
 <external-identifiers><external-identifier><resource>Wikidata</resource><identifier>Q19484</identifier></external-identifier>
  <external-identifier><resource>ChEBI</resource><identifier>6801</identifier></external-identifier></external-identifiers>
 <pathways><pathway><name>Action</name><drugs><drug><drugbank-id>DB90003</drugbank-id><name>Other</name></drug></drugs></pathway></pathways>
</drug>
<drug type="biotech"><drugbank-id primary="true">DB90002</drugbank-id><name>Insulin</name></drug>
"#;

    #[test]
    fn drugs_have_names_and_links_of_their_own() {
        assert!(DrugBankXml.recognises(TEXT));
        let mut found = Found::default();
        let text = format!("{TEXT}</drugbank>");
        DrugBankXml.read(&mut text.as_bytes(), Path::new("db.xml"), &mut found).unwrap();
        assert!(found.refused.is_empty(), "{:?}", found.refused);
        let lexicon = Lexicon::build(found.entries);
        assert_eq!(lexicon.concepts.len(), 2);

        let metformin = &lexicon.concepts[0];
        assert_eq!((metformin.id.as_str(), metformin.name.as_str()), ("DB90001", "Metformin"));
        assert_eq!(metformin.synonyms, ["Dimethylbiguanide", "Diabex"]);
        assert_eq!(
            metformin.links,
            [
                Link::named("category", "D001645"),
                Link::named("interacts_with", "DB90002"),
                Link::same("Q19484"),
            ]
        );
        assert!(lexicon.linked(0, 1));
    }

    #[test]
    fn a_file_that_is_cut_off_gives_its_whole_drugs() {
        let mut found = Found::default();
        DrugBankXml.read(&mut TEXT.as_bytes(), Path::new("db.xml"), &mut found).unwrap();
        assert_eq!((found.entries.len(), found.refused["truncated"]), (2, 1));
    }
}
