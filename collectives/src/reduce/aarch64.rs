//! Conversion of half precision by the instructions of `aarch64`.

use std::arch::aarch64::{
    float32x4_t, uint16x4_t, vcvt_f16_f32, vcvt_f32_f16, vreinterpret_f16_u16, vreinterpret_u16_f16,
};
use std::mem::transmute;

use super::half_floats::{F16, Format, Narrow, Wide};

/// Four numbers at a time.
pub(super) struct F16Neon;

impl Format for F16Neon {
    const INFINITY: u16 = F16::INFINITY;

    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        F16::widen(bits)
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        F16::narrow(value)
    }

    #[inline(always)]
    unsafe fn widen_block(block: Narrow) -> Wide {
        // SAFETY: arrays and vectors of the same size in all, of which any bits are a value; the
        // caller says that the CPU has Advanced SIMD.
        unsafe {
            let narrow: [uint16x4_t; 8] = transmute(block);
            let wide: [float32x4_t; 8] =
                narrow.map(|four| vcvt_f32_f16(vreinterpret_f16_u16(four)));
            transmute(wide)
        }
    }

    #[inline(always)]
    unsafe fn narrow_block(block: Wide) -> Narrow {
        // SAFETY: as in `widen_block`.
        unsafe {
            let wide: [float32x4_t; 8] = transmute(block);
            let narrow: [uint16x4_t; 8] = wide.map(|four| vreinterpret_u16_f16(vcvt_f16_f32(four)));
            transmute(narrow)
        }
    }
}
