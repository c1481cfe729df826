//! Steps that learn from their hardest rows alone (Selective-Backprop, Jiang et al. 2019,
//! arXiv:1910.00762), as MosaicML's composer has it: all rows are computed forward, and of those
//! sorted by their loss `keep` are drawn, each with a probability that goes by its rank to the
//! power of `1 / keep − 1`.

use crate::draw;
use crate::error::Result;
use crate::train::data::batch::Step;
use crate::train::data::rows::{RowKind, RowSet};
use crate::train::objective::LabelLoss;
use crate::train::params::Selective;
use crate::train::run::evaluate::Measured;
use crate::train::strategy::At;

/// Whether a step learns from some of its rows alone. Steps are counted from 1.
pub fn is_active(params: &Selective, at: At) -> bool {
    let duration = (at.step - 1) as f64 / at.total as f64;
    let is_break = params.interrupt > 0 && at.step.is_multiple_of(params.interrupt);
    params.keep < 1.0 && (params.start..params.end).contains(&duration) && !is_break
}

/// Leaves the hardest rows of each microbatch of a step; which are hard is told by those of the
/// kind that the model learns language from.
///
/// # Errors
/// If the device fails.
pub fn select(step: &mut Step, measured: &Measured, keep: f64, seed: u64) -> Result<()> {
    let own = RowKind::of_language(measured.batcher.tokenizer.frame.language);
    for batch in &mut step.microbatches {
        let Some(rows) = batch.sets.get(&own) else { continue };
        let key = format!("{}/{}", step.number, batch.index);
        let kept = hardest(&of_rows(rows, &measured.labels(rows)?), keep, |row| {
            draw::unit(seed, "selective", format!("{key}/{row}").as_bytes())
        });
        // Passages are of documents, not of rows.
        let of_windows = batch.sets.iter_mut().filter(|(kind, _)| **kind != RowKind::Passages);
        of_windows.for_each(|(_, rows)| *rows = rows.only(&kept));
    }
    Ok(())
}

/// The mean loss of each row.
fn of_rows(rows: &RowSet, losses: &[LabelLoss]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0_u32); rows.rows.ids.len()];
    for (label, told) in rows.labels.iter().zip(losses) {
        let (sum, n) = &mut sums[label.row];
        (*sum, *n) = (*sum + f64::from(told.loss), *n + 1);
    }
    sums.into_iter().map(|(sum, n)| sum / f64::from(n.max(1))).collect()
}

/// The numbers of the rows that are kept, in order; one at least.
fn hardest(losses: &[f64], keep: f64, unit: impl Fn(usize) -> f64) -> Vec<usize> {
    let n = losses.len();
    let mut sorted: Vec<usize> = (0..n).collect();
    sorted.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]).then(a.cmp(b)));
    let weight = |rank: usize| ((rank as f64 + 0.5) / n as f64).powf(1.0 / keep - 1.0);

    let mut drawn: Vec<(f64, usize)> = sorted
        .into_iter()
        .enumerate()
        .map(|(rank, row)| (draw::by_weight(unit(row), weight(rank)), row))
        .collect();
    drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n_kept = ((keep * n as f64) as usize).max(1);
    let mut kept: Vec<usize> = drawn.into_iter().take(n_kept).map(|(_, row)| row).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `should_selective_backprop` of `mosaicml/composer`, whose batches are counted from 0.
    #[test]
    fn steps_are_those_of_composer() {
        let params = Selective { keep: 0.5, start: 0.5, end: 0.9, interrupt: 2 };
        let active: Vec<u64> =
            (1..=20).filter(|step| is_active(&params, At { step: *step, total: 20 })).collect();
        assert_eq!(active, [11, 13, 15, 17]);
        let always = Selective { interrupt: 0, ..params };
        assert!((11..=18).all(|step| is_active(&always, At { step, total: 20 })));
        assert!(!is_active(&Selective { keep: 1.0, ..always }, At { step: 12, total: 20 }));
    }

    /// Ranks 0.5, 1.5, … of n, to the power of 1 for a half: the hardest of eight is drawn first in
    /// 7.5 of 32 cases, the easiest in 0.5.
    #[test]
    fn the_harder_a_row_the_likelier_it_is_kept() {
        let losses: Vec<f64> = (0..8).map(|row| f64::from(row * 3 % 8)).collect();
        let mut first = [0.0; 8];
        for draws in 0..4_000_u32 {
            let unit = |row: usize| draw::unit(1, "test", format!("{draws}/{row}").as_bytes());
            let kept = hardest(&losses, 0.5, unit);
            assert!(kept.len() == 4 && kept.windows(2).all(|two| two[0] < two[1]));
            let one = hardest(&losses, 0.125, |row| unit(row).powf(1.0));
            assert_eq!(one.len(), 1);
            kept.iter().for_each(|row| first[*row] += 1.0 / 4_000.0);
        }
        let hardest = (0..8).find(|row| losses[*row] == 7.0).unwrap();
        let easiest = (0..8).find(|row| losses[*row] == 0.0).unwrap();
        assert!(first[hardest] > 0.75 && first[easiest] < 0.15, "{first:?}");
        assert_eq!(super::hardest(&[1.0], 0.1, |_| 0.5), [0]);
    }
}
