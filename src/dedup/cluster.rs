//! Phase 4: who survives. Greedy stars: a document is removed only for a survivor it was itself
//! compared with.
//!
//! Documents of a component are taken by rank: source priority (high first), completeness (columns
//! with metadata, then characters; high first), id. Each is compared with the survivors so far that
//! share a band with it, best rank first, and removed for the first that verifies. A chain a~b~c
//! therefore never removes c for a unless a and c are alike themselves, and nothing depends on the
//! order of the rows.
//!
//! Bound on work: of a bucket only its `max_compared` best survivors are compared, so a document
//! costs at most `bands × max_compared` comparisons even where a template puts a whole source into
//! one bucket. Survivors that were left out are counted, document by document, and stand in the
//! books' notes.
//!
//! Components are independent and run in parallel; sets are read from disk and kept only while they
//! fit the memory given.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::dedup::Params;
use crate::dedup::bands::{Links, little_endian};
use crate::dedup::sets::Sets;
use crate::dedup::sketch::{Column, Sketches};
use crate::dedup::verify::{Features, Rule, Similarity, duplicate, least_common, similarity};
use crate::error::Result;
use crate::flow::room::Context;

/// What was decided about a linked document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) row: u32,
    /// Least xxh3-64 of the ids of its component.
    pub(super) neighbourhood: u64,
    /// Survivors in its buckets that it was not compared with.
    pub(super) left_out: u32,
    pub(super) removal: Option<Removal>,
}

/// For whom a document was removed, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Removal {
    /// Row of the survivor.
    pub(super) survivor: u32,
    pub(super) rule: Rule,
    pub(super) similarity: Similarity,
    pub(super) bands: u16,
}

/// A linked document.
struct Doc<'a> {
    row: u32,
    component: u32,
    carrier: u32,
    priority: i32,
    complete: u32,
    chars: u32,
    tie: u64,
    id: &'a str,
}

impl Doc<'_> {
    /// By component, then by rank.
    fn order(&self, other: &Self) -> Ordering {
        let key = |doc: &Self| (doc.component, Reverse((doc.priority, doc.complete, doc.chars)));
        key(self)
            .cmp(&key(other))
            .then_with(|| self.id.cmp(other.id))
            .then_with(|| (self.tie, self.row).cmp(&(other.tie, other.row)))
    }
}

/// Decides about every linked document; verdicts stand in row order.
pub(super) fn decide(
    sketches: &Sketches,
    links: &Links,
    sets: &Sets,
    params: &Params,
    cx: &Context,
) -> Result<Vec<Verdict>> {
    cx.progress.message(&format!("verifying {} linked documents", links.rows.len()));
    let mut docs = documents(sketches, links, sets)?;
    docs.par_sort_unstable_by(Doc::order);
    let components: Vec<&[Doc]> = docs.chunk_by(|a, b| a.component == b.component).collect();
    let cache_bytes = cx.memory_bytes / 8 / rayon::current_num_threads() as u64;
    let verdicts: Vec<Result<Vec<Verdict>>> = components
        .par_iter()
        .map(|docs| {
            Component { docs, links, sets, params, cache: Cache::new(cache_bytes) }.decide()
        })
        .collect();

    let mut all = Vec::with_capacity(docs.len());
    for verdicts in verdicts {
        all.extend(verdicts?);
    }
    all.par_sort_unstable_by_key(|verdict| verdict.row);
    Ok(all)
}

fn documents<'a>(sketches: &Sketches, links: &Links, sets: &'a Sets) -> Result<Vec<Doc<'a>>> {
    let priorities =
        sketches.pick(Column::Priority, &links.rows, |bytes| little_endian(bytes) as u32 as i32)?;
    let complete =
        sketches.pick(Column::Complete, &links.rows, |bytes| little_endian(bytes) as u32)?;
    let chars = sketches.pick(Column::Chars, &links.rows, |bytes| little_endian(bytes) as u32)?;
    let ties = sketches.pick(Column::Tie, &links.rows, little_endian)?;
    let docs = links.rows.iter().enumerate().map(|(at, row)| Doc {
        row: *row,
        component: links.components[at],
        carrier: links.carriers[at],
        priority: priorities[at],
        complete: complete[at],
        chars: chars[at],
        tie: ties[at],
        id: &sets.ids[at],
    });

    Ok(docs.collect())
}

/// Shingle sets that were read, up to a number of bytes.
struct Cache {
    sets: HashMap<u32, Arc<Features>>,
    bytes: u64,
    limit: u64,
}

impl Cache {
    fn new(limit: u64) -> Self {
        Cache { sets: HashMap::new(), bytes: 0, limit }
    }
}

/// The documents of one component, best rank first, and what it takes to compare them.
struct Component<'a> {
    docs: &'a [Doc<'a>],
    links: &'a Links,
    sets: &'a Sets,
    params: &'a Params,
    cache: Cache,
}

/// What is known once some documents of a component were decided. Documents go by their place in
/// rank order.
#[derive(Default)]
struct Decided<'a> {
    survivor_by_id: HashMap<&'a str, usize>,
    /// By carrier: the survivor with this text, or why the text is superfluous.
    text: HashMap<u32, TextFate>,
    /// By bucket: its best survivors, and how many there are.
    buckets: HashMap<u32, (Vec<usize>, u32)>,
}

/// What came of a text.
#[derive(Clone, Copy)]
enum TextFate {
    Survives(usize),
    Superfluous(Removal),
}

impl<'a> Component<'a> {
    fn decide(mut self) -> Result<Vec<Verdict>> {
        let docs = self.docs;
        let neighbourhood = docs.iter().map(|doc| xxh3_64(doc.id.as_bytes())).min().unwrap_or(0);
        let mut decided = Decided::default();
        let mut verdicts = Vec::with_capacity(docs.len());

        for (at, doc) in docs.iter().enumerate() {
            let (removal, left_out) = self.judge(at, &decided)?;
            if removal.is_none() {
                self.survive(at, &mut decided);
            } else if let Some(removal) = removal.filter(|removal| removal.rule != Rule::SameId) {
                decided.text.entry(doc.carrier).or_insert(TextFate::Superfluous(removal));
            }
            verdicts.push(Verdict { row: doc.row, neighbourhood, left_out, removal });
        }

        Ok(verdicts)
    }

    fn survive(&self, at: usize, decided: &mut Decided<'a>) {
        let doc = &self.docs[at];
        decided.survivor_by_id.insert(doc.id, at);
        decided.text.insert(doc.carrier, TextFate::Survives(at));

        for bucket in self.links.buckets(doc.carrier) {
            let (best, n) = decided.buckets.entry(*bucket).or_default();
            if best.len() < self.params.max_compared {
                best.push(at);
            }
            *n += 1;
        }
    }

    /// Why a document is removed, if it is, and how many survivors of its buckets it was not
    /// compared with.
    fn judge(&mut self, at: usize, decided: &Decided) -> Result<(Option<Removal>, u32)> {
        let doc = &self.docs[at];
        let all = self.params.bands as u16;

        if let Some(survivor) = decided.survivor_by_id.get(doc.id) {
            let similarity = self.similarity(doc.carrier, self.docs[*survivor].carrier)?;
            let survivor = self.docs[*survivor].row;
            return Ok((Some(Removal { survivor, rule: Rule::SameId, similarity, bands: all }), 0));
        }

        match decided.text.get(&doc.carrier) {
            Some(TextFate::Survives(survivor)) => {
                let similarity = Similarity { jaccard: 1.0, containment: 1.0 };
                let survivor = self.docs[*survivor].row;
                Ok((Some(Removal { survivor, rule: Rule::Exact, similarity, bands: all }), 0))
            }
            // Its exact copy was compared already, with better-ranked survivors than either.
            Some(TextFate::Superfluous(removal)) => Ok((Some(*removal), 0)),
            None => self.compare(doc.carrier, decided),
        }
    }

    fn compare(&mut self, carrier: u32, decided: &Decided) -> Result<(Option<Removal>, u32)> {
        let (mut candidates, mut left_out) = (BTreeSet::<usize>::new(), 0);
        for (best, n) in
            self.links.buckets(carrier).iter().filter_map(|bucket| decided.buckets.get(bucket))
        {
            candidates.extend(best.iter().copied());
            left_out += n - best.len() as u32;
        }

        for survivor in candidates {
            let (row, other) = (self.docs[survivor].row, self.docs[survivor].carrier);
            let (n, m) = (self.length(carrier), self.length(other));
            if least_common(n, m, self.params).is_none() {
                continue;
            }
            let (ours, theirs) = (self.set(carrier)?, self.set(other)?);

            if let Some((rule, similarity)) = duplicate(&ours, &theirs, self.params) {
                let bands = self.shared_bands(carrier, other);
                return Ok((Some(Removal { survivor: row, rule, similarity, bands }), left_out));
            }
        }

        Ok((None, left_out))
    }

    fn shared_bands(&self, a: u32, b: u32) -> u16 {
        let theirs = self.links.buckets(b);
        self.links.buckets(a).iter().filter(|bucket| theirs.binary_search(bucket).is_ok()).count()
            as u16
    }

    fn similarity(&mut self, carrier: u32, survivor: u32) -> Result<Similarity> {
        if carrier == survivor {
            return Ok(Similarity { jaccard: 1.0, containment: 1.0 });
        }
        Ok(similarity(&self.set(carrier)?.shingles, &self.set(survivor)?.shingles))
    }

    fn length(&self, carrier: u32) -> usize {
        self.links.compared.binary_search(&carrier).map_or(0, |at| self.sets.length(at))
    }

    fn set(&mut self, carrier: u32) -> Result<Arc<Features>> {
        if let Some(set) = self.cache.sets.get(&carrier) {
            return Ok(set.clone());
        }
        let set = match self.links.compared.binary_search(&carrier) {
            Ok(at) => Arc::new(self.sets.read(at)?),
            Err(_) => Arc::default(),
        };
        let bytes = 8 * (set.shingles.len() + set.numbers.len()) as u64;

        if self.cache.bytes + bytes > self.cache.limit {
            self.cache.sets.clear();
            self.cache.bytes = 0;
        }

        self.cache.bytes += bytes;
        self.cache.sets.insert(carrier, set.clone());
        Ok(set)
    }
}
