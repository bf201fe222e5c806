//! Plans and kernels built by hand.

use onepath_topology::Rank;
use onepath_transport::plan::{
    After, BufferId, FlowTag, Kernel, LocalAction, Placement, Plan, ReceiveFlow, SendFlow, Span,
};

/// Bytes that depend on every number that could be mixed up.
pub(crate) fn pattern(rank: Rank, salt: usize, length: usize) -> Vec<u8> {
    let mut state = (rank.index() * 0x9E37_79B9 + salt * 0x85EB_CA6B + 1) as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn send(step: u32, peer: Rank, tag: u32, source: Span, after: After) -> SendFlow {
    SendFlow { step, peer, tag: FlowTag(tag), source, after }
}

pub(crate) fn store(step: u32, peer: Rank, tag: u32, target: Span, after: After) -> ReceiveFlow {
    ReceiveFlow { step, peer, tag: FlowTag(tag), target, placement: Placement::Store, after }
}

pub(crate) fn combine(
    step: u32,
    peer: Rank,
    tag: u32,
    (target, local): (Span, Span),
    finish: bool,
) -> ReceiveFlow {
    ReceiveFlow {
        placement: Placement::Combine { local, finish },
        ..store(step, peer, tag, target, After::NOTHING)
    }
}

pub(crate) fn input(offset: usize, length: usize) -> Span {
    Span::new(BufferId::Input, offset, length)
}

pub(crate) fn output(offset: usize, length: usize) -> Span {
    Span::new(BufferId::Output, offset, length)
}

/// Every rank sends its input to every other, which stores it at the sender's place.
pub(crate) fn all_gather(rank: Rank, ranks: usize, length: usize) -> Plan {
    let mut plan = Plan::default();
    for other in (0..ranks).map(Rank::from_index).filter(|&r| r != rank) {
        let place = output(other.index() * length, length);
        plan.sends.push(send(0, other, 0, input(0, length), After::NOTHING));
        plan.receives.push(store(0, other, 0, place, After::NOTHING));
    }
    plan.epilogue.push(LocalAction::Copy {
        source: input(0, length),
        target: output(rank.index() * length, length),
    });
    plan
}

/// Ring all-reduce of `elements` 8-byte elements from input to output, with the kernel's finish.
pub(crate) fn ring_all_reduce(rank: Rank, ranks: usize, elements: usize) -> Plan {
    let mut plan = Plan::default();
    plan.prologue.push(LocalAction::Copy {
        source: input(0, 8 * elements),
        target: output(0, 8 * elements),
    });
    if ranks == 1 {
        return plan;
    }
    let block = |number: usize| {
        let number = number % ranks;
        let (from, to) = (elements * number / ranks, elements * (number + 1) / ranks);
        output(8 * from, 8 * (to - from))
    };
    let (me, steps) = (rank.index() + 2 * ranks, ranks - 1);
    let next = Rank::from_index((rank.index() + 1) % ranks);
    let previous = Rank::from_index((rank.index() + ranks - 1) % ranks);
    for step in 0..2 * steps {
        let (number, reduces) = (step as u32, step < steps);
        let after = match step {
            0 => After::NOTHING,
            _ => After::receive(number - 1),
        };
        let gathered = step % steps;
        let (out, into) = if reduces {
            (block(me - step), block(me - step - 1))
        } else {
            (block(me + 1 - gathered), block(me - gathered))
        };
        plan.sends.push(send(number, next, number, out, after));
        plan.receives.push(if reduces {
            combine(number, previous, number, (into, into), step + 1 == steps)
        } else {
            // The block must have left in the first half before it is overwritten.
            store(number, previous, number, into, After::send(gathered as u32))
        });
    }
    plan
}

/// What [`ring_all_reduce`] gives with the kernel [`adding`].
pub(crate) fn sum_of(inputs: &[Vec<u8>], ranks: u32) -> Vec<u8> {
    let mut sum = vec![0_i64; inputs[0].len() / 8];
    for input in inputs {
        for (total, bytes) in sum.iter_mut().zip(input.as_chunks::<8>().0) {
            *total = total.wrapping_add(i64::from_le_bytes(*bytes));
        }
    }
    sum.iter().flat_map(|&total| finished(total, ranks).to_le_bytes()).collect()
}

/// Not idempotent, so that finishing twice is seen.
pub(crate) fn finished(total: i64, ranks: u32) -> i64 {
    total.wrapping_mul(3).wrapping_add(i64::from(ranks))
}

/// Wrapping addition of 64-bit integers.
pub(crate) fn adding(ranks: usize) -> Kernel {
    Kernel { element_bytes: 8, combine: add, finish: Some(finish), ranks: ranks as u32 }
}

/// # Safety
/// As [`onepath_transport::plan::CombineFn`].
unsafe fn add(target: *mut u8, local: *const u8, incoming: *const u8, elements: usize) {
    for at in (0..elements).map(|i| 8 * i) {
        // SAFETY: the contract gives `elements` elements at each pointer.
        unsafe {
            let a = i64::from_ne_bytes(local.add(at).cast::<[u8; 8]>().read());
            let b = i64::from_ne_bytes(incoming.add(at).cast::<[u8; 8]>().read());
            let sum = a.wrapping_add(b).to_ne_bytes();
            target.add(at).cast::<[u8; 8]>().write(sum);
        }
    }
}

/// # Safety
/// As [`onepath_transport::plan::FinishFn`].
unsafe fn finish(target: *mut u8, elements: usize, ranks: u32) {
    for at in (0..elements).map(|i| 8 * i) {
        // SAFETY: the contract gives `elements` elements.
        unsafe {
            let place = target.add(at).cast::<[u8; 8]>();
            let total = finished(i64::from_ne_bytes(place.read()), ranks);
            place.write(total.to_ne_bytes());
        }
    }
}
