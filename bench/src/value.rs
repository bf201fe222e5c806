//! Element types as numbers, so that expected results can be computed independently.

use half::{bf16, f16};
use onepath_collectives::Element;

/// An element whose exact sums, products and so on can be computed as a 64-bit integer (a *word*).
pub(crate) trait Value: Element + PartialEq {
    /// The largest integer below which all integers are values; none if the type is an integer,
    /// whose arithmetic wraps and so is always exact.
    const EXACT: Option<i64>;

    /// The value of a word: rounded for floats, its low bits for integers.
    fn from_word(word: i64) -> Self;

    /// A word that is a value of this type, from random bits.
    fn random_word(bits: u64) -> i64;

    /// What `avg` makes of a sum over `ranks` ranks.
    fn average(sum: i64, ranks: u32) -> Self;

    /// For messages.
    fn to_f64(self) -> f64;
}

macro_rules! integers {
    ($($type:ty: $random:expr),* $(,)?) => {$(
        #[allow(clippy::cast_lossless, reason = "one text for types of all sizes")]
        impl Value for $type {
            const EXACT: Option<i64> = None;

            #[inline]
            fn from_word(word: i64) -> Self {
                word as Self
            }

            #[inline]
            fn random_word(bits: u64) -> i64 {
                $random(bits) as i64
            }

            #[inline]
            fn average(sum: i64, ranks: u32) -> Self {
                // The sum wraps in the type itself; the quotient is rounded towards zero.
                (i128::from(sum as Self) / i128::from(ranks)) as Self
            }

            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

// A word of u64 keeps to 63 bits, so that words compare as the values do.
integers! {
    i8: |bits| bits as i8, i32: |bits| bits as i32, i64: |bits| bits as i64,
    u8: |bits| bits as u8, u32: |bits| bits as u32, u64: |bits: u64| bits >> 1,
}

/// Small integers: every float type holds them and their sums up to its `EXACT`.
fn small_word(bits: u64, exact: i64) -> i64 {
    let span = exact.min(1 << 20);
    scale(bits, 2 * span as u64 + 1) - span
}

/// Random bits to a number below `bound`, which is below 2³²: a multiplication instead of a
/// division.
#[inline]
pub(crate) fn scale(bits: u64, bound: u64) -> i64 {
    (((bits >> 32) * bound) >> 32) as i64
}

macro_rules! floats {
    ($($type:ty: $exact:expr, $from:expr, $average:expr, $wide:expr);* $(;)?) => {$(
        #[allow(clippy::cast_lossless, reason = "one text for types of all sizes")]
        impl Value for $type {
            const EXACT: Option<i64> = Some($exact);

            #[inline]
            fn from_word(word: i64) -> Self {
                $from(word)
            }

            #[inline]
            fn random_word(bits: u64) -> i64 {
                small_word(bits, $exact)
            }

            #[inline]
            fn average(sum: i64, ranks: u32) -> Self {
                $average(sum, ranks)
            }

            fn to_f64(self) -> f64 {
                $wide(self)
            }
        }
    )*};
}

// One division and one rounding, in the type or (16 bits) in f32.
floats! {
    f32: 1 << 24, |word| word as f32, |sum, ranks| sum as f32 / ranks as f32, f64::from;
    f64: 1 << 53, |word| word as f64, |sum, ranks| sum as f64 / f64::from(ranks), |x| x;
    f16: 1 << 11, |word| f16::from_f32(word as f32),
        |sum, ranks| f16::from_f32(sum as f32 / ranks as f32), f16::to_f64;
    bf16: 1 << 8, |word| bf16::from_f32(word as f32),
        |sum, ranks| bf16::from_f32(sum as f32 / ranks as f32), bf16::to_f64;
}

/// Runs `$body` with the Rust type of a `DataType` as `$type`.
macro_rules! with_type {
    ($data_type:expr, $type:ident => $body:expr) => {
        match $data_type {
            onepath_collectives::DataType::F32 => with_type!(@ f32, $type, $body),
            onepath_collectives::DataType::F64 => with_type!(@ f64, $type, $body),
            onepath_collectives::DataType::F16 => with_type!(@ half::f16, $type, $body),
            onepath_collectives::DataType::Bf16 => with_type!(@ half::bf16, $type, $body),
            onepath_collectives::DataType::I8 => with_type!(@ i8, $type, $body),
            onepath_collectives::DataType::I32 => with_type!(@ i32, $type, $body),
            onepath_collectives::DataType::I64 => with_type!(@ i64, $type, $body),
            onepath_collectives::DataType::U8 => with_type!(@ u8, $type, $body),
            onepath_collectives::DataType::U32 => with_type!(@ u32, $type, $body),
            onepath_collectives::DataType::U64 => with_type!(@ u64, $type, $body),
        }
    };
    (@ $rust:ty, $type:ident, $body:expr) => {{
        type $type = $rust;
        $body
    }};
}
pub(crate) use with_type;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_of_integers_wrap_in_the_sum_and_round_towards_zero() {
        assert_eq!(i8::average(130, 2), -63);
        assert_eq!(i8::average(-7, 2), -3);
        assert_eq!(u8::average(258, 2), 1);
        assert_eq!(i8::average(100, 200), 0);
        assert_eq!(i8::average(-128, 128), -1);
        assert_eq!(u64::average(-2, 2), u64::MAX / 2);
    }

    #[test]
    fn averages_of_floats_are_rounded_once() {
        assert_eq!(f32::average(1, 3).to_bits(), (1.0_f32 / 3.0).to_bits());
        assert_eq!(bf16::average(1, 3), bf16::from_f32(1.0 / 3.0));
        assert_eq!(f16::average(3, 2), f16::from_f32(1.5));
    }

    #[test]
    fn random_words_are_values_of_their_type() {
        for bits in (0..2000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            assert_eq!(bf16::from_word(bf16::random_word(bits)).to_f64() as i64, {
                bf16::random_word(bits)
            });
            assert_eq!(i64::from(i8::from_word(i8::random_word(bits))), i8::random_word(bits));
            assert!(u64::random_word(bits) >= 0);
        }
    }
}
