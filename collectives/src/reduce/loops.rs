//! The two loops over memory, of which every kernel is an instance.
//!
//! They are inlined into functions that enable an instruction set ([`super::level`]).

use std::mem::size_of;

use super::lanes::{Lanes, Operation};

/// Keeps the compiler from vectorising the loop around it.
///
/// Without it LLVM takes the same element of many blocks for one vector and gathers them, several
/// times slower than what it makes of a block alone.
#[inline(always)]
fn keep_one_block_per_turn() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("", options(nomem, nostack, preserves_flags));
    }
}

/// `target[i] = local[i] ⊕ incoming[i]`.
///
/// The last block is taken from the end of the buffers, over some elements of the one before it,
/// instead of going element by element. It is read before anything is written, so that it is right
/// for `local == target` too: elements that are written twice get the same bits twice.
///
/// # Safety
/// As for [`onepath_transport::plan::CombineFn`]; and the CPU has the instruction set that `L` was
/// written for.
#[inline(always)]
pub(super) unsafe fn combine<L: Lanes, O: Operation>(
    target: *mut u8,
    local: *const u8,
    incoming: *const u8,
    elements: usize,
) {
    let block = size_of::<L::Block>();
    let bytes = elements * size_of::<L::Element>();
    if bytes < block {
        // SAFETY: the caller's promise, passed on.
        return unsafe { combine_short::<L, O>(target, local, incoming, elements) };
    }
    // SAFETY: the pointers are valid for `bytes` bytes and each block lies within: it starts at
    // `last` or below it, where `last + block == bytes`. The blocks are arrays of plain numbers,
    // read and written unaligned. The CPU has what `L` needs, says the caller.
    unsafe {
        let read =
            |from: *const u8, offset: usize| from.add(offset).cast::<L::Block>().read_unaligned();
        let last = bytes - block;
        let end = L::combine_block::<O>(read(local, last), read(incoming, last));
        let mut offset = 0;
        while offset < last {
            let result = L::combine_block::<O>(read(local, offset), read(incoming, offset));
            target.add(offset).cast::<L::Block>().write_unaligned(result);
            offset += block;
            keep_one_block_per_turn();
        }
        target.add(last).cast::<L::Block>().write_unaligned(end);
    }
}

/// # Safety
/// As for [`combine`].
#[inline(always)]
unsafe fn combine_short<L: Lanes, O: Operation>(
    target: *mut u8,
    local: *const u8,
    incoming: *const u8,
    elements: usize,
) {
    let (target, local) = (target.cast::<L::Element>(), local.cast::<L::Element>());
    let incoming = incoming.cast::<L::Element>();
    for index in 0..elements {
        // SAFETY: the pointers are valid for `elements` elements; these are read and written
        // unaligned and any bits are one.
        unsafe {
            let left = local.add(index).read_unaligned();
            let right = incoming.add(index).read_unaligned();
            target.add(index).write_unaligned(L::combine::<O>(left, right));
        }
        keep_one_block_per_turn();
    }
}

/// Divides each element by `ranks`; the last block as in [`combine`].
///
/// # Safety
/// As for [`onepath_transport::plan::FinishFn`]; and the CPU has the instruction set that `L` was
/// written for.
#[inline(always)]
pub(super) unsafe fn divide<L: Lanes>(target: *mut u8, elements: usize, ranks: u32) {
    if ranks <= 1 {
        return;
    }
    let divisor = L::divisor(ranks);
    let block = size_of::<L::Block>();
    let bytes = elements * size_of::<L::Element>();
    if bytes < block {
        let target = target.cast::<L::Element>();
        for index in 0..elements {
            // SAFETY: `target` is valid for `elements` elements; these are read and written
            // unaligned and any bits are one.
            unsafe {
                let element = target.add(index).read_unaligned();
                target.add(index).write_unaligned(L::divide(element, divisor));
            }
            keep_one_block_per_turn();
        }
        return;
    }
    // SAFETY: as in `combine`, with one pointer.
    unsafe {
        let at = |offset: usize| target.add(offset).cast::<L::Block>();
        let last = bytes - block;
        let end = L::divide_block(at(last).read_unaligned(), divisor);
        let mut offset = 0;
        while offset < last {
            at(offset).write_unaligned(L::divide_block(at(offset).read_unaligned(), divisor));
            offset += block;
            keep_one_block_per_turn();
        }
        at(last).write_unaligned(end);
    }
}
