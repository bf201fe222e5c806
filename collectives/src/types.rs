//! Element types and reductions that a collective can work on.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use crate::bootstrap::shown;

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DataType {
    /// IEEE 754 single precision.
    F32 = 0,
    /// IEEE 754 double precision.
    F64 = 1,
    /// IEEE 754 half precision; each addition is computed in `f32` and rounded once.
    F16 = 2,
    /// bfloat16; each addition is computed in `f32` and rounded once.
    Bf16 = 3,
    /// Signed 8-bit integer.
    I8 = 4,
    /// Signed 32-bit integer.
    I32 = 5,
    /// Signed 64-bit integer.
    I64 = 6,
    /// Unsigned 8-bit integer.
    U8 = 7,
    /// Unsigned 32-bit integer.
    U32 = 8,
    /// Unsigned 64-bit integer.
    U64 = 9,
}

impl DataType {
    /// Every type, in the order of their wire numbers.
    pub const ALL: [Self; 10] = [
        Self::F32,
        Self::F64,
        Self::F16,
        Self::Bf16,
        Self::I8,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U32,
        Self::U64,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Its name, as options and tables spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U32 => "u32",
            Self::U64 => "u64",
        }
    }

    /// The type with this wire number.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// How elements of different ranks become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReduceOp {
    /// The sum; integers wrap around.
    Sum = 0,
    /// The product; integers wrap around.
    Prod = 1,
    /// The smallest; not-a-number if any operand is.
    Min = 2,
    /// The largest; not-a-number if any operand is.
    Max = 3,
    /// The sum divided by the number of ranks; integers wrap in the sum and round towards zero.
    Avg = 4,
}

impl ReduceOp {
    /// Every operation, in the order of their wire numbers.
    pub const ALL: [Self; 5] = [Self::Sum, Self::Prod, Self::Min, Self::Max, Self::Avg];

    /// Its name, as options and tables spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Prod => "prod",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
        }
    }

    /// The operation with this wire number.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A name that is none of the accepted ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{value}' is not known: use one of {accepted}")]
pub struct UnknownName {
    /// What was being named.
    pub what: &'static str,
    /// What was given, cut to 80 characters, control characters escaped.
    pub value: String,
    /// The accepted names.
    pub accepted: String,
}

/// Finds `value` among `all` by name, or says which names would be right.
pub(crate) fn by_name<T: Copy>(
    what: &'static str,
    value: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    all.iter().copied().find(|&item| name(item) == value).ok_or_else(|| UnknownName {
        what,
        value: shown(value),
        accepted: all.iter().map(|&item| name(item)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for DataType {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("data type", value, &Self::ALL, Self::name)
    }
}

impl FromStr for ReduceOp {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("reduction", value, &Self::ALL, Self::name)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for ReduceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that collectives accept. Sealed: every bit pattern of an implementor is a value.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Its [`DataType`].
    const DATA_TYPE: DataType;
}

macro_rules! elements {
    ($($rust:ty => $data:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const DATA_TYPE: DataType = DataType::$data;
        }
    )*};
}

elements! {
    f32 => F32, f64 => F64, f16 => F16, bf16 => Bf16,
    i8 => I8, i32 => I32, i64 => I64, u8 => U8, u32 => U32, u64 => U64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_in_one_short_line_with_what_would_be_right() {
        let error = "su\nm".parse::<ReduceOp>().expect_err("no reduction");
        let expected = "reduction 'su\\nm' is not known: use one of sum, prod, min, max, avg";
        assert_eq!(error.to_string(), expected);
        let error = "x".repeat(1_000).parse::<DataType>().expect_err("no type");
        assert!(error.to_string().len() < 200, "{error}");
    }
}
