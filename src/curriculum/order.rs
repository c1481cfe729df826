//! The training order: which document stands at which position.
//!
//! Inside a stratum documents are drawn as Platanios et al. (2019) do, uniformly among those whose
//! difficulty rank the competence has reached, here without replacement: the first draws come from
//! the easiest, the last from all that are left. A window takes a document of the stratum that is
//! furthest behind its tokens, one after the other, and mixes the strata then. Every draw is keyed
//! by the seed and by what it decides.

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;

use crate::curriculum::Params;
use crate::curriculum::families::Families;
use crate::curriculum::pacing::{Counts, Pacing, STRATA, Texts, competence};
use crate::curriculum::row::Row;
use crate::draw;

/// The training order and how it came about.
#[derive(Debug)]
pub struct Ordered {
    /// Row index at each position.
    pub sequence: Vec<u32>,
    /// How the positions were shared out.
    pub pacing: Pacing,
    /// What a person must know.
    pub notes: Vec<String>,
}

/// Orders the rows whose indices are `train`.
pub fn train(rows: &[Row], train: &[u32], params: &Params, seed: u64) -> Ordered {
    let mut notes = Vec::new();
    let has_easy_general =
        train.iter().any(|&idx| !rows[idx as usize].is_domain && !rows[idx as usize].is_hard);
    let stratum_of =
        |row: &Row| match (row.is_domain, row.is_hard && (row.is_domain || has_easy_general)) {
            (false, false) => 0,
            (false, true) => 1,
            (true, false) => 2,
            (true, true) => 3,
        };

    let mut strata: [Vec<u32>; 4] = Default::default();
    train.iter().for_each(|&idx| strata[stratum_of(&rows[idx as usize])].push(idx));
    let tokens = |idx: u32| u64::from(rows[idx as usize].n_tokens.max(1));
    let sum = |s: usize, of: &dyn Fn(&Row) -> u64| -> u64 {
        strata[s].iter().map(|idx| of(&rows[*idx as usize])).sum()
    };
    let texts = Texts {
        documents: [0, 1, 2, 3].map(|s: usize| strata[s].len() as u64),
        easy_once: strata[0].iter().map(|idx| tokens(*idx)).sum(),
        tokens: [0, 1, 2, 3].map(|s: usize| sum(s, &Row::tokens)),
        longest: train.iter().map(|idx| tokens(*idx)).max().unwrap_or(0),
    };

    if texts.documents[0] == 0 && !train.is_empty() {
        notes.push(
            "there is no general text: the order has no general opening and no replay".to_string(),
        );
    }

    let mut pacing = Pacing::new(&texts, params);
    let mut queues = [0, 1, 2, 3].map(|s: usize| {
        let (mut queue, mut left, mut pass) = (Vec::new(), pacing.tokens_of[s], 0_u64);
        while left > 0 {
            for idx in drawn(rows, &strata[s], STRATA[s], pass, params, seed) {
                // Text that is repeated ends where there is enough of it; each stands once before.
                if left == 0 && pass > 0 {
                    break;
                }
                left = left.saturating_sub(tokens(idx));
                queue.push(idx);
            }
            pass += 1;
        }
        queue.into_iter()
    });

    let mut sequence: Vec<u32> = Vec::new();
    let mut given: Counts = [0; 4];
    while given[0] < pacing.tokens_first
        && let Some(idx) = queues[0].next()
    {
        given[0] += tokens(idx);
        sequence.push(idx);
    }
    pacing.n_first = sequence.len() as u64;
    pacing.n_of[0] = pacing.n_first;
    // What the last document of the opening has too much is general text of the first window.
    let opening = pacing.tokens_first;

    let targets = pacing.targets();
    for (window_idx, target) in targets.iter().enumerate() {
        // The last one takes all that is left.
        let is_last = window_idx + 1 == targets.len();
        let end = opening as f64 + target.iter().sum::<f64>();
        let mut held: [Vec<u32>; 4] = Default::default();
        let mut kinds: Vec<usize> = Vec::new();
        while is_last || (given.iter().sum::<u64>() as f64) < end - 1e-6 {
            let behind = |s: usize| {
                let before = if s == 0 { opening } else { 0 };
                target[s] + before as f64 - given[s] as f64
            };
            let next = (0..4)
                .filter(|s| queues[*s].len() > 0)
                .reduce(|best, s| if behind(s) > behind(best) + 1e-9 { s } else { best });
            let Some(next) = next else { break };
            let Some(idx) = queues[next].next() else { break };
            given[next] += tokens(idx);
            held[next].push(idx);
            kinds.push(next);
        }

        draw::shuffle(&mut kinds, &mut draw::stream(seed, "window", &window_idx.to_le_bytes()));
        let mut held = held.map(Vec::into_iter);
        for s in kinds {
            pacing.n_of[s] += 1;
            sequence.extend(held[s].next());
        }
    }
    pacing.n_positions = sequence.len() as u64;
    notes.extend(short(&texts, &pacing, params));

    Ordered { sequence, pacing, notes }
}

/// What to say where general text is repeated.
fn short(texts: &Texts, pacing: &Pacing, params: &Params) -> Option<String> {
    let Params { domain_max, hard_max, repeat_max, .. } = *params;
    let (docs, filled) = (texts.documents[0], pacing.n_of[0]);
    if pacing.tokens_of[0] < pacing.tokens_wanted {
        let enough = pacing.tokens_wanted.div_ceil(repeat_max.max(1));
        let needed = enough.saturating_sub(texts.easy_once);
        return Some(format!(
            "general text is short: its {docs} documents fill {filled} positions, {repeat_max} \
             times each (`curriculum.repeat_max`), so domain text reaches {:.2} and hard text {:.2} \
             of a window; {needed} more words of general text keep them below {domain_max} and \
             {hard_max}",
            pacing.domain_peak, pacing.hard_peak
        ));
    }
    (filled > docs).then(|| {
        format!(
            "general text is short: its {docs} documents fill {filled} positions, so that domain \
             text stays below {domain_max} and hard text below {hard_max} of any window"
        )
    })
}

/// One pass over a stratum: each document drawn among those the competence admits, once or as often
/// as it is to stand; before the first pass the questions (Jiang et al. 2024, arXiv:2402.12847:
/// whoever was asked before reading keeps more of it).
fn drawn(
    rows: &[Row],
    stratum: &[u32],
    name: &str,
    pass: u64,
    params: &Params,
    seed: u64,
) -> Vec<u32> {
    let is_questions = |idx: &&u32| rows[**idx as usize].is_questions;
    let texts: Vec<u32> = stratum.iter().filter(|idx| !is_questions(idx)).copied().collect();
    let families = Families::of(rows, &texts);
    let mut by_difficulty = families.documents.clone();
    by_difficulty.sort_by(|&a, &b| {
        let (a, b) = (&rows[a as usize], &rows[b as usize]);
        a.difficulty.total_cmp(&b.difficulty).then(a.name.cmp(&b.name))
    });
    let (start, power) = (params.competence_start, params.competence_power);
    let mut draws = draw::stream(seed, name, &pass.to_le_bytes());
    let order = families.spread(paced(&by_difficulty, start, power, &mut draws));
    let stands = |idx: &&u32| is_questions(idx) && rows[**idx as usize].times > 0;
    let mut questions: Vec<u32> = stratum.iter().filter(stands).copied().collect();
    if questions.is_empty() || pass > 0 {
        return order;
    }
    // In the order of their documents, so that all stand about as far before these.
    let mut place: HashMap<u64, usize> = HashMap::new();
    for (at, idx) in order.iter().enumerate() {
        place.entry(rows[*idx as usize].family).or_insert(at);
    }
    questions.sort_by_key(|idx| {
        let row = &rows[*idx as usize];
        (place.get(&row.family).copied(), row.name)
    });
    questions.extend(order);
    questions
}

/// All of some documents, given from the easiest on, each drawn among those that the competence
/// admits at its place (Platanios et al. 2019, arXiv:1903.09848, without putting back).
pub fn paced(by_difficulty: &[u32], start: f64, power: f64, draws: &mut ChaCha8Rng) -> Vec<u32> {
    let n = by_difficulty.len();
    let (mut pool, mut admitted) = (Vec::new(), 0);
    let mut order = Vec::with_capacity(n);

    for position in 0..n {
        let progress = (position + 1) as f64 / n as f64;
        let reached = competence(progress, start, power) * n as f64;
        let reached = (reached.ceil() as usize).clamp(position + 1, n);
        pool.extend_from_slice(&by_difficulty[admitted..reached.max(admitted)]);
        admitted = reached.max(admitted);
        order.push(pool.swap_remove(draw::next_below(draws, pool.len())));
    }

    order
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::curriculum) fn params() -> Params {
        Params {
            domain_share: crate::curriculum::pacing::DomainShare::Ramp,
            weights: std::collections::BTreeMap::new(),
            general_first: 0.2,
            domain_max: 0.8,
            hard_max: 0.5,
            replay_min: 0.05,
            repeat_max: 0,
            hard_from_bucket: 4,
            competence_start: 0.01,
            competence_power: 2.0,
            window: 100,
            validation_share: 0.05,
            validation_group_max: 8,
            shard_bytes: 1 << 20,
            zstd_level: 3,
        }
    }

    pub(in crate::curriculum) fn rows(n_general: u32, n_domain: u32) -> Vec<Row> {
        let row = |idx: u32| Row {
            name: u64::from(idx) * 7919 % 1009,
            family: u64::from(idx),
            group: u64::from(idx),
            n_bytes: 100,
            n_tokens: 1 + (draw::unit(5, "length", &idx.to_le_bytes()) * 40.0) as u32,
            times: 1,
            source: 0,
            difficulty: draw::unit(5, "difficulty", &idx.to_le_bytes()) as f32,
            is_domain: idx >= n_general,
            is_hard: draw::unit(5, "difficulty", &idx.to_le_bytes()) > 0.8,
            is_variant: false,
            is_made: false,
            is_questions: false,
        };
        (0..n_general + n_domain).map(row).collect()
    }

    #[test]
    fn the_opening_is_general_and_everyone_is_used() {
        for (n_general, n_domain) in [(3000, 700), (300, 900), (500, 0), (40, 3)] {
            let rows = rows(n_general, n_domain);
            let all: Vec<u32> = (0..rows.len() as u32).collect();
            let ordered = train(&rows, &all, &params(), 17);
            let n_first = ordered.sequence.len() / 5;

            if n_domain > 0 {
                assert!(
                    ordered.sequence[..n_first].iter().all(|&idx| !rows[idx as usize].is_domain)
                );
                assert!(ordered.sequence[..n_first].iter().all(|&idx| !rows[idx as usize].is_hard));
                let tail = &ordered.sequence[ordered.sequence.len() - 20..];
                assert!(tail.iter().any(|&idx| rows[idx as usize].is_domain));
            }

            let mut used = ordered.sequence.clone();
            used.sort_unstable();
            used.dedup();
            assert_eq!(used, all, "{n_general} {n_domain}");
            let repeated = ordered.sequence.len() - rows.len();

            assert_eq!(repeated > 0, !ordered.notes.is_empty());
        }
    }

    #[test]
    fn without_general_text_each_stands_once_and_it_is_said() {
        let rows = rows(0, 200);
        let all: Vec<u32> = (0..200).collect();
        let ordered = train(&rows, &all, &params(), 17);
        assert_eq!((ordered.sequence.len(), ordered.pacing.n_first), (200, 0));
        assert!(ordered.notes[0].contains("no general text"));
    }

    #[test]
    fn the_order_depends_on_the_seed_and_on_nothing_else() {
        let rows = rows(400, 100);
        let all: Vec<u32> = (0..500).collect();
        let of = |seed| train(&rows, &all, &params(), seed).sequence;
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let reversed: Vec<u32> = (0..500).rev().collect();

        assert_eq!(
            train(&rows, &reversed, &params(), 1).sequence,
            of(1),
            "row order does not matter"
        );
    }

    #[test]
    fn easy_documents_come_first() {
        let rows = rows(2000, 0);
        let all: Vec<u32> = (0..2000).collect();
        let sequence = train(&rows, &all, &params(), 17).sequence;
        let mean = |part: &[u32]| {
            part.iter().map(|&idx| rows[idx as usize].difficulty).sum::<f32>() / part.len() as f32
        };
        assert!(mean(&sequence[..200]) + 0.2 < mean(&sequence[1800..]));
    }
}
