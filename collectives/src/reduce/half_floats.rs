//! The two 16-bit floats: widened to `f32`, combined there and rounded once.
//!
//! Rounding `f32` once more to 11 or 8 bits gives the correctly rounded sum and product, as `f32`
//! has at least twice those bits and two more (Figueroa, "When is double rounding innocuous?",
//! 1995). Min and max are exact, and a conversion to and fro keeps every number.

use std::marker::PhantomData;

use super::lanes::{FloatDivisor, Lanes, Operation, Winner, zip};

/// How many elements fill a 512-bit register when widened.
pub(super) const LANES: usize = 16;

/// A block: two registers' worth of elements.
pub(super) type Narrow = [u16; 2 * LANES];

/// A block widened, in two parts of one register each.
pub(super) type Wide = [[f32; LANES]; 2];

/// How a 16-bit float becomes an `f32` and comes back.
pub(super) trait Format {
    /// The bits of positive infinity; those of a NaN, without the sign, are larger.
    const INFINITY: u16;

    fn widen(bits: u16) -> f32;

    /// Rounds to nearest, ties to even; a NaN becomes a quiet one.
    fn narrow(value: f32) -> u16;

    /// The order of the results is the format's own affair: [`Format::narrow_block`] undoes it.
    ///
    /// # Safety
    /// The CPU has the instruction set that `Self` was written for.
    unsafe fn widen_block(block: Narrow) -> Wide;

    /// # Safety
    /// As for [`Format::widen_block`].
    unsafe fn narrow_block(block: Wide) -> Narrow;
}

/// A 16-bit float of this format, as the loops see it.
pub(super) struct Half<F>(PhantomData<F>);

// SAFETY: `u16` has no padding and any bits are one; the block is an array of them.
unsafe impl<F: Format> Lanes for Half<F> {
    type Element = u16;
    type Block = Narrow;
    type Divisor = FloatDivisor<f32>;

    #[inline(always)]
    fn combine<O: Operation>(local: u16, incoming: u16) -> u16 {
        match O::WINNER {
            Some(winner) => pick::<F>(winner, local, incoming),
            None => F::narrow(O::apply(F::widen(local), F::widen(incoming))),
        }
    }

    #[inline(always)]
    unsafe fn combine_block<O: Operation>(local: Narrow, incoming: Narrow) -> Narrow {
        if let Some(winner) = O::WINNER {
            return zip(local, incoming, |local, incoming| pick::<F>(winner, local, incoming));
        }
        // SAFETY: the caller says that the CPU has what `F` was written for.
        unsafe {
            let [left_low, left_high] = F::widen_block(local);
            let [right_low, right_high] = F::widen_block(incoming);
            F::narrow_block([
                zip(left_low, right_low, O::apply),
                zip(left_high, right_high, O::apply),
            ])
        }
    }

    #[inline(always)]
    fn divisor(ranks: u32) -> Self::Divisor {
        FloatDivisor::<f32>::new(ranks)
    }

    #[inline(always)]
    fn divide(element: u16, divisor: Self::Divisor) -> u16 {
        F::narrow(F::widen(element) / divisor.ranks)
    }

    #[inline(always)]
    unsafe fn divide_block(block: Narrow, divisor: Self::Divisor) -> Narrow {
        // SAFETY: the caller says that the CPU has what `F` was written for.
        unsafe {
            let [low, high] = F::widen_block(block);
            F::narrow_block([divisor.divide(low), divisor.divide(high)])
        }
    }
}

/// Min and max without a conversion: the bits, put in order as integers. -0 is less than +0 there.
#[inline(always)]
fn pick<F: Format>(winner: Winner, left: u16, right: u16) -> u16 {
    // Its own inverse, as the sign stays.
    let order = |bits: i16| bits ^ ((bits >> 15) & 0x7fff);
    let (first, second) = (order(left as i16), order(right as i16));
    let picked = order(match winner {
        Winner::Smaller => first.min(second),
        Winner::Larger => first.max(second),
    }) as u16;
    let is_nan = |bits: u16| (bits & 0x7fff) as i16 > F::INFINITY as i16;
    if is_nan(left) | is_nan(right) { u16::MAX } else { picked }
}

/// Splits each of the pairs of neighbours in two. So no instruction has to move a lane.
#[inline(always)]
fn split_pairs<T: Copy + Default>(block: Narrow, split: impl Fn(u32) -> (T, T)) -> [[T; LANES]; 2] {
    // SAFETY: two arrays of the same size without padding, of which any bits are a value.
    let pairs: [u32; LANES] = unsafe { std::mem::transmute(block) };
    let [mut low, mut high] = [[T::default(); LANES]; 2];
    for index in 0..LANES {
        (low[index], high[index]) = split(pairs[index]);
    }
    [low, high]
}

/// Undoes [`split_pairs`].
#[inline(always)]
fn join_pairs<T: Copy>(block: [[T; LANES]; 2], join: impl Fn(T, T) -> u32) -> Narrow {
    let mut pairs = [0; LANES];
    for index in 0..LANES {
        pairs[index] = join(block[0][index], block[1][index]);
    }
    // SAFETY: two arrays of the same size without padding, of which any bits are a value.
    unsafe { std::mem::transmute(pairs) }
}

/// bfloat16: the upper half of an `f32`.
pub(super) struct Bf16;

/// Whether a NaN that arithmetic makes of NaNs whose lower half is zero has a lower half of zero,
/// as Rust promises for these (documentation of `f32`, "NaN bit patterns"). Rounding keeps it then.
const NAN_PAYLOADS_ARE_KEPT: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// The bits of `value` rounded to the upper half; the lower half is left as it falls. `value` is
/// the result of an operation on widened numbers.
#[inline(always)]
fn round_to_upper_half(value: f32) -> u32 {
    let bits = value.to_bits();
    if !NAN_PAYLOADS_ARE_KEPT && value.is_nan() {
        return bits | 0x0040_0000;
    }
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1))
}

impl Format for Bf16 {
    const INFINITY: u16 = 0x7f80;

    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        (round_to_upper_half(value) >> 16) as u16
    }

    #[inline(always)]
    unsafe fn widen_block(block: Narrow) -> Wide {
        split_pairs(block, |pair| (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)))
    }

    #[inline(always)]
    unsafe fn narrow_block(block: Wide) -> Narrow {
        join_pairs(block, |low, high| {
            (round_to_upper_half(low) >> 16) | (round_to_upper_half(high) & 0xffff_0000)
        })
    }
}

/// IEEE 754 half precision, converted with integer and `f32` arithmetic alone.
///
/// Without branches, as they would keep the compiler from vectorising. Source: M. Dukhan's `FP16`
/// library (MIT), `fp16_ieee_to_fp32_value` and `fp16_ieee_from_fp32_value`, rearranged.
pub(super) struct F16;

impl Format for F16 {
    const INFINITY: u16 = 0x7c00;

    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        // What the exponents of the two formats differ by, as a factor: it makes normal numbers
        // of subnormal ones too.
        const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
        let magnitude = u32::from(bits & 0x7fff) << 13;
        let value = (f32::from_bits(magnitude) * REBIAS).to_bits();
        let special = if magnitude as i32 >= 0x7c00 << 13 { 0x7f80_0000 } else { 0 };
        f32::from_bits(value | special | (u32::from(bits & 0x8000) << 16))
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        const TO_INFINITY: f32 = f32::from_bits((127 + 112) << 23);
        const BACK: f32 = f32::from_bits((127 - 110) << 23);
        // Exponent of the smallest normal half.
        const NORMAL_FROM: i32 = (127 - 14) << 23;
        let bits = value.to_bits();
        // Four times the number; what a half cannot hold is infinite.
        let scaled = value.abs() * TO_INFINITY * BACK;
        // Adding a power of two that is so much larger leaves just the bits that a half has,
        // rounded to nearest even by the addition; the carry goes to the exponent.
        let exponent = ((bits & 0x7f80_0000) as i32).max(NORMAL_FROM) as u32;
        let rounded = (scaled + f32::from_bits(exponent + (15 << 23))).to_bits();
        let half = ((rounded >> 13) & 0x7c00) + (rounded & 0x0fff);
        let magnitude = if value.is_nan() { 0x7e00 } else { half };
        (((bits >> 16) & 0x8000) | magnitude) as u16
    }

    #[inline(always)]
    unsafe fn widen_block(block: Narrow) -> Wide {
        split_pairs(block, |pair| (Self::widen(pair as u16), Self::widen((pair >> 16) as u16)))
    }

    #[inline(always)]
    unsafe fn narrow_block(block: Wide) -> Narrow {
        join_pairs(block, |low, high| {
            u32::from(Self::narrow(low)) | (u32::from(Self::narrow(high)) << 16)
        })
    }
}
