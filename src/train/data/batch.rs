//! Makes the microbatches of one optimiser step: takes windows in order and makes rows of them.
//!
//! A row is one window, or with `packing` as many consecutive ones as fit. They do not see one
//! another, and each counts its positions from its own first token, so that packing changes nothing
//! but how much of a row is padding.
//!
//! All microbatches of a step are made before the first is computed, because every loss term is
//! divided by its count over the whole step, not over a microbatch (transformers PR #34191 shows
//! what goes wrong otherwise).
//!
//! No two documents of a family, one and the same or variants of it, are ever read in one step,
//! much less in one batch or row: what is alike in them is their wording, and that is what would be
//! learned. A build spreads them; where one comes all the same, the step ends before it with fewer
//! rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw;
use crate::error::{Error, Result};
use crate::train::data::again::{Again, name};
use crate::train::data::consumed::Range;
use crate::train::data::marks::Marker;
use crate::train::data::paced::Paced;
use crate::train::data::rows::passages::{self, Compared, Passages};
use crate::train::data::rows::{Lengths, RowKind, RowMaker, RowSet, Task, Text};
use crate::train::data::stream::Document;
use crate::train::data::tokenizer::{Pieces, Tokenizer};
use crate::train::data::windows::{Cut, Window, Windows};
use crate::train::params::{How, Params};

/// Rows for one forward and backward pass of each objective: one set of each kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Microbatch {
    /// Number in the step.
    pub index: u64,
    /// The rows by kind.
    pub sets: BTreeMap<RowKind, RowSet>,
}

impl Microbatch {
    /// Tokens of all rows, and places they are padded to.
    pub fn size(&self) -> (u64, u64) {
        let sizes = self.sets.values().map(RowSet::size);
        sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }
}

/// Everything one optimiser step needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Number of the step, from 1.
    pub number: u64,
    /// Its microbatches in order.
    pub microbatches: Vec<Microbatch>,
    /// What was consumed in the order of the shards.
    pub ranges: Vec<Range>,
    /// `seq` of what was read again.
    pub again: Vec<u64>,
    /// Whether documents began with a line about their source.
    pub source_line: bool,
    /// Names of the documents by their `seq`; see [`name`].
    pub names: BTreeMap<u64, u64>,
    /// Tokens the model reads, padding left out.
    pub tokens: u64,
    /// Places that hold padding, up to the longest row that is computed with it.
    pub padding: u64,
}

/// The documents of families that a step has read so far.
#[derive(Default)]
struct Families(BTreeMap<u64, (u64, u64)>);

impl Families {
    /// Whether another document of a window's family was read before.
    fn has_another(&self, window: &Window) -> bool {
        let before = window.family.and_then(|family| self.0.get(&family));
        before.is_some_and(|document| *document != (window.epoch, window.seq))
    }

    fn add(&mut self, window: &Window) {
        if let Some(family) = window.family {
            self.0.insert(family, (window.epoch, window.seq));
        }
    }
}

/// Makes rows of windows.
pub struct Batcher<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// What tells more of a text than its pieces.
    marker: &'a Marker,
    /// The parameters.
    pub params: &'a Params,
    /// Seed of the run.
    pub seed: u64,
    /// The order that documents are taught in, where it is not that of the shards.
    pub paced: Option<&'a Paced>,
    /// What makes the rows of each kind, but for passages.
    makers: Vec<(RowKind, Box<dyn RowMaker + 'a>)>,
    passages: Option<passages::Params>,
    /// The kinds that a step learns from.
    kinds: BTreeSet<RowKind>,
}

impl<'a> Batcher<'a> {
    /// Makes steps of rows of these kinds. Those that the model learns language from can always be
    /// made: by them it is measured.
    ///
    /// # Errors
    /// If the section of a kind does not fit.
    pub fn new(
        tokenizer: &'a Tokenizer,
        marker: &'a Marker,
        params: &'a Params,
        seed: u64,
        kinds: &BTreeSet<RowKind>,
    ) -> Result<Self> {
        let language = RowKind::of_language(tokenizer.frame.language);
        let others = kinds.iter().copied().filter(|kind| *kind != language);
        let mut makers = Vec::new();

        for kind in std::iter::once(language).chain(others) {
            if let Some(maker) = kind.maker(params, tokenizer, marker.informed.as_ref())? {
                makers.push((kind, maker));
            }
        }

        let passages =
            kinds.contains(&RowKind::Passages).then(|| passages::Params::of(params)).transpose()?;
        if let Some(passages::Params { tokens, .. }) = passages
            && tokens > params.max_tokens
        {
            let most = params.max_tokens;
            return Err(Error::usage(format!(
                "`train.rows.passages.tokens` is {tokens}, above `train.max_tokens`, {most}"
            ))
            .hint(format!("set `train.rows.passages.tokens={most}` or less")));
        }

        let (paced, kinds) = (None, kinds.clone());
        Ok(Batcher { tokenizer, marker, params, seed, paced, makers, passages, kinds })
    }

    /// Most pieces of a window behind a line of so many, so that every row of it fits.
    pub fn room(&self, line: usize) -> usize {
        let most = self.params.max_tokens - line;
        self.makers.iter().map(|(_, maker)| maker.room(most)).min().unwrap_or(0)
    }

    /// The pieces of a text, with what the run wants to know of them.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn pieces(&self, text: &str) -> Result<Pieces> {
        self.marker.pieces(self.tokenizer, text)
    }

    /// What the lines about sources are made of; nothing where there are none.
    pub fn fields(&self, cut: Cut) -> &'a [String] {
        let has_lines = self.params.source_line.share > 0.0 && cut != Cut::Measured;
        if has_lines { &self.params.source_line.fields } else { &[] }
    }

    /// The pieces of the line about a source, with an empty line behind it.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn line(&self, line: &str) -> Result<Vec<u32>> {
        if line.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids = self.tokenizer.pieces(line)?.ids;
        // Nothing, of a tokenizer to which spaces are.
        let behind = self.tokenizer.pieces("\n\n")?.ids;
        ids.truncate(self.params.source_line.tokens.saturating_sub(behind.len()));
        ids.extend(behind);
        Ok(ids)
    }

    /// What a document's passages are compared with, where that is asked for.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn passages(&self, document: &Document, epoch: u64) -> Result<Option<Passages>> {
        match &self.passages {
            Some(params) => {
                let width = self.tokenizer.frame.width();
                params.passages(document, epoch, self.seed, width, |text| self.pieces(text))
            }
            None => Ok(None),
        }
    }

    /// Takes the next windows, and some that are to be read again, and makes the step `number` of
    /// them.
    ///
    /// # Errors
    /// If a shard or the tokenizer fails.
    pub fn step(&self, number: u64, windows: &mut Windows, again: &mut Again) -> Result<Step> {
        let mut step = Step {
            number,
            microbatches: Vec::new(),
            ranges: Vec::new(),
            again: Vec::new(),
            source_line: self.params.source_line.is_read(number, self.params.steps),
            names: BTreeMap::new(),
            tokens: 0,
            padding: 0,
        };
        let mut families = Families::default();
        for index in 0..self.params.accumulate as u64 {
            let n_again = again.rows(self.params.batch);
            let mut taken: Vec<Vec<Window>> = Vec::with_capacity(self.params.batch);
            while taken.len() < self.params.batch - n_again
                && let Some(row) = self.next_row(windows, &mut families)?
            {
                taken.push(row);
            }
            taken.iter().flatten().for_each(|window| Range::extend(&mut step.ranges, window));
            if taken.is_empty() {
                break;
            }

            for seq in again.documents.drain(..n_again) {
                let window = windows.again(seq, number)?;
                if !families.has_another(&window) {
                    families.add(&window);
                    taken.push(vec![window]);
                    step.again.push(seq);
                }
            }
            for window in taken.iter_mut().flatten() {
                window.weight = again.weight(&window.id);
                step.names.insert(window.seq, name(&window.id));
                if !step.source_line {
                    window.line.clear();
                }
            }

            let mut microbatch = self.microbatch(index, taken.iter().map(Vec::as_slice), "mask");
            let left_out = self.left_out(number, index);
            microbatch.sets.retain(|kind, _| self.kinds.contains(kind) && left_out != Some(*kind));
            let (tokens, places) = microbatch.size();
            step.tokens += tokens;
            step.padding += places - tokens;
            step.microbatches.push(microbatch);
        }
        Ok(step)
    }

    /// The rows that a microbatch does without, where one of two tasks is drawn for it.
    fn left_out(&self, step: u64, index: u64) -> Option<RowKind> {
        let mixed = self.params.mixed;
        (mixed.on && mixed.how == How::Sampled).then(|| {
            let drawn = draw::unit(self.seed, "task", format!("{step}/{index}").as_bytes());
            let left_out = if drawn < mixed.alpha { Task::Restore } else { Task::Continue };
            RowKind::of(left_out, self.tokenizer.frame.language)
        })
    }

    /// The next window, and where rows are packed those behind it that fit into its row; `None`
    /// where the next is of a document whose family was read in this step.
    fn next_row(
        &self,
        windows: &mut Windows,
        families: &mut Families,
    ) -> Result<Option<Vec<Window>>> {
        if families.has_another(windows.peek_forever()?) {
            return Ok(None);
        }
        let mut row = vec![windows.next_window_forever()?];
        families.add(&row[0]);
        if !self.params.packing {
            return Ok(Some(row));
        }
        let mut taken = self.lengths(&row[0]);

        loop {
            let next = windows.peek_forever()?;
            if families.has_another(next) {
                return Ok(Some(row));
            }
            let next = self.lengths(next);
            taken = Lengths {
                tokens: taken.tokens + next.tokens,
                decoded: taken.decoded + next.decoded,
            };
            if taken.tokens.max(taken.decoded) > self.params.max_tokens {
                return Ok(Some(row));
            }
            let window = windows.next_window_forever()?;
            families.add(&window);
            row.push(window);
        }
    }

    /// Most tokens that a window takes in a row of any kind.
    fn lengths(&self, window: &Window) -> Lengths {
        let all = self.makers.iter().map(|(_, maker)| maker.lengths(window.pieces.ids.len()));
        let most = all.fold(Lengths::default(), |most, one| Lengths {
            tokens: most.tokens.max(one.tokens),
            decoded: most.decoded.max(one.decoded),
        });
        Lengths { tokens: most.tokens + window.line.len(), ..most }
    }

    /// Makes rows and labels of the windows of each row; the draws depend on seed, `purpose`,
    /// epoch, `seq` and window only, not on the batching.
    pub fn microbatch<'w>(
        &self,
        index: u64,
        rows: impl IntoIterator<Item = &'w [Window]>,
        purpose: &str,
    ) -> Microbatch {
        let mut batch = Microbatch { index, ..Microbatch::default() };
        for windows in rows {
            for (kind, _) in &self.makers {
                batch.sets.entry(*kind).or_default().begin(kind.has_decoder());
            }
            for window in windows {
                self.add(&mut batch, window, purpose);
            }
        }
        batch
    }

    /// Adds a window to the last row of each kind.
    fn add(&self, batch: &mut Microbatch, window: &Window, purpose: &str) {
        let mut key = format!("{}/{}/{}", window.epoch, window.seq, window.index);
        if window.again > 0 {
            key += &format!("/{}", window.again);
        }
        let text = Text { pieces: &window.pieces, line: &window.line, ends: window.ends };
        for (kind, maker) in &self.makers {
            let row = maker.row(&text, &mut self.draws(purpose, &key));
            batch.sets.entry(*kind).or_default().add(row, window.seq, window.weight);
        }

        if let (Some(passages), Some(params)) = (&window.passages, &self.passages) {
            let set = batch.sets.entry(RowKind::Passages).or_default();
            if set.compared.anchors.len() < params.anchors {
                self.compare(&mut set.compared, passages, &key);
            }
        }
    }

    fn draws(&self, purpose: &str, key: &str) -> rand_chacha::ChaCha8Rng {
        draw::stream(self.seed, purpose, key.as_bytes())
    }

    fn compare(&self, compared: &mut Compared, passages: &Passages, key: &str) {
        let around = |pieces: &Pieces| self.tokenizer.frame.around(&[], &pieces.ids, true);
        compared.anchors.push(around(&passages.anchor));
        compared.positives.push(match (&passages.positive, self.makers.first()) {
            (Some(positive), _) => around(positive),
            // The anchor again, as the model reads it to learn language: masked, where it learns
            // so.
            (None, Some((_, language))) => {
                language.row(&Text::whole(&passages.anchor), &mut self.draws("view", key)).ids
            }
            (None, None) => around(&passages.anchor),
        });
        compared.owners.extend(passages.hard.iter().map(|_| compared.anchors.len() - 1));
        compared.hard.extend(passages.hard.iter().map(around));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::marks::PLAIN;
    use crate::train::data::shards::Shards;
    use crate::train::data::windows::Position;
    use crate::train::fixture::{batcher, grammar, shard_folder, tiny_params};
    use crate::train::model::bert::BERT;

    #[test]
    fn masks_do_not_depend_on_the_batching() {
        let folder = shard_folder(&grammar(40, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let params = tiny_params();
        let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
        let rows = |batch, accumulate| {
            let params = Params { batch, accumulate, ..params.clone() };
            let batcher = batcher(&tokenizer, &params);
            let mut windows = Windows::new(&shards, &batcher, Position::default()).unwrap();
            let step = batcher.step(1, &mut windows, &mut Again::default()).unwrap();
            let sets = step.microbatches.iter().map(|batch| &batch.sets[&RowKind::Masked]);
            let rows: Vec<Vec<u32>> = sets.flat_map(|set| set.rows.ids.clone()).collect();
            (rows, step.ranges)
        };

        assert_eq!(rows(12, 1), rows(3, 4));
    }

    /// Whatever stands beside one another, no step reads two documents of a family, and all are
    /// read in their order.
    #[test]
    fn no_step_reads_two_of_a_family() {
        // Long ones of several windows, too.
        let document = |seq: u64| {
            let text = format!("w{} ", seq % 5).repeat(3 + (seq % 4) as usize * 9);
            let family = (!seq.is_multiple_of(3)).then_some(seq * 7 % 11 % 3);
            Document { seq, id: format!("own:{seq}"), text, family, ..grammar(1, 1)[0].clone() }
        };
        let documents: Vec<Document> = (0..60).map(document).collect();
        let folder = shard_folder(&documents, &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let tokenizer = Tokenizer::train(&shards, &BERT, &tiny_params().tokenizer, 1).unwrap();

        for (packing, accumulate, deal) in
            [(false, 1, 1), (false, 2, 0), (true, 2, 1), (true, 1, 9)]
        {
            let params = Params { batch: 6, accumulate, packing, deal, ..tiny_params() };
            let batcher = batcher(&tokenizer, &params);
            let mut windows = Windows::new(&shards, &batcher, Position::default()).unwrap();
            let (mut read, mut n_short, mut number) = (Vec::new(), 0, 0);
            while read.iter().collect::<BTreeSet<_>>().len() < 60 {
                number += 1;
                // As a run that is killed behind each step.
                let position = windows.position();
                windows = Windows::new(&shards, &batcher, position).unwrap();
                let step = batcher.step(number, &mut windows, &mut Again::default()).unwrap();
                let seqs: Vec<u64> =
                    step.ranges.iter().flat_map(|range| range.first..=range.last).collect();
                let mut families: Vec<u64> = seqs
                    .iter()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .filter_map(|seq| documents[*seq as usize].family)
                    .collect();
                let n = families.len();
                families.sort_unstable();
                families.dedup();
                assert_eq!(families.len(), n, "{seqs:?}");
                let rows = step.microbatches.iter().map(|batch| &batch.sets[&RowKind::Masked]);
                let n_rows: usize = rows.map(|set| set.rows.ids.len()).sum();
                n_short += usize::from(n_rows < 6 * accumulate);
                read.extend(seqs);
                read.dedup();
            }
            let in_order = read[..60].iter().copied().eq(0..60);
            assert!(in_order || deal > 1, "{read:?}");
            assert!(n_short > 3, "some steps ended early: {n_short}");
        }
    }

    /// Two kinds in one microbatch are made of the same windows, each with its own labels.
    #[test]
    fn a_microbatch_holds_rows_of_several_kinds() {
        let folder = shard_folder(&grammar(40, 3), &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let params = tiny_params();
        let tokenizer = Tokenizer::train(&shards, &BERT, &params.tokenizer, 1).unwrap();
        let kinds = [RowKind::Masked, RowKind::Causal].into();
        let both = Batcher::new(&tokenizer, &PLAIN, &params, 1, &kinds).unwrap();
        let mut windows = Windows::new(&shards, &both, Position::default()).unwrap();
        let step = both.step(1, &mut windows, &mut Again::default()).unwrap();

        let plain = batcher(&tokenizer, &params);
        let mut windows = Windows::new(&shards, &plain, Position::default()).unwrap();
        let alone = plain.step(1, &mut windows, &mut Again::default()).unwrap();

        for (both, alone) in step.microbatches.iter().zip(&alone.microbatches) {
            let (masked, causal) = (&both.sets[&RowKind::Masked], &both.sets[&RowKind::Causal]);
            assert_eq!(
                masked,
                &alone.sets[&RowKind::Masked],
                "one kind more changes none of the others"
            );
            assert_eq!(masked.rows.texts, causal.rows.texts);
            let predicted = causal.rows.ids.iter().map(|row| row.len() - 1).sum::<usize>();
            assert_eq!(causal.labels.len(), predicted);
        }

        let of = |kind: RowKind| {
            alone.microbatches.iter().filter_map(move |batch| batch.sets.get(&kind))
        };
        let tokens = |kind: RowKind| of(kind).map(|set| set.size().0).sum::<u64>();
        assert_eq!(
            step.tokens,
            2 * tokens(RowKind::Masked),
            "rows that nobody asks for are not made"
        );
        assert_eq!(alone.tokens, tokens(RowKind::Masked) + tokens(RowKind::Passages));
    }
}
