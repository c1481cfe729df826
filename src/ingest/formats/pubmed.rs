//! NLM's PubMed XML: titles and abstracts with their MeSH headings.
//!
//! Comes in: `PubmedArticleSet` (baseline, updates, downloads), the older `MedlineCitationSet`, and
//! `PubmedArticle` records inside any other root element. Goes out: one document a record. Id: the
//! PMID; version: its `Version`; URL: the page on pubmed.ncbi.nlm.nih.gov; date: of the issue, else
//! of the electronic article, as exact as given.
//!
//! The text is the title as first paragraph, then each section of the abstract as a paragraph, with
//! its label in front (`METHODS: …`). Mark-up inside is dropped and its text kept, raised and
//! lowered digits and MathML are read by one rule (`ingest/numbers.rs`), entities escaped twice are
//! mended, brackets around translated titles stay. A title that is empty or not available is the
//! vernacular one. Without an abstract of its own the record's first other abstract is the text, in
//! that abstract's language; else all other abstracts are in the metadata. A record without any
//! abstract is refused as `no_text`, and older versions of it as `superseded`.
//!
//! A `PubmedBookArticle` becomes a document too, with `kind` = `book`. A `DeleteCitation` withdraws
//! the PMIDs it lists. Retracted articles have `retracted` = true. The metadata:
//! `pubmed/metadata.rs`.

use std::borrow::Cow;
use std::io::BufRead;

use memchr::memmem;

use super::{Broken, Document, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec};
use crate::error::Result;
use crate::ingest::marks;
use crate::ingest::xml::{self, Cut, Cutter};
use metadata::{Metadata, OtherAbstract, Section};
use tree::{Element, Tree};

mod dates;
pub(in crate::ingest) mod mathml;
mod metadata;
mod tree;

/// Elements that are records.
static RECORDS: &[&str] =
    &["PubmedArticle", "PubmedBookArticle", "MedlineCitation", "DeleteCitation", "DeleteDocument"];

/// Root elements that may hold no record at all.
static ROOTS: &[&[u8]] = &[b"PubmedArticleSet", b"MedlineCitationSet", b"PubmedBookArticleSet"];

/// What stands in place of an abstract that the publisher did not give.
const PLACEHOLDER: &str = "Abstract available from the publisher.";

/// The format `pubmed`.
pub struct Pubmed;

impl Format for Pubmed {
    fn name(&self) -> &'static str {
        "pubmed"
    }

    fn has_versions(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "NLM PubMed XML: title and labelled abstract; deletions and versions honoured, retractions \
         marked"
    }

    fn recognises(&self, head: &[u8]) -> Option<usize> {
        let signs = ["<PubmedArticle", "<MedlineCitation", "<PubmedBookArticle"];
        signs.iter().filter_map(|sign| memmem::find(head, sign.as_bytes())).min()
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>> {
        let mut cutter = Cutter::new(input, RECORDS, limits.max_record_bytes);
        let facts = FileFacts::default();
        let mut has_records = false;
        let mut foreign = None;

        loop {
            let piece = match cutter.next() {
                Cut::Root(tag) => {
                    if !ROOTS.contains(&cutter.root()) {
                        foreign = Some(tag);
                    }
                    continue;
                }

                Cut::Element { offset, bytes, .. } => Piece::Record(Raw { offset, bytes }),
                Cut::Refused(broken) => Piece::Refused(broken),
                Cut::End(end) => {
                    return Ok(match foreign.filter(|_| !has_records) {
                        Some(tag) => Some(wrong_root(cutter.root(), tag)),
                        None => end,
                    });
                }
            };
            has_records = true;
            if !emit(&facts, piece)? {
                return Ok(None);
            }
        }
    }

    fn parse(&self, raw: &Raw, _facts: &FileFacts, _source: &SourceSpec) -> Vec<Parsed> {
        let (xml, repaired) = xml::decode(&raw.bytes);
        let parsed = match Tree::read(&xml) {
            Ok(tree) => tree.root().map_or_else(
                || malformed(&xml, "no element".to_owned()),
                |root| record(root, &xml, repaired),
            ),
            Err(detail) => malformed(&xml, detail),
        };
        vec![parsed]
    }
}

fn wrong_root(root: &[u8], bytes: Vec<u8>) -> Broken {
    let detail = format!(
        "the root element is `{}` and holds no PubMed record",
        String::from_utf8_lossy(root)
    );
    Broken { bytes, ..Broken::new(0, "wrong_format", detail) }
}

/// A record that cannot be read, with its PMID where that can be found.
fn malformed(xml: &str, detail: String) -> Parsed {
    let id = xml
        .split("<PMID")
        .nth(1)
        .and_then(|rest| rest.split('>').nth(1)?.split('<').next())
        .map(str::trim);
    let id = id.filter(|id| is_pmid(id)).map(str::to_owned);
    Parsed::Refused { reason: "malformed", id, detail }
}

fn is_pmid(id: &str) -> bool {
    !id.is_empty() && id.len() <= 12 && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn record(root: Element, xml: &str, repaired: u64) -> Parsed {
    let document = match root.name() {
        "DeleteCitation" | "DeleteDocument" => {
            return Parsed::Withdraws(
                root.all("PMID")
                    .map(|id| id.text().into_owned())
                    .filter(|id| is_pmid(id))
                    .collect(),
            );
        }
        "PubmedBookArticle" => root.child("BookDocument").and_then(book),
        "MedlineCitation" => article(root, None),
        _ => root
            .child("MedlineCitation")
            .and_then(|citation| article(citation, root.child("PubmedData"))),
    };
    match document {
        Some(mut document) if !document.text.is_empty() => {
            document.repaired = repaired;
            Parsed::Document(Box::new(document))
        }
        Some(document) => {
            let (version, detail) = (document.version, "the record has no abstract".to_owned());
            Parsed::Empty {
                reason: "no_text",
                id: document.id.unwrap_or_default(),
                version,
                detail,
            }
        }
        None => malformed(xml, "the record has no PMID or no article".to_owned()),
    }
}

/// An article, with an empty text when it has no abstract.
fn article<'x>(citation: Element<'_, 'x>, data: Option<Element<'_, 'x>>) -> Option<Document> {
    let article = citation.child("Article")?;
    let issued = article.at(&["Journal", "JournalIssue", "PubDate"]).and_then(dates::iso);
    Read {
        identified: citation,
        abstracted: article,
        title: title(article),
        date: issued.or_else(|| article.child("ArticleDate").and_then(dates::iso)),
        metadata: metadata::of_article(citation, article, data),
    }
    .document()
}

/// The title, or the vernacular one where there is none, as PubMed shows it.
fn title<'x>(article: Element<'_, 'x>) -> Option<Cow<'x, str>> {
    let is_there = |title: &Cow<'x, str>| !marks::is_placeholder(title);
    article
        .text_of("ArticleTitle")
        .filter(is_there)
        .or_else(|| article.text_of("VernacularTitle").filter(is_there))
}

/// A book or one of its chapters.
fn book(book: Element) -> Option<Document> {
    let issued = book.at(&["Book", "PubDate"]).and_then(dates::iso);
    Read {
        identified: book,
        abstracted: book,
        title: book.text_of("ArticleTitle").or_else(|| book.child("Book")?.text_of("BookTitle")),
        date: book.child("ContributionDate").and_then(dates::iso).or(issued),
        metadata: metadata::of_book(book),
    }
    .document()
}

/// What articles and books have in common.
struct Read<'t, 'x> {
    /// Has the PMID and the other abstracts.
    identified: Element<'t, 'x>,
    /// Has the abstract.
    abstracted: Element<'t, 'x>,
    title: Option<Cow<'x, str>>,
    date: Option<String>,
    metadata: Metadata<'x>,
}

impl Read<'_, '_> {
    fn document(mut self) -> Option<Document> {
        let pmid = self.identified.child("PMID")?;
        let id = pmid.text();
        if !is_pmid(&id) {
            return None;
        }
        let (text, language) = self.text();
        Some(Document {
            version: pmid
                .attribute("Version")
                .and_then(|version| version.parse().ok())
                .unwrap_or(1),
            url: Some(format!("https://pubmed.ncbi.nlm.nih.gov/{id}/")),
            id: Some(id.into_owned()),
            title: self.title.map(Cow::into_owned),
            metadata: Some(self.metadata.to_json()),
            date: self.date,
            language,

            text,
            ..Document::default()
        })
    }

    /// Title and abstract with the abstract's language; adds the sections and the other abstracts
    /// to the metadata.
    fn text(&mut self) -> (String, Option<String>) {
        let own = self.abstracted.child("Abstract");
        let mut paragraphs = own.map(sections).unwrap_or_default();
        if !paragraphs.is_empty() {
            self.metadata.sections = own.map(section_labels).unwrap_or_default();
        }
        let mut language = Cow::Borrowed("en");

        for other in self.identified.all("OtherAbstract") {
            let texts = sections(other);
            if texts.is_empty() {
                continue;
            }
            let code = other
                .attribute("Language")
                .map_or(Cow::Borrowed("en"), |code| dates::language(&code));

            if paragraphs.is_empty() {
                (paragraphs, language) = (texts, code);
            } else {
                let (kind, text) = (other.attribute("Type"), texts.join("\n\n"));
                self.metadata.other_abstracts.push(OtherAbstract { language: code, kind, text });
            }
        }

        if paragraphs.is_empty() {
            return (String::new(), None);
        }
        let texts: Vec<&str> = self
            .title
            .as_deref()
            .into_iter()
            .chain(paragraphs.iter().map(|text| &**text))
            .collect();
        (texts.join("\n\n"), Some(language.into_owned()))
    }
}

/// The sections of an abstract, each with its label in front.
fn sections<'x>(element: Element<'_, 'x>) -> Vec<Cow<'x, str>> {
    let section = |section: Element<'_, 'x>| {
        let text = section.text();
        if marks::is_placeholder(&text) || text == PLACEHOLDER {
            return None;
        }
        let label = section.attribute("Label").unwrap_or_default();
        // Some labels end with the sign that stands behind all of them.
        Some(match label.trim_end_matches([':', '.', '：', ' ']) {
            "" | "UNLABELLED" => text,
            label => Cow::Owned(format!("{label}: {text}")),
        })
    };
    element.all("AbstractText").filter_map(section).collect()
}

/// Labels and NLM's categories of the sections, where they have any.
fn section_labels<'x>(element: Element<'_, 'x>) -> Vec<Section<'x>> {
    let label = |section: Element<'_, 'x>| {
        Some(Section {
            label: section.attribute("Label")?,
            category: section.attribute("NlmCategory"),
        })
    };
    element.all("AbstractText").filter_map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::io::Read as _;

    /// Written by us in NLM's format, with its oddities.
    const SET: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2019//EN" "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">
<PubmedArticleSet>
<PubmedArticle>
<MedlineCitation Status="MEDLINE" Owner="NLM">
<PMID Version="2">101</PMID>
<Article PubModel="Print">
<Journal><ISSN IssnType="Print">0000-0001</ISSN><JournalIssue CitedMedium="Print"><Volume>7</Volume><Issue>2</Issue><PubDate><Year>2019</Year><Month>Mar</Month><Day>8</Day></PubDate></JournalIssue><Title>Journal of Tests</Title><ISOAbbreviation>J Tests</ISOAbbreviation></Journal>
<ArticleTitle>Effect of <i>p</i> &amp;lt; 0.05 on CO<sub>2</sub>.</ArticleTitle>
<ELocationID EIdType="doi" ValidYN="Y">10.1/e</ELocationID>
<Abstract><AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">Tests   matter
 &#x3b1;.</AbstractText><AbstractText Label="UNLABELLED" NlmCategory="METHODS">We wrote <b>one</b>.</AbstractText><AbstractText/><CopyrightInformation>© A</CopyrightInformation></Abstract>
<AuthorList CompleteYN="Y"><Author ValidYN="Y"><LastName>Doe</LastName><ForeName>J</ForeName><Initials>J</Initials></Author><Author ValidYN="Y"><CollectiveName>The Group</CollectiveName></Author></AuthorList>
<Language>eng</Language>
<PublicationTypeList><PublicationType UI="D016428">Journal Article</PublicationType></PublicationTypeList>
</Article>
<ChemicalList><Chemical><RegistryNumber>142M471B3J</RegistryNumber><NameOfSubstance UI="D002245">Carbon Dioxide</NameOfSubstance></Chemical></ChemicalList>
<CommentsCorrectionsList><CommentsCorrections RefType="RetractionIn"><RefSource>J Tests</RefSource><PMID Version="1">999</PMID></CommentsCorrections></CommentsCorrectionsList>
<MeshHeadingList><MeshHeading><DescriptorName UI="D002245" MajorTopicYN="N">Carbon Dioxide</DescriptorName><QualifierName UI="Q000009" MajorTopicYN="Y">adverse effects</QualifierName><QualifierName UI="Q000032" MajorTopicYN="N">analysis</QualifierName></MeshHeading><MeshHeading><DescriptorName UI="D006801" MajorTopicYN="Y">Humans</DescriptorName></MeshHeading></MeshHeadingList>
<OtherAbstract Type="Publisher" Language="fre"><AbstractText>Un essai.</AbstractText></OtherAbstract>
<KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="Y">testing</Keyword></KeywordList>
</MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">101</ArticleId><ArticleId IdType="doi">10.1/a</ArticleId><ArticleId IdType="pmc">PMC5</ArticleId></ArticleIdList>
<ReferenceList><Reference><Citation>x</Citation><ArticleIdList><ArticleId IdType="doi">10.1/cited</ArticleId></ArticleIdList></Reference></ReferenceList></PubmedData>
</PubmedArticle>
<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">102</PMID><Article><Journal><JournalIssue><PubDate><MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate></JournalIssue></Journal><ArticleTitle>[A Spanish title].</ArticleTitle><Language>spa</Language><VernacularTitle>Un título.</VernacularTitle></Article><OtherAbstract Type="Publisher" Language="spa"><AbstractText Label="OBJETIVO">Probar.</AbstractText></OtherAbstract></MedlineCitation></PubmedArticle>
<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">103</PMID><Article><ArticleTitle>No abstract.</ArticleTitle></Article></MedlineCitation></PubmedArticle>
<PubmedBookArticle><BookDocument><PMID Version="1">104</PMID><Book><Publisher><PublisherName>Press</PublisherName></Publisher><BookTitle book="b">The Book</BookTitle><PubDate><Year>2010</Year></PubDate></Book><ArticleTitle>A chapter</ArticleTitle><Language>eng</Language><Abstract><AbstractText>Of <mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML"><mml:mi>x</mml:mi></mml:math>.</AbstractText></Abstract></BookDocument></PubmedBookArticle>
<DeleteCitation>
<PMID Version="1">55</PMID>
<PMID Version="1">56</PMID>
</DeleteCitation>
</PubmedArticleSet>
"#;

    fn source() -> SourceSpec {
        SourceSpec {
            name: "p".to_owned(),
            format: "pubmed".to_owned(),
            role: "domain".to_owned(),
            ..SourceSpec::default()
        }
    }

    fn read(bytes: &[u8]) -> (Vec<Parsed>, Vec<Broken>, Option<Broken>) {
        let (mut parsed, mut refused) = (Vec::new(), Vec::new());
        let mut input = std::io::BufReader::with_capacity(61, bytes);
        let end = Pubmed.split(&mut input, &Limits::of_records(1 << 26), &mut |facts, piece| {
            match piece {
                Piece::Record(raw) => parsed.extend(Pubmed.parse(&raw, facts, &source())),
                Piece::Refused(broken) => refused.push(broken),
            }
            Ok(true)
        });
        (parsed, refused, end.unwrap())
    }

    fn metadata(document: &Document) -> Value {
        serde_json::from_str(document.metadata.as_deref().unwrap()).unwrap()
    }

    fn documents(parsed: &[Parsed]) -> Vec<&Document> {
        let mut documents = Vec::new();
        for parsed in parsed {
            if let Parsed::Document(document) = parsed {
                documents.push(&**document);
            }
        }
        documents
    }

    /// Titles and texts as Python reads them:
    /// `" ".join(html.unescape("".join(element.itertext())).split())` with `xml.etree.ElementTree`.
    #[test]
    fn citations_become_documents() {
        let (parsed, refused, end) = read(SET.as_bytes());
        assert_eq!((parsed.len(), refused.len(), end), (5, 0, None));
        let documents = documents(&parsed);
        let [article, other, book] = documents.as_slice() else { panic!("{documents:?}") };
        assert_eq!((article.id.as_deref(), article.version), (Some("101"), 2));
        assert_eq!(article.title.as_deref(), Some("Effect of p < 0.05 on CO2."));
        assert_eq!(
            article.text,
            "Effect of p < 0.05 on CO2.\n\nBACKGROUND: Tests matter α.\n\nWe wrote one."
        );
        assert_eq!(article.url.as_deref(), Some("https://pubmed.ncbi.nlm.nih.gov/101/"));
        assert_eq!(
            (article.date.as_deref(), article.language.as_deref()),
            (Some("2019-03-08"), Some("en"))
        );
        assert_eq!(other.text, "[A Spanish title].\n\nOBJETIVO: Probar.");
        assert_eq!((other.date.as_deref(), other.language.as_deref()), (Some("1998"), Some("es")));
        assert_eq!(metadata(other)["vernacular_title"], "Un título.");
        assert_eq!(metadata(other)["article_languages"], json!(["es"]));
        assert_eq!(
            (book.text.as_str(), &metadata(book)["kind"]),
            ("A chapter\n\nOf x.", &json!("book"))
        );
        assert_eq!(book.date.as_deref(), Some("2010"));
        assert!(matches!(&parsed[2], Parsed::Empty { reason: "no_text", id, version: 1,
                .. } if id == "103"));
        assert_eq!(parsed[4], Parsed::Withdraws(vec!["55".to_owned(), "56".to_owned()]));
    }

    #[test]
    fn the_metadata_tells_the_rest() {
        let (parsed, _, _) = read(SET.as_bytes());
        let expected = json!({
            "kind": "article",
            "status": "MEDLINE",
            "article_languages": ["en"],
            "journal": {"title": "Journal of Tests", "abbreviation": "J Tests", "issn": "0000-0001",
            "volume": "7", "issue": "2"},
            "authors": ["Doe J", "The Group"],
            "publication_types": ["Journal Article"],
            "mesh": [
                {"ui": "D002245", "name": "Carbon Dioxide", "major": false, "qualifiers": [
                    {"ui": "Q000009", "name": "adverse effects", "major": true},
                    {"ui": "Q000032", "name": "analysis", "major": false},
                ]},
                {"ui": "D006801", "name": "Humans", "major": true},
            ],
            "chemicals": [{"ui": "D002245", "name": "Carbon Dioxide", "registry": "142M471B3J"}],
            "keywords": [{"text": "testing", "owner": "NOTNLM", "major": true}],
            "doi": "10.1/a",
            "pmc": "PMC5",
            "copyright": "© A",
            "retracted": true,
            "sections": [
                {"label": "BACKGROUND", "category": "BACKGROUND"},
                {"label": "UNLABELLED", "category": "METHODS"},
            ],
            "other_abstracts": [{"language": "fr", "type": "Publisher", "text": "Un essai."}],
        });
        assert_eq!(metadata(documents(&parsed)[0]), expected);
    }

    #[test]
    fn other_roots_are_told() {
        let check = |xml: &str, n_parsed: usize, end: Option<&str>| {
            let (parsed, _, last) = read(xml.as_bytes());
            assert_eq!((parsed.len(), last.map(|last| last.reason)), (n_parsed, end), "{xml}");
        };
        check(&SET.replace("PubmedArticleSet", "RAW_DATA"), 5, None);
        check(
            "<MedlineCitationSet><MedlineCitation \
             Owner='NLM'><PMID>1</PMID></MedlineCitation></MedlineCitationSet>",
            1,
            None,
        );
        check("<PubmedArticle><MedlineCitation/></PubmedArticle>\n", 1, None);
        check("<PubmedArticleSet></PubmedArticleSet>", 0, None);
        check("<eSummaryResult><DocSum/></eSummaryResult>", 0, Some("wrong_format"));
        check("<html><body>", 0, Some("wrong_format"));
        check("{}", 0, Some("wrong_format"));
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_records_and_one_refusal() {
        let ends = ["</PubmedArticle>", "</PubmedBookArticle>", "</DeleteCitation>"];
        let start = SET.find("<PubmedArticleSet>").unwrap() + 18;

        for cut in start..SET.trim_end().len() {
            if !SET.is_char_boundary(cut) {
                continue;
            }
            let n_whole: usize = ends.iter().map(|end| SET[..cut].matches(end).count()).sum();
            let (parsed, refused, end) = read(&SET.as_bytes()[..cut]);
            assert_eq!((parsed.len(), refused.len()), (n_whole, 0), "{cut}");
            assert_eq!(end.map(|end| end.reason), Some("truncated"), "{cut}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_its_pmid() {
        let (parsed, _, end) = read(SET.replacen("</Language>", "", 1).as_bytes());
        assert!(matches!(&parsed[0], Parsed::Refused { reason: "malformed", id: Some(id),
                .. } if id == "101"));
        assert_eq!((parsed.len(), end), (5, None));
    }

    /// The PubMed files of the test data, unpacked; `None` where there are none.
    fn real_files() -> Option<Vec<Vec<u8>>> {
        let folder = std::path::Path::new(&std::env::var_os("KPIPE_TEST_DATA")?).join("pubmed-xml");
        let entries = [folder.join("pmid"), folder]
            .into_iter()
            .flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let read = |path: std::path::PathBuf| {
            // A folder has no bytes.
            let bytes = std::fs::read(&path).unwrap_or_default();
            if path.extension().is_none_or(|extension| extension != "gz") {
                return bytes;
            }
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
            unpacked
        };
        Some(entries.map(|entry| read(entry.unwrap().path())).collect())
    }

    #[test]
    fn real_files_hold_what_python_counts() {
        let Some(files) = real_files() else { return };
        // Citations, those with an abstract, MeSH headings, qualifiers, withdrawn PMIDs: counted
        // with `xml.etree.ElementTree` over the same files.
        let mut counts = [0; 5];

        for bytes in &files {
            let (parsed, _, _) = read(bytes);
            for parsed in &parsed {
                match parsed {
                    Parsed::Withdraws(ids) => counts[4] += ids.len(),
                    Parsed::Refused { reason, .. } | Parsed::Empty { reason, .. } => {
                        assert_eq!(*reason, "no_text");
                        counts[0] += 1;
                    }
                    Parsed::Document(document) => {
                        counts[0] += 1;
                        counts[1] += 1;
                        let metadata = metadata(document);
                        let headings = metadata.get("mesh").and_then(Value::as_array);

                        for heading in headings.into_iter().flatten() {
                            counts[2] += 1;
                            counts[3] += heading
                                .get("qualifiers")
                                .and_then(Value::as_array)
                                .map_or(0, Vec::len);
                        }
                    }
                }
            }
        }

        assert_eq!(counts, [1341, 1121, 7336, 4462, 10]);
    }

    /// The runs of digits of a stretch of XML, read without our readers: mark-up that raises,
    /// lowers or belongs to a formula ends a run, other mark-up does not; raised, lowered and
    /// fraction characters are runs of their own.
    fn runs_of_xml(xml: &str) -> Vec<String> {
        let mut plain = String::new();
        let mut rest = xml;

        while let Some(open) = rest.find('<') {
            plain.push_str(&rest[..open]);
            let close = rest[open..].find('>').unwrap();
            let tag = &rest[open + 1..open + close];
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if name.contains(':') || matches!(name, "sup" | "sub" | "mn" | "cn" | "sep") {
                plain.push('|');
            }
            rest = &rest[open + close + 1..];
        }

        plain.push_str(rest);
        let plain = crate::ingest::wikitext::decode_entities(
            &crate::ingest::wikitext::decode_entities(&plain),
        )
        .into_owned();
        let apart: String = plain
            .chars()
            .map(|c| match c {
                '²' => "|2|".into(),
                '³' => "|3|".into(),
                '¹' => "|1|".into(),
                '½' => "|1|2|".into(),
                '¼' => "|1|4|".into(),
                '¾' => "|3|4|".into(),
                '\u{2070}'..='\u{2079}' => format!("\u{1}{}", u32::from(c) - 0x2070),
                '\u{2080}'..='\u{2089}' => format!("\u{2}{}", u32::from(c) - 0x2080),

                c => c.to_string(),
            })
            .collect();
        // Raised digits side by side are one number.
        let apart = apart.replace(['\u{1}', '\u{2}'], "|");
        runs_of_text(&apart)
    }

    fn runs_of_text(text: &str) -> Vec<String> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter(|run| !run.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
        text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
    }

    /// Every number of 500 and more real records is in the text as it was, in its place.
    #[test]
    fn no_number_changes_between_record_and_text() {
        let Some(files) = real_files() else { return };
        let (mut n_records, mut n_runs, mut changed) = (0, 0, Vec::new());

        for bytes in &files {
            let xml = String::from_utf8_lossy(bytes);
            for record in between(&xml, "<MedlineCitation ", "</MedlineCitation>") {
                let raw = Raw {
                    offset: 0,
                    bytes: format!("<MedlineCitation {record}</MedlineCitation>").into_bytes(),
                };
                let parsed = Pubmed.parse(&raw, &FileFacts::default(), &source()).remove(0);
                let (Parsed::Document(document), [own]) =
                    (parsed, &between(record, "<Abstract>", "</Abstract>")[..])
                else {
                    continue;
                };
                let title = between(record, "<ArticleTitle>", "</ArticleTitle>");
                let mut expected = runs_of_xml(title.first().unwrap_or(&""));

                for section in between(own, "<AbstractText", "</AbstractText>") {
                    let (attributes, text) = section.split_once('>').unwrap();
                    let label = between(attributes, "Label=\"", "\"")
                        .first()
                        .map_or(Vec::new(), |label| runs_of_xml(label));
                    expected.extend(label);
                    expected.extend(runs_of_xml(text));
                }

                let mut found = runs_of_text(&document.text);
                if record.contains("mroot") || record.contains("mmultiscripts") {
                    // What stands behind its base in the record is read before it.
                    found.sort();
                    expected.sort();
                }

                (n_records, n_runs) = (n_records + 1, n_runs + expected.len());
                if found != expected {
                    let first = found
                        .iter()
                        .zip(&expected)
                        .position(|(a, b)| a != b)
                        .unwrap_or(found.len().min(expected.len()));
                    let near = |runs: &[String]| {
                        runs[first.min(runs.len())..runs.len().min(first + 4)].join(" ")
                    };
                    changed.push(format!(
                        "{}: {} became {}",
                        document.id.unwrap(),
                        near(&expected),
                        near(&found)
                    ));
                }
            }
        }

        assert!(n_records >= 500 && n_runs > 5_000, "{n_records} records, {n_runs} runs of digits");
        assert!(
            changed.is_empty(),
            "{} of {n_records} records:\n{}",
            changed.len(),
            changed.join("\n")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Pubmed.parse(&Raw { offset: 0, bytes: bytes.clone() }, &FileFacts::default(),
                &source());
            read(&bytes);
        }

        #[test]
        fn damaged_records_are_parsed(place in 0_usize..6000, byte: u8, cut in 0_usize..6000) {
            let mut bytes = SET.as_bytes().to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(cut.max(300));
            let start = SET.find("<PubmedArticle>").unwrap();
            Pubmed.parse(&Raw { offset: 0, bytes: bytes[start.min(bytes.len())..].to_vec() },
                &FileFacts::default(), &source());
            read(&bytes);
        }
    }

    #[test]
    fn deep_nesting_is_read() {
        let xml = format!(
            "<PubmedArticle><MedlineCitation><PMID>1</PMID><Article><Abstract><AbstractText>{}x{}</AbstractText></Abstract>\
             </Article></MedlineCitation></PubmedArticle>",
            "<i>".repeat(100_000),
            "</i>".repeat(100_000)
        );
        assert_eq!(documents(&read(xml.as_bytes()).0)[0].text, "x");
    }
}
