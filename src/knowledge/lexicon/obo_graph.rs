//! `obo_graph`: an ontology as OBO Graph JSON (`doid.json`, `hp.json`, `go.json`).
//!
//! Nodes of classes become concepts, their addresses ids as OBO writes them
//! (`http://purl.obolibrary.org/obo/DOID_9351` is `DOID:9351`); deprecated ones are counted and
//! left out. Synonyms, cross-references and edges are used as in [`super::obo`]; an edge is named
//! by its property's label.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::Deserialize;

use super::same::own_id;
use super::{Concept, Entry, Found, Link, Reader, read_text};
use crate::error::{Error, Result};

/// Reader of OBO Graph JSON.
pub(super) struct OboGraph;

#[derive(Deserialize)]
struct File {
    graphs: Vec<Graph>,
}

#[derive(Deserialize)]
struct Graph {
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    edges: Vec<Edge>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    lbl: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    synonyms: Vec<Synonym>,
    #[serde(default)]
    xrefs: Vec<Value>,
    #[serde(default, rename = "basicPropertyValues")]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Synonym {
    #[serde(default)]
    pred: String,
    val: String,
}

#[derive(Deserialize)]
struct Value {
    val: String,
}

#[derive(Deserialize)]
struct Property {
    pred: String,
    val: String,
}

#[derive(Deserialize)]
struct Edge {
    sub: String,
    pred: String,
    obj: String,
}

impl Reader for OboGraph {
    fn name(&self) -> &'static str {
        "obo_graph"
    }

    fn about(&self) -> &'static str {
        "ontology as OBO Graph JSON (doid.json, hp.json, go.json)"
    }

    fn recognises(&self, head: &str) -> bool {
        let inner = head.trim_start().strip_prefix('{').unwrap_or("");
        inner.trim_start().starts_with("\"graphs\"")
    }

    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()> {
        let text = read_text(input, file)?;
        let whole: File = serde_json::from_str(&text).map_err(|cause| {
            Error::data(format!("`{}` is no OBO Graph: {cause}", file.display()))
                .at(format!("line {}", cause.line()))
                .hint("fetch it again; the ontology's `.obo` file can be read as well")
        })?;
        whole.graphs.into_iter().for_each(|graph| read_graph(graph, found));
        Ok(())
    }
}

fn read_graph(graph: Graph, found: &mut Found) {
    let names: BTreeMap<String, String> = graph
        .nodes
        .iter()
        .filter(|node| node.kind == "PROPERTY")
        .map(|node| (node.id.clone(), node.lbl.clone()))
        .collect();
    for node in graph.nodes {
        match node {
            Node { kind, .. } if !matches!(kind.as_str(), "CLASS" | "") => {}
            Node { meta: Meta { deprecated: true, .. }, .. } => found.refuse("obsolete"),
            node => push(node, found),
        }
    }
    for Edge { sub, pred, obj } in graph.edges {
        let to = id(&obj);
        let link = match pred.as_str() {
            "is_a" => Link::parent(to),
            _ => {
                let name = names.get(&pred).filter(|name| !name.is_empty());
                Link::named(&name.map_or_else(|| id(&pred), |name| name.replace(' ', "_")), to)
            }
        };
        found.link(id(&sub), link);
    }
}

fn push(node: Node, found: &mut Found) {
    let mut concept = Concept { id: id(&node.id), name: node.lbl, ..Concept::default() };
    for Synonym { pred, val } in node.meta.synonyms {
        match pred.as_str() {
            "hasBroadSynonym" => found.refuse("broad_synonym"),
            "hasExactSynonym" => concept.synonyms.push(val),
            _ => {
                concept.inexact.push(val.clone());
                concept.synonyms.push(val);
            }
        }
    }
    concept.links = node.meta.xrefs.iter().map(|xref| Link::same(own_id(&xref.val))).collect();
    let namespace = node.meta.properties.into_iter();
    let namespace = namespace.filter(|property| property.pred.ends_with("hasOBONamespace"));
    concept.kind = namespace.map(|property| property.val).next().unwrap_or_default();
    found.push(Entry { concept, ..Entry::default() });
}

/// An address as OBO writes it: what stands behind the last `/` or `#`, `_` for `:`.
fn id(address: &str) -> String {
    let last = address.rsplit(['/', '#']).next().unwrap_or(address);
    match last.split_once('_') {
        // `part_of` is a name, `BFO_0000050` an id.
        Some((prefix, local)) if local.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{prefix}:{local}")
        }
        _ => last.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lexicon, Relation};
    use super::*;

    #[test]
    fn nodes_and_edges_become_linked_concepts() {
        let obo = "http://purl.obolibrary.org/obo";
        let text = format!(
            r#"{{"graphs": [{{"id": "{obo}/x.owl", "nodes": [
 {{"id": "{obo}/X_1", "lbl": "heart disease", "type": "CLASS"}},
 {{"id": "{obo}/X_2", "lbl": "infarct", "type": "CLASS", "meta": {{
   "synonyms": [{{"pred": "hasExactSynonym", "val": "dead muscle"}}, {{"pred": "hasBroadSynonym", "val": "illness"}}],
   "xrefs": [{{"val": "MESH:D009203"}}],
   "basicPropertyValues": [{{"pred": "http://www.geneontology.org/formats/oboInOwl#hasOBONamespace", "val": "disease"}}]}}}},
 {{"id": "{obo}/X_3", "lbl": "heart"}},
 {{"id": "{obo}/X_4", "lbl": "old", "type": "CLASS", "meta": {{"deprecated": true}}}},
 {{"id": "{obo}/BFO_0000050", "lbl": "part of", "type": "PROPERTY"}}],
 "edges": [{{"sub": "{obo}/X_2", "pred": "is_a", "obj": "{obo}/X_1"}},
  {{"sub": "{obo}/X_2", "pred": "{obo}/BFO_0000050", "obj": "{obo}/X_3"}},
  {{"sub": "{obo}/X_1", "pred": "{obo}/x#near", "obj": "{obo}/X_3"}}]}}]}}"#
        );
        assert!(OboGraph.recognises(&text) && !OboGraph.recognises("{\"a\": []}"));
        let mut found = Found::default();
        OboGraph.read(&mut text.as_bytes(), Path::new("x.json"), &mut found).unwrap();
        assert_eq!((found.refused["obsolete"], found.refused["broad_synonym"]), (1, 1));

        let lexicon = Lexicon::with_facts(found.entries, found.facts);
        let infarct = &lexicon.concepts[1];
        assert_eq!((infarct.id.as_str(), infarct.kind.as_str()), ("X:2", "disease"));
        assert_eq!(infarct.synonyms, ["dead muscle"]);
        let same = infarct.links.iter().find(|link| link.relation == Relation::Same);
        assert_eq!(same.unwrap().to, "D009203");
        let named = |one| -> Vec<(&str, u32)> {
            lexicon.links(one).map(|(link, to)| (link.name.as_ref(), to)).collect()
        };
        assert_eq!(named(1), [("is_a", 0), ("part_of", 2)]);
        assert_eq!(named(0), [("near", 2)]);
    }

    #[test]
    fn a_file_that_is_cut_off_says_where() {
        let mut found = Found::default();
        let text = b"{\"graphs\": [\n{\"nodes\": [";
        let error = OboGraph.read(&mut &text[..], Path::new("x.json"), &mut found).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
