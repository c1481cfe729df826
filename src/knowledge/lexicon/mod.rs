//! files of a knowledge graph → [`Lexicon`]
//!
//! A lexicon is a list of concepts: id, kind, names, language and links to other concepts. Every
//! file format is one [`Reader`]; the format is recognised by content or named in the pipeline
//! file. Concepts stand in the order of their ids, whatever the order of files and rows, so a
//! concept's number means the same in every run.
//!
//! Promises: an entry that cannot be used is counted by reason, never dropped silently; concepts of
//! one id in several files become one; links to concepts that no file has are counted and left out.
//!
//! To add a format: one file with a [`Reader`], one `mod` line, one line in [`READERS`].

mod aliases;
mod delimited;
mod disease_records;
mod drugbank;
mod drugbank_xml;
mod graph;
mod hetionet;
mod jsonl;
mod mesh;
mod mesh_ascii;
mod mesh_xml;
mod obo;
mod obo_graph;
mod open;
mod same;
mod tsv;
mod umls;
mod wikidata;
mod words;
mod xml;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;
use crate::flow::registry;
use graph::Graph;
pub use open::files;
use open::{read_file, read_text};

/// Every reader; the first that recognises a file reads it.
pub static READERS: &[&dyn Reader] = &[
    &mesh_xml::MeshXml,
    &mesh_ascii::MeshAscii,
    &obo::Obo,
    &obo_graph::OboGraph,
    &drugbank::DrugBank,
    &drugbank_xml::DrugBankXml,
    &hetionet::Hetionet,
    &umls::Umls,
    &wikidata::Wikidata,
    &disease_records::DiseaseRecords,
    &jsonl::Jsonl,
    &aliases::Aliases,
    &tsv::Tsv,
    &words::Words,
];

/// A format of lexicon files.
pub trait Reader: Sync {
    /// Name in pipeline files, equal to the file stem of its module.
    fn name(&self) -> &'static str;

    /// What it reads, in one line.
    fn about(&self) -> &'static str;

    /// Whether a file that begins with `head` (decompressed, without byte-order mark) has this
    /// format.
    fn recognises(&self, head: &str) -> bool;

    /// Reads the decompressed file and adds its entries to `found`; entries it cannot use are
    /// counted there.
    ///
    /// # Errors
    /// If the file cannot be read at all, with file, line and remedy.
    fn read(&self, input: &mut dyn BufRead, file: &Path, found: &mut Found) -> Result<()>;
}

/// The reader called `name`.
///
/// # Errors
/// If there is none; lists those there are.
pub fn reader(name: &str) -> Result<&'static dyn Reader> {
    registry::find("lexicon format", READERS, name, |reader| reader.name())
}

/// A lexicon file, folder or glob pattern of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LexiconSpec {
    /// A file, a folder (its files in name order) or a glob pattern.
    pub path: String,
    /// Name of a [`Reader`]; recognised by content where absent.
    pub format: Option<String>,
    /// What its concepts are, such as `drug`, where the file does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Licence of what it says, as an SPDX identifier; empty where nobody states it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
}

impl LexiconSpec {
    /// A path whose files tell their format.
    pub fn of_path(path: impl Into<String>) -> Self {
        let (kind, licence) = (String::new(), String::new());
        LexiconSpec { path: path.into(), format: None, kind, licence }
    }
}

/// How one concept stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// The other is more general (`is_a`, MeSH tree).
    Parent,
    /// Any other relation of the knowledge graph.
    Related,
    /// The other is the same thing in another vocabulary; no pair of the graph.
    Same,
}

/// A link from a concept to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// How the other stands to this one.
    pub relation: Relation,
    /// What the file calls it, such as `treats`; empty where it does not say. Many links share one.
    pub name: Arc<str>,
    /// Id of the other concept.
    pub to: String,
    /// Number of the file that says it, of [`Lexicon::books`]; of several the first.
    pub file: u16,
}

impl Link {
    /// To a more general concept.
    pub fn parent(to: impl Into<String>) -> Self {
        Link { relation: Relation::Parent, name: "is_a".into(), to: to.into(), file: 0 }
    }

    /// To another concept, by a relation that the file names.
    pub fn named(name: &str, to: impl Into<String>) -> Self {
        Link { relation: Relation::Related, name: name.into(), to: to.into(), file: 0 }
    }

    /// To another concept; how is not said.
    pub fn related(to: impl Into<String>) -> Self {
        Link::named("", to)
    }

    /// To the same thing in another vocabulary.
    pub fn same(to: impl Into<String>) -> Self {
        Link { relation: Relation::Same, name: "same".into(), to: to.into(), file: 0 }
    }
}

/// What a file states of a concept that may stand in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Id of the concept.
    pub of: String,
    /// What is stated.
    pub says: Says,
}

/// See [`Fact`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is linked to another.
    Link(Link),
    /// What it is, where its own file does not say.
    Kind(Arc<str>),
}

/// One concept of a lexicon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Concept {
    /// Id in its vocabulary, such as `D001241` or `DB00945`.
    pub id: String,
    /// Other ids: those it had before, and those of the same thing in other vocabularies that were
    /// read; sorted.
    pub also: Vec<String>,
    /// What it is, such as `disease`; empty where the file does not say.
    pub kind: String,
    /// Preferred name.
    pub name: String,
    /// Other names, in file order, without repeats.
    pub synonyms: Vec<String>,
    /// Those of them that mean less than the concept, or something near it: found in texts, never
    /// put in the place of another.
    pub inexact: Vec<String>,
    /// ISO 639 code of the names, where the file says it.
    pub language: Option<String>,
    /// Links as the files state them, also to concepts that no file has; sorted, without repeats.
    pub links: Vec<Link>,
    /// Number of the file that it was first read from, of [`Lexicon::books`].
    pub file: u16,
}

impl Concept {
    /// Adds what another record says of the same thing; what stands here already goes before it.
    fn absorb(&mut self, other: Concept) {
        if self.kind.is_empty() {
            self.kind = other.kind;
        }
        self.language = self.language.take().or(other.language);
        self.synonyms.push(other.name);
        self.synonyms.extend(other.synonyms);
        self.inexact.extend(other.inexact);
        self.links.extend(other.links);
        self.also.extend(other.also);
    }
}

/// What a reader makes of one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The concept.
    pub concept: Concept,
    /// Places in a tree (MeSH tree numbers); the parents follow from them once all files are read.
    pub trees: Vec<String>,
    /// Links that the file gives by the preferred name of the other concept, in the place of its
    /// id.
    pub by_name: Vec<Link>,
}

/// Entries of the files read so far, and what was not used.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Entries, in reading order.
    pub entries: Vec<Entry>,
    /// What is stated of concepts that may stand in other files.
    pub facts: Vec<Fact>,
    /// Entries and names that were not used, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Memory that the entries take until they can be looked up, in bytes, and how much they may.
    bytes: u64,
    room: Option<u64>,
}

/// What a name takes until it can be looked up, in bytes, beside eight times its length: measured
/// on lists of 250,000 and 600,000 words.
const NAME_BYTES: u64 = 600;
/// What a fact that stands for itself takes, in bytes, beside its two ids.
const FACT_BYTES: u64 = 150;

impl Found {
    /// None yet, for entries that may take so much memory, in bytes.
    pub fn within(room: u64) -> Self {
        Found { room: Some(room), ..Found::default() }
    }

    /// Memory that the entries take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there were more than may be.
    pub fn is_full(&self) -> bool {
        self.room.is_some_and(|room| self.bytes > room)
    }

    /// Adds an entry; one without id or name is refused.
    pub fn push(&mut self, entry: Entry) {
        match &entry.concept {
            Concept { id, .. } if id.trim().is_empty() => self.refuse("no_id"),
            Concept { name, .. } if name.trim().is_empty() => self.refuse("no_name"),
            Concept { name, synonyms, .. } => {
                let of_name = |name: &String| NAME_BYTES + 8 * name.len() as u64;
                self.bytes += of_name(name) + synonyms.iter().map(of_name).sum::<u64>();
                // What does not fit is not kept: the file as a whole is refused.
                if !self.is_full() {
                    self.entries.push(entry);
                }
            }
        }
    }

    /// Adds a link of a concept that may stand in another file.
    pub fn link(&mut self, of: impl Into<String>, link: Link) {
        self.say(of.into(), Says::Link(link));
    }

    /// Adds what a concept is that may stand in another file.
    pub fn kind(&mut self, of: impl Into<String>, kind: impl Into<Arc<str>>) {
        self.say(of.into(), Says::Kind(kind.into()));
    }

    fn say(&mut self, of: String, says: Says) {
        let to = if let Says::Link(link) = &says { link.to.len() } else { 0 };
        self.bytes += FACT_BYTES + (of.len() + to) as u64;
        if !self.is_full() {
            self.facts.push(Fact { of, says });
        }
    }

    /// Tells all that was found which file it is of.
    fn number(&mut self, file: u16) {
        for Entry { concept, by_name, .. } in &mut self.entries {
            concept.file = file;
            concept.links.iter_mut().chain(by_name).for_each(|link| link.file = file);
        }
        for fact in &mut self.facts {
            if let Says::Link(link) = &mut fact.says {
                link.file = file;
            }
        }
    }

    /// Counts one entry that is not used.
    pub fn refuse(&mut self, reason: &str) {
        *self.refused.entry(reason.to_string()).or_default() += 1;
    }
}

/// What was read from one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileBooks {
    /// The file.
    pub file: String,
    /// Name of its reader.
    pub format: String,
    /// Entries that became concepts (entries of one id count each).
    pub entries: u64,
    /// Facts that stand apart from their concepts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub facts: u64,
    /// Entries that were not used, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Licence of what it says, where the pipeline file states it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Concepts in the order of their ids, with their links.
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    /// The concepts; a concept's number is its index here.
    pub concepts: Vec<Concept>,
    /// What was read from each file.
    pub books: Vec<FileBooks>,
    /// Files of the folders and patterns given that are no lexicon.
    pub passed_over: Vec<String>,
    /// Links that lead to no concept of the lexicon, and facts about none.
    pub unresolved_links: u64,
    /// Concepts that are one with another of another vocabulary.
    pub joined: u64,
    graph: Graph,
}

impl Lexicon {
    /// Reads all files of `specs`, in order.
    ///
    /// # Errors
    /// If a path leads to no file, or a file cannot be read or recognised.
    pub fn read(specs: &[LexiconSpec], memory_bytes: u64) -> Result<Self> {
        // The rest is for the documents.
        let mut room = memory_bytes / 4 * 3;
        let mut whole = Found::default();
        let (mut books, mut passed_over) = (Vec::new(), Vec::new());

        for spec in specs {
            let listed = files(spec)?;
            passed_over.extend(listed.passed_over.iter().map(|file| file.display().to_string()));

            for file in listed.files {
                let (mut found, format) = read_file(&file, spec.format.as_deref(), room)?;
                found.number(books.len() as u16);
                for entry in &mut found.entries {
                    if entry.concept.kind.is_empty() && entry.trees.is_empty() {
                        entry.concept.kind.clone_from(&spec.kind);
                    }
                }
                room = room.saturating_sub(found.bytes());
                books.push(FileBooks {
                    file: file.display().to_string(),
                    format: format.to_string(),
                    entries: found.entries.len() as u64,
                    facts: found.facts.len() as u64,
                    refused: found.refused,
                    licence: spec.licence.clone(),
                });
                whole.entries.extend(found.entries);
                whole.facts.extend(found.facts);
            }
        }

        let mut lexicon = Lexicon::with_facts(whole.entries, whole.facts);
        (lexicon.books, lexicon.passed_over) = (books, passed_over);
        Ok(lexicon)
    }

    /// A lexicon of entries: concepts of one id, and of one thing in two vocabularies, are joined,
    /// trees and names become links.
    pub fn build(entries: Vec<Entry>) -> Self {
        Self::with_facts(entries, Vec::new())
    }

    /// The same with facts that stand apart from their concepts.
    pub fn with_facts(entries: Vec<Entry>, facts: Vec<Fact>) -> Self {
        graph::build(entries, facts)
    }

    /// The number of the concept with this id, in its vocabulary or in another.
    pub fn find(&self, id: &str) -> Option<u32> {
        let own = self.concepts.binary_search_by(|concept| concept.id.as_str().cmp(id));
        own.ok().map(|at| at as u32).or_else(|| self.graph.others.get(id).copied())
    }

    /// Links of a concept that lead to another of the lexicon, with its number, as files state
    /// them.
    pub fn links(&self, concept: u32) -> impl Iterator<Item = (&Link, u32)> {
        let links = self.concepts.get(concept as usize).map_or(&[][..], |one| &one.links);
        links.iter().filter_map(|link| Some((link, self.find(&link.to)?)))
    }

    /// The licence of what a file says; `None` where nobody states it.
    pub fn licence(&self, file: u16) -> Option<&str> {
        let books = self.books.get(usize::from(file));
        books.map(|books| books.licence.as_str()).filter(|licence| !licence.is_empty())
    }

    /// Concepts one link away (parents, children, related), in number order; the same concept under
    /// another id is none.
    pub fn neighbours(&self, concept: u32) -> &[u32] {
        self.graph.neighbours.of(concept)
    }

    /// Whether two concepts are linked, in either direction.
    pub fn linked(&self, a: u32, b: u32) -> bool {
        self.neighbours(a).binary_search(&b).is_ok()
    }

    /// More general concepts, in number order.
    pub fn parents(&self, concept: u32) -> &[u32] {
        self.graph.parents.of(concept)
    }

    /// Less general concepts, in number order.
    pub fn children(&self, concept: u32) -> &[u32] {
        self.graph.children.of(concept)
    }

    /// Concepts that share a parent with this one, in number order: near misses of the same kind.
    pub fn siblings(&self, concept: u32) -> Vec<u32> {
        let parents = self.parents(concept).iter();
        let mut found: Vec<u32> =
            parents.flat_map(|parent| self.graph.children.of(*parent)).copied().collect();
        found.sort_unstable();
        found.dedup();
        found.retain(|other| *other != concept);
        found
    }

    /// xxh3-128 over everything that may change a score, as 32 hex digits.
    pub fn hash(&self) -> String {
        let mut hasher = Xxh3::new();
        for concept in &self.concepts {
            for text in
                [&concept.id, &concept.kind, &concept.name].into_iter().chain(&concept.synonyms)
            {
                hasher.update(text.as_bytes());
                hasher.update(&[0xff]);
            }

            for id in &concept.also {
                hasher.update(&[0xfc]);
                hasher.update(id.as_bytes());
            }
            for link in &concept.links {
                hasher.update(&[0xfe, link.relation as u8]);
                hasher.update(link.name.as_bytes());
                hasher.update(&[0xff]);
                hasher.update(link.to.as_bytes());
            }
            hasher.update(&[0xfd]);
        }
        format!("{:032x}", hasher.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name in the file is a hundred times as much in memory: whoever gives a file that is no
    /// lexicon hears of it.
    #[test]
    fn what_does_not_fit_into_memory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.txt");
        std::fs::write(&path, (0..5_000).map(|n| format!("word{n}\n")).collect::<String>())
            .unwrap();
        let spec = [LexiconSpec {
            format: Some("words".to_string()),
            ..LexiconSpec::of_path(path.to_str().unwrap())
        }];
        assert_eq!(Lexicon::read(&spec, 64 << 20).unwrap().concepts.len(), 5_000);
        let error = Lexicon::read(&spec, 4 << 20).unwrap_err().to_string();

        assert!(
            error.contains("more than fits into memory") && error.contains("--memory"),
            "{error}"
        );
    }

    #[test]
    fn readers_are_named_once_and_explained() {
        for (idx, reader) in READERS.iter().enumerate() {
            assert!(!reader.about().is_empty());
            assert!(READERS[..idx].iter().all(|other| other.name() != reader.name()));
        }
        assert!(reader("nothing").is_err());
    }

    /// What files of all formats are made of, put together at random.
    static PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\t",
        "\n",
        "|",
        "\"",
        "\"id\"",
        "\"name\"",
        "\"links\"",
        "\"labels\"",
        "\"claims\"",
        "\"symptom\"",
        "\"graphs\"",
        "\"nodes\"",
        "C0000001",
        "|ENG|P|L1|PF|S1|Y|",
        "CtD",
        "source\tmetaedge\ttarget\n",
        "name,symptom,drug\n",
        "肺炎",
        "[详细]",
        "...",
        "<drugbank>",
        "</drugbank>",
        "<drug>",
        "</drug>",
        "<drugbank-id primary=\"true\">",
        "<SupplementalRecord SCRClass=\"9\">",
        "<DescriptorRecord>",
        "</DescriptorRecord>",
        "<String>",
        "</String>",
        "&lt;",
        "&#8211;",
        "[Term]\n",
        "xref: MESH:D1\n",
        "synonym: \"a\n",
        "*NEWRECORD\n",
        "HM = *a/b\n",
        "id\tname\n",
        "é",
        "\u{0}",
    ];

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40),
        ) {
            let text = pieces.concat();
            for reader in READERS {
                reader.recognises(&text);
                let mut found = Found::default();
                let _ = reader.read(&mut text.as_bytes(), Path::new("x"), &mut found);
                Lexicon::with_facts(found.entries, found.facts);
            }
        }
    }

    #[test]
    fn a_missing_file_and_a_binary_file_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let spec =
            |name: &str| LexiconSpec::of_path(folder.path().join(name).display().to_string());
        let error = Lexicon::read(&[spec("none.tsv")], 4 << 30).unwrap_err().to_string();
        assert!(error.contains("none.tsv") && error.contains("lexicon = []"), "{error}");
        std::fs::write(folder.path().join("x.bin"), [0, 1, 2, 0xff, 0xfe]).unwrap();
        let error = Lexicon::read(&[spec("x.bin")], 4 << 30).unwrap_err().to_string();
        assert!(error.contains("recognises"), "{error}");

        for (name, text, says) in [
            ("empty.tsv", "", "is empty"),
            ("blank.obo", " \n", "is empty"),
            (
                "ragged.tsv",
                "id\tname\nD1\n",
                "read as tsv, names nothing: not used are 1 malformed",
            ),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
            let error = Lexicon::read(&[spec(name)], 4 << 30).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains(says) && error.contains("hint"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_stands_in_a_folder_beside_lexicons_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.tsv", "id\tname\n1\taspirin\n");
        write("README", "words\nto read\n");
        write("SOURCE.md", "# Where it is from\n");
        write("empty.txt", "");
        write("page.html", "<html><body>no lexicon</body></html>");
        let spec =
            |path: &str| LexiconSpec::of_path(folder.path().join(path).display().to_string());
        let lexicon = Lexicon::read(&[spec("")], 4 << 30).unwrap();
        let names: Vec<&str> =
            lexicon.passed_over.iter().filter_map(|file| file.rsplit('/').next()).collect();
        assert_eq!(
            (lexicon.concepts.len(), names),
            (1, vec!["README", "SOURCE.md", "empty.txt", "page.html"])
        );
        // Named itself, it is meant.
        assert!(
            Lexicon::read(&[spec("page.html")], 4 << 30)
                .unwrap_err()
                .to_string()
                .contains("recognises")
        );

        std::fs::remove_file(folder.path().join("a.tsv")).unwrap();
        let error = Lexicon::read(&[spec("")], 4 << 30).unwrap_err().to_string();
        assert!(error.contains("no file of") && error.contains("hint"), "{error}");
    }

    /// The lexicons that come with the project: every format but the lists, all entries used, links
    /// within.
    #[test]
    fn the_fixtures_are_one_lexicon() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/lexicon/*").to_string();
        let lexicon = Lexicon::read(&[LexiconSpec::of_path(path)], 4 << 30).unwrap();
        let formats: Vec<&str> = lexicon.books.iter().map(|file| file.format.as_str()).collect();
        assert_eq!(formats, ["tsv", "obo", "drugbank", "mesh_xml"]);
        let metformin = lexicon.find("DB90001").unwrap();
        assert!(lexicon.concepts[metformin as usize].synonyms.contains(&"Metformina".to_string()));
        let treated = lexicon.find("D900015").unwrap();
        assert!(lexicon.linked(metformin, treated), "its TSV row says that it treats it");
        assert!(
            lexicon.books.iter().all(|file| file.refused.keys().all(|reason| reason == "obsolete")),
            "{:?}",
            lexicon.books
        );
    }

    /// A gzip that is cut inside a descriptor gives the whole ones; inside a table it is an error.
    #[test]
    fn files_that_are_cut_off() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let pack = |name: &str, text: &str| {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
            gz.write_all(text.as_bytes()).unwrap();
            let bytes = gz.finish().unwrap();
            let place = folder.path().join(name);
            std::fs::write(&place, &bytes[..bytes.len() - 40]).unwrap();
            LexiconSpec::of_path(place.display().to_string())
        };

        let record = "<DescriptorRecord><DescriptorUI>D1</DescriptorUI><DescriptorName><String>Fever</String>\
                      </DescriptorName></DescriptorRecord>";
        let xml = pack(
            "desc.xml.gz",
            &format!("<DescriptorRecordSet>{}</DescriptorRecordSet>", record.repeat(300)),
        );
        let lexicon = Lexicon::read(&[xml], 4 << 30).unwrap();
        assert_eq!((lexicon.books[0].entries, lexicon.books[0].refused["truncated"]), (299, 1));
        let tsv = pack("x.tsv.gz", &format!("id\tname\n{}", "1\taspirin\n".repeat(3_000)));
        let error = Lexicon::read(&[tsv], 4 << 30).unwrap_err().to_string();

        assert!(error.contains("x.tsv.gz") && error.contains("hint"), "{error}");
    }

    /// Every lexicon file of the test data is recognised and gives about as many concepts as its
    /// source says.
    #[test]
    fn real_lexicons_are_read() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let folder = Path::new(&data).join("kg-lexicons");
        let expected = [
            ("drugbank-vocabulary.csv.gz", "drugbank", 14_315),
            ("drugbank-dhimmel.tsv.gz", "tsv", 7_759),
            ("drugbank-aliases.json.gz", "aliases", 7_759),
            ("hetionet-v1.0-nodes.tsv.gz", "tsv", 47_031),
            ("mesh-terms.tsv.gz", "tsv", 27_455),
            ("mesh-tree-numbers.tsv.gz", "tsv", 27_455),
            ("mesh-desc-sample.xml", "mesh_xml", 5),
            ("mesh-desc2015-subset.xml", "mesh_xml", 2),
            ("doid-2016.obo.gz", "obo", 6_900),
            ("hp-2013.obo.gz", "obo", 10_200),
            ("THUOCL_diming.txt.gz", "words", 44_804),
            ("THUOCL_medical.txt.gz", "words", 18_749),
            ("zh-medicalkg-disease.txt.gz", "words", 8_807),
            ("../zh-medical/disease.gbk.csv.gz", "disease_records", 20_232),
        ];

        for (name, format, least) in expected {
            let spec = LexiconSpec::of_path(folder.join(name).display().to_string());
            let lexicon = Lexicon::read(&[spec], 4 << 30).unwrap();
            assert_eq!(lexicon.books[0].format, format, "{name}");
            let found = lexicon.concepts.len();
            let refused = lexicon.books[0].refused.values().sum::<u64>();

            assert!(
                found * 100 >= least * 99 && found <= least * 102,
                "{name}: {found} concepts, {refused} refused"
            );
        }
    }
}
