//! What stands where in the order of the shards, and whether it keeps what its build declared.
//!
//! The build writes its quotas into `manifest.json` ([`Declared`]); here they are counted again, so
//! that a run never learns from an order that is not the one it tells of. One byte is kept for each
//! document, from which every step tells what it was made of ([`Curriculum::shares`]).

use arrow::datatypes::{Float32Type, UInt8Type, UInt32Type, UInt64Type};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::train::data::consumed::Range;
use crate::train::data::shards::Shards;

/// Longest documents that a window may be off, two for each of the two strata that are added up,
/// and the share that the build's pacing rounds by.
const OFF: f64 = 4.0;
const ROUNDED: f64 = 0.01;
/// What is compared to see whether texts grow harder: this share of the order at both ends.
const END: f64 = 0.2;

const DOMAIN: u8 = 1;
const HARD: u8 = 2;
const OPENING: u8 = 4;

/// What a build declares of its order: `curriculum.pacing` of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Declared {
    /// Positions in all.
    pub n_positions: usize,
    /// Positions of the opening, which hold general text only.
    pub n_first: usize,
    /// Greatest share of domain text in a window, in tokens.
    pub domain_peak: f64,
    /// Greatest share of hard text in a window, in tokens.
    pub hard_peak: f64,
    /// Tokens of the opening, to which its last document may add.
    pub tokens_first: u64,
    /// Tokens of a window, to which its last document may add.
    pub tokens_window: u64,
    /// Tokens of the longest document.
    pub longest: u64,
    /// The first bucket that is hard: `pipeline.curriculum.hard_from_bucket`.
    #[serde(skip)]
    pub hard_from_bucket: u8,
}

/// What stands where in the training order.
pub struct Curriculum {
    /// What each document is.
    kinds: Vec<u8>,
    /// The bucket of each.
    buckets: Vec<u8>,
    /// The source of each, by its number.
    sources: Vec<u16>,
    /// Their names.
    names: Vec<String>,
    /// Mean difficulty of the last fifth less that of the first.
    rise: f64,
}

/// Shares of the documents of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Of domain text.
    pub domain: f64,
    /// Of hard text.
    pub hard: f64,
}

impl Curriculum {
    /// Reads the order of a split, and checks it where its build declared one.
    ///
    /// # Errors
    /// If a shard cannot be read, or the order breaks what was declared.
    pub fn read(shards: &Shards) -> Result<Self> {
        let declared = shards.declared()?;
        let (mut kinds, mut difficulties, mut buckets) = (Vec::new(), Vec::new(), Vec::new());
        let (mut sources, mut names): (Vec<u16>, Vec<String>) = (Vec::new(), Vec::new());
        let mut lengths: Vec<u32> = Vec::new();
        let columns = ["role", "source", "bucket", "phase", "difficulty", "seq", "n_tokens"];
        // Shards that nothing is declared of may be anybody's, without it.
        let n_columns = columns.len() - usize::from(declared.is_none());

        shards.texts(&columns[..n_columns], |row| {
            let at = kinds.len() as u64;
            let seq = row.value::<UInt64Type>("seq")?;
            if seq != at {
                let what = format!("`seq` is {seq} at the position {at} of the order");
                return Err(Error::data(what).hint("keep the shards of one build only"));
            }
            let is_domain = row.string("role")? == "domain";
            let is_opening = row.string("phase")? == "general";
            kinds.push(u8::from(is_domain) * DOMAIN + u8::from(is_opening) * OPENING);
            difficulties.push(row.value::<Float32Type>("difficulty")?);
            buckets.push(row.value::<UInt8Type>("bucket")?);
            if declared.is_some() {
                lengths.push(row.value::<UInt32Type>("n_tokens")?);
            }
            let source = row.string("source")?;
            let known = names.iter().position(|name| name == source);
            sources.push(known.unwrap_or(names.len()) as u16);
            if known.is_none() {
                names.push(source.to_string());
            }
            Ok(0)
        })?;

        // Where nobody says what is hard, it is the uppermost bucket.
        let hardest = buckets.iter().copied().max().unwrap_or(0).max(1);
        let hard = declared.map_or(hardest, |declared| declared.hard_from_bucket);
        for (kind, bucket) in kinds.iter_mut().zip(&buckets) {
            *kind |= if *bucket >= hard { HARD } else { 0 };
        }

        if let Some(declared) = declared {
            check(&kinds, &lengths, &declared)?;
        }
        Ok(Curriculum { rise: rise(&difficulties), kinds, buckets, sources, names })
    }

    /// Whether the text at the end is harder than that at the beginning.
    pub fn rises(&self) -> bool {
        self.rise > 0.05
    }

    /// The source of the document at `seq`.
    pub fn source(&self, seq: u64) -> Option<&str> {
        let source = *self.sources.get(seq as usize)?;
        self.names.get(usize::from(source)).map(String::as_str)
    }

    /// The bucket of the document at `seq`.
    pub fn bucket(&self, seq: u64) -> Option<u8> {
        self.buckets.get(seq as usize).copied()
    }

    /// What the documents of a step are.
    pub fn shares(&self, ranges: &[Range]) -> Shares {
        let of_range = |range: &Range| {
            let end = (range.last as usize + 1).min(self.kinds.len());
            self.kinds.get(range.first as usize..end).unwrap_or_default()
        };
        let all: Vec<u8> = ranges.iter().flat_map(of_range).copied().collect();
        let share = |kind: u8| {
            let n = all.iter().filter(|one| **one & kind > 0).count();
            n as f64 / all.len().max(1) as f64
        };
        Shares { domain: share(DOMAIN), hard: share(HARD) }
    }
}

/// Mean difficulty of the last fifth less that of the first.
fn rise(difficulties: &[f32]) -> f64 {
    let n = (difficulties.len() as f64 * END).ceil() as usize;
    let mean =
        |part: &[f32]| part.iter().map(|x| f64::from(*x)).sum::<f64>() / part.len().max(1) as f64;
    mean(&difficulties[difficulties.len() - n..]) - mean(&difficulties[..n])
}

/// Counts what was declared.
///
/// # Errors
/// Names the first position that breaks it.
fn check(kinds: &[u8], lengths: &[u32], declared: &Declared) -> Result<()> {
    let broken = |what: String| {
        Err(Error::data(format!("the shards break their curriculum: {what}")).hint(
            "repeat `kpipe build`; or remove `manifest.json` to train on the order that is there",
        ))
    };
    let is_domain = |kind: &u8| kind & DOMAIN > 0;
    // Where all general text is hard, none of it waits.
    let has_easy = kinds.iter().any(|kind| kind & (DOMAIN | HARD) == 0);
    let is_hard = |kind: &u8| kind & HARD > 0 && (is_domain(kind) || has_easy);
    let Declared { n_positions, n_first, domain_peak, hard_peak, .. } = *declared;
    if kinds.len() != n_positions {
        return broken(format!("{} positions instead of {n_positions}", kinds.len()));
    }

    for (at, kind) in kinds.iter().enumerate() {
        if (at < n_first) != (kind & OPENING > 0) {
            return broken(format!(
                "`phase` at position {at} does not fit an opening of {n_first} positions"
            ));
        }
        if at < n_first && (is_domain(kind) || is_hard(kind)) {
            let what = if is_domain(kind) { "domain" } else { "hard" };
            return broken(format!("position {at} of the opening holds {what} text"));
        }
    }

    // Without general text, or without any other, there is nothing to pace by.
    if n_first == 0 && domain_peak == 0.0 && hard_peak == 0.0 {
        return Ok(());
    }
    let length = |at: usize| u64::from(lengths[at].max(1));
    let window = declared.tokens_window.max(1);
    let mut given: u64 = (0..n_first).map(length).sum();
    let (mut first, mut end) = (n_first, declared.tokens_first + window);

    for at in n_first..kinds.len() {
        given += length(at);
        if given < end && at + 1 < kinds.len() {
            continue;
        }
        let tokens = |is_one: &dyn Fn(&u8) -> bool| -> f64 {
            (first..=at).filter(|at| is_one(&kinds[*at])).map(length).sum::<u64>() as f64
        };
        let all = tokens(&|_| true);
        let off = OFF * declared.longest as f64 + ROUNDED * all;
        let (domain, hard) = (tokens(&is_domain), tokens(&is_hard));
        for (name, n, most) in [("domain", domain, domain_peak), ("hard", hard, hard_peak)] {
            if n > most * all + off {
                return broken(format!(
                    "{n} of the {all} tokens at the positions {first} to {at} are of {name} text, \
                     more than {most:.2}"
                ));
            }
        }
        first = at + 1;
        // A long document may fill more than one.
        while end <= given {
            end += window;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: Declared = Declared {
        n_positions: 100,
        n_first: 20,
        domain_peak: 0.8,
        hard_peak: 0.5,
        hard_from_bucket: 4,
        tokens_first: 200,
        tokens_window: 100,
        longest: 1,
    };
    /// Each has ten tokens.
    const LENGTHS: [u32; 100] = [10; 100];

    /// 20 of the opening, then windows of ten with so much domain and hard text.
    fn order(domain: usize, hard: usize) -> Vec<u8> {
        let window =
            (0..10).map(|at| u8::from(at < domain) * DOMAIN + u8::from(at >= 10 - hard) * HARD);
        let windows = std::iter::repeat_n(window.collect::<Vec<u8>>(), 8).flatten();
        std::iter::repeat_n(OPENING, 20).chain(windows).collect()
    }

    #[test]
    fn an_order_that_breaks_its_quotas_is_refused() {
        check(&order(8, 5), &LENGTHS, &DECLARED).unwrap();
        let told = |kinds: &[u8]| check(kinds, &LENGTHS, &DECLARED).unwrap_err().to_string();
        let strict = Declared { domain_peak: 0.3, ..DECLARED };
        let error = check(&order(8, 2), &LENGTHS, &strict).unwrap_err().to_string();
        assert!(
            error.contains("80 of the 100 tokens at the positions 20 to 29 are of domain text"),
            "{error}"
        );
        assert!(told(&order(0, 10)).contains("are of hard text, more than 0.50"));

        // Documents count by what they have: a long one of the domain is too much.
        let mut long = LENGTHS;
        long[20] = 100;
        let error = check(&order(8, 5), &long, &DECLARED).unwrap_err().to_string();
        assert!(error.contains("100 of the 100 tokens at the positions 20 to 20"), "{error}");

        let mut early = order(8, 5);
        early[7] = OPENING | DOMAIN;
        assert!(told(&early).contains("position 7 of the opening holds domain text"));
        early[7] = OPENING | HARD;
        assert!(told(&early).contains("position 7 of the opening holds hard text"));
        early[7] = 0;
        assert!(told(&early).contains("`phase` at position 7"));
        let mut late = order(8, 5);
        late[30] = OPENING;
        assert!(told(&late).contains("`phase` at position 30"));

        assert!(told(&late[1..]).contains("99 positions instead of 100"));

        // Nothing general, nothing paced.
        let (n_positions, n_first) = (40, 0);
        let unpaced =
            Declared { n_positions, n_first, domain_peak: 0.0, hard_peak: 0.0, ..DECLARED };
        check(&[DOMAIN; 40], &LENGTHS, &unpaced).unwrap();
        check(&[0; 40], &LENGTHS, &unpaced).unwrap();
    }

    #[test]
    fn a_step_tells_what_it_was_made_of() {
        let kinds = order(8, 5);
        let (buckets, sources) = (vec![0; kinds.len()], vec![0; kinds.len()]);
        let names = vec!["toy".to_string()];
        let curriculum = Curriculum { kinds, buckets, sources, names, rise: 0.0 };
        assert_eq!((curriculum.source(3), curriculum.bucket(3)), (Some("toy"), Some(0)));
        assert_eq!((curriculum.source(1_000), curriculum.bucket(1_000)), (None, None));

        let range = |first: u64, last: u64| Range {
            epoch: 0,
            first,
            first_window: 0,
            last,
            last_window: 0,
            ends: true,
            ids: String::new(),
        };
        let shares = |ranges: &[Range]| curriculum.shares(ranges);
        assert_eq!(shares(&[range(0, 9)]), Shares::default());
        assert_eq!(shares(&[range(20, 29)]), Shares { domain: 0.8, hard: 0.5 });
        // The end of an epoch and the beginning of the next.
        let over = shares(&[range(90, 99), range(0, 9)]);
        assert_eq!(over, Shares { domain: 0.4, hard: 0.25 });
        assert_eq!(shares(&[]), Shares::default());
    }

    #[test]
    fn what_grows_harder_is_known() {
        let rising: Vec<f32> = (0..100).map(|at| at as f32 / 100.0).collect();
        assert!((rise(&rising) - 0.8).abs() < 1e-6);
        assert!(rise(&[0.5; 7]).abs() < 1e-9 && rise(&[]).abs() < 1e-9);
    }
}
