//! Numbers.

/// The greatest common divisor; that of a number and 0 is the number.
pub(crate) const fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
