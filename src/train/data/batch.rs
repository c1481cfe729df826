//! Makes the microbatches of one optimiser step: takes windows in order and makes rows of them.
//!
//! A row is one window, or with `packing` as many consecutive ones as fit. They do not see one
//! another, and each counts its positions from its own first token, so that packing changes nothing
//! but how much of a row is padding.
//!
//! All microbatches of a step are made before the first is computed, because every loss term is
//! divided by its count over the whole step, not over a microbatch (transformers PR #34191 shows
//! what goes wrong otherwise).

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
        for index in 0..self.params.accumulate as u64 {
            let n_again = again.rows(self.params.batch);
            let mut taken: Vec<Vec<Window>> = (n_again..self.params.batch)
                .map(|_| self.next_row(windows))
                .collect::<Result<_>>()?;
            taken.iter().flatten().for_each(|window| Range::extend(&mut step.ranges, window));

            for seq in again.documents.drain(..n_again) {
                taken.push(vec![windows.again(seq, number)?]);
                step.again.push(seq);
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

    /// The next window, and where rows are packed those behind it that fit into its row.
    fn next_row(&self, windows: &mut Windows) -> Result<Vec<Window>> {
        let mut row = vec![windows.next_window_forever()?];
        if !self.params.packing {
            return Ok(row);
        }
        let mut taken = self.lengths(&row[0]);

        loop {
            let next = self.lengths(windows.peek_forever()?);
            taken = Lengths {
                tokens: taken.tokens + next.tokens,
                decoded: taken.decoded + next.decoded,
            };
            if taken.tokens.max(taken.decoded) > self.params.max_tokens {
                return Ok(row);
            }
            row.push(windows.next_window_forever()?);
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
