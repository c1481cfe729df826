//! Corpora in which people marked concepts, as they are published.
//!
//! To add a format: a function that reads it, and one line in `FORMATS`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::files::expand::expand;

/// A document that somebody marked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marked {
    /// Its id in the corpus; of a corpus of sentences, the line it begins at.
    pub id: String,
    /// Its text.
    pub text: String,
    /// What is marked, in order of places.
    pub marks: Vec<Mark>,
}

/// A marked place.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// In bytes of the text.
    pub range: Range<usize>,
    /// What it is, in the corpus' words.
    pub kind: String,
    /// Ids of the concepts it names; none where the corpus has none.
    pub ids: BTreeSet<String>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corpus {
    /// The documents.
    pub documents: Vec<Marked>,
    /// Marks that are not what stands at their place, and were left out.
    pub misplaced: u64,
}

/// A format of corpora.
struct Format {
    name: &'static str,
    about: &'static str,
    recognises: fn(&str) -> bool,
    read: fn(&str) -> Result<Corpus>,
}

static FORMATS: &[Format] = &[
    Format {
        name: "pubtator",
        about: "PubTator (BC5CDR, NCBI-disease): `id|t|title`, `id|a|abstract`, and `id, start, \
                end, text, type, concept` a mark, with tabs",
        recognises: |line| line.split('|').nth(1).is_some_and(|part| matches!(part, "t" | "a")),
        read: pubtator,
    },
    Format {
        name: "conll",
        about: "CoNLL: a token, a tab and its tag in BIO or BIOES a line, empty lines between \
                sentences",
        recognises: |line| line.split('\t').count() > 1,
        read: conll,
    },
];

/// The documents of all files at some paths: files (packed or not), folders or patterns.
///
/// # Errors
/// If there is no file, or one cannot be read or is no corpus, with its place.
pub fn read(paths: &[String]) -> Result<Corpus> {
    let mut whole = Corpus::default();
    let files: Vec<Vec<PathBuf>> = paths.iter().map(|path| expand(path)).collect::<Result<_>>()?;
    for file in files.into_iter().flatten() {
        let text = super::super::tasks::text(&file)?;
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let format = FORMATS.iter().find(|format| (format.recognises)(first)).ok_or_else(|| {
            let known: Vec<String> =
                FORMATS.iter().map(|format| format!("{}: {}", format.name, format.about)).collect();
            Error::data("it is no corpus with marks that kpipe reads")
                .at(file.display())
                .hint(known.join("; "))
        })?;
        let found = (format.read)(&text).map_err(|error| error.at(file.display()))?;
        whole.documents.extend(found.documents);
        whole.misplaced += found.misplaced;
    }
    if whole.documents.is_empty() {
        return Err(Error::data(format!("`{}` holds no document", paths.join("`, `"))));
    }
    Ok(whole)
}

/// Ids of concepts as corpora write several: `D001943|D010051`, `D003920+D007674`.
fn ids(text: &str) -> BTreeSet<String> {
    let all = text.split(['|', '+', ',', ';']).map(|id| bare(id.trim()).to_string());
    all.filter(|id| !matches!(id.as_str(), "" | "-1" | "-")).collect()
}

/// An id without the name of MeSH, which some corpora and graphs write and others do not.
pub(super) fn bare(id: &str) -> &str {
    ["MESH:", "MeSH:", "mesh:"].iter().find_map(|name| id.strip_prefix(name)).unwrap_or(id)
}

fn pubtator(text: &str) -> Result<Corpus> {
    let mut corpus = Corpus::default();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let broken = |what: &str| {
            Error::data(format!("line {number}: {what}"))
                .hint("PubTator has `id|t|title`, `id|a|abstract`, and marks with tabs behind them")
        };
        let last = corpus.documents.last_mut();
        let mut parts = line.splitn(3, '|');
        if let (Some(id), Some(part @ ("t" | "a")), Some(text)) =
            (parts.next(), parts.next(), parts.next())
            && !id.contains('\t')
        {
            match (part, last.filter(|last| last.id == id)) {
                // Places count over both, with one character between them.
                ("a", Some(document)) => document.text += &format!("\n{text}"),
                ("a", None) => return Err(broken("an abstract without its title")),
                _ => corpus.documents.push(Marked {
                    id: id.to_string(),
                    text: text.to_string(),
                    marks: Vec::new(),
                }),
            }
            continue;
        }

        let columns: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| columns.get(at).and_then(|text| text.trim().parse::<usize>().ok());
        let (Some(start), Some(end)) = (number(1), number(2)) else {
            // Relations between concepts stand among the marks.
            if columns.len() >= 4 {
                continue;
            }
            return Err(broken("neither a title, an abstract nor a mark"));
        };
        let document = last
            .filter(|last| last.id == columns[0])
            .ok_or_else(|| broken("a mark of a document that does not stand before it"))?;
        let [marked, kind] = [3, 4].map(|at| columns.get(at).copied().unwrap_or_default());
        match bytes(&document.text, start..end)
            .filter(|range| document.text[range.clone()] == *marked)
        {
            Some(range) => document.marks.push(Mark {
                range,
                kind: kind.to_string(),
                ids: ids(columns.get(5).copied().unwrap_or_default()),
            }),
            None => corpus.misplaced += 1,
        }
    }
    for document in &mut corpus.documents {
        document.marks.sort_by_key(|mark| (mark.range.start, mark.range.end));
    }
    Ok(corpus)
}

/// A range of characters as one of bytes, if the text is as long.
fn bytes(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let start = places.nth(range.start)?;
    let more = range.end.checked_sub(range.start + 1)?;
    Some(start..places.nth(more)?)
}

/// Sentences of tokens. A hyphen, slash or apostrophe is joined to its neighbours, which such
/// corpora part everywhere.
fn conll(text: &str) -> Result<Corpus> {
    let mut corpus = Corpus::default();
    let mut sentence = Marked::default();
    let mut joins = true;
    for (number, line) in (1..).zip(text.lines().chain([""])) {
        if line.trim().is_empty() {
            corpus
                .documents
                .extend((!sentence.text.is_empty()).then(|| std::mem::take(&mut sentence)));
            joins = true;
            continue;
        }
        let (Some((token, _)), Some((_, tag))) = (line.split_once('\t'), line.rsplit_once('\t'))
        else {
            return Err(Error::data(format!("line {number}: no tab between token and tag")));
        };
        let (position, kind) = tag.trim().split_once('-').unwrap_or((tag.trim(), ""));
        if !matches!(position, "B" | "I" | "O" | "E" | "S") || (position != "O" && kind.is_empty())
        {
            return Err(Error::data(format!("line {number}: `{tag}` is no tag of BIO or BIOES"))
                .hint("tags are `O`, `B-Disease`, `I-Disease` and such"));
        }

        let is_joint = matches!(token, "-" | "/" | "'");
        if sentence.text.is_empty() {
            sentence.id = number.to_string();
        } else if !joins && !is_joint {
            sentence.text.push(' ');
        }
        let start = sentence.text.len();
        sentence.text += token;
        let end = sentence.text.len();
        joins = is_joint;

        let goes_on = matches!(position, "I" | "E") && sentence.goes_on(start, kind);
        match sentence.marks.last_mut() {
            Some(last) if goes_on => last.range.end = end,
            _ if position == "O" => {}
            _ => sentence.marks.push(Mark {
                range: start..end,
                kind: kind.to_string(),
                ids: BTreeSet::new(),
            }),
        }
    }
    Ok(corpus)
}

impl Marked {
    /// Whether a token at a place stands directly behind the last mark, and is of its kind.
    fn goes_on(&self, start: usize, kind: &str) -> bool {
        self.marks.last().is_some_and(|last| {
            last.kind == kind && self.text[last.range.end..start].trim().is_empty()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is marked: text, kind, ids.
    fn marks(corpus: &Corpus) -> Vec<(&str, &str, Vec<&str>)> {
        let mut found = Vec::new();
        for document in &corpus.documents {
            for mark in &document.marks {
                let ids = mark.ids.iter().map(String::as_str).collect();
                found.push((&document.text[mark.range.clone()], mark.kind.as_str(), ids));
            }
        }
        found
    }

    #[test]
    fn pubtator_has_places_in_characters_over_title_and_text() {
        let text = "7|t|Café fever.\n7|a|Breast and ovarian cancer.\n\
                    7\t5\t10\tfever\tDisease\t D005334\n\
                    7\t12\t37\tBreast and ovarian cancer\tCompositeMention\tD1|MESH:D2\n\
                    7\t0\t4\tCaff\tChemical\t-1\n7\tCID\tD1\tD2\n\n8|t|Nothing\n8|a|\n";
        let corpus = pubtator(text).unwrap();
        assert_eq!(
            marks(&corpus),
            [
                ("fever", "Disease", vec!["D005334"]),
                ("Breast and ovarian cancer", "CompositeMention", vec!["D1", "D2"]),
            ]
        );
        assert_eq!((corpus.documents.len(), corpus.misplaced), (2, 1));
    }

    #[test]
    fn conll_has_tags_behind_tokens() {
        let text = "High\tO\nd\tB-Chemical\n-\tI-Chemical\npenicillamine\tI-Chemical\ndose\tO\n\n\
                    rash\tB-Disease\nfever\tB-Disease\n";
        let corpus = conll(text).unwrap();
        assert_eq!(corpus.documents[0].text, "High d-penicillamine dose");
        assert_eq!(
            marks(&corpus),
            [
                ("d-penicillamine", "Chemical", vec![]),
                ("rash", "Disease", vec![]),
                ("fever", "Disease", vec![]),
            ]
        );
        assert_eq!(corpus.documents[1].id, "7");
    }

    #[test]
    fn what_is_no_corpus_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("mine.txt");
        for (text, what) in [
            ("a text\n", "no corpus"),
            ("1|a|abstract\n", "line 1: an abstract without its title"),
            ("1|t|title\nabc\n", "line 2: neither a title"),
            ("1|t|title\n2\t0\t5\ttitle\tDisease\tD1\n", "line 2: a mark of a document"),
            ("a\tB-Disease\nb\tX\n", "line 2: `X` is no tag"),
            ("\n", "no corpus"),
        ] {
            std::fs::write(&place, text).unwrap();
            let told = read(&[place.display().to_string()]).unwrap_err().to_string();
            assert!(told.contains(what) && told.contains("mine.txt"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(1\\|[ta]\\|[aé ]{0,4}\n|1\t[0-9]\t[0-9]\t[aé]{1,2}\tX\tD1\n|[a-c]\t[BIO](-X)?\n|\n){0,8}") {
            for read in [pubtator, conll] {
                for document in read(&text).map(|corpus| corpus.documents).unwrap_or_default() {
                    for mark in document.marks {
                        prop_assert!(!document.text[mark.range].is_empty());
                    }
                }
            }
        }
    }
}
