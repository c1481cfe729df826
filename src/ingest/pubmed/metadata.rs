//! What a citation says beside its text, as JSON; what a record lacks has no key.

use serde_json::{Map, Value, json};

use super::dates;
use super::tree::Element;

/// Keys and values of an article; `citation` is the `MedlineCitation`, `data` the `PubmedData`.
pub(super) fn of_article(citation: Element, article: Element, data: Option<Element>) -> Map<String, Value> {
    let mut map = Map::new();
    put(&mut map, "kind", json!("article"));
    put(&mut map, "status", json!(citation.attribute("Status")));
    put(&mut map, "article_languages", languages(article));
    put(&mut map, "vernacular_title", json!(article.text_of("VernacularTitle")));
    put(&mut map, "journal", article.child("Journal").map_or(Value::Null, |journal| self::journal(journal, article)));
    put(&mut map, "article_date", json!(article.child("ArticleDate").and_then(dates::iso)));
    put(&mut map, "authors", article.child("AuthorList").map_or(Value::Null, authors));
    let types = article.child("PublicationTypeList").map(|list| texts(list, "PublicationType")).unwrap_or_default();
    put(&mut map, "publication_types", json!(types));
    put(&mut map, "mesh", list(citation, "MeshHeadingList", "MeshHeading", mesh_heading));
    put(&mut map, "supplementary_mesh", list(citation, "SupplMeshList", "SupplMeshName", named));
    put(&mut map, "chemicals", list(citation, "ChemicalList", "Chemical", chemical));
    put(&mut map, "keywords", keywords(citation));
    identifiers(&mut map, article, data.and_then(|data| data.child("ArticleIdList")));
    put(&mut map, "copyright", json!(article.at(&["Abstract", "CopyrightInformation"]).map(Element::text)));
    if is_retracted(citation, &types) {
        map.insert("retracted".to_owned(), Value::Bool(true));
    }
    map
}

/// Keys and values of a book or a chapter; `document` is the `BookDocument`.
pub(super) fn of_book(document: Element) -> Map<String, Value> {
    let mut map = Map::new();
    let book = document.child("Book");
    put(&mut map, "kind", json!("book"));
    put(&mut map, "article_languages", languages(document));
    put(&mut map, "vernacular_title", json!(document.text_of("VernacularTitle")));
    put(&mut map, "book", json!(book.and_then(|book| book.text_of("BookTitle"))));
    put(
        &mut map,
        "publisher",
        json!(book.and_then(|book| book.at(&["Publisher", "PublisherName"])).map(Element::text)),
    );
    let lists = [Some(document), book].into_iter().flatten().find_map(|element| element.child("AuthorList"));
    put(&mut map, "authors", lists.map_or(Value::Null, authors));
    put(&mut map, "publication_types", json!(texts(document, "PublicationType")));
    put(&mut map, "keywords", keywords(document));
    identifiers(&mut map, document, document.child("ArticleIdList"));
    put(&mut map, "copyright", json!(document.at(&["Abstract", "CopyrightInformation"]).map(Element::text)));
    map
}

/// Adds `value` unless it is nothing.
pub(super) fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    let is_nothing = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if !is_nothing {
        map.insert(key.to_owned(), value);
    }
}

/// An object without the fields that are nothing.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut map = Map::new();
    for (key, value) in fields {
        put(&mut map, key, value);
    }
    Value::Object(map)
}

fn texts(list: Element, name: &'static str) -> Vec<String> {
    list.all(name).map(Element::text).filter(|text| !text.is_empty()).collect()
}

fn list(parent: Element, list: &str, item: &'static str, read: fn(Element) -> Value) -> Value {
    parent.child(list).map_or(Value::Null, |list| list.all(item).map(read).collect())
}

fn languages(element: Element) -> Value {
    texts(element, "Language").iter().map(|code| json!(dates::language(code))).collect()
}

fn journal(journal: Element, article: Element) -> Value {
    let issue = journal.child("JournalIssue");
    let of_issue = |name: &str| json!(issue.and_then(|issue| issue.text_of(name)));
    object([
        ("title", json!(journal.text_of("Title"))),
        ("abbreviation", json!(journal.text_of("ISOAbbreviation"))),
        ("issn", json!(journal.text_of("ISSN"))),
        ("volume", of_issue("Volume")),
        ("issue", of_issue("Issue")),
        ("pages", json!(article.at(&["Pagination", "MedlinePgn"]).map(Element::text))),
        ("medline_date", json!(issue.and_then(|issue| issue.at(&["PubDate", "MedlineDate"])).map(Element::text))),
    ])
}

/// `Curie M`, or the name of a group.
fn authors(list: Element) -> Value {
    let name = |author: Element| match author.text_of("LastName") {
        Some(last) => Some(match author.text_of("Initials") {
            Some(initials) => format!("{last} {initials}"),
            None => last,
        }),
        None => author.text_of("CollectiveName"),
    };
    json!(list.all("Author").filter_map(name).collect::<Vec<_>>())
}

fn is_major(element: Element) -> bool {
    element.attribute("MajorTopicYN").as_deref() == Some("Y")
}

fn named(element: Element) -> Value {
    object([("ui", json!(element.attribute("UI"))), ("name", json!(element.text()))])
}

fn heading_part(element: Element) -> Map<String, Value> {
    let mut map = Map::new();
    put(&mut map, "ui", json!(element.attribute("UI")));
    put(&mut map, "name", json!(element.text()));
    put(&mut map, "type", json!(element.attribute("Type")));
    put(&mut map, "major", json!(is_major(element)));
    map
}

fn mesh_heading(heading: Element) -> Value {
    let mut map = heading.child("DescriptorName").map(heading_part).unwrap_or_default();
    let qualifiers: Vec<Value> = heading.all("QualifierName").map(|name| Value::Object(heading_part(name))).collect();
    put(&mut map, "qualifiers", Value::Array(qualifiers));
    Value::Object(map)
}

fn chemical(chemical: Element) -> Value {
    let name = chemical.child("NameOfSubstance");
    object([
        ("ui", json!(name.and_then(|name| name.attribute("UI")))),
        ("name", json!(name.map(Element::text))),
        ("registry", json!(chemical.text_of("RegistryNumber").filter(|number| number != "0"))),
    ])
}

fn keywords(citation: Element) -> Value {
    let mut keywords = Vec::new();
    for list in citation.all("KeywordList") {
        let owner = list.attribute("Owner");
        for keyword in list.all("Keyword") {
            let text = keyword.text();
            if !text.is_empty() {
                let fields = [("text", json!(text)), ("owner", json!(owner)), ("major", json!(is_major(keyword)))];
                keywords.push(object(fields));
            }
        }
    }
    Value::Array(keywords)
}

/// DOI and PMC id: of the article itself, not of the works it cites.
fn identifiers(map: &mut Map<String, Value>, article: Element, ids: Option<Element>) {
    let find = |kind: &str| {
        let own = ids.and_then(|ids| ids.all("ArticleId").find(|id| id.attribute("IdType").as_deref() == Some(kind)));
        own.map(Element::text).filter(|id| !id.is_empty())
    };
    let doi =
        || article.all("ELocationID").find(|id| id.attribute("EIdType").as_deref() == Some("doi")).map(Element::text);
    put(map, "doi", json!(find("doi").or_else(doi)));
    put(map, "pmc", json!(find("pmc")));
    put(map, "bookaccession", json!(find("bookaccession")));
}

/// Whether the article was withdrawn: by its publication type, or by a retraction that points to it.
fn is_retracted(citation: Element, types: &[String]) -> bool {
    let corrections = citation.child("CommentsCorrectionsList");
    let is_pointed_at = |list: Element| {
        list.all("CommentsCorrections").any(|link| link.attribute("RefType").as_deref() == Some("RetractionIn"))
    };
    types.iter().any(|kind| kind == "Retracted Publication") || corrections.is_some_and(is_pointed_at)
}
