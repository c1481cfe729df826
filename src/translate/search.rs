//! Greedy and beam search, those of transformers 5 to the token (`_sample` without sampling and
//! `_beam_search` in `generation/utils.py`), with the logits processors that MarianMT models use.
//!
//! A row's translation does not depend on the rows beside it: rows that are done leave the batch.

use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flow::dataset::read_json;

/// How a model wants to be searched.
pub const GENERATION: &str = "generation_config.json";

/// A model that is asked for next tokens, row by row.
pub trait Decoder {
    /// The logits of the token behind each row's last, flattened `[rows, vocabulary]`.
    ///
    /// # Errors
    /// If the device fails.
    fn next(&mut self, tokens: &[u32]) -> Result<Vec<f32>>;
    /// Goes on with these rows, in this order; one may be there several times.
    ///
    /// # Errors
    /// If the device fails.
    fn keep(&mut self, rows: &[u32]) -> Result<()>;
}

/// When beam search ends, by `early_stopping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// `false`: once no beam at its present length could do better than the worst of those done.
    Heuristic,
    /// `true`: once as many are done as there are beams.
    Full,
    /// `"never"`: once no beam at any length could.
    Never,
}

/// `generation_config.json`, or the same keys of an older folder's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Fills short rows.
    pub pad: u32,
    /// Begins a translation.
    pub start: u32,
    /// End it.
    pub ends: Vec<u32>,
    /// Stands at the last place, come what may.
    pub forced_end: Option<u32>,
    /// Are never written.
    pub bad: Vec<u32>,
    /// Whether probabilities are brought to 1 again without those.
    pub renormalises: bool,
    /// Most tokens, with the first.
    pub most: usize,
    /// Beams; 1 is greedy.
    pub beams: usize,
    /// The exponent of the length that a sum of log probabilities is divided by.
    pub length_penalty: f32,
    /// When to end.
    pub early: Early,
}

/// Settings that change what is written and are not computed here, and the values that switch
/// them off.
const UNKNOWN: &[(&str, &[f64])] = &[
    ("no_repeat_ngram_size", &[0.0]),
    ("encoder_no_repeat_ngram_size", &[0.0]),
    ("repetition_penalty", &[1.0]),
    ("encoder_repetition_penalty", &[1.0]),
    ("num_beam_groups", &[1.0]),
    ("diversity_penalty", &[0.0]),
    ("min_length", &[0.0]),
    ("min_new_tokens", &[]),
    ("max_new_tokens", &[]),
    ("guidance_scale", &[1.0]),
];
/// The same, which are lists or other things.
const ALSO_UNKNOWN: &[&str] = &[
    "forced_bos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "constraints",
];

impl Generation {
    /// Reads how a folder's model wants to be searched.
    ///
    /// # Errors
    /// If a key is missing or has a value that is not computed here; names it.
    pub fn read(folder: &Path) -> Result<Self> {
        let own: Option<Value> = read_json(&folder.join(GENERATION))?;
        let config: Value = read_json(&folder.join(super::marian::CONFIG))?.unwrap_or_default();
        let place = folder.join(if own.is_some() { GENERATION } else { super::marian::CONFIG });
        let own = own.unwrap_or_default();
        Self::of(&own, &config).map_err(|error| error.at(place.display()))
    }

    fn of(own: &Value, config: &Value) -> Result<Self> {
        let get = |key: &str| {
            [own, config].into_iter().map(|all| &all[key]).find(|value| !value.is_null())
        };
        for (key, off) in UNKNOWN {
            if let Some(value) = get(key)
                && !value.as_f64().is_some_and(|n| off.contains(&n))
            {
                return Err(not_computed(key, value));
            }
        }
        for key in ALSO_UNKNOWN {
            if let Some(value) = get(key) {
                return Err(not_computed(key, value));
            }
        }
        if let Some(value) = get("do_sample")
            && value.as_bool() == Some(true)
        {
            return Err(not_computed("do_sample", value));
        }

        let ids = |key: &str| -> Result<Vec<u32>> {
            let of = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            let all = match get(key) {
                None => return Ok(Vec::new()),
                Some(Value::Array(all)) => all.iter().map(of).collect::<Option<Vec<u32>>>(),
                Some(one) => of(one).map(|id| vec![id]),
            };
            all.ok_or_else(|| Error::data(format!("`{key}` is no token id")))
        };
        let one = |key: &str| -> Result<u32> {
            let first = ids(key)?.first().copied();
            first.ok_or_else(|| Error::data(format!("`{key}` is missing")))
        };
        let bad: Vec<u32> = match get("bad_words_ids") {
            None => Vec::new(),
            Some(value) => serde_json::from_value::<Vec<[u32; 1]>>(value.clone())
                .map_err(|_| not_computed("bad_words_ids", value))?
                .into_iter()
                .map(|[id]| id)
                .collect(),
        };
        let number = |key: &str, default: f64| get(key).and_then(Value::as_f64).unwrap_or(default);
        let early = match get("early_stopping") {
            None | Some(Value::Bool(false)) => Early::Heuristic,
            Some(Value::Bool(true)) => Early::Full,
            Some(Value::String(word)) if word == "never" => Early::Never,
            Some(value) => return Err(not_computed("early_stopping", value)),
        };
        let ends = ids("eos_token_id")?;
        if ends.is_empty() {
            return Err(Error::data("`eos_token_id` is missing"));
        }
        Ok(Generation {
            pad: one("pad_token_id")?,
            start: one("decoder_start_token_id")?,
            ends,
            forced_end: ids("forced_eos_token_id")?.first().copied(),
            bad,
            renormalises: get("renormalize_logits").and_then(Value::as_bool).unwrap_or(false),
            most: number("max_length", 512.0) as usize,
            beams: number("num_beams", 1.0) as usize,
            length_penalty: number("length_penalty", 1.0) as f32,
            early,
        })
    }

    /// The log probabilities of a row's next token, as the processors leave them; `length` is that
    /// of the row. Where only the highest counts they stay logits.
    fn processed(&self, logits: &mut [f32], length: usize) {
        let is_greedy = self.beams == 1;
        if !is_greedy {
            log_softmax(logits);
        }
        for id in &self.bad {
            if let Some(one) = logits.get_mut(*id as usize) {
                *one = f32::NEG_INFINITY;
            }
        }
        if let Some(end) = self.forced_end
            && length + 1 == self.most
        {
            logits.fill(f32::NEG_INFINITY);
            if let Some(one) = logits.get_mut(end as usize) {
                *one = 0.0;
            }
        }
        if self.renormalises && !is_greedy {
            log_softmax(logits);
        }
    }
}

fn not_computed(key: &str, value: &Value) -> Error {
    Error::data(format!("`{key}` is {value}, which kpipe does not compute"))
        .hint(format!("take `{key}` out of the folder's `{GENERATION}` to do without it"))
}

fn log_softmax(logits: &mut [f32]) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|one| f64::from((one - most).exp())).sum();
    let sum = sum.ln() as f32;
    logits.iter_mut().for_each(|one| *one = *one - most - sum);
}

/// One text that is being translated.
pub struct Row {
    /// Its beams, the best first.
    beams: Vec<Beam>,
    /// Translations that ended, the best first.
    done: Vec<Beam>,
    /// Most tokens, beyond which it is given up.
    cap: usize,
    is_over: bool,
}

#[derive(Clone)]
struct Beam {
    tokens: Vec<u32>,
    score: f32,
}

impl Row {
    /// A row with this first token that is given up beyond `cap` tokens.
    pub fn new(start: u32, cap: usize) -> Self {
        let beams = vec![Beam { tokens: vec![start], score: 0.0 }];
        Row { beams, done: Vec::new(), cap, is_over: false }
    }

    fn length(&self) -> usize {
        self.beams.first().map_or(0, |beam| beam.tokens.len())
    }

    /// The translation without its first token; none where none ended.
    fn found(self) -> Option<Vec<u32>> {
        self.done.into_iter().next().map(|best| best.tokens[1..].to_vec())
    }

    /// Goes on by one token, given the log probabilities of each beam's next; says which beam each
    /// new one continues.
    fn step(&mut self, log_probs: &[&[f32]], with: &Generation) -> Vec<usize> {
        match with.beams {
            1 => self.step_greedy(log_probs[0], with),
            _ => self.step_beams(log_probs, with),
        }
    }

    fn step_greedy(&mut self, log_probs: &[f32], with: &Generation) -> Vec<usize> {
        let best = highest(log_probs.iter().copied(), 1)[0];
        let beam = &mut self.beams[0];
        beam.tokens.push(best as u32);
        if with.ends.contains(&(best as u32)) || beam.tokens.len() >= with.most {
            self.done.push(beam.clone());
            self.is_over = true;
        }
        vec![0]
    }

    fn step_beams(&mut self, log_probs: &[&[f32]], with: &Generation) -> Vec<usize> {
        let vocabulary = log_probs[0].len();
        let length = self.length();
        let kept = 2.max(1 + with.ends.len()) * with.beams;
        let all = log_probs.iter().zip(&self.beams);
        let all = all.flat_map(|(row, beam)| row.iter().map(move |one| one + beam.score));
        let all: Vec<f32> = all.collect();
        let best = highest(all.iter().copied(), kept);

        let mut next: Vec<(usize, Beam)> = Vec::with_capacity(with.beams);
        let is_full = with.early == Early::Full && self.done.len() == with.beams;
        for (rank, place) in best.into_iter().enumerate() {
            let (from, token) = (place / vocabulary, (place % vocabulary) as u32);
            let mut tokens = self.beams[from].tokens.clone();
            tokens.push(token);
            let has_ended = with.ends.contains(&token) || tokens.len() >= with.most;
            let score = all[place];
            if !has_ended && next.len() < with.beams {
                next.push((from, Beam { tokens, score }));
            } else if has_ended && rank < with.beams && !is_full {
                // The first token is no part of the translation.
                let score = score / (length as f32).powf(with.length_penalty);
                self.done.push(Beam { tokens, score });
            }
        }
        // Stable: of equals the older stays before.
        self.done.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.done.truncate(with.beams);

        let Some(running) = next.first().map(|(_, beam)| beam.score) else {
            self.is_over = true;
            return Vec::new();
        };
        let reach = match with.early {
            Early::Never if with.length_penalty > 0.0 => with.most - 1,
            _ => length,
        };
        let possible = running / (reach as f32).powf(with.length_penalty);
        let worst = self.done.get(with.beams - 1).map_or(LEAST, |worst| worst.score);
        let is_full = with.early == Early::Full && self.done.len() == with.beams;
        self.is_over = possible <= worst || is_full;
        let from = next.iter().map(|(from, _)| *from).collect();
        self.beams = next.into_iter().map(|(_, beam)| beam).collect();
        from
    }
}

/// What transformers scores a beam that is not there with.
const LEAST: f32 = -1e9;

/// The places of the `n` highest numbers, the highest first, of equals the first one first.
fn highest(numbers: impl Iterator<Item = f32>, n: usize) -> Vec<usize> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(n + 1);
    for (place, number) in numbers.enumerate() {
        if best.len() == n && best.last().is_some_and(|last| number <= last.0) {
            continue;
        }
        let at = best.partition_point(|(other, _)| *other >= number);
        best.insert(at, (number, place));
        best.truncate(n);
    }
    best.into_iter().map(|(_, place)| place).collect()
}

/// The translations of rows, each with its end token; `None` of a row that was given up.
///
/// # Errors
/// If the decoder fails.
pub fn run(
    decoder: &mut impl Decoder,
    mut rows: Vec<Row>,
    with: &Generation,
) -> Result<Vec<Option<Vec<u32>>>> {
    loop {
        let open = |row: &&Row| !row.is_over;
        let tokens: Vec<u32> = rows
            .iter()
            .filter(open)
            .flat_map(|row| row.beams.iter().filter_map(|beam| beam.tokens.last().copied()))
            .collect();
        if tokens.is_empty() {
            return Ok(rows.into_iter().map(Row::found).collect());
        }
        let mut logits = decoder.next(&tokens)?;
        let vocabulary = logits.len() / tokens.len();
        let lengths: Vec<usize> =
            rows.iter().filter(open).flat_map(|row| vec![row.length(); row.beams.len()]).collect();
        let beams = logits.par_chunks_mut(vocabulary).zip(&lengths);
        beams.for_each(|(logits, length)| with.processed(logits, *length));
        let mut logits = logits.chunks(vocabulary);

        // What was computed of a beam goes where it is continued.
        let (mut kept, mut first) = (Vec::new(), 0);
        for row in rows.iter_mut().filter(|row| !row.is_over) {
            let n = row.beams.len();
            let length = row.length();
            let log_probs: Vec<&[f32]> = logits.by_ref().take(n).collect();
            let from = row.step(&log_probs, with);
            if !row.is_over && length >= row.cap {
                row.is_over = true;
                row.done.clear();
            }
            if !row.is_over {
                kept.extend(from.into_iter().map(|beam| (first + beam) as u32));
            }
            first += n;
        }
        let is_same = kept.len() == first && kept.iter().enumerate().all(|(a, b)| a as u32 == *b);
        if !is_same && !kept.is_empty() {
            decoder.keep(&kept)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log probabilities by the tokens before, of which the first is 9.
    struct Table<'a> {
        of: &'a dyn Fn(&[u32]) -> Vec<f32>,
        rows: Vec<Vec<u32>>,
    }

    impl Decoder for Table<'_> {
        fn next(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
            assert_eq!(tokens.len(), self.rows.len());
            self.rows.iter_mut().zip(tokens).for_each(|(row, token)| row.push(*token));
            Ok(self.rows.iter().flat_map(|row| (self.of)(row)).collect())
        }

        fn keep(&mut self, rows: &[u32]) -> Result<()> {
            self.rows = rows.iter().map(|row| self.rows[*row as usize].clone()).collect();
            Ok(())
        }
    }

    fn generation(beams: usize) -> Generation {
        let config = serde_json::json!({
            "pad_token_id": 9, "decoder_start_token_id": 9, "eos_token_id": 0, "max_length": 6,
            "num_beams": beams,
        });
        Generation::of(&config, &Value::Null).unwrap()
    }

    fn found(of: &dyn Fn(&[u32]) -> Vec<f32>, with: &Generation, cap: usize) -> Option<Vec<u32>> {
        let mut table = Table { of, rows: vec![Vec::new(); 2] };
        let rows = vec![Row::new(9, cap), Row::new(9, cap)];
        let mut all = run(&mut table, rows, with).unwrap();
        let (first, second) = (all.remove(0), all.remove(0));
        assert_eq!(first, second);
        first
    }

    /// Greedy takes 1, the likelier token, and must go on with unlikely ones; two beams find that 2
    /// and the end are likelier together.
    #[test]
    fn beams_find_what_greedy_misses() {
        let of = |row: &[u32]| -> Vec<f32> {
            let shares: [f32; 3] = match row {
                [9] => [0.02, 0.5, 0.48],
                [9, 1] => [0.34, 0.33, 0.33],
                [9, 2] => [0.9, 0.05, 0.05],
                _ => [0.9, 0.05, 0.05],
            };
            shares.iter().map(|share| share.ln()).collect()
        };
        assert_eq!(found(&of, &generation(1), 100), Some(vec![1, 0]));
        assert_eq!(found(&of, &generation(2), 100), Some(vec![2, 0]));
        // Without 2: ln 0.5 and ln 0.34 over two tokens are less than with ln 0.33 and ln 0.9 over
        // three.
        let banned = Generation { bad: vec![2], ..generation(2) };
        assert_eq!(found(&of, &banned, 100), Some(vec![1, 1, 0]));
    }

    #[test]
    fn what_does_not_end_is_given_up() {
        let of = |_: &[u32]| vec![-9.0, 0.0, -1.0];
        assert_eq!(found(&of, &generation(1), 3), None);
        assert_eq!(found(&of, &generation(2), 3), None);
        // Within the model's own bound it is ended, as transformers ends it.
        let forced = Generation { forced_end: Some(0), ..generation(1) };
        assert_eq!(found(&of, &forced, 100), Some(vec![1, 1, 1, 1, 0]));
    }

    #[test]
    fn the_highest_come_first_and_equals_in_order() {
        let numbers = [1.0, 3.0, 3.0, f32::NEG_INFINITY, 2.0];
        assert_eq!(highest(numbers.into_iter(), 3), [1, 2, 4]);
        assert_eq!(highest(numbers.into_iter(), 9).len(), 5);
    }
}
