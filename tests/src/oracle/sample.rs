//! What a reduction means for one element, and where elements come from.

use std::fmt::Debug;

use half::{bf16, f16};
use onepath_collectives::{Element, ReduceOp};

/// A well-mixed number from a counter (the finisher of `SplitMix64`, Steele et al., OOPSLA 2014).
pub const fn hash(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// An element type with its oracle.
pub trait Sample: Element + Debug + PartialEq {
    /// What outputs hold before a call, so that elements that were not written show.
    const UNTOUCHED: Self;

    /// An element whose sums (`prod` false) or products (`prod` true) over 9 ranks are exact.
    fn exact(prod: bool, hash: u64) -> Self;

    /// Any integer; a float around 1 with a full mantissa and either sign.
    fn any(hash: u64) -> Self;

    /// `left ⊕ right`; for `avg` their sum.
    fn combine(op: ReduceOp, left: Self, right: Self) -> Self;

    /// A sum divided by `ranks`, as `avg` does it.
    fn divide(self, ranks: usize) -> Self;

    /// Its bits.
    fn bits(self) -> u64;

    /// Its value.
    fn value(self) -> f64;
}

fn whole(hash: u64) -> f64 {
    (hash % 17) as f64 - 8.0
}

fn power(hash: u64) -> f64 {
    [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0][(hash % 6) as usize]
}

fn around_one(hash: u64) -> f64 {
    let size = 0.5 + (hash >> 12) as f64 / (1_u64 << 52) as f64;
    if hash & 1 == 0 { size } else { -size }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Sample for $type {
            const UNTOUCHED: Self = 0x5A;

            fn exact(_prod: bool, hash: u64) -> Self {
                hash as Self
            }

            fn any(hash: u64) -> Self {
                hash as Self
            }

            fn combine(op: ReduceOp, left: Self, right: Self) -> Self {
                match op {
                    ReduceOp::Sum | ReduceOp::Avg => left.wrapping_add(right),
                    ReduceOp::Prod => left.wrapping_mul(right),
                    ReduceOp::Min => left.min(right),
                    ReduceOp::Max => left.max(right),
                }
            }

            fn divide(self, ranks: usize) -> Self {
                let quotient = i128::from(self) / ranks as i128;
                Self::try_from(quotient).expect("a quotient is no larger than the sum")
            }

            fn bits(self) -> u64 {
                self as u64
            }

            fn value(self) -> f64 {
                self as f64
            }
        }
    )*};
}

macro_rules! floats {
    ($($type:ty: $wide:ty, $narrow:expr, $widen:expr, $bits:expr);* $(;)?) => {$(
        impl Sample for $type {
            const UNTOUCHED: Self = $narrow(-77.0);

            fn exact(prod: bool, hash: u64) -> Self {
                $narrow(if prod { power(hash) } else { whole(hash) } as $wide)
            }

            fn any(hash: u64) -> Self {
                $narrow(around_one(hash) as $wide)
            }

            fn combine(op: ReduceOp, left: Self, right: Self) -> Self {
                let (left, right): ($wide, $wide) = ($widen(left), $widen(right));
                $narrow(match op {
                    ReduceOp::Sum | ReduceOp::Avg => left + right,
                    ReduceOp::Prod => left * right,
                    ReduceOp::Min => left.min(right),
                    ReduceOp::Max => left.max(right),
                })
            }

            fn divide(self, ranks: usize) -> Self {
                let sum: $wide = $widen(self);
                $narrow(sum / ranks as $wide)
            }

            fn bits(self) -> u64 {
                u64::from($bits(self))
            }

            fn value(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}

integers!(i8, i32, i64, u8, u32, u64);
floats! {
    f32: f32, std::convert::identity, std::convert::identity, f32::to_bits;
    f64: f64, std::convert::identity, std::convert::identity, f64::to_bits;
    f16: f32, f16::from_f32_const, f16::to_f32_const, f16::to_bits;
    bf16: f32, bf16::from_f32_const, bf16::to_f32_const, bf16::to_bits;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products_of_nine_exact_elements_do_not_depend_on_their_order() {
        fn check<T: Sample>() {
            for start in 0..2_000_u64 {
                for op in [ReduceOp::Sum, ReduceOp::Prod] {
                    let element = |i| T::exact(op == ReduceOp::Prod, hash(start * 9 + i));
                    let up = (1..9).map(element).fold(element(0), |a, b| T::combine(op, a, b));
                    let down =
                        (0..8).rev().map(element).fold(element(8), |a, b| T::combine(op, a, b));
                    assert_eq!(up.bits(), down.bits(), "{op} from {start}");
                }
            }
        }
        for data_type in onepath_collectives::DataType::ALL {
            crate::with_type!(data_type, T, check::<T>());
        }
    }
}
