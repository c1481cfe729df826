//! What a citation says beside its text, as JSON; what a record lacks has no key.

use std::borrow::Cow;

use serde::Serialize;

use super::dates;
use super::tree::Element;

type Text<'x> = Cow<'x, str>;

/// The metadata of an article, a book or a chapter, in the order of its keys.
#[derive(Default, Serialize)]
pub(super) struct Metadata<'x> {
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: Text<'x>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    article_languages: Vec<Text<'x>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    vernacular_title: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    book: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    publisher: Text<'x>,
    #[serde(skip_serializing_if = "Journal::is_empty")]
    journal: Journal<'x>,
    #[serde(skip_serializing_if = "Option::is_none")]
    article_date: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authors: Vec<Text<'x>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publication_types: Vec<Text<'x>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mesh: Vec<Heading<'x>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    supplementary_mesh: Vec<Named<'x>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chemicals: Vec<Chemical<'x>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keywords: Vec<Keyword<'x>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    doi: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pmc: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    bookaccession: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    copyright: Text<'x>,
    /// Withdrawn: by its publication type, or by a retraction that points to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retracted: bool,
    /// Labels and NLM's categories of the abstract's sections, where they have any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sections: Vec<Section<'x>>,
    /// Abstracts beside the one that is the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) other_abstracts: Vec<OtherAbstract<'x>>,
}

#[derive(Default, Serialize)]
struct Journal<'x> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    abbreviation: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    issn: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    volume: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    issue: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pages: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    medline_date: Text<'x>,
}

/// A MeSH descriptor with its qualifiers.
#[derive(Default, Serialize)]
struct Heading<'x> {
    #[serde(flatten)]
    descriptor: HeadingPart<'x>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    qualifiers: Vec<HeadingPart<'x>>,
}

#[derive(Default, Serialize)]
struct HeadingPart<'x> {
    #[serde(skip_serializing_if = "str::is_empty")]
    ui: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Text<'x>,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    kind: Text<'x>,
    major: bool,
}

#[derive(Serialize)]
struct Named<'x> {
    #[serde(skip_serializing_if = "str::is_empty")]
    ui: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Text<'x>,
}

#[derive(Serialize)]
struct Chemical<'x> {
    #[serde(skip_serializing_if = "str::is_empty")]
    ui: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    registry: Text<'x>,
}

#[derive(Serialize)]
struct Keyword<'x> {
    text: Text<'x>,
    #[serde(skip_serializing_if = "str::is_empty")]
    owner: Text<'x>,
    major: bool,
}

#[derive(Serialize)]
pub(super) struct Section<'x> {
    pub(super) label: Text<'x>,
    pub(super) category: Option<Text<'x>>,
}

#[derive(Serialize)]
pub(super) struct OtherAbstract<'x> {
    pub(super) language: Text<'x>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Text<'x>>,
    pub(super) text: String,
}

/// What an article says; `citation` is the `MedlineCitation`, `data` the `PubmedData`.
pub(super) fn of_article<'x>(
    citation: Element<'_, 'x>,
    article: Element<'_, 'x>,
    data: Option<Element<'_, 'x>>,
) -> Metadata<'x> {
    let publication_types =
        article.child("PublicationTypeList").map(|list| texts(list, "PublicationType"));
    let publication_types = publication_types.unwrap_or_default();
    let ids = Identifiers { article, ids: data.and_then(|data| data.child("ArticleIdList")) };
    Metadata {
        kind: "article",
        status: citation.attribute("Status").unwrap_or_default(),
        article_languages: languages(article),
        vernacular_title: text_of(article, "VernacularTitle"),
        journal: article
            .child("Journal")
            .map(|journal| Journal::read(journal, article))
            .unwrap_or_default(),
        article_date: article.child("ArticleDate").and_then(dates::iso),
        authors: article.child("AuthorList").map(authors).unwrap_or_default(),
        mesh: list(citation, "MeshHeadingList", "MeshHeading", Heading::read),
        supplementary_mesh: list(citation, "SupplMeshList", "SupplMeshName", Named::read),
        chemicals: list(citation, "ChemicalList", "Chemical", Chemical::read),
        keywords: keywords(citation),
        doi: ids.doi(),
        pmc: ids.find("pmc"),
        bookaccession: ids.find("bookaccession"),
        copyright: text_at(article, &["Abstract", "CopyrightInformation"]),
        retracted: is_retracted(citation, &publication_types),
        publication_types,
        ..Metadata::default()
    }
}

/// What a book or a chapter says; `document` is the `BookDocument`.
pub(super) fn of_book<'x>(document: Element<'_, 'x>) -> Metadata<'x> {
    let book = document.child("Book");
    let lists = [Some(document), book]
        .into_iter()
        .flatten()
        .find_map(|element| element.child("AuthorList"));
    let ids = Identifiers { article: document, ids: document.child("ArticleIdList") };
    Metadata {
        kind: "book",
        article_languages: languages(document),
        vernacular_title: text_of(document, "VernacularTitle"),
        book: book.map(|book| text_of(book, "BookTitle")).unwrap_or_default(),
        publisher: book
            .map(|book| text_at(book, &["Publisher", "PublisherName"]))
            .unwrap_or_default(),
        authors: lists.map(authors).unwrap_or_default(),
        publication_types: texts(document, "PublicationType"),
        keywords: keywords(document),
        doi: ids.doi(),
        pmc: ids.find("pmc"),
        bookaccession: ids.find("bookaccession"),
        copyright: text_at(document, &["Abstract", "CopyrightInformation"]),
        ..Metadata::default()
    }
}

impl Metadata<'_> {
    /// As a JSON object.
    pub(super) fn to_json(&self) -> String {
        // It has no map whose keys are no strings and no number that JSON lacks, so this cannot
        // fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl<'x> Journal<'x> {
    fn read(journal: Element<'_, 'x>, article: Element<'_, 'x>) -> Self {
        let issue = journal.child("JournalIssue");
        let of_issue = |path: &[&str]| issue.map(|issue| text_at(issue, path)).unwrap_or_default();
        Journal {
            title: text_of(journal, "Title"),
            abbreviation: text_of(journal, "ISOAbbreviation"),
            issn: text_of(journal, "ISSN"),
            volume: of_issue(&["Volume"]),
            issue: of_issue(&["Issue"]),
            pages: text_at(article, &["Pagination", "MedlinePgn"]),
            medline_date: of_issue(&["PubDate", "MedlineDate"]),
        }
    }

    fn is_empty(&self) -> bool {
        let Journal { title, abbreviation, issn, volume, issue, pages, medline_date } = self;
        [title, abbreviation, issn, volume, issue, pages, medline_date]
            .iter()
            .all(|text| text.is_empty())
    }
}

impl<'x> Heading<'x> {
    fn read(heading: Element<'_, 'x>) -> Self {
        Heading {
            descriptor: heading.child("DescriptorName").map(HeadingPart::read).unwrap_or_default(),
            qualifiers: heading.all("QualifierName").map(HeadingPart::read).collect(),
        }
    }
}

impl<'x> HeadingPart<'x> {
    fn read(part: Element<'_, 'x>) -> Self {
        let attribute = |name: &str| part.attribute(name).unwrap_or_default();
        HeadingPart {
            ui: attribute("UI"),
            name: part.text(),
            kind: attribute("Type"),
            major: is_major(part),
        }
    }
}

impl<'x> Named<'x> {
    fn read(element: Element<'_, 'x>) -> Self {
        Named { ui: element.attribute("UI").unwrap_or_default(), name: element.text() }
    }
}

impl<'x> Chemical<'x> {
    fn read(chemical: Element<'_, 'x>) -> Self {
        let name = chemical.child("NameOfSubstance");
        Chemical {
            ui: name.and_then(|name| name.attribute("UI")).unwrap_or_default(),
            name: name.map(Element::text).unwrap_or_default(),
            registry: chemical
                .text_of("RegistryNumber")
                .filter(|number| number != "0")
                .unwrap_or_default(),
        }
    }
}

fn text_of<'x>(element: Element<'_, 'x>, name: &str) -> Text<'x> {
    element.text_of(name).unwrap_or_default()
}

fn text_at<'x>(element: Element<'_, 'x>, path: &[&str]) -> Text<'x> {
    element.at(path).map(Element::text).unwrap_or_default()
}

fn texts<'x>(list: Element<'_, 'x>, name: &'static str) -> Vec<Text<'x>> {
    list.all(name).map(Element::text).filter(|text| !text.is_empty()).collect()
}

fn list<'t, 'x, T>(
    parent: Element<'t, 'x>,
    list: &str,
    item: &'static str,
    read: fn(Element<'t, 'x>) -> T,
) -> Vec<T> {
    parent.child(list).map(|list| list.all(item).map(read).collect()).unwrap_or_default()
}

fn languages<'x>(element: Element<'_, 'x>) -> Vec<Text<'x>> {
    texts(element, "Language").iter().map(|code| dates::language(code)).collect()
}

/// `Curie M`, or the name of a group.
fn authors<'x>(list: Element<'_, 'x>) -> Vec<Text<'x>> {
    let name = |author: Element<'_, 'x>| match author.text_of("LastName") {
        Some(last) => Some(match author.text_of("Initials") {
            Some(initials) => Cow::Owned(format!("{last} {initials}")),
            None => last,
        }),
        None => author.text_of("CollectiveName"),
    };
    list.all("Author").filter_map(name).collect()
}

fn is_major(element: Element) -> bool {
    element.attribute("MajorTopicYN").as_deref() == Some("Y")
}

fn keywords<'x>(citation: Element<'_, 'x>) -> Vec<Keyword<'x>> {
    let mut keywords = Vec::new();
    for list in citation.all("KeywordList") {
        let owner = list.attribute("Owner").unwrap_or_default();
        for keyword in list.all("Keyword") {
            let text = keyword.text();
            if !text.is_empty() {
                keywords.push(Keyword { text, owner: owner.clone(), major: is_major(keyword) });
            }
        }
    }
    keywords
}

/// Where the identifiers of an article itself stand, not those of the works it cites.
struct Identifiers<'t, 'x> {
    article: Element<'t, 'x>,
    ids: Option<Element<'t, 'x>>,
}

impl<'x> Identifiers<'_, 'x> {
    fn find(&self, kind: &str) -> Text<'x> {
        let is_kind = |id: &Element<'_, '_>| id.attribute("IdType").as_deref() == Some(kind);
        self.ids
            .and_then(|ids| ids.all("ArticleId").find(is_kind))
            .map(Element::text)
            .unwrap_or_default()
    }

    fn doi(&self) -> Text<'x> {
        let own = self.find("doi");
        if !own.is_empty() {
            return own;
        }
        let is_doi = |id: &Element<'_, '_>| id.attribute("EIdType").as_deref() == Some("doi");
        self.article.all("ELocationID").find(is_doi).map(Element::text).unwrap_or_default()
    }
}

fn is_retracted(citation: Element, types: &[Text<'_>]) -> bool {
    let corrections = citation.child("CommentsCorrectionsList");
    let is_pointed_at = |list: Element| {
        list.all("CommentsCorrections")
            .any(|link| link.attribute("RefType").as_deref() == Some("RetractionIn"))
    };
    types.iter().any(|kind| kind == "Retracted Publication")
        || corrections.is_some_and(is_pointed_at)
}
