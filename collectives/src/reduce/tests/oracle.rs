//! What a reduction means, written as plainly as possible, one element at a time.

use half::{bf16, f16};

use crate::types::{DataType, ReduceOp};

macro_rules! from_bytes {
    ($type:ty, $bytes:expr) => {
        <$type>::from_ne_bytes($bytes.try_into().expect("one element"))
    };
}

macro_rules! integer {
    ($type:ty, $op:expr, $left:expr, $right:expr) => {{
        let (left, right) = (from_bytes!($type, $left), from_bytes!($type, $right));
        let result = match $op {
            ReduceOp::Sum | ReduceOp::Avg => left.wrapping_add(right),
            ReduceOp::Prod => left.wrapping_mul(right),
            ReduceOp::Min => left.min(right),
            ReduceOp::Max => left.max(right),
        };
        result.to_ne_bytes().to_vec()
    }};
}

macro_rules! float {
    ($name:ident, $type:ty) => {
        #[allow(clippy::float_cmp, reason = "zeros of either sign are meant")]
        fn $name(op: ReduceOp, left: $type, right: $type) -> $type {
            let pick = |left_wins: bool| if left_wins { left } else { right };
            match op {
                ReduceOp::Sum | ReduceOp::Avg => left + right,
                ReduceOp::Prod => left * right,
                ReduceOp::Min | ReduceOp::Max if left.is_nan() || right.is_nan() => <$type>::NAN,
                ReduceOp::Min if left == right => pick(left.is_sign_negative()),
                ReduceOp::Max if left == right => pick(left.is_sign_positive()),
                ReduceOp::Min => pick(left < right),
                ReduceOp::Max => pick(left > right),
            }
        }
    };
}

float!(single, f32);
float!(double, f64);

/// The bytes of `left ⊕ right`.
pub(super) fn combine(data_type: DataType, op: ReduceOp, left: &[u8], right: &[u8]) -> Vec<u8> {
    match data_type {
        DataType::F32 => {
            single(op, from_bytes!(f32, left), from_bytes!(f32, right)).to_ne_bytes().to_vec()
        }
        DataType::F64 => {
            double(op, from_bytes!(f64, left), from_bytes!(f64, right)).to_ne_bytes().to_vec()
        }
        DataType::F16 => {
            let (left, right) = (from_bytes!(f16, left), from_bytes!(f16, right));
            let result = single(op, left.to_f32_const(), right.to_f32_const());
            f16::from_f32_const(result).to_ne_bytes().to_vec()
        }
        DataType::Bf16 => {
            let (left, right) = (from_bytes!(bf16, left), from_bytes!(bf16, right));
            let result = single(op, left.to_f32_const(), right.to_f32_const());
            bf16::from_f32_const(result).to_ne_bytes().to_vec()
        }
        DataType::I8 => integer!(i8, op, left, right),
        DataType::I32 => integer!(i32, op, left, right),
        DataType::I64 => integer!(i64, op, left, right),
        DataType::U8 => integer!(u8, op, left, right),
        DataType::U32 => integer!(u32, op, left, right),
        DataType::U64 => integer!(u64, op, left, right),
    }
}

macro_rules! quotient {
    ($type:ty, $bytes:expr, $ranks:expr) => {{
        let quotient = i128::from(from_bytes!($type, $bytes)) / i128::from($ranks);
        <$type>::try_from(quotient).expect("no larger than the sum").to_ne_bytes().to_vec()
    }};
}

/// The bytes of the average, from those of the sum.
pub(super) fn divide(data_type: DataType, sum: &[u8], ranks: u32) -> Vec<u8> {
    let divisor = ranks as f32;
    match data_type {
        DataType::F32 => (from_bytes!(f32, sum) / divisor).to_ne_bytes().to_vec(),
        DataType::F64 => (from_bytes!(f64, sum) / f64::from(ranks)).to_ne_bytes().to_vec(),
        DataType::F16 => {
            let quotient = from_bytes!(f16, sum).to_f32_const() / divisor;
            f16::from_f32_const(quotient).to_ne_bytes().to_vec()
        }
        DataType::Bf16 => {
            let quotient = from_bytes!(bf16, sum).to_f32_const() / divisor;
            bf16::from_f32_const(quotient).to_ne_bytes().to_vec()
        }
        DataType::I8 => quotient!(i8, sum, ranks),
        DataType::I32 => quotient!(i32, sum, ranks),
        DataType::I64 => quotient!(i64, sum, ranks),
        DataType::U8 => quotient!(u8, sum, ranks),
        DataType::U32 => quotient!(u32, sum, ranks),
        DataType::U64 => quotient!(u64, sum, ranks),
    }
}

/// Whether the bytes are a NaN of the type.
pub(super) fn is_nan(data_type: DataType, bytes: &[u8]) -> bool {
    match data_type {
        DataType::F32 => from_bytes!(f32, bytes).is_nan(),
        DataType::F64 => from_bytes!(f64, bytes).is_nan(),
        DataType::F16 => from_bytes!(f16, bytes).is_nan(),
        DataType::Bf16 => from_bytes!(bf16, bytes).is_nan(),
        _ => false,
    }
}

/// Values at the edges of the type, as bits; the type's width of them counts.
pub(super) fn edges(data_type: DataType) -> &'static [u64] {
    const INTEGERS: [u64; 12] = [
        0,
        1,
        2,
        u64::MAX,
        0x7f,
        0x80,
        0x7fff_ffff,
        0x8000_0000,
        i64::MAX as u64,
        i64::MIN as u64,
        0x80_0000_0080,
        100,
    ];
    // Zero, one, smallest and largest subnormal, smallest normal, largest, infinity, quiet and
    // signalling NaN; each with the sign too.
    match data_type {
        DataType::F32 => &[
            0,
            0x3f80_0000,
            1,
            0x007f_ffff,
            0x0080_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7fc0_0000,
            0x7f80_0001,
            0x8000_0000,
            0xbf80_0000,
            0x8000_0001,
            0x807f_ffff,
            0x8080_0000,
            0xff7f_ffff,
            0xff80_0000,
            0xffc0_1234,
            0xff80_0001,
        ],
        DataType::F64 => &[
            0,
            0x3ff0 << 48,
            1,
            (1 << 52) - 1,
            1 << 52,
            (0x7ff0 << 48) - 1,
            0x7ff0 << 48,
            0x7ff8 << 48,
            (0x7ff0 << 48) + 1,
            1 << 63,
            0xbff0 << 48,
            (1 << 63) + 1,
            (0x8010 << 48) - 1,
            0x8010 << 48,
            (0xfff0 << 48) - 1,
            0xfff0 << 48,
            0xfff8 << 48,
            (0xfff0 << 48) + 1,
        ],
        DataType::F16 => &[
            0, 0x3c00, 1, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0x7e00, 0x7c01, 0x8000, 0xbc00, 0x8001,
            0x83ff, 0x8400, 0xfbff, 0xfc00, 0xfe12, 0xfc01,
        ],
        DataType::Bf16 => &[
            0, 0x3f80, 1, 0x007f, 0x0080, 0x7f7f, 0x7f80, 0x7fc0, 0x7f81, 0x8000, 0xbf80, 0x8001,
            0x807f, 0x8080, 0xff7f, 0xff80, 0xffc1, 0xff81,
        ],
        _ => &INTEGERS,
    }
}
