//! `drugbank`: the DrugBank open vocabulary (`DrugBank ID, Accession Numbers, Common name, CAS,
//! UNII, Synonyms`).
//!
//! Separated by comma as DrugBank publishes it, or by semicolon as spreadsheets save it again (then
//! with an extra line `Column1;Column2;...` above the header). Names are the common name and the
//! synonyms, separated by ` | `.

use std::io::BufRead;
use std::path::Path;

use super::delimited::Table;
use super::{Found, Reader, read_text};
use crate::error::{Error, Result};

/// Reader of the DrugBank vocabulary.
pub(super) struct DrugBank;

/// Lines before the header, if one of the first two lines is the header of this table.
fn header(head: &str) -> Option<(usize, &str)> {
    let is_header = |line: &str| line.contains("DrugBank ID") && line.contains("Common name");
    head.lines().take(2).enumerate().find(|(_, line)| is_header(line))
}

impl Reader for DrugBank {
    fn name(&self) -> &'static str {
        "drugbank"
    }

    fn about(&self) -> &'static str {
        "DrugBank vocabulary: CSV with DrugBank ID, Common name and Synonyms"
    }

    fn recognises(&self, head: &str) -> bool {
        header(head).is_some()
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        let Some((skip_lines, line)) = header(&text) else {
            return Err(Error::data(format!("`{}` is no DrugBank vocabulary", file.display()))
                .at("line 1")
                .hint(
                    "its header has the columns `DrugBank ID` and `Common name`; for other \
                       tables use `tsv`",
                ));
        };
        let delimiter = if line.contains(';') { b';' } else { b',' };
        Table { delimiter, quoting: true, skip_lines, kind: "drug", language: Some("en") }
            .read(&text, file, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        assert!(DrugBank.recognises(text));
        let mut found = Found::default();
        DrugBank.read(&mut text.as_bytes(), Path::new("x.csv"), &mut found).unwrap();
        let drug = &found.entries[0].concept;
        assert_eq!(
            (drug.id.as_str(), drug.name.as_str(), drug.kind.as_str()),
            ("DB1", "Aspirin", "drug")
        );
        assert_eq!(drug.synonyms, ["2-acetoxybenzoic acid", "Acetylsalicylic acid, pure"]);
    }

    #[test]
    fn commas_and_semicolons() {
        check(
            "DrugBank ID,Accession Numbers,Common name,CAS,UNII,Synonyms,Standard InChI Key\n\
             DB1,A | B,Aspirin,50-78-2,R16,\"2-acetoxybenzoic acid | Acetylsalicylic acid, \
             pure\",\n",
        );
        check(
            "Column1;Column2;Column3;Column4;Column5;Column6;Column7\n\
             DrugBank ID;Accession Numbers;Common name;CAS;UNII;Synonyms;Standard InChI Key\n\
             DB1;A | B;Aspirin;50-78-2;R16;2-acetoxybenzoic acid | Acetylsalicylic acid, pure;\n",
        );
    }
}
