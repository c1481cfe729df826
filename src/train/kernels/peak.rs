//! What this machine can do at most, and what its matrix products do of it.

use std::hint::black_box;
use std::time::Instant;

use half::bf16;
use pulp::{Simd, WithSimd};

use super::instructions::{Instructions, vectorised};
use super::product::{Factor, Matrix, product};

/// Sums that do not wait for one another: units that take 4 cycles and begin 2 a cycle need 8, and
/// 12 with two operands leave two of AVX2's 16 registers.
const CHAINS: usize = 12;
/// Multiplications and additions of each chain: some ten milliseconds, beside which the waking of
/// threads is nothing.
const LENGTH: usize = 4_000_000;
/// Measurements, of which the best counts.
const ROUNDS: usize = 5;
/// Rows, columns and depth of the product that is measured.
const SIZE: usize = 1_024;

/// Floating-point operations a second: at most in f32, and in matrix products.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Of multiplications and additions that wait for nothing; `None` without vectors, where there
    /// is no instruction for both.
    pub peak: Option<f64>,
    /// Of a product of square matrices in f32.
    pub product: f64,
    /// Of one in bf16; `None` where such are multiplied in f32.
    pub bf16_product: Option<f64>,
}

impl Speed {
    /// Measures this machine with all threads of the pool, in about a third of a second.
    pub fn measure() -> Self {
        let used = Instructions::used();
        Speed {
            peak: used.rounds_once().then(peak),
            product: of_product(0.5_f32),
            bf16_product: used.multiplies_bf16().then(|| of_product(bf16::from_f32_const(0.5))),
        }
    }
}

/// Operations a second of a product of square matrices full of this number.
fn of_product<T: Factor>(number: T) -> f64 {
    let numbers = vec![number; SIZE * SIZE];
    let square = Matrix::new(&numbers, SIZE, SIZE);
    fastest(2.0 * (SIZE as f64).powi(3), || {
        black_box(product(square, square, None));
    })
}

/// Operations a second that this machine does at most, with the instructions that kernels use.
fn peak() -> f64 {
    let threads = rayon::current_num_threads();
    let lanes = vectorised(Lanes);
    let operations = 2 * threads * CHAINS * LENGTH * lanes;
    fastest(operations as f64, || {
        rayon::broadcast(|_| black_box(vectorised(Chains)));
    })
}

/// Operations a second of the fastest of some runs.
fn fastest(operations: f64, run: impl Fn()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        run();
        least = least.min(begun.elapsed().as_secs_f64());
    }
    operations / least.max(1e-9)
}

/// Numbers that an instruction takes at once.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Chains;

impl WithSimd for Chains {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (factor, more) = (black_box(0.5), black_box(1.0));
        let (factor, more) = (simd.splat_f32s(factor), simd.splat_f32s(more));
        let mut sums = [more; CHAINS];

        for _ in 0..LENGTH {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, more);
            }
        }

        let total = sums.into_iter().reduce(|total, sum| simd.add_f32s(total, sum));
        simd.reduce_sum_f32s(total.unwrap_or(more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each sum is 2 at its end, in every lane: nothing was left out.
    #[test]
    fn all_chains_are_summed() {
        let lanes = vectorised(Lanes);
        assert_eq!(vectorised(Chains), (2 * CHAINS * lanes) as f32);
    }
}
