//! Amounts as Kubernetes writes them: `100m`, `1Gi`, `2`, `1e3`, `0.5`.
//!
//! Exact, in integers. What is less than a unit counts as a whole one, as for kube-scheduler
//! (`resource.Quantity`: `Value` and `MilliValue` round up).

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::problem::LARGEST_AMOUNT;

/// Digits that are kept; Kubernetes itself keeps 18.
const MOST_DIGITS: usize = 30;
/// Exponents beyond this are no amounts of anything.
const LARGEST_EXPONENT: i32 = 40;
/// Suffixes with the powers of two and of ten that they stand for.
const SUFFIXES: &[(&str, u32, i32)] = &[
    ("", 0, 0),
    ("n", 0, -9),
    ("u", 0, -6),
    ("m", 0, -3),
    ("k", 0, 3),
    ("M", 0, 6),
    ("G", 0, 9),
    ("T", 0, 12),
    ("P", 0, 15),
    ("E", 0, 18),
    ("Ki", 10, 0),
    ("Mi", 20, 0),
    ("Gi", 30, 0),
    ("Ti", 40, 0),
    ("Pi", 50, 0),
    ("Ei", 60, 0),
];

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// No number with a suffix.
    #[error("{0:?} is no quantity: a number like 2, 0.5, 100m or 1Gi would be right")]
    Syntax(String),
    /// More digits than anybody needs.
    #[error("{0:?} has too many digits: at most {MOST_DIGITS} would be right")]
    Digits(String),
    /// Below nothing.
    #[error("{0:?} is negative: 0 or more would be right")]
    Negative(String),
}

/// An amount out of range, in the unit of its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more than {LARGEST_AMOUNT} units")]
pub struct TooLarge;

/// An exact amount: `mantissa * 2^binary * 10^decimal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quantity {
    mantissa: i128,
    binary: u32,
    decimal: i32,
}

impl Quantity {
    /// In units of `10^-digits`, rounded up: `scaled(3)` gives millicores of a CPU amount.
    pub fn scaled(self, digits: i32) -> Result<i64, TooLarge> {
        let decimal = self.decimal + digits;
        let power = 10_i128.checked_pow(decimal.unsigned_abs());
        let whole = self.mantissa.checked_mul(1_i128 << self.binary).ok_or(TooLarge)?;
        let value = match power {
            Some(power) if decimal >= 0 => whole.checked_mul(power).ok_or(TooLarge)?,
            Some(power) => whole / power + i128::from(whole % power != 0),
            None if whole == 0 => 0,
            None if decimal < 0 => 1,
            None => return Err(TooLarge),
        };
        i64::try_from(value).ok().filter(|value| *value <= LARGEST_AMOUNT).ok_or(TooLarge)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let syntax = || QuantityError::Syntax(shown(text));
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(syntax());
        }
        let (binary, power) = power(suffix).ok_or_else(syntax)?;
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.len() > MOST_DIGITS || fraction.len() > MOST_DIGITS {
            return Err(QuantityError::Digits(shown(text)));
        }
        let mantissa = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| syntax())? };
        if negative && mantissa != 0 {
            return Err(QuantityError::Negative(shown(text)));
        }
        Ok(Self { mantissa, binary, decimal: power - fraction.len() as i32 })
    }
}

/// The powers of two and ten of a suffix or an exponent. `1E` is an exa, `1E3` a thousand.
fn power(suffix: &str) -> Option<(u32, i32)> {
    if let Some((_, binary, decimal)) = SUFFIXES.iter().find(|(name, ..)| *name == suffix) {
        return Some((*binary, *decimal));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (exponent.abs() <= LARGEST_EXPONENT).then_some((0, exponent))
}

/// At most so much of a text that a line of an error stays readable.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A string or a number, as both are written in YAML.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber)
    }
}

struct TextOrNumber;

impl Visitor<'_> for TextOrNumber {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity like 2, 0.5, 100m or 1Gi")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, digits: i32) -> Result<i64, String> {
        let quantity: Quantity = text.parse().map_err(|error: QuantityError| error.to_string())?;
        quantity.scaled(digits).map_err(|error| error.to_string())
    }

    #[test]
    fn quantities_are_exact_in_millicores_and_bytes() {
        let cases: &[(&str, i32, i64)] = &[
            ("100m", 3, 100),
            ("2", 3, 2_000),
            ("0.5", 3, 500),
            (".5", 3, 500),
            ("5.", 3, 5_000),
            ("+1", 3, 1_000),
            ("1e3", 3, 1_000_000),
            ("1E3", 0, 1_000),
            ("1.5e-1", 3, 150),
            ("1Gi", 0, 1 << 30),
            ("0.1Gi", 0, 107_374_183),
            ("128974848", 0, 128_974_848),
            ("129e6", 0, 129_000_000),
            ("123Mi", 0, 123 << 20),
            ("1E", -12, 1_000_000),
            ("1Pi", 0, 1 << 50),
            ("0", 3, 0),
            ("-0", 3, 0),
            ("0.0001", 3, 1),
            ("1n", 3, 1),
            ("1u", 3, 1),
            ("1001u", 3, 2),
            ("100000u", 3, 100),
            ("000000000000000000000000000000000000000000002", 0, 2),
            ("1.0000000000000000000000000000000000000000000", 0, 1),
            ("1e-40", 0, 1),
        ];
        for (text, digits, expected) in cases {
            assert_eq!(units(text, *digits).as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_text() {
        let bad = [
            "", " ", "a", "1 ", " 1", "1.2.3", ".", "-", "1K", "1gi", "1mi", "1e", "1e+", "1e99",
            "1Gi2", "0x10", "1,5", "NaN", "inf", "--1", "1e1.5", "١",
        ];
        for text in bad {
            let error = units(text, 0).unwrap_err();
            assert!(error.contains("is no quantity"), "{text:?}: {error}");
        }
        assert!(units("-1", 0).unwrap_err().contains("is negative"));
        assert!(units(&"9".repeat(31), 0).unwrap_err().contains("too many digits"));
        for text in ["1e40", "1E", "9007199254740993", "8Pi1".trim_end_matches('1'), "16Ei"] {
            let expected = if text == "8Pi" { Ok(1 << 53) } else { Err(TooLarge.to_string()) };
            assert_eq!(units(text, 0), expected, "{text}");
        }
    }

    #[test]
    fn numbers_of_json_are_quantities_too() {
        for (json, expected) in [("2", 2_000), ("0.5", 500), ("1e3", 1_000_000), ("\"1\"", 1_000)] {
            let quantity: Quantity = serde_json::from_str(json).unwrap();
            assert_eq!(quantity.scaled(3), Ok(expected), "{json}");
        }
        assert!(serde_json::from_str::<Quantity>("true").is_err());
        assert!(serde_json::from_str::<Quantity>("-2").is_err());
    }
}
