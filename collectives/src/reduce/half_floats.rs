//! The two 16-bit floats: widened to `f32`, combined there and rounded once.
//!
//! Rounding `f32` once more to 11 or 8 bits gives the correctly rounded sum and product, as `f32`
//! has at least twice those bits and two more (Figueroa, "When is double rounding innocuous?",
//! 1995). Min and max are exact, and a conversion to and fro keeps every number.

use std::marker::PhantomData;

use super::lanes::{FloatDivisor, Lanes, Operation, map, zip};

/// How many elements a block has: each half of it fills a 512-bit register when widened.
pub(super) const LANES: usize = 32;

/// How a 16-bit float becomes an `f32` and comes back.
pub(super) trait Format {
    fn widen(bits: u16) -> f32;

    /// Rounds to nearest, ties to even; a NaN becomes a quiet one.
    fn narrow(value: f32) -> u16;

    /// The order of the results is the format's own affair: [`Format::narrow_block`] undoes it.
    ///
    /// # Safety
    /// The CPU has the instruction set that `Self` was written for.
    #[inline(always)]
    unsafe fn widen_block(block: [u16; LANES]) -> [f32; LANES] {
        std::array::from_fn(|index| Self::widen(block[index]))
    }

    /// # Safety
    /// As for [`Format::widen_block`].
    #[inline(always)]
    unsafe fn narrow_block(block: [f32; LANES]) -> [u16; LANES] {
        std::array::from_fn(|index| Self::narrow(block[index]))
    }
}

/// A 16-bit float of this format, as the loops see it.
pub(super) struct Half<F>(PhantomData<F>);

// SAFETY: `u16` has no padding and any bits are one; the block is an array of them.
unsafe impl<F: Format> Lanes for Half<F> {
    type Element = u16;
    type Block = [u16; LANES];
    type Divisor = FloatDivisor<f32>;

    #[inline(always)]
    fn combine<O: Operation>(local: u16, incoming: u16) -> u16 {
        F::narrow(O::apply(F::widen(local), F::widen(incoming)))
    }

    #[inline(always)]
    unsafe fn combine_block<O: Operation>(
        local: Self::Block,
        incoming: Self::Block,
    ) -> Self::Block {
        // SAFETY: the caller says that the CPU has what `F` was written for.
        unsafe {
            F::narrow_block(zip(
                F::widen_block(local),
                F::widen_block(incoming),
                O::apply,
            ))
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
    unsafe fn divide_block(block: Self::Block, divisor: Self::Divisor) -> Self::Block {
        // SAFETY: the caller says that the CPU has what `F` was written for.
        unsafe {
            let wide = F::widen_block(block);
            F::narrow_block(match divisor.inverse {
                Some(inverse) => map(wide, |element| element * inverse),
                None => map(wide, |element| element / divisor.ranks),
            })
        }
    }
}

/// bfloat16: the upper half of an `f32`.
pub(super) struct Bf16;

/// The bits of `value` rounded to the upper half; the lower half is left as it falls.
#[inline(always)]
fn round_to_upper_half(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    if value.is_nan() {
        bits | 0x0040_0000
    } else {
        rounded
    }
}

impl Format for Bf16 {
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        (round_to_upper_half(value) >> 16) as u16
    }

    // Two neighbours are read as one `u32`: then no instruction has to move a lane.
    #[inline(always)]
    unsafe fn widen_block(block: [u16; LANES]) -> [f32; LANES] {
        let pairs = pairs(block);
        std::array::from_fn(|index| {
            f32::from_bits(match index.checked_sub(LANES / 2) {
                None => pairs[index] << 16,
                Some(index) => pairs[index] & 0xffff_0000,
            })
        })
    }

    #[inline(always)]
    unsafe fn narrow_block(block: [f32; LANES]) -> [u16; LANES] {
        from_pairs(std::array::from_fn(|index| {
            let low = round_to_upper_half(block[index]) >> 16;
            low | (round_to_upper_half(block[index + LANES / 2]) & 0xffff_0000)
        }))
    }
}

#[inline(always)]
fn pairs(block: [u16; LANES]) -> [u32; LANES / 2] {
    // SAFETY: two arrays of the same size without padding, of which any bits are a value.
    unsafe { std::mem::transmute(block) }
}

#[inline(always)]
fn from_pairs(pairs: [u32; LANES / 2]) -> [u16; LANES] {
    // SAFETY: two arrays of the same size without padding, of which any bits are a value.
    unsafe { std::mem::transmute(pairs) }
}

/// IEEE 754 half precision, converted with integer and `f32` arithmetic alone.
///
/// Source: F. Giesen, `float_to_half_fast3_rtne` and `half_to_float` (public domain); all three
/// cases are computed and one is picked, as branches would keep the loop from being vectorised.
pub(super) struct F16;

impl Format for F16 {
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        const SMALLEST_NORMAL: u32 = (127 - 14) << 23;
        let magnitude = u32::from(bits & 0x7fff) << 13;
        let sign = u32::from(bits & 0x8000) << 16;
        let exponent = magnitude & (0x1f << 23);
        let normal = magnitude + ((127 - 15) << 23);
        // The significand of a subnormal, put below the leading one of the smallest normal number.
        let subnormal =
            f32::from_bits(magnitude + SMALLEST_NORMAL) - f32::from_bits(SMALLEST_NORMAL);
        let special = magnitude + ((255 - 31) << 23);
        let value = if exponent == 0 {
            subnormal.to_bits()
        } else if exponent == 0x1f << 23 {
            special
        } else {
            normal
        };
        f32::from_bits(value | sign)
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        const INFINITE_FROM: u32 = (127 + 16) << 23;
        const NORMAL_FROM: u32 = (127 - 14) << 23;
        // Adding it moves the last bit of a subnormal half to the last bit of the `f32`.
        const ALIGN: u32 = (127 - 15 + 23 - 10 + 1) << 23;
        let bits = value.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        let special = if magnitude > 0x7f80_0000 {
            0x7e00
        } else {
            0x7c00
        };
        let aligned = f32::from_bits(magnitude) + f32::from_bits(ALIGN);
        let subnormal = aligned.to_bits().wrapping_sub(ALIGN);
        let odd = (magnitude >> 13) & 1;
        let normal = magnitude
            .wrapping_sub((127 - 15) << 23)
            .wrapping_add(0xfff + odd)
            >> 13;
        let half = if magnitude >= INFINITE_FROM {
            special
        } else if magnitude < NORMAL_FROM {
            subnormal
        } else {
            normal
        };
        ((bits >> 16) & 0x8000 | half) as u16
    }
}
