//! Rates of links, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Units from the largest to the smallest, each with its bits a second.
const UNITS: [(&str, u64); 4] =
    [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

/// Why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a rate: write a whole number with kbit, mbit or gbit, as in 20mbit")]
pub(crate) struct RateError {
    text: String,
}

/// Bits a second, a whole number; written `20mbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Rate(u64);

impl Rate {
    /// `bits` a second.
    pub(crate) const fn bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bits a second.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = || RateError { text: text.to_owned() };
        let lower = text.trim().to_ascii_lowercase();
        let found = UNITS.iter().find_map(|(unit, bits)| Some((lower.strip_suffix(unit)?, bits)));
        let (number, bits) = found.ok_or_else(wrong)?;
        let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
        number.checked_mul(*bits).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, bits): &&(&str, u64)| self.0 >= *bits && self.0.is_multiple_of(*bits);
        let (unit, bits) = UNITS.iter().find(whole).unwrap_or(&("bit", 1));
        write!(f, "{}{unit}", self.0 / bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_as_it_is_written() {
        for (text, bits) in [("20mbit", 20_000_000), ("1gbit", 1_000_000_000), ("0bit", 0)] {
            let rate: Rate = text.parse().expect("a rate");
            assert_eq!((rate.get(), rate.to_string().as_str()), (bits, text));
        }
        assert_eq!("1500 KBIT".parse::<Rate>().expect("a rate").to_string(), "1500kbit");
    }

    #[test]
    fn what_is_not_a_rate_is_named_with_what_would_be_right() {
        for text in ["", "20", "mbit", "-1mbit", "1.5mbit", "20 mb", "99999999999999999gbit"] {
            let message = text.parse::<Rate>().expect_err("not a rate").to_string();
            assert!(message.contains(&format!("'{text}'")) && message.contains("20mbit"));
        }
    }
}
