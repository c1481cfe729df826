//! `mesh_ascii`: MeSH descriptors in NLM's ASCII format (`d2024.bin`): records of `FIELD = value`
//! lines.
//!
//! `MH` is the name, `ENTRY` and `PRINT ENTRY` are synonyms (the part before the first `|`), `MN`
//! tree numbers, `UI` the id, `PA` and `FX` pharmacological actions and see-related descriptors by
//! name.

use std::io::BufRead;
use std::path::Path;

use super::mesh::Descriptor;
use super::{Found, Reader, read_text};
use crate::error::Result;

/// Reader of MeSH ASCII files.
pub(super) struct MeshAscii;

impl Reader for MeshAscii {
    fn name(&self) -> &'static str {
        "mesh_ascii"
    }

    fn about(&self) -> &'static str {
        "MeSH descriptors, ASCII (d2024.bin)"
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
            "MH" => descriptor.name = value,
            "ENTRY" | "PRINT ENTRY" => {
                descriptor.terms.push(value.split('|').next().unwrap_or("").trim().to_string());
            }
            "MN" => descriptor.trees.push(value),
            "PA" | "FX" => descriptor.related_names.push(value),
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
    }
}
