//! entries → concepts in id order and the links between them, as adjacency lists.

use std::collections::{BTreeMap, HashSet};

use super::{Concept, Entry, Fact, Lexicon, Link, Relation, Says, mesh, same};

/// Lists of concept numbers, one a concept, in one allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// The lists of `n` concepts from (concept, item) pairs; each list sorted, without repeats.
    fn new(n: usize, mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0_u32; n + 1];
        pairs.iter().for_each(|(concept, _)| starts[*concept as usize + 1] += 1);
        (0..n).for_each(|i| starts[i + 1] += starts[i]);
        Lists { starts, items: pairs.into_iter().map(|(_, item)| item).collect() }
    }

    /// The list of one concept; empty for a number that does not exist.
    pub(super) fn of(&self, concept: u32) -> &[u32] {
        let at = concept as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.items[*start as usize..*end as usize],
            _ => &[],
        }
    }
}

/// The links of a lexicon by concept number.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) neighbours: Lists,
    pub(super) parents: Lists,
    pub(super) children: Lists,
    /// Numbers of concepts by their ids in other vocabularies.
    pub(super) others: BTreeMap<String, u32>,
}

/// The lexicon of entries and of links that stand apart from them.
pub(super) fn build(entries: Vec<Entry>, facts: Vec<Fact>) -> Lexicon {
    let mut entries = join_same_ids(entries);
    let mut unresolved_links = attach(&mut entries, facts);
    resolve_trees(&mut entries);
    resolve_names(&mut entries);
    resolve_relations(&mut entries);
    let n = entries.len();
    let entries = same::join(entries);
    let joined = (n - entries.len()) as u64;
    let mut concepts: Vec<Concept> = entries.into_iter().map(|entry| entry.concept).collect();

    for concept in &mut concepts {
        let Concept { name, synonyms, links, id, also, .. } = concept;
        let mut seen = HashSet::new();
        synonyms.retain(|synonym| {
            synonym != name && !synonym.trim().is_empty() && seen.insert(synonym.clone())
        });
        also.sort();
        also.dedup();
        links.retain(|link| link.to != *id);
        links.sort();
        // Of several files that say the same the first stays.
        links.dedup_by(|a, b| (a.relation, &a.name, &a.to) == (b.relation, &b.name, &b.to));
    }

    let others = others(&concepts);
    let (mut linked, mut parents) = (Vec::new(), Vec::new());
    for (from, concept) in (0..).zip(&concepts) {
        for link in &concept.links {
            let own = concepts.binary_search_by(|other| other.id.cmp(&link.to));
            let to = own.ok().map(|at| at as u32).or_else(|| others.get(&link.to).copied());
            let Some(to) = to.filter(|to| *to != from) else {
                unresolved_links += u64::from(to.is_none());
                continue;
            };
            if link.relation == Relation::Parent {
                parents.push((from, to));
            }
            if link.relation != Relation::Same {
                linked.extend([(from, to), (to, from)]);
            }
        }
    }

    let children = parents.iter().map(|(child, parent)| (*parent, *child)).collect();
    let n = concepts.len();
    let graph = Graph {
        others,
        neighbours: Lists::new(n, linked),
        parents: Lists::new(n, parents),
        children: Lists::new(n, children),
    };
    Lexicon { concepts, unresolved_links, joined, graph, ..Lexicon::default() }
}

/// Numbers of concepts by the other ids that they have, where these are no concept's own.
fn others(concepts: &[Concept]) -> BTreeMap<String, u32> {
    let also = |(number, concept): (u32, &Concept)| {
        concept.also.iter().map(|id| (id.clone(), number)).collect::<Vec<_>>()
    };
    (0..).zip(concepts).flat_map(also).collect()
}

/// Gives concepts what is stated of them elsewhere; tells how many facts are about none.
fn attach(entries: &mut [Entry], facts: Vec<Fact>) -> u64 {
    let mut unresolved = 0;
    for Fact { of, says } in facts {
        let at = entries.binary_search_by(|entry| entry.concept.id.as_str().cmp(&of));
        let Ok(concept) = at.map(|at| &mut entries[at].concept) else {
            unresolved += 1;
            continue;
        };
        match says {
            Says::Link(link) => concept.links.push(link),
            Says::Kind(kind) if concept.kind.is_empty() => concept.kind = kind.to_string(),
            Says::Kind(_) => {}
        }
    }
    unresolved
}

/// Entries in id order; those of one id are joined, and the name of the first one read stays.
fn join_same_ids(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| a.concept.id.cmp(&b.concept.id));
    let mut joined: Vec<Entry> = Vec::with_capacity(entries.len());

    for entry in entries {
        match joined.last_mut().filter(|last| last.concept.id == entry.concept.id) {
            None => joined.push(entry),
            Some(last) => {
                last.concept.absorb(entry.concept);
                last.trees.extend(entry.trees);
                last.by_name.extend(entry.by_name);
            }
        }
    }

    joined
}

/// Makes parents of tree numbers, `C14.280.647` stands below `C14.280`, and the kind of concepts
/// that nothing else says of.
fn resolve_trees(entries: &mut [Entry]) {
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for entry in entries.iter() {
        for tree in &entry.trees {
            places.entry(tree.clone()).or_insert_with(|| entry.concept.id.clone());
        }
    }

    for entry in entries {
        if entry.concept.kind.is_empty() {
            entry.concept.kind = mesh::kind_of_trees(&entry.trees).to_string();
        }
        for tree in &entry.trees {
            let above = tree.rsplit_once('.').and_then(|(above, _)| places.get(above));
            if let Some(id) = above {
                let file = entry.concept.file;
                entry.concept.links.push(Link { file, ..Link::parent(id.clone()) });
            }
        }
    }
}

/// Resolves links to concepts that are given by preferred name; a name nobody has stays as a dead
/// link.
fn resolve_names(entries: &mut [Entry]) {
    if entries.iter().all(|entry| entry.by_name.is_empty()) {
        return;
    }
    let ids: BTreeMap<String, String> = entries
        .iter()
        .rev()
        .map(|entry| (entry.concept.name.clone(), entry.concept.id.clone()))
        .collect();

    for entry in entries {
        for mut link in entry.by_name.drain(..) {
            if let Some(id) = ids.get(&link.to) {
                link.to.clone_from(id);
            }
            entry.concept.links.push(link);
        }
    }
}

/// Takes the relation off a link that is written with it (`treats:D003924`, `is_a:D003920`).
///
/// Ids may hold a colon themselves, so only a link whose whole text is no id is taken apart.
fn resolve_relations(entries: &mut [Entry]) {
    let ids: HashSet<String> = entries.iter().map(|entry| entry.concept.id.clone()).collect();
    for link in entries.iter_mut().flat_map(|entry| &mut entry.concept.links) {
        if let Some((relation, id)) = link.to.split_once(':')
            && !ids.contains(&link.to)
            && ids.contains(id)
        {
            let named = match relation {
                "is_a" | "parent" => Link::parent(id),
                _ => Link::named(relation, id),
            };
            *link = Link { file: link.file, ..named };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, name: &str, trees: &[&str], links: &[(Relation, &str)]) -> Entry {
        let links = links
            .iter()
            .map(|(relation, to)| Link { relation: *relation, ..Link::related(*to) })
            .collect();
        let concept = Concept { id: id.into(), name: name.into(), links, ..Concept::default() };
        Entry {
            concept,
            trees: trees.iter().map(|tree| (*tree).to_string()).collect(),
            by_name: Vec::new(),
        }
    }

    #[test]
    fn trees_give_parents_and_siblings() {
        let lexicon = Lexicon::build(vec![
            entry("D3", "stroke", &["C10.228", "C14.9"], &[]),
            entry("D1", "brain diseases", &["C10"], &[]),
            entry("D2", "epilepsy", &["C10.300"], &[]),
        ]);
        assert_eq!(
            lexicon.concepts.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
            ["D1", "D2", "D3"]
        );
        assert_eq!(lexicon.parents(2), [0]);
        assert_eq!(lexicon.siblings(2), [1]);
        assert!(lexicon.linked(0, 1) && lexicon.linked(1, 0) && !lexicon.linked(1, 2));
    }

    #[test]
    fn one_id_in_two_files_is_one_concept() {
        let lexicon = Lexicon::build(vec![
            entry("D1", "aspirin", &[], &[(Relation::Related, "D2"), (Relation::Related, "D1")]),
            entry("D2", "fever", &[], &[(Relation::Same, "D1"), (Relation::Related, "nowhere")]),
            entry("D1", "acetylsalicylic acid", &[], &[]),
        ]);
        assert_eq!(lexicon.concepts.len(), 2);
        assert_eq!(lexicon.concepts[0].synonyms, ["acetylsalicylic acid"]);
        assert_eq!((lexicon.neighbours(0), lexicon.unresolved_links), (&[1_u32][..], 1));
        assert_eq!(lexicon.neighbours(9), [0_u32; 0]);
    }

    #[test]
    fn a_link_may_name_its_relation() {
        let links = [
            (Relation::Related, "treats:X:2"),
            (Relation::Related, "is_a:D3"),
            (Relation::Related, "X:2"),
        ];
        let lexicon = Lexicon::build(vec![
            entry("D1", "a", &[], &links),
            entry("X:2", "b", &[], &[]),
            entry("D3", "c", &[], &[]),
        ]);
        assert_eq!((lexicon.neighbours(0), lexicon.parents(0)), (&[1, 2][..], &[1][..]));
        let named: Vec<(&str, u32)> =
            lexicon.links(0).map(|(link, to)| (link.name.as_ref(), to)).collect();
        assert_eq!(named, [("is_a", 1), ("", 2), ("treats", 2)]);
        assert_eq!(lexicon.unresolved_links, 0);
    }

    #[test]
    fn links_may_stand_apart_from_their_concepts() {
        let fact = |of: &str, to: &str| Fact {
            of: of.to_string(),
            says: Says::Link(Link::named("treats", to)),
        };
        let entries = vec![entry("D1", "a", &[], &[]), entry("D2", "b", &[], &[])];
        let facts = vec![fact("D1", "D2"), fact("nobody", "D2"), fact("D2", "nobody")];
        let lexicon = Lexicon::with_facts(entries, facts);

        assert!(lexicon.linked(0, 1));
        assert_eq!(lexicon.links(0).next().unwrap().0.name.as_ref(), "treats");
        assert_eq!((lexicon.links(1).count(), lexicon.unresolved_links), (0, 2));
    }

    #[test]
    fn the_order_of_entries_changes_nothing() {
        let mut entries = vec![
            entry("B", "b", &["1.2"], &[]),
            entry("A", "a", &["1"], &[]),
            entry("C", "c", &[], &[]),
        ];
        let hash = Lexicon::build(entries.clone()).hash();
        entries.reverse();
        assert_eq!(Lexicon::build(entries).hash(), hash);
    }
}
