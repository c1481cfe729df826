//! Does a model know texts it was trained on by heart? Seen texts against others that are like
//! them.
//!
//! Each text gets scores that are higher where a model has seen it; each score is judged by how
//! well it tells the two sides apart. A model that learned what texts mean predicts unseen texts of
//! the same kind as well as seen ones; so a perplexity that is lower on seen text than on matched
//! unseen text is the sign of memorisation (Carlini et al. 2021, arXiv:2012.07805), although it was
//! asked for as one of understanding. Both readings are told, with the numbers.
//!
//! What differs between the two sides must be that one was seen, or the scores tell something else
//! (Duan et al. 2024, arXiv:2402.07841): take both from one source, and unseen texts that share no
//! passage with seen ones. So each unseen text is put beside a seen one of its group (of shards,
//! source and difficulty bucket) and about its length, of these the nearest by its date; where none
//! is left, it is left out. Texts that share 13 words in a row with any seen one are left out too,
//! as are texts that are too short, and all are counted; of longer ones the same number of tokens
//! is looked at.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::exposure::{SHARED, passages};
use super::metrics::{Metric, auc, middle, packed_bytes, share};
use super::model::Model;
use super::tasks::Item;
use crate::draw;
use crate::error::{Error, Result};
use crate::flow::dataset::{write_atomically, write_json};
use crate::flow::progress::Progress;
use crate::train::ask::TokenProb;

/// Share of the least probable tokens that Min-K % looks at (Shi et al. 2024, arXiv:2310.16789).
const LEAST_PROBABLE: f64 = 0.2;
/// Tokens that a text is begun with, and that must follow word for word (Carlini et al. 2023,
/// arXiv:2202.07646).
const VERBATIM: [usize; 2] = [50, 50];
/// Random divisions that an area under the curve is compared with.
const PERMUTATIONS: usize = 1_000;

/// How texts are looked at.
pub struct Job<'a> {
    /// Where the results go.
    pub out: &'a Path,
    /// Tokens of a text that are looked at, from its beginning.
    pub tokens: usize,
    /// Texts with fewer tokens are left out.
    pub least_tokens: usize,
    /// Most texts of each side.
    pub limit: usize,
    /// Seen texts that are continued, to see whether they come out word for word.
    pub continued: usize,
    /// Seed of bootstrap and permutations.
    pub seed: u64,
    /// Where to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// Texts that were trained on, of which there may be more than fit into memory.
pub struct Seen {
    /// A sample of them, each with its draw.
    sample: Vec<(u64, Item)>,
    /// Passages of unseen texts, and those that were met in a seen one.
    wanted: HashSet<u64>,
    met: HashSet<u64>,
    most: usize,
}

/// Texts that are looked at before it is told how far it is.
const CHUNK: usize = 64;
/// Seen texts that are kept for each one that is looked at, to choose one of like length from.
const CHOICE: usize = 50;
/// By how much two texts that are put beside one another may differ in length.
const LIKE: f64 = 1.25;
/// Bytes of a token, where lengths are compared before there are tokens.
const TOKEN_BYTES: usize = 4;

impl Seen {
    /// None yet, to be compared with these unseen ones.
    pub fn beside(unseen: &[Item], job: &Job) -> Self {
        let wanted = unseen.iter().flat_map(|item| passages(&item.choices[0], SHARED)).collect();
        let (sample, met, most) = (Vec::new(), HashSet::new(), CHOICE * job.limit);
        Seen { sample, wanted, met, most }
    }

    /// Takes one more; which ones are kept does not depend on their order.
    pub fn add(&mut self, item: Item, seed: u64) {
        let passages = passages(&item.choices[0], SHARED);
        self.met.extend(passages.filter(|hash| self.wanted.contains(hash)));
        let drawn = draw::unit(seed, "seen texts", item.choices[0].as_bytes()).to_bits();
        self.sample.push((drawn, item));
        if self.sample.len() >= 2 * self.most {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.sample.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
        self.sample.truncate(self.most);
    }

    /// The seen and the unseen texts that stand beside one another, and how many unseen ones have
    /// none of their kind.
    fn matched<'a>(
        &'a self,
        unseen: &[&'a Item],
        job: &Job,
    ) -> (Vec<&'a Item>, Vec<&'a Item>, usize) {
        let length = |item: &Item| item.choices[0].len().min(TOKEN_BYTES * job.tokens);
        let mut free: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for (_, item) in &self.sample {
            free.entry(&item.group).or_default().push(item);
        }
        free.values_mut().for_each(|items| items.sort_by_key(|item| length(item)));

        let (mut left, mut right, mut alone) = (Vec::new(), Vec::new(), 0);
        for item in unseen {
            if left.len() == job.limit {
                break;
            }
            let own = length(item) as f64;
            let ratio = |other: &Item| (length(other) as f64 / own).max(own / length(other) as f64);
            let group = free.get_mut(item.group.as_str());
            let near = group.and_then(|group| {
                let from = group.partition_point(|other| own / length(other) as f64 > LIKE);
                let to = group.partition_point(|other| length(other) as f64 / own <= LIKE);
                let nearest = (from..to).min_by(|a, b| {
                    let (a, b) = (group[*a], group[*b]);
                    let by_date = years_apart(a, item).total_cmp(&years_apart(b, item));
                    by_date.then(ratio(a).total_cmp(&ratio(b)))
                })?;
                Some(group.remove(nearest))
            });
            match near {
                Some(seen) => {
                    left.push(seen);
                    right.push(*item);
                }
                None => alone += 1,
            }
        }
        (left, right, alone)
    }
}

/// Years between two texts; as far as can be where one has no date.
fn years_apart(a: &Item, b: &Item) -> f64 {
    a.year.zip(b.year).map_or(f64::INFINITY, |(a, b)| (a - b).abs())
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Memorisation {
    /// The model, as it was named, and a hash of its files.
    pub model: String,
    /// See `model`.
    pub model_hash: String,
    /// The model it is compared with, such as the one it went on from.
    pub base: Option<String>,
    /// Texts of the two sides.
    pub seen: Side,
    /// See `seen`.
    pub unseen: Side,
    /// How well each score tells the sides apart, by its name.
    pub scores: BTreeMap<&'static str, Apart>,
    /// Perplexity of seen texts over that of unseen ones.
    pub ratio: f64,
    /// Median of the years between the dates of two texts beside one another, and how many have
    /// both; none where no two have.
    pub years_apart: Option<YearsApart>,
    /// `ln` of the perplexity of unseen texts less that of seen ones, and its 95 % interval.
    pub gap: [f64; 3],
    /// The same less that of the base: what training has added.
    pub gap_over_base: Option<[f64; 3]>,
    /// Share of seen texts that go on word for word.
    pub verbatim: Option<Metric>,
    /// What the numbers say to those who take a lower perplexity for knowledge by heart.
    pub as_memorisation: String,
    /// And to those who take it for understanding.
    pub as_understanding: String,
}

/// How far the dates of texts beside one another are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct YearsApart {
    /// Median, in years.
    pub median: f64,
    /// Pairs of texts that both have a date.
    pub n: usize,
}

impl YearsApart {
    fn of(left: &[&Item], right: &[&Item]) -> Option<Self> {
        let all = left.iter().zip(right).map(|(a, b)| years_apart(a, b));
        let mut known: Vec<f64> = all.filter(|years| years.is_finite()).collect();
        known.sort_by(f64::total_cmp);
        let median = *known.get(known.len() / 2)?;
        Some(YearsApart { median, n: known.len() })
    }
}

/// One side.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    /// Texts that were looked at.
    pub texts: usize,
    /// Texts that were left out, being too short.
    pub too_short: usize,
    /// Texts that were left out, since they share a passage with a seen one.
    pub shared: usize,
    /// Texts that were left out, since no seen one is of their kind and length.
    pub alone: usize,
    /// Mean tokens of a text.
    pub mean_tokens: f64,
    /// Perplexity, over all tokens.
    pub perplexity: f64,
}

/// How well a score tells the sides apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Apart {
    /// Area under the curve: how often a seen text has the higher score. 0.5 is chance.
    pub auc: f64,
    /// Ends of its 95 % interval, by a bootstrap over both sides.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Share of random divisions of the texts that reach it.
    pub p_value: f64,
    /// Share of seen texts that are found where one in twenty unseen ones is taken for seen.
    pub tpr_at_5_fpr: f64,
}

/// A text as a model sees it.
struct Read<'a> {
    text: &'a str,
    tokens: Vec<TokenProb>,
    lower: f64,
    base: Option<f64>,
}

impl Read<'_> {
    /// Mean log-probability of a token.
    fn mean(&self) -> f64 {
        mean(self.tokens.iter().map(|token| token.log_prob))
    }
}

/// Compares seen texts with unseen ones, and writes `memorisation.json` and `memorisation.md`.
///
/// # Errors
/// If a side has no text left, the model does not predict from the left, or the device fails.
pub fn measure(
    model: &Model,
    base: Option<&Model>,
    mut seen: Seen,
    unseen: &[Item],
    job: &Job,
) -> Result<Memorisation> {
    std::fs::create_dir_all(job.out).map_err(|cause| Error::file("create", job.out, cause))?;
    seen.cut();
    let is_shared =
        |item: &Item| passages(&item.choices[0], SHARED).any(|hash| seen.met.contains(&hash));
    let apart: Vec<&Item> = unseen.iter().filter(|item| !is_shared(item)).collect();
    let shared = unseen.len() - apart.len();
    let (left, right, alone) = seen.matched(&apart, job);
    job.progress.begin("memorisation", Some(2 * left.len() as u64), "texts");

    let (read_seen, mut side_seen) = read(model, base, &left, job)?;
    let (read_unseen, mut side_unseen) = read(model, base, &right, job)?;
    (side_unseen.shared, side_unseen.alone) = (shared, alone);
    for (name, side) in [("seen", &mut side_seen), ("unseen", &mut side_unseen)] {
        if side.texts == 0 {
            return Err(Error::data(format!(
                "no {name} text is left: {} are too short, {shared} share {SHARED} words in a row \
                 with a seen one, {alone} have none of their kind and length beside them",
                side.too_short
            ))
            .hint("give more texts, or fewer `--least-tokens`"));
        }
    }

    let verbatim = verbatim(model, &read_seen, job)?;
    let scores: BTreeMap<&'static str, Apart> = SCORES
        .iter()
        .filter(|score| !score.needs_base || base.is_some())
        .map(|score| {
            let of = |texts: &[Read]| texts.iter().map(score.of).collect::<Vec<f64>>();
            (score.name, told_apart(&of(&read_seen), &of(&read_unseen), score.name, job.seed))
        })
        .collect();
    let gap_of = |of: fn(&Read) -> f64| {
        let values = |texts: &[Read]| texts.iter().map(of).collect::<Vec<f64>>();
        gap(&values(&read_seen), &values(&read_unseen), job.seed)
    };
    let found = gap_of(|text| text.mean());
    let over_base = base.map(|_| gap_of(|text| text.mean() - text.base.unwrap_or(0.0)));
    let ratio = side_seen.perplexity / side_unseen.perplexity;
    let p_value = scores[if base.is_some() { "over_base" } else { "loss" }].p_value;
    let [as_memorisation, as_understanding] =
        readings(ratio, over_base.unwrap_or(found), p_value, base);

    let told = Memorisation {
        model: model.name.clone(),
        model_hash: model.hash.clone(),
        base: base.map(|base| base.name.clone()),
        seen: side_seen,
        unseen: side_unseen,
        scores,
        ratio,
        years_apart: YearsApart::of(&left, &right),
        gap: found,
        gap_over_base: over_base,
        verbatim,
        as_memorisation,
        as_understanding,
    };
    write_json(&job.out.join("memorisation.json"), &told)?;
    write_atomically(&job.out.join("memorisation.md"), markdown(&told).as_bytes())?;
    job.progress.end(&format!("perplexity {:.3} times that of unseen texts", told.ratio));
    Ok(told)
}

/// A score of a text: higher where it was seen.
struct Score {
    name: &'static str,
    about: &'static str,
    needs_base: bool,
    of: fn(&Read) -> f64,
}

static SCORES: &[Score] = &[
    Score {
        name: "loss",
        about: "mean log-probability of a token",
        needs_base: false,
        of: |text| text.mean(),
    },
    Score {
        name: "over_base",
        about: "the same less the base's",
        needs_base: true,
        of: |text| text.mean() - text.base.unwrap_or(0.0),
    },
    Score {
        name: "zlib",
        about: "the same over the bytes that zlib packs the text into",
        needs_base: false,
        of: |text| text.mean() / packed_bytes(text.text) as f64,
    },
    Score {
        name: "lower_case",
        about: "what is lost where the text is put into small letters",
        needs_base: false,
        of: |text| text.lower / text.mean(),
    },
    Score {
        name: "min_k",
        about: "mean log-probability of the fifth of the tokens that are least probable",
        needs_base: false,
        of: |text| least(text.tokens.iter().map(|token| token.log_prob).collect()),
    },
    Score {
        name: "min_k_pp",
        about: "the same in deviations from the mean over the vocabulary (arXiv:2404.02936)",
        needs_base: false,
        of: |text| least(text.tokens.iter().map(TokenProb::standing).collect()),
    },
];

/// Mean of the least of some values; of one at least.
fn least(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = ((values.len() as f64 * LEAST_PROBABLE) as usize).max(1);
    mean(values.into_iter().take(n))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    sum / f64::from(n.max(1))
}

/// Texts as the model sees them, with what they come to together.
fn read<'a>(
    model: &Model,
    base: Option<&Model>,
    items: &[&'a Item],
    job: &Job,
) -> Result<(Vec<Read<'a>>, Side)> {
    let (mut found, mut side) = (Vec::new(), Side::default());
    for some in items.chunks(CHUNK) {
        let of = |item: &&'a Item| model.ask().beginning(&item.choices[0], job.tokens);
        let texts: Vec<&str> = some.iter().map(of).collect::<Result<_>>()?;
        let tokens = model.ask().token_probs(&texts)?;
        let long: Vec<(&str, Vec<TokenProb>)> = texts
            .into_iter()
            .zip(tokens)
            .filter(|(_, tokens)| tokens.len() >= job.least_tokens)
            .collect();
        side.too_short += some.len() - long.len();

        let texts: Vec<&str> = long.iter().map(|(text, _)| *text).collect();
        let small: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        let small: Vec<&str> = small.iter().map(String::as_str).collect();
        let means = |model: &Model, texts: &[&str]| -> Result<Vec<f64>> {
            let found = model.ask().token_probs(texts)?;
            Ok(found.iter().map(|one| mean(one.iter().map(|token| token.log_prob))).collect())
        };
        let lower = means(model, &small)?;
        let of_base = base.map(|base| means(base, &texts)).transpose()?;
        for (nth, (text, tokens)) in long.into_iter().enumerate() {
            let base = of_base.as_ref().map(|of_base| of_base[nth]);
            found.push(Read { text, tokens, lower: lower[nth], base });
        }
        job.progress.advance(some.len() as u64);
    }

    let tokens = || found.iter().flat_map(|text: &Read| &text.tokens);
    side.texts = found.len();
    side.mean_tokens = tokens().count() as f64 / found.len().max(1) as f64;
    side.perplexity = (-mean(tokens().map(|token| token.log_prob))).exp();
    Ok((found, side))
}

/// Whether seen texts go on word for word, by the most probable token each time.
fn verbatim(model: &Model, seen: &[Read], job: &Job) -> Result<Option<Metric>> {
    let [before, behind] = VERBATIM;
    let long = seen.iter().filter(|text| text.tokens.len() >= before + behind).take(job.continued);
    let right = long
        .map(|text| model.ask().goes_on(text.text, before, behind))
        .collect::<Result<Vec<bool>>>()?;
    Ok((!right.is_empty()).then(|| share("verbatim", &right, BTreeMap::new())))
}

fn told_apart(seen: &[f64], unseen: &[f64], name: &str, seed: u64) -> Apart {
    let found = auc(seen, unseen);
    let mut draws = draw::stream(seed, "memorisation", name.as_bytes());
    let again = |values: &[f64], draws: &mut ChaCha8Rng| -> Vec<f64> {
        (0..values.len()).map(|_| values[draw::next_below(draws, values.len())]).collect()
    };
    let (low, high) = middle(|| auc(&again(seen, &mut draws), &again(unseen, &mut draws)));

    let mut all = [seen, unseen].concat();
    let reached = (0..PERMUTATIONS)
        .filter(|_| {
            draw::shuffle(&mut all, &mut draws);
            auc(&all[..seen.len()], &all[seen.len()..]) >= found
        })
        .count();

    let mut sorted = unseen.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    // At most one in twenty unseen texts lies above.
    let bound = sorted[(unseen.len() / 20).min(unseen.len() - 1)];
    let above = seen.iter().filter(|value| **value > bound).count();
    Apart {
        auc: found,
        low,
        high,
        p_value: (reached + 1) as f64 / (PERMUTATIONS + 1) as f64,
        tpr_at_5_fpr: above as f64 / seen.len() as f64,
    }
}

/// Mean of the seen less that of the unseen, with the middle 95 % of a bootstrap over both.
fn gap(seen: &[f64], unseen: &[f64], seed: u64) -> [f64; 3] {
    let mut draws = draw::stream(seed, "memorisation gap", b"");
    let mut once = |values: &[f64]| {
        mean((0..values.len()).map(|_| values[draw::next_below(&mut draws, values.len())]))
    };
    let (low, high) = middle(|| once(seen) - once(unseen));
    let of = |values: &[f64]| mean(values.iter().copied());
    [of(seen) - of(unseen), low, high]
}

/// What chance may reach before texts are said to be known by heart: of few texts, a bootstrap's
/// interval alone is too narrow.
const BY_CHANCE: f64 = 0.01;

/// What the numbers say, read in both ways; `p_value` is that of the score behind the gap.
fn readings(ratio: f64, gap: [f64; 3], p_value: f64, base: Option<&Model>) -> [String; 2] {
    let [value, low, high] = gap;
    let of = if base.is_some() { "training has added" } else { "there is" };
    let known = match (low > 0.0 && p_value < BY_CHANCE, high < 0.0 && p_value > 1.0 - BY_CHANCE) {
        (true, _) => "seen texts are known better than unseen ones of their kind: memorised",
        (_, true) => "unseen texts are known better: the two sides are not alike",
        _ => "no difference beyond chance: not memorised, as far as this shows",
    };
    let memorised = format!(
        "{of} a gap of {value:.4} nats a token ({low:.4} to {high:.4}, p {p_value:.4}); {known}"
    );
    let lower = if ratio < 1.0 { "lower" } else { "not lower" };
    let understood = format!(
        "the perplexity of seen texts is {ratio:.4} times that of unseen ones, {lower}; as it was \
         asked for, a lower one is a sign of understanding, but a model that understands is as good \
         on unseen texts of the same kind, so this reading needs the other tasks"
    );
    [memorised, understood]
}

/// The results as a page.
pub fn markdown(told: &Memorisation) -> String {
    let mut text = format!("# {}\n\n", told.model);
    if let Some(base) = &told.base {
        text += &format!("Compared with `{base}`.\n\n");
    }
    text += "| texts | looked at | too short | share a passage | none beside | tokens | perplexity |\n\
             |---|---|---|---|---|---|---|\n";
    for (name, side) in [("seen", &told.seen), ("unseen", &told.unseen)] {
        text += &format!(
            "| {name} | {} | {} | {} | {} | {:.1} | {:.4} |\n",
            side.texts, side.too_short, side.shared, side.alone, side.mean_tokens, side.perplexity
        );
    }
    if let Some(YearsApart { median, n }) = told.years_apart {
        text += &format!("\n{n} pairs have dates, half of them within {median:.2} years.\n");
    }
    text += "\n| score | AUC | interval | p | found at 5 % false | what it is |\n\
             |---|---|---|---|---|---|\n";
    for score in SCORES {
        let Some(apart) = told.scores.get(score.name) else { continue };
        let Apart { auc, low, high, p_value, tpr_at_5_fpr } = apart;
        text += &format!(
            "| `{}` | {auc:.4} | {low:.4}–{high:.4} | {p_value:.4} | {tpr_at_5_fpr:.4} | {} |\n",
            score.name, score.about
        );
    }
    if let Some(Metric { value, low, high, n, .. }) = &told.verbatim {
        let [before, behind] = VERBATIM;
        text += &format!(
            "\n{value:.4} of {n} seen texts ({low:.4}–{high:.4}) go on word for word for {behind} \
             tokens behind {before}.\n"
        );
    }
    text + &format!(
        "\n- As memorisation: {}.\n- As understanding: {}.\n",
        told.as_memorisation, told.as_understanding
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::progress::Silent;
    use crate::train::data::stream::Document;
    use crate::train::fixture::{job, shard_folder, tiny_params};
    use crate::train::train;
    use candle_core::{DType, Device};

    #[test]
    fn sides_that_differ_are_told_apart_and_others_are_not() {
        let values = |add: f64| -> Vec<f64> {
            (0..200_u32).map(|n| draw::unit(3, &format!("{add}"), &n.to_le_bytes()) + add).collect()
        };
        let far = told_apart(&values(2.0), &values(0.0), "x", 1);
        assert!(far.auc == 1.0 && far.p_value < 0.01 && far.tpr_at_5_fpr == 1.0, "{far:?}");
        let same = told_apart(&values(0.0), &values(1e-9), "x", 1);
        assert!(same.low < 0.5 && same.high > 0.5 && same.p_value > 0.02, "{same:?}");
        assert!(same.tpr_at_5_fpr < 0.15, "{same:?}");
        let [value, low, high] = gap(&values(2.0), &values(0.0), 1);
        assert!((value - 2.0).abs() < 0.1 && low > 1.8 && high < 2.2);
    }

    /// The lowest fifth of ten log-probabilities: −(4 + 3) / 2.
    #[test]
    fn the_least_probable_tokens_are_looked_at() {
        let values = [-0.1, -2.0, -0.5, -3.0, -1.0, -0.2, -0.3, -4.0, -0.6, -0.9];
        assert!((least(values.to_vec()) + 3.5).abs() < 1e-12);
        assert_eq!(least(vec![-2.0]), -2.0, "one at least");
        let token = TokenProb { log_prob: -1.0, mean: -3.0, deviation: 0.5 };
        assert_eq!(token.standing(), 4.0);
    }

    /// Each unseen text stands beside a seen one of its group and length.
    #[test]
    fn texts_of_one_kind_are_put_beside_one_another() {
        let item = |group: &str, length: usize| Item {
            group: group.to_string(),
            choices: vec!["a".repeat(length)],
            ..Item::default()
        };
        let out = tempfile::tempdir().unwrap();
        let job = Job {
            out: out.path(),
            tokens: 256,
            least_tokens: 1,
            limit: 100,
            continued: 0,
            seed: 1,
            progress: &Silent,
        };
        let unseen = [item("x", 100), item("x", 101), item("y", 300), item("z", 100)];
        let mut seen = Seen::beside(&unseen, &job);
        for one in [item("x", 90), item("x", 500), item("y", 100), item("y", 310), item("x", 104)] {
            seen.add(one, 1);
        }
        seen.cut();
        let (left, right, alone) = seen.matched(&unseen.iter().collect::<Vec<_>>(), &job);
        let lengths = |items: &[&Item]| -> Vec<usize> {
            items.iter().map(|item| item.choices[0].len()).collect()
        };
        assert_eq!((lengths(&left), lengths(&right)), (vec![104, 90, 310], vec![100, 101, 300]));
        assert_eq!(alone, 1);

        // Of those of like length the nearest by date, where both have one.
        let dated = |length: usize, year: f64| Item { year: Some(year), ..item("x", length) };
        let unseen = [dated(100, 2006.0), item("x", 100)];
        let mut seen = Seen::beside(&unseen, &job);
        for one in [dated(100, 2020.0), dated(110, 2006.5), item("x", 101), dated(200, 2006.0)] {
            seen.add(one, 1);
        }
        let (left, right, _) = seen.matched(&unseen.iter().collect::<Vec<_>>(), &job);
        assert_eq!(lengths(&left), [110, 100]);
        assert_eq!(YearsApart::of(&left, &right), Some(YearsApart { median: 0.5, n: 1 }));
    }

    #[test]
    fn thirteen_words_in_a_row_are_shared() {
        let text =
            |skip: usize| (skip..skip + 14).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
        let shares = |a: &str, b: &str| {
            let known: HashSet<u64> = passages(a, SHARED).collect();
            passages(b, SHARED).any(|hash| known.contains(&hash))
        };
        assert!(shares(&text(0), &text(1).to_uppercase()));
        assert!(!shares(&text(0), &text(2)));
        assert_eq!(passages("only a few words", SHARED).count(), 0);
    }

    /// Texts of 24 words in any order: nothing can be learned of them but the texts themselves.
    fn documents(n: usize, seed: u64) -> Vec<Document> {
        const WORDS: [&str; 16] = [
            "fever", "nurse", "river", "tablet", "garden", "cough", "doctor", "window", "clinic",
            "old", "walks", "gives", "never", "quick", "opens", "sees",
        ];
        let text = |seq: usize| {
            let mut draws = draw::stream(seed, "texts", &seq.to_le_bytes());
            let words = (0..24).map(|_| WORDS[draw::next_below(&mut draws, WORDS.len())]);
            words.collect::<Vec<_>>().join(" ")
        };
        let document = |seq: usize| Document {
            seq: seq as u64,
            id: format!("t:{seq}"),
            text: text(seq),
            rewrites: Vec::new(),
            line: String::new(),
            family: None,
        };
        (0..n).map(document).collect()
    }

    fn items(documents: &[Document]) -> Vec<Item> {
        let item = |one: &Document| Item { choices: vec![one.text.clone()], ..Item::default() };
        documents.iter().map(item).collect()
    }

    /// A GPT-2 after so many steps.
    fn trained(shards: &Path, out: &Path, steps: u64) -> Model {
        let mut params = tiny_params();
        (params.steps, params.batch, params.accumulate, params.max_tokens) = (steps, 10, 1, 64);
        (params.eval_every, params.save_every) = (0, 0);
        (params.optimiser.lr, params.optimiser.weight_decay) = (3e-3, 0.0);
        params.tokenizer.kind = crate::train::params::TokenizerKind::Bpe;
        params.objective.set("contrastive", "weight", 0.0);
        params.config = serde_json::from_value(serde_json::json!({
            "model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64,
            "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0
        }))
        .unwrap();
        train(&job(shards, out, &Silent), &params).unwrap();
        Model::open(out.to_str().unwrap(), DType::F32, &Device::Cpu, 2_048, &Silent).unwrap()
    }

    /// A model that was trained on a few texts over and over knows them by heart, and says so; one
    /// that was not does not.
    #[test]
    fn texts_known_by_heart_are_found_out() {
        let (seen, unseen) = (documents(20, 3), documents(20, 9));
        let shards = shard_folder(&seen, &[]);
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [by_heart, fresh, out] = &folders;
        let by_heart = trained(shards.path(), by_heart.path(), 400);
        let fresh = trained(shards.path(), fresh.path(), 1);
        let job = Job {
            out: out.path(),
            tokens: 60,
            least_tokens: 10,
            limit: 100,
            continued: 10,
            seed: 17,
            progress: &Silent,
        };

        let unseen = items(&unseen);
        let given = |unseen: &[Item]| {
            let mut given = Seen::beside(unseen, &job);
            items(&seen).into_iter().for_each(|item| given.add(item, job.seed));
            given
        };
        let told = measure(&by_heart, Some(&fresh), given(&unseen), &unseen, &job).unwrap();
        for name in ["loss", "over_base", "zlib", "min_k", "min_k_pp"] {
            let apart = told.scores[name];
            assert!(apart.auc >= 0.99 && apart.p_value < 0.01, "{name}: {apart:?}");
        }
        assert!(told.ratio < 0.7 && told.gap_over_base.unwrap()[1] > 0.0, "{told:?}");
        assert!(told.as_memorisation.ends_with("memorised"), "{}", told.as_memorisation);
        assert!(told.as_understanding.contains("lower"));
        let told_again = std::fs::read_to_string(out.path().join("memorisation.md")).unwrap();
        assert!(told_again.contains("`min_k_pp`") && told_again.contains("As understanding"));

        let told = measure(&fresh, None, given(&unseen), &unseen, &job).unwrap();
        for (name, apart) in &told.scores {
            assert!(apart.low <= 0.5 && apart.high >= 0.5, "{name}: {apart:?}");
        }
        assert!(told.as_memorisation.contains("not memorised"), "{}", told.as_memorisation);

        // The seen texts again as unseen ones: all share passages, and nothing is left.
        let again = items(&seen);
        let error = measure(&fresh, None, given(&again), &again, &job).unwrap_err();
        assert!(error.to_string().contains("20 share 13 words"), "{error}");
    }
}
