//! Interpolation between the sizes of a table.
//!
//! Ranks on different machines must choose alike, and `ln` of the system's library may differ in
//! the last bit from machine to machine. So logarithms are computed here by additions,
//! multiplications and divisions, whose results IEEE 754 fixes.

use onepath_topology::{Bytes, Nanos};

/// The binary logarithm of a time in nanoseconds at `bytes`; `sizes` rise and are as many as
/// `times`, at least one.
pub(super) fn log_time(sizes: &[Bytes], times: &[Nanos], bytes: Bytes) -> f64 {
    let (size, time) = (|i: usize| log2(sizes[i].get()), |i: usize| log2(times[i].get()));
    let above = sizes.partition_point(|&size| size <= bytes);
    if above == 0 {
        return time(0);
    }
    let below = above - 1;
    let excess = log2(bytes.get()) - size(below);
    if above == sizes.len() {
        return time(below) + excess;
    }
    time(below) + excess * ((time(above) - time(below)) / (size(above) - size(below)))
}

/// The binary logarithm of `x`, of 1 if `x` is 0; within 1e-12.
fn log2(x: u64) -> f64 {
    let x = x.max(1);
    let exponent = x.ilog2();
    let mantissa = x as f64 / (1_u64 << exponent) as f64;
    // ln m = 2 artanh((m − 1) / (m + 1)), here at most 2 artanh(1/3).
    let y = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut power, mut sum) = (y, 0.0);
    for k in 0..13 {
        sum += power / f64::from(2 * k + 1);
        power *= y * y;
    }
    f64::from(exponent) + sum * 2.0 * std::f64::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_logarithm_is_that_of_the_library(x in 1_u64..) {
            prop_assert!((log2(x) - (x as f64).log2()).abs() < 1e-11);
        }
    }

    #[test]
    fn powers_of_two_have_exact_logarithms() {
        for exponent in 0..64 {
            assert!((log2(1 << exponent) - f64::from(exponent)).abs() < f64::EPSILON);
        }
    }
}
