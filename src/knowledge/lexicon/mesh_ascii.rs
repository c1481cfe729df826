//! `mesh_ascii`: MeSH in NLM's ASCII format, descriptors (`d2024.bin`) and supplementary concepts
//! (`c2024.bin`): records of `FIELD = value` lines.
//!
//! `MH` or `NM` is the name, `ENTRY`, `PRINT ENTRY` and `SY` are synonyms (the part before the
//! first `|`), `MN` tree numbers, `UI` the id; by name, `PA` and `FX` are pharmacological actions
//! and see-related descriptors, `HM` the headings that a supplementary concept is mapped to.

use std::io::BufRead;
use std::path::Path;

use super::mesh::{ACTION, Descriptor, SEE};
use super::{Found, Link, Reader, read_text};
use crate::error::Result;

/// Reader of MeSH ASCII files.
pub(super) struct MeshAscii;

impl Reader for MeshAscii {
    fn name(&self) -> &'static str {
        "mesh_ascii"
    }

    fn about(&self) -> &'static str {
        "MeSH descriptors and supplementary concepts, ASCII (d2024.bin, c2024.bin)"
    }

    fn recognises(&self, head: &str) -> bool {
        head.trim_start().starts_with("*NEWRECORD")
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        for record in text.split("*NEWRECORD").skip(1) {
            found.push(descriptor(record).into_entry());
        }
        Ok(())
    }
}

fn descriptor(record: &str) -> Descriptor {
    let mut descriptor = Descriptor::default();
    for line in record.lines() {
        let Some((field, value)) = line.split_once(" = ") else { continue };
        let value = value.trim().to_string();

        match field.trim() {
            "UI" => descriptor.id = value,
            "MH" | "NM" => descriptor.name = value,
            "ENTRY" | "PRINT ENTRY" | "SY" => {
                let mut fields = value.split('|').map(str::trim);
                let term = fields.next().unwrap_or("").to_string();
                // Behind the semantic type and the kind of term: EQV, or NRW, BRD and REL.
                if fields.nth(2).is_some_and(|relation| matches!(relation, "NRW" | "BRD" | "REL")) {
                    descriptor.inexact.push(term.clone());
                }
                descriptor.terms.push(term);
            }
            "MN" => descriptor.trees.push(value),
            "PA" => descriptor.by_name.push(Link::named(ACTION, value)),
            "FX" => descriptor.by_name.push(Link::named(SEE, value)),
            "HM" => {
                // `*` marks what it is mapped to first; a qualifier stands behind `/`.
                let heading = value.split('/').next().unwrap_or("").trim_start_matches('*');
                descriptor.by_name.push(Link::parent(heading));
            }
            _ => {}
        }
    }
    descriptor
}

#[cfg(test)]
mod tests {
    use super::super::Lexicon;
    use super::*;

    #[test]
    fn records_become_linked_concepts() {
        let text = "*NEWRECORD\nRECTYPE = D\nMH = Aspirin\nPRINT ENTRY = Acetysal|T109|NON|EQV|NLM \
                    (1995)|941108|abcdef\n\
                    ENTRY = Acid, Acetylsalicylic\nMN = D02.455.426\nPA = Antipyretics\nUI = \
                    D001241\n\n\
                    *NEWRECORD\nRECTYPE = D\nMH = Antipyretics\nMN = D27.505\nUI = D058633\n\n\
                    *NEWRECORD\nRECTYPE = D\nUI = D0\n";
        assert!(MeshAscii.recognises(text));
        let mut found = Found::default();
        MeshAscii.read(&mut text.as_bytes(), Path::new("d.bin"), &mut found).unwrap();
        assert_eq!(found.refused["no_name"], 1);
        let lexicon = Lexicon::build(found.entries);
        assert_eq!(lexicon.concepts[0].synonyms, ["Acetysal", "Acid, Acetylsalicylic"]);
        assert_eq!(lexicon.concepts[0].kind, "chemical");
        assert!(lexicon.linked(0, 1));
        assert_eq!(lexicon.links(0).next().unwrap().0.name.as_ref(), ACTION);
    }

    #[test]
    fn supplementary_concepts_stand_below_their_headings() {
        let text = "*NEWRECORD\nRECTYPE = C\nNM = bevonium\nSY = CG 201|T109|NON|EQV|NLM (1973)|\
                    730101|abcdef\nHM = *Benzilates/analogs & derivatives\nPA = Parasympatholytics\n\
                    NM_TH = NLM (1973)\nUI = C000001\n\n\
                    *NEWRECORD\nRECTYPE = D\nMH = Benzilates\nMN = D02.1\nUI = D001561\n";
        let mut found = Found::default();
        MeshAscii.read(&mut text.as_bytes(), Path::new("c.bin"), &mut found).unwrap();
        let lexicon = Lexicon::build(found.entries);
        let one = lexicon.find("C000001").unwrap();
        let concept = &lexicon.concepts[one as usize];
        assert_eq!(
            (concept.name.as_str(), &concept.synonyms[..]),
            ("bevonium", &["CG 201".to_string()][..])
        );
        assert_eq!(lexicon.parents(one), [lexicon.find("D001561").unwrap()]);
        assert_eq!(lexicon.unresolved_links, 1, "an action whose descriptor no file has");
    }
}
