//! Sums over microbatches as a balanced tree over their numbers, like a binary counter.
//!
//! Adding in sequence gives other bits than adding the sums of two halves. In a tree, a run of a
//! power of two of microbatches has one sum, however the whole is split: four at once, or two and
//! two. At most one sum for each bit of the count is held.

use crate::error::Result;
use crate::train::model::gradients::{Gradients, empty};

/// The sums so far: at place `k` that of the last whole run of `2ᵏ`, where the count has that bit.
#[derive(Default)]
pub struct Tree(Vec<Option<Gradients>>);

impl Tree {
    /// Adds the gradients of the next microbatch.
    ///
    /// # Errors
    /// If the device fails.
    pub fn push(&mut self, gradients: Gradients) -> Result<()> {
        let mut carried = gradients;
        for sum in &mut self.0 {
            match sum.take() {
                Some(earlier) => carried = add(earlier, carried)?,
                None => {
                    *sum = Some(carried);
                    return Ok(());
                }
            }
        }

        self.0.push(Some(carried));
        Ok(())
    }

    /// The sum of all.
    ///
    /// # Errors
    /// If the device fails.
    pub fn sum(self) -> Result<Gradients> {
        let mut total: Option<Gradients> = None;
        for earlier in self.0.into_iter().flatten() {
            total = Some(match total {
                Some(later) => add(earlier, later)?,
                None => earlier,
            });
        }
        Ok(total.unwrap_or_else(empty))
    }
}

/// The sum by name.
fn add(mut sum: Gradients, more: Gradients) -> Result<Gradients> {
    for (name, gradient) in more {
        let total = match sum.remove(&name) {
            Some(before) => (before + gradient)?.detach(),
            None => gradient,
        };
        sum.insert(name, total);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn one(n: u64) -> Gradients {
        let mut draws = crate::draw::stream(1, "tree", &n.to_le_bytes());
        let values: Vec<f32> =
            (0..50).map(|_| crate::draw::next_normal(&mut draws) as f32).collect();
        let mut gradients: Gradients =
            [("a".to_string(), Tensor::new(values, &Device::Cpu).unwrap())].into();

        if n.is_multiple_of(3) {
            gradients
                .insert("b".to_string(), Tensor::new(&[n as f32 + 0.1], &Device::Cpu).unwrap());
        }

        gradients
    }

    fn sum(gradients: impl Iterator<Item = Gradients>) -> Gradients {
        let mut tree = Tree::default();
        gradients.for_each(|gradients| tree.push(gradients).unwrap());
        tree.sum().unwrap()
    }

    fn values(gradients: &Gradients) -> Vec<Vec<f32>> {
        gradients.values().map(|tensor| tensor.to_vec1().unwrap()).collect()
    }

    #[test]
    fn halves_and_quarters_have_the_same_sum_as_the_whole() {
        for n in [2, 4, 8, 16] {
            let whole = values(&sum((0..n).map(one)));
            for parts in [2, 4].into_iter().filter(|parts| n % parts == 0) {
                let part = |at: u64| sum((at * n / parts..(at + 1) * n / parts).map(one));
                assert_eq!(values(&sum((0..parts).map(part))), whole, "{n} in {parts}");
            }
            let sequence = (0..n).map(one).reduce(|sum, more| add(sum, more).unwrap()).unwrap();
            assert!(n < 4 || values(&sequence) != whole, "the order matters");
        }
    }

    #[test]
    fn any_number_is_summed() {
        assert!(sum(std::iter::empty()).is_empty());
        for n in 1..12_u64 {
            let found = values(&sum((0..n).map(one)));
            let plain =
                values(&(0..n).map(one).reduce(|sum, more| add(sum, more).unwrap()).unwrap());
            for (found, plain) in found.iter().flatten().zip(plain.iter().flatten()) {
                assert!((found - plain).abs() < 1e-5);
            }
        }
    }
}
