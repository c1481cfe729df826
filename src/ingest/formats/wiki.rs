//! MediaWiki XML dumps, export schema 0.3 to 0.11: articles as plain text.
//!
//! Comes in: `pages-articles` and history dumps of any wiki. Goes out: one document an article,
//! from its latest revision in the file. Id `en:12` (wiki and page id), version the revision id,
//! date the revision's timestamp, URL from the wiki's base address and the title, language from
//! `xml:lang`. The dump does not say its licence, so the source has to. Metadata: `page_id`,
//! `revision_id`, `namespace`, `model`.
//!
//! Refused: pages outside namespace 0 (dumps before 0.5 name no namespace; there the title's prefix
//! counts), redirects, disambiguation pages, content that is not wikitext, articles without prose;
//! and with them older revisions of theirs that were articles. How wikitext becomes text:
//! `wikitext`.

use std::borrow::Cow;
use std::io::BufRead;

use memchr::{memchr, memmem};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::json;

use super::{Broken, Document, Emit, FileFacts, Format, Limits, Parsed, Piece, Raw, SourceSpec};
use crate::error::Result;
use crate::flow::books::{DROPPED, DROPPED_INLINE, PROSE_LINES};
use crate::ingest::wikitext::{self, Site};
use crate::ingest::xml::{self, Cut, Cutter};

mod markers;

/// The format `wiki`.
pub struct Wiki;

impl Format for Wiki {
    fn name(&self) -> &'static str {
        "wiki"
    }

    fn has_versions(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "MediaWiki dumps: articles as plain text; redirects, disambiguations and other namespaces \
         are refused"
    }

    fn recognises(&self, head: &[u8]) -> Option<usize> {
        memmem::find(head, b"<mediawiki")
    }

    fn split(
        &self,
        input: &mut dyn BufRead,
        limits: &Limits,
        emit: Emit<'_>,
    ) -> Result<Option<Broken>> {
        let mut cutter = Cutter::new(input, &["page", "siteinfo"], limits.max_record_bytes);
        let mut facts = FileFacts::default();

        loop {
            let piece = match cutter.next() {
                Cut::Root(tag) if is_mediawiki(cutter.root()) => {
                    facts = root_facts(&tag);
                    continue;
                }
                Cut::Element { offset, bytes, .. } if !is_mediawiki(cutter.root()) => {
                    return Ok(Some(wrong_root(cutter.root(), offset, bytes)));
                }
                Cut::Root(tag) => return Ok(Some(wrong_root(cutter.root(), 0, tag))),
                Cut::Element { name: 1, bytes, .. } => {
                    site_facts(&String::from_utf8_lossy(&bytes), &mut facts);
                    continue;
                }
                Cut::Element { offset, bytes, .. } => Piece::Record(Raw { offset, bytes }),
                Cut::Refused(broken) => Piece::Refused(broken),

                Cut::End(end) => return Ok(end),
            };
            if !emit(&facts, piece)? {
                return Ok(None);
            }
        }
    }

    fn parse(&self, raw: &Raw, facts: &FileFacts, _source: &SourceSpec) -> Vec<Parsed> {
        let (xml, repaired) = xml::decode(&raw.bytes);
        vec![match Page::read(&Skeleton::of(&xml)) {
            Ok(page) => page.into_document(facts, repaired),
            Err(detail) => Parsed::Refused { reason: "malformed", id: None, detail },
        }]
    }
}

fn is_mediawiki(root: &[u8]) -> bool {
    root == b"mediawiki" || root.ends_with(b":mediawiki")
}

fn wrong_root(root: &[u8], offset: u64, bytes: Vec<u8>) -> Broken {
    let detail =
        format!("the root element is `{}`, not `mediawiki`", String::from_utf8_lossy(root));
    Broken { bytes, ..Broken::new(offset, "wrong_format", detail) }
}

/// What the root element says: the schema's version and the language.
fn root_facts(tag: &[u8]) -> FileFacts {
    let tag = String::from_utf8_lossy(tag);
    let mut facts = FileFacts::default();

    for (attribute, fact) in [("version", "version"), ("xml:lang", "language")] {
        if let Some(value) = xml::attribute(&tag, attribute).filter(|value| !value.is_empty()) {
            facts.0.insert(fact.to_owned(), value.to_owned());
        }
    }

    if let Some(language) = facts.0.get("language").cloned() {
        facts.0.insert("wiki".to_owned(), language);
    }
    facts
}

/// What `<siteinfo>` says: names, addresses, and `namespaces` as lines of `key<TAB>name`.
fn site_facts(xml: &str, facts: &mut FileFacts) {
    let mut reader = Reader::from_str(xml);
    let (mut name, mut key, mut text, mut namespaces) =
        (String::new(), String::new(), String::new(), String::new());

    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                name = start.local_name().as_ref().to_owned();
                key = xml::attribute(start.as_ref(), "key").unwrap_or_default().to_owned();
                text.clear();
            }
            Ok(Event::Text(piece)) => text.push_str(&piece),
            Ok(Event::GeneralRef(entity)) => {
                text.push_str(&wikitext::decode_entities(&format!("&{};", &*entity)))
            }
            Ok(Event::End(_)) => {
                let value = text.trim();
                match name.as_str() {
                    "namespace" if !value.is_empty() => {
                        namespaces.push_str(&format!("{key}\t{value}\n"))
                    }
                    "sitename" | "dbname" | "base" | "case" if !value.is_empty() => {
                        facts.0.insert(name.clone(), value.to_owned());
                    }
                    _ => {}
                }
                name.clear();
            }

            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }

    facts.0.insert("namespaces".to_owned(), namespaces);
    let host = facts
        .0
        .get("base")
        .and_then(|base| base.split("//").nth(1)?.split('.').next())
        .map(str::to_owned);
    let wiki = match facts.0.get("dbname") {
        Some(name) => Some(name.strip_suffix("wiki").unwrap_or(name).replace('_', "-")),
        None => host.clone(),
    };
    if let Some(wiki) = wiki {
        facts.0.insert("wiki".to_owned(), wiki);
    }

    if let Some(host) = host.filter(|host| host != "www") {
        facts.0.entry("language".to_owned()).or_insert(host);
    }
}

/// A page without what stands in its `<text>` elements, which is nearly all of it and no mark-up:
/// the XML parser would look at every reference in it, and check its encoding twice.
struct Skeleton<'x> {
    xml: Cow<'x, str>,
    /// The texts taken out, each with the place in `xml` where it stood.
    texts: Vec<(usize, &'x str)>,
}

impl<'x> Skeleton<'x> {
    /// Takes a text out only where nothing but its close tag can be meant to end it. In a page with
    /// comments, CDATA or instructions, where a tag may be none, all stay.
    fn of(page: &'x str) -> Self {
        let (mut xml, mut texts) = (String::new(), Vec::new());
        let (mut kept, mut at) = (0, 0);

        while let Some(distance) = memchr(b'<', &page.as_bytes()[at..]) {
            at += distance;
            let tag = &page[at..];
            if tag.starts_with("<!") || tag.starts_with("<?") {
                return Skeleton { xml: Cow::Borrowed(page), texts: Vec::new() };
            }
            at += 1;
            let Some(length) = text_tag(tag) else { continue };
            let content = at - 1 + length;
            let end = memchr(b'<', &page.as_bytes()[content..])
                .map_or(page.len(), |distance| content + distance);

            if page[end..].starts_with("</text") {
                xml.push_str(&page[kept..content]);
                texts.push((xml.len(), &page[content..end]));
                kept = end;
            }

            at = end;
        }

        if texts.is_empty() {
            return Skeleton { xml: Cow::Borrowed(page), texts };
        }
        xml.push_str(&page[kept..]);
        Skeleton { xml: Cow::Owned(xml), texts }
    }

    /// What was taken out at a place of `xml`.
    fn text_at(&self, place: u64) -> Option<&'x str> {
        let idx = self.texts.binary_search_by_key(&place, |(place, _)| *place as u64).ok()?;
        Some(self.texts[idx].1)
    }
}

/// Length of the open tag `<text ...>` that `xml` begins with, if it is one and its end is certain.
fn text_tag(xml: &str) -> Option<usize> {
    let attributes =
        xml.strip_prefix("<text").filter(|rest| rest.starts_with(['>', ' ', '\t', '\n', '\r']))?;
    let attributes = &attributes[..memchr(b'>', attributes.as_bytes())?];
    let quotes = attributes.bytes().filter(|byte| *byte == b'"').count();
    let is_certain = quotes % 2 == 0 && !attributes.contains('\'') && !attributes.ends_with('/');
    is_certain.then(|| "<text".len() + attributes.len() + 1)
}

/// One revision of a page.
#[derive(Default)]
struct Revision<'x> {
    id: u64,
    timestamp: String,
    model: Option<String>,
    text: Cow<'x, str>,
}

/// A page as it stands in the file.
#[derive(Default)]
struct Page<'x> {
    title: String,
    namespace: Option<i32>,
    id: Option<u64>,
    redirect: Option<String>,
    revision: Option<Revision<'x>>,
}

impl<'x> Page<'x> {
    /// Reads a `<page>` element; of several revisions the latest.
    fn read(skeleton: &'x Skeleton<'x>) -> std::result::Result<Self, String> {
        let mut reader = Reader::from_str(&skeleton.xml);
        let mut page = Page::default();
        let mut revision: Option<Revision> = None;
        let mut depth = 0_usize;

        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => {
                    depth += 1;
                    let name = start.local_name();

                    match (depth, name.as_ref()) {
                        (2, "revision" | "upload") => revision = Some(Revision::default()),
                        (2, "title" | "ns" | "id" | "redirect")
                        | (3, "id" | "timestamp" | "model" | "text") => {
                            let taken_out = skeleton.text_at(reader.buffer_position());
                            let text = reader
                                .read_text(start.to_end().name())
                                .map_err(|error| error.to_string())?;
                            let text = taken_out.map_or_else(|| text.into_inner(), Cow::Borrowed);
                            depth -= 1;
                            let field = name.as_ref();

                            match revision.as_mut() {
                                Some(revision) if depth == 2 => revision.set(field, text),
                                _ => page.set(field, xml::text(text).trim()),
                            }
                        }
                        _ => {}
                    }
                }

                Event::Empty(empty) if depth == 1 && empty.local_name().as_ref() == "redirect" => {
                    let target = xml::attribute(empty.as_ref(), "title").unwrap_or_default();
                    page.redirect = Some(wikitext::decode_entities(target).into_owned());
                }
                Event::End(_) => {
                    depth = depth.saturating_sub(1);
                    if depth == 1
                        && let Some(done) = revision.take()
                    {
                        page.keep_latest(done);
                    }
                }

                Event::Eof => return Ok(page),
                _ => {}
            }
        }
    }

    fn set(&mut self, field: &str, value: &str) {
        match field {
            "title" => self.title = value.to_owned(),
            "ns" => self.namespace = value.parse().ok(),
            "id" => self.id = value.parse().ok(),
            "redirect" => self.redirect = Some(value.to_owned()),
            _ => {}
        }
    }

    fn keep_latest(&mut self, revision: Revision<'x>) {
        let is_latest =
            |kept: &Revision| (&revision.timestamp, revision.id) >= (&kept.timestamp, kept.id);
        if self.revision.as_ref().is_none_or(is_latest) {
            self.revision = Some(revision);
        }
    }

    fn into_document(self, facts: &FileFacts, repaired: u64) -> Parsed {
        let fact = |name: &str| facts.0.get(name).map(String::as_str);
        let Some(page_id) = self.id.filter(|_| !self.title.is_empty()) else {
            return Parsed::Refused {
                reason: "malformed",
                id: None,
                detail: "the page has no title or no id".to_owned(),
            };
        };

        let id = format!("{}:{page_id}", fact("wiki").unwrap_or("wiki"));
        let version = self.revision.as_ref().map(|revision| revision.id);
        let refused = |reason, detail: String| match version {
            Some(version) => Parsed::Empty { reason, id: id.clone(), version, detail },
            None => Parsed::Refused { reason, id: Some(id.clone()), detail },
        };
        let namespaces = Namespaces::new(fact("namespaces").unwrap_or_default());
        let namespace = self.namespace.unwrap_or_else(|| namespaces.of_title(&self.title));

        if namespace != 0 {
            return refused("namespace", format!("`{}` is in namespace {namespace}", self.title));
        }
        let Some(revision) = self.revision else {
            return refused("no_text", format!("`{}` has no revision", self.title));
        };
        if let Some(target) = self.redirect.or_else(|| markers::redirect(&revision.text)) {
            return refused("redirect", format!("`{}` points to `{target}`", self.title));
        }
        let model = revision.model.as_deref().unwrap_or("wikitext");

        if model != "wikitext" {
            return refused(
                "not_a_record",
                format!("the content of `{}` is {model}, not wikitext", self.title),
            );
        }

        let site = Site {
            language: fact("language").unwrap_or_default(),
            title: &self.title,
            files: namespaces.named(&[6]),
            categories: namespaces.named(&[14]),
        };

        let cleaned = wikitext::clean(&revision.text, &site);
        if cleaned.disambiguation || markers::is_disambiguation_title(&self.title) {
            return refused("disambiguation", format!("`{}` lists meanings", self.title));
        }
        if cleaned.text.is_empty() {
            return refused("no_text", format!("`{}` has no prose", self.title));
        }
        let dropped: u64 = cleaned.unknown.values().sum();
        let mut counts: Vec<(String, u64)> = cleaned
            .unknown
            .into_iter()
            .map(|(name, n)| (format!("{DROPPED}`{name}`"), n))
            .collect();
        counts.extend([
            (PROSE_LINES.to_owned(), cleaned.n_lines),
            (DROPPED_INLINE.to_owned(), dropped),
        ]);
        let metadata = json!({"page_id": page_id, "revision_id": revision.id,
            "namespace": namespace, "model": model});

        Parsed::Document(Box::new(Document {
            version: revision.id,
            text: cleaned.text,
            url: fact("base").map(|base| page_url(base, &self.title)),
            language: fact("language").map(str::to_owned),
            date: Some(revision.timestamp).filter(|timestamp| !timestamp.is_empty()),
            metadata: Some(metadata.to_string()),
            title: Some(self.title),
            repaired,
            counts,

            id: Some(id),
            ..Document::default()
        }))
    }
}

impl<'x> Revision<'x> {
    fn set(&mut self, field: &str, value: Cow<'x, str>) {
        match field {
            "id" => self.id = value.trim().parse().unwrap_or(0),
            "timestamp" => self.timestamp = value.trim().to_owned(),
            "model" => self.model = Some(value.trim().to_owned()),
            "text" => self.text = xml::text(value),
            _ => {}
        }
    }
}

/// The wiki's own names of its namespaces.
struct Namespaces<'f>(Vec<(i32, &'f str)>);

impl<'f> Namespaces<'f> {
    fn new(lines: &'f str) -> Self {
        let pairs = lines.lines().filter_map(|line| line.split_once('\t'));
        Namespaces(pairs.filter_map(|(key, name)| Some((key.parse().ok()?, name))).collect())
    }

    /// Lower-case names of the namespaces with these keys.
    fn named(&self, keys: &[i32]) -> Vec<String> {
        self.0
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .map(|(_, name)| name.to_lowercase())
            .collect()
    }

    /// Namespace by the prefix of a title, for dumps that do not say it.
    fn of_title(&self, title: &str) -> i32 {
        let prefix =
            title.split_once(':').map(|(prefix, _)| prefix.trim().replace('_', " ").to_lowercase());
        prefix
            .and_then(|prefix| {
                Some(self.0.iter().find(|(_, name)| name.to_lowercase() == prefix)?.0)
            })
            .unwrap_or(0)
    }
}

/// Address of the page called `title`; `base` is that of the wiki's main page.
fn page_url(base: &str, title: &str) -> String {
    let folder = base.rfind('/').map_or(base, |slash| &base[..=slash]);
    let mut url = String::with_capacity(folder.len() + title.len() * 2);
    url.push_str(folder);

    for byte in title.bytes() {
        match byte {
            b' ' => url.push('_'),
            // What MediaWiki's own addresses leave as it is (`wfUrlencode`).
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => url.push(char::from(byte)),
            b'-' | b'_' | b'.' | b';' | b'@' | b'$' | b'!' | b'*' | b'(' | b')' | b',' | b'/'
            | b'~' | b':' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }

    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::books::Books;
    use proptest::prelude::*;
    use std::io::Read;

    const SITE: &str = "<siteinfo><sitename>Test</sitename><dbname>frwiki</dbname><base>https://fr.example.org/wiki/Accueil</base>\
        <case>first-letter</case><namespaces><namespace key=\"-2\">Média</namespace><namespace \
        key=\"0\" />\
        <namespace key=\"1\">Discussion</namespace><namespace \
        key=\"6\">Fichier</namespace></namespaces></siteinfo>";

    fn dump(pages: &str) -> String {
        format!(
            "<mediawiki xmlns=\"http://www.mediawiki.org/xml/export-0.10/\" version=\"0.10\" \
             xml:lang=\"fr\">\n{SITE}\n{pages}\n</mediawiki>\n"
        )
    }

    fn page(id: u64, title: &str, text: &str) -> String {
        format!(
            "<page>\n<title>{title}</title>\n<ns>0</ns>\n<id>{id}</id>\n<revision>\n<id>{}</id>\n\
             <timestamp>2020-01-02T03:04:05Z</timestamp>\n<contributor><username>A</username><id>9</id></contributor>\n\
             <model>wikitext</model>\n<format>text/x-wiki</format>\n<text bytes=\"1\" \
             xml:space=\"preserve\">{text}</text>\n\
             </revision>\n</page>\n",
            id + 1000
        )
    }

    fn source() -> SourceSpec {
        SourceSpec {
            name: "wiki".to_owned(),
            format: "wiki".to_owned(),
            role: "domain".to_owned(),
            ..SourceSpec::default()
        }
    }

    /// Everything in a file: what its records parse to, what the splitter refused, how the file
    /// ended.
    fn read(
        bytes: &[u8],
        max_record_bytes: usize,
        chunk: usize,
    ) -> (Vec<Parsed>, Vec<Broken>, Option<Broken>) {
        let (mut parsed, mut refused) = (Vec::new(), Vec::new());
        let mut input = std::io::BufReader::with_capacity(chunk, bytes);
        let end =
            Wiki.split(&mut input, &Limits::of_records(max_record_bytes), &mut |facts, piece| {
                match piece {
                    Piece::Record(raw) => {
                        assert!(bytes[raw.offset as usize..].starts_with(&raw.bytes));
                        parsed.extend(Wiki.parse(&raw, facts, &source()));
                    }
                    Piece::Refused(broken) => refused.push(broken),
                }
                Ok(true)
            });
        (parsed, refused, end.unwrap())
    }

    fn outcome(parsed: &Parsed) -> String {
        match parsed {
            Parsed::Document(document) => {
                format!("{} {}", document.id.as_deref().unwrap_or("-"), document.text)
            }
            Parsed::Refused { reason, id, .. } => {
                format!("{} {reason}", id.as_deref().unwrap_or("-"))
            }
            Parsed::Empty { reason, id, .. } => format!("{id} {reason}"),
            Parsed::Withdraws(_) => "withdraws".to_owned(),
        }
    }

    /// A damaged open tag, and a comment that is never closed, cost a refusal and not the pages
    /// behind them.
    #[test]
    fn damage_between_pages_is_contained() {
        let good = |id| page(id, &format!("T{id}"), "whole");
        let lost = good(2).replace("<page>", "<paqe>");

        for (between, n_whole, detail) in [
            (lost.as_str(), 2, "`</page>` closes nothing"),
            ("<!-- not closed", 2, "no `-->` closes what opens here"),
            ("<?not closed", 2, "no `?>` closes what opens here"),
            ("<![CDATA[ not closed <!-- ", 2, "no `]]>` closes what opens here"),
        ] {
            let xml = dump(&format!("{}{between}{}", good(1), good(3)));
            for chunk in [7, 1 << 16] {
                let (parsed, refused, end) = read(xml.as_bytes(), 10_000, chunk);
                assert_eq!((parsed.len(), end), (n_whole, None), "{between}");
                let details: Vec<&str> =
                    refused.iter().map(|broken| broken.detail.as_str()).collect();
                assert_eq!(details, [detail], "{between}");
                assert_eq!(refused[0].reason, "malformed");
                assert!(
                    xml.as_bytes()[refused[0].offset as usize..].starts_with(&refused[0].bytes)
                );
            }
        }

        let commented = dump(&format!("{}<!-- {} -->{}", good(1), good(2), good(3)));
        let (parsed, refused, end) = read(commented.as_bytes(), 10_000, 64);
        assert_eq!((parsed.len(), refused.len(), end), (2, 0, None));
        // As many comments as there are bytes cost one look and not one each.
        let many = dump(&format!("{}{}{}", good(1), "<!--".repeat(200_000), good(3)));
        assert_eq!(read(many.as_bytes(), 1 << 20, 1 << 16).1.len(), 1);
    }

    #[test]
    fn a_page_becomes_a_document() {
        let xml = dump(&page(
            7,
            "C&amp;A d'été (x)",
            "&quot;Un&quot; [[Fichier:a.png|b]] &amp;nbsp; mot &lt;ref&gt;c&lt;/ref&gt;",
        ));
        let (parsed, refused, end) = read(xml.as_bytes(), 1 << 20, 8192);
        assert_eq!((refused.len(), end), (0, None));
        let [Parsed::Document(document)] = parsed.as_slice() else { panic!("{parsed:?}") };
        assert_eq!(document.id.as_deref(), Some("fr:7"));
        assert_eq!(document.version, 1007);
        assert_eq!(document.text, "\"Un\" mot");
        assert_eq!(document.title.as_deref(), Some("C&A d'été (x)"));
        assert_eq!(
            document.url.as_deref(),
            Some("https://fr.example.org/wiki/C%26A_d%27%C3%A9t%C3%A9_(x)")
        );
        assert_eq!(document.language.as_deref(), Some("fr"));
        assert_eq!(document.date.as_deref(), Some("2020-01-02T03:04:05Z"));
        let metadata = r#"{"page_id":7,"revision_id":1007,"namespace":0,"model":"wikitext"}"#;

        assert_eq!(document.metadata.as_deref(), Some(metadata));
    }

    #[test]
    fn pages_that_are_no_articles_are_refused() {
        let check = |page: String, expected: &str| {
            let (parsed, _, _) = read(dump(&page).as_bytes(), 1 << 20, 8192);
            assert_eq!(parsed.iter().map(outcome).collect::<Vec<_>>(), [expected], "{page}");
        };
        check(page(1, "A", "#REDIRECT [[B]]"), "fr:1 redirect");
        check(
            page(1, "A", "x").replace("<id>1</id>", "<id>1</id><redirect title=\"B\" />"),
            "fr:1 redirect",
        );
        check(page(1, "A", "{{homonymie}}"), "fr:1 disambiguation");
        check(page(1, "A (homonymie)", "x"), "fr:1 disambiguation");
        check(page(1, "Discussion:A", "x").replace("<ns>0</ns>", "<ns>1</ns>"), "fr:1 namespace");
        check(page(1, "Discussion:A", "x").replace("<ns>0</ns>", ""), "fr:1 namespace");
        check(page(1, "Titre : sous-titre", "x").replace("<ns>0</ns>", ""), "fr:1 x");
        check(page(1, "A", "{{x}}"), "fr:1 no_text");
        check(page(1, "A", "x").replace("wikitext", "json"), "fr:1 not_a_record");
        check(page(1, "", "x"), "- malformed");
        check(page(1, "A", "x").replace("</revision>", ""), "- malformed");
        check(
            page(1, "A", "").replace("\"preserve\"></text>", "\"preserve\" deleted=\"deleted\" />"),
            "fr:1 no_text",
        );
    }

    #[test]
    fn the_latest_revision_counts() {
        let revision = |id: u64, day: u64, text: &str| {
            format!(
                "<revision><id>{id}</id><timestamp>2020-01-{day:02}T00:00:00Z</timestamp><text>{text}</text></revision>"
            )
        };
        let page = format!(
            "<page><title>A</title><ns>0</ns><id>1</id>{}{}{}</page>",
            revision(5, 1, "old"),
            revision(6, 3, "new"),
            revision(7, 2, "moved")
        );

        let (parsed, _, _) = read(dump(&page).as_bytes(), 1 << 20, 8192);
        assert_eq!(outcome(&parsed[0]), "fr:1 new");
        // Slots of schema 0.11 beside the main one do not count.
        let slots = page
            .replace("<text>new", "<content><role>x</role><text>slot</text></content><text>new");
        assert_eq!(outcome(&read(dump(&slots).as_bytes(), 1 << 20, 8192).0[0]), "fr:1 new");
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_pages_and_one_refusal() {
        let xml = dump(&(page(1, "A", "a") + &page(2, "B", "b")));
        let closed = |cut: usize| memmem::find_iter(&xml.as_bytes()[..cut], "</page>").count();

        for cut in 0..xml.trim_end().len() {
            let (parsed, refused, end) = read(&xml.as_bytes()[..cut], 1 << 20, 7);
            assert_eq!((parsed.len(), refused.len()), (closed(cut), 0), "{cut}");
            let end = end.unwrap_or_else(|| panic!("cut at {cut} is not told"));
            assert!(
                end.offset as usize <= cut && (end.reason == "truncated" || cut == 0),
                "{cut} {end:?}"
            );
        }

        assert_eq!(read(xml.trim_end().as_bytes(), 1 << 20, 7).2, None);
    }

    #[test]
    fn damage_costs_only_what_is_damaged() {
        let check =
            |xml: &str, max: usize, expected: &[&str], refused: &[&str], end: Option<&str>| {
                for chunk in [1, 13, 8192] {
                    let (parsed, broken, last) = read(xml.as_bytes(), max, chunk);
                    assert_eq!(parsed.iter().map(outcome).collect::<Vec<_>>(), expected, "{chunk}");
                    assert_eq!(
                        broken.iter().map(|broken| broken.reason).collect::<Vec<_>>(),
                        refused,
                        "{chunk}"
                    );
                    assert_eq!(last.map(|last| last.reason), end, "{chunk}");
                }
            };

        let (a, b, long) = (page(1, "A", "a"), page(2, "B", "b"), page(3, "C", &"c".repeat(5000)));
        let unclosed = a.replace("</page>", "");
        check(&dump(&(unclosed.clone() + &b)), 1 << 20, &["fr:2 b"], &["malformed"], None);
        check(&dump(&(a.clone() + &long + &b)), 1000, &["fr:1 a", "fr:2 b"], &["too_large"], None);
        check(
            &dump(&(unclosed.replace("A", &"x".repeat(3000)) + &b)),
            1000,
            &["fr:2 b"],
            &["too_large"],
            None,
        );
        check(&dump("<page/>"), 1000, &["- malformed"], &[], None);
        check(&(dump(&a) + &dump(&b)), 1000, &["fr:1 a", "fr:2 b"], &[], None);
        check("<feed><page></page></feed>", 1000, &[], &[], Some("wrong_format"));
        check("<page></page>", 1000, &[], &[], Some("wrong_format"));
        check("no xml", 1000, &[], &[], Some("wrong_format"));
        check("", 1000, &[], &[], Some("wrong_format"));
        check(&(dump(&a) + "tail"), 1000, &["fr:1 a"], &[], Some("malformed"));
        let commented = dump(&a).replace("<page>", "<!-- <page> --><page>");

        check(
            &format!("\u{feff}<?xml version=\"1.0\"?><!DOCTYPE m [<!ENTITY a \"b>\">]>{commented}"),
            1000,
            &["fr:1 a"],
            &[],
            None,
        );
    }

    #[test]
    fn an_unreadable_rest_is_told_with_its_reason() {
        struct Failing<'b>(&'b [u8], std::io::ErrorKind);
        impl Read for Failing<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if self.0.is_empty() { Err(self.1.into()) } else { self.0.read(buffer) }
            }
        }
        let xml = dump(&page(1, "A", "a")).replace("</mediawiki>", "<page>");

        for (kind, reason) in [
            (std::io::ErrorKind::UnexpectedEof, "truncated"),
            (std::io::ErrorKind::InvalidData, "corrupt_stream"),
        ] {
            let mut input = std::io::BufReader::new(Failing(xml.as_bytes(), kind));
            let mut records = 0;
            let end = Wiki.split(&mut input, &Limits::of_records(1 << 20), &mut |_, _| {
                records += 1;
                Ok(true)
            });
            assert_eq!((records, end.unwrap().unwrap().reason), (1, reason));
        }
    }

    #[test]
    fn real_dumps_leave_next_to_no_mark_up() {
        let Some(folder) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let folder = std::path::Path::new(&folder).join("wikipedia-dumps");
        // Pages counted with `bzcat FILE | grep -c '</page>'`.
        // Holes that unknown templates leave, for every 1,000 lines of prose, at most.
        for (file, n_pages, end, holes) in [
            ("enwiki-2006-enwik8-prefix-truncated.xml.bz2", 327, Some("truncated"), 5.0),
            ("enwiki-2014-pages-articles-unclosed.xml.bz2", 209, Some("truncated"), 5.0),
            ("enwiki-2022-pages-articles-multistream.xml.bz2", 205, None, 5.0),
            ("jawiki-pages-articles-part1.xml.bz2", 157, None, 20.0),
            ("ltgwiki-latest-pages-articles.xml.bz2", 2004, None, 20.0),
        ] {
            let mut bytes = Vec::new();
            let compressed = std::fs::File::open(folder.join(file)).unwrap();
            bzip2::read::MultiBzDecoder::new(compressed).read_to_end(&mut bytes).unwrap();
            let (parsed, refused, last) = read(&bytes, 1 << 26, 1 << 16);
            assert_eq!(
                (parsed.len(), refused.len(), last.map(|last| last.reason)),
                (n_pages, 0, end),
                "{file}"
            );
            let texts: Vec<&str> = parsed
                .iter()
                .filter_map(|parsed| {
                    if let Parsed::Document(document) = parsed {
                        Some(document.text.as_str())
                    } else {
                        None
                    }
                })
                .collect();

            let mut books = Books::default();
            for parsed in &parsed {
                if let Parsed::Document(document) = parsed {
                    document.counts.iter().for_each(|(name, n)| books.note(name, *n));
                }
            }

            let rate = books.dropped_per_1000_lines().unwrap();
            assert!(rate <= holes, "{file}: {rate:.1} holes, {:?}", books.dropped_templates());
            let n_bytes: usize = texts.iter().map(|text| text.len()).sum();
            let remnants: usize = ["[[", "]]", "\n|", "&nbsp;", "<ref", "''", "<!--", "{|"]
                .iter()
                .map(|mark| texts.iter().map(|text| text.matches(mark).count()).sum::<usize>())
                .sum();
            assert!(remnants * 200_000 <= n_bytes, "{file}: {remnants} in {n_bytes} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Wiki.parse(&Raw { offset: 0, bytes: bytes.clone() }, &FileFacts::default(), &source());
            read(&bytes, 100, 16);
        }

        #[test]
        fn damaged_pages_are_parsed(place in 0_usize..400, byte: u8, cut in 0_usize..400) {
            let mut bytes = page(7, "A", "a {{b}} [[c]] &lt;ref&gt;").into_bytes();
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(bytes.len().min(cut.max(1)));
            Wiki.parse(&Raw { offset: 0, bytes: bytes.clone() }, &FileFacts::default(), &source());
            read(&bytes, 1000, 16);
        }
    }
}
