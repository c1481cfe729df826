//! A model is asked: log-probabilities of texts, in nats.
//!
//! What is encoded and where a text begins and ends follows lm-evaluation-harness 0.4
//! (`lm_eval/api/model.py`, `lm_eval/models/huggingface.py`), so that numbers are those of its
//! `hf` models. Encoders, which it does not know, are asked by pseudo-log-likelihood: each piece is
//! predicted from both sides, with it and what follows it in its word masked (Salazar et al. 2020,
//! arXiv:1910.14659, in the form of Kauf and Ivanova 2023, arXiv:2305.10588).

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::train::data::probes::{Probe, space};
use crate::train::data::tokenizer::Tokenizer;
use crate::train::model::{Architecture, Family, Inputs, Language, Pass, Tokens, Weights, infer};

/// Tokens of a row of a model that sets no limit; the harness's.
const MAX_TOKENS: usize = 2_048;
/// Places whose logits are held at once.
const LOGITS: usize = 64;

/// A model that can be asked.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Its family.
    pub family: &'static Family,
    /// Its shape and functions.
    pub model: &'a dyn Architecture,
    /// Its weights, detached.
    pub weights: &'a Weights,
    /// How it reads text.
    pub tokenizer: &'a Tokenizer,
    /// What it computes with.
    pub dtype: DType,
    /// Where it is computed.
    pub device: &'a Device,
    /// Most tokens that are computed at once, padding among them.
    pub batch_tokens: usize,
}

/// A text, and what is asked of the model about it: how probable this is behind that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// What stands before; may be empty.
    pub context: String,
    /// What is asked about, with the space that it begins with.
    pub continuation: String,
}

/// A token of a text, and how the vocabulary stands at its place: log-probabilities, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenProb {
    /// Its own.
    pub log_prob: f64,
    /// The mean over the vocabulary, each token by its probability.
    pub mean: f64,
    /// The deviation from it.
    pub deviation: f64,
}

impl TokenProb {
    /// How many deviations it stands above the mean.
    pub fn standing(&self) -> f64 {
        (self.log_prob - self.mean) / self.deviation.max(f64::MIN_POSITIVE)
    }

    fn of(logits: &[f64], token: usize) -> Self {
        let total = log_sum_exp(logits);
        let moment = |power: i32| {
            let of = |logit: &f64| (logit - total).exp() * (logit - total).powi(power);
            logits.iter().map(of).sum::<f64>()
        };
        let mean = moment(1);
        let deviation = (moment(2) - mean * mean).max(0.0).sqrt();
        TokenProb { log_prob: logits[token] - total, mean, deviation }
    }
}

/// How probable what is left out of a probe is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeftOut {
    /// Sum over its tokens, in nats.
    pub log_prob: f64,
    /// Its tokens.
    pub tokens: usize,
}

/// Rows that are computed, and the tokens that are looked for in what is predicted.
struct Query {
    tokens: Vec<u32>,
    /// What the decoder has read, where there are two stacks.
    decoder: Vec<u32>,
    /// Places of the row that is decoded, each with the token that is looked for there.
    asked: Vec<Asked>,
}

struct Asked {
    at: usize,
    token: u32,
}

/// A row that is computed once, for all who ask about it.
struct Row<'a> {
    tokens: &'a [u32],
    decoder: &'a [u32],
    /// Numbers of their queries.
    asking: Vec<usize>,
}

impl Row<'_> {
    fn length(&self) -> usize {
        self.tokens.len() + self.decoder.len()
    }
}

impl Ask<'_> {
    /// How it learned language.
    pub fn language(&self) -> Language {
        self.family.language
    }

    /// Most tokens of a row.
    pub fn max_tokens(&self) -> usize {
        self.model.size().max_tokens.unwrap_or(MAX_TOKENS)
    }

    /// How probable each continuation is behind its context, in nats, for models that predict from
    /// the left.
    ///
    /// # Errors
    /// If the model predicts from both sides, a continuation has no token or more than a row holds,
    /// or the device fails.
    pub fn log_probs(&self, requests: &[Request]) -> Result<Vec<f64>> {
        let queries = requests
            .iter()
            .map(|request| match self.language() {
                Language::Causal => self.causal(request),
                Language::Spans => self.decoded(request),
                Language::Masked => Err(Error::usage(format!(
                    "{} predicts from both sides and has no probability of what follows",
                    self.family.name
                ))),
            })
            .collect::<Result<Vec<Query>>>()?;
        Ok(self.ask(&queries)?.iter().map(|tokens| tokens.iter().sum()).collect())
    }

    /// Whether a request is longer than a row, so that the beginning of its context is not read.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn is_cut(&self, request: &Request) -> Result<bool> {
        let (context, continuation) = split(request);
        let (frame, most) = (&self.tokenizer.frame, self.max_tokens());
        // A token has a byte or more: most questions are not read twice.
        if context.len() + continuation.len() + frame.width() <= most {
            return Ok(false);
        }
        Ok(match self.language() {
            Language::Causal => {
                let behind = behind(self.tokenizer, context, &continuation)?;
                // The last token is predicted, not read.
                self.row(context)?.len() + behind.len() > most + 1
            }
            Language::Spans => {
                frame.around(&[], &self.tokenizer.pieces(context)?.ids, false).len() > most
            }
            // Too long a row is an error there.
            Language::Masked => false,
        })
    }

    /// How probable each continuation is behind its context, in nats; where the model predicts from
    /// both sides, the pseudo-log-likelihood of both together. Either ranks the answers to a
    /// question.
    ///
    /// # Errors
    /// If a text has no token or more than a row holds, or the device fails.
    pub fn judge(&self, requests: &[Request]) -> Result<Vec<f64>> {
        if self.language() != Language::Masked {
            return self.log_probs(requests);
        }
        let texts: Vec<String> =
            requests.iter().map(|one| format!("{}{}", one.context, one.continuation)).collect();
        self.pseudo_log_probs(&texts)
    }

    /// How probable what is left out of each probe is, in nats, alone, without the rest of the
    /// sentence, and how many tokens it has. Models that predict from both sides see the rest of
    /// the sentence, others what stands before.
    ///
    /// # Errors
    /// If a probe has more tokens than a row holds, or the device fails.
    pub fn left_out(&self, probes: &[Probe]) -> Result<Vec<LeftOut>> {
        let query = |probe: &Probe| {
            let gold = &probe.choices[probe.answer];
            let space = space(probe.joined);
            let context = probe.context.clone();
            let request = Request { context, continuation: format!("{space}{gold}") };
            match self.language() {
                Language::Causal => Ok(vec![self.causal(&request)?]),
                Language::Spans => Ok(vec![self.decoded(&request)?]),
                Language::Masked => {
                    let begin = probe.context.len() + space.len();
                    self.masked_within(&probe.statement(), begin..begin + gold.len())
                }
            }
        };
        let (mut queries, mut counts) = (Vec::new(), Vec::new());
        for probe in probes {
            let of_probe = query(probe)?;
            counts.push(of_probe.len());
            queries.extend(of_probe);
        }
        let left_out =
            |tokens: &Vec<f64>| LeftOut { log_prob: tokens.iter().sum(), tokens: tokens.len() };
        Ok(self.grouped(&queries, &counts)?.iter().map(left_out).collect())
    }

    /// How probable each text is by its pseudo-log-likelihood, for models that predict from both
    /// sides.
    ///
    /// # Errors
    /// If the model predicts from the left, a text has no token or more than a row holds, or the
    /// device fails.
    pub fn pseudo_log_probs(&self, texts: &[String]) -> Result<Vec<f64>> {
        if self.language() != Language::Masked {
            let family = self.family.name;
            return Err(Error::usage(format!("{family} does not predict from both sides")));
        }
        let (mut queries, mut counts) = (Vec::new(), Vec::new());
        for text in texts {
            let of_text = self.masked(text)?;
            counts.push(of_text.len());
            queries.extend(of_text);
        }
        self.by_text(&queries, &counts)
    }

    /// How probable each text is from its beginning, in windows that overlap by nothing but one
    /// token of context, as the harness's `loglikelihood_rolling`; for GPT-2 and LLaMA. The token
    /// that begins a text is no part of it here; there it is one of LLaMA's.
    ///
    /// # Errors
    /// If the model is another, or the device fails.
    pub fn rolling(&self, texts: &[String]) -> Result<Vec<f64>> {
        self.check_causal()?;
        let (prefix, most) = (self.prefix()?, self.max_tokens());
        let (mut queries, mut counts) = (Vec::new(), Vec::new());

        for text in texts {
            let ids = self.tokenizer.pieces(text)?.ids;
            let before = queries.len();
            for window in windows(ids.len(), most) {
                let mut tokens = Vec::with_capacity(window.end - window.context);
                tokens.extend(if window.context == 0 { Some(prefix) } else { None });
                let from = window.context.saturating_sub(1);
                tokens.extend_from_slice(&ids[from..window.end - 1]);
                let first = tokens.len() - (window.end - window.begin);
                let asked = (first..).zip(&ids[window.begin..window.end]);
                let asked = asked.map(|(at, token)| Asked { at, token: *token }).collect();
                queries.push(Query { tokens, decoder: Vec::new(), asked });
            }
            counts.push(queries.len() - before);
        }

        self.by_text(&queries, &counts)
    }

    /// Each token of each text of which one before it was read, of as many as a row holds: how
    /// probable it is, and how the vocabulary stands there; for GPT-2 and LLaMA. The rows are as in
    /// training: where the tokenizer puts nothing before a text, its first token is only read.
    ///
    /// # Errors
    /// If the model is another, or the device fails.
    pub fn token_probs(&self, texts: &[&str]) -> Result<Vec<Vec<TokenProb>>> {
        self.check_causal()?;
        let mut rows: Vec<(usize, Vec<u32>)> = Vec::with_capacity(texts.len());
        for (nth, text) in texts.iter().enumerate() {
            let mut row = self.row(text)?;
            row.truncate(self.max_tokens() + 1);
            if row.len() > 1 {
                rows.push((nth, row));
            }
        }
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.len()));

        let mut found = vec![Vec::new(); texts.len()];
        for batch in self.batches(&rows, |(_, row)| row.len()) {
            let read: Vec<&[u32]> = batch.iter().map(|(_, row)| &row[..row.len() - 1]).collect();
            let hidden = self.hidden(&read)?;
            for (at, (nth, row)) in batch.iter().enumerate() {
                found[*nth] = self.standing(&hidden.get(at)?, &row[1..])?;
            }
        }
        Ok(found)
    }

    /// How the vocabulary stands where each of some tokens follows.
    fn standing(&self, hidden: &Tensor, ids: &[u32]) -> Result<Vec<TokenProb>> {
        let pass = Pass::new(self.weights, None);
        let mut found = Vec::with_capacity(ids.len());
        // All logits of a long row would take more than the model.
        for first in (0..ids.len()).step_by(LOGITS) {
            let n = LOGITS.min(ids.len() - first);
            let head = self.model.head(&pass, &hidden.narrow(0, first, n)?)?;
            let logits = head.logits()?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
            let rows = logits.iter().zip(&ids[first..first + n]);
            found.extend(rows.map(|(row, token)| TokenProb::of(row, *token as usize)));
        }
        Ok(found)
    }

    /// The mean of the last hidden states of each text, of as many of its tokens as a row holds; of
    /// two stacks, the encoder's. A text without a token is one of padding.
    ///
    /// # Errors
    /// If the device fails.
    pub fn mean_states(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
        let mut rows: Vec<(usize, Vec<u32>)> = Vec::with_capacity(texts.len());
        for (nth, text) in texts.iter().enumerate() {
            let frame = &self.tokenizer.frame;
            let mut ids = self.tokenizer.pieces(text)?.ids;
            let around = frame.around(&[], &[], false).len();
            ids.truncate(self.max_tokens().saturating_sub(around).max(1));
            let mut row = frame.around(&[], &ids, false);
            if row.is_empty() {
                row.push(frame.pad);
            }
            rows.push((nth, row));
        }
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.len()));

        let mut found = vec![Vec::new(); texts.len()];
        for batch in self.batches(&rows, |(_, row)| row.len()) {
            let tokens: Vec<&[u32]> = batch.iter().map(|(_, row)| row.as_slice()).collect();
            let pad = self.tokenizer.frame.pad;
            let inputs = Inputs::from(Tokens::new(&tokens, pad, self.dtype, self.device)?);
            let pass = Pass::new(self.weights, None);
            let present = inputs.tokens.present.to_dtype(DType::F64)?;
            let hidden = infer(self.model, &pass, &inputs)?.to_dtype(DType::F64)?;
            let total = hidden.broadcast_mul(&present.unsqueeze(2)?)?.sum(1)?;
            let mean = total.broadcast_div(&present.sum_keepdim(candle_core::D::Minus1)?)?;
            for ((nth, _), mean) in batch.iter().zip(mean.to_vec2::<f64>()?) {
                found[*nth] = mean;
            }
        }
        Ok(found)
    }

    /// The text up to its n-th token.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn beginning<'t>(&self, text: &'t str, n: usize) -> Result<&'t str> {
        let (_, places) = self.tokenizer.located(text)?;
        let end = n.min(self.max_tokens()).checked_sub(1).and_then(|last| places.get(last));
        // A token may end inside a character.
        let end = end.map(|place| place.end).filter(|end| text.is_char_boundary(*end));
        Ok(end.map_or(text, |end| &text[..end]))
    }

    /// Whether the most probable token each time gives the `behind` tokens of a text that stand
    /// behind its first `before`.
    ///
    /// # Errors
    /// If the model does not predict from the left, or the device fails.
    pub fn goes_on(&self, text: &str, before: usize, behind: usize) -> Result<bool> {
        self.check_causal()?;
        let row = self.row(text)?;
        let end = self.tokenizer.frame.before.len() + before + behind;
        if row.len() < end || before == 0 || end > self.max_tokens() + 1 {
            return Ok(false);
        }
        // Where all are right so far, what was read is the text itself: one pass tells them all.
        let first = end - behind;
        let rows = self.hidden(&[&row[..end - 1]])?.squeeze(0)?.narrow(0, first - 1, behind)?;
        let pass = Pass::new(self.weights, None);
        let logits = self.model.head(&pass, &rows)?.logits()?;
        let chosen = logits.argmax(candle_core::D::Minus1)?.to_vec1::<u32>()?;
        Ok(chosen == row[first..end])
    }

    /// A text as a row of training begins.
    fn row(&self, text: &str) -> Result<Vec<u32>> {
        let before = self.tokenizer.frame.before.as_slice();
        Ok([before, &self.tokenizer.pieces(text)?.ids].concat())
    }

    /// The last hidden states of rows, `[rows, length, width]`.
    fn hidden(&self, rows: &[&[u32]]) -> Result<Tensor> {
        let pad = self.tokenizer.frame.pad;
        let inputs = Inputs::from(Tokens::new(rows, pad, self.dtype, self.device)?);
        let pass = Pass::new(self.weights, None);
        Ok(infer(self.model, &pass, &inputs)?)
    }

    fn check_causal(&self) -> Result<()> {
        if self.language() == Language::Causal {
            return Ok(());
        }
        let family = self.family.name;
        Err(Error::usage(format!("{family} gives no probability to a text from its beginning"))
            .hint("ask a GPT-2 or a LLaMA"))
    }

    /// What texts come to that are asked about in so many queries each.
    fn by_text(&self, queries: &[Query], counts: &[usize]) -> Result<Vec<f64>> {
        Ok(self.grouped(queries, counts)?.iter().map(|tokens| tokens.iter().sum()).collect())
    }

    /// The tokens' log-probabilities of what is asked about in so many queries each.
    fn grouped(&self, queries: &[Query], counts: &[usize]) -> Result<Vec<Vec<f64>>> {
        let mut found = self.ask(queries)?.into_iter();
        let of_one = |n: &usize| found.by_ref().take(*n).flatten().collect();
        Ok(counts.iter().map(of_one).collect())
    }

    /// What stands before a text that nothing else stands before.
    fn prefix(&self) -> Result<u32> {
        let frame = &self.tokenizer.frame;
        let first = frame.before.first().copied().or(frame.end).or(frame.behind.first().copied());
        first.ok_or_else(|| {
            Error::data("the tokenizer has no token that begins or ends a text")
                .hint("give a folder whose `config.json` names `bos_token_id` or `eos_token_id`")
        })
    }

    fn causal(&self, request: &Request) -> Result<Query> {
        let (context, continuation) = split(request);
        let (before, behind) = match context.is_empty() {
            true => {
                let (prefix, ids) = (self.prefix()?, self.tokenizer.pieces(&continuation)?.ids);
                // A text that begins with it already is not given it twice.
                let own = ids.first() == Some(&prefix);
                (vec![prefix], ids[usize::from(own)..].to_vec())
            }
            false => (self.row(context)?, behind(self.tokenizer, context, &continuation)?),
        };

        self.check(&behind, &continuation)?;
        // Where it is too long, the beginning is left out; the last token is predicted, not read.
        let all = [before, behind.clone()].concat();
        let tokens = &all[all.len().saturating_sub(self.max_tokens() + 1)..all.len() - 1];
        let first = tokens.len() - behind.len();
        let asked = (first..).zip(behind).map(|(at, token)| Asked { at, token }).collect();
        Ok(Query { tokens: tokens.to_vec(), decoder: Vec::new(), asked })
    }

    fn decoded(&self, request: &Request) -> Result<Query> {
        let (context, continuation) = split(request);
        let frame = &self.tokenizer.frame;
        let read = match context.is_empty() {
            true => vec![self.prefix()?],
            false => frame.around(&[], &self.tokenizer.pieces(context)?.ids, false),
        };
        let behind = self.tokenizer.pieces(&continuation)?.ids;
        self.check(&behind, &continuation)?;
        let tokens = read[read.len().saturating_sub(self.max_tokens())..].to_vec();
        let decoder = [&[frame.decoder_start], &behind[..behind.len() - 1]].concat();
        let asked = (0..).zip(behind).map(|(at, token)| Asked { at, token }).collect();
        Ok(Query { tokens, decoder, asked })
    }

    /// A row for each piece of a text.
    fn masked(&self, text: &str) -> Result<Vec<Query>> {
        self.masked_within(text, 0..text.len())
    }

    /// A row for each piece of a text that stands in a range of its bytes.
    fn masked_within(&self, text: &str, range: Range<usize>) -> Result<Vec<Query>> {
        let frame = &self.tokenizer.frame;
        let (pieces, places) = self.tokenizer.located(text)?;
        self.check(&pieces.ids, text)?;
        let row = frame.around(&[], &pieces.ids, false);
        if row.len() > self.max_tokens() {
            return Err(self.too_long(row.len(), text));
        }
        let query = |at: usize| {
            let mut tokens = row.clone();
            let rest =
                (at..pieces.ids.len()).take_while(|on| pieces.words[*on] == pieces.words[at]);
            rest.for_each(|on| tokens[frame.before.len() + on] = frame.mask);
            let asked = vec![Asked { at: frame.before.len() + at, token: pieces.ids[at] }];
            Query { tokens, decoder: Vec::new(), asked }
        };
        let is_within = |at: &usize| places[*at].start < range.end && places[*at].end > range.start;
        Ok((0..pieces.ids.len()).filter(is_within).map(query).collect())
    }

    fn check(&self, ids: &[u32], text: &str) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::data(format!("`{text}` has no token of its own to be predicted"))
                .hint("give answers that add something to the question"));
        }
        if ids.len() > self.max_tokens() {
            return Err(self.too_long(ids.len(), text));
        }
        Ok(())
    }

    fn too_long(&self, n: usize, text: &str) -> Error {
        let begin: String = text.chars().take(40).collect();
        let most = self.max_tokens();
        Error::data(format!("`{begin}…` has {n} tokens, and the model {most} positions"))
            .hint("leave such items out, or ask a model with more positions")
    }

    /// Log-probabilities of what is asked, in the order of the queries. Rows of about one length
    /// are computed at once, and equal rows once.
    fn ask(&self, queries: &[Query]) -> Result<Vec<Vec<f64>>> {
        let mut asking: BTreeMap<(&[u32], &[u32]), Vec<usize>> = BTreeMap::new();
        for (idx, query) in queries.iter().enumerate() {
            asking.entry((&query.tokens, &query.decoder)).or_default().push(idx);
        }
        let row = |((tokens, decoder), asking)| Row { tokens, decoder, asking };
        let mut rows: Vec<Row> = asking.into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.length()));

        let mut found: Vec<Vec<f64>> = vec![Vec::new(); queries.len()];
        for batch in self.batches(&rows, Row::length) {
            let told = self.compute(batch, queries)?;
            for (idx, told) in batch.iter().flat_map(|row| &row.asking).zip(told) {
                found[*idx] = told;
            }
        }
        Ok(found)
    }

    /// Rows, the longest first, cut into what is computed at once.
    fn batches<'r, T>(&self, rows: &'r [T], length: impl Fn(&T) -> usize) -> Vec<&'r [T]> {
        let (mut batches, mut rest) = (Vec::new(), rows);
        while let Some(first) = rest.first() {
            let n = (self.batch_tokens / length(first).max(1)).clamp(1, rest.len());
            let (batch, behind) = rest.split_at(n);
            batches.push(batch);
            rest = behind;
        }
        batches
    }

    /// Log-probabilities of what is asked of some rows, query by query.
    fn compute(&self, batch: &[Row], queries: &[Query]) -> Result<Vec<Vec<f64>>> {
        let pad = self.tokenizer.frame.pad;
        let tokens: Vec<&[u32]> = batch.iter().map(|row| row.tokens).collect();
        let decoder: Vec<&[u32]> = batch.iter().map(|row| row.decoder).collect();
        let padded = |rows: &[&[u32]]| Tokens::new(rows, pad, self.dtype, self.device);
        let has_two = self.language() == Language::Spans;
        let inputs = Inputs {
            tokens: padded(&tokens)?,
            decoder: if has_two { Some(padded(&decoder)?) } else { None },
        };

        let (mut places, mut labels) = (Vec::new(), Vec::new());
        let read = if has_two { &decoder } else { &tokens };
        let length = read.iter().map(|row| row.len()).max().unwrap_or(0);
        for (nth, row) in batch.iter().enumerate() {
            for asked in row.asking.iter().flat_map(|idx| &queries[*idx].asked) {
                places.push((nth * length + asked.at) as u32);
                labels.push(asked.token);
            }
        }

        let pass = Pass::new(self.weights, None);
        let hidden = infer(self.model, &pass, &inputs)?;
        let (n, length, width) = hidden.dims3()?;
        let places = Tensor::from_vec(places, labels.len(), self.device)?;
        let chosen = hidden.reshape((n * length, width))?.index_select(&places, 0)?;
        let mut losses = self.model.head(&pass, &chosen)?.cross_entropies(&labels)?.into_iter();

        let of_query = |idx: &usize| {
            let of = losses.by_ref().take(queries[*idx].asked.len());
            of.map(|loss| -f64::from(loss)).collect()
        };
        Ok(batch.iter().flat_map(|row| &row.asking).map(of_query).collect())
    }
}

/// The logarithm of the sum of what these are logarithms of, in nats: a logit less it is a
/// log-probability.
pub fn log_sum_exp(logits: &[f64]) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln() + most
}

/// Spaces at the end of a context belong to what follows, as tokenizers have them.
fn split(request: &Request) -> (&str, String) {
    let context = request.context.trim_end();
    let spaces = &request.context[context.len()..];
    (context, format!("{spaces}{}", request.continuation))
}

/// The tokens of a continuation behind a context.
///
/// Without a space between them a token may reach over the boundary, as in Chinese. Then the
/// continuation is read for itself: the harness counts tokens off the whole all the same, and asks
/// of others than the continuation's, or of none.
fn behind(tokenizer: &Tokenizer, context: &str, continuation: &str) -> Result<Vec<u32>> {
    let whole = tokenizer.pieces(&format!("{context}{continuation}"))?.ids;
    let before = tokenizer.pieces(context)?.ids;
    match whole.strip_prefix(before.as_slice()) {
        Some(behind) if !behind.is_empty() => Ok(behind.to_vec()),
        _ => Ok(tokenizer.pieces(continuation)?.ids),
    }
}

/// A window of a long text: what it predicts, and from where on it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// The first token that it may see, by what is read before: 0 stands for the prefix.
    context: usize,
    begin: usize,
    end: usize,
}

/// Windows over `n` tokens in rows of at most `most`, each predicting what none before it did
/// (`get_rolling_token_windows` with one token of context; the last looks back as far as it can).
fn windows(n: usize, most: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut begin = 0;
    while begin < n {
        let end = n.min(begin + most);
        // The last one is as long as any.
        let context = if begin == 0 { 0 } else { end - most };
        windows.push(Window { context, begin, end });
        begin = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::shards::Shards;
    use crate::train::fixture::{default_params, grammar, shard_folder};
    use crate::train::model::gpt2::GPT2;
    use crate::train::params::{self, TokenizerKind};

    /// `免疫系统` is one token, or `系统` is, in the midst of which a context ends.
    #[test]
    fn a_token_over_the_boundary_is_not_what_is_asked_about() {
        let mut documents = grammar(20, 1);
        for document in &mut documents {
            document.text = "免疫系统免疫系统 免疫系统 系统 a dose low".to_string();
        }
        let folder = shard_folder(&documents, &[]);
        let shards = Shards::open(folder.path(), "train").unwrap().unwrap();
        let params = params::Tokenizer {
            kind: TokenizerKind::Bpe,
            vocabulary: 400,
            min_frequency: 2,
            ..default_params().tokenizer
        };
        let tokenizer = Tokenizer::train(&shards, &GPT2, &params, 1).unwrap();
        let ids = |text: &str| tokenizer.pieces(text).unwrap().ids;
        assert!(!ids("免疫系统").starts_with(&ids("免疫系")), "a token is over the boundary");
        let of =
            |context: &str, continuation: &str| behind(&tokenizer, context, continuation).unwrap();

        // What is counted off the whole would be nothing, or the stop alone.
        assert_eq!(of("免疫系", "统"), ids("统"));
        assert_eq!(of("免疫系", "统。"), ids("统。"));
        // Where the boundary is one of tokens, they are those of the whole.
        assert_eq!(of("免疫", "系统"), ids("系统"));
        assert_eq!([ids("a dose"), of("a dose", " low")].concat(), ids("a dose low"));
    }
}
