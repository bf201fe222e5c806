//! Message sizes: a list, or a range with a factor.

use std::fmt;

/// The largest message, in bytes.
pub(crate) const MAX_SIZE: usize = 16 << 30;

/// The most sizes of one run.
pub(crate) const MAX_SIZES: usize = 1000;

/// Why a text is not a size, or sizes do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// Not a number, or an unknown suffix.
    #[error("'{text}' is not a size: write bytes, or a number with K, M or G (binary), as in 64K")]
    Text {
        /// What was given.
        text: String,
    },
    /// Nothing, or too much.
    #[error("'{text}' is out of range: a size is from 1 byte to 16G")]
    Range {
        /// What was given.
        text: String,
    },
    /// `--min` above `--max`.
    #[error(
        "--min {} is above --max {}: the smaller one goes to --min",
        Bytes(*.min),
        Bytes(*.max)
    )]
    Order {
        /// Bytes of `--min`.
        min: usize,
        /// Bytes of `--max`.
        max: usize,
    },
    /// Too many sizes.
    #[error("{count} sizes are too many: give at most {MAX_SIZES}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A size is not a whole number of elements.
    #[error(
        "size {bytes} is not right for --type {name}: it must be a multiple of {element} bytes"
    )]
    Element {
        /// The size.
        bytes: usize,
        /// The type.
        name: &'static str,
        /// Bytes of an element.
        element: usize,
    },
}

/// Bytes, shown as they may be written: 65536 as `64K`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 30) => (bytes >> 30, "G"),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => (bytes >> 20, "M"),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => (bytes >> 10, "K"),
            bytes => (bytes, ""),
        };
        f.pad(&format!("{number}{unit}"))
    }
}

/// One size: `4096`, `64K`, `1M`, `2G`; the suffix may be small and may be followed by `B` or `iB`.
pub(crate) fn parse_size(text: &str) -> Result<usize, SizeError> {
    let wrong = || SizeError::Text { text: text.to_owned() };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(split);
    if digits.is_empty() {
        return Err(wrong());
    }
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(wrong()),
    };
    let out_of_range = || SizeError::Range { text: text.to_owned() };
    let number: usize = digits.parse().map_err(|_| out_of_range())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(out_of_range)?;
    if bytes == 0 || bytes > MAX_SIZE {
        return Err(out_of_range());
    }
    Ok(bytes)
}

/// The sizes `min`, `min × factor`, ... up to `max`.
pub(crate) fn range(min: usize, max: usize, factor: usize) -> Result<Vec<usize>, SizeError> {
    if min > max {
        return Err(SizeError::Order { min, max });
    }
    let next = |&size: &usize| size.checked_mul(factor).filter(|&size| size <= max);
    Ok(std::iter::successors(Some(min), next).take(MAX_SIZES).collect())
}

/// Makes sure that there are not too many sizes and that each is a whole number of elements.
pub(crate) fn check(sizes: &[usize], name: &'static str, element: usize) -> Result<(), SizeError> {
    if sizes.len() > MAX_SIZES {
        return Err(SizeError::TooMany { count: sizes.len() });
    }
    match sizes.iter().find(|size| !size.is_multiple_of(element)) {
        Some(&bytes) => Err(SizeError::Element { bytes, name, element }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes() {
        for (text, bytes) in
            [("4", 4), ("64K", 65536), ("1m", 1 << 20), ("2GiB", 2 << 30), ("3kb", 3072)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_its_text() {
        for text in ["", "K", "4x", "-4", "1.5M", " 4", "4 K"] {
            assert_eq!(parse_size(text), Err(SizeError::Text { text: text.to_owned() }));
        }
        for text in ["0", "17G", "99999999999999999999999", "18446744073709551615G"] {
            assert_eq!(parse_size(text), Err(SizeError::Range { text: text.to_owned() }));
        }
    }

    #[test]
    fn a_range_ends_at_its_maximum_or_below() {
        assert_eq!(range(4, 64, 4), Ok(vec![4, 16, 64]));
        assert_eq!(range(4, 63, 4), Ok(vec![4, 16]));
        assert_eq!(range(4, 4, 2), Ok(vec![4]));
        assert_eq!(range(8, 4, 2), Err(SizeError::Order { min: 8, max: 4 }));
        assert_eq!(range(1, MAX_SIZE, 2).map(|sizes| sizes.len()), Ok(35));
    }

    #[test]
    fn a_size_of_half_an_element_is_refused() {
        assert_eq!(check(&[4, 8], "f32", 4), Ok(()));
        let error = check(&[4, 6], "f32", 4).expect_err("6 bytes are one and a half elements");
        assert_eq!(
            error.to_string(),
            "size 6 is not right for --type f32: it must be a multiple of 4 bytes"
        );
        let many = vec![4; MAX_SIZES + 1];
        assert_eq!(check(&many, "f32", 4), Err(SizeError::TooMany { count: MAX_SIZES + 1 }));
    }

    #[test]
    fn bytes_are_shown_as_they_are_written() {
        let shown: Vec<String> =
            [1, 1024, 1536, 3 << 20, 1 << 30].map(|bytes| Bytes(bytes).to_string()).to_vec();
        assert_eq!(shown, ["1", "1K", "1536", "3M", "1G"]);
    }
}
