//! Conversion of half precision by the instructions of `x86_64`.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, __m512, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _mm256_cvtph_ps, _mm256_cvtps_ph, _mm512_cvtph_ps, _mm512_cvtps_ph,
};
use std::mem::transmute;

use super::half_floats::{F16, Format, Narrow, Wide};

/// F16C, eight numbers at a time.
pub(super) struct F16c;

impl Format for F16c {
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
        // caller says that the CPU has F16C.
        unsafe {
            let [a, b, c, d]: [__m128i; 4] = transmute(block);
            let wide: [__m256; 4] =
                [_mm256_cvtph_ps(a), _mm256_cvtph_ps(b), _mm256_cvtph_ps(c), _mm256_cvtph_ps(d)];
            transmute(wide)
        }
    }

    #[inline(always)]
    unsafe fn narrow_block(block: Wide) -> Narrow {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
        // SAFETY: as in `widen_block`.
        unsafe {
            let [a, b, c, d]: [__m256; 4] = transmute(block);
            let narrow: [__m128i; 4] = [
                _mm256_cvtps_ph::<NEAREST>(a),
                _mm256_cvtps_ph::<NEAREST>(b),
                _mm256_cvtps_ph::<NEAREST>(c),
                _mm256_cvtps_ph::<NEAREST>(d),
            ];
            transmute(narrow)
        }
    }
}

/// AVX-512, sixteen numbers at a time.
pub(super) struct F16Avx512;

impl Format for F16Avx512 {
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
        // caller says that the CPU has AVX-512.
        unsafe {
            let [a, b]: [__m256i; 2] = transmute(block);
            let wide: [__m512; 2] = [_mm512_cvtph_ps(a), _mm512_cvtph_ps(b)];
            transmute(wide)
        }
    }

    #[inline(always)]
    unsafe fn narrow_block(block: Wide) -> Narrow {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: as in `widen_block`.
        unsafe {
            let [a, b]: [__m512; 2] = transmute(block);
            let narrow: [__m256i; 2] =
                [_mm512_cvtps_ph::<NEAREST>(a), _mm512_cvtps_ph::<NEAREST>(b)];
            transmute(narrow)
        }
    }
}
