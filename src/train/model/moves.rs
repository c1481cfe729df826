//! Which parameters move in a step, and how fast.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Result, Tensor};

use super::gradients::Gradients;
use super::{Declared, Parameters};

/// How a parameter moves.
#[derive(Clone, Debug, PartialEq)]
pub enum Share {
    /// As a whole, at this share of the learning rate.
    Whole {
        /// Factor of the learning rate, above 0.
        rate: f64,
    },
    /// In parts along a dimension, such as those of some attention heads; the rest stays as it is.
    Slices {
        /// The dimension that is cut.
        dim: usize,
        /// What moves of it, in order, without overlap.
        ranges: Vec<Range<usize>>,
        /// Factor of the learning rate, above 0.
        rate: f64,
    },
}

/// What moves. A parameter that is absent stays as it is: no graph is kept for it, and it does not
/// decay.
#[derive(Clone, Debug, PartialEq)]
pub struct Moves(Option<BTreeMap<String, Share>>);

const WHOLE: Share = Share::Whole { rate: 1.0 };

impl Moves {
    /// Everything moves as a whole, at the full rate.
    pub fn all() -> Self {
        Moves(None)
    }

    /// These parameters move.
    pub fn some(shares: BTreeMap<String, Share>) -> Self {
        Moves(Some(shares))
    }

    /// How the parameter called `name` moves; `None` where it stays as it is.
    pub fn of(&self, name: &str) -> Option<&Share> {
        match &self.0 {
            None => Some(&WHOLE),
            Some(shares) => shares.get(name),
        }
    }

    /// What moves by both: rates are multiplied, and of parts that both cut along one dimension
    /// those in both move.
    ///
    /// # Errors
    /// If the two cut a parameter along different dimensions.
    pub fn meet(self, other: Moves) -> crate::error::Result<Moves> {
        let (Moves(Some(ours)), Moves(Some(theirs))) = (&self, &other) else {
            return Ok(if self.0.is_none() { other } else { self });
        };
        let mut both = BTreeMap::new();

        for (name, ours) in ours {
            let Some(theirs) = theirs.get(name) else { continue };
            let met = meet(ours, theirs).ok_or_else(|| {
                crate::error::Error::usage(format!(
                    "two strategies cut `{name}` along different dimensions"
                ))
                .hint("use one of them")
            })?;

            if !matches!(&met, Share::Slices { ranges, .. } if ranges.is_empty()) {
                both.insert(name.clone(), met);
            }
        }

        Ok(Moves(Some(both)))
    }

    /// How many numbers of these parameters move.
    pub fn n_numbers(&self, declared: &[Declared]) -> u64 {
        let of = |one: &Declared| match self.of(&one.name) {
            None => 0,
            Some(Share::Whole { .. }) => one.n_numbers(),
            Some(Share::Slices { dim, ranges, .. }) => {
                let moving: usize = ranges.iter().map(ExactSizeIterator::len).sum();
                one.n_numbers() / one.shape[*dim].max(1) as u64 * moving as u64
            }
        };
        declared.iter().map(of).sum()
    }

    /// The first step of the model with a parameter that moves; below it no graph is needed. The
    /// number of steps where none does.
    ///
    /// # Errors
    /// Never in practice: every parameter was declared.
    pub fn first_step(&self, parameters: &Parameters, steps: usize) -> Result<usize> {
        let mut first = steps;
        for (name, _) in parameters.iter().filter(|(name, _)| self.of(name).is_some()) {
            first = first.min(parameters.part(name)?.step);
        }
        Ok(first)
    }

    /// Sets gradients to 0 outside of the parts that move, so that their norm is that of what
    /// moves.
    ///
    /// # Errors
    /// If the device fails.
    pub fn mask(&self, gradients: &mut Gradients) -> Result<()> {
        for (name, gradient) in gradients.iter_mut() {
            let Some(Share::Slices { dim, ranges, .. }) = self.of(name) else { continue };
            let masked = gradient.zeros_like()?;
            for range in ranges {
                masked.slice_set(&part(gradient, *dim, range)?, *dim, range.start)?;
            }
            *gradient = masked;
        }
        Ok(())
    }
}

fn meet(ours: &Share, theirs: &Share) -> Option<Share> {
    use Share::{Slices, Whole};
    Some(match (ours, theirs) {
        (Whole { rate }, Whole { rate: other }) => Whole { rate: rate * other },
        (Whole { rate }, Slices { dim, ranges, rate: other })
        | (Slices { dim, ranges, rate: other }, Whole { rate }) => {
            Slices { dim: *dim, ranges: ranges.clone(), rate: rate * other }
        }
        (Slices { dim, ranges, rate }, Slices { dim: others, ranges: other, rate: factor }) => {
            if dim != others {
                return None;
            }
            let pairs = ranges
                .iter()
                .flat_map(|a| other.iter().map(move |b| a.start.max(b.start)..a.end.min(b.end)));
            let ranges = pairs.filter(|range| range.start < range.end).collect();
            Slices { dim: *dim, ranges, rate: rate * factor }
        }
    })
}

/// A copy of the part of a tensor in a range along a dimension.
///
/// # Errors
/// If the device fails.
pub fn part(tensor: &Tensor, dim: usize, range: &Range<usize>) -> Result<Tensor> {
    tensor.narrow(dim, range.start, range.len())?.force_contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn slices(ranges: &[[usize; 2]], rate: f64) -> Share {
        Share::Slices { dim: 0, ranges: ranges.iter().map(|[a, b]| *a..*b).collect(), rate }
    }

    fn some(shares: &[(&str, Share)]) -> Moves {
        Moves::some(
            shares.iter().map(|(name, share)| ((*name).to_string(), share.clone())).collect(),
        )
    }

    #[test]
    fn what_moves_by_both_moves() {
        let ours = some(&[
            ("a", Share::Whole { rate: 0.5 }),
            ("b", slices(&[[0, 4], [8, 12]], 1.0)),
            ("c", WHOLE),
        ]);
        let theirs = some(&[("a", Share::Whole { rate: 0.5 }), ("b", slices(&[[2, 9]], 0.1))]);
        let both = ours.clone().meet(theirs).unwrap();
        assert_eq!(
            both,
            some(&[("a", Share::Whole { rate: 0.25 }), ("b", slices(&[[2, 4], [8, 9]], 0.1))])
        );
        assert_eq!(Moves::all().meet(ours.clone()).unwrap(), ours);
        assert_eq!(ours.clone().meet(Moves::all()).unwrap(), ours);
        let apart = ours.clone().meet(some(&[("b", slices(&[[4, 8]], 1.0))])).unwrap();
        assert_eq!(apart, some(&[]), "nothing of it is in both");
        let across = some(&[(
            "b",
            Share::Slices { dim: 1, ranges: (0..1).map(|a| a..a + 1).collect(), rate: 1.0 },
        )]);

        assert!(ours.meet(across).unwrap_err().what().contains("`b`"));
    }

    #[test]
    fn gradients_outside_of_what_moves_are_0() {
        let gradient =
            Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let mut gradients: Gradients = [("b".to_string(), gradient)].into();
        some(&[("b", slices(&[[1, 2]], 1.0))]).mask(&mut gradients).unwrap();
        assert_eq!(gradients["b"].to_vec2::<f32>().unwrap(), [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]);
    }
}
