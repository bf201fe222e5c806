//! Inputs and right results, computed one element at a time, in rank order.
//!
//! Inputs are such that no order of operands changes a result: integers wrap, and floats are small
//! whole numbers (for products: powers of two), so that every partial sum and product is exact in
//! every type for at most 9 ranks. So results compare bit for bit.

mod pool;
mod sample;

pub use pool::{Pool, Pools};
pub use sample::{Sample, hash};

/// Runs an expression with a type alias for the Rust type of a `DataType`.
#[macro_export]
macro_rules! with_type {
    ($data_type:expr, $name:ident, $body:expr) => {
        match $data_type {
            $crate::oracle::DataType::F32 => $crate::with_type!(@ f32, $name, $body),
            $crate::oracle::DataType::F64 => $crate::with_type!(@ f64, $name, $body),
            $crate::oracle::DataType::F16 => $crate::with_type!(@ half::f16, $name, $body),
            $crate::oracle::DataType::Bf16 => $crate::with_type!(@ half::bf16, $name, $body),
            $crate::oracle::DataType::I8 => $crate::with_type!(@ i8, $name, $body),
            $crate::oracle::DataType::I32 => $crate::with_type!(@ i32, $name, $body),
            $crate::oracle::DataType::I64 => $crate::with_type!(@ i64, $name, $body),
            $crate::oracle::DataType::U8 => $crate::with_type!(@ u8, $name, $body),
            $crate::oracle::DataType::U32 => $crate::with_type!(@ u32, $name, $body),
            $crate::oracle::DataType::U64 => $crate::with_type!(@ u64, $name, $body),
        }
    };
    (@ $type:ty, $name:ident, $body:expr) => {{
        type $name = $type;
        $body
    }};
}

pub use onepath_collectives::DataType;
