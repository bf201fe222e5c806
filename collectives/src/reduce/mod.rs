//! The arithmetic of reductions: for every type and operation a [`Kernel`], in several
//! instruction sets, chosen at run time.
//!
//! Every instruction set gives the same bits, but for the payload and sign of a NaN: nothing is
//! fused, reordered or flushed to zero. So ranks on different CPUs agree.
//!
//! | file | what it is |
//! |---|---|
//! | `isa` | which instruction set: detected, or said by the environment |
//! | `lanes` | what happens to one element and to one block, for `f32`, `f64` and integers |
//! | `half_floats` | the same for `f16` and `bf16` |
//! | `x86`, `aarch64` | conversion instructions of `f16` |
//! | `divide` | integers divided by the number of ranks |
//! | `loops` | the loops over memory |
//! | `level` | the loops, compiled for each instruction set |

// Kernels exist only as code inlined into functions that enable an instruction set; a call left in
// their loops would cost more than the work.
#![allow(clippy::inline_always)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod divide;
mod half_floats;
mod isa;
mod lanes;
mod level;
mod loops;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

use onepath_transport::plan::{CombineFn, FinishFn, Kernel};

use crate::types::{DataType, ReduceOp};

use half_floats::{Bf16, Half};
use lanes::{Lanes, Maximum, Minimum, Product, Sum};
use level::Level;

pub use isa::{ISA_VARIABLE, Isa, IsaError, isa};

/// The kernel of `data_type` and `op` among `ranks` ranks, for the instruction set of [`isa()`].
///
/// Operands may lie at any address, and the first may be the target. Floats: sum and product are
/// rounded to nearest, those of `f16` and `bf16` once, from `f32`; min and max are the `minimum`
/// and `maximum` of IEEE 754-2019: a NaN wins, and -0 is less than +0. Integers wrap around.
/// [`ReduceOp::Avg`] sums, and its finish divides: integers towards zero, `f16` and `bf16` in
/// `f32`. The finish leaves everything as it is when `ranks` is 0 or 1.
pub fn kernel(data_type: DataType, op: ReduceOp, ranks: u32) -> Kernel {
    compiled_for(isa(), data_type, op, ranks)
}

/// As [`kernel`], for this instruction set.
///
/// # Errors
/// [`IsaError::Unavailable`] if this CPU lacks it.
pub fn kernel_for(
    isa: Isa,
    data_type: DataType,
    op: ReduceOp,
    ranks: u32,
) -> Result<Kernel, IsaError> {
    Ok(compiled_for(isa.checked()?, data_type, op, ranks))
}

/// `isa` is available: the kernel's safety rests on it.
fn compiled_for(isa: Isa, data_type: DataType, op: ReduceOp, ranks: u32) -> Kernel {
    let (combine, finish) = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => functions::<level::Avx2>(data_type, op),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => functions::<level::Avx512>(data_type, op),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => functions::<level::Neon>(data_type, op),
        _ => functions::<level::Scalar>(data_type, op),
    };
    let finish = (op == ReduceOp::Avg).then_some(finish);
    Kernel { element_bytes: data_type.size(), combine, finish, ranks }
}

fn functions<V: Level>(data_type: DataType, op: ReduceOp) -> (CombineFn, FinishFn) {
    match data_type {
        DataType::F32 => functions_of::<V, f32>(op),
        DataType::F64 => functions_of::<V, f64>(op),
        DataType::F16 => functions_of::<V, Half<V::F16>>(op),
        DataType::Bf16 => functions_of::<V, Half<Bf16>>(op),
        DataType::I8 => functions_of::<V, i8>(op),
        DataType::I32 => functions_of::<V, i32>(op),
        DataType::I64 => functions_of::<V, i64>(op),
        DataType::U8 => functions_of::<V, u8>(op),
        DataType::U32 => functions_of::<V, u32>(op),
        DataType::U64 => functions_of::<V, u64>(op),
    }
}

fn functions_of<V: Level, L: Lanes>(op: ReduceOp) -> (CombineFn, FinishFn) {
    let combine = match op {
        ReduceOp::Sum | ReduceOp::Avg => V::combine::<L, Sum>(),
        ReduceOp::Prod => V::combine::<L, Product>(),
        ReduceOp::Min => V::combine::<L, Minimum>(),
        ReduceOp::Max => V::combine::<L, Maximum>(),
    };
    (combine, V::finish::<L>())
}
