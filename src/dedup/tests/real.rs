//! The room on labelled real data, where `KPIPE_TEST_DATA` names its folder.

use super::*;

/// Lines of a gzipped file of the real data, or nothing where there is none.
fn real(path: &str) -> Option<String> {
    use std::io::Read;
    let folder = std::env::var_os("KPIPE_TEST_DATA")?;
    let file = std::fs::File::open(Path::new(&folder).join(path)).unwrap();
    let mut bytes = Vec::new();

    if path.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_end(&mut bytes).unwrap();
    }

    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What stands between `open` and `close`, each time.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).map(move |rest| rest.split(close).next().unwrap_or(""))
}

/// The text of an XML fragment: tags become spaces, the common entities characters.
fn plain(xml: &str) -> String {
    let mut text = String::new();
    for piece in xml.split('<') {
        text.push(' ');
        text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text));
    }
    let text =
        text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&#xD;", " ");
    text.replace("&apos;", "'").replace("&quot;", "\"")
}

/// The ten true pairs of the collection of chrisjmccormick/MinHash, and no other.
#[test]
fn the_labelled_articles_give_exactly_their_pairs() {
    let Some(articles) = real("neardup-labelled/minhash/articles_1000.train.gz") else { return };
    let truth = real("neardup-labelled/minhash/articles_1000.truth").unwrap();
    let docs: Vec<Doc> = articles
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, text)| doc(id, text))
        .collect();
    let pair = |a: &str, b: &str| BTreeSet::from([a.to_string(), b.to_string()]);
    let truth: BTreeSet<_> =
        truth.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| pair(a, b)).collect();
    let found: BTreeSet<_> =
        dedup(&docs).ledger.iter().map(|entry| pair(&entry.removed, &entry.survivor)).collect();
    assert_eq!((found.len(), truth.len()), (10, 10));
    assert_eq!(found, truth);
}

/// Citations of a systematic review, title and abstract. All 281 records that have a copy are
/// labelled, without naming it; by title they are 131 groups, so 150 are to be removed, each for
/// another labelled one.
#[test]
fn labelled_citations() {
    let Some(xml) = real("neardup-labelled/citations/copper.xml.gz") else { return };
    let (mut labelled, mut docs) = (BTreeSet::new(), Vec::new());

    for (idx, record) in between(&xml, "<record>", "</record>").enumerate() {
        let id = format!("c:{idx:04}");
        let field =
            |open, close| between(record, open, close).map(plain).collect::<Vec<_>>().join("\n");
        docs.push(doc(
            &id,
            format!("{}\n\n{}", field("<title>", "</title>"), field("<abstract>", "</abstract>")),
        ));
        if field("<caption>", "</caption>").contains("Duplicate") {
            labelled.insert(id);
        }
    }

    assert_eq!((docs.len(), labelled.len()), (505, 281));
    let found = dedup(&docs);
    let wrong = found
        .ledger
        .iter()
        .filter(|e| !labelled.contains(&e.removed) || !labelled.contains(&e.survivor));
    assert_eq!(wrong.count(), 0);
    assert!(found.ledger.len() >= 130, "{} of 150", found.ledger.len());
}

/// Reuters-21578, bodies of 200 characters and more: 170 repeat another one exactly.
#[test]
fn newswire_repeats() {
    let mut docs = Vec::new();
    for file in (0..20).step_by(2) {
        let Some(sgml) = real(&format!("neardup-labelled/reuters21578/reut2-{file:03}.sgm.gz"))
        else {
            return;
        };
        let bodies =
            between(&sgml, "<BODY>", "</BODY>").enumerate().filter(|(_, body)| body.len() >= 200);
        docs.extend(bodies.map(|(idx, body)| doc(format!("r:{file:03}:{idx:04}"), body)));
    }

    let texts: BTreeMap<&str, &str> =
        docs.iter().map(|doc| (doc.id.as_str(), doc.text.as_str())).collect();
    let found = dedup(&docs);
    let exact: Vec<&Entry> = found.ledger.iter().filter(|entry| entry.rule == "exact").collect();
    assert!(exact.len() >= 170, "{}", exact.len());
    assert!(
        exact
            .iter()
            .all(|e| normalise(texts[e.removed.as_str()]) == normalise(texts[e.survivor.as_str()]))
    );
    let kept: BTreeSet<String> =
        found.kept.keys().map(|id| normalise(texts[id.as_str()])).collect();

    assert_eq!(kept.len(), found.kept.len(), "no repeat is left");
}

/// Records of two topics that were fetched from PubMed twice; the PMID is the truth.
#[test]
fn records_fetched_twice() {
    for topic in ["ADHD", "NSAIDS"] {
        let mut docs = Vec::new();
        for copy in ["", "-refetched"] {
            let Some(table) = real(&format!("pubmed-abstracts-csv/cohen2006-{topic}{copy}.csv.gz"))
            else {
                return;
            };
            let mut reader = csv::Reader::from_reader(table.as_bytes());
            let at = |names: &csv::StringRecord, wanted: &[&str]| {
                names
                    .iter()
                    .position(|name| wanted.contains(&name))
                    .unwrap_or_else(|| panic!("{names:?}"))
            };

            let names = reader.headers().unwrap().clone();
            let [pmid, title, text] =
                [&["pubmedID", "pmid"][..], &["title"], &["abstract", "abstracts"]]
                    .map(|w| at(&names, w));
            docs.extend(reader.records().map(|row| {
                let row = row.unwrap();
                doc(
                    format!("{}:{}", copy.len(), &row[pmid]),
                    format!("{}\n\n{}", &row[title], &row[text]),
                )
            }));
        }

        docs.retain(|doc| !doc.text.trim().is_empty());
        let pmid = |id: &str| id.split_once(':').unwrap().1.to_string();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        docs.iter().for_each(|doc| *seen.entry(pmid(&doc.id)).or_default() += 1);
        let pairs = seen.values().filter(|n| **n > 1).count();
        let found = dedup(&docs);
        let right = found
            .ledger
            .iter()
            .filter(|entry| pmid(&entry.removed) == pmid(&entry.survivor))
            .count();
        assert!(right as f64 >= 0.9 * pairs as f64, "{topic}: {right} of {pairs}");
        assert!(
            found.ledger.len() - right <= 2,
            "{topic}: one text has two PMIDs in both copies, nothing else may go"
        );
    }
}

/// Short encyclopaedia articles from one template differ in a name or a year: nearly all of them
/// must stay.
#[test]
fn templated_stubs_of_wikipedia_stay() {
    let mut docs = Vec::new();
    for file in 0..22 {
        let Some(text) = real(&format!("wikipedia-text/en/wiki_{file:02}.gz")) else { return };
        for (idx, text) in between(&text, "<doc ", "</doc>").enumerate() {
            docs.push(doc(format!("{file:02}:{idx:05}"), text.split_once('>').unwrap().1.trim()));
        }
    }

    assert!(docs.len() > 34_000);
    let found = dedup(&docs);
    let near = found.ledger.iter().filter(|entry| entry.rule != "exact").count();
    assert!(near <= 3, "{near} near duplicates");
}
