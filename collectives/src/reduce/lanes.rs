//! What a kernel does to one element and to one block of elements, for each type and operation.
//!
//! A block is a plain array, as long as a cache line or two; its loops have constant bounds and no
//! memory in them, so that the compiler turns each into a few vector instructions of whatever
//! instruction set the function around it enables.

use super::divide::{Divisor8, Divisor32, Divisor64};

/// Numbers that have the four operations.
pub(super) trait Number: Copy {
    fn sum(self, other: Self) -> Self;
    fn product(self, other: Self) -> Self;
    fn minimum(self, other: Self) -> Self;
    fn maximum(self, other: Self) -> Self;
}

/// One of the four operations.
pub(super) trait Operation {
    /// Which operand wins, if the result is always one of the two (or a NaN).
    const WINNER: Option<Winner> = None;

    fn apply<N: Number>(local: N, incoming: N) -> N;
}

/// The operand that becomes the result.
#[derive(Clone, Copy)]
pub(super) enum Winner {
    Smaller,
    Larger,
}

macro_rules! operations {
    ($($name:ident calls $method:ident $(, as $winner:ident wins)?;)*) => {$(
        pub(super) struct $name;

        impl Operation for $name {
            $(const WINNER: Option<Winner> = Some(Winner::$winner);)?

            #[inline(always)]
            fn apply<N: Number>(local: N, incoming: N) -> N {
                local.$method(incoming)
            }
        }
    )*};
}

operations! {
    Sum calls sum;
    Product calls product;
    Minimum calls minimum, as Smaller wins;
    Maximum calls maximum, as Larger wins;
}

/// An element type, as the loops see it.
///
/// # Safety
/// `Element` and `Block` have no padding and every bit pattern is a value of them; the size of
/// `Block` is a multiple of the size of `Element`.
pub(super) unsafe trait Lanes {
    /// One element.
    type Element: Copy;
    /// Elements side by side.
    type Block: Copy;
    /// The number of ranks, prepared for dividing by it.
    type Divisor: Copy;

    fn combine<O: Operation>(local: Self::Element, incoming: Self::Element) -> Self::Element;

    /// # Safety
    /// The CPU has the instruction set that `Self` was written for.
    unsafe fn combine_block<O: Operation>(local: Self::Block, incoming: Self::Block)
    -> Self::Block;

    /// For at least two ranks.
    fn divisor(ranks: u32) -> Self::Divisor;

    fn divide(element: Self::Element, divisor: Self::Divisor) -> Self::Element;

    /// # Safety
    /// As for [`Lanes::combine_block`].
    unsafe fn divide_block(block: Self::Block, divisor: Self::Divisor) -> Self::Block;
}

/// `operation` on each pair.
#[inline(always)]
pub(super) fn zip<T: Copy, const N: usize>(
    mut left: [T; N],
    right: [T; N],
    operation: impl Fn(T, T) -> T,
) -> [T; N] {
    for index in 0..N {
        left[index] = operation(left[index], right[index]);
    }
    left
}

/// `operation` on each element.
#[inline(always)]
pub(super) fn map<T: Copy, const N: usize>(
    mut block: [T; N],
    operation: impl Fn(T) -> T,
) -> [T; N] {
    for element in &mut block {
        *element = operation(*element);
    }
    block
}

/// A number of ranks as a float, and its inverse where multiplying gives the same bits.
#[derive(Clone, Copy)]
pub(super) struct FloatDivisor<F> {
    pub(super) ranks: F,
    /// Only of a power of two: then both ways round the same real number once.
    pub(super) inverse: Option<F>,
}

macro_rules! floats {
    ($($float:ident as $bits:ident, $lanes:literal;)*) => {$(
        impl Number for $float {
            #[inline(always)]
            fn sum(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn product(self, other: Self) -> Self {
                self * other
            }

            // Each comparison takes its last operand when the two are equal or unordered. So the
            // two bit patterns are the same except for zeros, where `or` gives the sign to the
            // minimum, and for NaN, where `or` with anything is a NaN.
            #[inline(always)]
            fn minimum(self, other: Self) -> Self {
                let left = if self < other { self } else { other };
                let right = if other < self { other } else { self };
                Self::from_bits(left.to_bits() | right.to_bits())
            }

            // As the minimum, but `and` does not keep a NaN: all ones are one.
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                let left = if self > other { self } else { other };
                let right = if other > self { other } else { self };
                let unordered = $bits::from(self.is_nan() | other.is_nan()).wrapping_neg();
                Self::from_bits((left.to_bits() & right.to_bits()) | unordered)
            }
        }

        impl FloatDivisor<$float> {
            #[inline(always)]
            pub(super) fn new(ranks: u32) -> Self {
                #[allow(clippy::cast_lossless, reason = "`f32` has no `From<u32>`")]
                let number = ranks as $float;
                Self { ranks: number, inverse: ranks.is_power_of_two().then(|| 1.0 / number) }
            }

            #[inline(always)]
            pub(super) fn divide<const N: usize>(self, block: [$float; N]) -> [$float; N] {
                match self.inverse {
                    Some(inverse) => map(block, |element| element * inverse),
                    None => map(block, |element| element / self.ranks),
                }
            }
        }

        // SAFETY: floats have no padding and any bits are a float; the block is an array of them.
        unsafe impl Lanes for $float {
            type Element = Self;
            type Block = [Self; $lanes];
            type Divisor = FloatDivisor<Self>;

            #[inline(always)]
            fn combine<O: Operation>(local: Self, incoming: Self) -> Self {
                O::apply(local, incoming)
            }

            #[inline(always)]
            unsafe fn combine_block<O: Operation>(
                local: Self::Block,
                incoming: Self::Block,
            ) -> Self::Block {
                zip(local, incoming, O::apply)
            }

            #[inline(always)]
            fn divisor(ranks: u32) -> Self::Divisor {
                FloatDivisor::<Self>::new(ranks)
            }

            #[inline(always)]
            fn divide(element: Self, divisor: Self::Divisor) -> Self {
                element / divisor.ranks
            }

            #[inline(always)]
            unsafe fn divide_block(block: Self::Block, divisor: Self::Divisor) -> Self::Block {
                divisor.divide(block)
            }
        }
    )*};
}

floats! {
    f32 as u32, 16;
    f64 as u64, 8;
}

macro_rules! integers {
    ($($integer:ident, $lanes:literal, $divisor:ident, $divide:ident;)*) => {$(
        impl Number for $integer {
            #[inline(always)]
            fn sum(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn product(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            #[inline(always)]
            fn minimum(self, other: Self) -> Self {
                self.min(other)
            }

            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                self.max(other)
            }
        }

        // SAFETY: integers have no padding and any bits are one; the block is an array of them.
        unsafe impl Lanes for $integer {
            type Element = Self;
            type Block = [Self; $lanes];
            type Divisor = $divisor;

            #[inline(always)]
            fn combine<O: Operation>(local: Self, incoming: Self) -> Self {
                O::apply(local, incoming)
            }

            #[inline(always)]
            unsafe fn combine_block<O: Operation>(
                local: Self::Block,
                incoming: Self::Block,
            ) -> Self::Block {
                zip(local, incoming, O::apply)
            }

            #[inline(always)]
            fn divisor(ranks: u32) -> Self::Divisor {
                $divisor::new(ranks)
            }

            #[inline(always)]
            fn divide(element: Self, divisor: Self::Divisor) -> Self {
                divisor.$divide(element)
            }

            #[inline(always)]
            unsafe fn divide_block(block: Self::Block, divisor: Self::Divisor) -> Self::Block {
                map(block, |element| divisor.$divide(element))
            }
        }
    )*};
}

integers! {
    i8, 64, Divisor8, divide_signed;
    i32, 16, Divisor32, divide_signed;
    i64, 8, Divisor64, divide_signed;
    u8, 64, Divisor8, divide;
    u32, 16, Divisor32, divide;
    u64, 8, Divisor64, divide;
}
