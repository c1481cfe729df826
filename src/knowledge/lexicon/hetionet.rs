//! `hetionet`: the edges of Hetionet (`hetionet-v1.0-edges.sif`), which link concepts of its nodes
//! file and of the vocabularies that it was made of.
//!
//! A column of kinds of edges (`CtD`) says how source and target stand; the words are those of its
//! metagraph (Himmelstein et al. 2017, doi:10.7554/eLife.26726, figure 1). Nodes are called by the
//! ids of their vocabularies: `Disease::DOID:9351` is `DOID:9351`, `Compound::DB00331` is
//! `DB00331`, so that they are one with what other files say of these.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use super::{Found, Link, Reader, read_text};
use crate::error::{Error, Result};

/// Reader of Hetionet's edges.
pub(super) struct Hetionet;

/// The header of the file.
const HEADER: [&str; 3] = ["source", "metaedge", "target"];

/// What the letters of an edge between two kinds of nodes mean.
static VERBS: &[(&str, &str)] = &[
    ("AdG", "downregulates"),
    ("AeG", "expresses"),
    ("AuG", "upregulates"),
    ("CbG", "binds"),
    ("CcSE", "causes"),
    ("CdG", "downregulates"),
    ("CpD", "palliates"),
    ("CrC", "resembles"),
    ("CtD", "treats"),
    ("CuG", "upregulates"),
    ("DaG", "associates"),
    ("DdG", "downregulates"),
    ("DlA", "localizes"),
    ("DpS", "presents"),
    ("DrD", "resembles"),
    ("DuG", "upregulates"),
    ("GcG", "covaries"),
    ("GiG", "interacts"),
    ("GpBP", "participates"),
    ("GpCC", "participates"),
    ("GpMF", "participates"),
    ("GpPW", "participates"),
    ("Gr>G", "regulates"),
    ("PCiC", "includes"),
];

/// Kinds of nodes whose ids are those of a vocabulary. Those of genes are numbers and those of
/// pathways Hetionet's own: they mean nothing without their kind.
static OF_VOCABULARIES: &[&str] = &[
    "Anatomy",
    "Biological Process",
    "Cellular Component",
    "Compound",
    "Disease",
    "Molecular Function",
    "Pharmacologic Class",
    "Side Effect",
    "Symptom",
];

/// The id of a node in its vocabulary; any other id as it is.
pub(super) fn own_id(node: &str) -> &str {
    match node.split_once("::") {
        Some((kind, id)) if OF_VOCABULARIES.contains(&kind) => id,
        _ => node,
    }
}

impl Reader for Hetionet {
    fn name(&self) -> &'static str {
        "hetionet"
    }

    fn about(&self) -> &'static str {
        "edges of Hetionet (hetionet-v1.0-edges.sif); its nodes are a `tsv`"
    }

    fn recognises(&self, head: &str) -> bool {
        head.lines().next().is_some_and(|line| line.trim_end().split('\t').eq(HEADER))
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        if !self.recognises(&text) {
            return Err(Error::data(format!("`{}` has no edges of Hetionet", file.display()))
                .at("line 1")
                .hint("its columns are source, metaedge and target"));
        }
        // One name is shared by many edges.
        let links: BTreeMap<&str, Link> =
            VERBS.iter().map(|(edge, verb)| (*edge, Link::named(verb, ""))).collect();

        for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
            let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
            let [source, edge, target] = columns[..] else {
                found.refuse("malformed");
                continue;
            };
            match links.get(edge) {
                Some(link) => {
                    let to = own_id(target).to_string();
                    found.link(own_id(source), Link { to, ..link.clone() });
                }
                None => found.refuse("unknown_edge"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Concept, Entry, Lexicon};
    use super::*;

    #[test]
    fn edges_link_what_other_files_name() {
        let text = "source\tmetaedge\ttarget\nCompound::DB1\tCtD\tDisease::DOID:2\n\
                    Gene::9\tGr>G\tGene::7\nGene::9\tGzG\tGene::7\ncut\n";
        assert!(Hetionet.recognises(text) && !Hetionet.recognises("source\ttarget\n"));
        let mut found = Found::default();
        Hetionet.read(&mut text.as_bytes(), Path::new("edges.sif"), &mut found).unwrap();
        assert_eq!((found.refused["unknown_edge"], found.refused["malformed"]), (1, 1));
        assert_eq!(found.facts[1].of, "Gene::9");

        let entry = |id: &str| Entry {
            concept: Concept { id: id.into(), name: id.into(), ..Concept::default() },
            ..Entry::default()
        };
        let lexicon = Lexicon::with_facts(vec![entry("DB1"), entry("DOID:2")], found.facts);
        let (link, to) = lexicon.links(0).next().unwrap();
        assert_eq!((link.name.as_ref(), to, lexicon.unresolved_links), ("treats", 1, 1));
    }
}
