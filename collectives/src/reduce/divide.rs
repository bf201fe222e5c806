//! Division of integers by a number that stays the same for a whole buffer, without dividing.
//!
//! Source: A. D. Robison, "N-bit unsigned division via N-bit multiply-add", ARITH-17, 2005: with
//! `s = ⌊log2 d⌋`, either `⌊a·(t+1) / 2^(N+s)⌋` or `⌊(a·t + t) / 2^(N+s)⌋` is `⌊a/d⌋` for every
//! N-bit `a`, where `t = ⌊2^(N+s) / d⌋`; the first if `d·(t+1) − 2^(N+s) ≤ 2^s`.

/// Divides 8-bit numbers.
#[derive(Clone, Copy)]
pub(super) struct Divisor8 {
    multiplier: u16,
}

impl Divisor8 {
    /// For a divisor of at least 2.
    ///
    /// With `m = ⌈2^16/d⌉` the error of `a·m/2^16` is below `a·d/2^16 / d < 1/d` for `a, d ≤ 256`,
    /// too little to reach the next whole number. A larger divisor gives 0, and so does 256.
    pub(super) fn new(divisor: u32) -> Self {
        Self { multiplier: (1_u32 << 16).div_ceil(divisor.min(256)) as u16 }
    }

    #[inline(always)]
    pub(super) fn divide(self, number: u8) -> u8 {
        ((u32::from(number) * u32::from(self.multiplier)) >> 16) as u8
    }
}

/// Divides 32-bit numbers.
#[derive(Clone, Copy)]
pub(super) struct Divisor32 {
    multiplier: u32,
    addend: u32,
    shift: u32,
}

impl Divisor32 {
    /// For a divisor of at least 2.
    pub(super) fn new(divisor: u32) -> Self {
        let shift = divisor.ilog2();
        let (multiplier, addend) = if divisor.is_power_of_two() {
            (u32::MAX, u32::MAX)
        } else {
            let power = 1_u64 << (32 + shift);
            let floor = power / u64::from(divisor);
            if u64::from(divisor) * (floor + 1) - power <= 1 << shift {
                (floor as u32 + 1, 0)
            } else {
                (floor as u32, floor as u32)
            }
        };
        Self { multiplier, addend, shift: 32 + shift }
    }

    #[inline(always)]
    pub(super) fn divide(self, number: u32) -> u32 {
        let product = u64::from(number) * u64::from(self.multiplier) + u64::from(self.addend);
        (product >> self.shift) as u32
    }
}

/// Divides 64-bit numbers.
#[derive(Clone, Copy)]
pub(super) struct Divisor64 {
    multiplier: u64,
    addend: u64,
    shift: u32,
}

impl Divisor64 {
    /// For a divisor of at least 2.
    pub(super) fn new(divisor: u32) -> Self {
        let shift = divisor.ilog2();
        let (multiplier, addend) = if divisor.is_power_of_two() {
            (u64::MAX, u64::MAX)
        } else {
            let power = 1_u128 << (64 + shift);
            let floor = power / u128::from(divisor);
            if u128::from(divisor) * (floor + 1) - power <= 1 << shift {
                (floor as u64 + 1, 0)
            } else {
                (floor as u64, floor as u64)
            }
        };
        Self { multiplier, addend, shift }
    }

    #[inline(always)]
    pub(super) fn divide(self, number: u64) -> u64 {
        let product = u128::from(number) * u128::from(self.multiplier) + u128::from(self.addend);
        ((product >> 64) as u64) >> self.shift
    }
}

/// Numbers with a sign: that of the quotient is the number's, which makes it truncated.
macro_rules! signed {
    ($($divisor:ident for $signed:ident;)*) => {$(
        impl $divisor {
            #[inline(always)]
            pub(super) fn divide_signed(self, number: $signed) -> $signed {
                let sign = number >> ($signed::BITS - 1);
                let quotient = self.divide(number.unsigned_abs()) as $signed;
                (quotient ^ sign) - sign
            }
        }
    )*};
}

signed! {
    Divisor8 for i8;
    Divisor32 for i32;
    Divisor64 for i64;
}
