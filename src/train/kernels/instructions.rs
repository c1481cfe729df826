//! Which vector instructions the kernels use, chosen when the program runs.

use std::sync::OnceLock;

use candle_core::DType;
use serde::{Deserialize, Serialize};

/// The variable by which `gemmkit` is told what to use; it reads it once, at its first product.
pub const PIN: &str = "GEMMKIT_REQUIRE_ISA";

/// Vector instructions, the narrowest first.
///
/// AVX2 and AVX-512 give the same bits: both round once where they multiply and add, no sum is
/// split into lanes by their width, and no block's depth follows the caches. So do the products of
/// NEON, though not the mathematical functions of its system. Without vectors a product rounds
/// twice, so a run there has other bits. Products of bf16 have bits of their own where an
/// instruction multiplies such numbers and adds up two products at once; all others are what they
/// are without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instructions {
    /// None that we know.
    Plain,
    /// 4 numbers of 32 bits at once, on ARM.
    Neon,
    /// 8 numbers at once, with fused multiplication and addition, on x86.
    Avx2,
    /// 16 numbers at once, on x86.
    Avx512,
    /// The same, and 32 products of bf16 at once (AVX-512 BF16).
    Avx512Bf16,
}

impl Instructions {
    /// All of them.
    pub const ALL: &[Instructions] = &[
        Instructions::Plain,
        Instructions::Neon,
        Instructions::Avx2,
        Instructions::Avx512,
        Instructions::Avx512Bf16,
    ];

    /// As a user names them.
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Plain => "plain",
            Instructions::Neon => "neon",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
            Instructions::Avx512Bf16 => "avx512bf16",
        }
    }

    /// As `gemmkit` names them; see [`PIN`].
    pub fn pin(self) -> &'static str {
        match self {
            Instructions::Plain => "scalar",
            Instructions::Neon => "neon",
            Instructions::Avx2 => "fma",
            Instructions::Avx512 => "avx512f",
            Instructions::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Whether a multiplication and the addition of its result are one instruction, which rounds
    /// once.
    pub fn rounds_once(self) -> bool {
        self != Instructions::Plain
    }

    /// Whether there is an instruction for products of bf16, which are added up in f32.
    pub fn multiplies_bf16(self) -> bool {
        self == Instructions::Avx512Bf16
    }

    /// Whether what is computed in `dtype` has the same bits with `other` ones.
    pub fn agrees_with(self, other: Self, dtype: DType) -> bool {
        let same_products =
            dtype != DType::BF16 || self.multiplies_bf16() == other.multiplies_bf16();
        self.rounds_once() == other.rounds_once() && same_products
    }

    /// Whether this processor has them.
    pub fn is_here(self) -> bool {
        match self {
            Instructions::Plain => true,
            Instructions::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => pulp::x86::V3::is_available(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => pulp::x86::V4::is_available(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Bf16 => {
                Instructions::Avx512.is_here() && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Avx2 | Instructions::Avx512 | Instructions::Avx512Bf16 => false,
        }
    }

    /// The widest that this processor has.
    pub fn widest() -> Self {
        let here = Self::ALL.iter().rev().find(|set| set.is_here());
        here.copied().unwrap_or(Instructions::Plain)
    }

    /// What the kernels of this process use: the widest, or what [`PIN`] says.
    pub fn used() -> Self {
        static USED: OnceLock<Instructions> = OnceLock::new();
        *USED.get_or_init(|| {
            let pinned = std::env::var(PIN).unwrap_or_default();
            let of_name = Self::ALL.iter().find(|set| set.pin() == pinned && set.is_here());
            of_name.copied().unwrap_or_else(Self::widest)
        })
    }
}

/// Runs what is written for any instructions with these. The bits are the same with all: no
/// operations are joined or reordered.
#[inline]
pub(super) fn vectorised<W: pulp::WithSimd>(work: W) -> W::Output {
    arch().dispatch(work)
}

fn arch() -> pulp::Arch {
    static ARCH: OnceLock<pulp::Arch> = OnceLock::new();
    *ARCH.get_or_init(|| match Instructions::used() {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => pulp::x86::V3::try_new().map_or(pulp::Arch::Scalar, pulp::Arch::V3),
        Instructions::Plain => pulp::Arch::Scalar,
        _ => pulp::Arch::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::real::Real;
    use super::*;

    struct Each<'a, F>(&'a [f32], F);

    impl<F: Fn(f32) -> f32> pulp::WithSimd for Each<'_, F> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> Vec<f32> {
            self.0.iter().map(|x| self.1(*x)).collect()
        }
    }

    /// Were products and sums joined where the processor can, a run would go on with other bits on
    /// another machine.
    #[test]
    fn wider_instructions_change_no_bit() {
        let x: Vec<f32> = (0..10_000).map(|idx| (idx as f32 * 0.37).sin() * 20.0).collect();
        let each = |x: f32| Real::exp(x) * 0.3 + x * x - x.abs().sqrt();
        let plain: Vec<u32> = x.iter().map(|x| each(std::hint::black_box(*x)).to_bits()).collect();
        let wide: Vec<u32> = vectorised(Each(&x, each)).into_iter().map(f32::to_bits).collect();
        assert_eq!(plain, wide);
    }

    #[test]
    fn the_widest_is_here() {
        let here = Instructions::ALL.iter().filter(|set| set.is_here());
        assert_eq!(here.max(), Some(&Instructions::widest()));
        assert!(Instructions::used().is_here());
    }
}
