//! Small arithmetic.

/// The greatest common divisor (Euclid); `gcd(0, b)` is `b`.
pub(crate) const fn gcd(mut a: usize, mut b: usize) -> usize {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}
