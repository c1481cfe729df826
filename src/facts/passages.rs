//! Passages: what different documents say of two concepts in the same sentence.
//!
//! Pairs that the knowledge graph links come first, then those that are named together far more
//! often than by chance; among each the closest first, by normalised pointwise mutual information
//! (Bouma 2009) over documents.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, RecordBatch};
use serde::Serialize;

use super::corpus::{self, Corpus, Language, Measures};
use super::rows::Row;
use super::triples::HeldOut;
use super::wording::Kit;
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::contract::strings;
use crate::flow::dataset::Dataset;
use crate::flow::room::{Context, Span};
use crate::rewrite::ConceptNames;
use crate::text::words::words;

/// Documents that name a pair in one sentence: with one there is nothing to put together.
const DOCUMENTS: u32 = 2;
/// The same where no link says that the two have to do with one another, and how close they are.
const UNLINKED_DOCUMENTS: u32 = 3;
const UNLINKED_NPMI: f64 = 0.3;
/// Tokens of the shortest passage: two sentences. More passages than would fit are not gathered.
const LEAST_TOKENS: u64 = 12;

/// What became of the pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Books {
    /// Pairs that two documents or more name in one sentence.
    pub pairs: u64,
    /// Those of them that the knowledge graph links.
    pub linked: u64,
    /// Those held out (`facts.held_out`).
    pub held_out: u64,
    /// Those that probes ask.
    pub asked: u64,
    /// Those that no link joins, and that are named together by chance as well.
    pub by_chance: u64,
    /// Those whose sentences are the same in all documents, or in different languages.
    pub alike: u64,
    /// Those that `facts.passages` has no room for.
    pub too_many: u64,
    /// Those of which there is a passage.
    pub made: u64,
    /// Their sentences.
    pub sentences: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// A sentence and where it stands.
struct Source {
    /// By what it is drawn.
    drawn: u64,
    said: String,
    id: String,
    title: Option<String>,
    licence: Option<String>,
    file: String,
    language: Language,
    measures: Measures,
}

impl Source {
    /// Memory that it takes, in bytes.
    fn bytes(&self) -> u64 {
        let texts = [
            Some(&self.said),
            Some(&self.id),
            Some(&self.file),
            self.title.as_ref(),
            self.licence.as_ref(),
        ];
        texts.into_iter().flatten().map(|text| text.len() as u64).sum::<u64>()
            + size_of::<Self>() as u64
    }
}

/// Makes the passages, the closest pairs first.
pub(super) fn make(
    input: &Dataset,
    corpus: &Corpus,
    out: &HeldOut<'_>,
    kit: &Kit<'_>,
    held_out: &(dyn Fn(u64) -> bool + Sync),
    cx: &Context<'_>,
) -> Result<(Vec<Row>, Books)> {
    let mut books = Books::default();
    if out.params.passages <= 0.0 {
        return Ok((Vec::new(), books));
    }
    let mut room = (out.params.passages * corpus.domain_tokens as f64) as u64;
    let pairs = ranked(corpus, out, (room / LEAST_TOKENS) as usize, &mut books);
    let mut gathered = gather(input, &pairs, out, kit, held_out, cx)?;

    let mut rows = Vec::new();
    for pair in pairs {
        let sources = gathered.remove(&pair).unwrap_or_default();
        let Some((row, n)) = passage(pair, sources, kit, cx.seed, out.params.sentences) else {
            books.alike += 1;
            continue;
        };
        let tokens = words(&row.text).count() as u64;
        if tokens > room {
            books.too_many += 1;
            continue;
        }
        room -= tokens;
        books.made += 1;
        books.sentences += n as u64;
        books.tokens += tokens;
        rows.push(row);
    }
    Ok((rows, books))
}

/// The pairs of which a passage may be made, at most `most`.
fn ranked(corpus: &Corpus, out: &HeldOut<'_>, most: usize, books: &mut Books) -> Vec<[u32; 2]> {
    let n = corpus.documents.max(1) as f64;
    let mut ranked: Vec<(bool, f64, [u32; 2])> = Vec::new();
    for (pair, together) in corpus.pairs.iter().filter(|(_, n)| **n >= DOCUMENTS) {
        let [a, b] = *pair;
        let of = |one: u32| f64::from(corpus.concepts[one as usize].documents) / n;
        let both = f64::from(*together) / n;
        // Of a pair that stands in every document nothing can be said.
        let npmi = if both < 1.0 { (both / (of(a) * of(b))).ln() / -both.ln() } else { 0.0 };
        let is_linked = out.lexicon.linked(a, b);
        books.pairs += 1;
        books.linked += u64::from(is_linked);
        if out.is_asked(a, b) {
            books.asked += 1;
        } else if is_linked && out.draws(a, b) {
            books.held_out += 1;
        } else if !is_linked && (*together < UNLINKED_DOCUMENTS || npmi < UNLINKED_NPMI) {
            books.by_chance += 1;
        } else {
            ranked.push((is_linked, npmi, *pair));
        }
    }
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
    books.too_many += ranked.len().saturating_sub(most) as u64;
    ranked.truncate(most);
    ranked.into_iter().map(|(_, _, pair)| pair).collect()
}

/// The sentences about pairs, one of a document; of more documents than a passage has sentences,
/// those that a draw gives.
fn gather(
    input: &Dataset,
    pairs: &[[u32; 2]],
    out: &HeldOut<'_>,
    kit: &Kit<'_>,
    held_out: &(dyn Fn(u64) -> bool + Sync),
    cx: &Context<'_>,
) -> Result<HashMap<[u32; 2], Vec<Source>>> {
    let most = out.params.sentences;
    cx.progress.message("sentences of passages");
    let wanted: BTreeSet<[u32; 2]> = pairs.iter().copied().collect();
    let kernel = |batch: &RecordBatch, _: Span| {
        let (ids, texts) = (strings(batch, "id")?, strings(batch, "text")?);
        let (titles, licences) = (strings(batch, "title")?, strings(batch, "licence")?);
        let (files, languages) = (strings(batch, "file")?, strings(batch, "language")?);
        let mut found = Vec::new();
        for row in corpus::rows_of(batch, held_out)? {
            let some = |column: &arrow::array::StringArray| {
                column.is_valid(row).then(|| column.value(row).to_string())
            };
            let Some(language) = Language::of(some(languages).as_deref()) else { continue };
            let text = texts.value(row);
            let mut seen: BTreeSet<[u32; 2]> = BTreeSet::new();
            let title = some(titles);
            let in_title: Vec<u32> = title
                .iter()
                .flat_map(|title| kit.names.mentions(title))
                .map(|mention| mention.concept as u32)
                .collect();
            for sentence in corpus::pairs(text, title.as_deref(), &kit.names.mentions(text)) {
                // A third concept of it may be held out with one of the two.
                if sentence.pairs.iter().any(|pair| out.keeps_back(*pair)) {
                    continue;
                }
                let with_title = sentence.pairs.iter().flatten().chain(&in_title);
                let says_too_much = with_title
                    .flat_map(|a| in_title.iter().map(|b| [*a, *b]))
                    .any(|pair| out.keeps_back(pair));
                for pair in sentence.pairs {
                    if !wanted.contains(&pair) || !seen.insert(pair) {
                        continue;
                    }
                    let key = format!("{pair:?}\n{}", ids.value(row));
                    let drawn = draw::unit(cx.seed, "sentence", key.as_bytes()).to_bits();
                    let source = Source {
                        drawn,
                        said: sentence.said.to_string(),
                        id: ids.value(row).to_string(),
                        title: title.clone().filter(|_| !says_too_much),
                        licence: some(licences),
                        file: files.value(row).to_string(),
                        language,
                        measures: Measures::of(batch, row)?,
                    };
                    found.push((pair, source));
                }
            }
        }
        Ok(found)
    };

    let mut gathered: HashMap<[u32; 2], Vec<Source>> = HashMap::new();
    let mut bytes = 0_u64;
    cx.fold(input, None, kernel, |found| {
        for (pair, source) in found {
            let own = gathered.entry(pair).or_default();
            let at = own.partition_point(|one| (one.drawn, &one.id) < (source.drawn, &source.id));
            bytes += source.bytes();
            own.insert(at, source);
            // Some may say the same as others.
            bytes -= own.drain((2 * most).min(own.len())..).map(|one| one.bytes()).sum::<u64>();
        }
        if bytes > cx.memory_bytes / 2 {
            return Err(Error::usage("the sentences of passages take more memory than they may")
                .hint("give more `--memory`, or a lower `facts.passages`"));
        }
        Ok(())
    })?;
    Ok(gathered)
}

/// A passage about a pair, and how many sentences it has; `None` where fewer than two differ.
fn passage(
    pair: [u32; 2],
    sources: Vec<Source>,
    kit: &Kit<'_>,
    seed: u64,
    most: usize,
) -> Option<(Row, usize)> {
    let mut n_of: BTreeMap<Language, usize> = BTreeMap::new();
    sources.iter().for_each(|one| *n_of.entry(one.language).or_default() += 1);
    let language = *n_of.iter().max_by_key(|(_, n)| **n)?.0;
    let mut seen = BTreeSet::new();
    let key = |said: &str| words(said).map(|word| word.text.to_lowercase()).collect::<Vec<_>>();
    let mut sources: Vec<Source> =
        sources.into_iter().filter(|one| one.language == language).collect();
    sources.retain(|one| seen.insert(key(&one.said)));
    sources.truncate(most);
    if sources.len() < 2 {
        return None;
    }

    let lexicon = kit.names.lexicon();
    let ids = pair.map(|one| lexicon.concepts[one as usize].id.as_str());
    let id = format!("{}:{}+{}", super::SOURCE, ids[0], ids[1]);
    let mut stream = draw::stream(seed, "passage", id.as_bytes());
    let mut name = |one: u32| {
        let names = kit.names(one, language);
        (!names.is_empty()).then(|| names[draw::next_below(&mut stream, names.len())].clone())
    };
    // By what it is called, or by the sentences alone.
    let title = name(pair[0]).zip(name(pair[1])).map(|(a, b)| match language {
        Language::English => {
            let mut letters = a.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
            format!("{first}{} and {b}", letters.as_str())
        }
        Language::Chinese => format!("{a}与{b}"),
    });

    let mut measures = Measures::default();
    let mut parts: Vec<String> = title.iter().cloned().collect();
    for one in &sources {
        measures.add(&one.measures);
        let source = one.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
        // An id tells a reader nothing; the column `made_of` has it.
        parts.push(match source {
            Some(title) => format!("{}\n— {title}", one.said),
            None => one.said.clone(),
        });
    }
    let n = sources.len();
    let row = Row {
        id,
        text: parts.join("\n\n"),
        language,
        variant: "passage",
        parent: None,
        title,
        licence: super::rows::licence(sources.iter().map(|one| one.licence.clone())),
        file: sources[0].file.clone(),
        made_of: sources.into_iter().map(|one| one.id).collect(),
        measures,
        n_mentions: 2 * n as u32,
        n_concepts: 2,
    };
    Some((row, n))
}
