//! Every kernel on every available instruction set, against the oracle.

mod oracle;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::divide::{Divisor8, Divisor32, Divisor64};
use super::half_floats::{F16, Format};
use super::{ISA_VARIABLE, Isa, IsaError, kernel, kernel_for};
use crate::types::{DataType, ReduceOp};

const SEED: u64 = 0x6f6e_6570_6174_6801;
/// Bytes before and after the target that must stay as they are.
const GUARD: usize = 80;
const GUARD_BYTE: u8 = 0xa5;

fn seeded() -> SmallRng {
    println!("seed {SEED:#x}");
    SmallRng::seed_from_u64(SEED)
}

fn available() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
}

/// One element from 64 bits: the type's width of them.
fn element(data_type: DataType, bits: u64) -> Vec<u8> {
    match data_type.size() {
        1 => vec![bits as u8],
        2 => (bits as u16).to_ne_bytes().to_vec(),
        4 => (bits as u32).to_ne_bytes().to_vec(),
        _ => bits.to_ne_bytes().to_vec(),
    }
}

/// A third each: edge values, any bits, and numbers of everyday size.
fn random_element(data_type: DataType, rng: &mut SmallRng) -> Vec<u8> {
    let everyday = rng.random_range(-300.0_f32..300.0);
    match (rng.random_range(0..3), data_type) {
        (0, _) => {
            let edges = oracle::edges(data_type);
            element(data_type, edges[rng.random_range(0..edges.len())])
        }
        (1, DataType::F32) => everyday.to_ne_bytes().to_vec(),
        (1, DataType::F64) => f64::from(everyday).to_ne_bytes().to_vec(),
        (1, DataType::F16) => half::f16::from_f32_const(everyday).to_ne_bytes().to_vec(),
        (1, DataType::Bf16) => half::bf16::from_f32_const(everyday).to_ne_bytes().to_vec(),
        (1, _) => element(data_type, everyday as i64 as u64),
        _ => element(data_type, rng.random()),
    }
}

fn random_elements(data_type: DataType, elements: usize, rng: &mut SmallRng) -> Vec<u8> {
    (0..elements).flat_map(|_| random_element(data_type, rng)).collect()
}

/// `bytes` in memory that starts `offset` bytes after a multiple of 64, guarded on both sides.
struct Placed {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Placed {
    fn new(bytes: &[u8], offset: usize) -> Self {
        let mut memory = vec![GUARD_BYTE; bytes.len() + 2 * GUARD + 128];
        let start = memory.as_ptr().addr().wrapping_neg() % 64 + 64 + offset + 16;
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        Self { memory, start, length: bytes.len() }
    }

    fn pointer(&mut self) -> *mut u8 {
        self.memory[self.start..].as_mut_ptr()
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    fn assert_guarded(&self) {
        let end = self.start + self.length;
        let outside = self.memory[..self.start].iter().chain(&self.memory[end..]);
        assert!(outside.copied().all(|byte| byte == GUARD_BYTE), "bytes outside were written");
    }
}

/// What a case is, for the message of a failure too.
#[derive(Clone, Copy, Debug)]
struct Case {
    isa: Isa,
    data_type: DataType,
    op: ReduceOp,
    /// Of target, local operand and incoming operand.
    offsets: [usize; 3],
    in_place: bool,
}

fn assert_same(data_type: DataType, got: &[u8], want: &[u8], what: &dyn std::fmt::Debug) {
    let size = data_type.size();
    assert_eq!(got.len(), want.len(), "{what:?}");
    for (index, (got, want)) in got.chunks(size).zip(want.chunks(size)).enumerate() {
        let both_nan = oracle::is_nan(data_type, got) && oracle::is_nan(data_type, want);
        assert!(got == want || both_nan, "{what:?}: element {index} is {got:x?}, not {want:x?}");
    }
}

/// The oracle's result for whole buffers.
fn expected(data_type: DataType, op: ReduceOp, left: &[u8], right: &[u8]) -> Vec<u8> {
    let size = data_type.size();
    let pairs = left.chunks(size).zip(right.chunks(size));
    pairs.flat_map(|(left, right)| oracle::combine(data_type, op, left, right)).collect()
}

fn check(case: Case, left: &[u8], right: &[u8], want: &[u8]) {
    let kernel = kernel_for(case.isa, case.data_type, case.op, 2).expect("available");
    assert_eq!(kernel.element_bytes, case.data_type.size());
    let elements = left.len() / kernel.element_bytes;
    let old = if case.in_place { left } else { &vec![0x77; left.len()] };
    let mut target = Placed::new(old, case.offsets[0]);
    let mut local = Placed::new(left, case.offsets[1]);
    let mut incoming = Placed::new(right, case.offsets[2]);
    let operand = if case.in_place { target.pointer() } else { local.pointer() };
    // SAFETY: all three are `elements` elements long and apart, or the first two are the same.
    unsafe { (kernel.combine)(target.pointer(), operand, incoming.pointer(), elements) };
    assert_same(case.data_type, target.bytes(), want, &case);
    target.assert_guarded();
    assert_eq!(incoming.bytes(), right, "{case:?}: the incoming operand was written");
    assert_eq!(local.bytes(), left, "{case:?}: the local operand was written");
}

/// Calls `run` with every available instruction set, type and operation.
fn for_each_kernel(mut run: impl FnMut(Isa, DataType, ReduceOp)) {
    for isa in available() {
        for data_type in DataType::ALL {
            for op in ReduceOp::ALL {
                run(isa, data_type, op);
            }
        }
    }
}

#[test]
fn every_length_up_to_130_and_larger_primes_equal_the_oracle() {
    let mut rng = seeded();
    for_each_kernel(|isa, data_type, op| {
        for elements in (0..=130).chain([251, 509, 1021, 4099]) {
            let left = random_elements(data_type, elements, &mut rng);
            let right = random_elements(data_type, elements, &mut rng);
            let want = expected(data_type, op, &left, &right);
            for in_place in [false, true] {
                let offsets = std::array::from_fn(|_| rng.random_range(0..16));
                check(Case { isa, data_type, op, offsets, in_place }, &left, &right, &want);
            }
        }
    });
}

#[test]
fn every_alignment_of_every_pointer_equals_the_oracle() {
    let mut rng = seeded();
    for_each_kernel(|isa, data_type, op| {
        for elements in [5, 131] {
            let left = random_elements(data_type, elements, &mut rng);
            let right = random_elements(data_type, elements, &mut rng);
            let want = expected(data_type, op, &left, &right);
            for offset in 0..16 {
                for offsets in [
                    [offset, 0, 0],
                    [0, offset, 0],
                    [0, 0, offset],
                    [offset, offset * 5 % 16, offset * 11 % 16],
                ] {
                    for in_place in [false, true] {
                        check(Case { isa, data_type, op, offsets, in_place }, &left, &right, &want);
                    }
                }
            }
        }
    });
}

#[test]
fn every_pair_of_edge_values_equals_the_oracle() {
    for_each_kernel(|isa, data_type, op| {
        let edges = oracle::edges(data_type);
        let both = || edges.iter().flat_map(|&left| edges.iter().map(move |&right| (left, right)));
        let left: Vec<u8> = both().flat_map(|(left, _)| element(data_type, left)).collect();
        let right: Vec<u8> = both().flat_map(|(_, right)| element(data_type, right)).collect();
        let want = expected(data_type, op, &left, &right);
        check(
            Case { isa, data_type, op, offsets: [1, 2, 3], in_place: false },
            &left,
            &right,
            &want,
        );
    });
}

#[test]
fn every_16_bit_float_added_to_a_few_equals_the_oracle() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_ne_bytes).collect();
    for isa in available() {
        for data_type in [DataType::F16, DataType::Bf16] {
            for (op, other) in [
                (ReduceOp::Sum, 0x0001_u16),
                (ReduceOp::Sum, 0x3c01),
                (ReduceOp::Sum, 0xf7ff),
                (ReduceOp::Prod, 0x3bff),
                (ReduceOp::Prod, 0x0401),
                (ReduceOp::Prod, 0x3f81),
                (ReduceOp::Min, 0x8000),
                (ReduceOp::Max, 0x0000),
            ] {
                let others = other.to_ne_bytes().repeat(1 << 16);
                let want = expected(data_type, op, &all, &others);
                let case = Case { isa, data_type, op, offsets: [0; 3], in_place: true };
                check(case, &all, &others, &want);
            }
        }
    }
}

#[test]
fn average_divides_as_the_oracle_for_every_type_and_any_number_of_ranks() {
    let mut rng = seeded();
    let fixed = [0, 1, 2, 3, 5, 6, 7, 8, 100, 127, 128, 129, 255, 256, 257, 641, 1 << 31, u32::MAX];
    for isa in available() {
        for data_type in DataType::ALL {
            let drawn: Vec<u32> = (0..20).map(|_| rng.random::<u32>() >> 8).collect();
            for ranks in fixed.into_iter().chain(drawn) {
                for elements in [0, 1, 7, 31, 64, 65, 257] {
                    check_average(isa, data_type, ranks, elements, &mut rng);
                }
            }
        }
    }
}

fn check_average(isa: Isa, data_type: DataType, ranks: u32, elements: usize, rng: &mut SmallRng) {
    let kernel = kernel_for(isa, data_type, ReduceOp::Avg, ranks).expect("available");
    let finish = kernel.finish.expect("avg divides");
    let sum = random_elements(data_type, elements, rng);
    let divided = sum.chunks(data_type.size());
    let want = match ranks {
        0 | 1 => sum.clone(),
        _ => divided.flat_map(|sum| oracle::divide(data_type, sum, ranks)).collect(),
    };
    let mut target = Placed::new(&sum, rng.random_range(0..16));
    // SAFETY: the target is `elements` elements long.
    unsafe { finish(target.pointer(), elements, kernel.ranks) };
    assert_same(data_type, target.bytes(), &want, &(isa, data_type, ranks, elements));
    target.assert_guarded();
}

#[test]
fn only_average_has_a_finish() {
    for_each_kernel(|isa, data_type, op| {
        let kernel = kernel_for(isa, data_type, op, 3).expect("available");
        assert_eq!(kernel.finish.is_some(), op == ReduceOp::Avg);
        assert_eq!(kernel.ranks, 3);
    });
}

#[test]
fn half_precision_rounds_to_even_on_and_beside_every_midpoint() {
    for bits in 0..0x7c00_u16 {
        let here = half::f16::from_bits(bits).to_f32_const();
        let next = half::f16::from_bits(bits + 1).to_f32_const();
        let middle = if next.is_infinite() { 65520.0 } else { f32::midpoint(here, next) };
        for near in [middle.next_down(), middle, middle.next_up(), here] {
            for value in [near, -near] {
                let want = half::f16::from_f32_const(value).to_bits();
                assert_eq!(F16::narrow(value), want, "{value:e}");
            }
        }
        assert_eq!(F16::widen(bits).to_bits(), here.to_bits(), "{bits:#x}");
        assert_eq!(F16::widen(bits | 0x8000).to_bits(), (-here).to_bits(), "{bits:#x}");
    }
    assert_eq!(F16::narrow(f32::MAX), 0x7c00);
    assert_eq!(F16::narrow(f32::from_bits(1)), 0);
    assert_eq!(F16::narrow(f32::NEG_INFINITY), 0xfc00);
    assert_eq!(F16::narrow(f32::NAN) & 0x7e00, 0x7e00);
}

#[test]
fn division_by_multiplication_is_exact() {
    for divisor in 2..=700_u32 {
        let (bytes, words) = (Divisor8::new(divisor), Divisor32::new(divisor));
        let longs = Divisor64::new(divisor);
        for number in 0..=u8::MAX {
            assert_eq!(u32::from(bytes.divide(number)), u32::from(number) / divisor);
        }
        for multiple in [0, 1, 2, 1000, u32::MAX / divisor, u32::MAX / divisor - 1] {
            for number in [multiple * divisor, (multiple * divisor).wrapping_sub(1), u32::MAX] {
                assert_eq!(words.divide(number), number / divisor, "{number} / {divisor}");
            }
        }
        let wide = u64::from(divisor);
        for multiple in [0, 1, 1 << 40, u64::MAX / wide, u64::MAX / wide - 1] {
            for number in [multiple * wide, (multiple * wide).wrapping_sub(1), u64::MAX] {
                assert_eq!(longs.divide(number), number / wide, "{number} / {divisor}");
            }
        }
    }
}

#[test]
fn an_unknown_instruction_set_is_an_error_that_lists_the_known_ones() {
    let error = Isa::usable("avx9").expect_err("no such set");
    let message = error.to_string();
    assert!(message.contains(ISA_VARIABLE) && message.contains("'avx9'"), "{message}");
    assert!(message.contains("scalar, avx2, avx512, neon"), "{message}");
}

#[test]
fn an_instruction_set_that_the_cpu_lacks_is_an_error_that_names_the_best_it_has() {
    let absent = Isa::ALL.into_iter().filter(|isa| !isa.is_available());
    for asked in absent {
        let want = IsaError::Unavailable { asked, best: Isa::detect() };
        assert_eq!(Isa::usable(asked.name()), Err(want.clone()));
        let kernel = kernel_for(asked, DataType::F32, ReduceOp::Sum, 2);
        assert_eq!(kernel.expect_err("not available"), want);
    }
}

#[test]
fn every_available_instruction_set_is_found_by_its_name() {
    for isa in available() {
        assert_eq!(Isa::usable(isa.name()), Ok(isa));
    }
    assert!(Isa::detect().is_available());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // The buffers end where their allocations end, so that a sanitizer sees a read past the end.
    #[test]
    fn any_buffers_combine_as_the_oracle_on_every_instruction_set(
        pairs in proptest::collection::vec(any::<(u64, u64)>(), 0..300),
        data_type in proptest::sample::select(&DataType::ALL[..]),
        op in proptest::sample::select(&ReduceOp::ALL[..]),
        offset in 0_usize..16,
        in_place in any::<bool>(),
    ) {
        let left: Vec<u8> = pairs.iter().flat_map(|pair| element(data_type, pair.0)).collect();
        let right: Vec<u8> = pairs.iter().flat_map(|pair| element(data_type, pair.1)).collect();
        let want = expected(data_type, op, &left, &right);
        for isa in available() {
            let combine = kernel_for(isa, data_type, op, 2).expect("available").combine;
            let shifted = |bytes: &[u8]| [&vec![0; offset], bytes].concat().into_boxed_slice();
            let (local, incoming) = (shifted(&left), shifted(&right));
            let mut target = local.clone();
            let written = target[offset..].as_mut_ptr();
            let read = if in_place { written.cast_const() } else { local[offset..].as_ptr() };
            // SAFETY: each is as many elements long as there are pairs; all apart, or the first
            // two the same.
            unsafe { combine(written, read, incoming[offset..].as_ptr(), pairs.len()) };
            assert_same(data_type, &target[offset..], &want, &(isa, data_type, op));
        }
    }
}

#[test]
fn the_kernel_without_a_said_instruction_set_works() {
    let (mut target, incoming) = ([1.5_f32; 100], [2.25_f32; 100]);
    let kernel = kernel(DataType::F32, ReduceOp::Sum, 2);
    let pointer = target.as_mut_ptr().cast::<u8>();
    // SAFETY: 100 elements each, in place.
    unsafe { (kernel.combine)(pointer, pointer, incoming.as_ptr().cast(), 100) };
    assert_eq!(target.map(f32::to_bits), [3.75_f32.to_bits(); 100]);
}
