//! The loops compiled for each instruction set.

use onepath_transport::plan::{CombineFn, FinishFn};

use super::half_floats::{F16, Format};
use super::lanes::{Lanes, Operation};

/// An instruction set at compile time.
pub(super) trait Level {
    /// Its way to convert half precision.
    type F16: Format;

    fn combine<L: Lanes, O: Operation>() -> CombineFn;

    fn finish<L: Lanes>() -> FinishFn;
}

/// Defines a [`Level`], with the attributes that enable its instruction set.
macro_rules! level {
    ($(#[$note:meta])* $name:ident in $module:ident, $half:ty, $(#[$feature:meta])*) => {
        $(#[$note])*
        pub(super) struct $name;

        impl Level for $name {
            type F16 = $half;

            fn combine<L: Lanes, O: Operation>() -> CombineFn {
                $module::combine::<L, O>
            }

            fn finish<L: Lanes>() -> FinishFn {
                $module::divide::<L>
            }
        }

        mod $module {
            use super::super::loops;
            use super::{Lanes, Operation};

            /// # Safety
            /// As for [`loops::combine`]; and the CPU has the features of this module.
            $(#[$feature])*
            pub(super) unsafe fn combine<L: Lanes, O: Operation>(
                target: *mut u8,
                local: *const u8,
                incoming: *const u8,
                elements: usize,
            ) {
                // SAFETY: the caller's promise, passed on.
                unsafe { loops::combine::<L, O>(target, local, incoming, elements) }
            }

            /// # Safety
            /// As for [`loops::divide`]; and the CPU has the features of this module.
            $(#[$feature])*
            pub(super) unsafe fn divide<L: Lanes>(target: *mut u8, elements: usize, ranks: u32) {
                // SAFETY: the caller's promise, passed on.
                unsafe { loops::divide::<L>(target, elements, ranks) }
            }
        }
    };
}

level! {
    /// What the compile target has anyway.
    Scalar in scalar, F16,
}

#[cfg(target_arch = "x86_64")]
level! {
    /// AVX2 and F16C. Without FMA: no kernel may fuse, as results are the same on all levels.
    Avx2 in avx2, super::x86::F16c, #[target_feature(enable = "avx2,f16c")]
}

#[cfg(target_arch = "x86_64")]
level! {
    /// AVX-512.
    Avx512 in avx512, super::x86::F16Avx512,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
}

#[cfg(target_arch = "aarch64")]
level! {
    /// Advanced SIMD.
    Neon in neon, super::aarch64::F16Neon, #[target_feature(enable = "neon")]
}
