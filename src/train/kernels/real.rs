//! The arithmetic of the kernels, in f32 and f64, written so that compilers make vector
//! instructions of the loops.
//!
//! Sums run in eight lanes that are added at the end: the order is fixed, and eight additions run
//! at once.

use super::rows::Stored;

/// Sums in so many lanes.
const LANES: usize = 8;

/// Numbers a kernel computes with.
pub(super) trait Real: Stored {
    /// `eˣ`; in f32 to two units in the last place.
    fn exp(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The larger of two.
    fn larger(self, other: Self) -> Self;
    /// The share of the normal distribution below `x`, given `e^(−x²/2)`; in f32 to 3e-7, a few of
    /// its own roundings at 1.
    fn normal_below(self, bell: Self) -> Self;
}

impl Real for f64 {
    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    fn larger(self, other: Self) -> Self {
        f64::max(self, other)
    }

    fn normal_below(self, _: Self) -> Self {
        0.5 * (1.0 + candle_core::cpu::erf::erf_f64(self * std::f64::consts::FRAC_1_SQRT_2))
    }
}

impl Real for f32 {
    /// `2ⁿ · e^r` with `n` the nearest whole number to `x / ln 2`: a polynomial for the rest, `n`
    /// straight into the exponent bits (Cephes, `expf`).
    #[inline(always)]
    fn exp(self) -> Self {
        // Adding and taking away this rounds to a whole number.
        const ROUND: f32 = 12_582_912.0;
        let x = self.clamp(-87.0, 88.0);
        let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut p = 1.987_569_2e-4_f32;

        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
            p = p * r + c;
        }
        let p = (p * r * r + r + 1.0) * f32::from_bits(((n as i32 + 127) << 23) as u32);
        if self < -87.0 { 0.0 } else { p }
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    /// Abramowitz and Stegun 7.1.26.
    #[inline(always)]
    fn normal_below(self, bell: Self) -> Self {
        let z = self.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * z);
        let mut p = 1.061_405_4_f32;
        for c in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
            p = p * t + c;
        }
        let tail = 0.5 * p * t * bell;
        if self < 0.0 { tail } else { 1.0 - tail }
    }
}

/// `Σ f(x)`.
#[inline(always)]
pub(super) fn sum<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::from_f64(0.0); LANES];
    let whole = x.chunks_exact(LANES);
    let mut rest = T::from_f64(0.0);
    whole.remainder().iter().for_each(|x| rest += f(*x));
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f(*x));
    }
    joined(lanes) + rest
}

/// `Σ f(x, y)`.
#[inline(always)]
pub(super) fn sum2<T: Real>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::from_f64(0.0); LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let mut rest = T::from_f64(0.0);
    xs.remainder().iter().zip(ys.remainder()).for_each(|(x, y)| rest += f(*x, *y));
    for (x, y) in xs.zip(ys) {
        lanes.iter_mut().zip(x.iter().zip(y)).for_each(|(lane, (x, y))| *lane += f(*x, *y));
    }
    joined(lanes) + rest
}

/// The largest of `f(x)`.
#[inline(always)]
pub(super) fn largest<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::from_f64(f64::NEG_INFINITY); LANES];
    let whole = x.chunks_exact(LANES);
    let rest = whole.remainder();
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = lane.larger(f(*x)));
    }
    rest.iter().map(|x| f(*x)).chain(lanes).fold(T::from_f64(f64::NEG_INFINITY), Real::larger)
}

fn joined<T: Real>(lanes: [T; LANES]) -> T {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_functions_are_as_good_as_f32() {
        for step in -20_000..20_000 {
            let x = step as f32 * 0.004;
            let (ours, exact) = (f64::from(Real::exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 3e-7 * exact, "exp({x}) is {ours}, not {exact}");
            let x = x * 0.1;
            let bell = Real::exp(-0.5 * x * x);
            let (ours, exact) = (f64::from(x.normal_below(bell)), f64::from(x).normal_below(0.0));
            assert!((ours - exact).abs() <= 3e-7, "Φ({x}) is {ours}, not {exact}");
        }

        assert_eq!((Real::exp(-1e9_f32), Real::exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert!(Real::exp(f32::NAN).is_nan());
    }

    #[test]
    fn lanes_sum_everything_once() {
        for n in [0, 1, 7, 8, 9, 50] {
            let x: Vec<f64> = (0..n).map(f64::from).collect();
            let total = f64::from(n * (n - 1) / 2);
            assert_eq!(sum(&x, |x| x), if n == 0 { 0.0 } else { total });
            assert_eq!(sum2(&x, &x, |x, y| x + y), if n == 0 { 0.0 } else { 2.0 * total });
            assert_eq!(largest(&x, |x| -x), if n == 0 { f64::NEG_INFINITY } else { 0.0 });
        }
    }
}
